import Wire

extension InternetChecksum {
    /// Takes bytes of a packet, from all its segments.
    /// - Precondition: the first segment holds the first `offset`.
    mutating func add(_ packet: Packet, from offset: Int, count: Int) {
        var (segment, start, left) = (packet, offset, count)
        while left > 0 {
            let length = min(Int(segment.pointee.data_length) - start, left)
            add(UnsafeRawBufferPointer(start: segment.frame + start, count: length))
            left -= length
            guard left > 0, let next = segment.pointee.next else { return }
            (segment, start) = (next, 0)
        }
    }
}
