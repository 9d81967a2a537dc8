import Control

/// Figures in the text format that Prometheus reads (version 0.0.4).
struct MetricsText {
    private(set) var text = ""

    enum Kind: String { case counter, gauge, histogram }

    /// A value, and what tells it from others of its name.
    struct Sample {
        var suffix = ""
        var labels: [(name: String, value: String)] = []
        let value: String

        init(_ value: UInt64, _ labels: (name: String, value: String)..., suffix: String = "") {
            self.init("\(value)", labels, suffix: suffix)
        }

        init(_ value: String, _ labels: [(name: String, value: String)], suffix: String = "") {
            self.value = value
            self.labels = labels
            self.suffix = suffix
        }
    }

    /// Adds all values of a name.
    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
        text += "# HELP martlet_\(name) \(help)\n# TYPE martlet_\(name) \(kind.rawValue)\n"
        for sample in samples {
            let labels = sample.labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
            text += "martlet_\(name)\(sample.suffix)\(labels.isEmpty ? "" : "{\(labels)}") \(sample.value)\n"
        }
    }

    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}

// MARK: - The switch

/// What the switch counts, read at one time.
struct SwitchMetrics: Sendable {
    let ports: [StatsPorts.Port]
    let drops: [StatsDrops.Drop]
    let cache: StatsCache.Response
    let workers: [StatsWorkers.Worker]
    let connections: ConntrackStats.Response
}

extension Switch {
    func metrics() throws -> SwitchMetrics {
        SwitchMetrics(
            ports: try portStatistics(StatsPorts()).ports,
            drops: try dropStatistics(StatsDrops()).drops,
            cache: cacheStatistics(),
            workers: workerStatistics().workers,
            connections: connectionStatistics()
        )
    }
}

extension MetricsText {
    mutating func add(_ metrics: SwitchMetrics) {
        add("build_info", .gauge, "The release.", [Sample(1, ("version", Martlet.version))])
        addPorts(metrics)
        addCache(metrics.cache.total)
        addWorkers(metrics.workers)
        addConnections(metrics.connections)
    }

    private mutating func addPorts(_ metrics: SwitchMetrics) {
        func samples(_ count: KeyPath<StatsPorts.Port, UInt64>) -> [Sample] {
            metrics.ports.map { Sample($0[keyPath: count], ("port", $0.name)) }
        }
        add("port_receive_packets_total", .counter, "Packets that a port received.", samples(\.receivedPackets))
        add("port_receive_bytes_total", .counter, "Bytes that a port received.", samples(\.receivedBytes))
        add("port_transmit_packets_total", .counter, "Packets that a port sent.", samples(\.transmittedPackets))
        add("port_transmit_bytes_total", .counter, "Bytes that a port sent.", samples(\.transmittedBytes))
        add(
            "dropped_packets_total",
            .counter,
            "Packets that were dropped, by the port that they came from, or were for, and the reason.",
            metrics.drops.map { Sample($0.packets, ("port", $0.port), ("reason", $0.reason)) }
        )
    }

    private mutating func addCache(_ cache: StatsCache.Figures) {
        add("cache_entries", .gauge, "Entries of the flow caches.", [Sample(cache.entries)])
        add("cache_capacity", .gauge, "Entries that the flow caches have room for.", [Sample(cache.capacity)])
        add("cache_masks", .gauge, "Different masks of entries.", [Sample(cache.masks)])
        add("cache_programs", .gauge, "Different programs of entries.", [Sample(cache.programs)])
        let lookups = [
            Sample(cache.exactHits, ("result", "exact")), Sample(cache.wildcardHits, ("result", "wildcard")),
            Sample(cache.misses, ("result", "miss")),
        ]
        add("cache_lookups_total", .counter, "Packets that were looked up, by what was found.", lookups)
        let gone = [
            Sample(cache.invalidated, ("reason", "invalidated")), Sample(cache.evicted, ("reason", "evicted")),
            Sample(cache.aged, ("reason", "aged")),
        ]
        add("cache_removed_total", .counter, "Entries that went, by why.", gone)
    }

    private mutating func addWorkers(_ workers: [StatsWorkers.Worker]) {
        func samples(_ count: KeyPath<StatsWorkers.Worker, UInt64>) -> [Sample] {
            workers.map { Sample($0[keyPath: count], ("lcore", "\($0.lcore)")) }
        }
        add("worker_packets_total", .counter, "Packets that a worker took.", samples(\.packets))
        add("worker_cycles_total", .counter, "TSC cycles since the worker started.", samples(\.cycles))
        add("worker_busy_cycles_total", .counter, "TSC cycles of turns with packets.", samples(\.busyCycles))
    }
}

extension MetricsText {
    private mutating func addConnections(_ tracked: ConntrackStats.Response) {
        add("connections", .gauge, "Connections that are tracked.", [Sample(tracked.connections)])
        add("connections_capacity", .gauge, "Connections that there is room for.", [Sample(tracked.capacity)])
        add("connections_created_total", .counter, "Connections that began.", [Sample(tracked.created)])
        // The figures are read one after the other.
        let others = tracked.connections + tracked.expired + tracked.evicted
        let ended = tracked.created - min(others, tracked.created)
        let removed = [
            Sample(tracked.expired, ("reason", "expired")), Sample(tracked.evicted, ("reason", "evicted")),
            Sample(ended, ("reason", "ended")),
        ]
        add("connections_removed_total", .counter, "Connections that are no more, by why.", removed)
        let help = "Connections that did not begin, for the table or their zone was full."
        add("connections_refused_total", .counter, help, [Sample(tracked.refused)])
    }
}

// MARK: - The endpoint

extension MetricsText {
    mutating func add(_ latencies: RequestLatencies, connections: Int) {
        add("endpoint_connections", .gauge, "Connections of clients.", [Sample(UInt64(connections))])
        add(
            "endpoint_request_duration_seconds",
            .histogram,
            "From a request's head to its answer.",
            latencies.all.flatMap { Self.samples($0.key, $0.histogram) }
        )
    }

    private static func samples(_ key: RequestLatencies.Key, _ histogram: RequestLatencies.Histogram) -> [Sample] {
        let labels = [("method", key.method), ("route", key.route), ("status", "\(key.status)")]
        var count: UInt64 = 0
        var samples: [Sample] = []
        let bounds = RequestLatencies.Histogram.bounds.map { "\($0)" } + ["+Inf"]
        for (bound, more) in zip(bounds, histogram.counts) {
            count += more
            samples.append(Sample("\(count)", labels + [("le", bound)], suffix: "_bucket"))
        }
        samples.append(Sample("\(histogram.seconds)", labels, suffix: "_sum"))
        samples.append(Sample("\(count)", labels, suffix: "_count"))
        return samples
    }
}
