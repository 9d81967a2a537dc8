/// How many messages about errors the senders behind a port get: so many a second, and some more at once (RFC 1812 section
/// 4.3.2.8, RFC 4443 section 2.4 (f)). One for each lane, read and written by its worker alone.
///
/// A token bucket that is kept as the time when the port is at its rate again.
@usableFromInline struct ErrorBudget {
    /// Nanoseconds between messages in the long run: 100 a second.
    static var interval: UInt64 { 10_000_000 }
    /// Messages at once.
    static var burst: UInt64 { 10 }

    /// By port, in nanoseconds.
    private let due: UnsafeMutablePointer<UInt64>

    init() {
        due = .allocate(capacity: PortIndex.capacity)
        due.initialize(repeating: 0, count: PortIndex.capacity)
    }

    func free() { due.deallocate() }

    /// Whether one more message may go to a port; it is counted then.
    /// - Parameter now: nanoseconds of a monotonic clock.
    func admits(_ port: UInt16, now: UInt64) -> Bool {
        let former = max(due[Int(port)], now)
        guard former &- now <= (Self.burst - 1) * Self.interval else { return false }
        due[Int(port)] = former &+ Self.interval
        return true
    }
}
