import CPacket

/// How much of a lane's time goes to packets of connections that its cache does not know, so that known ones keep theirs
/// during a flood of new ones: a share, divided among the ports that have such packets. It is asked while there are known
/// connections and a port has more packets waiting than a burst takes; else nothing is limited.
struct MissBudget {
    /// One part of this many of the time.
    private static var share: UInt64 { 4 }
    /// Nanoseconds that a port may save up.
    private static var creditLimit: Int64 { 100_000 }

    private struct Credit {
        var nanoseconds: Int64 = 0
        var since: UInt64 = 0
        var turn: UInt32 = 0
    }

    private struct State {
        var turn: UInt32 = 1
        /// Ports that had misses in this turn and in the former one.
        var portCount: UInt64 = 0
        var formerPortCount: UInt64 = 0
        /// Packets of known connections in this turn.
        var hits = 0
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
    func note(hits: Int) { state.pointee.hits &+= hits }

    /// Whether misses of a burst of so many packets are limited.
    func limits(_ count: Int) -> Bool { count == Lane.burstLength && state.pointee.hits > Lane.burstLength }

    /// How many misses of a port there may be by now.
    /// - Parameter now: nanoseconds.
    func limit(of port: UInt16, now: UInt64) -> Int {
        let credit = credits + Int(port)
        if credit.pointee.turn != state.pointee.turn {
            credit.pointee.turn = state.pointee.turn
            state.pointee.portCount += 1
        }
        let ports = max(state.pointee.portCount, state.pointee.formerPortCount)
        let earned = min((now &- credit.pointee.since) / (Self.share * ports), UInt64(Self.creditLimit))
        credit.pointee.since = now
        credit.pointee.nanoseconds = min(credit.pointee.nanoseconds + Int64(earned), Self.creditLimit)
        return max(0, Int(credit.pointee.nanoseconds / max(state.pointee.cost, 1)))
    }

    /// Takes the time of misses from a port's credit.
    func charge(_ port: UInt16, misses: Int, nanoseconds: UInt64) {
        let time = Int64(truncatingIfNeeded: nanoseconds)
        credits[Int(port)].nanoseconds -= time
        state.pointee.cost = (state.pointee.cost * 7 + time / Int64(misses)) / 8
    }

    /// Call it every millisecond.
    func endTurn() {
        state.pointee.turn &+= 1
        state.pointee.formerPortCount = state.pointee.portCount
        state.pointee.portCount = 0
        state.pointee.hits = 0
    }
}
