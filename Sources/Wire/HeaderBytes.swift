/// A header's bytes, as many as were asked for; numbers are read in network byte order.
///
/// Valid as long as the memory it was made of. An offset is within the count that was checked: callers name constants
/// below it, so that nothing is checked twice.
public struct HeaderBytes {
    @usableFromInline let start: UnsafeRawPointer

    /// - Parameter start: of as many bytes as will be read.
    @inlinable
    @inline(__always)
    public init(unchecked start: UnsafeRawPointer) { self.start = start }

    /// The first `count` bytes, at least one; nil when there are fewer.
    @inlinable
    @inline(__always)
    public init?(_ bytes: UnsafeRawBufferPointer, _ count: Int) {
        // A buffer without a base address is empty.
        guard bytes.count >= count, let start = bytes.baseAddress else { return nil }
        self.start = start
    }

    /// The same; `fault` is set to `truncated` when there are fewer.
    @inlinable
    @inline(__always)
    init?(_ bytes: UnsafeRawBufferPointer, _ count: Int, fault: inout HeaderFault?) {
        guard let header = HeaderBytes(bytes, count) else {
            fault = .truncated
            return nil
        }
        self = header
    }

    @inlinable
    @inline(__always)
    public func number8(at offset: Int) -> UInt8 { start.load(fromByteOffset: offset, as: UInt8.self) }

    @inlinable
    @inline(__always)
    public func number16(at offset: Int) -> UInt16 {
        UInt16(bigEndian: start.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
    }

    @inlinable
    @inline(__always)
    public func number32(at offset: Int) -> UInt32 {
        UInt32(bigEndian: start.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    @inlinable
    @inline(__always)
    public func number48(at offset: Int) -> UInt64 {
        UInt64(number16(at: offset)) &<< 32 | UInt64(number32(at: offset &+ 2))
    }

    @inlinable
    @inline(__always)
    public func number64(at offset: Int) -> UInt64 {
        UInt64(bigEndian: start.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inlinable
    @inline(__always)
    public func number128(at offset: Int) -> UInt128 {
        UInt128(number64(at: offset)) &<< 64 | UInt128(number64(at: offset &+ 8))
    }
}

/// Room for a header; numbers are written in network byte order. The room is as long as the callers say that they need.
@usableFromInline
struct HeaderSpace {
    @usableFromInline let start: UnsafeMutableRawPointer

    @inlinable
    @inline(__always)
    init(_ start: UnsafeMutableRawPointer) { self.start = start }

    @inlinable
    @inline(__always)
    func put8(_ value: UInt8, at offset: Int) { start.storeBytes(of: value, toByteOffset: offset, as: UInt8.self) }

    @inlinable
    @inline(__always)
    func put16(_ value: UInt16, at offset: Int) {
        start.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }

    @inlinable
    @inline(__always)
    func put32(_ value: UInt32, at offset: Int) {
        start.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }

    @inlinable
    @inline(__always)
    func put48(_ value: UInt64, at offset: Int) {
        put16(UInt16(truncatingIfNeeded: value &>> 32), at: offset)
        put32(UInt32(truncatingIfNeeded: value), at: offset &+ 2)
    }

    @inlinable
    @inline(__always)
    func put64(_ value: UInt64, at offset: Int) {
        start.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
    }

    @inlinable
    @inline(__always)
    func put128(_ value: UInt128, at offset: Int) {
        put64(UInt64(truncatingIfNeeded: value &>> 64), at: offset)
        put64(UInt64(truncatingIfNeeded: value), at: offset &+ 8)
    }
}

extension [UInt8] {
    /// The bytes that `write` makes of zeros, at least one: for whoever sends a header now and then.
    public init(count: Int, writtenBy write: (UnsafeMutableRawPointer) -> Void) {
        self.init(repeating: 0, count: count)
        withUnsafeMutableBytes { bytes in
            if let start = bytes.baseAddress { write(start) }
        }
    }
}
