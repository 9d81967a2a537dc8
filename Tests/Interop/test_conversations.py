"""Martlet's connection tracking against Open vSwitch's, packet for packet: the same tables, the same conversations, and what
leaves each port compared byte for byte, with the counters of the flows. Every case begins without a connection.

    MARTLET_TEST_SEED=7 /usr/bin/python3 -m pytest Tests/Interop/test_conversations.py

A difference is shrunk and printed as a section for conversations.txt, whose cases are run again every time.
"""

import os
import time
from pathlib import Path

import agent_conversations
import known_conversations
import pytest
import random_tracking
from differences import Shrinker, difference
from flow_cases import Case
from tracking_twins import TrackingMartlet, TrackingOpenVSwitch

GOLDEN = Path(__file__).with_name("conversations.txt")
SEED = os.environ.get("MARTLET_TEST_SEED", "1")
CASES, LONG_CASES, CASES_BESIDE_ITSELF = 500, 5000, 25
GUEST_CASES, GUEST_PACKETS = 10, 500
# What a run must have seen, or its conversations prove little.
EXPECTED_STATES = {"+new+trk", "+est+trk", "+est+rpl+trk", "+rel+trk", "+rel+rpl+trk", "+inv+trk"}


class Bench:
    """Open vSwitch, and another switch beside it."""

    def __init__(self, oracle, tested):
        self.oracle, self.tested = oracle, tested
        self._vlans = None

    def assert_same(self, case, title):
        if case.vlans != self._vlans:
            for twin in (self.oracle, self.tested):
                twin.set_vlans(case.vlans)
            self._vlans = case.vlans
        found = difference(self.oracle, self.tested, case)
        if found is None:
            return
        small, reason = Shrinker(self.oracle, self.tested).shrunk(case)
        # One that does not come back alone is told as it was.
        pytest.fail(f"{title}\n{reason or found}\n\n# {title}\n{small.text()}", pytrace=False)


def open_vswitch(room, name):
    (room.directory / name).mkdir()
    return room.keeps(TrackingOpenVSwitch(room.directory / name))


@pytest.fixture(scope="module")
def oracle(module_room):
    return open_vswitch(module_room, "ovs")


@pytest.fixture(scope="module")
def bench(module_room, oracle):
    return Bench(oracle, TrackingMartlet(module_room))


def golden_cases():
    sections = [section for section in GOLDEN.read_text().split("\n\n") if section.strip()]
    return [pytest.param(Case.parsed(section.strip()), id=section.strip().split("\n")[0].lstrip("# "))
            for section in sections]


def test_open_vswitch_says_the_same_twice(room, oracle):
    bench = Bench(oracle, open_vswitch(room, "other"))
    oracle.states.clear()
    for number in range(CASES_BESIDE_ITSELF):
        bench.assert_same(random_tracking.drawn(SEED, number), f"case {number} of MARTLET_TEST_SEED={SEED}")
    assert oracle.states.keys() >= EXPECTED_STATES
    assert oracle.states == bench.tested.states


@pytest.mark.parametrize("case", golden_cases())
def test_cases_that_differed_once(bench, case):
    bench.assert_same(case, "a case of conversations.txt")


@pytest.mark.parametrize("name", known_conversations.KNOWN)
def test_known_conversations(bench, name):
    bench.assert_same(known_conversations.case(name), name)


def test_conversations_of_guests_behind_an_agents_firewall(bench):
    for number in range(GUEST_CASES):
        bench.assert_same(agent_conversations.drawn(SEED, number, GUEST_PACKETS),
                          f"guests' case {number} of MARTLET_TEST_SEED={SEED}")


def test_random_conversations_are_tracked_as_in_open_vswitch(bench, long_run, results):
    count = LONG_CASES if long_run else CASES
    print(f"MARTLET_TEST_SEED={SEED}")
    bench.oracle.states.clear()
    started, packets = time.monotonic(), 0
    for number in range(count):
        case = random_tracking.drawn(SEED, number)
        bench.assert_same(case, f"case {number} of MARTLET_TEST_SEED={SEED}")
        packets += len(case.packets)
    assert bench.tested.drops("transmit_full", "no_buffer") == 0, "the rig loses frames"
    assert bench.oracle.states.keys() >= EXPECTED_STATES
    results.add("conversations beside Open vSwitch", seed=SEED, tables=count, packets=packets,
                seconds=round(time.monotonic() - started, 1), **bench.oracle.states)
