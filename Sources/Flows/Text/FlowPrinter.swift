// A flow as `ovs-ofctl dump-flows` prints it, without the space at the front of the line.
extension TextOutput {
    mutating func flow(_ flow: Flow, _ statistics: FlowStatistics?) {
        if statistics != nil || flow.cookie != 0 {
            // The zero has its prefix here, and here only.
            put("cookie=0x\(String(flow.cookie, radix: 16)), ")
        }
        if let statistics { put("duration=\(Self.duration(statistics.durationMilliseconds))s, ") }
        if statistics != nil || flow.table != 0 { put("table=\(flow.table), ") }
        if let statistics { put("n_packets=\(statistics.packetCount), n_bytes=\(statistics.byteCount), ") }
        if flow.idleTimeout != 0 { put("idle_timeout=\(flow.idleTimeout), ") }
        if flow.hardTimeout != 0 { put("hard_timeout=\(flow.hardTimeout), ") }
        for (word, flag) in FlowFlags.words where flow.flags.contains(flag) { put("\(word) ") }
        if flow.importance != 0 { put("importance=\(flow.importance), ") }
        if let age = statistics?.idleAge { put("idle_age=\(age), ") }
        if let age = statistics?.hardAge { put("hard_age=\(age), ") }
        rule(flow)
    }

    private mutating func rule(_ flow: Flow) {
        let start = bytes.count
        if flow.priority != Flow.defaultPriority { put("priority=\(flow.priority),") }
        match(flow.match)
        dropComma()
        if bytes.count > start { put(" " as Unicode.Scalar) }
        put("actions=")
        actions(flow.actions)
    }

    /// Seconds, with three decimals unless they are whole.
    private static func duration(_ milliseconds: UInt64) -> String {
        let (seconds, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        guard rest != 0 else { return "\(seconds)" }
        return "\(seconds).\(String(String(1000 + rest).dropFirst()))"
    }
}
