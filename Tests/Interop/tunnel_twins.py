"""Twins with tunnels. Those of br0 lead over br1, whose ports are wires: there is an endpoint of IPv4 and one of IPv6,
and hosts whose stations both switches know.

What is free in the headers of a tunnel is the same of both when frames are given back: see `normalized`.
"""

import ipaddress
import struct

from flow_cases import network_of
from netns import Namespace
from processes import eventually
from random_frames import checksum
from twins import BRIDGES, NAMES, PATCH, MartletTwin, OpenVSwitchTwin

STATION = "02:00:00:00:0e:01"
# Martlet's endpoints have a station each: this is that of IPv6, and taken for the other one.
STATION6 = "02:00:00:00:0e:02"
# Of each protocol the endpoint and hosts, whose stations are HOST_STATIONS; ENDPOINTS has the lengths of prefixes too.
HERE4, HOSTS4 = "198.18.0.1", ("198.18.0.11", "198.18.0.12", "198.18.0.13")
HERE6, HOSTS6 = "2001:db8:1::1", ("2001:db8:1::11", "2001:db8:1::12", "2001:db8:1::13")
ENDPOINTS = ((HERE4, 24, HOSTS4), (HERE6, 64, HOSTS6))
TAPS = ("tap1", "tap2", "tap3")
HOST_STATIONS = ("02:00:00:00:0e:11", "02:00:00:00:0e:12", "02:00:00:00:0e:13")
# {port number: (type, options)}; `df` is `df_default` in Open vSwitch. The last host is that of flows alone.
TUNNELS = {
    10: ("vxlan", {"remote_ip": HOSTS4[0], "key": 100}),
    11: ("vxlan", {"remote_ip": "flow", "key": "flow", "csum": "true"}),
    12: ("vxlan", {"remote_ip": HOSTS6[1], "key": 7, "ttl": "inherit", "csum": "true"}),
    13: ("gre", {"remote_ip": HOSTS4[1], "key": 7, "tos": "inherit"}),
    14: ("gre", {"remote_ip": "flow", "key": "flow", "df": "false", "csum": "true"}),
    15: ("gre", {"remote_ip": HOSTS4[0], "ttl": 9, "tos": 32}),
    16: ("geneve", {"remote_ip": HOSTS4[0], "key": 100, "csum": "true", "tos": "inherit", "ttl": "inherit"}),
    17: ("geneve", {"remote_ip": HOSTS4[1], "key": "flow"}),
    18: ("geneve", {"remote_ip": "flow", "key": "flow", "csum": "true", "tos": 184}),
}
# A port for any host and network.
ANYWHERE = 11
UDP, GRE = 17, 47
UDP_PORTS = {"vxlan": 4789, "geneve": 6081}
# Beyond those of cases: flows of br1 that each switch needs for its endpoints.
OWN_PRIORITY = 60000


def packed(address):
    return ipaddress.ip_address(address).packed


def normalized(frame):
    """The frame with zeros for what each switch chooses in a tunnel's outer header, the source port of UDP and the
    identification of IPv4, and with ones for checksums of it that are right."""
    kind, header = network_of(frame)
    if kind == b"\x08\0" and header[12:16] == packed(HERE4) and checksum(header[:20]) == 0:
        front, number, rest = header[:4] + b"\0\0" + header[6:10] + b"\xff\xff" + header[12:20], header[9], header[20:]
        addresses = header[12:20]
    elif kind == b"\x86\xdd" and header[8:24] == packed(HERE6):
        front, number, rest, addresses = header[:40], header[6], header[40:], header[8:40]
    else:
        return frame
    if number == UDP:
        summed = checksum(addresses + struct.pack("!HH", len(rest), UDP) + rest) == 0
        rest = b"\0\0" + rest[2:6] + (b"\xff\xff" if summed and rest[6:8] != b"\0\0" else rest[6:8]) + rest[8:]
    return frame[:len(frame) - len(header)] + front + rest


class _Tunnels:
    """What both have in common."""

    # Flows of br1 without the bridge's name and OWN_PRIORITY.
    OWN_FLOWS = ()

    def load(self, flows):
        super().load(flows + [f"br1 priority={OWN_PRIORITY + place},{flow}"
                              for place, flow in enumerate(self.OWN_FLOWS)])

    def counts(self):
        """Of br0: what br1 counts of packets in tunnels is their length to Martlet, and to Open vSwitch the frames'."""
        return {key: count for key, count in super().counts().items() if key[0] == "br0"}

    def exchange(self, groups):
        return [{port: [normalized(frame) for frame in frames] if port in BRIDGES["br1"] else frames
                 for port, frames in left.items()} for left in super().exchange(groups)]


class OpenVSwitchTunnels(_Tunnels, OpenVSwitchTwin):
    # Tunnels are no dummies, and the machine's routes are not those of br1.
    OPTIONS = ("--enable-dummy", "--disable-system", "--disable-system-route")
    OWN_FLOWS = tuple(f"in_port={port},dl_dst={STATION} actions=LOCAL" for port in BRIDGES["br1"])

    def __init__(self, directory):
        super().__init__(directory)
        self._vsctl_run(*(word for number in PATCH.values() for word in ("del-port", NAMES[number], "--")),
                        "set", "bridge", "br1", f"other_config:hwaddr={STATION}")
        for (here, length, hosts), kind in zip(ENDPOINTS, ("ip4addr", "ip6addr")):
            self._call(f"netdev-dummy/{kind}", "br1", f"{here}/{length}")
            for host, station in zip(hosts, HOST_STATIONS):
                self._call("ovs/route/add", f"{host}/{32 if kind == 'ip4addr' else 128}", "br1")
                self._call("tnl/neigh/set", "br1", host, station)
        for number, (kind, options) in TUNNELS.items():
            given = [f"options:{name.replace('df', 'df_default')}=\"{value}\"" for name, value in options.items()]
            self._vsctl_run("add-port", "br0", f"t{number}", "--", "set", "interface", f"t{number}", f"type={kind}",
                            f"ofport_request={number}", *given)


class MartletTunnels(_Tunnels, MartletTwin):
    """Linux is the hosts, behind a tap for each station that only ARP and neighbor discovery go to."""

    OWN_FLOWS = (
        *(f"dl_dst={station} actions=drop" for station in (STATION, STATION6)),
        *(f"in_port={tap} actions=drop" for tap in TAPS),
        *(flow for kind, endpoint in (("arp", "vtep0"), ("icmp6", "vtep1")) for flow in (
            *(f"in_port={tap},{kind} actions=output:{endpoint}" for tap in TAPS),
            f"in_port={endpoint},{kind} actions=" + ",".join(f"output:{tap}" for tap in TAPS))),
    )
    # Seconds of silence beyond which a neighbor is not asked for any more, and forgotten later.
    _IDLE = 15

    def __init__(self, room):
        self._namespace = room.keeps(Namespace("hosts"))
        super().__init__(room, namespace=self._namespace)
        for number in PATCH.values():
            self.daemon.ctl("port", "del", NAMES[number])
        for place, (here, length, _) in enumerate(ENDPOINTS):
            self.daemon.add_port(f"vtep{place}", "endpoint", bridge="br1", address=f"{here}/{length}",
                                 mac=(STATION, STATION6)[place])
        for place, tap in enumerate(TAPS):
            self._add_host(tap, place)
        for number, (kind, options) in TUNNELS.items():
            self.daemon.add_port(f"t{number}", kind, "--number", number, bridge="br0", **options)

    def _add_host(self, tap, place):
        self.daemon.add_port(tap, "tap", bridge="br1")
        namespace = self._namespace
        eventually(lambda: namespace.has(tap), 10, f"network device {tap}")
        # Each answers for its own address alone.
        namespace.run("sh", "-c", f"cd /proc/sys/net; echo 1 > ipv4/conf/{tap}/arp_ignore; "
                      f"echo 0 > ipv4/conf/{tap}/rp_filter; echo 0 > ipv4/conf/all/rp_filter; "
                      f"echo 0 > ipv6/conf/{tap}/disable_ipv6")
        namespace.ip("link", "set", "dev", tap, "address", HOST_STATIONS[place], "up")
        for _, length, hosts in ENDPOINTS:
            namespace.ip("addr", "add", f"{hosts[place]}/{length}", "dev", tap, *(["nodad"] if length == 64 else []))

    def load(self, flows):
        if not self._knows_hosts():
            self._find_hosts()
        super().load(flows)

    def exchange(self, groups):
        own, other = (bytes.fromhex(station.replace(":", "")) for station in (STATION6, STATION))
        groups = [(port, [own + frame[6:] if frame[:6] == other and frame[12:14] == b"\x86\xdd" else frame
                          for frame in frames]) for port, frames in groups]
        return [{port: [frame[:6] + other + frame[12:] if frame[6:12] == own else frame for frame in frames]
                 for port, frames in left.items()} for left in super().exchange(groups)]

    def _knows_hosts(self):
        neighbors = self._call("neighbor.list")["neighbors"]
        known = {entry["address"] for entry in neighbors if "mac" in entry and entry.get("idle", 0) < self._IDLE}
        return known >= set(HOSTS4 + HOSTS6)

    def _find_hosts(self):
        """Sends something to each: what has to wait for its station would leave late."""
        ways = [f"set_field:{host}->tun_dst,output:{ANYWHERE}" for host in HOSTS4] + ["set_field:0.0.0.0->tun_dst"] \
            + [f"set_field:{host}->tun_ipv6_dst,output:{ANYWHERE}" for host in HOSTS6]
        super().load([f"actions={','.join(ways)}", "br1 priority=0 actions=drop"])
        frame = bytes(60)

        def found():
            self.exchange([(1, [bytes.fromhex("020000000002020000000001") + frame])])
            return self._knows_hosts()
        eventually(found, 20, "the stations of all hosts")
