import Flows
import Wire

/// A zone that a walk has tracked its packet in, and what of the answer it went by.
struct TrackInterest: BitwiseCopyable {
    /// Before actions wrote its mark and label.
    let track: Track
    /// The zone whose translation it was tracked after, if it was.
    let former: UInt16?
    /// It holds for packets of this connection only.
    var isOfConnection = false
    /// Of `Track.check`.
    var bits: UInt16 = 0
    var mark: UInt32 = 0
    var label: UInt128 = 0
}

/// The tracker's fields in a flow key.
enum TrackWords {
    static var state: Int { 5 }
    static var zoneMask: UInt64 { 0xffff_0000 }
    /// The protocol of the connection's first packet.
    static var number: Int { 26 }
    static var numberMask: UInt64 { 0xff00 }
    static var label: Int { 27 }
    /// The addresses and ports of the connection's first packet.
    static var first: Int { 29 }
    static var last: Int { 34 }
}

extension Walk {
    /// `ct`: tracks the packet, notes what is to become of its connection, and has a copy go on in a table (ovs-actions(7),
    /// 'The ct action'). What was found out shows there, and nowhere else.
    /// - Parameter writes: of the connection's mark and label, `instruction.count` of them.
    mutating func track(_ instruction: Instruction, _ writes: UnsafePointer<Instruction>) {
        let zone = instruction.width == 0 ? instruction.value : UInt64(read(instruction.from, instruction.width))
        let request = TrackRequest(flags: instruction.word)
        let range = request.range(writes)
        let writes = writes + request.rangeCount
        settleTrack()
        guard !waits(zone: UInt16(truncatingIfNeeded: zone)) else { return wait() }
        guard let place = track(zone: UInt16(truncatingIfNeeded: zone), forces: request.forces) else {
            return fail(.flowTooLong)
        }
        var isAssumed = false
        if Observer.isActive, instruction.table != Instruction.thisTable, let state = observer.nextState() {
            memory.tracker[place].bits = state
            isAssumed = true
        }
        let interest = interest(in: place)
        // Whether the packet answers decides what becomes of its connection.
        if request.forces { memory.interests[interest].bits |= UInt16(TrackBits.reply | TrackBits.invalid) }
        // What is written shows where there is a connection, or will be.
        if Int(instruction.count) != request.rangeCount {
            memory.interests[interest].bits |= UInt16(TrackBits.new | TrackBits.related) | Track.hasConnection
            // An error, whose connection is written to, or a packet of one that was announced, which is not.
            if memory.tracker[place].bits & TrackBits.related != 0 { program.isSingular = true }
        }
        if request.translates { memory.interests[interest].bits |= Self.translationInterest }
        let written = connectionWrites(writes, count: Int(instruction.count) - request.rangeCount)
        guard var track = commit(request, range, place, written) else {
            // The next one may find something.
            program.isSingular = true
            return fail(.translationExhausted)
        }
        if request.translates { translate(track, interest) }
        if let translation, translation.zone == track.zone { track.bits |= translation.bits }
        // What is translated is tracked again where it comes by.
        held = !request.translates && (track.number != 0 || track.isBegun) ? (track.zone, track.bits) : nil
        if Observer.isActive { observer.noted(.tracked(zone: track.zone, bits: track.bits, isAssumed: isAssumed)) }
        if instruction.table != Instruction.thisTable { fork(to: instruction.table, interest, track, written) }
        tracked = nil
        forgetTrack()
    }

    /// `ct_clear`. Means nothing where nothing shows.
    mutating func clearTrack() {
        guard tracked != nil else { return }
        settleTrack()
        (tracked, held) = (nil, nil)
        translation?.bits = 0
        forgetTrack()
    }

    // MARK: - Looking

    /// Whether the packet is a fragment that is to be tracked with others, and waits for them now.
    private mutating func waits(zone: UInt16) -> Bool {
        guard key.isIP, key[2] & 0x3 != 0 else { return false }
        guard context.hasEffects else {
            if Observer.isActive { observer.noted(.waits) }
            return false
        }
        program.isSingular = true
        let visitCount = UInt16(program.visitCount)
        return memory.tracker.waits(zone: zone, from: origin, visitCount: visitCount, now: context.now)
    }

    /// - Returns: the place of the packet's track in the tracker.
    private mutating func track(zone: UInt16, forces: Bool) -> Int? {
        if let place = memory.tracker.repeated(zone: zone) { return place }
        guard let place = trackAnew(zone: zone, forces: forces) else { return nil }
        memory.tracker.note(place)
        return place
    }

    private mutating func trackAnew(zone: UInt16, forces: Bool) -> Int? {
        let (tracker, now) = (memory.tracker, context.now)
        guard context.hasEffects else {
            // A described packet of no flags is a first one.
            let flags = key[4] >> 16 & 0x17
            return tracker.look(currentTuple(zone), isFirst: flags == 0 || flags == UInt64(TCPSegment.syn), now: now)
        }
        if let translation, !hasOtherTuple, translation.zone != zone, !wasTracked(in: zone, behind: translation.zone) {
            return track(zone: zone, translatedIn: translation)
        }
        guard hasOtherTuple else {
            guard let place = tracker.track(zone: zone, now: now) else { return nil }
            if let held, held.zone == zone, !forces {
                tracker[place].bits = held.bits
            } else if wasTracked(in: zone) {
                trackAgain(place, now: now)
            }
            return place
        }
        // The cache's checks are of packets as they come in.
        program.isSingular = true
        return tracker.track(rewritten: currentTuple(zone), now: now)
    }

    private mutating func trackAgain(_ place: Int, now: UInt32) {
        if memory.tracker[place].number == 0 && !memory.tracker[place].isBegun {
            // It is what it was; one that has a connection may not be.
            memory.interests[interest(in: place)].bits |= Track.hasConnection
        } else {
            // What its own second coming makes of its connection no check says.
            program.isSingular = true
            memory.tracker.trackAgain(place, now: now)
        }
    }

    /// The packet is another one since it was tracked in another zone.
    private mutating func track(zone: UInt16, translatedIn former: Translated) -> Int? {
        let (tracker, now) = (memory.tracker, context.now)
        // What a connection that begins becomes is chosen when it does.
        if memory.interests[former.interest].track.number == 0 || wasTracked(in: zone) { program.isSingular = true }
        return wasTracked(in: zone)
            ? tracker.track(rewritten: currentTuple(zone), now: now)
            : tracker.track(zone: zone, translatedIn: former.zone, now: now)
    }

    private func wasTracked(in zone: UInt16) -> Bool {
        for number in 0..<interestCount where memory.interests[number].track.zone == zone { return true }
        return false
    }

    /// As what it became in another zone.
    private func wasTracked(in zone: UInt16, behind former: UInt16) -> Bool {
        for number in 0..<interestCount where memory.interests[number].track.zone == zone {
            return memory.interests[number].former == former
        }
        return false
    }

    /// Flows have written what connections are found by.
    private var hasOtherTuple: Bool {
        guard key.isIP else { return false }
        var bits = (written[2] & 0xff00) | (written[4] & 0xffff_ffff_0000_0000)
        if key.isIPv6 {
            for word in 19...22 { bits |= written[word] }
        } else {
            bits |= written[3]
        }
        return bits != 0
    }

    private func currentTuple(_ zone: UInt16) -> ConnectionTuple { ConnectionTuple(key, zone: zone) }

    /// The number of a zone among those that this walk has tracked in.
    private mutating func interest(in place: Int) -> Int {
        let track = memory.tracker[place]
        for number in 0..<interestCount where memory.interests[number].track.zone == track.zone { return number }
        let former = translation.flatMap { $0.zone == track.zone ? nil : $0.zone }
        memory.interests[interestCount] = TrackInterest(track: track, former: former)
        interestCount += 1
        return interestCount - 1
    }

    // MARK: - What becomes of the connection

    /// What actions within `ct` write.
    struct ConnectionWrites {
        var (mark, markMask): (UInt32, UInt32) = (0, 0)
        var (label, labelMask): (UInt128, UInt128) = (0, 0)
    }

    /// Runs the actions within `ct`, which see the packet's fields and write to the connection's.
    private mutating func connectionWrites(_ writes: UnsafePointer<Instruction>, count: Int) -> ConnectionWrites {
        guard count != 0 else { return ConnectionWrites() }
        let (formerKey, formerWritten, formerPending, formerWords) = (key.all, written.all, pending.all, pendingWords)
        (written[TrackWords.state], written[TrackWords.label], written[TrackWords.label + 1]) = (0, 0, 0)
        run(writes, count: count)
        var result = ConnectionWrites()
        result.markMask = UInt32(truncatingIfNeeded: written[TrackWords.state] >> 32)
        result.mark = UInt32(truncatingIfNeeded: key[TrackWords.state] >> 32) & result.markMask
        result.labelMask = written.label
        result.label = key.label & result.labelMask
        (key.all, written.all, pending.all, pendingWords) = (formerKey, formerWritten, formerPending, formerWords)
        return result
    }

    /// Notes what is to be done to the packet's connection.
    /// - Returns: what will be known of it then; nil when no address and port is left for it.
    private mutating func commit(
        _ request: TrackRequest,
        _ range: TranslationRange,
        _ place: Int,
        _ writes: ConnectionWrites
    ) -> Track? {
        var track = memory.tracker[place]
        let hasLabel = writes.labelMask != 0
        guard request.commits || writes.markMask != 0 || hasLabel else { return track }
        record(
            .commit(
                Commit(
                    zone: track.zone,
                    begins: request.commits,
                    forces: request.forces,
                    mark: writes.mark,
                    markMask: writes.markMask,
                    hasLabel: hasLabel,
                    rangeCount: UInt8(range.pairCount),
                    helper: request.helper
                )
            )
        )
        if hasLabel {
            record(.octets(UInt64(truncatingIfNeeded: writes.label >> 64), UInt64(truncatingIfNeeded: writes.label)))
            record(
                .octets(
                    UInt64(truncatingIfNeeded: writes.labelMask >> 64),
                    UInt64(truncatingIfNeeded: writes.labelMask)
                )
            )
        }
        for index in 0..<range.pairCount {
            let (first, second) = range.pair(index)
            record(.octets(first, second))
        }
        if request.forces && track.isReply && track.number != 0 {
            // Whether it can begin one itself depends on its flags.
            program.isSingular = true
            track = memory.tracker.replaced(track)
            memory.tracker[place] = track
        }
        if track.number == 0 && !track.isBegun && request.commits && track.bits & TrackBits.new != 0 {
            guard memory.tracker.choose(range, place, now: context.now) else { return nil }
            track = memory.tracker[place]
        }
        if track.number != 0 || track.isBegun || track.bits & TrackBits.new != 0 && request.commits {
            if !track.isExpected {
                track.mark = track.mark & ~writes.markMask | writes.mark
                track.label = track.label & ~writes.labelMask | writes.label
            }
            track.isBegun = track.isBegun || track.number == 0
        }
        memory.tracker[place] = track
        return track
    }

    // MARK: - Translation

    /// What the packet's addresses and ports are by now: what they became in a zone.
    struct Translated {
        let zone: UInt16
        let interest: Int
        /// What `ct_state` says of it there.
        var bits: UInt8
    }

    /// What decides how a packet is translated, beside its connection's own addresses and ports.
    private static var translationInterest: UInt16 {
        let bits = TrackBits.new | TrackBits.related | TrackBits.reply | TrackBits.invalid
        return UInt16(bits) | Track.hasConnection | Track.hasTranslation
    }

    /// Has the packet become what its connection says, unless it is that (ovs-actions(7), 'The ct action', nat).
    private mutating func translate(_ track: Track, _ interest: Int) {
        let end = track.end
        guard end != .none, translation?.zone != track.zone || translation?.bits == 0 else { return }
        recordEdits()
        settleTranslation()
        let tuple = track.translated(memory.tracker.table)
        holdTuple()
        if track.isError { writeAddress(end, of: tuple) } else { writeTuple(tuple) }
        record(.translate(track.zone))
        if firstUnseen == nil && (track.isError || track.tuple.isICMP) { firstUnseen = track.zone }
        translation = Translated(zone: track.zone, interest: interest, bits: end.bits)
        if Observer.isActive { observer.noted(.translated(zone: track.zone)) }
    }

    private func writeTuple(_ tuple: ConnectionTuple) {
        writeAddress(.source, of: tuple)
        writeAddress(.destination, of: tuple)
        guard hasPorts else { return }
        let ports = UInt64(tuple.sourcePort) << 48 | UInt64(tuple.destinationPort) << 32
        key[4] = key[4] & 0xffff_ffff | ports
    }

    private func writeAddress(_ end: Translation, of tuple: ConnectionTuple) {
        let isSource = end == .source
        if key.isIPv6 {
            key[isSource ? 19 : 21] = isSource ? tuple.sourceHigh : tuple.destinationHigh
            key[isSource ? 20 : 22] = isSource ? tuple.sourceLow : tuple.destinationLow
        } else if isSource {
            key[3] = key[3] & 0xffff_ffff | tuple.sourceLow << 32
        } else {
            key[3] = key[3] & ~0xffff_ffff | tuple.destinationLow
        }
    }

    private var hasPorts: Bool {
        let number = UInt8(truncatingIfNeeded: key[2] >> 8)
        return number == IPProtocol.tcp || number == IPProtocol.udp
    }

    /// Words of the key in which addresses and ports are.
    private static var tupleWords: ClosedRange<Int> { 3...22 }

    /// The bits of such a word that are translated.
    private func translatable(_ word: Int) -> UInt64 {
        switch word {
        case 3: key.isIPv6 ? 0 : .max
        case 4: hasPorts ? .max << 32 : 0
        case 19...22: key.isIPv6 ? .max : 0
        default: 0
        }
    }

    /// What was asked for of addresses and ports was of the packet as it came in. What is asked for from now on is not.
    private mutating func holdTuple() {
        for word in Self.tupleWords {
            let bits = translatable(word)
            memory.tuple[word] |= program.mask[word] & bits
            program.mask[word] &= ~bits
            // Of other packets other bits are others.
            memory.altered[word] |= bits
            recorded[word] |= bits
        }
    }

    /// Has the program be for packets of the one connection, if it went by what that made of their addresses and ports.
    mutating func settleTranslation() {
        guard let translation else { return }
        var asked: UInt64 = 0
        for word in Self.tupleWords {
            asked |= program.mask[word] & translatable(word)
            program.mask[word] &= ~translatable(word)
        }
        if asked != 0 { bind(translation.interest) }
    }

    /// Has the program be for packets of one connection; for one packet alone, if that begins it.
    private mutating func bind(_ interest: Int) {
        if memory.interests[interest].track.number == 0 { program.isSingular = true }
        memory.interests[interest].isOfConnection = true
        program.isOfConnection = true
    }

    /// Addresses and ports are again what the packet came in with, at least outside of the last scope.
    func restoreTuple() {
        guard translation == nil else { return }
        for word in Self.tupleWords {
            program.mask[word] |= memory.tuple[word]
            memory.tuple[word] = 0
        }
    }

    // MARK: - Going on

    /// Has a copy of the packet go on in a table, with what is known of its connection.
    private mutating func fork(to table: UInt8, _ interest: Int, _ track: Track, _ writes: ConnectionWrites) {
        let formerDrop = program.drop
        copied(fromMember: actionSetFloor) { walk in
            walk.tracked = interest
            walk.show(track, writes)
            walk.enter(table, port: walk.key.port)
        }
        endOther(formerDrop)
    }

    /// Puts a track into the key.
    private func show(_ track: Track, _ writes: ConnectionWrites) {
        clearTrackWords()
        key[TrackWords.state] = UInt64(track.mark) << 32 | UInt64(track.zone) << 16 | UInt64(track.bits)
        key.label = track.label
        written[TrackWords.state] = UInt64(writes.markMask) << 32 | TrackWords.zoneMask
        written.label = writes.labelMask
        written[TrackWords.number] &= ~TrackWords.numberMask
        for word in TrackWords.first...TrackWords.last { written[word] = 0 }
        guard track.bits & TrackBits.invalid == 0 else { return }
        track.original(memory.tracker.table).note(in: key)
    }

    private func forgetTrack() {
        clearTrackWords()
        written[TrackWords.state] = .max
        written[TrackWords.number] |= TrackWords.numberMask
        for word in TrackWords.label...TrackWords.last { written[word] = .max }
    }

    private func clearTrackWords() {
        key[TrackWords.state] = 0
        key[TrackWords.number] &= ~TrackWords.numberMask
        for word in TrackWords.label...TrackWords.last { key[word] = 0 }
    }

    /// The key shows a connection's first packet.
    var hasOriginalTuple: Bool { key[TrackWords.number] & TrackWords.numberMask != 0 }

    /// The flow of a table that the first packet of the connection would meet, all else being the packet's
    /// (ovs-actions(7), 'resubmit').
    mutating func findByOriginal(in table: UInt8, port: UInt16) -> UnsafeMutablePointer<Rule>? {
        let (formerKey, formerMask) = (key.all, program.mask.all)
        for word in Self.tupleWords { program.mask[word] &= ~originalMask(word) }
        key[2] = key[2] & ~0xff00 | key[TrackWords.number] & TrackWords.numberMask
        key[4] = key[4] & 0xffff_ffff | key[30] << 32
        if key.isIPv6 {
            for word in 19...22 { key[word] = key[word + 12] }
        } else {
            key[3] = key[29]
        }
        let rule = find(in: table, port: port)
        var asked: UInt64 = 0
        for word in Self.tupleWords {
            let bits = originalMask(word)
            asked |= program.mask[word] & bits
            program.mask[word] = program.mask[word] & ~bits | formerMask[word] & bits
        }
        key.all = formerKey
        // Whichever of them it was.
        if asked != 0 { program.mask[TrackWords.first] |= 1 }
        return rule
    }

    /// Of ICMP, type and code are the first packet's too.
    private func originalMask(_ word: Int) -> UInt64 { word == 4 ? .max << 32 : translatable(word) }

    // MARK: - What it went by

    /// Takes the bits of tracks that were asked for from the program's mask to the track that they were of.
    mutating func settleTrack() {
        let (bits, label) = (program.mask[TrackWords.state], program.mask.label)
        var others = program.mask[TrackWords.number] & TrackWords.numberMask
        for word in TrackWords.first...TrackWords.last { others |= program.mask[word] }
        guard bits | others != 0 || label != 0 else { return }
        program.mask[TrackWords.state] = 0
        program.mask[TrackWords.number] &= ~TrackWords.numberMask
        for word in TrackWords.label...TrackWords.last { program.mask[word] = 0 }
        guard let number = tracked else { return }
        // What its first packet was goes by the connection, and does not show where the packet is none of it.
        if others != 0 {
            bind(number)
            memory.interests[number].bits |= UInt16(TrackBits.invalid)
        }
        memory.interests[number].bits |= UInt16(truncatingIfNeeded: bits & 0xff)
        memory.interests[number].mark |= UInt32(truncatingIfNeeded: bits >> 32)
        memory.interests[number].label |= label
    }

    /// Has the program be good for packets of which the tracker says the same.
    mutating func recordTracks() {
        for number in 0..<interestCount {
            let interest = memory.interests[number]
            record(
                .track(
                    TrackCheck(
                        zone: interest.track.zone,
                        bits: interest.track.check & interest.bits,
                        bitMask: interest.bits,
                        mark: interest.track.mark & interest.mark,
                        markMask: interest.mark,
                        isTranslated: interest.former != nil,
                        former: interest.former ?? 0
                    )
                )
            )
            if interest.isOfConnection { record(.connection(interest.track.number, stamp: interest.track.stamp)) }
            guard interest.label != 0 else { continue }
            let (value, mask) = (interest.track.label & interest.label, interest.label)
            record(
                .labelHigh(value: UInt64(truncatingIfNeeded: value >> 64), mask: UInt64(truncatingIfNeeded: mask >> 64))
            )
            record(.labelLow(value: UInt64(truncatingIfNeeded: value), mask: UInt64(truncatingIfNeeded: mask)))
        }
    }
}

extension KeyWords {
    /// `ct_label`.
    fileprivate var label: UInt128 {
        get { UInt128(words[TrackWords.label]) << 64 | UInt128(words[TrackWords.label + 1]) }
        nonmutating set {
            words[TrackWords.label] = UInt64(truncatingIfNeeded: newValue >> 64)
            words[TrackWords.label + 1] = UInt64(truncatingIfNeeded: newValue)
        }
    }

    var isIPv6: Bool { UInt16(truncatingIfNeeded: words[0] >> 16) == EtherType.ipv6 }
}

extension ConnectionTuple {
    /// As a flow key says; an ICMP query's identifier it does not know.
    fileprivate init(_ key: KeyWords, zone: UInt16) {
        let number = UInt8(truncatingIfNeeded: key[2] >> 8)
        if key.isIPv6 {
            self.init(
                source: IPv6Address(value: UInt128(key[19]) << 64 | UInt128(key[20])),
                destination: IPv6Address(value: UInt128(key[21]) << 64 | UInt128(key[22])),
                protocol: number
            )
        } else {
            self.init(
                source: IPv4Address(value: UInt32(truncatingIfNeeded: key[3] >> 32)),
                destination: IPv4Address(value: UInt32(truncatingIfNeeded: key[3])),
                protocol: number
            )
        }
        self.zone = zone
        let ports = key[4] >> 32
        (sourcePort, destinationPort) =
            isICMP
            ? (0, UInt16(truncatingIfNeeded: ports >> 16))
            : (UInt16(truncatingIfNeeded: ports >> 16), UInt16(truncatingIfNeeded: ports))
    }

    /// Puts it where a flow key has the first packet of a connection.
    fileprivate func note(in key: KeyWords) {
        key[TrackWords.number] |= UInt64(protocolNumber) << 8
        if isIPv6 {
            (key[31], key[32], key[33], key[34]) = (sourceHigh, sourceLow, destinationHigh, destinationLow)
        } else {
            key[29] = sourceLow << 32 | destinationLow
        }
        // Flows see no ports of later fragments.
        guard key[2] & 0x3 != UInt64(FragmentKind.later) else { return }
        // Type and code of ICMP.
        let (first, second) = isICMP ? (destinationPort, 0) : (sourcePort, destinationPort)
        key[30] = UInt64(first) << 16 | UInt64(second)
    }
}

/// What the tracker must say of a packet in a zone.
struct TrackCheck: Equatable, BitwiseCopyable {
    let zone: UInt16
    /// Of `Track.check`.
    let bits: UInt16
    let bitMask: UInt16
    let mark: UInt32
    let markMask: UInt32
    /// The packet is what it became in the zone `former`.
    let isTranslated: Bool
    let former: UInt16

    /// It holds for packets that would begin a connection only.
    var asksForNew: Bool { bits & UInt16(TrackBits.new) != 0 }

    @inline(__always)
    func holds(_ track: Track) -> Bool {
        track.check & bitMask == bits && track.mark & markMask == mark
    }
}

/// The flags of a `ct` instruction, and how many instructions with a `TranslationRange` follow it.
struct TrackRequest {
    private let flags: UInt8

    init(flags: UInt8) { self.flags = flags }

    init(_ conntrack: Conntrack, rangeCount: Int) {
        flags =
            (conntrack.commits ? 1 : 0) | (conntrack.forces ? 2 : 0) | (conntrack.nat != nil ? 4 : 0)
            | UInt8(rangeCount) << 3 | TrackHelper(conntrack.helper).rawValue << 6
    }

    var word: UInt8 { flags }
    var commits: Bool { flags & 1 != 0 }
    var forces: Bool { flags & 2 != 0 }
    var translates: Bool { flags & 4 != 0 }
    var rangeCount: Int { Int(flags >> 3 & 7) }
    var helper: TrackHelper { TrackHelper(rawValue: flags >> 6) ?? .none }

    func range(_ instructions: UnsafePointer<Instruction>) -> TranslationRange {
        guard rangeCount != 0 else { return TranslationRange() }
        return TranslationRange { (instructions[$0].value, instructions[$0].mask) }
    }
}

extension Instruction {
    static func tracking(_ conntrack: Conntrack, _ context: ActionContext) throws(Refusal) -> [Instruction] {
        guard conntrack.helper == nil || conntrack.nat == nil else {
            let text = FlowText.print([.conntrack(conntrack)])
            throw Refusal("action '\(text)': alg beside nat cannot be run: see the README's known limits")
        }
        let range = conntrack.nat.map { TranslationRange($0) } ?? TranslationRange()
        var instruction = Instruction(.track)
        instruction.table = conntrack.table ?? thisTable
        instruction.word = TrackRequest(conntrack, rangeCount: range.pairCount).word
        switch conntrack.zone {
        case .number(let zone): instruction.value = UInt64(zone)
        case .subfield(let field):
            instruction.from = place(field)
            instruction.width = width(field)
        }
        var writes: [Instruction] = []
        for index in 0..<range.pairCount {
            var words = Instruction(.translation)
            (words.value, words.mask) = range.pair(index)
            writes.append(words)
        }
        writes += try compiled(conntrack.actions, context)
        guard let count = UInt16(exactly: writes.count) else { throw Refusal("ct has more than 65535 actions") }
        instruction.count = count
        return [instruction] + writes
    }
}
