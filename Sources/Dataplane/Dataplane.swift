public import CPacket
import Synchronization
public import Wire

/// The control plane's side of the dataplane: what it forwards by, what it learned and what it counted.
///
/// Workers see a configuration whole or not at all. All calls come from one task at a time.
public final class Dataplane: @unchecked Sendable {
    /// Waits until no worker uses anything that it found before the call.
    public typealias Quiesce = @Sendable () -> Void

    /// One for every worker.
    public let lanes: [Lane]

    let readers: FlowReaders
    let liveness = PortLiveness()
    let connections: ConnectionTable
    private let cell: UnsafeMutablePointer<Lane.StateCell>
    private let quiesce: Quiesce
    private var configuration = SwitchConfiguration()
    private var generation: UInt32 = 0
    private(set) var bridges: [String: BridgeParts] = [:]
    private(set) var neighbors: [PortIndex: NeighborTable] = [:]
    /// Of ports whose number was another one's before: since when it is theirs.
    private(set) var samplesSince: [PortIndex: UInt64] = [:]

    /// - Parameters:
    ///   - copy: how a lane copies a packet that it floods.
    ///   - drain: how a lane has a full output queue sent.
    ///   - join: how a lane puts fragments together; with nil all are dropped.
    ///   - cacheCapacity: connections that the workers' caches hold, all together.
    ///   - connectionCapacity: connections that are tracked at once.
    ///   - clock: milliseconds, whose seconds the workers give to `Lane.receive`.
    ///   - quiesce: with no worker running, nothing has to be awaited.
    public init(
        workerCount: Int,
        copy: @escaping martlet_copy = { _ in nil },
        drain: @escaping martlet_drain = { _ in },
        join: martlet_join? = nil,
        cacheCapacity: Int = 1 << 20,
        connectionCapacity: Int = 1 << 20,
        clock: @escaping @Sendable () -> UInt64 = { milliseconds },
        quiesce: @escaping Quiesce = {}
    ) {
        self.quiesce = quiesce
        let versions = Versions()
        let cell = UnsafeMutablePointer<Lane.StateCell>.allocate(capacity: 1)
        let empty = Self.published(ForwardingState(.init(), parts: [:], neighbors: [:], liveness))
        cell.initialize(to: Lane.StateCell(current: Atomic(empty), versions: versions))
        self.cell = cell
        let connections = ConnectionTable(capacity: connectionCapacity, shareCount: workerCount + 1)
        self.connections = connections
        let share = max(cacheCapacity / max(workerCount, 1), 64)
        let lanes = (0..<workerCount).map { number in
            Lane(
                number: number,
                state: cell,
                copy: copy,
                drain: drain,
                join: join,
                cacheCapacity: share,
                connections: connections
            )
        }
        self.lanes = lanes
        readers = FlowReaders(
            versions: versions,
            laneCount: workerCount,
            quiesce: quiesce,
            formerRules: FormerRules { lanes.map(\.sweptVersion).min() ?? .max },
            now: clock
        )
    }

    /// - Precondition: no worker runs any more.
    deinit {
        for lane in lanes { lane.free() }
        for parts in bridges.values { parts.fdb.free() }
        for table in neighbors.values { table.free() }
        Self.free(cell.pointee.current.load(ordering: .relaxed))
        cell.deinitialize(count: 1)
        cell.deallocate()
        liveness.free()
        connections.free()
        // The tables use the versions until they are gone.
        bridges = [:]
        readers.versions.free()
    }

    // MARK: - Configuration

    /// The ports that the workers forward by.
    public var ports: [PortConfiguration] { configuration.ports }

    /// Replaces what the workers forward by. Returns when no worker uses the former configuration any more.
    /// Learned stations stay while their bridge, port and VLAN settings stay.
    public func commit(_ next: SwitchConfiguration) {
        let (former, formerNeighbors) = (bridges, neighbors)
        bridges = parts(for: next, former)
        neighbors = neighbors(for: next)
        generation &+= 1
        let state = Self.published(
            ForwardingState(next, generation: generation, parts: bridges, neighbors: neighbors, liveness)
        )
        let replaced = cell.pointee.current.exchange(state, ordering: .acquiringAndReleasing)
        noteChanges(from: configuration, to: next, former)
        quiesce()
        Self.free(replaced)
        for (name, parts) in former where database(of: name)?.isSame(as: parts.fdb) != true { parts.fdb.free() }
        for (port, table) in formerNeighbors where neighbors[port]?.isSame(as: table) != true { table.free() }
        forgetChanged(from: configuration, to: next)
        configuration = next
        readers.formerRules.release()
    }

    /// What the next configuration's bridges keep, and what new ones get.
    private func parts(for next: SwitchConfiguration, _ former: [String: BridgeParts]) -> [String: BridgeParts] {
        let settings = Dictionary(uniqueKeysWithValues: configuration.bridges.map { ($0.name, $0.settings) })
        var taken = Set(former.values.map(\.slot))
        var all: [String: BridgeParts] = [:]
        for bridge in next.bridges {
            let (capacity, ageing) = (bridge.settings.fdbCapacity, bridge.settings.fdbAgeing)
            guard let kept = former[bridge.name] else {
                let slot = (0..<UInt16(Versions.bridgeCapacity)).first { !taken.contains($0) }!
                taken.insert(slot)
                all[bridge.name] = newParts(slot, ForwardingDatabase(capacity: capacity, ageing: ageing))
                continue
            }
            if settings[bridge.name]?.fdbCapacity == capacity {
                kept.fdb.setAgeing(ageing)
                all[bridge.name] = kept
            } else {
                // A larger or smaller one that takes over the stations.
                let database = ForwardingDatabase(capacity: capacity, ageing: ageing)
                database.adopt(kept.fdb)
                all[bridge.name] = BridgeParts(slot: kept.slot, fdb: database, tables: kept.tables)
            }
        }
        return all
    }

    /// Those of endpoints that stay what they are, and new ones.
    private func neighbors(for next: SwitchConfiguration) -> [PortIndex: NeighborTable] {
        let former = Dictionary(uniqueKeysWithValues: configuration.ports.map { ($0.index, $0) })
        var tables: [PortIndex: NeighborTable] = [:]
        for port in next.ports where port.endpoint != nil {
            let isKept = former[port.index] == port
            tables[port.index] = (isKept ? neighbors[port.index] : nil) ?? NeighborTable()
        }
        return tables
    }

    private func newParts(_ slot: UInt16, _ database: ForwardingDatabase) -> BridgeParts {
        let tables = FlowTables(bridge: slot, readers: readers, first: [Self.firstFlow])
        return BridgeParts(slot: slot, fdb: database, tables: tables)
    }

    /// Tells the workers' caches which bridges are others now.
    private func noteChanges(
        from configuration: SwitchConfiguration,
        to next: SwitchConfiguration,
        _ former: [String: BridgeParts]
    ) {
        func descriptions(_ configuration: SwitchConfiguration) -> [String: (BridgeSettings, [PortConfiguration])] {
            let ports = Dictionary(grouping: configuration.ports, by: \.bridge)
            return Dictionary(
                uniqueKeysWithValues: configuration.bridges.map { ($0.name, ($0.settings, ports[$0.name] ?? [])) }
            )
        }
        let (before, after) = (descriptions(configuration), descriptions(next))
        for (name, parts) in former.merging(bridges, uniquingKeysWith: { $1 }) {
            if let old = before[name], let new = after[name], old == new { continue }
            readers.versions.willChange(TablePlace(bridge: parts.slot, table: Versions.ports))
        }
        func underlay(_ configuration: SwitchConfiguration) -> [PortConfiguration] {
            configuration.ports.filter { $0.endpoint != nil || $0.tunnel != nil }
        }
        if underlay(configuration) != underlay(next) { readers.versions.willChange(.underlay) }
        readers.versions.advance()
    }

    /// Forgets what was behind ports that are gone, moved, or carry other VLANs now. Static entries go only with
    /// their port.
    private func forgetChanged(from former: SwitchConfiguration, to next: SwitchConfiguration) {
        let present = Dictionary(uniqueKeysWithValues: next.ports.map { ($0.index, $0) })
        for port in former.ports {
            guard let now = present[port.index], now.name == port.name, now.bridge == port.bridge else {
                database(of: port.bridge)?.removeAll { $1.port == port.index.value }
                for lane in lanes { lane.counters.clear(port.index.value) }
                samplesSince[port.index] = Self.nanoseconds
                continue
            }
            if now.vlan != port.vlan {
                database(of: port.bridge)?.removeAll { $1.port == port.index.value && !$1.isStatic }
            }
        }
    }

    private static func published(_ state: ForwardingState) -> UnsafeMutablePointer<ForwardingState> {
        let pointer = UnsafeMutablePointer<ForwardingState>.allocate(capacity: 1)
        pointer.initialize(to: state)
        return pointer
    }

    private static func free(_ state: UnsafeMutablePointer<ForwardingState>) {
        state.pointee.free()
        state.deallocate()
    }

    /// What a walk beside the workers goes by.
    func context(now: UInt32, hasEffects: Bool) -> WalkContext {
        let version = readers.versions.current
        let state = cell.pointee.current.load(ordering: .acquiring).pointee
        return WalkContext(state: state, version: version, now: now, hasEffects: hasEffects)
    }

    // MARK: - Counters

    public func counters(of port: PortIndex) -> PortCounters {
        var sum = PortCounters()
        for lane in lanes { lane.counters.add(port.value, to: &sum) }
        return sum
    }

    /// What the caches of all workers did.
    public var cacheStatistics: CacheStatistics { laneCacheStatistics.reduce(CacheStatistics(), +) }

    /// What the cache of each worker did, in the order of `lanes`.
    public var laneCacheStatistics: [CacheStatistics] { lanes.map(\.flows.cache.currentStatistics) }

    // MARK: - Stations

    /// Swift 6.3.1 without optimisation takes a missing entry for a value in `bridges[bridge]?.fdb.member`, because the
    /// value starts with a pointer that is never nil. Through a function it is right.
    private func database(of bridge: String) -> ForwardingDatabase? { bridges[bridge]?.fdb }

    /// The stations of a bridge, ordered by VLAN and address; empty for a bridge that does not exist.
    public func fdb(of bridge: String) -> [FDBEntry] {
        (database(of: bridge)?.entries(now: Self.now) ?? [])
            .sorted { ($0.vlan.value, $0.mac.value) < ($1.vlan.value, $1.mac.value) }
    }

    public func fdbStatistics(of bridge: String) -> FDBStatistics { database(of: bridge)?.statistics ?? .init() }

    /// Says where a station is, for good: the entry never ages and never moves.
    /// - Throws: `Refusal` when the bridge does not exist or its table is full of static entries.
    public func fdbAdd(_ mac: MACAddress, vlan: VLANID, port: PortIndex, on bridge: String) throws(Refusal) {
        guard let database = database(of: bridge) else { throw Refusal("bridge '\(bridge)' does not exist") }
        guard database.addStatic(.init(vlan: vlan.value, mac: mac.value), port: port.value) else {
            throw Refusal("the FDB of '\(bridge)' is full of static entries: raise --fdb-capacity")
        }
    }

    /// - Returns: whether there was such an entry.
    public func fdbRemove(_ mac: MACAddress, vlan: VLANID, on bridge: String) -> Bool {
        database(of: bridge)?.remove(.init(vlan: vlan.value, mac: mac.value)) ?? false
    }

    /// Forgets learned entries (of one port or VLAN if given); static ones stay.
    /// - Returns: how many.
    public func fdbFlush(bridge: String, port: PortIndex?, vlan: VLANID?) -> Int {
        database(of: bridge)?.removeAll { key, value in
            !value.isStatic && (port == nil || port?.value == value.port) && (vlan == nil || vlan?.value == key.vlan)
        } ?? 0
    }

    /// Forgets the stations that were silent too long, and frees what the workers' caches have let go. Call it once a second.
    public func age() {
        for parts in bridges.values { parts.fdb.removeAged(now: Self.now) }
        readers.formerRules.release()
    }

    /// Seconds of the monotonic clock that stations age by: what workers give to `Lane.receive`.
    public static var now: UInt32 { UInt32(truncatingIfNeeded: milliseconds / 1000) }

    /// The same clock, finer.
    public static var milliseconds: UInt64 { nanoseconds / 1_000_000 }
    public static var nanoseconds: UInt64 { martlet_nanoseconds() }
}
