"""VLAN modes as golden rows: a frame in at one port, and what every port gets.

The rows are what ovs-vswitchd.conf.db(5) says of column vlan_mode, and are run over virtual machines' ports and over
the kernel's. After each frame a sentinel goes to every port: what has not arrived before it never will, so that
"nothing" needs no waiting.
"""

import itertools
from dataclasses import dataclass

import pytest

import frames
from frames import BROADCAST, customer, frame, service, station
from netns import KernelPeer, Namespace
from processes import eventually
from room import Room
from vhost_user import FrontEnd

C10, C20, C30 = [customer(10)], [customer(20)], [customer(30)]
S10, S100 = [service(10)], [service(100)]
PLAIN = []

# Name: how the port is added.
PORTS = {
    "a10": ("--tag", 10),
    "b10": ("--tag", 10),
    "a20": ("--tag", 20),
    "full": (),
    "t1020": ("--trunks", "10,20"),
    "nt": ("--vlan-mode", "native-tagged", "--tag", 10, "--trunks", 20),
    "nu": ("--vlan-mode", "native-untagged", "--tag", 10, "--trunks", 20),
    "q": ("--vlan-mode", "dot1q-tunnel", "--tag", 100),
    "q10": ("--vlan-mode", "dot1q-tunnel", "--tag", 100, "--trunks", 10),
    "probe": (),
}

# What the sentinels look like at each port; the last one ends the row there.
SENTINELS = {
    "a10": PLAIN, "b10": PLAIN, "a20": PLAIN, "full": [service(100), customer(10)], "t1020": C20, "nt": C20, "nu": C20,
    "q": C10, "q10": C10, "probe": [customer(999)],
}


@dataclass
class Row:
    name: str
    port: str
    tags: list
    """Tags of the frame in."""
    out: dict
    """Port to tags of the frame out; a port that is not named gets nothing. "probe" gets what "full" gets."""
    drop: str = None
    """The reason counted at the ingress port when nobody gets the frame."""

    def expected(self):
        same = {"probe": self.out["full"]} if "full" in self.out else {}
        return self.out | same


ROWS = [
    Row("access takes an untagged frame into its VLAN", "a10", PLAIN,
        {"b10": PLAIN, "full": C10, "t1020": C10, "nt": C10, "nu": PLAIN}),
    Row("access refuses a frame tagged with its own VLAN", "a10", C10, {}, "vlan_not_carried"),
    Row("access refuses a frame of another VLAN", "a10", C20, {}, "vlan_not_carried"),
    Row("access takes a priority-tagged frame and keeps its priority in a tag", "a10", [customer(0, 5)],
        {"b10": PLAIN, "full": [customer(10, 5)], "t1020": [customer(10, 5)], "nt": [customer(10, 5)], "nu": PLAIN}),
    Row("trunk carries a tagged frame to all members of the VLAN", "full", C10,
        {"probe": C10, "a10": PLAIN, "b10": PLAIN, "t1020": C10, "nt": C10, "nu": PLAIN}),
    Row("trunk keeps VLANs apart", "full", C20,
        {"probe": C20, "a20": PLAIN, "t1020": C20, "nt": C20, "nu": C20}),
    Row("trunk carries a VLAN that only another full trunk has", "full", C30, {"probe": C30}),
    Row("trunk keeps priority", "t1020", [customer(10, 6)],
        {"full": [customer(10, 6)], "a10": PLAIN, "b10": PLAIN, "nt": [customer(10, 6)], "nu": PLAIN}),
    Row("trunk takes an untagged frame into VLAN 0", "full", PLAIN, {"probe": PLAIN}),
    Row("limited trunk refuses another VLAN", "t1020", C30, {}, "vlan_not_carried"),
    Row("limited trunk refuses an untagged frame", "t1020", PLAIN, {}, "vlan_not_carried"),
    Row("native-tagged takes an untagged frame into its native VLAN", "nt", PLAIN,
        {"a10": PLAIN, "b10": PLAIN, "full": C10, "t1020": C10, "nu": PLAIN}),
    Row("native-tagged takes a frame tagged with its native VLAN", "nt", C10,
        {"a10": PLAIN, "b10": PLAIN, "full": C10, "t1020": C10, "nu": PLAIN}),
    Row("native-tagged is a trunk for its other VLANs", "nt", C20,
        {"a20": PLAIN, "full": C20, "t1020": C20, "nu": C20}),
    Row("native-tagged refuses a VLAN outside its trunks", "nt", C30, {}, "vlan_not_carried"),
    Row("native-untagged takes an untagged frame into its native VLAN", "nu", PLAIN,
        {"a10": PLAIN, "b10": PLAIN, "full": C10, "t1020": C10, "nt": C10}),
    Row("native-untagged takes a frame tagged with its native VLAN", "nu", C10,
        {"a10": PLAIN, "b10": PLAIN, "full": C10, "t1020": C10, "nt": C10}),
    Row("native-untagged is a trunk for its other VLANs", "nu", C20,
        {"a20": PLAIN, "full": C20, "t1020": C20, "nt": C20}),
    Row("dot1q-tunnel wraps an untagged frame into the service VLAN", "q", PLAIN, {"full": S100}),
    Row("dot1q-tunnel wraps a customer tag", "q", C10, {"full": S100 + C10, "q10": C10}),
    Row("dot1q-tunnel limits the customer VLANs on the way out", "q", C20, {"full": S100 + C20}),
    Row("dot1q-tunnel wraps a service tag", "q", [service(20)], {"full": S100 + [service(20)]}),
    Row("limited dot1q-tunnel takes its customer VLAN", "q10", C10, {"full": S100 + C10, "q": C10}),
    Row("limited dot1q-tunnel refuses another customer VLAN", "q10", C20, {}, "vlan_not_carried"),
    Row("dot1q-tunnel takes the service tag off", "full", S100 + C10, {"probe": S100 + C10, "q": C10, "q10": C10}),
    Row("dot1q-tunnel takes a service tag with TPID 0x8100 off", "full", [customer(100), customer(10)],
        {"probe": [customer(100), customer(10)], "q": C10, "q10": C10}),
    Row("a service tag names a VLAN like a customer tag", "full", S10,
        {"probe": S10, "a10": PLAIN, "b10": PLAIN, "t1020": S10, "nt": S10, "nu": PLAIN}),
    Row("only the outer tag counts", "full", C10 + C30,
        {"probe": C10 + C30, "a10": C30, "b10": C30, "t1020": C10 + C30, "nt": C10 + C30, "nu": C30}),
    Row("VLAN 4095 is refused on a trunk", "full", [customer(4095)], {}, "reserved_vlan"),
    Row("VLAN 4095 is refused on an access port", "a10", [customer(4095)], {}, "reserved_vlan"),
]


class Bench:
    """A daemon whose ports are `PORTS`, with a peer behind each."""

    def __init__(self, daemon, peers):
        self.daemon, self.peers = daemon, peers
        self._serial = itertools.count(1)
        self._own = station(0xFFFF01)

    def received_packets(self, port):
        answer = self.daemon.call("stats.ports", port=port)
        return answer["result"]["ports"][0]["rx_packets"]

    def drops(self, port):
        rows = self.daemon.call("stats.drops", port=port)["result"]["drops"]
        return {row["reason"]: row["packets"] for row in rows}

    def inject(self, port, content):
        """Sends a frame and waits until the switch has it."""
        before = self.received_packets(port)
        self.peers[port].send(content)
        eventually(lambda: self.received_packets(port) > before, 10, f"a frame received from {port}", interval=0.001)

    def play(self, port, content):
        """Returns {port: [frames]} of what a frame made every port send."""
        self.inject(port, content)
        ends, sentinels = self._send_sentinels()
        arrived = {name: peer.wait_for(ends[name]) for name, peer in self.peers.items()}
        return {name: [octets for octets in arrived[name] if octets not in sentinels] for name in arrived}

    def _send_sentinels(self):
        """One frame for each VLAN in use; returns the last one at each port, and all forms they take."""
        serial = next(self._serial)

        def make(tags):
            # A length of its own tells one row's sentinels from another's.
            return frame(self._own, BROADCAST, tags, length=200 + serial)
        for tags in ([customer(10)], [customer(20)], [service(100), customer(10)]):
            self.peers["probe"].send(make(tags))
        self.peers["full"].send(make([customer(999)]))
        ends = {name: make(tags) for name, tags in SENTINELS.items()}
        forms = [PLAIN, C10, C20, S100 + C10, [customer(999)]]
        return ends, {make(tags) for tags in forms}

    def gained(self, before, port):
        after = self.drops(port)
        gained = {reason: count - before.get(reason, 0) for reason, count in after.items()}
        return {reason: count for reason, count in gained.items() if count}


def machines(room, daemon, _):
    """Every port a virtual machine's."""
    peers = {}
    for name, vlan in PORTS.items():
        path = room.socket(name)
        peers[name] = room.keeps(FrontEnd(path))
        daemon.add_vhost_user(name, path, "client", None, *vlan)
    for peer in peers.values():
        peer.connect()
    daemon.wait_for_link(*PORTS)
    return peers


def kernel_devices(room, daemon, namespace):
    """Every port a network device of the kernel."""
    peers = {}
    for name, vlan in PORTS.items():
        daemon.add_port(name, "tap", *vlan)
        namespace.bring_up(name)
        peers[name] = room.keeps(KernelPeer(namespace, name))
    daemon.wait_for_link(*PORTS)
    return peers


@pytest.fixture(scope="module", params=[machines, kernel_devices], ids=["vhost-user", "tap"])
def bench(request):
    with Room.opened() as room:
        namespace = room.keeps(Namespace("vlan"))
        daemon = room.daemon(namespace=namespace)
        daemon.add_bridge()
        yield Bench(daemon, request.param(room, daemon, namespace))


_sources = itertools.count(0x100)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_vlan_mode(bench, row):
    # A source of its own for every row: what an earlier row taught the switch must not decide this one.
    source = station(next(_sources))
    before = bench.drops(row.port)
    arrived = bench.play(row.port, frame(source, tags=row.tags))
    expected = {name: [frame(source, tags=tags)] for name, tags in row.expected().items()}
    assert {name: got for name, got in arrived.items() if got} == expected
    assert bench.gained(before, row.port) == ({row.drop: 1} if row.drop else {})


@pytest.mark.parametrize("last_octet", [0x00, 0x0E, 0x0F])
def test_a_reserved_address_is_not_forwarded_unless_the_bridge_says_so(bench, last_octet):
    source = station(next(_sources))
    content = frame(source, f"01:80:c2:00:00:{last_octet:02x}")
    before = bench.drops("a10")
    assert not any(bench.play("a10", content).values())
    assert bench.gained(before, "a10") == {"reserved_address": 1}
    bench.daemon.ctl("bridge", "set", "br0", "--forward-reserved")
    try:
        assert bench.play("a10", content)["b10"] == [content]
    finally:
        bench.daemon.ctl("bridge", "set", "br0", "--no-forward-reserved")


def test_the_address_after_the_reserved_ones_is_forwarded(bench):
    content = frame(station(next(_sources)), "01:80:c2:00:00:10")
    assert bench.play("a10", content)["b10"] == [content]


@pytest.mark.parametrize("source", ["00:00:00:00:00:00", "03:00:00:00:00:01", BROADCAST])
def test_a_frame_from_no_station_is_dropped_by_name(bench, source):
    before = bench.drops("a10")
    assert not any(bench.play("a10", frame(source)).values())
    assert bench.gained(before, "a10") == {"invalid_source": 1}


@pytest.mark.parametrize("length", [14, 16, 17])
def test_a_tag_without_its_second_half_is_dropped_by_name(bench, length):
    content = frame(station(next(_sources)), tags=C10)[:length]
    if bench.daemon.ports()["full"]["type"] == "tap" and length < 16:
        # A tap's kernel reads into the tag: it keeps frames of a bare header with a VLAN type to itself.
        pytest.skip("the kernel does not send it")
    before = bench.drops("full")
    assert not any(bench.play("full", content).values())
    assert bench.gained(before, "full") == {"truncated_tag": 1}


@pytest.mark.parametrize("length", [14, 15, 59, 60, 61, 1513, 1514])
def test_frames_of_every_length_pass_unaltered(bench, length):
    header = frame(station(next(_sources)), tags=PLAIN)[:14]
    content = header + bytes(place % 251 for place in range(length - 14))
    if bench.daemon.ports()["a10"]["type"] == "tap" and length < 15:
        pytest.skip("the kernel sends no frame without a payload")
    assert bench.play("a10", content)["b10"] == [content]


def test_scapy_reads_the_frames_as_they_were_meant(bench):
    content = frame(station(next(_sources)), tags=PLAIN)
    arrived = bench.play("q", content)["full"][0]
    packet = frames.Ether(arrived)
    assert packet.type == 0x88A8
    assert packet[frames.Dot1AD].vlan == 100
    assert packet[frames.Dot1AD].type == frames.EXPERIMENT
