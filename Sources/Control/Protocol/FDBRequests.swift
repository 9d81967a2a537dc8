public struct FDBShow: Request {
    public static let method = "fdb.show"

    public struct Response: Codable, Hashable, Sendable {
        public let entries: [Entry]
        public let statistics: FDBStats.Response
    }

    public struct Entry: Codable, Hashable, Sendable {
        public let mac: String
        public let vlan: Int
        public let port: String
        /// Seconds since the station's last frame; 0 for a static entry.
        public let age: Int
        public let `static`: Bool
    }

    public var bridge: String

    public init(bridge: String) { self.bridge = bridge }
}

/// How full a bridge's table is, and what it saw since the bridge was added.
public struct FDBStats: Request {
    public static let method = "fdb.stats"

    public struct Response: Codable, Hashable, Sendable {
        public let entries: Int
        public let capacity: Int
        public let learned: UInt64
        public let moved: UInt64
        public let aged: UInt64
        public let evicted: UInt64
    }

    public var bridge: String

    public init(bridge: String) { self.bridge = bridge }
}

/// Adds a static entry: one that never ages and never moves.
public struct FDBAdd: Request {
    public static let method = "fdb.add"
    public typealias Response = Done

    public var bridge: String
    public var mac: String
    /// Absent: VLAN 0, the untagged one.
    public var vlan: Int?
    public var port: String

    public init(bridge: String, mac: String, vlan: Int? = nil, port: String) {
        self.bridge = bridge
        self.mac = mac
        self.vlan = vlan
        self.port = port
    }
}

/// Removes one entry, static or learned.
public struct FDBDelete: Request {
    public static let method = "fdb.del"
    public typealias Response = Done

    public var bridge: String
    public var mac: String
    public var vlan: Int?

    public init(bridge: String, mac: String, vlan: Int? = nil) {
        self.bridge = bridge
        self.mac = mac
        self.vlan = vlan
    }
}

/// Forgets learned entries; static ones stay.
public struct FDBFlush: Request {
    public static let method = "fdb.flush"

    public struct Response: Codable, Hashable, Sendable {
        public let flushed: Int
    }

    public var bridge: String
    public var port: String?
    public var vlan: Int?

    public init(bridge: String, port: String? = nil, vlan: Int? = nil) {
        self.bridge = bridge
        self.port = port
        self.vlan = vlan
    }
}
