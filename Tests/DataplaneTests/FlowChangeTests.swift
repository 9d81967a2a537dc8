import Flows
import Seeds
import Testing

@testable import Dataplane

/// A change of flows makes those entries of the cache stale that it can concern, and as few others as can be told.
@Suite struct FlowChangeTests {
    /// Beside a bench whose cache is emptied before each burst, while flows come and go a few at a time.
    @Test(arguments: seeds)
    func sendsByTheCacheWhatTheTablesSendWhileFewFlowsChange(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var spared: UInt64 = 0
        for golden in try GoldenCase.all().shuffled(using: &random).prefix(12) {
            let (cached, walked) = (Bench(ports: 9), Bench(ports: 9))
            let pool = (0..<30).map { _ in RandomFrame.make(&random) }
            for bench in [cached, walked] { try bench.replaceFlows(golden.flows + ["priority=0,actions=NORMAL"]) }
            let flows = golden.flows.filter { !$0.hasPrefix("group_id=") }
            for _ in 0..<60 {
                let (gone, added) = (flows.randomElement(using: &random)!, flows.randomElement(using: &random)!)
                for bench in [cached, walked] {
                    try bench.change(without: gone)
                    try bench.change(with: added)
                }
                let burst = (0..<12).map { _ in Frame(pool.randomElement(using: &random)!) }
                let port = UInt16.random(in: 0..<2, using: &random)
                for _ in 0..<64 { walked.maintain(now: 100 + FlowCache.idleLimit + 1) }
                let (actual, expected) = (cached.receive(burst, from: port), walked.receive(burst, from: port))
                try #require(actual.sent == expected.sent, "seed \(seed), port \(port)\n-\(gone)\n+\(added)\n\(flows)")
                try #require(actual.reasons == expected.reasons, "seed \(seed)\n-\(gone)\n+\(added)\n\(flows)")
            }
            let (less, more) = (cached.dataplane.cacheStatistics.misses, walked.dataplane.cacheStatistics.misses)
            spared += more - less
        }
        #expect(spared > 1000, "the cache has hardly answered")
    }

    @Test(arguments: [
        // Another port, another address, a lower priority, a protocol that the packet does not have.
        "priority=30000,in_port=2,actions=drop", "dl_dst=02:00:00:00:00:09,actions=drop",
        "priority=5,actions=drop", "priority=30000,icmp,actions=drop",
        "priority=30000,dl_vlan=7,actions=drop", "table=1,priority=30000,in_port=2,actions=drop",
        "table=2,priority=30000,actions=drop",
    ])
    func keepsAnEntryThatANewFlowCannotConcern(flow: String) throws {
        let bench = try Self.bench(["priority=10,udp,actions=load:0x5->NXM_NX_REG0[],resubmit(,1)", Self.last])
        try bench.change(with: flow)
        bench.receive(Self.packet, from: 0)
        #expect(bench.dataplane.cacheStatistics.misses == 1)
        try bench.change(without: flow)
        bench.receive(Self.packet, from: 0)
        bench.maintain()
        bench.receive(Self.packet, from: 0)
        #expect(bench.dataplane.cacheStatistics.misses == 1)
        #expect(bench.dataplane.cacheStatistics.invalidated == 0)
    }

    @Test(arguments: [
        "priority=30000,in_port=1,actions=drop", "priority=10,udp,actions=drop",
        "priority=30000,nw_ttl=64,udp,actions=drop", "priority=30000,dl_vlan=0xffff,actions=drop",
        // The first table had given it a tag by then.
        "table=1,priority=30000,dl_vlan=7,actions=drop", "table=1,priority=30000,reg0=5,actions=drop",
        // As if it had come from another port.
        "table=1,priority=30000,in_port=9,actions=drop",
    ])
    func walksAgainWhatANewFlowMayConcern(flow: String) throws {
        let bench = try Self.bench([
            "priority=10,udp,in_port=1,actions=load:0x5->NXM_NX_REG0[],mod_vlan_vid:7,resubmit(9,1)", Self.last,
        ])
        try bench.change(with: flow)
        bench.receive(Self.packet, from: 0)
        #expect(bench.dataplane.cacheStatistics.misses == 2)
        bench.receive(Self.packet, from: 0)
        #expect(bench.dataplane.cacheStatistics.misses == 2)
    }

    @Test func forgetsAnEntryWhoseFlowIsRemovedOrReplaced() throws {
        let bench = try Self.bench(["priority=10,actions=resubmit(,1)", Self.last])
        try bench.change(without: Self.last)
        #expect(bench.receive(Self.packet, from: 0).sent.isEmpty)
        try bench.change(with: Self.last)
        #expect(bench.receive(Self.packet, from: 0).sent.count == 1)
        try bench.change(with: "table=1,priority=10,actions=output:3")
        #expect(bench.receive(Self.packet, from: 0).sent.keys.map { $0 } == [2])
    }

    /// More flows came than a packet is held against, or than are remembered.
    @Test(arguments: [1, 40, 127, 128, 129, 1100])
    func seesAFlowAmongManyOthers(count: Int) throws {
        let bench = try Self.bench(["priority=10,actions=resubmit(,1)", Self.last])
        let others = try (0..<count).map { try FlowText.flow("priority=30000,in_port=3,tcp,tp_dst=\($0),actions=drop") }
        try bench.change(with: "priority=40000,udp,actions=output:4")
        for other in others { try bench.dataplane.changeFlows(of: "br", adding: [other]) }
        #expect(bench.receive(Self.packet, from: 0).sent.keys.map { $0 } == [3])
        try bench.change(without: "priority=40000,udp,actions=output:4")
        #expect(bench.receive(Self.packet, from: 0).sent.keys.map { $0 } == [1])
        try bench.dataplane.changeFlows(
            of: "br",
            removing: bench.dataplane.flows(of: "br").filter { $0.flow.priority == 30000 }.map(\.number),
            adding: others + [FlowText.flow("priority=40000,udp,actions=output:5")]
        )
        #expect(bench.receive(Self.packet, from: 0).sent.keys.map { $0 } == [4])
    }

    /// Two walks that end alike but looked at different bits are two programs: the cache is interested in both.
    @Test func staysInterestedInWhatAWalkThatEndedAlikeLookedAt() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows(["priority=1,actions=output:2"])
        bench.receive(Self.packet, from: 0)
        try bench.change(with: "priority=9,udp,tp_src=0x1234/0xffff,tp_dst=0x0050,nw_tos=4,actions=output:3")
        // It is walked again, and goes the same way, as its type of service is 0.
        bench.receive(Self.packet, from: 0)
        // A turn of the sweep has seen all entries.
        for now in UInt32(101)..<103 { bench.maintain(now: now) }
        var other = Self.packet
        other[15] = 4
        #expect(bench.receive(Self.packet, from: 0).sent.keys.map { $0 } == [1])
        #expect(bench.receive(other, from: 0).sent.keys.map { $0 } == [2])
    }

    /// Connections whose tables have changed are no new ones: no budget keeps them from being walked.
    @Test func dropsNoKnownConnectionForAChange() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["udp,tp_dst=0,actions=drop", "priority=1,actions=output:2"])
        let frames = (1...32).map { Frame(Self.packet(port: UInt16($0))) }
        for _ in 0..<10 { bench.receive(frames, from: 0) }
        try bench.change(with: "priority=2,actions=output:2")
        let outcome = bench.receive(frames, from: 0)
        #expect(outcome.sent[1]?.count == 32 && outcome.reasons.isEmpty)
    }

    /// New connections do not get all of the time while there are known ones, and those lose nothing.
    @Test func dropsNewConnectionsOfAFloodBesideKnownOnes() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["udp,tp_dst=0,actions=drop", "priority=1,actions=output:2"])
        var (dropped, sent) = (0, 0)
        for turn in 0..<2000 {
            let known = [Frame](repeating: Frame(Self.packet(port: 80)), count: 16)
            let new = (0..<16).map { Frame(Self.packet(port: UInt16(100 + turn * 16 + $0))) }
            let outcome = bench.receive(known + new, from: 0)
            dropped += outcome.dropped.count
            sent += outcome.sent[1]?.filter { $0 == Self.packet(port: 80) }.count ?? 0
            #expect(outcome.reasons.keys.allSatisfy { $0.reason == .missBudget })
        }
        #expect(sent == 2000 * 16)
        #expect(dropped > 1000, "the flood would take nearly all of the time")
    }

    private static let last = "table=1,priority=10,actions=output:2"

    /// With a packet's entry in the cache.
    private static func bench(_ flows: [String]) throws -> Bench {
        let bench = Bench(ports: 9)
        // Flows in front of what is tested, that have the walk look at what the tested ones look at.
        try bench.replaceFlows(
            flows + [
                "priority=40000,dl_dst=02:00:00:00:00:01,actions=drop", "priority=40000,dl_vlan=9,actions=drop",
                "priority=40000,in_port=8,icmp,actions=drop",
            ]
        )
        bench.receive(packet, from: 0)
        #expect(bench.dataplane.cacheStatistics.misses == 1)
        return bench
    }

    private static var packet: [UInt8] { packet(port: 80) }

    private static func packet(port: UInt16) -> [UInt8] {
        var frame: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]
        frame += [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, UInt8(port >> 8), UInt8(port & 255), 0, 26, 0, 0]
        return frame + [UInt8](repeating: 0, count: 60 - frame.count)
    }
}

extension Bench {
    fileprivate func change(with flow: String) throws {
        try dataplane.changeFlows(of: "br", adding: [FlowText.flow(flow)])
    }

    /// Nothing when there is no such flow.
    fileprivate func change(without flow: String) throws {
        guard let number = dataplane.flowNumber(of: try FlowText.flow(flow), on: "br") else { return }
        try dataplane.changeFlows(of: "br", removing: [number])
    }
}
