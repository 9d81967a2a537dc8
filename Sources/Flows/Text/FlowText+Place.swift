extension FlowText {
    /// Where a flow, group or meter stands in a text that has been read: its line and its first column, from 1.
    ///
    /// Whoever refuses one for its sense rather than its syntax says so with it. Time grows with the text.
    /// - Parameter index: of the flow in what `flows` returned, and so on.
    public static func place(of index: Int, in text: String) -> (line: Int, column: Int) {
        place(of: index, in: text) { source -> Int in source.trimmed(source.line).start - source.line.start + 1 }
    }

    /// The same for an action of a flow, at any depth, or an address set of its match.
    ///
    /// - Parameters:
    ///   - ports: what the text was read with.
    ///   - objects: whether an action is the one.
    ///   - objectsToSet: whether a set is, by its name.
    public static func place(
        ofFlow index: Int,
        in text: String,
        ports: @escaping PortResolver,
        whereAction objects: @escaping (Action) -> Bool,
        orSet objectsToSet: @escaping (String) -> Bool = { _ in false }
    ) -> (line: Int, column: Int) {
        place(of: index, in: text) { source throws(FlowSyntaxError) in
            var parser = FlowParser(source: source, resolvePort: ports, objects: objects)
            parser.objectsToSet = objectsToSet
            // Takes what `flow` takes, and is what a modification was read with.
            _ = try parser.modification(isStrict: false)
        }
    }

    /// The same for an action of a group, or a port or group that a bucket watches, as an output to it.
    public static func place(
        ofGroup index: Int,
        in text: String,
        ports: @escaping PortResolver,
        whereAction objects: @escaping (Action) -> Bool
    ) -> (line: Int, column: Int) {
        place(of: index, in: text) { source throws(FlowSyntaxError) in
            _ = try FlowParser(source: source, resolvePort: ports, objects: objects).group()
        }
    }

    private static func place(
        of index: Int,
        in text: String,
        _ read: (FlowSource) throws(FlowSyntaxError) -> Void
    ) -> (line: Int, column: Int) {
        place(of: index, in: text) { source -> Int in
            do throws(FlowSyntaxError) {
                try read(source)
                return source.trimmed(source.line).start - source.line.start + 1
            } catch {
                return error.column
            }
        }
    }

    private static func place(
        of index: Int,
        in text: String,
        _ column: (FlowSource) -> Int
    ) -> (line: Int, column: Int) {
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
                return (source.lineNumber, column(source))
            }
            return (1, 1)
        }
    }

    /// The text of each flow, group or meter that has been read, without comments and white space around it.
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
