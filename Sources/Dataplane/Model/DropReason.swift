/// Why a packet was not sent. Every packet that does not leave is counted under one of these, on one port:
/// the port it came from or, from `noBuffer` on, the port it was meant for.
///
/// To add a reason, add a case here: counters, `martletctl stats drops` and the metrics follow.
public enum DropReason: Int, Sendable, CaseIterable {
    /// Shorter than an Ethernet header (14 bytes).
    case runt
    /// The first segment of a scattered packet does not hold the Ethernet header and its tags.
    case scatteredHeader
    /// A tag's TPID with no tag behind it.
    case truncatedTag
    /// VLAN 4095, reserved by IEEE Std 802.1Q-2022 clause 9.6.
    case reservedVLAN
    /// A VLAN that the port does not carry, or a tagged frame on an access port.
    case vlanNotCarried
    /// The source address is a group address or all zeros.
    case invalidSource
    /// The destination is one of 01-80-C2-00-00-00 to -0F and the bridge does not relay those.
    case reservedAddress
    /// The destination station is behind the port that the frame came from.
    case samePort
    /// No other port of the bridge carries the VLAN.
    case noOtherPort
    /// The port is not plugged into a bridge.
    case noBridge
    /// The flows say so, or no flow matched; the flow says no more about it (`NetworkCookie`).
    case flowDrop
    /// A filtered port's station is none with that MAC address.
    case spoofedMAC
    /// It has the MAC address, but not the address that its packet comes from.
    case spoofedIP
    /// The same of what it says in ARP or RARP.
    case spoofedARP
    /// The same of what it says in neighbor discovery.
    case spoofedND
    /// A guest plays DHCP server.
    case dhcpServer
    /// A guest plays router.
    case routerAdvertisement
    /// Neither IP nor ARP, for which there are no rules.
    case notIP
    /// A guest puts a tag of its own on its frames.
    case guestTag
    /// No rule of its port's security groups allows the station to send it.
    case noEgressRule
    /// No rule of the receiving port's security groups allows it.
    case noIngressRule
    /// The tracker cannot make sense of it.
    case invalidState
    /// The rule that allowed its conversation is gone.
    case endedConnection
    /// What switches and routers tell each other (LLDP, BPDU, BFD), from a guest.
    case infrastructure
    /// The flows lead back to each other without end.
    case flowLoop
    /// The flows edit, send or push more than a program holds.
    case flowTooLong
    /// Its time to live ran out.
    case timeToLive
    /// A flow rejects the packet, and has its sender told.
    case rejected
    /// A connection would have begun, and its zone, or the table, is full.
    case connectionLimit
    /// A connection would have begun, and whatever its addresses and ports may become is another's.
    case translationExhausted
    /// A fragment that was to be tracked with its datagram, beyond those of its port for which a worker has room.
    case fragmentRoom
    /// A fragment whose datagram was not whole in time.
    case fragmentExpired
    /// Beyond the rate of a meter.
    case meter
    /// New connections beyond what a burst may bring.
    case missBudget
    /// A packet for an endpoint whose tunnel header is cut short, lies, or is of a kind that is not taken.
    case tunnelHeader
    /// A checksum of a tunnel's that is wrong.
    case tunnelChecksum
    /// A Geneve option that must be understood.
    case tunnelOption
    /// A fragment of a tunnel's packet, whose endpoint does not put fragments together.
    case tunnelFragment
    /// A fragment that is cut short or reaches beyond the longest packet; or those of a packet that overlap, come twice or
    /// are too many.
    case tunnelFragmentInvalid
    /// A fragment beyond those that a worker keeps for an endpoint.
    case tunnelFragmentRoom
    /// A tunnel's packet that says to come from the switch itself.
    case tunnelLoop
    /// No tunnel port takes the packet: of its sender, or of its network.
    case tunnelUnknown
    /// More senders, networks and traffic classes behind tunnels than a worker tells apart.
    case tunnelSources
    /// It met congestion on its way through a tunnel, and is of a connection that understands only loss (RFC 6040 section
    /// 4.2).
    case tunnelCongestion
    /// A tunnel within a tunnel.
    case tunnelNested
    /// The tunnel has no remote address for the packet, no endpoint, or no way there.
    case tunnelNoPath
    /// For an endpoint, or in its name, from where nothing of the kind may come.
    case endpointForbidden
    /// No mbuf was left for a copy.
    case noBuffer
    /// No room in front of the frame for a tag or a tunnel's headers.
    case noHeadroom
    /// A fragment whose packet was not whole in time.
    case tunnelFragmentExpired
    /// The station of the next hop is not known yet.
    case neighborUnknown
    /// A customer VLAN that the output port, a dot1q-tunnel, does not carry.
    case transmitNotCarried
    /// Longer than the output port's MTU allows.
    case transmitTooLong
    /// The output port has no link or no guest.
    case transmitDown
    /// The output port's queue was full.
    case transmitFull

    /// Whether packets are counted on the port that they were meant for.
    public var isOfOutput: Bool { rawValue >= DropReason.noBuffer.rawValue }

    /// The name in counters and commands.
    public var name: String {
        switch self {
        case .runt: "runt"
        case .scatteredHeader: "scattered_header"
        case .truncatedTag: "truncated_tag"
        case .reservedVLAN: "reserved_vlan"
        case .vlanNotCarried: "vlan_not_carried"
        case .invalidSource: "invalid_source"
        case .reservedAddress: "reserved_address"
        case .samePort: "same_port"
        case .noOtherPort: "no_other_port"
        case .noBridge: "no_bridge"
        case .flowDrop: "flow_drop"
        case .spoofedMAC: "spoofed_mac"
        case .spoofedIP: "spoofed_ip"
        case .spoofedARP: "spoofed_arp"
        case .spoofedND: "spoofed_nd"
        case .dhcpServer: "dhcp_server"
        case .routerAdvertisement: "router_advertisement"
        case .notIP: "not_ip"
        case .guestTag: "guest_tag"
        case .noEgressRule: "no_egress_rule"
        case .noIngressRule: "no_ingress_rule"
        case .invalidState: "invalid_state"
        case .endedConnection: "ended_connection"
        case .infrastructure: "infrastructure"
        case .flowLoop: "flow_loop"
        case .flowTooLong: "flow_too_long"
        case .timeToLive: "time_to_live"
        case .rejected: "rejected"
        case .connectionLimit: "connection_limit"
        case .translationExhausted: "translation_exhausted"
        case .fragmentRoom: "fragment_room"
        case .fragmentExpired: "fragment_expired"
        case .meter: "meter"
        case .missBudget: "miss_budget"
        case .tunnelHeader: "tunnel_header"
        case .tunnelChecksum: "tunnel_checksum"
        case .tunnelOption: "tunnel_option"
        case .tunnelFragment: "tunnel_fragment"
        case .tunnelFragmentInvalid: "tunnel_fragment_invalid"
        case .tunnelFragmentRoom: "tunnel_fragment_room"
        case .tunnelLoop: "tunnel_loop"
        case .tunnelUnknown: "tunnel_unknown"
        case .tunnelSources: "tunnel_sources"
        case .tunnelCongestion: "tunnel_congestion"
        case .tunnelNested: "tunnel_nested"
        case .tunnelNoPath: "tunnel_no_path"
        case .endpointForbidden: "endpoint_forbidden"
        case .noBuffer: "no_buffer"
        case .noHeadroom: "no_headroom"
        case .tunnelFragmentExpired: "tunnel_fragment_expired"
        case .neighborUnknown: "neighbor_unknown"
        case .transmitNotCarried: "transmit_not_carried"
        case .transmitTooLong: "transmit_too_long"
        case .transmitDown: "transmit_down"
        case .transmitFull: "transmit_full"
        }
    }
}

/// What a port has counted since it was added, summed over the workers. Bytes are of frames as on the wire,
/// frame check sequence not counted.
public struct PortCounters: Hashable, Sendable {
    public var receivedPackets: UInt64 = 0
    public var receivedBytes: UInt64 = 0
    public var transmittedPackets: UInt64 = 0
    public var transmittedBytes: UInt64 = 0
    /// Indexed by `DropReason.rawValue`.
    public var drops = [UInt64](repeating: 0, count: DropReason.allCases.count)

    public init() {}

    public var dropped: UInt64 { drops.reduce(0, +) }
}
