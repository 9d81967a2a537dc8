import CDPDK
import CPacket
import Dataplane

/// The switch's own address on a bridge: two rings between the workers and the control plane, and the fragments of tunnels'
/// packets if they are put together.
final class EndpointDevice: Device {
    let queueCount = 1
    private let rings: RingPair
    private let fragments: UnsafeMutablePointer<FragmentTable>?
    private let workerCount: Int
    private var scratch: [Packet?]

    /// Packets that wait either way: beyond it the workers count drops.
    private static let size = 256

    init(
        port: PortIndex,
        fragments option: EndpointOptions.Fragments,
        workerCount: Int,
        pools: BufferPools
    ) throws(Refusal) {
        let name = "martlet_endpoint_\(port.value)"
        do throws(Refusal) {
            rings = try RingPair(
                incoming: "\(name).in",
                outgoing: "\(name).out",
                size: Self.size,
                buffers: option == .reassemble ? workerCount * FragmentTable.bufferLimit : 0,
                pools: pools
            )
        } catch {
            throw Refusal("no memory for the rings of an endpoint (\(error.reason)): raise --socket-memory")
        }
        self.workerCount = workerCount
        scratch = Array(repeating: nil, count: Self.size)
        guard option == .reassemble else {
            fragments = nil
            return
        }
        do throws(Refusal) {
            fragments = try Self.tables(workerCount, rings.buffers.pool)
        } catch {
            rings.close()
            pools.release(rings.buffers)
            throw error
        }
    }

    private static func tables(
        _ count: Int,
        _ pool: OpaquePointer
    ) throws(Refusal) -> UnsafeMutablePointer<FragmentTable> {
        let tables = UnsafeMutablePointer<FragmentTable>.allocate(capacity: count)
        for number in 0..<count {
            do throws(Refusal) {
                (tables + number).initialize(to: try FragmentTable(pool: pool))
            } catch {
                tables.deinitialize(count: number)
                tables.deallocate()
                throw error
            }
        }
        return tables
    }

    var slot: DeviceSlot {
        var slot = rings.slot
        slot.fragments = fragments
        return slot
    }

    var buffers: BufferPools.Reservation { rings.buffers }

    func start() {}

    var hasLink: Bool { true }

    func status(lcore: (Int) -> Int?) -> PortStatus {
        PortStatus(linkUp: true, queues: [rings.queue(lcore: lcore)])
    }

    /// What the workers have sent here, oldest first.
    func take(limit: Int) -> [[UInt8]] {
        let count = martlet_ring_receive(rings.outgoing, &scratch, UInt32(min(limit, Self.size)))
        let frames = (0..<Int(count)).map { Self.bytes(of: scratch[$0].unsafelyUnwrapped) }
        martlet_free(&scratch, count)
        return frames
    }

    private static func bytes(of packet: Packet) -> [UInt8] {
        let length = Int(packet.pointee.packet_length)
        return [UInt8](unsafeUninitializedCapacity: length) { space, count in
            martlet_copy_bytes(packet, space.baseAddress, UInt32(length))
            count = length
        }
    }

    /// Has a worker receive a frame from here.
    /// - Returns: false when there is no buffer, or no room for it.
    func send(_ frame: [UInt8]) -> Bool {
        guard let length = UInt16(exactly: frame.count), let packet = martlet_make(buffers.pool, frame, length) else {
            return false
        }
        scratch[0] = packet
        if martlet_ring_transmit(rings.incoming, &scratch, 1) == 1 { return true }
        martlet_free(&scratch, 1)
        return false
    }

    func close() {
        rings.close()
        fragments?.deinitialize(count: workerCount)
        fragments?.deallocate()
    }
}
