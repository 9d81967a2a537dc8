/// What a packet is for the flow tables: every field that a match can ask for, in 39 words of 64 bits.
///
/// Values are in host order. A field's place is its `Field.slot`; a field of 128 bits takes two words, the more
/// significant first. The order keeps what a plain IPv4 packet needs within the first five words:
///
///     word    bits 63..32               bits 31..0
///     0       in_port                   eth_type 16, vlan_tci 16 (outer tag, 0x1000 = present)
///     1       eth_dst 48, vlan_tci of the inner tag 16
///     2       eth_src 48, nw_proto or arp_op 8, ip_frag 8
///     3       nw_src, arp_spa or        nw_dst or arp_tpa
///             nd_reserved
///     4       tp_src 16, tp_dst 16      tcp_flags or nd_options_type 16, nw_tos 8, nw_ttl 8
///     5       ct_mark                   ct_zone 16, ct_state 8
///     6       tun_id
///     7       tun_src                   tun_dst
///     8       metadata
///     9-16    reg0, reg2 ... reg14      reg1, reg3 ... reg15
///     17      pkt_mark                  conj_id
///     18      actset_output             ipv6_label
///     19-22   ipv6_src, ipv6_dst
///     23-24   nd_target
///     25      arp_sha or nd_sll 48, tun_tos 8, tun_ttl 8
///     26      arp_tha or nd_tll 48, ct_nw_proto 8
///     27-28   ct_label
///     29      ct_nw_src                 ct_nw_dst
///     30                                ct_tp_src 16, ct_tp_dst 16
///     31-34   ct_ipv6_src, ct_ipv6_dst
///     35-38   tun_ipv6_src, tun_ipv6_dst
///
/// ICMP type and code lie in tp_src and tp_dst, as in Open vSwitch's `struct flow`. What neighbor discovery adds lies
/// where only IPv4 and TCP have something. The same layout serves as a mask.
@frozen public struct FlowKey: Sendable, BitwiseCopyable {
    /// The number of 64-bit words.
    @inlinable public static var wordCount: Int { 39 }

    /// The first word of the registers.
    static let registers = 9

    /// The outer tag's TCI says with this bit that there is a tag; the bit is CFI or DEI on the wire.
    @inlinable public static var vlanPresent: UInt16 { 0x1000 }

    @usableFromInline var words: InlineArray<39, UInt64>

    /// A key of zeros: a mask that matches every packet.
    @inlinable public init() { words = InlineArray(repeating: 0) }

    /// The word at `index`.
    /// - Precondition: 0 <= index < wordCount.
    @inlinable public subscript(index: Int) -> UInt64 {
        get { words[index] }
        set { words[index] = newValue }
    }

    /// Lends the words as memory, valid until `body` returns.
    @inlinable public func withUnsafeWords<Result>(_ body: (UnsafeBufferPointer<UInt64>) -> Result) -> Result {
        withUnsafePointer(to: self) { pointer in
            // A trivial struct whose only member is an inline array of 39 words: its address is that of the first.
            body(UnsafeBufferPointer(start: UnsafeRawPointer(pointer).assumingMemoryBound(to: UInt64.self), count: 39))
        }
    }

    /// Lends the words as memory to write, valid until `body` returns.
    @inlinable public mutating func withUnsafeMutableWords<Result>(
        _ body: (UnsafeMutableBufferPointer<UInt64>) -> Result
    ) -> Result {
        withUnsafeMutablePointer(to: &self) { pointer in
            let words = UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: UInt64.self)
            return body(UnsafeMutableBufferPointer(start: words, count: 39))
        }
    }

    /// The bits in `slot`.
    @inlinable public subscript(slot: FieldSlot) -> UInt128 {
        @inline(__always) get {
            guard slot.width == 128 else {
                return UInt128(words[slot.word] >> UInt64(slot.shift)) & slot.mask
            }
            return UInt128(words[slot.word]) << 64 | UInt128(words[slot.word + 1])
        }
        @inline(__always) set {
            guard slot.width == 128 else {
                let mask = UInt64(truncatingIfNeeded: slot.mask) << UInt64(slot.shift)
                let bits = UInt64(truncatingIfNeeded: newValue) << UInt64(slot.shift)
                words[slot.word] = words[slot.word] & ~mask | bits & mask
                return
            }
            words[slot.word] = UInt64(truncatingIfNeeded: newValue >> 64)
            words[slot.word + 1] = UInt64(truncatingIfNeeded: newValue)
        }
    }

    /// The value of a field, as a number whose least significant bit is the field's last on the wire.
    ///
    /// Ports are OpenFlow 1.0's numbers, also in the 32 bits of `in_port_oxm`, whose reserved numbers are others.
    public func get(_ field: Field) -> UInt128 { self[field.slot] & field.shape.limit }

    /// Sets a field; bits that the field does not have are ignored.
    public mutating func set(_ field: Field, _ value: UInt128) {
        let slot = field.slot
        let limit = field.shape.limit
        // The ECN bits lie within the slot of nw_tos and are not the field's.
        let kept = field == .nwTOS ? self[slot] & ~limit : 0
        self[slot] = value & limit | kept
    }

    /// The TCI of the outer tag, or of the inner one; 0 without a tag.
    @inlinable public var vlanTCI: UInt16 { UInt16(truncatingIfNeeded: words[0]) }
    @inlinable public var innerVLANTCI: UInt16 { UInt16(truncatingIfNeeded: words[1]) }
}

extension FlowKey: Hashable {
    @inlinable public static func == (left: FlowKey, right: FlowKey) -> Bool {
        for index in 0..<wordCount where left.words[index] != right.words[index] { return false }
        return true
    }

    @inlinable public func hash(into hasher: inout Hasher) {
        for index in 0..<Self.wordCount { hasher.combine(words[index]) }
    }
}
