import Flows

/// The learn actions of a bridge's flows, each under a number that was never another's: what workers say is about the
/// action that they ran, or about none.
final class LearnTable {
    /// Flows of a table that have a cookie: those that a learn action counts and takes along.
    struct Family: Hashable {
        let table: UInt8
        let cookie: UInt64

        init(_ learn: Learn) { (table, cookie) = (learn.table, learn.cookie) }
        init(_ flow: Flow) { (table, cookie) = (flow.table, flow.cookie) }
        init(_ flow: FlowTables.Installed) { (table, cookie) = (flow.table, flow.cookie) }
    }

    private struct Entry {
        let learn: Learn
        /// Times that flows have it.
        var uses = 0
        /// Flows that it added.
        var flowCount = 0
    }

    /// Flows that one action may have added, so that packets cannot make a table grow without end.
    var capacity = 65_536
    private let newNumber: () -> UInt32
    private var numbers: [Learn: UInt32] = [:]
    private var entries: [UInt32: Entry] = [:]
    /// Numbers that no flow has: asked for, or left behind.
    private var unused: Set<UInt32> = []
    /// How many actions say `delete_learned`; never 0.
    private(set) var deleters: [Family: Int] = [:]
    /// How many flows there are of those that some action limits, as far as anybody asked.
    private var counted: [Family: Int] = [:]

    /// - Parameter newNumber: gives a number of the whole switch.
    init(newNumber: @escaping () -> UInt32) { self.newNumber = newNumber }

    // MARK: - Actions

    /// How many actions have numbers.
    var entryCount: Int { entries.count }

    /// The number of an action, from now until `sweep` finds it without a flow.
    func number(of learn: Learn) -> UInt32 {
        if let number = numbers[learn] { return number }
        let number = newNumber()
        numbers[learn] = number
        entries[number] = Entry(learn: learn)
        unused.insert(number)
        return number
    }

    /// The action of a number, if a flow has it.
    func learn(_ number: UInt32) -> Learn? {
        guard let entry = entries[number], entry.uses != 0 else { return nil }
        return entry.learn
    }

    /// Forgets the actions that no flow has.
    func sweep() {
        guard !unused.isEmpty else { return }
        for number in unused { numbers[entries.removeValue(forKey: number)!.learn] = nil }
        unused.removeAll()
        // They are counted again when a limit is asked for.
        counted.removeAll()
    }

    // MARK: - Flows

    /// Notes that a flow comes (1) or goes (-1).
    func use(_ flow: Flow, _ change: Int) {
        if !counted.isEmpty { counted[Family(flow)]? += change }
        for learn in flow.actions.learns {
            let number = number(of: learn)
            entries[number]!.uses += change
            if entries[number]!.uses == 0 { unused.insert(number) } else { unused.remove(number) }
        }
        for family in flow.actions.deletedFamilies {
            let count = deleters[family, default: 0] + change
            deleters[family] = count == 0 ? nil : count
        }
    }

    /// Notes that an action added a flow (1), or that one it added goes (-1).
    func countLearned(_ number: UInt32, _ change: Int) { entries[number]?.flowCount += change }

    /// Whether an action has added as many flows as it may.
    func isFull(_ number: UInt32) -> Bool { entries[number]!.flowCount >= capacity }

    /// How many flows there are of a family.
    /// - Parameter count: counts them.
    func flowCount(_ family: Family, count: () -> Int) -> Int {
        if let known = counted[family] { return known }
        counted[family] = count()
        return counted[family]!
    }
}

extension [Action] {
    /// Those that learn, also within clones.
    fileprivate var learns: [Learn] {
        var learns: [Learn] = []
        for action in self {
            switch action {
            case .learn(let learn): learns.append(learn)
            case .clone(let inner): learns += inner.learns
            default: break
            }
        }
        return learns
    }
}

extension [Action] {
    /// What goes with the last flow that says so; within a clone nothing does, as in Open vSwitch.
    var deletedFamilies: [LearnTable.Family] {
        compactMap { action in
            if case .learn(let learn) = action, learn.deletesLearned { LearnTable.Family(learn) } else { nil }
        }
    }
}

/// Numbers for learn actions, of all bridges, from 1: each is given once.
final class LearnNumbers {
    private var last: UInt32 = 0

    func next() -> UInt32 {
        last += 1
        return last
    }
}
