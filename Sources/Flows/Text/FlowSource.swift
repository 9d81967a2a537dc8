/// A run of bytes of the text, by offset.
struct Slice {
    var start: Int
    var end: Int

    var isEmpty: Bool { start == end }
    var count: Int { end - start }
}

/// One line of a text, and where it stands, for errors.
///
/// `bytes` is the caller's memory: a source and whatever holds it live no longer than the call that lent it.
struct FlowSource {
    /// A longer line is refused before anything of it is read.
    static let greatestLineLength = 65_536

    let bytes: UnsafeBufferPointer<UInt8>
    let lineNumber: Int
    let line: Slice

    subscript(offset: Int) -> UInt8 { bytes[offset] }

    func error(_ offset: Int, _ reason: String) -> FlowSyntaxError {
        FlowSyntaxError(line: lineNumber, column: offset - line.start + 1, reason: reason)
    }

    func error(_ slice: Slice, _ reason: String) -> FlowSyntaxError { error(slice.start, reason) }

    /// The slice's text.
    func string(_ slice: Slice) -> String { String(decoding: bytes[slice.start..<slice.end], as: UTF8.self) }

    /// The slice's text in quotes, short enough for a message.
    func quoted(_ slice: Slice) -> String {
        let shown = Slice(start: slice.start, end: min(slice.end, slice.start + 60))
        return "'\(string(shown))\(shown.end < slice.end ? "..." : "")'"
    }

    func isEqual(_ slice: Slice, _ word: StaticString) -> Bool {
        guard slice.count == word.utf8CodeUnitCount else { return false }
        for index in 0..<slice.count where bytes[slice.start + index] != word.utf8Start[index] { return false }
        return true
    }

    /// The slice without white space at either end.
    func trimmed(_ slice: Slice) -> Slice {
        var slice = slice
        while slice.start < slice.end, bytes[slice.start].isWhiteSpace { slice.start += 1 }
        while slice.start < slice.end, bytes[slice.end - 1].isWhiteSpace { slice.end -= 1 }
        return slice
    }

    /// Where `byte` first stands in the slice.
    func firstIndex(of byte: UInt8, in slice: Slice) -> Int? {
        var offset = slice.start
        while offset < slice.end {
            if bytes[offset] == byte { return offset }
            offset += 1
        }
        return nil
    }

    /// The parts of the slice before and after its first `->`.
    func splitAtArrow(_ slice: Slice) -> (Slice, Slice)? {
        var offset = slice.start
        while offset + 1 < slice.end {
            if bytes[offset] == UInt8(ascii: "-"), bytes[offset + 1] == UInt8(ascii: ">") {
                return (Slice(start: slice.start, end: offset), Slice(start: offset + 2, end: slice.end))
            }
            offset += 1
        }
        return nil
    }
}

extension UInt8 {
    var isWhiteSpace: Bool { self == 0x20 || self == 0x09 || self == 0x0d || self == 0x0a }
    var isSeparator: Bool { isWhiteSpace || self == UInt8(ascii: ",") }
    var isDigit: Bool { self &- 0x30 < 10 }

    /// The value of a hexadecimal digit.
    var hexadecimalValue: UInt8? {
        switch self {
        case 0x30...0x39: self - 0x30
        case 0x41...0x46: self - 0x41 + 10
        case 0x61...0x66: self - 0x61 + 10
        default: nil
        }
    }

    var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
}
