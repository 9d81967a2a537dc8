import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// The table that workers share: what it finds, how much it holds, and what it gives up.
@Suite struct ConnectionTableTests {
    @Test func findsBothDirectionsInTheirZoneOnly() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        let made = try bench.create(1, zone: 7)
        let forward = try #require(bench.table.find(TableBench.tuple(1, zone: 7), now: 0))
        let reply = try #require(bench.table.find(TableBench.tuple(1, zone: 7).reversed, now: 0))
        #expect(forward.number == made.number && !forward.isReply && reply.number == made.number && reply.isReply)
        #expect(bench.table.find(TableBench.tuple(1, zone: 8), now: 0) == nil)
        #expect(bench.table.find(TableBench.tuple(2, zone: 7), now: 0) == nil)
    }

    @Test func whatTwoWorkersBeginIsOneConnection() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        let one = try bench.create(1)
        let other = try bench.create(1, share: 1)
        #expect(one.number == other.number && one.stamp == other.stamp)
        #expect(bench.table.statistics().count == 1 && bench.table.usage(of: 0).count == 1)
        let answer = try bench.create(TableBench.tuple(1).reversed, share: 1)
        #expect(answer.number == one.number && answer.isReply)
    }

    @Test func aNumberIsAnothersUnderAnotherStamp() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        let made = try bench.create(1)
        #expect(!bench.table.remove(made.number, stamp: made.stamp &+ 2, share: 0))
        let next = try #require(bench.table.restamp(made.number, made.stamp))
        #expect(bench.table.restamp(made.number, made.stamp) == nil)
        #expect(bench.table.find(TableBench.tuple(1), now: 0)?.stamp == next)
        #expect(bench.table.remove(made.number, stamp: next, share: 1))
        #expect(!bench.table.remove(made.number, share: 0) && bench.table.find(TableBench.tuple(1), now: 0) == nil)
        #expect(bench.table.statistics().count == 0 && bench.table.usage(of: 0).count == 0)
    }

    @Test func endsWhatIsSilent() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        bench.table.setTimeout(.udpFirst, seconds: 5)
        for number in 1...20 { _ = try bench.create(UInt16(number), now: 100) }
        #expect(
            bench.table.find(TableBench.tuple(1), now: 105) != nil
                && bench.table.find(TableBench.tuple(1), now: 106) == nil
        )
        // Another one may take its place before it is swept.
        let again = try bench.create(1, now: 106)
        #expect(bench.table.find(TableBench.tuple(1), now: 106)?.number == again.number)
        for share in 0..<2 { for _ in 0..<4 { bench.table.sweep(64, share: share, now: 106) } }
        #expect(bench.table.statistics().expired == 20 && bench.table.statistics().count == 1)
    }

    @Test func aZoneHasItsLimit() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        bench.table.setLimit(2, zone: 9)
        let first = try bench.create(1, zone: 9)
        _ = try bench.create(2, zone: 9)
        #expect(throws: ConnectionTable.Failure.zoneLimit) { try bench.create(3, zone: 9) }
        _ = try bench.create(3, zone: 8)
        bench.table.remove(first.number, share: 0)
        _ = try bench.create(3, zone: 9)
        #expect(bench.table.usage(of: 9) == (2, 2) && bench.table.statistics().refused == 1)
        bench.table.setLimit(0, zone: 9)
        for number in UInt16(4)...9 { _ = try bench.create(number, zone: 9) }
    }

    /// A full table gives up what nobody has answered, of the zone that has most, and nothing that was.
    @Test func givesUpHalfOpenConnectionsOnly() throws {
        let bench = TableBench(capacity: 256)
        defer { bench.table.free() }
        for number in UInt16(1)...100 {
            let made = try bench.create(number, zone: 1)
            if number % 2 == 0 { bench.assure(made) }
        }
        for number in UInt16(1)...5000 { _ = try bench.create(number, zone: 2) }
        #expect(bench.table.statistics().evicted > 4000 && bench.table.statistics().count == 256)
        let there = (UInt16(1)...100).filter { bench.table.find(TableBench.tuple($0, zone: 1), now: 0) != nil }
        #expect(there.filter { $0 % 2 == 0 }.count == 50)
        // The greater zone pays, but for chance.
        #expect(there.count > 65)
    }

    @Test func refusesWhenAllAreBetter() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        var count = UInt16(0)
        while let made = try? bench.create(count + 1) {
            bench.assure(made)
            count += 1
        }
        #expect(count >= 64)
        #expect(throws: ConnectionTable.Failure.tableFull) { try bench.create(count + 1) }
        for number in 1...count { #expect(bench.table.find(TableBench.tuple(number), now: 0) != nil) }
    }

    /// Connections of random names come and go; all that are there are found, and nothing else is.
    @Test(arguments: seeds) func findsWhatThereIs(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let bench = TableBench(capacity: 4096)
        defer { bench.table.free() }
        var there: [UInt16: UInt32] = [:]
        for _ in 0..<40_000 {
            let number = UInt16.random(in: 1...6000, using: &random)
            if let known = there[number] {
                #expect(bench.table.remove(known, share: Int.random(in: 0...1, using: &random)))
                there[number] = nil
            } else if there.count < 4000 {
                there[number] = try bench.create(number, share: Int.random(in: 0...1, using: &random)).number
            }
        }
        for number in UInt16(1)...6000 {
            let isReply = Bool.random(using: &random)
            let tuple = TableBench.tuple(number)
            #expect(bench.table.find(isReply ? tuple.reversed : tuple, now: 0)?.number == there[number])
        }
        #expect(bench.table.statistics().count == UInt64(there.count))
    }

    // MARK: - Translation

    @Test func aTranslatedConnectionIsFoundByItsAnswers() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        let tuple = TableBench.tuple(7, zone: 3)
        let reply = try #require(try bench.create(tuple, try range("src=10.0.0.9")))
        #expect(reply.destinationLow == 0x0a00_0009 && reply.destinationPort == 7 && reply.sourcePort == 53)
        let found = try #require(bench.table.find(reply, now: 0))
        #expect(found.isReply && bench.table.find(tuple, now: 0)?.number == found.number)
        #expect(bench.table.find(tuple.reversed, now: 0) == nil && bench.table.find(reply.reversed, now: 0) == nil)
        #expect(bench.table.reply(of: found.number) == reply)
        #expect(bench.table.remove(found.number, share: 1))
        #expect(bench.table.find(tuple, now: 0) == nil && bench.table.find(reply, now: 0) == nil)
        // Nothing is left in its places.
        _ = try bench.create(reply.reversed, share: 0)
        #expect(bench.table.find(reply, now: 0)?.isReply == true)
    }

    @Test(arguments: ["src=10.0.0.9:100-199", "dst=10.0.0.9:100-199", "src=10.0.0.9:100-199,random"])
    func givesEachConnectionPortsOfItsOwnUntilThereIsNone(text: String) throws {
        let bench = TableBench(capacity: 1024)
        defer { bench.table.free() }
        let range = try range(text)
        let isSource = text.hasPrefix("src")
        var replies: [UInt16] = []
        for number in UInt16(1)...100 {
            // To one port, from many hosts with one port; or the other way round.
            let reply = try #require(try bench.create(TableBench.with(isSource, UInt64(number)), range))
            replies.append(isSource ? reply.destinationPort : reply.sourcePort)
        }
        #expect(replies.sorted() == Array(100...199))
        let late = TableBench.with(isSource, 101)
        // A destination's ports being taken, the source gets another one.
        let other = try bench.create(late, range)
        #expect((other == nil) == isSource)
        guard isSource else { return }
        let former = try #require(bench.table.find(TableBench.with(isSource, 50), now: 0))
        #expect(bench.table.remove(former.number, share: 0))
        let next = try #require(try bench.create(late, range))
        #expect((100...199).contains(next.destinationPort))
    }

    @Test(arguments: [(80, 1...511), (700, 600...1023), (40000, 1024...65535)] as [(UInt16, ClosedRange<UInt16>)])
    func aSourceKeepsItsPortOrGetsOneOfItsKind(port: UInt16, kind: ClosedRange<UInt16>) throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        for host in UInt64(1)...20 {
            var tuple = TableBench.tuple(port)
            tuple.sourceLow = host
            let reply = try #require(try bench.create(tuple, try range("src=10.0.0.9")))
            #expect(host == 1 ? reply.destinationPort == port : kind.contains(reply.destinationPort))
        }
    }

    @Test func aQueryGetsAnotherIdentifier() throws {
        let bench = TableBench(capacity: 64)
        defer { bench.table.free() }
        var identifiers: Set<UInt16> = []
        for host in UInt64(1)...20 {
            var tuple = TableBench.query(identifier: 7)
            tuple.sourceLow = host
            let reply = try #require(try bench.create(tuple, try range("src=10.0.0.9")))
            #expect(reply.destinationPort == 0 && bench.table.find(reply, now: 0)?.isReply == true)
            identifiers.insert(reply.sourcePort)
        }
        #expect(identifiers.count == 20 && identifiers.contains(7))
    }

    @Test func aHostKeepsItsAddressInAPersistentRange() throws {
        let bench = TableBench(capacity: 1024)
        defer { bench.table.free() }
        var addresses: [Bool: Set<UInt64>] = [:]
        for isPersistent in [false, true] {
            let range = try range("src=10.0.0.0-10.0.0.255" + (isPersistent ? ",persistent" : ""))
            for number in UInt16(1)...50 {
                var tuple = TableBench.tuple(number)
                tuple.zone = isPersistent ? 1 : 0
                addresses[isPersistent, default: []].insert(try #require(try bench.create(tuple, range)).destinationLow)
            }
        }
        #expect(addresses[true]?.count == 1 && addresses[false, default: []].count > 20)
    }

    private func range(_ text: String) throws -> TranslationRange {
        let flow = try FlowText.flow("ip,actions=ct(commit,nat(\(text)))")
        guard case .conntrack(let conntrack) = flow.actions[0] else { throw Refusal("no ct") }
        let range = TranslationRange(try #require(conntrack.nat))
        // As it is in instructions and steps.
        let copy = TranslationRange { range.pair($0) }
        #expect(copy == range)
        return range
    }
}

/// A table for two workers and the control plane.
private struct TableBench {
    let table: ConnectionTable

    init(capacity: Int) { table = ConnectionTable(capacity: capacity, shareCount: 3) }

    static var state: ConnectionState { ConnectionState(.datagram, .udpFirst) }

    /// From a host, or to one.
    static func with(_ isSource: Bool, _ host: UInt64) -> ConnectionTuple {
        var tuple = tuple(7)
        if isSource { tuple.sourceLow = host } else { tuple.destinationLow = host }
        return tuple
    }

    static func query(identifier: UInt16) -> ConnectionTuple {
        var tuple = ConnectionTuple(
            source: IPv4Address(value: 1),
            destination: IPv4Address(value: 2),
            protocol: IPProtocol.icmp
        )
        (tuple.sourcePort, tuple.destinationPort) = (identifier, 8)
        return tuple
    }

    static func tuple(_ port: UInt16, zone: UInt16 = 0) -> ConnectionTuple {
        var tuple = ConnectionTuple(
            source: IPv4Address(value: 1),
            destination: IPv4Address(value: 2),
            protocol: IPProtocol.udp
        )
        (tuple.sourcePort, tuple.destinationPort, tuple.zone) = (port, 53, zone)
        return tuple
    }

    func create(_ port: UInt16, zone: UInt16 = 0, share: Int = 0, now: UInt32 = 0) throws -> ConnectionTable.Found {
        try create(Self.tuple(port, zone: zone), share: share, now: now)
    }

    func create(_ tuple: ConnectionTuple, share: Int, now: UInt32 = 0) throws -> ConnectionTable.Found {
        try table.create(tuple, .none, reply: tuple.reversed, Self.state, nil, share: share, now: now).get()
    }

    /// With what the table chooses; nil when it finds nothing.
    func create(_ tuple: ConnectionTuple, _ range: TranslationRange, now: UInt32 = 0) throws -> ConnectionTuple? {
        guard let reply = table.choose(range, tuple, share: 0, now: now) else { return nil }
        _ = try table.create(tuple, range.translation, reply: reply, Self.state, nil, share: 0, now: now).get()
        return reply
    }

    /// As if it had been answered.
    func assure(_ found: ConnectionTable.Found) {
        var state = Self.state
        state.isAssured = true
        table[found.number].pointee.lock()
        table[found.number].pointee.unlock(state)
    }
}
