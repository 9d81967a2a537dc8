import CDPDK
import Dataplane

/// Packet buffers, in mempools of a NUMA node, as many as the open ports need.
///
/// A port reserves the most buffers that its queues can hold; a new pool is made when the node's pools have no room
/// for a reservation. Pools are never freed: a buffer may rest in another port's transmit queue. Ports that come and
/// go take the room of those that went.
final class BufferPools {
    /// A port's part of a pool.
    struct Reservation {
        let pool: OpaquePointer
        fileprivate let index: Int
        fileprivate let count: Int
    }

    private struct Pool {
        let pool: OpaquePointer
        let socket: Int32
        let capacity: Int
        var reserved = 0
    }

    /// Buffers of a pool, if no port needs more at once: 2^14 - 1, since a mempool is best at one less than a power
    /// of two (rte_mempool.h, `rte_mempool_create`).
    private static let smallestPool = 16_383
    private static let cacheSize = 256

    private let workerCount: Int
    private var pools: [Pool] = []

    init(workerCount: Int) { self.workerCount = workerCount }

    /// - Parameters:
    ///   - count: the most buffers that the port's queues hold at once.
    ///   - socket: the NUMA node of the device.
    /// - Throws: `Refusal` when the node has no memory left.
    func reserve(_ count: Int, socket: Int32) throws(Refusal) -> Reservation {
        let index = try roomyPool(for: count, socket: socket)
        pools[index].reserved += count
        return Reservation(pool: pools[index].pool, index: index, count: count)
    }

    func release(_ reservation: Reservation) { pools[reservation.index].reserved -= reservation.count }

    private func roomyPool(for count: Int, socket: Int32) throws(Refusal) -> Int {
        for (index, pool) in pools.enumerated()
        where pool.socket == socket && pool.capacity - pool.reserved >= count { return index }
        // Every worker may keep one and a half caches' worth of free buffers from the others, and fragments that wait.
        let kept = workerCount * (Self.cacheSize * 3 / 2 + Lane.fragmentBufferLimit)
        let size = max(Self.smallestPool, (1 << (Int.bitWidth - (count + kept).leadingZeroBitCount)) - 1)
        let name = "martlet_buffers_\(pools.count)"
        guard
            let pool = rte_pktmbuf_pool_create(
                name,
                UInt32(size),
                UInt32(Self.cacheSize),
                0,
                martlet_mbuf_room,
                socket
            )
        else {
            throw Refusal(
                "no memory for \(size) packet buffers on NUMA node \(socket) (\(EAL.words(martlet_errno()))): "
                    + "raise --socket-memory"
            )
        }
        pools.append(Pool(pool: pool, socket: socket, capacity: size - kept))
        return pools.count - 1
    }
}
