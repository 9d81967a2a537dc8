import Flows
import Seeds
import Testing

@testable import Dataplane

/// Address sets in matches, beside a look at all members one by one.
@Suite struct AddressSetTests {
    @Test(arguments: seeds)
    func findsWhatASearchOneByOneFinds(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let bench = Bench(ports: 2)
        var model: [String: Set<String>] = ["a": [], "b": []]
        for name in model.keys { try bench.dataplane.setMembers(of: name) }
        var hits = 0
        for turn in 0..<60 {
            try Self.change(bench.dataplane, &model, &random)
            try bench.replaceFlows(Self.flows(&random))
            let tables = try #require(bench.dataplane.bridges["br"]?.tables)
            for _ in 0..<30 {
                let key = Self.key(&random)
                let expected = Self.find(bench.dataplane.flows(of: "br"), key, model)
                let found = tables.find(key, in: 0)
                try #require(found.number == expected?.number, "seed \(seed), turn \(turn), \(model)")
                if expected?.flow.match.addressSets.isEmpty == false { hits += 1 }
                var mixed = Self.key(&random)
                for word in 0..<FlowKey.wordCount {
                    mixed[word] = key[word] & found.mask[word] | mixed[word] & ~found.mask[word]
                }
                #expect(tables.find(mixed, in: 0).number == found.number, "seed \(seed), turn \(turn), \(model)")
            }
        }
        #expect(hits > 100, "sets are met")
    }

    private static let members = [
        "0.0.0.0", "0.0.0.1", "0.0.0.2/31", "128.0.0.0/1", "0.0.0.3", "::1", "02:00:00:00:00:01",
    ]

    private static func change(
        _ dataplane: Dataplane,
        _ model: inout [String: Set<String>],
        _ random: inout SeededGenerator
    ) throws {
        for name in ["a", "b"] {
            let adding = members.filter { _ in Int.random(in: 0..<5, using: &random) == 0 }
            let removing = model[name]!.subtracting(adding).filter { _ in Int.random(in: 0..<3, using: &random) == 0 }
            try dataplane.setMembers(of: name, adding: adding, removing: Array(removing))
            model[name] = model[name]!.union(adding).subtracting(removing)
            #expect(dataplane.members(of: name)?.count == model[name]!.count)
        }
    }

    /// No two have the same priority; some have the same match but for the sets.
    private static func flows(_ random: inout SeededGenerator) -> [String] {
        let matches = [
            "nw_src=$a", "nw_src=$b", "nw_src=$a,nw_dst=$b", "nw_dst=$a,in_port=1", "in_port=1", "nw_src=0.0.0.1",
            "nw_dst=0.0.0.0/31,nw_src=$b", "in_port=2",
        ]
        return matches.shuffled(using: &random).prefix(5).enumerated().map {
            "priority=\($0 + 1),ip,\($1),actions=drop"
        }
    }

    private static func key(_ random: inout SeededGenerator) -> FlowKey {
        var key = FlowKey()
        key.set(.ethType, 0x800)
        key.set(.inPort, UInt128.random(in: 1...2, using: &random))
        for field in [Field.ipSource, .ipDestination] {
            key.set(field, UInt128.random(in: 0...3, using: &random) | [0, 0x8000_0000].randomElement(using: &random)!)
        }
        return key
    }

    private static func find(_ flows: [InstalledFlow], _ key: FlowKey, _ model: [String: Set<String>]) -> InstalledFlow?
    {
        flows.filter { one in
            one.flow.match.matches(key)
                && one.flow.match.addressSets.allSatisfy { reference in
                    model[reference.name]!.contains { text in
                        guard let member = try? AddressSetMember(text), member.kind == .ipv4 else { return false }
                        return key.get(reference.field) & member.mask == member.value
                    }
                }
        }.max { $0.flow.priority < $1.flow.priority }
    }

    @Test func isOneForAllBridgesAndLastsAsLongAsItsFlows() throws {
        let bridges = ["br", "other"].map { BridgeConfiguration(name: $0, settings: .init()) }
        let bench = Bench(SwitchConfiguration(bridges: bridges, ports: []))
        let unknown = try #require(throws: Refusal.self) { try bench.replaceFlows(["dl_src=$a,actions=drop"]) }
        #expect(unknown.reason == "address set '$a' does not exist: create it first")
        try bench.dataplane.setMembers(of: "a")
        for bridge in ["br", "other"] { try bench.replaceFlows(["dl_src=$a,actions=drop"], of: bridge) }
        var key = FlowKey()
        key.set(.ethSource, 0x0200_0000_0001)
        func found() -> [Bool] {
            ["br", "other"].map { bench.dataplane.bridges[$0]!.tables.find(key, in: 0).number != nil }
        }
        #expect(found() == [false, false])
        try bench.dataplane.setMembers(of: "a", adding: ["02:00:00:00:00:00/ff:ff:ff:ff:ff:00"])
        #expect(found() == [true, true])
        try bench.replaceFlows([])
        let used = try #require(throws: Refusal.self) { try bench.dataplane.removeAddressSet("a") }
        #expect(used.reason == "flows use address set '$a'")
        try bench.replaceFlows([], of: "other")
        try bench.dataplane.removeAddressSet("a")
        #expect(bench.dataplane.addressSets.isEmpty)
    }

    @Test(arguments: ["10.0.0.300", "x", "1:2:3", "10.0.0.1,nw_dst=1.1.1.1", "", "10.0.0.0/33"])
    func refusesWhatIsNoAddress(text: String) throws {
        let dataplane = Dataplane(workerCount: 1)
        #expect(throws: Refusal.self) { try dataplane.setMembers(of: "a", adding: ["10.0.0.1", text]) }
        #expect(dataplane.addressSets.isEmpty)
        try dataplane.setMembers(of: "a", adding: ["10.0.0.1"])
        #expect(throws: Refusal.self) {
            try dataplane.setMembers(of: "a", adding: ["10.0.0.2"], removing: ["10.0.0.3"])
        }
        #expect(dataplane.members(of: "a")?.count == 1)
    }

    @Test(arguments: [
        ("10.0.0.1/32", "10.0.0.1"), ("10.0.0.7/8", "10.0.0.0/8"), ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0/255.0.255.0", "10.0.0.0/255.0.255.0"), ("0:0::1", "::1"), ("2001:db8::/32", "2001:db8::/32"),
        ("::/0", "::/0"), ("02:00:00:00:00:0A", "02:00:00:00:00:0a"),
        ("02:00:00:00:00:00/ff:00:00:00:00:00", "02:00:00:00:00:00/ff:00:00:00:00:00"),
        ("00:00:00:00:00:00/00:00:00:00:00:00", "00:00:00:00:00:00/00:00:00:00:00:00"),
    ])
    func aMemberHasOneText(text: String, printed: String) throws {
        let member = try AddressSetMember(text)
        #expect(member.description == printed)
        #expect(try AddressSetMember(printed) == member)
    }

    /// Rules that differ by their sets only are clauses of several conjunctions at once.
    @Test func completesEveryConjunctionOfSetsThatShareMembers() throws {
        let bench = Bench(ports: 2)
        for name in ["a", "b", "c"] { try bench.dataplane.setMembers(of: name, adding: ["10.0.0.1"]) }
        try bench.replaceFlows(
            ["a", "b", "c"].enumerated().flatMap { number, name in
                [
                    "priority=9,ip,nw_src=$\(name),actions=conjunction(\(number + 1),1/2)",
                    "priority=9,in_port=\(number + 1),actions=conjunction(\(number + 1),2/2)",
                    "priority=\(number + 1),conj_id=\(number + 1),actions=drop",
                ]
            } + ["priority=7,ip,nw_src=$a,actions=drop"]
        )
        let tables = try #require(bench.dataplane.bridges["br"]?.tables)
        var key = FlowKey()
        key.set(.ethType, 0x800)
        key.set(.ipSource, 0x0a00_0001)
        func priority(port: UInt128) -> UInt16? {
            key.set(.inPort, port)
            let number = tables.find(key, in: 0).number
            return bench.dataplane.flows(of: "br").first { $0.number == number }?.flow.priority
        }
        try bench.dataplane.setMembers(of: "a", removing: ["10.0.0.1"])
        #expect([1, 2, 3, 4].map { priority(port: $0) } == [nil, 2, 3, nil])
        try bench.dataplane.setMembers(of: "a", adding: ["10.0.0.1"])
        // A conjunction leads to the best rule without clauses.
        #expect([1, 2, 3, 4].map { priority(port: $0) } == [7, 7, 7, 7])
        try bench.dataplane.setMembers(of: "b", removing: ["10.0.0.1"])
        #expect([1, 2, 3, 4].map { priority(port: $0) } == [7, 7, 7, 7])
    }

    @Test func tellsOnlyTheTablesThatUseASet() throws {
        let bench = Bench(ports: 2)
        try bench.dataplane.setMembers(of: "a", adding: (0..<10_000).map { "10.1.\($0 / 256).\($0 % 256)" })
        try bench.replaceFlows(["table=3,ip,nw_src=$a,actions=drop", "table=4,ip,actions=drop"])
        let versions = bench.dataplane.readers.versions
        let before = versions.current
        try bench.dataplane.setMembers(of: "a", adding: ["10.9.9.9"], removing: ["10.1.0.7"])
        #expect(versions.lastChange(TablePlace(bridge: 0, table: 3)) == before + 1)
        #expect(versions.lastChange(TablePlace(bridge: 0, table: 4)) <= before)
    }
}

extension Dataplane {
    /// `setMembers` with members in words.
    fileprivate func setMembers(of name: String, adding: [String], removing: [String] = []) throws(Refusal) {
        var (new, former): (Set<AddressSetMember>, Set<AddressSetMember>) = ([], [])
        for text in adding { new.insert(try AddressSetMember(text)) }
        for text in removing { former.insert(try AddressSetMember(text)) }
        try setMembers(of: name, adding: new, removing: former)
    }

    fileprivate func setMembers(of name: String, removing: [String]) throws(Refusal) {
        try setMembers(of: name, adding: [], removing: removing)
    }
}
