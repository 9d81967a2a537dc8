import Dataplane
import Foundation
import Synchronization
import Testing

@testable import Control

/// The flow caches as an operator asks for them.
@Suite struct CacheTests {
    @Test func sumsTheFiguresOfAllWorkers() async throws {
        let bench = try await Bench.furnished()
        let response = await bench.control.cacheStatistics()
        #expect(response.lcores.map(\.lcore) == [1])
        #expect(response.total.capacity == 1 << 20 && response.lcores[0].figures == response.total)
        let text = String(decoding: try JSONEncoder().encode(response.total), as: UTF8.self)
        for key in ["exact_hits", "wildcard_hits", "misses", "entries", "invalidated", "masks", "programs"] {
            #expect(text.contains("\"\(key)\":0"))
        }
    }

    @Test func theWorkersAnswer() async throws {
        let bench = try await Bench.furnished()
        let lane = bench.dataplane.lanes[0]
        let isOver = Atomic(false)
        // A thread of its own, as a worker has: tasks may have to wait for others.
        let worker = Thread { while !isOver.load(ordering: .relaxed) { lane.maintain(now: Dataplane.now) } }
        worker.start()
        let response = try await bench.control.cachedFlows(FlowCached(bridge: "br0")).response
        #expect(response.entries.isEmpty)
        isOver.store(true, ordering: .relaxed)
        while !worker.isFinished { await Task.yield() }
    }

    @Test func refusesLimitsAndBridgesThatCannotBe() async throws {
        let bench = try await Bench.furnished()
        for (request, words) in [
            (FlowCached(limit: 0), "outside 1 to 4096"), (FlowCached(limit: 4097), "outside 1 to 4096"),
            (FlowCached(bridge: "nowhere"), "nowhere"),
        ] {
            let error = await #expect(throws: Refusal.self) { _ = try await bench.control.cachedFlows(request) }
            #expect(error?.reason.contains(words) == true)
        }
    }
}
