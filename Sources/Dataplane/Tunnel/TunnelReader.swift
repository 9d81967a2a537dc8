import CPacket
import Wire

/// Reads what is in front of a frame that came through a tunnel: Ethernet, IP, UDP if it is that, and the tunnel's own
/// header. Every length is checked here, and only here.
struct TunnelReader {
    let underlay: Underlay
    let ingress: UnsafeMutablePointer<PortEntry>

    enum Outcome {
        /// It is for no endpoint, or no tunnel's: the bridge's own.
        case none
        case fault(DropReason)
        /// The frame begins there and has so many bytes.
        case frame(offset: Int, length: Int)
        /// It is a part of what is for a tunnel.
        case fragment(martlet_fragment)
    }

    /// - Parameters:
    ///   - plain: the packet's headers, if they are.
    ///   - source: gets what the headers say.
    @inline(__always)
    func read(_ packet: Packet, _ plain: PlainTunnelPacket?, _ source: inout TunnelSources.Source) -> Outcome {
        if let plain, read(plain, &source) { return .frame(offset: plain.offset, length: plain.length) }
        return read(packet, &source)
    }

    /// - Returns: false when it takes another look.
    @inline(__always)
    private func read(_ plain: PlainTunnelPacket, _ source: inout TunnelSources.Source) -> Bool {
        let port = UInt16(truncatingIfNeeded: plain.marks &>> 16)
        let type = port == 0 ? underlay.takesGRE ? .gre : nil : underlay.type(onUDP: port)
        guard let type, ingress.pointee.takesUntagged, let key = key(of: type, in: plain.carried) else { return false }
        let local = IPAddress(IPv4Address(value: UInt32(truncatingIfNeeded: plain.addresses)))
        guard let place = endpoint(plain.destination, vlan: ingress.pointee.untagged.vlan, from: 0),
            underlay.endpoints[place].address == local
        else { return false }
        source.remote = IPAddress(IPv4Address(value: UInt32(truncatingIfNeeded: plain.addresses &>> 32)))
        (source.local, source.key, source.type) = (local, key, type)
        source.tos = UInt8(truncatingIfNeeded: plain.marks &>> 8)
        source.ttl = UInt8(truncatingIfNeeded: plain.marks)
        (source.endpoint, source.udpPort) = (UInt16(place), port)
        return true
    }

    /// The key in a tunnel's own eight octets, if they say nothing else.
    @inline(__always)
    private func key(of type: TunnelType, in carried: UInt64) -> UInt64? {
        let word = carried & 0xffff_ffff
        switch type {
        case .vxlan: return carried &>> 32 == 0x0800_0000 ? word &>> 8 : nil
        case .geneve: return carried &>> 32 == UInt64(EtherType.ethernet) ? word &>> 8 : nil
        case .gre: return carried &>> 32 == 0x2000 &<< 16 | UInt64(EtherType.ethernet) ? word : nil
        }
    }

    /// The first place, from one on, of an endpoint of this bridge that has a station's address.
    @inline(__always)
    private func endpoint(_ mac: UInt64, vlan: UInt16, from first: Int) -> Int? {
        var place = first
        while place < underlay.endpointCount {
            let endpoint = underlay.endpoints + place
            if endpoint.pointee.mac.value == mac, endpoint.pointee.vlan == vlan,
                endpoint.pointee.bridge == ingress.pointee.bridge
            {
                return place
            }
            place &+= 1
        }
        return nil
    }

    @inline(never)
    private func read(_ packet: Packet, _ source: inout TunnelSources.Source) -> Outcome {
        let bytes = UnsafeRawBufferPointer(start: packet.frame, count: Int(packet.pointee.data_length))
        guard let ethernet = HeaderBytes(bytes, 18), let (vlan, offset) = place(ethernet) else { return .none }
        let destination = ethernet.number48(at: 0)
        var next = 0
        while let place = endpoint(destination, vlan: vlan, from: next) {
            next = place + 1
            source.endpoint = UInt16(place)
            let part = Part(bytes: bytes, offset: offset, length: Int(packet.pointee.packet_length) - offset)
            let type = ethernet.number16(at: offset - 2)
            let network = type == EtherType.ipv4 ? ipv4(part) : type == EtherType.ipv6 ? ipv6(part) : nil
            guard let network, network.destination == underlay.endpoints[place].address else { continue }
            return readTunnel(network, part, packet, &source)
        }
        return .none
    }

    /// The rest of a packet: where it begins, and how long it is in all segments.
    private struct Part {
        let bytes: UnsafeRawBufferPointer
        var offset: Int
        var length: Int

        /// What of it lies in the first segment.
        var first: UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[min(offset, bytes.count)..<min(offset + length, bytes.count)])
        }

        /// Behind a header.
        func behind(_ count: Int, length: Int) -> Part { Part(bytes: bytes, offset: offset + count, length: length) }
    }

    /// The VLAN of a frame, and where what it carries begins; nil for one that the port does not take.
    private func place(_ ethernet: HeaderBytes) -> (vlan: UInt16, offset: Int)? {
        let type = ethernet.number16(at: 12)
        guard type == TPID.customer.rawValue || type == TPID.service.rawValue else {
            return ingress.pointee.takesUntagged ? (ingress.pointee.untagged.vlan, 14) : nil
        }
        return ingress.pointee.classify(type: type, control: ethernet.number16(at: 14)).map { ($0.vlan, 18) }
    }

    // MARK: - IP

    /// What an IP header says.
    private struct Network {
        let source: IPAddress
        let destination: IPAddress
        let tos: UInt8
        let ttl: UInt8
        /// Of the protocol behind it.
        let number: UInt8
        let isFragment: Bool
        let rest: Part
        /// Of UDP, with the addresses.
        let checksum: InternetChecksum

        /// What is behind a fragment header; nil for IPv4, which has none.
        func behind(_ header: IPv6Fragment, _ piece: Part) -> Network? {
            guard let from = source.ipv6, let to = destination.ipv6 else { return nil }
            return Network(
                source: source,
                destination: destination,
                tos: tos,
                ttl: ttl,
                number: header.nextHeader,
                isFragment: false,
                rest: piece,
                checksum: InternetChecksum(
                    source: from,
                    destination: to,
                    protocol: IPProtocol.udp,
                    length: piece.length
                )
            )
        }
    }

    /// Nil for what is none.
    private func ipv4(_ part: Part) -> Network? {
        var fault: HeaderFault?
        guard let header = IPv4Header(part.first, length: part.length, fault: &fault) else { return nil }
        let rest = part.behind(header.headerLength, length: Int(header.totalLength) - header.headerLength)
        return Network(
            source: IPAddress(header.source),
            destination: IPAddress(header.destination),
            tos: header.tos,
            ttl: header.ttl,
            number: header.protocolNumber,
            isFragment: header.isFragment,
            rest: rest,
            checksum: InternetChecksum(
                source: header.source,
                destination: header.destination,
                protocol: IPProtocol.udp,
                length: rest.length
            )
        )
    }

    private func ipv6(_ part: Part) -> Network? {
        var fault: HeaderFault?
        guard let header = IPv6Header(part.first, length: part.length, fault: &fault) else { return nil }
        let rest = part.behind(IPv6Header.length, length: Int(header.payloadLength))
        return Network(
            source: IPAddress(header.source),
            destination: IPAddress(header.destination),
            tos: header.trafficClass,
            ttl: header.hopLimit,
            number: header.nextHeader,
            // That of IPv6 is a header of its own.
            isFragment: false,
            rest: rest,
            checksum: InternetChecksum(
                source: header.source,
                destination: header.destination,
                protocol: IPProtocol.udp,
                length: rest.length
            )
        )
    }

    // MARK: - Tunnels

    /// - Parameter part: from the IP header on.
    private func readTunnel(
        _ network: Network,
        _ part: Part,
        _ packet: Packet,
        _ source: inout TunnelSources.Source
    ) -> Outcome {
        (source.remote, source.local) = (network.source, network.destination)
        (source.tos, source.ttl) = (network.tos, network.ttl)
        switch network.number {
        case IPProtocol.udp:
            return network.isFragment ? fragment4(part, source.endpoint) : readUDP(network, packet, &source)
        case IPProtocol.gre where underlay.takesGRE:
            return network.isFragment ? fragment4(part, source.endpoint) : readGRE(network.rest, packet, &source)
        case IPProtocol.fragment: return fragment6(network, part, packet, &source)
        default: return .none
        }
    }

    // MARK: - Fragments

    /// The longest packet, in bytes (RFC 791 section 3.1, RFC 8200 section 4.5).
    private static var lengthLimit: Int { 65_535 }
    /// The longest header of IPv4: that of the whole packet is the first fragment's.
    private static var headerLimit: Int { 60 }

    @inline(never)
    private func fragment4(_ part: Part, _ endpoint: UInt16) -> Outcome {
        var fault: HeaderFault?
        guard underlay.endpoints[Int(endpoint)].joinsFragments,
            let header = IPv4Header(part.first, length: part.length, fault: &fault)
        else { return .fault(.tunnelFragment) }
        let piece = part.behind(header.headerLength, length: Int(header.totalLength) - header.headerLength)
        guard header.offset + piece.length <= Self.lengthLimit - Self.headerLimit else {
            return .fault(.tunnelFragmentInvalid)
        }
        return fragment(piece, of: part, hasMore: header.hasMoreFragments, tos: header.tos, endpoint, isIPv4: true)
    }

    @inline(never)
    private func fragment6(
        _ network: Network,
        _ part: Part,
        _ packet: Packet,
        _ source: inout TunnelSources.Source
    ) -> Outcome {
        var fault: HeaderFault?
        guard network.rest.length >= IPv6Fragment.length else { return .fault(.tunnelFragmentInvalid) }
        guard let header = IPv6Fragment(network.rest.first, fault: &fault) else { return .fault(.scatteredHeader) }
        // Of a tunnel's packet every fragment says so, though only the first one has to.
        guard header.nextHeader == IPProtocol.udp || header.nextHeader == IPProtocol.gre && underlay.takesGRE else {
            return .none
        }
        guard underlay.endpoints[Int(source.endpoint)].joinsFragments else { return .fault(.tunnelFragment) }
        let piece = network.rest.behind(IPv6Fragment.length, length: network.rest.length - IPv6Fragment.length)
        // The only one there is needs no others, and must not wait for any (RFC 6946 section 4).
        if header.offset == 0 && !header.hasMore {
            guard header.nextHeader == IPProtocol.udp else { return readGRE(piece, packet, &source) }
            guard let whole = network.behind(header, piece) else { return .none }
            return readUDP(whole, packet, &source)
        }
        guard Int(header.offset) + piece.length <= Self.lengthLimit else { return .fault(.tunnelFragmentInvalid) }
        return fragment(piece, of: part, hasMore: header.hasMore, tos: network.tos, source.endpoint, isIPv4: false)
    }

    private func fragment(
        _ piece: Part,
        of part: Part,
        hasMore: Bool,
        tos: UInt8,
        _ endpoint: UInt16,
        isIPv4: Bool
    ) -> Outcome {
        guard piece.length > 0, !hasMore || piece.length % 8 == 0 else { return .fault(.tunnelFragmentInvalid) }
        return .fragment(
            martlet_fragment(
                endpoint: underlay.endpoints[Int(endpoint)].port,
                network: UInt16(part.offset),
                payload: UInt16(piece.offset),
                length: UInt16(piece.length),
                tos: tos,
                is_ipv4: isIPv4 ? 1 : 0
            )
        )
    }

    // MARK: - Protocols

    private func readUDP(_ network: Network, _ packet: Packet, _ source: inout TunnelSources.Source) -> Outcome {
        let part = network.rest
        var fault: HeaderFault?
        guard let header = UDPHeader(part.first, length: part.length, fault: &fault),
            let type = underlay.type(onUDP: header.destinationPort)
        else { return .none }
        source.udpPort = header.destinationPort
        if header.checksum != 0 {
            // The datagram's length is part of what is summed, and IP's may be more.
            guard Int(header.datagramLength) == part.length else { return .fault(.tunnelHeader) }
            var checksum = network.checksum
            checksum.add(packet, from: part.offset, count: part.length)
            guard checksum.isRight else { return .fault(.tunnelChecksum) }
        }
        let rest = part.behind(UDPHeader.length, length: Int(header.datagramLength) - UDPHeader.length)
        switch type {
        case .vxlan: return readVXLAN(rest, &source)
        case .geneve: return readGeneve(rest, &source)
        case .gre: return .none
        }
    }

    private func readVXLAN(_ part: Part, _ source: inout TunnelSources.Source) -> Outcome {
        var fault: HeaderFault?
        guard let header = VXLAN(part.first, fault: &fault) else { return .fault(.tunnelHeader) }
        source.key = UInt64(header.vni.value)
        source.type = .vxlan
        return frame(part.behind(VXLAN.length, length: part.length - VXLAN.length))
    }

    private func readGeneve(_ part: Part, _ source: inout TunnelSources.Source) -> Outcome {
        var fault: HeaderFault?
        guard let header = Geneve(part.first, fault: &fault) else {
            return .fault(fault == .criticalOption ? .tunnelOption : .tunnelHeader)
        }
        source.key = UInt64(header.vni.value)
        source.type = .geneve
        return frame(part.behind(header.length, length: part.length - header.length))
    }

    private func readGRE(_ part: Part, _ packet: Packet, _ source: inout TunnelSources.Source) -> Outcome {
        var fault: HeaderFault?
        // Frames in sequence: nobody here would put them in order (RFC 2890 section 2.2).
        guard let header = GRE(part.first, fault: &fault), header.sequence == nil else { return .fault(.tunnelHeader) }
        if header.hasChecksum {
            var checksum = InternetChecksum()
            checksum.add(packet, from: part.offset, count: part.length)
            guard checksum.isRight else { return .fault(.tunnelChecksum) }
        }
        source.key = header.key.map(UInt64.init) ?? TunnelSelector.noKey
        source.type = .gre
        source.udpPort = 0
        return frame(part.behind(header.length, length: part.length - header.length))
    }

    private func frame(_ part: Part) -> Outcome {
        guard part.length >= TunnelHeader.ethernetLength else { return .fault(.runt) }
        guard part.offset + TunnelHeader.ethernetLength <= part.bytes.count else { return .fault(.scatteredHeader) }
        return .frame(offset: part.offset, length: part.length)
    }
}
