"""A wire that carries tunnels: Martlet in a network namespace at its near end, another stack at its far end."""

from martlet import IDLE
from netns import KernelPeer, Namespace, add_bridge, pings, veth
from ovs import UserspaceSwitch
from processes import eventually

HERE, THERE = "10.88.0.1", "10.88.0.2"
KEY = 100
MAC = "02:00:00:00:0e:01"


def join_wire(daemon, *words, devargs="net_af_packet0,iface=wire", **options):
    """Has a daemon hold a wire, `wire` of its namespace if no other is named, and there the endpoint with these options."""
    daemon.add_bridge("br-phys")
    daemon.add_port("wire", "dpdk", bridge="br-phys", devargs=devargs)
    daemon.add_port("vtep", "endpoint", *words, bridge="br-phys", **options)


class NearEnd:
    """The daemon in a namespace: an endpoint, with more options if there are some, and the wire on br-phys, a tap and
    tunnels on br-tun."""

    def __init__(self, room, here="192.0.2.1", there="192.0.2.2", length=24, tag=None, endpoint=()):
        self.room, self.here, self.there, self.length, self.tag = room, here, there, length, tag
        self.endpoint = dict(endpoint)
        self.near = room.keeps(Namespace("near"))
        devargs = self.lay_wire()
        self.daemon = room.daemon(namespace=self.near, options=IDLE)
        self.set_up(devargs)

    def set_up(self, devargs):
        words = ["--tag", self.tag] if self.tag else []
        join_wire(self.daemon, *words, devargs=devargs,
                  **{"address": f"{self.here}/{self.length}", "mac": MAC, **self.endpoint})
        self.daemon.add_bridge("br-tun")
        self.daemon.add_port("tap0", "tap", bridge="br-tun")
        self.near.bring_up("tap0", f"{HERE}/24")
        self.near.ip("link", "set", "dev", "tap0", "mtu", 1450)

    def tunnel(self, name="vx0", kind="vxlan", **options):
        self.daemon.add_port(name, kind, bridge="br-tun", **{"remote_ip": self.there, "key": KEY, **options})

    def resolve(self):
        eventually(lambda: pings(self.near, THERE, count=1), 20, "a ping through the tunnel")

    def neighbors(self):
        """{address: MAC address} of those that are known."""
        entries = self.daemon.json("neighbor", "list")["neighbors"]
        return {entry["address"]: entry["mac"] for entry in entries if "mac" in entry}

    def wait_for_neighbors(self, *addresses):
        eventually(lambda: self.neighbors().keys() >= set(addresses), 20, f"the stations of {addresses}")


class Underlay(NearEnd):
    """The far end is a namespace, across a veth that an AF_PACKET port holds: Linux, if nobody else."""

    def lay_wire(self):
        self.far = self.room.keeps(Namespace("far"))
        veth(self.near, "wire", self.far, "eth0")
        self.far.finish_checksums_in_software("eth0")
        self.device = self.far_device()
        give_address(self.far, self.device, self.there, self.length)
        return "net_af_packet0,iface=wire"

    def far_device(self):
        """The device that has the far end's address."""
        return "eth0"

    def linux_vxlan(self, key=KEY, address=THERE, name="vx"):
        add_vxlan(self.far, self.device, self.there, self.here, key, address, name)

    def peer(self):
        """The far end of the wire, frame by frame."""
        return self.room.keeps(KernelPeer(self.far, "eth0"))


class Lan(NearEnd):
    """The far end is a bridge with hosts behind it: one of Linux, or where there are VLANs, which not every kernel's has,
    of Open vSwitch. The hosts are in VLAN `tag`, if there is one."""

    def lay_wire(self):
        self.lan = self.room.keeps(Namespace("lan"))
        veth(self.near, "wire", self.lan, "eth0")
        self.switch = self.room.keeps(UserspaceSwitch(self.room.directory / "ovs", self.lan)) if self.tag else None
        self.add_bridge("br0")
        self._join("br0", "eth0")
        self.hosts = 0
        return "net_af_packet0,iface=wire"

    def add_bridge(self, name):
        if self.switch:
            return self.switch.add_bridge(name)
        add_bridge(self.lan, name)

    def _join(self, bridge, device, vlan=None):
        if not self.switch:
            return self.lan.ip("link", "set", "dev", device, "master", bridge)
        self.switch.add_port(bridge, device)
        if vlan:
            self.switch.vsctl("set", "port", device, f"tag={vlan}")

    def host(self, address, vlan=None):
        """A namespace with an address on its eth0, in VLAN `vlan` of the wire or else in `tag`."""
        self.hosts += 1
        host = self.room.keeps(Namespace("host"))
        self.plug(host, "eth0", f"leg{self.hosts}", vlan=vlan or self.tag)
        give_address(host, "eth0", address, self.length)
        return host

    def plug(self, host, device, leg, bridge="br0", vlan=None):
        veth(self.lan, leg, host, device)
        host.finish_checksums_in_software(device)
        self._join(bridge, leg, vlan)


def give_address(namespace, device, address, length):
    words = []
    if ":" in address:
        namespace.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{device}/disable_ipv6")
        words = ["nodad"]
    namespace.ip("addr", "add", f"{address}/{length}", "dev", device, *words)


def add_vxlan(namespace, device, local, remote, key=KEY, address=THERE, name="vx"):
    """Linux's own VXLAN, with its own address within."""
    words = ["noudpcsum"] if ":" not in local else ["udp6zerocsumtx", "udp6zerocsumrx"]
    namespace.ip("link", "add", name, "type", "vxlan", "id", key, "dev", device, "local", local, "remote", remote,
                 "dstport", 4789, *words)
    namespace.bring_up(name, f"{address}/24")
