import NIOCore
import Synchronization

/// Sends a watcher's notices to its client, as fast as the client reads.
final class FlowWatchStream: Sendable {
    let watcher: FlowWatcher
    private let channel: any Channel
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(watcher: FlowWatcher, channel: any Channel) {
        self.watcher = watcher
        self.channel = channel
    }

    /// Begins to send. Does nothing the second time.
    func begin() {
        task.withLock { task in
            if task == nil { task = Task { await self.run() } }
        }
    }

    func cancel() { task.withLock { $0?.cancel() } }

    private func run() async {
        for await notice in watcher.notices {
            let line = Message.line(Message.Unasked(params: watcher.message(notice)))
            // An error means that the client is gone: its connection notices by itself.
            guard (try? await channel.writeAndFlush(ByteBuffer(bytes: line))) != nil else { return }
        }
    }
}
