/// The counters of one lane: a row a port, written by one worker only and read by the control plane.
///
/// A row is 64-bit words; the reader may see packets and bytes of different moments, never a torn word (aligned
/// 64-bit stores are single on x86-64).
@usableFromInline struct CounterTable {
    static let receivedPackets = 0
    static let receivedBytes = 1
    static let transmittedPackets = 2
    static let transmittedBytes = 3
    static let firstDrop = 4
    /// Whole cache lines, so that two ports never share one.
    static let rowLength = 64

    private let words: UnsafeMutablePointer<UInt64>

    init() {
        precondition(Self.firstDrop + DropReason.allCases.count <= Self.rowLength)
        let count = PortIndex.capacity * Self.rowLength
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count * 8, alignment: 64)
        words = memory.initializeMemory(as: UInt64.self, repeating: 0, count: count)
    }

    func free() { UnsafeMutableRawPointer(words).deallocate() }

    @inline(__always)
    func row(_ port: UInt16) -> UnsafeMutablePointer<UInt64> { words + Int(port) * Self.rowLength }

    @inline(__always)
    func drop(_ reason: DropReason, on port: UInt16) {
        row(port)[Self.firstDrop + reason.rawValue] &+= 1
    }

    @inline(__always)
    func drop(_ reason: DropReason, on port: UInt16, count: Int) {
        row(port)[Self.firstDrop + reason.rawValue] &+= UInt64(count)
    }

    func clear(_ port: UInt16) { row(port).update(repeating: 0, count: Self.rowLength) }

    /// Adds this lane's share.
    func add(_ port: UInt16, to sum: inout PortCounters) {
        let row = row(port)
        sum.receivedPackets &+= row[Self.receivedPackets]
        sum.receivedBytes &+= row[Self.receivedBytes]
        sum.transmittedPackets &+= row[Self.transmittedPackets]
        sum.transmittedBytes &+= row[Self.transmittedBytes]
        for reason in DropReason.allCases { sum.drops[reason.rawValue] &+= row[Self.firstDrop + reason.rawValue] }
    }
}
