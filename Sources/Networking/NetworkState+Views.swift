public import Wire

// The same state as people ask for it.
extension NetworkState {
    /// The bridges that every host has.
    public static let ownBridges: Set<String> = [integrationBridge, tunnelBridge]

    /// The networks, by name and id.
    public var networksInOrder: [NetworkDocument] {
        networks.values.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
    }

    /// The network with an id, or the only one with a name.
    public func network(_ name: String) -> NetworkDocument? {
        if let network = networks[name] { return network }
        let named = networks.values.filter { $0.name == name }
        return named.count == 1 ? named[0] : nil
    }

    /// The ports of a network, by id.
    public func ports(of network: String) -> [PortDocument] {
        (members[network]?.ports ?? []).sorted().compactMap { ports[$0] }
    }

    public func portCount(of network: String) -> Int { members[network]?.ports.count ?? 0 }

    /// The hosts where a network's ports can be met, by name.
    public func hosts(of network: String) -> [String] { (members[network]?.placed.keys).map { $0.sorted() } ?? [] }

    public func localVLAN(of network: String) -> VLANID? { localVLANs[network] }

    /// The ports that are bound to this host, or move there.
    public var idsOfPortsHere: [String] { portsOfHost[hostName].map(Array.init) ?? [] }

    /// A port whose device this host's switch has; nil for any other.
    public func portHere(_ id: String) -> PortDocument? {
        ports[id].flatMap { $0.interface(on: hostName) == nil ? nil : $0 }
    }

    /// Where this host's tunnels end; nil for a host without.
    public var tunnelAddress: IPAddress? { here?.tunnelAddress }

    /// Where those of the other hosts end that have ports of a network that is here and has tunnels.
    public var remotes: Set<IPAddress> {
        var met: Set<String> = []
        for network in localVLANs.vlans.keys where networks[network]?.segment.tunnelType != nil {
            if let members = members[network] { met.formUnion(members.placed.keys) }
            if met.count == hosts.count { break }
        }
        met.remove(hostName)
        return Set(met.compactMap { hosts[$0]?.tunnelAddress })
    }

    /// Tunnels of a type between this host and another one.
    public struct Tunnel: Sendable {
        public let host: String
        public let type: TunnelNetworkType
        public let local: IPAddress
        public let remote: IPAddress
        /// Networks that have ports on both.
        public let networkCount: Int
        /// How many ports are there.
        public let portCount: Int
    }

    /// By host and type.
    public var tunnels: [Tunnel] {
        guard let here, let local = here.tunnelAddress else { return [] }
        let others = hosts.values.filter { $0.id != hostName }.sorted { $0.id < $1.id }
        return others.flatMap { host -> [Tunnel] in
            guard let remote = host.tunnelAddress else { return [] }
            let types = here.tunnelTypes.intersection(host.tunnelTypes).sorted { $0.rawValue < $1.rawValue }
            return types.map { type in
                let shared = localVLANs.vlans.keys.filter { networks[$0]?.segment.tunnelType == type }
                    .compactMap { members[$0]?.placed[host.id] }
                return Tunnel(
                    host: host.id,
                    type: type,
                    local: local,
                    remote: remote,
                    networkCount: shared.count,
                    portCount: shared.reduce(0, +)
                )
            }
        }
    }
}
