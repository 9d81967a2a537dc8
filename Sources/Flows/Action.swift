public import Wire

/// One action or instruction of a flow (ovs-actions(7)), at most 16 bytes beside what it points to.
///
/// Spellings that mean the same but that a dump keeps apart are cases of their own (`strip_vlan`, `pop_vlan`).
public enum Action: Hashable, Sendable {
    /// To a port of the bridge, or LOCAL.
    case output(FlowPort)
    /// To the port whose number is in a field.
    case outputSubfield(Subfield)
    /// To a port, cut to `maxLength` bytes.
    case outputTruncated(FlowPort, maxLength: UInt32)
    case inPort, normal, flood, all
    case group(UInt32)
    case meter(UInt32)
    case enqueue(FlowPort, queue: UInt32)
    case setQueue(UInt32)
    case popQueue

    /// `pushes` says whether a packet without a tag gets one (`mod_vlan_vid`) or stays as it is (`set_vlan_vid`).
    case setVLANID(UInt16, pushes: Bool)
    case setVLANPriority(UInt8, pushes: Bool)
    case stripVLAN, popVLAN
    case pushVLAN(TPID)
    case setEthernetSource(MACAddress)
    case setEthernetDestination(MACAddress)
    /// An IPv4 address as a number.
    case setIPv4Source(UInt32)
    case setIPv4Destination(UInt32)
    /// The DSCP in the upper six bits.
    case setTOS(UInt8)
    case setECN(UInt8)
    case setTTL(UInt8)
    case setTransportSource(UInt16)
    case setTransportDestination(UInt16)
    /// The ids of controllers to tell of an expired TTL; Martlet has none and only keeps them.
    case decrementTTL(controllers: [UInt16])

    indirect case setField(SetField)
    indirect case load(Load)
    indirect case move(Move)
    case push(Subfield)
    case pop(Subfield)
    /// `isWide` keeps `set_tunnel64` apart from `set_tunnel`.
    case setTunnel(UInt64, isWide: Bool)
    case checkPacketLarger(UInt16, Subfield)

    /// A port or table that is nil stays as it is.
    case resubmit(port: FlowPort?, table: UInt8?, withOriginalTuple: Bool)
    case gotoTable(UInt8)
    indirect case writeMetadata(UInt64, mask: UInt64)
    case writeActions([Action])
    case clearActions
    case clone([Action])
    case exit

    indirect case conntrack(Conntrack)
    case conntrackClear
    indirect case learn(Learn)
    /// Clause `clause` (from 1) of the `count` that conjunction `id` has.
    case conjunction(id: UInt32, clause: UInt8, count: UInt8)
    /// Timeouts in seconds after a TCP FIN or RST; 0 leaves the flow's.
    case finTimeout(idle: UInt16, hard: UInt16)
    /// Its sender is told that the packet does not arrive; not one of Open vSwitch's.
    indirect case reject(Reject)
    /// Bytes that are kept and mean nothing, padded as on the wire to six more than a multiple of eight.
    case note([UInt8])
}

/// `width` bits of a field, `offset` bits above its least significant one: `NXM_NX_REG0[4..7]`.
public struct Subfield: Hashable, Sendable {
    public let field: Field
    public let offset: UInt8
    public let width: UInt8

    /// - Precondition: the bits lie within the field and there is at least one.
    public init(_ field: Field, offset: Int, width: Int) {
        precondition(offset >= 0 && width > 0 && offset + width <= field.width)
        self.field = field
        self.offset = UInt8(offset)
        self.width = UInt8(width)
    }

    /// The whole field.
    public init(_ field: Field) { self.init(field, offset: 0, width: field.width) }

    public var isWholeField: Bool { offset == 0 && Int(width) == field.width }

    /// The bits within the field's value.
    public var mask: UInt128 { FieldSlot(0, 0, Int(width)).mask << UInt128(offset) }
}

/// `reject(type=TYPE,code=CODE,source=ADDRESS)`: a message of ICMP, or ICMPv6 where the address is of IPv6, about the packet.
public struct Reject: Hashable, Sendable {
    public let type: UInt8
    public let code: UInt8
    /// Who says it.
    public let source: IPAddress

    /// The greatest code of each type of message that a flow may have sent: destination unreachable and time exceeded
    /// (RFC 792, RFC 1812 section 5.2.7.1; RFC 4443 sections 3.1 and 3.3). Of what is too long the switch tells by itself.
    public static func greatestCode(ofType type: UInt8, isIPv4: Bool) -> UInt8? {
        switch (type, isIPv4) {
        case (3, true): 15
        case (1, false): 7
        case (11, true), (3, false): 1
        default: nil
        }
    }
}

/// `set_field:VALUE/MASK->FIELD`. The mask is the field's `fullMask` where the text has none.
public struct SetField: Hashable, Sendable {
    public let field: Field
    public let value: UInt128
    public let mask: UInt128

    public init(_ field: Field, _ value: UInt128, mask: UInt128? = nil) {
        self.field = field
        self.mask = mask ?? field.fullMask
        self.value = value & self.mask
    }
}

/// `load:VALUE->SUBFIELD`, of at most 64 bits.
public struct Load: Hashable, Sendable {
    public let value: UInt64
    public let destination: Subfield

    public init(_ value: UInt64, _ destination: Subfield) {
        self.value = value
        self.destination = destination
    }
}

/// `move:SOURCE->DESTINATION`, both of the same width.
public struct Move: Hashable, Sendable {
    public let source: Subfield
    public let destination: Subfield

    public init(_ source: Subfield, _ destination: Subfield) {
        self.source = source
        self.destination = destination
    }
}
