/// Adds flows; each replaces one with the same table, priority and match.
public struct FlowAdd: TextRequest {
    public static let method = "flow.add"

    public struct Response: Codable, Hashable, Sendable {
        /// How many flows the text has.
        public let added: Int
    }

    public var bridge: String
    public var flows: String?
    public var staged: Bool?

    public var text: String? {
        get { flows }
        set { flows = newValue }
    }

    public init(bridge: String, flows: String? = nil, staged: Bool? = nil) {
        self.bridge = bridge
        self.flows = flows
        self.staged = staged
    }
}

/// Gives the flows that a match selects other actions, as `ovs-ofctl mod-flows` does over OpenFlow 1.3.
public struct FlowModify: Request {
    public static let method = "flow.mod"

    public struct Response: Codable, Hashable, Sendable {
        public let modified: Int
    }

    public var bridge: String
    /// A match and actions: see `FlowText.modification`.
    public var flow: String
    /// Only the flow with just this match and priority.
    public var strict: Bool?

    public init(bridge: String, flow: String, strict: Bool? = nil) {
        self.bridge = bridge
        self.flow = flow
        self.strict = strict
    }
}

/// Makes a text all the flows of a bridge. Flows that are there already, in all they say, keep their counters.
public struct FlowReplace: TextRequest {
    public static let method = "flow.replace"

    public struct Response: Codable, Hashable, Sendable {
        /// Flows that were not there, or not so.
        public let added: Int
        /// Flows whose table, priority and match the text does not have.
        public let removed: Int
        public let unchanged: Int
    }

    public var bridge: String
    public var flows: String?
    public var staged: Bool?

    public var text: String? {
        get { flows }
        set { flows = newValue }
    }

    public init(bridge: String, flows: String? = nil, staged: Bool? = nil) {
        self.bridge = bridge
        self.flows = flows
        self.staged = staged
    }
}

/// Removes the flows that a match selects, as `ovs-ofctl del-flows` does.
public struct FlowDelete: Request {
    public static let method = "flow.del"

    public struct Response: Codable, Hashable, Sendable {
        public let deleted: Int
    }

    public var bridge: String
    /// Absent: all flows.
    public var match: String?
    /// Only flows with just this match and priority.
    public var strict: Bool?

    public init(bridge: String, match: String? = nil, strict: Bool? = nil) {
        self.bridge = bridge
        self.match = match
        self.strict = strict
    }
}

/// The flows that a match selects, by table, then priority from the highest, then text.
public struct FlowDump: Request {
    public static let method = "flow.dump"

    /// One of the two, as the request wants it.
    public struct Response: Codable, Sendable {
        public let flows: [FlowDescription]?
        public let lines: [String]?
    }

    public var bridge: String
    /// Absent: all flows.
    public var match: String?
    /// Names ports; else their numbers are shown.
    public var names: Bool?
    /// Wants the lines of `ovs-ofctl dump-flows`, without the space before each, in place of objects.
    public var lines: Bool?
    /// Whether lines have statistics; they do when absent.
    public var statistics: Bool?

    public init(
        bridge: String,
        match: String? = nil,
        names: Bool? = nil,
        lines: Bool? = nil,
        statistics: Bool? = nil
    ) {
        self.bridge = bridge
        self.match = match
        self.names = names
        self.lines = lines
        self.statistics = statistics
    }
}

/// What a flow looks like from outside: the *flow object* of README.md.
public struct FlowDescription: Codable, Hashable, Sendable {
    public let table: Int
    public let priority: Int
    /// Hexadecimal: JSON's numbers have 53 bits.
    public let cookie: String
    public let match: String
    public let actions: String
    /// The whole flow as `flow.add` takes it.
    public let flow: String
    public let packetCount: UInt64
    public let byteCount: UInt64
    /// Seconds since it was added.
    public let duration: Double
    /// Seconds since its last packet, or since it was added.
    public let idleAge: UInt64

    enum CodingKeys: String, CodingKey {
        case table, priority, cookie, match, actions, flow, duration
        case packetCount = "n_packets"
        case byteCount = "n_bytes"
        case idleAge = "idle_age"
    }
}

/// Has this connection told of flows that go, where they have `send_flow_rem`: as `FlowRemoved` notifications.
public struct FlowWatch: Request {
    public static let method = "flow.watch"
    public typealias Response = Done

    /// Absent: those of all bridges.
    public var bridge: String?

    public init(bridge: String? = nil) { self.bridge = bridge }
}

public struct FlowRemoved: Notification, Hashable {
    public static let method = "flow.removed"

    public enum Reason: String, Codable, Sendable {
        case idle, hard, delete
        /// A learn action had learned as many as it may.
        case eviction
        /// A group or meter that it used was deleted.
        case group, meter
    }

    public let bridge: String
    /// As `flow.add` takes it.
    public let flow: String
    public let reason: Reason
    /// Seconds that it was there.
    public let duration: Double
    public let packetCount: UInt64
    public let byteCount: UInt64
    /// Notices that this connection did not get so far because it read too slowly.
    public let lost: UInt64

    enum CodingKeys: String, CodingKey {
        case bridge, flow, reason, duration, lost
        case packetCount = "n_packets"
        case byteCount = "n_bytes"
    }
}
