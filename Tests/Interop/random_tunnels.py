"""Cases with tunnels from a seed: flows that ask for and set what is around a frame, and frames that come in tunnels.

What is meant to differ is not drawn:

* A tunnel's packets leave it before the flows of the endpoint's bridge: what comes from a wire for the endpoint Open
  vSwitch sends to LOCAL whatever the flows of a case say. Flows of br1 that name no port meet what leaves.
* Marks of the outer header go by RFC 6040 section 4.2, before any flow: ECT(1) is carried over, and congestion that the
  frame cannot have dropped. GRE with sequence numbers, critical options and fragments are dropped, and padding behind the
  outer packet is cut off.
* Of one burst, tunnels' packets are forwarded before the others: a wire gets either the ones or the others.
* Open vSwitch asks for a host whose station it does not know, and its routes depend on pkt_mark.
* An output that is cut off sends nothing to a tunnel.
* GRE of key 0 is GRE without a key to Open vSwitch, which does not go by RFC 2890 there.
* A tunnel that goes where flows say, when none has, leaves its key and no source with the packet in Open vSwitch: no
  tunnel of TUNNELS is so and has a fixed key, and flows ask for the source before anything is sent.
"""

import struct
from dataclasses import replace
from itertools import count

from draw import Draw
from flow_cases import ALL_TAGGED, FLOWS, PACKETS, Case, is_meant, wants_more
from random_bridges import BridgeDraw
from random_flows import TABLES
from random_frames import FrameDraw, checksum
from tunnel_twins import (GRE, HERE4, HERE6, HOST_STATIONS, HOSTS4, HOSTS6, STATION, TUNNELS, UDP, UDP_PORTS, packed)
from twins import BRIDGES, GROUP, NAMES

KEYS = (0, 7, 100, 0x77, 0xFFFFFF)
WIDE_KEY = 0xFEDCBA98
# Nobody has a route to it.
LOST = "203.0.113.9"
TUNNELLED_WIRE, PLAIN_WIRE = BRIDGES["br1"]
UNDERLAY_KINDS = ("", "ip", "ipv6", "udp", "udp6", "ip,nw_proto=47", "ipv6,nw_proto=47", f"ip,nw_dst={HOSTS4[0]}",
                  f"ipv6,ipv6_dst={HOSTS6[1]}", f"udp,tp_dst={UDP_PORTS['vxlan']}", "ip,nw_tos=32", "ip,nw_ttl=64",
                  f"dl_dst={HOST_STATIONS[1]}", "dl_vlan=5")


class TunnelFlowDraw(BridgeDraw):
    """Draws the flows of br0, with tunnels among its ports."""

    def __init__(self, seed, normal):
        *ports, last = BRIDGES["br0"] + tuple(TUNNELS)
        super().__init__(seed, ports, last, normal, cuts=False, pushes=False)

    def lines(self, count):
        return super().lines(count) + (self._by_source() if self.chance(2) else [])

    def _by_source(self):
        """Flows that every packet meets first and once: they leave a mark in reg15, where others load no 0."""
        flows = []
        for number in range(1, self.number(1, 3) + 1):
            version, source = self.pick((("IPV4", f"tun_src={self.pick(HOSTS4 + ('198.18.0.0/29', '0.0.0.0'))}"),
                                         ("IPV6", f"tun_ipv6_src={self.pick(HOSTS6 + ('::',))}")))
            effect = self.pick((f"move:NXM_NX_TUN_{version}_SRC[]->NXM_NX_TUN_{version}_DST[]",
                                f"move:NXM_NX_TUN_{version}_SRC[0..3]->NXM_NX_REG0[0..3]",
                                "load:0x1->OXM_OF_METADATA[]"))
            flows.append(f"table=0,priority={1000 + number},reg15=0,{source} actions=set_field:0x1->reg15,{effect},"
                         f"resubmit(,{self.pick(TABLES)})")
        return flows + ["table=0,priority=1000,reg15=0 actions=set_field:0x1->reg15,resubmit(,0)"]

    def fields(self, kind, most):
        fields = [field for field in super().fields(kind, most) if not field.startswith("tun_")]
        return fields + self.some(self._tunnel_matches(), 2) if self.chance(2) else fields

    def _tunnel_matches(self):
        return [f"tun_id={self.pick(KEYS + (WIDE_KEY, '0x7/0xf', '0x60/0xf0'))}",
                self.pick((f"tun_dst={HERE4}", f"tun_dst={self.pick(HOSTS4)}", "tun_dst=0.0.0.0",
                           f"tun_ipv6_dst={HERE6}", "tun_ipv6_dst=2001::/16"))]

    def _everywhere_actions(self):
        return self._routed(super()._everywhere_actions()) + 2 * self._tunnel_actions()

    def _modern_actions(self):
        return self._routed(super()._modern_actions())

    def _routed(self, choices):
        return [make for make in choices if "pkt_mark" not in make().lower()]

    def _tunnel_actions(self):
        return [
            lambda: f"output:{self.pick(list(TUNNELS))}", self._send, self._send, self._send,
            lambda: f"set_field:{self._key()}->tun_id", lambda: f"set_tunnel64:{self._key()}",
            lambda: f"set_field:{self.pick(HOSTS4)}->tun_dst", lambda: f"set_field:{self.pick(HOSTS6)}->tun_ipv6_dst",
            lambda: f"set_field:{self.pick(('0.0.0.0', LOST))}->tun_dst",
            lambda: "load:0xc612000b->NXM_NX_TUN_IPV4_DST[]", lambda: "move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31]",
            lambda: "load:0x5->NXM_NX_TUN_ID[4..11]", lambda: "push:NXM_NX_TUN_ID[]",
        ]

    def _key(self):
        return f"{self.pick(KEYS + (WIDE_KEY,)):#x}"

    def _send(self):
        """Somewhere, whatever the packet's tunnel was."""
        host = self.pick((f"set_field:{self.pick(HOSTS4)}->tun_dst",
                          f"set_field:0.0.0.0->tun_dst,set_field:{self.pick(HOSTS6)}->tun_ipv6_dst"))
        return f"{host},set_field:{self._key()}->tun_id,output:{self.pick(list(TUNNELS))}"


class UnderlayDraw(Draw):
    """Draws the flows of br1."""

    def lines(self):
        priorities = self.distinct(range(1, 1000), 4)
        return [f"br1 {self._match(priority)} actions={self._actions()}"
                for priority in priorities[:self.number(0, 4)]] + [f"br1 priority=0 actions={self._output()}"]

    def _match(self, priority):
        return ",".join([f"priority={priority}", *filter(None, [self.pick(UNDERLAY_KINDS)])])

    def _actions(self):
        edits = self.some(["mod_vlan_vid:5", "mod_dl_dst:02:00:00:00:00:03", "mod_dl_src:02:00:00:00:00:02"], 2)
        return ",".join(edits + [self._output() if not self.chance(6) else "drop"]).removesuffix(",drop")

    def _output(self):
        wires = BRIDGES["br1"]
        return self.weighted((f"output:{wires[0]}", 3), (f"output:{wires[1]}", 3),
                             (f"output:{wires[0]},output:{wires[1]}", 2), ("NORMAL", 3))


class TunnelledDraw(FrameDraw):
    """Draws frames in tunnels."""

    def tunnelled(self, inner):
        """A packet around a frame: mostly one that some tunnel takes."""
        kind, six = self.pick(("vxlan", "gre", "geneve")), self.chance(3)
        hosts, here = (HOSTS6, HERE6) if six else (HOSTS4, HERE4)
        # Open vSwitch takes the station of a packet's sender for that of the host.
        sender, station = self.pick(list(zip(hosts, HOST_STATIONS)))
        addresses = packed(sender) + packed(here)
        number, message = self._gre(inner) if kind == "gre" else self._datagram(kind, inner, addresses)
        header = self._header6 if six else self._header4
        return bytes.fromhex(STATION.replace(":", "") + station.replace(":", "")) \
            + header(number, len(message), addresses) + message

    def _tos(self):
        return self.pick((0, 0, 32, 0xB8)) | self.pick((0, 2))

    def _header4(self, number, length, addresses):
        start = struct.pack("!BBHHHBB", 0x45, self._tos(), 20 + length, self.number(0, 65535), self.pick((0, 0x4000)),
                            self.pick((1, 64, 255)), number)
        return b"\x08\0" + start + struct.pack("!H", checksum(start + b"\0\0" + addresses)) + addresses

    def _header6(self, number, length, addresses):
        first = 6 << 28 | self._tos() << 20 | self.pick((0, 0xABCDE))
        return b"\x86\xdd" + struct.pack("!IHBB", first, length, number, self.pick((1, 64, 255))) + addresses

    def _datagram(self, kind, inner, addresses):
        word = self.pick(KEYS) << 8
        carried = struct.pack("!II", 0x08000000, word) if kind == "vxlan" else self._geneve(word)
        start = struct.pack("!HHH", self.number(0xC000, 0xFFFF), UDP_PORTS[kind], 8 + len(carried) + len(inner))
        rest = carried + inner
        total = checksum(addresses + struct.pack("!HH", 8 + len(rest), UDP) + start + b"\0\0" + rest) or 0xFFFF
        right = struct.pack("!H", total)
        return UDP, start + self.weighted((right, 4), (b"\0\0", 4), (b"\x12\x34", 1)) + rest

    def _geneve(self, word):
        """RFC 8926, section 3.4; options that nobody needs to know."""
        options = b"\x01\x02\x42\x01" + self.octets(4) if self.chance(3) else b""
        return struct.pack("!BBHI", len(options) // 4, 0, 0x6558, word) + options

    def _gre(self, inner):
        """RFC 2784 and RFC 2890."""
        key = struct.pack("!I", self.pick(KEYS[1:] + (WIDE_KEY,))) if not self.chance(4) else b""
        flags = 0x2000 if key else 0
        if not self.chance(3):
            return GRE, struct.pack("!HH", flags, 0x6558) + key + inner
        start, rest = struct.pack("!HH", flags | 0x8000, 0x6558), b"\0\0" + key + inner
        right = struct.pack("!H", checksum(start + b"\0\0" + rest))
        return GRE, start + (right if not self.chance(6) else b"\x12\x34") + rest


def drawn(seed, number):
    """Case `number`. Flows under which nearly all frames are meant to differ are drawn again."""
    attempts = (_drawn(f"tunnels/{seed}/{number}" + (f"/{attempt}" if attempt else "")) for attempt in count())
    return next(case for case in attempts if len(case.packets) == PACKETS)


def _drawn(seed):
    draw = Draw(seed)
    flows = TunnelFlowDraw(f"{seed}/flows", normal=draw.chance(2)).lines(draw.number(1, FLOWS))
    flows += UnderlayDraw(f"{seed}/underlay").lines()
    frames = TunnelledDraw(f"{seed}/frames")
    case, packets, turns = Case(dict.fromkeys(NAMES, ALL_TAGGED), flows, []), [], 0
    while wants_more(packets, turns):
        port, turns = draw.weighted((draw.pick(BRIDGES["br0"]), 4), (TUNNELLED_WIRE, 4), (PLAIN_WIRE, 1)), turns + 1
        made = [frame for _ in range(draw.number(1, GROUP)) if not is_meant(frame := frames.frame(), case)]
        packets += [(port, frames.tunnelled(frame) if port == TUNNELLED_WIRE else frame) for frame in made]
    return replace(case, packets=packets[:PACKETS])
