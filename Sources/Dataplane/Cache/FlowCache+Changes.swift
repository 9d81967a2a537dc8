/// Which entries a change of the tables concerns.
extension FlowCache {
    /// Whether an entry's program is still what the tables say.
    /// - Returns: false for one that must be walked anew, maybe in vain.
    @inline(__always)
    func isCurrent(_ number: UInt32, _ version: UInt64, _ versions: Versions) -> Bool {
        entry(number).pointee.version == UInt32(truncatingIfNeeded: version) || isUnchanged(number, version, versions)
    }

    @inline(never)
    private func isUnchanged(_ number: UInt32, _ version: UInt64, _ versions: Versions) -> Bool {
        let entry = entry(number)
        // At most 2^32 versions ago: silent entries go long before.
        var known = version & ~0xffff_ffff | UInt64(entry.pointee.version)
        if known > version { known &-= 1 << 32 }
        let block = entry.pointee.program
        let visits = programs.visits(block)
        for visit in 0..<Int(programs.header(block).pointee.visitCount) {
            let place = visits[visit].place
            let ports = TablePlace(bridge: place.bridge, table: Versions.ports)
            if versions.lastTouch(ports) > known { return false }
            guard versions.lastTouch(place) > known else { continue }
            if !isUnchanged(number, visit, since: known, version, versions) { return false }
        }
        entry.pointee.version = UInt32(truncatingIfNeeded: version)
        return true
    }

    /// Whether a look-up would find what it found then, in a table that has changed since a version.
    private func isUnchanged(
        _ number: UInt32,
        _ visit: Int,
        since known: UInt64,
        _ version: UInt64,
        _ versions: Versions
    ) -> Bool {
        let block = entry(number).pointee.program
        let place = programs.visits(block)[visit].place
        guard versions.lastChange(place) <= known else { return false }
        let rule = programs.visits(block)[visit].rule
        if let rule, !rule.pointee.isVisible(at: version) { return false }
        let priority = rule.map { Int($0.pointee.priority) } ?? -1
        var flow = versions.lastFlow(place)
        for _ in 0..<Self.comparisonLimit {
            guard flow != 0 else { return true }
            guard versions.recent.isThere(flow) else { return false }
            let added = versions.recent.version(of: flow)
            let concerns = versions.recent.priority(of: flow) >= priority && canMeet(flow, number, versions.recent)
            let previous = versions.recent.previous(of: flow)
            guard versions.recent.isThere(flow) else { return false }
            if added <= known { return true }
            if concerns { return false }
            flow = previous
        }
        return false
    }

    /// More flows than this have an entry's packet walked anew instead.
    private static var comparisonLimit: Int { 32 }

    /// Whether packets of an entry may have matched a recent flow when they were looked up. Bits that the entry's program
    /// does not depend on, or that actions had made others, may be anything.
    private func canMeet(_ flow: UInt64, _ number: UInt32, _ recent: RecentFlows) -> Bool {
        let block = entry(number).pointee.program
        let mask = programs.header(block).pointee.mask
        guard mask != MaskTable.none else { return true }
        let altered = programs.alteredParts(block)
        for place in 0..<CacheKey.length {
            let match = recent.match(flow, at: place)
            guard match.mask != 0 else { continue }
            let known = masks[mask][place] & ~Self.bits(ofParts: altered >> UInt64(place * 4) & 0xf)
            if (word(at: place, of: number) ^ match.value) & match.mask & known != 0 { return false }
        }
        return true
    }

    /// 16 bits for each of four.
    private static func bits(ofParts parts: UInt64) -> UInt64 {
        var bits: UInt64 = 0
        for part in UInt64(0)..<4 where parts >> part & 1 != 0 { bits |= 0xffff << (16 * part) }
        return bits
    }
}
