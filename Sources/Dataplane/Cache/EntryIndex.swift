import CPacket

/// From the hashes of a cache's entries to their numbers: buckets of one cache line with eight tags each, as many as the
/// entries need, so that few connections stay in the first caches of the core.
///
/// It grows and shrinks a bucket at a time (Litwin, "Linear hashing: a new tool for file and table addressing", VLDB 1980):
/// buckets from `count` on are not there yet, and their entries lie where one bit less of the tag leads.
struct EntryIndex {
    /// Tags, which are never 0 where there is an entry, and the entries' numbers: one cache line.
    struct Bucket: BitwiseCopyable {
        var tags: SIMD8<UInt32>
        var numbers: SIMD8<UInt32>

        /// - Parameter tag: 0, with the number 0, for a way that is free.
        mutating func put(_ number: UInt32, _ tag: UInt32, way: Int) {
            tags[way] = tag
            numbers[way] = number
        }

        /// Moves what a way has into another bucket.
        mutating func move(_ way: Int, to bucket: UnsafeMutablePointer<Bucket>, way other: Int) {
            bucket.pointee.put(numbers[way], tags[way], way: other)
            put(0, 0, way: way)
        }
    }

    private struct Extent: BitwiseCopyable {
        var count: Int
        /// The least power of 2 that is not below `count`, less 1.
        var mask: Int
    }

    static var ways: Int { 8 }
    private static var leastCount: Int { 8 }

    private let buckets: UnsafeMutablePointer<Bucket>
    private let limit: Int
    private let extent: UnsafeMutablePointer<Extent>

    /// - Parameter capacity: entries. With half as many buckets hardly any is full when there are as many entries: in a full
    /// one, connections that take turns would always find themselves gone.
    init(capacity: Int) {
        // A power of 2, so that none waits to be split when it is reached.
        let need = max(Self.leastCount, capacity / 2)
        limit = 1 << (Int.bitWidth - (need - 1).leadingZeroBitCount)
        buckets = LazyMemory.allocate(Bucket.self, limit)
        extent = .allocate(capacity: 1)
        extent.initialize(to: Extent(count: Self.leastCount, mask: Self.leastCount - 1))
    }

    func free() {
        LazyMemory.free(buckets, limit)
        extent.deallocate()
    }

    /// Buckets that are in use.
    var count: Int { extent.pointee.count }

    /// The upper half of a hash, which alone says where its entry lies.
    @inline(__always)
    static func tag(of hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash &>> 32) | 1 }

    @inline(__always)
    func bucket(_ tag: UInt32) -> UnsafeMutablePointer<Bucket> {
        let (count, mask) = (extent.pointee.count, extent.pointee.mask)
        let place = Int(tag &>> 1) & mask
        return buckets + (place < count ? place : place & (mask &>> 1))
    }

    /// Fetches where a hash's entry is found.
    @inline(__always)
    func fetch(_ hash: UInt64) { martlet_prefetch(bucket(Self.tag(of: hash))) }

    /// The entry in a hash's bucket with its tag: nearly always the one that is looked for, if that is there. 0 for none.
    @inline(__always)
    func candidate(_ hash: UInt64) -> UInt32 {
        // Without a branch on the way that it is in: nothing could predict that. Two of the same tag make a number of an
        // entry that the key does not match, and a look at each way tells them apart.
        martlet_matched(bucket(Self.tag(of: hash)), Self.tag(of: hash))
    }

    func remove(_ number: UInt32, _ tag: UInt32) {
        let bucket = bucket(tag)
        for way in 0..<Self.ways where bucket.pointee.numbers[way] == number { bucket.pointee.put(0, 0, way: way) }
    }

    /// Makes room for one more entry than there are. As many buckets as entries, up to the limit: those that wait to be
    /// split have twice as many as others, and hardly ever is one full.
    @inline(__always)
    func grow(entries: Int) {
        if entries >= extent.pointee.count && extent.pointee.count < limit { split() }
    }

    /// Gives up to so many buckets back, when there are many more than the entries need.
    func shrink(entries: Int, limit: Int) {
        for _ in 0..<limit {
            guard entries * 4 < extent.pointee.count, extent.pointee.count > Self.leastCount, merge() else { return }
        }
    }

    /// Adds a bucket, and moves the entries there that waited for it in another one.
    @inline(never)
    private func split() {
        let added = extent.pointee.count
        if added > extent.pointee.mask { extent.pointee.mask = extent.pointee.mask * 2 + 1 }
        let former = buckets + added & extent.pointee.mask &>> 1
        extent.pointee.count = added + 1
        for way in 0..<Self.ways where former.pointee.tags[way] != 0 {
            guard Int(former.pointee.tags[way] &>> 1) & extent.pointee.mask == added else { continue }
            former.pointee.move(way, to: buckets + added, way: way)
        }
    }

    /// Takes the last bucket away, if the one that its entries then belong to has room.
    private func merge() -> Bool {
        let last = buckets + (extent.pointee.count - 1)
        let heir = buckets + (extent.pointee.count - 1) & extent.pointee.mask &>> 1
        guard Self.useCount(last) + Self.useCount(heir) <= Self.ways else { return false }
        var free = 0
        for way in 0..<Self.ways where last.pointee.tags[way] != 0 {
            while heir.pointee.tags[free] != 0 { free += 1 }
            last.pointee.move(way, to: heir, way: free)
        }
        extent.pointee.count -= 1
        if extent.pointee.count == extent.pointee.mask / 2 + 1 { extent.pointee.mask /= 2 }
        return true
    }

    private static func useCount(_ bucket: UnsafeMutablePointer<Bucket>) -> Int {
        var count = 0
        for way in 0..<ways where bucket.pointee.tags[way] != 0 { count += 1 }
        return count
    }
}
