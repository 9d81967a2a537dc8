import Flows

extension FlowTables {
    /// A flow that is there, without what its rule says: 72 bytes beside that.
    struct Installed {
        let rule: UnsafeMutablePointer<Rule>
        private let tuple: UnsafeMutablePointer<Tuple>
        let addressSets: [AddressSetReference]
        /// The flow's, but for the values that its rule writes.
        let sharedActions: [Action]
        let cookie: UInt64
        /// Milliseconds of the readers' clock.
        let since: UInt64
        /// The same of its last change; to be learned again is one.
        var modified: UInt64
        /// The learn action that added it; 0 for none.
        var teacher: UInt32 = 0
        /// Seconds; they may become shorter.
        var idleTimeout: UInt16
        var hardTimeout: UInt16
        private let importance: UInt16
        let table: UInt8
        private let flags: FlowFlags
        /// Another one has its number.
        var isSucceeded = false

        /// - Parameter sharedActions: `ActionLists`' for the flow.
        init(_ flow: Flow, _ placed: PlacedRule, _ sharedActions: [Action], since: UInt64, modified: UInt64) {
            (rule, tuple) = (placed.rule, placed.tuple)
            addressSets = flow.match.addressSets
            self.sharedActions = sharedActions
            cookie = flow.cookie
            (self.since, self.modified) = (since, modified)
            (idleTimeout, hardTimeout) = (flow.idleTimeout, flow.hardTimeout)
            importance = flow.importance
            table = flow.table
            flags = flow.flags
        }

        var placed: PlacedRule { PlacedRule(rule: rule, tuple: tuple) }

        /// The flow, its match and actions made anew.
        var flow: Flow {
            var flow = Flow()
            flow.match = tuple.pointee.match(of: rule, addressSets)
            flow.actions = WrittenValues.actions(sharedActions, of: rule)
            flow.cookie = cookie
            flow.priority = rule.pointee.priority
            (flow.idleTimeout, flow.hardTimeout) = (idleTimeout, hardTimeout)
            flow.importance = importance
            flow.table = table
            flow.flags = flags
            return flow
        }
    }
}
