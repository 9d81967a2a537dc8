import ArgumentParser
import Control

struct GroupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group",
        abstract: "Adds, changes, removes and shows the groups of a bridge; shows security groups.",
        discussion: """
            Groups of a bridge are written as for ovs-ofctl(8):
                martletctl group add br0 'group_id=1,type=ff,bucket=watch_port:up1,actions=output:up1,bucket=...'
                martletctl flow add br0 'in_port=vm1 actions=group:1'
                martletctl group del br0 1
            Security groups come as documents ('network apply'):
                martletctl group list
                martletctl group show web
            """,
        subcommands: [Add.self, Modify.self, Delete.self, Dump.self, List.self, Show.self]
    )

    enum Kind: StatementKind {
        static let (noun, plural) = ("group", "Groups")
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds a group, or those of a file, all or none; one that exists is refused."
        )

        @OptionGroup var text: StatementText<Kind>

        func run() throws {
            _ = try text.send(GroupAdd(bridge: text.bridge), GroupAdd(bridge: text.bridge, staged: true))
        }
    }

    struct Modify: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mod",
            abstract: "Replaces the type and buckets of a group that exists, or of those of a file."
        )

        @OptionGroup var text: StatementText<Kind>

        func run() throws {
            _ = try text.send(GroupModify(bridge: text.bridge), GroupModify(bridge: text.bridge, staged: true))
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del",
            abstract: "Removes groups, all without a number, and the flows that use them."
        )

        @Argument var bridge: String
        @Argument(help: "Numbers of groups.") var groups: [UInt32] = []
        @OptionGroup var daemon: Daemon

        func run() throws {
            let response = try daemon.call(GroupDelete(bridge: bridge, groups: groups.isEmpty ? nil : groups))
            let flows = response.flows == 0 ? "" : ", flows that used them: \(response.flows)"
            print("\(response.deleted) deleted\(flows)")
        }
    }

    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the groups of a bridge, as ovs-ofctl dump-groups does."
        )

        @Argument var bridge: String
        @Flag(help: "Show ports by name.") var names = false
        @OptionGroup var reading: Reading

        func run() throws {
            let response = try reading.daemon.call(GroupDump(bridge: bridge, names: names))
            if reading.json { return print(try jsonText(response)) }
            for group in response.groups { print(" " + group.group) }
        }
    }
}
