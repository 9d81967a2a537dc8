public import Wire

/// What a change of documents has a host do.
public struct NetworkChange: Sendable {
    /// Those that say something new, or take something away; the rest was known or is outdated.
    public let documents: [DocumentChange]
    public let flows: Difference<BridgeFlow>
    public let ports: Difference<PlannedPort>
    /// What there was in their place.
    let former: [DocumentKey: Document?]
    let formerVLANs: LocalVLANs
}

/// What goes and what comes.
public struct Difference<Element: Hashable & Sendable>: Sendable {
    public let removed: Set<Element>
    public let added: Set<Element>

    init(from before: Set<Element>, to after: Set<Element>) {
        removed = before.subtracting(after)
        added = after.subtracting(before)
    }
}

/// A flow of a bridge, in the words of ovs-ofctl, with ports by name.
public struct BridgeFlow: Hashable, Sendable {
    public let bridge: String
    public let line: String
}

/// A port that the switch is to have for documents, as `martletctl port add` takes it.
public struct PlannedPort: Hashable, Sendable {
    public let name: String
    public let bridge: String
    public let type: String
    public let options: [String: String]
    /// nil: what is usual for the type.
    public let mtu: Int?
    /// The VLAN that it is an access port of; nil for a trunk of all.
    public let tag: VLANID?
    /// Why it is wanted.
    public let document: DocumentKey
}

extension NetworkState {
    /// Changes documents, all or none.
    /// - Parameter isSnapshot: whether documents that are not named go.
    /// - Throws: `DocumentRefusal`; nothing has changed then.
    public mutating func apply(
        _ changes: [DocumentChange],
        isSnapshot: Bool = false
    ) throws(DocumentRefusal) -> NetworkChange {
        let news = news(of: changes, isSnapshot: isSnapshot)
        let wanted = news.mapValues(\.document)
        let former = try exchange(wanted)
        do throws(DocumentRefusal) {
            try check(wanted)
        } catch {
            back(to: former)
            throw error.at(news)
        }
        let toggled = toggledNetworks(wanted, former)
        var units = units(of: wanted.keys).union(toggled.flatMap(unitsOfNetwork))
        back(to: former)
        units.formUnion(self.units(of: wanted.keys))
        units.formUnion(toggled.flatMap(unitsOfNetwork))
        let (flows, ports, vlans) = (flows(of: units), plannedPorts(of: units), localVLANs)
        back(to: wanted)
        for network in toggled { toggle(network) }
        return NetworkChange(
            documents: Array(news.values),
            flows: Difference(from: flows, to: self.flows(of: units)),
            ports: Difference(from: ports, to: plannedPorts(of: units)),
            former: former,
            formerVLANs: vlans
        )
    }

    /// Takes the last change back.
    public mutating func revert(_ change: NetworkChange) {
        back(to: change.former)
        localVLANs = change.formerVLANs
    }

    /// Has networks keep the VLANs that their ports had before a restart.
    /// - Parameter vlans: by the port's name.
    public mutating func keepLocalVLANs(_ vlans: [String: VLANID], of changes: [DocumentChange]) {
        for case .port(let port)? in changes.map(\.document) where port.place == hostName {
            if let vlan = vlans[port.name] { localVLANs.put(vlan, for: port.network) }
        }
    }

    /// To where it was before an exchange, which nothing can refuse.
    private mutating func back(to documents: [DocumentKey: Document?]) { _ = try! exchange(documents) }

    /// What is new of some changes; of one document the last counts.
    private func news(of changes: [DocumentChange], isSnapshot: Bool) -> [DocumentKey: DocumentChange] {
        var news: [DocumentKey: DocumentChange] = [:]
        for change in changes {
            let held = news[change.key].map(\.document) ?? document(change.key)
            // Without a revision it is meant whatever there is.
            if let held, change.revision != 0, change.revision < held.revision { continue }
            news[change.key] = change
        }
        if isSnapshot {
            let named = Set(changes.map(\.key))
            for key in keys where !named.contains(key) { news[key] = DocumentChange(removing: key) }
        }
        return news.filter { key, change in change.document != document(key) }
    }

    private var keys: [DocumentKey] {
        hosts.keys.map { DocumentKey(.host, $0) } + networks.keys.map { DocumentKey(.network, $0) }
            + ports.keys.map { DocumentKey(.port, $0) }
    }

    // MARK: - What a change touches

    /// What flows and ports of this host follow from.
    enum Unit: Hashable {
        case base
        case host(String)
        case network(String)
        case port(String)
    }

    /// The networks that get a port here, or lose their last.
    private func toggledNetworks(_ documents: [DocumentKey: Document?]...) -> Set<String> {
        var touched: Set<String> = []
        for case .port(let port)? in documents.flatMap(\.values) { touched.insert(port.network) }
        return touched.filter { isLocal($0) != (localVLANs[$0] != nil) }
    }

    private mutating func toggle(_ network: String) {
        if isLocal(network) { _ = localVLANs.add(network) } else { localVLANs.remove(network) }
    }

    private func units(of keys: some Sequence<DocumentKey>) -> Set<Unit> {
        var units: Set<Unit> = []
        for key in keys {
            switch key.type {
            case .host: units.formUnion(key.id == hostName ? allUnits : unitsOfHost(key.id))
            case .network: units.formUnion(unitsOfNetwork(key.id))
            case .port:
                units.insert(.port(key.id))
                if let port = ports[key.id] { units.insert(.network(port.network)) }
            }
        }
        return units
    }

    private var allUnits: Set<Unit> {
        Set([.base] + hosts.keys.map(Unit.host) + networks.keys.map(Unit.network) + ports.keys.map(Unit.port))
    }

    /// A host stands in the flood lists of its networks, and without l2population of all.
    private func unitsOfHost(_ host: String) -> Set<Unit> {
        let ports = portsOfHost[host] ?? []
        let networks = here?.hasL2Population == false ? Set(networks.keys) : Set(ports.map { self.ports[$0]!.network })
        return Set([.host(host)] + ports.map(Unit.port) + networks.map(Unit.network))
    }

    private func unitsOfNetwork(_ network: String) -> Set<Unit> {
        Set([.network(network)] + (members[network]?.ports ?? []).map(Unit.port))
    }
}

extension DocumentRefusal {
    /// With the line of the document that it is about.
    fileprivate func at(_ changes: [DocumentKey: DocumentChange]) -> DocumentRefusal {
        DocumentRefusal(key, line: key.flatMap { changes[$0]?.line }, reason)
    }
}
