import CDPDK
import Dataplane
import Glibc
import Synchronization

/// The positions of a guest's packed rings, in a small file that outlives this process.
///
/// A split ring's position can be read back from the ring. A packed ring's cannot, and QEMU does not know it either
/// when its back-end dies. So the worker notes it after every burst: one store into shared memory. The file holds,
/// in 64-bit words: the guest memory's device and inode (which QEMU process it is), two unused, then four words for
/// each vring: position (bits 0 to 15 available, 16 to 31 used, bit 32 set), the ring's guest address, its size, unused.
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

    /// Notes where the rings stand now. The worker calls it after a burst.
    @inline(__always)
    func note(_ vring: UInt16, of device: Int32) {
        var available: UInt16 = 0
        var used: UInt16 = 0
        guard rte_vhost_get_vring_base(device, vring, &available, &used) == 0 else { return }
        let word = UInt64(available) | UInt64(used) << 16 | Self.noted
        entry(vring).pointee.store(word, ordering: .releasing)
    }

    /// Puts a ring of a guest that has just connected where the former process left it, if it is the same ring.
    /// No worker touches the ring yet.
    func restore(_ vring: UInt16, of device: Int32) {
        guard let ring = GuestRing(vring, of: device) else { return }
        let entry = entry(vring)
        let former = entry.pointee.load(ordering: .acquiring)
        let isSame =
            identifies(ring.memory) && entry[1].load(ordering: .relaxed) == ring.address
            && entry[2].load(ordering: .relaxed) == UInt64(ring.packed.count)
        if isSame, former & Self.noted != 0,
            let position = ring.packed.resume(from: .init(word: UInt16(truncatingIfNeeded: former >> 16)))
        {
            rte_vhost_set_vring_base(device, vring, position.word, position.word)
        }
        words[0].store(ring.memory.device, ordering: .relaxed)
        words[1].store(ring.memory.inode, ordering: .relaxed)
        entry[1].store(ring.address, ordering: .relaxed)
        entry[2].store(UInt64(ring.packed.count), ordering: .relaxed)
        note(vring, of: device)
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
