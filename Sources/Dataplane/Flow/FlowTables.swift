import Flows
import Synchronization

/// What the tables' writer knows of their readers.
struct FlowReaders {
    let versions: Versions
    let laneCount: Int
    /// Returns when every worker has ended the burst it was in.
    let quiesce: () -> Void
    let formerRules: FormerRules
    /// Milliseconds of the clock that workers count seconds by.
    var now: () -> UInt64 = { Dataplane.milliseconds }
    var addressSets = AddressSets()
    let learnNumbers = LearnNumbers()
}

/// Rules and meters that are no longer found, and for which workers may still count packets: their caches have them.
final class FormerRules {
    /// The version that no worker's cache is older than.
    private let swept: () -> UInt64
    private var rules: [(rule: UnsafeMutablePointer<Rule>, version: UInt64)] = []
    private var meters: [(cell: UnsafeMutablePointer<MeterCell>, version: UInt64)] = []

    init(swept: @escaping () -> UInt64) { self.swept = swept }

    deinit {
        for (rule, _) in rules { Rule.discard(rule) }
        for (cell, _) in meters { MeterCell.discard(cell) }
    }

    /// - Parameter version: the first one that has the rule no more.
    func add(_ rule: UnsafeMutablePointer<Rule>, version: UInt64) { rules.append((rule, version)) }

    /// The same for a meter, which programs point to.
    func add(_ meter: UnsafeMutablePointer<MeterCell>, version: UInt64) { meters.append((meter, version)) }

    /// Frees the rules that no cache has any more. What is left is for the next call.
    func release() {
        guard !rules.isEmpty || !meters.isEmpty else { return }
        let swept = swept()
        meters.removeAll { cell, version in
            guard version <= swept else { return false }
            MeterCell.discard(cell)
            return true
        }
        rules.removeAll { rule, version in
            guard version <= swept else { return false }
            Rule.discard(rule)
            return true
        }
    }
}

/// The flow tables of a bridge.
///
/// A change is a transaction: it makes the next version of the tables, and a packet meets the rules of the version that
/// was current when its burst came in, all of them and no others. A transaction costs what it changes; it waits for the
/// workers to end the burst they are in, and they wait for nothing.
final class FlowTables {
    /// Tables 0 to 254; 255 means "this table" in resubmit (ovs-actions(7)).
    static let tableCount = 255

    /// What readers search, by table number.
    let tables: UnsafeMutablePointer<FlowTable>
    /// The address of the only rule, when NORMAL is all that it says: the bridge switches without a search then. Else 0.
    let onlyRule: UnsafeMutablePointer<Atomic<UInt>>
    private let bridge: UInt16
    let readers: FlowReaders
    let learns: LearnTable
    var learnStatistics = LearnStatistics()
    /// By the number that rules carry; nil where a number is free.
    var flows: [Installed?] = []
    private var freeNumbers: [UInt32] = []
    private var actionLists = ActionLists()
    private var flowCount = 0
    /// Flows with a timeout.
    private var mortal: Set<UInt32> = []
    private var retired: [Retired] = []
    private(set) var groups = GroupTable()
    private(set) var meters: [UInt32: PlacedMeter] = [:]

    /// - Parameters:
    ///   - bridge: the bridge's slot.
    ///   - first: flows that are there from the next version on, which somebody else makes. They say nothing that could be
    ///     refused.
    init(bridge: UInt16, readers: FlowReaders, first: [Flow] = []) {
        self.bridge = bridge
        self.readers = readers
        learns = LearnTable(newNumber: readers.learnNumbers.next)
        onlyRule = .allocate(capacity: 1)
        onlyRule.initialize(to: Atomic(0))
        tables = .allocate(capacity: Self.tableCount)
        for table in 0..<Self.tableCount { (tables + table).initialize(to: FlowTable()) }
        for flow in first { _ = install(flow, try! code(of: flow), at: readers.versions.next) }
        onlyRule.pointee.store(UInt(bitPattern: normalAlone), ordering: .relaxed)
    }

    /// - Precondition: no worker uses the tables any more.
    deinit {
        for installed in flows.compactMap({ $0 }) {
            readers.addressSets.use(installed.addressSets, at: place(of: installed), -1)
            takeOut(installed)
        }
        for item in retired { item.free() }
        groups.free()
        for meter in meters.values { readers.formerRules.add(meter.cell, version: 0) }
        for table in 0..<Self.tableCount { tables[table].free() }
        tables.deinitialize(count: Self.tableCount)
        tables.deallocate()
        onlyRule.deallocate()
    }

    // MARK: - The writer

    /// The number of a flow with the same table, priority and match: adding such a flow replaces it (OpenFlow 1.0
    /// section 4.6).
    func number(of flow: Flow) -> UInt32? {
        // A set that does not exist is no flow's.
        guard let sets = try? readers.addressSets.tables(of: flow.match, version: readers.versions.next) else {
            return nil
        }
        return tables[Int(flow.table)].rule(flow.match, sets, priority: flow.priority)?.pointee.flow
    }

    /// The flow of a rule that a walk just found.
    func flow(_ number: UInt32) -> InstalledFlow? {
        flows[Int(number)].map { described($0, number, readers.now()) }
    }

    /// Every flow with its number, in no order.
    var all: [(number: UInt32, flow: Flow)] {
        flows.enumerated().compactMap { number, installed in installed.map { (UInt32(number), $0.flow) } }
    }

    /// The same with what was counted.
    var installed: [InstalledFlow] {
        let now = readers.now()
        return flows.enumerated().compactMap { number, installed in
            installed.map { described($0, UInt32(number), now) }
        }
    }

    /// The flows that use one of some groups or meters, and those that go with them.
    func flows(using identifiers: Set<UInt32>, in used: KeyPath<[Action], Set<UInt32>>) -> OrphanedFlows {
        guard !identifiers.isEmpty else { return .none }
        let now = readers.now()
        let users = flows.enumerated().compactMap { number, installed -> InstalledFlow? in
            guard let installed else { return nil }
            let isUser = !installed.sharedActions[keyPath: used].isDisjoint(with: identifiers)
            return isUser ? described(installed, UInt32(number), now) : nil
        }
        let learned = learned(goingWith: users.map(\.number)).compactMap { flow($0) }
        return OrphanedFlows(users: users, learned: learned)
    }

    func described(_ installed: Installed, _ number: UInt32, _ now: UInt64) -> InstalledFlow {
        InstalledFlow(number: number, flow: installed.flow, statistics: statistics(of: installed, now))
    }

    private func statistics(of installed: Installed, _ now: UInt64) -> FlowStatistics {
        var statistics = FlowStatistics()
        statistics.durationMilliseconds = now - installed.since
        var used: UInt64 = 0
        for lane in 0..<readers.laneCount {
            let count = installed.rule.pointee.counts[lane]
            statistics.packetCount &+= count.packets
            statistics.byteCount &+= count.bytes
            used = max(used, count.used)
        }
        // Before its first packet a flow has been idle since it was added.
        let idleSince = used == 0 ? installed.since / 1000 : used
        statistics.idleAge = UInt32(truncatingIfNeeded: now / 1000 - min(now / 1000, idleSince))
        let hardAge = (now - installed.modified) / 1000
        if hardAge != statistics.durationMilliseconds / 1000 {
            statistics.hardAge = UInt32(truncatingIfNeeded: hardAge)
        }
        return statistics
    }

    /// The flows whose time has come.
    var expired: [(flow: InstalledFlow, reason: ExpiredFlow.Reason)] {
        let now = readers.now()
        return mortal.compactMap { number in
            let one = flows[Int(number)]!
            let seconds = (now - one.modified) / 1000
            let (idle, hard) = (UInt64(one.idleTimeout), UInt64(one.hardTimeout))
            if hard != 0 && seconds >= hard { return (described(one, number, now), .hard) }
            guard idle != 0, UInt64(statistics(of: one, now).idleAge ?? 0) >= idle else { return nil }
            return (described(one, number, now), .idle)
        }
    }

    /// How many masks a search in a table may have to look at.
    func tupleCount(of table: UInt8) -> Int { tables[Int(table)].tupleCount }

    /// Gives flows other actions and cookies, in the next version; their age and, unless told otherwise, what they counted
    /// stay. What they learned goes where it would with them, be it among them or not.
    /// - Parameter changing: numbers of flows that are there, each once, and what they are to be.
    /// - Throws: `Refusal` when an action cannot be run; nothing has changed then.
    func commit(changing: [(number: UInt32, flow: Flow)], keepingCounts: Bool) throws(Refusal) {
        let flows = changing.map(\.flow)
        let codes = try codes(of: flows)
        let next = readers.versions.next
        let isLarge = changing.count > RecentFlows.transactionLimit
        let learned = Set(learned(goingWith: [], adding: flows))
        var gone = learned.map { end($0, at: next) }
        for ((number, flow), code) in zip(changing, codes) where !learned.contains(number) {
            gone.append(change(number, to: flow, code, at: next, keepsCounts: keepingCounts, isLarge: isLarge))
        }
        publish(without: gone)
    }

    /// Puts a flow in the place of one with the same table, priority and match.
    /// - Returns: what that was.
    func change(
        _ number: UInt32,
        to flow: Flow,
        _ code: RuleCode,
        at next: UInt64,
        keepsCounts: Bool = true,
        isLarge: Bool
    ) -> Installed {
        var (code, former) = (code, end(number, at: next))
        if keepsCounts { code.counts = Rule.handOverCounts(of: former.rule) }
        former.isSucceeded = true
        noteAddition(of: flow, code, isLarge: isLarge)
        install(flow, code, at: next, replacing: former)
        return former
    }

    /// Makes the next version: without some flows and those that they learned to be deleted with them, with others. A flow
    /// replaces one with the same table, priority and match.
    /// - Parameter removing: numbers of flows that are there, each once.
    /// - Returns: the numbers of the added flows.
    /// - Throws: `Refusal` when an action cannot be run; nothing has changed then.
    @discardableResult
    func commit(removing: [UInt32] = [], adding: [Flow] = []) throws(Refusal) -> [UInt32] {
        let codes = try codes(of: adding)
        let next = readers.versions.next
        let isLarge = adding.count > RecentFlows.transactionLimit
        var gone = (removing + learned(goingWith: removing, adding: adding)).map { end($0, at: next) }
        let added = zip(adding, codes).map { flow, code in
            if let former = number(of: flow) { gone.append(end(former, at: next)) }
            noteAddition(of: flow, code, isLarge: isLarge)
            return install(flow, code, at: next)
        }
        publish(without: gone)
        return added
    }

    /// The same for groups. Flows that use a group that goes are removed.
    /// - Returns: what those flows were.
    func commitGroups(removing: [UInt32], adding: [Group]) throws(Refusal) -> OrphanedFlows {
        let next = readers.versions.next
        let change: GroupTable.Change
        do throws(GroupRefusal) {
            change = try groups.change(removing: removing, adding: adding, version: next)
        } catch {
            throw Refusal(error.reason)
        }
        let orphans = flows(using: change.removed, in: \.groups)
        let gone = orphans.all.map { end($0.number, at: next) }
        groups.apply(change) { retired.append($0) }
        readers.versions.willChange(.groups(of: bridge))
        publish(without: gone)
        return orphans
    }

    /// The same for meters that are there, and for bands that can be.
    func commitMeters(removing: Set<UInt32>, adding: [Meter]) -> OrphanedFlows {
        let next = readers.versions.next
        let orphans = flows(using: removing, in: \.meters)
        let gone = orphans.all.map { end($0.number, at: next) }
        for meter in adding {
            let cell = meters[meter.identifier]?.cell ?? MeterCell.made(meter)
            if meters[meter.identifier] != nil {
                let former = cell.pointee.replace(with: MeterEntry.made(meter))
                retired.append(Retired { MeterEntry.discard(former) })
            }
            meters[meter.identifier] = PlacedMeter(meter: meter, cell: cell)
        }
        for identifier in removing {
            readers.formerRules.add(meters.removeValue(forKey: identifier)!.cell, version: next)
        }
        publish(without: gone)
        return orphans
    }

    /// Makes the next version the current one, and frees what only former ones had.
    func publish(without gone: [Installed]) {
        onlyRule.pointee.store(UInt(bitPattern: normalAlone), ordering: .releasing)
        readers.versions.advance()
        readers.quiesce()
        // No worker is at a version that has them. One may have a finger on them, until its next burst.
        for installed in gone { takeOut(installed) }
        if !retired.isEmpty { readers.quiesce() }
        for item in retired { item.free() }
        retired.removeAll(keepingCapacity: retired.count < 1024)
    }

    /// The rule of the only flow, when that is in the first table, matches every packet and says NORMAL.
    private var normalAlone: UnsafeMutablePointer<Rule>? {
        guard flowCount == 1, let only = flows.first(where: { $0 != nil }) ?? nil else { return nil }
        let flow = only.flow
        return flow.table == 0 && flow.match == Match() && flow.actions == [.normal] ? only.rule : nil
    }

    /// - Throws: `Refusal` for flows that cannot be run, or not beside those that are there.
    func codes(of flows: [Flow]) throws(Refusal) -> [RuleCode] {
        learns.sweep()
        var codes: [RuleCode] = []
        for flow in flows { codes.append(try code(of: flow)) }
        try checkConjunctions(flows, codes)
        return codes
    }

    func code(of flow: Flow) throws(Refusal) -> RuleCode {
        try RuleCode(
            flow.actions,
            reason: NetworkCookie.reason(flow.cookie),
            sets: readers.addressSets.tables(of: flow.match, version: readers.versions.next),
            laneCount: readers.laneCount,
            actionContext
        )
    }

    /// What the actions of flows may name.
    var actionContext: ActionContext { ActionContext(groups: groups.cells, meters: meters, learns: learns) }

    /// Holds the masks that a search may have to keep in mind to what it has room for.
    private func checkConjunctions(_ adding: [Flow], _ codes: [RuleCode]) throws(Refusal) {
        let conjunctive = zip(adding, codes).filter { !$1.clauses.isEmpty }.map(\.0)
        for (table, flows) in Dictionary(grouping: conjunctive, by: \.table) {
            let masks = Set(flows.map(\.match.mask)).union(tables[Int(table)].conjunctiveMasks)
            guard masks.count > SoftMatch.maskLimit else { continue }
            throw Refusal("table \(table) would have conjunctions under more than \(SoftMatch.maskLimit) masks")
        }
    }

    /// - Parameter former: one that ended in the same version and whose number and age it has.
    @discardableResult
    func install(_ flow: Flow, _ code: RuleCode, at next: UInt64, replacing former: Installed? = nil) -> UInt32 {
        let number = former?.rule.pointee.flow ?? freeNumbers.popLast() ?? UInt32(flows.count)
        if Int(number) == flows.count { flows.append(nil) }
        let placed = tables[Int(flow.table)]
            .insert(
                number,
                of: flow.match,
                code,
                priority: flow.priority,
                version: next
            ) { retired.append($0) }
        readers.addressSets.use(flow.match.addressSets, at: place(of: flow), 1)
        flowCount += 1
        learns.use(flow, 1)
        let now = readers.now()
        let actions = actionLists.shared(flow.actions)
        flows[Int(number)] = Installed(flow, placed, actions, since: former?.since ?? now, modified: now)
        setMortal(number)
        if let former { teach(number, by: former.teacher) }
        return number
    }

    /// Notes that a flow has a timeout, if it has.
    func setMortal(_ number: UInt32) {
        let flow = flows[Int(number)]!
        if flow.idleTimeout != 0 || flow.hardTimeout != 0 { mortal.insert(number) }
    }

    private func place(of flow: Flow) -> TablePlace { TablePlace(bridge: bridge, table: flow.table) }

    private func place(of flow: Installed) -> TablePlace { TablePlace(bridge: bridge, table: flow.table) }

    /// Tells the workers' caches of a flow to come.
    func noteAddition(of flow: Flow, _ code: RuleCode, isLarge: Bool) {
        // A clause is met by packets that it does not decide about.
        guard !isLarge && code.clauses.isEmpty else { return readers.versions.willChange(place(of: flow)) }
        readers.versions.willAdd(flow, at: place(of: flow))
    }

    /// Has no version from `next` on meet the flow.
    func end(_ number: UInt32, at next: UInt64) -> Installed {
        let installed = flows[Int(number)]!
        installed.rule.pointee.removed.store(next, ordering: .relaxed)
        let place = place(of: installed)
        // Clauses of packets that met another rule count as well.
        let isOwn = installed.rule.pointee.clauseCount == 0
        if isOwn { readers.versions.willRemove(at: place) } else { readers.versions.willChange(place) }
        readers.addressSets.use(installed.addressSets, at: place, -1)
        learns.use(installed.flow, -1)
        learns.countLearned(installed.teacher, -1)
        flows[Int(number)] = nil
        flowCount -= 1
        mortal.remove(number)
        return installed
    }

    private func takeOut(_ installed: Installed) {
        let rule = installed.rule
        if !installed.isSucceeded { freeNumbers.append(rule.pointee.flow) }
        tables[Int(installed.table)].remove(installed.placed) { retired.append($0) }
        readers.formerRules.add(rule, version: readers.versions.current)
    }
}
