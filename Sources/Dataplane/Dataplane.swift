public import CPacket
import Glibc
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

    private let cell: UnsafeMutablePointer<Lane.StateCell>
    private let quiesce: Quiesce
    private var configuration = SwitchConfiguration()
    private var databases: [String: ForwardingDatabase] = [:]
    /// The flow tables of every bridge.
    private(set) var tables: [String: FlowTables] = [:]

    /// - Parameters:
    ///   - copy: how a lane copies a packet that it floods.
    ///   - quiesce: with no worker running, nothing has to be awaited.
    public init(workerCount: Int, copy: @escaping martlet_copy = { _ in nil }, quiesce: @escaping Quiesce = {}) {
        self.quiesce = quiesce
        let cell = UnsafeMutablePointer<Lane.StateCell>.allocate(capacity: 1)
        cell.initialize(to: Lane.StateCell(current: Atomic(Self.published(ForwardingState(.init(), databases: [:])))))
        self.cell = cell
        lanes = (0..<workerCount).map { _ in Lane(state: cell, copy: copy) }
    }

    /// - Precondition: no worker runs any more.
    deinit {
        for lane in lanes { lane.free() }
        for database in databases.values { database.free() }
        Self.free(cell.pointee.current.load(ordering: .relaxed))
        cell.deinitialize(count: 1)
        cell.deallocate()
    }

    // MARK: - Configuration

    /// Replaces what the workers forward by. Returns when no worker uses the former configuration any more.
    /// Learned stations stay while their bridge, port and VLAN settings stay.
    public func commit(_ next: SwitchConfiguration) {
        let former = databases
        databases = Self.databases(for: next, from: configuration, former)
        for bridge in next.bridges where tables[bridge.name] == nil {
            let made = FlowTables(quiesce: quiesce)
            // NORMAL runs on every bridge: nothing to refuse.
            _ = try? made.commit(adding: [Self.firstFlow])
            tables[bridge.name] = made
        }
        let state = Self.published(ForwardingState(next, databases: databases))
        let replaced = cell.pointee.current.exchange(state, ordering: .acquiringAndReleasing)
        quiesce()
        Self.free(replaced)
        for (name, replaced) in former where database(of: name)?.isSame(as: replaced) != true { replaced.free() }
        let names = Set(next.bridges.map(\.name))
        tables = tables.filter { names.contains($0.key) }
        forgetChanged(from: configuration, to: next)
        configuration = next
    }

    /// The databases of the next configuration: kept where the capacity stays, else a larger or smaller one that
    /// takes over the stations.
    private static func databases(
        for next: SwitchConfiguration,
        from configuration: SwitchConfiguration,
        _ former: [String: ForwardingDatabase]
    ) -> [String: ForwardingDatabase] {
        let settings = Dictionary(uniqueKeysWithValues: configuration.bridges.map { ($0.name, $0.settings) })
        var databases: [String: ForwardingDatabase] = [:]
        for bridge in next.bridges {
            let (capacity, ageing) = (bridge.settings.fdbCapacity, bridge.settings.fdbAgeing)
            if let kept = former[bridge.name], settings[bridge.name]?.fdbCapacity == capacity {
                kept.setAgeing(ageing)
                databases[bridge.name] = kept
            } else {
                let database = ForwardingDatabase(capacity: capacity, ageing: ageing)
                if let old = former[bridge.name] { database.adopt(old) }
                databases[bridge.name] = database
            }
        }
        return databases
    }

    /// Forgets what was behind ports that are gone, moved, or carry other VLANs now. Static entries go only with
    /// their port.
    private func forgetChanged(from former: SwitchConfiguration, to next: SwitchConfiguration) {
        let present = Dictionary(uniqueKeysWithValues: next.ports.map { ($0.index, $0) })
        for port in former.ports {
            guard let now = present[port.index], now.name == port.name, now.bridge == port.bridge else {
                database(of: port.bridge)?.removeAll { $1.port == port.index.value }
                for lane in lanes { lane.counters.clear(port.index.value) }
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

    // MARK: - Counters

    public func counters(of port: PortIndex) -> PortCounters {
        var sum = PortCounters()
        for lane in lanes { lane.counters.add(port.value, to: &sum) }
        return sum
    }

    // MARK: - Stations

    /// Swift 6.3.1 without optimisation takes a missing entry for a value in `databases[bridge]?.member`, because the
    /// value starts with a pointer that is never nil. Through a function it is right.
    private func database(of bridge: String) -> ForwardingDatabase? { databases[bridge] }

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

    /// Forgets the stations that were silent too long. Call it once a second.
    public func age() {
        for database in databases.values { database.removeAged(now: Self.now) }
    }

    /// Seconds of the monotonic clock that stations age by: what workers give to `Lane.receive`.
    public static var now: UInt32 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt32(truncatingIfNeeded: time.tv_sec)
    }
}
