import ArgumentParser
import Control

struct BridgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bridge",
        abstract: "Adds, changes, removes and lists bridges.",
        subcommands: [Add.self, Set.self, Delete.self, List.self]
    )

    struct Settings: ParsableArguments {
        @Option(help: ArgumentHelp("The most stations to learn (16 to 1048576; 8192 when new).", valueName: "n"))
        var fdbCapacity: Int?

        @Option(help: ArgumentHelp("Seconds until a silent station is forgotten (300 when new).", valueName: "s"))
        var fdbAgeing: Int?

        @Flag(inversion: .prefixedNo, help: "Relay 01:80:c2:00:00:00 to 0f (off when new).")
        var forwardReserved: Bool?

        var options: BridgeOptions {
            BridgeOptions(fdbCapacity: fdbCapacity, fdbAgeing: fdbAgeing, forwardReserved: forwardReserved)
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Adds a bridge.")

        @Argument var bridge: String
        @OptionGroup var settings: Settings
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(BridgeAdd(name: bridge, options: settings.options)) }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Changes what is given of a bridge's settings.")

        @Argument var bridge: String
        @OptionGroup var settings: Settings
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(BridgeSet(name: bridge, options: settings.options)) }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del",
            abstract: "Removes a bridge and its ports."
        )

        @Argument var bridge: String
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(BridgeDelete(name: bridge)) }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the bridges.")

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(BridgeList()) { response in
                table(
                    ["BRIDGE", "PORTS", "FDB-CAPACITY", "FDB-AGEING", "FORWARD-RESERVED"],
                    response.bridges.map {
                        [$0.name, "\($0.ports)", "\($0.fdbCapacity)", "\($0.fdbAgeing)", "\($0.forwardReserved)"]
                    }
                )
            }
        }
    }
}
