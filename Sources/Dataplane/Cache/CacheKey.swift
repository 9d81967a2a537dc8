import Flows

/// What the cache knows of a packet: the words of its flow key that packets fill. The first five are enough for IPv4 and
/// whatever has no addresses further in; the rest is zero for those packets.
///
///     place   word of the flow key
///     0-4     0-4, and the origin, plus one, in the upper 16 bits of word 0: no key begins with 0. That is the port of
///             the switch, or the number of a tunnel's source (`TunnelSources`)
///     5-13    18-26, and the kinds of the two tags in the upper two bits of word 18, where packets have nothing
///
/// A view of memory of `length` words.
struct CacheKey: BitwiseCopyable {
    static var length: Int { 14 }
    static var shortLength: Int { 5 }

    let words: UnsafeMutablePointer<UInt64>

    @inline(__always)
    subscript(place: Int) -> UInt64 {
        get { words[place] }
        nonmutating set { words[place] = newValue }
    }

    /// The word of a flow key that lies at a place.
    @inline(__always)
    static func word(at place: Int) -> Int { place < shortLength ? place : place + 13 }

    /// Where a word of a flow key lies; nil for one that packets do not fill.
    static func place(of word: Int) -> Int? {
        switch word {
        case 0..<shortLength: word
        case shortLength + 13..<length + 13: word - 13
        default: nil
        }
    }

    /// An origin as the first word has it.
    @inline(__always)
    static func origin(_ origin: UInt16) -> UInt64 { (UInt64(origin) &+ 1) &<< 48 }

    /// The origin in a first word.
    static func origin(of word: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: word >> 48) &- 1 }

    /// Takes the words of a flow key under a mask.
    /// - Parameter tagTypes: see `FrameLayout.tagTypeBits`.
    /// - Returns: whether any beyond the first five is not zero.
    @inline(__always)
    func take(_ key: KeyWords, _ tagTypes: UInt64, origin: UInt16, under mask: CacheKey) -> Bool {
        for place in 0..<Self.shortLength { words[place] = key[place] & mask[place] }
        words[0] |= Self.origin(origin)
        words[Self.shortLength] = (key[18] | tagTypes) & mask[Self.shortLength]
        var further = words[Self.shortLength]
        for place in Self.shortLength + 1..<Self.length {
            words[place] = key[Self.word(at: place)] & mask[place]
            further |= words[place]
        }
        return further != 0
    }
}

/// A keyed hash of a cache key: the folded products of its words with secrets, so that nobody can aim at a bucket.
struct CacheHash {
    private let secrets: UnsafeMutablePointer<UInt64>

    init() {
        secrets = .allocate(capacity: CacheKey.length + 1)
        for place in 0...CacheKey.length { (secrets + place).initialize(to: .random(in: .min ... .max)) }
    }

    func free() { secrets.deallocate() }

    /// Of a key whose further words are zero.
    @inline(__always)
    func short(_ w0: UInt64, _ w1: UInt64, _ w2: UInt64, _ w3: UInt64, _ w4: UInt64, level: UInt8) -> UInt64 {
        let first = (w1 ^ secrets[0]).folded(by: w2 ^ secrets[1])
        let second = (w3 ^ secrets[2]).folded(by: w4 ^ secrets[3])
        return (first ^ second).folded(by: w0 ^ secrets[4] &+ UInt64(level))
    }

    @inline(__always)
    func of(_ key: CacheKey, isLong: Bool, level: UInt8) -> UInt64 {
        var hash = short(key[0], key[1], key[2], key[3], key[4], level: level)
        guard isLong else { return hash }
        for place in CacheKey.shortLength..<CacheKey.length {
            hash = (hash ^ key[place]).folded(by: secrets[place + 1])
        }
        return hash
    }
}
