import Flows
import Synchronization

/// A flow as workers find it. Stays in its place from its insertion until no worker uses it any more.
///
/// One block of memory, so that a look-up touches two neighbouring cache lines: what it did, this, the values, the
/// instructions, the clauses, and the address sets.
struct Rule: ~Copyable {
    /// The control plane's number of the flow.
    let flow: UInt32
    let priority: UInt16
    private let valueCount: UInt8
    /// `counts` go with it; else with the rule that took its place.
    var ownsCounts = true
    /// They are in the block of a rule whose place it took.
    private let hasOthersCounts: Bool
    private let sizes: (instructions: UInt32, clauses: UInt16, sets: UInt16)
    /// The first version of the tables that has the rule.
    let added: UInt64
    /// The first version that has it no more.
    let removed = Atomic<UInt64>(.max)
    /// What it did, a lane: what its block begins with, or that of a rule whose place it took.
    let counts: UnsafeMutablePointer<RuleCount>
    /// What a packet must have in the words that the rule's tuple masks.
    let values: UnsafeMutablePointer<UInt64>

    static func made(_ flow: UInt32, of match: Match, _ code: RuleCode, priority: UInt16, added: UInt64)
        -> UnsafeMutablePointer<Rule>
    {
        let countSize = code.counts == nil ? code.laneCount * MemoryLayout<RuleCount>.stride : 0
        let size =
            countSize + MemoryLayout<Rule>.stride + match.wordCount * MemoryLayout<UInt64>.stride
            + code.instructions.count * MemoryLayout<Instruction>.stride
            + code.clauses.count * MemoryLayout<Clause>.stride + code.sets.count * MemoryLayout<Set>.stride
        let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: MemoryLayout<Rule>.alignment)
        let counts = block.bindMemory(to: RuleCount.self, capacity: code.laneCount)
        if code.counts == nil { counts.initialize(repeating: RuleCount(), count: code.laneCount) }
        let rule = (block + countSize).bindMemory(to: Rule.self, capacity: 1)
        let values = (block + countSize + MemoryLayout<Rule>.stride)
            .bindMemory(to: UInt64.self, capacity: match.wordCount)
        rule.initialize(to: Rule(flow, of: match, code, priority, added, counts: code.counts ?? counts, values: values))
        rule.pointee.fill(match, code)
        return rule
    }

    private init(
        _ flow: UInt32,
        of match: Match,
        _ code: RuleCode,
        _ priority: UInt16,
        _ added: UInt64,
        counts: UnsafeMutablePointer<RuleCount>,
        values: UnsafeMutablePointer<UInt64>
    ) {
        self.flow = flow
        self.priority = priority
        self.added = added
        valueCount = UInt8(match.wordCount)
        sizes = (UInt32(code.instructions.count), UInt16(code.clauses.count), UInt16(code.sets.count))
        hasOthersCounts = code.counts != nil
        self.counts = counts
        self.values = values
    }

    private func fill(_ match: Match, _ code: RuleCode) {
        var next = values
        match.forEachWord { _, value, _ in
            next.initialize(to: value)
            next += 1
        }
        instructions.initialize(from: code.instructions, count: instructionCount)
        clauses.initialize(from: code.clauses, count: clauseCount)
        sets.initialize(from: code.sets, count: setCount)
    }

    static func discard(_ rule: UnsafeMutablePointer<Rule>) {
        let (counts, ownsCounts) = (rule.pointee.counts, rule.pointee.ownsCounts)
        let hasOthersCounts = rule.pointee.hasOthersCounts
        rule.deinitialize(count: 1)
        // The blocks begin with them, whose ever they are.
        if ownsCounts { UnsafeMutableRawPointer(counts).deallocate() }
        if hasOthersCounts { UnsafeMutableRawPointer(rule).deallocate() }
    }

    typealias Set = UnsafeMutablePointer<FlowTable>

    /// What its flow does.
    @inline(__always) var instructionCount: Int { Int(sizes.instructions) }
    @inline(__always) var instructions: UnsafeMutablePointer<Instruction> {
        UnsafeMutableRawPointer(values + Int(valueCount)).assumingMemoryBound(to: Instruction.self)
    }

    /// What it says of conjunctions instead, ordered.
    @inline(__always) var clauseCount: Int { Int(sizes.clauses) }
    @inline(__always) var clauses: UnsafeMutablePointer<Clause> {
        UnsafeMutableRawPointer(instructions + instructionCount).assumingMemoryBound(to: Clause.self)
    }

    /// The address sets that the packet must be in, each a table of its members.
    @inline(__always) var setCount: Int { Int(sizes.sets) }
    @inline(__always) var sets: UnsafeMutablePointer<Set> {
        UnsafeMutableRawPointer(clauses + clauseCount).assumingMemoryBound(to: Set.self)
    }

    /// Whether a packet that came in at a version meets the rule.
    @inline(__always)
    func isVisible(at version: UInt64) -> Bool { added <= version && version < removed.load(ordering: .relaxed) }

    /// Whether no version is without it yet.
    var isPresent: Bool { removed.load(ordering: .relaxed) == .max }

    /// Whether the rule's values and sets are those of a match with the same mask.
    func has(_ match: Match, _ sets: [Set]) -> Bool {
        var isSame = setCount == sets.count
        for index in 0..<setCount where isSame { isSame = self.sets[index] == sets[index] }
        var next = 0
        match.forEachWord { _, value, _ in
            if values[next] != value { isSame = false }
            next += 1
        }
        return isSame
    }
}

/// What a rule is made of beside its match.
struct RuleCode {
    let instructions: [Instruction]
    let clauses: [Clause]
    let sets: [UnsafeMutablePointer<FlowTable>]
    let laneCount: Int
    /// Those of the rule whose place it takes, where it goes on counting.
    var counts: UnsafeMutablePointer<RuleCount>?

    /// - Parameter sets: those of the flow's match.
    /// - Throws: `Refusal` for an action that the switch cannot run.
    init(
        _ actions: [Action],
        sets: [UnsafeMutablePointer<FlowTable>],
        laneCount: Int,
        _ context: ActionContext
    ) throws(Refusal) {
        instructions = try Instruction.compiled(actions, context)
        clauses = Clause.all(of: actions)
        self.sets = sets
        self.laneCount = laneCount
    }

    /// Of a rule that is a member of a set.
    static var none: RuleCode { RuleCode() }

    private init() { (instructions, clauses, sets, laneCount) = ([], [], [], 0) }
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
