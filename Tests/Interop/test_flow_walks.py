"""What flows do to packets against Open vSwitch: the golden cases are what a real ovs-vswitchd traces.

DataplaneTests holds Martlet's walk through the tables to the same cases. They are made by
    python3 Tests/Interop/test_flow_walks.py
into Tests/DataplaneTests/Golden: random flow tables from a fixed seed, packets, and the datapath's actions. walks.txt has
what OpenFlow 1.0 has, features.txt what decides otherwise than by a table and its actions in order.
"""

import random
import re
import sys
import tempfile
from pathlib import Path

import pytest

from dummy_switch import DummySwitch

GOLDEN = Path(__file__).resolve().parent.parent / "DataplaneTests" / "Golden"
NAMES = ["walks.txt", "features.txt"]
HEADER = """# Flow tables, packets (>) and what ovs-vswitchd does with them (=). Made by
# python3 Tests/Interop/test_flow_walks.py
"""
CASES, FLOWS, PACKETS = 160, 10, 8
MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"]
ADDRESSES = ["10.0.0.1", "10.0.1.2", "192.168.0.3"]
KINDS = ["ip", "tcp", "udp", "arp", "ipv6", "tcp6", "icmp"]
ADDRESSES6 = ["2001:db8::1", "2001:db8::2", "fe80::3"]


# What the random cases meet too rarely.
_TTL = "in_port=1,icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl="
CHOSEN = [
    # Only a resubmit to the same or an earlier table counts for the depth, and an end by depth drops all.
    (["table=0,actions=output:2,resubmit(,2),output:3", "table=2,actions=resubmit(,1)",
      "table=1,icmp,actions=dec_ttl,resubmit(,1)"], [_TTL + "1", _TTL + "64", _TTL + "65", _TTL + "255"]),
    # An exit ends all, also from within a clone.
    (["table=0,actions=clone(mod_dl_dst:02:00:00:00:00:09,output:2,resubmit(,1),output:4),output:3",
      "table=1,nw_ttl=1,icmp,actions=exit", "table=1,priority=1,actions=strip_vlan"],
     [_TTL + "1", _TTL + "2", "in_port=1,dl_vlan=5," + _TTL[10:] + "2"]),
    # What was edited before an inner clone is undone after the outer one.
    (["table=0,actions=clone(mod_dl_src:02:00:00:00:00:09,output:2,clone(output:3),output:4),output:5"],
     ["in_port=1,dl_src=02:00:00:00:00:01," + _TTL[10:] + "2"]),
]


class Generator:
    """Flows and packets of few values, so that they meet."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def _pick(self, *values):
        return self._random.choice(values)

    def _some(self, *values):
        return [value for value in values if self._random.random() < 0.2]

    def case(self):
        priorities = self._random.sample(range(1, 1000), FLOWS)
        return [self._flow(priority) for priority in priorities], [self.packet() for _ in range(PACKETS)]

    # Matches

    def _kind(self):
        return self._pick("", "", "ip", "tcp", "udp", "arp", "ipv6", "tcp6", "icmp")

    def _flow(self, priority):
        kind = self._kind()
        match = [f"table={self._pick(0, 0, 1, 2)}", f"priority={priority}"] + ([kind] if kind else [])
        match += self._some(
            f"in_port={self._pick(1, 2)}", f"dl_src={self._pick(*MACS[:2])}",
            f"dl_dst={self._pick(*MACS, '01:00:00:00:00:00/01:00:00:00:00:00')}",
            self._pick("dl_vlan=5", "dl_vlan=7", "dl_vlan=0xffff", "vlan_tci=0x1000/0x1000", "dl_vlan=5,dl_vlan_pcp=3"),
            f"reg0={self._pick('0', '1', '0x10/0xf0')}", f"metadata={self._pick('0', '1/1')}")
        if kind in ("ip", "tcp", "udp", "icmp"):
            match += self._some(f"nw_src={self._pick(*ADDRESSES, '10.0.0.0/16')}", f"nw_dst={self._pick(*ADDRESSES)}",
                                f"nw_tos={self._pick(0, 32)}", f"nw_ttl={self._pick(1, 64)}")
        if kind in ("ipv6", "tcp6"):
            match += self._some(f"ipv6_src={self._pick(*ADDRESSES6, '2001:db8::/32')}")
        if kind in ("tcp", "udp", "tcp6"):
            match += self._some(f"tp_dst={self._pick(80, '0x50/0xfff0')}", f"tp_src={self._pick(1, 1000)}")
        if kind == "arp":
            match += self._some(f"arp_op={self._pick(1, 2)}", f"arp_tpa={self._pick(*ADDRESSES)}")
        return ",".join(match) + " actions=" + ",".join(self._actions(kind))

    # Actions

    def _actions(self, kind):
        return [self._action(kind) for _ in range(self._pick(1, 2, 3, 4, 6))] + self._last()

    def _last(self):
        return self._pick([], [f"resubmit(,{self._pick(1, 2)})"], [f"goto_table:{self._pick(1, 2)}"], ["exit"],
                          [f"output:{self._pick(2, 3)}"])

    def _action(self, kind):
        choices = [
            lambda: f"output:{self._pick(1, 2, 3, 4)}", lambda: f"output:{self._pick(1, 2, 3, 4)}", lambda: "IN_PORT",
            lambda: f"resubmit({self._pick('', 2)},{self._pick(1, 2)})",
            lambda: f"mod_vlan_vid:{self._pick(5, 7, 100)}", lambda: f"mod_vlan_pcp:{self._pick(0, 3)}",
            lambda: "strip_vlan", lambda: f"mod_dl_src:{self._pick(*MACS[:2])}", lambda: f"mod_dl_dst:{self._pick(*MACS)}",
            lambda: f"load:{self._pick('0x1', '0x12', '0')}->NXM_NX_REG0[{self._pick('', '0..7', '4')}]",
            lambda: "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]", lambda: "move:NXM_NX_REG0[0..15]->NXM_NX_REG1[16..31]",
            lambda: "load:0x1->OXM_OF_METADATA[]", lambda: "push:NXM_OF_ETH_SRC[]", lambda: "pop:NXM_OF_ETH_DST[]",
            lambda: "output:NXM_NX_REG0[]", lambda: "load:0x3->NXM_NX_REG0[]",
            lambda: f"clone({self._action(kind)},output:{self._pick(2, 3)})",
        ]
        if kind in ("ip", "tcp", "udp", "icmp"):
            choices += [lambda: f"mod_nw_src:{self._pick(*ADDRESSES)}", lambda: f"mod_nw_dst:{self._pick(*ADDRESSES)}",
                        lambda: f"mod_nw_tos:{self._pick(0, 32)}", lambda: "dec_ttl",
                        lambda: "move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[]"]
        if kind in ("ipv6", "tcp6"):
            choices += [lambda: f"set_field:{self._pick(*ADDRESSES6)}->ipv6_dst", lambda: "dec_ttl",
                        lambda: "move:NXM_NX_IPV6_SRC[0..63]->NXM_NX_IPV6_DST[64..127]"]
        if kind in ("tcp", "udp", "tcp6"):
            choices += [lambda: f"mod_tp_dst:{self._pick(80, 8080)}", lambda: f"mod_tp_src:{self._pick(1, 9)}"]
        if kind == "arp":
            choices += [lambda: "load:0x2->NXM_OF_ARP_OP[]", lambda: "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
                        lambda: "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]", lambda: "load:0xa000009->NXM_OF_ARP_SPA[]"]
        return self._pick(*choices)()

    # Packets

    def packet(self):
        kind = self._pick("tcp", "udp", "arp", "ipv6", "tcp6", "icmp")
        parts = [f"in_port={self._pick(1, 2)}", f"dl_src={self._pick(*MACS[:2])}", f"dl_dst={self._pick(*MACS)}"]
        parts += self._pick([], [], [f"dl_vlan={self._pick(5, 7)}", f"dl_vlan_pcp={self._pick(0, 3)}"])
        if kind in ("tcp", "udp", "icmp"):
            parts += [kind, f"nw_src={self._pick(*ADDRESSES)}", f"nw_dst={self._pick(*ADDRESSES)}",
                      f"nw_tos={self._pick(0, 32)}", f"nw_ttl={self._pick(1, 2, 64)}"]
        if kind in ("ipv6", "tcp6"):
            parts += [kind, f"ipv6_src={self._pick(*ADDRESSES6)}", f"ipv6_dst={self._pick(*ADDRESSES6)}",
                      f"nw_ttl={self._pick(1, 64)}"]
        if kind == "ipv6":
            # Open vSwitch edits no network header whose protocol is 0.
            parts += ["nw_proto=59"]
        if kind in ("tcp", "udp", "tcp6"):
            name = kind.rstrip("6")
            parts += [f"{name}_src={self._pick(1, 1000)}", f"{name}_dst={self._pick(80, 81, 443)}"]
        if kind == "arp":
            parts += [kind, f"arp_op={self._pick(1, 2)}", f"arp_spa={self._pick(*ADDRESSES)}",
                      f"arp_tpa={self._pick(*ADDRESSES)}", f"arp_sha={MACS[0]}", f"arp_tha={self._pick(*MACS)}"]
        return ",".join(parts)


# What the random cases of features meet too rarely.
CHOSEN_FEATURES = [
    # A rule of lower priority takes the place of one with clauses that has the same match and comes to nothing.
    (["priority=9,in_port=1,actions=conjunction(1,1/2)", "priority=5,in_port=1,actions=output:3",
      "priority=9,dl_src=02:00:00:00:00:01,actions=conjunction(1,2/2)", "conj_id=1,priority=1,actions=output:2",
      "priority=0,actions=output:4"],
     ["in_port=1,dl_src=02:00:00:00:00:02", "in_port=1,dl_src=02:00:00:00:00:01", "in_port=2"]),
    # A conjunction without a flow leads to what has no clauses; conj_id is not there for the next table.
    (["priority=9,in_port=1,actions=conjunction(1,1/2),conjunction(2,1/3)",
      "priority=9,dl_src=02:00:00:00:00:01,actions=conjunction(1,2/2),conjunction(2,2/3)",
      "priority=9,dl_dst=02:00:00:00:00:02,actions=conjunction(2,3/3)", "priority=2,actions=output:4",
      "conj_id=2,priority=3,actions=output:3,resubmit(,1)", "table=1,conj_id=0,actions=output:5"],
     ["in_port=1,dl_src=02:00:00:00:00:01", "in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02"]),
    # An action set is run at the end, but not after an exit, once, in its own order, and not without an output.
    (["actions=output:5,resubmit(,1),output:6",
      "table=1,priority=4,ip,dl_vlan=5,actions=write_actions(output:2,pop_vlan,mod_dl_src:02:00:00:00:00:09,dec_ttl,output:3)",
      "table=1,dl_vlan=7,actions=write_actions(pop_vlan)", "table=1,priority=1,actions=exit,write_actions(output:4)",
      "table=1,priority=2,ip,actions=write_actions(mod_dl_dst:02:00:00:00:00:09,resubmit(,2)),goto_table:2",
      "table=2,actions=output:7,write_actions(mod_dl_dst:02:00:00:00:00:08)"],
     [_TTL + "1", "in_port=1,dl_vlan=5," + _TTL[10:] + "2", "in_port=1,dl_vlan=5," + _TTL[10:] + "1",
      "in_port=1,dl_vlan=7", "in_port=1"]),
    # What a clone writes is its own, and so is its stack.
    (["in_port=1,actions=push:NXM_OF_ETH_SRC[],clone(pop:NXM_OF_ETH_DST[],output:2),resubmit(,1)",
      "table=1,actions=pop:NXM_OF_ETH_DST[],clone(resubmit(,2),output:3),write_actions(output:4)",
      "table=2,actions=clear_actions,write_actions(mod_dl_src:02:00:00:00:00:09,output:5)"],
     ["in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02"]),
    (["actions=resubmit(,1),clone(push:NXM_OF_ETH_SRC[],output:3),pop:NXM_OF_ETH_DST[],output:2",
      "table=1,actions=write_actions(mod_dl_dst:02:00:00:00:00:09,output:4)"],
     ["in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02"]),
    (["actions=exit,output:2,write_actions(output:3)"], ["in_port=1"]),
    (["actions=resubmit(,1),output:4,write_actions(output:3)", "table=1,actions=exit"], ["in_port=1"]),
    # A bucket is an action set on a copy of the packet; an end in it is none of what is behind the group.
    (["group_id=1,type=all,bucket=actions=output:2,mod_dl_src:02:00:00:00:00:09,output:3,bucket=actions=resubmit(,1)",
      "group_id=2,type=indirect,bucket=actions=mod_dl_dst:02:00:00:00:00:08,group:1",
      "group_id=3,type=ff,bucket=watch_group:2,actions=output:5,bucket=watch_port:1,actions=output:6",
      "group_id=4,type=select,selection_method=hash,fields(eth_src),bucket=weight:0,actions=output:5,bucket=weight:1,actions=output:6",
      "group_id=5,type=all,bucket=actions=mod_dl_dst:02:00:00:00:00:08",
      "actions=output:7,group:2,output:4,group:3,group:4,group:5,output:8,resubmit(,2)",
      "table=1,actions=mod_dl_dst:02:00:00:00:00:07,output:5,exit",
      "table=2,actions=write_actions(mod_dl_src:02:00:00:00:00:01,group:1,output:2)"],
     ["in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02"]),
    # What is behind a check of the length, and the action set too, is done to a copy.
    (["actions=resubmit(,1),output:6", "table=2,reg0=1,actions=output:3", "table=2,reg0=0,actions=output:4",
      "table=1,actions=check_pkt_larger(1500)->NXM_NX_REG0[0],mod_dl_src:02:00:00:00:00:09,output:2,resubmit(,2)"],
     ["in_port=1,dl_src=02:00:00:00:00:01"]),
    (["actions=output(port=1,max_len=100),output(port=2,max_len=100),mod_dl_src:02:00:00:00:00:09,output:3"],
     ["in_port=1,dl_src=02:00:00:00:00:01"]),
    (["actions=write_actions(output:3),goto_table:1", "table=1,actset_output=3,actions=output:2,clear_actions"],
     ["in_port=1"]),
]


class FeatureGenerator(Generator):
    """The same with conjunctions, action sets or groups."""

    def case(self):
        flows, packets = super().case()
        kind = self._pick("conjunction", "set", "group")
        if kind == "conjunction":
            return flows + self._conjunctions(), packets
        if kind == "group":
            return self._groups() + [self._with_group(flow) for flow in flows], packets
        return [self._with_set(flow) for flow in flows], packets

    # Action sets

    def _with_set(self, flow):
        match, actions = flow.split(" actions=")
        kind = next((word for word in match.split(",") if word in KINDS), "")
        # The versions of OpenFlow that have action sets and groups make others of mod_vlan_vid.
        if self._pick(0, 1) or "mod_vlan" in actions:
            return flow
        rest = ""
        if "goto_table" in actions:
            actions, table = actions.rsplit(",", 1)
            rest = "," + table
        if self._pick(0, 0, 0, 1):
            actions += ",clear_actions"
        members = [member for member in (self._action(kind) for _ in range(self._pick(1, 2, 4, 6)))
                   if not member.startswith(("push:", "pop:", "clone", "output:N", "mod_vlan"))]
        if members:
            actions += f",write_actions({','.join(members)})"
        return f"{match} actions={actions}{rest}"

    # Groups

    def _groups(self):
        """Each uses those before it."""
        groups = []
        for number in range(1, 5):
            kind = self._pick("all", "all", "indirect", "ff")
            watch = "watch_port:3," if kind == "ff" else ""
            buckets = [f"bucket={watch}actions={','.join(self._bucket(number))}"
                       for _ in range(1 if kind == "indirect" else self._pick(1, 2, 3))]
            groups.append(f"group_id={number},type={kind}," + ",".join(buckets))
        return groups

    def _bucket(self, number):
        members = [self._action("") for _ in range(self._pick(0, 1, 3))]
        members = [member for member in members
                   if not member.startswith(("push:", "pop:", "clone", "output:N", "mod_vlan", "resubmit(2"))]
        used = [f"group:{one}" for one in range(1, number)]
        return members + [self._pick("output:2", "output:3", "output:4", "IN_PORT", "resubmit(,2)", *used)]

    def _with_group(self, flow):
        if self._pick(0, 1) or "mod_vlan" in flow:
            return flow
        match, actions = flow.split(" actions=")
        actions = actions.split(",")
        return f"{match} actions={','.join([f'group:{self._pick(1, 2, 3, 4)}'] + actions)}"

    # Conjunctions

    def _conjunctions(self):
        flows = []
        for number in range(1, self._pick(2, 3)):
            table, priority = self._pick(0, 0, 1), self._random.randrange(100, 1100)
            flows += self._conjunction(number * 10, self._pick(2, 2, 3), f"table={table}", priority)
        return flows

    def _conjunction(self, number, count, table, priority):
        # Two that may be met together do the same: which one it is, is nobody's promise.
        numbers = [number] + self._pick([], [number + 1])
        actions = ",".join(self._actions(""))
        flows = [f"{table},priority={self._random.randrange(1, 1000)},conj_id={one} actions={actions}" for one in numbers]
        for clause in range(1, count + 1):
            said = ",".join(f"conjunction({one},{clause}/{count})" for one in numbers)
            for match in self._random.sample(self._alternatives(clause), self._pick(1, 2)):
                flows.append(f"{table},priority={priority},{match} actions={said}")
        return flows

    def _alternatives(self, clause):
        """Matches of one dimension, as clauses have them."""
        if clause == 1:
            return ["in_port=1", "in_port=2", f"dl_src={MACS[0]}", f"dl_src={MACS[1]}"]
        if clause == 2:
            return [f"dl_dst={MACS[0]}", f"dl_dst={MACS[1]}", f"dl_dst={MACS[2]}", "ip", "ip,nw_src=10.0.0.0/16"]
        return ["ip,nw_tos=0", "ip,nw_tos=32", "dl_vlan=5", "dl_vlan=0xffff", "reg0=0"]


def cases(switch, chosen, generator, count):
    for flows, packets in chosen + [generator.case() for _ in range(count)]:
        taken, actions = switch.datapath_actions(flows, packets)
        yield taken, list(zip(packets, actions))


def text_of(taken, traces):
    lines = taken + [line for packet, actions in traces for line in (f"> {packet}", f"= {actions}")]
    return "\n".join(lines) + "\n\n"


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    switch = DummySwitch(tmp_path_factory.mktemp("ovs"))
    yield switch
    switch.stop()


def golden(name, switch, count):
    chosen, generator = {"walks.txt": (CHOSEN, Generator(1)),
                         "features.txt": (CHOSEN_FEATURES, FeatureGenerator(2))}[name]
    return "".join(text_of(*case) for case in cases(switch, chosen, generator, count))


def steady(text):
    """Without the numbers that ovs-vswitchd gives away one after the other."""
    return re.sub(r"recirc_id=\d+", "recirc_id=", text)


@pytest.mark.parametrize("name", NAMES)
def test_golden_walks_are_what_open_vswitch_traces(switch, name):
    written = (GOLDEN / name).read_text().removeprefix(HEADER)
    # The first of them are asked again: a process for each flow and packet takes its time.
    assert steady(written).startswith(steady(golden(name, switch, 10)))


def main():
    with tempfile.TemporaryDirectory() as directory:
        switch = DummySwitch(directory)
        try:
            GOLDEN.mkdir(exist_ok=True)
            for name in NAMES:
                (GOLDEN / name).write_text(HEADER + golden(name, switch, CASES))
        finally:
            switch.stop()


if __name__ == "__main__":
    sys.exit(main())
