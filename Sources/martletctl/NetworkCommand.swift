import ArgumentParser
import Control

struct NetworkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "network",
        abstract: "Shows and changes what Neutron wants of this host.",
        discussion: """
            Documents are JSON, one a line:
                {"type": "host", "id": "cmp1", "tunnel_address": "192.0.2.1"}
                {"type": "network", "id": "blue", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450}
                {"type": "port", "id": "p1", "network_id": "blue", "mac_address": "fa:16:3e:00:00:01", \
            "fixed_ips": [{"ip_address": "10.0.0.1"}], "host": "cmp1", "vif": {"path": "/run/martlet/p1.sock"}}
                {"type": "port", "id": "p2", "deleted": true}
            """,
        subcommands: [Apply.self, List.self, Show.self, Status.self, Digest.self]
    )

    struct Apply: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes documents in, all or none; ports and flows follow."
        )

        @Option(help: ArgumentHelp("Documents; '-' is standard input.", valueName: "file"), completion: .file())
        var file: String
        @Flag(help: "Documents that the file does not name go.") var snapshot = false
        @OptionGroup var daemon: Daemon

        func run() throws {
            let staged = NetworkApply(staged: true, snapshot: snapshot)
            let response = try FlowText(file: file).send(daemon, NetworkApply(snapshot: snapshot), staged)
            print("\(response.changed) changed, \(response.removed) removed, \(response.unchanged) as they were")
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the networks.")

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(NetworkList()) { response in
                Self.table(of: response.networks)
            }
        }

        static func table(of networks: [NetworkDescription]) -> [String] {
            let head = ["ID", "NAME", "TYPE", "PHYSNET", "SEGMENT", "MTU", "LOCAL-VLAN", "PORTS", "HOSTS"]
            return martletctl.table(head, networks.map(row))
        }

        private static func row(_ network: NetworkDescription) -> [String] {
            [
                network.id, network.name, network.networkType, network.physicalNetwork ?? "-",
                network.segmentationID.map(String.init) ?? "-", "\(network.mtu)",
                network.localVLAN.map(String.init) ?? "-", "\(network.ports)", "\(network.hosts.count)",
            ]
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows a network, its ports and where its broadcasts go."
        )

        @Argument(help: "An id, or a name that only one network has.") var network: String
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(NetworkShow(id: network)) { response in
                let ports = response.ports.map { port in
                    [
                        port.id, port.mac.description, port.fixedIPs.joined(separator: ","), port.host ?? "-",
                        port.isUp ? "up" : "down", port.port ?? "-",
                    ]
                }
                return List.table(of: [response.network])
                    + ["flooding entries: \(response.floodingEntries.joined(separator: " "))", ""]
                    + table(["PORT", "MAC", "FIXED-IPS", "HOST", "ADMIN", "HERE"], ports)
            }
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows how the ports are that documents want on this host."
        )

        @Option(help: "Only what changed since; --json shows cursors.") var since: String?
        @Option(help: "Seconds to wait for a change when there is none since, up to 60.") var wait: Int?
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(NetworkStatus(since: since, wait: wait)) { response in
                let rows = response.ports.sorted { $0.id < $1.id }.map { port in
                    [port.id, port.status.rawValue, "\(port.revision)", port.reason ?? "-"]
                }
                return table(["PORT", "STATUS", "REVISION", "REASON"], rows)
            }
        }
    }

    struct Digest: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows digests of the documents that are held, to be compared with what others hold."
        )

        @Option(help: "Those of each document of a network.") var network: String?
        @Option(help: "Those of each document of a type.") var type: String?
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(NetworkDigest(network: network, type: type)) { response in
                if let documents = response.documents {
                    return table(
                        ["DOCUMENT", "DIGEST"],
                        documents.sorted { $0.key < $1.key }.map { [$0.key, $0.value] }
                    )
                }
                return Self.rows("TYPE", response.types) + [""] + Self.rows("NETWORK", response.networks)
            }
        }

        private static func rows(_ title: String, _ sets: [String: NetworkDigest.DocumentSet]?) -> [String] {
            let rows = (sets ?? [:]).sorted { $0.key < $1.key }.map { [$0.key, "\($0.value.count)", $0.value.digest] }
            return table([title, "DOCUMENTS", "DIGEST"], rows)
        }
    }
}

struct TunnelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tunnels",
        abstract: "Shows the tunnels to other hosts that documents name."
    )

    @OptionGroup var reading: Reading

    func run() throws {
        try reading.show(TunnelList()) { response in
            table(
                ["HOST", "TYPE", "LOCAL-IP", "REMOTE-IP", "NETWORKS", "FDB-ENTRIES"],
                response.tunnels.map {
                    [$0.host, $0.type, $0.localIP, $0.remoteIP, "\($0.networks)", "\($0.entries)"]
                }
            )
        }
    }
}
