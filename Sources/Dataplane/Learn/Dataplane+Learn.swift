public import Flows

extension Dataplane {
    /// Messages in one go, so that a flood of new flows leaves the control plane time for the rest, and so few that caches
    /// look at what each of them changes.
    private static var messageLimit: Int { RecentFlows.transactionLimit }

    /// Whether `learnFlows` has something to do. Any thread may ask.
    public var hasFlowsToLearn: Bool { lanes.contains { !$0.flows.messages.isEmpty } }

    /// Learns the flows that packets met learn actions for, and shortens the timeouts of those whose connections ended: a
    /// transaction for each bridge. Call it every few milliseconds.
    /// - Returns: flows that made room for new ones, or went with what taught them.
    @discardableResult
    public func learnFlows() -> [ExpiredFlow] {
        guard hasFlowsToLearn else { return [] }
        let share = max(Self.messageLimit / lanes.count, 1)
        let messages = lanes.flatMap { $0.flows.messages.take(limit: share) }
        let ofBridge = Dictionary(grouping: messages, by: \.head.bridge)
        var forgotten: [ExpiredFlow] = []
        for (bridge, parts) in bridges {
            guard let messages = ofBridge[parts.slot] else { continue }
            forgotten += parts.tables.obey(messages)
                .map { ExpiredFlow(bridge: bridge, flow: $0.flow, reason: $0.reason) }
        }
        return forgotten
    }

    /// The flows that would go with others, as what taught them goes (`delete_learned`).
    /// - Parameters:
    ///   - removing: numbers of flows that are there.
    ///   - adding: flows that replace those with their table, priority and match.
    public func learnedFlows(
        goingWith removing: [UInt32],
        adding: [Flow] = [],
        on bridge: String
    ) -> [InstalledFlow] {
        guard let tables = bridges[bridge]?.tables else { return [] }
        return tables.learned(goingWith: removing, adding: adding).compactMap { tables.flow($0) }
    }

    /// What became of learned flows, on all bridges.
    public var learnStatistics: LearnStatistics {
        var sum = LearnStatistics()
        for parts in bridges.values {
            let one = parts.tables.learnStatistics
            sum.added += one.added
            sum.changed += one.changed
            sum.evicted += one.evicted
            sum.refused += one.refused
        }
        for lane in lanes { sum.lost += lane.flows.messages.lostCount }
        return sum
    }
}
