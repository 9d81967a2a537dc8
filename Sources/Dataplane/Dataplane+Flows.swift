public import Flows

extension Dataplane {
    /// What a new bridge does: it learns, as a bridge without flows would be of no use.
    public static let firstFlow: Flow = {
        var flow = Flow()
        flow.priority = 0
        flow.actions = [.normal]
        return flow
    }()

    /// The flows of a bridge, in no order; empty for a bridge that does not exist.
    public func flows(of bridge: String) -> [InstalledFlow] { bridges[bridge]?.tables.installed ?? [] }

    /// The flow that adding `flow` would replace: the one with its table, priority and match. Its time does not grow
    /// with the number of flows.
    public func flowNumber(of flow: Flow, on bridge: String) -> UInt32? { bridges[bridge]?.tables.number(of: flow) }

    /// A flow by its number; nil when there is none.
    public func flow(_ number: UInt32, on bridge: String) -> InstalledFlow? { bridges[bridge]?.tables.flow(number) }

    /// Why `changeFlows` would not add flows; nil when it will.
    public func refusal(of flows: [Flow], on bridge: String) -> Refusal? {
        do throws(Refusal) {
            _ = try bridges[bridge]?.tables.codes(of: flows)
            return nil
        } catch {
            return error
        }
    }

    /// Changes the flows of a bridge at once: a packet meets all of the change or none of it. A new bridge has one flow,
    /// `priority=0 actions=NORMAL`. What `learnedFlows(goingWith:)` says goes too.
    ///
    /// - Parameters:
    ///   - removing: numbers of flows that are there, each once.
    ///   - adding: each replaces one with the same table, priority and match, also within the list; counters begin at 0.
    /// - Returns: the numbers of the added flows.
    /// - Throws: `Refusal` when the bridge does not exist or an action cannot be run; nothing has changed then.
    @discardableResult
    public func changeFlows(
        of bridge: String,
        removing: [UInt32] = [],
        adding: [Flow] = []
    ) throws(Refusal) -> [UInt32] {
        guard let tables = bridges[bridge]?.tables else { throw Refusal("bridge '\(bridge)' does not exist") }
        return try tables.commit(removing: removing, adding: adding)
    }

    /// Gives flows of a bridge other actions and cookies at once; what `learnedFlows(goingWith:)` says goes.
    ///
    /// - Parameters:
    ///   - changing: numbers of flows that are there, each once, and what they are to be.
    ///   - keepingCounts: whether they go on counting where they were.
    /// - Throws: `Refusal` when an action cannot be run, or the bridge does not exist; nothing has changed then.
    public func changeFlows(
        of bridge: String,
        changing: [(number: UInt32, flow: Flow)],
        keepingCounts: Bool
    ) throws(Refusal) {
        guard let tables = bridges[bridge]?.tables else { throw Refusal("bridge '\(bridge)' does not exist") }
        try tables.commit(changing: changing, keepingCounts: keepingCounts)
    }

    /// Removes the flows whose time has come. Call it once a second.
    public func expireFlows() -> [ExpiredFlow] {
        var all: [ExpiredFlow] = []
        for (bridge, parts) in bridges {
            let expired = parts.tables.expired
            guard !expired.isEmpty else { continue }
            let numbers = expired.map(\.flow.number)
            let taught = learnedFlows(goingWith: numbers, on: bridge)
            // Flows that are there and actions that ran already: nothing to refuse.
            _ = try? parts.tables.commit(removing: numbers)
            all += expired.map { ExpiredFlow(bridge: bridge, flow: $0.flow, reason: $0.reason) }
            all += taught.map { ExpiredFlow(bridge: bridge, flow: $0, reason: .delete) }
        }
        return all
    }
}
