import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// What the bodies of all requests that are coming in may take together.
final class BodyBudget: Sendable {
    static let capacity = 64 << 20

    private let taken = Mutex(0)

    /// Reads the body of a request.
    /// - Parameter limit: bytes that it may have.
    /// - Throws: `Problem` when it has more, or when others hold what there is room for.
    func body(of request: Request, upTo limit: Int) async throws -> ByteBuffer {
        let announced = request.headers[.contentLength].flatMap { Int($0) } ?? limit
        guard announced <= limit else { throw Self.tooLarge(limit) }
        try take(announced)
        defer { taken.withLock { $0 -= announced } }
        do {
            return try await request.body.collect(upTo: announced)
        } catch is NIOTooManyBytesError {
            throw Self.tooLarge(limit)
        }
    }

    private func take(_ count: Int) throws(Problem) {
        let hasRoom = taken.withLock { taken in
            guard taken + count <= Self.capacity else { return false }
            taken += count
            return true
        }
        guard hasRoom else {
            let reason = "requests of \(Self.capacity) bytes are coming in already: try again"
            throw Self.leaving(Problem(.unavailable, reason))
        }
    }

    private static func tooLarge(_ limit: Int) -> Problem {
        let reason = "the body has more than the \(limit) bytes that this resource takes: send less at a time"
        return leaving(Problem(.tooLarge, reason))
    }

    private static func leaving(_ problem: Problem) -> Problem {
        var problem = problem
        problem.leavesBody = true
        return problem
    }
}
