import Flows
import Foundation
import Seeds
import Testing

@testable import Dataplane

@Suite struct FrameEditorTests {
    private static let fields: [Field] = [
        .ethSource, .ethDestination, .ipSource, .ipDestination, .ipv6Source, .ipv6Destination, .ipv6Label, .nwTOS,
        .nwECN,
        .nwTTL, .tcpSource, .tcpDestination, .arpOp, .arpSPA, .arpTPA, .arpSHA, .arpTHA, .ndTarget, .ndSLL, .ndTLL,
        .ndReserved, .ndOptionsType,
    ]

    /// What is written is what is read again, in every frame that has the field, and no other field changes.
    @Test(arguments: seeds)
    func writesWhatIsReadAgain(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var edits = 0
        for _ in 0..<4000 {
            var frame = RandomFrame.make(&random)
            var layout = FrameLayout()
            let key = frame.key(&layout)
            for field in Self.fields.shuffled(using: &random).prefix(3) where layout.has(field, frame) {
                let (word, mask) = Self.place(of: field, &random)
                let value = UInt64.random(in: .min ... .max, using: &random) & mask
                var expected = frame.key(&layout)
                expected[word] = expected[word] & ~mask | value
                // As the flows see it, ICMP has eight bits of each.
                if layout.isICMP(key) { expected[4] &= 0x00ff_00ff_ffff_ffff }
                let before = frame.sums(layout, key)
                frame.edit(layout, key) { $0.rewrite(word: word, value: value, mask: mask) }
                var after = FrameLayout()
                let read = frame.key(&after)
                // A type or code may make another message of it, whose fields are read or not, and so may an option's.
                let turns = layout.isICMP(key) && [.tcpSource, .tcpDestination, .ndOptionsType].contains(field)
                if turns {
                    let octets = [48, 32, 16].map { UInt8(truncatingIfNeeded: expected[4] >> $0) }
                    #expect(frame.turned(layout) == Array(octets.prefix(layout.linkOption == 0 ? 2 : 3)))
                }
                let compared = turns ? Array(0...2) : Array(0..<FlowKey.wordCount)
                try #require(compared.allSatisfy { read[$0] == expected[$0] }, "seed \(seed), \(field): \(frame)")
                #expect(frame.sums(layout, key) == before, "seed \(seed), \(field): the checksums go along: \(frame)")
                edits += 1
                if layout.isICMP(key) { break }
            }
        }
        #expect(edits > 2000)
    }

    /// A word and mask of a field; some of its bits, or all.
    private static func place(of field: Field, _ random: inout SeededGenerator) -> (word: Int, mask: UInt64) {
        let slot = field.slot
        let word = slot.width == 128 ? slot.word + Int.random(in: 0...1, using: &random) : slot.word
        let limit = field == .nwTOS ? 0xfc : slot.width == 128 ? UInt64.max : UInt64(slot.mask)
        let all = slot.width == 128 ? limit : limit << UInt64(slot.shift)
        let isWhole = Bool.random(using: &random) || field == .arpOp
        return (word, isWhole ? all : all & .random(in: .min ... .max, using: &random))
    }
}

extension FrameLayout {
    fileprivate func has(_ field: Field, _ frame: [UInt8]) -> Bool {
        switch field {
        case .ethSource, .ethDestination: true
        case .ipSource, .ipDestination: kind == .ipv4
        case .ipv6Source, .ipv6Destination, .ipv6Label: kind == .ipv6
        case .nwTOS, .nwECN, .nwTTL: kind == .ipv4 || kind == .ipv6
        case .tcpSource, .tcpDestination: transport != 0
        case .arpOp, .arpSPA, .arpTPA, .arpSHA, .arpTHA: kind == .arp
        case .ndTarget, .ndReserved: hasTarget
        case .ndSLL: linkOption != 0 && frame[linkOption] == 1
        case .ndTLL: linkOption != 0 && frame[linkOption] == 2
        case .ndOptionsType: linkOption != 0
        default: false
        }
    }

    fileprivate func isICMP(_ key: FlowKey) -> Bool { [1, 58].contains(key.get(.nwProto)) && transport != 0 }
}

extension [UInt8] {
    fileprivate func key(_ layout: inout FrameLayout) -> FlowKey {
        layout = FrameLayout()
        return withUnsafeBytes { FlowKey(frame: $0, length: count, layout: &layout)! }
    }

    /// ICMP's type and code, and the type of a discovery option, if there is one.
    fileprivate func turned(_ layout: FrameLayout) -> [UInt8] {
        self[layout.transport..<layout.transport + 2] + (layout.linkOption == 0 ? [] : [self[layout.linkOption]])
    }

    fileprivate mutating func edit(_ layout: FrameLayout, _ key: FlowKey, _ body: (FrameEditor) -> Void) {
        withUnsafeMutableBytes { bytes in
            body(FrameEditor(bytes.baseAddress!, layout, protocol: UInt8(key.get(.nwProto))))
        }
    }

    /// What checksums keep the same: the sum of all that they cover, themselves included (RFC 1071). A UDP checksum of
    /// zero covers nothing.
    fileprivate func sums(_ layout: FrameLayout, _ key: FlowKey) -> [UInt16] {
        var sums: [UInt16] = []
        let network = layout.network
        if layout.kind == .ipv4 { sums.append(sum(network..<network + Int(self[network] & 0xf) * 4)) }
        let number = Int(key.get(.nwProto))
        guard layout.transport != 0, [1, 6, 17, 58].contains(number) else { return sums }
        if number == 17 && self[layout.transport + 6] == 0 && self[layout.transport + 7] == 0 { return sums }
        let last = layout.hasSegmentsLeft ? network + 24 : network + 40
        let addresses = layout.kind == .ipv4 ? network + 12..<network + 20 : network + 8..<last
        let covered = sum(layout.transport..<(count - layout.transport) / 2 * 2 + layout.transport)
        sums.append(number == 1 ? covered : Self.folded(UInt32(covered) + UInt32(sum(addresses))))
        return sums
    }

    private func sum(_ range: Range<Int>) -> UInt16 {
        Self.folded(
            stride(from: range.lowerBound, to: range.upperBound, by: 2).reduce(0) { sum, place in
                UInt32(Self.folded(sum + UInt32(self[place]) << 8 + UInt32(self[place + 1])))
            }
        )
    }

    /// Both zeros of ones' complement are one number.
    private static func folded(_ sum: UInt32) -> UInt16 {
        let once = (sum & 0xffff) + sum >> 16
        let folded = UInt16(truncatingIfNeeded: (once & 0xffff) + once >> 16)
        return folded == 0xffff ? 0 : folded
    }
}
