// ct(...) and nat(...).
extension ActionParser {
    func conntrack(_ slice: Slice) throws(FlowSyntaxError) -> Conntrack {
        try require(.ip, slice, "ct")
        var conntrack = Conntrack()
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            switch true {
            case source.isEqual(pair.key, "commit"): conntrack.commits = true
            case source.isEqual(pair.key, "force"): conntrack.forces = true
            case source.isEqual(pair.key, "table"): conntrack.table = try parser.table(pair.value)
            case source.isEqual(pair.key, "zone"): conntrack.zone = try zone(pair.value)
            case source.isEqual(pair.key, "alg"): conntrack.helper = try helper(pair.value)
            case source.isEqual(pair.key, "nat"): conntrack.nat = try nat(pair.value)
            case source.isEqual(pair.key, "exec"): conntrack.actions = try nested(pair.value, .conntrack)
            default:
                throw source.error(
                    pair.key,
                    "\(source.quoted(pair.key)) is unknown; allowed are commit, force, table, zone, alg, nat, exec"
                )
            }
        }
        guard conntrack.commits || !conntrack.forces else { throw source.error(slice, "force needs commit beside it") }
        guard conntrack.commits || conntrack.nat?.direction == nil else {
            throw source.error(slice, "nat(src) and nat(dst) need commit beside them; nat alone applies what is there")
        }
        if let facts, conntrack.commits, facts.ctState & 0x10 != 0 {
            throw source.error(slice, "a connection that matches +inv cannot be committed")
        }
        return conntrack
    }

    private func zone(_ slice: Slice) throws(FlowSyntaxError) -> Conntrack.Zone {
        if source.number(slice) != nil { return .number(try source.number(slice, "a zone")) }
        let subfield = try readable(slice)
        guard subfield.width == 16 else {
            throw source.error(slice, "a zone has 16 bits; \(source.quoted(slice)) has \(subfield.width)")
        }
        return .subfield(subfield)
    }

    private func helper(_ slice: Slice) throws(FlowSyntaxError) -> Conntrack.Helper {
        guard let helper = Conntrack.Helper(rawValue: source.string(slice)) else {
            throw source.error(slice, "\(source.quoted(slice)) is not a helper; allowed are ftp and tftp")
        }
        try require(helper == .ftp ? .tcp : .udp, slice, "alg=\(helper.rawValue)")
        return helper
    }

    private func nat(_ slice: Slice) throws(FlowSyntaxError) -> NAT {
        var nat = NAT()
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            switch true {
            case source.isEqual(pair.key, "src"): try range(.source, pair, &nat)
            case source.isEqual(pair.key, "dst"): try range(.destination, pair, &nat)
            case source.isEqual(pair.key, "persistent"): nat.isPersistent = true
            case source.isEqual(pair.key, "hash"): try select(.hash, pair, &nat)
            case source.isEqual(pair.key, "random"): try select(.random, pair, &nat)
            default:
                throw source.error(
                    pair.key,
                    "\(source.quoted(pair.key)) is unknown; allowed in nat are src, dst, persistent, hash, random"
                )
            }
        }
        guard nat.addresses != nil || !nat.isPersistent && nat.selection == nil else {
            throw source.error(slice, "persistent, hash and random are allowed only with src=RANGE or dst=RANGE")
        }
        return nat
    }

    private func select(
        _ selection: NAT.Selection,
        _ pair: KeyValue,
        _ nat: inout NAT
    ) throws(FlowSyntaxError) {
        guard nat.selection == nil || nat.selection == selection else {
            throw source.error(pair.key, "hash and random exclude each other")
        }
        nat.selection = selection
    }

    private func range(
        _ direction: NAT.Direction,
        _ pair: KeyValue,
        _ nat: inout NAT
    ) throws(FlowSyntaxError) {
        guard nat.direction == nil else { throw source.error(pair.key, "nat takes one of src and dst, once") }
        nat.direction = direction
        guard !pair.value.isEmpty else { return }
        let (addresses, ports) = divide(pair.value)
        nat.addresses = try addressRange(addresses)
        if let ports { nat.ports = try portRange(ports) }
        switch nat.addresses {
        case .ipv4: try require(.ipv4, addresses, "nat to an IPv4 address")
        case .ipv6: try require(.ipv6, addresses, "nat to an IPv6 address")
        case nil: break
        }
    }

    /// The addresses and, after a colon, the ports; an IPv6 address with ports stands in brackets.
    private func divide(_ slice: Slice) -> (Slice, Slice?) {
        let isIPv4 = leadingRun(slice, where: { $0.isDigit || $0 == UInt8(ascii: ".") }).end
        let isDotted = isIPv4 < slice.end ? [UInt8(ascii: "-"), UInt8(ascii: ":")].contains(source[isIPv4]) : true
        let firstColon = source.firstIndex(of: UInt8(ascii: ":"), in: slice)
        if isDotted, source.ipv4Address(Slice(start: slice.start, end: isIPv4)) != nil {
            guard let firstColon else { return (slice, nil) }
            return (
                Slice(start: slice.start, end: firstColon), Slice(start: firstColon + 1, end: slice.end)
            )
        }
        var last = slice.end - 1
        while last > slice.start, source[last] != UInt8(ascii: "]") { last -= 1 }
        guard last > slice.start, last + 1 < slice.end, source[last + 1] == UInt8(ascii: ":") else {
            return (slice, nil)
        }
        return (Slice(start: slice.start, end: last + 1), Slice(start: last + 2, end: slice.end))
    }

    private func leadingRun(_ slice: Slice, where isIncluded: (UInt8) -> Bool) -> Slice {
        var run = Slice(start: slice.start, end: slice.start)
        while run.end < slice.end, isIncluded(source[run.end]) { run.end += 1 }
        return run
    }

    private func addressRange(_ slice: Slice) throws(FlowSyntaxError) -> AddressRange {
        let dash = source.firstIndex(of: UInt8(ascii: "-"), in: slice)
        let first = withoutBrackets(Slice(start: slice.start, end: dash ?? slice.end))
        let last = withoutBrackets(Slice(start: dash.map { $0 + 1 } ?? slice.start, end: slice.end))
        if let low = source.ipv4Address(first), let high = source.ipv4Address(last), low <= high {
            return .ipv4(low...high)
        }
        if let low = source.ipv6Address(first), let high = source.ipv6Address(last), low <= high {
            return .ipv6(low...high)
        }
        throw source.error(slice, "\(source.quoted(slice)) is not an address, nor two in ascending order")
    }

    private func withoutBrackets(_ slice: Slice) -> Slice {
        guard slice.count > 2, source[slice.start] == UInt8(ascii: "["), source[slice.end - 1] == UInt8(ascii: "]")
        else {
            return slice
        }
        return Slice(start: slice.start + 1, end: slice.end - 1)
    }

    private func portRange(_ slice: Slice) throws(FlowSyntaxError) -> ClosedRange<UInt16> {
        let dash = source.firstIndex(of: UInt8(ascii: "-"), in: slice)
        let low: UInt16 = try source.number(Slice(start: slice.start, end: dash ?? slice.end), "a port", atLeast: 1)
        guard let dash else { return low...low }
        let high: UInt16 = try source.number(Slice(start: dash + 1, end: slice.end), "a port", atLeast: low)
        return low...high
    }
}
