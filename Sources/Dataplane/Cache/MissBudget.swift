import CPacket

/// How much of a lane's time goes to packets of connections that its cache does not know, so that known ones keep theirs
/// during a flood of new ones: a sixteenth, more when fewer than a third of the packets are of known ones, up to half when
/// misses turn out to be of connections that are established: the cache is to know those soon. It is divided among the ports
/// that have such packets, and asked for while a port has more packets waiting than a burst takes.
struct MissBudget {
    /// Parts that times are divided into.
    private static var whole: UInt64 { 256 }
    /// Nanoseconds that a port may save up.
    private static var creditLimit: Int64 { 100_000 }

    private struct Credit {
        var nanoseconds: Int64 = 0
        var since: UInt64 = 0
        var turn: UInt32 = 0
    }

    /// Of a turn: packets, those of known connections; misses that there was time for, those of established connections.
    private struct Traffic {
        var packets: UInt64 = 0
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        var established: UInt64 = 0
    }

    private struct State {
        var turn: UInt32 = 1
        /// Ports that had misses in this turn and in the former one.
        var portCount: UInt64 = 0
        var formerPortCount: UInt64 = 0
        var traffic = Traffic()
        var formerTraffic = Traffic()
        /// Of a miss of late, nanoseconds.
        var cost: Int64 = 1000
    }

    private let credits: UnsafeMutablePointer<Credit>
    private let state: UnsafeMutablePointer<State>

    init() {
        credits = .allocate(capacity: PortIndex.capacity)
        credits.initialize(repeating: Credit(), count: PortIndex.capacity)
        state = .allocate(capacity: 1)
        state.initialize(to: State())
    }

    func free() {
        credits.deallocate()
        state.deallocate()
    }

    @inline(__always)
    func note(packets: Int, hits: Int) {
        state.pointee.traffic.packets &+= UInt64(packets)
        state.pointee.traffic.hits &+= UInt64(hits)
    }

    /// The part of the time that misses have. By what comes in, and not by how much of it: with time for fewer packets
    /// there are as many of known connections among them.
    private var share: UInt64 {
        let (now, former) = (state.pointee.traffic, state.pointee.formerTraffic)
        let packets = now.packets + former.packets
        guard packets != 0 else { return Self.whole }
        let left = Self.whole - min(Self.whole * 15 / 16, (now.hits + former.hits) * Self.whole * 3 / packets)
        let ofEstablished = (now.established + former.established) * Self.whole / 2
        return max(left, ofEstablished / max(now.misses + former.misses, 1))
    }

    /// Whether misses of a burst of so many packets are limited.
    func limits(_ count: Int) -> Bool { count == Lane.burstLength && share < Self.whole * 15 / 16 }

    /// How many misses of a port there may be by now.
    /// - Parameter now: nanoseconds.
    func limit(of port: UInt16, now: UInt64) -> Int {
        let credit = credits + Int(port)
        if credit.pointee.turn != state.pointee.turn {
            credit.pointee.turn = state.pointee.turn
            state.pointee.portCount += 1
        }
        let ports = max(state.pointee.portCount, state.pointee.formerPortCount)
        let parts = min(now &- credit.pointee.since, UInt64(Self.creditLimit) * Self.whole) * share
        let earned = min(parts / (Self.whole * ports), UInt64(Self.creditLimit))
        credit.pointee.since = now
        credit.pointee.nanoseconds = min(credit.pointee.nanoseconds + Int64(earned), Self.creditLimit)
        guard credit.pointee.nanoseconds > 0 else { return 0 }
        // One at least, whatever the last ones cost: the next may be quick.
        return max(1, Int(credit.pointee.nanoseconds / max(state.pointee.cost, 1)))
    }

    /// Takes the time of misses from a port's credit.
    /// - Parameter established: how many of them were of established connections.
    func charge(_ port: UInt16, misses: Int, established: Int, nanoseconds: UInt64) {
        let time = Int64(truncatingIfNeeded: nanoseconds)
        state.pointee.traffic.misses &+= UInt64(misses)
        state.pointee.traffic.established &+= UInt64(established)
        credits[Int(port)].nanoseconds -= time
        state.pointee.cost = (state.pointee.cost * 7 + time / Int64(misses)) / 8
    }

    /// Call it every millisecond.
    func endTurn() {
        state.pointee.turn &+= 1
        state.pointee.formerPortCount = state.pointee.portCount
        state.pointee.portCount = 0
        state.pointee.formerTraffic = state.pointee.traffic
        state.pointee.traffic = Traffic()
    }
}
