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
    @usableFromInline let scratch: UnsafeMutablePointer<Classified>
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
        drops = .allocate(capacity: Self.burstLength)
        drops.initialize(repeating: nil, count: Self.burstLength)
        dropCount = .allocate(capacity: 1)
        dropCount.initialize(to: 0)
        queues = .allocate(capacity: PortIndex.capacity)
        queues.initialize(repeating: OutputQueue(), count: PortIndex.capacity)
        queuePackets = .allocate(capacity: PortIndex.capacity * Self.burstLength)
        queuePackets.initialize(repeating: nil, count: PortIndex.capacity * Self.burstLength)
        scratch = .allocate(capacity: Self.burstLength)
        counters = CounterTable()
    }

    func free() {
        outputs.deallocate()
        outputCount.deallocate()
        drops.deallocate()
        dropCount.deallocate()
        queues.deallocate()
        queuePackets.deallocate()
        scratch.deallocate()
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

    /// A frame between the two passes over a burst.
    @usableFromInline struct Classified {
        var source: ForwardingDatabase.Key
        var destination: ForwardingDatabase.Key
        var sourceBucket: Int
        var destinationBucket: Int
        var packet: Packet
        var tag: Tag
        var isGroup: Bool
    }

    /// The VLAN of a frame and the tag that says so.
    struct Tag {
        /// The VLAN it belongs to inside the switch.
        var vlan: UInt16
        /// Whether the frame's outermost tag is the switch's own, to rewrite or pop; else one may have to be pushed.
        var isPresent: Bool
        /// TPID and control information to push or rewrite.
        var type: UInt16
        var control: UInt16
    }

    /// Switches a burst: learns the sources, finds the destinations, edits the tags, fills the output queues.
    ///
    /// - Parameters:
    ///   - packets: `count` packets, at most `burstLength`, owned by the lane from now on.
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
        let classified = classifyAll(packets, count: count, from: port, ingress: ingress, bridge: bridge)
        for index in 0..<classified {
            let frame = scratch + index
            let fdb = bridge.pointee.fdb
            fdb.learn(frame.pointee.source, bucket: frame.pointee.sourceBucket, port: port, now: now)
            let place =
                frame.pointee.isGroup
                ? .absent
                : fdb.lookup(frame.pointee.destination, bucket: frame.pointee.destinationBucket, now: now)
            let egress = state.ports + Int(place.port)
            if place.isPresent && egress.pointee.bridge == ingress.pointee.bridge
                && egress.pointee.carried.contains(frame.pointee.tag.vlan)
            {
                forward(frame, to: place.port, egress: egress, from: port)
            } else {
                flood(frame, state: state, bridge: bridge, from: port)
            }
        }
    }

    /// First pass: parses and classifies every frame, and fetches the buckets that the second pass will read.
    /// - Returns: how many frames are in `scratch`; the others are dropped.
    @inline(__always)
    private func classifyAll(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        ingress: UnsafeMutablePointer<PortEntry>,
        bridge: UnsafeMutablePointer<BridgeEntry>
    ) -> Int {
        var classified = 0
        var bytes: UInt64 = 0
        let fdb = bridge.pointee.fdb
        for index in 0..<count {
            // The burst is full up to `count`: a driver's promise.
            let packet = packets[index].unsafelyUnwrapped
            bytes &+= UInt64(packet.pointee.packet_length)
            var fault = FrameHeader.Fault.none
            let header = FrameHeader(of: packet, fault: &fault)
            guard fault == .none else {
                discard(packet, fault.reason, on: port)
                continue
            }
            guard let tag = admit(header, packet, ingress: ingress, bridge: bridge, port: port) else { continue }
            let source = ForwardingDatabase.Key(vlan: tag.vlan, mac: header.source)
            let destination = ForwardingDatabase.Key(vlan: tag.vlan, mac: header.destination)
            let frame = Classified(
                source: source,
                destination: destination,
                sourceBucket: fdb.bucket(of: source),
                destinationBucket: fdb.bucket(of: destination),
                packet: packet,
                tag: tag,
                isGroup: MACAddress(value: header.destination).isGroup
            )
            martlet_prefetch(fdb.address(of: frame.sourceBucket))
            martlet_prefetch(fdb.address(of: frame.destinationBucket))
            scratch[classified] = frame
            classified &+= 1
        }
        let row = counters.row(port)
        row[CounterTable.receivedPackets] &+= UInt64(count)
        row[CounterTable.receivedBytes] &+= bytes
        return classified
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
        guard MACAddress(value: header.source).isStation else {
            discard(packet, .invalidSource, on: port)
            return nil
        }
        if MACAddress(value: header.destination).isLinkLocalReserved && !bridge.pointee.forwardsReserved {
            discard(packet, .reservedAddress, on: port)
            return nil
        }
        guard header.vid != 0x0fff else {
            discard(packet, .reservedVLAN, on: port)
            return nil
        }
        let tag = ingress.pointee.classify(header)
        guard let tag, ingress.pointee.carried.contains(tag.vlan) else {
            discard(packet, .vlanNotCarried, on: port)
            return nil
        }
        return tag
    }

    // MARK: - Out

    @inline(__always)
    private func forward(
        _ frame: UnsafeMutablePointer<Classified>,
        to output: UInt16,
        egress: UnsafeMutablePointer<PortEntry>,
        from port: UInt16
    ) {
        guard output != port else { return discard(frame.pointee.packet, .samePort, on: port) }
        emit(frame.pointee.packet, frame.pointee.tag, to: output, egress: egress)
    }

    /// Sends a frame to every other port of its VLAN: copies to all but the last, which gets the frame itself.
    @inline(never)
    private func flood(
        _ frame: UnsafeMutablePointer<Classified>,
        state: ForwardingState,
        bridge: UnsafeMutablePointer<BridgeEntry>,
        from port: UInt16
    ) {
        let tag = frame.pointee.tag
        var last = PortEntry.noBridge
        for member in 0..<bridge.pointee.memberCount {
            let output = bridge.pointee.members[member]
            guard output != port, state.ports[Int(output)].carried.contains(tag.vlan) else { continue }
            if last != PortEntry.noBridge { emitCopy(of: frame.pointee.packet, tag, to: last, state: state) }
            last = output
        }
        guard last != PortEntry.noBridge else { return discard(frame.pointee.packet, .noOtherPort, on: port) }
        emit(frame.pointee.packet, tag, to: last, egress: state.ports + Int(last))
    }

    @inline(__always)
    private func emitCopy(of packet: Packet, _ tag: Tag, to output: UInt16, state: ForwardingState) {
        guard let copy = martlet_copied(copy, packet) else { return counters.drop(.noBuffer, on: output) }
        emit(copy, tag, to: output, egress: state.ports + Int(output))
    }

    /// Gives the frame the tag that the port sends and puts it into the port's queue.
    @inline(__always)
    private func emit(_ packet: Packet, _ tag: Tag, to output: UInt16, egress: UnsafeMutablePointer<PortEntry>) {
        let untagged = packet.pointee.packet_length &- (tag.isPresent ? UInt32(tagLength) : 0)
        guard untagged <= egress.pointee.frameLength else { return discard(packet, .transmitTooLong, on: output) }
        let wantsTag = tag.vlan != 0 && tag.vlan != egress.pointee.untaggedOut
        switch (tag.isPresent, wantsTag) {
        case (false, false): break
        case (true, false): packet.popTag()
        case (true, true): packet.setTagControl(tag.control)
        case (false, true):
            guard packet.pushTag(type: tag.type, control: tag.control) else {
                return discard(packet, .noHeadroom, on: output)
            }
        }
        enqueue(packet, to: output)
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

    @inline(__always)
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

extension PortEntry {
    /// The VLAN of a received frame; nil when the port does not take such frames.
    @inline(__always)
    func classify(_ header: FrameHeader) -> Lane.Tag? {
        if tunnels {
            guard customers.contains(header.vid) else { return nil }
            return Lane.Tag(
                vlan: untaggedInto,
                isPresent: false,
                type: TPID.service.rawValue,
                control: header.priority | untaggedInto
            )
        }
        guard header.vid != 0 else {
            return Lane.Tag(
                vlan: untaggedInto,
                isPresent: header.isTagged,
                type: TPID.customer.rawValue,
                control: header.priority | untaggedInto
            )
        }
        guard acceptsTags else { return nil }
        return Lane.Tag(vlan: header.vid, isPresent: true, type: header.tagType, control: header.tagControl)
    }
}
