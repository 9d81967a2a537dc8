import Control
import Networking

/// A snapshot that comes in pieces, and is applied when the last is here. One at a time, in memory: a daemon that
/// restarts has none of it, and says so.
actor SnapshotUpload {
    /// Bytes of a piece, and of a whole.
    static let greatestPiece = 4 << 20
    static let greatestLength = 256 << 20
    /// How long one that does not go on keeps others from coming.
    static let patience = Duration.seconds(30)

    /// Where a piece belongs.
    struct Place: Hashable, Sendable {
        let offset: Int
        /// Of the whole snapshot, in bytes.
        let total: Int
    }

    /// What became of a piece.
    enum Outcome: Sendable {
        /// There are more to come; this many bytes are here.
        case received(Int)
        /// It was the last.
        case applied(NetworkApply.Response)
    }

    private struct Upload {
        let id: String
        let revision: UInt64?
        let total: Int
        var text: [UInt8] = []
        var latest: ContinuousClock.Instant
    }

    private let control: Switch
    private var upload: Upload?
    /// The last that was applied, for a client that did not hear so.
    private var applied: (id: String, total: Int, answer: NetworkApply.Response)?

    init(control: Switch) { self.control = control }

    /// Bytes of a snapshot that are here.
    func received(id: String) -> Int {
        if let applied, applied.id == id { return applied.total }
        return upload?.id == id ? upload!.text.count : 0
    }

    /// Takes a piece. One that was taken already is acknowledged again.
    /// - Throws: `Problem` when it does not fit; `DocumentRefusal` or `Refusal` of the whole, which is forgotten then.
    func take(_ piece: [UInt8], at place: Place, id: String, revision: UInt64?) async throws -> Outcome {
        if let applied, applied.id == id, place.total == applied.total { return .applied(applied.answer) }
        try begin(id, revision, place)
        try append(piece, at: place)
        guard let text = upload?.text, text.count == place.total else { return .received(upload?.text.count ?? 0) }
        upload = nil
        let changes = try DocumentText.changes(String(decoding: text, as: UTF8.self))
        let answer = try await control.apply(changes, isSnapshot: true, revision: revision)
        applied = (id, place.total, answer)
        return .applied(answer)
    }

    /// Makes room for a snapshot, unless another one is coming in.
    private func begin(_ id: String, _ revision: UInt64?, _ place: Place) throws(Problem) {
        guard upload?.id != id else { return }
        if let other = upload, ContinuousClock.now - other.latest < Self.patience {
            throw Problem(.conflict, "snapshot '\(other.id)' is coming in: wait, at most \(Self.patience)")
        }
        guard place.offset == 0 else {
            var problem = Problem(.conflict, "nothing of snapshot '\(id)' is here: begin it again")
            problem.received = 0
            throw problem
        }
        upload = Upload(id: id, revision: revision, total: place.total, latest: .now)
    }

    private func append(_ piece: [UInt8], at place: Place) throws(Problem) {
        let received = upload?.text.count ?? 0
        if let total = upload?.total, total != place.total {
            throw Problem(
                .conflict,
                "the snapshot was said to have \(total) bytes, not \(place.total): begin another one"
            )
        }
        guard place.offset <= received else {
            let reason = "\(received) bytes are here and this begins at \(place.offset): send what is between"
            var problem = Problem(.conflict, reason)
            problem.received = received
            throw problem
        }
        // What is here already came twice.
        upload?.text += piece.dropFirst(received - place.offset)
        upload?.latest = .now
    }
}

extension SnapshotUpload.Place {
    /// Reads `bytes FIRST-LAST/TOTAL` (RFC 9110 section 14.4) beside a piece; without it the piece is the whole.
    init(contentRange: String?, length: Int) throws(Problem) {
        guard let contentRange else {
            (offset, total) = (0, length)
            return
        }
        guard let match = contentRange.wholeMatch(of: /bytes ([0-9]{1,9})-([0-9]{1,9})\/([0-9]{1,9})/),
            let first = Int(match.1), let last = Int(match.2), let total = Int(match.3), first <= last, last < total
        else {
            let said = contentRange.prefix(80)
            throw Problem(.malformed, "Content-Range '\(said)' is not of the form bytes 0-99/1000")
        }
        guard last - first + 1 == length else {
            let said = last - first + 1
            throw Problem(.malformed, "Content-Range '\(contentRange)' is of \(said) bytes; the body has \(length)")
        }
        guard total <= SnapshotUpload.greatestLength else {
            throw Problem(.tooLarge, "a snapshot has \(SnapshotUpload.greatestLength) bytes at most, this \(total)")
        }
        (offset, self.total) = (first, total)
    }
}
