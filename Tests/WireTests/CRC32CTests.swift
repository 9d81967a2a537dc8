import Testing
import Wire

@Suite struct CRC32CTests {
    /// RFC 3720 appendix B.4, and the check value of the algorithm's catalogue entry.
    @Test(
        arguments: [
            ([UInt8](repeating: 0, count: 32), 0x8a91_36aa), ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
            (Array(0..<32), 0x46dd_794e), (Array("123456789".utf8), 0xe306_9283), ([], 0),
        ] as [([UInt8], UInt32)]
    )
    func hasTheValuesOfTheStandard(bytes: [UInt8], value: UInt32) {
        for cut in 0...bytes.count {
            var checksum = CRC32C()
            bytes[..<cut].withUnsafeBytes { checksum.update($0) }
            bytes[cut...].withUnsafeBytes { checksum.update($0) }
            #expect(checksum.value == value)
        }
    }
}
