import ArgumentParser
import Control
import Dispatch
import Foundation
import Glibc

/// The daemon: reads its settings, starts the packet engine on the main thread, then serves until a signal ends it.
@main
struct Martletd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martletd",
        abstract: "The Martlet switch: a poll-mode vSwitch over DPDK.",
        discussion: """
            Runs in the foreground and logs to standard error. SIGTERM ends it; bridges and ports are kept in the \
            state directory and come back at the next start. SIGHUP reads the configuration file again. \
            Manage it with martletctl.
            """,
        version: Martlet.version
    )

    @OptionGroup var arguments: Arguments

    func run() {
        do {
            let settings = try arguments.settings()
            let daemon = try Daemon(settings, reload: { try arguments.settings() })
            Task { Glibc.exit(await daemon.run()) }
            dispatchMain()
        } catch {
            try? FileHandle.standardError.write(contentsOf: Data("martletd: \(error)\n".utf8))
            Glibc.exit(1)
        }
    }
}
