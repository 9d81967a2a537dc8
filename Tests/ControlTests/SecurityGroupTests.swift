import Dataplane
import Flows
import Foundation
import Testing

@testable import Control

/// Security groups as the command line shows them, and what their ports drop.
@Suite struct SecurityGroupTests {
    private static let host = "{\"type\": \"host\", \"id\": \"here\"}"
    private static let network = "{\"type\": \"network\", \"id\": \"n\", \"network_type\": \"local\"}"

    private static func port(_ number: Int, _ group: String, on host: String = "here") -> String {
        "{\"type\": \"port\", \"id\": \"p\(number)\", \"network_id\": \"n\", \"host\": \"\(host)\", "
            + "\"mac_address\": \"fa:16:3e:00:00:0\(number)\", \"fixed_ips\": [{\"ip_address\": \"10.0.0.\(number)\"}], "
            + "\"security_groups\": [\"\(group)\"], \"vif\": {\"type\": \"ring\"}}"
    }

    private static func group(_ id: String, _ rules: String, more: String = "") -> String {
        "{\"type\": \"security_group\", \"id\": \"\(id)\", \"rules\": [\(rules)]\(more)}"
    }

    private static func rule(_ words: String, direction: String = "ingress") -> String {
        "{\"direction\": \"\(direction)\", \"ethertype\": \"IPv4\"\(words)}"
    }

    private static let web = rule(
        ", \"protocol\": \"tcp\", \"port_range_min\": 80, \"port_range_max\": 81, \"id\": \"r1\""
    )
    private static let documents = [
        host, "{\"type\": \"host\", \"id\": \"b\"}", network, port(1, "g1"), port(2, "g1", on: "b"), port(3, "g2"),
        group(
            "g1",
            "\(web), \(rule(", \"protocol\": \"icmp\", \"port_range_min\": 8")), \(rule("", direction: "egress"))",
            more: ", \"name\": \"web\""
        ),
        group("g2", rule(", \"remote_group_id\": \"g1\""), more: ", \"name\": \"db\", \"stateful\": false"),
    ]

    private static func populated() async throws -> Bench {
        let bench = try Bench()
        _ = try await bench.control.applyNetwork(NetworkApply(documents: documents.joined(separator: "\n")))
        return bench
    }

    @Test func groupsAreListedByNameWithWhatTheyComeTo() async throws {
        let bench = try await Self.populated()
        let groups = try await bench.control.listSecurityGroups(SecurityGroupList()).groups
        #expect(groups.map(\.name) == ["db", "web"] && groups.map(\.stateful) == [false, true])
        #expect(groups.map(\.rules) == [1, 3] && groups.map(\.ports) == [1, 1] && groups.map(\.members) == [1, 2])
        // Ports 80 and 81 are one block.
        #expect(groups.map(\.flows) == [1, 3])
        #expect(bench.dump("br-int", table: 82).filter { $0.contains("priority=60,") }.count == 2)
        let own = try await bench.control.listSecurityGroups(SecurityGroupList(port: "p2")).groups
        #expect(own.map(\.id) == ["g1"])
        await #expect(throws: Refusal.self) { try await bench.control.listSecurityGroups(SecurityGroupList(port: "x")) }
    }

    @Test func aGroupIsShownWithRulesPortsAndMembers() async throws {
        let bench = try await Self.populated()
        let web = try await bench.control.showSecurityGroup(SecurityGroupShow(id: "web"))
        #expect(web.rules.map(\.protocol) == ["tcp", "icmp", nil] && web.rules.map(\.id) == ["r1", nil, nil])
        #expect(web.rules.map(\.least) == [80, 8, nil] && web.rules.map(\.greatest) == [81, nil, nil])
        #expect(web.ports.map(\.id) == ["p1"] && web.ports.map(\.port) == ["vhup1"])
        #expect(web.members == ["g1": ["10.0.0.1", "10.0.0.2"]])
        let database = try await bench.control.showSecurityGroup(SecurityGroupShow(id: "g2"))
        #expect(database.rules[0].remoteGroup == "g1")
        #expect(database.members == ["g1": ["10.0.0.1", "10.0.0.2"], "g2": ["10.0.0.3"]])
        await #expect(throws: Refusal.self) { try await bench.control.showSecurityGroup(SecurityGroupShow(id: "mail")) }
    }

    // MARK: - Drops

    private static let own = "in_port=vhup1,dl_src=fa:16:3e:00:00:01,dl_dst=fa:16:3e:00:00:03"

    @Test(
        arguments: [
            ("in_port=vhup1,ip,dl_src=fa:16:3e:00:00:09", [], "spoofed_mac"),
            (own + ",ip,nw_src=10.0.0.9", [], "spoofed_ip"),
            (own + ",arp,arp_op=1,arp_spa=10.0.0.9", [], "spoofed_arp"),
            (own + ",icmp6,icmp_type=136,icmp_code=0,nd_target=fd00::9", [], "spoofed_nd"),
            (own + ",icmp6,icmp_type=134", [], "router_advertisement"),
            (own + ",udp,nw_src=10.0.0.1,tp_src=67,tp_dst=68", [], "dhcp_server"),
            (own + ",dl_type=0x88cc", [], "infrastructure"),
            (own + ",dl_type=0x88b5", [], "not_ip"),
            (own + ",dl_vlan=5,ip,nw_src=10.0.0.1", [], "guest_tag"),
            ("in_port=vhup3,ip,dl_src=fa:16:3e:00:00:03,nw_src=10.0.0.3", [], "no_egress_rule"),
            (own + ",tcp,nw_src=10.0.0.1,nw_dst=10.0.0.3", ["trk,inv"], "invalid_state"),
        ] as [(String, [String], String)]
    )
    func aDropHasTheNameOfWhatWasWrong(_ packet: String, _ states: [String], _ reason: String) async throws {
        let bench = try await Self.populated()
        let listing = try await bench.control.trace(Trace(bridge: "br-int", packet: packet, ctNext: states))
        #expect(listing.response.drop == reason, "\(listing.response.lines.joined(separator: "\n"))")
    }

    @Test func theReceiversFilterNamesItToo() async throws {
        let bench = try await Self.populated()
        // It leaves p3 when that may send all; p1 takes two ports.
        let more = Self.group("g2", Self.rule("", direction: "egress"), more: ", \"stateful\": false")
        _ = try await bench.control.applyNetwork(NetworkApply(documents: more))
        let packet =
            "in_port=vhup3,tcp,dl_src=fa:16:3e:00:00:03,dl_dst=fa:16:3e:00:00:01,nw_src=10.0.0.3,nw_dst=10.0.0.1,tp_dst="
        func trace(_ port: Int, _ state: String) async throws -> Trace.Response {
            let request = Trace(bridge: "br-int", packet: packet + "\(port)", ctNext: [state])
            return try await bench.control.trace(request).response
        }
        #expect(try await trace(80, "new").outputs.map(\.port) == ["vhup1"])
        #expect(try await trace(82, "new").drop == "no_ingress_rule")
        #expect(try await trace(82, "est").drop == "ended_connection")
        #expect(try await trace(82, "est,rpl").outputs.map(\.port) == ["vhup1"])
        await #expect(throws: Refusal.self) { _ = try await trace(80, "new,est") }
    }

    @Test func theFlowsSayItInTheirCookies() async throws {
        let bench = try await Self.populated()
        let flows = try await bench.control.listing(FlowDump(bridge: "br-int", match: "table=71")).response.flows ?? []
        let last = try #require(flows.last)
        #expect(last.priority == 0 && last.cookie == "0x16d6172746c6574" && last.actions == "goto_table:93")
        #expect(flows.contains { $0.cookie == "0x6d6172746c6574" })
    }

    // MARK: - Doctor

    @Test func aTableThatIsNearlyFullIsSaidToBe() {
        func finding(_ count: UInt64, _ capacity: UInt64, memory: UInt64 = 8 << 30) -> Finding {
            var tracked = ConnectionStatistics()
            (tracked.created, tracked.capacity) = (count, capacity)
            return Switch.finding(of: tracked, memory: memory)
        }
        #expect(finding(899_999, 1_000_000).ok && finding(0, 1_000_000).ok)
        let full = finding(900_000, 1_000_000)
        #expect(!full.ok && !full.stops && full.message.contains("--connections 2000000, which takes up to 488 MB"))
        let large = finding(0, 100_000_000)
        #expect(!large.ok && large.message.contains("24414 MB of the machine's 8192 MB"), "\(large.message)")
    }

    // MARK: - Bad input

    private static let bad: [(String, String)] = [
        (rule(", \"protocol\": \"tcp\", \"port_range_min\": 9, \"port_range_max\": 3"), "rules.0.port_range_min"),
        (rule(", \"protocol\": \"256\""), "rules.0.protocol"),
        (rule(", \"protocol\": \"icmp\", \"port_range_max\": 3"), "rules.0.port_range_min"),
        (rule(", \"protocol\": \"icmp\", \"port_range_min\": 256"), "rules.0.port_range_min"),
        (rule(", \"protocol\": \"tcp\", \"port_range_max\": 65536"), "rules.0.port_range_max"),
        (rule(", \"port_range_min\": 80"), "rules.0.protocol"),
        (rule(", \"remote_ip_prefix\": \"10.0.0.1/24\""), "rules.0.remote_ip_prefix"),
        (rule(", \"remote_ip_prefix\": \"fd00::/64\""), "rules.0.remote_ip_prefix"),
        (rule(", \"remote_ip_prefix\": \"10.0.0.0/33\""), "rules.0.remote_ip_prefix"),
        (rule(", \"remote_group_id\": \"nobody\""), "rules.0.remote_group_id"),
        (rule("", direction: "sideways"), "rules.0.direction"),
    ]

    @Test(arguments: bad, [false, true])
    func aRuleThatCannotBeIsRefused(_ bad: (rule: String, field: String), isSnapshot: Bool) async throws {
        let bench = try await Self.populated()
        let before = try await bench.everything()
        let flows = bench.dump("br-int", table: 82)
        let text = [Self.host, Self.network, Self.group("g3", Self.rule("")), Self.group("g1", bad.rule)]
        let refusal = await #expect(throws: FlowRefusal.self) {
            _ = try await bench.control.applyNetwork(
                NetworkApply(documents: text.joined(separator: "\n"), snapshot: isSnapshot)
            )
        }
        #expect(refusal?.line == 4 && refusal?.reason.contains("g1") == true, "\(String(describing: refusal))")
        #expect(try await bench.everything() == before)
        #expect(bench.dump("br-int", table: 82) == flows)
        #expect(try await bench.control.listSecurityGroups(SecurityGroupList()).groups.count == 2)
    }
}
