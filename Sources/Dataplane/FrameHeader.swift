import Wire

/// An Ethernet header with at most its outermost VLAN tag (IEEE Std 802.3-2022 clause 3.1, 802.1Q-2022 clause 9).
///
///      0               6               12      14      16
///     +-------+-------+-------+-------+-------+-------+-------+
///     | destination   | source        | TPID  | TCI   | type  |   tagged
///     | destination   | source        | type  |                   untagged
///     +-------+-------+-------+-------+-------+-------+-------+
struct FrameHeader {
    /// Addresses as numbers, first octet most significant.
    private(set) var destination: UInt64 = 0
    private(set) var source: UInt64 = 0
    /// The outermost tag's TPID and control information (PCP 3 bits, DEI 1, VID 12); TPID 0 when untagged.
    private(set) var tagType: UInt16 = 0
    private(set) var tagControl: UInt16 = 0

    @inline(__always) var isTagged: Bool { tagType != 0 }
    @inline(__always) var vid: UInt16 { tagControl & 0x0fff }
    /// Priority and drop eligibility, in place.
    @inline(__always) var priority: UInt16 { tagControl & 0xf000 }

    enum Fault {
        case none, runt, scattered, truncatedTag

        var reason: DropReason {
            switch self {
            case .none, .runt: .runt
            case .scattered: .scatteredHeader
            case .truncatedTag: .truncatedTag
            }
        }
    }

    /// Reads the header of a packet: the one place where its length is checked.
    /// - Parameter fault: why the header cannot be used; the fields mean nothing then.
    @inline(__always)
    init(of packet: Packet, fault: inout Fault) {
        let length = Int(packet.pointee.data_length)
        guard length >= 14 else {
            fault = packet.pointee.packet_length < 14 ? .runt : .scattered
            return
        }
        // Two loads of 8 bytes: destination and half the source, then source and type. Both end within the 14 bytes.
        let frame = packet.frame
        let first = UInt64(bigEndian: frame.loadUnaligned(as: UInt64.self))
        let second = UInt64(bigEndian: frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self))
        destination = first >> 16
        source = second >> 16
        let type = UInt16(truncatingIfNeeded: second)
        guard type == TPID.customer.rawValue || type == TPID.service.rawValue else { return }
        guard length >= 18 else {
            fault = packet.pointee.packet_length < 18 ? .truncatedTag : .scattered
            return
        }
        tagType = type
        tagControl = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: 14, as: UInt16.self))
    }
}

/// The bytes of a frame that decide where it goes: equal bytes, same way.
struct FramePattern {
    private var first: UInt64 = 0
    private var second: UInt64 = 0
    private var control: UInt16 = 0
    /// All ones where the tag control belongs to the pattern.
    private var controlMask: UInt16 = 0
    private var isSet = false

    /// Matches no frame.
    @inline(__always) init() {}

    /// - Precondition: `packet` was parsed; a frame too short for the comparison gives a pattern that matches none.
    @inline(__always)
    init(of packet: Packet) {
        guard packet.pointee.data_length >= 18 else { return }
        first = packet.frame.loadUnaligned(as: UInt64.self)
        second = packet.frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self)
        control = packet.frame.loadUnaligned(fromByteOffset: 14, as: UInt16.self)
        let type = UInt16(truncatingIfNeeded: UInt64(bigEndian: second))
        controlMask = type == TPID.customer.rawValue || type == TPID.service.rawValue ? 0xffff : 0
        isSet = true
    }

    @inline(__always)
    func matches(_ packet: Packet) -> Bool {
        guard isSet, packet.pointee.data_length >= 18 else { return false }
        let frame = packet.frame
        return frame.loadUnaligned(as: UInt64.self) == first
            && frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self) == second
            && (frame.loadUnaligned(fromByteOffset: 14, as: UInt16.self) ^ control) & controlMask == 0
    }
}
