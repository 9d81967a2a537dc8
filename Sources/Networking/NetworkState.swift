import Wire

/// The documents of a host's networks, and what follows from them for this host: bridges' flows and ports.
///
/// A change costs what it touches, not what there is. It is computed whole before anybody acts on it: `apply` changes the
/// documents and says what else has to change; `revert` takes it back.
public struct NetworkState: Sendable {
    /// The name of the host that this is.
    public let hostName: String
    var hosts: [String: HostDocument] = [:]
    var networks: [String: NetworkDocument] = [:]
    var ports: [String: PortDocument] = [:]
    var securityGroups: [String: SecurityGroupDocument] = [:]
    // Kept for what will follow from them.
    var subnets: [String: SubnetDocument] = [:]
    var routers: [String: RouterDocument] = [:]
    var floatingIPs: [String: FloatingIPDocument] = [:]
    var subnetsOfNetwork: [String: Set<String>] = [:]
    /// What is held, to be compared with what others hold.
    var digests = DocumentDigests()
    /// Who has to do with security groups.
    var security = SecurityIndex()
    /// What is too old to be taken in.
    var outdated = OutdatedRevisions()
    /// By network.
    var members: [String: NetworkMembers] = [:]
    /// Ports by the hosts that they are bound to, or move to.
    var portsOfHost: [String: Set<String>] = [:]
    /// The network of each segment that only one can have.
    var networkOfSegment: [Segment: String] = [:]
    var hostOfTunnelAddress: [IPAddress: String] = [:]
    /// The VLANs that networks have on this host: those of which a port is here.
    var localVLANs = LocalVLANs()

    public init(hostName: String) { self.hostName = hostName }

    /// The document of this host; nil before it came.
    var here: HostDocument? { hosts[hostName] }

    /// Whether documents came, but none of this host: it has another name there, most likely.
    public var lacksItself: Bool { here == nil && !(hosts.isEmpty && networks.isEmpty) }

    func document(_ key: DocumentKey) -> Document? {
        switch key.type {
        case .host: hosts[key.id].map(Document.host)
        case .network: networks[key.id].map(Document.network)
        case .port: ports[key.id].map(Document.port)
        case .subnet: subnets[key.id].map(Document.subnet)
        case .securityGroup: securityGroups[key.id].map(Document.securityGroup)
        case .router: routers[key.id].map(Document.router)
        case .floatingIP: floatingIPs[key.id].map(Document.floatingIP)
        }
    }

    /// Whether a network has a port on this host, and so a local VLAN.
    func isLocal(_ network: String) -> Bool { (members[network]?.placed[hostName] ?? 0) > 0 }

    // MARK: - Documents

    /// Puts documents in the place of those with their keys.
    /// - Throws: `DocumentRefusal` when two would have what only one can have; nothing has changed then.
    /// - Returns: what to exchange to be where it was, in the same order.
    mutating func exchange(_ documents: [KeyedDocument]) throws(DocumentRefusal) -> [KeyedDocument] {
        let former = documents.map { KeyedDocument(key: $0.key, document: document($0.key)) }
        for one in former { if let document = one.document { remove(document) } }
        do throws(DocumentRefusal) {
            for one in documents { if let document = one.document { try insert(document) } }
        } catch {
            // What came in before it was refused.
            for one in documents { if let document = document(one.key) { remove(document) } }
            for one in former { if let document = one.document { try! insert(document) } }
            throw error
        }
        return former
    }

    private mutating func remove(_ document: Document) {
        switch document {
        case .host(let host):
            hosts[host.id] = nil
            if let address = host.tunnelAddress { hostOfTunnelAddress[address] = nil }
        case .network(let network):
            networks[network.id] = nil
            if network.segment.isExclusive { networkOfSegment[network.segment] = nil }
        case .port(let port):
            ports[port.id] = nil
            members[port.network]?.remove(port)
            if members[port.network]?.ports.isEmpty == true { members[port.network] = nil }
            for host in port.hosts { portsOfHost.remove(port.id, of: host) }
            security.remove(port, here: hostName)
        case .subnet(let subnet):
            subnets[subnet.id] = nil
            subnetsOfNetwork.remove(subnet.id, of: subnet.network)
        case .securityGroup(let group):
            securityGroups[group.id] = nil
            security.remove(group)
        case .router(let router): routers[router.id] = nil
        case .floatingIP(let address): floatingIPs[address.id] = nil
        }
    }

    private mutating func insert(_ document: Document) throws(DocumentRefusal) {
        switch document {
        case .host(let host): try insert(host)
        case .network(let network): try insert(network)
        case .port(let port): try insert(port)
        case .subnet(let subnet):
            subnets[subnet.id] = subnet
            subnetsOfNetwork[subnet.network, default: []].insert(subnet.id)
        case .securityGroup(let group):
            securityGroups[group.id] = group
            security.insert(group)
        case .router(let router): routers[router.id] = router
        case .floatingIP(let address): floatingIPs[address.id] = address
        }
    }

    private mutating func insert(_ host: HostDocument) throws(DocumentRefusal) {
        if let address = host.tunnelAddress {
            if let other = hostOfTunnelAddress[address] {
                let reason = "tunnel_address \(address) is that of host '\(other)'"
                throw DocumentRefusal(.init(.host, host.id), field: "tunnel_address", reason)
            }
            hostOfTunnelAddress[address] = host.id
        }
        hosts[host.id] = host
    }

    private mutating func insert(_ network: NetworkDocument) throws(DocumentRefusal) {
        if network.segment.isExclusive {
            if let other = networkOfSegment[network.segment] {
                let reason = "segment \(network.segment) is that of network '\(other)'"
                throw DocumentRefusal(.init(.network, network.id), field: "segmentation_id", reason)
            }
            networkOfSegment[network.segment] = network.id
        }
        networks[network.id] = network
    }

    private mutating func insert(_ port: PortDocument) throws(DocumentRefusal) {
        var port = port
        // One storage for the names that many have.
        if let network = networks[port.network] { port.network = network.id }
        if let host = port.host.flatMap({ hosts[$0] }) { port.host = host.id }
        try members[port.network, default: NetworkMembers()].insert(port)
        ports[port.id] = port
        for host in port.hosts { portsOfHost[host, default: []].insert(port.id) }
        security.insert(port, here: hostName)
    }
}

extension [String: Set<String>] {
    fileprivate mutating func remove(_ id: String, of owner: String) {
        self[owner]?.remove(id)
        if self[owner]?.isEmpty == true { self[owner] = nil }
    }
}

/// What is under a key; nil is nothing.
struct KeyedDocument: Sendable {
    let key: DocumentKey
    let document: Document?
}

/// The ports of a network.
struct NetworkMembers: Sendable {
    private(set) var ports: Set<String> = []
    /// How many can be met on each host, or are about to be.
    private(set) var placed: [String: Int] = [:]
    private var portOfMAC: [MACAddress: String] = [:]
    private var portOfAddress: [IPAddress: String] = [:]

    /// - Throws: `DocumentRefusal` when another one has the MAC or an IP address; nothing has changed then.
    mutating func insert(_ port: PortDocument) throws(DocumentRefusal) {
        let key = DocumentKey(.port, port.id)
        if let other = portOfMAC[port.mac] {
            let reason = "mac_address \(port.mac) is that of port '\(other)' on network '\(port.network)'"
            throw DocumentRefusal(key, field: "mac_address", reason)
        }
        for address in port.addresses {
            guard let other = portOfAddress[address] else { continue }
            let reason = "fixed IP \(address) is that of port '\(other)' on network '\(port.network)'"
            throw DocumentRefusal(key, field: "fixed_ips", reason)
        }
        portOfMAC[port.mac] = port.id
        for address in port.addresses { portOfAddress[address] = port.id }
        ports.insert(port.id)
        for place in port.places { placed[place, default: 0] += 1 }
    }

    mutating func remove(_ port: PortDocument) {
        portOfMAC[port.mac] = nil
        for address in port.addresses { portOfAddress[address] = nil }
        ports.remove(port.id)
        for place in port.places {
            placed[place]! -= 1
            if placed[place] == 0 { placed[place] = nil }
        }
    }
}

extension Segment: CustomStringConvertible {
    /// Whether only one network can have it.
    var isExclusive: Bool { self != .local }

    public var description: String {
        [type, physicalNetwork, number.map(String.init)].compactMap(\.self).joined(separator: ":")
    }
}

/// The VLANs that tell networks apart within this host.
struct LocalVLANs: Sendable {
    static let capacity = 4094

    private(set) var vlans: [String: VLANID] = [:]
    private var taken: Set<VLANID> = []

    subscript(network: String) -> VLANID? { vlans[network] }

    /// Gives a network a certain VLAN, as it had one before a restart; unless another one has it.
    mutating func put(_ vlan: VLANID, for network: String) {
        guard vlans[network] == nil, taken.insert(vlan).inserted else { return }
        vlans[network] = vlan
    }

    /// Gives a network the first free VLAN, unless all are taken.
    mutating func add(_ network: String) {
        let all = (1...UInt16(Self.capacity)).lazy.compactMap { VLANID($0) }
        if let free = all.first(where: { !taken.contains($0) }) { put(free, for: network) }
    }

    mutating func remove(_ network: String) {
        if let vlan = vlans.removeValue(forKey: network) { taken.remove(vlan) }
    }
}
