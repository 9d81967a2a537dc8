import Seeds
import Testing

@testable import Dataplane

/// Any bytes whatever, cut into segments anywhere: nothing crashes, and `Bench` accounts for every packet.
@Suite struct FrameFuzzTests {
    private static let policies: [VLANPolicy] = [
        .trunk(), .access(10), .nativeTagged(10), .nativeUntagged(10, 20), .tunnel(100), .tunnel(100, 5), .trunk(10),
        .access(0),
    ]

    @Test(arguments: seeds)
    func accountsForEveryFrameOfRandomBytes(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let bench = Bench(Self.policies, frameLength: 120)
        var sent = 0
        for _ in 0..<500 {
            let count = Int.random(in: 1...32, using: &random)
            let frames = (0..<count).map { _ in Self.frame(&random) }
            bench.copiesLeft = Bool.random(using: &random) ? .max : Int.random(in: 0..<100, using: &random)
            let port = UInt16.random(in: 0..<9, using: &random)
            sent += bench.receive(frames, from: port).sent.values.reduce(0) { $0 + $1.count }
        }
        #expect(sent > 1000, "the frames are not all refused; seed \(seed)")
    }

    /// Random bytes, in half of the frames with some sense in the places that matter.
    private static func frame(_ random: inout SeededGenerator) -> Frame {
        let length = Int.random(in: 1...200, using: &random)
        var bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        if Bool.random(using: &random), length >= 18 {
            bytes.replaceSubrange(
                0..<12,
                with: octets(.random(in: 0..<8, using: &random)) + octets(.random(in: 0..<8, using: &random))
            )
            let type = [0x8100, 0x88a8, 0x0800].randomElement(using: &random)!
            let vlan = [0, 5, 10, 20, 100, 4095].randomElement(using: &random)!
            bytes.replaceSubrange(12..<16, with: octets(UInt64(type), count: 2) + octets(UInt64(vlan), count: 2))
        }
        let segments = (0..<Int.random(in: 0..<4, using: &random)).map { _ in Int.random(in: 0..<40, using: &random) }
        return Frame(bytes, segments: segments, headroom: [0, 3, 4, 128].randomElement(using: &random)!)
    }
}
