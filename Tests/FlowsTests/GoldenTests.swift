import Flows
import Testing

@Suite struct GoldenTests {
    @Test func readsAndPrintsFlowsAsOpenVSwitchDoes() throws {
        let rows = try Golden.rows("flows.tsv")
        #expect(rows.count >= 600)
        for (input, expected) in rows {
            let flow = try? FlowText.flow(input, ports: goldenPort)
            #expect(flow.map { FlowText.print($0) } == expected, "\(input)")
        }
    }

    @Test func readsAgainWhatItPrints() throws {
        for (input, expected) in try Golden.rows("flows.tsv") where expected != nil {
            let flow = try FlowText.flow(input, ports: goldenPort)
            #expect(try FlowText.flow(FlowText.print(flow)) == flow, "\(input)")
        }
    }

    @Test func goldenRowsNameEveryField() throws {
        let text = try Golden.text("flows.tsv")
        // Not writable and not part of OpenFlow's match, so that no dump can show them.
        let unseen: Set<Field> = [.tunTOS, .tunTTL, .inPortOXM]
        for field in Field.allCases where !unseen.contains(field) {
            #expect(field.names.contains { text.contains($0 + "=") || text.contains("->" + $0) }, "\(field)")
        }
    }

    @Test func readsAndPrintsGroupsAsOpenVSwitchDoes() throws {
        for (input, expected) in try Golden.rows("groups.tsv") {
            let group = try? FlowText.group(input, ports: goldenPort)
            #expect(group.map { FlowText.print($0) } == expected, "\(input)")
            if let group { #expect(try FlowText.group(FlowText.print(group)) == group) }
        }
    }

    @Test func readsAndPrintsMetersAsOpenVSwitchDoes() throws {
        for (input, expected) in try Golden.rows("meters.tsv") {
            let meter = try? FlowText.meter(input)
            #expect(meter.map { FlowText.print($0) } == expected, "\(input)")
            if let meter { #expect(try FlowText.meter(FlowText.print(meter)) == meter) }
        }
    }

    /// Every flow of a real Neutron agent, both firewalls, with ports by name.
    @Test(arguments: [
        "br-int.flows", "br-tun.flows", "br-phys.flows", "noop/br-int.flows", "noop/br-tun.flows", "noop/br-phys.flows",
    ])
    func dumpsTheFlowsOfANeutronAgentAsTheyWere(name: String) throws {
        let lines = try Golden.lines("neutron/\(name)")
        var names: [String] = []
        let ports: PortResolver = { _ in nil }
        #expect(throws: FlowSyntaxError.self) { try FlowText.flows(lines.joined(separator: "\n"), ports: ports) }
        for line in lines {
            names += line.split(separator: "\"").enumerated().filter { $0.offset % 2 == 1 }.map { String($0.element) }
        }
        let known = Array(Set(names))
        let flows = try FlowText.flows(
            lines.joined(separator: "\n"),
            ports: { name in known.firstIndex(of: name).map { UInt32($0 + 1) } }
        )
        let dumped = flows.map { flow in " " + FlowText.print(flow, names: { known[Int($0.rawValue) - 1] }) }
        #expect(dumped == lines)
    }

    /// The flows of issue 3, whose statistics are read over.
    @Test func dumpsTheFlowsOfTheMissionAsTheyWere() throws {
        for line in try Golden.lines("mission.flows") {
            let flow = try FlowText.flow(line)
            let statistics = ["cookie=0x0", "duration=", "n_packets=", "n_bytes=", "idle_age="]
            let parts = line.split(separator: ", ").filter { part in !statistics.contains { part.hasPrefix($0) } }
            #expect(FlowText.print(flow) == parts.joined(separator: ", "))
        }
    }
}
