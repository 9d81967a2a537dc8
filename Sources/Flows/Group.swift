/// A group of buckets of actions (ovs-ofctl(8), 'Group Syntax').
public struct Group: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable, CaseIterable {
        case all, select, indirect
        case fastFailover = "ff"
    }

    /// How a select group chooses a bucket.
    public enum SelectionMethod: String, Hashable, Sendable, CaseIterable {
        case hash
        case datapathHash = "dp_hash"
    }

    /// A field to hash, under a mask.
    public struct HashField: Hashable, Sendable {
        public let field: Field
        public let mask: UInt128

        public init(field: Field, mask: UInt128) {
            self.field = field
            self.mask = mask
        }
    }

    /// The greatest number of a group (OpenFlow 1.1's OFPG_MAX).
    public static let greatestIdentifier: UInt32 = 0xffff_ff00

    public var identifier: UInt32
    public var kind: Kind
    /// nil leaves the choice to the switch.
    public var selectionMethod: SelectionMethod?
    public var selectionParameter: UInt64 = 0
    public var hashFields: [HashField] = []
    public var buckets: [Bucket] = []

    public init(identifier: UInt32, kind: Kind) {
        self.identifier = identifier
        self.kind = kind
    }
}

/// One alternative of a group.
public struct Bucket: Hashable, Sendable {
    /// The bucket's number within its group.
    public var identifier: UInt32
    /// The share of packets in a select group; 0 elsewhere.
    public var weight: UInt16
    /// The bucket is live while this port, or this group, is.
    public var watchPort: FlowPort?
    public var watchGroup: UInt32?
    public var actions: [Action] = []

    public init(identifier: UInt32, weight: UInt16 = 0) {
        self.identifier = identifier
        self.weight = weight
    }
}
