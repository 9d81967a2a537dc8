import Flows

extension Walk {
    /// Notes that a flow is to be learned, with what it takes from the packet: the program is good for packets that have
    /// the same there.
    /// - Parameter sources: `instruction.count` of them.
    mutating func learn(_ instruction: Instruction, _ sources: UnsafePointer<Instruction>) {
        guard hasRoom(words: instruction.width) else { return }
        let first = program.checkCount
        let number = UInt32(truncatingIfNeeded: instruction.value)
        let telling = Program.Telling(
            subject: .learn,
            wordCount: instruction.width,
            bridge: bridge,
            number: number
        )
        record(.tell(telling))
        for index in 0..<Int(instruction.count) {
            let value = read(sources[index].from, sources[index].width)
            if sources[index].width > 64 { record(.word(UInt64(truncatingIfNeeded: value >> 64))) }
            record(.word(UInt64(truncatingIfNeeded: value)))
        }
        if Observer.isActive { observer.tells(FlowMessage(telling, program.checks + first)) }
    }

    /// A TCP packet that ends its connection shortens the flow's timeouts (ovs-actions(7), 'fin_timeout').
    mutating func finish(_ instruction: Instruction) {
        // FIN and RST; all other packets have neither.
        let flags: UInt64 = 0x5 << 16
        depend(on: flags, word: 4)
        guard key[4] & flags != 0, let rule, hasRoom(words: 2) else { return }
        let first = program.checkCount
        let telling = Program.Telling(subject: .finish, wordCount: 2, bridge: bridge, number: rule.pointee.flow)
        record(.tell(telling))
        record(.word(rule.pointee.added))
        record(.word(instruction.value))
        if Observer.isActive { observer.tells(FlowMessage(telling, program.checks + first)) }
    }

    /// A message is noted whole or not at all.
    private mutating func hasRoom(words: UInt8) -> Bool {
        guard program.checkCount + 1 + Int(words) <= Program.checkCapacity else {
            fail(.flowTooLong)
            return false
        }
        return true
    }
}

extension Instruction {
    /// `learn`: its number in `value`, the words that it takes in `width`, and an instruction for each of its sources.
    static func learning(_ learn: Learn, _ context: ActionContext) throws(Refusal) -> [Instruction] {
        guard learn.result == nil else {
            throw Refusal("learn with result_dst cannot be run: a packet does not wait until its flow is learned")
        }
        let sources = learn.sources
        let wordCount = sources.reduce(0) { $0 + (width($1) > 64 ? 2 : 1) }
        guard wordCount <= FlowMessage.capacity else {
            throw Refusal("learn takes more than \(FlowMessage.capacity) words of 64 bits from the packet")
        }
        var instruction = Instruction(.learn)
        instruction.value = UInt64(context.learns?.number(of: learn) ?? 0)
        instruction.width = UInt8(wordCount)
        instruction.count = UInt16(sources.count)
        return [instruction]
            + sources.map { source in
                var instruction = Instruction(.source)
                instruction.from = place(source)
                instruction.width = width(source)
                return instruction
            }
    }

    static func finishing(idle: UInt16, hard: UInt16) -> Instruction {
        var instruction = Instruction(.finish)
        instruction.value = UInt64(idle) | UInt64(hard) << 16
        return instruction
    }
}
