import Wire

/// What the station of a port may send and receive, as flows of br-int: README.md beside this has the tables.
struct PortFilter {
    let port: PortDocument
    let vlan: VLANID
    let groups: [SecurityGroupDocument]

    var lines: [String] {
        // A frame with another tag is none of this VLAN (IEEE 802.1Q clause 6.9): an access port refuses it.
        let untagged = "in_port=\(device),vlan_tci=0x0000/0x0fff"
        guard port.isFiltered else {
            return ["table=60,priority=100,\(untagged) actions=\(Self.loads(vlan)),goto_table:73"]
        }
        let entry = "table=60,priority=100,\(untagged) actions=\(Self.loads(port)),\(Self.loads(vlan)),goto_table:71"
        return [entry] + bindings + rules(.egress) + rules(.ingress) + commits
    }

    /// The flows of what is refused to this port and not to others, with what is wrong with it.
    var refusals: [(FilterRefusal, line: String)] {
        guard port.isFiltered else { return [] }
        let tagged = "table=60,priority=95,in_port=\(device) actions=goto_table:93"
        return [(.guestTag, tagged)] + endings(.egress) + endings(.ingress)
    }

    static func loads(_ port: PortDocument) -> String { "set_field:\"\(port.deviceName)\"->reg5" }

    static func loads(_ vlan: VLANID) -> String { "set_field:\(hex(UInt32(vlan.value)))->reg6" }

    private var device: String { "\"\(port.deviceName)\"" }

    // MARK: - What the station may say it is

    /// An address that the station may have, with the MAC address that goes with it.
    private struct Claim: Hashable {
        let mac: MACAddress
        let prefix: IPPrefix
    }

    private var claims: [Claim] {
        let own = port.addresses.map { Claim(mac: port.mac, prefix: IPPrefix(of: $0)) }
        let pairs = port.security.addressPairs.map { Claim(mac: $0.mac ?? port.mac, prefix: $0.prefix) }
        let linkLocal = macs.map { Claim(mac: $0, prefix: IPPrefix(of: $0.linkLocalAddress)) }
        return unique(own + pairs + linkLocal)
    }

    private var macs: [MACAddress] { unique([port.mac] + port.security.addressPairs.compactMap(\.mac)) }

    private var bindings: [String] {
        macs.flatMap(bindings(of:)) + claims.flatMap { $0.prefix.address.isIPv4 ? ipv4($0) : ipv6($0) }
    }

    /// What a station says before it has an address: a probe (RFC 5227 section 2.1.1), and who it is after it moved.
    private func bindings(of mac: MACAddress) -> [String] {
        let source = "in_port=\(device),dl_src=\(mac)"
        return [
            "table=71,priority=95,arp,\(source),arp_spa=0.0.0.0,arp_op=1,arp_sha=\(mac) actions=goto_table:94",
            "table=71,priority=95,rarp,\(source),arp_sha=\(mac) actions=goto_table:94",
            "table=71,priority=80,udp,\(source),nw_src=0.0.0.0,tp_src=68,tp_dst=67 actions=goto_table:73",
            // Whoever has no address yet looks for routers, and joins the group of the one that it tries (RFC 4862 5.4.2).
            "table=71,priority=95,icmp6,\(source),ipv6_src=::,icmp_type=133 actions=goto_table:94",
            "table=71,priority=95,icmp6,\(source),ipv6_src=::,icmp_type=143 actions=goto_table:94",
            "table=71,priority=10,\(source) actions=goto_table:74",
        ]
    }

    private func ipv4(_ claim: Claim) -> [String] {
        let (source, address) = ("in_port=\(device),dl_src=\(claim.mac)", claim.prefix.words)
        return [
            "table=71,priority=95,arp,\(source),arp_spa=\(address),arp_sha=\(claim.mac) actions=goto_table:94",
            "table=71,priority=80,udp,\(source),nw_src=\(address),tp_src=68,tp_dst=67 actions=goto_table:73",
            "table=71,priority=65,ip,\(source),nw_src=\(address) actions=goto_table:72",
        ]
    }

    private func ipv6(_ claim: Claim) -> [String] {
        let (source, address) = ("in_port=\(device),dl_src=\(claim.mac)", claim.prefix.words)
        let from = "\(source),ipv6_src=\(address)"
        let passing = [130, 133].map { "icmp6,\(from),icmp_type=\($0)" } + neighborDiscovery(claim, source)
        return passing.map { "table=71,priority=95,\($0) actions=goto_table:94" } + [
            "table=71,priority=80,udp6,\(from),tp_src=546,tp_dst=547 actions=goto_table:73",
            "table=71,priority=65,ipv6,\(from) actions=goto_table:72",
        ]
    }

    /// Solicitations from the address, or that ask whether it is free; advertisements of it, which a station may send from
    /// the address of its link as well. An option, if there is one, has the station's own MAC address.
    private func neighborDiscovery(_ claim: Claim, _ source: String) -> [String] {
        let (address, linkLocal) = (claim.prefix.words, "\(claim.mac.linkLocalAddress)")
        let (solicitation, advertisement) = ("icmp_type=135,icmp_code=0", "icmp_type=136,icmp_code=0")
        let options = ["00:00:00:00:00:00", "\(claim.mac)"]
        let free = "icmp6,\(source),ipv6_src=::,\(solicitation),nd_target=\(address)"
        let asking = options.map { "icmp6,\(source),ipv6_src=\(address),\(solicitation),nd_sll=\($0)" }
        let telling = unique([address, linkLocal]).flatMap { from in
            options.map { "icmp6,\(source),ipv6_src=\(from),\(advertisement),nd_target=\(address),nd_tll=\($0)" }
        }
        return [free] + asking + telling
    }

    // MARK: - What its groups allow

    private static func table(_ direction: PortDocument.Direction) -> Int { direction == .egress ? 72 : 82 }

    private static func accepted(_ direction: PortDocument.Direction) -> Int { direction == .egress ? 73 : 92 }

    private static let zone = "zone=NXM_NX_REG6[0..15]"

    private func rules(_ direction: PortDocument.Direction) -> [String] {
        let (table, accepted) = (Self.table(direction), Self.accepted(direction))
        func lines(_ priority: Int, _ matches: [String]) -> [String] {
            matches.map { "table=\(table),priority=\(priority),reg5=\(device),\($0) actions=goto_table:\(accepted)" }
        }
        let stateless = lines(90, matches(direction, isStateful: false))
        guard groups.contains(where: \.isStateful) else { return stateless }
        return stateless + tracking(table, accepted) + lines(60, matches(direction, isStateful: true))
    }

    private func matches(_ direction: PortDocument.Direction, isStateful: Bool) -> [String] {
        let rules = groups.filter { $0.isStateful == isStateful }.flatMap(\.rules)
        return unique(rules.filter { $0.direction == direction }.flatMap(\.matches))
    }

    private static let families = ["ip", "ipv6"]

    /// What becomes of a conversation whatever rules say.
    private func tracking(_ table: Int, _ accepted: Int) -> [String] {
        Self.families.map { family in
            "table=\(table),priority=80,ct_state=-trk,\(family),reg5=\(device) actions=ct(table=\(table),\(Self.zone))"
        } + [
            "table=\(table),priority=65,ct_state=+est-rel+rpl,reg5=\(device) actions=goto_table:\(accepted)",
            "table=\(table),priority=65,ct_state=+rel,reg5=\(device) actions=goto_table:\(accepted)",
        ]
    }

    /// What fits no conversation; and one that no rule allows any more, which is marked, and so ends both ways. Fragments do
    /// not tell: rules with ports match none of them.
    private func endings(_ direction: PortDocument.Direction) -> [(FilterRefusal, line: String)] {
        guard groups.contains(where: \.isStateful) else { return [] }
        let table = Self.table(direction)
        let ends = Self.families.map { family in
            "table=\(table),priority=40,ct_state=+est,\(family),nw_frag=no,reg5=\(device) "
                + "actions=ct(commit,\(Self.zone),exec(set_field:0x1->ct_mark)),goto_table:93"
        }
        let ended = "table=\(table),priority=70,ct_mark=0x1,reg5=\(device) actions=goto_table:93"
        let invalid = "table=\(table),priority=70,ct_state=+inv+trk,reg5=\(device) actions=goto_table:93"
        return (ends + [ended]).map { (.endedConnection, $0) } + [(.invalidState, invalid)]
    }

    /// A conversation is remembered once all have allowed it who are asked on this host.
    private var commits: [String] {
        guard !groups.isEmpty else { return [] }
        return Self.families.flatMap { family in
            [
                "table=73,priority=90,ct_state=+new-est,\(family),reg5=\(device) "
                    + "actions=ct(commit,\(Self.zone)),goto_table:91",
                "table=92,priority=1,ct_state=+new-est,\(family),reg5=\(device) "
                    + "actions=ct(commit,\(Self.zone)),output:\(device)",
            ]
        }
    }
}

/// The same in the same order, each once.
private func unique<Element: Hashable>(_ elements: [Element]) -> [Element] {
    var seen = Set<Element>(minimumCapacity: elements.count)
    return elements.filter { seen.insert($0).inserted }
}

extension MACAddress {
    /// What a station gives itself (RFC 4291 sections 2.5.1 and 2.5.6).
    fileprivate var linkLocalAddress: IPAddress {
        let identifier = (value & 0xffff_ff00_0000) << 16 | 0xff_fe00_0000 | value & 0xff_ffff
        return IPAddress(value: 0xfe80 << 112 | UInt128(identifier ^ 0x0200_0000_0000_0000))
    }
}
