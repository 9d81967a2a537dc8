import Testing
import Wire

@Suite struct ARPTests {
    private let here = MACAddress("02:00:00:00:00:01")!
    private let there = MACAddress("02:00:00:00:00:02")!
    private let address = IPv4Address(value: 0x0a00_0001)
    private let other = IPv4Address(value: 0x0a00_0002)

    @Test func answersARequestFromItsTarget() {
        let request = ARP(.request, senderMACAddress: here, senderAddress: address, targetAddress: other)
        let reply = request.reply(from: there)
        #expect(reply.operation == .reply)
        #expect(reply.senderMACAddress == there && reply.senderAddress == other)
        #expect(reply.targetMACAddress == here && reply.targetAddress == address)
    }

    @Test func tellsProbesAndAnnouncementsFromRequests() {
        let request = ARP(.request, senderMACAddress: here, senderAddress: address, targetAddress: other)
        let probe = ARP(.request, senderMACAddress: here, senderAddress: .unspecified, targetAddress: other)
        let announcement = ARP(.request, senderMACAddress: here, senderAddress: address, targetAddress: address)
        #expect([request, probe, announcement].map(\.isProbe) == [false, true, false])
        #expect([request, probe, announcement].map(\.isAnnouncement) == [false, false, true])
        var reply = announcement
        reply.operation = .reply
        #expect(reply.isAnnouncement && !reply.isProbe)
        // No address at all is neither.
        let void = ARP(.request, senderMACAddress: here, senderAddress: .unspecified, targetAddress: .unspecified)
        #expect(!void.isProbe && !void.isAnnouncement)
    }
}

@Suite struct NeighborDiscoveryTests {
    private let here = MACAddress("02:00:00:00:00:01")!
    private let target = IPv6Address(value: 0x2001_0db8 << 96 | 0x12_3456)
    private let host = IPv6Address(value: 0xfe80 << 112 | 7)

    @Test func answersWhoeverAsks() {
        let asked = NeighborDiscovery(.solicitation, target: target, linkLayerAddress: nil)
        let (message, destination) = asked.answer(to: host, linkLayerAddress: here, isRouter: true)
        #expect(message.kind == .advertisement && message.target == target && message.linkLayerAddress == here)
        #expect(message.isRouter && message.isSolicited && message.overrides)
        #expect(destination == host)
    }

    /// RFC 4861 section 7.2.4: a host that looks whether its address is taken cannot be answered at it.
    @Test func answersAllNodesWhenTheAskerHasNoAddress() {
        let asked = NeighborDiscovery(.solicitation, target: target, linkLayerAddress: nil)
        let (message, destination) = asked.answer(to: .unspecified, linkLayerAddress: here, isRouter: false)
        #expect(!message.isSolicited && !message.isRouter)
        #expect(destination == .allNodes)
    }

    @Test func knowsTheGroupsOfAnAddress() {
        #expect(target.solicitedNode == IPv6Address(value: 0xff02 << 112 | 0x1_ff12_3456))
        #expect(target.solicitedNode.groupMACAddress == MACAddress("33:33:ff:12:34:56"))
        #expect(IPv6Address.allNodes.groupMACAddress == MACAddress("33:33:00:00:00:01"))
    }

    @Test func tellsStationsFromGroups() {
        #expect(target.isStation && host.isStation && host.isLinkLocal && !target.isLinkLocal)
        #expect(!IPv6Address.allNodes.isStation && IPv6Address.allNodes.isMulticast)
        #expect(!IPv6Address.unspecified.isStation && !IPv6Address(value: 1).isStation)
        let stations = [0x0a00_0001, 0xc0a8_07fe, 0xdfff_ffff].map { IPv4Address(value: $0).isStation }
        #expect(stations == [true, true, true])
        let others = [0, 0x00ff_ffff, 0x7f00_0001, 0xe000_0001, 0xf000_0000, .max].map {
            IPv4Address(value: $0).isStation
        }
        #expect(others.allSatisfy { !$0 })
    }
}

@Suite struct VNITests {
    @Test func hasTwentyFourBits() {
        #expect(VNI(0)?.value == 0)
        #expect(VNI(0xff_ffff)?.value == 0xff_ffff)
        #expect(VNI(0x100_0000) == nil)
    }
}
