"""Ring ports with a real DPDK secondary process behind them: a network function in a process of its own."""

import shlex
from pathlib import Path

import pytest

from frames import frame, station
from processes import Process, eventually, run
from vhost_user import FrontEnd

GUEST, FUNCTION = station(0x61), station(0xF1)


@pytest.fixture(scope="module")
def secondary_program(module_room):
    program = module_room.directory / "secondary"
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "libdpdk").stdout)
    run("gcc", "-O2", "-Wall", "-o", program, Path(__file__).with_name("secondary.c"), *flags)
    return program


class Function:
    """The other process."""

    def __init__(self, room, program, daemon, port):
        self.process = room.keeps(Process(
            [program, "--proc-type=secondary", "--file-prefix", daemon.prefix, "--no-pci", "--no-telemetry",
             "--lcores", "0@0", "--", port], room.directory / "secondary.log"))
        self.process.wait_for_output("attached")


@pytest.fixture
def guest(room, daemon):
    peer = room.keeps(FrontEnd(room.socket("vm1")))
    daemon.add_vhost_user("vm1", room.socket("vm1"))
    peer.connect()
    daemon.wait_for_link("vm1")
    return peer


def swapped(content):
    return content[6:12] + content[:6] + content[12:]


def test_a_secondary_process_receives_and_sends_frames(room, daemon, guest, secondary_program):
    daemon.add_port("nf1", "ring")
    Function(room, secondary_program, daemon, "nf1")
    sent = [frame(GUEST, FUNCTION, length=64 + number) for number in range(1400)]
    for start in range(0, len(sent), 50):
        # No more at a time than the guest has buffers for: a loss is a loss.
        part = sent[start:start + 50]
        for content in part:
            guest.send(content)
        assert guest.wait_for(swapped(part[-1])) == [swapped(content) for content in part[:-1]]
    entries = {entry["mac"]: entry["port"] for entry in daemon.json("fdb", "show", "br0")["entries"]}
    assert entries[FUNCTION] == "nf1"


def test_rings_are_found_by_the_name_of_the_option(room, daemon, guest, secondary_program):
    daemon.add_port("nf1", "ring", name="firewall", size=64)
    Function(room, secondary_program, daemon, "firewall")
    content = frame(GUEST, FUNCTION)
    guest.send(content)
    assert guest.wait_for(swapped(content)) == []


def test_a_secondary_process_that_ends_is_followed_by_another(room, daemon, guest, secondary_program):
    daemon.add_port("nf1", "ring")
    for round_number in range(2):
        function = Function(room, secondary_program, daemon, "nf1")
        content = frame(GUEST, FUNCTION, length=100 + round_number)
        guest.send(content)
        assert guest.wait_for(swapped(content)) == []
        assert function.process.stop() == 0


def test_a_ring_nobody_reads_fills_and_its_frames_are_counted(daemon, guest):
    daemon.add_port("nf1", "ring", size=64)
    for number in range(200):
        guest.send(frame(GUEST, FUNCTION, length=64 + number))
    guest.wait_until_taken()
    eventually(lambda: daemon.counters("vm1")["rx_packets"] == 200, 10, "200 frames received")
    sent = daemon.counters("nf1")["tx_packets"]
    assert 32 <= sent <= 64
    assert daemon.drops("nf1") == {"transmit_full": 200 - sent}


def test_without_hugepages_a_ring_port_is_refused(room):
    daemon = room.daemon(hugepages=False)
    daemon.add_bridge()
    assert "--no-huge" in daemon.refused("port", "add", "br0", "nf1", "--type", "ring")
    assert daemon.ports() == {}


def test_a_deleted_ring_port_can_be_added_again(room, daemon, guest, secondary_program):
    daemon.add_port("nf1", "ring")
    daemon.ctl("port", "del", "nf1")
    daemon.add_port("nf1", "ring")
    Function(room, secondary_program, daemon, "nf1")
    content = frame(GUEST, FUNCTION)
    guest.send(content)
    assert guest.wait_for(swapped(content)) == []
