import Flows
import Testing

/// What is refused, where, and with which words: rows of input, column and a part of the reason.
@Suite struct RefusalTests {
    @Test(
        arguments: [
            ("bogus=1 actions=drop", 1, "'bogus' is unknown"),
            ("ip,nw_src=10.0.0.256 actions=drop", 11, "not an IPv4 address"),
            ("in_port=1,ip,nw_src=10.0.0.1/33 actions=drop", 30, "prefix of 0 to 32"),
            ("table=255 actions=drop", 7, "from 0 to 254"),
            ("priority=65536 actions=drop", 10, "from 0 to 65535"),
            ("in_port=1", 10, "no actions"),
            ("in_port=1 actions=output:nosuch", 26, "'nosuch' is not a port"),
            ("in_port=1 actions=bogus:5", 19, "neither an action nor a port"),
            ("dl_vlan=1/1 actions=drop", 9, "may not have"),
            ("cookie=1/1 actions=drop", 10, "one cookie"),
            ("actions=output:1,mod_nw_src:1.2.3.4", 18, "needs the flow to match ip"),
            ("icmp6,icmp_type=135 actions=set_field:1:2:3:4:5:6->nd_tll", 52, "icmp6 with icmp_type 136"),
            ("icmp6 actions=set_field:136->icmpv6_type,set_field:1:2:3:4:5:6->nd_tll", 65, "icmp6 with icmp_type 136"),
            ("ip actions=mod_tp_dst:80", 12, "tcp, udp or sctp"),
            ("actions=goto_table:1,output:1", 22, "cannot follow"),
            ("ip actions=ct(commit,nat(src=1.2.3.4,dst=1.2.3.4))", 38, "one of src and dst"),
            ("ip actions=ct(nat(src=1.2.3.4))", 15, "need commit"),
            ("actions=output:NXM_NX_XXREG0[]", 16, "at most 64 bits"),
            ("actions=output:1,clone(output:2,goto_table:3)", 33, "within other actions"),
            ("actions=controller", 9, "no OpenFlow controller"),
            ("actions=sample(probability=1)", 9, "IPFIX"),
            ("actions=multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[])", 9, "select group"),
            ("actions=ct(commit", 11, "not closed"),
            ("in_port=\"p1 actions=drop", 9, "no closing quote"),
            ("ip actions=reject(type=11,code=0)", 19, "must have the form"),
            ("ip actions=reject(type=8,code=0,source=10.0.0.1)", 24, "type 8 is none that a flow may reject with"),
            ("ip actions=reject(type=3,code=4,source=10.0.0.1)", 31, "by itself"),
            ("ip actions=reject(type=3,code=16,source=10.0.0.1)", 31, "from 0 to 15"),
            ("ip actions=reject(type=3,code=0,source=224.0.0.1)", 40, "no address of a router"),
            ("ip actions=reject(type=1,code=0,source=fd00::1)", 40, "needs the flow to match ipv6"),
            ("ip actions=reject(type=3,code=0,source=10.0.0.1,x=1)", 49, "'x' is unknown"),
            ("ip actions=ct(commit,exec(reject(type=3,code=0,source=10.0.0.1)))", 27, "ct_mark and ct_label only"),
            ("ip,nw_src=$ actions=drop", 11, "not an address set"),
            ("ip,tp_src=$x actions=drop", 11, "takes no address set"),
        ] as [(String, Int, String)]
    )
    func namesThePlaceAndTheReason(text: String, column: Int, reason: String) {
        let error = #expect(throws: FlowSyntaxError.self) { try FlowText.flow(text) }
        #expect(error?.line == 1)
        #expect(error?.column == column)
        #expect(error?.reason.contains(reason) == true, "\(error?.reason ?? "")")
    }

    /// What Open vSwitch takes, drops or changes without a word, and Martlet refuses: a flow does what it says.
    @Test(arguments: [
        // It would match every packet: the field is dropped with a warning in a log.
        "tcp_src=80 actions=drop", "nw_src=1.2.3.4 actions=drop", "icmp6,nd_target=::1 actions=drop",
        "icmp6,nd_reserved=1 actions=drop", "icmp6,icmp_type=128,nd_options_type=1 actions=drop",
        "icmp6,icmp_type=135,tcp_flags=+syn actions=drop",
        "ct_nw_src=1.2.3.4,ip actions=drop", "arp_op=1 actions=drop", "ip,arp_tha=1:2:3:4:5:6 actions=drop",
        "ct_state=+est,ip,ct_tp_src=5 actions=drop",
        // Bits beyond the field are cut off.
        "dl_vlan=5000 actions=drop", "ip,nw_tos=3 actions=drop", "dl_vlan_pcp=8 actions=drop",
        "arp,arp_op=256 actions=drop", "vlan_vid=5 actions=drop",
        // OpenFlow 1.0 takes an action that its packets may not have.
        "actions=mod_nw_src:1.2.3.4", "actions=mod_tp_dst:80", "actions=dec_ttl", "actions=set_vlan_vid:5",
        "dl_vlan=1 actions=set_field:3->vlan_vid",
        // There is neither MPLS nor a controller.
        "mpls actions=drop", "actions=push_mpls:0x8847", "actions=CONTROLLER", "actions=output:controller",
        "in_port=1 actions=output:NONE", "actions=TABLE",
    ])
    func refusesWhatOpenVSwitchChangesInSilence(text: String) {
        #expect(throws: FlowSyntaxError.self) { try FlowText.flow(text) }
    }

    @Test(arguments: [
        "cookie=1,ip", "priority=5", "idle_timeout=5", "ip actions=drop", "out_port=nosuch", "send_flow_rem",
    ])
    func refusesWhatAFilterMayNotSay(text: String) {
        #expect(throws: FlowSyntaxError.self) { try FlowText.filter(text) }
    }

    @Test(arguments: ["table=1,in_port=1", "in_port=1 actions=drop", "ip,nw_src=$a", "priority=1", "duration=1s"])
    func refusesWhatAPacketMayNotSay(text: String) {
        #expect(throws: FlowSyntaxError.self) { try FlowText.packet(text) }
    }
}
