/// The number of a virtual network in VXLAN (RFC 7348 section 5) and Geneve (RFC 8926 section 3.4): 0 to 16,777,215.
public struct VNI: Hashable, Sendable {
    public let value: UInt32

    /// Nil for a number of more than 24 bits.
    @inlinable
    public init?(_ value: UInt32) {
        guard value <= 0xff_ffff else { return nil }
        self.value = value
    }

    /// The upper 24 bits of a word, where both protocols have it.
    @inlinable
    @inline(__always)
    init(word: UInt32) { value = word &>> 8 }

    @inlinable @inline(__always) var word: UInt32 { value &<< 8 }
}
