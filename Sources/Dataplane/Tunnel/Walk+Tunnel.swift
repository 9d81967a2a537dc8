import Flows
import Wire

extension Walk {
    /// To another host: in front of the frame come the headers of a tunnel, and the packet that this makes enters the bridge
    /// of the tunnel's endpoint as if it came from that port.
    mutating func encapsulate(_ tunnel: Tunnel) {
        // Endpoints come and go.
        note(.underlay)
        guard !isEncapsulated else { return decide(.dropped(.tunnelNested)) }
        guard let (remote, endpoint) = path(of: tunnel) else { return decide(.dropped(.tunnelNoPath)) }
        guard context.state.underlay.endpoint(remote) == Underlay.none else { return decide(.dropped(.tunnelLoop)) }
        guard endpoint.isNeighbor(remote) || endpoint.gatewayCount != 0 else {
            return decide(.dropped(.tunnelNoPath))
        }
        recordEdits()
        let (cell, mac) = endpoint.isNeighbor(remote) ? look(for: remote, endpoint) : gateway(of: endpoint)
        guard let mac else { return record(.noStation(tunnel.port, cell)) }
        let (header, outer) = header(tunnel, endpoint, to: remote, mac)
        let first = program.count
        record(.encapsulate(header))
        for step in 0..<header.octetSteps {
            let place = memory.octets + 16 * step
            record(.octets(place.load(as: UInt64.self), place.load(fromByteOffset: 8, as: UInt64.self)))
        }
        outside(outer, header.length, on: endpoint.bridge) { walk in
            if Observer.isActive { walk.observer.crosses(to: endpoint.port) }
            walk.enter(0, port: endpoint.number, endsWithSet: true)
            if Observer.isActive { walk.observer.returns() }
        }
        close(header, first)
    }

    /// The other end, and the endpoint that leads there.
    private func path(of tunnel: Tunnel) -> (IPAddress, Endpoint)? {
        guard let remote = tunnel.remote ?? remoteOfFlow(), !remote.isUnspecified else { return nil }
        let place = remote.isIPv4 ? tunnel.endpoint4 : tunnel.endpoint6
        return place == Underlay.none ? nil : (remote, context.state.underlay.endpoints[Int(place)])
    }

    private func remoteOfFlow() -> IPAddress? {
        depend(on: 0xffff_ffff, word: 7)
        let remote4 = UInt32(truncatingIfNeeded: key[7])
        if remote4 != 0 { return IPAddress(IPv4Address(value: remote4)) }
        depend(on: .max, word: 37)
        depend(on: .max, word: 38)
        let remote6 = IPAddress(value: UInt128(key[37]) << 64 | UInt128(key[38]))
        return remote6.isIPv4 ? nil : remote6
    }

    /// The gateway of the packet's connection, or the next one whose station is known: the connection is back when that of
    /// its own is. Where none is known, the first of them.
    private mutating func gateway(of endpoint: Endpoint) -> (NeighborTable.Cell?, MACAddress?) {
        let first = endpoint.gatewayCount > 1 ? Int(share() % UInt64(endpoint.gatewayCount)) : 0
        var own: NeighborTable.Cell?
        for turn in 0..<endpoint.gatewayCount {
            let (cell, mac) = look(for: endpoint.gateways[(first + turn) % endpoint.gatewayCount], endpoint)
            if mac != nil { return (cell, mac) }
            own = own ?? cell
        }
        return (own, nil)
    }

    /// A neighbor and its station, nil while that is not known. The program holds for as long as that stays so.
    private mutating func look(for hop: IPAddress, _ endpoint: Endpoint) -> (NeighborTable.Cell?, MACAddress?) {
        let table = endpoint.neighbors
        guard let cell = context.hasEffects ? table.name(hop, used: context.now) : table.find(hop) else {
            // There is no room for it, or nobody who would ask.
            program.isSingular = true
            return (nil, nil)
        }
        if context.hasEffects { cell.pointee.use(now: context.now) }
        let station = cell.pointee.station
        record(.neighbor(cell, station: station))
        return (cell, NeighborTable.mac(of: station))
    }

    /// What picks among gateways: addresses and ports.
    private func share() -> UInt64 {
        var hash: UInt64 = 0
        func take(_ word: Int, _ mask: UInt64) {
            depend(on: mask, word: word)
            hash = hash.mixed(with: key[word] & mask)
        }
        take(1, ~0xffff)
        take(2, ~0xffff)
        take(3, .max)
        take(4, .max << 32)
        take(20, .max)
        take(22, .max)
        return hash >> 32
    }

    // MARK: - Headers

    /// Writes a tunnel's headers to `memory.octets`.
    /// - Returns: what they are to the program, and what the packet is to the bridge of the endpoint.
    private mutating func header(
        _ tunnel: Tunnel,
        _ endpoint: Endpoint,
        to remote: IPAddress,
        _ mac: MACAddress
    ) -> (TunnelHeader, FlowKey) {
        let carried = carriedHeader(of: tunnel)
        let isIPv4 = remote.isIPv4
        let network = TunnelHeader.ethernetLength
        let transport = network + (isIPv4 ? IPv4Header.length : IPv6Header.length)
        let inner = transport + (tunnel.type == .gre ? 0 : UDPHeader.length)
        let length = inner + carried.length
        let header = TunnelHeader(
            type: tunnel.type,
            port: tunnel.port,
            length: UInt8(length),
            isIPv4: isIPv4,
            hasChecksum: tunnel.hasChecksum,
            forbidsFragments: tunnel.forbidsFragments
        )
        let (tos, ttl) = (self.tos(of: tunnel), self.ttl(of: tunnel))
        // What is in front of the headers in the first step is nothing.
        memory.octets.initializeMemory(as: UInt8.self, repeating: 0, count: WalkMemory.octetCount)
        let start = memory.octets + (header.octetSteps * 16 - length)
        let type = isIPv4 ? EtherType.ipv4 : EtherType.ipv6
        EthernetHeader(destination: mac, source: endpoint.mac, type: type).write(to: start)
        var key = FlowKey()
        key[0] = UInt64(type) << 16 | UInt64(endpoint.number) << 32
        key[1] = mac.value << 16
        key[2] = endpoint.mac.value << 16 | UInt64(header.protocolNumber) << 8
        key[4] = UInt64(tunnel.udpPort) << 32 | UInt64(tos) << 8 | UInt64(ttl)
        if let source = endpoint.address.ipv4, let destination = remote.ipv4 {
            var ip = IPv4Header(
                source: source,
                destination: destination,
                protocol: header.protocolNumber,
                payloadLength: 0,
                tos: tos,
                ttl: ttl,
                fragment: tunnel.forbidsFragments ? IPv4Header.dontFragment : 0
            )
            ip.totalLength = 0
            ip.write(to: start + network)
            key[3] = UInt64(source.value) << 32 | UInt64(destination.value)
        } else {
            let (source, destination) = (endpoint.address.value, remote.value)
            IPv6Header(
                source: IPv6Address(value: source),
                destination: IPv6Address(value: destination),
                nextHeader: header.protocolNumber,
                payloadLength: 0,
                trafficClass: tos,
                hopLimit: ttl
            )
            .write(to: start + network)
            (key[19], key[20]) = (UInt64(truncatingIfNeeded: source >> 64), UInt64(truncatingIfNeeded: source))
            key[21] = UInt64(truncatingIfNeeded: destination >> 64)
            key[22] = UInt64(truncatingIfNeeded: destination)
        }
        if tunnel.type != .gre {
            UDPHeader(sourcePort: 0, destinationPort: tunnel.udpPort, payloadLength: 0).write(to: start + transport)
        }
        carried.write(to: start + inner)
        return (header, key)
    }

    /// The header of the tunnel itself.
    private enum Carried {
        case vxlan(VXLAN)
        case gre(GRE)
        case geneve(Geneve)

        var length: Int {
            switch self {
            case .vxlan: VXLAN.length
            case .gre(let header): header.length
            case .geneve(let header): header.length
            }
        }

        func write(to space: UnsafeMutableRawPointer) {
            switch self {
            case .vxlan(let header): header.write(to: space)
            case .gre(let header): header.write(to: space)
            case .geneve(let header): header.write(to: space)
            }
        }
    }

    private func carriedHeader(of tunnel: Tunnel) -> Carried {
        let number: UInt64? =
            switch tunnel.key {
            case .fixed(let key): key
            case .flow: numberOfFlow(in: tunnel)
            case nil: nil
            }
        let word = UInt32(truncatingIfNeeded: number ?? 0)
        switch tunnel.type {
        // Of 24 bits: a port's number was checked, a flow's is cut.
        case .vxlan: return .vxlan(VXLAN(vni: VNI(word).unsafelyUnwrapped))
        case .geneve: return .geneve(Geneve(vni: VNI(word).unsafelyUnwrapped))
        case .gre: return .gre(GRE(key: number.map { UInt32(truncatingIfNeeded: $0) }, hasChecksum: tunnel.hasChecksum))
        }
    }

    private func numberOfFlow(in tunnel: Tunnel) -> UInt64 {
        depend(on: .max, word: 6)
        return key[6] & tunnel.type.greatestKey
    }

    /// With the frame's own congestion bits; congestion that it has met is its own, as Linux and Open vSwitch have it (RFC
    /// 6040 section 4.1 would show it outside too).
    private func tos(of tunnel: Tunnel) -> UInt8 {
        depend(on: 0xffff_0000, word: 0)
        let inner = key.isIP ? UInt8(truncatingIfNeeded: key[4] >> 8) : 0
        if key.isIP { depend(on: 0xff00, word: 4) }
        let congestion = inner & 3 == 3 ? 2 : inner & 3
        switch tunnel.tos {
        case .fixed(let tos): return tos & 0xfc | congestion
        case .inherit: return inner & 0xfc | congestion
        }
    }

    private func ttl(of tunnel: Tunnel) -> UInt8 {
        switch tunnel.ttl {
        case .fixed(let ttl): return ttl
        case .inherit:
            guard key.isIP else { return 64 }
            depend(on: 0xff, word: 4)
            return UInt8(truncatingIfNeeded: key[4])
        }
    }

    // MARK: - The packet around

    /// Goes on with the packet that carries the frame, of which all is known here but UDP's source port: flows see 0.
    private mutating func outside(
        _ outer: FlowKey,
        _ headerLength: UInt8,
        on other: UInt16,
        _ body: (inout Walk) -> Void
    ) {
        let (formerKey, formerWritten, formerPending, formerRecorded) = (
            key.all, written.all, pending.all, recorded.all
        )
        let (formerPendingWords, formerBridge, formerDrop) = (pendingWords, bridge, program.drop)
        let (formerTags, formerWireTags, hadOtherTags, formerChanges) = (tags, wireTags, hasOtherTags, tagChanges)
        let (formerSet, formerStack, formerLength, formerTagCount) = (actionSetFloor, stackFloor, length, tagCount)
        key.all = outer
        written.words.update(repeating: .max, count: FlowKey.wordCount)
        pending.clear()
        recorded.clear()
        pendingWords = 0
        tags = TagStack((0, 0), types: FrameLayout().tagTypes)
        (wireTags, hasOtherTags, isEncapsulated, bridge) = (tags, false, true, other)
        (actionSetFloor, stackFloor) = (actionSetCount, stackCount)
        (length, tagCount) = (length + UInt32(headerLength), 0)
        writeActionSetOutput(Instruction.unsetPort)
        body(&self)
        (actionSetCount, stackCount) = (actionSetFloor, stackFloor)
        (actionSetFloor, stackFloor, length, tagCount) = (formerSet, formerStack, formerLength, formerTagCount)
        (key.all, written.all, pending.all, recorded.all) = (formerKey, formerWritten, formerPending, formerRecorded)
        (pendingWords, bridge, isEncapsulated) = (formerPendingWords, formerBridge, false)
        (tags, wireTags, hasOtherTags, tagChanges) = (formerTags, formerWireTags, hadOtherTags, formerChanges)
        endOther(formerDrop)
    }

    /// Ends what was recorded of a packet in a tunnel: nothing is left of it when it goes nowhere.
    private mutating func close(_ header: TunnelHeader, _ first: Int) {
        while program.count > first + 1, program.steps[program.count - 1].port == nil { program.count -= 1 }
        guard program.count > first + 1 else {
            program.count = first
            return
        }
        var header = header
        header.count = UInt16(program.count - first - 1)
        program.steps[first] = .encapsulate(header)
    }
}
