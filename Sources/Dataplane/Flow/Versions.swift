import Synchronization

/// The version of all flow tables and ports together, and the version in which each table changed last.
///
/// One writer, the control plane: it writes what changes, then the table's last change, then the current version. A
/// worker that reads the current version first and then the tables finds what belongs to it, or what is newer.
struct Versions {
    /// Bridges that a switch can have.
    static var bridgeCapacity: Int { 1024 }
    /// In place of a table's number: the ports and settings of a bridge.
    static let ports: UInt8 = 255

    private let number: UnsafeMutablePointer<Atomic<UInt64>>
    /// By `TablePlace.value`.
    private let changes: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        number = .allocate(capacity: 1)
        number.initialize(to: Atomic(0))
        changes = .allocate(capacity: TablePlace.count)
        for place in 0..<TablePlace.count { (changes + place).initialize(to: Atomic(0)) }
    }

    func free() {
        number.deallocate()
        changes.deallocate()
    }

    @inline(__always) var current: UInt64 { number.pointee.load(ordering: .acquiring) }

    /// The version in which a table changed last.
    @inline(__always)
    func lastChange(_ place: TablePlace) -> UInt64 { changes[Int(place.value)].load(ordering: .relaxed) }

    /// What the next version will be.
    var next: UInt64 { number.pointee.load(ordering: .relaxed) + 1 }

    /// Notes that a table is another one in the next version.
    func willChange(_ place: TablePlace) { changes[Int(place.value)].store(next, ordering: .relaxed) }

    /// Makes the next version the current one.
    func advance() { number.pointee.store(next, ordering: .releasing) }
}

/// A table of a bridge in one word: the bridge's slot and the table's number. Behind those of all bridges are the places of
/// what walks depend on beside tables.
struct TablePlace: Equatable, BitwiseCopyable {
    let value: UInt32

    @inline(__always)
    init(bridge: UInt16, table: UInt8) { value = UInt32(bridge) << 8 | UInt32(table) }

    init(value: UInt32) { self.value = value }

    private init(_ value: Int) { self.value = UInt32(value) }

    /// A multiple of a bridge's: what is done for a table and for its bridge's ports can be done for every place.
    static var count: Int { (Versions.bridgeCapacity + 5) << 8 }

    /// All groups of a bridge.
    static func groups(of bridge: UInt16) -> TablePlace { TablePlace((Versions.bridgeCapacity << 8) + Int(bridge)) }

    /// Which ports have a link.
    static var liveness: TablePlace { TablePlace((Versions.bridgeCapacity << 8) + Versions.bridgeCapacity) }

    var bridge: UInt16 { UInt16(value >> 8) }
    var table: UInt8 { UInt8(truncatingIfNeeded: value) }
}
