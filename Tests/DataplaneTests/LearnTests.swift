import Flows
import Foundation
import Synchronization
import Testing
import Wire

@testable import Dataplane

/// Flows that packets teach, and those whose timeouts they shorten.
@Suite struct LearnTests {
    /// Golden/learned.txt is what a real ovs-vswitchd has after each packet.
    @Test func learnsWhatOpenVSwitchLearns() throws {
        let cases = try LearnedCase.all()
        try #require(cases.count > 100)
        for golden in cases {
            let bench = LearnBench()
            try bench.replaceFlows(golden.flows)
            for packet in golden.packets {
                let before = bench.lines
                bench.walk(try FlowText.packet(packet.text))
                let after = bench.lines
                let place = "\(golden.flows)\n\(packet.text)"
                try #require(after.subtracting(before) == packet.added, "\(place)")
                try #require(before.subtracting(after) == packet.gone, "\(place)")
            }
        }
    }

    @Test func sendsTheAnswerWhereThePacketCameFrom() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations)
        #expect(bench.receive(station: 1, to: 2, from: 1).sent.count == 3, "flooded, as nobody knows it")
        bench.learn()
        #expect(Array(bench.receive(station: 2, to: 1, from: 2).sent.keys) == [1])
        bench.learn()
        #expect(Array(bench.receive(station: 1, to: 2, from: 1).sent.keys) == [2])
    }

    @Test func followsAStationThatMoves() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations)
        bench.receive(station: 1, to: 9, from: 1)
        bench.learn()
        bench.receive(station: 2, to: 1, from: 0)
        bench.receive(station: 2, to: 1, from: 0)
        bench.bench.maintain()
        bench.time = 105_000
        bench.receive(station: 1, to: 9, from: 3)
        bench.learn()
        #expect(Array(bench.receive(station: 2, to: 1, from: 0).sent.keys) == [3])
        bench.bench.maintain()
        let learned = try #require(bench.learned.first { $0.flow.actions.last == .output(FlowPort(rawValue: 4)) })
        #expect(learned.statistics.packetCount == 3, "it goes on counting")
        #expect(learned.statistics.durationMilliseconds == 5000 && learned.statistics.hardAge == 0)
        #expect(bench.dataplane.learnStatistics.changed == 1)
    }

    @Test func isLearnedAgainByPacketsOfTheCacheWithoutANewVersion() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations)
        bench.receive(station: 1, to: 9, from: 1)
        bench.learn()
        let version = bench.dataplane.readers.versions.current
        let misses = bench.dataplane.cacheStatistics.misses
        for second in 1...400 {
            bench.time = 100_000 + UInt64(second) * 1000
            // The walk of the first of them visits the table that has changed.
            for _ in 0..<3 { bench.receive(station: 1, to: 9, from: 1) }
            bench.learn()
            #expect(bench.dataplane.expireFlows().isEmpty, "its hard_timeout of 300 seconds begins anew")
        }
        #expect(bench.dataplane.readers.versions.current == version)
        #expect(bench.dataplane.cacheStatistics.misses == misses + 1)
        #expect(bench.learned.map(\.statistics.hardAge) == [0])
        bench.time += 300_000
        #expect(bench.dataplane.expireFlows().map(\.reason) == [.hard])
        #expect(bench.learned.isEmpty)
    }

    @Test func tellsOncePerProgramAndSecond() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations)
        for _ in 0..<100 { bench.receive(station: 1, to: 9, from: 1) }
        #expect(bench.takeMessages() == 1)
        bench.time += 1000
        for _ in 0..<100 { bench.receive(station: 1, to: 9, from: 1) }
        #expect(bench.takeMessages() == 1)
        for _ in 0..<100 { bench.receive(station: 2, to: 9, from: 1) }
        #expect(bench.takeMessages() == 1, "another station is another program")
    }

    @Test func idleTimeoutCountsPacketsOfTheLearnedFlow() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations.map { $0.replacing("hard_timeout=300", with: "idle_timeout=10") })
        bench.receive(station: 1, to: 9, from: 1)
        bench.learn()
        for second in 1...30 {
            bench.time = 100_000 + UInt64(second) * 1000
            bench.receive(station: 2, to: 1, from: 2)
            bench.bench.maintain(now: UInt32(bench.time / 1000))
            _ = bench.dataplane.expireFlows()
        }
        #expect(bench.learned.map(\.statistics.idleAge) == [0])
        // To be learned again is no use of it.
        for second in 31...41 {
            bench.time = 100_000 + UInt64(second) * 1000
            bench.receive(station: 1, to: 9, from: 1)
            bench.dataplane.learnFlows()
        }
        let expired = bench.dataplane.expireFlows().filter { $0.flow.flow.goes(to: 1) }
        #expect(expired.map(\.reason) == [.idle])
    }

    @Test func aFloodOfSourcesStaysWithinBounds() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations)
        let tables = try #require(bench.dataplane.bridges["br"]?.tables)
        tables.learns.capacity = 64
        bench.receive(station: 1, to: 9, from: 1)
        bench.learn()
        for number in 0..<5000 {
            bench.time += 50
            bench.receive(station: UInt64(1000 + number), to: 9, from: 2)
            if number % 20 == 0 {
                // One that still speaks, a second later.
                bench.receive(station: 1, to: 9, from: 1)
                bench.learn()
                #expect(bench.learned.count <= 64)
            }
        }
        let speaker = bench.learned.first { $0.flow.goes(to: 1) }
        #expect(speaker?.statistics.durationMilliseconds == bench.time - 100_000, "it never had to make room")
        #expect(bench.learned.contains { $0.flow.goes(to: 5970) }, "nor did those of the last second")
        let statistics = bench.dataplane.learnStatistics
        #expect(Int(statistics.added - statistics.evicted) == bench.learned.count)
        #expect(tables.installed.count == bench.learned.count + 2)
    }

    @Test func aFullRingLosesMessagesUntilTheyAreToldAgain() throws {
        let bench = LearnBench()
        // Programs that are good whatever is learned.
        try bench.replaceFlows([LearnBench.stations[0].replacing(",resubmit(,20)", with: "")])
        let count = FlowMessageRing.capacity + 10
        for number in 0..<count { bench.receive(station: UInt64(number), to: 0x7000, from: 1) }
        #expect(bench.dataplane.learnStatistics.lost == 10)
        bench.learn()
        #expect(bench.learned.count == FlowMessageRing.capacity)
        for number in 0..<count {
            bench.receive(station: UInt64(number), to: 0x7000, from: 1)
            bench.learn()
        }
        #expect(bench.learned.count == count)
    }

    @Test func limitRefusesFurtherFlows() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations.map { $0.replacing("cookie=0x7", with: "cookie=0x7,limit=3") })
        for number in 1...5 {
            bench.receive(station: UInt64(number), to: 9, from: 1)
            bench.learn()
        }
        #expect(bench.learned.count == 3)
        #expect(bench.dataplane.learnStatistics.refused == 2)
        try bench.dataplane.changeFlows(of: "br", removing: [bench.learned[0].number])
        bench.receive(station: 6, to: 9, from: 1)
        bench.learn()
        #expect(bench.learned.count == 3, "there was room for one")
    }

    @Test func aStationDoesNotMoveWhenTheLimitIsReached() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations.map { $0.replacing("cookie=0x7", with: "cookie=0x7,limit=1") })
        bench.receive(station: 1, to: 9, from: 1)
        bench.learn()
        bench.time += 1000
        bench.receive(station: 1, to: 9, from: 1)
        bench.receive(station: 1, to: 9, from: 3)
        bench.learn()
        #expect(Array(bench.receive(station: 2, to: 1, from: 0).sent.keys) == [1], "as in Open vSwitch")
        #expect(bench.dataplane.learnStatistics.refused == 1, "to learn it as it is refuses nothing")
    }

    @Test func deleteLearnedTakesThemAlongWithTheLastFlowThatTaught() throws {
        let bench = LearnBench()
        let teacher = LearnBench.stations[0].replacing("cookie=0x7", with: "cookie=0x7,delete_learned")
        try bench.replaceFlows([teacher, "priority=9,in_port=4," + teacher, LearnBench.stations[1]])
        for number in 1...5 { bench.receive(station: UInt64(number), to: 9, from: 1) }
        bench.learn()
        try bench.dataplane.changeFlows(of: "br", adding: [FlowText.flow("table=20,cookie=0x8,in_port=2,actions=drop")])
        let teachers = bench.dataplane.flows(of: "br").filter { $0.flow.table == 0 }.map(\.number)
        #expect(bench.dataplane.learnedFlows(goingWith: [teachers[0]], on: "br").isEmpty, "the other one is left")
        try bench.dataplane.changeFlows(of: "br", removing: [teachers[0]])
        #expect(bench.learned.count == 5)
        // What a flow is replaced by may have the action too.
        let same = try #require(bench.dataplane.flows(of: "br").first { $0.number == teachers[1] }).flow
        #expect(bench.dataplane.learnedFlows(goingWith: [], adding: [same], on: "br").isEmpty)
        var other = same
        other.actions = []
        #expect(bench.dataplane.learnedFlows(goingWith: [], adding: [other], on: "br").count == 5)
        bench.receive(station: 6, to: 9, from: 3)
        #expect(bench.dataplane.hasFlowsToLearn)
        try bench.dataplane.changeFlows(of: "br", adding: [other])
        bench.learn()
        #expect(bench.learned.isEmpty, "nor what was on the way")
        #expect(bench.dataplane.flows(of: "br").count == 3)
    }

    @Test func withoutDeleteLearnedTheyStay() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations)
        bench.receive(station: 1, to: 9, from: 1)
        bench.learn()
        let teacher = try #require(bench.dataplane.flows(of: "br").first { $0.flow.table == 0 })
        try bench.dataplane.changeFlows(of: "br", removing: [teacher.number])
        #expect(bench.learned.count == 1)
    }

    @Test func theEndOfAConnectionShortensTimeouts() throws {
        let bench = LearnBench()
        try bench.replaceFlows(["tcp,hard_timeout=100,actions=fin_timeout(idle_timeout=5,hard_timeout=200),output:2"])
        for flags in [UInt8(0x02), 0x10, 0x18] { bench.receive(tcp: flags) }
        bench.learn()
        #expect(bench.timeouts == [0, 100])
        bench.receive(tcp: 0x11)
        bench.learn()
        #expect(bench.timeouts == [5, 100])
        bench.receive(tcp: 0x10)
        #expect(bench.takeMessages() == 0, "packets that end nothing have a program of their own")
        bench.bench.maintain()
        bench.time += 4000
        #expect(bench.dataplane.expireFlows().isEmpty)
        bench.time += 1000
        #expect(bench.dataplane.expireFlows().map(\.reason) == [.idle])
    }

    @Test func messagesOfAFlowThatWasReplacedSayNothingOfItsSuccessor() throws {
        let bench = LearnBench()
        try bench.replaceFlows(["tcp,actions=fin_timeout(idle_timeout=5),output:2"])
        bench.receive(tcp: 0x11)
        try bench.replaceFlows([])
        try bench.replaceFlows(["tcp,actions=fin_timeout(idle_timeout=6),output:2"])
        bench.learn()
        #expect(bench.timeouts == [0, 0])
        bench.receive(tcp: 0x11)
        bench.learn()
        #expect(bench.timeouts == [6, 0])
        bench.bench.maintain()
        bench.time += 6000
        #expect(bench.dataplane.expireFlows().map(\.reason) == [.idle], "it had no timeout before")
    }

    @Test func tracesSayWhatWouldBeLearnedAndLearnNothing() throws {
        let bench = LearnBench()
        try bench.replaceFlows(LearnBench.stations)
        let trace = bench.dataplane.trace(frame: bench.frame(1, to: 9), length: 60, from: 2, on: "br")
        let notes = trace.steps.compactMap { step in
            if case .note(.learns(let flow)) = step.event { FlowText.print(flow) } else { nil }
        }
        #expect(
            notes == [
                "cookie=0x7, table=20, hard_timeout=300, priority=1,vlan_tci=0x0000/0x0fff,dl_dst=02:00:00:00:00:01 "
                    + "actions=load:0->NXM_OF_VLAN_TCI[],output:2"
            ]
        )
        #expect(!bench.dataplane.hasFlowsToLearn)
        try bench.replaceFlows(["tcp,actions=fin_timeout(idle_timeout=5),output:2"])
        let end = bench.dataplane.trace(try FlowText.packet("in_port=1,tcp,tcp_flags=0x001"), on: "br")
        #expect(end.steps.contains { if case .note(.finishes(idle: 5, hard: 0)) = $0.event { true } else { false } })
        #expect(!bench.dataplane.hasFlowsToLearn)
    }

    @Test(arguments: [
        ("learn(table=1,result_dst=NXM_NX_REG0[0])", "result_dst"),
        ("learn(table=1," + Array(repeating: "NXM_NX_XXREG0[]", count: 9).joined(separator: ",") + ")", "16 words"),
    ])
    func refusesWhatItCannotLearn(action: String, reason: String) throws {
        let bench = LearnBench()
        let flow = try FlowText.flow("actions=\(action)")
        let refusal = try #require(throws: Refusal.self) { try bench.dataplane.changeFlows(of: "br", adding: [flow]) }
        #expect(refusal.reason.contains(reason))
    }

    /// Numbers of flows and of learn actions, and memory, are given back.
    @Test func leavesNothingBehind() throws {
        let bench = LearnBench()
        let tables = try #require(bench.dataplane.bridges["br"]?.tables)
        for round in 0..<50 {
            try bench.replaceFlows(LearnBench.stations.map { $0.replacing("cookie=0x7", with: "cookie=\(round)") })
            for station in UInt64(1)...20 {
                bench.receive(station: station, to: 9, from: UInt16(station % 4))
                bench.receive(station: station, to: 9, from: UInt16(round % 4))
            }
            bench.learn()
        }
        #expect(tables.flows.count < 100)
        #expect(tables.learns.entryCount <= 2)
    }
}

extension Flow {
    /// Whether it is for frames to a station.
    fileprivate func goes(to station: UInt64) -> Bool {
        match.value.get(.ethDestination) == UInt128(0x0200_0000_0000 | station)
    }
}

/// A switch of four ports whose clock stands.
private final class LearnBench {
    let bench: Bench
    var dataplane: Dataplane { bench.dataplane }
    private let milliseconds = Milliseconds()
    private let memory = WalkMemory(PacketTracker(ConnectionTable(capacity: 64, shareCount: 1), share: 0))

    /// What a Neutron agent has in br-tun, with ports of ours.
    static let stations = [
        "actions=learn(table=20,hard_timeout=300,priority=1,cookie=0x7,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]="
            + "NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],output:OXM_OF_IN_PORT[]),resubmit(,20)",
        "table=20,priority=0,actions=FLOOD",
    ]

    private final class Milliseconds: Sendable {
        let value = Atomic<UInt64>(100_000)
    }

    init() {
        let milliseconds = milliseconds
        let ports = [VLANPolicy](repeating: .allTagged, count: 4)
        bench = Bench(.bridge(ports), clock: { milliseconds.value.load(ordering: .relaxed) })
    }

    deinit { memory.free() }

    var time: UInt64 {
        get { milliseconds.value.load(ordering: .relaxed) }
        set { milliseconds.value.store(newValue, ordering: .relaxed) }
    }

    func replaceFlows(_ texts: [String]) throws { try bench.replaceFlows(texts) }

    func learn() { while dataplane.hasFlowsToLearn { dataplane.learnFlows() } }

    func takeMessages() -> Int {
        dataplane.lanes[0].flows.messages.take(limit: .max).count
    }

    /// The flows that packets taught.
    var learned: [InstalledFlow] { dataplane.flows(of: "br").filter { $0.flow.table == 20 && $0.flow.priority == 1 } }

    /// Of the only flow.
    var timeouts: [UInt16] { dataplane.flows(of: "br").flatMap { [$0.flow.idleTimeout, $0.flow.hardTimeout] } }

    /// The flows as a dump of OpenFlow 1.0 has them.
    var lines: Set<String> {
        Set(
            dataplane.flows(of: "br").map { installed in
                var flow = installed.flow
                flow.flags = []
                return FlowText.print(flow)
            }
        )
    }

    /// Takes a packet through the tables as a worker would, and learns what it teaches.
    func walk(_ key: FlowKey) {
        let context = dataplane.context(now: UInt32(time / 1000), hasEffects: true)
        var observer = Unobserved()
        let program = Walk.run(key, on: 0, context, memory, observer: &observer)
        dataplane.lanes[0].tellAll(program.checks, count: program.checkCount, now: context.now)
        learn()
    }

    func frame(_ source: UInt64, to destination: UInt64) -> [UInt8] {
        DataplaneTests.frame(to: 0x0200_0000_0000 | destination, from: 0x0200_0000_0000 | source)
    }

    @discardableResult
    func receive(station source: UInt64, to destination: UInt64, from port: UInt16) -> Bench.Outcome {
        bench.receive(frame(source, to: destination), from: port, now: UInt32(time / 1000))
    }

    /// A segment of a connection.
    func receive(tcp flags: UInt8) {
        var frame: [UInt8] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]
        frame += [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0, 9, 0, 0, 0, 0]
        bench.receive(frame + [UInt8](repeating: 0, count: 60 - frame.count), from: 0, now: UInt32(time / 1000))
    }
}

/// A table of flows, packets through it, and what each changed.
private struct LearnedCase {
    struct Packet {
        let text: String
        var added: Set<String> = []
        var gone: Set<String> = []
    }

    var flows: [String] = []
    var packets: [Packet] = []

    static func all() throws -> [LearnedCase] {
        let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
        let text = try String(contentsOf: directory.appending(path: "learned.txt"), encoding: .utf8)
        return text.components(separatedBy: "\n\n").map { block in
            var golden = LearnedCase()
            for line in block.split(separator: "\n") where !line.hasPrefix("#") {
                let rest = String(line.dropFirst(2))
                switch line.prefix(2) {
                case "> ": golden.packets.append(Packet(text: rest))
                case "+ ": golden.packets[golden.packets.count - 1].added.insert(rest)
                case "- ": golden.packets[golden.packets.count - 1].gone.insert(rest)
                default: golden.flows.append(String(line))
                }
            }
            return golden
        }.filter { !$0.packets.isEmpty }
    }
}
