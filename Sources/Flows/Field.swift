/// A match field, under the name that ovs-fields(7) gives it.
///
/// What a field is - its names, width, place in the flow key, prerequisites and form in text - stands in one table,
/// `FieldProperties`, whose `switch` fails to compile until a new case is described there. The order of cases is that in
/// which a group prints its fields.
public enum Field: UInt8, CaseIterable, Hashable, Sendable {
    case conjID
    // Tunnel.
    case tunID, tunSource, tunDestination, tunIPv6Source, tunIPv6Destination, tunTTL, tunTOS
    // Where the packet came from, and what was noted of it.
    case metadata, inPort, inPortOXM, actsetOutput, pktMark
    // Connection tracking.
    case ctState, ctZone, ctMark, ctLabel
    case ctNWProto, ctNWSource, ctNWDestination, ctIPv6Source, ctIPv6Destination, ctTPSource, ctTPDestination
    // Registers: 32, 64 and 128 bits wide views of the same 512 bits.
    case reg0, reg1, reg2, reg3, reg4, reg5, reg6, reg7, reg8, reg9, reg10, reg11, reg12, reg13, reg14, reg15
    case xreg0, xreg1, xreg2, xreg3, xreg4, xreg5, xreg6, xreg7
    case xxreg0, xxreg1, xxreg2, xxreg3
    // Ethernet and VLAN.
    case ethSource, ethDestination, ethType, vlanTCI, dlVLAN, vlanVID, dlVLANPCP, vlanPCP
    // IPv4, IPv6.
    case ipSource, ipDestination, ipv6Source, ipv6Destination, ipv6Label
    case nwProto, nwTOS, ipDSCP, nwECN, nwTTL, ipFrag
    // ARP.
    case arpOp, arpSPA, arpTPA, arpSHA, arpTHA
    // Transport and ICMP.
    case tcpSource, tcpDestination, tcpFlags, udpSource, udpDestination, sctpSource, sctpDestination
    case icmpType, icmpCode, icmpv6Type, icmpv6Code, ndTarget, ndSLL, ndTLL, ndReserved, ndOptionsType
}

extension Field {
    /// The table of all fields, indexed by raw value.
    static let table = allCases.map(FieldProperties.init)

    /// The field's row in the table.
    var properties: FieldProperties { Self.table[Int(rawValue)] }

    private static let shapes = table.map(\.shape)

    /// The part of the row that is quick to read.
    var shape: FieldShape { Self.shapes[Int(rawValue)] }

    /// The name that a dump prints in `set_field`, such as `eth_src`.
    public var name: String { properties.name }

    /// Every name that the parser takes for the field: the printed one, its alias, and the NXM and OXM names.
    public var names: [String] { [properties.name] + properties.aliases + properties.oxm }

    /// The field's width in bits, as actions count them: `NXM_OF_ARP_OP[]` has 16 although a match uses 8.
    public var width: Int { shape.width }

    /// Where a packet's value lies in `FlowKey`.
    public var slot: FieldSlot { shape.slot }

    /// Whether a match may give a mask.
    public var isMaskable: Bool { shape.isMaskable }

    /// Whether an action may write the field.
    public var isWritable: Bool { shape.isWritable }

    /// The mask of all the bits that a value may have.
    public var fullMask: UInt128 { shape.limit }

    /// Whether the field names a set of addresses when its value is `$name`.
    public var takesAddressSet: Bool {
        switch self {
        case .ipSource, .ipDestination, .ipv6Source, .ipv6Destination, .ethSource, .ethDestination, .arpSPA, .arpTPA:
            true
        default: false
        }
    }

    /// Whether the field can only be written within `ct(...,exec(...))`.
    var isConntrackState: Bool { self == .ctMark || self == .ctLabel }

    /// Whether it is the view of a register that is 32 bits wide.
    var isRegister: Bool { (Field.reg0.rawValue...Field.reg15.rawValue).contains(rawValue) }

    /// The view of register `number` that is 32 bits wide.
    public static func register(_ number: Int) -> Field { Field(rawValue: Field.reg0.rawValue + UInt8(number))! }
}

/// Where a field lies in a flow key: `width` bits of a word, `shift` bits above its least significant one.
///
/// A field of 128 bits takes the whole of two words, the more significant 64 bits in `word`.
@frozen public struct FieldSlot: Hashable, Sendable {
    public let word: Int
    public let shift: Int
    public let width: Int

    init(_ word: Int, _ shift: Int, _ width: Int) {
        self.word = word
        self.shift = shift
        self.width = width
    }

    /// The bits of a value that the slot holds.
    @inlinable public var mask: UInt128 { width == 128 ? .max : (1 << UInt128(width)) - 1 }
}
