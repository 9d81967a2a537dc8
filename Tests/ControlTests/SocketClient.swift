import Dispatch
import Foundation
import Glibc
import Logging
import Testing

@testable import Control

/// A blocking client on a thread of its own, so that a test that waits holds no thread of Swift's pool.
final class SocketClient: @unchecked Sendable {
    private let queue = DispatchQueue(label: "martlet.test.client")
    /// Touched on `queue` only.
    private let client: ControlClient

    init(_ path: String) throws {
        client = try ControlClient(path: path)
        // As long as the server's patience: tests that compute hold the threads that answer.
        var limit = timeval(tv_sec: 600, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(client.descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    func call<R: Request>(_ request: R) async throws -> R.Response { try await run { try $0.call(request) } }

    func send(_ text: String) async throws { try await run { try $0.send(Data(text.utf8)) } }

    func nextEvent() async throws -> ControlClient.Event { try await run { try $0.nextEvent() } }

    func line() async throws -> String {
        try await run { String(decoding: try $0.receiveLine(), as: UTF8.self) }
    }

    func finishSending() async throws { try await run { $0.finishSending() } }

    /// Whether the server ended the connection, ten minutes at most from now.
    func isDisconnected() async throws -> Bool {
        try await run { client in
            do {
                while true { _ = try client.receiveLine() }
            } catch is ControlClient.Unreachable {
                return errno != EAGAIN
            }
        }
    }

    private func run<Result: Sendable>(
        _ body: @escaping @Sendable (ControlClient) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Swift.Result { try body(self.client) }) }
        }
    }
}

/// Runs a control server on a furnished switch while `body` does.
/// - Parameter patience: more than a daemon has, for tests that compute hold the threads that answer.
func serving(
    patience: Duration = .seconds(600),
    _ body: @Sendable (_ path: String, _ bench: Bench) async throws -> Void
) async throws {
    let bench = try await Bench.furnished()
    let path = bench.directory + "/control.sock"
    let server = try ControlServer(
        path: path,
        control: bench.control,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        patience: patience
    )
    try await withThrowingTaskGroup { group in
        group.addTask { try await server.run() }
        try await body(path, bench)
        group.cancelAll()
        // A server that is told to end does so without an error.
        try await group.waitForAll()
    }
    #expect(!FileManager.default.fileExists(atPath: path), "a server that ends takes its socket with it")
}
