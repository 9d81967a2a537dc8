import Flows

/// A member of an address set: an IPv4, IPv6 or MAC address, or all those with its first bits.
///
/// Ordered by kind, then address, then the shorter prefix first.
public struct AddressSetMember: Hashable, Comparable, Sendable, CustomStringConvertible {
    enum Kind: UInt8 { case ipv4, ipv6, ethernet }

    let kind: Kind
    let value: UInt128
    let mask: UInt128

    /// - Throws: `Refusal` for text that is no address, with `/LENGTH` or `/MASK` or without.
    public init(_ text: String) throws(Refusal) {
        let kind: Kind = !text.contains(":") ? .ipv4 : Self.isEthernet(text) ? .ethernet : .ipv6
        let field = kind.field
        let prefix = kind == .ipv4 ? "ip,nw_src" : kind == .ipv6 ? "ipv6,ipv6_src" : "dl_src"
        let isPlain = text.utf8.allSatisfy { Self.characters.contains($0) }
        guard isPlain, let match = try? FlowText.flow("\(prefix)=\(text),actions=drop").match else {
            throw Refusal(
                "'\(text.prefix(80))' is not an address: write an IPv4, IPv6 or MAC address, with /LENGTH or without"
            )
        }
        self.kind = kind
        value = match.value[field.slot]
        mask = match.mask[field.slot]
    }

    /// The same member has the same text, which is read back as it.
    public var description: String { FlowText.print(value, of: kind.field, mask: mask) }

    public static func < (one: AddressSetMember, other: AddressSetMember) -> Bool {
        (one.kind.rawValue, one.value, one.mask) < (other.kind.rawValue, other.value, other.mask)
    }

    private static let characters = Set("0123456789abcdefABCDEF.:/".utf8)

    private static func isEthernet(_ text: String) -> Bool {
        text.prefix { $0 != "/" }.split(separator: ":", omittingEmptySubsequences: false).count == 6
            && !text.contains("::")
            && !text.contains(".")
    }

    /// What it is as a match of a field.
    func match(of slot: FieldSlot) -> Match {
        var (key, bits) = (FlowKey(), FlowKey())
        key[slot] = value
        bits[slot] = mask
        return Match(value: key, mask: bits)
    }
}

extension AddressSetMember.Kind {
    /// One of the fields that have members of the kind.
    fileprivate var field: Field {
        switch self {
        case .ipv4: .ipSource
        case .ipv6: .ipv6Source
        case .ethernet: .ethSource
        }
    }
}

/// The address sets of a switch, which flows name by `nw_src=$name`: the writer's side.
///
/// For each field that flows look a set up by, it is a flow table whose rules are the members. So a look-up costs as many
/// probes as there are lengths of prefixes, depends on no more bits than they have, and is of one version as the flows are;
/// a change costs what it changes.
final class AddressSets {
    private var sets: [String: AddressSet] = [:]

    var names: [String] { sets.keys.sorted() }

    deinit { for set in sets.values { set.free() } }

    func members(of name: String) -> Set<AddressSetMember>? { sets[name]?.members }

    /// The tables that a match looks fields up in.
    /// - Throws: `Refusal` for a set that does not exist.
    func tables(of match: Match, version: UInt64) throws(Refusal) -> [UnsafeMutablePointer<FlowTable>] {
        var tables: [UnsafeMutablePointer<FlowTable>] = []
        for reference in match.addressSets {
            guard let set = sets[reference.name] else {
                throw Refusal("address set '$\(reference.name)' does not exist: create it first")
            }
            tables.append(set.table(of: reference.field, version: version))
        }
        return tables
    }

    /// Counts a flow's use of sets, or takes it back.
    func use(_ references: [AddressSetReference], at place: TablePlace, _ change: Int) {
        for reference in references { sets[reference.name]?.uses[place.value, default: 0] += change }
    }

    /// - Returns: the tables whose flows use the set. Creates a set that is not there.
    func change(
        _ name: String,
        adding: Set<AddressSetMember>,
        removing: Set<AddressSetMember>,
        version: UInt64
    ) throws(Refusal) -> AddressSetChange {
        let set = sets[name] ?? AddressSet()
        guard removing.isSubset(of: set.members) else {
            throw Refusal("'$\(name)' does not have all of the members to remove")
        }
        sets[name] = set
        return set.change(
            // `subtracting` would go through all members.
            adding: adding.filter { !set.members.contains($0) },
            removing: removing.subtracting(adding),
            version: version
        )
    }

    /// - Throws: `Refusal` while a flow uses it.
    func remove(_ name: String) throws(Refusal) {
        guard let set = sets[name] else { throw Refusal("address set '$\(name)' does not exist") }
        guard set.uses.values.allSatisfy({ $0 == 0 }) else { throw Refusal("flows use address set '$\(name)'") }
        sets[name] = nil
        set.free()
    }
}

/// What a change of a set leaves to do once no worker is at a former version.
struct AddressSetChange {
    /// The tables of bridges whose flows use it.
    let places: [TablePlace]
    /// Takes out what has gone; the rest of the memory is freed after another quiescent state.
    let takeOut: ((Retired) -> Void) -> Void
}

private final class AddressSet {
    private(set) var members: Set<AddressSetMember> = []
    private var tables: [FieldSlot: Members] = [:]
    /// How many flows of a table use it.
    var uses: [UInt32: Int] = [:]

    private struct Members {
        let kind: AddressSetMember.Kind
        let table: UnsafeMutablePointer<FlowTable>
        var rules: [AddressSetMember: PlacedRule] = [:]
    }

    /// - Precondition: no reader is left.
    func free() {
        for one in tables.values {
            for placed in one.rules.values {
                one.table.pointee.remove(placed) { $0.free() }
                Rule.discard(placed.rule)
            }
            one.table.pointee.free()
            one.table.deinitialize(count: 1)
            one.table.deallocate()
        }
    }

    /// The table of a field; made of all members when none has been looked up by it before.
    func table(of field: Field, version: UInt64) -> UnsafeMutablePointer<FlowTable> {
        let slot = field.slot
        if let known = tables[slot] { return known.table }
        let table = UnsafeMutablePointer<FlowTable>.allocate(capacity: 1)
        table.initialize(to: FlowTable())
        let kind: AddressSetMember.Kind = slot.width == 128 ? .ipv6 : slot.width == 48 ? .ethernet : .ipv4
        var made = Members(kind: kind, table: table)
        // No reader knows the table yet.
        for member in members { Self.insert(member, into: &made, slot, version) { $0.free() } }
        tables[slot] = made
        return table
    }

    func change(
        adding: Set<AddressSetMember>,
        removing: Set<AddressSetMember>,
        version: UInt64
    ) -> AddressSetChange {
        members.formUnion(adding)
        members.subtract(removing)
        var retired: [Retired] = []
        var gone: [(PlacedRule, UnsafeMutablePointer<FlowTable>)] = []
        for slot in tables.keys {
            for member in removing {
                guard let placed = tables[slot]!.rules.removeValue(forKey: member) else { continue }
                placed.rule.pointee.removed.store(version, ordering: .relaxed)
                gone.append((placed, tables[slot]!.table))
            }
            for member in adding { Self.insert(member, into: &tables[slot]!, slot, version) { retired.append($0) } }
        }
        let places = uses.filter { $0.value != 0 }.keys.map { TablePlace(value: $0) }
        return AddressSetChange(places: places) { retire in
            retired.forEach(retire)
            for (placed, table) in gone {
                table.pointee.remove(placed, retire: retire)
                retire(Retired { Rule.discard(placed.rule) })
            }
        }
    }

    private static func insert(
        _ member: AddressSetMember,
        into members: inout Members,
        _ slot: FieldSlot,
        _ version: UInt64,
        retire: (Retired) -> Void
    ) {
        guard member.kind == members.kind else { return }
        members.rules[member] = members.table.pointee
            .insert(0, of: member.match(of: slot), .none, priority: 0, version: version, retire: retire)
    }
}
