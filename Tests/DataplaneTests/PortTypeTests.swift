import Testing

@testable import Dataplane

/// Port types as an operator writes them.
@Suite struct PortTypeTests {
    struct Accepted: Sendable {
        let type: String
        let options: [String: String]
        let result: PortType

        init(_ type: String, _ options: [String: String], _ result: PortType) {
            self.type = type
            self.options = options
            self.result = result
        }
    }

    static let accepted: [Accepted] = [
        .init("dpdk", ["devargs": "net_null0"], .dpdk(device: "net_null0", queues: 1, descriptors: 1024, buffers: 0)),
        .init(
            "dpdk",
            ["devargs": "net_null0,no-rx=1", "queues": "64", "descriptors": "64", "buffers": "1048576"],
            .dpdk(device: "net_null0,no-rx=1", queues: 64, descriptors: 64, buffers: 1_048_576)
        ),
        .init("dpdk", ["pci": "0000:3b:00.0"], .dpdk(device: "0000:3b:00.0", queues: 1, descriptors: 1024, buffers: 0)),
        .init(
            "dpdk",
            ["pci": "3b:00.0", "descriptors": "4096"],
            .dpdk(device: "3b:00.0", queues: 1, descriptors: 4096, buffers: 0)
        ),
        .init(
            "dpdk",
            ["pci": "0000:3b:00.7,dv_flow_en=0"],
            .dpdk(device: "0000:3b:00.7,dv_flow_en=0", queues: 1, descriptors: 1024, buffers: 0)
        ),
        .init("vhost-user", ["path": "/run/a.sock"], .vhostUser(path: "/run/a.sock", mode: .client, queues: 1)),
        .init(
            "vhost-user",
            ["path": "/run/a.sock", "mode": "server", "queues": "16"],
            .vhostUser(path: "/run/a.sock", mode: .server, queues: 16)
        ),
        .init(
            "vhost-user",
            ["path": "/" + String(repeating: "a", count: 106)],
            .vhostUser(path: "/" + String(repeating: "a", count: 106), mode: .client, queues: 1)
        ),
        .init("ring", [:], .ring(name: "p0", size: 1024)),
        .init("ring", ["name": "nf-1", "size": "16384"], .ring(name: "nf-1", size: 16384)),
        .init("tap", [:], .tap(interface: "p0")),
        .init("tap", ["ifname": "abcdefghijklmno"], .tap(interface: "abcdefghijklmno")),
        .init("patch", ["peer": "patch-int"], .patch(peer: "patch-int")),
    ]

    @Test(arguments: accepted)
    func readsOptionsAndPrintsThemAgain(row: Accepted) throws {
        let type = try PortType(name: row.type, options: row.options, portName: "p0")
        #expect(type == row.result)
        #expect(type.name == row.type)
        #expect(PortType.names.contains(type.name))
        #expect(try PortType(name: type.name, options: type.options, portName: "another") == type)
        for (key, value) in row.options where key != "buffers" { #expect(type.options[key] == value) }
    }

    struct Refused: Sendable {
        let type: String
        let options: [String: String]
        let text: String

        init(_ type: String, _ options: [String: String], _ text: String) {
            self.type = type
            self.options = options
            self.text = text
        }
    }

    private static let longPath = "/" + String(repeating: "a", count: 107)

    static let refused: [Refused] = [
        .init(
            "hub",
            [:],
            "port type 'hub' is unknown: use one of dpdk, vhost-user, ring, tap, patch, endpoint, vxlan, gre, "
                + "geneve"
        ),
        .init("dpdk", [:], "port type dpdk needs its device: --option pci=ADDRESS or --option devargs=NAME,KEY=VALUE"),
        .init(
            "dpdk",
            ["devargs": ""],
            "port type dpdk needs its device: --option pci=ADDRESS or --option devargs=NAME,KEY=VALUE"
        ),
        .init(
            "dpdk",
            ["devargs": "net_null0", "pci": "3b:00.0"],
            "options pci and devargs name two devices: give one of them"
        ),
        .init("dpdk", ["pci": "eth0"], "'eth0' is not a PCI address: write it as 0000:3b:00.0 (lspci -D shows them)"),
        .init(
            "dpdk",
            ["pci": "0000:3b:00.8"],
            "'0000:3b:00.8' is not a PCI address: write it as 0000:3b:00.0 (lspci -D shows them)"
        ),
        .init(
            "dpdk",
            ["devargs": "0000:3b:00.0"],
            "'0000:3b:00.0' is a PCI address: give it as --option pci=0000:3b:00.0"
        ),
        .init("dpdk", ["devargs": "net_null0", "queues": "0"], "option queues=0 is not a number from 1 to 64"),
        .init("dpdk", ["devargs": "net_null0", "queues": "65"], "option queues=65 is not a number from 1 to 64"),
        .init("dpdk", ["devargs": "net_null0", "queues": "two"], "option queues=two is not a number from 1 to 64"),
        .init(
            "dpdk",
            ["devargs": "net_null0", "descriptors": "32"],
            "option descriptors=32 is not a number from 64 to 4096"
        ),
        .init(
            "dpdk",
            ["devargs": "net_null0", "descriptors": "1000"],
            "option descriptors=1000 is not a power of two"
        ),
        .init(
            "dpdk",
            ["devargs": "net_null0", "buffers": "-1"],
            "option buffers=-1 is not a number from 0 to 1048576"
        ),
        .init("dpdk", ["devargs": "net_null0", "path": "/a"], "port type dpdk has no option 'path'"),
        .init("dpdk", ["devargs": "net_null0", "zeta": "1", "alpha": "2"], "port type dpdk has no option 'alpha'"),
        .init("vhost-user", [:], "port type vhost-user needs its socket: --option path=/run/martlet/NAME.sock"),
        .init(
            "vhost-user",
            ["path": ""],
            "port type vhost-user needs its socket: --option path=/run/martlet/NAME.sock"
        ),
        .init("vhost-user", ["path": "a.sock"], "socket path 'a.sock' is relative: give an absolute path"),
        .init(
            "vhost-user",
            ["path": longPath],
            "socket path '\(longPath)' has 108 bytes: the kernel takes 107 at most"
        ),
        .init(
            "vhost-user",
            ["path": "/a", "mode": "both"],
            "vhost-user mode 'both' is unknown: use client (QEMU listens) or server (Martlet listens)"
        ),
        .init("vhost-user", ["path": "/a", "queues": "17"], "option queues=17 is not a number from 1 to 16"),
        .init("vhost-user", ["path": "/a", "descriptors": "64"], "port type vhost-user has no option 'descriptors'"),
        .init("ring", ["size": "100"], "option size=100 is not a power of two"),
        .init("ring", ["size": "32"], "option size=32 is not a number from 64 to 16384"),
        .init("ring", ["name": "a b"], "option name=a b is not a name: use 1 to 24 letters, digits, '_', '.', '-'"),
        .init("ring", ["name": ""], "option name= is not a name: use 1 to 24 letters, digits, '_', '.', '-'"),
        .init(
            "tap",
            ["ifname": "abcdefghijklmnop"],
            "option ifname=abcdefghijklmnop is not a name: use 1 to 15 letters, digits, '_', '.', '-'"
        ),
        .init(
            "patch",
            [:],
            "port type patch needs its other end: --option peer=PORT, a patch port of another bridge"
        ),
        .init(
            "patch",
            ["peer": "p0"],
            "port 'p0' cannot be its own peer: name the patch port at the other end"
        ),
        .init("patch", ["peer": "p1", "queues": "1"], "port type patch has no option 'queues'"),
        .init("tap", ["ifname": "a/b"], "option ifname=a/b is not a name: use 1 to 15 letters, digits, '_', '.', '-'"),
    ]

    @Test(arguments: refused)
    func refusesInOneSentence(row: Refused) {
        #expect(throws: Refusal(row.text)) {
            try PortType(name: row.type, options: row.options, portName: "p0")
        }
    }

    @Test(arguments: [
        ("0000:3b:00.0", true), ("3b:00.0", true), ("10000:3b:1f.7,a=b", true), ("3B:00.0", true),
        ("net_null0", false), ("3b:00", false), ("3b:00.8", false), ("x3b:00.0", false), ("", false),
    ])
    func tellsPCIAddressesFromNames(text: String, isAddress: Bool) {
        #expect(PortType.isPCIAddress(text) == isAddress)
    }
}
