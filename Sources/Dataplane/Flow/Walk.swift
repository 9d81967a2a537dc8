import Flows
import Wire

/// Open vSwitch's limits, so that what runs there runs here.
enum WalkLimit {
    /// Ways back to a table, or to an earlier one, within each other: beyond it there is a loop.
    static let depth = 64
    /// Look-ups after the first: beyond it there is a loop that branches.
    static let flows = 4096
    /// Buckets of groups: groups of groups multiply them.
    static let buckets = 4096
}

/// What a walk goes by.
struct WalkContext {
    let state: ForwardingState
    /// The version of the flow tables.
    let version: UInt64
    /// Seconds, as `Lane.receive` has them.
    let now: UInt32
    /// NORMAL learns.
    let hasEffects: Bool
}

/// One packet's way through the bridges and their flow tables. Leaves a `Program` and allocates nothing.
///
/// Any excess - loops, too many steps - drops the packet, also where it had been sent already.
struct Walk<Observer: WalkObserver> {
    let context: WalkContext
    let memory: WalkMemory
    /// The packet as the flows see it by now.
    let key: KeyWords
    /// The bits that actions have written: what they hold is no longer the packet's.
    let written: KeyWords
    /// The bits that actions have written since the last output: edits that are not recorded yet. What they were does not
    /// matter, so that a program is good for packets that differ there.
    let pending: KeyWords
    /// The bits that recorded edits have written.
    let recorded: KeyWords
    /// Words with a pending bit.
    var pendingWords: UInt64 = 0
    /// The tags, whose first two the key has too; those that the recorded edits leave; whether these are others.
    var tags: TagStack
    var wireTags: TagStack
    var hasOtherTags = false
    var tagChanges = 0
    /// What the packet came with: bytes, and tags within the first two.
    var length: UInt32
    var tagCount: Int
    /// The bridge that the packet is on.
    var bridge: UInt16
    var program: Program
    var observer: Observer
    private var table: UInt8 = 0
    /// Whose actions run.
    private(set) var rule: UnsafeMutablePointer<Rule>?
    var depth = 0
    var bucketCount = 0
    var stackCount = 0
    /// What a bridge pushed is not the next one's, nor is its action set.
    var stackFloor = 0
    var actionSetCount = 0
    var actionSetFloor = 0
    /// It is behind the headers of a tunnel.
    var isEncapsulated = false
    /// The port of the switch that it came from.
    let origin: UInt16
    private(set) var hasExited = false
    /// Zones that the packet was tracked in; and the one, by its number among them, that the key shows.
    var interestCount = 0
    var tracked: Int?
    /// The zone whose connection the packet holds, and what it is there: it is not tracked again.
    var held: (zone: UInt16, bits: UInt8)?
    /// Nil as long as the packet has the addresses and ports that it came in with, or that flows have written.
    var translation: Translated?
    /// The first zone of the scope that translated what no flow sees.
    var firstUnseen: UInt16?
    /// What ended the walk beyond its limits.
    private var failure: DropReason?
    var hasFailed: Bool { failure != nil || program.waits }

    private init(
        _ packet: FlowKey,
        types: (outer: UInt16, inner: UInt16),
        length: UInt32,
        on bridge: UInt16,
        _ context: WalkContext,
        _ memory: WalkMemory,
        _ observer: Observer
    ) {
        self.context = context
        self.memory = memory
        self.bridge = bridge
        self.observer = observer
        (key, written, pending, recorded) = (memory.key, memory.written, memory.pending, memory.recorded)
        key.all = packet
        memory.packet.all = packet
        memory.altered.clear()
        memory.path.begin(at: context.version)
        written.clear()
        pending.clear()
        recorded.clear()
        memory.mask.clear()
        memory.tuple.clear()
        // What is kept of a walk is for packets of one port.
        memory.mask[0] = KeyWords.portMask
        // It is the tables' own, and no packet's.
        written[KeyWords.conjunctionWord] = KeyWords.conjunctionMask
        // No packet comes in tracked.
        written[TrackWords.state] = .max
        written[TrackWords.number] = TrackWords.numberMask
        for word in TrackWords.label...TrackWords.last { written[word] = .max }
        // The origin in a cache's keys says it.
        if context.hasEffects { written[25] |= 0xffff }
        let number = UInt16(truncatingIfNeeded: packet[0] >> 32)
        origin = context.state.bridges[Int(bridge)].port(numbered: number)
        program = Program(memory)
        tags = TagStack(key.tags, types: types)
        wireTags = tags
        tagCount = tags.count
        self.length = length
    }

    /// Runs from a table to the end.
    /// - Parameters:
    ///   - types: of the packet's VLAN tags.
    ///   - length: of the packet, in bytes.
    ///   - bridge: the slot of the bridge that the packet came in on; the port is the key's.
    static func run(
        _ packet: FlowKey,
        types: (outer: UInt16, inner: UInt16) = (TPID.customer.rawValue, TPID.customer.rawValue),
        length: UInt32 = 0,
        on bridge: UInt16,
        _ context: WalkContext,
        _ memory: WalkMemory,
        observer: inout Observer
    ) -> Program {
        var walk = Walk(packet, types: types, length: length, on: bridge, context, memory, observer)
        walk.writeActionSetOutput(Instruction.unsetPort)
        walk.enter(0, port: walk.key.port)
        walk.runActionSet()
        walk.settleTrack()
        walk.settleTranslation()
        walk.translation = nil
        walk.restoreTuple()
        walk.recordTracks()
        if let failure = walk.failure {
            walk.program.count = 0
            walk.program.drop = failure
        }
        observer = walk.observer
        walk.program.longest = UInt16(clamping: walk.program.sequence.longest(tags: 0, context.state.ports))
        return walk.program
    }

    // MARK: - Tables

    /// Looks the packet up in a table, as if it had come from a port, and runs what it finds.
    /// - Parameters:
    ///   - endsWithSet: also runs the action set, which so counts as deep as the table.
    ///   - seesOriginal: flows are matched with the addresses and ports of the connection's first packet.
    mutating func enter(_ next: UInt8, port: UInt16, endsWithSet: Bool = false, seesOriginal: Bool = false) {
        guard depth < WalkLimit.depth else { return fail(.flowLoop) }
        guard program.visitCount <= WalkLimit.flows else { return fail(.flowLoop) }
        let (former, formerRule) = (table, self.rule)
        // The way went back, or stayed. The first table comes from nowhere.
        let deepens = next <= former && program.visitCount != 0
        if deepens { depth += 1 }
        table = next
        defer {
            (table, self.rule) = (former, formerRule)
            if deepens { depth -= 1 }
        }
        let rule = seesOriginal ? findByOriginal(in: next, port: port) : find(in: next, port: port)
        self.rule = rule
        program.visits[program.visitCount] = Program.Visit(place: TablePlace(bridge: bridge, table: next), rule: rule)
        program.visitCount += 1
        if Observer.isActive { observer.looked(in: next, of: bridge, rule, key.all) }
        guard let rule else { return }
        run(rule.instructions, count: rule.pointee.instructionCount)
        if endsWithSet { runActionSet() }
    }

    /// Changes nothing of the walk's own; but what is not mutating is called with a copy of it.
    mutating func find(in table: UInt8, port: UInt16) -> UnsafeMutablePointer<Rule>? {
        let (former, transport) = (key[0], key[4])
        // The next to read the word would wait for this to be written.
        if key.port != port { key.port = port }
        // Flows match no ports of fragments, not even of the first, which has them (ovs-ofctl(8), 'set-frags', normal).
        depend(on: 0xffff_0000, word: 0)
        if key.isIP {
            depend(on: 0x3, word: 2)
            if key[2] & 0x3 != 0 { key[4] &= 0xffff_ffff }
        }
        defer { (key[0], key[4]) = (former, transport) }
        for place in 0..<CacheKey.length {
            let word = CacheKey.word(at: place)
            memory.altered[word] |= key[word] ^ memory.packet[word]
        }
        return context.state.bridges[Int(bridge)].tables[Int(table)]
            .find(
                FlowSearch(
                    key: key.words,
                    version: context.version,
                    mask: program.mask.words,
                    written: written.words,
                    soft: memory.soft,
                    path: memory.path
                )
            )
    }

    /// Notes that what follows depends on bits of the packet, unless an action wrote them.
    func depend(on mask: UInt64, word: Int) { program.mask[word] |= mask & ~written[word] }

    /// Notes that what follows depends on something beside the tables.
    mutating func note(_ place: TablePlace) {
        // A group may ask for the liveness of many ports in a row.
        if program.visitCount != 0 && program.visits[program.visitCount - 1].place == place { return }
        guard program.visitCount <= WalkLimit.flows else { return fail(.flowLoop) }
        program.visits[program.visitCount] = Program.Visit(place: place, rule: nil)
        program.visitCount += 1
    }

    /// An end within a bucket is no end of what is behind the group.
    mutating func forgetExit() { hasExited = hasFailed }

    mutating func fail(_ reason: DropReason) {
        if Observer.isActive { observer.noted(.failed(reason)) }
        if failure == nil { failure = reason }
        hasExited = true
    }

    /// The packet waits for others, and walks anew with them.
    mutating func wait() {
        program.waits = true
        hasExited = true
    }

    // MARK: - Actions

    mutating func run(_ instructions: UnsafePointer<Instruction>, count: Int) {
        var next = 0
        if Observer.isActive { observer.begins(key.all) }
        defer { if Observer.isActive { observer.ends(key.all) } }
        while next < count && !hasExited {
            let instruction = instructions[next]
            next += 1
            if Observer.isActive { observer.runs(instructions + next - 1, key.all) }
            switch instruction.kind {
            case .output: output(UInt16(truncatingIfNeeded: instruction.value))
            case .outputField: output(toField: read(instruction.from, instruction.width))
            case .inPort: outputToOrigin()
            case .normal: normal()
            case .flood, .all: flood()
            case .set: write(instruction.word, instruction.value, instruction.mask)
            case .move: write(instruction.to, instruction.width, read(instruction.from, instruction.width))
            case .setTag: setTag(instruction)
            case .pushTag: pushTag(UInt16(truncatingIfNeeded: instruction.value), control: FlowKey.vlanPresent)
            case .popTag: popTag()
            case .decrementTTL: if !decrementTTL() { return }
            case .push: push(instruction)
            case .pop: pop(instruction)
            case .resubmit: resubmit(instruction)
            case .goto: return enter(instruction.table, port: key.port)
            case .clone:
                clone(instructions + next, count: Int(instruction.count))
                next += Int(instruction.count)
            case .writeActions:
                writeActions(instructions + next, count: Int(instruction.count))
                next += Int(instruction.count)
            case .clearActions: clearActions()
            case .group: runGroup(instruction)
            // The address of a cell, never nil.
            case .meter: record(.meter(UnsafePointer(bitPattern: UInt(instruction.value)).unsafelyUnwrapped))
            case .outputTruncated:
                output(UInt16(truncatingIfNeeded: instruction.value), maxLength: UInt32(instruction.mask))
            case .checkLength: return checkLength(instruction, instructions + next, count: count - next)
            case .require:
                // Written by `Instruction.conditional`.
                let isMet = meets(Precondition(rawValue: instruction.table).unsafelyUnwrapped)
                next += isMet ? 0 : Int(instruction.count)
            case .learn:
                learn(instruction, instructions + next)
                next += Int(instruction.count)
            case .finish: finish(instruction)
            case .track:
                track(instruction, instructions + next)
                next += Int(instruction.count)
            case .clearTrack: clearTrack()
            case .reject: reject(instruction)
            // Put there by `blame`.
            case .blame: program.drop = DropReason(rawValue: Int(instruction.value)).unsafelyUnwrapped
            // Within `writeActions`, `learn` and `track` only.
            case .member, .source, .translation: break
            case .exit: hasExited = true
            }
        }
    }

    private mutating func resubmit(_ instruction: Instruction) {
        let port = instruction.value == Instruction.samePort ? key.port : UInt16(instruction.value & 0xffff)
        let next = instruction.table == Instruction.thisTable ? table : instruction.table
        guard instruction.word != 0 else { return enter(next, port: port) }
        // As Open vSwitch has it, of a packet without a connection nothing becomes.
        if key.isIP && hasOriginalTuple { enter(next, port: port, seesOriginal: true) }
    }

    /// Runs the rest of a flow, if there is one, with a bit that says whether the packet is longer than so much, as it is by
    /// now. Outside of the flow nothing is seen of the bit, nor of what the rest did (as in Open vSwitch).
    private mutating func checkLength(
        _ instruction: Instruction,
        _ rest: UnsafePointer<Instruction>,
        count: Int
    ) {
        guard count > 0 else { return }
        program.isSingular = true
        let tagBytes = (tags.count - tagCount) * tagLength
        let isLarger = Int(length) + tagBytes > Int(instruction.value)
        var bit = instruction
        bit.value = isLarger ? 1 : 0
        clone(rest, count: count, writing: bit)
        forgetExit()
    }

    /// Goes on at the other end of a patch: with nothing but the packet, and its end there is no end here. A loop there
    /// keeps what it has sent (Open vSwitch does so).
    mutating func cross(to peer: UInt16) {
        let port = context.state.ports + Int(peer)
        guard port.pointee.bridge != PortEntry.noBridge else { return }
        let (formerBridge, formerDrop) = (bridge, program.drop)
        separate { walk in
            walk.bridge = port.pointee.bridge
            walk.settleTrack()
            walk.tracked = nil
            walk.forgetOwn(port: port.pointee.number)
            if Observer.isActive { walk.observer.crosses(to: peer) }
            walk.enter(0, port: port.pointee.number, endsWithSet: true)
            if Observer.isActive { walk.observer.returns() }
        }
        bridge = formerBridge
        endOther(formerDrop)
    }

    /// An end on another bridge is none here.
    mutating func endOther(_ formerDrop: DropReason) {
        // What does not fit a program is not sent in part.
        let isFull = program.count == Program.capacity || program.checkCount == Program.checkCapacity
        guard !program.waits, failure != .flowTooLong || !isFull else { return }
        if failure != nil { program.drop = formerDrop }
        (hasExited, failure) = (false, nil)
    }

    /// A clone's stack and action set begin as copies; the set of packets whose length is not larger begins empty, as Open
    /// vSwitch runs it for larger ones first.
    private mutating func clone(
        _ instructions: UnsafePointer<Instruction>,
        count: Int,
        writing bit: Instruction? = nil
    ) {
        copied(fromMember: bit?.value == 0 ? actionSetCount : actionSetFloor) { walk in
            if let bit { walk.write(bit.to, 1, UInt128(bit.value)) }
            walk.run(instructions, count: count)
        }
    }

    /// Scoped, with copies of the stack and of the action set from a member on.
    mutating func copied(fromMember firstMember: Int, _ body: (inout Walk) -> Void) {
        let (stack, set) = (stackFloor..<stackCount, firstMember..<actionSetCount)
        guard stackCount + stack.count <= WalkMemory.stackLimit,
            actionSetCount + set.count <= ActionSetMember.capacity
        else { return fail(.flowTooLong) }
        separate { walk in
            for place in stack {
                walk.memory.stack[walk.stackCount] = walk.memory.stack[place]
                walk.stackCount += 1
            }
            for place in set {
                walk.memory.actionSet[walk.actionSetCount] = walk.memory.actionSet[place]
                walk.actionSetCount += 1
            }
            body(&walk)
        }
    }

    /// Scoped, with a stack and an action set of its own.
    private mutating func separate(_ body: (inout Walk) -> Void) {
        let (formerStack, formerSet) = (stackFloor, actionSetFloor)
        scoped { walk in
            (walk.stackFloor, walk.actionSetFloor) = (walk.stackCount, walk.actionSetCount)
            body(&walk)
            walk.runActionSet()
            (walk.stackCount, walk.actionSetCount) = (walk.stackFloor, walk.actionSetFloor)
        }
        (stackFloor, actionSetFloor) = (formerStack, formerSet)
    }

    /// What packets do not carry begins anew on another bridge.
    private mutating func forgetOwn(port: UInt16) {
        key.port = port
        written[0] |= KeyWords.portMask
        for word in 5..<FlowKey.wordCount where memory.own[word] != 0 {
            key[word] &= ~memory.own[word]
            written[word] |= memory.own[word]
        }
        writeActionSetOutput(Instruction.unsetPort)
    }

    /// What is done inside is seen by its outputs only: edits that those recorded are undone by the next output. An exit
    /// inside ends all, as in Open vSwitch.
    mutating func scoped(_ body: (inout Walk) -> Void) {
        let (formerKey, formerTags, formerWritten, formerPending) = (key.all, tags, written.all, pending.all)
        let (formerRecorded, formerTagChanges, hadOtherTags) = (recorded.all, tagChanges, hasOtherTags)
        let (formerTracked, formerHeld, formerTranslation) = (tracked, held, translation)
        let formerUnseen = firstUnseen
        recorded.clear()
        firstUnseen = nil
        body(&self)
        settleTrack()
        settleTranslation()
        if let firstUnseen { record(.restore(firstUnseen)) }
        (tracked, held, translation, firstUnseen) = (formerTracked, formerHeld, formerTranslation, formerUnseen)
        restoreTuple()
        (key.all, tags, written.all, pending.all) = (formerKey, formerTags, formerWritten, formerPending)
        pendingWords = 0
        widenLinkAddresses()
        for word in 0..<FlowKey.wordCount {
            depend(on: recorded[word], word: word)
            pending[word] |= recorded[word]
            if pending[word] != 0 { pendingWords |= 1 << UInt64(word) }
            recorded[word] |= formerRecorded[word]
        }
        hasOtherTags = hadOtherTags || tagChanges != formerTagChanges
    }

    /// A discovery option has one address, which is the source's or the target's by its type: where both the type and
    /// the address were written, it is the other one that is to come back.
    private func widenLinkAddresses() {
        guard recorded[4] & KeyWords.optionTypeMask != 0, (recorded[25] | recorded[26]) >> 16 != 0 else { return }
        recorded[25] |= ~0xffff
        recorded[26] |= ~0xffff
    }

    // MARK: - Rejections

    /// The sender of the packet is told, once, what the last of them says. Each such packet walks.
    private mutating func reject(_ instruction: Instruction) {
        let source = IPAddress(value: UInt128(instruction.mask) << 64 | UInt128(instruction.value))
        program.rejection = Rejection(
            error: ICMPError(type: instruction.table, code: instruction.word),
            source: source
        )
        program.isSingular = true
        program.drop = .rejected
        if Observer.isActive { observer.noted(.rejected(source)) }
    }

    // MARK: - The stack

    private mutating func push(_ instruction: Instruction) {
        guard stackCount < WalkMemory.stackLimit else { return fail(.flowTooLong) }
        memory.stack[stackCount] = read(instruction.from, instruction.width)
        stackCount += 1
    }

    /// From an empty stack nothing comes, and the field stays.
    private mutating func pop(_ instruction: Instruction) {
        guard stackCount > stackFloor else { return }
        stackCount -= 1
        write(instruction.to, instruction.width, memory.stack[stackCount])
    }
}

/// Follows a walk: what `trace` shows. With `isActive` false nothing of it is left in the code.
protocol WalkObserver {
    static var isActive: Bool { get }
    mutating func looked(in table: UInt8, of bridge: UInt16, _ rule: UnsafeMutablePointer<Rule>?, _ key: FlowKey)
    /// Around the instructions of a rule, and of a clone within them.
    mutating func begins(_ key: FlowKey)
    mutating func ends(_ key: FlowKey)
    /// Before each instruction; those of a rule lie in its `instructions`.
    mutating func runs(_ instruction: UnsafePointer<Instruction>, _ key: FlowKey)
    /// Around what happens at the other end of a patch.
    mutating func crosses(to peer: UInt16)
    mutating func returns()
    mutating func noted(_ note: WalkNote)
    /// What the tracker is to say of a packet that goes on in a table, instead of what it says; nil for that.
    mutating func nextState() -> UInt8?
    /// The control plane would be told so, for a packet of a worker.
    mutating func tells(_ message: FlowMessage)
}

/// Nobody looks.
struct Unobserved: WalkObserver {
    static var isActive: Bool { false }
    mutating func looked(in table: UInt8, of bridge: UInt16, _ rule: UnsafeMutablePointer<Rule>?, _ key: FlowKey) {}
    mutating func begins(_ key: FlowKey) {}
    mutating func ends(_ key: FlowKey) {}
    mutating func runs(_ instruction: UnsafePointer<Instruction>, _ key: FlowKey) {}
    mutating func crosses(to peer: UInt16) {}
    mutating func returns() {}
    mutating func noted(_ note: WalkNote) {}
    mutating func nextState() -> UInt8? { nil }
    mutating func tells(_ message: FlowMessage) {}
}
