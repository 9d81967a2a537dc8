"""NAT between kernels: two clients behind one address, and a server behind another, each a Linux stack of its own."""

import socket

import pytest

from netns import Namespace, carries_tcp, pings, veth
from processes import eventually
from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

# The server knows nothing of the clients' addresses, only of the one that they share.
CLIENTS, SHARED, SERVER, VIRTUAL = ("10.88.1.1", "10.88.1.2"), "10.88.0.100", "10.88.0.2", "10.88.0.200"
ROUTER, MACS = "02:00:00:00:00:fe", ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03")


class Gateway:
    """The clients behind ports 1 and 2, the server behind port 3, and flows that route between them."""

    def __init__(self, room, ports=""):
        near = room.keeps(Namespace("near"))
        self.daemon = room.daemon(namespace=near)
        self.daemon.add_bridge()
        self.stacks = [room.keeps(Namespace(label)) for label in ("one", "two", "server")]
        for number, (stack, mac) in enumerate(zip(self.stacks, MACS)):
            veth(near, f"w{number}", stack, "eth0")
            stack.finish_checksums_in_software("eth0")
            stack.ip("link", "set", "dev", "eth0", "address", mac)
            self.daemon.add_port(f"w{number}", "dpdk", "--number", number + 1, devargs=f"net_af_packet{number},iface=w{number}")
            address = [*CLIENTS, SERVER][number]
            stack.ip("addr", "add", f"{address}/24", "dev", "eth0")
            # All others are behind the router.
            gateway = address.rsplit(".", 1)[0] + ".254"
            stack.ip("route", "add", "default", "via", gateway)
            for other in (gateway, SHARED, VIRTUAL):
                stack.ip("neigh", "replace", other, "lladdr", ROUTER, "dev", "eth0")
        self.clients, self.server = self.stacks[:2], self.stacks[2]
        flows = [f"table=0,priority=5,ip,in_port={port} actions=ct(commit,zone=1,nat(src={SHARED}{ports}),table=1)"
                 for port in (1, 2)]
        flows += [f"table=0,priority=6,ip,in_port=3,nw_dst={VIRTUAL} actions=ct(commit,zone=1,nat(dst={CLIENTS[0]}),table=1)",
                  "table=0,priority=5,ip,in_port=3 actions=ct(zone=1,nat,table=1)"]
        # What comes back goes to whom it was translated to.
        flows += [f"table=1,priority=1,ip,nw_dst={address} actions=mod_dl_src:{ROUTER},mod_dl_dst:{mac},output:{port}"
                  for port, (address, mac) in enumerate(zip([*CLIENTS, SERVER], MACS), 1)]
        for flow in flows:
            self.daemon.ctl("flow", "add", "br0", flow)
        self.daemon.wait_for_link("w0", "w1", "w2")
        eventually(lambda: pings(self.clients[0], SERVER, count=1), 10, "an answer to a ping")
        self.daemon.ctl("conntrack", "flush")

    def connections(self):
        return self.daemon.json("conntrack", "dump")


@pytest.fixture
def gateway(room):
    return Gateway(room)


def bound(stack, address, port, kind=socket.SOCK_DGRAM):
    with stack.entered():
        result = socket.socket(socket.AF_INET, kind)
    result.settimeout(10)
    result.bind((address, port))
    return result


def test_two_clients_with_one_port_share_an_address(gateway):
    with bound(gateway.server, SERVER, 53) as server, bound(gateway.clients[0], CLIENTS[0], 4000) as one, \
            bound(gateway.clients[1], CLIENTS[1], 4000) as other:
        seen = {}
        for name, client in ((b"one", one), (b"other", other)):
            client.sendto(name, (SERVER, 53))
            content, seen[name] = server.recvfrom(100)
            assert content == name
        assert {address for address, _ in seen.values()} == {SHARED}
        assert seen[b"one"] == (SHARED, 4000) and seen[b"other"][1] >= 1024 and seen[b"other"][1] != 4000
        for name, client in ((b"one", one), (b"other", other)):
            server.sendto(name[::-1], seen[name])
            assert client.recvfrom(100) == (name[::-1], (SERVER, 53))


@pytest.mark.parametrize("number", [0, 1])
def test_tcp_through_a_translated_source_carries_its_octets_unaltered(gateway, number):
    assert carries_tcp(gateway.clients[number], gateway.server, SERVER, megabytes=4)
    (connection,) = [entry for entry in gateway.connections() if entry["protocol"] == 6]
    assert (connection["original"]["source"], connection["reply"]["destination"]) == (CLIENTS[number], SHARED)


def test_tcp_to_a_translated_destination(gateway):
    with bound(gateway.clients[0], CLIENTS[0], 80, socket.SOCK_STREAM) as listener:
        listener.listen()
        with bound(gateway.server, SERVER, 0, socket.SOCK_STREAM) as stream:
            stream.connect((VIRTUAL, 80))
            accepted, peer = listener.accept()
            with accepted:
                accepted.settimeout(10)
                stream.sendall(b"question")
                assert accepted.recv(100) == b"question" and peer[0] == SERVER
                accepted.sendall(b"answer")
                assert stream.recv(100) == b"answer"


def test_queries_of_two_clients_with_one_identifier_are_told_apart(gateway):
    for number, client in enumerate(gateway.clients):
        with client.entered(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            raw.settimeout(10)
            raw.sendto(bytes(ICMP(id=77, seq=number) / b"question"), (SERVER, 0))
            answer = IP(raw.recv(1000))
        assert (answer.src, answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq) == (SERVER, 0, 77, number)
        assert answer[Raw].load == b"question"
    identifiers = {entry["reply"]["sourcePort"] for entry in gateway.connections() if entry["protocol"] == 1}
    assert len(identifiers) == 2 and 77 in identifiers


def test_an_error_reaches_the_socket_that_it_is_about(gateway):
    """Linux takes an error for a socket only if the packet in it is one that the socket has sent, checksum and all."""
    for client, address in zip(gateway.clients, CLIENTS):
        with bound(client, address, 4000) as sender:
            sender.connect((SERVER, 9))
            sender.send(b"to nobody")
            with pytest.raises(ConnectionRefusedError):
                sender.recv(100)


def test_what_finds_no_port_is_dropped_by_name(room):
    gateway = Gateway(room, ports=":5000-5001")
    with bound(gateway.server, SERVER, 53) as server:
        for port in range(4000, 4004):
            with bound(gateway.clients[0], CLIENTS[0], port) as client:
                client.sendto(b"x", (SERVER, 53))
        ports = {server.recvfrom(100)[1][1] for _ in range(2)}
        assert ports == {5000, 5001}
        server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.recvfrom(100)
        assert gateway.daemon.drops("w0").get("translation_exhausted") == 2
        # To another port the same ones are free.
        with bound(gateway.server, SERVER, 54) as another, bound(gateway.clients[0], CLIENTS[0], 4003) as client:
            client.sendto(b"x", (SERVER, 54))
            assert another.recvfrom(100)[1][1] in ports
