import CPacket
import Synchronization

/// One lane's copies of packets that were dropped: the latest of each reason and port, not more often than once a second, and
/// of ports that share a place the last one to have it.
///
/// A copy is written by the worker and read by the control plane, who takes none that changes meanwhile: its sequence is odd
/// as long as it is written, and another one after that.
@usableFromInline struct DropSamples {
    /// Bytes of a packet that are kept: all headers, also of a tunnel's packet.
    static var length: Int { 256 }
    /// Places of a reason. Ports whose numbers have the same last three bits share one.
    private static var ways: Int { 8 }
    private static var count: Int { DropReason.allCases.count * ways }

    private struct Place: ~Copyable {
        let sequence = Atomic<UInt64>(0)
        var head = Head()
    }

    /// What stands before the bytes of a copy.
    private struct Head: BitwiseCopyable {
        /// `martlet_nanoseconds`.
        var time: UInt64 = 0
        /// Bytes of the packet, and those that were kept.
        var length: UInt32 = 0
        var kept: UInt16 = 0
        var port: UInt16 = 0
    }

    private let places: UnsafeMutablePointer<Place>
    private let bytes: UnsafeMutableRawPointer
    /// The second in which a place was written last; beside each other, so that a flood of drops touches one line.
    private let seconds: UnsafeMutablePointer<UInt32>
    /// The second that it is.
    private let second: UnsafeMutablePointer<UInt32>

    init() {
        places = .allocate(capacity: Self.count)
        for place in 0..<Self.count { (places + place).initialize(to: Place()) }
        bytes = .allocate(byteCount: Self.count * Self.length, alignment: 64)
        bytes.initializeMemory(as: UInt8.self, repeating: 0, count: Self.count * Self.length)
        seconds = .allocate(capacity: Self.count)
        seconds.initialize(repeating: .max, count: Self.count)
        second = .allocate(capacity: 1)
        second.initialize(to: 0)
    }

    func free() {
        places.deinitialize(count: Self.count)
        places.deallocate()
        bytes.deallocate()
        seconds.deallocate()
        second.deallocate()
    }

    // MARK: - The worker

    /// - Parameter now: seconds of any clock.
    @inline(__always)
    func begin(_ now: UInt32) { second.pointee = now }

    /// Copies a packet that is dropped, as it is by now, unless there is one of this second.
    @inline(__always)
    func take(_ packet: Packet, _ reason: DropReason, on port: UInt16) {
        let place = Self.place(reason, port)
        if seconds[place] != second.pointee { copy(packet, to: place, on: port) }
    }

    @inline(never)
    private func copy(_ packet: Packet, to place: Int, on port: UInt16) {
        seconds[place] = second.pointee
        // The first segment has all headers, as a rule.
        let kept = min(Int(packet.pointee.data_length), Self.length)
        let sequence = places[place].sequence.load(ordering: .relaxed)
        places[place].sequence.store(sequence &+ 1, ordering: .relaxed)
        atomicMemoryFence(ordering: .releasing)
        places[place].head = Head(
            time: martlet_nanoseconds(),
            length: packet.pointee.packet_length,
            kept: UInt16(kept),
            port: port
        )
        // The segment has `data_length` bytes, and the place `length`.
        (bytes + place &* Self.length).copyMemory(from: packet.frame, byteCount: kept)
        places[place].sequence.store(sequence &+ 2, ordering: .releasing)
    }

    private static func place(_ reason: DropReason, _ port: UInt16) -> Int {
        reason.rawValue &* ways &+ Int(port) & (ways &- 1)
    }

    // MARK: - The control plane

    /// The copies that there are.
    func read(into samples: inout [DropSample]) {
        for reason in DropReason.allCases {
            for way in 0..<Self.ways {
                if let sample = read(Self.place(reason, UInt16(way)), reason) { samples.append(sample) }
            }
        }
    }

    /// nil where there is none, and of one that is written right now: there will be another one in a second.
    private func read(_ place: Int, _ reason: DropReason) -> DropSample? {
        let sequence = places[place].sequence.load(ordering: .acquiring)
        guard sequence != 0, sequence & 1 == 0 else { return nil }
        let head = places[place].head
        let kept = UnsafeRawBufferPointer(start: bytes + place * Self.length, count: min(Int(head.kept), Self.length))
        let sample = DropSample(
            reason: reason,
            port: PortIndex(head.port),
            nanoseconds: head.time,
            length: Int(head.length),
            bytes: [UInt8](kept)
        )
        atomicMemoryFence(ordering: .acquiring)
        return places[place].sequence.load(ordering: .relaxed) == sequence ? sample : nil
    }
}
