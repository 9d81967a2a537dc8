public import Wire

/// What a document is about.
public enum DocumentType: String, CaseIterable, Hashable, Sendable {
    case host, network, subnet, port, router
    case securityGroup = "security_group"
    case floatingIP = "floating_ip"
}

/// Which document it is: its type, and an id that only one of the type has.
public struct DocumentKey: Hashable, Sendable, CustomStringConvertible {
    public let type: DocumentType
    public let id: String

    public init(_ type: DocumentType, _ id: String) {
        self.type = type
        self.id = id
    }

    public var description: String { "\(type.rawValue) '\(id.prefix(80))'" }

    /// Whether a text can be an id: of 1 to 255 bytes, none of which means anything in a path or to a terminal.
    static func isID(_ text: String) -> Bool {
        (1...255).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: ":"):
                    true
                default: false
                }
            }
    }
}

/// A piece of desired state, as Neutron knows it.
public enum Document: Hashable, Sendable {
    case host(HostDocument)
    case network(NetworkDocument)
    case subnet(SubnetDocument)
    case port(PortDocument)
    case securityGroup(SecurityGroupDocument)
    case router(RouterDocument)
    case floatingIP(FloatingIPDocument)

    public var key: DocumentKey {
        switch self {
        case .host(let host): DocumentKey(.host, host.id)
        case .network(let network): DocumentKey(.network, network.id)
        case .subnet(let subnet): DocumentKey(.subnet, subnet.id)
        case .port(let port): DocumentKey(.port, port.id)
        case .securityGroup(let group): DocumentKey(.securityGroup, group.id)
        case .router(let router): DocumentKey(.router, router.id)
        case .floatingIP(let address): DocumentKey(.floatingIP, address.id)
        }
    }

    /// Grows with every change; a document older than the one that is held is ignored.
    public var revision: UInt64 {
        switch self {
        case .host(let host): host.revision
        case .network(let network): network.revision
        case .subnet(let subnet): subnet.revision
        case .port(let port): port.revision
        case .securityGroup(let group): group.revision
        case .router(let router): router.revision
        case .floatingIP(let address): address.revision
        }
    }

    /// The network in whose digest it is.
    var networkOfDigest: String? {
        switch self {
        case .network(let network): network.id
        case .subnet(let subnet): subnet.network
        case .port(let port): port.network
        case .host, .securityGroup, .router, .floatingIP: nil
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

/// Why documents are refused; nothing was changed.
public struct DocumentRefusal: Error, Hashable, CustomStringConvertible {
    /// nil when it cannot be read.
    public let key: DocumentKey?
    /// In the text, from 1; nil when it is about none.
    public let line: Int?
    /// The key of the document that is wrong, with points between those of objects in it; nil when none is.
    public let field: String?
    public let reason: String

    public init(_ key: DocumentKey?, line: Int? = nil, field: String? = nil, _ reason: String) {
        self.key = key
        self.line = line
        self.field = field
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
    /// A line of JSON, as it was said or with the same meaning.
    public let text: Substring
    let digest: DocumentDigest
    /// In the request, from 1; nil when it does not name the document.
    public let line: Int?
}

extension DocumentChange {
    /// What a snapshot does not name.
    init(removing key: DocumentKey) {
        self.init(key: key, revision: 0, document: nil, text: "", digest: .zero, line: nil)
    }
}
