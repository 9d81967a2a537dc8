"""martletctl trace: what it says of a packet is what happens to it; scapy writes the capture files."""

import json

import pytest
from scapy.utils import PcapNgWriter

from frames import BROADCAST, customer, frame, station, write_pcap
from martlet import USAGE
from processes import eventually
from test_patch import A, B, Host

LAYOUT = [("vm1", frame(A, BROADCAST)), ("vm1", frame(A, B)), ("up", frame(B, A, tags=[customer(1024)])),
          ("up", frame(B, A, tags=[customer(7)])), ("vm2", frame(A, B))]


@pytest.fixture
def host(room):
    return Host(room, room.daemon())


def untraced(host):
    """What a trace must leave as it is."""
    stations = [(entry["mac"], entry["vlan"], entry["port"]) for bridge in ("br-int", "br-tun")
                for entry in host.daemon.json("fdb", "show", bridge)["entries"]]
    return stations, [host.daemon.counters(name)["rx_packets"] for name in host.peers]


def bridge_of(name):
    return "br-tun" if name == "up" else "br-int"


def trace_frame(room, host, name, content, *words):
    path = room.directory / "frame.pcap"
    write_pcap(path, [content])
    return host.daemon.ctl("trace", bridge_of(name), "--pcap", path, "--in-port", name, *words).stdout


def test_a_frame_goes_where_its_trace_says(room, host):
    for name, content in LAYOUT * 2:
        before = untraced(host)
        trace, = json.loads(trace_frame(room, host, name, content, "--json"))["traces"]
        assert untraced(host) == before
        said = {output["port"] for output in trace["outputs"]}
        assert ("drop" in trace) == (not said)
        host.peers[name].send(content)
        host.peers[name].wait_until_taken()
        assert arrived(host, said) == said, f"{content.hex()} from {name}: {trace}"


def arrived(host, said):
    """The ports whose guests got something; those in `said` are waited for."""
    got = set()

    def all_came():
        got.update(name for name, peer in host.peers.items() if peer.received())
        return said <= got
    eventually(all_came, 10, f"frames at {said}")
    return got


def test_the_text_shows_both_bridges(room, host):
    text = host.daemon.ctl(
        "trace", "br-int", f"in_port=vm1,dl_src={A},dl_dst={B},dl_type=0x88b5").stdout.splitlines()
    assert text[0] == f"Packet: in_port=1,dl_src={A},dl_dst={B},dl_type=0x88b5"
    assert text[2:] == [
        'bridge("br-int"), port 1 (vm1)',
        "------------------------------",
        " 0. priority=0 actions=NORMAL",
        "    NORMAL",
        "     -> VLAN 1: the destination is a group or not learned: flooded",
        '        bridge("br-tun"), port 2 (patch-int)',
        "        ------------------------------------",
        "         0. priority=1,in_port=2 actions=resubmit(,2)",
        "            resubmit(,2)",
        "         2. table=2, priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,20)",
        "            resubmit(,20)",
        f"        20. table=20, priority=2,dl_vlan=1,dl_dst={B} actions=mod_vlan_vid:1024,output:1",
        "            mod_vlan_vid:1024",
        "             dl_vlan: 1 -> 1024",
        "            output:1",
        "             -> sent to up",
        "",
        f"Megaflow: in_port=1,vlan_tci=0x0000,dl_src={A},dl_dst={B},dl_type=0x88b5",
        "Datapath actions: push_vlan(vid=1024,pcp=0),up",
        "Verdict: sent to up",
    ], "\n".join(text)


def test_a_capture_of_many_packets_gives_a_line_each(room, host):
    path = room.directory / "many.pcapng"
    writer = PcapNgWriter(str(path))
    for number in range(1001):
        writer.write(frame(A, station(0x100 + number)))
    writer.close()
    done = host.daemon.ctl("trace", "br-int", "--pcap", path, "--in-port", "vm1")
    lines = done.stdout.splitlines()
    assert len(lines) == 1000 and set(line.split(": ", 1)[1] for line in lines) == {"sent to up"}
    assert lines[999].startswith("packet 1000, 64 bytes: ")
    assert "more than 1000" in done.stderr
    verbose = trace_frame(room, host, "vm1", frame(A, B), "--verbose")
    assert "    Verdict: sent to up" in verbose.splitlines()


def test_what_cannot_be_traced_is_refused(room, host):
    column = host.daemon.refused("trace", "br-int", "in_port=vm1,colour=red")
    assert column.startswith("martletctl: column 13: ") and column.splitlines()[2].index("^") == 16
    assert "in_port" in host.daemon.refused("trace", "br-int", "ip")
    assert "nowhere" in host.daemon.refused("trace", "nowhere", "in_port=1")
    path = room.directory / "text"
    path.write_text("no capture, but long enough to be one")
    for words in (["br-int"], ["br-int", "--pcap", path], ["br-int", "in_port=1", "--pcap", path, "--in-port", "1"],
                  ["br-int", "--pcap", path, "--in-port", "vm1"], ["br-int", "--pcap", "/nothing", "--in-port", "1"]):
        assert host.daemon.ctl("trace", *words, check=False).returncode == USAGE
