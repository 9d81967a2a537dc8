"""Cases of the differential test: a bridge's VLANs, its flows, and frames. Made from a seed, and written down."""

import re
import struct
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

from draw import Draw
from random_bridges import BridgeDraw
from random_frames import FrameDraw, checksum
from twins import BRIDGES, GROUP, NAMES, PATCH, PORTS

ALL_TAGGED = ("trunk", None, ())
FLOWS, PACKETS = 14, 200
# Draws of frames for the packets of a case, and so many without a single packet that there will be none.
TURNS, HOPELESS = 20 * PACKETS, PACKETS


def wants_more(packets, turns):
    """Whether a case has too few packets after so many draws, and may find some."""
    return len(packets) < PACKETS and turns < (TURNS if packets else HOPELESS)


@dataclass(frozen=True)
class Case:
    """`vlans` are {port: (mode, tag, trunks)}, `packets` are (port, frame); with the flows are groups and meters."""

    vlans: dict
    flows: list
    packets: list

    @cached_property
    def normal(self):
        return any("NORMAL" in flow for flow in self.flows)

    @cached_property
    def pushes(self):
        """How many tags the flows may add."""
        return 1 if self._acts("push_vlan") else 0

    @cached_property
    def pushes_service_tags(self):
        return self._acts("push_vlan:0x88a8")

    @cached_property
    def writes_control(self):
        """All of a tag's control information."""
        return self._acts("NXM_OF_VLAN_TCI[]")

    @cached_property
    def writes_transport(self):
        """Or may do so: actions with names of the fields."""
        return self._acts("_tp_", "TCP", "UDP", "SCTP", "ICMP", "->tcp", "->udp", "->sctp", "->icmp", "ND_", "->nd")

    @cached_property
    def writes_discovery(self):
        """What only neighbour discovery has beside addresses."""
        return self._acts("nd_reserved", "nd_options_type", "ND_RESERVED", "ND_OPTIONS_TYPE")

    @cached_property
    def gives_option_back(self):
        """Or may do so: it writes an option's type and its address, perhaps for a copy alone."""
        crossings = [f"{word}:{port}" for word in ("output", "enqueue") for port in PATCH.values()]
        return self._acts("nd_options_type") and self._acts("->nd_sll", "->nd_tll", "ND_SLL", "ND_TLL") and \
            (self.floods or self.asks_length or self._acts("clone(", "group:", "write_actions(", *crossings))

    @cached_property
    def writes_addresses(self):
        return self._acts("mod_nw_src", "mod_nw_dst", "NXM_OF_IP_", "IPV6_", "->ipv6_", "->ip_")

    @cached_property
    def writes_source6(self):
        return self._acts("->ipv6_src", "->NXM_NX_IPV6_SRC", "pop:NXM_NX_IPV6_SRC")

    @cached_property
    def cuts(self):
        return self._acts("max_len")

    @cached_property
    def changes_tags(self):
        return self._acts("push_vlan", "pop_vlan", "strip_vlan", "mod_vlan_", "->NXM_OF_VLAN_TCI")

    @cached_property
    def asks_length(self):
        return self._acts("check_pkt_larger")

    @cached_property
    def loops_by_length(self):
        """It asks for lengths, and some flow may lead back: Open vSwitch goes on with both answers each time."""
        return self.asks_length and any(
            int(back) <= int((re.search(r"\btable=(\d+)", flow) or (None, 0))[1])
            for flow in self.flows for back in re.findall(r"resubmit\([^)]*,(\d+)\)", flow))

    @cached_property
    def writes_network(self):
        """Or transport: anything behind Ethernet and the tags."""
        return self.writes_transport or self.writes_addresses or self._acts("nw_", "_IP_", "ARP_", "->arp_", "_ttl")

    @cached_property
    def floods(self):
        return self._acts("NORMAL", "FLOOD", "ALL", "output:NXM_")

    def _acts(self, *words):
        return any(word in flow.partition("actions=")[2] for flow in self.flows for word in words)

    def text(self):
        lines = [f"vlan {port} {mode} {'-' if tag is None else tag} {','.join(map(str, trunks)) or '-'}"
                 for port, (mode, tag, trunks) in self.vlans.items() if (mode, tag, trunks) != ALL_TAGGED]
        return "\n".join(lines + self.flows + [f"> {port} {frame.hex()}" for port, frame in self.packets])

    @classmethod
    def parsed(cls, text):
        vlans, flows, packets = dict.fromkeys(NAMES, ALL_TAGGED), [], []
        for line in text.splitlines():
            words = line.split()
            if words[0] == "vlan":
                tag = None if words[3] == "-" else int(words[3])
                trunks = () if words[4] == "-" else tuple(int(vid) for vid in words[4].split(","))
                vlans[int(words[1])] = (words[2], tag, trunks)
            elif words[0] == ">":
                packets.append((int(words[1]), bytes.fromhex(words[2])))
            elif not line.startswith("#"):
                flows.append(line)
        return cls(vlans, flows, packets)


def tunnels(vlans):
    return any(mode == "dot1q-tunnel" for mode, _, _ in vlans.values())


class CaseDraw(Draw):
    """Draws what a run of cases has in common."""

    def vlans(self):
        """Half of the runs have trunks of all VLANs only, as bridges with flows have. Tunnels and access ports are not
        mixed: what leaves a tunnel has two tags for Open vSwitch, see `_second_tag`."""
        if self.chance(2):
            return dict.fromkeys(NAMES, ALL_TAGGED)
        modes = (self.pick(("access", "dot1q-tunnel")), "trunk", "trunk", "native-tagged", "native-untagged")
        policies = {port: self._policy(self.pick(modes)) for port in PORTS}
        # A frame of a tunnel has two tags at the other end of the patch: NORMAL does not send it there.
        patched = ("trunk", None, (4000,)) if tunnels(policies) else self._policy("trunk")
        return policies | dict.fromkeys(PATCH.values(), patched)

    def _policy(self, mode):
        tag = None if mode == "trunk" else self.pick((1, 5, 7, 100))
        # No customers' VLANs of a tunnel: Open vSwitch looks at them when it floods, but not on the way to a station.
        if mode in ("access", "dot1q-tunnel") or self.chance(2):
            return mode, tag, ()
        return mode, tag, tuple(self.distinct((0, 1, 5, 7, 100, 1024), 3))


def drawn(seed, number, vlans):
    """Case `number` of a run. Flows under which nearly all frames are meant to differ are drawn again."""
    attempts = (_drawn(f"{seed}/{number}" + (f"/{attempt}" if attempt else ""), vlans) for attempt in count())
    return next(case for case in attempts if len(case.packets) == PACKETS)


def _drawn(seed, vlans):
    draw = Draw(seed)
    normal, flows = draw.chance(2), []
    # See `_cut_tags` and `_second_tag`.
    is_plain = not normal or set(vlans.values()) == {ALL_TAGGED}
    cuts = draw.chance(3) and is_plain
    for bridge, ports in BRIDGES.items():
        bridge_draw = BridgeDraw(f"{seed}/flows/{bridge}", ports, PATCH[bridge], normal, cuts,
                                 is_plain and not cuts, priorities=not tunnels(vlans))
        prefix = "" if bridge == "br0" else f"{bridge} "
        flows += [prefix + line for line in bridge_draw.lines(draw.number(1, FLOWS))]
    frames = FrameDraw(f"{seed}/frames")
    case, packets, turns = Case(vlans, flows, []), [], 0
    while wants_more(packets, turns):
        port, turns = draw.pick(PORTS), turns + 1
        made = [frames.frame() for _ in range(draw.number(1, GROUP))]
        packets += [(port, frame) for frame in made if not is_meant(frame, case)]
    return replace(case, packets=packets[:PACKETS])


# What is meant to differ

def tags_of(frame):
    """(TPID, control) of the tags with a type behind them."""
    tags, place = [], 12
    while len(frame) >= place + 6 and frame[place:place + 2] in (b"\x81\0", b"\x88\xa8"):
        tags.append(struct.unpack_from("!HH", frame, place))
        place += 4
    return tags


def network_of(frame):
    """The type of what is behind the tags, and that; SNAP (IEEE Std 802, clause 9.5) is looked through."""
    place = 12 + 4 * len(tags_of(frame))
    if frame[place:place + 2] < b"\6\0" and frame[place + 2:place + 8] == b"\xaa\xaa\3\0\0\0":
        place += 8
    return frame[place:place + 2], frame[place + 2:]


def is_later_ipv4_fragment(frame):
    kind, header = network_of(frame)
    return kind == b"\x08\0" and len(header) >= 20 and int.from_bytes(header[6:8], "big") & 0x1FFF != 0


def ipv6_extensions(frame):
    """(type, header) of the extension headers (RFC 8200, section 4)."""
    kind, octets = network_of(frame)
    if kind != b"\x86\xdd" or len(octets) < 40:
        return
    following, octets = octets[6], octets[40:]
    while following in (0, 43, 44, 51, 60) and len(octets) >= 8:
        length = 8 if following == 44 else (octets[1] + 2) * 4 if following == 51 else (octets[1] + 1) * 8
        yield following, octets[:length]
        following, octets = octets[0], octets[length:]


def transport_of(frame):
    """The number of the IP protocol, and its octets as far as the lengths say; (None, b"") of other frames. Whether it
    is a fragment is not looked at."""
    kind, header = network_of(frame)
    if kind == b"\x08\0" and len(header) >= 20:
        return header[9], header[4 * (header[0] & 0xF):int.from_bytes(header[2:4], "big")]
    if kind == b"\x86\xdd" and len(header) >= 40:
        following, place = header[6], 40
        for _, extension in ipv6_extensions(frame):
            following, place = extension[0], place + len(extension)
        return following, header[place:40 + int.from_bytes(header[4:6], "big")]
    return None, b""


def _drop_eligible(frame, tags, case):
    """Open vSwitch clears the drop eligible indicator of a tag whenever it writes any of its bits; Martlet keeps it."""
    return any(control & 0x1000 for _, control in tags)


def _reserved_vlan(frame, tags, case):
    """NORMAL drops VLAN 4095, which IEEE Std 802.1Q-2022 (clause 9.6) reserves."""
    # The second one is the first where flows pop a tag.
    return case.normal and any(control & 0xFFF == 0xFFF for _, control in tags[:2 if case.changes_tags else 1])


def _priority_tag(frame, tags, case):
    """NORMAL takes a priority tag off at a trunk; Open vSwitch does so only when the priority is 0. Within a
    dot1q-tunnel Martlet gives the service tag the priority of the customer's, and keeps a tag that is all zeros."""
    if not case.normal or not tags:
        return False
    # The second one is the first where flows pop a tag.
    if any(control >> 13 != 0 and control & 0xFFF == 0 for _, control in tags[:2 if case.changes_tags else 1]):
        return True
    priority, vid = tags[0][1] >> 13, tags[0][1] & 0xFFF
    return tunnels(case.vlans) and (priority != 0 or vid == 0)


def _second_tag(frame, tags, case):
    """With a vlan-limit of 2 Open vSwitch's NORMAL takes both tags off, or does not send the frame, where one is meant:
    at access ports, and wherever a tag is all zeros. Of three tags it forgets one, and a write of vlan_tci that takes
    one tag off takes off the other too. What comes from an access port has a tag behind the patch."""
    has_access = case.normal and set(case.vlans.values()) != {ALL_TAGGED}
    count = max(len(tags), 1 if has_access else 0) + case.pushes
    limited = has_access or any(control == 0 for _, control in tags)
    return count > 2 or count > 1 and (case.writes_control or case.normal and limited)


def _tag_given_again(frame, tags, case):
    """A tag that vlan_tci took off, or NORMAL on the way to a patch, and that a flow gives again is a customer's in
    Martlet; Open vSwitch remembers the TPID, also of one that a flow had pushed."""
    if case.pushes_service_tags and (case.writes_control or case.normal and (not tags or tags[0][1] == 0)):
        return True
    if not tags or tags[0][0] != 0x88A8:
        return False
    return case.writes_control or case.normal and case.changes_tags and tags[0][1] == 0


def _later_fragment(frame, tags, case):
    """Open vSwitch edits the payload of fragments without a transport header as if it were there: ports, ICMP's type,
    and with addresses a checksum."""
    if not case.writes_transport and not case.writes_addresses:
        return False
    return is_later_ipv4_fragment(frame) or case.writes_transport and any(
        kind == 44 and header[2:4] > b"\0\7" for kind, header in ipv6_extensions(frame))


def _atomic_fragment(frame, tags, case):
    """Open vSwitch forgets the checksum behind a fragment header with neither an offset nor more to come."""
    return case.writes_addresses and any(
        kind == 44 and header[2:4] in (b"\0\0", b"\0\6") for kind, header in ipv6_extensions(frame))


def _source_with_segments_left(frame, tags, case):
    """Open vSwitch forgets the checksum behind a routing header with segments left also where the source is written."""
    return case.writes_source6 and any(kind == 43 and header[3] != 0 for kind, header in ipv6_extensions(frame))


def _cut_tags(frame, tags, case):
    """Open vSwitch cuts a frame off before it gives or takes a tag that the flows have pushed or popped before: what
    leaves is longer or shorter than max_len. NORMAL takes off a tag that is all zeros too."""
    limited = case.normal and (set(case.vlans.values()) != {ALL_TAGGED} or any(control == 0 for _, control in tags))
    return case.cuts and (case.changes_tags or limited)


def _padding(frame, tags, case):
    """For check_pkt_larger Open vSwitch's userspace datapath does not count what is behind an IP packet."""
    if not case.asks_length:
        return False
    kind, header = network_of(frame)
    if kind == b"\x08\0" and len(header) >= 20:
        return int.from_bytes(header[2:4], "big") < len(header)
    return kind == b"\x86\xdd" and len(header) >= 40 and 40 + int.from_bytes(header[4:6], "big") < len(header)


def _other_zero(frame, tags, case):
    """A checksum of 0xffff, which is zero as 0 is (RFC 1071), becomes 0 when a field is written and written back: for a
    bridge that floods it is chance whether that comes before an output."""
    if not case.floods or not case.writes_network:
        return False
    kind, header = network_of(frame)
    if kind == b"\x08\0" and header[10:12] == b"\xff\xff":
        return True
    number, message = transport_of(frame)
    place = {1: 2, 6: 16, 17: 6, 58: 2}.get(number)
    return place is not None and message[place:place + 2] == b"\xff\xff"


def _scattered(frame, tags, case):
    """Martlet drops a frame whose headers do not lie within its first buffer, of some 2,000 bytes."""
    return len(frame) > 1500 and sum(len(header) for _, header in ipv6_extensions(frame)) > 1400


def _broken_tcp(frame, tags, case):
    """With addresses Open vSwitch writes the checksum also of a TCP header that it does not read, because its data
    offset is wrong."""
    number, header = transport_of(frame)
    return case.writes_addresses and number == 6 and len(header) >= 20 \
        and not 20 <= 4 * (header[12] >> 4) <= len(header)


def _discovery_options(message):
    """Type and length of each option of neighbour discovery; None for another message."""
    if len(message) < 24 or message[0] not in (135, 136):
        return None
    kinds, place = [], 24
    while len(message) >= place + 8 and message[place + 1] != 0:
        kinds.append(message[place:place + 2])
        place += 8 * message[place + 1]
    return kinds


def _void_discovery(frame, tags, case):
    """Neighbour discovery with an address given twice has no target for flows to match; Open vSwitch edits it all the
    same."""
    number, message = transport_of(frame)
    kinds = _discovery_options(message) if case.writes_transport and number == 58 else None
    return kinds is not None and (kinds.count(b"\1\1") > 1 or kinds.count(b"\2\1") > 1)


def _other_option(frame, tags, case):
    """With nd_reserved or nd_options_type Open vSwitch writes the type of the first option, whatever it is, or of what
    is behind the message that has none; Martlet that of the first with a link-layer address."""
    number, message = transport_of(frame)
    kinds = _discovery_options(message) if case.writes_discovery and number == 58 else None
    return kinds is not None and (not kinds or kinds[0] not in (b"\1\1", b"\2\1"))


def _mended_checksum(frame, tags, case):
    """With these fields Open vSwitch makes a wrong checksum right, and a right one behind extension headers wrong."""
    kind, header = network_of(frame)
    number, message = transport_of(frame)
    if not case.writes_discovery or number != 58 or _discovery_options(message) is None:
        return False
    pseudo = header[8:40] + struct.pack("!II", len(message), 58)
    return header[6] != 58 or checksum(pseudo + message) != 0


def _address_given_back(frame, tags, case):
    """Where a copy gets another type of option and another address in it, Open vSwitch gives the packet's own type back
    to what follows, and not the address."""
    number, message = transport_of(frame)
    return case.gives_option_back and number == 58 and bool(_discovery_options(message))


def _no_protocol(frame, tags, case):
    """Open vSwitch edits nothing behind Ethernet where nw_proto is 0: in IPv4 that is a number, and ARP operations
    beyond 255 are 0 too. But an operation that a flow wrote it writes into ARP of any other protocol as well, and
    operation 255 it writes back as 65535. It edits no RARP, whatever flows say."""
    if not case.writes_network:
        return False
    kind, header = network_of(frame)
    if kind == b"\x08\0":
        return len(header) >= 20 and header[9] == 0
    if kind == b"\x80\x35":
        return True
    if kind != b"\x08\x06":
        return False
    return header[:6] != bytes.fromhex("000108000604") or len(header) < 28 or header[6] != 0 or header[7] in (0, 255)


MEANT = (_drop_eligible, _reserved_vlan, _priority_tag, _second_tag, _tag_given_again, _later_fragment,
         _atomic_fragment, _source_with_segments_left, _cut_tags, _padding, _other_zero, _scattered, _broken_tcp,
         _void_discovery, _other_option, _mended_checksum, _address_given_back, _no_protocol)


def is_meant(frame, case):
    """Whether a frame is not to be compared, because the switches are meant to differ."""
    tags = tags_of(frame)
    return any(reason(frame, tags, case) for reason in MEANT)
