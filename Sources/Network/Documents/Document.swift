public import Wire

/// What a document is about.
public enum DocumentType: String, CaseIterable, Hashable, Sendable { case host, network, port }

/// Which document it is: its type, and an id that only one of the type has.
public struct DocumentKey: Hashable, Sendable, CustomStringConvertible {
    public let type: DocumentType
    public let id: String

    public init(_ type: DocumentType, _ id: String) {
        self.type = type
        self.id = id
    }

    public var description: String { "\(type.rawValue) '\(id.prefix(80))'" }
}

/// A piece of desired state, as Neutron knows it.
public enum Document: Hashable, Sendable {
    case host(HostDocument)
    case network(NetworkDocument)
    case port(PortDocument)

    public var key: DocumentKey {
        switch self {
        case .host(let host): DocumentKey(.host, host.id)
        case .network(let network): DocumentKey(.network, network.id)
        case .port(let port): DocumentKey(.port, port.id)
        }
    }

    /// Grows with every change; a document older than the one that is held is ignored.
    public var revision: UInt64 {
        switch self {
        case .host(let host): host.revision
        case .network(let network): network.revision
        case .port(let port): port.revision
        }
    }
}

/// A compute host; `id` is its name in Neutron (`binding:host_id`).
public struct HostDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    /// Where its tunnels end (`local_ip`); nil for a host without tunnels.
    public let tunnelAddress: IPAddress?
    public let tunnelTypes: Set<TunnelNetworkType>
    /// The bridge of each physical network.
    public let bridgeMappings: [String: String]
    /// Whether it knows from documents where stations are; otherwise it learns.
    public let hasL2Population: Bool
    /// Whether it answers ARP and neighbor discovery for stations that it knows; needs `hasL2Population`.
    public let hasARPResponder: Bool
    public let unknownAddresses: UnknownAddressPolicy
}

/// What becomes of frames to, and of requests for, addresses that no document names.
public enum UnknownAddressPolicy: String, CaseIterable, Hashable, Sendable { case flood, drop }

/// A network, of one segment.
public struct NetworkDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    public let name: String
    public let segment: Segment
    /// Of IP packets, in bytes.
    public let mtu: Int
}

/// How a network's frames are told from others' between hosts.
public enum Segment: Hashable, Sendable {
    /// Not between hosts.
    case local
    case flat(physicalNetwork: String)
    case vlan(physicalNetwork: String, VLANID)
    case tunnel(TunnelNetworkType, key: UInt32)

    /// As Neutron says it: `network_type`.
    public var type: String {
        switch self {
        case .local: "local"
        case .flat: "flat"
        case .vlan: "vlan"
        case .tunnel(let type, _): type.rawValue
        }
    }

    public var physicalNetwork: String? {
        switch self {
        case .flat(let name), .vlan(let name, _): name
        case .local, .tunnel: nil
        }
    }

    /// Neutron's `segmentation_id`.
    public var number: UInt32? {
        switch self {
        case .local, .flat: nil
        case .vlan(_, let vlan): UInt32(vlan.value)
        case .tunnel(_, let key): key
        }
    }

    public var tunnelType: TunnelNetworkType? {
        if case .tunnel(let type, _) = self { type } else { nil }
    }
}

/// The types of networks whose frames go through tunnels, and where in br-tun they come out of one.
public enum TunnelNetworkType: String, CaseIterable, Hashable, Sendable {
    case vxlan, gre, geneve

    /// The greatest key: 24 bits of VXLAN (RFC 7348 section 5) and Geneve (RFC 8926 section 3.4), 32 of GRE (RFC 2890).
    public var greatestKey: UInt32 { self == .gre ? .max : 0xff_ffff }

    /// The table that gives what comes from such a tunnel its local VLAN.
    var table: Int {
        switch self {
        case .gre: 3
        case .vxlan: 4
        case .geneve: 6
        }
    }

    /// The port of br-tun that such tunnels go through.
    public var port: String { "tun-\(rawValue)" }
}

/// A station of a network.
public struct PortDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    public var network: String
    public let mac: MACAddress
    public let addresses: [IPAddress]
    /// Where it is bound; nil for none.
    public var host: String?
    public let isUp: Bool
    /// What is behind it on its host; nil when nothing that this switch could open.
    public let interface: Interface?

    /// A port of the switch, as `martletctl port add` takes it.
    public struct Interface: Hashable, Sendable {
        public let type: String
        public let options: [String: String]
    }

    /// The host where its station can be met.
    var place: String? { isUp ? host : nil }
}

/// Why documents are refused; nothing was changed.
public struct DocumentRefusal: Error, Hashable, CustomStringConvertible {
    /// nil when it cannot be read.
    public let key: DocumentKey?
    /// In the text, from 1; nil when it is about none.
    public let line: Int?
    public let reason: String

    public init(_ key: DocumentKey?, line: Int? = nil, _ reason: String) {
        self.key = key
        self.line = line
        self.reason = reason
    }

    public var description: String { (key.map { "\($0): " } ?? "") + reason }
}

/// One document of a request.
public struct DocumentChange: Hashable, Sendable {
    public let key: DocumentKey
    public let revision: UInt64
    /// nil: it is to go.
    public let document: Document?
    /// As it was said.
    public let text: Substring
    /// In the request, from 1; nil when it does not name the document.
    public let line: Int?
}

extension DocumentChange {
    init(removing key: DocumentKey) { self.init(key: key, revision: 0, document: nil, text: "", line: nil) }
}
