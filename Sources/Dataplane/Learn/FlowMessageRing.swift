import Synchronization

/// Messages on their way from a worker to the control plane: one writes, one reads, and neither waits. What finds the
/// ring full is lost, and counted: it is told again by the next packet.
struct FlowMessageRing {
    /// A power of two.
    static var capacity: Int { 1024 }

    private struct State: ~Copyable {
        /// Messages that were ever put in: the worker's word, and beside it what it lost.
        let written = Atomic<Int>(0)
        let lost = Atomic<UInt64>(0)
        /// The two ends lie in cache lines of their own.
        let gap: InlineArray<16, UInt64> = InlineArray(repeating: 0)
        /// Messages that were ever taken out.
        let read = Atomic<Int>(0)
    }

    private let state: UnsafeMutablePointer<State>
    private let messages: UnsafeMutablePointer<FlowMessage>

    init() {
        state = .allocate(capacity: 1)
        state.initialize(to: State())
        messages = LazyMemory.allocate(FlowMessage.self, Self.capacity)
    }

    func free() {
        state.deinitialize(count: 1)
        state.deallocate()
        LazyMemory.free(messages, Self.capacity)
    }

    // MARK: - The worker

    /// - Returns: false when the ring is full, and the message lost.
    func put(_ message: FlowMessage) -> Bool {
        let written = state.pointee.written.load(ordering: .relaxed)
        guard written &- state.pointee.read.load(ordering: .acquiring) < Self.capacity else {
            let lost = state.pointee.lost.load(ordering: .relaxed)
            state.pointee.lost.store(lost &+ 1, ordering: .relaxed)
            return false
        }
        messages[written & (Self.capacity &- 1)] = message
        state.pointee.written.store(written &+ 1, ordering: .releasing)
        return true
    }

    // MARK: - The control plane

    var isEmpty: Bool {
        state.pointee.written.load(ordering: .acquiring) == state.pointee.read.load(ordering: .relaxed)
    }

    /// Messages that found the ring full.
    var lostCount: UInt64 { state.pointee.lost.load(ordering: .relaxed) }

    /// Takes out the oldest messages, at most `limit`.
    func take(limit: Int) -> [FlowMessage] {
        let read = state.pointee.read.load(ordering: .relaxed)
        let count = min(state.pointee.written.load(ordering: .acquiring) - read, limit)
        let taken = (read..<read + count).map { messages[$0 & (Self.capacity - 1)] }
        state.pointee.read.store(read + count, ordering: .releasing)
        return taken
    }
}
