/// The masks of the programs in a cache, and what they have in common: the cache's interest.
///
/// The first `levels` of them can have wildcard entries. Programs with a mask beyond `capacity` have none of their own:
/// what they depend on is of interest until the cache is empty of them.
struct MaskTable {
    /// The most masks that a packet is looked up under, beside its own connection's.
    static var levels: Int { 16 }
    static var capacity: Int { 255 }
    /// No mask's number; numbers begin at 1, for level 0 is that of exact entries.
    static var none: UInt8 { 0 }
    /// In place of a mask's number: the interest before it changed, under which there still are entries.
    static var former: UInt8 { 255 }

    private let words: UnsafeMutablePointer<UInt64>
    private let state: UnsafeMutablePointer<State>
    /// Entries of each level.
    private let uses: UnsafeMutablePointer<UInt32>

    private struct State {
        var count = 0
        /// Masks seen by the sweep, as a set of numbers; and those added since it began.
        var kept: InlineArray<4, UInt64> = InlineArray(repeating: 0)
        var hasNone = false
        /// Programs that track their packets were seen, or added.
        var keepsTuple = false
        /// Changes of the interest; those of this turn of the sweep do not make the former one another.
        var interestChanges: UInt64 = 0
        var hasFormer = false
    }

    init() {
        words = .allocate(capacity: (Self.capacity + 2) * CacheKey.length)
        words.initialize(repeating: 0, count: (Self.capacity + 2) * CacheKey.length)
        state = .allocate(capacity: 1)
        state.initialize(to: State())
        uses = .allocate(capacity: Self.capacity + 1)
        uses.initialize(repeating: 0, count: Self.capacity + 1)
    }

    func free() {
        words.deallocate()
        state.deallocate()
        uses.deallocate()
    }

    /// All bits that programs in the cache depend on.
    @inline(__always) var interest: CacheKey { CacheKey(words: words) }

    /// Changes whenever the interest does: keys that were taken under the former one are void then.
    @inline(__always) var interestVersion: UInt64 { state.pointee.interestChanges }

    /// How many there are.
    var count: Int { state.pointee.count }
    /// How many of them may have wildcard entries.
    @inline(__always) var levelCount: Int { min(state.pointee.count, Self.levels) }

    /// The mask of a number; that of 0 is the interest.
    @inline(__always)
    subscript(number: UInt8) -> CacheKey { CacheKey(words: words + Int(number) * CacheKey.length) }

    /// Whether a mask has all bits of interest.
    func isInterest(_ number: UInt8) -> Bool {
        for place in 0..<CacheKey.length where self[number][place] != interest[place] { return false }
        return true
    }

    @inline(__always)
    func isUsed(_ level: UInt8) -> Bool { uses[Int(level)] != 0 }

    func use(_ level: UInt8) { uses[Int(level)] += 1 }
    func disuse(_ level: UInt8) { uses[Int(level)] -= 1 }

    /// The number of a program's mask, which becomes of interest; `none` when there are too many.
    func number(of mask: KeyWords) -> UInt8 {
        var added: UInt64 = 0
        for place in 0..<CacheKey.length { added |= mask[CacheKey.word(at: place)] & ~interest[place] }
        if added != 0 {
            willChangeInterest()
            for place in 0..<CacheKey.length { interest[place] |= mask[CacheKey.word(at: place)] }
        }
        for number in 1..<UInt8(state.pointee.count + 1) where isSame(number, mask) {
            keep(number)
            return number
        }
        guard state.pointee.count < Self.capacity - 1 else {
            state.pointee.hasNone = true
            return Self.none
        }
        state.pointee.count += 1
        let number = UInt8(state.pointee.count)
        for place in 0..<CacheKey.length { self[number][place] = mask[CacheKey.word(at: place)] }
        keep(number)
        return number
    }

    private func isSame(_ number: UInt8, _ mask: KeyWords) -> Bool {
        for place in 0..<CacheKey.length where self[number][place] != mask[CacheKey.word(at: place)] { return false }
        return true
    }

    /// Makes what connections are found by of interest, whatever the masks of programs that track their packets: an entry
    /// is of one connection then.
    func needTuple() {
        var added: UInt64 = 0
        for place in 0..<CacheKey.length { added |= Self.tuple(at: place) & ~interest[place] }
        if added != 0 {
            willChangeInterest()
            for place in 0..<CacheKey.length { interest[place] |= Self.tuple(at: place) }
        }
        keepTuple()
    }

    /// Notes that a program that tracks its packets is in the cache.
    func keepTuple() { state.pointee.keepsTuple = true }

    /// Type, protocol and whether it is a fragment; addresses and ports.
    private static func tuple(at place: Int) -> UInt64 {
        switch CacheKey.word(at: place) {
        case 0: 0xffff_0000
        case 2: 0xffff
        case 3: .max
        case 4: 0xffff_ffff_0000_0000
        case 19...22: .max
        default: 0
        }
    }

    /// Notes that a program with the mask is in the cache.
    func keep(_ number: UInt8) { state.pointee.kept[Int(number >> 6)] |= 1 << UInt64(number & 63) }

    /// A sweep has seen every entry: what no program depends on any more is of no interest. Entries that have more bits
    /// than that are found by no packet that has those set, and else are as good as they were.
    func endTurn() {
        guard !state.pointee.hasNone else { return }
        state.pointee.hasFormer = false
        var excess: UInt64 = 0
        for place in 0..<CacheKey.length { excess |= interest[place] & ~kept(at: place) }
        if excess != 0 {
            willChangeInterest()
            for place in 0..<CacheKey.length { interest[place] = kept(at: place) }
        }
        while state.pointee.count > 0, !isKept(UInt8(state.pointee.count)), uses[state.pointee.count] == 0 {
            state.pointee.count -= 1
        }
        state.pointee.kept = InlineArray(repeating: 0)
        state.pointee.keepsTuple = false
    }

    /// What the programs that a sweep has seen depend on.
    private func kept(at place: Int) -> UInt64 {
        var bits = state.pointee.keepsTuple ? Self.tuple(at: place) : 0
        for number in 1..<UInt8(state.pointee.count + 1) where isKept(number) { bits |= self[number][place] }
        return bits
    }

    private func willChangeInterest() {
        state.pointee.interestChanges += 1
        guard !state.pointee.hasFormer else { return }
        state.pointee.hasFormer = true
        for place in 0..<CacheKey.length { self[Self.former][place] = interest[place] }
    }

    private func isKept(_ number: UInt8) -> Bool {
        state.pointee.kept[Int(number >> 6)] & 1 << UInt64(number & 63) != 0
    }
}
