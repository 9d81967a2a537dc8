import Glibc
import Seeds
import Synchronization
import Testing
import Wire

@testable import Dataplane

/// The table itself, with the time given.
@Suite struct ForwardingDatabaseTests {
    @Test func holdsAsManyStationsAsItsCapacity() {
        let table = Table(capacity: 1000)
        for mac in 0..<5000 { table.learn(UInt64(mac), port: 1, now: 10) }
        #expect(table.statistics.entries == 1000)
        #expect(table.entries(now: 10).count == 1000)
        #expect(table.statistics.learned == 5000)
        #expect(table.statistics.evicted == 4000)
        #expect(table.statistics.capacity == 1000)
    }

    @Test(arguments: [16, 1000, 8192, 100_000])
    func learnsItsCapacityBeforeItEvicts(capacity: Int) { fill(capacity) }

    @Test
    func learnsItsCapacityWithTheFewestPlacesToSpare() { fill(5120) }

    private func fill(_ capacity: Int) {
        let table = Table(capacity: capacity)
        for mac in 0..<capacity { table.learn(UInt64(mac) &* 0x1_0003, port: 1, now: 10) }
        #expect(table.statistics.evicted == 0)
        #expect(table.statistics.entries == capacity)
    }

    @Test func evictsTheOldestOfThePortWithMostStations() {
        let table = Table(capacity: 64)
        // The oldest of all are on a port with few.
        for mac in 0..<4 { table.learn(UInt64(mac), port: 1, now: 10) }
        for mac in 100..<1000 { table.learn(UInt64(mac), port: 2, now: 20) }
        for mac in 0..<4 { #expect(table.port(of: UInt64(mac)) == 1) }
        for mac in 940..<1000 { #expect(table.port(of: UInt64(mac)) == 2) }
        #expect(table.port(of: 939) == nil)
        // A newcomer on a third port is at the expense of the second.
        table.learn(5000, port: 3, now: 30)
        #expect(table.port(of: 5000) == 3)
        #expect(table.port(of: 940) == nil)
        #expect(table.port(of: 941) == 2)
    }

    @Test func evictsWhatWasSilentLongestNotWhatWasLearnedFirst() {
        let table = Table(capacity: 16)
        for mac in 0..<16 { table.learn(UInt64(mac), port: 1, now: 10) }
        table.learn(0, port: 1, now: 11)
        table.learn(100, port: 1, now: 12)
        #expect(table.port(of: 0) == 1)
        #expect(table.port(of: 1) == nil)
    }

    @Test func neverEvictsMovesOrAgesStaticEntries() {
        let table = Table(capacity: 64, ageing: 10)
        for mac in 0..<10 { #expect(table.addStatic(UInt64(mac), port: 1)) }
        for mac in 0..<5000 { table.learn(UInt64(mac), port: 2, now: 10) }
        table.fdb.removeAged(now: 1_000_000)
        for mac in 0..<10 { #expect(table.port(of: UInt64(mac)) == 1) }
        #expect(table.statistics.entries == 10)
        #expect(table.statistics.moved == 0)
        #expect(table.statistics.aged == 54)
        #expect(table.entries(now: 1_000_000).allSatisfy { $0.isStatic && $0.age == 0 })
    }

    @Test func refusesWhenItIsFullOfStaticEntries() {
        let table = Table(capacity: 16)
        for mac in 0..<16 { #expect(table.addStatic(UInt64(mac), port: 1)) }
        #expect(!table.addStatic(100, port: 1))
        table.learn(101, port: 2, now: 10)
        #expect(table.port(of: 101) == nil)
        #expect(table.statistics.entries == 16)
        #expect(table.statistics.evicted == 0)
        // In its own place one is still put anew.
        #expect(table.addStatic(3, port: 2))
        #expect(table.port(of: 3) == 2)
    }

    @Test func evictsALearnedStationForAStaticEntry() {
        let table = Table(capacity: 16)
        for mac in 0..<16 { table.learn(UInt64(mac), port: 1, now: 10) }
        #expect(table.addStatic(100, port: 2))
        #expect(table.port(of: 100) == 2)
        #expect(table.port(of: 0) == nil)
        #expect(table.statistics.entries == 16)
    }

    @Test func putsAStaticEntryInPlaceOfALearnedOne() {
        let table = Table(capacity: 16)
        table.learn(1, port: 1, now: 10)
        #expect(table.addStatic(1, port: 2))
        #expect(
            table.entries(now: 10) == [
                .init(mac: .init(value: 1), vlan: .untagged, port: .init(2), age: 0, isStatic: true)
            ]
        )
        #expect(table.statistics.entries == 1)
    }

    @Test func agesStationsOneByOne() {
        let table = Table(capacity: 2000, ageing: 300)
        // More than one turn of the lock takes.
        for mac in 0..<1000 { table.learn(UInt64(mac), port: UInt16(mac % 3), now: 100 + UInt32(mac / 10)) }
        table.fdb.removeAged(now: 400)
        #expect(table.statistics.aged == 0)
        table.fdb.removeAged(now: 450)
        #expect(table.statistics.aged == 500)
        #expect(table.statistics.entries == 500)
        #expect(table.port(of: 499) == nil)
        #expect(table.port(of: 500) == 2)
        table.fdb.removeAged(now: 10_000)
        #expect(table.statistics.aged == 1000)
        #expect(table.entries(now: 100).isEmpty)
    }

    @Test func listsNoSilentStationButFindsItUntilItIsRemoved() {
        let table = Table(capacity: 16, ageing: 300)
        table.learn(1, port: 1, now: 100)
        #expect(table.entries(now: 400).count == 1)
        #expect(table.entries(now: 401).isEmpty)
        #expect(table.port(of: 1) == 1)
        table.fdb.setAgeing(301)
        #expect(table.entries(now: 401).count == 1)
        table.fdb.removeAged(now: 402)
        #expect(table.port(of: 1) == nil)
    }

    @Test func remembersASilentStationThatSpeaksAgain() {
        let table = Table(capacity: 16, ageing: 300)
        table.learn(1, port: 1, now: 100)
        table.learn(2, port: 1, now: 200)
        table.learn(1, port: 1, now: 300)
        table.fdb.removeAged(now: 550)
        #expect(table.port(of: 1) == 1)
        #expect(table.port(of: 2) == nil)
    }

    @Test func tellsTheAgeOfAStation() {
        let table = Table(capacity: 16)
        table.learn(1, port: 1, now: 100)
        #expect(table.entries(now: 142).map(\.age) == [42])
        table.learn(1, port: 1, now: 150)
        #expect(table.entries(now: 150).map(\.age) == [0])
        #expect(table.statistics.learned == 1)
    }

    @Test func agesOverTheWrapOfTheClock() {
        let table = Table(capacity: 16, ageing: 300)
        table.learn(1, port: 1, now: .max - 10)
        table.fdb.removeAged(now: 200)
        #expect(table.port(of: 1) == 1)
        table.fdb.removeAged(now: 400)
        #expect(table.port(of: 1) == nil)
    }

    /// A worker may note a second that begins after `age` and `fdb` have read the clock.
    @Test
    func keepsAStationThatAWorkerSawASecondLater() {
        let table = Table(capacity: 16)
        table.learn(1, port: 1, now: 101)
        #expect(table.entries(now: 100).map(\.age) == [0])
        table.fdb.removeAged(now: 100)
        #expect(table.port(of: 1) == 1)
    }

    @Test func keepsVLANsApart() {
        let table = Table(capacity: 16)
        table.fdb.learn(.init(vlan: 1, mac: 5), bucket: table.fdb.bucket(of: .init(vlan: 1, mac: 5)), port: 1, now: 1)
        table.fdb.learn(
            .init(vlan: 4094, mac: 5),
            bucket: table.fdb.bucket(of: .init(vlan: 4094, mac: 5)),
            port: 2,
            now: 1
        )
        #expect(table.port(of: 5) == nil)
        #expect(Set(table.entries(now: 1).map { [$0.vlan.value, $0.port.value] }) == [[1, 1], [4094, 2]])
    }

    @Test func adoptsStationsInTheOrderOfTheirLastFrame() {
        let old = Table(capacity: 64)
        for mac in 0..<32 { old.learn(UInt64(mac), port: 1, now: UInt32(100 - mac)) }
        #expect(old.addStatic(1000, port: 2))
        let new = Table(capacity: 16)
        new.fdb.adopt(old.fdb)
        #expect(Set(new.entries(now: 100).map(\.mac.value)) == Set((0..<15).map { UInt64($0) } + [1000]))
        // The lists are in order as well: the next to go is the oldest.
        new.learn(2000, port: 1, now: 101)
        #expect(new.port(of: 14) == nil)
        #expect(new.port(of: 13) == 1)
    }

    @Test func removesWhatMatchesAndNothingElse() {
        let table = Table(capacity: 10_000)
        for mac in 0..<5000 { table.learn(UInt64(mac), port: UInt16(mac % 2), now: 1) }
        #expect(table.fdb.removeAll { $1.port == 1 } == 2500)
        #expect(table.entries(now: 1).allSatisfy { $0.mac.value % 2 == 0 })
        #expect(table.statistics.entries == 2500)
    }

    /// Readers must see a station's own port or none, whatever the writer does to the bucket meanwhile.
    @Test func readersNeverSeeAnotherStationsPort() {
        let table = Table(capacity: 64)
        let race = Race(table: table.fdb)
        var threads = [pthread_t](repeating: 0, count: 2)
        for index in threads.indices {
            let argument = Unmanaged.passUnretained(race).toOpaque()
            let result = pthread_create(
                &threads[index],
                nil,
                { argument in
                    Unmanaged<Race>.fromOpaque(argument!).takeUnretainedValue().read()
                    return nil
                },
                argument
            )
            #expect(result == 0)
        }
        var random = SeededGenerator(seed: 7)
        var writes = 0
        // Until the readers have met enough stations, at most for a bounded number of writes.
        while race.hits.load(ordering: .relaxed) < 50_000 && writes < 20_000_000 {
            let mac = UInt64.random(in: 0..<256, using: &random)
            if Bool.random(using: &random) {
                table.learn(mac, port: Race.port(of: mac), now: 1)
            } else {
                _ = table.remove(mac)
            }
            writes += 1
        }
        race.ends.store(true, ordering: .relaxed)
        for thread in threads { pthread_join(thread, nil) }
        #expect(race.wrong.load(ordering: .relaxed) == 0)
        #expect(race.hits.load(ordering: .relaxed) >= 50_000)
    }
}

/// Readers beside a writer. Kept alive by the test that joins them.
private final class Race: Sendable {
    nonisolated(unsafe) let table: ForwardingDatabase
    let ends = Atomic<Bool>(false)
    let hits = Atomic<Int>(0)
    let wrong = Atomic<Int>(0)

    init(table: ForwardingDatabase) { self.table = table }

    static func port(of mac: UInt64) -> UInt16 { UInt16(mac * 3 % 1000) }

    func read() {
        while !ends.load(ordering: .relaxed) {
            for mac in 0..<UInt64(256) {
                let key = ForwardingDatabase.Key(vlan: 0, mac: mac)
                let value = table.lookup(key, bucket: table.bucket(of: key))
                guard value.isPresent else { continue }
                hits.wrappingAdd(1, ordering: .relaxed)
                if value.port != Self.port(of: mac) || value.isStatic || value.seen != 1 {
                    wrong.wrappingAdd(1, ordering: .relaxed)
                }
            }
        }
    }
}

/// A table that is freed with the test, and VLAN 0 understood.
final class Table {
    let fdb: ForwardingDatabase

    init(capacity: Int, ageing: Int = 300, seed: UInt64 = 1) {
        fdb = ForwardingDatabase(capacity: capacity, ageing: ageing, seed: seed)
    }

    deinit { fdb.free() }

    private func key(_ mac: UInt64) -> ForwardingDatabase.Key { .init(vlan: 0, mac: mac) }

    func learn(_ mac: UInt64, port: UInt16, now: UInt32) {
        fdb.learn(key(mac), bucket: fdb.bucket(of: key(mac)), port: port, now: now)
    }

    func port(of mac: UInt64) -> UInt16? {
        let value = fdb.lookup(key(mac), bucket: fdb.bucket(of: key(mac)))
        return value.isPresent ? value.port : nil
    }

    func addStatic(_ mac: UInt64, port: UInt16) -> Bool { fdb.addStatic(key(mac), port: port) }
    func remove(_ mac: UInt64) -> Bool { fdb.remove(key(mac)) }
    func entries(now: UInt32) -> [FDBEntry] { fdb.entries(now: now) }
    var statistics: FDBStatistics { fdb.statistics }
}
