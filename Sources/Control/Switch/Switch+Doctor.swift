import Dataplane
import Glibc

extension Switch {
    /// What is wrong as the daemon sees it, each with its mend; what is well is said too.
    public func doctor() -> Doctor.Response {
        var findings = [workersFinding(), documentsFinding(), connectionsFinding()] + zoneFindings()
        for bridge in bridges.keys.sorted() {
            findings.append(lengthFinding(of: bridge))
            for port in portsInOrder(of: bridge) { findings.append(portFinding(port)) }
        }
        return Doctor.Response(findings: findings)
    }

    private func workersFinding() -> Finding {
        let workers = io.workers()
        guard !workers.isEmpty else {
            return Finding("workers", ok: false, stops: true, "no worker polls: give martletd --worker-lcores")
        }
        return Finding("workers", ok: true, "lcores \(workers.map { "\($0.lcore)" }.joined(separator: ", ")) poll")
    }

    private func documentsFinding() -> Finding {
        guard network.lacksItself else { return Finding("documents", ok: true, "this host is '\(hostName)'") }
        return Finding(
            "documents",
            ok: false,
            "there are documents, but none of host '\(hostName)': give martletd --host the name that Neutron has for it"
        )
    }

    /// Beyond nine tenths there is little left for a burst.
    private static func isNearly(_ count: UInt64, _ limit: UInt64) -> Bool { count * 10 >= limit * 9 }

    private func connectionsFinding() -> Finding {
        let memory = UInt64(sysconf(Int32(_SC_PHYS_PAGES))) * UInt64(sysconf(Int32(_SC_PAGESIZE)))
        return Self.finding(of: dataplane.connectionStatistics, memory: memory)
    }

    /// - Parameter memory: of the machine, in bytes.
    static func finding(of tracked: ConnectionStatistics, memory: UInt64) -> Finding {
        let words = "\(tracked.count) of at most \(tracked.capacity) connections are tracked"
        let megabytes = (tracked.capacity * connectionLength) >> 20
        // Each takes memory when it is first there: too much of it shows late.
        guard megabytes <= memory >> 21 else {
            let mend = "give martletd a smaller --connections"
            let share = "they may take \(megabytes) MB of the machine's \(memory >> 20) MB"
            return Finding("connections", ok: false, "\(words): \(share): \(mend)")
        }
        guard isNearly(tracked.count, tracked.capacity) else { return Finding("connections", ok: true, words) }
        let mend =
            "see conntrack stats; hold zones to less with conntrack set --limit, or give martletd --connections "
            + "\(2 * tracked.capacity), which takes up to \(max(2 * megabytes, 1)) MB"
        return Finding("connections", ok: false, "\(words): \(mend)")
    }

    /// Bytes of a connection that is translated, with its places in the index; others take a quarter less.
    private static let connectionLength: UInt64 = 256

    private func zoneFindings() -> [Finding] {
        dataplane.limitedZones.filter { Self.isNearly(UInt64($0.count), UInt64($0.limit)) }.map { zone, count, limit in
            let words = "zone \(zone) has \(count) of the \(limit) connections that it may have"
            return Finding("connections", ok: false, "\(words): conntrack dump --zone \(zone) shows whose they are")
        }
    }

    private func lengthFinding(of bridge: String) -> Finding {
        let check = "bridge \(bridge)"
        let byLength = portsInOrder(of: bridge).filter(\.record.type.hasDevice)
            .sorted { $0.record.mtu < $1.record.mtu }
        guard let least = byLength.first?.record, let most = byLength.last?.record, least.mtu < most.mtu else {
            return Finding(check, ok: true, "one MTU on all ports")
        }
        return Finding(
            check,
            ok: false,
            "port '\(most.name)' takes frames of MTU \(most.mtu) that port '\(least.name)' (MTU \(least.mtu)) drops: "
                + "have the guests use an MTU of \(least.mtu), or add the ports with one --option mtu"
        )
    }

    private func portFinding(_ port: Port) -> Finding {
        let check = "port \(port.record.name)"
        if let failure = port.failure { return Finding(check, ok: false, failure) }
        let status = status(of: port)
        let lcores = Set(io.workers().map(\.lcore))
        if let idle = status.queues.first(where: { $0.enabled && !lcores.contains($0.lcore) }) {
            let mend = "martletctl worker assign \(port.record.name) \(idle.number) LCORE"
            return Finding(check, ok: false, "no worker polls queue \(idle.number): \(mend)")
        }
        guard !status.linkUp else { return Finding(check, ok: true, "link up") }
        let reason = port.record.type.reasonForNoLink ?? reasonForNoEndpoint(of: port) ?? reasonForNoPeer(of: port)
        return Finding(check, ok: false, "link down: \(reason)")
    }
}

extension PortType {
    /// Those of patches and tunnels are not their own.
    fileprivate var reasonForNoLink: String? {
        switch self {
        case .vhostUser(let path, .client, _):
            switch fileKind(path) {
            case nil: "nothing listens on '\(path)': start the guest (QEMU's chardev with server=on)"
            case S_IFSOCK?: "the guest behind '\(path)' has not started its virtio-net driver: boot it"
            case let kind?: "'\(path)' is \(fileKindWords(kind)) and no socket: remove it and start the guest"
            }
        case .vhostUser(let path, .server, _):
            "no guest is connected to '\(path)': start one whose chardev connects there (reconnect=1)"
        case .dpdk(let device, _, _, _):
            "device '\(device)' has no carrier: check the cable or its peer"
        case .ring(let name, _):
            "no process has attached to the rings '\(name).rx' and '\(name).tx': start the network function"
        case .tap(let interface):
            "interface '\(interface)' is down: ip link set \(interface) up"
        case .endpoint: "its queues are not open"
        case .patch, .tunnel: nil
        }
    }
}
