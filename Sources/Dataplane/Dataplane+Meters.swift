public import Flows

/// A meter of a bridge, as it is counted.
public struct InstalledMeter: Hashable, Sendable {
    public let meter: Meter
    /// What it was asked for.
    public let packetCount: UInt64
    public let byteCount: UInt64
    /// What each band dropped.
    public let bands: [Band]

    public struct Band: Hashable, Sendable {
        public let packetCount: UInt64
        public let byteCount: UInt64
    }
}

extension Dataplane {
    /// The meters of a bridge, in the order of their numbers; empty for a bridge that does not exist.
    public func meters(of bridge: String) -> [InstalledMeter] {
        guard let tables = bridges[bridge]?.tables else { return [] }
        return tables.meters.values.sorted { $0.meter.identifier < $1.meter.identifier }.map(\.installed)
    }

    /// Why `changeMeters` would not add a meter; nil when it will.
    public func refusal(of meter: Meter) -> Refusal? {
        guard meter.bands.contains(where: { $0.kind != .drop }) else { return nil }
        return Refusal("meter \(meter.identifier): bands of type dscp_remark are not supported; allowed are drop")
    }

    /// The flows of a bridge that go with some meters.
    public func flows(of bridge: String, usingMeters meters: Set<UInt32>) -> OrphanedFlows {
        bridges[bridge]?.tables.flows(using: meters, in: \.meters) ?? .none
    }

    /// How many flows of a bridge use each meter.
    public func flowCounts(byMeterOf bridge: String) -> [UInt32: Int] {
        var counts: [UInt32: Int] = [:]
        for (_, flow) in bridges[bridge]?.tables.all ?? [] {
            for meter in flow.actions.meters { counts[meter, default: 0] += 1 }
        }
        return counts
    }

    /// Changes the meters of a bridge.
    ///
    /// - Parameters:
    ///   - removing: numbers of meters that are there. The flows that use them go too.
    ///   - adding: each replaces one with the same number; flows that use it stay, and it begins anew with full buckets.
    /// - Returns: the flows that went.
    /// - Throws: `Refusal` when the bridge or a meter does not exist, and for a band other than `drop`; nothing has changed
    ///   then.
    @discardableResult
    public func changeMeters(
        of bridge: String,
        removing: [UInt32] = [],
        adding: [Meter] = []
    ) throws(Refusal) -> OrphanedFlows {
        guard let tables = bridges[bridge]?.tables else { throw Refusal("bridge '\(bridge)' does not exist") }
        for identifier in removing where tables.meters[identifier] == nil {
            throw Refusal("meter \(identifier) does not exist")
        }
        for meter in adding { if let refusal = refusal(of: meter) { throw refusal } }
        return tables.commitMeters(removing: Set(removing).subtracting(adding.map(\.identifier)), adding: adding)
    }
}

/// A meter and where its readers find it: the writer's side.
struct PlacedMeter {
    let meter: Meter
    let cell: UnsafeMutablePointer<MeterCell>

    var installed: InstalledMeter {
        let entry = cell.pointee.entry
        let bands = (0..<entry.pointee.bandCount).map { index in
            InstalledMeter.Band(
                packetCount: entry.pointee.bands[index].packets.load(ordering: .relaxed),
                byteCount: entry.pointee.bands[index].bytes.load(ordering: .relaxed)
            )
        }
        return InstalledMeter(
            meter: meter,
            packetCount: entry.pointee.packets.load(ordering: .relaxed),
            byteCount: entry.pointee.bytes.load(ordering: .relaxed),
            bands: bands
        )
    }
}
