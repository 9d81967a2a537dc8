import Glibc
import Synchronization

/// Zeroed memory that costs nothing until it is written: for tables that are made for the worst case.
enum LazyMemory {
    /// For numbers whose zero is all bits zero.
    static func allocate<Element: BitwiseCopyable>(_: Element.Type, _ count: Int) -> UnsafeMutablePointer<Element> {
        let size = max(count, 1) * MemoryLayout<Element>.stride
        let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED else { fatalError("no address space for \(size) bytes") }
        // A look-up touches a random line: with small pages most of its cost would be the page walk.
        madvise(memory, size, MADV_HUGEPAGE)
        return memory.bindMemory(to: Element.self, capacity: max(count, 1))
    }

    /// Zeros that several threads may read and write.
    static func allocateAtomics(_ count: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        // An atomic number is nothing but the number in memory.
        UnsafeMutableRawPointer(allocate(UInt64.self, count)).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    static func free(_ atomics: UnsafeMutablePointer<Atomic<UInt64>>, _ count: Int) {
        free(UnsafeMutableRawPointer(atomics).assumingMemoryBound(to: UInt64.self), count)
    }

    static func free<Element: BitwiseCopyable>(_ memory: UnsafeMutablePointer<Element>, _ count: Int) {
        munmap(memory, max(count, 1) * MemoryLayout<Element>.stride)
    }
}
