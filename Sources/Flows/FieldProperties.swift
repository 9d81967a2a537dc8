/// How a field's value is written (ovs-fields(7), 'Formatting').
enum FieldFormat: Sendable {
    case decimal, hexadecimal, ethernet, ipv4, ipv6, port, frag, ctState, tcpFlags
}

/// What of a row does not need memory of its own: read for every field of every flow, and of packets.
struct FieldShape: BitwiseCopyable, Sendable {
    let width: Int
    let slot: FieldSlot
    let format: FieldFormat
    let isMaskable: Bool
    let isWritable: Bool
    let prerequisite: Prerequisite
    /// The bits that a value may have.
    let limit: UInt128
}

/// One row of the table of fields.
struct FieldProperties: Sendable {
    let name: String
    let aliases: [String]
    /// NXM and OXM names; a subfield is printed under the first, as ovs-ofctl prefers NXM names.
    let oxm: [String]
    let shape: FieldShape

    init(
        _ name: String,
        aka aliases: [String] = [],
        oxm: [String] = [],
        _ format: FieldFormat,
        _ slot: FieldSlot,
        width: Int? = nil,
        maskable: Bool = true,
        writable: Bool = true,
        needs prerequisite: Prerequisite = .none,
        limit: UInt128? = nil
    ) {
        self.name = name
        self.aliases = aliases
        self.oxm = oxm
        let width = width ?? slot.width
        shape = FieldShape(
            width: width,
            slot: slot,
            format: format,
            isMaskable: maskable,
            isWritable: writable,
            prerequisite: prerequisite,
            limit: limit ?? min(slot.mask, FieldSlot(0, 0, width).mask)
        )
    }

    init(_ field: Field) {
        switch field {
        case .reg0, .reg1, .reg2, .reg3, .reg4, .reg5, .reg6, .reg7, .reg8, .reg9, .reg10, .reg11, .reg12, .reg13,
            .reg14, .reg15:
            self = .register(Int(field.rawValue - Field.reg0.rawValue))
        case .xreg0, .xreg1, .xreg2, .xreg3, .xreg4, .xreg5, .xreg6, .xreg7:
            let number = Int(field.rawValue - Field.xreg0.rawValue)
            self.init(
                "xreg\(number)",
                oxm: ["OXM_OF_PKT_REG\(number)"],
                .hexadecimal,
                FieldSlot(FlowKey.registers + number, 0, 64)
            )
        case .xxreg0, .xxreg1, .xxreg2, .xxreg3:
            let number = Int(field.rawValue - Field.xxreg0.rawValue)
            self.init(
                "xxreg\(number)",
                oxm: ["NXM_NX_XXREG\(number)"],
                .hexadecimal,
                FieldSlot(FlowKey.registers + 2 * number, 0, 128)
            )
        case .inPort, .inPortOXM, .actsetOutput, .pktMark, .conjID, .metadata: self = .origin(field)
        case .tunID, .tunSource, .tunDestination, .tunIPv6Source, .tunIPv6Destination, .tunTOS, .tunTTL:
            self = .tunnel(field)
        case .ctState, .ctZone, .ctMark, .ctLabel, .ctNWProto, .ctNWSource, .ctNWDestination, .ctIPv6Source,
            .ctIPv6Destination, .ctTPSource, .ctTPDestination:
            self = .conntrack(field)
        case .ethSource, .ethDestination, .ethType, .vlanTCI, .dlVLAN, .vlanVID, .dlVLANPCP, .vlanPCP:
            self = .ethernet(field)
        case .ipSource, .ipDestination, .ipv6Source, .ipv6Destination, .ipv6Label, .nwProto, .nwTOS, .ipDSCP, .nwECN,
            .nwTTL, .ipFrag:
            self = .network(field)
        case .arpOp, .arpSPA, .arpTPA, .arpSHA, .arpTHA: self = .arp(field)
        case .tcpSource, .tcpDestination, .tcpFlags, .udpSource, .udpDestination, .sctpSource, .sctpDestination:
            self = .transport(field)
        case .icmpType, .icmpCode, .icmpv6Type, .icmpv6Code: self = .icmp(field)
        case .ndTarget, .ndSLL, .ndTLL, .ndReserved, .ndOptionsType: self = .discovery(field)
        }
    }
}
