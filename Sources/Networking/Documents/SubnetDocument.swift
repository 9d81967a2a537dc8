public import Wire

/// The addresses of a network's stations.
public struct SubnetDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    public let name: String
    public let network: String
    public let cidr: IPPrefix
    public let gateway: IPAddress?
    public let hasDHCP: Bool
    /// How routers announce it, and how stations get addresses; IPv6 alone.
    public let advertisementMode: IPv6Mode?
    public let addressMode: IPv6Mode?
    public let routes: [Route]
    public let nameservers: [IPAddress]

    /// RFC 4862, and RFC 8415 with and without addresses of its own.
    public enum IPv6Mode: String, CaseIterable, Hashable, Sendable {
        case slaac
        case stateful = "dhcpv6-stateful"
        case stateless = "dhcpv6-stateless"
    }

    /// The way to addresses elsewhere.
    public struct Route: Hashable, Sendable, CustomStringConvertible {
        public let destination: IPPrefix
        public let nexthop: IPAddress

        public var description: String { "\(destination) via \(nexthop)" }
    }
}

// MARK: - Reading

extension SubnetDocument {
    static let greatestRouteCount = 256
    static let greatestNameserverCount = 16

    init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws(DocumentRefusal) {
        self.id = id
        self.revision = revision
        name = try fields.name()
        network = try fields.given(try fields.identifier("network_id"), "network_id")
        cidr = try fields.given(try fields.cidr("cidr"), "cidr")
        gateway = try fields.address("gateway_ip")
        hasDHCP = try fields.value("enable_dhcp") ?? true
        advertisementMode = try fields.word("ipv6_ra_mode")
        addressMode = try fields.word("ipv6_address_mode")
        routes = try fields.routes("host_routes", limit: Self.greatestRouteCount)
        nameservers = try fields.addresses("dns_nameservers", limit: Self.greatestNameserverCount)
        let version = try fields.number("ip_version", in: 4...6) ?? (cidr.address.isIPv4 ? 4 : 6)
        try check(version: version, fields)
    }

    private func check(version: Int, _ fields: Fields) throws(DocumentRefusal) {
        let isIPv4 = cidr.address.isIPv4
        guard version == (isIPv4 ? 4 : 6) else {
            throw fields.refusal("ip_version", "ip_version \(version) is not that of cidr \(cidr)")
        }
        if let gateway, gateway.isIPv4 != isIPv4 {
            throw fields.refusal("gateway_ip", "gateway_ip \(gateway) is of another kind than cidr \(cidr)")
        }
        if isIPv4, advertisementMode != nil || addressMode != nil {
            let name = advertisementMode != nil ? "ipv6_ra_mode" : "ipv6_address_mode"
            throw fields.refusal(name, "a subnet of IPv4 has no \(name)")
        }
    }
}

extension Fields {
    /// - Parameter limit: how many there may be.
    mutating func routes(_ name: String, limit: Int) throws(DocumentRefusal) -> [SubnetDocument.Route] {
        try objects(name, limit: limit) { (route: inout Fields) throws(DocumentRefusal) in
            let destination = try route.given(try route.cidr("destination"), "destination")
            let nexthop = try route.given(try route.address("nexthop"), "nexthop")
            guard nexthop.isIPv4 == destination.address.isIPv4 else {
                throw route.refusal("nexthop", "nexthop \(nexthop) is of another kind than destination \(destination)")
            }
            return SubnetDocument.Route(destination: destination, nexthop: nexthop)
        }
    }
}
