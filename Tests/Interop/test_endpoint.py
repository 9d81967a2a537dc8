"""The endpoint among hosts that are Linux: floods to several of them, gateways, and the host's own kernel beside it."""

import re

import pytest

from frames import BROADCAST, station
from martlet import REPOSITORY
from netns import KernelPeer, Namespace, carries_tcp, pings
from processes import eventually
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vxlan import VXLAN
from underlay import HERE, KEY, MAC, THERE, Lan, add_vxlan

ENDS = {
    "ipv4": {}, "ipv6": {"here": "2001:db8::1", "there": "2001:db8::2", "length": 64}, "tagged": {"tag": 7},
    "ipv6-tagged": {"here": "2001:db8::1", "there": "2001:db8::2", "length": 64, "tag": 7},
}


def broadcast(number=1, **udp):
    """A frame that is another one for another number."""
    return bytes(Ether(src=station(0xA), dst=BROADCAST) / IP(src=HERE, dst="10.88.0.255")
                 / UDP(**{"sport": number, "dport": 9, **udp}) / (b"x" * 40))


def address(lan, number):
    return f"{lan.here[:-1]}{number}"


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_a_flood_reaches_each_of_several_remotes_once(room, ends):
    lan = Lan(room, **ends)
    remotes = {}
    for number in (2, 3, 4):
        host = lan.host(address(lan, number))
        add_vxlan(host, "eth0", address(lan, number), lan.here, address=f"10.88.0.{number}")
        remotes[address(lan, number)] = room.keeps(KernelPeer(host, "vx"))
        lan.tunnel(f"vx{number}", remote_ip=address(lan, number))
    # Asked for before anybody sends: the very first packet is a flood.
    lan.wait_for_neighbors(*remotes)
    tap = room.keeps(KernelPeer(lan.near, "tap0"))
    for number in (1, 2):
        tap.send(broadcast(number))
    for peer in remotes.values():
        assert peer.wait_for(broadcast(2)).count(broadcast(1)) == 1
    assert lan.daemon.drops("vx2") == {}
    # The LAN floods here what it has for stations that it has not learned yet.
    assert set(lan.daemon.drops("wire")) <= {"no_other_port"}
    for number in (2, 3, 4):
        eventually(lambda: pings(lan.near, f"10.88.0.{number}", count=1), 10, f"an answer of host {number}")


class Routed(Lan):
    """A remote that three gateways lead to, of which nobody has the address of the third."""

    gateways = ["192.0.2.252", "192.0.2.253", "192.0.2.254"]
    remote = "198.51.100.2"

    def __init__(self, room):
        super().__init__(room, endpoint={"gateway": ",".join(self.gateways)})
        self.add_bridge("br1")
        self.routers = [self._router(number) for number in (0, 1)]
        self.far = room.keeps(Namespace("far"))
        self.plug(self.far, "eth0", "remote", bridge="br1")
        self.far.ip("addr", "add", f"{self.remote}/24", "dev", "eth0")
        self.far.ip("route", "add", "192.0.2.0/24", "via", "198.51.100.252")
        add_vxlan(self.far, "eth0", self.remote, self.here)
        self.tunnel(remote_ip=self.remote)

    def _router(self, number):
        router = self.host(self.gateways[number])
        self.plug(router, "eth1", f"back{number}", bridge="br1")
        router.ip("addr", "add", f"198.51.100.{252 + number}/24", "dev", "eth1")
        router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
        return router

    def carried(self, tap, peer, first):
        """Sends frames of 32 connections; returns how many each router forwarded, once all have arrived."""
        taps = [KernelPeer(router, "eth0") for router in self.routers]
        missing = {broadcast(number) for number in range(first, first + 32)}
        for frame in sorted(missing):
            tap.send(frame)

        def all_arrived():
            # Of two ways one may be the quicker.
            missing.difference_update(peer.received())
            return not missing
        eventually(all_arrived, 10, "frames of all connections")
        counts = [sum(content[:6] != b"\xff" * 6 and content[23] == 17 for content in one.received()) for one in taps]
        for one in taps:
            one.close()
        return counts


def test_connections_are_shared_among_the_gateways_that_answer(room):
    lan = Routed(room)
    lan.wait_for_neighbors(*lan.gateways[:2])
    lan.resolve()
    tap, peer = room.keeps(KernelPeer(lan.near, "tap0")), room.keeps(KernelPeer(lan.far, "vx"))
    counts = lan.carried(tap, peer, 100)
    assert sum(counts) == 32 and min(counts) >= 4, f"{counts}: those of the dead gateway go through the others"
    # A gateway that gets another station says so, and is followed.
    router = lan.routers[0]
    router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_notify")
    router.ip("link", "set", "dev", "eth0", "address", station(0xE))
    eventually(lambda: lan.neighbors()[lan.gateways[0]] == station(0xE), 10, "the gateway's new station")
    assert sum(lan.carried(tap, peer, 200)) == 32
    # And the third comes alive.
    lan.routers[1].ip("addr", "add", f"{lan.gateways[2]}/24", "dev", "eth0")
    lan.wait_for_neighbors(lan.gateways[2])
    assert sum(lan.carried(tap, peer, 300)) == 32
    assert lan.daemon.drops("vx0") == lan.daemon.drops("wire") == {}


@pytest.mark.long
def test_neighbors_are_asked_again_before_they_are_forgotten(room):
    lan = Lan(room)
    host = lan.host(lan.there)
    add_vxlan(host, "eth0", lan.there, lan.here)
    lan.tunnel()
    lan.wait_for_neighbors(lan.there)
    wire = room.keeps(KernelPeer(host, "eth0"))
    own = next(mac for mac in lan.neighbors().values())
    asked = []

    def asked_twice():
        assert pings(lan.near, THERE, count=1) and lan.neighbors() == {lan.there: own}
        requests = [Ether(content) for content in wire.received() if content[12:14] == b"\x08\x06"]
        asked.extend(packet for packet in requests if packet.dst == own and packet[ARP].op == 1)
        return len(asked) >= 2
    eventually(asked_twice, 60, "two questions to the neighbor alone", interval=0.2)
    assert lan.daemon.drops("vx0") == {}


NIC = "--option pci=0000:3b:00.0"
# Of the recipe: the endpoint, the kernel and its gateway, and the VLANs of both.
ENDPOINT, KERNEL, OUTSIDE, VLANS = "192.0.2.1", "203.0.113.11", "203.0.113.254", (7, 9)


def recipe():
    """The commands of README.md for a host whose NIC is the switch's."""
    section = (REPOSITORY / "README.md").read_text().split("## The host's own traffic beside the endpoint\n")[1]
    commands = [line.split() for line in section.split("\n## ")[0].splitlines() if re.match("    (martletctl|ip) ", line)]
    assert any(NIC in " ".join(command) for command in commands)
    return commands


class Beside(Lan):
    """A host set up by the README's own commands; its NIC is a wire here. Without `tags`, all are in one network."""

    def __init__(self, room, tags):
        self.tags = tags
        super().__init__(room, here=ENDPOINT, tag=VLANS[0] if tags else None)

    def set_up(self, devargs):
        # The kernel holds the wire as well, which with a NIC of DPDK it does not.
        self.near.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
        for tool, *words in recipe():
            line = " ".join(words).replace(NIC, f"--option devargs={devargs}")
            if not self.tags:
                line = re.sub(r" --tag \d+", "", line).replace(f"{ENDPOINT}/24", f"{ENDPOINT}/24 --option mac={MAC}")
            (self.daemon.ctl if tool == "martletctl" else self.near.ip)(*line.split())
        self.daemon.add_bridge("br-tun")
        self.daemon.add_port("tap0", "tap", bridge="br-tun")
        self.near.bring_up("tap0", f"{HERE}/24")
        self.near.ip("link", "set", "dev", "tap0", "mtu", 1450)

    def station_of(self, name):
        return self.daemon.json("port", "show", name)["options"]["mac"]


@pytest.mark.parametrize("tags", [True, False], ids=["vlans", "one-network"])
def test_the_hosts_own_traffic_passes_beside_the_endpoint(room, tags):
    lan = Beside(room, tags)
    remote = lan.host(lan.there)
    add_vxlan(remote, "eth0", lan.there, lan.here)
    outside = lan.host(OUTSIDE, vlan=VLANS[1] if tags else None)
    lan.tunnel()
    lan.resolve()
    kernel, wire = room.keeps(KernelPeer(lan.near, "host0")), room.keeps(KernelPeer(outside, "eth0"))
    taken = lan.daemon.counters("vtep")["tx_packets"]
    assert pings(lan.near, OUTSIDE) and pings(outside, KERNEL)
    for one, other, target in ((lan.near, outside, OUTSIDE), (outside, lan.near, KERNEL),
                               (lan.near, remote, THERE), (remote, lan.near, HERE)):
        assert carries_tcp(one, other, target)
    # Nobody got what was another's: requests to all, if anything.
    assert lan.daemon.counters("vtep")["tx_packets"] - taken < 20
    station_of_endpoint = lan.station_of("vtep")
    for peer in (kernel, wire):
        frames = [Ether(content) for content in peer.received()]
        assert len(frames) > 100
        assert [frame.summary() for frame in frames if frame.dst == station_of_endpoint or VXLAN in frame] == []
    # Each answers for itself.
    assert pings(remote, lan.here)
    assert station_of_endpoint in remote.ip("neigh", "show", lan.here).stdout
    assert lan.near.ip("link", "show", "host0").stdout.split("link/ether ")[1].split()[0] \
        in outside.ip("neigh", "show", KERNEL).stdout
    assert lan.daemon.drops("host0").keys() <= {"vlan_not_carried"}


def test_the_kernel_does_not_take_the_endpoints_station(room):
    lan = Beside(room, tags=False)
    outside = lan.host(OUTSIDE)
    lan.near.ip("link", "set", "dev", "host0", "address", lan.station_of("vtep"))
    assert not pings(lan.near, OUTSIDE, count=1, patience=1)
    assert lan.daemon.drops("host0")["endpoint_forbidden"] >= 1
    lan.near.ip("link", "set", "dev", "host0", "address", station(0x11))
    eventually(lambda: pings(lan.near, OUTSIDE, count=1) and pings(outside, KERNEL, count=1), 10, "an answer")
