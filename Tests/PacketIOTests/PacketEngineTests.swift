import CDPDK
import Glibc
import Testing

@testable import Dataplane
@testable import PacketIO

/// The engine with DPDK's real virtual devices. One at a time: DPDK and the worker are the process's.
@Suite(.serialized) struct PacketEngineTests {
    private let engine: PacketEngine
    private let scratch = Scratch()
    private let first = PortIndex(1)
    private let second = PortIndex(2)

    init() throws {
        engine = try Engine.shared()
        // A test that failed may have left its ports open.
        engine.close(first)
        engine.close(second)
        unplug()
    }

    private func open(_ port: PortIndex, _ devargs: String, queues: Int = 1, mtu: Int = 1500) throws {
        let type = PortType.dpdk(device: devargs, queues: queues, descriptors: 256, buffers: 0)
        try engine.open(.init(port, name: "p\(port.value)", type: type, mtu: mtu))
    }

    private func refusal(of type: PortType, mtu: Int = 1500) -> String? {
        let pools = Engine.poolCount
        let buffers = Engine.buffersInUse
        do throws(Refusal) {
            try engine.open(.init(first, name: "p1", type: type, mtu: mtu))
            engine.close(first)
            return nil
        } catch {
            #expect(Engine.buffersInUse == buffers && Engine.poolCount <= max(pools, 1), "nothing of the port is left")
            #expect(engine.status(of: first) == PortStatus(linkUp: false))
            return error.reason
        }
    }

    private func dpdk(_ device: String, queues: Int = 1) -> PortType {
        .dpdk(device: device, queues: queues, descriptors: 256, buffers: 0)
    }

    private func plug(_ ports: PortIndex..., vlan: VLANPolicy = .allTagged) {
        let ports = ports.map {
            PortConfiguration(
                index: $0,
                name: "p\($0.value)",
                bridge: "br",
                number: PortNumber($0.value)!,
                vlan: vlan,
                frameLength: 1514
            )
        }
        engine.dataplane.commit(.init(bridges: [.init(name: "br", settings: .init())], ports: ports))
    }

    private func unplug() { engine.dataplane.commit(.init()) }

    // MARK: - Ports

    @Test func opensAndClosesANullDevice() throws {
        try open(first, "net_null1,no-rx=1")
        let status = engine.status(of: first)
        #expect(status.details.contains(.init("device", "net_null1")))
        #expect(status.details.contains(.init("driver", "net_null")))
        #expect(status.linkUp)
        #expect(status.queues == [.init(number: 0, lcore: 1, enabled: true, size: 256)])
        #expect(engine.workers().map(\.queues) == [[.init(port: first, queue: 0)]])
        engine.close(first)
        #expect(engine.status(of: first) == PortStatus(linkUp: false))
        #expect(engine.workers().map(\.queues) == [[]])
        engine.close(first)
    }

    @Test
    func refusesADeviceThatIsInUse() throws {
        try open(second, "net_null1,no-rx=1")
        defer { engine.close(second) }
        #expect(
            refusal(of: dpdk("net_null1,no-rx=1"))
                == "device 'net_null1' is in use already: give the vdev another name or number"
        )
        #expect(engine.status(of: second).linkUp, "the one that has it keeps it")
    }

    @Test func refusesAnUnknownDeviceWithWords() throws {
        let reason = try #require(refusal(of: dpdk("net_nonsense0,a=b")))
        #expect(reason.hasPrefix("DPDK cannot attach 'net_nonsense0,a=b': "), "\(reason)")
        #expect(!reason.contains("Unknown error"), "\(reason)")
    }

    @Test(arguments: ["0000:ff:1f.7", "ff:1f.7"])
    func refusesAPCIAddressThatDoesNotExist(address: String) {
        #expect(
            refusal(of: dpdk(address))
                == "PCI device 0000:ff:1f.7 does not exist: 'lspci -D' lists those of this machine"
        )
    }

    @Test func refusesMoreQueuesThanTheDeviceHas() throws {
        let reason = try #require(refusal(of: dpdk("net_tap_mt9,iface=martlettest9", queues: 17)))
        #expect(reason.hasPrefix("queues=17 is more than the device has: "), "\(reason)")
    }

    @Test func refusesAnMTUThatTheDeviceCannotHave() throws {
        let reason = try #require(refusal(of: dpdk("net_null1,no-rx=1"), mtu: 45))
        #expect(reason.hasPrefix("mtu 45 is outside what the device takes: 46 to "), "\(reason)")
    }

    @Test func refusesARingWithoutHugepages() {
        #expect(
            refusal(of: .ring(name: "r", size: 64))
                == "port type ring shares hugepages with another process: start martletd without --no-huge"
        )
    }

    @Test(arguments: PortType.VhostMode.allCases)
    func refusesAVhostSocketThatIsARegularFile(mode: PortType.VhostMode) throws {
        let path = scratch.file("file")
        try Savefile.write([], to: path)
        #expect(
            refusal(of: .vhostUser(path: path, mode: mode, queues: 1))
                == "'\(path)' exists and is no socket: move it away or choose another path"
        )
        #expect(access(path, F_OK) == 0)
    }

    @Test(arguments: PortType.VhostMode.allCases)
    func refusesAVhostSocketInNoDirectory(mode: PortType.VhostMode) {
        let path = "/nonexistent/martlet/a.sock"
        #expect(
            refusal(of: .vhostUser(path: path, mode: mode, queues: 1))
                == "directory '/nonexistent/martlet' of socket '\(path)' does not exist: make it first"
        )
    }

    @Test func listensOnAVhostSocketUntilThePortIsClosed() throws {
        let path = scratch.file("a.sock")
        try engine.open(.init(first, name: "p1", type: .vhostUser(path: path, mode: .server, queues: 2), mtu: 1500))
        #expect(access(path, F_OK) == 0)
        #expect(!engine.status(of: first).linkUp)
        #expect(engine.status(of: first).queues.map(\.enabled) == [false, false])
        // A second port on the same path is refused and leaves the first alone.
        #expect(throws: Refusal("'\(path)' is in use by another process: use mode=client, or choose another path")) {
            let type = PortType.vhostUser(path: path, mode: .server, queues: 1)
            try engine.open(.init(second, name: "p2", type: type, mtu: 1500))
        }
        #expect(access(path, F_OK) == 0)
        engine.close(first)
        #expect(access(path, F_OK) != 0)
    }

    @Test func connectsToAGuestAsSoonAsItListens() async throws {
        let path = scratch.file("a.sock")
        try engine.open(.init(first, name: "p1", type: .vhostUser(path: path, mode: .client, queues: 1), mtu: 1500))
        defer { engine.close(first) }
        _ = engine.takeGuestNews()
        #expect(!engine.takeGuestNews())
        let guest = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
        defer { close(guest) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let isBound = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(guest, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        try #require(isBound && listen(guest, 1) == 0)
        #expect(engine.takeGuestNews())
        engine.connectGuests()
        // At once, and not when librte_vhost next looks.
        let connection = accept(guest, nil, nil)
        #expect(connection >= 0)
        close(connection)
    }

    @Test func leavesNothingBehindAfterAHundredPorts() throws {
        try open(first, "net_null1,no-rx=1")
        engine.close(first)
        let pools = Engine.poolCount
        let buffers = Engine.buffersInUse
        for _ in 0..<100 {
            try open(first, "net_null1,no-rx=1")
            try open(second, "net_null2,no-rx=1")
            engine.close(first)
            engine.close(second)
        }
        #expect(Engine.poolCount == pools)
        #expect(Engine.buffersInUse == buffers)
    }

    // MARK: - Workers

    @Test func assignsAQueueAndRefusesWhatThereIsNot() throws {
        try open(first, "net_null1,no-rx=1")
        defer { engine.close(first) }
        try engine.assign(first, queue: 0, lcore: 1)
        #expect(engine.status(of: first).queues.map(\.lcore) == [1])
        #expect(throws: Refusal("lcore 7 is no worker: the workers are 1")) {
            try engine.assign(first, queue: 0, lcore: 7)
        }
        #expect(throws: Refusal("lcore 0 is no worker: the workers are 1")) {
            try engine.assign(first, queue: 0, lcore: 0)
        }
        #expect(throws: Refusal("queue 1 does not exist: the port has 1")) {
            try engine.assign(first, queue: 1, lcore: 1)
        }
        #expect(throws: Refusal("queue 0 does not exist: the port has 0")) {
            try engine.assign(second, queue: 0, lcore: 1)
        }
    }

    // MARK: - Traffic

    @Test func switchesFramesFromOneFileToAnother() async throws {
        let frames = (0..<1000).map { frame(to: 2, from: 1, $0, length: 60 + $0 % 1400) }
        try Savefile.write(frames, to: scratch.file("in.pcap"))
        plug(first, second)
        defer { unplug() }
        let before = engine.workers()[0].packets
        try open(second, "net_pcap2,tx_pcap=\(scratch.file("out.pcap"))")
        try open(first, "net_pcap1,rx_pcap=\(scratch.file("in.pcap"))")
        let arrived = await eventually { engine.dataplane.counters(of: second).transmittedPackets == 1000 }
        let counters = [first, second].map { engine.dataplane.counters(of: $0) }
        engine.close(first)
        engine.close(second)
        #expect(arrived, "\(counters)")
        let bytes = UInt64(frames.reduce(0) { $0 + $1.count })
        #expect(counters[0].receivedPackets == 1000)
        #expect(counters[0].receivedBytes == bytes)
        #expect(counters[1].transmittedBytes == bytes)
        #expect(counters.allSatisfy { $0.dropped == 0 })
        #expect(engine.workers()[0].packets - before == 1000)
        #expect(try Savefile.read(scratch.file("out.pcap")) == frames)
        #expect(Engine.buffersInUse == 0)
    }

    @Test func freesWhatItDoesNotForward() async throws {
        let frames = (0..<500).map { frame(to: 2, from: $0 % 2 == 0 ? 1 : 2, $0) }
        try Savefile.write(frames, to: scratch.file("in.pcap"))
        plug(first)
        defer { unplug() }
        try open(first, "net_pcap1,rx_pcap=\(scratch.file("in.pcap"))")
        let arrived = await eventually { engine.dataplane.counters(of: first).dropped == 500 }
        engine.close(first)
        #expect(arrived)
        #expect(Engine.buffersInUse == 0)
    }

    @Test func countsWhatWasMeantForAPortThatIsNotOpen() async throws {
        try Savefile.write((0..<100).map { frame(to: 2, from: 1, $0) }, to: scratch.file("in.pcap"))
        plug(first, second)
        defer { unplug() }
        try open(first, "net_pcap1,rx_pcap=\(scratch.file("in.pcap"))")
        let arrived = await eventually {
            engine.dataplane.counters(of: second).drops[DropReason.transmitDown.rawValue] == 100
        }
        engine.close(first)
        #expect(arrived)
        #expect(Engine.buffersInUse == 0)
    }

    // MARK: - Captures

    @Test func capturesWhatTheFilterTakesAndNothingElse() async throws {
        let frames = (0..<300).map {
            frame(to: 2, from: 1, type: $0 % 3 == 0 ? [0x88, 0xb5] : [8, 0], $0, length: 200)
        }
        try Savefile.write(frames, to: scratch.file("in.pcap"))
        plug(first, second)
        defer { unplug() }
        try open(second, "net_null2,no-rx=1")
        defer { engine.close(second) }
        let request = CaptureRequest(direction: .transmit, filter: "ether proto 0x88b5", snapLength: 64)
        let capture = try engine.capture(second, request: request)
        let silent = try engine.capture(second, direction: .receive)
        try open(first, "net_pcap1,rx_pcap=\(scratch.file("in.pcap"))")
        defer { engine.close(first) }
        #expect(silent == nil, "a port has one capture at a time")
        #expect(await eventually { engine.dataplane.counters(of: second).transmittedPackets == 300 })
        let packets = capture.take(limit: 10) + capture.take(limit: 1000)
        capture.stop()
        let expected = frames.indices.filter { $0 % 3 == 0 }.map { Array(frames[$0].prefix(64)) }
        #expect(packets.map(\.bytes) == expected)
        #expect(packets.allSatisfy { $0.length == 200 && !$0.received && $0.time > 0 })
        #expect(capture.lost == 0)
        #expect(capture.take(limit: 10).isEmpty)
        // The port can be captured again.
        try engine.capture(second, request: .init()).stop()
    }

    @Test func countsWhatACaptureLoses() async throws {
        let frames = (0..<CaptureTap.placeCount + 100).map { frame(to: 2, from: 1, $0) }
        try Savefile.write(frames, to: scratch.file("in.pcap"))
        plug(first, second)
        defer { unplug() }
        try open(second, "net_null2,no-rx=1")
        defer { engine.close(second) }
        let capture = try engine.capture(second, request: .init())
        try open(first, "net_pcap1,rx_pcap=\(scratch.file("in.pcap"))")
        defer { engine.close(first) }
        #expect(await eventually { engine.dataplane.counters(of: second).transmittedPackets == UInt64(frames.count) })
        #expect(capture.lost == 100)
        #expect(capture.take(limit: .max).count == CaptureTap.placeCount)
        capture.stop()
        #expect(capture.lost == 100)
    }

    @Test func refusesCapturesInOneSentence() throws {
        #expect(throws: Refusal("the port is not open: see 'martletctl port show'")) {
            try engine.capture(first, request: .init())
        }
        try open(first, "net_null1,no-rx=1")
        defer { engine.close(first) }
        let error = #expect(throws: Refusal.self) { try engine.capture(first, request: .init(filter: "ether prot 7")) }
        #expect(
            error?.reason.hasPrefix("filter 'ether prot 7' does not compile: ") == true,
            "\(String(describing: error))"
        )
        let capture = try engine.capture(first, request: .init())
        #expect(throws: Refusal("the port is captured already: end that capture first")) {
            try engine.capture(first, request: .init())
        }
        capture.stop()
        capture.stop()
    }

    @Test func endsACaptureWithItsPort() throws {
        try open(first, "net_null1,no-rx=1")
        let capture = try engine.capture(first, request: .init())
        engine.close(first)
        #expect(capture.take(limit: 1).isEmpty)
        capture.stop()
    }
}

extension PacketEngine {
    /// nil when the port is captured already.
    fileprivate func capture(_ port: PortIndex, direction: CaptureRequest.Direction) throws -> (any Capture)? {
        do throws(Refusal) { return try capture(port, request: .init(direction: direction)) } catch {
            #expect(error.reason == "the port is captured already: end that capture first")
            return nil
        }
    }
}
