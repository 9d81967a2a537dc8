import CMalloc
public import Dataplane
import Dispatch
public import Logging
import Networking
public import ServiceLifecycle
import Synchronization

/// The switch as one object: its bridges, ports, stations and workers, in memory, on disk and in the dataplane.
///
/// Every change is a transaction: everything is checked first, the device is opened (it may refuse), the state file
/// is written, and one `Dataplane.commit` makes it so for every packet. A call that throws `Refusal` has changed
/// nothing, neither devices nor file nor dataplane. Changes happen one after the other, on a thread of the
/// switch's own, because devices block: neither the workers nor the control socket's other clients wait for them.
public actor Switch {
    /// Everything but `restore` and the calls below takes its answers from here; the file is read once.
    var bridges: [String: BridgeSettings] = [:]
    var ports: [String: Port] = [:]
    var stations: [Station: String] = [:]
    var pins: [Pin: Int] = [:]
    var captures: [String: PortCapture] = [:]
    /// Where the state file has the flows that the dataplane has.
    var flowRows: [String: FlowRows] = [:]
    /// The last row of the state file that was given to a flow.
    var lastFlowRow: Int64 = 0
    var watchers: [ObjectIdentifier: FlowWatcher] = [:]
    /// The ports of each bridge that its groups watch.
    var watchedPorts: [String: Set<UInt16>] = [:]
    /// Those that the dataplane was told have no link, whosever they were.
    var deadPorts: Set<PortIndex> = []
    /// Members of all address sets together.
    var memberCount = 0
    /// By port.
    var endpoints: [String: RunningEndpoint] = [:]
    /// Counts changes that may change where tunnels go.
    var remotesVersion: UInt64 = 0
    /// How many there are, for whoever would wake the switch for them.
    nonisolated let endpointCount = Atomic(0)
    /// A large text was read, and the C library keeps what that took.
    var hasTakenMuch = false
    /// What Neutron wants of this host.
    var network: NetworkState
    /// Numbers of the flows that are there for documents, by bridge.
    var plannedFlows: [String: Set<UInt32>] = [:]
    /// How the ports are that documents want here, for those who ask what changed.
    var portStatuses = PortStatusLog()
    /// By the id of their documents.
    var followedPorts: [String: FollowedPort] = [:]
    /// Those who wait until a port's status changes.
    var statusWaiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    var lastStatusWaiter: UInt64 = 0
    let sockets: SocketDirectory

    let dataplane: Dataplane
    let io: any PortIO
    let store: Store
    let logger: Logger
    let logLevel: LogLevel
    let dpdk: String
    private let thread = ControlThread()

    /// - Parameters:
    ///   - hostName: the name of this host in Neutron.
    ///   - sockets: where the guests' sockets are that documents name.
    ///   - logLevel: the level that `log.level` shows and sets.
    ///   - dpdk: DPDK's version, for `version`.
    public init(
        dataplane: Dataplane,
        io: any PortIO,
        store: Store,
        hostName: String,
        sockets: SocketDirectory,
        logger: Logger,
        logLevel: LogLevel,
        dpdk: String
    ) {
        self.dataplane = dataplane
        self.io = io
        self.store = store
        network = NetworkState(hostName: hostName)
        self.sockets = sockets
        self.logger = logger
        self.logLevel = logLevel
        self.dpdk = dpdk
    }

    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// A port as it runs.
    struct Port {
        var record: PortRecord
        let index: PortIndex
        /// Why the device is not open; nil when it is.
        var failure: String?

        var opening: PortOpening { .init(index, name: record.name, type: record.type, mtu: record.mtu) }
    }

    /// Brings back what the state file holds. Call it once, before the control socket listens.
    ///
    /// Ports whose device cannot be opened stay in the switch, say so, and are tried again by `run`. No port
    /// forwards before all others had their turn: there is one commit, and the flows are there before it.
    /// - Throws: `StoreError` when the file cannot be read, or has a flow that cannot run.
    public func restore() throws {
        let state = try store.load()
        bridges = state.bridges
        stations = state.stations
        pins = state.pins
        commit()
        if let tracking = state.tracking { dataplane.trackingSettings = tracking }
        // Each names those before it.
        restoreAddressSets(state.addressSets)
        try restoreGroups(state.groups)
        try restoreMeters(state.meters)
        try restoreFlows(state.flows)
        let records = try restoreNetwork(state)
        for record in records.sorted(by: { ($0.bridge, $0.number) < ($1.bridge, $1.number) }) {
            ports[record.name] = Port(record: record, index: PortIndex(UInt16(ports.count)))
        }
        open(Array(ports.keys))
        commit()
        for port in ports.values where port.failure == nil { installStations(of: port) }
        follow(network.idsOfPortsHere)
        logger.info("switch restored", metadata: ["bridges": "\(bridges.count)", "ports": "\(ports.count)"])
    }

    /// Makes the dataplane forward by the present configuration. Ports without a device are left out.
    func commit() {
        followLinks()
        updateEndpoints()
        var configuration = SwitchConfiguration()
        configuration.bridges = bridges.map { BridgeConfiguration(name: $0.key, settings: $0.value) }
        configuration.ports = ports.values.filter { $0.failure == nil }.map { port in
            PortConfiguration(
                index: port.index,
                name: port.record.name,
                bridge: port.record.bridge,
                number: port.record.number,
                vlan: port.record.vlan,
                frameLength: port.record.frameLength,
                peer: peer(of: port)?.index,
                isGuest: port.record.type.isGuest,
                endpoint: port.record.type.endpoint,
                tunnel: port.record.type.tunnel
            )
        }
        configuration.bridges.sort { $0.name < $1.name }
        configuration.ports.sort { $0.index.value < $1.index.value }
        dataplane.commit(configuration)
    }

    // MARK: Start-up and repair

    /// Opens the devices of ports and gives their queues to their workers; a failure is noted in its port.
    func open(_ names: [String]) {
        let opening = names.compactMap { ports[$0] }.filter(\.record.type.hasDevice)
            .sorted { $0.index.value < $1.index.value }
        let refusals = io.open(opening.map(\.opening))
        for port in opening {
            let (name, reason) = (port.record.name, refusals[port.index]?.reason)
            if let reason, port.failure != reason {
                logger.error("port cannot be opened", metadata: ["port": "\(name)", "reason": "\(reason)"])
            }
            ports[name]?.failure = reason
        }
        let opened = Dictionary(uniqueKeysWithValues: opening.map { ($0.record.name, $0.index) })
        for (pin, lcore) in pins {
            guard let index = opened[pin.port], refusals[index] == nil else { continue }
            do {
                try io.assign(index, queue: pin.queue, lcore: lcore)
            } catch {
                logger.warning("queue stays where it is", metadata: ["port": "\(pin.port)", "reason": "\(error)"])
            }
        }
    }

    func installStations(of port: Port) {
        installEndpoint(of: port)
        for (station, name) in stations where name == port.record.name {
            do {
                try dataplane.fdbAdd(station.mac, vlan: station.vlan, port: port.index, on: station.bridge)
            } catch {
                logger.error("static station left out", metadata: ["mac": "\(station.mac)", "reason": "\(error)"])
            }
        }
    }

    /// Tries again to open the devices that could not be opened.
    func retryFailedPorts() {
        let failed = ports.values.filter { $0.failure != nil }.map(\.record.name)
        guard !failed.isEmpty else { return }
        open(failed)
        let opened = failed.compactMap { ports[$0] }.filter { $0.failure == nil }
        guard !opened.isEmpty else { return }
        commit()
        for port in opened {
            logger.notice("port opened at last", metadata: ["port": "\(port.record.name)"])
            installStations(of: port)
        }
        followPorts()
    }
}

extension Switch: Service {
    private static let retrySeconds = 3

    /// How soon groups learn of a link that is lost.
    private static let beatsPerSecond = 10
    /// How soon a flow is learned, and a guest met.
    private static let shortInterval = Duration.milliseconds(10)

    /// The switch's clock: meets guests, follows the links that groups watch, learns flows, ages stations and flows once a second and
    /// tries failed ports again. Ends when the task is cancelled or the service group shuts down.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await self.beat() }
                group.addTask {
                    while (try? await Task.sleep(for: Self.shortInterval)) != nil {
                        // Asked here, so that the control thread does not wake for nothing.
                        if self.io.takeGuestNews() { await self.meetGuests() }
                        if self.dataplane.hasFlowsToLearn { await self.learnFlows() }
                        if self.endpointCount.load(ordering: .relaxed) != 0 { await self.followEndpoints() }
                    }
                }
            }
        }
    }

    private nonisolated func beat() async {
        var beats = 0
        while (try? await Task.sleep(for: .milliseconds(1000 / Self.beatsPerSecond))) != nil {
            beats += 1
            await follow()
            if beats.isMultiple(of: Self.beatsPerSecond) { await tick(beats / Self.beatsPerSecond) }
        }
    }

    private func meetGuests() {
        io.connectGuests()
        follow()
    }

    private func follow() {
        followLinks()
        followPorts()
    }

    private func tick(_ seconds: Int) {
        // A directory that was removed and made again has no news.
        io.connectGuests()
        dataplane.age()
        expireFlows()
        do {
            try store.checkpoint()
        } catch {
            logger.error("state file not written back, its log grows", metadata: ["reason": "\(error.reason)"])
        }
        if seconds.isMultiple(of: Self.retrySeconds) { retryFailedPorts() }
        if hasTakenMuch { malloc_trim(0) }
        hasTakenMuch = false
    }
}

/// A thread on which one job runs at a time, and may block.
private final class ControlThread: SerialExecutor {
    private let queue = DispatchQueue(label: "martlet.control")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }
}
