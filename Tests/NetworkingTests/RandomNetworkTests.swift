import Seeds
import Testing
import Wire

@testable import Networking

/// Whatever happened before, what a host has follows from the documents that it holds.
struct RandomNetworkTests {
    @Test(arguments: seeds)
    func differencesAddUpToWhatTheDocumentsSay(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<20 {
            var history = History()
            for _ in 0..<60 { try history.happen(&random) }
        }
    }

    @Test(arguments: seeds)
    func documentsWithMistakesAreRefusedWhole(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let text = [Cloud.hosts, Cloud.port("a", 1, on: "here"), Cloud.port("b1", 2, on: "b")].joined(separator: "\n")
        var cloud = Cloud()
        let first = try cloud.apply(text)
        for _ in 0..<3000 {
            var bytes = Array(text.utf8)
            for _ in 0...Int.random(in: 0..<3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.removeSubrange(place..<min(place + 5, bytes.count))
                default: bytes.insert(contentsOf: bytes[place..<min(place + 40, bytes.count)], at: place)
                }
            }
            guard let change = try? cloud.apply(String(decoding: bytes, as: UTF8.self)) else { continue }
            cloud.state.revert(change)
        }
        #expect(Set(try cloud.apply("", isSnapshot: true).flows.removed) == Set(first.flows.added))
    }
}

/// A host whose documents change at random, and what it was told to do.
private struct History {
    var cloud = Cloud()
    var flows: Set<BridgeFlow> = []
    var ports: Set<PlannedPort> = []
    var sets: [String: Set<IPPrefix>] = [:]

    mutating func happen(_ random: inout SeededGenerator) throws {
        let lines = (0...Int.random(in: 0..<4, using: &random)).map { _ in Self.document(&random) }
        // Some cannot be, beside what there is: then nothing happens.
        guard let change = try? cloud.apply(lines.joined(separator: "\n")) else { return try check() }
        // What one document loses another one may get.
        #expect(flows.isSuperset(of: change.flows.removed) && ports.isSuperset(of: change.ports.removed))
        flows.subtract(change.flows.removed)
        ports.subtract(change.ports.removed)
        #expect(flows.isDisjoint(with: change.flows.added) && ports.isDisjoint(with: change.ports.added))
        flows.formUnion(change.flows.added)
        ports.formUnion(change.ports.added)
        for one in change.addressSets { follow(one) }
        try check()
    }

    private mutating func follow(_ change: AddressSetDifference) {
        switch change.fate {
        case .goes: #expect(sets.removeValue(forKey: change.name) != nil)
        case .comes:
            #expect(sets[change.name] == nil)
            sets[change.name] = Set(change.added)
        case .stays:
            #expect(sets[change.name]?.isDisjoint(with: change.added) == true)
            #expect(sets[change.name]?.isSuperset(of: change.removed) == true)
            sets[change.name]?.formUnion(change.added)
            sets[change.name]?.subtract(change.removed)
        }
    }

    /// Beside a host that never knew anything else.
    private func check() throws {
        let state = cloud.state
        var fresh = NetworkState(hostName: state.hostName)
        // They depend on who came first.
        fresh.localVLANs = state.localVLANs
        let documents =
            state.hosts.values.map(Document.host) + state.networks.values.map(Document.network)
            + state.ports.values.map(Document.port) + state.securityGroups.values.map(Document.securityGroup)
        let change = try fresh.apply(
            documents.map { DocumentChange(key: $0.key, revision: 0, document: $0, text: "", digest: .zero, line: nil) }
        )
        #expect(Set(change.flows.added) == flows)
        #expect(Set(change.ports.added) == ports)
        let all = change.addressSets.map { ($0.name, Set($0.added)) }
        #expect(Dictionary(uniqueKeysWithValues: all) == sets)
    }

    private static func document(_ random: inout SeededGenerator) -> String {
        let host = ["here", "b", "c"].randomElement(using: &random)!
        let network = ["blue", "red", "plain"].randomElement(using: &random)!
        switch Int.random(in: 0..<13, using: &random) {
        case 0, 1:
            let flags = ["true", "false"].randomElement(using: &random)!
            let address = Int.random(in: 1..<6, using: &random)
            let answers = ["true", "false"].randomElement(using: &random)!
            return "{\"type\": \"host\", \"id\": \"\(host)\", \"tunnel_address\": \"192.0.2.\(address)\", "
                + "\"bridge_mappings\": {\"physnet1\": \"br-eth1\"}, \"l2_population\": \(flags), \"arp_responder\": \(answers)}"
        case 2:
            let key = Int.random(in: 1..<4, using: &random)
            let kind = ["vxlan", "gre"].randomElement(using: &random)!
            return
                "{\"type\": \"network\", \"id\": \"\(network)\", \"network_type\": \"\(kind)\", \"segmentation_id\": \(key)}"
        case 3:
            return "{\"type\": \"network\", \"id\": \"\(network)\", \"network_type\": \"vlan\", "
                + "\"physical_network\": \"physnet1\", \"segmentation_id\": 7}"
        case 4:
            let port = "p\(Int.random(in: 1..<9, using: &random))"
            let kinds = [("host", host), ("network", network), ("port", port), ("security_group", group(&random))]
            let (type, id) = kinds.randomElement(using: &random)!
            return "{\"type\": \"\(type)\", \"id\": \"\(id)\", \"deleted\": true}"
        case 5, 6, 7:
            let named = Bool.random(using: &random) ? ", \"remote_group_id\": \"\(group(&random))\"" : ""
            let rules = [FirewallTests.all, FirewallTests.ingress("tcp", named)]
            return FirewallTests.group(group(&random), rules.randomElement(using: &random)!)
        default:
            let number = Int.random(in: 1..<9, using: &random)
            let place = ["here", "b", "c", nil].randomElement(using: &random)!
            let isUp = Int.random(in: 0..<6, using: &random) > 0
            let more = ", \"admin_state_up\": \(isUp), \"vif\": {\"type\": \"ring\"}" + security(&random)
            return Cloud.port("p\(number)", number, on: place, network, more: more)
        }
    }

    private static func group(_ random: inout SeededGenerator) -> String { "g\(Int.random(in: 1..<4, using: &random))" }

    private static func security(_ random: inout SeededGenerator) -> String {
        let groups = Bool.random(using: &random) ? "\"\(group(&random))\"" : ""
        let pair = "{\"ip_address\": \"10.0.9.0/24\", \"mac_address\": \"00:00:5e:00:01:01\"}"
        let isSecured = Int.random(in: 0..<4, using: &random) > 0
        return ", \"security_groups\": [\(groups)], \"port_security_enabled\": \(isSecured), "
            + "\"allowed_address_pairs\": [\(Bool.random(using: &random) ? pair : "")]"
    }
}
