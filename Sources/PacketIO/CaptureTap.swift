import CDPDK
import CPacket
import CPcap
import Dataplane
import Glibc
import Synchronization

/// A capture as the workers see it: free places and filled places in two rings, so that no worker waits for the
/// reader or for another worker.
struct CaptureTap: ~Copyable {
    static let placeCount = 4096
    /// Bytes of a place behind its header: a jumbo frame with two tags.
    static let maximumLength = 9_216

    /// What precedes a packet's bytes in its place.
    struct Header {
        var time: UInt64
        var length: UInt32
        var captured: UInt32
        var received: Bool
    }

    let free: OpaquePointer
    let full: OpaquePointer
    let memory: UnsafeMutableRawPointer
    let takesReceived: Bool
    let takesTransmitted: Bool
    let snapLength: UInt32
    let filter: UnsafeMutablePointer<bpf_program>?
    let lost = Atomic<UInt64>(0)

    private static let stride = MemoryLayout<Header>.stride + maximumLength
    private static let serial = Atomic<Int>(0)

    /// - Parameters:
    ///   - filter: compiled by `compile`; the tap frees it.
    ///   - rings: made by `makeRings`; the tap frees them.
    init(_ request: CaptureRequest, filter: UnsafeMutablePointer<bpf_program>?, rings: Rings) {
        self.filter = filter
        takesReceived = request.direction != .transmit
        takesTransmitted = request.direction != .receive
        snapLength = UInt32(min(max(request.snapLength, 1), Self.maximumLength))
        free = rings.free
        full = rings.full
        memory = .allocate(byteCount: Self.placeCount * Self.stride, alignment: 64)
        for place in 0..<Self.placeCount { rte_ring_enqueue(free, memory + place * Self.stride) }
    }

    struct Rings {
        let free: OpaquePointer
        let full: OpaquePointer
    }

    /// - Throws: `Refusal` when there is no memory.
    static func makeRings() throws(Refusal) -> Rings {
        let number = Self.serial.wrappingAdd(1, ordering: .relaxed).newValue
        // A ring holds one place less than its size.
        let size = UInt32(placeCount * 2)
        guard let free = rte_ring_create("martlet_capture_free_\(number)", size, martlet_any_socket, 0) else {
            throw Refusal("no memory for a capture: end another one first")
        }
        guard let full = rte_ring_create("martlet_capture_full_\(number)", size, martlet_any_socket, 0) else {
            rte_ring_free(free)
            throw Refusal("no memory for a capture: end another one first")
        }
        return Rings(free: free, full: full)
    }

    /// - Precondition: no worker holds the tap any more.
    func close() {
        rte_ring_free(free)
        rte_ring_free(full)
        memory.deallocate()
        guard let filter else { return }
        pcap_freecode(filter)
        filter.deallocate()
    }

    /// - Throws: `Refusal` for a text that is no filter.
    static func compile(_ text: String) throws(Refusal) -> UnsafeMutablePointer<bpf_program> {
        guard let handle = pcap_open_dead(DLT_EN10MB, 65_535) else { throw Refusal("no memory for a filter") }
        defer { pcap_close(handle) }
        let program = UnsafeMutablePointer<bpf_program>.allocate(capacity: 1)
        guard pcap_compile(handle, program, text, 1, UInt32.max) == 0 else {
            program.deallocate()
            throw Refusal("filter '\(text)' does not compile: \(String(cString: pcap_geterr(handle))) (pcap-filter(7))")
        }
        return program
    }

    /// Copies the packets of a burst that the filter takes.
    @inline(never)
    func copy(_ packets: UnsafeMutablePointer<Packet?>, count: Int, received: Bool) {
        guard received ? takesReceived : takesTransmitted else { return }
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let nanoseconds = UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
        for index in 0..<count {
            copy(packets[index].unsafelyUnwrapped, time: nanoseconds, received: received)
        }
    }

    private func copy(_ packet: Packet, time: UInt64, received: Bool) {
        var place: UnsafeMutableRawPointer?
        guard rte_ring_dequeue(free, &place) == 0, let place else {
            lost.wrappingAdd(1, ordering: .relaxed)
            return
        }
        let length = packet.pointee.packet_length
        let captured = min(length, UInt32(Self.maximumLength))
        let bytes = place + MemoryLayout<Header>.stride
        martlet_copy_bytes(packet, bytes, captured)
        guard matches(bytes, length: length, captured: captured) else {
            rte_ring_enqueue(free, place)
            return
        }
        let kept = min(captured, snapLength)
        place.storeBytes(of: Header(time: time, length: length, captured: kept, received: received), as: Header.self)
        rte_ring_enqueue(full, place)
    }

    private func matches(_ bytes: UnsafeMutableRawPointer, length: UInt32, captured: UInt32) -> Bool {
        guard let filter else { return true }
        return bpf_filter(filter.pointee.bf_insns, bytes.assumingMemoryBound(to: UInt8.self), length, captured) != 0
    }

    /// The oldest filled places, as packets.
    func take(limit: Int) -> [CapturedPacket] {
        var packets: [CapturedPacket] = []
        var place: UnsafeMutableRawPointer?
        while packets.count < limit, rte_ring_dequeue(full, &place) == 0, let filled = place {
            let header = filled.load(as: Header.self)
            let bytes = UnsafeRawBufferPointer(
                start: filled + MemoryLayout<Header>.stride,
                count: Int(header.captured)
            )
            packets.append(
                CapturedPacket(
                    time: header.time,
                    received: header.received,
                    length: Int(header.length),
                    bytes: Array(bytes)
                )
            )
            rte_ring_enqueue(free, filled)
        }
        return packets
    }
}

/// A capture as the control plane sees it.
final class RunningCapture: Capture, @unchecked Sendable {
    let tap: UnsafeMutablePointer<CaptureTap>
    private let detach: (RunningCapture) -> Void
    private let running = Mutex(true)
    private let finalLost = Atomic<UInt64>(0)

    /// - Parameter detach: takes the tap from the workers and returns when none uses it.
    init(_ request: CaptureRequest, detach: @escaping (RunningCapture) -> Void) throws(Refusal) {
        let filter = try request.filter.map { text throws(Refusal) in try CaptureTap.compile(text) }
        let rings = try CaptureTap.makeRings()
        tap = .allocate(capacity: 1)
        tap.initialize(to: CaptureTap(request, filter: filter, rings: rings))
        self.detach = detach
    }

    func take(limit: Int) -> [CapturedPacket] {
        running.withLock { $0 ? tap.pointee.take(limit: limit) : [] }
    }

    var lost: UInt64 {
        running.withLock { $0 ? tap.pointee.lost.load(ordering: .relaxed) : finalLost.load(ordering: .relaxed) }
    }

    func stop() {
        running.withLock { isRunning in
            guard isRunning else { return }
            detach(self)
            finalLost.store(tap.pointee.lost.load(ordering: .relaxed), ordering: .relaxed)
            tap.pointee.close()
            tap.deinitialize(count: 1)
            tap.deallocate()
            isRunning = false
        }
    }
}
