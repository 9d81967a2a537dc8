import CDPDK
import CPacket
import Dataplane

/// The switch's own address on a bridge: two rings between the workers and the control plane.
final class EndpointDevice: Device {
    let queueCount = 1
    private let rings: RingPair
    private var scratch: [Packet?]

    /// Packets that wait either way: beyond it the workers count drops.
    private static let size = 256

    init(port: PortIndex, pools: BufferPools) throws(Refusal) {
        let name = "martlet_endpoint_\(port.value)"
        do throws(Refusal) {
            rings = try RingPair(incoming: "\(name).in", outgoing: "\(name).out", size: Self.size, pools: pools)
        } catch {
            throw Refusal("no memory for the rings of an endpoint (\(error.reason)): raise --socket-memory")
        }
        scratch = Array(repeating: nil, count: Self.size)
    }

    var slot: DeviceSlot { rings.slot }
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

    func close() { rings.close() }
}
