import Synchronization

/// The first bits that rules of a tuple have in each 16 bits of their words: a packet whose bits no rule has there meets
/// none, and so do all packets that begin like it. So a client's port, of which there are thousands, is told from servers'
/// ports by four bits.
///
/// Only steps of four bits, for each length is another mask for the cache, and each value another entry. A rule that goes
/// leaves its bits until the tuple's places are made anew.
struct LeadingBits {
    /// Of 16 bits each that a word has.
    static var parts: Int { 4 }
    /// A bit for each octet that a part may begin with.
    private static var setWords: Int { 256 / UInt64.bitWidth }

    private let sets: UnsafeMutablePointer<Atomic<UInt64>>
    private let count: Int

    init(wordCount: Int) {
        count = wordCount * Self.parts * Self.setWords
        sets = .allocate(capacity: count)
        for index in 0..<count { (sets + index).initialize(to: Atomic(0)) }
    }

    func free() { sets.deallocate() }

    /// Adds the bits of a rule.
    /// - Parameter value: of the tuple's word of this number, masked.
    func add(_ value: UInt64, ofWord index: Int) {
        for part in 0..<Self.parts {
            let octet = Self.octet(part, value)
            sets[place(part, index, octet)].bitwiseOr(1 << (octet % 64), ordering: .relaxed)
        }
    }

    /// The fewest first bits of a part of a word that no rule has; none if a rule has all that are known.
    @inline(__always)
    func absent(_ part: Int, ofWord index: Int, in word: UInt64, _ mask: UInt64) -> UInt64 {
        let octet = Self.octet(part, word & mask)
        let set = sets[place(part, index, octet)].load(ordering: .relaxed)
        let shift = UInt64(part) * 16
        if set &>> (octet & 0x30) & 0xffff == 0 { return mask & 0xf000 &<< shift }
        if set &>> (octet & 0x3f) & 1 == 0 { return mask & 0xff00 &<< shift }
        return 0
    }

    @inline(__always)
    private static func octet(_ part: Int, _ word: UInt64) -> UInt64 { word &>> (UInt64(part) * 16 + 8) & 0xff }

    @inline(__always)
    private func place(_ part: Int, _ index: Int, _ octet: UInt64) -> Int {
        (index * Self.parts + part) * Self.setWords + Int(truncatingIfNeeded: octet >> 6)
    }
}
