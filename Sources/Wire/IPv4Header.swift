/// An IPv4 header (RFC 791 section 3.1).
///
///      0               1               2               3
///     +-------+-------+---------------+-------------------------------+
///   0 |   4   |  IHL  | type of serv. |         total length          |
///   4 |        identification         |flags|     fragment offset     |
///   8 | time to live  |   protocol    |           checksum            |
///  12 |                            source                             |
///  16 |                          destination                          |
///     +---------------------------------------------------------------+
///
/// A fragment is read as any other packet: whether it is put together again or dropped is not this header's to say.
public struct IPv4Header: Sendable {
    /// DSCP 6 bits, ECN 2 (RFC 2474, RFC 3168).
    public var tos: UInt8
    /// Of the header and what follows, in bytes.
    public var totalLength: UInt16
    public var identification: UInt16
    /// The flags, 3 bits, and the fragment's offset in units of 8 bytes, 13 bits.
    public var fragment: UInt16
    public var ttl: UInt8
    public var protocolNumber: UInt8
    public var source: IPv4Address
    public var destination: IPv4Address
    /// With the options of a header that was read: 20 to 60 bytes.
    public let headerLength: Int

    /// Without options, in bytes.
    @inlinable public static var length: Int { 20 }

    /// The flag that forbids routers to fragment the packet.
    @inlinable public static var dontFragment: UInt16 { 0x4000 }

    /// - Parameter payloadLength: in bytes, at most 65,515.
    @inlinable
    public init(
        source: IPv4Address,
        destination: IPv4Address,
        protocol number: UInt8,
        payloadLength: Int,
        tos: UInt8 = 0,
        ttl: UInt8 = 64,
        identification: UInt16 = 0,
        fragment: UInt16 = IPv4Header.dontFragment
    ) {
        self.tos = tos
        totalLength = UInt16(truncatingIfNeeded: Self.length &+ payloadLength)
        self.identification = identification
        self.fragment = fragment
        self.ttl = ttl
        protocolNumber = number
        self.source = source
        self.destination = destination
        headerLength = Self.length
    }

    /// Reads a header, and checks its version, its lengths and its checksum.
    /// - Parameters:
    ///   - bytes: from the header's start on.
    ///   - length: bytes from there to the frame's end, in all its segments.
    ///   - fault: set to `truncated`, `version`, `length` or `checksum` when there is no header.
    @inlinable
    @inline(__always)
    public init?(_ bytes: UnsafeRawBufferPointer, length: Int, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, Self.length, fault: &fault) else { return nil }
        let first = header.number8(at: 0)
        totalLength = header.number16(at: 2)
        headerLength = Int(first & 0xf) &* 4
        guard first &>> 4 == 4 else {
            fault = .version
            return nil
        }
        guard headerLength >= Self.length, Int(totalLength) >= headerLength, Int(totalLength) <= length else {
            fault = .length
            return nil
        }
        guard headerLength <= bytes.count else {
            fault = .truncated
            return nil
        }
        guard Self.isRight(header, headerLength) else {
            fault = .checksum
            return nil
        }
        tos = header.number8(at: 1)
        identification = header.number16(at: 4)
        fragment = header.number16(at: 6)
        ttl = header.number8(at: 8)
        protocolNumber = header.number8(at: 9)
        source = IPv4Address(value: header.number32(at: 12))
        destination = IPv4Address(value: header.number32(at: 16))
    }

    /// Whether the checksum of a header is, of whose bytes all are there.
    @inlinable
    @inline(__always)
    public static func isRight(_ header: HeaderBytes, _ headerLength: Int) -> Bool {
        var checksum = InternetChecksum()
        // A loop over so few words would take longer than they do.
        checksum.add(header.number32(at: 0))
        checksum.add(header.number32(at: 4))
        checksum.add(header.number32(at: 8))
        checksum.add(header.number32(at: 12))
        checksum.add(header.number32(at: 16))
        if headerLength > length { addOptions(header, headerLength, &checksum) }
        return checksum.isRight
    }

    /// Packets have them so rarely that their loop stays out of the way.
    @inlinable
    @inline(never)
    static func addOptions(_ header: HeaderBytes, _ headerLength: Int, _ checksum: inout InternetChecksum) {
        checksum.add(UnsafeRawBufferPointer(start: header.start + length, count: headerLength &- length))
    }

    /// More fragments follow, or this is not the first one.
    @inlinable public var isFragment: Bool { fragment & 0x3fff != 0 }

    /// Not the first: no transport header follows.
    @inlinable public var isLaterFragment: Bool { fragment & 0x1fff != 0 }

    /// Not the last fragment.
    @inlinable public var hasMoreFragments: Bool { fragment & 0x2000 != 0 }

    /// Where what follows the header belongs, in bytes.
    @inlinable public var offset: Int { Int(fragment & 0x1fff) &* 8 }

    @inlinable public var forbidsFragments: Bool { fragment & Self.dontFragment != 0 }

    /// Writes the header without options, and its checksum.
    /// - Parameter space: room for `IPv4Header.length` bytes.
    @inlinable
    @inline(__always)
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        let first = 0x4500_0000 | UInt32(tos) &<< 16 | UInt32(totalLength)
        let second = UInt32(identification) &<< 16 | UInt32(fragment)
        let third = UInt32(ttl) &<< 24 | UInt32(protocolNumber) &<< 16
        var checksum = InternetChecksum()
        checksum.add(first)
        checksum.add(second)
        checksum.add(third)
        checksum.add(source.value)
        checksum.add(destination.value)
        header.put32(first, at: 0)
        header.put32(second, at: 4)
        header.put32(third | UInt32(checksum.value), at: 8)
        header.put32(source.value, at: 12)
        header.put32(destination.value, at: 16)
    }
}
