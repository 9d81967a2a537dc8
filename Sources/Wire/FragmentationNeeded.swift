/// The ICMP message that says that a packet is too big for a link and must not be fragmented (RFC 792, 'Destination
/// Unreachable'; RFC 1191 section 4).
///
///      0               1               2               3
///     +---------------+---------------+-------------------------------+
///   0 |    type 3     |    code 4     |           checksum            |
///   4 |            unused             |      MTU of the next hop      |
///   8 |  the packet that was too big: header, and 8 bytes or more     |
///     +---------------------------------------------------------------+
public struct FragmentationNeeded: Sendable {
    /// Of the next hop, in bytes of IP packet. 0 from a router older than RFC 1191, whose section 5 says what then.
    public let mtu: UInt16
    /// Of the packet that was too big.
    public let source: IPv4Address
    public let destination: IPv4Address
    public let protocolNumber: UInt8
    /// The first 32 bits behind its header: the ports, if it was UDP.
    public let firstWord: UInt32

    /// - Parameters:
    ///   - message: what the IPv4 header says that it carries, without padding.
    ///   - fault: set to `truncated`, `type`, `checksum`, or `version` or `length` of the quoted packet, when there is none.
    public init?(_ message: UnsafeRawBufferPointer, fault: inout HeaderFault?) {
        guard let first = HeaderBytes(message, 2, fault: &fault) else { return nil }
        guard first.number16(at: 0) == 0x0304 else {
            fault = .type
            return nil
        }
        guard let bytes = HeaderBytes(message, 8 + IPv4Header.length + 8, fault: &fault) else { return nil }
        let quotedLength = Int(bytes.number8(at: 8) & 0xf) * 4
        if let refusal = Self.refusal(message, bytes, quotedLength) {
            fault = refusal
            return nil
        }
        mtu = bytes.number16(at: 6)
        protocolNumber = bytes.number8(at: 17)
        source = IPv4Address(value: bytes.number32(at: 20))
        destination = IPv4Address(value: bytes.number32(at: 24))
        // Within the message: the quoted header is one of those that leave 8 bytes behind them.
        firstWord = bytes.number32(at: 8 + quotedLength)
    }

    private static func refusal(
        _ message: UnsafeRawBufferPointer,
        _ bytes: HeaderBytes,
        _ quotedLength: Int
    ) -> HeaderFault? {
        var checksum = InternetChecksum()
        checksum.add(message)
        guard checksum.isRight else { return .checksum }
        guard bytes.number8(at: 8) >> 4 == 4 else { return .version }
        guard quotedLength >= IPv4Header.length else { return .length }
        return 8 + quotedLength + 8 <= message.count ? nil : .truncated
    }

    /// As it is sent.
    /// - Parameter mtu: of the next hop, in bytes of IP packet.
    @inlinable
    public static func message(mtu: UInt16) -> ICMPError { ICMPError(type: 3, code: 4, parameter: UInt32(mtu)) }
}
