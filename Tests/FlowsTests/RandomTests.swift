import Flows
import Seeds
import Testing

/// What must hold of any flow and of any bytes. A case that fails names itself; the seed makes it again.
@Suite struct RandomTests {
    private static let seed: UInt64 = 0x6d61_7274_6c65_74

    @Test func readsBackEveryFlowThatItPrints() throws {
        var flows = RandomFlow(random: SeededGenerator(seed: Self.seed))
        for number in 0..<100_000 {
            let flow = flows.next()
            let text = FlowText.print(flow)
            let again = try Result { () throws(FlowSyntaxError) in try FlowText.flow(text) }.get()
            guard again == flow else {
                Issue.record("seed \(Self.seed), case \(number): \(text) reads as \(FlowText.print(again))")
                return
            }
        }
    }

    @Test func refusesOrReadsAnyMutationWithoutFail() throws {
        var random = SeededGenerator(seed: Self.seed)
        let texts = try Golden.rows("flows.tsv").map { Array($0.input.utf8) }
        for _ in 0..<100_000 {
            var text = random.pick(texts)
            for _ in 0...random.below(4) { Self.mutate(&text, &random, Self.alphabet, texts) }
            text.withUnsafeBufferPointer { bytes in
                guard let flows = try? FlowText.parse(bytes, ports: goldenPort) else { return }
                // What was read can be printed, and reads the same again.
                for flow in flows {
                    let printed = FlowText.print(flow)
                    #expect((try? FlowText.flow(printed)) == flow, "seed \(Self.seed): \(printed)")
                }
            }
        }
    }

    @Test func refusesOrReadsMutatedGroupsMetersFiltersAndPackets() throws {
        var random = SeededGenerator(seed: Self.seed)
        let texts = try ["groups.tsv", "meters.tsv", "flows.tsv"].flatMap { name in
            try Golden.rows(name).map { Array($0.input.utf8) }
        }
        for _ in 0..<30_000 {
            var text = random.pick(texts)
            for _ in 0...random.below(4) { Self.mutate(&text, &random, Self.alphabet, texts) }
            let line = String(decoding: text, as: UTF8.self)
            if let group = try? FlowText.group(line, ports: goldenPort) {
                #expect((try? FlowText.group(FlowText.print(group))) == group, "seed \(Self.seed): \(line)")
            }
            if let meter = try? FlowText.meter(line) {
                #expect((try? FlowText.meter(FlowText.print(meter))) == meter, "seed \(Self.seed): \(line)")
            }
            _ = try? FlowText.filter(line, ports: goldenPort)
            _ = try? FlowText.packet(line, ports: goldenPort)
            _ = try? FlowText.modification(line, ports: goldenPort)
            _ = try? FlowText.actions(line, ports: goldenPort)
        }
    }

    private static let alphabet = Array("(),:=/[]->.0123456789abcdefx+|$\" \"#\n\\*".utf8)

    private static func mutate(
        _ text: inout [UInt8],
        _ random: inout SeededGenerator,
        _ alphabet: [UInt8],
        _ texts: [[UInt8]]
    ) {
        let place = random.below(text.count + 1)
        switch random.below(5) {
        case 0: text.insert(random.pick(alphabet), at: place)
        case 1 where place < text.count: text.remove(at: place)
        case 2 where place < text.count: text[place] = random.pick(alphabet)
        case 3: text.removeSubrange(place..<min(text.count, place + random.below(20)))
        default:
            let other = random.pick(texts)
            let start = random.below(other.count)
            text.insert(contentsOf: other[start..<min(other.count, start + random.below(30))], at: place)
        }
    }

    @Test func readsTextThatEndsAnywhere() throws {
        for (input, _) in try Golden.rows("flows.tsv") {
            let bytes = Array(input.utf8)
            for count in 0..<bytes.count {
                bytes[..<count].withUnsafeBufferPointer { _ = try? FlowText.parse($0) }
            }
        }
    }
}
