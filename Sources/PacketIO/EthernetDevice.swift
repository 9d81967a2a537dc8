import CDPDK
import Dataplane
import Glibc

/// A DPDK ethdev: a NIC by PCI address, or a vdev by its devargs.
final class EthernetDevice: Device {
    /// What to attach, and how.
    struct Request {
        let device: String
        let queues: Int
        let descriptors: Int
        let buffers: Int
        let mtu: Int
        let workerCount: Int
    }

    let queueCount: Int
    let buffers: BufferPools.Reservation
    private let bus: String
    private let name: String
    private let port: UInt16
    private let descriptors: Int
    private let transmitQueueCount: Int
    private let locks: UnsafeMutablePointer<rte_spinlock_t>?

    init(_ request: Request, pools: BufferPools) throws(Refusal) {
        (bus, name) = Self.place(of: request.device)
        port = try Self.attach(request.device, bus: bus, name: name)
        do throws(Refusal) {
            let info = try Self.info(of: port)
            guard request.queues <= info.max_rx_queues else {
                throw Refusal("queues=\(request.queues) is more than the device has: \(info.max_rx_queues)")
            }
            queueCount = request.queues
            transmitQueueCount = min(request.workerCount, Int(info.max_tx_queues))
            descriptors = request.descriptors
            let held =
                (queueCount + transmitQueueCount) * (request.descriptors + 2 * Lane.burstLength) + request.buffers
            buffers = try pools.reserve(held, socket: max(rte_eth_dev_socket_id(port), 0))
            do throws(Refusal) {
                try Self.configure(port, request, info, transmitQueues: transmitQueueCount, pool: buffers.pool)
            } catch {
                pools.release(buffers)
                throw error
            }
        } catch {
            Self.detach(port, bus: bus, name: name)
            throw error
        }
        locks = transmitQueueCount < request.workerCount ? .allocate(capacity: transmitQueueCount) : nil
        locks?.initialize(repeating: rte_spinlock_t(), count: transmitQueueCount)
    }

    var slot: DeviceSlot {
        DeviceSlot(
            kind: .ethernet,
            ethernetPort: port,
            transmitQueueCount: UInt16(transmitQueueCount),
            transmitLocks: locks,
            pool: buffers.pool
        )
    }

    func start() throws(Refusal) {
        let result = rte_eth_dev_start(port)
        guard result == 0 else { throw Refusal("device '\(name)' does not start: \(EAL.words(result))") }
        // A switch takes frames of every address. Virtual devices that have no filter say so; that is fine.
        rte_eth_promiscuous_enable(port)
    }

    func close() {
        rte_eth_dev_stop(port)
        Self.detach(port, bus: bus, name: name)
        locks?.deallocate()
    }

    // MARK: - Attaching

    private static func place(of device: String) -> (bus: String, name: String) {
        let name = String(device.prefix { $0 != "," })
        guard PortType.isPCIAddress(name) else { return ("vdev", name) }
        // DPDK knows a device with its domain.
        return ("pci", name.filter { $0 == ":" }.count == 1 ? "0000:" + name : name)
    }

    private static func attach(_ device: String, bus: String, name: String) throws(Refusal) -> UInt16 {
        if bus == "pci" {
            guard access("/sys/bus/pci/devices/\(name)", F_OK) == 0 else {
                throw Refusal("PCI device \(name) does not exist: 'lspci -D' lists those of this machine")
            }
        }
        var port: UInt16 = 0
        guard rte_eth_dev_get_port_by_name(name, &port) != 0 else {
            throw Refusal("device '\(name)' is in use already: give the vdev another name or number")
        }
        let arguments = device.contains(",") ? String(device.drop { $0 != "," }.dropFirst()) : ""
        let result = rte_eal_hotplug_add(bus, name, arguments)
        guard result == 0 else { throw Refusal(attachFailure(device, name: name, result: result)) }
        guard rte_eth_dev_get_port_by_name(name, &port) == 0 else {
            rte_eal_hotplug_remove(bus, name)
            throw Refusal("device '\(name)' is no network device that DPDK can drive")
        }
        return port
    }

    private static func attachFailure(_ device: String, name: String, result: Int32) -> String {
        if result == -EEXIST { return "device '\(name)' is in use already: give the vdev another name or number" }
        let cause = EALLog.lastLine.map { " (\($0))" } ?? ""
        return "DPDK cannot attach '\(device)': \(EAL.words(result))\(cause)"
    }

    private static func detach(_ port: UInt16, bus: String, name: String) {
        rte_eth_dev_close(port)
        rte_eal_hotplug_remove(bus, name)
    }

    // MARK: - Configuring

    private static func info(of port: UInt16) throws(Refusal) -> rte_eth_dev_info {
        var info = rte_eth_dev_info()
        let result = rte_eth_dev_info_get(port, &info)
        guard result == 0 else { throw Refusal("the device tells nothing of itself: \(EAL.words(result))") }
        return info
    }

    private static func configure(
        _ port: UInt16,
        _ request: Request,
        _ info: rte_eth_dev_info,
        transmitQueues: Int,
        pool: OpaquePointer
    ) throws(Refusal) {
        guard request.mtu >= info.min_mtu, request.mtu <= info.max_mtu else {
            throw Refusal("mtu \(request.mtu) is outside what the device takes: \(info.min_mtu) to \(info.max_mtu)")
        }
        var configuration = rte_eth_conf()
        configuration.rxmode.mtu = UInt32(request.mtu)
        configuration.rxmode.offloads = info.rx_offload_capa & martlet_rx_scatter
        configuration.txmode.offloads = info.tx_offload_capa & martlet_tx_multi_segs
        if request.queues > 1 {
            configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS
            configuration.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads & martlet_rss_ip_tcp_udp
        }
        try check(
            rte_eth_dev_configure(port, UInt16(request.queues), UInt16(transmitQueues), &configuration),
            "does not take its configuration"
        )
        var receive = UInt16(request.descriptors)
        var transmit = UInt16(request.descriptors)
        try check(rte_eth_dev_adjust_nb_rx_tx_desc(port, &receive, &transmit), "does not take its descriptors")
        let socket = UInt32(max(rte_eth_dev_socket_id(port), 0))
        for queue in 0..<UInt16(request.queues) {
            let result = rte_eth_rx_queue_setup(port, queue, receive, socket, nil, pool)
            try check(result, "has no receive queue \(queue)")
        }
        for queue in 0..<UInt16(transmitQueues) {
            let result = rte_eth_tx_queue_setup(port, queue, transmit, socket, nil)
            try check(result, "has no transmit queue \(queue)")
        }
        // Some virtual devices ignore the MTU of their configuration and take it here; others know this call alone.
        rte_eth_dev_set_mtu(port, UInt16(request.mtu))
    }

    private static func check(_ result: Int32, _ complaint: String) throws(Refusal) {
        guard result == 0 else { throw Refusal("the device \(complaint): \(EAL.words(result))") }
    }

    // MARK: - Status

    private var link: rte_eth_link {
        var link = rte_eth_link()
        rte_eth_link_get_nowait(port, &link)
        return link
    }

    var hasLink: Bool { link.link_status == UInt16(RTE_ETH_LINK_UP) }

    func status(lcore: (Int) -> Int?) -> PortStatus {
        let link = link
        var mac = rte_ether_addr()
        rte_eth_macaddr_get(port, &mac)
        var mtu: UInt16 = 0
        rte_eth_dev_get_mtu(port, &mtu)
        var info = rte_eth_dev_info()
        rte_eth_dev_info_get(port, &info)
        let isUp = link.link_status == UInt16(RTE_ETH_LINK_UP)
        return PortStatus(
            linkUp: isUp,
            details: [
                .init("device", name),
                .init("driver", info.driver_name.map { String(cString: $0) } ?? "unknown"),
                .init("mac", Self.text(mac)),
                .init("device_mtu", "\(mtu)"),
                .init("speed", isUp && link.link_speed != UInt32.max ? "\(link.link_speed) Mbit/s" : "unknown"),
                .init("numa_node", "\(max(rte_eth_dev_socket_id(port), 0))"),
                .init("transmit_queues", "\(transmitQueueCount)"),
            ],
            queues: (0..<queueCount).map {
                .init(number: $0, lcore: lcore($0) ?? -1, enabled: true, size: descriptors)
            }
        )
    }

    private static func text(_ mac: rte_ether_addr) -> String {
        withUnsafeBytes(of: mac) { octets in
            octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
        }
    }
}
