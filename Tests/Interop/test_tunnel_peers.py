"""Tunnels whose other end is Open vSwitch's userspace datapath, with a host behind each of the two switches."""

from contextlib import contextmanager

import pytest

from netns import carries_tcp, pings
from ovs import UserspaceSwitch
from processes import eventually
from room import Room
from underlay import HERE, THERE, Underlay

WIRE_MTU = 1500
# Of the number of a network, and bytes between the IP header and the frame within.
KINDS = {"vxlan": (24, 16), "gre": (32, 8), "geneve": (24, 16)}
ENDS = {"ipv4": {}, "ipv6": {"here": "2001:db8::1", "there": "2001:db8::2", "length": 64}}


class Sites(Underlay):
    """At the far end Open vSwitch with the same bridges, and its host on br-tun's own device."""

    def far_device(self):
        # Linux sees what is for the switch as well, and is not to answer.
        self.far.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore")
        self.switch = self.room.keeps(UserspaceSwitch(self.room.directory / "ovs", self.far))
        self.switch.add_bridge("br-phys", "other_config:hwaddr=02:00:00:00:0e:02")
        self.switch.add_bridge("br-tun")
        self.switch.add_port("br-phys", "eth0")
        self.far.bring_up("br-phys")
        self.far.bring_up("br-tun", f"{THERE}/24")
        return "br-phys"

    @contextmanager
    def joined(self, kind, here, there=None):
        """A tunnel `t0` of each switch, port 1 in Open vSwitch, with the options `here` and `there`."""
        self.tunnel("t0", kind, **here)
        given = {"remote_ip": self.here, **(there or here)}
        self.switch.add_port("br-tun", "t0", f"type={kind}", "ofport_request=1",
                             *(f'options:{name}="{value}"' for name, value in given.items()))
        self.switch.forget_cached()
        try:
            yield
        finally:
            self.switch.vsctl("del-port", "t0")
            self.switch.replace_flows("br-tun", "actions=NORMAL")
            self.daemon.ctl("flow", "replace", "br-tun", "--file", "-", input="actions=NORMAL")
            self.daemon.ctl("port", "del", "t0")

    def replace_flows(self, here, there):
        self.daemon.ctl("flow", "replace", "br-tun", "--file", "-", input="\n".join(here))
        self.switch.replace_flows("br-tun", *there)

    def assert_joined(self, length):
        """Pings and connections both ways, of packets that fill the wire's; `length` is that of headers in front."""
        mtu = WIRE_MTU - length
        self.near.ip("link", "set", "dev", "tap0", "mtu", mtu)
        self.switch.vsctl("set", "interface", "br-tun", f"mtu_request={mtu}")
        self.resolve()
        # Open vSwitch takes other settings in a little later than it says.
        eventually(lambda: pings(self.far, HERE, count=1), 20, "a ping back through the tunnel")
        dropped = self.daemon.drops("wire")
        ends = ((self.near, self.far, THERE), (self.far, self.near, HERE))
        for size in (18, mtu - 28):
            # Which answers are lost is seen by the drops; that one is late, where the machine stood still.
            eventually(lambda: all(pings(one, address, size=size) for one, _, address in ends), 20, f"{size} bytes")
        for one, other, address in ends:
            assert carries_tcp(one, other, address)
        assert self.daemon.drops("wire") == dropped


@pytest.fixture(scope="module", params=ENDS)
def sites(request):
    with Room.opened() as room:
        yield Sites(room, **ENDS[request.param])


def length_of(sites, kind, csum=False):
    """Of all that a tunnel puts between the wire's Ethernet header and the packet within."""
    return (40 if ":" in sites.here else 20) + KINDS[kind][1] + (4 if csum and kind == "gre" else 0) + 14


def greatest_key(kind):
    return (1 << KINDS[kind][0]) - 2


@pytest.mark.parametrize("csum", [False, True], ids=["plain", "csum"])
@pytest.mark.parametrize("kind", KINDS)
def test_hosts_reach_each_other_through_a_tunnel(sites, kind, csum):
    with sites.joined(kind, {"key": greatest_key(kind), "csum": str(csum).lower()}):
        sites.assert_joined(length_of(sites, kind, csum))


@pytest.mark.parametrize("kind", KINDS)
def test_flows_on_both_sides_give_remote_and_key(sites, kind):
    out, back = greatest_key(kind), greatest_key(kind) - 0x123456
    field = "tun_ipv6" if ":" in sites.here else "tun"
    with sites.joined(kind, {"key": "flow", "remote_ip": "flow"}):
        sites.replace_flows(
            [f"in_port=tap0 actions=set_field:{out:#x}->tun_id,set_field:{sites.there}->{field}_dst,output:t0",
             f"in_port=t0,tun_id={back:#x},{field}_src={sites.there},{field}_dst={sites.here} actions=output:tap0"],
            [f"in_port=LOCAL actions=set_field:{back:#x}->tun_id,set_field:{sites.here}->{field}_dst,output:1",
             f"in_port=1,tun_id={out:#x},{field}_src={sites.here},{field}_dst={sites.there} actions=LOCAL"])
        sites.assert_joined(length_of(sites, kind))


def test_a_network_of_another_number_stays_apart(sites):
    with sites.joined("geneve", {"key": 1}, {"key": 2}):
        before = sites.daemon.drops("wire").get("tunnel_unknown", 0)
        assert not pings(sites.near, THERE, count=1, patience=1) and not pings(sites.far, HERE, count=1, patience=1)
        assert sites.daemon.drops("wire")["tunnel_unknown"] > before


def test_options_that_the_other_end_adds_are_passed_over(sites):
    sites.switch.map_option("br-tun", "{class=0x102,type=0x42,len=4}->tun_metadata0")
    with sites.joined("geneve", {"key": 9}):
        sites.switch.replace_flows("br-tun", "in_port=LOCAL actions=set_field:0x12345678->tun_metadata0,output:1",
                                   "in_port=1 actions=LOCAL")
        sites.assert_joined(length_of(sites, "geneve") + 8)
