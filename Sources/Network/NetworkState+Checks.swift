// What one document alone does not show to be wrong.
extension NetworkState {
    /// Flood lists hold as many hosts as a cached program sends to.
    static let greatestFloodCount = 512

    /// - Throws: `DocumentRefusal` for the first of some documents that cannot be beside the others.
    func check(_ documents: [DocumentKey: Document?]) throws(DocumentRefusal) {
        // In an order, so that of several mistakes the same one is told each time.
        var portsToCheck: Set<String> = []
        var networksToCheck: Set<String> = []
        for (key, document) in documents.sorted(by: { $0.key.id < $1.key.id }) {
            if document == nil { try checkAbsence(of: key) }
            switch key.type {
            case .host:
                if let host = hosts[key.id] { try check(host) }
                portsToCheck.formUnion(portsOfHost[key.id] ?? [])
            case .network: portsToCheck.formUnion(members[key.id]?.ports ?? [])
            case .port:
                portsToCheck.insert(key.id)
                if let port = ports[key.id] { networksToCheck.insert(port.network) }
            }
        }
        for id in portsToCheck.sorted() { if let port = ports[id] { try check(port) } }
        for id in networksToCheck { try checkSize(of: id) }
        try checkVLANs(networksToCheck)
    }

    private func checkAbsence(of key: DocumentKey) throws(DocumentRefusal) {
        let users = key.type == .host ? portsOfHost[key.id] : key.type == .network ? members[key.id]?.ports : nil
        guard let user = users?.min() else { return }
        throw DocumentRefusal(key, "port '\(user)' and \(users!.count - 1) others are still there: delete them first")
    }

    /// Tunnels have one kind of address at both ends.
    private func check(_ host: HostDocument) throws(DocumentRefusal) {
        let others = host.id == hostName ? Array(hosts.values) : here.map { [$0] } ?? []
        for other in others {
            guard let address = host.tunnelAddress, let own = other.tunnelAddress, address.isIPv4 != own.isIPv4 else {
                continue
            }
            let reason = "tunnel_address \(address) is of another kind than \(own) of host '\(other.id)'"
            throw DocumentRefusal(.init(.host, host.id), reason)
        }
    }

    private func check(_ port: PortDocument) throws(DocumentRefusal) {
        let key = DocumentKey(.port, port.id)
        guard let network = networks[port.network] else {
            throw DocumentRefusal(key, "network '\(port.network)' is unknown: send its document first")
        }
        guard let name = port.host else { return }
        guard let host = hosts[name] else {
            throw DocumentRefusal(key, "host '\(name)' is unknown: send its document first")
        }
        if let lack = host.lack(for: network.segment) {
            throw DocumentRefusal(key, "host '\(name)' \(lack), which network '\(network.id)' needs")
        }
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
