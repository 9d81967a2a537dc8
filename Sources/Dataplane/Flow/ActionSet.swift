import Flows

/// What an action is within an action set (OpenFlow 1.5.1 section 5.6). Of most kinds a set keeps the last one only; what
/// writes fields is kept in order. Executed in the order of cases, with the fields before the last three, and of these the
/// last one only: a set without any of them does nothing, as in Open vSwitch.
enum ActionSetKind: UInt8 {
    case popTag, pushTag, decrementTTL
    case fields
    case resubmit, output, group

    var isFinal: Bool { rawValue >= Self.resubmit.rawValue }

    /// nil for an action that no set may hold.
    init?(_ action: Action) {
        switch action {
        case .stripVLAN, .popVLAN: self = .popTag
        case .pushVLAN: self = .pushTag
        case .decrementTTL: self = .decrementTTL
        case .setVLANID, .setVLANPriority, .setEthernetSource, .setEthernetDestination, .setIPv4Source,
            .setIPv4Destination, .setTOS, .setECN, .setTTL, .setTransportSource, .setTransportDestination, .setField,
            .load, .move, .setTunnel, .setQueue:
            self = .fields
        case .resubmit: self = .resubmit
        case .output, .inPort, .normal, .flood, .all: self = .output
        case .group: self = .group
        default: return nil
        }
    }
}

extension Instruction {
    /// The port that actset_output has without an output (OpenFlow 1.5's OFPP_UNSET).
    static let unsetPort: UInt64 = 0xfff7

    /// `write_actions`: an instruction for each member, before what that consists of.
    static func actionSetWrites(_ actions: [Action], _ context: ActionContext) throws(Refusal) -> [Instruction] {
        var members: [Instruction] = []
        for action in actions {
            guard let kind = ActionSetKind(action) else {
                throw Refusal("'\(FlowText.print([action]))' cannot be in an action set")
            }
            let inner = try compiled([action], context)
            var member = Instruction(.member)
            member.table = kind.rawValue
            member.count = UInt16(inner.count)
            member.value = inner.first.map(\.actionSetPort) ?? unsetPort
            members.append(member)
            members += inner
        }
        guard let count = UInt16(exactly: members.count) else { throw Refusal("write_actions has too many actions") }
        var instruction = Instruction(.writeActions)
        instruction.count = count
        return [instruction] + members
    }

    private var actionSetPort: UInt64 {
        switch kind {
        case .output: value
        case .inPort: UInt64(FlowPort.inPort.rawValue)
        case .normal: UInt64(FlowPort.normal.rawValue)
        case .flood: UInt64(FlowPort.flood.rawValue)
        case .all: UInt64(FlowPort.all.rawValue)
        default: Self.unsetPort
        }
    }
}

/// One action of a set, as it lies in its rule.
struct ActionSetMember: BitwiseCopyable {
    /// What the sets of a walk may hold together.
    static let capacity = 256

    let kind: ActionSetKind
    let instructions: UnsafePointer<Instruction>
    let count: Int
}

extension Walk {
    /// Adds to the set: `count` instructions, members and what they consist of.
    mutating func writeActions(_ instructions: UnsafePointer<Instruction>, count: Int) {
        var next = 0
        while next < count {
            let member = instructions[next]
            // Written by `actionSetWrites`.
            let kind = ActionSetKind(rawValue: member.table).unsafelyUnwrapped
            let added = ActionSetMember(kind: kind, instructions: instructions + next + 1, count: Int(member.count))
            if kind == .group {
                writeActionSetOutput(Instruction.unsetPort)
            } else if kind == .output && setMember(.group) == nil {
                writeActionSetOutput(member.value)
            }
            add(added)
            next += 1 + Int(member.count)
        }
    }

    private mutating func add(_ member: ActionSetMember) {
        if member.kind != .fields, let place = setMember(member.kind) {
            memory.actionSet[place] = member
            return
        }
        guard actionSetCount < ActionSetMember.capacity else { return fail(.flowTooLong) }
        memory.actionSet[actionSetCount] = member
        actionSetCount += 1
    }

    mutating func clearActions() {
        actionSetCount = actionSetFloor
        writeActionSetOutput(Instruction.unsetPort)
    }

    mutating func writeActionSetOutput(_ port: UInt64) { write(KeyWords.actionSetWord, port << 32, .max << 32) }

    /// Where the set has a member of a kind.
    private func setMember(_ kind: ActionSetKind) -> Int? {
        for place in actionSetFloor..<actionSetCount where memory.actionSet[place].kind == kind { return place }
        return nil
    }

    /// Runs the set, once, unless the way has ended by an exit (Open vSwitch 3.1 does so, whatever its manual says). What it resubmits to may write actions: nobody runs those.
    mutating func runActionSet() {
        let (first, end) = (actionSetFloor, actionSetCount)
        defer { (actionSetFloor, actionSetCount) = (first, first) }
        guard !hasExited, let last = setMember(.group) ?? setMember(.output) ?? setMember(.resubmit) else { return }
        let (pop, push, decrement) = (setMember(.popTag), setMember(.pushTag), setMember(.decrementTTL))
        actionSetFloor = end
        if let pop { run(pop) }
        if let push { run(push) }
        if decrement != nil && !decrementTTL() { return }
        for place in first..<end where memory.actionSet[place].kind == .fields { run(place) }
        run(last)
    }

    private mutating func run(_ place: Int) {
        let member = memory.actionSet[place]
        run(member.instructions, count: member.count)
    }
}
