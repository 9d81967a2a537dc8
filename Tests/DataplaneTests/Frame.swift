import Wire

/// A frame to receive, and how it lies in memory.
struct Frame {
    var bytes: [UInt8]
    var segments: [Int] = []
    var headroom = Ledger.headroom

    init(_ bytes: [UInt8], segments: [Int] = [], headroom: Int = Ledger.headroom) {
        self.bytes = bytes
        self.segments = segments
        self.headroom = headroom
    }
}

/// A tag in a frame to build.
struct FrameTag {
    let type: UInt16
    let control: UInt16

    static func customer(_ vlan: UInt16, priority: UInt16 = 0) -> Self {
        .init(type: 0x8100, control: priority << 13 | vlan)
    }
    static func service(_ vlan: UInt16, priority: UInt16 = 0) -> Self {
        .init(type: 0x88a8, control: priority << 13 | vlan)
    }
}

/// Builds a frame: addresses, tags outermost first, type IPv4, payload.
func frame(
    _ tags: FrameTag...,
    to destination: UInt64 = 0x02_00_00_00_00_02,
    from source: UInt64 = 0x02_00_00_00_00_01,
    payload: [UInt8] = Array(0..<46)
) -> [UInt8] {
    octets(destination) + octets(source)
        + tags.flatMap { octets(UInt64($0.type), count: 2) + octets(UInt64($0.control), count: 2) }
        + [0x08, 0x00] + payload
}

/// A number in network byte order.
func octets(_ number: UInt64, count: Int = 6) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * (count - 1 - $0))) }
}
