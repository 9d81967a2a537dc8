import Flows
import Synchronization

/// How the control plane gets to see a lane's cache, which is the worker's own memory: it leaves a request, the worker
/// copies some entries each time that it is at its upkeep, and says when it is done. Neither waits within a packet's way.
struct CacheMailbox {
    /// The most entries of an answer.
    static let capacity = 4096
    /// Entries looked at, and copied, in one go.
    private static let stride = 1024
    private static let copies = 64

    /// An entry as it was when it was copied.
    struct Row: BitwiseCopyable {
        static let stepLimit = 16

        var words: InlineArray<14, UInt64>
        var mask: InlineArray<14, UInt64>
        /// Where its packets come from, if that is a tunnel.
        var source: TunnelSources.Source?
        var port: UInt16
        var level: UInt8
        /// The second of the last packet.
        var used: UInt32
        /// Entries that have the same program.
        var references: UInt32
        var drop: UInt8
        /// The first `stepLimit` are copied.
        var stepCount: UInt16
        var steps: InlineArray<16, Program.Step>
    }

    private struct State: ~Copyable {
        let turn = Atomic<UInt8>(CacheMailbox.idle)
        var limit = 0
        var cursor: UInt32 = 1
        var count = 0
    }

    private static var idle: UInt8 { 0 }
    /// The worker's turn: all but this word is its own until it is done.
    private static var asked: UInt8 { 1 }
    private static var done: UInt8 { 2 }

    private let state: UnsafeMutablePointer<State>
    private let rows: UnsafeMutablePointer<Row>
    /// By index: entries of other ports are left out.
    private let ports: UnsafeMutablePointer<Bool>

    init() {
        state = .allocate(capacity: 1)
        state.initialize(to: State())
        // Memory that is not touched is not there: see `LazyMemory`.
        rows = LazyMemory.allocate(Row.self, Self.capacity)
        ports = .allocate(capacity: PortIndex.capacity)
        ports.initialize(repeating: false, count: PortIndex.capacity)
    }

    func free() {
        state.deinitialize(count: 1)
        state.deallocate()
        LazyMemory.free(rows, Self.capacity)
        ports.deallocate()
    }

    // MARK: - The control plane

    /// - Parameter chosen: the ports whose entries are wanted; nil for all.
    /// - Returns: false while the worker has not answered the request before.
    func ask(limit: Int, ports chosen: Set<PortIndex>?) -> Bool {
        guard state.pointee.turn.load(ordering: .acquiring) != Self.asked else { return false }
        for port in 0..<PortIndex.capacity { ports[port] = chosen == nil }
        for port in chosen ?? [] { ports[Int(port.value)] = true }
        state.pointee.limit = min(limit, Self.capacity)
        state.pointee.cursor = 1
        state.pointee.count = 0
        state.pointee.turn.store(Self.asked, ordering: .releasing)
        return true
    }

    /// What the worker copied; nil while it is not done.
    var answer: UnsafeBufferPointer<Row>? {
        guard state.pointee.turn.load(ordering: .acquiring) == Self.done else { return nil }
        return UnsafeBufferPointer(start: rows, count: state.pointee.count)
    }

    // MARK: - The worker

    /// Goes on with a request, if there is one.
    func serve(_ cache: FlowCache) {
        guard state.pointee.turn.load(ordering: .acquiring) == Self.asked else { return }
        var copies = 0
        for _ in 0..<Self.stride {
            guard state.pointee.cursor < cache.numberLimit, state.pointee.count < state.pointee.limit else {
                return state.pointee.turn.store(Self.done, ordering: .releasing)
            }
            let number = state.pointee.cursor
            state.pointee.cursor += 1
            let entry = cache.entry(number).pointee
            guard entry.isUsed, ports[Int(entry.port)] else { continue }
            copy(number, entry, of: cache)
            copies += 1
            if copies == Self.copies { return }
        }
    }

    private func copy(_ number: UInt32, _ entry: FlowCache.Entry, of cache: FlowCache) {
        let header = cache.programs.header(entry.program).pointee
        let steps = cache.programs.steps(entry.program)
        // The mask of a level is that of its programs; an exact entry has all that any program asks for.
        let mask = entry.level == 0 ? cache.masks.interest : cache.masks[entry.level]
        let origin = CacheKey.origin(of: entry.words[0])
        rows[state.pointee.count] = Row(
            words: InlineArray { cache.word(at: $0, of: number) },
            mask: InlineArray { mask[$0] },
            source: origin < TunnelSources.first ? nil : cache.sources.source(origin),
            port: entry.port,
            level: entry.level,
            used: entry.used,
            references: header.references,
            drop: header.drop,
            stepCount: header.stepCount,
            steps: InlineArray { $0 < Int(header.stepCount) ? steps[$0] : .popTag }
        )
        state.pointee.count += 1
    }
}
