import Testing

@testable import Dataplane

/// What a burst of several frames does: order, flooding, learning.
@Suite struct BurstTests {
    /// A frame with its number in the payload, to see the order by.
    private func numbered(_ number: Int, to destination: UInt64, from source: UInt64) -> [UInt8] {
        frame(to: destination, from: source, payload: octets(UInt64(number), count: 4) + Array(repeating: 0, count: 42))
    }

    /// Stations 0x10, 0x11, ... behind ports 1, 2, ...
    private func taught(ports: Int) -> Bench {
        let bench = Bench(ports: ports)
        for port in 1..<UInt16(ports) { bench.receive(frame(to: 2, from: 0x10 + UInt64(port)), from: port) }
        return bench
    }

    @Test func keepsTheOrderOfARun() {
        let frames = (0..<32).map { numbered($0, to: 0x11, from: 0x20) }
        let outcome = taught(ports: 4).receive(frames.map { Frame($0) }, from: 0)
        #expect(outcome.sent == [1: frames])
    }

    @Test func keepsTheOrderOfInterleavedFlowsPerPort() {
        let frames = (0..<32).map { numbered($0, to: 0x11 + UInt64($0 % 3), from: 0x20 + UInt64($0 % 2)) }
        let outcome = taught(ports: 4).receive(frames.map { Frame($0) }, from: 0)
        for port in 0..<3 {
            let expected = frames.indices.filter { $0 % 3 == port }.map { frames[$0] }
            #expect(outcome.sent[UInt16(port + 1)] == expected)
        }
    }

    @Test func keepsTheOrderWhereFloodAndUnicastMeet() {
        let frames = (0..<32).map { numbered($0, to: $0 % 2 == 0 ? 0x11 : 0xff_ff_ff_ff_ff_ff, from: 0x20) }
        let outcome = taught(ports: 3).receive(frames.map { Frame($0) }, from: 0)
        #expect(outcome.sent[1] == frames)
        #expect(outcome.sent[2] == frames.indices.filter { $0 % 2 == 1 }.map { frames[$0] })
    }

    @Test func goesOnWithARunBehindARefusedFrame() {
        let frames = [
            numbered(0, to: 0x11, from: 0x20), [], numbered(1, to: 0x11, from: 0), numbered(2, to: 0x11, from: 0x20),
        ]
        let outcome = taught(ports: 3).receive(frames.map { Frame($0) }, from: 0)
        #expect(outcome.sent == [1: [frames[0], frames[3]]])
        #expect(outcome.reasons == [.init(.runt, on: 0): 1, .init(.invalidSource, on: 0): 1])
    }

    /// Frames that differ in one field only must not be taken for a run.
    @Test func tellsFramesApartByAnyFieldOfTheirHeader() {
        let bench = Bench([.trunk(), .access(10), .access(11), .access(0)])
        let frames = [frame(.customer(10)), frame(.customer(11)), frame(), frame(.customer(10)), frame(.service(11))]
        let outcome = bench.receive(frames.map { Frame($0) }, from: 0)
        #expect(outcome.sent == [1: [frame(), frame()], 2: [frame(), frame()], 3: [frame()]])
    }

    @Test func rewritesThePriorityOfEachFrameOfABurst() {
        let bench = Bench([.access(10), .trunk()])
        let priorities: [UInt16] = [0, 5, 5, 0, 7]
        let frames = priorities.map { Frame(frame(.customer(0, priority: $0))) }
        let outcome = bench.receive(frames, from: 0)
        #expect(outcome.sent == [1: priorities.map { frame(.customer(10, priority: $0)) }])
    }

    @Test func floodsUnknownUnicastExceptIngress() {
        let outcome = Bench(ports: 5).receive(frame(), from: 2)
        #expect(outcome.sent == [0: [frame()], 1: [frame()], 3: [frame()], 4: [frame()]])
    }

    @Test func floodsToTheMembersOfTheVLANOnly() {
        let policies: [VLANPolicy] = [
            .access(10), .access(10), .access(11), .trunk(), .trunk(11), .trunk(10), .tunnel(10),
        ]
        let outcome = Bench(policies).receive(frame(), from: 0)
        #expect(outcome.sent == [1: [frame()], 3: [frame(.customer(10))], 5: [frame(.customer(10))], 6: [frame()]])
    }

    @Test func floodsABurstToEveryPort() {
        let frames = (0..<32).map { numbered($0, to: 0xff_ff_ff_ff_ff_ff, from: 0x20) }
        let outcome = Bench(ports: 200).receive(frames.map { Frame($0) }, from: 0)
        #expect(outcome.sent.count == 199)
        #expect(outcome.sent.values.allSatisfy { $0 == frames })
    }

    /// The drop list must hold a copy for every port.
    @Test func dropsABurstThatIsTooLongForEveryPort() {
        let long = Frame(frame(payload: .init(repeating: 0, count: 1501)))
        let outcome = Bench(ports: PortIndex.capacity).receive(.init(repeating: long, count: 32), from: 0)
        #expect(outcome.sent.isEmpty)
        #expect(outcome.dropped.count == 32 * (PortIndex.capacity - 1))
        #expect(outcome.reasons.count == PortIndex.capacity - 1)
        #expect(outcome.reasons.allSatisfy { $0.key.reason == .transmitTooLong && $0.value == 32 })
    }

    @Test func sendsToAStationWhereItWasSeen() {
        let bench = Bench(ports: 4)
        bench.receive(frame(to: 1, from: 2), from: 3)
        #expect(Array(bench.receive(frame(to: 2, from: 1), from: 0).sent.keys) == [3])
        // And back, since that frame taught the other one.
        #expect(Array(bench.receive(frame(to: 1, from: 2), from: 3).sent.keys) == [0])
    }

    @Test func learnsWithinABurst() {
        let bench = Bench(ports: 4)
        bench.receive([Frame(frame(to: 9, from: 2)), Frame(frame(to: 9, from: 3))], from: 3)
        #expect(Array(bench.receive(frame(to: 3, from: 1), from: 0).sent.keys) == [3])
        #expect(bench.dataplane.fdbStatistics(of: "br").learned == 3)
    }

    @Test func learnsAStationInItsVLANOnly() {
        let bench = Bench(ports: 4)
        bench.receive(frame(.customer(10), to: 1, from: 2), from: 3)
        #expect(bench.receive(frame(.customer(11), to: 2, from: 1), from: 0).sent.count == 3)
        #expect(bench.receive(frame(to: 2, from: 1), from: 0).sent.count == 3)
        #expect(Array(bench.receive(frame(.customer(10), to: 2, from: 1), from: 0).sent.keys) == [3])
    }

    @Test func followsAStationThatMovesAndCountsIt() {
        let bench = Bench(ports: 4)
        bench.receive(frame(to: 1, from: 2), from: 3)
        bench.receive(frame(to: 1, from: 2), from: 2)
        #expect(Array(bench.receive(frame(to: 2, from: 1), from: 0).sent.keys) == [2])
        let statistics = bench.dataplane.fdbStatistics(of: "br")
        #expect(statistics.moved == 1)
        #expect(statistics.learned == 2)
        #expect(statistics.entries == 2)
    }

    @Test func forgetsASilentStationAndRemembersOneThatSpeaks() {
        let bench = Bench(ports: 4)
        let now = Dataplane.now
        bench.receive(frame(to: 9, from: 2), from: 2, now: now &- 400)
        bench.receive(frame(to: 9, from: 3), from: 3, now: now &- 400)
        bench.receive(frame(to: 9, from: 3), from: 3, now: now &- 100)
        bench.dataplane.age()
        #expect(bench.receive(frame(to: 2, from: 1), from: 0, now: now).sent.count == 3)
        #expect(Array(bench.receive(frame(to: 3, from: 1), from: 0, now: now).sent.keys) == [3])
        #expect(bench.dataplane.fdbStatistics(of: "br").aged == 1)
    }

    @Test func sendsToAStaticEntryAndNeverMovesIt() throws {
        let bench = Bench(ports: 4)
        try bench.dataplane.fdbAdd(.init(value: 2), vlan: .untagged, port: .init(3), on: "br")
        bench.receive(frame(to: 9, from: 2), from: 1)
        bench.dataplane.age()
        #expect(Array(bench.receive(frame(to: 2, from: 1), from: 0).sent.keys) == [3])
        #expect(bench.dataplane.fdbStatistics(of: "br").moved == 0)
    }

    @Test func finishCountsWhatADeviceDidNotTake() {
        let dataplane = Dataplane(workerCount: 1, copy: Ledger.copy)
        dataplane.commit(.bridge([.allTagged, .allTagged]))
        let ledger = Ledger()
        var burst: [Packet?] = (0..<5).map { _ in ledger.make(Frame(frame())) }
        let lane = dataplane.lanes[0]
        lane.receive(&burst, count: 5, from: 0, now: 1)
        #expect(lane.queued(1).count == 5)
        lane.finish(1, sent: 2, bytes: 120, unsent: .transmitDown)
        #expect(lane.queued(1).count == 0)
        let counters = dataplane.counters(of: PortIndex(1))
        #expect(counters.transmittedPackets == 2)
        #expect(counters.transmittedBytes == 120)
        #expect(counters.drops[DropReason.transmitDown.rawValue] == 3)
        #expect(counters.dropped == 3)
    }
}
