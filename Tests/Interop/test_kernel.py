"""Linux as the peer: its stack behind a tap port, its veth and bridge behind an AF_PACKET port."""

import pytest

from frames import Dot1Q, Ether, customer, frame, service, station
from netns import KernelPeer, Namespace, carries_tcp, pings, veth
from processes import eventually
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP

HERE, THERE = "10.88.0.1", "10.88.0.2"


class Cable:
    """The daemon in a namespace with a tap port; a veth from there, held by a dpdk port, to another namespace."""

    def __init__(self, room):
        self.near, self.far = room.keeps(Namespace("near")), room.keeps(Namespace("far"))
        veth(self.near, "wire", self.far, "eth0")
        self.far.finish_checksums_in_software("eth0")
        self.daemon = room.daemon(namespace=self.near)
        self.daemon.add_bridge()
        self.daemon.add_port("wire", "dpdk", devargs="net_af_packet0,iface=wire")
        self.daemon.add_port("tap0", "tap")
        self.near.bring_up("tap0", f"{HERE}/24")
        self.daemon.wait_for_link("tap0")


@pytest.fixture
def cable(room):
    cable = Cable(room)
    cable.far.ip("addr", "add", f"{THERE}/24", "dev", "eth0")
    return cable


def neighbours(namespace):
    return namespace.ip("neigh", "show").stdout


def test_two_kernel_stacks_find_each_other_by_arp_and_ping(cable):
    assert pings(cable.near, THERE)
    assert pings(cable.far, HERE)
    assert THERE in neighbours(cable.near) and "FAILED" not in neighbours(cable.near)
    ports = {entry["port"] for entry in cable.daemon.json("fdb", "show", "br0")["entries"]}
    assert ports == {"tap0", "wire"}


def test_two_kernel_stacks_in_different_vlans_do_not_reach_each_other(cable):
    assert pings(cable.near, THERE)
    cable.daemon.ctl("port", "set", "tap0", "--tag", 10)
    cable.daemon.ctl("port", "set", "wire", "--tag", 20)
    assert not pings(cable.near, THERE, count=3, patience=1)
    cable.daemon.ctl("port", "set", "wire", "--tag", 10)
    assert pings(cable.near, THERE)


def test_a_linux_bridge_behind_the_port_is_part_of_the_network(room):
    cable = Cable(room)
    host = room.keeps(Namespace("host"))
    cable.far.ip("link", "add", "lan", "type", "bridge")
    cable.far.bring_up("lan")
    cable.far.ip("link", "set", "dev", "eth0", "master", "lan")
    veth(cable.far, "leg", host, "eth0")
    cable.far.ip("link", "set", "dev", "leg", "master", "lan")
    host.ip("addr", "add", f"{THERE}/24", "dev", "eth0")
    # A Linux bridge forwards once its port has gone through its states.
    eventually(lambda: pings(cable.near, THERE, count=1), 30, "a ping through a Linux bridge")


def test_spanning_tree_frames_of_a_linux_bridge_are_counted_and_not_relayed(room):
    cable = Cable(room)
    listener = room.keeps(KernelPeer(cable.near, "tap0"))
    cable.far.ip("link", "add", "lan", "type", "bridge", "stp_state", "1", "hello_time", "100")
    cable.far.ip("link", "set", "dev", "eth0", "master", "lan")
    cable.far.bring_up("lan")
    eventually(lambda: cable.daemon.drops("wire").get("reserved_address"), 20, "a counted BPDU")
    reserved = [content for content in listener.received() if content.startswith(bytes.fromhex("0180c2"))]
    assert reserved == []


def test_tcp_between_two_kernel_stacks_carries_its_octets_unaltered(cable):
    assert carries_tcp(cable.near, cable.far, THERE, megabytes=4)


def tagged_ping(vid):
    return bytes(Ether(src=station(1), dst=station(2)) / Dot1Q(vlan=vid, prio=3)
                 / IP(src=HERE, dst=THERE) / ICMP() / (b"x" * 40))


def test_a_tag_passes_between_tap_and_af_packet_as_the_kernels_see_it(room):
    cable = Cable(room)
    near, far = room.keeps(KernelPeer(cable.near, "tap0")), room.keeps(KernelPeer(cable.far, "eth0"))
    content = tagged_ping(42)
    near.send(content)
    far.wait_for(content)
    answer = bytes(Ether(src=station(2), dst=station(1)) / Dot1Q(vlan=42) / ARP(op=2, psrc=THERE, pdst=HERE))
    far.send(answer)
    near.wait_for(answer)
    vlans = {(entry["mac"], entry["vlan"]) for entry in cable.daemon.json("fdb", "show", "br0")["entries"]}
    assert {(station(1), 42), (station(2), 42)} <= vlans


def test_an_access_port_tags_towards_a_trunk_and_untags_back(room):
    cable = Cable(room)
    cable.daemon.ctl("port", "set", "tap0", "--tag", 42)
    near, far = room.keeps(KernelPeer(cable.near, "tap0")), room.keeps(KernelPeer(cable.far, "eth0"))
    near.send(frame(station(1), station(2)))
    far.wait_for(frame(station(1), station(2), [customer(42)]))
    far.send(frame(station(2), station(1), [customer(42)]))
    near.wait_for(frame(station(2), station(1)))


def test_two_tags_pass_and_the_kernel_sees_both(room):
    cable = Cable(room)
    near, far = room.keeps(KernelPeer(cable.near, "tap0")), room.keeps(KernelPeer(cable.far, "eth0"))
    content = frame(station(1), station(2), [service(100), customer(7)])
    near.send(content)
    far.wait_for(content)


def test_the_taps_name_is_the_ports_unless_the_option_says_otherwise(room):
    namespace = room.keeps(Namespace("near"))
    daemon = room.daemon(namespace=namespace)
    daemon.add_bridge()
    daemon.add_port("plain", "tap")
    daemon.add_port("named", "tap", ifname="other0")
    assert namespace.has("plain") and namespace.has("other0") and not namespace.has("named")
    daemon.ctl("port", "del", "named")
    eventually(lambda: not namespace.has("other0"), 5, "the tap device being gone")
    daemon.stop()
    eventually(lambda: not namespace.has("plain"), 5, "the tap device being gone with the daemon")
