import Flows

/// What a lane needs to switch by flows: allocated once.
@usableFromInline struct FlowMemory {
    let walk: WalkMemory
    let cache: FlowCache
    let mailbox: CacheMailbox
    let messages: FlowMessageRing
    let runs: UnsafeMutablePointer<Lane.FlowRun>
    /// A key for each run, and one more for look-ups under other masks.
    private let keys: UnsafeMutablePointer<UInt64>
    /// The flow key and layout of each run's packet, where they were read.
    private let packetKeys: UnsafeMutablePointer<UInt64>
    let layouts: UnsafeMutablePointer<FrameLayout>
    let missBudget: MissBudget
    /// The packets of a burst that came out of tunnels, and their origins.
    let tunnelled: UnsafeMutablePointer<Packet?>
    let origins: UnsafeMutablePointer<UInt16>
    /// Packets that wait for a neighbor, how many, and since when the one waits that comes in again, 0 for none.
    let held: UnsafeMutablePointer<Lane.Held>
    let heldCount: UnsafeMutablePointer<Int>
    let heldSince: UnsafeMutablePointer<UInt64>
    /// Pieces of a datagram that come in again, and how many; and their packets.
    let pieces: UnsafeMutablePointer<FragmentStore.Piece>
    let pieceCount: UnsafeMutablePointer<Int>
    let pieceBurst: UnsafeMutablePointer<Packet?>
    /// The last identification of an IPv4 packet that may be fragmented.
    let identification: UnsafeMutablePointer<UInt16>
    let burst: UnsafeMutablePointer<Lane.Burst>

    init(cacheCapacity: Int, lane: Int, connections: ConnectionTable) {
        walk = WalkMemory(PacketTracker(connections, share: lane))
        cache = FlowCache(capacity: cacheCapacity, lane: lane)
        mailbox = CacheMailbox()
        messages = FlowMessageRing()
        runs = .allocate(capacity: Lane.burstLength + 1)
        keys = .allocate(capacity: (Lane.burstLength + 1) * CacheKey.length)
        keys.initialize(repeating: 0, count: (Lane.burstLength + 1) * CacheKey.length)
        packetKeys = .allocate(capacity: Lane.burstLength * FlowKey.wordCount)
        layouts = .allocate(capacity: Lane.burstLength)
        layouts.initialize(repeating: FrameLayout(), count: Lane.burstLength)
        missBudget = MissBudget()
        tunnelled = .allocate(capacity: Lane.burstLength)
        tunnelled.initialize(repeating: nil, count: Lane.burstLength)
        origins = .allocate(capacity: Lane.burstLength)
        origins.initialize(repeating: 0, count: Lane.burstLength)
        held = .allocate(capacity: Lane.heldLimit)
        heldCount = .allocate(capacity: 1)
        heldCount.initialize(to: 0)
        heldSince = .allocate(capacity: 1)
        heldSince.initialize(to: 0)
        pieces = .allocate(capacity: Lane.burstLength)
        pieceCount = .allocate(capacity: 1)
        pieceCount.initialize(to: 0)
        pieceBurst = .allocate(capacity: Lane.burstLength)
        pieceBurst.initialize(repeating: nil, count: Lane.burstLength)
        identification = .allocate(capacity: 1)
        identification.initialize(to: 0)
        burst = .allocate(capacity: 1)
    }

    func free() {
        walk.free()
        cache.free()
        mailbox.free()
        messages.free()
        runs.deallocate()
        keys.deallocate()
        packetKeys.deallocate()
        layouts.deallocate()
        missBudget.free()
        tunnelled.deallocate()
        origins.deallocate()
        held.deallocate()
        heldCount.deallocate()
        heldSince.deallocate()
        pieces.deallocate()
        pieceCount.deallocate()
        pieceBurst.deallocate()
        identification.deallocate()
        burst.deallocate()
    }

    @inline(__always)
    func key(_ run: Int) -> CacheKey { CacheKey(words: keys + run &* CacheKey.length) }

    var otherKey: CacheKey { key(Lane.burstLength) }

    func packetKey(_ run: Int) -> KeyWords { KeyWords(words: packetKeys + run * FlowKey.wordCount) }
}
