import Flows
import Testing
import Wire

@testable import Dataplane

/// What helpers hear, and how long it is remembered.
@Suite struct TrackHelperTests {
    private static let client = ConnectionTuple(
        source: IPv4Address(value: 0x84eb_0102),
        destination: IPv4Address(value: 0x0a00_0002),
        protocol: IPProtocol.tcp
    )
    /// 1080::8:800:200C:417A.
    private static let client6 = ConnectionTuple(
        source: IPv6Address(value: 0x1080_0000_0000_0000_0008_0800_200c_417a),
        destination: IPv6Address(value: 1),
        protocol: IPProtocol.tcp
    )

    private func heard(_ line: String, isReply: Bool, from sender: ConnectionTuple) -> FTPAnnouncement {
        Array(line.utf8).withUnsafeBytes { FTPAnnouncement($0, isReply: isReply, from: sender) }
    }

    // MARK: - FTP

    /// Those of RFC 2428 sections 2 and 3, and what servers and clients write.
    @Test(arguments: [
        ("EPRT |1|132.235.1.2|6275|\r\n", false, 6275), ("eprt +1+132.235.1.2+6275+\r\n", false, 6275),
        ("229 Entering Extended Passive Mode (|||6446|)\r\n", true, 6446),
        ("PORT 132,235,1,2,24,131\r\n", false, 6275), ("Port  132,235,1,2,24,131\n", false, 6275),
        ("227 Entering Passive Mode (132,235,1,2,255,255).\r\n", true, 65535),
        ("227 =132,235,1,2,0,21\r\n", true, 21),
    ])
    func hearsWhereASenderWaits(line: String, isReply: Bool, port: UInt16) {
        #expect(heard(line, isReply: isReply, from: Self.client) == .port(port))
        // A part of it says less, and nothing else.
        for length in 0..<line.utf8.count {
            let part = heard(String(line.prefix(length)), isReply: isReply, from: Self.client)
            #expect(part == .nothing || part == .invalid || part == .port(port), "\(line.prefix(length))")
        }
    }

    @Test func hearsAnIPv6Address() {
        let line = "EPRT |2|1080::8:800:200C:417A|5282|\r\n"
        #expect(heard(line, isReply: false, from: Self.client6) == .port(5282))
        #expect(heard("229 ok (|||5282|)\r\n", isReply: true, from: Self.client6) == .port(5282))
        #expect(heard("PORT 132,235,1,2,24,131\r\n", isReply: false, from: Self.client6) == .nothing)
        #expect(heard(line, isReply: false, from: Self.client) == .invalid)
    }

    @Test(arguments: [
        "PORT 132,235,1,3,24,131\r\n", "PORT 132,235,1,24,131\r\n", "PORT 132,235,1,2,256,131\r\n",
        "PORT 132,235,1,2,24,256\r\n", "PORT 132,235,1,2,0,0\r\n", "PORT 132.235.1.2,24,131\r\n", "PORT\r\n",
        "PORT x\r\n",
        "PORT 99999999999999999999,235,1,2,24,131\r\n", "PORT 132,235,1,2,24,13",
        "EPRT |1|132.235.1.3|6275|\r\n", "EPRT |3|132.235.1.2|6275|\r\n", "EPRT |1|132.235.1.2|65536|\r\n",
        "EPRT |1|132.235.1.2|0|\r\n", "EPRT |1|132.235.1.2 |6275|\r\n", "EPRT |1|132.235.1.2|\r\n", "EPRT ", "EPRT |",
        "EPRT |1|1111111111111111111111111111111111111111111111111111|9|\r\n",
    ])
    func refusesWhatNobodyMayAnnounce(line: String) {
        #expect(heard(line, isReply: false, from: Self.client) == .invalid)
    }

    @Test(arguments: [
        "USER x\r\n", "", "POR", "227 Entering Passive Mode (132,235,1,2,24,131)\r\n", "229 (|||6446|)\r\n",
    ])
    func hearsNothingElseOfAClient(line: String) {
        #expect(heard(line, isReply: false, from: Self.client) == .nothing)
    }

    // MARK: - Expectations

    private let table = ExpectationTable()

    private func tuple(zone: UInt16, _ port: UInt16) -> ConnectionTuple {
        var tuple = Self.client
        (tuple.zone, tuple.sourcePort, tuple.destinationPort) = (zone, 20, port)
        return tuple
    }

    private func add(zone: UInt16, _ port: UInt16, hash: UInt64, number: UInt32 = 7) {
        let parent = ExpectationTable.Parent(tuple: Self.client6, mark: UInt32(port), label: 1 << 100)
        table.add(tuple(zone: zone, port), hash: hash, from: number, parent)
    }

    @Test func knowsWhatWasAnnouncedUntilItsConnectionIsOver() {
        defer { table.free() }
        add(zone: 1, 80, hash: 0)
        add(zone: 1, 80, hash: 0, number: 8)
        add(zone: 1, 81, hash: 0, number: 8)
        var packet = tuple(zone: 1, 80)
        packet.sourcePort = 999
        #expect(table.count == 2 && table.find(packet, hash: 0)?.mark == 80)
        #expect(table.find(packet, hash: 0)?.tuple == Self.client6 && table.find(packet, hash: 0)?.label == 1 << 100)
        #expect(table.find(tuple(zone: 2, 80), hash: 0) == nil && table.find(tuple(zone: 1, 82), hash: 0) == nil)
        table.remove(of: 7)
        #expect(table.find(packet, hash: 0) == nil && table.find(tuple(zone: 1, 81), hash: 0) != nil)
        table.remove(of: 8)
        #expect(table.count == 0)
    }

    /// However much one announces, the others' is heard.
    @Test func givesNoZoneMoreThanItsPart() {
        defer { table.free() }
        for port in UInt16(1)...5000 { add(zone: 1, port, hash: UInt64(port) << 32) }
        #expect(table.count == ExpectationTable.zoneLimit)
        for zone in UInt16(2)...4 {
            for port in UInt16(1)...5000 { add(zone: zone, port, hash: UInt64(port) << 32) }
            #expect(table.count == ExpectationTable.zoneLimit * Int(zone))
        }
        // The newest of a zone is there, in the place of an old one.
        add(zone: 1, 6000, hash: 5 << 32)
        #expect(table.find(tuple(zone: 1, 6000), hash: 5 << 32) != nil)
        #expect(table.count == ExpectationTable.capacity)
        // A new zone takes the place of the oldest there is.
        add(zone: 5, 1, hash: 9 << 32)
        #expect(table.find(tuple(zone: 5, 1), hash: 9 << 32) != nil && table.count == ExpectationTable.capacity)
    }
}
