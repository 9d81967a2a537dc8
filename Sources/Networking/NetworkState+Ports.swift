import Wire

// The ports that this host's switch has for documents.
extension NetworkState {
    func plannedPorts(of unit: Unit) -> [PlannedPort] {
        guard let here else { return [] }
        return switch unit {
        case .base: plannedPorts(of: here)
        case .port(let id): ports[id].flatMap(plannedPort).map { [$0] } ?? []
        // A network's MTU and its VLAN are its ports'.
        case .network, .host, .station: []
        }
    }

    private func plannedPort(of port: PortDocument) -> PlannedPort? {
        guard let interface = port.interface(on: hostName), let network = networks[port.network],
            let vlan = localVLANs[port.network]
        else { return nil }
        return PlannedPort(
            name: port.deviceName,
            bridge: Self.integrationBridge,
            type: interface.type,
            options: interface.options,
            document: DocumentKey(.port, port.id),
            mtu: network.mtu,
            tag: vlan
        )
    }

    /// Between the bridges, and into the tunnels.
    private func plannedPorts(of here: HostDocument) -> [PlannedPort] {
        let key = DocumentKey(.host, here.id)
        func port(_ name: String, _ bridge: String, _ type: String, _ options: [String: String]) -> PlannedPort {
            PlannedPort(name: name, bridge: bridge, type: type, options: options, document: key)
        }
        func patch(_ name: String, _ peer: String, on bridge: String) -> [PlannedPort] {
            [
                port(name, Self.integrationBridge, "patch", ["peer": peer]),
                port(peer, bridge, "patch", ["peer": name]),
            ]
        }
        let physical = here.bridgeMappings.values.flatMap { patch("int-\($0)", "phy-\($0)", on: $0) }
        guard let address = here.tunnelAddress else { return physical }
        let options = ["local_ip": "\(address)", "remote_ip": "flow", "key": "flow"]
        return physical + patch("patch-tun", "patch-int", on: Self.tunnelBridge)
            + here.tunnelTypes.map { port($0.port, Self.tunnelBridge, $0.rawValue, options) }
    }
}

extension PortDocument {
    /// Its port's name on the switch, as Neutron's agents and nova make it (`vhu` and the first of its id).
    public var deviceName: String { "vhu\(id.prefix(11))" }

    /// Its device on a host, where it is or moves to; nil for none.
    func interface(on host: String) -> Interface? {
        guard isUp else { return nil }
        return self.host == host ? interface : migration?.host == host ? migration?.interface : nil
    }
}
