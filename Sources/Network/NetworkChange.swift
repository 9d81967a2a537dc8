public import Wire

/// What a change of documents has a host do.
public struct NetworkChange: Sendable {
    /// Those that say something new, or take something away; the rest was known or is outdated.
    public let documents: [DocumentChange]
    public let flows: Difference<BridgeFlow>
    public let ports: Difference<PlannedPort>
    /// What there was in their place.
    let former: [KeyedDocument]
    let formerVLANs: LocalVLANs
}

/// What goes and what comes, in no order.
public struct Difference<Element: Hashable & Sendable>: Sendable {
    public private(set) var removed: [Element] = []
    public private(set) var added: [Element] = []

    /// - Parameters:
    ///   - before: a few for each of what they follow from, none of them twice; empty when there was nothing.
    ///   - after: for the same.
    init(from before: [[Element]], to after: [[Element]]) {
        for (place, new) in after.enumerated() {
            let old = before.isEmpty ? [] : before[place]
            guard old != new else { continue }
            removed += old.filter { !new.contains($0) }
            added += new.filter { !old.contains($0) }
        }
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
    /// Why it is wanted.
    public let document: DocumentKey
    /// nil: what is usual for the type.
    public var mtu: Int?
    /// The VLAN that it is an access port of; nil for a trunk of all.
    public var tag: VLANID?
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
        let wanted = news.map { KeyedDocument(key: $0.key, document: $0.document) }
        let former = try exchange(wanted)
        do throws(DocumentRefusal) {
            try check(wanted, former: former)
        } catch {
            back(to: former)
            throw error.at(news)
        }
        let (before, units, vlans) = work(before: wanted, former)
        let after = work(of: units)
        return NetworkChange(
            documents: news,
            flows: Difference(from: before.flows, to: after.flows),
            ports: Difference(from: before.ports, to: after.ports),
            former: former,
            formerVLANs: vlans
        )
    }

    /// What there was to do before documents changed, for all that they touch; networks get their VLANs, or lose them.
    private mutating func work(
        before wanted: [KeyedDocument],
        _ former: [KeyedDocument]
    ) -> (Work, of: [Unit], LocalVLANs) {
        let vlans = localVLANs
        let placings = placings(of: wanted + former)
        let placed = placings.filter(isPlaced)
        let toggled = Set(placings.map(\.network)).filter { isLocal($0) != (localVLANs[$0] != nil) }
        var units = units(of: wanted.map(\.key), toggled)
        var before = Work()
        // There was nothing before the document of this host came.
        if former.contains(where: { $0.key == hereKey && $0.document == nil }) {
            for network in toggled { toggle(network) }
            return (before, Array(units), vlans)
        }
        back(to: former)
        units.formUnion(self.units(of: wanted.map(\.key), toggled))
        units.formUnion(placed.symmetricDifference(placings.filter(isPlaced)).map { .network($0.network) })
        before = work(of: Array(units))
        back(to: wanted)
        for network in toggled { toggle(network) }
        return (before, Array(units), vlans)
    }

    /// What follows from some units, for each of them.
    private struct Work {
        var flows: [[BridgeFlow]] = []
        var ports: [[PlannedPort]] = []
    }

    private func work(of units: [Unit]) -> Work {
        Work(flows: units.map(flows), ports: units.map(plannedPorts))
    }

    private var hereKey: DocumentKey { DocumentKey(.host, hostName) }

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
    private mutating func back(to documents: [KeyedDocument]) { _ = try! exchange(documents) }

    /// What is new of some changes; of one document the last counts.
    private func news(of changes: [DocumentChange], isSnapshot: Bool) -> [DocumentChange] {
        var places = [DocumentKey: Int](minimumCapacity: changes.count)
        var news: [DocumentChange] = []
        for change in changes {
            let place = places[change.key]
            let held = place.map { news[$0].document } ?? document(change.key)
            // Without a revision it is meant whatever there is.
            if let held, change.revision != 0, change.revision < held.revision { continue }
            places[change.key] = place ?? news.count
            if let place { news[place] = change } else { news.append(change) }
        }
        if isSnapshot { news += keys.filter { places[$0] == nil }.map(DocumentChange.init(removing:)) }
        return news.filter { $0.document != document($0.key) }
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

    /// A network on a host.
    private struct Placing: Hashable {
        let network: String
        let host: String
    }

    private func placings(of documents: [KeyedDocument]) -> Set<Placing> {
        var placings: Set<Placing> = []
        for case .port(let port)? in documents.map(\.document) {
            if let place = port.place { placings.insert(Placing(network: port.network, host: place)) }
        }
        return placings
    }

    private func isPlaced(_ placing: Placing) -> Bool { members[placing.network]?.placed[placing.host] != nil }

    private mutating func toggle(_ network: String) {
        if isLocal(network) { localVLANs.add(network) } else { localVLANs.remove(network) }
    }

    /// - Parameter toggled: networks that get a port here, or lose their last.
    private func units(of keys: [DocumentKey], _ toggled: Set<String>) -> Set<Unit> {
        guard !keys.contains(hereKey) else { return allUnits }
        var units = Set(toggled.flatMap(unitsOfNetwork))
        for key in keys {
            switch key.type {
            case .host: units.formUnion(unitsOfHost(key.id))
            case .network: units.formUnion(unitsOfNetwork(key.id))
            case .port: units.insert(.port(key.id))
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
    fileprivate func at(_ changes: [DocumentChange]) -> DocumentRefusal {
        DocumentRefusal(key, line: changes.first { $0.key == key }?.line, reason)
    }
}
