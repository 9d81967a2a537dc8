import Dataplane
import Flows
import Network
import Wire

// What Neutron wants, made so: documents are computed to flows and ports (`NetworkState`), checked against what else the
// switch has, written down, and then done. Flows come before the ports whose packets meet them.
extension Switch {
    /// The cookie of all flows that are there for documents.
    static let networkCookie: UInt64 = 0x6d61_7274_6c65_74

    /// Changes documents, all or none.
    /// - Throws: `Refusal`, or `FlowRefusal` with the line of the document.
    @inline(never) public func applyNetwork(_ request: NetworkApply) throws -> NetworkApply.Response {
        let text = try request.neededText()
        let changes: [DocumentChange]
        let change: NetworkChange
        do throws(DocumentRefusal) {
            changes = try DocumentText.changes(text)
            change = try network.apply(changes, isSnapshot: request.snapshot ?? false)
        } catch {
            throw FlowRefusal(error)
        }
        do {
            try carryOut(change)
        } catch {
            network.revert(change)
            throw error
        }
        let removed = change.documents.count { $0.document == nil }
        return NetworkApply.Response(
            changed: change.documents.count - removed,
            removed: removed,
            // What a snapshot does not name has no line.
            unchanged: changes.count - change.documents.count { $0.line != nil }
        )
    }

    private func carryOut(_ change: NetworkChange) throws {
        let leaving = Set(change.ports.removed.map(\.name))
        let plan = try portPlan(change.ports, former: records, staying: records.filter { !leaving.contains($0.name) })
        let bridges = try newBridges(change)
        let flows = try flowPlans(change.flows, among: plan.records)
        var records = Store.NetworkRecords()
        records.documents = change.documents
        records.portsRemoved = plan.removed
        records.ports = plan.changed + plan.added
        records.flowsRemoved = flows.flatMap { plan in plan.taken.compactMap { flowRows[plan.bridge]?[$0] } }
        records.bridges = bridges.enumerated().map { firstFlow(of: $1, offset: $0) }
        try store.change(records)
        for first in records.bridges { install(bridge: first.bridge, BridgeSettings(), first: first) }
        for plan in flows { install(plan) }
        replug(plan)
        remotesVersion += 1
    }

    // MARK: - Start

    /// Brings back the flows that follow from the documents of the state file, and says which ports there are to be.
    func restoreNetwork(_ documents: [String], ports: [String: PortRecord]) throws(StoreError) -> [PortRecord] {
        guard !documents.isEmpty else { return Array(ports.values) }
        do {
            let changes = try DocumentText.changes(documents.joined(separator: "\n"))
            network.keepLocalVLANs(ports.mapValues(\.vlan.tag), of: changes)
            let change = try network.apply(changes)
            let former = Array(ports.values)
            // Another martletd may have planned other ports.
            let plan = try portPlan(change.ports, former: former, staying: former.filter { !$0.isPlanned })
            for flows in try flowPlans(change.flows, among: plan.records) { install(flows) }
            var records = Store.NetworkRecords()
            records.portsRemoved = plan.removed
            records.ports = plan.changed + plan.added
            if !records.portsRemoved.isEmpty || !records.ports.isEmpty { try store.change(records) }
            return plan.records
        } catch {
            throw StoreError(
                "state file '\(store.path)' has network documents that cannot be carried out (\(error.reason)): "
                    + "install the martlet that wrote it"
            )
        }
    }

    // MARK: - Bridges

    /// The bridges of a change that are not there yet: those of every Neutron host come by themselves.
    private func newBridges(_ change: NetworkChange) throws(Refusal) -> [String] {
        let named = Set(change.flows.added.map(\.bridge)).union(change.ports.added.map(\.bridge))
        let missing = named.filter { bridges[$0] == nil }.sorted()
        for bridge in missing where !NetworkState.ownBridges.contains(bridge) {
            throw Refusal("bridge '\(bridge)' of bridge_mappings does not exist: add it with bridge add \(bridge)")
        }
        return missing
    }

    // MARK: - Ports

    /// The ports of a change as the switch will have them.
    struct PortPlan {
        var removed: [String] = []
        /// Those that get another VLAN.
        var changed: [PortRecord] = []
        var added: [PortRecord] = []
        /// All ports there will be.
        var records: [PortRecord] = []
    }

    /// - Parameters:
    ///   - former: the ports there are.
    ///   - staying: those of them that the change is not about.
    private func portPlan(
        _ ports: Difference<PlannedPort>,
        former: [PortRecord],
        staying: [PortRecord]
    ) throws -> PortPlan {
        var plan = PortPlan(records: staying)
        var leaving = Dictionary(uniqueKeysWithValues: former.map { ($0.name, $0) })
        for record in staying { leaving[record.name] = nil }
        // Those that were there first, so that no new one takes their numbers.
        let (old, new) = (
            ports.added.filter { leaving[$0.name] != nil }, ports.added.filter { leaving[$0.name] == nil }
        )
        for port in old.sorted(by: { $0.name < $1.name }) + new.sorted(by: { $0.name < $1.name }) {
            let former = leaving[port.name]
            let record = try record(for: port, former: former, beside: plan.records)
            plan.records.append(record)
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

    /// - Throws: `Refusal` with the document when the port cannot be.
    private func record(
        for port: PlannedPort,
        former: PortRecord?,
        beside others: [PortRecord]
    ) throws(Refusal) -> PortRecord {
        do throws(Refusal) {
            try checkName(port.name, of: "port")
            if let other = others.first(where: { $0.name == port.name }) {
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
            throw Refusal("\(port.document): \(error.reason)")
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
            var port = Port(record: record, index: index)
            open(&port)
            ports[record.name] = port
        }
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

    private func flowPlans(_ flows: Difference<BridgeFlow>, among records: [PortRecord]) throws -> [FlowPlan] {
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
        _ records: [PortRecord]
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
                flow.cookie = Self.networkCookie
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

extension FlowRefusal {
    init(_ refusal: DocumentRefusal) {
        self.init(line: refusal.line ?? 1, column: 1, reason: refusal.description)
    }
}
