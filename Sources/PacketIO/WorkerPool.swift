import CDPDK
import Dataplane
import Synchronization

/// The workers and what they poll. A change of devices or queues makes new plans, publishes them, and returns when no
/// worker uses the old ones.
final class WorkerPool {
    private struct QueueKey: Hashable {
        let port: PortIndex
        let queue: Int
    }

    /// A port's device with the number of its receive queues.
    struct Device {
        let slot: DeviceSlot
        let queueCount: Int
    }

    private let workers: [UnsafeMutablePointer<WorkerState>]
    private let quiescence: Quiescence
    private var devices: [PortIndex: Device] = [:]
    private var placement: [QueueKey: Int] = [:]

    init(lcores: [Int], lanes: [Lane], quiescence: Quiescence, idleSleep: Int) {
        self.quiescence = quiescence
        workers = zip(lcores, lanes).enumerated().map { number, pair in
            let state = UnsafeMutablePointer<WorkerState>.allocate(capacity: 1)
            state.initialize(
                to: WorkerState(
                    lcore: UInt32(pair.0),
                    number: number,
                    lane: pair.1,
                    plan: Self.published(PollPlan(entries: [], slots: [:])),
                    quiescence: quiescence.variable,
                    idleSleep: UInt32(idleSleep)
                )
            )
            pair.1.drainContext.pointee = UnsafeMutableRawPointer(state)
            return state
        }
    }

    var count: Int { workers.count }

    func start() throws(Refusal) {
        for worker in workers {
            let lcore = worker.pointee.lcore
            quiescence.register(lcore)
            guard rte_eal_remote_launch(Worker.main, worker, lcore) == 0 else {
                throw Refusal("lcore \(lcore) runs something else: choose another with --worker-lcores")
            }
        }
    }

    /// Ends the loops and waits for them.
    func stop() {
        for worker in workers { worker.pointee.stops.store(true, ordering: .relaxed) }
        for worker in workers { _ = rte_eal_wait_lcore(worker.pointee.lcore) }
    }

    // MARK: - Devices

    /// Has the workers poll devices, each queue by the one that has the fewest.
    func add(_ added: [PortIndex: Device]) {
        guard !added.isEmpty else { return }
        devices.merge(added) { $1 }
        var load = [Int](repeating: 0, count: workers.count)
        for number in placement.values { load[number] += 1 }
        for (port, device) in added.sorted(by: { $0.key.value < $1.key.value }) {
            for queue in 0..<device.queueCount {
                let number = load.indices.min { load[$0] < load[$1] }!
                placement[QueueKey(port: port, queue: queue)] = number
                load[number] += 1
            }
        }
        publish()
    }

    func remove(_ ports: [PortIndex]) {
        let gone = Set(ports.filter { devices.removeValue(forKey: $0) != nil })
        guard !gone.isEmpty else { return }
        placement = placement.filter { !gone.contains($0.key.port) }
        publish()
    }

    /// Changes how workers reach a device, its queues staying where they are.
    func replace(_ slot: DeviceSlot, for port: PortIndex) {
        guard let device = devices[port] else { return }
        devices[port] = Device(slot: slot, queueCount: device.queueCount)
        publish()
    }

    func assign(_ port: PortIndex, queue: Int, lcore: Int) throws(Refusal) {
        guard let number = workers.firstIndex(where: { Int($0.pointee.lcore) == lcore }) else {
            let lcores = workers.map { String($0.pointee.lcore) }.joined(separator: ", ")
            throw Refusal("lcore \(lcore) is no worker: the workers are \(lcores)")
        }
        let key = QueueKey(port: port, queue: queue)
        guard placement[key] != nil else {
            let count = devices[port]?.queueCount ?? 0
            throw Refusal("queue \(queue) does not exist: the port has \(count)")
        }
        // First nobody polls it: two workers in one receive queue would take its descriptors from each other.
        placement[key] = nil
        publish()
        placement[key] = number
        publish()
    }

    /// The lcore that polls a queue.
    func lcore(of port: PortIndex, queue: Int) -> Int? {
        placement[QueueKey(port: port, queue: queue)].map { Int(workers[$0].pointee.lcore) }
    }

    func status() -> [WorkerStatus] {
        workers.enumerated().map { number, worker in
            let figures = worker.pointee.figures
            let queues = placement.filter { $0.value == number }.keys
                .sorted { ($0.port.value, $0.queue) < ($1.port.value, $1.queue) }
            return WorkerStatus(
                lcore: Int(worker.pointee.lcore),
                socket: Int(rte_lcore_to_socket_id(worker.pointee.lcore)),
                queues: queues.map { .init(port: $0.port, queue: $0.queue) },
                turns: figures.turns,
                busyTurns: figures.busyTurns,
                cycles: figures.cycles,
                busyCycles: figures.busyCycles,
                cyclesPerSecond: rte_get_tsc_hz(),
                packets: figures.packets
            )
        }
    }

    // MARK: - Plans

    private func publish() {
        let slots = devices.mapValues(\.slot)
        var replaced: [UnsafeMutablePointer<PollPlan>] = []
        for (number, worker) in workers.enumerated() {
            let entries = placement.filter { $0.value == number }.keys
                .sorted { ($0.port.value, $0.queue) < ($1.port.value, $1.queue) }
                .map { PollEntry(port: $0.port.value, queue: UInt16($0.queue), slot: slots[$0.port]!) }
            let plan = Self.published(PollPlan(entries: entries, slots: slots))
            replaced.append(worker.pointee.plan.exchange(plan, ordering: .acquiringAndReleasing))
        }
        quiescence.wait()
        for plan in replaced {
            plan.pointee.free()
            plan.deallocate()
        }
    }

    private static func published(_ plan: PollPlan) -> UnsafeMutablePointer<PollPlan> {
        let pointer = UnsafeMutablePointer<PollPlan>.allocate(capacity: 1)
        pointer.initialize(to: plan)
        return pointer
    }
}

/// Waiting for the workers to let go of what was replaced: DPDK's quiescent-state-based reclamation
/// (DPDK Programmer's Guide, "RCU Library").
final class Quiescence: @unchecked Sendable {
    let variable: OpaquePointer

    init() {
        let size = rte_rcu_qsbr_get_memsize(martlet_maximum_lcores)
        variable = OpaquePointer(UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64))
        rte_rcu_qsbr_init(variable, martlet_maximum_lcores)
    }

    func register(_ lcore: UInt32) { rte_rcu_qsbr_thread_register(variable, lcore) }

    /// Returns when every running worker has ended the turn it was in. Any thread but a worker may call it.
    func wait() { rte_rcu_qsbr_synchronize(variable, martlet_no_thread) }
}
