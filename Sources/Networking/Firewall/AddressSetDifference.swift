public import Wire

/// What changes of an address set.
public struct AddressSetDifference: Sendable {
    public let name: String
    /// What becomes of the set itself: one that comes, or goes with all its members.
    public let fate: Fate
    public let added: [IPPrefix]
    public let removed: [IPPrefix]

    public enum Fate: Hashable, Sendable { case comes, stays, goes }
}

extension NetworkState {
    /// The parts of address sets that a change of documents may change.
    struct TouchedMembers {
        var groups: Set<String> = []
        var members: Set<Member> = []

        struct Member: Hashable {
            let group: String
            let prefix: IPPrefix
        }
    }

    /// How they are: before the change, or after it.
    struct MemberStatus {
        var groups: Set<String> = []
        var members: Set<TouchedMembers.Member> = []
    }

    /// - Parameter documents: as they were, and as they are now.
    func touchedMembers(_ documents: [KeyedDocument]) -> TouchedMembers {
        var touched = TouchedMembers()
        for one in documents {
            switch one.document {
            case .port(let port):
                for group in port.security.groups {
                    touched.groups.insert(group)
                    for prefix in port.prefixes { touched.members.insert(.init(group: group, prefix: prefix)) }
                }
            case .securityGroup(let group): touched.groups.formUnion(group.remoteGroups)
            // Without this host's there are none at all.
            case .host(let host) where host.id == hostName: touched.groups.formUnion(security.groups.keys)
            default: break
            }
        }
        return touched
    }

    func status(of touched: TouchedMembers) -> MemberStatus {
        let groups = touched.groups.filter(hasAddressSet)
        let members = touched.members.filter {
            groups.contains($0.group) && security.groups[$0.group]?.addresses[$0.prefix] != nil
        }
        return MemberStatus(groups: groups, members: members)
    }

    /// What a change does to address sets. Costs what it changes, and all members of a set that comes.
    func differences(of touched: TouchedMembers, from before: MemberStatus) -> [AddressSetDifference] {
        let after = status(of: touched)
        let added = Dictionary(grouping: after.members.subtracting(before.members), by: \.group)
        let removed = Dictionary(grouping: before.members.subtracting(after.members), by: \.group)
        return touched.groups.compactMap { group in
            let name = Self.addressSet(of: group)
            switch (before.groups.contains(group), after.groups.contains(group)) {
            case (false, false): return nil
            case (true, false): return AddressSetDifference(name: name, fate: .goes, added: [], removed: [])
            case (false, true):
                let members = Array(security.groups[group]!.addresses.keys)
                return AddressSetDifference(name: name, fate: .comes, added: members, removed: [])
            case (true, true):
                let (come, gone) = (added[group] ?? [], removed[group] ?? [])
                guard !come.isEmpty || !gone.isEmpty else { return nil }
                return AddressSetDifference(
                    name: name,
                    fate: .stays,
                    added: come.map(\.prefix),
                    removed: gone.map(\.prefix)
                )
            }
        }
    }
}
