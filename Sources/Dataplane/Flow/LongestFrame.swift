/// The longest packet that fits all ports on its way, found by following what is put in front of it.
struct LongestFrame {
    /// In bytes as it comes in.
    private(set) var longest = UInt32.max
    /// Bytes that it has more than it came with, or less.
    private var growth = 0
    private var tags: Int

    init(tags: Int) { self.tags = tags }

    mutating func pushTag() {
        growth += tagLength
        tags += 1
    }

    mutating func popTag() {
        growth -= tagLength
        tags = max(tags - 1, 0)
    }

    /// Behind headers of so many bytes its tags are no tags.
    mutating func enterTunnel(_ length: UInt8) {
        growth += Int(length)
        tags = 0
    }

    /// Goes on with the packet that went into a tunnel, as it was before.
    mutating func leaveTunnel(_ outside: LongestFrame) { (growth, tags) = (outside.growth, outside.tags) }

    /// It is sent to a port, which does not count a tag.
    /// - Parameter maxLength: what is behind so many bytes is cut off before.
    mutating func fit(_ frameLength: UInt32, cutTo maxLength: UInt32 = .max) {
        let room = frameLength + (tags > 0 ? UInt32(tagLength) : 0)
        if maxLength > room { fitWhole(room) }
    }

    /// It goes to where all of it is counted.
    mutating func fitWhole(_ length: UInt32) { longest = min(longest, UInt32(max(Int(length) - growth, 0))) }
}
