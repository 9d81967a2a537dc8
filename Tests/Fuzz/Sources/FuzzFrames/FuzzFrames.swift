import Dataplane
import Flows
import Wire

/// Frames of any bytes, cut into segments anywhere, into ports of every VLAN mode, of a bridge that learns and of one whose
/// flows edit everything. Each must come out exactly once, and its lengths must agree.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFrames(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = UnsafeBufferPointer(start: bytes, count: count)[...]
    var frames: [Frame] = []
    guard let port = input.popFirst() else { return 0 }
    // One octet of length, one of segments, then the frame.
    while frames.count < Lane.burstLength, let length = input.popFirst(), let cuts = input.popFirst() {
        let frame = Array(input.prefix(max(Int(length), 1)))
        input = input.dropFirst(frame.count)
        guard !frame.isEmpty else { break }
        frames.append(Frame(frame, segments: [Int(cuts & 0x1f), Int(cuts >> 5)], headroom: cuts & 1 == 0 ? 128 : 3))
    }
    for frame in frames { readKey(frame.bytes) }
    for one in [Switches.learning, Switches.flowing] {
        one.receive(frames, from: UInt16(port) % UInt16(Switches.policies.count + 1))
    }
    return 0
}

/// What the flow tables see of a frame in one segment that ends where the frame does.
private func readKey(_ frame: [UInt8]) {
    let segment = UnsafeMutableRawBufferPointer.allocate(byteCount: frame.count, alignment: 1)
    defer { segment.deallocate() }
    segment.copyBytes(from: frame)
    var layout = FrameLayout()
    let key = FlowKey(frame: UnsafeRawBufferPointer(segment), length: frame.count, layout: &layout)
    precondition(key != nil, "nothing is scattered")
}

/// A port of each kind, on one bridge.
private enum Switches {
    static let learning = FuzzedSwitch(configuration, flows: [:])
    static let flowing = FuzzedSwitch(
        configuration,
        flows: [
            "br": [
                "priority=5,dl_vlan=10,actions=strip_vlan,output:2,push_vlan:0x88a8,mod_vlan_vid:7,output:3,resubmit(,1)",
                "priority=4,dl_vlan=20,actions=mod_vlan_pcp:5,output:2,clone(push_vlan:0x8100,output:3),resubmit(,1),NORMAL",
                "priority=1,actions=mod_vlan_vid:9,output:2,strip_vlan,resubmit(,1)",
                "table=1,tcp,actions=mod_nw_src:10.0.0.9,mod_tp_dst:99,dec_ttl,output:4",
                "table=1,udp,actions=mod_nw_dst:10.0.0.8,mod_nw_tos:32,mod_tp_src:5,output:4",
                "table=1,sctp,actions=mod_tp_src:5,output:4", "table=1,icmp,actions=mod_nw_ttl:9,output:4",
                "table=1,priority=9,ip,nw_ttl=1,actions=reject(type=11,code=0,source=10.0.0.254)",
                "table=1,priority=9,ipv6,nw_ttl=1,actions=output:4,reject(type=3,code=0,source=2001:db8::fe)",
                "table=1,tcp6,actions=set_field:2001:db8::1->ipv6_src,mod_tp_dst:99,dec_ttl,output:4",
                "table=1,udp6,actions=set_field:2001:db8::1->ipv6_dst,mod_tp_src:99,output:4",
                "table=1,sctp6,actions=mod_tp_dst:5,output:4",
                "table=1,icmp6,icmp_type=135,actions=set_field:2001:db8::9->nd_target,set_field:02:00:00:00:00:01->nd_sll,"
                    + "output:4,clone(set_field:136->icmpv6_type,set_field:0x60000000->nd_reserved,set_field:2->nd_options_type,"
                    + "set_field:02:00:00:00:00:02->nd_tll,output:4),output:3",
                "table=1,icmp6,icmp_type=136,actions=set_field:2001:db8::9->nd_target,set_field:02:00:00:00:00:01->nd_tll,output:4",
                "table=1,arp,actions=load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],"
                    + "load:0xa000001->NXM_OF_ARP_SPA[],output:4",
                "table=1,priority=0,actions=mod_dl_src:02:00:00:00:00:07,output(port=4,max_len=20),FLOOD",
            ]
        ]
    )

    static let policies = [
        policy(.trunk), policy(.access, 10), policy(.nativeTagged, 10), policy(.nativeUntagged, 10, [20]),
        policy(.dot1qTunnel, 100), policy(.dot1qTunnel, 100, [5]), policy(.trunk, nil, [10]), policy(.access, 0),
    ]

    private static let configuration: SwitchConfiguration = {
        let ports = policies.enumerated().map { number, policy in
            PortConfiguration(UInt16(number), on: "br", vlan: policy, frameLength: 120)
        }
        var settings = BridgeSettings()
        settings.fdbCapacity = 64
        return SwitchConfiguration(bridges: [.init(name: "br", settings: settings)], ports: ports)
    }()

    private static func policy(_ mode: VLANMode, _ tag: UInt16? = nil, _ trunks: Set<UInt16> = []) -> VLANPolicy {
        try! VLANPolicy(mode: mode, tag: tag.map { VLANID($0)! }, trunks: Set(trunks.map { VLANID($0)! }))
    }
}
