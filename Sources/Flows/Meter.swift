/// A meter: a limit of rate that flows name (ovs-ofctl(8), 'Meter Syntax').
public struct Meter: Hashable, Sendable {
    public enum Unit: String, Hashable, Sendable, CaseIterable {
        /// Thousands of bits a second.
        case kilobits = "kbps"
        /// Packets a second.
        case packets = "pktps"
    }

    /// What happens above `rate`.
    public struct Band: Hashable, Sendable {
        public enum Kind: Hashable, Sendable {
            case drop
            /// Raises the drop precedence of the DSCP by so much.
            case remarkDSCP(precedence: UInt8)
        }

        public var kind: Kind
        /// In the meter's unit.
        public var rate: UInt32
        /// Kilobits or packets; given when the meter has `burst`.
        public var burstSize: UInt32

        public init(kind: Kind, rate: UInt32, burstSize: UInt32 = 0) {
            self.kind = kind
            self.rate = rate
            self.burstSize = burstSize
        }
    }

    /// The greatest number of a meter (OpenFlow 1.3's OFPM_MAX).
    public static let greatestIdentifier: UInt32 = 0xffff_0000

    public var identifier: UInt32
    public var unit: Unit
    public var hasBurst = false
    public var collectsStatistics = false
    public var bands: [Band] = []

    public init(identifier: UInt32, unit: Unit) {
        self.identifier = identifier
        self.unit = unit
    }
}
