/// `learn(...)`: adds or changes a flow, made from the packet (ovs-actions(7), 'The learn action').
public struct Learn: Hashable, Sendable {
    /// One part of the flow to learn.
    public enum Specification: Hashable, Sendable {
        /// Match a field with a value: `eth_type=0x800`.
        case matchValue(Subfield, UInt128)
        /// Match a field with one of the packet: `NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]`.
        case matchField(Subfield, from: Subfield)
        /// Load a value: `load:5->NXM_NX_REG0[]`.
        case loadValue(Subfield, UInt128)
        /// Load a field of the packet: `load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[]`.
        case loadField(Subfield, from: Subfield)
        /// Output to the port whose number a field of the packet has: `output:NXM_OF_IN_PORT[]`.
        case output(Subfield)
    }

    public var table: UInt8 = 1
    public var priority: UInt16 = Flow.defaultPriority
    /// In seconds; 0 is never.
    public var idleTimeout: UInt16 = 0
    public var hardTimeout: UInt16 = 0
    public var finIdleTimeout: UInt16 = 0
    public var finHardTimeout: UInt16 = 0
    public var cookie: UInt64 = 0
    public var sendsFlowRemoved = false
    public var deletesLearned = false
    /// The number of flows with the cookie beyond which none is learned; 0 is no limit.
    public var limit: UInt32 = 0
    /// The bit to write with whether the flow could be learned.
    public var result: Subfield?
    public var specifications: [Specification] = []

    public init() {}
}
