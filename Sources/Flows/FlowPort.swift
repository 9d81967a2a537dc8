/// A port as flows name it: OpenFlow 1.0's number, 0 to 0xfeff for ports of the bridge, above for reserved ones.
///
/// OpenFlow 1.1's numbers of the reserved ports, 0xfffffff8 and above, are read as OpenFlow 1.0's.
public struct FlowPort: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt32

    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    @inlinable init(_ rawValue: UInt32) { self.rawValue = rawValue }

    public static let inPort = FlowPort(0xfff8)
    public static let table = FlowPort(0xfff9)
    public static let normal = FlowPort(0xfffa)
    public static let flood = FlowPort(0xfffb)
    public static let all = FlowPort(0xfffc)
    public static let controller = FlowPort(0xfffd)
    public static let local = FlowPort(0xfffe)
    public static let none = FlowPort(0xffff)
    /// What `actset_output` is while an action set has no output (OpenFlow 1.5).
    public static let unset = FlowPort(0xfff7)

    /// Numbers below are ports of the bridge.
    public static let firstReserved: UInt32 = 0xff00

    /// Whether the number can be that of a port of the bridge.
    public var isOrdinary: Bool { rawValue < Self.firstReserved }

    /// The name of a reserved port, such as `LOCAL`.
    public var reservedName: String? { Self.reserved.first { $0.port == self }?.name }

    static let reserved: [(name: String, port: FlowPort)] = [
        ("IN_PORT", .inPort), ("TABLE", .table), ("NORMAL", .normal), ("FLOOD", .flood), ("ALL", .all),
        ("CONTROLLER", .controller), ("LOCAL", .local), ("NONE", .none), ("ANY", .none),
        ("UNSET", .unset),
    ]

    /// The port that a decimal number names in either numbering, or nil for a number that neither has.
    init?(number: UInt128) {
        switch number {
        case 0...0xffff: self.init(UInt32(number))
        case 0xffff_ff00...0xffff_ffff: self.init(UInt32(number & 0xffff))
        default: return nil
        }
    }
}

/// Finds a port's number by its name; nil when there is no such port.
public typealias PortResolver = (String) -> UInt32?

/// Names a port; nil prints its number.
public typealias PortNamer = (FlowPort) -> String?
