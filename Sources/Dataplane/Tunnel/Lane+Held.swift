import CPacket

/// Packets whose way leads through a neighbor that is being asked for: some wait as they came in, and come in again.
extension Lane {
    struct Held: BitwiseCopyable {
        let packet: Packet
        /// Where it came from, and the tunnel that it goes to.
        let port: UInt16
        let output: UInt16
        /// Whom it waits for: its memory is the configuration's.
        let neighbor: NeighborTable.Cell
        let generation: UInt32
        /// Nanoseconds.
        let since: UInt64
    }

    /// No more than an output queue takes at once.
    static var heldLimit: Int { burstLength }
    /// So that nobody takes all of it.
    private static var heldLimitOfPort: Int { 8 }
    /// Nanoseconds.
    private static var patience: UInt64 { 1_000_000_000 }

    /// How many packets wait.
    public var heldCount: Int { flows.heldCount.pointee }

    /// Has a packet wait, if all that its program does is to send it to a neighbor who is not known.
    /// - Returns: false when it may not.
    func hold(_ packet: Packet, _ program: Program.Sequence, last: Int, from port: UInt16, _ state: ForwardingState)
        -> Bool
    {
        guard case .noStation(let output, let neighbor?) = program.steps[last],
            Program.Sequence.output(of: program.steps, 0...last) == output, heldCount < Self.heldLimit
        else { return false }
        var ofPort = 0
        for index in 0..<heldCount where flows.held[index].port == port { ofPort += 1 }
        guard ofPort < Self.heldLimitOfPort else { return false }
        // One that comes in again has waited since before.
        let former = flows.heldSince.pointee
        let since = former == 0 ? martlet_nanoseconds() : former
        flows.held[heldCount] = Held(
            packet: packet,
            port: port,
            output: output,
            neighbor: neighbor,
            generation: state.underlay.generation,
            since: since
        )
        flows.heldCount.pointee += 1
        return true
    }

    /// Has the packets come in again whose neighbors are known by now, and drops those that have waited too long. Call it
    /// every millisecond, and send what is queued then.
    /// - Parameter now: seconds, as `receive` has them.
    public func retryHeld(now: UInt32) {
        let count = heldCount
        guard count != 0 else { return }
        let time = martlet_nanoseconds()
        let generation = state.pointee.current.load(ordering: .acquiring).pointee.underlay.generation
        flows.heldCount.pointee = 0
        samples.begin(now)
        for index in 0..<count {
            let held = flows.held[index]
            guard time &- held.since < Self.patience else {
                discard(held.packet, .neighborUnknown, on: held.output)
                continue
            }
            // In another configuration its way may be another one.
            guard held.generation != generation || NeighborTable.mac(of: held.neighbor.pointee.station) != nil else {
                flows.held[heldCount] = held
                flows.heldCount.pointee += 1
                continue
            }
            // It was counted when it came in first.
            let row = counters.row(held.port)
            row[CounterTable.receivedPackets] &-= 1
            row[CounterTable.receivedBytes] &-= UInt64(held.packet.pointee.packet_length)
            flows.heldSince.pointee = held.since
            flows.tunnelled[0] = held.packet
            receive(flows.tunnelled, count: 1, from: held.port, now: now)
        }
        flows.heldSince.pointee = 0
    }
}
