public import Dataplane
import Logging
import Wire

/// An endpoint as it runs.
struct RunningEndpoint {
    var host: EndpointHost
    let port: PortIndex
    /// How many neighbors the workers had named at the last tick, and when that was.
    var named: UInt64 = 0
    var ticked: UInt64 = 0
    /// It has said where it is.
    var hasGreeted = false
    /// The version of the tunnels' other ends that its host expects.
    var remotes: UInt64 = 0
}

// Endpoints are hosts of the networks that tunnels cross: their frames come to the control plane, through the queue of
// their port, and so do the questions for neighbors that workers send to.
extension Switch {
    /// Frames of an endpoint that are taken at a time: what comes beyond fills its queue, and is counted there.
    private static let frameLimit = 64
    /// Milliseconds between two looks at all neighbors.
    private static let tickInterval: UInt64 = 500
    /// Half of those that an endpoint keeps: workers find room as well.
    private static let expectedLimit = 2048

    /// Brings the endpoints to what the ports say.
    func updateEndpoints() {
        var running: [String: RunningEndpoint] = [:]
        for (name, port) in ports {
            guard case .endpoint(let options) = port.record.type, port.failure == nil else { continue }
            if let known = endpoints[name], known.host.options == options, known.port == port.index {
                running[name] = known
            } else {
                running[name] = RunningEndpoint(host: EndpointHost(options), port: port.index)
            }
        }
        endpoints = running
        remotesVersion += 1
        endpointCount.store(running.count, ordering: .relaxed)
    }

    /// Answers what endpoints were asked, and finds the stations of their neighbors.
    func followEndpoints() {
        let now = Dataplane.milliseconds
        for name in endpoints.keys {
            guard var endpoint = endpoints[name] else { continue }
            if !endpoint.hasGreeted { _ = io.send(endpoint.host.greeting(), from: endpoint.port) }
            endpoint.hasGreeted = true
            for frame in io.take(from: endpoint.port, limit: Self.frameLimit) {
                perform(endpoint.host.receive(frame, now: now), of: endpoint.port)
            }
            let named = dataplane.namedNeighbors(of: endpoint.port)
            if named != endpoint.named || now >= endpoint.ticked + Self.tickInterval {
                (endpoint.named, endpoint.ticked) = (named, now)
                expectNeighbors(of: &endpoint)
                let named = dataplane.neighbors(of: endpoint.port).map { entry in
                    (address: entry.address, idle: entry.idle.map { UInt64($0) * 1000 })
                }
                perform(endpoint.host.tick(named, now: now), of: endpoint.port)
            }
            endpoints[name] = endpoint
        }
    }

    /// Tells an endpoint the next hops to the hosts that ports and documents name, so that it asks for them before packets
    /// wait for that, or for their copies, which do not wait, are lost.
    private func expectNeighbors(of endpoint: inout RunningEndpoint) {
        guard endpoint.remotes != remotesVersion else { return }
        endpoint.remotes = remotesVersion
        let options = endpoint.host.options
        let address = options.prefix.address
        var remotes = network.tunnelAddress == address ? network.remotes : []
        for port in ports.values {
            guard let tunnel = port.record.type.tunnel, case .fixed(let remote) = tunnel.remote,
                self.endpoint(of: tunnel).flatMap({ endpoints[$0] })?.port == endpoint.port
            else { continue }
            remotes.insert(remote)
        }
        let hops = Set(remotes.flatMap(options.nextHops)).sorted { $0.value < $1.value }
        endpoint.host.expected = Set(hops.prefix(Self.expectedLimit))
    }

    /// The bridge knows where an endpoint's station is, whatever others say.
    func installEndpoint(of port: Port) {
        guard case .endpoint(let options) = port.record.type else { return }
        do {
            let (vlan, bridge) = (port.record.vlan.tag, port.record.bridge)
            try dataplane.fdbAdd(options.mac, vlan: vlan, port: port.index, on: bridge)
        } catch {
            let metadata: Logger.Metadata = ["port": "\(port.record.name)", "reason": "\(error)"]
            logger.error("endpoint's station left out", metadata: metadata)
        }
    }

    /// Before the endpoint is in another VLAN.
    func removeEndpoint(of port: Port) {
        guard case .endpoint(let options) = port.record.type else { return }
        _ = dataplane.fdbRemove(options.mac, vlan: port.record.vlan.tag, on: port.record.bridge)
    }

    private func perform(_ deeds: [EndpointHost.Deed], of port: PortIndex) {
        for deed in deeds {
            switch deed {
            // A question that finds no room is asked again.
            case .send(let frame): _ = io.send(frame, from: port)
            case .set(let address, let mac): dataplane.setNeighbor(address, mac, of: port)
            case .name(let address): dataplane.nameNeighbor(address, of: port)
            case .forget(let address): dataplane.removeNeighbor(address, of: port)
            }
        }
    }

    /// The neighbors of one endpoint, or of all.
    /// - Throws: `Refusal` for a port that is no endpoint.
    public func listNeighbors(_ request: NeighborList) throws(Refusal) -> NeighborList.Response {
        if let name = request.port {
            guard case .endpoint = try port(name).record.type else {
                throw Refusal("port '\(name)' is no endpoint: port list shows their types")
            }
        }
        let names = request.port.map { [$0] } ?? endpoints.keys.sorted()
        return NeighborList.Response(
            neighbors: names.flatMap { name in
                (endpoints[name].map { dataplane.neighbors(of: $0.port) } ?? [])
                    .sorted { $0.address.value < $1.address.value }
                    .map { entry in
                        NeighborDescription(
                            port: name,
                            address: entry.address.description,
                            mac: entry.mac,
                            idle: entry.idle.map(Int.init)
                        )
                    }
            }
        )
    }

    // MARK: Checks of `port add`

    /// - Throws: `Refusal` for an address or a VLAN that the endpoint cannot have.
    func checkEndpoint(
        _ options: EndpointOptions,
        of record: PortRecord,
        beside others: [String: PortRecord]
    ) throws(Refusal) {
        let mode = record.vlan.mode
        guard mode == .access || mode == .trunk && record.vlan.trunks.isEmpty else {
            throw Refusal("an endpoint is in one VLAN: give a --tag, and no trunks or other VLAN mode")
        }
        for port in others.values {
            guard case .endpoint(let other) = port.type, port.name != record.name else { continue }
            if other.prefix.address == options.prefix.address {
                throw Refusal("address \(options.prefix.address) belongs to port '\(port.name)' already")
            }
            if other.mac == options.mac && port.bridge == record.bridge {
                throw Refusal("MAC address \(options.mac) belongs to port '\(port.name)' already: give another")
            }
        }
    }

    /// - Throws: `Refusal` for a tunnel whose packets another one takes.
    func checkTunnel(
        _ options: TunnelOptions,
        of record: PortRecord,
        beside others: [String: PortRecord]
    ) throws(Refusal) {
        for port in others.values {
            guard case .tunnel(let other) = port.type else { continue }
            let name = port.name
            if other.type != options.type, let udp = options.port, other.port == udp {
                let type = other.type.rawValue
                throw Refusal("UDP port \(udp) is that of '\(name)', of type \(type): give another dst_port")
            }
            if other.type == options.type && other.port == options.port && other.remote == options.remote
                && other.key == options.key
                && (other.local == options.local || other.local == nil || options.local == nil)
            {
                throw Refusal("port '\(name)' takes the same packets: give another remote_ip or key")
            }
        }
    }

    /// Why a tunnel's packets go nowhere, and the mend; nil for a port that is no tunnel, or has an endpoint.
    func reasonForNoEndpoint(of port: Port) -> String? {
        guard let tunnel = port.record.type.tunnel, endpoint(of: tunnel) == nil else { return nil }
        return "no endpoint has " + (tunnel.local.map { "address \($0)" } ?? "an address of the remote's kind")
            + ": add a port of type endpoint"
    }

    /// The endpoint that a tunnel's packets leave through; nil when there is none.
    func endpoint(of options: TunnelOptions) -> String? {
        // The first of several, as the dataplane takes it.
        endpoints.filter { options.uses($0.value.host.options.prefix.address) }
            .min { $0.value.port.value < $1.value.port.value }?.key
    }
}
