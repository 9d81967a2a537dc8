import Dataplane
import Foundation
import GRDB
import Testing
import Wire

@testable import Control

@Suite struct SwitchTests {
    @Test func givesDefaultsToWhatIsNotSaid() async throws {
        let bench = try await Bench.furnished()
        let ring = try await bench.control.showPort(PortShow(name: "p1"))
        #expect(ring.number == 1)
        #expect(ring.mtu == 9000)
        #expect(ring.options == ["name": "p1", "size": "1024"])
        #expect(ring.vlan == PortDescription.VLAN(mode: "access", tag: 10, trunks: []))
        #expect(ring.link == "up")
        #expect(ring.details == [.init("driver", "scripted")])
        let tap = try await bench.control.addPort(PortAdd(bridge: "br0", name: "t", type: "tap"))
        #expect(tap.mtu == 1500)
        #expect(tap.number == 3)
        #expect(tap.vlan == PortDescription.VLAN(mode: "trunk", tag: nil, trunks: []))
    }

    @Test func takesTheLowestFreeNumberOfTheBridge() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.deletePort(PortDelete(name: "p1"))
        let next = try await bench.control.addPort(PortAdd(bridge: "br0", name: "p2", type: "ring"))
        #expect(next.number == 1)
        _ = try await bench.control.addBridge(BridgeAdd(name: "br1"))
        let other = try await bench.control.addPort(PortAdd(bridge: "br1", name: "p3", type: "ring"))
        #expect(other.number == 1)
    }

    @Test func holdsAsManyPortsAsTheDataplane() async throws {
        let bench = try Bench()
        try await bench.store.database.write { database in
            try database.execute(sql: "INSERT INTO bridge VALUES ('br0', 8192, 300, 0)")
            for number in 1...PortIndex.capacity {
                let sql = "INSERT INTO port VALUES (?, 'br0', ?, 'ring', '{}', 9000, 'trunk', NULL, '[]', 0)"
                try database.execute(sql: sql, arguments: ["p\(number)", number])
            }
        }
        try await bench.control.restore()
        let error = await #expect(throws: Refusal.self) {
            try await bench.control.addPort(PortAdd(bridge: "br0", name: "more", type: "ring"))
        }
        #expect(error?.reason.contains("1024 ports already") == true)
        #expect(bench.io.opened.count == PortIndex.capacity)
    }

    @Test func takesTheMTUOutOfTheOptions() async throws {
        let bench = try await Bench.furnished()
        let options = ["mtu": "2000", "size": "64"]
        let port = try await bench.control.addPort(PortAdd(bridge: "br0", name: "p2", type: "ring", options: options))
        #expect(port.mtu == 2000)
        #expect(port.options == ["name": "p2", "size": "64"])
        #expect(bench.io.opened.values.first { $0.name == "p2" }?.mtu == 2000)
    }

    @Test func replacesTheWholeVLANPolicy() async throws {
        let bench = try await Bench.furnished()
        let vlan = VLANOptions(trunks: [7, 3])
        let port = try await bench.control.setPort(PortSet(name: "p1", vlan: vlan))
        #expect(port.vlan == PortDescription.VLAN(mode: "trunk", tag: nil, trunks: [3, 7]))
        #expect(try bench.store.load().ports["p1"]?.vlan.trunks == [VLANID(3)!, VLANID(7)!])
    }

    @Test func keepsSettingsThatAreNotGiven() async throws {
        let bench = try await Bench.furnished()
        let options = BridgeOptions(fdbCapacity: 64, forwardReserved: true)
        _ = try await bench.control.setBridge(BridgeSet(name: "br0", options: options))
        _ = try await bench.control.setBridge(BridgeSet(name: "br0", options: BridgeOptions(fdbAgeing: 20)))
        let bridge = await bench.control.listBridges().bridges[0]
        #expect(bridge.fdbCapacity == 64)
        #expect(bridge.fdbAgeing == 20)
        #expect(bridge.forwardReserved)
        #expect(bridge.ports == 2)
    }

    @Test func deletesABridgeWithItsPorts() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addStation(FDBAdd(bridge: "br0", mac: "52:54:00:00:00:01", port: "p1"))
        _ = try await bench.control.assignQueue(WorkerAssign(port: "p1", queue: 0, lcore: 2))
        _ = try await bench.control.deleteBridge(BridgeDelete(name: "br0"))
        #expect(bench.io.opened.isEmpty)
        #expect(try bench.store.load() == SwitchState())
        #expect(await bench.control.show().bridges.isEmpty)
        #expect(bench.dataplane.fdb(of: "br0").isEmpty)
    }

    @Test func setsAndForgetsStaticStations() async throws {
        let bench = try await Bench.furnished()
        let mac = "52:54:00:00:00:01"
        _ = try await bench.control.addStation(FDBAdd(bridge: "br0", mac: mac, vlan: 10, port: "p1"))
        let entry = FDBShow.Entry(mac: mac, vlan: 10, port: "p1", age: 0, static: true)
        #expect(try await bench.control.showFDB(FDBShow(bridge: "br0")).entries == [entry])
        _ = try await bench.control.addStation(FDBAdd(bridge: "br0", mac: mac, vlan: 10, port: "vm1"))
        #expect(try await bench.control.showFDB(FDBShow(bridge: "br0")).entries.map(\.port) == ["vm1"])
        #expect(try await bench.control.flushFDB(FDBFlush(bridge: "br0")).flushed == 0)
        _ = try await bench.control.deleteStation(FDBDelete(bridge: "br0", mac: mac, vlan: 10))
        #expect(try await bench.control.showFDB(FDBShow(bridge: "br0")).entries.isEmpty)
        #expect(try bench.store.load().stations.isEmpty)
    }

    @Test func refusesACapacityBelowTheStaticStations() async throws {
        let bench = try await Bench.furnished()
        for number in 1...17 {
            let mac = MACAddress(value: 0x5254_0000_0000 + UInt64(number)).description
            _ = try await bench.control.addStation(FDBAdd(bridge: "br0", mac: mac, port: "p1"))
        }
        let before = try await bench.everything()
        let request = BridgeSet(name: "br0", options: BridgeOptions(fdbCapacity: 16))
        let error = await #expect(throws: Refusal.self) { try await bench.control.setBridge(request) }
        #expect(error?.reason.contains("below the 17 static entries") == true)
        #expect(try await bench.everything() == before)
    }

    @Test func namesTheQueuesOfEachWorker() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.assignQueue(WorkerAssign(port: "vm1", queue: 0, lcore: 2))
        let workers = await bench.control.listWorkers().workers
        #expect(workers.map(\.lcore) == [1, 2])
        #expect(workers.map { $0.queues.map(\.port) } == [["p1"], ["vm1"]])
        #expect(workers[0].busy == 0.25)
    }

    @Test func changesTheLogLevel() async throws {
        let bench = try Bench()
        #expect(try await bench.control.setLogLevel(LogLevelSet()).level == "info")
        #expect(try await bench.control.setLogLevel(LogLevelSet(level: "debug")).level == "debug")
        #expect(bench.logLevel.current == .debug)
    }
}

@Suite struct DoctorTests {
    @Test func saysWhyALinkIsDownAndWhatToDo() async throws {
        let bench = try await Bench.furnished()
        let findings = await bench.control.doctor().findings
        #expect(findings.allSatisfy { $0.ok })
        bench.io.takeDown(["p1", "vm1"])
        let down = await bench.control.doctor().findings.filter { !$0.ok }
        #expect(down.map(\.check) == ["port p1", "port vm1"])
        #expect(down[0].message.contains("start the network function"))
        #expect(down[1].message.contains("nothing listens on '\(bench.directory)/vm1.sock': start the guest"))
        #expect(down.allSatisfy { !$0.stops })
        try Data().write(to: URL(filePath: bench.directory + "/vm1.sock"))
        let last = await bench.control.doctor().findings.last
        #expect(last?.message.contains("is a regular file and no socket: remove it") == true)
    }

    @Test func namesPortsWhoseMTUsDoNotFit() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addPort(PortAdd(bridge: "br0", name: "up", type: "tap"))
        let finding = await bench.control.doctor().findings.first { $0.check == "bridge br0" }
        #expect(finding?.ok == false)
        #expect(finding?.message.contains("MTU 9000 that port 'up' (MTU 1500) drops") == true)
    }
}
