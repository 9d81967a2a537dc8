"""Captures for the rigs: IPv4/UDP frames of a given size towards a given number of MAC addresses.

Sizes are those of RFC 2544, with the frame check sequence: a frame of 64 B is 60 bytes in the capture.
"""
import itertools
import random
import struct

import pipelines

SIZES = ["64", "128", "256", "512", "1024", "1518", "imix"]
IMIX = [64] * 7 + [570] * 4 + [1518]
FCS_LENGTH = 4
# The shortest capture. One packet, replayed, would stay in the first-level cache and make the limit twice what a wire
# can give; with a thousand, 1 MAC and 1,000 MACs differ in nothing but the MACs.
LEAST_PACKETS = 1000
_PCAP_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


def mac_text(mac):
    return ":".join(f"{byte:02x}" for byte in mac)


def macs(count, role, seed=1):
    """`count` distinct, locally administered unicast addresses in no order; `role` (a byte) keeps two sets disjoint."""
    tails = random.Random(seed * 256 + role).sample(range(1 << 24), count)
    return [bytes([0x02, 0x4D, role]) + tail.to_bytes(3, "big") for tail in tails]


def frame(destination, source, flow, size):
    """One UDP frame. `flow` numbers the five-tuple. Every MAC has its own: Open vSwitch's exact-match cache is keyed by
    a hash of it, and with one five-tuple for all MACs its entries would evict each other."""
    return udp(destination, source, (0x0A800001 + flow, 0x0A000001 + flow), (1024 + flow % 60000, 9), size)


def udp(destination, source, addresses, ports, size):
    """One UDP frame, whose addresses and ports are given as numbers."""
    length = size - FCS_LENGTH - 14 - 20
    header = struct.pack("!HHHH", *ports, length, 0)  # 0: no UDP checksum (RFC 768)
    return destination + source + b"\x08\x00" + ipv4(17, addresses, header + bytes(length - 8))


def acknowledgment(destination, source, addresses, ports, size):
    """One TCP segment that acknowledges and has no data: wherever its connection is, it is one more of it."""
    header = struct.pack("!HHIIBBHHH", *ports, 1, 1, 5 << 4, 0x10, 0xFFFF, 0, 0)
    pseudo = struct.pack("!IIHH", *addresses, 6, len(header))
    header = header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]
    return (destination + source + b"\x08\x00" + ipv4(6, addresses, header)).ljust(size - FCS_LENGTH, b"\0")


def ipv4(protocol, addresses, payload):
    """An IPv4 packet from the first of two addresses, given as numbers, to the second."""
    header = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, *addresses)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def sizes_of(size):
    return IMIX if size == "imix" else [int(size)]


def write(path, size, destinations, sources, flow_count, seed=1, wrap=None):
    """Writes a capture that sends every flow in turn and returns its number of packets. Flow i goes to destination
    i mod count(destinations), from the source likewise; with IMIX the twelve sizes are shuffled once and then repeat.
    `wrap` makes the packet of a frame and its destination's number."""
    sizes = list(sizes_of(size))
    random.Random(seed).shuffle(sizes)
    count = -(-max(LEAST_PACKETS, flow_count) // len(sizes)) * len(sizes)
    packets = []
    for i in range(count):
        flow = i % flow_count
        pair = flow % len(destinations)
        packet = frame(destinations[pair], sources[pair % len(sources)], flow, sizes[i % len(sizes)])
        packets.append(wrap(packet, pair) if wrap else packet)
    return write_packets(path, packets)


def write_packets(path, packets):
    with open(path, "wb") as capture:
        capture.write(_PCAP_FILE_HEADER)
        for number, packet in enumerate(packets):
            capture.write(struct.pack("<IIII", 0, number, len(packet), len(packet)) + packet)
    return len(packets)


def read(path):
    """The packets of a capture that this machine wrote."""
    octets, packets, start = path.read_bytes(), [], len(_PCAP_FILE_HEADER)
    while start < len(octets):
        length, = struct.unpack_from("<I", octets, start + 8)
        packets.append(octets[start + 16:start + 16 + length])
        start += 16 + length
    return packets


def write_attacked(path, destination, source, flow_count, share, packet_count, seed=1):
    """Writes a capture of 64 B in which `share` of the packets, at random, are an attack on `pipelines.ACL`. The others
    send `flow_count` five-tuples in turn; the attack has `explosion` in turn."""
    chance, attack = random.Random(seed), explosion(seed)
    victims = [frame(destination, source, flow, 64) for flow in range(flow_count)]
    attackers = [udp(destination, source, (nw_src, 0x0A000001), ports, 64) for nw_src, *ports in attack]
    counts = {False: 0, True: 0}
    with open(path, "wb") as capture:
        capture.write(_PCAP_FILE_HEADER)
        for i in range(packet_count):
            is_attack = chance.random() < share
            frames = attackers if is_attack else victims
            packet = frames[counts[is_attack] % len(frames)]
            counts[is_attack] += 1
            capture.write(struct.pack("<IIII", 0, i, len(packet), len(packet)) + packet)
    return packet_count


def explosion(seed=1):
    """(nw_src, tp_src, tp_dst) that differ from `pipelines.ACL` first in each combination of their bits, the rest at
    random: a classifier that asks for no more bits than it needs makes a mask of each (32 * 16 * 16 of them)."""
    chance = random.Random(seed)
    differing = lambda value, width, bit: (value ^ 1 << width - 1 - bit) ^ chance.getrandbits(width - 1 - bit)
    widths = [(pipelines.ACL[field], width) for field, width in (("nw_src", 32), ("tp_src", 16), ("tp_dst", 16))]
    headers = [tuple(differing(value, width, bit) for (value, width), bit in zip(widths, bits))
               for bits in itertools.product(*(range(width) for _, width in widths))]
    chance.shuffle(headers)
    return headers


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
