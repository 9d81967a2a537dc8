import Flows
import Testing

@testable import Control
@testable import Dataplane

/// Flows that packets taught, in the state file and to those who watch.
@Suite struct LearnTests {
    private static let teacher =
        "priority=1 actions=learn(table=20,delete_learned,cookie=0x7,NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])"
    private static let normal = "priority=0 actions=NORMAL"

    @Test func learnedFlowsAreNotInTheStateFile() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(Self.teacher)
        try await bench.teach(source: 0x0200_0000_0001, port: 2)
        let learned = "cookie=0x7, table=20, dl_src=02:00:00:00:00:01 actions=output:2"
        #expect(try await bench.flows() == [Self.teacher, Self.normal, learned])
        #expect(try bench.store.load().flows.count == 2)
        // A flow that comes later must not have the row of another's number.
        try await bench.add("in_port=1 actions=drop")
        _ = try await bench.control.deleteFlows(FlowDelete(bridge: "br0", match: "table=20"))
        #expect(try await bench.restarted().flows() == ["in_port=1 actions=drop", Self.teacher, Self.normal])
    }

    @Test func aTextThatSaysALearnedFlowKeepsIt() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(Self.teacher)
        try await bench.teach(source: 0x0200_0000_0001, port: 2)
        try await bench.teach(source: 0x0200_0000_0002, port: 2)
        let text = try await bench.flows().prefix(3).joined(separator: "\n")
        let answer = try await bench.control.replaceFlows(FlowReplace(bridge: "br0", flows: text))
        #expect(answer.removed == 1 && answer.unchanged == 2, "the other learned flow goes")
        #expect(try await bench.restarted().flows() == text.split(separator: "\n").map(String.init))
    }

    @Test func whatGoesWithItsTeacherGoesFromTheStateFileToo() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(Self.teacher)
        try await bench.teach(source: 0x0200_0000_0001, port: 2)
        // Written by hand, in the table and with the cookie of learned ones.
        try await bench.add("cookie=0x7,table=20,send_flow_rem,in_port=1 actions=drop")
        let watcher = try await bench.control.watchFlows(FlowWatch())
        _ = try await bench.control.deleteFlows(FlowDelete(bridge: "br0", match: "cookie=0/-1"))
        await bench.control.endWatch(watcher)
        var told: [FlowRemoved.Reason] = []
        for await notice in watcher.notices { told.append(notice.reason) }
        #expect(told == [.delete])
        #expect(try await bench.flows() == [])
        #expect(try bench.store.load().flows.isEmpty)
    }

    @Test func whatGoesWithTheFlowsOfAGroupIsToldAsDeleted() async throws {
        let bench = try await Bench.furnished()
        try await bench.addGroups("group_id=1,type=all,bucket=actions=output:1")
        let learn = "learn(table=20,delete_learned,cookie=0x7,send_flow_rem,NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])"
        try await bench.add("send_flow_rem,in_port=1 actions=\(learn),group:1")
        try await bench.teach(source: 0x0200_0000_0001, port: 2)
        let watcher = try await bench.control.watchFlows(FlowWatch())
        let response = try await bench.control.deleteGroups(GroupDelete(bridge: "br0", groups: [1]))
        #expect(response.flows == 2)
        await bench.control.endWatch(watcher)
        var told: [FlowRemoved.Reason] = []
        for await notice in watcher.notices { told.append(notice.reason) }
        #expect(told == [.group, .delete])
        #expect(try await bench.flows() == [Self.normal])
    }

    @Test func aChangedFlowKeepsItsRow() async throws {
        let bench = try await Bench.furnished()
        let written = "cookie=0x9, table=20, dl_src=02:00:00:00:00:01 actions=drop"
        try await bench.add([Self.teacher, written].joined(separator: "\n"))
        try await bench.teach(source: 0x0200_0000_0001, port: 2)
        #expect(try await bench.flows().last == "cookie=0x7, table=20, dl_src=02:00:00:00:00:01 actions=output:2")
        try await bench.add("in_port=1 actions=drop")
        _ = try await bench.control.deleteFlows(FlowDelete(bridge: "br0", match: "table=20"))
        #expect(try bench.store.load().flows.count == 3, "the row went with the flow")
    }

    @Test func aFlowThatGotATimeoutLeavesTheStateFile() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("tcp actions=fin_timeout(idle_timeout=1)")
        let flow = try #require(bench.dataplane.flows(of: "br0").first { $0.flow.actions != [.normal] })
        bench.end(flow: flow.number)
        await bench.control.learnFlows()
        #expect(try await bench.flows().first == "idle_timeout=1, tcp actions=fin_timeout(idle_timeout=1)")
        try await eventually {
            await bench.control.expireFlows()
            return bench.dataplane.flows(of: "br0").count == 1
        }
        #expect(try bench.store.load().flows.count == 1)
    }
}

extension Bench {
    /// What a worker says of a packet that met a flow of br0 with a learn action.
    fileprivate func teach(source: UInt64, port: UInt64) async throws {
        let tables = try #require(dataplane.bridges["br0"]?.tables)
        let learns = dataplane.flows(of: "br0").flatMap(\.flow.actions).compactMap { action in
            if case .learn(let learn) = action { learn } else { nil }
        }
        tell(.learn, number: tables.learns.number(of: try #require(learns.first)), [source, port])
        await control.learnFlows()
    }

    /// What a worker says of a FIN that met a flow of br0, for an idle timeout of one second.
    fileprivate func end(flow number: UInt32) {
        let rule = dataplane.bridges["br0"]!.tables.flows[Int(number)]!.rule
        tell(.finish, number: number, [rule.pointee.added, 1])
    }

    private func tell(_ subject: Program.Telling.Subject, number: UInt32, _ words: [UInt64]) {
        let bridge = dataplane.bridges["br0"]!.slot
        let head = Program.Telling(subject: subject, wordCount: UInt8(words.count), bridge: bridge, number: number)
        let checks = [.tell(head)] + words.map { Program.Check.word($0) }
        #expect(dataplane.lanes[0].flows.messages.put(FlowMessage(head, checks)))
    }
}
