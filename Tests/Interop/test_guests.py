"""Real virtual machines on vhost-user ports: they find each other, and what they send arrives as it was sent."""

import hashlib

import pytest

from guest import Guest
from martlet import IDLE
from processes import eventually
from room import Room

# Bits of virtio-net (VIRTIO 1.1, section 5.1.3) and what each needs (section 5.1.3.1).
CSUM, GUEST_CSUM = 0, 1
NEEDS = {7: GUEST_CSUM, 8: GUEST_CSUM, 10: GUEST_CSUM, 11: CSUM, 12: CSUM, 14: CSUM}

MEGABYTE = 1 << 20


class Hall:
    """Two guests with all offloads that they are given, and one, with packed rings, that takes none."""

    def __init__(self, room):
        self.daemon = room.daemon(options=IDLE)
        self.daemon.add_bridge()
        kinds = {"vm1": {}, "vm2": {}, "vm3": {"packed": True, "offloads": False}}
        self.guests = {}
        for number, (name, kind) in enumerate(kinds.items(), start=1):
            self.daemon.add_vhost_user(name, room.socket(name), "client", 10)
            self.guests[name] = room.keeps(Guest(room.directory, name, number, room.socket(name), **kind))
        for guest in self.guests.values():
            guest.wait_until_up()


@pytest.fixture(scope="module")
def hall():
    with Room.opened() as room:
        yield Hall(room)


def features(guest):
    """The negotiated feature bits, as the guest's kernel lists them."""
    text = guest.shell("cat /sys/class/net/eth0/device/features").strip()
    return {place for place, digit in enumerate(text) if digit == "1"}


def counter(guest, protocol, name):
    """A counter of /proc/net/snmp."""
    titles, values = [line.split() for line in guest.shell(f"grep ^{protocol}: /proc/net/snmp").splitlines()]
    return int(values[titles.index(name)])


def checksum_errors(guest):
    return {protocol: counter(guest, protocol, "InCsumErrors") for protocol in ("Tcp", "Udp", "Icmp")}


BLOCK = b"".join(b"%d\n" % number for number in range(1, 200_000))[:MEGABYTE]


def content_digest(megabytes):
    digest = hashlib.md5()
    for number in range(megabytes):
        digest.update(b"%d\n" % number + BLOCK)
    return digest.hexdigest()


def transfer(sender, receiver, megabytes):
    """Sends that many blocks, each with its number in front, over TCP; returns the receiver's digest of them."""
    receiver.shell("rm -f /tmp/sum; carry take 5000 | md5sum > /tmp/sum &")
    eventually(lambda: ":5000 " in receiver.shell("netstat -ltn"), 20, "a listening receiver")
    sender.shell(f"seq 1 200000 | head -c {MEGABYTE} > /tmp/block; i=0;"
                 f"while [ $i -lt {megabytes} ]; do echo $i; cat /tmp/block; i=$((i+1)); done"
                 f"| carry give {receiver.address} 5000", limit=170)
    return eventually(lambda: receiver.shell("cat /tmp/sum"), 60, "the receiver's digest").split()[0]


def test_guests_in_one_vlan_ping_each_other(hall):
    for sender in hall.guests.values():
        for receiver in hall.guests.values():
            assert sender is receiver or sender.reaches(receiver), f"{sender.name} does not reach {receiver.name}"


def test_guests_in_different_vlans_do_not_reach_each_other(hall):
    first, second, third = hall.guests.values()
    hall.daemon.ctl("port", "set", "vm2", "--tag", 20)
    try:
        assert not first.reaches(second, count=3, seconds=1)
        assert not second.reaches(first, count=3, seconds=1)
        assert first.reaches(third)
    finally:
        hall.daemon.ctl("port", "set", "vm2", "--tag", 10)
    assert first.reaches(second)


def test_a_hundred_megabytes_over_tcp_arrive_unaltered(hall):
    assert transfer(hall.guests["vm1"], hall.guests["vm2"], 100) == content_digest(100)
    assert counter(hall.guests["vm2"], "Ip", "InReceives") > 100 * MEGABYTE / 65536


@pytest.mark.parametrize("sender, receiver", [("vm1", "vm3"), ("vm3", "vm1")])
def test_a_guest_without_checksum_offload_gets_and_gives_right_checksums(hall, sender, receiver):
    assert transfer(hall.guests[sender], hall.guests[receiver], 8) == content_digest(8)


def test_no_guest_has_seen_a_wrong_checksum(hall):
    for guest in hall.guests.values():
        assert guest.reaches(hall.guests["vm1" if guest.name != "vm1" else "vm2"])
        assert checksum_errors(guest) == {"Tcp": 0, "Udp": 0, "Icmp": 0}, guest.name


@pytest.mark.parametrize("name", ["vm1", "vm2", "vm3"])
def test_negotiated_offloads_fit_together(hall, name):
    negotiated = features(hall.guests[name])
    assert 32 in negotiated, "VERSION_1 is missing: these are not the feature bits"
    for feature, needed in NEEDS.items():
        assert feature not in negotiated or needed in negotiated, f"feature {feature} without {needed}"


@pytest.mark.parametrize("name, ring", [("vm1", False), ("vm3", True)])
def test_the_port_shows_what_the_guest_negotiated(hall, name, ring):
    shown = {detail["name"]: detail["value"] for detail in hall.daemon.json("port", "show", name)["details"]}
    assert int(shown["features_hex"], 16) & (1 << 34) == (ring << 34)
    assert ("RING_PACKED" in shown["features"].split()) == ring
    megabytes = [int(value.split()[1]) for key, value in shown.items() if key.startswith("memory_region_")]
    assert 126 <= sum(megabytes) <= 128, "the guest's 128 MB have holes of less than one in all"


def test_the_guests_frames_were_dropped_for_no_reason_but_the_vlan(hall):
    for name in hall.guests:
        assert set(hall.daemon.drops(name)) <= {"no_other_port", "transmit_down"}, name
