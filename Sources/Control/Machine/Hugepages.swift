import Foundation
import Glibc

/// The 2 MB and 1 GB pages that the kernel keeps apart for programs such as DPDK: hugetlbpage.rst of Linux.
public struct Hugepages: Sendable {
    /// Pages of one size on one NUMA node.
    public struct Pool: Hashable, Sendable {
        public let node: Int
        /// In KiB.
        public let pageSize: Int
        public let total: Int
        public let free: Int

        var megabytes: Int { total * pageSize / 1024 }
        var freeMegabytes: Int { free * pageSize / 1024 }
    }

    private static let defaultPageSize = 2048
    private static let mountPoint = "/dev/hugepages"

    private let root: String

    /// - Parameter root: stands before /sys, /proc and /dev; tests give a directory of their own.
    public init(root: String = "") { self.root = root }

    /// What every NUMA node has, 2 MB pages first; empty when the kernel has no hugepages at all.
    public func pools() -> [Pool] {
        let nodes = names(in: "/sys/devices/system/node").compactMap { name in
            name.hasPrefix("node") ? Int(name.dropFirst(4)) : nil
        }
        return nodes.sorted().flatMap { node in
            [Self.defaultPageSize, 1_048_576].compactMap { pageSize in
                let directory = directory(node: node, pageSize: pageSize)
                guard let total = number(directory + "/nr_hugepages"), let free = number(directory + "/free_hugepages")
                else { return nil }
                return Pool(node: node, pageSize: pageSize, total: total, free: free)
            }
        }
    }

    /// Whether hugetlbfs is mounted where DPDK looks for it.
    public var isMounted: Bool {
        let mounts = (try? String(contentsOfFile: root + "/proc/mounts", encoding: .utf8)) ?? ""
        return mounts.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ")
            return fields.count > 2 && fields[1] == Self.mountPoint && fields[2] == "hugetlbfs"
        }
    }

    /// What is well with hugepages and what is not.
    /// - Parameter daemonRuns: a daemon that answers has its pages; then nothing here stops it.
    public func findings(daemonRuns: Bool) -> [Finding] {
        var findings = pools().filter { $0.pageSize == Self.defaultPageSize || $0.total > 0 }.map { pool in
            let words = "node \(pool.node) has \(pool.total) pages of \(pool.pageSize / 1024) MB, \(pool.free) free"
            return Finding("hugepages", ok: pool.total > 0, words + (pool.total > 0 ? "" : ": \(Self.mend)"))
        }
        if findings.isEmpty {
            let words = "the kernel offers none: use one built with CONFIG_HUGETLBFS, or run martletd --no-huge"
            findings.append(Finding("hugepages", ok: false, stops: !daemonRuns, words))
        } else if !daemonRuns, !pools().contains(where: { $0.free > 0 }) {
            let words = "no page is free for martletd: \(Self.mend), stop what holds them"
            findings.append(Finding("hugepages", ok: false, stops: true, words + leftovers))
        }
        let mount = isMounted ? "hugetlbfs is mounted at \(Self.mountPoint)" : "no hugetlbfs at \(Self.mountPoint)"
        findings.append(
            Finding("hugetlbfs", ok: isMounted, stops: !daemonRuns, isMounted ? mount : "\(mount): \(Self.mend)")
        )
        return findings
    }

    /// Sees to it that so much memory is free in 2 MB pages, spread evenly over the NUMA nodes, and that hugetlbfs is
    /// mounted. Never takes pages away. Needs root.
    /// - Returns: what it got; not ok when that is less.
    public func reserve(megabytes: Int) -> [Finding] {
        let nodes = pools().filter { $0.pageSize == Self.defaultPageSize }
        guard !nodes.isEmpty else { return findings(daemonRuns: false) }
        let pages = (megabytes * 1024 + Self.defaultPageSize - 1) / Self.defaultPageSize
        let share = (pages + nodes.count - 1) / nodes.count
        var failure = ""
        for node in nodes where node.free < share {
            let file = directory(node: node.node, pageSize: node.pageSize) + "/nr_hugepages"
            do {
                let wanted = node.total + share - node.free
                try Data("\(wanted)".utf8).write(to: URL(filePath: root + file))
            } catch {
                failure = " (\(file): \(error.reason); are you root?)"
            }
        }
        let free = pools().filter { $0.pageSize == Self.defaultPageSize }.map(\.freeMegabytes).reduce(0, +)
        let isEnough = free >= megabytes
        let mend =
            "\(failure): stop programs that use memory, or reserve at boot with hugepages=\(pages) on the kernel's "
            + "command line"
        let words = "\(megabytes) MB wanted, \(free) MB free" + (isEnough ? "" : mend + leftovers)
        return [Finding("hugepages", ok: isEnough, stops: true, words), mounted()]
    }

    private func mounted() -> Finding {
        if !isMounted {
            let point = root + Self.mountPoint
            try? FileManager.default.createDirectory(atPath: point, withIntermediateDirectories: true)
            guard mount("nodev", point, "hugetlbfs", 0, "pagesize=2M") == 0 else {
                let words = "cannot be mounted at \(point) (\(String(cString: strerror(errno)))): be root"
                return Finding("hugetlbfs", ok: false, stops: true, words)
            }
        }
        return Finding("hugetlbfs", ok: true, "hugetlbfs is mounted at \(Self.mountPoint)")
    }

    /// Files that DPDK processes, perhaps dead ones, keep pages with; empty when there are none.
    private var leftovers: String {
        let files = names(in: Self.mountPoint).filter { $0.contains("map_") }
        guard !files.isEmpty else { return "" }
        return "; \(files.count) files in \(Self.mountPoint) hold pages: remove those whose DPDK process is dead"
    }

    private static let mend = "martletctl doctor --reserve-hugepages 1024 (as root) reserves and mounts"

    private func directory(node: Int, pageSize: Int) -> String {
        "/sys/devices/system/node/node\(node)/hugepages/hugepages-\(pageSize)kB"
    }

    private func number(_ path: String) -> Int? {
        (try? String(contentsOfFile: root + path, encoding: .utf8))
            .flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }

    private func names(in directory: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: root + directory)) ?? []
    }
}
