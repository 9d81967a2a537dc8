import ArgumentParser
import Control
import Glibc

/// The command line of Martlet: nouns and verbs over the control socket.
@main
struct Martletctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martletctl",
        abstract: "Manages martletd, the Martlet virtual switch.",
        discussion: """
            Exit status: 0 done, 1 refused (the reason is on standard error), 2 wrong usage, 3 martletd does not answer.
            """,
        version: "martletctl \(Martlet.version)",
        subcommands: [
            ShowCommand.self, BridgeCommand.self, PortCommand.self, FlowCommand.self, GroupCommand.self,
            MeterCommand.self, AddressSetCommand.self, WorkerCommand.self, FDBCommand.self, ConntrackCommand.self,
            NeighborCommand.self, NetworkCommand.self, TunnelsCommand.self, TraceCommand.self, StatsCommand.self,
            TopCommand.self, CaptureCommand.self,
            LogCommand.self, DoctorCommand.self,
            VersionCommand.self,
        ]
    )

    @OptionGroup var daemon: Daemon

    static func main() {
        // A pager or a head(1) that has seen enough is no error of ours.
        signal(SIGPIPE, SIG_DFL)
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as ControlClient.Unreachable {
            end(3, "martletctl: \(error)")
        } catch let error as ControlClient.Failure {
            end(1, "martletctl: \(error)")
        } catch {
            guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
            end(2, fullMessage(for: error))
        }
    }

    private static func end(_ status: Int32, _ message: String) -> Never {
        printError(message)
        Glibc.exit(status)
    }
}

/// What every command takes: where the daemon listens.
struct Daemon: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The control socket (default: $MARTLET_SOCKET or \(Self.usualPath)).",
            valueName: "path"
        ),
        completion: .file()
    )
    var socket: String?

    static let usualPath = "/run/martlet/martlet.sock"

    var path: String { socket ?? getenv("MARTLET_SOCKET").map { String(cString: $0) } ?? Self.usualPath }

    func connect() throws -> ControlClient { try ControlClient(path: path) }

    func call<R: Request>(_ request: R) throws -> R.Response { try connect().call(request) }
}

/// What every command takes that reads.
struct Reading: ParsableArguments {
    @OptionGroup var daemon: Daemon

    @Flag(help: "Print JSON.")
    var json = false

    /// Asks, and prints the answer as JSON or, line by line, as `text` has it.
    func show<R: Request>(_ request: R, _ text: (R.Response) -> [String]) throws {
        let response = try daemon.call(request)
        print(json ? try jsonText(response) : text(response).joined(separator: "\n"), terminator: "")
        print()
    }
}
