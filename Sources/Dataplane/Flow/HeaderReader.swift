import Wire

/// Takes headers from the front of a frame. Every length is checked here.
struct HeaderReader {
    private var start: UnsafeRawPointer
    /// Bytes from `start` on in the first segment.
    private var contiguous: Int
    /// Bytes from `start` on that belong to the layer at hand.
    private(set) var remaining: Int
    /// Bytes before `start`.
    private(set) var offset = 0
    /// A header lies, at least in part, behind the first segment.
    private(set) var isScattered = false

    /// - Parameter length: the whole frame's, in all its segments.
    init(_ segment: UnsafeRawBufferPointer, length: Int) {
        // An empty segment has no bytes to read, wherever it starts.
        start = segment.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
        contiguous = segment.count
        remaining = length
    }

    /// The next `count` bytes; nil when the layer or the segment has fewer.
    mutating func peek(_ count: Int) -> HeaderBytes? {
        guard count <= remaining else { return nil }
        guard count <= contiguous else {
            isScattered = true
            return nil
        }
        return HeaderBytes(unchecked: start)
    }

    /// As `peek`, and goes behind them.
    mutating func pull(_ count: Int) -> HeaderBytes? {
        guard let bytes = peek(count) else { return nil }
        start += count
        offset += count
        contiguous -= count
        remaining -= count
        return bytes
    }

    /// Says how long the layer claims to be: what follows is padding.
    /// - Returns: false when the frame is shorter.
    mutating func limit(to length: Int) -> Bool {
        guard length <= remaining else { return false }
        remaining = length
        return true
    }
}
