import Wire

// The ports that this host's switch has for documents.
extension NetworkState {
    func plannedPorts(of unit: Unit) -> [PlannedPort] {
        guard let here else { return [] }
        return switch unit {
        case .base: plannedPorts(of: here)
        case .port(let id): ports[id].flatMap(plannedPort).map { [$0] } ?? []
        // Its MTU and its VLAN are its ports'.
        case .network, .host: []
        }
    }

    private func plannedPort(of port: PortDocument) -> PlannedPort? {
        guard port.place == hostName, let interface = port.interface, let network = networks[port.network],
            let vlan = localVLANs[port.network]
        else { return nil }
        return PlannedPort(
            name: port.name,
            bridge: Self.integrationBridge,
            type: interface.type,
            options: interface.options,
            mtu: network.mtu,
            tag: vlan,
            document: DocumentKey(.port, port.id)
        )
    }

    /// Between the bridges, and into the tunnels.
    private func plannedPorts(of here: HostDocument) -> [PlannedPort] {
        var planned: [PlannedPort] = []
        for bridge in here.bridgeMappings.values {
            planned += patch("int-\(bridge)", Self.integrationBridge, "phy-\(bridge)", bridge, here)
        }
        guard let address = here.tunnelAddress else { return planned }
        planned += patch("patch-tun", Self.integrationBridge, "patch-int", Self.tunnelBridge, here)
        return planned
            + here.tunnelTypes.map { type in
                let options = ["local_ip": "\(address)", "remote_ip": "flow", "key": "flow"]
                return plannedPort(type.port, Self.tunnelBridge, type.rawValue, options, here)
            }
    }

    private func patch(
        _ name: String,
        _ bridge: String,
        _ peer: String,
        _ peerBridge: String,
        _ here: HostDocument
    ) -> [PlannedPort] {
        [
            plannedPort(name, bridge, "patch", ["peer": peer], here),
            plannedPort(peer, peerBridge, "patch", ["peer": name], here),
        ]
    }

    private func plannedPort(
        _ name: String,
        _ bridge: String,
        _ type: String,
        _ options: [String: String],
        _ here: HostDocument
    ) -> PlannedPort {
        PlannedPort(
            name: name,
            bridge: bridge,
            type: type,
            options: options,
            mtu: nil,
            tag: nil,
            document: DocumentKey(.host, here.id)
        )
    }
}

extension PortDocument {
    /// Its port's name on the switch, as Neutron's agents and nova make it (`vhu` and the first of its id).
    public var name: String { "vhu\(id.prefix(11))" }
}
