import Wire

// Writes to headers, registers and metadata.
extension ActionParser {
    mutating func vlan(_ word: ActionWord, _ pair: KeyValue) throws(FlowSyntaxError) -> Action {
        let value = pair.value
        switch word {
        case .modVLANID, .setVLANID:
            let identifier: UInt16 = try source.number(value, "a VLAN id", atMost: 0xfff)
            try requireTag(unless: word == .modVLANID, pair.key)
            facts?.tci |= FlowKey.vlanPresent
            return .setVLANID(identifier, pushes: word == .modVLANID)
        case .modVLANPriority, .setVLANPriority:
            let priority: UInt8 = try source.number(value, "a VLAN priority", atMost: 7)
            try requireTag(unless: word == .modVLANPriority, pair.key)
            facts?.tci |= FlowKey.vlanPresent
            return .setVLANPriority(priority, pushes: word == .modVLANPriority)
        case .pushVLAN:
            let number: UInt16 = try source.number(value, "a TPID")
            guard let tpid = TPID(rawValue: number) else {
                throw source.error(value, "\(source.quoted(value)) is not a TPID; allowed are 0x8100 and 0x88a8")
            }
            guard facts.map({ $0.innerTCI & FlowKey.vlanPresent == 0 }) ?? true else {
                throw source.error(pair.key, "push_vlan would make a third tag; a packet may have two")
            }
            facts?.pushTag()
            return .pushVLAN(tpid)
        default:
            // Open vSwitch lets OpenFlow 1.0's strip_vlan pass where no tag is matched, and in action sets, whose actions do
            // not run in this order, both.
            try requireTag(unless: word == .stripVLAN || place == .writeActions, pair.key)
            facts?.popTag()
            return try bare(pair, word == .stripVLAN ? .stripVLAN : .popVLAN)
        }
    }

    private func requireTag(unless isLenient: Bool, _ place: Slice) throws(FlowSyntaxError) {
        if !isLenient { try require(.vlan, place, source.quoted(place)) }
    }

    func macAddress(_ value: Slice) throws(FlowSyntaxError) -> MACAddress {
        guard let address = source.macAddress(value) else {
            throw source.error(value, "\(source.quoted(value)) is not a MAC address")
        }
        return address
    }

    func network(_ word: ActionWord, _ pair: KeyValue) throws(FlowSyntaxError) -> Action {
        let value = pair.value
        let name = source.quoted(pair.key)
        switch word {
        case .modIPSource, .modIPDestination:
            try require(.ipv4, pair.key, name)
            guard let address = source.ipv4Address(value) else {
                throw source.error(value, "\(source.quoted(value)) is not an IPv4 address")
            }
            return word == .modIPSource ? .setIPv4Source(address) : .setIPv4Destination(address)
        case .modTransportSource, .modTransportDestination:
            try requirePorts(pair.key)
            let port: UInt16 = try source.number(value, "a port")
            return word == .modTransportSource ? .setTransportSource(port) : .setTransportDestination(port)
        case .finTimeout: return try finTimeout(pair)
        default: try require(.ip, pair.key, name)
        }
        switch word {
        case .modTOS:
            let tos: UInt8 = try source.number(value, "a type of service", atMost: 0xfc)
            guard tos & 3 == 0 else {
                throw source.error(value, "\(source.quoted(value)) is not a TOS; allowed are multiples of 4")
            }
            return .setTOS(tos)
        case .modECN: return .setECN(try source.number(value, "an ECN", atMost: 3))
        case .decrementTTL: return .decrementTTL(controllers: try controllers(value))
        default: return .setTTL(try source.number(value, "a TTL"))
        }
    }

    private func requirePorts(_ place: Slice) throws(FlowSyntaxError) {
        guard let facts, !facts.meets(.tcp), !facts.meets(.udp), !facts.meets(.sctp) else { return }
        throw source.error(place, "\(source.quoted(place)) needs the flow to match tcp, udp or sctp")
    }

    private func controllers(_ value: Slice) throws(FlowSyntaxError) -> [UInt16] {
        var controllers: [UInt16] = []
        var rest = value
        while let pair = try source.nextPair(&rest) {
            controllers.append(try source.number(pair.whole, "a controller"))
        }
        return controllers
    }

    private func finTimeout(_ pair: KeyValue) throws(FlowSyntaxError) -> Action {
        if let facts, facts.networkProtocol != 6 {
            throw source.error(pair.key, "fin_timeout needs the flow to match \(Prerequisite.tcp.requirement)")
        }
        var (idle, hard): (UInt16, UInt16) = (0, 0)
        var rest = pair.value
        while let part = try source.nextPair(&rest) {
            if source.isEqual(part.key, "idle_timeout") {
                idle = try source.number(part.value, "a timeout in seconds")
            } else if source.isEqual(part.key, "hard_timeout") {
                hard = try source.number(part.value, "a timeout in seconds")
            } else {
                throw source.error(
                    part.key,
                    "\(source.quoted(part.key)) is unknown; allowed are idle_timeout and hard_timeout"
                )
            }
        }
        return .finTimeout(idle: idle, hard: hard)
    }

    /// A subfield that the packet is known to have.
    func readable(_ slice: Slice) throws(FlowSyntaxError) -> Subfield {
        let subfield = try parser.subfield(slice)
        try require(subfield.field.shape.prerequisite, slice, source.quoted(slice))
        return subfield
    }

    /// A subfield that the packet is known to have and that an action may write.
    func writable(_ slice: Slice) throws(FlowSyntaxError) -> Subfield {
        let subfield = try readable(slice)
        try checkWritable(subfield.field, slice)
        return subfield
    }

    func checkWritable(_ field: Field, _ place: Slice) throws(FlowSyntaxError) {
        guard field.isWritable else { throw source.error(place, "\(field.name) cannot be written") }
        if field.isConntrackState, self.place != .conntrack {
            throw source.error(place, "\(field.name) can only be written in ct(...,exec(...))")
        }
    }

    mutating func setField(_ slice: Slice) throws(FlowSyntaxError) -> SetField {
        let (text, name) = try arrow(slice)
        guard let field = FlowParser.fields.lookUp(source, name) else {
            throw source.error(name, "\(source.quoted(name)) is not a field")
        }
        try checkWritable(field, name)
        let (value, mask) = try parser.value(of: field, text)
        guard mask != 0 else { throw source.error(text, "\(source.quoted(text)) sets no bit of \(field.name)") }
        try checkVLAN(field, value, text)
        let needsTag = field == .vlanVID ? Prerequisite.vlan : field.shape.prerequisite
        try require(needsTag, name, "set_field of \(field.name)")
        if field == .vlanTCI { facts?.tci = UInt16(truncatingIfNeeded: value) }
        if field == .icmpv6Type { facts?.writtenICMPType = UInt16(truncatingIfNeeded: value) }
        return SetField(field, value, mask: mask)
    }

    /// What OpenFlow 1.3 refuses in a tag: a VID without the present bit.
    private func checkVLAN(_ field: Field, _ value: UInt128, _ text: Slice) throws(FlowSyntaxError) {
        if field == .vlanVID, value & UInt128(FlowKey.vlanPresent) == 0 {
            throw source.error(text, "\(source.quoted(text)) is not a vlan_vid to set: 4096 must be added to the VID")
        }
        if value > field.fullMask {
            throw source.error(text, "\(source.quoted(text)) does not fit \(field.name)")
        }
    }

    /// One load for each 64 bits of the destination, as ovs-ofctl divides them.
    mutating func load(_ slice: Slice) throws(FlowSyntaxError) -> [Action] {
        let (text, name) = try arrow(slice)
        let destination = try writable(name)
        guard let value = source.number(text) else {
            throw source.error(text, "\(source.quoted(text)) is not a value to load; allowed is a number")
        }
        guard destination.width == 128 || value >> UInt128(destination.width) == 0 else {
            throw source.error(text, "\(source.quoted(text)) does not fit into \(destination.width) bits")
        }
        if destination == Subfield(.icmpv6Type) { facts?.writtenICMPType = UInt16(truncatingIfNeeded: value) }
        return stride(from: 0, to: Int(destination.width), by: 64).map { offset in
            let part = Subfield(
                destination.field,
                offset: Int(destination.offset) + offset,
                width: min(64, Int(destination.width) - offset)
            )
            let mask = FieldSlot(0, 0, Int(part.width)).mask
            return .load(Load(UInt64(truncatingIfNeeded: value >> UInt128(offset) & mask), part))
        }
    }

    func move(_ slice: Slice) throws(FlowSyntaxError) -> Move {
        let (first, second) = try arrow(slice)
        let move = Move(try readable(first), try writable(second))
        guard move.source.width == move.destination.width else {
            throw source.error(
                slice,
                "the source has \(move.source.width) bits, the destination \(move.destination.width); they must agree"
            )
        }
        return move
    }

    func arrow(_ slice: Slice) throws(FlowSyntaxError) -> (Slice, Slice) {
        guard let parts = source.splitAtArrow(slice), !parts.0.isEmpty, !parts.1.isEmpty else {
            throw source.error(slice, "\(source.quoted(slice)) must have the form VALUE->FIELD")
        }
        return parts
    }

    /// `check_pkt_larger(N)->FIELD[B]`: the value starts after the parenthesis.
    func checkPacketLarger(_ slice: Slice) throws(FlowSyntaxError) -> Action {
        var (length, name) = try arrow(slice)
        if source[length.end - 1] == UInt8(ascii: ")") { length.end -= 1 }
        let destination = try writable(name)
        guard destination.width == 1 else {
            throw source.error(name, "\(source.quoted(name)) is \(destination.width) bits wide; it must be one bit")
        }
        return .checkPacketLarger(try source.number(length, "a length in bytes"), destination)
    }

    /// `set_tunnel` of more than 32 bits is `set_tunnel64`, whatever its word.
    func setTunnel(_ slice: Slice, isWide: Bool) throws(FlowSyntaxError) -> Action {
        let identifier: UInt64 = try source.number(slice, "a tunnel id")
        return .setTunnel(identifier, isWide: isWide || identifier > UInt64(UInt32.max))
    }

    func writeMetadata(_ slice: Slice) throws(FlowSyntaxError) -> Action {
        let (value, mask) = source.splitAtSlash(slice)
        let bits: UInt64 = if let mask { try source.number(mask, "a mask") } else { .max }
        let number: UInt64 = try source.number(value, "metadata")
        return .writeMetadata(number, mask: bits)
    }
}
