import Dataplane
import Networking
import Wire

// Address sets that are there for documents: the members of security groups. The dataplane holds them; the state file does
// not, for they follow from documents as flows do.
extension Switch {
    /// What a change of documents changes of address sets, in the order in which it is done around that of flows: a packet
    /// meets no rule without the members that it had, and has.
    struct SetPlan {
        var coming: [SetMembers] = []
        var growing: [SetMembers] = []
        var shrinking: [SetMembers] = []
        var going: [String] = []
    }

    struct SetMembers {
        let name: String
        var adding: Set<AddressSetMember> = []
        var removing: Set<AddressSetMember> = []
    }

    func setPlan(_ differences: [AddressSetDifference]) throws(Refusal) -> SetPlan {
        var plan = SetPlan()
        for one in differences {
            let (added, removed) = (try members(one.added), try members(one.removed))
            switch one.fate {
            case .comes: plan.coming.append(SetMembers(name: one.name, adding: added))
            case .stays:
                if !added.isEmpty { plan.growing.append(SetMembers(name: one.name, adding: added)) }
                if !removed.isEmpty { plan.shrinking.append(SetMembers(name: one.name, removing: removed)) }
            case .goes: plan.going.append(one.name)
            }
        }
        try checkRoom(for: (plan.coming + plan.growing).reduce(0) { $0 + $1.adding.count })
        return plan
    }

    private func members(_ prefixes: [IPPrefix]) throws(Refusal) -> Set<AddressSetMember> {
        var members = Set<AddressSetMember>(minimumCapacity: prefixes.count)
        for prefix in prefixes { members.insert(try AddressSetMember(prefix.description)) }
        return members
    }

    func install(_ sets: [SetMembers]) {
        for set in sets {
            // A set has what documents had it have before.
            try! dataplane.setMembers(of: set.name, adding: set.adding, removing: set.removing)
            memberCount += set.adding.count - set.removing.count
        }
    }

    /// Sets that no flow uses any more.
    func removeSets(_ names: [String]) {
        for name in names {
            memberCount -= dataplane.members(of: name)?.count ?? 0
            try! dataplane.removeAddressSet(name)
        }
    }

    /// - Throws: `Refusal` for the name of a set that is there for documents.
    func checkUnplanned(addressSet name: String) throws(Refusal) {
        guard name.hasPrefix(NetworkState.addressSetPrefix) else { return }
        throw Refusal(
            "address set '\(name.prefix(80))' is a security group's: names that begin with "
                + "'\(NetworkState.addressSetPrefix)' are those of network documents"
        )
    }
}
