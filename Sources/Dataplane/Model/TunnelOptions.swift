public import Wire

/// A protocol that carries Ethernet frames between hosts. A new one is a case here, its header in Wire, and its turn in
/// `TunnelHeader` and `TunnelReader`.
public enum TunnelType: String, Sendable, CaseIterable, BitwiseCopyable {
    /// RFC 7348.
    case vxlan
    /// RFC 2784 with the key of RFC 2890.
    case gre
    /// RFC 8926.
    case geneve

    /// The port that IANA assigned; nil for a protocol that is not on UDP.
    public var usualPort: UInt16? {
        switch self {
        case .vxlan: VXLAN.port
        case .gre: nil
        case .geneve: Geneve.port
        }
    }

    /// The largest number of a network.
    public var greatestKey: UInt64 {
        switch self {
        case .vxlan, .geneve: 0xff_ffff
        case .gre: 0xffff_ffff
        }
    }
}

/// What a tunnel port puts around a frame, and what it takes frames from.
public struct TunnelOptions: Hashable, Sendable {
    /// A value that the port has for good, or that flows give: `tun_dst`, `tun_id`.
    public enum Choice<Value: Hashable & Sendable>: Hashable, Sendable {
        case fixed(Value)
        case flow
    }

    /// A value of the outer header, or that of the frame within.
    public enum Inherited: Hashable, Sendable {
        case fixed(UInt8)
        case inherit
    }

    public var type: TunnelType
    /// Of the endpoint it uses; nil for the endpoint of the remote's kind that there is.
    public var local: IPAddress?
    public var remote: Choice<IPAddress>
    /// nil for GRE without one.
    public var key: Choice<UInt64>?
    public var ttl = Inherited.fixed(64)
    public var tos = Inherited.fixed(0)
    /// Routers must not fragment it.
    public var forbidsFragments = true
    /// A checksum of all of it: UDP's, or GRE's.
    public var hasChecksum = false
    /// Of UDP.
    public var port: UInt16?

    /// Whether packets may leave through the endpoint with an address.
    public func uses(_ endpoint: IPAddress) -> Bool {
        guard local == nil || local == endpoint else { return false }
        guard case .fixed(let remote) = remote else { return true }
        return remote.isIPv4 == endpoint.isIPv4
    }
}

/// The switch as a host of the network below: what tunnels end at.
public struct EndpointOptions: Hashable, Sendable {
    public static let gatewayLimit = 16

    /// What becomes of fragments of tunnels' packets. Whoever can send to the endpoint can fill the room for fragments, so
    /// that nobody's are put together unless somebody asked for it.
    public enum Fragments: String, Sendable, CaseIterable { case drop, reassemble }

    public var prefix: IPPrefix
    /// Next hops to what is not on the wire, each a share of the connections.
    public var gateways: [IPAddress] = []
    public var mac: MACAddress
    public var fragments: Fragments

    public init(prefix: IPPrefix, gateways: [IPAddress] = [], mac: MACAddress, fragments: Fragments = .drop) {
        self.prefix = prefix
        self.gateways = gateways
        self.mac = mac
        self.fragments = fragments
    }

    /// Where packets to a host may go first: to itself on the wire, else to one of the gateways.
    public func nextHops(to remote: IPAddress) -> [IPAddress] {
        guard remote.isIPv4 == prefix.address.isIPv4, remote != prefix.address else { return [] }
        return (remote.value ^ prefix.address.value) & prefix.mask == 0 ? [remote] : gateways
    }
}
