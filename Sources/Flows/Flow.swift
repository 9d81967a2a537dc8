/// A flow as its text says it: where it stands, what it matches and what it does (ovs-ofctl(8), 'Flow Syntax').
public struct Flow: Hashable, Sendable {
    /// The priority of a flow whose text has none.
    public static let defaultPriority: UInt16 = 0x8000
    /// Tables are 0 to 254; 255 means any.
    public static let tables: ClosedRange<UInt8> = 0...254

    public var match = Match()
    /// Empty drops.
    public var actions: [Action] = []
    public var cookie: UInt64 = 0
    public var priority = Flow.defaultPriority
    /// Seconds without a packet, and since it was added, after which the flow goes; 0 is never.
    public var idleTimeout: UInt16 = 0
    public var hardTimeout: UInt16 = 0
    /// Flows of less importance are evicted first.
    public var importance: UInt16 = 0
    public var table: UInt8 = 0
    public var flags: FlowFlags = []

    public init() {}
}

/// The flags of a flow (ovs-ofctl(8), 'Flow Syntax'); the order of bits is that of the printed words.
public struct FlowFlags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Subscribers are told when the flow goes.
    public static let sendFlowRemoved = FlowFlags(rawValue: 1)
    /// Refused when it overlaps a flow of the same priority.
    public static let checkOverlap = FlowFlags(rawValue: 2)
    /// Changing the flow sets its counters to zero.
    public static let resetCounts = FlowFlags(rawValue: 4)
    public static let noPacketCounts = FlowFlags(rawValue: 8)
    public static let noByteCounts = FlowFlags(rawValue: 16)

    static let words: [(word: String, flag: FlowFlags)] = [
        ("send_flow_rem", .sendFlowRemoved), ("check_overlap", .checkOverlap), ("reset_counts", .resetCounts),
        ("no_packet_counts", .noPacketCounts), ("no_byte_counts", .noByteCounts),
    ]
}

/// What a dump says of a flow beside the flow itself.
public struct FlowStatistics: Hashable, Sendable {
    /// Milliseconds since the flow was added.
    public var durationMilliseconds: UInt64 = 0
    public var packetCount: UInt64 = 0
    public var byteCount: UInt64 = 0
    /// Seconds since a packet last hit, and since the flow was last changed; nil is not printed.
    public var idleAge: UInt32?
    public var hardAge: UInt32?

    public init() {}
}

/// Which flows a dump, a change or a removal is about.
public struct FlowFilter: Hashable, Sendable {
    public var match = Match()
    /// nil is any table.
    public var table: UInt8?
    /// A flow's cookie must have `cookie` under `cookieMask`.
    public var cookie: UInt64 = 0
    public var cookieMask: UInt64 = 0
    /// Only flows that output to the port, or to the group.
    public var outPort: FlowPort?
    public var outGroup: UInt32?
    /// Said by a strict filter only, which then needs an equal match.
    public var priority: UInt16?

    public init() {}
}

/// A change to flows: those that `filter` finds get the actions of `flow`, and keep their timeouts and flags (OpenFlow 1.3
/// section 6.4).
public struct FlowModification: Hashable, Sendable {
    public var filter: FlowFilter
    public var flow: Flow
    /// Whether the text sets a cookie; otherwise flows keep theirs.
    public var setsCookie: Bool

    /// What becomes of a flow that it finds.
    public func changed(_ flow: Flow) -> Flow {
        var changed = flow
        changed.actions = self.flow.actions
        if setsCookie { changed.cookie = self.flow.cookie }
        return changed
    }
}
