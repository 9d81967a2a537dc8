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
    @usableFromInline let state: UnsafeMutablePointer<StateCell>
    @usableFromInline let copy: martlet_copy

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
    }

    init(state: UnsafeMutablePointer<StateCell>, copy: martlet_copy) {
        self.state = state
        self.copy = copy
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
        runs = .allocate(capacity: Self.burstLength)
        counters = CounterTable()
    }

    func free() {
        outputs.deallocate()
        outputCount.deallocate()
        drops.deallocate()
        dropCount.deallocate()
        queues.deallocate()
        queuePackets.deallocate()
        runs.deallocate()
        counters.free()
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

    // MARK: - A burst

    /// Consecutive frames of a burst with the same addresses and tag, between the two passes over the burst.
    ///
    /// A guest or a wire rarely sends one frame at a time to each of its peers; what is alike is looked up once.
    @usableFromInline struct Run {
        var source: ForwardingDatabase.Key
        var destination: ForwardingDatabase.Key
        var tag: Tag
        /// `knownSource` when the source is that of the run before.
        var sourceBucket: UInt32
        var destinationBucket: UInt32
        /// The packets, as a range of the burst.
        var first: UInt32
        var end: UInt32

        static var knownSource: UInt32 { .max }
    }

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
        let state = self.state.pointee.current.load(ordering: .acquiring).pointee
        let ingress = state.ports + Int(port)
        guard ingress.pointee.bridge != PortEntry.noBridge else {
            return discardAll(packets, count: count, from: port)
        }
        let bridge = state.bridges + Int(ingress.pointee.bridge)
        let runCount = classify(packets, count: count, from: port, ingress: ingress, bridge: bridge)
        forward(packets, runCount: runCount, state: state, bridge: bridge, from: port, now: now)
    }

    // MARK: - First pass

    /// Parses every frame, groups the accepted ones into runs, in order and at the front of `packets`, and fetches the
    /// buckets that the second pass will read. The others are dropped.
    /// - Returns: how many runs there are.
    @inline(never)
    private func classify(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        ingress: UnsafeMutablePointer<PortEntry>,
        bridge: UnsafeMutablePointer<BridgeEntry>
    ) -> Int {
        let fdb = bridge.pointee.fdb
        var run = runs - 1
        var accepted: UInt32 = 0
        var bytes: UInt64 = 0
        var former = FrameHeader.none
        var source = ForwardingDatabase.Key.none
        for index in 0..<count {
            // The burst is full up to `count`: a driver's promise.
            let packet = packets[index].unsafelyUnwrapped
            bytes &+= UInt64(packet.pointee.packet_length)
            var fault: DropReason?
            let header = FrameHeader.read(packet, fault: &fault)
            if let fault {
                discard(packet, fault, on: port)
                continue
            }
            // Before the first run a frame of zeros is like `none`: its source is refused below, as it must be.
            if !header.isLike(former) || run < runs {
                guard let tag = admit(header, packet, ingress: ingress, bridge: bridge, port: port) else { continue }
                run += 1
                begin(run, header, tag, first: accepted, source: &source, fdb: fdb)
                former = header
            }
            packets[Int(accepted)] = packet
            accepted &+= 1
            run.pointee.end = accepted
        }
        let row = counters.row(port)
        row[CounterTable.receivedPackets] &+= UInt64(truncatingIfNeeded: count)
        row[CounterTable.receivedBytes] &+= bytes
        return run - runs + 1
    }

    /// Decides whether the port takes the frame, and into which VLAN; drops it otherwise.
    @inline(__always)
    private func admit(
        _ header: FrameHeader,
        _ packet: Packet,
        ingress: UnsafeMutablePointer<PortEntry>,
        bridge: UnsafeMutablePointer<BridgeEntry>,
        port: UInt16
    ) -> Tag? {
        if header.isBetweenStations && !header.isTagged && ingress.pointee.takesUntagged {
            return ingress.pointee.untagged
        }
        guard header.source.isStation else {
            discard(packet, .invalidSource, on: port)
            return nil
        }
        if header.destination.isLinkLocalReserved && !bridge.pointee.forwardsReserved {
            discard(packet, .reservedAddress, on: port)
            return nil
        }
        guard header.isTagged else {
            if ingress.pointee.takesUntagged { return ingress.pointee.untagged }
            discard(packet, .vlanNotCarried, on: port)
            return nil
        }
        guard header.tagControl & 0x0fff != 0x0fff else {
            discard(packet, .reservedVLAN, on: port)
            return nil
        }
        guard let tag = ingress.pointee.classify(tagged: header) else {
            discard(packet, .vlanNotCarried, on: port)
            return nil
        }
        return tag
    }

    /// Starts a run and fetches its buckets.
    @inline(__always)
    private func begin(
        _ run: UnsafeMutablePointer<Run>,
        _ header: FrameHeader,
        _ tag: Tag,
        first: UInt32,
        source former: inout ForwardingDatabase.Key,
        fdb: ForwardingDatabase
    ) {
        let source = ForwardingDatabase.Key(vlan: tag.vlan, loaded: header.loadedSource)
        let destination = ForwardingDatabase.Key(vlan: tag.vlan, loaded: header.loadedDestination)
        run.pointee.source = source
        run.pointee.destination = destination
        run.pointee.tag = tag
        run.pointee.first = first
        let destinationBucket = fdb.bucket(of: destination)
        martlet_prefetch(fdb.address(of: destinationBucket))
        run.pointee.destinationBucket = UInt32(truncatingIfNeeded: destinationBucket)
        run.pointee.sourceBucket = Run.knownSource
        if source != former {
            former = source
            let sourceBucket = fdb.bucket(of: source)
            martlet_prefetch(fdb.address(of: sourceBucket))
            run.pointee.sourceBucket = UInt32(truncatingIfNeeded: sourceBucket)
        }
    }

    // MARK: - Second pass

    /// Learns the source of every run, looks its destination up and queues its packets.
    @inline(never)
    private func forward(
        _ packets: UnsafeMutablePointer<Packet?>,
        runCount: Int,
        state: ForwardingState,
        bridge: UnsafeMutablePointer<BridgeEntry>,
        from port: UInt16,
        now: UInt32
    ) {
        let fdb = bridge.pointee.fdb
        let ports = state.ports
        let number = ports[Int(port)].bridge
        var run = runs
        let end = runs + runCount
        while run < end {
            defer { run += 1 }
            if run.pointee.sourceBucket != Run.knownSource {
                fdb.learn(run.pointee.source, bucket: Int(run.pointee.sourceBucket), port: port, now: now)
            }
            // A group address is never learned, so that it is not found.
            let place = fdb.lookup(run.pointee.destination, bucket: Int(run.pointee.destinationBucket))
            let egress = ports + Int(place.port)
            let plain = PortEntry.Plain(run.pointee.tag, bridge: number)
            if place.isPresent && plain == egress.pointee.plain && place.port != port {
                emitRun(run, packets, TagEdit(keeping: egress), to: place.port)
                continue
            }
            // A station behind a port that no longer carries its VLAN is an unknown one.
            guard place.isPresent, egress.pointee.bridge == number,
                egress.pointee.carried.contains(run.pointee.tag.vlan)
            else {
                flood(run, packets, state: state, bridge: bridge, from: port)
                continue
            }
            if place.port == port {
                discardRun(run, packets, .samePort, on: port)
            } else {
                emitRun(run, packets, TagEdit(run.pointee.tag, egress), to: place.port)
            }
        }
    }

    /// Queues the packets of a run; there is at least one.
    @inline(__always)
    private func emitRun(
        _ run: UnsafeMutablePointer<Run>,
        _ packets: UnsafeMutablePointer<Packet?>,
        _ edit: TagEdit,
        to output: UInt16
    ) {
        var index = Int(run.pointee.first)
        let end = Int(run.pointee.end)
        repeat {
            emit(packets[index].unsafelyUnwrapped, edit, to: output)
            index &+= 1
        } while index < end
    }

    @inline(never)
    private func discardRun(
        _ run: UnsafeMutablePointer<Run>,
        _ packets: UnsafeMutablePointer<Packet?>,
        _ reason: DropReason,
        on port: UInt16
    ) {
        for index in Int(run.pointee.first)..<Int(run.pointee.end) {
            discard(packets[index].unsafelyUnwrapped, reason, on: port)
        }
    }

    /// Sends the frames of a run to every other port of their VLAN: copies to all but the last, which gets the
    /// frames themselves.
    @inline(never)
    private func flood(
        _ run: UnsafeMutablePointer<Run>,
        _ packets: UnsafeMutablePointer<Packet?>,
        state: ForwardingState,
        bridge: UnsafeMutablePointer<BridgeEntry>,
        from port: UInt16
    ) {
        let tag = run.pointee.tag
        for index in Int(run.pointee.first)..<Int(run.pointee.end) {
            let packet = packets[index].unsafelyUnwrapped
            var last = PortEntry.noBridge
            for member in 0..<bridge.pointee.memberCount {
                let output = bridge.pointee.members[member]
                guard output != port, state.ports[Int(output)].carried.contains(tag.vlan) else { continue }
                if last != PortEntry.noBridge {
                    emitCopy(of: packet, TagEdit(tag, state.ports + Int(last)), to: last)
                }
                last = output
            }
            guard last != PortEntry.noBridge else {
                discard(packet, .noOtherPort, on: port)
                continue
            }
            emit(packet, TagEdit(tag, state.ports + Int(last)), to: last)
        }
    }

    private func emitCopy(of packet: Packet, _ edit: TagEdit, to output: UInt16) {
        guard let copy = martlet_copied(copy, packet) else { return counters.drop(.noBuffer, on: output) }
        emit(copy, edit, to: output)
    }

    /// How a frame of a VLAN leaves through a port.
    struct TagEdit {
        enum Action { case keep, push, pop, rewrite }

        let action: Action
        let type: UInt16
        let control: UInt16
        /// The longest frame as it came, its own tag counted if the switch knows it.
        let longest: UInt32
        /// The customer VLANs that may leave; nil when all may.
        let customers: VLANBitmap?

        /// For frames that `PortEntry.Plain` says leave as they are.
        @inline(__always)
        init(keeping egress: UnsafeMutablePointer<PortEntry>) {
            action = .keep
            type = 0
            control = 0
            longest = egress.pointee.frameLength
            customers = nil
        }

        @inline(__always)
        init(_ tag: Tag, _ egress: UnsafeMutablePointer<PortEntry>) {
            let wantsTag = tag.vlan != 0 && tag.vlan != egress.pointee.untaggedOut
            action =
                tag.isPresent
                ? (wantsTag ? .rewrite : .pop)
                : (wantsTag ? .push : .keep)
            type = tag.type
            control = tag.control
            longest = egress.pointee.frameLength &+ (tag.isPresent ? UInt32(tagLength) : 0)
            customers = egress.pointee.limitsCustomers ? egress.pointee.customers : nil
        }
    }

    /// Gives the frame the tag that the port sends and puts it into the port's queue.
    @inline(__always)
    private func emit(_ packet: Packet, _ edit: TagEdit, to output: UInt16) {
        guard packet.pointee.packet_length <= edit.longest else {
            return discard(packet, .transmitTooLong, on: output)
        }
        if let customers = edit.customers, !customers.contains(packet.customerVID(behindTag: edit.action == .pop)) {
            return discard(packet, .transmitNotCarried, on: output)
        }
        // The usual case alone and first: a jump table is hard to predict.
        if edit.action != .keep {
            guard apply(edit, to: packet) else { return discard(packet, .noHeadroom, on: output) }
        }
        enqueue(packet, to: output)
    }

    @inline(__always)
    private func apply(_ edit: TagEdit, to packet: Packet) -> Bool {
        switch edit.action {
        case .keep: break
        case .pop: packet.popTag()
        case .rewrite: packet.setTagControl(edit.control)
        case .push: return packet.pushTag(type: edit.type, control: edit.control)
        }
        return true
    }

    @inline(__always)
    private func enqueue(_ packet: Packet, to output: UInt16) {
        let queue = queues + Int(output)
        let count = queue.pointee.count
        if count == 0 {
            outputs[outputCount.pointee] = output
            outputCount.pointee &+= 1
        }
        // A port gets each frame of a burst at most once, so its queue never holds more than a burst.
        queuePackets[Int(output) &* Self.burstLength &+ count] = packet
        queue.pointee.count = count &+ 1
        queue.pointee.bytes &+= UInt64(packet.pointee.packet_length)
    }

    // MARK: - Dropped

    @inline(never)
    private func discard(_ packet: Packet, _ reason: DropReason, on port: UInt16) {
        counters.drop(reason, on: port)
        drops[dropCount.pointee] = packet
        dropCount.pointee &+= 1
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
