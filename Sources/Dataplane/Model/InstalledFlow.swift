public import Flows

/// A flow of a bridge, as it is counted.
public struct InstalledFlow: Hashable, Sendable {
    /// The dataplane's name of the flow, good until it is removed.
    public let number: UInt32
    public let flow: Flow
    public let statistics: FlowStatistics
}

/// Flows that go with a group or meter.
public struct OrphanedFlows: Hashable, Sendable {
    public let users: [InstalledFlow]
    /// What users learned, to be deleted with them (`delete_learned`).
    public let learned: [InstalledFlow]

    public var all: [InstalledFlow] { users + learned }

    static let none = OrphanedFlows(users: [], learned: [])
}

/// A flow that went by itself.
public struct ExpiredFlow: Hashable, Sendable {
    public enum Reason: String, Sendable {
        /// No packet for `idleTimeout` seconds.
        case idle
        /// `hardTimeout` seconds since it was added, or learned last.
        case hard
        /// It was learned, and made room for another one.
        case eviction
        /// It was learned, and what taught it has gone (`delete_learned`).
        case delete
    }

    public let bridge: String
    public let flow: InstalledFlow
    public let reason: Reason
}
