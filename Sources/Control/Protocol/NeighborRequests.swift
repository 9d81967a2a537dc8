import Wire

/// `neighbor.list`: the stations that endpoints send to.
public struct NeighborList: Request {
    public static let method = "neighbor.list"
    /// An endpoint's; nil for those of all.
    public let port: String?

    public init(port: String? = nil) { self.port = port }

    public struct Response: Codable, Hashable, Sendable {
        public let neighbors: [NeighborDescription]
    }
}

/// A neighbor of an endpoint.
public struct NeighborDescription: Codable, Hashable, Sendable {
    /// The endpoint's.
    public let port: String
    public let address: String
    /// nil while nobody has answered.
    public let mac: MACAddress?
    /// Seconds since a packet went there; nil when none has.
    public let idle: Int?
}
