/// A message of ICMP or ICMPv6 about a packet that did not arrive (RFC 792; RFC 4443 section 2.1).
///
///      0               1               2               3
///     +---------------+---------------+-------------------------------+
///   0 |     type      |     code      |           checksum            |
///   4 |     unused, or what the type says of the packet's fate        |
///   8 |  the packet: all headers, and 8 bytes or more                 |
///     +---------------------------------------------------------------+
@frozen public struct ICMPError: Hashable, Sendable, BitwiseCopyable {
    public let type: UInt8
    public let code: UInt8
    /// The second word: the next hop's MTU, of those that tell it.
    public let parameter: UInt32

    @inlinable
    public init(type: UInt8, code: UInt8, parameter: UInt32 = 0) {
        (self.type, self.code, self.parameter) = (type, code, parameter)
    }

    /// The most that is written, in bytes: with the IPv4 header 576, as RFC 1812 section 4.3.2.3 asks.
    @inlinable public static var greatestLength4: Int { 556 }
    /// With the IPv6 header 1,280 (RFC 4443 section 2.4 (c)).
    @inlinable public static var greatestLength6: Int { 1240 }

    // MARK: - Who may be told

    /// Whether a packet may be answered with a message about an error (RFC 1122 section 3.2.2). Whether one that may be
    /// fragmented is answered, and frames to a group of stations, are the caller's to judge.
    /// - Parameters:
    ///   - header: the packet's.
    ///   - transport: what follows it, or as much of it as is at hand.
    @inlinable
    public static func mayAnswer(_ header: IPv4Header, transport: UnsafeRawBufferPointer) -> Bool {
        guard !header.isLaterFragment, header.source.isStation, header.destination.isStation else { return false }
        guard header.protocolNumber == IPProtocol.icmp else { return true }
        guard let type = transport.first else { return false }
        switch type {
        // Messages about errors: unreachable, quench, redirect, time exceeded, parameter problem.
        case 3, 4, 5, 11, 12: return false
        default: return true
        }
    }

    /// The same of IPv6 (RFC 4443 section 2.4 (e)); whether one to a group is answered is the caller's to judge.
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

    // MARK: - Writing

    /// Writes the message over IPv4, and its checksum.
    /// - Parameters:
    ///   - packet: the packet from its IPv4 header on, or its first 548 bytes.
    ///   - space: room for `greatestLength4` bytes, elsewhere than the packet or so that the packet stays where it is.
    /// - Returns: the message's length in bytes.
    @inlinable
    public func write(quoting packet: UnsafeRawBufferPointer, to space: UnsafeMutableRawPointer) -> Int {
        write(quoting: packet, limit: Self.greatestLength4, InternetChecksum(), to: space)
    }

    /// The same over IPv6: 1,232 bytes of the packet, `greatestLength6` bytes of room.
    /// - Parameter source: of the message's own packet; with the destination it is part of the checksum.
    @inlinable
    public func write(
        quoting packet: UnsafeRawBufferPointer,
        source: IPv6Address,
        destination: IPv6Address,
        to space: UnsafeMutableRawPointer
    ) -> Int {
        let length = min(8 + packet.count, Self.greatestLength6)
        let pseudoHeader = InternetChecksum(
            source: source,
            destination: destination,
            protocol: IPProtocol.icmpv6,
            length: length
        )
        return write(quoting: packet, limit: Self.greatestLength6, pseudoHeader, to: space)
    }

    @inlinable
    func write(
        quoting packet: UnsafeRawBufferPointer,
        limit: Int,
        _ pseudoHeader: InternetChecksum,
        to space: UnsafeMutableRawPointer
    ) -> Int {
        let quoted = packet.prefix(limit - 8)
        let message = HeaderSpace(space)
        message.put32(UInt32(type) << 24 | UInt32(code) << 16, at: 0)
        message.put32(parameter, at: 4)
        let bytes = UnsafeMutableRawBufferPointer(start: space, count: 8 + quoted.count)
        UnsafeMutableRawBufferPointer(rebasing: bytes[8...]).copyMemory(from: UnsafeRawBufferPointer(rebasing: quoted))
        var checksum = pseudoHeader
        checksum.add(UnsafeRawBufferPointer(bytes))
        message.put16(checksum.value, at: 2)
        return bytes.count
    }
}
