import Flows
import Synchronization

/// The flows that were added last, for workers to tell which entries of their caches a new flow can concern.
///
/// A ring of records; those of one table are a chain, the newest first. The control plane writes. A worker that the ring
/// overtook while it read a record finds that the record `isThere` no more, and knows nothing then.
struct RecentFlows: BitwiseCopyable {
    /// More of them in a transaction are a change of their tables: to walk anew costs less than to compare.
    static var transactionLimit: Int { 128 }
    private static var capacity: Int { 1024 }

    /// A record: the number of the table's one before, version, priority; values and masks by the places of a cache key.
    private static var stride: Int { 32 }
    private static var valuePlace: Int { 3 }
    private static var maskPlace: Int { valuePlace + CacheKey.length }

    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let count: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        precondition(Self.maskPlace + CacheKey.length <= Self.stride)
        words = LazyMemory.allocateAtomics(Self.capacity * Self.stride)
        count = LazyMemory.allocateAtomics(1)
    }

    func free() {
        LazyMemory.free(words, Self.capacity * Self.stride)
        LazyMemory.free(count, 1)
    }

    /// Notes a flow.
    /// - Parameter previous: the number of the table's last record, 0 when it has none.
    /// - Returns: the number of the new one.
    func add(_ flow: Flow, version: UInt64, previous: UInt64) -> UInt64 {
        let number = count.pointee.load(ordering: .relaxed) + 1
        // First of all, so that whoever still reads what is overwritten finds out.
        count.pointee.store(number, ordering: .relaxed)
        let record = record(number)
        record[0].store(previous, ordering: .releasing)
        record[1].store(version, ordering: .releasing)
        record[2].store(UInt64(flow.priority), ordering: .releasing)
        for place in Self.valuePlace..<Self.stride { record[place].store(0, ordering: .releasing) }
        flow.match.forEachWord { word, value, mask in
            guard let place = CacheKey.place(of: word) else { return }
            // What no packet brings along may be anything by then.
            let carried = mask & ~PacketWords.own[word]
            record[Self.valuePlace + place].store(value & carried, ordering: .releasing)
            record[Self.maskPlace + place].store(carried, ordering: .releasing)
        }
        return number
    }

    // MARK: - Readers

    func previous(of number: UInt64) -> UInt64 { record(number)[0].load(ordering: .acquiring) }
    func version(of number: UInt64) -> UInt64 { record(number)[1].load(ordering: .acquiring) }
    func priority(of number: UInt64) -> Int { Int(record(number)[2].load(ordering: .acquiring)) }

    /// What the flow matches at a place of a cache key.
    @inline(__always)
    func match(_ number: UInt64, at place: Int) -> (value: UInt64, mask: UInt64) {
        let record = record(number)
        return (
            record[Self.valuePlace + place].load(ordering: .acquiring),
            record[Self.maskPlace + place].load(ordering: .acquiring)
        )
    }

    /// Whether what was read of a record until now was the record's.
    func isThere(_ number: UInt64) -> Bool {
        count.pointee.load(ordering: .acquiring) &- number < UInt64(Self.capacity)
    }

    @inline(__always)
    private func record(_ number: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
        words + Int(truncatingIfNeeded: number) % Self.capacity * Self.stride
    }
}
