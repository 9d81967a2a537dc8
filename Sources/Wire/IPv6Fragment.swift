/// The fragment header of an IPv6 packet (RFC 8200 section 4.5).
///
///      0               1               2               3
///     +-------+-------+---------------+-------------------------+-----+-+
///   0 |  next header  |   reserved    |     fragment offset     | res |M|
///   4 |                        identification                         |
///     +---------------------------------------------------------------+
public struct IPv6Fragment: Sendable {
    /// Of the whole packet, behind this one.
    public var nextHeader: UInt8
    /// Where the part belongs, in bytes, a multiple of 8.
    public var offset: UInt16
    /// It is not the last one.
    public var hasMore: Bool
    public var identification: UInt32

    /// In bytes.
    @inlinable public static var length: Int { 8 }

    @inlinable
    public init(nextHeader: UInt8, offset: UInt16, hasMore: Bool, identification: UInt32) {
        self.nextHeader = nextHeader
        self.offset = offset & 0xfff8
        self.hasMore = hasMore
        self.identification = identification
    }

    /// Reads a header.
    /// - Parameters:
    ///   - bytes: from the header's start on.
    ///   - fault: set to `truncated` when there is no header.
    @inlinable
    public init?(_ bytes: UnsafeRawBufferPointer, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, Self.length, fault: &fault) else { return nil }
        let place = header.number16(at: 2)
        nextHeader = header.number8(at: 0)
        offset = place & 0xfff8
        hasMore = place & 1 != 0
        identification = header.number32(at: 4)
    }

    /// - Parameter space: room for `IPv6Fragment.length` bytes.
    @inlinable
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        header.put16(UInt16(nextHeader) << 8, at: 0)
        header.put16(offset | (hasMore ? 1 : 0), at: 2)
        header.put32(identification, at: 4)
    }
}
