import Dataplane
import Network

extension Switch {
    public func listNetworks() -> NetworkList.Response {
        NetworkList.Response(networks: network.networksInOrder.map(describe))
    }

    public func showNetwork(_ request: NetworkShow) throws(Refusal) -> NetworkShow.Response {
        guard let found = network.network(request.id) else {
            throw Refusal(
                "network '\(request.id.prefix(80))' is not known, or its name is several networks': "
                    + "network list shows ids"
            )
        }
        return NetworkShow.Response(
            network: describe(found),
            ports: network.ports(of: found.id).map { port in
                NetworkShow.Port(
                    id: port.id,
                    mac: port.mac,
                    fixedIPs: port.addresses.map(\.description),
                    host: port.host,
                    isUp: port.isUp,
                    port: port.host == network.hostName && ports[port.name] != nil ? port.name : nil
                )
            },
            floodingEntries: network.floodingEntries(of: found.id).map(\.description)
        )
    }

    public func listTunnels() -> TunnelList.Response {
        TunnelList.Response(
            tunnels: network.tunnels.map { tunnel in
                TunnelList.Tunnel(
                    host: tunnel.host,
                    type: tunnel.type.rawValue,
                    localIP: tunnel.local.description,
                    remoteIP: tunnel.remote.description,
                    networks: tunnel.networkCount,
                    entries: tunnel.portCount
                )
            }
        )
    }

    private func describe(_ document: NetworkDocument) -> NetworkDescription {
        NetworkDescription(
            id: document.id,
            name: document.name,
            networkType: document.segment.type,
            physicalNetwork: document.segment.physicalNetwork,
            segmentationID: document.segment.number,
            mtu: document.mtu,
            localVLAN: network.localVLAN(of: document.id)?.value,
            ports: network.portCount(of: document.id),
            hosts: network.hosts(of: document.id)
        )
    }
}
