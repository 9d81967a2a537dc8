/// `ct(...)`: the packet through the connection tracker (ovs-actions(7), 'The ct action').
public struct Conntrack: Hashable, Sendable {
    /// Where a zone's number comes from.
    public enum Zone: Hashable, Sendable {
        case number(UInt16)
        case subfield(Subfield)
    }

    /// A helper that finds a protocol's related connections.
    public enum Helper: String, Hashable, Sendable, CaseIterable {
        case ftp, tftp
    }

    public var commits = false
    public var forces = false
    /// The table to go on in, tracked; nil tracks a copy and goes on untracked.
    public var table: UInt8?
    public var zone = Zone.number(0)
    public var nat: NAT?
    /// Writes to ct_mark and ct_label.
    public var actions: [Action] = []
    public var helper: Helper?

    public init() {}
}

/// `nat(...)` within `ct`; without a direction it applies what the connection already has.
public struct NAT: Hashable, Sendable {
    public enum Direction: String, Hashable, Sendable {
        case source = "src"
        case destination = "dst"
    }

    /// How a port is chosen within the range.
    public enum Selection: String, Hashable, Sendable {
        case hash, random
    }

    public var direction: Direction?
    public var addresses: AddressRange?
    /// Ports from the first to the last; nil leaves the choice free.
    public var ports: ClosedRange<UInt16>?
    public var isPersistent = false
    public var selection: Selection?

    public init() {}
}

/// Addresses from the first to the last, as numbers.
public enum AddressRange: Hashable, Sendable {
    case ipv4(ClosedRange<UInt32>)
    /// Boxed: rare, and it would make every `ct` 32 bytes larger.
    indirect case ipv6(ClosedRange<UInt128>)
}
