// Security groups as people ask for them.
extension NetworkState {
    /// By name and id.
    public var securityGroupsInOrder: [SecurityGroupDocument] {
        securityGroups.values.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
    }

    /// The group with an id, or the only one with a name.
    public func securityGroup(_ name: String) -> SecurityGroupDocument? {
        if let group = securityGroups[name] { return group }
        let named = securityGroups.values.filter { $0.name == name }
        return named.count == 1 ? named[0] : nil
    }

    public func port(_ id: String) -> PortDocument? { ports[id] }

    /// The ports that are filtered here by a group's rules, by id.
    public func portsHere(in group: String) -> [PortDocument] {
        (security.groups[group]?.ports ?? []).sorted().compactMap { ports[$0] }
    }

    /// How many addresses and ranges the ports in a group have, wherever they are.
    public func memberCount(of group: String) -> Int { security.groups[group]?.addresses.count ?? 0 }

    /// These addresses and CIDRs, those of IPv4 first. Costs what there are.
    public func members(of group: String) -> [String] {
        let prefixes = (security.groups[group]?.addresses.keys).map(Array.init) ?? []
        let sorted = prefixes.sorted { one, other in
            let (address, next) = (one.address, other.address)
            guard address.isIPv4 == next.isIPv4 else { return address.isIPv4 }
            return (address.value, one.length) < (next.value, other.length)
        }
        return sorted.map(\.words)
    }

    /// How many flows of this host allow what a group's rules do.
    public func flowCount(of group: SecurityGroupDocument) -> Int {
        let matches = PortDocument.Direction.allCases.map { direction in
            Set(group.rules.filter { $0.direction == direction }.flatMap(\.matches)).count
        }
        return matches.reduce(0, +) * portsHere(in: group.id).count
    }
}
