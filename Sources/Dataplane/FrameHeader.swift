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
    init(of packet: Packet, fault: inout DropReason?) {
        let length = packet.pointee.data_length
        guard length >= 14 else {
            fault = packet.pointee.packet_length < 14 ? .runt : .scatteredHeader
            first = 0
            second = 0
            third = 0
            return
        }
        let frame = packet.frame
        first = frame.loadUnaligned(as: UInt64.self)
        second = frame.loadUnaligned(fromByteOffset: 6, as: UInt64.self)
        guard length >= 16 else {
            third = 0
            if isTagged { fault = packet.pointee.packet_length < 18 ? .truncatedTag : .scatteredHeader }
            return
        }
        third = frame.loadUnaligned(fromByteOffset: 14, as: UInt16.self)
        if length < 18 && isTagged { fault = packet.pointee.packet_length < 18 ? .truncatedTag : .scatteredHeader }
    }

    /// Addresses as numbers, first octet most significant.
    @inline(__always) var destination: UInt64 { UInt64(bigEndian: first) &>> 16 }
    @inline(__always) var source: UInt64 { UInt64(bigEndian: second) &>> 16 }
    /// The TPID of the outermost tag, or the type of an untagged frame.
    @inline(__always) var type: UInt16 { UInt16(truncatingIfNeeded: UInt64(bigEndian: second)) }
    @inline(__always) var isTagged: Bool { type == TPID.customer.rawValue || type == TPID.service.rawValue }
    /// The tag's control information: PCP 3 bits, DEI 1, VID 12. Means nothing when untagged.
    @inline(__always) var tagControl: UInt16 { UInt16(bigEndian: third) }

    /// What makes another frame go the same way: equal addresses and type and, if tagged, an equal tag.
    struct Pattern {
        private let first: UInt64
        private let second: UInt64
        private let third: UInt32
        private let mask: UInt32

        /// Above the 16 bits of a tag: set in the pattern that no frame has.
        private static var never: UInt32 { 0x1_0000 }

        @inline(__always)
        init(_ header: FrameHeader, isTagged: Bool) {
            first = header.first
            second = header.second
            third = UInt32(header.third)
            mask = Self.never | (isTagged ? 0xffff : 0)
        }

        /// Equal to no frame.
        @inline(__always)
        init() {
            first = 0
            second = 0
            third = Self.never
            mask = Self.never
        }

        @inline(__always)
        func matches(_ header: FrameHeader) -> Bool {
            header.first == first && header.second == second && (UInt32(header.third) ^ third) & mask == 0
        }
    }
}

/// The VLAN of a frame and the tag that says so, in one word: VLAN in bits 0 to 15, TPID above, control information
/// above that, bit 48 set when the frame's outermost tag is the switch's own.
struct Tag {
    private let word: UInt64

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
