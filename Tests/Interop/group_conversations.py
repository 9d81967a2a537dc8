"""Conversations that firewalls judge packet by packet, and where two of them are meant to judge otherwise.

Each is between two stations, 0 which begins it and 1. What is written beside a packet is what it is called in `MEANT`.
"""

from dataclasses import dataclass

from draw import Draw
from frames import BROADCAST, Ether
from random_conversations import ACK, FIN, PSH, RST, SYN, URG
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit
from scapy.packet import Raw

# What Martlet is meant to judge otherwise than Linux: whom alone it may pass, and why. Where nothing else is said, it is what
# Open vSwitch's userspace datapath does, whose ct_state Martlet has, and which `test_conversations` holds it to.
MEANT = {
    "long before the window": ("Linux", "it takes such for an answered segment that comes late, Open vSwitch for invalid"),
    "a reset": ("Martlet", "a connection is picked up at a reset as well, if rules allow it"),
    "a FIN and ACK": ("Martlet", "a connection is picked up there"),
    "behind a reset": ("Martlet", "what goes the other way belongs to the connection that was picked up at the reset"),
    "a SYN with PSH or URG": ("Linux", "it looks at no PSH, and takes this for the beginning of a connection"),
    "a reset with PSH": ("Linux", "it looks at no PSH"),
    "flags that no segment has": ("Martlet", "they are only looked at where a connection begins"),
    "a SYN and ACK of who asked": ("Martlet", "a segment in a connection is held against its windows alone"),
    "a port that is none": ("Linux", "nobody has port 0 (RFC 6335, section 6); Linux tracks it as any other"),
    "no checksum": ("Linux", "over IPv6 there is none without (RFC 8200, section 8.1)"),
    "a quote of four octets": ("Linux", "there are eight in every error (RFC 792), and ports are in the first four"),
    "an answer of DHCP from elsewhere": ("Martlet", "answers pass whoever gives them, as with a Neutron agent's flows: what "
                                         "gives answers on a host is kept from it where it sends"),
    "ICMP of type 17": ("Linux", "address mask requests (RFC 6918) begin nothing in Open vSwitch"),
    "data of no association": ("Martlet", "SCTP is tracked by its ports, without states (README, known limits)"),
}
WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Packet:
    sender: str
    receiver: str
    content: object
    words: str

    def frame(self, number):
        """With a number that both firewalls leave as it is."""
        content = self.content.copy()
        if IPv6 in content:
            content[IPv6].fl = number
        else:
            content[IP].id = number
        return bytes(content)


class Talk:
    """What stations say, in order."""

    def __init__(self, one, other, six=False, ports=(40000, 22)):
        self.ends, self.six, self.ports, self.packets = (one, other), six, ports, []

    def say(self, side, content, words="", **fields):
        """Sends what is in an IP packet; `fields` are of its header."""
        one, other = self.ends[side], self.ends[1 - side]
        header = (IPv6 if self.six else IP)(**{"src": one.of_family(self.six), "dst": other.of_family(self.six)} | fields)
        packet = Packet(one.name, other.name, Ether(src=one.mac, dst=other.mac) / header / content, words)
        self.packets.append(packet)
        return packet

    def tcp(self, side, flags, seq, ack=0, data=b"", words="", options=(), window=8192, ports=None, chksum=None, **fields):
        source, destination = (ports or self.ports)[::1 if side == 0 else -1]
        segment = TCP(sport=source, dport=destination, flags=flags, seq=seq & WORD, ack=ack, window=window,
                      options=list(options), chksum=chksum)
        return self.say(side, segment / Raw(data), words, **fields)

    def udp(self, side, data=b"x", words="", ports=None, chksum=None, length=None, **fields):
        source, destination = (ports or self.ports)[::1 if side == 0 else -1]
        return self.say(side, UDP(sport=source, dport=destination, chksum=chksum, len=length) / Raw(data), words, **fields)

    def echo(self, side, answers=False, identifier=7, words=""):
        kinds = (ICMPv6EchoReply, ICMPv6EchoRequest) if self.six else (0, 8)
        kind = kinds[0] if answers else kinds[1]
        return self.say(side, kind(id=identifier) if self.six else ICMP(type=kind, id=identifier), words)

    def error(self, side, packet, words="", kind=3, length=None, **fields):
        """About a packet, of which it quotes so many octets."""
        quoted = Raw(bytes(packet.content)[14:][:length])
        content = (ICMPv6PacketTooBig() if kind == 2 else ICMPv6DestUnreach()) if self.six else ICMP(type=kind, code=0)
        return self.say(side, content / quoted, words, **fields)

    def handshake(self, options=(), window=8192):
        self.tcp(0, "S", 1000, options=options, window=window)
        self.tcp(1, "SA", 5000, 1001, options=options, window=window)
        self.tcp(0, "A", 1001, 5001, window=window)


# MARK: TCP

def a_whole_connection(talk):
    talk.handshake()
    talk.tcp(0, "PA", 1001, 5001, b"hello")
    talk.tcp(1, "A", 5001, 1006)
    talk.tcp(1, "PA", 5001, 1006, b"you too")
    talk.tcp(0, "A", 1006, 5008)
    talk.tcp(0, "FA", 1006, 5008)
    talk.tcp(1, "A", 5008, 1007)
    talk.tcp(1, "PA", 5008, 1007, b"and more")
    talk.tcp(0, "A", 1007, 5016)
    talk.tcp(1, "FA", 5016, 1007)
    talk.tcp(0, "A", 1007, 5017)


def all_of_it_twice(talk):
    a_whole_connection(talk)
    talk.packets[:] = [packet for packet in talk.packets for _ in range(2)]


def ports_that_come_again(talk):
    a_whole_connection(talk)
    talk.tcp(0, "S", 90000)
    talk.tcp(1, "SA", 70000, 90001)
    talk.tcp(0, "A", 90001, 70001)


def scaled_windows(talk):
    talk.handshake(options=[("MSS", 1460), ("WScale", 7)], window=1000)
    # The window of the SYN was not scaled.
    talk.tcp(1, "A", 5001, 1001, window=1000)
    for place in range(5):
        talk.tcp(0, "A", 1001 + 1400 * place, 5001, b"x" * 1400, window=1000)
    talk.tcp(1, "A", 5001, 8001, window=1000)


def outside_the_window(talk):
    talk.handshake()
    for distance, words in ((200_000, ""), (-200_000, "long before the window")):
        talk.tcp(0, "PA", 1001 + distance, 5001, b"far away", words)
        talk.tcp(1, "PA", 5001 + distance, 1001, b"far away", words)
    talk.tcp(0, "PA", 1001, 5001, b"here")


def refused(talk):
    talk.tcp(0, "S", 1000)
    talk.tcp(1, "RA", 0, 1001, words="a reset")


def reset(talk):
    talk.handshake()
    talk.tcp(0, "R", 1001, words="a reset")


def reset_by_the_other(talk):
    talk.handshake()
    talk.tcp(0, "PA", 1001, 5001, b"hello")
    talk.tcp(1, "RA", 5001, 1006, words="a reset")


def reset_from_far_away(talk):
    talk.handshake()
    talk.tcp(0, "R", 1001 + 300_000, words="a reset")
    talk.tcp(1, "R", 5001 + 300_000, words="a reset")
    talk.tcp(0, "PA", 1001, 5001, b"still here", "behind a reset")


def picked_up(talk):
    talk.tcp(0, "PA", 1000, 5000, b"hello")
    talk.tcp(1, "A", 5000, 1005)


def answers_to_nothing(talk):
    talk.tcp(0, "SA", 1000, 1)
    talk.tcp(1, "SA", 5000, 1)


def wrong_segments(talk):
    talk.tcp(0, "S", 1, chksum=0x1234)
    talk.handshake()
    talk.tcp(0, "PA", 1001, 5001, b"spoilt", chksum=0x1234)
    talk.tcp(1, "PA", 5001, 1001, b"spoilt", chksum=0x1234)


def every_flag_on_nothing(talk):
    for flags in range(64):
        words = "a reset" if flags & RST else "a FIN and ACK" if flags & FIN else ""
        talk.tcp(0, flags, 1000, 5000 if flags & ACK else 0, words=odd(flags) or words, ports=(41000 + flags, talk.ports[1]))


def every_flag_in_a_connection(talk):
    for flags in range(64):
        talk.ports = (42000 + flags, talk.ports[1])
        talk.handshake()
        words = "a SYN and ACK of who asked" if flags & SYN and flags & ACK else ""
        if flags & RST and flags & (FIN | URG):
            words = "flags that no segment has"
        elif flags & RST and not flags & ACK:
            words = "a reset with PSH"
        talk.tcp(0, flags, 1001, 5001 if flags & ACK else 0, words=odd(flags) or words)


def odd(flags):
    return "a SYN with PSH or URG" if flags & SYN and not flags & (RST | ACK | FIN) and flags & (PSH | URG) else ""


# MARK: UDP, and protocols without states

def questions_and_answers(talk):
    for side in (0, 0, 1, 0, 1, 1):
        talk.udp(side)


def datagrams_that_answer_nothing(talk):
    talk.udp(1)
    talk.udp(1, ports=(talk.ports[1], talk.ports[0]))


def wrong_datagrams(talk):
    talk.udp(0, chksum=0x1234)
    talk.udp(0, length=7)
    talk.udp(0, length=200)
    talk.udp(0, b"without", chksum=0, words="no checksum" if talk.six else "")
    for ports in ((0, talk.ports[1]), (talk.ports[0], 0)):
        talk.udp(0, ports=ports, words="a port that is none")


def no_ports(talk):
    for side in (0, 1, 0):
        talk.say(side, Raw(b"12345678"), **({"nh": 50} if talk.six else {"proto": 50}))


def associations(talk):
    source, destination = talk.ports
    for tag, chunk, words in ((0, SCTPChunkInit(init_tag=7), ""), (7, SCTPChunkData(data=b"abcd"), "data of no association")):
        talk.say(0, SCTP(sport=source, dport=destination, tag=tag) / chunk, words)
        source += 1


# MARK: ICMP

def echoes(talk):
    talk.echo(0)
    talk.echo(1, answers=True)
    talk.echo(0)
    talk.echo(1, answers=True, identifier=8)
    talk.echo(1)
    talk.echo(0, answers=True)


def answers_alone(talk):
    talk.echo(0, answers=True)
    talk.echo(1, answers=True)


def other_queries(talk):
    for kind in range(20):
        if kind not in (3, 4, 5, 11, 12):
            talk.say(0, ICMP(type=kind, id=100 + kind), f"ICMP of type {kind}")


def errors(talk):
    first = talk.udp(0)
    talk.error(1, first)
    talk.error(1, first, kind=11 if not talk.six else 2)
    answer = talk.udp(1)
    talk.error(0, answer)
    talk.error(0, first)
    talk.udp(0)


def errors_of_tcp(talk):
    talk.tcp(0, "S", 1000)
    syn = talk.packets[-1]
    talk.error(1, syn)
    talk.tcp(1, "SA", 5000, 1001)
    talk.error(0, talk.packets[-1])


def errors_that_lie(talk):
    first = talk.udp(0)
    talk.error(1, first, length=0)
    talk.error(1, first, length=20 if not talk.six else 40)
    talk.error(1, first, "a quote of four octets", length=24 if not talk.six else 44)
    about_nothing = Talk(*talk.ends, talk.six, (1, 2)).udp(0)
    talk.error(1, about_nothing)
    talk.error(0, about_nothing)
    elsewhere = Talk(*talk.ends, talk.six, talk.ports)
    talk.error(1, elsewhere.udp(0, dst="fd50::99" if talk.six else "50.50.1.99"))
    talk.error(1, elsewhere.udp(0, src="fd50::99" if talk.six else "50.50.1.99"))
    talk.error(0, talk.error(1, first))


# MARK: Who it says that it is

def forged(talk):
    other = "fd50::66" if talk.six else "50.50.1.66"
    talk.udp(0, src=other)
    talk.tcp(0, "S", 1, src=other)
    packet = talk.tcp(0, "S", 1)
    packet.content[Ether].src = "fa:16:3e:00:00:66"


def asks_for_an_address(talk):
    for fields, words in (({"src": "0.0.0.0", "dst": "255.255.255.255"}, ""), ({}, "")):
        packet = talk.udp(0, ports=(68, 67), **fields)
        if fields:
            packet.content[Ether].dst = BROADCAST


def gives_addresses(talk):
    talk.udp(0, ports=(67, 68), words="an answer of DHCP from elsewhere" if talk.ends[0].name != "dhcp" else "")


TRANSPORT = (a_whole_connection, all_of_it_twice, ports_that_come_again, scaled_windows, outside_the_window, refused, reset,
             reset_by_the_other, reset_from_far_away, picked_up, answers_to_nothing, wrong_segments, questions_and_answers,
             datagrams_that_answer_nothing, wrong_datagrams, errors, errors_of_tcp, errors_that_lie, forged)
FLAGS = (every_flag_on_nothing, every_flag_in_a_connection)
OTHER_KINDS = (no_ports, associations, echoes, answers_alone)
ONLY_IPV4 = (other_queries, asks_for_an_address, gives_addresses)
# An allowed port of some table, both ways, and one of none.
SERVICES = (22, 53, 8080)


def conversations(one, other):
    """(words, packets) of what two stations say to each other, begun by the first."""
    for six in (False, True):
        for kind in TRANSPORT:
            yield from (said(kind, one, other, six, (40000, service)) for service in SERVICES)
        for kind in OTHER_KINDS + (() if six else ONLY_IPV4):
            yield said(kind, one, other, six)


def flags(one, other):
    return [said(kind, one, other) for kind in FLAGS]


def said(kind, *talk):
    talk = Talk(*talk)
    kind(talk)
    return f"{kind.__name__} to {talk.ports[1]} over {'IPv6' if talk.six else 'IPv4'}", talk.packets


def mixed(seed, pairs, count=6):
    """Several conversations at once, whose packets come in one after the other in any order, some of them twice."""
    draw = Draw(f"groups/{seed}")
    kinds = (a_whole_connection, scaled_windows, outside_the_window, reset, refused, questions_and_answers, echoes, errors)
    waiting = []
    for number in range(count):
        talk = Talk(*draw.pick(pairs), draw.chance(3), (43000 + number, draw.pick(SERVICES)))
        draw.pick(kinds)(talk)
        waiting.append(talk.packets)
    packets = []
    while waiting:
        turn = draw.pick(waiting)
        packets += [turn.pop(0)] * (2 if draw.chance(5) else 1)
        waiting = [packets for packets in waiting if packets]
    return packets
