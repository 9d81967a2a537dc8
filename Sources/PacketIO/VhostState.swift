import CDPDK
import CPacket
import Dataplane
import Synchronization

/// A guest as the workers see it: written by librte_vhost's thread, read for every burst.
struct VhostState: ~Copyable {
    /// librte_vhost's number of the connected guest; -1 while there is none.
    let device = Atomic<Int32>(-1)
    /// One bit for each vring that the guest has made ready.
    let ready = Atomic<UInt64>(0)
    /// One bit for each vring whose guest still kicks the switch at every packet.
    let kicking = Atomic<UInt64>(0)
    /// The guest uses packed rings: their positions are recorded, since nothing else survives this process.
    let isPacked = Atomic<Bool>(false)
    let record: RingRecord
    /// A lock for each vring when several workers may fill one: sending and noting its position are one step.
    private let locks: UnsafeMutablePointer<rte_spinlock_t>?

    init(record: RingRecord, workerCount: Int) {
        self.record = record
        locks = workerCount > 1 ? .allocate(capacity: RingRecord.maximumRings) : nil
        locks?.initialize(repeating: rte_spinlock_t(), count: RingRecord.maximumRings)
    }

    deinit { locks?.deallocate() }

    /// Virtio names queues from the guest's side (virtio 1.2 section 5.1.2): receive 0, transmit 1, receive 2 ...
    @inline(__always) static func guestReceive(_ pair: UInt16) -> UInt16 { pair &* 2 }
    @inline(__always) static func guestTransmit(_ pair: UInt16) -> UInt16 { pair &* 2 &+ 1 }

    @inline(__always)
    private func isReady(_ vring: UInt16) -> Bool { ready.load(ordering: .relaxed) & 1 << UInt64(vring) != 0 }

    /// Takes a burst that the guest sent.
    @inline(__always)
    func receive(_ burst: UnsafeMutablePointer<Packet?>, pair: UInt16, pool: OpaquePointer?) -> Int {
        let device = device.load(ordering: .acquiring)
        let vring = Self.guestTransmit(pair)
        guard device >= 0, isReady(vring) else { return 0 }
        if kicking.load(ordering: .relaxed) & 1 << UInt64(vring) != 0 { silence(vring, of: device) }
        let count = martlet_vhost_receive(device, vring, pool, burst, UInt16(Lane.burstLength))
        if count != 0 && isPacked.load(ordering: .relaxed) { record.note(vring, of: device, packets: Int(count)) }
        return Int(count)
    }

    /// Tells a guest not to kick: its ring is polled. Here and not in librte_vhost's callbacks, which may hold the lock
    /// of the ring that this call takes.
    @inline(never)
    private func silence(_ vring: UInt16, of device: Int32) {
        kicking.bitwiseAnd(~(1 << UInt64(vring)), ordering: .relaxed)
        rte_vhost_enable_guest_notification(device, vring, 0)
    }

    /// A guest that is about to make room gets that many more chances, as long as it takes something each time.
    private static var retries: Int { 8 }

    /// Copies packets into the guest's memory.
    @inline(__always)
    func send(_ packets: UnsafeMutablePointer<Packet?>, count: Int, worker: Int) -> (sent: Int, reason: DropReason) {
        let device = device.load(ordering: .acquiring)
        guard device >= 0, let vring = receiveRing(for: worker) else { return (0, .transmitDown) }
        if let locks { martlet_lock(locks + Int(vring)) }
        defer { if let locks { martlet_unlock(locks + Int(vring)) } }
        var sent = 0
        for _ in 0..<Self.retries {
            let taken = martlet_vhost_transmit(device, vring, packets + sent, UInt16(count - sent))
            sent &+= Int(taken)
            if sent == count || taken == 0 { break }
        }
        if sent != 0 && isPacked.load(ordering: .relaxed) { record.note(vring, of: device, packets: sent) }
        return (sent, .transmitFull)
    }

    /// The guest's receive queue that a worker fills: its own if the guest has so many, so that a flow keeps its order.
    @inline(__always)
    private func receiveRing(for worker: Int) -> UInt16? {
        let receive = ready.load(ordering: .relaxed) & 0x5555_5555_5555_5555
        guard receive & (receive &- 1) != 0 else {
            return receive == 0 ? nil : UInt16(truncatingIfNeeded: receive.trailingZeroBitCount)
        }
        var left = receive
        for _ in 0..<(worker % receive.nonzeroBitCount) { left &= left &- 1 }
        return UInt16(truncatingIfNeeded: left.trailingZeroBitCount)
    }
}
