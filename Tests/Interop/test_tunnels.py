"""Tunnels whose other end is Linux: its own VXLAN, across a veth that an AF_PACKET port holds."""

import pytest

from frames import station
from netns import KernelPeer, carries_tcp, pings
from processes import eventually
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, IPv6)
from scapy.layers.l2 import ARP, Dot1Q, Ether, GRE
from scapy.layers.vxlan import VXLAN
from underlay import HERE, KEY, MAC, THERE, Underlay
from vhost_user import FrontEnd

ENDS6 = {"here": "2001:db8::1", "there": "2001:db8::2", "length": 64}


@pytest.mark.parametrize("ends", [{}, ENDS6], ids=["ipv4", "ipv6"])
def test_linux_answers_through_vxlan_both_ways(room, ends):
    underlay = Underlay(room, **ends)
    underlay.tunnel()
    underlay.linux_vxlan()
    underlay.daemon.wait_for_link("tap0", "vx0")
    assert pings(underlay.near, THERE), "the first packet waits for the neighbor"
    assert pings(underlay.far, HERE)
    neighbors = underlay.daemon.json("neighbor", "list")["neighbors"]
    assert [(entry["port"], entry["address"]) for entry in neighbors] == [("vtep", underlay.there)]
    assert neighbors[0]["mac"] in underlay.far.ip("link", "show", "dev", underlay.device).stdout
    counters = underlay.daemon.counters("vx0")
    assert counters["rx_packets"] >= 10 and counters["tx_packets"] >= 10
    cached = underlay.daemon.ctl("flow", "cached", "--bridge", "br-tun").stdout
    assert "encapsulate(vxlan," in cached and f"tun_id=0x{KEY:x}" in cached


@pytest.mark.parametrize("ends", [{}, ENDS6], ids=["ipv4", "ipv6"])
def test_connections_through_vxlan_carry_their_octets_unaltered(room, long_run, ends):
    underlay = Underlay(room, **ends)
    underlay.tunnel()
    underlay.linux_vxlan()
    if ":" in underlay.here:
        underlay.near.ip("link", "set", "dev", "tap0", "mtu", 1430)
    underlay.resolve()
    megabytes = 100 if long_run else 10
    assert carries_tcp(underlay.near, underlay.far, THERE, megabytes)
    assert carries_tcp(underlay.far, underlay.near, HERE, megabytes)


def test_the_longest_packet_passes_and_a_longer_one_is_counted(room):
    underlay = Underlay(room)
    underlay.tunnel()
    underlay.linux_vxlan()
    underlay.resolve()
    near, far = room.keeps(KernelPeer(underlay.near, "tap0")), room.keeps(KernelPeer(underlay.far, "vx"))
    for sender, receiver in ((near, far), (far, near)):
        longest = inner(length=1450 + 14)
        sender.send(longest)
        receiver.wait_for(longest)
    underlay.near.ip("link", "set", "dev", "tap0", "mtu", 1500)
    near.send(inner(length=1451 + 14))
    eventually(lambda: underlay.daemon.drops("wire") == {"transmit_too_long": 1}, 10, "a named drop")


@pytest.mark.parametrize("here, there", [(HERE, THERE), ("fd88::1", "fd88::2")], ids=["ipv4", "ipv6"])
def test_linux_learns_what_fits_a_tunnel(room, here, there):
    underlay = Underlay(room)
    underlay.tunnel()
    underlay.linux_vxlan()
    if ":" in there:
        for namespace, device, address in ((underlay.near, "tap0", here), (underlay.far, "vx", there)):
            namespace.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{device}/disable_ipv6")
            namespace.ip("addr", "add", f"{address}/64", "dev", device, "nodad")
    underlay.near.ip("link", "set", "dev", "tap0", "mtu", 1500)
    eventually(lambda: pings(underlay.near, there, count=1), 20, "a ping through the tunnel")
    headers = 48 if ":" in there else 28

    def fits(length):
        words = ("-c", 1, "-W", 1, "-s", length - headers, there)
        return underlay.near.run("busybox", "ping", *words, check=False).returncode == 0

    def learned():
        return "mtu 1450" in underlay.near.ip("route", "get", there).stdout
    assert fits(1450) and not learned()
    assert not fits(1451), "Linux forbids fragments until it knows better"
    eventually(learned, 10, "the MTU of the path")
    assert underlay.daemon.drops("wire") == {"transmit_too_long": 1}
    eventually(lambda: fits(1451), 20, "an answer to a ping in fragments")


@pytest.mark.parametrize("tags", [[], [Dot1Q(vlan=7, prio=3)]], ids=["untagged", "tagged"])
@pytest.mark.parametrize("packet", [
    IP(src=HERE, dst=THERE, flags="DF") / UDP(sport=4321, dport=9),
    IP(src=HERE, dst=THERE, flags="") / UDP(sport=4321, dport=9),
    IPv6(src="fd88::1", dst="fd88::2") / UDP(sport=4321, dport=9),
], ids=["ipv4", "ipv4-without-df", "ipv6"])
def test_scapy_reads_what_is_told(room, packet, tags):
    raw = Raw(room)
    raw.underlay.tunnel()
    raw.underlay.near.ip("link", "set", "dev", "tap0", "mtu", 1500)
    sent_to(raw)
    mtu = 1450 - 4 * len(tags)
    packet = packet / (b"x" * (mtu + 1 - len(packet)))
    frame = Ether(src=station(0xA), dst=station(0xC))
    for tag in tags:
        frame = frame / tag
    told = raw.tells(frame / packet)
    assert (told.src, told.dst) == (station(0xC), station(0xA))
    assert [(tag.vlan, tag.prio) for tag in told.iterpayloads() if isinstance(tag, Dot1Q)] \
        == [(tag.vlan, tag.prio) for tag in tags]
    network = told[IPv6] if IPv6 in packet else told[IP]
    assert (network.src, network.dst) == (packet.dst, packet.src)
    message = network.payload
    if IPv6 in packet:
        assert isinstance(message, ICMPv6PacketTooBig) and message.mtu == mtu
        assert len(bytes(network)) == 1280
        quoted = bytes(network)[48:]
    else:
        assert (message.type, message.code, message.nexthopmtu) == (3, 4, mtu)
        assert len(bytes(network)) == 576 and network.chksum
        quoted = bytes(network)[28:]
    assert quoted == bytes(packet)[:len(quoted)]
    rebuilt = type(network)(bytes(network))
    for layer, field in ((type(network), "chksum"), (type(message), "cksum" if IPv6 in packet else "chksum")):
        if field in rebuilt[layer].fields:
            rebuilt[layer].delfieldval(field)
    assert bytes(rebuilt) == bytes(network), "checksums and lengths"


def test_congestion_comes_out_of_tunnels(room):
    """Marks of the packet around are those of the frame; one that asks for no marks is dropped by name."""
    raw = Raw(room)
    raw.underlay.tunnel()

    def carried(inner_tos, outer_tos):
        packet = raw.vxlan(bytes(Ether(src=station(0xB), dst="ff:ff:ff:ff:ff:ff")
                                 / IP(src=THERE, dst=HERE, tos=inner_tos) / UDP(sport=1, dport=9) / (b"x" * 30)))
        packet[IP].tos = outer_tos
        return packet
    for inner_tos, outer_tos, becomes in ((2, 3, 3), (1, 3, 3), (2, 1, 1), (0x28, 2, 0x28), (0xb9, 3, 0xbb)):
        raw.arrives(carried(inner_tos, outer_tos), bytes(carried(becomes, 0)[VXLAN].payload))
    raw.dropped(carried(0, 3), "tunnel_congestion", "vx0")


def test_a_network_of_another_number_is_not_reached(room):
    underlay = Underlay(room)
    underlay.tunnel()
    underlay.linux_vxlan(key=KEY + 1)
    assert not pings(underlay.near, THERE, count=2, patience=1)
    assert underlay.daemon.drops("wire").get("tunnel_unknown", 0) == 0, "Linux does not answer either"
    underlay.far.ip("link", "set", "dev", "vx", "down")
    underlay.tunnel("vx1", key=KEY + 1)
    underlay.far.ip("link", "set", "dev", "vx", "up")
    underlay.resolve()


def inner(length=60, number=1):
    packet = Ether(src=station(0xB), dst="ff:ff:ff:ff:ff:ff") / IP(src=THERE, dst=HERE) / UDP(sport=number, dport=9)
    return bytes(packet / (b"x" * (length - len(packet))))


class Raw:
    """Frames by hand between the wire's far end and the tap, the tunnel's remote being Linux's address."""

    def __init__(self, room, **ends):
        self.underlay = Underlay(room, **ends)
        self.daemon = self.underlay.daemon
        self.wire = self.underlay.peer()
        self.tap = room.keeps(KernelPeer(self.underlay.near, "tap0"))
        self.mac = self.underlay.far.ip("link", "show", "dev", "eth0").stdout.split("link/ether ")[1].split()[0]

    def outer(self, **fields):
        return (Ether(src=self.mac, dst=MAC) / IP(src=self.underlay.there, dst=self.underlay.here, ttl=9, **fields))

    def vxlan(self, payload, udp=(), **fields):
        return self.outer() / UDP(sport=50000, dport=4789, **{"chksum": 0, **dict(udp)}) \
            / VXLAN(**{"vni": KEY, "flags": 8, **fields}) / payload

    def arrives(self, packet, payload):
        self.wire.send(bytes(packet))
        self.tap.wait_for(payload)

    def tells(self, packet):
        """Sends a packet that is too long from the tap; returns what the tap is told."""
        self.tap.received()
        self.tap.send(bytes(packet))
        frames = []

        def told():
            frames.extend(Ether(content) for content in self.tap.received())
            frames[:] = [frame for frame in frames if ICMP in frame or ICMPv6PacketTooBig in frame]
            return frames
        eventually(told, 10, "a message about a packet that is too long")
        return frames[0]

    def dropped(self, packet, reason, port="wire"):
        """Sends a packet that must be dropped under a name, and one that must arrive behind it."""
        before = self.daemon.drops(port).get(reason, 0)
        self.wire.send(bytes(packet))
        eventually(lambda: self.daemon.drops(port).get(reason, 0) == before + 1, 10, f"{reason} on {port}")


def sent_to(raw):
    """The first frame of a tunnel that the far end of the wire sees for one that the tap sends."""
    frames = []
    payload = inner(length=90)

    def carried():
        raw.tap.send(payload)
        frames.extend(frame for frame in raw.wire.received() if payload in frame)
        return frames
    eventually(carried, 20, "a frame in a tunnel")
    return frames[0], payload


def test_frames_without_a_tunnels_shape_are_dropped_by_name(room):
    raw = Raw(room)
    raw.underlay.tunnel()
    payload = inner()
    raw.arrives(raw.vxlan(payload), payload)
    raw.dropped(raw.vxlan(payload, flags=0), "tunnel_header")
    raw.dropped(raw.vxlan(payload, vni=KEY + 1), "tunnel_unknown")
    raw.dropped(raw.vxlan(payload, udp={"chksum": 0x1234}), "tunnel_checksum")
    raw.dropped(raw.vxlan(payload[:10]), "runt")
    raw.dropped(Ether(src=raw.mac, dst=MAC) / IP(src=raw.underlay.here, dst=raw.underlay.here, proto=17)
                / bytes(raw.vxlan(payload))[34:], "tunnel_loop")
    good = raw.vxlan(payload, udp={"chksum": None})
    raw.arrives(good, payload)
    whole = bytes(raw.vxlan(payload))
    for length in range(14, len(whole)):
        raw.wire.send(whole[:length])
    raw.arrives(raw.vxlan(inner(number=2)), inner(number=2))
    raw.daemon.assert_alive()


def test_fragments_are_dropped_by_name(room):
    raw = Raw(room)
    raw.underlay.tunnel()
    # DPDK's af_packet has the kernel put fragments together, a tap does not.
    raw.daemon.add_port("up", "tap", bridge="br-phys")
    raw.underlay.near.bring_up("up")
    raw.wire = room.keeps(KernelPeer(raw.underlay.near, "up"))
    rest = bytes(raw.vxlan(inner()))[34:]
    raw.dropped(raw.outer(flags="MF", proto=17) / rest, "tunnel_fragment", "up")
    raw.dropped(raw.outer(frag=9, proto=17) / rest, "tunnel_fragment", "up")
    raw.arrives(raw.vxlan(inner(number=2)), inner(number=2))


@pytest.mark.parametrize("kind, options", [
    ("vxlan", {}), ("vxlan", {"csum": "true"}), ("geneve", {}), ("gre", {}), ("gre", {"csum": "true"}),
    ("vxlan", {"df": "false", "ttl": 7, "tos": 0x20}),
])
def test_scapy_reads_what_is_sent(room, kind, options):
    raw = Raw(room)
    raw.underlay.tunnel("t0", kind, **options)
    content, payload = sent_to(raw)
    packet = Ether(content)
    assert (packet.src, packet.dst) == (MAC, raw.mac)
    assert (packet[IP].src, packet[IP].dst) == ("192.0.2.1", "192.0.2.2")
    assert packet[IP].flags == ("" if options.get("df") == "false" else "DF")
    assert packet[IP].ttl == options.get("ttl", 64) and packet[IP].tos == options.get("tos", 0)
    assert packet[IP].len == len(content) - 14
    rebuilt = packet.copy()
    del rebuilt[IP].chksum
    assert bytes(rebuilt)[:34] == content[:34], "the IP checksum"
    if kind == "gre":
        header = packet[GRE]
        assert (header.proto, header.key) == (0x6558, KEY)
        assert header.chksum_present == (1 if options.get("csum") else 0)
        if options.get("csum"):
            again = header.copy()
            again.chksum = None
            assert bytes(again) == bytes(header)
    else:
        assert 0xc000 <= packet[UDP].sport and packet[UDP].dport == (4789 if kind == "vxlan" else 6081)
        assert packet[UDP].len == packet[IP].len - 20
        if options.get("csum"):
            del rebuilt[UDP].chksum
            assert Ether(bytes(rebuilt))[UDP].chksum == packet[UDP].chksum != 0
        else:
            assert packet[UDP].chksum == 0
        assert int.from_bytes(content[46:49], "big") == KEY


def test_frames_of_gre_and_geneve_arrive(room):
    raw = Raw(room)
    raw.underlay.tunnel("g0", "gre")
    raw.underlay.tunnel("n0", "geneve")
    first, second = inner(number=3), inner(number=4)
    raw.arrives(raw.outer() / GRE(key_present=1, key=KEY, proto=0x6558) / first, first)
    raw.dropped(raw.outer() / GRE(key_present=1, key=KEY, seqnum_present=1, proto=0x6558) / first, "tunnel_header")
    raw.dropped(raw.outer() / GRE(proto=0x6558) / first, "tunnel_unknown")
    raw.dropped(raw.outer() / GRE(key_present=1, key=KEY, routing_present=1, proto=0x6558) / first, "tunnel_header")
    raw.dropped(raw.outer() / GRE(key_present=1, key=KEY, version=1, proto=0x6558) / first, "tunnel_header")
    raw.dropped(raw.outer() / GRE(key_present=1, key=KEY, proto=0x0800) / first, "tunnel_header")
    raw.dropped(raw.outer() / GRE(key_present=1, key=KEY, chksum_present=1, chksum=1, proto=0x6558) / first,
                "tunnel_checksum")

    def geneve(options=b"", length=None):
        words = len(options) // 4 if length is None else length
        header = bytes([words, 0]) + b"\x65\x58" + KEY.to_bytes(3, "big") + b"\0" + options
        return raw.outer() / UDP(sport=50000, dport=6081, chksum=0) / (header + second)
    raw.arrives(geneve(), second)
    raw.arrives(geneve(b"\x01\x02\x03\x01abcd"), second)
    raw.dropped(geneve(b"\x01\x02\x83\x01abcd"), "tunnel_option")
    raw.dropped(geneve(length=63), "tunnel_header")
    raw.dropped(geneve(b"\x01\x02\x03\x1f", length=1), "tunnel_header")
    raw.arrives(geneve(), second)


def test_a_tunnel_in_a_tunnel_is_a_frame_like_others(room):
    raw = Raw(room)
    raw.underlay.tunnel()
    once = bytes(raw.vxlan(inner(number=3)))
    raw.arrives(raw.vxlan(bytes(raw.vxlan(once))), bytes(raw.vxlan(once)))


def test_what_left_a_tunnel_on_the_endpoints_bridge_enters_no_other(room):
    raw = Raw(room)
    raw.daemon.add_port("vx0", "vxlan", bridge="br-phys", remote_ip=raw.underlay.there, key=KEY)
    raw.dropped(raw.vxlan(bytes(raw.vxlan(inner()))), "endpoint_forbidden", "vx0")
    probe = Ether(src=station(3), dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=station(3), psrc="192.0.2.1", pdst="192.0.2.2")
    raw.dropped(raw.vxlan(bytes(probe)), "endpoint_forbidden", "vx0")
    raw.daemon.assert_alive()


def test_a_packet_that_is_in_a_tunnel_enters_no_other(room):
    raw = Raw(room)
    raw.underlay.tunnel()
    raw.daemon.add_port("nest", "geneve", bridge="br-phys", remote_ip=raw.underlay.there, key=KEY)
    raw.underlay.wait_for_neighbors(raw.underlay.there)
    raw.daemon.ctl("flow", "replace", "br-phys", "--file", "-",
                   input="in_port=vtep,udp actions=output:nest\npriority=0 actions=NORMAL")
    raw.tap.send(inner())
    eventually(lambda: raw.daemon.drops("tap0").get("tunnel_nested") == 1, 10, "a named drop")


def test_nothing_comes_from_ourselves_over_ipv6(room):
    raw = Raw(room, **ENDS6)
    raw.underlay.tunnel()

    def packet(source, content):
        return Ether(src=raw.mac, dst=MAC) / IPv6(src=source, dst=raw.underlay.here) / UDP(sport=1, dport=4789, chksum=0) \
            / VXLAN(vni=KEY, flags=8) / content
    raw.dropped(packet(raw.underlay.here, inner()), "tunnel_loop")
    raw.arrives(packet(raw.underlay.there, inner(number=2)), inner(number=2))


def test_an_endpoint_is_in_a_vlan_of_the_wire(room):
    raw = Raw(room, tag=7)
    raw.underlay.tunnel()
    payload = inner(length=90)
    seen = []

    def carried():
        raw.tap.send(payload)
        for content in raw.wire.received():
            packet = Ether(content)
            if ARP in packet and packet[ARP].pdst == raw.underlay.there and Dot1Q in packet:
                answer = ARP(op=2, hwsrc=raw.mac, psrc=raw.underlay.there, hwdst=MAC, pdst=raw.underlay.here)
                raw.wire.send(bytes(Ether(src=raw.mac, dst=MAC) / Dot1Q(vlan=7) / answer))
            elif payload in content:
                seen.append(packet)
        return seen
    eventually(carried, 20, "a frame in a tunnel")
    assert seen[0][Dot1Q].vlan == 7 and seen[0][VXLAN].vni == KEY
    whole = raw.vxlan(inner(number=6))
    raw.arrives(Ether(src=raw.mac, dst=MAC) / Dot1Q(vlan=7) / whole[IP], inner(number=6))
    untagged = inner(number=7)
    raw.wire.send(bytes(raw.vxlan(untagged)))
    raw.arrives(Ether(src=raw.mac, dst=MAC) / Dot1Q(vlan=7) / raw.vxlan(inner(number=8))[IP], inner(number=8))


def test_flows_give_the_remote_and_the_key(room):
    raw = Raw(room)
    raw.underlay.tunnel("t0", remote_ip="flow", key="flow")
    raw.daemon.ctl("flow", "replace", "br-tun", "--file", "-", input=f"""
        in_port=tap0 actions=set_field:0x77->tun_id,set_field:{raw.underlay.there}->tun_dst,output:t0
        in_port=t0,tun_id=0x77,tun_src={raw.underlay.there} actions=output:tap0
    """)
    content, _ = sent_to(raw)
    assert Ether(content)[VXLAN].vni == 0x77
    payload = inner(number=5)
    raw.arrives(raw.vxlan(payload, vni=0x77), payload)
    raw.wire.send(bytes(raw.vxlan(payload, vni=0x78)))
    eventually(lambda: raw.daemon.drops("t0").get("flow_drop"), 10, "a frame of another network")


def test_an_endpoint_answers_for_its_address(room):
    underlay = Underlay(room)
    assert pings(underlay.far, underlay.here)
    assert MAC in underlay.far.ip("neigh", "show").stdout
    wire = underlay.peer()
    probe = Ether(src=station(7), dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=station(7), psrc="0.0.0.0", pdst=underlay.here)
    wire.send(bytes(probe))
    answers = []

    def answered():
        answers.extend(Ether(content) for content in wire.received())
        return any(ARP in answer and answer[ARP].op == 2 and answer[ARP].hwsrc == MAC for answer in answers)
    eventually(answered, 10, "an answer to a probe")


def test_a_guest_on_the_endpoints_bridge_neither_reaches_nor_forges_it(room):
    raw = Raw(room)
    raw.underlay.tunnel()
    path = room.socket("vm")
    raw.daemon.add_port("vm", "vhost-user", bridge="br-phys", path=path, mode="client")
    guest = room.keeps(FrontEnd(path))
    guest.connect()
    raw.daemon.wait_for_link("vm")
    payload = inner()
    forged = bytes(raw.vxlan(payload))
    guest.send(forged)
    guest.send(bytes(Ether(src=station(3), dst=MAC) / ARP(hwsrc=station(3), psrc="192.0.2.9", pdst="192.0.2.1")))
    guest.send(bytes(Ether(src=station(3), dst="ff:ff:ff:ff:ff:ff")
                     / ARP(op=2, hwsrc=station(3), psrc="192.0.2.1", pdst="192.0.2.1")))
    guest.wait_until_taken()
    eventually(lambda: raw.daemon.drops("vm").get("endpoint_forbidden") == 3, 10, "three named drops")
    raw.arrives(raw.vxlan(inner(number=8)), inner(number=8))
    assert all(payload not in frame for frame in raw.tap.received())


def test_tunnels_and_neighbors_outlive_the_daemon(room):
    underlay = Underlay(room)
    underlay.tunnel()
    underlay.linux_vxlan()
    underlay.resolve()
    ports = underlay.daemon.ports()
    underlay.daemon.stop()
    underlay.daemon.start()
    underlay.near.bring_up("tap0", f"{HERE}/24")
    underlay.resolve()
    assert {name: port["options"] for name, port in underlay.daemon.ports().items()} \
        == {name: port["options"] for name, port in ports.items()}


def test_a_guest_on_the_endpoints_bridge_does_not_forge_it_over_ipv6(room):
    underlay = Underlay(room, **ENDS6)
    path = room.socket("vm")
    underlay.daemon.add_port("vm", "vhost-user", bridge="br-phys", path=path, mode="client")
    guest = room.keeps(FrontEnd(path))
    guest.connect()
    underlay.daemon.wait_for_link("vm")
    asks = ICMPv6ND_NS(tgt=underlay.here) / ICMPv6NDOptSrcLLAddr(lladdr=station(3))
    claims = ICMPv6ND_NA(tgt=underlay.here, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=station(3))
    for source, target, message in (("2001:db8::9", underlay.here, asks), (underlay.here, "ff02::1", claims),
                                    ("2001:db8::9", underlay.here, claims)):
        group = "33:33:00:00:00:01" if target == "ff02::1" else MAC
        guest.send(bytes(Ether(src=station(3), dst=group) / IPv6(src=source, dst=target, hlim=255) / message))
    guest.wait_until_taken()
    eventually(lambda: underlay.daemon.drops("vm").get("endpoint_forbidden") == 3, 10, "three named drops")


@pytest.mark.parametrize("kind, options, words", [
    ("endpoint", {}, "needs its address"),
    ("endpoint", {"address": "192.0.2.1"}, "192.0.2.1/24"),
    ("endpoint", {"address": "224.0.0.1/4"}, "host's address"),
    ("endpoint", {"address": "192.0.2.1/24", "gateway": "198.51.100.1"}, "no neighbor"),
    ("vxlan", {}, "needs its other end"),
    ("vxlan", {"remote_ip": "300.1.1.1"}, "not the address of a host"),
    ("vxlan", {"remote_ip": "192.0.2.2", "key": 1 << 24}, "16777215"),
    ("gre", {"remote_ip": "192.0.2.2", "dst_port": 1}, "no option 'dst_port'"),
    ("vxlan", {"remote_ip": "192.0.2.2", "local_ip": "2001:db8::1"}, "of one kind"),
    ("geneve", {"remote_ip": "192.0.2.2", "dst_port": 4789}, "is that of 'known'"),
    ("vxlan", {"remote_ip": "192.0.2.2", "key": 1}, "takes the same packets"),
    ("vxlan", {"remote_ip": "192.0.2.2", "ttl": 0}, "1 to 255"),
    ("vxlan", {"remote_ip": "192.0.2.2", "df": "maybe"}, "neither true nor false"),
])
def test_what_cannot_be_is_refused(daemon, kind, options, words):
    daemon.add_port("known", "vxlan", remote_ip="192.0.2.2", key=1)
    given = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    assert words in daemon.refused("port", "add", "br0", "t0", "--type", kind, *given)
    assert set(daemon.ports()) == {"known"}
