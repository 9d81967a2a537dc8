"""Frames for the host of `agent_twins`: from every guest, through every tunnel and from both physical networks, right
ones and wrong ones."""

import ipaddress
from dataclasses import dataclass
from functools import cache
from itertools import chain

from agent_twins import HERE, HOSTS, LOCAL, NETWORKS, PORTS, REMOTE, STATION, STRANGER, WIRES
from frames import BROADCAST
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptSrcLLAddr, IPv6)
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.contrib.geneve import GENEVE
from scapy.packet import Raw
from scapy.utils6 import in6_getnsma, in6_getnsmac

# Stations that no document names: this one never speaks, and VISITORS do.
NOBODY = "fa:16:3e:00:de:ad"
# What switches of Linux, hosts and routers send to groups.
GROUPS = ("01:00:5e:00:00:fb", "33:33:00:00:00:fb", "01:80:c2:00:00:00", "01:80:c2:00:00:0e")
SHORTEST = 60
# Through which tunnel: (type, key, host); wrong ones are of a network or a host that no document names.
RIGHT_TUNNELS = (("vxlan", 0x694, "h2"), ("vxlan", 0x694, "h3"), ("gre", 0x85d, "h2"))
WRONG_TUNNELS = (("vxlan", 0x695, "h2"), ("vxlan", 0x85d, "h2"), ("vxlan", 0, "h3"), ("gre", 0x694, "h2"),
                 ("gre", None, "h2"), ("geneve", 0x694, "h2"), ("vxlan", 0x694, None), ("gre", 0x85d, None))
# A host that is known, and shares no network of GRE with this one.
STRANGE_TUNNEL = ("gre", 0x85d, "h3")


@dataclass(frozen=True)
class Sent:
    """A frame that goes in at a device. `inner` is what the stations of its network see, where it is in a network."""

    title: str
    device: str
    octets: bytes
    network: str = None
    inner: Ether = None
    tunnel: tuple = None


@dataclass(frozen=True)
class Speaker:
    mac: str
    address: str
    address6: str


def speaker(port):
    own = [*port.addresses, "10.9.0.9"][0]
    return Speaker(port.mac, own, [*port.addresses[1:], "fd00:9::9"][0])


VISITORS = (Speaker("fa:16:3e:00:be:ef", "10.1.0.77", "fd00:1::77"), Speaker("fa:16:3e:00:be:a7", "10.1.0.78", "fd00:1::78"))


def padded(packet, tags=0):
    """As long as Ethernet wants, also without `tags` of its tags."""
    return bytes(packet).ljust(SHORTEST + 4 * tags, b"\0")


@cache
def contents(source):
    """(title, packet) of whatever a station may say."""
    return tuple(chain(datagrams(source), requests(source), answers(source), solicitations(source)))


def datagrams(source):
    # With the least and the greatest DSCP.
    for tos, mac in [(0, port.mac) for port in PORTS] + [(0xfc, PORTS[0].mac), (0, NOBODY), (0, BROADCAST),
                                                         *((0, mac) for mac in GROUPS), *((0, one.mac) for one in VISITORS)]:
        yield f"datagram to {mac}", (Ether(src=source.mac, dst=mac) / IP(src=source.address, dst="10.1.255.255", tos=tos)
                                     / UDP(sport=7, dport=9) / Raw(bytes(range(60))))


def addresses(version, ports=PORTS):
    return [address for port in ports for address in port.addresses if ipaddress.ip_address(address).version == version]


def requests(source):
    def ask(title, destination=BROADCAST, **fields):
        return title, Ether(src=source.mac, dst=destination) / ARP(**{"hwsrc": source.mac, "psrc": source.address, **fields})
    for address in (*addresses(4), "10.1.0.99", "10.1.0.1"):
        yield ask(f"request for {address}", pdst=address)
        yield ask(f"probe for {address}", pdst=address, psrc="0.0.0.0")
        yield ask(f"announcement of {address}", pdst=address, psrc=address)
    for port in PORTS:
        for address in port.addresses[:1]:
            yield ask(f"request to {port.mac} alone", destination=port.mac, pdst=address)
    reverse = ARP(op=3, hwsrc=source.mac, hwdst=source.mac, psrc="0.0.0.0", pdst="10.1.0.163")
    yield "reverse request", Ether(src=source.mac, dst=BROADCAST, type=0x8035) / reverse


def answers(source):
    def say(title, destination, **fields):
        arp = ARP(**{"op": 2, "hwsrc": source.mac, "psrc": source.address, "hwdst": destination, **fields})
        return title, Ether(src=source.mac, dst=destination) / arp
    for port in PORTS:
        yield say(f"reply to {port.mac}", port.mac, pdst=[*port.addresses, "10.1.0.9"][0])
    for address in (*addresses(4), source.address):
        yield say(f"reply to all, for {address}", BROADCAST, pdst=address)
    yield say("announcement, as a reply", BROADCAST, pdst=source.address)


def solicitations(source):
    own, option = source.address6, ICMPv6NDOptSrcLLAddr(lladdr=source.mac)

    def packet(destination, group, content, src=own):
        return Ether(src=source.mac, dst=destination) / IPv6(src=src, dst=group, hlim=255) / content
    for address in (*addresses(6), "fd00:1::99"):
        number = ipaddress.ip_address(address).packed
        mac, group = in6_getnsmac(in6_getnsma(number)), str(ipaddress.ip_address(in6_getnsma(number)))
        yield f"solicitation of {address}", packet(mac, group, ICMPv6ND_NS(tgt=address) / option)
        yield f"solicitation of {address} by who has none", packet(mac, group, ICMPv6ND_NS(tgt=address), "::")
    for port in REMOTE:
        address = port.addresses[1]
        yield f"solicitation to {port.mac} alone", packet(port.mac, address, ICMPv6ND_NS(tgt=address) / option)
    advertisement = ICMPv6ND_NA(tgt=own, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=source.mac)
    yield "advertisement to all", packet("33:33:00:00:00:01", "ff02::1", advertisement)
    yield "advertisement to one", packet(REMOTE[0].mac, REMOTE[0].addresses[1], advertisement)
    yield "router solicitation", packet("33:33:00:00:00:02", "ff02::2", ICMPv6ND_RS() / option)
    yield "router advertisement", packet("33:33:00:00:00:01", "ff02::1", ICMPv6ND_RA() / option)
    yield "listener report", packet("33:33:00:00:00:16", "ff02::16", ICMPv6MLReport2())


def tagged(packet, *tags):
    """An Ethernet frame with tags between its addresses and its type."""
    front = Ether(src=packet.src, dst=packet.dst)
    for tag in tags:
        front = front / Dot1Q(vlan=tag, prio=3 if tag == 0 else 0)
    front.lastlayer().type = packet.type
    return front / packet.payload


@cache
def few(source):
    """A broadcast, a datagram to a guest of a tunnel and to one of a VLAN, and a request."""
    chosen = {f"datagram to {mac}" for mac in (BROADCAST, LOCAL[1].mac, LOCAL[4].mac)} | {"request for 10.1.0.175"}
    return [(title, packet) for title, packet in contents(source) if title in chosen]


def encapsulated(kind, key, host, packet):
    station, address = HOSTS.get(host, STRANGER)
    outer = Ether(src=station, dst=STATION) / IP(src=address, dst=HERE, flags="DF")
    udp = {"sport": 0xD431, "chksum": 0}
    between = {
        "vxlan": lambda: UDP(dport=4789, **udp) / VXLAN(vni=key, flags="Instance"),
        "geneve": lambda: UDP(dport=6081, **udp) / GENEVE(vni=key, proto=0x6558),
        "gre": lambda: GRE(proto=0x6558) if key is None else GRE(proto=0x6558, key_present=1, key=key),
    }[kind]()
    return bytes(outer / between / Raw(padded(packet)))


def from_guests():
    for port in LOCAL:
        for title, packet in contents(speaker(port)):
            yield Sent(title, port.name, padded(packet), port.network, packet)
        # VLANs of this host and of the wire.
        for tags in [(1,), (2,), (3,), (4,), (197,), (4095,), (2, 197)]:
            for title, packet in few(speaker(port)):
                yield Sent(f"{title} with tags {tags}", port.name, padded(tagged(packet, *tags)))
        yield from with_priority(port)


def with_priority(port):
    """A priority tag is the port's network's; behind it is what guests have between themselves."""
    for tags in ([(), (2,)] if NETWORKS[port.network].is_tunneled else [()]):
        for title, packet in few(speaker(port)):
            yield Sent(f"{title} with tags {(0, *tags)}", port.name, padded(tagged(packet, 0, *tags), 1), port.network,
                       tagged(packet, *tags))


def from_tunnels():
    for tunnel in RIGHT_TUNNELS:
        kind, key, host = tunnel
        own = [speaker(port) for port in REMOTE if port.host == host and port.network == kind]
        for source in (*own, VISITORS[0]):
            for title, packet in contents(source):
                yield Sent(title, "wire", encapsulated(*tunnel, packet), kind, packet, tunnel)
        # Who says that he is one of this host, or of the other one.
        for source in map(speaker, (*LOCAL[1:3], REMOTE[0], REMOTE[2])):
            for title, packet in few(source):
                yield Sent(f"{title}, of {source.mac}", "wire", encapsulated(*tunnel, packet), kind, packet, tunnel)
    for tunnel in WRONG_TUNNELS:
        for title, packet in few(speaker(REMOTE[0])):
            yield Sent(title, "wire", encapsulated(*tunnel, packet), tunnel=tunnel)
    # Of a station that nobody speaks to: only one of the switches will have heard of it.
    for title, packet in few(Speaker("fa:16:3e:00:00:03", "10.2.0.3", "fd00:2::3")):
        yield Sent(title, "wire", encapsulated(*STRANGE_TUNNEL, packet), "gre", packet, STRANGE_TUNNEL)


def from_wires():
    for network in ("vlan", "flat"):
        device, right = WIRES[NETWORKS[network].physical], NETWORKS[network].key
        for source in (*(speaker(port) for port in REMOTE if port.network == network), VISITORS[0]):
            for title, packet in contents(source):
                octets = padded(tagged(packet, right) if right else packet)
                yield Sent(title, device, octets, network, packet)
            for tags in {(), (3,), (4,), (197,), (198,), (4095,), (197, 5)} - {(right,) if right else ()}:
                for title, packet in few(source):
                    yield Sent(f"{title} with tags {tags}", device, padded(tagged(packet, *tags)))
            for title, packet in few(source):
                yield Sent(f"{title} with a priority tag", device, padded(tagged(packet, 0), 1), network, packet)


def conversations():
    """A visitor speaks from another host, and then a guest to him."""
    for tunnel in RIGHT_TUNNELS:
        for port in LOCAL:
            if port.network != tunnel[0]:
                continue
            visitor, guest = VISITORS[1], speaker(port)
            call = Ether(src=visitor.mac, dst=BROADCAST, type=0x88b5) / Raw(bytes(50))
            answer = Ether(src=guest.mac, dst=visitor.mac, type=0x88b5) / Raw(bytes(50))
            yield [Sent("visitor", "wire", encapsulated(*tunnel, call), port.network, call, tunnel),
                   Sent("answer to a visitor", port.name, padded(answer), port.network, answer)]


def everything():
    """What goes in, each a list of frames that follow one another."""
    return [*([sent] for sent in chain(from_guests(), from_tunnels(), from_wires())), *conversations()]
