import Foundation

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
    struct Parameters<Value: Decodable>: Decodable {
        let params: Value?
    }

    struct Result<Value: Encodable>: Encodable {
        let jsonrpc = "2.0"
        let id: ID
        let result: Value
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
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        // The messages above hold text and numbers only, and `busy`, which is a quotient of integers by a positive one.
        var line = try! encoder.encode(message)
        line.append(UInt8(ascii: "\n"))
        return line
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
            let request =
                try decoder.decode(Parameters<R>.self, from: line).params
                ?? decoder.decode(R.self, from: Data("{}".utf8))
            let given = try decoder.decode(Parameters<[String: Presence?]>.self, from: line).params ?? [:]
            let known = try decoder.decode([String: Presence?].self, from: JSONEncoder().encode(request))
            let unknown = given.filter { $0.value != nil && known[$0.key] == nil }.keys.min()
            if let unknown {
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
