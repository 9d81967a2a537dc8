import Dataplane
import Flows
import Foundation
import GRDB
import Testing

@testable import Control

@Suite struct FlowTests {
    @Test func aNewBridgeHasOneFlow() async throws {
        let bench = try await Bench.furnished()
        #expect(try await bench.flows() == ["priority=0 actions=NORMAL"])
        #expect(try bench.store.load().flows.map { FlowText.print($0.flow) } == ["priority=0 actions=NORMAL"])
    }

    @Test func addsEveryFlowOfAText() async throws {
        let bench = try await Bench.furnished()
        let text = "# two\nin_port=1 actions=output:2\n\ntable=3,priority=7,ip,nw_dst=10.0.0.0/8 actions=drop # why\n"
        #expect(try await bench.control.addFlows(FlowAdd(bridge: "br0", flows: text)).added == 2)
        let expected = [
            "in_port=1 actions=output:2", "priority=0 actions=NORMAL",
            "table=3, priority=7,ip,nw_dst=10.0.0.0/8 actions=drop",
        ]
        #expect(try await bench.flows() == expected)
        #expect(Set(try bench.store.load().flows.map { FlowText.print($0.flow) }) == Set(expected))
    }

    @Test func aFlowReplacesTheOneWithItsTablePriorityAndMatch() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("in_port=1 actions=output:2")
        try await bench.add("in_port=1 actions=output:1\nin_port=1 actions=drop\nin_port=1 actions=NORMAL")
        #expect(try await bench.flows() == ["in_port=1 actions=NORMAL", "priority=0 actions=NORMAL"])
        #expect(try bench.store.load().flows.count == 2)
        #expect(bench.dataplane.flows(of: "br0").count == 2)
    }

    @Test func portsHaveNamesInTextAndInDumps() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("in_port=vm1 actions=output:\"p1\",clone(resubmit(vm1,2))")
        let names = FlowDump(bridge: "br0", match: "in_port=vm1", names: true, lines: true, statistics: false)
        #expect(
            try await bench.control.listing(names).response.lines
                == ["in_port=vm1 actions=output:p1,clone(resubmit(vm1,2))"]
        )
        let numbers = FlowDump(bridge: "br0", match: "in_port=2", lines: true, statistics: false)
        #expect(
            try await bench.control.listing(numbers).response.lines
                == ["in_port=2 actions=output:1,clone(resubmit(2,2))"]
        )
    }

    @Test func dumpsByTableThenPriorityThenText() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(
            """
            table=1,priority=9 actions=drop
            priority=5,in_port=2 actions=drop
            priority=5,in_port=1 actions=drop
            priority=6,ip actions=drop
            table=1,priority=10,ip actions=drop
            """
        )
        let dump = try await bench.control.listing(FlowDump(bridge: "br0")).response
        let flows = try #require(dump.flows)
        #expect(flows.map(\.table) == [0, 0, 0, 0, 1, 1])
        #expect(flows.map(\.priority) == [6, 5, 5, 0, 10, 9])
        #expect(flows.map(\.match) == ["ip", "in_port=1", "in_port=2", "", "ip", ""])
        #expect(flows[3].actions == "NORMAL" && flows[3].cookie == "0x0")
        #expect(flows[1].flow == "priority=5,in_port=1 actions=drop")
        #expect(dump.lines == nil)
        let lines = try await bench.control.listing(FlowDump(bridge: "br0", lines: true)).response.lines ?? []
        #expect(lines.count == 6)
        let form =
            #/cookie=0x0, duration=[0-9.]+s, table=0, n_packets=0, n_bytes=0, idle_age=\d+, priority=6,ip actions=drop/#
        #expect(try form.wholeMatch(in: lines[0]) != nil, "\(lines[0])")
    }

    @Test func deletesWhatAMatchSelects() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(
            "ip actions=drop\nip,nw_dst=10.0.0.1 actions=drop\npriority=5,ip actions=output:1\narp actions=drop"
        )
        #expect(try await bench.control.deleteFlows(FlowDelete(bridge: "br0", match: "ip", strict: true)).deleted == 1)
        #expect(try await bench.control.deleteFlows(FlowDelete(bridge: "br0", match: "out_port=p1")).deleted == 1)
        #expect(try await bench.control.deleteFlows(FlowDelete(bridge: "br0", match: "ip")).deleted == 1)
        #expect(try await bench.flows() == ["arp actions=drop", "priority=0 actions=NORMAL"])
        #expect(try bench.store.load().flows.count == 2)
        #expect(try await bench.control.deleteFlows(FlowDelete(bridge: "br0")).deleted == 2)
        #expect(try await bench.flows().isEmpty)
        #expect(try await bench.restarted().flows().isEmpty)
    }

    @Test func modifyingGivesOtherActions() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(
            """
            cookie=5,priority=5,tcp,tp_dst=80 actions=output:1
            ip actions=drop
            idle_timeout=60,udp actions=drop
            """
        )
        func modify(_ flow: String, strict: Bool = false) async throws -> Int {
            try await bench.control.modifyFlows(FlowModify(bridge: "br0", flow: flow, strict: strict)).modified
        }
        let numbers = Set(bench.dataplane.flows(of: "br0").map(\.number))
        #expect(try await modify("arp actions=drop") == 0)
        #expect(try await modify("ip actions=output:2") == 3)
        #expect(try await modify("cookie=5/-1 actions=NORMAL") == 1)
        #expect(try await modify("cookie=6,priority=7,ip actions=output:p1", strict: true) == 0)
        #expect(try await modify("cookie=6,ip actions=output:p1", strict: true) == 1)
        let lasting = [
            "cookie=0x5, priority=5,tcp,tp_dst=80 actions=NORMAL", "cookie=0x6, ip actions=output:1",
            "priority=0 actions=NORMAL",
        ]
        #expect(try await bench.flows().sorted() == (lasting + ["idle_timeout=60, udp actions=output:2"]).sorted())
        // They are the flows that were there, with their counts and age.
        #expect(Set(bench.dataplane.flows(of: "br0").map(\.number)) == numbers)
        #expect(try bench.store.load().flows.map { FlowText.print($0.flow) }.sorted() == lasting)
        #expect(try await bench.restarted().flows().sorted() == lasting)
    }

    /// The state file could not be read again, and the daemon would not start.
    @Test func refusesAModificationThatPrintsTooLong() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("ip actions=drop")
        let before = try await bench.flows()
        let outputs = Array(repeating: "1", count: 8000).joined(separator: ",")
        await #expect(throws: Refusal.self) {
            _ = try await bench.control.modifyFlows(FlowModify(bridge: "br0", flow: "ip actions=\(outputs)"))
        }
        #expect(try await bench.flows() == before)
        #expect(try await bench.restarted().flows() == before)
    }

    @Test(arguments: [
        ("ip actions=output:77", 12), ("ip actions=drop,out_port=1", 17), ("foo=1 actions=drop", 1), ("ip", 3),
        ("actions=mod_nw_src:1.2.3.4", 9), ("cookie=1/-1 actions=group:7", 21), ("table=255 actions=drop", 7),
    ])
    func refusesAModificationWhole(flow: String, column: Int) async throws {
        let bench = try await Bench.furnished()
        try await bench.add("ip actions=drop")
        let before = try await bench.flows()
        let refusal = await #expect(throws: FlowRefusal.self) {
            _ = try await bench.control.modifyFlows(FlowModify(bridge: "br0", flow: flow))
        }
        #expect(refusal?.column == column)
        #expect(try await bench.flows() == before)
    }

    @Test func replaceTouchesOnlyWhatDiffers() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("in_port=1 actions=output:2\nin_port=2 actions=output:1\ncookie=1,arp actions=drop")
        let before = Dictionary(uniqueKeysWithValues: bench.dataplane.flows(of: "br0").map { ($0.flow, $0.number) })
        let text = "in_port=1 actions=output:2\nin_port=2 actions=drop\ncookie=2,arp actions=drop\nip actions=drop"
        let response = try await bench.control.replaceFlows(FlowReplace(bridge: "br0", flows: text))
        #expect(response == FlowReplace.Response(added: 3, removed: 1, unchanged: 1))
        let after = Dictionary(uniqueKeysWithValues: bench.dataplane.flows(of: "br0").map { ($0.flow, $0.number) })
        let kept = try FlowText.flow("in_port=1 actions=output:2")
        #expect(after[kept] == before[kept])
        #expect(after.count == 4)
        #expect(Set(try bench.store.load().flows.map(\.flow)) == Set(after.keys))
        let again = try await bench.control.replaceFlows(FlowReplace(bridge: "br0", flows: text))
        #expect(again == FlowReplace.Response(added: 0, removed: 0, unchanged: 4))
        #expect(
            try await bench.control.replaceFlows(FlowReplace(bridge: "br0", flows: ""))
                == FlowReplace.Response(added: 0, removed: 4, unchanged: 0)
        )
    }

    @Test func takesTheFlowsOfTheMission() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(Neutron.text("mission.flows"))
        let lines = try Neutron.text("mission.flows").split(separator: "\n").map { try FlowText.flow(String($0)) }
        let installed = Set(bench.dataplane.flows(of: "br0").map(\.flow))
        #expect(installed.isSuperset(of: lines))
        #expect(Set(try await bench.restarted().dataplane.flows(of: "br0").map(\.flow)) == installed)
    }

    /// It grows with what the dataplane can run: until then the agent's other flows are refused by line, and none applied.
    @Test(arguments: ["br-phys", "noop/br-phys"])
    func takesTheFlowsOfANeutronAgent(name: String) async throws {
        let bench = try await Bench.furnished()
        let text = try Neutron.text("neutron/\(name).flows")
        // Names of another host's ports are those of ports here.
        let local = text.replacing(#/"[^"]+"/#) { _ in "\"p1\"" }
        let response = try await bench.control.replaceFlows(FlowReplace(bridge: "br0", flows: local))
        #expect(response.added == bench.dataplane.flows(of: "br0").count - response.unchanged)
        #expect(try await bench.restarted().flows() == bench.flows())
    }

    @Test func ofAHundredThousandFlowsWithABadOneNoneIsAdded() async throws {
        let bench = try await Bench.furnished()
        var lines = (0..<100_000).map { "priority=\($0 % 60_000),reg0=\($0) actions=output:1" }
        lines[77_776] = "priority=1,in_port=1 actions=output:99"
        let before = try await bench.everything()
        let text = lines.joined(separator: "\n")
        let error = await #expect(throws: FlowRefusal.self) {
            _ = try await bench.control.addFlows(FlowAdd(bridge: "br0", flows: text))
        }
        #expect(error?.line == 77_777 && error?.column == 30)
        #expect(error?.reason.contains("port 99 does not exist on bridge 'br0'") == true)
        #expect(try await bench.everything() == before)
    }
}

@Suite struct FlowPersistenceTests {
    @Test func restartKeepsFlowsAndForgetsThoseWithTimeouts() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addBridge(BridgeAdd(name: "br1"))
        try await bench.add("cookie=0x7,table=4,priority=9,tcp,tp_dst=80 actions=mod_vlan_vid:5,output:2")
        try await bench.add("idle_timeout=5,arp actions=drop\nhard_timeout=5,ip actions=drop")
        #expect(bench.dataplane.flows(of: "br0").count == 4)
        let next = try await bench.restarted()
        let kept = [
            "priority=0 actions=NORMAL",
            "cookie=0x7, table=4, priority=9,tcp,tp_dst=80 actions=mod_vlan_vid:5,output:2",
        ]
        #expect(try await next.flows() == kept)
        #expect(try await next.flows(of: "br1") == ["priority=0 actions=NORMAL"])
        // What came back can be changed like what was added.
        try await next.add("priority=0 actions=drop")
        #expect(try await next.control.deleteFlows(FlowDelete(bridge: "br0", match: "table=4")).deleted == 1)
        #expect(try await next.restarted().flows() == ["priority=0 actions=drop"])
    }

    @Test func aFlowWithATimeoutTakesTheKeptOneOutOfTheFile() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("idle_timeout=5,priority=0 actions=drop")
        #expect(try bench.store.load().flows.isEmpty)
        try await bench.add("priority=0 actions=output:1")
        #expect(try await bench.restarted().flows() == ["priority=0 actions=output:1"])
    }

    @Test func theFileHasPortsByNumber() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("in_port=vm1 actions=output:p1")
        #expect(try bench.store.load().flows.last?.line == "in_port=2 actions=output:1")
        _ = try await bench.control.deletePort(PortDelete(name: "p1"))
        #expect(try await bench.restarted().flows() == ["in_port=2 actions=output:1", "priority=0 actions=NORMAL"])
    }

    @Test func aLineOfADumpIsKeptWithoutItsComment() async throws {
        let bench = try await Bench.furnished()
        try await bench.add(
            " cookie=0x3, duration=1.5s, table=2, n_packets=7, n_bytes=60, idle_age=1, ip actions=drop # why"
        )
        #expect(try await bench.restarted().flows().last == "cookie=0x3, table=2, ip actions=drop")
    }

    @Test func flowsAreThereBeforeThePorts() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.deleteFlows(FlowDelete(bridge: "br0"))
        try await bench.add("in_port=1 actions=drop")
        try bench.store.close()
        let io = ScriptedPortIO()
        let next = try Bench(home: bench.home, io: io)
        let seen = Seen()
        io.onOpen { seen.note(next.dataplane.flows(of: "br0").map { FlowText.print($0.flow) }) }
        try await next.control.restore()
        #expect(seen.notes == [["in_port=1 actions=drop"], ["in_port=1 actions=drop"]])
    }

    @Test func aBridgeTakesItsFlowsWithIt() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("in_port=1 actions=drop")
        _ = try await bench.control.deleteBridge(BridgeDelete(name: "br0"))
        #expect(try bench.store.load() == SwitchState())
        _ = try await bench.control.addBridge(BridgeAdd(name: "br0"))
        #expect(try await bench.flows() == ["priority=0 actions=NORMAL"])
        #expect(try await bench.restarted().flows() == ["priority=0 actions=NORMAL"])
    }

    @Test func aFlowThatCannotRunKeepsTheDaemonFromStarting() async throws {
        let bench = try await Bench.furnished()
        try await bench.store.database.write {
            try $0.execute(sql: "INSERT INTO flow VALUES (99, 'br0', 'tcp actions=ct(commit,nat,alg=ftp)')")
        }
        let error = await #expect(throws: StoreError.self) { _ = try await bench.restarted() }
        #expect(error?.description.contains("a flow of bridge 'br0' that cannot run") == true)
    }

    @Test func aFileOfTheFirstSchemaGetsTheFlowThatItsBridgesHad() async throws {
        let bench = try await Bench.furnished()
        let before = await bench.control.show()
        try await bench.store.database.write { database in
            for table in [
                "flow", "flow_group", "meter", "address_set_member", "address_set", "document", "tombstone",
                "document_floor", "tracking",
            ] {
                try database.execute(sql: "DROP TABLE \(table)")
            }
            try database.execute(sql: "ALTER TABLE port DROP COLUMN planned")
            try database.execute(sql: "PRAGMA user_version = 1")
        }
        let next = try await bench.restarted()
        #expect(await next.control.show() == before)
        #expect(try await next.flows() == ["priority=0 actions=NORMAL"])
        #expect(try next.store.load().flows.map(\.flow) == [Dataplane.firstFlow])
        try await next.add("in_port=1 actions=drop")
        #expect(try await next.restarted().flows() == ["in_port=1 actions=drop", "priority=0 actions=NORMAL"])
    }

    @Test func aFileOfTheSecondSchemaKeepsItsFlowsAndTakesGroups() async throws {
        let bench = try await Bench.furnished()
        try await bench.add("in_port=1 actions=drop")
        try await bench.store.database.write { database in
            for table in [
                "flow_group", "meter", "address_set_member", "address_set", "document", "tombstone", "document_floor",
                "tracking",
            ] {
                try database.execute(sql: "DROP TABLE \(table)")
            }
            try database.execute(sql: "ALTER TABLE port DROP COLUMN planned")
            try database.execute(sql: "PRAGMA user_version = 2")
        }
        let next = try await bench.restarted()
        #expect(try await next.flows() == ["in_port=1 actions=drop", "priority=0 actions=NORMAL"])
        try await next.addGroups("group_id=1,type=all")
        #expect(try await next.restarted().groups() == ["group_id=1,type=all"])
    }
}

/// What was seen by callbacks.
final class Seen: @unchecked Sendable {
    private let lock = NSLock()
    private var list: [[String]] = []

    var notes: [[String]] { lock.withLock { list } }

    func note(_ words: [String]) { lock.withLock { list.append(words) } }
}

/// Files of Tests/FlowsTests/Golden.
enum Neutron {
    static func text(_ name: String) throws -> String {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: tests.appending(path: "FlowsTests/Golden/\(name)"), encoding: .utf8)
    }
}

extension Bench {
    func add(_ flows: String) async throws {
        _ = try await control.addFlows(FlowAdd(bridge: "br0", flows: flows))
    }

    /// As a dump without statistics has them.
    func flows(of bridge: String = "br0") async throws -> [String] {
        let dump = FlowDump(bridge: bridge, lines: true, statistics: false)
        return try await control.listing(dump).response.lines ?? []
    }
}
