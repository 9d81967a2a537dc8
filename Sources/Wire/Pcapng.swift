/// Blocks of a pcapng file (draft-ietf-opsawg-pcapng): one section, one Ethernet interface, nanoseconds.
///
///     block:  type (4) | total length (4) | body, padded to 4 | total length (4)
///     option: code (2) | length (2) | value, padded to 4
///
/// All numbers are written little-endian, which the section header tells the reader.
public enum Pcapng {
    /// From where a packet was seen, as `epb_flags` has it: inbound was received on the interface.
    public enum Direction: UInt32, Sendable {
        case inbound = 1
        case outbound = 2
    }

    enum BlockType {
        static let sectionHeader: UInt32 = 0x0a0d_0d0a
        static let interfaceDescription: UInt32 = 1
        static let enhancedPacket: UInt32 = 6
    }

    enum OptionCode {
        static let end: UInt16 = 0
        static let sectionApplication: UInt16 = 4
        static let interfaceName: UInt16 = 2
        static let interfaceTimeResolution: UInt16 = 9
        static let packetFlags: UInt16 = 2
    }

    static let byteOrderMagic: UInt32 = 0x1a2b_3c4d
    static let linkTypeEthernet: UInt16 = 1

    /// What a file begins with: the section header and the description of its only interface.
    /// - Parameters:
    ///   - snapLength: the most bytes kept of a packet.
    ///   - application: who writes the file.
    public static func opening(interface: String, snapLength: Int, application: String) -> [UInt8] {
        var section = Block(type: BlockType.sectionHeader)
        section.append(byteOrderMagic)
        section.append(UInt16(1))
        section.append(UInt16(0))
        // -1: the section's length is not known.
        section.append(UInt64.max)
        section.append(option: OptionCode.sectionApplication, Array(application.utf8))
        section.appendEndOfOptions()

        var description = Block(type: BlockType.interfaceDescription)
        description.append(linkTypeEthernet)
        description.append(UInt16(0))
        description.append(UInt32(snapLength))
        description.append(option: OptionCode.interfaceName, Array(interface.utf8))
        // 10 to the power of -9 seconds.
        description.append(option: OptionCode.interfaceTimeResolution, [9])
        description.appendEndOfOptions()
        return section.finished() + description.finished()
    }

    /// One packet of the interface.
    /// - Parameters:
    ///   - bytes: what was kept of it.
    ///   - length: its length on the wire in bytes.
    ///   - time: nanoseconds since 1970-01-01 UTC.
    public static func packet(_ bytes: [UInt8], length: Int, time: UInt64, direction: Direction) -> [UInt8] {
        var packet = Block(type: BlockType.enhancedPacket, capacity: bytes.count + 64)
        packet.append(UInt32(0))
        packet.append(UInt32(truncatingIfNeeded: time >> 32))
        packet.append(UInt32(truncatingIfNeeded: time))
        packet.append(UInt32(bytes.count))
        packet.append(UInt32(length))
        packet.append(padded: bytes)
        var flags = Block(type: 0)
        flags.append(direction.rawValue)
        packet.append(option: OptionCode.packetFlags, flags.body)
        packet.appendEndOfOptions()
        return packet.finished()
    }
}

/// A block while it is written.
private struct Block {
    private let type: UInt32
    private(set) var body: [UInt8] = []

    init(type: UInt32, capacity: Int = 128) {
        self.type = type
        body.reserveCapacity(capacity)
    }

    mutating func append(_ number: some FixedWidthInteger) {
        withUnsafeBytes(of: number.littleEndian) { body.append(contentsOf: $0) }
    }

    mutating func append(padded bytes: [UInt8]) {
        body.append(contentsOf: bytes)
        body.append(contentsOf: repeatElement(0, count: -bytes.count & 3))
    }

    mutating func append(option code: UInt16, _ value: [UInt8]) {
        append(code)
        append(UInt16(value.count))
        append(padded: value)
    }

    mutating func appendEndOfOptions() {
        append(Pcapng.OptionCode.end)
        append(UInt16(0))
    }

    /// The block as it stands in the file.
    func finished() -> [UInt8] {
        let length = UInt32(body.count + 12)
        var whole = Block(type: type, capacity: Int(length))
        whole.append(type)
        whole.append(length)
        whole.body.append(contentsOf: body)
        whole.append(length)
        return whole.body
    }
}

/// Takes a pcapng file, as `Pcapng` writes it, apart again, from pieces of any length.
public struct PcapngReader {
    /// One whole block.
    public struct Block: Sendable {
        /// As it stands in the file.
        public let bytes: [UInt8]
        /// What it holds, when it is an enhanced packet block.
        public let packet: Packet?
    }

    public struct Packet: Hashable, Sendable {
        /// Nanoseconds since 1970-01-01 UTC.
        public let time: UInt64
        /// nil when the file does not say.
        public let direction: Pcapng.Direction?
        /// Length on the wire in bytes; `bytes` may hold less.
        public let length: Int
        public let bytes: [UInt8]
    }

    /// The bytes are no pcapng blocks of this byte order.
    public struct Malformed: Error {}

    private var buffer: [UInt8] = []
    /// Where the next block begins in `buffer`; all before it has been read.
    private var position = 0

    public init() {}

    public mutating func append(_ piece: some Sequence<UInt8>) {
        buffer.removeFirst(position)
        position = 0
        buffer.append(contentsOf: piece)
    }

    /// The next block; nil when there is not all of it yet.
    /// - Throws: `Malformed`.
    public mutating func next() throws(Malformed) -> Block? {
        guard buffer.count - position >= 8 else { return nil }
        let length = Int(number(at: 4))
        guard length >= 12, length % 4 == 0 else { throw Malformed() }
        guard buffer.count - position >= length else { return nil }
        guard number(at: length - 4) == UInt32(length) else { throw Malformed() }
        let packet = number(at: 0) == Pcapng.BlockType.enhancedPacket ? try packet(blockLength: length) : nil
        defer { position += length }
        return Block(bytes: Array(buffer[position..<position + length]), packet: packet)
    }

    private func packet(blockLength: Int) throws(Malformed) -> Packet {
        let start = 28
        guard blockLength >= start + 4 else { throw Malformed() }
        let kept = Int(number(at: 20))
        var option = start + (kept + 3) & ~3
        guard option <= blockLength - 4 else { throw Malformed() }
        var direction: Pcapng.Direction?
        while option + 8 <= blockLength - 4 {
            let head = number(at: option)
            if head == UInt32(Pcapng.OptionCode.packetFlags) | 4 << 16 {
                direction = Pcapng.Direction(rawValue: number(at: option + 4) & 3)
            }
            option += 4 + (Int(head >> 16) + 3) & ~3
        }
        return Packet(
            time: UInt64(number(at: 12)) << 32 | UInt64(number(at: 16)),
            direction: direction,
            length: Int(number(at: 24)),
            bytes: Array(buffer[position + start..<position + start + kept])
        )
    }

    /// A number of the block at `position`.
    /// - Precondition: the buffer holds four bytes there.
    private func number(at offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(buffer[position + offset + $1]) << UInt32(8 * $1) }
    }
}
