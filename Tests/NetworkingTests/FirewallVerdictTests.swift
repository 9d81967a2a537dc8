import Flows
import Seeds
import Testing
import Wire

@testable import Networking

/// What becomes of packets by the flows that follow from documents.
struct FirewallVerdictTests {
    private static let wire: UInt32 = 1

    private static func machine(_ cloud: inout Cloud, _ documents: [String]) throws -> FlowMachine {
        let change = try cloud.apply(documents.joined(separator: "\n"))
        let sets = change.addressSets.map { ($0.name, Set($0.added)) }
        return try FlowMachine(
            change.flows.added.filter { $0.bridge == "br-int" },
            sets: Dictionary(uniqueKeysWithValues: sets),
            ports: change.ports.added.map(\.name)
        )
    }

    // MARK: - The chains of the mission

    private static let guest = MACAddress("fa:16:3e:db:08:63")!
    private static let other = MACAddress("fa:16:3e:00:00:03")!

    private static let chains = [
        FirewallTests.host, FirewallTests.network,
        FirewallTests.group(
            "g",
            FirewallTests.all,
            FirewallTests.ingress("icmp"),
            FirewallTests.ingress("tcp", ", \"port_range_min\": 22, \"port_range_max\": 22")
        ),
        "{\"type\": \"port\", \"id\": \"a\", \"network_id\": \"n\", \"mac_address\": \"\(guest)\", \"host\": \"here\", "
            + "\"fixed_ips\": [{\"ip_address\": \"50.50.1.2\"}], \"security_groups\": [\"g\"], "
            + "\"vif\": {\"type\": \"ring\"}}",
    ]

    private static func packet(
        _ from: String,
        _ to: String,
        _ number: UInt8,
        _ first: UInt16,
        _ second: UInt16
    ) -> Packet {
        Packet(from: IPAddress(from)!, to: IPAddress(to)!, number: number, first: first, second: second)
    }

    @Test(
        arguments: [
            (packet("50.50.1.9", "50.50.1.2", 6, 999, 22), Conversation.invalid, false),
            (packet("50.50.1.9", "50.50.1.2", 6, 999, 5000), .reply, true),
            (packet("50.50.1.9", "50.50.1.2", 1, 8, 0), .new, true),
            (packet("50.50.1.9", "50.50.1.2", 6, 999, 22), .new, true),
            (packet("50.50.1.9", "50.50.1.2", 6, 999, 22), .established, true),
            (packet("50.50.1.9", "50.50.1.2", 6, 999, 22), .markedReply, false),
            (packet("50.50.1.9", "50.50.1.2", 6, 999, 23), .new, false),
            (packet("50.50.1.3", "50.50.1.2", 17, 67, 68), .new, true),
            (packet("50.50.1.3", "50.50.1.2", 17, 53, 68), .new, false),
            (packet("50.50.1.3", "50.50.1.2", 1, 3, 1), .related, true),
        ]
    )
    func theInputChain(_ packet: Packet, _ conversation: Conversation, _ passes: Bool) throws {
        var cloud = Cloud()
        let machine = try Self.machine(&cloud, Self.chains)
        var packet = packet
        (packet.source, packet.destination, packet.tag) = (Self.other, Self.guest, 1)
        let outcome = machine.run(packet, inPort: Self.wire, conversation)
        #expect(outcome.outputs == (passes ? [machine.portNumbers["vhua"]] : []))
    }

    @Test(
        arguments: [
            (packet("50.50.1.2", "50.50.1.9", 6, 999, 80), "fa:16:3e:db:08:64", Conversation.new, .spoofedMAC),
            (packet("0.0.0.0", "255.255.255.255", 17, 68, 67), "fa:16:3e:db:08:63", .new, nil),
            (packet("50.50.1.4", "50.50.1.9", 6, 999, 80), "fa:16:3e:db:08:63", .new, .spoofedIP),
            (packet("50.50.1.2", "50.50.1.9", 17, 67, 68), "fa:16:3e:db:08:63", .new, .dhcpServer),
            (packet("50.50.1.2", "50.50.1.9", 6, 999, 80), "fa:16:3e:db:08:63", .invalid, .invalidState),
            (packet("50.50.1.2", "50.50.1.9", 6, 22, 999), "fa:16:3e:db:08:63", .reply, nil),
            (packet("50.50.1.2", "50.50.1.9", 6, 999, 80), "fa:16:3e:db:08:63", .new, nil),
        ] as [(Packet, String, Conversation, FilterRefusal?)]
    )
    func theOutputChain(
        _ packet: Packet,
        _ source: String,
        _ conversation: Conversation,
        _ refusal: FilterRefusal?
    ) throws {
        let passes = refusal == nil
        var cloud = Cloud()
        let machine = try Self.machine(&cloud, Self.chains)
        var packet = packet
        (packet.source, packet.destination) = (MACAddress(source)!, Self.other)
        let outcome = machine.run(packet, inPort: machine.portNumbers["vhua"]!, conversation)
        #expect(outcome.outputs == (passes ? [nil] : []))
        #expect(outcome.refusal == refusal)
        let isTracked = packet.first != 68
        #expect(outcome.commits == (passes && conversation == .new && isTracked ? [0] : []))
    }

    @Test func aConversationThatNoRuleAllowsAnyMoreIsMarked() throws {
        var cloud = Cloud()
        let machine = try Self.machine(&cloud, Self.chains)
        var packet = Self.packet("50.50.1.9", "50.50.1.2", 6, 999, 23)
        (packet.source, packet.destination, packet.tag) = (Self.other, Self.guest, 1)
        let outcome = machine.run(packet, inPort: Self.wire, .established)
        #expect(outcome.isDropped && outcome.commits == [1])
    }

    // MARK: - Any documents, any packets

    @Test(arguments: seeds)
    func flowsDecideAsTheDocumentsSay(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<30 {
            var cloud = Cloud()
            let documents = RandomFirewall.documents(&random)
            let machine = try Self.machine(&cloud, documents)
            let reference = FirewallReference(state: cloud.state)
            for _ in 0..<400 {
                let packet = RandomFirewall.packet(&random)
                let conversation = Conversation.allCases.randomElement(using: &random)!
                check(packet, conversation, machine, reference, fromWire: Bool.random(using: &random), documents)
            }
        }
    }

    private func check(
        _ packet: Packet,
        _ conversation: Conversation,
        _ machine: FlowMachine,
        _ reference: FirewallReference,
        fromWire: Bool,
        _ documents: [String]
    ) {
        var packet = packet
        let ports = reference.state.ports.values.sorted { $0.id < $1.id }
        let sender = fromWire ? nil : ports.first { $0.mac == packet.source } ?? ports[0]
        packet.tag = fromWire ? 1 : packet.tag
        let inPort = sender.map { machine.portNumbers[$0.deviceName]! } ?? Self.wire
        let outcome = machine.run(packet, inPort: inPort, conversation)
        var expected: [UInt32?] = []
        var reason: FilterRefusal?
        if let sender, !reference.mayLeave(packet, sender, conversation) {
            reason = reference.reason(packet, from: sender, conversation)
        }
        if sender.map({ reference.mayLeave(packet, $0, conversation) }) ?? true {
            // ARP and neighbor discovery that passed are switched as they are.
            let isSwitched = sender?.isFiltered == true && Self.isDiscovery(packet) || sender != nil && packet.tag != 0
            let receiver = isSwitched ? nil : ports.first { $0.mac == packet.destination && $0.isFiltered }
            if let receiver {
                if reference.mayArrive(packet, receiver, conversation) {
                    expected = [machine.portNumbers[receiver.deviceName]!]
                } else {
                    reason = reference.reason(packet, for: receiver, conversation)
                }
            } else {
                expected = [nil]
            }
        }
        #expect(outcome.outputs == expected, "\(packet) \(conversation) \(documents)")
        #expect(!outcome.isDropped || outcome.refusal == reason, "\(packet) \(conversation) \(documents)")
    }

    private static func isDiscovery(_ packet: Packet) -> Bool {
        packet.family == .arp
            || packet.family == .ipv6 && packet.number == 58
                && ([130, 133, 135, 136].contains(packet.first) || packet.first == 143 && packet.from.value == 0)
    }
}

/// Few addresses, ports and protocols, so that rules and packets meet.
enum RandomFirewall {
    private static let addresses4 = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.7", "192.0.2.1", "0.0.0.0"]
    private static let addresses6 = [
        "fd00::1", "fd00::2", "fd00::3", "fe80::f816:3eff:fe00:1", "fe80::f816:3eff:fe00:2", "::", "2001:db8::1",
    ]
    private static let macs = (1...3).map { "fa:16:3e:00:00:0\($0)" } + ["fa:16:3e:00:00:99"]

    static func documents(_ random: inout SeededGenerator) -> [String] {
        let groups = (0..<3).map { group("g\($0)", &random) }
        let ports = (1...3).map { port($0, &random) }
        return [FirewallTests.host, FirewallTests.network] + groups + ports
    }

    private static func port(_ number: Int, _ random: inout SeededGenerator) -> String {
        let groups = (0..<3).filter { _ in Bool.random(using: &random) }.map { "\"g\($0)\"" }.joined(separator: ", ")
        let pairs = [
            "", "{\"ip_address\": \"10.0.1.0/24\"}",
            "{\"ip_address\": \"fd00::\(number + 1)\"}, {\"ip_address\": \"10.0.1.7\"}",
        ].randomElement(using: &random)!
        let isSecured = Int.random(in: 0..<5, using: &random) > 0
        return "{\"type\": \"port\", \"id\": \"p\(number)\", \"network_id\": \"n\", \"host\": \"here\", "
            + "\"mac_address\": \"\(macs[number - 1])\", \"fixed_ips\": [{\"ip_address\": \"10.0.0.\(number)\"}, "
            + "{\"ip_address\": \"fd00::\(number)\"}], \"security_groups\": [\(groups)], "
            + "\"port_security_enabled\": \(isSecured), \"allowed_address_pairs\": [\(pairs)], \"vif\": {\"type\": \"ring\"}}"
    }

    private static func group(_ id: String, _ random: inout SeededGenerator) -> String {
        let isStateful = Int.random(in: 0..<3, using: &random) > 0
        let rules = (0..<Int.random(in: 0..<6, using: &random)).map { _ in rule(&random) }.joined(separator: ", ")
        return "{\"type\": \"security_group\", \"id\": \"\(id)\", \"stateful\": \(isStateful), \"rules\": [\(rules)]}"
    }

    private static func rule(_ random: inout SeededGenerator) -> String {
        let isIPv4 = Bool.random(using: &random)
        let direction = ["ingress", "egress"].randomElement(using: &random)!
        var words = ["\"direction\": \"\(direction)\"", "\"ethertype\": \"\(isIPv4 ? "IPv4" : "IPv6")\""]
        let number = ["tcp", "udp", "icmp", "132", "33", nil].randomElement(using: &random)!
        if let number { words.append("\"protocol\": \"\(number)\"") }
        if number != nil, Bool.random(using: &random) {
            let bounds = number == "icmp" ? [8, 128, 3] : [20, 22, 60]
            words.append("\"port_range_min\": \(bounds.randomElement(using: &random)!)")
            let top = number == "icmp" ? [0, 1] : [60, 68, 100, 65_535]
            if Bool.random(using: &random) { words.append("\"port_range_max\": \(top.randomElement(using: &random)!)") }
        }
        switch Int.random(in: 0..<4, using: &random) {
        case 0: words.append("\"remote_group_id\": \"g\(Int.random(in: 0..<3, using: &random))\"")
        case 1:
            let prefixes = isIPv4 ? ["10.0.0.0/30", "0.0.0.0/0", "192.0.2.1/32"] : ["fd00::/127", "::/0"]
            words.append("\"remote_ip_prefix\": \"\(prefixes.randomElement(using: &random)!)\"")
        default: break
        }
        return "{\(words.joined(separator: ", "))}"
    }

    static func packet(_ random: inout SeededGenerator) -> Packet {
        var packet = Packet()
        packet.source = MACAddress(macs.randomElement(using: &random)!)!
        packet.destination = MACAddress(macs.randomElement(using: &random)!)!
        packet.family = [.arp, .ipv4, .ipv4, .ipv6, .ipv6, .other].randomElement(using: &random)!
        let addresses = packet.family == .ipv6 ? addresses6 : addresses4
        // Mostly what its station has.
        let own = packet.family == .ipv6 ? "fd00::\(packet.source.value & 0xf)" : "10.0.0.\(packet.source.value & 0xf)"
        let isOwn = Int.random(in: 0..<3, using: &random) > 0
        packet.from = IPAddress(isOwn ? own : addresses.randomElement(using: &random)!)!
        packet.to = IPAddress(addresses.randomElement(using: &random)!)!
        packet.number = [6, 17, packet.family == .ipv6 ? 58 : 1, 132, 33].randomElement(using: &random)!
        let ports: [UInt16] = [20, 22, 59, 61, 67, 68, 546, 547, 60_000]
        packet.first = ports.randomElement(using: &random)!
        packet.second = ports.randomElement(using: &random)!
        if packet.isICMP {
            packet.first = [3, 8, 128, 130, 133, 134, 135, 136, 143].randomElement(using: &random)!
            packet.second = [0, 0, 1].randomElement(using: &random)!
        }
        let hardware = [packet.source, packet.source, packet.destination, MACAddress(value: 0)]
        packet.hardware = hardware.randomElement(using: &random)!
        packet.target = IPAddress([own, addresses6.randomElement(using: &random)!].randomElement(using: &random)!)!
        packet.operation = UInt8.random(in: 1...2, using: &random)
        packet.tag = Int.random(in: 0..<9, using: &random) == 0 ? 5 : 0
        return packet
    }
}
