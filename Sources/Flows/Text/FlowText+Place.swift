extension FlowText {
    /// Where a flow stands in a text that `flows` has read: its line and its first column, from 1.
    ///
    /// Whoever refuses a flow for its sense rather than its syntax says so with it. Time grows with the text.
    /// - Parameter index: of the flow in what `flows` returned.
    public static func place(ofFlow index: Int, in text: String) -> (line: Int, column: Int) {
        let bytes = ContiguousArray(text.utf8)
        return bytes.withUnsafeBufferPointer { bytes in
            var lines = FlowLines(bytes: bytes)
            var left = index
            // A text that was read has no line that is too long.
            while let source = try? lines.next() {
                guard left == 0 else {
                    left -= 1
                    continue
                }
                return (source.lineNumber, source.trimmed(source.line).start - source.line.start + 1)
            }
            return (1, 1)
        }
    }

    /// The text of each flow that `flows` has read, without comments and white space around it.
    public static func lines(of text: String) -> [String] {
        let bytes = ContiguousArray(text.utf8)
        return bytes.withUnsafeBufferPointer { bytes in
            var found: [String] = []
            var lines = FlowLines(bytes: bytes)
            while let source = try? lines.next() { found.append(source.string(source.trimmed(source.line))) }
            return found
        }
    }
}
