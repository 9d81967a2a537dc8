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
        let text = description.utf8
        guard text.count == Self.textLength else { return nil }
        var value: UInt64 = 0
        for (place, character) in text.enumerated() {
            if place % 3 == 2 {
                guard character == UInt8(ascii: ":") else { return nil }
            } else {
                guard let digit = Character(Unicode.Scalar(character)).hexDigitValue else { return nil }
                value = value << 4 | UInt64(digit)
            }
        }
        self.init(value: value)
    }

    private static let textLength = 17

    public var description: String {
        String(unsafeUninitializedCapacity: Self.textLength) { text in
            for place in 0..<Self.textLength {
                text[place] = place % 3 == 2 ? UInt8(ascii: ":") : digit(place - place / 3)
            }
            return Self.textLength
        }
    }

    /// One of twelve, from the most significant.
    private func digit(_ place: Int) -> UInt8 {
        let digit = UInt8(truncatingIfNeeded: value >> UInt64(44 - 4 * place)) & 0xf
        return digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
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
