import Dataplane
import GRDB

// Address sets: a row for each member, so that a change costs what it changes.
extension Store {
    func add(addressSet name: String, members: Set<AddressSetMember>) throws(Refusal) {
        try transaction { database in
            try database.execute(sql: "INSERT INTO address_set VALUES (?)", arguments: [name])
            try Self.insert(members, into: name, in: database)
        }
    }

    /// Its members go with it.
    func delete(addressSet name: String) throws(Refusal) {
        try transaction { try $0.execute(sql: "DELETE FROM address_set WHERE name = ?", arguments: [name]) }
    }

    /// Adds members that are not there and removes some that are.
    func changeMembers(
        of name: String,
        adding: Set<AddressSetMember> = [],
        removing: Set<AddressSetMember> = []
    ) throws(Refusal) {
        guard !adding.isEmpty || !removing.isEmpty else { return }
        try transaction { database in
            try Self.insert(adding, into: name, in: database)
            let statement = try database.cachedStatement(
                sql: "DELETE FROM address_set_member WHERE address_set = ? AND member = ?"
            )
            for member in removing { try statement.execute(arguments: [name, member.description]) }
        }
    }

    private static func insert(_ members: Set<AddressSetMember>, into name: String, in database: Database) throws {
        let statement = try database.cachedStatement(sql: "INSERT INTO address_set_member VALUES (?, ?)")
        for member in members { try statement.execute(arguments: [name, member.description]) }
    }

    /// - Throws: `Refusal` for a member that no martletd wrote.
    static func addressSets(in database: Database) throws -> [String: Set<AddressSetMember>] {
        var sets: [String: Set<AddressSetMember>] = [:]
        for name in try String.fetchAll(database, sql: "SELECT name FROM address_set") { sets[name] = [] }
        let rows = try Row.fetchCursor(database, sql: "SELECT address_set, member FROM address_set_member")
        while let row = try rows.next() {
            let name: String = row[0]
            sets[name, default: []].insert(try AddressSetMember(row[1] as String))
        }
        return sets
    }
}
