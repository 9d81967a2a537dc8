import Wire

/// `security_group.list`: the security groups that documents name.
public struct SecurityGroupList: Request {
    public static let method = "security_group.list"

    public struct Response: Codable, Hashable, Sendable {
        public let groups: [SecurityGroupDescription]

        enum CodingKeys: String, CodingKey { case groups = "security_groups" }
    }

    /// The id of a port: only its groups. Absent: all.
    public var port: String?

    public init(port: String? = nil) { self.port = port }
}

/// A security group and what it comes to on this host.
public struct SecurityGroupDescription: Codable, Hashable, Sendable {
    public let id: String
    public let name: String
    public let stateful: Bool
    public let rules: Int
    /// The ports that are filtered here by its rules.
    public let ports: Int
    /// Addresses and CIDRs of all its ports, wherever they are.
    public let members: Int
    /// Flows of br-int that allow what its rules do.
    public let flows: Int
}

/// `security_group.show`: a security group with its rules.
public struct SecurityGroupShow: Request {
    public static let method = "security_group.show"

    public struct Response: Codable, Hashable, Sendable {
        public let group: SecurityGroupDescription
        public let rules: [Rule]
        public let ports: [Port]
        /// Of the group itself, and of groups that its rules name, by id: addresses and CIDRs.
        public let members: [String: [String]]

        enum CodingKeys: String, CodingKey {
            case rules, ports, members
            case group = "security_group"
        }
    }

    /// As in the document, what is absent there is absent here.
    public struct Rule: Codable, Hashable, Sendable {
        public let id: String?
        public let direction: String
        public let ethertype: String
        public let `protocol`: String?
        /// Ports, or type and code of ICMP.
        public let least: Int?
        public let greatest: Int?
        public let remotePrefix: String?
        public let remoteGroup: String?

        enum CodingKeys: String, CodingKey {
            case id, direction, ethertype, `protocol`
            case least = "port_range_min"
            case greatest = "port_range_max"
            case remotePrefix = "remote_ip_prefix"
            case remoteGroup = "remote_group_id"
        }
    }

    /// One that is filtered here by the group's rules.
    public struct Port: Codable, Hashable, Sendable {
        public let id: String
        public let mac: MACAddress
        public let fixedIPs: [String]
        /// Its port of this switch.
        public let port: String?

        enum CodingKeys: String, CodingKey {
            case id, port
            case mac = "mac_address"
            case fixedIPs = "fixed_ips"
        }
    }

    /// An id, or a name that only one group has.
    public var id: String

    public init(id: String) { self.id = id }
}
