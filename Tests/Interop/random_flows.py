"""Flow tables from a seed: matches and actions of few values, so that flows overlap and frames meet them.

To add a match or an action, add a line to the list of its kind. What needs a match first (ovs-actions(7) says what) is
in the list of a kind that has it.
"""

import re

from draw import Draw
from random_frames import ADDRESSES, ADDRESSES6, FLAGS, SERVICES, STATIONS

TABLES = (0, 1, 2, 3, 10)
# Where flows end that asked for a packet's length: Open vSwitch translates them for both answers, and counts both.
LENGTH_TABLE = 20
# Kinds of match, by the fields that they allow.
KINDS = {
    "": (), "ip": ("ip", "ip4"), "ipv6": ("ip", "ip6"), "arp": ("arp",), "rarp": ("arp",),
    "dl_vlan=1": ("tag",), "dl_vlan=5": ("tag",), "vlan_tci=0x1000/0x1000": ("tag",),
    "tcp": ("ip", "ip4", "ports", "tcp"), "udp": ("ip", "ip4", "ports", "udp"), "sctp": ("ip", "ip4", "ports", "sctp"),
    "icmp": ("ip", "ip4", "icmp"), "tcp6": ("ip", "ip6", "ports", "tcp"), "udp6": ("ip", "ip6", "ports", "udp"),
    "sctp6": ("ip", "ip6", "ports", "sctp"), "icmp6": ("ip", "ip6", "icmp6"),
    "icmp6,icmp_type=135,icmp_code=0": ("ip", "ip6", "nd", "ns"),
    "icmp6,icmp_type=136,icmp_code=0": ("ip", "ip6", "nd", "na"),
    "ip,nw_proto=47": ("ip", "ip4"), "ip,nw_proto=2": ("ip", "ip4"), "ipv6,nw_proto=44": ("ip", "ip6"),
    "ip,nw_frag=later": ("ip", "ip4"), "ipv6,nw_frag=later": ("ip", "ip6"), "udp,nw_frag=later": ("ip", "ip4"),
    "icmp,nw_frag=later": ("ip", "ip4", "icmp"), "icmp6,nw_frag=later": ("ip", "ip6", "icmp6"),
    "dl_type=0x88cc": (), "dl_type=0x05ff": (), "dl_type=0x8847": (),
}
COMMON_KINDS = ("", "", "ip", "tcp", "udp", "arp", "ipv6", "tcp6", "udp6", "icmp6", "icmp",
                "icmp6,icmp_type=135,icmp_code=0", "icmp6,icmp_type=136,icmp_code=0")
# Actions that OpenFlow 1.0 does not have, or with another meaning: its set_field has no mask. On the other hand only
# there mod_vlan_vid gives a tag to a frame that has none and leaves it at one otherwise.
MODERN = re.compile(r"push_vlan|pop_vlan|->vlan_|->OXM_OF_VLAN|write_|clear_actions|set_field:[^,]*/|goto_table|"
                    r"group:|meter:|actset_output")


def mac(octets):
    return ":".join(octets[place:place + 2] for place in range(0, 12, 2))


def ipv4(octets):
    return ".".join(str(octet) for octet in bytes.fromhex(octets))


def ipv6(octets):
    return ":".join(octets[place:place + 4] for place in range(0, 32, 4))


MACS = [mac(octets) for octets in STATIONS]
HOSTS = [ipv4(octets) for octets in ADDRESSES]
HOSTS6 = [ipv6(octets) for octets in ADDRESSES6]


def is_modern(flow):
    """Whether a flow means something else, or nothing, in OpenFlow 1.0."""
    return MODERN.search(flow) is not None


class FlowDraw(Draw):
    """Draws the flows of one bridge.

    `ports` are those of devices, `patch` is the number of the port to the other bridge. `normal` is whether NORMAL is
    among the actions. Then sources stay addresses of stations, and tags are never of VLAN 0: NORMAL drops the ones and
    takes the others off, where Open vSwitch does not. `priorities` is whether tags get one: see `_priority_tag` in
    flow_cases. `cuts` is whether some outputs are cut off; then no flow gives or takes a tag: see `_cut_tags`. `pushes`
    is whether flows may give a packet a second tag: see `_second_tag`. `groups` and `meters` are the numbers of those
    that there are.
    """

    def __init__(self, seed, ports, patch, normal, cuts, pushes, priorities=True):
        super().__init__(seed)
        self._devices, self._normal = list(ports), normal
        self._ports = self._devices + [patch]
        self._priorities = (0, 3, 7) if priorities else (0,)
        self._cuts, self._pushes = cuts, pushes
        self.groups, self.meters = [], []

    def flow(self, priority, cookie, table=None, kind=None, needs=()):
        """A flow, whose match has the fields `needs` too."""
        if kind is None:
            kind = self.pick(COMMON_KINDS) if not self.chance(3) else self.pick(list(KINDS))
        modern = self.chance(3)
        pushes = modern and self._pushes and self.chance(2)
        table = self.pick((0, 0) + TABLES) if table is None else table
        match = [f"table={table}", f"priority={priority}", f"cookie={cookie:#x}", *needs] + ([kind] if kind else [])
        taken = [field.split("=")[0] for field in needs]
        match += [field for field in self.fields(kind, 2) if field.split("=")[0] not in taken]
        if modern:
            # OpenFlow 1.1 and later say it with two fields of other bits.
            match = [field for field in match if not field.startswith("vlan_tci=") or field == kind]
            match += [f"actset_output={self.pick(self._ports)}"] if self.chance(6) else []
        actions = self.actions(kind, modern, table)
        if pushes:
            match = [field for field in match if not field.startswith("pkt_mark=")] + ["pkt_mark=0/0x100"]
            # A meter stands before everything else.
            meter, separator, rest = actions.partition(",") if actions.startswith("meter:") else ("", "", actions)
            first = [meter] if meter else []
            actions = ",".join([*first, "load:0x1->NXM_NX_PKT_MARK[8]", self._push()]
                               + ([rest] if rest not in ("", "drop") else []))
        return ",".join(match) + " actions=" + actions

    def length_flow(self, priority, cookie):
        """A flow for packets whose length was asked for: it has outputs alone."""
        outputs = [self._output() for _ in range(self.number(1, 2))]
        return f"table={LENGTH_TABLE},priority={priority},cookie={cookie:#x},reg0={self.pick(('1/1', '0/1', '2/2'))}" \
            f" actions={','.join(outputs)}"

    def _push(self):
        """A push once in a packet's life: a bit of its mark, which crosses patches, says whether it was. Open vSwitch
        keeps two tags of a packet and forgets those behind them."""
        push = f"push_vlan:{self.pick(('0x8100', '0x88a8'))}"
        if not self._normal and self.chance(2):
            return push
        return f"{push},set_field:{0x1000 | self.pick((1, 5, 7))}->vlan_vid"

    def _output(self):
        """To a device's port, at times cut off."""
        port = self.pick(self._devices)
        if not self._cuts or self.chance(2):
            return f"output:{port}"
        return f"output(port={port},max_len={self.pick((14, 15, 33, 60, 64, 100, 1000))})"

    def port(self):
        return self.pick(self._ports)

    # Matches

    def fields(self, kind, most):
        """Up to `most` fields of a match that has what `kind` says."""
        words = [word.split("=")[0] for word in kind.split(",")]
        fields = [field for field in self._matches(KINDS[kind]) if field.split("=")[0] not in words]
        if "nw_frag=later" in kind:
            # Later fragments have no ports (Open vSwitch refuses them in such a match).
            fields = [field for field in fields if not field.startswith(("tp_", "tcp_flags"))]
        if "tag" in KINDS[kind]:
            fields = [field for field in fields if "vlan" not in field]
        return self.some(fields, most)

    def _matches(self, allows):
        fields = [
            f"in_port={self.port()}", f"in_port={self.port()}", f"dl_src={self.pick(MACS)}",
            f"dl_dst={self.pick(MACS)}",
            self.pick(("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", "dl_dst=ff:ff:ff:ff:ff:ff",
                       "dl_dst=33:33:00:00:00:00/ff:ff:00:00:00:00", "dl_src=02:00:00:00:00:00/ff:ff:ff:ff:ff:fe",
                       "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00")),
            f"dl_vlan={self.pick((1, 5, 7, 1024))}", f"dl_vlan_pcp={self.pick((0, 3))}",
            self.pick(("dl_vlan=0xffff", "vlan_tci=0x1000/0x1000", "vlan_tci=0x0000", "vlan_tci=0x1005/0x1fff",
                       "vlan_tci=0x0004/0x000c", "vlan_tci=0x6000/0xe000", "vlan_tci=0x1000/0x1001", "dl_vlan=0")),
            f"reg{self.number(0, 15)}={self.pick(('0', '1', '0x10/0xf0', '0x12'))}",
            f"reg0={self.pick(('0', '1', '0x10/0xf0', '0x12'))}", f"metadata={self.pick(('0', '1', '1/1', '0x12'))}",
            f"xreg0={self.pick(('0', '0x100000000/0xf00000000', '0x1/0xf'))}",
            f"xxreg1={self.pick(('0', '0x7', '0x7/0xff', '0/0xff00000000'))}", "xreg7=0/0xffffffff00000000",
            f"tun_id={self.pick(('0', '1', '0x66', '0x66/0x60'))}", "tun_src=0.0.0.0", "tun_dst=0.0.0.0",
            f"tun_dst={self.pick(('10.0.0.1', '0.0.0.0/8'))}",
            f"pkt_mark={self.pick(('0', '1', '0x2/0x2', '0/0x100'))}", "ct_state=-trk", "ct_mark=0",
            "ct_zone=0", "conj_id=0",
        ]
        for allowed in allows:
            fields += getattr(self, f"_{allowed}_matches")()
        return self._without_clashes(fields)

    def _without_clashes(self, fields):
        """One field at most of those that speak of the same bits."""
        heads = {}
        for field in fields:
            name = field.split("=")[0]
            family = "vlan" if "vlan" in name else "reg" if name in ("reg0", "reg1", "xreg0") else \
                "reg4" if name in ("reg4", "reg5", "reg6", "reg7", "xxreg1") else name
            heads.setdefault(family, []).append(field)
        return [self.pick(options) for options in heads.values()]

    def _ip_matches(self):
        return [f"nw_tos={self.pick((0, 32, 184))}", f"nw_ecn={self.number(0, 3)}", f"nw_ttl={self.pick((1, 2, 64))}",
                f"nw_frag={self.pick(('no', 'yes', 'first', 'not_later'))}"]

    def _tag_matches(self):
        return []

    def _ip4_matches(self):
        return [f"nw_src={self.pick(HOSTS + ['10.0.0.0/8', '0.0.0.1/0.0.0.1'])}",
                f"nw_dst={self.pick(HOSTS + ['10.0.0.0/16', '224.0.0.0/4'])}"]

    def _ip6_matches(self):
        return [f"ipv6_src={self.pick(HOSTS6 + ['2001:db8::/32', '::1/::3'])}",
                f"ipv6_dst={self.pick(HOSTS6 + ['fe80::/10', 'ff00::/8'])}",
                f"ipv6_label={self.pick(('0', '1', '0x1/0xf', '0xabcde', '0xa0000/0xf0000'))}"]

    def _ports_matches(self):
        return [f"tp_src={self.pick(SERVICES)}", f"tp_dst={self.pick(SERVICES)}",
                f"tp_dst={self.pick(('0x50/0xfff0', '0x1/0x1', '0x0/0xfc00'))}",
                f"tp_src={self.pick(('0x50/0xfff0', '0x0/0x1'))}"]

    def _tcp_matches(self):
        flags = ("+syn-ack", "+ack", "0x002", "-rst", "0x100/0x100", "0x010/0x017", "+fin+ack", "0/0xfff")
        return [f"tcp_flags={self.pick(flags)}"]

    def _udp_matches(self):
        return []

    def _sctp_matches(self):
        return []

    def _icmp_matches(self):
        return [f"icmp_type={self.pick((0, 3, 8))}", f"icmp_code={self.pick((0, 1))}"]

    def _icmp6_matches(self):
        return [f"icmp_type={self.pick((128, 135, 136))}", "icmp_code=0"]

    def _nd_matches(self):
        return [f"nd_target={self.pick(HOSTS6 + ['2001:db8::/32', '::1/::1'])}", f"nd_reserved={self.pick(FLAGS)}",
                f"nd_options_type={self.number(0, 2)}"]

    def _ns_matches(self):
        return [f"nd_sll={self.pick(MACS + ['00:00:00:00:00:00', '02:00:00:00:00:00/ff:00:00:00:00:00'])}"]

    def _na_matches(self):
        return [f"nd_tll={self.pick(MACS + ['00:00:00:00:00:00', '00:00:00:00:00:01/00:00:00:00:00:01'])}"]

    def _arp_matches(self):
        return [f"arp_op={self.pick((1, 2, 3))}", f"arp_spa={self.pick(HOSTS + ['0.0.0.1/0.0.0.1'])}",
                f"arp_tpa={self.pick(HOSTS + ['10.0.0.0/8'])}", 
                f"arp_sha={self.pick(MACS + ['02:00:00:00:00:00/ff:00:00:00:00:00'])}",
                f"arp_tha={self.pick(MACS + ['00:00:00:00:00:00'])}"]

    # Actions

    def actions(self, kind, modern=False, table=0):
        if self.chance(25):
            return "drop"
        allows = self._allowed(kind)
        choices = self._actions(allows, modern)
        count = self.weighted((0, 3), (1, 4), (2, 3), (3, 2), (6, 1))
        actions = [f"meter:{self.pick(self.meters)}"] if modern and self.meters and self.chance(4) else []
        actions += [self._action(choices) for _ in range(count)]
        actions += (["pop_vlan"] if modern and "tag" in allows and self.chance(3) else []) + self._last()
        if modern and not any("check_pkt_larger" in action for action in actions):
            actions += self._instructions(allows, table)
        return ",".join(action for action in actions if action) or "drop"

    def _allowed(self, kind):
        """The kinds of actions for packets of a kind."""
        return [word for word in KINDS[kind] if word != "tag" or not self._cuts]

    def bucket_actions(self):
        """An action set: for packets of any kind, whatever kind its edits are for."""
        if self.chance(20):
            return "drop"
        members = self._members([word for word in KINDS[self.pick(list(KINDS))] if word != "tag"])
        return ",".join(self.pick(members)() for _ in range(self.weighted((1, 3), (2, 4), (3, 2), (5, 1))))

    def _instructions(self, allows, table):
        """What has its place behind actions (OpenFlow 1.5.1 section 5.5)."""
        instructions = ["clear_actions"] if self.chance(10) else []
        if self.chance(3):
            members = [self.pick(self._members(allows))() for _ in range(self.number(1, 4))]
            instructions.append(f"write_actions({','.join(members)})")
        if self.chance(4):
            instructions.append("write_metadata:0x1/0xf")
        later = [number for number in TABLES if number > table]
        if later and self.chance(3):
            instructions.append(f"goto_table:{self.pick(later)}")
        return instructions

    def _members(self, allows):
        """What makes an action each that an action set may hold."""
        members = 3 * [lambda: f"output:{self.port()}"] + [
            lambda: self.pick(("IN_PORT", "ALL", "NORMAL" if self._normal else "FLOOD")),
            lambda: f"mod_dl_dst:{self.pick(MACS)}", lambda: f"load:{self.number(0, 3):#x}->NXM_NX_REG0[]",
            lambda: "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]", lambda: "set_tunnel:0x1", lambda: "set_queue:1",
            lambda: f"resubmit(,{self.pick(TABLES)})", lambda: "move:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15]"]
        if self.groups:
            members += 2 * [lambda: f"group:{self.pick(self.groups)}"]
        if "tag" in allows:
            members += 2 * [lambda: "pop_vlan"]
        for allowed in allows:
            members += getattr(self, f"_{allowed}_actions")()
        # Stacks are not for action sets.
        return [make for make in members if not make().startswith(("push:", "pop:"))]

    def _action(self, choices, depth=0):
        if depth < 2 and self.chance(16):
            inside = [self._action(choices, depth + 1) for _ in range(self.number(1, 3))]
            return f"clone({','.join(inside + self._length() if self.chance(8) else inside)})"
        return self.pick(choices)()

    def _last(self):
        return self.weighted(([], 1), ([f"output:{self.port()}"], 6), ([f"resubmit(,{self.pick(TABLES)})"], 5),
                             (["NORMAL"] if self._normal else ["FLOOD"], 4), (["exit"], 1), (self._length(), 1),
                             ([f"output:{self.port()}", f"resubmit({self.port()},{self.pick(TABLES)})"], 1))

    def _length(self):
        """Asks for the packet's length, and lets it count."""
        bit = self.number(0, 1)
        question = f"check_pkt_larger({self.pick((14, 59, 60, 63, 64, 80, 100, 200))})->NXM_NX_REG0[{bit}]"
        return [question] + self.some([self._output(), f"mod_dl_dst:{self.pick(MACS)}"], 1) \
            + [self.weighted((f"resubmit(,{LENGTH_TABLE})", 3), ("output:NXM_NX_REG0[0..1]", 1))]

    def _actions(self, allows, modern):
        """What makes an action each; drawn anew whenever one is wanted."""
        choices = self._everywhere_actions()
        if modern:
            choices += self._modern_actions()
        elif not self._cuts:
            choices += self._former_tag_actions()
        if modern and self.groups:
            choices += 3 * [lambda: f"group:{self.pick(self.groups)}"]
        if self._normal:
            choices += [lambda: "NORMAL"]
        else:
            choices += [lambda: "move:NXM_OF_ETH_DST[]->NXM_OF_ETH_SRC[]", lambda: "pop:NXM_OF_ETH_SRC[]",
                        lambda: "load:0x01005e->NXM_OF_ETH_SRC[24..47]"]
        if modern and "tag" in allows:
            choices += 2 * self._modern_tag_actions()
        for allowed in allows:
            choices += getattr(self, f"_{allowed}_actions")()
        return choices

    def _everywhere_actions(self):
        return 2 * [lambda: f"output:{self.port()}"] + [
            lambda: "IN_PORT", lambda: self.pick(("FLOOD", "ALL")), lambda: "exit" if self.chance(4) else "IN_PORT",
            lambda: f"resubmit({self.pick(['', self.port()])},{self.pick(TABLES)})",
            lambda: f"resubmit(,{self.pick(TABLES)})", lambda: f"resubmit:{self.port()}", self._output, self._output,
            lambda: f"mod_dl_src:{self.pick(MACS)}", lambda: f"mod_dl_dst:{self.pick(MACS + ['ff:ff:ff:ff:ff:ff'])}",
            lambda: f"set_field:{self.pick(MACS)}->eth_dst",
            lambda: "load:0x5->NXM_OF_ETH_DST[0..7]",
            lambda: f"load:{self.pick(('0x1', '0x12', '0', '0x3'))}->NXM_NX_REG0[{self.pick(('', '0..7', '4..15'))}]",
            lambda: f"load:{self.port():#x}->NXM_NX_REG0[]", lambda: f"set_field:0x12->reg{self.number(0, 15)}",
            lambda: "set_field:0x100000000->xreg0", lambda: "set_field:0x7->xxreg1",
            lambda: "move:NXM_NX_REG0[0..15]->NXM_NX_REG1[16..31]", lambda: "move:NXM_NX_REG1[]->NXM_NX_REG0[]",
            lambda: "load:0x1->OXM_OF_METADATA[]", lambda: "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
            lambda: "move:NXM_OF_ETH_DST[0..31]->NXM_NX_REG0[]", lambda: "move:NXM_NX_REG0[0..7]->NXM_OF_ETH_DST[0..7]",
            lambda: "push:NXM_OF_ETH_SRC[]", lambda: "push:NXM_NX_REG0[]", lambda: "pop:NXM_OF_ETH_DST[]",
            lambda: "pop:NXM_NX_REG0[]", lambda: "push:NXM_OF_IN_PORT[]", lambda: "pop:NXM_NX_REG0[0..15]",
            lambda: "output:NXM_NX_REG0[]", lambda: "output:NXM_NX_REG0[0..3]",
            lambda: "move:NXM_OF_IN_PORT[]->NXM_NX_REG0[0..15]",
            lambda: f"load:{self.port():#x}->NXM_OF_IN_PORT[]", lambda: "load:0->NXM_OF_IN_PORT[]",
            lambda: f"set_tunnel:{self.pick(('0x1', '0x66'))}", lambda: "move:NXM_NX_TUN_ID[0..31]->NXM_NX_REG0[]",
            lambda: "load:0x1->NXM_NX_PKT_MARK[0..7]", lambda: "set_queue:1", lambda: "pop_queue", lambda: "note:00.11",
            lambda: f"enqueue:{self.port()}:1", lambda: "move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]",
        ]

    def _former_tag_actions(self):
        made = [lambda: f"mod_vlan_vid:{self._vlan()}", lambda: f"mod_vlan_vid:{self._vlan()}", lambda: "strip_vlan",
                lambda: "load:0x1005->NXM_OF_VLAN_TCI[]", lambda: "load:0->NXM_OF_VLAN_TCI[]",
                lambda: "load:0x7->NXM_OF_VLAN_TCI[0..11]",
                lambda: f"mod_vlan_vid:{self._vlan()},mod_vlan_pcp:{self.pick(self._priorities)}"]
        if not self._normal:
            made += [lambda: f"mod_vlan_pcp:{self.pick((0, 3, 7))}", lambda: "load:0x5->NXM_OF_VLAN_TCI[]",
                     lambda: "move:NXM_NX_REG0[0..11]->NXM_OF_VLAN_TCI[0..11]"]
        return made

    def _vlan(self):
        return self.pick((1, 5, 7, 100, 1024))

    def _modern_actions(self):
        return [lambda: "set_field:00:00:00:00:00:01/00:00:00:00:00:0f->eth_src", lambda: "set_field:0x10/0xf0->reg0",
                lambda: "set_field:0x1/0xf->metadata", lambda: "set_field:0x2/0x3->pkt_mark"]

    def _tag_actions(self):
        """Of a tag that there is; in OpenFlow 1.0 those of every packet do the same."""
        return []

    def _modern_tag_actions(self):
        return [lambda: f"set_field:{0x1000 | self._vlan()}->vlan_vid",
                lambda: f"set_field:{self.pick(self._priorities)}->vlan_pcp", lambda: f"mod_vlan_vid:{self._vlan()}"]

    def _ip_actions(self):
        return [lambda: f"mod_nw_tos:{self.pick((0, 32, 184))}", lambda: f"mod_nw_ecn:{self.number(0, 3)}",
                lambda: "dec_ttl", lambda: "dec_ttl", lambda: f"mod_nw_ttl:{self.pick((1, 64, 255))}",
                lambda: "move:NXM_NX_IP_TTL[]->NXM_NX_REG0[0..7]", lambda: "move:NXM_OF_IP_PROTO[]->NXM_NX_REG0[0..7]"]

    def _ip4_actions(self):
        return [lambda: f"mod_nw_src:{self.pick(HOSTS)}", lambda: f"mod_nw_dst:{self.pick(HOSTS)}",
                lambda: "move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[]",
                lambda: "move:NXM_OF_IP_DST[0..15]->NXM_OF_IP_SRC[16..31]",
                lambda: "load:0x9->NXM_OF_IP_DST[0..7]", lambda: "push:NXM_OF_IP_SRC[]", lambda: "pop:NXM_OF_IP_DST[]"]

    def _ip6_actions(self):
        return [lambda: f"set_field:{self.pick(HOSTS6)}->ipv6_dst", lambda: f"set_field:{self.pick(HOSTS6)}->ipv6_src",
                lambda: "move:NXM_NX_IPV6_SRC[0..63]->NXM_NX_IPV6_DST[64..127]", lambda: "set_field:0x5->ipv6_label",
                lambda: "move:NXM_NX_IPV6_SRC[]->NXM_NX_XXREG1[]", lambda: "move:NXM_NX_XXREG1[]->NXM_NX_IPV6_DST[]",
                lambda: "move:NXM_NX_REG0[]->NXM_NX_IPV6_SRC[0..31]"]

    def _ports_actions(self):
        return [lambda: f"mod_tp_dst:{self.pick(SERVICES)}", lambda: f"mod_tp_src:{self.pick(SERVICES)}"]

    def _tcp_actions(self):
        return [lambda: "move:NXM_OF_TCP_SRC[]->NXM_OF_TCP_DST[]", lambda: "move:NXM_NX_REG0[0..15]->NXM_OF_TCP_DST[]",
                lambda: "load:0x51->OXM_OF_TCP_DST[0..7]"]

    def _udp_actions(self):
        return [lambda: "move:NXM_OF_UDP_SRC[]->NXM_OF_UDP_DST[]", lambda: "set_field:53->udp_dst"]

    def _sctp_actions(self):
        return [lambda: "set_field:80->sctp_src"]

    def _icmp_actions(self):
        return [lambda: "set_field:0->icmp_type", lambda: "load:0x1->NXM_OF_ICMP_CODE[]"]

    def _icmp6_actions(self):
        return [lambda: "set_field:129->icmpv6_type", lambda: "set_field:1->icmpv6_code"]

    def _nd_actions(self):
        # nd_reserved as a whole: where some of its bits are written, Open vSwitch clears the others.
        return [lambda: f"set_field:{self.pick(HOSTS6)}->nd_target",
                lambda: "move:NXM_NX_IPV6_SRC[]->NXM_NX_ND_TARGET[]",
                lambda: f"set_field:{self.pick(FLAGS)}->nd_reserved",
                lambda: "move:NXM_NX_REG0[]->ERICOXM_OF_ICMPV6_ND_RESERVED[]",
                lambda: f"set_field:{self.number(1, 2)}->nd_options_type",
                lambda: "move:ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE[]->NXM_NX_REG0[0..7]",
                lambda: f"set_field:{self.pick((128, 135, 136))}->icmpv6_type", lambda: "set_field:1->icmpv6_code"]

    def _ns_actions(self):
        return [lambda: f"set_field:{self.pick(MACS)}->nd_sll", lambda: "move:NXM_OF_ETH_SRC[]->NXM_NX_ND_SLL[]"]

    def _na_actions(self):
        return [lambda: f"set_field:{self.pick(MACS)}->nd_tll"]

    def _arp_actions(self):
        return [lambda: f"load:{self.pick(('0x1', '0x2'))}->NXM_OF_ARP_OP[]",
                lambda: "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]", lambda: "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]",
                lambda: f"set_field:{self.pick(MACS)}->arp_sha", lambda: f"set_field:{self.pick(HOSTS)}->arp_spa",
                lambda: "load:0xa000009->NXM_OF_ARP_SPA[]", lambda: "move:NXM_OF_ETH_SRC[]->NXM_NX_ARP_THA[]"]
