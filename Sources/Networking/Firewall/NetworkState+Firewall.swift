import Wire

// Security groups and anti-spoofing in the tables of Neutron's openvswitch firewall: README.md beside this has the list.
extension NetworkState {
    /// What all ports share. But for fragments nothing here tracks connections: hosts without security groups do not.
    func addFirewallBase(to flows: inout FlowList) {
        flows.integration(
            "table=73,priority=0 actions=goto_table:94",
            "table=81,priority=100,arp actions=goto_table:92",
            "table=81,priority=95,udp,tp_src=67,tp_dst=68 actions=goto_table:92",
            "table=81,priority=95,udp6,tp_src=547,tp_dst=546 actions=goto_table:92",
            "table=81,priority=80,ip actions=goto_table:82",
            "table=81,priority=80,ipv6 actions=goto_table:82",
            "table=91,priority=0 actions=goto_table:94",
            "table=92,priority=0 actions=output:NXM_NX_REG5[0..15]",
            "table=93,priority=0 actions=drop",
            "table=94,priority=0 actions=NORMAL"
        )
        for type in [130, 134, 135, 136] {
            flows.integration("table=81,priority=100,icmp6,icmp_type=\(type) actions=goto_table:92")
        }
        addRefusals(to: &flows)
    }

    /// What no port may send or receive whatever its groups say, and the ends of the tables: each says what was wrong.
    private func addRefusals(to flows: inout FlowList) {
        flows.refuse(
            .dhcpServer,
            "table=71,priority=70,udp,tp_src=67,tp_dst=68",
            "table=71,priority=70,udp6,tp_src=547,tp_dst=546"
        )
        refuseFragmentedDHCP(to: &flows)
        // Else a rule that allows all ICMP would let a station be any router or neighbor.
        flows.refuse(.routerAdvertisement, "table=71,priority=70,icmp6,icmp_type=134")
        for type in [133, 135, 136] { flows.refuse(.spoofedND, "table=71,priority=70,icmp6,icmp_type=\(type)") }
        for match in Self.linkInfrastructure { flows.refuse(.infrastructure, "table=71,priority=20,\(match)") }
        flows.refuse(.spoofedMAC, "table=71,priority=0")
        // Of a MAC address that the station has, and an address that it has not.
        flows.refuse(.spoofedARP, "table=74,priority=1,arp", "table=74,priority=1,rarp")
        flows.refuse(.spoofedIP, "table=74,priority=1,ip", "table=74,priority=1,ipv6")
        flows.refuse(.notIP, "table=74,priority=0", "table=81,priority=0")
        flows.refuse(.noEgressRule, "table=72,priority=0")
        flows.refuse(.noIngressRule, "table=82,priority=0")
    }

    /// Flows match no ports of fragments; the first one of a datagram that is tracked has those of its conversation.
    private func refuseFragmentedDHCP(to flows: inout FlowList) {
        for (kind, server, client) in [("udp", 67, 68), ("udp6", 547, 546)] {
            flows.integration(
                "table=71,priority=69,ct_state=-trk,\(kind),nw_frag=yes actions=ct(table=71,zone=NXM_NX_REG6[0..15])"
            )
            let first = "table=71,priority=70,\(kind),nw_frag=first,ct_nw_proto=17"
            flows.refuse(
                .dhcpServer,
                "\(first),ct_state=+trk-inv,ct_tp_src=\(server),ct_tp_dst=\(client)",
                "\(first),ct_state=+rpl+trk-inv,ct_tp_src=\(client),ct_tp_dst=\(server)"
            )
        }
    }

    /// What switches and routers tell each other, and a guest must not tell the physical network: LLDP, the addresses that
    /// bridges keep to themselves (IEEE 802.1Q table 8-1), Cisco's, and BFD (RFC 5881, 5883).
    static let infrastructure =
        linkInfrastructure + [
            "udp,tp_dst=0xec8/0xfffe", "udp6,tp_dst=0xec8/0xfffe", "udp,tp_dst=4784", "udp6,tp_dst=4784",
        ]

    /// What of it is not IP.
    private static let linkInfrastructure = [
        "dl_type=0x88cc", "dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0", "dl_dst=01:00:0c:cc:cc:cc/ff:ff:ff:ff:ff:fe",
    ]

    /// The filter of a port with a device here.
    func addFilter(of port: PortDocument, to flows: inout FlowList) {
        guard port.interface(on: hostName) != nil, let vlan = localVLANs[port.network] else { return }
        let groups = port.security.groups.compactMap { securityGroups[$0] }
        let filter = PortFilter(port: port, vlan: vlan, groups: groups)
        for line in filter.lines { flows.integration(line) }
        for (refusal, line) in filter.refusals { flows.add(Self.integrationBridge, line, refusal) }
    }

    /// The way of frames to a station here, from other hosts and from ports here, to the filter of its port.
    func addStation(_ station: Station, to flows: inout FlowList) {
        let ports = filteredPorts(with: station)
        guard !ports.isEmpty, let vlan = localVLANs[station.network] else { return }
        let loads = ports.map(PortFilter.loads)
        // A router's virtual address (RFC 9568) is several ports': each has the frame, if its filter lets it.
        let ways =
            ports.count == 1 ? "\(loads[0]),goto_table:81" : loads.map { "\($0),resubmit(,81)" }.joined(separator: ",")
        flows.integration(
            "table=60,priority=90,dl_vlan=\(vlan),dl_dst=\(station.mac) "
                + "actions=\(PortFilter.loads(vlan)),strip_vlan,\(ways)",
            "table=73,priority=100,reg6=\(hex(UInt32(vlan.value))),dl_dst=\(station.mac) actions=\(ways)"
        )
    }

    /// Whose own address it is has it; otherwise those that may have it beside theirs.
    private func filteredPorts(with station: Station) -> [PortDocument] {
        let holders = (security.holders[station] ?? []).sorted().compactMap { ports[$0] }
        let owners = holders.filter { $0.mac == station.mac }
        return (owners.isEmpty ? holders : owners).filter(\.isFiltered)
    }

    // MARK: - Address sets

    /// What the names of address sets begin with that are there for documents.
    public static let addressSetPrefix = "group."

    /// The address set of a group's members. Its name has no colon, which an id may have.
    static func addressSet(of group: String) -> String {
        let name =
            group.contains { "_:".contains($0) }
            ? group.replacing("_", with: "__").replacing(":", with: "_.") : group
        return addressSetPrefix + name
    }

    /// Whether a rule names a group, so that it has an address set.
    func hasAddressSet(_ group: String) -> Bool { here != nil && security.groups[group]?.naming.isEmpty == false }
}
