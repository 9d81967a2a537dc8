/// An IEEE 802 48-bit MAC address (IEEE Std 802-2014, clause 8.2).
///
/// `value` holds the address as a number: the first octet on the wire is the most significant of the 48 bits.
public struct MACAddress: Hashable, Sendable {
    public let value: UInt64

    /// - Precondition: none; bits above the 48th are ignored.
    @inlinable
    public init(value: UInt64) { self.value = value & 0xffff_ffff_ffff }

    public static let broadcast = MACAddress(value: 0xffff_ffff_ffff)

    /// The group bit: the least significant bit of the first octet (IEEE Std 802-2014, clause 8.2.2).
    @inlinable
    public var isGroup: Bool { value & 0x0100_0000_0000 != 0 }

    /// An address of a single station: neither a group address nor all zeros.
    @inlinable
    public var isStation: Bool { !isGroup && value != 0 }

    /// One of the sixteen addresses that a bridge never relays, 01-80-C2-00-00-00 to -0F
    /// (IEEE Std 802.1Q-2022, Table 8-1).
    @inlinable
    public var isLinkLocalReserved: Bool { value & ~0xf == 0x0180_c200_0000 }
}

extension MACAddress: CustomStringConvertible, LosslessStringConvertible {
    /// Six pairs of hexadecimal digits, separated by colons; nothing else is accepted.
    public init?(_ description: String) {
        let octets = description.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard octets.count == 6 else { return nil }
        var value: UInt64 = 0
        for octet in octets {
            guard octet.count == 2, let number = UInt8(String(octet)!, radix: 16), octet.first != UInt8(ascii: "+")
            else { return nil }
            value = value << 8 | UInt64(number)
        }
        self.init(value: value)
    }

    public var description: String {
        stride(from: 40, through: 0, by: -8)
            .map { shift in
                let octet = UInt8(truncatingIfNeeded: value >> UInt64(shift))
                return (octet < 16 ? "0" : "") + String(octet, radix: 16)
            }
            .joined(separator: ":")
    }
}

extension MACAddress: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let address = MACAddress(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is not a MAC address")
        }
        self = address
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
