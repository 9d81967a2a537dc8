// Meters (ovs-ofctl(8), 'Meter Syntax').
extension FlowParser {
    func meter() throws(FlowSyntaxError) -> Meter {
        var identifier: UInt32?
        var unit: Meter.Unit?
        var (hasBurst, collectsStatistics) = (false, false)
        var bands: [Band]?
        var rest = source.line
        while bands == nil, let pair = try source.nextPair(&rest) {
            switch true {
            case source.isEqual(pair.key, "meter"):
                identifier = try source.number(pair.value, "a meter", atLeast: 1, atMost: Meter.greatestIdentifier)
            case source.isEqual(pair.key, "kbps"): unit = try self.unit(.kilobits, unit, pair)
            case source.isEqual(pair.key, "pktps"): unit = try self.unit(.packets, unit, pair)
            case source.isEqual(pair.key, "burst"): hasBurst = true
            case source.isEqual(pair.key, "stats"): collectsStatistics = true
            case source.isEqual(pair.key, "bands"), source.isEqual(pair.key, "band"):
                bands = try self.bands(Slice(start: pair.value.start, end: source.line.end))
            default:
                throw source.error(
                    pair.key,
                    "\(source.quoted(pair.key)) is unknown; allowed are meter, kbps, pktps, burst, stats, bands"
                )
            }
        }
        guard let identifier, let unit, let bands, !bands.isEmpty else {
            throw source.error(source.line, "a meter needs meter=, kbps or pktps, and bands=")
        }
        var meter = Meter(identifier: identifier, unit: unit)
        meter.hasBurst = hasBurst
        meter.collectsStatistics = collectsStatistics
        for band in bands { meter.bands.append(try complete(band, hasBurst: hasBurst)) }
        return meter
    }

    /// A band while it is read.
    private struct Band {
        var place: Slice
        var isRemark: Bool
        var rate: UInt32 = 0
        var burstSize: UInt32 = 0
        var precedence: UInt8 = 0
    }

    private func unit(
        _ new: Meter.Unit,
        _ old: Meter.Unit?,
        _ pair: KeyValue
    ) throws(FlowSyntaxError) -> Meter.Unit {
        guard old == nil || old == new else { throw source.error(pair.key, "kbps and pktps exclude each other") }
        return new
    }

    private func bands(_ slice: Slice) throws(FlowSyntaxError) -> [Band] {
        var bands: [Band] = []
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            if source.isEqual(pair.key, "type") {
                guard source.isEqual(pair.value, "drop") || source.isEqual(pair.value, "dscp_remark") else {
                    throw source.error(
                        pair.value,
                        "\(source.quoted(pair.value)) is not a type of band; allowed are drop and dscp_remark"
                    )
                }
                bands.append(Band(place: pair.key, isRemark: source.isEqual(pair.value, "dscp_remark")))
                continue
            }
            guard !bands.isEmpty else { throw source.error(pair.key, "a band starts with type=") }
            try set(pair, &bands[bands.count - 1])
        }
        return bands
    }

    private func set(_ pair: KeyValue, _ band: inout Band) throws(FlowSyntaxError) {
        switch true {
        case source.isEqual(pair.key, "rate"): band.rate = try source.number(pair.value, "a rate", atLeast: 1)
        case source.isEqual(pair.key, "burst_size"):
            band.burstSize = try source.number(pair.value, "a burst", atLeast: 1)
        case source.isEqual(pair.key, "prec_level"):
            band.precedence = try source.number(pair.value, "a precedence", atLeast: 1)
        default:
            throw source.error(
                pair.key,
                "\(source.quoted(pair.key)) is unknown; allowed in a band are type, rate, burst_size, prec_level"
            )
        }
    }

    private func complete(_ band: Band, hasBurst: Bool) throws(FlowSyntaxError) -> Meter.Band {
        guard band.rate != 0 else { throw source.error(band.place, "a band needs rate=") }
        guard hasBurst == (band.burstSize != 0) else {
            throw source.error(band.place, "burst_size is given just when the meter has the word burst")
        }
        guard band.isRemark == (band.precedence != 0) else {
            throw source.error(band.place, "prec_level is given just for a band of type dscp_remark")
        }
        return Meter.Band(
            kind: band.isRemark ? .remarkDSCP(precedence: band.precedence) : .drop,
            rate: band.rate,
            burstSize: band.burstSize
        )
    }
}

extension TextOutput {
    /// A meter as `ovs-ofctl -O OpenFlow13 dump-meters` prints it, but all on one line, as it is read.
    mutating func meter(_ meter: Meter) {
        put("meter=\(meter.identifier) \(meter.unit.rawValue) ")
        if meter.hasBurst { put("burst ") }
        if meter.collectsStatistics { put("stats ") }
        put("bands=")
        for (index, band) in meter.bands.enumerated() {
            if index > 0 { put(" " as Unicode.Scalar) }
            switch band.kind {
            case .drop: put("type=drop rate=\(band.rate)")
            case .remarkDSCP: put("type=dscp_remark rate=\(band.rate)")
            }
            if meter.hasBurst { put(" burst_size=\(band.burstSize)") }
            if case .remarkDSCP(let precedence) = band.kind { put(" prec_level=\(precedence)") }
        }
    }
}
