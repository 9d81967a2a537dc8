import Dataplane
import Flows

extension Switch {
    /// Meters of a bridge.
    private static let meterLimit = 16_384
    /// Bands of a meter: a packet asks each.
    private static let bandLimit = 16

    /// Adds meters, all or none.
    /// - Throws: `Refusal`, or `FlowRefusal` with the place in the text.
    @inline(never) public func addMeters(_ request: MeterAdd) throws -> MeterAdd.Response {
        let document = try document(request.neededText(), on: request.bridge)
        try document.checkNew(beside: meterNumbers(of: request.bridge), limit: Self.meterLimit)
        try put(document, on: request.bridge)
        return MeterAdd.Response(added: document.statements.count)
    }

    /// Replaces meters that exist, all or none.
    @inline(never) public func modifyMeters(_ request: MeterModify) throws -> MeterModify.Response {
        let document = try document(request.neededText(), on: request.bridge)
        try document.checkPresent(among: meterNumbers(of: request.bridge))
        try put(document, on: request.bridge)
        return MeterModify.Response(modified: document.statements.count)
    }

    /// Removes meters, and the flows that use them.
    public func deleteMeters(_ request: MeterDelete) throws(Refusal) -> MeterDelete.Response {
        let name = request.bridge
        try bridge(name)
        let removing = try Meter.chosen(request.meters, among: meterNumbers(of: name), on: name)
        let orphans = dataplane.flows(of: name, usingMeters: removing)
        let none: [NumberedRecord<Meter>] = []
        let numbers = removing.sorted()
        try store.change(.meters, of: name, removing: numbers, flows: rows(of: orphans.all, on: name), putting: none)
        forget(try dataplane.changeMeters(of: name, removing: numbers), on: name, .meter)
        return MeterDelete.Response(deleted: removing.count, flows: orphans.all.count)
    }

    public func dumpMeters(_ request: MeterDump) throws(Refusal) -> MeterDump.Response {
        try bridge(request.bridge)
        return MeterDump.Response(meters: dataplane.meters(of: request.bridge).map { MeterDescription($0.meter) })
    }

    public func meterStatistics(_ request: MeterStats) throws(Refusal) -> MeterStats.Response {
        try bridge(request.bridge)
        let counts = dataplane.flowCounts(byMeterOf: request.bridge)
        let meters = dataplane.meters(of: request.bridge).map { installed in
            MeterStats.Meter(
                identifier: installed.meter.identifier,
                flowCount: counts[installed.meter.identifier] ?? 0,
                packetCount: installed.packetCount,
                byteCount: installed.byteCount,
                bands: installed.bands.map {
                    MeterStats.Band(packetCount: $0.packetCount, byteCount: $0.byteCount)
                }
            )
        }
        return MeterStats.Response(meters: meters)
    }

    /// Puts the meters of the state file in place.
    /// - Throws: `StoreError` for one that cannot run.
    func restoreMeters(_ records: [NumberedRecord<Meter>]) throws(StoreError) {
        for (bridge, records) in Dictionary(grouping: records, by: \.bridge) {
            do throws(Refusal) {
                try dataplane.changeMeters(of: bridge, adding: records.map(\.value))
            } catch {
                throw StoreError(
                    "state file '\(store.path)' has a meter of bridge '\(bridge)' that cannot run (\(error.reason)): "
                        + "install the martlet that wrote it"
                )
            }
        }
    }

    // MARK: Checks

    private func meterNumbers(of bridge: String) -> Set<UInt32> {
        Set(dataplane.meters(of: bridge).map(\.meter.identifier))
    }

    private func document(_ text: String, on bridge: String) throws -> StatementDocument<Meter> {
        try self.bridge(bridge)
        let document = try StatementDocument(text) { text throws(FlowSyntaxError) in try FlowText.meters(text) }
        for (index, meter) in document.statements.enumerated() {
            guard meter.bands.count <= Self.bandLimit else {
                throw document.refusal(
                    of: index,
                    "meter \(meter.identifier) has \(meter.bands.count) bands; allowed are \(Self.bandLimit)"
                )
            }
            if let refusal = dataplane.refusal(of: meter) { throw document.refusal(of: index, refusal.reason) }
        }
        return document
    }

    private func put(_ document: StatementDocument<Meter>, on bridge: String) throws {
        let records = document.statements.map { meter in
            NumberedRecord(bridge: bridge, number: meter.identifier, value: meter, line: FlowText.print(meter))
        }
        try store.change(.meters, of: bridge, putting: records)
        try dataplane.changeMeters(of: bridge, adding: document.statements)
    }
}

extension MeterDescription {
    fileprivate init(_ meter: Meter) {
        self.init(
            identifier: meter.identifier,
            unit: meter.unit.rawValue,
            bands: meter.bands.map { band in
                Band(type: "drop", rate: band.rate, burstSize: meter.hasBurst ? band.burstSize : nil)
            },
            meter: FlowText.print(meter)
        )
    }
}
