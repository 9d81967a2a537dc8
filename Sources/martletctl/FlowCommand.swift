import ArgumentParser
import Control
import Foundation

struct FlowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "flow",
        abstract: "Adds, changes, removes, shows and replaces the flows of a bridge.",
        discussion: """
            Flows are written as for ovs-ofctl(8):
                martletctl flow add br0 'priority=10,in_port=vm1,ip,nw_dst=10.0.0.0/8 actions=dec_ttl,output:up1'
                martletctl flow del br0 'table=20,cookie=0x1/-1'
                martletctl flow dump br0 --no-stats > flows; martletctl flow replace br0 --file flows
            """,
        subcommands: [Add.self, Modify.self, Delete.self, Dump.self, Cached.self, Replace.self, Watch.self]
    )

    enum Kind: StatementKind {
        static let (noun, plural) = ("flow", "Flows")
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds a flow, or those of a file, all or none.",
            discussion: """
                A flow replaces the one with the same table, priority and match. A file has one flow a line; '#' starts a
                comment. Dumps are taken as they are.
                    martletctl flow add br0 'table=0,priority=4,in_port=2,dl_vlan=1 actions=mod_vlan_vid:1024,NORMAL'
                    ovs-ofctl dump-flows br0 | martletctl flow add br0 --file -
                """
        )

        @OptionGroup var text: StatementText<Kind>

        func run() throws {
            _ = try text.send(FlowAdd(bridge: text.bridge), FlowAdd(bridge: text.bridge, staged: true))
        }
    }

    struct Modify: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mod",
            abstract: "Gives the flows that a match selects other actions; what they counted stays.",
            discussion: """
                Without table=N those of table 0. Timeouts and flags stay too, and the cookie without cookie=V. Nothing is
                added where no flow is found, and reset_counts has counters begin anew: as ovs-ofctl mod-flows does over
                OpenFlow 1.3.
                    martletctl flow mod br0 'tcp,tp_dst=80 actions=output:vm2'                 these and narrower ones
                    martletctl flow mod br0 'priority=4,in_port=2 actions=drop' --strict       just this one
                    martletctl flow mod br0 'cookie=0x7/-1 actions=NORMAL'                     those with the cookie
                """
        )

        @Argument var bridge: String
        @Argument(help: "Which flows, and their new actions, as for ovs-ofctl mod-flows.") var flow: String
        @Flag(help: "Only the flow with just this match and priority.") var strict = false
        @OptionGroup var daemon: Daemon

        func run() throws {
            try FlowText(flow).explaining {
                let response = try daemon.call(FlowModify(bridge: bridge, flow: flow, strict: strict))
                print("\(response.modified) modified")
            }
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del",
            abstract: "Removes the flows that a match selects; all flows without one.",
            discussion: """
                    martletctl flow del br0 'ip,nw_dst=10.0.0.0/8'                    these and narrower ones, any priority
                    martletctl flow del br0 'table=0,priority=4,in_port=2' --strict   just this one
                    martletctl flow del br0 'out_port=vm1'                            those that output to vm1
                """
        )

        @Argument var bridge: String
        @Argument(help: "Which flows, as for ovs-ofctl del-flows.") var match: String?
        @Flag(help: "Only flows with just this match and priority.") var strict = false
        @OptionGroup var daemon: Daemon

        func run() throws {
            try FlowText(match ?? "").explaining {
                let response = try daemon.call(FlowDelete(bridge: bridge, match: match, strict: strict))
                print("\(response.deleted) deleted")
            }
        }
    }

    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the flows that a match selects, as ovs-ofctl dump-flows does.",
            discussion: """
                    martletctl flow dump br0 'table=20' --names
                """
        )

        @Argument var bridge: String
        @Argument(help: "Which flows, as for ovs-ofctl dump-flows; all without one.") var match: String?
        @Flag(help: "Leave counters and times out.") var noStats = false
        @Flag(help: "Show ports by name.") var names = false
        @OptionGroup var reading: Reading

        func run() throws {
            let request = FlowDump(
                bridge: bridge,
                match: match,
                names: names,
                lines: !reading.json,
                statistics: !noStats
            )
            try FlowText(match ?? "").explaining {
                let client = try reading.daemon.connect()
                // As it comes: to read and write 100,000 flows again takes longer than all the rest.
                if reading.json { return print(String(decoding: try client.result(of: request), as: UTF8.self)) }
                let response = try client.call(request)
                // A dump has no line at all where there is no flow.
                for line in response.lines ?? [] { print(" " + line) }
            }
        }
    }

    struct Replace: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a file all the flows of a bridge, in one change.",
            discussion: "Flows that are there already, in all they say, keep their counters."
        )

        @Argument var bridge: String
        @Option(help: ArgumentHelp("Flows, one a line; '-' is standard input.", valueName: "file"), completion: .file())
        var file: String
        @OptionGroup var daemon: Daemon

        func run() throws {
            let text = try FlowText(file: file)
            let request = FlowReplace(bridge: bridge)
            let response = try text.send(daemon, request, FlowReplace(bridge: bridge, staged: true))
            print("\(response.added) added, \(response.removed) removed, \(response.unchanged) unchanged")
        }
    }

    struct Watch: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tells of flows with send_flow_rem that go, until interrupted.",
            discussion: """
                The reason is idle, hard (their timeouts), delete, or group and meter, which they used and are deleted.
                    martletctl flow add br0 'idle_timeout=60,send_flow_rem,in_port=1 actions=output:2'
                    martletctl flow watch br0
                """
        )

        @Argument var bridge: String?
        @OptionGroup var reading: Reading

        func run() throws {
            let client = try reading.daemon.connect()
            _ = try client.call(FlowWatch(bridge: bridge))
            var lost: UInt64 = 0
            while true {
                guard case .flowRemoved(let notice) = try client.nextEvent() else { continue }
                if notice.lost > lost { printError("martletctl: \(notice.lost - lost) notices lost") }
                lost = notice.lost
                print(reading.json ? try jsonText(notice, pretty: false) : notice.line)
                fflush(nil)
            }
        }
    }
}

extension FlowRemoved {
    fileprivate var line: String {
        "\(bridge) \(reason.rawValue) duration=\(duration)s n_packets=\(packetCount) n_bytes=\(byteCount) \(flow)"
    }
}
