/// An IPv6 address (RFC 4291). `value` is a number: the first octet on the wire is the most significant.
public struct IPv6Address: Hashable, Sendable {
    public let value: UInt128

    @inlinable
    public init(value: UInt128) { self.value = value }

    @inlinable public static var unspecified: IPv6Address { IPv6Address(value: 0) }

    /// Every node on the link, ff02::1 (RFC 4291 section 2.7.1).
    @inlinable public static var allNodes: IPv6Address { IPv6Address(value: 0xff02 &<< 112 | 1) }

    @inlinable public var isUnspecified: Bool { value == 0 }

    /// ff00::/8 (RFC 4291 section 2.7).
    @inlinable public var isMulticast: Bool { value &>> 120 == 0xff }

    /// fe80::/10 (RFC 4291 section 2.5.6).
    @inlinable public var isLinkLocal: Bool { value &>> 118 == 0x3fa }

    /// An address of a single host on a wire: neither unspecified, nor loopback, nor of a group.
    @inlinable public var isStation: Bool { value > 1 && !isMulticast }

    /// The group whose members are asked for the link-layer address of this one, ff02::1:ffXX:XXXX (RFC 4291 section
    /// 2.7.1).
    @inlinable
    public var solicitedNode: IPv6Address {
        IPv6Address(value: 0xff02 &<< 112 | 0x1_ff00_0000 | value & 0xff_ffff)
    }

    /// Where Ethernet sends what goes to this group: 33-33 and the last four octets (RFC 2464 section 7).
    /// Means nothing for other addresses.
    @inlinable
    public var groupMACAddress: MACAddress {
        MACAddress(value: 0x3333_0000_0000 | UInt64(UInt32(truncatingIfNeeded: value)))
    }
}
