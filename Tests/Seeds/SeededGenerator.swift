/// SplitMix64 (Steele, Lea, Flood 2014): random numbers that a printed seed brings back.
public struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }
}

/// The seeds of a random test: one for ever, and one that the failure prints.
public let seeds: [UInt64] = [20_261_121, .random(in: .min ... .max)]
