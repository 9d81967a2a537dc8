import ArgumentParser
import Control
import Foundation

struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Shows live rates of ports and workers until interrupted."
    )

    @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "s")) var interval = 1.0
    @Option(help: ArgumentHelp("End after so many looks.", valueName: "n")) var count: Int?
    @OptionGroup var reading: Reading

    func validate() throws {
        guard interval >= 0.1, interval <= 3600 else { throw ValidationError("--interval takes 0.1 to 3600 seconds") }
        guard count ?? 1 > 0 else { throw ValidationError("--count takes 1 or more") }
    }

    func run() throws {
        let client = try reading.daemon.connect()
        var before = try Look(client)
        var left = count
        while left != 0 {
            Thread.sleep(forTimeInterval: interval)
            let now = try Look(client)
            try show(Rates(from: before, to: now))
            before = now
            left = left.map { $0 - 1 }
        }
    }

    private func show(_ rates: Rates) throws {
        if reading.json { return print(try jsonText(rates, pretty: false)) }
        // Cursor home, and clear what is below: ECMA-48.
        if standardOutputIsTerminal { print("\u{1b}[H\u{1b}[J", terminator: "") }
        print((rates.lines + [""]).joined(separator: "\n"))
        fflush(nil)
    }
}

/// All counters at one moment.
private struct Look {
    let time = ContinuousClock.now
    let ports: [StatsPorts.Port]
    let workers: [StatsWorkers.Worker]
    let cache: StatsCache.Figures

    init(_ client: ControlClient) throws {
        ports = try client.call(StatsPorts()).ports
        workers = try client.call(StatsWorkers()).workers
        cache = try client.call(StatsCache()).total
    }
}

/// What happened per second between two looks.
private struct Rates: Encodable {
    struct Port: Encodable {
        let name: String
        let receivedPackets: Double
        let receivedBits: Double
        let transmittedPackets: Double
        let transmittedBits: Double
        let drops: Double

        enum CodingKeys: String, CodingKey {
            case name, drops
            case receivedPackets = "rx_packets"
            case receivedBits = "rx_bits"
            case transmittedPackets = "tx_packets"
            case transmittedBits = "tx_bits"
        }
    }

    struct Worker: Encodable {
        let lcore: Int
        /// Share of the cycles that went into turns with packets.
        let busy: Double
        let packets: Double
    }

    struct Cache: Encodable {
        let hits: Double
        let misses: Double
        /// Entries now.
        let entries: UInt64
    }

    let ports: [Port]
    let workers: [Worker]
    let cache: Cache

    init(from before: Look, to now: Look) {
        let seconds = (now.time - before.time) / .seconds(1)
        // A counter that went back belongs to a port or daemon that began anew.
        func rate(_ new: UInt64, _ old: UInt64?) -> Double {
            Double(new >= old ?? 0 ? new - (old ?? 0) : new) / seconds
        }
        let oldPorts = Dictionary(before.ports.map { ($0.name, $0) }) { $1 }
        ports = now.ports.filter { oldPorts[$0.name] != nil }.map { port in
            let old = oldPorts[port.name]
            return Port(
                name: port.name,
                receivedPackets: rate(port.receivedPackets, old?.receivedPackets),
                receivedBits: 8 * rate(port.receivedBytes, old?.receivedBytes),
                transmittedPackets: rate(port.transmittedPackets, old?.transmittedPackets),
                transmittedBits: 8 * rate(port.transmittedBytes, old?.transmittedBytes),
                drops: rate(port.drops, old?.drops)
            )
        }
        let (hits, oldHits) = (now.cache.hits, before.cache.hits)
        cache = Cache(
            hits: rate(hits, oldHits),
            misses: rate(now.cache.misses, before.cache.misses),
            entries: now.cache.entries
        )
        let oldWorkers = Dictionary(before.workers.map { ($0.lcore, $0) }) { $1 }
        workers = now.workers.map { worker in
            let old = oldWorkers[worker.lcore]
            let cycles = rate(worker.cycles, old?.cycles)
            return Worker(
                lcore: worker.lcore,
                busy: cycles == 0 ? 0 : rate(worker.busyCycles, old?.busyCycles) / cycles,
                packets: rate(worker.packets, old?.packets)
            )
        }
    }

    var lines: [String] {
        table(
            ["PORT", "RX-PPS", "RX-MBPS", "TX-PPS", "TX-MBPS", "DROPS/S"],
            ports.map {
                [
                    $0.name, whole($0.receivedPackets), megabits($0.receivedBits), whole($0.transmittedPackets),
                    megabits($0.transmittedBits),
                    whole($0.drops),
                ]
            }
        ) + [""]
            + table(
                ["LCORE", "BUSY", "PPS"],
                workers.map { ["\($0.lcore)", percent($0.busy), whole($0.packets)] }
            ) + cacheLines
    }

    /// Nothing while no bridge uses the cache.
    private var cacheLines: [String] {
        let all = cache.hits + cache.misses
        guard all > 0 else { return [] }
        let row = [percent(cache.hits / all), whole(cache.misses), "\(cache.entries)"]
        return [""] + table(["CACHE-HITS", "MISSES/S", "ENTRIES"], [row])
    }

    private func whole(_ rate: Double) -> String { String(format: "%.0f", rate) }
    private func megabits(_ rate: Double) -> String { String(format: "%.1f", rate / 1e6) }
}

extension StatsCache.Figures {
    /// Packets that any entry answered for.
    fileprivate var hits: UInt64 { exactHits &+ wildcardHits }
}
