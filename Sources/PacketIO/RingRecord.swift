import CDPDK
import Dataplane
import Glibc
import Synchronization

/// The positions of a guest's packed rings, in a small file that outlives this process.
///
/// A split ring's position can be read back from the ring. A packed ring's cannot, and QEMU does not know it either
/// when its back-end dies. So the worker notes it after every burst: one store into shared memory. The file holds,
/// in 64-bit words: the guest memory's device and inode (which QEMU process it is), two unused, then four words for
/// each vring: position (bits 0 to 15 available, 16 to 31 used, bit 32 set, least and most descriptors a packet in bits
/// 40 to 47 and 48 to 55), the ring's guest address, its size, unused.
///
/// A trivial value. `close` ends it; the port's last user is gone by then.
struct RingRecord {
    static let maximumRings = 32
    private static let headerLength = 4
    private static let entryLength = 4
    private static let noted: UInt64 = 1 << 32
    private static let byteCount = (headerLength + maximumRings * entryLength) * 8

    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    /// - Parameter path: created when it does not exist; nil keeps the record in memory only, for a process that
    ///   has nowhere to put it.
    /// - Throws: `Refusal` when the file cannot be made.
    init(path: String?) throws(Refusal) {
        let file = try path.map { path throws(Refusal) in try Self.open(path) } ?? -1
        let flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED
        let memory = mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, flags, file, 0)
        if file >= 0 { Glibc.close(file) }
        guard let memory, memory != MAP_FAILED else {
            throw Refusal("no memory for the ring record: \(String(cString: strerror(errno)))")
        }
        // Atomic<UInt64> has the layout of its 64 bits; every pattern is valid.
        words = memory.bindMemory(to: Atomic<UInt64>.self, capacity: Self.byteCount / 8)
    }

    private static func open(_ path: String) throws(Refusal) -> Int32 {
        let file = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0, ftruncate(file, byteCount) == 0 else {
            let reason = String(cString: strerror(errno))
            if file >= 0 { Glibc.close(file) }
            throw Refusal("the ring record \(path) cannot be written: \(reason)")
        }
        return file
    }

    func close() { munmap(words, Self.byteCount) }

    private func entry(_ vring: UInt16) -> UnsafeMutablePointer<Atomic<UInt64>> {
        words + Self.headerLength + Int(vring) * Self.entryLength
    }

    /// Notes where a ring stands now. The worker calls it after a burst.
    /// - Parameter packets: how many the burst had; 0 notes the position alone.
    @inline(__always)
    func note(_ vring: UInt16, of device: Int32, packets: Int) {
        var available: UInt16 = 0
        var used: UInt16 = 0
        guard rte_vhost_get_vring_base(device, vring, &available, &used) == 0 else { return }
        let entry = entry(vring)
        var note = Note(word: entry.pointee.load(ordering: .relaxed))
        if packets != 0 {
            note.count(packets, until: used, size: entry[2].load(ordering: .relaxed))
        }
        note.move(available: available, used: used)
        entry.pointee.store(note.word, ordering: .releasing)
    }

    /// The first word of a vring's entry.
    struct Note {
        private(set) var word: UInt64

        init(word: UInt64) { self.word = word }

        @inline(__always) var isSet: Bool { word & RingRecord.noted != 0 }
        @inline(__always) var used: UInt16 { UInt16(truncatingIfNeeded: word &>> 16) }
        @inline(__always) private var least: UInt64 { word &>> 40 & 0xff }
        @inline(__always) private var most: UInt64 { word &>> 48 & 0xff }

        @inline(__always)
        mutating func move(available: UInt16, used: UInt16) {
            word = word & ~0xffff_ffff | UInt64(available) | UInt64(used) &<< 16 | RingRecord.noted
        }

        /// Learns how many descriptors a packet takes from how far the ring has moved.
        @inline(__always)
        mutating func count(_ packets: Int, until used: UInt16, size: UInt64) {
            let end = UInt64(used & 0x7fff)
            let start = UInt64(self.used & 0x7fff)
            let moved = end > start ? end &- start : end &+ size &- start
            let share = moved / UInt64(packets)
            let rest: UInt64 = share &* UInt64(packets) == moved ? 0 : 1
            let low = min(share, 0xff)
            let high = min(share &+ rest, 0xff)
            let least = self.least == 0 ? low : min(self.least, low)
            word = word & 0xff00_00ff_ffff_ffff | least &<< 40 | max(most, high) &<< 48
        }

        /// Descriptors of every chain, where that is known. A guest's receive buffers are alike, and a small frame
        /// takes one of them; what it sends is of one length only if it always was.
        func chainLength(ofGuestReceive isReceive: Bool) -> UInt16? {
            guard least != 0, isReceive || least == most else { return nil }
            return UInt16(least)
        }
    }

    /// Puts a ring of a guest that has just connected where the former process left it, if it is the same ring.
    /// No worker touches the ring yet.
    func restore(_ vring: UInt16, of device: Int32) {
        guard let ring = GuestRing(vring, of: device) else { return }
        let entry = entry(vring)
        let former = Note(word: entry.pointee.load(ordering: .acquiring))
        let isSame =
            identifies(ring.memory) && entry[1].load(ordering: .relaxed) == ring.address
            && entry[2].load(ordering: .relaxed) == UInt64(ring.packed.count)
        let length = former.chainLength(ofGuestReceive: vring % 2 == 0)
        let position =
            isSame && former.isSet
            ? ring.packed.resume(from: .init(word: former.used), chainLength: length) : nil
        if let position {
            rte_vhost_set_vring_base(device, vring, position.word, position.word)
        } else {
            entry.pointee.store(0, ordering: .relaxed)
        }
        words[0].store(ring.memory.device, ordering: .relaxed)
        words[1].store(ring.memory.inode, ordering: .relaxed)
        entry[1].store(ring.address, ordering: .relaxed)
        entry[2].store(UInt64(ring.packed.count), ordering: .relaxed)
        note(vring, of: device, packets: 0)
    }

    private func identifies(_ memory: GuestRing.Memory) -> Bool {
        words[0].load(ordering: .relaxed) == memory.device && words[1].load(ordering: .relaxed) == memory.inode
    }
}

/// A packed ring of a connected guest and the memory that it lies in.
private struct GuestRing {
    /// What tells one QEMU's memory from another's: the file behind it.
    struct Memory {
        let device: UInt64
        let inode: UInt64
    }

    let packed: PackedRing
    /// The guest's own address of the descriptors.
    let address: UInt64
    let memory: Memory

    init?(_ vring: UInt16, of device: Int32) {
        var ring = rte_vhost_vring()
        guard rte_vhost_get_vhost_vring(device, vring, &ring) == 0, let descriptors = ring.desc_packed, ring.size != 0
        else { return nil }
        packed = PackedRing(descriptors: UnsafeMutableRawPointer(descriptors), count: ring.size)
        let start = UInt64(UInt(bitPattern: descriptors))
        let region = GuestMemory(of: device).regions.first { region in
            start >= region.host_user_addr && start - region.host_user_addr < region.size
        }
        guard let region else { return nil }
        address = start - region.host_user_addr + region.guest_phys_addr
        var status = stat()
        guard fstat(region.fd, &status) == 0 else { return nil }
        memory = Memory(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }
}

/// The regions of guest memory that a connected guest has shared.
struct GuestMemory {
    let regions: [rte_vhost_mem_region]

    init(of device: Int32) {
        var table: UnsafeMutablePointer<rte_vhost_memory>?
        guard rte_vhost_get_mem_table(device, &table) == 0, let table else {
            regions = []
            return
        }
        defer { Glibc.free(table) }
        // The regions follow the count: a flexible array member, which Swift does not import.
        let first = UnsafeRawPointer(table).advanced(by: MemoryLayout<rte_vhost_memory>.size)
            .assumingMemoryBound(to: rte_vhost_mem_region.self)
        regions = Array(UnsafeBufferPointer(start: first, count: Int(table.pointee.nregions)))
    }
}
