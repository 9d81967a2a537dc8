import Testing

@testable import Wire

@Suite struct CaptureFileTests {
    private static let frames: [[UInt8]] = [[UInt8](1...60), [UInt8](repeating: 9, count: 61)]

    /// Classic pcap, of either byte order, in micro- or nanoseconds.
    @Test(arguments: [0xa1b2_c3d4, 0xa1b2_3c4d] as [UInt32], [false, true])
    func readsPcap(magic: UInt32, isBigEndian: Bool) throws {
        let file = Self.pcap(magic, isBigEndian: isBigEndian)
        let packets = try CaptureFile.packets(file, limit: 10, longest: 100)
        #expect(packets.map(\.bytes) == Self.frames)
        #expect(packets.map(\.length) == [60, 61])
        #expect(try CaptureFile.packets(file, limit: 1, longest: 100).count == 1)
    }

    @Test func readsWhatMartletWrites() throws {
        var file = Pcapng.opening(interface: "vm1", snapLength: 65_535, application: "martlet")
        for frame in Self.frames { file += Pcapng.packet(frame, length: 99, time: 0, direction: .inbound) }
        let packets = try CaptureFile.packets(file, limit: 10, longest: 100)
        #expect(packets.map(\.bytes) == Self.frames)
        #expect(packets.map(\.length) == [99, 99])
    }

    /// Big-endian pcapng with a simple packet block.
    @Test func readsSimplePacketsOfTheOtherByteOrder() throws {
        func number(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
        var file = number(0x0a0d_0d0a) + number(28) + number(0x1a2b_3c4d) + number(0x0001_0000) + number(.max)
        file += number(.max) + number(28)
        file += number(1) + number(20) + number(0x0001_0000) + number(40) + number(20)
        file += number(3) + number(56) + number(60) + Self.frames[0].prefix(40) + number(56)
        let packets = try CaptureFile.packets(file, limit: 10, longest: 100)
        #expect(packets == [CaptureFile.Packet(bytes: Array(Self.frames[0].prefix(40)), length: 60)])
    }

    @Test func refusesWhatIsNoCapture() {
        let whole = Self.pcap(0xa1b2_c3d4, isBigEndian: false)
        var radio = whole
        radio[20] = 127
        let files: [(String, [UInt8])] = [
            ("is too short", []), ("is no capture", [UInt8](repeating: 7, count: 100)),
            ("ends within a packet", Array(whole.dropLast())), ("link type 127", radio),
            ("ends within a block", Array(Pcapng.opening(interface: "a", snapLength: 1, application: "b").dropLast())),
        ]
        for (words, file) in files {
            let error = #expect(throws: CaptureFile.Malformed.self) {
                try CaptureFile.packets(file, limit: 10, longest: 100)
            }
            #expect(error?.description.contains(words) == true, "\(words)")
        }
        let error = #expect(throws: CaptureFile.Malformed.self) {
            try CaptureFile.packets(whole, limit: 10, longest: 60)
        }
        #expect(error?.description == "has a packet of 61 bytes: 60 is the most")
    }

    /// Any file is read or refused; none ends the program.
    @Test func survivesEveryChange() throws {
        var pcapng = Pcapng.opening(interface: "vm1", snapLength: 65_535, application: "martlet")
        for frame in Self.frames { pcapng += Pcapng.packet(frame, length: 99, time: 0, direction: .inbound) }
        for file in [pcapng, Self.pcap(0xa1b2_c3d4, isBigEndian: true)] {
            for place in file.indices {
                for octet in [0, 1, 0x7f, 0xff] as [UInt8] {
                    var changed = file
                    changed[place] = octet
                    _ = try? CaptureFile.packets(changed, limit: 10, longest: 100)
                }
                _ = try? CaptureFile.packets(Array(file.prefix(place)), limit: 10, longest: 100)
            }
        }
    }

    private static func pcap(_ magic: UInt32, isBigEndian: Bool) -> [UInt8] {
        func number(_ value: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: value >> (isBigEndian ? 24 - 8 * $0 : 8 * $0)) }
        }
        var file = number(magic) + number(0x0004_0002) + number(0) + number(0) + number(65_535) + number(1)
        for frame in frames {
            let length = number(UInt32(frame.count))
            file += number(0) + number(0) + length + length + frame
        }
        return file
    }
}
