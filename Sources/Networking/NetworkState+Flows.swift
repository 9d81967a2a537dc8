public import Wire

// The flows of a host in the tables that operators know from Neutron's Open vSwitch agent: README.md beside this has the
// list. Written in the words of ovs-ofctl, for that is what they are dumped in.
extension NetworkState {
    static let integrationBridge = "br-int"
    static let tunnelBridge = "br-tun"
    /// Of a physical network's bridge: what leaves without a tag.
    static let untaggedTable = 4

    func flows(of unit: Unit) -> [BridgeFlow] {
        guard let here else { return [] }
        var flows = FlowList()
        switch unit {
        case .base: addBase(here, to: &flows)
        case .host(let id): hosts[id].map { addHost($0, here, to: &flows) }
        case .network(let id): networks[id].map { addNetwork($0, here, to: &flows) }
        case .port(let id):
            if let port = ports[id] {
                addPort(port, here, to: &flows)
                addFilter(of: port, to: &flows)
            }
        case .station(let station): addStation(station, to: &flows)
        }
        return flows.flows
    }

    // MARK: - What every host has

    private func addBase(_ here: HostDocument, to flows: inout FlowList) {
        flows.integration(
            "table=0,priority=0 actions=goto_table:58",
            "table=58,priority=0 actions=goto_table:59",
            "table=59,priority=0 actions=goto_table:60",
            "table=60,priority=1 actions=NORMAL"
        )
        addFirewallBase(to: &flows)
        for bridge in here.bridgeMappings.values {
            flows.integration("table=0,priority=2,in_port=\"int-\(bridge)\" actions=drop")
            flows.add(bridge, "table=0,priority=2,in_port=\"phy-\(bridge)\" actions=drop")
            for match in Self.infrastructure {
                let line = "table=0,priority=5,in_port=\"phy-\(bridge)\",\(match) actions=drop"
                flows.add(bridge, line, .infrastructure)
            }
            // A tag that a guest hid behind an empty one (IEEE 802.1Q clause 9.6) would be the frame's own now.
            flows.add(bridge, "table=\(Self.untaggedTable),priority=1,vlan_tci=0x0000/0x1fff actions=NORMAL")
            flows.add(bridge, "table=\(Self.untaggedTable),priority=0 actions=drop")
        }
        guard here.tunnelAddress != nil else { return }
        addTunnelBase(here, to: &flows)
        if here.answers { addResponderBase(here, to: &flows) }
    }

    private func addTunnelBase(_ here: HostDocument, to flows: inout FlowList) {
        let unknown = here.hasL2Population && here.unknownAddresses == .drop ? "drop" : "goto_table:22"
        flows.tunnel(
            "table=0,priority=1,in_port=\"patch-int\" actions=goto_table:2",
            "table=0,priority=0 actions=drop",
            "table=2,priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=goto_table:20",
            "table=2,priority=0,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=goto_table:22",
            "table=10,priority=1 actions=\(here.learns)output:\"patch-int\"",
            "table=20,priority=0 actions=\(unknown)",
            "table=22,priority=0 actions=drop"
        )
        for type in here.tunnelTypes { flows.tunnel("table=\(type.table),priority=0 actions=drop") }
    }

    /// Requests are answered, or go where others are; who asks whether an address is his own is no stranger's to answer
    /// with flows (RFC 4862 section 5.4: such a solicitation has no source, and its answer goes to all).
    private func addResponderBase(_ here: HostDocument, to flows: inout FlowList) {
        flows.tunnel(
            "table=2,priority=1,arp,dl_dst=ff:ff:ff:ff:ff:ff actions=goto_table:21",
            "table=2,priority=1,icmp6,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,icmp_type=135 actions=goto_table:21",
            "table=21,priority=2,icmp6,ipv6_src=::,icmp_type=135 actions=goto_table:22",
            "table=21,priority=0 actions=\(here.unknownAddresses == .drop ? "drop" : "goto_table:22")"
        )
    }

    /// Tunnels of hosts that are known, and of nobody else.
    private func addHost(_ host: HostDocument, _ here: HostDocument, to flows: inout FlowList) {
        guard host.id != hostName, here.tunnelAddress != nil, let address = host.tunnelAddress else { return }
        for type in here.tunnelTypes.intersection(host.tunnelTypes) {
            let match = "in_port=\"\(type.port)\",\(address.tunnelSource)=\(address)"
            flows.tunnel("table=0,priority=1,\(match) actions=goto_table:\(type.table)")
        }
    }

    // MARK: - Networks

    private func addNetwork(_ network: NetworkDocument, _ here: HostDocument, to flows: inout FlowList) {
        guard let vlan = localVLANs[network.id] else { return }
        switch network.segment {
        case .local: break
        case .flat(let physical):
            guard let bridge = here.bridgeMappings[physical] else { return }
            let match = "in_port=\"int-\(bridge)\",vlan_tci=0x0000/0x1fff"
            flows.integration("table=0,priority=3,\(match) actions=mod_vlan_vid:\(vlan),goto_table:58")
            let out = "table=0,priority=4,in_port=\"phy-\(bridge)\",dl_vlan=\(vlan)"
            flows.add(bridge, "\(out) actions=strip_vlan,goto_table:\(Self.untaggedTable)")
        case .vlan(let physical, let segment):
            guard let bridge = here.bridgeMappings[physical] else { return }
            let match = "in_port=\"int-\(bridge)\",dl_vlan=\(segment)"
            flows.integration("table=0,priority=3,\(match) actions=mod_vlan_vid:\(vlan),goto_table:58")
            let out = "in_port=\"phy-\(bridge)\",dl_vlan=\(vlan)"
            flows.add(bridge, "table=0,priority=4,\(out) actions=mod_vlan_vid:\(segment),NORMAL")
        case .tunnel(let type, let key):
            let tag = "push_vlan:0x8100,set_field:\(0x1000 | vlan.value)->vlan_vid"
            flows.tunnel("table=\(type.table),priority=1,tun_id=\(hex(key)) actions=\(tag),goto_table:10")
            addFloodList(of: network.id, vlan, type, key, to: &flows)
        }
    }

    private func addFloodList(
        of network: String,
        _ vlan: VLANID,
        _ type: TunnelNetworkType,
        _ key: UInt32,
        to flows: inout FlowList
    ) {
        let addresses = floodingEntries(of: network)
        guard !addresses.isEmpty else { return }
        let outputs = addresses.map { ",\($0.setsTunnelDestination),output:\"\(type.port)\"" }.joined()
        flows.tunnel("table=22,priority=1,dl_vlan=\(vlan) actions=strip_vlan,set_tunnel:\(hex(key))\(outputs)")
    }

    /// Where this host sends what is for all stations of a network: to the other hosts that hold it; without l2population
    /// to all that might.
    public func floodingEntries(of network: String) -> [IPAddress] {
        guard let here, localVLANs[network] != nil, let type = networks[network]?.segment.tunnelType else { return [] }
        let all = here.hasL2Population ? (members[network]?.placed.keys).map(Array.init) ?? [] : Array(hosts.keys)
        return all.filter { $0 != hostName }.compactMap { hosts[$0] }.filter { $0.tunnelTypes.contains(type) }
            .compactMap(\.tunnelAddress).sorted { $0.value < $1.value }
    }

    // MARK: - Ports

    private func addPort(_ port: PortDocument, _ here: HostDocument, to flows: inout FlowList) {
        guard here.hasL2Population, here.tunnelAddress != nil, let vlan = localVLANs[port.network],
            let place = port.place,
            case .tunnel(let type, let key)? = networks[port.network]?.segment,
            let address = hosts[place]?.tunnelAddress
        else { return }
        let isHere = place == hostName
        let way = "strip_vlan,set_tunnel:\(hex(key)),\(address.setsTunnelDestination),output:\"\(type.port)\""
        // The integration bridge floods what it has not learned: it is not for other hosts.
        flows.tunnel("table=20,priority=2,dl_vlan=\(vlan),dl_dst=\(port.mac) actions=\(isHere ? "drop" : way)")
        guard here.answers else { return }
        for address in port.addresses {
            addResponder(for: address, of: port, vlan, isHere: isHere, to: &flows)
        }
    }

    /// The station itself answers where it is; and who announces an address (RFC 5227 section 2.3) asks nobody.
    private func addResponder(
        for address: IPAddress,
        of port: PortDocument,
        _ vlan: VLANID,
        isHere: Bool,
        to flows: inout FlowList
    ) {
        guard address.isIPv4 else {
            let match =
                "icmp6,dl_vlan=\(vlan),nw_ttl=255,icmp_type=135,icmp_code=0,nd_target=\(address),nd_options_type=1"
            let answer = isHere ? "drop" : Self.advertisement(address, port.mac)
            return flows.tunnel("table=21,priority=1,\(match) actions=\(answer)")
        }
        let match = "table=21,priority=1,arp,dl_vlan=\(vlan),arp_tpa=\(address),arp_op=1"
        let announcement = "table=21,priority=2,arp,dl_vlan=\(vlan),arp_spa=\(address),arp_tpa=\(address)"
        flows.tunnel(
            "\(match) actions=\(isHere ? "drop" : Self.reply(address, port.mac))",
            "\(announcement) actions=goto_table:22"
        )
    }

    /// Makes a request the reply to it (RFC 826).
    private static func reply(_ address: IPAddress, _ mac: MACAddress) -> String {
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:\(mac),load:0x2->NXM_OF_ARP_OP[]"
            + ",move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]"
            + ",set_field:\(mac)->arp_sha,set_field:\(address)->arp_spa,IN_PORT"
    }

    /// Makes a solicitation the solicited, overriding advertisement (RFC 4861 section 7.2.4).
    private static func advertisement(_ address: IPAddress, _ mac: MACAddress) -> String {
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:\(mac),move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[]"
            + ",set_field:\(address)->ipv6_src,set_field:136->icmpv6_type,set_field:0x60000000->nd_reserved"
            + ",set_field:2->nd_options_type,set_field:\(mac)->nd_tll,IN_PORT"
    }
}

/// Flows by bridge.
struct FlowList {
    private(set) var flows: [BridgeFlow] = []

    mutating func add(_ bridge: String, _ line: String, _ refusal: FilterRefusal? = nil) {
        flows.append(BridgeFlow(bridge: bridge, line: line, refusal: refusal))
    }

    mutating func integration(_ lines: String...) { for line in lines { add(NetworkState.integrationBridge, line) } }

    /// Of packets that are refused: to the table that drops them.
    mutating func refuse(_ refusal: FilterRefusal, _ matches: String...) {
        for match in matches { add(NetworkState.integrationBridge, "\(match) actions=goto_table:93", refusal) }
    }

    mutating func tunnel(_ lines: String...) { for line in lines { add(NetworkState.tunnelBridge, line) } }
}

func hex(_ number: UInt32) -> String { "0x" + String(number, radix: 16) }

extension HostDocument {
    fileprivate var answers: Bool { hasL2Population && hasARPResponder }

    /// Without l2population a host learns where stations are from what comes out of tunnels.
    fileprivate var learns: String {
        guard !hasL2Population, let tunnelAddress else { return "" }
        let (width, copy) =
            tunnelAddress.isIPv4
            ? ("NXM_NX_TUN_IPV4_SRC[]", "NXM_NX_TUN_IPV4_DST[]") : ("NXM_NX_TUN_IPV6_SRC[]", "NXM_NX_TUN_IPV6_DST[]")
        return "learn(table=20,hard_timeout=300,priority=1,NXM_OF_VLAN_TCI[0..11]"
            + ",NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[]"
            + ",load:\(width)->\(copy),output:OXM_OF_IN_PORT[]),"
    }
}

extension IPAddress {
    fileprivate var tunnelSource: String { isIPv4 ? "tun_src" : "tun_ipv6_src" }

    fileprivate var setsTunnelDestination: String { "set_field:\(self)->\(isIPv4 ? "tun_dst" : "tun_ipv6_dst")" }
}
