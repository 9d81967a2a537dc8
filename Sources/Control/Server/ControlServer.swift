import Foundation
public import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle
import Synchronization

/// The control socket: JSON-RPC 2.0 on a Unix stream socket, as README.md beside this folder has it.
///
/// Clients share one event loop of their own and cost the workers nothing. What a client can hold is bounded: one
/// line of 1 MiB that is coming in, 64 MiB of staged text (128 MiB for all clients), 4,096 notices, one answer that is
/// going out. A client that leaves a line half sent, or does not
/// take its answer, for `patience` is disconnected; until then nobody but itself waits.
public struct ControlServer: Service {
    static let maximumClients = 64

    private let socket: ListeningSocket
    private let control: Switch
    private let logger: Logger
    private let patience: Duration
    private let room = StagingRoom()

    /// Takes the socket's path; clients may connect from here on and are served by `run`.
    /// - Parameters:
    ///   - path: at most 107 bytes. A socket that a dead daemon left is replaced.
    ///   - patience: how long a client may leave a line unfinished or an answer unread.
    /// - Throws: `SocketError`, a sentence for the operator.
    public init(path: String, control: Switch, logger: Logger, patience: Duration = .seconds(30)) throws {
        socket = try ListeningSocket(path: path)
        self.control = control
        self.logger = logger
        self.patience = patience
    }

    /// Serves until the task is cancelled or the service group shuts down, then removes the socket.
    public func run() async throws {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        defer { socket.unlinkFile() }
        let server = try await ServerBootstrap(group: loops)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(socket.descriptor) { channel in
                channel.eventLoop.makeCompletedFuture { try Client(accepted: channel) }
            }
        logger.info("control socket listens", metadata: ["path": "\(socket.path)"])
        do {
            try await cancelWhenGracefulShutdown { try await server.executeThenClose(serve) }
        } catch is CancellationError {
            // Told to end, which is no failure.
        }
        try await loops.shutdownGracefully()
    }

    private func serve(_ clients: NIOAsyncChannelInboundStream<Client>) async throws {
        let count = ClientCount()
        try await withThrowingDiscardingTaskGroup { group in
            for try await client in clients {
                let isWelcome = count.enter(limit: Self.maximumClients)
                group.addTask {
                    await serve(client, isWelcome: isWelcome)
                    if isWelcome { count.leave() }
                }
            }
        }
    }

    private func serve(_ client: Client, isWelcome: Bool) async {
        let mayControl = client.peer?.mayControl(group: socket.group) ?? false
        do {
            try await client.channel.executeThenClose { inbound, _ in
                guard mayControl else {
                    logger.warning("peer turned away", metadata: ["user": "\(client.peer?.user ?? uid_t.max)"])
                    return
                }
                let connection = Connection(
                    channel: client.channel.channel,
                    control: control,
                    room: room,
                    patience: patience
                )
                guard isWelcome else {
                    try await connection.turnAway("\(Self.maximumClients) clients are connected already: close one")
                    return
                }
                try await connection.serve(inbound)
            }
        } catch {
            // The client is gone, or was disconnected for its slowness; either way it is over.
            logger.debug("client gone", metadata: ["reason": "\(error)"])
        }
    }
}

/// A connection as it was accepted.
private struct Client: Sendable {
    let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    /// nil when the kernel does not say who it is.
    let peer: Peer?

    /// Call it on the channel's event loop.
    init(accepted channel: any Channel) throws {
        peer = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable { (descriptor: CInt) in
            Peer(descriptor: descriptor)
        }.flatMap { $0 }
        self.channel = try NIOAsyncChannel(
            wrappingChannelSynchronously: channel,
            configuration: .init(isOutboundHalfClosureEnabled: false)
        )
    }
}

private final class ClientCount: Sendable {
    private let count = Mutex(0)

    func enter(limit: Int) -> Bool {
        count.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
    }

    func leave() { count.withLock { $0 -= 1 } }
}
