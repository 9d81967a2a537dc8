import Dataplane
import Flows
import GRDB

/// A group or meter as the state file keeps it: in words, with ports by number, as flows are.
struct NumberedRecord<Value: Hashable & Sendable>: Hashable, Sendable {
    let bridge: String
    let number: UInt32
    let value: Value
    let line: String
}

// What has a number on its bridge: groups and meters.
extension Store {
    enum NumberedTable: String {
        case groups = "flow_group"
        case meters = "meter"
    }

    /// Writes groups or meters of a bridge, each in place of one with its number, or removes some, together with the flows
    /// that use them.
    /// - Parameter flows: rows of flows.
    func change<Value>(
        _ table: NumberedTable,
        of bridge: String,
        removing: [UInt32] = [],
        flows: [Int64] = [],
        putting records: [NumberedRecord<Value>]
    ) throws(Refusal) {
        try transaction { database in
            try Self.deleteFlows(flows, in: database)
            let deletion = try database.cachedStatement(
                sql: "DELETE FROM \(table.rawValue) WHERE bridge = ? AND number = ?"
            )
            for number in removing { try deletion.execute(arguments: [bridge, Int64(number)]) }
            let insertion = try database.cachedStatement(
                sql: "INSERT OR REPLACE INTO \(table.rawValue) VALUES (?, ?, ?)"
            )
            for record in records {
                try insertion.execute(arguments: [bridge, Int64(record.number), record.line])
            }
        }
    }

    /// Every group or meter of the file, by bridge and number.
    /// - Throws: `Refusal` for a row that no martletd wrote.
    static func records<Value>(
        of table: NumberedTable,
        in database: Database,
        _ parse: (String) throws(FlowSyntaxError) -> Value
    ) throws -> [NumberedRecord<Value>] {
        var records: [NumberedRecord<Value>] = []
        let sql = "SELECT bridge, number, line FROM \(table.rawValue) ORDER BY bridge, number"
        let rows = try Row.fetchCursor(database, sql: sql)
        while let row = try rows.next() {
            let (bridge, number, line): (String, UInt32, String) = (row[0], row[1], row[2])
            do throws(FlowSyntaxError) {
                records.append(NumberedRecord(bridge: bridge, number: number, value: try parse(line), line: line))
            } catch {
                throw Refusal("\(table.rawValue) '\(line.prefix(200))' of bridge '\(bridge)': \(error.reason)")
            }
        }
        return records
    }
}
