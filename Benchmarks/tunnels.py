"""Tunnel rigs: `encap-TYPE` sends what `in` replays into tunnels and out of `out`, `decap-TYPE` takes it out of them. Each
destination MAC is behind a host of its own, so that `--macs` is the number of hosts and `--flows` that of five-tuples.

The switch's address is on a bridge of its own, where the wire is `in` or `out`. Where packets are sent, Linux answers ARP
for all hosts behind a tap (Martlet), or the neighbors are said (Open vSwitch)."""
import ipaddress
import struct
import subprocess

import traffic
from contenders import Martlet, OpenVSwitch
from machine import wait_until

TYPES = ["vxlan", "gre"]
RIGS = [f"{way}-{kind}" for way in ("encap", "decap") for kind in TYPES]
KEY = 100
LOCAL, PREFIX_LENGTH = ipaddress.ip_address("198.18.0.1"), 15
HOSTS = ipaddress.ip_network("198.19.0.0/16")
ANSWERER = "198.18.255.254"
STATION, HOST_STATION = bytes.fromhex("024dfe000001"), bytes.fromhex("024dfe000002")
UNDERLAY = "br-phys"
# On the bridge of the tunnels, and on the wire's.
DEVICE, TUNNEL = 1, 2
WIRE, ENDPOINT, TAP = 1, 2, 3


def host(number):
    return HOSTS[number + 1]


def way_and_type(rig):
    return rig.split("-")


def wrap(rig):
    """What makes a packet for `in` of a frame and the number of the host it is from; nothing where none is needed."""
    way, kind = way_and_type(rig)
    return (lambda frame, number: _outer(kind, frame, number)) if way == "decap" else None


def _outer(kind, frame, number):
    if kind == "vxlan":
        carried = struct.pack("!II", 0x08000000, KEY << 8) + frame
        port = 0xC000 | (frame[35] | frame[34] << 8) & 0x3FFF  # of the five-tuple's source port
        payload, protocol = struct.pack("!HHHH", port, 4789, 8 + len(carried), 0) + carried, 17
    else:
        payload, protocol = struct.pack("!HHI", 0x2000, 0x6558, KEY) + frame, 47
    return STATION + HOST_STATION + b"\x08\x00" + traffic.ipv4(protocol, (int(host(number)), int(LOCAL)), payload)


def tunnel_flows(case):
    way, _ = way_and_type(case.rig)
    if way == "decap":
        return [f"in_port={TUNNEL},actions=output:{DEVICE}"]
    return [f"in_port={DEVICE},dl_dst={traffic.mac_text(mac)},actions=set_field:{host(number)}->tun_dst,output:{TUNNEL}"
            for number, mac in enumerate(case.behind["out"])]


def _is_wire(case, device):
    return device == ("out" if case.rig.startswith("encap") else "in")


class MartletTunnel(Martlet):
    COMMAND = ["unshare", "--net"]

    def __init__(self):
        super().__init__(tunnel_flows)

    def add_ports(self, rig):
        case = rig.case
        self.control.call("bridge.add", {"name": UNDERLAY})
        self._add(UNDERLAY, "vtep", ENDPOINT, "endpoint", {"address": f"{LOCAL}/{PREFIX_LENGTH}", "mac": traffic.mac_text(STATION)})
        self._add(self.BRIDGE, "tunnel", TUNNEL, way_and_type(case.rig)[1], {"remote_ip": "flow", "key": str(KEY)})
        if case.rig.startswith("encap"):
            self._add(UNDERLAY, "answers", TAP, "tap", {})
            self._answer()
        for name, port in self._ports(rig).items():
            bridge, number = (UNDERLAY, WIRE) if _is_wire(case, name) else (self.BRIDGE, DEVICE)
            self._add(bridge, name, number, port["type"], port["options"])
        if case.rig.startswith("encap"):
            flows = [f"in_port={ENDPOINT},arp,actions=output:{TAP}", f"in_port={ENDPOINT},actions=output:{WIRE}",
                     f"in_port={TAP},arp,actions=output:{ENDPOINT}"]
            self.control.call("flow.replace", {"bridge": UNDERLAY, "flows": "\n".join(flows)})

    def _add(self, bridge, name, number, kind, options):
        self.control.call("port.add", {"bridge": bridge, "name": name, "number": number, "type": kind, "options": options})

    def _answer(self):
        """Linux has the addresses of all hosts."""
        for words in (f"addr add {ANSWERER}/{PREFIX_LENGTH} dev answers", "link set answers up", "link set lo up",
                      f"route add local {HOSTS} dev lo"):
            subprocess.run(["nsenter", f"--net=/proc/{self.child.pid}/ns/net", "ip", *words.split()], check=True)

    def warm(self):
        if self.case.rig.startswith("encap"):
            wait_until(self._knows_all, 60, "the neighbors to answer", self.child)
        super().warm()

    def _knows_all(self):
        known = self.control.call("neighbor.list", {})["neighbors"]
        return sum("mac" in neighbor for neighbor in known) >= min(self.case.mac_count, self.case.flow_count)


class OpenVSwitchTunnel(OpenVSwitch):
    def __init__(self):
        super().__init__("ovs-tunnel", tunnel_flows)

    def add_ports(self, rig):
        case = rig.case
        self._add_underlay(LOCAL, STATION)
        self._add_port(self.BRIDGE, "tunnel", TUNNEL, f"type={way_and_type(case.rig)[1]}", "options:remote_ip=flow",
                       f"options:key={KEY}")
        for name, settings in self._ports().items():
            bridge, number = (UNDERLAY, WIRE) if _is_wire(case, name) else (self.BRIDGE, DEVICE)
            self._add_port(bridge, name, number, *settings)
        self._run("ovs-ofctl", "add-flow", UNDERLAY,
                  f"in_port=LOCAL,actions=output:{WIRE}" if case.rig.startswith("encap") else "actions=LOCAL")
        self.control.call_each("tnl/neigh/set", [[UNDERLAY, str(host(number)), traffic.mac_text(HOST_STATION)]
                                                 for number in range(case.mac_count)])

    def _add_underlay(self, address, station):
        """The bridge of the wire, with the switch's own address."""
        self._vsctl("--timeout=60", "add-br", UNDERLAY, "--", "set", "Bridge", UNDERLAY, "datapath_type=netdev",
                    "fail-mode=secure", f"other_config:hwaddr={traffic.mac_text(station)}")
        for words in (f"addr add {address}/{PREFIX_LENGTH} dev {UNDERLAY}", f"link set {UNDERLAY} up"):
            subprocess.run(["nsenter", f"--net=/proc/{self.child.pid}/ns/net", "ip", *words.split()], check=True)


CONTENDERS = {rig: [OpenVSwitchTunnel(), MartletTunnel()] for rig in RIGS}
