import ArgumentParser
import Control

struct FDBCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fdb",
        abstract: "Shows and changes which station is behind which port.",
        subcommands: [Show.self, Add.self, Delete.self, Flush.self, Stats.self]
    )

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the stations of a bridge.")

        @Argument var bridge: String
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(FDBShow(bridge: bridge)) { response in
                table(
                    ["VLAN", "MAC", "PORT", "AGE"],
                    response.entries.map { ["\($0.vlan)", $0.mac, $0.port, $0.static ? "static" : "\($0.age)"] }
                )
            }
        }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says for good which port a station is behind: never ages, never moves, survives restarts."
        )

        @Argument var bridge: String
        @Argument var mac: String
        @Argument var port: String
        @Option(help: ArgumentHelp("The station's VLAN (0, untagged, when not given).", valueName: "n"))
        var vlan: Int?
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(FDBAdd(bridge: bridge, mac: mac, vlan: vlan, port: port)) }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del",
            abstract: "Forgets one station, static or learned."
        )

        @Argument var bridge: String
        @Argument var mac: String
        @Option(help: ArgumentHelp("The station's VLAN (0, untagged, when not given).", valueName: "n"))
        var vlan: Int?
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(FDBDelete(bridge: bridge, mac: mac, vlan: vlan)) }
    }

    struct Flush: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forgets learned stations; static ones stay."
        )

        @Argument var bridge: String
        @Option(help: "Only those behind this port.") var port: String?
        @Option(help: ArgumentHelp("Only those of this VLAN.", valueName: "n")) var vlan: Int?
        @OptionGroup var daemon: Daemon

        func run() throws {
            let response = try daemon.call(FDBFlush(bridge: bridge, port: port, vlan: vlan))
            print("\(response.flushed) forgotten")
        }
    }

    struct Stats: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows how full a bridge's table is and what it saw.")

        @Argument var bridge: String
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(FDBStats(bridge: bridge)) { statistics in
                table(
                    ["ENTRIES", "CAPACITY", "LEARNED", "MOVED", "AGED", "EVICTED"],
                    [
                        [
                            "\(statistics.entries)", "\(statistics.capacity)", "\(statistics.learned)",
                            "\(statistics.moved)", "\(statistics.aged)", "\(statistics.evicted)",
                        ]
                    ]
                )
            }
        }
    }
}
