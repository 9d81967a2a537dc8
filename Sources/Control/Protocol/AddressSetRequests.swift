/// Adds an address set, which flows of all bridges may name: `nw_src=$name`.
public struct AddressSetAdd: TextRequest {
    public static let method = "address_set.add"

    public struct Response: Codable, Hashable, Sendable {
        /// Members.
        public let added: Int
    }

    public var name: String
    /// Addresses between white space, each with `/LENGTH`, `/MASK` or alone.
    public var members: String?
    public var staged: Bool?

    public var text: String? {
        get { members }
        set { members = newValue }
    }

    public init(name: String, members: String? = nil, staged: Bool? = nil) {
        self.name = name
        self.members = members
        self.staged = staged
    }
}

/// Adds members to a set; one that is there stays.
public struct AddressSetAddMembers: TextRequest {
    public static let method = "address_set.add_members"

    public struct Response: Codable, Hashable, Sendable {
        /// Members that were not there.
        public let added: Int
    }

    public var name: String
    /// Addresses between white space, each with `/LENGTH`, `/MASK` or alone.
    public var members: String?
    public var staged: Bool?

    public var text: String? {
        get { members }
        set { members = newValue }
    }

    public init(name: String, members: String? = nil, staged: Bool? = nil) {
        self.name = name
        self.members = members
        self.staged = staged
    }
}

/// Removes members of a set; refused when one is not there.
public struct AddressSetDeleteMembers: TextRequest {
    public static let method = "address_set.del_members"

    public struct Response: Codable, Hashable, Sendable {
        public let deleted: Int
    }

    public var name: String
    /// Addresses between white space, each with `/LENGTH`, `/MASK` or alone.
    public var members: String?
    public var staged: Bool?

    public var text: String? {
        get { members }
        set { members = newValue }
    }

    public init(name: String, members: String? = nil, staged: Bool? = nil) {
        self.name = name
        self.members = members
        self.staged = staged
    }
}

/// Removes a set that no flow uses.
public struct AddressSetDelete: Request {
    public static let method = "address_set.del"
    public typealias Response = Done

    public var name: String

    public init(name: String) { self.name = name }
}

/// The address sets by name.
public struct AddressSetList: Request {
    public static let method = "address_set.list"

    public struct Response: Codable, Hashable, Sendable {
        public let addressSets: [AddressSet]

        enum CodingKeys: String, CodingKey { case addressSets = "address_sets" }
    }

    public struct AddressSet: Codable, Hashable, Sendable {
        public let name: String
        /// How many.
        public let members: Int
    }

    public init() {}
}

/// The members of a set: IPv4, then IPv6, then MAC addresses, each in order.
public struct AddressSetShow: Request {
    public static let method = "address_set.show"

    public struct Response: Codable, Hashable, Sendable {
        public let name: String
        public let members: [String]
    }

    public var name: String

    public init(name: String) { self.name = name }
}
