import Wire

/// A MAC address on a network.
struct Station: Hashable, Sendable {
    let network: String
    let mac: MACAddress
}

/// Who has to do with security groups and MAC addresses, kept up to date as documents come and go.
struct SecurityIndex: Sendable {
    /// By id, also of those whose document is not there.
    private(set) var groups: [String: Group] = [:]
    /// The ports with a device here that may have a MAC address.
    private(set) var holders: [Station: Set<String>] = [:]

    struct Group: Sendable {
        /// The ports that are filtered here by its rules.
        fileprivate(set) var ports: Set<String> = []
        /// The groups with a rule that names it.
        fileprivate(set) var naming: Set<String> = []
        /// What its members may have, wherever they are, and how many of them: networks use the same addresses.
        fileprivate(set) var addresses: [IPPrefix: Int] = [:]

        fileprivate var isEmpty: Bool { ports.isEmpty && naming.isEmpty && addresses.isEmpty }
    }

    mutating func insert(_ port: PortDocument, here host: String) {
        for group in port.security.groups {
            for prefix in port.prefixes { groups[group, default: Group()].addresses[prefix, default: 0] += 1 }
            if port.isFiltered(on: host) { groups[group, default: Group()].ports.insert(port.id) }
        }
        for station in port.stations(on: host) { holders[station, default: []].insert(port.id) }
    }

    mutating func remove(_ port: PortDocument, here host: String) {
        for group in port.security.groups {
            for prefix in port.prefixes { forget(prefix, of: group) }
            groups[group]?.ports.remove(port.id)
            tidy(group)
        }
        for station in port.stations(on: host) {
            holders[station]?.remove(port.id)
            if holders[station]?.isEmpty == true { holders[station] = nil }
        }
    }

    mutating func insert(_ group: SecurityGroupDocument) {
        for named in group.remoteGroups { groups[named, default: Group()].naming.insert(group.id) }
    }

    mutating func remove(_ group: SecurityGroupDocument) {
        for named in group.remoteGroups {
            groups[named]?.naming.remove(group.id)
            tidy(named)
        }
    }

    private mutating func forget(_ prefix: IPPrefix, of group: String) {
        groups[group]?.addresses[prefix]? -= 1
        if groups[group]?.addresses[prefix] == 0 { groups[group]?.addresses[prefix] = nil }
    }

    private mutating func tidy(_ group: String) {
        if groups[group]?.isEmpty == true { groups[group] = nil }
    }
}

extension SecurityGroupDocument {
    /// Those whose members rules name.
    var remoteGroups: Set<String> { Set(rules.compactMap(\.remoteGroup)) }
}

extension SecurityGroupDocument.Rule {
    public var remoteGroup: String? { if case .group(let id)? = remote { id } else { nil } }
}

extension PortDocument {
    /// Whether what its station sends and receives is looked at. Neutron trusts the ports of its own services.
    var isFiltered: Bool { security.isEnabled && !owner.hasPrefix("network:") }

    func isFiltered(on host: String) -> Bool { isFiltered && interface(on: host) != nil }

    /// What its station may have, beside what follows from its MAC address.
    var prefixes: Set<IPPrefix> {
        Set(addresses.map(IPPrefix.init(of:)) + security.addressPairs.map(\.prefix))
    }

    /// The MAC addresses at which its station is met on a host.
    func stations(on host: String) -> Set<Station> {
        guard interface(on: host) != nil else { return [] }
        let macs = [mac] + (isFiltered ? security.addressPairs.compactMap(\.mac) : [])
        return Set(macs.map { Station(network: network, mac: $0) })
    }
}

extension IPPrefix {
    /// One address.
    init(of address: IPAddress) { self.init(address, length: address.width)! }

    /// As flows say it: an address alone has no length.
    var words: String { length == address.width ? "\(address)" : description }
}
