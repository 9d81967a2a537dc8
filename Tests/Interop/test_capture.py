"""Captures that tools which are not ours read: tcpdump and scapy."""

import os
import subprocess

import pytest
from scapy.utils import PcapNgReader

from frames import BROADCAST, customer, frame, service, station
from martlet import BINARIES
from processes import eventually, run
from vhost_user import FrontEnd

A, B = station(0xCA01), station(0xCA02)


class Pair:
    def __init__(self, room, daemon):
        self.daemon = daemon
        self.sender, self.receiver = (room.keeps(FrontEnd(room.socket(name))) for name in ("vm1", "vm2"))
        for name, peer in (("vm1", self.sender), ("vm2", self.receiver)):
            daemon.add_vhost_user(name, room.socket(name))
            peer.connect()
        daemon.wait_for_link("vm1", "vm2")

    def pass_over(self, *contents):
        for content in contents:
            self.sender.send(content)
        assert self.receiver.wait_for(contents[-1]) == list(contents[:-1])


@pytest.fixture
def pair(room, daemon):
    return Pair(room, daemon)


class Capturing:
    """A running `martletctl capture`; traffic may begin when it does."""

    def __init__(self, pair, *words):
        self._pair = pair
        self._command = [str(BINARIES / "martletctl"), "capture", *map(str, words)]
        self._environment = dict(os.environ, MARTLET_SOCKET=str(pair.daemon.socket))
        self._start()

    def _start(self):
        self.process = subprocess.Popen(self._command, env=self._environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def until_it_runs(self, port):
        """A second capture of a port is refused: one that is refused says that the first runs. When the second comes
        first it is the first that is refused, and begins again."""
        def runs():
            if self.process.poll() is not None:
                said = self.process.communicate()[1]
                assert b"captured" in said, said
                self._start()
            answer = self._pair.daemon.call("capture.start", port=port)
            return "captured" in answer.get("error", {}).get("message", "")
        eventually(runs, 10, "a running capture", interval=0.05)

    def output(self, limit=20):
        output, said = self.process.communicate(timeout=limit)
        assert self.process.returncode == 0, said
        return output, said.decode()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def captured(room, pair, contents, *words):
    """What a capture with those options wrote while the frames passed."""
    capturing = room.keeps(Capturing(pair, *words))
    capturing.until_it_runs(words[0])
    pair.pass_over(*contents)
    return capturing.output()


def tcpdump(octets):
    """The headline that tcpdump prints of each packet."""
    read = subprocess.run(["tcpdump", "-n", "-e", "-r", "-"], input=octets, capture_output=True, timeout=20)
    assert read.returncode == 0, read.stderr
    return [line for line in read.stdout.decode().splitlines() if " > " in line]


def test_tcpdump_reads_a_capture_from_the_pipe(room, pair):
    contents = [frame(A, B, [customer(7)]), frame(A, B, length=200)]
    output, said = captured(room, pair, contents, "vm1", "-w", "-", "--count", 2)
    first, second = tcpdump(output)
    assert f"{A} > {B}" in first and "vlan 7" in first and "length 68" in first
    assert f"{A} > {B}" in second and "length 200" in second
    assert "2 packets captured, 0 lost" in said


def test_scapy_reads_the_same_octets_from_the_file(room, pair):
    contents = [frame(A, B, length=length) for length in (60, 64, 1514)]
    contents.append(frame(A, BROADCAST, [service(100), customer(7)]))
    path = room.directory / "capture.pcapng"
    captured(room, pair, contents, "vm2", "-w", path, "--count", len(contents))
    assert [bytes(packet) for packet in PcapNgReader(str(path))] == contents


def test_a_filter_keeps_what_does_not_match_out(room, pair):
    wanted = frame(A, B, [customer(7)])
    path = room.directory / "capture.pcapng"
    captured(room, pair, [frame(A, B), wanted, frame(A, B, length=90)], "vm1", "-w", path, "--count", 1, "--filter",
             f"vlan 7 and ether dst {B}")
    assert [bytes(packet) for packet in PcapNgReader(str(path))] == [wanted]


@pytest.mark.parametrize("direction, expected", [("receive", 1), ("transmit", 1), ("both", 2)])
def test_a_direction_is_the_switchs(room, pair, direction, expected):
    there, back = frame(A, B), frame(B, A, length=80)
    path = room.directory / "capture.pcapng"
    capturing = room.keeps(Capturing(pair, "vm1", "-w", path, "--count", expected, "--direction", direction))
    capturing.until_it_runs("vm1")
    pair.pass_over(there)
    pair.receiver.send(back)
    assert pair.sender.wait_for(back) == []
    capturing.output()
    frames = {"receive": [there], "transmit": [back], "both": [there, back]}[direction]
    assert [bytes(packet) for packet in PcapNgReader(str(path))] == frames


def test_a_snap_length_cuts_the_octets_and_keeps_the_length(room, pair):
    output, _ = captured(room, pair, [frame(A, B, length=1000)], "vm1", "-w", "-", "--count", 1, "--snap-length", 60)
    line, = tcpdump(output)
    assert "length 1000" in line
    path = room.directory / "capture.pcapng"
    path.write_bytes(output)
    packet, = PcapNgReader(str(path))
    assert len(bytes(packet)) == 60


def test_without_a_file_lines_are_printed(room, pair):
    output, _ = captured(room, pair, [frame(A, B, [customer(7)])], "vm1", "--count", 1)
    line, = output.decode().splitlines()
    assert f"{A} > {B}" in line and "vlan 7" in line


def test_a_capture_that_ends_in_the_middle_costs_the_traffic_nothing(room, pair):
    for _ in range(5):
        capturing = room.keeps(Capturing(pair, "vm1", "-w", "-"))
        capturing.until_it_runs("vm1")
        pair.pass_over(frame(A, B))
        capturing.stop()
        pair.pass_over(frame(A, B, length=100))
    eventually(lambda: "result" in pair.daemon.call("capture.start", port="vm1"), 10, "the capture being over")


def test_a_capture_of_a_deleted_port_ends(room, pair):
    capturing = room.keeps(Capturing(pair, "vm1", "-w", "-"))
    capturing.until_it_runs("vm1")
    pair.daemon.ctl("port", "del", "vm1")
    capturing.output()
