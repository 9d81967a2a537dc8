import Dataplane
import Flows

extension Switch {
    /// Asks the workers for entries of their caches; they answer between bursts.
    func cachedFlows(_ request: FlowCached) throws(Refusal) -> CacheListing {
        let limit = request.limit ?? 100
        guard (1...Dataplane.cachedEntryLimit).contains(limit) else {
            throw Refusal("limit \(limit) is outside 1 to \(Dataplane.cachedEntryLimit)")
        }
        var chosen: Set<PortIndex>?
        if let name = request.bridge {
            try bridge(name)
            chosen = Set(ports.values.filter { $0.record.bridge == name }.map(\.index))
        }
        let entries = try dataplane.cachedEntries(limit: limit, ports: chosen)
        return CacheListing(entries: entries, ports: namedPorts(), lcores: io.workers().map(\.lcore))
    }
}

/// Cached flows to be written down outside the switch.
struct CacheListing: Sendable {
    let entries: [CachedEntry]
    let ports: [PortIndex: NamedPort]
    /// By the worker's number.
    let lcores: [Int]

    var response: FlowCached.Response { FlowCached.Response(entries: entries.map(describe)) }

    private func describe(_ entry: CachedEntry) -> FlowCached.Entry {
        let port = ports[entry.port]
        let actions = ProgramText.line(entry.program) { ports[$0]?.name ?? "port \($0.value)" }
        let isSent = entry.isCut || entry.program.contains { if case .output = $0 { true } else { false } }
        return FlowCached.Entry(
            bridge: port?.bridge ?? "",
            port: port?.name ?? "",
            lcore: entry.lane < lcores.count ? lcores[entry.lane] : 0,
            exact: entry.isExact,
            match: FlowText.print(entry.match),
            actions: isSent ? actions : "drop",
            cut: entry.isCut,
            drop: isSent ? nil : entry.drop.name,
            idle: Int(entry.idle),
            sharing: entry.sharing
        )
    }
}
