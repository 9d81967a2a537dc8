import Dataplane
import Flows
import Testing

@testable import Control

@Suite struct MeterTests {
    @Test func addsChangesAndShowsMeters() async throws {
        let bench = try await Bench.furnished()
        let text = "meter=2 pktps bands=type=drop rate=7\nmeter=1 kbps burst bands=type=drop rate=9 burst_size=3"
        #expect(try await bench.control.addMeters(MeterAdd(bridge: "br0", meters: text)).added == 2)
        let meters = try await bench.control.dumpMeters(MeterDump(bridge: "br0")).meters
        #expect(meters.map(\.identifier) == [1, 2] && meters.map(\.unit) == ["kbps", "pktps"])
        #expect(meters.map(\.bands.first?.burstSize) == [3, nil] && meters.map(\.bands.first?.rate) == [9, 7])
        #expect(meters[0].meter == "meter=1 kbps burst bands=type=drop rate=9 burst_size=3")
        let changed = "meter=2 kbps bands=type=drop rate=8"
        #expect(try await bench.control.modifyMeters(MeterModify(bridge: "br0", meters: changed)).modified == 1)
        #expect(try bench.store.load().meters.map(\.line) == [meters[0].meter, changed])
        try await bench.add("in_port=1 actions=meter:2,NORMAL\nin_port=2 actions=meter:2,NORMAL")
        let statistics = try await bench.control.meterStatistics(MeterStats(bridge: "br0")).meters
        #expect(statistics.map(\.flowCount) == [0, 2] && statistics.map(\.packetCount) == [0, 0])
        #expect(statistics.map(\.bands.count) == [1, 1])
    }

    @Test func aMeterTakesTheFlowsThatUseItWithIt() async throws {
        let bench = try await Bench.furnished()
        let watcher = try await bench.control.watchFlows(FlowWatch())
        _ = try await bench.control.addMeters(MeterAdd(bridge: "br0", meters: "meter=2 pktps bands=type=drop rate=7"))
        try await bench.add("send_flow_rem,in_port=1 actions=meter:2,NORMAL")
        let response = try await bench.control.deleteMeters(MeterDelete(bridge: "br0"))
        #expect(response == MeterDelete.Response(deleted: 1, flows: 1))
        await bench.control.endWatch(watcher)
        var reasons: [FlowRemoved.Reason] = []
        for await notice in watcher.notices { reasons.append(notice.reason) }
        #expect(reasons == [.meter])
        #expect(try bench.store.load().meters.isEmpty)
        #expect(try await bench.restarted().flows() == ["priority=0 actions=NORMAL"])
    }

    @Test(arguments: [
        ("meter=1 kbps bands=type=drop rate=9\nmeter=2 pktps bands=type=drop rate=7", 2, "meter 2 exists already"),
        ("meter=1 kbps bands=type=dscp_remark rate=9 prec_level=1", 1, "dscp_remark are not supported"),
        ("meter=4294901761 kbps bands=type=drop rate=9", 1, "4294901760"),
        (
            "meter=1 kbps bands=" + String(repeating: "type=drop rate=9 ", count: 17), 1,
            "has 17 bands; allowed are 16"
        ),
    ])
    func aMeterThatCannotBeIsRefusedWithItsPlace(text: String, line: Int, words: String) async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addMeters(MeterAdd(bridge: "br0", meters: "meter=2 pktps bands=type=drop rate=7"))
        let before = try await bench.everything()
        let error = await #expect(throws: FlowRefusal.self) {
            _ = try await bench.control.addMeters(MeterAdd(bridge: "br0", meters: text))
        }
        #expect(error?.line == line && error?.reason.contains(words) == true, "\(String(describing: error))")
        #expect(try await bench.everything() == before)
    }

    @Test func aMeterThatIsNotThereIsRefused() async throws {
        let bench = try await Bench.furnished()
        let modified = await #expect(throws: FlowRefusal.self) {
            let request = MeterModify(bridge: "br0", meters: "meter=2 pktps bands=type=drop rate=7")
            _ = try await bench.control.modifyMeters(request)
        }
        #expect(modified?.reason == "meter 2 does not exist: add it with meter add")
        let deleted = await #expect(throws: Refusal.self) {
            _ = try await bench.control.deleteMeters(MeterDelete(bridge: "br0", meters: [5]))
        }
        #expect(deleted?.reason.contains("meter 5 does not exist on bridge 'br0'") == true)
        let flow = await #expect(throws: FlowRefusal.self) { try await bench.add("actions=meter:5,NORMAL") }
        #expect(flow?.reason == "meter 5 does not exist on the bridge: add it with meter add")
    }
}
