/// Why a request cannot be carried out, in one sentence that names the value and the mend.
///
/// A refusal promises that nothing was changed.
public struct Refusal: Error, Hashable, Sendable, CustomStringConvertible {
    public let reason: String

    public init(_ reason: String) { self.reason = reason }

    public var description: String { reason }
}
