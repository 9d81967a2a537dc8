import Seeds
import Testing

@testable import PacketIO

/// Where a device goes on in a packed ring after a crash.
@Suite struct PackedRingTests {
    private typealias Position = PackedRing.Position

    /// A ring whose device has consumed `before` chains and noted its place, with more of them available.
    private func ring(count: UInt16 = 16, before: Int, length: UInt16 = 1) -> (model: PackedRingModel, noted: Position)
    {
        let model = PackedRingModel(count: count)
        for _ in 0..<before {
            model.offer(length: length)
            model.consume(1)
            model.reclaim()
        }
        return (model, model.device)
    }

    @Test func keepsThePositionAsAWord() {
        #expect(Position.start.word == 0x8000)
        #expect(Position(word: 0x8005) == Position(index: 5, wrap: true))
        #expect(Position(word: 0x0005) == Position(index: 5, wrap: false))
        #expect(Position(index: 0x7fff, wrap: false).word == 0x7fff)
    }

    @Test(arguments: [0, 1, 5, 15, 16, 17, 31, 32, 33])
    func resumesAtTheNotedPlaceOfAnUntouchedRing(before: Int) {
        let (model, noted) = ring(before: before)
        #expect(model.ring.resume(from: noted, chainLength: 1) == noted)
        model.offer()
        model.offer()
        #expect(model.ring.resume(from: noted, chainLength: 1) == noted)
        while model.offer() {}
        #expect(model.ring.resume(from: noted, chainLength: 1) == noted)
    }

    @Test(arguments: [2, 5, 15])
    func refusesARingWhoseDriverStartedAfresh(before: Int) {
        let (model, noted) = ring(before: before)
        model.restartDriver()
        #expect(model.ring.resume(from: noted, chainLength: 1) == nil)
        model.offer()
        #expect(model.ring.resume(from: noted, chainLength: 1) == nil)
        while model.offer() {}
        #expect(model.ring.resume(from: noted, chainLength: 1) == nil)
    }

    /// In the lap with the wrap counter 0 an empty ring looks consumed: then it must be its beginning at least.
    @Test(arguments: [16, 17, 31])
    func neverResumesInTheMiddleOfAFreshRing(before: Int) {
        let (model, noted) = ring(before: before)
        model.restartDriver()
        for _ in 0...16 {
            #expect([nil, .start].contains(model.ring.resume(from: noted, chainLength: 1)))
            model.offer()
        }
    }

    @Test
    func refusesAFreshRingWhoseFirstChainHasTheNumberZero() {
        let model = PackedRingModel(count: 16, identifiers: .newestFirst)
        model.offer()
        model.consume(1)
        let noted = model.device
        model.restartDriver()
        model.offer()
        #expect(model.ring.resume(from: noted, chainLength: 1) == nil)
    }

    @Test func refusesAPlaceBeyondTheRing() {
        let (model, _) = ring(before: 3)
        #expect(model.ring.resume(from: .init(index: 16, wrap: true), chainLength: 1) == nil)
    }

    @Test(arguments: [0, 5, 14, 16, 30], [1, 3, 10] as [Int])
    func movesOnBehindWhatWasUsedAfterTheNote(before: Int, consumed: Int) {
        let (model, noted) = ring(before: before)
        for _ in 0..<12 { model.offer() }
        model.consume(consumed)
        #expect(model.ring.resume(from: noted, chainLength: 1) == model.device)
    }

    @Test(arguments: [0, 3, 6, 7, 8, 15], [2, 4] as [UInt16])
    func movesOnByWholeChains(before: Int, length: UInt16) {
        for consumed in [1, 2, 5] {
            let (model, noted) = ring(count: 32, before: before, length: length)
            for _ in 0..<6 { model.offer(length: length) }
            model.consume(consumed)
            #expect(model.ring.resume(from: noted, chainLength: length) == model.device, "\(consumed) chains")
        }
    }

    @Test(arguments: [0, 7, 14, 15, 16, 31])
    func completesTheFirstOfABatchThatWasMarkedLast(before: Int) {
        let (model, noted) = ring(before: before)
        for _ in 0..<6 { model.offer() }
        let id = model.id(at: noted.index)
        model.consume(4, firstUnmarked: true)
        #expect(!model.isMarked(at: noted))
        #expect(model.ring.resume(from: noted, chainLength: 1) == model.device)
        #expect(model.isMarked(at: noted), "the driver waits for it")
        #expect(model.id(at: noted.index) == id)
    }

    @Test(arguments: [0, 3, 7, 8, 15])
    func completesAFirstChainOfTwo(before: Int) {
        let (model, noted) = ring(before: before, length: 2)
        for _ in 0..<4 { model.offer(length: 2) }
        let id = model.id(at: noted.index)
        model.consume(3, firstUnmarked: true)
        #expect(model.ring.resume(from: noted, chainLength: 2) == model.device)
        #expect(model.isMarked(at: noted))
        #expect(model.id(at: noted.index) == id)
    }

    @Test func findsADeviceThatDiedBetweenBurstsOfMixedChains() {
        let (model, noted) = ring(count: 32, before: 3, length: 2)
        for length in [1, 3, 2] as [UInt16] { model.offer(length: length) }
        #expect(model.ring.resume(from: noted, chainLength: nil) == noted)
        model.consume(1)
        #expect(model.ring.resume(from: noted, chainLength: nil) == nil)
    }

    @Test func leavesWhatIsOnlyAvailableUntouched() {
        let (model, noted) = ring(before: 5)
        for _ in 0..<6 { model.offer() }
        model.consume(2)
        _ = model.ring.resume(from: noted, chainLength: 1)
        var position = model.device
        for _ in model.available {
            #expect(!model.isMarked(at: position))
            position = model.advanced(position, by: 1)
        }
    }

    @Test
    func movesOnBehindABurstOfTheWholeRing() {
        let (model, noted) = ring(count: 8, before: 3)
        while model.offer() {}
        model.consume(8)
        #expect(model.ring.resume(from: noted, chainLength: 1) == model.device)
    }

    /// A driver that goes on while the device is away, and puts a used descriptor to use again.
    @Test func findsWhatTheDriverMadeAvailableAgain() {
        let (model, noted) = ring(count: 8, before: 11)
        while model.offer() {}
        model.consume(5)
        model.reclaim()
        while model.offer() {}
        #expect(model.ring.resume(from: noted, chainLength: 1) == model.device)
    }
}

/// Crashes at random moments of random traffic.
@Suite struct PackedRingSimulationTests {
    struct Traffic: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var lengths: [UInt16] = [1]
        var identifiers = PackedRingModel.Identifiers.oldestFirst
        /// The driver takes buffers back and offers new ones between the crash and the new device.
        var goesOnMeanwhile = false
    }

    static let seeds: [UInt64] = [20_261_121, .random(in: .min ... .max)]

    static let traffic: [Traffic] = [
        .init(testDescription: "single descriptors"),
        .init(testDescription: "single descriptors, busy driver", goesOnMeanwhile: true),
        .init(testDescription: "chains of two", lengths: [2]),
        .init(testDescription: "chains of four, busy driver", lengths: [4], goesOnMeanwhile: true),
        .init(testDescription: "Linux's order of ids, busy driver", identifiers: .newestFirst, goesOnMeanwhile: true),
    ]

    @Test(arguments: traffic, seeds)
    func resumesWhereTheDeviceTrulyStood(traffic: Traffic, seed: UInt64) { simulate(traffic, seed: seed) }

    private func simulate(_ traffic: Traffic, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for size in [8, 16, 32, 64, 128, 256] as [UInt16] {
            let model = PackedRingModel(count: size, identifiers: traffic.identifiers)
            for crash in 0..<300 {
                run(model, traffic, &random)
                let noted = model.device
                if Bool.random(using: &random) { die(model, &random) }
                if traffic.goesOnMeanwhile && model.isMarked(at: noted) {
                    model.reclaim()
                    offer(model, traffic, &random)
                }
                let resumed = model.ring.resume(from: noted, chainLength: traffic.lengths[0])
                guard resumed == model.device else {
                    let places = "noted \(noted), true \(model.device), resumed \(String(describing: resumed))"
                    Issue.record("seed \(seed), ring of \(size), crash \(crash): \(places)")
                    return
                }
            }
        }
    }

    /// Whole bursts, after each of which the device notes its place.
    private func run(_ model: PackedRingModel, _ traffic: Traffic, _ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 0..<20, using: &random) {
            offer(model, traffic, &random)
            model.consume(.random(in: 0...model.available.count, using: &random))
            if Bool.random(using: &random) { model.reclaim() }
        }
        offer(model, traffic, &random)
    }

    private func offer(_ model: PackedRingModel, _ traffic: Traffic, _ random: inout SeededGenerator) {
        for _ in 0..<Int.random(in: 0...40, using: &random) {
            guard model.offer(length: traffic.lengths.randomElement(using: &random)!) else { return }
        }
    }

    /// Dies inside a burst, after some marks. A burst is shorter than the ring.
    private func die(_ model: PackedRingModel, _ random: inout SeededGenerator) {
        var descriptors = 0
        let most = model.available.prefix(32).prefix { chain in
            descriptors += Int(chain.length)
            return descriptors < Int(model.count)
        }
        let marked = Int.random(in: 0...most.count, using: &random)
        model.consume(marked, firstUnmarked: marked > 1 && Bool.random(using: &random))
    }
}
