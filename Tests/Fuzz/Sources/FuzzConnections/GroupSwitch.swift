import Dataplane
import Wire

/// A bridge with the tables of security groups: two ports that are filtered, one that is not, and one whose flows do all else
/// that can be done to connections.
enum GroupSwitch {
    /// So few that floods fill it, and that numbers come again and again.
    private static let capacity = 16
    static let portCount = UInt16(4)

    static let one: FuzzedSwitch = {
        let ports = (0..<portCount).map { PortConfiguration($0, on: "br") }
        let bridge = BridgeConfiguration(name: "br", settings: .init())
        let configuration = SwitchConfiguration(bridges: [bridge], ports: ports)
        return FuzzedSwitch(configuration, connectionCapacity: capacity, flows: ["br": entry + filters + exit])
    }()

    private static let entry = [
        "priority=9,in_port=3,dl_dst=02:00:00:00:00:01 actions=set_field:1->reg5,set_field:7->reg6,goto_table:82",
        "priority=9,in_port=3,dl_dst=02:00:00:00:00:02 actions=set_field:2->reg5,set_field:7->reg6,goto_table:82",
        "priority=8,in_port=3 actions=NORMAL",
        "priority=11,in_port=4,tcp,tp_dst=80/0xfffe actions=ct(commit,zone=7,alg=ftp,table=20)",
        "priority=11,in_port=4,udp,tp_dst=83 actions=ct(commit,zone=7,alg=tftp,table=20)",
        "priority=9,in_port=4,tcp,actions=ct(commit,force,zone=7,table=20,exec(set_field:0x5->ct_mark))",
        "priority=9,in_port=4,udp,actions=ct(commit,zone=NXM_OF_IN_PORT[],table=20,"
            + "exec(set_field:0x1/0x3->ct_label,move:NXM_OF_UDP_SRC[]->NXM_NX_CT_LABEL[64..79]))",
        "priority=8,in_port=4,ip,actions=ct(zone=7,table=20),ct(commit,zone=8,table=21)",
        "priority=8,in_port=4,ipv6,actions=ct(zone=7,table=20),ct(commit,force,zone=8,table=21)",
        "priority=10,in_port=4,udp,tp_dst=80/0xfff0 "
            + "actions=ct(commit,zone=5,nat(src=10.0.0.66-10.0.0.67:80-81),table=22)",
        "priority=10,in_port=4,icmp actions=ct(zone=5,nat,table=22)",
        "table=22,priority=2,ip,nw_src=10.0.0.66 actions=ct(commit,zone=7,nat(dst=10.0.0.8),table=20)",
        "table=22,priority=1,ip actions=ct(zone=5,nat,table=21)",
        "table=20,ip,ct_state=+new actions=output:3,ct_clear,ct(table=21,zone=7)",
        "table=20,priority=9,ip actions=mod_nw_dst:10.0.0.9,ct(commit,table=21,zone=6)",
        "table=20,priority=8,ipv6 actions=ct(table=21,zone=NXM_NX_CT_MARK[0..15])",
        "table=21,ct_label=0x1/0x1 actions=output:1", "table=21,priority=0 actions=output:2",
    ]

    /// What documents of two ports make, with rules for some services.
    private static let filters: [String] = (1...2).flatMap { port in
        ways(port) + filter(port, table: 72, next: 73) + filter(port, table: 82, next: 92)
            + commits(port, family: "ip") + commits(port, family: "ipv6")
    }

    private static func ways(_ port: Int) -> [String] {
        [
            "priority=9,in_port=\(port) actions=set_field:\(port)->reg5,set_field:7->reg6,goto_table:72",
            "table=73,priority=100,dl_dst=02:00:00:00:00:0\(port) actions=set_field:\(port)->reg5,goto_table:82",
        ]
    }

    private static func commits(_ port: Int, family: String) -> [String] {
        let head = "ct_state=+new-est,\(family),reg5=\(port) actions=ct(commit,\(zone))"
        return ["table=73,priority=90,\(head),goto_table:91", "table=92,priority=1,\(head),output:NXM_NX_REG5[0..15]"]
    }

    private static let zone = "zone=NXM_NX_REG6[0..15]"

    private static func filter(_ port: Int, table: Int, next: Int) -> [String] {
        let head = "table=\(table),reg5=\(port)"
        let families = ["ip", "ipv6"].flatMap { family in
            [
                "\(head),priority=80,ct_state=-trk,\(family) actions=ct(table=\(table),\(zone))",
                "\(head),priority=40,ct_state=+est,\(family) "
                    + "actions=ct(commit,\(zone),exec(set_field:0x1->ct_mark)),goto_table:93",
            ]
        }
        let rules = ["tcp,tp_dst=80/0xfff8", "tcp6,tp_dst=80", "udp", "icmp", "icmp6", "sctp"]
        return families + rules.map { "\(head),priority=60,\($0) actions=goto_table:\(next)" } + [
            "\(head),priority=70,ct_state=+inv+trk actions=goto_table:93",
            "\(head),priority=70,ct_mark=0x1 actions=goto_table:93",
            "\(head),priority=65,ct_state=+est-rel+rpl actions=goto_table:\(next)",
            "\(head),priority=65,ct_state=+rel actions=goto_table:\(next)",
        ]
    }

    private static let exit = [
        "table=73,priority=0 actions=goto_table:91", "table=91,priority=0 actions=NORMAL",
        "table=92,priority=0 actions=output:NXM_NX_REG5[0..15]", "table=93,priority=0 actions=drop",
    ]

    // MARK: - What is left

    /// Ends all connections, and has as many begin as there may be: no number is lost.
    static func settle() {
        flush()
        for number in 0..<capacity { one.receive([datagram(from: UInt16(1 + number))], from: 0) }
        let count = one.dataplane.connectionStatistics.count
        precondition(count == UInt64(capacity), "numbers of connections are lost")
        flush()
    }

    private static func flush() {
        _ = one.dataplane.flushConnections(ConnectionFilter())
        precondition(one.dataplane.connectionStatistics.count == 0, "connections are left")
    }

    private static func datagram(from port: UInt16) -> Frame {
        CraftedPacket(isIPv6: false, from: 0, to: 2, number: IPProtocol.udp, content: CraftedPacket.udp(port, 53)).frame
    }
}
