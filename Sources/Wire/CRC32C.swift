/// The checksum of SCTP (RFC 9260 appendix A): CRC-32C, reflected, of any number of pieces.
public struct CRC32C: Sendable {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { remainder, _ in
            remainder & 1 == 0 ? remainder >> 1 : remainder >> 1 ^ 0x82f6_3b78
        }
    }

    private var remainder: UInt32 = .max

    public init() {}

    /// Takes the next bytes in.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes { remainder = remainder >> 8 ^ Self.table[Int(UInt8(truncatingIfNeeded: remainder) ^ byte)] }
    }

    /// Of what has come so far; SCTP sends it with the least significant octet first.
    public var value: UInt32 { ~remainder }
}
