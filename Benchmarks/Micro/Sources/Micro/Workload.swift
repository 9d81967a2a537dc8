import Dataplane
import Flows
import Glibc
import Wire

/// Traffic that meets one part of the dataplane.
struct Workload {
    static let warmUp = 131_072

    let name: String
    /// Made when they are needed: some workloads have millions.
    let frames: @Sendable () -> [[UInt8]]
    var stations: [MACAddress] = []
    /// Connections that the cache remembers.
    var cacheCapacity = 1 << 20
    /// In place of NORMAL alone.
    var flows: @Sendable () -> [String] = { [] }

    static let all: [Workload] = [
        Workload(name: "parse and refuse (VLAN 4095)", frames: { [frame(0, tag: 4095)] }, stations: []),
        known(1), known(1_000), known(10_000), known(100_000),
        Workload(
            name: "known, 1 MAC, tag popped and frame restored",
            frames: { [frame(0, tag: 10)] },
            stations: [station(0)]
        ),
        connections(1), connections(1_000), connections(10_000), connections(100_000), connections(1_000_000),
        flowEach(1_000), flowEach(100_000), flowEach(1_000_000),
        Workload(name: "one connection, 12 tables with 20 actions", frames: { [packet(0)] }, flows: { deep }),
        Workload(
            name: "one connection, NORMAL by the tables",
            frames: { [packet(0)] },
            flows: { ["table=9,actions=drop", "priority=0,actions=NORMAL"] }
        ),
        Workload(
            name: "one connection, addresses edited",
            frames: { [packet(0)] },
            flows: { ["ip,actions=mod_dl_src:02:00:00:00:00:07,mod_dl_dst:02:00:00:00:00:08,output:2"] }
        ),
        tracked(1_000, isTCP: false), tracked(1_000, isTCP: true), tracked(100_000, isTCP: false),
        Workload(
            name: "every packet a new tracked connection",
            frames: { (0..<262_144).map { packet($0, isTCP: false, isReply: false) } },
            cacheCapacity: 16_384,
            flows: { firewall }
        ),
        Workload(
            name: "every packet a new connection, 8 tables of 10,000 flows",
            frames: { (0..<262_144).map(stranger) },
            cacheCapacity: 16_384,
            flows: { wide }
        ),
    ]

    /// Connections that one flow sends on, told apart by another.
    private static func connections(_ count: Int) -> Workload {
        Workload(
            name: "flows, \(count) connections",
            frames: { (0..<count).map(packet) },
            flows: {
                [
                    "priority=1,udp,in_port=1,tp_src=1,tp_dst=1,nw_src=1.1.1.1,nw_dst=1.1.1.1,actions=drop",
                    "priority=0,actions=output:2",
                ]
            }
        )
    }

    /// Connections with a flow for each.
    private static func flowEach(_ count: Int) -> Workload {
        Workload(
            name: "\(count) flows, a connection each",
            frames: { (0..<count).map(packet) },
            flows: { (0..<count).map { "\(match(packet($0))),actions=output:2" } }
        )
    }

    private static func match(_ packet: [UInt8]) -> String {
        func address(_ first: Int) -> String { packet[first..<first + 4].map(String.init).joined(separator: ".") }
        func number(_ first: Int) -> Int { Int(packet[first]) << 8 | Int(packet[first + 1]) }
        return "udp,nw_src=\(address(26)),nw_dst=\(address(30)),tp_src=\(number(34)),tp_dst=\(number(36))"
    }

    private static let deep: [String] =
        (0..<11).map {
            "table=\($0),priority=5,udp,in_port=1,actions=load:\($0)->NXM_NX_REG\($0)[],load:1->NXM_NX_REG12[],goto_table:\($0 + 1)"
        }
        + ["table=11,udp,actions=output:2"]

    /// By addresses and by ports in turn, so that no mask makes connections alike.
    private static let wide: [String] = (0..<8).flatMap { table in
        let next = table == 7 ? "output:2" : "goto_table:\(table + 1)"
        let flows = (0..<10_000).map { number in
            let match = table % 2 == 0 ? "nw_src=10.\(number >> 8 & 255).\(number & 255).0/24" : "tp_dst=\(number)"
            return "table=\(table),priority=1,udp,\(match),actions=\(next)"
        }
        return flows + ["table=\(table),priority=0,actions=\(next)"]
    }

    /// A UDP packet of a connection, as different as numbers are.
    private static func packet(_ number: Int) -> [UInt8] {
        var frame = Array(frame(0, tag: nil).prefix(12)) + [0x08, 0x00]
        frame += [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]
        let scattered = UInt32(truncatingIfNeeded: number) &* 0x9e37_79b1
        frame += [10, UInt8(number % 10_000 >> 8), UInt8(number % 10_000 & 255), UInt8(truncatingIfNeeded: scattered)]
        frame += [10, 0, 0, 2]
        frame += [UInt8(truncatingIfNeeded: scattered >> 24), UInt8(truncatingIfNeeded: scattered >> 16)]
        frame += [UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)]
        return frame + [UInt8](repeating: 0, count: 60 - frame.count)
    }

    /// A packet of a new connection that meets one of `wide`'s flows in each table, as far from the last one's as may be.
    private static func stranger(_ number: Int) -> [UInt8] {
        var frame = packet(number)
        let scattered = UInt64(truncatingIfNeeded: number) &* 0x9e37_79b9_7f4a_7c15
        let (network, port) = ((scattered >> 40) % 10_000, (scattered >> 16 & 0xff_ffff) % 10_000)
        (frame[27], frame[28]) = (UInt8(network >> 8), UInt8(network & 255))
        (frame[36], frame[37]) = (UInt8(port >> 8), UInt8(port & 255))
        return frame
    }

    /// Connections that both sides know, both ways.
    private static func tracked(_ count: Int, isTCP: Bool) -> Workload {
        Workload(
            name: "\(count) tracked connections of \(isTCP ? "TCP" : "UDP")",
            frames: { (0..<2 * count).map { packet($0 / 2, isTCP: isTCP, isReply: $0 % 2 != 0) } },
            flows: { firewall }
        )
    }

    private static let firewall = [
        "ip,ct_state=-trk,actions=ct(table=1)",
        "table=1,ip,ct_state=+new,actions=ct(commit),output:2",
        "table=1,ip,ct_state=+est,actions=output:2",
    ]

    /// A whole packet of a connection, with checksums: of UDP, or an acknowledgment of TCP.
    private static func packet(_ number: Int, isTCP: Bool, isReply: Bool) -> [UInt8] {
        let ends: [[UInt8]] = [[10, 0, 0, 1], [10, 0, 0, 2]]
        let ports = [UInt16(1024 + number % 60_000), UInt16(1024 + number / 60_000)]
        let addresses = Array((isReply ? ends.reversed() : ends).joined())
        let transport = (isReply ? ports.reversed() : ports).flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
        let length = isTCP ? 20 : 26
        var header: [UInt8] = [0x45, 0, 0, UInt8(20 + length), 0, 0, 0, 0, 64, isTCP ? 6 : 17, 0, 0] + addresses
        header.replaceSubrange(10..<12, with: checksum(header))
        // Without a checksum of UDP; what TCP sends and acknowledges stays where it is.
        let acknowledgment: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]
        var segment = transport + (isTCP ? acknowledgment : [0, 26, 0, 0])
        if isTCP { segment.replaceSubrange(16..<18, with: checksum(addresses + [0, 6, 0, 20] + segment)) }
        let frame = Array(frame(0, tag: nil).prefix(14)) + header + segment
        return frame + [UInt8](repeating: 0, count: 60 - frame.count)
    }

    private static func checksum(_ bytes: [UInt8]) -> [UInt8] {
        var checksum = InternetChecksum()
        bytes.withUnsafeBytes { checksum.add($0) }
        return [UInt8(checksum.value >> 8), UInt8(checksum.value & 255)]
    }

    private static func known(_ count: Int) -> Workload {
        Workload(
            name: "known, \(count) MACs",
            frames: { (0..<count).map { frame($0, tag: nil) } },
            stations: (0..<count).map(station)
        )
    }

    private static func station(_ number: Int) -> MACAddress {
        // Scattered as addresses of different makers are.
        MACAddress(value: 0x02_0000_0000_00 | UInt64(number) &* 0x9e37_79b1 & 0xffff_ffff)
    }

    private static func frame(_ number: Int, tag: UInt16?) -> [UInt8] {
        var frame = [UInt8](repeating: 0, count: 60)
        for octet in 0..<6 {
            frame[octet] = UInt8(truncatingIfNeeded: station(number).value >> UInt64(40 - 8 * octet))
        }
        frame[6...11] = [0x02, 0xff, 0, 0, 0, 1]
        frame[12...15] = tag.map { [0x81, 0x00, UInt8($0 >> 8), UInt8($0 & 0xff)] } ?? [0x08, 0x00, 0x45, 0]
        return frame
    }

    func rig() throws -> Rig {
        let frames = frames()
        let dataplane = Dataplane(workerCount: 1, cacheCapacity: cacheCapacity)
        var settings = BridgeSettings()
        settings.fdbCapacity = max(8192, stations.count * 2)
        let isTagged = frames[0][12] == 0x81
        let output = try VLANPolicy(mode: isTagged ? .access : nil, tag: isTagged ? VLANID(10) : nil, trunks: [])
        dataplane.commit(
            SwitchConfiguration(
                bridges: [BridgeConfiguration(name: "br0", settings: settings)],
                ports: [port(0, .allTagged), port(1, output)]
            )
        )
        for station in stations {
            try dataplane.fdbAdd(
                station,
                vlan: isTagged ? VLANID(10)! : .untagged,
                port: PortIndex(1),
                on: "br0"
            )
        }
        let flows = flows()
        if !flows.isEmpty {
            let former = dataplane.flows(of: "br0").map(\.number)
            try dataplane.changeFlows(of: "br0", removing: former, adding: flows.map { try FlowText.flow($0) })
        }
        return Rig(frames: Self.aBurstAtLeast(frames), dataplane: dataplane)
    }

    private static func aBurstAtLeast(_ frames: [[UInt8]]) -> [[UInt8]] {
        frames.count >= Lane.burstLength ? frames : Array(repeating: frames[0], count: Lane.burstLength)
    }

    private func port(_ index: UInt16, _ vlan: VLANPolicy) -> PortConfiguration {
        PortConfiguration(
            index: PortIndex(index),
            name: "p\(index)",
            bridge: "br0",
            number: PortNumber(index + 1)!,
            vlan: vlan,
            frameLength: 1514
        )
    }
}
