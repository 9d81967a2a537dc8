import Glibc

/// An IPv4 or IPv6 address. `value` is that of IPv6; IPv4 addresses are the mapped ones, ::ffff:0:0/96 (RFC 4291 section
/// 2.5.5.2), which never appear on a wire.
@frozen public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
    public let value: UInt128

    @inlinable
    public init(value: UInt128) { self.value = value }

    @inlinable
    public init(_ address: IPv4Address) { value = Self.mapped | UInt128(address.value) }

    @inlinable
    public init(_ address: IPv6Address) { value = address.value }

    @inlinable static var mapped: UInt128 { 0xffff &<< 32 }

    /// No address at all, of either kind.
    @inlinable public static var unspecified: IPAddress { IPAddress(value: 0) }

    @inlinable public var isUnspecified: Bool { value == 0 || value == Self.mapped }

    @inlinable public var isIPv4: Bool { value &>> 32 == 0xffff }

    /// Nil for one of IPv6.
    @inlinable
    public var ipv4: IPv4Address? { isIPv4 ? IPv4Address(value: UInt32(truncatingIfNeeded: value)) : nil }

    /// Nil for one of IPv4.
    @inlinable
    public var ipv6: IPv6Address? { isIPv4 ? nil : IPv6Address(value: value) }

    /// An address of a single host on a wire.
    public var isStation: Bool { ipv4?.isStation ?? IPv6Address(value: value).isStation }

    /// Bits of an address of this kind: 32 or 128.
    public var width: Int { isIPv4 ? 32 : 128 }
}

extension IPAddress: CustomStringConvertible, LosslessStringConvertible {
    /// Four decimal octets, or IPv6 in any of its forms (RFC 4291 section 2.2) but that of a mapped address.
    public init?(_ description: String) {
        var octets4 = in_addr()
        if inet_pton(AF_INET, description, &octets4) == 1 {
            self.init(IPv4Address(value: UInt32(bigEndian: octets4.s_addr)))
            return
        }
        var octets6 = in6_addr()
        guard inet_pton(AF_INET6, description, &octets6) == 1 else { return nil }
        let value = withUnsafeBytes(of: &octets6) { UInt128(bigEndian: $0.loadUnaligned(as: UInt128.self)) }
        self.init(value: value)
        if isIPv4 { return nil }
    }

    /// As RFC 5952 writes it.
    public var description: String {
        let isIPv4 = isIPv4
        var octets = isIPv4 ? (value << 96).bigEndian : value.bigEndian
        // INET6_ADDRSTRLEN.
        var text = [CChar](repeating: 0, count: 46)
        inet_ntop(isIPv4 ? AF_INET : AF_INET6, &octets, &text, socklen_t(text.count))
        return text.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }
}

/// An address and how many of its first bits the hosts of its wire share: "192.0.2.1/24".
public struct IPPrefix: Hashable, Sendable {
    public let address: IPAddress
    public let length: Int

    /// Nil for a length that addresses of the kind do not have.
    public init?(_ address: IPAddress, length: Int) {
        guard (0...address.width).contains(length) else { return nil }
        self.address = address
        self.length = length
    }

    /// The bits that are shared, in place.
    public var mask: UInt128 {
        let shift = address.width - length
        return shift == 128 ? 0 : UInt128.max << UInt128(shift)
    }

    /// Whether an address is one of the same wire.
    public func contains(_ other: IPAddress) -> Bool {
        other.isIPv4 == address.isIPv4 && (other.value ^ address.value) & mask == 0
    }
}

extension IPPrefix: CustomStringConvertible, LosslessStringConvertible {
    public init?(_ description: String) {
        let parts = description.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(String(parts[0])), let length = Int(parts[1]),
            parts[1].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        self.init(address, length: length)
    }

    public var description: String { "\(address)/\(length)" }
}
