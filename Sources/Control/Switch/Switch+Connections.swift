import Dataplane
import Wire

extension Switch {
    func dumpConnections(_ request: ConntrackDump) throws(Refusal) -> ConnectionListing {
        let limit = request.limit ?? Self.connectionLimit
        guard (1...Self.connectionLimit).contains(limit) else {
            throw Refusal("limit \(limit) is outside 1 to \(Self.connectionLimit)")
        }
        guard let first = UInt32(exactly: request.from ?? 1) else {
            throw Refusal("from \(request.from ?? 0) is no place")
        }
        var next: UInt32?
        let filter = try ConnectionFilter(request.selection)
        let connections = dataplane.connections(filter, from: first, limit: limit, next: &next)
        return ConnectionListing(connections: connections, next: next)
    }

    func flushConnections(_ request: ConntrackFlush) throws(Refusal) -> ConntrackFlush.Response {
        ConntrackFlush.Response(flushed: dataplane.flushConnections(try ConnectionFilter(request.selection)))
    }

    public func connectionStatistics() -> ConntrackStats.Response {
        let statistics = dataplane.connectionStatistics
        return ConntrackStats.Response(
            connections: statistics.count,
            capacity: statistics.capacity,
            created: statistics.created,
            expired: statistics.expired,
            evicted: statistics.evicted,
            refused: statistics.refused
        )
    }

    func setTracking(_ request: ConntrackSet) throws(Refusal) -> Done {
        var change = dataplane.trackingSettings
        change.isLiberal = request.liberal ?? change.isLiberal
        for (name, seconds) in request.timeouts ?? [:] {
            guard TrackingSettings.timeoutNames.contains(name) else {
                let known = TrackingSettings.timeoutNames.joined(separator: ", ")
                throw Refusal("timeout '\(name)' is unknown: use \(known)")
            }
            guard (1...Self.longestTimeout).contains(seconds) else {
                throw Refusal("timeout \(name) \(seconds) is outside 1 to \(Self.longestTimeout) seconds")
            }
            change.timeouts[name] = UInt32(seconds)
        }
        for (name, limit) in request.limits ?? [:] {
            guard let zone = UInt16(name) else { throw Refusal("zone '\(name)' is outside 0 to 65535") }
            guard let most = UInt32(exactly: limit) else {
                throw Refusal("limit \(limit) is outside 0 to \(UInt32.max)")
            }
            change.limits[zone] = most
        }
        try store.setTracking(change)
        dataplane.trackingSettings = change
        return Done()
    }

    func trackingSettings() -> ConntrackSettings.Response {
        let settings = dataplane.trackingSettings
        return ConntrackSettings.Response(
            timeouts: settings.timeouts.mapValues(Int.init),
            limits: Dictionary(uniqueKeysWithValues: settings.limits.map { ("\($0.key)", Int($0.value)) }),
            liberal: settings.isLiberal
        )
    }

    /// A year.
    private static let longestTimeout = 365 * 24 * 60 * 60

    /// The most connections of one answer.
    private static let connectionLimit = 4096
}

/// Connections to be written down outside the switch.
struct ConnectionListing: Sendable {
    let connections: [TrackedConnection]
    let next: UInt32?

    var response: ConntrackDump.Response {
        ConntrackDump.Response(connections: connections.map(describe), next: next.map(Int.init))
    }

    private func describe(_ connection: TrackedConnection) -> ConntrackDump.Connection {
        ConntrackDump.Connection(
            zone: Int(connection.zone),
            protocol: Int(connection.protocolNumber),
            original: describe(connection.original),
            reply: describe(connection.reply),
            mark: Int(connection.mark),
            label: "0x" + String(connection.label, radix: 16),
            state: connection.tcpState,
            helper: connection.helper,
            timeout: Int(connection.timeout),
            age: Int(connection.age)
        )
    }

    private func describe(_ direction: TrackedConnection.Direction) -> ConntrackDump.Direction {
        ConntrackDump.Direction(
            source: direction.source.description,
            destination: direction.destination.description,
            sourcePort: Int(direction.sourcePort),
            destinationPort: Int(direction.destinationPort)
        )
    }
}

extension ConnectionFilter {
    fileprivate init(_ selection: ConnectionSelection?) throws(Refusal) {
        self.init()
        guard let selection else { return }
        zone = try Self.number(selection.zone, "zone")
        protocolNumber = try selection.protocol.map(Self.protocolNumber)
        source = try selection.source.map(Self.prefix)
        destination = try selection.destination.map(Self.prefix)
        sourcePort = try Self.number(selection.sourcePort, "source port")
        destinationPort = try Self.number(selection.destinationPort, "destination port")
        mark = try Self.number(selection.mark, "mark")
    }

    private static func number<Number: FixedWidthInteger>(_ value: Int?, _ name: String) throws(Refusal) -> Number? {
        guard let value else { return nil }
        guard let number = Number(exactly: value) else {
            throw Refusal("\(name) \(value) is outside 0 to \(Number.max)")
        }
        return number
    }

    private static let names: [String: UInt8] = [
        "icmp": IPProtocol.icmp, "icmpv6": IPProtocol.icmpv6, "sctp": IPProtocol.sctp, "tcp": IPProtocol.tcp,
        "udp": IPProtocol.udp,
    ]

    private static func protocolNumber(_ text: String) throws(Refusal) -> UInt8 {
        guard let number = names[text] ?? UInt8(text) else {
            let known = names.keys.sorted().joined(separator: ", ")
            throw Refusal("protocol '\(text)' is unknown: use \(known), or a number from 0 to 255")
        }
        return number
    }

    private static func prefix(_ text: String) throws(Refusal) -> IPPrefix {
        if let prefix = IPPrefix(text) { return prefix }
        guard let address = IPAddress(text), let prefix = IPPrefix(address, length: address.width) else {
            throw Refusal("'\(text)' is neither an address nor a CIDR")
        }
        return prefix
    }
}
