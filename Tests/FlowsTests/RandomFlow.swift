import Flows
import Seeds
import Wire

extension SeededGenerator {
    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }
    mutating func chance(_ one: Int) -> Bool { below(one) == 0 }
    mutating func bits() -> UInt128 { UInt128(next()) << 64 | UInt128(next()) }
    mutating func pick<T>(_ values: [T]) -> T { values[below(values.count)] }
}

/// Flows that the syntax can say, of every kind of packet, field and action.
struct RandomFlow {
    var random: SeededGenerator
    /// Whether the flow's connections can be committed: not those it knows to be invalid.
    private var canCommit = true

    init(random: SeededGenerator) { self.random = random }

    /// What a flow matches first, and the fields and writes that may follow.
    private struct Kind {
        let etherType: UInt16
        let networkProtocol: UInt8?
        var message: UInt8?
        let fields: [Field]
    }

    private static let anywhere: [Field] =
        (0..<16).map(Field.register) + [
            .pktMark, .metadata, .tunID, .tunSource, .tunDestination, .tunIPv6Source, .tunIPv6Destination, .ethSource,
            .ethDestination, .xreg2, .xxreg1,
        ]
    private static let inIP: [Field] = [.nwTOS, .nwECN, .nwTTL, .ipFrag]
    private static let kinds: [Kind] = [
        Kind(etherType: 0, networkProtocol: nil, fields: []),
        Kind(etherType: 0x88cc, networkProtocol: nil, fields: []),
        Kind(etherType: 0x0806, networkProtocol: nil, fields: [.arpOp, .arpSPA, .arpTPA, .arpSHA, .arpTHA]),
        Kind(etherType: 0x0800, networkProtocol: nil, fields: inIP + [.ipSource, .ipDestination]),
        Kind(etherType: 0x86dd, networkProtocol: nil, fields: inIP + [.ipv6Source, .ipv6Destination, .ipv6Label]),
        Kind(
            etherType: 0x0800,
            networkProtocol: 6,
            fields: inIP + [.ipSource, .ipDestination, .tcpSource, .tcpDestination, .tcpFlags]
        ),
        Kind(etherType: 0x0800, networkProtocol: 47, fields: inIP + [.ipSource]),
        Kind(etherType: 0x0800, networkProtocol: 1, fields: inIP + [.icmpType, .icmpCode]),
        Kind(
            etherType: 0x86dd,
            networkProtocol: 58,
            message: 135,
            fields: [.ipv6Source, .ndTarget, .ndSLL, .ndReserved, .ndOptionsType]
        ),
        Kind(etherType: 0x86dd, networkProtocol: 58, message: 136, fields: [.ndTLL, .ndReserved, .ndOptionsType]),
        Kind(etherType: 0x86dd, networkProtocol: 17, fields: inIP + [.udpSource, .udpDestination, .ipv6Source]),
        Kind(etherType: 0x86dd, networkProtocol: 132, fields: inIP + [.sctpSource, .sctpDestination, .ipv6Label]),
    ]

    mutating func next() -> Flow {
        var flow = Flow()
        let kind = random.pick(Self.kinds)
        flow.match = match(kind)
        canCommit = flow.match.value.get(.ctState) & 0x10 == 0
        flow.table = random.chance(2) ? 0 : UInt8(random.below(250))
        if random.chance(2) { flow.priority = UInt16(random.below(65536)) }
        if random.chance(2) { flow.cookie = random.next() >> UInt64(random.below(64)) }
        if random.chance(4) { flow.idleTimeout = UInt16(random.below(65536)) }
        if random.chance(4) { flow.hardTimeout = UInt16(random.below(65536)) }
        if random.chance(8) { flow.importance = UInt16(random.below(65536)) }
        if random.chance(3) { flow.flags = FlowFlags(rawValue: UInt8(random.below(32))) }
        flow.actions = actions(kind, in: flow)
        return flow
    }

    private mutating func match(_ kind: Kind) -> Match {
        var builder = MatchBuilder()
        if kind.etherType != 0 { builder.set(.ethType, UInt128(kind.etherType), mask: 0xffff) }
        if let number = kind.networkProtocol { builder.set(.nwProto, UInt128(number), mask: 0xff) }
        if let message = kind.message { builder.set(.icmpv6Type, UInt128(message), mask: 0xff) }
        if random.chance(2) { builder.set(.inPort, UInt128(random.below(0xff00)), mask: 0xffff) }
        for _ in 0..<random.below(3) { set(random.pick(Self.anywhere), &builder) }
        for field in kind.fields where random.chance(3) { set(field, &builder) }
        switch random.below(6) {
        case 0: builder.set(.dlVLAN, UInt128(random.below(4096)), mask: 0xfff)
        case 1: builder.set(.vlanTCI, random.bits() & 0xffff, mask: random.bits() & 0xffff)
        case 2: builder.set(.dlVLANPCP, UInt128(random.below(8)), mask: 7)
        default: break
        }
        if random.chance(3) { builder.set(.ctState, random.bits() & 0xff, mask: random.bits() & 0xff) }
        if random.chance(6) { builder.set(.ctZone, random.bits() & 0xffff, mask: 0xffff) }
        if random.chance(6) { set(.ctMark, &builder) }
        if random.chance(6) { set(.ctLabel, &builder) }
        if random.chance(9) { builder.set(.conjID, random.bits() & 0xffff_ffff, mask: 0xffff_ffff) }
        if random.chance(9), kind.fields.contains(.ipSource) {
            builder.set(.ipSource, addressSet: "set-\(random.below(9))")
        }
        return builder.match
    }

    private mutating func set(_ field: Field, _ builder: inout MatchBuilder) {
        var mask = field.fullMask
        if field == .ipFrag {
            let forms: [(UInt128, UInt128)] = [(0, 3), (1, 3), (0, 2)]
            let form = random.pick(forms)
            return builder.set(field, form.0, mask: form.1)
        }
        if field.isMaskable, random.chance(2) {
            mask &= random.chance(2) ? random.bits() : .max << UInt128(random.below(128))
        }
        guard mask != 0 else { return }
        builder.set(field, random.bits() & field.fullMask, mask: mask)
    }

    private mutating func actions(_ kind: Kind, in flow: Flow) -> [Action] {
        var actions: [Action] = []
        if random.chance(8) { actions.append(.meter(UInt32(1 + random.below(9)))) }
        for _ in 0..<random.below(5) { actions.append(action(kind, nesting: 0)) }
        if random.chance(9) { return [.conjunction(id: UInt32(random.below(99)), clause: 2, count: 3)] }
        if random.chance(9) { actions.append(.clearActions) }
        if random.chance(9) { actions.append(.writeActions([action(kind, nesting: 2)])) }
        if random.chance(9) {
            actions.append(.writeMetadata(random.next(), mask: random.chance(2) ? .max : random.next()))
        }
        if random.chance(4) { actions.append(.gotoTable(flow.table + 1)) }
        return actions
    }

    private mutating func action(_ kind: Kind, nesting: Int) -> Action {
        switch random.below(nesting < 2 ? 26 : 22) {
        case 0: .output(port())
        case 1: random.pick([.normal, .flood, .all, .inPort, .output(.local), .popQueue, .exit, .conntrackClear])
        case 2: .outputSubfield(Subfield(.register(random.below(16)), offset: random.below(16), width: 16))
        case 3: .outputTruncated(port(), maxLength: UInt32(14 + random.below(1000)))
        case 4: .group(UInt32(random.below(1000)))
        case 5: .enqueue(port(), queue: UInt32(random.below(9)))
        case 6: .setQueue(UInt32(random.below(9)))
        case 7: .setVLANID(UInt16(random.below(4096)), pushes: true)
        case 8: .setVLANPriority(UInt8(random.below(8)), pushes: true)
        case 9: .stripVLAN
        case 10: .setEthernetSource(MACAddress(value: random.next()))
        case 11: .setEthernetDestination(MACAddress(value: random.next()))
        case 12, 13: .setField(write())
        case 14: load()
        case 15: move()
        case 16: random.chance(2) ? .push(subfield()) : .pop(subfield())
        case 17: .setTunnel(random.next() >> 32, isWide: random.chance(2))
        case 18: .checkPacketLarger(UInt16(random.below(9000)), Subfield(.reg3, offset: random.below(32), width: 1))
        case 19:
            .resubmit(port: random.chance(2) ? port() : nil, table: UInt8(random.below(255)), withOriginalTuple: false)
        case 20: .note((0..<(6 + 8 * random.below(3))).map { _ in UInt8(truncatingIfNeeded: random.next()) })
        case 21: header(kind)
        case 22: .clone((0...random.below(3)).map { _ in action(kind, nesting: nesting + 1) })
        case 23: .learn(learn())
        default: kind.etherType == 0x0800 || kind.etherType == 0x86dd ? .conntrack(conntrack(kind)) : .stripVLAN
        }
    }

    private mutating func header(_ kind: Kind) -> Action {
        switch kind.etherType {
        case 0x0800: random.chance(2) ? .setIPv4Source(UInt32(truncatingIfNeeded: random.next())) : .setTOS(4)
        case 0x86dd: random.chance(2) ? .setTTL(UInt8(random.below(256))) : .decrementTTL(controllers: [])
        default: .setEthernetSource(.broadcast)
        }
    }

    private mutating func port() -> FlowPort { FlowPort(rawValue: UInt32(random.below(0xff00))) }

    private mutating func subfield() -> Subfield {
        let field = random.pick(Self.anywhere)
        guard random.chance(2) else { return Subfield(field) }
        let width = 1 + random.below(field.width)
        return Subfield(field, offset: random.below(field.width - width + 1), width: width)
    }

    private mutating func write() -> SetField {
        let field = random.pick(Self.anywhere)
        let mask = random.chance(2) ? field.fullMask : random.bits() & field.fullMask
        return SetField(field, random.bits(), mask: mask == 0 ? field.fullMask : mask)
    }

    private mutating func load() -> Action {
        let field = random.pick(Self.anywhere)
        let width = 1 + random.below(min(64, field.width))
        let subfield = Subfield(field, offset: random.below(field.width - width + 1), width: width)
        return .load(
            Load(random.next() & UInt64(truncatingIfNeeded: subfield.mask >> UInt128(subfield.offset)), subfield)
        )
    }

    private mutating func move() -> Action {
        let width = 1 + random.below(32)
        let fields = [random.pick(Self.anywhere), random.pick(Self.anywhere)]
        let parts = fields.map { field in Subfield(field, offset: random.below(field.width - width + 1), width: width) }
        return .move(Move(parts[0], parts[1]))
    }

    private mutating func learn() -> Learn {
        var learn = Learn()
        learn.table = UInt8(random.below(255))
        learn.priority = UInt16(random.below(65536))
        learn.cookie = random.next()
        learn.idleTimeout = UInt16(random.below(2))
        learn.hardTimeout = UInt16(random.below(300))
        learn.finIdleTimeout = UInt16(random.below(2))
        learn.finHardTimeout = UInt16(random.below(3))
        learn.deletesLearned = random.chance(2)
        learn.sendsFlowRemoved = random.chance(2)
        learn.limit = UInt32(random.below(3))
        if random.chance(2) { learn.result = Subfield(.reg1, offset: random.below(32), width: 1) }
        for _ in 0..<random.below(4) {
            let subfield = subfield()
            let value = random.bits() & subfield.mask >> UInt128(subfield.offset)
            let specifications: [Learn.Specification] = [
                .matchValue(subfield, value), .matchField(subfield, from: subfield), .loadValue(subfield, value),
                .loadField(subfield, from: subfield), .output(subfield),
                .matchField(Subfield(.reg0), from: Subfield(.reg1)),
            ]
            learn.specifications.append(random.pick(specifications))
        }
        return learn
    }

    private mutating func conntrack(_ kind: Kind) -> Conntrack {
        var conntrack = Conntrack()
        if random.chance(2) { conntrack.table = UInt8(random.below(255)) }
        conntrack.zone =
            random.chance(2) ? .number(UInt16(random.below(65536))) : .subfield(Subfield(.reg6, offset: 0, width: 16))
        if random.chance(2) { conntrack.actions = [.setField(SetField(.ctMark, random.bits()))] }
        if kind.networkProtocol == 17 { conntrack.helper = .tftp }
        conntrack.commits = canCommit && random.chance(2)
        conntrack.forces = conntrack.commits && random.chance(4)
        if random.chance(2) { conntrack.nat = nat(kind, hasRange: conntrack.commits) }
        return conntrack
    }

    private mutating func nat(_ kind: Kind, hasRange: Bool) -> NAT {
        var nat = NAT()
        guard hasRange else { return nat }
        nat.direction = random.chance(2) ? .source : .destination
        guard random.chance(2) else { return nat }
        let low = random.bits() >> 1
        let extra = UInt128(random.below(3))
        let low4 = UInt32(truncatingIfNeeded: low >> 65)
        nat.addresses =
            kind.etherType == 0x0800 ? .ipv4(low4...(low4 + UInt32(extra))) : .ipv6(low...(low + extra))
        if random.chance(2) { nat.ports = 1000...UInt16(1000 + random.below(2)) }
        nat.isPersistent = random.chance(2)
        nat.selection = random.pick([nil, .hash, .random])
        return nat
    }
}
