import Wire

/// The congestion marks of IP headers (RFC 3168 section 5): the lowest two bits of the traffic class.
enum Congestion {
    static var notCapable: UInt8 { 0 }
    static var capable1: UInt8 { 1 }
    static var capable0: UInt8 { 2 }
    static var experienced: UInt8 { 3 }

    /// What a packet that leaves a tunnel is marked with; nil for one that must be dropped, for its sender would not
    /// understand that there is congestion (RFC 6040 section 4.2, figure 4).
    @inline(__always)
    static func leaving(inner: UInt8, outer: UInt8) -> UInt8? {
        switch (inner, outer) {
        case (notCapable, experienced): nil
        case (notCapable, _): notCapable
        case (_, experienced): experienced
        case (capable0, capable1): capable1
        default: inner
        }
    }
}

extension Packet {
    /// Marks a frame that left a tunnel as the packet around it was. What is not IP has no marks.
    /// - Parameter outer: of the packet around it.
    /// - Returns: false when it must be dropped; it is unchanged then.
    @inline(never)
    func takeCongestion(_ outer: UInt8) -> Bool {
        guard let (type, offset) = content, offset + IPv4Header.length <= Int(pointee.data_length) else { return true }
        let isIPv4 = type == EtherType.ipv4
        guard isIPv4 || type == EtherType.ipv6 else { return true }
        // The first 16 bits: version, header length and traffic class; or version, traffic class and four of the flow label.
        let former = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
        guard former &>> 12 == (isIPv4 ? 4 : 6) else { return true }
        let shift: UInt16 = isIPv4 ? 0 : 4
        let inner = UInt8(truncatingIfNeeded: former &>> shift) & 3
        guard let mark = Congestion.leaving(inner: inner, outer: outer) else { return false }
        let next = former & ~(3 &<< shift) | UInt16(mark) &<< shift
        frame.storeBytes(of: next.bigEndian, toByteOffset: offset, as: UInt16.self)
        if isIPv4 { adjustChecksum(at: offset + 10, from: former, to: next) }
        return true
    }

    private func adjustChecksum(at offset: Int, from former: UInt16, to next: UInt16) {
        let checksum = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
        let adjusted = InternetChecksum.adjust(checksum, from: former, to: next)
        frame.storeBytes(of: adjusted.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
}
