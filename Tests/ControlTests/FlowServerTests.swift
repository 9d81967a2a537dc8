import Dataplane
import Flows
import Foundation
import Testing

@testable import Control

@Suite struct FlowServerTests {
    @Test func takesFlowsThatAreStagedInPieces() async throws {
        try await serving { path, bench in
            let client = try SocketClient(path)
            let text = "in_port=1 actions=output:2\nin_port=2 actions=output:1\n"
            #expect(try await client.call(FlowStage(text: Data(text.utf8.prefix(10)))).length == 10)
            #expect(try await client.call(FlowStage(text: Data(text.utf8.dropFirst(10)))).length == text.utf8.count)
            #expect(try await client.call(FlowAdd(bridge: "br0", staged: true)).added == 2)
            // It is gone with its use: now there is nothing, which replaces everything.
            let replaced = try await client.call(FlowReplace(bridge: "br0", staged: true))
            #expect(replaced == FlowReplace.Response(added: 0, removed: 3, unchanged: 0))
            #expect(try await bench.flows().isEmpty)
        }
    }

    @Test func aPieceMayEndWithinACharacterAndTheWholeMayNot() async throws {
        try await serving { path, bench in
            let client = try SocketClient(path)
            let text = Array("in_port=1 actions=drop # \u{e9}\n".utf8)
            let end = text.count - 2
            for piece in [text[..<end], text[end...]] { _ = try await client.call(FlowStage(text: Data(piece))) }
            #expect(try await client.call(FlowAdd(bridge: "br0", staged: true)).added == 1)
            _ = try await client.call(FlowStage(text: Data(text[..<end])))
            let half = await #expect(throws: ControlClient.Failure.self) {
                try await client.call(FlowAdd(bridge: "br0", staged: true))
            }
            #expect(half?.message.contains("is not UTF-8") == true)
            // It is gone all the same.
            #expect(try await client.call(FlowAdd(bridge: "br0", staged: true)).added == 0)
        }
    }

    @Test func stagedTextIsItsConnectionsOwnAndGoesWithARefusedUse() async throws {
        try await serving { path, bench in
            let (client, other) = (try SocketClient(path), try SocketClient(path))
            _ = try await client.call(FlowStage(text: Data("in_port=1 actions=output:2".utf8)))
            #expect(try await other.call(FlowAdd(bridge: "br0", staged: true)).added == 0)
            await #expect(throws: ControlClient.Failure.self) {
                try await client.call(FlowAdd(bridge: "br9", staged: true))
            }
            #expect(try await client.call(FlowAdd(bridge: "br0", staged: true)).added == 0)
            _ = try await client.call(FlowStage(text: Data("in_port=1 actions=output:2".utf8)))
            let both = await #expect(throws: ControlClient.Failure.self) {
                try await client.call(FlowAdd(bridge: "br0", flows: "", staged: true))
            }
            #expect(both?.message.contains("one of the two") == true)
            #expect(try await client.call(FlowAdd(bridge: "br0", staged: true)).added == 0)
            #expect(try await bench.flows() == ["priority=0 actions=NORMAL"])
        }
    }

    @Test func namesLineColumnAndReasonInAnError() async throws {
        try await serving { path, _ in
            let client = try SocketClient(path)
            let flows = #"{"bridge":"br0","flows":"in_port=1 actions=drop\n  ip,nw=7 actions=drop"}"#
            try await client.send(#"{"jsonrpc":"2.0","id":1,"method":"flow.add","params":\#(flows)}"# + "\n")
            let answer = try await client.line()
            #expect(answer.contains(#""line":2"#) && answer.contains(#""column":6"#), "\(answer)")
            #expect(answer.contains(#""message":"line 2, column 6: 'nw' is unknown"#), "\(answer)")
            #expect(answer.contains(#""reason":"'nw' is unknown"#), "\(answer)")
        }
    }

    @Test func stagedTextIsBounded() throws {
        let room = StagingRoom(limit: 100)
        let one = StagedText(room: room)
        var other: StagedText? = StagedText(room: room)
        try one.append(Data(repeating: 120, count: 40))
        try other?.append(Data(repeating: 121, count: 60))
        #expect(throws: Refusal.self) { try one.append(Data([122])) }
        #expect(one.length == 40)
        #expect(other?.length == 60)
        // What a connection had is free when it goes, or uses it.
        other = nil
        try one.append(Data(repeating: 122, count: 60))
        #expect(try one.take().utf8.count == 100)
        #expect(one.length == 0)
        try one.append(Data(repeating: 120, count: 100))
        let wide = StagedText(room: StagingRoom(limit: .max))
        try wide.append(Data(repeating: 120, count: StagedText.greatestLength))
        let error = #expect(throws: Refusal.self) { try wide.append(Data([120])) }
        #expect(error?.reason.contains("67108865 bytes; allowed are 67108864") == true)
    }

    @Test func tellsWatchersOfFlowsThatAreDeleted() async throws {
        try await serving { path, bench in
            let (client, other) = (try SocketClient(path), try SocketClient(path))
            _ = try await client.call(FlowWatch(bridge: "br0"))
            _ = try await other.call(FlowWatch())
            _ = try await bench.control.addBridge(BridgeAdd(name: "br1"))
            let flow = "cookie=0x5, send_flow_rem priority=7,arp actions=drop"
            _ = try await bench.control.addFlows(FlowAdd(bridge: "br1", flows: flow))
            try await bench.add(flow + "\nip actions=drop")
            // A flow that is replaced has not gone.
            try await bench.add("cookie=0x6,send_flow_rem,priority=7,arp actions=drop")
            _ = try await bench.control.deleteBridge(BridgeDelete(name: "br1"))
            _ = try await bench.control.replaceFlows(FlowReplace(bridge: "br0", flows: ""))
            for (client, bridges) in [(client, ["br0"]), (other, ["br1", "br0"])] {
                for bridge in bridges {
                    guard case .flowRemoved(let notice) = try await client.nextEvent() else { return }
                    #expect(notice.bridge == bridge)
                    #expect(notice.reason == .delete && notice.lost == 0)
                    let cookie = bridge == "br0" ? 6 : 5
                    #expect(notice.flow == "cookie=0x\(cookie), send_flow_rem priority=7,arp actions=drop")
                }
            }
        }
    }

    @Test func refusesASecondWatchAndForgetsAConnectionsOwn() async throws {
        try await serving { path, bench in
            var client: SocketClient? = try SocketClient(path)
            _ = try await client?.call(FlowWatch())
            await #expect(throws: ControlClient.Failure.self) { _ = try await client?.call(FlowWatch(bridge: "br0")) }
            #expect(await bench.control.watchers.count == 1)
            client = nil
            try await eventually { await bench.control.watchers.isEmpty }
        }
    }

    @Test func expiredFlowsSayWhy() async throws {
        let bench = try await Bench.furnished()
        let watcher = try await bench.control.watchFlows(FlowWatch())
        try await bench.add(
            "hard_timeout=1,send_flow_rem,arp actions=drop\nidle_timeout=1,send_flow_rem,ip actions=drop"
        )
        try await eventually {
            await bench.control.expireFlows()
            return bench.dataplane.flows(of: "br0").count == 1
        }
        await bench.control.endWatch(watcher)
        var reasons: Set<FlowRemoved.Reason> = []
        for await notice in watcher.notices { reasons.insert(watcher.message(notice).reason) }
        #expect(reasons == [.hard, .idle])
        #expect(try await bench.flows() == ["priority=0 actions=NORMAL"])
    }

    @Test func aWatcherThatDoesNotReadLosesTheOldestAndLearnsHowMany() async throws {
        let bench = try await Bench.furnished()
        let watcher = try await bench.control.watchFlows(FlowWatch())
        let count = FlowWatcher.capacity + 10
        try await bench.add((0..<count).map { "send_flow_rem,reg0=\($0) actions=drop" }.joined(separator: "\n"))
        _ = try await bench.control.deleteFlows(FlowDelete(bridge: "br0"))
        await bench.control.endWatch(watcher)
        var seen: [FlowRemoved] = []
        for await notice in watcher.notices { seen.append(watcher.message(notice)) }
        #expect(seen.count == FlowWatcher.capacity)
        #expect(seen.last?.lost == 10)
    }
}

@Suite struct FlowOverlapTests {
    @Test func aFlowThatReplacesAnotherDoesNotOverlapIt() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("priority=5,check_overlap,ip actions=drop\npriority=6,check_overlap,ip actions=drop")
        try await bench.add("priority=5,check_overlap,ip actions=output:1\npriority=5,check_overlap,arp actions=drop")
        try await bench.add("table=1,priority=5,check_overlap,in_port=1 actions=drop")
        #expect(bench.dataplane.flows(of: "br0").count == 5)
    }

    @Test func tooManyComparisonsAreRefused() async throws {
        let bench = try await Bench.furnished()
        let flows = (0..<4000).map { "check_overlap,reg0=\($0) actions=drop" }.joined(separator: "\n")
        let error = await #expect(throws: FlowRefusal.self) { try await bench.add(flows) }
        #expect(error?.reason.contains("5000000 pairs") == true)
        #expect(bench.dataplane.flows(of: "br0").count == 1)
    }
}
