import Glibc
import Testing

@testable import Dataplane
@testable import PacketIO

/// What is refused before DPDK is asked.
@Suite struct EALOptionsTests {
    private func reason(_ change: (inout EALOptions) -> Void) -> String? {
        var options = EALOptions()
        options.withoutHugepages = true
        change(&options)
        do throws(Refusal) { try options.validate() } catch { return error.reason }
        return nil
    }

    private let lcoreCount = sysconf(Int32(_SC_NPROCESSORS_ONLN))

    @Test func acceptsTheDefaults() {
        #expect(reason { _ in } == nil, "the tests of PacketIO need root and two processors")
    }

    @Test func refusesNoWorker() {
        #expect(reason { $0.workerLcores = [] } == "no worker lcore: give --worker-lcores, for example 1")
    }

    @Test func refusesAnLcoreThatDoesNotExist() {
        let text = "lcore \(lcoreCount) does not exist: this machine has lcores 0 to \(lcoreCount - 1)"
        #expect(reason { $0.workerLcores = [1, lcoreCount] } == text)
        #expect(reason { $0.mainLcore = lcoreCount } == text)
        #expect(
            reason { $0.workerLcores = [-1] }
                == "lcore -1 does not exist: this machine has lcores 0 to \(lcoreCount - 1)"
        )
    }

    @Test func refusesAMainLcoreThatIsAWorker() {
        #expect(
            reason { $0.mainLcore = 1 }
                == "lcore 1 cannot be both main and worker: change --main-lcore or --worker-lcores"
        )
    }

    @Test func refusesAWorkerNamedTwice() {
        #expect(reason { $0.workerLcores = [1, 1] } == "worker lcores [1, 1] name one twice")
    }

    @Test(arguments: ["", "a b", "a/b", "ä"])
    func refusesAFilePrefixThatIsNoName(prefix: String) {
        #expect(
            reason { $0.filePrefix = prefix }
                == "file prefix '\(prefix)' is not a name: use letters, digits, '_', '.', '-'"
        )
    }

    @Test func refusesMoreHugepagesThanThereAre() throws {
        let refusal = try #require(throws: Refusal.self) { try Hugepages.validate(needed: 1_000_001) }
        let text = refusal.reason
        let wanted =
            text.hasPrefix("1000001 MB of hugepages are wanted and ") && text.contains("--reserve-hugepages 1000001")
        #expect(wanted || text.hasPrefix("no hugetlbfs is mounted: "), "\(text)")
        #expect(text.hasSuffix("or give --no-huge"))
    }

    @Test func leavesThePlacesOfLcoresToAMap() {
        var options = EALOptions()
        options.workerLcores = [lcoreCount, lcoreCount + 1]
        options.extra = ["--lcores=0@0,\(lcoreCount)@1,\(lcoreCount + 1)@1"]
        options.withoutHugepages = true
        #expect(throws: Never.self) { try options.validate() }
        #expect(!options.arguments.contains("-l") && options.arguments.last == options.extra[0])
    }

    @Test func asksDPDKForTheMemoryThatIsWanted() {
        var options = EALOptions()
        options.socketMemory = [512, 256]
        options.extra = ["--iova-mode", "va"]
        #expect(options.arguments.joined(separator: " ").contains("-l 0,1 --main-lcore 0 --file-prefix martlet"))
        #expect(options.arguments.joined(separator: " ").hasSuffix("--socket-mem 512,256 --iova-mode va"))
        options.withoutHugepages = true
        #expect(options.arguments.joined(separator: " ").hasSuffix("--no-huge --no-shconf -m 768 --iova-mode va"))
    }
}
