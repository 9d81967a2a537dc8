import CDPDK
import CPacket
import Dataplane

/// The switch's own address on a bridge: two rings between the workers and the control plane.
final class EndpointDevice: Device {
    let queueCount = 1
    let buffers: BufferPools.Reservation
    /// From the control plane, and to it.
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer
    private var scratch: [Packet?]

    /// Packets that wait either way: beyond it the workers count drops.
    private static let size = 256

    init(port: PortIndex, pools: BufferPools) throws(Refusal) {
        let buffers = try pools.reserve(2 * Self.size, socket: 0)
        let rings = ["in", "out"].map {
            rte_ring_create("martlet_endpoint_\(port.value).\($0)", UInt32(Self.size), martlet_any_socket, 0)
        }
        guard let incoming = rings[0], let outgoing = rings[1] else {
            let reason = EAL.words(martlet_errno())
            for ring in rings { rte_ring_free(ring) }
            pools.release(buffers)
            throw Refusal("no memory for the rings of an endpoint (\(reason)): raise --socket-memory")
        }
        self.buffers = buffers
        self.incoming = incoming
        self.outgoing = outgoing
        scratch = Array(repeating: nil, count: Self.size)
    }

    var slot: DeviceSlot {
        DeviceSlot(kind: .ring, receiveRing: incoming, transmitRing: outgoing, pool: buffers.pool)
    }

    func start() {}

    var hasLink: Bool { true }

    func status(lcore: (Int) -> Int?) -> PortStatus {
        let queue = PortStatus.Queue(number: 0, lcore: lcore(0) ?? -1, enabled: true, size: Self.size)
        return PortStatus(linkUp: true, queues: [queue])
    }

    /// What the workers have sent here, oldest first.
    func take(limit: Int) -> [[UInt8]] {
        let count = martlet_ring_receive(outgoing, &scratch, UInt32(min(limit, Self.size)))
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
        if martlet_ring_transmit(incoming, &scratch, 1) == 1 { return true }
        martlet_free(&scratch, 1)
        return false
    }

    func close() {
        for ring in [incoming, outgoing] {
            while true {
                let count = martlet_ring_receive(ring, &scratch, UInt32(Self.size))
                if count == 0 { break }
                martlet_free(&scratch, count)
            }
            rte_ring_free(ring)
        }
    }
}
