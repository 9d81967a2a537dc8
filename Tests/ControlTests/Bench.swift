import Dataplane
import Flows
import Foundation
import Logging
import Testing

@testable import Control

/// A switch with a scripted packet engine, its state in a directory of its own.
final class Bench: Sendable {
    let home: TemporaryDirectory
    var directory: String { home.path }
    let io: ScriptedPortIO
    let dataplane: Dataplane
    let store: Store
    let control: Switch
    let logLevel = LogLevel(.info)

    init(home: TemporaryDirectory = TemporaryDirectory(), io: ScriptedPortIO = ScriptedPortIO()) throws {
        self.home = home
        self.io = io
        dataplane = Dataplane(workerCount: 1)
        store = try Store(directory: home.path)
        control = Switch(
            dataplane: dataplane,
            io: io,
            store: store,
            hostName: "here",
            sockets: SocketDirectory(home.path),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            logLevel: logLevel,
            dpdk: "DPDK 0.0"
        )
    }

    /// With bridge br0, and ring port p1 (access 10) and vhost-user port vm1 on it.
    static func furnished() async throws -> Bench {
        let bench = try Bench()
        _ = try await bench.control.addBridge(BridgeAdd(name: "br0"))
        let ring = PortAdd(bridge: "br0", name: "p1", type: "ring", vlan: VLANOptions(tag: 10))
        _ = try await bench.control.addPort(ring)
        let socket = ["path": bench.directory + "/vm1.sock"]
        _ = try await bench.control.addPort(PortAdd(bridge: "br0", name: "vm1", type: "vhost-user", options: socket))
        return bench
    }

    /// The daemon ends and another one begins with the same state and a new packet engine.
    func restarted(io: ScriptedPortIO = ScriptedPortIO()) async throws -> Bench {
        try store.close()
        let next = try Bench(home: home, io: io)
        try await next.control.restore()
        return next
    }

    /// Everything that a refused request must leave as it was.
    func everything() async throws -> Everything {
        Everything(
            show: await control.show(),
            file: try store.load(),
            devices: io.opened,
            stations: dataplane.fdb(of: "br0"),
            flows: Dictionary(uniqueKeysWithValues: dataplane.flows(of: "br0").map { ($0.number, $0.flow) }),
            groups: dataplane.groups(of: "br0"),
            meters: dataplane.meters(of: "br0").map(\.meter),
            addressSets: Dictionary(
                uniqueKeysWithValues: dataplane.addressSets.map { ($0, dataplane.members(of: $0) ?? []) }
            )
        )
    }

    struct Everything: Equatable {
        let show: Show.Response
        let file: SwitchState
        let devices: [PortIndex: ScriptedPortIO.Opened]
        let stations: [FDBEntry]
        let flows: [UInt32: Flow]
        let groups: [Group]
        let meters: [Meter]
        let addressSets: [String: Set<AddressSetMember>]
    }
}

/// A directory that goes with its last user. Its path is short, because a socket's has 107 bytes at most.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/martlet-test-XXXXXX".utf8CString)
        // mkdtemp(3) writes into the template, whose six X it replaces.
        guard mkdtemp(&template) != nil else { fatalError("no temporary directory") }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Waits for a condition, ten seconds at most.
func eventually(_ condition: () async throws -> Bool, _ location: SourceLocation = #_sourceLocation) async throws {
    // Long enough for a machine that builds beside the tests.
    let limit = ContinuousClock.now + .seconds(120)
    while ContinuousClock.now < limit {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(2))
    }
    Issue.record("the condition did not come true in two minutes", sourceLocation: location)
    // What comes next would wait for ever for what did not happen.
    throw CancellationError()
}
