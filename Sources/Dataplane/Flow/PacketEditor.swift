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
