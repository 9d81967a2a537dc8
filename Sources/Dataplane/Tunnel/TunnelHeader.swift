import Wire

/// What a program says of the headers that a tunnel puts in front of a frame. Their octets, of Ethernet, IP, UDP if it is
/// that, and the tunnel itself, follow among the program's steps, sixteen a step, and end with a whole one; only what
/// changes from packet to packet is not in them.
struct TunnelHeader: Equatable, BitwiseCopyable {
    let type: TunnelType
    /// The tunnel's port.
    let port: UInt16
    /// Steps of the program behind this one that are for the packet in the tunnel, those of octets among them.
    var count: UInt16 = 0
    /// In bytes.
    let length: UInt8
    let isIPv4: Bool
    let hasChecksum: Bool
    let forbidsFragments: Bool

    static var ethernetLength: Int { 14 }

    var octetSteps: Int { (Int(length) + 15) / 16 }

    /// Where the IP header's payload begins.
    private var transport: Int { Self.ethernetLength + (isIPv4 ? IPv4Header.length : IPv6Header.length) }

    /// Where the tunnel's own header begins.
    var carried: Int { transport + (type == .gre ? 0 : UDPHeader.length) }

    /// Of the packet that carries the frame, for what its own bridge does with it.
    var layout: FrameLayout {
        var layout = FrameLayout()
        layout.kind = isIPv4 ? .ipv4 : .ipv6
        layout.network = Self.ethernetLength
        layout.transport = type == .gre ? 0 : transport
        return layout
    }

    var protocolNumber: UInt8 { type == .gre ? IPProtocol.gre : IPProtocol.udp }

    /// Puts the headers in front of a frame.
    /// - Parameters:
    ///   - octets: the steps that hold them.
    ///   - share: of the connections within; what one has, its packets have.
    ///   - identification: of an IPv4 packet that may be fragmented.
    /// - Returns: false when there is no room in front; the packet is unchanged then.
    @inline(__always)
    func put(
        _ octets: UnsafePointer<Program.Step>,
        before packet: Packet,
        share: UInt64,
        identification: UInt16
    ) -> Bool {
        let (steps, length) = (octetSteps, Int(length))
        // The first step begins before the headers.
        guard Int(packet.pointee.data_off) >= steps * 16 else { return false }
        let inner = packet.frame
        packet.pointee.data_off &-= UInt16(length)
        packet.pointee.data_length &+= UInt16(length)
        packet.pointee.packet_length &+= UInt32(length)
        for step in 0..<steps {
            guard case .octets(let first, let second) = octets[step] else { continue }
            let place = inner - 16 * (steps - step)
            place.storeBytes(of: first, as: UInt64.self)
            place.storeBytes(of: second, toByteOffset: 8, as: UInt64.self)
        }
        finish(packet, share: share, identification: identification)
        return true
    }

    @inline(__always)
    private func finish(_ packet: Packet, share: UInt64, identification: UInt16) {
        let frame = packet.frame
        let packetLength = Int(packet.pointee.packet_length)
        func put16(_ value: Int, at offset: Int) {
            frame.storeBytes(of: UInt16(truncatingIfNeeded: value).bigEndian, toByteOffset: offset, as: UInt16.self)
        }
        if isIPv4 {
            let total = UInt16(truncatingIfNeeded: packetLength - Self.ethernetLength)
            let place = Self.ethernetLength + 10
            var checksum = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: place, as: UInt16.self))
            checksum = InternetChecksum.adjust(checksum, from: 0, to: total)
            put16(Int(total), at: Self.ethernetLength + 2)
            if !forbidsFragments {
                checksum = InternetChecksum.adjust(checksum, from: 0, to: identification)
                put16(Int(identification), at: Self.ethernetLength + 4)
            }
            put16(Int(checksum), at: place)
        } else {
            put16(packetLength - transport, at: Self.ethernetLength + 4)
        }
        guard type != .gre else {
            if hasChecksum { put16(Int(checksum(of: packet)), at: transport + GRE.checksumOffset) }
            return
        }
        // RFC 7348 section 5: the dynamic ports tell the connections within apart.
        put16(0xc000 | Int(share & 0x3fff), at: transport)
        put16(packetLength - transport, at: transport + 4)
        if hasChecksum { put16(Int(checksum(of: packet)), at: transport + UDPHeader.checksumOffset) }
    }

    /// Of all behind the IP header, for UDP with the addresses.
    @inline(never)
    private func checksum(of packet: Packet) -> UInt16 {
        let frame = UnsafeRawPointer(packet.frame)
        let length = Int(packet.pointee.packet_length) - transport
        var checksum = InternetChecksum()
        let addresses = HeaderBytes(unchecked: frame + Self.ethernetLength)
        if type != .gre && isIPv4 {
            checksum = InternetChecksum(
                source: IPv4Address(value: addresses.number32(at: 12)),
                destination: IPv4Address(value: addresses.number32(at: 16)),
                protocol: IPProtocol.udp,
                length: length
            )
        } else if type != .gre {
            checksum = InternetChecksum(
                source: IPv6Address(value: addresses.number128(at: 8)),
                destination: IPv6Address(value: addresses.number128(at: 24)),
                protocol: IPProtocol.udp,
                length: length
            )
        }
        checksum.add(packet, from: transport, count: length)
        return type == .gre ? checksum.value : checksum.udpValue
    }
}
