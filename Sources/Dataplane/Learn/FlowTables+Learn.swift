import Flows

// Flows that packets taught: added, refreshed and made to go.
extension FlowTables {
    /// Does what workers ask for, in one transaction.
    /// - Returns: flows that made room, or went with what taught them.
    func obey(_ messages: [FlowMessage]) -> [Forgotten] {
        let isLarge = messages.count > RecentFlows.transactionLimit
        var change = LearnedChange(version: readers.versions.next, isLarge: isLarge)
        for message in messages {
            switch message.head.subject {
            case .learn: learn(message, &change)
            case .finish: finish(message)
            }
        }
        if change.addedCount != 0 || !change.gone.isEmpty { publish(without: change.gone) }
        return change.forgotten
    }

    typealias Forgotten = (flow: InstalledFlow, reason: ExpiredFlow.Reason)

    /// What a transaction of learned flows has done so far.
    struct LearnedChange {
        let version: UInt64
        /// See `noteAddition`.
        let isLarge: Bool
        var addedCount = 0
        var gone: [Installed] = []
        var forgotten: [Forgotten] = []
    }

    /// Adds a flow, or changes or refreshes the one with its table, priority and match.
    private func learn(_ message: FlowMessage, _ change: inout LearnedChange) {
        let number = message.head.number
        // The flow that said so may be gone.
        guard let learn = learns.learn(number) else { return }
        let flow = learn.flow(message.words)
        let former = self.number(of: flow)
        if let former, flows[Int(former)]!.flow.isAsLearned(flow) {
            flows[Int(former)]!.modified = readers.now()
            return
        }
        // It holds for a change of one that is there too, as in Open vSwitch.
        if learn.limit != 0 && flowCount(of: LearnTable.Family(learn)) >= Int(learn.limit) {
            learnStatistics.refused += 1
            return
        }
        if let former { return modify(former, flow, &change) }
        if learns.isFull(number) { evict(learnedBy: number, &change) }
        // Actions that every bridge can run: nothing is refused.
        guard let code = try? code(of: flow) else { return }
        noteAddition(of: flow, code, isLarge: change.isLarge)
        let added = install(flow, code, at: change.version)
        teach(added, by: number)
        learnStatistics.added += 1
        change.addedCount += 1
    }

    func teach(_ number: UInt32, by teacher: UInt32) {
        flows[Int(number)]!.teacher = teacher
        learns.countLearned(teacher, 1)
    }

    /// As OpenFlow's strict modification: what the flow counted, its timeouts and flags stay (as in Open vSwitch).
    private func modify(_ number: UInt32, _ flow: Flow, _ change: inout LearnedChange) {
        let present = flows[Int(number)]!.flow
        var changed = present
        changed.actions = flow.actions
        // It means that the cookie stays.
        if flow.cookie != .max { changed.cookie = flow.cookie }
        flows[Int(number)]!.modified = readers.now()
        guard changed != present, let code = try? code(of: changed) else { return }
        // It may have been one that teaches.
        for orphan in learned(goingWith: [], adding: [changed]) { forget(orphan, .delete, &change) }
        change.gone.append(self.change(number, to: changed, code, at: change.version, isLarge: change.isLarge))
        learnStatistics.changed += 1
        change.addedCount += 1
    }

    /// Shortens a flow's timeouts; longer ones than it has change nothing.
    private func finish(_ message: FlowMessage) {
        let number = Int(message.head.number)
        // Another flow may have the number by now.
        guard number < flows.count, let installed = flows[number], installed.rule.pointee.added == message.words[0]
        else { return }
        func shorter(_ timeout: UInt16, _ other: UInt16) -> UInt16 {
            other != 0 && (timeout == 0 || timeout > other) ? other : timeout
        }
        let (idle, hard) = (installed.idleTimeout, installed.hardTimeout)
        flows[number]!.idleTimeout = shorter(idle, UInt16(truncatingIfNeeded: message.words[1]))
        flows[number]!.hardTimeout = shorter(hard, UInt16(truncatingIfNeeded: message.words[1] >> 16))
        setMortal(message.head.number)
    }

    // MARK: - Bounds

    private func flowCount(of family: LearnTable.Family) -> Int {
        learns.flowCount(family) { flows.reduce(0) { $1.map { LearnTable.Family($0) } == family ? $0 + 1 : $0 } }
    }

    /// Takes a sixteenth of the flows that an action added: those without a packet for longest, and not learned again
    /// since. So many at once, as to find them is to look at all.
    private func evict(learnedBy teacher: UInt32, _ change: inout LearnedChange) {
        let learned = flows.indices.filter { flows[$0]?.teacher == teacher }
            .map { (number: UInt32($0), active: lastActivity(of: flows[$0]!)) }
            .sorted { ($0.active, $0.number) < ($1.active, $1.number) }
        for (number, _) in learned.prefix(max(learned.count / 16, 1)) {
            forget(number, .eviction, &change)
            learnStatistics.evicted += 1
        }
    }

    private func forget(_ number: UInt32, _ reason: ExpiredFlow.Reason, _ change: inout LearnedChange) {
        change.forgotten.append((described(flows[Int(number)]!, number, readers.now()), reason))
        change.gone.append(end(number, at: change.version))
    }

    /// Milliseconds.
    private func lastActivity(of installed: Installed) -> UInt64 {
        var used: UInt64 = 0
        for lane in 0..<readers.laneCount { used = max(used, installed.rule.pointee.counts[lane].used) }
        return max(installed.modified, used * 1000)
    }

    // MARK: - What goes with others

    /// The flows that go with the last flow that has a learn action with `delete_learned` for them.
    /// - Parameters:
    ///   - removing: numbers of flows that go.
    ///   - adding: flows that come, and replace others.
    func learned(goingWith removing: [UInt32], adding: [Flow] = []) -> [UInt32] {
        guard !learns.deleters.isEmpty else { return [] }
        var gone = Set(removing).union(adding.compactMap { number(of: $0) })
        var left = learns.deleters
        for family in adding.flatMap(\.actions.deletedFamilies) { left[family, default: 0] += 1 }
        var next = Array(gone)
        var orphans: [UInt32] = []
        // Flows that go may have learn actions in their turn.
        while true {
            let families = next.flatMap { flows[Int($0)]!.sharedActions.deletedFamilies }
            for family in families { left[family]! -= 1 }
            let dead = Set(families.filter { left[$0] == 0 })
            guard !dead.isEmpty else { return orphans }
            next = flows.indices.filter { number in
                flows[number].map { dead.contains(LearnTable.Family($0)) } ?? false
                    && !gone.contains(UInt32(number))
            }.map { UInt32($0) }
            gone.formUnion(next)
            orphans += next
        }
    }
}

extension Flow {
    /// Whether to learn a flow means nothing but that this one, of the same table, priority and match, is still needed.
    fileprivate func isAsLearned(_ flow: Flow) -> Bool {
        var same = flow
        // It means that the cookie stays.
        if flow.cookie == .max { same.cookie = cookie }
        return same == self
    }
}

/// What became of learned flows since the bridge was added.
public struct LearnStatistics: Hashable, Sendable {
    public var added: UInt64 = 0
    /// Flows that were there and got other actions.
    public var changed: UInt64 = 0
    /// Flows that made room for others of the same action.
    public var evicted: UInt64 = 0
    /// Flows that would have been more than the action's `limit`.
    public var refused: UInt64 = 0
    /// Messages of workers that the control plane had no time for. Told again, by a later packet.
    public var lost: UInt64 = 0

    public init() {}
}
