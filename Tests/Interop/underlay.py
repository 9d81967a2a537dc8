"""A wire that carries tunnels: Martlet in a network namespace at its near end, another stack at its far end."""

from netns import KernelPeer, Namespace, pings, veth
from processes import eventually

HERE, THERE = "10.88.0.1", "10.88.0.2"
KEY = 100
MAC = "02:00:00:00:0e:01"


class NearEnd:
    """The daemon in a namespace: an endpoint, with more options if there are some, and the wire on br-phys, a tap and
    tunnels on br-tun."""

    def __init__(self, room, here="192.0.2.1", there="192.0.2.2", length=24, tag=None, endpoint=()):
        self.room, self.here, self.there, self.length = room, here, there, length
        self.near = room.keeps(Namespace("near"))
        devargs = self.lay_wire()
        self.daemon = room.daemon(namespace=self.near)
        for bridge in ("br-phys", "br-tun"):
            self.daemon.add_bridge(bridge)
        self.daemon.add_port("wire", "dpdk", bridge="br-phys", devargs=devargs)
        words = ["--tag", tag] if tag else []
        self.daemon.add_port("vtep", "endpoint", *words, bridge="br-phys",
                             **{"address": f"{here}/{length}", "mac": MAC, **dict(endpoint)})
        self.daemon.add_port("tap0", "tap", bridge="br-tun")
        self.near.bring_up("tap0", f"{HERE}/24")
        self.near.ip("link", "set", "dev", "tap0", "mtu", 1450)

    def tunnel(self, name="vx0", kind="vxlan", **options):
        self.daemon.add_port(name, kind, bridge="br-tun", **{"remote_ip": self.there, "key": KEY, **options})

    def resolve(self):
        eventually(lambda: pings(self.near, THERE, count=1), 20, "a ping through the tunnel")


class Underlay(NearEnd):
    """The far end is a namespace, across a veth that an AF_PACKET port holds: Linux, if nobody else."""

    def lay_wire(self):
        self.far = self.room.keeps(Namespace("far"))
        veth(self.near, "wire", self.far, "eth0")
        self.far.finish_checksums_in_software("eth0")
        self.device = self.far_device()
        self._address_far_end()
        return "net_af_packet0,iface=wire"

    def far_device(self):
        """The device that has the far end's address."""
        return "eth0"

    def _address_far_end(self):
        words = []
        if ":" in self.there:
            self.far.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{self.device}/disable_ipv6")
            words = ["nodad"]
        self.far.ip("addr", "add", f"{self.there}/{self.length}", "dev", self.device, *words)

    def linux_vxlan(self, key=KEY, address=THERE, name="vx"):
        words = ["noudpcsum"] if ":" not in self.there else ["udp6zerocsumtx", "udp6zerocsumrx"]
        self.far.ip("link", "add", name, "type", "vxlan", "id", key, "dev", self.device, "local", self.there,
                    "remote", self.here, "dstport", 4789, *words)
        self.far.bring_up(name, f"{address}/24")

    def peer(self):
        """The far end of the wire, frame by frame."""
        return self.room.keeps(KernelPeer(self.far, "eth0"))
