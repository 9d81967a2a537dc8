import Dataplane
import Foundation
import Synchronization

/// The text that a connection has staged: bounded for itself, and by a room that all connections share.
final class StagedText {
    /// Bytes that one connection may stage.
    static let greatestLength = 64 << 20

    private var bytes: [UInt8] = []
    private let room: StagingRoom

    init(room: StagingRoom) { self.room = room }

    deinit { room.leave(bytes.count) }

    var length: Int { bytes.count }

    /// - Throws: `Refusal` when there is no room; nothing is appended then.
    func append(_ piece: Data) throws(Refusal) {
        let length = bytes.count + piece.count
        guard length <= Self.greatestLength else {
            throw Refusal(
                "staged text would have \(length) bytes; allowed are \(Self.greatestLength): send less at once"
            )
        }
        try room.enter(piece.count)
        bytes += piece
    }

    /// The text; none is staged then.
    /// - Throws: `Refusal` for what is no UTF-8.
    func take() throws(Refusal) -> String {
        let taken = bytes
        room.leave(bytes.count)
        bytes = []
        guard let text = String(validating: taken, as: UTF8.self) else {
            throw Refusal("the text that was staged is not UTF-8: send it in that")
        }
        return text
    }
}

/// The bytes that all connections together have staged.
final class StagingRoom: Sendable {
    static let greatestLength = 128 << 20

    private let limit: Int
    private let length = Mutex(0)

    init(limit: Int = StagingRoom.greatestLength) { self.limit = limit }

    fileprivate func enter(_ count: Int) throws(Refusal) {
        let isWelcome = length.withLock { length in
            guard length + count <= limit else { return false }
            length += count
            return true
        }
        guard isWelcome else {
            throw Refusal("other connections have staged so much that no room is left: try again when they are done")
        }
    }

    fileprivate func leave(_ count: Int) { length.withLock { $0 -= count } }
}
