import Dataplane
import Flows

/// Flows as one request says them: read whole, checked whole.
struct FlowDocument {
    let bridge: String
    /// The flows in the order of the text.
    let flows: [Flow]
    private let text: String
    private let resolvePort: PortResolver
    private let namesPorts: Bool

    /// - Parameter ports: finds ports of the bridge by name.
    /// - Throws: `FlowRefusal` for the first mistake.
    init(_ text: String, bridge: String, ports: @escaping PortResolver) throws(FlowRefusal) {
        self.bridge = bridge
        self.text = text
        resolvePort = ports
        var namesPorts = false
        do throws(FlowSyntaxError) {
            flows = try withoutActuallyEscaping(
                { (name: String) -> UInt32? in
                    namesPorts = true
                    return ports(name)
                },
                do: { resolve throws(FlowSyntaxError) in try FlowText.flows(text, ports: resolve) }
            )
        } catch {
            throw FlowRefusal(error)
        }
        self.namesPorts = namesPorts
    }

    /// What a modification says, as a flow.
    init(_ modification: FlowModification, _ text: String, bridge: String, ports: @escaping PortResolver) {
        self.bridge = bridge
        self.text = text
        flows = [modification.flow]
        resolvePort = ports
        // Its lines are no flows' lines.
        namesPorts = true
    }

    /// The indices of the flows that remain when each replaces the ones before it with its table, priority and match.
    var lasting: [Int] {
        guard flows.count > 1 else { return Array(flows.indices) }
        var last = [FlowIdentity: Int](minimumCapacity: flows.count)
        for (index, flow) in flows.enumerated() { last[FlowIdentity(flow)] = index }
        guard last.count < flows.count else { return Array(flows.indices) }
        return flows.indices.filter { last[FlowIdentity(flows[$0])] == $0 }
    }

    /// The flows at some indices with their text, ports by number. What was written so stays as it was written: to
    /// print 100,000 flows takes as long as to read them.
    /// - Throws: `FlowRefusal` for one that prints longer than it is written, and than can be read again.
    func said(_ indices: [Int]) throws(FlowRefusal) -> [SaidFlow] {
        let lines = namesPorts ? nil : FlowText.lines(of: text)
        var said: [SaidFlow] = []
        said.reserveCapacity(indices.count)
        for index in indices {
            let line = lines?[index] ?? FlowText.print(flows[index])
            guard line.utf8.count <= FlowText.greatestLineLength else {
                throw refusal(of: index, FlowText.reasonForLength(line.utf8.count))
            }
            said.append(SaidFlow(flow: flows[index], line: line))
        }
        return said
    }

    /// Checks what syntax does not say: that the ports exist, and that the dataplane can run the actions.
    /// - Parameter ports: the numbers of the bridge's ports.
    func check(ports: Set<UInt32>, dataplane: Dataplane) throws(FlowRefusal) {
        for (index, flow) in flows.enumerated() {
            if let port = flow.actions.portMissing(from: ports) {
                let reason = port.absence(from: bridge)
                throw refusal(of: index, reason) { [$0].portMissing(from: ports) != nil }
            }
        }
        guard let refusal = dataplane.refusal(of: flows, on: bridge) else { return }
        // Which flow it is about; the last one where it takes several.
        let index = flows.firstIndex { dataplane.refusal(of: [$0], on: bridge) != nil } ?? flows.count - 1
        let objects = { (action: Action) -> Bool in
            var flow = Flow()
            flow.actions = [action]
            return dataplane.refusal(of: [flow], on: bridge) != nil
        }
        throw self.refusal(of: index, refusal.reason, becauseOf: objects) { dataplane.members(of: $0) == nil }
    }

    /// Checks that no flow with `check_overlap` shares packets with another one of its table and priority, as Open
    /// vSwitch does: one that is replaced does not count.
    /// - Parameter installed: the flows that stay beside these.
    func checkOverlaps(with installed: @autoclosure () -> [Flow]) throws(FlowRefusal) {
        guard flows.contains(where: { $0.flags.contains(.checkOverlap) }) else { return }
        var others = Dictionary(grouping: installed()) { FlowLevel($0) }
        var left = Self.greatestPairCount
        for (index, flow) in flows.enumerated() {
            if flow.flags.contains(.checkOverlap),
                let reason = Self.overlap(of: flow, among: others[FlowLevel(flow)] ?? [], &left)
            {
                throw refusal(of: index, reason)
            }
            others[FlowLevel(flow), default: []].append(flow)
        }
    }

    /// Why a flow cannot be beside others of its table and priority; nil when it can.
    private static func overlap(of flow: Flow, among others: [Flow], _ left: inout Int) -> String? {
        left -= others.count
        guard left >= 0 else {
            return "check_overlap would compare more than \(greatestPairCount) pairs of flows: add fewer at once"
        }
        guard !others.contains(where: { $0.match == flow.match }) else { return nil }
        return others.first { $0.match.overlaps(flow.match) }.map { other in
            "the flow has check_overlap and overlaps '\(FlowText.print(other))'"
        }
    }

    /// A second of the control thread's time, about.
    private static let greatestPairCount = 5_000_000

    func refusal(
        of index: Int,
        _ reason: String,
        becauseOf objects: @escaping (Action) -> Bool = { _ in false },
        orSet objectsToSet: @escaping (String) -> Bool = { _ in false }
    ) -> FlowRefusal {
        let place = FlowText.place(
            ofFlow: index,
            in: text,
            ports: resolvePort,
            whereAction: objects,
            orSet: objectsToSet
        )
        return FlowRefusal(line: place.line, column: place.column, reason: reason)
    }
}

/// A flow and a text that says it.
struct SaidFlow {
    let flow: Flow
    let line: String
}

/// What only one flow of a bridge has (OpenFlow 1.0, section 4.6).
struct FlowIdentity: Hashable {
    let table: UInt8
    let priority: UInt16
    let match: Match

    init(_ flow: Flow) {
        table = flow.table
        priority = flow.priority
        match = flow.match
    }
}

/// Flows among which the order of a lookup is not said.
private struct FlowLevel: Hashable {
    let table: UInt8
    let priority: UInt16

    init(_ flow: Flow) {
        table = flow.table
        priority = flow.priority
    }
}

extension [Action] {
    /// The first port that an action names, at any depth, and that is not among `ports`.
    func portMissing(from ports: Set<UInt32>) -> FlowPort? {
        for action in self {
            switch action {
            case .output(let port), .outputTruncated(let port, maxLength: _), .enqueue(let port, queue: _),
                .resubmit(port: let port?, table: _, withOriginalTuple: _):
                if port != .inPort, !ports.contains(port.rawValue) { return port }
            case .clone(let inner), .writeActions(let inner):
                if let port = inner.portMissing(from: ports) { return port }
            default: break
            }
        }
        return nil
    }
}

extension FlowPort {
    /// Why flows and groups of a bridge cannot name the port.
    func absence(from bridge: String) -> String {
        guard let name = reservedName else {
            return "port \(rawValue) does not exist on bridge '\(bridge)': port list \(bridge) shows those that do"
        }
        return "port \(name) does not exist: a bridge of Martlet has only the ports that port list \(bridge) shows"
    }
}
