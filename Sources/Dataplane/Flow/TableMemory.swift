import Synchronization

/// Memory of what a walk reads at random: rules, and the places that lead to them. Blocks begin with a cache line and lie
/// in huge pages: with small ones most of a walk would be waiting for the page tables.
enum TableMemory {
    private static let pool = Mutex(BlockPool())

    /// - Returns: memory that is not zeroed.
    static func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        #if DEBUG
            // A block of its own, for the address sanitizer to watch.
            .allocate(byteCount: size, alignment: BlockPool.line)
        #else
            pool.withLock { UnsafeMutableRawPointer(bitPattern: $0.allocate(size)).unsafelyUnwrapped }
        #endif
    }

    /// - Parameter size: that it was allocated with.
    static func free(_ block: UnsafeMutableRawPointer, _ size: Int) {
        #if DEBUG
            block.deallocate()
        #else
            pool.withLock { $0.free(UInt(bitPattern: block), size) }
        #endif
    }
}

/// Blocks cut from large pieces of memory; a freed one waits for the next of its size. Sizes are multiples of a cache line,
/// larger ones powers of 2.
struct BlockPool {
    static var line: Int { 64 }
    private static var largestOfLines: Int { 4096 }
    private static var pieceSize: Int { 32 << 20 }
    /// Larger blocks are pieces of their own.
    private static var largest: Int { 1 << 20 }

    /// The first free block by size class, whose first word leads to the next; 0 for none.
    private var free: [UInt] = Array(repeating: 0, count: Self.sizeClass(of: Self.largest) + 1)
    private var next: UInt = 0
    private var left = 0

    private static func sizeClass(of size: Int) -> Int {
        let lines = (size + line - 1) / line
        let limit = largestOfLines / line
        if lines <= limit { return lines }
        return limit + Int.bitWidth - (size - 1).leadingZeroBitCount - largestOfLines.trailingZeroBitCount
    }

    private static func size(of sizeClass: Int) -> Int {
        let limit = largestOfLines / line
        return sizeClass <= limit ? sizeClass * line : largestOfLines << (sizeClass - limit)
    }

    mutating func allocate(_ size: Int) -> UInt {
        guard size <= Self.largest else { return Self.piece(size) }
        let sizeClass = Self.sizeClass(of: max(size, 1))
        let known = free[sizeClass]
        if known != 0 {
            free[sizeClass] = UnsafePointer<UInt>(bitPattern: known).unsafelyUnwrapped.pointee
            return known
        }
        let size = Self.size(of: sizeClass)
        if left < size { (next, left) = (Self.piece(Self.pieceSize), Self.pieceSize) }
        defer { (next, left) = (next + UInt(size), left - size) }
        return next
    }

    mutating func free(_ block: UInt, _ size: Int) {
        guard size <= Self.largest else {
            return LazyMemory.free(UnsafeMutablePointer<UInt8>(bitPattern: block).unsafelyUnwrapped, size)
        }
        let sizeClass = Self.sizeClass(of: max(size, 1))
        UnsafeMutablePointer<UInt>(bitPattern: block).unsafelyUnwrapped.pointee = free[sizeClass]
        free[sizeClass] = block
    }

    private static func piece(_ size: Int) -> UInt { UInt(bitPattern: LazyMemory.allocate(UInt8.self, size)) }
}
