import Dataplane
import Foundation
import Testing

@testable import Control

/// A request that is refused, and words that its sentence must have.
struct Refused: Sendable, CustomTestStringConvertible {
    let words: [String]
    let ask: @Sendable (isolated Switch, Bench) throws -> Void

    init(_ words: String..., ask: @escaping @Sendable (isolated Switch, Bench) throws -> Void) {
        self.init(words: words, ask: ask)
    }

    private init(words: [String], ask: @escaping @Sendable (isolated Switch, Bench) throws -> Void) {
        self.words = words
        self.ask = ask
    }

    var testDescription: String { words.joined(separator: " ... ") }

    /// The last of the texts is what is added, the others are words of the refusal.
    static func flows(_ words: String...) -> Refused {
        let request = FlowAdd(bridge: "br0", flows: words.last)
        return Refused(words: words.dropLast()) { control, _ in _ = try control.addFlows(request) }
    }

    static func port(
        _ words: String...,
        bridge: String = "br0",
        name: String = "new",
        type: String = "ring",
        options: [String: String] = [:],
        number: Int? = nil,
        vlan: VLANOptions = VLANOptions()
    ) -> Refused {
        let request = PortAdd(bridge: bridge, name: name, type: type, options: options, number: number, vlan: vlan)
        return Refused(words: words) { control, _ in _ = try control.addPort(request) }
    }
}

@Suite struct RefusalTests {
    @Test(arguments: bridges + ports + vlans + devices + stations + flows + others)
    func refusalNamesTheValueAndChangesNothing(refused: Refused) async throws {
        let bench = try await Bench.furnished()
        try Data().write(to: URL(filePath: bench.directory + "/file"))
        let before = try await bench.everything()
        let reason = try #require(await bench.control.reason(of: refused, bench))
        for words in refused.words { #expect(reason.contains(words)) }
        #expect(try await bench.everything() == before)
    }

    /// What flows name: nothing of it changes when the file cannot be written.
    @Test(arguments: objects.indices)
    func aFullDiskChangesNothingThatFlowsName(index: Int) async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addAddressSet(AddressSetAdd(name: "a", members: "10.0.0.1"))
        try await bench.addGroups("group_id=1,type=all")
        _ = try await bench.control.addMeters(MeterAdd(bridge: "br0", meters: "meter=1 kbps bands=type=drop rate=1"))
        try await bench.add("actions=meter:1,group:1")
        let before = try await bench.everything()
        try await bench.store.database.write { try $0.execute(sql: "PRAGMA query_only = ON") }
        let refusal = await #expect(throws: Refusal.self) { try await bench.control.carryOut(Self.objects[index]) }
        #expect(refusal?.reason.contains("cannot be written") == true)
        #expect(try await bench.everything() == before)
    }

    private static let objects: [@Sendable (isolated Switch) throws -> Void] = [
        { _ = try $0.addGroups(GroupAdd(bridge: "br0", groups: "group_id=2,type=all")) },
        { _ = try $0.modifyGroups(GroupModify(bridge: "br0", groups: "group_id=1,type=select")) },
        { _ = try $0.deleteGroups(GroupDelete(bridge: "br0")) },
        { _ = try $0.addMeters(MeterAdd(bridge: "br0", meters: "meter=2 kbps bands=type=drop rate=1")) },
        { _ = try $0.modifyMeters(MeterModify(bridge: "br0", meters: "meter=1 kbps bands=type=drop rate=2")) },
        { _ = try $0.deleteMeters(MeterDelete(bridge: "br0")) },
        { _ = try $0.addAddressSet(AddressSetAdd(name: "b", members: "10.0.0.1")) },
        { _ = try $0.addMembers(AddressSetAddMembers(name: "a", members: "10.0.0.2")) },
        { _ = try $0.deleteMembers(AddressSetDeleteMembers(name: "a", members: "10.0.0.1")) },
        { _ = try $0.deleteAddressSet(AddressSetDelete(name: "a")) },
    ]

    static let bridges = [
        Refused("bridge 'br0' exists") { control, _ in _ = try control.addBridge(BridgeAdd(name: "br0")) },
        Refused("bridge name 'a b'") { control, _ in _ = try control.addBridge(BridgeAdd(name: "a b")) },
        Refused("bridge name ''") { control, _ in _ = try control.addBridge(BridgeAdd(name: "")) },
        Refused("1 to 64") { control, _ in
            _ = try control.addBridge(BridgeAdd(name: String(repeating: "x", count: 65)))
        },
        Refused("FDB capacity 15") { control, _ in
            _ = try control.addBridge(BridgeAdd(name: "br1", options: BridgeOptions(fdbCapacity: 15)))
        },
        Refused("FDB ageing 0 s") { control, _ in
            _ = try control.setBridge(BridgeSet(name: "br0", options: BridgeOptions(fdbAgeing: 0)))
        },
        Refused("bridge 'br9' does not exist", "br0") { control, _ in
            _ = try control.setBridge(BridgeSet(name: "br9", options: BridgeOptions()))
        },
        Refused("bridge 'br9' does not exist") { control, _ in
            _ = try control.deleteBridge(BridgeDelete(name: "br9"))
        },
    ]

    static let ports: [Refused] = [
        .port("bridge 'br9' does not exist", bridge: "br9"),
        .port("port name 'a/b'", name: "a/b"),
        .port("port 'p1' exists", "br0", name: "p1"),
        .port("port type 'hub' is unknown", type: "hub"),
        .port("port number 0 is outside 1 to 65279", number: 0),
        .port("port number 65280", number: 65280),
        .port("port number 1 belongs to port 'p1'", number: 1),
        .port("mtu=67", "68 to 9000", options: ["mtu": "67"]),
        .port("mtu=9001", options: ["mtu": "9001"]),
        .port("mtu=jumbo", options: ["mtu": "jumbo"]),
        .port("size=1000", "power of two", options: ["size": "1000"]),
        .port("no option 'colour'", options: ["colour": "red"]),
        Refused("port 'ghost' does not exist") { control, _ in _ = try control.deletePort(PortDelete(name: "ghost")) },
        Refused("port 'ghost' does not exist") { control, _ in _ = try control.showPort(PortShow(name: "ghost")) },
        Refused("nothing to set") { control, _ in
            _ = try control.setPort(PortSet(name: "p1", vlan: VLANOptions()))
        },
        Refused("bridge 'br9' does not exist") { control, _ in _ = try control.listPorts(PortList(bridge: "br9")) },
    ]

    static let vlans: [Refused] = [
        .port("VLAN 4095 is reserved", "0 to 4094", vlan: VLANOptions(tag: 4095)),
        .port("VLAN 4095 is reserved", vlan: VLANOptions(trunks: [1, 4095])),
        .port("VLAN -1 does not exist", vlan: VLANOptions(tag: -1)),
        .port("VLAN 70000 does not exist", vlan: VLANOptions(tag: 70000)),
        .port("VLAN mode 'hybrid' is unknown", "native-tagged", vlan: VLANOptions(tag: 1, mode: "hybrid")),
        .port("vlan mode native-tagged needs a tag", vlan: VLANOptions(mode: "native-tagged")),
        .port("vlan mode trunk takes no tag", vlan: VLANOptions(tag: 1, mode: "trunk")),
        .port("vlan mode access carries one VLAN", vlan: VLANOptions(tag: 1, trunks: [2])),
        Refused("VLAN 4095 is reserved") { control, _ in
            _ = try control.setPort(PortSet(name: "p1", vlan: VLANOptions(tag: 4095)))
        },
    ]

    static let devices: [Refused] = [
        .port("ring 'p1' belongs to port 'p1'", options: ["name": "p1"]),
        .port("'3b:00' is not a PCI address", type: "dpdk", options: ["pci": "3b:00"]),
        .port("needs its socket", type: "vhost-user"),
        .port(
            "has 108 bytes",
            "107 at most",
            type: "vhost-user",
            options: ["path": "/" + String(repeating: "x", count: 107)]
        ),
        .port(
            "directory '/nowhere' of socket '/nowhere/s' does not exist",
            type: "vhost-user",
            options: ["path": "/nowhere/s", "mode": "server"]
        ),
        Refused("/vm1.sock' belongs to port 'vm1'") { control, bench in
            let options = ["path": bench.directory + "/vm1.sock"]
            _ = try control.addPort(PortAdd(bridge: "br0", name: "new", type: "vhost-user", options: options))
        },
        Refused("is a regular file and no socket", "remove it") { control, bench in
            let options = ["path": bench.directory + "/file"]
            _ = try control.addPort(PortAdd(bridge: "br0", name: "new", type: "vhost-user", options: options))
        },
        Refused("no device for 'new'", "plug one in") { control, bench in
            bench.io.refuse(["new"])
            _ = try control.addPort(PortAdd(bridge: "br0", name: "new", type: "tap"))
        },
        Refused("cannot be written") { control, bench in
            try bench.store.database.write { try $0.execute(sql: "PRAGMA query_only = ON") }
            _ = try control.addPort(PortAdd(bridge: "br0", name: "new", type: "tap"))
        },
    ]

    static let stations = [
        Refused("'52:54' is not a MAC address") { control, _ in
            _ = try control.addStation(FDBAdd(bridge: "br0", mac: "52:54", port: "p1"))
        },
        Refused("01:00:5e:00:00:01 is no station's address") { control, _ in
            _ = try control.addStation(FDBAdd(bridge: "br0", mac: "01:00:5e:00:00:01", port: "p1"))
        },
        Refused("VLAN 4095 is reserved") { control, _ in
            _ = try control.addStation(FDBAdd(bridge: "br0", mac: "52:54:00:00:00:01", vlan: 4095, port: "p1"))
        },
        Refused("port 'ghost' does not exist") { control, _ in
            _ = try control.addStation(FDBAdd(bridge: "br0", mac: "52:54:00:00:00:01", port: "ghost"))
        },
        Refused("knows no station 52:54:00:00:00:01 in VLAN 7") { control, _ in
            _ = try control.deleteStation(FDBDelete(bridge: "br0", mac: "52:54:00:00:00:01", vlan: 7))
        },
        Refused("cannot be written") { control, bench in
            try bench.store.database.write { try $0.execute(sql: "PRAGMA query_only = ON") }
            _ = try control.addStation(FDBAdd(bridge: "br0", mac: "52:54:00:00:00:01", port: "p1"))
        },
        Refused("port 'ghost' does not exist") { control, _ in
            _ = try control.flushFDB(FDBFlush(bridge: "br0", port: "ghost"))
        },
        Refused("bridge 'br9' does not exist") { control, _ in _ = try control.showFDB(FDBShow(bridge: "br9")) },
    ]

    static let flows: [Refused] = [
        .flows("line 1, column 1", "'nonsense' is unknown", "nonsense=1 actions=drop"),
        .flows("line 3, column 19", "in_port=1 actions=drop\n# why\nin_port=2 actions=mod_nw_src:10.0.0.1"),
        .flows("line 2, column 11", "port 7 does not exist on bridge 'br0'", "actions=output:1\n  actions=output:7"),
        .flows("column 21", "port 7 does not exist", "actions=clone(clone(enqueue:7:1))"),
        .flows("port 7 does not exist", "actions=write_actions(output:7)"),
        .flows("port 7 does not exist", "actions=resubmit(7,3)"),
        .flows("port 7 does not exist", "actions=output(port=7,max_len=100)"),
        .flows("port LOCAL does not exist", "only the ports", "actions=LOCAL"),
        .flows("'ghost' is not a port", "actions=output:ghost"),
        .flows("ghost", "is not a port", "in_port=\"ghost\" actions=drop"),
        .flows("255", "table=255 actions=drop"),
        .flows("line 2, column 13", "cannot be run", "in_port=1 actions=drop\ntcp actions=ct(commit,nat,alg=ftp)"),
        .flows(
            "line 2, column 1",
            "overlaps",
            "priority=5,ip actions=drop\npriority=5,check_overlap,in_port=1 actions=drop"
        ),
        .flows(
            "allowed are 65536",
            "in_port=p1 actions=load:1->reg0" + String(repeating: ",load:1->reg0", count: 4000)
        ),
        .flows("line 1, column 1", "overlaps 'priority=0 actions=NORMAL'", "priority=0,check_overlap,ip actions=drop"),
        Refused("bridge 'br9' does not exist") { control, _ in
            _ = try control.addFlows(FlowAdd(bridge: "br9", flows: ""))
        },
        Refused("bridge 'br9' does not exist") { control, _ in _ = try control.listing(FlowDump(bridge: "br9")) },
        Refused("bridge 'br9' does not exist") { control, _ in _ = try control.watchFlows(FlowWatch(bridge: "br9")) },
        Refused("flow.add needs a text") { control, _ in _ = try control.addFlows(FlowAdd(bridge: "br0")) },
        Refused("line 1, column 6", "'nw' is unknown") { control, _ in
            _ = try control.deleteFlows(FlowDelete(bridge: "br0", match: "ip,  nw=1"))
        },
        Refused("'priority' has no place here") { control, _ in
            _ = try control.deleteFlows(FlowDelete(bridge: "br0", match: "priority=0"))
        },
        Refused("line 1, column 9") { control, _ in
            _ = try control.replaceFlows(FlowReplace(bridge: "br0", flows: "actions=output:9"))
        },
        Refused("cannot be written") { control, bench in
            try bench.store.database.write { try $0.execute(sql: "PRAGMA query_only = ON") }
            _ = try control.addFlows(FlowAdd(bridge: "br0", flows: "priority=0 actions=drop\nin_port=1 actions=drop"))
        },
        Refused("cannot be written") { control, bench in
            try bench.store.database.write { try $0.execute(sql: "PRAGMA query_only = ON") }
            _ = try control.deleteFlows(FlowDelete(bridge: "br0"))
        },
        Refused("cannot be written") { control, bench in
            try bench.store.database.write { try $0.execute(sql: "PRAGMA query_only = ON") }
            _ = try control.replaceFlows(FlowReplace(bridge: "br0", flows: "in_port=1 actions=drop"))
        },
    ]

    static let others = [
        Refused("no queue 5") { control, _ in
            _ = try control.assignQueue(WorkerAssign(port: "p1", queue: 5, lcore: 2))
        },
        Refused("lcore 9 has no worker") { control, _ in
            _ = try control.assignQueue(WorkerAssign(port: "p1", queue: 0, lcore: 9))
        },
        Refused("cannot be written") { control, bench in
            try bench.store.database.write { try $0.execute(sql: "PRAGMA query_only = ON") }
            _ = try control.assignQueue(WorkerAssign(port: "p1", queue: 0, lcore: 2))
        },
        Refused("log level 'loud' is unknown") { control, _ in _ = try control.setLogLevel(LogLevelSet(level: "loud"))
        },
        Refused("capture direction 'up' is unknown") { control, _ in
            _ = try control.startCapture(CaptureStart(port: "p1", direction: "up"))
        },
        Refused("snap length 13") { control, _ in
            _ = try control.startCapture(CaptureStart(port: "p1", snapLength: 13))
        },
        Refused("filter 'nonsense'") { control, _ in
            _ = try control.startCapture(CaptureStart(port: "p1", filter: "nonsense"))
        },
    ]
}

extension Switch {
    fileprivate func carryOut(_ ask: @Sendable (isolated Switch) throws -> Void) throws { try ask(self) }

    /// nil when the request was not refused.
    fileprivate func reason(of refused: Refused, _ bench: Bench) throws -> String? {
        do {
            try refused.ask(self, bench)
            return nil
        } catch let refusal as Refusal {
            return refusal.reason
        } catch let refusal as FlowRefusal {
            return refusal.description
        }
    }
}
