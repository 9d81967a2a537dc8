import Flows

/// Writes down what a walk does. For the control plane: it allocates as it likes.
struct WalkRecorder: WalkObserver {
    static var isActive: Bool { true }

    /// The bridges by slot.
    let bridges: [UInt16: (name: String, tables: FlowTables)]
    /// Where a port of the switch is plugged, and what the port at its other end is.
    let state: ForwardingState
    /// What the tracker is to say from now on.
    private var states: ArraySlice<UInt8>
    private(set) var trace = WalkTrace()
    private var depth = 0
    private var frames: [Frame] = []
    /// The rule that was found and not yet begun.
    private var found: Code?
    /// The action that ran last, and the packet before it: what it changed shows at the next event.
    private var open: (step: Int, before: FlowKey)?

    /// The instructions of a rule, with the action that each is of.
    private struct Code {
        let first: UnsafePointer<Instruction>
        let actions: [(number: Int, action: Action)]
        let isEmpty: Bool
    }

    private struct Frame {
        var code: Code?
        let formerDepth: Int
        /// A table entered now is the last thing that the flow does.
        var isAtEnd = false
        var lastAction: Int?
        /// The instructions of a rule, and not those of a clone within.
        let isWhole: Bool
    }

    init(bridges: [UInt16: (name: String, tables: FlowTables)], state: ForwardingState, states: [UInt8]) {
        self.bridges = bridges
        self.state = state
        self.states = states[...]
    }

    mutating func begin(on bridge: String, number: UInt16, _ packet: FlowKey) {
        trace.packet = packet
        add(.bridge(bridge, number: number, from: nil))
    }

    // MARK: - Events

    mutating func looked(in table: UInt8, of bridge: UInt16, _ rule: UnsafeMutablePointer<Rule>?, _ key: FlowKey) {
        open = nil
        if frames.last?.isAtEnd == true { depth -= 1 }
        let tables = bridges[bridge]?.tables
        let flow = rule.flatMap { tables?.flow($0.pointee.flow) }
        add(.table(table, flow))
        guard let rule, let flow else {
            if frames.last?.isAtEnd == true { depth += 1 }
            return
        }
        let actions = tables.map { Self.actions(flow.flow.actions, $0.actionContext) } ?? []
        // `blame` is no action's.
        let first = rule.instructions + (NetworkCookie.reason(flow.flow.cookie) == nil ? 0 : 1)
        found = Code(first: first, actions: actions, isEmpty: flow.flow.actions.isEmpty)
    }

    mutating func begins(_ key: FlowKey) {
        let former = frames.last?.isAtEnd == true && found != nil ? depth + 1 : depth
        frames.append(Frame(code: found ?? frames.last?.code, formerDepth: former, isWhole: found != nil))
        depth += 1
        if found?.isEmpty == true { add(.action(nil, [])) }
        found = nil
    }

    mutating func ends(_ key: FlowKey) {
        settle(key)
        if let frame = frames.popLast() { depth = frame.formerDepth }
    }

    mutating func runs(_ instruction: UnsafePointer<Instruction>, _ key: FlowKey) {
        guard let last = frames.indices.last, let code = frames[last].code else { return }
        let index = instruction - code.first
        // Instructions of something else than the flow have no action of it.
        guard code.actions.indices.contains(index) else { return settle(key) }
        let (number, action) = code.actions[index]
        // An action may take several instructions.
        if frames[last].lastAction == number && open != nil { return }
        settle(key)
        frames[last].lastAction = number
        let isLast = index == code.actions.count - 1
        let kind = instruction.pointee.kind
        frames[last].isAtEnd = frames[last].isWhole && (kind == .goto || kind == .resubmit && isLast)
        add(.action(action, []))
        open = kind == .clone || kind == .track || trace.isCut ? nil : (trace.steps.count - 1, key)
    }

    mutating func crosses(to peer: UInt16) {
        open = nil
        let port = state.ports[Int(peer)]
        let bridge = bridges[port.bridge]?.name ?? ""
        frames.append(Frame(code: nil, formerDepth: depth, isWhole: false))
        depth += 1
        add(.bridge(bridge, number: port.number, from: port.peer == PortEntry.noPort ? nil : PortIndex(port.peer)))
    }

    mutating func returns() {
        if let frame = frames.popLast() { depth = frame.formerDepth }
    }

    mutating func noted(_ note: WalkNote) { add(.note(note), deeper: 1) }

    mutating func nextState() -> UInt8? { states.popFirst() }

    mutating func tells(_ message: FlowMessage) {
        switch message.head.subject {
        case .learn:
            let learn = bridges[message.head.bridge]?.tables.learns.learn(message.head.number)
            if let learn { noted(.learns(learn.flow(message.words))) }
        case .finish:
            let timeouts = message.words[1]
            noted(.finishes(idle: UInt16(truncatingIfNeeded: timeouts), hard: UInt16(timeouts >> 16)))
        }
    }

    /// What the walk left behind.
    mutating func finish(_ program: Program) {
        let packet = trace.packet
        let steps = program.sequence.lastOutput.map { (0...$0).map { program.steps[$0] } } ?? []
        trace.program = ProgramWord.words(of: steps, type: packet)
        trace.drop = program.drop
        var mask = program.mask.all
        mask[18] &= ~FrameLayout.tagTypeMask
        trace.match = Match(value: packet, mask: mask)
    }

    // MARK: - Writing down

    private mutating func add(_ event: WalkTrace.Event, deeper: Int = 0) {
        trace.isCut = trace.steps.count == WalkTrace.stepLimit
        if !trace.isCut { trace.steps.append(WalkTrace.Step(depth: depth + deeper, event: event)) }
    }

    private mutating func settle(_ key: FlowKey) {
        guard let (step, before) = open, case .action(let action, _) = trace.steps[step].event else { return }
        trace.steps[step].event = .action(action, before.changes(to: key))
        open = nil
    }

    /// The action of each instruction that a flow's actions compile to, numbered in the order of the text.
    private static func actions(_ actions: [Action], _ context: ActionContext) -> [(number: Int, action: Action)] {
        var list: [(number: Int, action: Action)] = []
        var number = 0
        func append(_ actions: [Action]) {
            for action in actions {
                number += 1
                switch action {
                case .clone(let inner):
                    list.append((number, action))
                    append(inner)
                case .conntrack(let conntrack):
                    list.append((number, action))
                    append(conntrack.actions)
                default:
                    // It compiled when its flow was added.
                    let count = (try? Instruction.compiled([action], context))?.count ?? 0
                    list += Array(repeating: (number, action), count: count)
                }
            }
        }
        append(actions)
        return list
    }
}
