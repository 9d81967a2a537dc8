import Dataplane
import Testing

@testable import Control

/// Patch ports: from the words of an operator to what the dataplane forwards by.
@Suite struct PatchTests {
    @Test(arguments: [["int", "tun"], ["tun", "int"]])
    func joinsWhenBothEndsAreThere(order: [String]) async throws {
        let bench = try await Bench.patched(order)
        for (name, other) in [("int", "tun"), ("tun", "int")] {
            let port = try await bench.control.showPort(PortShow(name: name))
            #expect(port.type == "patch" && port.options == ["peer": other] && port.link == "up")
            #expect(port.details == [.init("joined", "to \(other), port 1 of bridge br-\(other)")])
            #expect(port.queues == [])
        }
        #expect(await bench.joined == ["int": "tun", "tun": "int"])
        #expect(bench.io.opened.isEmpty, "a patch has no device")
        #expect(await bench.control.doctor().findings.allSatisfy(\.ok))
    }

    @Test func aloneItIsDownAndSaysWhy() async throws {
        let bench = try await Bench.patched(["int"])
        let port = try await bench.control.showPort(PortShow(name: "int"))
        #expect(port.link == "down")
        #expect(await bench.joined.isEmpty)
        let reason = "port 'tun' does not exist: add it to another bridge with --option peer=int"
        #expect(port.details == [.init("joined", "no: \(reason)")])
        let finding = await bench.control.doctor().findings.first { $0.check == "port int" }
        #expect(finding == Finding("port int", ok: false, "link down: \(reason)"))
    }

    @Test func ofAnotherTypeOrWithAnotherPeerThereIsNoPatch() async throws {
        let bench = try await Bench.patched(["int"])
        _ = try await bench.control.addPort(PortAdd(bridge: "br-tun", name: "tun", type: "ring"))
        #expect(try await bench.reason(of: "int").contains("of type ring and not a patch"))
        _ = try await bench.control.deletePort(PortDelete(name: "tun"))
        try await bench.add(patch: "tun", to: "other", on: "br-tun")
        #expect(try await bench.reason(of: "int").contains("has 'other' for its peer"))
        #expect(await bench.joined.isEmpty)
    }

    @Test func isRefusedBetweenABridgeAndItself() async throws {
        let bench = try await Bench.patched(["int"])
        let error = await #expect(throws: Refusal.self) { try await bench.add(patch: "tun", to: "int", on: "br-int") }
        #expect(error?.reason.contains("a patch joins two bridges") == true)
        #expect(try bench.store.load().ports.keys.sorted() == ["int"])
    }

    @Test func outlivesARestart() async throws {
        let bench = try await Bench.patched()
        let before = await bench.control.show()
        let next = try await bench.restarted()
        #expect(await next.control.show() == before)
        #expect(await next.joined == ["int": "tun", "tun": "int"])
    }

    @Test func endsWithEitherEndOrBridge() async throws {
        let bench = try await Bench.patched()
        _ = try await bench.control.deletePort(PortDelete(name: "tun"))
        #expect(await bench.joined.isEmpty)
        try await bench.add(patch: "tun", to: "int", on: "br-tun")
        #expect(await bench.joined.count == 2)
        _ = try await bench.control.deleteBridge(BridgeDelete(name: "br-int"))
        #expect(try await bench.reason(of: "tun").contains("port 'int' does not exist"))
        #expect(await bench.joined.isEmpty)
    }

    @Test func hasNothingToCaptureOrToPoll() async throws {
        let bench = try await Bench.patched()
        let capture = await #expect(throws: Refusal.self) {
            _ = try await bench.control.startCapture(CaptureStart(port: "int"))
        }
        #expect(capture?.reason.contains("is of type patch") == true)
        let queue = await #expect(throws: Refusal.self) {
            _ = try await bench.control.assignQueue(WorkerAssign(port: "int", queue: 0, lcore: 1))
        }
        #expect(queue?.reason.contains("is a patch") == true)
    }

    @Test func doesNotCountAmongTheMTUsOfABridge() async throws {
        let bench = try await Bench.patched()
        _ = try await bench.control.addPort(PortAdd(bridge: "br-int", name: "t", type: "tap"))
        #expect(await bench.control.doctor().findings.allSatisfy(\.ok))
    }
}

extension Bench {
    /// With bridges br-int and br-tun, and the given ends, in this order, of the patch between them.
    static func patched(_ ends: [String] = ["int", "tun"]) async throws -> Bench {
        let bench = try Bench()
        for bridge in ["br-int", "br-tun"] { _ = try await bench.control.addBridge(BridgeAdd(name: bridge)) }
        for end in ends { try await bench.add(patch: end, to: end == "int" ? "tun" : "int", on: "br-\(end)") }
        return bench
    }

    func add(patch name: String, to peer: String, on bridge: String) async throws {
        _ = try await control.addPort(PortAdd(bridge: bridge, name: name, type: "patch", options: ["peer": peer]))
    }

    /// What of the dataplane's ports has a peer.
    fileprivate var joined: [String: String] {
        get async { await control.joined(dataplane) }
    }

    fileprivate func reason(of port: String) async throws -> String {
        try await control.showPort(PortShow(name: port)).details?.first?.value ?? ""
    }
}

extension Switch {
    fileprivate func joined(_ dataplane: Dataplane) -> [String: String] {
        let names = portNames()
        var joined: [String: String] = [:]
        for port in dataplane.ports { joined[port.name] = port.peer.flatMap { names[$0] } }
        return joined
    }
}
