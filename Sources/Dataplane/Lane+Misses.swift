import CPacket
import Flows

/// Packets of connections that the cache does not know: what their walks will read, and how many there may be.
extension Lane {
    /// Runs whose walks' memory is fetched together: it fits the first cache beside what else is used.
    static var fetchLength: Int { 8 }

    /// Fetches what the walks of the next unknown connections will read, if they go the way of the last walk: a walk waits
    /// for memory twice in each tuple that it searches, and some walks can wait together.
    /// - Parameter run: a multiple of `fetchLength`, at which the walks are by now.
    @inline(never)
    func fetchTables(from run: Int, _ burst: UnsafeMutablePointer<Burst>, runCount: Int) {
        let path = flows.walk.path
        let tupleCount = path.count(at: burst.pointee.context.version)
        guard tupleCount != 0 else { return }
        let next = min(run + Self.fetchLength, runCount)
        if run == 0 { fetchPlaces(run..<next, path, tupleCount, burst) }
        for run in run..<next where flows.runs[run].isRead {
            let key = flows.packetKey(run).words
            for index in 0..<tupleCount { path[index].pointee.fetchRule(key) }
        }
        fetchPlaces(next..<min(next + Self.fetchLength, runCount), path, tupleCount, burst)
    }

    @inline(__always)
    private func fetchPlaces(
        _ runs: Range<Int>,
        _ path: SearchPath,
        _ tupleCount: Int,
        _ burst: UnsafeMutablePointer<Burst>
    ) {
        for run in runs where flows.runs[run].candidate == 0 && flows.runs[run].first >= burst.pointee.firstMiss {
            guard burst.pointee.fetches < burst.pointee.missLimit, readPlain(run, flows.runs[run].first, burst) else {
                continue
            }
            flows.runs[run].isRead = true
            burst.pointee.fetches += 1
            let key = flows.packetKey(run).words
            for index in 0..<tupleCount { path[index].pointee.fetchPlace(key) }
        }
    }

    /// Says how many misses there may be, if there is a limit, and from which packet on: were it always the first, what
    /// comes behind a flood in each burst would never have its turn.
    func beginMisses(_ burst: UnsafeMutablePointer<Burst>) {
        guard flows.missBudget.limits(burst.pointee.count) else { return }
        let now = martlet_nanoseconds()
        burst.pointee.isFlooded = true
        burst.pointee.missLimit = flows.missBudget.limit(of: burst.pointee.port, now: now)
        guard burst.pointee.missLimit < burst.pointee.count else { return }
        burst.pointee.firstMiss = Int(truncatingIfNeeded: (now &* Self.spreading) &>> 32) & (Self.burstLength - 1)
    }

    /// Makes a number that nobody foretells of the time: that of the golden ratio (Knuth, section 6.4).
    private static var spreading: UInt64 { 0x9e37_79b9_7f4a_7c15 }

    /// Whether there is time for a packet of an unknown connection. What is done for it from now on takes of that.
    func admitsMiss(_ burst: UnsafeMutablePointer<Burst>) -> Bool {
        if burst.pointee.misses == 0 && !burst.pointee.isFlooded { beginMisses(burst) }
        guard burst.pointee.misses < burst.pointee.missLimit else { return false }
        burst.pointee.misses += 1
        if burst.pointee.isFlooded { burst.pointee.missSince = martlet_nanoseconds() }
        return true
    }

    /// A limited miss is over.
    @inline(never)
    func endMiss(_ burst: UnsafeMutablePointer<Burst>) {
        burst.pointee.missTime &+= martlet_nanoseconds() &- burst.pointee.missSince
        burst.pointee.missSince = 0
        if flows.walk.tracker.isEstablished { burst.pointee.establishedMisses += 1 }
    }

    @inline(never)
    func chargeMisses(_ burst: UnsafeMutablePointer<Burst>) {
        guard burst.pointee.misses != 0 else { return }
        flows.missBudget.charge(
            burst.pointee.port,
            misses: burst.pointee.misses,
            established: burst.pointee.establishedMisses,
            nanoseconds: burst.pointee.missTime
        )
    }
}
