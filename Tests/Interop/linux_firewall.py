"""Linux as a firewall: a router between a guest's device and the others', whose kernel tracks connections (nf_conntrack)
and filters by rules of nftables.

A bridge would be nearer to a switch, but not every kernel tracks connections there.
"""

import functools
import socket
import struct

from netns import KernelPeer, Namespace, veth
from processes import eventually
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

# linux/netlink.h, linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h: a message that deletes connections, with an
# acknowledgment, and nothing that would say which.
NETLINK_NETFILTER = 12
FLUSH = struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0)
# Of the router's devices: what is sent there is sent to it.
ROUTER = "02:00:00:00:f0:01"
# A protocol that the rules let pass, for the last packet of many (RFC 3692).
LAST = 253

RULES = f"""
flush ruleset
table inet firewall {{
%(chains)s
  chain forward {{
    type filter hook forward priority filter; policy drop;
    meta l4proto {LAST} accept
%(jumps)s
    accept
  }}
  chain input {{
    type filter hook input priority filter; policy drop;
%(calls)s
  }}
}}
# What is sent to all is not forwarded by a router.
table ip flood {{
  chain input {{
    type filter hook input priority 10;
%(copies)s
  }}
}}
"""


class LinuxFirewall:
    """A device for each station."""

    name = "Linux"

    def __init__(self, room, stations):
        self.router = room.keeps(Namespace("router"))
        self._write("net/ipv4/ip_forward", 1)
        self._write("net/ipv6/conf/all/forwarding", 1)
        with self.router.entered():
            self._netlink = room.keeps(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER))
        self.far = room.keeps(Namespace("far"))
        self._peers = {station.name: self._cable(room, station) for station in stations}
        self._stations = {station.name: station for station in stations}

    def _write(self, path, value):
        self.router.run("sh", "-c", f"echo {value} > /proc/sys/{path}")

    def _cable(self, room, station):
        veth(self.router, station.name, self.far, station.name)
        for path in ("ipv4/conf/{}/rp_filter", "ipv4/conf/{}/send_redirects", "ipv6/conf/{}/disable_ipv6",
                     "ipv6/conf/{}/accept_dad", "ipv6/conf/{}/accept_ra"):
            self._write("net/" + path.format(station.name), 0)
        self.router.ip("link", "set", "dev", station.name, "address", ROUTER)
        for address in station.addresses:
            self.router.ip("route", "add", address, "dev", station.name)
            self.router.ip("neigh", "add", address, "lladdr", station.mac, "dev", station.name, "nud", "permanent")
        return room.keeps(KernelPeer(self.far, station.name))

    def filter(self, chains):
        """Has rules in place of those that there were: {(station, direction): rules}. A packet is asked about by the chains
        of its sender and of its receiver."""
        words = {"egress": ("iifname", "from"), "ingress": ("oifname", "to")}
        texts = [f"  chain {words[way][1]}-{name} {{\n{rules}\n  }}" for (name, way), rules in chains.items()]
        jumps = [f'    {words[way][0]} "{name}" jump {words[way][1]}-{name}' for name, way in chains]
        calls = [f'    ip daddr 255.255.255.255 iifname "{name}" jump from-{name}' for name, way in chains if way == "egress"]
        calls += ["    ip daddr 255.255.255.255 accept"]
        copies = [f'    ip daddr 255.255.255.255 iifname != "{name}" dup to {station.of_family(False)} device "{name}"'
                  for name, station in self._stations.items()]
        self.router.run("nft", "-f", "-", input=RULES % {
            "chains": "\n".join(texts), "jumps": "\n".join(jumps), "calls": "\n".join(calls), "copies": "\n".join(copies)})

    def flush(self):
        """Forgets all connections."""
        self._netlink.send(FLUSH)
        answer = self._netlink.recv(4096)
        assert struct.unpack_from("=i", answer, 16) == (0,), answer

    def passed(self, packets):
        """Which of the packets (sender, receiver, frame) arrive at their receiver: their numbers, as `number_of` reads them."""
        for peer in self._peers.values():
            peer.received()
        for sender, _, frame in packets:
            # A device's driver hands its frames on before it returns.
            self._peers[sender].send(bytes.fromhex(ROUTER.replace(":", "")) + frame[6:])
        return {number for pair in {packet[:2] for packet in packets} for number in self._arrived(*pair)}

    def _arrived(self, sender, receiver):
        self._peers[sender].send(last_of(self._stations[sender], self._stations[receiver]))
        seen = []

        def is_last(frame):
            return frame[12:14] == b"\x08\x00" and frame[23] == LAST
        eventually(lambda: seen.extend(self._peers[receiver].received()) or any(map(is_last, seen)), 10, "the last packet")
        return {number_of(frame) for frame in seen if not is_last(frame)} - {None}


@functools.cache
def last_of(one, other):
    return bytes(Ether(src=one.mac, dst=ROUTER) / IP(src=one.of_family(False), dst=other.of_family(False), proto=LAST))


def number_of(frame):
    """A packet's number, which is its identification in IPv4 and its flow label in IPv6: neither a router nor a switch
    changes them."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        return int.from_bytes(frame[18:20])
    return int.from_bytes(frame[15:18]) & 0xFFFFF if kind == b"\x86\xdd" else None
