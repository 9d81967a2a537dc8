/// A VXLAN header, behind UDP and before an Ethernet frame (RFC 7348 section 5).
///
///      0               1               2               3
///     +---------------+-----------------------------------------------+
///   0 |R R R R I R R R|                   reserved                    |
///   4 |                      VNI                      |   reserved    |
///     +---------------+-----------------------------------------------+
///
/// What is reserved is zero when sent and ignored when received.
public struct VXLAN: Sendable {
    public var vni: VNI

    /// In bytes.
    @inlinable public static var length: Int { 8 }

    /// The destination port that IANA assigned.
    @inlinable public static var port: UInt16 { 4789 }

    @inlinable
    public init(vni: VNI) { self.vni = vni }

    /// - Parameters:
    ///   - bytes: from the header's start on.
    ///   - fault: set to `truncated` or `noVNI` when there is no header.
    @inlinable
    @inline(__always)
    public init?(_ bytes: UnsafeRawBufferPointer, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, Self.length, fault: &fault) else { return nil }
        guard header.number8(at: 0) & 0x08 != 0 else {
            fault = .noVNI
            return nil
        }
        vni = VNI(word: header.number32(at: 4))
    }

    /// - Parameter space: room for `VXLAN.length` bytes.
    @inlinable
    @inline(__always)
    public func write(to space: UnsafeMutableRawPointer) {
        HeaderSpace(space).put64(0x0800_0000 &<< 32 | UInt64(vni.word), at: 0)
    }
}
