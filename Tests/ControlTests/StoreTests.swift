import Foundation
import GRDB
import Testing

@testable import Control

@Suite struct StoreTests {
    private let home = TemporaryDirectory()
    private var directory: String { home.path }
    private var path: String { directory + "/martlet.db" }

    @Test func createsItsDirectory() throws {
        let store = try Store(directory: directory + "/a/b")
        #expect(store.path == directory + "/a/b/martlet.db")
        #expect(try store.load() == SwitchState())
    }

    @Test func holdsWhatWasAcknowledgedWhenTheDaemonIsKilled() async throws {
        let bench = try await Bench.furnished()
        let state = try bench.store.load()
        // What a killed daemon leaves: the file and its log as they are at this moment.
        let copy = TemporaryDirectory()
        for name in ["martlet.db", "martlet.db-wal"] {
            try FileManager.default.copyItem(atPath: bench.directory + "/" + name, toPath: copy.path + "/" + name)
        }
        #expect(try Store(directory: copy.path).load() == state)
        #expect(state.ports.count == 2)
    }

    @Test func belongsToOneDaemonAtATime() throws {
        let store = try Store(directory: directory)
        expectRefusal("is in use by another martletd")
        try store.close()
        _ = try Store(directory: directory)
    }

    @Test func refusesANewerSchemaAndLeavesItAlone() throws {
        try Store(directory: directory).close()
        try alter("PRAGMA user_version = 7")
        expectUntouched("has schema version 7 and this martletd knows 6: install the newer martlet")
    }

    @Test func refusesAForeignDatabase() throws {
        try alter("CREATE TABLE t (x)")
        expectUntouched("was not written by martletd")
    }

    @Test(arguments: [0, 100, 4096, 5000])
    func refusesADamagedFileAndLeavesItAlone(length: Int) throws {
        try Store(directory: directory).close()
        let whole = try Data(contentsOf: URL(filePath: path))
        #expect(whole.count > 5000)
        try whole.prefix(length).write(to: URL(filePath: path))
        expectUntouched("restore a backup, or move the file aside")
    }

    @Test func refusesAFileThatIsNoDatabase() throws {
        try Data(repeating: 0x5a, count: 10_000).write(to: URL(filePath: path))
        expectUntouched("is damaged")
    }

    @Test func refusesALogWithoutItsFile() throws {
        try Data("leftover".utf8).write(to: URL(filePath: path + "-wal"))
        expectRefusal("is missing but its log")
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func refusesAValueThatCannotBe() throws {
        try Store(directory: directory).close()
        try alter("INSERT INTO bridge VALUES ('br0', 1, 300, 0)")
        let store = try Store(directory: directory)
        let error = #expect(throws: StoreError.self) { try store.load() }
        #expect(error?.description.contains("FDB capacity 1 is outside") == true)
        #expect(error?.description.contains(path) == true)
    }

    @Test func refusesADirectoryThatCannotBeMade() {
        #expect(throws: StoreError.self) { try Store(directory: "/proc/martlet") }
    }

    private func alter(_ sql: String) throws {
        let database = try DatabaseQueue(path: path)
        try database.write { try $0.execute(sql: sql) }
        try database.close()
    }

    private func expectRefusal(_ words: String, _ location: SourceLocation = #_sourceLocation) {
        let error = #expect(throws: StoreError.self, sourceLocation: location) { try Store(directory: directory) }
        #expect(error?.description.contains(words) == true, "\(error as Any)", sourceLocation: location)
        #expect(error?.description.contains(path) == true, sourceLocation: location)
    }

    private func expectUntouched(_ words: String, _ location: SourceLocation = #_sourceLocation) {
        let before = try? Data(contentsOf: URL(filePath: path))
        expectRefusal(words, location)
        #expect(before != nil && before == (try? Data(contentsOf: URL(filePath: path))), sourceLocation: location)
    }
}
