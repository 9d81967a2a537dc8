public import Wire

/// A neighbor of an endpoint, as the workers use it.
public struct NeighborEntry: Hashable, Sendable {
    public let address: IPAddress
    /// nil while it is not known.
    public let mac: MACAddress?
    /// Seconds since a worker last sent there; nil when none has.
    public let idle: UInt32?
}

extension Dataplane {
    /// Counts the neighbors that were named, so that somebody need not look for new ones in vain.
    public func namedNeighbors(of port: PortIndex) -> UInt64 { table(of: port)?.named ?? 0 }

    /// Those that were named and that nobody has forgotten, without an order.
    public func neighbors(of port: PortIndex) -> [NeighborEntry] {
        let now = Self.now
        var seen: Set<IPAddress> = []
        return (table(of: port)?.entries ?? []).compactMap { entry in
            guard seen.insert(entry.address).inserted else { return nil }
            let idle = entry.used == 0 ? nil : now &- min(entry.used, now)
            return NeighborEntry(address: entry.address, mac: entry.mac, idle: idle)
        }
    }

    /// Names a neighbor before a worker does. Nothing comes of it where there is no room.
    public func nameNeighbor(_ address: IPAddress, of port: PortIndex) {
        _ = table(of: port)?.name(address, used: 0)
    }

    /// Says which station a neighbor is, nil for none that is known.
    public func setNeighbor(_ address: IPAddress, _ mac: MACAddress?, of port: PortIndex) {
        guard let table = table(of: port) else { return }
        for entry in table.entries where entry.address == address && entry.mac != mac { table.set(entry.cell, mac) }
    }

    /// Forgets a neighbor until it is named again.
    public func removeNeighbor(_ address: IPAddress, of port: PortIndex) {
        guard let table = table(of: port) else { return }
        for entry in table.entries where entry.address == address { table.remove(entry.cell) }
    }

    /// Like `database(of:)`: not through an optional chain.
    private func table(of port: PortIndex) -> NeighborTable? { neighbors[port] }
}
