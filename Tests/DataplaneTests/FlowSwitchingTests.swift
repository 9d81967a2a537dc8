import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// Bridges that have flows: what becomes of frames.
@Suite struct FlowSwitchingTests {
    /// The way through the tables and the way without them are one.
    @Test(arguments: seeds)
    func switchesByNormalAsABridgeWithoutFlows(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<20 {
            let policies = (0..<5).map { _ in VLANPolicy.random(&random) }
            let plain = Bench(policies)
            let walked = Bench(policies)
            try walked.walkTables()
            for _ in 0..<50 {
                let frames = (0..<Int.random(in: 1...8, using: &random)).map { _ in RandomFrame.switched(&random) }
                let port = UInt16.random(in: 0..<5, using: &random)
                let expected = plain.receive(frames.map { Frame($0) }, from: port)
                let actual = walked.receive(frames.map { Frame($0) }, from: port)
                try #require(actual.sent == expected.sent, "seed \(seed), port \(port), \(policies), \(frames)")
            }
        }
    }

    @Test func sendsCopiesThatSeeOnlyTheEditsBeforeThem() throws {
        let bench = Bench(ports: 4)
        try bench.replaceFlows([
            "in_port=1,actions=output:2,mod_dl_src:02:00:00:00:00:09,output:3,mod_vlan_vid:5,output:4"
        ])
        let frame = Self.plain
        let outcome = bench.receive(frame, from: 0)
        var edited = frame
        edited[11] = 9
        var tagged = edited
        tagged.insert(contentsOf: [0x81, 0, 0, 5], at: 12)
        #expect(outcome.sent == [1: [frame], 2: [edited], 3: [tagged]])
    }

    @Test func sendsMoreCopiesToAPortThanItsQueueHolds() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["actions=" + Array(repeating: "output:2", count: 70).joined(separator: ",")])
        let outcome = bench.receive([Frame(Self.plain), Frame(Self.plain)], from: 0)
        #expect(outcome.sent == [1: Array(repeating: Self.plain, count: 140)])
    }

    @Test func countsWhatFlowsDropByName() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows([
            "priority=9,dl_vlan=7,actions=drop", "priority=8,dl_vlan=8,actions=resubmit(,0)",
            "priority=7,dl_vlan=9,actions=output:1", "priority=6,ip,actions=dec_ttl,output:2",
        ])
        func reason(_ frame: [UInt8]) -> DropReason? { bench.receive(frame, from: 0).reasons.keys.first?.reason }
        #expect(reason(Self.tagged(7)) == .flowDrop)
        #expect(reason(Self.tagged(8)) == .flowLoop)
        #expect(reason(Self.tagged(9)) == .flowDrop, "not to where it came from")
        #expect(reason(Self.plain) == .flowDrop, "no flow matches")
        var packet = Self.plain
        packet.replaceSubrange(12..<14, with: [8, 0])
        packet.replaceSubrange(14..<34, with: [0x45, 0, 0, 46, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
        #expect(reason(packet) == .timeToLive)
    }

    @Test(arguments: [0, 1, 13]) func dropsWhatIsNoFrame(length: Int) throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["actions=output:2"])
        #expect(bench.receive([UInt8](repeating: 0, count: length), from: 0).reasons == [.init(.runt, on: 0): 1])
    }

    @Test func countsPacketsForEveryFlowOnTheWay() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["table=0,actions=resubmit(,1)", "table=1,actions=output:2", "table=2,actions=drop"])
        bench.receive([Frame(Self.plain), Frame(Self.plain)], from: 0)
        bench.receive(Self.tagged(5), from: 0)
        let counts = bench.counts()
        #expect(counts[0] == Count(packets: 3, bytes: 3 * 60 + 4))
        #expect(counts[1] == counts[0])
        #expect(counts[2] == Count(packets: 0, bytes: 0))
    }

    @Test func countsPacketsOfABridgeWithoutFlowsToo() {
        let bench = Bench(ports: 2)
        bench.receive([Frame(Self.plain), Frame(Self.plain)], from: 0)
        #expect(bench.counts()[0] == Count(packets: 2, bytes: 120))
    }

    @Test func cutsOneOutputAndNoOther() throws {
        let bench = Bench(ports: 4)
        try bench.replaceFlows(["in_port=1,actions=output(port=2,max_len=20),output:3,output(port=4,max_len=1500)"])
        let frame = Self.plain
        #expect(bench.receive(frame, from: 0).sent == [1: [Array(frame.prefix(20))], 2: [frame], 3: [frame]])
        try bench.replaceFlows(["in_port=1,actions=output(port=2,max_len=20)"])
        #expect(bench.receive(frame, from: 0).sent == [1: [Array(frame.prefix(20))]])
    }

    @Test func decidesByTheLengthThatThePacketHasByThen() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows([
            "table=0,dl_vlan=5,actions=strip_vlan,resubmit(,1)", "table=0,priority=1,actions=resubmit(,1)",
            "table=1,actions=check_pkt_larger(60)->NXM_NX_REG0[3],resubmit(,2)", "table=2,reg0=8,actions=output:2",
            "table=2,reg0=0,actions=output:3",
        ])
        #expect(bench.receive(Self.plain, from: 0).sent.keys.sorted() == [2], "60 bytes are not more than 60")
        #expect(bench.receive(Self.tagged(7), from: 0).sent.keys.sorted() == [1])
        #expect(bench.receive(Self.tagged(5), from: 0).sent.keys.sorted() == [2], "60 without the tag")
    }

    // MARK: - Patches

    @Test func learnsThroughAPatch() {
        let bench = Bench.patched()
        var answer = Self.plain
        answer.swapAddresses()
        let now = Dataplane.now
        #expect(bench.receive(Self.plain, from: 0, now: now).sent == [1: [Self.plain], 3: [Self.plain]])
        #expect(bench.receive(answer, from: 3, now: now).sent == [0: [answer]])
        #expect(bench.receive(Self.plain, from: 0, now: now).sent == [3: [Self.plain]])
        #expect(bench.dataplane.fdb(of: "other").map(\.port.value).sorted() == [3, 4])
    }

    @Test func forgetsRegistersAtAPatchAndEditsBehindIt() throws {
        let bench = Bench.patched()
        try bench.replaceFlows(["in_port=1,actions=load:5->NXM_NX_REG0[],output:3,output:2"])
        try bench.replaceFlows(
            ["reg0=0,in_port=5,actions=mod_dl_dst:02:00:00:00:00:08,output:4,exit", "reg0=5,actions=drop"],
            of: "other"
        )
        var edited = Self.plain
        edited[5] = 8
        #expect(bench.receive(Self.plain, from: 0).sent == [1: [Self.plain], 3: [edited]])
    }

    @Test func remembersANormalThatLoopsOnce() throws {
        let bench = Bench.patched()
        try bench.replaceFlows(["actions=output:3"])
        try bench.replaceFlows(["actions=NORMAL,resubmit(,0)"], of: "other")
        #expect(bench.receive(Self.plain, from: 0).sent[3]?.count == WalkLimit.depth)
    }

    @Test func keepsTheStackOfEveryTurnOfALoop() throws {
        let bench = Bench.patched()
        try bench.replaceFlows(["actions=output:3"])
        try bench.replaceFlows(["actions=clone(output:4),push:NXM_OF_ETH_SRC[],resubmit(,0)"], of: "other")
        #expect(bench.receive(Self.plain, from: 0).sent[3]?.count == WalkLimit.depth)
    }

    @Test func endsALoopOfPatches() throws {
        let bench = Bench.patched()
        try bench.replaceFlows(["actions=output:3,IN_PORT"])
        try bench.replaceFlows(["actions=IN_PORT"], of: "other")
        // What the loop sends is lost in it; the first bridge's own way goes on.
        #expect(bench.receive(Self.plain, from: 0).sent == [0: [Self.plain]])
    }

    @Test func countsAnActionSetBehindAPatchAsDeepAsItsTable() throws {
        let bench = Bench.patched()
        try bench.replaceFlows(["priority=2,in_port=1,actions=output:3", "priority=1,actions=write_actions(IN_PORT)"])
        try bench.replaceFlows(["actions=output:4,write_actions(IN_PORT)"], of: "other")
        // A turn goes through both bridges.
        #expect(bench.receive(Self.plain, from: 0).sent[3]?.count == WalkLimit.depth / 2)
    }

    // MARK: - Frames

    private static let plain: [UInt8] =
        [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5] + [UInt8](repeating: 7, count: 46)

    private static func tagged(_ vlan: UInt8) -> [UInt8] {
        var frame = plain
        frame.insert(contentsOf: [0x81, 0, 0, vlan], at: 12)
        return frame
    }
}

/// What a flow has counted.
private struct Count: Equatable {
    let packets: UInt64
    let bytes: UInt64
}

extension Bench {
    /// Of the flows of "br", by table.
    fileprivate func counts() -> [UInt8: Count] {
        maintain()
        return Dictionary(
            uniqueKeysWithValues: dataplane.flows(of: "br").map {
                ($0.flow.table, Count(packets: $0.statistics.packetCount, bytes: $0.statistics.byteCount))
            }
        )
    }
}

extension [UInt8] {
    fileprivate mutating func swapAddresses() {
        self = Array(self[6..<12]) + Array(self[0..<6]) + Array(self[12...])
    }
}

extension VLANPolicy {
    fileprivate static func random(_ random: inout SeededGenerator) -> VLANPolicy {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: .allTagged
        case 1: .access(10)
        case 2: .trunk(10, 20)
        case 3: .nativeTagged(10, 20)
        case 4: .nativeUntagged(20, 10)
        default: .tunnel(30, 10)
        }
    }
}
