"""Security groups as an operator sees them: what they come to, why packets are dropped, and which packets."""

import json

import pytest
from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_RA, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from frames import BROADCAST
from martlet import USAGE
from processes import eventually
from test_network import apply
from vhost_user import FrontEnd

MACS = {"a": "fa:16:3e:00:00:01", "b": "fa:16:3e:00:00:02"}
IPS = {"a": "10.0.0.1", "b": "10.0.0.2"}


def rule(direction, protocol="tcp", port=None, **more):
    ports = {"port_range_min": port, "port_range_max": port} if port else {}
    return {"direction": direction, "ethertype": "IPv4", "protocol": protocol, **ports, **more}


def group(*rules):
    return {"type": "security_group", "id": "g1", "name": "web", "rules": list(rules)}


WEB = [rule("egress"), rule("ingress", port=80), rule("ingress", "icmp", remote_group_id="g1")]


class Tenant:
    """Two guests of a group on one host."""

    def __init__(self, room):
        self.daemon = room.daemon(options=["--host", "h1", "--vif-dir", str(room.directory)])
        paths = {name: room.socket(name) for name in MACS}
        apply(self.daemon, [
            {"type": "host", "id": "h1"}, {"type": "network", "id": "n", "network_type": "local"}, group(*WEB),
            *({"type": "port", "id": name, "network_id": "n", "mac_address": MACS[name], "host": "h1",
               "fixed_ips": [{"ip_address": IPS[name]}], "security_groups": ["g1"], "vif": {"path": str(path)}}
              for name, path in paths.items())])
        self.guests = {name: room.keeps(FrontEnd(path)).connect() for name, path in paths.items()}
        self.daemon.wait_for_link("vhua", "vhub")

    def drops(self, name):
        return self.daemon.drops(f"vhu{name}")

    def refuses(self, name, frame, reason):
        """Sends until it is counted: under this reason, and no other."""
        before = self.drops(name)

        def is_counted():
            self.guests[name].send(frame)
            self.guests[name].wait_until_taken()
            return self.drops(name) != before
        eventually(is_counted, 10, reason)
        now = self.drops(name)
        assert {why for why in now if now[why] != before.get(why)} == {reason}

    def sample(self, name, reason):
        rows = self.daemon.json("stats", "drops", f"vhu{name}", "--sample")["drops"]
        return next(row["sample"] for row in rows if row["reason"] == reason)


@pytest.fixture
def tenant(room):
    return Tenant(room)


def test_groups_are_listed_and_shown_in_neutrons_words(tenant):
    daemon = tenant.daemon
    listed, = daemon.json("group", "list")["security_groups"]
    # One for each rule of each of the two ports.
    assert listed == {"id": "g1", "name": "web", "stateful": True, "rules": 3, "ports": 2, "members": 2, "flows": 6}
    assert daemon.json("group", "list", "--port", "a")["security_groups"] == [listed]
    shown = daemon.json("group", "show", "web")
    assert shown["security_group"] == listed and shown["members"] == {"g1": ["10.0.0.1", "10.0.0.2"]}
    assert shown["rules"] == WEB
    assert [port["port"] for port in shown["ports"]] == ["vhua", "vhub"]
    head, row = daemon.ctl("group", "list").stdout.splitlines()
    assert head.split() == ["ID", "NAME", "STATEFUL", "RULES", "PORTS", "MEMBERS", "FLOWS"]
    assert row.split() == ["g1", "web", "yes", "3", "2", "2", "6"]
    text = daemon.ctl("group", "show", "g1").stdout
    assert "ingress    IPv4       tcp       80     any" in text and "group g1" in text and "10.0.0.1 10.0.0.2" in text
    assert "mail" in daemon.refused("group", "show", "mail") and "nobody" in daemon.refused("group", "list", "--port", "nobody")


def forged():
    """What a guest must not send, and what that is counted as."""
    own = Ether(src=MACS["a"], dst=MACS["b"])
    ip = IP(src=IPS["a"], dst=IPS["b"])
    segment = TCP(sport=1000, dport=80, flags="A")
    other = "10.0.0.9"
    return {
        "spoofed_mac": Ether(src="fa:16:3e:00:00:09", dst=MACS["b"]) / ip / segment,
        "spoofed_ip": own / IP(src=other, dst=IPS["b"]) / segment,
        "spoofed_arp": Ether(src=MACS["a"], dst=BROADCAST) / ARP(hwsrc=MACS["a"], psrc=other, pdst=IPS["b"]),
        "spoofed_nd": own / IPv6(src="fe80::f816:3eff:fe00:1", dst="ff02::1") / ICMPv6ND_NA(tgt="fd00::9"),
        "dhcp_server": own / ip / UDP(sport=67, dport=68) / BOOTP(op=2),
        "router_advertisement": own / IPv6(src="fe80::f816:3eff:fe00:1", dst="ff02::1") / ICMPv6ND_RA(),
        "not_ip": Ether(src=MACS["a"], dst=MACS["b"], type=0x88b5) / (b"x" * 46),
        "guest_tag": own / Dot1Q(vlan=7) / ip / segment,
        "no_egress_rule": own / ip / UDP(sport=1000, dport=53),
        "no_ingress_rule": own / ip / TCP(sport=1000, dport=81, flags="S"),
        "invalid_state": own / ip / TCP(sport=1001, dport=80, flags="S", chksum=1),
        "infrastructure": Ether(src=MACS["a"], dst="01:80:c2:00:00:0e", type=0x88cc) / (b"\0" * 46),
    }


def test_a_drop_has_the_name_of_what_was_wrong(tenant):
    daemon = tenant.daemon
    for reason, packet in forged().items():
        frame = bytes(packet)
        tenant.refuses("a", frame, reason)
        sample = tenant.sample("a", reason)
        assert (bytes.fromhex(sample["frame"]), sample["length"]) == (frame[:256], len(frame))
        assert 0 <= sample["age"] < 60
        # Its text is what trace takes; of a checksum it says nothing.
        states = ["--ct-next", "inv"] if reason == "invalid_state" else []
        traced = daemon.json("trace", "br-int", sample["packet"], *states)
        assert traced["drop"] == reason, f"{sample['packet']}: {json.dumps(traced, indent=1)}"
    assert not tenant.guests["b"].received()
    shown = daemon.ctl("port", "show", "vhua").stdout
    assert all(f"{reason} " in shown for reason in forged())
    assert "dropped" not in [detail["name"] for detail in daemon.json("port", "show", "vhub")["details"]]


def test_samples_are_printed_in_words_and_bytes(tenant):
    frame = bytes(forged()["spoofed_arp"])
    tenant.refuses("a", frame, "spoofed_arp")
    lines = tenant.daemon.ctl("stats", "drops", "vhua", "--sample").stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("vhua: spoofed_arp, "))
    assert f"{len(frame)} bytes: arp,in_port=" in lines[start + 1] and "arp_spa=10.0.0.9" in lines[start + 1]
    octets = [line.split() for line in lines[start + 2:] if line.startswith("    00")][:3]
    assert [row[0] for row in octets] == ["0000", "0010", "0020"]
    assert bytes.fromhex("".join("".join(row[1:]) for row in octets)) == frame
    assert all("sample" not in row for row in tenant.daemon.json("stats", "drops")["drops"])


def test_a_conversation_that_is_allowed_no_more_is_dropped_by_name(tenant):
    def segment(source, target, flags, seq, ack):
        ports = dict(sport=1000, dport=80) if source == "a" else dict(sport=80, dport=1000)
        return bytes(Ether(src=MACS[source], dst=MACS[target]) / IP(src=IPS[source], dst=IPS[target])
                     / TCP(flags=flags, seq=seq, ack=ack, **ports) / (b"x" * 6 if flags == "A" else b""))
    for source, target, flags, seq, ack in (("a", "b", "S", 1, 0), ("b", "a", "SA", 100, 2), ("a", "b", "A", 2, 101)):
        frame = segment(source, target, flags, seq, ack)
        tenant.guests[source].send(frame)
        tenant.guests[target].wait_for(frame)
    apply(tenant.daemon, [group(rule("egress"))])
    tenant.refuses("a", segment("a", "b", "A", 8, 101), "ended_connection")
    tenant.refuses("b", segment("b", "a", "A", 101, 2), "ended_connection")


def test_trace_is_told_what_the_tracker_says(tenant):
    packet = (f"in_port=vhua,tcp,dl_src={MACS['a']},dl_dst={MACS['b']},nw_src={IPS['a']},nw_dst={IPS['b']},"
              "tp_src=1000,tp_dst=81,tcp_flags=syn")

    def trace(*words):
        return tenant.daemon.json("trace", "br-int", packet, *words)
    assert trace()["drop"] == "no_ingress_rule"
    assert trace("--ct-next", "trk,inv")["drop"] == "invalid_state"
    assert trace("--ct-next", "est")["drop"] == "ended_connection"
    answered = trace("--ct-next", "trk,est,rpl", "--ct-next", "trk,est,rpl")
    assert [output["port"] for output in answered["outputs"]] == ["vhub"]
    assert any("as --ct-next has it" in step["text"] for step in answered["steps"])
    assert "new,est" in tenant.daemon.refused("trace", "br-int", packet, "--ct-next", "new,est")
    assert tenant.daemon.ctl("trace", "br-int", packet, "--ct-next", check=False).returncode == USAGE
    assert tenant.daemon.json("conntrack", "stats")["created"] == 0


def test_doctor_sees_a_zone_at_its_limit_and_connections_refused(tenant):
    daemon = tenant.daemon

    def findings():
        return [one for one in daemon.json("doctor")["findings"] if one["check"] == "connections"]
    healthy, = findings()
    assert healthy["ok"] and "0 of at most" in healthy["message"]
    daemon.ctl("conntrack", "set", "--limit", "1=1")
    for port in (1000, 1001):
        tenant.guests["a"].send(bytes(Ether(src=MACS["a"], dst=MACS["b"]) / IP(src=IPS["a"], dst=IPS["b"])
                                      / TCP(sport=port, dport=80, flags="S")))
    eventually(lambda: daemon.json("conntrack", "stats")["refused"] > 0, 10, "the limit")
    full = next(one for one in findings() if not one["ok"])
    assert "zone 1 has 1 of the 1 connections" in full["message"] and "--zone 1" in full["message"]
    assert tenant.drops("a").get("connection_limit")
