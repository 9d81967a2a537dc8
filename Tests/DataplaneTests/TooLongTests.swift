import Seeds
import Testing
import Wire

@testable import Dataplane

/// An IP packet of a station to another one, and what the switch says when it is too long.
private struct IPPacket {
    static let (source4, destination4) = (IPv4Address(value: 0x0a00_0001), IPv4Address(value: 0x0a00_0002))
    static let (source6, destination6) = (IPv6Address(value: 0xfd << 120 | 1), IPv6Address(value: 0xfd << 120 | 2))

    let isIPv6: Bool
    let bytes: [UInt8]

    /// - Parameter length: in bytes, of the whole packet.
    static func ipv4(
        _ length: Int,
        protocol number: UInt8 = IPProtocol.udp,
        fragment: UInt16 = IPv4Header.dontFragment,
        source: IPv4Address = source4,
        destination: IPv4Address = destination4,
        payload: [UInt8] = [0x12, 0x34, 0, 9]
    ) -> IPPacket {
        let header = IPv4Header(
            source: source,
            destination: destination,
            protocol: number,
            payloadLength: length - IPv4Header.length,
            fragment: fragment
        )
        let bytes = [UInt8](count: IPv4Header.length) { header.write(to: $0) }
        return IPPacket(isIPv6: false, bytes: filled(bytes + payload, length))
    }

    static func ipv6(
        _ length: Int,
        next: UInt8 = IPProtocol.udp,
        source: IPv6Address = source6,
        destination: IPv6Address = destination6,
        payload: [UInt8] = [0x12, 0x34, 0, 9]
    ) -> IPPacket {
        let header = IPv6Header(
            source: source,
            destination: destination,
            nextHeader: next,
            payloadLength: length - IPv6Header.length
        )
        let bytes = [UInt8](count: IPv6Header.length) { header.write(to: $0) }
        return IPPacket(isIPv6: true, bytes: filled(bytes + payload, length))
    }

    private static func filled(_ bytes: [UInt8], _ length: Int) -> [UInt8] {
        bytes + (bytes.count..<length).map { UInt8(truncatingIfNeeded: $0) }
    }

    func frame(
        _ tags: FrameTag...,
        to destination: UInt64 = 0x02_00_00_00_00_02,
        from source: UInt64 = 0x02_00_00_00_00_01
    ) -> [UInt8] {
        octets(destination) + octets(source)
            + tags.flatMap { octets(UInt64($0.type), count: 2) + octets(UInt64($0.control), count: 2) }
            + (isIPv6 ? [0x86, 0xdd] : [0x08, 0x00]) + bytes
    }
}

/// The MTU that a message tells the sender of a frame; nil when it is no such message, or not all of it is right.
private func told(_ message: [UInt8]?, about frame: [UInt8]) -> Int? {
    guard let message, let offset = ipOffset(frame), message.count > offset else { return nil }
    let turned: [UInt8] = Array(frame[6..<12]) + Array(frame[0..<6]) + Array(frame[12..<offset])
    guard Array(message[..<offset]) == turned else { return nil }
    let (packet, quotable) = (Array(message[offset...]), Array(frame[offset...]))
    return packet.withUnsafeBytes { bytes in
        quotable.withUnsafeBytes { quotable in
            quotable[0] >> 4 == 4 ? told4(bytes, quotable) : told6(bytes, quotable)
        }
    }
}

private func ipOffset(_ frame: [UInt8]) -> Int? {
    let types: [[UInt8]] = [[0x08, 0x00], [0x86, 0xdd]]
    return [14, 18, 22].first { types.contains(Array(frame[$0 - 2..<$0])) }
}

private func told4(_ bytes: UnsafeRawBufferPointer, _ packet: UnsafeRawBufferPointer) -> Int? {
    var fault: HeaderFault?
    guard let header = IPv4Header(bytes, length: bytes.count, fault: &fault),
        let former = IPv4Header(packet, length: packet.count, fault: &fault),
        let message = FragmentationNeeded(UnsafeRawBufferPointer(rebasing: bytes[20...]), fault: &fault),
        header.source == former.destination, header.destination == former.source, message.source == former.source,
        Int(header.totalLength) == bytes.count, bytes.count == min(28 + Int(former.totalLength), 576),
        bytes[28...].elementsEqual(packet.prefix(bytes.count - 28))
    else { return nil }
    return Int(message.mtu)
}

private func told6(_ bytes: UnsafeRawBufferPointer, _ packet: UnsafeRawBufferPointer) -> Int? {
    var fault: HeaderFault?
    guard let header = IPv6Header(bytes, length: bytes.count, fault: &fault),
        let former = IPv6Header(packet, length: packet.count, fault: &fault),
        let message = PacketTooBig(UnsafeRawBufferPointer(rebasing: bytes[40...]), in: header, fault: &fault),
        header.source == former.destination, header.destination == former.source, message.source == former.source,
        Int(header.payloadLength) + 40 == bytes.count, bytes.count == min(48 + 40 + Int(former.payloadLength), 1280),
        bytes[48...].elementsEqual(packet.prefix(bytes.count - 48))
    else { return nil }
    return Int(message.mtu)
}

extension Bench {
    /// One bridge "br", each of whose ports has its own policy and MTU.
    fileprivate convenience init(_ ports: [(VLANPolicy, mtu: Int)], withFlows: Bool) throws {
        let ports = ports.enumerated().map { number, port in
            PortConfiguration(UInt16(number), on: "br", vlan: port.0, frameLength: port.mtu + 14)
        }
        self.init(SwitchConfiguration(bridges: [.init(name: "br", settings: .init())], ports: ports))
        if withFlows { try walkTables() }
    }

    /// A wide port 0, and a port 1 of 1,500 bytes.
    fileprivate convenience init(withFlows: Bool = false) throws {
        try self.init([(.allTagged, 9000), (.allTagged, 1500)], withFlows: withFlows)
    }

    fileprivate func setMTU(_ mtu: Int, of port: Int) {
        var next = configuration
        let former = next.ports[port]
        next.ports[port] = PortConfiguration(
            index: former.index,
            name: former.name,
            bridge: former.bridge,
            number: former.number,
            vlan: former.vlan,
            frameLength: mtu + 14,
            peer: former.peer,
            endpoint: former.endpoint,
            tunnel: former.tunnel
        )
        commit(next)
    }

    /// What port 0 is told about a frame of its, which is dropped on another port.
    fileprivate func told(about frame: [UInt8], droppedOn port: UInt16 = 1) -> Int? {
        let outcome = receive(frame, from: 0, now: Dataplane.now)
        #expect(outcome.reasons == [.init(.transmitTooLong, on: port): 1])
        #expect(Set(outcome.sent.keys).isSubset(of: [0]) && (outcome.sent[0] ?? []).count <= 1)
        return DataplaneTests.told(outcome.sent[0]?.first, about: frame)
    }
}

@Suite struct TooLongTests {
    // MARK: - What is told

    @Test(arguments: [false, true])
    func tellsWhatFits(withFlows: Bool) throws {
        let bench = try Bench(withFlows: withFlows)
        for packet in [IPPacket.ipv4(1501), .ipv4(1501, fragment: 0), .ipv4(1501, fragment: 0x2000), .ipv6(1501)] {
            // Walked, then from the cache.
            for _ in 0..<2 { #expect(bench.told(about: packet.frame()) == 1500) }
        }
        for packet in [IPPacket.ipv4(1500), .ipv6(1500)] {
            #expect(bench.receive(packet.frame(), from: 0, now: Dataplane.now).sent == [1: [packet.frame()]])
        }
        let counters = bench.dataplane.counters(of: PortIndex(0))
        #expect(counters.transmittedPackets == 8)
        #expect(bench.dataplane.fdb(of: "br").map(\.port.value) == [0], "nobody learns from messages")
        bench.maintain()
        #expect(
            bench.dataplane.flows(of: "br").map(\.statistics.packetCount).max() == 10,
            "nor are they packets of flows"
        )
    }

    @Test(arguments: [false, true])
    func keepsTheTagsThatAFrameCameWith(withFlows: Bool) throws {
        let rows: [(ingress: VLANPolicy, egress: VLANPolicy, tags: [FrameTag], mtu: Int)] = [
            (.access(10), .access(10), [], 1500), (.access(10), .trunk(10), [], 1500),
            (.trunk(10), .access(10), [.customer(10, priority: 3)], 1500),
            (.trunk(10), .trunk(10), [.customer(10, priority: 3)], 1500),
            (.access(10), .trunk(10), [.customer(0, priority: 5)], 1500),
            (.tunnel(100), .trunk(100), [.customer(10)], 1496), (.tunnel(100), .trunk(100), [], 1500),
            // What is left of two tags is one more on the way without tables, and not counted by flows.
            (.trunk(100), .tunnel(100), [.service(100), .customer(10)], withFlows ? 1500 : 1496),
        ]
        for row in rows {
            let bench = try Bench([(row.ingress, 9000), (row.egress, 1500)], withFlows: withFlows)
            for make in [{ IPPacket.ipv4($0) }, { IPPacket.ipv6($0) }] {
                func frame(_ length: Int) -> [UInt8] {
                    var frame = make(length).frame()
                    let tags = row.tags.flatMap {
                        octets(UInt64($0.type), count: 2) + octets(UInt64($0.control), count: 2)
                    }
                    frame.insert(contentsOf: tags, at: 12)
                    return frame
                }
                for _ in 0..<2 { #expect(bench.told(about: frame(row.mtu + 1)) == row.mtu, "\(row)") }
                #expect(bench.receive(frame(row.mtu), from: 0).sent[1]?.count == 1, "\(row)")
            }
        }
    }

    /// The switch is no reason to send less than every link carries.
    @Test func tellsNoLessThanEveryLinkCarries() throws {
        let bench = try Bench([(.allTagged, 9000), (.allTagged, 1000)], withFlows: false)
        #expect(bench.told(about: IPPacket.ipv6(1281).frame()) == 1280)
        #expect(bench.told(about: IPPacket.ipv6(1280).frame()) == nil)
        #expect(bench.told(about: IPPacket.ipv4(1280).frame()) == 1000)
        #expect(bench.told(about: IPPacket.ipv4(1000).frame() + [UInt8](repeating: 0, count: 9)) == nil, "padding")
    }

    @Test(arguments: [false, true])
    func aFloodReachesThePortsThatTakeIt(withFlows: Bool) throws {
        let ports = [9000, 9000, 1400, 9000, 1300, 9000].map { (VLANPolicy.allTagged, mtu: $0) }
        let bench = try Bench(ports, withFlows: withFlows)
        let frame = IPPacket.ipv4(1401).frame()
        for _ in 0..<2 {
            let outcome = bench.receive(frame, from: 0)
            // Its destination may be behind one of those.
            #expect(outcome.sent.mapValues(\.count) == [1: 1, 3: 1, 5: 1])
            #expect(outcome.reasons == [.init(.transmitTooLong, on: 2): 1, .init(.transmitTooLong, on: 4): 1])
        }
    }

    @Test(arguments: [false, true])
    func ofAFloodThatReachesNobodyTheSenderLearnsWhatWouldReachSomebody(withFlows: Bool) throws {
        let ports = [9000, 1300, 1400].map { (VLANPolicy.allTagged, mtu: $0) }
        let bench = try Bench(ports, withFlows: withFlows)
        let frame = IPPacket.ipv4(1401).frame()
        for _ in 0..<2 {
            let outcome = bench.receive(frame, from: 0)
            #expect(told(outcome.sent[0]?.first, about: frame) == 1400)
            #expect(outcome.sent.mapValues(\.count) == [0: 1])
            #expect(outcome.reasons == [.init(.transmitTooLong, on: 1): 1, .init(.transmitTooLong, on: 2): 1])
        }
    }

    @Test func otherPacketsOfTheBurstGoTheirWay() throws {
        let bench = try Bench()
        bench.receive(IPPacket.ipv4(100).frame(to: 9, from: 0x02_00_00_00_00_02), from: 1)
        let (short, long) = (IPPacket.ipv4(1500).frame(), IPPacket.ipv4(1501).frame())
        for frames in [[short, long, short, long, short], [long, short], [short, long]] {
            let outcome = bench.receive(frames.map { Frame($0) }, from: 0)
            #expect(outcome.sent[1] == frames.filter { $0 == short })
            #expect(outcome.sent[0]?.count == frames.filter { $0 == long }.count)
        }
    }

    @Test func quotesWhatLiesInOnePieceOfACopy() throws {
        let bench = try Bench()
        let frame = IPPacket.ipv4(1501).frame()
        let outcome = bench.receive([Frame(frame, segments: [60, 100])], from: 0)
        #expect(told(outcome.sent[0]?.first, about: frame) == 1500)
    }

    // MARK: - Rejections

    private static let routers = ["10.0.0.254", "fd00::fe"]

    /// Without the packet behind it, which `answers` holds against what was sent.
    private static func message(isIPv6: Bool, _ type: UInt8, _ code: UInt8) -> [UInt8] {
        let (source, destination) =
            isIPv6
            ? (octets(0xfd << 56, count: 8) + octets(0xfe, count: 8), IPPacket.ipv6(100).bytes[8..<24])
            : ([10, 0, 0, 254], IPPacket.ipv4(100).bytes[12..<16])
        return source + destination + [type, code]
    }

    @Test(arguments: [(false, 11, 0), (false, 3, 13), (true, 3, 0), (true, 1, 5)] as [(Bool, UInt8, UInt8)])
    func aRouterRejectsInItsOwnName(isIPv6: Bool, type: UInt8, code: UInt8) throws {
        let bench = try Bench()
        let router = Self.routers[isIPv6 ? 1 : 0]
        let reject = "reject(type=\(type),code=\(code),source=\(router))"
        try bench.replaceFlows(["in_port=1,\(isIPv6 ? "ipv6" : "ip"),actions=\(reject)", "priority=1,actions=drop"])
        let frame = (isIPv6 ? IPPacket.ipv6(100) : .ipv4(100)).frame(.customer(7))
        for _ in 0..<3 {
            let outcome = bench.receive(frame, from: 0, now: Dataplane.now)
            #expect(outcome.reasons == [.init(.rejected, on: 0): 1])
            let message = try #require(outcome.sent[0]?.first)
            #expect(outcome.sent.mapValues(\.count) == [0: 1])
            #expect(Array(message[..<18]) == Array(frame[6..<12]) + Array(frame[..<6]) + Array(frame[12..<18]))
            let start = 18 + (isIPv6 ? 8 : 12)
            let header = Self.message(isIPv6: isIPv6, type, code)
            #expect(Array(message[start..<start + header.count]) == header)
            #expect(Array(message[(18 + (isIPv6 ? 48 : 28))...]) == Array(frame[18...]))
        }
    }

    /// The kind of the router's address is the packet's, and what must not be answered is not: it is dropped alone.
    @Test func notEverythingThatIsRejectedIsAnswered() throws {
        let bench = try Bench()
        let rejects = Self.routers.map { "reject(type=3,code=\($0.contains(":") ? 1 : 0),source=\($0))" }
        try bench.replaceFlows(["ip,actions=\(rejects[0])", "ipv6,actions=\(rejects[1])", "priority=1,actions=drop"])
        let group = IPPacket.ipv4(100).frame(to: 0x01_00_5e_00_00_01)
        let error = IPPacket.ipv4(100, protocol: IPProtocol.icmp, payload: [3, 0, 0, 0]).frame()
        let error6 = IPPacket.ipv6(100, next: IPProtocol.icmpv6, payload: [1, 0, 0, 0]).frame()
        let later = IPPacket.ipv4(100, fragment: 5).frame()
        for frame in [group, error, error6, later] {
            let outcome = bench.receive(frame, from: 0, now: Dataplane.now)
            #expect(outcome.sent.isEmpty && outcome.reasons == [.init(.rejected, on: 0): 1])
        }
    }

    /// As many a second as of any other error, however many come.
    @Test func rejectionsAreBounded() throws {
        let bench = try Bench()
        try bench.replaceFlows(["udp,actions=reject(type=11,code=0,source=10.0.0.254)"])
        let frames = [Frame](repeating: Frame(IPPacket.ipv4(100).frame()), count: 32)
        let outcomes = (0..<10).map { _ in bench.receive(frames, from: 0, now: Dataplane.now) }
        #expect(outcomes.allSatisfy { $0.reasons == [.init(.rejected, on: 0): 32] })
        let told = outcomes.reduce(0) { $0 + ($1.sent[0]?.count ?? 0) }
        #expect(told >= Int(ErrorBudget.burst) && told < 160, "\(told)")
    }

    /// What flows have made of it before does not matter to who sent it.
    @Test func aRejectionQuotesThePacketAsItCame() throws {
        let bench = try Bench()
        let edits = "mod_nw_dst:10.9.9.9,dec_ttl,output:2,mod_nw_src:10.8.8.8"
        try bench.replaceFlows(["in_port=1,udp,actions=\(edits),reject(type=3,code=1,source=10.0.0.254)"])
        let frame = IPPacket.ipv4(100).frame()
        let outcome = bench.receive(frame, from: 0, now: Dataplane.now)
        #expect(outcome.sent[1]?.count == 1 && outcome.reasons.isEmpty)
        #expect(outcome.sent[0]?.first?.dropFirst(42).elementsEqual(frame.dropFirst(14)) == true)
    }

    // MARK: - Flows

    @Test func quotesThePacketAsItsSenderSentIt() throws {
        let bench = try Bench()
        let edits = ["mod_nw_dst:10.9.9.9", "mod_dl_src:02:00:00:00:00:07", "dec_ttl", "mod_tp_dst:77"]
        try bench.replaceFlows(["in_port=1,udp,actions=\(edits.joined(separator: ",")),output:2"])
        for _ in 0..<3 { #expect(bench.told(about: IPPacket.ipv4(1501).frame()) == 1500) }
        #expect(bench.receive(IPPacket.ipv4(1500).frame(), from: 0).sent[1]?.count == 1)
    }

    @Test(
        arguments: [
            ("push_vlan:0x8100,mod_vlan_vid:5,output:2", [], 1500),
            ("push_vlan:0x8100,mod_vlan_vid:5,push_vlan:0x88a8,mod_vlan_vid:6,output:2", [], 1496),
            ("strip_vlan,output:2", [5], 1500), ("mod_vlan_vid:6,output:2", [5], 1500),
            ("push_vlan:0x88a8,output:2", [5], 1496), ("strip_vlan,strip_vlan,output:2", [5, 6], 1500),
            ("strip_vlan,output:2", [5, 6], 1500), ("output(port=2,max_len=1514)", [], nil),
            ("output(port=2,max_len=1600)", [], 1500),
            ("push_vlan:0x8100,mod_vlan_vid:5,output:2,strip_vlan,output:2", [], 1500),
        ] as [(String, [UInt16], Int?)]
    )
    func countsWhatFlowsPutInFront(actions: String, tags: [UInt16], mtu: Int?) throws {
        let bench = try Bench()
        try bench.replaceFlows(["in_port=1,actions=\(actions)"])
        func frame(_ length: Int) -> [UInt8] {
            var frame = IPPacket.ipv4(length).frame()
            frame.insert(contentsOf: tags.flatMap { [0x81, 0, 0, UInt8($0)] }, at: 12)
            return frame
        }
        for _ in 0..<3 {
            let long = bench.receive(frame((mtu ?? 1500) + 1), from: 0)
            #expect(told(long.sent[0]?.first, about: frame((mtu ?? 1500) + 1)) == mtu)
            #expect(bench.receive(frame(mtu ?? 1500), from: 0).sent[0] == nil)
        }
    }

    @Test func tellsAcrossAPatch() throws {
        let bench = Bench.patched()
        bench.setMTU(9000, of: 0)
        bench.setMTU(1400, of: 3)
        try bench.replaceFlows(["in_port=1,actions=output:3"])
        for _ in 0..<2 { #expect(bench.told(about: IPPacket.ipv4(1401).frame(), droppedOn: 3) == 1400) }
    }

    @Test func aChangedMTUCountsForKnownConnections() throws {
        let bench = Bench.patched()
        try bench.replaceFlows(["in_port=1,ip,actions=dec_ttl,output:3"])
        let frame = IPPacket.ipv4(1500).frame()
        for mtu in [9000, 1400, 1450, 9000] {
            bench.setMTU(mtu, of: 3)
            for _ in 0..<2 {
                let outcome = bench.receive(frame, from: 0)
                #expect(told(outcome.sent[0]?.first, about: frame) == (mtu < 1500 ? mtu : nil))
                #expect(outcome.sent[3]?.count == (mtu < 1500 ? nil : 1))
            }
        }
    }

    // MARK: - What is not told

    @Test(arguments: [false, true])
    func staysSilentWhereICMPMust(withFlows: Bool) throws {
        let bench = try Bench(withFlows: withFlows)
        let icmp = [3, 4, 5, 11, 12].map { IPPacket.ipv4(1600, protocol: IPProtocol.icmp, payload: [$0]) }
        let icmpv6 = [UInt8(1), 2, 127, 137].map { IPPacket.ipv6(1600, next: IPProtocol.icmpv6, payload: [$0]) }
        // A destination options header, then an ICMPv6 error; a fragment that is not the first.
        let behindOptions = IPPacket.ipv6(1600, next: 60, payload: [58, 0, 1, 4, 0, 0, 0, 0, 1])
        let laterFragment6 = IPPacket.ipv6(1600, next: 44, payload: [17, 0, 0, 8, 0, 0, 0, 1])
        let silent =
            icmp + icmpv6 + [
                behindOptions, laterFragment6, .ipv4(1600, fragment: 100), .ipv4(1600, source: .unspecified),
                .ipv4(1600, destination: IPv4Address(value: 0xe000_0005)),
                .ipv4(1600, destination: IPv4Address(value: .max)),
                .ipv6(1600, source: .unspecified), .ipv6(1600, destination: .allNodes),
            ]
        for packet in silent { #expect(bench.told(about: packet.frame()) == nil, "\(packet.bytes.prefix(48))") }
        #expect(bench.told(about: IPPacket.ipv4(1600).frame(to: 0xffff_ffff_ffff)) == nil)
        var wrong = IPPacket.ipv4(1600).frame()
        wrong[24] ^= 1
        #expect(bench.told(about: wrong) == nil, "a wrong checksum")
        var arp = IPPacket.ipv4(1600).frame()
        arp[13] = 6
        #expect(bench.told(about: arp) == nil)
        #expect(bench.told(about: IPPacket.ipv4(1600, protocol: IPProtocol.icmp, payload: [8]).frame()) == 1500)
        #expect(bench.told(about: IPPacket.ipv6(1600, next: IPProtocol.icmpv6, payload: [128]).frame()) == 1500)
        #expect(bench.told(about: IPPacket.ipv6(1600, next: 60, payload: [17, 0, 1, 4]).frame()) == 1500)
    }

    @Test func staysSilentToGroupsOfStations() throws {
        let bench = try Bench()
        try bench.replaceFlows(["in_port=1,actions=output:2"])
        #expect(bench.told(about: IPPacket.ipv4(1600).frame(from: 0x0300_0000_0001)) == nil)
        #expect(bench.told(about: IPPacket.ipv4(1600).frame(to: 0x0300_0000_0001)) == nil)
    }

    @Test func countsAMessageWithoutABuffer() throws {
        let bench = try Bench()
        bench.copiesLeft = 0
        let outcome = bench.receive(IPPacket.ipv4(1501).frame(), from: 0)
        #expect(outcome.sent == [:])
        #expect(outcome.reasons == [.init(.transmitTooLong, on: 1): 1, .init(.noBuffer, on: 0): 1])
    }

    @Test func tellsOnlySoOften() throws {
        let bench = try Bench()
        let outcome = bench.receive(Array(repeating: Frame(IPPacket.ipv4(1501).frame()), count: 32), from: 0)
        #expect((10..<32).contains(outcome.sent[0]?.count ?? 0))
        #expect(outcome.reasons == [.init(.transmitTooLong, on: 1): 32])
    }

    @Test func aPortHasABudgetOfMessages() {
        let budget = ErrorBudget()
        defer { budget.free() }
        func admitted(_ port: UInt16, at milliseconds: UInt64) -> Int {
            (0..<32).filter { _ in budget.admits(port, now: milliseconds * 1_000_000) }.count
        }
        #expect(admitted(0, at: 1000) == 10)
        #expect(admitted(0, at: 1009) == 0)
        #expect(admitted(0, at: 1010) == 1)
        #expect(admitted(1, at: 1010) == 10, "each port has its own")
        #expect(admitted(0, at: 1060) == 5)
        #expect(admitted(0, at: 9000) == 10)
    }

    /// Whatever is wrong with a packet that is too long, and wherever its segments end (`Bench` looks).
    @Test(arguments: seeds)
    func survivesAnyLongPacket(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let ports: [(VLANPolicy, mtu: Int)] = [
            (.allTagged, 9000), (.trunk(), 68), (.tunnel(0), 1280), (.allTagged, 1400),
        ]
        var toldCount = 0
        for withFlows in [false, true] {
            let bench = try Bench(ports, withFlows: withFlows)
            for _ in 0..<300 {
                let length = Int.random(in: 60...1600, using: &random)
                let packet = Bool.random(using: &random) ? IPPacket.ipv4(length) : .ipv6(length, next: 60)
                var frame = packet.frame()
                if Bool.random(using: &random) { frame.insert(contentsOf: [0x81, 0, 0, 0], at: 12) }
                for _ in 0..<Int.random(in: 0...2, using: &random) {
                    frame[Int.random(in: 12..<74, using: &random)] = .random(in: 0...255, using: &random)
                }
                let cut = Array(frame.prefix(Int.random(in: 14...2 * frame.count, using: &random)))
                let segments = Bool.random(using: &random) ? [] : [Int.random(in: 14...90, using: &random)]
                let headroom = Int.random(in: 0...128, using: &random)
                bench.copiesLeft = Int.random(in: 0...9, using: &random)
                let sent = bench.receive([Frame(cut, segments: segments, headroom: headroom)], from: 0).sent
                toldCount += sent[0]?.count ?? 0
            }
        }
        #expect(toldCount > 5, "something is told; seed \(seed)")
    }

    /// A queue that is full of other packets takes no message.
    @Test func aFullQueueTakesNoMessage() throws {
        let bench = try Bench()
        let back = Array(repeating: "in_port", count: 32).joined(separator: ",")
        try bench.replaceFlows(["in_port=1,tcp,actions=\(back)", "in_port=1,udp,actions=output:2"])
        let full = IPPacket.ipv4(60, protocol: IPProtocol.tcp, payload: octets(0x1234_0050, count: 4)).frame()
        let outcome = bench.receive([Frame(full), Frame(IPPacket.ipv4(1501).frame())], from: 0)
        #expect(outcome.sent == [0: Array(repeating: full, count: 32)])
        #expect(outcome.reasons == [.init(.transmitTooLong, on: 1): 1])
    }
}
