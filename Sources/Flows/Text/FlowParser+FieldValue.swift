// Values of fields in every form that ovs-fields(7) gives.
extension FlowParser {
    /// A value and its mask, which is the field's full mask when the text has none and 0 for `*`.
    func value(of field: Field, _ slice: Slice) throws(FlowSyntaxError) -> (value: UInt128, mask: UInt128) {
        guard !slice.isEmpty else { throw source.error(slice, "the field \(field.name) needs a value") }
        if source.isEqual(slice, "*") { return (0, 0) }
        let shape = field.shape
        var (value, mask): (UInt128, UInt128) =
            switch shape.format {
            case .hexadecimal where isPortName(slice, of: field): (UInt128(try port(slice).rawValue), shape.limit)
            case .decimal, .hexadecimal: try integer(field, slice)
            case .ethernet: try ethernet(field, slice)
            case .ipv4: try ipv4(field, slice)
            case .ipv6: try ipv6(field, slice)
            case .port: (UInt128(try port(slice).rawValue), shape.limit)
            case .frag: try fragment(slice)
            case .ctState: try flags(field, slice, ConntrackStateFlags.names)
            case .tcpFlags: try flags(field, slice, TCPFlags.names)
            }
        // A mask of ones may be wider than the field: ovs-ofctl takes whole bytes.
        mask &= shape.limit
        guard shape.isMaskable || mask == 0 || mask == shape.limit else {
            throw source.error(slice, "\(source.quoted(slice)) has a mask, which \(field.name) may not have")
        }
        // OpenFlow 1.0's number for `no tag` is above the twelve bits of a VID.
        guard value & ~shape.limit == 0 || field == .dlVLAN && value == 0xffff else {
            throw source.error(
                slice,
                "\(source.quoted(slice)) does not fit \(field.name); allowed are the bits "
                    + "0x\(String(shape.limit, radix: 16))"
            )
        }
        return (value, mask)
    }

    /// A register may hold a port, as register 5 of Neutron's flows does.
    private func isPortName(_ slice: Slice, of field: Field) -> Bool {
        source[slice.start] == UInt8(ascii: "\"") && field.isRegister
    }

    private func integer(_ field: Field, _ slice: Slice) throws(FlowSyntaxError) -> (UInt128, UInt128) {
        let (value, mask) = source.splitAtSlash(slice)
        guard let number = source.number(value) else {
            throw source.error(value, "\(source.quoted(value)) is not a value of \(field.name); allowed is a number")
        }
        guard let mask else { return (number, field.shape.limit) }
        guard let bits = source.number(mask) else {
            throw source.error(mask, "\(source.quoted(mask)) is not a mask of \(field.name); allowed is a number")
        }
        return (number, bits)
    }

    private func ethernet(_ field: Field, _ slice: Slice) throws(FlowSyntaxError) -> (UInt128, UInt128) {
        let (value, mask) = source.splitAtSlash(slice)
        guard let address = source.macAddress(value) else {
            throw source.error(value, "\(source.quoted(value)) is not a MAC address, which \(field.name) needs")
        }
        guard let mask else { return (UInt128(address.value), field.fullMask) }
        guard let bits = source.macAddress(mask) else {
            throw source.error(mask, "\(source.quoted(mask)) is not a mask; allowed is one written as a MAC address")
        }
        return (UInt128(address.value), UInt128(bits.value))
    }

    private func ipv4(_ field: Field, _ slice: Slice) throws(FlowSyntaxError) -> (UInt128, UInt128) {
        let (value, mask) = source.splitAtSlash(slice)
        guard let address = source.ipv4Address(value) else {
            throw source.error(value, "\(source.quoted(value)) is not an IPv4 address, which \(field.name) needs")
        }
        guard let mask else { return (UInt128(address), field.fullMask) }
        guard let bits = source.prefixMask(mask, width: 32) ?? source.ipv4Address(mask).map({ UInt128($0) }) else {
            throw source.error(
                mask,
                "\(source.quoted(mask)) is not a mask; allowed is a prefix of 0 to 32 or an IPv4 address"
            )
        }
        return (UInt128(address), bits)
    }

    private func ipv6(_ field: Field, _ slice: Slice) throws(FlowSyntaxError) -> (UInt128, UInt128) {
        let (value, mask) = source.splitAtSlash(slice)
        guard let address = source.ipv6Address(value) else {
            throw source.error(value, "\(source.quoted(value)) is not an IPv6 address, which \(field.name) needs")
        }
        guard let mask else { return (address, field.fullMask) }
        guard let bits = source.prefixMask(mask, width: 128) ?? source.ipv6Address(mask) else {
            throw source.error(
                mask,
                "\(source.quoted(mask)) is not a mask; allowed is a prefix of 0 to 128 or an IPv6 address"
            )
        }
        return (address, bits)
    }

    private func fragment(_ slice: Slice) throws(FlowSyntaxError) -> (UInt128, UInt128) {
        for form in FragmentForm.all where source.string(slice).lowercased() == form.name {
            return (form.value, form.mask)
        }
        throw source.error(
            slice,
            "\(source.quoted(slice)) is not a kind of fragment; allowed are no, yes, first, later, not_later"
        )
    }

    /// `+a-b` under a mask, `a|b` without, or numbers.
    private func flags(
        _ field: Field,
        _ slice: Slice,
        _ names: [String]
    ) throws(FlowSyntaxError) -> (UInt128, UInt128) {
        let first = source[slice.start]
        guard first == UInt8(ascii: "+") || first == UInt8(ascii: "-") else {
            return try unmaskedFlags(field, slice, names)
        }
        var (value, mask): (UInt128, UInt128) = (0, 0)
        var offset = slice.start
        while offset < slice.end {
            let isSet = source[offset] == UInt8(ascii: "+")
            var word = Slice(start: offset + 1, end: offset + 1)
            while word.end < slice.end, source[word.end] != UInt8(ascii: "+"), source[word.end] != UInt8(ascii: "-") {
                word.end += 1
            }
            let bit = try flag(field, word, names)
            guard mask & bit == 0 else { throw source.error(word, "the flag \(source.quoted(word)) is given twice") }
            mask |= bit
            if isSet { value |= bit }
            offset = word.end
        }
        return (value, mask)
    }

    private func unmaskedFlags(
        _ field: Field,
        _ slice: Slice,
        _ names: [String]
    ) throws(FlowSyntaxError) -> (UInt128, UInt128) {
        if let slash = source.firstIndex(of: UInt8(ascii: "/"), in: slice), slash > slice.start {
            return try integer(field, slice)
        }
        var value: UInt128 = 0
        var rest = slice
        while !rest.isEmpty {
            let end = source.firstIndex(of: UInt8(ascii: "|"), in: rest) ?? rest.end
            let word = Slice(start: rest.start, end: end)
            let bits = if let number = source.number(word) { number } else { try flag(field, word, names) }
            value |= bits
            rest.start = min(end + 1, rest.end)
        }
        return (value, field.fullMask)
    }

    private func flag(_ field: Field, _ word: Slice, _ names: [String]) throws(FlowSyntaxError) -> UInt128 {
        for (bit, name) in names.enumerated() where isEqual(word, name) { return 1 << UInt128(bit) }
        let allowed = names.joined(separator: ", ")
        throw source.error(word, "\(source.quoted(word)) is not a flag of \(field.name); allowed are \(allowed)")
    }

    private func isEqual(_ slice: Slice, _ name: String) -> Bool {
        name.utf8.count == slice.count
            && zip(name.utf8, slice.start..<slice.end).allSatisfy { $0 == source[$1] }
    }
}

/// Names of the bits of ct_state, from the least significant (ovs-fields(7), 'ct_state').
enum ConntrackStateFlags {
    static let names = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"]
}

extension FlowText {
    /// A state that the tracker can give a packet, such as "trk,est", "trk|est" or "+trk+est"; "trk" may be left out. Nil for
    /// what is none: an unknown flag, or flags that do not go together (ovs-fields(7), 'ct_state').
    public static func trackedState(_ text: String) -> UInt8? {
        var bits: UInt8 = 1 << 5
        for word in text.split(whereSeparator: { ",|+ ".contains($0) }) {
            guard let bit = ConntrackStateFlags.names.firstIndex(of: String(word)) else { return nil }
            bits |= 1 << UInt8(bit)
        }
        let (isNew, isInvalid) = (bits & 1 != 0, bits & 1 << 4 != 0)
        let isEstablishedOrReply = bits & 0xa != 0
        return isNew && isEstablishedOrReply || isInvalid && bits != 0x30 ? nil : bits
    }

    /// What the tracker says of a packet, such as "+est+rpl+trk"; "-trk" for nothing.
    public static func print(ctState bits: UInt8) -> String {
        let words = ConntrackStateFlags.names.enumerated().filter { bits >> UInt8($0.offset) & 1 != 0 }.map {
            "+" + $0.element
        }
        return words.isEmpty ? "-trk" : words.joined()
    }
}

/// Names of the bits of tcp_flags, from the least significant (RFC 9293, section 3.1; ovs-fields(7)).
enum TCPFlags {
    static let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"]
}

/// The words of ip_frag: bit 0 is any fragment, bit 1 one that is not the first (ovs-fields(7), 'ip_frag').
struct FragmentForm {
    let name: String
    let mask: UInt128
    let value: UInt128

    /// Read and printed by the first that fits.
    static let all = [
        FragmentForm(name: "no", mask: 3, value: 0),
        FragmentForm(name: "first", mask: 3, value: 1),
        FragmentForm(name: "later", mask: 3, value: 3),
        FragmentForm(name: "no", mask: 1, value: 0),
        FragmentForm(name: "yes", mask: 1, value: 1),
        FragmentForm(name: "not_later", mask: 2, value: 0),
        FragmentForm(name: "later", mask: 2, value: 2),
    ]
}
