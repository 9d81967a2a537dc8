// The rows, by family; `FieldProperties.init(_:)` picks the family, so each `default` below is the family's last row.
// The order of words is in FlowKey.swift.
extension FieldProperties {
    static func register(_ number: Int) -> FieldProperties {
        FieldProperties(
            "reg\(number)",
            oxm: ["NXM_NX_REG\(number)"],
            .hexadecimal,
            FieldSlot(FlowKey.registers + number / 2, number % 2 == 0 ? 32 : 0, 32)
        )
    }

    static func origin(_ field: Field) -> FieldProperties {
        switch field {
        case .inPort:
            .init("in_port", oxm: ["NXM_OF_IN_PORT"], .port, .init(0, 32, 16), maskable: false)
        case .inPortOXM:
            .init("in_port_oxm", oxm: ["OXM_OF_IN_PORT"], .port, .init(0, 32, 32), maskable: false)
        case .actsetOutput:
            .init(
                "actset_output",
                oxm: ["ONFOXM_ET_ACTSET_OUTPUT", "OXM_OF_ACTSET_OUTPUT"],
                .port,
                .init(18, 32, 32),
                maskable: false,
                writable: false
            )
        case .pktMark: .init("pkt_mark", oxm: ["NXM_NX_PKT_MARK"], .hexadecimal, .init(17, 32, 32))
        case .conjID:
            .init("conj_id", oxm: ["NXM_NX_CONJ_ID"], .decimal, .init(17, 0, 32), maskable: false, writable: false)
        default: .init("metadata", oxm: ["OXM_OF_METADATA"], .hexadecimal, .init(8, 0, 64))
        }
    }

    static func tunnel(_ field: Field) -> FieldProperties {
        switch field {
        case .tunID:
            .init(
                "tun_id",
                aka: ["tunnel_id"],
                oxm: ["NXM_NX_TUN_ID", "OXM_OF_TUNNEL_ID"],
                .hexadecimal,
                .init(6, 0, 64)
            )
        case .tunSource: .init("tun_src", oxm: ["NXM_NX_TUN_IPV4_SRC"], .ipv4, .init(7, 32, 32))
        case .tunDestination: .init("tun_dst", oxm: ["NXM_NX_TUN_IPV4_DST"], .ipv4, .init(7, 0, 32))
        case .tunIPv6Source: .init("tun_ipv6_src", oxm: ["NXM_NX_TUN_IPV6_SRC"], .ipv6, .init(35, 0, 128))
        case .tunIPv6Destination: .init("tun_ipv6_dst", oxm: ["NXM_NX_TUN_IPV6_DST"], .ipv6, .init(37, 0, 128))
        case .tunTOS: .init("tun_tos", .decimal, .init(25, 8, 8), maskable: false, writable: false)
        default: .init("tun_ttl", .decimal, .init(25, 0, 8), maskable: false, writable: false)
        }
    }

    static func conntrack(_ field: Field) -> FieldProperties {
        switch field {
        case .ctState:
            .init("ct_state", oxm: ["NXM_NX_CT_STATE"], .ctState, .init(5, 0, 8), width: 32, writable: false)
        case .ctZone:
            .init("ct_zone", oxm: ["NXM_NX_CT_ZONE"], .hexadecimal, .init(5, 16, 16), maskable: false, writable: false)
        case .ctMark: .init("ct_mark", oxm: ["NXM_NX_CT_MARK"], .hexadecimal, .init(5, 32, 32))
        case .ctLabel: .init("ct_label", oxm: ["NXM_NX_CT_LABEL"], .hexadecimal, .init(27, 0, 128))
        case .ctNWProto:
            .original("ct_nw_proto", "NXM_NX_CT_NW_PROTO", .decimal, .init(26, 8, 8), maskable: false)
        case .ctNWSource: .original("ct_nw_src", "NXM_NX_CT_NW_SRC", .ipv4, .init(29, 32, 32))
        case .ctNWDestination: .original("ct_nw_dst", "NXM_NX_CT_NW_DST", .ipv4, .init(29, 0, 32))
        case .ctIPv6Source: .original("ct_ipv6_src", "NXM_NX_CT_IPV6_SRC", .ipv6, .init(31, 0, 128))
        case .ctIPv6Destination: .original("ct_ipv6_dst", "NXM_NX_CT_IPV6_DST", .ipv6, .init(33, 0, 128))
        case .ctTPSource: .original("ct_tp_src", "NXM_NX_CT_TP_SRC", .decimal, .init(30, 16, 16))
        default: .original("ct_tp_dst", "NXM_NX_CT_TP_DST", .decimal, .init(30, 0, 16))
        }
    }

    /// A field of the connection's original direction.
    private static func original(
        _ name: String,
        _ oxm: String,
        _ format: FieldFormat,
        _ slot: FieldSlot,
        maskable: Bool = true
    ) -> FieldProperties {
        .init(name, oxm: [oxm], format, slot, maskable: maskable, writable: false, needs: .conntrack)
    }

    static func ethernet(_ field: Field) -> FieldProperties {
        switch field {
        case .ethSource:
            .init("eth_src", aka: ["dl_src"], oxm: ["NXM_OF_ETH_SRC", "OXM_OF_ETH_SRC"], .ethernet, .init(2, 16, 48))
        case .ethDestination:
            .init("eth_dst", aka: ["dl_dst"], oxm: ["NXM_OF_ETH_DST", "OXM_OF_ETH_DST"], .ethernet, .init(1, 16, 48))
        case .ethType:
            .init(
                "eth_type",
                aka: ["dl_type"],
                oxm: ["NXM_OF_ETH_TYPE", "OXM_OF_ETH_TYPE"],
                .hexadecimal,
                .init(0, 16, 16),
                maskable: false,
                writable: false
            )
        case .vlanTCI: .init("vlan_tci", oxm: ["NXM_OF_VLAN_TCI"], .hexadecimal, .init(0, 0, 16))
        case .dlVLAN: .init("dl_vlan", .decimal, .init(0, 0, 12), maskable: false, limit: 0xfff)
        // The value has the present bit of `vlan_tci` above the twelve of the VID, as in OpenFlow 1.2.
        case .vlanVID:
            .init("vlan_vid", oxm: ["OXM_OF_VLAN_VID"], .decimal, .init(0, 0, 13), width: 12, limit: 0x1fff)
        case .dlVLANPCP: .init("dl_vlan_pcp", .decimal, .init(0, 13, 3), maskable: false)
        default:
            .init(
                "vlan_pcp",
                oxm: ["OXM_OF_VLAN_PCP"],
                .decimal,
                .init(0, 13, 3),
                maskable: false,
                needs: .vlan
            )
        }
    }

    static func network(_ field: Field) -> FieldProperties {
        switch field {
        case .ipSource:
            .init(
                "ip_src",
                aka: ["nw_src"],
                oxm: ["NXM_OF_IP_SRC", "OXM_OF_IPV4_SRC"],
                .ipv4,
                .init(3, 32, 32),
                needs: .ipv4
            )
        case .ipDestination:
            .init(
                "ip_dst",
                aka: ["nw_dst"],
                oxm: ["NXM_OF_IP_DST", "OXM_OF_IPV4_DST"],
                .ipv4,
                .init(3, 0, 32),
                needs: .ipv4
            )
        case .ipv6Source:
            .init("ipv6_src", oxm: ["NXM_NX_IPV6_SRC", "OXM_OF_IPV6_SRC"], .ipv6, .init(19, 0, 128), needs: .ipv6)
        case .ipv6Destination:
            .init("ipv6_dst", oxm: ["NXM_NX_IPV6_DST", "OXM_OF_IPV6_DST"], .ipv6, .init(21, 0, 128), needs: .ipv6)
        case .ipv6Label:
            .init(
                "ipv6_label",
                oxm: ["NXM_NX_IPV6_LABEL", "OXM_OF_IPV6_FLABEL"],
                .hexadecimal,
                .init(18, 0, 20),
                needs: .ipv6
            )
        default: .header(field)
        }
    }

    /// Fields that the headers of IPv4 and IPv6 both have.
    private static func header(_ field: Field) -> FieldProperties {
        switch field {
        case .nwProto:
            .init(
                "nw_proto",
                aka: ["ip_proto"],
                oxm: ["NXM_OF_IP_PROTO", "OXM_OF_IP_PROTO"],
                .decimal,
                .init(2, 8, 8),
                maskable: false,
                writable: false,
                needs: .ip
            )
        case .nwTOS: .inHeader("nw_tos", ["NXM_OF_IP_TOS"], .init(4, 8, 8), limit: 0xfc)
        case .ipDSCP: .inHeader("ip_dscp", ["OXM_OF_IP_DSCP"], .init(4, 10, 6))
        case .nwECN: .inHeader("nw_ecn", aka: ["ip_ecn"], ["NXM_NX_IP_ECN", "OXM_OF_IP_ECN"], .init(4, 8, 2))
        case .nwTTL: .inHeader("nw_ttl", ["NXM_NX_IP_TTL"], .init(4, 0, 8))
        default:
            .init(
                "ip_frag",
                aka: ["nw_frag"],
                oxm: ["NXM_NX_IP_FRAG"],
                .frag,
                .init(2, 0, 2),
                writable: false,
                needs: .ip
            )
        }
    }

    private static func inHeader(
        _ name: String,
        aka aliases: [String] = [],
        _ oxm: [String],
        _ slot: FieldSlot,
        limit: UInt128? = nil
    ) -> FieldProperties {
        .init(name, aka: aliases, oxm: oxm, .decimal, slot, maskable: false, needs: .ip, limit: limit)
    }

    static func arp(_ field: Field) -> FieldProperties {
        switch field {
        // Sixteen bits on the wire, but Open vSwitch keeps and matches only the lower eight.
        case .arpOp:
            .init(
                "arp_op",
                oxm: ["NXM_OF_ARP_OP", "OXM_OF_ARP_OP"],
                .decimal,
                .init(2, 8, 8),
                width: 16,
                maskable: false,
                needs: .arp
            )
        case .arpSPA:
            .init("arp_spa", oxm: ["NXM_OF_ARP_SPA", "OXM_OF_ARP_SPA"], .ipv4, .init(3, 32, 32), needs: .arp)
        case .arpTPA: .init("arp_tpa", oxm: ["NXM_OF_ARP_TPA", "OXM_OF_ARP_TPA"], .ipv4, .init(3, 0, 32), needs: .arp)
        case .arpSHA:
            .init("arp_sha", oxm: ["NXM_NX_ARP_SHA", "OXM_OF_ARP_SHA"], .ethernet, .init(25, 16, 48), needs: .arp)
        default:
            .init("arp_tha", oxm: ["NXM_NX_ARP_THA", "OXM_OF_ARP_THA"], .ethernet, .init(26, 16, 48), needs: .arp)
        }
    }

    static func transport(_ field: Field) -> FieldProperties {
        let source = FieldSlot(4, 48, 16)
        let destination = FieldSlot(4, 32, 16)
        return switch field {
        case .tcpSource:
            .init("tcp_src", aka: ["tp_src"], oxm: ["NXM_OF_TCP_SRC", "OXM_OF_TCP_SRC"], .decimal, source, needs: .tcp)
        case .tcpDestination:
            .init(
                "tcp_dst",
                aka: ["tp_dst"],
                oxm: ["NXM_OF_TCP_DST", "OXM_OF_TCP_DST"],
                .decimal,
                destination,
                needs: .tcp
            )
        case .tcpFlags:
            .init(
                "tcp_flags",
                oxm: ["NXM_NX_TCP_FLAGS", "ONFOXM_ET_TCP_FLAGS", "OXM_OF_TCP_FLAGS"],
                .tcpFlags,
                .init(4, 16, 12),
                writable: false,
                needs: .tcp
            )
        case .udpSource: .init("udp_src", oxm: ["NXM_OF_UDP_SRC", "OXM_OF_UDP_SRC"], .decimal, source, needs: .udp)
        case .udpDestination:
            .init("udp_dst", oxm: ["NXM_OF_UDP_DST", "OXM_OF_UDP_DST"], .decimal, destination, needs: .udp)
        case .sctpSource: .init("sctp_src", oxm: ["OXM_OF_SCTP_SRC"], .decimal, source, needs: .sctp)
        default: .init("sctp_dst", oxm: ["OXM_OF_SCTP_DST"], .decimal, destination, needs: .sctp)
        }
    }

    static func icmp(_ field: Field) -> FieldProperties {
        // Type and code take the places of the ports; the upper eight bits of each are zero, and matched as such.
        let type = FieldSlot(4, 48, 16)
        let code = FieldSlot(4, 32, 16)
        return switch field {
        case .icmpType: .octet("icmp_type", ["NXM_OF_ICMP_TYPE", "OXM_OF_ICMPV4_TYPE"], type, .icmpv4)
        case .icmpCode: .octet("icmp_code", ["NXM_OF_ICMP_CODE", "OXM_OF_ICMPV4_CODE"], code, .icmpv4)
        case .icmpv6Type: .octet("icmpv6_type", ["NXM_NX_ICMPV6_TYPE", "OXM_OF_ICMPV6_TYPE"], type, .icmpv6)
        default: .octet("icmpv6_code", ["NXM_NX_ICMPV6_CODE", "OXM_OF_ICMPV6_CODE"], code, .icmpv6)
        }
    }

    /// Neighbor discovery's (RFC 4861 sections 4.3, 4.4 and 4.6.1).
    static func discovery(_ field: Field) -> FieldProperties {
        switch field {
        case .ndTarget:
            .init(
                "nd_target",
                oxm: ["NXM_NX_ND_TARGET", "OXM_OF_IPV6_ND_TARGET"],
                .ipv6,
                .init(23, 0, 128),
                needs: .nd
            )
        case .ndSLL:
            .init(
                "nd_sll",
                oxm: ["NXM_NX_ND_SLL", "OXM_OF_IPV6_ND_SLL"],
                .ethernet,
                .init(25, 16, 48),
                needs: .ndSolicitation
            )
        case .ndTLL:
            .init(
                "nd_tll",
                oxm: ["NXM_NX_ND_TLL", "OXM_OF_IPV6_ND_TLL"],
                .ethernet,
                .init(26, 16, 48),
                needs: .ndAdvertisement
            )
        // An advertisement's flags are its upper three bits: router, solicited, override.
        case .ndReserved:
            .init(
                "nd_reserved",
                oxm: ["ERICOXM_OF_ICMPV6_ND_RESERVED"],
                .decimal,
                .init(3, 32, 32),
                maskable: false,
                needs: .nd
            )
        // Of the first option that has a link-layer address: 1 the source's, 2 the target's, 0 without one.
        default: .octet("nd_options_type", ["ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE"], .init(4, 16, 8), .nd)
        }
    }

    private static func octet(
        _ name: String,
        _ oxm: [String],
        _ slot: FieldSlot,
        _ prerequisite: Prerequisite
    ) -> FieldProperties {
        .init(name, oxm: oxm, .decimal, slot, width: 8, maskable: false, needs: prerequisite)
    }
}
