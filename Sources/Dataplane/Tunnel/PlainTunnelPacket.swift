import CPacket
import Wire

/// The headers of a packet that is nothing but a tunnel's, in whole, untagged IPv4 without options: UDP without a checksum, or
/// GRE, and eight octets of the tunnel's own. Read without a call.
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
    static var leastLength: UInt16 { 64 }

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
}

/// Tells whether packets are like a plain one, but for their lengths, identifications and UDP source ports, without reading
/// their headers: what makes a packet plain is compared as well.
struct TunnelLikeness {
    /// Where the frames begin.
    let offset: Int
    /// Octets from 0 on, as they are loaded.
    private let octets: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt16)
    /// What counts of octets 32 to 49, and of UDP's length.
    private let masks: (UInt64, UInt64, UInt16, length: UInt64)
    private let sum: UInt32

    /// - Parameter packet: what `plain` was read from.
    init(_ packet: Packet, _ plain: PlainTunnelPacket) {
        let frame = UnsafeRawPointer(packet.frame)
        octets = (
            Self.load(frame, 0), Self.load(frame, 8), Self.load(frame, 16), Self.load(frame, 24), Self.load(frame, 32),
            Self.load(frame, 40), frame.loadUnaligned(fromByteOffset: 48, as: UInt16.self)
        )
        let isUDP = plain.marks &>> 16 != 0
        masks = isUDP ? (Self.ports, .max, .max, .max) : (.max, (UInt64(0xffff) &<< 48).bigEndian, 0, 0)
        offset = plain.offset
        sum = Self.sum(frame)
    }

    /// Destination address and port without the source port and the length.
    @inline(__always) private static var ports: UInt64 { UInt64(0xffff_0000_ffff_0000).bigEndian }
    /// The fragment's place, the time to live and the protocol; and the addresses.
    @inline(__always) private static var place: UInt64 { UInt64(0x0000_0000_ffff_ffff).bigEndian }
    @inline(__always) private static var addresses: UInt64 { UInt64(0x0000_ffff_ffff_ffff).bigEndian }

    /// The bytes of a packet's frame; nil when it is not like this one.
    @inline(__always)
    func frameLength(_ packet: Packet) -> Int? {
        guard packet.pointee.data_length >= PlainTunnelPacket.leastLength else { return nil }
        let frame = UnsafeRawPointer(packet.frame)
        var difference = (Self.load(frame, 0) ^ octets.0) | (Self.load(frame, 8) ^ octets.1)
        difference |= (Self.load(frame, 16) ^ octets.2) & Self.place
        difference |= (Self.load(frame, 24) ^ octets.3) & Self.addresses
        difference |= (Self.load(frame, 32) ^ octets.4) & masks.0
        difference |= (Self.load(frame, 40) ^ octets.5) & masks.1
        difference |= UInt64((frame.loadUnaligned(fromByteOffset: 48, as: UInt16.self) ^ octets.6) & masks.2)
        let header = HeaderBytes(unchecked: frame)
        let total = UInt64(header.number16(at: 16))
        difference |= (UInt64(header.number16(at: 38)) ^ (total &- 20)) & masks.length
        guard difference == 0, Self.sum(frame) == sum, total &+ 14 <= UInt64(packet.pointee.packet_length) else {
            return nil
        }
        let length = Int(total) &+ 14 &- offset
        return length >= TunnelHeader.ethernetLength ? length : nil
    }

    /// What counts for the header's checksum beside what is compared: ones' complement sums that are equal are so modulo 0xffff.
    @inline(__always)
    private static func sum(_ frame: UnsafeRawPointer) -> UInt32 {
        let lengths = frame.loadUnaligned(fromByteOffset: 16, as: UInt32.self)
        let checksum = UInt32(frame.loadUnaligned(fromByteOffset: 24, as: UInt16.self))
        return ((lengths & 0xffff) &+ lengths &>> 16 &+ checksum) % 0xffff
    }

    @inline(__always)
    private static func load(_ frame: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        frame.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }
}
