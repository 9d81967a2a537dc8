import Dataplane
import Foundation
import Testing
import Wire

@testable import Control

/// The real martletctl, as it was built beside these tests, on a real socket.
@Suite struct CommandLineTests {
    struct Outcome: Sendable {
        let status: Int32
        let output: String
        let error: String
    }

    /// Runs it to its end, or to that of a test that failed meanwhile.
    private func martletctl(_ arguments: [String], environment: [String: String] = [:]) async throws -> Outcome {
        let process = Process()
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let built = [tests, CommandLine.arguments[0]].map { URL(filePath: $0).deletingLastPathComponent().path }
        let program = try #require(
            built.map { $0 + "/martletctl" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        )
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.environment = environment
        let (output, error) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = error
        try process.run()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                // A thread of its own: reading to the end blocks.
                Thread.detachNewThread {
                    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                    let errors = String(decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                    process.waitUntilExit()
                    let status = process.terminationStatus
                    continuation.resume(returning: Outcome(status: status, output: text, error: errors))
                }
            }
        } onCancel: {
            // Threads of tests block other signals, and so do their children.
            kill(process.processIdentifier, SIGKILL)
        }
    }

    /// A command line in words, to the daemon at `path`.
    private func run(_ words: String, _ path: String) async throws -> Outcome {
        try await martletctl(words.split(separator: " ").map(String.init) + ["--socket", path])
    }

    @Test func everyOptionReachesTheSwitch() async throws {
        try await serving { path, bench in
            let add = "port add br0 p9 --type ring --tag 3 --trunks 4,5 --vlan-mode native-tagged "
            let added = try await run(add + "--option size=128 --option mtu=1700 --number 9", path)
            #expect(added.status == 0)
            #expect(added.output.isEmpty && added.error.isEmpty)
            let port = try #require(try bench.store.load().ports["p9"])
            #expect(port.type == .ring(name: "p9", size: 128))
            #expect(port.mtu == 1700)
            #expect(port.number == PortNumber(9))
            #expect(port.vlan.mode == .nativeTagged && port.vlan.tag == VLANID(3) && port.vlan.trunks.count == 2)
            #expect(try await run("port set p9 --vlan-mode trunk --trunks 7", path).status == 0)
            #expect(try bench.store.load().ports["p9"]?.vlan.trunks == [VLANID(7)!])
            let bridge = "bridge add br1 --fdb-capacity 99 --fdb-ageing 5 --forward-reserved"
            #expect(try await run(bridge, path).status == 0)
            #expect(try await run("bridge set br1 --no-forward-reserved", path).status == 0)
            let settings = try #require(try bench.store.load().bridges["br1"])
            #expect(settings.fdbCapacity == 99 && settings.fdbAgeing == 5 && !settings.forwardsReserved)
            #expect(try await run("fdb add br0 52:54:00:00:00:01 p9 --vlan 7", path).status == 0)
            #expect(try bench.store.load().stations.values.first == "p9")
            #expect(try await run("fdb del br0 52:54:00:00:00:01 --vlan 7", path).status == 0)
            #expect(try await run("worker assign p9 0 2", path).status == 0)
            #expect(try bench.store.load().pins == [Pin(port: "p9", queue: 0): 2])
            #expect(try await run("log level debug", path).output == "debug\n")
            #expect(bench.logLevel.current == .debug)
            #expect(try await run("port del p9", path).status == 0)
            #expect(try await run("bridge del br1", path).status == 0)
            #expect(try bench.store.load().ports.keys.sorted() == ["p1", "vm1"])
        }
    }

    @Test func showsTheTree() async throws {
        try await serving { path, bench in
            let tree = """
                bridge br0
                    port p1  number 1, access 10, link up
                        ring name=p1 size=1024 mtu=9000
                    port vm1  number 2, trunk all, link up
                        vhost-user mode=client path=\(bench.directory)/vm1.sock queues=1 mtu=9000

                """
            #expect(try await run("show", path).output == tree)
            #expect(try await martletctl(["--socket", path, "show"]).output == tree)
            let viaEnvironment = try await martletctl(["show"], environment: ["MARTLET_SOCKET": path])
            #expect(viaEnvironment.output == tree)
        }
    }

    @Test(arguments: [
        "show", "bridge list", "port list", "port list br0", "port show p1", "port stats", "port stats p1",
        "worker list", "fdb show br0", "fdb stats br0", "stats ports", "stats workers", "stats drops", "log level",
        "version", "top --count 1 --interval 0.1", "doctor", "flow dump br0", "flow dump br0 table=0",
    ])
    func everyReadSpeaksJSON(words: String) async throws {
        try await serving { path, _ in
            let outcome = try await run(words + " --json", path)
            #expect(outcome.status == 0 || words == "doctor", "\(outcome.error)")
            #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) }
            let text = try await run(words, path)
            #expect(!text.output.isEmpty)
            #expect(!text.output.hasPrefix("{"))
        }
    }

    @Test(arguments: [
        "port del ghost", "bridge add br0", "port add br0 x --type ring --tag 4095", "port add br0 x --type warp",
        "fdb show br9", "capture ghost", "worker assign p1 0 9", "log level loud", "flow dump br9", "flow del br9",
        "flow watch br9",
    ])
    func aRefusalIsOneLineAndStatusOne(words: String) async throws {
        try await serving { path, _ in
            let outcome = try await run(words, path)
            #expect(outcome.status == 1)
            #expect(outcome.output.isEmpty)
            #expect(outcome.error.hasPrefix("martletctl: "))
            #expect(outcome.error.split(separator: "\n").count == 1)
        }
    }

    @Test(arguments: [
        "fly", "port add br0", "port add br0 x", "port set p1", "port add br0 x --type ring --trunks 1,two",
        "port add br0 x --type ring --option size", "port add br0 x --type ring --option a=1 --option a=2",
        "top --interval 0", "capture p1 --count 0", "doctor --reserve-hugepages 0", "worker assign p1 zero 1",
        "flow add br0", "flow add br0 actions=drop --file x", "flow replace br0", "flow add br0 --file /nowhere/x",
    ])
    func wrongUsageIsStatusTwo(words: String) async throws {
        let outcome = try await run(words, "/nowhere")
        #expect(outcome.status == 2)
        #expect(outcome.output.isEmpty)
        #expect(outcome.error.contains("Usage:"))
    }

    @Test func anAbsentDaemonIsStatusThreeAndSaysWhatToDo() async throws {
        let absent = try await run("show", "/tmp/martlet-nowhere.sock")
        #expect(absent.status == 3)
        #expect(absent.error.contains("no martletd listens on '/tmp/martlet-nowhere.sock': start it"))
        let home = TemporaryDirectory()
        let dead = try ListeningSocket(path: home.path + "/s")
        close(dead.descriptor)
        let refused = try await run("show", dead.path)
        #expect(refused.status == 3)
        #expect(refused.error.contains("is a dead daemon's socket: start martletd"))
        let long = try await run("show", "/" + String(repeating: "x", count: 107))
        #expect(long.status == 3)
        #expect(long.error.contains("has 108 bytes: the kernel takes 107 at most"))
    }

    @Test func captureEndsAfterItsCount() async throws {
        try await serving { path, bench in
            let frame: [UInt8] =
                [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 10, 8, 0] + Array(repeating: 0, count: 42)
            let packet = CapturedPacket(time: 3_723_000_000_005, received: true, length: 60, bytes: frame)
            async let outcome = run("capture p1 --count 2", path)
            try await eventually { !bench.io.captures.isEmpty }
            bench.io.captures.values.first?.put([packet, packet, packet])
            let line = "01:02:03.000000005 in 60 02:00:00:00:00:02 > 02:00:00:00:00:01 vlan 10 type 0x0800\n"
            let lines = try await outcome
            #expect(lines.output == line + line)
            #expect(lines.error == "2 packets captured, 0 lost\n")
            #expect(lines.status == 0)
            let file = bench.directory + "/f.pcapng"
            async let written = run("capture vm1 --count 1 -w \(file)", path)
            try await eventually { bench.io.captures.count == 2 }
            for capture in bench.io.captures.values { capture.put([packet, packet]) }
            #expect(try await written.status == 0)
            var reader = PcapngReader()
            reader.append(try Data(contentsOf: URL(filePath: file)))
            var packets: [PcapngReader.Packet] = []
            while let block = try reader.next() { if let packet = block.packet { packets.append(packet) } }
            #expect(packets.map(\.bytes) == [frame])
        }
    }

    @Test func flowsGoThereAndBack() async throws {
        try await serving { path, bench in
            func flow(_ words: String...) async throws -> Outcome {
                try await martletctl(["flow"] + words + ["--socket", path])
            }
            let added = try await flow("add", "br0", "priority=5,in_port=vm1 actions=strip_vlan,output:p1")
            #expect(added.status == 0 && added.output.isEmpty && added.error.isEmpty, "\(added)")
            let dump = try await flow("dump", "br0", "--no-stats")
            #expect(dump.output == " priority=5,in_port=2 actions=strip_vlan,output:1\n priority=0 actions=NORMAL\n")
            let named = try await flow("dump", "br0", "out_port=p1", "--no-stats", "--names")
            #expect(named.output == " priority=5,in_port=vm1 actions=strip_vlan,output:p1\n")
            let file = bench.directory + "/flows"
            try dump.output.write(toFile: file, atomically: true, encoding: .utf8)
            #expect(try await flow("replace", "br0", "--file", file).output == "0 added, 0 removed, 2 unchanged\n")
            #expect(try await flow("del", "br0", "in_port=vm1").output == "1 deleted\n")
            #expect(try await flow("add", "br0", "--file", file).status == 0)
            #expect(try await flow("del", "br0").output == "2 deleted\n")
            #expect(try await flow("dump", "br0").output.isEmpty)
        }
    }

    @Test func aMistakeInAFlowIsShownWhereItStands() async throws {
        try await serving { path, bench in
            let words = ["flow", "add", "br0", "in_port=1,nonsense=2 actions=drop", "--socket", path]
            let flow = try await martletctl(words)
            #expect(flow.status == 1 && flow.output.isEmpty)
            let lines = flow.error.split(separator: "\n")
            #expect(lines.first?.hasPrefix("martletctl: column 11: 'nonsense' is unknown") == true)
            #expect(lines.dropFirst() == ["    in_port=1,nonsense=2 actions=drop", "              ^"])
            let file = bench.directory + "/flows"
            // More than one piece of staged text.
            let good = (0..<20_000).map { "reg0=\($0) actions=drop\n" }.joined()
            try (good + "in_port=1 actions=output:7\n").write(toFile: file, atomically: true, encoding: .utf8)
            let outcome = try await run("flow add br0 --file \(file)", path)
            #expect(outcome.status == 1)
            #expect(outcome.error.hasPrefix("\(file):20001:19: port 7 does not exist on bridge 'br0'"))
            #expect(try await bench.flows() == ["priority=0 actions=NORMAL"])
            try good.write(toFile: file, atomically: true, encoding: .utf8)
            #expect(
                try await run("flow replace br0 --file \(file)", path).output == "20000 added, 1 removed, 0 unchanged\n"
            )
        }
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func completesInEveryShell(shell: String) async throws {
        let outcome = try await martletctl(["--generate-completion-script", shell])
        #expect(outcome.status == 0)
        #expect(outcome.output.contains("reserve-hugepages"))
    }
}
