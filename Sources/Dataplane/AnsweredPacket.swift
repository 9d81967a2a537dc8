import CPacket
import Flows
import Wire

/// An IP packet that does not arrive and whose sender may be told: read as far as the message needs it.
///
/// The message comes from the router that a flow names. Elsewhere a switch has no address on the way, and so it comes from the
/// packet's destination, as those of Linux's bridges and tunnels do. It is made of a copy of the frame, whose tags it keeps, and
/// in which the packet that it quotes stays where it is:
///
///     +----------+------+-----------------------------------------------+
///     | Ethernet | tags |               packet                          |
///     +----------+------+-----------------------------------------------+
///     +----------+------+----+------+-----------------------------------+
///     | Ethernet | tags | IP | ICMP |  packet, as much as has room      |
///     +----------+------+----+------+-----------------------------------+
struct AnsweredPacket {
    private enum Network {
        case ipv4(source: IPv4Address, destination: IPv4Address)
        case ipv6(source: IPv6Address, destination: IPv6Address)
    }

    /// The message's own addresses.
    private var network: Network
    private var error: ICMPError
    /// Where the IP header begins.
    private let offset: Int
    /// Of the packet, in bytes.
    private let length: Int

    /// What every link carries (RFC 791 section 3.2, RFC 8200 section 5).
    private static var leastMTU4: Int { 68 }
    private static var leastMTU6: Int { 1280 }

    /// A packet that is too long for its way. Nil for what would fit by what the message says, and as below.
    /// - Parameters:
    ///   - packet: as it came in.
    ///   - longest: the longest frame that would have fitted, in bytes as it comes in.
    init?(_ packet: Packet, longest: UInt32) {
        self.init(packet, ICMPError(type: 0, code: 0))
        let fitting = Int(longest) - offset
        let mtu: Int
        switch network {
        case .ipv4:
            mtu = max(fitting, Self.leastMTU4)
            error = FragmentationNeeded.message(mtu: UInt16(clamping: mtu))
        case .ipv6:
            mtu = max(fitting, Self.leastMTU6)
            error = PacketTooBig.message(mtu: UInt32(mtu))
        }
        guard length > mtu else { return nil }
    }

    /// A packet that a router rejects. Nil for one of another kind than the router's address, and as below.
    /// - Parameter packet: as it came in.
    init?(_ packet: Packet, _ rejection: Rejection) {
        self.init(packet, rejection.error)
        switch network {
        case .ipv4(_, let destination):
            guard let source = rejection.source.ipv4 else { return nil }
            network = .ipv4(source: source, destination: destination)
        case .ipv6(_, let destination):
            guard let source = rejection.source.ipv6 else { return nil }
            network = .ipv6(source: source, destination: destination)
        }
    }

    /// Nil for what is no IP packet, and for what ICMP does not answer.
    private init?(_ packet: Packet, _ error: ICMPError) {
        guard let (type, offset) = packet.content, packet.isBetweenStations else { return nil }
        (self.error, self.offset) = (error, offset)
        let frame = UnsafeRawBufferPointer(start: packet.frame, count: Int(packet.pointee.data_length))
        let bytes = UnsafeRawBufferPointer(rebasing: frame[offset...])
        let rest = Int(packet.pointee.packet_length) - offset
        var fault: HeaderFault?
        if type == EtherType.ipv4, let header = IPv4Header(bytes, length: rest, fault: &fault) {
            guard Self.mayAnswer(header, bytes) else { return nil }
            network = .ipv4(source: header.destination, destination: header.source)
            length = Int(header.totalLength)
        } else if type == EtherType.ipv6, let header = IPv6Header(bytes, length: rest, fault: &fault) {
            guard Self.mayAnswer(header, bytes) else { return nil }
            network = .ipv6(source: header.destination, destination: header.source)
            length = IPv6Header.length + Int(header.payloadLength)
        } else {
            return nil
        }
    }

    private static func mayAnswer(_ header: IPv4Header, _ bytes: UnsafeRawBufferPointer) -> Bool {
        let transport = UnsafeRawBufferPointer(rebasing: bytes[header.headerLength...])
        return ICMPError.mayAnswer(header, transport: transport)
    }

    /// Packets to groups are flooded: each of their receivers would have something to say.
    private static func mayAnswer(_ header: IPv6Header, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard header.destination.isStation else { return false }
        let rest = UnsafeRawBufferPointer(rebasing: bytes[IPv6Header.length...])
        var reader = HeaderReader(rest, length: Int(header.payloadLength))
        var (number, fragment, layout) = (header.nextHeader, UInt8(0), FrameLayout())
        guard FlowKey.skipExtensions(&reader, next: &number, fragment: &fragment, &layout),
            fragment != FragmentKind.later
        else { return false }
        let transport = UnsafeRawBufferPointer(rebasing: rest[reader.offset...])
        return ICMPError.mayAnswer(header, protocol: number, transport: transport)
    }

    // MARK: - The message

    /// Bytes of IP and ICMP in front of what is quoted.
    private var headerLength: Int {
        switch network {
        case .ipv4: IPv4Header.length + 8
        case .ipv6: IPv6Header.length + 8
        }
    }

    /// How much of a copy of the frame the message quotes, from the frame's start: that lies in one piece.
    func quotedLength(in copy: Packet) -> Int {
        let greatest =
            switch network {
            case .ipv4: ICMPError.greatestLength4 - 8
            case .ipv6: ICMPError.greatestLength6 - 8
            }
        return min(offset + min(length, greatest), Int(copy.pointee.data_length))
    }

    /// Makes a copy of the frame the message about it.
    /// - Parameter copy: cut to what is quoted.
    /// - Returns: false when there is no room in front; the copy is unchanged then.
    func write(over copy: Packet) -> Bool {
        guard Int(copy.pointee.data_off) >= headerLength else { return false }
        let former = UnsafeRawPointer(copy.frame)
        let quoted = UnsafeRawBufferPointer(start: former + offset, count: Int(copy.pointee.data_length) - offset)
        copy.pointee.data_off -= UInt16(headerLength)
        copy.pointee.data_length += UInt16(headerLength)
        copy.pointee.packet_length += UInt32(headerLength)
        turn(former, to: copy.frame)
        write(quoting: quoted, to: copy.frame + offset)
        return true
    }

    /// Writes the Ethernet header and the tags of a frame with its addresses exchanged.
    private func turn(_ former: UnsafeRawPointer, to frame: UnsafeMutableRawPointer) {
        // Six octets of each are an address.
        let first = former.loadUnaligned(as: UInt64.self)
        let second = former.loadUnaligned(fromByteOffset: 6, as: UInt64.self)
        frame.copyMemory(from: former, byteCount: offset)
        frame.storeBytes(of: UInt32(truncatingIfNeeded: second), as: UInt32.self)
        frame.storeBytes(of: UInt16(truncatingIfNeeded: second &>> 32), toByteOffset: 4, as: UInt16.self)
        frame.storeBytes(of: UInt32(truncatingIfNeeded: first), toByteOffset: 6, as: UInt32.self)
        frame.storeBytes(of: UInt16(truncatingIfNeeded: first &>> 32), toByteOffset: 10, as: UInt16.self)
    }

    private func write(quoting quoted: UnsafeRawBufferPointer, to space: UnsafeMutableRawPointer) {
        switch network {
        case .ipv4(let source, let destination):
            let length = error.write(quoting: quoted, to: space + IPv4Header.length)
            IPv4Header(source: source, destination: destination, protocol: IPProtocol.icmp, payloadLength: length)
                .write(to: space)
        case .ipv6(let source, let destination):
            let message = space + IPv6Header.length
            let length = error.write(quoting: quoted, source: source, destination: destination, to: message)
            IPv6Header(
                source: source,
                destination: destination,
                nextHeader: IPProtocol.icmpv6,
                payloadLength: length
            )
            .write(to: space)
        }
    }
}

/// What a router says of a packet that it does not send on.
struct Rejection: Equatable, BitwiseCopyable {
    let error: ICMPError
    /// The router's own.
    let source: IPAddress
}

extension Packet {
    /// - Precondition: the first segment holds the addresses.
    fileprivate var isBetweenStations: Bool {
        let addresses = HeaderBytes(unchecked: frame)
        return MACAddress(value: addresses.number48(at: 0)).isStation
            && MACAddress(value: addresses.number48(at: 6)).isStation
    }
}

extension Lane {
    /// Tells the sender of a packet that it is too long for where it goes, unless nobody may be told, or enough were told of
    /// late. Whether it forbids fragments does not matter: nobody here would fragment it. The packet stays what it is.
    /// - Parameters:
    ///   - packet: as it came in: no flow has edited it yet.
    ///   - longest: the longest frame that would have fitted, in bytes as it comes in.
    ///   - port: a device that it came from.
    @inline(never)
    func tellTooLong(_ packet: Packet, longest: UInt32, from port: UInt16) {
        tell(AnsweredPacket(packet, longest: longest), of: packet, from: port)
    }

    /// The same of one that a flow rejects.
    @inline(never)
    func tell(_ rejection: Rejection, of packet: Packet, from port: UInt16) {
        tell(AnsweredPacket(packet, rejection), of: packet, from: port)
    }

    private func tell(_ answered: AnsweredPacket?, of packet: Packet, from port: UInt16) {
        // Nobody waits for a message: one that has no room in the queue is left out.
        guard let answered, queued(port).count < Self.burstLength,
            errorBudget.admits(port, now: martlet_nanoseconds())
        else { return }
        guard let message = martlet_copied(copy, packet) else { return count(packet, .noBuffer, on: port) }
        truncate(message, to: UInt32(answered.quotedLength(in: message)))
        guard answered.write(over: message) else { return discard(message, .noHeadroom, on: port) }
        enqueue(message, to: port)
    }
}
