/// Adds groups, all or none; refused when one of them exists.
public struct GroupAdd: TextRequest {
    public static let method = "group.add"

    public struct Response: Codable, Hashable, Sendable {
        public let added: Int
    }

    public var bridge: String
    /// One group a line, as for ovs-ofctl(8).
    public var groups: String?
    public var staged: Bool?

    public var text: String? {
        get { groups }
        set { groups = newValue }
    }

    public init(bridge: String, groups: String? = nil, staged: Bool? = nil) {
        self.bridge = bridge
        self.groups = groups
        self.staged = staged
    }
}

/// Replaces groups that exist; flows that use them stay.
public struct GroupModify: TextRequest {
    public static let method = "group.mod"

    public struct Response: Codable, Hashable, Sendable {
        public let modified: Int
    }

    public var bridge: String
    /// One group a line, as for ovs-ofctl(8).
    public var groups: String?
    public var staged: Bool?

    public var text: String? {
        get { groups }
        set { groups = newValue }
    }

    public init(bridge: String, groups: String? = nil, staged: Bool? = nil) {
        self.bridge = bridge
        self.groups = groups
        self.staged = staged
    }
}

/// Removes groups of a bridge, and the flows that use them, as `ovs-ofctl del-groups` does.
public struct GroupDelete: Request {
    public static let method = "group.del"

    public struct Response: Codable, Hashable, Sendable {
        public let deleted: Int
        /// Flows that went with them.
        public let flows: Int
    }

    public var bridge: String
    /// Their numbers. Absent: all.
    public var groups: [UInt32]?

    public init(bridge: String, groups: [UInt32]? = nil) {
        self.bridge = bridge
        self.groups = groups
    }
}

/// The groups of a bridge, by number.
public struct GroupDump: Request {
    public static let method = "group.dump"

    public struct Response: Codable, Hashable, Sendable {
        public let groups: [GroupDescription]
    }

    public var bridge: String
    /// Names ports; else their numbers are shown.
    public var names: Bool?

    public init(bridge: String, names: Bool? = nil) {
        self.bridge = bridge
        self.names = names
    }
}

/// What a group looks like from outside: the *group object* of README.md.
public struct GroupDescription: Codable, Hashable, Sendable {
    public struct Bucket: Codable, Hashable, Sendable {
        public let identifier: UInt32
        /// Of select groups.
        public let weight: UInt16?
        public let watchPort: String?
        public let watchGroup: UInt32?
        public let actions: String

        enum CodingKeys: String, CodingKey {
            case weight, actions
            case identifier = "bucket_id"
            case watchPort = "watch_port"
            case watchGroup = "watch_group"
        }
    }

    public let identifier: UInt32
    public let type: String
    /// How a select group chooses, where it says so.
    public let selectionMethod: String?
    public let buckets: [Bucket]
    /// The whole group as `group.add` takes it.
    public let group: String

    enum CodingKeys: String, CodingKey {
        case type, buckets, group
        case identifier = "group_id"
        case selectionMethod = "selection_method"
    }
}
