import CPacket
import Wire

/// The way through a bridge whose only flow is NORMAL: two passes over a burst.
extension Lane {
    /// Consecutive frames of a burst with the same addresses and tag, between the two passes over the burst.
    ///
    /// A guest or a wire rarely sends one frame at a time to each of its peers; what is alike is looked up once.
    @usableFromInline struct Run {
        var destination: ForwardingDatabase.Key
        var tag: Tag
        /// Means nothing when the source bucket is `knownSource`.
        var source: ForwardingDatabase.Key
        /// `knownSource` when the source is that of the run before.
        var sourceBucket: UInt32
        var destinationBucket: UInt32
        /// The first of its packets in the burst; they end where the next run begins.
        var first: Int

        static var knownSource: UInt32 { .max }
    }

    // MARK: - First pass

    /// Parses every frame, groups the accepted ones into runs, in order and at the front of `packets`, and fetches the
    /// buckets that the second pass will read. The others are dropped.
    /// - Returns: how many runs there are.
    @inline(never)
    func classify(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        ingress: UnsafeMutablePointer<PortEntry>,
        bridge: UnsafeMutablePointer<BridgeEntry>
    ) -> Int {
        var progress = Progress(run: runs)
        classifyPlain(packets, count: count, &progress, ingress: ingress, fdb: bridge.pointee.fdb)
        if progress.index < count {
            classifyAny(packets, count: count, &progress, from: port, ingress: ingress, bridge: bridge)
        }
        progress.run.pointee.first = progress.accepted
        let row = counters.row(port)
        row[CounterTable.receivedPackets] &+= UInt64(truncatingIfNeeded: count)
        row[CounterTable.receivedBytes] &+= progress.bytes
        return progress.run - runs
    }

    /// How far the first pass has come.
    private struct Progress {
        var index = 0
        var accepted = 0
        var bytes: UInt64 = 0
        /// The run that the next other frame begins.
        var run: UnsafeMutablePointer<Run>
        var former = FrameHeader.none
        var source = ForwardingDatabase.Key.none
    }

    /// Up to the first frame that is not plain: a loop without calls, whose state stays in registers.
    @inline(__always)
    private func classifyPlain(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        _ progress: inout Progress,
        ingress: UnsafeMutablePointer<PortEntry>,
        fdb: ForwardingDatabase
    ) {
        guard ingress.pointee.takesUntagged else { return }
        let tag = ingress.pointee.untagged
        while progress.index < count {
            // The burst is full up to `count`: a driver's promise.
            let packet = packets[progress.index].unsafelyUnwrapped
            guard let header = FrameHeader.readPlain(packet) else { return }
            if !header.isLike(progress.former) { begin(header, tag, &progress, fdb: fdb) }
            progress.bytes &+= UInt64(packet.pointee.packet_length)
            progress.index &+= 1
            progress.accepted = progress.index
        }
    }

    @inline(never)
    private func classifyAny(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        _ progress: inout Progress,
        from port: UInt16,
        ingress: UnsafeMutablePointer<PortEntry>,
        bridge: UnsafeMutablePointer<BridgeEntry>
    ) {
        while progress.index < count {
            let packet = packets[progress.index].unsafelyUnwrapped
            progress.index &+= 1
            progress.bytes &+= UInt64(packet.pointee.packet_length)
            var fault: DropReason?
            let header = FrameHeader.read(packet, fault: &fault)
            if let fault {
                discard(packet, fault, on: port)
                continue
            }
            // Before the first run a frame of zeros is like `none`: its source is refused below, as it must be.
            if !header.isLike(progress.former) || progress.accepted == 0 {
                guard let tag = admit(header, packet, ingress: ingress, bridge: bridge, port: port) else { continue }
                begin(header, tag, &progress, fdb: bridge.pointee.fdb)
            }
            packets[progress.accepted] = packet
            progress.accepted &+= 1
        }
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
        var fault = DropReason.vlanNotCarried
        if !header.source.isStation {
            fault = .invalidSource
        } else if header.destination.isLinkLocalReserved && !bridge.pointee.forwardsReserved {
            fault = .reservedAddress
        } else if !header.isTagged {
            if ingress.pointee.takesUntagged { return ingress.pointee.untagged }
        } else if header.tagControl & 0x0fff == 0x0fff {
            fault = .reservedVLAN
        } else if let tag = ingress.pointee.classify(tagged: header) {
            return tag
        }
        discard(packet, fault, on: port)
        return nil
    }

    /// Starts a run and fetches its buckets.
    @inline(__always)
    private func begin(_ header: FrameHeader, _ tag: Tag, _ progress: inout Progress, fdb: ForwardingDatabase) {
        let run = progress.run
        let source = ForwardingDatabase.Key(vlan: tag.vlan, loaded: header.loadedSource)
        let destination = ForwardingDatabase.Key(vlan: tag.vlan, loaded: header.loadedDestination)
        let destinationBucket = fdb.bucket(of: destination)
        martlet_prefetch(fdb.address(of: destinationBucket))
        run.pointee.destination = destination
        run.pointee.destinationBucket = UInt32(truncatingIfNeeded: destinationBucket)
        run.pointee.tag = tag
        run.pointee.first = progress.accepted
        run.pointee.sourceBucket = Run.knownSource
        if source != progress.source {
            let sourceBucket = fdb.bucket(of: source)
            martlet_prefetch(fdb.address(of: sourceBucket))
            run.pointee.source = source
            run.pointee.sourceBucket = UInt32(truncatingIfNeeded: sourceBucket)
            progress.source = source
        }
        progress.run += 1
        progress.former = header
    }

    // MARK: - Second pass

    /// Learns the source of every run, looks its destination up and queues its packets.
    @inline(never)
    func forward(
        _ packets: UnsafeMutablePointer<Packet?>,
        runCount: Int,
        state: ForwardingState,
        bridge: UnsafeMutablePointer<BridgeEntry>,
        from port: UInt16,
        now: UInt32
    ) {
        let fdb = bridge.pointee.fdb
        let number = state.ports[Int(port)].bridge
        var writer = QueueWriter.none
        var run = runs
        let end = runs + runCount
        while run < end {
            defer { run += 1 }
            if run.pointee.sourceBucket != Run.knownSource {
                fdb.learn(run.pointee.source, bucket: Int(run.pointee.sourceBucket), port: port, now: now)
            }
            // A group address is never learned, so that it is not found.
            let value = fdb.lookup(run.pointee.destination, bucket: Int(run.pointee.destinationBucket))
            let plain = PortEntry.Plain(run.pointee.tag, bridge: number)
            if !writer.takes(value, plain) {
                close(writer)
                writer = open(value, state: state, from: port)
                guard writer.takes(value, plain) else {
                    writer = .none
                    forwardOther(run, packets, value, state: state, bridge: bridge, from: port)
                    continue
                }
            }
            append(run, packets, to: &writer, from: port)
        }
        close(writer)
    }

    /// A port's queue while consecutive runs go there as they are: the usual case. In registers, and its port is
    /// guessed, so that no packet waits for the look-up of the one before.
    private struct QueueWriter {
        /// The port as the forwarding database names it.
        let value: ForwardingDatabase.Value.Place
        let plain: PortEntry.Plain
        let longest: UInt32
        var place: UnsafeMutablePointer<Packet?>?
        var bytes: UInt64

        @inline(__always)
        static var none: QueueWriter {
            QueueWriter(value: .nowhere, plain: .none, longest: 0, place: nil, bytes: 0)
        }

        @inline(__always)
        func takes(_ value: ForwardingDatabase.Value, _ plain: PortEntry.Plain) -> Bool {
            value.place == self.value && plain == self.plain
        }
    }

    /// A writer to a station's port; `none` when there is no such station or it is where the frame came from.
    @inline(__always)
    private func open(_ value: ForwardingDatabase.Value, state: ForwardingState, from port: UInt16) -> QueueWriter {
        guard value.isPresent && value.port != port else { return .none }
        let output = Int(value.port)
        return QueueWriter(
            value: value.place,
            plain: state.ports[output].plain,
            longest: state.ports[output].frameLength,
            place: queuePackets + (output &* Self.burstLength &+ queues[output].count),
            bytes: queues[output].bytes
        )
    }

    @inline(__always)
    private func append(
        _ run: UnsafeMutablePointer<Run>,
        _ packets: UnsafeMutablePointer<Packet?>,
        to writer: inout QueueWriter,
        from port: UInt16
    ) {
        var index = run.pointee.first
        let end = run[1].first
        repeat {
            let packet = packets[index].unsafelyUnwrapped
            let length = packet.pointee.packet_length
            index &+= 1
            if length <= writer.longest {
                // Only an open writer takes a run.
                let place = writer.place.unsafelyUnwrapped
                place.pointee = packet
                writer.place = place + 1
                writer.bytes &+= UInt64(length)
            } else {
                refuse(packet, longest: writer.longest, for: writer.value.port, from: port)
            }
        } while index < end
    }

    @inline(__always)
    private func close(_ writer: QueueWriter) {
        guard let place = writer.place else { return }
        let output = writer.value.port
        let count = place - queue(output)
        if queues[Int(output)].count == 0 && count != 0 { announce(output) }
        queues[Int(output)].count = count
        queues[Int(output)].bytes = writer.bytes
    }

    /// A run that is flooded, edited or dropped.
    @inline(never)
    private func forwardOther(
        _ run: UnsafeMutablePointer<Run>,
        _ packets: UnsafeMutablePointer<Packet?>,
        _ value: ForwardingDatabase.Value,
        state: ForwardingState,
        bridge: UnsafeMutablePointer<BridgeEntry>,
        from port: UInt16
    ) {
        let egress = state.ports + Int(value.port)
        // A station behind a port that no longer carries its VLAN is an unknown one.
        guard value.isPresent, egress.pointee.bridge == state.ports[Int(port)].bridge,
            egress.pointee.carried.contains(run.pointee.tag.vlan)
        else { return flood(run, packets, state: state, bridge: bridge, from: port) }
        guard value.port != port else { return discardRun(run, packets, .samePort, on: port) }
        forwardTagged(run, packets, TagEdit(run.pointee.tag, egress), to: value.port, from: port)
    }

    /// Queues the packets of a run with another tag.
    @inline(__always)
    private func forwardTagged(
        _ run: UnsafeMutablePointer<Run>,
        _ packets: UnsafeMutablePointer<Packet?>,
        _ edit: TagEdit,
        to output: UInt16,
        from port: UInt16
    ) {
        for index in run.pointee.first..<run[1].first {
            let packet = packets[index].unsafelyUnwrapped
            if packet.pointee.packet_length <= edit.longest {
                emit(packet, edit, to: output)
            } else {
                refuse(packet, longest: edit.longest, for: output, from: port)
            }
        }
    }

    private func discardRun(
        _ run: UnsafeMutablePointer<Run>,
        _ packets: UnsafeMutablePointer<Packet?>,
        _ reason: DropReason,
        on port: UInt16
    ) {
        for index in run.pointee.first..<run[1].first {
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
        for index in run.pointee.first..<run[1].first {
            let packet = packets[index].unsafelyUnwrapped
            var (last, longest) = (PortEntry.noBridge, UInt32(0))
            for member in 0..<bridge.pointee.memberCount {
                let output = bridge.pointee.members[member]
                guard output != port, state.ports[Int(output)].carried.contains(tag.vlan) else { continue }
                if last != PortEntry.noBridge {
                    emitCopy(of: packet, TagEdit(tag, state.ports + Int(last)), to: last)
                }
                last = output
                longest = max(longest, TagEdit(tag, state.ports + Int(output)).longest)
            }
            guard last != PortEntry.noBridge else {
                discard(packet, .noOtherPort, on: port)
                continue
            }
            // Of a copy that goes nowhere nobody need know, when another one arrives.
            if packet.pointee.packet_length > longest { tellTooLong(packet, longest: longest, from: port) }
            emit(packet, TagEdit(tag, state.ports + Int(last)), to: last)
        }
    }

    private func emitCopy(of packet: Packet, _ edit: TagEdit, to output: UInt16) {
        guard let copy = martlet_copied(copy, packet) else { return count(packet, .noBuffer, on: output) }
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

    /// Drops a packet that is too long for a port, and tells its sender.
    @inline(never)
    private func refuse(_ packet: Packet, longest: UInt32, for output: UInt16, from port: UInt16) {
        tellTooLong(packet, longest: longest, from: port)
        discard(packet, .transmitTooLong, on: output)
    }
}
