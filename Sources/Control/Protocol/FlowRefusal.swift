import Flows

/// Why flow text is refused, and where it stands.
///
/// A refusal promises that nothing was changed.
struct FlowRefusal: Error, Hashable, CustomStringConvertible {
    /// From 1.
    let line: Int
    /// In bytes of UTF-8, from 1.
    let column: Int
    let reason: String

    var description: String { "line \(line), column \(column): \(reason)" }
}

extension FlowRefusal {
    init(_ error: FlowSyntaxError) { self.init(line: error.line, column: error.column, reason: error.reason) }
}
