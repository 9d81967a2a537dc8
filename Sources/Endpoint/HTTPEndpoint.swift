public import Control
import Dataplane
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
import NIOCore
import NIOPosix
public import ServiceLifecycle

/// The endpoint that Neutron's mechanism driver talks to: documents of desired state over HTTP/1.1, as openapi.yaml beside
/// this has it.
///
/// Clients share one event loop of their own and cost the workers nothing; the switch carries out their changes one after
/// the other, beside those of the control socket. What clients can hold is bounded: connections, in all and of one
/// address (`ConnectionGuard`), the bytes of their requests (`BodyBudget`), and the time that they take.
public struct HTTPEndpoint: Service {
    private let listening: EndpointSettings.Listening
    private let routes: Routes
    private let logger: Logger

    /// - Parameters:
    ///   - host: the document of this host that its configuration asks for: JSON, one line.
    public init(_ listening: EndpointSettings.Listening, host: String, control: Switch, logger: Logger) {
        self.listening = listening
        self.logger = logger
        routes = Routes(control: control, host: host)
    }

    /// Serves until the task is cancelled or the service group shuts down.
    /// - Throws: `Refusal` when it cannot listen.
    public func run() async throws {
        let loops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let application = Application(
            router: routes.router(),
            server: try server(),
            configuration: .init(
                address: .hostname(listening.host, port: listening.port),
                availableConnectionsDelegate: .maximum(ConnectionGuard.maximumConnections, logger: quiet)
            ),
            onServerRunning: { [listening, logger] _ in
                logger.info("endpoint listens", metadata: ["at": "\(listening)"])
            },
            eventLoopGroupProvider: .shared(loops),
            logger: quiet
        )
        do {
            try await application.run()
        } catch let error as IOError {
            throw Refusal("endpoint \(listening) cannot be listened at (\(error)): give another one")
        }
        try await loops.shutdownGracefully()
    }

    private func server() throws -> HTTPServerBuilder {
        let clients = routes.clients
        let http = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [ConnectionGuard(clients)],
                idleTimeout: ConnectionGuard.idleTime,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: 8192,
                    maxHeaderListSize: 16_384,
                    maxHeaderFieldCount: 64
                )
            )
        )
        guard let tls = listening.tls else { return http }
        return try .tls(http, tlsConfiguration: tls)
    }

    /// The server's own words are for whoever looks for a mistake in it.
    private var quiet: Logger {
        var logger = logger
        logger.logLevel = max(logger.logLevel, .error)
        return logger
    }
}
