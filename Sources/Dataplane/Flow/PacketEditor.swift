import Flows
import Wire

/// Makes a packet what its program says.
struct PacketEditor {
    private let packet: Packet
    /// The IP protocol behind the network header.
    private let number: UInt8
    private var layout: FrameLayout

    init(_ packet: Packet, _ key: KeyWords, _ layout: FrameLayout) {
        self.packet = packet
        self.layout = layout
        number = UInt8(truncatingIfNeeded: key[2] >> 8)
    }

    /// Of a packet that `PlainPacket` has read.
    @inline(__always)
    init(plain packet: Packet) {
        self.packet = packet
        number = packet.frame.load(fromByteOffset: 23, as: UInt8.self)
        layout = FrameLayout()
        layout.kind = .ipv4
        (layout.network, layout.transport) = (14, 34)
    }

    /// Of a packet that was just put into a tunnel.
    init(_ packet: Packet, _ header: TunnelHeader) {
        self.packet = packet
        number = header.protocolNumber
        layout = header.layout
    }

    /// What the packets of a connection have in common and those of others have not: a hash of addresses and ports.
    @inline(__always) var share: UInt64 {
        let frame = UnsafeRawPointer(packet.frame)
        var hash = frame.loadUnaligned(as: UInt64.self) ^ frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self) &<< 8
        switch layout.kind {
        case .ipv4: hash ^= frame.loadUnaligned(fromByteOffset: layout.network + 12, as: UInt64.self)
        case .ipv6:
            hash ^= frame.loadUnaligned(fromByteOffset: layout.network + 16, as: UInt64.self)
            hash ^= frame.loadUnaligned(fromByteOffset: layout.network + 32, as: UInt64.self) &<< 8
        case .arp, .other: break
        }
        // Ports, where the protocol has them in the first four octets; of fragments the first alone would have them.
        if layout.transport != 0 && layout.fragment == 0 && number != IPProtocol.icmp && number != IPProtocol.icmpv6 {
            hash ^= UInt64(frame.loadUnaligned(fromByteOffset: layout.transport, as: UInt32.self)) &* 0x1_0000_0001
        }
        return (hash ^ UInt64(number)).folded(by: 0x9e37_79b9_7f4a_7c15) &>> 40
    }

    func rewrite(word: Int, value: UInt64, mask: UInt64) {
        let editor = FrameEditor(packet.frame, layout, protocol: number)
        guard number == IPProtocol.sctp && word == 4 && mask >> 32 != 0 && layout.transport != 0 else {
            return editor.rewrite(word: word, value: value, mask: mask)
        }
        SCTPChecksum(packet, layout).keep { editor.rewrite(word: word, value: value, mask: mask) }
    }

    /// Writes the identifier of an ICMP query.
    func rewriteIdentifier(_ identifier: UInt16) {
        FrameEditor(packet.frame, layout, protocol: number).rewriteIdentifier(identifier)
    }

    /// Edits the packet that an ICMP message quotes, and brings the message's checksum along.
    /// - Parameters:
    ///   - quoted: its protocol is `number`.
    ///   - length: of its transport header, in bytes, as far as the checksum: without so much there is none.
    func keepMessage(
        _ quoted: QuotedPacket,
        protocol number: UInt8,
        length: Int,
        _ edit: (PacketEditor) -> Void
    ) {
        let (start, transport) = (layout.network + Int(quoted.network), layout.network + Int(quoted.transport))
        let end = min(min(Int(packet.pointee.data_length), layout.network + networkLength), transport + length)
        guard layout.transport != 0, start < transport, transport <= end else { return }
        var inner = FrameLayout()
        (inner.kind, inner.network, inner.transport) = (layout.kind, start, transport)
        let isWhole = end == transport + length
        let former = sum(from: start, to: end)
        edit(PacketEditor(packet, inner, protocol: isWhole ? number : 0))
        let place = packet.frame + layout.transport + 2
        let checksum = UInt16(bigEndian: place.loadUnaligned(as: UInt16.self))
        let next = InternetChecksum.adjust(checksum, from: ~former.value, to: ~sum(from: start, to: end).value)
        place.storeBytes(of: next.bigEndian, as: UInt16.self)
    }

    private func sum(from start: Int, to end: Int) -> InternetChecksum {
        var checksum = InternetChecksum()
        checksum.add(UnsafeRawBufferPointer(start: packet.frame + start, count: end - start))
        return checksum
    }

    /// What the network header says of its length and what follows, in bytes.
    private var networkLength: Int {
        let header = HeaderBytes(unchecked: packet.frame + layout.network)
        return layout.kind == .ipv4 ? Int(header.number16(at: 2)) : 40 + Int(header.number16(at: 4))
    }

    private init(_ packet: Packet, _ layout: FrameLayout, protocol number: UInt8) {
        (self.packet, self.layout, self.number) = (packet, layout, number)
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
