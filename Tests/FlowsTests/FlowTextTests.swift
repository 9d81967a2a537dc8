import Flows
import Testing

@Suite struct FlowTextTests {
    @Test func readsWhatChoosesFlows() throws {
        let filter = try FlowText.filter("table=3,cookie=0x12/0xf0,out_port=p2,out_group=7,ip", ports: goldenPort)
        #expect(filter.table == 3)
        #expect(filter.cookie == 0x10)
        #expect(filter.cookieMask == 0xf0)
        #expect(filter.outPort == FlowPort(rawValue: 2))
        #expect(filter.outGroup == 7)
        #expect(filter.priority == nil)
        #expect(try FlowText.filter("cookie=5/-1").cookieMask == .max)
        #expect(try FlowText.filter("priority=5,ip", isStrict: true).priority == 5)
        #expect(try FlowText.filter("", isStrict: true).priority == Flow.defaultPriority)
        #expect(try FlowText.filter("") == FlowFilter())
    }

    @Test func readsChanges() throws {
        let change = try FlowText.modification("table=2,cookie=1/1,ip actions=output:1")
        #expect(change.filter.cookieMask == 1)
        #expect(!change.setsCookie)
        let setting = try FlowText.modification("cookie=9,ip actions=output:1")
        #expect(setting.setsCookie)
        #expect(setting.flow.cookie == 9)
        #expect(setting.filter.cookieMask == 0)
        // As in Open vSwitch, where deletions and dumps are about all tables.
        #expect(setting.filter.table == 0)
        #expect(setting.filter.priority == nil)
        let strict = try FlowText.modification("priority=7,ip actions=drop", isStrict: true)
        #expect(strict.filter.priority == 7)
        #expect(setting.changed(change.flow).cookie == 9)
        #expect(change.changed(setting.flow).cookie == 9)
    }

    @Test func readsPackets() throws {
        let key = try FlowText.packet("in_port=LOCAL,dl_src=52:54:00:00:00:01,icmp6,icmp_type=135,nd_target=fe80::1")
        #expect(key.get(.inPort) == 0xfffe)
        #expect(key.get(.ethSource) == 0x5254_0000_0001)
        #expect(key.get(.ndTarget) == 0xfe80_0000_0000_0000_0000_0000_0000_0001)
        #expect(key.get(.icmpv6Type) == 135)
        #expect(key.get(.ctState) == 0)
    }

    @Test func skipsCommentsBlanksAndHeadersOfDumps() throws {
        let text = """
            # a file
            NXST_FLOW reply (xid=0x4):
             cookie=0x0, duration=1.5s, table=0, n_packets=0, n_bytes=0, idle_age=1, priority=2,ip actions=drop # why

            OFPST_FLOW reply (OF1.3) (xid=0x2):
            \tin_port=1 actions=output:2\r
            """
        let flows = try FlowText.flows(text)
        #expect(flows.map { FlowText.print($0) } == ["priority=2,ip actions=drop", "in_port=1 actions=output:2"])
        #expect(try FlowText.flows("") == [])
    }

    @Test func returnsNothingOfAFileWithOneBadLine() {
        var lines = (0..<1000).map { "in_port=\($0) actions=output:1" }
        lines[700] = "in_port=5,bogus=1 actions=output:1"
        let error = #expect(throws: FlowSyntaxError.self) { try FlowText.flows(lines.joined(separator: "\n")) }
        #expect(error?.line == 701)
        #expect(error?.column == 11)
        #expect(error?.reason.contains("'bogus'") == true)
    }

    @Test func refusesALineByItsLength() {
        let long = "actions=" + String(repeating: "output:1,", count: 10_000)
        #expect(throws: FlowSyntaxError.self) { try FlowText.flow(long) }
        let error = #expect(throws: FlowSyntaxError.self) {
            try FlowText.flows("\n\(String(repeating: "x", count: 1 << 20))")
        }
        #expect(error?.line == 2)
        #expect(error?.reason == "the line has 1048576 bytes; allowed are 65536")
    }

    @Test func printsStatistics() throws {
        var statistics = FlowStatistics()
        statistics.durationMilliseconds = 13_076
        statistics.packetCount = 7
        statistics.byteCount = 420
        statistics.idleAge = 2
        let flow = try FlowText.flow("table=20,priority=2,hard_timeout=5,dl_vlan=1 actions=strip_vlan,output:2")
        let text = FlowText.print(flow, statistics: statistics)
        #expect(
            text == "cookie=0x0, duration=13.076s, table=20, n_packets=7, n_bytes=420, hard_timeout=5, idle_age=2, "
                + "priority=2,dl_vlan=1 actions=strip_vlan,output:2"
        )
        #expect(try FlowText.flow(text) == flow)
    }

    @Test(arguments: [
        ("p1", "p1"), ("eth0.1", "\"eth0.1\""), ("qr-5d", "\"qr-5d\""), ("1a", "\"1a\""), ("a\"\\b", "\"a\\\"\\\\b\""),
    ])
    func quotesNamesThatAreMoreThanLettersAndDigits(name: String, printed: String) throws {
        let flow = try FlowText.flow("in_port=3 actions=output:3,enqueue:3:1,resubmit:3")
        let text = FlowText.print(flow, names: { _ in name })
        #expect(text == "in_port=\(printed) actions=output:\(printed),enqueue:\(printed):1,resubmit:\(printed)")
        #expect(try FlowText.flow(text, ports: { $0 == name ? 3 : nil }) == flow)
    }

    @Test func takesPortsInBothNumberings() throws {
        #expect(try FlowText.actions("output:4294967294") == [.output(.local)])
        #expect(try FlowText.flow("in_port_oxm=4294967294 actions=drop") == FlowText.flow("in_port=LOCAL actions=drop"))
    }

    @Test func readsActionsAloneWithoutAMatch() throws {
        #expect(try FlowText.actions("mod_nw_src:1.2.3.4,dec_ttl,ct(commit)").count == 3)
    }

    @Test func endsNestingBeforeTheStack() {
        let deep = String(repeating: "clone(", count: 8000) + "output:1" + String(repeating: ")", count: 8000)
        let error = #expect(throws: FlowSyntaxError.self) { try FlowText.flow("actions=\(deep)") }
        #expect(error?.reason.contains("nested") == true)
    }

    @Test func aRegisterMayBeGivenAPortByItsName() throws {
        let ports: PortResolver = { $0 == "vhu1" ? 7 : nil }
        let flow = try FlowText.flow("reg5=\"vhu1\",actions=set_field:\"vhu1\"->reg6", ports: ports)
        #expect(FlowText.print(flow) == "reg5=0x7 actions=set_field:0x7->reg6")
        for text in ["reg5=\"vhu2\"", "reg5=vhu1", "metadata=\"vhu1\"", "xreg1=\"vhu1\""] {
            #expect(throws: FlowSyntaxError.self, "\(text)") { try FlowText.flow(text + ",actions=drop", ports: ports) }
        }
    }
}
