/// What a flow must match before a field means anything (ovs-fields(7), 'Prerequisites').
enum Prerequisite: Sendable {
    case none, vlan, arp, ipv4, ipv6, ip, tcp, udp, sctp, icmpv4, icmpv6, nd, ndSolicitation, ndAdvertisement
    case conntrack

    /// How a message names what is missing.
    var requirement: String {
        switch self {
        case .none: "nothing"
        case .vlan: "a VLAN tag (dl_vlan, or push_vlan before)"
        case .arp: "arp or rarp"
        case .ipv4: "ip"
        case .ipv6: "ipv6"
        case .ip: "ip or ipv6"
        case .tcp: "tcp or tcp6"
        case .udp: "udp or udp6"
        case .sctp: "sctp or sctp6"
        case .icmpv4: "icmp"
        case .icmpv6: "icmp6"
        case .nd: "icmp6 with icmp_type 135 or 136"
        case .ndSolicitation: "icmp6 with icmp_type 135"
        case .ndAdvertisement: "icmp6 with icmp_type 136"
        case .conntrack: "a tracked connection (ct_state with +new, +est, +rel, +rpl, or +trk-inv)"
        }
    }
}

/// What is known of every packet that a flow matches; actions such as push_vlan change it as they are read.
struct PacketFacts {
    var etherType: UInt16 = 0
    var networkProtocol: UInt8 = 0
    var isLaterFragment = false
    var icmpType: UInt16 = 0
    var icmpCode: UInt16 = 0
    /// The type that an action wrote. That which is matched counts too: Open vSwitch goes by it alone.
    var writtenICMPType: UInt16?
    var tci: UInt16 = 0
    var innerTCI: UInt16 = 0
    var ctState: UInt8 = 0
    var ctStateMask: UInt8 = 0
    var hasOriginalProtocol = false

    init() {}

    init(value: FlowKey, mask: FlowKey) {
        etherType = UInt16(truncatingIfNeeded: value.get(.ethType))
        networkProtocol = UInt8(truncatingIfNeeded: value.get(.nwProto))
        isLaterFragment = value.get(.ipFrag) & 2 != 0
        icmpType = UInt16(truncatingIfNeeded: value.get(.tcpSource))
        icmpCode = UInt16(truncatingIfNeeded: value.get(.tcpDestination))
        tci = value.vlanTCI
        innerTCI = value.innerVLANTCI
        ctState = UInt8(truncatingIfNeeded: value.get(.ctState))
        ctStateMask = UInt8(truncatingIfNeeded: mask.get(.ctState))
        hasOriginalProtocol = mask.get(.ctNWProto) != 0
    }

    var isIP: Bool { etherType == 0x0800 || etherType == 0x86dd }
    var hasVLAN: Bool { tci & FlowKey.vlanPresent != 0 }
    private var isARP: Bool { etherType == 0x0806 || etherType == 0x8035 }
    private var isICMPv6: Bool { etherType == 0x86dd && networkProtocol == 58 }
    private var isDiscovery: Bool { isICMPv6 && (icmpType == 135 || icmpType == 136) && icmpCode == 0 }

    mutating func pushTag() {
        innerTCI = tci
        tci = FlowKey.vlanPresent
    }

    mutating func popTag() {
        tci = innerTCI
        innerTCI = 0
    }

    /// Whether an action may use a field that needs `prerequisite`.
    func meets(_ prerequisite: Prerequisite) -> Bool {
        switch prerequisite {
        case .none: true
        case .vlan: hasVLAN
        case .arp: isARP
        case .ipv4: etherType == 0x0800
        case .ipv6: etherType == 0x86dd
        case .ip: isIP
        case .tcp: isIP && networkProtocol == 6 && !isLaterFragment
        case .udp: isIP && networkProtocol == 17 && !isLaterFragment
        case .sctp: isIP && networkProtocol == 132 && !isLaterFragment
        case .icmpv4: etherType == 0x0800 && networkProtocol == 1
        case .icmpv6: isICMPv6
        case .nd: isDiscovery
        case .ndSolicitation: isDiscovery && (icmpType == 135 || writtenICMPType == 135)
        case .ndAdvertisement: isDiscovery && (icmpType == 136 || writtenICMPType == 136)
        case .conntrack: ctState & 0xcf != 0 || ctState & 0x20 != 0 && ctStateMask & 0x10 != 0 && ctState & 0x10 == 0
        }
    }

    /// Whether a match may name `field`, and what it needs when not.
    ///
    /// More than actions may: ovs-ofctl takes any of a slot's names (`udp,tp_src`, `icmp6,icmp_type`, `arp,nw_src`).
    func missing(forMatching field: Field) -> String? {
        switch field {
        case .tcpSource, .tcpDestination, .udpSource, .udpDestination, .sctpSource, .sctpDestination, .icmpType,
            .icmpCode, .icmpv6Type, .icmpv6Code:
            missingForTransport
        case .ipSource, .ipDestination, .arpSPA, .arpTPA: etherType == 0x0800 || isARP ? nil : "ip, arp or rarp"
        case .vlanPCP: nil
        // Without the protocol Open vSwitch does not even print them.
        case .ctTPSource where !hasOriginalProtocol, .ctTPDestination where !hasOriginalProtocol: "ct_nw_proto"
        case .nwProto, .arpOp: isIP || isARP ? nil : "ip, ipv6, arp or rarp"
        case .tcpFlags where isIP && networkProtocol == 6: missingForTransport
        default:
            meets(field.shape.prerequisite) ? nil : field.shape.prerequisite.requirement
        }
    }

    /// Open vSwitch takes ICMP's type and code of later fragments, though no packet has them, and refuses ports.
    private var missingForTransport: String? {
        switch networkProtocol {
        case 6 where isIP, 17 where isIP, 132 where isIP: isLaterFragment ? "another nw_frag than later" : nil
        case 1 where isIP, 58 where isIP: nil
        default: "tcp, udp, sctp, icmp or icmp6"
        }
    }
}
