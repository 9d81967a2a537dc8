public import Dataplane
import Networking

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
                    port: port.host == network.hostName && ports[port.deviceName] != nil ? port.deviceName : nil
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

    /// - Throws: `Refusal` for a type of documents that there is not, or a network beside it.
    public func networkDigest(_ request: NetworkDigest) throws(Refusal) -> NetworkDigest.Response {
        guard request.network == nil || request.type == nil else {
            throw Refusal("network.digest has network or type, not both")
        }
        if let id = request.network { return Self.response(network.digests(ofNetwork: id)) }
        guard let name = request.type else { return digestOfAll }
        guard let type = DocumentType(rawValue: name) else {
            let names = DocumentType.allCases.map(\.rawValue).joined(separator: ", ")
            throw Refusal("type '\(name.prefix(80))' is unknown: use one of \(names)")
        }
        return Self.response(network.digests(of: type))
    }

    private static func response(_ digests: [DocumentKey: DocumentDigest]) -> NetworkDigest.Response {
        let named = digests.map { ("\($0.key.type.rawValue)/\($0.key.id)", $0.value.description) }
        return NetworkDigest.Response(
            schema: nil,
            types: nil,
            networks: nil,
            documents: Dictionary(uniqueKeysWithValues: named)
        )
    }

    private var digestOfAll: NetworkDigest.Response {
        func describe(_ set: DocumentSetDigest) -> NetworkDigest.DocumentSet {
            NetworkDigest.DocumentSet(count: set.count, digest: set.digest.description)
        }
        let types = network.typeDigests.map { ($0.key.rawValue, describe($0.value)) }
        return NetworkDigest.Response(
            schema: DocumentText.schema,
            types: Dictionary(uniqueKeysWithValues: types),
            networks: network.networkDigests.mapValues(describe),
            documents: nil
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
