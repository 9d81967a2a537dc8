import Seeds
import Testing
import Wire

@Suite struct InternetChecksumTests {
    /// RFC 1071 section 3: the sum of these octets is 0xddf2.
    @Test func sumsTheExampleOfItsRFC() {
        #expect(checksum([[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]).value == ~0xddf2)
    }

    /// RFC 1624 section 4: a word goes from 0x5555 to 0x3285 under the checksum 0xdd2f.
    @Test func adjustsTheExampleOfItsRFC() {
        #expect(InternetChecksum.adjust(0xdd2f, from: 0x5555, to: 0x3285) == 0)
    }

    @Test func isRightOnlyWithItsChecksum() {
        #expect(checksum([[0x12, 0x34, 0xed, 0xcb]]).isRight)
        #expect(!checksum([[0x12, 0x34, 0xed, 0xcc]]).isRight)
        #expect(!checksum([[0, 0, 0, 0]]).isRight)
    }

    /// A checksum of zero says for UDP that there is none (RFC 768).
    @Test func givesUDPNoZero() {
        #expect(checksum([[0xff, 0xff]]).value == 0)
        #expect(checksum([[0xff, 0xff]]).udpValue == 0xffff)
        #expect(checksum([[0x12, 0x34]]).udpValue == 0xedcb)
    }

    /// However the bytes are cut; beside the sum of 16-bit words as RFC 1071 section 4.1 has it.
    @Test(arguments: seeds)
    func sumsPiecesAsTheWhole(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<1000 {
            let pieces = (0..<Int.random(in: 0...5, using: &random)).map { _ in
                some(.random(in: 0...70, using: &random), &random)
            }
            #expect(checksum(pieces).value == reference(pieces.flatMap(\.self)), "seed \(seed), \(pieces)")
        }
    }

    @Test(arguments: seeds)
    func adjustsToWhatIsSummedAnew(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<1000 {
            var bytes = some(40, &random)
            let former = checksum([bytes]).value
            let place = 2 * Int.random(in: 0..<20, using: &random)
            let word = UInt16(bytes[place]) << 8 | UInt16(bytes[place + 1])
            let next = UInt16.random(in: .min ... .max, using: &random)
            (bytes[place], bytes[place + 1]) = (UInt8(next >> 8), UInt8(next & 0xff))
            #expect(InternetChecksum.adjust(former, from: word, to: next) == checksum([bytes]).value, "seed \(seed)")
        }
    }

    private func some(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in .random(in: .min ... .max, using: &random) }
    }

    private func checksum(_ pieces: [[UInt8]]) -> InternetChecksum {
        var checksum = InternetChecksum()
        for piece in pieces { piece.withUnsafeBytes { checksum.add($0) } }
        return checksum
    }

    private func reference(_ bytes: [UInt8]) -> UInt16 {
        var sum = 0
        for (place, octet) in bytes.enumerated() { sum += Int(octet) << (place % 2 == 0 ? 8 : 0) }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(sum)
    }
}
