/// An IPv4 address (RFC 791 section 2.3). `value` is a number: the first octet on the wire is the most significant.
public struct IPv4Address: Hashable, Sendable {
    public let value: UInt32

    @inlinable
    public init(value: UInt32) { self.value = value }

    @inlinable public static var unspecified: IPv4Address { IPv4Address(value: 0) }

    @inlinable public var isUnspecified: Bool { value == 0 }

    /// An address of a single host on a wire: not of this network (0/8), loopback (127/8), a group (224/4) or
    /// reserved (240/4), the broadcast address among them (RFC 1122 section 3.2.1.3).
    @inlinable
    public var isStation: Bool {
        let network = value &>> 24
        return network != 0 && network != 127 && network < 224
    }
}
