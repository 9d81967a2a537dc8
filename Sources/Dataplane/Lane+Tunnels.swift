import CPacket
import Wire

/// Frames that come out of tunnels: they go on as if they had come from the tunnel's port, with the same one look-up.
extension Lane {
    /// A packet that others are held against, and what is known of it: its source and the counters of its tunnel.
    private struct Former {
        let packet: PlainTunnelPacket
        let origin: UInt16
        let row: UnsafeMutablePointer<UInt64>
    }

    /// Takes the frames out of the packets that are for an endpoint's tunnels, and switches them.
    /// - Parameter port: a wire on the endpoint's bridge.
    /// - Returns: how many packets are left, at the front of `packets`, that are the bridge's own.
    @inline(never)
    func takeTunnelled(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        _ context: WalkContext
    ) -> Int {
        let reader = TunnelReader(underlay: context.state.underlay, ingress: context.state.ports + Int(port))
        var (index, left, taken) = (0, 0, 0)
        var bytes: UInt64 = 0
        var former: Former?
        while index < count {
            let packet = packets[index].unsafelyUnwrapped
            let length = UInt64(packet.pointee.packet_length)
            let plain = PlainTunnelPacket(packet)
            if let plain, let former, plain.isLike(former.packet) {
                strip(packet, plain.offset, length: plain.length, former.row)
                note(packet, from: former.origin, taken)
                taken &+= 1
            } else {
                switch takeOther(packet, plain, reader, taken, &former, from: port, context.state) {
                case .bridges:
                    packets[left] = packet
                    left &+= 1
                    index &+= 1
                    continue
                case .whole(let whole):
                    // It is read like any other, but what was received is the fragment.
                    packets[index] = whole
                    bytes &+= length &- UInt64(whole.pointee.packet_length)
                    continue
                case .frame: taken &+= 1
                case .ended: break
                }
            }
            bytes &+= length
            index &+= 1
        }
        guard left < count || bytes != 0 else { return count }
        let row = counters.row(port)
        row[CounterTable.receivedPackets] &+= UInt64(count &- left)
        row[CounterTable.receivedBytes] &+= bytes
        if taken != 0 { switchTunnelled(taken, from: port, context) }
        return left
    }

    private enum Fate {
        /// It is the bridge's own.
        case bridges
        /// Its frame was noted.
        case frame
        /// The last fragment of a packet, which is whole now.
        case whole(Packet)
        /// It was dropped, or waits for other fragments.
        case ended
    }

    /// Takes the frame out of a packet unlike the one before.
    /// - Parameters:
    ///   - place: where its frame would be noted.
    ///   - former: becomes this packet, if others can be held against it.
    @inline(never)
    private func takeOther(
        _ packet: Packet,
        _ plain: PlainTunnelPacket?,
        _ reader: TunnelReader,
        _ place: Int,
        _ former: inout Former?,
        from port: UInt16,
        _ state: ForwardingState
    ) -> Fate {
        var source = TunnelSources.Source()
        switch reader.read(packet, plain, &source) {
        case .none: return .bridges
        case .fault(let reason): discard(packet, reason, on: port)
        case .fragment(let fragment):
            if let whole = joined(packet, fragment, from: port) { return .whole(whole) }
        case .frame(let offset, let length):
            guard let origin = origin(of: source, packet, from: port, state) else { break }
            let tunnel = flows.cache.sources.port(origin)
            let row = counters.row(tunnel)
            // Of the marks only ECT(1) and CE, the odd ones, make others of those within.
            let isMarked = source.tos & 1 != 0
            if let plain, !isMarked { former = Former(packet: plain, origin: origin, row: row) }
            strip(packet, offset, length: length, row)
            guard !isMarked || packet.takeCongestion(source.tos & 3) else {
                discard(packet, .tunnelCongestion, on: tunnel)
                break
            }
            note(packet, from: origin, place)
            return .frame
        }
        return .ended
    }

    /// Notes a frame and its source, which nobody takes the place of until the burst is over.
    @inline(__always)
    private func note(_ packet: Packet, from origin: UInt16, _ place: Int) {
        flows.tunnelled[place] = packet
        flows.origins[place] = origin
        if beginsRun(place) { flows.cache.sources.retain(origin) }
    }

    private func switchTunnelled(_ count: Int, from port: UInt16, _ context: WalkContext) {
        receiveFromTunnels(flows.tunnelled, count: count, from: port, context)
        for index in 0..<count where beginsRun(index) { flows.cache.sources.release(flows.origins[index]) }
    }

    /// Whether a frame has another source than the one before it.
    @inline(__always)
    private func beginsRun(_ place: Int) -> Bool {
        place == 0 || flows.origins[place] != flows.origins[place &- 1]
    }

    /// The packet that a fragment was missing of; nil when it waits for others, or was dropped.
    @inline(never)
    private func joined(_ fragment: Packet, _ description: martlet_fragment, from port: UInt16) -> Packet? {
        guard let join else {
            discard(fragment, .tunnelFragment, on: port)
            return nil
        }
        return martlet_joined(join, drainContext.pointee, fragment, description, port)
    }

    /// Counts fragments that waited too long for others at an endpoint; one that is gone has no counters any more.
    public func dropExpired(_ count: Int, at endpoint: UInt16) {
        let state = state.pointee.current.load(ordering: .acquiring).pointee
        guard state.ports[Int(endpoint)].endpoint != Underlay.none else { return }
        counters.drop(.tunnelFragmentExpired, on: endpoint, count: count)
    }

    /// The number of a packet's source; nil when it was dropped.
    @inline(__always)
    private func origin(
        of source: TunnelSources.Source,
        _ packet: Packet,
        from port: UInt16,
        _ state: ForwardingState
    ) -> UInt16? {
        guard state.underlay.endpoint(source.remote) == Underlay.none else {
            discard(packet, .tunnelLoop, on: port)
            return nil
        }
        guard let (origin, tunnel) = flows.cache.sources.number(of: source, state.underlay) else {
            discard(packet, .tunnelSources, on: port)
            return nil
        }
        guard tunnel != PortEntry.noPort else {
            discard(packet, .tunnelUnknown, on: port)
            return nil
        }
        return origin
    }

    /// Leaves a frame of what carried it, and counts it.
    /// - Parameter row: of the tunnel.
    @inline(__always)
    private func strip(_ packet: Packet, _ offset: Int, length: Int, _ row: UnsafeMutablePointer<UInt64>) {
        packet.pointee.data_off &+= UInt16(truncatingIfNeeded: offset)
        packet.pointee.data_length &-= UInt16(truncatingIfNeeded: offset)
        packet.pointee.packet_length &-= UInt32(truncatingIfNeeded: offset)
        truncate(packet, to: UInt32(truncatingIfNeeded: length))
        // They were the outer headers'.
        packet.forgetChecksums()
        row[CounterTable.receivedPackets] &+= 1
        row[CounterTable.receivedBytes] &+= UInt64(truncatingIfNeeded: length)
    }
}
