public import CPacket
import Synchronization
import Wire

/// One worker's way through the dataplane: a burst comes in, output queues and a drop list come out.
///
/// A trivial value of pointers to memory that only this worker writes, so that a packet costs no reference count,
/// no exclusivity check and no allocation. Valid as long as its `Dataplane` lives. The memory of the output queues is
/// read and emptied by the worker after every `receive`.
@frozen
public struct Lane: @unchecked Sendable {
    /// The most packets of one `receive`, and so of one output queue.
    public static var burstLength: Int { 32 }

    /// Ports with a queue to send, `outputCount` of them.
    public let outputs: UnsafeMutablePointer<UInt16>
    public let outputCount: UnsafeMutablePointer<Int>
    /// Packets to free, `dropCount` of them; counted already.
    public let drops: UnsafeMutablePointer<Packet?>
    public let dropCount: UnsafeMutablePointer<Int>

    @usableFromInline let queues: UnsafeMutablePointer<OutputQueue>
    @usableFromInline let queuePackets: UnsafeMutablePointer<Packet?>
    @usableFromInline let runs: UnsafeMutablePointer<Run>
    @usableFromInline let counters: CounterTable
    @usableFromInline let samples: DropSamples
    @usableFromInline let state: UnsafeMutablePointer<StateCell>
    @usableFromInline let copy: martlet_copy
    @usableFromInline let drain: martlet_drain
    @usableFromInline let join: martlet_join?
    /// What `drain` and `join` are called with. Set by the worker before its first burst.
    public let drainContext: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    /// Among the lanes, from 0.
    @usableFromInline let number: Int
    @usableFromInline let flows: FlowMemory
    @usableFromInline let errorBudget: ErrorBudget

    /// The number of packets waiting for a port, and their bytes.
    @frozen
    public struct OutputQueue {
        public var count = 0
        public var bytes: UInt64 = 0

        @usableFromInline init() {}
    }

    /// Where the workers find what to forward by.
    @usableFromInline struct StateCell: ~Copyable {
        let current: Atomic<UnsafeMutablePointer<ForwardingState>>
        let versions: Versions
    }

    init(
        number: Int,
        state: UnsafeMutablePointer<StateCell>,
        copy: martlet_copy,
        drain: martlet_drain,
        join: martlet_join?,
        cacheCapacity: Int,
        connections: ConnectionTable
    ) {
        self.number = number
        self.state = state
        self.copy = copy
        self.drain = drain
        self.join = join
        drainContext = .allocate(capacity: 1)
        drainContext.initialize(to: nil)
        flows = FlowMemory(cacheCapacity: cacheCapacity, lane: number, connections: connections)
        outputs = .allocate(capacity: PortIndex.capacity)
        outputCount = .allocate(capacity: 1)
        outputCount.initialize(to: 0)
        // Every packet of a burst may be dropped once for every port: copies of floods too long for any of them.
        drops = .allocate(capacity: PortIndex.capacity * Self.burstLength)
        drops.initialize(repeating: nil, count: PortIndex.capacity * Self.burstLength)
        dropCount = .allocate(capacity: 1)
        dropCount.initialize(to: 0)
        queues = .allocate(capacity: PortIndex.capacity)
        queues.initialize(repeating: OutputQueue(), count: PortIndex.capacity)
        queuePackets = .allocate(capacity: PortIndex.capacity * Self.burstLength)
        queuePackets.initialize(repeating: nil, count: PortIndex.capacity * Self.burstLength)
        // One more, whose first packet ends the last run.
        runs = .allocate(capacity: Self.burstLength + 1)
        counters = CounterTable()
        samples = DropSamples()
        errorBudget = ErrorBudget()
    }

    func free() {
        outputs.deallocate()
        outputCount.deallocate()
        drops.deallocate()
        dropCount.deallocate()
        queues.deallocate()
        queuePackets.deallocate()
        runs.deallocate()
        drainContext.deallocate()
        flows.free()
        counters.free()
        samples.free()
        errorBudget.free()
    }

    // MARK: - After a burst

    /// The packets waiting for a port.
    @inlinable @inline(__always)
    public func queue(_ port: UInt16) -> UnsafeMutablePointer<Packet?> {
        queuePackets + Int(port) * Self.burstLength
    }

    @inlinable @inline(__always)
    public func queued(_ port: UInt16) -> OutputQueue { queues[Int(port)] }

    /// Empties a port's queue and counts what became of it.
    /// - Parameters:
    ///   - sent: the packets and bytes that left.
    ///   - reason: why the others did not.
    public func finish(_ port: UInt16, sent: Int, bytes: UInt64, unsent reason: DropReason) {
        let row = counters.row(port)
        row[CounterTable.transmittedPackets] &+= UInt64(sent)
        row[CounterTable.transmittedBytes] &+= bytes
        let rest = queues[Int(port)].count - sent
        if rest != 0 { counters.drop(reason, on: port, count: rest) }
        queues[Int(port)] = OutputQueue()
    }

    /// Counts packets that the worker has dropped on its own.
    public func drop(_ reason: DropReason, on port: UInt16, count: Int) {
        counters.drop(reason, on: port, count: count)
    }

    /// Keeps a copy of a packet that the worker is about to drop on its own, or that a device did not take.
    public func sample(_ packet: Packet, _ reason: DropReason, on port: UInt16) {
        samples.take(packet, reason, on: port)
    }

    // MARK: - A burst

    /// Switches a burst: learns the sources, finds the destinations, edits the tags, fills the output queues.
    ///
    /// - Parameters:
    ///   - packets: `count` packets, at most `burstLength`, owned by the lane from now on; the array is its scratch.
    ///   - port: where they came from.
    ///   - now: seconds of a monotonic clock.
    /// - Precondition: the output queues and the drop list are empty.
    #if !DEBUG  // Without optimisation the standard library's own generic code would be refused.
        @_noLocks
    #endif
    public func receive(_ packets: UnsafeMutablePointer<Packet?>, count: Int, from port: UInt16, now: UInt32) {
        samples.begin(now)
        // The version before what it is of: what is read then is of that version or newer.
        let version = self.state.pointee.versions.current
        let state = self.state.pointee.current.load(ordering: .acquiring).pointee
        let ingress = state.ports + Int(port)
        guard ingress.pointee.bridge != PortEntry.noBridge else {
            return discardAll(packets, count: count, from: port)
        }
        let bridge = state.bridges + Int(ingress.pointee.bridge)
        var count = count
        if ingress.pointee.facesUnderlay {
            let context = WalkContext(state: state, version: version, now: now, hasEffects: true)
            count = takeTunnelled(packets, count: count, from: port, context)
            guard count != 0 else { return }
        }
        let onlyRule = bridge.pointee.needsTables ? 0 : bridge.pointee.onlyRule.pointee.load(ordering: .acquiring)
        guard let rule = UnsafeMutablePointer<Rule>(bitPattern: onlyRule) else {
            let context = WalkContext(state: state, version: version, now: now, hasEffects: true)
            return receiveByFlows(packets, count: count, from: port, context)
        }
        let formerBytes = counters.row(port)[CounterTable.receivedBytes]
        defer {
            let bytes = counters.row(port)[CounterTable.receivedBytes] &- formerBytes
            rule.pointee.counts[number].add(packets: UInt64(count), bytes: bytes, now: now)
        }
        let runCount = classify(packets, count: count, from: port, ingress: ingress, bridge: bridge)
        forward(packets, runCount: runCount, state: state, bridge: bridge, from: port, now: now)
    }

    // MARK: - Queued

    @inline(__always)
    func enqueue(_ packet: Packet, to output: UInt16) {
        let queue = queues + Int(output)
        let count = queue.pointee.count
        if count == 0 { announce(output) }
        // NORMAL gives a port each frame of a burst at most once, so its queue never holds more than a burst.
        queuePackets[Int(output) &* Self.burstLength &+ count] = packet
        queue.pointee.count = count &+ 1
        queue.pointee.bytes &+= UInt64(packet.pointee.packet_length)
    }

    /// The port's queue is no longer empty.
    @inline(__always)
    func announce(_ output: UInt16) {
        outputs[outputCount.pointee] = output
        outputCount.pointee &+= 1
    }

    // MARK: - Dropped

    @inline(never)
    func discard(_ packet: Packet, _ reason: DropReason, on port: UInt16) {
        count(packet, reason, on: port)
        drops[dropCount.pointee] = packet
        dropCount.pointee &+= 1
    }

    /// Counts a packet, or a copy of it that is not made.
    @inline(__always)
    func count(_ packet: Packet, _ reason: DropReason, on port: UInt16) {
        counters.drop(reason, on: port)
        samples.take(packet, reason, on: port)
    }

    private func discardAll(_ packets: UnsafeMutablePointer<Packet?>, count: Int, from port: UInt16) {
        for index in 0..<count {
            let packet = packets[index].unsafelyUnwrapped
            counters.row(port)[CounterTable.receivedPackets] &+= 1
            counters.row(port)[CounterTable.receivedBytes] &+= UInt64(packet.pointee.packet_length)
            discard(packet, .noBridge, on: port)
        }
    }
}
