/// Which revisions are too old to be taken in, beside those of documents that are held.
///
/// Deliveries are repeated and overtake each other: what was removed must not come back with a document that was sent before.
public struct OutdatedRevisions: Sendable {
    /// How many removals are remembered; of more, those with the greatest revisions.
    static let capacity = 65_536

    /// The revision of the last snapshot: whatever was sent before it says nothing any more.
    public private(set) var floor: UInt64 = 0
    /// The revisions of the removals since.
    private(set) var tombstones: [DocumentKey: UInt64] = [:]

    /// A tombstone that comes, or nil for one that goes.
    public struct Tombstone: Hashable, Sendable {
        public let key: DocumentKey
        public let revision: UInt64?

        public init(key: DocumentKey, revision: UInt64?) {
            self.key = key
            self.revision = revision
        }
    }

    /// What changes of it.
    public struct Change: Hashable, Sendable {
        public fileprivate(set) var floor: UInt64?
        public fileprivate(set) var tombstones: [Tombstone] = []

        public init(floor: UInt64? = nil, tombstones: [Tombstone] = []) {
            self.floor = floor
            self.tombstones = tombstones
        }

        public var isEmpty: Bool { floor == nil && tombstones.isEmpty }
    }

    /// - Returns: what to exchange to be where it was.
    mutating func exchange(_ change: Change) -> Change {
        var former = Change()
        if let floor = change.floor { (former.floor, self.floor) = (self.floor, floor) }
        former.tombstones = change.tombstones.map { one in
            let former = tombstones[one.key]
            tombstones[one.key] = one.revision
            return Tombstone(key: one.key, revision: former)
        }
        former.tombstones.reverse()
        return former
    }

    /// What follows from some changes that are taken in.
    /// - Parameter floor: the revision of a snapshot.
    func change(for changes: some Sequence<DocumentChange>, floor: UInt64?) -> Change {
        var change = Change(floor: floor)
        // Without a revision a change says nothing of what is outdated.
        for one in changes where one.revision > 0 {
            let revision = one.document == nil ? one.revision : nil
            if revision != tombstones[one.key] { change.tombstones.append(Tombstone(key: one.key, revision: revision)) }
        }
        change.tombstones += outlived(beside: change).map { Tombstone(key: $0, revision: nil) }
        return change
    }

    /// The tombstones that a new floor stands for, or for which there is no room.
    private func outlived(beside change: Change) -> [DocumentKey] {
        if let floor = change.floor { return tombstones.filter { $0.value < floor }.map(\.key) }
        guard tombstones.count + change.tombstones.count > Self.capacity else { return [] }
        // Several at a time: to find them costs what all do.
        let excess = tombstones.count + change.tombstones.count - Self.capacity * 7 / 8
        return tombstones.sorted { $0.value < $1.value }.prefix(excess).map(\.key)
    }
}
