/// What a key before `actions=` can be.
enum FlowWord: Sendable {
    case field(Field)
    case shorthand(ProtocolWord)
    case flag(FlowFlags)
    case setting(FlowSetting)
    /// What a dump adds, read over so that a dump can be loaded.
    case statistic
    case actions
}

/// A property of a flow, or of a filter, that is neither match nor flag.
enum FlowSetting: String, CaseIterable, Sendable {
    case table, priority, cookie
    case idleTimeout = "idle_timeout"
    case hardTimeout = "hard_timeout"
    case importance
    case outPort = "out_port"
    case outGroup = "out_group"
}

/// What a line of flow syntax is for, which says what it may contain (ovs-ofctl(8)).
enum FlowPurpose {
    case add, modify, filter, strictFilter, packet

    func allows(_ setting: FlowSetting) -> Bool {
        switch (self, setting) {
        case (.packet, _): false
        case (_, .table), (_, .cookie): true
        case (.add, .outPort), (.add, .outGroup), (.modify, .outPort), (.modify, .outGroup): false
        case (.add, _), (.modify, _): true
        case (.strictFilter, .priority), (_, .outPort), (_, .outGroup): true
        case (.filter, _), (.strictFilter, _): false
        }
    }

    var hasActions: Bool { self == .add || self == .modify }
}

/// A line as it was read, before it is made what it is for.
struct FlowStatement {
    var reading = MatchReading()
    var flow = Flow()
    var table: UInt8?
    var cookieMask: UInt64?
    var hasCookie = false
    var outPort: FlowPort?
    var outGroup: UInt32?
    /// The text of the actions, if any were given.
    var actions: Slice?
}

extension FlowParser {
    static let words = Keywords<FlowWord>(
        Field.allCases.flatMap { field in field.names.map { ($0, .field(field)) } }
            + ProtocolWord.all.map { ($0, .shorthand($1)) }
            + FlowFlags.words.map { ($0, .flag($1)) }
            + FlowSetting.allCases.map { ($0.rawValue, .setting($0)) }
            + ["duration", "n_packets", "n_bytes", "idle_age", "hard_age"].map { ($0, .statistic) }
            + ["actions", "action"].map { ($0, .actions) }
    )

    /// Reads the whole line, but for its actions.
    func statement(_ purpose: FlowPurpose) throws(FlowSyntaxError) -> FlowStatement {
        var statement = FlowStatement()
        var rest = source.line
        while statement.actions == nil, let pair = try nextPart(&rest) {
            if case .actions = pair.word {
                guard purpose.hasActions else {
                    throw source.error(pair.text.key, "actions have no place here; allowed is a match")
                }
                statement.actions = source.trimmed(Slice(start: pair.text.value.start, end: source.line.end))
            } else {
                try apply(pair.word, pair.text, purpose, &statement)
            }
        }
        try statement.reading.check(source)
        return statement
    }

    /// The next key and what it means. The actions are not divided yet: their value is where they start.
    private func nextPart(_ rest: inout Slice) throws(FlowSyntaxError) -> (word: FlowWord?, text: KeyValue)? {
        while rest.start < rest.end, source[rest.start].isSeparator { rest.start += 1 }
        var key = Slice(start: rest.start, end: rest.start)
        while key.end < rest.end, source[key.end].lowercased &- 0x61 < 26 { key.end += 1 }
        if key.end < rest.end, source[key.end] == UInt8(ascii: "="),
            source.isEqual(key, "actions") || source.isEqual(key, "action")
        {
            let value = Slice(start: key.end + 1, end: rest.end)
            return (.actions, KeyValue(key: key, value: value, delimiter: UInt8(ascii: "=")))
        }
        guard let pair = try source.nextPair(&rest) else { return nil }
        return (Self.words.lookUp(source, pair.key), pair)
    }

    private func apply(
        _ word: FlowWord?,
        _ pair: KeyValue,
        _ purpose: FlowPurpose,
        _ statement: inout FlowStatement
    ) throws(FlowSyntaxError) {
        switch word {
        case .field(let field): try match(field, pair, &statement.reading)
        case .shorthand(let word): try match(word, pair, &statement.reading)
        case .flag(let flag) where purpose.hasActions: statement.flow.flags.insert(flag)
        case .setting(let setting) where purpose.allows(setting): try set(setting, pair, purpose, &statement)
        case .statistic where purpose != .packet: break
        case nil where source.firstIndex(of: UInt8(ascii: "["), in: pair.key) != nil:
            try matchSubfield(pair, &statement.reading)
        case nil:
            throw source.error(
                pair.key,
                "\(source.quoted(pair.key)) is unknown; allowed are fields, flags and settings of ovs-ofctl(8)"
            )
        default:
            throw source.error(pair.key, "\(source.quoted(pair.key)) has no place here")
        }
    }

    private func set(
        _ setting: FlowSetting,
        _ pair: KeyValue,
        _ purpose: FlowPurpose,
        _ statement: inout FlowStatement
    ) throws(FlowSyntaxError) {
        let value = pair.value
        switch setting {
        case .table: statement.table = try table(value)
        case .priority: statement.flow.priority = try source.number(value, "a priority")
        case .cookie: try cookie(value, purpose, &statement)
        case .idleTimeout: statement.flow.idleTimeout = try source.number(value, "a timeout in seconds")
        case .hardTimeout: statement.flow.hardTimeout = try source.number(value, "a timeout in seconds")
        case .importance: statement.flow.importance = try source.number(value, "an importance")
        case .outPort: statement.outPort = try port(value)
        case .outGroup: statement.outGroup = try source.number(value, "a group", atMost: Group.greatestIdentifier)
        }
    }

    private func cookie(
        _ text: Slice,
        _ purpose: FlowPurpose,
        _ statement: inout FlowStatement
    ) throws(FlowSyntaxError) {
        let (value, mask) = source.splitAtSlash(text)
        statement.flow.cookie = try source.cookie(value)
        statement.hasCookie = true
        guard let mask else {
            guard purpose.hasActions else {
                throw source.error(text, "a cookie to look for needs a mask, as in cookie=\(source.string(text))/-1")
            }
            return
        }
        guard purpose != .add else {
            throw source.error(mask, "a flow to add has one cookie; a mask is allowed when flows are looked for")
        }
        statement.cookieMask = try source.cookie(mask)
    }
}
