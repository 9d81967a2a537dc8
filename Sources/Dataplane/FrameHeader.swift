import Wire

/// An Ethernet header with at most its outermost VLAN tag (IEEE Std 802.3-2022 clause 3.1, 802.1Q-2022 clause 9).
///
///      0               6               12      14      16
///     +-------+-------+-------+-------+-------+-------+-------+
///     | destination   | source        | TPID  | TCI   | type  |   tagged
///     | destination   | source        | type  |                   untagged
///     +-------+-------+-------+-------+-------+-------+-------+
///
/// Kept as it was loaded, so that two frames are compared without being decoded: octets 0 to 7, 6 to 13, 14 and 15.
struct FrameHeader {
    private let first: UInt64
    private let second: UInt64
    private let third: UInt16

    /// Reads the header of a packet: the one place where its length is checked.
    /// - Parameter fault: set when the header cannot be used; the value means nothing then.
    @inline(__always)
    static func read(_ packet: Packet, fault: inout DropReason?) -> FrameHeader {
        guard packet.pointee.data_length >= 18 else { return readShort(packet, fault: &fault) }
        let frame = packet.frame
        return FrameHeader(
            first: frame.loadUnaligned(as: UInt64.self),
            second: frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self),
            third: frame.loadUnaligned(fromByteOffset: 14, as: UInt16.self)
        )
    }

    /// The header of a frame that is untagged and between stations: nothing else needs to be asked of it. Nil for others.
    @inline(__always)
    static func readPlain(_ packet: Packet) -> FrameHeader? {
        guard packet.pointee.data_length >= 18 else { return nil }
        var fault: DropReason?
        let header = read(packet, fault: &fault)
        return header.isBetweenStations && !header.isTagged ? header : nil
    }

    /// A first segment that has no room for a tag: a guest's odd frame, or an attack.
    @inline(never)
    private static func readShort(_ packet: Packet, fault: inout DropReason?) -> FrameHeader {
        guard packet.pointee.data_length >= 14 else {
            fault = packet.pointee.packet_length < 14 ? .runt : .scatteredHeader
            return .none
        }
        let header = FrameHeader(
            first: packet.frame.loadUnaligned(as: UInt64.self),
            second: packet.frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self),
            third: 0
        )
        if header.isTagged { fault = packet.pointee.packet_length < 18 ? .truncatedTag : .scatteredHeader }
        return header
    }

    /// Like no frame that a port takes: its source address is zero.
    @inline(__always) static var none: FrameHeader { FrameHeader(first: 0, second: 0, third: 0) }

    /// Eight octets as they were loaded, of which the first six are the destination; likewise the source.
    @inline(__always) var loadedDestination: UInt64 { first }
    @inline(__always) var loadedSource: UInt64 { second }
    /// Both addresses are of single stations (IEEE Std 802-2014, clause 8.2.2: the group bit is the least significant
    /// of the first octet), and the source is not all zeros.
    @inline(__always) private var isBetweenStations: Bool { (first | second) & 1 == 0 && second &<< 16 != 0 }
    @inline(__always) var source: MACAddress { MACAddress(value: UInt64(bigEndian: second) &>> 16) }
    @inline(__always) var destination: MACAddress { MACAddress(value: UInt64(bigEndian: first) &>> 16) }
    /// The TPID of the outermost tag, or the type of an untagged frame.
    @inline(__always) var type: UInt16 { UInt16(bigEndian: UInt16(truncatingIfNeeded: second &>> 48)) }
    @inline(__always) var isTagged: Bool { type == TPID.customer.rawValue || type == TPID.service.rawValue }
    /// The tag's control information: PCP 3 bits, DEI 1, VID 12. Means nothing when untagged.
    @inline(__always) var tagControl: UInt16 { UInt16(bigEndian: third) }

    /// Whether the other frame goes the same way: equal addresses, type and tag. Two untagged frames that differ in the
    /// two bytes where a tag would end count as different, which costs a look-up and is never wrong.
    @inline(__always)
    func isLike(_ other: FrameHeader) -> Bool {
        (first ^ other.first) | (second ^ other.second) | UInt64(third ^ other.third) == 0
    }
}

/// The VLAN of a frame and the tag that says so, in one word: VLAN in bits 0 to 15, TPID above, control information
/// above that, bit 48 set when the frame's outermost tag is the switch's own.
struct Tag {
    let word: UInt64

    /// - Parameters:
    ///   - vlan: the VLAN the frame belongs to inside the switch.
    ///   - type: TPID to push where a tag is wanted and none is present.
    ///   - control: control information to push or to rewrite the present tag with.
    ///   - isPresent: whether the frame carries the switch's tag, to rewrite or pop.
    @inline(__always)
    init(vlan: UInt16, type: UInt16, control: UInt16, isPresent: Bool) {
        let upper = UInt64(control) &<< 32 | (isPresent ? 1 &<< 48 : 0)
        word = UInt64(vlan) | UInt64(type) &<< 16 | upper
    }

    @inline(__always) var vlan: UInt16 { UInt16(truncatingIfNeeded: word) }
    @inline(__always) var type: UInt16 { UInt16(truncatingIfNeeded: word &>> 16) }
    @inline(__always) var control: UInt16 { UInt16(truncatingIfNeeded: word &>> 32) }
    @inline(__always) var isPresent: Bool { word & 1 &<< 48 != 0 }
}
