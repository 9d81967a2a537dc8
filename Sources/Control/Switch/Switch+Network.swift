import Dataplane
import Flows
public import Networking
import Wire

// What Neutron wants, made so: documents are computed to flows and ports (`NetworkState`), checked against what else the
// switch has, written down, and then done. Flows come before the ports whose packets meet them.
extension Switch {
    /// Changes documents, all or none.
    /// - Throws: `Refusal`, or `FlowRefusal` with the line of the document.
    @inline(never) public func applyNetwork(_ request: NetworkApply) throws -> NetworkApply.Response {
        do {
            return try apply(
                try DocumentText.changes(try request.neededText()),
                isSnapshot: request.snapshot ?? false,
                revision: request.revision
            )
        } catch let refusal as DocumentRefusal {
            guard let line = refusal.line else { throw Refusal(refusal.description) }
            throw FlowRefusal(line: line, column: 1, reason: refusal.description)
        }
    }

    /// Changes documents, all or none; what this returns from is on disk.
    /// - Parameters:
    ///   - isSnapshot: whether documents that are not named go.
    ///   - revision: that of a snapshot: documents that are newer stay, and what is older is ignored from then on.
    /// - Throws: `DocumentRefusal` for a document that cannot be, `Refusal` for the rest; nothing has changed then.
    public func apply(
        _ changes: [DocumentChange],
        isSnapshot: Bool = false,
        revision: UInt64? = nil
    ) throws -> NetworkApply.Response {
        guard revision == nil || isSnapshot else {
            throw Refusal("revision \(revision!) is that of a snapshot, and this is none: documents have their own")
        }
        guard revision ?? 0 <= DocumentText.greatestRevision else {
            throw Refusal("revision \(revision!) is outside 0 to \(DocumentText.greatestRevision)")
        }
        let change = try network.apply(changes, isSnapshot: isSnapshot, revision: revision)
        do {
            // Deliveries are often repeated.
            if !change.isEmpty { try carryOut(change) }
        } catch {
            network.revert(change)
            throw (error as? DocumentRefusal)?.at(change.documents) ?? error
        }
        let removed = change.documents.count { $0.document == nil }
        return NetworkApply.Response(
            changed: change.documents.count - removed,
            removed: removed,
            unchanged: changes.count - (change.documents.count - change.unnamedCount)
        )
    }

    private func carryOut(_ change: NetworkChange) throws {
        try checkInterfaces(of: change.ports.added)
        let plan = try portPlan(change.ports, former: records, leaving: change.ports.removed.map(\.name))
        let bridges = try newBridges(change)
        let sets = try setPlan(change.addressSets)
        // Flows are checked against the sets that they name.
        install(sets.coming)
        do {
            try carryOut(change, plan, bridges, sets)
        } catch {
            removeSets(sets.coming.map(\.name))
            throw error
        }
    }

    private func carryOut(_ change: NetworkChange, _ plan: PortPlan, _ bridges: [String], _ sets: SetPlan) throws {
        let flows = try flowPlans(change.flows, among: plan.records)
        var records = Store.NetworkRecords()
        records.documents = change.documents
        records.outdated = change.outdated
        records.portsRemoved = plan.removed
        records.ports = plan.changed + plan.added
        records.flowsRemoved = flows.flatMap { plan in plan.taken.compactMap { flowRows[plan.bridge]?[$0] } }
        records.bridges = bridges.enumerated().map { firstFlow(of: $1, offset: $0) }
        try store.change(records)
        for first in records.bridges { install(bridge: first.bridge, BridgeSettings(), first: first) }
        install(sets.growing)
        for plan in flows { install(plan) }
        install(sets.shrinking)
        removeSets(sets.going)
        replug(plan)
        remotesVersion += 1
        follow(change.documents.filter { $0.key.type == .port }.map(\.key.id))
    }

    // MARK: - Start

    /// Brings back the flows that follow from the documents of the state file, and says which ports there are to be.
    func restoreNetwork(_ state: SwitchState) throws(StoreError) -> [PortRecord] {
        let former = state.ports
        defer { network.restore(state.outdated) }
        guard !state.documents.isEmpty else { return Array(former.values) }
        do {
            let changes = try DocumentText.changes(state.documents.joined(separator: "\n"))
            network.keepLocalVLANs(former.mapValues(\.vlan.tag), of: changes)
            let change = try network.apply(changes)
            // Another martletd may have planned other ports.
            let leaving = former.values.filter(\.isPlanned).map(\.name)
            let plan = try portPlan(change.ports, former: former, leaving: leaving)
            install(try setPlan(change.addressSets).coming)
            for flows in try flowPlans(change.flows, among: plan.records) { install(flows) }
            var records = Store.NetworkRecords()
            records.portsRemoved = plan.removed
            records.ports = plan.changed + plan.added
            if !records.portsRemoved.isEmpty || !records.ports.isEmpty { try store.change(records) }
            return Array(plan.records.values)
        } catch {
            throw StoreError(
                "state file '\(store.path)' has network documents that cannot be carried out (\(error.reason)): "
                    + "install the martlet that wrote it"
            )
        }
    }

    // MARK: - Bridges

    /// The bridges of a change that are not there yet: those of every Neutron host come by themselves.
    private func newBridges(_ change: NetworkChange) throws(DocumentRefusal) -> [String] {
        let named = Set(change.flows.added.map(\.bridge)).union(change.ports.added.map(\.bridge))
        let missing = named.filter { bridges[$0] == nil }.sorted()
        for bridge in missing where !NetworkState.ownBridges.contains(bridge) {
            let reason = "bridge '\(bridge)' of bridge_mappings does not exist: add it with bridge add \(bridge)"
            throw DocumentRefusal(DocumentKey(.host, network.hostName), field: "bridge_mappings", reason)
        }
        return missing
    }

    // MARK: - Ports

    /// - Throws: `DocumentRefusal` for a guest's socket that is not where documents' may be, or what could name any file.
    private func checkInterfaces(of ports: [PlannedPort]) throws(DocumentRefusal) {
        for port in ports where port.document.type == .port {
            guard port.type != "dpdk" else {
                let reason = "a document has no vif of type dpdk: an operator adds such a port, with port add"
                throw DocumentRefusal(port.document, field: "vif.type", reason)
            }
            guard let path = port.options["path"], let reason = sockets.objection(to: path) else { continue }
            throw DocumentRefusal(port.document, field: "vif.path", reason)
        }
    }

    /// The ports of a change as the switch will have them.
    struct PortPlan {
        var removed: [String] = []
        /// Those that get another VLAN.
        var changed: [PortRecord] = []
        var added: [PortRecord] = []
        /// All ports there will be, by name.
        var records: [String: PortRecord] = [:]
    }

    /// - Parameters:
    ///   - former: the ports there are.
    ///   - names: those of them that go, unless the change adds them.
    private func portPlan(
        _ ports: Difference<PlannedPort>,
        former: [String: PortRecord],
        leaving names: [String]
    ) throws -> PortPlan {
        var plan = PortPlan(records: former)
        var leaving: [String: PortRecord] = [:]
        for name in names { leaving[name] = plan.records.removeValue(forKey: name) }
        // Those that were there first, so that no new one takes their numbers.
        let (old, new) = (
            ports.added.filter { leaving[$0.name] != nil }, ports.added.filter { leaving[$0.name] == nil }
        )
        for port in old.sorted(by: { $0.name < $1.name }) + new.sorted(by: { $0.name < $1.name }) {
            let former = leaving[port.name]
            let record = try record(for: port, former: former, beside: plan.records)
            plan.records[port.name] = record
            guard let former, former.hasDevice(of: record) else {
                plan.added.append(record)
                continue
            }
            leaving[port.name] = nil
            if former.vlan != record.vlan { plan.changed.append(record) }
        }
        plan.removed = Array(leaving.keys)
        guard plan.records.count <= PortIndex.capacity else {
            throw Refusal("the switch would have \(plan.records.count) ports; it has room for \(PortIndex.capacity)")
        }
        return plan
    }

    /// - Throws: `DocumentRefusal` when the port cannot be.
    private func record(
        for port: PlannedPort,
        former: PortRecord?,
        beside others: [String: PortRecord]
    ) throws(DocumentRefusal) -> PortRecord {
        do throws(Refusal) {
            try checkName(port.name, of: "port")
            if let other = others[port.name] {
                let mend = other.isPlanned ? "another document wants it" : "delete it"
                throw Refusal("port '\(port.name)' exists already, on bridge '\(other.bridge)': \(mend)")
            }
            let type = try PortType(name: port.type, options: port.options, portName: port.name)
            let kept = former?.bridge == port.bridge ? former.map { Int($0.number.value) } : nil
            let record = PortRecord(
                name: port.name,
                bridge: port.bridge,
                number: try number(kept, on: port.bridge, beside: others),
                type: type,
                mtu: port.mtu ?? type.usualMTU,
                vlan: try VLANPolicy(mode: nil, tag: port.tag, trunks: []),
                isPlanned: true
            )
            try checkDevice(of: record, beside: others)
            return record
        } catch {
            let field = port.document.type == .port ? "vif" : nil
            throw DocumentRefusal(port.document, field: field, error.reason)
        }
    }

    /// Makes the ports so. One whose device cannot be opened says why, and is tried again.
    private func replug(_ plan: PortPlan) {
        let gone = plan.removed.compactMap { ports[$0] }
        if !gone.isEmpty { unplug(gone) }
        for record in plan.changed { ports[record.name]?.record = record }
        for record in plan.added {
            // There is room: `PortPlan` was checked for it.
            guard let index = try? freeIndex() else { continue }
            ports[record.name] = Port(record: record, index: index)
        }
        open(plan.added.map(\.name))
        if !plan.changed.isEmpty || !plan.added.isEmpty { commit() }
    }

    // MARK: - Flows

    /// What a change changes of one bridge's flows.
    struct FlowPlan {
        let bridge: String
        let removed: [UInt32]
        let added: [Flow]
        /// Flows in the place of which others come.
        let taken: [UInt32]
    }

    private func flowPlans(_ flows: Difference<BridgeFlow>, among records: [String: PortRecord]) throws -> [FlowPlan] {
        let removed = Dictionary(grouping: flows.removed, by: \.bridge)
        let added = Dictionary(grouping: flows.added, by: \.bridge)
        return try Set(removed.keys).union(added.keys).sorted().map { bridge in
            try flowPlan(bridge, removed: removed[bridge] ?? [], added: added[bridge] ?? [], records)
        }
    }

    private func flowPlan(
        _ bridge: String,
        removed: [BridgeFlow],
        added: [BridgeFlow],
        _ records: [String: PortRecord]
    ) throws -> FlowPlan {
        let gone = try parse(removed, portResolver(of: bridge))
        let come = try parse(added, Self.portResolver(of: bridge, among: records))
        if let refusal = dataplane.refusal(of: come, on: bridge) { throw refusal }
        let taken = come.compactMap { dataplane.flowNumber(of: $0, on: bridge) }
        let replaced = Set(taken)
        return FlowPlan(
            bridge: bridge,
            removed: gone.compactMap { dataplane.flowNumber(of: $0, on: bridge) }.filter { !replaced.contains($0) },
            added: come,
            taken: taken
        )
    }

    private func parse(_ flows: [BridgeFlow], _ ports: @escaping PortResolver) throws(Refusal) -> [Flow] {
        try flows.map { said throws(Refusal) in
            do throws(FlowSyntaxError) {
                var flow = try FlowText.flow(said.line, ports: ports)
                flow.cookie = said.refusal.map { NetworkCookie.naming($0.dropReason) } ?? NetworkCookie.plain
                return flow
            } catch {
                throw Refusal("flow '\(said.line.prefix(200))': \(error.reason)")
            }
        }
    }

    private func install(_ plan: FlowPlan) {
        for number in plan.taken { flowRows[plan.bridge]?[number] = nil }
        let learned = dataplane.learnedFlows(goingWith: plan.removed, adding: plan.added, on: plan.bridge)
        // Asked before, of a bridge that is there.
        let numbers = try! dataplane.changeFlows(of: plan.bridge, removing: plan.removed, adding: plan.added)
        // In place: a copy would cost what all the flows do.
        plannedFlows[plan.bridge, default: []].subtract(plan.removed)
        plannedFlows[plan.bridge, default: []].subtract(plan.taken)
        plannedFlows[plan.bridge, default: []].formUnion(numbers)
        if plannedFlows[plan.bridge]?.isEmpty == true { plannedFlows[plan.bridge] = nil }
        tell(of: learned, on: plan.bridge, .delete)
    }
}

extension PortRecord {
    /// Whether the device of another one can stay as it is for this.
    fileprivate func hasDevice(of other: PortRecord) -> Bool {
        bridge == other.bridge && type == other.type && mtu == other.mtu
    }
}

extension FilterRefusal {
    /// What packets are counted as.
    var dropReason: DropReason {
        switch self {
        case .spoofedMAC: .spoofedMAC
        case .spoofedIP: .spoofedIP
        case .spoofedARP: .spoofedARP
        case .spoofedND: .spoofedND
        case .dhcpServer: .dhcpServer
        case .routerAdvertisement: .routerAdvertisement
        case .notIP: .notIP
        case .guestTag: .guestTag
        case .noEgressRule: .noEgressRule
        case .noIngressRule: .noIngressRule
        case .invalidState: .invalidState
        case .endedConnection: .endedConnection
        case .infrastructure: .infrastructure
        }
    }
}
