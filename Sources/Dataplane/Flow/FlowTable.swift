import Flows
import Synchronization

/// One flow table as workers search it: its tuples, those that may hold the highest priority first.
///
/// The list is replaced whole when a tuple comes, goes or gets a higher priority than any before; a search ends as soon
/// as no later tuple can hold a better rule.
struct FlowTable: ~Copyable {
    private let list: Atomic<UnsafeMutablePointer<List>>

    private struct Entry {
        let tuple: UnsafeMutablePointer<Tuple>
        /// No rule of the tuple has a higher priority.
        var highest: Int
    }

    private struct List {
        let entries: UnsafeMutablePointer<Entry>
        let count: Int

        init(_ sorted: [Entry]) {
            count = sorted.count
            entries = .allocate(capacity: max(count, 1))
            entries.initialize(from: sorted, count: count)
        }

        var array: [Entry] { Array(UnsafeBufferPointer(start: entries, count: count)) }
    }

    init() { list = Atomic(Self.made([])) }

    /// - Precondition: no reader is left, and every rule is removed.
    func free() { Self.discard(list.load(ordering: .relaxed)) }

    /// The number of masks that a search may have to look at.
    var tupleCount: Int { list.load(ordering: .relaxed).pointee.count }

    // MARK: - Readers

    /// The rule of the highest priority that a key meets at a version of the tables, or that its conjunctions lead to.
    @inline(__always)
    func find(_ search: FlowSearch) -> UnsafeMutablePointer<Rule>? {
        let list = list.load(ordering: .acquiring).pointee
        var best: UnsafeMutablePointer<Rule>?
        var priority = -1
        var softCount = 0
        for index in 0..<list.count {
            let entry = list.entries[index]
            if entry.highest <= priority { break }
            search.path.note(entry.tuple)
            guard let rule = entry.tuple.pointee.lookUp(search, above: priority) else { continue }
            if rule.pointee.clauseCount == 0 {
                best = rule
                priority = Int(rule.pointee.priority)
            } else {
                Self.add(rule, of: entry.tuple, search, &softCount)
            }
        }
        return softCount == 0 ? best : settle(search, best, soft: softCount)
    }

    /// The same where a rule with clauses hides those of the same match that are below it (as in Open vSwitch).
    func findWithoutClauses(_ search: FlowSearch) -> UnsafeMutablePointer<Rule>? {
        let list = list.load(ordering: .acquiring).pointee
        var best: UnsafeMutablePointer<Rule>?
        var priority = -1
        for index in 0..<list.count {
            let entry = list.entries[index]
            if entry.highest <= priority { break }
            guard let rule = Self.findWithoutClauses(search, in: entry.tuple, above: priority) else { continue }
            best = rule
            priority = Int(rule.pointee.priority)
        }
        return best
    }

    /// Rules that agree in the tuple's words are of the same match if they have no sets.
    private static func findWithoutClauses(
        _ search: FlowSearch,
        in tuple: UnsafeMutablePointer<Tuple>,
        above floor: Int
    ) -> UnsafeMutablePointer<Rule>? {
        var found = tuple.pointee.lookUp(search, above: floor)
        var hides = false
        while let rule = found, rule.pointee.clauseCount != 0 || hides && rule.pointee.setCount == 0 {
            if rule.pointee.setCount == 0 { hides = true }
            found = tuple.pointee.find(search, above: floor, below: Int(rule.pointee.priority))
        }
        return found
    }

    // MARK: - The writer

    /// The rule of a match and priority that the newest version has.
    func rule(
        _ match: Match,
        _ sets: [UnsafeMutablePointer<FlowTable>],
        priority: UInt16
    ) -> UnsafeMutablePointer<Rule>? {
        entry(of: match)?.tuple.pointee.rule(match, sets, priority: priority)
    }

    /// The masks under which there are rules with clauses.
    var conjunctiveMasks: [FlowKey] {
        list.load(ordering: .relaxed).pointee.array.filter { $0.tuple.pointee.clauseRuleCount != 0 }
            .map { $0.tuple.pointee.mask }
    }

    /// Adds a rule, which readers of versions before `version` pass over.
    func insert(
        _ flow: UInt32,
        of match: Match,
        _ code: RuleCode,
        priority: UInt16,
        version: UInt64,
        retire: (Retired) -> Void
    ) -> PlacedRule {
        let known = entry(of: match)
        let tuple = known?.tuple ?? Tuple.made(match)
        if known.map({ $0.highest < Int(priority) }) ?? true {
            var entries = list.load(ordering: .relaxed).pointee.array.filter { $0.tuple != tuple }
            entries.append(Entry(tuple: tuple, highest: Int(priority)))
            replace(with: entries, retire)
        }
        let rule = tuple.pointee
            .insert(flow, of: match, code, priority: priority, version: version, retire: retire)
        return PlacedRule(rule: rule, tuple: tuple)
    }

    /// Takes a rule out that no version has any more. Its memory is the caller's to free after a quiescent state.
    func remove(_ placed: PlacedRule, retire: (Retired) -> Void) {
        let tuple = placed.tuple
        tuple.pointee.remove(placed.rule)
        guard tuple.pointee.ruleCount == 0 else { return }
        replace(with: list.load(ordering: .relaxed).pointee.array.filter { $0.tuple != tuple }, retire)
        retire(Retired { Tuple.discard(tuple) })
    }

    private func entry(of match: Match) -> Entry? {
        let list = list.load(ordering: .relaxed).pointee
        for index in 0..<list.count where list.entries[index].tuple.pointee.hasMask(of: match) {
            return list.entries[index]
        }
        return nil
    }

    private func replace(with entries: [Entry], _ retire: (Retired) -> Void) {
        let former = list.load(ordering: .relaxed)
        list.store(Self.made(entries.sorted { $0.highest > $1.highest }), ordering: .releasing)
        retire(Retired { Self.discard(former) })
    }

    private static func made(_ entries: [Entry]) -> UnsafeMutablePointer<List> {
        let list = UnsafeMutablePointer<List>.allocate(capacity: 1)
        list.initialize(to: List(entries))
        return list
    }

    private static func discard(_ list: UnsafeMutablePointer<List>) {
        list.pointee.entries.deallocate()
        list.deallocate()
    }
}
