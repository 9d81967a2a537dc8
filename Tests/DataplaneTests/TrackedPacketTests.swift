import CPacket
import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// What connection tracking reads of packets, and which of them are invalid.
@Suite struct TrackedPacketTests {
    // MARK: - Tuples

    @Test(arguments: [false, true])
    func readsAddressesAndPorts(isIPv6: Bool) throws {
        for number in [IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp] {
            let tuple = try #require(Tracked(isIPv6).transport(number).read()).tuple
            #expect(tuple.isIPv6 == isIPv6 && tuple.protocolNumber == number && tuple.zone == 0)
            #expect(tuple.sourcePort == 1025 && tuple.destinationPort == 80)
            #expect(tuple.sourceHigh == (isIPv6 ? 0x2001_0db8 << 32 : 0) && tuple.sourceLow == 0x0a00_0001)
            #expect(tuple.destinationLow == 0x0a00_0002)
            let reversed = tuple.reversed
            #expect(reversed.sourcePort == 80 && reversed.destinationPort == 1025)
            #expect(reversed.sourceLow == 0x0a00_0002 && reversed.destinationLow == 0x0a00_0001)
            #expect(reversed.reversed == tuple && reversed != tuple)
        }
    }

    @Test func takesFortyBytes() { #expect(MemoryLayout<ConnectionTuple>.size == 40) }

    @Test func tellsZonesAndPortsApart() {
        var one = ConnectionTuple(source: IPv4Address(value: 1), destination: IPv4Address(value: 2), protocol: 6)
        for change: WritableKeyPath<ConnectionTuple, UInt16> in [\.zone, \.sourcePort, \.destinationPort] {
            let before = one
            one[keyPath: change] = 0xffff
            #expect(one != before && one[keyPath: change] == 0xffff)
            one[keyPath: change] = 0
            #expect(one == before)
        }
    }

    /// Those without ports of their own.
    @Test(arguments: [(false, 47), (false, 50), (true, 47), (true, 89)] as [(Bool, UInt8)])
    func knowsOtherProtocolsByTheirAddresses(isIPv6: Bool, number: UInt8) throws {
        let packet = try #require(Tracked(isIPv6, number, [0xde, 0xad]).read())
        let tuple = packet.tuple
        #expect(tuple.protocolNumber == number && tuple.sourcePort == 0 && tuple.destinationPort == 0)
        #expect(tuple.reversed.reversed == tuple && !packet.isError)
    }

    @Test func readsASegmentsNumbers() throws {
        let options: [UInt8] = [2, 4, 5, 180, 1, 3, 3, 7]
        let tracked = Tracked.tcp(flags: 0x02, options: options, payload: [1, 2, 3])
        let tcp = try #require(tracked.read()).tcp
        #expect(tcp.sequence == 0x0102_0304 && tcp.acknowledgment == 0x0506_0708 && tcp.window == 0x1234)
        #expect(tcp.payloadLength == 3 && tcp.flags == 0x02 && tcp.windowScale == 7 && tcp.end == 0x0102_0308)
    }

    /// RFC 9293 section 3.1, 'Options': any of them may be cut short or lie about its length.
    @Test(
        arguments: [
            ([3, 3, 15, 0], 14), ([3, 3, 0, 0], 0), ([0, 3, 3, 7], nil), ([1, 3, 3, 7], 7),
            ([5, 0, 3, 3, 9, 0, 0, 0], 9),
            ([5, 200, 3, 3], nil), ([3, 3, 1, 3, 3, 2, 0, 0], 2), ([1, 1, 3, 3], nil), ([], nil),
        ] as [([UInt8], UInt8?)]
    )
    func readsTheWindowScaleOption(options: [UInt8], scale: UInt8?) throws {
        #expect(try #require(Tracked.tcp(flags: 0x12, options: options).read()).tcp.windowScale == scale)
        #expect(try #require(Tracked.tcp(flags: 0x10, options: options).read()).tcp.windowScale == nil, "without SYN")
    }

    // MARK: - Invalid

    @Test(arguments: [(false, IPProtocol.icmpv6), (true, IPProtocol.icmp)])
    func refusesICMPOfTheOtherFamily(isIPv6: Bool, number: UInt8) {
        #expect(Tracked(isIPv6, number, [128, 0, 0x7f, 0xff, 0, 0, 0, 0]).read() == nil)
    }

    @Test(arguments: [false, true])
    func refusesPortZero(isIPv6: Bool) {
        for number in [IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp] {
            for ports in [(0, 80), (1025, 0)] as [(UInt16, UInt16)] {
                #expect(Tracked(isIPv6).transport(number, ports: ports).read() == nil, "\(number)")
            }
        }
    }

    @Test func refusesFragments() {
        for fragment: UInt16 in [0x2000, 0x0001, 0x2001] {
            var frame = Tracked().transport(IPProtocol.udp).frame
            frame.replaceSubrange(20..<22, with: octets(UInt64(fragment), count: 2))
            #expect(Tracked.read(Tracked.withHeaderChecksum(frame)) == nil)
        }
        let inside = Tracked(true).transport(IPProtocol.udp).payload
        for (place, isWhole) in [(0, true), (1, false), (8, false), (9, false)] as [(UInt64, Bool)] {
            let header = [IPProtocol.udp, 0] + octets(place, count: 2) + [0, 0, 0, 9]
            let packet = Tracked(true, IPProtocol.fragment, header + inside).read()
            #expect((packet != nil) == isWhole, "the only fragment is whole (RFC 6946)")
            #expect(packet == nil || packet?.tuple.protocolNumber == IPProtocol.udp)
        }
    }

    /// Every packet with a bit turned in any of its places.
    @Test(arguments: [false, true])
    func refusesWhatItsChecksumsDoNotCover(isIPv6: Bool) {
        for number in Tracked.numbers(isIPv6) {
            let frame = Tracked(isIPv6).transport(number).frame
            // IPv6 has no checksum of its own, and SCTP's does not cover the addresses.
            let first = !isIPv6 ? 14 : number == IPProtocol.sctp ? 54 : 22
            for place in first..<frame.count {
                var wrong = frame
                wrong[place] ^= 0x40
                #expect(Tracked.read(wrong) == nil, "octet \(place) of protocol \(number)")
            }
            #expect(Tracked.read(frame) != nil)
        }
    }

    @Test(arguments: [false, true])
    func believesADriverThatCheckedTheTransport(isIPv6: Bool) {
        for number in Tracked.numbers(isIPv6) {
            var frame = Tracked(isIPv6).transport(number).frame
            frame[frame.count - 1] ^= 1
            #expect(Tracked.read(frame, isChecked: true) != nil && Tracked.read(frame) == nil)
        }
    }

    @Test func needsNoChecksumOfUDPOverIPv4() {
        for isIPv6 in [false, true] {
            var frame = Tracked(isIPv6).transport(IPProtocol.udp).frame
            let place = isIPv6 ? 60 : 40
            frame.replaceSubrange(place..<place + 2, with: [0, 0])
            #expect((Tracked.read(frame) != nil) == !isIPv6)
        }
    }

    @Test func refusesUDPLengthsBeyondThePacket() {
        for (length, isRight) in [(7, false), (8, true), (11, true), (12, false)] as [(UInt64, Bool)] {
            var frame = Tracked(false, IPProtocol.udp, [4, 1, 0, 80, 0, 11, 0, 0, 1, 2, 3]).frame
            frame.replaceSubrange(38..<40, with: octets(length, count: 2))
            #expect((Tracked.read(frame) != nil) == isRight, "length \(length)")
        }
    }

    /// All that is shorter than the packet says, and headers that the packet has no room for.
    @Test(arguments: [false, true])
    func refusesEveryTruncation(isIPv6: Bool) {
        for tracked in Tracked.samples(isIPv6) {
            for count in 0..<tracked.frame.count { #expect(Tracked.read(Array(tracked.frame.prefix(count))) == nil) }
            // What it carries is cut short, and the network header knows.
            let least = Tracked.headerLength(tracked.number)
            for count in 0..<least {
                let short = Tracked(isIPv6, tracked.number, Array(tracked.payload.prefix(count)))
                #expect(Tracked.read(short.frame, isChecked: true) == nil, "\(count) of protocol \(tracked.number)")
            }
        }
    }

    @Test(arguments: [false, true])
    func takesNoNoticeOfPadding(isIPv6: Bool) throws {
        for tracked in Tracked.samples(isIPv6) {
            let padded = try #require(Tracked.read(tracked.frame + [1, 2, 3, 4, 5, 6, 7]))
            #expect(padded.tcp.payloadLength == tracked.read()?.tcp.payloadLength)
        }
    }

    /// Wherever a packet is cut into segments, it is the same or, with a header cut, invalid.
    @Test(arguments: [false, true])
    func sumsEverySegment(isIPv6: Bool) throws {
        for tracked in Tracked.samples(isIPv6) {
            let whole = try #require(tracked.read())
            let headers = tracked.network + Tracked.headerLength(tracked.number)
            for first in 14..<tracked.frame.count {
                for second in [1, 2, 5] {
                    let packet = Tracked.read(tracked.frame, segments: [first, second])
                    #expect(packet == nil || packet?.tuple == whole.tuple)
                    #expect(packet != nil || first < max(headers, tracked.quoted), "cut at \(first)")
                }
            }
        }
    }

    // MARK: - ICMP

    @Test(
        arguments: [(8, 0, false), (0, 8, false), (13, 14, false), (15, 16, false), (128, 129, true), (129, 128, true)]
            as [(UInt8, UInt16, Bool)]
    )
    func knowsQueriesByTheirIdentifier(type: UInt8, answer: UInt16, isIPv6: Bool) throws {
        let tuple = try #require(Tracked.icmp(isIPv6, type: type, identifier: 0xbeef).read()).tuple
        #expect(tuple.isICMP && tuple.sourcePort == 0xbeef && tuple.destinationPort == type)
        #expect(tuple.reversed.sourcePort == 0xbeef && tuple.reversed.destinationPort == answer)
        #expect(tuple.reversed.reversed == tuple)
        let mayBegin = [8, 13, 15, 128].contains(type)
        #expect((ICMPState.begin(tuple) != nil) == mayBegin)
        #expect(Tracked.icmp(isIPv6, type: type, code: 1, identifier: 1).read() == nil, "a code of a query")
    }

    /// Router and neighbor discovery, multicast listeners, and what nobody knows.
    @Test func refusesICMPThatNeitherAsksNorAnswersNorQuotes() {
        let queries: [Bool: Set<UInt8>] = [false: [0, 8, 13, 14, 15, 16], true: [128, 129]]
        for isIPv6 in [false, true] {
            for type in UInt8.min...UInt8.max where !queries[isIPv6]!.contains(type) {
                #expect(Tracked.icmp(isIPv6, type: type, identifier: 7).read() == nil, "type \(type)")
            }
        }
    }

    /// RFC 792 (unreachable, quench, redirect, time exceeded, parameter problem) and RFC 4443 sections 3.1 to 3.4.
    @Test func knowsAnErrorByThePacketItQuotes() throws {
        for (isIPv6, types) in [(false, [3, 4, 5, 11, 12]), (true, [1, 2, 3, 4])] as [(Bool, [UInt8])] {
            for type in types {
                for number in Tracked.numbers(isIPv6) {
                    let sent = Tracked(isIPv6).transport(number)
                    let packet = try #require(Tracked.error(type, quoting: sent).read())
                    #expect(packet.isError)
                    #expect(packet.tuple == sent.read()?.tuple.reversed, "the tuple of an answer")
                }
            }
        }
    }

    @Test func quotesEightBytesOverIPv4AndAWholeHeaderOverIPv6() {
        for (isIPv6, number, least) in [
            (false, 6, 8), (false, 17, 8), (false, 1, 8), (false, 132, 8), (true, 6, 20), (true, 17, 8), (true, 58, 8),
            (true, 132, 12), (false, 47, 0), (true, 47, 0),
        ] as [(Bool, UInt8, Int)] {
            let sent = number == 47 ? Tracked(isIPv6, 47, [1, 2, 3]) : Tracked(isIPv6).transport(number)
            let header = sent.network - 14
            for count in 0..<header + sent.payload.count {
                let packet = Tracked.error(isIPv6 ? 1 : 3, quoting: sent, count).read()
                #expect((packet != nil) == (count >= header + least), "\(count) bytes of protocol \(number)")
            }
        }
    }

    @Test(arguments: [false, true])
    func refusesErrorsThatQuoteLies(isIPv6: Bool) {
        let (type, number): (UInt8, UInt8) = isIPv6 ? (1, 58) : (3, 1)
        let sent = Tracked(isIPv6).transport(IPProtocol.udp)
        #expect(Tracked.error(type, quoting: sent, to: 0x0a00_0009).read() == nil, "its receiver did not send it")
        #expect(Tracked.error(type, quoting: Tracked(isIPv6).transport(17, ports: (0, 9))).read() == nil, "port 0")
        let error = Tracked(isIPv6, number, Tracked.error(type, quoting: sent).payload)
        #expect(Tracked.error(type, quoting: error).read() == nil, "an error about an error")
    }

    @Test func refusesErrorsThatQuoteFragments() {
        var sent = Tracked(false).transport(IPProtocol.udp)
        sent.fragment = 0x2000
        #expect(Tracked.error(3, quoting: sent).read() == nil)
        let header: [UInt8] = [IPProtocol.udp, 0, 0, 1, 0, 0, 0, 0]
        let piece = Tracked(true, IPProtocol.fragment, header + Tracked(true).transport(17).payload)
        #expect(Tracked.error(1, quoting: piece).read() == nil)
    }

    // MARK: - Plain packets

    @Test(arguments: seeds)
    func findsPlainPacketsRightAsTheWholeReaderDoes(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var outcomes = [0, 0]
        for _ in 0..<4000 {
            let number = Bool.random(using: &random) ? IPProtocol.tcp : IPProtocol.udp
            var frame = Tracked(false).transport(number, payload: .random(in: 0...60, using: &random)).frame
            if Bool.random(using: &random) {
                frame[.random(in: 0..<frame.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            let isChecked = Bool.random(using: &random)
            let ledger = Ledger()
            let packet = ledger.make(Frame(frame))
            guard let plain = PlainPacket(packet), plain.w4 >> 48 != 0, plain.w4 >> 32 & 0xffff != 0 else { continue }
            let whole = TrackedPacket(packet, Tracked.layout(frame), isChecked: isChecked)
            let isRight = packet.isRightPlain(isTCP: plain.isTCP, isChecked: isChecked)
            #expect(isRight == (whole != nil), "seed \(seed): \(frame)")
            outcomes[isRight ? 1 : 0] += 1
            guard let whole, plain.isTCP else { continue }
            let quick = packet.plainSegment
            #expect(quick.sequence == whole.tcp.sequence && quick.payloadLength == whole.tcp.payloadLength)
        }
        #expect(outcomes.allSatisfy { $0 > 500 })
    }

    /// rte_mbuf_core.h: unknown, bad, good, none, in bits 3 and 8; those of the network header are others.
    @Test func knowsWhatADriverHasChecked() {
        let packet = Ledger().make(Frame(frame()))
        for (flags, isChecked) in [
            (0, false), (1 << 3, false), (1 << 8, true), (1 << 3 | 1 << 8, true), (1 << 7, false),
        ] as [(UInt64, Bool)] {
            packet.pointee.ol_flags = flags
            #expect(packet.hasCheckedTransport == isChecked, "flags \(flags)")
            packet.forgetChecksums()
            #expect(!packet.hasCheckedTransport)
        }
    }
}

// MARK: - States

@Suite struct DatagramStateTests {
    @Test func staysNewUntilAnAnswerComes() {
        var state = DatagramState.first
        #expect(state.timeout == .udpFirst)
        #expect(state.update(isReply: false) == (.validNew, .udpSingle))
        #expect(state.update(isReply: false) == (.validNew, .udpSingle))
        #expect(state.update(isReply: true) == (.valid, .udpMultiple))
        #expect(state.update(isReply: false) == (.valid, .udpMultiple))
    }

    @Test func answersAQuestion() {
        var state = ICMPState.first
        #expect(state.timeout == .icmpFirst)
        #expect(state.update(isReply: false) == (.validNew, .icmpFirst))
        #expect(state.update(isReply: true) == (.valid, .icmpReply))
        #expect(state.update(isReply: false) == (.valid, .icmpReply))
    }
}

// MARK: - Packets

/// An IP packet from 10.0.0.1 to 10.0.0.2, or from 2001:db8::a00:1 to 2001:db8::a00:2, and its checksums.
private struct Tracked {
    let isIPv6: Bool
    let number: UInt8
    let payload: [UInt8]
    var destination: UInt32 = 0x0a00_0002
    var source: UInt32 = 0x0a00_0001
    var fragment = IPv4Header.dontFragment
    /// Where the headers end that an error quotes; 0 for other packets.
    var quoted = 0

    init(_ isIPv6: Bool = false, _ number: UInt8 = 0, _ payload: [UInt8] = []) {
        (self.isIPv6, self.number, self.payload) = (isIPv6, number, payload)
    }

    static func numbers(_ isIPv6: Bool) -> [UInt8] {
        [IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp, isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp]
    }

    /// A packet of each kind.
    static func samples(_ isIPv6: Bool) -> [Tracked] {
        let sent = Tracked(isIPv6).transport(IPProtocol.udp)
        return numbers(isIPv6).map { Tracked(isIPv6).transport($0) } + [error(isIPv6 ? 1 : 3, quoting: sent)]
    }

    static func headerLength(_ number: UInt8) -> Int {
        switch number {
        case IPProtocol.tcp: 20
        case IPProtocol.sctp: 12
        default: 8
        }
    }

    // MARK: - Building

    /// With a header of a protocol, ICMP's an echo request, and a payload.
    func transport(_ number: UInt8, ports: (UInt16, UInt16) = (1025, 80), payload count: Int = 11) -> Tracked {
        let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + 1) }
        let head = octets(UInt64(ports.0), count: 2) + octets(UInt64(ports.1), count: 2)
        let rest: [UInt8]
        switch number {
        case IPProtocol.tcp: rest = [1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10, 0x12, 0x34, 0, 0, 0, 0]
        case IPProtocol.udp: rest = octets(UInt64(8 + count), count: 2) + [0, 0]
        case IPProtocol.sctp: rest = [9, 9, 9, 9, 0, 0, 0, 0]
        default: return Tracked.icmp(isIPv6, type: isIPv6 ? 128 : 8, identifier: 1, data)
        }
        return Tracked(isIPv6, number, head + rest + data).summed
    }

    static func tcp(flags: UInt8, options: [UInt8], payload: [UInt8] = []) -> Tracked {
        let head: [UInt8] = [4, 1, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, UInt8(5 + options.count / 4) << 4, flags, 0x12, 0x34]
        return Tracked(false, IPProtocol.tcp, head + [0, 0, 0, 0] + options + payload).summed
    }

    static func icmp(
        _ isIPv6: Bool,
        type: UInt8,
        code: UInt8 = 0,
        identifier: UInt16,
        _ data: [UInt8] = [1, 2, 3]
    ) -> Tracked {
        let head = [type, code, 0, 0] + octets(UInt64(identifier), count: 2) + [0, 1]
        return Tracked(isIPv6, isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp, head + data).summed
    }

    /// A router's message about a packet.
    /// - Parameters:
    ///   - count: how much of it is quoted, from its network header on.
    ///   - destination: who is told.
    static func error(
        _ type: UInt8,
        quoting sent: Tracked,
        _ count: Int = .max,
        to destination: UInt32 = 0x0a00_0001
    ) -> Tracked {
        let data = [type, 1, 0, 0, 0, 0, 0, 0] + sent.frame.dropFirst(14).prefix(count)
        var message = Tracked(sent.isIPv6, sent.isIPv6 ? IPProtocol.icmpv6 : IPProtocol.icmp, Array(data))
        (message.source, message.destination) = (0x0a00_00fe, destination)
        message.quoted = message.network + 8 + sent.network - 14 + headerLength(sent.number)
        return message.summed
    }

    private func with(_ payload: [UInt8]) -> Tracked {
        var other = Tracked(isIPv6, number, payload)
        (other.source, other.destination, other.fragment, other.quoted) = (source, destination, fragment, quoted)
        return other
    }

    /// With the checksum in the transport header.
    private var summed: Tracked {
        var bytes = payload
        if number == IPProtocol.sctp {
            let sum = ~bytes.withUnsafeBytes { martlet_crc32c(~0, $0.baseAddress, UInt32($0.count)) }
            bytes.replaceSubrange(8..<12, with: octets(UInt64(sum.byteSwapped), count: 4))
            return with(bytes)
        }
        var sum = InternetChecksum()
        if isIPv6 {
            sum = .init(source: source6, destination: destination6, protocol: number, length: bytes.count)
        } else if number != IPProtocol.icmp {
            let (from, to) = (IPv4Address(value: source), IPv4Address(value: destination))
            sum = .init(source: from, destination: to, protocol: number, length: bytes.count)
        }
        bytes.withUnsafeBytes { sum.add($0) }
        let place = number == IPProtocol.tcp ? 16 : number == IPProtocol.udp ? 6 : 2
        bytes.replaceSubrange(place..<place + 2, with: octets(UInt64(sum.udpValue), count: 2))
        return with(bytes)
    }

    private static func address6(_ low: UInt32) -> IPv6Address {
        IPv6Address(value: 0x2001_0db8 << 96 | UInt128(low))
    }
    private var source6: IPv6Address { Self.address6(source) }
    private var destination6: IPv6Address { Self.address6(destination) }

    /// Where the transport header begins.
    var network: Int { isIPv6 ? 54 : 34 }

    var frame: [UInt8] {
        let addresses = octets(0x0200_0000_0002) + octets(0x0200_0000_0001)
        guard isIPv6 else { return addresses + [0x08, 0x00] + header4 + payload }
        let header = IPv6Header(
            source: source6,
            destination: destination6,
            nextHeader: number,
            payloadLength: payload.count
        )
        return addresses + [0x86, 0xdd] + [UInt8](count: IPv6Header.length) { header.write(to: $0) } + payload
    }

    private var header4: [UInt8] {
        let header = IPv4Header(
            source: IPv4Address(value: source),
            destination: IPv4Address(value: destination),
            protocol: number,
            payloadLength: payload.count,
            fragment: fragment
        )
        return [UInt8](count: IPv4Header.length) { header.write(to: $0) }
    }

    /// Writes the checksum of an IPv4 header anew.
    static func withHeaderChecksum(_ frame: [UInt8]) -> [UInt8] {
        var frame = frame
        frame.replaceSubrange(24..<26, with: [0, 0])
        var sum = InternetChecksum()
        frame[14..<34].withUnsafeBytes { sum.add($0) }
        frame.replaceSubrange(24..<26, with: octets(UInt64(sum.value), count: 2))
        return frame
    }

    // MARK: - Reading

    func read() -> TrackedPacket? { Self.read(frame) }

    static func layout(_ frame: [UInt8]) -> FrameLayout {
        var layout = FrameLayout()
        _ = frame.withUnsafeBytes { FlowKey(frame: $0, length: frame.count, layout: &layout) }
        return layout
    }

    static func read(_ frame: [UInt8], segments: [Int] = [], isChecked: Bool = false) -> TrackedPacket? {
        let ledger = Ledger()
        let packet = ledger.make(Frame(frame, segments: segments))
        let tracked = TrackedPacket(packet, layout(frame), isChecked: isChecked)
        #expect(Ledger.bytes(of: packet) == frame, "it is read only")
        return tracked
    }
}
