import CPacket
import Flows
import Synchronization

/// The rules of a table that mask the same bits (Srinivasan, Suri, Varghese, "Packet Classification using Tuple Space
/// Search", SIGCOMM 1999): a hash table from masked words to rules.
///
/// One writer at a time; readers take no lock. A place once used is not empty again until the places are made anew, so
/// that no reader ends its search too early. What a writer replaces or removes it must keep until every reader has
/// passed a quiescent state.
struct Tuple: ~Copyable {
    /// The matched words of a key, ascending, and their masks.
    let words: UnsafeMutablePointer<UInt8>
    let masks: UnsafeMutablePointer<UInt64>
    let wordCount: Int
    private let places: Atomic<UnsafeMutablePointer<Places>>
    /// Rules and places that had one: the writer's.
    private(set) var ruleCount = 0
    private(set) var clauseRuleCount = 0
    private var usedCount = 0

    /// Open addressing: addresses of rules with marks, `empty`, or `vacated`.
    private struct Places: ~Copyable {
        let addresses: UnsafeMutablePointer<Atomic<UInt>>
        let mask: Int
        /// Of the rules that were put here.
        let leading: LeadingBits

        init(count: Int, wordCount: Int) {
            addresses = TableMemory.allocate(Self.size(of: count)).bindMemory(to: Atomic<UInt>.self, capacity: count)
            for place in 0..<count { (addresses + place).initialize(to: Atomic(Tuple.empty)) }
            mask = count - 1
            leading = LeadingBits(wordCount: wordCount)
        }

        func free() {
            TableMemory.free(addresses, Self.size(of: mask + 1))
            leading.free()
        }

        private static func size(of count: Int) -> Int { count * MemoryLayout<Atomic<UInt>>.stride }

        /// The next rule with the mark of a hash; nil when there is none up to an empty place.
        /// - Parameter place: where the search goes on: the hash at first.
        @inline(__always)
        func next(from place: inout Int, marked hash: UInt64) -> UnsafeMutablePointer<Rule>? {
            while true {
                place &= mask
                let address = addresses[place].load(ordering: .acquiring)
                if address == Tuple.empty { return nil }
                place &+= 1
                guard Tuple.mark(of: UInt64(address)) == Tuple.mark(of: hash) else { continue }
                if let rule = Tuple.rule(at: address) { return rule }
            }
        }

        /// The first place on a hash's way whose address `matches`. There is one: the writer asks for
        /// what is there, or takes an empty place too.
        func first(from hash: UInt64, where matches: (UInt) -> Bool) -> UnsafeMutablePointer<Atomic<UInt>> {
            var place = Int(truncatingIfNeeded: hash) & mask
            while !matches(addresses[place].load(ordering: .relaxed)) { place = (place &+ 1) & mask }
            return addresses + place
        }
    }

    private static var empty: UInt { 0 }
    private static var vacated: UInt { 1 }
    private static var leastPlaces: Int { 8 }

    private init(_ match: Match) {
        let words = UnsafeMutablePointer<UInt8>.allocate(capacity: max(match.wordCount, 1))
        let masks = UnsafeMutablePointer<UInt64>.allocate(capacity: max(match.wordCount, 1))
        var next = 0
        match.forEachWord { word, _, mask in
            words[next] = UInt8(word)
            masks[next] = mask
            next += 1
        }
        self.words = words
        self.masks = masks
        wordCount = match.wordCount
        places = Atomic(Self.made(count: Self.leastPlaces, wordCount: match.wordCount))
    }

    static func made(_ match: Match) -> UnsafeMutablePointer<Tuple> {
        let tuple = UnsafeMutablePointer<Tuple>.allocate(capacity: 1)
        tuple.initialize(to: Tuple(match))
        return tuple
    }

    /// - Precondition: no reader is left.
    static func discard(_ tuple: UnsafeMutablePointer<Tuple>) {
        tuple.pointee.words.deallocate()
        tuple.pointee.masks.deallocate()
        discard(tuple.pointee.places.load(ordering: .relaxed))
        tuple.deinitialize(count: 1)
        tuple.deallocate()
    }

    // MARK: - Readers

    /// The rule of the highest priority above `floor` that a key meets. Adds to the search's mask what tells so.
    @inline(__always)
    func lookUp(_ search: FlowSearch, above floor: Int) -> UnsafeMutablePointer<Rule>? {
        let rule = find(search, above: floor)
        if rule != nil || !addAbsence(search) { addMask(search) }
        return rule
    }

    /// Adds the bits that the tuple looks at, those aside that were written.
    @inline(__always)
    private func addMask(_ search: FlowSearch) {
        for index in 0..<wordCount {
            let word = Int(words[index])
            search.mask[word] |= masks[index] & ~search.written[word]
        }
    }

    /// Adds the fewest leading bits that no rule has, whatever the other bits are; if there are such bits.
    private func addAbsence(_ search: FlowSearch) -> Bool {
        let leading = places.load(ordering: .acquiring).pointee.leading
        var (least, place, bits): (Int, Int, UInt64) = (.max, 0, 0)
        for index in 0..<wordCount {
            let word = Int(words[index])
            for part in 0..<LeadingBits.parts {
                let absent = leading.absent(part, ofWord: index, in: search.key[word], masks[index])
                guard absent != 0 else { continue }
                let added = absent & ~search.written[word] & ~search.mask[word]
                guard added.nonzeroBitCount < least else { continue }
                (least, place, bits) = (added.nonzeroBitCount, word, added)
                if least == 0 { return true }
            }
        }
        guard least != .max else { return false }
        search.mask[place] |= bits
        return true
    }

    /// The rule of the highest priority above `floor` and below `ceiling` that a key meets.
    @inline(__always)
    func find(
        _ search: FlowSearch,
        above floor: Int,
        below ceiling: Int = .max
    ) -> UnsafeMutablePointer<Rule>? {
        let hash = hash(search.key)
        let places = places.load(ordering: .acquiring)
        var best: UnsafeMutablePointer<Rule>?
        var priority = floor
        var place = Int(truncatingIfNeeded: hash)
        while let rule = places.pointee.next(from: &place, marked: hash) {
            if Int(rule.pointee.priority) > priority
                && Int(rule.pointee.priority) < ceiling && rule.pointee.isVisible(at: search.version)
                && isMet(rule, by: search.key)
                && (rule.pointee.setCount == 0 || Self.isMember(rule, search))
            {
                best = rule
                priority = Int(rule.pointee.priority)
            }
        }
        return best
    }

    /// Fetches where a search with a key begins.
    @inline(__always)
    func fetchPlace(_ key: UnsafePointer<UInt64>) {
        let places = places.load(ordering: .acquiring)
        martlet_prefetch(places.pointee.addresses + (Int(truncatingIfNeeded: hash(key)) & places.pointee.mask))
    }

    /// Fetches the rule that is probably found, once the place is fetched.
    @inline(__always)
    func fetchRule(_ key: UnsafePointer<UInt64>) {
        let places = places.load(ordering: .acquiring)
        let hash = hash(key)
        var place = Int(truncatingIfNeeded: hash)
        guard let rule = places.pointee.next(from: &place, marked: hash) else { return }
        martlet_prefetch(rule)
        martlet_prefetch(UnsafeRawPointer(rule) + BlockPool.line)
    }

    /// Sets the rules aside that have clauses and the priority of one that is aside already.
    @inline(never)
    func findFurther(
        _ search: FlowSearch,
        like first: UnsafeMutablePointer<Rule>,
        of tuple: UnsafeMutablePointer<Tuple>,
        _ count: inout Int
    ) {
        let places = places.load(ordering: .acquiring)
        let hash = hash(search.key)
        var place = Int(truncatingIfNeeded: hash)
        while count < SoftMatch.capacity, let rule = places.pointee.next(from: &place, marked: hash) {
            guard rule != first, rule.pointee.clauseCount != 0 else { continue }
            if rule.pointee.priority == first.pointee.priority
                && rule.pointee.isVisible(at: search.version) && isMet(rule, by: search.key)
                && Self.isMember(rule, search)
            {
                search.soft[count] = SoftMatch(rule: rule, tuple: tuple, isFurther: true)
                count += 1
            }
        }
    }

    @inline(__always)
    private func hash(_ key: UnsafePointer<UInt64>) -> UInt64 {
        var hash = Self.seed
        for index in 0..<wordCount { hash = Self.mixed(hash, key[Int(words[index])] & masks[index]) }
        return hash
    }

    @inline(__always)
    private func isMet(_ rule: UnsafeMutablePointer<Rule>, by key: UnsafePointer<UInt64>) -> Bool {
        let values = rule.values
        var difference: UInt64 = 0
        for index in 0..<wordCount { difference |= key[Int(words[index])] & masks[index] ^ values[index] }
        return difference == 0
    }

    /// Whether the packet is in all sets of a rule. Apart, as it searches tables in the midst of a search.
    @inline(never)
    private static func isMember(_ rule: UnsafeMutablePointer<Rule>, _ search: FlowSearch) -> Bool {
        for index in 0..<rule.pointee.setCount where rule.sets[index].pointee.findWithoutClauses(search) == nil {
            return false
        }
        return true
    }

    static var seed: UInt64 { 0x6a09_e667_f3bc_c908 }

    @inline(__always)
    static func mixed(_ hash: UInt64, _ word: UInt64) -> UInt64 { (hash ^ word).folded(by: 0x9e37_79b9_7f4a_7c15) }

    // MARK: - The writer

    /// The bits that the rules match.
    var mask: FlowKey {
        var mask = FlowKey()
        for index in 0..<wordCount { mask[Int(words[index])] = masks[index] }
        return mask
    }

    /// What a rule of the tuple matches beside its sets, which it knows as tables.
    /// - Parameter addressSets: those that it was made of.
    func match(of rule: UnsafeMutablePointer<Rule>, _ addressSets: [AddressSetReference]) -> Match {
        Match(wordCount: wordCount, addressSets: addressSets) { number in
            (Int(words[number]), rule.values[number], masks[number])
        }
    }

    /// Whether the match has the tuple's mask.
    func hasMask(of match: Match) -> Bool {
        guard match.wordCount == wordCount else { return false }
        var isSame = true
        var next = 0
        match.forEachWord { word, _, mask in
            if words[next] != UInt8(word) || masks[next] != mask { isSame = false }
            next += 1
        }
        return isSame
    }

    /// The rule of a match, which has this mask, and a priority that the newest version has.
    func rule(
        _ match: Match,
        _ sets: [UnsafeMutablePointer<FlowTable>],
        priority: UInt16
    ) -> UnsafeMutablePointer<Rule>? {
        let place = places.load(ordering: .relaxed).pointee.first(from: Self.hash(match)) { address in
            address == Self.empty
                || Self.rule(at: address).map {
                    $0.pointee.priority == priority && $0.pointee.isPresent && $0.has(match, sets)
                } ?? false
        }
        return Self.rule(at: place.pointee.load(ordering: .relaxed))
    }

    /// The rule of a place, nil where there is none.
    @inline(__always)
    private static func rule(at address: UInt) -> UnsafeMutablePointer<Rule>? {
        address == vacated ? nil : UnsafeMutablePointer(bitPattern: address & (1 << markShift - 1))
    }

    /// Addresses in user space have 48 bits. Above them places have bits of the rule's hash, so that rules that are not
    /// meant are not touched.
    private static var markShift: Int { 48 }

    @inline(__always)
    private static func mark(of word: UInt64) -> UInt64 { word &>> UInt64(markShift) }

    private static func hash(_ match: Match) -> UInt64 {
        var hash = seed
        match.forEachWord { _, value, _ in hash = mixed(hash, value) }
        return hash
    }

    private func hash(_ rule: UnsafeMutablePointer<Rule>) -> UInt64 {
        var hash = Self.seed
        for index in 0..<wordCount { hash = Self.mixed(hash, rule.values[index]) }
        return hash
    }

    /// Adds a rule, which readers of versions before `version` pass over.
    /// - Parameters:
    ///   - match: has this mask.
    ///   - retire: is given memory that readers may still use, to free after a quiescent state.
    mutating func insert(
        _ flow: UInt32,
        of match: Match,
        _ code: RuleCode,
        priority: UInt16,
        version: UInt64,
        retire: (Retired) -> Void
    ) -> UnsafeMutablePointer<Rule> {
        let rule = Rule.made(flow, of: match, code, priority: priority, added: version)
        if (usedCount + 1) * 2 > places.load(ordering: .relaxed).pointee.mask + 1 { enlarge(retire) }
        put(rule, into: places.load(ordering: .relaxed))
        usedCount += 1
        ruleCount += 1
        if !code.clauses.isEmpty { clauseRuleCount += 1 }
        return rule
    }

    /// Takes a rule out that no version has any more. Its memory is the caller's to free after a quiescent state.
    mutating func remove(_ rule: UnsafeMutablePointer<Rule>) {
        places.load(ordering: .relaxed).pointee
            .first(from: hash(rule)) { Self.rule(at: $0) == rule }
            .pointee.store(Self.vacated, ordering: .relaxed)
        ruleCount -= 1
        if rule.pointee.clauseCount != 0 { clauseRuleCount -= 1 }
    }

    /// Makes the places anew, and leaves the vacated ones out: a third of them is used then at most, and it takes as many
    /// insertions as a sixth until half of them is.
    private mutating func enlarge(_ retire: (Retired) -> Void) {
        let old = places.load(ordering: .relaxed)
        var count = Self.leastPlaces
        while count < (ruleCount + 1) * 3 { count *= 2 }
        let made = Self.made(count: count, wordCount: wordCount)
        for place in 0...old.pointee.mask {
            let address = old.pointee.addresses[place].load(ordering: .relaxed)
            guard let rule = Self.rule(at: address) else { continue }
            put(rule, into: made)
        }
        usedCount = ruleCount
        places.store(made, ordering: .releasing)
        retire(Retired { Self.discard(old) })
    }

    private func put(_ rule: UnsafeMutablePointer<Rule>, into places: UnsafeMutablePointer<Places>) {
        for index in 0..<wordCount { places.pointee.leading.add(rule.values[index], ofWord: index) }
        let hash = hash(rule)
        let address = UInt(bitPattern: rule) | UInt(Self.mark(of: hash)) << UInt(Self.markShift)
        places.pointee.first(from: hash) { $0 == Self.empty }.pointee.store(address, ordering: .releasing)
    }

    private static func made(count: Int, wordCount: Int) -> UnsafeMutablePointer<Places> {
        let places = UnsafeMutablePointer<Places>.allocate(capacity: 1)
        places.initialize(to: Places(count: count, wordCount: wordCount))
        return places
    }

    private static func discard(_ places: UnsafeMutablePointer<Places>) {
        places.pointee.free()
        places.deinitialize(count: 1)
        places.deallocate()
    }
}

/// A rule and the tuple that it is in.
struct PlacedRule {
    let rule: UnsafeMutablePointer<Rule>
    let tuple: UnsafeMutablePointer<Tuple>
}

/// Memory that readers may still use: freed by `free`, once all of them have passed a quiescent state.
struct Retired {
    let free: () -> Void
}
