import Dataplane

/// The settings of a bridge as the socket and `martletctl` name them; what is absent takes its default in
/// `bridge.add` and stays as it is in `bridge.set`.
public struct BridgeOptions: Codable, Hashable, Sendable {
    public var fdbCapacity: Int?
    /// Seconds.
    public var fdbAgeing: Int?
    public var forwardReserved: Bool?

    enum CodingKeys: String, CodingKey {
        case fdbCapacity = "fdb_capacity"
        case fdbAgeing = "fdb_ageing"
        case forwardReserved = "forward_reserved"
    }

    public init(fdbCapacity: Int? = nil, fdbAgeing: Int? = nil, forwardReserved: Bool? = nil) {
        self.fdbCapacity = fdbCapacity
        self.fdbAgeing = fdbAgeing
        self.forwardReserved = forwardReserved
    }

    init(_ settings: BridgeSettings) {
        self.init(
            fdbCapacity: settings.fdbCapacity,
            fdbAgeing: settings.fdbAgeing,
            forwardReserved: settings.forwardsReserved
        )
    }

    /// `settings` with what is given here put in.
    /// - Throws: `Refusal` for a value outside its range.
    func applied(to settings: BridgeSettings) throws(Refusal) -> BridgeSettings {
        var settings = settings
        settings.fdbCapacity = fdbCapacity ?? settings.fdbCapacity
        settings.fdbAgeing = fdbAgeing ?? settings.fdbAgeing
        settings.forwardsReserved = forwardReserved ?? settings.forwardsReserved
        try settings.validate()
        return settings
    }
}

public struct BridgeAdd: Request {
    public static let method = "bridge.add"
    public typealias Response = Done

    public var name: String
    public var options: BridgeOptions

    public init(name: String, options: BridgeOptions = BridgeOptions()) {
        self.name = name
        self.options = options
    }

    public init(from decoder: any Decoder) throws {
        (name, options) = try decodeNamedOptions(decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        try encodeNamedOptions(name, options, to: encoder)
    }
}

public struct BridgeSet: Request {
    public static let method = "bridge.set"
    public typealias Response = Done

    public var name: String
    public var options: BridgeOptions

    public init(name: String, options: BridgeOptions) {
        self.name = name
        self.options = options
    }

    public init(from decoder: any Decoder) throws {
        (name, options) = try decodeNamedOptions(decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        try encodeNamedOptions(name, options, to: encoder)
    }
}

/// Removes a bridge, and its ports with it.
public struct BridgeDelete: Request {
    public static let method = "bridge.del"
    public typealias Response = Done

    public var name: String

    public init(name: String) { self.name = name }
}

public struct BridgeList: Request {
    public static let method = "bridge.list"

    public struct Response: Codable, Hashable, Sendable {
        public let bridges: [Bridge]
    }

    public struct Bridge: Codable, Hashable, Sendable {
        public let name: String
        public let fdbCapacity: Int
        public let fdbAgeing: Int
        public let forwardReserved: Bool
        /// How many.
        public let ports: Int

        enum CodingKeys: String, CodingKey {
            case name, ports
            case fdbCapacity = "fdb_capacity"
            case fdbAgeing = "fdb_ageing"
            case forwardReserved = "forward_reserved"
        }
    }

    public init() {}
}

// A name and options share one JSON object in `bridge.add` and `bridge.set`.

private enum NameKey: String, CodingKey { case name }

private func decodeNamedOptions(_ decoder: any Decoder) throws -> (String, BridgeOptions) {
    let name = try decoder.container(keyedBy: NameKey.self).decode(String.self, forKey: .name)
    return (name, try BridgeOptions(from: decoder))
}

private func encodeNamedOptions(_ name: String, _ options: BridgeOptions, to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: NameKey.self)
    try container.encode(name, forKey: .name)
    try options.encode(to: encoder)
}
