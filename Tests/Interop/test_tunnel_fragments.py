"""Tunnels' packets that come in fragments, from Linux and from scapy: put together, or dropped by name."""

import random

import pytest

from frames import station
from netns import KernelPeer, carries_tcp, pings, veth
from processes import eventually
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from underlay import HERE, KEY, MAC, THERE, Underlay

SIX = {"here": "2001:db8::1", "there": "2001:db8::2", "length": 64}
both = pytest.mark.parametrize("ends", [{}, SIX], ids=["ipv4", "ipv6"])
INVALID, ROOM, EXPIRED = (f"tunnel_fragment_{what}" for what in ("invalid", "room", "expired"))
SIZE = 1200


class Libpcap(Underlay):
    """The wire is a port of libpcap's: for one of AF_PACKET the kernel puts IPv4's fragments together itself."""

    def __init__(self, room, fragments="reassemble", **options):
        super().__init__(room, endpoint={"fragments": fragments}, **options)

    def lay_wire(self):
        super().lay_wire()
        return "net_pcap0,rx_iface_in=wire,tx_iface=wire"

    def add_guest(self):
        """Beside the tap, which takes no jumbo frames."""
        veth(self.near, "guest", self.near, "vm")
        for end in ("guest", "vm"):
            self.near.ip("link", "set", "dev", end, "mtu", 9000)
        self.daemon.add_port("guest", "dpdk", bridge="br-tun", devargs="net_pcap1,rx_iface_in=guest,tx_iface=guest",
                             mtu=9000)
        return self.room.keeps(KernelPeer(self.near, "vm"))


class Sender:
    """Packets by hand from the wire's far end, and the guest behind the tunnel."""

    def __init__(self, room, tag=None, **options):
        self.underlay = Libpcap(room, tag=tag, **options)
        self.daemon, self.tag = self.underlay.daemon, tag
        self.underlay.tunnel()
        self.wire = self.underlay.peer()
        self.guest = self.underlay.add_guest()
        self.mac = self.underlay.far.ip("link", "show", "dev", "eth0").stdout.split("link/ether ")[1].split()[0]
        self.number = self.sent = self.octets = 0

    def send(self, pieces):
        for piece in pieces:
            self.wire.send(piece)
            self.sent, self.octets = self.sent + 1, self.octets + len(piece)

    def frame(self, length=4000):
        """A frame like no other."""
        self.number += 1
        packet = Ether(src=station(0xB), dst="ff:ff:ff:ff:ff:ff") / IP(src=THERE, dst=HERE) / UDP(sport=1, dport=9)
        return bytes(packet / random.Random(self.number).randbytes(length - len(packet)))

    def network(self):
        """An IP header before UDP."""
        if ":" in self.underlay.here:
            return IPv6(src=self.underlay.there, dst=self.underlay.here, nh=17)
        return IP(src=self.underlay.there, dst=self.underlay.here, proto=17)

    def datagram(self, frame):
        """Behind the IP header, its UDP checksum counted."""
        packet = self.network() / UDP(sport=50000, dport=4789) / VXLAN(vni=KEY, flags=8) / frame
        return bytes(type(packet)(bytes(packet)).payload)

    def piece(self, content, start, end, more=None, number=None, next_header=17, **fields):
        """A part of a packet's content, as a frame of the wire."""
        more = int(end < len(content) if more is None else more)
        number = self.number if number is None else number
        network = self.network()
        if isinstance(network, IPv6):
            network.nh = 44
            network = network / IPv6ExtHdrFragment(nh=next_header, offset=start // 8, m=more, id=number)
        else:
            network.flags, network.frag, network.id = more, start // 8, number
        for name, value in fields.items():
            setattr(network, name, value)
        ethernet = Ether(src=self.mac, dst=MAC)
        return bytes((ethernet / Dot1Q(vlan=self.tag) if self.tag else ethernet) / network / content[start:end])

    def pieces(self, frame, cuts=None, **fields):
        content = self.datagram(frame)
        ends = [*(cuts or range(SIZE, len(content), SIZE)), len(content)]
        return [self.piece(content, start, end, **fields) for start, end in zip([0, *ends], ends)]

    def arrives(self, pieces, frame):
        self.send(pieces)
        self.guest.wait_for(frame)

    def dropped(self, pieces, reason, count, port="wire"):
        before = self.daemon.drops(port).get(reason, 0)
        self.send(pieces)
        eventually(lambda: self.daemon.drops(port).get(reason, 0) == before + count, 10, f"{count} {reason} on {port}")

    def lost(self):
        return [(port, reason) for port in ("wire", "vtep") for reason in self.daemon.drops(port)
                if reason.startswith("tunnel_fragment")]

    def still_works(self):
        frame = self.frame()
        self.arrives(self.pieces(frame), frame)
        self.daemon.assert_alive()


def test_linux_sends_fragments(room):
    """Its route to the switch takes less than the packets of its tunnel, whose route never learns of it. Of VXLAN over IPv6
    Linux makes no fragments (Ip6FragFails)."""
    underlay = Libpcap(room)
    underlay.tunnel()
    underlay.linux_vxlan()
    underlay.near.ip("link", "set", "dev", "tap0", "mtu", 1430)
    underlay.resolve()
    underlay.far.ip("route", "add", underlay.here, "dev", "eth0", "mtu", "lock", 1280)
    underlay.far.ip("route", "replace", "10.88.0.0/24", "dev", "vx", "src", THERE, "mtu", "lock", 1430)
    seen = room.keeps(KernelPeer(underlay.near, "wire"))
    assert pings(underlay.near, THERE, size=1400) and pings(underlay.far, HERE, size=1400)
    assert any(fragmented(frame) for frame in seen.received()), "the pings did not come in fragments"
    assert carries_tcp(underlay.far, underlay.near, HERE) and carries_tcp(underlay.near, underlay.far, THERE)
    assert not [reason for reason in underlay.daemon.drops("wire") if reason.startswith("tunnel_fragment")]
    assert not underlay.daemon.drops("vtep").get(EXPIRED)


def fragmented(frame):
    packet = Ether(frame)
    return IPv6ExtHdrFragment in packet or IP in packet and bool(packet[IP].flags.MF or packet[IP].frag)


@both
@pytest.mark.parametrize("tag", [None, 7], ids=["untagged", "tagged"])
def test_fragments_in_any_order_make_the_packet(room, ends, tag):
    sender = Sender(room, tag, **ends)
    orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]]
    for order in orders:
        frame = sender.frame()
        pieces = sender.pieces(frame)
        sender.arrives([pieces[place] for place in order], frame)
    first, second = sender.frame(), sender.frame()
    sender.number = 100
    one = sender.pieces(first)
    sender.number = 101
    other = sender.pieces(second)
    for pair in zip(one, other):
        sender.send(pair)
    assert first in sender.guest.wait_for(second), "two packets at once"
    longest = sender.frame(length=8900)
    sender.arrives(sender.pieces(longest), longest)
    assert not sender.lost()
    counters = sender.daemon.counters("wire")
    if not ends:
        # With IPv6 Linux has more to say than an ARP message of 42 octets now and then.
        asked = counters["rx_packets"] - sender.sent
        assert asked in (0, 1, 2) and counters["rx_bytes"] == sender.octets + 42 * asked
    assert sender.daemon.counters("vx0")["rx_packets"] == 7


@both
def test_what_does_not_fit_together_is_dropped_whole(room, ends):
    sender = Sender(room, **ends)

    def cut(number):
        sender.number = number
        content = sender.datagram(sender.frame(3000))
        return content, [sender.piece(content, start, min(start + SIZE, len(content)), number=number)
                         for start in range(0, len(content), SIZE)]
    content, (first, middle, last) = cut(1000)
    across = sender.piece(content, 600, 600 + SIZE, number=1000)
    sender.dropped([first, middle, across, last], INVALID, 4)
    _, (first, middle, last) = cut(1100)
    sender.dropped([first, middle, middle, last], INVALID, 4)
    content, (first, middle, last) = cut(1200)
    shifted = sender.piece(content, SIZE - 8, 2 * SIZE - 8, number=1200)
    sender.dropped([first, shifted, last], INVALID, 3)
    _, (first, middle, last) = cut(1300)
    sender.dropped([first, first], INVALID, 2)
    _, (first, middle, last) = cut(1400)
    sender.dropped([last, last], INVALID, 2)
    content, _ = cut(1500)
    sender.dropped([sender.piece(content, 0, 1201, number=1500)], INVALID, 1)
    sender.dropped([sender.piece(content[:1200], 65_528 - 65_528 % 8, 0)], INVALID, 1)
    beyond = sender.piece(bytes(65_528) + content[:100], 65_528, 65_628, number=1501)
    sender.dropped([beyond], INVALID, 1)
    sender.still_works()


@both
def test_more_than_eight_fragments_are_dropped(room, ends):
    sender = Sender(room, **ends)
    pieces = sender.pieces(sender.frame(8900), cuts=range(904, 8904, 904))
    sender.dropped(pieces[:8], INVALID, 8)
    sender.still_works()


@both
def test_what_never_becomes_whole_is_counted(room, ends):
    sender = Sender(room, **ends)
    pieces = sender.pieces(sender.frame())
    sender.dropped(pieces[1:], EXPIRED, 3, "vtep")
    sender.dropped(pieces[:1], EXPIRED, 1, "vtep")
    sender.still_works()


def test_nobody_fills_the_switch_with_fragments(room):
    sender = Sender(room)
    content = sender.datagram(sender.frame())
    sender.underlay.wait_for_neighbors(sender.underlay.there)
    others = sender.daemon.counters("wire")["rx_packets"]
    sender.send([sender.piece(content, 0, 256, number=number) for number in range(3000)])

    def counted():
        return sender.daemon.drops("wire").get(ROOM, 0), sender.daemon.drops("vtep").get(EXPIRED, 0)

    def came():
        # Linux may lose some on the way.
        return sender.daemon.counters("wire")["rx_packets"] - others
    eventually(lambda: sum(counted()) == came(), 20, "a name for each fragment")
    assert all(counted())
    sender.still_works()


@pytest.mark.parametrize("length, reason", [(8, "tunnel_header"), (16, "scattered_header"), (32, "scattered_header")])
@both
def test_headers_that_are_spread_over_fragments_are_not_believed(room, ends, length, reason):
    sender = Sender(room, **ends)
    port = "vx0" if length == 32 else "wire"
    sender.dropped(sender.pieces(sender.frame(3000), cuts=[length, 1000, 2000]), reason, 1, port)
    sender.still_works()


def test_the_same_number_of_another_protocol_is_another_packet(room):
    sender = Sender(room)
    sender.underlay.tunnel("g0", "gre")
    one, other = sender.frame(), sender.frame()
    sender.number = 77
    first = sender.pieces(one)
    content = bytes(GRE(key_present=1, key=KEY, proto=0x6558) / other)
    second = [sender.piece(content, start, min(start + SIZE, len(content)), proto=47)
              for start in range(0, len(content), SIZE)]
    for pair in zip(first, second):
        sender.send(pair)
    assert one in sender.guest.wait_for(other)
    assert not sender.lost()


def test_congestion_of_one_fragment_is_that_of_the_packet(room):
    sender = Sender(room)
    inner = Ether(src=station(0xB), dst="ff:ff:ff:ff:ff:ff") / IP(src=THERE, dst=HERE, tos=2) / UDP(dport=9)
    marked = inner.copy()
    marked[IP].tos = 3
    content = sender.datagram(bytes(inner / bytes(2500)))
    pieces = [sender.piece(content, start, min(start + SIZE, len(content)), tos=3 if start == SIZE else 2)
              for start in range(0, len(content), SIZE)]
    sender.arrives(pieces, bytes(marked / bytes(2500)))


def test_other_headers_of_ipv6(room):
    """A packet in one fragment is whole; what begins with other headers, or is of no tunnel, is the bridge's own."""
    sender = Sender(room, **SIX)
    frame = sender.frame(1000)
    sender.arrives(sender.pieces(frame), frame)
    content = sender.datagram(sender.frame())
    other = bytes(IPv6ExtHdrDestOpt(nh=17)) + content
    sender.wire.send(sender.piece(other, 0, SIZE, next_header=60))
    sender.wire.send(sender.piece(content, 0, SIZE, next_header=58))
    hop = Ether(src=sender.mac, dst=MAC) / sender.network() / IPv6ExtHdrHopByHop(nh=44) \
        / IPv6ExtHdrFragment(nh=17, m=1, id=5) / content[:SIZE]
    hop[IPv6].nh = 0
    sender.wire.send(bytes(hop))
    eventually(lambda: sender.daemon.counters("vtep")["tx_packets"] >= 3, 10, "three packets for the endpoint itself")
    sender.still_works()


def test_an_endpoint_drops_fragments_unless_it_is_told(room):
    sender = Sender(room, fragments="drop")
    sender.dropped(sender.pieces(sender.frame()), "tunnel_fragment", 4)
    whole = sender.frame(1000)
    sender.arrives(sender.pieces(whole), whole)


def test_an_endpoint_goes_with_its_fragments(room):
    sender = Sender(room)
    daemon = sender.daemon
    assert daemon.ports()["vtep"]["options"]["fragments"] == "reassemble"
    for _ in range(3):
        pieces = sender.pieces(sender.frame())
        before = daemon.counters("wire")["rx_packets"]
        sender.send(pieces[:3])
        eventually(lambda: daemon.counters("wire")["rx_packets"] == before + 3, 10, "three fragments that wait")
        daemon.ctl("port", "del", "vtep")
        daemon.add_port("vtep", "endpoint", bridge="br-phys", address="192.0.2.1/24", mac=MAC, fragments="reassemble")
        assert daemon.drops("vtep") == {}
        sender.still_works()
    daemon.stop()
    daemon.start()
    assert daemon.ports()["vtep"]["options"]["fragments"] == "reassemble"
    sender.still_works()


def test_an_option_that_nobody_knows_is_refused(daemon):
    words = ("port", "add", "br0", "vtep", "--type", "endpoint", "--option", "address=192.0.2.1/24")
    assert "use drop or reassemble" in daemon.refused(*words, "--option", "fragments=maybe")
    daemon.add_port("vtep", "endpoint", address="192.0.2.1/24")
    assert daemon.ports()["vtep"]["options"]["fragments"] == "drop"
