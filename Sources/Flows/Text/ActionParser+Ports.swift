import Wire

// Where packets go, tables and queues.
extension ActionParser {
    /// `output:PORT`, `output:FIELD[..]`, `output(port=PORT,max_len=N)`.
    func output(_ value: Slice) throws(FlowSyntaxError) -> Action {
        if source.firstIndex(of: UInt8(ascii: "="), in: value) != nil { return try truncatedOutput(value) }
        if source.firstIndex(of: UInt8(ascii: "["), in: value) != nil {
            return try outputSubfield(value)
        }
        // A field without brackets is the whole field, unless a port has its name.
        if let port = try? parser.port(value) { return try output(port, value) }
        if FlowParser.fields.lookUp(source, value) != nil { return try outputSubfield(value) }
        return try output(try parser.port(value), value)
    }

    /// Of more than 64 bits Open vSwitch outputs to others than are written.
    private func outputSubfield(_ value: Slice) throws(FlowSyntaxError) -> Action {
        let subfield = try readable(value)
        guard subfield.width <= 64 else {
            throw source.error(
                value,
                "a port's number has at most 64 bits; \(source.quoted(value)) has \(subfield.width)"
            )
        }
        return .outputSubfield(subfield)
    }

    func output(_ port: FlowPort, _ place: Slice) throws(FlowSyntaxError) -> Action {
        switch port {
        case .inPort: return .inPort
        case .normal: return .normal
        case .flood: return .flood
        case .all: return .all
        case .controller:
            throw source.error(place, "output to CONTROLLER is not supported: there is no OpenFlow controller")
        case _ where port.isOrdinary || port == .local: return .output(port)
        default:
            throw source.error(place, "a packet cannot leave through port \(source.quoted(place))")
        }
    }

    private func truncatedOutput(_ value: Slice) throws(FlowSyntaxError) -> Action {
        var port: FlowPort?
        var length: UInt32?
        var rest = value
        while let pair = try source.nextPair(&rest) {
            if source.isEqual(pair.key, "port") {
                port = try parser.port(pair.value)
            } else if source.isEqual(pair.key, "max_len") {
                // The length of an Ethernet header (ovs-actions(7)).
                length = try source.number(pair.value, "a length in bytes", atLeast: 14)
            } else {
                throw source.error(pair.key, "\(source.quoted(pair.key)) is unknown; allowed are port and max_len")
            }
        }
        guard let port, let length, port.isOrdinary || port == .local || port == .inPort else {
            throw source.error(value, "output(...) needs port=, a port, LOCAL or IN_PORT, and max_len=")
        }
        return .outputTruncated(port, maxLength: length)
    }

    /// `enqueue:PORT:QUEUE` or `enqueue(PORT,QUEUE)`.
    func enqueue(_ value: Slice) throws(FlowSyntaxError) -> Action {
        var port = value
        port.end = value.start
        while port.end < value.end, source[port.end] != UInt8(ascii: ":"), !source[port.end].isSeparator {
            port.end += 1
        }
        let queue = source.trimmed(Slice(start: min(port.end + 1, value.end), end: value.end))
        let number = try parser.port(port)
        guard number.isOrdinary || number == .local || number == .inPort else {
            throw source.error(port, "\(source.quoted(port)) has no queues; allowed are ports, LOCAL and IN_PORT")
        }
        return .enqueue(number, queue: try source.number(queue, "a queue"))
    }

    /// `resubmit:PORT`, `resubmit(PORT,TABLE)`, `resubmit(PORT,TABLE,ct)`, either of the two left out.
    func resubmit(_ value: Slice) throws(FlowSyntaxError) -> Action {
        var parts: [Slice] = []
        var rest = value
        while parts.count < 3 {
            let comma = source.firstIndex(of: UInt8(ascii: ","), in: rest)
            parts.append(source.trimmed(Slice(start: rest.start, end: comma ?? rest.end)))
            guard let comma else { break }
            rest.start = comma + 1
        }
        let port = parts[0].isEmpty ? nil : try parser.port(parts[0])
        let table = parts.count < 2 || parts[1].isEmpty ? nil : try parser.table(parts[1])
        let withTuple = parts.count == 3 && !parts[2].isEmpty
        if withTuple {
            guard source.isEqual(parts[2], "ct") else {
                throw source.error(parts[2], "\(source.quoted(parts[2])) is unknown; allowed is ct")
            }
            try require(.conntrack, parts[2], "resubmit with the connection's own addresses")
        }
        // IN_PORT is what resubmit uses when no port is said, and prints as nothing.
        let other = port == .inPort ? nil : port
        guard other != nil || table != nil else {
            throw source.error(value, "resubmit needs a port or a table, as in resubmit(,20)")
        }
        return .resubmit(port: other, table: table, withOriginalTuple: withTuple)
    }

    func gotoTable(_ value: Slice) throws(FlowSyntaxError) -> Action {
        let next = try parser.table(value)
        guard let table, next <= table else { return .gotoTable(next) }
        throw source.error(value, "goto_table only goes forward; from table \(table), \(next) is not allowed")
    }
}
