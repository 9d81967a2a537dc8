public import Flows
import Wire

// A flow key in words: which fields a packet of its kind has, and how their values read.
extension FlowKey {
    /// The fields that a packet of the key's Ethernet type and IP protocol has, tags aside, no two of them in one place.
    var fieldsOfItsKind: [Field] {
        var fields: [Field] = [.inPort, .ethSource, .ethDestination, .ethType]
        switch UInt16(get(.ethType)) {
        case EtherType.arp, EtherType.rarp: fields += [.arpOp, .arpSPA, .arpTPA, .arpSHA, .arpTHA]
        case EtherType.ipv6:
            fields += [.ipv6Source, .ipv6Destination, .ipv6Label, .nwProto, .nwTOS, .nwECN, .nwTTL, .ipFrag]
            fields += transportFields
        default:
            fields += [.ipSource, .ipDestination, .nwProto, .nwTOS, .nwECN, .nwTTL, .ipFrag] + transportFields
        }
        return fields
    }

    /// A later fragment has none.
    private var transportFields: [Field] {
        guard get(.ipFrag) & 2 == 0 else { return [] }
        return switch (UInt16(get(.ethType)), UInt8(get(.nwProto))) {
        case (EtherType.ipv4, 1): [.icmpType, .icmpCode]
        case (EtherType.ipv6, 58): [.icmpv6Type, .icmpv6Code] + discoveryFields
        case (_, IPProtocol.udp): [.udpSource, .udpDestination]
        case (_, IPProtocol.sctp): [.sctpSource, .sctpDestination]
        case (_, IPProtocol.tcp): [.tcpSource, .tcpDestination, .tcpFlags]
        default: []
        }
    }

    /// Of a neighbour's solicitation or advertisement (RFC 4861 sections 4.3 and 4.4).
    private var discoveryFields: [Field] {
        switch get(.icmpv6Type) {
        case 135: [.ndTarget, .ndSLL, .ndReserved, .ndOptionsType]
        case 136: [.ndTarget, .ndTLL, .ndReserved, .ndOptionsType]
        default: []
        }
    }

    /// What bridges know of a packet beside its headers.
    static let ownFields: [Field] =
        [
            .tunID, .tunSource, .tunDestination, .tunIPv6Source, .tunIPv6Destination, .tunTOS, .tunTTL, .metadata,
            .pktMark, .conjID, .ctState, .ctZone, .ctMark, .ctLabel,
        ] + (0..<16).map(Field.register)

    /// A match of just this packet: its headers, and what else is not zero.
    public var exactMatch: Match {
        var mask = FlowKey()
        let isIP = [EtherType.ipv4, EtherType.ipv6].contains(UInt16(get(.ethType)))
        let isARP = [EtherType.arp, EtherType.rarp].contains(UInt16(get(.ethType)))
        for field in fieldsOfItsKind where self[field.slot] != 0 || isIP && !Self.oftenAbsent.contains(field) || isARP {
            // The slot of nw_tos has the ECN bits too.
            mask[field.slot] |= field == .nwTOS ? field.fullMask : field.slot.mask
        }
        for field in [Field.ethSource, .ethDestination, .ethType, .inPort] { mask[field.slot] = field.slot.mask }
        for field in Self.ownFields where self[field.slot] != 0 { mask[field.slot] = field.slot.mask }
        if vlanTCI != 0 { mask[Field.vlanTCI.slot] = 0xffff }
        return Match(value: self, mask: mask)
    }

    /// Zero as a rule, and said only where they are not.
    private static let oftenAbsent: Set<Field> = [
        .ipFrag, .nwECN, .ipv6Label, .tcpFlags, .ndTarget, .ndSLL, .ndTLL, .ndReserved,
        .ndOptionsType,
    ]

    /// What differs in `next`.
    func changes(to next: FlowKey) -> [FieldChange] {
        guard self != next else { return [] }
        var changes: [FieldChange] = []
        func add(_ field: String, _ before: String, _ after: String) {
            if before != after { changes.append(FieldChange(field: field, before: before, after: after)) }
        }
        add("dl_vlan", Self.vlan(vlanTCI), Self.vlan(next.vlanTCI))
        add("dl_vlan_pcp", Self.priority(vlanTCI), Self.priority(next.vlanTCI))
        add("inner dl_vlan", Self.vlan(innerVLANTCI), Self.vlan(next.innerVLANTCI))
        for field in next.fieldsOfItsKind + Self.ownFields where self[field.slot] != next[field.slot] {
            add(field.name, FlowText.print(get(field), of: field), FlowText.print(next.get(field), of: field))
        }
        return changes
    }

    private static func vlan(_ control: UInt16) -> String { control == 0 ? "none" : "\(control & 0xfff)" }
    private static func priority(_ control: UInt16) -> String { "\(control >> 13)" }

    /// The bits of a mask as the actions that write them.
    /// - Parameter type: names the fields.
    func writes(under mask: FlowKey, type: FlowKey) -> [String] {
        var words: [String] = []
        if mask.vlanTCI & 0x0fff != 0 { words.append("mod_vlan_vid:\(vlanTCI & 0xfff)") }
        if mask.vlanTCI & 0xe000 != 0 { words.append("mod_vlan_pcp:\(vlanTCI >> 13)") }
        let ports: [Field] = type.transportFields.isEmpty ? [.tcpSource, .tcpDestination] : []
        let kind = type.fieldsOfItsKind
        // A solicitation may have become an advertisement, which has the other address.
        let others = [Field.ndSLL, .ndTLL].filter { kind.contains(.ndTarget) && !kind.contains($0) }
        for field in kind + others + ports where mask.get(field) != 0 {
            let text = FlowText.print(get(field), of: field, mask: mask.get(field))
            words.append("set_field:\(text)->\(field.name)")
        }
        return words
    }
}
