// learn(...).
extension ActionParser {
    func learn(_ slice: Slice) throws(FlowSyntaxError) -> Learn {
        var learn = Learn()
        // What the flow to learn will match, for the prerequisites of its own fields.
        var learned = facts.map { _ in PacketFacts() }
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            if let word = Self.learnWords.lookUp(source, pair.key) {
                try set(word, pair, &learn)
            } else {
                learn.specifications.append(try specification(pair, &learned))
            }
        }
        return learn
    }

    private enum LearnWord: String, CaseIterable {
        case table, priority
        case idleTimeout = "idle_timeout"
        case hardTimeout = "hard_timeout"
        case finIdleTimeout = "fin_idle_timeout"
        case finHardTimeout = "fin_hard_timeout"
        case cookie
        case sendFlowRemoved = "send_flow_rem"
        case deleteLearned = "delete_learned"
        case limit
        case result = "result_dst"
    }

    private static let learnWords = Keywords(LearnWord.allCases.map { ($0.rawValue, $0) })

    private func set(_ word: LearnWord, _ pair: KeyValue, _ learn: inout Learn) throws(FlowSyntaxError) {
        let value = pair.value
        switch word {
        case .table: learn.table = try parser.table(value)
        case .priority: learn.priority = try source.number(value, "a priority")
        case .idleTimeout: learn.idleTimeout = try source.number(value, "a timeout in seconds")
        case .hardTimeout: learn.hardTimeout = try source.number(value, "a timeout in seconds")
        case .finIdleTimeout: learn.finIdleTimeout = try source.number(value, "a timeout in seconds")
        case .finHardTimeout: learn.finHardTimeout = try source.number(value, "a timeout in seconds")
        case .cookie: learn.cookie = try source.cookie(value)
        case .sendFlowRemoved: learn.sendsFlowRemoved = true
        case .deleteLearned: learn.deletesLearned = true
        case .limit: learn.limit = try source.number(value, "a number of flows")
        case .result:
            let subfield = try writable(value)
            guard subfield.width == 1 else {
                throw source.error(value, "result_dst is \(subfield.width) bits wide; it must be one bit")
            }
            learn.result = subfield
        }
    }

    private func specification(
        _ pair: KeyValue,
        _ learned: inout PacketFacts?
    ) throws(FlowSyntaxError) -> Learn.Specification {
        if source.isEqual(pair.key, "output") { return .output(try readable(pair.value)) }
        if source.isEqual(pair.key, "load") { return try learnLoad(pair.value, learned) }
        let target = try inLearned(pair.key, learned)
        guard !pair.value.isEmpty else {
            // The packet's own field, which it must have too.
            return .matchField(target, from: try readable(pair.key))
        }
        if source.firstIndex(of: UInt8(ascii: "["), in: pair.value) != nil
            || FlowParser.fields.lookUp(source, pair.value) != nil
        {
            let from = try readable(pair.value)
            try checkWidths(from, target, pair.value)
            return .matchField(target, from: from)
        }
        let value = try immediate(target, pair.value)
        learned?.learn(target, value)
        return .matchValue(target, value)
    }

    /// A field of the flow to learn, whose prerequisites that flow must match before.
    private func inLearned(_ slice: Slice, _ learned: PacketFacts?) throws(FlowSyntaxError) -> Subfield {
        let subfield = try parser.subfield(slice)
        let prerequisite = subfield.field.shape.prerequisite
        guard let learned, !learned.meets(prerequisite) else { return subfield }
        throw source.error(
            slice,
            "\(source.quoted(slice)) needs the flow to learn to match \(prerequisite.requirement) first"
        )
    }

    private func immediate(_ target: Subfield, _ slice: Slice) throws(FlowSyntaxError) -> UInt128 {
        if target.isWholeField {
            let (value, mask) = try parser.value(of: target.field, slice)
            guard mask == target.field.fullMask else {
                throw source.error(slice, "\(source.quoted(slice)) has a mask, which a flow to learn may not have")
            }
            return value
        }
        return try bits(slice, target)
    }

    private func bits(_ slice: Slice, _ target: Subfield) throws(FlowSyntaxError) -> UInt128 {
        guard let value = source.number(slice), target.width == 128 || value >> UInt128(target.width) == 0 else {
            throw source.error(slice, "\(source.quoted(slice)) is not a number of \(target.width) bits")
        }
        return value
    }

    private func learnLoad(_ slice: Slice, _ learned: PacketFacts?) throws(FlowSyntaxError) -> Learn.Specification {
        let (first, second) = try arrow(slice)
        let target = try inLearned(second, learned)
        try checkWritable(target.field, second)
        if source[first.start].isDigit { return .loadValue(target, try bits(first, target)) }
        let from = try readable(first)
        try checkWidths(from, target, slice)
        return .loadField(target, from: from)
    }

    private func checkWidths(_ from: Subfield, _ target: Subfield, _ place: Slice) throws(FlowSyntaxError) {
        guard from.width != target.width else { return }
        throw source.error(
            place,
            "the packet's field is \(from.width) bits wide, the learned flow's \(target.width); they must agree"
        )
    }
}

extension PacketFacts {
    /// Adds what a flow to learn matches by value.
    fileprivate mutating func learn(_ target: Subfield, _ value: UInt128) {
        var builder = MatchBuilder()
        guard target.isWholeField else { return }
        builder.set(target.field, value, mask: target.field.fullMask)
        let added = PacketFacts(value: builder.value, mask: builder.mask)
        switch target.field {
        case .ethType: etherType = added.etherType
        case .nwProto: networkProtocol = added.networkProtocol
        case .ipFrag: isLaterFragment = added.isLaterFragment
        case .icmpType, .icmpv6Type: icmpType = added.icmpType
        case .icmpCode, .icmpv6Code: icmpCode = added.icmpCode
        case .vlanTCI, .vlanVID, .dlVLAN: tci = added.tci
        default: break
        }
    }
}
