import Control
import Dataplane
import Endpoint
import Foundation
import Glibc
import Logging
import PacketIO
import ServiceLifecycle
import UnixSignals

/// The parts of the daemon, wired.
struct Daemon {
    private let engine: PacketEngine
    private let store: Store
    private let ringRecords: String
    private let control: Switch
    private let server: ControlServer
    /// nil: nobody asked for one.
    private let endpoint: HTTPEndpoint?
    private let logger: Logger
    private let level: LogLevel
    private let reload: @Sendable () throws -> Settings

    /// Starts DPDK, brings the ports back and takes the control socket. Must run on the main thread, before any
    /// other thread exists.
    /// - Throws: a sentence for the operator; nothing runs then.
    init(_ settings: Settings, reload: @escaping @Sendable () throws -> Settings) throws {
        let level = LogLevel(settings.logLevel)
        LoggingSystem.bootstrap { _ in StandardErrorLog(level: level) }
        let logger = Logger(label: "martletd")
        self.level = level
        self.logger = logger
        self.reload = reload
        try settings.engine.eal.validate()
        let listening = try settings.endpoint.listening()
        let hostDocument = try settings.hostDocument
        try Self.makeDirectory(settings.stateDirectory, mode: 0o750)
        try Self.makeDirectory((settings.socket as NSString).deletingLastPathComponent, mode: 0o755)
        try Self.makeDirectory(settings.vifDirectory, mode: 0o755)
        try Self.makeDirectory(settings.ringRecords, mode: 0o700)
        Self.raiseFileLimit()
        EALLog.forward { line in logger.debug("dpdk", metadata: ["text": "\(line)"]) }
        store = try Store(directory: settings.stateDirectory)
        ringRecords = settings.ringRecords
        var options = settings.engine
        options.ringRecords = settings.ringRecords
        engine = try PacketEngine(options)
        control = Switch(
            dataplane: engine.dataplane,
            io: engine,
            store: store,
            hostName: settings.host,
            sockets: SocketDirectory(settings.vifDirectory, reserved: [settings.socket]),
            logger: logger,
            logLevel: level,
            dpdk: PacketEngine.version
        )
        do {
            server = try ControlServer(path: settings.socket, control: control, logger: logger)
        } catch {
            // The workers use the dataplane until they are stopped, and it goes with this.
            engine.shutdown()
            throw error
        }
        endpoint = listening.map { [control] listening in
            HTTPEndpoint(listening, host: hostDocument, control: control, logger: logger)
        }
    }

    /// Serves until a signal.
    /// - Returns: the exit status.
    func run() async -> Int32 {
        var status: Int32 = 0
        do {
            try await control.restore()
            let hangup = ReloadOnHangup(level: level, logger: logger, reload: reload)
            let parts: [(any Service)?] = [control, server, hangup, endpoint]
            let group = ServiceGroup(
                services: parts.compactMap(\.self),
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
            try await group.run()
        } catch {
            logger.critical("martletd ends", metadata: ["reason": "\(error)"])
            status = 1
        }
        engine.shutdown()
        // Goes only when it is empty: records of guests that live on are for the next start.
        rmdir(ringRecords)
        do {
            try store.close()
        } catch {
            logger.error("state file not closed", metadata: ["reason": "\(error)"])
        }
        return status
    }

    private static func makeDirectory(_ path: String, mode: Int) throws(Refusal) {
        do {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: mode]
            )
        } catch {
            throw Refusal("directory '\(path)' cannot be made: \(error.localizedDescription)")
        }
    }

    /// A guest costs some file descriptors: its socket, its memory, two for each ring.
    private static func raiseFileLimit() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}

/// SIGHUP reads the configuration again: the log level changes at once, all else at the next start.
private struct ReloadOnHangup: Service {
    let level: LogLevel
    let logger: Logger
    let reload: @Sendable () throws -> Settings

    func run() async {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            do {
                level.current = try reload().logLevel
                logger.notice("configuration read again", metadata: ["applied": "log-level"])
            } catch {
                logger.error("configuration refused", metadata: ["reason": "\(error)"])
            }
        }
    }
}
