import CProbe
import Dataplane
import Glibc

/// What a packet costs in the dataplane alone, and the proof that it costs no allocation and no lock.
@main
struct Micro {
    static func main() throws {
        let isFree = try provesFreedom()
        let isQuick = CommandLine.arguments.contains("--prove")
        if !isQuick { try measure() }
        if !isFree { fail("a packet cost an allocation or a lock") }
    }

    private static func fail(_ reason: String) -> Never {
        print("FAILED: \(reason)")
        exit(1)
    }

    // MARK: - The proof

    /// Fewer, and one workload alone, for a run under a simulator that counts instructions:
    /// `valgrind --tool=callgrind --toggle-collect='*Lane*receive*' Micro --prove --packets N --workload N`.
    private static let provenPackets = argument("--packets") ?? 1_048_576
    private static let workloads = argument("--workload").map { [Workload.all[$0]] } ?? Workload.all

    private static func argument(_ name: String) -> Int? {
        CommandLine.arguments.firstIndex(of: name).flatMap { Int(CommandLine.arguments[$0 + 1]) }
    }

    /// Does what must be counted, and ends the program when the probe does not see it.
    private static func seesItself() {
        let before = probe_read()
        probe_exercise()
        let middle = probe_read()
        let object = Dataplane(workerCount: 1)
        let after = withExtendedLifetime(object) { probe_read() }
        guard middle.allocations > before.allocations, middle.locks > before.locks,
            after.allocations > middle.allocations
        else { fail("the probe is blind: it did not see what it did itself") }
    }

    private static func provesFreedom() throws -> Bool {
        seesItself()
        var isFree = true
        for workload in workloads {
            let rig = try workload.rig()
            rig.run(Workload.warmUp)
            let before = probe_read()
            rig.run(provenPackets)
            let after = probe_read()
            let allocations = after.allocations - before.allocations
            let locks = after.locks - before.locks
            let isClean = allocations == 0 && locks == 0
            isFree = isFree && isClean
            print(
                "\(isClean ? "ok    " : "FAILED") \(workload.name): \(provenPackets) packets, "
                    + "\(allocations) allocations, \(locks) locks"
            )
        }
        return isFree
    }

    // MARK: - The figures

    private static func measure() throws {
        print("\nnanoseconds a packet: minimum, median, maximum of 7 runs")
        for workload in workloads {
            let rig = try workload.rig()
            rig.run(Workload.warmUp)
            let packets = 4_194_304
            let times = (0..<7).map { _ in
                let duration = ContinuousClock().measure { rig.run(packets) }
                return Double(duration.components.attoseconds) / 1e9 / Double(packets)
                    + Double(duration.components.seconds) * 1e9 / Double(packets)
            }.sorted()
            let text = [times[0], times[3], times[6]].map { String((($0 * 100).rounded()) / 100) }
            print("\(workload.name): \(text.joined(separator: "  "))")
        }
    }
}
