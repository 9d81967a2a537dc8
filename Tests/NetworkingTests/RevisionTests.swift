import Seeds
import Testing

@testable import Networking

/// Deliveries that are repeated, late, or overtaken by others.
struct RevisionTests {
    private static func port(_ revision: Int, of id: String = "a", on host: String? = "b") -> String {
        Cloud.port(id, 1, on: host, more: ", \"revision\": \(revision)")
    }

    private static func removal(_ revision: Int, of id: String = "a") -> String {
        "{\"type\": \"port\", \"id\": \"\(id)\", \"revision\": \(revision), \"deleted\": true}"
    }

    @Test func whatWasRemovedDoesNotComeBackWithAnOlderDocument() throws {
        var cloud = Cloud()
        try cloud.apply(Cloud.hosts + "\n" + Self.port(5))
        #expect(try cloud.apply(Self.removal(4)).isEmpty)
        #expect(try cloud.apply(Self.removal(6)).documents.count == 1)
        for late in [Self.port(5), Self.port(6), Self.removal(6)] { #expect(try cloud.apply(late).isEmpty) }
        #expect(try cloud.apply(Self.port(7)).documents.count == 1)
        // Without a revision it is meant whatever there is.
        try cloud.apply(Self.removal(9))
        #expect(try cloud.apply(Self.port(0)).documents.count == 1)
    }

    @Test func aRemovalThatOvertakesItsDocumentIsRemembered() throws {
        var cloud = Cloud()
        try cloud.apply(Cloud.hosts)
        let removal = try cloud.apply(Self.removal(6))
        #expect(removal.documents.isEmpty && !removal.isEmpty)
        #expect(try cloud.apply(Self.port(5)).isEmpty)
        // Unless it is taken back.
        cloud.state.revert(removal)
        #expect(try cloud.apply(Self.port(5)).documents.count == 1)
    }

    @Test func withinATransactionTheLaterRevisionCounts() throws {
        for lines in [[Self.port(5), Self.removal(6)], [Self.removal(6), Self.port(5)]] {
            var cloud = Cloud()
            try cloud.apply(Cloud.hosts)
            try cloud.apply(lines.joined(separator: "\n"))
            #expect(cloud.state.ports["a"] == nil && cloud.state.outdated.tombstones.count == 1)
        }
    }

    @Test func aSnapshotOutdatesWhatWasSentBefore() throws {
        var cloud = Cloud()
        try cloud.apply(Cloud.hosts + "\n" + Self.port(3, of: "old"))
        let snapshot = try cloud.apply(Cloud.hosts, isSnapshot: true, revision: 10)
        #expect(snapshot.documents.map(\.key.id) == ["old"] && snapshot.unnamedCount == 1)
        for late in [Self.port(9, of: "old"), Self.port(9, of: "new"), Self.removal(9, of: "new")] {
            #expect(try cloud.apply(late).isEmpty)
        }
        #expect(try cloud.apply(Self.port(11, of: "new")).documents.count == 1)
        // One that was overtaken itself.
        #expect(try cloud.apply("", isSnapshot: true, revision: 9).isEmpty)
    }

    @Test func whatIsNewerThanASnapshotStays() throws {
        var cloud = Cloud()
        try cloud.apply(Cloud.hosts + "\n" + Self.port(12, of: "new", on: "c"))
        try cloud.apply(Self.removal(12, of: "gone"))
        let named = Self.port(8, of: "new") + "\n" + Self.port(8, of: "gone").replacing("00:01", with: "00:02")
        try cloud.apply(Cloud.hosts + "\n" + named, isSnapshot: true, revision: 10)
        #expect(cloud.state.ports["new"]?.host == "c" && cloud.state.ports["gone"] == nil)
        try cloud.apply(Cloud.hosts, isSnapshot: true, revision: 11)
        #expect(cloud.state.ports["new"]?.host == "c")
    }

    /// What one names says how it was then, also what was changed before.
    @Test func aSnapshotSetsWhatItNamesToWhatItSays() throws {
        var cloud = Cloud()
        try cloud.apply(Cloud.hosts + "\n" + Self.port(9, on: "c"))
        try cloud.apply(Cloud.hosts + "\n" + Self.port(8, on: "b"), isSnapshot: true, revision: 10)
        #expect(cloud.state.ports["a"]?.host == "b")
    }

    @Test func aSnapshotDoesNotTakeAwayWhatItNamesWithAnOlderRevision() throws {
        var cloud = Cloud()
        try cloud.apply(Cloud.hosts + "\n" + Self.port(9, on: "c"))
        #expect(try cloud.apply(Cloud.hosts + "\n" + Self.port(8, on: "b"), isSnapshot: true).isEmpty)
    }

    @Test func ofTooManyRemovalsTheLatestAreRemembered() throws {
        var cloud = Cloud()
        try cloud.apply(Cloud.hosts)
        let count = OutdatedRevisions.capacity + 1
        try cloud.apply((1...count).map { Self.removal($0, of: "p\($0)") }.joined(separator: "\n"))
        try cloud.apply(Self.removal(count + 1, of: "last"))
        #expect(cloud.state.outdated.tombstones.count <= OutdatedRevisions.capacity)
        #expect(cloud.state.outdated.tombstones[DocumentKey(.port, "p\(count)")] != nil)
        #expect(cloud.state.outdated.tombstones[DocumentKey(.port, "p1")] == nil)
        // A snapshot stands for all of them.
        try cloud.apply(Cloud.hosts, isSnapshot: true, revision: 1_000_000)
        #expect(cloud.state.outdated.tombstones.isEmpty && cloud.state.outdated.floor == 1_000_000)
    }

    // MARK: - Any order

    @Test(arguments: seeds)
    func deliveriesInAnyOrderEndInTheStateOfASnapshot(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<30 {
            var sender = Sender()
            for _ in 0..<40 { sender.happen(&random) }
            var cloud = Cloud()
            try cloud.apply(Sender.fixed)
            for one in sender.deliveries(&random) { try one.arrive(at: &cloud) }
            var fresh = Cloud()
            try fresh.apply(sender.snapshot, isSnapshot: true, revision: sender.revision)
            #expect(cloud.state.typeDigests == fresh.state.typeDigests)
            #expect(cloud.state.networkDigests == fresh.state.networkDigests)
            #expect(cloud.state.ports == fresh.state.ports && cloud.state.subnets == fresh.state.subnets)
        }
    }
}

/// What a driver sends to a host: every change as a delivery of its own, and snapshots between them.
private struct Sender {
    /// What no delivery changes, so that none is refused for want of it.
    static let fixed = Cloud.hosts

    private(set) var revision: UInt64 = 0
    private var current: [String: String] = [:]
    private var sent: [Delivery] = []

    struct Delivery {
        let text: String
        var isSnapshot = false
        var revision: UInt64?

        func arrive(at cloud: inout Cloud) throws {
            try cloud.apply(text, isSnapshot: isSnapshot, revision: revision)
        }
    }

    var snapshot: String { ([Self.fixed] + current.sorted { $0.key < $1.key }.map(\.value)).joined(separator: "\n") }

    mutating func happen(_ random: inout SeededGenerator) {
        revision += 1
        let number = Int.random(in: 1..<6, using: &random)
        let id = "p\(number)"
        switch Int.random(in: 0..<10, using: &random) {
        case 0: sent.append(Delivery(text: snapshot, isSnapshot: true, revision: revision))
        case 1...3:
            current[id] = nil
            let text = "{\"type\": \"port\", \"id\": \"\(id)\", \"revision\": \(revision), \"deleted\": true}"
            sent.append(Delivery(text: text))
        case 4:
            let cidr = "\"cidr\": \"10.\(revision).0.0/16\", \"revision\": \(revision)"
            send("s", DocumentTests.subnet(cidr).replacing("\"n\"", with: "\"blue\""))
        default:
            let host = ["here", "b", "c", nil].randomElement(using: &random)!
            send(id, Cloud.port(id, number, on: host, more: ", \"revision\": \(revision)"))
        }
    }

    private mutating func send(_ id: String, _ text: String) {
        current[id] = text
        sent.append(Delivery(text: text))
    }

    /// All of them at least once, in any order.
    func deliveries(_ random: inout SeededGenerator) -> [Delivery] {
        let repeated = sent.filter { _ in Bool.random(using: &random) }
        return (sent + repeated).shuffled(using: &random)
    }
}
