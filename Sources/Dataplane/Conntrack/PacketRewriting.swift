import CPacket
import Flows
import Wire

/// What a packet becomes whose connection is translated (RFC 3022 section 4).
struct PacketRewriting: BitwiseCopyable {
    /// The packet's tuple from then on. Of a message about an error it is that of an answer to the packet that the message
    /// quotes, as the sender of that will see it.
    let tuple: ConnectionTuple
    /// Where the packet has another address then.
    let end: Translation
    /// Of a message about an error: the packet that it quotes.
    let quoted: QuotedPacket?
}

extension PacketEditor {
    /// Writes addresses and ports, or the identifier of an ICMP query. A message about an error gets the address alone, and
    /// the packet in it becomes what its sender had sent (RFC 5508 section 4).
    func translate(_ rewriting: PacketRewriting) {
        let tuple = rewriting.tuple
        rewriteAddress(rewriting.end, of: tuple)
        if let quoted = rewriting.quoted { return rewriteQuoted(quoted, tuple.reversed, rewriting.end) }
        rewritePorts(of: tuple)
    }

    /// Writes what `translate` wrote beside addresses and ports that flows see, as it was.
    /// - Parameter rewriting: to the tuple that the packet had.
    func restore(_ rewriting: PacketRewriting) {
        guard let quoted = rewriting.quoted else { return rewriteIdentifier(rewriting.tuple.sourcePort) }
        let tuple = rewriting.tuple.reversed
        rewriteQuoted(quoted, tuple, .source)
        rewriteQuoted(quoted, tuple, .destination)
    }

    private func rewriteAddress(_ end: Translation, of tuple: ConnectionTuple) {
        let isSource = end == .source
        guard tuple.isIPv6 else {
            let value = isSource ? tuple.sourceLow &<< 32 : tuple.destinationLow
            return rewrite(word: 3, value: value, mask: isSource ? .max << 32 : 0xffff_ffff)
        }
        rewrite(word: isSource ? 19 : 21, value: isSource ? tuple.sourceHigh : tuple.destinationHigh, mask: .max)
        rewrite(word: isSource ? 20 : 22, value: isSource ? tuple.sourceLow : tuple.destinationLow, mask: .max)
    }

    private func rewritePorts(of tuple: ConnectionTuple) {
        if tuple.isICMP { return rewriteIdentifier(tuple.sourcePort) }
        guard tuple.isTCP || tuple.protocolNumber == IPProtocol.udp else { return }
        let ports = UInt64(tuple.sourcePort) << 48 | UInt64(tuple.destinationPort) << 32
        rewrite(word: 4, value: ports, mask: .max << 32)
    }

    /// - Parameters:
    ///   - tuple: what the packet in the message becomes.
    ///   - end: of the message itself: that of the packet in it is the other one.
    private func rewriteQuoted(_ quoted: QuotedPacket, _ tuple: ConnectionTuple, _ end: Translation) {
        let number = tuple.protocolNumber
        let length = tuple.isTCP ? 18 : tuple.isICMP || number == IPProtocol.udp ? 8 : 0
        keepMessage(quoted, protocol: number, length: length) { editor in
            editor.rewriteAddress(end == .source ? .destination : .source, of: tuple)
            editor.rewritePorts(of: tuple)
        }
    }
}

/// What plain packets of a direction of a connection become, and by how much that changes their checksums.
struct PlainRewriting: BitwiseCopyable {
    private let addresses: UInt64
    private let ports: UInt32
    /// The words that go and those that come, as RFC 1624 adds them up (section 3, equation 3).
    private let networkChange: UInt32
    private let transportChange: UInt32

    /// - Parameters:
    ///   - former: the packets' own, of IPv4.
    ///   - next: what it becomes.
    @inline(__always)
    init(from former: ConnectionTuple, to next: ConnectionTuple) {
        addresses = Self.addresses(next)
        ports = Self.ports(next)
        networkChange = Self.change(Self.addresses(former), addresses)
        transportChange = networkChange &+ Self.change(UInt64(Self.ports(former)), UInt64(ports))
    }

    @inline(__always)
    private static func addresses(_ tuple: ConnectionTuple) -> UInt64 { tuple.sourceLow &<< 32 | tuple.destinationLow }

    @inline(__always)
    private static func ports(_ tuple: ConnectionTuple) -> UInt32 {
        UInt32(tuple.sourcePort) &<< 16 | UInt32(tuple.destinationPort)
    }

    @inline(__always)
    private static func change(_ former: UInt64, _ next: UInt64) -> UInt32 {
        change(former, next, 0) &+ change(former, next, 16) &+ change(former, next, 32) &+ change(former, next, 48)
    }

    /// Of the sixteen bits from one on: nothing when they stay the same.
    @inline(__always)
    private static func change(_ former: UInt64, _ next: UInt64, _ shift: UInt64) -> UInt32 {
        let (one, other) = (UInt16(truncatingIfNeeded: former &>> shift), UInt16(truncatingIfNeeded: next &>> shift))
        return one == other ? 0 : UInt32(~one) &+ UInt32(other)
    }

    /// - Precondition: the packet is as `PlainPacket` reads it.
    @inline(__always)
    func write(to packet: Packet) {
        let frame = packet.frame
        frame.storeBytes(of: addresses.bigEndian, toByteOffset: 26, as: UInt64.self)
        frame.storeBytes(of: ports.bigEndian, toByteOffset: 34, as: UInt32.self)
        Self.adjust(frame, 24, networkChange)
        guard frame.load(fromByteOffset: 23, as: UInt8.self) == IPProtocol.udp else {
            return Self.adjust(frame, 50, transportChange)
        }
        // A UDP checksum of zero is none (RFC 768).
        guard frame.loadUnaligned(fromByteOffset: 40, as: UInt16.self) != 0 else { return }
        Self.adjust(frame, 40, transportChange)
        if frame.loadUnaligned(fromByteOffset: 40, as: UInt16.self) == 0 {
            frame.storeBytes(of: 0xffff, toByteOffset: 40, as: UInt16.self)
        }
    }

    @inline(__always)
    private static func adjust(_ frame: UnsafeMutableRawPointer, _ place: Int, _ change: UInt32) {
        guard change != 0 else { return }
        let former = UInt16(bigEndian: frame.loadUnaligned(fromByteOffset: place, as: UInt16.self))
        var sum = UInt32(~former) &+ change
        sum = (sum & 0xffff) &+ sum &>> 16
        sum = (sum & 0xffff) &+ sum &>> 16
        frame.storeBytes(of: (~UInt16(truncatingIfNeeded: sum)).bigEndian, toByteOffset: place, as: UInt16.self)
    }
}
