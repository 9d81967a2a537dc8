import Wire

/// Text under construction, in the forms of numbers and addresses that ovs-ofctl prints.
struct TextOutput {
    private(set) var bytes: [UInt8] = []
    let namePort: PortNamer

    var string: String { String(decoding: bytes, as: UTF8.self) }

    mutating func put(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func put(_ text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func put(_ byte: Unicode.Scalar) { bytes.append(UInt8(ascii: byte)) }

    mutating func decimal(_ number: some FixedWidthInteger) { put(String(number)) }

    /// `%#x`: a prefix unless the number is zero.
    mutating func hexadecimal(_ number: some FixedWidthInteger) {
        if number != 0 { put("0x") }
        put(String(number, radix: 16))
    }

    /// Exactly `width` digits, without a prefix.
    mutating func padded(_ number: some FixedWidthInteger, _ width: Int) {
        let digits = String(number, radix: 16)
        for _ in digits.utf8.count..<max(width, digits.utf8.count) { put("0" as Unicode.Scalar) }
        put(digits)
    }

    mutating func macAddress(_ address: UInt128) {
        for shift in stride(from: 40, through: 0, by: -8) {
            padded(UInt8(truncatingIfNeeded: address >> UInt128(shift)), 2)
            if shift > 0 { put(":" as Unicode.Scalar) }
        }
    }

    mutating func ipv4(_ address: UInt128) {
        for shift in stride(from: 24, through: 0, by: -8) {
            decimal(UInt8(truncatingIfNeeded: address >> UInt128(shift)))
            if shift > 0 { put("." as Unicode.Scalar) }
        }
    }

    /// As glibc's inet_ntop: the first longest run of zero groups shortened, IPv4 in the last 32 bits where the C
    /// library sees an embedded address.
    mutating func ipv6(_ address: UInt128) {
        let groups = (0..<8).map { UInt16(truncatingIfNeeded: address >> UInt128(112 - 16 * $0)) }
        let run = Self.longestZeroRun(groups)
        let isEmbedded = run.lowerBound == 0 && (run.count == 6 || run.count == 5 && groups[5] == 0xffff)
        var index = 0
        while index < 8 {
            if run.count > 1, index == run.lowerBound {
                put(index == 0 ? "::" : ":")
                index = run.upperBound
                continue
            }
            if isEmbedded, index == 6 { return ipv4(address & 0xffff_ffff) }
            put(String(groups[index], radix: 16))
            index += 1
            if index < 8 { put(":" as Unicode.Scalar) }
        }
    }

    private static func longestZeroRun(_ groups: [UInt16]) -> Range<Int> {
        var best = 0..<0
        var start = 0
        for index in 0...8 where index == 8 || groups[index] != 0 {
            if index - start > best.count { best = start..<index }
            start = index + 1
        }
        return best
    }

    /// A reserved port's word, a name, in quotes if it is more than letters and digits, or the number.
    mutating func port(_ port: FlowPort) {
        if let word = port.reservedName { return put(word) }
        guard let name = namePort(port) else { return decimal(port.rawValue) }
        let isPlain =
            name.utf8.first.map { $0.lowercased &- 0x61 < 26 } ?? false
            && name.utf8.allSatisfy { $0.lowercased &- 0x61 < 26 || $0.isDigit }
        if isPlain { put(name) } else { quoted(name) }
    }

    private mutating func quoted(_ name: String) {
        put("\"" as Unicode.Scalar)
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "\""): put("\\\"")
            case UInt8(ascii: "\\"): put("\\\\")
            case 8: put("\\b")
            case 12: put("\\f")
            case 10: put("\\n")
            case 13: put("\\r")
            case 9: put("\\t")
            default: bytes.append(byte)
            }
        }
        put("\"" as Unicode.Scalar)
    }

    /// A subfield under its NXM name, or the field's own where it has none.
    mutating func subfield(_ subfield: Subfield) {
        put(subfield.field.properties.oxm.first ?? subfield.field.name)
        if subfield.isWholeField { return put("[]") }
        put("[" as Unicode.Scalar)
        decimal(subfield.offset)
        if subfield.width > 1 {
            put("..")
            decimal(Int(subfield.offset) + Int(subfield.width) - 1)
        }
        put("]" as Unicode.Scalar)
    }

    /// Replaces a comma at the end, or adds nothing: lists end without one.
    mutating func dropComma() {
        if bytes.last == UInt8(ascii: ",") { bytes.removeLast() }
    }
}

extension TextOutput {
    /// A field's value as set_field and learn have it; `mask` is the full mask for an exact value.
    mutating func value(of field: Field, _ value: UInt128, mask: UInt128) {
        let isExact = mask == field.fullMask
        switch field.shape.format {
        case .decimal:
            decimal(value)
            if !isExact { slash { $0.hexadecimal(mask) } }
        case .hexadecimal:
            hexadecimal(value)
            if !isExact { slash { $0.hexadecimal(mask) } }
        case .ethernet:
            macAddress(value)
            if !isExact { slash { $0.macAddress(mask) } }
        case .ipv4: maskedIPv4(value, mask)
        case .ipv6: maskedIPv6(value, mask)
        case .port: port(FlowPort(rawValue: UInt32(truncatingIfNeeded: value)))
        case .frag: put(FragmentForm.all.first { $0.value == value && $0.mask == mask }?.name ?? "no")
        case .ctState: flags(value, mask, full: field.fullMask, ConntrackStateFlags.names)
        case .tcpFlags: flags(value, mask, full: field.fullMask, TCPFlags.names)
        }
    }

    private mutating func slash(_ body: (inout TextOutput) -> Void) {
        put("/" as Unicode.Scalar)
        body(&self)
    }

    mutating func maskedIPv4(_ value: UInt128, _ mask: UInt128) {
        ipv4(value)
        guard mask != 0xffff_ffff else { return }
        slash { output in
            // A prefix has all its ones above all its zeros.
            let inverse = ~UInt32(truncatingIfNeeded: mask)
            if inverse & (inverse &+ 1) == 0 { output.decimal(32 - inverse.nonzeroBitCount) } else { output.ipv4(mask) }
        }
    }

    mutating func maskedIPv6(_ value: UInt128, _ mask: UInt128) {
        ipv6(value)
        guard mask != .max else { return }
        slash { output in
            let inverse = ~mask
            if inverse & (inverse &+ 1) == 0 {
                output.decimal(128 - inverse.nonzeroBitCount)
            } else {
                output.ipv6(mask)
            }
        }
    }

    mutating func flags(_ value: UInt128, _ mask: UInt128, full: UInt128, _ names: [String]) {
        guard mask == full else {
            for (bit, name) in names.enumerated() where mask >> UInt128(bit) & 1 == 1 {
                put(value >> UInt128(bit) & 1 == 1 ? "+" : "-")
                put(name)
            }
            return
        }
        let set = names.enumerated().filter { value >> UInt128($0.offset) & 1 == 1 }.map(\.element)
        put(set.isEmpty ? "0" : set.joined(separator: "|"))
    }
}
