import Flows
import Seeds
import Testing

@testable import Dataplane

/// Conjunctive matches beside a search of all flows one by one.
@Suite struct ConjunctionTests {
    @Test(arguments: seeds)
    func findsWhatASearchOneByOneFinds(seed: UInt64) throws {
        var cases = RandomConjunctions(seed: seed)
        var conjoined = 0
        for turn in 0..<200 {
            let model = ConjunctionModel(flows: cases.flows())
            let tables = FlowTables.alone()
            let numbers = try tables.commit(adding: model.flows)
            for _ in 0..<40 {
                let key = cases.key()
                let expected = model.find(key)
                if let expected, model.flows[expected].match.mask.get(.conjID) != 0 { conjoined += 1 }
                let found = tables.find(key, in: 0).number.map { numbers.firstIndex(of: $0)! }
                let text = model.flows.map { FlowText.print($0) }.joined(separator: "\n")
                try #require(found == expected, "seed \(seed), turn \(turn), \(cases.text(key))\n\(text)")
            }
        }
        #expect(conjoined > 200, "conjunctions are met")
    }

    @Test(arguments: seeds)
    func answersTheSameForEveryKeyThatAgreesUnderTheMask(seed: UInt64) throws {
        var cases = RandomConjunctions(seed: seed)
        for _ in 0..<50 {
            let tables = FlowTables.alone()
            try tables.commit(adding: cases.flows())
            for _ in 0..<40 {
                let (key, other) = (cases.key(), cases.key())
                let found = tables.find(key, in: 0)
                var mixed = FlowKey()
                for word in 0..<FlowKey.wordCount {
                    mixed[word] = key[word] & found.mask[word] | other[word] & ~found.mask[word]
                }
                #expect(tables.find(mixed, in: 0).number == found.number, "seed \(seed)")
                #expect(found.mask.get(.conjID) == 0, "no packet has conj_id")
            }
        }
    }

    @Test func findsOneOfAThousandConjunctionsThatShareTheirFlows() throws {
        let tables = FlowTables.alone()
        let shared = (0..<1000).map { "conjunction(\($0),1/2)" }.joined(separator: ",")
        var texts = ["priority=9,in_port=1,actions=\(shared)"]
        for id in 0..<1000 {
            texts.append("priority=9,dl_vlan=\(id),actions=conjunction(\(id),2/2)")
            texts.append("priority=1,conj_id=\(id),actions=output:\(id + 1)")
        }
        let numbers = try tables.commit(adding: texts.map { try FlowText.flow($0) })
        var key = FlowKey()
        key.set(.inPort, 1)
        key.set(.vlanTCI, UInt128(FlowKey.vlanPresent) | 777)
        #expect(tables.find(key, in: 0).number == numbers[2 * 777 + 2])
    }

    @Test func refusesConjunctionsUnderMoreMasksThanASearchHasRoomFor() throws {
        let tables = FlowTables.alone()
        let flows = try (1...257).map { try FlowText.flow("reg0=0/\($0),actions=conjunction(1,1/2)") }
        try tables.commit(adding: Array(flows.prefix(256)))
        let refusal = try #require(throws: Refusal.self) { try tables.commit(adding: [flows[256]]) }
        #expect(refusal.reason == "table 0 would have conjunctions under more than 256 masks")
        #expect(tables.all.count == 256)
    }
}

/// A table as the manual explains it: by priority, and for each priority by all flows.
private struct ConjunctionModel {
    let flows: [Flow]

    /// The place of the flow that a packet meets.
    func find(_ key: FlowKey) -> Int? {
        let met = flows.indices.filter { flows[$0].match.matches(key) }
        for priority in Set(met.map { flows[$0].priority }).sorted(by: >) {
            let level = met.filter { flows[$0].priority == priority }
            if let hard = level.first(where: { Clause.all(of: flows[$0].actions).isEmpty }) { return hard }
            let clauses = level.flatMap { Clause.all(of: flows[$0].actions) }
            for (id, ofOne) in Dictionary(grouping: clauses, by: \.id).sorted(by: { $0.key < $1.key })
            where Set(ofOne.map(\.clause)).count == ofOne[0].count && level.count >= Int(ofOne[0].count) {
                if let found = findHard(key, id) { return found }
            }
        }
        return nil
    }

    /// Open vSwitch does not look below a flow with clauses for one of the same match.
    private func findHard(_ key: FlowKey, _ id: UInt32) -> Int? {
        var key = key
        key.set(.conjID, UInt128(id))
        let met = flows.indices.filter { flows[$0].match.matches(key) }
        let soft = met.filter { !Clause.all(of: flows[$0].actions).isEmpty }
        return met.filter { one in
            Clause.all(of: flows[one].actions).isEmpty
                && !soft.contains {
                    flows[$0].match == flows[one].match && flows[$0].priority > flows[one].priority
                }
        }.max { flows[$0].priority < flows[$1].priority }
    }
}

/// Flows of few values with clauses at few priorities; no two without clauses have the same one.
private struct RandomConjunctions {
    private var random: SeededGenerator
    private static let fields: [Field] = [.inPort, .tunID, .reg0, .ipSource]

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    mutating func key() -> FlowKey {
        var key = FlowKey()
        for field in Self.fields { key.set(field, UInt128(below(3))) }
        return key
    }

    func text(_ key: FlowKey) -> String { Self.fields.map { "\($0.name)=\(key.get($0))" }.joined(separator: ",") }

    mutating func flows() -> [Flow] {
        var all: [Flow] = []
        let priorities = (0..<24).shuffled(using: &random)
        for priority in priorities.prefix(below(8)) { all.append(flow(priority, fieldCount: below(3))) }
        for (id, priority) in priorities.dropFirst(8).prefix(5).enumerated() {
            var one = flow(priority, fieldCount: below(2))
            var builder = MatchBuilder()
            if below(2) == 0 { builder.set(.inPort, UInt128(below(3)), mask: Field.inPort.fullMask) }
            builder.set(.conjID, UInt128(id), mask: Field.conjID.fullMask)
            one.match = builder.match
            all.append(one)
        }
        for _ in 0..<below(12) {
            var one = flow(4 * below(6), fieldCount: 1)
            one.actions = (0...below(4)).map { _ in conjunction() }
            if !all.contains(where: { $0.match == one.match && $0.priority == one.priority }) { all.append(one) }
        }
        return all
    }

    /// Conjunction n has the same number of clauses everywhere.
    private mutating func conjunction() -> Action {
        let id = below(6)
        let count = 2 + id % 2
        return .conjunction(id: UInt32(id), clause: UInt8(1 + below(count)), count: UInt8(count))
    }

    private mutating func flow(_ priority: Int, fieldCount: Int) -> Flow {
        var builder = MatchBuilder()
        for field in Self.fields.shuffled(using: &random).prefix(fieldCount) {
            let mask = field.isMaskable && below(3) == 0 ? 1 : field.fullMask
            builder.set(field, UInt128(below(3)) & mask, mask: mask)
        }
        var flow = Flow()
        flow.match = builder.match
        flow.priority = UInt16(priority)
        return flow
    }
}
