import Dataplane
import Flows

extension Switch {
    // Swift 6.3.1 crashes when it optimises the next three into the asynchronous functions of a connection.

    /// Adds flows, all or none.
    /// - Throws: `Refusal`, or `FlowRefusal` with the place in the text.
    @inline(never) public func addFlows(_ request: FlowAdd) throws -> FlowAdd.Response {
        let document = try document(request.neededText(), on: request.bridge)
        let wanted = try ownFlows(of: document)
        try document.checkOverlaps(with: dataplane.flows(of: request.bridge).map(\.flow))
        try change(request.bridge, adding: try document.said(wanted))
        return FlowAdd.Response(added: document.flows.count)
    }

    /// Makes a text all the flows of a bridge, but for those of documents. Flows that are in both, in all they say, are
    /// not touched.
    @inline(never) public func replaceFlows(_ request: FlowReplace) throws -> FlowReplace.Response {
        let document = try document(request.neededText(), on: request.bridge)
        let wanted = try ownFlows(of: document)
        try document.checkOverlaps(with: [])
        var gone = Dictionary(uniqueKeysWithValues: ownFlows(of: request.bridge).map { ($0.number, $0) })
        var adding: [Int] = []
        for index in wanted {
            let flow = document.flows[index]
            let former = dataplane.flowNumber(of: flow, on: request.bridge).flatMap { gone.removeValue(forKey: $0) }
            // One that was learned is to be written down, now that somebody says it.
            let isKept = former.map { !flow.outlivesDaemon || flowRows[request.bridge]?[$0.number] != nil } ?? false
            if former?.flow != flow || !isKept { adding.append(index) }
        }
        try change(request.bridge, removing: Array(gone.keys), adding: try document.said(adding))
        tell(of: Array(gone.values), on: request.bridge, .delete)
        return FlowReplace.Response(
            added: adding.count,
            removed: gone.count,
            unchanged: wanted.count - adding.count
        )
    }

    /// Gives the flows that a match selects other actions, and another cookie if the text says one.
    @inline(never) public func modifyFlows(_ request: FlowModify) throws -> FlowModify.Response {
        let modification = try modification(request)
        let found = ownFlows(of: request.bridge).filter { modification.filter.selects($0.flow) }
        let changed = found.map { (number: $0.number, flow: modification.changed($0.flow)) }
        if let refusal = dataplane.refusal(of: changed.map(\.flow), on: request.bridge) { throw refusal }
        let resets = modification.flow.flags.contains(.resetCounts)
        try change(request.bridge, to: changed, keepingCounts: !resets)
        return FlowModify.Response(modified: changed.count)
    }

    /// Removes the flows that a match selects; all without one.
    public func deleteFlows(_ request: FlowDelete) throws -> FlowDelete.Response {
        try bridge(request.bridge)
        let filter = try filter(request.match, on: request.bridge, isStrict: request.strict ?? false)
        let gone = ownFlows(of: request.bridge).filter { filter.selects($0.flow) }
        try change(request.bridge, removing: gone.map(\.number))
        tell(of: gone, on: request.bridge, .delete)
        return FlowDelete.Response(deleted: gone.count)
    }

    /// The flows of a bridge as they are now; writing them down is left to whoever asks.
    func listing(_ request: FlowDump) throws -> FlowListing {
        try bridge(request.bridge)
        return FlowListing(
            request: request,
            filter: try filter(request.match, on: request.bridge, isStrict: false),
            flows: dataplane.flows(of: request.bridge),
            names: request.names == true ? portNames(of: request.bridge) : [:]
        )
    }

    /// Puts the flows of the state file in place of those that new bridges have.
    /// - Throws: `StoreError` for a flow that cannot run: to leave it out would be to forward otherwise than before.
    func restoreFlows(_ records: [FlowRecord]) throws(StoreError) {
        lastFlowRow = records.last?.row ?? 0
        let records = Dictionary(grouping: records, by: \.bridge)
        for name in bridges.keys {
            let kept = records[name] ?? []
            do throws(Refusal) {
                let first = dataplane.flows(of: name).map(\.number)
                let numbers = try dataplane.changeFlows(of: name, removing: first, adding: kept.map(\.flow))
                flowRows[name] = FlowRows(numbers, kept.map(\.row))
            } catch {
                throw StoreError(
                    "state file '\(store.path)' has a flow of bridge '\(name)' that cannot run (\(error.reason)): "
                        + "install the martlet that wrote it"
                )
            }
        }
    }

    /// Removes the flows whose time has come, and says so.
    func expireFlows() { forget(dataplane.expireFlows()) }

    /// Learns the flows that packets taught since the last call. They are never in the state file.
    func learnFlows() { forget(dataplane.learnFlows()) }

    /// Says that flows went by themselves. Of these the state file has those that got a timeout later (`fin_timeout`), and
    /// those that went with what taught others.
    private func forget(_ gone: [ExpiredFlow]) {
        var rows: [Int64] = []
        for one in gone {
            if let row = flowRows[one.bridge]?[one.flow.number] { rows.append(row) }
            flowRows[one.bridge]?[one.flow.number] = nil
            tell(of: [one.flow], on: one.bridge, FlowRemoved.Reason(one.reason))
        }
        do {
            try store.changeFlows(removing: rows, adding: [])
        } catch {
            logger.error("flows that went will come back at the next start", metadata: ["reason": "\(error.reason)"])
        }
    }

    /// The indices of the flows of a text that are to be, without those that are there for documents already.
    /// - Throws: `FlowRefusal` for one that would take the place of another one of documents.
    private func ownFlows(of document: FlowDocument) throws(FlowRefusal) -> [Int] {
        guard let planned = plannedFlows[document.bridge] else { return document.lasting }
        var own: [Int] = []
        for index in document.lasting {
            let flow = document.flows[index]
            guard let number = dataplane.flowNumber(of: flow, on: document.bridge), planned.contains(number) else {
                own.append(index)
                continue
            }
            guard dataplane.flow(number, on: document.bridge)?.flow == flow else {
                let reason = "network documents have another flow with this table, priority and match: change those"
                throw document.refusal(of: index, reason)
            }
        }
        return own
    }

    /// The flows of a bridge that are not there for documents.
    private func ownFlows(of bridge: String) -> [InstalledFlow] {
        let planned = plannedFlows[bridge] ?? []
        return dataplane.flows(of: bridge).filter { !planned.contains($0.number) }
    }

    // MARK: Reading text

    private func document(_ text: String, on bridge: String) throws -> FlowDocument {
        try self.bridge(bridge)
        let document = try FlowDocument(text, bridge: bridge, ports: portResolver(of: bridge))
        try document.check(ports: portNumbers(of: bridge), dataplane: dataplane)
        return document
    }

    private func modification(_ request: FlowModify) throws -> FlowModification {
        try bridge(request.bridge)
        let ports = portResolver(of: request.bridge)
        let read: FlowModification
        do throws(FlowSyntaxError) {
            read = try FlowText.modification(request.flow, isStrict: request.strict ?? false, ports: ports)
        } catch {
            throw FlowRefusal(error)
        }
        try FlowDocument(read, request.flow, bridge: request.bridge, ports: ports)
            .check(ports: portNumbers(of: request.bridge), dataplane: dataplane)
        return read
    }

    private func filter(_ text: String?, on bridge: String, isStrict: Bool) throws -> FlowFilter {
        do throws(FlowSyntaxError) {
            return try FlowText.filter(text ?? "", isStrict: isStrict, ports: portResolver(of: bridge))
        } catch {
            throw FlowRefusal(error)
        }
    }

    func portResolver(of bridge: String) -> PortResolver { Self.portResolver(of: bridge, among: records) }

    static func portResolver(of bridge: String, among records: [String: PortRecord]) -> PortResolver {
        { name in records[name].flatMap { $0.bridge == bridge ? UInt32($0.number.value) : nil } }
    }

    func portNumbers(of bridge: String) -> Set<UInt32> {
        Set(ports.values.filter { $0.record.bridge == bridge }.map { UInt32($0.record.number.value) })
    }

    func portNames(of bridge: String) -> [FlowPort: String] {
        Dictionary(
            uniqueKeysWithValues: ports.values.filter { $0.record.bridge == bridge }.map { port in
                (FlowPort(rawValue: UInt32(port.record.number.value)), port.record.name)
            }
        )
    }

    // MARK: Changing

    /// Where the state file has flows.
    func rows(of flows: [InstalledFlow], on bridge: String) -> [Int64] {
        flows.compactMap { flowRows[bridge]?[$0.number] }
    }

    /// Does what is left to do when flows went because of something that they used.
    func forget(_ orphans: OrphanedFlows, on bridge: String, _ reason: FlowRemoved.Reason) {
        for flow in orphans.all { flowRows[bridge]?[flow.number] = nil }
        tell(of: orphans.users, on: bridge, reason)
        tell(of: orphans.learned, on: bridge, .delete)
    }

    /// Changes the flows of a bridge in the state file, then in the dataplane. It costs what changes.
    ///
    /// The file is the step that can fail (a full disk shows at its commit), so it comes first: all that the dataplane
    /// could refuse was asked of it before. The other way round, packets would meet flows that must be taken back, and
    /// those that they replaced would have lost their counters.
    /// - Parameter adding: no two with the same table, priority and match.
    private func change(_ bridge: String, removing: [UInt32] = [], adding: [SaidFlow] = []) throws(Refusal) {
        let flows = adding.map(\.flow)
        let learned = dataplane.learnedFlows(goingWith: removing, adding: flows, on: bridge)
        let gone =
            removing + flows.compactMap { dataplane.flowNumber(of: $0, on: bridge) } + learned.map(\.number)
        let records = records(of: adding.filter(\.flow.outlivesDaemon), on: bridge)
        try store.changeFlows(removing: gone.compactMap { flowRows[bridge]?[$0] }, adding: records)
        let numbers = try dataplane.changeFlows(of: bridge, removing: removing, adding: flows)
        for number in gone { flowRows[bridge]?[number] = nil }
        note(records, of: zip(numbers, flows).filter(\.1.outlivesDaemon).map(\.0), on: bridge)
        tell(of: learned, on: bridge, .delete)
    }

    /// The same for flows that stay and do something else. Those that were learned are not in the file.
    /// - Throws: `Refusal` for one that prints longer than can be read again, too.
    private func change(
        _ bridge: String,
        to changed: [(number: UInt32, flow: Flow)],
        keepingCounts: Bool
    ) throws(Refusal) {
        let learned = dataplane.learnedFlows(goingWith: [], adding: changed.map(\.flow), on: bridge)
        let goes = Set(learned.map(\.number))
        let kept = changed.filter { !goes.contains($0.number) && flowRows[bridge]?[$0.number] != nil }
        let said = kept.map { SaidFlow(flow: $0.flow, line: FlowText.print($0.flow)) }
        if let length = said.map(\.line.utf8.count).max(), length > FlowText.greatestLineLength {
            throw Refusal(FlowText.reasonForLength(length))
        }
        let records = records(of: said, on: bridge)
        let rows = (kept.map(\.number) + goes).compactMap { flowRows[bridge]?[$0] }
        try store.changeFlows(removing: rows, adding: records)
        try dataplane.changeFlows(of: bridge, changing: changed, keepingCounts: keepingCounts)
        for number in goes { flowRows[bridge]?[number] = nil }
        note(records, of: kept.map(\.number), on: bridge)
        tell(of: learned, on: bridge, .delete)
    }

    /// The next rows of the state file, for flows that it has not yet.
    private func records(of flows: [SaidFlow], on bridge: String) -> [FlowRecord] {
        zip((lastFlowRow + 1)..., flows).map { row, said in
            FlowRecord(row: row, bridge: bridge, flow: said.flow, line: said.line)
        }
    }

    /// Notes where the state file has flows now, by their numbers.
    private func note(_ records: [FlowRecord], of numbers: [UInt32], on bridge: String) {
        for (number, record) in zip(numbers, records) { flowRows[bridge, default: FlowRows()][number] = record.row }
        lastFlowRow = records.last?.row ?? lastFlowRow
    }
}

extension FlowRemoved.Reason {
    init(_ reason: ExpiredFlow.Reason) {
        switch reason {
        case .idle: self = .idle
        case .hard: self = .hard
        case .eviction: self = .eviction
        case .delete: self = .delete
        }
    }
}

extension Flow {
    /// Whether the state file keeps the flow: what goes by itself would come back with its time begun anew.
    fileprivate var outlivesDaemon: Bool { idleTimeout == 0 && hardTimeout == 0 }
}

/// The rows of the state file that hold the flows of a bridge, by the dataplane's numbers: 8 bytes a flow.
struct FlowRows {
    /// 0 where there is none.
    private var rows: [Int64] = []

    init() {}

    init(_ numbers: [UInt32], _ rows: [Int64]) {
        for (number, row) in zip(numbers, rows) { self[number] = row }
    }

    subscript(number: UInt32) -> Int64? {
        get { number < rows.count && rows[Int(number)] != 0 ? rows[Int(number)] : nil }
        set {
            if number >= rows.count { rows += Array(repeating: 0, count: Int(number) + 1 - rows.count) }
            rows[Int(number)] = newValue ?? 0
        }
    }
}
