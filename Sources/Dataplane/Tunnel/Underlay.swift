import Wire

/// An endpoint, compiled to what a packet asks of it.
struct Endpoint {
    let port: UInt16
    /// What flows call the port, and the slot of its bridge.
    let number: UInt16
    let bridge: UInt16
    /// What frames of its VLAN must be: the port's access VLAN.
    let vlan: UInt16
    let address: IPAddress
    let mac: MACAddress
    let mask: UInt128
    let gateways: UnsafeMutablePointer<IPAddress>
    let gatewayCount: Int
    let neighbors: NeighborTable
    /// Fragments of what is for tunnels are put together.
    let joinsFragments: Bool

    /// Whether a host is on the wire, and needs no gateway.
    func isNeighbor(_ remote: IPAddress) -> Bool {
        remote.isIPv4 == address.isIPv4 && (remote.value ^ address.value) & mask == 0
    }
}

/// A tunnel port, compiled.
struct Tunnel {
    let port: UInt16
    let type: TunnelType
    /// The endpoints that it can use, by their places; `Underlay.none` where there is none.
    let endpoint4: UInt16
    let endpoint6: UInt16
    /// nil where flows say it.
    let remote: IPAddress?
    let key: TunnelOptions.Choice<UInt64>?
    let ttl: TunnelOptions.Inherited
    let tos: TunnelOptions.Inherited
    let forbidsFragments: Bool
    let hasChecksum: Bool
    let udpPort: UInt16
}

/// What tells tunnels apart for a packet that comes in.
struct TunnelSelector: Equatable {
    var type: TunnelType
    /// 0 for a protocol without one.
    var udpPort: UInt16
    var endpoint: UInt16
    /// Unspecified for any.
    var remote: IPAddress
    /// `anyKey` for any.
    var key: UInt64

    static var anyKey: UInt64 { .max }
    /// Of GRE without one.
    static var noKey: UInt64 { .max - 1 }

    fileprivate var hash: Int {
        let first = UInt64(udpPort) << 16 | UInt64(endpoint)
        return Int(truncatingIfNeeded: first.mixed(with: key).mixed(with: remote.value))
    }
}

/// The endpoints and tunnels of a configuration: part of a `ForwardingState`.
struct Underlay {
    static var none: UInt16 { .max }

    let endpoints: UnsafeMutablePointer<Endpoint>
    let endpointCount: Int
    let tunnels: UnsafeMutablePointer<Tunnel>
    let tunnelCount: Int
    /// Open addressing from selectors to tunnels; a tunnel `none` is an empty place.
    private let places: UnsafeMutablePointer<(selector: TunnelSelector, tunnel: UInt16)>
    private let placeMask: Int
    /// A tunnel that listens on each UDP port: all that do are of one type.
    private let listeners: UnsafeMutablePointer<UInt16>
    /// There are tunnels of GRE.
    let takesGRE: Bool
    /// Another one for each configuration.
    let generation: UInt32

    /// - Parameter tables: of the endpoints' neighbors, by port.
    init(
        _ configuration: SwitchConfiguration,
        generation: UInt32,
        slots: [String: UInt16],
        neighbors tables: [PortIndex: NeighborTable]
    ) {
        self.generation = generation
        let endpoints = configuration.ports.compactMap { port in
            tables[port.index].flatMap { Endpoint(port, slots, $0) }
        }
        let tunnels = configuration.ports.compactMap { Tunnel($0, endpoints) }
        endpointCount = endpoints.count
        self.endpoints = .allocate(capacity: max(endpoints.count, 1))
        self.endpoints.initialize(from: endpoints, count: endpoints.count)
        tunnelCount = tunnels.count
        self.tunnels = .allocate(capacity: max(tunnels.count, 1))
        self.tunnels.initialize(from: tunnels, count: tunnels.count)
        // A tunnel may use two endpoints; half of the places stay empty.
        var capacity = 4
        while capacity < tunnels.count * 4 { capacity *= 2 }
        placeMask = capacity - 1
        places = .allocate(capacity: capacity)
        let empty = TunnelSelector(type: .vxlan, udpPort: 0, endpoint: Self.none, remote: .unspecified, key: 0)
        places.initialize(repeating: (empty, Self.none), count: capacity)
        listeners = .allocate(capacity: Int(UInt16.max) + 1)
        listeners.initialize(repeating: Self.none, count: Int(UInt16.max) + 1)
        takesGRE = tunnels.contains { $0.type == .gre }
        for (number, tunnel) in tunnels.enumerated() { listen(UInt16(number), tunnel) }
    }

    private func listen(_ number: UInt16, _ tunnel: Tunnel) {
        if tunnel.udpPort != 0 { listeners[Int(tunnel.udpPort)] = number }
        for endpoint in [tunnel.endpoint4, tunnel.endpoint6] where endpoint != Self.none {
            let selector = tunnel.selector(endpoint)
            places[place(of: selector)] = (selector, number)
        }
    }

    func free() {
        for index in 0..<endpointCount { endpoints[index].gateways.deallocate() }
        endpoints.deallocate()
        tunnels.deallocate()
        places.deallocate()
        listeners.deallocate()
    }

    /// What tunnels listen for on a UDP port; nil where none does.
    @inline(__always)
    func type(onUDP port: UInt16) -> TunnelType? {
        let listener = listeners[Int(port)]
        return listener == Self.none ? nil : tunnels[Int(listener)].type
    }

    /// The tunnel that takes a packet: one for its key before one for any, one for its sender before one for any.
    /// - Parameter sent: what the packet says.
    func tunnel(for sent: TunnelSelector) -> UInt16 {
        let known = tunnelOfRemote(sent)
        if known != Self.none { return known }
        var selector = sent
        selector.key = TunnelSelector.anyKey
        return tunnelOfRemote(selector)
    }

    private func tunnelOfRemote(_ sent: TunnelSelector) -> UInt16 {
        var selector = sent
        let known = find(selector)
        if known != Self.none { return known }
        selector.remote = .unspecified
        return find(selector)
    }

    private func find(_ selector: TunnelSelector) -> UInt16 { places[place(of: selector)].tunnel }

    /// Where a selector is, or would be.
    private func place(of selector: TunnelSelector) -> Int {
        var place = selector.hash & placeMask
        while places[place].tunnel != Self.none && places[place].selector != selector {
            place = (place + 1) & placeMask
        }
        return place
    }

    /// The place of the endpoint with an address; `none` when there is no such.
    func endpoint(_ address: IPAddress) -> UInt16 {
        for index in 0..<endpointCount where endpoints[index].address == address { return UInt16(index) }
        return Self.none
    }
}

extension Endpoint {
    /// Nil for a port that is none.
    fileprivate init?(_ port: PortConfiguration, _ slots: [String: UInt16], _ neighbors: NeighborTable) {
        guard let options = port.endpoint, let bridge = slots[port.bridge] else { return nil }
        self.port = port.index.value
        number = port.number.value
        self.bridge = bridge
        vlan = port.vlan.tag.value
        address = options.prefix.address
        mac = options.mac
        mask = options.prefix.mask
        gatewayCount = options.gateways.count
        gateways = .allocate(capacity: max(gatewayCount, 1))
        gateways.initialize(from: options.gateways, count: gatewayCount)
        self.neighbors = neighbors
        joinsFragments = options.fragments == .reassemble
    }
}

extension Tunnel {
    /// Nil for a port that is none.
    fileprivate init?(_ port: PortConfiguration, _ endpoints: [Endpoint]) {
        guard let options = port.tunnel else { return nil }
        self.port = port.index.value
        type = options.type
        if case .fixed(let address) = options.remote { remote = address } else { remote = nil }
        key = options.key
        ttl = options.ttl
        tos = options.tos
        forbidsFragments = options.forbidsFragments
        hasChecksum = options.hasChecksum
        udpPort = options.port ?? 0
        func place(isIPv4: Bool) -> UInt16 {
            let index = endpoints.firstIndex { $0.address.isIPv4 == isIPv4 && options.uses($0.address) }
            return index.map { UInt16($0) } ?? Underlay.none
        }
        endpoint4 = place(isIPv4: true)
        endpoint6 = place(isIPv4: false)
    }

    fileprivate func selector(_ endpoint: UInt16) -> TunnelSelector {
        let number =
            switch key {
            case .fixed(let key): key
            case .flow: TunnelSelector.anyKey
            case nil: TunnelSelector.noKey
            }
        return TunnelSelector(
            type: type,
            udpPort: udpPort,
            endpoint: endpoint,
            remote: remote ?? .unspecified,
            key: number
        )
    }
}
