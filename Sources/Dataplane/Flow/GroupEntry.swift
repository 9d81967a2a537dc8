import Flows
import Synchronization

/// A group as flows point to it: stays in its place while the group exists.
struct GroupCell: ~Copyable {
    private let current: Atomic<UnsafeMutablePointer<GroupEntry>?>

    init() { current = Atomic(nil) }

    /// What the group is at a version of the tables.
    @inline(__always)
    func entry(at version: UInt64) -> UnsafeMutablePointer<GroupEntry>? {
        guard let entry = current.load(ordering: .acquiring) else { return nil }
        return entry.pointee.added <= version ? entry : entry.pointee.former
    }

    // The writer's.
    var newest: UnsafeMutablePointer<GroupEntry>? { current.load(ordering: .relaxed) }
    func replace(with entry: UnsafeMutablePointer<GroupEntry>) { current.store(entry, ordering: .releasing) }
}

/// A group's buckets, compiled.
struct GroupEntry {
    let kind: Group.Kind
    /// The first version that has it, and what it replaces there: needed by the packets that are under way then.
    let added: UInt64
    let former: UnsafeMutablePointer<GroupEntry>?
    let buckets: UnsafeMutablePointer<BucketEntry>
    let bucketCount: Int
    /// What a select group hashes; without fields it knows best.
    let hashesFields: Bool
    let hashMask: KeyWords
    let hashBasis: UInt64

    static func discard(_ entry: UnsafeMutablePointer<GroupEntry>) {
        for index in 0..<entry.pointee.bucketCount { entry.pointee.buckets[index].instructions.deallocate() }
        entry.pointee.buckets.deallocate()
        entry.pointee.hashMask.words.deallocate()
        entry.deallocate()
    }

    /// - Parameter buckets: with the instructions of each.
    static func made(
        _ group: Group,
        _ buckets: [BucketEntry],
        added: UInt64,
        former: UnsafeMutablePointer<GroupEntry>?
    ) -> UnsafeMutablePointer<GroupEntry> {
        let places = UnsafeMutablePointer<BucketEntry>.allocate(capacity: max(buckets.count, 1))
        places.initialize(from: buckets, count: buckets.count)
        let mask = KeyWords.allocated()
        var key = FlowKey()
        for one in group.hashFields { key[one.field.slot] |= one.mask }
        mask.all = key
        let entry = UnsafeMutablePointer<GroupEntry>.allocate(capacity: 1)
        entry.initialize(
            to: GroupEntry(
                kind: group.kind,
                added: added,
                former: former,
                buckets: places,
                bucketCount: buckets.count,
                hashesFields: group.selectionMethod == .hash && !group.hashFields.isEmpty,
                hashMask: mask,
                hashBasis: group.selectionParameter
            )
        )
        return entry
    }
}

struct BucketEntry {
    let identifier: UInt32
    let weight: UInt16
    /// OpenFlow numbers; `PortEntry.noPort` when no port is watched.
    let watchPort: UInt16
    let watchGroup: UnsafePointer<GroupCell>?
    /// Its action set, in order.
    let instructions: UnsafeMutablePointer<Instruction>
    let count: Int

    var watches: Bool { watchPort != PortEntry.noPort || watchGroup != nil }
}

extension Instruction {
    /// Whether `bucket` would not refuse an action.
    static func canBeInBucket(_ action: Action, _ context: ActionContext) -> Bool {
        ActionSetKind(action) != nil && (try? conditional(action, context)) != nil
    }

    /// A bucket is an action set of its own (OpenFlow 1.5.1 section 5.10): without an output it does nothing.
    static func bucket(_ actions: [Action], _ context: ActionContext) throws(Refusal) -> [Instruction] {
        var ofKind: [ActionSetKind: [Action]] = [:]
        for action in actions {
            guard let kind = ActionSetKind(action) else {
                throw Refusal("'\(FlowText.print([action]))' cannot be in a bucket, which is an action set")
            }
            ofKind[kind, default: []].append(action)
        }
        let last = [ActionSetKind.group, .output, .resubmit].lazy.compactMap { ofKind[$0]?.last }.first
        guard let last else { return [] }
        let edits = [ActionSetKind.popTag, .pushTag, .decrementTTL].compactMap { ofKind[$0]?.last }
        var instructions: [Instruction] = []
        for action in edits + (ofKind[.fields] ?? []) + [last] { instructions += try conditional(action, context) }
        return instructions
    }
}
