import Wire

// Notes, conjunctions, and where an action may stand.
extension ActionParser {
    /// `conjunction(ID,K/N)`.
    func conjunction(_ slice: Slice) throws(FlowSyntaxError) -> Action {
        guard let comma = source.firstIndex(of: UInt8(ascii: ","), in: slice),
            let slash = source.firstIndex(of: UInt8(ascii: "/"), in: Slice(start: comma, end: slice.end))
        else { throw source.error(slice, "\(source.quoted(slice)) must have the form conjunction(ID,CLAUSE/COUNT)") }
        let id = source.trimmed(Slice(start: slice.start, end: comma))
        let clause = source.trimmed(Slice(start: comma + 1, end: slash))
        let count = source.trimmed(Slice(start: slash + 1, end: slice.end))
        let clauses: UInt8 = try source.number(count, "a number of clauses", atLeast: 2, atMost: 64)
        return .conjunction(
            id: try source.number(id, "a conjunction"),
            clause: try source.number(clause, "a clause", atLeast: 1, atMost: clauses),
            count: clauses
        )
    }

    /// Pairs of hexadecimal digits, dots between them or not.
    func note(_ slice: Slice) throws(FlowSyntaxError) -> [UInt8] {
        var bytes: [UInt8] = []
        var offset = slice.start
        while offset < slice.end {
            let pair = Slice(start: offset, end: min(offset + 2, slice.end))
            guard pair.count == 2, let byte = source.digits(pair, base: 16) else {
                throw source.error(offset, "a note is made of pairs of hexadecimal digits, with dots between or not")
            }
            bytes.append(UInt8(truncatingIfNeeded: byte))
            offset += 2
            if offset < slice.end, source[offset] == UInt8(ascii: ".") { offset += 1 }
        }
        // As on the wire, where an action's length is a multiple of eight and ten of it are the header's.
        while bytes.count % 8 != 6 { bytes.append(0) }
        return bytes
    }

    /// `reject(type=TYPE,code=CODE,source=ADDRESS)`.
    func reject(_ slice: Slice) throws(FlowSyntaxError) -> Reject {
        var (type, code, address): (Slice?, Slice?, Slice?)
        var rest = slice
        while let pair = try source.nextPair(&rest) {
            switch true {
            case source.isEqual(pair.key, "type"): type = pair.value
            case source.isEqual(pair.key, "code"): code = pair.value
            case source.isEqual(pair.key, "source"): address = pair.value
            default:
                throw source.error(pair.key, "\(source.quoted(pair.key)) is unknown; reject has type, code and source")
            }
        }
        guard let type, let code, let address else {
            throw source.error(slice, "reject must have the form reject(type=TYPE,code=CODE,source=ADDRESS)")
        }
        let router = try routerAddress(address)
        try require(router.isIPv4 ? .ipv4 : .ipv6, address, "reject with source \(router)")
        let number: UInt8 = try source.number(type, "a type")
        guard let greatest = Reject.greatestCode(ofType: number, isIPv4: router.isIPv4) else {
            let types = router.isIPv4 ? "3 (unreachable) or 11 (time exceeded)" : "1 (unreachable) or 3 (time exceeded)"
            throw source.error(type, "type \(number) is none that a flow may reject with: \(types)")
        }
        // Its message has an MTU, which flows do not know.
        if number == 3 && router.isIPv4 && source.isEqual(code, "4") {
            throw source.error(code, "of packets that are too long the switch tells by itself")
        }
        return Reject(type: number, code: try source.number(code, "a code", atMost: greatest), source: router)
    }

    private func routerAddress(_ slice: Slice) throws(FlowSyntaxError) -> IPAddress {
        let address =
            source.ipv4Address(slice).map { IPAddress(IPv4Address(value: $0)) }
            ?? source.ipv6Address(slice).map { IPAddress(IPv6Address(value: $0)) }
        guard let address, address.isStation else {
            throw source.error(slice, "\(source.quoted(slice)) is no address of a router")
        }
        return address
    }

    /// Refuses an action that its list may not hold.
    func checkPlace(_ action: Action, _ pair: KeyValue) throws(FlowSyntaxError) {
        switch (place, action) {
        case (.flow, _): return
        case (.conntrack, .setField(let write)) where write.field.isConntrackState: return
        case (.conntrack, .load(let write)) where write.destination.field.isConntrackState: return
        case (.conntrack, .move(let write)) where write.destination.field.isConntrackState: return
        case (.conntrack, _):
            throw source.error(pair.key, "exec(...) writes ct_mark and ct_label only")
        case (_, .meter), (_, .clearActions), (_, .writeActions), (_, .writeMetadata), (_, .gotoTable):
            throw source.error(pair.key, "\(source.quoted(pair.key)) is not allowed within other actions")
        default: return
        }
    }
}

/// The order that OpenFlow 1.1 gives instructions, and that Open vSwitch holds every list of actions to.
struct InstructionOrder {
    private var last: (rank: Int, word: Slice)?
    private var hasConjunction = false
    private var hasOther = false

    mutating func check(_ action: Action, _ pair: KeyValue, _ source: FlowSource) throws(FlowSyntaxError) {
        let rank = Self.rank(action)
        if let last, rank < last.rank || rank == last.rank && rank != Self.actions {
            throw source.error(
                pair.key,
                "\(source.quoted(pair.key)) cannot follow \(source.quoted(last.word)); the order is meter, actions, "
                    + "clear_actions, write_actions, write_metadata, goto_table"
            )
        }
        last = (rank, pair.key)
        switch action {
        case .conjunction: hasConjunction = true
        case .note: break
        default: hasOther = true
        }
        if hasConjunction, hasOther {
            throw source.error(pair.key, "conjunction may stand beside note only, and no other action")
        }
    }

    private static let actions = 1

    private static func rank(_ action: Action) -> Int {
        switch action {
        case .meter: 0
        case .clearActions: 2
        case .writeActions: 3
        case .writeMetadata: 4
        case .gotoTable: 5
        default: actions
        }
    }
}
