import CPacket
import Flows

/// What the tracker says of a packet in a zone: the fields `ct_*` of its key (ovs-fields(7), 'Connection Tracking Fields').
struct Track: BitwiseCopyable {
    /// Of the packet, with the zone. Zeros for one that is invalid by itself.
    let tuple: ConnectionTuple
    let zone: UInt16
    /// `TrackBits`.
    var bits: UInt8
    var isReply = false
    /// The connection, 0 for none, and what it was known by.
    var number: UInt32 = 0
    var stamp: UInt32 = 0
    var mark: UInt32 = 0
    var label: UInt128 = 0
    /// What becomes of its addresses and ports if flows ask for it, and the tuple of the answers then: the connection's, or
    /// those that were chosen for it. One that another connection announced has that one's first packet there.
    private(set) var translation = Translation.none
    private(set) var reply = ConnectionTuple.none
    /// What flows see as the first packet of its connection.
    func original(_ table: ConnectionTable) -> ConnectionTuple {
        number != 0 ? table.original(of: number) : isExpected ? reply : tuple
    }
    /// It is a message about a packet of the connection, in the direction of an answer to that.
    fileprivate(set) var isError = false
    /// `bits`, whether there is a connection, and what its translation is: what checks ask for.
    var check: UInt16 {
        UInt16(bits) | (number != 0 ? Self.hasConnection : 0) | UInt16(translation.rawValue) &<< 9
    }
    static var hasConnection: UInt16 { 0x100 }
    static var hasTranslation: UInt16 { 0x600 }
    /// The connection that ends when this one begins, known by `stamp` too; 0 for none.
    var replaced: UInt32 = 0
    /// Another connection has announced the one that it is of, or would begin: that has the other's mark and label for good.
    private(set) var isExpected = false
    /// A walk has found that the packet begins it; and that it was tracked again then.
    var isBegun = false
    var isTrackedAgain = false

    static var none: Track { Track(ConnectionTuple.none, zone: 0, bits: 0) }

    fileprivate init(_ tuple: ConnectionTuple, zone: UInt16, bits: UInt8) {
        (self.tuple, self.zone, self.bits) = (tuple, zone, bits)
    }

    fileprivate init(_ tuple: ConnectionTuple, _ found: ConnectionTable.Found, bits: UInt8, _ table: ConnectionTable) {
        self.init(tuple, zone: tuple.zone, bits: bits)
        (number, stamp, isReply) = (found.number, found.stamp, found.isReply)
        mark = table[number].pointee.mark.load(ordering: .relaxed)
        label = table[number].pointee.label
        isExpected = ConnectionState(word: table[number].pointee.state.load(ordering: .relaxed)).isExpected
        takeTranslation(table)
    }

    @inline(__always)
    fileprivate mutating func takeTranslation(_ table: ConnectionTable) {
        translation = table.translation(of: number)
        if translation != .none { reply = table.reply(of: number) }
    }

    fileprivate mutating func choose(_ translation: Translation, reply: ConnectionTuple) {
        (self.translation, self.reply) = (translation, reply)
    }

    /// Takes over from the connection that announced this one.
    fileprivate mutating func expect(_ parent: ExpectationTable.Parent) {
        (isExpected, mark, label, reply) = (true, parent.mark, parent.label, parent.tuple)
        bits |= TrackBits.related
    }

    /// What the packet's tuple becomes.
    func translated(_ table: ConnectionTable) -> ConnectionTuple {
        isReply ? table.tuple(of: number).reversed : reply.reversed
    }

    /// The end of the packet that becomes another one.
    var end: Translation { translation.end(isReply: isReply) }
}

/// What `ct(commit)` and the actions within it do to a connection.
struct Commit: Equatable, BitwiseCopyable {
    let zone: UInt16
    /// A connection begins if there is none.
    let begins: Bool
    /// One that the packet answers ends before.
    let forces: Bool
    /// The bits `markMask` of its mark become those of `mark`.
    let mark: UInt32
    let markMask: UInt32
    /// Two steps with sixteen octets follow: the label's value and mask.
    let hasLabel: Bool
    /// And so many of a `TranslationRange`, for one that begins.
    let rangeCount: UInt8
    /// It listens to one that begins.
    let helper: TrackHelper

    /// It does nothing to a connection that there is.
    @inline(__always) var onlyBegins: Bool { !forces && markMask == 0 && !hasLabel }
}

/// A lane's way to the connections, and what it has found out of the packet at hand: in each zone once.
struct PacketTracker {
    /// Zones that one packet may be tracked in.
    static var trackLimit: Int { 8 }

    let table: ConnectionTable
    let share: Int
    let fragments = FragmentStore(portCount: PortIndex.capacity)
    private let state: UnsafeMutablePointer<State>

    private struct State {
        var packet: Packet?
        var known = KnownConnection.none
        var layout = FrameLayout()
        var isRead = false
        /// nil for a packet that is invalid.
        var tracked: TrackedPacket?
        var count = 0
        var tracks: InlineArray<8, Track>
        var datagram = PiecewiseDatagram()
    }

    init(_ table: ConnectionTable, share: Int) {
        (self.table, self.share) = (table, share)
        state = .allocate(capacity: 1)
        state.initialize(to: State(tracks: InlineArray(repeating: .none)))
    }

    func free() {
        fragments.free()
        state.deallocate()
    }

    // MARK: - The packet at hand

    /// What was known of a packet is so no more.
    @inline(__always)
    func forget() {
        state.pointee.packet = nil
        state.pointee.known = .none
    }

    /// Begins with a packet, unless it is at hand.
    func begin(_ packet: Packet, _ layout: FrameLayout) {
        guard state.pointee.packet != packet else { return }
        state.pointee.packet = packet
        state.pointee.known = .none
        state.pointee.layout = layout
        state.pointee.isRead = false
        state.pointee.count = 0
    }

    /// Begins with a packet of a connection that is known, in the zone of that. Few ask for more of it than that.
    @inline(__always)
    func begin(_ packet: Packet, _ known: KnownConnection) {
        state.pointee.packet = packet
        state.pointee.known = known
        state.pointee.count = 0
    }

    /// The packet at hand is of a connection that is known, and nothing else was asked of it yet.
    @inline(__always) var isKnown: Bool { state.pointee.known.number != 0 }

    /// Has the track of a packet whose connection is known.
    @inline(never)
    private func addKnown() {
        let known = state.pointee.known
        state.pointee.known = .none
        let tuple = known.isReply ? table.reply(of: known.number) : table.tuple(of: known.number)
        let found = ConnectionTable.Found(number: known.number, stamp: known.stamp, isReply: known.isReply)
        let connection = ConnectionState(word: table[known.number].pointee.state.load(ordering: .relaxed))
        let direction = (known.isReply ? TrackBits.reply : 0) | (connection.isExpected ? TrackBits.related : 0)
        let bits = TrackBits.tracked | TrackBits.established | direction
        _ = add(Track(tuple, found, bits: bits, table))
    }

    /// How many zones it was tracked in.
    var count: Int { state.pointee.count }

    /// In the order of the zones.
    subscript(index: Int) -> Track {
        get { state.pointee.tracks[index] }
        nonmutating set { state.pointee.tracks[index] = newValue }
    }

    /// In one of the zones it was one more of a connection; and of one that both sides had agreed to.
    var hasConnection: Bool { isFound { $0.number != 0 } }
    var isEstablished: Bool { isFound { $0.bits & TrackBits.established != 0 } }

    @inline(__always)
    private func isFound(_ condition: (Track) -> Bool) -> Bool {
        guard state.pointee.packet != nil else { return false }
        for index in 0..<state.pointee.count where condition(state.pointee.tracks[index]) { return true }
        return false
    }

    /// What is known of it in a zone.
    private func index(of zone: UInt16) -> Int? {
        if isKnown { addKnown() }
        for index in 0..<state.pointee.count where state.pointee.tracks[index].zone == zone { return index }
        return nil
    }

    /// The connection of a packet of TCP or UDP that was tracked in one zone, and is nothing but one more of it.
    var known: KnownConnection? {
        let track = state.pointee.tracks[0]
        let bits = track.bits & ~(TrackBits.reply | TrackBits.related)
        guard state.pointee.packet != nil, state.pointee.count == 1, track.number != 0,
            bits == TrackBits.tracked | TrackBits.established, !track.tuple.isICMP, !track.isError
        else { return nil }
        let connection = ConnectionState(word: table[track.number].pointee.state.load(ordering: .relaxed))
        return connection.helper == .none ? KnownConnection(track) : nil
    }

    /// Tracks the packet in a zone, unless that was done.
    /// - Returns: the place of what is known of it then; nil beyond `trackLimit` zones.
    func track(zone: UInt16, now: UInt32) -> Int? {
        if let index = index(of: zone) { return index }
        guard let tracked = read() else { return add(Self.invalid(zone)) }
        return add(track(tracked, tracked.tuple, zone: zone, now: now))
    }

    /// The packet's headers, read once; nil when it is invalid.
    private func read() -> TrackedPacket? {
        if !state.pointee.isRead, let packet = state.pointee.packet {
            let isChecked = packet.hasCheckedTransport
            state.pointee.tracked = TrackedPacket(packet, state.pointee.layout, isChecked: isChecked)
            state.pointee.isRead = true
        }
        return state.pointee.tracked
    }

    /// The same of a packet whose addresses and ports flows have written.
    /// - Parameter tuple: what they are by now, in the zone.
    func track(rewritten tuple: ConnectionTuple, now: UInt32) -> Int? {
        forgetTrack(of: tuple.zone)
        guard let tracked = read(), !tracked.isError else { return add(Self.invalid(tuple.zone)) }
        return add(track(tracked, tuple, zone: tuple.zone, now: now))
    }

    /// The same of a packet that was translated by what was found in a zone, and not tracked in this one before.
    func track(zone: UInt16, translatedIn former: UInt16, now: UInt32) -> Int? {
        if let index = index(of: zone) { return index }
        guard let tracked = read(), let index = index(of: former) else { return add(Self.invalid(zone)) }
        return add(track(tracked, state.pointee.tracks[index].translated(table), zone: zone, now: now))
    }

    private func forgetTrack(of zone: UInt16) {
        guard let index = index(of: zone) else { return }
        state.pointee.count &-= 1
        state.pointee.tracks[index] = state.pointee.tracks[state.pointee.count]
    }

    private func add(_ track: Track) -> Int? {
        guard state.pointee.count < Self.trackLimit else { return nil }
        state.pointee.tracks[state.pointee.count] = track
        state.pointee.count &+= 1
        return state.pointee.count &- 1
    }

    private static func invalid(_ zone: UInt16) -> Track {
        Track(ConnectionTuple.none, zone: zone, bits: TrackBits.tracked | TrackBits.invalid)
    }

    /// What the walk has written of the connection stays.
    private func followAgain(_ index: Int, now: UInt32) {
        guard let tracked = read() else { return }
        let former = state.pointee.tracks[index]
        var next = track(tracked, former.tuple, zone: former.zone, now: now)
        (next.mark, next.label) = (former.mark, former.label)
        state.pointee.tracks[index] = next
    }

    /// What a packet is when its connection makes room for one that it begins itself.
    func replaced(_ track: Track) -> Track {
        let begins = state.pointee.tracked.map { !$0.isError && Self.canBegin($0, track.tuple) } ?? true
        let bits = TrackBits.tracked | (begins ? TrackBits.new : TrackBits.invalid)
        var next = Track(track.tuple, zone: track.zone, bits: bits)
        (next.replaced, next.stamp) = (track.number, track.stamp)
        return next
    }

    /// What a packet is, seen again, to the connection that it is of, or that it began.
    func trackAgain(_ index: Int, now: UInt32) {
        if state.pointee.tracks[index].number != 0 { return followAgain(index, now: now) }
        guard state.pointee.tracks[index].isBegun else { return }
        guard let segment = read()?.tcp, state.pointee.tracks[index].tuple.isTCP,
            var tcp = TCPState.begin(segment)
        else { return }
        let verdict = tcp.update(segment, isReply: false, isLiberal: table.isLiberal).verdict
        state.pointee.tracks[index].isTrackedAgain = true
        state.pointee.tracks[index].bits =
            TrackBits.tracked
            | (verdict == .valid ? TrackBits.established : verdict == .validNew ? TrackBits.new : TrackBits.invalid)
    }

    // MARK: - Translation

    /// What becomes of the packet by what was found in a zone; nil when nothing does.
    func rewriting(in zone: UInt16) -> PacketRewriting? {
        if isKnown { return knownRewriting(in: zone) }
        guard let index = index(of: zone), state.pointee.tracks[index].number != 0 else { return nil }
        let track = state.pointee.tracks[index]
        guard track.translation != .none else { return nil }
        return PacketRewriting(
            tuple: track.translated(table),
            end: track.end,
            quoted: track.isError ? state.pointee.tracked?.quoted : nil
        )
    }

    /// What makes the packet again what it was when it came into a zone that translates it.
    func restoring(in zone: UInt16) -> PacketRewriting? {
        guard let index = index(of: zone), state.pointee.tracks[index].number != 0 else { return nil }
        let track = state.pointee.tracks[index]
        let quoted = track.isError ? state.pointee.tracked?.quoted : nil
        return PacketRewriting(tuple: track.tuple, end: track.end, quoted: quoted)
    }

    private func knownRewriting(in zone: UInt16) -> PacketRewriting? {
        let (number, isReply) = (state.pointee.known.number, state.pointee.known.isReply)
        let translation = table.translation(of: number)
        guard translation != .none, table.tuple(of: number).zone == zone else { return nil }
        let tuple = isReply ? table.tuple(of: number) : table.reply(of: number)
        return PacketRewriting(tuple: tuple.reversed, end: translation.end(isReply: isReply), quoted: nil)
    }

    /// What plain packets become whose connection `isKnown`, in its zone; nil when nothing does.
    @inline(__always)
    var plainRewriting: PlainRewriting? {
        let (number, isReply) = (state.pointee.known.number, state.pointee.known.isReply)
        guard table.translation(of: number) != .none else { return nil }
        let (first, answer) = (table.tuple(of: number), table.reply(of: number))
        return PlainRewriting(from: isReply ? answer : first, to: isReply ? first.reversed : answer.reversed)
    }

    // MARK: - Following

    private func track(_ packet: TrackedPacket, _ tuple: ConnectionTuple, zone: UInt16, now: UInt32) -> Track {
        var tuple = tuple
        tuple.zone = zone
        // Another worker may end a connection, or begin one, at any time.
        for _ in 0..<Self.attempts {
            guard let found = table.find(tuple, now: now) else { break }
            if packet.isError {
                let bits = TrackBits.related | (found.isReply ? TrackBits.reply : 0)
                var track = Track(tuple, found, bits: TrackBits.tracked | bits, table)
                track.isError = true
                return track
            }
            if let bits = follow(packet, found, now: now) {
                return Track(tuple, found, bits: TrackBits.tracked | bits, table)
            }
        }
        let begins = !packet.isError && Self.canBegin(packet, tuple)
        return unknown(tuple, begins: begins)
    }

    /// A packet of no connection.
    private func unknown(_ tuple: ConnectionTuple, begins: Bool) -> Track {
        let bits = TrackBits.tracked | (begins ? TrackBits.new : TrackBits.invalid)
        var track = Track(tuple, zone: tuple.zone, bits: bits)
        if begins, let parent = table.expectation(of: tuple) { track.expect(parent) }
        return track
    }

    private static var attempts: Int { 4 }

    private static func canBegin(_ packet: TrackedPacket, _ tuple: ConnectionTuple) -> Bool {
        if tuple.isTCP { return TCPState.begin(packet.tcp) != nil }
        return !tuple.isICMP || ICMPState.begin(tuple) != nil
    }

    /// Takes a packet into the state of its connection.
    /// - Returns: what the packet is; nil when the connection is over, or over by it.
    private func follow(_ packet: TrackedPacket, _ found: ConnectionTable.Found, now: UInt32) -> UInt8? {
        let connection = table[found.number]
        connection.pointee.lock()
        var state = ConnectionState(word: connection.pointee.state.load(ordering: .relaxed))
        guard connection.pointee.stamp.load(ordering: .relaxed) == found.stamp else {
            connection.pointee.unlock(state)
            return nil
        }
        let (verdict, timeout) = update(connection, &state, packet, isReply: found.isReply)
        if let timeout {
            state.timeout = timeout
            connection.pointee.extend(to: table.expiry(timeout, now: now))
        }
        connection.pointee.unlock(state)
        var bits = state.isExpected ? TrackBits.related : 0
        switch verdict {
        case .valid: bits |= TrackBits.established | (found.isReply ? TrackBits.reply : 0)
        case .validNew: bits |= TrackBits.new
        case .invalid: return TrackBits.invalid
        case .new:
            table.remove(found.number, stamp: found.stamp, share: share)
            return nil
        }
        if state.helper != .none, !listen(state.helper, packet, found) { bits |= TrackBits.invalid }
        return bits
    }

    // MARK: - Helpers

    /// Has a helper hear what a connection's first packet announces.
    private func listen(_ commit: Commit, _ track: Track) {
        guard commit.helper.listens(to: track.tuple), let packet = state.pointee.tracked else { return }
        let found = ConnectionTable.Found(number: track.number, stamp: track.stamp, isReply: track.isReply)
        _ = listen(commit.helper, packet, found)
    }

    /// Has a helper hear what a packet announces.
    /// - Returns: false when that makes no sense.
    private func listen(_ helper: TrackHelper, _ packet: TrackedPacket, _ found: ConnectionTable.Found) -> Bool {
        var next = packet.tuple.reversed
        next.zone = table.tuple(of: found.number).zone
        switch helper {
        case .none: return true
        case .tftp:
            // The server answers from another port (RFC 1350 section 4).
            if !found.isReply { table.expect(next, announcedBy: found) }
        case .ftp:
            // What a payload in pieces says is not heard.
            guard !state.pointee.datagram.isAtHand, let segment = state.pointee.packet else { return true }
            switch FTPAnnouncement(payload(packet, of: segment), isReply: found.isReply, from: packet.tuple) {
            case .nothing: break
            case .invalid: return false
            case .port(let port):
                next.destinationPort = port
                table.expect(next, announcedBy: found)
            }
        }
        return true
    }

    /// As much of a TCP packet's payload as a helper asks for, and the first segment has.
    private func payload(_ packet: TrackedPacket, of segment: Packet) -> UnsafeRawBufferPointer {
        let contiguous = Int(segment.pointee.data_length) - packet.payloadOffset
        let length = min(contiguous, min(Int(packet.tcp.payloadLength), FTPAnnouncement.longest))
        return UnsafeRawBufferPointer(start: segment.frame + packet.payloadOffset, count: max(length, 0))
    }

    private func update(
        _ connection: UnsafeMutablePointer<Connection>,
        _ state: inout ConnectionState,
        _ packet: TrackedPacket,
        isReply: Bool
    ) -> TrackResult {
        switch state.kind {
        case .tcp:
            let former = connection.pointee.tcp
            var tcp = former
            let result = tcp.update(packet.tcp, isReply: isReply, isLiberal: table.isLiberal)
            connection.pointee.store(tcp, formerly: former)
            if tcp.isEstablished { state.isAssured = true }
            return result
        case .icmp:
            let result = state.icmp.update(isReply: isReply)
            state.isAssured = state.icmp == .reply
            return result
        case .datagram:
            let result = state.datagram.update(isReply: isReply)
            state.isAssured = state.datagram == .bidirectional
            return result
        }
    }

    // MARK: - The quick way

    /// Takes a packet of a connection that is known, when all that it can be is one more of an established connection.
    /// - Returns: false when it must be tracked as any other; nothing was changed then.
    @inline(__always)
    func passes(_ packet: Packet, _ layout: FrameLayout, _ known: KnownConnection, now: UInt32) -> Bool {
        let connection = table[known.number]
        guard connection.pointee.stamp.load(ordering: .acquiring) == known.stamp,
            let tracked = TrackedPacket(packet, layout, isChecked: packet.hasCheckedTransport)
        else { return false }
        let state = ConnectionState(word: connection.pointee.state.load(ordering: .relaxed))
        return state.kind == .tcp
            ? passes(tracked.tcp, connection, state, known, now: now) : passes(connection, state, now: now)
    }

    /// The same of a plain packet, which has the connection's tuple: of that nothing is read again.
    @inline(__always)
    func passesPlain(_ packet: Packet, _ known: KnownConnection, now: UInt32) -> Bool {
        let connection = table[known.number]
        guard connection.pointee.stamp.load(ordering: .acquiring) == known.stamp else { return false }
        let state = ConnectionState(word: connection.pointee.state.load(ordering: .relaxed))
        let isTCP = state.kind == .tcp
        guard packet.isRightPlain(isTCP: isTCP, isChecked: packet.hasCheckedTransport) else { return false }
        return isTCP
            ? passes(packet.plainSegment, connection, state, known, now: now) : passes(connection, state, now: now)
    }

    @inline(__always)
    private func passes(
        _ segment: TCPSegment,
        _ connection: UnsafeMutablePointer<Connection>,
        _ state: ConnectionState,
        _ known: KnownConnection,
        now: UInt32
    ) -> Bool {
        let former = connection.pointee.tcp
        var tcp = former
        guard tcp.passes(segment, isReply: known.isReply) else { return false }
        connection.pointee.store(tcp, formerly: former)
        connection.pointee.extend(to: table.expiry(number: state.timeoutNumber, now: now))
        return true
    }

    @inline(__always)
    private func passes(_ connection: UnsafeMutablePointer<Connection>, _ state: ConnectionState, now: UInt32) -> Bool {
        guard state.kind == .datagram, state.datagram == .bidirectional else { return false }
        connection.pointee.extend(to: table.expiry(number: state.timeoutNumber, now: now))
        return true
    }

    /// Has what `passes` will ask for on its way.
    @inline(__always)
    func fetch(_ known: KnownConnection) { martlet_prefetch(table[known.number]) }

    // MARK: - Committing

    /// Chooses what becomes of a packet that begins a connection, unless that was done.
    /// - Returns: false when all that was looked at is others'.
    func choose(_ range: TranslationRange, _ index: Int, now: UInt32) -> Bool {
        // A fragment becomes what the one before it has become.
        var former = state.pointee.tracks[index]
        if range.translation != .none, joins(&former, now: now) {
            state.pointee.tracks[index].choose(former.translation, reply: table.reply(of: former.number))
            return true
        }
        return choose(range, &state.pointee.tracks[index], now: now)
    }

    private func choose(_ range: TranslationRange, _ track: inout Track, now: UInt32) -> Bool {
        // Its way is that of the connection that announced it, which is not translated.
        guard track.translation == .none, range.translation != .none, !track.isExpected else { return true }
        guard let reply = table.choose(range, track.tuple, share: share, now: now) else { return false }
        track.choose(range.translation, reply: reply)
        return true
    }

    /// - Parameters:
    ///   - label: with `commit.hasLabel`, value and mask.
    ///   - range: what a connection that begins becomes.
    /// - Returns: why none begins that should; else nil.
    func commit(
        _ commit: Commit,
        label: (value: UInt128, mask: UInt128),
        _ range: TranslationRange,
        now: UInt32
    ) -> DropReason? {
        guard let index = index(of: commit.zone) else { return nil }
        var track = state.pointee.tracks[index]
        defer { state.pointee.tracks[index] = track }
        if commit.forces && track.isReply && track.number != 0 { track = replaced(track) }
        if track.replaced != 0 {
            table.remove(track.replaced, stamp: track.stamp, share: share)
            track.replaced = 0
        }
        var begins = false
        if track.number == 0 {
            guard commit.begins, track.isBegun || track.bits & TrackBits.new != 0 else { return nil }
            if !joins(&track, now: now) {
                guard choose(range, &track, now: now) else { return .translationExhausted }
                if let failure = begin(&track, commit, now: now) { return failure }
                begins = true
            }
        }
        if commit.markMask != 0 && !track.isExpected { setMark(&track, commit.mark, commit.markMask) }
        if commit.hasLabel && !track.isExpected { setLabel(&track, label.value, label.mask) }
        // What it announces gets its mark and label.
        if begins { listen(commit, track) }
        return nil
    }

    private func begin(_ track: inout Track, _ commit: Commit, now: UInt32) -> DropReason? {
        var (kind, timeout) = (ConnectionState.Kind.datagram, DatagramState.first.timeout)
        var tcp: TCPState?
        let helper = commit.helper.listens(to: track.tuple) ? commit.helper : .none
        if track.tuple.isTCP {
            guard let segment = state.pointee.tracked?.tcp, var begun = TCPState.begin(segment) else { return nil }
            (kind, timeout) = (.tcp, .tcpSynSent)
            if track.isTrackedAgain {
                timeout = begun.update(segment, isReply: false, isLiberal: table.isLiberal).timeout ?? timeout
            }
            tcp = begun
        } else if track.tuple.isICMP {
            (kind, timeout) = (.icmp, ICMPState.first.timeout)
        }
        var state = ConnectionState(kind, timeout)
        (state.isExpected, state.helper) = (track.isExpected, helper)
        let translation = track.translation
        switch table.create(track.tuple, translation, reply: track.reply, state, tcp, share: share, now: now) {
        case .success(let found):
            (track.number, track.stamp, track.isReply) = (found.number, found.stamp, found.isReply)
            // Another worker may have begun it.
            track.takeTranslation(table)
            if track.isExpected {
                setMark(&track, track.mark, .max)
                setLabel(&track, track.label, .max)
            }
            return nil
        case .failure(.isTaken): return .translationExhausted
        case .failure: return .connectionLimit
        }
    }

    private func setMark(_ track: inout Track, _ value: UInt32, _ mask: UInt32) {
        let connection = table[track.number]
        let former = connection.pointee.mark.load(ordering: .relaxed)
        let next = former & ~mask | value
        guard former != next, let stamp = table.restamp(track.number, track.stamp) else { return }
        connection.pointee.mark.store(next, ordering: .relaxed)
        track.stamp = stamp
    }

    private func setLabel(_ track: inout Track, _ value: UInt128, _ mask: UInt128) {
        let connection = table[track.number]
        let former = connection.pointee.label
        let next = former & ~mask | value
        guard former != next, let stamp = table.restamp(track.number, track.stamp) else { return }
        connection.pointee.labelHigh.store(UInt64(truncatingIfNeeded: next >> 64), ordering: .relaxed)
        connection.pointee.labelLow.store(UInt64(truncatingIfNeeded: next), ordering: .relaxed)
        track.stamp = stamp
    }

    // MARK: - Pieces of datagrams

    /// Has the packet at hand wait for the others of its datagram, if it is a fragment that does not come in with them.
    /// - Returns: false when it is tracked now: with its datagram, or as invalid.
    func waits(zone: UInt16, from port: UInt16, visitCount: UInt16, now: UInt32) -> Bool {
        guard !state.pointee.datagram.isAtHand, let packet = state.pointee.packet,
            let fragment = IPFragment(packet, state.pointee.layout, zone: zone, from: port)
        else { return false }
        return fragments.put(packet, fragment, visitCount: visitCount, now: now)
    }

    /// Begins with the pieces of a datagram, of which nothing is asked but what is known of the whole.
    func beginDatagram(_ tracked: TrackedPacket?) {
        forget()
        state.pointee.datagram.begin(tracked)
    }

    func endDatagram() {
        forget()
        state.pointee.datagram.end()
    }

    /// The packet at hand is a piece, if it comes in with its datagram.
    func beginPiece() {
        guard state.pointee.datagram.isAtHand else { return }
        state.pointee.isRead = true
        state.pointee.tracked = state.pointee.datagram.tracked
        state.pointee.datagram.beginPiece()
    }

    /// What was said of the datagram when a piece before this one asked, at the same place of its way.
    func repeated(zone: UInt16) -> Int? {
        guard state.pointee.datagram.isAtHand, let answer = state.pointee.datagram.takeAnswer(zone: zone) else {
            return nil
        }
        forgetTrack(of: zone)
        return add(answer)
    }

    /// Notes what was said of the datagram, if the packet is a piece of one.
    func note(_ place: Int) {
        guard state.pointee.datagram.isAtHand else { return }
        state.pointee.datagram.note(state.pointee.tracks[place])
    }

    /// A piece finds the connection that a piece before it has begun.
    private func joins(_ track: inout Track, now: UInt32) -> Bool {
        guard state.pointee.datagram.isAtHand, let found = table.find(track.tuple, now: now) else { return false }
        (track.number, track.stamp, track.isReply) = (found.number, found.stamp, found.isReply)
        track.takeTranslation(table)
        return true
    }

    // MARK: - Without a packet

    /// What would be said of a packet that is known by its flow key only; nothing changes.
    func look(_ tuple: ConnectionTuple, isFirst: Bool, now: UInt32) -> Int? {
        if let index = index(of: tuple.zone) { return index }
        guard let found = table.find(tuple, now: now) else {
            return add(unknown(tuple, begins: isFirst))
        }
        let state = ConnectionState(word: table[found.number].pointee.state.load(ordering: .relaxed))
        let isNew = !state.isAssured && !found.isReply
        let related = state.isExpected ? TrackBits.related : 0
        let bits = related | (isNew ? TrackBits.new : TrackBits.established | (found.isReply ? TrackBits.reply : 0))
        return add(Track(tuple, found, bits: TrackBits.tracked | bits, table))
    }
}

/// What an entry of a flow cache knows of its packets' connection, in one word; 0 for none.
struct KnownConnection: BitwiseCopyable {
    let word: UInt64

    init(word: UInt64) { self.word = word }

    static var none: KnownConnection { KnownConnection(word: 0) }

    /// A connection of which one more packet is nothing new.
    init(_ track: Track) {
        word = UInt64(track.stamp) << 32 | (track.isReply ? 1 << 31 : 0) | UInt64(track.number)
    }

    @inline(__always) var number: UInt32 { UInt32(truncatingIfNeeded: word) & 0x7fff_ffff }
    @inline(__always) var isReply: Bool { word & 1 &<< 31 != 0 }
    @inline(__always) var stamp: UInt32 { UInt32(truncatingIfNeeded: word &>> 32) }
}
