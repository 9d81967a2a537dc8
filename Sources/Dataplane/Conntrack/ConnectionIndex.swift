import Synchronization

/// From what packets of either direction have in common to the numbers of connections, shared by all workers.
///
/// Buckets are cache lines of seven ways. A reader takes no lock: it looks through a bucket and holds what it finds
/// against the connection. A writer locks the bucket that a hash leads to; when that is full the number goes to one of two
/// others, and the first counts those. With two of seven ways in use on average hardly any does.
struct ConnectionIndex {
    /// What a bucket begins with: the lock, and above it how many of its own are in other buckets.
    private static var lockBit: UInt64 { 1 }
    private static var spillShift: UInt64 { 1 }
    static var ways: Int { 7 }
    private static var bucketLength: Int { ways + 1 }
    /// Looks for a lock of another worker, which holds it for some instructions.
    private static var patience: Int { 1 << 10 }

    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let mask: Int

    init(capacity: Int) {
        let needed = max(capacity / 2, 4)
        let bucketCount = 1 << (Int.bitWidth - (needed - 1).leadingZeroBitCount)
        mask = bucketCount - 1
        words = LazyMemory.allocateAtomics(bucketCount * Self.bucketLength)
    }

    func free() { LazyMemory.free(words, (mask + 1) * Self.bucketLength) }

    /// Where a hash leads.
    struct Place: BitwiseCopyable {
        fileprivate let first: Int
        fileprivate let tag: UInt32
    }

    @inline(__always)
    func place(_ hash: UInt64) -> Place {
        Place(first: Int(truncatingIfNeeded: hash) & mask, tag: UInt32(truncatingIfNeeded: hash &>> 32) | 1)
    }

    /// Buckets that a number may be in: that of its hash, and two others.
    static var steps: Int { 3 }

    /// - Parameter step: below `steps`.
    @inline(__always)
    private func bucket(_ place: Place, _ step: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        bucket((place.first &+ step &* Int(place.tag)) & mask)
    }

    @inline(__always)
    private func bucket(_ number: Int) -> UnsafeMutablePointer<Atomic<UInt64>> { words + number &* Self.bucketLength }

    // MARK: - Reading

    /// The number in a way, if its tag is that of a place; else 0.
    @inline(__always)
    func candidate(_ place: Place, step: Int, way: Int) -> UInt32 {
        let word = bucket(place, step)[way &+ 1].load(ordering: .acquiring)
        return UInt32(truncatingIfNeeded: word &>> 32) == place.tag ? UInt32(truncatingIfNeeded: word) : 0
    }

    /// Whether what leads to a place may be in another bucket than the first.
    @inline(__always)
    func hasSpilled(_ place: Place) -> Bool {
        bucket(place.first).pointee.load(ordering: .relaxed) &>> Self.spillShift != 0
    }

    // MARK: - Writing

    /// - Returns: false when somebody else holds the lock for long.
    func lock(_ place: Place) -> Bool { lock(bucket(place.first)) }

    func unlock(_ place: Place) { unlock(bucket(place.first)) }

    /// Puts a number in.
    /// - Precondition: the place is locked.
    /// - Returns: false when there is no room.
    func insert(_ number: UInt32, _ place: Place) -> Bool {
        let word = UInt64(place.tag) << 32 | UInt64(number)
        let home = bucket(place.first)
        if put(word, in: home) { return true }
        for step in 1..<Self.steps {
            let other = bucket(place, step)
            guard other != home, lock(other) else { continue }
            defer { unlock(other) }
            guard put(word, in: other) else { continue }
            addSpill(1, home)
            return true
        }
        return false
    }

    /// Takes a number out.
    /// - Precondition: it is there, and the place is locked.
    /// - Returns: false when it must be tried again, with the place unlocked meanwhile.
    func remove(_ number: UInt32, _ place: Place) -> Bool {
        let word = UInt64(place.tag) << 32 | UInt64(number)
        let home = bucket(place.first)
        if take(word, from: home) { return true }
        for step in 1..<Self.steps {
            let other = bucket(place, step)
            guard other != home, lock(other) else { continue }
            defer { unlock(other) }
            guard take(word, from: other) else { continue }
            addSpill(-1, home)
            return true
        }
        return false
    }

    private func put(_ word: UInt64, in bucket: UnsafeMutablePointer<Atomic<UInt64>>) -> Bool {
        for way in 1...Self.ways where bucket[way].load(ordering: .relaxed) == 0 {
            bucket[way].store(word, ordering: .releasing)
            return true
        }
        return false
    }

    private func take(_ word: UInt64, from bucket: UnsafeMutablePointer<Atomic<UInt64>>) -> Bool {
        for way in 1...Self.ways where bucket[way].load(ordering: .relaxed) == word {
            bucket[way].store(0, ordering: .releasing)
            return true
        }
        return false
    }

    private func addSpill(_ change: Int64, _ bucket: UnsafeMutablePointer<Atomic<UInt64>>) {
        let former = bucket.pointee.load(ordering: .relaxed)
        bucket.pointee.store(former &+ UInt64(bitPattern: change &<< Int64(Self.spillShift)), ordering: .relaxed)
    }

    private func lock(_ bucket: UnsafeMutablePointer<Atomic<UInt64>>) -> Bool {
        for _ in 0..<Self.patience {
            let word = bucket.pointee.load(ordering: .relaxed)
            guard word & Self.lockBit == 0 else { continue }
            let next = word | Self.lockBit
            if bucket.pointee.weakCompareExchange(expected: word, desired: next, ordering: .acquiring).exchanged {
                return true
            }
        }
        return false
    }

    private func unlock(_ bucket: UnsafeMutablePointer<Atomic<UInt64>>) {
        bucket.pointee.store(bucket.pointee.load(ordering: .relaxed) & ~Self.lockBit, ordering: .releasing)
    }
}
