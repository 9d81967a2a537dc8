public import Wire

/// What the stations of ports may send and receive.
public struct SecurityGroupDocument: Hashable, Sendable {
    public let id: String
    public let revision: UInt64
    public let name: String
    /// Whether answers to what was allowed are allowed.
    public let isStateful: Bool
    public let rules: [Rule]

    /// Allows what it matches.
    public struct Rule: Hashable, Sendable {
        public let id: String?
        public let direction: PortDocument.Direction
        public let family: Family
        /// The number in IP's header; nil for any.
        public let protocolNumber: UInt8?
        /// Of TCP, UDP and the like, or types and codes of ICMP.
        public let ports: Ports?
        public let remote: Remote?
    }

    public enum Family: String, CaseIterable, Hashable, Sendable {
        case ipv4 = "IPv4"
        case ipv6 = "IPv6"
    }

    /// The first and last port, or the type and the code of ICMP; nil where there is no bound.
    public struct Ports: Hashable, Sendable {
        public let least: Int?
        public let greatest: Int?
    }

    /// The other side.
    public enum Remote: Hashable, Sendable {
        case prefix(IPPrefix)
        case group(String)
    }
}

// MARK: - Reading

extension SecurityGroupDocument {
    static let greatestRuleCount = 512

    init(_ id: String, _ revision: UInt64, _ fields: inout Fields) throws(DocumentRefusal) {
        self.id = id
        self.revision = revision
        name = try fields.name()
        isStateful = try fields.value("stateful") ?? true
        rules = try fields.objects("rules", limit: Self.greatestRuleCount) {
            (rule: inout Fields) throws(DocumentRefusal) in try Rule(&rule)
        }
    }
}

extension SecurityGroupDocument.Rule {
    init(_ fields: inout Fields) throws(DocumentRefusal) {
        id = try fields.identifier("id")
        direction = try fields.given(try fields.word("direction"), "direction")
        family = try fields.given(try fields.word("ethertype"), "ethertype")
        protocolNumber = try Self.protocolNumber(family, &fields)
        ports = try SecurityGroupDocument.Ports(protocolNumber, &fields)
        remote = try Self.remote(family, &fields)
    }

    private static func remote(
        _ family: SecurityGroupDocument.Family,
        _ fields: inout Fields
    ) throws(DocumentRefusal) -> SecurityGroupDocument.Remote? {
        let prefix = try fields.cidr("remote_ip_prefix", addressAlone: true)
        let group = try fields.identifier("remote_group_id")
        guard prefix == nil || group == nil else {
            throw fields.refusal("remote_group_id", "a rule has remote_ip_prefix or remote_group_id, not both")
        }
        if let prefix, prefix.address.isIPv4 != (family == .ipv4) {
            let reason = "remote_ip_prefix \(prefix) is of another kind than ethertype \(family.rawValue)"
            throw fields.refusal("remote_ip_prefix", reason)
        }
        return prefix.map { .prefix($0) } ?? group.map { .group($0) }
    }

    /// Neutron's names of protocols.
    private static let numbers: [String: UInt8] = [
        "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4,
        "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
        "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
    ]

    /// Neutron's name of the protocol, or its number; nil for any.
    public var protocolName: String? {
        protocolNumber.map { number in
            Self.numbers.filter { $0.value == number }.keys.min() ?? "\(number)"
        }
    }

    private static func protocolNumber(
        _ family: SecurityGroupDocument.Family,
        _ fields: inout Fields
    ) throws(DocumentRefusal) -> UInt8? {
        guard let text = try fields.value("protocol", String.self), text != "any" else { return nil }
        guard let number = numbers[text] ?? UInt8(text) else {
            let reason = "protocol '\(text.prefix(80))' is unknown: use a name as tcp, or a number from 0 to 255"
            throw fields.refusal("protocol", reason)
        }
        // Neutron takes icmp in rules of IPv6 for ICMPv6.
        return number == 1 && family == .ipv6 ? 58 : number
    }
}

extension SecurityGroupDocument.Ports {
    /// nil for a rule without.
    init?(_ protocolNumber: UInt8?, _ fields: inout Fields) throws(DocumentRefusal) {
        let isICMP = protocolNumber == 1 || protocolNumber == 58
        let range = 0...(isICMP ? 255 : 65_535)
        least = try fields.number("port_range_min", in: range)
        greatest = try fields.number("port_range_max", in: range)
        guard least != nil || greatest != nil else { return nil }
        guard protocolNumber != nil else {
            throw fields.refusal("protocol", "a rule with ports needs their protocol")
        }
        if isICMP, least == nil {
            throw fields.refusal("port_range_min", "a code of ICMP (port_range_max) needs a type (port_range_min)")
        }
        if !isICMP, let least, let greatest, least > greatest {
            throw fields.refusal("port_range_min", "port_range_min \(least) is above port_range_max \(greatest)")
        }
    }
}
