import CDPDK
import CPacket
import Dataplane
import Synchronization

/// How a worker receives from and sends to a device. A new port type that is none of these is a case here and in the
/// three switches of `Worker`.
enum DeviceKind: UInt8 {
    case none
    /// An ethdev: NICs and vdevs.
    case ethernet
    /// A guest, through librte_vhost.
    case vhost
    /// A pair of rte_rings.
    case ring
}

/// One port as a worker sends to it. Trivial: the worker's table of these is replaced whole.
struct DeviceSlot {
    var kind = DeviceKind.none
    var ethernetPort: UInt16 = 0
    var transmitQueueCount: UInt16 = 1
    /// A lock for each transmit queue when there are fewer queues than workers.
    var transmitLocks: UnsafeMutablePointer<rte_spinlock_t>?
    var receiveRing: OpaquePointer?
    var transmitRing: OpaquePointer?
    var vhost: UnsafeMutablePointer<VhostState>?
    var pool: OpaquePointer?
    var tap: UnsafeMutablePointer<CaptureTap>?
    /// By worker, of an endpoint that puts fragments together.
    var fragments: UnsafeMutablePointer<FragmentTable>?
}

/// One receive queue of a worker.
struct PollEntry {
    var port: UInt16
    var queue: UInt16
    var slot: DeviceSlot
}

/// What one worker polls and where it sends: built by the control plane, read by the worker, replaced whole.
struct PollPlan {
    let entries: UnsafeMutablePointer<PollEntry>
    let entryCount: Int
    let slots: UnsafeMutablePointer<DeviceSlot>
    /// Ports with fragments.
    let joining: UnsafeMutablePointer<UInt16>
    let joiningCount: Int

    init(entries list: [PollEntry], slots table: [PortIndex: DeviceSlot]) {
        entryCount = list.count
        entries = .allocate(capacity: max(list.count, 1))
        entries.initialize(from: list, count: list.count)
        slots = .allocate(capacity: PortIndex.capacity)
        slots.initialize(repeating: DeviceSlot(), count: PortIndex.capacity)
        for (port, slot) in table { slots[Int(port.value)] = slot }
        let ports = table.filter { $0.value.fragments != nil }.map(\.key.value)
        joiningCount = ports.count
        joining = .allocate(capacity: max(ports.count, 1))
        joining.initialize(from: ports, count: ports.count)
    }

    func free() {
        entries.deallocate()
        slots.deallocate()
        joining.deallocate()
    }
}
