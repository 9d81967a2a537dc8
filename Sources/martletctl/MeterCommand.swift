import ArgumentParser
import Control

struct MeterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meter",
        abstract: "Adds, changes, removes and shows the meters of a bridge.",
        discussion: """
            Meters are written as for ovs-ofctl(8):
                martletctl meter add br0 'meter=1 kbps burst bands=type=drop rate=100000 burst_size=10000'
                martletctl flow add br0 'in_port=vm1 actions=meter:1,NORMAL'
                martletctl meter stats br0
            """,
        subcommands: [Add.self, Modify.self, Delete.self, Dump.self, Stats.self]
    )

    enum Kind: StatementKind {
        static let (noun, plural) = ("meter", "Meters")
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds a meter, or those of a file, all or none; one that exists is refused."
        )

        @OptionGroup var text: StatementText<Kind>

        func run() throws {
            _ = try text.send(MeterAdd(bridge: text.bridge), MeterAdd(bridge: text.bridge, staged: true))
        }
    }

    struct Modify: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mod",
            abstract: "Replaces a meter that exists, or those of a file; it begins anew."
        )

        @OptionGroup var text: StatementText<Kind>

        func run() throws {
            _ = try text.send(MeterModify(bridge: text.bridge), MeterModify(bridge: text.bridge, staged: true))
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del",
            abstract: "Removes meters, all without a number, and the flows that use them."
        )

        @Argument var bridge: String
        @Argument(help: "Numbers of meters.") var meters: [UInt32] = []
        @OptionGroup var daemon: Daemon

        func run() throws {
            let response = try daemon.call(MeterDelete(bridge: bridge, meters: meters.isEmpty ? nil : meters))
            let flows = response.flows == 0 ? "" : ", flows that used them: \(response.flows)"
            print("\(response.deleted) deleted\(flows)")
        }
    }

    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the meters of a bridge, as ovs-ofctl dump-meters does, one a line."
        )

        @Argument var bridge: String
        @OptionGroup var reading: Reading

        func run() throws {
            let response = try reading.daemon.call(MeterDump(bridge: bridge))
            if reading.json { return print(try jsonText(response)) }
            for meter in response.meters { print(" " + meter.meter) }
        }
    }

    struct Stats: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows what came to each meter and what its bands dropped, as ovs-ofctl meter-stats does."
        )

        @Argument var bridge: String
        @OptionGroup var reading: Reading

        func run() throws {
            let response = try reading.daemon.call(MeterStats(bridge: bridge))
            if reading.json { return print(try jsonText(response)) }
            for meter in response.meters { print(" " + meter.line) }
        }
    }
}

extension MeterStats.Meter {
    fileprivate var line: String {
        let bands = bands.enumerated().map { " \($0): packet_count:\($1.packetCount) byte_count:\($1.byteCount)" }
        return "meter:\(identifier) flow_count:\(flowCount) packet_in_count:\(packetCount) byte_in_count:\(byteCount) "
            + "bands:" + bands.joined()
    }
}
