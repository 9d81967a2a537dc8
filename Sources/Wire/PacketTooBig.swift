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

    /// The most that is written, in bytes: with the IPv6 header 1,280 (RFC 4443 section 3.2).
    @inlinable public static var greatestLength: Int { 1240 }

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

    @inlinable
    static func checksum(_ source: IPv6Address, _ destination: IPv6Address, length: Int) -> InternetChecksum {
        InternetChecksum(source: source, destination: destination, protocol: IPProtocol.icmpv6, length: length)
    }

    /// Whether a packet may be answered with this message (RFC 4443 section 2.4 (e)); one to a group may.
    /// - Parameters:
    ///   - header: the packet's.
    ///   - number: the protocol behind its extension headers.
    ///   - transport: what follows those, or as much of it as is at hand.
    @inlinable
    public static func mayAnswer(
        _ header: IPv6Header,
        protocol number: UInt8,
        transport: UnsafeRawBufferPointer
    ) -> Bool {
        guard header.source.isStation else { return false }
        guard number == IPProtocol.icmpv6 else { return true }
        guard let type = transport.first else { return false }
        // Below 128 are messages about errors; 137 is a redirect.
        return type >= 128 && type != 137
    }

    /// Writes the message, and its checksum.
    /// - Parameters:
    ///   - mtu: of the next hop, in bytes of IPv6 packet.
    ///   - packet: the packet that was too big from its IPv6 header on, or its first 1,232 bytes.
    ///   - source: of the message's own packet; with the destination it is part of the checksum.
    ///   - space: room for `greatestLength` bytes, elsewhere than the packet or so that the packet stays where it is.
    /// - Returns: the message's length in bytes.
    @inlinable
    public static func write(
        mtu: UInt32,
        quoting packet: UnsafeRawBufferPointer,
        source: IPv6Address,
        destination: IPv6Address,
        to space: UnsafeMutableRawPointer
    ) -> Int {
        let quoted = packet.prefix(greatestLength - 8)
        let message = HeaderSpace(space)
        message.put32(0x0200_0000, at: 0)
        message.put32(mtu, at: 4)
        let bytes = UnsafeMutableRawBufferPointer(start: space, count: 8 + quoted.count)
        UnsafeMutableRawBufferPointer(rebasing: bytes[8...]).copyMemory(from: UnsafeRawBufferPointer(rebasing: quoted))
        var checksum = checksum(source, destination, length: bytes.count)
        checksum.add(UnsafeRawBufferPointer(bytes))
        message.put16(checksum.value, at: 2)
        return bytes.count
    }
}
