/// A word that stands for an Ethernet type, and often an IP protocol (ovs-fields(7), 'Keywords').
struct ProtocolWord: Sendable {
    let etherType: UInt16
    /// 0 matches none.
    let networkProtocol: UInt8

    static let all: [(String, ProtocolWord)] = [
        ("ip", .init(etherType: 0x0800, networkProtocol: 0)), ("ipv4", .init(etherType: 0x0800, networkProtocol: 0)),
        ("ip4", .init(etherType: 0x0800, networkProtocol: 0)), ("icmp", .init(etherType: 0x0800, networkProtocol: 1)),
        ("tcp", .init(etherType: 0x0800, networkProtocol: 6)), ("udp", .init(etherType: 0x0800, networkProtocol: 17)),
        ("sctp", .init(etherType: 0x0800, networkProtocol: 132)),
        ("ipv6", .init(etherType: 0x86dd, networkProtocol: 0)), ("ip6", .init(etherType: 0x86dd, networkProtocol: 0)),
        ("icmp6", .init(etherType: 0x86dd, networkProtocol: 58)),
        ("tcp6", .init(etherType: 0x86dd, networkProtocol: 6)), ("udp6", .init(etherType: 0x86dd, networkProtocol: 17)),
        ("sctp6", .init(etherType: 0x86dd, networkProtocol: 132)),
        ("arp", .init(etherType: 0x0806, networkProtocol: 0)), ("rarp", .init(etherType: 0x8035, networkProtocol: 0)),
    ]
}

/// A match while it is read, with where each field stood: what a field needs may follow it in the text.
struct MatchReading {
    var builder = MatchBuilder()
    private var fields: [(field: Field, place: Slice)] = []

    /// Remembers a field for `check`.
    mutating func note(_ field: Field, _ place: Slice) {
        if field.needsCheck { fields.append((field, place)) }
    }

    /// What every packet of the match has.
    var facts: PacketFacts { PacketFacts(value: builder.value, mask: builder.mask) }

    /// Refuses the first field whose prerequisite the whole match does not have.
    ///
    /// Open vSwitch logs a warning and drops the field, so that the flow matches more than it says.
    func check(_ source: FlowSource) throws(FlowSyntaxError) {
        guard !fields.isEmpty else { return }
        let facts = facts
        for (field, place) in fields {
            if let missing = facts.missing(forMatching: field) {
                throw source.error(place, "\(source.quoted(place)) can only be matched with \(missing)")
            }
        }
    }
}

extension Field {
    /// Whether a match with the field has a prerequisite at all.
    fileprivate var needsCheck: Bool {
        if case .none = shape.prerequisite { false } else { true }
    }
}

extension FlowParser {
    /// Reads one part of a match.
    func match(_ field: Field, _ pair: KeyValue, _ reading: inout MatchReading) throws(FlowSyntaxError) {
        let value = pair.value
        if !value.isEmpty, source[value.start] == UInt8(ascii: "$") {
            try addressSet(field, pair, &reading)
        } else {
            let (bits, mask) = try self.value(of: field, value)
            if field == .vlanVID { try checkPresence(bits, mask, value) }
            reading.builder.set(field, bits, mask: mask)
            guard mask != 0 else { return }
        }
        reading.note(field, pair.key)
    }

    /// Reads a shorthand such as `tcp6`.
    func match(_ word: ProtocolWord, _ pair: KeyValue, _ reading: inout MatchReading) throws(FlowSyntaxError) {
        guard pair.delimiter == 0 else {
            throw source.error(pair.value, "\(source.quoted(pair.key)) takes no value")
        }
        reading.builder.set(.ethType, UInt128(word.etherType), mask: 0xffff)
        if word.networkProtocol != 0 {
            reading.builder.set(.nwProto, UInt128(word.networkProtocol), mask: 0xff)
        }
    }

    /// Reads bits of a field: `NXM_NX_REG0[0..3]=5`.
    func matchSubfield(_ pair: KeyValue, _ reading: inout MatchReading) throws(FlowSyntaxError) {
        let subfield = try subfield(pair.key)
        let isPartial = !subfield.isWholeField
        guard subfield.field.isMaskable || !isPartial else {
            throw source.error(pair.key, "\(subfield.field.name) can only be matched as a whole")
        }
        guard isPartial else { return try match(subfield.field, pair, &reading) }
        guard let bits = source.number(pair.value) else {
            throw source.error(pair.value, "\(source.quoted(pair.value)) is not a value of bits; allowed is a number")
        }
        guard bits >> UInt128(subfield.width) == 0, (bits << UInt128(subfield.offset)) & ~subfield.field.fullMask == 0
        else {
            throw source.error(
                pair.value,
                "\(source.quoted(pair.value)) does not fit into \(subfield.width) bits of \(subfield.field.name)"
            )
        }
        reading.builder.set(subfield, bits)
        reading.note(subfield.field, pair.key)
    }

    private func addressSet(
        _ field: Field,
        _ pair: KeyValue,
        _ reading: inout MatchReading
    ) throws(FlowSyntaxError) {
        let name = Slice(start: pair.value.start + 1, end: pair.value.end)
        guard field.takesAddressSet else {
            throw source.error(
                pair.value,
                "\(field.name) takes no address set; allowed are nw_src, nw_dst, ipv6_src, ipv6_dst, dl_src, dl_dst, "
                    + "arp_spa, arp_tpa"
            )
        }
        let isName = (name.start..<name.end).allSatisfy { offset in
            let byte = source[offset]
            return byte.lowercased &- 0x61 < 26 || byte.isDigit || "_-.".utf8.contains(byte)
        }
        guard !name.isEmpty, isName else {
            throw source.error(
                pair.value,
                "\(source.quoted(pair.value)) is not an address set; allowed after '$' are letters, digits and '_-.'"
            )
        }
        if objectsToSet?(source.string(name)) == true { throw source.error(pair.value, "objected to") }
        reading.builder.set(field, addressSet: source.string(name))
    }

    /// A VID without the present bit matches nothing but, as 0, a packet without a tag.
    private func checkPresence(_ bits: UInt128, _ mask: UInt128, _ place: Slice) throws(FlowSyntaxError) {
        let present = UInt128(FlowKey.vlanPresent)
        guard mask & present == 0 || bits & present != 0 || bits & mask == 0 else {
            throw source.error(
                place,
                "\(source.quoted(place)) matches no packet: vlan_vid has 0x1000 added to the VID, or is 0 for no tag"
            )
        }
    }
}
