import Flows
import Synchronization

/// The version of all flow tables and ports together, and when and how each table changed last.
///
/// One writer, the control plane: it writes what changes, then what is noted here, then the current version. A worker that
/// reads the current version first and then the rest finds what belongs to it, or what is newer.
struct Versions {
    /// Bridges that a switch can have.
    static var bridgeCapacity: Int { 1024 }
    /// In place of a table's number: the ports and settings of a bridge.
    static let ports: UInt8 = 255

    /// The flows that came last.
    let recent = RecentFlows()
    private let number: UnsafeMutablePointer<Atomic<UInt64>>
    /// `noteLength` of them for each `TablePlace.value`.
    private let notes: UnsafeMutablePointer<Atomic<UInt64>>

    private static var noteLength: Int { 4 }
    /// The last version of any change; of one that concerns every walk; and the number of the last of the `recent` flows.
    private enum Note {
        static var touch: Int { 0 }
        static var change: Int { 1 }
        static var flow: Int { 2 }
    }

    init() {
        number = LazyMemory.allocateAtomics(1)
        notes = LazyMemory.allocateAtomics(TablePlace.count * Self.noteLength)
    }

    func free() {
        recent.free()
        LazyMemory.free(number, 1)
        LazyMemory.free(notes, TablePlace.count * Self.noteLength)
    }

    @inline(__always) var current: UInt64 { number.pointee.load(ordering: .acquiring) }

    /// The version in which anything of a table changed last.
    @inline(__always)
    func lastTouch(_ place: TablePlace) -> UInt64 { notes(of: place)[Note.touch].load(ordering: .relaxed) }

    /// The version of the last change to a table that every walk through it may depend on.
    @inline(__always)
    func lastChange(_ place: TablePlace) -> UInt64 { notes(of: place)[Note.change].load(ordering: .relaxed) }

    /// The number of the last flow of a table among the recent ones.
    @inline(__always)
    func lastFlow(_ place: TablePlace) -> UInt64 { notes(of: place)[Note.flow].load(ordering: .relaxed) }

    @inline(__always)
    private func notes(of place: TablePlace) -> UnsafeMutablePointer<Atomic<UInt64>> {
        notes + Int(place.value) * Self.noteLength
    }

    /// What the next version will be.
    var next: UInt64 { number.pointee.load(ordering: .relaxed) + 1 }

    /// Notes that a table is another one in the next version.
    func willChange(_ place: TablePlace) {
        notes(of: place)[Note.change].store(next, ordering: .relaxed)
        notes(of: place)[Note.touch].store(next, ordering: .relaxed)
    }

    /// Notes that a table has one flow more in the next version.
    func willAdd(_ flow: Flow, at place: TablePlace) {
        let last = recent.add(flow, version: next, previous: lastFlow(place))
        notes(of: place)[Note.flow].store(last, ordering: .relaxed)
        notes(of: place)[Note.touch].store(next, ordering: .relaxed)
    }

    /// Notes that a table has one flow less in the next version: whose rule says so itself.
    func willRemove(at place: TablePlace) { notes(of: place)[Note.touch].store(next, ordering: .relaxed) }

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

    /// Endpoints and tunnels.
    static var underlay: TablePlace { TablePlace((Versions.bridgeCapacity << 8) + Versions.bridgeCapacity + 1) }

    var bridge: UInt16 { UInt16(value >> 8) }
    var table: UInt8 { UInt8(truncatingIfNeeded: value) }
}
