public import Flows

/// A flow of a bridge, as it is counted.
public struct InstalledFlow: Hashable, Sendable {
    /// The dataplane's name of the flow, good until it is removed.
    public let number: UInt32
    public let flow: Flow
    public let statistics: FlowStatistics
}

/// A flow that went because of its age.
public struct ExpiredFlow: Hashable, Sendable {
    public enum Reason: String, Sendable {
        /// No packet for `idleTimeout` seconds.
        case idle
        /// `hardTimeout` seconds since it was added.
        case hard
    }

    public let bridge: String
    public let flow: InstalledFlow
    public let reason: Reason
}
