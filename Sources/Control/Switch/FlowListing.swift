import Dataplane
import Flows

/// The flows of a bridge at one moment, to be written down outside the switch: of many it takes a while.
struct FlowListing: Sendable {
    let request: FlowDump
    let filter: FlowFilter
    let flows: [InstalledFlow]
    /// Empty where numbers are wanted.
    let names: [FlowPort: String]

    var response: FlowDump.Response {
        let chosen = ordered(flows.filter { filter.selects($0.flow) })
        guard request.lines == true else {
            return FlowDump.Response(flows: chosen.map(describe), lines: nil)
        }
        guard request.statistics != false else {
            return FlowDump.Response(flows: nil, lines: chosen.map(\.text))
        }
        let lines = chosen.map { row in
            FlowText.print(row.flow.flow, statistics: row.flow.shownStatistics, names: name)
        }
        return FlowDump.Response(flows: nil, lines: lines)
    }

    private typealias Entry = (flow: InstalledFlow, text: String)

    private func ordered(_ flows: [InstalledFlow]) -> [Entry] {
        let rows = flows.map { Entry(flow: $0, text: FlowText.print($0.flow, names: name)) }
        return rows.sorted { left, right in
            let (one, other) = (left.flow.flow, right.flow.flow)
            if one.table != other.table { return one.table < other.table }
            if one.priority != other.priority { return one.priority > other.priority }
            return left.text < right.text
        }
    }

    private func name(_ port: FlowPort) -> String? { names[port] }

    private func describe(_ row: Entry) -> FlowDescription {
        let (flow, statistics) = (row.flow.flow, row.flow.shownStatistics)
        return FlowDescription(
            table: Int(flow.table),
            priority: Int(flow.priority),
            cookie: "0x" + String(flow.cookie, radix: 16),
            match: FlowText.print(flow.match, names: name),
            actions: FlowText.print(flow.actions, names: name),
            flow: row.text,
            packetCount: statistics.packetCount,
            byteCount: statistics.byteCount,
            duration: statistics.seconds,
            idleAge: UInt64(statistics.idleAge ?? 0)
        )
    }
}

extension InstalledFlow {
    /// A flow that no packet has met is idle since it was added.
    fileprivate var shownStatistics: FlowStatistics {
        var statistics = statistics
        statistics.idleAge = statistics.idleAge ?? UInt32(clamping: statistics.durationMilliseconds / 1000)
        return statistics
    }
}

extension FlowStatistics {
    /// Since the flow was added.
    var seconds: Double { Double(durationMilliseconds) / 1000 }
}
