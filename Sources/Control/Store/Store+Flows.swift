import Dataplane
import Flows
import GRDB

/// A flow as the state file keeps it.
struct FlowRecord: Hashable, Sendable {
    /// The file's name of it; never 0, and never used again while the daemon runs.
    let row: Int64
    let bridge: String
    let flow: Flow
    /// The flow in words, with ports by number: a name may be another port's after the next start.
    let line: String
}

// Flows are kept as text, in the syntax that this and every later martletd reads: a layout of our own would need a
// migration whenever a field is added.
extension Store {
    /// Adds a bridge with its first flow.
    func add(bridge: String, _ settings: BridgeSettings, first: FlowRecord) throws(Refusal) {
        try transaction { try Self.add(bridge: bridge, settings, first: first, in: $0) }
    }

    static func add(
        bridge: String,
        _ settings: BridgeSettings,
        first: FlowRecord,
        in database: Database
    ) throws {
        try put(bridge: bridge, settings, in: database)
        try insert([first], in: database)
    }

    /// Removes the flows in some rows and adds others, all or nothing.
    func changeFlows(removing rows: [Int64], adding records: [FlowRecord]) throws(Refusal) {
        guard !rows.isEmpty || !records.isEmpty else { return }
        try transaction { database in
            try Self.deleteFlows(rows, in: database)
            try Self.insert(records, in: database)
        }
    }

    static func deleteFlows(_ rows: [Int64], in database: Database) throws {
        let statement = try database.cachedStatement(sql: "DELETE FROM flow WHERE id = ?")
        for row in rows { try statement.execute(arguments: [row]) }
    }

    private static func insert(_ records: [FlowRecord], in database: Database) throws {
        let statement = try database.cachedStatement(sql: "INSERT INTO flow VALUES (?, ?, ?)")
        for record in records {
            try statement.execute(arguments: [record.row, record.bridge, record.line])
        }
    }

    /// Every flow of the file, in the order they were added.
    /// - Throws: `Refusal` for a row that no martletd wrote.
    static func flows(in database: Database) throws -> [FlowRecord] {
        var records: [FlowRecord] = []
        let rows = try Row.fetchCursor(database, sql: "SELECT id, bridge, line FROM flow ORDER BY id")
        while let row = try rows.next() {
            let line: String = row[2]
            do throws(FlowSyntaxError) {
                records.append(FlowRecord(row: row[0], bridge: row[1], flow: try FlowText.flow(line), line: line))
            } catch {
                throw Refusal("flow '\(line.prefix(200))' of bridge '\(row[1] as String)': \(error.reason)")
            }
        }
        return records
    }
}
