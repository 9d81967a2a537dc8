// A trace for people.
extension Trace.Response {
    /// What becomes of the packet.
    public var summary: String {
        guard drop == nil else { return "dropped: \(drop ?? "")" }
        return "sent to " + outputs.map { $0.port + ($0.link == "up" ? "" : " (link down)") }.joined(separator: ", ")
    }

    /// Like `ovs-appctl ofproto/trace`.
    public var lines: [String] {
        var lines: [String] = []
        if let packet { lines += ["Packet: \(packet)", ""] }
        for step in steps { lines += step.lines }
        if cut { lines.append("... more steps are left out") }
        if !steps.isEmpty { lines.append("") }
        if packet != nil { lines += ["Megaflow: \(megaflow)", "Datapath actions: \(actions)"] }
        return lines + ["Verdict: \(summary)"]
    }
}

extension Trace.Step {
    fileprivate var lines: [String] {
        let margin = String(repeating: " ", count: 4 * depth)
        switch kind {
        case .bridge: return [margin + text, margin + String(repeating: "-", count: text.count)]
        case .table:
            let number = "\(table ?? 0)"
            return [margin + (number.count < 2 ? " " : "") + "\(number). \(text)"]
        case .action:
            return [margin + text] + (changes ?? []).map { "\(margin) \($0.field): \($0.before) -> \($0.after)" }
        case .note: return [String(margin.dropLast(4)) + " -> " + text]
        }
    }
}
