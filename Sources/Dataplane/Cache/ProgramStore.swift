import CPacket
import Flows

/// The programs that a lane's cache has, each once: connections that go the same way share one.
///
/// A program is a block of memory from an arena, named by the number of its first unit. Blocks come in sizes a half or a
/// third apart and stay what they were cut as. One worker reads and writes; nothing here is shared.
struct ProgramStore {
    /// What a block begins with.
    struct Header {
        /// Entries of the cache that have it; 0 for a free block, whose `next` leads to another.
        var references: UInt32
        var hash: UInt32
        /// Not yet added to the rules' counts.
        var bytes: UInt64
        var packets: UInt32
        /// The port that packets go to as they are, when that is all; else `noOutput`.
        var output: UInt16
        var stepCount: UInt16
        /// See `Program.longest`.
        var longest: UInt16
        var checkCount: UInt8
        var visitCount: UInt8
        var sizeClass: UInt8
        var drop: UInt8
        /// See `MaskTable`.
        var mask: UInt8
        /// A byte for each would make the header longer than half of a cache line.
        private var flags: UInt8

        static var noOutput: UInt16 { .max }

        /// Whether its counts are to be added to the rules' soon.
        var isDirty: Bool {
            @inline(__always) get { flags & 1 != 0 }
            set { flags = flags & ~1 | (newValue ? 1 : 0) }
        }

        /// Whether it has `alteredParts`.
        var isAltered: Bool {
            get { flags & 2 != 0 }
            set { flags = flags & ~2 | (newValue ? 2 : 0) }
        }

        /// It has checks of what the tracker says; of one zone and no label.
        var isTracked: Bool {
            @inline(__always) get { flags & 8 != 0 }
            set { flags = flags & ~8 | (newValue ? 8 : 0) }
        }

        var isTrackedOnce: Bool {
            @inline(__always) get { flags & 16 != 0 }
            set { flags = flags & ~16 | (newValue ? 16 : 0) }
        }

        /// It begins a connection for packets that have none: the next packet is not like them.
        var isForFirst: Bool {
            @inline(__always) get { flags & 32 != 0 }
            set { flags = flags & ~32 | (newValue ? 32 : 0) }
        }

        /// Packets of a connection that is known are translated in its zone, and sent to one port, and that is all.
        var isTranslation: Bool {
            @inline(__always) get { flags & 64 != 0 }
            set { flags = flags & ~64 | (newValue ? 64 : 0) }
        }

        /// Packets go into a tunnel and then to one port, and that is all.
        var isTunnel: Bool {
            @inline(__always) get { flags & 4 != 0 }
            set { flags = flags & ~4 | (newValue ? 4 : 0) }
        }
    }

    static var unit: Int { 64 }
    private static var stepOffset: Int { MemoryLayout<Header>.stride }
    private static var classCount: Int { 22 }
    /// Longer programs are walked for each packet.
    private static var longestProgram: Int { unit * units(of: classCount - 1) }
    static var visitLimit: Int { 255 }
    private static var checkLimit: Int { 255 }

    private let memory: UnsafeMutableRawPointer
    private let state: UnsafeMutablePointer<State>
    /// Open addressing from hashes to blocks; 0 is an empty place.
    private let places: UnsafeMutablePointer<UInt32>
    private let placeMask: Int
    /// Programs that counted, in a ring.
    private let dirty: UnsafeMutablePointer<UInt32>
    private let dirtyMask: Int

    private struct State {
        var usedUnits = 1
        let unitCount: Int
        var programCount = 0
        let programLimit: Int
        var dirtyFirst = 0
        var dirtyCount = 0
        /// First free block of each size.
        var free: InlineArray<22, UInt32> = InlineArray(repeating: 0)
    }

    /// - Parameter capacity: programs, of the least size.
    init(capacity: Int) {
        let places = max(capacity, 16).nextPowerOf2 * 2
        placeMask = places - 1
        self.places = LazyMemory.allocate(UInt32.self, places)
        // For programs of eight look-ups and four steps.
        let unitCount = capacity * 3 + 4096
        memory = UnsafeMutableRawPointer(LazyMemory.allocate(UInt64.self, unitCount * Self.unit / 8))
        state = .allocate(capacity: 1)
        state.initialize(to: State(unitCount: unitCount, programLimit: max(capacity, 16)))
        dirtyMask = max(capacity, 16).nextPowerOf2 - 1
        dirty = LazyMemory.allocate(UInt32.self, dirtyMask + 1)
    }

    func free() {
        LazyMemory.free(places, placeMask + 1)
        LazyMemory.free(memory.assumingMemoryBound(to: UInt64.self), state.pointee.unitCount * Self.unit / 8)
        state.deallocate()
        LazyMemory.free(dirty, dirtyMask + 1)
    }

    var count: Int { state.pointee.programCount }

    // MARK: - Parts of a block

    @inline(__always)
    func header(_ block: UInt32) -> UnsafeMutablePointer<Header> {
        (memory + Int(block) &* Self.unit).assumingMemoryBound(to: Header.self)
    }

    /// Fetches what is behind the header of a program that `isTunnel`.
    @inline(__always)
    func fetchTunnel(_ block: UInt32) {
        guard header(block).pointee.isTunnel else { return }
        let start = UnsafeRawPointer(header(block))
        martlet_prefetch(start + Self.unit)
        martlet_prefetch(start + 2 * Self.unit)
        martlet_prefetch(start + 3 * Self.unit)
    }

    /// The steps, then the checks, then the look-ups, then what was altered by then, if anything was.
    @inline(__always)
    func steps(_ block: UInt32) -> UnsafeMutablePointer<Program.Step> {
        (memory + Int(block) &* Self.unit + Self.stepOffset).assumingMemoryBound(to: Program.Step.self)
    }

    @inline(__always)
    func checks(_ block: UInt32) -> UnsafeMutablePointer<Program.Check> {
        UnsafeMutableRawPointer(steps(block) + Int(header(block).pointee.stepCount))
            .assumingMemoryBound(to: Program.Check.self)
    }

    func visits(_ block: UInt32) -> UnsafeMutablePointer<Program.Visit> {
        UnsafeMutableRawPointer(checks(block) + Int(header(block).pointee.checkCount))
            .assumingMemoryBound(to: Program.Visit.self)
    }

    /// See `Program.alteredParts`. Last of all, for hits do not ask for it.
    func alteredParts(_ block: UInt32) -> UInt64 { header(block).pointee.isAltered ? altered(block).pointee : 0 }

    private func altered(_ block: UInt32) -> UnsafeMutablePointer<UInt64> {
        UnsafeMutableRawPointer(visits(block) + Int(header(block).pointee.visitCount))
            .assumingMemoryBound(to: UInt64.self)
    }

    func sequence(_ block: UInt32) -> Program.Sequence {
        let header = header(block)
        // It was one when it was written.
        let drop = DropReason(rawValue: Int(header.pointee.drop)).unsafelyUnwrapped
        return Program.Sequence(steps: steps(block), count: Int(header.pointee.stepCount), drop: drop)
    }

    private static func size(of program: Program, isAltered: Bool) -> Int {
        stepOffset + program.count * MemoryLayout<Program.Step>.stride
            + program.checkCount * MemoryLayout<Program.Check>.stride
            + program.visitCount * MemoryLayout<Program.Visit>.stride
            + (isAltered ? MemoryLayout<UInt64>.size : 0)
    }

    // MARK: - Finding and adding

    /// The block of a program that was walked, with one more reference.
    /// - Parameter mask: the number of the program's mask.
    /// - Returns: nil when there is no memory.
    /// - Precondition: it `fits`.
    func intern(_ program: Program, mask: UInt8) -> UInt32? {
        let (hash, altered) = (Self.hash(program), program.alteredParts)
        var place = Int(hash) & placeMask
        while places[place] != 0 {
            let block = places[place]
            if header(block).pointee.hash == hash && isSame(block, program, mask, altered) {
                header(block).pointee.references += 1
                return block
            }
            place = (place + 1) & placeMask
        }
        guard state.pointee.programCount < state.pointee.programLimit,
            let block = allocate(program, isAltered: altered != 0)
        else { return nil }
        write(program, to: block, hash: hash, mask: mask, altered)
        places[place] = block
        state.pointee.programCount += 1
        return block
    }

    /// The same steps under another mask are another program: what the cache is interested in goes by the masks.
    private func isSame(_ block: UInt32, _ program: Program, _ mask: UInt8, _ altered: UInt64) -> Bool {
        let header = header(block).pointee
        guard Int(header.stepCount) == program.count, Int(header.checkCount) == program.checkCount,
            Int(header.visitCount) == program.visitCount, Int(header.drop) == program.drop.rawValue,
            header.longest == program.longest, header.mask == mask, alteredParts(block) == altered
        else { return false }
        for index in 0..<program.visitCount {
            if visits(block)[index] != program.visits[index] { return false }
        }
        for index in 0..<program.count where steps(block)[index] != program.steps[index] { return false }
        for index in 0..<program.checkCount where checks(block)[index] != program.checks[index] { return false }
        return true
    }

    private func write(_ program: Program, to block: UInt32, hash: UInt32, mask: UInt8, _ altered: UInt64) {
        let header = header(block)
        header.pointee.references = 1
        header.pointee.hash = hash
        header.pointee.packets = 0
        header.pointee.bytes = 0
        header.pointee.stepCount = UInt16(program.count)
        header.pointee.longest = program.longest
        header.pointee.checkCount = UInt8(program.checkCount)
        header.pointee.visitCount = UInt8(program.visitCount)
        header.pointee.isDirty = false
        header.pointee.drop = UInt8(program.drop.rawValue)
        header.pointee.mask = mask
        header.pointee.isAltered = altered != 0
        header.pointee.isTunnel = Self.isTunnel(program)
        header.pointee.isTranslation = Self.isTranslation(program)
        header.pointee.isTracked = program.trackCount != 0
        header.pointee.isTrackedOnce = program.trackCount == 1
        header.pointee.isForFirst = program.isForFirst
        header.pointee.output = Self.output(of: program)
        for index in 0..<program.count { steps(block)[index] = program.steps[index] }
        for index in 0..<program.checkCount { checks(block)[index] = program.checks[index] }
        for index in 0..<program.visitCount { visits(block)[index] = program.visits[index] }
        if altered != 0 { self.altered(block).pointee = altered }
    }

    private static func output(of program: Program) -> UInt16 {
        guard program.count == 1, case .output(let port) = program.steps[0] else {
            return Header.noOutput
        }
        return port
    }

    private static func isTunnel(_ program: Program) -> Bool {
        guard program.count > 2, case .encapsulate(let header) = program.steps[0],
            case .output = program.steps[program.count - 1]
        else { return false }
        return program.count == header.octetSteps + 2
    }

    private static func isTranslation(_ program: Program) -> Bool {
        guard program.trackCount == 1, program.count > 1, case .translate = program.steps[program.count - 2],
            case .output = program.steps[program.count - 1]
        else { return false }
        for index in 0..<program.count - 2 {
            switch program.steps[index] {
            case .octets: break
            case .commit(let commit): if !commit.onlyBegins { return false }
            default: return false
            }
        }
        return true
    }

    /// Equal programs have equal hashes; it need not tell others apart well, for the rules that were met do.
    private static func hash(_ program: Program) -> UInt32 {
        var hash: UInt64 = UInt64(program.count) &<< 32 | UInt64(program.checkCount)
        for index in 0..<program.visitCount { hash = hash.mixed(with: program.visits[index].word) }
        for index in 0..<program.count {
            switch program.steps[index] {
            case .rewrite(let value, _, let word): hash = hash.mixed(with: value ^ UInt64(word))
            case .pushTag(_, let control): hash = hash.mixed(with: UInt64(control) ^ 1 &<< 17)
            case .popTag: hash = hash.mixed(with: 1 &<< 18)
            case .output(let port), .outputTruncated(let port, _): hash = hash.mixed(with: UInt64(port) ^ 1 &<< 19)
            case .meter(let cell): hash = hash.mixed(with: UInt64(UInt(bitPattern: cell)))
            case .encapsulate(let header): hash = hash.mixed(with: UInt64(header.port) ^ 1 &<< 20)
            case .octets(let first, let second): hash = hash.mixed(with: first ^ second)
            case .commit(let commit): hash = hash.mixed(with: UInt64(commit.zone) ^ UInt64(commit.mark) &<< 22)
            case .translate(let zone): hash = hash.mixed(with: UInt64(zone) ^ 1 &<< 23)
            case .restore(let zone): hash = hash.mixed(with: UInt64(zone) ^ 1 &<< 24)
            case .noStation(let port, _): hash = hash.mixed(with: UInt64(port) ^ 1 &<< 21)
            }
        }
        for index in 0..<program.checkCount {
            switch program.checks[index] {
            case .found(let name, _): hash = hash.mixed(with: name.address ^ UInt64(name.vlan))
            case .word(let word): hash = hash.mixed(with: word)
            case .track(let check): hash = hash.mixed(with: UInt64(check.bits) ^ UInt64(check.zone) &<< 8)
            case .connection(let number, _): hash = hash.mixed(with: UInt64(number) ^ 1 &<< 32)
            case .learn, .tell, .neighbor, .labelHigh, .labelLow: break
            }
        }
        return UInt32(truncatingIfNeeded: hash ^ hash &>> 32)
    }

    // MARK: - References

    /// One entry of the cache less has the program. The last one's end is the program's.
    func release(_ block: UInt32, lane: Int, now: UInt32) {
        let header = header(block)
        header.pointee.references -= 1
        guard header.pointee.references == 0 else { return }
        flush(block, lane: lane, now: now)
        remove(block)
        state.pointee.programCount -= 1
        deallocate(block)
    }

    /// Takes a block out of the places, and moves back those that it had kept from theirs.
    private func remove(_ block: UInt32) {
        var hole = Int(header(block).pointee.hash) & placeMask
        while places[hole] != block { hole = (hole + 1) & placeMask }
        var next = (hole + 1) & placeMask
        while places[next] != 0 {
            let home = Int(header(places[next]).pointee.hash) & placeMask
            // It may move to the hole unless its home lies behind that.
            if (next &- home) & placeMask >= (next &- hole) & placeMask {
                places[hole] = places[next]
                hole = next
            }
            next = (next + 1) & placeMask
        }
        places[hole] = 0
    }

    // MARK: - Memory

    /// Whether a program is not too long.
    func fits(_ program: Program) -> Bool {
        program.visitCount <= Self.visitLimit && program.checkCount <= Self.checkLimit
            && Self.size(of: program, isAltered: true) <= Self.longestProgram
    }

    /// 1, 2, 3, 4, 6, 8, 12, 16 ...
    private static func units(of sizeClass: Int) -> Int {
        sizeClass == 0 ? 1 : (2 + (sizeClass - 1) & 1) << ((sizeClass - 1) >> 1)
    }

    private func allocate(_ program: Program, isAltered: Bool) -> UInt32? {
        let size = Self.size(of: program, isAltered: isAltered)
        var sizeClass = 0
        while Self.unit * Self.units(of: sizeClass) < size { sizeClass += 1 }
        let free = state.pointee.free[sizeClass]
        if free != 0 {
            state.pointee.free[sizeClass] = header(free).pointee.hash
            return free
        }
        guard state.pointee.usedUnits + Self.units(of: sizeClass) <= state.pointee.unitCount else { return nil }
        let block = UInt32(state.pointee.usedUnits)
        state.pointee.usedUnits += Self.units(of: sizeClass)
        header(block).pointee.sizeClass = UInt8(sizeClass)
        return block
    }

    /// A free block's `hash` names the next one.
    private func deallocate(_ block: UInt32) {
        let sizeClass = Int(header(block).pointee.sizeClass)
        header(block).pointee.hash = state.pointee.free[sizeClass]
        state.pointee.free[sizeClass] = block
    }

    // MARK: - Counts

    /// Counts packets of a program, for its rules to get them soon.
    @inline(__always)
    func count(_ block: UInt32, packets: Int, bytes: UInt64, lane: Int, now: UInt32) {
        let header = header(block)
        header.pointee.packets &+= UInt32(truncatingIfNeeded: packets)
        header.pointee.bytes &+= bytes
        if !header.pointee.isDirty { markDirty(block, lane: lane, now: now) }
    }

    @inline(never)
    private func markDirty(_ block: UInt32, lane: Int, now: UInt32) {
        header(block).pointee.isDirty = true
        if state.pointee.dirtyCount > dirtyMask { flush(lane: lane, limit: 1, now: now) }
        dirty[(state.pointee.dirtyFirst + state.pointee.dirtyCount) & dirtyMask] = block
        state.pointee.dirtyCount += 1
    }

    /// Gives the rules their counts, of the programs that have waited longest.
    func flush(lane: Int, limit: Int, now: UInt32) {
        let count = min(limit, state.pointee.dirtyCount)
        let first = state.pointee.dirtyFirst
        state.pointee.dirtyFirst = (first + count) & dirtyMask
        state.pointee.dirtyCount -= count
        for index in 0..<count {
            let block = dirty[(first + index) & dirtyMask]
            // It may be free, or another program, by now.
            if header(block).pointee.references != 0 { flush(block, lane: lane, now: now) }
        }
    }

    private func flush(_ block: UInt32, lane: Int, now: UInt32) {
        let header = header(block)
        header.pointee.isDirty = false
        guard header.pointee.packets != 0 else { return }
        for index in 0..<Int(header.pointee.visitCount) {
            visits(block)[index].rule?.pointee.counts[lane]
                .add(packets: UInt64(header.pointee.packets), bytes: header.pointee.bytes, now: now)
        }
        header.pointee.packets = 0
        header.pointee.bytes = 0
    }
}

extension Int {
    fileprivate var nextPowerOf2: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}
