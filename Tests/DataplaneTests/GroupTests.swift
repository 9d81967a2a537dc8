import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// Groups: what the cases beside Open vSwitch (WalkTests) cannot ask.
@Suite struct GroupTests {
    @Test func sharesConnectionsByWeightAndBothWaysAlike() throws {
        let bench = try Self.bench([
            "group_id=1,type=select,bucket=weight:1,actions=output:2,bucket=weight:3,actions=output:3"
        ])
        var counts: [UInt16: Int] = [:]
        for number in 0..<2000 {
            let there = Self.outputs(bench, Self.packet(number, reversed: false))
            let back = Self.outputs(bench, Self.packet(number, reversed: true))
            #expect(there == back, "both ways of a connection")
            try #require(there.count == 1)
            counts[there[0], default: 0] += 1
        }
        #expect((400...600).contains(counts[1] ?? 0), "a quarter of 2000, and not \(counts)")
    }

    @Test func movesOnlyWhatTheLostBucketHad() throws {
        let buckets = (2...5).map { "bucket=bucket_id:\($0),weight:1,watch_port:\($0),actions=output:\($0)" }
        let bench = try Self.bench(["group_id=1,type=select,\(buckets.joined(separator: ","))"])
        let before = (0..<1000).map { Self.outputs(bench, Self.packet($0)) }
        bench.dataplane.setLive(port: PortIndex(2), false)
        let after = (0..<1000).map { Self.outputs(bench, Self.packet($0)) }
        for (old, new) in zip(before, after) { #expect(old == [2] ? new != [2] : new == old) }
        #expect(Set(after.flatMap { $0 }) == [1, 3, 4], "what it had is shared by all others")
        bench.dataplane.setLive(port: PortIndex(2), true)
        #expect((0..<1000).map { Self.outputs(bench, Self.packet($0)) } == before)
    }

    @Test func hashesTheFieldsItIsTold() throws {
        let buckets = (2...5).map { "bucket=weight:1,actions=output:\($0)" }.joined(separator: ",")
        let bench = try Self.bench(["group_id=1,type=select,selection_method=hash,fields(ip_dst),\(buckets)"])
        let all = (0..<50).map { Self.outputs(bench, Self.packet($0)) }
        #expect(Set(all).count == 1, "only the source differs")
        #expect(Set((0..<50).map { Self.outputs(bench, Self.packet($0, reversed: true)) }).count == 4)
    }

    @Test func failsOverToTheFirstLiveBucket() throws {
        let bench = try Self.bench([
            "group_id=1,type=ff,bucket=watch_port:2,actions=output:2,bucket=watch_group:2,actions=output:3",
            "group_id=2,type=ff,bucket=watch_port:4,actions=output:4",
        ])
        #expect(Self.outputs(bench, Self.packet(0)) == [1])
        bench.dataplane.setLive(port: PortIndex(1), false)
        #expect(Self.outputs(bench, Self.packet(0)) == [2])
        bench.dataplane.setLive(port: PortIndex(3), false)
        #expect(Self.outputs(bench, Self.packet(0)).isEmpty)
    }

    /// A bucket has no match that says of what kind its packets are.
    @Test func leavesOutEditsOfABucketForPacketsOfAnotherKind() throws {
        let edits = "mod_nw_src:1.2.3.4,load:0x2->NXM_OF_ARP_OP[],set_field:9->udp_src,mod_nw_tos:32"
        let bench = try Self.bench(["group_id=1,type=all,bucket=actions=\(edits),output:2"])
        let arp: [UInt8] =
            [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]
            + [UInt8](repeating: 0, count: 28)
        var reply = arp
        reply[21] = 2
        #expect(bench.receive(arp, from: 0).sent == [1: [reply]], "an operation, and no IP address")
        let tcp = Self.packet(0)
        let sent = try #require(bench.receive(tcp, from: 0).sent[1]?.first)
        #expect(Array(sent[26..<30]) == [1, 2, 3, 4] && sent[15] == 32 && sent[34..<36] == tcp[34..<36])
    }

    @Test func changesAGroupUnderItsFlowsAndRemovesThemWithIt() throws {
        let bench = try Self.bench(["group_id=1,type=indirect,bucket=actions=output:2"])
        try bench.dataplane.changeGroups(
            of: "br",
            adding: [FlowText.group("group_id=1,type=all,bucket=actions=output:4")]
        )
        #expect(Self.outputs(bench, Self.packet(0)) == [3])
        let gone = try bench.dataplane.changeGroups(of: "br", removing: [1])
        #expect(gone.users.map(\.flow.actions) == [[.group(1)]])
        #expect(bench.dataplane.flows(of: "br").isEmpty && bench.dataplane.groups(of: "br").isEmpty)
    }

    @Test(arguments: [
        (
            ["group_id=1,type=all,bucket=actions=group:2"],
            "group 1 uses group 2, which would not exist: add that first, or remove both"
        ),
        (["group_id=1,type=all,bucket=actions=group:1"], "groups would lead back to themselves: 1 -> 1"),
        (
            ["group_id=1,type=all,bucket=actions=group:2", "group_id=2,type=ff,bucket=watch_group:1,actions=output:1"],
            "groups would lead back to themselves: 1 -> 2 -> 1"
        ),
        (["group_id=1,type=all,bucket=actions=ct_clear"], "'ct_clear' cannot be in a bucket, which is an action set"),
    ])
    func refusesGroupsThatCannotRunAndChangesNothing(groups: [String], reason: String) throws {
        let bench = Bench(ports: 5)
        let groups = try groups.map { try FlowText.group($0) }
        let refusal = try #require(throws: Refusal.self) { try bench.dataplane.changeGroups(of: "br", adding: groups) }
        #expect(refusal.reason == reason && bench.dataplane.groups(of: "br").isEmpty)
    }

    @Test func refusesFlowsAndRemovalsThatLeaveAGroupMissing() throws {
        let bench = try Self.bench([
            "group_id=1,type=all,bucket=actions=group:2", "group_id=2,type=all,bucket=actions=output:2",
        ])
        let used = try #require(throws: Refusal.self) { try bench.dataplane.changeGroups(of: "br", removing: [2]) }
        #expect(used.reason == "group 1 uses group 2, which would not exist: add that first, or remove both")
        let missing = try #require(throws: Refusal.self) { try bench.replaceFlows(["actions=clone(group:3)"]) }
        #expect(missing.reason == "group 3 does not exist on the bridge: add it with group add")
        #expect(Self.outputs(bench, Self.packet(0)) == [1])
    }

    // MARK: - Packets

    /// Ports 1 to 5 with the indices 0 to 4, and all packets to group 1.
    private static func bench(_ groups: [String]) throws -> Bench {
        let bench = Bench(ports: 5)
        try bench.dataplane.changeGroups(of: "br", adding: groups.map { try FlowText.group($0) })
        try bench.replaceFlows(["actions=group:1"])
        return bench
    }

    private static func outputs(_ bench: Bench, _ packet: [UInt8]) -> [UInt16] {
        bench.receive(packet, from: 0).sent.keys.sorted()
    }

    private static func packet(_ number: Int, reversed: Bool = false) -> [UInt8] {
        let ends: [[UInt8]] = [[10, 0, UInt8(number >> 8), UInt8(number & 0xff)], [10, 9, 9, 9]]
        let ports: [[UInt8]] = [[0x40, 1], [0, 80]]
        var packet: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]
        packet += [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 6, 0, 0] + ends[reversed ? 1 : 0] + ends[reversed ? 0 : 1]
        packet += ports[reversed ? 1 : 0] + ports[reversed ? 0 : 1] + [UInt8](repeating: 0, count: 8) + [0x50, 0x10]
        return packet + [UInt8](repeating: 0, count: 12)
    }
}
