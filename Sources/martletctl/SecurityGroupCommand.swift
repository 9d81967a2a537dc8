import ArgumentParser
import Control

extension GroupCommand {
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the security groups.",
            discussion: "PORTS and FLOWS are those of this host, MEMBERS the addresses of a group's ports everywhere."
        )

        @Option(help: ArgumentHelp("Only those of a port, by the id of its document.", valueName: "id"))
        var port: String?
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(SecurityGroupList(port: port)) { Self.table(of: $0.groups) }
        }

        static func table(of groups: [SecurityGroupDescription]) -> [String] {
            let rows = groups.map { group in
                [
                    group.id, group.name, group.stateful ? "yes" : "no", "\(group.rules)", "\(group.ports)",
                    "\(group.members)", "\(group.flows)",
                ]
            }
            return martletctl.table(["ID", "NAME", "STATEFUL", "RULES", "PORTS", "MEMBERS", "FLOWS"], rows)
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows a security group, its rules, its ports here and the members of groups that it names."
        )

        @Argument(help: "An id, or a name that only one group has.") var group: String
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(SecurityGroupShow(id: group)) { response in
                let rules = response.rules.map { rule in
                    [
                        rule.direction, rule.ethertype, rule.protocol ?? "any", rule.range,
                        rule.remotePrefix ?? rule.remoteGroup.map { "group \($0)" } ?? "any", rule.id ?? "-",
                    ]
                }
                let ports = response.ports.map { port in
                    [port.id, port.mac.description, port.fixedIPs.joined(separator: ","), port.port ?? "-"]
                }
                let members = response.members.sorted { $0.key < $1.key }.map { group, members in
                    [group, "\(members.count)", members.joined(separator: " ")]
                }
                return List.table(of: [response.group]) + [""]
                    + table(["DIRECTION", "ETHERTYPE", "PROTOCOL", "RANGE", "REMOTE", "ID"], rules) + [""]
                    + table(["PORT", "MAC", "FIXED-IPS", "HERE"], ports) + [""]
                    + table(["GROUP", "MEMBERS", "ADDRESSES"], members)
            }
        }
    }
}

extension SecurityGroupShow.Rule {
    /// Ports, or type and code of ICMP, as in `80:90` and `8`.
    fileprivate var range: String {
        switch (least, greatest) {
        case (nil, nil): "any"
        case (let least?, let greatest?) where least == greatest && !isICMP: "\(least)"
        case (let least?, nil) where isICMP: "\(least)"
        default: (least.map(String.init) ?? "") + ":" + (greatest.map(String.init) ?? "")
        }
    }

    private var isICMP: Bool { `protocol`?.hasSuffix("icmp") == true || `protocol` == "icmpv6" }
}
