import Flows

/// The lists of actions that flows had of late: most flows of a table say the same as others, and share the memory then.
struct ActionLists {
    private static let capacity = 256

    private var lists: [[Action]] = Array(repeating: [], count: capacity)

    /// An equal list that is there already, or this one.
    mutating func shared(_ actions: [Action]) -> [Action] {
        let place = Int(UInt(bitPattern: actions.hashValue) % UInt(Self.capacity))
        if lists[place] != actions { lists[place] = actions }
        return lists[place]
    }
}
