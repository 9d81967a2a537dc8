import CPacket
import Flows
import Wire

/// The way of a burst through a bridge that has flows: keys, then buckets, then entries, then programs, so that every
/// line of memory is on its way before it is needed.
extension Lane {
    /// Consecutive packets with the same key.
    @usableFromInline struct FlowRun: BitwiseCopyable {
        var hash: UInt64 = 0
        var candidate: UInt32 = 0
        /// The first of its packets in the burst; they end where the next run begins.
        private var firstPlace: UInt16
        /// What begins its key, and the port that it comes from: the same, but for packets out of tunnels.
        let origin: UInt16
        let port: UInt16
        /// The key has more than its first five words.
        var isLong = false
        /// `PlainPacket` read its packets. The others' runs have one packet each, whose flow key and layout are noted.
        var isPlain = false
        /// The flow key of a plain run's first packet is noted all the same.
        var isRead = false

        @inline(__always)
        init(first: Int, origin: UInt16, port: UInt16) {
            firstPlace = UInt16(truncatingIfNeeded: first)
            self.origin = origin
            self.port = port
        }

        @inline(__always)
        var first: Int {
            get { Int(firstPlace) }
            set { firstPlace = UInt16(truncatingIfNeeded: newValue) }
        }
    }

    /// Where a burst came from, and by what it is switched.
    struct Burst {
        let packets: UnsafeMutablePointer<Packet?>
        let count: Int
        let port: UInt16
        /// They came out of tunnels.
        let isTunnelled: Bool
        /// It is one packet, which waited for a neighbor and comes in again.
        let isRetry: Bool
        let context: WalkContext
        let versions: Versions
        /// Of the cache, when the burst's keys were taken.
        let interestVersion: UInt64
        /// Misses, and how many there may be. If that is limited: from which packet on, since when there is one, 0 for none,
        /// and what they took, in nanoseconds.
        var misses = 0
        var missLimit = Int.max
        var firstMiss = 0
        var isFlooded = false
        var missSince: UInt64 = 0
        var missTime: UInt64 = 0
        var establishedMisses = 0
        /// Misses that were prepared for.
        var fetches = 0
        /// Packets that the cache knew; those of them that a wildcard entry answered for.
        var hits = 0
        var wildcardHits = 0
    }

    /// Every entry of the lane's cache was held against the tables of this version, or a newer one.
    var sweptVersion: UInt64 { flows.cache.sweptVersion }

    @inline(never)
    func receiveByFlows(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        _ context: WalkContext
    ) {
        let burst = begin(packets, count: count, from: port, isTunnelled: false, context)
        switchRuns(burst, takeKeys(burst, count: count))
    }

    /// The same of frames that came out of tunnels, whose origins are noted.
    @inline(never)
    func receiveFromTunnels(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        _ context: WalkContext
    ) {
        let burst = begin(packets, count: count, from: port, isTunnelled: true, context)
        switchRuns(burst, takeTunnelKeys(burst, count: count))
    }

    private func begin(
        _ packets: UnsafeMutablePointer<Packet?>,
        count: Int,
        from port: UInt16,
        isTunnelled: Bool,
        _ context: WalkContext
    ) -> UnsafeMutablePointer<Burst> {
        flows.burst.pointee = Burst(
            packets: packets,
            count: count,
            port: port,
            isTunnelled: isTunnelled,
            isRetry: flows.heldSince.pointee != 0,
            context: context,
            versions: state.pointee.versions,
            interestVersion: flows.cache.masks.interestVersion
        )
        return flows.burst
    }

    @inline(__always)
    private func switchRuns(_ burst: UnsafeMutablePointer<Burst>, _ runCount: Int) {
        var unknownCount = 0
        let isTracking = flows.walk.tracker.table.isUsed
        for run in 0..<runCount {
            let candidate = flows.cache.index.candidate(flows.runs[run].hash)
            flows.runs[run].candidate = candidate
            if candidate == 0 { unknownCount &+= 1 }
            martlet_prefetch(flows.cache.entry(candidate))
            if isTracking { martlet_prefetch(flows.cache.connection(candidate)) }
        }
        if unknownCount != 0 { beginMisses(burst) }
        for run in 0..<runCount {
            let program = flows.cache.entry(flows.runs[run].candidate).pointee.program
            martlet_prefetch(flows.cache.programs.header(program))
        }
        if isTracking { fetchConnections(runCount) }
        for run in 0..<runCount {
            if run &+ Self.fetchDistance < runCount {
                let candidate = flows.runs[run &+ Self.fetchDistance].candidate
                flows.cache.programs.fetchTunnel(flows.cache.entry(candidate).pointee.program)
            }
            if unknownCount != 0 && run % Self.fetchLength == 0 { fetchTables(from: run, burst, runCount: runCount) }
            switchRun(run, burst)
        }
        if burst.pointee.isFlooded { chargeMisses(burst) }
        let hits = burst.pointee.hits &- burst.pointee.wildcardHits
        flows.cache.statistics.pointee.exactHits &+= UInt64(hits)
        flows.cache.statistics.pointee.wildcardHits &+= UInt64(burst.pointee.wildcardHits)
        // The others take of the budget, and would make it small.
        flows.missBudget.note(packets: burst.pointee.count, hits: hits)
    }

    /// Runs between the fetch of what a tunnel's program has behind its header and its use.
    private static var fetchDistance: Int { 3 }

    // MARK: - Keys

    /// Takes the keys of packets from a port, and counts them.
    /// - Returns: how many runs there are.
    @inline(never)
    private func takeKeys(_ burst: UnsafeMutablePointer<Burst>, count: Int) -> Int {
        let (runCount, bytes) = group(burst, count: count, isTunnelled: false)
        let row = counters.row(burst.pointee.port)
        row[CounterTable.receivedPackets] &+= UInt64(count)
        row[CounterTable.receivedBytes] &+= bytes
        return runCount
    }

    /// The same of frames that came out of tunnels, and were counted.
    @inline(never)
    private func takeTunnelKeys(_ burst: UnsafeMutablePointer<Burst>, count: Int) -> Int {
        group(burst, count: count, isTunnelled: true).runCount
    }

    /// Groups the packets into runs at the front of `packets`, takes their keys and fetches their buckets.
    /// - Returns: how many runs there are, and the packets' bytes.
    @inline(__always)
    private func group(
        _ burst: UnsafeMutablePointer<Burst>,
        count: Int,
        isTunnelled: Bool
    ) -> (runCount: Int, bytes: UInt64) {
        var (origin, port) = (burst.pointee.port, burst.pointee.port)
        var word0 = plainWord(burst, origin: origin, port: port)
        var likeness = PlainLikeness(flows.cache.masks.interest)
        var (accepted, runCount) = (0, 0)
        var bytes: UInt64 = 0
        for index in 0..<count {
            // The burst is full up to `count`: a driver's promise.
            let packet = burst.pointee.packets[index].unsafelyUnwrapped
            bytes &+= UInt64(packet.pointee.packet_length)
            if isTunnelled && flows.origins[index] != origin {
                origin = flows.origins[index]
                port = flows.cache.sources.port(origin)
                word0 = plainWord(burst, origin: origin, port: port)
                likeness.forget()
            }
            if runCount == Self.unlikeLimit && accepted == runCount { likeness.giveUp() }
            if !likeness.isLike(packet) {
                let run = FlowRun(first: accepted, origin: origin, port: port)
                guard begin(packet, burst, word0, &likeness, runCount, run) else { continue }
                runCount &+= 1
            }
            burst.pointee.packets[accepted] = packet
            accepted &+= 1
        }
        flows.runs[runCount].first = accepted
        return (runCount, bytes)
    }

    /// The first word of a plain packet's key.
    @inline(__always)
    private func plainWord(_ burst: UnsafeMutablePointer<Burst>, origin: UInt16, port: UInt16) -> UInt64 {
        let number = burst.pointee.context.state.ports[Int(port)].number
        return (PlainPacket.word0 | UInt64(number) &<< 32) & flows.cache.masks.interest[0] | CacheKey.origin(origin)
    }

    /// A burst that begins with so many packets of different connections is not expected to have two of one in a row.
    private static var unlikeLimit: Int { 4 }

    /// Takes the key of a packet that is unlike the one before; drops it if that cannot be.
    /// - Parameters:
    ///   - word0: of a plain packet's key.
    ///   - new: what the run begins as.
    /// - Returns: whether there is a run of it.
    @inline(__always)
    private func begin(
        _ packet: Packet,
        _ burst: UnsafeMutablePointer<Burst>,
        _ word0: UInt64,
        _ likeness: inout PlainLikeness,
        _ run: Int,
        _ new: FlowRun
    ) -> Bool {
        guard let plain = PlainPacket(packet) else {
            likeness.forget()
            flows.runs[run] = new
            return takeOther(packet, burst, run: run)
        }
        let (interest, key) = (flows.cache.masks.interest, flows.key(run))
        let (w1, w2) = (plain.w1 & interest[1], plain.w2 & interest[2])
        let (w3, w4) = (plain.w3 & interest[3], plain.w4 & interest[4])
        (key[0], key[1], key[2], key[3], key[4]) = (word0, w1, w2, w3, w4)
        let hash = flows.cache.hash.short(word0, w1, w2, w3, w4, level: 0)
        flows.cache.index.fetch(hash)
        var plainRun = new
        (plainRun.hash, plainRun.isPlain) = (hash, true)
        flows.runs[run] = plainRun
        likeness.follow(packet, isTCP: plain.isTCP)
        return true
    }

    /// Reads any packet; drops it if that cannot be.
    /// - Returns: whether there is a run of it.
    @inline(never)
    private func takeOther(_ packet: Packet, _ burst: UnsafeMutablePointer<Burst>, run: Int) -> Bool {
        guard read(packet, burst, run: run) else { return false }
        let (isLong, hash) = take(flows.key(run), run, burst, under: 0, level: 0)
        flows.cache.index.fetch(hash)
        flows.runs[run].hash = hash
        flows.runs[run].isLong = isLong
        return true
    }

    /// Takes a key from a run's flow key, which is noted.
    /// - Parameters:
    ///   - mask: the number of the mask to take it under; 0 is the cache's interest.
    ///   - level: of the entries that it is for.
    /// - Returns: whether it is longer than five words, and its hash.
    @inline(__always)
    private func take(
        _ key: CacheKey,
        _ run: Int,
        _ burst: UnsafeMutablePointer<Burst>,
        under mask: UInt8,
        level: UInt8
    ) -> (isLong: Bool, hash: UInt64) {
        let (cache, tagTypes) = (flows.cache, flows.layouts[run].tagTypeBits)
        let origin = flows.runs[run].origin
        let isLong = key.take(flows.packetKey(run), tagTypes, origin: origin, under: cache.masks[mask])
        return (isLong, cache.hash.of(key, isLong: isLong, level: level))
    }

    /// Notes the flow key and the layout of a run's packet.
    /// - Returns: false when it was dropped.
    private func read(_ packet: Packet, _ burst: UnsafeMutablePointer<Burst>, run: Int) -> Bool {
        let (port, origin) = (flows.runs[run].port, flows.runs[run].origin)
        guard packet.pointee.packet_length >= 14 else {
            discard(packet, .runt, on: port)
            return false
        }
        flows.layouts[run] = FrameLayout()
        let segment = UnsafeRawBufferPointer(start: packet.frame, count: Int(packet.pointee.data_length))
        let length = Int(packet.pointee.packet_length)
        guard var key = FlowKey(frame: segment, length: length, layout: &flows.layouts[run]) else {
            discard(packet, .scatteredHeader, on: port)
            return false
        }
        key[0] |= UInt64(burst.pointee.context.state.ports[Int(port)].number) << 32
        if origin != port { key.note(flows.cache.sources.source(origin)) }
        flows.packetKey(run).all = key
        return true
    }

    // MARK: - Programs

    @inline(__always)
    private func switchRun(_ run: Int, _ burst: UnsafeMutablePointer<Burst>) {
        let cache = flows.cache
        let candidate = flows.runs[run].candidate
        if !flows.runs[run].isLong, cache.isExact(candidate, flows.key(run)),
            cache.isCurrent(candidate, burst.pointee.context.version, burst.pointee.versions),
            burst.pointee.interestVersion == cache.masks.interestVersion
        {
            let entry = cache.entry(candidate)
            if cache.programs.header(entry.pointee.program).pointee.isTracked { return switchTracked(run, burst) }
            if passesChecks(entry.pointee.program, run, flows.runs[run].first, burst) {
                // What is not written need not go back to memory.
                if entry.pointee.used != burst.pointee.context.now { entry.pointee.used = burst.pointee.context.now }
                return runAll(entry.pointee.program, run, flows.runs[run].first, flows.runs[run &+ 1].first, burst)
            }
        }
        if candidate == 0 && isBeyondLimit(run, burst) && !hasPieces { return refuse(run, burst) }
        switchOther(run, burst)
    }

    @inline(__always)
    private func isBeyondLimit(_ run: Int, _ burst: UnsafeMutablePointer<Burst>) -> Bool {
        burst.pointee.misses >= burst.pointee.missLimit || flows.runs[run].first < burst.pointee.firstMiss
    }

    /// A run that the cache did not know when the burst came, and that there is no time for: by far the most of a flood.
    @inline(__always)
    private func refuse(_ run: Int, _ burst: UnsafeMutablePointer<Burst>) {
        for index in flows.runs[run].first..<flows.runs[run &+ 1].first {
            discard(burst.pointee.packets[index].unsafelyUnwrapped, .missBudget, on: flows.runs[run].port)
        }
    }

    /// A run that is not in the cache, or that takes more than a comparison.
    @inline(never)
    func switchOther(_ run: Int, _ burst: UnsafeMutablePointer<Burst>) {
        let masks = flows.cache.masks
        var index = flows.runs[run].first
        let end = flows.runs[run + 1].first
        while index < end {
            // A walk may have found bits to depend on that were of no interest when the keys were taken: packets that
            // were alike then may not be now.
            let areAlike = burst.pointee.interestVersion == masks.interestVersion
            let next = areAlike ? end : index + 1
            if !areAlike {
                guard readPlain(run, index, burst) else {
                    index = next
                    continue
                }
                retake(run, burst)
            }
            if let program = program(run, index, burst) {
                let isTracked = flows.cache.programs.header(program).pointee.isTracked
                let last = isTracked ? index + 1 : next
                runAll(program, run, index, last, burst)
                index = last
            } else {
                index += 1
            }
            if burst.pointee.missSince != 0 { endMiss(burst) }
        }
    }

    /// The program of a run's packets, as the cache has it; nil when it has none: the packet was walked, or dropped.
    private func program(_ run: Int, _ index: Int, _ burst: UnsafeMutablePointer<Burst>) -> UInt32? {
        let cache = flows.cache
        flows.walk.tracker.forget()
        let known = find(run)
        var isStale = false
        if known != 0 {
            let entry = cache.entry(known)
            isStale = !cache.isCurrent(known, burst.pointee.context.version, burst.pointee.versions)
            if !isStale && passesChecks(entry.pointee.program, run, index, burst) {
                entry.pointee.used = burst.pointee.context.now
                rememberConnection(known)
                return entry.pointee.program
            }
            cache.statistics.pointee.invalidated &+= 1
        }
        // A known connection is no new one because its tables have changed, nor is a datagram that was admitted piece by piece.
        guard isStale || hasPieces || admitsMiss(burst) else {
            discard(burst.pointee.packets[index].unsafelyUnwrapped, .missBudget, on: flows.runs[run].port)
            return nil
        }
        guard readPlain(run, index, burst) else { return nil }
        if let program = programOfOthers(run, index, burst, replacing: known) { return program }
        walk(run, index, burst, replacing: known)
        return nil
    }

    /// A run's entry under its own key; 0 when there is none.
    private func find(_ run: Int) -> UInt32 {
        flows.cache.find(flows.key(run), isLong: flows.runs[run].isLong, level: 0, hash: flows.runs[run].hash)
    }

    /// A plain run's flow key is not noted yet: a walk asks for all of it.
    func readPlain(_ run: Int, _ index: Int, _ burst: UnsafeMutablePointer<Burst>) -> Bool {
        guard flows.runs[run].isPlain else { return true }
        if flows.runs[run].isRead && index == flows.runs[run].first { return true }
        flows.runs[run].isRead = false
        return read(burst.pointee.packets[index].unsafelyUnwrapped, burst, run: run)
    }

    /// Takes a run's key anew, from the flow key that is noted.
    private func retake(_ run: Int, _ burst: UnsafeMutablePointer<Burst>) {
        let (isLong, hash) = take(flows.key(run), run, burst, under: 0, level: 0)
        flows.runs[run].isLong = isLong
        flows.runs[run].hash = hash
    }

    /// The program of other connections that the packets of a run are like, as far as it depends on them; or their own, by
    /// the key that they had when the cache was interested in other bits.
    private func programOfOthers(
        _ run: Int,
        _ index: Int,
        _ burst: UnsafeMutablePointer<Burst>,
        replacing known: UInt32
    ) -> UInt32? {
        if let program = program(of: formerEntry(run, burst), run, index, burst) {
            remember(program, run, burst, replacing: known)
            return program
        }
        let (cache, key) = (flows.cache, flows.otherKey)
        for level in 1..<UInt8(cache.masks.levelCount + 1) where cache.masks.isUsed(level) {
            let (isLong, hash) = takeOther(under: level, run, burst)
            let found = cache.find(key, isLong: isLong, level: level, hash: hash)
            guard let program = program(of: found, run, index, burst) else { continue }
            burst.pointee.wildcardHits &+= 1
            // The next unknown ones are likely to find theirs too.
            flows.walk.path.forget()
            remember(program, run, burst, replacing: known)
            return program
        }
        return nil
    }

    /// The entry of a run's packets from before the cache's interest changed; 0 when there is none.
    private func formerEntry(_ run: Int, _ burst: UnsafeMutablePointer<Burst>) -> UInt32 {
        let (cache, key) = (flows.cache, flows.otherKey)
        let (isLong, hash) = take(key, run, burst, under: MaskTable.former, level: 0)
        let found = cache.find(key, isLong: isLong, level: 0, hash: hash)
        guard found != 0 else { return 0 }
        // It may be a newer one, of a connection whose new bits happen to be zero.
        let mask = cache.programs.header(cache.entry(found).pointee.program).pointee.mask
        guard mask != MaskTable.none else { return 0 }
        _ = take(key, run, burst, under: mask, level: 0)
        for place in 0..<CacheKey.length
        where (key[place] ^ cache.word(at: place, of: found)) & cache.masks[mask][place] != 0 { return 0 }
        return found
    }

    /// The program of an entry, with one more reference; nil for none, and for one that does not hold any more.
    private func program(of found: UInt32, _ run: Int, _ index: Int, _ burst: UnsafeMutablePointer<Burst>) -> UInt32? {
        let cache = flows.cache
        guard found != 0, cache.isCurrent(found, burst.pointee.context.version, burst.pointee.versions) else {
            return nil
        }
        let program = cache.entry(found).pointee.program
        guard passesChecks(program, run, index, burst) else { return nil }
        cache.entry(found).pointee.used = burst.pointee.context.now
        cache.programs.header(program).pointee.references += 1
        return program
    }

    /// Puts an exact entry for a run into the cache, or gives the one that is there another program; unless the run's next
    /// packet is to have another one, or must come first.
    /// - Parameter program: with a reference that becomes the entry's, or a burst's.
    private func remember(_ program: UInt32, _ run: Int, _ burst: UnsafeMutablePointer<Burst>, replacing known: UInt32)
    {
        let (isLong, hash) = (flows.runs[run].isLong, flows.runs[run].hash)
        let isFirst = flows.cache.programs.header(program).pointee.isForFirst && !flows.walk.tracker.hasConnection
        guard !isFirst, known != 0 || admits(hash, burst) else {
            return flows.cache.programs.release(program, lane: number, now: burst.pointee.context.now)
        }
        let number = put(program, under: flows.key(run), isLong, hash, level: 0, run, burst, replacing: known)
        if number != 0 { rememberConnection(number) }
    }

    /// - Parameters:
    ///   - program: with a reference that becomes the entry's.
    ///   - known: the key's entry, 0 when there is none.
    /// - Returns: the number of the entry, 0 when there was no room.
    @discardableResult
    private func put(
        _ program: UInt32,
        under key: CacheKey,
        _ isLong: Bool,
        _ hash: UInt64,
        level: UInt8,
        _ run: Int,
        _ burst: UnsafeMutablePointer<Burst>,
        replacing known: UInt32
    ) -> UInt32 {
        let cache = flows.cache
        let (version, now) = (burst.pointee.context.version, burst.pointee.context.now)
        if known != 0 {
            cache.replace(known, program: program, version: version, now: now)
            return known
        }
        return cache.insert(
            key,
            isLong: isLong,
            level: level,
            hash: hash,
            program: program,
            port: flows.runs[run].port,
            version: version,
            now: now
        )
    }

    /// Whether NORMAL would decide today as it did on the walk; and learns as it would.
    @inline(__always)
    private func passesChecks(_ program: UInt32, _ run: Int, _ index: Int, _ burst: UnsafeMutablePointer<Burst>) -> Bool
    {
        let header = flows.cache.programs.header(program)
        let count = Int(header.pointee.checkCount)
        guard count != 0 else { return true }
        let checks = flows.cache.programs.checks(program)
        // First, for nothing is learned of a packet that the tracker knows otherwise.
        if header.pointee.isTracked && !passesTracks(checks, count, run, index, burst) { return false }
        return passes(checks, count, index, burst)
    }

    func passes(
        _ checks: UnsafeMutablePointer<Program.Check>,
        _ count: Int,
        _ index: Int,
        _ burst: UnsafeMutablePointer<Burst>
    ) -> Bool {
        let frame = burst.pointee.packets[index].unsafelyUnwrapped.frame
        for index in 0..<count {
            switch checks[index] {
            case .learn(let name, let port):
                let fdb = burst.pointee.context.state.bridges[Int(name.bridge)].fdb
                let key = name.key(in: frame + 6)
                fdb.learn(key, bucket: fdb.bucket(of: key), port: port, now: burst.pointee.context.now)
            case .found(let name, let place):
                let fdb = burst.pointee.context.state.bridges[Int(name.bridge)].fdb
                let key = name.key(in: frame)
                if fdb.lookup(key, bucket: fdb.bucket(of: key)).place != place { return false }
            case .tell(let telling): tell(checks + index, telling, now: burst.pointee.context.now)
            // Passed before.
            case .word, .track, .connection, .labelHigh, .labelLow: break
            case .neighbor(let cell, let station):
                if cell.pointee.station != station { return false }
                cell.pointee.use(now: burst.pointee.context.now)
            }
        }
        return true
    }

    /// Takes a packet of a run, whose flow key is noted, through the tables, and sends it.
    private func walk(_ run: Int, _ index: Int, _ burst: UnsafeMutablePointer<Burst>, replacing known: UInt32) {
        let cache = flows.cache
        cache.statistics.pointee.misses &+= 1
        var observer = Unobserved()
        let key = flows.packetKey(run)
        let layout = flows.layouts[run]
        let packet = burst.pointee.packets[index].unsafelyUnwrapped
        flows.walk.tracker.begin(packet, layout)
        flows.walk.tracker.beginPiece()
        let program = Walk.run(
            key.all,
            types: layout.tagTypes,
            length: packet.pointee.packet_length,
            on: burst.pointee.context.state.ports[Int(flows.runs[run].port)].bridge,
            burst.pointee.context,
            flows.walk,
            observer: &observer
        )
        let length = UInt64(packet.pointee.packet_length)
        let now = burst.pointee.context.now
        // At once, for the rules are at hand. What comes in again was counted up to where it had to wait.
        let counted = burst.pointee.isRetry ? program.visitCount : min(formerVisits(of: packet), program.visitCount)
        for visit in counted..<program.visitCount {
            program.visits[visit].rule?.pointee.counts[number].add(packets: 1, bytes: length, now: now)
        }
        if program.waits { return keepWaiting(run) }
        if let kept = keep(program, run, burst, replacing: known) {
            tellAll(cache.programs.checks(kept), count: program.checkCount, now: now)
        } else {
            cache.statistics.pointee.uncacheable &+= 1
            tellAll(program.checks, count: program.checkCount, now: now)
        }
        if packet.pointee.packet_length > UInt32(program.longest) { tellTooLong(packet, program.sequence, burst) }
        // The way back through a tunnel would be a walk of its own.
        if let rejection = program.rejection, !burst.pointee.isTunnelled {
            tell(rejection, of: packet, from: flows.runs[run].port)
        }
        self.run(program.sequence, packet, PacketEditor(packet, key, layout), from: flows.runs[run].port, burst)
    }

    /// Puts a walked program into the cache, under the packet's key and, if there is a level for it, under its own mask.
    /// - Returns: nil when it cannot be kept.
    private func keep(_ program: Program, _ run: Int, _ burst: UnsafeMutablePointer<Burst>, replacing known: UInt32)
        -> UInt32?
    {
        let cache = flows.cache
        guard !program.isSingular, cache.programs.fits(program) else { return nil }
        let isForFirst = program.isForFirst
        guard isForFirst || known != 0 || admits(flows.runs[run].hash, burst) else { return nil }
        let interestVersion = cache.masks.interestVersion
        if program.trackCount != 0 { cache.masks.needTuple() }
        let mask = cache.masks.number(of: program.mask)
        // Under all bits of interest the exact entry says it already.
        let isWild =
            mask != MaskTable.none && Int(mask) <= MaskTable.levels && !cache.masks.isInterest(mask)
            && !program.isOfConnection
        if isForFirst {
            // It has no other entry.
            guard isWild else { return nil }
            let (_, hash) = takeOther(under: mask, run, burst)
            guard admits(hash, burst) else { return nil }
        }
        guard let block = cache.intern(program, mask: mask, now: burst.pointee.context.now) else { return nil }
        let isSameKey = interestVersion == cache.masks.interestVersion
        if !isSameKey { retake(run, burst) }
        if isWild { generalize(block, mask, run, burst) }
        // Also to make room, entries may have gone.
        let present = known == 0 ? 0 : find(run)
        remember(block, run, burst, replacing: present)
        return block
    }

    /// Whether there is to be a new entry for the packet at hand. A flood is not of what both sides have agreed to.
    private func admits(_ hash: UInt64, _ burst: UnsafeMutablePointer<Burst>) -> Bool {
        let isFlooded = burst.pointee.isFlooded && !flows.walk.tracker.isEstablished
        return flows.cache.admits(hash, isFlooded: isFlooded)
    }

    /// Puts a program into the cache under its own mask, for other connections.
    private func generalize(_ program: UInt32, _ level: UInt8, _ run: Int, _ burst: UnsafeMutablePointer<Burst>) {
        let (cache, key) = (flows.cache, flows.otherKey)
        let (isLong, hash) = takeOther(under: level, run, burst)
        let present = cache.find(key, isLong: isLong, level: level, hash: hash)
        cache.programs.header(program).pointee.references += 1
        put(program, under: key, isLong, hash, level: level, run, burst, replacing: present)
    }

    /// Takes the key of a wildcard entry for a run.
    private func takeOther(under level: UInt8, _ run: Int, _ burst: UnsafeMutablePointer<Burst>)
        -> (isLong: Bool, hash: UInt64)
    {
        take(flows.otherKey, run, burst, under: level, level: level)
    }

    // MARK: - Upkeep

    /// What is to be done now and then beside packets: old entries go, rules get their counts. Call it every millisecond.
    /// - Parameter now: seconds, as `receive` has them.
    public func maintain(now: UInt32) {
        flows.cache.flushCounts(limit: 256, now: now)
        flows.cache.sweep(256, version: state.pointee.versions.current, state.pointee.versions, now: now)
        flows.mailbox.serve(flows.cache)
        flows.missBudget.endTurn()
        flows.walk.tracker.table.sweep(256, share: number, now: now)
    }
}

extension Program.StationName {
    /// - Parameter place: of the packet's own address.
    @inline(__always)
    fileprivate func key(in place: UnsafeMutableRawPointer) -> ForwardingDatabase.Key {
        isPackets
            ? ForwardingDatabase.Key(vlan: vlan, loaded: place.loadUnaligned(as: UInt64.self))
            : ForwardingDatabase.Key(vlan: vlan, mac: address)
    }
}
