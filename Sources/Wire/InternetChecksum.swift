/// The checksum of IPv4, UDP, ICMP and GRE (RFC 1071): the complement of the ones' complement sum of 16-bit words.
///
/// Takes the bytes in pieces of any length, as the segments of a packet come, and keeps the words as they are loaded: the
/// sum's order of bytes is the words' own (RFC 1071 section 2 (B)).
public struct InternetChecksum {
    @usableFromInline var sum: UInt64 = 0
    /// An odd number of bytes was taken: what follows is summed with its octets exchanged.
    @usableFromInline var isOdd = false

    @inlinable
    @inline(__always)
    public init() {}

    /// Begins with the pseudo header of UDP over IPv4 (RFC 768).
    /// - Parameter length: of the transport header and what follows, in bytes: less than 65,536.
    @inlinable
    @inline(__always)
    public init(source: IPv4Address, destination: IPv4Address, protocol number: UInt8, length: Int) {
        sum = UInt64(source.value.bigEndian) &+ UInt64(destination.value.bigEndian)
        sum &+= UInt64(UInt16(number).bigEndian) &+ UInt64(UInt16(truncatingIfNeeded: length).bigEndian)
    }

    /// Begins with the pseudo header of IPv6 (RFC 8200 section 8.1).
    /// - Parameter length: of the transport header and what follows, in bytes.
    @inlinable
    @inline(__always)
    public init(source: IPv6Address, destination: IPv6Address, protocol number: UInt8, length: Int) {
        sum = Self.words(source) &+ Self.words(destination)
        sum &+= UInt64(UInt32(number).bigEndian) &+ UInt64(UInt32(truncatingIfNeeded: length).bigEndian)
    }

    /// Four words of 32 bits.
    @inlinable
    @inline(__always)
    static func words(_ address: IPv6Address) -> UInt64 {
        let octets = address.value.bigEndian
        let (low, high) = (UInt64(truncatingIfNeeded: octets), UInt64(truncatingIfNeeded: octets &>> 64))
        return (low & 0xffff_ffff) &+ low &>> 32 &+ (high & 0xffff_ffff) &+ high &>> 32
    }

    /// Takes four octets that follow, as the number that they are on the wire.
    /// - Precondition: an even number of bytes was taken before.
    @inlinable
    @inline(__always)
    mutating func add(_ word: UInt32) { sum &+= UInt64(word.bigEndian) }

    /// Takes the bytes that follow.
    @inlinable
    @inline(__always)
    public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        let count = bytes.count
        // 32 bits at a time: their carries gather above them, and 2^32 words would have to come for them to be lost.
        var part: UInt64 = 0
        var offset = 0
        while offset &+ 4 <= count {
            part &+= UInt64(start.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
            offset &+= 4
        }
        if count & 2 != 0 {
            part &+= UInt64(start.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            offset &+= 2
        }
        if count & 1 != 0 {
            // The missing octet counts as zero (RFC 1071 section 1).
            part &+= UInt64((UInt16(start.load(fromByteOffset: offset, as: UInt8.self)) &<< 8).bigEndian)
        }
        let word = Self.fold(part)
        sum &+= UInt64(isOdd ? word.byteSwapped : word)
        isOdd = isOdd != (count & 1 != 0)
    }

    /// The checksum of what was taken, whose own field counts as zero.
    @inlinable @inline(__always) public var value: UInt16 { ~UInt16(bigEndian: Self.fold(sum)) }

    /// As UDP writes it: zero would say that there is none (RFC 768).
    @inlinable
    @inline(__always)
    public var udpValue: UInt16 {
        let value = value
        return value == 0 ? 0xffff : value
    }

    /// Whether what was taken, with its checksum in it, is as it was sent.
    @inlinable @inline(__always) public var isRight: Bool { Self.fold(sum) == 0xffff }

    /// The checksum after one of the words that it covers was changed (RFC 1624 section 3, equation 3).
    @inlinable
    @inline(__always)
    public static func adjust(_ checksum: UInt16, from former: UInt16, to next: UInt16) -> UInt16 {
        var sum = UInt32(~checksum) &+ UInt32(~former) &+ UInt32(next)
        sum = (sum & 0xffff) &+ sum &>> 16
        sum = (sum & 0xffff) &+ sum &>> 16
        return ~UInt16(truncatingIfNeeded: sum)
    }

    @inlinable
    @inline(__always)
    static func fold(_ sum: UInt64) -> UInt16 {
        var rest = (sum & 0xffff_ffff) &+ sum &>> 32
        rest = (rest & 0xffff) &+ rest &>> 16
        rest = (rest & 0xffff) &+ rest &>> 16
        rest = (rest & 0xffff) &+ rest &>> 16
        return UInt16(truncatingIfNeeded: rest)
    }
}
