"""The flow caches as martletctl shows them."""

import pytest

from frames import BROADCAST, customer, frame
from processes import eventually
from test_cli import refused_start
from test_patch import A, Host


@pytest.fixture
def host(room):
    return Host(room, room.daemon(options=["--cache-entries=4096"]))


def test_a_connection_is_remembered_with_what_is_done(host):
    for _ in range(3):
        host.peers["vm1"].send(frame(A, BROADCAST))
        host.peers["up"].wait_for(frame(A, BROADCAST, tags=[customer(1024)]))
    statistics = host.daemon.json("stats", "cache")
    total = statistics["total"]
    assert total["capacity"] == 4096 and total["misses"] == 1 and total["exact_hits"] == 2, total
    assert [worker["figures"] for worker in statistics["lcores"]] == [total]
    entries = host.daemon.json("flow", "cached", "--bridge", "br-int")["entries"]
    assert [entry["exact"] for entry in entries] == [True], "it depends on all that the cache is interested in"
    for entry in entries:
        assert (entry["port"], entry["lcore"]) == ("vm1", 1)
        assert entry["actions"] == "push_vlan(vid=1024,pcp=0),up", "straight from input to output"
        assert entry["match"].startswith("in_port=1,") and f"dl_src={A}" in entry["match"]
    assert host.daemon.json("flow", "cached", "--bridge", "br-tun")["entries"] == []
    lines = host.daemon.ctl("flow", "cached", "--limit", 1).stdout.splitlines()
    assert len(lines) == 1 and "actions=push_vlan(vid=1024,pcp=0),up" in lines[0]
    assert "exact hits" in host.daemon.ctl("stats", "cache", "--lcore").stdout


def test_a_change_of_flows_makes_entries_go(host):
    host.peers["vm1"].send(frame(A, BROADCAST))
    host.peers["vm1"].wait_until_taken()
    host.daemon.ctl("flow", "add", "br-tun", "table=22,priority=9,dl_vlan=1 actions=drop")
    eventually(lambda: host.daemon.json("flow", "cached")["entries"] == [], 10, "an empty cache")
    assert host.daemon.json("stats", "cache")["total"]["invalidated"] == 1


@pytest.mark.parametrize("words", [["--cache-entries=1023"], ["--cache-entries=16777217"]], ids=str)
def test_a_capacity_out_of_range_is_refused(room, words):
    assert "outside 1024 to 16777216" in refused_start(room, hugepages=False, options=words)


def test_a_limit_out_of_range_is_refused(host):
    assert "4096" in host.daemon.refused("flow", "cached", "--limit", 4097)
