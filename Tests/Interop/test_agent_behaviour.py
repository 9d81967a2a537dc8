"""What follows from documents does what the flows of Neutron's Open vSwitch agent do, but where it is meant to differ.

    MARTLET_TEST_SEED=7 /usr/bin/python3 -m pytest Tests/Interop/test_agent_behaviour.py

The seed gives the order of the frames, and when both switches forget what they learned.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Callable

import pytest

from agent_frames import STRANGE_TUNNEL, everything, few, padded, speaker, tagged
from agent_twins import (HERE, HOSTS, LOCAL, NETWORKS, PORTS, REMOTE, STATION, WIRES, AgentHost, MartletHost, flood_list)
from draw import Draw
from frames import BROADCAST
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, GRE, Ether
from scapy.layers.vxlan import VXLAN
from test_flow_frames import SEED

# One frame in so many finds both switches without any station learned.
OBLIVION = 40
SHOWN = 5


@pytest.fixture(scope="module")
def hosts(module_room):
    directory = module_room.directory / "ovs"
    directory.mkdir()
    return module_room.keeps(AgentHost(directory)), MartletHost(module_room)


def outputs(left):
    """What left, as (device, frame), and of what is in a tunnel ("wire", header, frame within)."""
    return sorted(("wire", *unwrapped(frame)) if device == "wire" else (device, frame)
                  for device, frames in left.items() for frame in frames)


def unwrapped(frame):
    """(outer header, frame within). The header's fields that a switch chooses are left out: identification and source
    port, and checksums, which are zero or right."""
    outer = Ether(frame)
    kind = VXLAN if VXLAN in outer else GRE
    assert kind in outer, f"neither VXLAN nor GRE leaves: {outer.summary()}"
    way = outer[IP]
    key = outer[VXLAN].vni if kind is VXLAN else outer[GRE].key
    extra = (outer[UDP].dport, outer[UDP].chksum) if kind is VXLAN else (outer[GRE].proto, outer[GRE].chksum_present)
    return header(kind, way.dst, key, outer.dst, outer.src, way.src, way.ttl, way.tos, int(way.flags), extra), \
        outer[kind].payload.original


def header(kind, address, key, station, source=STATION, here=HERE, ttl=64, tos=0, flags=2, extra=None):
    return (kind.__name__, address, key, station, source, here, ttl, tos, flags,
            extra or ((4789, 0) if kind is VXLAN else (0x6558, 0)))


def copies(sent):
    """Of a frame for each host that has its network."""
    network = NETWORKS[sent.network]
    kind = VXLAN if network.type == "vxlan" else GRE
    return [("wire", header(kind, HOSTS[host][1], network.key, HOSTS[host][0]), padded(sent.inner))
            for host in flood_list(sent.network)]


def kept_here(left):
    return [output for output in left if output[0] != "wire"]


def is_from_guest(sent):
    return sent.inner is not None and sent.tunnel is None and sent.device.startswith("tap") \
        and NETWORKS[sent.network].is_tunneled


def in_network(sent, ports):
    return [port for port in ports if port.network == sent.network]


def owner(sent, address, ports):
    return next((port for port in in_network(sent, ports) if address in port.addresses), None)


def asked_for(sent, ports):
    """The station whose address a frame to all asks for, and does not announce. Martlet looks through a guest's own tag
    behind its network's, as Open vSwitch does with vlan-limit=2."""
    packet = sent.inner
    if is_arp_to_all(packet):
        arp = packet[ARP]
        return owner(sent, arp.pdst, ports) if arp.op == 1 and arp.psrc != arp.pdst else None
    if ICMPv6ND_NS in packet and packet.dst.startswith("33:33") and packet[IPv6].src != "::":
        return owner(sent, packet[ICMPv6ND_NS].tgt, ports)
    return None


def is_arp_to_all(packet):
    return ARP in packet and packet[ARP].underlayer.type == 0x0806 and packet.dst == BROADCAST


def only_asked_here(sent, left):
    return kept_here(left) if asked_for(sent, LOCAL) else left


def only_known_here(sent, left):
    return kept_here(left) if sent.inner.dst in [port.mac for port in in_network(sent, LOCAL)] else left


def told_to_all(sent, left):
    packet = sent.inner
    if not is_arp_to_all(packet) or not owner(sent, packet[ARP].pdst, REMOTE) or asked_for(sent, REMOTE):
        return left
    return [output for output in left if output[0] != sent.device] + copies(sent)


def advertised(sent, left):
    port = asked_for(sent, REMOTE) if ICMPv6ND_NS in sent.inner else None
    if port is None:
        return left
    packet, address = sent.inner, sent.inner[ICMPv6ND_NS].tgt
    answer = (Ether(src=port.mac, dst=packet.src) / IPv6(src=address, dst=packet[IPv6].src, hlim=255)
              / ICMPv6ND_NA(tgt=address, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=port.mac))
    return kept_here(left) + [(sent.device, padded(answer))]


def flooded(sent, left):
    named = [port.mac for port in in_network(sent, PORTS)]
    if int(sent.inner.dst[:2], 16) & 1 or sent.inner.dst in named or kept_here(left) == left:
        return left
    return kept_here(left) + copies(sent)


@dataclass(frozen=True)
class Difference:
    """Where Martlet is meant to differ: `of` makes what leaves it of what leaves the agent's switch, for the frames that
    it `is_about`. If it `teaches`, bridges know other stations afterwards."""

    name: str
    reason: str
    of: Callable
    is_about: Callable = is_from_guest
    teaches: bool = False


def is_priority_tagged(sent):
    return sent.network == "flat" and sent.device == WIRES["br-flat"] and sent.octets[12:14] == b"\x81\0"


def delivered(sent, left):
    """To the only guest of the network."""
    return [(port.name, padded(sent.inner)) for port in in_network(sent, LOCAL)]


MEANT = (
    Difference("station here", "br-int floods what it has not learned: frames for a station of this host never leave",
               only_known_here),
    Difference("asked for here", "who is asked for is on this host, and answers himself", only_asked_here),
    Difference("announcement", "the responder answers requests alone: announcements and replies to all reach all",
               told_to_all, teaches=True),
    Difference("solicitation", "the responder answers for IPv6 too", advertised, teaches=True),
    Difference("unnamed station", "nothing is learned beside l2population: a station that no document names is looked for "
               "at all hosts of its network", flooded),
    Difference("known host", "tunnels are of all known hosts, not of those alone that hold a network of the tunnel's type",
               delivered, is_about=lambda sent: sent.tunnel == STRANGE_TUNNEL, teaches=True),
    Difference("priority tag", "a priority tag is of no VLAN (IEEE Std 802.1Q-2022, clause 6.9): NORMAL takes it off, and a "
               "flat network gets the frame; Open vSwitch does so only when the priority is 0", delivered,
               is_about=is_priority_tagged, teaches=True),
)


def expected(sent, left):
    """What leaves Martlet, if that leaves the agent's switch, and the differences that were meant."""
    happened = []
    for difference in MEANT:
        if difference.is_about(sent):
            changed = sorted(difference.of(sent, left))
            happened += [difference] if changed != left else []
            left = changed
    return left, happened


def shown(left):
    return "".join(f"\n    {output[0]}: {output[1] if len(output) == 3 else ''} {Ether(output[-1]).summary()}\n"
                   f"      {output[-1].hex()}" for output in left) or "\n    nothing"


def test_what_leaves_is_what_leaves_a_neutron_agents_switch(hosts):
    print(f"MARTLET_TEST_SEED={SEED}")
    draw, turns = Draw(SEED), everything()
    happened, wrong = Counter(), []
    for turn in draw.distinct(turns, len(turns)):
        if draw.chance(OBLIVION):
            forget(hosts)
        for sent in turn:
            meant, mistake = compared(hosts, sent)
            happened.update(difference.name for difference in meant)
            wrong += [mistake] if mistake else []
            if mistake or any(difference.teaches for difference in meant):
                forget(hosts)
    count = sum(map(len, turns))
    assert not wrong, f"{len(wrong)} of {count} frames:\n" + "\n\n".join(wrong[:SHOWN])
    assert set(happened) == {difference.name for difference in MEANT}, "what is meant to differ does not any more"
    print(f"{count} frames, of which {dict(happened)} were meant to differ")


def compared(hosts, sent):
    """The differences that were meant, and what is wrong, if anything."""
    theirs, ours = (outputs(host.exchange(sent.device, sent.octets)) for host in hosts)
    wanted, meant = expected(sent, theirs)
    if ours == wanted:
        return meant, None
    return meant, (f"{sent.title}, from {sent.device} {sent.tunnel or ''}: {Ether(sent.octets).summary()}\n"
                   f"  the agent's switch:{shown(theirs)}\n  wanted, {[one.name for one in meant]}:{shown(wanted)}\n"
                   f"  Martlet:{shown(ours)}")


def test_a_guest_of_a_flat_network_reaches_no_vlan_of_the_wire(hosts):
    """Behind an empty tag, which goes, stands another one."""
    agent, ours = hosts
    guest, = (port for port in LOCAL if port.network == "flat")
    for _, packet in few(speaker(guest)):
        frame = padded(tagged(packet, 0, 197))
        assert ours.exchange(guest.name, frame) == {}
        assert agent.exchange(guest.name, frame) == {}


def forget(hosts):
    for host in hosts:
        host.forget()
