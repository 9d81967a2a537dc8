import CPacket
import Flows
import Testing
import Wire

@testable import Dataplane

/// A switch with one worker and no devices. Every burst is checked for what must hold of all bursts: each packet comes
/// out exactly once, and the counters add up.
final class Bench {
    let dataplane: Dataplane
    private(set) var configuration: SwitchConfiguration
    private let lane: Lane
    private let ledger = Ledger()
    private let burst: UnsafeMutablePointer<Packet?>
    private var drained: [UInt16: [[UInt8]]] = [:]

    /// What became of a burst.
    struct Outcome {
        /// Frames in the order they leave, by port.
        var sent: [UInt16: [[UInt8]]] = [:]
        var dropped: [[UInt8]] = []
        /// Drops counted by this burst.
        var reasons: [Drop: UInt64] = [:]
    }

    struct Drop: Hashable {
        let reason: DropReason
        let port: UInt16

        init(_ reason: DropReason, on port: UInt16) {
            self.reason = reason
            self.port = port
        }
    }

    init(
        _ configuration: SwitchConfiguration,
        cacheCapacity: Int = 4096,
        clock: @escaping @Sendable () -> UInt64 = { Dataplane.milliseconds }
    ) {
        self.configuration = configuration
        dataplane = Dataplane(
            workerCount: 1,
            copy: Ledger.copy,
            drain: Self.drain,
            cacheCapacity: cacheCapacity,
            clock: clock
        )
        lane = dataplane.lanes[0]
        burst = .allocate(capacity: Lane.burstLength)
        burst.initialize(repeating: nil, count: Lane.burstLength)
        dataplane.commit(configuration)
        lane.drainContext.pointee = Unmanaged.passUnretained(self).toOpaque()
    }

    deinit { burst.deallocate() }

    /// One bridge "br" with a port for each policy, numbered from 0.
    convenience init(_ policies: [VLANPolicy], settings: BridgeSettings = .init(), frameLength: Int = 1514) {
        self.init(.bridge(policies, settings: settings, frameLength: frameLength))
    }

    /// `count` ports that carry every VLAN.
    convenience init(ports count: Int, settings: BridgeSettings = .init(), frameLength: Int = 1514) {
        self.init(.init(repeating: .allTagged, count: count), settings: settings, frameLength: frameLength)
    }

    /// Ports 0 and 1 on "br", 3 on "other"; 2 and 4 are the ends of a patch between them. Numbers count from 1.
    static func patched() -> Bench {
        let places: [(UInt16, String, UInt16?)] = [
            (0, "br", nil), (1, "br", nil), (2, "br", 4), (3, "other", nil), (4, "other", 2),
        ]
        let ports = places.map { PortConfiguration($0, on: $1, peer: $2) }
        let bridges = ["br", "other"].map { BridgeConfiguration(name: $0, settings: .init()) }
        return Bench(SwitchConfiguration(bridges: bridges, ports: ports))
    }

    /// Replaces the flows of a bridge, and its groups if there are some among the texts.
    func replaceFlows(_ texts: [String], of bridge: String = "br") throws {
        let flows = try texts.filter { !$0.hasPrefix("group_id=") }.map { try FlowText.flow($0) }
        let groups = try texts.filter { $0.hasPrefix("group_id=") }.map { try FlowText.group($0) }
        if !groups.isEmpty {
            try dataplane.changeFlows(of: bridge, removing: dataplane.flows(of: bridge).map(\.number))
            try dataplane.changeGroups(of: bridge, removing: dataplane.groups(of: bridge).map(\.identifier))
            try dataplane.changeGroups(of: bridge, adding: groups)
        }
        try dataplane.changeFlows(of: bridge, removing: dataplane.flows(of: bridge).map(\.number), adding: flows)
    }

    /// Switches by the tables, and not by the shortcut for bridges whose only flow is NORMAL.
    func walkTables(of bridge: String = "br") throws {
        try replaceFlows(["priority=0,actions=NORMAL", "table=9,actions=drop"], of: bridge)
    }

    func commit(_ next: SwitchConfiguration) {
        configuration = next
        dataplane.commit(next)
    }

    /// What a worker does every millisecond, often enough for every entry of the cache.
    func maintain(now: UInt32 = 100) { for _ in 0..<64 { lane.maintain(now: now) } }

    var copiesLeft: Int {
        get { ledger.copiesLeft }
        set { ledger.copiesLeft = newValue }
    }

    @discardableResult
    func receive(_ frame: [UInt8], from port: UInt16, now: UInt32 = 100) -> Outcome {
        receive([Frame(frame)], from: port, now: now)
    }

    @discardableResult
    func receive(
        _ frames: [Frame],
        from port: UInt16,
        now: UInt32 = 100,
        _ location: SourceLocation = #_sourceLocation
    ) -> Outcome {
        for (index, frame) in frames.enumerated() { burst[index] = ledger.make(frame) }
        let before = counters(and: port)
        let refused = ledger.refusedCopies
        var outcome = Outcome()
        lane.receive(burst, count: frames.count, from: port, now: now)
        take(&outcome, location)
        if lane.hasWholeDatagrams {
            lane.receiveDatagrams(now: now)
            take(&outcome, location)
        }
        let waiting = lane.heldCount + lane.waitingFragmentCount
        #expect(ledger.heads.count == waiting, "packets are lost", sourceLocation: location)
        let after = counters(and: port)
        outcome.reasons = Self.drops(from: before, to: after)
        let counted = outcome.reasons.values.reduce(0, +)
        let expected = outcome.dropped.count + ledger.refusedCopies - refused
        // A packet counts for each tunnel whose neighbor is unknown, and may leave elsewhere.
        let unknown = outcome.reasons.filter { $0.key.reason == .neighborUnknown }.values.reduce(0, +)
        let possible = Int(counted - unknown)...Int(counted)
        #expect(possible.contains(expected), "dropped and counted", sourceLocation: location)
        check(frames, from: port, outcome, before, after, location)
        return outcome
    }

    /// What the lane sends and drops of packets that wait for a neighbor.
    func retry(now: UInt32 = 100, _ location: SourceLocation = #_sourceLocation) -> Outcome {
        let before = counters(and: 0)
        lane.retryHeld(now: now)
        var outcome = takeQueues(location)
        outcome.dropped = (0..<lane.dropCount.pointee).map { take(lane.drops[$0]!, location) }
        lane.dropCount.pointee = 0
        outcome.reasons = Self.drops(from: before, to: counters(and: 0))
        return outcome
    }

    /// What the lane drops of fragments that have waited too long.
    func dropLateFragments(now: UInt32, _ location: SourceLocation = #_sourceLocation) -> Outcome {
        let before = counters(and: 0)
        var outcome = Outcome()
        // Often enough for every datagram.
        for _ in 0..<32 { lane.dropLateFragments(now: now) }
        take(&outcome, location)
        #expect(ledger.heads.count == lane.waitingFragmentCount, "packets are lost", sourceLocation: location)
        outcome.reasons = Self.drops(from: before, to: counters(and: 0))
        return outcome
    }

    /// How many fragments wait.
    var waitingFragmentCount: Int { lane.waitingFragmentCount }

    /// Takes what the lane has sent and dropped.
    private func take(_ outcome: inout Outcome, _ location: SourceLocation) {
        let last = takeQueues(location).sent
        for sent in [drained, last] {
            for (port, frames) in sent { outcome.sent[port, default: []] += frames }
        }
        drained = [:]
        for index in 0..<lane.dropCount.pointee {
            let packet = lane.drops[index]!
            // What was cut off a packet is no packet that was dropped.
            let isPacket = ledger.heads.contains(packet)
            let bytes = take(packet, location)
            if isPacket { outcome.dropped.append(bytes) }
        }
        lane.dropCount.pointee = 0
    }

    /// What the lane sends in the midst of a burst.
    private static let drain: martlet_drain = { context in
        let bench = Unmanaged<Bench>.fromOpaque(context!).takeUnretainedValue()
        for (port, frames) in bench.takeQueues(#_sourceLocation).sent { bench.drained[port, default: []] += frames }
    }

    private func takeQueues(_ location: SourceLocation) -> Outcome {
        var outcome = Outcome()
        for index in 0..<lane.outputCount.pointee {
            let port = lane.outputs[index]
            let queued = lane.queued(port)
            #expect(outcome.sent[port] == nil && queued.count > 0, "a port is listed once", sourceLocation: location)
            outcome.sent[port] = (0..<queued.count).map { take(lane.queue(port)[$0]!, location) }
            lane.finish(port, sent: queued.count, bytes: queued.bytes, unsent: .transmitFull)
        }
        lane.outputCount.pointee = 0
        return outcome
    }

    private func take(_ packet: Packet, _ location: SourceLocation) -> [UInt8] {
        guard ledger.live.contains(packet) else {
            Issue.record("a packet came out twice", sourceLocation: location)
            return []
        }
        let bytes = Ledger.bytes(of: packet)
        #expect(bytes != nil, "the lengths of a packet agree", sourceLocation: location)
        _ = ledger.retire(packet)
        return bytes ?? []
    }

    // MARK: - Counters

    private func counters(and port: UInt16) -> [UInt16: PortCounters] {
        let ports = Set(configuration.ports.map(\.index.value) + [port])
        return Dictionary(uniqueKeysWithValues: ports.map { ($0, dataplane.counters(of: PortIndex($0))) })
    }

    private static func drops(
        from before: [UInt16: PortCounters],
        to after: [UInt16: PortCounters]
    ) -> [Drop: UInt64] {
        var drops: [Drop: UInt64] = [:]
        for (port, counters) in after {
            for reason in DropReason.allCases {
                let count = counters.drops[reason.rawValue] - before[port]!.drops[reason.rawValue]
                if count != 0 { drops[Drop(reason, on: port)] = count }
            }
        }
        return drops
    }

    private func check(
        _ frames: [Frame],
        from port: UInt16,
        _ outcome: Outcome,
        _ before: [UInt16: PortCounters],
        _ after: [UInt16: PortCounters],
        _ location: SourceLocation
    ) {
        // What goes through a tunnel is counted on its port as well.
        let tunnels = Set(configuration.ports.filter { $0.tunnel != nil }.map(\.index.value))
        for (number, counters) in after where !tunnels.contains(number) {
            let former = before[number]!
            let received = number == port ? frames : []
            let sent = outcome.sent[number] ?? []
            #expect(counters.receivedPackets - former.receivedPackets == received.count, sourceLocation: location)
            #expect(
                Int(counters.receivedBytes - former.receivedBytes) == received.reduce(0) { $0 + $1.bytes.count },
                sourceLocation: location
            )
            #expect(counters.transmittedPackets - former.transmittedPackets == sent.count, sourceLocation: location)
            #expect(
                Int(counters.transmittedBytes - former.transmittedBytes) == sent.reduce(0) { $0 + $1.count },
                sourceLocation: location
            )
        }
    }
}

extension SwitchConfiguration {
    static func bridge(
        _ policies: [VLANPolicy],
        settings: BridgeSettings = .init(),
        frameLength: Int = 1514
    ) -> SwitchConfiguration {
        let ports = policies.enumerated().map { number, policy in
            PortConfiguration(UInt16(number), on: "br", vlan: policy, frameLength: frameLength)
        }
        return SwitchConfiguration(bridges: [.init(name: "br", settings: settings)], ports: ports)
    }
}

extension VLANPolicy {
    static func access(_ tag: UInt16) -> VLANPolicy { made(.access, tag, []) }
    static func trunk(_ trunks: UInt16...) -> VLANPolicy { made(.trunk, nil, trunks) }
    static func nativeTagged(_ tag: UInt16, _ trunks: UInt16...) -> VLANPolicy { made(.nativeTagged, tag, trunks) }
    static func nativeUntagged(_ tag: UInt16, _ trunks: UInt16...) -> VLANPolicy { made(.nativeUntagged, tag, trunks) }
    static func tunnel(_ tag: UInt16, _ trunks: UInt16...) -> VLANPolicy { made(.dot1qTunnel, tag, trunks) }

    private static func made(_ mode: VLANMode, _ tag: UInt16?, _ trunks: [UInt16]) -> VLANPolicy {
        try! VLANPolicy(mode: mode, tag: tag.map { VLANID($0)! }, trunks: Set(trunks.map { VLANID($0)! }))
    }
}
