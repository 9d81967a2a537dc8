import CDPDK
import CPacket
import Dataplane
import Glibc
import Synchronization

/// A virtual machine's virtio-net device, over the vhost-user protocol of librte_vhost.
///
/// Checksum and segmentation offload are not offered: a frame that the switch sends on to a wire or to another guest
/// always carries its checksums, whatever the receiver can do.
final class VhostDevice: Device, @unchecked Sendable {
    let queueCount: Int
    let buffers: BufferPools.Reservation
    private let path: String
    private let mode: PortType.VhostMode
    private let recordPath: String?
    private let record: RingRecord
    private let state: UnsafeMutablePointer<VhostState>
    private let quiescence: Quiescence
    private let news: GuestNews
    /// The guest's socket is to come up first.
    private var isAwaited = false
    /// Rings of this connection that stand where they should. Touched by librte_vhost's thread only.
    private var restored: UInt64 = 0

    /// Packets of a guest that wait in queues of the switch itself, for each queue pair.
    private static let heldPerQueue = 512

    init(
        path: String,
        mode: PortType.VhostMode,
        queues: Int,
        recordPath: String?,
        pools: BufferPools,
        workerCount: Int,
        quiescence: Quiescence,
        news: GuestNews
    ) throws(Refusal) {
        try VhostSocket.claim(path, mode: mode)
        buffers = try pools.reserve(queues * Self.heldPerQueue, socket: 0)
        do throws(Refusal) {
            record = try RingRecord(path: recordPath)
        } catch {
            pools.release(buffers)
            throw error
        }
        queueCount = queues
        self.path = path
        self.mode = mode
        self.recordPath = recordPath
        self.quiescence = quiescence
        self.news = news
        state = .allocate(capacity: 1)
        state.initialize(to: VhostState(record: record, workerCount: workerCount))
    }

    deinit {
        state.deinitialize(count: 1)
        state.deallocate()
    }

    var slot: DeviceSlot { DeviceSlot(kind: .vhost, vhost: state, pool: buffers.pool) }

    func start() throws(Refusal) {
        let flags = mode == .client ? UInt64(RTE_VHOST_USER_CLIENT) : 0
        guard rte_vhost_driver_register(path, flags) == 0 else {
            throw Refusal("vhost-user socket '\(path)' is refused by DPDK: \(EALLog.lastLine ?? "see the log")")
        }
        Self.registry.withLock { $0[path] = self }
        rte_vhost_driver_disable_features(path, VirtioFeature.withheld(queues: queueCount))
        rte_vhost_driver_callback_register(path, Self.callbacks)
        // In this order, so that none comes up unseen.
        isAwaited = mode == .client && news.follow(VhostSocket.directory(of: path)) && access(path, F_OK) != 0
        guard isAwaited || rte_vhost_driver_start(path) == 0 else {
            throw Refusal("vhost-user socket '\(path)' cannot be opened: \(EALLog.lastLine ?? "see the log")")
        }
    }

    /// Connects to a guest whose socket has come up.
    func connectAwaited() {
        guard isAwaited, access(path, F_OK) == 0 else { return }
        // From now on librte_vhost tries again by itself.
        isAwaited = rte_vhost_driver_start(path) != 0
    }

    func close() {
        // The registry holds the device from a successful registration on: a path that another port has stays its own.
        if Self.registry.withLock({ $0[path] === self }) { rte_vhost_driver_unregister(path) }
        Self.registry.withLock { devices in
            if devices[path] === self { devices[path] = nil }
        }
        record.close()
    }

    /// Forgets where the guest's rings stood: the port is gone for good.
    func forget() { if let recordPath { unlink(recordPath) } }

    // MARK: - librte_vhost's callbacks, on its own thread

    private static let registry = Mutex<[String: VhostDevice]>([:])

    /// Lives as long as the process: librte_vhost keeps the pointer.
    private nonisolated(unsafe) static let callbacks: UnsafePointer<rte_vhost_device_ops> = {
        let operations = UnsafeMutablePointer<rte_vhost_device_ops>.allocate(capacity: 1)
        var table = rte_vhost_device_ops()
        table.new_connection = { device in
            if let path = VhostDevice.path(of: device) { VhostSocket.limitWaiting(on: path) }
            return 0
        }
        table.new_device = { device in
            VhostDevice.named(by: device)?.guestReady(device)
            return 0
        }
        table.destroy_device = { device in VhostDevice.named(by: device)?.guestGone() }
        table.vring_state_changed = { device, vring, enabled in
            VhostDevice.named(by: device)?.ringChanged(device, vring, isReady: enabled != 0)
            return 0
        }
        operations.initialize(to: table)
        return UnsafePointer(operations)
    }()

    private static func path(of device: Int32) -> String? {
        var name = [CChar](repeating: 0, count: 256)
        guard rte_vhost_get_ifname(device, &name, name.count) == 0 else { return nil }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private static func named(by device: Int32) -> VhostDevice? {
        guard let path = path(of: device) else { return nil }
        return registry.withLock { $0[path] }
    }

    private func guestReady(_ device: Int32) {
        var features: UInt64 = 0
        rte_vhost_get_negotiated_features(device, &features)
        state.pointee.isPacked.store(features & VirtioFeature.packedRing != 0, ordering: .relaxed)
        for vring in 0..<usableRings(of: device) { prepare(vring, of: device) }
        state.pointee.device.store(device, ordering: .releasing)
        news.noteLink()
        // What the former process left in a used ring without a call: the guest may be waiting for it.
        for vring in 0..<usableRings(of: device) { rte_vhost_vring_call(device, vring) }
    }

    private func guestGone() {
        state.pointee.device.store(-1, ordering: .releasing)
        state.pointee.ready.store(0, ordering: .relaxed)
        news.noteLink()
        restored = 0
        quiescence.wait()
    }

    /// librte_vhost may hold the ring's lock, and a worker may be waiting for it: nothing here waits for a worker or
    /// takes that lock.
    private func ringChanged(_ device: Int32, _ vring: UInt16, isReady: Bool) {
        guard vring < UInt16(queueCount * 2) else { return }
        let bit = UInt64(1) << UInt64(vring)
        if isReady {
            // Before the device is ready its rings are prepared all at once, when the features are known.
            if state.pointee.device.load(ordering: .relaxed) >= 0 { prepare(vring, of: device) }
            state.pointee.ready.bitwiseOr(bit, ordering: .releasing)
        } else {
            state.pointee.ready.bitwiseAnd(~bit, ordering: .releasing)
            restored &= ~bit
        }
    }

    /// Puts a ring where the former process left it, and has its worker tell the guest not to kick.
    private func prepare(_ vring: UInt16, of device: Int32) {
        let bit = UInt64(1) << UInt64(vring)
        guard restored & bit == 0 else { return }
        restored |= bit
        if state.pointee.isPacked.load(ordering: .relaxed) { record.restore(vring, of: device) }
        state.pointee.kicking.bitwiseOr(bit, ordering: .relaxed)
    }

    private func usableRings(of device: Int32) -> UInt16 {
        min(rte_vhost_get_vring_num(device), UInt16(queueCount * 2))
    }

    // MARK: - Status

    var hasLink: Bool { state.pointee.device.load(ordering: .acquiring) >= 0 }

    func status(lcore: (Int) -> Int?) -> PortStatus {
        let device = state.pointee.device.load(ordering: .acquiring)
        let ready = state.pointee.ready.load(ordering: .relaxed)
        let queues = (0..<queueCount).map { queue in
            let vring = VhostState.guestTransmit(UInt16(queue))
            return PortStatus.Queue(
                number: queue,
                lcore: lcore(queue) ?? -1,
                enabled: device >= 0 && ready & 1 << UInt64(vring) != 0,
                size: Self.ringSize(vring, of: device)
            )
        }
        var details: [PortStatus.Detail] = [.init("socket", path), .init("mode", mode.rawValue)]
        if device >= 0 { details += Self.details(of: device, ready: ready, queueCount: queueCount) }
        return PortStatus(linkUp: device >= 0, details: details, queues: queues)
    }

    private static func ringSize(_ vring: UInt16, of device: Int32) -> Int {
        var ring = rte_vhost_vring()
        return device >= 0 && rte_vhost_get_vhost_vring(device, vring, &ring) == 0 ? Int(ring.size) : 0
    }

    private static func details(of device: Int32, ready: UInt64, queueCount: Int) -> [PortStatus.Detail] {
        var features: UInt64 = 0
        rte_vhost_get_negotiated_features(device, &features)
        let rings = Int(rte_vhost_get_vring_num(device))
        var details: [PortStatus.Detail] = [
            .init("features", VirtioFeature.names(in: features)),
            .init("features_hex", "0x" + String(features, radix: 16)),
            .init("numa_node", "\(max(rte_vhost_get_numa_node(device), 0))"),
            .init("rings", "\(rings)"),
            .init(
                "ready_rings",
                (0..<64).filter { ready & 1 << UInt64($0) != 0 }.map(String.init).joined(separator: " ")
            ),
        ]
        if rings > queueCount * 2 {
            details.append(
                .init("unused_rings", "\(rings - queueCount * 2): add the port again with --option queues=\(rings / 2)")
            )
        }
        for (number, region) in GuestMemory(of: device).regions.enumerated() {
            let start = String(region.guest_phys_addr, radix: 16)
            details.append(.init("memory_region_\(number)", "0x\(start) \(region.size >> 20) MB"))
        }
        return details
    }
}

/// Feature bits of virtio and of virtio-net (virtio 1.2 sections 5.1.3 and 6).
private enum VirtioFeature {
    static let packedRing: UInt64 = 1 << 34
    private static let multiqueue: UInt64 = 1 << 22

    private static let all: [(bit: Int, name: String)] = [
        (0, "CSUM"), (1, "GUEST_CSUM"), (3, "MTU"), (7, "GUEST_TSO4"), (8, "GUEST_TSO6"), (9, "GUEST_ECN"),
        (10, "GUEST_UFO"), (11, "HOST_TSO4"), (12, "HOST_TSO6"), (13, "HOST_ECN"), (14, "HOST_UFO"),
        (15, "MRG_RXBUF"), (16, "STATUS"), (17, "CTRL_VQ"), (18, "CTRL_RX"), (21, "GUEST_ANNOUNCE"), (22, "MQ"),
        (26, "LOG_ALL"), (27, "ANY_LAYOUT"), (28, "INDIRECT_DESC"), (29, "EVENT_IDX"), (30, "PROTOCOL_FEATURES"),
        (32, "VERSION_1"), (33, "IOMMU_PLATFORM"), (34, "RING_PACKED"), (35, "IN_ORDER"),
    ]

    /// What the switch does not carry through: offloads, and several queues on a port that polls one.
    static func withheld(queues: Int) -> UInt64 {
        let offloads =
            all.filter { $0.name.hasSuffix("CSUM") || $0.name.hasPrefix("GUEST_TSO") }
            .map(\.bit) + [9, 10, 11, 12, 13, 14]
        let mask = offloads.reduce(UInt64(0)) { $0 | 1 << UInt64($1) }
        return queues > 1 ? mask : mask | multiqueue
    }

    static func names(in features: UInt64) -> String {
        all.filter { features & 1 << UInt64($0.bit) != 0 }.map(\.name).joined(separator: " ")
    }
}
