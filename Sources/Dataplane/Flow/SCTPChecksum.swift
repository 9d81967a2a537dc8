import CPacket

/// The checksum of a packet's SCTP part, which covers all of it and no address (RFC 9260 section 6.8).
struct SCTPChecksum {
    private let packet: Packet
    /// Offsets within the frame.
    private let start: Int
    private let end: Int

    private static var place: Int { 8 }

    /// - Parameter layout: with a transport header of at least 12 bytes in the first segment, behind an IP header.
    init(_ packet: Packet, _ layout: FrameLayout) {
        self.packet = packet
        start = layout.transport
        // What the network header says, for padding may follow; the frame is as long, or its fields would not be known.
        let isIPv6 = layout.kind == .ipv6
        let length = Int(Self.number16(packet, at: layout.network + (isIPv6 ? 4 : 2)))
        end = layout.network + (isIPv6 ? 40 : 0) + length
    }

    /// Brings the checksum along with an edit. What was wrong stays as wrong.
    func keep(over edit: () -> Void) {
        let former = stored
        stored = 0
        let before = computed
        edit()
        let after = computed
        stored = former ^ before ^ after
    }

    /// Whether what the header says is what the bytes give. The packet is as before when this returns.
    var isRight: Bool {
        let said = stored
        stored = 0
        defer { stored = said }
        return computed == said
    }

    /// The least significant octet comes first.
    private var stored: UInt32 {
        get { UInt32(littleEndian: packet.frame.loadUnaligned(fromByteOffset: start + Self.place, as: UInt32.self)) }
        nonmutating set {
            packet.frame.storeBytes(of: newValue.littleEndian, toByteOffset: start + Self.place, as: UInt32.self)
        }
    }

    private var computed: UInt32 {
        var remainder = UInt32.max
        var (skipped, rest) = (start, end - start)
        var segment: Packet? = packet
        while let part = segment, rest > 0 {
            let length = Int(part.pointee.data_length)
            if skipped < length {
                let count = min(length - skipped, rest)
                remainder = martlet_crc32c(remainder, part.frame + skipped, UInt32(count))
                rest -= count
            }
            skipped = max(0, skipped - length)
            segment = part.pointee.next
        }
        return ~remainder
    }

    private static func number16(_ packet: Packet, at offset: Int) -> UInt16 {
        UInt16(bigEndian: packet.frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
}
