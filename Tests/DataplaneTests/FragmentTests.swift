import CPacket
import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// Fragments that are tracked: they wait until all have come, are tracked as the datagram, and go on as fragments.
@Suite struct FragmentTests {
    /// What is new or established leaves port 1, what is invalid port 2, and the connection is committed.
    private static let flows = [
        "table=0,ip,actions=ct(table=1,zone=1)", "table=0,ipv6,actions=ct(table=1,zone=1)",
        "table=1,ip,ct_state=+trk+new,actions=ct(commit,zone=1),output:2",
        "table=1,ipv6,ct_state=+trk+new,actions=ct(commit,zone=1),output:2",
        "table=1,ct_state=+trk+inv,actions=output:3", "table=1,ct_state=+trk+est,actions=output:2",
    ]
    private static let (passed, invalid): (UInt16, UInt16) = (1, 2)

    private func bench(_ flows: [String] = flows, ports: Int = 4) throws -> Bench {
        let bench = Bench(ports: ports, frameLength: 9018)
        try bench.replaceFlows(flows)
        return bench
    }

    // MARK: - Whole

    @Test(arguments: [false, true])
    func goOnInTheirOrderWhenAllHaveCome(isIPv6: Bool) throws {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [1, 0, 2], [2, 0, 1]] {
            let bench = try bench()
            let pieces = Datagram(isIPv6, length: 4000).pieces(1480)
            for place in order.dropLast() {
                let outcome = bench.receive(pieces[place], from: 0)
                #expect(outcome.sent.isEmpty && outcome.dropped.isEmpty)
            }
            #expect(bench.waitingFragmentCount == 2 && bench.dataplane.connectionStatistics.count == 0)
            let outcome = bench.receive(pieces[order[2]], from: 0)
            #expect(outcome.sent == [Self.passed: pieces] && bench.waitingFragmentCount == 0)
            #expect(bench.dataplane.connectionStatistics.count == 1)
        }
    }

    @Test(arguments: [false, true])
    func comeInOneBurstWithThoseOfOthers(isIPv6: Bool) throws {
        let bench = try bench()
        let datagrams = (0..<4).map { Datagram(isIPv6, ports: (1025 + $0, 80), identification: $0).pieces(1480) }
        let mixed = (0..<2).flatMap { place in datagrams.map { Frame($0[place]) } }
        let outcome = bench.receive(mixed, from: 0)
        #expect(outcome.sent == [Self.passed: datagrams.flatMap { $0 }])
        #expect(bench.dataplane.connectionStatistics.count == 4)
    }

    /// More than a burst, and as many as there can be.
    @Test(arguments: [false, true])
    func areAsManyAsTheLongestDatagramHas(isIPv6: Bool) throws {
        let bench = try bench()
        let pieces = Datagram(isIPv6, length: 65_000).pieces(1232)
        #expect(pieces.count == 53)
        var sent: [[UInt8]] = []
        for piece in pieces { sent += bench.receive(piece, from: 0).sent[Self.passed] ?? [] }
        #expect(sent == pieces)
    }

    /// Scattered over segments, and with padding behind them, as drivers may deliver them.
    @Test(arguments: [false, true])
    func lieInAnySegments(isIPv6: Bool) throws {
        let bench = try bench()
        let pieces = Datagram(isIPv6, length: 3001).pieces(1480)
        let padded = pieces.map { $0 + [UInt8](repeating: 0xee, count: 30) }
        for segments in [[70], [100, 900], [100, 1400], [1494, 20], [300, 300, 300, 300]] {
            for piece in padded.dropLast() { bench.receive([Frame(piece, segments: segments)], from: 0) }
            let outcome = bench.receive([Frame(padded[2], segments: [70])], from: 0)
            #expect(outcome.sent == [Self.passed: padded], "\(segments)")
        }
    }

    @Test(arguments: [false, true])
    func ofAnyProtocolAreCheckedAsAWhole(isIPv6: Bool) throws {
        for number in [IPProtocol.udp, IPProtocol.sctp, isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp] {
            let bench = try bench()
            let datagram = Datagram(isIPv6, number, length: 3000)
            #expect(bench.receive(datagram.pieces(1480).map { Frame($0) }, from: 0).sent.keys.contains(Self.passed))
            // A bit of the last fragment.
            var wrong = datagram
            wrong.payload[2990] ^= 1
            let outcome = bench.receive(wrong.pieces(1480).map { Frame($0) }, from: 0)
            #expect(outcome.sent == [Self.invalid: wrong.pieces(1480)], "protocol \(number)")
        }
    }

    /// The whole would be longer than a header can say.
    @Test(arguments: [false, true])
    func beyondTheLongestDatagramAreInvalid(isIPv6: Bool) throws {
        let bench = try bench()
        var datagram = Datagram(isIPv6, length: 1480 * 45)
        datagram.payload = Array(datagram.payload.prefix(isIPv6 ? 65_528 : 65_516))
        let pieces = datagram.pieces(1480)
        var sent: [UInt16: [[UInt8]]] = [:]
        for piece in pieces { sent.merge(bench.receive(piece, from: 0).sent) { $0 + $1 } }
        #expect(sent == [Self.invalid: pieces])
    }

    // MARK: - Connections

    @Test(arguments: [false, true])
    func areOfOneConnectionWithWholeDatagrams(isIPv6: Bool) throws {
        let bench = try bench()
        let question = Datagram(isIPv6)
        bench.receive(question.pieces(1480).map { Frame($0) }, from: 0)
        let answer = question.answer.pieces(1480)
        let outcome = bench.receive(answer.map { Frame($0) }, from: 1)
        #expect(outcome.sent[Self.passed] == nil, "not to where it came from")
        try bench.replaceFlows(Array(Self.flows.dropLast()) + ["table=1,ct_state=+trk+est+rpl,actions=output:4"])
        #expect(bench.receive(answer.map { Frame($0) }, from: 1).sent == [3: answer])
        #expect(bench.receive(question.answer.whole, from: 1).sent == [3: [question.answer.whole]])
        #expect(bench.dataplane.connectionStatistics.count == 1)
    }

    /// What the first fragment's commit has written is not what the others see.
    @Test func seeWhatTheDatagramIsAndNotWhatItsFirstPieceDid() throws {
        let bench = try bench([
            "table=0,ip,actions=ct(table=1,zone=1)",
            "table=1,ip,ct_mark=0,actions=ct(commit,zone=1,exec(set_field:1->ct_mark),table=2)",
            "table=1,ct_mark=1,actions=output:3",
            "table=2,ct_state=+new,ct_mark=1,actions=output:2",
        ])
        let pieces = Datagram(false).pieces(1480)
        #expect(bench.receive(pieces.map { Frame($0) }, from: 0).sent == [1: pieces])
        #expect(bench.receive(pieces.map { Frame($0) }, from: 0).sent == [2: pieces])
    }

    /// In the second zone they do not wait again.
    @Test func areTrackedInSeveralZones() throws {
        let bench = try bench([
            "table=0,ip,actions=ct(commit,table=1,zone=1)", "table=1,ip,actions=ct(commit,table=2,zone=2)",
            "table=2,ip,nw_frag=first,actions=output:2", "table=2,ip,nw_frag=later,actions=output:3",
        ])
        let pieces = Datagram(false, length: 4000).pieces(1480)
        let outcome = bench.receive(pieces.map { Frame($0) }, from: 0)
        #expect(outcome.sent == [1: [pieces[0]], 2: Array(pieces.dropFirst())])
        #expect(bench.dataplane.connectionStatistics.count == 2)
    }

    @Test func needRoomForOneConnection() throws {
        let bench = try bench()
        bench.dataplane.connections.setLimit(1, zone: 1)
        let pieces = Datagram(false, length: 4000).pieces(1480)
        #expect(bench.receive(pieces.map { Frame($0) }, from: 0).sent == [Self.passed: pieces])
        let others = Datagram(false, ports: (9, 9), length: 4000).pieces(1480)
        let outcome = bench.receive(others.map { Frame($0) }, from: 0)
        #expect(outcome.sent.isEmpty && outcome.reasons == [Bench.Drop(.connectionLimit, on: 0): 3])
    }

    @Test func areCountedOnceByEachFlow() throws {
        let bench = try bench()
        let pieces = Datagram(false).pieces(1480)
        bench.receive(pieces[0], from: 0)
        #expect(counts(bench) == [0: 1, 1: 0])
        bench.receive(pieces[1], from: 0)
        #expect(counts(bench) == [0: 2, 1: 2])
    }

    /// Packets that the flows of each table have counted.
    private func counts(_ bench: Bench) -> [UInt8: UInt64] {
        bench.maintain()
        let flows = bench.dataplane.flows(of: "br").map { ($0.flow.table, $0.statistics.packetCount) }
        return Dictionary(flows) { $0 + $1 }
    }

    @Test func areSaidToWaitInATrace() throws {
        let bench = try bench()
        for piece in Datagram(false).pieces(1480) {
            let trace = bench.dataplane.trace(frame: piece, length: piece.count, from: 1, on: "br")
            let notes = trace.steps.compactMap { if case .note(let note) = $0.event { note } else { nil } }
            let new = TrackBits.tracked | TrackBits.new
            #expect(notes.prefix(2) == [.waits, .tracked(zone: 1, bits: new, isAssumed: false)])
            #expect(trace.outputs == [PortIndex(Self.passed)])
        }
    }

    // MARK: - Invalid

    /// What cannot be put to the others is invalid at once, and those make a datagram without it.
    @Test(arguments: [false, true])
    func areInvalidWhereTheyContradictOthers(isIPv6: Bool) throws {
        let datagram = Datagram(isIPv6, length: 6000)
        let pieces = datagram.pieces(1480)
        let others = [
            pieces[0], pieces[3], datagram.piece(0, 1488), datagram.piece(8, 1488), datagram.piece(1472, 1480),
            datagram.piece(2968, 1480), datagram.piece(1480, 4000), datagram.piece(5920, 40, isLast: true),
            datagram.piece(4448, 1480, isLast: true), datagram.piece(7400, 1480),
        ]
        for other in others {
            let bench = try bench()
            for place in [0, 3, 4] { bench.receive(pieces[place], from: 0) }
            #expect(bench.receive(other, from: 0).sent == [Self.invalid: [other]])
            let last = bench.receive([Frame(pieces[2]), Frame(pieces[1])], from: 0)
            #expect(last.sent == [Self.passed: pieces] && bench.waitingFragmentCount == 0)
        }
    }

    @Test(arguments: [false, true])
    func areInvalidByThemselves(isIPv6: Bool) throws {
        let bench = try bench()
        let datagram = Datagram(isIPv6, length: 6000)
        let shortest = isIPv6 ? 1232 : 1184
        let empty = datagram.piece(1480, 0, isLast: true)
        for piece in [datagram.piece(0, shortest - 8), datagram.piece(1480, 1481), empty] {
            #expect(bench.receive(piece, from: 0).sent == [Self.invalid: [piece]])
        }
        #expect(bench.receive(datagram.piece(0, shortest), from: 0).sent.isEmpty)
        guard !isIPv6 else { return }
        var wrong = datagram.piece(1480, 1480)
        wrong[22] ^= 1
        #expect(bench.receive(wrong, from: 0).sent == [Self.invalid: [wrong]], "of a wrong header checksum")
    }

    /// Zones, ports, identifications and protocols tell datagrams apart.
    @Test func areNotPutToThoseOfOthers() throws {
        let bench = try bench([
            "table=0,priority=2,ip,dl_vlan=5,actions=ct(table=1,zone=5)",
            "table=0,priority=1,ip,actions=ct(table=1,zone=1)",
            "table=1,actions=output:4",
        ])
        let pieces = Datagram(false).pieces(1480)
        bench.receive(pieces[0], from: 0)
        let others =
            [
                (frame(.customer(5), payload: Array(pieces[1].dropFirst(14))), 0), (pieces[1], 1),
                (Datagram(false, identification: 8).pieces(1480)[1], 0), (Datagram(false, 17 ^ 4).pieces(1480)[1], 0),
            ] as [([UInt8], UInt16)]
        for (other, port) in others { #expect(bench.receive(other, from: port).sent.isEmpty) }
        #expect(bench.waitingFragmentCount == 5)
        #expect(bench.receive(pieces[1], from: 0).sent == [3: pieces])
    }

    // MARK: - Bounds

    @Test func waitFifteenSeconds() throws {
        let bench = try bench()
        let pieces = Datagram(false, length: 4000).pieces(1480)
        bench.receive(pieces[0], from: 0, now: 100)
        bench.receive(pieces[1], from: 0, now: 110)
        #expect(bench.dropLateFragments(now: 115).dropped.isEmpty)
        let outcome = bench.dropLateFragments(now: 116)
        #expect(outcome.dropped == Array(pieces[..<2]) && outcome.reasons == [Bench.Drop(.fragmentExpired, on: 0): 2])
        #expect(bench.receive(pieces[2], from: 0, now: 116).sent.isEmpty && bench.waitingFragmentCount == 1)
    }

    /// One port takes half of the room, however many it sends, and its oldest datagrams go; another one has room all the same.
    @Test func shareTheRoomFairly() throws {
        let bench = try bench()
        let half = FragmentStore.bufferLimit / 2
        var dropped: [[UInt8]] = []
        let sent = (0..<half + 40).map { Datagram(false, identification: UInt16($0)).pieces(1480)[0] }
        for piece in sent { dropped += bench.receive(piece, from: 0).dropped }
        #expect(bench.waitingFragmentCount == half && dropped == Array(sent[..<40]))
        for number in 0..<UInt16(half) {
            let piece = Datagram(false, identification: number).pieces(1480)[0]
            let outcome = bench.receive(piece, from: 3)
            #expect(outcome.dropped.isEmpty || outcome.reasons == [Bench.Drop(.fragmentRoom, on: 3): 1])
        }
        // What the first one has is not taken from it; the other one gets half of what that leaves.
        #expect(bench.waitingFragmentCount == half + half / 2)
        let pieces = Datagram(false, identification: 9999).pieces(1480)
        #expect(bench.receive(pieces.map { Frame($0) }, from: 3).sent == [Self.passed: pieces])
    }

    /// Buffers are what is bounded.
    @Test func countTheirBuffers() throws {
        let bench = try bench()
        for number in 0..<UInt16(400) {
            let piece = Datagram(false, identification: number).pieces(1480)[0]
            bench.receive([Frame(piece, segments: [200, 200, 200])], from: 0)
        }
        #expect(bench.waitingFragmentCount == FragmentStore.bufferLimit / 2 / 4)
        _ = bench.dropLateFragments(now: 200)
        #expect(bench.waitingFragmentCount == 0)
    }

    /// Pieces of many datagrams from two ports, in any order, with some that are missing.
    @Test(arguments: seeds)
    func ofWholeDatagramsAllGoOn(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let bench = try bench()
        var waiting: [(piece: [UInt8], port: UInt16)] = []
        var complete: Set<[UInt8]> = []
        for number in 0..<60 as Range<UInt16> {
            let isIPv6 = Bool.random(using: &random)
            let length = Int.random(in: 1500...9000, using: &random)
            let datagram = Datagram(isIPv6, ports: (1025 + number, 80), length: length, identification: number)
            var pieces = datagram.pieces(8 * .random(in: 155...600, using: &random))
            if Int.random(in: 0..<4, using: &random) == 0 {
                pieces.remove(at: .random(in: pieces.indices, using: &random))
            } else {
                complete.formUnion(pieces)
            }
            let port = UInt16.random(in: 0...1, using: &random) * 3
            waiting += pieces.map { ($0, port) }
        }
        waiting.shuffle(using: &random)
        var sent: [[UInt8]] = []
        for (piece, port) in waiting { sent += bench.receive(piece, from: port).sent[Self.passed] ?? [] }
        #expect(Set(sent) == complete && sent.count == complete.count, "seed \(seed)")
        let late = bench.dropLateFragments(now: 500)
        #expect(late.dropped.count + sent.count == waiting.count && bench.waitingFragmentCount == 0, "seed \(seed)")
    }
}

/// A datagram to be sent in pieces.
private struct Datagram {
    let isIPv6: Bool
    let number: UInt8
    let ports: (UInt16, UInt16)
    let identification: UInt16
    /// With the transport header, and its checksum.
    var payload: [UInt8]

    init(
        _ isIPv6: Bool,
        _ number: UInt8 = IPProtocol.udp,
        ports: (UInt16, UInt16) = (1025, 80),
        length: Int = 2000,
        identification: UInt16 = 7,
        isAnswer: Bool = false
    ) {
        (self.isIPv6, self.number, self.ports, self.identification) = (isIPv6, number, ports, identification)
        self.isAnswer = isAnswer
        payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 5) }
        let isICMP = number == IPProtocol.icmp || number == IPProtocol.icmpv6
        let head = octets(UInt64(ports.0), count: 2) + octets(UInt64(ports.1), count: 2)
        payload.replaceSubrange(0..<4, with: isICMP ? [isIPv6 ? 128 : 8, 0, 0, 0] : head)
        if number == IPProtocol.udp { payload.replaceSubrange(4..<8, with: octets(UInt64(length), count: 2) + [0, 0]) }
        if number == IPProtocol.sctp {
            payload.replaceSubrange(8..<12, with: [0, 0, 0, 0])
            let sum = ~payload.withUnsafeBytes { martlet_crc32c(~0, $0.baseAddress, UInt32($0.count)) }
            payload.replaceSubrange(8..<12, with: octets(UInt64(sum.byteSwapped), count: 4))
        } else {
            let place = isICMP ? 2 : 6
            payload.replaceSubrange(place..<place + 2, with: octets(UInt64(checksum), count: 2))
        }
    }

    private let isAnswer: Bool

    /// The same in the other direction.
    var answer: Datagram {
        Datagram(isIPv6, number, ports: (ports.1, ports.0), length: payload.count, isAnswer: true)
    }

    private var addresses: (UInt32, UInt32) { isAnswer ? (0x0a00_0002, 0x0a00_0001) : (0x0a00_0001, 0x0a00_0002) }
    private static func six(_ address: UInt32) -> IPv6Address {
        IPv6Address(value: 0x2001_0db8 << 96 | UInt128(address))
    }

    private var checksum: UInt16 {
        let (source, destination) = addresses
        var sum: InternetChecksum
        if isIPv6 {
            sum = InternetChecksum(
                source: Self.six(source),
                destination: Self.six(destination),
                protocol: number,
                length: payload.count
            )
        } else if number == IPProtocol.icmp {
            sum = InternetChecksum()
        } else {
            sum = InternetChecksum(
                source: IPv4Address(value: source),
                destination: IPv4Address(value: destination),
                protocol: number,
                length: payload.count
            )
        }
        payload.withUnsafeBytes { sum.add($0) }
        return sum.value
    }

    var whole: [UInt8] { packet(payload, nil) }

    /// All of it, `length` bytes each but for the last.
    func pieces(_ length: Int) -> [[UInt8]] {
        stride(from: 0, to: payload.count, by: length).map {
            piece($0, min(length, payload.count - $0), isLast: $0 + length >= payload.count)
        }
    }

    /// Some of it; zeros behind its end.
    func piece(_ start: Int, _ length: Int, isLast: Bool = false) -> [UInt8] {
        let padded = payload + [UInt8](repeating: 0, count: max(0, start + length - payload.count))
        return packet(
            Array(padded[start..<start + length]),
            IPv6Fragment(
                nextHeader: number,
                offset: UInt16(start),
                hasMore: !isLast,
                identification: UInt32(identification)
            )
        )
    }

    private func packet(_ part: [UInt8], _ fragment: IPv6Fragment?) -> [UInt8] {
        let (source, destination) = addresses
        guard isIPv6 else {
            var header = [UInt8](count: IPv4Header.length) {
                IPv4Header(
                    source: IPv4Address(value: source),
                    destination: IPv4Address(value: destination),
                    protocol: number,
                    payloadLength: part.count
                )
                .write(to: $0)
            }
            let place = fragment.map { $0.offset / 8 | ($0.hasMore ? 0x2000 : 0) } ?? 0
            header.replaceSubrange(
                4..<8,
                with: octets(UInt64(identification), count: 2) + octets(UInt64(place), count: 2)
            )
            header.replaceSubrange(10..<12, with: [0, 0])
            var sum = InternetChecksum()
            header.withUnsafeBytes { sum.add($0) }
            header.replaceSubrange(10..<12, with: octets(UInt64(sum.value), count: 2))
            return frame(payload: header + part)
        }
        let extensions =
            fragment.map { fragment in [UInt8](count: IPv6Fragment.length) { fragment.write(to: $0) } } ?? []
        let header = [UInt8](count: IPv6Header.length) {
            IPv6Header(
                source: Self.six(source),
                destination: Self.six(destination),
                nextHeader: fragment == nil ? number : IPProtocol.fragment,
                payloadLength: extensions.count + part.count
            )
            .write(to: $0)
        }
        return Array(frame(payload: []).prefix(12)) + [0x86, 0xdd] + header + extensions + part
    }
}
