// A statement made into what it is for.
extension FlowParser {
    /// A flow to add.
    func flow() throws(FlowSyntaxError) -> Flow { try complete(try statement(.add)) }

    /// A change: `cookie=V/M` looks for flows, `cookie=V` sets the cookie.
    func modification(isStrict: Bool) throws(FlowSyntaxError) -> FlowModification {
        let statement = try statement(.modify)
        var flow = try complete(statement)
        let setsCookie = statement.hasCookie && statement.cookieMask == nil
        if !setsCookie { flow.cookie = 0 }
        var filter = filter(statement)
        // Other than what is said of flows to dump or remove.
        filter.table = flow.table
        if isStrict { filter.priority = flow.priority }
        return FlowModification(filter: filter, flow: flow, setsCookie: setsCookie)
    }

    /// A match and what else may choose flows.
    func filter(isStrict: Bool) throws(FlowSyntaxError) -> FlowFilter {
        let statement = try statement(isStrict ? .strictFilter : .filter)
        var filter = filter(statement)
        if isStrict { filter.priority = statement.flow.priority }
        return filter
    }

    /// A packet; what is not said, or masked out, is zero.
    func packet() throws(FlowSyntaxError) -> FlowKey {
        let statement = try statement(.packet)
        let match = statement.reading.builder.match
        guard match.addressSets.isEmpty else {
            throw source.error(source.line, "a packet has one address; an address set has no place here")
        }
        return match.value
    }

    private func complete(_ statement: FlowStatement) throws(FlowSyntaxError) -> Flow {
        guard let actions = statement.actions else {
            throw source.error(source.line.end, "the flow has no actions; 'actions=' must follow the match")
        }
        var flow = statement.flow
        flow.match = statement.reading.builder.match
        flow.table = statement.table ?? 0
        var reader = ActionParser(parser: self, facts: statement.reading.facts, table: flow.table)
        flow.actions = try reader.list(actions)
        return flow
    }

    private func filter(_ statement: FlowStatement) -> FlowFilter {
        var filter = FlowFilter()
        filter.match = statement.reading.builder.match
        filter.table = statement.table
        if let mask = statement.cookieMask {
            filter.cookie = statement.flow.cookie & mask
            filter.cookieMask = mask
        }
        filter.outPort = statement.outPort
        filter.outGroup = statement.outGroup
        return filter
    }
}
