import Flows

extension Walk {
    /// Runs a group: each bucket as if the packet were a copy, and an end there is no end here.
    mutating func runGroup(_ instruction: Instruction) {
        guard depth < WalkLimit.depth else { return fail(.flowLoop) }
        note(.groups(of: bridge))
        // The address of a cell, which lives as long as a flow or group that names it.
        guard let cell = UnsafePointer<GroupCell>(bitPattern: UInt(instruction.value)),
            let group = cell.pointee.entry(at: context.version)
        else { return }
        depth += 1
        defer { depth -= 1 }
        switch group.pointee.kind {
        case .all, .indirect: for index in 0..<group.pointee.bucketCount where !hasFailed { run(group, index) }
        case .select: if let index = select(group) { run(group, index) }
        case .fastFailover: if let index = firstLive(group, 0) { run(group, index) }
        }
    }

    private mutating func run(_ group: UnsafeMutablePointer<GroupEntry>, _ index: Int) {
        guard countBucket() else { return }
        let bucket = group.pointee.buckets[index]
        scoped { $0.run(bucket.instructions, count: bucket.count) }
        forgetExit()
    }

    private mutating func countBucket() -> Bool {
        bucketCount += 1
        if bucketCount > WalkLimit.buckets { fail(.flowTooLong) }
        return !hasFailed
    }

    // MARK: - Liveness

    /// Groups that watch each other in a longer row are dead.
    private static var watchLimit: Int { 64 }

    private mutating func firstLive(_ group: UnsafeMutablePointer<GroupEntry>, _ distance: Int) -> Int? {
        for index in 0..<group.pointee.bucketCount where isLive(group, index, distance) { return index }
        return nil
    }

    /// A bucket that watches nothing is live; one of weight 0 takes no part in a selection.
    private mutating func isLive(_ group: UnsafeMutablePointer<GroupEntry>, _ index: Int, _ distance: Int) -> Bool {
        let bucket = group.pointee.buckets[index]
        if group.pointee.kind == .select && bucket.weight == 0 { return false }
        guard bucket.watches else { return true }
        note(.liveness)
        if bucket.watchPort != PortEntry.noPort {
            let port = context.state.bridges[Int(bridge)].port(numbered: bucket.watchPort)
            if port != PortEntry.noPort && context.state.liveness.isLive(port) { return true }
        }
        guard distance < Self.watchLimit, let watched = bucket.watchGroup?.pointee.entry(at: context.version),
            countBucket()
        else { return false }
        return firstLive(watched, distance + 1) != nil
    }

    // MARK: - Selection

    /// Each bucket draws a lot from the packet's hash, and the one with the best for its weight wins: a bucket that comes or
    /// goes moves no packets but its own (Thaler, Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998;
    /// with weights as in draft-ietf-bess-weighted-hrw).
    private mutating func select(_ group: UnsafeMutablePointer<GroupEntry>) -> Int? {
        let hash = group.pointee.hashesFields ? hashFields(group) : hashConnection(group.pointee.hashBasis)
        var best: Int?
        var (bestCost, bestWeight): (UInt64, UInt64) = (0, 1)
        for index in 0..<group.pointee.bucketCount where isLive(group, index, 0) {
            let bucket = group.pointee.buckets[index]
            let cost = Self.negativeLogarithm(Tuple.mixed(hash, UInt64(bucket.identifier) &+ 1))
            let weight = UInt64(bucket.weight)
            // cost / weight < bestCost / bestWeight
            if best == nil || cost * bestWeight < bestCost * weight {
                (best, bestCost, bestWeight) = (index, cost, weight)
            }
        }
        return best
    }

    /// -log2 of a number taken as a fraction of 2^64, with 16 bits behind the point: squaring a number shows the next bit
    /// of its logarithm.
    static func negativeLogarithm(_ number: UInt64) -> UInt64 {
        let number = number | 1
        let exponent = UInt64(number.leadingZeroBitCount)
        var mantissa = number << exponent
        var fraction: UInt64 = 0
        for _ in 0..<16 {
            let square = mantissa.multipliedFullWidth(by: mantissa)
            fraction <<= 1
            if square.high >> 63 == 1 {
                fraction |= 1
                mantissa = square.high
            } else {
                mantissa = square.high << 1 | square.low >> 63
            }
        }
        return (exponent + 1) << 16 - fraction
    }

    private mutating func hashFields(_ group: UnsafeMutablePointer<GroupEntry>) -> UInt64 {
        var hash = Tuple.mixed(Tuple.seed, group.pointee.hashBasis)
        for word in 0..<FlowKey.wordCount where group.pointee.hashMask[word] != 0 {
            let mask = group.pointee.hashMask[word]
            depend(on: mask, word: word)
            hash = Tuple.mixed(hash, key[word] & mask)
        }
        return hash
    }

    /// Both ways of a connection have the same hash: that of its two ends in no order.
    private mutating func hashConnection(_ basis: UInt64) -> UInt64 {
        depend(on: 0xffff_0000, word: 0)
        let hash = Tuple.mixed(Tuple.seed, basis)
        guard key.isIP else {
            depend(on: ~0xffff, word: 1)
            depend(on: ~0xffff, word: 2)
            return Tuple.mixed(hash, Tuple.mixed(hash, key.source) &+ Tuple.mixed(hash, key.destination))
        }
        let (source, destination) = ends(hash)
        depend(on: 0xff00, word: 2)
        return Tuple.mixed(Tuple.mixed(hash, source &+ destination), key[2] & 0xff00)
    }

    /// The addresses, with the ports of what is no fragment.
    private mutating func ends(_ hash: UInt64) -> (source: UInt64, destination: UInt64) {
        depend(on: 0xff, word: 2)
        var ports: (UInt64, UInt64) = (0, 0)
        if key[2] & 0xff == 0 && hasPorts() {
            depend(on: 0xffff_ffff_0000_0000, word: 4)
            ports = (key[4] >> 48, key[4] >> 32 & 0xffff)
        }
        if key[0] >> 16 & 0xffff == 0x0800 {
            depend(on: .max, word: 3)
            return (
                Tuple.mixed(hash, key[3] >> 32 | ports.0 << 32), Tuple.mixed(hash, key[3] & 0xffff_ffff | ports.1 << 32)
            )
        }
        for word in 19...22 { depend(on: .max, word: word) }
        return (
            Tuple.mixed(Tuple.mixed(Tuple.mixed(hash, key[19]), key[20]), ports.0),
            Tuple.mixed(Tuple.mixed(Tuple.mixed(hash, key[21]), key[22]), ports.1)
        )
    }

    private mutating func hasPorts() -> Bool {
        depend(on: 0xff00, word: 2)
        let number = UInt8(truncatingIfNeeded: key[2] >> 8)
        return number == 6 || number == 17 || number == 132
    }
}
