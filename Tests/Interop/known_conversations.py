"""Short conversations whose verdicts in Open vSwitch (3.1) are worth knowing: what a packet is, what is known of it when it
is tracked again, what a commit writes. The title says what Open vSwitch does.

Packets are of the ends 0 and 1, behind ports 1 and 2.
"""

from flow_cases import ALL_TAGGED, Case
from random_tracking import report_flows
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,
                                ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt,
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop)
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from twins import NAMES

STATIONS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
HOSTS, HOSTS6 = ("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")
ROUTER = "10.0.0.254"
ESP = 50


def _framed(side, packet):
    return side + 1, bytes(Ether(src=STATIONS[side], dst=STATIONS[1 - side]) / packet)


def four(side, content, **fields):
    return _framed(side, IP(src=HOSTS[side], dst=HOSTS[1 - side], **fields) / content)


def six(side, content):
    return _framed(side, IPv6(src=HOSTS6[side], dst=HOSTS6[1 - side]) / content)


def tcp(side, flags, sequence, acknowledgment=0, data=b"", window=8192, options=(), ports=(1025, 80), **fields):
    source, destination = ports if side == 0 else ports[::-1]
    return four(side, TCP(sport=source, dport=destination, flags=flags, seq=sequence, ack=acknowledgment, window=window,
                          options=list(options)) / Raw(data), **fields)


def udp(side, ports=(1025, 53)):
    source, destination = ports if side == 0 else ports[::-1]
    return four(side, UDP(sport=source, dport=destination) / Raw(b"x"))


def icmp(side, kind, code=0, identifier=7):
    return four(side, ICMP(type=kind, code=code, id=identifier))


def pieces(side, octets=3000, ports=(1025, 53), number=7, size=1480, parts=None, content=None):
    """The fragments of a datagram, in order, or those that `parts` names: by number, or as (start, end, whether more follows)."""
    source, destination = ports if side == 0 else ports[::-1]
    whole = content or UDP(sport=source, dport=destination) / Raw(bytes(place % 251 for place in range(octets)))
    data = bytes(IP(bytes(IP(src=HOSTS[side], dst=HOSTS[1 - side]) / whole)).payload)
    cuts = [(start, min(start + size, len(data)), start + size < len(data)) for start in range(0, len(data), size)]
    return [four(side, Raw(data[start:end]), id=number, proto=IP(bytes(IP() / whole)).proto, frag=start // 8,
                 flags="MF" if more else 0)
            for start, end, more in [cuts[part] if isinstance(part, int) else part for part in parts or cuts]]


def pieces6(side, octets=3000, ports=(1025, 53), number=7, size=1440, parts=None):
    source, destination = ports if side == 0 else ports[::-1]
    whole = UDP(sport=source, dport=destination) / Raw(bytes(place % 251 for place in range(octets)))
    data = bytes(IPv6(src=HOSTS6[side], dst=HOSTS6[1 - side]) / whole)[40:]
    cuts = [(start, min(start + size, len(data)), start + size < len(data)) for start in range(0, len(data), size)]
    return [six(side, IPv6ExtHdrFragment(nh=17, id=number, offset=start // 8, m=more) / Raw(data[start:end]))
            for start, end, more in [cuts[part] if isinstance(part, int) else part for part in parts or cuts]]


def error(side, packet, kind=3, length=None, source=None):
    """About `packet`, of which it quotes so many octets."""
    fields = {"src": source} if source else {}
    return _framed(side, IP(**{"src": HOSTS[side], "dst": HOSTS[1 - side]} | fields)
                   / ICMP(type=kind, code=1) / Raw(packet[1][14:][:length]))


def error6(side, packet, kind=ICMPv6DestUnreach, length=None):
    return six(side, kind() / Raw(packet[1][14:][:length]))


SYN, ANSWER, LAST = tcp(0, "S", 1000), tcp(1, "SA", 5000, 1001), tcp(0, "A", 1001, 5001)
HANDSHAKE = [SYN, ANSWER, LAST]
CLOSED = HANDSHAKE + [tcp(0, "FA", 1001, 5001), tcp(1, "FA", 5001, 1002), tcp(0, "A", 1002, 5002)]
SYN6 = six(0, TCP(sport=1025, dport=80, flags="S", seq=1))
# Ends the burst of the other side's.
BETWEEN = icmp(1, 8)
DATAGRAM6 = six(0, UDP(sport=1, dport=2) / b"abc")

REPORT = "resubmit(,20)"
ALL = f"table=1,priority=1 actions={REPORT}"
TRACKED = "table=0,priority=1,ip actions=ct(table=1,zone=1)"
# Everything new is committed when it was reported.
STANDARD = [TRACKED, "table=0,priority=1,ipv6 actions=ct(table=1,zone=1)", ALL,
            f"table=1,priority=2,ip,ct_state=+new actions={REPORT},ct(commit,zone=1)",
            f"table=1,priority=2,ipv6,ct_state=+new actions={REPORT},ct(commit,zone=1)"]
COMMITTED = "table=0,priority=1,ip actions=ct(commit,table=1,zone=1)"
BEHIND = ["br1 table=0,priority=1,ip actions=ct(table=1,zone=1)", f"br1 table=1,priority=1 actions={REPORT}"]


# What `SOURCE` and `DESTINATION` make of the ends.
NEW_CLIENT, NEW_SERVER, NEW_SERVER6 = "10.1.1.1", "10.1.1.2", "2001:db8::99"
BACK = "table=0,priority=1,in_port=2,{} actions=ct(zone=1,nat,table=20)"
SOURCE = [f"table=0,priority=1,in_port=1,ip actions=ct(commit,zone=1,nat(src={NEW_CLIENT}),table=20)", BACK.format("ip")]
DESTINATION = [f"table=0,priority=2,in_port=1,{name} actions=ct(commit,zone=1,nat(dst={NEW_SERVER}{port}),table=20)"
               for name, port in (("udp", ":5353"), ("tcp", ":8080"), ("icmp", ""))] + [BACK.format("ip")]
DESTINATION6 = [f"table=0,priority=1,in_port=1,ipv6 actions=ct(commit,zone=1,nat(dst={NEW_SERVER6}),table=20)",
                BACK.format("ipv6")]


def _rebuilt(side, packet):
    """With lengths and checksums as they are to be."""
    for layer in (IP, UDP, TCP, ICMP, ICMPv6EchoRequest):
        if layer in packet:
            for name in ("len", "chksum", "cksum"):
                packet[layer].delfieldval(name) if name in packet[layer].fields else None
    return side + 1, bytes(packet)


def answer(packet, address=NEW_CLIENT, port=None):
    """To what a packet of end 0 became: to its new source, or from its new destination."""
    packet = Ether(packet[1])
    inner, is_source = packet[IP], address == NEW_CLIENT
    packet.src, packet.dst = packet.dst, packet.src
    inner.src, inner.dst = (inner.dst, address) if is_source else (address, inner.src)
    if UDP in packet:
        inner[UDP].sport, inner[UDP].dport = inner[UDP].dport, inner[UDP].sport
        if port:
            setattr(inner[UDP], "dport" if is_source else "sport", port)
    if ICMP in packet:
        inner[ICMP].type = 0
    return _rebuilt(1, packet)


def translated(packets, address=NEW_CLIENT, port=None):
    """A conversation in which end 1 answers what it gets. Of one packet of end 0 alone, what that becomes."""
    result = []
    for number, content in packets:
        packet = Ether(content)
        if number == 2 and address == NEW_CLIENT:
            packet[IP].dst = address
        elif number == 2:
            packet[IP].src = address
            packet[TCP].sport = port
        elif len(packets) == 1:
            packet[IP].src = address
        result.append(_rebuilt(number - 1, packet))
    return result


def became6(packet):
    packet = Ether(packet[1])
    packet[IPv6].dst = NEW_SERVER6
    return _rebuilt(0, packet)


def marking(port, written):
    return f"table=0,priority=1,udp,tp_src={port} actions=ct(commit,table=20,zone=1,exec({written}))"


# Helpers
HELPED = [TRACKED, "table=0,priority=1,ipv6 actions=ct(table=1,zone=1)", ALL] + [
    f"table=1,priority={priority},{kind},ct_state=+new{match} actions={REPORT},ct(commit,zone=1{helper})"
    for kind, six in (("ip", ""), ("ipv6", "6")) for priority, match, helper in (
        (2, "", ""), (4, "+rel", ",exec(set_field:0x300/0xf00->ct_mark)"))] + [
    f"table=1,priority=3,{kind},ct_state=+new-rel,tp_dst={port} actions={REPORT},"
    f"ct(commit,zone=1,alg={name},exec(set_field:0x77->ct_mark,set_field:0x5->ct_label))"
    for kind, port, name in (("tcp", 21, "ftp"), ("tcp6", 21, "ftp"), ("udp", 69, "tftp"), ("udp6", 69, "tftp"))]
CONTROL = (1025, 21)


def tcp6(side, flags, sequence, acknowledgment=0, data=b"", ports=CONTROL):
    source, destination = ports if side == 0 else ports[::-1]
    return six(side, TCP(sport=source, dport=destination, flags=flags, seq=sequence, ack=acknowledgment) / Raw(data))


def opened(make=tcp, client=0, ports=CONTROL):
    """A handshake, of which the client's next number is 1001 and the server's 5001."""
    server = 1 - client
    return [make(client, "S", 1000, ports=ports), make(server, "SA", 5000, 1001, ports=ports),
            make(client, "A", 1001, 5001, ports=ports)]


def told(*lines, make=tcp):
    """What a client (0) and a server (1) say on a control connection, one after the other."""
    numbers, packets = [1001, 5001], opened(make)
    for side, line in lines:
        packets.append(make(side, "PA", numbers[side], numbers[1 - side], line, ports=CONTROL))
        numbers[side] += len(line)
    return packets


def carried(client, ports, make=tcp):
    """A data connection, and a segment each way."""
    server = 1 - client
    return [*opened(make, client, ports), make(client, "PA", 1001, 5001, b"x", ports=ports),
            make(server, "PA", 5001, 1002, b"y", ports=ports)]


KNOWN = {
    # TCP
    "a repeated SYN is new until it is answered, and established then": (STANDARD, [
        SYN, SYN, ANSWER, SYN, ANSWER, LAST, tcp(0, "PA", 1001, 5001, b"hello"), tcp(1, "A", 5001, 1006)]),
    "a SYN of another number before the answer moves nothing, and its answer is far within the skew": (STANDARD, [
        SYN, tcp(0, "S", 30000), tcp(1, "SA", 5000, 30001), tcp(0, "A", 30001, 5001), ANSWER, LAST]),
    "a SYN+ACK of too great an acknowledgment is invalid only far away": (STANDARD, [
        SYN, tcp(1, "SA", 5000, 70000), tcp(1, "SA", 5000, 900000), ANSWER, tcp(1, "R", 5001), tcp(1, "RA", 5001)]),
    "a connection is picked up at any segment with ACK, or a reset, and the second one is established": (STANDARD, [
        tcp(0, "PA", 1000, 5000, b"x"), tcp(0, "PA", 1001, 5000, b"x"), tcp(1, "A", 5000, 1001),
        tcp(1, "PA", 5000, 1001, b"y"),
        tcp(0, "R", 1, ports=(1, 2)), tcp(0, "FA", 5, 6, ports=(5, 6)), tcp(0, "RA", 5, 6, ports=(7, 8))]),
    "a SYN+ACK begins nothing, nor do flags that no segment has; ECN's are no others": (STANDARD, [ANSWER] + [
        tcp(0, flags, 1000, ports=(9, port)) for port, flags in enumerate(
            ("", "F", "P", "U", "SF", "SR", "SRA", "SFA", "SP", "SU", "SPA", "A", "AU", "FPU", "SEC", "FA"), 1)]),
    "an acknowledgment before the answer is established": (STANDARD, [
        SYN, tcp(0, "A", 1001, 5001), tcp(0, "PA", 1001, 5001, b"x"), ANSWER, tcp(0, "A", 1002, 5001)]),
    "of two that open, the answering SYN is new and no reply": (STANDARD, [
        SYN, tcp(1, "S", 5000), tcp(0, "SA", 1000, 5001), tcp(1, "SA", 5000, 1001), LAST]),
    "behind both FINs late segments are established, and a SYN is a new connection": (STANDARD, [
        *CLOSED, tcp(1, "FA", 5001, 1002), tcp(0, "S", 70000), tcp(1, "SA", 9000, 70001), tcp(0, "A", 70001, 9001)]),
    "a SYN behind both FINs forgets the connection, whether it is committed or not": ([
        TRACKED, ALL, f"table=1,priority=3,tcp,ct_state=+new,nw_ttl=64 actions={REPORT},ct(commit,zone=1)"], [
        *CLOSED, tcp(0, "S", 99, ttl=9), tcp(1, "A", 5002, 1002), tcp(0, "A", 1002, 5002)]),
    "a reset must be at the number that was seen last or one beside it; behind it all passes": (STANDARD, [
        *HANDSHAKE, tcp(0, "R", 1003), tcp(0, "R", 1002), tcp(0, "R", 1001), tcp(1, "A", 5001, 1001), tcp(0, "S", 50000),
        tcp(1, "SA", 7, 50001)]),
    "the asked one resets": (STANDARD, [SYN, tcp(1, "RA", 0, 1001), tcp(0, "S", 1001), tcp(1, "SA", 5000, 1002)]),
    "a SYN in an established connection is a segment like others": (STANDARD, [
        *HANDSHAKE, SYN, tcp(0, "S", 77777777), tcp(1, "S", 5000), tcp(0, "PA", 1001, 5001, b"x")]),
    "edges of a window without scale": (STANDARD, [
        tcp(0, "S", 1000, window=100), tcp(1, "SA", 5000, 1001, window=200), tcp(0, "A", 1001, 5001, window=100)] + [
        tcp(0, "A", sequence, 5001, data, window=100)
        for sequence, data in ((1201, b"x"), (1200, b"x"), (1201, b""), (1201, b"x"), (1001, b"x"), (1000, b"x"))]),
    "edges of windows with scales": (STANDARD, [
        tcp(0, "S", 1000, window=100, options=[("WScale", 2)]),
        tcp(1, "SA", 5000, 1001, window=200, options=[("WScale", 3)]), tcp(0, "A", 1001, 5001, window=100),
        tcp(1, "A", 5001, 1001, b"x" * 390, window=200),
        tcp(1, "A", 5391, 1001, b"x" * 20, window=200), tcp(0, "A", 1001, 5391, b"y" * 1400, window=100),
        tcp(0, "A", 2401, 5391, b"y" * 300, window=100)]),
    "what is behind an IP packet is no data": (STANDARD, [
        *HANDSHAKE, (1, LAST[1] + bytes(40)), tcp(0, "R", 1001)]),
    # UDP and others
    "datagrams without an answer are new, however many; behind one they are established": (STANDARD, [
        udp(0), udp(0), udp(0), udp(0), udp(1), udp(0), udp(1)]),
    "port 0 and a wrong checksum are invalid; UDP over IPv4 needs none": (STANDARD, [
        udp(0, (0, 5)), udp(0, (5, 0)), four(0, UDP(sport=1, dport=2, chksum=0x1234) / b"x"),
        four(0, UDP(sport=1, dport=2, chksum=0) / b"x"), four(0, UDP(sport=1, dport=2) / b"x", chksum=1),
        four(0, UDP(sport=1, dport=2, len=30) / b"xyz"), six(0, UDP(sport=1, dport=2, chksum=0) / b"x")]),
    "protocols without ports are known by their addresses alone": (STANDARD, [
        *(four(side, Raw(b"12345678"), proto=ESP) for side in (0, 0, 1, 0))]),
    "headers of IPv6 before the transport's are looked through": (STANDARD, [
        six(0, IPv6ExtHdrHopByHop() / UDP(sport=1, dport=2) / b"x"),
        six(1, IPv6ExtHdrDestOpt() / UDP(sport=2, dport=1) / b"x")]),
    # ICMP
    "of ICMP's types echo, timestamp and information requests begin a connection": (STANDARD, [
        icmp(0, kind, identifier=100 + kind) for kind in (*range(19), 30, 37, 40, 42)]),
    "a code other than 0 is invalid, and the other end's echo is another connection": (STANDARD, [
        icmp(0, 8, 1), icmp(0, 8), icmp(1, 0, 1), icmp(1, 0), icmp(0, 8), icmp(1, 8), icmp(1, 0), icmp(0, 0),
        icmp(0, 13), icmp(1, 14), icmp(1, 14, identifier=99)]),
    "of ICMPv6's types echo requests begin a connection; discovery of neighbours is invalid": (STANDARD, [
        six(0, ICMPv6EchoRequest(id=5)), six(1, ICMPv6EchoReply(id=5)), six(0, ICMPv6EchoReply(id=6)),
        six(0, ICMPv6ND_NS(tgt=HOSTS6[1])), six(1, ICMPv6ND_NA(tgt=HOSTS6[1]))]),
    "errors about a connection's packets are related, whoever sends them": (STANDARD, [
        udp(0), error(1, udp(0)), error(1, udp(0), source=ROUTER), error(0, udp(0)), udp(1), error(0, udp(1)),
        *(error(1, udp(0), kind) for kind in (11, 4, 5, 12, 6)), error(1, udp(0, (7, 7)))]),
    "errors quote 8 octets behind IPv4's header at least": (STANDARD, [
        udp(0), *(error(1, udp(0), length=length) for length in (28, 27, 20, 19, 0)),
        SYN, error(1, SYN, length=28), error(1, SYN, length=27)]),
    "errors quote the whole header behind IPv6's": (STANDARD, [
        SYN6, DATAGRAM6, *(error6(1, SYN6, length=length) for length in (None, 60, 59, 48)),
        *(error6(1, DATAGRAM6, length=length) for length in (48, 47)),
        *(error6(1, DATAGRAM6, kind) for kind in (ICMPv6PacketTooBig, ICMPv6TimeExceeded, ICMPv6ParamProblem))]),
    "errors about errors are invalid, about an echo related": (STANDARD, [
        udp(0), error(0, error(1, udp(0))), icmp(0, 8), error(1, icmp(0, 8)), error(1, icmp(0, 0)), error(0, icmp(1, 0))]),
    "a move out of the first packet's fields does nothing for a packet that is related alone; a match does": ([
        COMMITTED, f"table=1,priority=2,icmp,ct_state=+rel-rpl,ct_nw_src={HOSTS[0]},ct_nw_proto=17,"
        f"ct_tp_dst=53 actions=output:3,{REPORT}",
        ALL], [udp(0), error(1, udp(0)), udp(1), error(0, udp(1))]),
    # Tracked again
    "what a commit made is known when the packet is tracked again in its zone, and its state is not moved; ct_clear, "
    "another zone, force and a write of ports or addresses forget it, and find it "
    "anew": ([
        COMMITTED, *(f"table=1,priority=2,tcp,tp_src={port} actions={actions}" for port, actions in enumerate((
            "ct(table=20,zone=1)", "ct_clear,ct(table=20,zone=1)", "mod_nw_tos:32,ct(table=20,zone=1)",
            "mod_tp_dst:81,ct(table=2,zone=1)", "ct(zone=2),ct(table=20,zone=1)", "ct(commit,force,table=20,zone=1)",
            "output:8"), 1)), f"table=2,priority=1,tcp actions={REPORT},mod_tp_dst:80,ct(table=20,zone=1)", *BEHIND],
        # Of other segments Open vSwitch says that they are established, as if they had come twice.
        [tcp(0, "S", 1001, ports=(port, 80)) for port in range(1, 8)]),
    "what flows have written is what another zone tracks": ([
        "table=0,priority=1,ip actions=ct(commit,table=1,zone=1)",
        f"table=1,priority=1,udp actions={REPORT},mod_nw_dst:10.9.9.9,mod_tp_src:77,ct(commit,table=2,zone=2)",
        f"table=1,priority=1,tcp actions={REPORT},mod_tp_src:77,ct(commit,table=2,zone=2)",
        f"table=2,priority=1 actions={REPORT}"], [udp(0), udp(0), *HANDSHAKE]),
    "behind a patch a packet is not tracked for the flows": ([
        "table=0,priority=1,ip actions=ct(commit,table=1,zone=1,exec(set_field:0x5->ct_mark))",
        f"table=1,priority=1 actions=output:8,{REPORT}",
        f"br1 table=0,priority=2,udp,ct_state=-trk,ct_mark=0,ct_zone=0,tp_src=1 actions={REPORT}",
        "br1 table=0,priority=1,udp actions=ct(table=1,zone=2)", *BEHIND[1:]], [udp(0, (1, 53)), udp(0, (2, 53))]),
    "behind a commit without a table nothing is known; with one the packet is new, with its mark": ([
        TRACKED, ALL, *(f"table=1,priority=2,udp,ct_state=+new,tp_src={port} actions=ct(commit,zone=1,"
                        f"exec(set_field:0x5->ct_mark,set_field:0x7->ct_label){table}),{REPORT}"
                        for port, table in ((1, ""), (2, ",table=20")))],
        [udp(0, (1, 53)), udp(0, (1, 53)), udp(0, (2, 53)), udp(0, (2, 53)), udp(1, (2, 53))]),
    "what is behind ct(table) sees nothing that the table wrote, and has all from before": ([
        "table=0,priority=1,ip actions=load:0x5->NXM_NX_REG0[],push:NXM_NX_REG0[],load:0x3->OXM_OF_METADATA[],"
        "ct(commit,zone=1,table=1,exec(set_field:0x5->ct_mark)),pop:NXM_NX_REG2[],resubmit(,3)",
        "table=1,priority=1,udp,reg0=5,metadata=3,in_port=1 actions=load:0x9->NXM_NX_REG0[],pop:NXM_NX_REG1[],mod_tp_dst:99,"
        "resubmit(,4)", f"table=4,priority=1,reg1=5 actions=output:2,{REPORT}",
        "table=3,priority=1,udp,ct_state=-trk,reg0=5,reg2=5,tp_dst=53,ct_mark=0,ct_zone=0 actions=output:3"], [udp(0)]),
    "a clone's tracking is its own, and what follows is not tracked": ([
        f"table=0,priority=1,udp actions=clone(ct(commit,table=20,zone=1)),{REPORT},ct(zone=1),{REPORT},"
        "ct(table=20,zone=1)"],
        [udp(0), udp(0)]),
    "each zone has connections of its own": ([
        "table=0,priority=1,ip actions=ct(commit,table=1,zone=1,exec(set_field:0x1->ct_mark))",
        f"table=1,priority=1,ip actions={REPORT},ct(table=2,zone=2)",
        f"table=2,priority=1,ip actions={REPORT},ct(table=20,zone=1)"], [udp(0), udp(0), udp(1), ANSWER]),
    # Translation
    "a source becomes another one, and the answers go to who it was": ([*SOURCE], [
        udp(0), udp(0), answer(udp(0)), udp(0), answer(udp(0)), icmp(0, 8), answer(icmp(0, 8)),
        *translated(HANDSHAKE), udp(1, (3, 3)), udp(0, (3, 3)), answer(udp(0, (3, 3)))]),
    "a destination becomes another one with another port": ([*DESTINATION], [
        udp(0), udp(0), answer(udp(0), NEW_SERVER, 5353), udp(0), answer(udp(0), NEW_SERVER, 5353), icmp(0, 8),
        answer(icmp(0, 8), NEW_SERVER), *translated(HANDSHAKE, NEW_SERVER, 8080), udp(1, (3, 3))]),
    "an error is translated, and the packet in it is as its sender sent it": ([*SOURCE, *DESTINATION6], [
        udp(0), error(1, udp(0), source=ROUTER), error(1, translated([udp(0)])[0], source=ROUTER),
        error(1, translated([udp(0)])[0], kind=11), answer(udp(0)), error(0, udp(1)), error(0, udp(1), source=ROUTER),
        icmp(0, 8), error(1, translated([icmp(0, 8)])[0]), *translated(HANDSHAKE), error(1, translated([LAST])[0]),
        DATAGRAM6, error6(1, became6(DATAGRAM6)), error6(1, became6(DATAGRAM6), kind=ICMPv6PacketTooBig)]),
    "tables behind see what the packet has become": ([
        *SOURCE[:1], "table=0,priority=1,in_port=2,ip actions=ct(zone=1,nat,table=3)", ALL,
        f"table=3,priority=2,ip,nw_dst={HOSTS[0]} actions=mod_nw_tos:4,{REPORT}", f"table=3,priority=1 actions={REPORT}"],
        [udp(0), answer(udp(0)), answer(udp(0)), udp(0, (5, 53)), answer(udp(0, (5, 53))), answer(udp(0, (9, 9)))]),
    "another zone tracks what the packet has become": ([
        "table=0,priority=1,in_port=1,ip actions=ct(commit,zone=1,nat(src=10.1.1.1),table=3)",
        f"table=3,priority=1,in_port=1,ip actions={REPORT},ct(commit,zone=2,table=20)",
        f"table=0,priority=1,in_port=2,ip actions=ct(zone=2,table=4)",
        f"table=4,priority=1,ip actions={REPORT},ct(zone=1,nat,table=20)"],
        [udp(0), udp(0), answer(udp(0)), udp(0), answer(udp(0)), *translated(HANDSHAKE), answer(udp(0, (9, 9)))]),
    "a table is entered with the first packet's addresses and ports": ([
        "table=0,priority=1,in_port=1,ip actions=ct(commit,zone=1,nat(src=10.1.1.1),table=3)",
        "table=0,priority=1,in_port=2,ip actions=ct(zone=1,nat,table=3)",
        "table=3,priority=1,ip,ct_state=+trk-inv actions=resubmit(,4,ct),output:3",
        f"table=4,priority=3,ip,nw_src={HOSTS[0]},nw_dst={HOSTS[1]} actions={REPORT}",
        f"table=4,priority=2,udp,tp_src=1025 actions=mod_nw_tos:4,{REPORT}",
        f"table=4,priority=1,ip actions=mod_nw_tos:8,{REPORT}"],
        [udp(0), udp(0), answer(udp(0)), udp(0, (5, 53)), answer(udp(0, (5, 53))), udp(1, (9, 9)), *translated(HANDSHAKE)]),
    "all fragments of a datagram are translated, with the checksum in the first": ([*SOURCE], [
        *pieces(0), BETWEEN, *pieces(0), *pieces(0, ports=(5, 53))]),
    "what is translated once is not translated again in its zone": ([
        "table=0,priority=1,in_port=1,ip actions=ct(commit,zone=1,nat(src=10.1.1.1),table=3)",
        f"table=3,priority=1,ip actions={REPORT},ct(zone=1,nat,table=4)", f"table=4,priority=1,ip actions={REPORT}",
        "table=0,priority=1,in_port=2,ip actions=ct(zone=1,nat,table=3)"],
        [udp(0), udp(0), answer(udp(0)), udp(0)]),
    "without nat a connection's packets stay what they are": ([
        "table=0,priority=1,in_port=1,ip actions=ct(commit,zone=1,nat(src=10.1.1.1),table=20)",
        "table=0,priority=1,in_port=2,ip actions=ct(zone=1,table=20)"],
        [udp(0), answer(udp(0)), udp(0), udp(1)]),
    "a connection that has begun without it does not get a translation": ([
        "table=0,priority=1,in_port=2,ip actions=ct(zone=1,nat,table=20)", ALL,
        "table=0,priority=1,in_port=1,ip actions=ct(commit,zone=1,table=3)",
        f"table=3,priority=1,ip actions={REPORT},ct(commit,zone=1,nat(src=10.1.1.1),table=20)"],
        [udp(0), udp(0), udp(1), udp(0)]),
    "what was said before a translation is of the packet as it was": ([
        f"table=0,priority=2,in_port=1,udp,tp_src=5 actions={REPORT},ct(commit,zone=1,nat(src=10.1.1.1:7),table=20)",
        f"table=0,priority=1,in_port=1,ip,nw_src={HOSTS[0]} actions=ct(commit,zone=1,nat(src=10.1.1.1:7-7),table=20)",
        "table=0,priority=1,in_port=2,ip actions=ct(zone=1,nat,table=20)"],
        [udp(0, (5, 53)), udp(0, (5, 53)), answer(udp(0, (5, 53)), port=7), udp(0, (6, 54))]),
    "an invalid segment is translated as its connection is": ([*SOURCE], [
        *translated(HANDSHAKE), tcp(0, "S", 99999999), tcp(0, "A", 1001, 5001)]),
    "a copy is translated, and the packet goes on as it was": ([
        f"table=0,priority=1,in_port=1,udp actions=clone(ct(commit,zone=1,nat(src=10.1.1.1),table=20)),{REPORT},output:3"],
        [udp(0), udp(0)]),
    # Fragments. Those of a datagram do one action after the other together in Open vSwitch, and those of several in one burst
    # leave in the order of its flows. What is not whole at the end would come out of it some seconds later.
    "fragments go on when all have come, in their order, and are what the datagram is": (STANDARD, [
        *pieces(0), *pieces(1), *pieces(0, parts=[2, 0, 1]), *pieces(1, parts=[1, 0, 2]), udp(0), *pieces(0, 40000)]),
    "those of IPv6 too": (STANDARD, [
        *pieces6(0), *pieces6(1), *pieces6(0, parts=[2, 0, 1]), *pieces6(1, parts=[1, 2, 0]), *pieces6(0, 40000)]),
    "fragments of several datagrams come one among the other": (STANDARD, [
        *pieces(0, parts=[0]), *pieces(0, number=8, parts=[1]), *pieces6(0, parts=[0]), *pieces(1, parts=[1, 2]),
        *pieces(0, parts=[1, 2]), *pieces6(0, parts=[2, 1]), *pieces(0, number=8, parts=[2, 0]), *pieces(1, parts=[0])]),
    "a datagram of a wrong checksum, or of port 0, is invalid in all its fragments; UDP over IPv4 needs none": (STANDARD, [
        *pieces(0, content=UDP(sport=1, dport=2, chksum=1) / Raw(bytes(3000))), *pieces(1, ports=(0, 5)),
        *pieces(0, content=UDP(sport=1, dport=2, chksum=0) / Raw(bytes(3000)))]),
    "fragments that come twice, overlap or are short are invalid, and the others make their datagram": (STANDARD, [
        *pieces(0, parts=[0, 0, (8, 1488, 1), (1472, 2952, 1), 2, 2, (2952, 2960, 1), 1]),
        *pieces(1, size=1176, parts=[0, 1]), *pieces(0, size=1184), *pieces6(1, size=1224, parts=[0, 1]),
        *pieces6(0, size=1232)]),
    "fragments of other protocols, and an error about one": (STANDARD, [
        *pieces(0, content=ICMP(type=8, id=9) / Raw(bytes(3000))), *pieces(1, content=ICMP(type=0, id=9) / Raw(bytes(3000))),
        *pieces(0, content=TCP(sport=9, dport=80, flags="S") / Raw(bytes(2000))), *pieces(0),
        error(1, pieces(0)[0], length=500), error(1, udp(0))]),
    "flows see fragments as fragments, without ports": ([
        TRACKED, f"table=1,priority=3,udp,nw_frag=first actions=output:3,{REPORT}",
        f"table=1,priority=3,ip,nw_frag=later actions=output:8,{REPORT}", f"table=1,priority=4,udp,tp_dst=53 actions={REPORT}"],
        [*pieces(0), BETWEEN, udp(0)]),
    "fragments see what their datagram is, and not what the commit of the first one wrote": ([
        TRACKED, "table=1,priority=2,ct_mark=0,udp actions=ct(commit,table=20,zone=1,exec(set_field:1->ct_mark))",
        ALL], [*pieces(0), BETWEEN, *pieces(0), *pieces(1)]),
    "fragments are tracked in several zones, behind patches too": ([
        "table=0,priority=1,ip actions=ct(commit,table=1,zone=1,exec(set_field:1->ct_mark))",
        "table=1,priority=1,ip actions=ct(commit,table=2,zone=2,exec(set_field:2->ct_mark))",
        f"table=2,priority=1,ip actions={REPORT},output:8", *BEHIND], [*pieces(0), BETWEEN, *pieces(0), *pieces(1)]),
    # Commits
    # A move out of ct_mark within ct does not write it, other than in Open vSwitch.
    "a later commit writes the bits of its mask, also in the other direction": ([
        marking(1, "set_field:0x555->ct_mark,set_field:0x777->ct_label"),
        marking(53, "set_field:0xa0/0xf0->ct_mark,load:0x1->NXM_NX_CT_LABEL[8..11]"),
        ], [
        udp(0, (1, 53)), udp(1, (1, 53)), udp(0, (1, 53))]),
    "an error has the mark of its connection, and its commit writes it": ([
        TRACKED, ALL, f"table=1,priority=3,ip,ct_state=+rel actions={REPORT},"
        "ct(commit,zone=1,table=20,exec(set_field:0x9->ct_mark))",
        "table=1,priority=2,ip,ct_state=+new actions=ct(commit,zone=1,table=20,exec(set_field:0x5->ct_mark))"],
        [udp(0), error(1, udp(0)), udp(0), udp(1), error(1, udp(0, (3, 3)))]),
    "force in the other direction begins a connection anew, without its mark": ([
        TRACKED, ALL, f"table=1,priority=3,udp,ct_state=+rpl,tp_src=53 actions={REPORT},ct(commit,force,zone=1,table=20)",
        f"table=1,priority=3,udp,ct_state=+est-rpl,tp_src=9 actions={REPORT},ct(commit,force,zone=1,table=20)",
        "table=1,priority=2,udp,ct_state=+new actions=ct(commit,zone=1,table=20,exec(set_field:0x5->ct_mark))"],
        [udp(0), udp(1), udp(0), udp(1), udp(0, (9, 1)), udp(1, (9, 1)), udp(0, (9, 1))]),
    "a segment outside of the window has the connection's mark; one of a wrong checksum has none": ([
        "table=0,priority=1,ip actions=ct(table=1,zone=7)", ALL,
        "table=1,priority=2,tcp,ct_state=+new actions=ct(commit,zone=7,table=20,exec(set_field:0x5->ct_mark))"], [
        *HANDSHAKE, tcp(0, "S", 99999999), four(0, TCP(sport=1025, dport=80, flags="A", seq=1001, ack=5001, chksum=1))]),
    "a commit of what is invalid makes nothing": ([
        "table=0,priority=1,ip actions=ct(commit,table=20,zone=3,exec(set_field:0x5->ct_mark))"], [
        ANSWER, SYN, tcp(1, "SA", 1, 90000000)]),
    # Helpers
    "what a client announces is related, from any port, with the mark and the label of then": (HELPED, [
        *told((0, b"PORT 10,0,0,1,4,12\r\n"), (1, b"200 ok\r\n")), *carried(1, (1036, 20)), *carried(1, (1036, 2000)),
        tcp(1, "S", 1, ports=(1037, 20)), tcp(0, "S", 1, ports=(20, 1036)), *carried(0, (40000, 1036))]),
    "what a server announces is related": (HELPED, [
        *told((0, b"PASV\r\n"), (1, b"227 Entering Passive Mode (10,0,0,2,200,1).\r\n")), *carried(0, (1026, 51201)),
        *carried(1, (51201, 1026)), *carried(0, (1027, 51202))]),
    "extended announcements over IPv6, where others mean nothing": (HELPED, [
        *told((0, b"EPRT |2|2001:db8::1|1036|\r\n"), (1, b"229 Entering Extended Passive Mode (|||6446|)\r\n"),
              (0, b"PORT 10,0,0,1,4,13\r\n"), make=tcp6),
        *carried(1, (1036, 20), tcp6), *carried(0, (1026, 6446), tcp6), *carried(1, (1037, 20), tcp6)]),
    "an announcement of another's address, or of none, is invalid": (HELPED, [
        *told((0, b"PORT 10,0,0,9,4,12\r\n"), (0, b"PORT 10,0,0,1,4\r\n"), (0, b"PORT 10,0,0,1,256,1\r\n"),
              (0, b"PORT\r\n"), (1, b"227 ok\r\n"), (0, b"PORT me\r\n"), (0, b"NOOP\r\n")),
        *carried(1, (1036, 20))]),
    "a TFTP server answers from another port": (HELPED, [
        udp(0, (1025, 69)), udp(0, (1025, 69)), *(udp(side, (1025, 2000)) for side in (1, 0, 1, 0)), udp(1, (1026, 2000)),
        udp(0, (1027, 53)), udp(1, (1027, 2000))]),
    "without a helper nothing is announced": (STANDARD, [
        *told((0, b"PORT 10,0,0,1,4,12\r\n")), *carried(1, (1036, 20)), udp(0, (1025, 69)), udp(1, (1025, 2000))]),
}


def case(name):
    flows, packets = KNOWN[name]
    reports = report_flows("br0") + [f"br1 {flow}" for flow in report_flows("br1")]
    return Case(dict.fromkeys(NAMES, ALL_TAGGED), flows + reports, packets)
