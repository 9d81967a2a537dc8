import Dataplane
public import Foundation

/// A request with a text that may come in pieces before it, because a line of the socket has 1 MiB at most.
public protocol TextRequest: Request {
    /// The parameter that has the text: flows, groups, meters or members. `#` starts a comment.
    var text: String? { get set }
    /// Whether what `flow.stage` sent on this connection stands for the text.
    var staged: Bool? { get }
}

extension TextRequest {
    /// The text, staged or given.
    /// - Throws: `Refusal` when there is none.
    func neededText() throws(Refusal) -> String {
        guard let text else {
            throw Refusal("\(Self.method) needs a text: give it as a parameter, or stage it on the same connection")
        }
        return text
    }
}

/// Appends to the text that the next request of this connection with `staged` takes.
public struct FlowStage: Request {
    public static let method = "flow.stage"

    public struct Response: Codable, Hashable, Sendable {
        /// Bytes of UTF-8 that wait now.
        public let length: Int
    }

    /// UTF-8, which may end anywhere. In JSON it is base64 (RFC 4648 section 4): documents are full of quotes, and Foundation
    /// reads escapes slowly.
    public var text: Data

    public init(text: Data) { self.text = text }
}
