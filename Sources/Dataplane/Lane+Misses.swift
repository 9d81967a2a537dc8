import CPacket
import Flows

/// Packets of connections that the cache does not know: what their walks will read, and how many there may be.
extension Lane {
    /// Fetches what the walks of a burst's unknown connections will read, if they go the way of the last walk: a walk waits
    /// for memory twice in each tuple that it searches, and the walks of a burst can wait together.
    @inline(never)
    func fetchTables(_ burst: UnsafeMutablePointer<Burst>, runCount: Int) {
        let path = flows.walk.path
        let tupleCount = path.count(at: burst.pointee.context.version)
        guard tupleCount != 0 else { return }
        var last = 0
        var left = burst.pointee.missLimit
        while last < runCount && left > 0 {
            defer { last += 1 }
            guard flows.runs[last].candidate == 0, readPlain(last, flows.runs[last].first, burst) else { continue }
            flows.runs[last].isRead = true
            left -= 1
            let key = flows.packetKey(last).words
            for index in 0..<tupleCount { path[index].pointee.fetchPlace(key) }
        }
        for run in 0..<last where flows.runs[run].candidate == 0 {
            let key = flows.packetKey(run).words
            for index in 0..<tupleCount { path[index].pointee.fetchRule(key) }
        }
    }

    /// Says how many misses there may be, if there is a limit.
    func beginMisses(_ burst: UnsafeMutablePointer<Burst>) {
        guard flows.missBudget.limits(burst.pointee.count) else { return }
        let now = martlet_nanoseconds()
        burst.pointee.missesSince = now
        burst.pointee.missLimit = flows.missBudget.limit(of: burst.pointee.port, now: now)
    }

    /// Whether there is time for a packet of an unknown connection.
    func admitsMiss(_ burst: UnsafeMutablePointer<Burst>) -> Bool {
        if burst.pointee.misses == 0 && burst.pointee.missesSince == 0 { beginMisses(burst) }
        guard burst.pointee.misses < burst.pointee.missLimit else { return false }
        burst.pointee.misses += 1
        return true
    }

    @inline(never)
    func chargeMisses(_ burst: UnsafeMutablePointer<Burst>) {
        guard burst.pointee.misses != 0 else { return }
        let time = martlet_nanoseconds() &- burst.pointee.missesSince
        flows.missBudget.charge(burst.pointee.port, misses: burst.pointee.misses, nanoseconds: time)
    }
}
