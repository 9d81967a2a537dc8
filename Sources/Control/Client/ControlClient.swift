import Foundation
import Glibc

/// A client of the control socket, blocking and of one thread: what `martletctl` is made of.
public final class ControlClient {
    /// No daemon answers: a sentence that says why and what to do.
    public struct Unreachable: Error, CustomStringConvertible {
        public let description: String
    }

    /// The daemon's own error: `code`, `message` and `data` of JSON-RPC.
    public struct Failure: Error, Decodable, CustomStringConvertible {
        /// Where a text is wrong, from 1, and why.
        public struct Place: Decodable, Sendable {
            public let line: Int
            /// In bytes of UTF-8.
            public let column: Int
            public let reason: String
        }

        public let code: Int
        public let message: String
        /// Of a mistake in flow text.
        public let data: Place?

        public var description: String { message }
    }

    /// What a connection receives unasked.
    public enum Event: Sendable {
        case captureData(CaptureData)
        case captureEnd(CaptureEnd)
        case flowRemoved(FlowRemoved)
    }

    private let path: String
    let descriptor: CInt
    private var received = Data()
    private var pending: [Event] = []
    private var requestCount = 0

    /// Connects.
    /// - Throws: `Unreachable`.
    public init(path: String) throws {
        self.path = path
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var failure: CInt = 0
        do {
            try withSocketAddress(path) { if connect(descriptor, $0, $1) != 0 { failure = errno } }
        } catch {
            close(descriptor)
            throw Unreachable(description: error.reason)
        }
        guard failure == 0 else {
            close(descriptor)
            throw Unreachable(description: Self.reason(failure, path: path))
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Sends a request and waits for its answer; what comes in between is kept for `nextEvent`.
    /// - Throws: `Failure` when the daemon refuses, `Unreachable` when it goes away.
    public func call<R: Request>(_ request: R) throws -> R.Response {
        try JSONDecoder().decode(R.Response.self, from: try result(of: request))
    }

    /// The same, but the result as the daemon wrote it: JSON.
    public func result<R: Request>(of request: R) throws -> Data {
        requestCount += 1
        var line = try JSONEncoder().encode(Outgoing(id: requestCount, params: request))
        line.append(UInt8(ascii: "\n"))
        try send(line)
        let beginning = Data(#"{"jsonrpc":"2.0","id":\#(requestCount),"result":"#.utf8)
        while true {
            let line = try receiveLine()
            if line.starts(with: beginning) { return line.dropFirst(beginning.count).dropLast() }
            if let event = Self.event(line) {
                pending.append(event)
                continue
            }
            let answer = try JSONDecoder().decode(Answer.self, from: line)
            if let error = answer.error { throw error }
            if answer.id == requestCount { return try Self.result(inAnswer: line) }
        }
    }

    /// Waits for the next notification.
    /// - Throws: `Unreachable` when the daemon goes away.
    public func nextEvent() throws -> Event {
        if !pending.isEmpty { return pending.removeFirst() }
        while true {
            if let event = Self.event(try receiveLine()) { return event }
        }
    }

    // MARK: Lines

    /// Sends bytes as they are.
    func send(_ bytes: Data) throws {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw gone() }
            rest = rest.dropFirst(count)
        }
    }

    /// The next line without its end.
    func receiveLine() throws -> Data {
        var searched = received.startIndex
        while true {
            if let end = received[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = Data(received[..<end])
                received = Data(received[(end + 1)...])
                return line
            }
            searched = received.endIndex
            var piece = [UInt8](repeating: 0, count: 1 << 16)
            let count = recv(descriptor, &piece, piece.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw gone() }
            received.append(contentsOf: piece[..<count])
        }
    }

    /// Says that no more requests follow; answers still arrive.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    private func gone() -> Unreachable {
        Unreachable(description: "martletd on '\(path)' closed the connection: its log says why")
    }

    private static func reason(_ error: CInt, path: String) -> String {
        switch error {
        case ENOENT:
            "no martletd listens on '\(path)': start it, or name its socket with --socket or MARTLET_SOCKET"
        case ECONNREFUSED:
            "'\(path)' is a dead daemon's socket: start martletd"
        case EACCES, EPERM:
            "no right to use '\(path)': be root or join the group of the socket"
        default:
            "'\(path)' cannot be reached (\(String(cString: strerror(error)))): is martletd running?"
        }
    }

    // MARK: Shapes

    private struct Outgoing<R: Request>: Encodable {
        let jsonrpc = "2.0"
        let id: Int
        let method = R.method
        let params: R
    }

    private struct Answer: Decodable {
        let id: Int?
        let error: Failure?
    }

    /// Of a daemon that writes its answers in another order.
    private static func result(inAnswer line: Data) throws -> Data {
        let answer = try JSONSerialization.jsonObject(with: line) as? [String: Any]
        return try JSONSerialization.data(withJSONObject: answer?["result"] ?? [:], options: .fragmentsAllowed)
    }

    private struct Incoming<Parameters: Decodable>: Decodable {
        let params: Parameters
    }

    private struct Name: Decodable {
        let method: String?
    }

    /// nil for an answer.
    private static func event(_ line: Data) -> Event? {
        let decoder = JSONDecoder()
        switch (try? decoder.decode(Name.self, from: line))?.method {
        case CaptureData.method:
            return (try? decoder.decode(Incoming<CaptureData>.self, from: line)).map { .captureData($0.params) }
        case CaptureEnd.method:
            return (try? decoder.decode(Incoming<CaptureEnd>.self, from: line)).map { .captureEnd($0.params) }
        case FlowRemoved.method:
            return (try? decoder.decode(Incoming<FlowRemoved>.self, from: line)).map { .flowRemoved($0.params) }
        default:
            return nil
        }
    }
}
