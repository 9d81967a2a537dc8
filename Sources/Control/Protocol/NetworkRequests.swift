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
    /// That of a snapshot: documents that are newer stay, and what is older is ignored from then on.
    public var revision: UInt64?

    public var text: String? {
        get { documents }
        set { documents = newValue }
    }

    public init(
        documents: String? = nil,
        staged: Bool? = nil,
        snapshot: Bool? = nil,
        revision: UInt64? = nil
    ) {
        self.documents = documents
        self.staged = staged
        self.snapshot = snapshot
        self.revision = revision
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

/// `network.digest`: what is held, in a form that is short to compare.
public struct NetworkDigest: Request {
    public static let method = "network.digest"

    /// Sets of documents, or the documents of the one that was asked for.
    public struct Response: Codable, Hashable, Sendable {
        /// The version of the documents' schema.
        public let schema: Int?
        /// By type, all of them.
        public let types: [String: DocumentSet]?
        /// By id: a network, its subnets and its ports.
        public let networks: [String: DocumentSet]?
        /// Digests by type and id, as in `port/<id>`.
        public let documents: [String: String]?
    }

    public struct DocumentSet: Codable, Hashable, Sendable {
        public let count: Int
        /// The exclusive-or of the documents' digests, 64 hexadecimal digits.
        public let digest: String
    }

    public var network: String?
    public var type: String?

    /// - Parameters:
    ///   - network: an id; absent with `type`: all sets.
    ///   - type: one of documents.
    public init(network: String? = nil, type: String? = nil) {
        self.network = network
        self.type = type
    }
}

/// `network.status`: how the ports are that documents want on this host.
public struct NetworkStatus: Request {
    public static let method = "network.status"
    /// Seconds.
    public static let greatestWait = 60

    public struct Response: Codable, Hashable, Sendable {
        /// What the next request has as `since`.
        public let cursor: String
        /// Whether these are all ports; others are not here. Else those that changed.
        public let complete: Bool
        public let ports: [Port]
    }

    public struct Port: Codable, Hashable, Sendable {
        public let id: String
        public let status: Status
        /// Of an error.
        public let reason: String?
        /// That of the document which is in force.
        public let revision: UInt64
    }

    public enum Status: String, Codable, Hashable, Sendable {
        /// It forwards: its flows are there, its device is open and its guest connected.
        case up
        /// There is nobody on the other side.
        case down
        /// Its device cannot be opened.
        case error
        /// No document wants it here any more.
        case removed
    }

    /// A cursor of this run of the daemon; with another one, or none, the answer is complete.
    public var since: String?
    /// Seconds to wait for a change when there is none.
    public var wait: Int?

    public init(since: String? = nil, wait: Int? = nil) {
        self.since = since
        self.wait = wait
    }
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
