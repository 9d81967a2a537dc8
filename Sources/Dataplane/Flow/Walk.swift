import Flows
import Wire

/// Why a walk stops before its end. The packet is dropped then, also where it had been sent already.
enum WalkEnd: Equatable {
    /// More ways back within each other than `Walk.depthLimit`: a loop.
    case tooDeep
    /// More flows than `Walk.flowLimit`: a loop that branches.
    case tooManyFlows
    /// More edits and outputs than a program holds.
    case tooManySteps
    case stackOverflow
}

/// One packet's way through the flow tables.
struct Walk {
    /// Open vSwitch's limits, so that what runs there runs here.
    static let depthLimit = 64
    static let flowLimit = 4096

    private let tables: FlowTables.Snapshot
    private let stack: UnsafeMutablePointer<UInt128>
    private var program: Program
    /// The packet as the flows see it by now.
    private var key: FlowKey
    /// The bits that actions have written since the last output: edits that are not recorded yet. What they were does not
    /// matter, so that a program is good for packets that differ there.
    private var pending = FlowKey()
    /// The bits that recorded edits have written.
    private var recorded = FlowKey()
    /// The types of the two tags; the tags and types that the recorded edits leave; whether they are others than now.
    private var types: (outer: UInt16, inner: UInt16)
    private var wireTags: (outer: UInt16, inner: UInt16)
    private var wireTypes: (outer: UInt16, inner: UInt16)
    private var hasOtherTags = false
    private var tagChanges = 0
    private var depth = 0
    private var flowCount = 0
    private var stackCount = 0
    private var hasExited = false
    /// The bits that actions have written: what they hold is no longer the packet's.
    private var written = FlowKey()

    private init(
        _ key: FlowKey,
        types: (outer: UInt16, inner: UInt16),
        tables: FlowTables.Snapshot,
        memory: WalkMemory
    ) {
        self.key = key
        self.types = types
        self.tables = tables
        stack = memory.stack
        program = Program(steps: memory.steps)
        wireTags = key.tags
        wireTypes = types
    }

    /// Runs from a table to the end.
    /// - Parameter types: of the packet's VLAN tags.
    static func run(
        _ key: FlowKey,
        types: (outer: UInt16, inner: UInt16) = (TPID.customer.rawValue, TPID.customer.rawValue),
        from table: UInt8 = 0,
        tables: FlowTables.Snapshot,
        memory: WalkMemory
    ) -> Program {
        var walk = Walk(key, types: types, tables: tables, memory: memory)
        walk.enter(table, port: key.port, deepens: false)
        if walk.program.end != nil { walk.program.count = 0 }
        return walk.program
    }

    // MARK: - Tables

    /// Looks the packet up in a table, as if it had come from a port, and runs what it finds.
    /// - Parameter deepens: the way went back to an earlier table, or stayed: only such ways can be loops.
    private mutating func enter(_ table: UInt8, port: UInt16, deepens: Bool) {
        guard depth < Self.depthLimit else { return end(.tooDeep) }
        // The first table is not resubmitted.
        guard flowCount <= Self.flowLimit else { return end(.tooManyFlows) }
        if deepens { depth += 1 }
        flowCount += 1
        defer { if deepens { depth -= 1 } }
        guard let rule = find(in: table, port: port) else { return }
        run(rule.pointee.instructions, count: rule.pointee.instructionCount, table: table)
    }

    private mutating func find(in table: UInt8, port: UInt16) -> UnsafeMutablePointer<Rule>? {
        var asked = key
        asked.port = port
        var looked = FlowKey()
        let rule = asked.withUnsafeWords { key in
            looked.withUnsafeMutableWords { tables.find(key.baseAddress!, in: table, mask: $0.baseAddress!) }
        }
        for word in 0..<FlowKey.wordCount { depend(on: looked[word], word: word) }
        return rule
    }

    /// Notes that what follows depends on bits of the packet, unless an action wrote them.
    private mutating func depend(on mask: UInt64, word: Int) { program.mask[word] |= mask & ~written[word] }

    private mutating func end(_ reason: WalkEnd) {
        if program.end == nil { program.end = reason }
        hasExited = true
    }

    // MARK: - Actions

    private mutating func run(_ instructions: UnsafePointer<Instruction>, count: Int, table: UInt8) {
        var next = 0
        while next < count && !hasExited {
            let instruction = instructions[next]
            next += 1
            switch instruction.kind {
            case .output: output(UInt16(truncatingIfNeeded: instruction.value))
            case .outputField: output(UInt16(truncatingIfNeeded: read(instruction.from, instruction.width)))
            case .inPort: outputToOrigin()
            case .normal: emit(.normal)
            case .flood: emit(.flood)
            case .all: emit(.all)
            case .set: write(instruction.word, instruction.value, instruction.mask)
            case .move: write(instruction.to, instruction.width, read(instruction.from, instruction.width))
            case .setTag: setTag(instruction)
            case .pushTag: pushTag(UInt16(truncatingIfNeeded: instruction.value), control: FlowKey.vlanPresent)
            case .popTag: popTag()
            case .decrementTTL: if !decrementTTL() { return }
            case .push: push(instruction)
            case .pop: pop(instruction)
            case .resubmit: resubmit(instruction, table: table)
            case .goto: return enter(instruction.table, port: key.port, deepens: instruction.table <= table)
            case .clone:
                clone(instructions + next, count: Int(instruction.count), table: table)
                next += Int(instruction.count)
            case .exit: hasExited = true
            }
        }
    }

    private mutating func resubmit(_ instruction: Instruction, table: UInt8) {
        let port = instruction.value == Instruction.samePort ? key.port : UInt16(instruction.value & 0xffff)
        let next = instruction.table == Instruction.thisTable ? table : instruction.table
        enter(next, port: port == UInt16(FlowPort.inPort.rawValue) ? key.port : port, deepens: next <= table)
    }

    /// What is done inside is seen by its outputs only: edits that those recorded are undone by the next output. An exit
    /// inside ends all, as in Open vSwitch.
    private mutating func clone(_ instructions: UnsafePointer<Instruction>, count: Int, table: UInt8) {
        let (formerKey, formerTypes, formerWritten, formerPending) = (key, types, written, pending)
        let (formerRecorded, formerTagChanges, hadOtherTags) = (recorded, tagChanges, hasOtherTags)
        recorded = FlowKey()
        run(instructions, count: count, table: table)
        (key, types, written, pending) = (formerKey, formerTypes, formerWritten, formerPending)
        for word in 0..<FlowKey.wordCount {
            depend(on: recorded[word], word: word)
            pending[word] |= recorded[word]
            recorded[word] |= formerRecorded[word]
        }
        hasOtherTags = hadOtherTags || tagChanges != formerTagChanges
    }

    // MARK: - Outputs

    /// Not to where it came from: that takes IN_PORT (ovs-actions(7), 'output').
    private mutating func output(_ port: UInt16) {
        depend(on: 0xffff << 32, word: 0)
        guard port != key.port, FlowPort(rawValue: UInt32(port)).isOrdinary else { return }
        emit(.output(port))
    }

    private mutating func outputToOrigin() {
        depend(on: 0xffff << 32, word: 0)
        emit(.output(key.port))
    }

    private mutating func emit(_ step: Program.Step) {
        recordEdits()
        record(step)
    }

    private mutating func record(_ step: Program.Step) {
        guard program.count < Program.capacity else { return end(.tooManySteps) }
        program.steps[program.count] = step
        program.count += 1
    }

    /// Brings the packet to what the flows have made of it: tags first, then every word that was written.
    private mutating func recordEdits() {
        recordTags()
        for word in 0..<FlowKey.wordCount where pending[word] != 0 {
            // Only what headers hold is edited; the rest is the walk's own.
            let mask = pending[word] & Self.editable[word]
            pending[word] = 0
            guard mask != 0 else { continue }
            record(.rewrite(word: word, value: key[word] & mask, mask: mask))
            recorded[word] |= mask
        }
    }

    /// The bits of a key that packets carry, tags aside.
    private static let editable: FlowKey = {
        var mask = FlowKey()
        for field in [
            Field.ethSource, .ethDestination, .ipSource, .ipDestination, .ipv6Source, .ipv6Destination, .ipv6Label,
            .arpOp, .arpSHA, .arpTHA, .nwTOS, .nwECN, .nwTTL, .tcpSource, .tcpDestination, .ndTarget, .tunID,
        ] { mask[field.slot] |= field.slot.mask }
        return mask
    }()

    private mutating func recordTags() {
        let now = key.tags
        let mask = pending[0] & 0xffff
        pending[0] &= ~0xffff
        if hasOtherTags {
            replaceTags(now)
        } else if mask != 0 {
            record(.rewrite(word: 0, value: UInt64(now.outer) & mask, mask: mask))
            recorded[0] |= mask
        }
        (wireTags, wireTypes, hasOtherTags) = (now, types, false)
    }

    /// All of the tags are known here: `dependOnTags`.
    private mutating func replaceTags(_ now: (outer: UInt16, inner: UInt16)) {
        let former = wireTags
        let keepsInner = now.inner == former.inner && (now.inner == 0 || types.inner == wireTypes.inner)
        if now.outer == former.outer && keepsInner && (now.outer == 0 || types.outer == wireTypes.outer) { return }
        if former.outer != 0 && now == (former.inner, 0) { return record(.popTag) }
        if now.outer != 0 && former.inner == 0 && now.inner == former.outer {
            return record(.pushTag(type: types.outer, control: now.outer))
        }
        if former.outer != 0 { record(.popTag) }
        if !keepsInner {
            if former.inner != 0 { record(.popTag) }
            if now.inner != 0 { record(.pushTag(type: types.inner, control: now.inner)) }
        }
        if now.outer != 0 { record(.pushTag(type: types.outer, control: now.outer)) }
    }

    // MARK: - Fields

    private mutating func write(_ word: UInt8, _ value: UInt64, _ mask: UInt64) {
        key[Int(word)] = key[Int(word)] & ~mask | value
        written[Int(word)] |= mask
        pending[Int(word)] |= mask
    }

    private mutating func write(_ place: Instruction.Place, _ width: UInt8, _ value: UInt128) {
        let limit: UInt128 = width == 128 ? .max : (1 << UInt128(width)) - 1
        let (bits, mask) = ((value & limit) << UInt128(place.shift), limit << UInt128(place.shift))
        guard place.isWide else {
            return write(place.word, UInt64(truncatingIfNeeded: bits), UInt64(truncatingIfNeeded: mask))
        }
        write(place.word, UInt64(truncatingIfNeeded: bits >> 64), UInt64(truncatingIfNeeded: mask >> 64))
        write(place.word + 1, UInt64(truncatingIfNeeded: bits), UInt64(truncatingIfNeeded: mask))
    }

    private mutating func read(_ place: Instruction.Place, _ width: UInt8) -> UInt128 {
        let limit: UInt128 = width == 128 ? .max : (1 << UInt128(width)) - 1
        let mask = limit << UInt128(place.shift)
        let word = Int(place.word)
        guard place.isWide else {
            depend(on: UInt64(truncatingIfNeeded: mask), word: word)
            return UInt128(key[word]) >> UInt128(place.shift) & limit
        }
        depend(on: UInt64(truncatingIfNeeded: mask >> 64), word: word)
        depend(on: UInt64(truncatingIfNeeded: mask), word: word + 1)
        return (UInt128(key[word]) << 64 | UInt128(key[word + 1])) >> UInt128(place.shift) & limit
    }

    private mutating func push(_ instruction: Instruction) {
        guard stackCount < WalkMemory.stackLimit else { return end(.stackOverflow) }
        stack[stackCount] = read(instruction.from, instruction.width)
        stackCount += 1
    }

    /// From an empty stack nothing comes, and the field stays.
    private mutating func pop(_ instruction: Instruction) {
        guard stackCount > 0 else { return }
        stackCount -= 1
        write(instruction.to, instruction.width, stack[stackCount])
    }

    /// - Returns: false for a packet that has lived long enough: its way ends here.
    private mutating func decrementTTL() -> Bool {
        depend(on: 0xffff_0000, word: 0)
        guard key.isIP else { return true }
        depend(on: 0xff, word: 4)
        let ttl = key[4] & 0xff
        guard ttl > 1 else { return false }
        write(4, ttl - 1, 0xff)
        return true
    }

    // MARK: - Tags

    private mutating func setTag(_ instruction: Instruction) {
        depend(on: UInt64(FlowKey.vlanPresent), word: 0)
        if key.tags.outer == 0 {
            guard instruction.pushes else { return }
            pushTag(TPID.customer.rawValue, control: FlowKey.vlanPresent)
        }
        write(0, instruction.value, instruction.mask)
    }

    private mutating func pushTag(_ type: UInt16, control: UInt16) {
        let former = key.tags
        dependOnTags()
        key.tags = (control, former.outer)
        types = (type, types.outer)
    }

    private mutating func popTag() {
        dependOnTags()
        guard key.tags.outer != 0 else { return }
        key.tags = (key.tags.inner, 0)
        types = (types.inner, TPID.customer.rawValue)
    }

    private mutating func dependOnTags() {
        // Also bits that were written: tags are replaced as they are on the wire.
        program.mask[0] |= 0xffff
        program.mask[1] |= 0xffff
        hasOtherTags = true
        tagChanges += 1
    }
}

extension FlowKey {
    /// The port that the packet came from, by its OpenFlow number.
    fileprivate var port: UInt16 {
        get { UInt16(truncatingIfNeeded: self[0] >> 32) }
        set { self[0] = self[0] & 0xffff_ffff | UInt64(newValue) << 32 }
    }

    /// The control information of the two tags, 0 where there is none.
    fileprivate var tags: (outer: UInt16, inner: UInt16) {
        get { (vlanTCI, innerVLANTCI) }
        set {
            self[0] = self[0] & ~0xffff | UInt64(newValue.outer)
            self[1] = self[1] & ~0xffff | UInt64(newValue.inner)
        }
    }

    fileprivate var isIP: Bool {
        let type = UInt16(truncatingIfNeeded: self[0] >> 16)
        return type == 0x0800 || type == 0x86dd
    }
}
