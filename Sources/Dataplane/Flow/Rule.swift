import Flows
import Synchronization

/// A flow as workers find it. Stays in its place from its insertion until no worker uses it any more.
///
/// One block of memory, so that a look-up touches two neighbouring cache lines as a rule: this, the values, the
/// instructions, the clauses, the address sets, and what it did; or, when it took another rule's place, where that counted.
struct Rule: ~Copyable {
    /// The control plane's number of the flow.
    let flow: UInt32
    let priority: UInt16
    fileprivate let valueCount: UInt8
    fileprivate var counting: Counting
    fileprivate let sizes: (instructions: UInt32, clauses: UInt16, sets: UInt8, lanes: UInt8)
    /// The first version of the tables that has the rule.
    let added: UInt64
    /// The first version that has it no more.
    let removed = Atomic<UInt64>(.max)
    /// What it did, a lane.
    let counts: UnsafeMutablePointer<RuleCount>

    fileprivate struct Counting: OptionSet {
        let rawValue: UInt8
        /// The counts are in the block of a rule whose place it took.
        static let elsewhere = Counting(rawValue: 1)
        /// The counts are those of the rule that took its place.
        static let succeeded = Counting(rawValue: 2)
    }

    static func made(_ flow: UInt32, of match: Match, _ code: RuleCode, priority: UInt16, added: UInt64)
        -> UnsafeMutablePointer<Rule>
    {
        let ownSize =
            MemoryLayout<Rule>.stride + match.wordCount * MemoryLayout<UInt64>.stride
            + code.instructions.count * MemoryLayout<Instruction>.stride
            + code.clauses.count * MemoryLayout<Clause>.stride + code.sets.count * MemoryLayout<Set>.stride
        let countSize =
            code.counts == nil ? code.laneCount * MemoryLayout<RuleCount>.stride : MemoryLayout<RuleCounts>.stride
        let block = TableMemory.allocate(ownSize + countSize)
        if let counts = code.counts {
            (block + ownSize).bindMemory(to: RuleCounts.self, capacity: 1).initialize(to: counts)
        } else {
            (block + ownSize).bindMemory(to: RuleCount.self, capacity: code.laneCount)
                .initialize(repeating: RuleCount(), count: code.laneCount)
        }
        let rule = block.bindMemory(to: Rule.self, capacity: 1)
        let counts = code.counts?.first ?? (block + ownSize).assumingMemoryBound(to: RuleCount.self)
        rule.initialize(to: Rule(flow, of: match, code, priority, added, counts: counts))
        rule.fill(match, code)
        return rule
    }

    private init(
        _ flow: UInt32,
        of match: Match,
        _ code: RuleCode,
        _ priority: UInt16,
        _ added: UInt64,
        counts: UnsafeMutablePointer<RuleCount>
    ) {
        self.flow = flow
        self.priority = priority
        self.added = added
        valueCount = UInt8(match.wordCount)
        counting = code.counts == nil ? [] : .elsewhere
        sizes = (
            UInt32(code.instructions.count), UInt16(code.clauses.count), UInt8(code.sets.count), UInt8(code.laneCount)
        )
        self.counts = counts
    }

    /// Where the rule counts, for one that takes its place and counts on there.
    static func handOverCounts(of rule: UnsafeMutablePointer<Rule>) -> RuleCounts {
        rule.pointee.counting.insert(.succeeded)
        return rule.othersCounts
            ?? RuleCounts(first: rule.pointee.counts, block: UnsafeMutableRawPointer(rule), size: rule.size)
    }

    static func discard(_ rule: UnsafeMutablePointer<Rule>) {
        let (size, counting, others) = (rule.size, rule.pointee.counting, rule.othersCounts)
        rule.deinitialize(count: 1)
        if let others, !counting.contains(.succeeded) { TableMemory.free(others.block, others.size) }
        // Its successor frees it with its counts.
        guard others != nil || !counting.contains(.succeeded) else { return }
        TableMemory.free(UnsafeMutableRawPointer(rule), size)
    }

    typealias Set = UnsafeMutablePointer<FlowTable>

    /// Of its instructions, clauses and address sets.
    @inline(__always) var instructionCount: Int { Int(sizes.instructions) }
    @inline(__always) var clauseCount: Int { Int(sizes.clauses) }
    @inline(__always) var setCount: Int { Int(sizes.sets) }

    /// Whether a packet that came in at a version meets the rule.
    @inline(__always)
    func isVisible(at version: UInt64) -> Bool { added <= version && version < removed.load(ordering: .relaxed) }

    /// Whether no version is without it yet.
    var isPresent: Bool { removed.load(ordering: .relaxed) == .max }
}

// The parts behind a rule, which have no pointers of their own: a rule of four words and an instruction has two cache lines.
extension UnsafeMutablePointer where Pointee == Rule {
    /// What a packet must have in the words that the rule's tuple masks.
    @inline(__always) var values: UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(self + 1).assumingMemoryBound(to: UInt64.self)
    }

    /// What its flow does.
    @inline(__always) var instructions: UnsafeMutablePointer<Instruction> {
        UnsafeMutableRawPointer(values + Int(pointee.valueCount)).assumingMemoryBound(to: Instruction.self)
    }

    /// What it says of conjunctions instead, ordered.
    @inline(__always) var clauses: UnsafeMutablePointer<Clause> {
        UnsafeMutableRawPointer(instructions + pointee.instructionCount).assumingMemoryBound(to: Clause.self)
    }

    /// The address sets that the packet must be in, each a table of its members.
    @inline(__always) var sets: UnsafeMutablePointer<Rule.Set> {
        UnsafeMutableRawPointer(clauses + pointee.clauseCount).assumingMemoryBound(to: Rule.Set.self)
    }

    /// Whether the rule's values and sets are those of a match with the same mask.
    func has(_ match: Match, _ sets: [Rule.Set]) -> Bool {
        var isSame = pointee.setCount == sets.count
        for index in 0..<pointee.setCount where isSame { isSame = self.sets[index] == sets[index] }
        var next = 0
        match.forEachWord { _, value, _ in
            if values[next] != value { isSame = false }
            next += 1
        }
        return isSame
    }

    fileprivate func fill(_ match: Match, _ code: RuleCode) {
        var next = values
        match.forEachWord { _, value, _ in
            next.initialize(to: value)
            next += 1
        }
        instructions.initialize(from: code.instructions, count: pointee.instructionCount)
        clauses.initialize(from: code.clauses, count: pointee.clauseCount)
        sets.initialize(from: code.sets, count: pointee.setCount)
    }

    fileprivate var othersCounts: RuleCounts? {
        guard pointee.counting.contains(.elsewhere) else { return nil }
        return UnsafeMutableRawPointer(sets + pointee.setCount).assumingMemoryBound(to: RuleCounts.self).pointee
    }

    /// Bytes of the block.
    fileprivate var size: Int {
        let countSize =
            pointee.counting.contains(.elsewhere)
            ? MemoryLayout<RuleCounts>.stride : Int(pointee.sizes.lanes) * MemoryLayout<RuleCount>.stride
        return UnsafeRawPointer(sets + pointee.setCount) - UnsafeRawPointer(self) + countSize
    }
}

/// What a rule is made of beside its match.
struct RuleCode {
    let instructions: [Instruction]
    let clauses: [Clause]
    let sets: [UnsafeMutablePointer<FlowTable>]
    let laneCount: Int
    /// Those of the rule whose place it takes, where it goes on counting.
    var counts: RuleCounts?

    /// - Parameters:
    ///   - reason: why packets are dropped that end behind the flow, if it says so.
    ///   - sets: those of the flow's match.
    /// - Throws: `Refusal` for an action that the switch cannot run.
    init(
        _ actions: [Action],
        reason: DropReason?,
        sets: [UnsafeMutablePointer<FlowTable>],
        laneCount: Int,
        _ context: ActionContext
    ) throws(Refusal) {
        instructions = (reason.map { [.blame($0)] } ?? []) + (try Instruction.compiled(actions, context))
        clauses = Clause.all(of: actions)
        self.sets = sets
        self.laneCount = laneCount
    }

    /// Of a rule that is a member of a set.
    static var none: RuleCode { RuleCode() }

    private init() { (instructions, clauses, sets, laneCount) = ([], [], [], 0) }
}

/// Where a rule counts: in the block of one whose place it took.
struct RuleCounts: BitwiseCopyable {
    let first: UnsafeMutablePointer<RuleCount>
    let block: UnsafeMutableRawPointer
    let size: Int
}

/// What one lane did by a rule. Written by the lane alone, words at a time.
struct RuleCount: BitwiseCopyable {
    var packets: UInt64 = 0
    var bytes: UInt64 = 0
    /// The second of the last packet, by the clock of `Lane.receive`; 0 when there was none.
    var used: UInt64 = 0

    @inline(__always)
    mutating func add(packets: UInt64, bytes: UInt64, now: UInt32) {
        self.packets &+= packets
        self.bytes &+= bytes
        used = UInt64(now)
    }
}
