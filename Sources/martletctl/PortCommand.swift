import ArgumentParser
import Control
import Foundation

struct PortCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "port",
        abstract: "Adds, changes, removes and shows ports.",
        subcommands: [Add.self, Set.self, Delete.self, List.self, Show.self, Stats.self]
    )

    struct VLAN: ParsableArguments {
        @Option(help: ArgumentHelp("The access, native or service VLAN: 0 to 4094.", valueName: "vlan"))
        var tag: Int?

        @Option(help: ArgumentHelp("The VLANs a trunk carries; all when not given.", valueName: "n,n"))
        var trunks: NumberList?

        @Option(
            help: "access, trunk, native-tagged, native-untagged or dot1q-tunnel (access with a tag, else trunk).",
            completion: .list(["access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"])
        )
        var vlanMode: String?

        var options: VLANOptions { VLANOptions(tag: tag, trunks: trunks?.numbers, mode: vlanMode) }
    }

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Opens a device and plugs it into a bridge.",
            discussion: """
                Types and their options (every type takes mtu=68..9000):
                  dpdk        pci=ADDRESS or devargs=NAME,KEY=VALUE; queues, descriptors
                  vhost-user  path=SOCKET; mode=client (QEMU listens) or server; queues
                  ring        name, size
                  tap         ifname
                  patch       peer=PORT, a patch port of another bridge that has this one for its peer
                  endpoint    address=ADDRESS/LENGTH, the switch's own, where tunnels end; gateway=ADDRESS,..., mac,
                              fragments=drop|reassemble
                  vxlan, geneve, gre
                              remote_ip=ADDRESS|flow; key=NUMBER|flow; local_ip, ttl, tos=NUMBER|inherit, df, csum,
                              dst_port
                """
        )

        @Argument var bridge: String
        @Argument var name: String

        @Option(
            help: "dpdk, vhost-user, ring, tap, patch, endpoint, vxlan, geneve or gre.",
            completion: .list(["dpdk", "vhost-user", "ring", "tap", "patch", "endpoint", "vxlan", "geneve", "gre"])
        )
        var type: String

        @OptionGroup var vlan: VLAN

        @Option(name: .customLong("option"), help: ArgumentHelp("An option of the type.", valueName: "key=value"))
        var options: [KeyValue] = []

        @Option(help: ArgumentHelp("The port's number on its bridge; the lowest free when not given.", valueName: "n"))
        var number: Int?

        @OptionGroup var daemon: Daemon

        func validate() throws {
            let keys = options.map(\.key)
            if let twice = keys.first(where: { key in keys.count { $0 == key } > 1 }) {
                throw ValidationError("option '\(twice)' is given twice")
            }
        }

        func run() throws {
            let options = Dictionary(uniqueKeysWithValues: options.map { ($0.key, $0.value) })
            _ = try daemon.call(
                PortAdd(
                    bridge: bridge,
                    name: name,
                    type: type,
                    options: options,
                    number: number,
                    vlan: vlan.options
                )
            )
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replaces the VLAN policy of a port by the one given."
        )

        @Argument var name: String
        @OptionGroup var vlan: VLAN
        @OptionGroup var daemon: Daemon

        func validate() throws {
            guard vlan.options != VLANOptions() else {
                throw ValidationError("nothing to set: give --tag, --trunks or --vlan-mode")
            }
        }

        func run() throws { _ = try daemon.call(PortSet(name: name, vlan: vlan.options)) }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del",
            abstract: "Unplugs a port and releases its device."
        )

        @Argument var name: String
        @OptionGroup var daemon: Daemon

        func run() throws { _ = try daemon.call(PortDelete(name: name)) }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the ports, of one bridge or of all.")

        @Argument var bridge: String?
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(PortList(bridge: bridge)) { response in
                table(
                    ["BRIDGE", "NUMBER", "PORT", "TYPE", "MTU", "VLAN", "LINK"],
                    response.ports.map {
                        [$0.bridge, "\($0.number)", $0.name, $0.type, "\($0.mtu)", $0.vlanText, $0.link]
                    }
                )
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a port, its device and its queues.")

        @Argument var name: String
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(PortShow(name: name)) { port in
                var lines = [("bridge", port.bridge), ("number", "\(port.number)"), ("type", port.type)]
                lines += port.options.sorted { $0.key < $1.key }.map { ("option \($0.key)", $0.value) }
                lines += [("mtu", "\(port.mtu)"), ("vlan", port.vlanText), ("link", port.link)]
                if let error = port.error { lines.append(("error", error)) }
                lines += (port.details ?? []).map { ($0.name, $0.value) }
                lines += (port.queues ?? []).map { queue in
                    let use = queue.enabled ? "enabled" : "disabled"
                    return ("queue \(queue.number)", "lcore \(queue.lcore), \(use), \(queue.size) descriptors")
                }
                let width = lines.map(\.0.count).max() ?? 0
                return ["port \(port.name)"]
                    + lines.map { "    " + $0.0.padding(toLength: width + 2, withPad: " ", startingAt: 0) + $0.1 }
            }
        }
    }

    struct Stats: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows the counters of one port or of all.")

        @Argument var name: String?
        @OptionGroup var reading: Reading

        func run() throws { try reading.showPortCounters(of: name) }
    }
}

/// "K=V" as `--option` takes it.
struct KeyValue: ExpressibleByArgument, Equatable {
    let key: String
    let value: String

    init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="), equals != argument.startIndex else { return nil }
        key = String(argument[..<equals])
        value = String(argument[argument.index(after: equals)...])
    }
}

/// "N,N" as `--trunks` takes it.
struct NumberList: ExpressibleByArgument, Equatable {
    let numbers: [Int]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        guard !parts.contains(nil) else { return nil }
        numbers = parts.compactMap { $0 }
    }
}
