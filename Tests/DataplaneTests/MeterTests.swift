import Flows
import Testing

@testable import Dataplane

@Suite struct MeterTests {
    private static let second: UInt64 = 1_000_000_000

    /// What gets through of packets that come at twice the rate for ten seconds.
    @Test(arguments: [
        ("meter=1 pktps burst bands=type=drop rate=100000 burst_size=50", UInt32(60)),
        ("meter=1 pktps burst bands=type=drop rate=3000000 burst_size=1000", 60),
        ("meter=1 kbps burst bands=type=drop rate=1000000 burst_size=100", 1500),
        ("meter=1 kbps burst bands=type=drop rate=10000000 burst_size=1000", 64),
        ("meter=1 kbps bands=type=drop rate=64", 1500),
    ])
    func keepsItsRateWithinAPercent(text: String, length: UInt32) throws {
        let meter = try FlowText.meter(text)
        let entry = MeterEntry.made(meter)
        defer { MeterEntry.discard(entry) }
        let bits = meter.unit == .kilobits ? Double(length) * 8 / 1000 : 1
        let rate = Double(meter.bands[0].rate) / bits
        let burst = Double(meter.bands[0].burstSize == 0 ? meter.bands[0].rate : meter.bands[0].burstSize) / bits
        let seconds = min(10, 400_000 / rate + 2 * burst / rate)
        var passed = 0.0
        for number in 0..<Int(2 * rate * seconds) {
            let now = 7 * Self.second + UInt64(Double(number) / (2 * rate) * Double(Self.second))
            if entry.pointee.admits(length: length, now: now) { passed += 1 }
        }
        let expected = rate * seconds + min(burst, rate * seconds)
        #expect(abs(passed - expected) <= expected / 100 + 2, "\(passed) of \(expected)")
    }

    @Test func fillsNoMoreThanItsBurstWhileItRests() throws {
        let entry = MeterEntry.made(try FlowText.meter("meter=1 pktps burst bands=type=drop rate=10 burst_size=3"))
        defer { MeterEntry.discard(entry) }
        func passed(at time: UInt64) -> Int {
            (0..<20).filter { _ in entry.pointee.admits(length: 60, now: time) }.count
        }
        #expect(passed(at: 5 * Self.second) == 3)
        #expect(passed(at: 5 * Self.second) == 0)
        #expect(passed(at: 5 * Self.second + Self.second / 10) == 1)
        #expect(passed(at: 500 * Self.second) == 3)
    }

    /// A token is given once, however many workers ask.
    @Test func givesATokenOnce() async throws {
        let entry = UncheckedEntry(
            pointer: MeterEntry.made(try FlowText.meter("meter=1 pktps burst bands=type=drop rate=1 burst_size=5000"))
        )
        defer { MeterEntry.discard(entry.pointer) }
        let passed = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    (0..<5000).count { _ in entry.pointer.pointee.admits(length: 60, now: 9 * Self.second) }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(passed == 5000)
    }

    /// Meters are made for several threads.
    private struct UncheckedEntry: @unchecked Sendable { let pointer: UnsafeMutablePointer<MeterEntry> }

    @Test func dropsAndCountsWhatIsBeyondTheRate() throws {
        let bench = Bench(ports: 3)
        let missing = try #require(throws: Refusal.self) { try bench.replaceFlows(["actions=meter:1,output:2"]) }
        #expect(missing.reason == "meter 1 does not exist on the bridge: add it with meter add")
        let meter = try FlowText.meter("meter=1 pktps burst bands=type=drop rate=1 burst_size=2")
        try bench.dataplane.changeMeters(of: "br", adding: [meter])
        try bench.replaceFlows(["in_port=1,actions=meter:1,output:2", "in_port=2,actions=output:3"])
        let frame = [UInt8](repeating: 2, count: 60)
        let outcome = bench.receive((0..<8).map { _ in Frame(frame) }, from: 0)
        #expect(outcome.sent[1]?.count == 2 && outcome.reasons == [.init(.meter, on: 0): 6])
        let counted = try #require(bench.dataplane.meters(of: "br").first)
        #expect(counted.packetCount == 8 && counted.byteCount == 480 && counted.bands.first?.packetCount == 6)
        try bench.dataplane.changeMeters(of: "br", adding: [meter])
        #expect(bench.receive(frame, from: 0).sent[1]?.count == 1, "a full bucket again")
        #expect(try bench.dataplane.changeMeters(of: "br", removing: [1]).users.count == 1)
        #expect(bench.dataplane.flows(of: "br").count == 1 && bench.dataplane.meters(of: "br").isEmpty)
    }

    @Test func refusesBandsThatItDoesNotRun() throws {
        let bench = Bench(ports: 1)
        let meter = try FlowText.meter("meter=3 kbps bands=type=dscp_remark rate=1 prec_level=1")
        let refusal = try #require(throws: Refusal.self) { try bench.dataplane.changeMeters(of: "br", adding: [meter]) }
        #expect(refusal.reason == "meter 3: bands of type dscp_remark are not supported; allowed are drop")
    }
}
