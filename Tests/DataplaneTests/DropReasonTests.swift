import Flows
import Testing
import Wire

@testable import Dataplane

/// Why packets are dropped, and the packets of which it is remembered.
@Suite struct DropReasonTests {
    private static let plain = [UInt8](repeating: 2, count: 60)
    private static let named: [DropReason] = [
        .spoofedMAC, .spoofedIP, .spoofedARP, .spoofedND, .dhcpServer, .routerAdvertisement, .notIP, .guestTag,
        .noEgressRule, .noIngressRule, .invalidState, .endedConnection, .infrastructure,
    ]

    private static func cookie(_ value: UInt64) -> String { "cookie=0x" + String(value, radix: 16) }

    private static func frame(_ last: UInt8) -> [UInt8] {
        var frame = plain
        frame[59] = last
        return frame
    }

    /// What became of a packet of a bridge whose first table leads to one that drops.
    private static func reasons(_ cookie: UInt64) throws -> [DropReason?] {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["\(self.cookie(cookie)),actions=goto_table:93", "table=93,actions=drop"])
        // By a walk, and then by the program that it left.
        return (0..<2).map { _ in bench.receive(plain, from: 0).reasons.keys.first?.reason }
    }

    @Test(arguments: named) func aFlowsCookieSaysWhy(reason: DropReason) throws {
        #expect(try Self.reasons(NetworkCookie.naming(reason)) == [reason, reason])
    }

    @Test(
        arguments: [
            0, NetworkCookie.plain, 14 << 56 | NetworkCookie.plain, 255 << 56 | NetworkCookie.plain,
            NetworkCookie.naming(.spoofedMAC) ^ 1, 1 << 56, 1 << 63,
        ]
    )
    func otherCookiesSayNothing(cookie: UInt64) throws {
        #expect(try Self.reasons(cookie) == [.flowDrop, .flowDrop])
    }

    @Test func cookiesStayWhatTheyAre() {
        #expect(NetworkCookie.naming(.spoofedMAC) == 0x016d_6172_746c_6574)
        #expect(NetworkCookie.naming(.infrastructure) == 0x0d6d_6172_746c_6574)
        #expect(Set(Self.named.map(NetworkCookie.naming)).count == Self.named.count)
    }

    @Test func whatIsSentIsSentWhateverTheCookieSays() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows(["\(Self.cookie(NetworkCookie.naming(.notIP))),actions=output:2"])
        let outcome = bench.receive(Self.plain, from: 0)
        #expect(outcome.sent == [1: [Self.plain]] && outcome.reasons.isEmpty)
    }

    @Test func aTraceNamesTheReasonAndShowsTheFlowAsItIs() throws {
        let bench = Bench(ports: 2)
        let cookie = Self.cookie(NetworkCookie.naming(.spoofedIP))
        try bench.replaceFlows(["\(cookie),actions=set_field:7->reg1,goto_table:93", "table=93,actions=drop"])
        let trace = bench.dataplane.trace(try FlowText.packet("in_port=1,ip"), on: "br")
        #expect(trace.drop == .spoofedIP && trace.outputs.isEmpty)
        let actions = trace.steps.compactMap { step in
            guard case .action(let action, let changes) = step.event else { return nil as ([Action], Int)? }
            return (action.map { [$0] } ?? [], changes.count)
        }
        #expect(actions.map { FlowText.print($0.0) } == ["set_field:0x7->reg1", "goto_table:93", "drop"])
        #expect(actions.map(\.1) == [1, 0, 0])
    }

    // MARK: - Samples

    private static func dropping() throws -> Bench {
        let bench = Bench(ports: 10)
        let notIP = cookie(NetworkCookie.naming(.notIP))
        try bench.replaceFlows(["priority=0,actions=drop", "in_port=2,\(notIP),actions=drop"])
        return bench
    }

    @Test func theFirstPacketOfASecondIsKept() throws {
        let bench = try Self.dropping()
        for (second, last) in [(100, 1), (100, 2), (101, 3), (101, 4)] {
            bench.receive(Self.frame(UInt8(last)), from: 0, now: UInt32(second))
            let kept = try #require(bench.dataplane.dropSamples.first)
            #expect(bench.dataplane.dropSamples.count == 1)
            #expect(kept.reason == .flowDrop && kept.port == PortIndex(0) && kept.length == 60)
            #expect(kept.bytes == Self.frame(second == 100 ? 1 : 3))
        }
        #expect(bench.receive(Self.plain, from: 0, now: 101).reasons.values.first == 1, "all are counted")
    }

    @Test func eachReasonAndPortHasItsOwn() throws {
        let bench = try Self.dropping()
        for port in UInt16(0)..<3 { bench.receive(Self.frame(UInt8(port)), from: port) }
        let kept = bench.dataplane.dropSamples.sorted { $0.port.value < $1.port.value }
        #expect(kept.map(\.port.value) == [0, 1, 2] && kept.map { $0.bytes[59] } == [0, 1, 2])
        #expect(kept.map(\.reason) == [.flowDrop, .notIP, .flowDrop])
        // Ports that share a place have it one after the other.
        bench.receive(Self.frame(8), from: 8, now: 101)
        #expect(Set(bench.dataplane.dropSamples.map(\.port.value)) == [1, 2, 8])
    }

    @Test func longPacketsAreCutAndShortOnesAreKeptWhole() throws {
        let bench = try Self.dropping()
        bench.receive([UInt8](repeating: 6, count: 1000), from: 0)
        let long = try #require(bench.dataplane.dropSamples.first)
        #expect(long.length == 1000 && long.bytes == [UInt8](repeating: 6, count: 256))
        #expect(long.key(inPort: 3)?.get(.inPort) == 3)
        bench.receive([UInt8](repeating: 0, count: 13), from: 1)
        let runt = try #require(bench.dataplane.dropSamples.first { $0.reason == .runt })
        #expect(runt.bytes.count == 13 && runt.key(inPort: 2) == nil)
    }

    @Test func whatWasDroppedOnAFormerPortIsNotShownOfTheNext() throws {
        let bench = try Self.dropping()
        bench.receive(Self.plain, from: 4)
        #expect(bench.dataplane.dropSamples.count == 1)
        let former = bench.configuration
        var next = former
        next.ports.removeAll { $0.index == PortIndex(4) }
        bench.commit(next)
        bench.commit(former)
        #expect(bench.dataplane.dropSamples.isEmpty)
        bench.receive(Self.frame(7), from: 4, now: 101)
        #expect(bench.dataplane.dropSamples.map { $0.bytes[59] } == [7])
    }

    // MARK: - What the tracker is to say

    @Test func aTraceGoesOnAsItIsTold() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows([
            "table=0,ip actions=ct(table=1,zone=7)", "table=1,ct_state=+est,ip actions=ct(table=2,zone=8)",
            "table=1,ct_state=+new,ip actions=output:2", "table=2,ct_state=+rpl,ct_zone=8,ip actions=output:3",
        ])
        let packet = try FlowText.packet("in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tcp_flags=syn")
        func outputs(_ states: String...) -> [UInt16] {
            let trace = bench.dataplane.trace(packet, on: "br", tracked: states.compactMap(FlowText.trackedState))
            return trace.outputs.map(\.value)
        }
        #expect(outputs() == [1])
        #expect(outputs("trk,new") == [1])
        #expect(outputs("trk,est") == [])
        #expect(outputs("trk,est", "trk,est|rpl") == [2])
        #expect(bench.dataplane.connectionStatistics.created == 0)
    }

    /// As after `ct`, without it.
    @Test func aPacketMayBeDescribedAsTracked() throws {
        let bench = Bench(ports: 3)
        try bench.replaceFlows(["ct_state=-trk,ip actions=drop", "ct_state=+est+trk,ct_mark=5,ip actions=output:2"])
        func outputs(_ packet: String) throws -> [UInt16] {
            bench.dataplane.trace(try FlowText.packet("in_port=1,ip" + packet), on: "br").outputs.map(\.value)
        }
        #expect(try outputs("") == [])
        #expect(try outputs(",ct_state=+est+trk,ct_mark=5") == [1])
        #expect(try outputs(",ct_state=+est+trk,ct_mark=4") == [])
    }
}
