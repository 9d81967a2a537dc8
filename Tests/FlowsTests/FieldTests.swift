import Flows
import Testing

@Suite struct FieldTests {
    @Test func givesEachNameToOneField() {
        let names = Field.allCases.flatMap(\.names)
        #expect(Set(names).count == names.count)
    }

    @Test func liesWithinTheKey() {
        for field in Field.allCases {
            let slot = field.slot
            #expect(slot.word >= 0 && slot.word + (slot.width == 128 ? 2 : 1) <= FlowKey.wordCount, "\(field)")
            #expect(slot.width == 128 ? slot.shift == 0 : slot.shift + slot.width <= 64, "\(field)")
            #expect(field.fullMask & ~slot.mask == 0, "\(field)")
        }
    }

    /// Fields that share bits, and why they may: one is a view of the other, or no packet has both.
    @Test func sharesBitsOnlyWhereItIsMeant() {
        let shared: [Set<Field>] = [
            [.inPort, .inPortOXM], [.vlanTCI, .dlVLAN, .vlanVID, .dlVLANPCP, .vlanPCP], [.nwTOS, .ipDSCP, .nwECN],
            [.nwProto, .arpOp], [.ipSource, .arpSPA, .ndReserved], [.ipDestination, .arpTPA], [.arpSHA, .ndSLL],
            [.arpTHA, .ndTLL],
            [.tcpFlags, .ndOptionsType], [.tcpSource, .udpSource, .sctpSource, .icmpType, .icmpv6Type],
            [.tcpDestination, .udpDestination, .sctpDestination, .icmpCode, .icmpv6Code],
        ]
        for one in Field.allCases {
            for other in Field.allCases where other.rawValue > one.rawValue && !isRegister(one) {
                let isMeant = shared.contains { $0.contains(one) && $0.contains(other) }
                #expect(isMeant || !overlap(one.slot, other.slot), "\(one) \(other)")
            }
        }
    }

    private func isRegister(_ field: Field) -> Bool { field.name.contains("reg") }

    private func overlap(_ one: FieldSlot, _ other: FieldSlot) -> Bool {
        var key = FlowKey()
        key[one] = .max
        return key[other] != 0
    }

    @Test func seesRegistersThroughWiderOnes() {
        var key = FlowKey()
        for number in 0..<16 { key.set(.register(number), UInt128(number + 1)) }
        #expect(key.get(.xreg0) == 0x1_0000_0002)
        #expect(key.get(.xreg7) == 0xf_0000_0010)
        #expect(key.get(.xxreg1) == 0x5_0000_0006_0000_0007_0000_0008)
    }

    @Test func keepsEveryFieldThatIsSetAndNothingElse() {
        for field in Field.allCases {
            var key = FlowKey()
            key.set(field, .max)
            #expect(key.get(field) == field.fullMask, "\(field)")
            key.set(field, 0)
            #expect(key == FlowKey(), "\(field)")
        }
    }

    @Test func lendsItsWordsInOrder() {
        var key = FlowKey()
        for index in 0..<FlowKey.wordCount { key[index] = UInt64(index) * 3 }
        let words = key.withUnsafeWords(Array.init)
        #expect(words == (0..<39).map { UInt64($0) * 3 })
        #expect(MemoryLayout<FlowKey>.size == 39 * 8)
    }

    @Test func leavesTheCongestionBitsAloneWhenTheTypeOfServiceIsSet() {
        var key = FlowKey()
        key.set(.nwECN, 3)
        key.set(.nwTOS, 0xff)
        #expect(key.get(.nwECN) == 3)
        #expect(key.get(.nwTOS) == 0xfc)
        #expect(key.get(.ipDSCP) == 0x3f)
    }
}
