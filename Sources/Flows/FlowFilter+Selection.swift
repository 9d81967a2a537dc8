// Which flows a filter is about (ovs-ofctl(8), 'dump-flows' and 'del-flows').
extension FlowFilter {
    /// Whether a flow is among those that the filter is about.
    ///
    /// A loose filter selects flows whose match is as narrow as its own or narrower, of any priority; a strict one,
    /// which is one with a priority, those with the same match and priority.
    public func selects(_ flow: Flow) -> Bool {
        guard table == nil || table == flow.table, flow.cookie & cookieMask == cookie else { return false }
        if let outPort, outPort != .none, !flow.actions.output(to: outPort) { return false }
        if let outGroup, !flow.actions.goThrough(group: outGroup) { return false }
        if let priority { return priority == flow.priority && match == flow.match }
        return match.covers(flow.match)
    }
}

extension Array where Element == Action {
    /// Whether an action, at any depth, sends to a port as Open vSwitch counts it for `out_port`: output and enqueue, also
    /// within clone and write_actions, but neither resubmit nor an output that is cut or named by a field.
    func output(to port: FlowPort) -> Bool {
        contains { action in
            switch action {
            case .output(let to), .enqueue(let to, queue: _): to == port
            case .inPort: port == .inPort
            case .normal: port == .normal
            case .flood: port == .flood
            case .all: port == .all
            case .clone(let inner), .writeActions(let inner): inner.output(to: port)
            default: false
            }
        }
    }

    /// Whether an action, at any depth, sends to a group.
    func goThrough(group: UInt32) -> Bool {
        contains { action in
            switch action {
            case .group(let number): number == group
            case .clone(let inner), .writeActions(let inner): inner.goThrough(group: group)
            default: false
            }
        }
    }
}
