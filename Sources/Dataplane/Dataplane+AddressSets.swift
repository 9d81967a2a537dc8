extension Dataplane {
    /// The names of the address sets, which all bridges share, in order.
    public var addressSets: [String] { readers.addressSets.names }

    /// How many members a set has; nil when there is no such set.
    public func memberCount(of addressSet: String) -> Int? { readers.addressSets.members(of: addressSet)?.count }

    /// Changes the members of a set, and creates it first if need be: a packet meets all of the change or none of it, and it
    /// costs what it changes.
    ///
    /// - Parameters:
    ///   - adding: IPv4, IPv6 or MAC addresses, with `/LENGTH` or `/MASK` or without; of several kinds together as well: a
    ///     field has the members of its kind. One that is there stays.
    ///   - removing: such as are there, by the same value and length.
    /// - Throws: `Refusal` for text that is no address and for a member to remove that is not there; nothing has changed then.
    public func setMembers(
        of name: String,
        adding: [String] = [],
        removing: [String] = []
    ) throws(Refusal) {
        var (new, former): (Set<AddressSetMember>, Set<AddressSetMember>) = ([], [])
        for text in adding { new.insert(try AddressSetMember(text)) }
        for text in removing { former.insert(try AddressSetMember(text)) }
        let change = try readers.addressSets
            .change(name, adding: new, removing: former, version: readers.versions.next)
        for place in change.places { readers.versions.willChange(place) }
        readers.versions.advance()
        readers.quiesce()
        var retired: [Retired] = []
        change.takeOut { retired.append($0) }
        guard !retired.isEmpty else { return }
        readers.quiesce()
        for item in retired { item.free() }
    }

    /// - Throws: `Refusal` when there is no such set or a flow uses it.
    public func removeAddressSet(_ name: String) throws(Refusal) { try readers.addressSets.remove(name) }
}
