import Testing

@testable import Dataplane

/// What the switch does not forward, and under which name it counts it.
@Suite struct RefusedFrameTests {
    struct Row: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let bytes: [UInt8]
        var segments: [Int] = []
        /// nil: the frame is sent.
        let reason: DropReason?

        init(_ name: String, _ bytes: [UInt8], segments: [Int] = [], _ reason: DropReason?) {
            testDescription = name
            self.bytes = bytes
            self.segments = segments
            self.reason = reason
        }
    }

    static let tagged = frame(.customer(10))

    static let lengths: [Row] = [
        .init("no byte", [], .runt),
        .init("one byte", [2], .runt),
        .init("13 bytes", Array(frame().prefix(13)), .runt),
        .init("13 bytes in two segments", Array(frame().prefix(13)), segments: [6], .runt),
        .init("a header and nothing else", Array(frame().prefix(14)), nil),
        .init("15 bytes", Array(frame().prefix(15)), nil),
        .init("a TPID and nothing else", Array(tagged.prefix(14)), .truncatedTag),
        .init("half a TCI", Array(tagged.prefix(15)), .truncatedTag),
        .init("a TCI and no type", Array(tagged.prefix(16)), .truncatedTag),
        .init("half a type", Array(tagged.prefix(17)), .truncatedTag),
        .init("a whole tag and nothing else", Array(tagged.prefix(18)), nil),
        .init("a truncated service tag", Array(frame(.service(10)).prefix(17)), .truncatedTag),
        .init("a truncated tag in two segments", Array(tagged.prefix(17)), segments: [15], .truncatedTag),
        .init("header in two segments", frame(), segments: [13], .scatteredHeader),
        .init("header in many segments", frame(), segments: [1, 1, 1, 1], .scatteredHeader),
        .init("first segment empty", frame(), segments: [0], .scatteredHeader),
        .init("tag in the second segment", tagged, segments: [14], .scatteredHeader),
        .init("half a tag in the second segment", tagged, segments: [16], .scatteredHeader),
        .init("half a type in the second segment", tagged, segments: [17], .scatteredHeader),
        .init("payload in the second segment", frame(), segments: [14], nil),
        .init("payload in three segments", tagged, segments: [18, 1], nil),
    ]

    static let addresses: [Row] = [
        .init("source is a group", frame(from: 0x03_00_00_00_00_01), .invalidSource),
        .init("source is broadcast", frame(from: 0xff_ff_ff_ff_ff_ff), .invalidSource),
        .init("source is zero", frame(from: 0), .invalidSource),
        .init("spanning tree", frame(to: 0x01_80_c2_00_00_00), .reservedAddress),
        .init("LLDP, tagged", frame(.customer(10), to: 0x01_80_c2_00_00_0e), .reservedAddress),
        .init("the last reserved one", frame(to: 0x01_80_c2_00_00_0f), .reservedAddress),
        .init("the first after them", frame(to: 0x01_80_c2_00_00_10), nil),
        .init("broadcast", frame(to: 0xff_ff_ff_ff_ff_ff), nil),
    ]

    @Test(arguments: lengths + addresses)
    func countsWhatItRefusesByName(row: Row) {
        let outcome = Bench(ports: 2).receive([Frame(row.bytes, segments: row.segments)], from: 0)
        #expect(outcome.sent == (row.reason == nil ? [1: [row.bytes]] : [:]))
        #expect(outcome.reasons == (row.reason.map { [.init($0, on: 0): 1] } ?? [:]))
    }

    @Test(arguments: [0x01_80_c2_00_00_00, 0x01_80_c2_00_00_02, 0x01_80_c2_00_00_0f] as [UInt64])
    func relaysReservedAddressesIfTheBridgeSaysSo(address: UInt64) {
        var settings = BridgeSettings()
        settings.forwardsReserved = true
        let outcome = Bench(ports: 2, settings: settings).receive(frame(to: address), from: 0)
        #expect(outcome.sent == [1: [frame(to: address)]])
    }

    @Test func learnsNothingFromARefusedFrame() {
        let bench = Bench([.access(10), .access(10)])
        bench.receive(frame(.customer(10)), from: 0)
        bench.receive(frame(from: 0), from: 0)
        bench.receive(frame(to: 0x01_80_c2_00_00_00), from: 0)
        #expect(bench.dataplane.fdb(of: "br").isEmpty)
    }

    @Test func dropsFramesOfAPortWithoutABridge() {
        let outcome = Bench(ports: 2).receive([Frame(frame()), Frame([])], from: 7)
        #expect(outcome.sent.isEmpty)
        #expect(outcome.reasons == [.init(.noBridge, on: 7): 2])
    }

    @Test func dropsFramesOfAPortWhoseBridgeDoesNotExist() {
        var configuration = SwitchConfiguration.bridge([.allTagged])
        configuration.bridges = []
        #expect(Bench(configuration).receive(frame(), from: 0).reasons == [.init(.noBridge, on: 0): 1])
    }

    @Test func dropsFramesWithNoOtherPort() {
        #expect(Bench(ports: 1).receive(frame(), from: 0).reasons == [.init(.noOtherPort, on: 0): 1])
    }

    @Test func dropsFramesForAStationBehindTheSamePort() {
        let bench = Bench(ports: 3)
        bench.receive(frame(from: 2), from: 0)
        let outcome = bench.receive([Frame(frame(to: 2)), Frame(frame(to: 2))], from: 0)
        #expect(outcome.sent.isEmpty)
        #expect(outcome.reasons == [.init(.samePort, on: 0): 2])
    }

    @Test(arguments: [(1514, true), (1515, false)])
    func sendsFramesUpToThePortsLength(length: Int, isSent: Bool) {
        let long = frame(payload: .init(repeating: 1, count: length - 14))
        let outcome = Bench(ports: 2).receive(long, from: 0)
        #expect(outcome.sent == (isSent ? [1: [long]] : [:]))
        #expect(outcome.reasons == (isSent ? [:] : [.init(.transmitTooLong, on: 1): 1]))
    }

    @Test(arguments: [(1500, true), (1501, false)], [[VLANPolicy.allTagged], [.access(10)]])
    func doesNotCountTheTagInAFramesLength(payload: (Int, Bool), egress: [VLANPolicy]) {
        let (length, isSent) = payload
        let long = frame(.customer(10), payload: .init(repeating: 1, count: length))
        let outcome = Bench([.allTagged] + egress).receive(long, from: 0)
        #expect((outcome.sent[1]?.count ?? 0) == (isSent ? 1 : 0))
        #expect(outcome.reasons == (isSent ? [:] : [.init(.transmitTooLong, on: 1): 1]))
    }

    @Test(arguments: [(3, false), (4, true)])
    func pushesATagIntoTheHeadroomThereIs(headroom: Int, isSent: Bool) {
        let outcome = Bench([.access(10), .trunk()]).receive([Frame(frame(), headroom: headroom)], from: 0)
        #expect(outcome.sent == (isSent ? [1: [frame(.customer(10))]] : [:]))
        #expect(outcome.reasons == (isSent ? [:] : [.init(.noHeadroom, on: 1): 1]))
    }

    @Test func pushesAndPopsTagsOfScatteredFrames() {
        let push = Bench([.access(10), .trunk()]).receive([Frame(frame(), segments: [14, 3])], from: 0)
        #expect(push.sent == [1: [frame(.customer(10))]])
        let pop = Bench([.trunk(), .access(10)]).receive([Frame(frame(.customer(10)), segments: [18, 3])], from: 0)
        #expect(pop.sent == [1: [frame()]])
    }

    @Test(arguments: 0...3)
    func countsCopiesThatFoundNoBuffer(copies: Int) {
        let bench = Bench(ports: 4)
        bench.copiesLeft = copies
        let outcome = bench.receive(frame(), from: 0)
        // The last port gets the frame itself.
        #expect(Set(outcome.sent.keys) == Set([1, 2].prefix(copies) + [3]))
        let missing = [1, 2].dropFirst(copies).map { (Bench.Drop(.noBuffer, on: $0), UInt64(1)) }
        #expect(outcome.reasons == Dictionary(uniqueKeysWithValues: missing))
    }
}
