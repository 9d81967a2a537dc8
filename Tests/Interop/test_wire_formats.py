"""The wire formats of tunnels and of what goes with them against scapy: the golden packets are what scapy makes.

WireTests holds Martlet's parsers and writers to the same packets. They are made by
    python3 Tests/Interop/test_wire_formats.py
into Tests/WireTests/Golden/packets.txt. A row has the format, a verdict, what is read and the octets, all numbers in
hexadecimal. Verdicts: `=` is read, and written again octet for octet; `~` is read only, for what is reserved or left out
is not written; `!` is refused, for the reason that stands in place of what is read.
"""

import socket
import sys
from pathlib import Path

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptSrcLLAddr, ICMPv6NDOptUnknown, ICMPv6PacketTooBig, IPv6,
                                IPv6ExtHdrFragment)
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw
from scapy.utils6 import in6_getnsma

GOLDEN = Path(__file__).resolve().parent.parent / "WireTests" / "Golden" / "packets.txt"
HEADER = """# Packets, and what is read from them. Made by
# python3 Tests/Interop/test_wire_formats.py
"""
HERE, THERE = "02:00:00:00:00:01", "02:00:00:00:00:02"
FOUR, FOUR_TOO = "10.0.0.1", "192.168.7.254"
SIX, SIX_TOO = "2001:db8:a1b2:c3d4:e5f6::1", "fe80::ff:fe12:3456"
GROUP = socket.inet_ntop(socket.AF_INET6, in6_getnsma(socket.inet_pton(socket.AF_INET6, SIX)))
ALL = "ff02::1"
FRAME = bytes(Ether(dst=HERE, src=THERE, type=0x88B5) / Raw(bytes(range(1, 47))))


def number(value):
    """Of an address, as it stands on the wire."""
    if not isinstance(value, str):
        return value
    if value.count(":") == 5 and "::" not in value:
        return int(value.replace(":", ""), 16)
    family = socket.AF_INET6 if ":" in value else socket.AF_INET
    return int.from_bytes(socket.inet_pton(family, value), "big")


def row(kind, verdict, said, packet):
    text = said if isinstance(said, str) else " ".join(f"{name}={number(value):x}" for name, value in said.items())
    return f"{kind}\t{verdict}\t{text}\t{bytes(packet).hex()}\n"


def edited(packet, *edits):
    """With octets in other places than scapy puts them: (offset, value)."""
    octets = bytearray(bytes(packet))
    for offset, value in edits:
        octets[offset] = value
    return bytes(octets)


def ethernet():
    said = dict(destination=HERE, source=THERE, type=0x800)
    yield row("ethernet", "=", said, Ether(dst=HERE, src=THERE, type=0x800))
    yield row("ethernet", "=", said | dict(tag=0x6064),
              Ether(dst=HERE, src=THERE) / Dot1Q(prio=3, vlan=100, type=0x800))


def ipv4():
    def said(tos=0, length=28, identification=1, fragment=0, ttl=64, protocol=17, header=20):
        return dict(tos=tos, length=length, identification=identification, fragment=fragment, ttl=ttl,
                    protocol=protocol, source=FOUR, destination=FOUR_TOO, header=header)

    plain = IP(src=FOUR, dst=FOUR_TOO, proto=17) / Raw(b"12345678")
    full = IP(src=FOUR, dst=FOUR_TOO, proto=47, tos=0xB9, id=0xFEDC, flags="DF", ttl=255) / Raw(b"123456789")
    yield row("ipv4", "=", said(), plain)
    yield row("ipv4", "=", said(0xB9, 29, 0xFEDC, 0x4000, 255, 47), full)
    first = IP(src=FOUR, dst=FOUR_TOO, proto=17, flags="MF") / Raw(b"12345678")
    last = IP(src=FOUR, dst=FOUR_TOO, proto=17, frag=0x1fff) / Raw(b"12345678")
    yield row("ipv4", "=", said(fragment=0x2000), first)
    yield row("ipv4", "=", said(fragment=0x1FFF), last)
    options = IP(src=FOUR, dst=FOUR_TOO, proto=2, options=[IPOption_Router_Alert()]) / Raw(b"12345678")
    yield row("ipv4", "~", said(length=32, protocol=2, header=24), options)
    yield row("ipv4", "!", "version", IP(src=FOUR, dst=FOUR_TOO, version=5))
    yield row("ipv4", "!", "length", IP(src=FOUR, dst=FOUR_TOO, ihl=4))
    yield row("ipv4", "!", "length", IP(src=FOUR, dst=FOUR_TOO, ihl=6))
    yield row("ipv4", "!", "length", IP(src=FOUR, dst=FOUR_TOO, len=19))
    yield row("ipv4", "!", "length", IP(src=FOUR, dst=FOUR_TOO, len=29) / Raw(b"12345678"))
    yield row("ipv4", "!", "checksum", IP(src=FOUR, dst=FOUR_TOO, chksum=0))


def ipv6():
    said = dict(source=SIX, destination=SIX_TOO)
    yield row("ipv6", "=", dict(tc=0, label=0, length=8, next=17, hop=64) | said,
              IPv6(src=SIX, dst=SIX_TOO, nh=17) / Raw(b"12345678"))
    full = IPv6(src=SIX, dst=SIX_TOO, nh=47, tc=0xB9, fl=0xFEDCB, hlim=255) / Raw(b"123456789")
    yield row("ipv6", "=", dict(tc=0xB9, label=0xFEDCB, length=9, next=47, hop=255) | said, full)
    yield row("ipv6", "!", "version", IPv6(src=SIX, dst=SIX_TOO, version=4))
    yield row("ipv6", "!", "length", IPv6(src=SIX, dst=SIX_TOO, plen=9) / Raw(b"12345678"))


def ipv6_fragment():
    first = IPv6ExtHdrFragment(nh=17, m=1, id=0xFEDCBA98)
    last = IPv6ExtHdrFragment(nh=47, offset=0x1FFF, id=1)
    yield row("ipv6Fragment", "=", {"next": 17, "offset": 0, "more": 1, "identification": 0xFEDCBA98}, first)
    yield row("ipv6Fragment", "=", {"next": 47, "offset": 0xFFF8, "more": 0, "identification": 1}, last)
    yield row("ipv6Fragment", "~", {"next": 17, "offset": 0, "more": 1, "identification": 0xFEDCBA98},
              edited(first, (1, 0xFF), (3, 7)))


def udp():
    for outer in (IP(src=FOUR, dst=FOUR_TOO), IPv6(src=SIX, dst=SIX_TOO)):
        for payload in (b"", b"12345678", b"123456789"):
            packet = outer / UDP(sport=0xC001, dport=4789) / Raw(payload)
            checksum = packet.__class__(bytes(packet))[UDP].chksum
            said = dict(source=0xC001, destination=4789, length=8 + len(payload))
            yield row("udp", "=", said | dict(checksum=checksum), packet)
            packet = outer / UDP(sport=0xC001, dport=4789, chksum=0) / Raw(payload)
            yield row("udp", "=", said | dict(checksum=0), packet)
        yield row("udp", "!", "checksum", outer / UDP(chksum=1))
        yield row("udp", "!", "length", outer / UDP(len=7))
        yield row("udp", "!", "length", outer / UDP(len=9))


def vxlan():
    plain = VXLAN(vni=5, flags="Instance")
    for vni in (0, 1, 0x123456, 0xFFFFFF):
        yield row("vxlan", "=", dict(vni=vni), VXLAN(vni=vni, flags="Instance"))
    yield row("vxlan", "~", dict(vni=5), edited(plain, (0, 0xFF), (7, 0xFF)))
    yield row("vxlan", "~", dict(vni=5), edited(plain, (1, 0xFF), (2, 0xFF), (3, 0xFF)))
    yield row("vxlan", "!", "noVNI", edited(plain, (0, 0xF7)))


def gre():
    ether = 0x6558
    yield row("gre", "=", {}, GRE(proto=ether))
    yield row("gre", "=", dict(key=0xFEDCBA98), GRE(proto=ether, key_present=1, key=0xFEDCBA98))
    yield row("gre", "=", dict(key=0), GRE(proto=ether, key_present=1, key=0))
    yield row("gre", "=", dict(sequence=7), GRE(proto=ether, seqnum_present=1, sequence_number=7))
    both = dict(proto=ether, key_present=1, key=5, seqnum_present=1, sequence_number=7)
    yield row("gre", "=", dict(key=5, sequence=7), GRE(**both))
    yield row("gre", "=", dict(payload=60), GRE(proto=ether, chksum_present=1) / Raw(FRAME))
    yield row("gre", "=", dict(key=5, sequence=7, payload=60), GRE(chksum_present=1, **both) / Raw(FRAME))
    yield row("gre", "=", dict(payload=59), GRE(proto=ether, chksum_present=1) / Raw(FRAME[:-1]))
    yield row("gre", "~", dict(key=5), edited(GRE(proto=ether, key_present=1, key=5), (0, 0x23), (1, 0xF8)))
    yield row("gre", "!", "checksum", GRE(proto=ether, chksum_present=1, chksum=1) / Raw(FRAME))
    yield row("gre", "!", "version", GRE(proto=0x880B, key_present=1, version=1))
    yield row("gre", "!", "routing", GRE(proto=ether, routing_present=1, chksum=0, offset=0))
    yield row("gre", "!", "reserved", GRE(proto=ether, strict_route_source=1))
    yield row("gre", "!", "reserved", GRE(proto=ether, recursion_control=4))
    yield row("gre", "!", "protocolType", GRE(proto=0x800))


def geneve():
    def option(kind, value):
        return GeneveOptions(classid=0x0102, type=kind, data=value)

    ether = 0x6558
    yield row("geneve", "=", dict(vni=0xABCDEF), GENEVE(vni=0xABCDEF, proto=ether))
    some = [option(1, b"abcd"), option(2, b""), option(0x7F, b"12345678")]
    yield row("geneve", "=", dict(vni=5, o010201=0x61626364, o010202=0, o01027f=0x3132333435363738),
              GENEVE(vni=5, proto=ether, options=some))
    critical = [option(0x80, b"abcd")]
    yield row("geneve", "=", dict(vni=5, o010280=0x61626364), GENEVE(vni=5, proto=ether, critical=1, options=critical))
    yield row("geneve", "~", dict(vni=5, o010280=0x61626364), GENEVE(vni=5, proto=ether, options=critical))
    yield row("geneve", "~", dict(vni=5), edited(GENEVE(vni=5, proto=ether), (1, 0x3F), (7, 0xFF)))
    yield row("geneve", "!", "criticalOption",
              GENEVE(vni=5, proto=ether, critical=1, options=[option(1, b""), option(0x81, b"")]))
    yield row("geneve", "!", "option", edited(GENEVE(vni=5, proto=ether, options=[option(1, b"abcd")]), (11, 2)))
    yield row("geneve", "!", "option", edited(GENEVE(vni=5, proto=ether, options=[option(1, b"abcd")]), (11, 0)))
    yield row("geneve", "!", "version", GENEVE(version=1, vni=5, proto=ether))
    yield row("geneve", "!", "control", GENEVE(oam=1, vni=5, proto=ether))
    yield row("geneve", "!", "protocolType", GENEVE(vni=5, proto=0x800))
    yield row("geneve", "!", "truncated", GENEVE(vni=5, proto=ether, optionlen=1))


def arp():
    def both(operation, **fields):
        values = dict(hwsrc=HERE, psrc=FOUR, hwdst=THERE, pdst=FOUR_TOO) | fields
        said = dict(operation=operation, sha=values["hwsrc"], spa=values["psrc"], tha=values["hwdst"],
                    tpa=values["pdst"])
        return said, ARP(op=operation, **values)

    yield row("arp", "=", *both(1, hwdst="00:00:00:00:00:00"))
    yield row("arp", "=", *both(2))
    yield row("arp", "=", *both(1, psrc="0.0.0.0"))
    yield row("arp", "=", *both(1, pdst=FOUR))
    yield row("arp", "!", "type", ARP(op=3, psrc=FOUR, pdst=FOUR_TOO))
    plain = both(1)[1]
    for offset, value in ((1, 6), (2, 0x86), (4, 8), (5, 16)):
        yield row("arp", "!", "protocolType", edited(plain, (offset, value)))


def discovery():
    def said(kind, target, link=None, **flags):
        return dict(kind=kind, target=target) | ({"link": link} if link else {}) | flags

    asks = IPv6(src=SIX_TOO, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=SIX)
    yield row("discovery", "=", said(135, SIX, HERE), asks / ICMPv6NDOptSrcLLAddr(lladdr=HERE))
    yield row("discovery", "=", said(135, SIX), asks)
    probe = IPv6(src="::", dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=SIX)
    yield row("discovery", "=", said(135, SIX), probe)
    many = asks / ICMPv6NDOptUnknown(type=14, len=1, data=b"nonce!") / ICMPv6NDOptSrcLLAddr(lladdr=HERE)
    yield row("discovery", "~", said(135, SIX, HERE), many)
    yield row("discovery", "~", said(135, SIX), asks / ICMPv6NDOptDstLLAddr(lladdr=HERE))
    for flags in ((0, 1, 1), (1, 1, 0), (0, 0, 1)):
        answer = IPv6(src=SIX, dst=SIX_TOO, hlim=255) / ICMPv6ND_NA(tgt=SIX, R=flags[0], S=flags[1], O=flags[2])
        yield row("discovery", "=", said(136, SIX, HERE, r=flags[0], s=flags[1], o=flags[2]),
                  answer / ICMPv6NDOptDstLLAddr(lladdr=HERE))
    told = IPv6(src=SIX, dst=ALL, hlim=255) / ICMPv6ND_NA(tgt=SIX, R=0, S=0, O=1)
    yield row("discovery", "=", said(136, SIX, HERE, r=0, s=0, o=1), told / ICMPv6NDOptDstLLAddr(lladdr=HERE))
    yield row("discovery", "!", "hopLimit", IPv6(src=SIX_TOO, dst=GROUP, hlim=254) / ICMPv6ND_NS(tgt=SIX))
    yield row("discovery", "!", "type", IPv6(src=SIX_TOO, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=SIX, code=1))
    yield row("discovery", "!", "type", IPv6(src=SIX_TOO, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=SIX, type=137))
    yield row("discovery", "!", "type", IPv6(src=SIX_TOO, dst=GROUP, hlim=255, nh=17) / ICMPv6ND_NS(tgt=SIX))
    yield row("discovery", "!", "type", IPv6(src=SIX_TOO, dst=SIX, hlim=255) / ICMPv6EchoRequest())
    yield row("discovery", "!", "checksum", IPv6(src=SIX_TOO, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=SIX, cksum=1))
    yield row("discovery", "!", "address", IPv6(src=SIX_TOO, dst=GROUP, hlim=255) / ICMPv6ND_NS(tgt=ALL))
    yield row("discovery", "!", "address", IPv6(src="::", dst=SIX, hlim=255) / ICMPv6ND_NS(tgt=SIX))
    yield row("discovery", "!", "address", probe / ICMPv6NDOptSrcLLAddr(lladdr=HERE))
    yield row("discovery", "!", "address", IPv6(src=SIX, dst=ALL, hlim=255) / ICMPv6ND_NA(tgt=SIX, S=1))
    yield row("discovery", "!", "option", asks / ICMPv6NDOptUnknown(type=14, len=0, data=b"nonce!"))
    yield row("discovery", "!", "option", asks / ICMPv6NDOptUnknown(type=14, len=2, data=b"nonce!"))
    yield row("discovery", "!", "option", asks / ICMPv6NDOptSrcLLAddr(len=2, lladdr=HERE) / Raw(bytes(8)))


def fragmentation_needed():
    outer = IP(src="172.16.0.1", dst=FOUR)
    quoted = IP(src=FOUR, dst=FOUR_TOO, flags="DF") / UDP(sport=0xC001, dport=4789) / Raw(FRAME)
    said = dict(mtu=1450, source=FOUR, destination=FOUR_TOO, protocol=17, word=0xC00112B5)

    def message(content, **fields):
        return outer / ICMP(**dict(type=3, code=4, nexthopmtu=1450) | fields) / Raw(content)

    yield row("fragmentationNeeded", "=", said, message(bytes(quoted)))
    yield row("fragmentationNeeded", "=", said, message(bytes(quoted)[:28]))
    yield row("fragmentationNeeded", "=", said | dict(mtu=0), message(bytes(quoted)[:28], nexthopmtu=0))
    options = IP(src=FOUR, dst=FOUR_TOO, options=[IPOption_Router_Alert()]) / UDP(sport=0xC001, dport=4789)
    yield row("fragmentationNeeded", "=", said, message(bytes(options)))
    yield row("fragmentationNeeded", "!", "truncated", message(bytes(quoted)[:27]))
    yield row("fragmentationNeeded", "!", "truncated", message(bytes(options)[:31]))
    yield row("fragmentationNeeded", "!", "type", message(bytes(quoted), code=3))
    yield row("fragmentationNeeded", "!", "type", message(bytes(quoted), type=11))
    yield row("fragmentationNeeded", "!", "type", outer / ICMP())
    yield row("fragmentationNeeded", "!", "checksum", message(bytes(quoted), chksum=1))
    yield row("fragmentationNeeded", "!", "version", message(edited(quoted, (0, 0x65))))
    yield row("fragmentationNeeded", "!", "length", message(edited(quoted, (0, 0x44))))


def packet_too_big():
    quoted = IPv6(src=SIX, dst=SIX_TOO) / UDP(sport=0xC001, dport=4789) / Raw(FRAME)
    said = dict(mtu=1450, source=SIX, destination=SIX_TOO, next=17, word=0xC00112B5)

    def message(content, mtu=1450, **fields):
        return IPv6(src="2001:db8::fe", dst=SIX) / ICMPv6PacketTooBig(mtu=mtu, **fields) / Raw(content)

    yield row("packetTooBig", "=", said, message(bytes(quoted)))
    yield row("packetTooBig", "=", said | dict(mtu=0xFFFFFFFF), message(bytes(quoted)[:48], mtu=0xFFFFFFFF))
    yield row("packetTooBig", "~", said, message(bytes(quoted), code=3))
    yield row("packetTooBig", "!", "truncated", message(bytes(quoted)[:47]))
    yield row("packetTooBig", "!", "type", message(bytes(quoted), type=1))
    yield row("packetTooBig", "!", "type", IPv6(src=SIX_TOO, dst=SIX) / ICMPv6EchoRequest())
    yield row("packetTooBig", "!", "checksum", message(bytes(quoted), cksum=1))
    yield row("packetTooBig", "!", "version", message(edited(quoted, (0, 0x45))))


def golden():
    formats = [ethernet, ipv4, ipv6, ipv6_fragment, udp, vxlan, gre, geneve, arp, discovery, fragmentation_needed,
               packet_too_big]
    return HEADER + "".join(line for rows in formats for line in rows())


def test_golden_packets_are_what_scapy_makes():
    assert GOLDEN.read_text() == golden()


def main():
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(golden())


if __name__ == "__main__":
    sys.exit(main())
