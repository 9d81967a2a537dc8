"""Cases with connection tracking from a seed: flows that track and commit, and frames of conversations.

What a tracker says is made visible: tables end in REPORT_TABLE, whose flows write the fields of a connection into a copy's
addresses and send it out of a port of its own, so `REPORTS` and `state_of` tell what was decided.

What is meant to differ is not drawn:

* Fragments (see random_conversations).
* Translations of which a switch has to choose the address or port, and a packet that is tracked before and behind a translation
  in one zone.
* Open vSwitch's datapath goes around six times at most: ct(table) leads to a greater table here, and from one bridge to the
  other once.
"""

from dataclasses import replace
from itertools import product

from draw import Draw
from flow_cases import ALL_TAGGED, PACKETS, Case, is_meant
from random_conversations import (ADDRESSES, ADDRESSES6, CLIENT_PORTS, ICMP, ICMP6, OTHER_PORTS, SERVER_PORTS, TCP, UDP,
                                  ConversationDraw, Translation)
from random_flows import ipv4, ipv6
from twins import BRIDGES, NAMES, PATCH

# Where each bridge sends what REPORT_TABLE writes; flows send nothing else there.
REPORTS = {"br0": 5, "br1": 7}
REPORT_TABLE = 20
# Where some cases translate what begins a connection, and the zone of it, which no other flow has.
NEW_TABLE, TRANSLATING_ZONE = 30, 3
# Of flows that look at a tracked packet, in the order in which it meets them.
VERDICT_TABLES = {"br0": (1, 2, 3), "br1": (1,)}
STATES = ("+trk+new", "+new-est", "+trk-new", "+trk+est", "+est-rel-rpl", "+est+rpl", "+trk-rpl", "+trk+rel", "-new+rel-inv",
          "+trk+inv", "-trk", "+trk-inv", "+trk", "+new+rel", "+rpl-est")
# Those with which a flow may ask for the fields of the first packet (ovs-fields(7), "ct_nw_src").
VALID_STATES = ("+trk+new", "+new-est", "+trk+est", "+est-rel-rpl", "+est+rpl", "+trk+rel", "+trk-inv", "-new+rel-inv+trk")
KINDS = ("ip", "ip", "ipv6", "tcp", "tcp6", "udp", "udp6", "icmp", "icmp6", "sctp")
ZONES = (0, 1, 5, 7, 65535)
# Of bridges that translate.
OTHER_ZONES = (2, 9, 65534)
FLAGS = {"new": 0x01, "est": 0x02, "rel": 0x04, "rpl": 0x08, "inv": 0x10, "trk": 0x20, "snat": 0x40, "dnat": 0x80}


def state_of(frame):
    """The ct_state that a frame of a report's port has in it, as flows write it."""
    return "".join(f"+{name}" for name, flag in FLAGS.items() if frame[6] & flag) or "untracked"


def report_flows(bridge):
    """The last flows of a packet's way: one copy with the connection, and one with its first packet's fields."""
    port, other = REPORTS[bridge], BRIDGES[bridge][-2]
    connection = ("move:NXM_NX_CT_STATE[0..7]->NXM_OF_ETH_SRC[40..47],move:NXM_NX_CT_ZONE[0..7]->NXM_OF_ETH_SRC[32..39],"
                  "move:NXM_NX_CT_MARK[]->NXM_OF_ETH_SRC[0..31],move:NXM_NX_CT_LABEL[0..31]->NXM_OF_ETH_DST[0..31],"
                  "move:NXM_NX_CT_LABEL[112..127]->NXM_OF_ETH_DST[32..47]")
    ports = "move:NXM_NX_CT_TP_SRC[]->NXM_OF_ETH_SRC[32..47],move:NXM_NX_CT_TP_DST[]->NXM_OF_ETH_DST[32..47]"
    flows = [f"table={REPORT_TABLE},priority=1 actions={connection},output:{port}"]
    for kind, name in (("ip", "NW"), ("ipv6", "IPV6")):
        addresses = ",".join(f"move:NXM_NX_CT_{name}_{end}[0..31]->NXM_OF_ETH_{end}[0..31]" for end in ("SRC", "DST"))
        protocol = "move:NXM_NX_CT_NW_PROTO[]->NXM_OF_ETH_DST[40..47]"
        flows.append(f"table={REPORT_TABLE},priority=2,{kind},ct_state=+trk-inv actions={connection},{protocol},"
                     f"output:{port},{addresses},{ports},output:{other}")
    return flows


class TrackingDraw(Draw):
    """Draws the flows of one bridge."""

    def __init__(self, seed, bridge, zones=ZONES):
        super().__init__(seed)
        self._zones = zones
        self._bridge, self._tables = bridge, VERDICT_TABLES[bridge]
        self._outputs = [port for port in BRIDGES[bridge] if port != REPORTS[bridge]]
        # How a packet finds its zone.
        self._zoning = self.pick(("one", "one", "vlan", "vlan", "ports", "register"))
        self._zone_of_all = self.pick(self._zones)

    def lines(self):
        """Flows have a priority of their own each within a table."""
        flows = [f"table={table},{flow}" for table in self._tables for flow in self._verdicts(table)]
        return self._entries() + flows + report_flows(self._bridge)

    # Where tracking begins

    def _entries(self):
        """The flows of table 0: they choose a zone and track."""
        flows = []
        if self.chance(4):
            flows += [f"priority={9 + number},{self._match(self.pick(KINDS))} actions={self._untracked()}"
                      for number in range(self.number(1, 2))]
        actions = self._entry()
        for kind in ("ip", "ipv6"):
            if self._zoning == "vlan":
                # 0 without a tag.
                zone = "move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG6[0..11]"
                flows.append(f"priority=1,{kind} actions={zone},{actions}")
            elif self._zoning == "ports":
                ports = BRIDGES[self._bridge][:2]
                flows += [f"priority=2,{kind},in_port={port} actions=load:0x5->NXM_NX_REG6[0..15],{actions}"
                          for port in ports]
                flows.append(f"priority=1,{kind} actions={actions}")
            else:
                load = f"load:{self._zone_of_all:#x}->NXM_NX_REG6[0..15],"
                flows.append(f"priority=1,{kind} actions={load if self._zoning == 'register' else ''}{actions}")
        return [f"table=0,{flow}" for flow in flows]

    def _entry(self):
        table, zone = self._tables[0], self._zone()
        return self.weighted(
            (f"ct(table={table},zone={zone})", 14), (f"ct(zone={zone}),ct(table={table},zone={zone})", 1),
            (f"ct(commit,table={table},zone={zone}{self._exec()})", 2), (f"ct(zone={zone}),resubmit(,{table})", 1),
            (f"ct_clear,ct(table={table},zone={zone})", 1), (f"ct(table={table},zone={zone}),{self._output()}", 1),
            (f"clone(ct(table={table},zone={zone})),resubmit(,{table})", 1),
            (f"ct(commit,table={table},zone={zone}{self._exec()})", 1),
            (f"ct(table={table},zone={self.pick(self._zones)}),ct(table={table},zone={zone})", 1))

    def _untracked(self):
        return self.pick((self._output(), f"resubmit(,{self._tables[0]})", "drop", f"ct(commit,zone={self._zone()})"))

    def _zone(self):
        """That of most flows of the case, so that what one commits another finds."""
        if self.chance(20):
            return str(self.pick(self._zones))
        return str(self._zone_of_all) if self._zoning == "one" else "NXM_NX_REG6[0..15]"

    # Verdicts

    def _verdicts(self, table):
        """Two flows that nearly all cases need, and random ones over them."""
        flows, priorities = [], self.distinct(range(10, 1000), 8)
        for _ in range(self.number(0, 6)):
            kind = self.pick(KINDS)
            match = self._match(kind, tracked=True)
            flows.append(f"priority={priorities.pop()},{match} actions={self._actions(kind, match, table)}")
        if table == self._tables[0]:
            committed = "" if not self.chance(4) else f",in_port={self.pick(self._outputs)}"
            for kind in ("ip", "ipv6"):
                flows.append(f"priority=2,{kind},ct_state=+trk+new{committed} actions={self._output()},"
                             f"{self._commit_and_report(table)}")
        return flows + [f"priority=1,{kind} actions={self._ending(table)}" for kind in ("ip", "ipv6")]

    def _match(self, kind, tracked=False):
        fields = [kind]
        fields += [f"ct_state={self.pick(STATES)}"] if tracked else []
        choices = [f"in_port={self.pick(self._outputs)}", f"dl_vlan={self.pick((5, 7))}"]
        if kind in ("tcp", "tcp6", "udp", "udp6"):
            choices += [f"tp_dst={self.pick(SERVER_PORTS)}", f"tp_src={self.pick(CLIENT_PORTS)}"]
        fields += self.some(choices, 1)
        if tracked:
            fields += self.some([f"ct_mark={self.pick(('0', '1', '0x1/0x1', '0x10/0xf0', '0x5', '0/0xff00'))}",
                                 f"ct_label={self.pick(('0', '1', '0x1/0x1', '0x50000000000000000/0xf0000000000000000'))}",
                                 f"ct_zone={self.pick(self._zones)}"], 2) if self.chance(2) else []
            if self.chance(3):
                fields = self._with_first(kind, fields)
        return ",".join(fields)

    def _with_first(self, kind, fields):
        """The same with a state and fields of a connection's first packet."""
        fields = [field for field in fields if not field.startswith("ct_state=")] + [f"ct_state={self.pick(VALID_STATES)}"]
        six = kind.endswith("6")
        hosts = [ipv6(octets) for octets in ADDRESSES6] if six else [ipv4(octets) for octets in ADDRESSES]
        name = "ct_ipv6" if six else "ct_nw"
        choices = [f"{name}_src={self.pick(hosts)}", f"{name}_dst={self.pick(hosts)}",
                   f"ct_nw_proto={self.pick((TCP, UDP, ICMP6 if six else ICMP))}"]
        if self.chance(2):
            protocol = self.pick((TCP, TCP, UDP))
            choices = [f"ct_nw_proto={protocol},{self.pick(('ct_tp_dst=80', 'ct_tp_dst=22', 'ct_tp_src=0x9c40/0xfffe'))}"]
        return fields + self.distinct(choices, 1)

    # Actions

    def _actions(self, kind, match, table):
        parts = [self._action(kind, table) for _ in range(self.weighted((0, 2), (1, 4), (2, 2), (3, 1)))]
        # Open vSwitch refuses to commit what a flow knows to be invalid.
        parts = [part for part in parts if "+inv" not in match or "commit" not in part]
        return ",".join(parts + [ending] if (ending := self._ending(table)) != "drop" else parts) or "drop"

    def _action(self, kind, table):
        return self.weighted((self._commit(table), 8), (self._output(), 4), (f"ct(zone={self._zone()})", 1), ("ct_clear", 1),
                             (f"clone({self._commit(table)},{self._output()})", 1), (self._edit(), 2),
                             (f"load:{self.pick(('0', '0x1', '0x12'))}->NXM_NX_REG0[]", 1))

    def _edit(self):
        """Nothing that connections are found by: what Open vSwitch says of a packet before and after adds up in a zone."""
        return self.pick(("mod_nw_tos:32", "mod_dl_src:02:00:00:00:00:09"))

    def _commit_and_report(self, table):
        """Behind a commit that names no table nothing is known of the connection any more."""
        return self.weighted((f"ct(commit,zone={self._zone()}{self._exec()},table={REPORT_TABLE})", 3),
                             (f"resubmit(,{REPORT_TABLE}),{self._commit(table)}", 2),
                             (f"{self._commit(table)},resubmit(,{REPORT_TABLE})", 1))

    def _commit(self, table):
        parts = ["commit", f"zone={self._zone()}"]
        parts += [f"table={self.pick(self._further(table) + [REPORT_TABLE])}"] if self.chance(3) else []
        return f"ct({','.join(parts)}{self._exec()})"

    def _exec(self):
        if self.chance(2):
            return ""
        written = [self.pick((
            "set_field:0x1->ct_mark", "set_field:0x5->ct_mark", "set_field:0->ct_mark", "set_field:0x10/0xf0->ct_mark",
            "load:0x5->NXM_NX_CT_MARK[4..11]", "set_field:0x1->ct_label", "set_field:0x2/0x3->ct_label",
            "load:0x5->NXM_NX_CT_LABEL[64..79]", "load:0x7->NXM_NX_CT_LABEL[112..127]",
            "move:NXM_NX_REG0[]->NXM_NX_CT_MARK[]", "move:NXM_OF_ETH_SRC[]->NXM_NX_CT_LABEL[0..47]",
            "move:NXM_OF_IN_PORT[]->NXM_NX_CT_MARK[0..15]",
            "move:NXM_NX_CT_STATE[0..7]->NXM_NX_CT_MARK[24..31]"))
            for _ in range(self.pick((1, 1, 2)))]
        return f",exec({','.join(written)})"

    def _ending(self, table):
        """On to a greater table, tracked anew or not."""
        further = self._further(table)
        if further and self.chance(3):
            following = self.pick(further)
            return self.weighted((f"resubmit(,{following})", 2), (f"ct(table={following},zone={self._zone()})", 2),
                                 (f"ct(table={following},zone={self.pick(self._zones)})", 2),
                                 (f"ct_clear,ct(table={following},zone={self._zone()})", 1))
        return self.weighted((f"resubmit(,{REPORT_TABLE})", 12), (f"ct(table={REPORT_TABLE},zone={self._zone()})", 1),
                             (f"{self._last_output()},resubmit(,{REPORT_TABLE})", 4), ("drop", 1))

    def _further(self, table):
        return [other for other in self._tables if other > table]

    def _output(self):
        return f"output:{self.pick(self._outputs)}"

    def _last_output(self):
        """Through the patch too. Before another ct it depends on how Open vSwitch translates what is behind the patch whether
        the packet here is tracked as that one was."""
        return f"output:{self.pick(self._outputs + [PATCH[self._bridge]])}"


class TranslatingDraw(TrackingDraw):
    """Draws the flows of a bridge that translates in a zone of its own, and then tracks in others what came of it."""

    def __init__(self, seed, bridge, translation):
        super().__init__(seed, bridge, OTHER_ZONES)
        self._translation = translation
        self._zoning = "one"

    def _zone(self):
        return str(self._zone_of_all)

    def _entries(self):
        """At once, or behind a table that knows what is new (`NEW_TABLE`)."""
        zone, table = f"zone={TRANSLATING_ZONE}", self._tables[0]
        translations = list(enumerate(self._translations(f"table={table},{zone}"), 2))
        others = [f"table=0,priority=1,{kind} actions=ct({zone},nat,table=%d)" for kind in ("ip", "ipv6")]
        if self.chance(2):
            return [f"table=0,priority={number},{match} actions={actions}" for number, (match, actions) in translations] + \
                   [other % table for other in others]
        return [f"table={NEW_TABLE},priority={number},{match},ct_state=+trk+new-rel actions={actions}"
                for number, (match, actions) in translations] + \
               [f"table={NEW_TABLE},priority=1 actions=resubmit(,{table})"] + [other % NEW_TABLE for other in others]

    def _translations(self, where):
        """(match, actions) of what begins a connection."""
        for six, kind, field in ((False, "ip", "nw"), (True, "ipv6", "ipv6")):
            text = ipv6 if six else ipv4
            for own, other in self._translation.pairs(six):
                if self._translation.is_source:
                    yield f"{kind},{field}_src={text(own)}", self._commits(f"nat(src={text(other)})", where)
                    continue
                clients = [text(address) for address in (ADDRESSES6 if six else ADDRESSES)[:2]]
                ports = [(f"{name}{'6' if six else ''}", f",tp_dst={theirs}", f":{ours}") for name in ("tcp", "udp")
                         for theirs, ours in zip(OTHER_PORTS, SERVER_PORTS)] if self._translation.has_ports else [(kind, "", "")]
                for (name, match, port), client in product(ports, clients):
                    target = f"[{text(own)}]{port}" if six and port else f"{text(own)}{port}"
                    yield (f"{name},{field}_src={client},{field}_dst={text(other)}{match}",
                           self._commits(f"nat(dst={target})", where))

    def _commits(self, translation, where):
        return f"ct(commit,{where},{translation}{self._exec()})"


def drawn(seed, number):
    """Case `number` of a run."""
    seed = f"tracking/{seed}/{number}"
    choice = Draw(f"{seed}/translation")
    translation = Translation(choice.chance(2), choice.chance(2)) if choice.chance(4) else None
    flows = [line if bridge == "br0" else f"{bridge} {line}" for bridge in BRIDGES
             for line in _drawer(f"{seed}/{bridge}", bridge, translation).lines()]
    case = Case(dict.fromkeys(NAMES, ALL_TAGGED), flows, [])
    packets = ConversationDraw(f"{seed}/frames", translation).packets(PACKETS)
    return replace(case, packets=[packet for packet in packets if not is_meant(packet[1], case)])


def _drawer(seed, bridge, translation):
    """Behind the patch nothing is translated again."""
    if translation and bridge == "br0":
        return TranslatingDraw(seed, bridge, translation)
    return TrackingDraw(seed, bridge)
