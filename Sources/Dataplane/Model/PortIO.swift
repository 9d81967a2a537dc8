/// What the control plane asks of the packet engine: devices, workers, captures. `PacketIO` is the real one.
///
/// All calls come from one task at a time. Each returns when it has happened for every worker: after `close`,
/// no worker touches the port.
public protocol PortIO: AnyObject, Sendable {
    /// Opens the devices behind ports and lets the workers poll them. Until `Dataplane.commit` plugs a port into a
    /// bridge, what it receives is dropped. Many at once cost the workers, and who waits for them, what one does.
    /// - Returns: why some cannot be opened; nothing of those is left.
    func open(_ ports: [PortOpening]) -> [PortIndex: Refusal]

    /// Takes ports from the workers and releases their devices. A port that is not open is left alone.
    func close(_ ports: [PortIndex])

    /// What the device says of itself now.
    func status(of port: PortIndex) -> PortStatus

    /// Whether a frame given to the port now would reach a peer: `linkUp` of its status, at a small price.
    func hasLink(_ port: PortIndex) -> Bool

    /// Whether guests have connected or left since the last call, or may now be there who were not. For any thread, often.
    func takeGuestNews() -> Bool

    /// Connects guests that have come to listen. Not all of them are news: call it now and then without any.
    func connectGuests()

    /// The frames that workers have sent to an endpoint's port, at most `limit`, oldest first.
    func take(from port: PortIndex, limit: Int) -> [[UInt8]]

    /// Has the workers receive a frame from an endpoint's port.
    /// - Returns: false when there is no buffer, or no room for it.
    func send(_ frame: [UInt8], from port: PortIndex) -> Bool

    func workers() -> [WorkerStatus]

    /// Moves a receive queue of a port to the worker of an lcore.
    /// - Throws: `Refusal` when there is no such queue or worker.
    func assign(_ port: PortIndex, queue: Int, lcore: Int) throws(Refusal)

    /// Starts to copy packets of a port. `take` on the capture returns them until `stop`.
    /// - Throws: `Refusal` for a filter that does not compile, a port that is not open or is captured already.
    func capture(_ port: PortIndex, request: CaptureRequest) throws(Refusal) -> any Capture
}

extension PortIO {
    /// Opens the device behind one port.
    /// - Throws: `Refusal`; nothing of the port is left then.
    public func open(_ port: PortOpening) throws(Refusal) {
        if let refusal = open([port])[port.index] { throw refusal }
    }

    public func close(_ port: PortIndex) { close([port]) }
}

/// A port whose device is to be opened.
public struct PortOpening: Hashable, Sendable {
    public let index: PortIndex
    public let name: String
    public let type: PortType
    /// Bytes of a frame's payload, 68 to 9000.
    public let mtu: Int

    public init(_ index: PortIndex, name: String, type: PortType, mtu: Int) {
        self.index = index
        self.name = name
        self.type = type
        self.mtu = mtu
    }
}

public struct PortStatus: Hashable, Sendable {
    /// A frame given to the port now would reach a peer.
    public var linkUp: Bool
    /// Details of the device, in the order to print them: driver, MAC, speed; features and memory regions of a guest.
    public var details: [Detail]
    public var queues: [Queue]

    public struct Detail: Hashable, Sendable, Codable {
        public let name: String
        public let value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// One receive queue: which lcore polls it, and whether the guest uses it.
    public struct Queue: Hashable, Sendable, Codable {
        public let number: Int
        public let lcore: Int
        public let enabled: Bool
        /// Descriptors of the ring; 0 while unknown.
        public let size: Int

        public init(number: Int, lcore: Int, enabled: Bool, size: Int) {
            self.number = number
            self.lcore = lcore
            self.enabled = enabled
            self.size = size
        }
    }

    public init(linkUp: Bool, details: [Detail] = [], queues: [Queue] = []) {
        self.linkUp = linkUp
        self.details = details
        self.queues = queues
    }
}

/// One worker: an lcore that polls receive queues.
public struct WorkerStatus: Hashable, Sendable {
    public let lcore: Int
    public let socket: Int
    public let queues: [QueueName]
    /// Loop turns since start, and those of them that found at least one packet.
    public let turns: UInt64
    public let busyTurns: UInt64
    /// TSC cycles since start, those spent in turns that found packets, and the TSC's frequency.
    public let cycles: UInt64
    public let busyCycles: UInt64
    public let cyclesPerSecond: UInt64
    public let packets: UInt64

    public struct QueueName: Hashable, Sendable {
        public let port: PortIndex
        public let queue: Int

        public init(port: PortIndex, queue: Int) {
            self.port = port
            self.queue = queue
        }
    }

    public init(
        lcore: Int,
        socket: Int,
        queues: [QueueName],
        turns: UInt64,
        busyTurns: UInt64,
        cycles: UInt64,
        busyCycles: UInt64,
        cyclesPerSecond: UInt64,
        packets: UInt64
    ) {
        self.lcore = lcore
        self.socket = socket
        self.queues = queues
        self.turns = turns
        self.busyTurns = busyTurns
        self.cycles = cycles
        self.busyCycles = busyCycles
        self.cyclesPerSecond = cyclesPerSecond
        self.packets = packets
    }
}

public struct CaptureRequest: Hashable, Sendable {
    public enum Direction: String, Sendable, CaseIterable { case both, receive, transmit }

    public var direction: Direction
    /// pcap-filter(7); nil takes every packet.
    public var filter: String?
    /// The most bytes kept of a packet.
    public var snapLength: Int

    public init(direction: Direction = .both, filter: String? = nil, snapLength: Int = 65_535) {
        self.direction = direction
        self.filter = filter
        self.snapLength = snapLength
    }
}

/// A running capture. Workers never wait for it: what does not fit into its buffer is counted in `lost`.
public protocol Capture: AnyObject, Sendable {
    /// The packets copied since the last call, at most `limit`, oldest first.
    func take(limit: Int) -> [CapturedPacket]

    /// Packets that matched and were not copied because the buffer was full.
    var lost: UInt64 { get }

    /// Ends the copying and frees the buffer; later calls of `take` return nothing.
    func stop()
}

public struct CapturedPacket: Hashable, Sendable {
    /// Nanoseconds since 1970-01-01 UTC.
    public let time: UInt64
    public let received: Bool
    /// Length of the frame; `bytes` may hold less (the snap length).
    public let length: Int
    public let bytes: [UInt8]

    public init(time: UInt64, received: Bool, length: Int, bytes: [UInt8]) {
        self.time = time
        self.received = received
        self.length = length
        self.bytes = bytes
    }
}
