"""Tunnels whose other end is a virtual machine: VXLAN, GRE and Geneve of Linux, on a wire with and without a VLAN tag."""

import pytest

from frames import station
from guest import IPROUTE, Guest
from netns import pings
from processes import eventually
from room import Room
from underlay import HERE, KEY, THERE, NearEnd

VLAN = 7
# Addresses of the two ends.
UNTAGGED, TAGGED = ("192.0.2.1", "192.0.2.2"), ("198.51.100.1", "198.51.100.2")
LONGEST = 1450 - 28


class Hypervisors(NearEnd):
    """The guest's interface is a wire for DPDK's vhost driver: nothing of a vhost-user port reaches an endpoint."""

    def __init__(self, room):
        super().__init__(room, *UNTAGGED)
        self.daemon.add_port("vtep7", "endpoint", "--tag", VLAN, bridge="br-phys", address=f"{TAGGED[0]}/24")
        self.guest = room.keeps(Guest(room.directory, "remote", 2, room.socket("wire"), "server", offloads=False,
                                      tunnels=True)).wait_until_up()
        self.guest_ip(f"addr add {UNTAGGED[1]}/24 dev eth0", f"link add link eth0 name tagged type vlan id {VLAN}",
                      f"addr add {TAGGED[1]}/24 dev tagged", "link set tagged up")

    def lay_wire(self):
        return f"net_vhost0,iface={self.room.socket('wire')}"

    def guest_ip(self, *lines):
        for line in lines:
            self.guest.shell(f"{IPROUTE} {line}")

    def guest_pings(self, size):
        return "5 packets received" in self.guest.shell(f"ping -c 5 -s {size} -i 0.01 -W 2 {HERE}", check=False)


@pytest.fixture(scope="module")
def hypervisors():
    with Room.opened() as room:
        yield Hypervisors(room)


@pytest.mark.parametrize("kind, csum, words", [
    ("vxlan", False, "vxlan id {key} local {there} dstport 4789"),
    ("vxlan", True, "vxlan id {key} local {there} dstport 4789 udpcsum"),
    ("gre", False, "gretap key {key} local {there}"),
    ("gre", True, "gretap key {key} local {there} csum"),
    ("geneve", False, "geneve id {key}"),
    ("geneve", True, "geneve id {key} udpcsum"),
])
@pytest.mark.parametrize("here, there", [UNTAGGED, TAGGED], ids=["untagged", "tagged"])
def test_a_guest_is_the_other_end(hypervisors, here, there, kind, csum, words):
    hypervisors.tunnel("t0", kind, remote_ip=there, local_ip=here, csum=str(csum).lower())
    # One station whatever the tunnel: what the near end knows of it stays right.
    hypervisors.guest_ip(f"link add t0 address {station(2)} type {words.format(key=KEY, there=there)} remote {here}",
                         f"addr add {THERE}/24 dev t0", "link set t0 mtu 1450 up")
    try:
        hypervisors.resolve()
        # The guest's ring was full before its kernel was up.
        dropped = hypervisors.daemon.drops("wire")
        for size in (18, LONGEST):
            # Which answers are lost is seen by the drops; that one is late, where the machine stood still.
            eventually(lambda: pings(hypervisors.near, THERE, size=size) and hypervisors.guest_pings(size), 20,
                       f"{size} bytes")
        assert hypervisors.daemon.counters("t0")["rx_packets"] >= 20
        assert hypervisors.daemon.drops("wire") == dropped
    finally:
        hypervisors.guest_ip("link del t0")
        hypervisors.daemon.ctl("port", "del", "t0")
