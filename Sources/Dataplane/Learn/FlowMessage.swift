import Flows

/// What a worker tells the control plane of a bridge's flows, as tables have one writer: a flow to learn, or the end of
/// a TCP connection.
struct FlowMessage: BitwiseCopyable {
    /// Words that a message can carry; `learn` actions that take more of a packet are refused.
    static var capacity: Int { 16 }

    let head: Program.Telling
    /// `head.wordCount` of them.
    let words: InlineArray<16, UInt64>

    /// - Parameter checks: a `tell` with its words behind it.
    init(_ head: Program.Telling, _ checks: UnsafePointer<Program.Check>) {
        self.head = head
        words = InlineArray { index in
            guard index < Int(head.wordCount), case .word(let word) = checks[index + 1] else { return 0 }
            return word
        }
    }
}

extension Program {
    /// The head of a message.
    struct Telling: Equatable, BitwiseCopyable {
        enum Subject: UInt8 {
            /// Learn action `number` (`LearnTable`) makes a flow of the words.
            case learn
            /// Flow `number`, which is there since the version of the first word, gets the timeouts of the second:
            /// idle in its lower 16 bits, hard in the next.
            case finish
        }

        let subject: Subject
        let wordCount: UInt8
        /// The slot of the bridge.
        let bridge: UInt16
        let number: UInt32
        var told = Second()
    }

    /// When something was told last. Programs that differ only there are the same.
    struct Second: Equatable, BitwiseCopyable {
        /// 0 before the first time.
        var value: UInt32 = 0

        static func == (left: Second, right: Second) -> Bool { true }
    }
}
