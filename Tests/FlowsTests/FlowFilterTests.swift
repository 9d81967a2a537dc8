import Flows
import Testing

@Suite struct FlowFilterTests {
    /// A filter, a flow, and whether ovs-ofctl(8) has the one select the other.
    struct Row: Sendable, CustomTestStringConvertible {
        let filter: String
        let flow: String
        let isSelected: Bool
        let isStrict: Bool

        init(_ filter: String, _ flow: String, _ isSelected: Bool, strict: Bool = false) {
            self.filter = filter
            self.flow = flow
            self.isSelected = isSelected
            isStrict = strict
        }

        var testDescription: String { "\(filter)\(isStrict ? " --strict" : "") | \(flow)" }
    }

    static let matches = [
        Row("", "table=7,priority=3,ip actions=drop", true),
        Row("ip", "ip,nw_dst=10.0.0.1 actions=drop", true),
        Row("ip,nw_dst=10.0.0.0/8", "ip,nw_dst=10.1.0.0/16 actions=drop", true),
        Row("ip,nw_dst=10.1.0.0/16", "ip,nw_dst=10.0.0.0/8 actions=drop", false),
        Row("ip,nw_dst=10.1.0.0/16", "ip actions=drop", false),
        Row("in_port=1", "in_port=2 actions=drop", false),
        Row("nw_src=$web,ip", "ip,nw_src=$web actions=drop", true),
        Row("nw_src=$web,ip", "ip,nw_src=$db actions=drop", false),
        Row("table=3", "table=3 actions=drop", true),
        Row("table=3", "table=4 actions=drop", false),
        Row("table=0", "actions=drop", true),
        Row("cookie=0x10/0xf0", "cookie=0x1f actions=drop", true),
        Row("cookie=0x10/0xf0", "cookie=0x2f actions=drop", false),
        Row("cookie=0x10/-1", "cookie=0x1f actions=drop", false),
        Row("cookie=0x10/0", "cookie=0x2f actions=drop", true),
    ]

    static let strict = [
        Row("ip", "ip,nw_dst=10.0.0.1 actions=drop", false, strict: true),
        Row("ip", "ip actions=drop", true, strict: true),
        Row("ip", "priority=5,ip actions=drop", false, strict: true),
        Row("priority=5,ip", "table=9,priority=5,ip actions=drop", true, strict: true),
        Row("table=8,priority=5,ip", "table=9,priority=5,ip actions=drop", false, strict: true),
        Row("cookie=1/-1,ip", "cookie=2,ip actions=drop", false, strict: true),
        Row("out_port=2,ip", "ip actions=output:3", false, strict: true),
    ]

    static let outputs = [
        Row("out_port=2", "actions=output:2", true),
        Row("out_port=2", "actions=output:3", false),
        Row("out_port=2", "in_port=2 actions=drop", false),
        Row("out_port=2", "actions=output:3,enqueue:2:7", true),
        Row("out_port=2", "actions=clone(set_field:1->reg0,clone(output:2))", true),
        Row("out_port=2", "actions=write_actions(output:2)", true),
        Row("out_port=2", "actions=resubmit:2", false),
        Row("out_port=2", "actions=resubmit(2,3)", false),
        Row("out_port=2", "actions=output(port=2,max_len=100)", false),
        Row("out_port=2", "actions=output:reg0[0..15]", false),
        Row("out_port=NORMAL", "actions=NORMAL", true),
        Row("out_port=NORMAL", "actions=FLOOD", false),
        Row("out_port=IN_PORT", "actions=output:2,IN_PORT", true),
        Row("out_port=FLOOD", "actions=clone(FLOOD)", true),
        Row("out_port=ALL", "actions=ALL", true),
        Row("out_port=LOCAL", "actions=LOCAL", true),
        Row("out_port=ANY", "actions=drop", true),
        Row("out_group=4", "actions=group:4", true),
        Row("out_group=4", "actions=group:5", false),
        Row("out_group=4", "actions=write_actions(group:4)", true),
        Row("out_group=4", "actions=output:4", false),
        Row("out_port=1,out_group=4", "actions=output:1", false),
        Row("out_port=1,out_group=4", "actions=output:1,group:4", true),
    ]

    @Test(arguments: matches + strict + outputs)
    func selectsAsOpenVSwitchDoes(row: Row) throws {
        let filter = try FlowText.filter(row.filter, isStrict: row.isStrict)
        #expect(filter.selects(try FlowText.flow(row.flow)) == row.isSelected)
    }

    @Test func saysWhereAFlowStands() throws {
        let text =
            "# first\n\nactions=drop\n  in_port=1 actions=drop # why\nNXST_FLOW reply (xid=0x4):\n\tip actions=drop"
        #expect(try FlowText.flows(text).count == 3)
        #expect(FlowText.place(of: 0, in: text) == (3, 1))
        #expect(FlowText.place(of: 1, in: text) == (4, 3))
        #expect(FlowText.place(of: 2, in: text) == (6, 2))
        #expect(FlowText.lines(of: text) == ["actions=drop", "in_port=1 actions=drop", "ip actions=drop"])
    }

    @Test func findsAnActionInAText() {
        let flows = "# none\nactions=drop\n ip,in_port=7 actions=clone(output:1,clone(7)),output:7"
        func column(of port: UInt32) -> Int {
            let output = Action.output(FlowPort(rawValue: port))
            return FlowText.place(ofFlow: 1, in: flows, ports: { _ in nil }, whereAction: { $0 == output }).column
        }
        #expect(column(of: 7) == 44 && column(of: 1) == 29)
        #expect(column(of: 9) == 2, "the flow itself")
        let sets = "dl_src=$a,ip,nw_src=$b,actions=drop"
        let setPlace = FlowText.place(
            ofFlow: 0,
            in: sets,
            ports: { _ in nil },
            whereAction: { _ in false },
            orSet: { $0 == "b" }
        )
        #expect(setPlace == (1, 21))
        let groups = "group_id=1,type=ff,bucket=watch_port:5,actions=output:7"
        func place(_ port: UInt32) -> Int {
            let output = Action.output(FlowPort(rawValue: port))
            return FlowText.place(ofGroup: 0, in: groups, ports: { _ in nil }, whereAction: { $0 == output }).column
        }
        #expect(place(5) == 38 && place(7) == 48 && place(6) == 1)
    }

    @Test func readsFilesOfGroupsAndMeters() throws {
        let groups = """
            NXST_GROUP_DESC reply (xid=0x2):
             group_id=2,type=all,bucket=actions=output:a # one
            group_id=1,type=all
            """
        let read = try FlowText.groups(groups) { $0 == "a" ? 3 : nil }
        #expect(read.map(\.identifier) == [2, 1] && read[0].buckets[0].actions == [.output(FlowPort(rawValue: 3))])
        let meters = "OFPST_METER_CONFIG reply (OF1.3) (xid=0x2):\n\n meter=3 kbps bands=type=drop rate=5\n"
        #expect(try FlowText.meters(meters).map(\.identifier) == [3])
        let error = #expect(throws: FlowSyntaxError.self) { try FlowText.groups("group_id=1,type=all\ngroup_id=x") }
        #expect(error?.line == 2 && error?.column == 10)
    }
}
