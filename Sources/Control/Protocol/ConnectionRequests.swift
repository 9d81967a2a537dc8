/// Which tracked connections; all that is given must hold, of the first packet.
public struct ConnectionSelection: Codable, Hashable, Sendable {
    public var zone: Int?
    /// A name (tcp, udp, icmp, icmpv6, sctp) or a number.
    public var `protocol`: String?
    /// An address, or a CIDR.
    public var source: String?
    public var destination: String?
    public var sourcePort: Int?
    public var destinationPort: Int?
    public var mark: Int?

    public init() {}
}

/// Connections that are tracked, in no order.
public struct ConntrackDump: Request {
    public static let method = "conntrack.dump"

    public struct Response: Codable, Hashable, Sendable {
        public let connections: [Connection]
        /// `from` of the request that goes on; absent when there are no more.
        public let next: Int?
    }

    public struct Connection: Codable, Hashable, Sendable {
        public let zone: Int
        public let `protocol`: Int
        public let original: Direction
        public let reply: Direction
        public let mark: Int
        /// In hexadecimal digits.
        public let label: String
        /// Of TCP.
        public let state: String?
        /// What listens to it for connections that it announces.
        public let helper: String?
        /// Seconds until its end, and since its beginning.
        public let timeout: Int
        public let age: Int
    }

    /// Of ICMP, the source's port is the identifier of queries, and the destination's their type.
    public struct Direction: Codable, Hashable, Sendable {
        public let source: String
        public let destination: String
        public let sourcePort: Int
        public let destinationPort: Int
    }

    public var selection: ConnectionSelection?
    /// What `next` was; from the beginning when absent.
    public var from: Int?
    /// The most connections, 1 to 4096; 4096 when absent.
    public var limit: Int?

    public init(selection: ConnectionSelection? = nil, from: Int? = nil, limit: Int? = nil) {
        self.selection = selection
        self.from = from
        self.limit = limit
    }
}

/// Ends connections: their packets are of none from now on.
public struct ConntrackFlush: Request {
    public static let method = "conntrack.flush"

    public struct Response: Codable, Hashable, Sendable {
        public let flushed: Int
    }

    public var selection: ConnectionSelection?

    public init(selection: ConnectionSelection? = nil) { self.selection = selection }
}

/// Sets how connections are followed; what is absent stays as it is. Outlives the daemon.
public struct ConntrackSet: Request {
    public static let method = "conntrack.set"
    public typealias Response = Done

    /// Seconds, by the names of ovs-vswitchd.conf.db(5), "CT_Timeout_Policy". For connections that are used from then on.
    public var timeouts: [String: Int]?
    /// The most connections by zone; 0 for no limit of its own.
    public var limits: [String: Int]?
    /// Whether segments of TCP are not held against the windows.
    public var liberal: Bool?

    public init(timeouts: [String: Int]? = nil, limits: [String: Int]? = nil, liberal: Bool? = nil) {
        self.timeouts = timeouts
        self.limits = limits
        self.liberal = liberal
    }
}

/// How connections are followed.
public struct ConntrackSettings: Request {
    public static let method = "conntrack.settings"

    public struct Response: Codable, Hashable, Sendable {
        public let timeouts: [String: Int]
        public let limits: [String: Int]
        public let liberal: Bool
    }

    public init() {}
}

/// How many connections there are, and what became of the others since the start.
public struct ConntrackStats: Request {
    public static let method = "conntrack.stats"

    public struct Response: Codable, Hashable, Sendable {
        public let connections: UInt64
        public let capacity: UInt64
        public let created: UInt64
        public let expired: UInt64
        /// Given up before both sides had agreed to them, for others.
        public let evicted: UInt64
        /// Not begun: the table or the zone was full.
        public let refused: UInt64
    }

    public init() {}
}
