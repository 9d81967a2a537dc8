import Wire

/// The keys of a JSON object, taken one by one, so that what is left over is known to be unknown: what a later driver asks
/// for must not be taken for done.
struct Fields {
    /// Whose they are, for refusals.
    var key: DocumentKey?
    private let members: [JSON.Member]
    /// Where the object is in the document: the way to a key, and its place in that key's list.
    private let parent: (path: String, index: Int?)?
    private var taken: [String] = []

    init(_ json: JSON) throws(DocumentRefusal) {
        guard case .object(let members) = json else {
            throw DocumentRefusal(nil, "it is JSON of another kind: write one object a line")
        }
        self.members = members
        parent = nil
    }

    private init(_ members: [JSON.Member], of key: DocumentKey?, under parent: (String, Int?)) {
        self.members = members
        self.key = key
        self.parent = parent
    }

    /// - Parameter name: the key that is wrong; nil when none is.
    func refusal(_ name: String?, _ reason: String) -> DocumentRefusal {
        DocumentRefusal(key, field: name.map(path) ?? parent?.path, reason)
    }

    /// A key as it is named from the document's top: `rules.3.direction`.
    private func path(_ name: String) -> String {
        guard let parent else { return name }
        return ([parent.path] + (parent.index.map { ["\($0)"] } ?? []) + [name]).joined(separator: ".")
    }

    /// - Throws: `DocumentRefusal` for a key that nobody took.
    func refuseRest() throws(DocumentRefusal) {
        guard members.count > taken.count else { return }
        let unknown = members.map(\.name).first { !taken.contains($0) } ?? ""
        let words = "is unknown: this martletd does not do what it asks for"
        throw refusal(String(unknown.prefix(80)), "key '\(path(unknown).prefix(80))' \(words)")
    }

    // MARK: - Values

    /// nil for a key that is absent or null.
    mutating func value<Value: JSONReadable>(
        _ name: String,
        _: Value.Type = Value.self
    ) throws(DocumentRefusal) -> Value? {
        guard let json = json(name) else { return nil }
        guard let value = Value(json) else { throw wrongKind(name) }
        return value
    }

    private mutating func json(_ name: String) -> JSON? {
        guard let member = members.first(where: { $0.name == name }) else { return nil }
        taken.append(name)
        if case .null = member.value { return nil }
        return member.value
    }

    private func wrongKind(_ name: String) -> DocumentRefusal {
        refusal(name, "key '\(path(name))' has a value of another kind")
    }

    mutating func needed<Value: JSONReadable>(
        _ name: String,
        _: Value.Type = Value.self
    ) throws(DocumentRefusal) -> Value {
        try given(try value(name), name)
    }

    func given<Value>(_ value: Value?, _ name: String) throws(DocumentRefusal) -> Value {
        guard let value else { throw refusal(name, "key '\(path(name))' is missing") }
        return value
    }

    /// The objects of a list; none for a key that is absent.
    /// - Parameter limit: how many there may be.
    mutating func objects<Element>(
        _ name: String,
        limit: Int,
        _ body: (inout Fields) throws(DocumentRefusal) -> Element
    ) throws(DocumentRefusal) -> [Element] {
        let list: [JSON] = try value(name) ?? []
        try checkCount(list.count, name, limit: limit)
        var elements: [Element] = []
        elements.reserveCapacity(list.count)
        for (index, json) in list.enumerated() {
            guard case .object(let members) = json else { throw wrongKind(name) }
            var fields = Fields(members, of: key, under: (path(name), index))
            elements.append(try body(&fields))
            try fields.refuseRest()
        }
        return elements
    }

    /// The object under a key; nil for one that is absent or null.
    mutating func object<Element>(
        _ name: String,
        _ body: (inout Fields) throws(DocumentRefusal) -> Element
    ) throws(DocumentRefusal) -> Element? {
        guard let json = json(name) else { return nil }
        guard case .object(let members) = json else { throw wrongKind(name) }
        var fields = Fields(members, of: key, under: (path(name), nil))
        let element = try body(&fields)
        try fields.refuseRest()
        return element
    }

    private func checkCount(_ count: Int, _ name: String, limit: Int) throws(DocumentRefusal) {
        guard count <= limit else { throw refusal(name, "\(name) has \(count) elements; allowed are \(limit)") }
    }

    mutating func number(_ name: String, in range: ClosedRange<Int>) throws(DocumentRefusal) -> Int? {
        guard let number = try value(name, Int.self) else { return nil }
        return try checked(number, name, in: range)
    }

    func checked(_ number: Int, _ name: String, in range: ClosedRange<Int>) throws(DocumentRefusal) -> Int {
        guard range.contains(number) else {
            throw refusal(name, "\(name) \(number) is outside \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    // MARK: - Words

    /// One of some words.
    mutating func word<Word: RawRepresentable & CaseIterable>(
        _ name: String,
        _: Word.Type = Word.self
    ) throws(DocumentRefusal) -> Word? where Word.RawValue == String {
        guard let text = try value(name, String.self) else { return nil }
        return try word(text, of: name)
    }

    mutating func words<Word: RawRepresentable & CaseIterable>(
        _ name: String,
        _: Word.Type = Word.self
    ) throws(DocumentRefusal) -> [Word]? where Word.RawValue == String {
        guard let texts = try value(name, [String].self) else { return nil }
        return try texts.map { text throws(DocumentRefusal) in try word(text, of: name) }
    }

    private func word<Word: RawRepresentable & CaseIterable>(
        _ text: String,
        of name: String
    ) throws(DocumentRefusal) -> Word where Word.RawValue == String {
        if let word = Word(rawValue: text) { return word }
        let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
        throw refusal(name, "\(name) '\(text.prefix(80))' is unknown: use one of \(words)")
    }

    /// What people call it: any text of 255 characters, Neutron's own bound.
    mutating func name() throws(DocumentRefusal) -> String {
        let text = try value("name", String.self) ?? ""
        guard text.unicodeScalars.count <= 255 else {
            throw refusal("name", "name '\(text.prefix(80))' is longer than 255 characters")
        }
        return text
    }

    /// A name that Neutron gives: a UUID, a host's or a physical network's name.
    mutating func identifier(_ name: String) throws(DocumentRefusal) -> String? {
        guard let text = try value(name, String.self) else { return nil }
        return try identifier(text, name)
    }

    mutating func identifiers(_ name: String, limit: Int) throws(DocumentRefusal) -> [String] {
        let texts: [String] = try value(name) ?? []
        try checkCount(texts.count, name, limit: limit)
        return try texts.map { text throws(DocumentRefusal) in try identifier(text, name) }
    }

    private func identifier(_ text: String, _ name: String) throws(DocumentRefusal) -> String {
        guard DocumentKey.isID(text) else {
            let allowed = "use 1 to 255 letters, digits, '_', '.', '-', ':'"
            throw refusal(name, "\(name) '\(text.prefix(80))' is not a name: \(allowed)")
        }
        return text
    }

    // MARK: - Addresses

    mutating func station(_ name: String) throws(DocumentRefusal) -> MACAddress? {
        guard let text = try value(name, String.self) else { return nil }
        guard let address = MACAddress(text), address.isStation else {
            let words = "is no station's MAC address: write it as fa:16:3e:12:34:56"
            throw refusal(name, "\(name) '\(text.prefix(80))' \(words)")
        }
        return address
    }

    mutating func address(_ name: String) throws(DocumentRefusal) -> IPAddress? {
        guard let text = try value(name, String.self) else { return nil }
        return try address(text, name)
    }

    mutating func addresses(_ name: String, limit: Int) throws(DocumentRefusal) -> [IPAddress] {
        let texts: [String] = try value(name) ?? []
        try checkCount(texts.count, name, limit: limit)
        return try texts.map { text throws(DocumentRefusal) in try address(text, name) }
    }

    private func address(_ text: String, _ name: String) throws(DocumentRefusal) -> IPAddress {
        guard let address = IPAddress(text), address.isStation else {
            throw refusal(name, "\(name) '\(text.prefix(80))' is no host's IP address")
        }
        return address
    }

    /// A network's addresses, as in 192.0.2.0/24.
    /// - Parameter addressAlone: whether an address without a length stands for itself.
    mutating func cidr(_ name: String, addressAlone: Bool = false) throws(DocumentRefusal) -> IPPrefix? {
        guard let text = try value(name, String.self) else { return nil }
        let alone = addressAlone ? IPAddress(text).flatMap { IPPrefix($0, length: $0.width) } : nil
        guard let prefix = alone ?? IPPrefix(text) else {
            throw refusal(name, "\(name) '\(text.prefix(80))' is no CIDR: write it as 192.0.2.0/24 or 2001:db8::/64")
        }
        guard prefix.address.value & ~prefix.mask == 0 else {
            let words = "has bits beyond its length: write the network's address"
            throw refusal(name, "\(name) '\(text.prefix(80))' \(words)")
        }
        return prefix
    }

    /// - Throws: `DocumentRefusal` when two of a list are alike.
    func checkOnce<Value: Hashable>(_ values: [Value], _ name: String) throws(DocumentRefusal) {
        var seen: Set<Value> = []
        for value in values where !seen.insert(value).inserted {
            throw refusal(name, "\(name) names \(value) twice")
        }
    }
}

/// What a JSON value can be read as.
protocol JSONReadable {
    /// nil for a value of another kind.
    init?(_ json: JSON)
}

extension JSON: JSONReadable {
    init?(_ json: JSON) { self = json }
}

extension String: JSONReadable {
    init?(_ json: JSON) {
        guard case .text(let text) = json else { return nil }
        self = text
    }
}

extension Bool: JSONReadable {
    init?(_ json: JSON) {
        guard case .truth(let truth) = json else { return nil }
        self = truth
    }
}

extension Int: JSONReadable {
    init?(_ json: JSON) {
        guard case .number(let digits) = json else { return nil }
        self.init(digits)
    }
}

extension Array: JSONReadable where Element: JSONReadable {
    init?(_ json: JSON) {
        guard case .list(let list) = json else { return nil }
        self = []
        reserveCapacity(list.count)
        for json in list {
            guard let element = Element(json) else { return nil }
            append(element)
        }
    }
}

extension [String: String]: JSONReadable {
    init?(_ json: JSON) {
        guard case .object(let members) = json else { return nil }
        self.init(minimumCapacity: members.count)
        for member in members {
            guard let text = String(member.value) else { return nil }
            self[member.name] = text
        }
    }
}
