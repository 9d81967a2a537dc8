import Dataplane
import Foundation
import Testing
import Wire

@testable import Control

@Suite struct RestoreTests {
    private let mac = "52:54:00:00:00:01"

    @Test func bringsBackEverythingThatWasSaid() async throws {
        let bench = try await Bench.furnished()
        let settings = BridgeOptions(fdbCapacity: 100, fdbAgeing: 60, forwardReserved: true)
        _ = try await bench.control.addBridge(BridgeAdd(name: "br1", options: settings))
        let options = ["devargs": "net_null0,no-rx=1", "mtu": "1600", "queues": "2"]
        let vlan = VLANOptions(tag: 5, trunks: [1, 2], mode: "native-untagged")
        let port = PortAdd(bridge: "br1", name: "n", type: "dpdk", options: options, number: 77, vlan: vlan)
        _ = try await bench.control.addPort(port)
        _ = try await bench.control.addStation(FDBAdd(bridge: "br0", mac: mac, vlan: 10, port: "p1"))
        _ = try await bench.control.assignQueue(WorkerAssign(port: "vm1", queue: 0, lcore: 2))
        let before = await bench.control.show()
        let file = try bench.store.load()
        let next = try await bench.restarted()
        #expect(await next.control.show() == before)
        #expect(try next.store.load() == file)
        #expect(next.io.opened.values.first { $0.name == "vm1" }?.lcore == 2)
        #expect(next.io.opened.values.first { $0.name == "n" }?.mtu == 1600)
        #expect(next.dataplane.fdb(of: "br0").map(\.mac.description) == [mac])
    }

    @Test func keepsAPortWhoseDeviceIsMissing() async throws {
        let bench = try await Bench.furnished()
        let io = ScriptedPortIO()
        io.refuse(["p1"])
        let next = try await bench.restarted(io: io)
        let ports = try await next.control.listPorts(PortList()).ports
        #expect(ports.map(\.name) == ["p1", "vm1"])
        #expect(ports.map(\.link) == ["down", "up"])
        #expect(ports[0].error == "no device for 'p1': plug one in")
        #expect(io.opened.values.map(\.name) == ["vm1"])
        let finding = await next.control.doctor().findings.first { $0.check == "port p1" }
        #expect(finding?.ok == false)
        #expect(finding?.message == "no device for 'p1': plug one in")
    }

    @Test func opensAMissingDeviceOnceItIsThere() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.assignQueue(WorkerAssign(port: "p1", queue: 0, lcore: 2))
        let io = ScriptedPortIO()
        io.refuse(["p1"])
        let next = try await bench.restarted(io: io)
        // A station may be said of a port that has no device yet.
        _ = try await next.control.addStation(FDBAdd(bridge: "br0", mac: mac, port: "p1"))
        #expect(next.dataplane.fdb(of: "br0").isEmpty)
        await next.control.retryFailedPorts()
        #expect(try await next.control.showPort(PortShow(name: "p1")).link == "down")
        io.refuse([])
        await next.control.retryFailedPorts()
        let port = try await next.control.showPort(PortShow(name: "p1"))
        #expect(port.link == "up")
        #expect(port.error == nil)
        #expect(port.queues?.map(\.lcore) == [2])
        #expect(next.dataplane.fdb(of: "br0").map(\.mac.description) == [mac])
    }

    @Test func removesAPortThatHasNoDevice() async throws {
        let bench = try await Bench.furnished()
        let io = ScriptedPortIO()
        io.refuse(["p1"])
        let next = try await bench.restarted(io: io)
        _ = try await next.control.deletePort(PortDelete(name: "p1"))
        #expect(try await next.control.listPorts(PortList()).ports.map(\.name) == ["vm1"])
        #expect(try next.store.load().ports.keys.sorted() == ["vm1"])
    }

    @Test func refusesToPollOrCaptureAPortThatHasNoDevice() async throws {
        let bench = try await Bench.furnished()
        let io = ScriptedPortIO()
        io.refuse(["p1"])
        let next = try await bench.restarted(io: io)
        await #expect(throws: Refusal.self) {
            try await next.control.assignQueue(WorkerAssign(port: "p1", queue: 0, lcore: 2))
        }
        await #expect(throws: Refusal.self) { _ = try await next.control.startCapture(CaptureStart(port: "p1")) }
    }
}
