import Flows
import Wire

/// What a packet must be before an edit means anything. Flows match it (ovs-fields(7), 'Prerequisites'); a bucket has no
/// match, and its edits are left out for packets of another kind.
enum Precondition: UInt8 {
    case tagged, arp, ipv4, ipv6, ip
    /// IP, and no later fragment.
    case transport
    case tcp, udp, sctp, icmp, icmpv6
    case discovery, solicitation, advertisement
    /// It is of a connection, or begins one.
    case connected

    /// nil for a field that every packet has.
    init?(_ field: Field) {
        switch field {
        case .vlanPCP: self = .tagged
        case .arpOp, .arpSPA, .arpTPA, .arpSHA, .arpTHA: self = .arp
        case .ipSource, .ipDestination: self = .ipv4
        case .ipv6Source, .ipv6Destination, .ipv6Label: self = .ipv6
        case .nwProto, .nwTOS, .ipDSCP, .nwECN, .nwTTL, .ipFrag: self = .ip
        case .tcpSource, .tcpDestination, .tcpFlags: self = .tcp
        case .udpSource, .udpDestination: self = .udp
        case .sctpSource, .sctpDestination: self = .sctp
        case .icmpType, .icmpCode: self = .icmp
        case .icmpv6Type, .icmpv6Code: self = .icmpv6
        case .ndTarget, .ndReserved, .ndOptionsType: self = .discovery
        case .ndSLL: self = .solicitation
        case .ndTLL: self = .advertisement
        case .ctNWProto, .ctNWSource, .ctNWDestination, .ctIPv6Source, .ctIPv6Destination, .ctTPSource,
            .ctTPDestination:
            self = .connected
        default: return nil
        }
    }

    /// What an action needs (ovs-actions(7)).
    static func all(of action: Action) -> [Precondition] {
        switch action {
        case .setIPv4Source, .setIPv4Destination: [.ipv4]
        case .setTOS, .setECN, .setTTL: [.ip]
        case .setTransportSource, .setTransportDestination: [.transport]
        case .setField(let set): [Precondition(set.field)].compactMap { $0 }
        case .load(let load): [Precondition(load.destination.field)].compactMap { $0 }
        case .move(let move): [move.source.field, move.destination.field].compactMap { Precondition($0) }
        default: []
        }
    }

    /// A write of ICMPv6's type or code may end what the flow matched, and not all that matches as tracked is of a
    /// connection: then the action is left out (as in Open vSwitch).
    var canEnd: Bool { self == .discovery || self == .solicitation || self == .advertisement || self == .connected }
}

extension Instruction {
    /// An action's instructions, run only for packets that they mean anything for.
    static func conditional(_ action: Action, _ context: ActionContext) throws(Refusal) -> [Instruction] {
        var instructions: [Instruction] = []
        try append(action, to: &instructions, context)
        for condition in Precondition.all(of: action) {
            var test = Instruction(.require)
            test.table = condition.rawValue
            test.count = UInt16(instructions.count)
            instructions.insert(test, at: 0)
        }
        return instructions
    }
}

extension Walk {
    mutating func meets(_ condition: Precondition) -> Bool {
        switch condition {
        case .tagged:
            depend(on: UInt64(FlowKey.vlanPresent), word: 0)
            return isTagged
        case .arp: return hasType(EtherType.arp, EtherType.rarp)
        case .ipv4: return hasType(EtherType.ipv4, EtherType.ipv4)
        case .ipv6: return hasType(EtherType.ipv6, EtherType.ipv6)
        case .ip: return hasType(EtherType.ipv4, EtherType.ipv6)
        case .transport: return meets(.ip) && !isLaterFragment()
        case .tcp: return hasProtocol(IPProtocol.tcp) && !isLaterFragment()
        case .udp: return hasProtocol(IPProtocol.udp) && !isLaterFragment()
        case .sctp: return hasProtocol(IPProtocol.sctp) && !isLaterFragment()
        case .icmp: return meets(.ipv4) && hasProtocol(IPProtocol.icmp)
        case .icmpv6: return meets(.ipv6) && hasProtocol(IPProtocol.icmpv6)
        case .discovery: return meets(.solicitation) || meets(.advertisement)
        case .solicitation: return meets(.icmpv6) && hasMessage(type: 135)
        case .advertisement: return meets(.icmpv6) && hasMessage(type: 136)
        case .connected:
            let bits = UInt64(TrackBits.new | TrackBits.established | TrackBits.reply)
            depend(on: bits, word: TrackWords.state)
            return key[TrackWords.state] & bits != 0
        }
    }

    private func hasType(_ first: UInt16, _ second: UInt16) -> Bool {
        depend(on: 0xffff_0000, word: 0)
        let type = UInt16(truncatingIfNeeded: key[0] >> 16)
        return type == first || type == second
    }

    private mutating func hasProtocol(_ number: UInt8) -> Bool {
        guard meets(.ip) else { return false }
        depend(on: 0xff00, word: 2)
        return UInt8(truncatingIfNeeded: key[2] >> 8) == number
    }

    private func isLaterFragment() -> Bool {
        depend(on: 0x2, word: 2)
        return key[2] & 0x2 != 0
    }

    /// Of type and code 0 (RFC 4861 section 4).
    private func hasMessage(type: UInt64) -> Bool {
        depend(on: 0xffff_ffff_0000_0000, word: 4)
        return key[4] >> 32 == type << 16
    }
}
