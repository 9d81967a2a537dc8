/// Flow syntax, both ways: what ovs-ofctl(8) reads and what `ovs-ofctl dump-flows` prints.
///
/// Every reader takes text as UTF-8 bytes and throws the first mistake with its line and column; nothing is returned
/// then. `ports` finds ports by name: it is called once for each name in the text. A line may have 65,536 bytes.
public enum FlowText {
    /// Bytes of a line.
    public static let greatestLineLength = FlowSource.greatestLineLength

    /// Why a line of more bytes is refused.
    public static func reasonForLength(_ count: Int) -> String {
        "the line has \(count) bytes; allowed are \(greatestLineLength)"
    }

    /// A flow to add: `table=0,priority=4,in_port=2 actions=NORMAL`.
    public static func flow(
        _ text: String,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> Flow {
        try line(text, ports) { parser throws(FlowSyntaxError) in try parser.flow() }
    }

    /// A change to flows of a table, 0 where none is said: a match, `cookie=V/M` to look for a cookie or `cookie=V` to set
    /// it, and actions. Strict, it is for the flow with just this match and `priority=`.
    public static func modification(
        _ text: String,
        isStrict: Bool = false,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> FlowModification {
        try line(text, ports) { parser throws(FlowSyntaxError) in try parser.modification(isStrict: isStrict) }
    }

    /// Which flows to dump or remove: `table=`, `cookie=V/M`, `out_port=`, `out_group=` and a match; strict takes
    /// `priority=` too.
    public static func filter(
        _ text: String,
        isStrict: Bool = false,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> FlowFilter {
        try line(text, ports) { parser throws(FlowSyntaxError) in try parser.filter(isStrict: isStrict) }
    }

    /// A packet to trace: `in_port=1,tcp,nw_src=10.0.0.1`. What is not said, or masked out, is zero.
    public static func packet(
        _ text: String,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> FlowKey {
        try line(text, ports) { parser throws(FlowSyntaxError) in try parser.packet() }
    }

    /// Actions alone, against no match: no prerequisite is checked.
    public static func actions(
        _ text: String,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> [Action] {
        try line(text, ports) { parser throws(FlowSyntaxError) in
            var reader = ActionParser(parser: parser)
            return try reader.list(parser.source.line)
        }
    }

    /// A group: `group_id=1,type=select,bucket=weight:10,actions=output:1`.
    public static func group(
        _ text: String,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> Group {
        try line(text, ports) { parser throws(FlowSyntaxError) in try parser.group() }
    }

    /// A meter: `meter=1 pktps bands=type=drop rate=1000`.
    public static func meter(_ text: String) throws(FlowSyntaxError) -> Meter {
        try line(text, noPorts) { parser throws(FlowSyntaxError) in try parser.meter() }
    }

    /// A file of flows to add, one a line; see `parse`.
    public static func flows(
        _ text: String,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> [Flow] {
        try withBytes(text) { bytes throws(FlowSyntaxError) in try parse(bytes, ports: ports) }
    }

    /// A file of flows to add, one a line: `#` starts a comment, blank lines and the header lines of dumps are skipped.
    ///
    /// Time and memory grow with the text's length only, whatever the bytes are.
    public static func parse(
        _ bytes: UnsafeBufferPointer<UInt8>,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> [Flow] {
        try lines(bytes, ports) { parser throws(FlowSyntaxError) in try parser.flow() }
    }

    /// A file of groups, one a line, as one of flows.
    public static func groups(
        _ text: String,
        ports: @escaping PortResolver = { _ in nil }
    ) throws(FlowSyntaxError) -> [Group] {
        try withBytes(text) { bytes throws(FlowSyntaxError) in
            try lines(bytes, ports) { parser throws(FlowSyntaxError) in try parser.group() }
        }
    }

    /// A file of meters, one a line, as one of flows.
    public static func meters(_ text: String) throws(FlowSyntaxError) -> [Meter] {
        try withBytes(text) { bytes throws(FlowSyntaxError) in
            try lines(bytes, noPorts) { parser throws(FlowSyntaxError) in try parser.meter() }
        }
    }

    private static func lines<Result>(
        _ bytes: UnsafeBufferPointer<UInt8>,
        _ ports: @escaping PortResolver,
        _ body: (FlowParser) throws(FlowSyntaxError) -> Result
    ) throws(FlowSyntaxError) -> [Result] {
        var results: [Result] = []
        var lines = FlowLines(bytes: bytes)
        // One a line, counted first: growing the array would copy it over and over.
        results.reserveCapacity(bytes.count { $0 == UInt8(ascii: "\n") } + 1)
        while let source = try lines.next() {
            results.append(try body(FlowParser(source: source, resolvePort: ports)))
        }
        return results
    }

    /// The flow as a dump prints it, with statistics if they are given.
    public static func print(
        _ flow: Flow,
        statistics: FlowStatistics? = nil,
        names: @escaping PortNamer = { _ in nil }
    ) -> String {
        text(names) { $0.flow(flow, statistics) }
    }

    /// The match alone, as a dump prints it.
    public static func print(_ match: Match, names: @escaping PortNamer = { _ in nil }) -> String {
        text(names) {
            $0.match(match)
            $0.dropComma()
        }
    }

    /// Actions as a dump prints them.
    public static func print(_ actions: [Action], names: @escaping PortNamer = { _ in nil }) -> String {
        text(names) { $0.actions(actions) }
    }

    /// A field's value as actions print it: `set_field:VALUE->` without its ends.
    public static func print(
        _ value: UInt128,
        of field: Field,
        mask: UInt128? = nil,
        names: @escaping PortNamer = { _ in nil }
    ) -> String {
        text(names) { $0.value(of: field, value, mask: mask ?? field.fullMask) }
    }

    public static func print(_ group: Group, names: @escaping PortNamer = { _ in nil }) -> String {
        text(names) { $0.group(group) }
    }

    public static func print(_ meter: Meter) -> String { text(noNames) { $0.meter(meter) } }

    private static let noPorts: @Sendable (String) -> UInt32? = { _ in nil }
    private static let noNames: @Sendable (FlowPort) -> String? = { _ in nil }

    private static func text(_ names: @escaping PortNamer, _ body: (inout TextOutput) -> Void) -> String {
        var output = TextOutput(namePort: names)
        body(&output)
        return output.string
    }

    /// Reads a text of one line.
    private static func line<Result>(
        _ text: String,
        _ ports: @escaping PortResolver,
        _ body: (FlowParser) throws(FlowSyntaxError) -> Result
    ) throws(FlowSyntaxError) -> Result {
        try withBytes(text) { bytes throws(FlowSyntaxError) in
            let line = Slice(start: 0, end: bytes.count)
            let source = FlowSource(bytes: bytes, lineNumber: 1, line: line)
            try source.checkLength()
            return try body(FlowParser(source: source, resolvePort: ports))
        }
    }

    private static func withBytes<Result>(
        _ text: String,
        _ body: (UnsafeBufferPointer<UInt8>) throws(FlowSyntaxError) -> Result
    ) throws(FlowSyntaxError) -> Result {
        let bytes = ContiguousArray(text.utf8)
        return try bytes.withUnsafeBufferPointer(body)
    }
}

extension FlowSource {
    /// Refuses a line that is too long.
    func checkLength() throws(FlowSyntaxError) {
        guard line.count <= Self.greatestLineLength else {
            throw error(line.start, FlowText.reasonForLength(line.count))
        }
    }
}

/// The lines of a file that hold flows.
struct FlowLines {
    let bytes: UnsafeBufferPointer<UInt8>
    private var offset = 0
    private var number = 0

    init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    mutating func next() throws(FlowSyntaxError) -> FlowSource? {
        while offset < bytes.count {
            let start = offset
            while offset < bytes.count, bytes[offset] != UInt8(ascii: "\n") { offset += 1 }
            number += 1
            let source = FlowSource(bytes: bytes, lineNumber: number, line: Slice(start: start, end: offset))
            offset += 1
            try source.checkLength()
            let text = source.withoutComment
            if !source.trimmed(text).isEmpty, !source.isDumpHeader(text) {
                return FlowSource(bytes: bytes, lineNumber: number, line: text)
            }
        }
        return nil
    }
}

extension FlowSource {
    /// The line up to a `#` that is not in quotes.
    fileprivate var withoutComment: Slice {
        var isQuoted = false
        for offset in line.start..<line.end {
            if self[offset] == UInt8(ascii: "\"") { isQuoted.toggle() }
            if self[offset] == UInt8(ascii: "#"), !isQuoted { return Slice(start: line.start, end: offset) }
        }
        return line
    }

    /// `NXST_FLOW reply (xid=0x4):` or `OFPST_FLOW reply (OF1.3) (xid=0x2):`, and those of groups and meters.
    fileprivate func isDumpHeader(_ slice: Slice) -> Bool {
        let text = trimmed(slice)
        let starts: [StaticString] = [
            "NXST_FLOW reply", "OFPST_FLOW reply", "NXST_GROUP_DESC reply", "OFPST_GROUP_DESC reply",
            "OFPST_METER_CONFIG reply",
        ]
        return starts.contains { start in
            text.count >= start.utf8CodeUnitCount
                && isEqual(Slice(start: text.start, end: text.start + start.utf8CodeUnitCount), start)
        }
    }
}
