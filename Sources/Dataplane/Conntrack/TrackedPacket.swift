import CPacket
import Flows
import Wire

/// What connection tracking knows of a packet: read and checked here, once, as Open vSwitch reads and checks it.
struct TrackedPacket: BitwiseCopyable {
    /// In zone 0: the caller knows the zone.
    ///
    /// Of a message about an error it is that of the packet that the message quotes, reversed: the tuple that an answer to
    /// the quoted packet would have. So the message is found with the connection that it speaks of, in the direction in
    /// which it goes itself: it is a reply (`ct_state=+rpl`) when it goes to who began the connection. The quoted packet is
    /// held against the message by one address, for the message may come from any router on the way.
    private(set) var tuple: ConnectionTuple
    /// An ICMP message about an error (RFC 792, RFC 4443 section 3): related to the connection of its tuple, to whose state
    /// it does nothing, and invalid without one.
    private(set) var isError = false
    /// Where the packet is that a message quotes.
    private(set) var quoted = QuotedPacket(network: 0, transport: 0)
    /// Of a TCP packet; of all others it is empty.
    private(set) var tcp = TCPSegment.none
    /// Where a TCP packet's payload begins: bytes behind the beginning of the frame.
    private(set) var payloadOffset = 0

    /// Nil for a packet that is invalid (`ct_state=+inv`): what is not IP, a fragment, a header that is cut short or that
    /// the first segment does not hold, a wrong checksum, port 0, and ICMP that neither asks, answers nor quotes a packet
    /// of its receiver's.
    ///
    /// - Parameters:
    ///   - layout: that of the packet's flow key. A plain packet's is of kind `ipv4`, with offsets 14 and 34.
    ///   - isChecked: the transport checksum is known to be right, or is yet to be made; see `hasCheckedTransport`.
    init?(_ packet: Packet, _ layout: FrameLayout, isChecked: Bool) {
        let contiguous = Int(packet.pointee.data_length) - layout.network
        guard layout.kind == .ipv4 || layout.kind == .ipv6, contiguous > 0 else { return nil }
        let bytes = UnsafeRawBufferPointer(start: packet.frame + layout.network, count: contiguous)
        var reader = HeaderReader(bytes, length: Int(packet.pointee.packet_length) - layout.network)
        guard let tuple = ConnectionTuple(&reader, isIPv6: layout.kind == .ipv6, isQuoted: false) else { return nil }
        self.tuple = tuple
        let place = Place(offset: layout.network + reader.offset, length: reader.remaining)
        guard readTransport(&reader, packet, layout, place, isChecked: isChecked) else { return nil }
    }

    /// Where what follows the network header is: offset within the frame, and bytes in all segments.
    private struct Place {
        let offset: Int
        let length: Int
    }

    // MARK: - Transport

    private mutating func readTransport(
        _ reader: inout HeaderReader,
        _ packet: Packet,
        _ layout: FrameLayout,
        _ place: Place,
        isChecked: Bool
    ) -> Bool {
        switch tuple.protocolNumber {
        case IPProtocol.tcp: return readTCP(reader, place) && (isChecked || isRight(packet, place))
        case IPProtocol.udp:
            guard let header = reader.peek(8) else { return false }
            let length = Int(header.number16(at: 4))
            guard length >= 8, length <= place.length, tuple.takePorts(header) else { return false }
            // None was made, which IPv4 allows (RFC 768, RFC 8200 section 8.1).
            return header.number16(at: 6) == 0 && !tuple.isIPv6 || isChecked || isRight(packet, place)
        case IPProtocol.sctp:
            guard let header = reader.peek(12), tuple.takePorts(header) else { return false }
            return isChecked || SCTPChecksum(packet, layout).isRight
        default:
            // Other protocols are known by their addresses alone; ICMP of the other family is none.
            guard tuple.isICMP else { return !tuple.isOtherICMP }
            return (isChecked || isRight(packet, place)) && readICMP(&reader)
        }
    }

    private mutating func readTCP(_ reader: HeaderReader, _ place: Place) -> Bool {
        var reader = reader
        guard let header = reader.peek(20) else { return false }
        let headerLength = Int(header.number8(at: 12) >> 4) * 4
        guard headerLength >= 20, reader.peek(headerLength) != nil, tuple.takePorts(header) else { return false }
        tcp = TCPSegment(header, length: place.length)
        payloadOffset = place.offset + headerLength
        return true
    }

    /// The checksum over all that follows the network header, and addresses for all but ICMP over IPv4.
    private func isRight(_ packet: Packet, _ place: Place) -> Bool {
        var checksum = tuple.protocolNumber == IPProtocol.icmp ? InternetChecksum() : tuple.pseudoHeader(place.length)
        checksum.add(packet, from: place.offset, count: place.length)
        return checksum.isRight
    }

    // MARK: - ICMP

    private mutating func readICMP(_ reader: inout HeaderReader) -> Bool {
        guard let header = reader.pull(8) else { return false }
        let type = header.number8(at: 0)
        if tuple.takeQuery(header) { return true }
        return isErrorType(type) && readQuoted(&reader)
    }

    /// Unreachable, quench, redirect, time exceeded, parameter problem; unreachable, too big, time exceeded, problem.
    private func isErrorType(_ type: UInt8) -> Bool {
        if tuple.isIPv6 { return type >= 1 && type <= 4 }
        return type == 3 || type == 4 || type == 5 || type == 11 || type == 12
    }

    /// Reads the packet that a message quotes: its beginning, whose lengths and checksums mean nothing.
    private mutating func readQuoted(_ reader: inout HeaderReader) -> Bool {
        let network = reader.offset
        guard var quoted = ConnectionTuple(&reader, isIPv6: tuple.isIPv6, isQuoted: true),
            // Who is told must have sent it.
            quoted.sourceHigh == tuple.destinationHigh, quoted.sourceLow == tuple.destinationLow,
            quoted.takeQuoted(&reader)
        else { return false }
        tuple = quoted.reversed
        self.quoted = QuotedPacket(network: UInt16(network), transport: UInt16(reader.offset))
        isError = true
        return true
    }
}

/// Where the headers of a packet within a message are: bytes behind the beginning of the message's network header.
struct QuotedPacket: BitwiseCopyable {
    let network: UInt16
    let transport: UInt16
}

// MARK: - Headers

extension ConnectionTuple {
    /// Reads a network header, and goes behind it and its extensions.
    /// - Parameter isQuoted: only the beginning of the packet is there, and what it says of its length means nothing.
    /// - Returns: nil for a fragment and a header that is not right.
    fileprivate init?(_ reader: inout HeaderReader, isIPv6: Bool, isQuoted: Bool) {
        let tuple = isIPv6 ? Self.ipv6(&reader, isQuoted: isQuoted) : Self.ipv4(&reader, isQuoted: isQuoted)
        guard let tuple else { return nil }
        self = tuple
    }

    /// RFC 791 section 3.1.
    private static func ipv4(_ reader: inout HeaderReader, isQuoted: Bool) -> ConnectionTuple? {
        guard let header = reader.peek(20) else { return nil }
        let headerLength = Int(header.number8(at: 0) & 0xf) * 4
        let totalLength = Int(header.number16(at: 2))
        guard headerLength >= 20, header.number16(at: 6) & 0x3fff == 0 else { return nil }
        guard isQuoted || totalLength >= headerLength && reader.limit(to: totalLength) else { return nil }
        guard reader.pull(headerLength) != nil, isQuoted || IPv4Header.isRight(header, headerLength) else { return nil }
        return ConnectionTuple(
            source: IPv4Address(value: header.number32(at: 12)),
            destination: IPv4Address(value: header.number32(at: 16)),
            protocol: header.number8(at: 9)
        )
    }

    /// RFC 8200 section 3.
    private static func ipv6(_ reader: inout HeaderReader, isQuoted: Bool) -> ConnectionTuple? {
        guard let header = reader.peek(40) else { return nil }
        guard isQuoted || reader.limit(to: 40 + Int(header.number16(at: 4))), reader.pull(40) != nil else { return nil }
        var (next, fragment, layout) = (header.number8(at: 6), UInt8(0), FrameLayout())
        guard FlowKey.skipExtensions(&reader, next: &next, fragment: &fragment, &layout), fragment == 0
        else { return nil }
        return ConnectionTuple(
            source: IPv6Address(value: header.number128(at: 8)),
            destination: IPv6Address(value: header.number128(at: 24)),
            protocol: next
        )
    }

    /// - Parameter header: of at least four bytes.
    /// - Returns: false when one of them is 0, which nobody has.
    fileprivate mutating func takePorts(_ header: HeaderBytes) -> Bool {
        sourcePort = header.number16(at: 0)
        destinationPort = header.number16(at: 2)
        return sourcePort != 0 && destinationPort != 0
    }

    /// - Parameter header: of ICMP, eight bytes.
    /// - Returns: false when it neither asks nor answers.
    fileprivate mutating func takeQuery(_ header: HeaderBytes) -> Bool {
        let type = header.number8(at: 0)
        guard ICMPQuery.isQuery(type, isIPv6: isIPv6), header.number8(at: 1) == 0 else { return false }
        sourcePort = header.number16(at: 4)
        destinationPort = UInt16(type)
        return true
    }

    /// Reads what a message quotes of a transport header: over IPv4 eight bytes are enough (RFC 792), over IPv6 all of it
    /// is there (RFC 4443 section 2.4 (c)).
    fileprivate mutating func takeQuoted(_ reader: inout HeaderReader) -> Bool {
        if isICMP { return reader.peek(8).map { takeQuery($0) } ?? false }
        switch protocolNumber {
        case IPProtocol.tcp: return reader.peek(isIPv6 ? 20 : 8).map { takePorts($0) } ?? false
        case IPProtocol.udp: return reader.peek(8).map { takePorts($0) } ?? false
        case IPProtocol.sctp: return reader.peek(isIPv6 ? 12 : 8).map { takePorts($0) } ?? false
        default: return true
        }
    }

    /// A checksum that has begun with the addresses.
    fileprivate func pseudoHeader(_ length: Int) -> InternetChecksum {
        guard isIPv6 else {
            return InternetChecksum(
                source: IPv4Address(value: UInt32(truncatingIfNeeded: sourceLow)),
                destination: IPv4Address(value: UInt32(truncatingIfNeeded: destinationLow)),
                protocol: protocolNumber,
                length: length
            )
        }
        return InternetChecksum(
            source: IPv6Address(value: UInt128(sourceHigh) &<< 64 | UInt128(sourceLow)),
            destination: IPv6Address(value: UInt128(destinationHigh) &<< 64 | UInt128(destinationLow)),
            protocol: protocolNumber,
            length: length
        )
    }
}

// MARK: - Packets whose headers are known

extension Packet {
    /// The transport checksum was found right by the driver, or is yet to be made by whoever sends the packet to a wire
    /// (rte_mbuf_core.h, `RTE_MBUF_F_RX_L4_CKSUM_GOOD` and `_NONE`). Says nothing of a packet that this one had around it.
    @inline(__always) var hasCheckedTransport: Bool { pointee.ol_flags & 1 &<< 8 != 0 }

    /// What the driver says of checksums is no more of the packet's headers.
    @inline(__always)
    func forgetChecksums() { if hasCheckedTransport { pointee.ol_flags &= ~(1 &<< 8) } }

    /// Whether a plain packet's checksums are right, and UDP's length: with `PlainPacket` and ports that are not 0, all that
    /// `TrackedPacket` asks of it.
    /// - Precondition: the packet is as `PlainPacket` reads it.
    @inline(__always)
    func isRightPlain(isTCP: Bool, isChecked: Bool) -> Bool {
        let network = HeaderBytes(unchecked: frame + 14)
        let length = Int(network.number16(at: 2)) &- IPv4Header.length
        guard IPv4Header.isRight(network, IPv4Header.length) else { return false }
        if !isTCP {
            let header = HeaderBytes(unchecked: frame + 34)
            let datagramLength = Int(header.number16(at: 4))
            guard datagramLength >= 8, datagramLength <= length else { return false }
            if header.number16(at: 6) == 0 { return true }
        }
        return isChecked || isRightPlain(length)
    }

    /// What a plain packet's TCP header says.
    /// - Precondition: the packet is as `PlainPacket` reads it, and of TCP.
    @inline(__always) var plainSegment: TCPSegment {
        let length = Int(HeaderBytes(unchecked: frame + 14).number16(at: 2)) &- IPv4Header.length
        return TCPSegment(HeaderBytes(unchecked: frame + 34), length: length)
    }

    /// The checksum of what follows a plain packet's network header.
    @inline(never)
    private func isRightPlain(_ length: Int) -> Bool {
        let network = HeaderBytes(unchecked: frame + 14)
        var checksum = InternetChecksum(
            source: IPv4Address(value: network.number32(at: 12)),
            destination: IPv4Address(value: network.number32(at: 16)),
            protocol: network.number8(at: 9),
            length: length
        )
        checksum.add(UnsafeRawBufferPointer(start: frame + 34, count: length))
        return checksum.isRight
    }
}
