public import Wire

/// What forwards between networks.
public struct RouterDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    public let name: String
    public let isUp: Bool
    /// Whether every host routes for its own stations.
    public let isDistributed: Bool
    /// Whether stations without a floating IP leave with the gateway's address.
    public let translatesSources: Bool
    public let interfaces: [Interface]
    public let gateway: Gateway?
    public let routes: [SubnetDocument.Route]

    /// A port of the router.
    public struct Interface: Hashable, Sendable {
        public let port: String
        public let network: String
        public let mac: MACAddress
        public let addresses: [FixedAddress]
    }

    public struct FixedAddress: Hashable, Sendable {
        public let address: IPAddress
        public let subnet: String
    }

    /// The way out of the cloud.
    public struct Gateway: Hashable, Sendable {
        public let interface: Interface
        /// Where sources are translated.
        public let host: String?
    }
}

// MARK: - Reading

extension RouterDocument {
    static let greatestInterfaceCount = 512
    static let greatestRouteCount = 512

    init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws(DocumentRefusal) {
        self.id = id
        self.revision = revision
        name = try fields.name()
        isUp = try fields.value("admin_state_up") ?? true
        isDistributed = try fields.value("distributed") ?? false
        translatesSources = try fields.value("enable_snat") ?? true
        interfaces = try fields.objects("interfaces", limit: Self.greatestInterfaceCount) {
            (interface: inout Fields) throws(DocumentRefusal) in try Interface(&interface)
        }
        try fields.checkOnce(interfaces.map(\.port), "interfaces")
        gateway = try fields.object("gateway") { (gateway: inout Fields) throws(DocumentRefusal) in
            Gateway(interface: try Interface(&gateway), host: try gateway.identifier("host"))
        }
        routes = try fields.routes("routes", limit: Self.greatestRouteCount)
        try fields.checkOnce(routes, "routes")
    }
}

extension RouterDocument.Interface {
    init(_ fields: inout Fields) throws(DocumentRefusal) {
        port = try fields.given(try fields.identifier("port_id"), "port_id")
        network = try fields.given(try fields.identifier("network_id"), "network_id")
        mac = try fields.given(try fields.station("mac_address"), "mac_address")
        addresses = try fields.objects("fixed_ips", limit: PortDocument.greatestAddressCount) {
            (fixed: inout Fields) throws(DocumentRefusal) in
            RouterDocument.FixedAddress(
                address: try fixed.given(try fixed.address("ip_address"), "ip_address"),
                subnet: try fixed.given(try fixed.identifier("subnet_id"), "subnet_id")
            )
        }
    }
}
