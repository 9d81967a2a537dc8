"""Learning, flooding and forgetting, between virtual machines' ports."""

import pytest

from frames import BROADCAST, customer, frame, station
from processes import eventually
from vhost_user import FrontEnd

A, B, C = station(0xA), station(0xB), station(0xC)


class Trio:
    """Three guests in one bridge, and a fourth port whose frames mark the end of what the others got."""

    names = ("vm1", "vm2", "vm3", "marker")

    def __init__(self, room, daemon, **options):
        self.daemon = daemon
        self.peers = {}
        for name in self.names:
            path = room.socket(name)
            self.peers[name] = room.keeps(FrontEnd(path, **options))
            daemon.add_port(name, "vhost-user", path=path, mode="client", mtu=9000)
        for peer in self.peers.values():
            peer.connect()
        daemon.wait_for_link(*self.names)
        self._marks = 0

    def send(self, name, *contents):
        """Sends frames and returns {port: [frames]} of what they made the other guests' ports send."""
        for content in contents:
            self.peers[name].send(content)
        self.peers[name].wait_until_taken()
        self._marks += 1
        self.mark = frame(station(0xFFFF00), BROADCAST, length=100 + self._marks)
        self.peers["marker"].send(self.mark)
        arrived = {peer: self.peers[peer].wait_for(self.mark) for peer in self.names if peer != "marker"}
        return {peer: got for peer, got in arrived.items() if got}


@pytest.fixture(params=["split", "packed"])
def trio(request, room, daemon):
    return Trio(room, daemon, packed=request.param == "packed")


def test_an_unknown_unicast_is_flooded_except_to_its_ingress(trio):
    content = frame(A, B)
    assert trio.send("vm1", content) == {"vm2": [content], "vm3": [content]}


def test_a_learned_station_gets_its_frames_alone(trio):
    trio.send("vm2", frame(B, BROADCAST))
    content = frame(A, B)
    assert trio.send("vm1", content) == {"vm2": [content]}


def test_a_station_that_moves_is_followed(trio):
    trio.send("vm2", frame(B))
    trio.send("vm3", frame(B))
    content = frame(A, B)
    assert trio.send("vm1", content) == {"vm3": [content]}
    statistics = trio.daemon.json("fdb", "show", "br0")["statistics"]
    assert statistics["moved"] == 1


def test_a_frame_for_a_station_behind_its_own_port_is_dropped_by_name(trio):
    trio.send("vm1", frame(B))
    assert trio.send("vm1", frame(A, B)) == {}
    assert trio.daemon.drops("vm1") == {"same_port": 1}


def test_the_same_address_in_two_vlans_is_two_stations(trio):
    tagged = [customer(7)]
    trio.send("vm2", frame(B))
    trio.send("vm3", frame(B, tags=tagged))
    plain, in_seven = frame(A, B), frame(A, B, tags=tagged)
    assert trio.send("vm1", plain, in_seven) == {"vm2": [plain], "vm3": [in_seven]}


def test_the_fdb_shows_what_was_learned_and_forgets_on_flush(trio):
    trio.send("vm2", frame(B), frame(C, tags=[customer(7)]))
    entries = trio.daemon.json("fdb", "show", "br0")["entries"]
    learned = {(entry["mac"], entry["vlan"], entry["port"], entry["static"]) for entry in entries}
    assert {(B, 0, "vm2", False), (C, 7, "vm2", False)} <= learned
    trio.daemon.ctl("fdb", "flush", "br0")
    assert trio.daemon.json("fdb", "show", "br0")["entries"] == []
    content = frame(A, B)
    assert trio.send("vm1", content) == {"vm2": [content], "vm3": [content]}


def test_a_static_station_does_not_move(trio):
    trio.daemon.ctl("fdb", "add", "br0", B, "vm2")
    trio.send("vm3", frame(B))
    content = frame(A, B)
    assert trio.send("vm1", content) == {"vm2": [content]}


def test_a_silent_station_is_forgotten_after_its_ageing_time(trio):
    trio.daemon.ctl("bridge", "set", "br0", "--fdb-ageing", 1)
    trio.send("vm2", frame(B))
    eventually(lambda: trio.daemon.json("fdb", "show", "br0")["entries"] == [], 10, "an empty FDB")
    content = frame(A, B)
    # The workers' clock may tick a moment after the one that the list is made by.
    eventually(lambda: trio.send("vm1", content) == {"vm2": [content], "vm3": [content]}, 5, "a flooded frame")


@pytest.mark.parametrize("length", [9014, 9018])
def test_a_jumbo_frame_passes_unaltered(trio, length):
    tags = [customer(7)] if length == 9018 else []
    content = frame(A, B, tags=tags, length=9014)
    assert trio.send("vm1", content) == {"vm2": [content], "vm3": [content]}


def test_a_frame_longer_than_a_port_takes_is_dropped_by_name(room, trio):
    path = room.socket("small")
    small = room.keeps(FrontEnd(path))
    trio.daemon.add_port("small", "vhost-user", path=path, mode="client", mtu=1500)
    small.connect()
    trio.daemon.wait_for_link("small")
    longest, too_long = frame(A, B, length=1514), frame(A, B, length=1515)
    assert trio.send("vm1", longest, too_long)["vm2"] == [longest, too_long]
    assert small.wait_for(trio.mark) == [longest]
    assert trio.daemon.drops("small") == {"transmit_too_long": 1}


def test_a_guest_that_does_not_read_costs_only_its_own_frames(trio):
    deaf = trio.peers["vm3"]
    sent = [frame(A, C, length=60 + number % 1000) for number in range(600)]
    got = []
    for number, content in enumerate(sent):
        trio.peers["vm1"].send(content)
        # Never more on the way than the reading guest has buffers for, also when the switch has to wait for its core.
        if number % 100 == 99:
            trio.peers["vm1"].wait_until_taken()
        got += trio.peers["vm2"].received()
    trio.peers["vm1"].wait_until_taken()
    last = frame(A, B, length=1400)
    trio.peers["vm1"].send(last)
    got += trio.peers["vm2"].wait_for(last)
    assert got == sent
    assert len(deaf.received()) == 256, "more frames than the guest had buffers for"
    assert trio.daemon.drops("vm3") == {"transmit_full": len(sent) + 1 - 256}
