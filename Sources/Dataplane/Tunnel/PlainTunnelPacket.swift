import CPacket
import Wire

/// The headers of a packet that is nothing but a tunnel's, in whole, untagged IPv4 without options: UDP without a checksum,
/// or GRE, and eight octets of the tunnel's own. Read without a call.
struct PlainTunnelPacket {
    /// The address of the Ethernet header.
    let destination: UInt64
    /// The source's address above the destination's.
    let addresses: UInt64
    /// UDP's destination port, 0 for GRE, above the type of service and the time to live.
    let marks: UInt64
    /// The tunnel's own octets.
    let carried: UInt64
    /// Where the frame begins, and its bytes.
    let offset: Int
    let length: Int

    /// What is read, and an Ethernet header behind it.
    private static var leastLength: UInt16 { 64 }

    /// Nil for any other packet: `TunnelReader` reads that header by header. What this reads is what that would read.
    @inline(__always)
    init?(_ packet: Packet) {
        guard packet.pointee.data_length >= Self.leastLength else { return nil }
        let frame = HeaderBytes(unchecked: packet.frame)
        let (first, second) = (frame.number64(at: 12), frame.number64(at: 20))
        // The type, the version and header length, and the fragment's place, at once.
        guard ((first &>> 40) ^ 0x080045) | (second &>> 48 & 0x3fff) == 0 else { return nil }
        let total = first &>> 16 & 0xffff
        guard IPv4Header.isRight(HeaderBytes(unchecked: packet.frame + 14), IPv4Header.length),
            UInt64(packet.pointee.packet_length) >= total &+ 14
        else { return nil }
        let behind = frame.number64(at: 34)
        var marks = first &>> 24 & 0xff00 | second &>> 40 & 0xff
        switch UInt8(truncatingIfNeeded: second &>> 32) {
        case IPProtocol.udp:
            let port = behind &>> 32 & 0xffff
            // Of a length and no checksum.
            guard port != 0, behind & 0xffff_ffff == (total &- 20) &<< 16 else { return nil }
            marks |= port &<< 16
            carried = frame.number64(at: 42)
            offset = 50
        case IPProtocol.gre:
            carried = behind
            offset = 42
        default: return nil
        }
        length = Int(total) &+ 14 &- offset
        guard length >= TunnelHeader.ethernetLength else { return nil }
        destination = frame.number48(at: 0)
        addresses = frame.number64(at: 26)
        self.marks = marks
    }
    /// Whether it came from where the other did, and through the same tunnel.
    @inline(__always)
    func isLike(_ other: PlainTunnelPacket) -> Bool {
        let difference = (destination ^ other.destination) | (addresses ^ other.addresses)
        return difference | (marks ^ other.marks) | (carried ^ other.carried) == 0
    }
}
