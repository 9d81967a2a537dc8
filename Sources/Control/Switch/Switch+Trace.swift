import Dataplane
import Flows

extension Switch {
    /// Takes a packet through the flow tables without an effect.
    func trace(_ request: Trace) throws -> TraceListing {
        try bridge(request.bridge)
        let states = try (request.ctNext ?? []).map(Self.trackedState)
        let trace =
            switch (request.packet, request.frame, request.port) {
            case (let text?, nil, nil): try trace(text, on: request.bridge, states)
            case (nil, let frame?, let port?):
                try trace(frame, length: request.length, from: port, on: request.bridge, states)
            default: throw Refusal("trace takes a packet, or a frame and the port that it comes from")
            }
        return TraceListing(trace: trace, ports: namedPorts())
    }

    /// A state that the tracker can give a packet.
    private static func trackedState(_ text: String) throws(Refusal) -> UInt8 {
        guard let state = FlowText.trackedState(text) else {
            let mend = "write it as trk,est or trk,inv"
            throw Refusal("ct_next '\(text.prefix(80))' is no state of a tracked packet: \(mend)")
        }
        return state
    }

    private func trace(_ text: String, on bridge: String, _ states: [UInt8]) throws -> WalkTrace {
        let packet: FlowKey
        do throws(FlowSyntaxError) {
            packet = try FlowText.packet(text, ports: portResolver(of: bridge))
        } catch {
            throw FlowRefusal(error)
        }
        try checkPort(UInt16(packet.get(.inPort)), of: bridge)
        return dataplane.trace(packet, on: bridge, tracked: states)
    }

    private func trace(
        _ text: String,
        length: Int?,
        from port: String,
        on bridge: String,
        _ states: [UInt8]
    ) throws -> WalkTrace {
        guard text.utf8.count <= 2 * Trace.longestFrame, let frame = [UInt8](hexadecimal: text) else {
            throw Refusal("frame is not hexadecimal, or has more than \(Trace.longestFrame) bytes")
        }
        let length = length ?? frame.count
        guard (frame.count...max(frame.count, Trace.longestFrame)).contains(length) else {
            throw Refusal("length \(length) is outside \(frame.count), which are given, to \(Trace.longestFrame)")
        }
        guard let number = portResolver(of: bridge)(port).map({ UInt16($0) }) ?? UInt16(port) else {
            let mend = "port list \(bridge) shows those that do"
            throw Refusal("port '\(port.prefix(80))' does not exist on bridge '\(bridge)': \(mend)")
        }
        try checkPort(number, of: bridge)
        return dataplane.trace(frame: frame, length: length, from: number, on: bridge, tracked: states)
    }

    private func checkPort(_ number: UInt16, of bridge: String) throws(Refusal) {
        let isThere = ports.values.contains { $0.record.bridge == bridge && $0.record.number.value == number }
        guard !isThere else { return }
        guard number != 0 else {
            throw Refusal("the packet comes from no port: add in_port=, a name or number of port list \(bridge)")
        }
        throw Refusal("port \(number) does not exist on bridge '\(bridge)': port list \(bridge) shows those that do")
    }

    /// What a listing must know of ports.
    func namedPorts() -> [PortIndex: NamedPort] {
        Dictionary(
            uniqueKeysWithValues: ports.values.map { port in
                let record = port.record
                let isUp = status(of: port).linkUp
                let named = NamedPort(name: record.name, bridge: record.bridge, number: record.number.value, isUp: isUp)
                return (port.index, named)
            }
        )
    }
}

/// A port as a listing shows it.
struct NamedPort: Sendable {
    let name: String
    let bridge: String
    let number: UInt16
    let isUp: Bool
}

/// A trace to be written down outside the switch.
struct TraceListing: Sendable {
    let trace: WalkTrace
    let ports: [PortIndex: NamedPort]

    /// Bytes of the steps' text: beyond it steps are left out.
    private static let textLimit = 4 << 20

    var response: Trace.Response {
        var steps: [Trace.Step] = []
        var length = 0
        for step in trace.steps {
            let described = describe(step)
            length += described.text.utf8.count
            guard length <= Self.textLimit else { break }
            steps.append(described)
        }
        let outputs = trace.outputs
        return Trace.Response(
            packet: trace.steps.isEmpty ? nil : FlowText.print(trace.packet.exactMatch),
            steps: steps,
            cut: trace.isCut || steps.count < trace.steps.count,
            actions: ProgramText.line(trace.program) { name($0) },
            megaflow: FlowText.print(trace.match),
            outputs: outputs.map { Trace.Output(port: name($0), link: ports[$0]?.isUp == true ? "up" : "down") },
            drop: outputs.isEmpty ? trace.drop.name : nil
        )
    }

    private func name(_ port: PortIndex) -> String { ports[port]?.name ?? "port \(port.value)" }

    private func name(_ port: UInt16) -> String { name(PortIndex(port)) }

    private func describe(_ step: WalkTrace.Step) -> Trace.Step {
        switch step.event {
        case .bridge(let bridge, let number, let from):
            let port = ports.values.first { $0.bridge == bridge && $0.number == number }?.name
            var described = Trace.Step(
                step.depth,
                .bridge,
                "bridge(\"\(bridge)\"), port \(number)" + (port.map { " (\($0))" } ?? "")
            )
            (described.bridge, described.port, described.patch) = (bridge, port, from.map(name))
            return described
        case .table(let table, let flow):
            let line = flow.map { FlowText.print($0.flow) }
            var described = Trace.Step(step.depth, .table, line ?? "no match")
            (described.table, described.flow) = (Int(table), line)
            described.packetCount = flow?.statistics.packetCount
            return described
        case .action(let action, let changes):
            var described = Trace.Step(step.depth, .action, FlowText.print(action.map { [$0] } ?? []))
            described.changes = changes.isEmpty ? nil : changes
            return described
        case .note(let note): return Trace.Step(step.depth, .note, words(note))
        }
    }

    private func words(_ note: WalkNote) -> String {
        switch note {
        case .sent(let port): "sent to \(name(port))"
        case .decided(.station(let port, let vlan)): "VLAN \(vlan): the destination is behind \(name(port))"
        case .decided(.flooded(let vlan)): "VLAN \(vlan): the destination is a group or not learned: flooded"
        case .decided(.dropped(let reason)): "dropped: \(reason.name)"
        case .keptFromOrigin(let number): "not sent to port \(number), from where it came: that takes IN_PORT"
        case .hasNoPort(let number): "the bridge has no port \(number)"
        case .keptFromCustomer(let port): "not sent to \(name(port)): transmit_not_carried"
        case .expired: "the flow ends: time_to_live"
        case .rejected(let router): "its sender is told so by \(router)"
        case .failed(let reason): "all ends here: \(reason.name)"
        case .tracked(let zone, let bits, let isAssumed):
            "zone \(zone): ct_state=\(FlowText.print(ctState: bits))" + (isAssumed ? ", as --ct-next has it" : "")
        case .translated(let zone): "translated as its connection in zone \(zone)"
        case .waits: "a fragment waits for the others of its datagram, and goes on as that is tracked"
        case .learns(let flow): "learns \(FlowText.print(flow))"
        case .finishes(let idle, let hard):
            "the connection ends: the flow's timeouts become at most idle \(idle), hard \(hard) (0: as it was)"
        }
    }
}

/// A program in one line, like the datapath actions of Open vSwitch.
enum ProgramText {
    static func line(_ program: [ProgramWord], name: (PortIndex) -> String) -> String {
        guard !program.isEmpty else { return "drop" }
        let words = program.map { word in
            switch word {
            case .edit(let text): text
            case .output(let port): name(port)
            }
        }
        return words.joined(separator: ",")
    }
}

extension [UInt8] {
    /// Two digits an octet, and nothing else.
    init?(hexadecimal text: String) {
        let digits = Swift.Array(text.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        self = []
        reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = Self.value(digits[index]), let low = Self.value(digits[index + 1]) else { return nil }
            append(high << 4 | low)
        }
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
