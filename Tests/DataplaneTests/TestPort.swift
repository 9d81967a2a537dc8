import Dataplane

extension PortConfiguration {
    /// Port `index` of a bridge, whose number is one more.
    init(
        _ index: UInt16,
        on bridge: String,
        vlan: VLANPolicy = .allTagged,
        frameLength: Int = 1514,
        peer: UInt16? = nil,
        endpoint: EndpointOptions? = nil,
        tunnel: TunnelOptions? = nil
    ) {
        self.init(
            index: PortIndex(index),
            name: "p\(index)",
            bridge: bridge,
            number: PortNumber(index + 1)!,
            vlan: vlan,
            frameLength: frameLength,
            peer: peer.map { PortIndex($0) },
            endpoint: endpoint,
            tunnel: tunnel
        )
    }
}
