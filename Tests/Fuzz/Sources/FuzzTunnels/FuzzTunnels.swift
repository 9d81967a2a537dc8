import Dataplane
import Wire

/// Packets of any bytes before an endpoint with tunnels of each kind, cut into segments anywhere: as they are, or behind
/// headers that lead to the tunnels; and frames of any bytes into the tunnels.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTunnels(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = UnsafeBufferPointer(start: bytes, count: count)[...]
    var frames: [Frame] = []
    guard let kind = input.popFirst() else { return 0 }
    // One octet of length, one of segments, then the rest of a packet.
    while frames.count < Lane.burstLength, let length = input.popFirst(), let cuts = input.popFirst() {
        let given = Array(input.prefix(max(Int(length), 1)))
        input = input.dropFirst(given.count)
        guard !given.isEmpty else { break }
        let outer = Outer.allCases[Int(kind >> 1) % Outer.allCases.count]
        let rest = given + [UInt8](repeating: 0, count: outer.paddingLength)
        let frame = outer.headers(before: rest) + rest
        let segments = [Int(cuts & 0x7f), Int(cuts >> 7) * 40]
        frames.append(Frame(frame, segments: segments, headroom: cuts & 1 == 0 ? 128 : 20))
    }
    Underlay.all.receive(frames, from: kind & 1 == 0 ? Underlay.wire : Underlay.guest)
    return 0
}

/// What is put before the fuzzer's bytes, so that it need not find out about checksums.
private enum Outer: CaseIterable {
    case nothing, ethernet, ipv4, ipv6, vxlan, geneve, gre, vxlan6, longIPv6, fragment4, fragment6

    /// What is put behind them: IPv6 packets up to 1,280 bytes are too long for nobody.
    var paddingLength: Int { self == .longIPv6 ? 1280 : 0 }

    func headers(before rest: [UInt8]) -> [UInt8] {
        switch self {
        case .nothing: []
        case .ethernet: Self.ethernet(EtherType.ipv4)
        case .ipv4: Self.ipv4(IPProtocol.udp, rest.count)
        case .ipv6: Self.ipv6(IPProtocol.udp, rest.count)
        case .longIPv6: Self.ipv6(IPProtocol.destinationOptions, rest.count)
        case .fragment4: Self.ipv4(IPProtocol.udp, rest.count, fragment: UInt16(rest[0]) << 8 | UInt16(rest.last ?? 0))
        case .fragment6: Self.ipv6(IPProtocol.fragment, rest.count)
        case .gre: Self.ipv4(IPProtocol.gre, rest.count)
        case .vxlan: Self.ipv4(IPProtocol.udp, 8 + rest.count) + Self.udp(VXLAN.port, rest.count)
        case .geneve: Self.ipv4(IPProtocol.udp, 8 + rest.count) + Self.udp(Geneve.port, rest.count)
        case .vxlan6: Self.ipv6(IPProtocol.udp, 8 + rest.count) + Self.udp(VXLAN.port, rest.count)
        }
    }

    private static func ethernet(_ type: UInt16) -> [UInt8] {
        let header = EthernetHeader(destination: Underlay.mac, source: Underlay.remoteMAC, type: type)
        return [UInt8](count: header.length) { header.write(to: $0) }
    }

    private static func ipv4(_ number: UInt8, _ count: Int, fragment: UInt16 = IPv4Header.dontFragment) -> [UInt8] {
        let header = IPv4Header(
            source: Underlay.remote4.ipv4!,
            destination: Underlay.local4.ipv4!,
            protocol: number,
            payloadLength: count,
            fragment: fragment
        )
        return ethernet(EtherType.ipv4) + [UInt8](count: IPv4Header.length) { header.write(to: $0) }
    }

    private static func ipv6(_ number: UInt8, _ count: Int) -> [UInt8] {
        let header = IPv6Header(
            source: Underlay.remote6.ipv6!,
            destination: Underlay.local6.ipv6!,
            nextHeader: number,
            payloadLength: count
        )
        return ethernet(EtherType.ipv6) + [UInt8](count: IPv6Header.length) { header.write(to: $0) }
    }

    private static func udp(_ port: UInt16, _ count: Int) -> [UInt8] {
        let header = UDPHeader(sourcePort: 50_000, destinationPort: port, payloadLength: count)
        return [UInt8](count: UDPHeader.length) { header.write(to: $0) }
    }
}

/// A wire and two endpoints on one bridge, a guest and tunnels on another, whose frames go back into tunnels as well.
private enum Underlay {
    static let wire: UInt16 = 0
    static let guest: UInt16 = 3
    static let (local4, remote4) = (IPAddress("192.0.2.1")!, IPAddress("192.0.2.2")!)
    static let (local6, remote6) = (IPAddress("2001:db8::1")!, IPAddress("2001:db8::2")!)
    static let mac = MACAddress("02:00:00:00:0e:01")!
    static let remoteMAC = MACAddress("02:00:00:00:0e:02")!

    static let all: FuzzedSwitch = {
        let made = FuzzedSwitch(
            SwitchConfiguration(
                bridges: ["br-phys", "br-tun"].map { BridgeConfiguration(name: $0, settings: .init()) },
                ports: ports
            ),
            flows: [
                "br-tun": [
                    "priority=1,actions=ALL,IN_PORT", "tcp,actions=mod_nw_src:10.0.0.9,mod_tp_dst:99,dec_ttl,FLOOD",
                    "dl_vlan=7,actions=strip_vlan,push_vlan:0x88a8,IN_PORT,output(port=2,max_len=20)",
                    "udp,actions=set_field:192.0.2.2->tun_dst,set_tunnel:5,FLOOD",
                ]
            ]
        )
        // Names the neighbors, who answer at once.
        let frame = Frame([UInt8](repeating: 0x02, count: 60))
        made.receive([frame], from: guest)
        for (port, remote) in [(UInt16(1), remote4), (2, remote6)] {
            made.dataplane.setNeighbor(remote, remoteMAC, of: PortIndex(port))
        }
        return made
    }()

    private static var ports: [PortConfiguration] {
        let tunnels: [(String, [String: String])] = [
            ("vxlan", ["remote_ip": "\(remote4)", "key": "0"]), ("vxlan", ["remote_ip": "flow", "key": "flow"]),
            ("geneve", ["remote_ip": "\(remote4)", "key": "flow", "csum": "true"]),
            ("gre", ["remote_ip": "\(remote4)", "csum": "true"]), ("gre", ["remote_ip": "\(remote4)", "key": "flow"]),
            ("vxlan", ["remote_ip": "\(remote6)", "key": "flow", "csum": "true", "tos": "inherit"]),
        ]
        let others = tunnels.enumerated().map { number, tunnel in
            let type = try! PortType(name: tunnel.0, options: tunnel.1, portName: "t\(number)")
            return PortConfiguration(UInt16(4 + number), on: "br-tun", frameLength: 250, tunnel: type.tunnel)
        }
        return [
            PortConfiguration(0, on: "br-phys", frameLength: 250), endpoint(1, local4, 24), endpoint(2, local6, 64),
            PortConfiguration(3, on: "br-tun", frameLength: 250),
        ] + others
    }

    private static func endpoint(_ index: UInt16, _ address: IPAddress, _ length: Int) -> PortConfiguration {
        let prefix = IPPrefix(address, length: length)!
        let options = EndpointOptions(prefix: prefix, mac: mac, fragments: .reassemble)
        return PortConfiguration(index, on: "br-phys", frameLength: 250, endpoint: options)
    }
}
