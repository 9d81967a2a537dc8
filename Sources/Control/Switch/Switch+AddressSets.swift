import Dataplane
import Flows

// The dataplane holds the sets; the state file has a row for each member, so that a change costs what it changes. For the
// same reason nothing here keeps a copy of a set while the set changes: Swift would copy all of it then.
extension Switch {
    private static let setLimit = 4096
    /// Members of all sets together.
    private static let memberLimit = 262_144

    /// - Throws: `Refusal`, or `FlowRefusal` with the place in the text.
    @inline(never) public func addAddressSet(_ request: AddressSetAdd) throws -> AddressSetAdd.Response {
        try checkName(request.name, of: "address set")
        try checkUnplanned(addressSet: request.name)
        guard dataplane.members(of: request.name) == nil else {
            throw Refusal("address set '\(request.name)' exists already: change it with address-set add-members")
        }
        guard dataplane.addressSets.count < Self.setLimit else {
            throw Refusal("the switch has its \(Self.setLimit) address sets already: delete one first")
        }
        let members = try MemberDocument(request.neededText()).members
        try checkRoom(for: members.count)
        try store.add(addressSet: request.name, members: members)
        try dataplane.setMembers(of: request.name, adding: members)
        memberCount += members.count
        return AddressSetAdd.Response(added: members.count)
    }

    @inline(never) public func addMembers(_ request: AddressSetAddMembers) throws -> AddressSetAddMembers.Response {
        try checkUnplanned(addressSet: request.name)
        let adding = try MemberDocument(request.neededText()).members(absentFrom: try addressSet(request.name))
        try checkRoom(for: adding.count)
        try store.changeMembers(of: request.name, adding: adding)
        try dataplane.setMembers(of: request.name, adding: adding)
        memberCount += adding.count
        return AddressSetAddMembers.Response(added: adding.count)
    }

    @inline(never)
    public func deleteMembers(_ request: AddressSetDeleteMembers) throws -> AddressSetDeleteMembers.Response {
        try checkUnplanned(addressSet: request.name)
        let document = try MemberDocument(request.neededText())
        try document.check(areIn: try addressSet(request.name), named: request.name)
        let removing = document.members
        try store.changeMembers(of: request.name, removing: removing)
        try dataplane.setMembers(of: request.name, removing: removing)
        memberCount -= removing.count
        return AddressSetDeleteMembers.Response(deleted: removing.count)
    }

    public func deleteAddressSet(_ request: AddressSetDelete) throws(Refusal) -> Done {
        try checkUnplanned(addressSet: request.name)
        let count = try addressSet(request.name).count
        for bridge in bridges.keys.sorted() {
            guard let flow = dataplane.flow(of: bridge, usingAddressSet: request.name) else { continue }
            throw Refusal(
                "address set '\(request.name)' is used in table \(flow.table) of bridge '\(bridge)' by the flow "
                    + "'\(FlowText.print(flow).prefix(200))': delete that first"
            )
        }
        try store.delete(addressSet: request.name)
        try dataplane.removeAddressSet(request.name)
        memberCount -= count
        return Done()
    }

    public func listAddressSets() -> AddressSetList.Response {
        let sets = dataplane.addressSets.map { name in
            AddressSetList.AddressSet(name: name, members: dataplane.members(of: name)?.count ?? 0)
        }
        return AddressSetList.Response(addressSets: sets)
    }

    func members(_ request: AddressSetShow) throws(Refusal) -> MemberListing {
        MemberListing(name: request.name, members: try addressSet(request.name))
    }

    /// Puts the sets of the state file in place.
    func restoreAddressSets(_ sets: [String: Set<AddressSetMember>]) {
        for (name, members) in sets {
            // A set with nothing to remove is never refused.
            try! dataplane.setMembers(of: name, adding: members)
            memberCount += members.count
        }
    }

    // MARK: Checks

    private func addressSet(_ name: String) throws(Refusal) -> Set<AddressSetMember> {
        guard let members = dataplane.members(of: name) else {
            throw Refusal(
                "address set '\(name.prefix(80))' does not exist: add it with address-set add; "
                    + "address-set list shows those that do"
            )
        }
        return members
    }

    func checkRoom(for count: Int) throws(Refusal) {
        guard memberCount + count <= Self.memberLimit else {
            throw Refusal(
                "address sets would have \(memberCount + count) members together; allowed are \(Self.memberLimit): "
                    + "write neighbours as one prefix"
            )
        }
    }
}

/// Members of an address set to be written down outside the switch.
struct MemberListing: Sendable {
    let name: String
    let members: Set<AddressSetMember>

    var response: AddressSetShow.Response {
        AddressSetShow.Response(name: name, members: members.sorted().map(\.description))
    }
}
