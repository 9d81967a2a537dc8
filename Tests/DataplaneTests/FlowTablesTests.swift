import Flows
import Foundation
import Seeds
import Synchronization
import Testing

@testable import Dataplane

/// The classifier beside a search of all flows one by one.
@Suite struct FlowTablesTests {
    @Test(arguments: seeds)
    func findsWhatASearchOneByOneFinds(seed: UInt64) throws {
        var cases = RandomCases(seed: seed)
        let tables = FlowTables.alone()
        var model: [UInt32: Flow] = [:]
        for turn in 0..<300 {
            let removing = model.keys.sorted().filter { _ in cases.chance(3) }
            let adding = (0..<cases.below(20)).map { _ in cases.flow() }
            let numbers = try tables.commit(removing: removing, adding: adding)
            for number in removing { model[number] = nil }
            for (number, flow) in zip(numbers, adding) {
                model = model.filter { !$0.value.hasIdentity(of: flow) }
                model[number] = flow
            }
            let all = Dictionary(uniqueKeysWithValues: tables.all.map { ($0.number, $0.flow) })
            try #require(all == model, "seed \(seed), turn \(turn)")
            for _ in 0..<30 { try Self.compare(tables, model, cases.key(), table: UInt8(cases.below(2)), seed: seed) }
        }
        try tables.commit(removing: tables.all.map(\.number))
        #expect(tables.tupleCount(of: 0) == 0 && tables.tupleCount(of: 1) == 0)
    }

    private static func compare(
        _ tables: FlowTables,
        _ model: [UInt32: Flow],
        _ key: FlowKey,
        table: UInt8,
        seed: UInt64
    ) throws {
        let best = model.values.filter { $0.table == table && $0.match.matches(key) }.map(\.priority).max()
        let found = tables.find(key, in: table)
        let flow = found.number.flatMap { model[$0] }
        try #require((flow == nil) == (found.number == nil), "seed \(seed): a flow that was removed")
        try #require(flow?.priority == best, "seed \(seed): \(FlowText.print(Match(value: key, mask: .ones)))")
        if let flow { try #require(flow.table == table && flow.match.matches(key), "seed \(seed)") }
    }

    /// The cache will answer for every packet that agrees in the bits that were looked at.
    @Test(arguments: seeds)
    func answersTheSameForEveryKeyThatAgreesUnderTheMask(seed: UInt64) throws {
        var cases = RandomCases(seed: seed)
        let tables = FlowTables.alone()
        try tables.commit(adding: (0..<40).map { _ in cases.flow(priority: UInt16(cases.below(1000))) })
        for _ in 0..<2000 {
            let (key, other) = (cases.key(), cases.key())
            let found = tables.find(key, in: 0)
            var mixed = FlowKey()
            for word in 0..<FlowKey.wordCount {
                mixed[word] = key[word] & found.mask[word] | other[word] & ~found.mask[word]
            }
            #expect(tables.find(mixed, in: 0).number == found.number, "seed \(seed)")
        }
    }

    /// Of ports, beside flows of the ports 80, and 8192 at first.
    @Test(arguments: [(0x3456, 0xf000), (0x0123, 0xff00), (0x0051, 0xffff), (0x2345, 0xff00)])
    func tellsAKeyByTheFirstBitsThatNoFlowHas(port: Int, mask: UInt64) throws {
        let tables = FlowTables.alone()
        let flow: (Int) throws -> Flow = { try FlowText.flow("udp,tp_dst=\($0),actions=drop") }
        let numbers = try tables.commit(adding: [80, 0x2000].map(flow))
        let key = try flow(port).match.value
        let ports = { tables.find(key, in: 0).mask[4] >> 32 & 0xffff }
        #expect(tables.find(key, in: 0).number == nil && ports() == mask)
        // So many that the tuple has places made anew, without what the flow had left that is gone.
        try tables.commit(removing: [numbers[1]])
        try tables.commit(adding: (1...40).map(flow))
        #expect(ports() == (port == 0x2345 ? 0xf000 : mask))
    }

    /// Every flow of a real agent is taken but those that wait for connection tracking.
    @Test(arguments: ["br-int", "br-tun", "br-phys", "noop/br-int", "noop/br-tun", "noop/br-phys"])
    func takesTheFlowsOfANeutronAgent(bridge: String) throws {
        let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let file = directory.appending(path: "FlowsTests/Golden/neutron/\(bridge).flows")
        let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").filter {
            $0.contains("actions=")
        }
        try #require(lines.count > 3)
        let tables = FlowTables.alone()
        for line in lines {
            let flow = try FlowText.flow(String(line), ports: { _ in 7 })
            do {
                try tables.commit(adding: [flow])
            } catch {
                let waits = ["ct(", "ct_clear"].contains { line.contains($0) }
                #expect(waits, "\(error.reason): \(line)")
            }
        }
        #expect(tables.all.count > lines.count / 2)
    }

    /// In place of each `%` some flows have one value and others another.
    @Test(arguments: [
        "mod_dl_src:02:00:00:00:00:0%,mod_dl_dst:02:00:00:00:00:0%,set_tunnel:0x%,set_tunnel64:0x10000000%,output:1",
        "set_field:02:00:00:00:00:0%->eth_src,set_field:0x%0/0xf0->reg0,set_field:0x%->xreg1,push_vlan:0x8100,set_field:410%->vlan_vid",
        "set_field:0x%->xxreg0,set_field:0x%0000000000000000/0xf0000000000000000->xxreg1,set_field:0x%->reg8",
        "load:0xff->NXM_NX_XXREG0[60..67],mod_vlan_vid:9,set_field:1.2.3.%->tun_src,note:01.02,load:1->NXM_NX_REG0[]",
        "set_field:%->reg0,clone(set_field:7->reg1,set_field:8->reg1),set_field:%->reg2,write_actions(set_field:9->reg3)",
        "learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:5->NXM_NX_REG1[]),set_field:%->reg1,goto_table:2",
    ])
    func sharesTheActionsOfFlowsThatWriteDifferentValues(actions: String) throws {
        try checkSharing("priority=% actions=\(actions)")
    }

    @Test(arguments: [
        "arp,arp_tpa=10.0.0.% actions=mod_dl_src:02:00:00:00:00:0%,load:0x2->NXM_OF_ARP_OP[],set_field:10.0.0.%->arp_spa,IN_PORT",
        "icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::% actions=set_field:fe80::%->ipv6_src,set_field:136->icmpv6_type"
            + ",set_field:0x6000000%->nd_reserved,set_field:2->nd_options_type,set_field:02:00:00:00:00:0%->nd_tll,IN_PORT",
        "ip,nw_src=10.0.0.% actions=mod_nw_src:10.9.9.9,mod_nw_tos:8,set_field:10.0.0.%->ip_dst,set_field:%->nw_ttl",
        "ip,nw_src=10.0.0.% actions=ct(commit,zone=1,exec(set_field:0x3->ct_mark)),set_field:%->reg1,goto_table:2",
        "cookie=0x%6d6172746c6574,ip,nw_src=10.0.0.% actions=set_field:%->reg1,goto_table:93",
    ])
    func sharesTheActionsOfRespondersAndTranslators(flow: String) throws { try checkSharing(flow) }

    private func checkSharing(_ text: String) throws {
        let flows = try (1...3).map { try FlowText.flow(text.replacing("%", with: "\($0)")) }
        let tables = FlowTables.alone()
        try tables.commit(adding: flows)
        #expect(tables.all.map(\.flow) == flows)
        #expect(Set(tables.flows.compactMap { $0?.sharedActions }).count == 1)
    }

    @Test func keepsApartTheActionsOfFlowsThatDifferInMoreThanValues() throws {
        let lists = [
            "mod_dl_src:02:00:00:00:00:01", "mod_dl_dst:02:00:00:00:00:01", "set_field:02:00:00:00:00:01->eth_src",
            "set_tunnel:1", "set_tunnel64:1", "set_field:1->tun_id", "set_field:1/1->tun_id", "set_field:1->reg0",
            "load:1->NXM_NX_REG0[]", "load:2->NXM_NX_REG0[]", "output:1", "output:2", "set_field:1->reg0,output:1",
        ]
        let flows = try zip(1..., lists).map { try FlowText.flow("priority=\($0) actions=\($1)") }
        let tables = FlowTables.alone()
        try tables.commit(adding: flows)
        #expect(tables.all.map(\.flow) == flows)
    }

    @Test func stopsAtTheMaskThatHoldsTheHighestPriority() throws {
        let tables = FlowTables.alone()
        let texts = ["priority=9,in_port=1,actions=drop", "priority=5,dl_vlan=7,actions=drop"]
        try tables.commit(adding: texts.map { try FlowText.flow($0) })
        var key = FlowKey()
        key.set(.inPort, 1)
        #expect(tables.find(key, in: 0).mask.get(.vlanTCI) == 0, "the flow on dl_vlan cannot be better")
        key.set(.inPort, 2)
        #expect(tables.find(key, in: 0).mask.get(.vlanTCI) != 0)
    }

    @Test func keepsATransactionWholeForPacketsMeanwhile() async throws {
        let workers = Workers(count: 2)
        let tables = FlowTables.alone(quiesce: workers.quiesce)
        // Each version has one mark in two tables, with masks that change as well.
        func flows(_ mark: Int) throws -> [Flow] {
            let match = mark % 2 == 0 ? "in_port=1" : "in_port=1,dl_vlan=0xffff"
            return try (0..<2).map { try FlowText.flow("table=\($0),priority=\(mark % 100 + 1),\(match),actions=drop") }
        }
        try tables.commit(adding: flows(0))
        let shared = UncheckedShared(tables)
        for worker in 0..<2 {
            workers.run(worker) {
                let snapshot = shared.value.snapshot
                var key = FlowKey()
                key.set(.inPort, 1)
                let priorities = (0..<2).map { snapshot.find(key, in: UInt8($0)).priority }
                return priorities[0] != nil && priorities[0] == priorities[1]
            }
        }
        for mark in 1...300 { try tables.commit(removing: tables.all.map(\.number), adding: flows(mark)) }
        #expect(!workers.stop(), "a packet met two versions")
        #expect(workers.turns > 600, "each commit waits for two turns or more")
    }
}

/// Readers that report a quiescent state after every turn, as workers do.
private final class Workers: Sendable {
    private let counts: [Count]
    private let stops = Atomic(false)
    private let hasFailed = Atomic(false)

    final class Count: Sendable {
        let turns = Atomic<Int>(0)
        let isRunning = Atomic(false)
    }

    init(count: Int) { counts = (0..<count).map { _ in Count() } }

    var turns: Int { counts.reduce(0) { $0 + $1.turns.load(ordering: .relaxed) } }

    /// Runs turns on a thread of its own: they never end by themselves, and must not take one from Swift's pool.
    func run(_ worker: Int, _ turn: @escaping @Sendable () -> Bool) {
        let count = counts[worker]
        count.isRunning.store(true, ordering: .sequentiallyConsistent)
        Thread.detachNewThread { [self] in
            while !stops.load(ordering: .relaxed) {
                if !turn() { hasFailed.store(true, ordering: .relaxed) }
                count.turns.wrappingAdd(1, ordering: .sequentiallyConsistent)
                sched_yield()
            }
            count.isRunning.store(false, ordering: .sequentiallyConsistent)
        }
    }

    /// - Returns: whether a turn has failed.
    func stop() -> Bool {
        stops.store(true, ordering: .relaxed)
        while counts.contains(where: { $0.isRunning.load(ordering: .sequentiallyConsistent) }) { sched_yield() }
        return hasFailed.load(ordering: .relaxed)
    }

    @Sendable func quiesce() {
        for count in counts {
            let turn = count.turns.load(ordering: .sequentiallyConsistent)
            // The turn under way may have begun after the change; the one after it surely has.
            while count.isRunning.load(ordering: .sequentiallyConsistent)
                && count.turns.load(ordering: .sequentiallyConsistent) < turn + 1
            { sched_yield() }
        }
    }
}

/// Lets readers of other threads at the tables, which are made for that.
private struct UncheckedShared<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}

extension FlowTables {
    /// Of a bridge of its own, for one lane that has no cache.
    static func alone(quiesce: @escaping () -> Void = {}) -> FlowTables {
        let formerRules = FormerRules { .max }
        return FlowTables(
            bridge: 0,
            readers: FlowReaders(versions: Versions(), laneCount: 1, quiesce: quiesce, formerRules: formerRules)
        )
    }

    func find(_ key: FlowKey, in table: UInt8) -> (number: UInt32?, mask: FlowKey) {
        let found = snapshot.find(key, in: table)
        return (found.number, found.mask)
    }

    fileprivate var snapshot: Snapshot { Snapshot(tables: tables, version: readers.versions.current) }

    /// The tables at one version.
    fileprivate struct Snapshot {
        let tables: UnsafeMutablePointer<FlowTable>
        let version: UInt64

        func find(_ key: FlowKey, in table: UInt8) -> (number: UInt32?, priority: UInt16?, mask: FlowKey) {
            let path = SearchPath()
            defer { path.free() }
            var (key, mask, written) = (key, FlowKey(), FlowKey())
            written.set(.conjID, Field.conjID.fullMask)
            let rule = key.withUnsafeMutableWords { key in
                mask.withUnsafeMutableWords { mask in
                    written.withUnsafeMutableWords { written in
                        withUnsafeTemporaryAllocation(of: SoftMatch.self, capacity: SoftMatch.capacity) { soft in
                            tables[Int(table)].find(
                                FlowSearch(
                                    key: key.baseAddress!,
                                    version: version,
                                    mask: mask.baseAddress!,
                                    written: written.baseAddress!,
                                    soft: soft.baseAddress!,
                                    path: path
                                )
                            )
                        }
                    }
                }
            }
            return (rule?.pointee.flow, rule?.pointee.priority, mask)
        }
    }
}

extension FlowKey {
    fileprivate static var ones: FlowKey {
        var key = FlowKey()
        for word in 0..<wordCount { key[word] = .max }
        return key
    }
}

extension Flow {
    fileprivate func hasIdentity(of other: Flow) -> Bool {
        table == other.table && priority == other.priority && match == other.match
    }
}

/// Flows and keys of few values, so that they meet.
private struct RandomCases {
    private var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }
    mutating func chance(_ count: Int) -> Bool { below(count) == 0 }

    private static let fields: [Field] = [
        .inPort, .ethDestination, .ethType, .vlanTCI, .ipSource, .tunID, .reg0, .ipv6Source,
    ]

    mutating func key() -> FlowKey {
        var key = FlowKey()
        for field in Self.fields { key.set(field, value(of: field)) }
        return key
    }

    mutating func flow(priority: UInt16? = nil) -> Flow {
        var builder = MatchBuilder()
        for field in Self.fields where chance(3) {
            let value = value(of: field)
            let prefix = field.fullMask << UInt128(below(field.width)) & field.fullMask
            let mask = field.isMaskable && chance(2) ? prefix : field.fullMask
            builder.set(field, value & mask, mask: mask)
        }
        var flow = Flow()
        flow.match = builder.match
        flow.priority = priority ?? UInt16(below(5))
        flow.table = UInt8(below(2))
        flow.cookie = UInt64(below(3))
        (flow.idleTimeout, flow.hardTimeout, flow.importance) = (UInt16(below(2)), UInt16(below(3)), UInt16(below(4)))
        flow.flags = FlowFlags(rawValue: UInt8(below(32)))
        return flow
    }

    /// Two bits at either end.
    private mutating func value(of field: Field) -> UInt128 {
        (UInt128(below(2)) | UInt128(below(2)) << UInt128(field.width - 1)) & field.fullMask
    }
}
