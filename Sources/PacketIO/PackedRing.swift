/// The descriptors of a packed virtqueue, as far as it takes to find the place where a device stopped
/// (virtio 1.2 section 2.8). Little endian in the guest's memory; x86-64 and its guests are so as well.
///
///      0                8        12    14    16
///     +----------------+--------+-----+-----+
///     | address        | length | id  |flags|    flags: NEXT 0, WRITE 1, INDIRECT 2, AVAIL 7, USED 15
///     +----------------+--------+-----+-----+
struct PackedRing {
    static let descriptorLength = 16
    private static let next: UInt16 = 1 << 0
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
    /// - Returns: nil when the ring cannot be the one that was noted: the driver has started afresh.
    func resume(from noted: Position) -> Position? {
        guard noted.index < count, noted == .start || wasConsumed(before: noted) else { return nil }
        guard let last = lastMarked(from: noted) else { return noted }
        var position = noted
        while position != last {
            let length = chainLength(at: position)
            if state(at: position) == .available { complete(at: position, length: length) }
            guard let following = advanced(position, by: length, notBeyond: last) else { return nil }
            position = following
        }
        return advanced(last, by: chainLength(at: last))
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

    /// Descriptors of the chain that starts here. A head that was marked as used lost its NEXT flag; Linux and DPDK
    /// write the chain's id into its last descriptor, which tells where it ends.
    private func chainLength(at head: Position) -> UInt16 {
        guard state(at: head) == .available else { return markedChainLength(at: head) }
        var length: UInt16 = 1
        var position = head
        while flags(at: position.index) & Self.next != 0, length < count {
            position = advanced(position, by: 1)
            length += 1
        }
        return length
    }

    private func markedChainLength(at head: Position) -> UInt16 {
        let id = id(at: head.index)
        var position = advanced(head, by: 1)
        var length: UInt16 = 1
        // The chain's other descriptors still look available and, up to the last, carry NEXT.
        while length < count, state(at: position) == .available {
            let isLast = flags(at: position.index) & Self.next == 0
            if isLast { return self.id(at: position.index) == id ? length + 1 : 1 }
            position = advanced(position, by: 1)
            length += 1
        }
        return 1
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

    private func distance(from start: Position, to end: Position) -> Int {
        (Int(end.index) - Int(start.index) + Int(count)) % Int(count)
    }

    private func advanced(_ position: Position, by length: UInt16, notBeyond limit: Position) -> Position? {
        guard Int(length) <= distance(from: position, to: limit) else { return nil }
        return advanced(position, by: length)
    }

    /// The furthest descriptor of the lap that a device has marked, or that was even made available again.
    private func lastMarked(from start: Position) -> Position? {
        var last: Position?
        var position = start
        for _ in 0..<count {
            switch state(at: position) {
            case .used, .availableAgain: last = position
            case .available: break
            case .free: return last
            }
            position = advanced(position, by: 1)
        }
        return last
    }

    /// Whether the chain that ends right before a position was marked as used in its lap, as it is in a ring that
    /// a device has worked on up to there.
    private func wasConsumed(before end: Position) -> Bool {
        var position = retreated(end)
        let last = position
        for _ in 0..<min(count, 64) {
            switch state(at: position) {
            case .used, .availableAgain:
                return position == last || id(at: position.index) == id(at: last.index)
            case .available: position = retreated(position)
            case .free: return false
            }
        }
        return false
    }

    private func retreated(_ position: Position) -> Position {
        position.index == 0
            ? Position(index: count - 1, wrap: !position.wrap)
            : Position(index: position.index - 1, wrap: position.wrap)
    }
}
