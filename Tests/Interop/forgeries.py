"""What a guest behind security groups can send that it must not, and nobody may get.

Each is a function of its own station and of another on its network, and returns packets. The name says what it sends.
To add one, add a function with `@forgery`.
"""

import struct

from frames import BROADCAST, Dot1Q, Ether
from scapy.contrib.lldp import LLDPDUChassisID, LLDPDUEndOfLLDPDU, LLDPDUPortID, LLDPDUTimeToLive
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Advertise
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_Redirect,
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, IPv6,
                                IPv6ExtHdrFragment, in6_chksum)
from scapy.layers.l2 import ARP, LLC, STP
from scapy.packet import Raw

FOREIGN_MAC, FOREIGN, FOREIGN6 = "fa:16:3e:66:66:66", "10.0.0.66", "fd00::66"
FORGERIES = []


def forgery(function):
    FORGERIES.append(function)
    return function


def four(one, other, **fields):
    return Ether(src=one.mac, dst=other.mac) / IP(**{"src": one.of_family(False), "dst": other.of_family(False)} | fields)


def six(one, other, **fields):
    return Ether(src=one.mac, dst=other.mac) / IPv6(**{"src": one.of_family(True), "dst": other.of_family(True)} | fields)


def resolution(one, **fields):
    return Ether(src=one.mac, dst=BROADCAST) / ARP(**{"hwsrc": one.mac, "psrc": one.of_family(False)} | fields)


# MARK: Who it is not

@forgery
def the_station_of_another(one, other):
    packets = [four(one, other) / UDP(sport=5, dport=5), six(one, other) / UDP(sport=5, dport=5), resolution(one)]
    for packet in packets:
        packet[Ether].src = FOREIGN_MAC
    return packets


@forgery
def addresses_of_others(one, other):
    return [four(one, other, src=source) / kind for kind in (UDP(sport=5, dport=5), TCP(sport=5, dport=80), ICMP())
            for source in (FOREIGN, other.of_family(False), "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255")]


@forgery
def addresses_of_others_of_ipv6(one, other):
    return [six(one, other, src=source) / kind for kind in (UDP(sport=5, dport=5), TCP(sport=5, dport=80), ICMPv6EchoRequest())
            for source in (FOREIGN6, other.of_family(True), "::1", "::", "fe80::66", "ff02::1", "::ffff:10.0.0.1")]


@forgery
def resolutions_for_others(one, other):
    """ARP, in the sender's protocol and hardware address, as request, reply and announcement."""
    return [resolution(one, op=op, **fields) for op in (1, 2) for fields in (
        {"psrc": FOREIGN, "pdst": FOREIGN}, {"psrc": other.of_family(False), "pdst": "10.0.0.9"}, {"hwsrc": FOREIGN_MAC},
        {"hwsrc": other.mac}, {"hwsrc": "00:00:00:00:00:00"}, {"hwsrc": BROADCAST})] + [
        # A probe with the station of another, and one that is an answer.
        resolution(one, psrc="0.0.0.0", hwsrc=FOREIGN_MAC, pdst=FOREIGN), resolution(one, op=2, psrc="0.0.0.0")]


@forgery
def reverse_resolutions_for_others(one, other):
    return [Ether(src=one.mac, dst=BROADCAST, type=0x8035) / Raw(bytes(ARP(op=3, hwsrc=FOREIGN_MAC, hwdst=FOREIGN_MAC)))]


@forgery
def neighbors_that_it_is_not(one, other):
    def advertised(target, option, **fields):
        return six(one, other, **fields) / ICMPv6ND_NA(tgt=target, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=option)
    own = one.of_family(True)
    return [advertised(FOREIGN6, one.mac), advertised(other.of_family(True), one.mac), advertised(own, FOREIGN_MAC),
            advertised(own, one.mac, src=FOREIGN6),
            six(one, other, src=FOREIGN6) / ICMPv6ND_NS(tgt=other.of_family(True)) / ICMPv6NDOptSrcLLAddr(lladdr=one.mac),
            six(one, other) / ICMPv6ND_NS(tgt=other.of_family(True)) / ICMPv6NDOptSrcLLAddr(lladdr=FOREIGN_MAC),
            six(one, other, src="::") / ICMPv6ND_NS(tgt=FOREIGN6)]


# MARK: What it has no business to be

@forgery
def a_server_of_dhcp(one, other):
    offer = BOOTP(op=2, yiaddr=FOREIGN, siaddr=one.of_family(False)) / DHCP(options=[("message-type", "offer"), "end"])
    calls = [four(one, other, dst=to) / UDP(sport=67, dport=68) / offer for to in ("255.255.255.255", other.of_family(False))]
    calls[0][Ether].dst = BROADCAST
    return calls + [six(one, other) / UDP(sport=547, dport=546) / DHCP6_Advertise()]


@forgery
def a_client_of_dhcp_with_another_station(one, other):
    request = four(one, other, src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / BOOTP()
    request[Ether].src, request[Ether].dst = FOREIGN_MAC, BROADCAST
    return [request, four(one, other, src=FOREIGN) / UDP(sport=68, dport=67) / BOOTP()]


@forgery
def a_router(one, other):
    advertisement = ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="fd66::", prefixlen=64)
    linklocal = "fe80::f816:3eff:fe00:1"
    packets = [six(one, other, src=source, dst=to) / advertisement for source in (linklocal, one.of_family(True))
               for to in ("ff02::1", other.of_family(True))]
    packets[0][Ether].dst = packets[2][Ether].dst = "33:33:00:00:00:01"
    return packets + [six(one, other, src=linklocal) / ICMPv6ND_Redirect(tgt=FOREIGN6, dst="fd00::9")]


@forgery
def frames_in_vlans(one, other):
    return [Ether(src=one.mac, dst=other.mac) / Dot1Q(vlan=vlan) / IP(src=one.of_family(False), dst=other.of_family(False))
            / UDP(sport=5, dport=5) for vlan in (1, 2, 1024, 4094)]


@forgery
def other_protocols(one, other):
    return [Ether(src=one.mac, dst=other.mac, type=kind) / Raw(bytes(46)) for kind in (0x0842, 0x8847, 0x8863, 0x88E5, 0x9000)]


# MARK: What is no packet

@forgery
def wrong_checksums(one, other):
    return [four(one, other) / TCP(sport=5, dport=80, chksum=1), four(one, other) / UDP(sport=5, dport=80, chksum=1),
            four(one, other) / ICMP(chksum=1), four(one, other, chksum=1) / UDP(sport=5, dport=80),
            six(one, other) / TCP(sport=5, dport=80, chksum=1), six(one, other) / UDP(sport=5, dport=80, chksum=0),
            six(one, other) / ICMPv6EchoRequest(cksum=1)]


@forgery
def ports_that_are_none(one, other):
    return [header(one, other) / kind(sport=source, dport=destination) for header in (four, six) for kind in (TCP, UDP)
            for source, destination in ((0, 80), (5, 0), (0, 0))]


@forgery
def flags_that_begin_nothing(one, other):
    """All but a SYN, and a reset or what acknowledges something, at which a connection is picked up."""
    return [four(one, other) / TCP(sport=2000 + flags, dport=80, flags=flags, seq=1, ack=1 if flags & 16 else 0)
            for flags in range(64) if flags not in (0x02, 0x04) and flags & 0x12 != 0x10]


@forgery
def headers_that_lie(one, other):
    datagram = bytes(four(one, other) / UDP(sport=5, dport=80) / Raw(b"x" * 40))
    segment = bytes(four(one, other) / TCP(sport=5, dport=80, dataofs=15))
    return [Raw(octets) for octets in (
        with_header(datagram, 0, 0x44), with_header(datagram, 0, 0x4F),
        with_length(datagram, 19), with_length(datagram, 4000), with_length(datagram, 24), segment,
        bytes(four(one, other) / TCP(sport=5, dport=80, dataofs=4)), bytes(four(one, other) / UDP(sport=5, dport=80, len=7)),
        bytes(four(one, other) / UDP(sport=5, dport=80, len=4000)), bytes(six(one, other, plen=4000) / UDP(sport=5, dport=80)),
        bytes(six(one, other, nh=0) / Raw(b"\x11\xff" + bytes(6))))]


def with_header(frame, place, octet):
    """With another octet in its IPv4 header, whose checksum is right."""
    header = bytearray(frame[14:34])
    header[place], header[10:12] = octet, b"\0\0"
    total = sum(struct.unpack("!10H", header))
    header[10:12] = struct.pack("!H", ~((total >> 16) + total) & 0xFFFF)
    return frame[:14] + bytes(header) + frame[34:]


def with_length(frame, length):
    high, low = length >> 8, length & 0xFF
    return with_header(with_header(frame, 2, high), 3, low)


@forgery
def fragments_that_are_too_short(one, other):
    """As they are made to lie over each other. Nobody waits for what would follow them."""
    return [four(one, other, id=number, flags="MF", frag=place, proto=17) / Raw(b"\0\5\0\x50\0\x30\0\0" + bytes(16))
            for number, place in enumerate((0, 1, 0, 2), 1)] + [
        six(one, other) / IPv6ExtHdrFragment(id=7, m=1, offset=place, nh=17) / Raw(bytes(24)) for place in (0, 1)]


# MARK: Errors

@forgery
def errors_about_nothing(one, other):
    stranger = IP(src=other.of_family(False), dst=one.of_family(False)) / UDP(sport=7, dport=7)
    quotes = (b"", b"\x45", bytes(20), bytes(stranger), bytes(stranger)[:20], bytes(stranger)[:27], b"\xff" * 60,
              bytes(IP(src=FOREIGN, dst=one.of_family(False)) / TCP(sport=80, dport=5)),
              bytes(IP(src=other.of_family(False), dst=one.of_family(False)) / ICMP(type=3) / stranger))
    packets = [four(one, other) / ICMP(type=kind, code=1) / Raw(quote) for kind in (3, 4, 5, 11, 12) for quote in quotes]
    quotes6 = (b"", b"\x60", bytes(40), bytes(IPv6(src=other.of_family(True), dst=one.of_family(True)) / UDP(sport=7, dport=7)))
    # Unreachable, too big, time exceeded, problem (RFC 4443).
    return packets + [six(one, other, nh=58) / _icmp6(one, other, kind, quote) for kind in (1, 2, 3, 4) for quote in quotes6]


def _icmp6(one, other, kind, quote):
    header = IPv6(src=one.of_family(True), dst=other.of_family(True))
    octets = bytes((kind, 0)) + bytes(6) + quote
    return Raw(octets[:2] + struct.pack("!H", in6_chksum(58, header, octets)) + octets[4:])


@forgery
def answers_to_no_question(one, other):
    return [four(one, other) / ICMP(type=kind, id=9) for kind in (0, 14, 16, 18, 9, 10, 200)]


# MARK: What is for the infrastructure

@forgery
def what_switches_tell_each_other(one, other):
    """LLDP, BPDU, Cisco's, pause frames and LACP."""
    lldp = LLDPDUChassisID(subtype=4, id=one.mac) / LLDPDUPortID(subtype=3, id=one.mac) / LLDPDUTimeToLive(ttl=120) \
        / LLDPDUEndOfLLDPDU()
    discovery = [Ether(src=one.mac, dst=to, type=0x88CC) / lldp
                 for to in ("01:80:c2:00:00:0e", "01:80:c2:00:00:00", other.mac, BROADCAST)]
    bridges = [Ether(src=one.mac, dst="01:80:c2:00:00:00") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(),
               Ether(src=one.mac, dst="01:00:0c:cc:cc:cd", type=0x010B) / Raw(bytes(46)),
               Ether(src=one.mac, dst="01:00:0c:cc:cc:cc") / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / Raw(bytes(40)),
               Ether(src=one.mac, dst="01:80:c2:00:00:01", type=0x8808) / Raw(bytes(46)),
               Ether(src=one.mac, dst="01:80:c2:00:00:02", type=0x8809) / Raw(bytes(46))]
    return discovery + bridges
