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
