import Flows
import Testing
import Wire

@testable import Networking

/// A cloud of this host and two others.
struct Cloud {
    var state = NetworkState(hostName: "here")

    static let hosts = """
        {"type": "host", "id": "here", "tunnel_address": "192.0.2.1", "bridge_mappings": {"physnet1": "br-eth1"}}
        {"type": "host", "id": "b", "tunnel_address": "192.0.2.2"}
        {"type": "host", "id": "c", "tunnel_address": "192.0.2.3"}
        {"type": "network", "id": "blue", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450}
        """

    static func port(_ id: String, _ number: Int, on host: String?, _ network: String = "blue", more: String = "")
        -> String
    {
        let bound = host.map { ", \"host\": \"\($0)\"" } ?? ""
        let mac = "fa:16:3e:00:00:" + (number < 16 ? "0" : "") + String(number, radix: 16)
        return "{\"type\": \"port\", \"id\": \"\(id)\", \"network_id\": \"\(network)\", \"mac_address\": \"\(mac)\", "
            + "\"fixed_ips\": [{\"ip_address\": \"10.0.0.\(number)\", \"subnet_id\": \"s\"}]\(bound)\(more)}"
    }

    @discardableResult
    mutating func apply(_ text: String, isSnapshot: Bool = false, revision: UInt64? = nil) throws -> NetworkChange {
        try state.apply(try DocumentText.changes(text), isSnapshot: isSnapshot, revision: revision)
    }

    /// The flows of a table, sorted.
    func flows(_ bridge: String, table: Int, of change: NetworkChange) -> [String] {
        change.flows.added.filter { $0.bridge == bridge && $0.line.hasPrefix("table=\(table),") }.map(\.line).sorted()
    }

    static func refusal(_ text: String, after first: String = hosts) -> String {
        var cloud = Cloud()
        do {
            try cloud.apply(first)
            let before = cloud.state
            do {
                try cloud.apply(text)
            } catch {
                #expect(cloud.state.ports == before.ports && cloud.state.networks == before.networks)
                #expect(cloud.state.hosts == before.hosts && cloud.state.members.keys == before.members.keys)
                return "\(error)"
            }
            return "taken"
        } catch {
            return "first: \(error)"
        }
    }
}

struct NetworkTests {
    @Test func stationsElsewhereAreReachedThroughTheirHostsTunnel() throws {
        var cloud = Cloud()
        let text = [Cloud.hosts, Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b")].joined(separator: "\n")
        let change = try cloud.apply(text)
        #expect(
            cloud.flows("br-tun", table: 20, of: change) == [
                "table=20,priority=0 actions=goto_table:22",
                "table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:01 actions=drop",
                "table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:02 actions=strip_vlan,set_tunnel:0x66,"
                    + "set_field:192.0.2.2->tun_dst,output:\"tun-vxlan\"",
            ]
        )
        #expect(
            cloud.flows("br-tun", table: 22, of: change) == [
                "table=22,priority=0 actions=drop",
                "table=22,priority=1,dl_vlan=1 actions=strip_vlan,set_tunnel:0x66,set_field:192.0.2.2->tun_dst,"
                    + "output:\"tun-vxlan\"",
            ]
        )
        #expect(
            cloud.flows("br-tun", table: 4, of: change) == [
                "table=4,priority=0 actions=drop",
                "table=4,priority=1,tun_id=0x66 actions=push_vlan:0x8100,set_field:4097->vlan_vid,goto_table:10",
            ]
        )
    }

    @Test func everyFlowCanBeRead() throws {
        var cloud = Cloud()
        let networks = """
            {"type": "network", "id": "flat", "network_type": "flat", "physical_network": "physnet1"}
            {"type": "network", "id": "red", "network_type": "gre", "segmentation_id": 4294967295}
            {"type": "network", "id": "green", "network_type": "geneve", "segmentation_id": 7}
            """
        let ports = [
            Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b"), Cloud.port("f", 3, on: "here", "flat"),
            Cloud.port("r", 4, on: "here", "red"), Cloud.port("r2", 5, on: "c", "red"),
            Cloud.port("g", 6, on: "here", "green"),
        ]
        let six = """
            {"type": "port", "id": "s", "network_id": "red", "mac_address": "fa:16:3e:00:00:77", "host": "c", \
            "fixed_ips": [{"ip_address": "fd00::77"}]}
            """
        let change = try cloud.apply(([Cloud.hosts, networks] + ports + [six]).joined(separator: "\n"))
        for flow in change.flows.added {
            #expect(throws: Never.self, "\(flow.line)") { try FlowText.flow(flow.line) { _ in 1 } }
        }
    }

    @Test func aPortThatMovesChangesItsOwnFlowsAlone() throws {
        var cloud = Cloud()
        let ports = [Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b"), Cloud.port("b2", 3, on: "b")]
        try cloud.apply(([Cloud.hosts, Cloud.port("c1", 4, on: "c")] + ports).joined(separator: "\n"))
        let change = try cloud.apply(Cloud.port("b1", 2, on: "c"))
        #expect(
            change.flows.added.map(\.line) == [
                "table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:02 actions=strip_vlan,set_tunnel:0x66,"
                    + "set_field:192.0.2.3->tun_dst,output:\"tun-vxlan\""
            ]
        )
        #expect(change.flows.removed.count == 1 && change.ports.added.isEmpty)
    }

    @Test func theLastPortOfAHostTakesItOutOfTheFloodList() throws {
        var cloud = Cloud()
        let ports = [Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b"), Cloud.port("c1", 3, on: "c")]
        try cloud.apply(([Cloud.hosts] + ports).joined(separator: "\n"))
        #expect(cloud.state.floodingEntries(of: "blue").map(\.description) == ["192.0.2.2", "192.0.2.3"])
        let change = try cloud.apply("{\"type\": \"port\", \"id\": \"b1\", \"deleted\": true}")
        #expect(cloud.state.floodingEntries(of: "blue").map(\.description) == ["192.0.2.3"])
        #expect(cloud.flows("br-tun", table: 22, of: change).count == 1)
    }

    @Test func aNetworkWithoutAPortHereHasNoFlowsHere() throws {
        var cloud = Cloud()
        try cloud.apply([Cloud.hosts, Cloud.port("b1", 2, on: "b")].joined(separator: "\n"))
        #expect(cloud.state.localVLAN(of: "blue") == nil)
        let change = try cloud.apply(Cloud.port("a", 1, on: "here"))
        #expect(cloud.flows("br-tun", table: 20, of: change).count == 2)
        let back = try cloud.apply(Cloud.port("a", 1, on: "b"))
        #expect(back.flows.added.isEmpty && Set(back.flows.removed) == Set(change.flows.added))
    }

    @Test func twoNetworksOfOneHostHaveTwoVLANs() throws {
        var cloud = Cloud()
        let red = "{\"type\": \"network\", \"id\": \"red\", \"network_type\": \"vxlan\", \"segmentation_id\": 103}"
        let ports = [Cloud.port("a", 1, on: "here"), Cloud.port("r", 1, on: "here", "red")]
        try cloud.apply(([Cloud.hosts, red] + ports).joined(separator: "\n"))
        #expect(Set(["blue", "red"].map { cloud.state.localVLAN(of: $0)?.value }) == [1, 2])
    }

    @Test func theSameDocumentsTwiceChangeNothing() throws {
        var cloud = Cloud()
        let text = [Cloud.hosts, Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b")].joined(separator: "\n")
        try cloud.apply(text)
        let again = try cloud.apply(text)
        #expect(again.documents.isEmpty && again.flows.added.isEmpty && again.flows.removed.isEmpty)
        #expect(again.ports.added.isEmpty && again.ports.removed.isEmpty)
    }

    @Test func anOlderRevisionIsIgnored() throws {
        var cloud = Cloud()
        try cloud.apply(
            [Cloud.hosts, Cloud.port("a", 1, on: "here", more: ", \"revision\": 5")].joined(separator: "\n")
        )
        #expect(try cloud.apply(Cloud.port("a", 1, on: "b", more: ", \"revision\": 4")).documents.isEmpty)
        #expect(try cloud.apply(Cloud.port("a", 1, on: "b", more: ", \"revision\": 6")).documents.count == 1)
    }

    @Test func aSnapshotTakesAwayWhatItDoesNotName() throws {
        var cloud = Cloud()
        let kept = [Cloud.hosts, Cloud.port("a", 1, on: "here")].joined(separator: "\n")
        let first = try cloud.apply(kept)
        let more = try cloud.apply(Cloud.port("b1", 2, on: "b"))
        let change = try cloud.apply(kept, isSnapshot: true)
        #expect(Set(change.flows.removed) == Set(more.flows.added) && change.documents.map(\.key.id) == ["b1"])
        let all = try cloud.apply("", isSnapshot: true)
        #expect(Set(all.flows.removed) == Set(first.flows.added) && Set(all.ports.removed) == Set(first.ports.added))
    }

    @Test func aChangeThatIsTakenBackLeavesNothing() throws {
        var cloud = Cloud()
        let first = try cloud.apply([Cloud.hosts, Cloud.port("b1", 2, on: "b")].joined(separator: "\n"))
        let change = try cloud.apply(Cloud.port("a", 1, on: "here"))
        cloud.state.revert(change)
        #expect(cloud.state.localVLAN(of: "blue") == nil && cloud.state.ports["a"] == nil)
        let all = try cloud.apply("", isSnapshot: true)
        #expect(Set(all.flows.removed) == Set(first.flows.added))
    }

    @Test func withoutL2PopulationAHostLearnsAndFloodsToAll() throws {
        var cloud = Cloud()
        let here = "{\"type\": \"host\", \"id\": \"here\", \"tunnel_address\": \"192.0.2.1\", \"l2_population\": false}"
        let text = [Cloud.hosts, here, Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b")]
        let change = try cloud.apply(text.joined(separator: "\n"))
        #expect(cloud.flows("br-tun", table: 10, of: change)[0].contains("learn(table=20,hard_timeout=300,priority=1"))
        #expect(cloud.flows("br-tun", table: 20, of: change).count == 1)
        #expect(cloud.flows("br-tun", table: 21, of: change).isEmpty)
        #expect(cloud.state.floodingEntries(of: "blue").map(\.description) == ["192.0.2.2", "192.0.2.3"])
    }

    @Test func aPortThatIsDownIsNowhere() throws {
        var cloud = Cloud()
        let ports = [Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b")]
        try cloud.apply(([Cloud.hosts] + ports).joined(separator: "\n"))
        let change = try cloud.apply(Cloud.port("b1", 2, on: "b", more: ", \"admin_state_up\": false"))
        #expect(change.flows.added.isEmpty && !change.flows.removed.isEmpty)
        #expect(cloud.state.floodingEntries(of: "blue").isEmpty)
    }

    @Test(
        arguments: [
            (
                "{\"type\": \"network\", \"id\": \"n\", \"network_type\": \"vxlan\", \"segmentation_id\": 16777216}",
                "network 'n': segmentation_id 16777216 is outside 1 to 16777215"
            ),
            (
                "{\"type\": \"network\", \"id\": \"n\", \"network_type\": \"vxlan\", \"segmentation_id\": 102}",
                "network 'n': segment vxlan:102 is that of network 'blue'"
            ),
            (Cloud.port("x", 1, on: "b", "none"), "port 'x': network 'none' is unknown: send its document first"),
            (Cloud.port("x", 1, on: "none"), "port 'x': host 'none' is unknown: send its document first"),
            (
                Cloud.port("x", 1, on: "b") + "\n" + Cloud.port("y", 1, on: "b"),
                "is that of port"
            ),
            (
                "{\"type\": \"host\", \"id\": \"d\", \"tunnel_address\": \"192.0.2.2\"}",
                "host 'd': tunnel_address 192.0.2.2 is that of host 'b'"
            ),
            (
                "{\"type\": \"host\", \"id\": \"d\", \"tunnel_address\": \"2001:db8::1\"}",
                "host 'd': tunnel_address 2001:db8::1 is of another kind than 192.0.2.1 of host 'here'"
            ),
            (
                "{\"type\": \"host\", \"id\": \"d\"}\n" + Cloud.port("x", 1, on: "d"),
                "port 'x': host 'd' has no tunnel_address, which network 'blue' needs"
            ),
            (
                "{\"type\": \"network\", \"id\": \"blue\", \"deleted\": true}\n" + Cloud.port("x", 1, on: "b"),
                "network 'blue': port 'x' and 0 others are still there: delete them first"
            ),
            ("{\"type\": \"port\", \"id\": \"x\", \"security_groups\": []}", "key 'network_id' is missing"),
            (
                Cloud.port("x", 1, on: "b", more: ", \"trunk\": []"),
                "port 'x': key 'trunk' is unknown: this martletd does not do what it asks for"
            ),
            ("{\"type\": \"port\"", "it is not JSON: write one object a line"),
            ("[]", "kind"),
            ("{\"type\": \"trunk\", \"id\": \"r\"}", "type 'trunk' is unknown: use one of host, network, subnet, port"),
            ("{\"type\": \"host\", \"id\": \"a b\"}", "id 'a b' is not a name"),
            ("{\"type\": \"host\", \"id\": \"d\", \"schema\": 2}", "host 'd': schema 2 is unknown"),
            ("{\"type\": \"host\", \"id\": \"d\", \"tunnel_types\": [\"stt\"]}", "tunnel_types 'stt' is unknown"),
        ]
    )
    func refusesWhatCannotBe(_ text: String, _ reason: String) {
        #expect(Cloud.refusal(text).contains(reason), "\(Cloud.refusal(text))")
    }
}
