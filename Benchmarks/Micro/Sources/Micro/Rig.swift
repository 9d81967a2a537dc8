import CPacket
import Dataplane

/// A switch of two ports and a pool of frames, all in plain memory: the dataplane with no device around it.
final class Rig {
    let lane: Lane
    private let dataplane: Dataplane
    private let packets: UnsafeMutablePointer<martlet_packet>
    private let count: Int
    /// The first frame's header, as it was.
    private let tagged: [UInt8]
    private let burst: UnsafeMutablePointer<Packet?>

    private static let room = 192
    private static let headroom: UInt16 = 128

    /// - Parameter frames: at least a burst of them; shorter than 128 bytes.
    init(frames: [[UInt8]], dataplane: Dataplane) {
        self.dataplane = dataplane
        lane = dataplane.lanes[0]
        count = frames.count
        tagged = Array(frames[0].prefix(18))
        packets = .allocate(capacity: count)
        burst = .allocate(capacity: Lane.burstLength)
        burst.initialize(repeating: nil, count: Lane.burstLength)
        for (index, frame) in frames.enumerated() {
            var packet = martlet_packet()
            let buffer = UnsafeMutableRawPointer.allocate(byteCount: Self.room, alignment: 64)
            buffer.advanced(by: Int(Self.headroom)).copyMemory(from: frame, byteCount: frame.count)
            packet.buffer = buffer
            packet.data_off = Self.headroom
            packet.data_length = UInt16(frame.count)
            packet.packet_length = UInt32(frame.count)
            packet.segment_count = 1
            (packets + index).initialize(to: packet)
        }
    }

    deinit {
        for index in 0..<count { packets[index].buffer.deallocate() }
        packets.deallocate()
        burst.deallocate()
    }

    /// Switches `total` packets, the frames in turn, from port 0.
    func run(_ total: Int) {
        var next = 0
        for turn in 0..<total / Lane.burstLength {
            // About as often as a worker does, which looks at the clock.
            if turn % 256 == 0 { lane.maintain(now: 1) }
            for index in 0..<Lane.burstLength {
                // A tag that the last turn popped is put back in front by its lengths; the bytes are still there.
                let packet = packets + next
                if packet.pointee.data_off != Self.headroom { restore(packet) }
                burst[index] = packet
                next &+= 1
                if next == count { next = 0 }
            }
            lane.receive(burst, count: Lane.burstLength, from: 0, now: 1)
            for output in 0..<lane.outputCount.pointee {
                let port = lane.outputs[output]
                lane.finish(port, sent: lane.queued(port).count, bytes: lane.queued(port).bytes, unsent: .transmitFull)
            }
            lane.outputCount.pointee = 0
            lane.dropCount.pointee = 0
        }
    }

    private func restore(_ packet: Packet) {
        packet.pointee.data_off -= 4
        packet.pointee.data_length += 4
        packet.pointee.packet_length += 4
        packet.pointee.buffer.advanced(by: Int(Self.headroom)).copyMemory(from: tagged, byteCount: tagged.count)
    }
}
