import Dataplane
import Synchronization

/// A packet engine without packets: it remembers what it was asked, and refuses what it is told to.
final class ScriptedPortIO: PortIO {
    struct Opened: Equatable {
        let name: String
        let type: PortType
        let mtu: Int
        var lcore = 1
    }

    private struct State {
        var opened: [PortIndex: Opened] = [:]
        var refused: Set<String> = []
        var isDown: Set<String> = []
        var captures: [PortIndex: ScriptedCapture] = [:]
        var received: [PortIndex: [[UInt8]]] = [:]
        var sent: [PortIndex: [[UInt8]]] = [:]
        var onOpen: @Sendable () -> Void = {}
    }

    private let state = Mutex(State())

    var opened: [PortIndex: Opened] { state.withLock { $0.opened } }
    var captures: [PortIndex: ScriptedCapture] { state.withLock { $0.captures } }

    func refuse(_ names: Set<String>) { state.withLock { $0.refused = names } }
    /// Runs `body` whenever a device is opened.
    func onOpen(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onOpen = body } }
    func takeDown(_ names: Set<String>) { state.withLock { $0.isDown = names } }

    func open(_ ports: [PortOpening]) -> [PortIndex: Refusal] {
        for _ in ports { state.withLock { $0.onOpen }() }
        return state.withLock { state in
            var refusals: [PortIndex: Refusal] = [:]
            for port in ports {
                precondition(state.opened[port.index] == nil, "port index \(port.index.value) is opened twice")
                guard !state.refused.contains(port.name) else {
                    refusals[port.index] = Refusal("no device for '\(port.name)': plug one in")
                    continue
                }
                state.opened[port.index] = Opened(name: port.name, type: port.type, mtu: port.mtu)
            }
            return refusals
        }
    }

    func close(_ ports: [PortIndex]) {
        state.withLock { state in
            for port in ports {
                state.opened[port] = nil
                state.captures.removeValue(forKey: port)?.stop()
            }
        }
    }

    func status(of port: PortIndex) -> PortStatus {
        state.withLock { state in
            guard let opened = state.opened[port] else { return PortStatus(linkUp: false) }
            return PortStatus(
                linkUp: !state.isDown.contains(opened.name),
                details: [.init("driver", "scripted")],
                queues: [.init(number: 0, lcore: opened.lcore, enabled: true, size: 256)]
            )
        }
    }

    func takeGuestNews() -> Bool { false }

    func connectGuests() {}

    func hasLink(_ port: PortIndex) -> Bool { status(of: port).linkUp }

    /// Puts a frame before the endpoint of a port.
    func put(_ frame: [UInt8], before port: PortIndex) {
        state.withLock { $0.received[port, default: []].append(frame) }
    }
    /// What the endpoint of a port has sent.
    func sent(from port: PortIndex) -> [[UInt8]] { state.withLock { $0.sent[port] ?? [] } }

    func take(from port: PortIndex, limit: Int) -> [[UInt8]] {
        state.withLock { state in
            let taken = Array((state.received[port] ?? []).prefix(limit))
            state.received[port]?.removeFirst(taken.count)
            return taken
        }
    }

    func send(_ frame: [UInt8], from port: PortIndex) -> Bool {
        state.withLock { $0.sent[port, default: []].append(frame) }
        return true
    }

    func workers() -> [WorkerStatus] {
        [1, 2].map { lcore in
            WorkerStatus(
                lcore: lcore,
                socket: 0,
                queues: opened.filter { $0.value.lcore == lcore }.map { .init(port: $0.key, queue: 0) },
                turns: 10,
                busyTurns: 5,
                cycles: 1000,
                busyCycles: 250,
                cyclesPerSecond: 1_000_000,
                packets: 7
            )
        }
    }

    func assign(_ port: PortIndex, queue: Int, lcore: Int) throws(Refusal) {
        guard queue == 0 else { throw Refusal("the port has no queue \(queue): it has 1") }
        guard [1, 2].contains(lcore) else { throw Refusal("lcore \(lcore) has no worker: use 1 or 2") }
        state.withLock { $0.opened[port]?.lcore = lcore }
    }

    func capture(_ port: PortIndex, request: CaptureRequest) throws(Refusal) -> any Capture {
        guard request.filter != "nonsense" else {
            throw Refusal("filter 'nonsense' does not compile: see pcap-filter(7)")
        }
        let capture = ScriptedCapture()
        let isCaptured = state.withLock { state in
            if state.captures[port]?.isStopped == false { return true }
            state.captures[port] = capture
            return false
        }
        if isCaptured { throw Refusal("the port is captured already: end that capture first") }
        return capture
    }
}

/// A capture whose packets a test puts in, or one that never runs dry.
final class ScriptedCapture: Capture {
    private struct State {
        var waiting: [CapturedPacket] = []
        var endless: CapturedPacket?
        var taken = 0
        var lost: UInt64 = 0
        var isStopped = false
    }

    private let state = Mutex(State())

    var isStopped: Bool { state.withLock { $0.isStopped } }
    var taken: Int { state.withLock { $0.taken } }
    var lost: UInt64 { state.withLock { $0.lost } }

    func put(_ packets: [CapturedPacket], lost: UInt64 = 0) {
        state.withLock { state in
            state.waiting += packets
            state.lost += lost
        }
    }

    func flow(_ packet: CapturedPacket) { state.withLock { $0.endless = packet } }

    func take(limit: Int) -> [CapturedPacket] {
        state.withLock { state in
            guard !state.isStopped else { return [] }
            if let endless = state.endless {
                state.taken += limit
                return Array(repeating: endless, count: limit)
            }
            let taken = Array(state.waiting.prefix(limit))
            state.waiting.removeFirst(taken.count)
            state.taken += taken.count
            return taken
        }
    }

    func stop() { state.withLock { $0.isStopped = true } }
}
