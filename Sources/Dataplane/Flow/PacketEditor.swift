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
    init(plain packet: Packet) {
        self.packet = packet
        number = packet.frame.load(fromByteOffset: 23, as: UInt8.self)
        layout = FrameLayout()
        layout.kind = .ipv4
        (layout.network, layout.transport) = (14, 34)
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
