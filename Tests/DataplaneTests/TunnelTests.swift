import Flows
import Glibc
import Seeds
import Synchronization
import Testing
import Wire

@testable import Dataplane

/// A wire (0) and an endpoint (1) on br-phys; a guest (2) and tunnels (3, 4 ...) on br-tun.
private struct Host {
    static let (local, remote) = (IPAddress("192.0.2.1")!, IPAddress("192.0.2.2")!)
    static let mac = MACAddress("02:00:00:00:0e:01")!
    static let station = MACAddress("02:00:00:00:0e:02")!
    static let wire: UInt16 = 0
    static let guest: UInt16 = 2

    let bench: Bench

    /// - Parameter tunnels: type and options of each.
    init(
        _ tunnels: [(String, [String: String])],
        gateways: [IPAddress] = [],
        frameLength: Int = 1514,
        guestLength: Int = 9014,
        fragments: EndpointOptions.Fragments = .drop
    ) throws {
        let prefix = IPPrefix("\(Self.local)/24")!
        let endpoint = EndpointOptions(prefix: prefix, gateways: gateways, mac: Self.mac, fragments: fragments)
        var ports = [
            PortConfiguration(0, on: "br-phys", frameLength: frameLength),
            PortConfiguration(1, on: "br-phys", frameLength: frameLength, endpoint: endpoint),
            PortConfiguration(2, on: "br-tun", frameLength: guestLength),
        ]
        for (number, tunnel) in tunnels.enumerated() {
            let options = ["remote_ip": "\(Self.remote)"].merging(tunnel.1) { $1 }
            let type = try PortType(name: tunnel.0, options: options, portName: "t\(number)")
            ports.append(PortConfiguration(UInt16(3 + number), on: "br-tun", frameLength: 9014, tunnel: type.tunnel))
        }
        let bridges = ["br-phys", "br-tun"].map { BridgeConfiguration(name: $0, settings: .init()) }
        bench = Bench(SwitchConfiguration(bridges: bridges, ports: ports))
    }

    /// Has a packet name the neighbor, who answers.
    func resolve(_ mac: MACAddress = Host.station) {
        bench.receive(frame(to: 0xffff_ffff_ffff), from: Self.guest)
        bench.dataplane.setNeighbor(Self.remote, mac, of: PortIndex(1))
        _ = bench.retry()
    }

    /// What leaves on the wire for a frame of the guest.
    func encapsulated(_ frame: [UInt8]) throws -> [UInt8] {
        let sent = bench.receive(frame, from: Self.guest).sent[Self.wire]
        return try #require(sent?.first)
    }
}

/// The same packet as if the remote had sent it.
private func turned(_ packet: [UInt8]) -> [UInt8] {
    var turned = packet
    turned.replaceSubrange(0..<6, with: packet[6..<12])
    turned.replaceSubrange(6..<12, with: packet[0..<6])
    turned.replaceSubrange(26..<30, with: packet[30..<34])
    turned.replaceSubrange(30..<34, with: packet[26..<30])
    return turned
}

/// A packet with another sender, and the checksum of its IPv4 header.
private func forged(_ packet: [UInt8], from sender: UInt32) -> [UInt8] {
    var forged = packet
    forged.replaceSubrange(24..<30, with: [0, 0] + octets(UInt64(sender), count: 4))
    var sum = InternetChecksum()
    forged[14..<34].withUnsafeBytes { sum.add($0) }
    forged.replaceSubrange(24..<26, with: octets(UInt64(sum.value), count: 2))
    return forged
}

/// A frame to all stations whose IP header has a traffic class.
private func marked(_ trafficClass: UInt8, isIPv6: Bool, _ tags: [FrameTag]) -> [UInt8] {
    let bytes =
        isIPv6
        ? [UInt8](count: IPv6Header.length + 20) {
            IPv6Header(
                source: IPv6Address(value: 1 << 100),
                destination: IPv6Address(value: 1 << 100 | 1),
                nextHeader: IPProtocol.udp,
                payloadLength: 20,
                trafficClass: trafficClass,
                flowLabel: 0xf_edcb
            )
            .write(to: $0)
        } : ipv4(60, tos: trafficClass)
    let type: [UInt8] = isIPv6 ? [0x86, 0xdd] : [0x08, 0x00]
    return octets(0xffff_ffff_ffff) + octets(0x0200_0000_0001)
        + tags.flatMap { octets(UInt64($0.type), count: 2) + octets(UInt64($0.control), count: 2) } + type + bytes
}

/// - Parameter length: of the whole packet, in bytes.
private func ipv4(_ length: Int, tos: UInt8 = 0) -> [UInt8] {
    [UInt8](count: length) {
        IPv4Header(
            source: IPv4Address(value: 0x0a00_0001),
            destination: IPv4Address(value: 0x0a00_0002),
            protocol: IPProtocol.udp,
            payloadLength: length - IPv4Header.length,
            tos: tos
        )
        .write(to: $0)
    }
}

/// A frame to a station nobody knows.
private func datagram(_ length: Int) -> [UInt8] { frame(payload: ipv4(length)) }

private func toldMTU(_ message: [UInt8]?) -> Int? {
    var fault: HeaderFault?
    return (message ?? []).dropFirst(34).withUnsafeBytes { FragmentationNeeded($0, fault: &fault).map { Int($0.mtu) } }
}

extension Bench {
    /// Whether a packet to port 0 is plain. If so, it is read as if it were not.
    fileprivate func readsAlike(_ bytes: [UInt8]) -> Bool {
        let ledger = Ledger()
        let packet = ledger.make(Frame(bytes))
        defer { _ = ledger.retire(packet) }
        guard let plain = PlainTunnelPacket(packet) else { return false }
        let state = dataplane.lanes[0].state.pointee.current.load(ordering: .acquiring).pointee
        let reader = TunnelReader(underlay: state.underlay, ingress: state.ports)
        var (source, other) = (TunnelSources.Source(), TunnelSources.Source())
        let (outcome, expected) = (reader.read(packet, plain, &source), reader.read(packet, nil, &other))
        #expect("\(outcome)" == "\(expected)")
        if case .frame = outcome { #expect(source == other) }
        return true
    }
}

@Suite struct TunnelTests {
    @Test(arguments: [
        ("vxlan", ["key": "100"], 50), ("vxlan", ["key": "100", "csum": "true", "df": "false"], 50),
        ("geneve", ["key": "7"], 50), ("gre", [:], 38), ("gre", ["key": "5"], 42),
        ("gre", ["key": "5", "csum": "true"], 46),
    ])
    func framesGoThereAndBack(type: String, options: [String: String], overhead: Int) throws {
        let host = try Host([(type, options)])
        host.resolve()
        for length in [46, 47, 400, 1400 - 14] {
            let inner = frame(to: 0xffff_ffff_ffff, payload: (0..<length).map { UInt8(truncatingIfNeeded: $0) })
            // Walked, then from the cache.
            for _ in 0..<2 {
                let packet = try host.encapsulated(inner)
                #expect(packet.count == inner.count + overhead)
                #expect(Array(packet.suffix(inner.count)) == inner)
                #expect(Array(packet[0..<12]) == octets(Host.station.value) + octets(Host.mac.value))
                let back = host.bench.receive(turned(packet), from: Host.wire)
                #expect(back.sent == [Host.guest: [inner]])
                // In pieces, and with padding behind.
                let pieces = Frame(turned(packet) + [1, 2, 3], segments: [overhead + 60])
                #expect(host.bench.receive([pieces], from: Host.wire).sent == [Host.guest: [inner]])
            }
        }
    }

    @Test func aNeighborIsAskedForAndFollowed() throws {
        let host = try Host([("vxlan", ["key": "1"])])
        let (port, inner) = (PortIndex(1), frame(to: 0xffff_ffff_ffff))
        #expect(host.bench.receive(inner, from: Host.guest).reasons == [:])
        #expect(host.bench.dataplane.neighbors(of: port).map(\.address) == [Host.remote])
        #expect(host.bench.dataplane.namedNeighbors(of: port) == 1)
        // That it is unknown is remembered, and few packets wait.
        for _ in 0..<7 { #expect(host.bench.receive(inner, from: Host.guest).reasons == [:]) }
        #expect(host.bench.receive(inner, from: Host.guest).reasons == [.init(.neighborUnknown, on: 3): 1])
        #expect(host.bench.dataplane.cacheStatistics.exactHits >= 1)
        #expect(host.bench.retry().sent == [:])
        host.bench.dataplane.setNeighbor(Host.remote, Host.station, of: port)
        #expect(
            host.bench.retry().sent[Host.wire]?.map { Array($0.suffix(inner.count)) }
                == Array(repeating: inner, count: 8)
        )
        #expect(host.bench.dataplane.counters(of: PortIndex(Host.guest)).receivedPackets == 9)
        host.bench.maintain()
        #expect(host.bench.dataplane.flows(of: "br-tun").map(\.statistics.packetCount) == [9], "each is counted once")
        for mac in [Host.station, MACAddress(value: 0x0200_0000_0e03)] {
            host.bench.dataplane.setNeighbor(Host.remote, mac, of: port)
            for _ in 0..<2 { #expect(try Array(host.encapsulated(inner)[0..<6]) == octets(mac.value)) }
        }
        host.bench.dataplane.removeNeighbor(Host.remote, of: port)
        #expect(host.bench.receive(inner, from: Host.guest).sent == [:])
        usleep(1_100_000)
        #expect(host.bench.retry().reasons == [.init(.neighborUnknown, on: 3): 1])
    }

    @Test func aNeighborIsNamedBeforeAnybodySendsThere() throws {
        let host = try Host([("vxlan", ["key": "1"])])
        let port = PortIndex(1)
        host.bench.dataplane.nameNeighbor(Host.remote, of: port)
        host.bench.dataplane.nameNeighbor(Host.remote, of: port)
        #expect(host.bench.dataplane.neighbors(of: port) == [.init(address: Host.remote, mac: nil, idle: nil)])
        host.bench.dataplane.setNeighbor(Host.remote, Host.station, of: port)
        _ = try host.encapsulated(frame(to: 0xffff_ffff_ffff))
        #expect(host.bench.dataplane.neighbors(of: port).map { $0.idle != nil } == [true])
    }

    @Test func connectionsAreSharedAmongTheGatewaysThatAnswer() throws {
        let gateways = (0..<3).map { IPAddress("192.0.2.25\($0)")! }
        let host = try Host([("vxlan", ["key": "1", "remote_ip": "198.51.100.2"])], gateways: gateways)
        let (port, stations) = (PortIndex(1), (0..<3).map { MACAddress(value: 0x0200_0000_0e10 + $0) })
        func know(_ number: Int, _ isKnown: Bool = true) {
            host.bench.dataplane.setNeighbor(gateways[number], isKnown ? stations[number] : nil, of: port)
        }
        /// Of each connection.
        func ways() -> [Int?] {
            (0..<UInt64(64)).map { number in
                let sent = host.bench.receive(frame(to: 0x0200_0000_2000 + number), from: Host.guest).sent[Host.wire]
                return sent?.first.flatMap { way in
                    stations.firstIndex { octets($0.value) == Array(way[0..<6]) }
                }
            }
        }
        #expect(Set(ways()) == [nil])
        #expect(Set(host.bench.dataplane.neighbors(of: port).map(\.address)) == Set(gateways), "all are asked for")
        usleep(1_100_000)
        _ = host.bench.retry()
        for number in 0..<3 { know(number) }
        let shared = ways()
        #expect(Set(shared) == [0, 1, 2])
        know(1, false)
        let others = ways()
        #expect(Set(others) == [0, 2])
        #expect(zip(shared, others).allSatisfy { $0 == 1 || $0 == $1 }, "only its own connections go elsewhere")
        #expect(others == ways())
        know(1)
        #expect(ways() == shared, "they come back")
        for number in 0..<3 { know(number, false) }
        #expect(Set(ways()) == [nil])
    }

    @Test func eachNetworkHasItsOwnConnections() throws {
        let host = try Host([("vxlan", ["key": "flow"])])
        try host.bench.replaceFlows(
            [
                "in_port=3,actions=set_tunnel:100,output:4", "in_port=4,tun_id=100,tun_src=192.0.2.2,actions=output:3",
                "in_port=4,tun_id=101,actions=mod_vlan_vid:9,output:3",
            ],
            of: "br-tun"
        )
        host.resolve()
        let inner = frame(to: 0xffff_ffff_ffff)
        let packet = turned(try host.encapsulated(inner))
        for _ in 0..<3 {
            var other = packet
            other[48] = 101
            var nobodys = packet
            nobodys[48] = 102
            let outcome = host.bench.receive([packet, other, nobodys, packet].map { Frame($0) }, from: Host.wire)
            let tagged = frame(.customer(9), to: 0xffff_ffff_ffff)
            #expect(outcome.sent == [Host.guest: [inner, tagged, inner]])
            #expect(outcome.reasons == [.init(.flowDrop, on: 3): 1])
        }
        #expect(host.bench.dataplane.cacheStatistics.exactHits >= 6)
    }

    /// More than a cached program holds.
    @Test func aFloodReachesEveryTunnel() throws {
        let host = try Host((0..<300).map { ("vxlan", ["key": "\($0)"]) })
        host.resolve()
        for _ in 0..<2 {
            let sent = host.bench.receive(frame(to: 0xffff_ffff_ffff), from: Host.guest).sent[Host.wire] ?? []
            #expect(Set(sent.map { $0[46...48].reduce(0) { $0 << 8 | Int($1) } }) == Set(0..<300))
            #expect(sent.count == 300)
        }
    }

    /// A hostile underlay invents senders without end.
    @Test func sendersAreBounded() throws {
        let host = try Host([("vxlan", ["key": "100", "remote_ip": "flow"])])
        let flows = ["in_port=3,actions=set_field:192.0.2.2->tun_dst,output:4", "in_port=4,actions=3"]
        try host.bench.replaceFlows(flows, of: "br-tun")
        host.resolve()
        let inner = frame(to: 0xffff_ffff_ffff)
        let packet = turned(try host.encapsulated(inner))
        var (arrived, refused) = (0, 0)
        for number in 0..<UInt32(2 * TunnelSources.capacity) {
            let outcome = host.bench.receive(forged(packet, from: 0x0a00_0000 + number), from: Host.wire)
            arrived += outcome.sent[Host.guest]?.count ?? 0
            refused += Int(outcome.reasons[.init(.tunnelSources, on: 0)] ?? 0)
        }
        #expect(arrived + refused == 2 * TunnelSources.capacity)
        // The cache of 4,096 entries forgets them as fast as they come; that a set's eight places are all taken by some of
        // those has a chance of 1 in 100,000 for each that comes.
        #expect(refused < 20)
        #expect(host.bench.receive(packet, from: Host.wire).sent == [Host.guest: [inner]])
    }

    @Test func nothingComesFromTheSwitchItself() throws {
        let host = try Host([("vxlan", ["key": "1"])])
        host.resolve()
        let packet = try host.encapsulated(frame(to: 0xffff_ffff_ffff))
        let own = forged(turned(packet), from: 0xc000_0201)
        #expect(host.bench.receive(own, from: Host.wire).reasons == [.init(.tunnelLoop, on: 0): 1])
    }

    /// The bench has nobody to put fragments together.
    @Test(arguments: EndpointOptions.Fragments.allCases)
    func fragmentsAreReadBeforeTheyAreKept(fragments: EndpointOptions.Fragments) throws {
        let host = try Host([("vxlan", ["key": "1"])], fragments: fragments)
        host.resolve()
        let packet = turned(try host.encapsulated(frame(to: 0xffff_ffff_ffff)))
        let joins = fragments == .reassemble
        // Protocol of the IP packet, its fragment field, how much is cut off, and why it is dropped; nil for the endpoint's own.
        let cases: [(UInt8, UInt16, Int, DropReason?)] = [
            (IPProtocol.udp, 0x2000, 0, .tunnelFragment), (IPProtocol.udp, 0x0001, 1, .tunnelFragment),
            (IPProtocol.udp, 0x2000, 1, joins ? .tunnelFragmentInvalid : .tunnelFragment),
            (IPProtocol.udp, 0x1fff, 0, joins ? .tunnelFragmentInvalid : .tunnelFragment),
            (IPProtocol.gre, 0x2000, 0, nil), (IPProtocol.icmp, 0x2000, 0, nil),
        ]
        for (number, field, cut, reason) in cases {
            var part = Array(packet.dropLast(cut + (packet.count - 34) % 8))
            part.replaceSubrange(16..<18, with: octets(UInt64(part.count - 14), count: 2))
            part.replaceSubrange(20..<22, with: octets(UInt64(field), count: 2))
            part[23] = number
            let remote = UInt32(truncatingIfNeeded: Host.remote.value)
            let outcome = host.bench.receive(forged(part, from: remote), from: Host.wire)
            #expect(outcome.reasons == (reason.map { [.init($0, on: Host.wire): 1] } ?? [:]))
            #expect((outcome.sent[1]?.count ?? 0) == (reason == nil ? 1 : 0))
        }
    }

    @Test func tracesWhatItSends() throws {
        let host = try Host([("vxlan", ["key": "100"])])
        host.resolve()
        let trace = host.bench.dataplane.trace(frame: frame(to: 0xffff_ffff_ffff), length: 60, from: 3, on: "br-tun")
        #expect(trace.program == [.edit("encapsulate(vxlan,dst=192.0.2.2,key=100)"), .output(PortIndex(0))])
        #expect(trace.steps.contains { if case .bridge("br-phys", 2, nil) = $0.event { true } else { false } })
    }

    /// RFC 6040 section 4.2, figure 4: inner marks, outer marks and what becomes of them.
    @Test(arguments: [false, true])
    func takesCongestionOutOfTunnels(isIPv6: Bool) throws {
        let becomes: [[UInt8?]] = [[0, 0, 0, nil], [1, 1, 1, 3], [2, 1, 2, 3], [3, 3, 3, 3]]
        let host = try Host([("vxlan", ["key": "1"])])
        host.resolve()
        for (tags, tagLength) in [([], 0), ([FrameTag.customer(5)], 4)] {
            for (inner, row) in becomes.enumerated() {
                for (outer, mark) in row.enumerated() {
                    let frame = marked(UInt8(inner), isIPv6: isIPv6, tags)
                    var packet = turned(try host.encapsulated(frame))
                    packet[15] = UInt8(outer)
                    let outcome = host.bench.receive(forged(packet, from: 0xc000_0202), from: Host.wire)
                    let expected = mark.map { marked($0, isIPv6: isIPv6, tags) }
                    #expect(outcome.sent[Host.guest] == expected.map { [$0] }, "\(inner), \(outer), \(tagLength)")
                    #expect(outcome.reasons == (mark == nil ? [.init(.tunnelCongestion, on: 3): 1] : [:]))
                }
            }
        }
    }

    @Test func whatIsNotIPMeetsNoCongestion() throws {
        let host = try Host([("vxlan", ["key": "1"])])
        host.resolve()
        var arp = frame(to: 0xffff_ffff_ffff)
        arp[13] = 6
        for inner in [arp, frame(to: 0xffff_ffff_ffff), Array(arp.prefix(20))] {
            var packet = turned(try host.encapsulated(inner))
            packet[15] = 3
            #expect(
                host.bench.receive(forged(packet, from: 0xc000_0202), from: Host.wire).sent == [Host.guest: [inner]]
            )
        }
    }

    @Test(arguments: [("0", 0), ("32", 32), ("inherit", 0x48)], [false, true])
    func givesTunnelsTheMarksOfTheirFrames(tos: (String, UInt8), isIPv6: Bool) throws {
        let host = try Host([("vxlan", ["key": "1", "tos": tos.0])])
        host.resolve()
        for mark in UInt8(0)..<4 {
            let outer = try host.encapsulated(marked(0x48 | mark, isIPv6: isIPv6, []))
            #expect(outer[15] == tos.1 | (mark == 3 ? 2 : mark))
        }
    }

    @Test(arguments: [("vxlan", 1450), ("geneve", 1450), ("gre", 1462)])
    func tellsWhatFitsATunnel(type: String, mtu: Int) throws {
        let host = try Host([(type, [:])])
        host.resolve()
        for _ in 0..<3 {
            let long = host.bench.receive(datagram(mtu + 1), from: Host.guest)
            #expect(long.sent.mapValues(\.count) == [Host.guest: 1])
            #expect(long.reasons == [.init(.transmitTooLong, on: 0): 1])
            #expect(toldMTU(long.sent[Host.guest]?.first) == mtu)
            #expect(host.bench.receive(datagram(mtu), from: Host.guest).sent.mapValues(\.count) == [Host.wire: 1])
        }
    }

    /// While a copy arrives nobody is told; then what would fit the widest.
    @Test func tellsTheMostOfTwoTunnels() throws {
        let host = try Host([("vxlan", ["key": "1"]), ("gre", ["key": "1"])])
        try host.bench.replaceFlows(["in_port=3,actions=output:5,output:4,output:5"], of: "br-tun")
        host.resolve()
        for _ in 0..<2 {
            let outcome = host.bench.receive(datagram(1455), from: Host.guest)
            #expect(outcome.sent.mapValues(\.count) == [Host.wire: 2])
            #expect(outcome.reasons == [.init(.transmitTooLong, on: 0): 1])
            let long = host.bench.receive(datagram(1463), from: Host.guest)
            #expect(toldMTU(long.sent[Host.guest]?.first) == 1458)
            #expect(long.reasons == [.init(.transmitTooLong, on: 0): 3])
        }
    }

    /// Nobody is told through a tunnel.
    @Test func whatComesFromATunnelIsDroppedOnly() throws {
        let host = try Host([("vxlan", ["key": "1"])], frameLength: 9014, guestLength: 1514)
        host.resolve()
        let inner = datagram(1600)
        let packet = turned(try host.encapsulated(inner))
        let outcome = host.bench.receive(packet, from: Host.wire)
        #expect(outcome.sent == [:])
        #expect(outcome.reasons == [.init(.transmitTooLong, on: Host.guest): 1])
    }

    /// With UDP's destination port 0, which stands for GRE elsewhere, among other things.
    @Test(arguments: [("vxlan", 50), ("geneve", 50), ("gre", 42)])
    func whatIsReadAtOnceIsWhatIsReadHeaderByHeader(type: String, overhead: Int) throws {
        let host = try Host([("vxlan", ["key": "1"]), ("geneve", ["key": "1"]), ("gre", ["key": "1"])])
        host.resolve()
        let port = ["vxlan": 4, "geneve": 5, "gre": 6][type]!
        try host.bench.replaceFlows(["in_port=3,actions=output:\(port)", "priority=1,actions=output:3"], of: "br-tun")
        let packet = turned(try host.encapsulated(frame(to: 0xffff_ffff_ffff)))
        let first = host.bench.receive(packet, from: Host.wire).sent
        #expect(first.count == 1)
        var plainCount = 0
        for place in 0..<overhead {
            for value in [UInt8(0), 1, 5, 6, 0x40, 0x80, 0xff] + (0..<8).map({ packet[place] ^ 1 << $0 }) {
                var other = packet
                other[place] = value
                if place == 36 { other[37] = 0 }
                other = forged(other, from: UInt32(other[26...29].reduce(0) { $0 << 8 | Int($1) }))
                plainCount += host.bench.readsAlike(other) ? 1 : 0
                // Behind one that it may be taken for like.
                let alone = host.bench.receive(other, from: Host.wire)
                let behind = host.bench.receive([Frame(packet), Frame(other)], from: Host.wire)
                #expect(behind.sent == first.merging(alone.sent) { $0 + $1 }, "octet \(place): \(value)")
                #expect(behind.reasons == alone.reasons, "octet \(place): \(value)")
            }
        }
        #expect(plainCount > 100, "few were read at once")
    }

    /// Nothing comes out twice, whatever came in (`Bench` looks).
    @Test(arguments: seeds)
    func survivesEveryChange(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let host = try Host([("vxlan", ["key": "1"]), ("geneve", ["key": "1"]), ("gre", ["key": "1", "csum": "true"])])
        host.resolve()
        let packets = host.bench.receive(frame(to: 0xffff_ffff_ffff), from: Host.guest).sent[Host.wire] ?? []
        #expect(packets.count == 3)
        for packet in packets {
            for _ in 0..<400 {
                var bytes = turned(packet)
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
                let cut = Array(bytes.prefix(Int.random(in: 1...bytes.count, using: &random)))
                let whole = Bool.random(using: &random) ? bytes : cut
                host.bench.receive([Frame(whole, segments: [Int.random(in: 1...70, using: &random)])], from: Host.wire)
            }
        }
    }
}
