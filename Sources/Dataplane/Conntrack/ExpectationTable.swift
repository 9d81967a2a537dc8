import Synchronization

/// The connections that others have announced: to which port of whom, from any port of whom.
///
/// There are few, and next to nothing is asked of them while there are none. Those between the same two addresses have the
/// same places. Where they are all taken one of the same zone makes room, for no zone has more than a part of them: what a
/// tenant's connections announce keeps nobody else's from being heard.
struct ExpectationTable: @unchecked Sendable {
    /// A connection that announced another one, as it was then.
    struct Parent: BitwiseCopyable {
        let tuple: ConnectionTuple
        let mark: UInt32
        let label: UInt128
    }

    private struct Expectation: BitwiseCopyable {
        /// From port 0, which stands for any.
        var tuple: ConnectionTuple
        /// The connection that announced it, 0 for none.
        var number: UInt32
        var parent: Parent
        /// Grows.
        var age: UInt64
    }

    private struct Shared: ~Copyable {
        let lock = Atomic<Bool>(false)
        let count = Atomic<Int>(0)
        var age: UInt64 = 0
    }

    static var capacity: Int { 1024 }
    static var zoneLimit: Int { capacity / 4 }
    private static var ways: Int { 8 }

    private let places: UnsafeMutablePointer<Expectation>
    private let shared: UnsafeMutablePointer<Shared>

    init() {
        places = LazyMemory.allocate(Expectation.self, Self.capacity)
        shared = .allocate(capacity: 1)
        shared.initialize(to: Shared())
    }

    func free() {
        LazyMemory.free(places, Self.capacity)
        shared.deinitialize(count: 1)
        shared.deallocate()
    }

    var count: Int { shared.pointee.count.load(ordering: .relaxed) }

    /// What a packet that has no connection has from the one that announced it.
    /// - Parameter hash: of both addresses.
    func find(_ tuple: ConnectionTuple, hash: UInt64) -> Parent? {
        lock()
        defer { unlock() }
        guard let place = find(Self.fromAnyPort(tuple), Self.set(hash)) else { return nil }
        return places[place].parent
    }

    /// Takes down what a connection announced, unless that is known.
    /// - Parameters:
    ///   - tuple: of the first packet to come, whatever port it will come from.
    ///   - hash: of both addresses.
    ///   - number: the connection's.
    func add(_ tuple: ConnectionTuple, hash: UInt64, from number: UInt32, _ parent: Parent) {
        lock()
        defer { unlock() }
        let (tuple, set) = (Self.fromAnyPort(tuple), Self.set(hash))
        guard find(tuple, set) == nil, let place = place(in: set, zone: tuple.zone) else { return }
        if places[place].number == 0 { shared.pointee.count.wrappingAdd(1, ordering: .relaxed) }
        shared.pointee.age &+= 1
        places[place] = Expectation(tuple: tuple, number: number, parent: parent, age: shared.pointee.age)
    }

    /// Forgets what a connection announced, which is over.
    func remove(of number: UInt32) {
        guard count != 0 else { return }
        lock()
        defer { unlock() }
        for place in 0..<Self.capacity where places[place].number == number {
            places[place].number = 0
            shared.pointee.count.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    private func find(_ tuple: ConnectionTuple, _ set: Int) -> Int? {
        for place in set..<set + Self.ways where places[place].number != 0 && places[place].tuple == tuple {
            return place
        }
        return nil
    }

    /// A free place; else that of the oldest of the zone; else, of another zone's, that of the oldest.
    private func place(in set: Int, zone: UInt16) -> Int? {
        var (oldest, own): (Int?, Int?) = (nil, nil)
        let isLimited = population(of: zone) >= Self.zoneLimit
        for place in set..<set + Self.ways {
            if places[place].number == 0 {
                if !isLimited { return place }
                continue
            }
            if oldest.map({ places[place].age < places[$0].age }) ?? true { oldest = place }
            guard places[place].tuple.zone == zone else { continue }
            if own.map({ places[place].age < places[$0].age }) ?? true { own = place }
        }
        return own ?? (isLimited ? nil : oldest)
    }

    private func population(of zone: UInt16) -> Int {
        var population = 0
        for place in 0..<Self.capacity where places[place].number != 0 && places[place].tuple.zone == zone {
            population += 1
        }
        return population
    }

    private static func set(_ hash: UInt64) -> Int {
        Int(truncatingIfNeeded: hash >> 32) & (capacity / ways - 1) * ways
    }

    private static func fromAnyPort(_ tuple: ConnectionTuple) -> ConnectionTuple {
        var tuple = tuple
        tuple.sourcePort = 0
        return tuple
    }

    private func lock() { while shared.pointee.lock.exchange(true, ordering: .acquiring) {} }
    private func unlock() { shared.pointee.lock.store(false, ordering: .releasing) }
}
