import Dataplane
import Glibc
import Wire

/// Traffic that meets one part of the dataplane.
struct Workload {
    static let warmUp = 131_072

    let name: String
    let frames: [[UInt8]]
    let stations: [MACAddress]

    static let all: [Workload] = [
        Workload(name: "parse and refuse (VLAN 4095)", frames: [frame(0, tag: 4095)], stations: []),
        known(1), known(1_000), known(10_000), known(100_000),
        Workload(
            name: "known, 1 MAC, tag popped and frame restored",
            frames: [frame(0, tag: 10)],
            stations: [station(0)]
        ),
    ]

    private static func known(_ count: Int) -> Workload {
        Workload(
            name: "known, \(count) MACs",
            frames: (0..<count).map { frame($0, tag: nil) },
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
        let dataplane = Dataplane(workerCount: 1)
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
        return Rig(frames: repeated, dataplane: dataplane)
    }

    private var repeated: [[UInt8]] {
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
