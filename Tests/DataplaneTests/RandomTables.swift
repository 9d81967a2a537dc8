import Flows
import Seeds
import Wire

@testable import Dataplane

/// Flows and groups with everything that a walk can do, for a bridge of `Bench.patched()`. Their fields have few values,
/// those of `RandomFrame`, so that they overlap and packets meet them.
struct RandomTables {
    /// Numbers of the bridge's ports, the patch's end among them.
    let ports: [Int]
    private static let groupCount = 3

    static let bridges = ["br": RandomTables(ports: [1, 2, 3]), "other": RandomTables(ports: [4, 5])]

    /// Groups 1 to 3; those with higher numbers name lower ones.
    func groups(_ random: inout SeededGenerator) -> [String] {
        (1...Self.groupCount).map { number in
            Self.accepted(&random, { group(number, &$0) }, { _ = try FlowText.group($0) })
        }
    }

    /// Drawn again while it contradicts itself.
    private static func accepted(
        _ random: inout SeededGenerator,
        _ make: (inout SeededGenerator) -> String,
        _ check: (String) throws -> Void
    ) -> String {
        while true {
            let text = make(&random)
            if (try? check(text)) != nil { return text }
        }
    }

    private func group(_ number: Int, _ random: inout SeededGenerator) -> String {
        let kind = ["all", "indirect", "ff", "select"].randomElement(using: &random)!
        let buckets = (0..<(kind == "indirect" ? 1 : Int.random(in: 1...3, using: &random))).map { _ in
            let watch = kind == "ff" ? "watch_port:\(ports.randomElement(using: &random)!)," : ""
            let weight = kind == "select" ? "weight:\(Int.random(in: 0...3, using: &random))," : ""
            return "bucket=\(watch)\(weight)actions=\(bucket(below: number, &random))"
        }
        return "group_id=\(number),type=\(kind),\(buckets.joined(separator: ","))"
    }

    /// Flows of tables 0 to 3, some of them of a conjunction, and one for all packets in table 0.
    func flows(_ count: Int, _ random: inout SeededGenerator) -> [String] {
        let clauses = (1...2).flatMap { clause in
            (0..<2).map { _ in "priority=500,\(field(&random)) actions=conjunction(1,\(clause)/2)" }
        }
        let others = (0..<count).map { _ in flow("priority=\(Int.random(in: 1...999, using: &random))", &random) }
        let last = Self.accepted(&random, { "priority=0 actions=\(list(&$0))" }, { _ = try FlowText.flow($0) })
        return clauses + others + [flow("priority=400,conj_id=1", &random), last]
    }

    private func flow(_ head: String, _ random: inout SeededGenerator) -> String {
        Self.accepted(&random, { drawnFlow(head, &$0) }, { _ = try FlowText.flow($0) })
    }

    private func drawnFlow(_ head: String, _ random: inout SeededGenerator) -> String {
        let fields = (0..<Int.random(in: 0...2, using: &random)).map { _ in field(&random) }
        let match = ([head] + fields).joined(separator: ",")
        let table = head.contains("conj_id") ? 0 : Int.random(in: 0...3, using: &random)
        return "table=\(table),\(match) actions=\(list(&random))\(instructions(after: table, &random))"
    }

    private func field(_ random: inout SeededGenerator) -> String {
        let number = Int.random(in: 0...5, using: &random)
        return [
            "in_port=\(ports.randomElement(using: &random)!)", "dl_src=02:00:00:00:00:0\(number)",
            "dl_dst=00:00:00:00:00:0\(number)/00:00:00:00:00:01", "dl_vlan=\(number * 10)", "dl_vlan_pcp=\(number)",
            "vlan_tci=0x1000/0x1000", "ip", "ipv6", "arp", "tcp", "udp6,tp_dst=0x100/0x100", "ip,nw_frag=first",
            "ip,nw_ttl=0", "tcp,tcp_flags=+ack", "udp,tp_src=0/1", "icmp6", "reg0=\(number & 1)/1", "reg0=\(number)",
            "metadata=\(number & 1)", "pkt_mark=0", "conj_id=0", "actset_output=\(ports[0])", "tun_id=0",
            "ipv6,ipv6_label=0/1", "ip,nw_src=128.0.0.0/1",
        ].randomElement(using: &random)!
    }

    /// An action set, which names groups with lower numbers only.
    private func bucket(below group: Int, _ random: inout SeededGenerator) -> String {
        let port = ports.randomElement(using: &random)!
        let edits = [
            "mod_dl_dst:02:00:00:00:00:03", "mod_nw_src:10.0.0.9", "dec_ttl", "mod_tp_dst:7", "strip_vlan",
            "set_queue:1",
            "push_vlan:0x8100", "load:2->NXM_NX_REG0[]", "load:1->NXM_OF_ARP_OP[]", "set_field:::1->ipv6_dst",
            "move:NXM_OF_IP_SRC[0..2]->NXM_NX_REG0[0..2]", "set_field:1->icmp_type", "set_field:9->tcp_src",
        ]
        let last = [
            "output:\(port)", "output:\(port)", "NORMAL", "FLOOD", "IN_PORT",
            "resubmit(,\(Int.random(in: 1...3, using: &random)))", "set_tunnel:1",
            group > 1 ? "group:\(Int.random(in: 1..<group, using: &random))" : "ALL",
        ]
        let count = Int.random(in: 0...2, using: &random)
        return ((0..<count).map { _ in edits.randomElement(using: &random)! } + [last.randomElement(using: &random)!])
            .joined(separator: ",")
    }

    private func list(_ random: inout SeededGenerator) -> String {
        var actions = (0..<Int.random(in: 1...4, using: &random)).map { _ in action(&random) }
        if Int.random(in: 0..<6, using: &random) == 0 {
            let length = [59, 60, 100, 200].randomElement(using: &random)!
            actions.append(
                "check_pkt_larger(\(length))->NXM_NX_REG0[0],resubmit(,\(Int.random(in: 1...3, using: &random)))"
            )
        }
        return actions.joined(separator: ",")
    }

    private func action(_ random: inout SeededGenerator) -> String {
        let port = ports.randomElement(using: &random)!
        let number = Int.random(in: 0...5, using: &random)
        var choices = [
            "output:\(port)", "output:\(port)", "output:\(port)", "IN_PORT", "FLOOD", "NORMAL", "NORMAL",
            "output(port=\(port),max_len=\(14 + 20 * number))", "output:NXM_NX_REG0[0..2]", "exit",
            "mod_dl_dst:02:00:00:00:00:0\(number)", "mod_dl_src:02:00:00:00:00:0\(number)",
            "mod_vlan_vid:\(number * 10)",
            "strip_vlan", "push_vlan:0x88a8", "load:\(number)->NXM_NX_REG0[]", "load:\(number)->OXM_OF_METADATA[]",
            "move:NXM_OF_ETH_SRC[0..2]->NXM_NX_REG0[0..2]", "push:NXM_OF_ETH_SRC[]", "pop:NXM_OF_ETH_DST[]",
            "resubmit(,\(Int.random(in: 1...3, using: &random)))",
            "resubmit(\(port),\(Int.random(in: 1...3, using: &random)))",
            "load:1->NXM_NX_PKT_MARK[]", "load:\(port)->NXM_OF_IN_PORT[]", "set_tunnel:\(number)",
            "clone(mod_dl_dst:02:00:00:00:00:0\(number),strip_vlan,output:\(port))",
            "clone(check_pkt_larger(80)->NXM_NX_REG0[1],output:NXM_NX_REG0[0..1])",
        ]
        choices += Array(repeating: "group:\(Int.random(in: 1...Self.groupCount, using: &random))", count: 3)
        return choices.randomElement(using: &random)!
    }

    /// What has its place behind actions; actions that end them are in a flow of their own then.
    private func instructions(after table: Int, _ random: inout SeededGenerator) -> String {
        var text = Int.random(in: 0..<8, using: &random) == 0 ? ",clear_actions" : ""
        if Int.random(in: 0..<3, using: &random) == 0 {
            let port = ports.randomElement(using: &random)!
            let members = [
                "output:\(port)", "group:\(Int.random(in: 1...Self.groupCount, using: &random))", "NORMAL",
                "mod_dl_dst:02:00:00:00:00:01,output:\(port)", "load:1->NXM_NX_REG0[]", "resubmit(,3)",
            ]
            text += ",write_actions(\(members.randomElement(using: &random)!))"
        }
        if table < 3 && Int.random(in: 0..<4, using: &random) == 0 { text += ",goto_table:\(table + 1)" }
        return text
    }
}
