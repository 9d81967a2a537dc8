import Flows
import Wire

/// The lists of actions that flows had of late: most flows of a table do the same as others, with other values at most, and
/// share the memory then. What a flow itself writes is in its rule's instructions: `WrittenValues`.
struct ActionLists {
    private static let capacity = 256

    private var lists: [(actions: [Action], writes: [Write?])] = Array(repeating: ([], []), count: capacity)

    /// A list that is there already and the same but for what it writes, or this one.
    mutating func shared(_ actions: [Action]) -> [Action] {
        let writes = actions.map { Write($0) }
        var hasher = Hasher()
        for (action, write) in zip(actions, writes) { write?.hash(into: &hasher) ?? action.hash(into: &hasher) }
        let place = Int(UInt(bitPattern: hasher.finalize()) % UInt(Self.capacity))
        let isSame =
            lists[place].writes == writes
            && actions.indices.allSatisfy { writes[$0] != nil || lists[place].actions[$0] == actions[$0] }
        if !isSame { lists[place] = (actions, writes) }
        return lists[place].actions
    }
}

/// An action that writes a value, without the value.
private struct Write: Hashable {
    /// How it is said.
    private enum Form { case setField, modification, tunnel, wideTunnel }

    private let form: Form
    private let field: Field
    private let mask: UInt128

    func hash(into hasher: inout Hasher) { hasher.combine(field.rawValue) }

    /// nil for other actions, and for bits that the key has no room for: no instruction has them.
    init?(_ action: Action) {
        switch action {
        case .setEthernetSource: (form, field) = (.modification, .ethSource)
        case .setEthernetDestination: (form, field) = (.modification, .ethDestination)
        case .setTunnel(_, let isWide): (form, field) = (isWide ? .wideTunnel : .tunnel, .tunID)
        case .setField(let set) where set.mask & ~set.field.slot.mask == 0:
            (form, field, mask) = (.setField, set.field, set.mask)
            return
        default: return nil
        }
        mask = field.fullMask
    }

    func action(writing value: UInt128) -> Action {
        switch form {
        case .setField: .setField(SetField(field, value, mask: mask))
        case .modification where field == .ethSource: .setEthernetSource(MACAddress(value: UInt64(value)))
        case .modification: .setEthernetDestination(MACAddress(value: UInt64(value)))
        case .tunnel: .setTunnel(UInt64(value), isWide: false)
        case .wideTunnel: .setTunnel(UInt64(value), isWide: true)
        }
    }

    /// What instructions write into the field.
    func value(of instructions: [Instruction]) -> UInt128 {
        let slot = field.slot
        let value = instructions.reduce(UInt128(0)) { value, instruction in
            let isUpper = slot.width == 128 && Int(instruction.word) == slot.word
            return value | UInt128(instruction.value) << (isUpper ? 64 : 0)
        }
        return slot.width == 128 ? value : value >> UInt128(slot.shift)
    }
}

/// The values that a rule's instructions write for the actions of its flow, in their order; lists within them aside.
struct WrittenValues {
    private var rest: UnsafeBufferPointer<Instruction>.SubSequence

    init(of rule: UnsafeMutablePointer<Rule>) {
        rest = UnsafeBufferPointer(start: rule.instructions, count: rule.pointee.instructionCount)[...]
    }

    /// A shared list as the rule's flow has it.
    static func actions(_ list: [Action], of rule: UnsafeMutablePointer<Rule>) -> [Action] {
        guard list.contains(where: { Write($0) != nil }) else { return list }
        var values = WrittenValues(of: rule)
        return list.map { values.next($0) }
    }

    private mutating func next(_ action: Action) -> Action {
        let own = (0..<Instruction.writes(action).count).map { _ in nextWrite() }
        guard let write = Write(action) else { return action }
        return write.action(writing: write.value(of: own))
    }

    /// - Precondition: there is one.
    private mutating func nextWrite() -> Instruction {
        while true {
            let instruction = rest.removeFirst()
            switch instruction.kind {
            case .set: return instruction
            case .clone, .writeActions, .learn, .track: rest.removeFirst(Int(instruction.count))
            default: break
            }
        }
    }
}
