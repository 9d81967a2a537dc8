import Seeds
import Testing

@testable import Dataplane

/// TCP connections, seen from between their ends.
@Suite struct TCPStateTests {
    @Test func followsAConnectionFromItsFirstSegmentToItsLast() throws {
        var talk = try Conversation(from: 1000, to: 5000)
        #expect(talk.last == TrackTimeout.tcpSynSent)
        #expect(talk.answers(.synAck) == .valid && talk.last == .tcpSynReceived)
        #expect(talk.says(.ack) == .valid && talk.last == .tcpEstablished)
        #expect(talk.phases == [.established, .established])
        #expect(talk.says(.ack, 100) == .valid && talk.answers(.ack, 2000) == .valid)
        #expect(talk.last == .tcpEstablished)
        #expect(talk.says(.finAck) == .valid && talk.last == .tcpFinWait)
        #expect(talk.answers(.ack) == .valid && talk.phases == [.finWait2, .established])
        #expect(talk.answers(.finAck) == .valid && talk.last == .tcpTimeWait)
        #expect(talk.says(.ack) == .valid && talk.last == .tcpClose)
        #expect(talk.phases == [.finWait2, .finWait2])
    }

    @Test func followsBothSidesClosingAtOnce() throws {
        var talk = try Conversation.established()
        #expect(talk.says(.finAck) == .valid && talk.last == .tcpFinWait)
        // Sent before the other's FIN came, which it acknowledges all the same: no one asks how far it does.
        let crossing = talk.make(.finAck, isReply: true, acknowledging: talk.next.originator &- 1)
        #expect(talk.take(crossing, isReply: true) == .valid && talk.last == .tcpTimeWait)
        #expect(talk.phases == [.finWait2, .closing])
        #expect(talk.says(.ack) == .valid && talk.answers(.ack) == .valid)
        #expect(talk.phases == [.finWait2, .finWait2] && talk.last == .tcpClose)
    }

    @Test func staysNewUntilTheOtherSideAnswers() throws {
        var talk = try Conversation(from: 1000, to: 5000)
        #expect(talk.take(talk.first, isReply: false) == .validNew && talk.last == .tcpSynSent)
        #expect(talk.phases == [.synSent, .closed])
    }

    /// A SYN from both sides is no answer, and the two answers to them are followed by liberal tracking alone.
    @Test(arguments: [false, true])
    func followsASimultaneousOpenOnlyLiberally(isLiberal: Bool) throws {
        var talk = try Conversation(from: 1000, to: 5_000_000)
        talk.isLiberal = isLiberal
        #expect(talk.answers(.syn) == .validNew && talk.phases == [.synSent, .synSent])
        let answer = TCPSegment(.synAck, sequence: 1000, acknowledgment: 5_000_001)
        #expect(talk.take(answer, isReply: false) == (isLiberal ? .valid : .invalid))
        #expect(talk.phases == [.synSent, isLiberal ? .established : .synSent])
    }

    // MARK: - Flags

    /// All combinations of the six flags that say what a segment is.
    @Test func beginsWithSensibleFlagsAlone() {
        for flags in UInt8(0)..<64 {
            let segment = TCPSegment(flags, sequence: 1, acknowledgment: 2)
            let isSYN = flags & 0x02 != 0
            let acknowledges = flags & 0x10 != 0
            let resets = flags & 0x04 != 0
            let isAlone = isSYN && flags & ~0x02 == 0
            let isData = !isSYN && acknowledges
            let isReset = !isSYN && flags == 0x04
            #expect((TCPState.begin(segment) != nil) == (isAlone || isData || isReset), "flags \(flags)")
            let isAnswer = isSYN && acknowledges && !resets && flags & 0x01 == 0
            #expect(segment.hasSensibleFlags == (isAlone || isData || isReset || isAnswer), "flags \(flags)")
        }
    }

    @Test func findsSenselessFlagsInvalidAndChangesNothing() throws {
        for flags: UInt8 in [0, 0x01, 0x03, 0x06, 0x08, 0x20, 0x29, 0x3f] {
            var talk = try Conversation.established()
            talk.isLiberal = true
            let before = talk.state
            let segment = talk.make(flags, isReply: false)
            #expect(talk.take(segment, isReply: false) == .invalid && talk.last == nil && talk.state == before)
        }
    }

    // MARK: - Windows

    @Test func takesDataUpToTheWindowsEnd() throws {
        for (length, verdict) in [(29_200, TrackVerdict.valid), (29_201, .invalid)] {
            var talk = try Conversation.established(window: 29_200)
            #expect(talk.says(.ack, UInt32(length)) == verdict, "\(length) bytes")
        }
    }

    @Test func takesDataAgainThatIsNoMoreThanAWindowBack() throws {
        for (back, verdict) in [(UInt32(29_200), TrackVerdict.valid), (29_201, .invalid)] {
            var talk = try Conversation.established(window: 29_200)
            for _ in 0..<40 { _ = (talk.says(.ack, 1000), talk.answers(.ack)) }
            let again = talk.make(.ack, 10, isReply: false, sequence: talk.next.originator &- back)
            #expect(talk.take(again, isReply: false) == verdict, "\(back) bytes back")
        }
    }

    /// 65,535 and 1,500: the most that an acknowledgment may be away from what was sent.
    @Test(
        arguments: [(67_035, .valid), (67_036, .invalid), (-67_035, .valid), (-67_036, .invalid)]
            as [(Int32, TrackVerdict)]
    )
    func takesAcknowledgmentsNearWhatWasSent(behind: Int32, verdict: TrackVerdict) throws {
        var talk = try Conversation.established()
        let acknowledged = talk.next.responder &- UInt32(bitPattern: behind)
        let segment = talk.make(.ack, isReply: false, acknowledging: acknowledged)
        #expect(talk.take(segment, isReply: false) == verdict)
    }

    @Test func scalesWindowsThatBothSidesScale() throws {
        // The responder's 64 are 64 << 7 bytes.
        for (length, verdict) in [(8192, TrackVerdict.valid), (8193, .invalid)] {
            var talk = try Conversation.established(window: 64, scales: (7, 7))
            #expect(talk.says(.ack, UInt32(length)) == verdict, "\(length) bytes")
        }
    }

    @Test func scalesNoWindowWhenOneSideDoesNot() throws {
        for scales in [(7, nil), (nil, 7)] as [(UInt8?, UInt8?)] {
            for (length, verdict) in [(64, TrackVerdict.valid), (65, .invalid)] {
                var talk = try Conversation.established(window: 64, scales: scales)
                #expect(talk.says(.ack, UInt32(length)) == verdict, "\(length) bytes, \(scales)")
            }
        }
    }

    @Test func remembersTheGreatestWindowAsItsHeadersHaveIt() throws {
        var talk = try Conversation(from: 1, to: 2, window: 65_535, scales: (7, nil))
        #expect(talk.state.peers.originator.greatestWindow == 512, "65,535 bytes, rounded up")
        _ = talk.answers(.synAck)
        #expect(talk.state.peers.originator.greatestWindow == 65_535, "as it does not scale")
    }

    @Test(arguments: [UInt32(0xffff_fff0), 0x7fff_fff0, 0])
    func followsSequenceNumbersAcrossTheirEnd(first: UInt32) throws {
        var talk = try Conversation.established(from: first, to: first &- 5)
        for round in 0..<20 {
            #expect(talk.says(.ack, 1000) == .valid && talk.answers(.ack, 700) == .valid, "round \(round)")
        }
        #expect(talk.state.peers.originator.sent == first &+ 20_001)
        #expect(talk.says(.ack, 40_000) == .invalid, "beyond the window")
    }

    @Test func passesEverythingWhenLiberal() throws {
        var talk = try Conversation.established()
        talk.isLiberal = true
        let far = talk.make(.ack, 100, isReply: false, sequence: talk.next.originator &+ 1_000_000)
        #expect(talk.take(far, isReply: false) == .valid && talk.last == .tcpEstablished)
    }

    // MARK: - Resets

    @Test(
        arguments: [(0, .valid), (1, .valid), (-1, .valid), (2, .invalid), (-2, .invalid)] as [(Int32, TrackVerdict)]
    )
    func takesResetsWhereTheDataEnds(off: Int32, verdict: TrackVerdict) throws {
        var talk = try Conversation.established()
        let sequence = talk.next.responder &+ UInt32(bitPattern: off)
        let reset = talk.make(.rst, isReply: true, sequence: sequence)
        #expect(talk.take(reset, isReply: true) == verdict)
        let isOver = verdict == .valid
        #expect(talk.phases == (isOver ? [.timeWait, .timeWait] : [.established, .established]))
        #expect(talk.last == (isOver ? .tcpClose : nil))
    }

    @Test func takesTheRefusalOfAConnection() throws {
        var talk = try Conversation(from: 1000, to: 0)
        let refusal = TCPSegment(TCPSegment.rst | TCPSegment.ack, sequence: 0, acknowledgment: 1001)
        #expect(talk.take(refusal, isReply: true) == .valid)
        #expect(talk.phases == [.timeWait, .timeWait] && talk.last == .tcpClose)
    }

    @Test func letsANewConnectionTakeThePlaceOfOneThatIsOver() throws {
        var talk = try Conversation.established()
        _ = talk.take(talk.make(.rst, isReply: true), isReply: true)
        #expect(talk.take(TCPSegment(.syn, sequence: 77, acknowledgment: 0), isReply: false) == .new)
        #expect(talk.phases == [.closed, .closed] && talk.last == nil)
    }

    @Test func judgesASYNWithinAnEstablishedConnectionByTheWindow() throws {
        var talk = try Conversation.established()
        let strange = TCPSegment(.syn, sequence: talk.next.originator &+ 1_000_000, acknowledgment: 0)
        #expect(talk.take(strange, isReply: false) == .invalid && talk.phases == [.established, .established])
    }

    /// Behind the end of a connection segments may be off, and keep nothing alive.
    @Test func takesStragglersOfAConnectionThatIsOver() throws {
        var talk = try Conversation.established(window: 1000)
        _ = talk.take(talk.make(.rst, isReply: true), isReply: true)
        let straggler = talk.make(.ack, 100, isReply: false, sequence: talk.next.originator &+ 5000)
        #expect(talk.take(straggler, isReply: false) == .valid && talk.last == nil)
        let stranger = talk.make(.ack, 100, isReply: false, sequence: talk.next.originator &+ 500_000)
        #expect(talk.take(stranger, isReply: false) == .invalid)
    }

    // MARK: - Picked up

    @Test func picksUpAConnectionInItsMiddle() throws {
        let first = TCPSegment(.ack, sequence: 700_000, acknowledgment: 900_000, payloadLength: 100, window: 500)
        var state = try #require(TCPState.begin(first))
        let answer = TCPSegment(.ack, sequence: 900_000, acknowledgment: 700_100, window: 500)
        #expect(state.update(answer, isReply: true, isLiberal: false) == (.valid, .tcpSynReceived))
        // Nobody knows how windows are scaled: 500 may be 500 << 14.
        let more = TCPSegment(
            .ack,
            sequence: 700_100,
            acknowledgment: 900_000,
            payloadLength: 60_000,
            window: 500
        )
        #expect(state.update(more, isReply: false, isLiberal: false) == (.valid, .tcpEstablished))
        #expect(state.peers.originator.phase == .established && state.peers.responder.phase == .established)
    }

    @Test func picksUpNothingWithAnAnswerToASYN() {
        #expect(TCPState.begin(TCPSegment(.synAck, sequence: 1, acknowledgment: 2)) == nil)
    }

    // MARK: - The quick way

    @Test(arguments: seeds)
    func agreesWithTheWholeWay(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var quick = 0
        for _ in 0..<300 {
            let windows = [UInt16(0), 1, 500, 29_200, 65_535]
            var talk = try Conversation.established(window: windows.randomElement(using: &random)!, scales: (3, 5))
            for _ in 0..<30 {
                let (segment, isReply) = talk.anything(&random)
                var other = talk.state
                let passed = other.passes(segment, isReply: isReply)
                let before = talk.state
                let verdict = talk.take(segment, isReply: isReply)
                if passed {
                    quick += 1
                    #expect(verdict == .valid && talk.last == .tcpEstablished && other == talk.state, "seed \(seed)")
                } else {
                    #expect(other == before, "seed \(seed)")
                    let wasEstablished =
                        before.peers.originator.phase == .established
                        && before.peers.responder.phase == .established
                    let isPlain = segment.flags & 0x17 == TCPSegment.ack
                    #expect(!(wasEstablished && isPlain) || verdict == .invalid, "seed \(seed): it was asked in vain")
                }
            }
        }
        #expect(quick > 1000, "seed \(seed)")
    }
}

/// Two sides of a connection that send what fits, and a tracker that sees it.
private struct Conversation {
    var state: TCPState
    var isLiberal = false
    /// The sequence numbers that come next.
    var next: (originator: UInt32, responder: UInt32)
    /// What the last segment set the connection's end anew by.
    var last: TrackTimeout? = .tcpSynSent
    let first: TCPSegment
    private let window: UInt16
    private let scales: (UInt8?, UInt8?)

    /// After a first SYN.
    init(
        from originator: UInt32,
        to responder: UInt32,
        window: UInt16 = 29_200,
        scales: (UInt8?, UInt8?) = (nil, nil)
    ) throws {
        first = TCPSegment(.syn, sequence: originator, acknowledgment: 0, window: window, windowScale: scales.0)
        state = try #require(TCPState.begin(first))
        next = (originator &+ 1, responder)
        self.window = window
        self.scales = scales
    }

    /// After a handshake.
    static func established(
        from originator: UInt32 = 1000,
        to responder: UInt32 = 5_000_000,
        window: UInt16 = 29_200,
        scales: (UInt8?, UInt8?) = (nil, nil)
    ) throws -> Conversation {
        var talk = try Conversation(from: originator, to: responder, window: window, scales: scales)
        #expect(talk.answers(.synAck) == .valid && talk.says(.ack) == .valid && talk.answers(.ack) == .valid)
        return talk
    }

    var phases: [TCPPhase] { [state.peers.originator.phase, state.peers.responder.phase] }

    func make(
        _ flags: UInt8,
        _ length: UInt32 = 0,
        isReply: Bool,
        sequence: UInt32? = nil,
        acknowledging: UInt32? = nil
    ) -> TCPSegment {
        let isSYN = flags & TCPSegment.syn != 0
        return TCPSegment(
            flags,
            sequence: sequence ?? (isReply ? next.responder : next.originator),
            acknowledgment: acknowledging ?? (isReply ? next.originator : next.responder),
            payloadLength: length,
            window: window,
            windowScale: isSYN ? (isReply ? scales.1 : scales.0) : nil
        )
    }

    mutating func take(_ segment: TCPSegment, isReply: Bool) -> TrackVerdict {
        let result = state.update(segment, isReply: isReply, isLiberal: isLiberal)
        last = result.timeout
        return result.verdict
    }

    mutating func says(_ flags: UInt8, _ length: UInt32 = 0) -> TrackVerdict {
        let segment = make(flags, length, isReply: false)
        next.originator = segment.end
        return take(segment, isReply: false)
    }

    mutating func answers(_ flags: UInt8, _ length: UInt32 = 0) -> TrackVerdict {
        let segment = make(flags, length, isReply: true)
        next.responder = segment.end
        return take(segment, isReply: true)
    }

    /// A segment that mostly fits.
    func anything(_ random: inout SeededGenerator) -> (TCPSegment, isReply: Bool) {
        func off() -> UInt32 {
            let choices: [Int32] = [0, 0, 0, 1, -1, 1460, -1460, 67_035, -67_036, 300_000, .min]
            return UInt32(bitPattern: choices.randomElement(using: &random)!)
        }
        let flags: [UInt8] = [.ack, .ack, .ack, .ack | TCPSegment.psh, .ack | 0xc0, .finAck, .syn, .rst]
        let isReply = Bool.random(using: &random)
        let (own, other) = isReply ? (state.peers.responder, state.peers.originator) : state.peers
        let segment = TCPSegment(
            random.next() % 10 > 0 ? .ack : flags.randomElement(using: &random)!,
            sequence: own.sent &+ off(),
            acknowledgment: other.sent &+ off(),
            payloadLength: [0, 0, 1, 1000].randomElement(using: &random)!,
            window: .random(in: .min ... .max, using: &random)
        )
        return (segment, isReply)
    }
}

extension TCPSegment {
    fileprivate init(
        _ flags: UInt8,
        sequence: UInt32,
        acknowledgment: UInt32,
        payloadLength: UInt32 = 0,
        window: UInt16 = 29_200,
        windowScale: UInt8? = nil
    ) {
        self.init(
            sequence: sequence,
            acknowledgment: acknowledgment,
            payloadLength: payloadLength,
            window: window,
            flags: flags,
            windowScale: windowScale
        )
    }
}

extension UInt8 {
    fileprivate static var syn: UInt8 { TCPSegment.syn }
    fileprivate static var synAck: UInt8 { TCPSegment.syn | TCPSegment.ack }
    fileprivate static var ack: UInt8 { TCPSegment.ack }
    fileprivate static var finAck: UInt8 { TCPSegment.fin | TCPSegment.ack }
    fileprivate static var rst: UInt8 { TCPSegment.rst }
}
