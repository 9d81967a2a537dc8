import Wire

/// Reads actions, each against what the flow's packets are known to be by then (ovs-actions(7)).
struct ActionParser {
    /// What a list of actions stands in.
    enum Place: Equatable {
        case flow, bucket, clone, writeActions, conntrack
    }

    /// A list in more parentheses than this is refused, so that no text can exhaust the stack.
    static let greatestDepth = 16

    let parser: FlowParser
    /// nil for a bucket: a group does not know its packets, and nothing is checked.
    var facts: PacketFacts?
    /// The flow's table, which `goto_table` must go beyond.
    var table: UInt8?
    var place = Place.flow
    var depth = 0

    var source: FlowSource { parser.source }

    /// The actions in `slice`; `drop`, and nothing at all, are no action.
    mutating func list(_ slice: Slice) throws(FlowSyntaxError) -> [Action] {
        guard depth <= Self.greatestDepth else {
            throw source.error(slice, "actions are nested more than \(Self.greatestDepth) deep")
        }
        var actions: [Action] = []
        var order = InstructionOrder()
        var drop: Slice?
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            let count = actions.count
            if case .drop = ActionWord.keywords.lookUp(source, pair.key) {
                drop = pair.key
            } else {
                try read(pair, into: &actions)
            }
            for action in actions[count...] {
                try checkPlace(action, pair)
                if parser.objects?(action) == true { throw source.error(pair.key, "objected to") }
                try order.check(action, pair, source)
            }
        }
        if let drop, !actions.isEmpty { throw source.error(drop, "'drop' must be the only action of its list") }
        return actions
    }

    private mutating func read(_ pair: KeyValue, into actions: inout [Action]) throws(FlowSyntaxError) {
        if let word = ActionWord.keywords.lookUp(source, pair.key) {
            if word == .load {
                actions += try load(pair.value)
                return
            }
            let action = try action(word, pair)
            // OpenFlow has no empty write_actions, so Open vSwitch leaves it out.
            if action != .writeActions([]) { actions.append(action) }
            return
        }
        if let reason = ActionWord.refusedKeywords.lookUp(source, pair.key) {
            throw source.error(pair.key, "the action \(source.quoted(pair.key)) is not supported: \(reason)")
        }
        guard pair.delimiter == 0, let port = try? parser.port(pair.key) else {
            throw source.error(pair.key, "\(source.quoted(pair.key)) is neither an action nor a port")
        }
        actions.append(try output(port, pair.key))
    }

    private mutating func action(_ word: ActionWord, _ pair: KeyValue) throws(FlowSyntaxError) -> Action {
        let value = pair.value
        return switch word {
        case .output: try output(value)
        case .group: .group(try source.number(value, "a group", atMost: Group.greatestIdentifier))
        case .meter: .meter(try source.number(value, "a meter", atLeast: 1, atMost: Meter.greatestIdentifier))
        case .enqueue: try enqueue(value)
        case .setQueue: .setQueue(try source.number(value, "a queue"))
        case .popQueue: try bare(pair, .popQueue)
        case .modVLANID, .setVLANID, .modVLANPriority, .setVLANPriority, .stripVLAN, .popVLAN, .pushVLAN:
            try vlan(word, pair)
        case .modEthernetSource: .setEthernetSource(try macAddress(value))
        case .modEthernetDestination: .setEthernetDestination(try macAddress(value))
        case .modIPSource, .modIPDestination, .modTOS, .modECN, .modTTL, .setTTL, .modTransportSource,
            .modTransportDestination, .decrementTTL, .finTimeout:
            try network(word, pair)
        case .setField: .setField(try setField(value))
        case .move: .move(try move(value))
        case .push: .push(try readable(value))
        case .pop: .pop(try writable(value))
        case .setTunnel, .setTunnel64: try setTunnel(value, isWide: word == .setTunnel64)
        case .checkPacketLarger: try checkPacketLarger(value)
        case .writeMetadata: try writeMetadata(value)
        case .clearActions: try bare(pair, .clearActions)
        case .clone: .clone(try nested(value, .clone))
        case .writeActions: .writeActions(try nested(value, .writeActions))
        case .exit: try bare(pair, .exit)
        case .resubmit: try resubmit(value)
        case .gotoTable: try gotoTable(value)
        case .conntrack: .conntrack(try conntrack(value))
        case .conntrackClear: try bare(pair, .conntrackClear)
        case .learn: .learn(try learn(value))
        case .conjunction: try conjunction(value)
        case .note: .note(try note(value))
        case .reject: .reject(try reject(value))
        case .load, .drop: fatalError("read by the callers")
        }
    }

    /// An action that takes no value.
    func bare(_ pair: KeyValue, _ action: Action) throws(FlowSyntaxError) -> Action {
        guard source.trimmed(pair.value).isEmpty else {
            throw source.error(pair.value, "\(source.quoted(pair.key)) takes no value")
        }
        return action
    }

    /// A list within this one, which sees what this one has made of the packet and leaves no trace on it.
    func nested(_ slice: Slice, _ place: Place) throws(FlowSyntaxError) -> [Action] {
        var inner = self
        inner.place = place
        inner.depth += 1
        return try inner.list(slice)
    }

    /// Refuses an action whose packets are not known to have what it needs.
    func require(_ prerequisite: Prerequisite, _ place: Slice, _ what: String) throws(FlowSyntaxError) {
        guard let facts, !facts.meets(prerequisite) else { return }
        throw source.error(place, "\(what) needs the flow to match \(prerequisite.requirement)")
    }
}
