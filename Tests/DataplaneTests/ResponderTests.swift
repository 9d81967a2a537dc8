import Flows
import Foundation
import Testing

@testable import Dataplane

/// Flows that answer in the place of a station: 10.0.0.3 and 2001:db8::3 are fa:16:3e:00:00:03's, in VLAN 1. Frames are
/// scapy's.
@Suite struct ResponderTests {
    private static let entry = "priority=1,actions=resubmit(,21)"
    private static let arp =
        "table=21,priority=1,arp,arp_op=1,dl_vlan=1,arp_tpa=10.0.0.3 actions=load:0x2->NXM_OF_ARP_OP[],"
        + "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        + "load:0xfa163e000003->NXM_NX_ARP_SHA[],load:0x0a000003->NXM_OF_ARP_SPA[],"
        + "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:fa:16:3e:00:00:03,IN_PORT"
    private static let announcement =
        "table=21,priority=2,arp,arp_op=1,dl_vlan=1,arp_spa=10.0.0.3,arp_tpa=10.0.0.3 actions=output:2"
    /// To whoever says where he is: RFC 4861 section 7.2.4.
    private static let solicited =
        "table=21,priority=1,icmp6,icmp_type=135,icmp_code=0,nw_ttl=255,dl_vlan=1,nd_target=2001:db8::3,"
        + "nd_options_type=1 actions=set_field:136->icmpv6_type,set_field:0x60000000->nd_reserved,"
        + "set_field:2->nd_options_type,set_field:fa:16:3e:00:00:03->nd_tll,"
        + "move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],set_field:2001:db8::3->ipv6_src,"
        + "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:fa:16:3e:00:00:03,IN_PORT"
    /// To a station that is to take the address, which has none yet and so no option (RFC 4862 section 5.4.2): to all
    /// nodes, not solicited, and without the option that RFC 4861 wants there, for no action adds one.
    private static let duplicate =
        "table=21,priority=2,icmp6,icmp_type=135,icmp_code=0,nw_ttl=255,dl_vlan=1,ipv6_src=::,nd_target=2001:db8::3 "
        + "actions=set_field:136->icmpv6_type,set_field:0x20000000->nd_reserved,set_field:2001:db8::3->ipv6_src,"
        + "set_field:ff02::1->ipv6_dst,mod_dl_dst:33:33:00:00:00:01,mod_dl_src:fa:16:3e:00:00:03,IN_PORT"

    private static let requests: [(String, request: String, answer: String?)] = [
        (
            "a request",
            "ffffffffffff52540000000181000001080600010800060400015254000000010a0000010000000000000a000003",
            "525400000001fa163e0000038100000108060001080006040002fa163e0000030a0000035254000000010a000001"
        ),
        (
            "a probe (RFC 5227 section 1.1): who asks learns that the address is taken",
            "ffffffffffff5254000000018100000108060001080006040001525400000001000000000000000000000a000003",
            "525400000001fa163e0000038100000108060001080006040002fa163e0000030a00000352540000000100000000"
        ),
        (
            "an announcement, which would be told of a conflict with itself",
            "ffffffffffff52540000000181000001080600010800060400015254000000010a0000030000000000000a000003",
            "525400000001fa163e0000038100000108060001080006040002fa163e0000030a0000035254000000010a000003"
        ),
        (
            "a gratuitous reply",
            "ffffffffffff52540000000181000001080600010800060400025254000000010a0000035254000000010a000003", nil
        ),
        (
            "a request for another address",
            "ffffffffffff52540000000181000001080600010800060400015254000000010a0000010000000000000a000004", nil
        ),
    ]

    private static let solicitations: [(String, request: String, answer: String?)] = [
        (
            "to the group of the address",
            "3333ff0000035254000000018100000186dd6000000000203aff20010db8000000000000000000000001"
                + "ff0200000000000000000001ff0000038700cbd00000000020010db80000000000000000000000030101525400000001",
            "525400000001fa163e0000038100000186dd6000000000203aff20010db8000000000000000000000003"
                + "20010db8000000000000000000000001880054576000000020010db80000000000000000000000030201fa163e000003"
        ),
        (
            "to the address, which is to be confirmed",
            "fa163e0000035254000000018100000186dd6000000000203aff20010db8000000000000000000000001"
                + "20010db800000000000000000000000387009c1c0000000020010db80000000000000000000000030101525400000001",
            "525400000001fa163e0000038100000186dd6000000000203aff20010db8000000000000000000000003"
                + "20010db8000000000000000000000001880054576000000020010db80000000000000000000000030201fa163e000003"
        ),
        (
            "from beyond a router",
            "3333ff0000035254000000018100000186dd6000000000203a4020010db8000000000000000000000001"
                + "ff0200000000000000000001ff0000038700cbd00000000020010db80000000000000000000000030101525400000001",
            nil
        ),
        (
            "for another address",
            "3333ff0000045254000000018100000186dd6000000000203aff20010db8000000000000000000000001"
                + "ff0200000000000000000001ff0000048700cbce0000000020010db80000000000000000000000040101525400000001",
            nil
        ),
        (
            "for the detection of duplicates",
            "3333ff0000035254000000018100000186dd6000000000183aff00000000000000000000000000000000"
                + "ff0200000000000000000001ff00000387004ce90000000020010db8000000000000000000000003", nil
        ),
    ]

    private static let detections: [(String, request: String, answer: String?)] = [
        (
            "without an option",
            "3333ff0000035254000000018100000186dd6000000000183aff00000000000000000000000000000000"
                + "ff0200000000000000000001ff00000387004ce90000000020010db8000000000000000000000003",
            "333300000001fa163e0000038100000186dd6000000000183aff20010db8000000000000000000000003"
                + "ff0200000000000000000000000000018800fd302000000020010db8000000000000000000000003"
        ),
        (
            "with a nonce (RFC 7527)",
            "3333ff0000035254000000018100000186dd6000000000203aff00000000000000000000000000000000"
                + "ff0200000000000000000001ff00000387003b770000000020010db80000000000000000000000030e01123456789abc",
            "333300000001fa163e0000038100000186dd6000000000203aff20010db8000000000000000000000003"
                + "ff0200000000000000000000000000018800ebbe2000000020010db80000000000000000000000030e01123456789abc"
        ),
    ]

    @Test(arguments: requests)
    func answersARPRequests(name: String, request: String, answer: String?) throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows([Self.entry, Self.arp])
        #expect(bench.answers(to: request) == answer.map { [$0] } ?? [], "\(name)")
    }

    @Test func leavesAnnouncementsToAFlowOfAHigherPriority() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows([Self.entry, Self.arp, Self.announcement])
        let sent = Self.requests.map { bench.receive(octets($0.request), from: 0).sent.keys.sorted() }
        #expect(sent == [[0], [0], [1], [], []])
    }

    @Test(arguments: solicitations)
    func answersNeighborSolicitations(name: String, request: String, answer: String?) throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows([Self.entry, Self.solicited])
        #expect(bench.answers(to: request) == answer.map { [$0] } ?? [], "\(name)")
    }

    @Test(arguments: detections)
    func tellsWhoLooksForADuplicate(name: String, request: String, answer: String?) throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows([Self.entry, Self.solicited, Self.duplicate])
        #expect(bench.answers(to: request) == answer.map { [$0] } ?? [], "\(name)")
        let asked = Self.solicitations[0]
        #expect(bench.answers(to: asked.request) == asked.answer.map { [$0] } ?? [])
    }

    /// What the copy's option was made is undone, its address too.
    @Test func sendsTheSolicitationItselfBehindACopyThatAnswersIt() throws {
        let bench = Bench(ports: 2)
        let answer = Self.solicited.split(separator: "actions=")
        try bench.replaceFlows([Self.entry, "\(answer[0])actions=clone(\(answer[1])),output:2"])
        let request = Self.solicitations[0].request
        let outcome = bench.receive(octets(request), from: 0)
        #expect(outcome.sent[0].map { $0.map(hexadecimal) } == Self.solicitations[0].answer.map { [$0] })
        #expect(outcome.sent[1].map { $0.map(hexadecimal) } == [request])
    }

    @Test func namesEveryEditInATrace() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows([Self.entry, Self.solicited])
        let program = bench.trace(octets(Self.solicitations[0].request), from: 0).program
        for edit in ["1610612736->nd_reserved", "136->icmpv6_type", "2->nd_options_type", "fa:16:3e:00:00:03->nd_tll"] {
            #expect(program.contains(.edit("set_field:\(edit)")), "\(program)")
        }
    }

    /// As in Open vSwitch: an action that the packet has no field for by then is none.
    @Test func writesNoFieldOfASolicitationThatIsNoneAnyMore() throws {
        let bench = Bench(ports: 2)
        try bench.replaceFlows([
            "icmp6,icmp_type=135,icmp_code=0 actions=set_field:136->icmpv6_type,set_field:02:00:00:00:00:09->nd_sll,"
                + "set_field:1->icmpv6_code,set_field:0x60000000->nd_reserved,IN_PORT"
        ])
        let request = Self.solicitations[0].request
        let expected = request.replacing("8700cbd0", with: "8801cacf")
        #expect(bench.answers(to: request) == [expected])
    }
}

extension Bench {
    /// What leaves by the port that the frame came from; nothing may leave by another.
    fileprivate func answers(to frame: String) -> [String] {
        let sent = receive(octets(frame), from: 0).sent
        #expect(Set(sent.keys).isSubset(of: [0]))
        return (sent[0] ?? []).map(hexadecimal)
    }
}

private func hexadecimal(_ octets: [UInt8]) -> String {
    octets.map { String(format: "%02x", $0) }.joined()
}

private func octets(_ hexadecimal: String) -> [UInt8] {
    let digits = hexadecimal.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}
