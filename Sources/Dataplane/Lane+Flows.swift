import CPacket
import Flows
import Wire

/// What a lane needs to switch by flows: allocated once.
@usableFromInline struct FlowMemory {
    let walk: WalkMemory

    init() { walk = WalkMemory() }

    func free() { walk.free() }
}

/// The way of a burst through a bridge that has flows.
extension Lane {
    /// Every entry of the lane's cache was held against the tables of this version, or a newer one.
    var sweptVersion: UInt64 { .max }

    @inline(never)
    func receiveByFlows(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        _ context: WalkContext
    ) {
        let row = counters.row(port)
        row[CounterTable.receivedPackets] &+= UInt64(count)
        for index in 0..<count {
            // The burst is full up to `count`: a driver's promise.
            let packet = packets[index].unsafelyUnwrapped
            row[CounterTable.receivedBytes] &+= UInt64(packet.pointee.packet_length)
            walk(packet, from: port, context)
        }
    }

    /// Takes a packet through the tables.
    private func walk(_ packet: Packet, from port: UInt16, _ context: WalkContext) {
        var layout = FrameLayout()
        guard packet.pointee.packet_length >= 14 else { return discard(packet, .runt, on: port) }
        let segment = UnsafeRawBufferPointer(start: packet.frame, count: Int(packet.pointee.data_length))
        guard var key = FlowKey(frame: segment, length: Int(packet.pointee.packet_length), layout: &layout) else {
            return discard(packet, .scatteredHeader, on: port)
        }
        let entry = context.state.ports[Int(port)]
        key[0] |= UInt64(entry.number) << 32
        var observer = Unobserved()
        let types = layout.tagTypes
        let program = Walk.run(key, types: types, on: entry.bridge, context, flows.walk, observer: &observer)
        let length = UInt64(packet.pointee.packet_length)
        for visit in 0..<program.visitCount {
            program.visits[visit].rule?.pointee.counts[number].add(packets: 1, bytes: length, now: context.now)
        }
        run(program, packet, key, layout, from: port, context)
    }

    /// Edits a packet and sends it where its program says: copies to all ports but the last.
    private func run(
        _ program: Program,
        _ packet: Packet,
        _ key: FlowKey,
        _ layout: FrameLayout,
        from port: UInt16,
        _ context: WalkContext
    ) {
        var last = program.count - 1
        while last >= 0, !program.steps[last].isOutput { last -= 1 }
        guard last >= 0 else { return discard(packet, program.drop, on: port) }
        var editor = PacketEditor(packet, key, layout)
        for index in 0...last {
            switch program.steps[index] {
            case .rewrite(let word, let value, let mask): editor.rewrite(word: Int(word), value: value, mask: mask)
            case .pushTag(let type, let control):
                guard editor.pushTag(type, control: control) else {
                    return discard(packet, .noHeadroom, on: program.output(from: index) ?? port)
                }
            case .popTag: editor.popTag()
            case .output(let output):
                if index == last { return send(packet, to: output, context) }
                guard let copy = martlet_copied(copy, packet) else {
                    counters.drop(.noBuffer, on: output)
                    continue
                }
                send(copy, to: output, context)
            }
        }
    }

    /// Puts a packet into a port's queue as it is.
    private func send(_ packet: Packet, to output: UInt16, _ context: WalkContext) {
        let longest = context.state.ports[Int(output)].frameLength
        let length = packet.pointee.packet_length
        guard length <= longest || (length <= longest &+ UInt32(tagLength) && packet.isTagged) else {
            return discard(packet, .transmitTooLong, on: output)
        }
        if queues[Int(output)].count == Self.burstLength { martlet_drained(drain, drainContext.pointee) }
        enqueue(packet, to: output)
    }
}

extension Program.Step {
    var isOutput: Bool {
        if case .output = self { return true }
        return false
    }
}

/// Makes a packet what its program says.
private struct PacketEditor {
    private let packet: Packet
    private let number: UInt8
    private var layout: FrameLayout
    init(_ packet: Packet, _ key: FlowKey, _ layout: FrameLayout) {
        self.packet = packet
        self.layout = layout
        number = UInt8(truncatingIfNeeded: key[2] >> 8)
    }

    func rewrite(word: Int, value: UInt64, mask: UInt64) {
        let editor = FrameEditor(packet.frame, layout, protocol: number)
        guard number == IPProtocol.sctp && word == 4 && mask >> 32 != 0 && layout.transport != 0 else {
            return editor.rewrite(word: word, value: value, mask: mask)
        }
        SCTPChecksum(packet, layout).keep { editor.rewrite(word: word, value: value, mask: mask) }
    }

    /// - Returns: false when there is no room for it.
    mutating func pushTag(_ type: UInt16, control: UInt16) -> Bool {
        // The bit that says in a key that there is a tag is DEI on the wire.
        guard packet.pushTag(type: type, control: control & ~FlowKey.vlanPresent) else { return false }
        layout.move(by: tagLength)
        return true
    }

    mutating func popTag() {
        packet.popTag()
        layout.move(by: -tagLength)
    }
}
