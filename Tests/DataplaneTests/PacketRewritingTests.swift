import Flows
import Seeds
import Testing
import Wire

@testable import Dataplane

/// What translation writes into packets.
@Suite struct PacketRewritingTests {
    /// The quick way for plain packets beside the way of all others, with checksums of any value, UDP's none among them.
    @Test(arguments: seeds)
    func plainPacketsBecomeWhatAllOthersDo(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<5000 {
            let number = [IPProtocol.tcp, IPProtocol.udp].randomElement(using: &random)!
            let (former, next) = (tuple(number, &random), tuple(number, &random))
            let bytes = frame(former, &random)
            let end = [Translation.source, .destination].randomElement(using: &random)!
            // The other end stays what it is, but for its port.
            var kept = next
            if end == .source {
                (kept.destinationHigh, kept.destinationLow) = (former.destinationHigh, former.destinationLow)
            } else {
                (kept.sourceHigh, kept.sourceLow) = (former.sourceHigh, former.sourceLow)
            }
            let plain = edited(bytes) { PlainRewriting(from: former, to: kept).write(to: $0) }
            let other = edited(bytes) {
                PacketEditor(plain: $0).translate(PacketRewriting(tuple: kept, end: end, quoted: nil))
            }
            #expect(plain == other, "seed \(seed)")
        }
    }

    private func edited(_ bytes: [UInt8], _ edit: (Packet) -> Void) -> [UInt8]? {
        let ledger = Ledger()
        let packet = ledger.make(Frame(bytes))
        edit(packet)
        return Ledger.bytes(of: packet)
    }

    /// Few values, so that some words stay the same and some sums are 0 or 0xffff.
    private func tuple(_ number: UInt8, _ random: inout SeededGenerator) -> ConnectionTuple {
        let words: [UInt32] = [0, 1, 0xffff, 0xffff_ffff, 0x0a00_0001, .random(in: .min ... .max, using: &random)]
        var tuple = ConnectionTuple(
            source: IPv4Address(value: words.randomElement(using: &random)!),
            destination: IPv4Address(value: words.randomElement(using: &random)!),
            protocol: number
        )
        tuple.sourcePort = UInt16(truncatingIfNeeded: words.randomElement(using: &random)!)
        tuple.destinationPort = UInt16(truncatingIfNeeded: words.randomElement(using: &random)!)
        return tuple
    }

    private func frame(_ tuple: ConnectionTuple, _ random: inout SeededGenerator) -> [UInt8] {
        let sums: [UInt64] = [0, 0xffff, 1, 0xfffe, .random(in: 0...0xffff, using: &random)]
        var frame = [UInt8](repeating: 2, count: 12) + [8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, tuple.protocolNumber]
        frame += octets(sums.randomElement(using: &random)!, count: 2) + octets(tuple.sourceLow, count: 4)
        frame += octets(tuple.destinationLow, count: 4) + octets(UInt64(tuple.sourcePort), count: 2)
        frame += octets(UInt64(tuple.destinationPort), count: 2) + [UInt8](repeating: 0x50, count: 22)
        let place = tuple.isTCP ? 50 : 40
        frame.replaceSubrange(place..<place + 2, with: octets(sums.randomElement(using: &random)!, count: 2))
        return frame
    }
}
