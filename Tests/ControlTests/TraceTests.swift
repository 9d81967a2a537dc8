import Dataplane
import Flows
import Foundation
import Testing
import Wire

@testable import Control

/// Traces as an operator reads them.
@Suite struct TraceTests {
    /// vm1 of VLAN 1 on br-int, the wire on br-tun, the agent's tables between them.
    private static func neutron() async throws -> Bench {
        let bench = try await Bench.patched()
        let vlan = VLANOptions(tag: 1)
        _ = try await bench.control.addPort(PortAdd(bridge: "br-int", name: "vm1", type: "ring", vlan: vlan))
        _ = try await bench.control.addPort(PortAdd(bridge: "br-tun", name: "up", type: "ring"))
        _ = try await bench.control.replaceFlows(FlowReplace(bridge: "br-int", flows: integration))
        _ = try await bench.control.replaceFlows(FlowReplace(bridge: "br-tun", flows: tunnel))
        return bench
    }

    private static let integration = """
        priority=9,in_port=vm1,arp,arp_spa=10.0.0.5 actions=resubmit(,24)
        priority=0 actions=resubmit(,60)
        table=24,priority=0 actions=drop
        table=60,priority=3 actions=load:0x5->NXM_NX_REG5[],NORMAL
        """

    private static let tunnel = """
        priority=1,in_port=tun actions=resubmit(,2)
        table=2,priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,20)
        table=20,priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:02 actions=strip_vlan,set_tunnel:0x66,output:up
        table=20,priority=0 actions=resubmit(,22)
        table=22,priority=0 actions=drop
        """

    @Test func tellsTheWayThroughBothBridges() async throws {
        let bench = try await Self.neutron()
        let packet =
            "in_port=vm1,tcp,dl_src=fa:16:3e:00:00:01,dl_dst=fa:16:3e:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,"
            + "nw_ttl=64,tp_src=4000,tp_dst=80"
        let response = try await bench.trace(packet)
        #expect(
            response.lines == [
                "Packet: tcp,in_port=2,dl_src=fa:16:3e:00:00:01,dl_dst=fa:16:3e:00:00:02,nw_src=10.0.0.1,"
                    + "nw_dst=10.0.0.2,nw_tos=0,nw_ttl=64,tp_src=4000,tp_dst=80",
                "",
                "bridge(\"br-int\"), port 2 (vm1)",
                "------------------------------",
                " 0. priority=0 actions=resubmit(,60)",
                "    resubmit(,60)",
                "60. table=60, priority=3 actions=load:0x5->NXM_NX_REG5[],NORMAL",
                "    load:0x5->NXM_NX_REG5[]",
                "     reg5: 0 -> 0x5",
                "    NORMAL",
                "     -> VLAN 1: the destination is a group or not learned: flooded",
                "        bridge(\"br-tun\"), port 1 (tun)",
                "        ------------------------------",
                "         0. priority=1,in_port=1 actions=resubmit(,2)",
                "            resubmit(,2)",
                "         2. table=2, priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,20)",
                "            resubmit(,20)",
                "        20. table=20, priority=2,dl_vlan=1,dl_dst=fa:16:3e:00:00:02 "
                    + "actions=strip_vlan,set_tunnel:0x66,output:2",
                "            strip_vlan",
                "             dl_vlan: 1 -> none",
                "            set_tunnel:0x66",
                "             tun_id: 0 -> 0x66",
                "            output:2",
                "             -> sent to up",
                "",
                "Megaflow: ip,in_port=2,vlan_tci=0x0000,dl_src=fa:16:3e:00:00:01,dl_dst=fa:16:3e:00:00:02,"
                    + "nw_src=10.0.0.1,nw_frag=no",
                "Datapath actions: up",
                "Verdict: sent to up",
            ],
            "\(response.lines.joined(separator: "\n"))"
        )
        #expect(response.drop == nil && response.outputs == [Trace.Output(port: "up", link: "up")])
    }

    @Test func namesTheTableWithoutAFlow() async throws {
        let bench = try await Self.neutron()
        let response = try await bench.trace("in_port=vm1,arp,dl_src=fa:16:3e:00:00:01,arp_spa=10.0.0.5,arp_op=1")
        #expect(response.drop == "flow_drop" && response.outputs.isEmpty && response.actions == "drop")
        #expect(response.steps.last?.text == "drop")
        _ = try await bench.control.deleteFlows(FlowDelete(bridge: "br-int", match: "table=24"))
        let next = try await bench.trace("in_port=vm1,arp,dl_src=fa:16:3e:00:00:01,arp_spa=10.0.0.5,arp_op=1")
        #expect(Array(next.lines.suffix(6).prefix(3)) == ["    resubmit(,24)", "24. no match", ""])
        #expect(next.steps.last?.table == 24 && next.steps.last?.flow == nil)
    }

    @Test func nestsWhatIsNotTheLastAction() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.replaceFlows(
            FlowReplace(
                bridge: "br0",
                flows: """
                    actions=resubmit(,1),clone(mod_dl_dst:02:00:00:00:00:09,output:2),output:1
                    table=1 actions=mod_vlan_vid:3,goto_table:2
                    table=2,ip actions=dec_ttl
                    """
            )
        )
        let response = try await bench.trace("in_port=1,udp,dl_src=02:00:00:00:00:01,nw_ttl=9", on: "br0")
        let lines = response.lines.dropFirst(4)
        #expect(
            Array(lines.prefix(17)) == [
                " 0. actions=resubmit(,1),clone(mod_dl_dst:02:00:00:00:00:09,output:2),output:1",
                "    resubmit(,1)",
                "     1. table=1, actions=mod_vlan_vid:3,goto_table:2",
                "        mod_vlan_vid:3",
                "         dl_vlan: none -> 3",
                "        goto_table:2",
                "     2. table=2, ip actions=dec_ttl",
                "        dec_ttl",
                "         nw_ttl: 9 -> 8",
                "    clone(mod_dl_dst:02:00:00:00:00:09,output:2)",
                "        mod_dl_dst:02:00:00:00:00:09",
                "         eth_dst: 00:00:00:00:00:00 -> 02:00:00:00:00:09",
                "        output:2",
                "         -> sent to vm1",
                "    output:1",
                "     -> not sent to port 1, from where it came: that takes IN_PORT",
                "",
            ],
            "\(response.lines.joined(separator: "\n"))"
        )
        #expect(
            response.actions
                == "push_vlan(vid=3,pcp=0),set_field:02:00:00:00:00:09->eth_dst,set_field:8->nw_ttl,vm1"
        )
    }

    @Test func aBridgeWithoutTablesTracesTheSame() async throws {
        let bench = try await Bench.furnished()
        _ = try await bench.control.addStation(FDBAdd(bridge: "br0", mac: "02:00:00:00:00:02", vlan: 10, port: "p1"))
        let packet = "in_port=vm1,dl_vlan=10,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02"
        let response = try await bench.trace(packet, on: "br0")
        #expect(response.steps.map(\.text).suffix(2) == ["VLAN 10: the destination is behind p1", "sent to p1"])
        #expect(response.actions == "pop_vlan,p1")
    }

    @Test func leavesEverythingAsItWas() async throws {
        let bench = try await Bench.furnished()
        let before = try await bench.everything()
        _ = try await bench.trace("in_port=vm1,dl_src=02:00:00:00:00:01", on: "br0")
        let frame = String(repeating: "02", count: 60)
        _ = try await bench.control.trace(Trace(bridge: "br0", frame: frame, port: "vm1"))
        #expect(try await bench.everything() == before)
        #expect(bench.dataplane.flows(of: "br0").allSatisfy { $0.statistics.packetCount == 0 })
    }

    @Test func readsFramesAsTheyAreOnTheWire() async throws {
        let bench = try await Bench.furnished()
        let frame = "ffffffffffff" + "020000000001" + "0806" + String(repeating: "00", count: 46)
        let response = try await bench.control.trace(Trace(bridge: "br0", frame: frame, port: "1")).response
        #expect(response.packet?.hasPrefix("arp,in_port=1,dl_src=02:00:00:00:00:01,dl_dst=ff:ff:ff:ff:ff:ff") == true)
        let runt = try await bench.control.trace(Trace(bridge: "br0", frame: "0202", port: "vm1")).response
        #expect(runt.packet == nil && runt.drop == "runt" && runt.lines == ["Verdict: dropped: runt"])
    }

    @Test func isJSONThatDecodes() async throws {
        let bench = try await Self.neutron()
        let response = try await bench.trace("in_port=vm1,dl_src=fa:16:3e:00:00:01,dl_dst=fa:16:3e:00:00:02")
        let decoded = try JSONDecoder().decode(Trace.Response.self, from: JSONEncoder().encode(response))
        #expect(decoded == response)
        let crossing = try #require(decoded.steps.first { $0.bridge == "br-tun" })
        #expect(crossing.port == "tun" && crossing.patch == "int")
    }

    @Test(arguments: [
        ("in_port=vm1,colour=red", "colour"), ("in_port=nobody", "nobody"), ("in_port=9", "port 9 does not exist"),
        ("ip", "comes from no port"),
    ])
    func refusesPacketsThatCannotBe(packet: String, words: String) async throws {
        let bench = try await Bench.furnished()
        let error = await #expect(throws: (any Error).self) { _ = try await bench.trace(packet, on: "br0") }
        #expect("\(try #require(error))".contains(words))
    }

    @Test(arguments: [
        Trace(bridge: "br0", frame: "0", port: "vm1"), Trace(bridge: "br0", frame: "zz", port: "vm1"),
        Trace(bridge: "br0", frame: String(repeating: "0", count: 131_074), port: "vm1"),
        Trace(bridge: "br0", frame: "00", length: 0, port: "vm1"), Trace(bridge: "br0", frame: "00", port: "nobody"),
        Trace(bridge: "br0", frame: "00", port: "7"), Trace(bridge: "nowhere", packet: "in_port=1"),
    ])
    func refusesFramesThatCannotBe(request: Trace) async throws {
        let bench = try await Bench.furnished()
        await #expect(throws: Refusal.self) { _ = try await bench.control.trace(request) }
    }
}

extension Bench {
    func trace(_ packet: String, on bridge: String = "br-int") async throws -> Trace.Response {
        try await control.trace(Trace(bridge: bridge, packet: packet)).response
    }
}
