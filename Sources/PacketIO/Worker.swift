import CDPDK
import CPacket
import Dataplane
import Glibc
import Synchronization

/// One worker: an lcore that polls its receive queues for ever.
///
/// The memory is shared with the control plane: the plan and `stops` are written there, the figures here. It lives as
/// long as the process, like the lcore.
struct WorkerState: ~Copyable {
    let lcore: UInt32
    /// The worker's number: its lane, and the transmit queue it prefers.
    let number: Int
    let lane: Lane
    let plan: Atomic<UnsafeMutablePointer<PollPlan>>
    let stops = Atomic<Bool>(false)
    let quiescence: OpaquePointer
    /// Microseconds to sleep when there was nothing to do for long; 0 never sleeps.
    let idleSleep: UInt32
    var figures = Figures()
    let burst: UnsafeMutablePointer<Packet?>

    init(
        lcore: UInt32,
        number: Int,
        lane: Lane,
        plan: UnsafeMutablePointer<PollPlan>,
        quiescence: OpaquePointer,
        idleSleep: UInt32
    ) {
        self.lcore = lcore
        self.number = number
        self.lane = lane
        self.plan = Atomic(plan)
        self.quiescence = quiescence
        self.idleSleep = idleSleep
        burst = .allocate(capacity: Lane.burstLength)
        burst.initialize(repeating: nil, count: Lane.burstLength)
    }

    /// Counted by the worker alone.
    struct Figures {
        var turns: UInt64 = 0
        var busyTurns: UInt64 = 0
        var cycles: UInt64 = 0
        var busyCycles: UInt64 = 0
        var packets: UInt64 = 0
    }
}

/// The packet loop. A trivial value: the loop keeps its pointers in registers.
struct Worker {
    private let state: UnsafeMutablePointer<WorkerState>
    private let lane: Lane
    private let number: Int
    private let burst: UnsafeMutablePointer<Packet?>

    /// The body of an EAL thread; `argument` is the worker's `WorkerState`.
    static let main: @convention(c) (UnsafeMutableRawPointer?) -> Int32 = { argument in
        // Launched by `WorkerPool`, which always passes it.
        let state = argument.unsafelyUnwrapped.assumingMemoryBound(to: WorkerState.self)
        Worker(state).run()
        return 0
    }

    /// Sends what the lane of a `WorkerState` holds; it is in the midst of a burst.
    static let drain: martlet_drain = { context in
        let state = context.unsafelyUnwrapped.assumingMemoryBound(to: WorkerState.self)
        Worker(state).sendAll(state.pointee.plan.load(ordering: .acquiring).pointee.slots)
    }

    /// Puts a fragment to the others that the worker keeps for an endpoint.
    static let join: martlet_join = { context, packet, fragment, port in
        let state = context.unsafelyUnwrapped.assumingMemoryBound(to: WorkerState.self)
        return Worker(state).join(packet.unsafelyUnwrapped, fragment, from: port)
    }

    private init(_ state: UnsafeMutablePointer<WorkerState>) {
        self.state = state
        lane = state.pointee.lane
        number = state.pointee.number
        burst = state.pointee.burst
    }

    private func run() {
        let quiescence = state.pointee.quiescence
        let thread = state.pointee.lcore
        rte_rcu_qsbr_thread_online(quiescence, thread)
        var now = Dataplane.now
        var mark = rte_rdtsc()
        var nextTick = mark
        let started = mark
        let frequency = rte_get_tsc_hz()
        var idleTurns: UInt32 = 0
        while !state.pointee.stops.load(ordering: .relaxed) {
            let received = turn(now: now)
            rte_rcu_qsbr_quiescent(quiescence, thread)
            let time = rte_rdtsc()
            account(received: received, cycles: time &- mark, total: time &- started)
            mark = time
            if time >= nextTick {
                now = Dataplane.now
                lane.maintain(now: now)
                if lane.heldCount != 0 { retryHeld(now: now) }
                if lane.waitingFragmentCount != 0 { dropLateFragments(now: now) }
                expireFragments()
                nextTick = time &+ frequency / 1000
            }
            idleTurns = received == 0 ? idleTurns &+ 1 : 0
            if idleTurns > Self.idleTurnsBeforeSleep && state.pointee.idleSleep != 0 { sleep() }
        }
        rte_rcu_qsbr_thread_offline(quiescence, thread)
    }

    /// Gives packets that wait for a neighbor another try.
    @inline(never)
    private func retryHeld(now: UInt32) {
        lane.retryHeld(now: now)
        sendAll(state.pointee.plan.load(ordering: .acquiring).pointee.slots)
        if lane.hasWholeDatagrams { receiveDatagrams(now: now) }
    }

    /// Switches datagrams whose last fragment has come.
    @inline(never)
    private func receiveDatagrams(now: UInt32) {
        lane.receiveDatagrams(now: now)
        sendAll(state.pointee.plan.load(ordering: .acquiring).pointee.slots)
    }

    @inline(never)
    private func dropLateFragments(now: UInt32) {
        lane.dropLateFragments(now: now)
        sendAll(state.pointee.plan.load(ordering: .acquiring).pointee.slots)
    }

    // MARK: - Fragments

    private func join(_ packet: Packet, _ fragment: martlet_fragment, from port: UInt16) -> Packet? {
        let slot = state.pointee.plan.load(ordering: .acquiring).pointee.slots + Int(fragment.endpoint)
        var packet: Packet? = packet
        defer { martlet_free(&packet, 1) }
        guard let table = slot.pointee.fragments.map({ $0 + number }) else {
            lane.drop(.tunnelFragment, on: port, count: 1)
            lane.sample(packet.unsafelyUnwrapped, .tunnelFragment, on: port)
            return nil
        }
        let outcome = table.pointee.join(packet.unsafelyUnwrapped, fragment, at: martlet_nanoseconds())
        lane.drop(.tunnelFragmentInvalid, on: port, count: outcome.invalid)
        lane.drop(.tunnelFragmentRoom, on: port, count: outcome.refused)
        lane.dropExpired(outcome.expired, at: fragment.endpoint)
        return outcome.whole
    }

    private func expireFragments() {
        let plan = state.pointee.plan.load(ordering: .acquiring).pointee
        for index in 0..<plan.joiningCount {
            let port = plan.joining[index]
            guard let table = plan.slots[Int(port)].fragments.map({ $0 + number }) else { continue }
            lane.dropExpired(table.pointee.expire(at: martlet_nanoseconds()), at: port)
        }
    }

    // MARK: - Turns

    /// Turns without a packet before a worker may sleep: some milliseconds.
    private static var idleTurnsBeforeSleep: UInt32 { 65_536 }

    /// Sleeps offline, so that the control plane need not wait for this worker. Rings keep what arrives meanwhile.
    @inline(never)
    private func sleep() {
        rte_rcu_qsbr_thread_offline(state.pointee.quiescence, state.pointee.lcore)
        usleep(state.pointee.idleSleep)
        rte_rcu_qsbr_thread_online(state.pointee.quiescence, state.pointee.lcore)
    }

    @inline(__always)
    private func account(received: Int, cycles: UInt64, total: UInt64) {
        state.pointee.figures.turns &+= 1
        state.pointee.figures.cycles = total
        guard received != 0 else { return }
        state.pointee.figures.busyTurns &+= 1
        state.pointee.figures.busyCycles &+= cycles
        state.pointee.figures.packets &+= UInt64(received)
    }

    /// Polls every queue once.
    /// - Returns: how many packets there were.
    @inline(__always)
    private func turn(now: UInt32) -> Int {
        let plan = state.pointee.plan.load(ordering: .acquiring).pointee
        var total = 0
        for index in 0..<plan.entryCount {
            let entry = plan.entries + index
            let count = receive(entry)
            guard count != 0 else { continue }
            total &+= count
            if let tap = entry.pointee.slot.tap { tap.pointee.copy(burst, count: count, received: true) }
            lane.receive(burst, count: count, from: entry.pointee.port, now: now)
            sendAll(plan.slots)
            if lane.hasWholeDatagrams { receiveDatagrams(now: now) }
        }
        return total
    }

    @inline(__always)
    private func receive(_ entry: UnsafeMutablePointer<PollEntry>) -> Int {
        let limit = UInt16(Lane.burstLength)
        switch entry.pointee.slot.kind {
        case .ethernet:
            return Int(martlet_eth_receive(entry.pointee.slot.ethernetPort, entry.pointee.queue, burst, limit))
        case .vhost:
            // Set for every vhost port before it is published.
            let guest = entry.pointee.slot.vhost.unsafelyUnwrapped
            return guest.pointee.receive(burst, pair: entry.pointee.queue, pool: entry.pointee.slot.pool)
        case .ring:
            return Int(martlet_ring_receive(entry.pointee.slot.receiveRing, burst, UInt32(limit)))
        case .none:
            return 0
        }
    }

    /// Empties the lane: sends the output queues, frees the dropped packets.
    @inline(__always)
    private func sendAll(_ slots: UnsafeMutablePointer<DeviceSlot>) {
        for index in 0..<lane.outputCount.pointee {
            let port = lane.outputs[index]
            send(to: port, slots + Int(port))
        }
        lane.outputCount.pointee = 0
        if lane.dropCount.pointee != 0 {
            martlet_free(lane.drops, UInt32(lane.dropCount.pointee))
            lane.dropCount.pointee = 0
        }
    }

    @inline(__always)
    private func send(to port: UInt16, _ slot: UnsafeMutablePointer<DeviceSlot>) {
        let packets = lane.queue(port)
        let queued = lane.queued(port)
        if let tap = slot.pointee.tap { tap.pointee.copy(packets, count: queued.count, received: false) }
        switch slot.pointee.kind {
        case .ethernet:
            let sent = transmit(packets, count: queued.count, slot)
            settle(port, packets, sent: sent, queued, unsent: .transmitFull)
        case .vhost:
            let guest = slot.pointee.vhost.unsafelyUnwrapped
            let result = guest.pointee.send(packets, count: queued.count, worker: number)
            // librte_vhost copies into the guest's memory, so that all packets stay ours.
            let bytes = result.sent == queued.count ? queued.bytes : Self.bytes(packets, result.sent)
            sample(packets, result.sent, queued, result.reason, on: port)
            martlet_free(packets, UInt32(queued.count))
            lane.finish(port, sent: result.sent, bytes: bytes, unsent: result.reason)
        case .ring:
            let sent = Int(martlet_ring_transmit(slot.pointee.transmitRing, packets, UInt32(queued.count)))
            settle(port, packets, sent: sent, queued, unsent: .transmitFull)
        case .none:
            settle(port, packets, sent: 0, queued, unsent: .transmitDown)
        }
    }

    /// Hands packets to an ethdev, on the worker's own transmit queue or under the lock of a shared one.
    @inline(__always)
    private func transmit(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        _ slot: UnsafeMutablePointer<DeviceSlot>
    ) -> Int {
        guard let locks = slot.pointee.transmitLocks else {
            return Int(martlet_eth_transmit(slot.pointee.ethernetPort, UInt16(number), packets, UInt16(count)))
        }
        let queue = number % Int(slot.pointee.transmitQueueCount)
        martlet_lock(locks + queue)
        let sent = martlet_eth_transmit(slot.pointee.ethernetPort, UInt16(queue), packets, UInt16(count))
        martlet_unlock(locks + queue)
        return Int(sent)
    }

    /// Frees what a device did not take, and counts both parts.
    @inline(__always)
    private func settle(
        _ port: UInt16,
        _ packets: UnsafeMutablePointer<Packet?>,
        sent: Int,
        _ queued: Lane.OutputQueue,
        unsent reason: DropReason
    ) {
        var bytes = queued.bytes
        if sent != queued.count {
            bytes &-= Self.bytes(packets + sent, queued.count - sent)
            sample(packets, sent, queued, reason, on: port)
            martlet_free(packets + sent, UInt32(queued.count - sent))
        }
        lane.finish(port, sent: sent, bytes: bytes, unsent: reason)
    }

    /// Keeps a copy of the first packet that a device did not take.
    @inline(__always)
    private func sample(
        _ packets: UnsafeMutablePointer<Packet?>,
        _ sent: Int,
        _ queued: Lane.OutputQueue,
        _ reason: DropReason,
        on port: UInt16
    ) {
        guard sent != queued.count else { return }
        lane.sample(packets[sent].unsafelyUnwrapped, reason, on: port)
    }

    private static func bytes(_ packets: UnsafeMutablePointer<Packet?>, _ count: Int) -> UInt64 {
        var sum: UInt64 = 0
        for index in 0..<count { sum &+= UInt64(packets[index].unsafelyUnwrapped.pointee.packet_length) }
        return sum
    }
}
