"""Tables of security groups, as documents say them and as rules of nftables do."""

from dataclasses import dataclass, replace

from secured import Station, group, rule

GUEST = Station("guest", "fa:16:3e:db:08:63", ("50.50.1.2", "fd50::2"))
OTHER = Station("other", "fa:16:3e:db:08:64", ("50.50.1.4", "fd50::4"))
# Nobody filters what they send and receive.
DHCP = Station("dhcp", "fa:16:3e:db:08:65", ("50.50.1.3", "fd50::3"))
PEER = Station("peer", "fa:16:3e:db:08:66", ("50.50.1.77", "fd50::77"))
STATIONS = (GUEST, OTHER, DHCP, PEER)
OTHERS = {"egress": "daddr", "ingress": "saddr"}


@dataclass(frozen=True)
class Table:
    """Groups, whose ports are in which of them, and for stations whose rules are written out, those."""

    title: str
    groups: tuple
    members: dict
    written: dict

    def stations(self):
        return [replace(station, groups=self.members.get(station.name)) for station in STATIONS]

    def documents(self):
        return [*self.groups, *(station.document({"path": "?"}) for station in self.stations())]

    def chains(self):
        """The rules for Linux, {(station, direction): text}."""
        chains = {}
        for station in self.stations():
            if station.groups is not None:
                named = [group for group in self.groups if group["id"] in station.groups]
                chains[station.name, "egress"] = "\n".join(bindings(station) + self._rules(named, "egress"))
                chains[station.name, "ingress"] = "\n".join([DHCP_ANSWERS] + self._rules(named, "ingress"))
        return chains | self.written

    def _rules(self, groups, direction):
        """What rules of groups without state allow passes, whatever its conversation; then conversations, then rules."""
        def lines(stateful):
            return [self._line(one) for group in groups if group["stateful"] == stateful
                    for one in group["rules"] if one["direction"] == direction]
        tracked = CONVERSATIONS if any(group["stateful"] for group in groups) else []
        return lines(False) + tracked + lines(True) + ["drop"]

    def _line(self, one):
        six = one["ethertype"] == "IPv6"
        least, greatest = one.get("port_range_min"), one.get("port_range_max")
        words = ["meta nfproto", "ipv6" if six else "ipv4"]
        kind = one.get("protocol")
        if kind:
            words += ["meta l4proto", {"icmp": "ipv6-icmp" if six else "icmp"}.get(kind, kind)]
        if kind == "icmp" and least is not None:
            name = "icmpv6" if six else "icmp"
            words += [name, f"type {least}"] + ([name, f"code {greatest}"] if greatest is not None else [])
        elif least is not None:
            words += [kind, f"dport {least}-{greatest}"]
        remote = one.get("remote_ip_prefix") or self._members(one.get("remote_group_id"), six)
        if remote:
            words += ["ip6" if six else "ip", OTHERS[one["direction"]], remote]
        return " ".join(words + ["return"])

    def _members(self, group, six):
        addresses = [station.of_family(six) for station in self.stations() if group in (station.groups or ())]
        return f"{{ {', '.join(addresses)} }}" if group else None


CONVERSATIONS = ["ct state invalid drop", "ct state established,related return"]
DHCP_ANSWERS = "udp sport 67 udp dport 68 return"


def bindings(station):
    four, six = (station.of_family(family) for family in (False, True))
    return [f"ether saddr != {station.mac} drop", f"ip saddr {{ 0.0.0.0, {four} }} udp sport 68 udp dport 67 return",
            f"ip saddr != {four} drop", f"ip6 saddr != {six} drop", "udp sport 67 udp dport 68 drop"]


# The chains in the documents of the mission, of a Neutron agent's iptables: of IPv4 alone.
INPUT = """
ct state invalid drop
ct state related,established return
ip protocol icmp return
tcp dport 22 return
ip saddr 50.50.1.3 udp sport 67 udp dport 68 return
drop
"""
OUTPUT = """
ether saddr != fa:16:3e:db:08:63 drop
udp sport 68 udp dport 67 return
ip saddr != 50.50.1.2 drop
udp sport 67 udp dport 68 drop
ct state invalid drop
ct state related,established return
return
"""
ONLY_IPV4 = "meta nfproto ipv6 drop"

ALL = (rule("egress"), rule("egress", six=True))
TABLES = (
    Table("the chains of the mission's documents",
          (group("ssh", rule("egress"), rule("ingress", "icmp"), rule("ingress", "tcp", (22, 22))),),
          {"guest": ("ssh",)}, {("guest", "egress"): ONLY_IPV4 + OUTPUT, ("guest", "ingress"): ONLY_IPV4 + INPUT}),
    Table("services, ranges, types and prefixes, both ways", (
        group("services", *(rule("ingress", "tcp", (22, 22), six, remote_ip_prefix=prefix)
                            for six, prefix in ((False, "50.50.1.64/26"), (True, "fd50::40/122"))),
              rule("ingress", "udp", (53, 53)), rule("ingress", "udp", (53, 53), six=True),
              rule("ingress", "icmp", (8, None)), rule("ingress", "icmp", (128, 0), six=True), rule("ingress", "esp")),
        group("clients", rule("egress", "tcp", (80, 8100)), rule("egress", "tcp", (22, 25), six=True), rule("egress", "icmp"),
              rule("egress", "udp", (50, 100), remote_ip_prefix="50.50.1.0/25"))),
        {"guest": ("services", "clients")}, {}),
    Table("members of a group among themselves", (
        group("members", *ALL, rule("ingress", remote_group_id="members"),
              rule("ingress", "tcp", six=True, remote_group_id="members")),
        group("open", *ALL, rule("ingress", "tcp", (22, 22)), rule("ingress", "udp", six=True))),
        {"guest": ("members",), "other": ("members", "open")}, {}),
    Table("rules without state", (
        group("stateless", rule("egress", "tcp"), rule("egress", "udp", (53, 53)), rule("ingress", "tcp", (22, 22)),
              rule("ingress", "icmp", (0, None)), rule("egress", "icmp", (8, 0)), stateful=False),), {"guest": ("stateless",)}, {}),
    Table("a group without rules", (group("nothing"),), {"guest": ("nothing",), "other": ()}, {}),
)
