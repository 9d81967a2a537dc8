/// The fixed header of an IPv6 packet (RFC 8200 section 3).
///
///      0               1               2               3
///     +-------+---------------+---------------------------------------+
///   0 |   6   | traffic class |              flow label               |
///   4 |        payload length         |  next header  |   hop limit   |
///   8 |                        source, 16 bytes                       |
///  24 |                     destination, 16 bytes                     |
///     +---------------------------------------------------------------+
public struct IPv6Header: Sendable {
    /// DSCP 6 bits, ECN 2 (RFC 2474, RFC 3168).
    public var trafficClass: UInt8
    /// 20 bits.
    public var flowLabel: UInt32
    /// Of what follows the fixed header, in bytes.
    public var payloadLength: UInt16
    /// An extension header or the protocol.
    public var nextHeader: UInt8
    public var hopLimit: UInt8
    public var source: IPv6Address
    public var destination: IPv6Address

    /// In bytes.
    @inlinable public static var length: Int { 40 }

    /// - Parameters:
    ///   - payloadLength: in bytes, at most 65,535.
    ///   - flowLabel: bits above the 20th are ignored.
    @inlinable
    public init(
        source: IPv6Address,
        destination: IPv6Address,
        nextHeader: UInt8,
        payloadLength: Int,
        trafficClass: UInt8 = 0,
        flowLabel: UInt32 = 0,
        hopLimit: UInt8 = 64
    ) {
        self.trafficClass = trafficClass
        self.flowLabel = flowLabel & 0xf_ffff
        self.payloadLength = UInt16(truncatingIfNeeded: payloadLength)
        self.nextHeader = nextHeader
        self.hopLimit = hopLimit
        self.source = source
        self.destination = destination
    }

    /// Reads a header, and checks its version and its length.
    /// - Parameters:
    ///   - bytes: from the header's start on.
    ///   - length: bytes from there to the frame's end, in all its segments.
    ///   - fault: set to `truncated`, `version` or `length` when there is no header.
    @inlinable
    @inline(__always)
    public init?(_ bytes: UnsafeRawBufferPointer, length: Int, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, Self.length, fault: &fault) else { return nil }
        let first = header.number32(at: 0)
        payloadLength = header.number16(at: 4)
        guard first &>> 28 == 6 else {
            fault = .version
            return nil
        }
        guard Self.length &+ Int(payloadLength) <= length else {
            fault = .length
            return nil
        }
        trafficClass = UInt8(truncatingIfNeeded: first &>> 20)
        flowLabel = first & 0xf_ffff
        nextHeader = header.number8(at: 6)
        hopLimit = header.number8(at: 7)
        source = IPv6Address(value: header.number128(at: 8))
        destination = IPv6Address(value: header.number128(at: 24))
    }

    /// - Parameter space: room for `IPv6Header.length` bytes.
    @inlinable
    @inline(__always)
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        header.put32(6 &<< 28 | UInt32(trafficClass) &<< 20 | flowLabel & 0xf_ffff, at: 0)
        header.put16(payloadLength, at: 4)
        header.put8(nextHeader, at: 6)
        header.put8(hopLimit, at: 7)
        header.put128(source.value, at: 8)
        header.put128(destination.value, at: 24)
    }
}
