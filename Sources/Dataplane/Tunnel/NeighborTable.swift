import Synchronization
import Wire

/// A neighbor of an endpoint: which station has an address (RFC 826, RFC 4861).
///
/// Workers name neighbors and read their stations; the control plane finds those out, names neighbors that workers will
/// send to, and forgets those that nobody sends to. A cell stays where it is; programs of caches point to it, and hold
/// `station` against what they know.
struct Neighbor: ~Copyable {
    /// What the cell is, in the lowest two bits, and how often it was another neighbor's above them.
    fileprivate let state = Atomic<UInt64>(0)
    /// The station's MAC address in the upper 48 bits, 0 while it is unknown; the lower ones change with the neighbor.
    fileprivate let word = Atomic<UInt64>(0)
    /// Seconds, as `Lane.receive` has them, when a worker last sent to it; 0 when none has.
    fileprivate let used = Atomic<UInt32>(0)
    fileprivate var address = IPAddress.unspecified
    /// Fills a cache line.
    private let padding: (UInt64, UInt64) = (0, 0)

    fileprivate enum Kind {
        static let free: UInt64 = 0
        static let busy: UInt64 = 1
        static let ready: UInt64 = 2
        static let mask: UInt64 = 3
    }

    /// To hold against later ones: equal as long as the same neighbor has the same station.
    var station: UInt64 {
        @inline(__always) get { word.load(ordering: .acquiring) }
    }

    /// Says that packets go there, so that it is not forgotten.
    @inline(__always)
    func use(now: UInt32) {
        if used.load(ordering: .relaxed) != now { used.store(now, ordering: .relaxed) }
    }
}

/// The neighbors of one endpoint: open addressing, of a fixed size.
struct NeighborTable: @unchecked Sendable {
    typealias Cell = UnsafeMutablePointer<Neighbor>

    static var capacity: Int { 4096 }
    /// Cells that a search looks at.
    private static var probeLimit: Int { 32 }

    private let cells: Cell
    /// Neighbors that were ever named.
    private let names: UnsafeMutablePointer<Atomic<UInt64>>
    /// So that nobody can aim at a cell.
    private let secret = UInt64.random(in: .min ... .max) | 1

    init() {
        precondition(MemoryLayout<Neighbor>.stride == 64)
        cells = .allocate(capacity: Self.capacity)
        for index in 0..<Self.capacity { (cells + index).initialize(to: Neighbor()) }
        names = .allocate(capacity: 1)
        names.initialize(to: Atomic(0))
    }

    func free() {
        cells.deinitialize(count: Self.capacity)
        cells.deallocate()
        names.deallocate()
    }

    func isSame(as other: NeighborTable) -> Bool { cells == other.cells }

    /// The MAC address of a station; nil while it is unknown.
    @inline(__always)
    static func mac(of station: UInt64) -> MACAddress? {
        station >> 16 == 0 ? nil : MACAddress(value: station >> 16)
    }

    private func place(of address: IPAddress) -> Int {
        Int(truncatingIfNeeded: secret.mixed(with: address.value)) & (Self.capacity - 1)
    }

    // MARK: - Workers

    /// The cell of an address; nil when there is none.
    func find(_ address: IPAddress) -> Cell? {
        let first = place(of: address)
        for probe in 0..<Self.probeLimit {
            let cell = cells + (first + probe) & (Self.capacity - 1)
            let state = cell.pointee.state.load(ordering: .acquiring)
            guard state & Neighbor.Kind.mask == Neighbor.Kind.ready, cell.pointee.address == address else { continue }
            // Not another's meanwhile.
            if cell.pointee.state.load(ordering: .acquiring) == state { return cell }
        }
        return nil
    }

    /// The cell of an address, a new one if there is none; nil when there is no room. Two threads at once may make two.
    /// - Parameter used: when a worker last sent there, if the cell is new.
    func name(_ address: IPAddress, used: UInt32) -> Cell? {
        if let cell = find(address) { return cell }
        let first = place(of: address)
        for probe in 0..<Self.probeLimit {
            let cell = cells + (first + probe) & (Self.capacity - 1)
            let state = cell.pointee.state.load(ordering: .relaxed)
            guard state & Neighbor.Kind.mask == Neighbor.Kind.free else { continue }
            let generation = (state >> 2) &+ 1
            let (taken, _) = cell.pointee.state.compareExchange(
                expected: state,
                desired: generation << 2 | Neighbor.Kind.busy,
                ordering: .acquiring
            )
            guard taken else { continue }
            cell.pointee.address = address
            cell.pointee.word.store(generation & 0xffff, ordering: .relaxed)
            cell.pointee.used.store(used, ordering: .relaxed)
            cell.pointee.state.store(generation << 2 | Neighbor.Kind.ready, ordering: .releasing)
            names.pointee.add(1, ordering: .releasing)
            return cell
        }
        return nil
    }

    // MARK: - The control plane

    var named: UInt64 { names.pointee.load(ordering: .acquiring) }

    /// What is known of a neighbor.
    struct Entry {
        let cell: Cell
        let address: IPAddress
        let mac: MACAddress?
        let used: UInt32
    }

    var entries: [Entry] {
        (0..<Self.capacity).compactMap { index in
            let cell = cells + index
            let state = cell.pointee.state.load(ordering: .acquiring)
            guard state & Neighbor.Kind.mask == Neighbor.Kind.ready else { return nil }
            return Entry(
                cell: cell,
                address: cell.pointee.address,
                mac: Self.mac(of: cell.pointee.station),
                used: cell.pointee.used.load(ordering: .relaxed)
            )
        }
    }

    /// Notes which station a neighbor is behind, nil for none that is known.
    func set(_ cell: Cell, _ mac: MACAddress?) {
        let generation = cell.pointee.word.load(ordering: .relaxed) & 0xffff
        cell.pointee.word.store((mac?.value ?? 0) << 16 | generation, ordering: .releasing)
    }

    /// Makes a neighbor's cell free. Programs that point to it find that its station is another.
    func remove(_ cell: Cell) {
        let generation = cell.pointee.state.load(ordering: .relaxed) >> 2
        cell.pointee.word.store((generation &+ 1) & 0xffff, ordering: .releasing)
        cell.pointee.state.store(generation << 2 | Neighbor.Kind.free, ordering: .releasing)
    }
}
