public import Dataplane
import Wire

extension Switch {
    public func showFDB(_ request: FDBShow) throws(Refusal) -> FDBShow.Response {
        try bridge(request.bridge)
        let names = portNames()
        return FDBShow.Response(
            entries: dataplane.fdb(of: request.bridge).map { entry in
                FDBShow.Entry(
                    mac: entry.mac.description,
                    vlan: Int(entry.vlan.value),
                    port: names[entry.port] ?? "",
                    age: entry.age,
                    static: entry.isStatic
                )
            },
            statistics: try fdbStatistics(FDBStats(bridge: request.bridge))
        )
    }

    public func fdbStatistics(_ request: FDBStats) throws(Refusal) -> FDBStats.Response {
        try bridge(request.bridge)
        let statistics = dataplane.fdbStatistics(of: request.bridge)
        return FDBStats.Response(
            entries: statistics.entries,
            capacity: statistics.capacity,
            learned: statistics.learned,
            moved: statistics.moved,
            aged: statistics.aged,
            evicted: statistics.evicted
        )
    }

    /// Adds a static entry, or leads an existing one elsewhere.
    /// - Throws: `Refusal` for an address, VLAN or port that cannot be, or a table full of static entries.
    public func addStation(_ request: FDBAdd) throws(Refusal) -> Done {
        let station = try station(bridge: request.bridge, mac: request.mac, vlan: request.vlan)
        let port = try port(request.port, on: request.bridge)
        let former = stations[station].flatMap { ports[$0] }
        try install(station, at: port)
        do {
            try store.put(station, port: request.port)
        } catch {
            _ = dataplane.fdbRemove(station.mac, vlan: station.vlan, on: station.bridge)
            // There was room for it a moment ago.
            if let former { try install(station, at: former) }
            throw error
        }
        stations[station] = request.port
        return Done()
    }

    /// Removes one entry, static or learned.
    public func deleteStation(_ request: FDBDelete) throws(Refusal) -> Done {
        let station = try station(bridge: request.bridge, mac: request.mac, vlan: request.vlan)
        let isStatic = stations[station] != nil
        if isStatic { try store.delete(station) }
        stations[station] = nil
        let removed = dataplane.fdbRemove(station.mac, vlan: station.vlan, on: station.bridge)
        guard removed || isStatic else {
            throw Refusal("bridge '\(request.bridge)' knows no station \(station.mac) in VLAN \(station.vlan)")
        }
        return Done()
    }

    /// Forgets learned entries.
    public func flushFDB(_ request: FDBFlush) throws(Refusal) -> FDBFlush.Response {
        try bridge(request.bridge)
        var index: PortIndex?
        if let name = request.port { index = try port(name, on: request.bridge).index }
        var vlan: VLANID?
        if let number = request.vlan { vlan = try VLANID(checking: number) }
        return FDBFlush.Response(flushed: dataplane.fdbFlush(bridge: request.bridge, port: index, vlan: vlan))
    }

    func portNames() -> [PortIndex: String] {
        Dictionary(uniqueKeysWithValues: ports.values.map { ($0.index, $0.record.name) })
    }

    /// A port without a device is not in the dataplane: its stations follow when it is opened.
    private func install(_ station: Station, at port: Port) throws(Refusal) {
        guard port.failure == nil else { return }
        try dataplane.fdbAdd(station.mac, vlan: station.vlan, port: port.index, on: station.bridge)
    }

    private func station(bridge name: String, mac: String, vlan: Int?) throws(Refusal) -> Station {
        try bridge(name)
        return Station(
            bridge: name,
            mac: try MACAddress(checkingStation: mac),
            vlan: try VLANID(checking: vlan ?? 0)
        )
    }

    private func port(_ name: String, on bridge: String) throws(Refusal) -> Port {
        let port = try port(name)
        guard port.record.bridge == bridge else {
            throw Refusal("port '\(name)' is on bridge '\(port.record.bridge)' and not on '\(bridge)'")
        }
        return port
    }
}
