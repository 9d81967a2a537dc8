import Testing

@testable import Dataplane

/// How much of a worker's time goes to packets of unknown connections.
@Suite struct MissBudgetTests {
    private static let burst = Lane.burstLength

    @Test func limitsOnlyBesideKnownConnections() {
        let budget = MissBudget()
        defer { budget.free() }
        #expect(!budget.limits(Self.burst))
        budget.note(packets: 1000, hits: 500)
        #expect(budget.limits(Self.burst))
        #expect(!budget.limits(Self.burst - 1))
        budget.endTurn()
        // Before the first known packets of a turn, too.
        #expect(budget.limits(Self.burst))
        budget.endTurn()
        #expect(!budget.limits(Self.burst))
    }

    /// Parts of 100 ms, and what was saved up before.
    @Test(arguments: [
        (900, 0, 0.0625), (250, 0, 0.25), (100, 0, 0.7), (25, 0, 0.925), (900, 1, 0.5), (250, 1, 0.5), (100, 1, 0.7),
    ])
    func givesMissesWhatKnownConnectionsLeave(hits: Int, established: Int, share: Double) {
        let budget = MissBudget()
        defer { budget.free() }
        var (now, time): (UInt64, UInt64) = (1_000_000_000, 0)
        budget.note(packets: 1000, hits: hits)
        budget.charge(3, misses: 10, established: 10 * established, nanoseconds: 0)
        for _ in 0..<10_000 {
            now += 10_000
            let limit = UInt64(budget.limit(of: 3, now: now))
            time += limit * 500
            guard limit != 0 else { continue }
            budget.charge(3, misses: Int(limit), established: Int(limit) * established, nanoseconds: limit * 500)
        }
        #expect(abs(Double(time) / 100_000_000 - share) < 0.01)
    }

    /// A worker may be interrupted for long in a miss: that says nothing about the next ones.
    @Test func oneSlowMissKeepsTheNextWaitingForItsTimeOnly() {
        let budget = MissBudget()
        defer { budget.free() }
        var now: UInt64 = 1_000_000_000
        _ = budget.limit(of: 3, now: now)
        budget.charge(3, misses: 1, established: 0, nanoseconds: 10_000_000)
        now += 1_000_000
        #expect(budget.limit(of: 3, now: now) == 0)
        for _ in 0..<200 {
            now += 1_000_000
            _ = budget.limit(of: 3, now: now)
        }
        #expect(budget.limit(of: 3, now: now) != 0)
    }
}
