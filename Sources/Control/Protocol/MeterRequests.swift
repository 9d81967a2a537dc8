/// Adds meters, all or none; refused when one of them exists.
public struct MeterAdd: TextRequest {
    public static let method = "meter.add"

    public struct Response: Codable, Hashable, Sendable {
        public let added: Int
    }

    public var bridge: String
    /// One meter a line, as for ovs-ofctl(8).
    public var meters: String?
    public var staged: Bool?

    public var text: String? {
        get { meters }
        set { meters = newValue }
    }

    public init(bridge: String, meters: String? = nil, staged: Bool? = nil) {
        self.bridge = bridge
        self.meters = meters
        self.staged = staged
    }
}

/// Replaces meters that exist; flows that use them stay. They begin anew: counters at 0, buckets full.
public struct MeterModify: TextRequest {
    public static let method = "meter.mod"

    public struct Response: Codable, Hashable, Sendable {
        public let modified: Int
    }

    public var bridge: String
    /// One meter a line, as for ovs-ofctl(8).
    public var meters: String?
    public var staged: Bool?

    public var text: String? {
        get { meters }
        set { meters = newValue }
    }

    public init(bridge: String, meters: String? = nil, staged: Bool? = nil) {
        self.bridge = bridge
        self.meters = meters
        self.staged = staged
    }
}

/// Removes meters of a bridge, and the flows that use them, as `ovs-ofctl del-meters` does.
public struct MeterDelete: Request {
    public static let method = "meter.del"

    public struct Response: Codable, Hashable, Sendable {
        public let deleted: Int
        /// Flows that went with them.
        public let flows: Int
    }

    public var bridge: String
    /// Their numbers. Absent: all.
    public var meters: [UInt32]?

    public init(bridge: String, meters: [UInt32]? = nil) {
        self.bridge = bridge
        self.meters = meters
    }
}

/// The meters of a bridge, by number.
public struct MeterDump: Request {
    public static let method = "meter.dump"

    public struct Response: Codable, Hashable, Sendable {
        public let meters: [MeterDescription]
    }

    public var bridge: String

    public init(bridge: String) { self.bridge = bridge }
}

/// What a meter looks like from outside: the *meter object* of README.md.
public struct MeterDescription: Codable, Hashable, Sendable {
    public struct Band: Codable, Hashable, Sendable {
        public let type: String
        /// In the meter's unit.
        public let rate: UInt32
        /// Kilobits or packets, where the meter has bursts.
        public let burstSize: UInt32?

        enum CodingKeys: String, CodingKey {
            case type, rate
            case burstSize = "burst_size"
        }
    }

    public let identifier: UInt32
    /// kbps or pktps.
    public let unit: String
    public let bands: [Band]
    /// The whole meter as `meter.add` takes it.
    public let meter: String

    enum CodingKeys: String, CodingKey {
        case unit, bands, meter
        case identifier = "meter_id"
    }
}

/// What the meters of a bridge counted since each was added or replaced.
public struct MeterStats: Request {
    public static let method = "meter.stats"

    public struct Response: Codable, Hashable, Sendable {
        public let meters: [Meter]
    }

    public struct Meter: Codable, Hashable, Sendable {
        public let identifier: UInt32
        /// Flows that use it.
        public let flowCount: Int
        /// What came to it.
        public let packetCount: UInt64
        public let byteCount: UInt64
        /// What each band dropped.
        public let bands: [Band]

        enum CodingKeys: String, CodingKey {
            case bands
            case identifier = "meter_id"
            case flowCount = "flow_count"
            case packetCount = "packet_in_count"
            case byteCount = "byte_in_count"
        }
    }

    public struct Band: Codable, Hashable, Sendable {
        public let packetCount: UInt64
        public let byteCount: UInt64

        enum CodingKeys: String, CodingKey {
            case packetCount = "packet_count"
            case byteCount = "byte_count"
        }
    }

    public var bridge: String

    public init(bridge: String) { self.bridge = bridge }
}
