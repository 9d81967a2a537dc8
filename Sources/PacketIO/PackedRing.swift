/// The descriptors of a packed virtqueue, as far as it takes to find the place where a device stopped
/// (virtio 1.2 section 2.8). Little endian in the guest's memory; x86-64 and its guests are so as well.
///
///      0                8        12    14    16
///     +----------------+--------+-----+-----+
///     | address        | length | id  |flags|    flags: NEXT 0, WRITE 1, INDIRECT 2, AVAIL 7, USED 15
///     +----------------+--------+-----+-----+
struct PackedRing {
    static let descriptorLength = 16
    private static let available: UInt16 = 1 << 7
    private static let used: UInt16 = 1 << 15

    /// A position: the index of a descriptor and the wrap counter of the lap, which starts as true.
    struct Position: Equatable {
        var index: UInt16
        var wrap: Bool

        static let start = Position(index: 0, wrap: true)

        init(index: UInt16, wrap: Bool) {
            self.index = index
            self.wrap = wrap
        }

        /// From the form that vhost-user and librte_vhost use: the wrap counter in bit 15.
        init(word: UInt16) {
            index = word & 0x7fff
            wrap = word & 0x8000 != 0
        }

        var word: UInt16 { index | (wrap ? 0x8000 : 0) }
    }

    /// Readable and writable for `count` descriptors, 1 to 32768 of them.
    let descriptors: UnsafeMutableRawPointer
    let count: UInt16

    /// Where a device resumes that noted `noted` after its last whole burst and died at any moment later.
    ///
    /// Between two bursts the noted position is the true one. Inside a burst the device marks descriptors as used, in
    /// order, save that it may mark the first of a batch last. So every head between the noted position and the last
    /// marked one was consumed: those not marked yet are marked now (their frames are lost, as in any crash), and the
    /// position moves behind them.
    ///
    /// - Parameter chainLength: descriptors of every chain of the ring, where all of them have had the same: then every
    ///   head is known. A marked head no longer tells how long its chain is, so that in a ring of chains of different
    ///   lengths (nil) only a device that died between two bursts is found.
    /// - Returns: nil when the place is not known, or when the ring is not the one that was noted: the driver has
    ///   started afresh.
    func resume(from noted: Position, chainLength: UInt16?) -> Position? {
        guard noted.index < count else { return nil }
        guard let length = chainLength, (1...count).contains(length) else {
            let isSame = noted == .start || state(at: retreated(noted, by: 1)) != .free
            return isSame && !isConsumed(noted) ? noted : nil
        }
        let chains = Int(count / length)
        var consumed = 0
        var isWholeLap = true
        var head = noted
        for number in 1...chains {
            if isConsumed(head) { consumed = number } else { isWholeLap = false }
            head = advanced(head, by: length)
        }
        let isSame = noted == .start || isConsumed(retreated(noted, by: length))
        guard isSame || isWholeLap else { return nil }
        head = noted
        for _ in 0..<consumed {
            if state(at: head) == .available { complete(at: head, length: length) }
            head = advanced(head, by: length)
        }
        return head
    }

    /// The device was done with a chain: it is marked, or even offered again.
    private func isConsumed(_ head: Position) -> Bool {
        switch state(at: head) {
        case .used, .availableAgain: true
        case .free, .available: false
        }
    }

    // MARK: - One descriptor

    private enum State { case free, available, used, availableAgain }

    private func flags(at index: UInt16) -> UInt16 {
        descriptors.loadUnaligned(fromByteOffset: Int(index) * Self.descriptorLength + 14, as: UInt16.self)
    }

    private func id(at index: UInt16) -> UInt16 {
        descriptors.loadUnaligned(fromByteOffset: Int(index) * Self.descriptorLength + 12, as: UInt16.self)
    }

    /// What the driver and the device did to a descriptor, seen from a position's lap.
    private func state(at position: Position) -> State {
        let flags = flags(at: position.index)
        switch ((flags & Self.available != 0) == position.wrap, (flags & Self.used != 0) == position.wrap) {
        case (true, false): return .available
        case (true, true): return .used
        case (false, true): return .availableAgain
        case (false, false): return .free
        }
    }

    /// Marks a chain as used, nothing written.
    private func complete(at head: Position, length: UInt16) {
        let last = advanced(head, by: length - 1)
        let offset = Int(head.index) * Self.descriptorLength
        descriptors.storeBytes(of: 0, toByteOffset: offset + 8, as: UInt32.self)
        descriptors.storeBytes(of: id(at: last.index), toByteOffset: offset + 12, as: UInt16.self)
        let marks = head.wrap ? Self.available | Self.used : 0
        descriptors.storeBytes(of: marks, toByteOffset: offset + 14, as: UInt16.self)
    }

    // MARK: - Positions

    private func advanced(_ position: Position, by length: UInt16) -> Position {
        let index = Int(position.index) + Int(length)
        let wraps = index >= Int(count)
        return Position(index: UInt16(wraps ? index - Int(count) : index), wrap: position.wrap != wraps)
    }

    private func retreated(_ position: Position, by length: UInt16) -> Position {
        position.index < length
            ? Position(index: position.index + count - length, wrap: !position.wrap)
            : Position(index: position.index - length, wrap: position.wrap)
    }
}
