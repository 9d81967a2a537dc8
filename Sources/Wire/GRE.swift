/// A GRE header before an Ethernet frame (RFC 2784 section 2, with the key and sequence number of RFC 2890).
///
///      0               1               2               3
///     +-+-+-+-+-------+---------+-----+-------------------------------+
///     |C|R|K|S|reserved, zero   | 0   |    protocol type, 0x6558      |
///     |           checksum            |             zero              |   with C
///     |                              key                              |   with K
///     |                        sequence number                        |   with S
///     +---------------------------------------------------------------+
///
/// The checksum covers the header and the payload. `InternetChecksum` computes and verifies it, segment by segment, for
/// whoever has the payload at hand.
public struct GRE: Sendable {
    public var key: UInt32?
    public var sequence: UInt32?
    public var hasChecksum: Bool

    /// Where the checksum lies within a header that has one.
    @inlinable public static var checksumOffset: Int { 4 }

    @inlinable
    public init(key: UInt32?, sequence: UInt32? = nil, hasChecksum: Bool = false) {
        self.key = key
        self.sequence = sequence
        self.hasChecksum = hasChecksum
    }

    /// In bytes: 4 to 16.
    @inlinable
    @inline(__always)
    public var length: Int { 4 &+ (hasChecksum ? 4 : 0) &+ (key == nil ? 0 : 4) &+ (sequence == nil ? 0 : 4) }

    /// Reads a header. Bits 6 to 12 are ignored, the others that are reserved refused (RFC 2784 section 2.3).
    /// - Parameters:
    ///   - bytes: from the header's start on.
    ///   - fault: set to `truncated`, `version`, `routing`, `reserved` or `protocolType` when there is no header.
    @inlinable
    public init?(_ bytes: UnsafeRawBufferPointer, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, 4, fault: &fault) else { return nil }
        let flags = header.number16(at: 0)
        if let refusal = Self.refusal(flags, type: header.number16(at: 2)) {
            fault = refusal
            return nil
        }
        hasChecksum = flags & 0x8000 != 0
        let keyOffset = hasChecksum ? 8 : 4
        let sequenceOffset = flags & 0x2000 != 0 ? keyOffset &+ 4 : keyOffset
        guard (flags & 0x1000 != 0 ? sequenceOffset &+ 4 : sequenceOffset) <= bytes.count else {
            fault = .truncated
            return nil
        }
        key = flags & 0x2000 != 0 ? header.number32(at: keyOffset) : nil
        sequence = flags & 0x1000 != 0 ? header.number32(at: sequenceOffset) : nil
    }

    @inlinable
    static func refusal(_ flags: UInt16, type: UInt16) -> HeaderFault? {
        if flags & 0x7 != 0 { return .version }
        if flags & 0x4000 != 0 { return .routing }
        if flags & 0x0c00 != 0 { return .reserved }
        return type == EtherType.ethernet ? nil : .protocolType
    }

    /// Writes the header, with zero for a checksum: the caller puts it there once it has summed the payload too.
    /// - Parameter space: room for `length` bytes.
    @inlinable
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        let flags: UInt16 = (hasChecksum ? 0x8000 : 0) | (key == nil ? 0 : 0x2000) | (sequence == nil ? 0 : 0x1000)
        header.put16(flags, at: 0)
        header.put16(EtherType.ethernet, at: 2)
        var offset = 4
        if hasChecksum {
            header.put32(0, at: offset)
            offset &+= 4
        }
        if let key {
            header.put32(key, at: offset)
            offset &+= 4
        }
        if let sequence { header.put32(sequence, at: offset) }
    }
}
