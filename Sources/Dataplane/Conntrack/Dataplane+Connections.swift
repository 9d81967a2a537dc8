public import Wire

/// A connection as it was when it was read.
public struct TrackedConnection: Sendable {
    /// Of one direction. Ports are 0 where the protocol has none; `sourcePort` of an ICMP query is its identifier, and
    /// `destinationPort` its type.
    public struct Direction: Hashable, Sendable {
        public let source: IPAddress
        public let destination: IPAddress
        public let sourcePort: UInt16
        public let destinationPort: UInt16

        fileprivate init(_ tuple: ConnectionTuple) {
            (source, destination) = (tuple.source, tuple.destination)
            (sourcePort, destinationPort) = (tuple.sourcePort, tuple.destinationPort)
        }
    }

    public let zone: UInt16
    public let protocolNumber: UInt8
    /// As the first packet had it, and as the answers have it.
    public let original: Direction
    public let reply: Direction
    public let mark: UInt32
    public let label: UInt128
    /// Of TCP: the state of the side that has come further, as `ovs-appctl dpctl/dump-conntrack` names it.
    public let tcpState: String?
    /// What listens to it for other connections, as flows name it.
    public let helper: String?
    /// Seconds until its end, if nothing more comes.
    public let timeout: UInt32
    /// Seconds since its beginning.
    public let age: UInt32
}

/// Which connections; all that is given must hold, for the first packet of a connection.
public struct ConnectionFilter: Sendable {
    public var zone: UInt16?
    public var protocolNumber: UInt8?
    public var source: IPPrefix?
    public var destination: IPPrefix?
    public var sourcePort: UInt16?
    public var destinationPort: UInt16?
    public var mark: UInt32?

    public init() {}

    fileprivate func holds(_ tuple: ConnectionTuple, mark: UInt32) -> Bool {
        (zone == nil || zone == tuple.zone) && (protocolNumber == nil || protocolNumber == tuple.protocolNumber)
            && (source?.contains(tuple.source) ?? true) && (destination?.contains(tuple.destination) ?? true)
            && (sourcePort == nil || sourcePort == tuple.sourcePort)
            && (destinationPort == nil || destinationPort == tuple.destinationPort)
            && (self.mark == nil || self.mark == mark)
    }
}

/// What of connection tracking can be set.
public struct TrackingSettings: Hashable, Sendable {
    /// Seconds, by the names of ovs-vswitchd.conf.db(5), 'CT_Timeout_Policy'.
    public var timeouts: [String: UInt32] = [:]
    /// The most connections of a zone; 0 for no limit of its own.
    public var limits: [UInt16: UInt32] = [:]
    /// Segments of TCP are not held against the windows.
    public var isLiberal = false

    public static let timeoutNames = TrackTimeout.allCases.map(\.name)

    public init() {}
}

extension Dataplane {
    /// Connections whose numbers begin at `first`, in the order of those.
    /// - Parameters:
    ///   - limit: the most of them.
    ///   - next: gets the number to go on with; nil when there are no more.
    public func connections(
        _ filter: ConnectionFilter,
        from first: UInt32 = 1,
        limit: Int,
        next: inout UInt32?
    ) -> [TrackedConnection] {
        var found: [TrackedConnection] = []
        let now = Self.now
        for number in max(first, 1)..<max(connections.numberLimit, max(first, 1)) {
            guard let connection = connections.snapshot(number, filter, now: now) else { continue }
            guard found.count < limit else {
                next = number
                return found
            }
            found.append(connection)
        }
        next = nil
        return found
    }

    /// Ends connections: their packets are of none from now on.
    /// - Returns: how many there were.
    public func flushConnections(_ filter: ConnectionFilter) -> Int {
        var count = 0
        for number in 1..<connections.numberLimit {
            guard let stamp = connections.stamp(of: number, filter) else { continue }
            if connections.remove(number, stamp: stamp, share: lanes.count) { count += 1 }
        }
        return count
    }

    /// How connections are followed. A setter that is given fewer timeouts or limits leaves the others as they are.
    public var trackingSettings: TrackingSettings {
        get {
            var settings = TrackingSettings()
            settings.isLiberal = connections.isLiberal
            for timeout in TrackTimeout.allCases { settings.timeouts[timeout.name] = connections.seconds(timeout) }
            for zone in UInt16.min...UInt16.max where connections.usage(of: zone).limit != 0 {
                settings.limits[zone] = connections.usage(of: zone).limit
            }
            return settings
        }
        set {
            connections.isLiberal = newValue.isLiberal
            for timeout in TrackTimeout.allCases {
                if let seconds = newValue.timeouts[timeout.name] { connections.setTimeout(timeout, seconds: seconds) }
            }
            for (zone, limit) in newValue.limits { connections.setLimit(limit, zone: zone) }
        }
    }

    public var connectionStatistics: ConnectionStatistics { connections.statistics() }

    /// The zones with a limit of their own, and how many connections they have.
    public var limitedZones: [(zone: UInt16, count: UInt32, limit: UInt32)] {
        (UInt16.min...UInt16.max).compactMap { zone in
            let (count, limit) = connections.usage(of: zone)
            return limit == 0 ? nil : (zone, count, limit)
        }
    }
}

extension ConnectionTable {
    /// What is known of a number now, if that is a connection that a filter asks for. Marks may have changed meanwhile.
    fileprivate func stamp(of number: UInt32, _ filter: ConnectionFilter) -> UInt32? {
        let stamp = self[number].pointee.stamp.load(ordering: .acquiring)
        guard stamp & 1 != 0 else { return nil }
        return filter.holds(tuple(of: number), mark: self[number].pointee.mark.load(ordering: .relaxed)) ? stamp : nil
    }

    fileprivate func snapshot(_ number: UInt32, _ filter: ConnectionFilter, now: UInt32) -> TrackedConnection? {
        guard let stamp = stamp(of: number, filter) else { return nil }
        let (connection, tuple) = (self[number], tuple(of: number))
        let left = Int32(bitPattern: connection.pointee.expiry.load(ordering: .relaxed) &- now)
        let copy = TrackedConnection(
            zone: tuple.zone,
            protocolNumber: tuple.protocolNumber,
            original: .init(tuple),
            reply: .init(reply(of: number)),
            mark: connection.pointee.mark.load(ordering: .relaxed),
            label: connection.pointee.label,
            tcpState: tuple.isTCP ? connection.pointee.tcp.name : nil,
            helper: ConnectionState(word: connection.pointee.state.load(ordering: .relaxed)).helper.name,
            timeout: UInt32(max(left, 0)),
            age: now &- min(connection.pointee.began.load(ordering: .relaxed), now)
        )
        // Over, or another's by now.
        return left > 0 && connection.pointee.stamp.load(ordering: .acquiring) == stamp ? copy : nil
    }
}

extension ConnectionTuple {
    fileprivate var source: IPAddress { address(sourceHigh, sourceLow) }
    fileprivate var destination: IPAddress { address(destinationHigh, destinationLow) }

    private func address(_ high: UInt64, _ low: UInt64) -> IPAddress {
        isIPv6
            ? IPAddress(IPv6Address(value: UInt128(high) << 64 | UInt128(low)))
            : IPAddress(IPv4Address(value: UInt32(truncatingIfNeeded: low)))
    }
}

extension TCPState {
    fileprivate var name: String {
        switch max(peers.originator.phase, peers.responder.phase) {
        case .closed: "CLOSED"
        case .synSent: "SYN_SENT"
        case .established: "ESTABLISHED"
        case .closing: "CLOSING"
        case .finWait2: "FIN_WAIT_2"
        case .timeWait: "TIME_WAIT"
        }
    }
}
