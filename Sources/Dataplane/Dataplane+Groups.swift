public import Flows

extension Dataplane {
    /// The groups of a bridge, in the order of their numbers; empty for a bridge that does not exist.
    public func groups(of bridge: String) -> [Group] {
        (bridges[bridge]?.tables.groups.groups.values).map { $0.sorted { $0.identifier < $1.identifier } } ?? []
    }

    /// Why `changeGroups` would not change groups; nil when it will.
    public func refusal(ofAdding adding: [Group], removing: [UInt32], on bridge: String) -> GroupRefusal? {
        guard let tables = bridges[bridge]?.tables else { return nil }
        do throws(GroupRefusal) {
            let change = try tables.groups.change(removing: removing, adding: adding, version: readers.versions.next)
            tables.groups.discard(change)
            return nil
        } catch {
            return error
        }
    }

    /// The flows of a bridge that go with some groups.
    public func flows(of bridge: String, usingGroups groups: Set<UInt32>) -> OrphanedFlows {
        bridges[bridge]?.tables.flows(using: groups, in: \.groups) ?? .none
    }

    /// Changes the groups of a bridge at once: a packet meets all of the change or none of it.
    ///
    /// - Parameters:
    ///   - removing: numbers of groups that are there, each once. The flows that use them go too.
    ///   - adding: each replaces one with the same number, also within the list; flows that use it stay.
    /// - Returns: the flows that went.
    /// - Throws: `Refusal` when the bridge or a group does not exist, when groups would lead back to each other, when a group
    ///   that goes is used by one that stays, or when an action cannot be run; nothing has changed then.
    @discardableResult
    public func changeGroups(
        of bridge: String,
        removing: [UInt32] = [],
        adding: [Group] = []
    ) throws(Refusal) -> OrphanedFlows {
        guard let tables = bridges[bridge]?.tables else { throw Refusal("bridge '\(bridge)' does not exist") }
        return try tables.commitGroups(removing: removing, adding: adding)
    }

    /// Says whether a port has a link: buckets of groups that watch it are used while it has. Every port is taken to have
    /// one until this is said, also one that takes the index of another.
    public func setLive(port: PortIndex, _ isLive: Bool) {
        liveness.set(port, isLive)
        readers.versions.willChange(.liveness)
        readers.versions.advance()
    }
}
