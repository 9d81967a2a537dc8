public import Dataplane
import Flows

extension Switch {
    public func listWorkers() -> WorkerList.Response {
        let names = portNames()
        let list = io.workers().map { worker in
            WorkerList.Worker(
                lcore: worker.lcore,
                socket: worker.socket,
                queues: worker.queues.map { WorkerList.Queue(port: names[$0.port] ?? "", queue: $0.queue) },
                busy: worker.cycles == 0 ? 0 : Double(worker.busyCycles) / Double(worker.cycles),
                packets: worker.packets
            )
        }
        return WorkerList.Response(workers: list)
    }

    /// Moves a receive queue to the worker of an lcore, and keeps it there over restarts.
    public func assignQueue(_ request: WorkerAssign) throws(Refusal) -> Done {
        let port = try port(request.port)
        guard port.record.type.hasDevice else {
            throw Refusal("port '\(request.port)' is a patch: it has no queues to assign")
        }
        if let failure = port.failure {
            throw Refusal("port '\(request.port)' has no device to poll (\(failure)): mend that first")
        }
        let former = io.status(of: port.index).queues.first { $0.number == request.queue }?.lcore
        try io.assign(port.index, queue: request.queue, lcore: request.lcore)
        let pin = Pin(port: request.port, queue: request.queue)
        do {
            try store.put(pin, lcore: request.lcore)
        } catch {
            if let former { try io.assign(port.index, queue: request.queue, lcore: former) }
            throw error
        }
        pins[pin] = request.lcore
        return Done()
    }

    public func portStatistics(_ request: StatsPorts) throws(Refusal) -> StatsPorts.Response {
        let list = try ports(named: request.port).map { port in
            let counters = dataplane.counters(of: port.index)
            return StatsPorts.Port(
                name: port.record.name,
                receivedPackets: counters.receivedPackets,
                receivedBytes: counters.receivedBytes,
                transmittedPackets: counters.transmittedPackets,
                transmittedBytes: counters.transmittedBytes,
                drops: counters.dropped
            )
        }
        return StatsPorts.Response(ports: list)
    }

    public func dropStatistics(_ request: StatsDrops) throws(Refusal) -> StatsDrops.Response {
        let chosen = try ports(named: request.port)
        let samples = request.samples == true ? Dictionary(grouping: dataplane.dropSamples, by: \.port) : [:]
        let list = chosen.flatMap { port in
            let drops = dataplane.counters(of: port.index).drops
            return DropReason.allCases.filter { drops[$0.rawValue] > 0 }.map { reason in
                let sample = samples[port.index]?.first { $0.reason == reason }
                return StatsDrops.Drop(
                    port: port.record.name,
                    reason: reason.name,
                    packets: drops[reason.rawValue],
                    sample: sample.map { StatsDrops.Sample($0, number: port.record.number.value) }
                )
            }
        }
        return StatsDrops.Response(drops: list)
    }

    public func cacheStatistics() -> StatsCache.Response {
        let workers = zip(io.workers(), dataplane.laneCacheStatistics).map { worker, statistics in
            StatsCache.Worker(lcore: worker.lcore, figures: StatsCache.Figures(statistics))
        }
        return StatsCache.Response(
            total: StatsCache.Figures(dataplane.cacheStatistics),
            lcores: workers,
            learned: StatsCache.Learned(dataplane.learnStatistics)
        )
    }

    public func workerStatistics() -> StatsWorkers.Response {
        let list = io.workers().map { worker in
            StatsWorkers.Worker(
                lcore: worker.lcore,
                turns: worker.turns,
                busyTurns: worker.busyTurns,
                cycles: worker.cycles,
                busyCycles: worker.busyCycles,
                cyclesPerSecond: worker.cyclesPerSecond,
                packets: worker.packets
            )
        }
        return StatsWorkers.Response(workers: list)
    }

    /// One port, or all of them by name.
    private func ports(named name: String?) throws(Refusal) -> [Port] {
        if let name { return [try port(name)] }
        return ports.values.sorted { $0.record.name < $1.record.name }
    }
}

extension StatsDrops.Sample {
    /// - Parameter number: of the port on its bridge.
    fileprivate init(_ sample: DropSample, number: UInt16) {
        age = Double(Dataplane.nanoseconds - min(sample.nanoseconds, Dataplane.nanoseconds)) / 1e9
        length = sample.length
        frame = sample.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        packet = sample.key(inPort: sample.reason.isOfOutput ? nil : number).map { key in
            var mask = key.exactMatch.mask
            if sample.reason.isOfOutput { mask.set(.inPort, 0) }
            return FlowText.print(Match(value: key, mask: mask))
        }
    }
}

extension StatsCache.Learned {
    fileprivate init(_ statistics: LearnStatistics) {
        added = statistics.added
        changed = statistics.changed
        evicted = statistics.evicted
        refused = statistics.refused
        lost = statistics.lost
    }
}

extension StatsCache.Figures {
    fileprivate init(_ statistics: CacheStatistics) {
        capacity = statistics.capacity
        entries = statistics.entries
        exactHits = statistics.exactHits
        wildcardHits = statistics.wildcardHits
        misses = statistics.misses
        uncacheable = statistics.uncacheable
        invalidated = statistics.invalidated
        evicted = statistics.evicted
        aged = statistics.aged
        masks = statistics.masks
        programs = statistics.programs
    }
}
