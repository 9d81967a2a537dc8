import Dataplane
import Foundation
import GRDB
import Synchronization

/// Why the state file cannot be used: one sentence with its path and what to do.
public struct StoreError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// The state file: an SQLite database that holds what an operator said, and outlives the daemon.
///
/// What a call has returned from is on disk (write-ahead log, synchronous=FULL). One daemon holds the file at a
/// time (locking_mode=EXCLUSIVE). A file that is damaged, foreign or of a newer schema is refused and left alone;
/// nothing here ever empties or replaces one. A file of an older schema is brought up to date, in one transaction.
public final class Store: Sendable {
    static var schemaVersion: Int { migrations.count }
    /// "MARL": says whose file it is, also to file(1).
    static let applicationID = 0x4d41_524c

    public let path: String
    let database: DatabaseQueue
    /// Whether the log has what the file has not.
    private let isAhead = Atomic(false)

    /// Opens `martlet.db` in a directory; creates both when missing.
    /// - Throws: `StoreError`.
    public convenience init(directory: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: directory,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o750]
            )
        } catch {
            throw StoreError("state directory '\(directory)' cannot be made (\(error.reason)): give another one")
        }
        try self.init(path: directory + "/martlet.db")
    }

    private init(path: String) throws {
        self.path = path
        do {
            if FileManager.default.fileExists(atPath: path) {
                try Self.checkUntouched(path)
            } else {
                try Self.create(path)
            }
            database = try DatabaseQueue(path: path, configuration: Self.configuration)
            try database.read { try Self.check($0, path: path) }
            try database.write(Self.migrate)
        } catch let error as DatabaseError {
            throw Self.sentence(for: error, path: path)
        }
    }

    /// Lets go of the file, so that another daemon may have it; every later write is refused.
    public func close() throws { try database.close() }

    /// Runs a write in a transaction of its own.
    func write(_ body: (Database) throws -> Void) throws {
        try database.write(body)
        isAhead.store(true, ordering: .relaxed)
    }

    /// Moves what was written from the log into the file, which no write waits for. Call it now and then.
    func checkpoint() throws {
        guard isAhead.exchange(false, ordering: .relaxed) else { return }
        _ = try database.writeWithoutTransaction { try $0.checkpoint() }
    }

    /// A new file is finished under another name first: whatever stands under `path` is whole.
    private static func create(_ path: String) throws {
        guard !FileManager.default.fileExists(atPath: path + "-wal") else {
            throw StoreError("state file '\(path)' is missing but its log '\(path)-wal' is there: \(restore(path))")
        }
        let draft = path + ".new"
        try? FileManager.default.removeItem(atPath: draft)
        try? FileManager.default.removeItem(atPath: draft + "-wal")
        let database = try DatabaseQueue(path: draft, configuration: configuration)
        try database.writeWithoutTransaction { database in
            // Kept in the file: whoever opens it finds it so.
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            try database.execute(sql: "PRAGMA application_id = \(applicationID)")
            try database.inTransaction {
                try migrate(database)
                return .commit
            }
        }
        try database.close()
        guard rename(draft, path) == 0 else {
            throw StoreError("state file '\(path)' cannot be made: \(String(cString: strerror(errno)))")
        }
    }

    /// Nothing in it writes, so that a file which is refused is left as it was.
    private static var configuration: Configuration {
        var configuration = Configuration()
        configuration.label = "martlet.store"
        configuration.prepareDatabase { database in
            // Before the first access: then the log's index is in memory, not in a shared file.
            try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
            try database.execute(sql: "PRAGMA synchronous = FULL")
            // Else the write that fills the log's thousandth page waits for another two syncs: see `checkpoint`.
            try database.execute(sql: "PRAGMA wal_autocheckpoint = 0")
        }
        return configuration
    }

    /// Checks a copy of the file and its log: to open a damaged file is to change it, since SQLite copies the log into
    /// it when it closes.
    private static func checkUntouched(_ path: String) throws {
        var status = stat()
        guard stat(path, &status) == 0, status.st_size > 0 else {
            throw StoreError("state file '\(path)' is empty: \(restore(path))")
        }
        let copy = path + ".check"
        let files = FileManager.default
        func removeCopy() { for suffix in ["", "-wal"] { try? files.removeItem(atPath: copy + suffix) } }
        removeCopy()
        defer { removeCopy() }
        do {
            for suffix in ["", "-wal"] where files.fileExists(atPath: path + suffix) {
                try files.copyItem(atPath: path + suffix, toPath: copy + suffix)
            }
        } catch {
            let reason = error.reason
            throw StoreError("state file '\(path)' cannot be read (\(reason)): check its rights and the disk's space")
        }
        let database = try DatabaseQueue(path: copy, configuration: configuration)
        try database.read { try check($0, path: path) }
        try database.close()
    }

    private static func check(_ database: Database, path: String) throws {
        let application = try Int.fetchOne(database, sql: "PRAGMA application_id")
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        guard application == applicationID, version > 0 else {
            throw StoreError("state file '\(path)' was not written by martletd: \(restore(path))")
        }
        guard version <= schemaVersion else {
            throw StoreError(
                "state file '\(path)' has schema version \(version) and this martletd knows \(schemaVersion): "
                    + "install the newer martlet that wrote it, or move the file aside to start empty"
            )
        }
        let verdict = try String.fetchOne(database, sql: "PRAGMA quick_check(1)") ?? "no answer"
        guard verdict == "ok" else {
            // SQLite answers in several lines; the first names the database only.
            let finding = verdict.split(separator: "\n").last ?? "unknown"
            throw StoreError("state file '\(path)' is damaged (\(finding)): \(restore(path))")
        }
    }

    static func sentence(for error: DatabaseError, path: String) -> StoreError {
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            StoreError("state file '\(path)' is in use by another martletd: stop that one or give another --state-dir")
        case .SQLITE_NOTADB, .SQLITE_CORRUPT:
            StoreError("state file '\(path)' is damaged (\(error.reason)): \(restore(path))")
        default:
            StoreError("state file '\(path)' cannot be used (\(error.reason)): check its rights and the disk's space")
        }
    }

    static func restore(_ path: String) -> String {
        "restore a backup, or move the file aside to start with an empty switch"
    }

    /// Makes the file's schema the newest. Does nothing when it is.
    private static func migrate(_ database: Database) throws {
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        guard version < schemaVersion else { return }
        for sql in migrations[version...] { try database.execute(sql: sql) }
        try database.execute(sql: "PRAGMA user_version = \(schemaVersion)")
    }

    /// What makes each version of the schema out of the one before. A change of the schema is one more at the end;
    /// those that were released stay as they are.
    private static let migrations = [
        """
        CREATE TABLE bridge (
            name TEXT PRIMARY KEY,
            fdb_capacity INTEGER NOT NULL,
            fdb_ageing INTEGER NOT NULL,
            forward_reserved INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE port (
            name TEXT PRIMARY KEY,
            bridge TEXT NOT NULL REFERENCES bridge ON DELETE CASCADE,
            number INTEGER NOT NULL,
            type TEXT NOT NULL,
            options TEXT NOT NULL,
            mtu INTEGER NOT NULL,
            vlan_mode TEXT NOT NULL,
            tag INTEGER,
            trunks TEXT NOT NULL,
            UNIQUE (bridge, number)
        ) STRICT;
        CREATE TABLE station (
            bridge TEXT NOT NULL REFERENCES bridge ON DELETE CASCADE,
            mac TEXT NOT NULL,
            vlan INTEGER NOT NULL,
            port TEXT NOT NULL REFERENCES port ON DELETE CASCADE,
            PRIMARY KEY (bridge, mac, vlan)
        ) STRICT;
        CREATE TABLE pin (
            port TEXT NOT NULL REFERENCES port ON DELETE CASCADE,
            queue INTEGER NOT NULL,
            lcore INTEGER NOT NULL,
            PRIMARY KEY (port, queue)
        ) STRICT;
        """,
        """
        CREATE TABLE flow (
            id INTEGER PRIMARY KEY,
            bridge TEXT NOT NULL REFERENCES bridge ON DELETE CASCADE,
            line TEXT NOT NULL
        ) STRICT;
        INSERT INTO flow (bridge, line) SELECT name, 'priority=0 actions=NORMAL' FROM bridge;
        """,
        """
        CREATE TABLE flow_group (
            bridge TEXT NOT NULL REFERENCES bridge ON DELETE CASCADE,
            number INTEGER NOT NULL,
            line TEXT NOT NULL,
            PRIMARY KEY (bridge, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE meter (
            bridge TEXT NOT NULL REFERENCES bridge ON DELETE CASCADE,
            number INTEGER NOT NULL,
            line TEXT NOT NULL,
            PRIMARY KEY (bridge, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE address_set (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
        CREATE TABLE address_set_member (
            address_set TEXT NOT NULL REFERENCES address_set ON DELETE CASCADE,
            member TEXT NOT NULL,
            PRIMARY KEY (address_set, member)
        ) STRICT, WITHOUT ROWID;
        """,
        """
        CREATE TABLE document (
            type TEXT NOT NULL,
            id TEXT NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (type, id)
        ) STRICT, WITHOUT ROWID;
        ALTER TABLE port ADD COLUMN planned INTEGER NOT NULL DEFAULT 0;
        """,
        """
        CREATE TABLE tombstone (
            type TEXT NOT NULL,
            id TEXT NOT NULL,
            revision INTEGER NOT NULL,
            PRIMARY KEY (type, id)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE document_floor (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            revision INTEGER NOT NULL
        ) STRICT;
        """,
        """
        CREATE TABLE tracking (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        """,
    ]
}

extension Error {
    /// What went wrong, in the words of the layer below.
    var reason: String {
        switch self {
        case let error as DatabaseError: error.message ?? "SQLite error \(error.resultCode.rawValue)"
        case let error as StoreError: error.description
        case let error as SocketError: error.description
        case let error as Refusal: error.reason
        case let error as FlowRefusal: error.description
        default: (self as NSError).localizedDescription
        }
    }
}
