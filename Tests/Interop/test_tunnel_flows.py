"""Martlet's flows and tunnels against Open vSwitch's, frame for frame: what comes in tunnels and what leaves in them.

    MARTLET_TEST_SEED=7 /usr/bin/python3 -m pytest Tests/Interop/test_tunnel_flows.py

As `test_flow_frames`, of which a seed's cases are others. What is not drawn because it is meant to differ is at the
head of `random_tunnels`.
"""

import pytest

from differences import Shrinker, difference
from random_tunnels import drawn
from test_flow_frames import SEED
from tunnel_twins import MartletTunnels, OpenVSwitchTunnels

CASES, LONG_CASES = 100, 2000


@pytest.fixture(scope="module")
def switches(module_room):
    directory = module_room.directory / "ovs"
    directory.mkdir()
    return module_room.keeps(OpenVSwitchTunnels(directory)), MartletTunnels(module_room)


def test_random_flows_of_tunnels_forward_as_in_open_vswitch(switches, long_run):
    print(f"MARTLET_TEST_SEED={SEED}")
    for number in range(LONG_CASES if long_run else CASES):
        case = drawn(SEED, number)
        found = difference(*switches, case)
        if found:
            small, reason = Shrinker(*switches).shrunk(case)
            title = f"case {number} of MARTLET_TEST_SEED={SEED}"
            pytest.fail(f"{title}\n{reason or found}\n\n{small.text()}", pytrace=False)
    assert switches[1].drops("transmit_full", "no_buffer") == 0, "the rig loses frames"
