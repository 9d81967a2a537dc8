import Testing
import Wire

@testable import Dataplane

/// What a change of configuration leaves of stations and counters.
@Suite struct ReconfigurationTests {
    /// Station 2 behind port 2 and station 3 behind port 3, of four ports.
    private let bench: Bench

    init() {
        bench = Bench(ports: 4)
        bench.receive(frame(to: 9, from: 2), from: 2, now: Dataplane.now)
        bench.receive(frame(to: 9, from: 3), from: 3, now: Dataplane.now)
    }

    private var stations: [UInt64: UInt16] {
        Dictionary(uniqueKeysWithValues: bench.dataplane.fdb(of: "br").map { ($0.mac.value, $0.port.value) })
    }

    private func changed(_ port: Int, name: String? = nil, bridge: String = "br", vlan: VLANPolicy = .allTagged) {
        var next = bench.configuration
        let former = next.ports[port]
        next.ports[port] = PortConfiguration(
            index: former.index,
            name: name ?? former.name,
            bridge: bridge,
            number: former.number,
            vlan: vlan,
            frameLength: former.frameLength
        )
        bench.commit(next)
    }

    @Test func keepsStationsWhenNothingAboutThemChanges() {
        var next = bench.configuration
        next.bridges.append(.init(name: "other", settings: .init()))
        bench.commit(next)
        #expect(stations == [2: 2, 3: 3])
    }

    @Test func forgetsStationsAndCountersOfARemovedPort() {
        var next = bench.configuration
        next.ports.remove(at: 2)
        bench.commit(next)
        #expect(stations == [3: 3])
        #expect(bench.dataplane.counters(of: PortIndex(2)) == PortCounters())
        #expect(bench.dataplane.counters(of: PortIndex(3)).receivedPackets == 1)
        #expect(Set(bench.receive(frame(to: 2, from: 1), from: 0).sent.keys) == [1, 3])
        #expect(bench.receive(frame(to: 3, from: 2), from: 2).reasons == [.init(.noBridge, on: 2): 1])
    }

    @Test func forgetsStaticEntriesWithTheirPortOnly() throws {
        try bench.dataplane.fdbAdd(.init(value: 5), vlan: .untagged, port: .init(2), on: "br")
        changed(2, vlan: .trunk(0, 7))
        #expect(stations == [3: 3, 5: 2])
        changed(2, name: "another")
        #expect(stations == [3: 3])
    }

    @Test func forgetsLearnedStationsOfAPortWithOtherVLANs() {
        changed(2, vlan: .access(10))
        #expect(stations == [3: 3])
        let tagged = [frame(.customer(10), to: 3, from: 1)]
        #expect(bench.receive(frame(to: 3, from: 1), from: 2).sent == [0: tagged, 1: tagged, 3: tagged])
    }

    @Test func forgetsStationsOfAPortThatMovesToAnotherBridge() {
        var next = bench.configuration
        next.bridges.append(.init(name: "other", settings: .init()))
        bench.commit(next)
        changed(2, bridge: "other")
        #expect(stations == [3: 3])
        #expect(Set(bench.receive(frame(to: 2, from: 1), from: 0).sent.keys) == [1, 3])
        #expect(bench.receive(frame(to: 1, from: 2), from: 2).reasons == [.init(.noOtherPort, on: 2): 1])
    }

    @Test(arguments: [16, 64, 100_000])
    func keepsStationsWhenTheCapacityChanges(capacity: Int) throws {
        try bench.dataplane.fdbAdd(.init(value: 5), vlan: VLANID(7)!, port: .init(1), on: "br")
        bench.commit(capacity: capacity)
        #expect(stations == [2: 2, 3: 3, 5: 1])
        let statistics = bench.dataplane.fdbStatistics(of: "br")
        #expect(statistics.capacity == capacity)
        #expect(statistics.entries == 3)
        #expect(statistics.learned == 2)
    }

    @Test func keepsTheYoungestStationsWhenTheTableShrinks() {
        let now = Dataplane.now
        // Older than the others, and all on one port.
        for mac in 0..<98 {
            bench.receive(frame(to: 9, from: 0x100 + UInt64(mac)), from: 1, now: now - 15 + UInt32(mac / 7))
        }
        bench.commit(capacity: 16)
        #expect(Set(stations.keys) == Set([2, 3] + (84..<98).map { 0x100 + $0 }))
    }

    @Test func appliesTheAgeingTimeAtOnce() {
        var settings = BridgeSettings()
        settings.fdbAgeing = 10
        bench.receive(frame(to: 9, from: 8), from: 1, now: Dataplane.now - 20)
        #expect(stations.keys.contains(8))
        bench.commit(.bridge(bench.configuration.ports.map(\.vlan), settings: settings))
        #expect(!stations.keys.contains(8))
        bench.dataplane.age()
        #expect(bench.dataplane.fdbStatistics(of: "br").aged == 1)
    }

    @Test func forgetsARemovedBridge() {
        bench.commit(SwitchConfiguration())
        #expect(stations.isEmpty)
        #expect(bench.dataplane.fdbStatistics(of: "br") == FDBStatistics())
        bench.commit(.bridge(.init(repeating: .allTagged, count: 4)))
        #expect(stations.isEmpty)
    }

    @Test func waitsForTheWorkersBeforeItFreesAConfiguration() {
        let waits = Counter()
        let dataplane = Dataplane(workerCount: 1, quiesce: { waits.count += 1 })
        dataplane.commit(.bridge([.allTagged]))
        #expect(waits.count == 1)
    }

    /// Written on the test's own thread only.
    private final class Counter: @unchecked Sendable { var count = 0 }

    @Test func listsFlushesAndRefusesStations() throws {
        let dataplane = bench.dataplane
        #expect(dataplane.fdb(of: "none").isEmpty)
        #expect(dataplane.fdbStatistics(of: "none") == FDBStatistics())
        #expect(throws: Refusal("bridge 'none' does not exist")) {
            try dataplane.fdbAdd(.init(value: 5), vlan: .untagged, port: .init(1), on: "none")
        }
        try dataplane.fdbAdd(.init(value: 5), vlan: .untagged, port: .init(2), on: "br")
        #expect(dataplane.fdbFlush(bridge: "br", port: PortIndex(2), vlan: VLANID(7)) == 0)
        #expect(dataplane.fdbFlush(bridge: "br", port: PortIndex(2), vlan: nil) == 1)
        #expect(stations == [3: 3, 5: 2])
        #expect(dataplane.fdbRemove(.init(value: 5), vlan: .untagged, on: "br"))
        #expect(!dataplane.fdbRemove(.init(value: 5), vlan: .untagged, on: "br"))
        #expect(dataplane.fdbFlush(bridge: "br", port: nil, vlan: nil) == 1)
        #expect(stations.isEmpty)
    }

    @Test func listsStationsByVLANAndAddress() throws {
        for (vlan, mac) in [(7, 1), (0, 9), (7, 0), (0, 4)] as [(UInt16, UInt64)] {
            try bench.dataplane.fdbAdd(.init(value: mac), vlan: VLANID(vlan)!, port: .init(1), on: "br")
        }
        let listed = bench.dataplane.fdb(of: "br").map { [UInt64($0.vlan.value), $0.mac.value] }
        #expect(listed == [[0, 2], [0, 3], [0, 4], [0, 9], [7, 0], [7, 1]])
    }

    @Test func refusesStaticEntriesBeyondTheCapacity() throws {
        bench.commit(capacity: 16)
        for mac in 0..<16 {
            try bench.dataplane.fdbAdd(.init(value: 0x100 + UInt64(mac)), vlan: .untagged, port: .init(1), on: "br")
        }
        #expect(throws: Refusal("the FDB of 'br' is full of static entries: raise --fdb-capacity")) {
            try bench.dataplane.fdbAdd(.init(value: 7), vlan: .untagged, port: .init(1), on: "br")
        }
        bench.receive(frame(to: 9, from: 2), from: 2)
        #expect(bench.dataplane.fdbStatistics(of: "br").entries == 16)
    }
}

extension Bench {
    /// The same ports on a bridge of another capacity.
    fileprivate func commit(capacity: Int) {
        var settings = BridgeSettings()
        settings.fdbCapacity = capacity
        commit(.bridge(configuration.ports.map(\.vlan), settings: settings))
    }
}
