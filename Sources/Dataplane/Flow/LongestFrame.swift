/// The longest packet that gets anywhere, found by following what is put in front of it. Of several ways the widest counts:
/// of a copy that goes nowhere its sender need not know, when another one arrives.
struct LongestFrame {
    /// In bytes as it comes in; nil before it was sent to a port.
    private(set) var longest: UInt32?
    /// What fits the tunnel that it is in, in the same bytes.
    private var limit = UInt32.max
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
    /// - Parameter frameLength: what the tunnel takes, all of it counted.
    mutating func enterTunnel(_ length: UInt8, frameLength: UInt32) {
        limit = min(limit, before(frameLength))
        growth += Int(length)
        tags = 0
    }

    /// Goes on with the packet that went into a tunnel, as it was before.
    mutating func leaveTunnel(_ outside: LongestFrame) {
        (limit, growth, tags) = (outside.limit, outside.growth, outside.tags)
    }

    /// It is sent to a port, which does not count a tag.
    /// - Parameter maxLength: what is behind so many bytes is cut off before.
    mutating func fit(_ frameLength: UInt32, cutTo maxLength: UInt32 = .max) {
        let room = frameLength + (tags > 0 ? UInt32(tagLength) : 0)
        let fitting = maxLength > room ? before(room) : .max
        longest = max(longest ?? 0, min(limit, fitting))
    }

    /// How long that was which has now so many bytes.
    private func before(_ length: UInt32) -> UInt32 { UInt32(max(Int(length) - growth, 0)) }
}
