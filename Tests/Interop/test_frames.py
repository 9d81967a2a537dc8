"""dpdk-testpmd guests at a rate below the limit: every frame received, unaltered and in order, 64 to 9,000 bytes.

testpmd sends the frames of a capture file to one virtio-user port and records what the other one receives. Its
transmit ring is shorter than the receive ring: what is in flight always has room, so that a loss is the switch's.
"""

import itertools
import struct

import pytest

from frames import frame, read_pcap, station, write_pcap
from processes import eventually
from testpmd import Testpmd

SENDER, RECEIVER = station(0x5E01), station(0x5E02)
HEADER = frame(SENDER, RECEIVER)[:14]
FILLER = bytes(place * 37 % 256 for place in range(16384))
NUMBER = struct.Struct("!BI")

# (length of the shortest, of the longest frame), burst and transmit ring of testpmd, frames in an ordinary run.
# A frame of 9,000 bytes takes five of the 2 kB buffers behind the receive ring's 1,024 descriptors, and a burst of the
# receiver takes as many buffers as it should take frames: only bursts of one keep up with the sender.
SIZES = {
    "small": (64, 256, 32, 256, 700_000),
    "usual": (64, 1518, 32, 256, 250_000),
    "jumbo": (1518, 9000, 1, 64, 50_000),
}


def content(queue, number, shortest, longest):
    """One of the numbered frames: every length in turn, each with other octets."""
    length = shortest + number * 7 % (longest - shortest + 1)
    start = number % 6000
    return HEADER + NUMBER.pack(queue, number) + FILLER[start:start + length - 14 - NUMBER.size]


def contents(queue, count, shortest, longest):
    return (content(queue, number, shortest, longest) for number in range(count))


def compare(paths, queues, count, shortest, longest):
    """Every frame of every queue arrived once, unaltered; in each recording those of a queue in its order."""
    arrived = [0] * queues
    for path in paths:
        newest = [-1] * queues
        for frame_read in read_pcap(path):
            queue, number = NUMBER.unpack_from(frame_read, 14)
            assert content(queue, number, shortest, longest) == frame_read, f"{path.name}: {queue}/{number} is altered"
            assert number > newest[queue], f"{path.name}: {queue}/{number} came after {newest[queue]}"
            newest[queue] = number
            arrived[queue] += 1
    # Ascending within a recording, and no more frames than there were, so that a repetition elsewhere is a loss here.
    assert arrived == [count] * queues


class Guests:
    """One testpmd with both guests: the sender's port 1 fed from port 0's capture, port 2 recorded by port 3."""

    def __init__(self, room, daemon, frames, burst, transmit_ring, packed=False):
        queues = len(frames)
        self.directory = room.directory
        self.sent = [self.directory / f"sent{queue}.pcap" for queue in range(queues)]
        for path, content in zip(self.sent, frames):
            write_pcap(path, content)
        self.recorded = [self.directory / f"recorded{queue}.pcap" for queue in range(queues)]
        nothing, void = self.directory / "nothing.pcap", self.directory / "void.pcap"
        write_pcap(nothing, [])
        for name in ("sender", "receiver"):
            daemon.add_port(name, "vhost-user", path=room.socket(name), mode="client", queues=queues, mtu=9000)
        virtio = f"server=1,queues={queues},packed_vq={int(packed)},mrg_rxbuf=1"
        vdevs = [
            "net_pcap0," + self._streams("rx", self.sent) + "," + self._streams("tx", [void] * queues),
            f"net_virtio_user0,path={room.socket('sender')},mac={SENDER},queue_size={transmit_ring},{virtio}",
            f"net_virtio_user1,path={room.socket('receiver')},mac={RECEIVER},queue_size=1024,{virtio}",
            "net_pcap1," + self._streams("rx", [nothing] * queues) + "," + self._streams("tx", self.recorded),
        ]
        self.testpmd = room.keeps(Testpmd(
            room.directory, vdevs, f"--rxq={queues}", f"--txq={queues}", f"--burst={burst}",
            # Otherwise testpmd throws away what waits at its start: the capture.
            "--no-flush-rx",
            f"--txd={transmit_ring}", "--rxd=1024", mbufs=32768))

    @staticmethod
    def _streams(direction, paths):
        return ",".join(f"{direction}_pcap={path}" for path in paths)

    def exchange(self, total, limit, meanwhile):
        """Forwards until the receiver has `total` frames, and closes the recording."""
        def has_arrived():
            meanwhile()
            return self.testpmd.statistics(3)[1] >= total

        self.testpmd.wait_until_ready()
        # A full transmit ring is waited for, never overrun.
        self.testpmd.command("set fwd io retry")
        self.testpmd.command("set burst tx delay 10 retry 100000")
        assert "packet forwarding" in self.testpmd.command("start"), self.testpmd.process.output()
        eventually(has_arrived, limit, f"{total} frames received", interval=0.05)
        self.testpmd.command("stop")
        self.testpmd.quit()


def play(room, daemon, size, count, queues=1, packed=False, limit=60, before=lambda: None, meanwhile=lambda: None):
    shortest, longest, burst, transmit_ring, _ = SIZES[size]
    frames = [contents(queue, count, shortest, longest) for queue in range(queues)]
    guests = Guests(room, daemon, frames, burst, transmit_ring, packed)
    daemon.wait_for_link("sender", "receiver")
    before()
    guests.exchange(count * queues, limit, meanwhile)
    compare(guests.recorded, queues, count, shortest, longest)
    assert daemon.drops("sender") == {} and daemon.drops("receiver") == {}


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("size", SIZES)
def test_every_frame_arrives_unaltered_and_in_order(room, daemon, size, packed):
    play(room, daemon, size, SIZES[size][-1] // 2, packed=packed)


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_frames_of_two_queues_arrive_unaltered_and_in_the_order_of_each(room, daemon, packed):
    # Two queues of the sender may end up in one of the receiver, which then gets two bursts for each it takes:
    # all frames together have room in its ring.
    play(room, daemon, "usual", 450, queues=2, packed=packed)


@pytest.fixture
def daemon_with_two_workers(room):
    # The second shares a processor with everything else: it sleeps, so that nothing waits for its time slice.
    daemon = room.daemon(workers="1,2", options=["--eal-option=--lcores=0@0,1@1,2@0", "--idle-sleep=100"])
    daemon.add_bridge()
    return daemon


def busy_lcores(daemon):
    return {worker["lcore"] for worker in daemon.call("worker.list")["result"]["workers"] if worker["packets"]}


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_two_workers_fill_a_guest(room, daemon_with_two_workers, packed):
    play(room, daemon_with_two_workers, "usual", 450, queues=2, packed=packed)
    assert busy_lcores(daemon_with_two_workers) == {1, 2}


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_a_queue_changes_its_worker_and_loses_nothing(room, daemon_with_two_workers, packed):
    daemon, lcores = daemon_with_two_workers, itertools.cycle([2, 1])

    def move():
        answer = daemon.call("worker.assign", port="sender", queue=0, lcore=next(lcores))
        assert "error" not in answer, answer

    def go_on():
        # The second worker is the slower one: while it has had nothing, there is enough left for both.
        if 2 in busy_lcores(daemon):
            move()
    play(room, daemon, "small", 700_000, packed=packed, before=move, meanwhile=go_on)
    assert busy_lcores(daemon) == {1, 2}


@pytest.mark.long
@pytest.mark.parametrize("turn", range(10))
def test_a_hundred_million_frames_arrive_unaltered_and_in_order(room, daemon, turn):
    # In ten turns: a capture of 10^7 frames is near 2 GB, and there are two of them.
    play(room, daemon, "small", 10_000_000, packed=turn % 2 == 1, limit=300)
