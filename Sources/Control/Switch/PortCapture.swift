import Dataplane
import Synchronization

/// A capture that a connection drains. It ends by its connection, or when its port is removed.
final class PortCapture: Sendable {
    let port: String
    let snapLength: Int
    private let source: any Capture
    private let ended = Atomic(false)

    init(port: String, snapLength: Int, source: any Capture) {
        self.port = port
        self.snapLength = snapLength
        self.source = source
    }

    var isRunning: Bool { !ended.load(ordering: .relaxed) }
    var lost: UInt64 { source.lost }

    func take(limit: Int) -> [CapturedPacket] { source.take(limit: limit) }

    /// Does nothing the second time.
    func end() {
        guard !ended.exchange(true, ordering: .relaxed) else { return }
        source.stop()
    }
}
