import Flows
import Synchronization

/// A meter as flows and programs point to it: stays in its place until no cache has a program with it.
struct MeterCell: ~Copyable {
    private let current: Atomic<UnsafeMutablePointer<MeterEntry>>

    let identifier: UInt32

    init(_ identifier: UInt32, _ entry: UnsafeMutablePointer<MeterEntry>) {
        self.identifier = identifier
        current = Atomic(entry)
    }

    @inline(__always)
    var entry: UnsafeMutablePointer<MeterEntry> { current.load(ordering: .acquiring) }

    /// - Returns: the former one, which readers may still use.
    func replace(with entry: UnsafeMutablePointer<MeterEntry>) -> UnsafeMutablePointer<MeterEntry> {
        current.exchange(entry, ordering: .acquiringAndReleasing)
    }

    static func made(_ meter: Meter) -> UnsafeMutablePointer<MeterCell> {
        let cell = UnsafeMutablePointer<MeterCell>.allocate(capacity: 1)
        cell.initialize(to: MeterCell(meter.identifier, MeterEntry.made(meter)))
        return cell
    }

    /// - Precondition: no reader is left.
    static func discard(_ cell: UnsafeMutablePointer<MeterCell>) {
        MeterEntry.discard(cell.pointee.entry)
        cell.deinitialize(count: 1)
        cell.deallocate()
    }
}

/// A meter's bands and what it counted, shared by all workers, who wait for none of each other.
struct MeterEntry: ~Copyable {
    let packets = Atomic<UInt64>(0)
    let bytes = Atomic<UInt64>(0)
    let bands: UnsafeMutablePointer<MeterBand>
    let bandCount: Int

    private init(_ meter: Meter) {
        bandCount = meter.bands.count
        bands = .allocate(capacity: max(bandCount, 1))
        for (index, band) in meter.bands.enumerated() { (bands + index).initialize(to: MeterBand(band, meter.unit)) }
    }

    static func made(_ meter: Meter) -> UnsafeMutablePointer<MeterEntry> {
        let entry = UnsafeMutablePointer<MeterEntry>.allocate(capacity: 1)
        entry.initialize(to: MeterEntry(meter))
        return entry
    }

    static func discard(_ entry: UnsafeMutablePointer<MeterEntry>) {
        entry.pointee.bands.deinitialize(count: entry.pointee.bandCount)
        entry.pointee.bands.deallocate()
        entry.deinitialize(count: 1)
        entry.deallocate()
    }

    /// Whether a packet is within the rates of all bands.
    /// - Parameter now: nanoseconds of a monotonic clock.
    func admits(length: UInt32, now: UInt64) -> Bool {
        packets.wrappingAdd(1, ordering: .relaxed)
        bytes.wrappingAdd(UInt64(length), ordering: .relaxed)
        for index in 0..<bandCount where !bands[index].admits(length: length, now: now) { return false }
        return true
    }
}

/// A token bucket, kept as the time at which it would be full again (the virtual scheduling of ITU-T I.371 annex A): one
/// word, which a compare and swap moves on. Time is in 64ths of a nanosecond, so that a packet of 60 bytes at 40 Gbit/s
/// costs 768 of them, and lasts for nine years.
struct MeterBand: ~Copyable {
    let packets = Atomic<UInt64>(0)
    let bytes = Atomic<UInt64>(0)
    private let fullAt = Atomic<UInt64>(0)
    private let countsBits: Bool
    private let rate: UInt64
    /// The time that a full bucket lasts for at its rate.
    private let depth: UInt64

    private static var second: UInt64 { 64_000_000_000 }

    init(_ band: Meter.Band, _ unit: Meter.Unit) {
        countsBits = unit == .kilobits
        rate = UInt64(band.rate)
        // Without a burst a bucket lasts for a second, as in Open vSwitch. A burst of 2^32 at a rate of 1 is cut to a year.
        let burst = UInt64(band.burstSize == 0 ? band.rate : band.burstSize)
        depth = min(burst / rate, 31_536_000) * Self.second + burst % rate * Self.second / rate
    }

    func admits(length: UInt32, now: UInt64) -> Bool {
        let now = now &* 64
        let cost = countsBits ? UInt64(length) * 8 * (Self.second / 1000) / rate : Self.second / rate
        var former = fullAt.load(ordering: .relaxed)
        while true {
            let next = max(former, now) + cost
            guard next <= now + depth else {
                packets.wrappingAdd(1, ordering: .relaxed)
                bytes.wrappingAdd(UInt64(length), ordering: .relaxed)
                return false
            }
            let (exchanged, original) = fullAt.weakCompareExchange(expected: former, desired: next, ordering: .relaxed)
            if exchanged { return true }
            former = original
        }
    }
}
