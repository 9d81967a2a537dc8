import CPacket

/// Fragments that are tracked with their datagram: they wait for the others as they came in, and all come in again then, of
/// which it is known what the datagram is (`PiecewiseDatagram`).
extension Lane {
    private var fragments: FragmentStore { flows.walk.tracker.fragments }

    /// Buffers of fragments that may wait at once.
    public static var fragmentBufferLimit: Int { FragmentStore.bufferLimit }

    /// How many fragments wait.
    public var waitingFragmentCount: Int { fragments.pieceCount }

    /// There are datagrams whose last fragment has come.
    @inline(__always)
    public var hasWholeDatagrams: Bool { flows.walk.tracker.fragments.firstWhole != 0 }

    /// Keeps room for other ports' fragments behind one of a run that waits now.
    func keepWaiting(_ run: Int) {
        let (origin, port) = (flows.runs[run].origin, flows.runs[run].port)
        if origin != port {
            fragments.setOrigin(origin)
            flows.cache.sources.retain(origin)
        }
        while true {
            let number = fragments.surplus(of: port)
            guard number != 0 else { return }
            drop(number, .fragmentRoom)
        }
    }

    /// Drops fragments whose datagram was not whole in time. Call it every millisecond, and free what is dropped then.
    /// - Parameter now: seconds, as `receive` has them.
    public func dropLateFragments(now: UInt32) {
        for number in fragments.nextNumbers(64) where fragments.isLate(number, now: now) {
            drop(number, .fragmentExpired)
        }
    }

    private func drop(_ number: FragmentStore.Number, _ reason: DropReason) {
        let port = fragments.port(of: number)
        while let piece = fragments.takePiece(of: number) {
            flows.cache.sources.release(piece.origin)
            keepRoomForDrops()
            discard(piece.packet, reason, on: port)
        }
        fragments.remove(number)
    }

    // MARK: - Coming in again

    /// Switches the fragments of datagrams that are whole, in their order. Call it when there are some, and send what is
    /// queued then.
    /// - Parameter now: seconds, as `receive` has them.
    /// - Precondition: the output queues and the drop list are empty.
    public func receiveDatagrams(now: UInt32) {
        var isFirst = true
        while hasWholeDatagrams {
            let number = fragments.firstWhole
            flows.walk.tracker.beginDatagram(fragments.track(number))
            while true {
                let count = takePieces(of: number)
                guard count != 0 else { break }
                if !isFirst { martlet_drained(drain, drainContext.pointee) }
                isFirst = false
                receivePieces(count, from: fragments.port(of: number), now: now)
            }
            flows.walk.tracker.endDatagram()
            fragments.removeWhole()
        }
    }

    /// Takes no more pieces of a datagram than a burst has.
    private func takePieces(of number: FragmentStore.Number) -> Int {
        var count = 0
        while count < Self.burstLength, let piece = fragments.takePiece(of: number) {
            flows.pieces[count] = piece
            flows.pieceBurst[count] = piece.packet
            count += 1
        }
        flows.pieceCount.pointee = count
        return count
    }

    private func receivePieces(_ count: Int, from port: UInt16, now: UInt32) {
        defer { flows.pieceCount.pointee = 0 }
        guard flows.pieces[0].origin == port else { return receiveTunnelledPieces(count, from: port, now: now) }
        // They were counted when they came in first.
        let row = counters.row(port)
        row[CounterTable.receivedPackets] &-= UInt64(count)
        for index in 0..<count {
            row[CounterTable.receivedBytes] &-= UInt64(flows.pieces[index].packet.pointee.packet_length)
        }
        receive(flows.pieceBurst, count: count, from: port, now: now)
    }

    /// The same of fragments that came out of tunnels.
    private func receiveTunnelledPieces(_ count: Int, from port: UInt16, now: UInt32) {
        let version = self.state.pointee.versions.current
        let state = self.state.pointee.current.load(ordering: .acquiring).pointee
        let context = WalkContext(state: state, version: version, now: now, hasEffects: true)
        let sources = flows.cache.sources
        var left = 0
        for index in 0..<count {
            let piece = flows.pieces[index]
            // In another configuration the tunnel may be another one.
            guard let (origin, tunnel) = sources.number(of: sources.source(piece.origin), state.underlay),
                tunnel != PortEntry.noPort
            else {
                discard(piece.packet, .tunnelUnknown, on: port)
                continue
            }
            (flows.pieceBurst[left], flows.origins[left]) = (piece.packet, origin)
            left += 1
        }
        if left != 0 { receiveFromTunnels(flows.pieceBurst, count: left, from: port, context) }
        for index in 0..<count { sources.release(flows.pieces[index].origin) }
    }

    /// The look-ups of a piece that have counted it already.
    func formerVisits(of packet: Packet) -> Int {
        for index in 0..<flows.pieceCount.pointee where flows.pieces[index].packet == packet {
            return Int(flows.pieces[index].visitCount)
        }
        return 0
    }

    /// Pieces of a datagram are at hand, which were admitted before.
    var hasPieces: Bool { flows.pieceCount.pointee != 0 }
}
