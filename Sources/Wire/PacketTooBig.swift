/// The ICMPv6 message that says that a packet is too big for a link (RFC 4443 section 3.2).
///
///      0               1               2               3
///     +---------------+---------------+-------------------------------+
///   0 |    type 2     |    code 0     |           checksum            |
///   4 |                      MTU of the next hop                      |
///   8 |  the packet that was too big, as much of it as has room       |
///     +---------------------------------------------------------------+
public struct PacketTooBig: Sendable {
    /// Of the next hop, in bytes of IPv6 packet. Less than 1,280 is no reason to send less (RFC 8201 section 4).
    public let mtu: UInt32
    /// Of the packet that was too big.
    public let source: IPv6Address
    public let destination: IPv6Address
    public let nextHeader: UInt8
    /// The first 32 bits behind its fixed header: the ports, if that is what follows.
    public let firstWord: UInt32

    /// - Parameters:
    ///   - bytes: what follows the IPv6 header.
    ///   - header: the IPv6 header, right before the message.
    ///   - fault: set to `truncated`, `type`, `checksum`, or `version` of the quoted packet, when there is none.
    public init?(_ bytes: UnsafeRawBufferPointer, in header: IPv6Header, fault: inout HeaderFault?) {
        guard let type = bytes.first else {
            fault = .truncated
            return nil
        }
        // The code is ignored (RFC 4443 section 3.2).
        guard header.nextHeader == IPProtocol.icmpv6, type == 2 else {
            fault = .type
            return nil
        }
        let least = 8 + IPv6Header.length + 8
        let length = Int(header.payloadLength)
        guard let fixed = HeaderBytes(bytes, least), length >= least, length <= bytes.count else {
            fault = .truncated
            return nil
        }
        var checksum = Self.checksum(header.source, header.destination, length: length)
        checksum.add(UnsafeRawBufferPointer(rebasing: bytes[..<length]))
        guard checksum.isRight else {
            fault = .checksum
            return nil
        }
        guard fixed.number8(at: 8) >> 4 == 6 else {
            fault = .version
            return nil
        }
        mtu = fixed.number32(at: 4)
        nextHeader = fixed.number8(at: 14)
        source = IPv6Address(value: fixed.number128(at: 16))
        destination = IPv6Address(value: fixed.number128(at: 32))
        firstWord = fixed.number32(at: 48)
    }

    private static func checksum(_ source: IPv6Address, _ destination: IPv6Address, length: Int) -> InternetChecksum {
        InternetChecksum(source: source, destination: destination, protocol: IPProtocol.icmpv6, length: length)
    }

    /// As it is sent.
    /// - Parameter mtu: of the next hop, in bytes of IPv6 packet.
    @inlinable
    public static func message(mtu: UInt32) -> ICMPError { ICMPError(type: 2, code: 0, parameter: mtu) }
}
