"""Ethernet frames for tests. scapy is the oracle of the format: nothing here writes a header by hand."""

import mmap
import struct

from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

BROADCAST = "ff:ff:ff:ff:ff:ff"
# A local experimental EtherType (IEEE Std 802, clause 9.2.3), so that no stack takes the frames for its own.
EXPERIMENT = 0x88B5


def station(number):
    """The address of a station of the test's own."""
    return "02:00:00:%02x:%02x:%02x" % (number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF)


def customer(vid, priority=0):
    """An 802.1Q tag, TPID 0x8100."""
    return Dot1Q(vlan=vid, prio=priority)


def service(vid):
    """An 802.1ad service tag, TPID 0x88a8."""
    return Dot1AD(vlan=vid)


def frame(source, destination=BROADCAST, tags=(), length=64, fill=0xA5):
    """A frame of `length` bytes, its tags not counted in; the payload begins with the source's last bytes."""
    packet = Ether(src=source, dst=destination, type=EXPERIMENT)
    if tags:
        packet = Ether(src=source, dst=destination)
        for tag in tags:
            packet = packet / tag.copy()
        packet.lastlayer().type = EXPERIMENT
    payload = bytes.fromhex(source.replace(":", "")) + bytes([fill]) * (length - 14 - 6)
    return bytes(packet / Raw(payload))


PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
RECORD = struct.Struct("<IIII")


def write_pcap(path, frames):
    """Writes a capture file (pcap, the classic format)."""
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(PCAP_HEADER)
        for content in frames:
            file.write(RECORD.pack(0, 0, len(content), len(content)))
            file.write(content)


def read_pcap(path):
    """Yields the frames of a capture file as memoryviews. Either byte order of the header's own, microseconds or
    nanoseconds: only lengths are read."""
    with open(path, "rb") as file:
        octets = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    magic, = struct.unpack_from("<I", octets)
    assert magic in (0xA1B2C3D4, 0xA1B23C4D), f"{path}: magic {magic:#x}"
    place = len(PCAP_HEADER)
    while place < len(octets):
        _, _, kept, length = RECORD.unpack_from(octets, place)
        assert kept == length, "the capture cut a frame"
        place += RECORD.size
        yield octets[place:place + kept]
        place += kept
