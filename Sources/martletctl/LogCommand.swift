import ArgumentParser
import Control

struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Shows and changes what martletd logs.",
        subcommands: [Level.self]
    )

    struct Level: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the log level, or sets it until a restart.")

        @Argument(
            help: "trace, debug, info, notice, warning, error or critical.",
            completion: .list(["trace", "debug", "info", "notice", "warning", "error", "critical"])
        )
        var level: String?

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(LogLevelSet(level: level)) { [$0.level] }
        }
    }
}
