public import Flows

/// What the compiler of actions knows of the bridge.
struct ActionContext {
    /// Where the groups are that flows may name.
    let groups: [UInt32: UnsafeMutablePointer<GroupCell>]
    var meters: [UInt32: PlacedMeter] = [:]
    /// Where learn actions get their numbers: buckets have none.
    var learns: LearnTable?

    func meter(_ identifier: UInt32) throws(Refusal) -> UnsafeMutablePointer<MeterCell> {
        guard let meter = meters[identifier] else {
            throw Refusal("meter \(identifier) does not exist on the bridge: add it with meter add")
        }
        return meter.cell
    }

    func cell(_ identifier: UInt32) throws(Refusal) -> UnsafeMutablePointer<GroupCell> {
        guard let cell = groups[identifier] else {
            throw Refusal("group \(identifier) does not exist on the bridge: add it with group add")
        }
        return cell
    }
}

/// Why groups cannot be as they are wanted, and which of them it is about.
public struct GroupRefusal: Error, Hashable, Sendable {
    public let groups: [UInt32]
    /// What in their buckets is why; to watch a group is to use it.
    public var actions: [Action] = []
    public let reason: String
}

/// The groups of a bridge: the writer's side.
struct GroupTable {
    private(set) var groups: [UInt32: Group] = [:]
    private(set) var cells: [UInt32: UnsafeMutablePointer<GroupCell>] = [:]

    /// A change that is checked and compiled, and that nobody sees yet.
    struct Change {
        fileprivate let groups: [UInt32: Group]
        fileprivate let cells: [UInt32: UnsafeMutablePointer<GroupCell>]
        fileprivate let entries: [(UnsafeMutablePointer<GroupCell>, UnsafeMutablePointer<GroupEntry>)]
        /// What is no group any more.
        let removed: Set<UInt32>
    }

    /// - Throws: `GroupRefusal` for a group that names one that does not exist or leads back to itself, for one that is
    ///   removed and still used by another, and for actions that cannot be run; nothing has changed then.
    func change(removing: [UInt32], adding: [Group], version: UInt64) throws(GroupRefusal) -> Change {
        var next = groups
        for identifier in removing {
            guard next.removeValue(forKey: identifier) != nil else {
                throw GroupRefusal(groups: [identifier], reason: "group \(identifier) does not exist")
            }
        }
        for group in adding { next[group.identifier] = group }
        // Those that stay as they are can only miss what goes.
        try Self.check(next, from: removing.isEmpty ? adding.map(\.identifier) : next.keys.sorted())
        var cells = self.cells.filter { next[$0.key] != nil }
        for identifier in next.keys where cells[identifier] == nil { cells[identifier] = Self.newCell() }
        do throws(GroupRefusal) {
            let changed = Set(adding.map(\.identifier)).map { next[$0]! }
            var entries: [(UnsafeMutablePointer<GroupCell>, UnsafeMutablePointer<GroupEntry>)] = []
            for (group, buckets) in try Self.compiled(changed, cells) {
                let cell = cells[group.identifier]!
                entries.append((cell, GroupEntry.made(group, buckets, added: version, former: cell.pointee.newest)))
            }
            return Change(
                groups: next,
                cells: cells,
                entries: entries,
                removed: Set(groups.keys).subtracting(next.keys)
            )
        } catch {
            for (identifier, cell) in cells where self.cells[identifier] == nil { Self.discard(cell) }
            throw error
        }
    }

    /// Makes a change what the next version has.
    mutating func apply(_ change: Change, retire: (Retired) -> Void) {
        for (cell, entry) in change.entries {
            cell.pointee.replace(with: entry)
            if let former = entry.pointee.former { retire(Retired { GroupEntry.discard(former) }) }
        }
        for identifier in change.removed {
            let cell = cells[identifier]!
            retire(Retired { Self.discard(cell) })
        }
        (groups, cells) = (change.groups, change.cells)
    }

    /// Gives up a change that was not applied.
    func discard(_ change: Change) {
        for (_, entry) in change.entries { GroupEntry.discard(entry) }
        for (identifier, cell) in change.cells where cells[identifier] == nil { Self.discard(cell) }
    }

    func free() { for cell in cells.values { Self.discard(cell) } }

    private static func newCell() -> UnsafeMutablePointer<GroupCell> {
        let cell = UnsafeMutablePointer<GroupCell>.allocate(capacity: 1)
        cell.initialize(to: GroupCell())
        return cell
    }

    private static func discard(_ cell: UnsafeMutablePointer<GroupCell>) {
        if let entry = cell.pointee.newest { GroupEntry.discard(entry) }
        cell.deinitialize(count: 1)
        cell.deallocate()
    }

    // MARK: - Checks

    private static func check(_ groups: [UInt32: Group], from identifiers: [UInt32]) throws(GroupRefusal) {
        var done: Set<UInt32> = []
        for identifier in identifiers { try follow(identifier, groups, &done) }
    }

    /// Depth first, with a stack of its own: rows of groups may be long.
    private static func follow(
        _ first: UInt32,
        _ groups: [UInt32: Group],
        _ done: inout Set<UInt32>
    ) throws(GroupRefusal) {
        guard !done.contains(first) else { return }
        var path: [(identifier: UInt32, rest: [UInt32])] = [(first, groups[first]!.neighbours)]
        var onPath: Set<UInt32> = [first]
        while let step = path.last {
            guard let next = step.rest.last else {
                done.insert(step.identifier)
                onPath.remove(step.identifier)
                path.removeLast()
                continue
            }
            path[path.count - 1].rest.removeLast()
            guard let group = groups[next] else {
                throw GroupRefusal(
                    groups: [step.identifier],
                    actions: [.group(next)],
                    reason: "group \(step.identifier) uses group \(next), which would not exist: add that first, or "
                        + "remove both"
                )
            }
            guard !onPath.contains(next) else {
                let circle = path.map(\.identifier).drop { $0 != next }
                let words = (circle + [next]).map(String.init).joined(separator: " -> ")
                throw GroupRefusal(
                    groups: Array(circle),
                    actions: circle.map { .group($0) },
                    reason: "groups would lead back to themselves: \(words)"
                )
            }
            guard !done.contains(next) else { continue }
            onPath.insert(next)
            path.append((next, group.neighbours))
        }
    }

    // MARK: - Compilation

    private static func compiled(
        _ groups: [Group],
        _ cells: [UInt32: UnsafeMutablePointer<GroupCell>]
    ) throws(GroupRefusal) -> [(Group, [BucketEntry])] {
        let context = ActionContext(groups: cells)
        var codes: [(Group, [[Instruction]])] = []
        for group in groups {
            var buckets: [[Instruction]] = []
            do throws(Refusal) {
                for bucket in group.buckets { buckets.append(try Instruction.bucket(bucket.actions, context)) }
            } catch {
                let actions = group.buckets.flatMap(\.actions).filter { !Instruction.canBeInBucket($0, context) }
                throw GroupRefusal(groups: [group.identifier], actions: actions, reason: error.reason)
            }
            codes.append((group, buckets))
        }
        // Nothing is refused from here on, so that nothing is to be freed.
        return codes.map { group, codes in (group, zip(group.buckets, codes).map { entry($0, $1, cells) }) }
    }

    private static func entry(
        _ bucket: Bucket,
        _ code: [Instruction],
        _ cells: [UInt32: UnsafeMutablePointer<GroupCell>]
    ) -> BucketEntry {
        let instructions = UnsafeMutablePointer<Instruction>.allocate(capacity: max(code.count, 1))
        instructions.initialize(from: code, count: code.count)
        return BucketEntry(
            identifier: bucket.identifier,
            weight: bucket.weight,
            watchPort: bucket.watchPort.map { UInt16(truncatingIfNeeded: $0.rawValue) } ?? PortEntry.noPort,
            watchGroup: bucket.watchGroup.flatMap { cells[$0] }.map { UnsafePointer($0) },
            instructions: instructions,
            count: code.count
        )
    }
}

extension Group {
    /// The groups that its buckets use or watch.
    fileprivate var neighbours: [UInt32] {
        buckets.flatMap { Array($0.actions.groups) + ($0.watchGroup.map { [$0] } ?? []) }
    }
}

extension [Action] {
    /// The meters that they name.
    var meters: Set<UInt32> {
        reduce(into: []) { meters, action in
            if case .meter(let identifier) = action { meters.insert(identifier) }
        }
    }

    /// The groups that they name, also within each other.
    var groups: Set<UInt32> {
        reduce(into: []) { groups, action in
            switch action {
            case .group(let identifier): groups.insert(identifier)
            case .clone(let inner), .writeActions(let inner): groups.formUnion(inner.groups)
            default: break
            }
        }
    }
}
