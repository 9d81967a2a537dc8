import Foundation
import Testing

@testable import Control

/// A machine of files: what Linux would show under /sys and /proc.
@Suite struct MachineTests {
    private let home = TemporaryDirectory()
    private var root: String { home.path }

    private func write(_ text: String, to path: String) throws {
        let url = URL(filePath: root + path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    private func addNode(_ node: Int, total: Int, free: Int) throws {
        let directory = "/sys/devices/system/node/node\(node)/hugepages/hugepages-2048kB/"
        try write("\(total)\n", to: directory + "nr_hugepages")
        try write("\(free)\n", to: directory + "free_hugepages")
    }

    private func mountHugetlbfs() throws {
        try write("proc /proc proc rw 0 0\nnodev /dev/hugepages hugetlbfs rw,pagesize=2M 0 0\n", to: "/proc/mounts")
    }

    @Test func countsPagesOfEachNode() throws {
        try addNode(1, total: 512, free: 500)
        try addNode(0, total: 1024, free: 7)
        try mountHugetlbfs()
        let pools = Hugepages(root: root).pools()
        #expect(pools.map(\.node) == [0, 1])
        #expect(pools.map(\.total) == [1024, 512])
        #expect(pools.map(\.free) == [7, 500])
        #expect(Hugepages(root: root).findings(daemonRuns: false).allSatisfy { $0.ok })
    }

    @Test func saysHowToReserveWhenNoneAreThere() throws {
        try addNode(0, total: 0, free: 0)
        let findings = Hugepages(root: root).findings(daemonRuns: false)
        #expect(findings.contains { $0.stops })
        #expect(findings.allSatisfy { $0.message.contains("martletctl doctor --reserve-hugepages") })
        #expect(!Hugepages(root: root).findings(daemonRuns: true).contains { $0.stops })
    }

    @Test func namesFilesThatHoldPages() throws {
        try addNode(0, total: 100, free: 0)
        try mountHugetlbfs()
        try write("", to: "/dev/hugepages/rtemap_0")
        let findings = Hugepages(root: root).findings(daemonRuns: false)
        #expect(findings.contains { $0.stops && $0.message.contains("1 files in /dev/hugepages hold pages") })
    }

    @Test func reservesOnTopOfWhatOthersHoldAndSaysWhatItGot() throws {
        try addNode(0, total: 300, free: 100)
        try addNode(1, total: 10, free: 10)
        try mountHugetlbfs()
        let findings = Hugepages(root: root).reserve(megabytes: 1024)
        let base = root + "/sys/devices/system/node/node"
        let file = "/hugepages/hugepages-2048kB/nr_hugepages"
        #expect(try String(contentsOfFile: base + "0" + file, encoding: .utf8) == "456")
        #expect(try String(contentsOfFile: base + "1" + file, encoding: .utf8) == "256")
        // Files do not grow pages: what is free stays, and that is not enough.
        #expect(findings[0].stops)
        #expect(findings[0].message.contains("1024 MB wanted, 220 MB free"))
        #expect(findings[1].ok)
    }

    @Test func leavesAloneWhatIsEnough() throws {
        try addNode(0, total: 300, free: 100)
        try mountHugetlbfs()
        #expect(Hugepages(root: root).reserve(megabytes: 200).allSatisfy { $0.ok })
        #expect(Hugepages(root: root).pools()[0].total == 300)
    }

    @Test func wantsAProcessorThatDPDKRunsOn() throws {
        try write("processor : 0\nflags\t\t: fpu sse2 constant_tsc nonstop_tsc\n", to: "/proc/cpuinfo")
        let old = Machine(root: root).findings(daemonRuns: true).first { $0.check == "processor" }
        #expect(old?.stops == true)
        try write("flags\t\t: sse4_2 constant_tsc nonstop_tsc\n", to: "/proc/cpuinfo")
        #expect(Machine(root: root).findings(daemonRuns: true).first { $0.check == "processor" }?.ok == true)
        try write("flags\t\t: sse4_2\n", to: "/proc/cpuinfo")
        let unsteady = Machine(root: root).findings(daemonRuns: true).first { $0.check == "processor" }
        #expect(unsteady?.ok == false && unsteady?.stops == false)
    }
}
