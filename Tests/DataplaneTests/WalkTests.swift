import Flows
import Foundation
import Seeds
import Testing

@testable import Dataplane

/// What flows do to packets, beside Open vSwitch: Golden/walks.txt and Golden/features.txt are what
/// `ofproto/trace` says.
@Suite struct WalkTests {
    /// Tables that go from `table` to the next, and together push more than a stack holds.
    static func pushing(from table: UInt8) -> [String] {
        let pushes = Array(repeating: "push:NXM_NX_REG0[]", count: WalkMemory.stackLimit / 4 + 1)
            .joined(separator: ",")
        return (table..<table + 4).map { "table=\($0),actions=\(pushes),resubmit(,\($0 + 1))" }
    }

    @Test func sendsWhatOpenVSwitchSends() throws {
        let cases = try GoldenCase.all()
        try #require(cases.count > 100)
        let bridge = WalkBridge()
        var sent = 0
        for (number, golden) in cases.enumerated() {
            try bridge.replace(with: golden.flows)
            for (packet, actions) in golden.packets {
                let key = try FlowText.packet(packet)
                let expected = try DatapathActions.sent(actions, key)
                let actual = bridge.walk(key).sent(key)
                sent += actual.count
                guard actual == expected else {
                    let said = "\(actual.map(\.text)) where Open vSwitch has \(expected.map(\.text)) (\(actions))"
                    Issue.record("case \(number), \(packet): \(said)\n\(golden.flows.joined(separator: "\n"))")
                    return
                }
            }
        }
        #expect(sent > 500, "most packets go somewhere")
    }

    /// The cache will run the program for every packet that agrees in the bits it depends on.
    @Test func dependsOnEveryBitThatCountsForTheProgram() throws {
        let bridge = WalkBridge()
        for golden in try GoldenCase.all() {
            try bridge.replace(with: golden.flows)
            let keys = try golden.packets.map { try FlowText.packet($0.packet) }
            for key in keys {
                let walked = bridge.walk(key)
                for other in keys {
                    var mixed = FlowKey()
                    for word in 0..<FlowKey.wordCount {
                        mixed[word] = key[word] & walked.mask[word] | other[word] & ~walked.mask[word]
                    }
                    #expect(bridge.walk(mixed).steps == walked.steps, "\(golden.flows)")
                }
            }
        }
    }

    @Test(arguments: [
        "", "selection_method=hash,fields(ip_dst,tcp_src),", "selection_method=hash,fields(ip_src=255.0.0.255),",
    ])
    func dependsOnTheBitsThatASelectGroupHashes(method: String) throws {
        let bridge = WalkBridge()
        let buckets = (2...8).map { "bucket=weight:\($0),actions=output:\($0)" }.joined(separator: ",")
        try bridge.replace(with: ["group_id=1,type=select,\(method)\(buckets)", "actions=group:1"])
        var random = SeededGenerator(seed: seeds[0])
        func key() throws -> FlowKey {
            let number = UInt8.random(in: 0...2, using: &random)
            let kind = [
                "tcp,tcp_src=\(number),tcp_dst=5", "udp,udp_src=\(number)", "ip,nw_proto=89", "ip,nw_frag=later",
            ]
            .randomElement(using: &random)!
            let v6 = "tcp6,ipv6_src=fe80::\(number),tcp_dst=\(number)"
            let plain = "dl_type=0x88b5,dl_src=02:00:00:00:00:0\(number)"
            return try FlowText.packet(
                "in_port=1,\(["\(kind),nw_src=10.0.\(number).1", v6, plain].randomElement(using: &random)!)"
            )
        }
        var ports: Set<UInt16> = []
        for _ in 0..<500 {
            let (key, other) = (try key(), try key())
            let walked = bridge.walk(key)
            var mixed = FlowKey()
            for word in 0..<FlowKey.wordCount {
                mixed[word] = key[word] & walked.mask[word] | other[word] & ~walked.mask[word]
            }
            #expect(bridge.walk(mixed).steps == walked.steps, "\(FlowText.print(Match(value: key, mask: key)))")
            ports.formUnion(walked.steps.compactMap(\.port))
        }
        #expect(ports.count > 1, "packets are spread")
    }

    @Test func saysWhereTheLengthDecides() throws {
        let bridge = WalkBridge()
        let key = try FlowText.packet("in_port=1,tcp")
        try bridge.replace(with: ["udp,actions=check_pkt_larger(9)->NXM_NX_REG0[0],output:2", "tcp,actions=output:2"])
        #expect(!bridge.walk(key).isSingular)
        try bridge.replace(with: ["tcp,actions=check_pkt_larger(9)->NXM_NX_REG0[0],output:2"])
        #expect(bridge.walk(key).isSingular)
    }

    @Test(arguments: [
        (["table=0,actions=resubmit(,0)"], DropReason.flowLoop),
        (
            ["table=0,actions=resubmit(,1),resubmit(,1)", "table=1,actions=resubmit(,2),resubmit(,2)"]
                + (2..<20).map { "table=\($0),actions=resubmit(,\($0 + 1)),resubmit(,\($0 + 1))" }, .flowLoop
        ),
        (WalkTests.pushing(from: 0), .flowTooLong),
        (["actions=" + Array(repeating: "output:2", count: 4097).joined(separator: ",")], .flowTooLong),
        (
            ["group_id=1,type=all,bucket=actions=drop,bucket=actions=drop", "actions=group:19"]
                + (1..<19).map { "group_id=\($0 + 1),type=all,bucket=actions=group:\($0),bucket=actions=group:\($0)" },
            .flowTooLong
        ),
    ])
    func endsAWalkThatHasNoEnd(flows: [String], reason: DropReason) throws {
        let bridge = WalkBridge()
        try bridge.replace(with: flows)
        var key = FlowKey()
        key.set(.inPort, 1)
        let walked = bridge.walk(key)
        #expect(walked.steps.isEmpty && walked.drop == reason)
    }

    @Test func refusesWhatItCannotRunAndChangesNothing() throws {
        let tables = FlowTables.alone()
        let lines = ["in_port=1,actions=output:2", "tcp,actions=ct(commit,nat,alg=ftp)"]
        let flows = try lines.map { try FlowText.flow($0) }
        let refusal = try #require(throws: Refusal.self) { try tables.commit(adding: flows) }
        let reason = "alg beside nat cannot be run: see the README's known limits"
        #expect(refusal.reason == "action 'ct(commit,nat,alg=ftp)': \(reason)")
        #expect(tables.all.isEmpty)
    }
}

/// A bridge with ports 1 to 8, whose places in the switch are their numbers.
private final class WalkBridge {
    private let dataplane = Dataplane(workerCount: 1)
    private let memory = WalkMemory(PacketTracker(ConnectionTable(capacity: 64, shareCount: 1), share: 0))

    init() {
        let ports = (1...8).map { number in
            PortConfiguration(
                index: PortIndex(UInt16(number)),
                name: "p\(number)",
                bridge: "br",
                number: PortNumber(UInt16(number))!,
                vlan: .allTagged,
                frameLength: 1514
            )
        }
        dataplane.commit(.init(bridges: [.init(name: "br", settings: .init())], ports: ports))
    }

    deinit { memory.free() }

    /// - Parameter texts: flows and groups.
    func replace(with texts: [String]) throws {
        let flows = try texts.filter { !$0.hasPrefix("group_id=") }.map { try FlowText.flow($0) }
        let groups = try texts.filter { $0.hasPrefix("group_id=") }.map { try FlowText.group($0) }
        try dataplane.changeFlows(of: "br", removing: dataplane.flows(of: "br").map(\.number))
        try dataplane.changeGroups(of: "br", removing: dataplane.groups(of: "br").map(\.identifier))
        try dataplane.changeGroups(of: "br", adding: groups)
        try dataplane.changeFlows(of: "br", adding: flows)
    }

    func walk(_ key: FlowKey) -> Walked {
        let context = dataplane.context(now: 100, hasEffects: false)
        var observer = Unobserved()
        return Walked(Walk.run(key, on: 0, context, memory, observer: &observer))
    }
}

/// A program that outlives its walk.
private struct Walked {
    let steps: [Program.Step]
    let mask: FlowKey
    let drop: DropReason
    let isSingular: Bool

    init(_ program: Program) {
        steps = Array(UnsafeBufferPointer(start: program.steps, count: program.count))
        mask = program.mask.all
        drop = program.drop
        isSingular = program.isSingular
    }
}

/// A packet as it leaves through a port.
private struct Sent: Equatable {
    let port: UInt16
    let key: FlowKey
    var types: [UInt16]

    var text: String { "\(port): \(FlowText.print(Match(value: key, mask: key)))" }
}

/// A packet while edits are made to it, as either side describes them.
private struct EditedPacket {
    var key: FlowKey
    var types: [UInt16]

    init(_ key: FlowKey) {
        // What packets do not carry is no part of what is sent.
        self.key = key
        for word in [5, 8] + Array(9...17) { self.key[word] = 0 }
        types = [key.vlanTCI, key.innerVLANTCI].filter { $0 != 0 }.map { _ in 0x8100 }
    }

    mutating func push(_ type: UInt16, _ control: UInt16) {
        tags = (control, key.vlanTCI)
        types.insert(type, at: 0)
    }

    mutating func pop() {
        tags = (key.innerVLANTCI, 0)
        types.removeFirst()
    }

    private var tags: (UInt16, UInt16) {
        get { (key.vlanTCI, key.innerVLANTCI) }
        set {
            key[0] = key[0] & ~0xffff | UInt64(newValue.0)
            key[1] = key[1] & ~0xffff | UInt64(newValue.1)
        }
    }

    func sent(_ port: UInt16) -> Sent { Sent(port: port, key: key, types: types) }
}

extension Walked {
    func sent(_ key: FlowKey) -> [Sent] {
        var packet = EditedPacket(key)
        var all: [Sent] = []
        for step in steps {
            switch step {
            case .rewrite(let value, let mask, let word): packet.key[Int(word)] = packet.key[Int(word)] & ~mask | value
            case .pushTag(let type, let control): packet.push(type, control)
            case .popTag: packet.pop()
            case .meter, .encapsulate, .octets, .commit, .translate, .restore, .noStation: break
            case .output(let port), .outputTruncated(let port, _): all.append(packet.sent(port))
            }
        }
        return all
    }
}

/// A table of flows with packets through it.
struct GoldenCase {
    var flows: [String] = []
    var packets: [(packet: String, actions: String)] = []

    static func all() throws -> [GoldenCase] {
        let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
        let texts = try ["walks.txt", "features.txt"].map {
            try String(contentsOf: directory.appending(path: $0), encoding: .utf8)
        }
        return texts.joined(separator: "\n\n").components(separatedBy: "\n\n").map { block in
            var golden = GoldenCase()
            var packet = ""
            for line in block.split(separator: "\n") where !line.hasPrefix("#") {
                if line.hasPrefix("> ") {
                    packet = String(line.dropFirst(2))
                } else if line.hasPrefix("= ") {
                    golden.packets.append((packet, String(line.dropFirst(2))))
                } else {
                    golden.flows.append(String(line))
                }
            }
            return golden
        }.filter { !$0.packets.isEmpty }
    }
}

/// Open vSwitch's datapath actions: `set(eth(src=...)),push_vlan(vid=5,pcp=0),2`.
private enum DatapathActions {
    struct Unknown: Error { let text: String }

    static func sent(_ text: String, _ key: FlowKey) throws -> [Sent] {
        try sent(text, EditedPacket(key))
    }

    private static func sent(_ text: String, _ start: EditedPacket) throws -> [Sent] {
        var packet = start
        var all: [Sent] = []
        for action in split(text) {
            if let inner = inside(action, "check_pkt_len"), let less = split(inner).last, let rest = inside(less, "le")
            {
                // The packets of the walks have no length, and what is done within is done to a copy.
                all += try sent(rest, packet)
            } else if action.hasPrefix("trunc(") {
                continue
            } else if let port = UInt16(action) {
                all.append(packet.sent(port))
            } else if action == "pop_vlan" {
                packet.pop()
            } else if let inner = inside(action, "push_vlan") {
                packet.push(0x8100, FlowKey.vlanPresent | number(inner, "vid") | number(inner, "pcp") << 13)
            } else if let header = inside(action, "set") {
                try set(header, &packet.key)
            } else if action != "drop" && !action.hasPrefix("userspace(") {
                // Martlet has no controller to tell of a TTL that has run out.
                throw Unknown(text: action)
            }
        }
        return all
    }

    /// At commas outside of parentheses.
    private static func split(_ text: String) -> [String] {
        var parts = [""]
        var depth = 0
        for character in text {
            depth += character == "(" ? 1 : character == ")" ? -1 : 0
            if character == "," && depth == 0 { parts.append("") } else { parts[parts.count - 1].append(character) }
        }
        return parts
    }

    private static func inside(_ text: String, _ name: String) -> String? {
        text.hasPrefix(name + "(") ? String(text.dropFirst(name.count + 1).dropLast()) : nil
    }

    private static func number(_ text: String, _ name: String) -> UInt16 {
        for part in split(text) where part.hasPrefix(name + "=") { return UInt16(part.dropFirst(name.count + 1)) ?? 0 }
        return 0
    }

    /// Names of the datapath, by header, and of the flow's field.
    private static let fields: [String: [String: Field]] = [
        "eth": ["src": .ethSource, "dst": .ethDestination],
        "ipv4": ["src": .ipSource, "dst": .ipDestination, "ttl": .nwTTL],
        "ipv6": ["src": .ipv6Source, "dst": .ipv6Destination, "hlimit": .nwTTL],
        "tcp": ["src": .tcpSource, "dst": .tcpDestination], "udp": ["src": .tcpSource, "dst": .tcpDestination],
        "arp": ["sip": .arpSPA, "tip": .arpTPA, "sha": .arpSHA, "tha": .arpTHA],
    ]

    private static func set(_ text: String, _ key: inout FlowKey) throws {
        let header = String(text.prefix { $0 != "(" })
        for pair in split(inside(text, header) ?? "") {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            let value = String(parts[1].prefix { $0 != "/" })
            switch (header, parts[0]) {
            case (_, "tos"), (_, "tclass"):
                let mask = parts[1].split(separator: "/").dropFirst().first.flatMap {
                    UInt64($0.dropFirst(2), radix: 16)
                }
                let bits = UInt64(value.dropFirst(2), radix: 16) ?? 0
                key[4] = key[4] & ~((mask ?? 0xff) << 8) | (bits & (mask ?? 0xff)) << 8
            case ("arp", "op"): key.set(.arpOp, UInt128(value) ?? 0)
            default:
                guard let field = fields[header]?[parts[0]] else { throw Unknown(text: "\(header).\(parts[0])") }
                try set(field, parts[1], &key)
            }
        }
    }

    /// A value with or without a mask, as the flow syntax reads it.
    private static func set(_ field: Field, _ text: String, _ key: inout FlowKey) throws {
        let kinds: [Field: String] = [
            .ipSource: "ip,", .ipDestination: "ip,", .ipv6Source: "ipv6,", .ipv6Destination: "ipv6,", .nwTTL: "ip,",
            .tcpSource: "tcp,", .tcpDestination: "tcp,", .arpSPA: "arp,", .arpTPA: "arp,", .arpSHA: "arp,",
            .arpTHA: "arp,",
        ]
        let match = try FlowText.flow("\(kinds[field] ?? "")\(field.name)=\(text),actions=drop").match
        let mask = match.mask[field.slot]
        key[field.slot] = key[field.slot] & ~mask | match.value[field.slot] & mask
    }
}
