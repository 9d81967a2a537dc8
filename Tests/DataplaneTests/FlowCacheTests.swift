import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// Packets by the cache leave as packets by the tables, and the cache keeps its bounds.
@Suite struct FlowCacheTests {
    /// Under flows that change, beside a bench whose cache is emptied before each burst.
    @Test(arguments: seeds)
    func sendsByTheCacheWhatTheTablesSend(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for golden in try GoldenCase.all().shuffled(using: &random).prefix(40) {
            let (cached, walked) = (Bench(ports: 9), Bench(ports: 9))
            var pool = (0..<30).map { _ in RandomFrame.make(&random) }
            for turn in 0..<40 {
                // Most of the time all flows are there, then some, in another order, now and then NORMAL beside them.
                var flows = golden.flows.filter {
                    turn % 4 == 0 || $0.hasPrefix("group_id=") || Int.random(in: 0..<4, using: &random) != 0
                }
                if turn % 3 == 0 { flows.append("priority=0,actions=NORMAL") }
                if turn % 2 == 0 {
                    try cached.replaceFlows(flows)
                    try walked.replaceFlows(flows)
                }
                for _ in 0..<4 {
                    let burst = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                        Frame(pool.randomElement(using: &random)!)
                    }
                    let port = UInt16.random(in: 0..<2, using: &random)
                    walked.emptyCache()
                    let (actual, expected) = (cached.receive(burst, from: port), walked.receive(burst, from: port))
                    try #require(actual.sent == expected.sent, "seed \(seed), port \(port)\n\(flows)")
                    try #require(actual.reasons == expected.reasons, "seed \(seed)\n\(flows)")
                }
                pool[Int.random(in: 0..<30, using: &random)] = RandomFrame.make(&random)
            }
        }
    }

    /// Over a patch, with groups, action sets, conjunctions, lengths and NORMAL, while all of them change.
    @Test(arguments: seeds)
    func sendsByTheCacheWhatTheTablesOfTwoBridgesSend(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<10 {
            let (cached, walked) = (Bench.patched(), Bench.patched())
            let pool = (0..<40).map { _ in
                Bool.random(using: &random) ? RandomFrame.make(&random) : RandomFrame.switched(&random)
            }
            for turn in 0..<30 {
                let change = RandomChange(isFirst: turn == 0, &random)
                for bench in [cached, walked] { try change.apply(to: bench) }
                for _ in 0..<3 {
                    let burst = (0..<Int.random(in: 1...12, using: &random)).map { _ in
                        Frame(pool.randomElement(using: &random)!)
                    }
                    let port: UInt16 = [0, 1, 3].randomElement(using: &random)!
                    walked.emptyCache()
                    let (actual, expected) = (cached.receive(burst, from: port), walked.receive(burst, from: port))
                    try #require(actual.sent == expected.sent, "seed \(seed), port \(port)\n\(cached.tables)")
                    try #require(actual.reasons == expected.reasons, "seed \(seed)\n\(cached.tables)")
                }
            }
            #expect(cached.dataplane.cacheStatistics.exactHits > 0)
        }
    }

    /// What `PlainPacket` reads is what `FlowKey(frame:)` reads.
    @Test(arguments: seeds)
    func readsPlainPacketsAsAllOthers(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let ledger = Ledger()
        var plain = 0
        for _ in 0..<20_000 {
            var bytes = RandomFrame.make(&random)
            // Types and lengths near to those of plain packets, which random ones hardly meet.
            for place in [12, 13, 14, 20, 21] where place < bytes.count && Int.random(in: 0..<10, using: &random) == 0 {
                bytes[place] ^= UInt8.random(in: .min ... .max, using: &random) & 0x45
            }
            let packet = ledger.make(Frame(bytes))
            defer { _ = ledger.retire(packet) }
            guard let short = PlainPacket(packet) else { continue }
            plain += 1
            var layout = FrameLayout()
            let key = bytes.withUnsafeBytes { FlowKey(frame: $0, length: bytes.count, layout: &layout) }
            var expected = FlowKey()
            (expected[0], expected[1], expected[2]) = (PlainPacket.word0, short.w1, short.w2)
            (expected[3], expected[4]) = (short.w3, short.w4)
            #expect(key == expected && layout.kind == .ipv4 && (layout.network, layout.transport) == (14, 34))
        }
        #expect(plain > 100)
    }

    @Test func makesOneConnectionOfPacketsThatDifferWhereNoFlowLooks() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["udp,tp_dst=53,actions=drop", "priority=1,actions=output:2"])
        bench.receive(Self.packet(port: 80, ttl: 64), from: 0)
        bench.receive(Self.packet(port: 80, ttl: 63), from: 0)
        bench.receive(Self.packet(port: 81, ttl: 64), from: 0)
        let statistics = bench.dataplane.cacheStatistics
        #expect(statistics.misses == 2, "the port matters")
        #expect(statistics.exactHits == 1, "the time to live does not")
    }

    @Test func answersForOtherConnectionsUnderTheMaskOfTheirFlow() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows([
            "in_port=1,actions=output:2", "in_port=2,actions=resubmit(,1)", "table=1,udp,tp_dst=7,actions=drop",
        ])
        bench.receive(Self.packet(port: 80, ttl: 64), from: 1)
        bench.receive(Self.packet(port: 80, ttl: 64), from: 0)
        let answer = bench.receive(Self.packet(port: 81, ttl: 64), from: 0)
        #expect(answer.sent[1]?.count == 1)
        let statistics = bench.dataplane.cacheStatistics
        #expect(statistics.misses == 2 && statistics.wildcardHits == 1, "the first port's flow asks for no ports")
    }

    /// Connections stay known when packets of others have the cache look at more bits, or at less.
    @Test func knowsConnectionsWhenItsInterestChanges() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows([
            "priority=2,udp,tp_dst=80,actions=output:2", "priority=1,in_port=3,actions=resubmit(,1)",
            "priority=0,actions=output:2",
            "table=1,ip,nw_src=10.0.0.1,nw_ttl=64,actions=output:1",
        ])
        for port in UInt16(80)..<100 { bench.receive(Self.packet(port: port, ttl: 64), from: 0) }
        let misses = bench.dataplane.cacheStatistics.misses
        bench.maintain()
        bench.receive(Self.packet(port: 81, ttl: 64), from: 2)
        for port in UInt16(80)..<100 {
            #expect(bench.receive(Self.packet(port: port, ttl: 64), from: 0).sent.keys.map { $0 } == [1])
        }
        #expect(bench.dataplane.cacheStatistics.misses == misses + 1)
        // The one that looks at more goes.
        try bench.dataplane.changeFlows(of: "br", adding: [FlowText.flow("table=1,priority=9,actions=drop")])
        bench.maintain()
        for port in UInt16(80)..<100 {
            #expect(bench.receive(Self.packet(port: port, ttl: 64), from: 0).sent.keys.map { $0 } == [1])
        }
        #expect(bench.dataplane.cacheStatistics.misses == misses + 1)
    }

    @Test func invalidatesOnlyWhatVisitedATableThatChanged() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows([
            "table=0,in_port=1,actions=resubmit(,1)", "table=0,in_port=2,actions=resubmit(,2)",
            "table=1,actions=output:3",
            "table=2,actions=output:3",
        ])
        for port in UInt16(0)..<2 { bench.receive(Self.packet(port: 80, ttl: 64), from: port) }
        try bench.dataplane.changeFlows(of: "br", adding: [FlowText.flow("table=2,priority=40000,actions=output:1")])
        #expect(bench.receive(Self.packet(port: 80, ttl: 64), from: 0).sent.keys.map { $0 } == [2])
        #expect(bench.dataplane.cacheStatistics.misses == 2, "its tables are the same")
        #expect(bench.receive(Self.packet(port: 80, ttl: 64), from: 1).sent.keys.map { $0 } == [0])
        #expect(bench.dataplane.cacheStatistics.misses == 3)
    }

    @Test func forgetsSilentConnectionsAndStaleOnesByTheSweep() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["udp,tp_dst=53,actions=drop", "priority=1,actions=output:2"])
        for port in 0..<10 { bench.receive(Self.packet(port: UInt16(port), ttl: 64), from: 0) }
        #expect(bench.dataplane.cacheStatistics.entries == 10)
        try bench.replaceFlows(["priority=1,actions=output:2"])
        bench.maintain()
        #expect(bench.dataplane.cacheStatistics.entries == 0, "their table has changed")
        bench.receive(Self.packet(port: 1, ttl: 64), from: 0)
        bench.maintain(now: 100 + FlowCache.idleLimit + 1)
        #expect(bench.dataplane.cacheStatistics.entries == 0 && bench.dataplane.cacheStatistics.aged > 0)
    }

    /// A port that invents connections takes its own places.
    @Test func evictsFromThePortWithTheMost() throws {
        let bench = Bench(.bridge([.allTagged, .allTagged, .allTagged]), cacheCapacity: 256)
        try bench.replaceFlows(["udp,tp_dst=53,nw_src=1.1.1.1,actions=drop", "priority=1,actions=output:3"])
        for port in 0..<20 { bench.receive(Self.packet(port: UInt16(port), ttl: 64), from: 1) }
        let before = bench.dataplane.cacheStatistics.misses
        for port in 0..<20_000 { bench.receive(Self.packet(port: UInt16(port), ttl: 64), from: 0, now: 101) }
        #expect(bench.dataplane.cacheStatistics.entries <= 256)
        let flood = bench.dataplane.cacheStatistics
        for port in 0..<20 { bench.receive(Self.packet(port: UInt16(port), ttl: 64), from: 1, now: 102) }
        #expect(flood.misses - before > 0)
        #expect(bench.dataplane.cacheStatistics.misses == flood.misses, "the quiet port keeps its own")
    }

    /// Connections of one packet take nobody's place.
    @Test func admitsTheSecondPacketOfAConnectionToAFullCache() throws {
        let bench = Bench(.bridge([.allTagged, .allTagged]), cacheCapacity: 256)
        try bench.replaceFlows(["udp,tp_dst=0,actions=drop", "priority=1,actions=output:2"])
        for port in UInt16(1)...256 { bench.receive(Self.packet(port: port, ttl: 64), from: 0) }
        let full = bench.dataplane.cacheStatistics
        for port in UInt16(300)..<2300 { bench.receive(Self.packet(port: port, ttl: 64), from: 0) }
        #expect(bench.dataplane.cacheStatistics.evicted == full.evicted, "each has come once")
        for _ in 0..<2 { bench.receive(Self.packet(port: 5000, ttl: 64), from: 0) }
        let admitted = bench.dataplane.cacheStatistics
        // For its own entry, and one for all ports that begin like its.
        #expect(admitted.evicted == full.evicted + 2)
        bench.receive(Self.packet(port: 5000, ttl: 64), from: 0)
        #expect(bench.dataplane.cacheStatistics.misses == admitted.misses)
    }

    private static let tracking = [
        "ip,actions=ct(table=1,zone=1)", "table=1,ip,ct_state=+trk+new,actions=ct(commit,zone=1),output:2",
        "table=1,ip,ct_state=+trk+est,actions=output:2",
    ]

    /// What begins a connection is one walk for all of them, and leaves no entry of its own.
    @Test func firstPacketsOfConnectionsShareAnEntry() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(Self.tracking)
        for port in UInt16(1)...100 { bench.receive(Self.packet(port: port, ttl: 64), from: 0) }
        #expect(bench.dataplane.connectionStatistics.count == 100)
        #expect(bench.dataplane.cacheStatistics.misses == 1 && bench.dataplane.cacheStatistics.wildcardHits == 99)
        #expect(bench.dataplane.cacheStatistics.entries == 1)
    }

    /// Until the first answer each of its packets is a new one.
    @Test func aConnectionThatNobodyAnswersHasAnEntryFromItsSecondPacketOn() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(Self.tracking)
        for _ in 0..<4 { bench.receive(Self.packet(port: 80, ttl: 64), from: 0) }
        var statistics = bench.dataplane.cacheStatistics
        #expect(statistics.misses == 2 && statistics.wildcardHits == 0 && statistics.exactHits == 2)
        for _ in 0..<4 { bench.receive(Self.packet(port: 81, ttl: 64), from: 0) }
        statistics = bench.dataplane.cacheStatistics
        #expect(statistics.misses == 2 && statistics.wildcardHits == 2 && statistics.exactHits == 4)
        // Each its own, and one for all that are new.
        #expect(statistics.entries == 3)
    }

    @Test func countsPacketsOfTheCacheForTheFlowsTheyMet() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["table=0,actions=resubmit(,1)", "table=1,actions=output:2"])
        for _ in 0..<100 { bench.receive(Self.packet(port: 80, ttl: 64), from: 0) }
        bench.maintain()
        for flow in bench.dataplane.flows(of: "br") {
            #expect(flow.statistics.packetCount == 100 && flow.statistics.byteCount == 6000)
        }
        // What was counted just before a flow goes is not another flow's.
        bench.receive(Self.packet(port: 80, ttl: 64), from: 0)
        try bench.replaceFlows(["table=0,actions=resubmit(,1)", "table=1,actions=output:2"])
        bench.maintain()
        #expect(bench.dataplane.flows(of: "br").allSatisfy { $0.statistics.packetCount == 0 })
    }

    private static func packet(port: UInt16, ttl: UInt8) -> [UInt8] {
        var frame: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, ttl, 17]
        let checksum = 0xa6bd - UInt16(ttl) << 8
        frame += [UInt8(checksum >> 8), UInt8(checksum & 255)]
        frame += [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, UInt8(port >> 8), UInt8(port & 255), 0, 26, 0, 0]
        return frame + [UInt8](repeating: 0, count: 60 - frame.count)
    }
}

/// A change of a bridge of `Bench.patched()`: all of its tables, some flows, its groups alone, or a link.
private struct RandomChange {
    private var tables: [String: [String]] = [:]
    private var bridge: String
    private var flows: [String] = []
    private var groups: [String] = []
    private var link: (port: UInt16, isLive: Bool)?

    init(isFirst: Bool, _ random: inout SeededGenerator) {
        bridge = ["br", "other"].randomElement(using: &random)!
        let all = RandomTables.bridges
        guard !isFirst else {
            for name in ["br", "other"] { tables[name] = all[name]!.groups(&random) + all[name]!.flows(8, &random) }
            return
        }
        switch Int.random(in: 0..<6, using: &random) {
        case 0: tables[bridge] = all[bridge]!.groups(&random) + all[bridge]!.flows(8, &random)
        case 1, 2: flows = all[bridge]!.flows(2, &random)
        case 3: groups = all[bridge]!.groups(&random)
        case 4: link = (.random(in: 0...4, using: &random), .random(using: &random))
        default: break
        }
    }

    func apply(to bench: Bench) throws {
        for (bridge, texts) in tables { try bench.replaceFlows(texts, of: bridge) }
        let last = bench.dataplane.flows(of: bridge).map(\.number).max()
        if !flows.isEmpty {
            let added = try flows.map { try FlowText.flow($0) }
            try bench.dataplane.changeFlows(of: bridge, removing: last.map { [$0] } ?? [], adding: added)
        }
        if !groups.isEmpty {
            try bench.dataplane.changeGroups(of: bridge, adding: groups.map { try FlowText.group($0) })
        }
        if let link { bench.dataplane.setLive(port: PortIndex(link.port), link.isLive) }
    }
}

extension Bench {
    /// All flows and groups, as text.
    fileprivate var tables: String {
        ["br", "other"].map { bridge in
            let groups = dataplane.groups(of: bridge).map { FlowText.print($0) }
            let flows = dataplane.flows(of: bridge).map { FlowText.print($0.flow) }
            return ([bridge] + groups + flows).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// Lets every entry grow old.
    fileprivate func emptyCache() {
        maintain(now: 100 + FlowCache.idleLimit + 1)
        #expect(dataplane.cacheStatistics.entries == 0)
    }
}
