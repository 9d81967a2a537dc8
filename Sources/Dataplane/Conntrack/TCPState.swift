/// How far one side of a TCP connection has come, as Open vSwitch names it: RFC 9293's states, section 3.3.2, seen from
/// between the two sides.
enum TCPPhase: UInt8, Comparable {
    /// Nothing was seen of it.
    case closed = 0
    case synSent = 2
    case established = 4
    /// It sent a FIN.
    case closing = 7
    /// Its FIN was acknowledged.
    case finWait2 = 9
    /// One of the two sides sent a reset.
    case timeWait = 10

    @inline(__always)
    static func < (one: TCPPhase, other: TCPPhase) -> Bool { one.rawValue < other.rawValue }
}

/// One side of a TCP connection: what it may still send, and what it allowed the other side to.
struct TCPPeer: Equatable, BitwiseCopyable {
    /// The sequence number behind all that it sent.
    var sent: UInt32
    /// The greatest sequence number that the other side lets it come to.
    var limit: UInt32
    /// The greatest window that it offered, as its headers have it.
    var greatestWindow: UInt16
    fileprivate(set) var scale: TCPScale
    var phase: TCPPhase

    /// All but `limit`, which the other side's segments set, as it is kept.
    @inline(__always) var sentWord: UInt64 {
        UInt64(sent) | UInt64(greatestWindow) &<< 32 | UInt64(scale.octet) &<< 48 | UInt64(phase.rawValue) &<< 56
    }
}

extension TCPPeer {
    /// From what was kept.
    @inline(__always)
    init(_ sentWord: UInt64, limit: UInt32) {
        sent = UInt32(truncatingIfNeeded: sentWord)
        greatestWindow = UInt16(truncatingIfNeeded: sentWord &>> 32)
        scale = TCPScale(octet: UInt8(truncatingIfNeeded: sentWord &>> 48))
        phase = TCPPhase(rawValue: UInt8(truncatingIfNeeded: sentWord &>> 56)).unsafelyUnwrapped
        self.limit = limit
    }
}

/// What is known of the shift count of a side's windows (RFC 7323 section 2.2).
struct TCPScale: Equatable, BitwiseCopyable {
    fileprivate let octet: UInt8

    @inline(__always)
    fileprivate init(octet: UInt8) { self.octet = octet }

    /// From the option of a SYN; no option, no scale.
    @inline(__always)
    init(_ shift: UInt8?) { octet = shift.map { 0x80 | $0 } ?? 0 }

    /// The handshake was not seen.
    static var unknown: TCPScale { TCPScale(octet: 0x40) }

    /// The option was seen.
    @inline(__always) var isKnown: Bool { octet & 0x80 != 0 }
    @inline(__always) var isUnknown: Bool { octet & 0x40 != 0 }
    @inline(__always) var shift: UInt32 { UInt32(octet & 0xf) }
}

/// What a packet is to the connection that it belongs to.
enum TrackVerdict: UInt8 {
    /// Of a connection that both sides know (`ct_state=+est`).
    case valid
    /// Of one that the other side has not answered (`ct_state=+new`).
    case validNew
    /// It does not fit (`ct_state=+inv`).
    case invalid
    /// It begins another connection with the same tuple: this one is over.
    case new
}

/// What a packet is to its connection, and by what the connection's end is set anew; nil leaves the end where it is.
typealias TrackResult = (verdict: TrackVerdict, timeout: TrackTimeout?)

/// A TCP connection, followed from between its ends: whether a segment fits is judged by the windows that both sides
/// offered, as Open vSwitch judges it after G. van Rooij, 'Real Stateful TCP Packet Filtering in IP Filter' (2000).
///
/// A connection may be picked up in its middle, without the handshake: the greatest scale is taken for windows then.
/// Both sides opening at once (RFC 9293 section 3.5, figure 8) is followed as far as Open vSwitch follows it: the second
/// SYN belongs to the connection, the answers to both do not unless the tracking is liberal.
struct TCPState: Equatable, BitwiseCopyable {
    /// The first is who sent the first segment.
    private(set) var peers: (originator: TCPPeer, responder: TCPPeer)

    /// A connection that a segment begins, whose timeout is `tcpSynSent`; nil when it cannot: its flags make no sense, or
    /// it answers a SYN that nobody saw.
    static func begin(_ segment: TCPSegment) -> TCPState? {
        guard segment.hasSensibleFlags, !segment.has(TCPSegment.syn) || segment.isOpening else { return nil }
        return TCPState(beginning: segment)
    }

    @inline(__always)
    init(originator: TCPPeer, responder: TCPPeer) { peers = (originator, responder) }

    private init(beginning segment: TCPSegment) {
        let isSYN = segment.has(TCPSegment.syn)
        let scale = isSYN ? TCPScale(segment.windowScale) : .unknown
        let originator = TCPPeer(
            sent: segment.sequence,
            limit: segment.end &+ 1,
            greatestWindow: scaledDown(max(segment.window, 1), by: scale),
            scale: scale,
            phase: .synSent
        )
        let responder = TCPPeer(
            sent: 0,
            limit: TCPPeer.unsetLimit,
            greatestWindow: 1,
            scale: isSYN ? TCPScale(nil) : .unknown,
            phase: .closed
        )
        peers = (originator, responder)
    }

    /// Both sides have agreed to it, at least.
    var isEstablished: Bool { peers.originator.phase >= .established && peers.responder.phase >= .established }

    /// Takes a segment.
    /// - Parameter isLiberal: whether it is within the windows is not asked.
    mutating func update(_ segment: TCPSegment, isReply: Bool, isLiberal: Bool) -> TrackResult {
        isReply
            ? Self.update(segment, from: &peers.responder, to: &peers.originator, isLiberal)
            : Self.update(segment, from: &peers.originator, to: &peers.responder, isLiberal)
    }

    /// The quick way: true when the segment is `valid`, of the timeout `tcpEstablished`, and was taken. False when
    /// `update` must be asked; nothing was changed then.
    @inline(__always)
    mutating func passes(_ segment: TCPSegment, isReply: Bool) -> Bool {
        isReply
            ? Self.passes(segment, from: &peers.responder, to: &peers.originator)
            : Self.passes(segment, from: &peers.originator, to: &peers.responder)
    }

    @inline(__always)
    private static func passes(
        _ segment: TCPSegment,
        from source: inout TCPPeer,
        to destination: inout TCPPeer
    ) -> Bool {
        let asking = TCPSegment.ack | TCPSegment.syn | TCPSegment.fin | TCPSegment.rst
        guard segment.flags & asking == TCPSegment.ack, source.phase == .established, destination.phase == .established
        else { return false }
        var passage = TCPPassage(segment, source, destination)
        passage.settle(segment, source, destination)
        guard passage.isWithinWindow(segment, source, destination) else { return false }
        passage.slide(&source, &destination)
        return true
    }

    private static func update(
        _ segment: TCPSegment,
        from source: inout TCPPeer,
        to destination: inout TCPPeer,
        _ isLiberal: Bool
    ) -> TrackResult {
        guard segment.hasSensibleFlags else { return (.invalid, nil) }
        if segment.isOpening, let result = open(&source, &destination) { return result }
        var passage = TCPPassage(segment, source, destination)
        if source.phase < .synSent { passage.meet(segment, &source, &destination) }
        passage.settle(segment, source, destination)
        if isLiberal || passage.isWithinWindow(segment, source, destination) {
            passage.slide(&source, &destination)
            advance(segment, &source, &destination)
            return (.valid, timeout(source.phase, destination.phase))
        }
        guard passage.isNearWindow(source, destination) else { return (.invalid, nil) }
        passage.slide(&source, &destination)
        end(segment, &source, &destination)
        // Whoever floods such segments does not keep the connection alive.
        return (.valid, nil)
    }

    /// A SYN that acknowledges nothing; nil when it is to be judged as any other segment.
    private static func open(_ source: inout TCPPeer, _ destination: inout TCPPeer) -> TrackResult? {
        if source.phase >= .finWait2 && destination.phase >= .finWait2 {
            (source.phase, destination.phase) = (.closed, .closed)
            return (.new, nil)
        }
        guard source.phase <= .synSent else { return nil }
        source.phase = .synSent
        return (.validNew, .tcpSynSent)
    }

    private static func advance(_ segment: TCPSegment, _ source: inout TCPPeer, _ destination: inout TCPPeer) {
        if segment.has(TCPSegment.ack) {
            if destination.phase == .synSent {
                destination.phase = .established
            } else if destination.phase == .closing {
                destination.phase = .finWait2
            }
        }
        end(segment, &source, &destination)
    }

    /// What FIN and RST do.
    private static func end(_ segment: TCPSegment, _ source: inout TCPPeer, _ destination: inout TCPPeer) {
        if segment.has(TCPSegment.fin) && source.phase < .closing { source.phase = .closing }
        if segment.has(TCPSegment.rst) { (source.phase, destination.phase) = (.timeWait, .timeWait) }
    }

    private static func timeout(_ one: TCPPhase, _ other: TCPPhase) -> TrackTimeout {
        let (lesser, greater) = (min(one, other), max(one, other))
        if lesser >= .finWait2 { return .tcpClose }
        if lesser >= .closing { return .tcpTimeWait }
        if lesser < .established { return .tcpSynReceived }
        return greater >= .closing ? .tcpFinWait : .tcpEstablished
    }

    static func == (one: TCPState, other: TCPState) -> Bool { one.peers == other.peers }
}

extension TCPPeer {
    /// The limit of a side of which nothing was seen.
    fileprivate static var unsetLimit: UInt32 { 1 }

    /// Its greatest window in bytes.
    @inline(__always)
    fileprivate func window(scaledBy shift: UInt32) -> UInt32 { UInt32(greatestWindow) &<< shift }
}

/// The window of a SYN is not scaled (RFC 7323 section 2.2): what a later one would be for as many bytes, rounded up.
private func scaledDown(_ window: UInt16, by scale: TCPScale) -> UInt16 {
    let unit = UInt32(1) << scale.shift
    return UInt16(truncatingIfNeeded: (UInt32(window) + unit - 1) / unit)
}

/// A segment on its way from one side to the other, held against the windows of both.
private struct TCPPassage {
    var sequence: UInt32
    var end: UInt32
    var acknowledgment: UInt32
    var window: UInt16
    /// Of both sides' windows, as far as this segment goes.
    var sourceShift: UInt32 = 0
    var destinationShift: UInt32 = 0
    /// The acknowledgment is held against what the other side sent.
    var isSkewAsked = true

    /// How far behind, and before scaling ahead, an acknowledgment may be: a window, and a packet for good measure. What
    /// Open vSwitch allows.
    private static var greatestSkew: Int32 { 0xffff + 1500 }

    @inline(__always)
    init(_ segment: TCPSegment, _ source: TCPPeer, _ destination: TCPPeer) {
        (sequence, end, acknowledgment) = (segment.sequence, segment.end, segment.acknowledgment)
        window = segment.window
        if segment.has(TCPSegment.syn) { return }
        if source.scale.isKnown && destination.scale.isKnown {
            (sourceShift, destinationShift) = (source.scale.shift, destination.scale.shift)
        } else if source.scale.isUnknown && destination.scale.isUnknown {
            (sourceShift, destinationShift) = (UInt32(TCPSegment.greatestScale), UInt32(TCPSegment.greatestScale))
        }
    }

    /// The first segment of a side.
    mutating func meet(_ segment: TCPSegment, _ source: inout TCPPeer, _ destination: inout TCPPeer) {
        if segment.has(TCPSegment.syn) && destination.scale.isKnown { agree(segment, &source, &destination) }
        source.sent = sequence
        source.phase = .synSent
        let limit = end &+ max(1, destination.window(scaledBy: destinationShift))
        // The other side's acknowledgments may have moved it already.
        if source.limit == TCPPeer.unsetLimit || limit.isAtOrAfter(source.limit) {
            source.limit = limit
            // Of a connection that was there before its tracking, the other side's numbers may be anywhere.
            isSkewAsked = false
        }
        source.greatestWindow = max(source.greatestWindow, window)
    }

    /// Both sides must have sent the option for either to scale (RFC 7323 section 2.2).
    private mutating func agree(_ segment: TCPSegment, _ source: inout TCPPeer, _ destination: inout TCPPeer) {
        source.scale = TCPScale(segment.windowScale)
        if source.scale.isKnown {
            (sourceShift, destinationShift) = (source.scale.shift, destination.scale.shift)
            window = scaledDown(window, by: source.scale)
        } else {
            // As it was before it was scaled down; where that was rounded up beyond 16 bits, Open vSwitch takes 0.
            destination.greatestWindow = UInt16(clamping: destination.window(scaledBy: destination.scale.shift))
            destination.scale = TCPScale(nil)
        }
    }

    /// Fills in what the segment leaves open.
    @inline(__always)
    mutating func settle(_ segment: TCPSegment, _ source: TCPPeer, _ destination: TCPPeer) {
        // Resets that acknowledge nothing are sent with an acknowledgment of 0.
        if !segment.has(TCPSegment.ack) || acknowledgment == 0 && segment.has(TCPSegment.rst) {
            acknowledgment = destination.sent
        }
        // Where a segment without data stands does not matter.
        if sequence == end { (sequence, end) = (source.sent, source.sent) }
    }

    /// Its data ends within what the other side allows, and begins no more than a window back, for it may be sent again; it
    /// acknowledges what is near the other side's last; and a reset is where the data ends (RFC 5961 section 3.2), or one
    /// off.
    @inline(__always)
    func isWithinWindow(_ segment: TCPSegment, _ source: TCPPeer, _ destination: TCPPeer) -> Bool {
        guard source.limit.isAtOrAfter(end),
            sequence.isAtOrAfter(source.sent &- destination.window(scaledBy: destinationShift))
        else { return false }
        let skew = isSkewAsked ? Int32(bitPattern: destination.sent &- acknowledgment) : 0
        guard skew >= -Self.greatestSkew, skew <= Self.greatestSkew &<< Int32(bitPattern: sourceShift)
        else { return false }
        return !segment.has(TCPSegment.rst) || segment.sequence &- source.sent &+ 1 <= 2
    }

    /// Where the window is not known yet, or no longer: near what was sent.
    func isNearWindow(_ source: TCPPeer, _ destination: TCPPeer) -> Bool {
        guard destination.phase < .synSent || destination.phase >= .finWait2 || source.phase >= .finWait2 else {
            return false
        }
        let skew = UInt32(Self.greatestSkew)
        return (source.limit &+ skew).isAtOrAfter(end) && sequence.isAtOrAfter(source.sent &- skew)
    }

    /// Notes what was sent, and what the other side may send now.
    @inline(__always)
    func slide(_ source: inout TCPPeer, _ destination: inout TCPPeer) {
        if source.greatestWindow < window { source.greatestWindow = window }
        if !source.sent.isAtOrAfter(end) { source.sent = end }
        let offered = UInt32(window) &<< sourceShift
        if (acknowledgment &+ offered).isAtOrAfter(destination.limit) {
            destination.limit = acknowledgment &+ max(offered, 1)
        }
    }
}

extension UInt32 {
    /// Whether a sequence number comes after another or is the same, in the arithmetic that wraps around (RFC 9293
    /// section 3.4).
    @inline(__always)
    fileprivate func isAtOrAfter(_ other: UInt32) -> Bool { Int32(bitPattern: self &- other) >= 0 }
}
