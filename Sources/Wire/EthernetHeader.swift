/// The header of a frame that the switch itself sends (IEEE Std 802.3-2022 clause 3.1, 802.1Q-2022 clause 9.6).
///
///      0               6               12      14      16
///     +-------+-------+-------+-------+-------+-------+-------+
///     | destination   | source        | 0x8100| TCI   | type  |   with a tag
///     | destination   | source        | type  |                   without
///     +-------+-------+-------+-------+-------+-------+-------+
public struct EthernetHeader: Sendable {
    public var destination: MACAddress
    public var source: MACAddress
    /// The tag's control information: PCP 3 bits, DEI 1, VID 12; nil when the frame has no tag.
    public var tagControl: UInt16?
    public var type: UInt16

    @inlinable
    public init(destination: MACAddress, source: MACAddress, tagControl: UInt16? = nil, type: UInt16) {
        self.destination = destination
        self.source = source
        self.tagControl = tagControl
        self.type = type
    }

    /// In bytes.
    @inlinable public var length: Int { tagControl == nil ? 14 : 18 }

    /// - Parameter space: room for `length` bytes.
    @inlinable
    public func write(to space: UnsafeMutableRawPointer) {
        let space = HeaderSpace(space)
        space.put48(destination.value, at: 0)
        space.put48(source.value, at: 6)
        if let tagControl {
            space.put16(TPID.customer.rawValue, at: 12)
            space.put16(tagControl, at: 14)
        }
        space.put16(type, at: length &- 2)
    }
}
