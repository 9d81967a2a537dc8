import Foundation
import Hummingbird

/// The query of a request, in which only what is known may stand.
struct Query {
    private let values: [String: String]

    /// - Parameter names: those that the resource knows.
    init(_ request: Request, of names: Set<String>) throws(Problem) {
        var values: [String: String] = [:]
        for (name, value) in request.uri.queryParameters {
            let name = String(name)
            guard names.contains(name) else {
                let known = names.sorted().joined(separator: ", ")
                throw Problem(.malformed, "query '\(name.prefix(80))' is unknown: this resource takes \(known)")
            }
            guard values.updateValue(String(value), forKey: name) == nil else {
                throw Problem(.malformed, "query '\(name)' is given twice")
            }
        }
        self.values = values
    }

    subscript(_ name: String) -> String? { values[name] }

    func needed(_ name: String) throws(Problem) -> String {
        guard let value = values[name], (1...255).contains(value.utf8.count) else {
            throw Problem(.malformed, "query '\(name)' is missing, or has not 1 to 255 bytes")
        }
        return value
    }

    func number(_ name: String) throws(Problem) -> UInt64? {
        guard let text = values[name] else { return nil }
        guard let number = UInt64(text) else {
            throw Problem(.malformed, "query '\(name)' is '\(text.prefix(80))': give a number")
        }
        return number
    }
}
