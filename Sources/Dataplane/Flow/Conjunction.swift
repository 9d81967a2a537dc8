import Flows

/// What a rule says of a conjunction (ovs-fields(7), 'Conjunctive Match Fields'): a packet that meets the rule meets
/// clause `clause`, from 0, of the `count` that conjunction `id` has.
struct Clause: BitwiseCopyable {
    let id: UInt32
    let clause: UInt8
    let count: UInt8

    /// The bits of all the clauses of the conjunction.
    var all: UInt64 { count == 64 ? .max : 1 << UInt64(count) - 1 }

    /// The clauses that a flow's actions name, ordered by conjunction.
    static func all(of actions: [Action]) -> [Clause] {
        actions.compactMap { action in
            guard case .conjunction(let id, let clause, let count) = action else { return nil }
            return Clause(id: id, clause: clause - 1, count: count)
        }.sorted { ($0.id, $0.clause) < ($1.id, $1.clause) }
    }
}

/// What one look-up in a table works with.
struct FlowSearch: BitwiseCopyable {
    let key: UnsafeMutablePointer<UInt64>
    /// The version of the tables.
    let version: UInt64
    /// Gets every bit that the answer depends on.
    let mask: UnsafeMutablePointer<UInt64>
    /// Bits that are left out of it.
    let written: UnsafeMutablePointer<UInt64>
    /// Room for `SoftMatch.capacity` of them.
    let soft: UnsafeMutablePointer<SoftMatch>
    /// Gets the tuples.
    let path: SearchPath
}

/// The tuples that a walk searched: the next packet's walk is likely to search them too, so that what it will read there
/// can be fetched before.
struct SearchPath: BitwiseCopyable {
    static var capacity: Int { 32 }

    private struct State {
        var count = 0
        /// Of the tables. In another one the tuples may be gone.
        var version: UInt64 = 0
    }

    private let tuples: UnsafeMutablePointer<UnsafeMutablePointer<Tuple>>
    private let state: UnsafeMutablePointer<State>

    init() {
        tuples = .allocate(capacity: Self.capacity)
        state = .allocate(capacity: 1)
        state.initialize(to: State())
    }

    func free() {
        tuples.deallocate()
        state.deallocate()
    }

    func begin(at version: UInt64) { state.pointee = State(count: 0, version: version) }

    /// Nothing is to be fetched.
    func forget() { state.pointee.count = 0 }

    @inline(__always)
    func note(_ tuple: UnsafeMutablePointer<Tuple>) {
        guard state.pointee.count < Self.capacity else { return }
        tuples[state.pointee.count] = tuple
        state.pointee.count += 1
    }

    /// How many there are in a version.
    func count(at version: UInt64) -> Int { state.pointee.version == version ? state.pointee.count : 0 }

    @inline(__always)
    subscript(index: Int) -> UnsafeMutablePointer<Tuple> { tuples[index] }
}

/// A rule with clauses that a packet meets: whether it meets a conjunction shows once all such rules are known.
struct SoftMatch {
    /// The masks of a table under which there may be clauses.
    static var maskLimit: Int { 256 }
    /// What a search has room for: also several rules of a mask, where address sets that share members tell them apart.
    static var capacity: Int { 1024 }

    /// nil once it is settled.
    var rule: UnsafeMutablePointer<Rule>?
    let tuple: UnsafeMutablePointer<Tuple>
    /// Another of the tuple stands for what is below.
    var isFurther = false
    /// The next of its clauses.
    var next = 0

    var priority: Int { rule.map { Int($0.pointee.priority) } ?? -1 }

    /// The next clause, if it is of the conjunction.
    func clause(of id: UInt32) -> Clause? {
        guard let clause, clause.id == id else { return nil }
        return clause
    }

    var clause: Clause? {
        guard let rule, next < rule.pointee.clauseCount else { return nil }
        return rule.clauses[next]
    }
}

// Rules with clauses decide together, so they wait in `FlowSearch.soft` while a search goes through the tuples. Then, from
// the highest priority of theirs down: if those of one priority complete a conjunction, the packet is looked up again with
// its number in conj_id, and with no regard to clauses. If none does, each gives way to what its tuple has for the packet
// below that priority. A search costs the clauses of the rules that were met, times those rules.
extension FlowTable {
    /// Decides between the best rule without clauses and `count` rules with clauses.
    @inline(never)
    func settle(
        _ search: FlowSearch,
        _ best: UnsafeMutablePointer<Rule>?,
        soft count: Int
    ) -> UnsafeMutablePointer<Rule>? {
        var (best, count) = (best, count)
        while true {
            let floor = best.map { Int($0.pointee.priority) } ?? -1
            let highest = Self.sift(search.soft, &count, above: floor)
            guard count != 0 else { return best }
            let topCount = Self.gather(search.soft, count, priority: highest)
            if let rule = conjoined(search, topCount) { return rule }
            for index in 0..<topCount { fallBack(search, index, &best, &count) }
        }
    }

    /// Drops the matches of a priority that is not above `floor`.
    /// - Returns: the highest priority of the others.
    private static func sift(_ soft: UnsafeMutablePointer<SoftMatch>, _ count: inout Int, above floor: Int) -> Int {
        var highest = -1
        var index = 0
        while index < count {
            let priority = soft[index].priority
            if priority <= floor {
                count -= 1
                soft[index] = soft[count]
            } else {
                highest = max(highest, priority)
                index += 1
            }
        }
        return highest
    }

    /// Moves the matches of a priority to the front.
    /// - Returns: how many they are.
    private static func gather(_ soft: UnsafeMutablePointer<SoftMatch>, _ count: Int, priority: Int) -> Int {
        var top = 0
        for index in 0..<count where soft[index].priority == priority {
            (soft[top], soft[index]) = (soft[index], soft[top])
            soft[top].next = 0
            top += 1
        }
        return top
    }

    /// What the packet meets by the least conjunction that the first `count` matches complete.
    private func conjoined(_ search: FlowSearch, _ count: Int) -> UnsafeMutablePointer<Rule>? {
        while let id = Self.least(search.soft, count) {
            var (met, all): (UInt64, UInt64) = (0, 0)
            var clauseCount = 0
            for index in 0..<count {
                while let clause = search.soft[index].clause(of: id) {
                    met |= 1 << UInt64(clause.clause)
                    all = clause.all
                    clauseCount = Int(clause.count)
                    search.soft[index].next += 1
                }
            }
            // A rule may have several clauses of one conjunction, and then too few rules are none (as in Open vSwitch).
            if met & all == all && clauseCount <= count, let rule = find(search, conjunction: id) { return rule }
        }
        return nil
    }

    /// The least conjunction that is not looked at yet.
    private static func least(_ soft: UnsafeMutablePointer<SoftMatch>, _ count: Int) -> UInt32? {
        var least: UInt32?
        for index in 0..<count {
            guard let clause = soft[index].clause else { continue }
            least = min(least ?? .max, clause.id)
        }
        return least
    }

    /// The rule that the packet meets with a number in conj_id.
    private func find(_ search: FlowSearch, conjunction id: UInt32) -> UnsafeMutablePointer<Rule>? {
        let former = search.key[KeyWords.conjunctionWord]
        search.key[KeyWords.conjunctionWord] = former & ~KeyWords.conjunctionMask | UInt64(id)
        defer { search.key[KeyWords.conjunctionWord] = former }
        return findWithoutClauses(search)
    }

    /// Puts what is below a match in its tuple in its place.
    private func fallBack(
        _ search: FlowSearch,
        _ index: Int,
        _ best: inout UnsafeMutablePointer<Rule>?,
        _ count: inout Int
    ) {
        let match = search.soft[index]
        search.soft[index].rule = nil
        guard !match.isFurther else { return }
        let floor = best.map { Int($0.pointee.priority) } ?? -1
        let next = match.tuple.pointee.find(search, above: floor, below: match.priority)
        guard let next else { return }
        if next.pointee.clauseCount == 0 {
            best = next
        } else {
            Self.add(next, of: match.tuple, search, &count)
        }
    }

    /// Sets a rule with clauses aside, and those that differ from it by their address sets only.
    static func add(
        _ rule: UnsafeMutablePointer<Rule>,
        of tuple: UnsafeMutablePointer<Tuple>,
        _ search: FlowSearch,
        _ count: inout Int
    ) {
        guard count < SoftMatch.capacity else { return }
        search.soft[count] = SoftMatch(rule: rule, tuple: tuple)
        count += 1
        tuple.pointee.findFurther(search, like: rule, of: tuple, &count)
    }
}
