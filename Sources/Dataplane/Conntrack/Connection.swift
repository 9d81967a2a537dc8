import Synchronization

/// What packets of a known connection ask for, in one cache line, which workers share without a lock.
///
/// Both directions of a connection may come on different workers. What a packet of an established one changes has one
/// writer: the worker that its direction comes on. All else - the beginning and the end, marks, the way to another
/// connection - changes with the lock held.
struct Connection: ~Copyable {
    /// Odd while there is a connection. Grows with whatever its packets' verdicts depend on beside themselves, and when the
    /// place becomes another connection's: a worker that has seen it knows whether it still knows the connection.
    let stamp = Atomic<UInt32>(0)
    /// The second, as `Lane.receive` has them, from which on it is gone.
    let expiry = Atomic<UInt32>(0)
    /// See `ConnectionState`.
    let state = Atomic<UInt64>(0)
    /// Of TCP, what each side sent and how far it may go: `TCPPeer.sentWord` and `limit`, the originator's first.
    let sent0 = Atomic<UInt64>(0)
    let sent1 = Atomic<UInt64>(0)
    let limit0 = Atomic<UInt32>(0)
    let limit1 = Atomic<UInt32>(0)
    let mark = Atomic<UInt32>(0)
    /// The second of its beginning.
    let began = Atomic<UInt32>(0)
    let labelHigh = Atomic<UInt64>(0)
    let labelLow = Atomic<UInt64>(0)

    var label: UInt128 {
        UInt128(labelHigh.load(ordering: .relaxed)) << 64 | UInt128(labelLow.load(ordering: .relaxed))
    }

    // MARK: - TCP

    @inline(__always) var tcp: TCPState {
        TCPState(
            originator: TCPPeer(sent0.load(ordering: .relaxed), limit: limit0.load(ordering: .relaxed)),
            responder: TCPPeer(sent1.load(ordering: .relaxed), limit: limit1.load(ordering: .relaxed))
        )
    }

    /// Keeps what a segment changed, of a state that was loaded before.
    @inline(__always)
    func store(_ tcp: TCPState, formerly former: TCPState) {
        let (one, other) = tcp.peers
        if one.sentWord != former.peers.originator.sentWord { sent0.store(one.sentWord, ordering: .relaxed) }
        if other.sentWord != former.peers.responder.sentWord { sent1.store(other.sentWord, ordering: .relaxed) }
        if one.limit != former.peers.originator.limit { limit0.store(one.limit, ordering: .relaxed) }
        if other.limit != former.peers.responder.limit { limit1.store(other.limit, ordering: .relaxed) }
    }

    /// Says that it was used, at most once a second.
    @inline(__always)
    func extend(to second: UInt32) {
        if expiry.load(ordering: .relaxed) != second { expiry.store(second, ordering: .relaxed) }
    }

    // MARK: - The lock

    func lock() {
        while true {
            let word = state.load(ordering: .relaxed)
            guard word & ConnectionState.lockBit == 0 else { continue }
            let next = word | ConnectionState.lockBit
            if state.weakCompareExchange(expected: word, desired: next, ordering: .acquiring).exchanged { return }
        }
    }

    /// Lets go of the lock.
    /// - Parameter next: what the state is from now on.
    func unlock(_ next: ConnectionState) { state.store(next.word & ~ConnectionState.lockBit, ordering: .releasing) }
}

/// The word `Connection.state`.
struct ConnectionState: BitwiseCopyable {
    fileprivate(set) var word: UInt64

    /// Held for a few instructions by who changes more than one word.
    fileprivate static var lockBit: UInt64 { 1 }
    private static var assuredBit: UInt64 { 2 }
    private static var expectedBit: UInt64 { 4 }
    private static var helperShift: UInt64 { 4 }

    /// By what its packets are followed.
    enum Kind: UInt8 {
        case tcp, icmp, datagram
    }

    init(_ kind: Kind, _ timeout: TrackTimeout) {
        word = UInt64(kind.rawValue) << 8 | UInt64(timeout.rawValue) << 24
    }

    init(word: UInt64) { self.word = word }

    // The numbers in a state are those that were put there.

    @inline(__always) var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: word &>> 8)).unsafelyUnwrapped }

    @inline(__always) var icmp: ICMPState {
        get { ICMPState(rawValue: UInt8(truncatingIfNeeded: word &>> 16)).unsafelyUnwrapped }
        set { word = word & ~0xff_0000 | UInt64(newValue.rawValue) &<< 16 }
    }

    @inline(__always) var datagram: DatagramState {
        get { DatagramState(rawValue: UInt8(truncatingIfNeeded: word &>> 16)).unsafelyUnwrapped }
        set { word = word & ~0xff_0000 | UInt64(newValue.rawValue) &<< 16 }
    }

    /// The number of `timeout`, without a call.
    @inline(__always) var timeoutNumber: UInt8 { UInt8(truncatingIfNeeded: word &>> 24) }

    /// By what it ends if nothing more comes.
    @inline(__always) var timeout: TrackTimeout {
        get { TrackTimeout(rawValue: timeoutNumber).unsafelyUnwrapped }
        set { word = word & ~0xff00_0000 | UInt64(newValue.rawValue) &<< 24 }
    }

    /// Both sides have agreed to it: it is not given up for one that begins.
    @inline(__always) var isAssured: Bool {
        get { word & Self.assuredBit != 0 }
        set { word = word & ~Self.assuredBit | (newValue ? Self.assuredBit : 0) }
    }

    /// Another connection has announced it: its packets are related.
    @inline(__always) var isExpected: Bool {
        get { word & Self.expectedBit != 0 }
        set { word = word & ~Self.expectedBit | (newValue ? Self.expectedBit : 0) }
    }

    @inline(__always) var helper: TrackHelper {
        get { TrackHelper(rawValue: UInt8(truncatingIfNeeded: word &>> Self.helperShift) & 3).unsafelyUnwrapped }
        set { word = word & ~(3 &<< Self.helperShift) | UInt64(newValue.rawValue) &<< Self.helperShift }
    }
}

/// What `ct_state` says of a packet (ovs-fields(7), 'ct_state').
enum TrackBits {
    static var new: UInt8 { 0x01 }
    static var established: UInt8 { 0x02 }
    static var related: UInt8 { 0x04 }
    static var reply: UInt8 { 0x08 }
    static var invalid: UInt8 { 0x10 }
    static var tracked: UInt8 { 0x20 }
    static var sourceTranslated: UInt8 { 0x40 }
    static var destinationTranslated: UInt8 { 0x80 }
}
