/// The dense index of a port in the dataplane's arrays; it names no port to a user.
public struct PortIndex: Hashable, Sendable, Codable {
    public static let capacity = 1024

    public let value: UInt16

    public init(_ value: UInt16) {
        precondition(value < Self.capacity)
        self.value = value
    }
}

/// The number of a port on its bridge, as flows name it: 1 to 65279 (OpenFlow 1.0 section 5.2.1, as OVS limits it).
public struct PortNumber: Hashable, Comparable, Sendable, Codable {
    public static let range: ClosedRange<UInt16> = 1...65279

    public let value: UInt16

    public init?(_ value: UInt16) {
        guard Self.range.contains(value) else { return nil }
        self.value = value
    }

    public static func < (left: PortNumber, right: PortNumber) -> Bool { left.value < right.value }
}

/// What a bridge does, all of it settable.
public struct BridgeSettings: Hashable, Sendable, Codable {
    public static let fdbCapacityRange: ClosedRange<Int> = 16...1_048_576
    public static let fdbAgeingRange: ClosedRange<Int> = 1...86_400

    /// The most stations the bridge learns.
    public var fdbCapacity = 8192
    /// Seconds that a learned station is remembered after its last frame.
    public var fdbAgeing = 300
    /// Relays 01-80-C2-00-00-00 to -0F (spanning tree, LACP, LLDP ...) like any other group address.
    public var forwardsReserved = false

    public init() {}

    /// - Throws: `Refusal` for a value outside its range.
    public func validate() throws(Refusal) {
        guard Self.fdbCapacityRange.contains(fdbCapacity) else {
            throw Refusal("FDB capacity \(fdbCapacity) is outside \(Self.fdbCapacityRange.text)")
        }
        guard Self.fdbAgeingRange.contains(fdbAgeing) else {
            throw Refusal("FDB ageing \(fdbAgeing) s is outside \(Self.fdbAgeingRange.text) s")
        }
    }
}

extension ClosedRange where Bound == Int {
    /// "16 to 4096", for errors.
    public var text: String { "\(lowerBound) to \(upperBound)" }
}

/// One bridge as the dataplane runs it.
public struct BridgeConfiguration: Hashable, Sendable {
    public let name: String
    public let settings: BridgeSettings

    public init(name: String, settings: BridgeSettings) {
        self.name = name
        self.settings = settings
    }
}

/// One port as the dataplane runs it: where it is plugged and which VLANs it carries.
public struct PortConfiguration: Hashable, Sendable {
    public let index: PortIndex
    public let name: String
    public let bridge: String
    public let number: PortNumber
    public let vlan: VLANPolicy
    /// The longest frame sent to the port, in bytes: its MTU and the Ethernet header, tags not counted.
    public let frameLength: Int
    /// The other end, for a patch port.
    public let peer: PortIndex?
    /// A virtual machine is behind it, who has no business with the switch's endpoints.
    public let isGuest: Bool
    /// Of an endpoint port.
    public let endpoint: EndpointOptions?
    /// Of a tunnel port.
    public let tunnel: TunnelOptions?

    public init(
        index: PortIndex,
        name: String,
        bridge: String,
        number: PortNumber,
        vlan: VLANPolicy,
        frameLength: Int,
        peer: PortIndex? = nil,
        isGuest: Bool = false,
        endpoint: EndpointOptions? = nil,
        tunnel: TunnelOptions? = nil
    ) {
        self.index = index
        self.name = name
        self.bridge = bridge
        self.number = number
        self.vlan = vlan
        self.frameLength = frameLength
        self.peer = peer
        self.isGuest = isGuest
        self.endpoint = endpoint
        self.tunnel = tunnel
    }
}

/// Everything that decides where a frame goes. `Dataplane.commit` makes it so, at once for every packet.
public struct SwitchConfiguration: Hashable, Sendable {
    public var bridges: [BridgeConfiguration]
    public var ports: [PortConfiguration]

    public init(bridges: [BridgeConfiguration] = [], ports: [PortConfiguration] = []) {
        self.bridges = bridges
        self.ports = ports
    }
}
