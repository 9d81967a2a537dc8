/// A JSON value (RFC 8259) as documents have it: whole numbers, no key twice, no control characters.
///
/// What a document says is compared by its canonical text (`write`), which other languages write as well: so all that
/// two of them could write in two ways is refused.
enum JSON: Sendable {
    case null
    case truth(Bool)
    /// Its digits, for it may be longer than any integer type.
    case number(String)
    case text(String)
    case list([JSON])
    /// In the order of their keys' code points.
    case object([Member])

    struct Member: Sendable {
        let name: String
        let value: JSON
    }
}

/// Why a text is no JSON that a document may have.
struct JSONFault: Error {
    /// The key of the outermost object that it is under; nil outside of all.
    let field: String?
    let reason: String
}

extension JSON {
    /// Objects and lists in each other.
    static let greatestDepth = 16

    /// - Throws: `JSONFault` for the first mistake.
    init(parsing text: Substring) throws(JSONFault) {
        var text = text
        let result = text.withUTF8 { bytes in
            Result { () throws(JSONFault) in
                var parser = Parser(bytes: bytes)
                return try parser.document()
            }
        }
        self = try result.get()
    }

    // MARK: - Canonical text

    /// Appends the one text of this value: keys in order, no white space, UTF-8 unescaped but for `"` and `\`.
    /// - Parameter omitted: a key of this object that is left out.
    func write(to text: inout [UInt8], omitting omitted: String? = nil) {
        switch self {
        case .null: text += "null".utf8
        case .truth(let truth): text += (truth ? "true" : "false").utf8
        case .number(let digits): text += digits.utf8
        case .text(let words): Self.write(words, to: &text)
        case .list(let elements):
            text.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                element.write(to: &text)
            }
            text.append(UInt8(ascii: "]"))
        case .object(let members):
            Self.write(members, omitting: omitted, to: &text)
        }
    }

    private static func write(_ members: [Member], omitting omitted: String?, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "{"))
        var isFirst = true
        for member in members where member.name != omitted {
            if !isFirst { text.append(UInt8(ascii: ",")) }
            isFirst = false
            write(member.name, to: &text)
            text.append(UInt8(ascii: ":"))
            member.value.write(to: &text)
        }
        text.append(UInt8(ascii: "}"))
    }

    private static func write(_ words: String, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "\""))
        for byte in words.utf8 {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { text.append(UInt8(ascii: "\\")) }
            text.append(byte)
        }
        text.append(UInt8(ascii: "\""))
    }

    /// An object's members in the order of their keys.
    static func sorted(_ members: [Member]) -> [Member] {
        members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }
}

/// Reads UTF-8 that is known to be valid.
private struct Parser {
    /// Valid as long as this lives.
    let bytes: UnsafeBufferPointer<UInt8>
    private var place = 0
    private var depth = 0
    private var field: String?

    init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    mutating func document() throws(JSONFault) -> JSON {
        let value = try value()
        skipSpace()
        guard place == bytes.count else { throw noJSON }
        return value
    }

    private var noJSON: JSONFault { fault("it is not JSON: write one object a line") }

    private func fault(_ reason: String) -> JSONFault { JSONFault(field: field, reason: reason) }

    // MARK: - Bytes

    /// The next byte; 0, which JSON never has, at the end.
    private var next: UInt8 { place < bytes.count ? bytes[place] : 0 }

    private mutating func skipSpace() {
        while next == 0x20 || next == 0x0a || next == 0x0d || next == 0x09 { place += 1 }
    }

    /// Whether the next byte that is no white space is this one, which is taken then.
    private mutating func take(_ byte: Unicode.Scalar) -> Bool {
        skipSpace()
        guard next == UInt8(ascii: byte) else { return false }
        place += 1
        return true
    }

    private mutating func needs(_ byte: Unicode.Scalar) throws(JSONFault) {
        guard take(byte) else { throw noJSON }
    }

    // MARK: - Values

    private mutating func value() throws(JSONFault) -> JSON {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .list(try list())
        case UInt8(ascii: "\""): return .text(try text())
        case UInt8(ascii: "t"): return try word("true", .truth(true))
        case UInt8(ascii: "f"): return try word("false", .truth(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return .number(try number())
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSON) throws(JSONFault) -> JSON {
        for offset in 0..<word.utf8CodeUnitCount {
            guard next == word.utf8Start[offset] else { throw noJSON }
            place += 1
        }
        return value
    }

    private mutating func enter() throws(JSONFault) {
        depth += 1
        place += 1
        guard depth <= JSON.greatestDepth else {
            throw fault("it has lists or objects in each other \(depth) deep; allowed are \(JSON.greatestDepth)")
        }
    }

    private mutating func object() throws(JSONFault) -> [JSON.Member] {
        try enter()
        defer { depth -= 1 }
        var members: [JSON.Member] = []
        if take("}") { return members }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw noJSON }
            let name = try text()
            if depth == 1 { field = name }
            try needs(":")
            members.append(JSON.Member(name: name, value: try value()))
        } while take(",")
        try needs("}")
        if depth == 1 { field = nil }
        members = JSON.sorted(members)
        for (one, next) in zip(members, members.dropFirst()) where one.name.utf8.elementsEqual(next.name.utf8) {
            throw fault("key '\(one.name.prefix(80))' is there twice")
        }
        return members
    }

    private mutating func list() throws(JSONFault) -> [JSON] {
        try enter()
        defer { depth -= 1 }
        var elements: [JSON] = []
        if take("]") { return elements }
        repeat { elements.append(try value()) } while take(",")
        try needs("]")
        return elements
    }

    private mutating func number() throws(JSONFault) -> String {
        let start = place
        if next == UInt8(ascii: "-") { place += 1 }
        let first = place
        while (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(next) { place += 1 }
        let digits = place - first
        guard digits > 0, digits == 1 || bytes[first] != UInt8(ascii: "0") else { throw noJSON }
        guard next != UInt8(ascii: "."), next | 0x20 != UInt8(ascii: "e") else {
            throw fault("numbers are whole ones, without '.' or exponent")
        }
        let text = words(start..<place)
        return text == "-0" ? "0" : text
    }

    // MARK: - Text

    private func words(_ range: Range<Int>) -> String {
        String(decoding: UnsafeBufferPointer(rebasing: bytes[range]), as: UTF8.self)
    }

    private mutating func text() throws(JSONFault) -> String {
        place += 1
        let start = place
        while next != UInt8(ascii: "\""), next != UInt8(ascii: "\\") { try step() }
        guard next == UInt8(ascii: "\\") else {
            defer { place += 1 }
            return words(start..<place)
        }
        var text = words(start..<place)
        while next != UInt8(ascii: "\"") {
            if next == UInt8(ascii: "\\") {
                text.unicodeScalars.append(try escaped())
            } else {
                let start = place
                while next != UInt8(ascii: "\""), next != UInt8(ascii: "\\") { try step() }
                text += words(start..<place)
            }
        }
        place += 1
        return text
    }

    /// Over a byte of a text, which is there and no control character's (C1 is two bytes of UTF-8, the first 0xc2).
    private mutating func step() throws(JSONFault) {
        guard place < bytes.count else { throw noJSON }
        let byte = bytes[place]
        place += 1
        if byte < 0x20 || byte == 0x7f || byte == 0xc2 && next < 0xa0 { throw controlCharacter }
    }

    private var controlCharacter: JSONFault { fault("a text has a control character: leave it out") }

    private mutating func escaped() throws(JSONFault) -> Unicode.Scalar {
        place += 2
        switch place <= bytes.count ? bytes[place - 1] : 0 {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "u"): return try codePoint()
        case UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            throw controlCharacter
        default: throw noJSON
        }
    }

    /// One, or the second half of a pair with it (RFC 8259 section 7).
    private mutating func codePoint() throws(JSONFault) -> Unicode.Scalar {
        let first = try codeUnit()
        var value = UInt32(first)
        if UTF16.isLeadSurrogate(first), next == UInt8(ascii: "\\"), place + 1 < bytes.count {
            place += 2
            let second = try codeUnit()
            guard bytes[place - 5] == UInt8(ascii: "u"), UTF16.isTrailSurrogate(second) else { throw noJSON }
            value = 0x1_0000 + (UInt32(first) & 0x3ff) << 10 + UInt32(second) & 0x3ff
        }
        guard let scalar = Unicode.Scalar(value) else { throw fault("a text has half of a surrogate pair") }
        if scalar.properties.generalCategory == .control { throw controlCharacter }
        return scalar
    }

    private mutating func codeUnit() throws(JSONFault) -> UInt16 {
        guard place + 4 <= bytes.count else { throw noJSON }
        let digits = words(place..<place + 4)
        guard let unit = UInt16(digits, radix: 16), digits.utf8.first != UInt8(ascii: "+") else { throw noJSON }
        place += 4
        return unit
    }
}
