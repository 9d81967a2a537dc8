"""Bridges joined by a patch, laid out as Neutron does: guests on br-int, the wire on br-tun."""

import pytest

from frames import BROADCAST, customer, frame, station
from vhost_user import FrontEnd

A, B = station(0xA), station(0xB)

# What the agent writes, with a VLAN of the wire in place of a tunnel's key.
TUNNEL_FLOWS = """
    priority=1,in_port=patch-int actions=resubmit(,2)
    priority=1,in_port=up actions=resubmit(,4)
    priority=0 actions=drop
    table=2,priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,20)
    table=2,priority=0,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,22)
    table=4,priority=1,dl_vlan=1024 actions=mod_vlan_vid:1,resubmit(,10)
    table=10,priority=1 actions=output:patch-int
    table=20,priority=2,dl_vlan=1,dl_dst=%s actions=mod_vlan_vid:1024,output:up
    table=20,priority=0 actions=resubmit(,22)
    table=22,priority=1,dl_vlan=1 actions=mod_vlan_vid:1024,output:up
    table=22,priority=0 actions=drop
""" % B


class Host:
    """vm1 (VLAN 1) and vm2 (VLAN 2) on br-int, up on br-tun."""

    def __init__(self, room, daemon):
        self.daemon = daemon
        self.peers = {}
        for bridge in ("br-int", "br-tun"):
            daemon.add_bridge(bridge)
        for name, bridge, words in (("vm1", "br-int", ["--tag", 1]), ("vm2", "br-int", ["--tag", 2]),
                                    ("up", "br-tun", [])):
            path = room.socket(name)
            self.peers[name] = room.keeps(FrontEnd(path))
            daemon.add_port(name, "vhost-user", *words, bridge=bridge, path=path, mode="client")
        daemon.add_port("patch-tun", "patch", bridge="br-int", peer="patch-int")
        daemon.add_port("patch-int", "patch", bridge="br-tun", peer="patch-tun")
        daemon.ctl("flow", "replace", "br-tun", "--file", "-", input=TUNNEL_FLOWS)
        for peer in self.peers.values():
            peer.connect()
        daemon.wait_for_link("vm1", "vm2", "up", "patch-int", "patch-tun")


@pytest.fixture
def host(room):
    return Host(room, room.daemon())


def test_a_guest_and_the_wire_talk_through_the_patch(host):
    vm1, up = host.peers["vm1"], host.peers["up"]
    asked, answer = frame(A, BROADCAST, length=100), frame(B, A, length=101)
    # More than once: walked, then from the cache.
    for _ in range(3):
        vm1.send(asked)
        assert up.wait_for(frame(A, BROADCAST, tags=[customer(1024)], length=100)) == []
        up.send(frame(B, A, tags=[customer(1024)], length=101))
        assert vm1.wait_for(answer) == []
        vm1.send(frame(A, B, length=102))
        assert up.wait_for(frame(A, B, tags=[customer(1024)], length=102)) == []
    learned = {(entry["mac"], entry["vlan"], entry["port"])
               for entry in host.daemon.json("fdb", "show", "br-int")["entries"]}
    assert learned == {(A, 1, "vm1"), (B, 1, "patch-tun")}
    assert host.peers["vm2"].received() == [], "another VLAN"


def test_without_its_other_end_a_patch_drops_by_name(host):
    vm1, up = host.peers["vm1"], host.peers["up"]
    host.daemon.ctl("port", "del", "patch-int")
    assert not host.daemon.link_up("patch-tun")
    vm1.send(frame(A, BROADCAST))
    vm1.wait_until_taken()
    assert host.daemon.drops("patch-tun") == {"transmit_down": 1}
    host.daemon.add_port("patch-int", "patch", "--number", 2, bridge="br-tun", peer="patch-tun")
    assert host.daemon.link_up("patch-tun")
    vm1.send(frame(A, BROADCAST, length=90))
    assert up.wait_for(frame(A, BROADCAST, tags=[customer(1024)], length=90)) == []


def test_a_patch_outlives_the_daemon(host):
    before = host.daemon.ports()["patch-tun"]
    assert before["link"] == "up" and before["options"] == {"peer": "patch-int"}
    host.daemon.kill()
    host.daemon.start()
    assert host.daemon.ports()["patch-tun"] == before
    assert "joined" in host.daemon.ctl("port", "show", "patch-tun").stdout
