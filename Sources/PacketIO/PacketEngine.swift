import CDPDK
import CPacket
public import Dataplane
import Glibc
import Synchronization

/// How the packet engine starts.
public struct PacketEngineOptions: Sendable {
    public var eal = EALOptions()
    /// Microseconds that a worker sleeps at a time when nothing came for some milliseconds; 0 never sleeps.
    public var idleSleep = 0
    /// Connections that the workers' flow caches hold, all together.
    public var cacheEntries = 1 << 20
    public static let cacheEntriesRange = 1024...16_777_216
    /// Connections that are tracked at once.
    public var connections = 1 << 20
    public static let connectionsRange = 1024...16_777_216
    /// Where the positions of guests' rings are kept over a restart; an existing directory, or nil.
    public var ringRecords: String?

    public init() {}
}

/// DPDK's side of the switch: devices, packet buffers, workers and captures. One a process.
///
/// All calls come from one task at a time.
public final class PacketEngine: PortIO, @unchecked Sendable {
    public let dataplane: Dataplane

    /// DPDK's version, as it says it.
    public static var version: String { String(cString: rte_version()) }

    private let options: PacketEngineOptions
    private let pools: BufferPools
    private let workerPool: WorkerPool
    private let quiescence = Quiescence()
    private let guestNews = GuestNews()
    private var devices: [PortIndex: any Device] = [:]
    private var captures: [PortIndex: RunningCapture] = [:]

    /// Starts DPDK and the workers. Call it first of all, on the main thread: threads made later stay off the
    /// workers' CPUs.
    /// - Throws: `Refusal` with what to do.
    public init(_ options: PacketEngineOptions) throws(Refusal) {
        try EAL.start(options.eal)
        martlet_survive_vanished_memory()
        self.options = options
        let lcores = options.eal.workerLcores
        pools = BufferPools(workerCount: lcores.count)
        dataplane = Dataplane(
            workerCount: lcores.count,
            copy: martlet_copy_packet,
            drain: Worker.drain,
            join: Worker.join,
            cacheCapacity: options.cacheEntries,
            connectionCapacity: options.connections,
            quiesce: quiescence.wait
        )
        workerPool = WorkerPool(
            lcores: lcores,
            lanes: dataplane.lanes,
            quiescence: quiescence,
            idleSleep: options.idleSleep
        )
        try workerPool.start()
    }

    /// Ends the workers, closes every device and leaves DPDK. What guests' rings need to go on is kept.
    public func shutdown() {
        workerPool.stop()
        for device in devices.values { device.close() }
        devices = [:]
        EAL.stop(options.eal)
    }

    // MARK: - Ports

    public func open(_ ports: [PortOpening]) -> [PortIndex: Refusal] {
        var refusals: [PortIndex: Refusal] = [:]
        var opened: [PortIndex: WorkerPool.Device] = [:]
        for port in ports {
            precondition(devices[port.index] == nil)
            do throws(Refusal) {
                let device = try started(port)
                devices[port.index] = device
                opened[port.index] = .init(slot: device.slot, queueCount: device.queueCount)
            } catch {
                refusals[port.index] = error
            }
        }
        workerPool.add(opened)
        return refusals
    }

    private func started(_ port: PortOpening) throws(Refusal) -> any Device {
        let device = try make(port)
        do throws(Refusal) {
            try device.start()
        } catch {
            device.close()
            pools.release(device.buffers)
            throw error
        }
        return device
    }

    public func close(_ ports: [PortIndex]) {
        let closing = ports.compactMap { devices.removeValue(forKey: $0) }
        for port in ports { captures[port]?.stop() }
        workerPool.remove(ports)
        for device in closing {
            device.close()
            (device as? VhostDevice)?.forget()
            pools.release(device.buffers)
        }
    }

    /// The one place that knows which device a port type is.
    private func make(_ port: PortOpening) throws(Refusal) -> any Device {
        switch port.type {
        case .dpdk(let device, let queues, let descriptors, let buffers):
            return try ethernet(device, queues: queues, descriptors: descriptors, buffers: buffers, mtu: port.mtu)
        case .vhostUser(let path, let mode, let queues):
            return try VhostDevice(
                path: path,
                mode: mode,
                queues: queues,
                recordPath: options.ringRecords.map { "\($0)/\(port.name).rings" },
                pools: pools,
                workerCount: workerPool.count,
                quiescence: quiescence,
                news: guestNews
            )
        case .ring(let name, let size):
            return try RingDevice(name: name, size: size, options: options.eal, pools: pools)
        case .tap(let interface):
            return try ethernet(
                "net_tap_\(interface),iface=\(interface)",
                queues: 1,
                descriptors: 1024,
                buffers: 0,
                mtu: port.mtu
            )
        case .endpoint(let options):
            return try EndpointDevice(
                port: port.index,
                fragments: options.fragments,
                workerCount: workerPool.count,
                pools: pools
            )
        case .patch, .tunnel:
            throw Refusal("port '\(port.name)' is of type \(port.type.name): it has no device")
        }
    }

    private func ethernet(
        _ device: String,
        queues: Int,
        descriptors: Int,
        buffers: Int,
        mtu: Int
    ) throws(Refusal) -> EthernetDevice {
        let request = EthernetDevice.Request(
            device: device,
            queues: queues,
            descriptors: descriptors,
            buffers: buffers,
            mtu: mtu,
            workerCount: workerPool.count
        )
        return try EthernetDevice(request, pools: pools)
    }

    public func status(of port: PortIndex) -> PortStatus {
        devices[port]?.status { self.workerPool.lcore(of: port, queue: $0) } ?? PortStatus(linkUp: false)
    }

    public func hasLink(_ port: PortIndex) -> Bool { devices[port]?.hasLink ?? false }

    public func takeGuestNews() -> Bool { guestNews.take() }

    public func connectGuests() {
        for case let device as VhostDevice in devices.values { device.connectAwaited() }
    }

    // MARK: - Endpoints

    public func take(from port: PortIndex, limit: Int) -> [[UInt8]] {
        (devices[port] as? EndpointDevice)?.take(limit: limit) ?? []
    }

    public func send(_ frame: [UInt8], from port: PortIndex) -> Bool {
        (devices[port] as? EndpointDevice)?.send(frame) ?? false
    }

    // MARK: - Workers

    public func workers() -> [WorkerStatus] { workerPool.status() }

    public func assign(_ port: PortIndex, queue: Int, lcore: Int) throws(Refusal) {
        try workerPool.assign(port, queue: queue, lcore: lcore)
    }

    // MARK: - Captures

    public func capture(_ port: PortIndex, request: CaptureRequest) throws(Refusal) -> any Capture {
        guard let device = devices[port] else { throw Refusal("the port is not open: see 'martletctl port show'") }
        guard captures[port] == nil else { throw Refusal("the port is captured already: end that capture first") }
        let capture = try RunningCapture(request) { [weak self] in self?.detach($0, from: port) }
        captures[port] = capture
        var slot = device.slot
        slot.tap = capture.tap
        workerPool.replace(slot, for: port)
        return capture
    }

    private func detach(_ capture: RunningCapture, from port: PortIndex) {
        guard captures[port] === capture, let device = devices[port] else { return }
        captures[port] = nil
        workerPool.replace(device.slot, for: port)
    }
}
