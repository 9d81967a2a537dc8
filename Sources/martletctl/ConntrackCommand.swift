import ArgumentParser
import Control

struct ConntrackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conntrack",
        abstract: "Shows and ends the connections that flows with 'ct' track.",
        subcommands: [Dump.self, Flush.self, Stats.self, Set.self, Settings.self]
    )

    /// Which connections.
    struct Selecting: ParsableArguments {
        @Option(help: ArgumentHelp("Only those of a zone.", valueName: "n")) var zone: Int?
        @Option(
            help: ArgumentHelp("Only those of a protocol: tcp, udp, icmp, icmpv6, sctp or a number.", valueName: "name")
        )
        var `protocol`: String?
        @Option(help: ArgumentHelp("Only those that an address, or one of a CIDR, began.", valueName: "address"))
        var source: String?
        @Option(help: ArgumentHelp("Only those with an address, or one of a CIDR.", valueName: "address"))
        var destination: String?
        @Option(help: ArgumentHelp("Only those from a port.", valueName: "port")) var sourcePort: Int?
        @Option(help: ArgumentHelp("Only those with a port.", valueName: "port")) var destinationPort: Int?
        @Option(help: ArgumentHelp("Only those with a mark.", valueName: "n")) var mark: Int?

        var selection: ConnectionSelection {
            var selection = ConnectionSelection()
            (selection.zone, selection.protocol, selection.mark) = (zone, `protocol`, mark)
            (selection.source, selection.destination) = (source, destination)
            (selection.sourcePort, selection.destinationPort) = (sourcePort, destinationPort)
            return selection
        }
    }

    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows connections, in the form of 'ovs-appctl dpctl/dump-conntrack'.",
            discussion: "Addresses and ports are those of a connection's first packet."
        )

        @OptionGroup var selecting: Selecting
        @Flag(help: "Show how long each lasts if nothing more comes, and how old it is.") var times = false
        @OptionGroup var reading: Reading

        func run() throws {
            var request = ConntrackDump(selection: selecting.selection)
            var connections: [ConntrackDump.Connection] = []
            repeat {
                let response = try reading.daemon.call(request)
                if reading.json {
                    connections += response.connections
                } else {
                    for connection in response.connections { print(connection.line(times: times)) }
                }
                request.from = response.next
            } while request.from != nil
            if reading.json { print(try jsonText(connections)) }
        }
    }

    struct Flush: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends connections: their packets are of none from now on."
        )

        @OptionGroup var selecting: Selecting
        @OptionGroup var daemon: Daemon

        func run() throws {
            let response = try daemon.call(ConntrackFlush(selection: selecting.selection))
            print("\(response.flushed) ended")
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sets how connections are followed: survives restarts.",
            discussion:
                "Timeouts have the names of 'conntrack settings', and hold for connections that are used from then on."
        )

        @Option(help: ArgumentHelp("Seconds of silence after which a connection ends.", valueName: "name=seconds"))
        var timeout: [String] = []
        @Option(help: ArgumentHelp("The most connections of a zone; 0 takes the limit off.", valueName: "zone=n"))
        var limit: [String] = []
        @Option(
            help: ArgumentHelp("Whether segments of TCP are not held against the windows.", valueName: "true|false")
        )
        var liberal: Bool?
        @OptionGroup var daemon: Daemon

        func run() throws {
            let request = ConntrackSet(
                timeouts: try Self.numbers(timeout, "--timeout"),
                limits: try Self.numbers(limit, "--limit"),
                liberal: liberal
            )
            _ = try daemon.call(request)
        }

        private static func numbers(_ pairs: [String], _ option: String) throws -> [String: Int]? {
            var numbers: [String: Int] = [:]
            for pair in pairs {
                let parts = pair.split(separator: "=", omittingEmptySubsequences: false)
                guard parts.count == 2, let number = Int(parts[1]) else {
                    throw ValidationError("\(option) '\(pair)' is not NAME=NUMBER")
                }
                numbers[String(parts[0])] = number
            }
            return numbers.isEmpty ? nil : numbers
        }
    }

    struct Settings: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows how connections are followed.")

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(ConntrackSettings()) { settings in
                let timeouts = settings.timeouts.sorted { $0.key < $1.key }.map {
                    ["timeout \($0.key)", "\($0.value)"]
                }
                let limits = settings.limits.sorted { Int($0.key) ?? 0 < Int($1.key) ?? 0 }
                    .map { ["limit of zone \($0.key)", "\($0.value)"] }
                return table(
                    ["SETTING", "VALUE"],
                    timeouts + limits + [["liberal", settings.liberal ? "true" : "false"]]
                )
            }
        }
    }

    struct Stats: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows how many connections there are, and what became of the others."
        )

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(ConntrackStats()) { statistics in
                table(
                    ["CONNECTIONS", "CAPACITY", "CREATED", "EXPIRED", "EVICTED", "REFUSED"],
                    [
                        [
                            "\(statistics.connections)", "\(statistics.capacity)", "\(statistics.created)",
                            "\(statistics.expired)", "\(statistics.evicted)", "\(statistics.refused)",
                        ]
                    ]
                )
            }
        }
    }
}

extension ConntrackDump.Connection {
    fileprivate func line(times: Bool) -> String {
        var parts = [protocolName, "orig=(\(words(original)))", "reply=(\(words(reply)))"]
        if zone != 0 { parts.append("zone=\(zone)") }
        if mark != 0 { parts.append("mark=\(mark)") }
        if label != "0x0" { parts.append("labels=\(label)") }
        if times { parts += ["timeout=\(timeout)", "age=\(age)"] }
        if let state { parts.append("protoinfo=(state=\(state))") }
        if let helper { parts.append("helper=\(helper)") }
        return parts.joined(separator: ",")
    }

    private var protocolName: String {
        switch `protocol` {
        case 1: "icmp"
        case 6: "tcp"
        case 17: "udp"
        case 58: "icmpv6"
        case 132: "sctp"
        default: "\(`protocol`)"
        }
    }

    private func words(_ direction: ConntrackDump.Direction) -> String {
        let addresses = "src=\(direction.source),dst=\(direction.destination)"
        return switch `protocol` {
        case 1, 58: "\(addresses),id=\(direction.sourcePort),type=\(direction.destinationPort),code=0"
        case 6, 17, 132: "\(addresses),sport=\(direction.sourcePort),dport=\(direction.destinationPort)"
        default: addresses
        }
    }
}
