// A match in the order and the forms of `ovs-ofctl dump-flows`.
extension TextOutput {
    /// Prints the match, each part with a comma after it.
    mutating func match(_ match: Match) {
        let printer = MatchPrinter(match: match)
        printer.print(&self)
    }
}

private struct MatchPrinter {
    let value: FlowKey
    let mask: FlowKey
    /// The words that are matched at all: most are not.
    let bitmap: UInt64
    let addressSets: [AddressSetReference]

    init(match: Match) {
        value = match.value
        mask = match.mask
        bitmap = match.bitmap
        addressSets = match.addressSets
    }

    private var etherType: UInt128 { value.get(.ethType) }
    private var networkProtocol: UInt128 { value.get(.nwProto) }
    private var isARP: Bool { etherType == 0x0806 || etherType == 0x8035 }
    private var isICMPv6: Bool { etherType == 0x86dd && networkProtocol == 58 }

    func print(_ output: inout TextOutput) {
        metadata(&output)
        conntrack(&output)
        let (hasType, hasProtocol) = shorthand(&output)
        for number in 0..<16 { part(.register(number), &output) }
        tunnel(&output)
        part(.metadata, &output)
        part(.inPort, &output)
        vlan(&output)
        part(.ethSource, "dl_src", &output)
        part(.ethDestination, "dl_dst", &output)
        if !hasType, mask[Field.ethType.slot] != 0 {
            output.put("dl_type=0x")
            output.padded(UInt16(etherType), 4)
            output.put("," as Unicode.Scalar)
        }
        network(hasProtocol, &output)
        transport(&output)
    }

    /// Prints one field, if it is matched, as `name=value,`.
    private func part(_ field: Field, _ name: String? = nil, _ output: inout TextOutput) {
        let slot = field.slot
        guard bitmap >> UInt64(slot.word) & 1 == 1 || slot.width == 128 || !addressSets.isEmpty else { return }
        if let set = addressSets.first(where: { $0.field.slot == slot }) {
            output.put(name ?? field.name)
            output.put("=$")
            output.put(set.name)
        } else {
            let bits = mask[slot]
            guard bits != 0 else { return }
            output.put(name ?? field.name)
            output.put("=" as Unicode.Scalar)
            // Exact for the field, though its slot may have more bits.
            let isExact = bits & field.fullMask == field.fullMask
            output.value(of: field, value[slot], mask: isExact ? field.fullMask : bits)
        }
        output.put("," as Unicode.Scalar)
    }

    private func part(_ field: Field, _ output: inout TextOutput) { part(field, nil, &output) }

    private func metadata(_ output: inout TextOutput) {
        part(.pktMark, &output)
        part(.conjID, &output)
        part(.actsetOutput, &output)
    }

    private func conntrack(_ output: inout TextOutput) {
        part(.ctState, &output)
        // ovs-fields(7) says hexadecimal, and that is how an action prints it; a match prints it in decimal.
        if mask[Field.ctZone.slot] != 0 {
            output.put("ct_zone=")
            output.decimal(value.get(.ctZone))
            output.put("," as Unicode.Scalar)
        }
        part(.ctMark, &output)
        part(.ctLabel, &output)
        part(.ctNWSource, &output)
        part(.ctIPv6Source, &output)
        part(.ctNWDestination, &output)
        part(.ctIPv6Destination, &output)
        // The original ports mean nothing, and are not printed, without the protocol.
        guard mask[Field.ctNWProto.slot] != 0 else { return }
        part(.ctNWProto, &output)
        ports(.ctTPSource, "ct_tp_src", &output)
        ports(.ctTPDestination, "ct_tp_dst", &output)
    }

    /// `tcp6` and the like; says whether it printed the Ethernet type and the protocol.
    private func shorthand(_ output: inout TextOutput) -> (hasType: Bool, hasProtocol: Bool) {
        guard mask[Field.ethType.slot] != 0 else { return (false, false) }
        let hasProtocol = mask[Field.nwProto.slot] != 0 && !isARP
        let words: [(UInt128, UInt128, StaticString)] = [
            (0x0800, 1, "icmp,"), (0x0800, 6, "tcp,"), (0x0800, 17, "udp,"), (0x0800, 132, "sctp,"),
            (0x86dd, 58, "icmp6,"), (0x86dd, 6, "tcp6,"), (0x86dd, 17, "udp6,"), (0x86dd, 132, "sctp6,"),
        ]
        if hasProtocol, let word = words.first(where: { $0.0 == etherType && $0.1 == networkProtocol }) {
            output.put(word.2)
            return (true, true)
        }
        switch etherType {
        case 0x0800: output.put("ip,")
        case 0x86dd: output.put("ipv6,")
        case 0x0806: output.put("arp,")
        case 0x8035: output.put("rarp,")
        case 0x8847: output.put("mpls,")
        case 0x8848: output.put("mplsm,")
        default: return (false, false)
        }
        return (true, false)
    }

    private func tunnel(_ output: inout TextOutput) {
        part(.tunID, &output)
        part(.tunSource, &output)
        part(.tunDestination, &output)
        part(.tunIPv6Source, &output)
        part(.tunIPv6Destination, &output)
        if mask[Field.tunTOS.slot] != 0 {
            // Hexadecimal without a prefix, which ovs-ofctl itself would read as decimal; a prefix is read by both.
            output.put("tun_tos=")
            output.hexadecimal(value.get(.tunTOS))
            output.put("," as Unicode.Scalar)
        }
        part(.tunTTL, &output)
    }

    private func vlan(_ output: inout TextOutput) {
        let present = FlowKey.vlanPresent
        let (tci, bits) = (value.vlanTCI, mask.vlanTCI)
        guard bits != 0 else { return }
        let (vid, priority) = (bits & 0xfff, bits & 0xe000)
        let isPlain =
            bits & tci & present != 0 && (vid == 0 || vid == 0xfff) && (priority == 0 || priority == 0xe000)
            && vid | priority != 0
        guard isPlain else {
            output.put("vlan_tci=0x")
            output.padded(tci, 4)
            if bits != 0xffff {
                output.put("/0x")
                output.padded(bits, 4)
            }
            return output.put("," as Unicode.Scalar)
        }
        if vid != 0 {
            output.put("dl_vlan=")
            output.decimal(tci & 0xfff)
            output.put("," as Unicode.Scalar)
        }
        if priority != 0 {
            output.put("dl_vlan_pcp=")
            output.decimal(tci >> 13)
            output.put("," as Unicode.Scalar)
        }
    }

    private func network(_ hasProtocol: Bool, _ output: inout TextOutput) {
        if etherType == 0x86dd {
            part(.ipv6Source, &output)
            part(.ipv6Destination, &output)
            label(&output)
        } else if isARP {
            part(.arpSPA, &output)
            part(.arpTPA, &output)
        } else {
            part(.ipSource, "nw_src", &output)
            part(.ipDestination, "nw_dst", &output)
        }
        if !hasProtocol { part(isARP ? .arpOp : .nwProto, &output) }
        if isARP {
            part(.arpSHA, &output)
            part(.arpTHA, &output)
        }
        // The slot of nw_tos also holds the ECN bits.
        if mask.get(.nwTOS) != 0 {
            output.put("nw_tos=")
            output.decimal(value.get(.nwTOS))
            output.put("," as Unicode.Scalar)
        }
        part(.nwECN, &output)
        part(.nwTTL, &output)
        part(.ipFrag, "nw_frag", &output)
    }

    private func label(_ output: inout TextOutput) {
        let bits = mask.get(.ipv6Label)
        guard bits != 0 else { return }
        output.put("ipv6_label=0x")
        output.padded(value.get(.ipv6Label), 5)
        if bits != Field.ipv6Label.fullMask {
            output.put("/0x")
            output.padded(bits, 5)
        }
        output.put("," as Unicode.Scalar)
    }

    private func transport(_ output: inout TextOutput) {
        if isICMPv6 || etherType == 0x0800 && networkProtocol == 1 {
            ports(.tcpSource, "icmp_type", &output)
            ports(.tcpDestination, "icmp_code", &output)
        } else {
            ports(.tcpSource, "tp_src", &output)
            ports(.tcpDestination, "tp_dst", &output)
        }
        if isICMPv6 {
            part(.ndTarget, &output)
            part(.ndSLL, &output)
            part(.ndTLL, &output)
            part(.ndReserved, &output)
            part(.ndOptionsType, &output)
        } else {
            part(.tcpFlags, &output)
        }
    }

    /// Sixteen bits: decimal, or both parts hexadecimal under a mask, with a prefix even for zero.
    private func ports(_ field: Field, _ name: StaticString, _ output: inout TextOutput) {
        let bits = mask[field.slot]
        guard bits != 0 else { return }
        output.put(name)
        output.put("=" as Unicode.Scalar)
        if bits == 0xffff {
            output.decimal(value[field.slot])
        } else {
            output.put("0x")
            output.padded(value[field.slot], 1)
            output.put("/0x")
            output.padded(bits, 1)
        }
        output.put("," as Unicode.Scalar)
    }
}
