/// Text that is not a flow: where, and why.
public struct FlowSyntaxError: Error, Hashable, Sendable, CustomStringConvertible {
    /// From 1; always 1 for a text of one line.
    public let line: Int
    /// In bytes of UTF-8, from 1.
    public let column: Int
    /// A sentence that names the value and what is allowed.
    public let reason: String

    public var description: String { "line \(line), column \(column): \(reason)" }
}
