import Foundation
import Synchronization

/// JSON-RPC 2.0 as this socket speaks it, one object a line.
enum Message {
    /// The id of a request: text, a number or null. Absent in a notification.
    enum ID: Codable, Hashable, Sendable {
        case text(String)
        case number(Int)
        case null

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let number = try? container.decode(Int.self) {
                self = .number(number)
            } else {
                self = .text(try container.decode(String.self))
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .text(let text): try container.encode(text)
            case .number(let number): try container.encode(number)
            case .null: try container.encodeNil()
            }
        }
    }

    /// A request before its parameters are looked at.
    struct Call: Decodable {
        let id: ID?
        let method: String

        enum CodingKeys: String, CodingKey { case jsonrpc, id, method }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            guard try container.decode(String.self, forKey: .jsonrpc) == "2.0" else {
                throw DecodingError.dataCorruptedError(forKey: .jsonrpc, in: container, debugDescription: "not 2.0")
            }
            // A null id is an id: the request wants an answer.
            id = container.contains(.id) ? try container.decode(ID.self, forKey: .id) : nil
            method = try container.decode(String.self, forKey: .method)
        }
    }

    /// Only the parameters; none is the same as an empty object.
    private struct Parameters<Value: Decodable>: Decodable {
        let params: Value?
        /// Those that are not null.
        let names: [String]

        enum CodingKeys: String, CodingKey { case params }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            params = try container.decodeIfPresent(Value.self, forKey: .params)
            guard params != nil else {
                names = []
                return
            }
            let all = try container.nestedContainer(keyedBy: Name.self, forKey: .params)
            names = try all.allKeys.filter { try !all.decodeNil(forKey: $0) }.map(\.stringValue)
        }
    }

    /// Any parameter's name.
    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    struct Failure: Encodable, Error {
        /// Where in a text the mistake is.
        struct Place: Codable, Hashable {
            let line: Int
            let column: Int
            let reason: String
        }

        let code: Int
        let message: String
        var data: Place?

        static func noJSON() -> Failure {
            Failure(code: -32700, message: "the line is no JSON: send one object a line")
        }
        static func noRequest(_ why: String) -> Failure { Failure(code: -32600, message: why) }
        static func unknownMethod(_ name: String) -> Failure {
            Failure(code: -32601, message: "method '\(name.prefix(80))' is unknown")
        }
        static func wrongParameters(_ why: String) -> Failure { Failure(code: -32602, message: why) }
        static func refused(_ why: String) -> Failure { Failure(code: 1, message: why) }
        static func refused(by error: any Error) -> Failure {
            var failure = refused(error.reason)
            if let error = error as? FlowRefusal {
                failure.data = Place(line: error.line, column: error.column, reason: error.reason)
            }
            return failure
        }
    }

    struct ErrorAnswer: Encodable {
        let jsonrpc = "2.0"
        let id: ID
        let error: Failure
    }

    struct Unasked<Value: Notification>: Encodable {
        let jsonrpc = "2.0"
        let method = Value.method
        let params: Value
    }

    /// One line, its end included.
    static func line(_ message: some Encodable) -> Data {
        var line = bytes(of: message)
        line.append(UInt8(ascii: "\n"))
        return line
    }

    /// A line with a result, which comes last: so a client finds it without reading it.
    static func line(id: ID, result: some Encodable) -> Data {
        var line = Data(#"{"jsonrpc":"2.0","id":"#.utf8) + bytes(of: id) + Data(#","result":"#.utf8)
        line.append(bytes(of: result))
        line.append(contentsOf: Data("}\n".utf8))
        return line
    }

    private static func bytes(of message: some Encodable) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // The messages above hold text and numbers only, and `busy`, which is a quotient of integers by a positive one.
        return try! encoder.encode(message)
    }

    static func call(_ line: Data) throws(Failure) -> Call {
        do {
            return try JSONDecoder().decode(Call.self, from: line)
        } catch DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty {
            throw .noJSON()
        } catch {
            throw .noRequest(
                "the line is no request: send one object with jsonrpc \"2.0\", id, method and params; no batch"
            )
        }
    }

    /// The parameters of a request.
    /// - Throws: `Failure` that names the parameter which is missing, of the wrong type, or unknown.
    static func parameters<R: Request>(_ type: R.Type, _ line: Data) throws(Failure) -> R {
        do {
            let decoder = JSONDecoder()
            let parameters = try decoder.decode(Parameters<R>.self, from: line)
            let request = try parameters.params ?? decoder.decode(R.self, from: Data("{}".utf8))
            if let unknown = try unknownNames(parameters.names, in: request).min() {
                throw Failure.wrongParameters("method \(R.method) has no parameter '\(unknown.prefix(80))'")
            }
            return request
        } catch let error as Failure {
            throw error
        } catch let error as DecodingError {
            throw .wrongParameters("method \(R.method): \(error.words)")
        } catch {
            throw .wrongParameters("method \(R.method): \(error.localizedDescription)")
        }
    }

    /// The names that are no parameter's. What a request writes down when it is encoded is one; that is asked once for
    /// each name, because a request may be long.
    private static func unknownNames<R: Request>(_ names: [String], in request: R) throws -> [String] {
        func unknown() -> [String] {
            knownNames.withLock { known in names.filter { known[R.method]?.contains($0) != true } }
        }
        guard !unknown().isEmpty else { return [] }
        let written = try JSONDecoder().decode([String: Presence?].self, from: JSONEncoder().encode(request))
        knownNames.withLock { $0[R.method, default: []].formUnion(written.keys) }
        return unknown()
    }

    /// By method; a name that was a parameter once is one for good.
    private static let knownNames = Mutex<[String: Set<String>]>([:])

    /// Any JSON value, of which only matters that it is there.
    private struct Presence: Decodable {
        init(from decoder: any Decoder) throws {}
    }
}

extension DecodingError {
    fileprivate var words: String {
        switch self {
        case .keyNotFound(let key, _): "parameter '\(key.stringValue)' is missing"
        case .typeMismatch(_, let context) where context.codingPath.count < 2: "params is an object of named parameters"
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "parameter '\(Self.name(context))' has the wrong type (\(context.debugDescription))"
        case .dataCorrupted(let context): "parameter '\(Self.name(context))': \(context.debugDescription)"
        @unknown default: "the parameters cannot be read"
        }
    }

    private static func name(_ context: Context) -> String {
        context.codingPath.dropFirst().map(\.stringValue).joined(separator: ".")
    }
}
