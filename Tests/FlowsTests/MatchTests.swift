import Flows
import Testing

@Suite struct MatchTests {
    private func match(_ text: String) throws -> Match { try FlowText.filter(text).match }

    @Test func isEqualHoweverItIsWritten() throws {
        let one = try match("tcp,nw_src=10.1.2.3/8,tp_dst=80")
        let other = try match("tcp_dst=80,ip_src=10.0.0.0/255.0.0.0,dl_type=0x0800,nw_proto=6")
        #expect(one == other)
        #expect(one.hashValue == other.hashValue)
        #expect(try match("ip,nw_src=1.2.3.4/0") == match("ip"))
    }

    @Test(
        arguments: [
            ("", "ip", true), ("ip", "", false), ("ip", "tcp", true), ("tcp", "udp", false),
            ("ip,nw_src=10.0.0.0/8", "ip,nw_src=10.1.0.0/16", true),
            ("ip,nw_src=10.1.0.0/16", "ip,nw_src=10.0.0.0/8", false),
            ("ip,nw_src=10.0.0.0/8", "ip,nw_src=11.0.0.1", false), ("reg0=1/1", "reg0=3/3", true),
            ("ip,nw_src=$a", "ip,nw_src=$a", true), ("ip,nw_src=$a", "ip", false),
            ("ip,nw_src=$a", "ip,nw_src=$b", false), ("ip", "ip,nw_src=$b", true),
            ("ipv6,ipv6_src=fe80::/10", "ipv6,ipv6_src=fe80::1", true),
        ] as [(String, String, Bool)]
    )
    func coversWhatIsMoreSpecific(one: String, other: String, expected: Bool) throws {
        #expect(try match(one).covers(match(other)) == expected)
    }

    @Test(
        arguments: [
            ("", "ip", true), ("tcp", "udp", false), ("reg0=1/1", "reg0=2/2", true), ("reg0=1/3", "reg0=2/2", false),
            ("in_port=1", "dl_vlan=2", true), ("ip,nw_src=10.0.0.0/8", "ip,nw_src=10.1.0.0/16", true),
            ("ip,nw_src=$a", "ip,nw_src=10.0.0.1", true),
        ] as [(String, String, Bool)]
    )
    func overlapsWhereAPacketMayBeInBoth(one: String, other: String, expected: Bool) throws {
        #expect(try match(one).overlaps(match(other)) == expected)
        #expect(try match(other).overlaps(match(one)) == expected)
    }

    @Test func findsPacketsUnderItsMasks() throws {
        let key = try FlowText.packet("in_port=1,dl_vlan=5,tcp,nw_src=10.1.2.3,tp_dst=80,tcp_flags=+syn")
        #expect(try match("tcp,nw_src=10.0.0.0/8").matches(key))
        #expect(try match("tcp,tp_dst=80/0xfff0").matches(key))
        #expect(try match("dl_vlan=5").matches(key))
        #expect(try match("vlan_tci=0x1000/0x1000").matches(key))
        #expect(try !match("vlan_tci=0/0x1000").matches(key))
        #expect(try !match("udp").matches(key))
        #expect(try match("tcp,tcp_flags=+syn-ack").matches(key))
        #expect(try !match("in_port=2").matches(key))
    }

    @Test func keepsAddressSetsBesideItsMasks() throws {
        let match = try match("ip,nw_src=$web-servers,nw_dst=10.0.0.0/8,dl_src=$macs")
        #expect(
            Set(match.addressSets) == [
                .init(field: .ipSource, name: "web-servers"), .init(field: .ethSource, name: "macs"),
            ]
        )
        #expect(FlowText.print(match) == "ip,dl_src=$macs,nw_src=$web-servers,nw_dst=10.0.0.0/8")
        #expect(try self.match("ip,nw_src=$a,nw_src=1.2.3.4") == self.match("ip,nw_src=1.2.3.4"))
        #expect(try self.match("ip,nw_src=1.2.3.4,nw_src=$a") == self.match("ip,nw_src=$a"))
        #expect(FlowText.print(try self.match("arp,arp_spa=$a")) == "arp,arp_spa=$a")
        #expect(FlowText.print(try self.match("ipv6,ipv6_dst=$b")) == "ipv6,ipv6_dst=$b")
    }

    @Test func visitsItsWordsInOrder() throws {
        let match = try match("in_port=1,ip,metadata=0x7,reg15=1")
        var visited: [Int] = []
        match.forEachWord { index, value, mask in
            visited.append(index)
            #expect(value & ~mask == 0)
        }
        #expect(visited == [0, 8, 16])
        #expect(visited.count == match.wordCount)
        #expect(Match(value: match.value, mask: match.mask) == match)
    }

    @Test func takesFewBytesForAFlow() {
        // Within 400 bytes a flow: the flow itself, two heap blocks of 32 bytes' header, n words and n actions of 16.
        #expect(MemoryLayout<Action>.stride <= 16)
        #expect(MemoryLayout<Flow>.stride <= 64)
    }
}
