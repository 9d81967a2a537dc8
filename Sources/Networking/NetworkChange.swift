public import Wire

/// What a change of documents has a host do.
public struct NetworkChange: Sendable {
    /// Those that say something new, or take something away; the rest was known or is outdated.
    public let documents: [DocumentChange]
    /// How many of them the request did not name: a snapshot takes them away.
    public let unnamedCount: Int
    public let outdated: OutdatedRevisions.Change
    /// Whether nothing is to be done, not even to be remembered.
    public var isEmpty: Bool { documents.isEmpty && outdated.isEmpty }
    public let flows: Difference<BridgeFlow>
    public let ports: Difference<PlannedPort>
    /// Of those that flows name: they come before the flows, and go after them.
    public let addressSets: [AddressSetDifference]
    /// What there was in their place.
    let former: [KeyedDocument]
    let formerDigests: [(DocumentKey, DocumentDigests.Entry?)]
    let formerOutdated: OutdatedRevisions.Change
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
            let (former, present) = (Set(old), Set(new))
            removed += old.filter { !present.contains($0) }
            added += new.filter { !former.contains($0) }
        }
    }
}

/// A flow of a bridge, in the words of ovs-ofctl, with ports by name.
public struct BridgeFlow: Hashable, Sendable {
    public let bridge: String
    public let line: String
    /// Why packets are dropped that end behind it; nil for a flow that does not say.
    public let refusal: FilterRefusal?

    init(bridge: String, line: String, refusal: FilterRefusal? = nil) {
        self.bridge = bridge
        self.line = line
        self.refusal = refusal
    }
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
    /// - Parameters:
    ///   - isSnapshot: whether documents that are not named go.
    ///   - revision: that of a snapshot, which what was sent later outlives; nil when it is meant whatever there is.
    /// - Throws: `DocumentRefusal`; nothing has changed then.
    public mutating func apply(
        _ changes: [DocumentChange],
        isSnapshot: Bool = false,
        revision: UInt64? = nil
    ) throws(DocumentRefusal) -> NetworkChange {
        let news = news(of: changes, isSnapshot: isSnapshot, revision: revision)
        let wanted = news.documents.map { KeyedDocument(key: $0.key, document: $0.document) }
        let former: [KeyedDocument]
        do throws(DocumentRefusal) {
            former = try exchangeChecked(wanted)
        } catch {
            throw error.at(news.documents)
        }
        let touched = touchedMembers(wanted + former)
        let (before, units, vlans) = work(before: wanted, former, touched)
        let after = work(of: units)
        return NetworkChange(
            documents: news.documents,
            unnamedCount: news.unnamedCount,
            outdated: news.outdated,
            flows: Difference(from: before.flows, to: after.flows),
            ports: Difference(from: before.ports, to: after.ports),
            addressSets: differences(of: touched, from: before.members),
            former: former,
            formerDigests: digests.exchange(news.documents.map { ($0.key, $0.digestEntry) }),
            formerOutdated: outdated.exchange(news.outdated),
            formerVLANs: vlans
        )
    }

    /// Puts documents in the place of those with their keys, if they can be beside the others.
    private mutating func exchangeChecked(_ wanted: [KeyedDocument]) throws(DocumentRefusal) -> [KeyedDocument] {
        let former = try exchange(wanted)
        do throws(DocumentRefusal) {
            try check(wanted, former: former)
        } catch {
            back(to: former)
            throw error
        }
        return former
    }

    /// What there was to do before documents changed, for all that they touch; networks get their VLANs, or lose them.
    private mutating func work(
        before wanted: [KeyedDocument],
        _ former: [KeyedDocument],
        _ touched: TouchedMembers
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
        before.members = status(of: touched)
        back(to: wanted)
        for network in toggled { toggle(network) }
        return (before, Array(units), vlans)
    }

    /// What follows from some units, for each of them.
    private struct Work {
        var flows: [[BridgeFlow]] = []
        var ports: [[PlannedPort]] = []
        var members = MemberStatus()
    }

    private func work(of units: [Unit]) -> Work {
        Work(flows: units.map(flows), ports: units.map(plannedPorts))
    }

    private var hereKey: DocumentKey { DocumentKey(.host, hostName) }

    /// Takes the last change back.
    public mutating func revert(_ change: NetworkChange) {
        back(to: change.former)
        _ = digests.exchange(change.formerDigests)
        _ = outdated.exchange(change.formerOutdated)
        localVLANs = change.formerVLANs
    }

    /// Has networks keep the VLANs that their ports had before a restart.
    /// - Parameter vlans: by the port's name.
    public mutating func keepLocalVLANs(_ vlans: [String: VLANID], of changes: [DocumentChange]) {
        for case .port(let port)? in changes.map(\.document) where port.places.contains(hostName) {
            if let vlan = vlans[port.deviceName] { localVLANs.put(vlan, for: port.network) }
        }
    }

    /// To where it was before an exchange, which nothing can refuse.
    private mutating func back(to documents: [KeyedDocument]) { _ = try! exchange(documents) }

    /// Remembers what was too old before a restart.
    public mutating func restore(_ outdated: OutdatedRevisions.Change) { _ = self.outdated.exchange(outdated) }

    // MARK: - What is new

    /// What some changes say that is not known yet.
    private struct News {
        var documents: [DocumentChange] = []
        var unnamedCount = 0
        var outdated = OutdatedRevisions.Change()
    }

    private func news(of changes: [DocumentChange], isSnapshot: Bool, revision: UInt64?) -> News {
        var news = News()
        // One that was overtaken by a later one.
        if let revision, revision < outdated.floor { return news }
        let latest = latest(of: changes, sentAt: revision ?? 0)
        news.outdated = outdated.change(for: latest, floor: revision == outdated.floor ? nil : revision)
        news.documents = latest.filter { change in
            let held = digests.documents[change.key]
            guard change.document != nil else { return held != nil }
            return held?.digest != change.digest || held?.revision != change.revision
        }
        guard isSnapshot else { return news }
        let named = Set(changes.map(\.key))
        let rest = digests.documents.filter { !named.contains($0.key) && $0.value.revision <= revision ?? .max }
        news.documents += rest.map { DocumentChange(removing: $0.key) }
        news.unnamedCount = rest.count
        return news
    }

    /// What is not outdated of some changes; of one document the last that is not.
    /// - Parameter snapshot: the revision at which all of them were meant, at least.
    private func latest(of changes: [DocumentChange], sentAt snapshot: UInt64) -> [DocumentChange] {
        var places = [DocumentKey: Int](minimumCapacity: changes.count)
        var latest: [DocumentChange] = []
        for change in changes {
            let place = places[change.key]
            // Without a revision it is meant whatever there is.
            let revision = max(change.revision, snapshot)
            let known = place.map { Known(latest[$0]) } ?? known(change.key)
            if revision != 0, revision < outdated.floor || known.outdates(revision) { continue }
            places[change.key] = place ?? latest.count
            if let place { latest[place] = change } else { latest.append(change) }
        }
        return latest
    }

    /// The revisions of what is known of a document.
    private struct Known {
        var held: UInt64 = 0
        var removed: UInt64 = 0

        init(held: UInt64, removed: UInt64) { (self.held, self.removed) = (held, removed) }

        init(_ change: DocumentChange) {
            if change.document == nil { removed = change.revision } else { held = change.revision }
        }

        func outdates(_ revision: UInt64) -> Bool { revision < held || revision <= removed }
    }

    private func known(_ key: DocumentKey) -> Known {
        Known(held: digests.documents[key]?.revision ?? 0, removed: outdated.tombstones[key] ?? 0)
    }

    // MARK: - What a change touches

    /// What flows and ports of this host follow from.
    enum Unit: Hashable {
        case base
        case host(String)
        case network(String)
        case port(String)
        case station(Station)
    }

    /// A network on a host.
    private struct Placing: Hashable {
        let network: String
        let host: String
    }

    private func placings(of documents: [KeyedDocument]) -> Set<Placing> {
        var placings: Set<Placing> = []
        for case .port(let port)? in documents.map(\.document) {
            for place in port.places { placings.insert(Placing(network: port.network, host: place)) }
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
            case .port: units.formUnion(unitsOfPort(key.id))
            case .securityGroup: units.formUnion((security.groups[key.id]?.ports ?? []).map(Unit.port))
            // Nothing follows from them yet.
            case .subnet, .router, .floatingIP: break
            }
        }
        return units
    }

    private var allUnits: Set<Unit> {
        Set(
            [.base] + hosts.keys.map(Unit.host) + networks.keys.map(Unit.network) + ports.keys.map(Unit.port)
                + security.holders.keys.map(Unit.station)
        )
    }

    /// A host stands in the flood lists of its networks, and without l2population of all.
    private func unitsOfHost(_ host: String) -> Set<Unit> {
        let ports = portsOfHost[host] ?? []
        let networks = here?.hasL2Population == false ? Set(networks.keys) : Set(ports.map { self.ports[$0]!.network })
        return Set([.host(host)] + ports.map(Unit.port) + networks.map(Unit.network))
    }

    private func unitsOfNetwork(_ network: String) -> Set<Unit> {
        Set([.network(network)] + (members[network]?.ports ?? []).flatMap(unitsOfPort))
    }

    private func unitsOfPort(_ id: String) -> [Unit] {
        [.port(id)] + (ports[id]?.stations(on: hostName).map(Unit.station) ?? [])
    }
}

extension DocumentRefusal {
    /// With the line of the document that it is about, if one of some changes is that document's.
    public func at(_ changes: [DocumentChange]) -> DocumentRefusal {
        DocumentRefusal(key, line: changes.first { $0.key == key }?.line, field: field, reason)
    }
}

extension DocumentChange {
    /// What the digests have of it; nil when it goes.
    fileprivate var digestEntry: DocumentDigests.Entry? {
        guard let document else { return nil }
        return DocumentDigests.Entry(digest: digest, revision: revision, network: document.networkOfDigest)
    }
}
