import Testing

@testable import Dataplane

/// How many bytes flows and cached connections take: what `Benchmarks/memory.py` measures rests on these.
@Suite struct FlowLayoutTests {
    @Test func aFlowIsARuleOfTwoLinesAndWhatTheRuleDoesNotSay() {
        let values = 4 * MemoryLayout<UInt64>.stride
        let rule =
            MemoryLayout<Rule>.stride + values + MemoryLayout<Instruction>.stride + MemoryLayout<RuleCount>.stride
        #expect(rule == 2 * BlockPool.line)
        #expect(MemoryLayout<FlowTables.Installed?>.stride == 72)
    }

    @Test func aProgramOfOneLookUpAndOutputIsOneUnitAndOneOfEightIsTwo() {
        let (visit, step) = (MemoryLayout<Program.Visit>.stride, MemoryLayout<Program.Step>.stride)
        #expect(MemoryLayout<ProgramStore.Header>.stride + step + visit <= ProgramStore.unit)
        #expect(MemoryLayout<ProgramStore.Header>.stride + step + 8 * visit <= 2 * ProgramStore.unit)
    }

    @Test func aLookUpInOneWordHasItsPlaceAndItsRule() {
        let last = TablePlace(value: UInt32(TablePlace.count - 1))
        // The last line of what programs have of the address space.
        for address in [UInt(64), 0x7fff_ffff_ffc0] {
            let rule = UnsafeMutablePointer<Rule>(bitPattern: address)
            let visit = Program.Visit(place: last, rule: rule)
            #expect(visit.place == last && visit.rule == rule)
        }
        let missed = Program.Visit(place: last, rule: nil)
        #expect(missed.place == last && missed.rule == nil)
    }
}
