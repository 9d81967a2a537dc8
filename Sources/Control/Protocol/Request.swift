/// One method of the control socket: the type is the method, its properties are the parameters.
///
/// README.md beside this folder lists them. Daemon and command line share these types, so that a shape is
/// written once. To add a method, add a type here and a line to `Method.all`.
public protocol Request: Codable, Sendable {
    associatedtype Response: Codable & Sendable

    static var method: String { get }
}

/// The empty result of a method that has nothing to say but that it was done.
public struct Done: Codable, Hashable, Sendable {
    public init() {}
}

public struct VersionShow: Request {
    public static let method = "version"
    public typealias Response = VersionDescription

    public init() {}
}

public struct VersionDescription: Codable, Hashable, Sendable {
    public let version: String
    /// DPDK's own version text.
    public let dpdk: String
    /// Schema version of the state file.
    public let schema: Int
}

/// Everything the switch is made of, as a tree.
public struct Show: Request {
    public static let method = "show"

    public struct Response: Codable, Hashable, Sendable {
        public let bridges: [Bridge]
    }

    public struct Bridge: Codable, Hashable, Sendable {
        public let name: String
        public let settings: BridgeOptions
        public let ports: [PortDescription]
    }

    public init() {}
}

public struct LogLevelSet: Request {
    public static let method = "log.level"

    public struct Response: Codable, Hashable, Sendable {
        public let level: String
    }

    /// Absent: only says which level it is.
    public var level: String?

    public init(level: String? = nil) { self.level = level }
}

public struct Doctor: Request {
    public static let method = "doctor"

    public struct Response: Codable, Hashable, Sendable {
        public let findings: [Finding]

        public init(findings: [Finding]) { self.findings = findings }
    }

    public init() {}
}

/// The outcome of one check of `martletctl doctor`.
public struct Finding: Codable, Hashable, Sendable {
    public let check: String
    public let ok: Bool
    /// The switch, and not just one port of it, cannot work like this.
    public let stops: Bool
    /// What is, and if it is not well, how to mend it.
    public let message: String

    public init(_ check: String, ok: Bool, stops: Bool = false, _ message: String) {
        self.check = check
        self.ok = ok
        self.stops = stops && !ok
        self.message = message
    }
}
