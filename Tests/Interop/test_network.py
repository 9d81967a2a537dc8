"""What Neutron wants, as documents: three hosts, two tenants with the same addresses, and the wire between the hosts."""

import json

import pytest

from frames import BROADCAST
from martlet import IDLE, Daemon
from netns import KernelPeer, Namespace, add_bridge, veth
from processes import eventually
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from underlay import join_wire
from vhost_user import FrontEnd

HOSTS = ["h1", "h2", "h3"]
TENANTS = {"blue": 102, "red": 103}


def tunnel_address(host):
    return f"192.0.2.{HOSTS.index(host) + 1}"


class Guest:
    """A station of a tenant on a host. Those of two tenants on one host have the same addresses."""

    def __init__(self, cloud, tenant, host):
        number = HOSTS.index(host) + 1
        self.tenant, self.host, self.id = tenant, host, f"{tenant}-{host}"
        self.mac, self.ip, self.ip6 = f"fa:16:3e:00:00:0{number}", f"10.0.0.{number}", f"fd00::{number}"
        self.path = cloud.room.socket(self.id)
        self.machine = None

    def document(self, **changes):
        return {"type": "port", "id": self.id, "network_id": self.tenant, "mac_address": self.mac, "host": self.host,
                "fixed_ips": [{"ip_address": self.ip}, {"ip_address": self.ip6}], "vif": {"path": str(self.path)},
                "port_security_enabled": False,
                **changes}

    def plug(self, room):
        self.machine = room.keeps(FrontEnd(self.path))
        self.machine.connect()

    def to(self, other, payload):
        return bytes(Ether(src=self.mac, dst=other.mac) / IP(src=self.ip, dst=other.ip) / UDP(sport=7, dport=9) / payload)

    def asks_for(self, address):
        return bytes(Ether(src=self.mac, dst=BROADCAST) / ARP(hwsrc=self.mac, psrc=self.ip, pdst=address))


class Cloud:
    """Three martletd, each in a namespace, and the wire between them, which a bridge of Linux is."""

    def __init__(self, room):
        self.room = room
        self.wire = room.keeps(Namespace("wire"))
        add_bridge(self.wire, "br0")
        self.daemons = {host: self._host(host) for host in HOSTS}
        self.guests = {(tenant, host): Guest(self, tenant, host) for tenant in TENANTS for host in HOSTS}

    def _host(self, name):
        space = self.room.keeps(Namespace(name))
        veth(space, "wire", self.wire, name, bridge="br0")
        directory = self.room.directory / name
        directory.mkdir()
        daemon = self.room.keeps(Daemon(directory, namespace=space, options=[
            *IDLE, "--host", name, "--vif-dir", str(self.room.directory)]))
        daemon.start()
        join_wire(daemon, address=f"{tunnel_address(name)}/24")
        return daemon

    def apply(self, documents, hosts=HOSTS, *words):
        for host in hosts:
            apply(self.daemons[host], documents, *words)

    def documents(self, **host):
        return ([{"type": "host", "id": name, "tunnel_address": tunnel_address(name), **host} for name in HOSTS]
                + [{"type": "network", "id": tenant, "network_type": "vxlan", "segmentation_id": key, "mtu": 1450}
                   for tenant, key in TENANTS.items()]
                + [guest.document() for guest in self.guests.values()])

    def populate(self, **host):
        self.apply(self.documents(**host))
        for guest in self.guests.values():
            guest.plug(self.room)
        for host, daemon in self.daemons.items():
            daemon.wait_for_link("tun-vxlan", *(f"vhu{guest.id}"[:14] for guest in self.guests.values() if guest.host == host))

    def tap(self, host):
        """What passes on a host's part of the wire."""
        return self.room.keeps(KernelPeer(self.wire, host))


def apply(daemon, documents, *words):
    text = "\n".join(json.dumps(document) for document in documents)
    return daemon.ctl("network", "apply", "--file", "-", *words, input=text).stdout


def inner(frames):
    """(key, frame) of what is VXLAN."""
    packets = [Ether(frame) for frame in frames]
    return [(packet[VXLAN].vni, packet[VXLAN].payload) for packet in packets if VXLAN in packet]


def test_tenants_reach_their_own_and_nobody_else(room):
    cloud = Cloud(room)
    cloud.populate()
    for sender in cloud.guests.values():
        for receiver in cloud.guests.values():
            if receiver.tenant != sender.tenant or receiver is sender:
                continue
            frame = sender.to(receiver, f"{sender.id} to {receiver.id}".encode())
            sender.machine.send(frame)
            receiver.machine.wait_for(frame)
    leaked = {guest.id: [Ether(frame).summary() for frame in guest.machine.received()] for guest in cloud.guests.values()}
    assert leaked == {guest.id: [] for guest in cloud.guests.values()}


def test_the_wire_carries_to_each_host_what_is_its_own(room):
    cloud = Cloud(room)
    cloud.populate()
    taps = {host: cloud.tap(host) for host in HOSTS}
    blue = {host: cloud.guests["blue", host] for host in HOSTS}
    frame = blue["h1"].to(blue["h2"], b"for the second")
    for other, content in (("h2", frame), ("h3", blue["h1"].to(blue["h3"], b"for the third"))):
        blue["h1"].machine.send(content)
        blue[other].machine.wait_for(content)
    # Of a broadcast each gets one.
    call = bytes(Ether(src=blue["h1"].mac, dst=BROADCAST) / IP(src=blue["h1"].ip, dst="255.255.255.255") / UDP() / b"all")
    blue["h1"].machine.send(call)
    for host in ("h2", "h3"):
        blue[host].machine.wait_for(call)
    sent = {host: inner(taps[host].received()) for host in HOSTS}
    assert [key for key, _ in sent["h1"]] == [102] * 4
    assert [bytes(packet) for _, packet in sent["h1"]].count(frame) == 1
    assert sent["h2"] == sent["h3"] == []


def test_the_first_packet_is_a_broadcast_and_reaches_every_host(room):
    """Copies of a flood do not wait for neighbors: the hosts of documents are asked for before."""
    cloud = Cloud(room)
    cloud.populate()
    first = cloud.guests["red", "h2"]
    neighbors = {tunnel_address(host) for host in HOSTS if host != first.host}

    def known():
        entries = cloud.daemons[first.host].json("neighbor", "list")["neighbors"]
        return {entry["address"] for entry in entries if "mac" in entry and "idle" not in entry}
    eventually(lambda: known() == neighbors, 20, "the stations of the other hosts")
    call = bytes(Ether(src=first.mac, dst=BROADCAST) / IP(src=first.ip, dst="255.255.255.255") / UDP() / b"first")
    first.machine.send(call)
    for host in ("h1", "h3"):
        assert cloud.guests["red", host].machine.wait_for(call) == []
    assert "neighbor_unknown" not in cloud.daemons[first.host].drops("tun-vxlan")


def test_fragments_pass_the_security_groups_of_both_ends_as_their_datagram(room):
    cloud = Cloud(room)
    cloud.populate()
    rules = [{"direction": "egress", "ethertype": "IPv4"},
             {"direction": "ingress", "ethertype": "IPv4", "protocol": "udp"}]
    cloud.apply([{"type": "security_group", "id": "open", "rules": rules}]
                + [guest.document(port_security_enabled=True, security_groups=["open"]) for guest in cloud.guests.values()])
    asker, other = cloud.guests["blue", "h1"], cloud.guests["blue", "h2"]
    # The way there is known then, and nothing has to wait for that.
    asker.machine.send(first := asker.to(other, b"first"))
    other.machine.wait_for(first)
    allowed = fragments(asker, other, 1, UDP(sport=7, dport=9))
    refused = fragments(asker, other, 2, ICMP())
    spoilt = fragments(asker, other, 3, UDP(sport=7, dport=9, chksum=1))
    # Its last fragments overwrite the end of those before them.
    crafted = fragments(asker, other, 4, UDP(sport=7, dport=9), overlap=8)
    for frame in refused + spoilt + crafted + allowed:
        asker.machine.send(frame)
    assert other.machine.wait_for(allowed[-1]) == allowed[:-1]
    answers = fragments(other, asker, 1, UDP(sport=9, dport=7))
    for frame in reversed(answers):
        other.machine.send(frame)
    assert asker.machine.wait_for(answers[-1]) == answers[:-1]
    # Of rules with ports flows cannot tell whether they allow fragments, which end no conversation.
    rules[1] |= {"port_range_min": 9, "port_range_max": 9}
    cloud.apply([{"type": "security_group", "id": "open", "rules": rules}])
    for frame in [first, *allowed, last := asker.to(other, b"last")]:
        asker.machine.send(frame)
    assert other.machine.wait_for(last) == [first]


def fragments(sender, receiver, number, header, overlap=0):
    """A datagram in three fragments, of which the later ones may begin some octets too early."""
    packet = IP(src=sender.ip, dst=receiver.ip) / header / bytes(3000)
    data, size = bytes(IP(bytes(packet)).payload), 1376
    starts = [0] + [place - overlap for place in (size, 2 * size)]
    return [bytes(Ether(src=sender.mac, dst=receiver.mac)
                  / IP(src=sender.ip, dst=receiver.ip, id=number, proto=IP(bytes(packet)).proto, frag=start // 8,
                       flags="MF" if start + size < len(data) else 0) / data[start:start + size]) for start in starts]


def test_requests_for_known_addresses_never_leave_the_host(room):
    cloud = Cloud(room)
    cloud.populate()
    tap = cloud.tap("h1")
    asker, known = cloud.guests["blue", "h1"], cloud.guests["blue", "h3"]
    asker.machine.send(asker.asks_for(known.ip))
    reply = Ether(src=known.mac, dst=asker.mac) / ARP(op=2, hwsrc=known.mac, psrc=known.ip, hwdst=asker.mac, pdst=asker.ip)
    asker.machine.wait_for(bytes(reply))
    group = f"ff02::1:ff00:{HOSTS.index('h3') + 1}"
    solicitation = (Ether(src=asker.mac, dst=f"33:33:ff:00:00:0{HOSTS.index('h3') + 1}")
                    / IPv6(src=asker.ip6, dst=group, hlim=255) / ICMPv6ND_NS(tgt=known.ip6)
                    / ICMPv6NDOptSrcLLAddr(lladdr=asker.mac))
    asker.machine.send(bytes(solicitation))
    advertisement = (Ether(src=known.mac, dst=asker.mac) / IPv6(src=known.ip6, dst=asker.ip6, hlim=255)
                     / ICMPv6ND_NA(tgt=known.ip6, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=known.mac))
    asker.machine.wait_for(bytes(advertisement))
    # A probe (RFC 5227) learns that the address is taken.
    asker.machine.send(bytes(Ether(src=asker.mac, dst=BROADCAST) / ARP(hwsrc=asker.mac, psrc="0.0.0.0", pdst=known.ip)))
    answer = Ether(src=known.mac, dst=asker.mac) / ARP(op=2, hwsrc=known.mac, psrc=known.ip, hwdst=asker.mac, pdst="0.0.0.0")
    asker.machine.wait_for(bytes(answer))
    # Nor is anybody elsewhere asked for an address that is here.
    asker.machine.send(bytes(Ether(src=asker.mac, dst=BROADCAST) / ARP(hwsrc=asker.mac, psrc="10.0.0.98", pdst=asker.ip)))
    seen = []

    def stranger_is_asked_for():
        seen.extend(packet for _, packet in inner(tap.received()))
        return any(ARP in packet and packet[ARP].pdst == "10.0.0.99" for packet in seen)
    asker.machine.send(asker.asks_for("10.0.0.99"))
    eventually(stranger_is_asked_for, 10, "a request for an address that nobody knows, on the wire")
    assert [packet[ARP].pdst for packet in seen] == ["10.0.0.99"] * len(seen), [packet.summary() for packet in seen]


def test_announcements_reach_everybody_and_are_not_answered(room):
    cloud = Cloud(room)
    cloud.populate()
    one, other = cloud.guests["blue", "h1"], cloud.guests["blue", "h2"]
    announcement = bytes(Ether(src=one.mac, dst=BROADCAST) / ARP(hwsrc=one.mac, psrc=one.ip, pdst=one.ip))

    def reaches(guest):
        # The copies of a flood do not wait for neighbors.
        one.machine.send(announcement)
        return announcement in guest.machine.received()
    for guest in (other, cloud.guests["blue", "h3"]):
        eventually(lambda: reaches(guest), 10, "an announcement", interval=0.2)
    assert one.machine.received() == []


def test_unknown_addresses_go_nowhere_when_the_policy_is_drop(room):
    cloud = Cloud(room)
    cloud.populate(unknown_addresses="drop")
    tap = cloud.tap("h1")
    asker, other = cloud.guests["blue", "h1"], cloud.guests["blue", "h2"]
    asker.machine.send(asker.asks_for("10.0.0.99"))
    asker.machine.send(bytes(Ether(src=asker.mac, dst="fa:16:3e:00:00:99") / IP(src=asker.ip, dst="10.0.0.99") / ICMP()))
    frame = asker.to(other, b"behind them")
    asker.machine.send(frame)
    other.machine.wait_for(frame)
    assert [bytes(packet) for _, packet in inner(tap.received())] == [frame]


def test_a_station_that_moves_is_followed_at_once(room):
    cloud = Cloud(room)
    cloud.populate()
    sender, moving = cloud.guests["blue", "h1"], cloud.guests["blue", "h2"]
    frame = sender.to(moving, b"before")
    sender.machine.send(frame)
    moving.machine.wait_for(frame)
    moving.machine.channel.drop()
    moving.host = "h3"
    moving.path = room.socket("moved")
    cloud.apply([moving.document()])
    moving.plug(room)
    cloud.daemons["h3"].wait_for_link(f"vhu{moving.id}"[:14])
    taps = {host: cloud.tap(host) for host in HOSTS}
    frame = sender.to(moving, b"after")
    sender.machine.send(frame)
    moving.machine.wait_for(frame)
    assert inner(taps["h2"].received()) == []
    tunnels = {tunnel["host"]: tunnel["fdb_entries"]
               for tunnel in cloud.daemons["h1"].json("tunnels")["tunnels"] if tunnel["type"] == "vxlan"}
    assert tunnels == {"h2": 1, "h3": 3}


def test_without_l2population_hosts_learn_where_stations_are(room):
    cloud = Cloud(room)
    cloud.populate(l2_population=False)
    one, other = cloud.guests["blue", "h1"], cloud.guests["blue", "h2"]
    frame = one.to(other, b"to whoever it may be")

    def arrives():
        # A packet waits for the neighbors of its tunnels a little while only.
        one.machine.send(frame)
        return frame in other.machine.received()
    eventually(arrives, 10, "a flooded frame", interval=0.2)
    back = other.to(one, b"to whom I know")

    def learned():
        return cloud.daemons["h2"].json("flow", "dump", "br-tun", "table=20,dl_dst=" + one.mac)["flows"]
    eventually(learned, 10, "a learned flow")
    flooded = cloud.daemons["h3"].counters("tun-vxlan")["rx_packets"]
    tap = cloud.tap("h3")
    other.machine.send(back)
    one.machine.wait_for(back)
    assert inner(tap.received()) == []
    assert cloud.daemons["h3"].counters("tun-vxlan")["rx_packets"] == flooded


@pytest.fixture
def host(room):
    daemon = room.daemon(options=["--host", "h1", "--vif-dir", str(room.directory)])
    for bridge in ("br-phys", "br-eth1"):
        daemon.add_bridge(bridge)
    return daemon


def test_doctor_notices_that_neutron_has_another_name_for_this_host(host):
    def finding():
        return next(one for one in host.json("doctor")["findings"] if one["check"] == "documents")
    assert finding()["ok"]
    apply(host, [{"type": "host", "id": "h1.example", "tunnel_address": "192.0.2.1"}])
    wrong = finding()
    assert not wrong["ok"] and "--host" in wrong["message"]
    apply(host, [{"type": "host", "id": "h1"}])
    assert finding()["ok"]


def test_vlan_and_flat_networks_leave_by_their_bridge(room, host):
    ports = {}
    for name, bridge in (("nic", "br-eth1"), ("nic2", "br-phys")):
        ports[name] = room.socket(name)
        host.add_port(name, "vhost-user", bridge=bridge, path=ports[name])
    guests = {name: room.socket(name) for name in ("v", "f")}
    apply(host, [
        {"type": "host", "id": "h1", "bridge_mappings": {"physnet1": "br-eth1", "physnet2": "br-phys"}},
        {"type": "network", "id": "v", "network_type": "vlan", "physical_network": "physnet1", "segmentation_id": 1024},
        {"type": "network", "id": "f", "network_type": "flat", "physical_network": "physnet2"},
        *({"type": "port", "id": name, "network_id": name, "mac_address": f"fa:16:3e:00:00:0{number}", "host": "h1",
           "vif": {"path": str(path)}, "port_security_enabled": False} for number, (name, path) in enumerate(guests.items(), 1))])
    machines = {name: room.keeps(FrontEnd(path)).connect() for name, path in {**ports, **guests}.items()}
    host.wait_for_link("nic", "nic2", "vhuv", "vhuf")
    for name, nic, tag in (("v", "nic", 1024), ("f", "nic2", None)):
        number = 1 if name == "v" else 2
        packet = IP(src="10.0.0.1", dst="10.0.0.255") / UDP() / (name.encode() * 30)
        plain = bytes(Ether(src=f"fa:16:3e:00:00:0{number}", dst=BROADCAST) / packet)
        wired = bytes(Ether(src=f"fa:16:3e:00:00:0{number}", dst=BROADCAST) / Dot1Q(vlan=tag) / packet) if tag else plain
        machines[name].send(plain)
        machines[nic].wait_for(wired)
        back = bytes(Ether(src="fa:16:3e:00:00:77", dst=BROADCAST) / packet)
        tagged = bytes(Ether(src="fa:16:3e:00:00:77", dst=BROADCAST) / Dot1Q(vlan=tag) / packet) if tag else back
        machines[nic].send(tagged)
        machines[name].wait_for(back)
    # Another VLAN of the wire is no network's here.
    machines["nic"].send(bytes(Ether(src="fa:16:3e:00:00:78", dst=BROADCAST) / Dot1Q(vlan=7) / packet))
    machines["nic"].wait_until_taken()
    assert machines["v"].received() == machines["f"].received() == []


def test_the_command_line_tells_what_documents_say(host):
    documents = [
        {"type": "host", "id": "h1", "tunnel_address": "192.0.2.1"}, {"type": "host", "id": "h2", "tunnel_address": "192.0.2.2"},
        {"type": "network", "id": "b1", "name": "blue", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450},
        {"type": "port", "id": "here", "network_id": "b1", "mac_address": "fa:16:3e:00:00:01", "host": "h1"},
        {"type": "port", "id": "there", "network_id": "b1", "mac_address": "fa:16:3e:00:00:02", "host": "h2",
         "fixed_ips": [{"ip_address": "10.0.0.2"}]}]
    assert apply(host, documents) == "5 changed, 0 removed, 0 as they were\n"
    assert apply(host, documents) == "0 changed, 0 removed, 5 as they were\n"
    network, = host.json("network", "list")["networks"]
    assert network == {"id": "b1", "name": "blue", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450,
                       "local_vlan": 1, "ports": 2, "hosts": ["h1", "h2"]}
    assert host.json("network", "show", "blue")["flooding_entries"] == ["192.0.2.2"]
    shown = host.ctl("network", "show", "b1").stdout
    assert "there" in shown and "10.0.0.2" in shown
    assert "192.0.2.2" in host.ctl("tunnels").stdout
    done = host.ctl("network", "apply", "--file", "-", check=False, input='\n{"type": "port", "id": "x"}\n')
    assert (done.returncode, done.stderr) == (1, "-:2:1: port 'x': key 'network_id' is missing\n")
    assert apply(host, documents[:3], "--snapshot") == "0 changed, 2 removed, 3 as they were\n"
    assert host.json("network", "list")["networks"][0]["ports"] == 0


def test_documents_outlive_the_daemon(room):
    cloud = Cloud(room)
    cloud.populate()
    flows = cloud.daemons["h1"].ctl("flow", "dump", "br-tun", "--no-stats", "--names").stdout
    for daemon in (cloud.daemons["h1"],):
        daemon.kill()
        daemon.start()
    assert cloud.daemons["h1"].ctl("flow", "dump", "br-tun", "--no-stats", "--names").stdout == flows
