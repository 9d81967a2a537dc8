/// A VLAN identifier that a tag may carry for a VLAN: 0 to 4094 (IEEE Std 802.1Q-2022, clause 9.6).
///
/// 0 is the priority tag's null VID: in Martlet, as in Open vSwitch, it names the untagged VLAN.
/// 4095 is reserved by the standard and cannot be built.
public struct VLANID: Hashable, Comparable, Sendable {
    public let value: UInt16

    public static let untagged = VLANID(0)!
    public static let range: ClosedRange<UInt16> = 0...4094

    @inlinable
    public init?(_ value: UInt16) {
        guard value <= 4094 else { return nil }
        self.value = value
    }

    @inlinable
    public static func < (left: VLANID, right: VLANID) -> Bool { left.value < right.value }
}

extension VLANID: Codable, CustomStringConvertible {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let number = try container.decode(UInt16.self)
        guard let vlan = VLANID(number) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "VLAN \(number) is outside 0 to 4094"
            )
        }
        self = vlan
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }

    public var description: String { String(value) }
}

/// A tag protocol identifier: which kind of tag follows the addresses (IEEE Std 802.1Q-2022, Table 9-1).
public enum TPID: UInt16, Sendable, Codable, CaseIterable {
    /// Customer VLAN tag.
    case customer = 0x8100
    /// Service VLAN tag (the outer tag of IEEE 802.1ad).
    case service = 0x88a8
}
