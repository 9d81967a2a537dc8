import CPacket
import Dataplane

/// Packets in plain memory, and who owns them: every packet that was made is here until it is retired, all its segments.
///
/// Buffers are as long as headroom and bytes, so that AddressSanitizer sees a step beyond either end.
final class Ledger {
    private(set) var live: Set<Packet> = []
    /// The first segments of those that were made.
    private(set) var heads: Set<Packet> = []
    private(set) var refusedCopies = 0
    /// Copies that still succeed; then there is "no memory".
    var copiesLeft = Int.max

    static let headroom = 128

    /// Copies a packet of any ledger into one segment with headroom, as DPDK's copy does.
    static let copy: martlet_copy = { source in
        guard let source, let pool = source.pointee.pool else { return nil }
        // A packet's `pool` is its ledger, which lives as long as the bench that made it.
        return Unmanaged<Ledger>.fromOpaque(pool).takeUnretainedValue().copied(source)
    }

    deinit { for packet in live { Self.release(packet) } }

    /// - Parameter segments: lengths of the first segments; the rest of the frame is in one more.
    func make(_ frame: Frame) -> Packet {
        var rest = frame.bytes[...]
        var pieces: [ArraySlice<UInt8>] = []
        for length in frame.segments where length < rest.count {
            pieces.append(rest.prefix(length))
            rest = rest.dropFirst(length)
        }
        pieces.append(rest)
        let segments = pieces.enumerated().map { segment(Array($1), headroom: $0 == 0 ? frame.headroom : 0) }
        for (segment, next) in zip(segments, segments.dropFirst()) { segment.pointee.next = next }
        segments[0].pointee.segment_count = UInt16(segments.count)
        segments[0].pointee.packet_length = UInt32(frame.bytes.count)
        live.formUnion(segments)
        heads.insert(segments[0])
        return segments[0]
    }

    /// - Returns: whether the packet was live: false tells of a packet that came out twice.
    func retire(_ packet: Packet) -> Bool {
        var segment: Packet? = packet
        while let part = segment {
            guard live.remove(part) != nil else { return false }
            heads.remove(part)
            segment = part.pointee.next
            Self.release(part)
        }
        return true
    }

    /// The frame; nil when the packet contradicts itself.
    static func bytes(of packet: Packet) -> [UInt8]? {
        var bytes: [UInt8] = []
        var count = 0
        var segment: Packet? = packet
        while let part = segment {
            let start = part.pointee.buffer + Int(part.pointee.data_off)
            bytes += UnsafeRawBufferPointer(start: start, count: Int(part.pointee.data_length))
            count += 1
            segment = part.pointee.next
        }
        let isConsistent =
            bytes.count == Int(packet.pointee.packet_length) && count == Int(packet.pointee.segment_count)
        return isConsistent ? bytes : nil
    }

    private func copied(_ source: UnsafePointer<martlet_packet>) -> Packet? {
        guard copiesLeft > 0, let bytes = Self.bytes(of: UnsafeMutablePointer(mutating: source)) else {
            refusedCopies += 1
            return nil
        }
        copiesLeft -= 1
        return make(Frame(bytes))
    }

    private func segment(_ bytes: [UInt8], headroom: Int) -> Packet {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: headroom + max(bytes.count, 1), alignment: 64)
        // Read only where an edit forgot to write.
        buffer.initializeMemory(as: UInt8.self, repeating: 0xa5, count: headroom)
        (buffer + headroom).copyMemory(from: bytes, byteCount: bytes.count)
        let packet = Packet.allocate(capacity: 1)
        packet.initialize(to: martlet_packet())
        packet.pointee.buffer = buffer
        packet.pointee.data_off = UInt16(headroom)
        packet.pointee.data_length = UInt16(bytes.count)
        packet.pointee.segment_count = 1
        packet.pointee.pool = Unmanaged.passUnretained(self).toOpaque()
        return packet
    }

    private static func release(_ segment: Packet) {
        segment.pointee.buffer.deallocate()
        segment.deallocate()
    }
}
