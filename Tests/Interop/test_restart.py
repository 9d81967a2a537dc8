"""The switch dies by kill -9 under traffic and is started again. Guests stay up, and their traffic comes back.

How long it is away is printed, never asserted; --long prints Open vSwitch's figures beside it.
"""

import re
from contextlib import ExitStack, closing

import pytest

from frames import station
from guest import Guest
from ovs import OpenVSwitch
from processes import eventually
from room import Room
from testpmd import Testpmd

INTERVAL_MS, PROBES = 5, 1000
TITLE = f"outage of kill -9 and start, probes every {INTERVAL_MS} ms between two QEMU guests"


def martlet(room):
    daemon = room.daemon()
    daemon.add_bridge()
    return daemon


def open_vswitch(room):
    return room.keeps(OpenVSwitch(room.directory / "ovs"))


def two_guests(room, switch, mode, packed):
    guests = []
    for number in (1, 2):
        path = switch.socket_for(f"vm{number}", mode, room)
        switch.add_vhost_user(f"vm{number}", path, mode)
        guests.append(room.keeps(Guest(room.directory, f"vm{number}", number, path, mode, packed)))
    for guest in guests:
        guest.wait_until_up()
    guests[0].knows(guests[1])
    guests[1].knows(guests[0])
    return guests


def probe_through_a_restart(switch, prober, echoer):
    """Kills and starts the switch under probes; returns what probe.c says."""
    echoer.shell("pidof probe || probe echo >/dev/null 2>&1 &")
    probing = prober.begin(f"probe send {echoer.address} {INTERVAL_MS} {PROBES}")
    prober.wait_for_output("under way")
    switch.kill()
    switch.start(wait=False)
    report = prober.finish(probing, limit=INTERVAL_MS * PROBES / 1000 * 4 + 30)
    words = re.search(r"sent.*", report).group().split()
    return dict(zip(words[::2], words[1::2]))


@pytest.fixture
def rounds(long_run):
    """How often a switch is killed under the same guests."""
    return 3 if long_run else 1


def record(results, switch, mode, packed, figures):
    results.add(TITLE, switch=switch.name, mode=mode, ring="packed" if packed else "split", **figures)


RINGS = pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
MODES = pytest.mark.parametrize("mode", ["client", "server"])


@pytest.mark.long
@RINGS
@MODES
def test_open_vswitch_is_measured_beside(room, results, rounds, mode, packed):
    switch = open_vswitch(room)
    prober, echoer = two_guests(room, switch, mode, packed)
    for _ in range(rounds):
        figures = probe_through_a_restart(switch, prober, echoer)
        record(results, switch, mode, packed, figures)
        if figures["resumed"] == "NO":
            break
    assert prober.process.alive and echoer.process.alive


@RINGS
def test_a_switch_killed_at_full_load_comes_back_to_full_load(room, packed):
    # Mode client only: virtio-user as the connecting side does not connect again.
    switch = martlet(room)
    for name in ("vm1", "vm2"):
        switch.add_vhost_user(name, room.socket(name))
    vdevs = [f"net_virtio_user{number},path={room.socket(f'vm{number + 1}')},mac={station(number + 1)},"
             f"packed_vq={int(packed)},server=1,queues=1" for number in range(2)]
    peers = [f"--eth-peer={number},{station(2 - number)}" for number in range(2)]
    guests = room.keeps(Testpmd(room.directory, vdevs, "--forward-mode=flowgen", *peers))
    guests.wait_until_ready()
    guests.command("start")
    for _ in range(3):
        _wait_for_packets(guests, 20_000)
        switch.kill()
        switch.start()
        switch.wait_for_link("vm1", "vm2")
    _wait_for_packets(guests, 20_000)
    switch.assert_alive()


def _wait_for_packets(guests, count):
    """Waits until both guests have received so many more."""
    before = [guests.statistics(port)[0] for port in range(2)]

    def arrived():
        return all(guests.statistics(port)[0] >= before[port] + count for port in range(2))
    eventually(arrived, 30, f"{count} more packets at both guests", interval=0.1)


# Last: beside the switch of shared guests every other one would have half a processor.
# (mode, packed) of two guests and their switch, for tests that share them: guests take seconds to boot.
PAIRS = [(mode, packed) for mode in ("client", "server") for packed in (False, True)]


def for_pairs(pairs):
    return pytest.mark.parametrize("pairs", pairs, indirect=True,
                                   ids=lambda pair: f"{pair[0]}-{'packed' if pair[1] else 'split'}")


class Pairs:
    """Makes a switch and two guests, and others when a test that used them has failed."""

    def __init__(self, mode, packed):
        self.mode, self.packed = mode, packed
        self._pair = None
        self._stack = ExitStack()

    def pair(self):
        if self._pair is None:
            room = self._stack.enter_context(Room.opened())
            switch = martlet(room)
            self._pair = switch, *two_guests(room, switch, self.mode, self.packed)
        return self._pair

    def close(self):
        self._pair = None
        self._stack.close()


@pytest.fixture(scope="module")
def pairs(request):
    with closing(Pairs(*request.param)) as pairs:
        yield pairs


@pytest.fixture
def pair(pairs, request):
    """(switch, guest, guest)"""
    failed = request.session.testsfailed
    yield pairs.pair()
    if request.session.testsfailed > failed:
        pairs.close()


@for_pairs(PAIRS)
def test_guests_outlive_a_killed_switch_and_their_traffic_resumes(pairs, pair, results, rounds):
    switch, prober, echoer = pair
    for _ in range(rounds):
        figures = probe_through_a_restart(switch, prober, echoer)
        record(results, switch, pairs.mode, pairs.packed, figures)
        switch.assert_alive()
        assert figures["resumed"] == "YES", figures
        # Also what begins afterwards, and in the other direction.
        assert echoer.reaches(prober)
    assert prober.process.alive and echoer.process.alive


@for_pairs(PAIRS[:2])
def test_traffic_resumes_after_each_of_several_kills(pair):
    switch, prober, echoer = pair
    for _ in range(3):
        switch.kill()
        switch.start()
        eventually(lambda: prober.reaches(echoer, seconds=1), 20, "a ping after a restart")
        eventually(lambda: echoer.reaches(prober, seconds=1), 20, "a ping back after a restart")


@for_pairs(PAIRS[:2])
def test_traffic_resumes_after_an_orderly_restart(pair):
    switch, prober, echoer = pair
    assert switch.process.stop() == 0, switch.log()
    switch.start()
    eventually(lambda: prober.reaches(echoer, seconds=1), 20, "a ping after a restart")
