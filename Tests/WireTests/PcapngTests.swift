import Testing
import Wire

@Suite struct PcapngTests {
    /// Compared with what draft-ietf-opsawg-pcapng sections 4.1 and 4.2 draw; tcpdump and tshark read it.
    @Test func opensWithSectionHeaderAndInterface() {
        let golden: [UInt8] = [
            // Section header block, 44 bytes.
            0x0a, 0x0d, 0x0d, 0x0a, 0x2c, 0x00, 0x00, 0x00, 0x4d, 0x3c, 0x2b, 0x1a, 0x01, 0x00, 0x00, 0x00,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            // shb_userappl "house".
            0x04, 0x00, 0x05, 0x00, 0x68, 0x6f, 0x75, 0x73, 0x65, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00,
            // Interface description block, 40 bytes: Ethernet, snap length 256.
            0x01, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
            // if_name "vm1", if_tsresol 9.
            0x02, 0x00, 0x03, 0x00, 0x76, 0x6d, 0x31, 0x00, 0x09, 0x00, 0x01, 0x00, 0x09, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x00, 0x00, 0x28, 0x00, 0x00, 0x00,
        ]
        #expect(Pcapng.opening(interface: "vm1", snapLength: 256, application: "house") == golden)
    }

    @Test func writesAPacketWithItsDirectionAndFullLength() {
        let golden: [UInt8] = [
            // Enhanced packet block, 52 bytes, interface 0, time 0x0102030405060708.
            0x06, 0x00, 0x00, 0x00, 0x34, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
            0x04, 0x03, 0x02, 0x01, 0x08, 0x07, 0x06, 0x05,
            // Five bytes kept of 1500, padded to eight.
            0x05, 0x00, 0x00, 0x00, 0xdc, 0x05, 0x00, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x00, 0x00, 0x00,
            // epb_flags: outbound.
            0x02, 0x00, 0x04, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x34, 0x00, 0x00, 0x00,
        ]
        let bytes: [UInt8] = [0x11, 0x22, 0x33, 0x44, 0x55]
        #expect(
            Pcapng.packet(bytes, length: 1500, time: 0x0102_0304_0506_0708, direction: .outbound) == golden
        )
    }

    @Test(arguments: [1, 3, 7, 64, 10_000])
    func readsWhatItWroteInPiecesOfAnyLength(pieceLength: Int) throws {
        let frames = (0..<40).map { [UInt8](repeating: UInt8($0), count: $0) }
        var file = Pcapng.opening(interface: "p", snapLength: 65_535, application: "t")
        for (number, frame) in frames.enumerated() {
            let direction: Pcapng.Direction = number.isMultiple(of: 2) ? .inbound : .outbound
            file += Pcapng.packet(frame, length: frame.count + 1, time: UInt64(number) << 31, direction: direction)
        }
        var reader = PcapngReader()
        var blocks: [PcapngReader.Block] = []
        for start in stride(from: 0, to: file.count, by: pieceLength) {
            reader.append(file[start..<min(start + pieceLength, file.count)])
            while let block = try reader.next() { blocks.append(block) }
        }
        #expect(blocks.flatMap(\.bytes) == file)
        let packets = blocks.compactMap(\.packet)
        #expect(packets.map(\.bytes) == frames)
        #expect(packets.map(\.length) == frames.map { $0.count + 1 })
        #expect(packets.map(\.time) == frames.indices.map { UInt64($0) << 31 })
        #expect(packets.map(\.direction) == frames.indices.map { $0.isMultiple(of: 2) ? .inbound : .outbound })
    }

    @Test(
        arguments: [
            // Total length of 4, of 13, not repeated at the end; a packet longer than its block; no room for a packet.
            [6, 0, 0, 0, 4, 0, 0, 0],
            [6, 0, 0, 0, 13, 0, 0, 0],
            [1, 0, 0, 0, 12, 0, 0, 0, 16, 0, 0, 0],
            [6, 0, 0, 0, 32, 0, 0, 0] + [UInt8](repeating: 0, count: 12) + [200, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0],
            [6, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0],
        ] as [[UInt8]]
    )
    func refusesBlocksThatCannotBe(bytes: [UInt8]) {
        var reader = PcapngReader()
        reader.append(bytes)
        #expect(throws: PcapngReader.Malformed.self) { try reader.next() }
    }
}
