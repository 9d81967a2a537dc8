import CPacket
import Testing

@Suite struct SCTPChecksumTests {
    /// RFC 3720 appendix B.4, and the check value of the algorithm's catalogue entry.
    @Test(
        arguments: [
            ([UInt8](repeating: 0, count: 32), 0x8a91_36aa), ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
            (Array(0..<32), 0x46dd_794e), (Array("123456789".utf8), 0xe306_9283), ([], 0),
        ] as [([UInt8], UInt32)]
    )
    func hasTheValuesOfTheStandard(bytes: [UInt8], value: UInt32) {
        for cut in 0...bytes.count {
            let half = bytes[..<cut].withUnsafeBytes { martlet_crc32c(~0, $0.baseAddress, UInt32($0.count)) }
            let whole = bytes[cut...].withUnsafeBytes { martlet_crc32c(half, $0.baseAddress, UInt32($0.count)) }
            #expect(~whole == value)
        }
    }
}
