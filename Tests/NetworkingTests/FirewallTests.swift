import Flows
import Seeds
import Testing
import Wire

@testable import Networking

/// Security groups and anti-spoofing, as flows and as what the flows do.
struct FirewallTests {
    static let host = "{\"type\": \"host\", \"id\": \"here\"}"
    static let network = "{\"type\": \"network\", \"id\": \"n\", \"network_type\": \"local\"}"
    static let all = "{\"direction\": \"egress\", \"ethertype\": \"IPv4\"}"

    static func group(_ id: String, _ rules: String..., more: String = "") -> String {
        "{\"type\": \"security_group\", \"id\": \"\(id)\", \"rules\": [\(rules.joined(separator: ", "))]\(more)}"
    }

    static func ingress(_ protocolName: String, _ more: String = "", family: String = "IPv4") -> String {
        "{\"direction\": \"ingress\", \"ethertype\": \"\(family)\", \"protocol\": \"\(protocolName)\"\(more)}"
    }

    /// A port with a device here, or on a host that is elsewhere.
    static func port(_ id: String, _ number: Int, _ groups: [String] = [], on host: String = "here", more: String = "")
        -> String
    {
        let names = groups.map { "\"\($0)\"" }.joined(separator: ", ")
        let words = ", \"security_groups\": [\(names)], \"vif\": {\"type\": \"ring\"}" + more
        return Cloud.port(id, number, on: host, "n", more: words)
    }

    private static func pair(_ address: String, _ mac: String) -> String {
        ", \"allowed_address_pairs\": [{\"ip_address\": \"\(address)\", \"mac_address\": \"\(mac)\"}]"
    }

    private static func cloud(_ documents: String...) throws -> (Cloud, NetworkChange) {
        var cloud = Cloud()
        let change = try cloud.apply(([host, network] + documents).joined(separator: "\n"))
        return (cloud, change)
    }

    // MARK: - Flows

    @Test func aPortHasTheFlowsOfItsGroup() throws {
        let ports = ", \"port_range_min\": 8000, \"port_range_max\": 8010, \"remote_ip_prefix\": \"192.0.2.0/24\""
        let (cloud, change) = try Self.cloud(
            Self.group("g", Self.all, Self.ingress("tcp", ports), Self.ingress("icmp")),
            Self.port("a", 1, ["g"])
        )
        #expect(
            cloud.flows("br-int", table: 60, of: change) == [
                "table=60,priority=1 actions=NORMAL",
                "table=60,priority=100,in_port=\"vhua\",vlan_tci=0x0000/0x0fff "
                    + "actions=set_field:\"vhua\"->reg5,set_field:0x1->reg6,goto_table:71",
                "table=60,priority=90,dl_vlan=1,dl_dst=fa:16:3e:00:00:01 "
                    + "actions=set_field:0x1->reg6,strip_vlan,set_field:\"vhua\"->reg5,goto_table:81",
                "table=60,priority=95,in_port=\"vhua\" actions=goto_table:93",
            ]
        )
        let zone = "zone=NXM_NX_REG6[0..15]"
        #expect(
            cloud.flows("br-int", table: 82, of: change) == [
                "table=82,priority=0 actions=goto_table:93",
                "table=82,priority=40,ct_state=+est,ip,nw_frag=no,reg5=\"vhua\" "
                    + "actions=ct(commit,\(zone),exec(set_field:0x1->ct_mark)),goto_table:93",
                "table=82,priority=40,ct_state=+est,ipv6,nw_frag=no,reg5=\"vhua\" "
                    + "actions=ct(commit,\(zone),exec(set_field:0x1->ct_mark)),goto_table:93",
                "table=82,priority=60,reg5=\"vhua\",icmp actions=goto_table:92",
                "table=82,priority=60,reg5=\"vhua\",tcp,tp_dst=0x1f40/0xfff8,nw_src=192.0.2.0/24 actions=goto_table:92",
                "table=82,priority=60,reg5=\"vhua\",tcp,tp_dst=0x1f48/0xfffe,nw_src=192.0.2.0/24 actions=goto_table:92",
                "table=82,priority=60,reg5=\"vhua\",tcp,tp_dst=8010,nw_src=192.0.2.0/24 actions=goto_table:92",
                "table=82,priority=65,ct_state=+est-rel+rpl,reg5=\"vhua\" actions=goto_table:92",
                "table=82,priority=65,ct_state=+rel,reg5=\"vhua\" actions=goto_table:92",
                "table=82,priority=70,ct_mark=0x1,reg5=\"vhua\" actions=goto_table:93",
                "table=82,priority=70,ct_state=+inv+trk,reg5=\"vhua\" actions=goto_table:93",
                "table=82,priority=80,ct_state=-trk,ip,reg5=\"vhua\" actions=ct(table=82,\(zone))",
                "table=82,priority=80,ct_state=-trk,ipv6,reg5=\"vhua\" actions=ct(table=82,\(zone))",
            ]
        )
        #expect(
            cloud.flows("br-int", table: 92, of: change) == [
                "table=92,priority=0 actions=output:NXM_NX_REG5[0..15]",
                "table=92,priority=1,ct_state=+new-est,ip,reg5=\"vhua\" actions=ct(commit,\(zone)),output:\"vhua\"",
                "table=92,priority=1,ct_state=+new-est,ipv6,reg5=\"vhua\" actions=ct(commit,\(zone)),output:\"vhua\"",
            ]
        )
    }

    @Test func aStationMayBeWhoItsPortSays() throws {
        let pair = Self.pair("10.1.0.0/24", "fa:16:3e:00:00:99")
        let (cloud, change) = try Self.cloud(Self.port("a", 1, more: pair))
        let flows = cloud.flows("br-int", table: 71, of: change)
        let macs = ["fa:16:3e:00:00:01", "fa:16:3e:00:00:99"]
        let (own, other) = ("in_port=\"vhua\",dl_src=\(macs[0])", "in_port=\"vhua\",dl_src=\(macs[1])")
        #expect(
            flows.filter { $0.contains("priority=65,") } == [
                "table=71,priority=65,ip,\(own),nw_src=10.0.0.1 actions=goto_table:72",
                "table=71,priority=65,ip,\(other),nw_src=10.1.0.0/24 actions=goto_table:72",
                "table=71,priority=65,ipv6,\(own),ipv6_src=fe80::f816:3eff:fe00:1 actions=goto_table:72",
                "table=71,priority=65,ipv6,\(other),ipv6_src=fe80::f816:3eff:fe00:99 actions=goto_table:72",
            ]
        )
        #expect(
            flows.filter { $0.contains(",arp,") } == [
                "table=71,priority=95,arp,\(own),arp_spa=0.0.0.0,arp_op=1,arp_sha=\(macs[0]) actions=goto_table:94",
                "table=71,priority=95,arp,\(own),arp_spa=10.0.0.1,arp_sha=\(macs[0]) actions=goto_table:94",
                "table=71,priority=95,arp,\(other),arp_spa=0.0.0.0,arp_op=1,arp_sha=\(macs[1]) actions=goto_table:94",
                "table=71,priority=95,arp,\(other),arp_spa=10.1.0.0/24,arp_sha=\(macs[1]) actions=goto_table:94",
            ]
        )
    }

    @Test(arguments: ["\"port_security_enabled\": false", "\"device_owner\": \"network:dhcp\""])
    func aPortThatIsTrustedIsNotFiltered(_ words: String) throws {
        let (cloud, change) = try Self.cloud(Self.port("a", 1, more: ", \(words)"))
        #expect(
            cloud.flows("br-int", table: 60, of: change) == [
                "table=60,priority=1 actions=NORMAL",
                "table=60,priority=100,in_port=\"vhua\",vlan_tci=0x0000/0x0fff "
                    + "actions=set_field:0x1->reg6,goto_table:73",
            ]
        )
        #expect(change.flows.added.allSatisfy { !$0.line.contains("reg5=") })
    }

    @Test func aVirtualAddressOfSeveralPortsGoesThroughTheFilterOfEach() throws {
        let pair = Self.pair("10.0.0.99", "00:00:5e:00:01:01")
        let (cloud, change) = try Self.cloud(Self.port("a", 1, more: pair), Self.port("b", 2, more: pair))
        #expect(
            cloud.flows("br-int", table: 73, of: change)[1]
                == "table=73,priority=100,reg6=0x1,dl_dst=00:00:5e:00:01:01 "
                + "actions=set_field:\"vhua\"->reg5,resubmit(,81),set_field:\"vhub\"->reg5,resubmit(,81)"
        )
    }

    @Test func guestsTellThePhysicalNetworkNothingThatSwitchesSay() throws {
        var cloud = Cloud()
        let flows = cloud.flows("br-eth1", table: 0, of: try cloud.apply(Cloud.hosts))
        let dropped = flows.filter { $0.hasPrefix("table=0,priority=5,in_port=\"phy-br-eth1\",") }
        #expect(dropped.contains { $0.contains("dl_type=0x88cc actions=drop") })
        #expect(dropped.count == 7 && dropped.allSatisfy { $0.hasSuffix(" actions=drop") })
    }

    /// Neutron's tables end with table 93; what went wrong is in the flows that lead there.
    @Test func whateverEndsSaysWhy() throws {
        let (_, change) = try Self.cloud(Self.group("g", Self.all, Self.ingress("tcp")), Self.port("a", 1, ["g"]))
        let ends = change.flows.added.filter { $0.line.hasSuffix("goto_table:93") }
        #expect(Set(ends.map(\.refusal)) == Set(FilterRefusal.allCases.map(Optional.some)))
        let others = change.flows.added.filter { !$0.line.hasSuffix("goto_table:93") && $0.bridge == "br-int" }
        #expect(others.allSatisfy { $0.refusal == nil })
    }

    @Test(arguments: seeds)
    func blocksHaveEachPortOfARangeOnce(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            let ends = (0..<2).map { _ in UInt16.random(in: 0...(.max), using: &random) }.sorted()
            let range = ends[0]...ends[1]
            let blocks = PortBlock.blocks(of: range)
            for port in UInt16.min...UInt16.max {
                let count = blocks.count { port & $0.mask == $0.first }
                if count != (range.contains(port) ? 1 : 0) { return #expect(Bool(false), "\(port) of \(range)") }
            }
        }
    }

    @Test(
        arguments: [
            (0...65_535, 1), (1...65_535, 16), (22...22, 1), (8000...8010, 3), (1...65_534, 30), (65_535...65_535, 1),
        ]
    )
    func rangesAreAsFewBlocksAsCanBe(_ range: ClosedRange<UInt16>, _ count: Int) {
        #expect(PortBlock.blocks(of: range).count == count)
    }

    // MARK: - Address sets

    @Test func oneMemberMoreIsOneChangeOfOneSet() throws {
        let named = Self.ingress("tcp", ", \"remote_group_id\": \"g\"")
        var (cloud, first) = try Self.cloud(
            "{\"type\": \"host\", \"id\": \"b\"}",
            Self.group("g", named, Self.ingress("udp", ", \"remote_group_id\": \"g\"")),
            Self.port("a", 1, ["g"])
        )
        #expect(first.addressSets.map(\.name) == ["group.g"] && first.addressSets[0].fate == .comes)
        #expect(first.addressSets[0].added.map(\.description) == ["10.0.0.1/32"])
        #expect(cloud.flows("br-int", table: 82, of: first).count { $0.contains("nw_src=$group.g") } == 2)

        let change = try cloud.apply(Self.port("m", 2, ["g"], on: "b"))
        #expect(change.addressSets.map(\.fate) == [.stays])
        #expect(change.flows.added.isEmpty && change.flows.removed.isEmpty)
        #expect(change.addressSets[0].added.map(\.description) == ["10.0.0.2/32"])

        // Another network's member with the same address.
        let red = Cloud.port("r", 2, on: "b", "red", more: ", \"security_groups\": [\"g\"]")
        let local = "{\"type\": \"network\", \"id\": \"red\", \"network_type\": \"local\"}"
        #expect(try cloud.apply(local + "\n" + red).addressSets.isEmpty)
        let gone = "{\"type\": \"port\", \"id\": \"m\", \"deleted\": true}"
        #expect(try cloud.apply(gone).addressSets.isEmpty)
        let last = try cloud.apply(gone.replacing("\"m\"", with: "\"r\""))
        #expect(last.addressSets[0].removed.map(\.description) == ["10.0.0.2/32"])

        let unnamed = try cloud.apply(Self.group("g", Self.ingress("tcp")))
        #expect(unnamed.addressSets.map(\.fate) == [.goes])
    }

    @Test func namesOfSetsDiffer() {
        #expect(Set(["a:b", "a_b", "a_.b", "a.b", "a__b"].map(NetworkState.addressSet)).count == 5)
        #expect(NetworkState.addressSet(of: "a:b_c") == "group.a_.b__c")
    }

    // MARK: - Refusals

    @Test(
        arguments: [
            (
                port("a", 1, ["x"]), "security_groups",
                "port 'a': security group 'x' is unknown: send its document first"
            ),
            (
                group("g", all, ingress("tcp", ", \"remote_group_id\": \"x\"")), "rules.1.remote_group_id",
                "security_group 'g': security group 'x' is unknown: send its document first"
            ),
            (
                group("g", ingress("tcp", ", \"remote_ip_prefix\": \"10.0.0.1/24\"")), "rules.0.remote_ip_prefix",
                "remote_ip_prefix '10.0.0.1/24' has bits beyond its length: write the network's address"
            ),
            (group("g", ingress("256")), "rules.0.protocol", "protocol '256' is unknown"),
            (
                group("g", ingress("icmp", ", \"port_range_max\": 3")), "rules.0.port_range_min",
                "a code of ICMP (port_range_max) needs a type (port_range_min)"
            ),
            (
                group("g", ingress("tcp", ", \"port_range_min\": 9, \"port_range_max\": 3")), "rules.0.port_range_min",
                "port_range_min 9 is above port_range_max 3"
            ),
            (
                "{\"type\": \"security_group\", \"id\": \"used\", \"deleted\": true}", nil,
                "security_group 'used': port 'u' and 0 others are still there: delete them first"
            ),
            (
                "{\"type\": \"security_group\", \"id\": \"named\", \"deleted\": true}", nil,
                "security_group 'named': security_group 'used' and 0 others are still there: delete them first"
            ),
        ]
    )
    func refusesWhatCannotBe(_ text: String, _ field: String?, _ reason: String) throws {
        var (cloud, _) = try Self.cloud(
            Self.group("named"),
            Self.group("used", Self.ingress("udp", ", \"remote_group_id\": \"named\"")),
            Self.port("u", 9, ["used"])
        )
        do {
            try cloud.apply(text)
            #expect(Bool(false), "taken")
        } catch {
            let refusal = try #require(error as? DocumentRefusal)
            #expect(refusal.field == field && refusal.description.contains(reason), "\(refusal)")
        }
        #expect(Set(cloud.state.securityGroups.keys) == ["named", "used"])
    }

    @Test func theOrderOfDocumentsMeansNothing() throws {
        var cloud = Cloud()
        let documents = [
            Self.port("a", 1, ["g"]), Self.group("g", Self.ingress("tcp", ", \"remote_group_id\": \"h\"")),
            Self.group("h"), Self.network, Self.host,
        ]
        try cloud.apply(documents.joined(separator: "\n"))
        let names = [("port", "a"), ("security_group", "h"), ("security_group", "g")]
        try cloud.apply(
            names.map { "{\"type\": \"\($0.0)\", \"id\": \"\($0.1)\", \"deleted\": true}" }.joined(separator: "\n")
        )
        #expect(cloud.state.security.groups.isEmpty && cloud.state.security.holders.isEmpty)
    }

    @Test func aPortElsewhereNeedsNoGroupHere() throws {
        _ = try Self.cloud("{\"type\": \"host\", \"id\": \"b\"}", Self.port("a", 1, ["x"], on: "b"))
    }
}
