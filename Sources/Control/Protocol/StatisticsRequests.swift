public struct WorkerList: Request {
    public static let method = "worker.list"

    public struct Response: Codable, Hashable, Sendable {
        public let workers: [Worker]
    }

    public struct Worker: Codable, Hashable, Sendable {
        public let lcore: Int
        /// NUMA node.
        public let socket: Int
        public let queues: [Queue]
        /// Share of its cycles since start that went into turns with packets: 0 to 1.
        public let busy: Double
        public let packets: UInt64
    }

    public struct Queue: Codable, Hashable, Sendable {
        public let port: String
        public let queue: Int
    }

    public init() {}
}

/// Has the worker of an lcore poll a receive queue, now and after every restart.
public struct WorkerAssign: Request {
    public static let method = "worker.assign"
    public typealias Response = Done

    public var port: String
    public var queue: Int
    public var lcore: Int

    public init(port: String, queue: Int, lcore: Int) {
        self.port = port
        self.queue = queue
        self.lcore = lcore
    }
}

public struct StatsPorts: Request {
    public static let method = "stats.ports"

    public struct Response: Codable, Hashable, Sendable {
        public let ports: [Port]
    }

    /// Counted since the port was added. Bytes are of frames as on the wire, frame check sequence not counted.
    public struct Port: Codable, Hashable, Sendable {
        public let name: String
        public let receivedPackets: UInt64
        public let receivedBytes: UInt64
        public let transmittedPackets: UInt64
        public let transmittedBytes: UInt64
        public let drops: UInt64

        enum CodingKeys: String, CodingKey {
            case name, drops
            case receivedPackets = "rx_packets"
            case receivedBytes = "rx_bytes"
            case transmittedPackets = "tx_packets"
            case transmittedBytes = "tx_bytes"
        }
    }

    /// Absent: all ports.
    public var port: String?

    public init(port: String? = nil) { self.port = port }
}

public struct StatsWorkers: Request {
    public static let method = "stats.workers"

    public struct Response: Codable, Hashable, Sendable {
        public let workers: [Worker]
    }

    /// Counted since the worker started.
    public struct Worker: Codable, Hashable, Sendable {
        public let lcore: Int
        public let turns: UInt64
        /// Turns that found at least one packet.
        public let busyTurns: UInt64
        /// TSC cycles.
        public let cycles: UInt64
        public let busyCycles: UInt64
        public let cyclesPerSecond: UInt64
        public let packets: UInt64

        enum CodingKeys: String, CodingKey {
            case lcore, turns, cycles, packets
            case busyTurns = "busy_turns"
            case busyCycles = "busy_cycles"
            case cyclesPerSecond = "cycles_per_second"
        }
    }

    public init() {}
}

/// What the flow caches did since the daemon started: of all workers, and of each.
public struct StatsCache: Request {
    public static let method = "stats.cache"

    public struct Response: Codable, Hashable, Sendable {
        public let total: Figures
        public let lcores: [Worker]
        public let learned: Learned
    }

    /// What became of flows to learn.
    public struct Learned: Codable, Hashable, Sendable {
        /// Flows that came, and that were there and got other actions.
        public let added: UInt64
        public let changed: UInt64
        /// Flows that made room for others of their learn action, and that would have been beyond its limit.
        public let evicted: UInt64
        public let refused: UInt64
        /// Times that a worker could not say it, and left it to a later packet.
        public let lost: UInt64
    }

    public struct Worker: Codable, Hashable, Sendable {
        public let lcore: Int
        public let figures: Figures
    }

    public struct Figures: Codable, Hashable, Sendable {
        /// Entries that there may be, and are.
        public let capacity: UInt64
        public let entries: UInt64
        /// Packets that an entry of their connection answered for, one of others like it, and none.
        public let exactHits: UInt64
        public let wildcardHits: UInt64
        public let misses: UInt64
        /// Misses whose program could not be kept.
        public let uncacheable: UInt64
        /// Entries that went: the flows changed, to make room, and silent ones.
        public let invalidated: UInt64
        public let evicted: UInt64
        public let aged: UInt64
        /// Different masks and programs that entries have now.
        public let masks: UInt64
        public let programs: UInt64

        enum CodingKeys: String, CodingKey {
            case capacity, entries, misses, uncacheable, invalidated, evicted, aged, masks, programs
            case exactHits = "exact_hits"
            case wildcardHits = "wildcard_hits"
        }
    }

    public init() {}
}

public struct StatsDrops: Request {
    public static let method = "stats.drops"

    public struct Response: Codable, Hashable, Sendable {
        public let drops: [Drop]
    }

    public struct Drop: Codable, Hashable, Sendable {
        public let port: String
        /// A name of `DropReason`.
        public let reason: String
        public let packets: UInt64
        /// One of them, if samples were asked for and there is one.
        public let sample: Sample?
    }

    /// A packet that was dropped not long ago: of several within a second the first.
    public struct Sample: Codable, Hashable, Sendable {
        /// Seconds since then.
        public let age: Double
        /// Bytes of the packet.
        public let length: Int
        /// The first of them in hexadecimal, `Sample.greatestLength` at most, as they were by then.
        public let frame: String
        /// The packet as flow text; absent when its headers could not be read.
        public let packet: String?

        public static let greatestLength = 256
    }

    public var port: String?
    /// Whether a packet is wanted of each.
    public var samples: Bool?

    public init(port: String? = nil, samples: Bool? = nil) {
        self.port = port
        self.samples = samples
    }
}
