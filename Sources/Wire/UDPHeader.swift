/// A UDP header (RFC 768): source port, destination port, length, checksum, of 16 bits each.
///
/// Its checksum covers the payload and the addresses. `InternetChecksum` computes it, segment by segment, where one is
/// wanted: tunnels do without over IPv4 (RFC 7348 section 5), and may over IPv6 (RFC 6935 section 5).
public struct UDPHeader: Sendable {
    public var sourcePort: UInt16
    public var destinationPort: UInt16
    /// Of the header and the payload, in bytes.
    public var datagramLength: UInt16
    /// 0 when there is none.
    public var checksum: UInt16

    /// In bytes.
    @inlinable public static var length: Int { 8 }

    /// Where the checksum lies within the header.
    @inlinable public static var checksumOffset: Int { 6 }

    /// - Parameter payloadLength: in bytes, at most 65,527.
    @inlinable
    public init(sourcePort: UInt16, destinationPort: UInt16, payloadLength: Int, checksum: UInt16 = 0) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
        datagramLength = UInt16(truncatingIfNeeded: Self.length &+ payloadLength)
        self.checksum = checksum
    }

    /// - Parameters:
    ///   - bytes: from the header's start on.
    ///   - length: what the IP header says that it carries, in bytes.
    ///   - fault: set to `truncated` or `length` when there is no header.
    @inlinable
    @inline(__always)
    public init?(_ bytes: UnsafeRawBufferPointer, length: Int, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, Self.length, fault: &fault) else { return nil }
        datagramLength = header.number16(at: 4)
        guard Int(datagramLength) >= Self.length, Int(datagramLength) <= length else {
            fault = .length
            return nil
        }
        sourcePort = header.number16(at: 0)
        destinationPort = header.number16(at: 2)
        checksum = header.number16(at: 6)
    }

    /// - Parameter space: room for `UDPHeader.length` bytes.
    @inlinable
    @inline(__always)
    public func write(to space: UnsafeMutableRawPointer) {
        let header = HeaderSpace(space)
        header.put16(sourcePort, at: 0)
        header.put16(destinationPort, at: 2)
        header.put16(datagramLength, at: 4)
        header.put16(checksum, at: Self.checksumOffset)
    }
}
