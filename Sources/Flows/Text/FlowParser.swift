/// Reads parts of one line of flow syntax. Everything that text can name by itself is here; matches, actions, groups
/// and meters are extensions in files of their own.
struct FlowParser {
    let source: FlowSource
    let resolvePort: PortResolver
    /// Which actions somebody objects to and wants the place of: they are refused where they stand.
    var objects: ((Action) -> Bool)?
    /// The same for address sets.
    var objectsToSet: ((String) -> Bool)?

    /// A port: its number, a reserved name, or a name of the bridge, bare or in quotes.
    func port(_ slice: Slice) throws(FlowSyntaxError) -> FlowPort {
        if !slice.isEmpty, source[slice.start].isDigit, let number = source.digits(slice, base: 10) {
            guard let port = FlowPort(number: number) else {
                throw source.error(slice, "port \(source.quoted(slice)) is out of range; allowed is 0 to 65535")
            }
            return port
        }
        if let reserved = Self.reservedPorts.lookUp(source, slice) { return reserved }
        let name = try portName(slice)
        guard let number = resolvePort(name), let port = FlowPort(number: UInt128(number)) else {
            throw source.error(
                slice,
                "\(source.quoted(slice)) is not a port; allowed is a number, a reserved name such as LOCAL, or the "
                    + "name of a port of the bridge"
            )
        }
        return port
    }

    static let reservedPorts = Keywords(FlowPort.reserved.map { ($0.name, $0.port) }, foldsCase: true)

    /// The name without its quotes and escapes, which are those of JSON (RFC 8259, section 7) without `\u`.
    private func portName(_ slice: Slice) throws(FlowSyntaxError) -> String {
        guard !slice.isEmpty, source[slice.start] == UInt8(ascii: "\"") else { return source.string(slice) }
        guard slice.count > 1, source[slice.end - 1] == UInt8(ascii: "\"") else {
            throw source.error(slice, "the name \(source.quoted(slice)) has no closing quote")
        }
        var bytes: [UInt8] = []
        var offset = slice.start + 1
        while offset < slice.end - 1 {
            if source[offset] == UInt8(ascii: "\\") {
                offset += 1
                guard let byte = Self.escapes[source[offset]] else {
                    throw source.error(offset, "the name has an escape other than those of one letter in JSON")
                }
                bytes.append(byte)
            } else {
                bytes.append(source[offset])
            }
            offset += 1
        }
        guard offset == slice.end - 1 else {
            throw source.error(slice, "the name \(source.quoted(slice)) has no closing quote")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static let escapes: [UInt8: UInt8] = [
        UInt8(ascii: "\""): UInt8(ascii: "\""), UInt8(ascii: "\\"): UInt8(ascii: "\\"),
        UInt8(ascii: "/"): UInt8(ascii: "/"), UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
        UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9,
    ]

    /// A table of flows.
    func table(_ slice: Slice) throws(FlowSyntaxError) -> UInt8 {
        try source.number(slice, "a table", atMost: Flow.tables.upperBound)
    }

    /// A subfield that fills the slice.
    func subfield(_ slice: Slice) throws(FlowSyntaxError) -> Subfield {
        let (subfield, end) = try leadingSubfield(slice)
        guard end == slice.end else {
            let field = Slice(start: slice.start, end: end)
            throw source.error(end, "nothing may follow the field \(source.quoted(field))")
        }
        return subfield
    }

    /// A subfield at the front of the slice, such as `NXM_NX_REG0[4..7]`, and where it ends.
    func leadingSubfield(_ slice: Slice) throws(FlowSyntaxError) -> (Subfield, end: Int) {
        var name = slice
        name.end = slice.start
        while name.end < slice.end, source[name.end] != UInt8(ascii: "["), source[name.end] != UInt8(ascii: "-") {
            name.end += 1
        }
        guard let field = Self.fields.lookUp(source, name) else {
            throw source.error(
                slice,
                "\(source.quoted(name)) is not a field; allowed are the names of ovs-fields(7) that Martlet has"
            )
        }
        guard name.end < slice.end, source[name.end] == UInt8(ascii: "[") else { return (Subfield(field), name.end) }
        guard let close = source.firstIndex(of: UInt8(ascii: "]"), in: Slice(start: name.end, end: slice.end)) else {
            throw source.error(name.end, "the bits of \(field.name) have no closing ']'")
        }
        let bits = Slice(start: name.end + 1, end: close)
        return (try range(field, bits), close + 1)
    }

    /// The bits in brackets: nothing, one number, or two with `..` between.
    private func range(_ field: Field, _ bits: Slice) throws(FlowSyntaxError) -> Subfield {
        guard !bits.isEmpty else { return Subfield(field) }
        var first = bits
        var last = bits
        if let dot = source.firstIndex(of: UInt8(ascii: "."), in: bits) {
            first.end = dot
            last.start = min(dot + 2, bits.end)
            if dot + 1 >= bits.end || source[dot + 1] != UInt8(ascii: ".") { last.start = bits.end }
        }
        guard let low = source.digits(first, base: 10), let high = source.digits(last, base: 10) else {
            throw source.error(bits, "\(source.quoted(bits)) is not bits; allowed are [], [BIT], [FIRST..LAST]")
        }
        guard low <= high, high < UInt128(field.width) else {
            throw source.error(
                bits,
                "\(source.quoted(bits)) is not bits of \(field.name); allowed are 0 to \(field.width - 1), ascending"
            )
        }
        return Subfield(field, offset: Int(low), width: Int(high - low) + 1)
    }

    /// Every name of every field.
    static let fields = Keywords(Field.allCases.flatMap { field in field.names.map { ($0, field) } })
}
