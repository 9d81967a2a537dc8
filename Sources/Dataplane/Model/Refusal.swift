/// Why a request cannot be carried out, in one sentence that names the value and the mend.
///
/// A refusal promises that nothing was changed.
public struct Refusal: Error, Hashable, Sendable, CustomStringConvertible {
    public let reason: String
    /// Nothing is wrong with the request: the same may be carried out later.
    public let isPassing: Bool

    public init(_ reason: String, isPassing: Bool = false) {
        self.reason = reason
        self.isPassing = isPassing
    }

    public var description: String { reason }
}
