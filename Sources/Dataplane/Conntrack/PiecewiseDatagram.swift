/// A datagram whose pieces are at hand one after the other. It is tracked once: what the first piece is told, where its way
/// asks, the others are told again.
struct PiecewiseDatagram: BitwiseCopyable {
    private(set) var isAtHand = false
    /// Of the whole; nil when that is invalid.
    private(set) var tracked: TrackedPacket?
    /// What was said so far, in order, and how much of it to the piece at hand.
    private var answers: InlineArray<16, Track> = InlineArray(repeating: .none)
    private var answerCount = 0
    private var next = 0

    mutating func begin(_ tracked: TrackedPacket?) {
        (isAtHand, self.tracked) = (true, tracked)
        (answerCount, next) = (0, 0)
    }

    mutating func beginPiece() { next = 0 }

    mutating func end() { isAtHand = false }

    /// The next answer, if it is of a zone: the ways of pieces may part, since flows tell the first one from the others.
    mutating func takeAnswer(zone: UInt16) -> Track? {
        guard next < answerCount, answers[next].zone == zone else { return nil }
        next += 1
        return answers[next - 1]
    }

    /// Notes what was said to the piece at hand, behind the last answer. Beyond so many each piece is tracked for itself.
    mutating func note(_ answer: Track) {
        guard next == answerCount, answerCount < answers.count else { return }
        answers[answerCount] = answer
        answerCount += 1
        next = answerCount
    }
}
