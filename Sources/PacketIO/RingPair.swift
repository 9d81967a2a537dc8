import CDPDK
import CPacket
import Dataplane

/// Two rte_rings between the workers and whoever is behind a port, and the packet buffers that wait in them.
final class RingPair {
    let size: Int
    let buffers: BufferPools.Reservation
    /// To the workers, and from them.
    let incoming: OpaquePointer
    let outgoing: OpaquePointer

    /// - Parameters:
    ///   - incoming, outgoing: names of at most 28 characters that no other ring has.
    ///   - size: packets that may wait either way.
    ///   - buffers: to reserve beside those.
    /// - Throws: `Refusal`; nothing is left then.
    init(incoming: String, outgoing: String, size: Int, buffers: Int = 0, pools: BufferPools) throws(Refusal) {
        let buffers = try pools.reserve(2 * size + buffers, socket: 0)
        do throws(Refusal) {
            self.outgoing = try Self.ring(outgoing, size)
            do throws(Refusal) {
                self.incoming = try Self.ring(incoming, size)
            } catch {
                rte_ring_free(self.outgoing)
                throw error
            }
        } catch {
            pools.release(buffers)
            throw error
        }
        self.buffers = buffers
        self.size = size
    }

    private static func ring(_ name: String, _ size: Int) throws(Refusal) -> OpaquePointer {
        guard let ring = rte_ring_create(name, UInt32(size), martlet_any_socket, 0) else {
            throw Refusal("ring '\(name)' cannot be made: \(EAL.words(martlet_errno()))")
        }
        return ring
    }

    var slot: DeviceSlot {
        DeviceSlot(kind: .ring, receiveRing: incoming, transmitRing: outgoing, pool: buffers.pool)
    }

    /// - Parameter lcore: which lcore polls a queue.
    func queue(lcore: (Int) -> Int?) -> PortStatus.Queue {
        PortStatus.Queue(number: 0, lcore: lcore(0) ?? -1, enabled: true, size: size)
    }

    /// Frees what waits, and the rings. No worker uses them any more.
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
