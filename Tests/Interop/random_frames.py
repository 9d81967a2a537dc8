"""Frames of every kind that flow tables tell apart, from a seed; many are cut short, padded, or wrong in an octet.

They are packed by hand: scapy takes a millisecond for a frame, and there are 100,000. What is in a header does not
matter much here, only that both switches get the same.
"""

import struct

from draw import Draw

STATIONS = ["020000000001", "020000000002", "020000000003", "fa163e734784", "fa163edb0863"]
GROUPS = ["ffffffffffff", "01005e010101", "333300000001", "3333ff000002", "0180c2000021"]
RESERVED = ["0180c2000000", "0180c200000e", "0180c200000f"]
ADDRESSES = ["0a000001", "0a000102", "c0a80003", "0a011707", "e0000001"]
ADDRESSES6 = ["20010db8000000000000000000000001", "20010db8000000000000000000000002",
              "fe800000000000000000000000000003", "ff020000000000000000000000000001", "00" * 15 + "01"]
VLANS = [0, 1, 5, 7, 100, 1024, 4094, 4095]
# Neighbour advertisements' (RFC 4861, section 4.4), and what is reserved.
FLAGS = [0, 0x60000000, 0xA0000001]
SERVICES = [1, 9, 22, 53, 80, 81, 443, 0x1234, 65535]
CUSTOMER, SERVICE = 0x8100, 0x88A8
IPV4, ARP, RARP, IPV6 = 0x0800, 0x0806, 0x8035, 0x86DD
# Types of no protocol that the switch reads; below 0x600 they are lengths (IEEE Std 802.3, clause 3.2.6).
OTHER_TYPES = [0x88CC, 0x9000, 0x8847, 0x894F, 0x0600, 0x05FF, 0x002E, 0x0000, 0x8902, 0xFFFF, 0x9100]
# What Open vSwitch's dummy ports take.
SHORTEST = 14
# Payloads of jumbo frames, well below what ports of either switch take.
JUMBO = 1600, 8000


def checksum(octets):
    """The Internet checksum (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


class FrameDraw(Draw):
    """Draws frames."""

    def frame(self):
        octets = self._addresses() + self._tags() + self._typed()
        if self.chance(8):
            octets = octets[:self.number(SHORTEST, len(octets))]
        if self.chance(8):
            octets += bytes(self.number(1, 60))
        elif len(octets) < 60 and self.chance(2):
            octets += bytes(60 - len(octets))
        if self.chance(10):
            octets = self._spoilt(octets)
        return octets

    def _spoilt(self, octets):
        """With another octet somewhere behind the addresses."""
        if len(octets) <= SHORTEST:
            return octets
        place = self.number(12, min(len(octets), 90) - 1)
        return octets[:place] + self.octets(1) + octets[place + 1:]

    def _addresses(self):
        destination = self.pick(STATIONS) if self.chance(2) else self.pick(GROUPS)
        if self.chance(40):
            destination = self.pick(RESERVED)
        return bytes.fromhex(destination + self.pick(STATIONS))

    def _tags(self):
        tags = b""
        for _ in range(self.weighted((0, 6), (1, 5), (2, 2), (3, 1))):
            control = self.pick(VLANS) | self.pick((0, 0, 1, 3, 7)) << 13
            tags += struct.pack("!HH", SERVICE if self.chance(4) else CUSTOMER, control)
        return tags

    def _typed(self):
        kind = self.weighted((IPV4, 20), (IPV6, 16), (ARP, 8), (RARP, 2), ("snap", 2), ("llc", 1), ("other", 2))
        if kind == "snap":
            return self._snap()
        if kind == "llc":
            # As of the spanning tree (IEEE Std 802.1Q, clause 14.1).
            return struct.pack("!H", 38) + b"\x42\x42\3" + self.octets(35)
        if kind == "other":
            return struct.pack("!H", self.pick(OTHER_TYPES)) + self.octets(self.number(0, 50))
        return struct.pack("!H", kind) + self._network(kind)

    def _network(self, kind):
        if kind == IPV4:
            return self._ipv4()
        return self._ipv6() if kind == IPV6 else self._arp()

    def _snap(self):
        """LLC with SNAP (IEEE Std 802, clause 9.5), or nearly."""
        kind = self.pick((IPV4, IPV6, ARP, 0x05DC))
        inside = self._network(kind) if kind != 0x05DC else self.octets(20)
        header = bytes.fromhex("aaaa03") + (b"\0\0\0" if not self.chance(5) else b"\0\0\x01")
        length = len(inside) + 8 if not self.chance(5) else self.number(0, 0x5FF)
        return struct.pack("!H", length & 0x5FF) + header + struct.pack("!H", kind) + inside

    def _arp(self):
        """RFC 826; a wrong size or kind of address at times."""
        form = bytes.fromhex("000108000604")
        if self.chance(12):
            form = self.pick((b"\0\6\x08\0\6\4", b"\0\1\x86\xdd\6\4", b"\0\1\x08\0\x08\4", b"\0\1\x08\0\6\x10"))
        operation = self.pick((1, 1, 1, 2, 2, 3, 4, 8)) if not self.chance(12) else self.pick((0, 255, 256, 300))
        return form + struct.pack("!H", operation) + bytes.fromhex(
            self.pick(STATIONS) + self.pick(ADDRESSES) + self.pick(STATIONS + ["0" * 12]) + self.pick(ADDRESSES))

    # IPv4

    def _ipv4(self):
        """RFC 791, section 3.1."""
        number = self.pick((1, 6, 6, 17, 17, 132, 2, 47, 50, 89))
        source, destination = bytes.fromhex(self.pick(ADDRESSES)), bytes.fromhex(self.pick(ADDRESSES))
        options = self.octets(4 * self.number(1, 10)) if self.chance(6) else b""
        fragment = self.weighted((0, 10), (0x4000, 4), (0x2000, 1), (0x2010, 1), (0x0010, 1), (0x8000, 1))
        inside = self._transport(number, source + destination) if fragment & 0x1FFF == 0 else self.octets(24)
        length = 20 + len(options) + len(inside)
        if self.chance(20):
            length = self.pick((0, 19, 20, length - 1, length + 1, 65535))
        start = struct.pack("!BBHHHBB", 0x45 + len(options) // 4, self._service(), length & 0xFFFF,
                            self.number(0, 65535), fragment, self._life(), number)
        right = checksum(start + b"\0\0" + source + destination + options)
        return start + self._sum(right) + source + destination + options + inside

    def _service(self):
        return self.pick((0, 0, 32, 0xB8, 1, 2, 3, 0xFF))

    def _life(self):
        return self.pick((0, 1, 2, 3, 64, 64, 64, 128, 255))

    def _sum(self, right):
        """A checksum, wrong or none at times."""
        if self.chance(12):
            return self.pick((b"\0\0", b"\xff\xff", self.octets(2)))
        return struct.pack("!H", right)

    # IPv6

    def _ipv6(self):
        """RFC 8200, section 3."""
        source, destination = bytes.fromhex(self.pick(ADDRESSES6)), bytes.fromhex(self.pick(ADDRESSES6))
        following = self.pick((58, 58, 58, 6, 6, 17, 17, 132, 59, 47))
        inside = self._transport(following, source + destination)
        for _ in range(self.weighted((0, 6), (1, 2), (2, 1), (3, 1))):
            kind = self.pick((0, 43, 44, 51, 60, 135))
            inside = self._extension(kind, following) + inside
            following = kind
        length = len(inside) if not self.chance(20) else self.pick((0, len(inside) - 1, len(inside) + 1, 65535))
        first = 6 << 28 | self._service() << 20 | self.pick((0, 0, 1, 0xABCDE))
        return struct.pack("!IHBB", first, length & 0xFFFF, following, self._life()) + source + destination + inside

    def _extension(self, kind, following):
        """RFC 8200, section 4; RFC 4302, section 2.2."""
        length = self.number(0, 2)
        if kind == 43:
            # A routing header with segments left or without (RFC 8200, section 4.4).
            return bytes((following, length, 0, self.pick((0, 0, 1, 2)))) + self.octets(length * 8 + 4)
        if kind == 44:
            return struct.pack("!BBH", following, 0, self.pick((0, 0, 1, 6, 0x10, 0x11))) + self.octets(4)
        octets = (length + 2) * 4 if kind == 51 else (length + 1) * 8
        if self.chance(20):
            length = 255
        return bytes((following, length)) + self.octets(max(octets, 8) - 2)

    # Transport

    def _transport(self, number, addresses):
        """A message of protocol `number` with its checksum."""
        make = {1: self._icmp, 2: self._igmp, 6: self._tcp, 17: self._udp, 58: self._icmp6, 132: self._sctp}.get(number)
        if make is None:
            return self.octets(self.number(0, 40))
        octets, place = make()
        if place is None:
            return octets
        header = b"" if number in (1, 2) else addresses + struct.pack("!HH", len(octets), number)
        right = checksum(header + octets) or (0xFFFF if number == 17 else 0)
        return octets[:place] + self._sum(right) + octets[place + 2:]

    def _ports(self):
        return struct.pack("!HH", self.pick(SERVICES), self.pick(SERVICES))

    def _tcp(self):
        options = self.number(1, 10) if self.chance(5) else 0
        size = 5 + options if not self.chance(20) else self.number(0, 15)
        flags = self.pick((0x002, 0x012, 0x010, 0x011, 0x018, 0x004, 0x1FF, 0x0C2))
        octets = self._ports() + self.octets(8) + struct.pack("!HHI", size << 12 | flags, 8192, 0)
        return octets + self.octets(4 * options) + self._payload(), 16

    def _udp(self):
        payload = self._payload()
        length = 8 + len(payload) if not self.chance(20) else self.number(0, 40)
        return self._ports() + struct.pack("!HH", length, 0) + payload, 6

    def _sctp(self):
        """Its CRC is whatever it is: both switches are to keep it as right or wrong as it was."""
        return self._ports() + self.octets(8) + self._payload(), None

    def _icmp(self):
        return bytes((self.pick((0, 3, 8, 8, 11, 13)), self.pick((0, 0, 1, 4)), 0, 0)) + self.octets(4) \
            + self._payload(), 2

    def _igmp(self):
        """RFC 2236, section 2."""
        return bytes((self.pick((0x11, 0x16, 0x17)), 0, 0, 0)) + bytes.fromhex(self.pick(ADDRESSES)), 2

    def _icmp6(self):
        """Echo, and neighbour discovery with its options (RFC 4861, section 4)."""
        kind = self.pick((128, 129, 133, 134, 135, 135, 135, 136, 136, 136))
        octets = bytes((kind, 1 if self.chance(12) else 0, 0, 0))
        if kind < 135:
            return octets + self.octets(4) + self._payload(), 2
        octets += struct.pack("!I", self.pick(FLAGS)) if not self.chance(4) else self.octets(4)
        octets += bytes.fromhex(self.pick(ADDRESSES6))
        for _ in range(self.weighted((0, 1), (1, 5), (2, 2))):
            length = 1 if not self.chance(8) else self.pick((0, 2, 3))
            octets += bytes((self.pick((1, 1, 2, 2, 3)), length)) + bytes.fromhex(self.pick(STATIONS + ["0" * 12]))
            octets += self.octets(8 * (length - 1) if length > 1 else 0)
        return octets, 2

    def _payload(self):
        if self.chance(150):
            return self.octets(self.number(*JUMBO))
        return self.octets(self.weighted((0, 2), (1, 1), (18, 6), (26, 3), (100, 1)))
