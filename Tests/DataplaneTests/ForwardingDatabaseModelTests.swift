import Seeds
import Testing
import Wire

@testable import Dataplane

/// The table against a dictionary: random steps, the same answers.
@Suite struct ForwardingDatabaseModelTests {
    struct Station: Equatable {
        var port: UInt16
        var isStatic: Bool
        var seen: UInt32
    }

    /// Far more places than stations, so that nothing is evicted; few enough buckets that stations overflow.
    @Test(arguments: seeds)
    func answersAsADictionaryDoes(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let table = Table(capacity: 500, seed: seed)
        var model: [UInt64: Station] = [:]
        var (learned, moved, aged) = (UInt64(0), UInt64(0), UInt64(0))
        var now: UInt32 = 1000
        for step in 0..<100_000 {
            let mac = UInt64.random(in: 0..<400, using: &random)
            let port = UInt16.random(in: 0..<8, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<50:
                if let station = model[mac] {
                    if !station.isStatic {
                        if station.port != port { moved += 1 }
                        model[mac] = Station(port: port, isStatic: false, seen: now)
                    }
                } else {
                    learned += 1
                    model[mac] = Station(port: port, isStatic: false, seen: now)
                }
                table.learn(mac, port: port, now: now)
            case 50..<70:
                #expect(table.remove(mac) == (model.removeValue(forKey: mac) != nil), "seed \(seed), step \(step)")
            case 70..<75:
                #expect(table.addStatic(mac, port: port), "seed \(seed), step \(step)")
                model[mac] = Station(port: port, isStatic: true, seen: 0)
            case 75..<76:
                now += 50
                table.fdb.removeAged(now: now)
                let silent = model.filter { !$0.value.isStatic && now - $0.value.seen > 300 }.keys
                for mac in silent { model[mac] = nil }
                aged += UInt64(silent.count)
            default:
                let expected = model[mac]?.port
                #expect(table.port(of: mac) == expected, "seed \(seed), step \(step)")
            }
        }
        compare(table, model, now: now, seed: seed)
        let statistics = table.statistics
        #expect(statistics.learned == learned, "seed \(seed)")
        #expect(statistics.moved == moved, "seed \(seed)")
        #expect(statistics.aged == aged, "seed \(seed)")
        #expect(statistics.evicted == 0, "seed \(seed)")
    }

    private func compare(_ table: Table, _ model: [UInt64: Station], now: UInt32, seed: UInt64) {
        let expected = model.filter { $0.value.isStatic || now - $0.value.seen <= 300 }
        let entries = table.entries(now: now)
        #expect(entries.count == expected.count, "seed \(seed)")
        #expect(table.statistics.entries == model.count, "seed \(seed)")
        for entry in entries {
            let station = expected[entry.mac.value]
            #expect(
                station?.port == entry.port.value && station?.isStatic == entry.isStatic,
                "seed \(seed), \(entry.mac)"
            )
        }
    }

    /// A full table: what is there is right, and no more than fits.
    @Test(arguments: seeds)
    func staysWithinItsBoundsWhenItIsFull(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let table = Table(capacity: 100, seed: seed)
        var last: [UInt64: UInt16] = [:]
        for step in 0..<100_000 {
            let mac = UInt64.random(in: 0..<1000, using: &random)
            let port = UInt16.random(in: 0..<5, using: &random)
            table.learn(mac, port: port, now: UInt32(step / 1000))
            last[mac] = port
            #expect(table.port(of: mac) == port, "seed \(seed), step \(step)")
        }
        let statistics = table.statistics
        #expect(statistics.entries == 100, "seed \(seed)")
        #expect(Int(statistics.learned) == 100 + Int(statistics.evicted), "seed \(seed)")
        for entry in table.entries(now: 99) { #expect(last[entry.mac.value] == entry.port.value, "seed \(seed)") }
    }
}
