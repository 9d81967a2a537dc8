import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// What a trace says beside what becomes of a real packet.
@Suite struct TraceTests {
    /// By NORMAL on ports of every VLAN mode, learning on the way.
    @Test(arguments: seeds)
    func saysWhereFramesGo(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let policies: [VLANPolicy] = [
            .allTagged, .access(10), .trunk(10, 20), .nativeTagged(10, 20), .nativeUntagged(20, 10), .tunnel(30, 10),
        ]
        for _ in 0..<10 {
            let bench = Bench((0..<5).map { _ in policies.randomElement(using: &random)! })
            for _ in 0..<50 {
                let frame = RandomFrame.switched(&random)
                try bench.compare(frame, from: UInt16.random(in: 0..<5, using: &random), "seed \(seed)")
            }
        }
    }

    @Test(arguments: [
        "actions=output:2,mod_dl_src:02:00:00:00:00:09,output:3", "actions=mod_vlan_vid:5,output:2,strip_vlan,IN_PORT",
        "actions=clone(mod_vlan_vid:7,output:2),output:3", "actions=FLOOD,ALL,output:1,output:77",
        "actions=resubmit(,1),output:2\ntable=1,actions=mod_vlan_vid:3,output:3", "actions=resubmit(,0)",
        "actions=push_vlan:0x88a8,push_vlan:0x8100,output:2", "actions=drop", "table=3,actions=output:2",
        "ip,actions=dec_ttl,output:2\npriority=0,actions=NORMAL",
    ])
    func saysWhatFlowsDo(flows: String) throws {
        var random = SeededGenerator(seed: 7)
        let bench = Bench(ports: 4)
        try bench.replaceFlows(flows.split(separator: "\n").map(String.init))
        for _ in 0..<100 {
            try bench.compare(RandomFrame.switched(&random), from: UInt16.random(in: 0..<4, using: &random), flows)
        }
    }

    @Test func namesEveryReasonToDrop() throws {
        let bench = Bench([.allTagged, .access(10), .tunnel(30, 7), .allTagged])
        let flows = [
            "table=0,priority=9,dl_vlan=7,actions=drop", "priority=8,dl_vlan=8,actions=resubmit(,0)",
            "priority=7,ip,actions=dec_ttl,output:2", "priority=0,actions=NORMAL",
            "priority=6,dl_vlan=6,actions=resubmit(,66)",
        ]
        try bench.replaceFlows(flows + WalkTests.pushing(from: 66))
        func reason(_ frame: [UInt8], from port: UInt16 = 0) throws -> DropReason {
            try bench.compare(frame, from: port, "")
            return bench.trace(frame, from: port).drop
        }
        let plain = Self.plain
        #expect(try reason(Array(plain.prefix(13))) == .runt)
        #expect(try reason(Self.tagged(7)) == .flowDrop)
        #expect(try reason(Self.tagged(8)) == .flowLoop)
        #expect(try reason(Self.tagged(6)) == .flowTooLong)
        #expect(try reason(Self.packet) == .timeToLive)
        #expect(try reason(Self.tagged(9), from: 1) == .vlanNotCarried)
        #expect(try reason(Self.tagged(0xff, 0x0f)) == .reservedVLAN)
        #expect(try reason(Array(Self.tagged(9).prefix(15))) == .truncatedTag)
        #expect(try reason(Self.with(plain, 6, 1)) == .invalidSource)
        #expect(try reason(Self.with(plain, [1, 0x80, 0xc2, 0, 0, 0])) == .reservedAddress)
        bench.receive(plain, from: 0)
        #expect(try reason(Self.with(plain, [2, 0, 0, 0, 0, 1])) == .samePort)
        let lonely = Bench([.access(10), .access(20)])
        try lonely.walkTables()
        try lonely.compare(plain, from: 0, "")
        #expect(lonely.trace(plain, from: 0).drop == .noOtherPort)
        let tunnel = Bench([.trunk(30), .tunnel(30, 7)])
        try tunnel.walkTables()
        try tunnel.compare(Self.tagged(30), from: 0, "")
        #expect(tunnel.trace(Self.tagged(30), from: 0).drop == .transmitNotCarried)
        let key = try FlowText.packet("in_port=99,dl_src=02:00:00:00:00:01")
        #expect(bench.dataplane.trace(key, on: "br").drop == .noBridge)
    }

    @Test func learnsAndCountsNothing() throws {
        let bench = Bench(ports: 3)
        _ = bench.trace(Self.plain, from: 0)
        bench.maintain()
        #expect(bench.dataplane.fdb(of: "br").isEmpty)
        #expect(bench.dataplane.flows(of: "br").allSatisfy { $0.statistics.packetCount == 0 })
        #expect(bench.dataplane.cacheStatistics.entries == 0)
        #expect(bench.dataplane.counters(of: PortIndex(0)) == PortCounters())
    }

    @Test func stopsWritingDownButNotWalking() throws {
        let bench = Bench(ports: 2)
        var long = try FlowText.flow("actions=drop")
        long.actions = Array(repeating: try FlowText.actions("load:1->NXM_NX_REG0[]")[0], count: WalkTrace.stepLimit)
        long.actions.append(.output(FlowPort(rawValue: 2)))
        try bench.dataplane.changeFlows(
            of: "br",
            removing: bench.dataplane.flows(of: "br").map(\.number),
            adding: [long]
        )
        let trace = bench.trace(Self.plain, from: 0)
        #expect(trace.isCut && trace.steps.count == WalkTrace.stepLimit)
        #expect(trace.outputs == [PortIndex(1)])
    }

    /// The packet in words is the packet, as far as flows can say it.
    @Test(arguments: seeds)
    func readsThePacketBackFromItsWords(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let frame = RandomFrame.make(&random)
            var layout = FrameLayout()
            let key = frame.withUnsafeBytes { FlowKey(frame: $0, length: frame.count, layout: &layout) }
            guard var key else { continue }
            key.set(.inPort, 3)
            // No field is the inner tag's.
            key[1] &= ~0xffff
            let text = FlowText.print(key.exactMatch)
            let read = try FlowText.packet(text)
            #expect(read.exactMatch == key.exactMatch, "\(text)")
        }
    }

    // MARK: - Frames

    private static let plain: [UInt8] =
        [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5] + [UInt8](repeating: 7, count: 46)

    private static func tagged(_ vlan: UInt8, _ upper: UInt8 = 0) -> [UInt8] {
        var frame = plain
        frame.insert(contentsOf: [0x81, 0, upper, vlan], at: 12)
        return frame
    }

    /// IPv4 with a time to live of 1.
    private static let packet: [UInt8] = {
        var packet = plain
        packet.replaceSubrange(12..<14, with: [8, 0])
        packet.replaceSubrange(14..<34, with: [0x45, 0, 0, 46, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
        return packet
    }()

    private static func with(_ frame: [UInt8], _ offset: Int, _ octet: UInt8) -> [UInt8] {
        var frame = frame
        frame[offset] = octet
        return frame
    }

    private static func with(_ frame: [UInt8], _ destination: [UInt8]) -> [UInt8] { destination + frame.dropFirst(6) }
}

extension Bench {
    /// Of a frame from a port by its index.
    func trace(_ frame: [UInt8], from port: UInt16) -> WalkTrace {
        dataplane.trace(frame: frame, length: frame.count, from: port + 1, on: "br")
    }

    private var stations: [String] { dataplane.fdb(of: "br").map { "\($0.mac) \($0.vlan.value) \($0.port.value)" } }

    /// Traces a frame, then sends it.
    fileprivate func compare(_ frame: [UInt8], from port: UInt16, _ comment: String) throws {
        let before = stations
        let trace = trace(frame, from: port)
        #expect(stations == before)
        let outcome = receive(frame, from: port, now: Dataplane.now)
        let sent = outcome.sent.flatMap { port, frames in frames.map { _ in port } }.sorted()
        try #require(trace.outputs.map(\.value).sorted() == sent, "\(comment), port \(port), \(frame)")
        guard sent.isEmpty, let reason = outcome.reasons.keys.first?.reason else { return }
        try #require(trace.drop == reason, "\(comment), port \(port), \(frame)")
    }
}
