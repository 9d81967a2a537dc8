import Foundation
import Wire

/// The keys of a JSON object, taken one by one, so that what is left over is known to be unknown: what a later driver asks
/// for must not be taken for done.
struct Fields {
    /// Whose they are, for refusals.
    var key: DocumentKey?
    private let container: KeyedDecodingContainer<Name>
    private var taken: [String] = []

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ name: String) { stringValue = name }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(_ decoder: any Decoder) throws { container = try decoder.container(keyedBy: Name.self) }

    func refusal(_ reason: String) -> DocumentRefusal { DocumentRefusal(key, reason) }

    /// - Throws: `DocumentRefusal` for a key that nobody took.
    func refuseRest() throws {
        let names = container.allKeys
        guard names.count > taken.count else { return }
        let unknown = names.map(\.stringValue).filter { !taken.contains($0) }.min() ?? ""
        throw refusal("key '\(unknown.prefix(80))' is unknown: this martletd does not do what it asks for")
    }

    // MARK: - Values

    /// nil for a key that is absent or null.
    mutating func value<Value: Decodable>(_ name: String, _: Value.Type = Value.self) throws -> Value? {
        guard container.contains(Name(name)) else { return nil }
        taken.append(name)
        return try container.decodeIfPresent(Value.self, forKey: Name(name))
    }

    mutating func needed<Value: Decodable>(_ name: String, _: Value.Type = Value.self) throws -> Value {
        try given(try value(name), name)
    }

    func given<Value>(_ value: Value?, _ name: String) throws -> Value {
        guard let value else { throw refusal("key '\(name)' is missing") }
        return value
    }

    mutating func number(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
        try value(name, Int.self).map { try checked($0, name, in: range) }
    }

    func checked(_ number: Int, _ name: String, in range: ClosedRange<Int>) throws -> Int {
        guard range.contains(number) else {
            throw refusal("\(name) \(number) is outside \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// One of some words.
    mutating func word<Word: RawRepresentable & CaseIterable>(_ name: String, _: Word.Type) throws -> Word?
    where Word.RawValue == String {
        try value(name, String.self).map { try word($0, of: name) }
    }

    mutating func words<Word: RawRepresentable & CaseIterable>(_ name: String, _: Word.Type) throws -> [Word]?
    where Word.RawValue == String {
        try value(name, [String].self)?.map { try word($0, of: name) }
    }

    private func word<Word: RawRepresentable & CaseIterable>(_ text: String, of name: String) throws -> Word
    where Word.RawValue == String {
        if let word = Word(rawValue: text) { return word }
        let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
        throw refusal("\(name) '\(text.prefix(80))' is unknown: use one of \(words)")
    }

    /// A name that Neutron gives: a UUID, a host's or a physical network's name.
    mutating func identifier(_ name: String) throws -> String? {
        guard let text = try value(name, String.self) else { return nil }
        guard (1...255).contains(text.utf8.count), text.utf8.allSatisfy(Self.isOfName) else {
            let allowed = "use 1 to 255 letters, digits, '_', '.', '-', ':'"
            throw refusal("\(name) '\(text.prefix(80))' is not a name: \(allowed)")
        }
        return text
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: ":"):
            true
        default: false
        }
    }

    // MARK: - Addresses

    mutating func station(_ name: String) throws -> MACAddress? {
        guard let text = try value(name, String.self) else { return nil }
        guard let address = MACAddress(text), address.isStation else {
            throw refusal("\(name) '\(text.prefix(80))' is no station's MAC address: write it as fa:16:3e:12:34:56")
        }
        return address
    }

    mutating func address(_ name: String) throws -> IPAddress? {
        try value(name, String.self).map { try address($0, name) }
    }

    /// Neutron's list of addresses, each of which also says its subnet.
    mutating func addresses(_ name: String) throws -> [IPAddress] {
        try value(name, [FixedAddress].self)?.map { try address($0.address, name) } ?? []
    }

    private struct FixedAddress: Decodable {
        let address: String

        enum CodingKeys: String, CodingKey { case address = "ip_address" }
    }

    private func address(_ text: String, _ name: String) throws -> IPAddress {
        guard let address = IPAddress(text), address.isStation else {
            throw refusal("\(name) '\(text.prefix(80))' is no host's IP address")
        }
        return address
    }
}
