public import Wire

/// A station of a network.
public struct PortDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    public let name: String
    /// What it belongs to, in Neutron's words: `compute:nova`, `network:dhcp`.
    public let owner: String
    public var network: String
    public let mac: MACAddress
    public let addresses: [IPAddress]
    /// Where it is bound; nil for none.
    public var host: String?
    public let isUp: Bool
    /// What is behind it on its host; nil when nothing that this switch could open.
    public let interface: Interface?
    /// The destination of its live migration.
    public let migration: Migration?
    public let security: Security
    public let qos: QoS?

    /// A port of the switch, as `martletctl port add` takes it.
    public struct Interface: Hashable, Sendable {
        public let type: String
        public let options: [String: String]
    }

    /// Where a guest comes to while it still runs where the port is bound.
    public struct Migration: Hashable, Sendable {
        public let host: String
        public let interface: Interface?
    }

    /// What its station may send and receive.
    public struct Security: Hashable, Sendable {
        public let isEnabled: Bool
        public let groups: [String]
        /// Addresses beside its own that it may have.
        public let addressPairs: [AddressPair]
    }

    public struct AddressPair: Hashable, Sendable, CustomStringConvertible {
        public let prefix: IPPrefix
        /// nil: that of the port.
        public let mac: MACAddress?

        public var description: String { "\(prefix)" + (mac.map { " with \($0)" } ?? "") }
    }

    public struct QoS: Hashable, Sendable {
        public let limits: [BandwidthLimit]
        public let dscp: Int?
    }

    public struct BandwidthLimit: Hashable, Sendable {
        public let direction: Direction
        public let kilobits: Int
        public let burst: Int
    }

    /// Seen from the station: `egress` is what it sends.
    public enum Direction: String, CaseIterable, Hashable, Sendable { case egress, ingress }

    /// Where it is bound, once for each host that has to do with it.
    var hosts: [String] { [host, migration?.host].compactMap(\.self) }

    /// The host where its station can be met.
    var place: String? { isUp ? host : nil }

    /// The hosts that have its network because of it.
    var places: [String] {
        guard isUp else { return [] }
        return hosts
    }
}

// MARK: - Reading

extension PortDocument {
    init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws(DocumentRefusal) {
        self.id = id
        self.revision = revision
        name = try fields.name()
        owner = try fields.value("device_owner") ?? ""
        network = try fields.given(try fields.identifier("network_id"), "network_id")
        mac = try fields.given(try fields.station("mac_address"), "mac_address")
        addresses = try fields.objects("fixed_ips", limit: Self.greatestAddressCount) {
            (fixed: inout Fields) throws(DocumentRefusal) in
            _ = try fixed.identifier("subnet_id")
            return try fixed.given(try fixed.address("ip_address"), "ip_address")
        }
        host = try fields.identifier("host")
        isUp = try fields.value("admin_state_up") ?? true
        interface = try Interface("vif", &fields)
        migration = try fields.object("migrating_to") { (there: inout Fields) throws(DocumentRefusal) in
            let host = try there.given(try there.identifier("host"), "host")
            return Migration(host: host, interface: try Interface("vif", &there))
        }
        security = try Security(&fields)
        qos = try fields.object("qos") { (qos: inout Fields) throws(DocumentRefusal) in try QoS(&qos) }
        if let there = migration?.host, there == host {
            throw fields.refusal("migrating_to", "migrating_to names host '\(there)', where the port is")
        }
    }

    static let greatestAddressCount = 64
}

extension PortDocument.Interface {
    /// nil for a key that is absent.
    init?(_ name: String, _ fields: inout Fields) throws(DocumentRefusal) {
        guard var options = try fields.value(name, [String: String].self) else { return nil }
        type = options.removeValue(forKey: "type") ?? "vhost-user"
        self.options = options
    }
}

extension PortDocument.Security {
    static let greatestCount = 512

    init(_ fields: inout Fields) throws(DocumentRefusal) {
        isEnabled = try fields.value("port_security_enabled") ?? true
        groups = try fields.identifiers("security_groups", limit: Self.greatestCount)
        try fields.checkOnce(groups, "security_groups")
        addressPairs = try fields.objects("allowed_address_pairs", limit: Self.greatestCount) {
            (pair: inout Fields) throws(DocumentRefusal) in
            let prefix = try pair.given(try pair.cidr("ip_address", addressAlone: true), "ip_address")
            return PortDocument.AddressPair(prefix: prefix, mac: try pair.station("mac_address"))
        }
        try fields.checkOnce(addressPairs, "allowed_address_pairs")
    }
}

extension PortDocument.QoS {
    init(_ fields: inout Fields) throws(DocumentRefusal) {
        limits = try fields.objects("bandwidth_limits", limit: 2) { (limit: inout Fields) throws(DocumentRefusal) in
            PortDocument.BandwidthLimit(
                direction: try limit.given(try limit.word("direction"), "direction"),
                kilobits: try limit.given(try limit.number("max_kbps", in: 0...Int(Int32.max)), "max_kbps"),
                burst: try limit.number("max_burst_kbps", in: 0...Int(Int32.max)) ?? 0
            )
        }
        try fields.checkOnce(limits.map(\.direction.rawValue), "bandwidth_limits")
        dscp = try fields.number("dscp_mark", in: 0...63)
    }
}
