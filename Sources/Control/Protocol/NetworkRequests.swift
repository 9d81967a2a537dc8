import Wire

/// `network.apply`: changes documents of desired state, all or none.
public struct NetworkApply: TextRequest {
    public static let method = "network.apply"

    public struct Response: Codable, Hashable, Sendable {
        /// Documents that are new, or not as they were.
        public let changed: Int
        public let removed: Int
        /// Documents that say what was known, or less than that.
        public let unchanged: Int
    }

    /// JSON, a document a line.
    public var documents: String?
    public var staged: Bool?
    /// Whether documents that are not named go.
    public var snapshot: Bool?

    public var text: String? {
        get { documents }
        set { documents = newValue }
    }

    public init(documents: String? = nil, staged: Bool? = nil, snapshot: Bool? = nil) {
        self.documents = documents
        self.staged = staged
        self.snapshot = snapshot
    }
}

/// `network.list`: the networks that documents name.
public struct NetworkList: Request {
    public static let method = "network.list"

    public struct Response: Codable, Hashable, Sendable {
        public let networks: [NetworkDescription]
    }

    public init() {}
}

/// A network in Neutron's words.
public struct NetworkDescription: Codable, Hashable, Sendable {
    public let id: String
    public let name: String
    public let networkType: String
    public let physicalNetwork: String?
    public let segmentationID: UInt32?
    public let mtu: Int
    /// The VLAN that it has within this host; nil without a port here.
    public let localVLAN: UInt16?
    /// How many ports it has.
    public let ports: Int
    /// The hosts where they can be met.
    public let hosts: [String]

    enum CodingKeys: String, CodingKey {
        case id, name, mtu, ports, hosts
        case networkType = "network_type"
        case physicalNetwork = "physical_network"
        case segmentationID = "segmentation_id"
        case localVLAN = "local_vlan"
    }
}

/// `network.show`: a network with its ports.
public struct NetworkShow: Request {
    public static let method = "network.show"

    public struct Response: Codable, Hashable, Sendable {
        public let network: NetworkDescription
        public let ports: [Port]
        /// Where broadcasts go: the addresses of other hosts' tunnels.
        public let floodingEntries: [String]

        enum CodingKeys: String, CodingKey {
            case network, ports
            case floodingEntries = "flooding_entries"
        }
    }

    public struct Port: Codable, Hashable, Sendable {
        public let id: String
        public let mac: MACAddress
        public let fixedIPs: [String]
        public let host: String?
        public let isUp: Bool
        /// Its port of this switch.
        public let port: String?

        enum CodingKeys: String, CodingKey {
            case id, host, port
            case mac = "mac_address"
            case fixedIPs = "fixed_ips"
            case isUp = "admin_state_up"
        }
    }

    public var id: String

    public init(id: String) { self.id = id }
}

/// `tunnel.list`: the other ends of this host's tunnels.
public struct TunnelList: Request {
    public static let method = "tunnel.list"

    public struct Response: Codable, Hashable, Sendable {
        public let tunnels: [Tunnel]
    }

    /// Tunnels of a type to a host.
    public struct Tunnel: Codable, Hashable, Sendable {
        public let host: String
        public let type: String
        public let localIP: String
        public let remoteIP: String
        /// Networks that are on both hosts.
        public let networks: Int
        /// Stations there of those networks.
        public let entries: Int

        enum CodingKeys: String, CodingKey {
            case host, type, networks
            case localIP = "local_ip"
            case remoteIP = "remote_ip"
            case entries = "fdb_entries"
        }
    }

    public init() {}
}
