import Flows
import Synchronization

/// The flow tables of a bridge.
///
/// A change is a transaction: it makes the next version of the tables, and a packet meets the rules of the version that
/// was current when its burst came in, all of them and no others. A transaction costs what it changes; it waits for the
/// workers to end the burst they are in, and they wait for nothing.
final class FlowTables {
    /// Tables 0 to 254; 255 means "this table" in resubmit (ovs-actions(7)).
    static let tableCount = 255

    private let tables: UnsafeMutablePointer<FlowTable>
    private let version: UnsafeMutablePointer<Atomic<UInt64>>
    private let quiesce: () -> Void
    /// By the number that rules carry; nil where a number is free.
    private var flows: [Installed?] = []
    private var freeNumbers: [UInt32] = []
    private var retired: [Retired] = []

    private struct Installed {
        let flow: Flow
        let rule: UnsafeMutablePointer<Rule>
        let since: ContinuousClock.Instant
    }

    /// - Parameter quiesce: returns when every worker has ended the burst it was in.
    init(quiesce: @escaping () -> Void) {
        self.quiesce = quiesce
        tables = .allocate(capacity: Self.tableCount)
        for table in 0..<Self.tableCount { (tables + table).initialize(to: FlowTable()) }
        version = .allocate(capacity: 1)
        version.initialize(to: Atomic(0))
    }

    /// - Precondition: no worker uses the tables any more.
    deinit {
        for installed in flows.compactMap({ $0 }) { takeOut(installed) }
        for item in retired { item.free() }
        for table in 0..<Self.tableCount { tables[table].free() }
        tables.deinitialize(count: Self.tableCount)
        tables.deallocate()
        version.deallocate()
    }

    // MARK: - Readers

    /// The tables as they are now. Workers take it once for each burst.
    var snapshot: Snapshot { Snapshot(tables: tables, version: version.pointee.load(ordering: .acquiring)) }

    /// One version of the tables: trivial, and valid until the worker's next quiescent state.
    struct Snapshot {
        fileprivate let tables: UnsafeMutablePointer<FlowTable>
        fileprivate let version: UInt64

        /// The flow of the highest priority that a key meets in a table; nil when there is none.
        /// - Parameter mask: gets every bit of the key that the answer depends on.
        @inline(__always)
        func find(
            _ key: UnsafePointer<UInt64>,
            in table: UInt8,
            mask: UnsafeMutablePointer<UInt64>
        ) -> UnsafeMutablePointer<Rule>? {
            tables[Int(table)].find(key, at: version, mask: mask)
        }
    }

    // MARK: - The writer

    /// The number of a flow with the same table, priority and match: adding such a flow replaces it (OpenFlow 1.0
    /// section 4.6).
    func number(of flow: Flow) -> UInt32? {
        tables[Int(flow.table)].rule(flow.match, priority: flow.priority)?.pointee.flow
    }

    /// Every flow with its number, in no order.
    var all: [(number: UInt32, flow: Flow)] {
        flows.enumerated().compactMap { number, installed in installed.map { (UInt32(number), $0.flow) } }
    }

    /// The same with what was counted.
    var installed: [InstalledFlow] {
        let now = ContinuousClock.now
        return flows.enumerated().compactMap { number, installed in
            installed.map { described($0, UInt32(number), now) }
        }
    }

    private func described(_ installed: Installed, _ number: UInt32, _ now: ContinuousClock.Instant) -> InstalledFlow {
        var statistics = FlowStatistics()
        let age = installed.since.duration(to: now).components
        statistics.durationMilliseconds = UInt64(age.seconds * 1000 + age.attoseconds / 1_000_000_000_000_000)
        return InstalledFlow(number: number, flow: installed.flow, statistics: statistics)
    }

    /// The flows whose time has come.
    var expired: [(flow: InstalledFlow, reason: ExpiredFlow.Reason)] {
        installed.filter { $0.flow.idleTimeout != 0 || $0.flow.hardTimeout != 0 }.compactMap { one in
            let seconds = one.statistics.durationMilliseconds / 1000
            let (idle, hard) = (UInt64(one.flow.idleTimeout), UInt64(one.flow.hardTimeout))
            if hard != 0 && seconds >= hard { return (one, .hard) }
            if idle != 0 && min(seconds, UInt64(one.statistics.idleAge ?? .max)) >= idle { return (one, .idle) }
            return nil
        }
    }

    /// How many masks a search in a table may have to look at.
    func tupleCount(of table: UInt8) -> Int { tables[Int(table)].tupleCount }

    /// Makes the next version: without some flows, with others. A flow replaces one with the same table, priority and
    /// match.
    /// - Parameter removing: numbers of flows that are there, each once.
    /// - Returns: the numbers of the added flows.
    /// - Throws: `Refusal` when an action cannot be run; nothing has changed then.
    @discardableResult
    func commit(removing: [UInt32] = [], adding: [Flow] = []) throws(Refusal) -> [UInt32] {
        var codes: [[Instruction]] = []
        for flow in adding { codes.append(try Instruction.compiled(flow.actions)) }
        let next = version.pointee.load(ordering: .relaxed) + 1
        var gone = removing.map { end($0, at: next) }
        let added = zip(adding, codes).map { flow, code in
            if let former = number(of: flow) { gone.append(end(former, at: next)) }
            return install(flow, code, at: next)
        }
        version.pointee.store(next, ordering: .releasing)
        quiesce()
        // No worker is at a version that has them. One may have a finger on them, until its next burst.
        for installed in gone { takeOut(installed) }
        if !retired.isEmpty { quiesce() }
        for item in retired { item.free() }
        retired.removeAll(keepingCapacity: retired.count < 1024)
        return added
    }

    private func install(_ flow: Flow, _ code: [Instruction], at next: UInt64) -> UInt32 {
        let number = freeNumbers.popLast() ?? UInt32(flows.count)
        if Int(number) == flows.count { flows.append(nil) }
        let rule = tables[Int(flow.table)]
            .insert(number, of: flow.match, code, priority: flow.priority, version: next) { retired.append($0) }
        flows[Int(number)] = Installed(flow: flow, rule: rule, since: .now)
        return number
    }

    /// Has no version from `next` on meet the flow.
    private func end(_ number: UInt32, at next: UInt64) -> Installed {
        let installed = flows[Int(number)]!
        installed.rule.pointee.removed.store(next, ordering: .relaxed)
        flows[Int(number)] = nil
        return installed
    }

    private func takeOut(_ installed: Installed) {
        let rule = installed.rule
        freeNumbers.append(rule.pointee.flow)
        tables[Int(installed.flow.table)].remove(rule, of: installed.flow.match) { retired.append($0) }
        retired.append(Retired { Rule.discard(rule) })
    }
}
