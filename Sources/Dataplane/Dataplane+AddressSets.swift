public import Flows

extension Dataplane {
    /// The names of the address sets, which all bridges share, in order.
    public var addressSets: [String] { readers.addressSets.names }

    /// The members of a set; nil when there is no such set.
    public func members(of addressSet: String) -> Set<AddressSetMember>? { readers.addressSets.members(of: addressSet) }

    /// Changes the members of a set, and creates it first if need be: a packet meets all of the change or none of it, and it
    /// costs what it changes.
    ///
    /// - Parameters:
    ///   - adding: of several kinds together as well: a field has the members of its kind. One that is there stays.
    ///   - removing: such as are there.
    /// - Throws: `Refusal` for a member to remove that is not there; nothing has changed then.
    public func setMembers(
        of name: String,
        adding: Set<AddressSetMember> = [],
        removing: Set<AddressSetMember> = []
    ) throws(Refusal) {
        let change = try readers.addressSets
            .change(name, adding: adding, removing: removing, version: readers.versions.next)
        for place in change.places { readers.versions.willChange(place) }
        readers.versions.advance()
        readers.quiesce()
        var retired: [Retired] = []
        change.takeOut { retired.append($0) }
        guard !retired.isEmpty else { return }
        readers.quiesce()
        for item in retired { item.free() }
    }

    /// A flow of a bridge that uses a set. Time grows with the flows.
    public func flow(of bridge: String, usingAddressSet name: String) -> Flow? {
        bridges[bridge]?.tables.all.first { $0.flow.match.addressSets.contains { $0.name == name } }?.flow
    }

    /// - Throws: `Refusal` when there is no such set or a flow uses it.
    public func removeAddressSet(_ name: String) throws(Refusal) { try readers.addressSets.remove(name) }
}
