"""What a guest behind security groups must not send: none of it arrives anywhere, all of it is counted, and it leaves nothing
in the table of connections.

The guest may speak to whomever it likes; what stops it is that it lies, or what the other's groups say.
"""

import struct

import pytest

from forgeries import FORGERIES, four, six
from frames import BROADCAST, Dot1Q, Ether
from group_conversations import Talk
from processes import eventually
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.layers.l2 import ARP
from scapy.packet import Raw
from secured import SecuredHost, Station, group, rule
from vhost_user import FrontEnd

VLAN = 1024
OPEN = group("open", rule("egress"), rule("egress", six=True), rule("ingress", "tcp", (22, 22)))
GUEST = Station("guest", "fa:16:3e:00:00:01", ("10.0.0.1", "fd00::1"), ("open",))
CLOSED = Station("closed", "fa:16:3e:00:00:02", ("10.0.0.2", "fd00::2"), ("open",))
FRIEND = Station("friend", "fa:16:3e:00:00:03", ("10.0.0.3", "fd00::3"))
# The least that can be set.
CAPACITY = 1024


class Wired(SecuredHost):
    """A host whose network has a wire, to which a guest `nic` listens."""

    def __init__(self, room, *options):
        super().__init__(room, *options, networks=())
        self.daemon.add_bridge("br-eth1")
        path = room.socket("nic")
        self.wire = room.keeps(FrontEnd(path))
        self.daemon.add_port("nic", "vhost-user", bridge="br-eth1", path=path)
        self.put({"type": "host", "id": "h1", "bridge_mappings": {"physnet1": "br-eth1"}},
                 {"type": "network", "id": "blue", "network_type": "vlan", "physical_network": "physnet1",
                  "segmentation_id": VLAN}, OPEN)
        self.wire.connect()
        self.daemon.wait_for_link("nic")
        self.plug(GUEST, CLOSED, FRIEND)

    def drops(self):
        return sum(self.daemon.drops("vhuguest").values())

    def heard(self):
        """What anybody got before a broadcast of the guest's."""
        call = Ether(src=GUEST.mac, dst=BROADCAST) / ARP(hwsrc=GUEST.mac, psrc=GUEST.addresses[0], pdst="10.0.0.9")
        self.machines["guest"].send(bytes(call))
        tagged = call.copy()
        tagged.remove_payload()
        tagged = tagged / Dot1Q(vlan=VLAN) / call[ARP]
        heard = self.wire.wait_for(bytes(tagged))
        for name in ("closed", "friend"):
            heard += self.machines[name].wait_for(bytes(call))
        return [Ether(frame).summary() for frame in heard]

    def silences(self, packets):
        """Asserts that of what the guest sends nothing arrives or stays, and that all of it is counted."""
        frames = [bytes(packet) for packet in packets]
        before, known = self.drops(), self.connections()
        self.send("guest", frames)
        assert self.heard() == []
        eventually(lambda: self.drops() == before + len(frames), 10, f"{len(frames)} drops that are counted")
        assert self.connections() == known


@pytest.fixture(scope="module")
def shared(module_room):
    return Wired(module_room)


@pytest.fixture
def host(shared):
    shared.flush()
    shared.heard()
    return shared


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
@pytest.mark.parametrize("other", [FRIEND, CLOSED], ids=lambda station: station.name)
def test_nothing_comes_of(host, forgery, other):
    host.silences(forgery(GUEST, other))


def test_a_server_of_dhcp_that_speaks_in_fragments_is_known_by_its_datagram(host):
    """The first one is refused; what follows it is nothing without that."""
    offer = four(GUEST, FRIEND, id=9) / UDP(sport=67, dport=68) / Raw(bytes(2000))
    before = host.daemon.drops("vhuguest").get("dhcp_server", 0)
    host.send("guest", [bytes(piece) for piece in fragment(offer, 1400)])
    eventually(lambda: host.daemon.drops("vhuguest").get("dhcp_server", 0) == before + 1, 10, "a first fragment refused")
    assert all("frag:" in line for line in host.heard())


def test_what_no_rule_allows_begins_nothing(host):
    """Whatever the flags are, also those at which a connection is picked up."""
    host.silences([header(GUEST, CLOSED) / TCP(sport=9, dport=port, flags=flags, seq=7, ack=7)
                   for flags in range(64) for header in (four, six) for port in (80, 8080)])


def test_other_kinds_that_no_rule_allows_begin_nothing(host):
    host.silences([four(GUEST, CLOSED) / UDP(sport=5, dport=5), four(GUEST, CLOSED) / ICMP(), four(GUEST, CLOSED, proto=132),
                   six(GUEST, CLOSED) / UDP(sport=5, dport=5), six(GUEST, CLOSED) / ICMPv6EchoRequest(),
                   *(four(GUEST, CLOSED, proto=number) for number in (0, 2, 4, 41, 47, 50, 89, 255))])


def test_sessions_of_bfd_never_reach_the_wire(host):
    packets = [header(GUEST, FRIEND) / UDP(sport=49152, dport=port) / bytes(24)
               for header in (four, six) for port in (3784, 3785, 4784)]
    for packet in packets:
        # To whom nobody knows: the wire is where he might be.
        packet[Ether].dst = "fa:16:3e:00:00:99"
        packet[IP if IP in packet else 1].dst = "10.0.0.99" if IP in packet else "fd00::99"
    passing = packets[0].copy()
    passing[UDP].dport = 3786
    host.send("guest", [bytes(packet) for packet in packets + [passing]])
    arrived = [Ether(frame) for frame in host.wire.received()]
    eventually(lambda: arrived or arrived.extend(map(Ether, host.wire.received())), 10, "what is no BFD")
    assert [packet[UDP].dport for packet in arrived] == [3786]


def test_a_flood_of_first_segments_leaves_conversations_and_the_bound_as_they_are(room):
    host = Wired(room, "--connections", str(CAPACITY))
    talk = Talk(FRIEND, GUEST, ports=(40000, 22))
    talk.handshake()
    for packet in talk.packets:
        host.send(packet.sender, [packet.frame(1)])
    first = struct.unpack("!H", bytes(TCP(sport=1, dport=80, seq=0xFFFF))[0:2])[0]
    frame = bytes(four(GUEST, FRIEND) / TCP(sport=first, dport=80, flags="S", seq=0xFFFF))
    # Port and sequence number together are the same sum.
    flood = [frame[:34] + struct.pack("!H", port) + frame[36:40] + struct.pack("!H", 0xFFFF - port + 1) + frame[42:]
             for port in range(1, 5 * CAPACITY)]
    host.send("guest", flood)
    stats = host.daemon.json("conntrack", "stats")
    assert stats["connections"] <= CAPACITY and stats["evicted"] + stats["refused"] >= len(flood) - CAPACITY
    # What they pass fills their receiver's queue.
    host.machines["friend"].received()
    for side in (1, 0):
        more = Talk(FRIEND, GUEST, ports=(40000, 22)).tcp(side, "PA", (1001, 5001)[side], (5001, 1001)[side], b"more")
        host.send(more.sender, [more.frame(2)])
        assert more.frame(2) in host.arrived(more.sender, more.receiver)
    host.flush()
    assert host.daemon.json("conntrack", "stats")["connections"] == 0
    # Nothing of the table was lost: as many connections begin as before.
    host.send("guest", flood[:CAPACITY // 2])
    assert len(host.connections()) == CAPACITY // 2
