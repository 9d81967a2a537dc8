public import Wire

/// An address outside of the cloud for a station, or for some ports of stations, inside.
public struct FloatingIPDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    public let address: IPAddress
    public let network: String
    public let router: String?
    /// The station that has it; nil for none, or where `forwardings` say which.
    public let port: String?
    public let fixedAddress: IPAddress?
    public let forwardings: [PortForwarding]

    /// Some ports of the address, and the station behind them.
    public struct PortForwarding: Hashable, Sendable {
        public let protocolNumber: UInt8
        public let external: ClosedRange<Int>
        public let `internal`: ClosedRange<Int>
        public let address: IPAddress
        public let port: String?
    }
}

// MARK: - Reading

extension FloatingIPDocument {
    static let greatestForwardingCount = 512

    init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws(DocumentRefusal) {
        self.id = id
        self.revision = revision
        let (outside, inside) = ("floating_ip_address", "fixed_ip_address")
        address = try fields.given(try fields.address(outside), outside)
        network = try fields.given(try fields.identifier("floating_network_id"), "floating_network_id")
        router = try fields.identifier("router_id")
        port = try fields.identifier("port_id")
        fixedAddress = try fields.address(inside)
        forwardings = try fields.objects("port_forwardings", limit: Self.greatestForwardingCount) {
            (forwarding: inout Fields) throws(DocumentRefusal) in try PortForwarding(&forwarding)
        }
        guard (port == nil) == (fixedAddress == nil) else {
            throw fields.refusal(port == nil ? "port_id" : inside, "port_id and fixed_ip_address come together")
        }
        if let fixedAddress, fixedAddress.isIPv4 != address.isIPv4 {
            throw fields.refusal(inside, "\(inside) \(fixedAddress) is of another kind than \(outside) \(address)")
        }
    }
}

extension FloatingIPDocument.PortForwarding {
    /// The protocols that have ports, as Neutron forwards them.
    private enum Transport: String, CaseIterable {
        case tcp, udp, sctp, dccp
        case udplite

        var number: UInt8 {
            switch self {
            case .tcp: 6
            case .udp: 17
            case .dccp: 33
            case .sctp: 132
            case .udplite: 136
            }
        }
    }

    init(_ fields: inout Fields) throws(DocumentRefusal) {
        protocolNumber = try fields.given(try fields.word("protocol", Transport.self), "protocol").number
        external = try Self.ports("external_port", &fields)
        `internal` = try Self.ports("internal_port", &fields)
        address = try fields.given(try fields.address("internal_ip_address"), "internal_ip_address")
        port = try fields.identifier("internal_port_id")
        guard `internal`.count == 1 || `internal`.count == external.count else {
            let counts = "\(external.count) external ports and \(`internal`.count) internal ones"
            throw fields.refusal(
                "internal_port_range",
                "a forwarding has \(counts): give as many, or one internal port"
            )
        }
    }

    /// A port, or a range as in 80:90.
    private static func ports(
        _ name: String,
        _ fields: inout Fields
    ) throws(DocumentRefusal) -> ClosedRange<Int> {
        let port = try fields.number(name, in: 1...65_535)
        let range = try fields.value(name + "_range", String.self)
        guard let range else { return try { $0...$0 }(fields.given(port, name)) }
        let bounds = range.split(separator: ":", omittingEmptySubsequences: false).map { UInt16($0) ?? 0 }
        guard bounds.count == 2, bounds[0] > 0, bounds[0] <= bounds[1] else {
            let reason = "\(name)_range '\(range.prefix(80))' is no range of ports: write it as 80:90"
            throw fields.refusal(name + "_range", reason)
        }
        let ports = Int(bounds[0])...Int(bounds[1])
        guard port == nil || ports == port!...port! else {
            throw fields.refusal(name, "\(name) and \(name)_range differ: one of the two is enough")
        }
        return ports
    }
}
