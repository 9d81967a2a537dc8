import Wire

/// What connection tracking reads of a TCP header (RFC 9293 section 3.1).
///
///      0               1               2               3
///     +-------------------------------+-------------------------------+
///   0 |          source port          |       destination port        |
///   4 |                        sequence number                        |
///   8 |                     acknowledgment number                     |
///  12 |offset |  reserved and flags   |            window             |
///  16 |           checksum            |        urgent pointer         |
///     +---------------------------------------------------------------+
struct TCPSegment: BitwiseCopyable {
    var sequence: UInt32
    var acknowledgment: UInt32
    /// In bytes.
    var payloadLength: UInt32
    /// As the header has it: without its scale.
    var window: UInt16
    /// The lower eight flags: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    var flags: UInt8
    /// The shift count of the window scale option, at most 14; nil without the option. Read of segments with SYN only,
    /// for others have none (RFC 7323 section 2.2).
    var windowScale: UInt8?

    static var fin: UInt8 { 0x01 }
    static var syn: UInt8 { 0x02 }
    static var rst: UInt8 { 0x04 }
    static var psh: UInt8 { 0x08 }
    static var ack: UInt8 { 0x10 }
    static var urg: UInt8 { 0x20 }

    /// The greatest shift count (RFC 7323 section 2.3).
    static var greatestScale: UInt8 { 14 }

    /// Of no segment.
    static var none: TCPSegment {
        TCPSegment(sequence: 0, acknowledgment: 0, payloadLength: 0, window: 0, flags: 0, windowScale: nil)
    }

    @inline(__always) func has(_ some: UInt8) -> Bool { flags & some != 0 }

    /// Begins a connection, or tries to.
    @inline(__always) var isOpening: Bool { flags & (Self.syn | Self.ack) == Self.syn }

    /// The sequence number behind it: SYN and FIN count (RFC 9293 section 3.4).
    @inline(__always)
    var end: UInt32 { sequence &+ payloadLength &+ (has(Self.syn) ? 1 : 0) &+ (has(Self.fin) ? 1 : 0) }

    /// Whether the flags make sense together: SYN ends nothing, everything else acknowledges or resets, and what speaks
    /// of data acknowledges.
    var hasSensibleFlags: Bool {
        if has(Self.syn) {
            if has(Self.rst | Self.fin) { return false }
        } else if !has(Self.ack | Self.rst) {
            return false
        }
        return has(Self.ack) || !has(Self.fin | Self.psh | Self.urg)
    }
}

extension TCPSegment {
    /// Without a call unless there is a SYN.
    /// - Parameters:
    ///   - header: a whole one, options and all, of at least 20 bytes.
    ///   - length: of the header and the payload, in bytes: at least the header's.
    @inline(__always)
    init(_ header: HeaderBytes, length: Int) {
        let offsetAndFlags = header.number16(at: 12)
        let headerLength = Int(offsetAndFlags &>> 12) &* 4
        sequence = header.number32(at: 4)
        acknowledgment = header.number32(at: 8)
        payloadLength = UInt32(truncatingIfNeeded: length &- headerLength)
        window = header.number16(at: 14)
        flags = UInt8(truncatingIfNeeded: offsetAndFlags)
        windowScale = flags & Self.syn == 0 ? nil : Self.scale(header, headerLength)
    }

    /// Goes through the options (RFC 9293 section 3.1, 'Options'; RFC 7323 section 2.2). Of several the last one counts.
    @inline(never)
    private static func scale(_ header: HeaderBytes, _ headerLength: Int) -> UInt8? {
        var (offset, scale) = (20, UInt8?.none)
        while offset + 3 <= headerLength {
            switch header.number8(at: offset) {
            case 0: return scale
            case 1: offset += 1
            case 3:
                scale = min(header.number8(at: offset + 2), greatestScale)
                fallthrough
            default: offset += max(Int(header.number8(at: offset + 1)), 2)
            }
        }
        return scale
    }
}
