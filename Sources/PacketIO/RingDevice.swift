import CDPDK
import CPacket
import Dataplane

/// Two rte_rings that a secondary DPDK process finds by name: it receives from `<name>.rx` and sends to `<name>.tx`.
///
/// Packets change hands, not bytes: the other process owns what it dequeues, and is trusted with the memory of the
/// whole switch.
final class RingDevice: Device {
    let queueCount = 1
    let buffers: BufferPools.Reservation
    private let size: Int
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer

    init(name: String, size: Int, options: EALOptions, pools: BufferPools) throws(Refusal) {
        guard !options.withoutHugepages else {
            throw Refusal("port type ring shares hugepages with another process: start martletd without --no-huge")
        }
        let buffers = try pools.reserve(2 * size, socket: 0)
        guard let outgoing = rte_ring_create("\(name).rx", UInt32(size), martlet_any_socket, 0) else {
            let reason = EAL.words(martlet_errno())
            pools.release(buffers)
            throw Refusal("ring '\(name).rx' cannot be made: \(reason)")
        }
        guard let incoming = rte_ring_create("\(name).tx", UInt32(size), martlet_any_socket, 0) else {
            let reason = EAL.words(martlet_errno())
            rte_ring_free(outgoing)
            pools.release(buffers)
            throw Refusal("ring '\(name).tx' cannot be made: \(reason)")
        }
        self.buffers = buffers
        self.size = size
        self.incoming = incoming
        self.outgoing = outgoing
    }

    var slot: DeviceSlot {
        DeviceSlot(kind: .ring, receiveRing: incoming, transmitRing: outgoing, pool: buffers.pool)
    }

    func start() {}

    /// The other process is not seen.
    var hasLink: Bool { true }

    func status(lcore: (Int) -> Int?) -> PortStatus {
        PortStatus(
            linkUp: hasLink,
            details: [
                .init("waiting_for_peer", "\(rte_ring_count(outgoing))"),
                .init("waiting_for_switch", "\(rte_ring_count(incoming))"),
            ],
            queues: [.init(number: 0, lcore: lcore(0) ?? -1, enabled: true, size: size)]
        )
    }

    func close() {
        for ring in [incoming, outgoing] {
            drain(ring)
            rte_ring_free(ring)
        }
    }

    private func drain(_ ring: OpaquePointer) {
        var packets = [Packet?](repeating: nil, count: Lane.burstLength)
        while true {
            let count = martlet_ring_receive(ring, &packets, UInt32(Lane.burstLength))
            guard count != 0 else { return }
            martlet_free(&packets, count)
        }
    }
}
