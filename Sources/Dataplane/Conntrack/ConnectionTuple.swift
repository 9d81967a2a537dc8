import Wire

/// Who talks to whom, in one direction: what packets of a connection are found by. Numbers are in host order.
///
///     rest   63          47               31     15         7       0
///           +-----------+----------------+------+----------+-------+
///           | source    | destination    | zone | protocol | 4, 6  |
///           | port      | port           |      |          |       |
///           +-----------+----------------+------+----------+-------+
///
/// An ICMP query has its identifier in the place of the source's port and its type in that of the destination's: the type
/// of the other direction follows from it, and the code is 0 (RFC 792, RFC 4443). A protocol without ports has zeros.
struct ConnectionTuple: Equatable, BitwiseCopyable {
    /// An IPv4 address is in the low word, and the high one is zero.
    var sourceHigh: UInt64
    var sourceLow: UInt64
    var destinationHigh: UInt64
    var destinationLow: UInt64
    private var rest: UInt64

    /// In zone 0, without ports.
    @inline(__always)
    init(source: IPv4Address, destination: IPv4Address, protocol number: UInt8) {
        (sourceHigh, destinationHigh) = (0, 0)
        (sourceLow, destinationLow) = (UInt64(source.value), UInt64(destination.value))
        rest = UInt64(number) &<< 8 | 4
    }

    /// In zone 0, without ports.
    @inline(__always)
    init(source: IPv6Address, destination: IPv6Address, protocol number: UInt8) {
        sourceHigh = UInt64(truncatingIfNeeded: source.value &>> 64)
        sourceLow = UInt64(truncatingIfNeeded: source.value)
        destinationHigh = UInt64(truncatingIfNeeded: destination.value &>> 64)
        destinationLow = UInt64(truncatingIfNeeded: destination.value)
        rest = UInt64(number) &<< 8 | 6
    }

    @inline(__always) var isIPv6: Bool { rest & 0xff == 6 }
    @inline(__always) var protocolNumber: UInt8 { UInt8(truncatingIfNeeded: rest &>> 8) }

    @inline(__always)
    var zone: UInt16 {
        get { UInt16(truncatingIfNeeded: rest &>> 16) }
        set { rest = rest & ~0xffff_0000 | UInt64(newValue) &<< 16 }
    }

    /// Of an ICMP query, its identifier.
    @inline(__always)
    var sourcePort: UInt16 {
        get { UInt16(truncatingIfNeeded: rest &>> 48) }
        set { rest = rest & ~(0xffff &<< 48) | UInt64(newValue) &<< 48 }
    }

    /// Of an ICMP query, its type.
    @inline(__always)
    var destinationPort: UInt16 {
        get { UInt16(truncatingIfNeeded: rest &>> 32) }
        set { rest = rest & ~(0xffff &<< 32) | UInt64(newValue) &<< 32 }
    }

    /// ICMP of the addresses' own family.
    @inline(__always)
    var isICMP: Bool { protocolNumber == (isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp) }

    /// The other family's.
    var isOtherICMP: Bool { protocolNumber == (isIPv6 ? IPProtocol.icmp : IPProtocol.icmpv6) }

    @inline(__always) var isTCP: Bool { protocolNumber == IPProtocol.tcp }

    /// Nobody's.
    static var none: ConnectionTuple {
        ConnectionTuple(source: IPv4Address(value: 0), destination: IPv4Address(value: 0), protocol: 0)
    }

    /// That of the answer, in the same zone.
    @inline(__always)
    var reversed: ConnectionTuple {
        var other = self
        (other.sourceHigh, other.sourceLow) = (destinationHigh, destinationLow)
        (other.destinationHigh, other.destinationLow) = (sourceHigh, sourceLow)
        if isICMP {
            other.destinationPort = ICMPQuery.reversed(destinationPort, isIPv6: isIPv6)
        } else {
            (other.sourcePort, other.destinationPort) = (destinationPort, sourcePort)
        }
        return other
    }

    /// What both directions have: the zone, the protocol, and 4 or 6.
    @inline(__always) var common: UInt64 { rest & 0xffff_ffff }

    @inline(__always)
    static func == (one: ConnectionTuple, other: ConnectionTuple) -> Bool {
        let source = (one.sourceHigh ^ other.sourceHigh) | (one.sourceLow ^ other.sourceLow)
        let destination =
            (one.destinationHigh ^ other.destinationHigh) | (one.destinationLow ^ other.destinationLow)
        return source | destination | (one.rest ^ other.rest) == 0
    }
}

/// The messages of ICMP that ask and answer, by type (RFC 792, RFC 4443 section 4).
enum ICMPQuery {
    /// The type of the answer to a question and of the question to an answer; other types stay what they are.
    static func reversed(_ type: UInt16, isIPv6: Bool) -> UInt16 {
        switch (type, isIPv6) {
        // Echo.
        case (0, false), (8, false): type ^ 8
        // Timestamp.
        case (13, false), (14, false): type ^ 3
        // Information.
        case (15, false), (16, false): type ^ 31
        case (128, true), (129, true): type ^ 1
        default: type
        }
    }

    static func isQuery(_ type: UInt8, isIPv6: Bool) -> Bool {
        reversed(UInt16(type), isIPv6: isIPv6) != UInt16(type)
    }

    /// It asks, and may so begin a connection.
    static func isQuestion(_ type: UInt16, isIPv6: Bool) -> Bool {
        isIPv6 ? type == 128 : type == 8 || type == 13 || type == 15
    }
}
