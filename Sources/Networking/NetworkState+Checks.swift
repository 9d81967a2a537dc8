// What one document alone does not show to be wrong.
extension NetworkState {
    /// Flood lists hold as many hosts as a cached program sends to.
    static let greatestFloodCount = 512

    /// - Throws: `DocumentRefusal` for the first of some documents that cannot be beside the others.
    /// - Parameter former: what was in their place.
    func check(_ documents: [KeyedDocument], former: [KeyedDocument]) throws(DocumentRefusal) {
        var networks: Set<String> = []
        for (one, former) in zip(documents, former) {
            if case .port(let port)? = former.document { networks.insert(port.network) }
            switch one.document {
            case nil: try checkAbsence(of: one.key)
            case .host(let host):
                try check(host)
                if former.document != nil { try checkPorts(portsOfHost[host.id]) }
            case .network(let network): if former.document != nil { try checkPorts(members[network.id]?.ports) }
            case .port(let port):
                try check(port)
                networks.insert(port.network)
            case .subnet(let subnet): try checkNetwork(subnet.network, of: one.key)
            case .securityGroup(let group): try check(group)
            // What they name is looked for where it is made use of.
            case .router, .floatingIP: break
            }
        }
        for network in networks.sorted() { try checkSize(of: network) }
        try checkVLANs(networks)
    }

    /// Those of a host or a network that was there before.
    private func checkPorts(_ ports: Set<String>?) throws(DocumentRefusal) {
        for id in ports?.sorted() ?? [] { try check(self.ports[id]!) }
    }

    private func checkAbsence(of key: DocumentKey) throws(DocumentRefusal) {
        switch key.type {
        case .host: try checkAbsence(of: key, "port", portsOfHost[key.id])
        case .network:
            try checkAbsence(of: key, "port", members[key.id]?.ports)
            try checkAbsence(of: key, "subnet", subnetsOfNetwork[key.id])
        case .securityGroup:
            try checkAbsence(of: key, "port", security.groups[key.id]?.ports)
            try checkAbsence(of: key, "security_group", security.groups[key.id]?.naming)
        case .subnet, .port, .router, .floatingIP: break
        }
    }

    private func checkAbsence(of key: DocumentKey, _ type: String, _ users: Set<String>?) throws(DocumentRefusal) {
        guard let users, let user = users.min() else { return }
        let reason = "\(type) '\(user)' and \(users.count - 1) others are still there: delete them first"
        throw DocumentRefusal(key, reason)
    }

    private func checkNetwork(_ network: String, of key: DocumentKey) throws(DocumentRefusal) {
        guard networks[network] == nil else { return }
        let reason = "network '\(network)' is unknown: send its document first"
        throw DocumentRefusal(key, field: "network_id", reason)
    }

    /// Tunnels have one kind of address at both ends.
    private func check(_ host: HostDocument) throws(DocumentRefusal) {
        let others = host.id == hostName ? Array(hosts.values) : here.map { [$0] } ?? []
        for other in others {
            guard let address = host.tunnelAddress, let own = other.tunnelAddress, address.isIPv4 != own.isIPv4 else {
                continue
            }
            let reason = "tunnel_address \(address) is of another kind than \(own) of host '\(other.id)'"
            throw DocumentRefusal(.init(.host, host.id), field: "tunnel_address", reason)
        }
    }

    private func check(_ port: PortDocument) throws(DocumentRefusal) {
        let key = DocumentKey(.port, port.id)
        try checkNetwork(port.network, of: key)
        let network = networks[port.network]!
        for name in port.hosts {
            let field = name == port.host ? "host" : "migrating_to.host"
            guard let host = hosts[name] else {
                throw DocumentRefusal(key, field: field, "host '\(name)' is unknown: send its document first")
            }
            guard let lack = host.lack(for: network.segment) else { continue }
            let reason = "host '\(name)' \(lack), which network '\(network.id)' needs"
            throw DocumentRefusal(key, field: field, reason)
        }
        guard port.isFiltered(on: hostName) else { return }
        for group in port.security.groups { try checkGroup(group, of: key, "security_groups") }
    }

    private func check(_ group: SecurityGroupDocument) throws(DocumentRefusal) {
        for (place, rule) in group.rules.enumerated() {
            guard let named = rule.remoteGroup else { continue }
            try checkGroup(named, of: DocumentKey(.securityGroup, group.id), "rules.\(place).remote_group_id")
        }
    }

    private func checkGroup(_ group: String, of key: DocumentKey, _ field: String) throws(DocumentRefusal) {
        guard securityGroups[group] == nil else { return }
        throw DocumentRefusal(key, field: field, "security group '\(group)' is unknown: send its document first")
    }

    private func checkSize(of network: String) throws(DocumentRefusal) {
        guard let count = members[network]?.placed.count, count > Self.greatestFloodCount,
            networks[network]?.segment.tunnelType != nil
        else { return }
        let reason = "it would be on \(count) hosts; flood lists hold \(Self.greatestFloodCount)"
        throw DocumentRefusal(.init(.network, network), reason)
    }

    private func checkVLANs(_ touched: Set<String>) throws(DocumentRefusal) {
        let new = touched.filter { isLocal($0) && localVLANs[$0] == nil }
        let gone = touched.filter { !isLocal($0) && localVLANs[$0] != nil }
        guard let network = new.min(), localVLANs.vlans.count - gone.count + new.count > LocalVLANs.capacity else {
            return
        }
        let reason = "this host has ports of \(LocalVLANs.capacity) networks already, for which it has VLANs"
        throw DocumentRefusal(.init(.network, network), reason)
    }
}

extension HostDocument {
    /// What a host misses for a network; nil when it can have its ports.
    fileprivate func lack(for segment: Segment) -> String? {
        switch segment {
        case .local: nil
        case .flat(let physical), .vlan(let physical, _):
            bridgeMappings[physical] == nil ? "has no bridge mapping of physical network '\(physical)'" : nil
        case .tunnel(let type, _):
            tunnelAddress == nil
                ? "has no tunnel_address" : tunnelTypes.contains(type) ? nil : "has no tunnels of type \(type.rawValue)"
        }
    }
}
