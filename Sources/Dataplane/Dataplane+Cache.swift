public import Flows
import Glibc

/// An entry of a worker's flow cache.
public struct CachedEntry: Sendable {
    /// The worker's, in the order of `Dataplane.lanes`.
    public let lane: Int
    public let port: PortIndex
    /// One connection, and not all packets like it.
    public let isExact: Bool
    /// Of the packets that it answers for.
    public let match: Match
    /// What is done with them, or the beginning of it.
    public let program: [ProgramWord]
    /// There is more of the program.
    public let isCut: Bool
    /// Why they go nowhere, if they do.
    public let drop: DropReason
    /// Seconds since the last packet.
    public let idle: UInt32
    /// Entries of the worker with the same program.
    public let sharing: Int
}

extension Dataplane {
    /// The most entries of one call.
    public static let cachedEntryLimit = CacheMailbox.capacity

    /// Entries of the workers' caches, which the workers copy between bursts.
    ///
    /// - Parameters:
    ///   - ports: those whose packets they are for; nil for all.
    ///   - attempts: how often to look for the answers.
    ///   - pause: between two looks.
    /// - Throws: `Refusal` when a worker does not answer.
    public func cachedEntries(
        limit: Int,
        ports: Set<PortIndex>? = nil,
        attempts: Int = 2000,
        pause: () -> Void = { usleep(1000) }
    ) throws(Refusal) -> [CachedEntry] {
        for (number, lane) in lanes.enumerated() where !lane.flows.mailbox.ask(limit: limit, ports: ports) {
            throw Refusal("worker \(number) still copies for the request before: try again")
        }
        var entries: [CachedEntry] = []
        for (number, lane) in lanes.enumerated() {
            var left = attempts
            while lane.flows.mailbox.answer == nil, left > 0 {
                pause()
                left -= 1
            }
            guard let rows = lane.flows.mailbox.answer else {
                throw Refusal("worker \(number) does not answer: 'martletctl stats workers' shows whether it turns")
            }
            entries += rows.prefix(limit - entries.count).map { entry($0, lane: number) }
        }
        return entries
    }

    private func entry(_ row: CacheMailbox.Row, lane: Int) -> CachedEntry {
        var (value, mask) = (FlowKey(), FlowKey())
        for place in 0..<CacheKey.length {
            value[CacheKey.word(at: place)] = row.words[place]
            mask[CacheKey.word(at: place)] = row.mask[place]
        }
        mask[18] &= ~FrameLayout.tagTypeMask
        let number = self.ports.first { $0.index.value == row.port }?.number.value ?? 0
        value.set(.inPort, UInt128(number))
        mask.set(.inPort, 0xffff)
        // The port of the switch lies where no flow key has anything.
        (value[0], mask[0]) = (value[0] & 0xffff_ffff_ffff, mask[0] & 0xffff_ffff_ffff)
        if let source = row.source {
            value.note(source)
            for field in [Field.tunID, source.remote.isIPv4 ? .tunSource : .tunIPv6Source] {
                mask[field.slot] = field.slot.mask
            }
        }
        let count = min(Int(row.stepCount), CacheMailbox.Row.stepLimit)
        return CachedEntry(
            lane: lane,
            port: PortIndex(row.port),
            isExact: row.level == 0,
            match: Match(value: value, mask: mask),
            program: ProgramWord.words(of: (0..<count).map { row.steps[$0] }, type: value),
            isCut: count < Int(row.stepCount),
            drop: DropReason(rawValue: Int(row.drop)) ?? .flowDrop,
            idle: Self.now &- min(row.used, Self.now),
            sharing: Int(row.references)
        )
    }
}
