import Foundation
import Glibc

/// What a machine must offer before martletd can run on it, checked without a daemon.
public struct Machine: Sendable {
    private let root: String

    /// - Parameter root: stands before /sys, /proc and /dev; tests give a directory of their own.
    public init(root: String = "") { self.root = root }

    /// - Parameter daemonRuns: a daemon that answers has what it needs; then nothing here stops it.
    public func findings(daemonRuns: Bool) -> [Finding] {
        Hugepages(root: root).findings(daemonRuns: daemonRuns) + [rights(), processor(), lockedMemory()]
    }

    private func rights() -> Finding {
        guard geteuid() != 0, !has(.networkAdministration) || !has(.lockedMemory) else {
            return Finding("rights", ok: true, "enough to run martletd")
        }
        return Finding("rights", ok: false, "not root: start martletd as root or by its systemd unit")
    }

    private func processor() -> Finding {
        let text = (try? String(contentsOfFile: root + "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("flags") } ?? ""
        let flags = Set(line.split(whereSeparator: \.isWhitespace))
        guard flags.contains("sse4_2") else {
            return Finding("processor", ok: false, stops: true, "no SSE4.2, which DPDK needs: use a newer machine")
        }
        guard flags.contains("constant_tsc"), flags.contains("nonstop_tsc") else {
            return Finding("processor", ok: false, "its TSC may change pace: rates and times will be off")
        }
        return Finding("processor", ok: true, "SSE4.2 and a steady TSC" + (flags.contains("avx2") ? ", AVX2" : ""))
    }

    private func lockedMemory() -> Finding {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit)
        guard limit.rlim_cur != rlim_t.max, !has(.lockedMemory) else {
            return Finding("memlock", ok: true, "locked memory is not limited")
        }
        let words = "locked memory is limited to \(limit.rlim_cur >> 10) KiB, which NICs under VFIO need more of: "
        return Finding("memlock", ok: false, words + "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited")
    }

    /// Bit numbers of capabilities(7).
    private enum Capability: UInt64 {
        case networkAdministration = 12
        case lockedMemory = 14
    }

    private func has(_ capability: Capability) -> Bool {
        let status = (try? String(contentsOfFile: root + "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let bits = line?.split(whereSeparator: \.isWhitespace).last.flatMap { UInt64($0, radix: 16) } ?? 0
        return bits >> capability.rawValue & 1 == 1
    }
}
