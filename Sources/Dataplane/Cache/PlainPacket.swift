import CPacket
import Flows
import Wire

/// The headers of a frame that is nothing but TCP or UDP in whole, untagged IPv4 without options: read without a call.
struct PlainPacket {
    let w1: UInt64
    let w2: UInt64
    let w3: UInt64
    let w4: UInt64

    @inline(__always) var isTCP: Bool { w2 &>> 8 & 0xff == UInt64(IPProtocol.tcp) }

    /// The type of the frame and its tags, as word 0 of a flow key has them.
    static var word0: UInt64 { 0x0800 << 16 }

    /// Nil for any other frame: `FlowKey(frame:)` reads that. What this reads is what that would read.
    @inline(__always)
    init?(_ packet: Packet) {
        let contiguous = Int(packet.pointee.data_length)
        guard contiguous >= 42 else { return nil }
        let frame = UnsafeRawPointer(packet.frame)
        let source = Self.number64(frame, 6)
        let network = Self.number64(frame, 14)
        // The type, the version and header length, and the fragment's place, at once.
        guard ((source & 0xffff) ^ 0x0800) | ((network &>> 56) ^ 0x45) | (network & 0x3fff) == 0 else { return nil }
        let behind = Self.number64(frame, 22)
        let length = Int(network &>> 32 & 0xffff)
        let number = behind &>> 48 & 0xff
        var flags: UInt64 = 0
        if number == UInt64(IPProtocol.udp) {
            guard length >= 28, length <= contiguous &- 14 else { return nil }
        } else {
            guard number == UInt64(IPProtocol.tcp), contiguous >= 54, length <= contiguous &- 14 else { return nil }
            let offset = Self.number16(frame, 46)
            let headerLength = Int(offset &>> 12) &* 4
            guard headerLength >= 20, length >= 20 &+ headerLength else { return nil }
            flags = UInt64(offset & 0x0fff)
        }
        let ports = UInt64(Self.number32(frame, 34))
        w1 = Self.number64(frame, 0) & ~0xffff
        w2 = source & ~0xffff | number &<< 8
        w3 = Self.number64(frame, 26)
        w4 = ports &<< 32 | flags &<< 16 | (network &>> 48 & 0xff) &<< 8 | behind &>> 56
    }

    @inline(__always)
    private static func number64(_ frame: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        UInt64(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    private static func number32(_ frame: UnsafeRawPointer, _ offset: Int) -> UInt32 {
        UInt32(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inline(__always)
    private static func number16(_ frame: UnsafeRawPointer, _ offset: Int) -> UInt16 {
        UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }
}

/// Tells whether packets are like the last plain one, as far as a cache's interest goes, without reading their headers: what
/// makes a packet plain is compared as well.
struct PlainLikeness {
    /// Octets from 0, 6, 14, 22 and 30 on, as they are loaded, and what counts of them.
    private let masks: (UInt64, UInt64, UInt64, UInt64, UInt64)
    private var octets: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
    /// Octets 46 and 47: TCP's data offset and flags. Nothing counts of a UDP packet's.
    private let flags: UInt16
    private var flagMask: UInt16 = 0
    private var flagOctets: UInt16 = 0
    /// The contiguous length; beyond 16 bits it is no packet's.
    private var length = UInt32.max
    private var hasGivenUp = false

    init(_ interest: CacheKey) {
        let (w1, w2, w3, w4) = (interest[1], interest[2], interest[3], interest[4])
        let network = 0xff00_ffff_0000_3fff | (w4 & 0xff00) &<< 40
        let behind = (w4 & 0xff) &<< 56 | 0x00ff_0000_0000_0000 | w3 &>> 32
        masks = (
            (w1 & ~0xffff).bigEndian, (w2 | 0xffff).bigEndian, network.bigEndian, behind.bigEndian,
            (w3 &<< 32 | w4 &>> 32).bigEndian
        )
        flags = (0xf000 | UInt16(truncatingIfNeeded: w4 &>> 16)).bigEndian
    }

    /// From now on no packet is like another, and none is noted.
    mutating func giveUp() {
        forget()
        hasGivenUp = true
    }

    @inline(__always)
    func isLike(_ packet: Packet) -> Bool {
        guard UInt32(packet.pointee.data_length) == length else { return false }
        let frame = UnsafeRawPointer(packet.frame)
        var difference = (Self.load(frame, 0) ^ octets.0) & masks.0
        difference |= (Self.load(frame, 6) ^ octets.1) & masks.1
        difference |= (Self.load(frame, 14) ^ octets.2) & masks.2
        difference |= (Self.load(frame, 22) ^ octets.3) & masks.3
        difference |= (Self.load(frame, 30) ^ octets.4) & masks.4
        difference |= UInt64((frame.loadUnaligned(fromByteOffset: 46, as: UInt16.self) ^ flagOctets) & flagMask)
        return difference == 0
    }

    /// From now on no packet is like the last.
    @inline(__always)
    mutating func forget() { length = .max }

    /// From now on packets are held against this one.
    /// - Parameter packet: a plain one.
    @inline(__always)
    mutating func follow(_ packet: Packet, isTCP: Bool) {
        // Where octets 46 and 47 may not be there no packet is like it.
        if hasGivenUp { return }
        guard packet.pointee.data_length >= 48 else { return forget() }
        let frame = UnsafeRawPointer(packet.frame)
        length = UInt32(packet.pointee.data_length)
        octets = (
            Self.load(frame, 0), Self.load(frame, 6), Self.load(frame, 14), Self.load(frame, 22), Self.load(frame, 30)
        )
        flagOctets = frame.loadUnaligned(fromByteOffset: 46, as: UInt16.self)
        flagMask = isTCP ? flags : 0
    }

    @inline(__always)
    private static func load(_ frame: UnsafeRawPointer, _ offset: Int) -> UInt64 {
        frame.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
    }
}
