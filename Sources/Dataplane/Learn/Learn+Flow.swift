import Flows

extension Learn {
    /// The parts of a packet that the flow is made of, in order.
    var sources: [Subfield] {
        specifications.compactMap { specification in
            switch specification {
            case .matchField(_, let from), .loadField(_, let from), .output(let from): from
            case .matchValue, .loadValue: nil
            }
        }
    }

    /// The flow to learn (ovs-actions(7), 'The learn action').
    /// - Parameter words: those of a message, of the sources one after the other.
    func flow(_ words: InlineArray<16, UInt64>) -> Flow {
        var flow = Flow()
        flow.table = table
        flow.priority = priority
        flow.cookie = cookie
        flow.idleTimeout = idleTimeout
        flow.hardTimeout = hardTimeout
        if sendsFlowRemoved { flow.flags.insert(.sendFlowRemoved) }
        if finIdleTimeout != 0 || finHardTimeout != 0 {
            flow.actions.append(.finTimeout(idle: finIdleTimeout, hard: finHardTimeout))
        }
        var match = MatchBuilder()
        var next = 0
        func take(_ source: Subfield) -> UInt128 {
            // As many words as `Walk.learn` took.
            let isWide = min(Int(source.width), source.field.slot.width - Int(source.offset)) > 64
            let high = isWide ? UInt128(words[next]) << 64 : 0
            next += isWide ? 2 : 1
            return high | UInt128(words[next - 1])
        }
        for specification in specifications {
            switch specification {
            case .matchValue(let target, let value): match.set(learned: target, value)
            case .matchField(let target, let from): match.set(learned: target, take(from))
            case .loadValue(let target, let value): flow.actions += Self.loads(value, target)
            case .loadField(let target, let from): flow.actions += Self.loads(take(from), target)
            case .output(let from): flow.actions += Self.output(take(from))
            }
        }
        flow.match = match.match
        return flow
    }

    /// A load has at most 64 bits: the lower ones come first, as Open vSwitch has them.
    private static func loads(_ value: UInt128, _ target: Subfield) -> [Action] {
        stride(from: 0, to: Int(target.width), by: 64).map { start in
            let width = min(64, Int(target.width) - start)
            let limit: UInt64 = width == 64 ? .max : (1 << UInt64(width)) - 1
            let bits = UInt64(truncatingIfNeeded: value >> UInt128(start)) & limit
            return .load(Load(bits, Subfield(target.field, offset: Int(target.offset) + start, width: width)))
        }
    }

    /// Of the reserved ports these only; a flow that would output to another does without.
    private static func output(_ number: UInt128) -> [Action] {
        switch number {
        case 0xfff8: [.inPort]
        case 0xfffb: [.flood]
        case 0xfffc: [.all]
        case 0..<0xff00, 0xfffe: [.output(FlowPort(rawValue: UInt32(number)))]
        default: []
        }
    }
}

extension MatchBuilder {
    fileprivate mutating func set(learned target: Subfield, _ bits: UInt128) {
        // A VLAN's number has 12 bits here: the one that says that there is a tag stays as it was said before.
        guard target.isWholeField, target.field != .vlanVID else { return set(target, bits) }
        set(target.field, bits, mask: target.field.fullMask)
    }
}
