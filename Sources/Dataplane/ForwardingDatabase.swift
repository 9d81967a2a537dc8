import Glibc
import Synchronization
import Wire

/// The stations that a bridge learned: (VLAN, MAC address) -> port. Shared by all workers.
///
/// What: a hash table of 64-byte buckets with three stations each, and beside it, for the writers only, one list of
/// stations a port in the order of their last frame.
///
/// Why: a lookup is one cache line and takes no lock; a worker that cannot have the writers' lock at once does not
/// wait for it but leaves the learning to the station's next frame, so that no worker ever waits for another.
///
/// Readers: every bucket has a version that is odd while it is written. A reader that meets an odd or changed version
/// tries again a few times and then takes the station for unknown, which floods the frame: always correct.
///
/// Writers: whoever holds `lock` may insert, move, refresh and remove. Workers only *try* the lock; the control plane
/// spins for it and holds it for a bounded number of steps.
///
/// Bounds: `capacity` stations, at most `maximumProbes` buckets per lookup. When the table is full the port with the
/// most stations loses the one that was silent longest, so a guest that invents addresses evicts its own. The hash is
/// keyed with a random number, so that nobody can aim at a bucket.
///
/// A trivial value: copies name the same table. `free` ends it for all of them.
struct ForwardingDatabase {
    // A bucket, in words: version (low half) and overflow count (high half); three keys; three values; one unused.
    // The overflow count is the number of stations that would have liked this bucket and live in a later one.
    private static var bucketLength: Int { 8 }
    private static var ways: Int { 3 }
    private static var maximumProbes: Int { 8 }
    private static var hugepage: Int { 2 << 20 }
    private static var readAttempts: Int { 4 }
    private static var none: UInt32 { .max }

    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let links: UnsafeMutablePointer<Link>
    private let header: UnsafeMutablePointer<Header>
    private let mask: Int
    private let seed: UInt64

    /// A station's key: VLAN in bits 0 to 11, bit 15 set, and above the address as it is loaded from the wire, so that
    /// a packet's key is a shift and an or. 0 is an empty place.
    struct Key: Equatable {
        let word: UInt64

        /// - Parameter address: eight octets loaded from the wire, of which the first six are the address.
        @inline(__always)
        init(vlan: UInt16, loaded address: UInt64) { word = address &<< 16 | 0x8000 | UInt64(vlan) }

        init(vlan: UInt16, mac: UInt64) { self.init(vlan: vlan, loaded: (mac << 16).bigEndian) }
        fileprivate init(word: UInt64) { self.word = word }

        /// No station's key.
        static var none: Key { Key(word: 0) }

        var vlan: UInt16 { UInt16(truncatingIfNeeded: word) & 0x0fff }
        var mac: UInt64 { UInt64(bigEndian: word >> 16) >> 16 }
    }

    /// A station's place: port in bits 0 to 15, static in bit 16, present in bit 17, second of its last frame above 32.
    struct Value {
        let word: UInt64

        static let absent = Value(word: 0)

        fileprivate init(word: UInt64) { self.word = word }
        fileprivate init(port: UInt16, isStatic: Bool, seen: UInt32) {
            word = UInt64(port) | (isStatic ? 1 << 16 : 0) | 1 << 17 | UInt64(seen) << 32
        }

        @inline(__always) var port: UInt16 { UInt16(truncatingIfNeeded: word) }
        /// Where it is, however old the knowledge.
        struct Place: Equatable {
            private let word: UInt32

            /// Nobody's.
            static var nowhere: Place { Place(word: .max) }

            @inline(__always) var port: UInt16 { UInt16(truncatingIfNeeded: word) }
            @inline(__always) fileprivate init(word: UInt32) { self.word = word }
        }

        @inline(__always) var place: Place { Place(word: UInt32(truncatingIfNeeded: word) & 0x2_ffff) }
        @inline(__always) var isStatic: Bool { word & 1 << 16 != 0 }
        @inline(__always) var isPresent: Bool { word != 0 }
        @inline(__always) var seen: UInt32 { UInt32(truncatingIfNeeded: word &>> 32) }

        /// Seconds since the last frame. A worker's clock may be a second ahead of the caller's: that is no age.
        func age(_ now: UInt32) -> Int { max(0, Int(Int32(bitPattern: now &- seen))) }
    }

    private struct Link {
        var newer = none
        var older = none
    }

    /// One port's learned stations, as a list of places.
    private struct Station {
        var newest = none
        var oldest = none
        var count: UInt32 = 0
    }

    private struct Header: ~Copyable {
        let lock = Atomic<Bool>(false)
        let ageing: Atomic<UInt32>
        var capacity: Int
        var statistics = FDBStatistics()
        var ports: UnsafeMutablePointer<Station>
        /// Ports below this index have had stations: bounds the search for the fullest.
        var portLimit = 0
    }

    init(capacity: Int, ageing: Int, seed: UInt64 = .random(in: .min ... .max)) {
        // Three places a bucket and at least half of the capacity in buckets: a third of the places or more stays free,
        // so that a station hardly ever finds all the buckets full that it may live in.
        let needed = max(capacity / 2, 4)
        let bucketCount = 1 << (Int.bitWidth - (needed - 1).leadingZeroBitCount)
        let wordCount = bucketCount * Self.bucketLength
        // A lookup touches a random line: with small pages most of its cost would be the page walk. The kernel gives
        // huge pages for whole ones only.
        let byteCount = (wordCount * 8 + Self.hugepage - 1) / Self.hugepage * Self.hugepage
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: Self.hugepage)
        madvise(memory, byteCount, MADV_HUGEPAGE)
        words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: wordCount)
        for word in 0..<wordCount { (words + word).initialize(to: Atomic(0)) }
        links = .allocate(capacity: bucketCount * Self.ways)
        links.initialize(repeating: Link(), count: bucketCount * Self.ways)
        let ports = UnsafeMutablePointer<Station>.allocate(capacity: PortIndex.capacity)
        ports.initialize(repeating: Station(), count: PortIndex.capacity)
        header = .allocate(capacity: 1)
        header.initialize(to: Header(ageing: Atomic(UInt32(ageing)), capacity: capacity, ports: ports))
        header.pointee.statistics.capacity = capacity
        mask = bucketCount - 1
        self.seed = seed
    }

    func free() {
        header.pointee.ports.deallocate()
        header.deinitialize(count: 1)
        header.deallocate()
        links.deallocate()
        UnsafeMutableRawPointer(words).deallocate()
    }

    // MARK: - Workers

    /// The first bucket of a key. The folded product of key and seed: every bit of the key reaches every bit of it.
    @inline(__always)
    func bucket(of key: Key) -> Int {
        Int(truncatingIfNeeded: (key.word ^ seed).folded(by: 0x9e37_79b9_7f4a_7c15)) & mask
    }

    /// Where the bucket lies, to fetch it early.
    @inline(__always)
    func address(of bucket: Int) -> UnsafeRawPointer { UnsafeRawPointer(words + bucket &* Self.bucketLength) }

    /// The place of a station, `absent` when unknown. One that was silent for too long is found until `removeAged`.
    @inline(__always)
    func lookup(_ key: Key, bucket: Int) -> Value { read(key, bucket: bucket) }

    /// Notes that a station sent a frame: learns, moves or, at most once a second, refreshes it.
    /// - Returns: whether the station was known on this port already.
    @inline(__always)
    func learn(_ key: Key, bucket: Int, port: UInt16, now: UInt32) {
        let value = read(key, bucket: bucket)
        if value.isPresent && (value.isStatic || (value.port == port && value.seen == now)) { return }
        update(key, bucket: bucket, port: port, now: now)
    }

    private func isFresh(_ value: Value, now: UInt32) -> Bool {
        value.isStatic || value.age(now) <= Int(header.pointee.ageing.load(ordering: .relaxed))
    }

    /// Looks into the first bucket without a branch on where the station is in it: nothing could predict that.
    @inline(__always)
    private func read(_ key: Key, bucket: Int) -> Value {
        let base = words + bucket &* Self.bucketLength
        let version = base.pointee.load(ordering: .acquiring)
        let value = value(of: key, in: base)
        let later = base.pointee.load(ordering: .relaxed)
        if version & 1 == 0 && later == version && (value != 0 || version &>> 32 == 0) { return Value(word: value) }
        return readFurther(key, bucket: bucket)
    }

    /// The value beside a key, 0 when the bucket does not hold it.
    @inline(__always)
    private func value(of key: Key, in base: UnsafeMutablePointer<Atomic<UInt64>>) -> UInt64 {
        masked(base, 1, key) | masked(base, 2, key) | masked(base, 3, key)
    }

    /// The value of a way when its key is the one looked for, else 0; by a mask, so that it stays free of branches.
    @inline(__always)
    private func masked(_ base: UnsafeMutablePointer<Atomic<UInt64>>, _ way: Int, _ key: Key) -> UInt64 {
        let isSame: UInt64 = base[way].load(ordering: .relaxed) == key.word ? 1 : 0
        return base[way &+ Self.ways].load(ordering: .acquiring) & (0 &- isSame)
    }

    /// The station may be in a later bucket, or a writer was in the first.
    @inline(never)
    private func readFurther(_ key: Key, bucket: Int) -> Value {
        for _ in 0..<Self.readAttempts {
            if let value = probe(key, bucket: bucket) { return value }
        }
        return .absent
    }

    /// - Returns: nil when a writer was in a bucket meanwhile.
    private func probe(_ key: Key, bucket first: Int) -> Value? {
        for step in 0..<Self.maximumProbes {
            let base = words + ((first &+ step) & mask) &* Self.bucketLength
            let version = base.pointee.load(ordering: .acquiring)
            let value = value(of: key, in: base)
            guard version & 1 == 0, base.pointee.load(ordering: .relaxed) == version else { return nil }
            if value != 0 || version &>> 32 == 0 { return Value(word: value) }
        }
        return .absent
    }

    @inline(never)
    private func update(_ key: Key, bucket: Int, port: UInt16, now: UInt32) {
        guard tryLock() else { return }
        defer { unlock() }
        guard let place = find(key, bucket: bucket) else {
            insert(key, bucket: bucket, value: Value(port: port, isStatic: false, seen: now))
            header.pointee.statistics.learned &+= 1
            return
        }
        let former = value(at: place)
        guard !former.isStatic else { return }
        if former.port != port { header.pointee.statistics.moved &+= 1 }
        unlink(place, from: former.port)
        write(key, Value(port: port, isStatic: false, seen: now), at: place)
        link(place, to: port)
    }

    // MARK: - The control plane

    /// Every station, static and learned, in no order.
    func entries(now: UInt32) -> [FDBEntry] {
        locked {
            allPlaces.compactMap { place in
                guard let key = key(at: place) else { return nil }
                let value = value(at: place)
                guard isFresh(value, now: now) else { return nil }
                return FDBEntry(
                    mac: MACAddress(value: key.mac),
                    vlan: VLANID(key.vlan)!,
                    port: PortIndex(value.port),
                    age: value.isStatic ? 0 : value.age(now),
                    isStatic: value.isStatic
                )
            }
        }
    }

    var statistics: FDBStatistics { locked { header.pointee.statistics } }

    func setAgeing(_ seconds: Int) { header.pointee.ageing.store(UInt32(seconds), ordering: .relaxed) }

    /// Puts a static entry in place of whatever was known of the station.
    /// - Returns: false when the table is full of static entries.
    func addStatic(_ key: Key, port: UInt16) -> Bool {
        locked {
            let bucket = bucket(of: key)
            if let place = find(key, bucket: bucket) { remove(at: place) }
            return insert(key, bucket: bucket, value: Value(port: port, isStatic: true, seen: 0))
        }
    }

    func remove(_ key: Key) -> Bool {
        locked {
            guard let place = find(key, bucket: bucket(of: key)) else { return false }
            remove(at: place)
            return true
        }
    }

    /// Removes the stations that `matches` names. Takes the lock anew for every thousand places, so that workers
    /// go on learning meanwhile.
    /// - Returns: how many there were.
    @discardableResult
    func removeAll(where matches: (Key, Value) -> Bool) -> Int {
        var removed = 0
        for start in stride(from: 0, to: allPlaces.count, by: 1024) {
            locked {
                for place in UInt32(start)..<UInt32(min(start + 1024, allPlaces.count)) {
                    guard let key = key(at: place), matches(key, value(at: place)) else { continue }
                    remove(at: place)
                    removed += 1
                }
            }
        }
        return removed
    }

    /// Removes what was silent for longer than the ageing time: the tails of the ports' lists.
    func removeAged(now: UInt32) {
        for port in 0..<locked({ header.pointee.portLimit }) {
            while locked({ removeAged(on: port, limit: 256, now: now) }) {}
        }
    }

    /// - Returns: whether the limit was reached, so that there may be more.
    private func removeAged(on port: Int, limit: Int, now: UInt32) -> Bool {
        for _ in 0..<limit {
            let oldest = header.pointee.ports[port].oldest
            guard oldest != Self.none, !isFresh(value(at: oldest), now: now) else { return false }
            remove(at: oldest)
            header.pointee.statistics.aged &+= 1
        }
        return true
    }

    /// Takes over another table's stations, as far as there is room.
    func adopt(_ other: ForwardingDatabase) {
        other.locked {
            locked {
                // Oldest first, so that the lists come out in order.
                let places = other.allPlaces.filter { other.key(at: $0) != nil }
                for place in places.sorted(by: { other.value(at: $0).seen < other.value(at: $1).seen }) {
                    let key = other.key(at: place)!
                    insert(key, bucket: bucket(of: key), value: other.value(at: place))
                }
                let capacity = header.pointee.capacity
                let entries = header.pointee.statistics.entries
                header.pointee.statistics = other.header.pointee.statistics
                header.pointee.statistics.capacity = capacity
                header.pointee.statistics.entries = entries
            }
        }
    }

    // MARK: - The lock

    @inline(__always)
    private func tryLock() -> Bool {
        !header.pointee.lock.load(ordering: .relaxed)
            && !header.pointee.lock.exchange(true, ordering: .acquiring)
    }

    @inline(__always)
    private func unlock() { header.pointee.lock.store(false, ordering: .releasing) }

    func isSame(as other: ForwardingDatabase) -> Bool { header == other.header }

    private func locked<Result>(_ body: () -> Result) -> Result {
        while !tryLock() { sched_yield() }
        defer { unlock() }
        return body()
    }

    // MARK: - Places; all below is called with the lock held

    private var allPlaces: Range<UInt32> { 0..<UInt32((mask + 1) * Self.ways) }

    private func keyWord(_ place: UInt32) -> UnsafeMutablePointer<Atomic<UInt64>> {
        words + Int(place) / Self.ways * Self.bucketLength + 1 + Int(place) % Self.ways
    }

    private func key(at place: UInt32) -> Key? {
        let word = keyWord(place).pointee.load(ordering: .relaxed)
        return word == 0 ? nil : Key(word: word)
    }

    private func value(at place: UInt32) -> Value {
        Value(word: (keyWord(place) + Self.ways).pointee.load(ordering: .relaxed))
    }

    /// Replaces key and value between two steps of the bucket's version.
    private func write(_ key: Key?, _ value: Value, at place: UInt32) {
        let version = words + Int(place) / Self.ways * Self.bucketLength
        let former = version.pointee.load(ordering: .relaxed)
        version.pointee.store(former | 1, ordering: .relaxed)
        atomicMemoryFence(ordering: .releasing)
        keyWord(place).pointee.store(key?.word ?? 0, ordering: .relaxed)
        (keyWord(place) + Self.ways).pointee.store(value.word, ordering: .relaxed)
        // The low half alone counts: a carry out of it must not reach the overflow count.
        let next = UInt64(UInt32(truncatingIfNeeded: former) &+ 2)
        version.pointee.store(former & ~0xffff_ffff | next, ordering: .releasing)
    }

    private func find(_ key: Key, bucket first: Int) -> UInt32? {
        var bucket = first
        for _ in 0..<Self.maximumProbes {
            for way in 0..<Self.ways
            where words[bucket * Self.bucketLength + 1 + way].load(ordering: .relaxed) == key.word {
                return UInt32(bucket * Self.ways + way)
            }
            bucket = (bucket + 1) & mask
        }
        return nil
    }

    @discardableResult
    private func insert(_ key: Key, bucket first: Int, value: Value) -> Bool {
        if header.pointee.statistics.entries >= header.pointee.capacity && !evictFairly() { return false }
        guard let place = freePlace(bucket: first) ?? evictNearby(bucket: first) else { return false }
        addOverflow(1, from: first, to: Int(place) / Self.ways)
        write(key, value, at: place)
        header.pointee.statistics.entries += 1
        if !value.isStatic { link(place, to: value.port) }
        return true
    }

    private func remove(at place: UInt32) {
        let former = value(at: place)
        let home = bucket(of: key(at: place)!)
        if !former.isStatic { unlink(place, from: former.port) }
        write(nil, .absent, at: place)
        addOverflow(-1, from: home, to: Int(place) / Self.ways)
        header.pointee.statistics.entries -= 1
    }

    private func freePlace(bucket first: Int) -> UInt32? {
        var bucket = first
        for _ in 0..<Self.maximumProbes {
            for way in 0..<Self.ways where words[bucket * Self.bucketLength + 1 + way].load(ordering: .relaxed) == 0 {
                return UInt32(bucket * Self.ways + way)
            }
            bucket = (bucket + 1) & mask
        }
        return nil
    }

    private func addOverflow(_ change: Int64, from home: Int, to last: Int) {
        var bucket = home
        while bucket != last {
            let word = words + bucket * Self.bucketLength
            let overflow = UInt64(bitPattern: change &<< 32)
            word.pointee.store(word.pointee.load(ordering: .relaxed) &+ overflow, ordering: .releasing)
            bucket = (bucket + 1) & mask
        }
    }

    /// Frees a place: the port with the most stations loses its oldest.
    private func evictFairly() -> Bool {
        let ports = header.pointee.ports
        var fullest = 0
        for port in 0..<header.pointee.portLimit where ports[port].count > ports[fullest].count { fullest = port }
        return evict(ports[fullest].oldest)
    }

    /// Frees one of the places that a key may have: the one silent longest.
    private func evictNearby(bucket first: Int) -> UInt32? {
        var oldest = Self.none
        for probe in 0..<Self.maximumProbes {
            for way in 0..<Self.ways {
                let place = UInt32(((first + probe) & mask) * Self.ways + way)
                guard !value(at: place).isStatic else { continue }
                if oldest == Self.none || value(at: place).seen < value(at: oldest).seen { oldest = place }
            }
        }
        return evict(oldest) ? oldest : nil
    }

    private func evict(_ place: UInt32) -> Bool {
        guard place != Self.none else { return false }
        remove(at: place)
        header.pointee.statistics.evicted &+= 1
        return true
    }

    // MARK: - The ports' lists, newest station first

    private func link(_ place: UInt32, to port: UInt16) {
        let list = header.pointee.ports + Int(port)
        links[Int(place)] = Link(newer: Self.none, older: list.pointee.newest)
        if list.pointee.newest != Self.none { links[Int(list.pointee.newest)].newer = place }
        list.pointee.newest = place
        if list.pointee.oldest == Self.none { list.pointee.oldest = place }
        list.pointee.count += 1
        header.pointee.portLimit = max(header.pointee.portLimit, Int(port) + 1)
    }

    private func unlink(_ place: UInt32, from port: UInt16) {
        let list = header.pointee.ports + Int(port)
        let link = links[Int(place)]
        if link.newer == Self.none {
            list.pointee.newest = link.older
        } else {
            links[Int(link.newer)].older = link.older
        }
        if link.older == Self.none {
            list.pointee.oldest = link.newer
        } else {
            links[Int(link.older)].newer = link.newer
        }
        list.pointee.count -= 1
    }
}
