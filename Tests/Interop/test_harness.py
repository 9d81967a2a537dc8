"""The suite's own tools against dpdk-testpmd and scapy: what they say of Martlet means something only if they are right
about a switch that everybody knows."""

import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

import guest
from frames import EXPERIMENT, Dot1AD, Dot1Q, Ether, customer, frame, read_pcap, service, station, write_pcap
from processes import Process, TooLate, eventually
from testpmd import Testpmd
from vhost_user import FrontEnd


def passes(sender, receiver, content):
    sender.send(content)
    try:
        return receiver.wait_for(content, 0.2) is not None
    except TooLate:
        return False


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("listens", [True, False], ids=["listens", "connects"])
def test_the_front_end_carries_frames_through_testpmd_unaltered(room, listens, packed):
    paths = [room.socket(name) for name in ("left", "right")]
    vdevs = [f"net_vhost{number},iface={path},client={int(listens)}" for number, path in enumerate(paths)]
    left, right = (room.keeps(FrontEnd(path, listens=listens, packed=packed)) for path in paths)
    switch = room.keeps(Testpmd(room.directory, vdevs, "--forward-mode=io")).wait_until_ready()
    left.connect()
    right.connect()
    switch.command("start")
    eventually(lambda: passes(left, right, frame(station(1), station(2))), 10, "a first frame through testpmd")
    # More than the rings hold, so that they wrap, in lengths from the least to more than one page.
    sent = [frame(station(1), station(2), length=60 + number % 1450, fill=number % 256) for number in range(2000)]
    for start in range(0, len(sent), 50):
        part = sent[start:start + 50]
        for content in part:
            left.send(content)
        assert right.wait_for(part[-1]) == part[:-1]


def test_scapy_reads_back_what_frames_builds():
    packet = Ether(frame(station(1), station(2), [service(100), customer(7, 5)]))
    assert (packet.type, packet[Dot1AD].vlan, packet[Dot1AD].type) == (0x88A8, 100, 0x8100)
    assert (packet[Dot1Q].vlan, packet[Dot1Q].prio, packet[Dot1Q].type) == (7, 5, EXPERIMENT)
    assert len(frame(station(1), tags=[customer(7)], length=64)) == 68


def test_a_written_capture_is_read_back_and_tcpdump_agrees(room):
    path = room.directory / "written.pcap"
    datagram = Ether(src=station(1), dst=station(2)) / IP() / UDP(sport=1000, dport=2000)
    contents = [bytes(datagram / bytes(length)) for length in (0, 1, 1400)]
    write_pcap(path, contents)
    assert [bytes(content) for content in read_pcap(path)] == contents
    read = subprocess.run(["tcpdump", "-n", "-r", path], capture_output=True, text=True, timeout=20)
    assert read.stdout.count("UDP") == len(contents)


def test_the_cpio_archive_is_what_cpio_reads():
    entries = [("bin", 0o040755, b""), ("bin/tool", 0o100755, b"octets"), ("empty", 0o100644, b"")]
    listing = subprocess.run(["busybox", "cpio", "-t"], input=guest.cpio(entries), capture_output=True, timeout=20)
    assert listing.stdout.decode().split() == [path for path, _, _ in entries]


def test_what_a_killed_process_started_ends_with_it(room):
    process = room.keeps(Process(["sh", "-c", "sleep 1000 & echo $!; wait"], room.directory / "shell.log"))
    child = eventually(process.output, 10, "the number of the shell's child").strip()
    process.kill()
    status = Path(f"/proc/{child}/stat")
    # Nobody may wait for it: then it stays as a zombie.
    eventually(lambda: not status.exists() or status.read_text().split()[2] == "Z", 10, "the end of the shell's child")
