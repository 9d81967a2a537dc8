import Flows
import Synchronization
import Wire

/// The connections of a switch, shared by its workers: found by the tuple of either direction, in any zone.
///
/// A connection is a number, and has a cache line with its state and one with its name. Numbers that are free again wait
/// in a queue before they are others', and `Connection.stamp` tells what a number was from what it is: nobody waits for
/// readers.
struct ConnectionTable: @unchecked Sendable {
    /// What a connection is found by.
    struct Name: BitwiseCopyable {
        /// As the first packet had it.
        var tuple: ConnectionTuple
        /// Its answers have another tuple than it reversed.
        var translation = Translation.none
        /// So that a connection has a cache line for it.
        private let rest: (UInt64, UInt64) = (0, 0)
    }

    /// A worker's part, and one of the control plane's: numbers at hand, and counts that it alone writes.
    struct Share: ~Copyable {
        var ready = Batch()
        var done = Batch()
        /// Where it looks for what ends.
        var sweepCursor: UInt32 = 1
        /// There was none to give up, so far as was looked since the last sweep.
        var isHopeless = false
        /// Of a generator of numbers.
        var chance = UInt64.random(in: .min ... .max)
        let created = Atomic<UInt64>(0)
        let removed = Atomic<UInt64>(0)
        let refused = Atomic<UInt64>(0)
        let evicted = Atomic<UInt64>(0)
        let expired = Atomic<UInt64>(0)
    }

    /// Numbers on their way between a share and the queue.
    struct Batch: BitwiseCopyable {
        static var capacity: Int { 32 }
        var count = 0
        var numbers: InlineArray<32, UInt32> = InlineArray(repeating: 0)
    }

    private struct Shared: ~Copyable {
        let lock = Atomic<Bool>(false)
        /// Numbers from it on were never used.
        let limit = Atomic<UInt32>(1)
        /// The queue of free numbers.
        var first = 0
        var freeCount = 0
        /// Connections that there are.
        let count = Atomic<Int>(0)
        let isLiberal = Atomic<Bool>(false)
    }

    /// Connections at once.
    let capacity: Int
    private let connections: UnsafeMutablePointer<Connection>
    private let names: UnsafeMutablePointer<Name>
    /// As the answers to connections that are translated have it; of those that others announced, the first packet of who did.
    /// Memory that nobody has touched is none.
    private let replies: UnsafeMutablePointer<Name>
    private let index: ConnectionIndex
    private let queue: UnsafeMutablePointer<UInt32>
    private let shared: UnsafeMutablePointer<Shared>
    private let shares: UnsafeMutablePointer<Share>
    private let shareCount: Int
    /// Of each zone: how many there are, and may be.
    private let zones: UnsafeMutablePointer<Atomic<UInt64>>
    private let timeouts: UnsafeMutablePointer<Atomic<UInt64>>
    private let secrets: UnsafeMutablePointer<UInt64>
    private let expectations = ExpectationTable()

    /// Numbers are in the queue for as long as so many others have been there.
    private static var resting: Int { 1024 }
    private static var zoneCount: Int { 1 << 16 }

    /// - Parameters:
    ///   - capacity: connections at once.
    ///   - shareCount: workers, and the control plane.
    init(capacity: Int, shareCount: Int) {
        precondition(MemoryLayout<Connection>.stride == 64 && MemoryLayout<Name>.stride == 64)
        self.capacity = capacity
        self.shareCount = shareCount
        // Those that rest and those at hand are not in use.
        let numberCount = Self.numberCount(capacity: capacity, shareCount: shareCount)
        connections = UnsafeMutableRawPointer(LazyMemory.allocate(UInt64.self, (numberCount + 1) * 8))
            .assumingMemoryBound(to: Connection.self)
        names = LazyMemory.allocate(Name.self, numberCount + 1)
        replies = LazyMemory.allocate(Name.self, numberCount + 1)
        index = ConnectionIndex(capacity: capacity)
        queue = LazyMemory.allocate(UInt32.self, numberCount)
        shared = .allocate(capacity: 1)
        shared.initialize(to: Shared())
        shares = .allocate(capacity: shareCount)
        for share in 0..<shareCount {
            (shares + share).initialize(to: Share())
            shares[share].sweepCursor = 1 + UInt32(share)
        }
        zones = LazyMemory.allocateAtomics(Self.zoneCount)
        timeouts = LazyMemory.allocateAtomics(TrackTimeout.allCases.count)
        for timeout in TrackTimeout.allCases {
            timeouts[Int(timeout.rawValue)].store(UInt64(timeout.defaultSeconds), ordering: .relaxed)
        }
        secrets = .allocate(capacity: Self.secretCount)
        for secret in 0..<Self.secretCount { (secrets + secret).initialize(to: .random(in: .min ... .max)) }
    }

    func free() {
        let numberCount = Self.numberCount(capacity: capacity, shareCount: shareCount)
        LazyMemory.free(
            UnsafeMutableRawPointer(connections).assumingMemoryBound(to: UInt64.self),
            (numberCount + 1) * 8
        )
        LazyMemory.free(names, numberCount + 1)
        LazyMemory.free(replies, numberCount + 1)
        index.free()
        LazyMemory.free(queue, numberCount)
        shared.deinitialize(count: 1)
        shared.deallocate()
        shares.deinitialize(count: shareCount)
        shares.deallocate()
        LazyMemory.free(zones, Self.zoneCount)
        LazyMemory.free(timeouts, TrackTimeout.allCases.count)
        secrets.deallocate()
        expectations.free()
    }

    private static func numberCount(capacity: Int, shareCount: Int) -> Int {
        capacity + resting + 2 * Batch.capacity * shareCount
    }

    // MARK: - Looking up

    /// A connection that was found.
    struct Found: BitwiseCopyable {
        let number: UInt32
        /// As it was when the name was read.
        let stamp: UInt32
        /// The packet goes to who began the connection.
        let isReply: Bool
    }

    @inline(__always)
    subscript(number: UInt32) -> UnsafeMutablePointer<Connection> { connections + Int(number) }

    /// The connection of a tuple; nil when there is none, or no more.
    @inline(never)
    func find(_ tuple: ConnectionTuple, now: UInt32) -> Found? {
        let reversed = tuple.reversed
        return find(tuple, reversed, index.place(hash(tuple)), now: now)
    }

    private func find(
        _ tuple: ConnectionTuple,
        _ reversed: ConnectionTuple,
        _ place: ConnectionIndex.Place,
        now: UInt32
    )
        -> Found?
    {
        if let found = find(tuple, reversed, place, step: 0, now: now) { return found }
        guard index.hasSpilled(place) else { return nil }
        for step in 1..<ConnectionIndex.steps {
            if let found = find(tuple, reversed, place, step: step, now: now) { return found }
        }
        return nil
    }

    @inline(__always)
    private func find(
        _ tuple: ConnectionTuple,
        _ reversed: ConnectionTuple,
        _ place: ConnectionIndex.Place,
        step: Int,
        now: UInt32
    ) -> Found? {
        for way in 0..<ConnectionIndex.ways {
            let number = index.candidate(place, step: step, way: way)
            if number != 0, let found = read(number, tuple, reversed), !isOver(number, now: now) { return found }
        }
        return nil
    }

    /// What is known of a number, if it is the connection of a tuple.
    @inline(__always)
    private func read(_ number: UInt32, _ tuple: ConnectionTuple, _ reversed: ConnectionTuple) -> Found? {
        let stamp = self[number].pointee.stamp.load(ordering: .acquiring)
        guard stamp & 1 != 0 else { return nil }
        let name = names[Int(number)]
        let isFirst = name.tuple == tuple
        let isReply = name.translation == .none ? name.tuple == reversed : replies[Int(number)].tuple == tuple
        atomicMemoryFence(ordering: .acquiring)
        // The name may have been another's while it was read.
        guard self[number].pointee.stamp.load(ordering: .relaxed) == stamp else { return nil }
        return isFirst || isReply ? Found(number: number, stamp: stamp, isReply: !isFirst) : nil
    }

    private func isOver(_ number: UInt32, now: UInt32) -> Bool {
        Int32(bitPattern: self[number].pointee.expiry.load(ordering: .relaxed) &- now) <= 0
    }

    /// The tuple of a connection's first packet.
    func tuple(of number: UInt32) -> ConnectionTuple { names[Int(number)].tuple }

    /// The tuple that flows see as that of the first packet: of a connection that another one announced, it is the other's.
    func original(of number: UInt32) -> ConnectionTuple {
        let state = ConnectionState(word: self[number].pointee.state.load(ordering: .relaxed))
        return state.isExpected ? replies[Int(number)].tuple : tuple(of: number)
    }

    func translation(of number: UInt32) -> Translation { names[Int(number)].translation }

    /// The tuple of the answers to it.
    func reply(of number: UInt32) -> ConnectionTuple {
        translation(of: number) == .none ? names[Int(number)].tuple.reversed : replies[Int(number)].tuple
    }

    /// The second at which a connection ends that was last used now: as late as its timeout says, and no more than a second
    /// later.
    @inline(__always)
    func expiry(_ timeout: TrackTimeout, now: UInt32) -> UInt32 { expiry(number: timeout.rawValue, now: now) }

    /// The same of a timeout's number.
    @inline(__always)
    func expiry(number: UInt8, now: UInt32) -> UInt32 {
        now &+ 1 &+ UInt32(truncatingIfNeeded: timeouts[Int(number)].load(ordering: .relaxed))
    }

    // MARK: - Hashes

    private static var secretCount: Int { 6 }

    /// The same for both directions, so that one place serves them; with secrets, so that nobody can aim at one.
    @inline(__always)
    private func hash(_ tuple: ConnectionTuple) -> UInt64 {
        let isICMP = tuple.isICMP
        let one = end(tuple.sourceHigh, tuple.sourceLow, tuple.sourcePort)
        let other = end(tuple.destinationHigh, tuple.destinationLow, isICMP ? tuple.sourcePort : tuple.destinationPort)
        return ((one &+ other) ^ secrets[4]).folded(by: tuple.common ^ secrets[5])
    }

    @inline(__always)
    private func end(_ high: UInt64, _ low: UInt64, _ port: UInt16) -> UInt64 {
        let address = (high ^ secrets[0]).folded(by: low ^ secrets[1])
        return (address ^ secrets[2]).folded(by: UInt64(port) ^ secrets[3])
    }

    // MARK: - Beginning

    /// Why there is no connection after `create`: another one has its answers' tuple, in the case of `isTaken`.
    enum Failure: Error { case zoneLimit, tableFull, isTaken }

    /// Begins a connection, or finds the one that another worker has begun meanwhile.
    /// - Parameters:
    ///   - tuple: of its first packet.
    ///   - reply: of the answers, if addresses or ports are translated; `choose` has chosen it. Of a connection that another
    ///     one announced, that one's first packet.
    ///   - state: of TCP beside the first packet's `tcp`.
    ///   - share: the caller's.
    func create(
        _ tuple: ConnectionTuple,
        _ translation: Translation,
        reply: ConnectionTuple,
        _ state: ConnectionState,
        _ tcp: TCPState?,
        share: Int,
        now: UInt32
    ) -> Result<Found, Failure> {
        guard enter(zone: tuple.zone) else { return .failure(refuse(.zoneLimit, share)) }
        guard makeRoom(share, now: now), let number = take(share) else {
            leave(zone: tuple.zone)
            return .failure(refuse(.tableFull, share))
        }
        names[Int(number)] = Name(tuple: tuple, translation: translation)
        if translation != .none || state.isExpected { replies[Int(number)] = Name(tuple: reply) }
        write(state, tcp, to: number, now: now)
        let place = index.place(hash(tuple))
        guard index.lock(place) else { return .failure(giveBack(number, tuple.zone, share)) }
        if let found = find(tuple, tuple.reversed, place, now: now) {
            index.unlock(place)
            put(number, share)
            leave(zone: tuple.zone)
            return .success(found)
        }
        let stamp = self[number].pointee.stamp.load(ordering: .relaxed) &+ 1
        self[number].pointee.stamp.store(stamp, ordering: .releasing)
        let isIn = index.insert(number, place)
        index.unlock(place)
        guard isIn else {
            self[number].pointee.stamp.store(stamp &+ 1, ordering: .releasing)
            return .failure(giveBack(number, tuple.zone, share))
        }
        shared.pointee.count.wrappingAdd(1, ordering: .relaxed)
        shares[share].created.add(1)
        guard translation == .none || insert(number, reply: reply, now: now) else {
            // Without the second place, which it does not have.
            names[Int(number)].translation = .none
            remove(number, stamp: stamp, share: share)
            return .failure(refuse(.isTaken, share))
        }
        return .success(Found(number: number, stamp: stamp, isReply: false))
    }

    /// Has a connection be found by the tuple of its answers.
    /// - Returns: false when another one is.
    private func insert(_ number: UInt32, reply: ConnectionTuple, now: UInt32) -> Bool {
        let place = index.place(hash(reply))
        guard index.lock(place) else { return false }
        defer { index.unlock(place) }
        if let found = find(reply, reply.reversed, place, now: now), found.number != number { return false }
        return index.insert(number, place)
    }

    // MARK: - Announced

    /// What a connection that would begin with a packet has from the one that announced it; nil for all others.
    @inline(__always)
    func expectation(of tuple: ConnectionTuple) -> ExpectationTable.Parent? {
        expectations.count == 0 ? nil : expectations.find(tuple, hash: addressHash(tuple))
    }

    /// Takes down what a packet of a connection announced.
    /// - Parameter tuple: of the first packet to come, whatever port it will come from.
    func expect(_ tuple: ConnectionTuple, announcedBy found: Found) {
        let connection = self[found.number]
        let parent = ExpectationTable.Parent(
            tuple: self.tuple(of: found.number),
            mark: connection.pointee.mark.load(ordering: .relaxed),
            label: connection.pointee.label
        )
        expectations.add(tuple, hash: addressHash(tuple), from: found.number, parent)
        // Another worker may have ended it meanwhile.
        if connection.pointee.stamp.load(ordering: .acquiring) != found.stamp { expectations.remove(of: found.number) }
    }

    private func addressHash(_ tuple: ConnectionTuple) -> UInt64 {
        (end(tuple.sourceHigh, tuple.sourceLow, 0) &+ end(tuple.destinationHigh, tuple.destinationLow, 0))
            .folded(by: UInt64(tuple.zone) ^ secrets[5])
    }

    // MARK: - Translation

    /// Chooses what a connection's end becomes: a tuple of the answers that no other connection has by now. However full a
    /// range is, no more than some choices are looked at.
    /// - Parameter tuple: of the first packet.
    /// - Returns: nil when no such tuple was found.
    func choose(_ range: TranslationRange, _ tuple: ConnectionTuple, share: Int, now: UInt32) -> ConnectionTuple? {
        let hash = hash(tuple)
        let address = range.isPersistent ? end(tuple.sourceHigh, tuple.sourceLow, 0) : hash
        var start = hash
        if range.isRandom {
            shares[share].chance = shares[share].chance &* 0x5851_f42d_4c95_7f2d &+ 1
            start = shares[share].chance >> 16
        }
        let addressCount = range.addressCount
        for attempt in 0..<min(addressCount, Self.addressAttempts) {
            var reply = tuple.reversed
            range.setAddress((address >> 32 &+ attempt) % addressCount, of: &reply)
            if choosePorts(range, tuple, &reply, start, now: now) { return reply }
        }
        return nil
    }

    private func choosePorts(
        _ range: TranslationRange,
        _ tuple: ConnectionTuple,
        _ reply: inout ConnectionTuple,
        _ start: UInt64,
        now: UInt32
    ) -> Bool {
        if tuple.isICMP { return chooseSource(PortRange(0, .max), tuple, &reply, start, now: now) }
        guard tuple.isTCP || tuple.protocolNumber == IPProtocol.udp else { return isFree(reply, now: now) }
        if let ports = range.destinationPorts {
            for index in 0..<min(ports.count, Self.portAttempts) {
                reply.sourcePort = ports.port(index, from: start)
                if isFree(reply, now: now) { return true }
            }
        }
        let ports = range.sourcePorts(own: tuple.sourcePort)
        return chooseSource(ports, tuple, &reply, start, keepsOwn: range.keepsSourcePort, now: now)
    }

    /// Of an ICMP query, the identifier (RFC 5508 section 3.1).
    private func chooseSource(
        _ ports: PortRange,
        _ tuple: ConnectionTuple,
        _ reply: inout ConnectionTuple,
        _ start: UInt64,
        keepsOwn: Bool = true,
        now: UInt32
    ) -> Bool {
        if keepsOwn && isFree(reply, now: now) { return true }
        for index in 0..<min(ports.count, Self.portAttempts) {
            let port = ports.port(index, from: start)
            if tuple.isICMP { reply.sourcePort = port } else { reply.destinationPort = port }
            if isFree(reply, now: now) { return true }
        }
        return false
    }

    private func isFree(_ reply: ConnectionTuple, now: UInt32) -> Bool { find(reply, now: now) == nil }

    /// With nine of ten choices taken, one of a million connections finds none.
    private static var portAttempts: Int { 128 }
    private static var addressAttempts: UInt64 { 4 }

    private func write(_ state: ConnectionState, _ tcp: TCPState?, to number: UInt32, now: UInt32) {
        let connection = self[number]
        connection.pointee.expiry.store(expiry(state.timeout, now: now), ordering: .relaxed)
        connection.pointee.state.store(state.word, ordering: .relaxed)
        connection.pointee.mark.store(0, ordering: .relaxed)
        connection.pointee.labelHigh.store(0, ordering: .relaxed)
        connection.pointee.labelLow.store(0, ordering: .relaxed)
        connection.pointee.began.store(now, ordering: .relaxed)
        guard let tcp else { return }
        connection.pointee.sent0.store(tcp.peers.originator.sentWord, ordering: .relaxed)
        connection.pointee.sent1.store(tcp.peers.responder.sentWord, ordering: .relaxed)
        connection.pointee.limit0.store(tcp.peers.originator.limit, ordering: .relaxed)
        connection.pointee.limit1.store(tcp.peers.responder.limit, ordering: .relaxed)
    }

    private func giveBack(_ number: UInt32, _ zone: UInt16, _ share: Int) -> Failure {
        put(number, share)
        leave(zone: zone)
        return refuse(.tableFull, share)
    }

    private func refuse(_ failure: Failure, _ share: Int) -> Failure {
        shares[share].refused.add(1)
        return failure
    }

    // MARK: - The end

    /// Ends a connection.
    /// - Parameter stamp: what is known of it; nil ends whatever has the number now.
    /// - Returns: false when that was over before.
    @discardableResult
    func remove(_ number: UInt32, stamp known: UInt32? = nil, share: Int) -> Bool {
        var stamp = self[number].pointee.stamp.load(ordering: .acquiring)
        while true {
            guard stamp & 1 != 0, known == nil || known == stamp else { return false }
            let (exchanged, found) = self[number].pointee.stamp.compareExchange(
                expected: stamp,
                desired: stamp &+ 1,
                ordering: .acquiringAndReleasing
            )
            if exchanged { break }
            stamp = found
        }
        let name = names[Int(number)]
        takeOut(number, name.tuple)
        if name.translation != .none { takeOut(number, replies[Int(number)].tuple) }
        leave(zone: name.tuple.zone)
        shared.pointee.count.wrappingSubtract(1, ordering: .relaxed)
        shares[share].removed.add(1)
        let state = ConnectionState(word: self[number].pointee.state.load(ordering: .relaxed))
        if state.helper != .none { expectations.remove(of: number) }
        put(number, share)
        return true
    }

    private func takeOut(_ number: UInt32, _ tuple: ConnectionTuple) {
        let place = index.place(hash(tuple))
        var isOut = false
        while !isOut {
            guard index.lock(place) else { continue }
            isOut = index.remove(number, place)
            index.unlock(place)
        }
    }

    /// Says that a connection is another for its packets from now on.
    /// - Returns: what it is known by then; nil when it was not what it is known by now.
    func restamp(_ number: UInt32, _ stamp: UInt32) -> UInt32? {
        let next = stamp &+ 2
        let (exchanged, _) = self[number].pointee.stamp.compareExchange(
            expected: stamp,
            desired: next,
            ordering: .acquiringAndReleasing
        )
        return exchanged ? next : nil
    }

    /// Looks at the next numbers of a share's, and ends what is over.
    func sweep(_ count: Int, share: Int, now: UInt32) {
        shares[share].isHopeless = false
        let limit = shared.pointee.limit.load(ordering: .relaxed)
        let workers = UInt32(max(shareCount - 1, 1))
        for _ in 0..<count {
            let number = shares[share].sweepCursor
            guard number < limit else {
                shares[share].sweepCursor = 1 &+ UInt32(share)
                return
            }
            shares[share].sweepCursor = number &+ workers
            let stamp = self[number].pointee.stamp.load(ordering: .acquiring)
            guard stamp & 1 != 0, isOver(number, now: now), remove(number, stamp: stamp, share: share) else { continue }
            shares[share].expired.add(1)
        }
    }

    /// Has a full table end a connection that nobody has agreed to.
    /// - Returns: false when none was found of late.
    private func makeRoom(_ share: Int, now: UInt32) -> Bool {
        guard shared.pointee.count.load(ordering: .relaxed) >= capacity else { return true }
        guard !shares[share].isHopeless else { return false }
        shares[share].isHopeless = !evict(share, now: now)
        return !shares[share].isHopeless
    }

    /// Ends a connection that nobody has agreed to: of some that are met by chance, one of the zone that has most.
    private func evict(_ share: Int, now: UInt32) -> Bool {
        var (victim, stamp, most) = (UInt32(0), UInt32(0), UInt64(0))
        var reach = Self.reach
        for _ in 0..<Self.candidateLimit {
            guard let (number, known) = candidate(share, &reach, now: now) else { break }
            let count = population(of: names[Int(number)].tuple.zone)
            if count > most { (victim, stamp, most) = (number, known, count) }
        }
        guard victim != 0, remove(victim, stamp: stamp, share: share) else { return false }
        shares[share].evicted.add(1)
        return true
    }

    /// The first connection that may go, and its stamp, from a number on that chance says.
    /// - Parameter reach: how many numbers may be looked at.
    private func candidate(_ share: Int, _ reach: inout Int, now: UInt32) -> (number: UInt32, stamp: UInt32)? {
        let limit = shared.pointee.limit.load(ordering: .relaxed)
        shares[share].chance = shares[share].chance &* 0x5851_f42d_4c95_7f2d &+ 1
        var number = 1 &+ UInt32(truncatingIfNeeded: shares[share].chance &>> 33) % (limit &- 1)
        while reach > 0 {
            reach &-= 1
            let stamp = self[number].pointee.stamp.load(ordering: .acquiring)
            let state = ConnectionState(word: self[number].pointee.state.load(ordering: .relaxed))
            if stamp & 1 != 0 && (!state.isAssured || isOver(number, now: now)) { return (number, stamp) }
            number = number &+ 1 == limit ? 1 : number &+ 1
        }
        return nil
    }

    /// Connections that are met for one to go, and numbers looked at for them: more than those that rest.
    private static var candidateLimit: Int { 8 }
    private static var reach: Int { 8 * resting }

    // MARK: - Numbers

    private func take(_ share: Int) -> UInt32? {
        if shares[share].ready.count == 0 { refill(share) }
        guard shares[share].ready.count != 0 else { return nil }
        shares[share].ready.count &-= 1
        return shares[share].ready.numbers[shares[share].ready.count]
    }

    private func put(_ number: UInt32, _ share: Int) {
        let count = shares[share].done.count
        shares[share].done.numbers[count] = number
        shares[share].done.count = count &+ 1
        if count &+ 1 == Batch.capacity { flush(share) }
    }

    /// Gets numbers that have rested, whose memory is there, or that were never used.
    private func refill(_ share: Int) {
        lockQueue()
        defer { unlockQueue() }
        let limit = Int(shared.pointee.limit.load(ordering: .relaxed))
        let numberCount = Self.numberCount(capacity: capacity, shareCount: shareCount)
        let rested = min(Batch.capacity, shared.pointee.freeCount &- Self.resting)
        if rested > 0 {
            for index in 0..<rested {
                shares[share].ready.numbers[index] = queue[(shared.pointee.first &+ index) % numberCount]
            }
            shared.pointee.first = (shared.pointee.first &+ rested) % numberCount
            shared.pointee.freeCount &-= rested
            shares[share].ready.count = rested
            return
        }
        let unused = min(Batch.capacity, numberCount &+ 1 &- limit)
        guard unused > 0 else { return }
        for index in 0..<unused { shares[share].ready.numbers[index] = UInt32(limit &+ unused &- 1 &- index) }
        shared.pointee.limit.store(UInt32(limit &+ unused), ordering: .relaxed)
        shares[share].ready.count = unused
    }

    /// Gives the numbers that are free to the queue.
    private func flush(_ share: Int) {
        lockQueue()
        defer { unlockQueue() }
        let numberCount = Self.numberCount(capacity: capacity, shareCount: shareCount)
        for index in 0..<shares[share].done.count {
            queue[(shared.pointee.first &+ shared.pointee.freeCount) % numberCount] = shares[share].done.numbers[index]
            shared.pointee.freeCount &+= 1
        }
        shares[share].done.count = 0
    }

    private func lockQueue() { while shared.pointee.lock.exchange(true, ordering: .acquiring) {} }
    private func unlockQueue() { shared.pointee.lock.store(false, ordering: .releasing) }

    // MARK: - Zones

    private static var countMask: UInt64 { 0xffff_ffff }

    private func population(of zone: UInt16) -> UInt64 {
        zones[Int(zone)].load(ordering: .relaxed) & Self.countMask
    }

    /// The most connections of a zone; 0 for no limit of its own.
    func setLimit(_ limit: UInt32, zone: UInt16) {
        var word = zones[Int(zone)].load(ordering: .relaxed)
        while true {
            let next = word & Self.countMask | UInt64(limit) << 32
            let (exchanged, found) = zones[Int(zone)].compareExchange(expected: word, desired: next, ordering: .relaxed)
            if exchanged { return }
            word = found
        }
    }

    /// How many connections a zone has, and may have; 0 for no limit of its own.
    func usage(of zone: UInt16) -> (count: UInt32, limit: UInt32) {
        let word = zones[Int(zone)].load(ordering: .relaxed)
        return (UInt32(truncatingIfNeeded: word), UInt32(truncatingIfNeeded: word >> 32))
    }

    private func enter(zone: UInt16) -> Bool {
        let word = zones[Int(zone)].wrappingAdd(1, ordering: .relaxed).newValue
        guard word >> 32 != 0, word & Self.countMask > word >> 32 else { return true }
        leave(zone: zone)
        return false
    }

    private func leave(zone: UInt16) { zones[Int(zone)].wrappingSubtract(1, ordering: .relaxed) }

    // MARK: - Settings and counts

    var isLiberal: Bool {
        @inline(__always) get { shared.pointee.isLiberal.load(ordering: .relaxed) }
        nonmutating set { shared.pointee.isLiberal.store(newValue, ordering: .relaxed) }
    }

    func setTimeout(_ timeout: TrackTimeout, seconds: UInt32) {
        timeouts[Int(timeout.rawValue)].store(UInt64(seconds), ordering: .relaxed)
    }

    func seconds(_ timeout: TrackTimeout) -> UInt32 {
        UInt32(truncatingIfNeeded: timeouts[Int(timeout.rawValue)].load(ordering: .relaxed))
    }

    /// There may be connections: there have been some.
    @inline(__always) var isUsed: Bool { shared.pointee.limit.load(ordering: .relaxed) != 1 }

    /// Numbers from 1 to below it have been connections.
    var numberLimit: UInt32 { shared.pointee.limit.load(ordering: .relaxed) }

    func statistics() -> ConnectionStatistics {
        var sum = ConnectionStatistics()
        sum.capacity = UInt64(capacity)
        for share in 0..<shareCount {
            sum.created += shares[share].created.load(ordering: .relaxed)
            sum.removed += shares[share].removed.load(ordering: .relaxed)
            sum.refused += shares[share].refused.load(ordering: .relaxed)
            sum.evicted += shares[share].evicted.load(ordering: .relaxed)
            sum.expired += shares[share].expired.load(ordering: .relaxed)
        }
        return sum
    }
}

/// What became of connections since the start.
public struct ConnectionStatistics: Hashable, Sendable {
    public var capacity: UInt64 = 0
    public var created: UInt64 = 0
    /// For whatever reason; `evicted` and `expired` are among them.
    public var removed: UInt64 = 0
    /// Not begun: the table was full of better ones, or the zone.
    public var refused: UInt64 = 0
    /// Given up before both sides had agreed to them, for others.
    public var evicted: UInt64 = 0
    public var expired: UInt64 = 0

    /// Those that there are.
    public var count: UInt64 { created &- min(removed, created) }

    public init() {}
}

extension Atomic where Value == UInt64 {
    /// Counts for one writer.
    fileprivate borrowing func add(_ count: UInt64) { store(load(ordering: .relaxed) &+ count, ordering: .relaxed) }
}
