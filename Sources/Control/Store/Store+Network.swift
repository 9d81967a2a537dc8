import Dataplane
import GRDB
import Networking

// Documents are kept as they were said, a row each. The ports that follow from them are kept as all ports are, because
// queues and stations hang on them; the flows are computed anew at each start.
extension Store {
    /// What one change of documents changes of the file.
    struct NetworkRecords {
        var documents: [DocumentChange] = []
        var outdated = OutdatedRevisions.Change()
        var portsRemoved: [String] = []
        /// New ones, or with another VLAN.
        var ports: [PortRecord] = []
        /// Rows of flows whose place others take.
        var flowsRemoved: [Int64] = []
        /// Bridges to come, with their first flows.
        var bridges: [FlowRecord] = []
    }

    func change(_ records: NetworkRecords) throws(Refusal) {
        try transaction { database in
            for first in records.bridges {
                try Self.add(bridge: first.bridge, BridgeSettings(), first: first, in: database)
            }
            for name in records.portsRemoved {
                try database.execute(sql: "DELETE FROM port WHERE name = ?", arguments: [name])
            }
            for port in records.ports { try Self.put(port, in: database) }
            try Self.deleteFlows(records.flowsRemoved, in: database)
            try Self.change(records.documents, in: database)
            try Self.change(records.outdated, in: database)
        }
    }

    private static func change(_ documents: [DocumentChange], in database: Database) throws {
        let insertion = try database.cachedStatement(sql: "INSERT OR REPLACE INTO document VALUES (?, ?, ?)")
        let deletion = try database.cachedStatement(sql: "DELETE FROM document WHERE type = ? AND id = ?")
        for change in documents {
            let (type, id) = (change.key.type.rawValue, change.key.id)
            if change.document == nil {
                try deletion.execute(arguments: [type, id])
            } else {
                try insertion.execute(arguments: [type, id, String(change.text)])
            }
        }
    }

    private static func change(_ outdated: OutdatedRevisions.Change, in database: Database) throws {
        let insertion = try database.cachedStatement(sql: "INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?)")
        let deletion = try database.cachedStatement(sql: "DELETE FROM tombstone WHERE type = ? AND id = ?")
        for one in outdated.tombstones {
            let (type, id) = (one.key.type.rawValue, one.key.id)
            if let revision = one.revision {
                try insertion.execute(arguments: [type, id, Int64(revision)])
            } else {
                try deletion.execute(arguments: [type, id])
            }
        }
        guard let floor = outdated.floor else { return }
        try database.execute(sql: "INSERT OR REPLACE INTO document_floor VALUES (1, ?)", arguments: [Int64(floor)])
    }

    /// - Throws: `Refusal` for a row that no martletd wrote.
    static func outdated(in database: Database) throws -> OutdatedRevisions.Change {
        let floor = try Int64.fetchOne(database, sql: "SELECT revision FROM document_floor")
        let tombstones = try Row.fetchAll(database, sql: "SELECT * FROM tombstone").map { row in
            let (name, id, revision): (String, String, Int64) = (row["type"], row["id"], row["revision"])
            guard let type = DocumentType(rawValue: name), let revision = UInt64(exactly: revision) else {
                throw Refusal("a tombstone of type '\(name)' with revision \(revision)")
            }
            return OutdatedRevisions.Tombstone(key: DocumentKey(type, id), revision: revision)
        }
        return OutdatedRevisions.Change(floor: floor.flatMap(UInt64.init(exactly:)), tombstones: tombstones)
    }

    static func documents(in database: Database) throws -> [String] {
        try String.fetchAll(database, sql: "SELECT text FROM document")
    }
}
