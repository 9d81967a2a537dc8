import Flows
import Testing

@testable import Dataplane

/// What the control plane sees of the workers' caches.
@Suite struct CacheMailboxTests {
    @Test func showsEntriesAsMatchesAndPrograms() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows([
            "in_port=1,dl_vlan=5,actions=mod_vlan_vid:9,output:3", "in_port=3,actions=resubmit(,1)",
            "priority=0,actions=drop", "table=1,dl_src=02:00:00:00:00:07,actions=drop",
        ])
        // Its program depends on more than those of the others.
        bench.receive(frame(.customer(5)), from: 2, now: Dataplane.now)
        bench.receive(frame(.customer(5)), from: 0, now: Dataplane.now)
        bench.receive(frame(.customer(6)), from: 1, now: Dataplane.now)
        let entries = try bench.cached()
        #expect(entries.count == 5, "an exact and a wildcard entry each, but for what depends on all bits of interest")
        let sent = entries.filter { $0.port == PortIndex(0) }
        #expect(sent.map(\.isExact).sorted { $0 && !$1 } == [true, false])
        for entry in sent {
            let match = FlowText.print(entry.match)
            #expect(match.contains("in_port=1,dl_vlan=5") || match.contains("in_port=1,vlan_tci="), "\(match)")
            #expect(entry.program == [.edit("mod_vlan_vid:9"), .output(PortIndex(2))])
            #expect(entry.sharing == 2 && !entry.isCut && entry.lane == 0)
        }
        let dropped = entries.filter { $0.port == PortIndex(1) }
        #expect(dropped.allSatisfy { $0.program.isEmpty && $0.drop == .flowDrop })
    }

    @Test func boundsTheAnswerAndChoosesPorts() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows(["actions=output:3"])
        bench.receive(Self.plain, from: 0, now: Dataplane.now)
        bench.receive(Self.plain, from: 1, now: Dataplane.now)
        #expect(try bench.cached(limit: 1).count == 1)
        let ports = Set([PortIndex(1)])
        #expect(try bench.cached(ports: ports).map(\.port) == [PortIndex(1)])
        #expect(try bench.cached(ports: []).isEmpty)
    }

    @Test func cutsLongPrograms() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["actions=" + Array(repeating: "output:2", count: 20).joined(separator: ",")])
        bench.receive(Self.plain, from: 0, now: Dataplane.now)
        let entry = try #require(try bench.cached().first)
        #expect(entry.isCut && entry.program.count == CacheMailbox.Row.stepLimit)
    }

    @Test func saysSoWhenAWorkerDoesNotAnswer() throws {
        let bench = Bench(ports: 2)
        let silent = #expect(throws: Refusal.self) {
            try bench.dataplane.cachedEntries(limit: 1, attempts: 3, pause: {})
        }
        #expect(silent?.reason.contains("does not answer") == true)
        let busy = #expect(throws: Refusal.self) { try bench.cached() }
        #expect(busy?.reason.contains("try again") == true)
        bench.maintain()
        #expect(try bench.cached().isEmpty)
    }

    private static let plain: [UInt8] =
        [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5] + [UInt8](repeating: 7, count: 46)
}

extension Bench {
    fileprivate func cached(limit: Int = 100, ports: Set<PortIndex>? = nil) throws -> [CachedEntry] {
        try dataplane.cachedEntries(limit: limit, ports: ports, attempts: 10) { maintain(now: Dataplane.now) }
    }
}
