import ArgumentParser
import Control
import Foundation

struct StatsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Shows counters.",
        subcommands: [Ports.self, Workers.self, Cache.self, Drops.self]
    )

    struct Ports: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Packets and bytes of the ports.")

        @Argument var port: String?
        @OptionGroup var reading: Reading

        func run() throws { try reading.showPortCounters(of: port) }
    }

    struct Workers: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Turns and cycles of the workers.")

        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(StatsWorkers()) { response in
                table(
                    ["LCORE", "TURNS", "BUSY-TURNS", "CYCLES", "BUSY-CYCLES", "CYCLES/S", "PACKETS"],
                    response.workers.map {
                        [
                            "\($0.lcore)", "\($0.turns)", "\($0.busyTurns)", "\($0.cycles)", "\($0.busyCycles)",
                            "\($0.cyclesPerSecond)", "\($0.packets)",
                        ]
                    }
                )
            }
        }
    }

    struct Cache: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hits, misses and entries of the flow caches, summed over the workers.",
            discussion: "Bridges whose only flow is NORMAL switch without the cache, and count nothing here."
        )

        @Flag(help: "Show the cache of each worker too.") var lcore = false
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(StatsCache()) { response in
                let workers = lcore ? response.lcores : []
                let columns = [response.total] + workers.map(\.figures)
                let rows =
                    StatsCache.Figures.rows.map { name, value in [name] + columns.map { "\(value($0))" } }
                    + StatsCache.Learned.rows.map { name, value in
                        [name, "\(value(response.learned))"] + workers.map { _ in "" }
                    }
                return table(["CACHE", "TOTAL"] + workers.map { "LCORE-\($0.lcore)" }, rows)
            }
        }
    }

    struct Drops: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Packets that were not sent, by port and reason.")

        @Argument var port: String?
        @Flag(help: "Show one recent packet of each, as it was when it was dropped.") var sample = false
        @OptionGroup var reading: Reading

        func run() throws {
            try reading.show(StatsDrops(port: port, samples: sample ? true : nil)) { response in
                guard !sample else { return response.drops.flatMap(\.lines) }
                let rows = response.drops.map { [$0.port, $0.reason, "\($0.packets)"] }
                return table(["PORT", "REASON", "PACKETS"], rows)
            }
        }
    }
}

extension StatsDrops.Drop {
    /// With its sample.
    fileprivate var lines: [String] {
        let head = "\(port): \(reason), \(packets) packets"
        guard let sample else { return [head, "    none kept", ""] }
        let age = String(format: "%.1f", sample.age)
        let words = sample.packet ?? "headers that cannot be read"
        return [head, "    \(age) seconds ago, \(sample.length) bytes: \(words)"] + sample.hexadecimalLines + [""]
    }
}

extension StatsDrops.Sample {
    /// Sixteen bytes a line, behind the offset of the first, as text2pcap(1) reads them.
    fileprivate var hexadecimalLines: [String] {
        let digits = Array(frame)
        return stride(from: 0, to: digits.count, by: 32).map { start in
            let bytes = stride(from: start, to: min(start + 32, digits.count), by: 2)
                .map { String(digits[$0...($0 + 1)]) }
            return String(format: "    %04x  ", start / 2) + bytes.joined(separator: " ")
        }
    }
}

extension Reading {
    func showPortCounters(of port: String?) throws {
        try show(StatsPorts(port: port)) { response in
            table(
                ["PORT", "RX-PACKETS", "RX-BYTES", "TX-PACKETS", "TX-BYTES", "DROPS"],
                response.ports.map {
                    [
                        $0.name, "\($0.receivedPackets)", "\($0.receivedBytes)", "\($0.transmittedPackets)",
                        "\($0.transmittedBytes)", "\($0.drops)",
                    ]
                }
            )
        }
    }
}

extension StatsCache.Learned {
    fileprivate static var rows: [(String, (Self) -> UInt64)] {
        [
            ("flows learned", \.added), ("learned anew", \.changed), ("learned, evicted", \.evicted),
            ("beyond limit", \.refused), ("not yet learned", \.lost),
        ]
    }
}

extension StatsCache.Figures {
    fileprivate static var rows: [(String, (Self) -> UInt64)] {
        [
            ("capacity", \.capacity), ("entries", \.entries), ("exact hits", \.exactHits),
            ("wildcard hits", \.wildcardHits), ("misses", \.misses), ("uncacheable", \.uncacheable),
            ("invalidated", \.invalidated), ("evicted", \.evicted), ("aged", \.aged), ("masks", \.masks),
            ("programs", \.programs),
        ]
    }
}
