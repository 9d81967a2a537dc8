import ArgumentParser
import Control
import Foundation

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Finds what is wrong with the machine and the switch, and says how to mend it.",
        discussion: "Ends with status 1 when something stops the switch."
    )

    @Option(
        help: ArgumentHelp(
            "Reserve 2 MB pages until so many MB are free, and mount hugetlbfs. Needs root.",
            valueName: "mb"
        )
    )
    var reserveHugepages: Int?

    @OptionGroup var reading: Reading

    func validate() throws {
        guard (1...16_777_216).contains(reserveHugepages ?? 1) else {
            throw ValidationError("--reserve-hugepages takes 1 to 16777216 MB")
        }
    }

    func run() throws {
        let findings =
            if let megabytes = reserveHugepages { Hugepages().reserve(megabytes: megabytes) } else { examination() }
        if reading.json {
            print(try jsonText(Doctor.Response(findings: findings)))
        } else {
            for finding in findings { print(finding.line) }
        }
        if findings.contains(where: \.stops) { throw ExitCode(1) }
    }

    /// The machine first, then the daemon's own view, if there is a daemon.
    private func examination() -> [Finding] {
        do {
            let client = try reading.daemon.connect()
            let own = try client.call(Doctor()).findings
            let socket = Finding("daemon", ok: true, "martletd answers on '\(reading.daemon.path)'")
            return Machine().findings(daemonRuns: true) + [socket] + own + (try growing(client))
        } catch {
            return Machine().findings(daemonRuns: false) + [Finding("daemon", ok: false, stops: true, "\(error)")]
        }
    }

    /// What tells of trouble and grows while one looks.
    private func growing(_ client: ControlClient) throws -> [Finding] {
        let (drops, tracked) = (try client.call(StatsDrops()).drops, try client.call(ConntrackStats()))
        Thread.sleep(forTimeInterval: 1)
        let drop = growingDrops(from: drops, to: try client.call(StatsDrops()).drops)
        return drop + lostConnections(from: tracked, to: try client.call(ConntrackStats()))
    }

    private func lostConnections(from old: ConntrackStats.Response, to now: ConntrackStats.Response) -> [Finding] {
        let (refused, evicted) = (now.refused - old.refused, now.evicted - old.evicted)
        guard refused + evicted != 0 else { return [] }
        let words = "\(refused) connections were refused in a second, and \(evicted) were given up for others"
        let mend = "look for who begins them (conntrack dump, --zone), set limits of zones, or raise --connections"
        return [Finding("connections", ok: false, "\(words): \(mend)")]
    }

    private func growingDrops(from before: [StatsDrops.Drop], to now: [StatsDrops.Drop]) -> [Finding] {
        now.compactMap { drop in
            guard let mend = Self.mends[drop.reason] else { return nil }
            let old = before.first { $0.port == drop.port && $0.reason == drop.reason }?.packets ?? 0
            guard drop.packets > old else { return nil }
            let words = "\(drop.packets - old) packets were dropped in a second as \(drop.reason): \(mend)"
            return Finding("port \(drop.port)", ok: false, words)
        }
    }

    private static let mends = [
        "transmit_full": "whoever is behind the port reads too slowly: give it more processors, queues or descriptors",
        "transmit_down": "start the guest or mend the link",
        "transmit_too_long": "lower the senders' MTU or raise this port's (--option mtu)",
        "no_buffer": "the packet buffers run out: give martletd more --socket-memory",
        "infrastructure": "a guest plays switch or router (LLDP, BPDU, BFD): see martletctl stats drops --sample",
        "reserved_vlan": "a sender uses VLAN 4095: correct it",
        "vlan_not_carried": "the port's tag or trunks do not fit what is sent there: see martletctl show",
        "tunnel_unknown": "no tunnel port has that remote_ip and key: add one, or correct the other host's tunnels",
        "tunnel_no_path": "the tunnel has no remote address or no endpoint with a way there: see martletctl port show",
        "tunnel_header": "a sender's tunnel packets are broken, or of a kind that is not taken",
        "tunnel_checksum": "a sender's tunnel packets have wrong checksums: look at its offloads",
        "tunnel_fragment":
            "a sender's tunnel packets come in fragments: raise the MTU on their way, or see fragments in port add --help",
        "tunnel_fragment_invalid":
            "fragments of tunnels' packets overlap, come twice or are more than eight: look for who sends them",
        "tunnel_fragment_room":
            "more packets in fragments come in than an endpoint keeps: raise the MTU on their way, look for who sends them",
        "tunnel_fragment_expired": "fragments of tunnels' packets are lost on their way: raise the MTU there",
        "neighbor_unknown": "the next hop does not answer: see martletctl neighbor list, and the endpoint's VLAN",
        "endpoint_forbidden": "a guest sends to an endpoint or in its name: keep guests off the endpoint's VLAN",
    ]
}

extension Finding {
    fileprivate var line: String { "\(ok ? "ok  " : stops ? "FAIL" : "warn")  \(check): \(message)" }
}
