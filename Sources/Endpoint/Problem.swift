import Control
import Dataplane
import Foundation
import HTTPTypes
import Hummingbird
import Networking

/// Why a request was not carried out, as its answer says it (RFC 9457): nothing has changed.
struct Problem: Error, Encodable {
    /// What kind it is; `type` is `urn:martlet:` and this.
    enum Kind: String {
        /// What was sent cannot be read.
        case malformed
        /// A document cannot be carried out.
        case refused
        case notFound = "not-found"
        case conflict
        case tooLarge = "too-large"
        /// It may be tried again later.
        case unavailable

        var status: HTTPResponse.Status {
            switch self {
            case .malformed: .badRequest
            case .refused: .unprocessableContent
            case .notFound: .notFound
            case .conflict: .conflict
            case .tooLarge: .contentTooLarge
            case .unavailable: .serviceUnavailable
            }
        }

        var title: String {
            switch self {
            case .malformed: "The request cannot be read"
            case .refused: "The document cannot be carried out"
            case .notFound: "There is no such resource"
            case .conflict: "The request does not fit the present state"
            case .tooLarge: "The request is too large"
            case .unavailable: "The request cannot be carried out now"
            }
        }
    }

    let kind: Kind
    /// One sentence that names the value and the mend.
    let detail: String
    /// Which document it is about.
    var document: DocumentKey?
    /// The key of the document that is wrong.
    var field: String?
    /// The document's line in the request, from 1.
    var line: Int?
    /// Bytes of a snapshot that are here.
    var received: Int?
    /// Whether the request's body was not read: nothing else can come on its connection.
    var leavesBody = false

    init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }

    private enum Key: String, CodingKey { case type, title, status, detail, document, field, line, received, id }

    func encode(to encoder: any Encoder) throws {
        var object = encoder.container(keyedBy: Key.self)
        try object.encode("urn:martlet:" + kind.rawValue, forKey: .type)
        try object.encode(kind.title, forKey: .title)
        try object.encode(kind.status.code, forKey: .status)
        try object.encode(detail, forKey: .detail)
        try object.encodeIfPresent(field, forKey: .field)
        try object.encodeIfPresent(line, forKey: .line)
        try object.encodeIfPresent(received, forKey: .received)
        guard let document else { return }
        var name = object.nestedContainer(keyedBy: Key.self, forKey: .document)
        try name.encode(document.type.rawValue, forKey: .type)
        try name.encode(document.id, forKey: .id)
    }
}

extension Problem {
    /// What a request ended with.
    init(_ error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let refusal as DocumentRefusal:
            self.init(refusal.key == nil && refusal.field == nil ? .malformed : .refused, refusal.description)
            (document, field, line) = (refusal.key, refusal.field, refusal.line)
        case let refusal as Refusal: self.init(refusal.isPassing ? .unavailable : .refused, refusal.reason)
        case let error as HTTPError where error.status == .notFound:
            self.init(.notFound, "there is no such path, or not with this method: openapi.yaml lists them")
        default: self.init(.unavailable, "\(error)")
        }
    }
}

extension Problem: ResponseGenerator {
    func response(from request: Request, context: some RequestContext) throws -> Response {
        var response = try Response.json(self, status: kind.status, type: "application/problem+json")
        if leavesBody { response.headers[.connection] = "close" }
        return response
    }
}

extension Response {
    /// An answer of JSON.
    static func json(
        _ value: some Encodable,
        status: HTTPResponse.Status = .ok,
        type: String = "application/json"
    ) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let body = try encoder.encode(value)
        return Response(
            status: status,
            headers: [.contentType: type],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body))
        )
    }
}
