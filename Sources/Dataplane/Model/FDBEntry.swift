public import Wire

/// A station as `martletctl fdb show` prints it.
public struct FDBEntry: Hashable, Sendable {
    public let mac: MACAddress
    public let vlan: VLANID
    public let port: PortIndex
    /// Seconds since the station's last frame, to the second; 0 for a static entry.
    public let age: Int
    /// Set by an operator: never ages, never moves, never evicted.
    public let isStatic: Bool

    public init(mac: MACAddress, vlan: VLANID, port: PortIndex, age: Int, isStatic: Bool) {
        self.mac = mac
        self.vlan = vlan
        self.port = port
        self.age = age
        self.isStatic = isStatic
    }
}

public struct FDBStatistics: Hashable, Sendable {
    public var entries = 0
    public var capacity = 0
    public var learned: UInt64 = 0
    public var moved: UInt64 = 0
    public var aged: UInt64 = 0
    public var evicted: UInt64 = 0

    public init() {}
}
