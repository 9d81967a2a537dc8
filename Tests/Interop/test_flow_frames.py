"""Martlet's flows against Open vSwitch's, frame for frame: the same tables, the same frames, and what leaves each port
compared byte for byte, with the counters of the flows.

    MARTLET_TEST_SEED=7 /usr/bin/python3 -m pytest Tests/Interop/test_flow_frames.py

A difference is shrunk and printed as a section for flow_frames.txt, whose cases are run again every time. What is meant
to differ is in `flow_cases.MEANT`, with reasons.
"""

import os
import time
from pathlib import Path

import pytest

from differences import Shrinker, difference
from flow_cases import ALL_TAGGED, Case, CaseDraw, drawn, is_meant
from random_frames import FrameDraw
from twins import NAMES, PORTS, MartletTwin, OpenVSwitchTwin

GOLDEN = Path(__file__).with_name("flow_frames.txt")
SEED = os.environ.get("MARTLET_TEST_SEED", "1")
CASES, LONG_CASES = 500, 5000
# Cases with the same VLAN settings of the ports.
RUN = 25

# Flows of deployments, with tunnel ports in place of tunnels.
MISSION = {
    "a segment's VLAN in and out": [
        "priority=4,in_port=2,dl_vlan=1 actions=mod_vlan_vid:1024,NORMAL", "priority=2,in_port=2 actions=drop",
        "priority=3,in_port=1,dl_vlan=1024 actions=mod_vlan_vid:1,NORMAL"],
    "tunnels": [
        "priority=3,tun_id=0x1,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=mod_vlan_vid:1,output:1",
        "priority=4,in_port=1,dl_vlan=1 actions=set_tunnel:0x1,NORMAL",
        "priority=3,tun_id=0x1,dl_dst=fa:16:3e:db:08:63 actions=mod_vlan_vid:1,NORMAL",
        "priority=1,in_port=3 actions=set_tunnel:0x1,resubmit(4,0)"],
    "unicast to a tunnel, and the ARP responder": [
        "priority=1,arp actions=resubmit(,21)", "priority=0 actions=resubmit(,20)",
        "cookie=0x0, duration=13.576s, table=20, n_packets=0, n_bytes=0, idle_age=20, priority=2,dl_vlan=1,"
        "dl_dst=fa:16:3e:73:47:84 actions=strip_vlan,set_tunnel:0x66,output:2",
        "cookie=0x0, duration=13.763s, table=21, n_packets=0, n_bytes=0, idle_age=20, priority=1,arp,dl_vlan=1,"
        "arp_tpa=10.1.23.7 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:fa:16:3e:73:47:84,"
        "load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        "load:0xfa163e734784->NXM_NX_ARP_SHA[],load:0xa011707->NXM_OF_ARP_SPA[],IN_PORT"],
}


class Bench:
    """Both switches, with the same settings."""

    def __init__(self, room):
        (room.directory / "ovs").mkdir()
        self.oracle = room.keeps(OpenVSwitchTwin(room.directory / "ovs"))
        self.tested = MartletTwin(room)
        self._vlans = None

    def set_vlans(self, vlans):
        if vlans != self._vlans:
            self.oracle.set_vlans(vlans)
            self.tested.set_vlans(vlans)
            self._vlans = vlans

    def assert_same(self, case, title):
        self.set_vlans(case.vlans)
        found = difference(self.oracle, self.tested, case)
        if found is None:
            return
        small, reason = Shrinker(self.oracle, self.tested).shrunk(case)
        # One that does not come back alone is told as it was.
        pytest.fail(f"{title}\n{reason or found}\n\n# {title}\n{small.text()}", pytrace=False)


@pytest.fixture(scope="module")
def bench(module_room):
    return Bench(module_room)


def golden_cases():
    sections = [section for section in GOLDEN.read_text().split("\n\n") if section.strip()]
    return [pytest.param(Case.parsed(section.strip()), id=section.strip().split("\n")[0].lstrip("# "))
            for section in sections]


@pytest.mark.parametrize("case", golden_cases())
def test_cases_that_differed_once(bench, case):
    bench.assert_same(case, "a case of flow_frames.txt")


@pytest.mark.parametrize("name", MISSION)
def test_flows_of_deployments(bench, name):
    empty = Case(dict.fromkeys(NAMES, ALL_TAGGED), MISSION[name], [])
    draw = FrameDraw(name)
    packets = [(draw.pick(PORTS), mission_frame(draw)) for _ in range(2000)]
    bench.assert_same(Case(empty.vlans, empty.flows, [pair for pair in packets if not is_meant(pair[1], empty)]), name)


def mission_frame(draw):
    """Any frame, but half of them with the VLANs of those flows."""
    frame = draw.frame()
    return frame if draw.chance(2) else frame[:12] + b"\x81\0" + draw.pick((b"\0\1", b"\4\0")) + frame[12:]


def test_random_flows_forward_as_in_open_vswitch(bench, long_run, results):
    count = LONG_CASES if long_run else CASES
    print(f"MARTLET_TEST_SEED={SEED}")
    draw, started, pairs = CaseDraw(SEED), time.monotonic(), 0
    for number in range(count):
        if number % RUN == 0:
            vlans = draw.vlans()
        case = drawn(SEED, number, vlans)
        bench.assert_same(case, f"case {number} of MARTLET_TEST_SEED={SEED}")
        pairs += len(case.packets)
    assert bench.tested.drops("transmit_full", "no_buffer") == 0, "the rig loses frames"
    results.add("flows beside Open vSwitch", seed=SEED, tables=count, pairs=pairs,
                seconds=round(time.monotonic() - started, 1))
