"""Flows that packets teach against Open vSwitch: the golden cases are what a real ovs-vswitchd has after each packet.

DataplaneTests holds Martlet to the same cases. They are made by
    python3 Tests/Interop/test_flow_learning.py
into Tests/DataplaneTests/Golden/learned.txt: chosen flow tables, random ones from a fixed seed, packets, and the flows that
come and go with each. Open vSwitch learns before a packet leaves; Martlet soon after, which makes no difference here.
"""

import itertools
import random
import sys
import tempfile
import threading

import pytest

from dummy_switch import DummySwitch
from frames import BROADCAST, customer, frame, station
from netns import KernelPeer, Namespace
from processes import eventually
from test_flow_walks import GOLDEN
from twins import MartletTwin, OpenVSwitchTwin

NAME = "learned.txt"
HEADER = """# Flow tables, packets (>), and the flows that ovs-vswitchd has more (+) and no longer (-) after each. Made by
# python3 Tests/Interop/test_flow_learning.py
"""
CASES = 120
A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
_TCP = "tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80"
_TCP6 = "tcp6,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,tp_src=1000,tp_dst=80"
_STATION = "NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]"

CHOSEN = [
    # What a Neutron agent has in br-tun.
    (["table=0,actions=load:0x42->NXM_NX_TUN_ID[],learn(table=20,hard_timeout=300,priority=1,cookie=0x4ebfae75f53efda,"
      f"{_STATION},load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[]),output:1"],
     [f"in_port=2,dl_src={A},dl_vlan=5", f"in_port=3,dl_src={A},dl_vlan=5", f"in_port=3,dl_src={B},dl_vlan=6"]),
    # A station that moves: the timeouts and flags of the flow that is there stay, the cookie does not.
    ([f"table=1,priority=7,idle_timeout=5,send_flow_rem,cookie=1,vlan_tci=0/0xfff,dl_dst={A},actions=drop",
      f"table=0,actions=learn(table=1,priority=7,hard_timeout=9,cookie=2,{_STATION},output:NXM_OF_IN_PORT[])"],
     [f"in_port=2,dl_src={A}", f"in_port=3,dl_src={A}"]),
    # This cookie means that the one which is there stays.
    ([f"table=1,priority=7,cookie=1,dl_dst={A},actions=drop",
      "table=0,actions=learn(table=1,priority=7,cookie=0xffffffffffffffff,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])"],
     [f"in_port=2,dl_src={A}"]),
    (["tcp,actions=learn(table=1,idle_timeout=60,fin_idle_timeout=5,fin_hard_timeout=3,send_flow_rem,eth_type=0x800,"
      "nw_proto=6,NXM_OF_IP_SRC[]=NXM_OF_IP_DST[],NXM_OF_IP_DST[]=NXM_OF_IP_SRC[],NXM_OF_TCP_SRC[]=NXM_OF_TCP_DST[],"
      "NXM_OF_TCP_DST[]=NXM_OF_TCP_SRC[],output:NXM_OF_IN_PORT[])"], [f"in_port=1,{_TCP}", f"in_port=2,{_TCP}"]),
    (["tcp6,actions=learn(table=1,eth_type=0x86dd,nw_proto=6,NXM_NX_IPV6_SRC[]=NXM_NX_IPV6_DST[],NXM_NX_IPV6_DST[0..99]="
      "NXM_NX_IPV6_SRC[0..99],NXM_OF_TCP_SRC[]=NXM_OF_TCP_DST[],load:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],"
      "load:NXM_NX_IPV6_SRC[20..119]->NXM_NX_XXREG0[3..102])"], [f"in_port=1,{_TCP6}"]),
    # Outputs to reserved ports, to none, and to what is no port.
    (["actions=learn(table=1,NXM_OF_ETH_SRC[],output:NXM_OF_ETH_SRC[0..15],output:NXM_OF_ETH_SRC[0..31])"],
     [f"in_port=1,dl_src=02:00:00:00:{port}" for port in
      ("ff:f8", "ff:f9", "ff:fa", "ff:fb", "ff:fc", "ff:fd", "ff:fe", "ff:ff", "00:00", "fe:ff", "ff:00")]
     + ["in_port=1,dl_src=02:00:00:01:00:02"]),
    # At most so many of a table and cookie, whoever added them.
    (["table=1,cookie=3,priority=9,in_port=7,actions=drop",
      "table=0,actions=learn(table=1,cookie=3,limit=3,NXM_OF_ETH_SRC[])"],
     [f"in_port=1,dl_src=02:00:00:00:00:0{number}" for number in (1, 2, 1, 3, 2)]),
    # In a clone, after what it changed; through resubmit; to its own table.
    ([f"table=0,actions=clone(mod_dl_src:{B},learn(table=1,NXM_OF_ETH_SRC[])),resubmit(5,3),learn(table=2,"
      "NXM_OF_ETH_SRC[])", "table=3,actions=learn(table=3,priority=9,NXM_OF_IN_PORT[],output:NXM_OF_IN_PORT[])"],
     [f"in_port=1,dl_src={A}"]),
    # The flow is what the packet is by then.
    (["actions=load:3->NXM_NX_REG0[0..15],mod_vlan_vid:9,learn(table=0,priority=65535,NXM_OF_ETH_SRC[],"
      "NXM_OF_VLAN_TCI[0..11],output:NXM_NX_REG0[0..15]),output:2"], [f"in_port=1,dl_src={A},dl_vlan=5"]),
    # A flow that learns flows that would learn.
    (["actions=learn(table=1)", "table=1,actions=drop"], ["in_port=1", "in_port=2"]),
    # A flow that is learned in the place of one that taught: what that taught goes.
    ([f"table=1,priority=7,dl_dst={A},actions=learn(table=2,cookie=5,delete_learned,NXM_OF_ETH_SRC[])",
      "table=2,cookie=5,in_port=3,actions=learn(table=3,cookie=6,delete_learned)", "table=3,cookie=6,actions=drop",
      "table=0,actions=learn(table=1,priority=7,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])"], [f"in_port=2,dl_src={A}"]),
    # The end of a connection shortens timeouts, of the flow whose actions run, and never makes them longer.
    (["tcp,actions=fin_timeout(idle_timeout=5,hard_timeout=9),resubmit(,1)",
      "table=1,tcp,idle_timeout=4,hard_timeout=20,actions=fin_timeout(idle_timeout=5,hard_timeout=7),resubmit(,2)",
      "table=2,tcp,actions=fin_timeout(hard_timeout=3)", "udp,idle_timeout=9,actions=resubmit(,1)"],
     [f"in_port=1,{_TCP},tcp_flags={flags}" for flags in ("0x012", "0x010")] + ["in_port=1,udp"]
     + [f"in_port=1,{_TCP},tcp_flags=0x011"]),
    (["tcp,actions=fin_timeout(idle_timeout=5)"], [f"in_port=1,{_TCP},tcp_flags=0x004"]),
    # Matches of few bits, of fields that others lie within.
    (["arp,actions=learn(table=1,eth_type=0x806,NXM_OF_ARP_OP[],NXM_OF_ARP_SPA[8..31]=NXM_OF_ARP_TPA[0..23],"
      "NXM_NX_ARP_THA[]=NXM_NX_ARP_SHA[],load:NXM_OF_ARP_OP[]->NXM_NX_REG0[0..15])"],
     [f"in_port=1,arp,arp_op=2,arp_spa=10.0.0.1,arp_tpa=10.1.2.3,arp_sha={A},arp_tha={B}"]),
    # NXM_NX_IP_ECN and OXM_OF_IP_DSCP are left out: Open vSwitch 3.1 forgets to match them, against its manual.
    (["ip,actions=learn(table=1,eth_type=0x800,NXM_OF_IP_TOS[],NXM_NX_IP_TTL[],NXM_NX_IP_FRAG[],NXM_OF_IP_PROTO[])"], ["in_port=1,icmp,nw_tos=32,nw_ecn=2,nw_ttl=9", "in_port=1,ip,nw_frag=later,nw_proto=17"]),
    (["ipv6,actions=learn(table=1,eth_type=0x86dd,NXM_NX_IPV6_LABEL[])"],
     ["in_port=1,ipv6,ipv6_label=0x12345,nw_tos=32"]),
    (["vlan_tci=0x1000/0x1000,actions=learn(table=1,vlan_tci=0x1005,OXM_OF_VLAN_VID[0..11],NXM_NX_REG0[0..2]="
      "OXM_OF_VLAN_PCP[])"], ["in_port=1,dl_vlan=9,dl_vlan_pcp=3"]),
    (["actions=learn(table=1,OXM_OF_VLAN_VID[],load:OXM_OF_VLAN_VID[]->NXM_NX_REG0[0..12])"],
     ["in_port=1,dl_vlan=9", "in_port=1"]),
]

MATCHES = ["NXM_OF_VLAN_TCI[0..11]", "NXM_OF_VLAN_TCI[]", "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]", "NXM_OF_ETH_SRC[]",
           "NXM_OF_ETH_DST[0..39]", "NXM_OF_IN_PORT[]", "NXM_NX_REG0[0..15]=NXM_OF_IN_PORT[]", "NXM_NX_REG1[3..10]=5",
           "NXM_NX_TUN_ID[]", "NXM_NX_REG0[]=NXM_NX_TUN_ID[4..35]", "OXM_OF_METADATA[0..7]=NXM_NX_REG0[4..11]",
           "NXM_OF_ETH_TYPE[]", "OXM_OF_METADATA[]=7", "NXM_NX_XXREG1[8..107]=NXM_NX_XXREG0[0..99]", "NXM_NX_PKT_MARK[]",
           "in_port=3", f"dl_dst={A}", "NXM_NX_REG3[]=0", "NXM_NX_XXREG1[]=NXM_NX_XXREG0[]"]
ACTIONS = ["output:NXM_OF_IN_PORT[]", "output:OXM_OF_IN_PORT[]", "output:NXM_NX_REG0[0..15]", "output:NXM_NX_REG1[]",
           "load:0->NXM_OF_VLAN_TCI[]", "load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[]", "load:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
           "load:NXM_OF_ETH_SRC[16..47]->NXM_NX_REG2[]", "load:NXM_NX_XXREG0[]->NXM_NX_XXREG1[]", "load:0x1f->NXM_NX_REG4[1..9]",
           "load:NXM_NX_XXREG0[5..99]->NXM_NX_XXREG1[20..114]", "load:NXM_OF_IN_PORT[]->NXM_NX_REG5[16..31]",
           "load:0xfedcba9876543210->OXM_OF_METADATA[]", "load:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG6[4..15]"]
SETTINGS = ["idle_timeout=7", "hard_timeout=8", "cookie=0x7", "priority=9", "send_flow_rem", "fin_idle_timeout=2",
            "fin_hard_timeout=3", "limit=2", "delete_learned"]


class Generator:
    """Flows that learn whatever they can, and packets of few values, so that they teach the same flows."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def _some(self, values, share):
        return [value for value in values if self._random.random() < share]

    def _learn(self):
        parts = [f"table={self._random.randrange(1, 4)}"] + self._some(SETTINGS, 0.15)
        parts += self._random.sample(MATCHES, self._random.randrange(0, 4)) + self._some(ACTIONS, 0.12)
        return f"learn({','.join(parts)})"

    def case(self):
        before = self._some(["load:0x30002->NXM_NX_REG0[]", "load:2->NXM_NX_REG1[]", "set_tunnel:0x123456789",
                             f"mod_dl_src:{B}", "mod_vlan_vid:7", "strip_vlan", "set_field:9->pkt_mark"], 0.3)
        flows = ["actions=" + ",".join(before + [self._learn(), "resubmit(,1)", self._learn()]),
                 f"table={self._random.randrange(1, 4)},priority=5,in_port=1,actions=" + self._learn()]
        packets = [f"in_port={self._random.randrange(1, 3)},dl_src={self._random.choice([A, B])}"
                   + self._random.choice(["", "", ",dl_vlan=5", ",dl_vlan=5,dl_vlan_pcp=3"]) for _ in range(3)]
        return flows, packets


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    switch = DummySwitch(tmp_path_factory.mktemp("ovs"))
    yield switch
    switch.stop()


def golden(switch, count):
    generator = Generator(3)
    text = []
    for flows, packets in CHOSEN + [generator.case() for _ in range(count)]:
        taken, dumps = switch.learned_flows(flows, packets)
        text += taken
        for packet, before, after in zip(packets, dumps, dumps[1:]):
            text += [f"> {packet}", *(f"- {flow}" for flow in sorted(before - after)),
                     *(f"+ {flow}" for flow in sorted(after - before))]
        text.append("")
    return "\n".join(text) + "\n"


# --- a tunnel bridge, frame for frame -----------------------------------------------------------------------------

AGENT = GOLDEN.parents[1] / "FlowsTests/Golden/neutron"
# br-tun has numbers for the VLANs of the host, and keys for those of the tunnels.
GRE, KEY, VLAN = 3, "0x85d", 1


def tunnel_flows():
    """The agent's br-tun on ports without tunnels: what comes in is given its tunnel's key."""
    numbers = {"patch-int": 1, "vxlan-7f000002": 2, "gre-7f000002": GRE, "vxlan-7f000003": 4}
    text = (AGENT / "br-tun.flows").read_text()
    for name, number in numbers.items():
        text = text.replace(f'"{name}"', str(number))
    return text.replace(f"in_port={GRE} actions=", f"in_port={GRE} actions=set_tunnel:{KEY},").splitlines()


def test_the_answer_to_a_tunnel_goes_back_there_alone(room):
    (room.directory / "ovs").mkdir()
    switches = [room.keeps(OpenVSwitchTwin(room.directory / "ovs")), MartletTwin(room)]
    tested = switches[1]
    flows = tunnel_flows()
    assert any("learn(" in flow for flow in flows)
    remote, guest = station(0xE1), station(0xE2)
    asks = [(GRE, [frame(remote, BROADCAST, length=70)])]
    answers = [(1, [frame(guest, remote, tags=[customer(VLAN)], length=80)])]
    for switch in switches:
        switch.load(flows)
    flooded = [switch.exchange([(1, [frame(guest, station(0xE3), tags=[customer(VLAN)])])]) for switch in switches]
    assert flooded[0] == flooded[1] and list(flooded[0][0]) == [GRE]
    left = [switch.exchange(asks) for switch in switches]
    assert left[0] == left[1] and list(left[0][0]) == [1]

    def is_learned():
        lines = tested.daemon.call("flow.dump", bridge="br0", match="table=20", lines=True)["result"]["lines"]
        return any(f"dl_dst={remote} " in line for line in lines)

    eventually(is_learned, 10, "the learned flow")
    for _ in range(3):
        left = [switch.exchange(answers) for switch in switches]
        assert left[0] == left[1] == [{GRE: [frame(guest, remote, length=80)]}]


# --- a flood of stations ------------------------------------------------------------------------------------------

# Flows that one learn action keeps.
LEARNED_LIMIT = 65_536
FLOODED = """table=0,priority=1,in_port=guest actions=learn(table=9,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])
table=0,priority=0 actions=NORMAL
"""


class Flood:
    """A guest that is another station with each frame, from a thread of its own until it is left."""

    def __init__(self, peer):
        self._peer = peer
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error = None

    def _run(self):
        whole = frame(station(1), BROADCAST)
        try:
            for number in itertools.count(0x02_00_00_00_00_00):
                if self._ended.is_set():
                    return
                self._peer.send(whole[:6] + number.to_bytes(6, "big") + whole[12:])
        except OSError as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join(10)


def test_a_flood_of_stations_fills_no_more_than_its_bound_and_commands_are_answered(room):
    namespace = room.keeps(Namespace("near"))
    daemon = room.daemon(namespace=namespace, hugepages=False)
    daemon.add_bridge()
    daemon.add_bridge("br1")
    for name in ("guest", "up"):
        daemon.add_port(name, "tap")
        namespace.bring_up(name)
    daemon.wait_for_link("guest", "up")
    daemon.ctl("flow", "replace", "br0", "--file", "-", input=FLOODED)
    guest = room.keeps(KernelPeer(namespace, "guest"))

    def learned():
        return daemon.json("stats", "cache")["learned"]

    def rounds_of_commands_until_flows_are_evicted():
        daemon.ctl("flow", "add", "br1", "in_port=1 actions=drop")
        assert len(daemon.ctl("flow", "dump", "br1", "--no-stats").stdout.splitlines()) == 2
        daemon.ctl("flow", "del", "br1", "in_port=1")
        daemon.ctl("port", "list")
        return learned()["evicted"]
    with Flood(guest) as flood:
        eventually(rounds_of_commands_until_flows_are_evicted, 120, "flows that make room")
        assert flood.error is None
    # What was on its way when the flood ended.
    eventually(lambda: learned() == learned(), 10, "an end of learning")
    figures = learned()
    assert figures["added"] - figures["evicted"] <= LEARNED_LIMIT
    lines = daemon.ctl("flow", "dump", "br0", "--no-stats").stdout.splitlines()
    assert len(lines) == figures["added"] - figures["evicted"] + 2


# --- the golden cases ---------------------------------------------------------------------------------------------

def test_golden_flows_are_what_open_vswitch_learns(switch):
    written = (GOLDEN / NAME).read_text().removeprefix(HEADER)
    # The first of the random ones are made again: a process for each packet takes its time.
    assert written.startswith(golden(switch, 10).rstrip("\n"))


def main():
    with tempfile.TemporaryDirectory() as directory:
        switch = DummySwitch(directory)
        try:
            (GOLDEN / NAME).write_text(HEADER + golden(switch, CASES))
        finally:
            switch.stop()


if __name__ == "__main__":
    sys.exit(main())
