import Foundation
import Testing
import Wire

@testable import Networking

/// What documents may say, and how what they must not say is named.
struct DocumentTests {
    private static let port = """
        {"type": "port", "id": "p", "name": "web", "device_owner": "compute:nova", "network_id": "n", \
        "mac_address": "fa:16:3e:00:00:01", "fixed_ips": [{"ip_address": "10.0.0.1", "subnet_id": "s"}], \
        "port_security_enabled": false, "security_groups": ["g1", "g2"], "allowed_address_pairs": \
        [{"ip_address": "10.0.1.0/24"}, {"ip_address": "fd00::1", "mac_address": "fa:16:3e:00:00:02"}], \
        "qos": {"bandwidth_limits": [{"direction": "egress", "max_kbps": 1000, "max_burst_kbps": 100}, \
        {"direction": "ingress", "max_kbps": 2000}], "dscp_mark": 26}, "host": "a", \
        "migrating_to": {"host": "b", "vif": {"type": "vhost-user", "path": "/run/x", "mode": "client"}}}
        """

    @Test func aPortSaysAllThatNeutronKnowsOfIt() throws {
        guard case .port(let port)? = try DocumentText.changes(Self.port)[0].document else {
            return #expect(Bool(false))
        }
        #expect(port.name == "web" && port.owner == "compute:nova" && port.hosts == ["a", "b"])
        #expect(!port.security.isEnabled && port.security.groups == ["g1", "g2"])
        #expect(
            port.security.addressPairs.map(\.description) == ["10.0.1.0/24", "fd00::1/128 with fa:16:3e:00:00:02"]
        )
        #expect(port.qos?.dscp == 26 && port.qos?.limits.map(\.kilobits) == [1000, 2000])
        #expect(port.qos?.limits.map(\.burst) == [100, 0])
        #expect(port.migration?.interface?.options == ["path": "/run/x", "mode": "client"])
    }

    @Test(
        arguments: [
            """
            {"type": "subnet", "id": "s", "network_id": "n", "cidr": "10.0.0.0/24", "ip_version": 4, "gateway_ip": "10.0.0.1", \
            "enable_dhcp": false, "host_routes": [{"destination": "10.1.0.0/16", "nexthop": "10.0.0.9"}], \
            "dns_nameservers": ["192.0.2.53", "2001:db8::53"], "name": "blue"}
            """,
            """
            {"type": "subnet", "id": "s", "network_id": "n", "cidr": "fd00::/64", "ip_version": 6, "gateway_ip": null, \
            "ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateless"}
            """,
            """
            {"type": "security_group", "id": "g", "name": "web", "stateful": false, "rules": [\
            {"id": "r", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 80, \
            "port_range_max": 81, "remote_ip_prefix": "0.0.0.0/0"}, \
            {"direction": "egress", "ethertype": "IPv6", "protocol": null}, \
            {"direction": "ingress", "ethertype": "IPv6", "protocol": "ipv6-icmp", "port_range_min": 128, "port_range_max": 0}, \
            {"direction": "ingress", "ethertype": "IPv4", "protocol": "132", "remote_group_id": "g"}]}
            """,
            """
            {"type": "router", "id": "r", "admin_state_up": true, "distributed": true, "enable_snat": false, "interfaces": \
            [{"port_id": "p", "network_id": "n", "mac_address": "fa:16:3e:00:00:01", "fixed_ips": \
            [{"ip_address": "10.0.0.1", "subnet_id": "s"}]}], "gateway": {"port_id": "q", "network_id": "m", "mac_address": \
            "fa:16:3e:00:00:02", "fixed_ips": [], "host": "b"}, "routes": [{"destination": "::/0", "nexthop": "fe80::1"}]}
            """,
            """
            {"type": "floating_ip", "id": "f", "floating_ip_address": "192.0.2.9", "floating_network_id": "m", "router_id": \
            "r", "port_id": "p", "fixed_ip_address": "10.0.0.1"}
            """,
            """
            {"type": "floating_ip", "id": "f", "floating_ip_address": "192.0.2.9", "floating_network_id": "m", \
            "port_forwardings": [{"protocol": "tcp", "external_port": 80, "internal_port": 8080, "internal_ip_address": \
            "10.0.0.1", "internal_port_id": "p"}, {"protocol": "udp", "external_port_range": "90:95", \
            "internal_port_range": "190:195", "internal_ip_address": "10.0.0.2"}]}
            """,
        ]
    )
    func everyTypeIsRead(_ text: String) throws {
        let change = try DocumentText.changes(text)[0]
        #expect(change.document?.key == change.key && change.document?.revision == 0)
    }

    /// A document, the key of it that is wrong, and the words.
    @Test(
        arguments: [
            (subnet("\"cidr\": \"10.0.0.0/33\""), "cidr", "cidr '10.0.0.0/33' is no CIDR"),
            (subnet("\"cidr\": \"10.0.0.1\""), "cidr", "is no CIDR"),
            (subnet("\"cidr\": \"10.0.0.0/8\", \"ip_version\": 6"), "ip_version", "ip_version 6 is not that of cidr"),
            (subnet("\"cidr\": \"10.0.0.0/8\", \"gateway_ip\": \"fd00::1\""), "gateway_ip", "is of another kind than"),
            (
                subnet("\"cidr\": \"10.0.0.0/8\", \"ipv6_ra_mode\": \"slaac\""), "ipv6_ra_mode",
                "a subnet of IPv4 has no"
            ),
            (
                subnet(
                    "\"cidr\": \"10.0.0.0/8\", \"host_routes\": [{\"destination\": \"::/0\", \"nexthop\": \"10.0.0.1\"}]"
                ),
                "host_routes.0.nexthop", "is of another kind than destination"
            ),
            (subnet("\"cidr\": \"10.0.0.0/8\", \"host_routes\": [7]"), "host_routes", "has a value of another kind"),
            (subnet("\"cidr\": \"10.0.0.0/8\", \"segment\": 1"), "segment", "key 'segment' is unknown"),
            (
                group("\"direction\": \"in\", \"ethertype\": \"IPv4\""), "rules.0.direction",
                "use one of egress, ingress"
            ),
            (group("\"ethertype\": \"IPv4\""), "rules.0.direction", "key 'rules.0.direction' is missing"),
            (group("\"direction\": \"ingress\", \"ethertype\": \"ARP\""), "rules.0.ethertype", "use one of IPv4, IPv6"),
            (
                tcp("\"port_range_min\": 9, \"port_range_max\": 8"), "rules.0.port_range_min",
                "9 is above port_range_max 8"
            ),
            (tcp("\"port_range_max\": 65536"), "rules.0.port_range_max", "65536 is outside 0 to 65535"),
            (tcp("\"remote_ip_prefix\": \"fd00::/8\""), "rules.0.remote_ip_prefix", "another kind than ethertype IPv4"),
            (
                tcp("\"remote_ip_prefix\": \"10.0.0.0/8\", \"remote_group_id\": \"g\""), "rules.0.remote_group_id",
                "not both"
            ),
            (
                group("\"direction\": \"ingress\", \"ethertype\": \"IPv4\", \"protocol\": \"xtp\""), "rules.0.protocol",
                "protocol 'xtp' is unknown"
            ),
            (
                group("\"direction\": \"ingress\", \"ethertype\": \"IPv4\", \"port_range_min\": 1"), "rules.0.protocol",
                "needs their protocol"
            ),
            (
                "{\"type\": \"security_group\", \"id\": \"g\", \"rules\": ["
                    + Array(repeating: "{}", count: 513).joined(separator: ",") + "]}",
                "rules", "rules has 513 elements; allowed are 512"
            ),
            (port("\"security_groups\": [\"g\", \"g\"]"), "security_groups", "names g twice"),
            (port("\"security_groups\": [\"a b\"]"), "security_groups", "is not a name"),
            (port("\"allowed_address_pairs\": [{}]"), "allowed_address_pairs.0.ip_address", "is missing"),
            (port("\"qos\": {\"dscp_mark\": 64}"), "qos.dscp_mark", "64 is outside 0 to 63"),
            (
                port("\"qos\": {\"bandwidth_limits\": [{\"direction\": \"egress\"}]}"),
                "qos.bandwidth_limits.0.max_kbps",
                "is missing"
            ),
            (port("\"host\": \"a\", \"migrating_to\": {\"host\": \"a\"}"), "migrating_to", "where the port is"),
            (port("\"migrating_to\": {\"host\": \"a\", \"when\": 1}"), "migrating_to.when", "is unknown"),
            (
                port("\"fixed_ips\": [{\"ip_address\": \"224.0.0.1\"}]"), "fixed_ips.0.ip_address",
                "is no host's IP address"
            ),
            (port("\"name\": \"a\\u0000b\""), "name", "a text has a control character"),
            (port("\"name\": \"\(String(repeating: "x", count: 256))\""), "name", "is longer than 255 characters"),
            (port("\"revision\": 9007199254740992"), "revision", "is outside 0 to 9007199254740991"),
            (port("\"revision\": -1"), "revision", "-1 is outside 0"),
            (port("\"revision\": \"1\""), "revision", "has a value of another kind"),
            (
                "{\"type\": \"router\", \"id\": \"r\", \"interfaces\": [{\"port_id\": \"p\", \"network_id\": \"n\", "
                    + "\"mac_address\": \"01:00:5e:00:00:01\"}]}",
                "interfaces.0.mac_address", "is no station's MAC address"
            ),
            (
                forwarding("\"internal_port\": 1, \"external_port_range\": \"9:8\""),
                "port_forwardings.0.external_port_range", "is no range of ports"
            ),
            (
                forwarding("\"external_port\": 1, \"internal_port_range\": \"1:2\""),
                "port_forwardings.0.internal_port_range", "1 external ports and 2 internal ones"
            ),
            (
                "{\"type\": \"floating_ip\", \"id\": \"f\", \"floating_ip_address\": \"192.0.2.9\", "
                    + "\"floating_network_id\": \"m\", \"port_id\": \"p\"}",
                "fixed_ip_address", "come together"
            ),
        ]
    )
    func theKeyThatIsWrongIsNamed(_ text: String, _ field: String, _ reason: String) {
        do throws(DocumentRefusal) {
            _ = try DocumentText.changes("\n" + text)
            Issue.record("taken")
        } catch {
            #expect(error.field == field && error.line == 2 && error.reason.contains(reason), "\(error)")
        }
    }

    static func subnet(_ more: String) -> String {
        "{\"type\": \"subnet\", \"id\": \"s\", \"network_id\": \"n\", \(more)}"
    }

    static func group(_ rule: String) -> String {
        "{\"type\": \"security_group\", \"id\": \"g\", \"rules\": [{\(rule)}]}"
    }

    static func tcp(_ more: String) -> String {
        group("\"direction\": \"ingress\", \"ethertype\": \"IPv4\", \"protocol\": \"tcp\", \(more)")
    }

    static func port(_ more: String) -> String {
        "{\"type\": \"port\", \"id\": \"p\", \"network_id\": \"n\", \"mac_address\": \"fa:16:3e:00:00:01\", \(more)}"
    }

    static func forwarding(_ more: String) -> String {
        "{\"type\": \"floating_ip\", \"id\": \"f\", \"floating_ip_address\": \"192.0.2.9\", \"floating_network_id\": \"m\", "
            + "\"port_forwardings\": [{\"protocol\": \"tcp\", \"internal_ip_address\": \"10.0.0.1\", "
            + "\(more)}]}"
    }

    // MARK: - One of a path

    @Test func aPathSaysWhichDocumentItIs() throws {
        let body = Data("{ \"tunnel_address\":\n \"192.0.2.1\", \"revision\": 3 }".utf8)
        let change = try DocumentText.change(body, type: .host, id: "cmp1")
        #expect(change.text == #"{"id":"cmp1","revision":3,"tunnel_address":"192.0.2.1","type":"host"}"#)
        #expect(change.key == DocumentKey(.host, "cmp1") && change.revision == 3 && change.line == nil)
        // What is kept says the same again.
        let again = try DocumentText.changes(String(change.text))[0]
        #expect(again.document == change.document && again.digest == change.digest)
        let named = Data(#"{"type": "host", "id": "cmp1", "tunnel_address": "192.0.2.1"}"#.utf8)
        #expect(try DocumentText.change(named, type: .host, id: "cmp1").digest == change.digest)
    }

    @Test(
        arguments: [
            (#"{"type": "port"}"#, "type", "its type is 'port', and that of the path 'host'"),
            (#"{"id": "b"}"#, "id", "its id is 'b', and that of the path 'a'"),
            (#"{"id": 7}"#, "id", "its id is no text, and that of the path 'a'"),
            (#"{"revision": 1.5}"#, "revision", "numbers are whole ones"),
            ("[]", nil, "it is JSON of another kind"),
            ("\u{0}", nil, "it is not JSON"),
        ] as [(String, String?, String)]
    )
    func whatABodyMustNotSay(_ body: String, _ field: String?, _ reason: String) {
        do throws(DocumentRefusal) {
            _ = try DocumentText.change(Data(body.utf8), type: .host, id: "a")
            Issue.record("taken")
        } catch {
            #expect(error.key == DocumentKey(.host, "a") && error.field == field, "\(error)")
            #expect(error.reason.hasPrefix(reason), "\(error)")
        }
    }

    @Test func bytesThatAreNoTextAreRefused() {
        let error = #expect(throws: DocumentRefusal.self) {
            try DocumentText.change(Data([0x7b, 0xff, 0x7d]), type: .host, id: "a")
        }
        #expect(error?.reason == "it is not UTF-8: send JSON in that")
        let long = Data(repeating: 0x20, count: DocumentText.greatestLineLength + 1)
        #expect(throws: DocumentRefusal.self) { try DocumentText.change(long, type: .host, id: "a") }
        #expect(throws: DocumentRefusal.self) { try DocumentText.removal(of: .port, id: "a/b", revision: 0) }
        #expect(throws: DocumentRefusal.self) { try DocumentText.removal(of: .port, id: "a", revision: 1 << 53) }
    }

    // MARK: - Beside others

    @Test func aNetworkGoesAfterItsSubnets() throws {
        let subnet = Self.subnet("\"cidr\": \"10.0.0.0/8\"").replacing("\"n\"", with: "\"blue\"")
        let network = "{\"type\": \"network\", \"id\": \"blue\", \"deleted\": true}"
        #expect(
            Cloud.refusal(network, after: Cloud.hosts + "\n" + subnet)
                == "network 'blue': subnet 's' and 0 others are still there: delete them first"
        )
        let gone = network + "\n{\"type\": \"subnet\", \"id\": \"s\", \"deleted\": true}"
        #expect(Cloud.refusal(gone, after: Cloud.hosts + "\n" + subnet) == "taken")
        #expect(
            Cloud.refusal(Self.subnet("\"cidr\": \"10.0.0.0/8\"")).hasSuffix("'n' is unknown: send its document first")
        )
    }

    @Test func whatNothingFollowsFromChangesNoFlow() throws {
        var cloud = Cloud()
        try cloud.apply([Cloud.hosts, Cloud.port("a", 1, on: "here")].joined(separator: "\n"))
        let text = [
            Self.subnet("\"cidr\": \"10.0.0.0/8\"").replacing("\"n\"", with: "\"blue\""),
            Self.tcp("\"port_range_min\": 1"),
            "{\"type\": \"router\", \"id\": \"r\"}", Self.forwarding("\"internal_port\": 1, \"external_port\": 1"),
        ]
        let change = try cloud.apply(text.joined(separator: "\n"))
        #expect(change.documents.count == 4 && change.flows.added.isEmpty && change.ports.added.isEmpty)
        let back = try cloud.apply(
            [Cloud.hosts, Cloud.port("a", 1, on: "here")].joined(separator: "\n"),
            isSnapshot: true
        )
        #expect(back.unnamedCount == 4 && back.flows.removed.isEmpty && back.ports.removed.isEmpty)
    }
}
