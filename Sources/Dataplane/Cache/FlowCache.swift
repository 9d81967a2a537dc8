import Flows

/// One lane's cache: from the packets of connections to the programs that the walk left for them.
///
/// What: an `EntryIndex` from hashes to entries, entries of one cache line, and programs shared by all entries that go the
/// same way. Two kinds of entries lie beside each other. *Exact* ones have the packet's key under the cache's interest: all
/// bits that any program in it depends on, so that packets that differ elsewhere - a TTL that no flow asks for - are one
/// connection. *Wildcard* ones have the key under the mask of their program alone, and answer for the first packets of
/// other connections. There are `MaskTable.levels` such masks at most, and so as many look-ups.
///
/// Why it is never wrong: a program is good for every packet that agrees with the walked one under its mask, as long as
/// the tables that the walk visited are the same; an entry says up to which version they were held to be (`version`).
///
/// Bounds: `capacity` entries. A full or flooded cache takes a connection in when its second packet comes. For it goes,
/// from the port with the most entries, the oldest that was not used of late, so that a port that floods evicts its own.
/// The hash has secrets. One worker reads and writes; nothing is shared.
struct FlowCache {
    struct Entry: BitwiseCopyable {
        var words: InlineArray<5, UInt64> = InlineArray(repeating: 0)
        /// A block of the program store.
        var program: UInt32 = 0
        /// The further words, if they are not all zero; else 0.
        var further: UInt32 = 0
        /// The lower half of the last version that the program was good in.
        var version: UInt32 = 0
        /// The second of the last packet.
        var used: UInt32 = 0
        var tag: UInt32 = 0
        var port: UInt16 = 0
        /// 0 for an exact entry, else the wildcard level.
        var level: UInt8 = 0
        /// Free entries are in no list.
        var isUsed = false
    }

    private struct Link: BitwiseCopyable {
        var newer: UInt32 = 0
        var older: UInt32 = 0
    }

    private struct List: BitwiseCopyable {
        var newest: UInt32 = 0
        var oldest: UInt32 = 0
        var count: UInt32 = 0
    }

    private struct State {
        let capacity: Int
        let furtherCapacity: Int
        /// Entries, and blocks of further words, that were used once; from 1.
        var usedLimit: UInt32 = 1
        var furtherLimit: UInt32 = 1
        /// First free ones; links and first words lead on.
        var free: UInt32 = 0
        var furtherFree: UInt32 = 0
        /// Ports below have had entries.
        var portLimit = 0
        /// Of the sweep.
        var cursor: UInt32 = 1
        var sweepVersion: UInt64 = 0
        var sweptVersion: UInt64 = 0
    }

    /// Connections, of late, that are remembered for having had one packet; a power of 2.
    private static var doorLimit: Int { 1 << 16 }
    private static var furtherLength: Int { CacheKey.length - CacheKey.shortLength }
    /// Seconds after which a silent connection is forgotten.
    static var idleLimit: UInt32 { 30 }

    let programs: ProgramStore
    let masks: MaskTable
    let hash: CacheHash
    let statistics: UnsafeMutablePointer<CacheStatistics>
    let index: EntryIndex
    let sources: TunnelSources
    private let entries: UnsafeMutablePointer<Entry>
    private let entryCount: Int
    private let links: UnsafeMutablePointer<Link>
    private let further: UnsafeMutablePointer<UInt64>
    private let lists: UnsafeMutablePointer<List>
    /// Bits of their hashes.
    private let door: UnsafeMutablePointer<UInt16>
    private let state: UnsafeMutablePointer<State>
    /// The connections of exact entries' packets: see `KnownConnection`.
    private let connections: UnsafeMutablePointer<UInt64>
    private let lane: Int

    init(capacity: Int, lane: Int) {
        precondition(MemoryLayout<Entry>.stride == 64)
        self.lane = lane
        programs = ProgramStore(capacity: capacity)
        masks = MaskTable()
        hash = CacheHash()
        index = EntryIndex(capacity: capacity)
        sources = TunnelSources()
        // As many as numbers that `candidate` may make of two.
        entryCount = 1 << (Int.bitWidth - capacity.leadingZeroBitCount)
        entries = LazyMemory.allocate(Entry.self, entryCount)
        connections = LazyMemory.allocate(UInt64.self, entryCount)
        links = LazyMemory.allocate(Link.self, capacity + 1)
        further = LazyMemory.allocate(UInt64.self, (capacity + 1) * Self.furtherLength)
        lists = .allocate(capacity: PortIndex.capacity)
        lists.initialize(repeating: List(), count: PortIndex.capacity)
        door = LazyMemory.allocate(UInt16.self, Self.doorLimit)
        state = .allocate(capacity: 1)
        state.initialize(to: State(capacity: capacity, furtherCapacity: capacity))
        statistics = .allocate(capacity: 1)
        statistics.initialize(to: CacheStatistics())
        statistics.pointee.capacity = UInt64(capacity)
    }

    func free() {
        programs.free()
        masks.free()
        hash.free()
        index.free()
        sources.free()
        let capacity = state.pointee.capacity + 1
        LazyMemory.free(entries, entryCount)
        LazyMemory.free(connections, entryCount)
        LazyMemory.free(links, capacity)
        LazyMemory.free(further, capacity * Self.furtherLength)
        LazyMemory.free(door, Self.doorLimit)
        lists.deallocate()
        state.deallocate()
        statistics.deallocate()
    }

    // MARK: - Looking up

    @inline(__always)
    func entry(_ number: UInt32) -> UnsafeMutablePointer<Entry> { entries + Int(number) }

    /// What an entry knows of its packets' connection.
    @inline(__always)
    func connection(_ number: UInt32) -> UnsafeMutablePointer<UInt64> { connections + Int(number) }

    /// Whether an entry, or none, is that of an exact key without further words.
    @inline(__always)
    func isExact(_ number: UInt32, _ key: CacheKey) -> Bool {
        let entry = entry(number)
        var difference = UInt64(entry.pointee.further) | UInt64(entry.pointee.level)
        for place in 0..<CacheKey.shortLength { difference |= entry.pointee.words[place] ^ key[place] }
        return difference == 0
    }

    /// The entry of a key; 0 when there is none.
    func find(_ key: CacheKey, isLong: Bool, level: UInt8, hash: UInt64) -> UInt32 {
        let candidate = index.candidate(hash)
        if candidate == 0 || has(candidate, key, isLong: isLong, level: level) { return candidate }
        return findAmongEqualTags(key, isLong: isLong, level: level, hash: hash)
    }

    @inline(never)
    private func findAmongEqualTags(_ key: CacheKey, isLong: Bool, level: UInt8, hash: UInt64) -> UInt32 {
        let tag = EntryIndex.tag(of: hash)
        let bucket = index.bucket(tag)
        for way in 0..<EntryIndex.ways where bucket.pointee.tags[way] == tag {
            let number = bucket.pointee.numbers[way]
            if has(number, key, isLong: isLong, level: level) { return number }
        }
        return 0
    }

    private func has(_ number: UInt32, _ key: CacheKey, isLong: Bool, level: UInt8) -> Bool {
        let entry = entry(number)
        guard entry.pointee.level == level, (entry.pointee.further != 0) == isLong else { return false }
        for place in 0..<CacheKey.shortLength where entry.pointee.words[place] != key[place] { return false }
        guard isLong else { return true }
        let rest = further + Int(entry.pointee.further) * Self.furtherLength
        for place in 0..<Self.furtherLength where rest[place] != key[CacheKey.shortLength + place] { return false }
        return true
    }

    // MARK: - Adding and removing

    /// Puts an entry in.
    /// - Parameters:
    ///   - program: with a reference that becomes the entry's.
    /// - Returns: its number; 0 when there was no room.
    func insert(
        _ key: CacheKey,
        isLong: Bool,
        level: UInt8,
        hash: UInt64,
        program: UInt32,
        port: UInt16,
        version: UInt64,
        now: UInt32
    ) -> UInt32 {
        guard let number = allocate(now: now), let rest = isLong ? allocateFurther() : 0 else {
            programs.release(program, lane: lane, now: now)
            return 0
        }
        index.grow(entries: Int(statistics.pointee.entries))
        let tag = EntryIndex.tag(of: hash)
        let bucket = index.bucket(tag)
        let way = freeWay(of: bucket, now: now)
        let entry = entry(number)
        entry.pointee.program = program
        entry.pointee.further = rest
        entry.pointee.version = UInt32(truncatingIfNeeded: version)
        entry.pointee.used = now
        entry.pointee.tag = tag
        entry.pointee.port = port
        entry.pointee.level = level
        entry.pointee.isUsed = true
        for place in 0..<CacheKey.shortLength { entry.pointee.words[place] = key[place] }
        for place in 0..<(isLong ? Self.furtherLength : 0) {
            further[Int(rest) * Self.furtherLength + place] = key[CacheKey.shortLength + place]
        }
        sources.retain(CacheKey.origin(of: key[0]))
        bucket.pointee.put(number, tag, way: way)
        link(number)
        masks.use(level)
        statistics.pointee.entries += 1
        connections[Int(number)] = 0
        return number
    }

    /// Gives an entry another program.
    /// - Parameter program: with a reference that becomes the entry's.
    func replace(_ number: UInt32, program: UInt32, version: UInt64, now: UInt32) {
        let entry = entry(number)
        programs.release(entry.pointee.program, lane: lane, now: now)
        entry.pointee.program = program
        entry.pointee.version = UInt32(truncatingIfNeeded: version)
        entry.pointee.used = now
        connections[Int(number)] = 0
    }

    func remove(_ number: UInt32, now: UInt32) {
        let entry = entry(number)
        index.remove(number, entry.pointee.tag)
        sources.release(CacheKey.origin(of: entry.pointee.words[0]))
        unlink(number)
        programs.release(entry.pointee.program, lane: lane, now: now)
        masks.disuse(entry.pointee.level)
        if entry.pointee.further != 0 {
            further[Int(entry.pointee.further) * Self.furtherLength] = UInt64(state.pointee.furtherFree)
            state.pointee.furtherFree = entry.pointee.further
        }
        entry.pointee.isUsed = false
        // No key begins with it.
        entry.pointee.words[0] = 0
        links[Int(number)].older = state.pointee.free
        state.pointee.free = number
        statistics.pointee.entries -= 1
    }

    private var isFull: Bool { state.pointee.free == 0 && Int(state.pointee.usedLimit) > state.pointee.capacity }

    /// Whether a new connection gets an entry: at once while there is room and no flood. Else its second packet has to come
    /// first, so that connections of one packet, of a scan or a flood, take nobody's place, and little time.
    func admits(_ hash: UInt64, isFlooded: Bool) -> Bool {
        guard isFull || isFlooded else { return true }
        let place = Int(truncatingIfNeeded: hash >> 16) & (Self.doorLimit - 1)
        let mark = UInt16(truncatingIfNeeded: hash >> 48) | 1
        if door[place] == mark { return true }
        door[place] = mark
        return false
    }

    /// The block of a program that fits, with one more reference. When there is no memory, entries make room.
    /// - Returns: nil when that was not enough.
    func intern(_ program: Program, mask: UInt8, now: UInt32) -> UInt32? {
        for _ in 0..<Self.evictionLimit {
            if let block = programs.intern(program, mask: mask) { return block }
            guard statistics.pointee.entries != 0 else { return nil }
            evict(now: now)
        }
        return nil
    }

    /// Entries that one program may cost.
    private static var evictionLimit: Int { 4 }

    private func allocate(now: UInt32) -> UInt32? {
        if isFull { evict(now: now) }
        let free = state.pointee.free
        if free != 0 {
            state.pointee.free = links[Int(free)].older
            return free
        }
        guard Int(state.pointee.usedLimit) <= state.pointee.capacity else { return nil }
        state.pointee.usedLimit += 1
        return state.pointee.usedLimit - 1
    }

    /// There are as many as entries.
    private func allocateFurther() -> UInt32? {
        let free = state.pointee.furtherFree
        if free != 0 {
            state.pointee.furtherFree = UInt32(truncatingIfNeeded: further[Int(free) * Self.furtherLength])
            return free
        }
        state.pointee.furtherLimit += 1
        return state.pointee.furtherLimit - 1
    }

    /// An empty way of a bucket. In a full one that of the port with the most entries makes room, the one silent longest.
    private func freeWay(of bucket: UnsafeMutablePointer<EntryIndex.Bucket>, now: UInt32) -> Int {
        var victim = 0
        for way in 0..<EntryIndex.ways {
            let number = bucket.pointee.numbers[way]
            if number == 0 { return way }
            if isRatherEvicted(number, than: bucket.pointee.numbers[victim]) { victim = way }
        }
        statistics.pointee.evicted += 1
        remove(bucket.pointee.numbers[victim], now: now)
        return victim
    }

    private func isRatherEvicted(_ number: UInt32, than other: UInt32) -> Bool {
        let (this, that) = (entry(number).pointee, entry(other).pointee)
        let (mine, theirs) = (lists[Int(this.port)].count, lists[Int(that.port)].count)
        return mine != theirs ? mine > theirs : Int32(bitPattern: this.used &- that.used) < 0
    }

    private static var secondChances: Int { 8 }

    /// The port with the most entries loses its oldest. One that was used within the second goes to the front instead, a
    /// few times.
    private func evict(now: UInt32) {
        var fullest = 0
        for port in 0..<state.pointee.portLimit where lists[port].count > lists[fullest].count { fullest = port }
        for _ in 0..<Self.secondChances {
            let oldest = lists[fullest].oldest
            guard entry(oldest).pointee.used == now, lists[fullest].newest != oldest else { break }
            unlink(oldest)
            link(oldest)
        }
        statistics.pointee.evicted += 1
        remove(lists[fullest].oldest, now: now)
    }

    // MARK: - The ports' lists, newest entry first

    private func link(_ number: UInt32) {
        let port = Int(entry(number).pointee.port)
        let newest = lists[port].newest
        links[Int(number)] = Link(newer: 0, older: newest)
        if newest != 0 { links[Int(newest)].newer = number }
        lists[port].newest = number
        if lists[port].oldest == 0 { lists[port].oldest = number }
        lists[port].count += 1
        state.pointee.portLimit = max(state.pointee.portLimit, port + 1)
    }

    private func unlink(_ number: UInt32) {
        let port = Int(entry(number).pointee.port)
        let link = links[Int(number)]
        if link.newer == 0 { lists[port].newest = link.older } else { links[Int(link.newer)].older = link.older }
        if link.older == 0 { lists[port].oldest = link.newer } else { links[Int(link.older)].newer = link.newer }
        lists[port].count -= 1
    }

    // MARK: - Upkeep

    /// Entries have numbers from 1 to below it.
    var numberLimit: UInt32 { state.pointee.usedLimit }

    /// A word of an entry's key.
    func word(at place: Int, of number: UInt32) -> UInt64 {
        let entry = entry(number)
        guard place >= CacheKey.shortLength else { return entry.pointee.words[place] }
        guard entry.pointee.further != 0 else { return 0 }
        return further[Int(entry.pointee.further) * Self.furtherLength + place - CacheKey.shortLength]
    }

    /// The version that no entry is older than.
    var sweptVersion: UInt64 { state.pointee.sweptVersion }

    /// Looks at the next entries: those silent for long go, and those whose tables have changed.
    func sweep(_ count: Int, version: UInt64, _ versions: Versions, now: UInt32) {
        index.shrink(entries: Int(statistics.pointee.entries), limit: count)
        for _ in 0..<count {
            if state.pointee.cursor >= state.pointee.usedLimit {
                state.pointee.sweptVersion = state.pointee.sweepVersion
                state.pointee.sweepVersion = version
                state.pointee.cursor = 1
                masks.endTurn()
                return
            }
            let number = state.pointee.cursor
            state.pointee.cursor += 1
            guard entry(number).pointee.isUsed else { continue }
            let silence = Int32(bitPattern: now &- entry(number).pointee.used)
            if silence > Int32(Self.idleLimit) {
                statistics.pointee.aged += 1
                remove(number, now: now)
            } else if !isCurrent(number, version, versions) {
                statistics.pointee.invalidated += 1
                remove(number, now: now)
            } else {
                let header = programs.header(entry(number).pointee.program)
                masks.keep(header.pointee.mask)
                if header.pointee.isTracked { masks.keepTuple() }
            }
        }
    }

    var currentStatistics: CacheStatistics {
        var copy = statistics.pointee
        (copy.masks, copy.programs) = (UInt64(masks.count), UInt64(programs.count))
        return copy
    }

    func flushCounts(limit: Int, now: UInt32) { programs.flush(lane: lane, limit: limit, now: now) }
}

/// What a cache did, written by its worker alone, words at a time.
public struct CacheStatistics: Hashable, Sendable, BitwiseCopyable {
    public var capacity: UInt64 = 0
    public var entries: UInt64 = 0
    /// Packets that an exact entry answered for, a wildcard one, and none.
    public var exactHits: UInt64 = 0
    public var wildcardHits: UInt64 = 0
    public var misses: UInt64 = 0
    /// Misses whose program cannot be kept, or not for the one packet of a connection.
    public var uncacheable: UInt64 = 0
    /// Entries that went because tables changed, were walked anew for it, were silent, or made room.
    public var invalidated: UInt64 = 0
    public var evicted: UInt64 = 0
    public var aged: UInt64 = 0
    public var masks: UInt64 = 0
    public var programs: UInt64 = 0

    public static func + (left: CacheStatistics, right: CacheStatistics) -> CacheStatistics {
        var sum = left
        for path in Self.words { sum[keyPath: path] &+= right[keyPath: path] }
        return sum
    }

    private static let words: [any WritableKeyPath<CacheStatistics, UInt64> & Sendable] = [
        \.capacity, \.entries, \.exactHits, \.wildcardHits, \.misses, \.uncacheable, \.invalidated, \.evicted, \.aged,
        \.masks, \.programs,
    ]
}
