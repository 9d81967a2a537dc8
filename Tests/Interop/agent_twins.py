"""The host of a Neutron agent twice: Open vSwitch with the flows that the agent dumped (agent_flows), and Martlet with
documents of the same networks. The same frames go into both.

There are the ports of the agent's guests, the physical networks' wires `eth1` and `eth2`, and `wire`, which carries the
tunnels. The hosts at their other ends are made of frames.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from martlet import IDLE
from processes import eventually
from scapy.layers.l2 import ARP, Ether
from twins import Exchange, WatchedSwitch

FLOWS = Path(__file__).with_name("agent_flows")
STATION, HERE = "02:00:00:00:0e:01", "198.18.0.1"
# Of Neutron's hosts, and of one that is none: (station, address). The agent's dump calls them 127.0.0.2 and .3.
HOSTS = {"h2": ("02:00:00:00:0e:12", "198.18.0.12"), "h3": ("02:00:00:00:0e:13", "198.18.0.13")}
STRANGER = ("02:00:00:00:0e:66", "198.18.0.66")
# The agent's tunnel ports, which it has when it shares a network with a host: {name: (type, host)}.
TUNNELS = {"vxlan-7f000002": ("vxlan", "h2"), "gre-7f000002": ("gre", "h2"), "vxlan-7f000003": ("vxlan", "h3")}


@dataclass(frozen=True)
class Network:
    """`vlan` is its local VLAN at the agent's, `key` its segmentation_id."""

    type: str
    vlan: int
    key: int = None
    physical: str = None

    @property
    def is_tunneled(self):
        return self.physical is None


@dataclass(frozen=True)
class Port:
    """`host` is None for this one, where `name` is the device."""

    name: str
    network: str
    mac: str
    addresses: tuple
    host: str = None


NETWORKS = {
    "gre": Network("gre", 1, 0x85d),
    "vxlan": Network("vxlan", 2, 0x694),
    "vlan": Network("vlan", 3, 197, "br-phys"),
    "flat": Network("flat", 4, None, "br-flat"),
}
WIRES = {"br-phys": "eth1", "br-flat": "eth2"}
PORTS = (
    Port("tap02b98c12-02", "gre", "fa:16:3e:cd:d3:be", ("10.2.0.232",)),
    Port("tap84a4a64f-91", "vxlan", "fa:16:3e:38:81:2a", ("10.1.0.220", "fd00:1::f816:3eff:fe38:812a")),
    Port("tap48b50e72-fc", "vxlan", "fa:16:3e:d3:f1:dd", ("10.1.0.175", "fd00:1::f816:3eff:fed3:f1dd")),
    Port("tap1b53c731-e5", "vxlan", "fa:16:3e:e7:4f:c4", ()),
    Port("tap85bb5771-07", "vlan", "fa:16:3e:30:0d:a6", ("10.3.0.207",)),
    Port("tapf1a70000-01", "flat", "fa:16:3e:f1:a7:01", ("10.4.0.5",)),
    # Of the stations elsewhere the dump has no address of IPv6: the agent makes no flow of any.
    Port("6ca524", "vxlan", "fa:16:3e:6c:a5:24", ("10.1.0.163", "fd00:1::163"), "h2"),
    Port("bc1512", "gre", "fa:16:3e:bc:15:12", ("10.2.0.177", "fd00:2::177"), "h2"),
    Port("942b03", "vxlan", "fa:16:3e:94:2b:03", ("10.1.0.14", "fd00:1::14"), "h3"),
    Port("441b25", "vlan", "fa:16:3e:44:1b:25", ("10.3.0.169", "fd00:3::169"), "h2"),
)
LOCAL = tuple(port for port in PORTS if port.host is None)
REMOTE = tuple(port for port in PORTS if port.host)
# Where frames go in and come out.
DEVICES = (*(port.name for port in LOCAL), *WIRES.values(), "wire")


def flood_list(network):
    """The hosts that hold a network beside this one, if it is one of tunnels."""
    return sorted({port.host for port in REMOTE if port.network == network} if NETWORKS[network].is_tunneled else ())


def rows(name):
    """Of a file of flows."""
    return [line for line in (FLOWS / f"{name}.flows").read_text().splitlines() if not line.startswith("#")]


class AgentHost(WatchedSwitch):
    """Open vSwitch with the agent's flows. It looks at one tag: the agent leaves vlan-limit as it is."""

    # Tunnels are no dummies, and the machine's routes are not those of br-wire.
    OPTIONS = ("--enable-dummy", "--disable-system", "--disable-system-route")

    def __init__(self, directory):
        super().__init__(directory)
        self._vsctl_run("del-br", "br0")
        for bridge in ("br-int", "br-tun", "br-phys", "br-flat", "br-wire"):
            self._vsctl_run("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=dummy", "fail_mode=secure",
                            "protocols=OpenFlow10,OpenFlow13")
        for bridge, device in (*WIRES.items(), ("br-wire", "wire")):
            self._add_port(bridge, device, "dummy")
        for port in LOCAL:
            self._add_port("br-int", port.name, "dummy", tag=NETWORKS[port.network].vlan)
        for bridge, one, other in (("br-tun", "patch-tun", "patch-int"),
                                   *((bridge, f"int-{bridge}", f"phy-{bridge}") for bridge in WIRES)):
            self._add_port("br-int", one, "patch", peer=other)
            self._add_port(bridge, other, "patch", peer=one)
        self._lay_tunnels()
        self._load()
        self.watch({device: device for device in DEVICES})

    def _add_port(self, bridge, name, kind, tag=None, **options):
        words = ["--", "set", "port", name, f"tag={tag}"] if tag else []
        given = [f"options:{key}={value}" for key, value in options.items()]
        self._vsctl_run("add-port", bridge, name, "--", "set", "interface", name, f"type={kind}", *given, *words)

    def _lay_tunnels(self):
        self._vsctl_run("set", "bridge", "br-wire", f"other_config:hwaddr={STATION}")
        self._call("netdev-dummy/ip4addr", "br-wire", f"{HERE}/24")
        for station, address in HOSTS.values():
            self._call("ovs/route/add", f"{address}/32", "br-wire")
            self._call("tnl/neigh/set", "br-wire", address, station)
        for name, (kind, host) in TUNNELS.items():
            # The agent's own options but local_ip, which only routes of Linux have: br-wire has one address.
            self._add_port("br-tun", name, kind, remote_ip=HOSTS[host][1], in_key="flow", out_key="flow", df_default="true")

    def _load(self):
        flows = {"br-wire": [f"in_port=wire,dl_dst={STATION} actions=LOCAL", "in_port=LOCAL actions=output:wire"]}
        for bridge in ("br-int", "br-tun", "br-phys"):
            flows[bridge] = rows(bridge)
        for line in rows("flat"):
            bridge, flow = line.split(" ", 1)
            flows.setdefault(bridge, []).append(flow)
        for bridge, lines in flows.items():
            self._add_flows(bridge, lines)

    def _add_flows(self, bridge, lines):
        self._checked("ovs-ofctl", "-O", "OpenFlow13", "--names", "add-flows", f"unix:{self._directory}/{bridge}.mgmt", "-",
                      text="\n".join(lines))

    def forget(self):
        """All stations that bridges and table 20 learned."""
        for bridge in ("br-int", *WIRES):
            self._call("fdb/flush", bridge)
        known = [f"add {line}" for line in rows("br-tun") if "table=20" in line.split(" actions=")[0]]
        self._add_flows("br-tun", ["delete table=20", *known])

    def exchange(self, device, frame):
        """What leaves, {device: [frame]}."""
        return super().exchange([(device, [frame])])[0]


class MartletHost:
    """martletd with documents."""

    def __init__(self, room):
        self.daemon = room.daemon(options=[*IDLE, "--host", "h1", "--vif-dir", str(room.directory)])
        for bridge, device in (*WIRES.items(), ("br-wire", "wire")):
            self.daemon.add_bridge(bridge)
            self.daemon.add_port(device, "ring", bridge=bridge, size=1024)
        self.daemon.add_port("vtep", "endpoint", bridge="br-wire", address=f"{HERE}/24", mac=STATION)
        self.daemon.add_bridge("sentinels")
        for name in ("from", "to"):
            self.daemon.add_port(name, "ring", bridge="sentinels", size=64)
        self.daemon.ctl("network", "apply", "--file", "-", input="\n".join(map(json.dumps, documents())))
        names = {device: device.replace("tap", "vhu") for device in DEVICES}
        self._exchange = room.keeps(Exchange(room.directory, self.daemon.prefix, names))
        eventually(self._knows_hosts, 20, "the stations of the hosts")

    def _knows_hosts(self):
        # One that says nothing, so that its requests come out.
        self.exchange("wire", bytes(Ether(src=STRANGER[0], dst="02:00:00:00:0e:99", type=0x88b5) / bytes(46)))
        entries = self.daemon.json("neighbor", "list")["neighbors"]
        return {entry["address"] for entry in entries if "mac" in entry} >= {address for _, address in HOSTS.values()}

    def forget(self):
        for bridge in ("br-int", *WIRES):
            assert "error" not in self.daemon.call("fdb.flush", bridge=bridge)

    def exchange(self, device, frame):
        """What leaves, {device: [frame]}, without what the endpoint itself asks its neighbors: they answer."""
        left, = self._exchange.run([(device, [frame])])
        asked = [frame for frame in left.get("wire", ()) if frame[12:14] == b"\x08\x06"]
        kept = [frame for frame in left.pop("wire", ()) if frame not in asked]
        self._answer(map(Ether, asked))
        return {**left, **({"wire": kept} if kept else {})}

    def _answer(self, requests):
        stations = {address: station for station, address in HOSTS.values()}
        replies = [bytes(Ether(src=stations[request.pdst], dst=STATION)
                         / ARP(op=2, hwsrc=stations[request.pdst], psrc=request.pdst, hwdst=STATION, pdst=HERE))
                   for request in requests if request.op == 1 and request.pdst in stations]
        if replies:
            self._exchange.run([("wire", replies)])


def documents():
    """What Neutron says of `NETWORKS` and `PORTS`, on the hosts h1, which is this one, h2 and h3."""
    hosts = [{"type": "host", "id": name, "tunnel_address": address, "bridge_mappings": {bridge: bridge for bridge in WIRES}}
             for name, (_, address) in {"h1": (STATION, HERE), **HOSTS}.items()]
    networks = [{"type": "network", "id": name, "network_type": network.type,
                 **({"physical_network": network.physical} if network.physical else {}),
                 **({"segmentation_id": network.key} if network.key else {})} for name, network in NETWORKS.items()]
    ports = [{"type": "port", "id": re.sub("^tap", "", port.name), "network_id": port.network, "mac_address": port.mac,
              "host": port.host or "h1", "fixed_ips": [{"ip_address": address} for address in port.addresses],
              "port_security_enabled": False,
              **({} if port.host else {"vif": {"type": "ring", "size": "1024"}})} for port in PORTS]
    return [*hosts, *networks, *ports]
