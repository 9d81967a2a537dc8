"""Many ports, and ports that come and go: nothing is used up, and nobody else notices."""

import time

import pytest

from bystanders import Bystanders
from frames import frame, station
from martlet import hugepages_free
from netns import Namespace
from processes import eventually, open_files, resident_bytes
from vhost_user import FrontEnd

PORTS = 200


def test_two_hundred_vhost_user_ports_on_one_daemon(room, results):
    daemon = room.daemon(socket_memory=1024)
    daemon.add_bridge()
    for number in range(PORTS):
        options = {"path": str(room.socket(f"vm{number}")), "mode": "server"}
        assert "result" in daemon.call("port.add", bridge="br0", name=f"vm{number}", type="vhost-user", options=options)
    assert len(daemon.ports()) == PORTS
    first, last = (room.keeps(FrontEnd(room.socket(name), listens=False)) for name in ("vm0", f"vm{PORTS - 1}"))
    for guest in (first, last):
        guest.connect()
    daemon.wait_for_link("vm0", f"vm{PORTS - 1}")
    there, back = frame(station(1), station(2)), frame(station(2), station(1))
    first.send(there)
    assert last.wait_for(there) == []
    last.send(back)
    assert first.wait_for(back) == []
    daemon.kill()
    began = time.monotonic()
    daemon.start()
    assert len(daemon.ports()) == PORTS
    results.add(f"start with {PORTS} ports, ms", answers=f"{(time.monotonic() - began) * 1000:.0f}")


def test_a_port_is_usable_soon_after_it_is_added(room, daemon, results):
    partner = room.keeps(FrontEnd(room.socket("partner")))
    daemon.add_vhost_user("partner", room.socket("partner"))
    partner.connect()
    daemon.wait_for_link("partner")
    for turn in range(5):
        name = f"vm{turn}"
        guest = room.keeps(FrontEnd(room.socket(name)))
        began = time.monotonic()
        daemon.add_vhost_user(name, room.socket(name))
        added = time.monotonic()
        guest.connect()
        content = frame(station(turn), station(0xFF), length=100 + turn)
        eventually(lambda: _arrives(guest, partner, content), 10, "a frame through a new port", interval=0.001)
        results.add("port add, ms", turn=turn, added=f"{(added - began) * 1000:.0f}",
                    first_frame=f"{(time.monotonic() - began) * 1000:.0f}")


def _arrives(guest, partner, content):
    guest.send(content)
    try:
        return partner.wait_for(content, 0.02) is not None
    except AssertionError:
        return False


class Resources:
    """What must not grow."""

    def __init__(self, daemon):
        self.memory = resident_bytes(daemon.process.pid)
        self.files = open_files(daemon.process.pid)
        self.hugepages = hugepages_free()


@pytest.fixture
def crowd(room):
    """A daemon in a namespace of its own, with bystanders."""
    namespace = room.keeps(Namespace("crowd"))
    daemon = room.daemon(namespace=namespace)
    daemon.add_bridge()
    return daemon, Bystanders(room, daemon)


def kinds(room, turn):
    """One port of every type, as (name, type, options)."""
    return [
        (f"vc{turn}", "vhost-user", {"path": room.socket("vc"), "mode": "client"}),
        (f"vs{turn}", "vhost-user", {"path": room.socket("vs"), "mode": "server", "queues": 2}),
        (f"null{turn}", "dpdk", {"devargs": "net_null0,no-rx=1"}),
        (f"ring{turn}", "ring", {"size": 256}),
        (f"tap{turn}", "tap", {}),
    ]


def come_and_go(room, daemon, turn):
    """Adds a port of every type, connects guests to the vhost-user ones, and removes all of them."""
    ports = kinds(room, turn)
    client = FrontEnd(room.socket("vc"))
    for name, kind, options in ports:
        daemon.add_port(name, kind, **options)
    server = FrontEnd(room.socket("vs"), listens=False)
    try:
        client.connect()
        server.connect()
        client.send(frame(station(turn), station(0xFFFF)))
        for name, _, _ in ports:
            daemon.ctl("port", "del", name)
    finally:
        client.close()
        server.close()


def test_ports_of_all_types_come_and_go_without_a_leak(room, crowd, long_run):
    daemon, bystanders = crowd
    # The first turns fill what DPDK and the allocator keep for later.
    warm, turns = (20, 200) if long_run else (4, 20)
    for turn in range(warm):
        come_and_go(room, daemon, turn)
    before = Resources(daemon)
    for turn in range(warm, warm + turns):
        come_and_go(room, daemon, turn)
    eventually(lambda: open_files(daemon.process.pid) <= before.files, 10, "descriptors being closed")
    after = Resources(daemon)
    # A page lost with every port is the least that is a leak; an allocator's arena grows by less than 2 MB at times.
    assert after.memory - before.memory < max(2 << 20, 4096 * 5 * turns), "resident memory grows"
    assert after.hugepages == before.hugepages
    assert set(daemon.ports()) == {"left", "right"}
    bystanders.finish()


def settled_files(daemon):
    """Its open files when their number does not change any more."""
    counts = [None]

    def are_settled():
        counts.append(open_files(daemon.process.pid))
        return counts[-1] == counts[-2]
    eventually(are_settled, 10, "descriptors being opened and closed", interval=0.5)
    return counts[-1]


@pytest.mark.parametrize("mode", ["server", "client"])
def test_guests_that_come_and_go_leave_nothing_behind(room, daemon, long_run, mode):
    path = room.socket("vm1")
    daemon.add_vhost_user("vm1", path, mode)

    def connect_and_leave():
        guest = FrontEnd(path, listens=mode == "client")
        guest.connect()
        guest.close()
    # With its first guest librte_vhost opens what it keeps.
    connect_and_leave()
    before = settled_files(daemon)
    warm, turns = 50, 3000 if long_run else 200
    for _ in range(warm):
        connect_and_leave()
    warmed = Resources(daemon)
    for _ in range(turns):
        connect_and_leave()
    eventually(lambda: open_files(daemon.process.pid) <= before, 10, "descriptors being closed")
    assert resident_bytes(daemon.process.pid) - warmed.memory < 512 << 10, "resident memory grows"


def test_a_guest_is_found_in_a_directory_that_was_made_anew(room, daemon):
    directory = room.directory / "guests"
    directory.mkdir()
    daemon.add_vhost_user("vm1", directory / "vm1.sock")
    directory.rmdir()
    directory.mkdir()
    guest = room.keeps(FrontEnd(directory / "vm1.sock"))
    guest.connect()
    daemon.wait_for_link("vm1")


def test_a_refused_port_leaves_nothing_behind(room, daemon):
    before = Resources(daemon)
    for _ in range(20):
        daemon.refused("port", "add", "br0", "p1", "--type", "dpdk", "--option", "devargs=net_nonsense0")
        daemon.refused("port", "add", "br0", "p1", "--type", "vhost-user", "--option", "path=/nonexistent/x.sock")
    after = Resources(daemon)
    assert after.files <= before.files and after.hugepages == before.hugepages
