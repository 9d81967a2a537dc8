/// Entries of the workers' flow caches, in no order.
public struct FlowCached: Request {
    public static let method = "flow.cached"

    public struct Response: Codable, Hashable, Sendable {
        public let entries: [Entry]
    }

    public struct Entry: Codable, Hashable, Sendable {
        public let bridge: String
        public let port: String
        /// Of the worker whose it is.
        public let lcore: Int
        /// Answers for one connection; else for all packets that its program holds good for.
        public let exact: Bool
        public let match: String
        /// As in `trace`: edits and ports, or "drop".
        public let actions: String
        /// There is more of `actions`.
        public let cut: Bool
        /// The name of a `DropReason` where the packets go nowhere.
        public let drop: String?
        /// Seconds since the last packet.
        public let idle: Int
        /// Entries of the worker that have the same program, this one too.
        public let sharing: Int
    }

    /// Absent: of packets that come in on any bridge.
    public var bridge: String?
    /// The most entries, 1 to 4096; 100 when absent.
    public var limit: Int?

    public init(bridge: String? = nil, limit: Int? = nil) {
        self.bridge = bridge
        self.limit = limit
    }
}
