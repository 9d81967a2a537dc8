import CPacket
import Flows

/// What programs do to packets.
extension Lane {
    /// Runs a program of the cache for packets of a run.
    @inline(__always)
    func runAll(_ program: UInt32, _ run: Int, _ first: Int, _ end: Int, _ burst: UnsafeMutablePointer<Burst>) {
        let programs = flows.cache.programs
        let output = programs.header(program).pointee.output
        let bytes =
            output != ProgramStore.Header.noOutput
            ? sendAll(first, end, to: output, burst) : runOthers(program, run, first..<end, burst)
        burst.pointee.hits &+= end &- first
        // One that waited was counted when it came in first.
        guard !burst.pointee.isRetry else { return }
        programs.count(program, packets: end &- first, bytes: bytes, lane: number, now: burst.pointee.context.now)
    }

    /// Puts packets into a port's queue as they are.
    /// - Returns: their bytes.
    @inline(__always)
    private func sendAll(_ first: Int, _ end: Int, to output: UInt16, _ burst: UnsafeMutablePointer<Burst>) -> UInt64 {
        let (queue, packets) = (queues + Int(output), burst.pointee.packets)
        let count = queue.pointee.count
        guard count &+ (end &- first) <= Self.burstLength else { return sendEach(first, end, to: output, burst) }
        let longest = burst.pointee.context.state.ports[Int(output)].frameLength
        let place = queuePackets + (Int(output) &* Self.burstLength &+ count &- first)
        var bytes: UInt64 = 0
        var index = first
        repeat {
            let packet = packets[index].unsafelyUnwrapped
            let length = packet.pointee.packet_length
            // Until one is too long: it and the others are looked at one by one.
            guard length <= longest else { break }
            place[index] = packet
            index &+= 1
            bytes &+= UInt64(length)
        } while index < end
        if count == 0 && index != first { announce(output) }
        queue.pointee.count = count &+ (index &- first)
        queue.pointee.bytes &+= bytes
        return index == end ? bytes : bytes &+ sendEach(index, end, to: output, burst)
    }

    @inline(never)
    private func sendEach(_ first: Int, _ end: Int, to output: UInt16, _ burst: UnsafeMutablePointer<Burst>) -> UInt64 {
        var bytes: UInt64 = 0
        for index in first..<end {
            let packet = burst.pointee.packets[index].unsafelyUnwrapped
            bytes &+= UInt64(packet.pointee.packet_length)
            let longest = longest(packet, on: output, burst.pointee.context)
            if packet.pointee.packet_length > longest { tellTooLong(packet, longest: longest, burst) }
            send(packet, to: output, burst.pointee.context)
        }
        return bytes
    }

    /// - Returns: the packets' bytes.
    @inline(never)
    private func runOthers(_ program: UInt32, _ run: Int, _ indices: Range<Int>, _ burst: UnsafeMutablePointer<Burst>)
        -> UInt64
    {
        let sequence = flows.cache.programs.sequence(program)
        let header = flows.cache.programs.header(program)
        let longest = header.pointee.longest
        var bytes: UInt64 = 0
        var first = indices.lowerBound
        if header.pointee.isTunnel && flows.runs[run].isPlain {
            (first, bytes) = encapsulateAll(sequence, longest: UInt32(longest), indices, burst)
        } else if header.pointee.isTranslation && flows.runs[run].isPlain && flows.walk.tracker.isKnown {
            (first, bytes) = translateAll(sequence, longest: UInt32(longest), indices, burst)
        }
        for index in first..<indices.upperBound {
            let packet = burst.pointee.packets[index].unsafelyUnwrapped
            bytes &+= UInt64(packet.pointee.packet_length)
            if packet.pointee.packet_length > UInt32(longest) { tellTooLong(packet, sequence, burst) }
            let editor =
                flows.runs[run].isPlain
                ? PacketEditor(plain: packet) : PacketEditor(packet, flows.packetKey(run), flows.layouts[run])
            self.run(sequence, packet, editor, from: flows.runs[run].port, burst)
        }
        return bytes
    }

    /// Tells the sender of a packet that is too long for all ports that its program sends it to. The program runs all the
    /// same, and drops it by name.
    @inline(never)
    func tellTooLong(_ packet: Packet, _ program: Program.Sequence, _ burst: UnsafeMutablePointer<Burst>) {
        guard let content = packet.content else { return }
        let tags = (content.offset - TunnelHeader.ethernetLength) / tagLength
        let longest = program.longest(tags: tags, burst.pointee.context.state.ports)
        if packet.pointee.packet_length > longest { tellTooLong(packet, longest: longest, burst) }
    }

    /// - Precondition: the packet is as it came in.
    private func tellTooLong(_ packet: Packet, longest: UInt32, _ burst: UnsafeMutablePointer<Burst>) {
        // The way back through a tunnel would be a walk of its own.
        guard !burst.pointee.isTunnelled else { return }
        tellTooLong(packet, longest: longest, from: burst.pointee.port)
    }

    /// Edits a packet and sends it where its program says: copies to all ports but the last.
    func run(
        _ program: Program.Sequence,
        _ packet: Packet,
        _ editor: PacketEditor,
        from port: UInt16,
        _ burst: UnsafeMutablePointer<Burst>
    ) {
        guard let last = program.lastOutput else {
            commitAll(program, from: 0, burst)
            return discard(packet, program.drop, on: port)
        }
        if !burst.pointee.isTunnelled && hold(packet, program, last: last, from: port, burst.pointee.context.state) {
            return
        }
        if run(program.steps, 0...last, packet, editor, from: port, burst) { commitAll(program, from: last + 1, burst) }
    }

    /// Runs steps, the last of which sends the packet itself, or ends it.
    /// - Returns: false when the packet was dropped before that.
    @discardableResult
    private func run(
        _ steps: UnsafePointer<Program.Step>,
        _ range: ClosedRange<Int>,
        _ packet: Packet,
        _ former: PacketEditor,
        from port: UInt16,
        _ burst: UnsafeMutablePointer<Burst>
    ) -> Bool {
        var (editor, index) = (former, range.lowerBound)
        while index <= range.upperBound {
            defer { index &+= 1 }
            switch steps[index] {
            case .rewrite(let value, let mask, let word): editor.rewrite(word: Int(word), value: value, mask: mask)
            case .pushTag(let type, let control):
                guard editor.pushTag(type, control: control) else {
                    let output = Program.Sequence.output(of: steps, index...range.upperBound)
                    discard(packet, .noHeadroom, on: output ?? port)
                    return false
                }
            case .popTag: editor.popTag()
            case .meter(let meter):
                let length = packet.pointee.packet_length
                guard meter.pointee.entry.pointee.admits(length: length, now: martlet_nanoseconds()) else {
                    discard(packet, .meter, on: port)
                    return false
                }
            case .output(let output), .outputTruncated(let output, _):
                guard let sent = index == range.upperBound ? packet : martlet_copied(copy, packet) else {
                    count(packet, .noBuffer, on: output)
                    continue
                }
                if case .outputTruncated(_, let maxLength) = steps[index] { truncate(sent, to: maxLength) }
                send(sent, to: output, burst.pointee.context)
            case .encapsulate(let header):
                let inside = index &+ 1...index &+ Int(header.count)
                index = inside.upperBound
                guard let sent = index == range.upperBound ? packet : martlet_copied(copy, packet) else {
                    count(packet, .noBuffer, on: header.port)
                    continue
                }
                encapsulate(sent, header, steps, inside, editor.share, burst)
            // Behind `encapsulate` and `commit`.
            case .octets: break
            case .commit(let commit):
                if let failure = self.commit(commit, steps + index + 1, burst) {
                    discard(packet, failure, on: port)
                    return false
                }
            case .translate(let zone):
                if let rewriting = flows.walk.tracker.rewriting(in: zone) { editor.translate(rewriting) }
            case .restore(let zone):
                if let rewriting = flows.walk.tracker.restoring(in: zone) { editor.restore(rewriting) }
            case .noStation(let output, _):
                count(packet, .neighborUnknown, on: output)
                if index == range.upperBound { free(packet) }
            }
        }
        return true
    }

    /// Puts plain packets into a tunnel and then into a port's queue, up to one that takes more than that.
    /// - Parameter program: its header says `isTunnel`.
    /// - Returns: the place of the first packet that is left, and the bytes of those before.
    @inline(never)
    private func encapsulateAll(
        _ program: Program.Sequence,
        longest: UInt32,
        _ indices: Range<Int>,
        _ burst: UnsafeMutablePointer<Burst>
    ) -> (end: Int, bytes: UInt64) {
        var (index, bytes) = (indices.lowerBound, UInt64(0))
        guard case .encapsulate(let header) = program.steps[0],
            case .output(let output) = program.steps[program.count &- 1]
        else { return (index, bytes) }
        let queue = queues + Int(output)
        let place = queuePackets + (Int(output) &* Self.burstLength &+ queue.pointee.count &- index)
        let end = min(indices.upperBound, index &+ Self.burstLength &- queue.pointee.count)
        while index < end {
            let packet = burst.pointee.packets[index].unsafelyUnwrapped
            let length = packet.pointee.packet_length
            guard length <= longest else { break }
            flows.identification.pointee &+= 1
            let (share, identification) = (PacketEditor(plain: packet).share, flows.identification.pointee)
            guard header.put(program.steps + 1, before: packet, share: share, identification: identification) else {
                break
            }
            place[index] = packet
            bytes &+= UInt64(length)
            index &+= 1
        }
        let count = index &- indices.lowerBound
        guard count != 0 else { return (index, bytes) }
        if queue.pointee.count == 0 { announce(output) }
        queue.pointee.count &+= count
        queue.pointee.bytes &+= bytes &+ UInt64(count) &* UInt64(header.length)
        let row = counters.row(header.port)
        row[CounterTable.transmittedPackets] &+= UInt64(count)
        row[CounterTable.transmittedBytes] &+= bytes
        return (index, bytes)
    }

    /// Translates plain packets of a connection that is known and puts them into a port's queue, up to one that takes more than
    /// that.
    /// - Parameter program: its header says `isTranslation`.
    /// - Returns: the place of the first packet that is left, and the bytes of those before.
    @inline(__always)
    private func translateAll(
        _ program: Program.Sequence,
        longest: UInt32,
        _ indices: Range<Int>,
        _ burst: UnsafeMutablePointer<Burst>
    ) -> (end: Int, bytes: UInt64) {
        var (index, bytes) = (indices.lowerBound, UInt64(0))
        guard case .output(let output) = program.steps[program.count &- 1] else { return (index, bytes) }
        let rewriting = flows.walk.tracker.plainRewriting
        let queue = queues + Int(output)
        let place = queuePackets + (Int(output) &* Self.burstLength &+ queue.pointee.count &- index)
        let end = min(indices.upperBound, index &+ Self.burstLength &- queue.pointee.count)
        while index < end {
            let packet = burst.pointee.packets[index].unsafelyUnwrapped
            guard packet.pointee.packet_length <= longest else { break }
            rewriting?.write(to: packet)
            place[index] = packet
            bytes &+= UInt64(packet.pointee.packet_length)
            index &+= 1
        }
        let count = index &- indices.lowerBound
        guard count != 0 else { return (index, bytes) }
        if queue.pointee.count == 0 { announce(output) }
        queue.pointee.count &+= count
        queue.pointee.bytes &+= bytes
        return (index, bytes)
    }

    /// Puts a packet into a tunnel, and runs what is to be done with it then.
    @inline(never)
    private func encapsulate(
        _ packet: Packet,
        _ header: TunnelHeader,
        _ steps: UnsafePointer<Program.Step>,
        _ inside: ClosedRange<Int>,
        _ share: UInt64,
        _ burst: UnsafeMutablePointer<Burst>
    ) {
        let (port, length) = (header.port, packet.pointee.packet_length)
        guard length <= burst.pointee.context.state.ports[Int(port)].frameLength else {
            return discard(packet, .transmitTooLong, on: port)
        }
        flows.identification.pointee &+= 1
        let octets = steps + inside.lowerBound
        guard header.put(octets, before: packet, share: share, identification: flows.identification.pointee) else {
            return discard(packet, .noHeadroom, on: port)
        }
        let row = counters.row(port)
        row[CounterTable.transmittedPackets] &+= 1
        row[CounterTable.transmittedBytes] &+= UInt64(length)
        let rest = inside.lowerBound &+ header.octetSteps...inside.upperBound
        run(steps, rest, packet, PacketEditor(packet, header), from: port, burst)
    }

    /// A packet that was counted already.
    private func free(_ packet: Packet) {
        keepRoomForDrops()
        drops[dropCount.pointee] = packet
        dropCount.pointee &+= 1
    }

    /// Cuts a packet; segments that are cut off are freed with the dropped packets, and not counted.
    @inline(__always)
    func truncate(_ packet: Packet, to maxLength: UInt32) {
        if packet.pointee.packet_length > maxLength { cut(packet, to: maxLength) }
    }

    @inline(never)
    private func cut(_ packet: Packet, to maxLength: UInt32) {
        var (segment, left, count): (Packet, UInt32, UInt16) = (packet, maxLength, 1)
        while UInt32(segment.pointee.data_length) < left, let next = segment.pointee.next {
            left -= UInt32(segment.pointee.data_length)
            segment = next
            count += 1
        }
        segment.pointee.data_length = UInt16(left)
        if let rest = segment.pointee.next {
            rest.pointee.segment_count = packet.pointee.segment_count - count
            rest.pointee.packet_length = packet.pointee.packet_length - maxLength
            segment.pointee.next = nil
            free(rest)
        }
        packet.pointee.segment_count = count
        packet.pointee.packet_length = maxLength
    }

    /// A program may drop more than one packet a port: the worker frees what there is before the list is full.
    func keepRoomForDrops() {
        guard dropCount.pointee >= PortIndex.capacity * Self.burstLength - Self.burstLength else { return }
        martlet_drained(drain, drainContext.pointee)
    }

    /// The longest packet that a port takes, in bytes: a tag is not counted.
    @inline(__always)
    private func longest(_ packet: Packet, on output: UInt16, _ context: WalkContext) -> UInt32 {
        let longest = context.state.ports[Int(output)].frameLength
        return packet.pointee.packet_length > longest && packet.isTagged ? longest &+ UInt32(tagLength) : longest
    }

    /// Puts a packet into a port's queue as it is.
    @inline(__always)
    private func send(_ packet: Packet, to output: UInt16, _ context: WalkContext) {
        guard packet.pointee.packet_length <= longest(packet, on: output, context) else {
            keepRoomForDrops()
            return discard(packet, .transmitTooLong, on: output)
        }
        if queues[Int(output)].count == Self.burstLength { martlet_drained(drain, drainContext.pointee) }
        enqueue(packet, to: output)
    }
}
