/// How a worker says what its packets mean for the flow tables.
extension Lane {
    /// Tells what a program has to tell, as far as it was not told this second.
    func tellAll(_ checks: UnsafeMutablePointer<Program.Check>, count: Int, now: UInt32) {
        for index in 0..<count {
            if case .tell(let telling) = checks[index] { tell(checks + index, telling, now: now) }
        }
    }

    /// - Parameter check: a `tell` of `telling`, before its words.
    func tell(_ check: UnsafeMutablePointer<Program.Check>, _ telling: Program.Telling, now: UInt32) {
        guard telling.told.value != now, flows.messages.put(FlowMessage(telling, check)) else { return }
        var telling = telling
        telling.told.value = now
        check.pointee = .tell(telling)
    }
}
