/// The packets of a capture file, as tcpdump and Wireshark write them: pcap (draft-ietf-opsawg-pcap) or pcapng
/// (draft-ietf-opsawg-pcapng), either byte order, Ethernet only. For files of moderate size, read whole.
///
///     pcap:   magic (4) | version (4) | zone, accuracy (8) | snap length (4) | link type (4), then for each packet
///             seconds (4) | fraction (4) | kept (4) | length (4) | bytes
///     pcapng: see `Pcapng`
public enum CaptureFile {
    public struct Packet: Hashable, Sendable {
        public let bytes: [UInt8]
        /// On the wire; `bytes` may be less.
        public let length: Int
    }

    /// Why a file cannot be read, in words that follow its name.
    public struct Malformed: Error, Hashable, CustomStringConvertible {
        public let description: String

        init(_ description: String) { self.description = description }
    }

    /// - Parameters:
    ///   - limit: the most packets that are read; what follows is not looked at.
    ///   - longest: the most bytes that a packet may have.
    public static func packets(_ file: [UInt8], limit: Int, longest: Int) throws(Malformed) -> [Packet] {
        var reader = Reader(file: file, longest: longest)
        guard file.count >= 24 else { throw Malformed("is too short for a capture") }
        switch (reader.number(0), reader.number(0).byteSwapped) {
        case (0xa1b2_c3d4, _), (0xa1b2_3c4d, _): break
        case (_, 0xa1b2_c3d4), (_, 0xa1b2_3c4d): reader.isBigEndian = true
        case (Pcapng.BlockType.sectionHeader, _): return try reader.blocks(limit)
        default: throw Malformed("is no capture: give a file of pcap or pcapng")
        }
        return try reader.records(limit)
    }
}

private struct Reader {
    let file: [UInt8]
    let longest: Int
    var isBigEndian = false

    /// - Precondition: the file has four bytes there.
    func number(_ offset: Int) -> UInt32 {
        let value = (0..<4).reduce(UInt32(0)) { $0 | UInt32(file[offset + $1]) << UInt32(8 * $1) }
        return isBigEndian ? value.byteSwapped : value
    }

    private func checkLink(_ type: UInt32) throws(CaptureFile.Malformed) {
        guard type == UInt32(Pcapng.linkTypeEthernet) else {
            throw CaptureFile.Malformed("has packets of link type \(type): only Ethernet (1) can be read")
        }
    }

    private func packet(at offset: Int, kept: UInt32, length: UInt32, end: Int) throws(CaptureFile.Malformed)
        -> CaptureFile.Packet
    {
        guard kept <= longest, length <= longest, kept <= length else {
            throw CaptureFile.Malformed("has a packet of \(length) bytes: \(longest) is the most")
        }
        guard offset + Int(kept) <= end else { throw CaptureFile.Malformed("ends within a packet") }
        return CaptureFile.Packet(bytes: Array(file[offset..<offset + Int(kept)]), length: Int(length))
    }

    func records(_ limit: Int) throws(CaptureFile.Malformed) -> [CaptureFile.Packet] {
        // The upper bits may say how long the frame check sequence is.
        try checkLink(number(20) & 0xffff)
        var packets: [CaptureFile.Packet] = []
        var offset = 24
        while offset < file.count, packets.count < limit {
            guard offset + 16 <= file.count else { throw CaptureFile.Malformed("ends within a packet") }
            let kept = number(offset + 8)
            let length = number(offset + 12)
            packets.append(try packet(at: offset + 16, kept: kept, length: length, end: file.count))
            offset += 16 + Int(kept)
        }
        return packets
    }

    mutating func blocks(_ limit: Int) throws(CaptureFile.Malformed) -> [CaptureFile.Packet] {
        var packets: [CaptureFile.Packet] = []
        var snapLengths: [UInt32] = []
        var offset = 0
        while offset < file.count, packets.count < limit {
            guard offset + 12 <= file.count else { throw CaptureFile.Malformed("ends within a block") }
            if number(offset) == Pcapng.BlockType.sectionHeader {
                isBigEndian = false
                isBigEndian = number(offset + 8) != Pcapng.byteOrderMagic
                snapLengths = []
            }
            let length = Int(number(offset + 4))
            guard length >= 12, length.isMultiple(of: 4), offset + length <= file.count else {
                throw CaptureFile.Malformed("ends within a block")
            }
            try read(offset..<offset + length - 4, &packets, &snapLengths)
            offset += length
        }
        return packets
    }

    /// One block, its trailing length not counted in.
    private func read(
        _ block: Range<Int>,
        _ packets: inout [CaptureFile.Packet],
        _ snapLengths: inout [UInt32]
    ) throws(CaptureFile.Malformed) {
        let start = block.lowerBound
        switch number(start) {
        case Pcapng.BlockType.interfaceDescription where block.count >= 16:
            let words = number(start + 8)
            try checkLink(isBigEndian ? words >> 16 : words & 0xffff)
            snapLengths.append(number(start + 12))
        case Pcapng.BlockType.enhancedPacket where block.count >= 28:
            let (kept, length) = (number(start + 20), number(start + 24))
            packets.append(try packet(at: start + 28, kept: kept, length: length, end: block.upperBound))
        case Self.simplePacket where block.count >= 12:
            let length = number(start + 8)
            let snap = snapLengths.first ?? 0
            let kept = snap == 0 ? length : min(length, snap)
            packets.append(try packet(at: start + 12, kept: kept, length: length, end: block.upperBound))
        default: break
        }
    }

    private static let simplePacket: UInt32 = 3
}
