/// A key and its value, in any of the forms `key`, `key=value`, `key:value` and `key(value)`.
struct KeyValue {
    let key: Slice
    let value: Slice
    /// `=`, `:` or `(`; 0 without a value.
    let delimiter: UInt8

    /// From the key to the end of the value.
    var whole: Slice { Slice(start: key.start, end: max(key.end, value.end)) }
}

extension FlowSource {
    /// Takes the next pair off the front of `rest`; nil when only separators are left.
    ///
    /// Divides text as ovs-ofctl does: a value after `=` or `:` ends at a comma or white space, one in parentheses at
    /// their end, and a nested parenthesis hides what is in it. `(x)->y` is one value, which starts after `(`.
    func nextPair(_ rest: inout Slice) throws(FlowSyntaxError) -> KeyValue? {
        while rest.start < rest.end, self[rest.start].isSeparator { rest.start += 1 }
        guard !rest.isEmpty else { return nil }
        let key = Slice(start: rest.start, end: keyEnd(rest))
        guard key.end < rest.end, !self[key.end].isSeparator else {
            rest.start = key.end
            return KeyValue(key: key, value: Slice(start: key.end, end: key.end), delimiter: 0)
        }
        let delimiter = self[key.end]
        var value = Slice(start: key.end + 1, end: rest.end)
        if delimiter == UInt8(ascii: "(") {
            guard let close = closingParenthesis(value) else {
                throw error(key.end, "the parenthesis after '\(string(key))' is not closed; a ')' must end the value")
            }
            rest.start = close + 1
            value.end = close
            if isArrow(close + 1, rest.end) {
                value.end = try valueEnd(Slice(start: close, end: rest.end))
                rest.start = value.end
            }
        } else {
            value.end = try valueEnd(value)
            rest.start = value.end
        }
        return KeyValue(key: key, value: value, delimiter: delimiter)
    }

    private func isArrow(_ offset: Int, _ end: Int) -> Bool {
        offset + 1 < end && self[offset] == UInt8(ascii: "-") && self[offset + 1] == UInt8(ascii: ">")
    }

    private func keyEnd(_ rest: Slice) -> Int {
        var offset = rest.start
        while offset < rest.end {
            switch self[offset] {
            case UInt8(ascii: "\""): offset = quoteEnd(offset, rest.end)
            case UInt8(ascii: ":"), UInt8(ascii: "="), UInt8(ascii: "("): return offset
            case let byte where byte.isSeparator: return offset
            default: offset += 1
            }
        }
        return offset
    }

    /// Where a value that is not in parentheses ends.
    private func valueEnd(_ value: Slice) throws(FlowSyntaxError) -> Int {
        var offset = value.start
        while offset < value.end, !self[offset].isSeparator {
            switch self[offset] {
            case UInt8(ascii: "\""): offset = quoteEnd(offset, value.end)
            case UInt8(ascii: "("):
                guard let close = closingParenthesis(Slice(start: offset + 1, end: value.end)) else {
                    throw error(offset, "the parenthesis is not closed; a ')' must end the value")
                }
                offset = close + 1
            default: offset += 1
            }
        }
        return offset
    }

    /// The `)` of a parenthesis that was opened just before `slice`.
    private func closingParenthesis(_ slice: Slice) -> Int? {
        var level = 1
        var offset = slice.start
        while offset < slice.end {
            switch self[offset] {
            case UInt8(ascii: "\""):
                offset = quoteEnd(offset, slice.end)
                continue
            case UInt8(ascii: "("): level += 1
            case UInt8(ascii: ")"):
                level -= 1
                if level == 0 { return offset }
            default: break
            }
            offset += 1
        }
        return nil
    }

    /// Past the quote that ends the string that starts at `offset`; a string without an end takes all the rest, so that
    /// no text is searched for it more than once.
    private func quoteEnd(_ offset: Int, _ end: Int) -> Int {
        var next = offset + 1
        while next < end {
            if self[next] == UInt8(ascii: "\"") { return next + 1 }
            next += self[next] == UInt8(ascii: "\\") ? 2 : 1
        }
        return end
    }
}
