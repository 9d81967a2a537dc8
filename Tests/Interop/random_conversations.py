"""Conversations from a seed: frames of several at a time, in an order in which hosts would send them, or nearly.

Each conversation keeps what its two ends know, so that most of its frames are what a tracker expects next; the others
are late, early, repeated, outside a window by an octet, of the wrong flags, cut, or spoilt. Fragments are not drawn (there are
known conversations of them): Martlet sends them behind the burst that completes their datagram, and what Open vSwitch has of
others comes out in some later case.
"""

import struct
from dataclasses import dataclass

from draw import Draw
from random_frames import checksum
from twins import BRIDGES

ICMP, TCP, UDP, ICMP6, GRE = 1, 6, 17, 58, 47
# Without connections of their own that a tracker would read: ESP, OSPF, IGMP and an unassigned one.
OTHERS = (50, 89, 2, 253)
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

STATIONS = ("020000000001", "020000000002", "fa163e734784", "fa163edb0863")
ADDRESSES = ("0a000001", "0a000002", "0a000102", "c0a80003")
ADDRESSES6 = ("20010db8000000000000000000000001", "20010db8000000000000000000000002",
              "fe800000000000000000000000000003", "20010db8000100000000000000000004")
# Of nobody who takes part, as routers have them.
ROUTERS = {False: "0a0000fe", True: "20010db80000000000000000000000fe"}
# VLAN 0 is no tag.
VLANS = (0, 5, 7)
CLIENT_PORTS, SERVER_PORTS = (1025, 40000, 40001, 65535), (22, 80, 443)
PLACES = BRIDGES["br0"][:4] + BRIDGES["br1"][:1]
AT_ONCE, REMEMBERED = 6, 20
# How far from the window Open vSwitch takes an acknowledgment: 0xffff and 1,500 octets.
SKEW = 67035
WORD = 0xFFFFFFFF


# What a translation calls those of `ADDRESSES` and `ADDRESSES6`, and `SERVER_PORTS`.
OTHER_ADDRESSES = ("0a090901", "0a090902", "0a090903", "0a090904")
OTHER_ADDRESSES6 = tuple(f"20010db800990000000000000000000{number}" for number in (1, 2, 3, 4))
OTHER_PORTS = (2022, 8080, 8443)


@dataclass(frozen=True)
class End:
    """A host: the port where its frames go in, their VLAN, its addresses as octets, and by which other address and port the
    other end knows it."""

    place: int
    vlan: int
    station: bytes
    address: bytes
    port: int
    other_address: bytes | None = None
    other_port: int | None = None

    @property
    def seen_address(self):
        return self.other_address or self.address

    @property
    def seen_port(self):
        return self.other_port or self.port


class Translation:
    """One address for another between ends that begin conversations and those that do not, each of which has addresses of
    its own: so nobody has a translated one already, and no switch has to choose."""

    def __init__(self, is_source, has_ports):
        self.is_source, self.has_ports = is_source, has_ports and not is_source

    def hosts(self, draw, six):
        """Addresses of end 0 and end 1."""
        addresses = ADDRESSES6 if six else ADDRESSES
        return draw.pick(addresses[:2]), draw.pick(addresses[2:])

    def pairs(self, six):
        """(address, what it is called by the other end), of all that have another name."""
        own, other = (ADDRESSES6, OTHER_ADDRESSES6) if six else (ADDRESSES, OTHER_ADDRESSES)
        return list(zip(own, other))[:2] if self.is_source else list(zip(own, other))[2:]

    def others(self, address, port, six):
        """What an end's address and port become; None for what stays."""
        address = dict(self.pairs(six)).get(address)
        return address and bytes.fromhex(address), dict(zip(SERVER_PORTS, OTHER_PORTS)).get(port) if self.has_ports else None


class Conversation:
    """Between the ends 0, which began it, and 1. Each kind has `message`: which side sends next, and what it sends behind
    the IP header, checksum included."""

    number = None

    def __init__(self, draw):
        self.draw, self.six, self.is_over = draw, draw.chance(3), False
        self.ends = draw.ends(self.six)

    def summed(self, side, octets, place, number=None):
        """A message with its checksum at `place`, which is wrong at times."""
        pseudo = b"" if number == ICMP else self.ends[side].address + self.ends[1 - side].seen_address \
            + struct.pack("!II", len(octets), number or self.number)
        total = checksum(pseudo + octets) or (0xFFFF if self.number == UDP else 0)
        if self.draw.chance(40):
            total = self.draw.pick((0, 0xFFFF, total ^ 1))
        return octets[:place] + struct.pack("!H", total) + octets[place + 2:]

    def ports(self, side):
        """Zero at times, which is no port."""
        other = self.ends[1 - side]
        pair = [self.ends[side].port, other.seen_port if self.number in (TCP, UDP) else other.port]
        if self.draw.chance(100):
            pair[self.draw.number(0, 1)] = 0
        return struct.pack("!HH", *pair)


@dataclass
class Stream:
    """What one end has sent of TCP: the next sequence number, the last acknowledgment, and the window with its scale,
    None when it gave none."""

    next: int
    window: int
    scale: int | None
    acknowledged: int = 0

    @property
    def span(self):
        """The octets of its window."""
        return self.window << (self.scale or 0)


class TCPConversation(Conversation):
    """RFC 9293, with the window scale of RFC 7323."""

    number = TCP

    def __init__(self, draw):
        super().__init__(draw)
        self.streams = (self._stream(), self._stream())
        self._phase = draw.weighted(("closed", 12), ("open", 2), ("answered", 1))
        self._finished = set()

    def _stream(self):
        return Stream(self.draw.pick((self.draw.number(0, WORD), WORD - 50, 0x7FFFFFF0, 0)),
                      self.draw.pick((100, 1000, 8192, 29200, 65535)),
                      self.draw.pick((None, None, 0, 1, 3, 7, 14, 15, 200)))

    def message(self):
        side, octets = getattr(self, f"_{self._phase}")()
        return side, self.summed(side, octets, 16)

    # Segments

    def _segment(self, side, flags, length=0, sequence=None, acknowledgment=None, options=b"", window=None):
        own, other = self.streams[side], self.streams[1 - side]
        sequence = own.next if sequence is None else sequence
        acknowledgment = (other.next if flags & ACK else 0) if acknowledgment is None else acknowledgment
        if flags & ACK:
            own.acknowledged = acknowledgment
        size = 5 + len(options) // 4
        if self.draw.chance(100):
            size = self.draw.pick((0, 4, size + 1, 15))
        window = own.window if window is None else window
        return side, self.ports(side) + struct.pack("!IIHHI", sequence & WORD, acknowledgment & WORD, size << 12 | flags,
                                                    window, 0) + options + self.draw.octets(length)

    def _sent(self, side, flags, length=0, **others):
        """A segment that moves what its sender sends next."""
        segment = self._segment(side, flags, length, **others)
        own = self.streams[side]
        own.next = own.next + length + bool(flags & SYN) + bool(flags & FIN) & WORD
        return segment

    def _syn(self, side, flags, moves=True):
        """With options: a segment size, a window scale, what fills up, and broken ones."""
        scale = self.streams[side].scale
        given = b"" if scale is None else bytes((1, 3, 3, scale))
        options = self.draw.weighted((b"\2\4\5\xb4" + given, 6), (given, 4), (given + b"\1\1\0\0", 1),
                                     (b"\x08\x0a" + bytes(8) + b"\1\1" + given, 1), (b"\2\0\2\1" + given, 1),
                                     (b"\0\0\0\0" + given, 1), (b"\3\3", 1), (b"\xfe\x0c\1\1" + given, 1))
        options += bytes(-len(options) % 4)
        length = self.draw.weighted((0, 20), (10, 1))
        # Where the other side does not scale, Open vSwitch reckons this window in 16 bits, which may overflow.
        window = min(self.streams[side].window, 0xC000)
        if moves:
            return self._sent(side, flags, length, options=options, window=window)
        # The same again, as it was sent.
        return self._segment(side, flags, length, self.streams[side].next - 1, options=options, window=window)

    # Phases

    def _closed(self):
        if self.draw.chance(12):
            # What answers nothing.
            flags = self.draw.pick((SYN | ACK, ACK, RST, FIN | ACK, RST | ACK, 0))
            return self._segment(self.draw.number(0, 1), flags, acknowledgment=self.draw.number(0, WORD))
        self._finished = set()
        self._phase = "opening"
        return self._syn(0, SYN)

    def _opening(self):
        turn = self.draw.weighted(("answer", 16), ("again", 3), ("refused", 1), ("crossed", 2), ("early", 1), ("other", 1))
        if turn == "again":
            return self._syn(0, SYN, moves=False)
        if turn == "refused":
            self._phase = "closed"
            return self._segment(1, RST | ACK, sequence=0, window=0)
        if turn == "crossed":
            self._phase = "crossed"
            return self._syn(1, SYN)
        if turn == "early":
            # Open vSwitch would scale its window in 16 bits when the answer has no scale.
            return self._segment(0, ACK, self.draw.pick((0, 20)), window=0)
        if turn == "other":
            self.streams[0].next = self.draw.number(0, WORD)
            return self._syn(0, SYN)
        self._phase = "answered"
        return self._syn(1, SYN | ACK)

    def _crossed(self):
        """Both have sent a SYN: both answer it (RFC 9293, section 3.5)."""
        side = self.draw.number(0, 1)
        if self.draw.chance(2):
            self._phase = "open"
        return self._syn(side, SYN | ACK, moves=False)

    def _answered(self):
        turn = self.draw.weighted(("acknowledged", 16), ("again", 2), ("asked", 2), ("data", 1), ("refused", 1))
        if turn == "again":
            return self._syn(1, SYN | ACK, moves=False)
        if turn == "asked":
            return self._syn(0, SYN, moves=False)
        if turn == "data":
            return self._sent(1, ACK | PSH, 50)
        if turn == "refused":
            self._phase = "closed"
            return self._segment(0, RST)
        self._phase = "open"
        return self._segment(0, ACK)

    def _open(self):
        side = self.draw.number(0, 1)
        own = self.streams[side]
        turn = self.draw.weighted(("data", 14), ("acknowledged", 6), ("again", 3), ("alive", 1), ("edge", 5), ("skewed", 4),
                                  ("reset", 1), ("blind", 2), ("finished", 4), ("syn", 2), ("flags", 3), ("window", 2))
        length = self.draw.pick((0, 1, 7, 100, 1000))
        if turn == "data":
            return self._sent(side, ACK | self.draw.pick((0, PSH, PSH | URG, 0xC0)), length)
        if turn == "again":
            return self._segment(side, ACK | PSH, length, own.next - length)
        if turn == "alive":
            # RFC 9293, section 3.8.4.
            return self._segment(side, ACK, self.draw.number(0, 1), own.next - 1)
        if turn == "edge":
            return self._segment(side, ACK, length, self._edge(side, length))
        if turn == "skewed":
            return self._segment(side, ACK, length, acknowledgment=self._skewed(side))
        if turn == "reset":
            self._phase = "over"
            return self._segment(side, RST | self.draw.pick((0, ACK)))
        if turn == "blind":
            # A guess (RFC 5961, section 3).
            return self._segment(side, RST, sequence=self._edge(side, 0))
        if turn == "finished":
            self._phase = "closing"
            self._finished = {side}
            return self._sent(side, FIN | ACK, length)
        if turn == "syn":
            return self._syn(side, self.draw.pick((SYN, SYN | ACK)), moves=False)
        if turn == "flags":
            return self._segment(side, self.draw.number(0, 0x1FF), length)
        if turn == "window":
            own.window = self.draw.pick((0, 1, 100, 4096, 65535))
        return self._segment(side, ACK)

    def _edge(self, side, length):
        """Where a segment of `length` would be just within a window or just outside of it."""
        own, other = self.streams[side], self.streams[1 - side]
        right = other.acknowledged + self.draw.pick((other.span, other.window)) - length
        left = own.next - self.draw.pick((other.span, other.window))
        place = self.draw.pick((right, left, right + SKEW, left - SKEW, own.next, own.next + SKEW, own.next + 0x80000000))
        return place + self.draw.number(-2, 2)

    def _skewed(self, side):
        """An acknowledgment of too much or too little."""
        scale = self.streams[side].scale or 0
        away = self.draw.pick((0, SKEW, -SKEW, -(SKEW << min(scale, 14)), 0x80000000, 0x40000000))
        return self.draw.weighted((self.streams[1 - side].next + away + self.draw.number(-2, 2), 8), (0, 1))

    def _closing(self):
        """One end has sent its FIN, or both."""
        side = self.draw.number(0, 1)
        turn = self.draw.weighted(("acknowledged", 4), ("finished", 5), ("data", 3), ("again", 2), ("reset", 1), ("edge", 1))
        if turn == "data" and side not in self._finished:
            return self._sent(side, ACK, 100)
        if turn == "finished" and side not in self._finished:
            self._finished.add(side)
            return self._sent(side, FIN | ACK)
        if turn == "again" and side in self._finished:
            return self._segment(side, FIN | ACK, sequence=self.streams[side].next - 1)
        if turn == "reset":
            self._phase = "over"
            return self._segment(side, RST)
        if turn == "edge":
            return self._segment(side, ACK, 10, self._edge(side, 10))
        if len(self._finished) == 2 and self.draw.chance(2):
            self._phase = "over"
        return self._segment(side, ACK)

    def _over(self):
        """What is late, and a new beginning of the same ports."""
        turn = self.draw.weighted(("begin", 8), ("end", 4), ("late", 2), ("reset", 1))
        side = self.draw.number(0, 1)
        if turn == "late":
            return self._segment(side, self.draw.pick((ACK, FIN | ACK)), sequence=self.streams[side].next - 1)
        if turn == "reset":
            return self._segment(side, RST)
        if turn == "end":
            self.is_over = True
            return self._segment(side, ACK)
        self._phase = "closed"
        for stream in self.streams:
            stream.next = self.draw.pick((stream.next + 64000 & WORD, self.draw.number(0, WORD)))
        return self._closed()


class PlainConversation(Conversation):
    """Of messages that stand for themselves: one way, or both."""

    def __init__(self, draw):
        super().__init__(draw)
        self._one_way, self._begun = draw.chance(3), False

    def side(self):
        self.is_over = self.draw.chance(12)
        # The first is of end 0.
        side = 0 if self._one_way or not self._begun else self.draw.number(0, 1)
        self._begun = True
        return side


class UDPConversation(PlainConversation):
    """RFC 768."""

    number = UDP

    def message(self):
        side = self.side()
        payload = self.draw.octets(self.draw.pick((0, 1, 20, 100)))
        length = 8 + len(payload) if not self.draw.chance(30) else self.draw.pick((0, 7, 8, 9 + len(payload)))
        octets = self.ports(side) + struct.pack("!HH", length, 0) + payload
        # No checksum is allowed over IPv4 alone (RFC 8200, section 8.1).
        return side, octets if self.draw.chance(12) else self.summed(side, octets, 6)


class EchoConversation(PlainConversation):
    """Requests and answers of ICMP (RFC 792) and ICMPv6 (RFC 4443, section 4)."""

    ASKING, ANSWERING = {False: (8, 8, 8, 13, 15), True: (128,)}, {8: 0, 13: 14, 15: 16, 128: 129}
    # What nobody answers: of addresses, routers, neighbours; ends of experiments; and errors that have no type of their own.
    STRANGE = {False: (0, 1, 9, 10, 14, 16, 17, 18, 40, 42, 253), True: (129, 130, 133, 135, 136, 143, 160, 5, 200)}

    def __init__(self, draw):
        super().__init__(draw)
        self.number = ICMP6 if self.six else ICMP
        self._type, self._identifier = draw.pick(self.ASKING[self.six]), draw.pick((0, 1, 0xBEEF))

    def message(self):
        side = self.side()
        kind = self._type if side == 0 else self.ANSWERING[self._type]
        if self.draw.chance(10):
            kind = self.draw.pick(self.STRANGE[self.six] + (kind,))
        code = 0 if not self.draw.chance(20) else 1
        octets = struct.pack("!BBHHH", kind, code, 0, self._identifier, self.draw.number(0, 9))
        if self.draw.chance(40):
            octets = octets[:self.draw.number(4, 7)]
        return side, self.summed(side, octets + self.draw.octets(self.draw.pick((0, 0, 16, 48))), 2, self.number)


class OtherConversation(PlainConversation):
    """Of protocols that trackers know by their addresses alone. Not SCTP, of which Open vSwitch does not know ports."""

    def __init__(self, draw):
        super().__init__(draw)
        self.number = draw.pick((GRE,) + OTHERS)

    def message(self):
        side = self.side()
        octets = self.draw.octets(self.draw.pick((0, 4, 20, 40)))
        return side, octets


KINDS = ((TCPConversation, 8), (UDPConversation, 4), (EchoConversation, 3), (OtherConversation, 2))
# Open vSwitch 3.1 keeps half of a translated TCP connection when that begins again ("Missing parent conn"), and ends with an
# assertion of one of its maps some cases later.
TRANSLATED_KINDS = KINDS[1:]


class ConversationDraw(Draw):
    """Draws packets (port, frame) of conversations, as a `Translation` has to find them."""

    def __init__(self, seed, translation=None):
        super().__init__(seed)
        self._translation, self._kinds = translation, TRANSLATED_KINDS if translation else KINDS
        self._open = []
        # (conversation, side, packet) of the last ones, for errors to quote.
        self._former = []

    def ends(self, six):
        """Two hosts of a VLAN. Those of others may have the same addresses."""
        translation, vlan = self._translation, self.pick(VLANS)
        addresses = translation.hosts(self, six) if translation else self.distinct(ADDRESSES6 if six else ADDRESSES, 2)
        ports = self.pick(CLIENT_PORTS), self.pick(SERVER_PORTS)
        return tuple(End(place, vlan, bytes.fromhex(station), bytes.fromhex(address), port,
                         *(translation.others(address, port, six) if translation else ()))
                     for place, station, address, port in zip(
                         self.distinct(PLACES, 2), self.distinct(STATIONS, 2), addresses, ports))

    def packets(self, count):
        packets = []
        while len(packets) < count:
            if not self._open or len(self._open) < AT_ONCE and self.chance(6):
                self._open.append(self.weighted(*self._kinds)(self))
            conversation = self.pick(self._open)
            for _ in range(self.pick((1, 1, 2, 5))):
                packets.append(self._error() if self._former and self.chance(9) else self._packet(conversation))
            if conversation.is_over:
                self._open.remove(conversation)
        return packets[:count]

    def _packet(self, conversation):
        side, message = conversation.message()
        own, other = conversation.ends[side], conversation.ends[1 - side]
        packet = self._network(conversation.six, conversation.number, own.address, other.seen_address, message)
        self._former = self._former[-REMEMBERED:] + [(conversation, side, packet)]
        return self._framed(conversation, side, packet)

    def _framed(self, conversation, side, packet):
        """A packet in a frame; at times of another VLAN, at another place, cut, padded or with another octet."""
        own, other = conversation.ends[side], conversation.ends[1 - side]
        vlan = own.vlan if not self.chance(40) else self.pick(VLANS)
        tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
        frame = other.station + own.station + tag + (b"\x86\xdd" if conversation.six else b"\x08\0") + packet
        if self.chance(60):
            frame = frame[:self.number(34, len(frame))]
        if self.chance(3):
            frame += bytes(max(0, 60 - len(frame)))
        if self.chance(60):
            place = self.number(14 + len(tag), len(frame) - 1)
            frame = frame[:place] + self.octets(1) + frame[place + 1:]
        return own.place if not self.chance(40) else self.pick(PLACES), frame

    # IP

    def _network(self, six, number, source, destination, message):
        return (self._ipv6 if six else self._ipv4)(number, source, destination, message)

    def _ipv4(self, number, source, destination, message):
        """RFC 791, section 3.1; in one piece."""
        options = b"\1" * 4 * self.number(1, 3) if self.chance(30) else b""
        length = 20 + len(options) + len(message)
        if self.chance(100):
            length = self.pick((0, 20, length - 1, length + 1))
        start = struct.pack("!BBHHHBB", 0x45 + len(options) // 4, 0, length, self.number(0, 65535),
                            self.pick((0, 0x4000)), self.pick((1, 64, 255)), number)
        total = checksum(start + b"\0\0" + source + destination + options) ^ self.chance(60)
        return start + struct.pack("!H", total) + source + destination + options + message

    def _ipv6(self, number, source, destination, message):
        """RFC 8200, section 3; with options for hosts at times (section 4.6)."""
        if self.chance(20):
            message, number = bytes((number, 0, 1, 4, 0, 0, 0, 0)) + message, 60
        length = len(message) if not self.chance(100) else self.pick((0, len(message) + 1, max(0, len(message) - 1)))
        return struct.pack("!IHBB", 6 << 28, length, number, self.pick((1, 64, 255))) + source + destination + message

    # Errors

    def _error(self):
        """An error (RFC 792; RFC 4443, section 3) about a packet, from its other end or a router."""
        conversation, side, packet = self.pick(self._former)
        six = conversation.six
        reporter, culprit = conversation.ends[1 - side], conversation.ends[side]
        source = reporter.address if self.chance(2) else bytes.fromhex(ROUTERS[six])
        destination = culprit.seen_address if not self.chance(10) else reporter.seen_address
        kinds = (1, 2, 3, 4, 100) if six else (3, 3, 4, 5, 11, 12, 6)
        # Where Open vSwitch 3.1 translates an error of IPv6 about UDP, it takes these octets for UDP's checksum, unless they are 0.
        rest = 0 if six and self._translation else self.pick((0, 1500))
        octets = struct.pack("!BBHI", self.pick(kinds), self.number(0, 3), 0, rest) \
            + self._quoted(_as_received(conversation, side, packet))
        pseudo = source + destination + struct.pack("!II", len(octets), ICMP6) if six else b""
        total = checksum(pseudo + octets) ^ self.chance(40)
        message = octets[:2] + struct.pack("!H", total) + octets[4:]
        number = ICMP6 if six else ICMP
        error = self._network(six, number, source, destination, message)
        if self.chance(20):
            # Errors are not to be quoted by others (RFC 1122, section 3.2.2); some are.
            self._former.append((conversation, 1 - side, error))
        return self._framed(conversation, 1 - side, error)

    def _quoted(self, packet):
        """The packet, cut as it may be (RFC 792) or shorter; with another octet at times."""
        header = 40 if packet[0] >> 4 == 6 else 20
        quoted = packet[:self.weighted((len(packet), 6), (header + 8, 6), (header + 20, 3), (header + 7, 1), (header + 4, 1),
                                       (header, 1), (header - 1, 1), (0, 1))]
        if quoted and self.chance(10):
            place = self.number(0, len(quoted) - 1)
            quoted = quoted[:place] + self.octets(1) + quoted[place + 1:]
        return quoted


def _as_received(conversation, side, packet):
    """A packet of `side` with the addresses that its receiver sees, and with the ports if they are where they mostly are."""
    own, other = conversation.ends[side], conversation.ends[1 - side]
    place, length, header = (8, 16, 40) if conversation.six else (12, 4, 20)
    packet = packet[:place] + own.seen_address + other.address + packet[place + 2 * length:]
    if conversation.number in (TCP, UDP) and packet[0] in (0x45, 0x60) and packet[6 if conversation.six else 9] != 60:
        packet = packet[:header] + struct.pack("!HH", own.seen_port, other.port) + packet[header + 4:]
    if not conversation.six:
        packet = packet[:10] + bytes(2) + packet[12:]
        size = 4 * (packet[0] & 15)
        packet = packet[:10] + struct.pack("!H", checksum(packet[:size])) + packet[12:]
    return packet
