import CDPDK
import Dataplane

/// Two rte_rings that a secondary DPDK process finds by name: it receives from `<name>.rx` and sends to `<name>.tx`.
///
/// Packets change hands, not bytes: the other process owns what it dequeues, and is trusted with the memory of the
/// whole switch.
final class RingDevice: Device {
    let queueCount = 1
    private let rings: RingPair

    init(name: String, size: Int, options: EALOptions, pools: BufferPools) throws(Refusal) {
        guard !options.withoutHugepages else {
            throw Refusal("port type ring shares hugepages with another process: start martletd without --no-huge")
        }
        rings = try RingPair(incoming: "\(name).tx", outgoing: "\(name).rx", size: size, pools: pools)
    }

    var slot: DeviceSlot { rings.slot }
    var buffers: BufferPools.Reservation { rings.buffers }

    func start() {}

    /// The other process is not seen.
    var hasLink: Bool { true }

    func status(lcore: (Int) -> Int?) -> PortStatus {
        PortStatus(
            linkUp: hasLink,
            details: [
                .init("waiting_for_peer", "\(rte_ring_count(rings.outgoing))"),
                .init("waiting_for_switch", "\(rte_ring_count(rings.incoming))"),
            ],
            queues: [rings.queue(lcore: lcore)]
        )
    }

    func close() { rings.close() }
}
