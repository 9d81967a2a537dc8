public import Dataplane

/// How a port takes part in VLANs, as an operator says it; `VLANPolicy` is the checked form.
public struct VLANOptions: Codable, Hashable, Sendable {
    public var tag: Int?
    public var trunks: [Int]?
    /// One of `VLANMode`'s names.
    public var mode: String?

    public init(tag: Int? = nil, trunks: [Int]? = nil, mode: String? = nil) {
        self.tag = tag
        self.trunks = trunks
        self.mode = mode
    }

    enum CodingKeys: String, CodingKey {
        case tag, trunks
        case mode = "vlan_mode"
    }

    var isEmpty: Bool { tag == nil && trunks == nil && mode == nil }
}

/// What a port looks like from outside: the *port object* of README.md.
public struct PortDescription: Codable, Hashable, Sendable {
    public let name: String
    public let bridge: String
    public let number: Int
    public let type: String
    public let options: [String: String]
    public let mtu: Int
    public let vlan: VLAN
    /// "up" when a frame given to the port now would reach a peer, else "down".
    public let link: String
    /// Why the device could not be opened; absent when it is open.
    public let error: String?
    /// In `port.show` only.
    public let details: [PortStatus.Detail]?
    public let queues: [PortStatus.Queue]?

    public struct VLAN: Codable, Hashable, Sendable {
        public let mode: String
        /// Absent in mode trunk.
        public let tag: Int?
        /// Ascending; empty means all.
        public let trunks: [Int]
    }
}

public struct PortAdd: Request {
    public static let method = "port.add"
    public typealias Response = PortDescription

    public var bridge: String
    public var name: String
    public var type: String
    public var options: [String: String]?
    /// Absent: the lowest number free on the bridge.
    public var number: Int?
    public var vlan: VLANOptions

    public init(
        bridge: String,
        name: String,
        type: String,
        options: [String: String] = [:],
        number: Int? = nil,
        vlan: VLANOptions = VLANOptions()
    ) {
        self.bridge = bridge
        self.name = name
        self.type = type
        self.options = options
        self.number = number
        self.vlan = vlan
    }

    enum CodingKeys: String, CodingKey { case bridge, name, type, options, number }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        bridge = try container.decode(String.self, forKey: .bridge)
        name = try container.decode(String.self, forKey: .name)
        type = try container.decode(String.self, forKey: .type)
        options = try container.decodeIfPresent([String: String].self, forKey: .options)
        number = try container.decodeIfPresent(Int.self, forKey: .number)
        vlan = try VLANOptions(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(bridge, forKey: .bridge)
        try container.encode(name, forKey: .name)
        try container.encode(type, forKey: .type)
        try container.encodeIfPresent(options, forKey: .options)
        try container.encodeIfPresent(number, forKey: .number)
        try vlan.encode(to: encoder)
    }
}

/// Replaces the whole VLAN policy of a port.
public struct PortSet: Request {
    public static let method = "port.set"
    public typealias Response = PortDescription

    public var name: String
    public var vlan: VLANOptions

    public init(name: String, vlan: VLANOptions) {
        self.name = name
        self.vlan = vlan
    }

    enum CodingKeys: String, CodingKey { case name }

    public init(from decoder: any Decoder) throws {
        name = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .name)
        vlan = try VLANOptions(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try vlan.encode(to: encoder)
    }
}

public struct PortDelete: Request {
    public static let method = "port.del"
    public typealias Response = Done

    public var name: String

    public init(name: String) { self.name = name }
}

public struct PortList: Request {
    public static let method = "port.list"

    public struct Response: Codable, Hashable, Sendable {
        public let ports: [PortDescription]
    }

    /// Absent: the ports of all bridges.
    public var bridge: String?

    public init(bridge: String? = nil) { self.bridge = bridge }
}

public struct PortShow: Request {
    public static let method = "port.show"
    public typealias Response = PortDescription

    public var name: String

    public init(name: String) { self.name = name }
}
