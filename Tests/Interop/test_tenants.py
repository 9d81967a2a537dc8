"""Networks with the same addresses, MAC addresses and ports: connections of one are nothing to another."""

import pytest

from group_conversations import Talk
from secured import SecuredHost, Station, group, rule

NETWORKS = ("blue", "red")
SSH = group("ssh", rule("egress"), rule("ingress", "tcp", (22, 22)))
ONLY_OUT = group("only-out", rule("egress"))


def stations(network, group):
    """A guest and somebody else on a network, as there are on the others."""
    return (Station(f"{network}-a", "fa:16:3e:00:00:01", ("10.0.0.1", "fd00::1"), (group,), network),
            Station(f"{network}-b", "fa:16:3e:00:00:02", ("10.0.0.2", "fd00::2"), None, network))


class Tenants(SecuredHost):
    def __init__(self, room):
        super().__init__(room, networks=NETWORKS)
        self.put(SSH, ONLY_OUT)
        self.plug(*(station for network in NETWORKS for station in stations(network, "only-out")))

    def passes(self, packet):
        """Whether a packet arrives."""
        frame = packet.frame(1)
        self.send(packet.sender, [frame])
        return frame in self.arrived(packet.sender, packet.receiver)

    def zones(self):
        return sorted(connection["zone"] for connection in self.connections())


@pytest.fixture(scope="module")
def shared(module_room):
    return Tenants(module_room)


@pytest.fixture
def tenants(shared):
    shared.flush()
    for network in NETWORKS:
        shared.change(stations(network, "only-out")[0])
    return shared


def talk(network, ports=(40000, 80)):
    return Talk(*stations(network, "only-out"), ports=ports)


def opened(tenants, network):
    """A connection of TCP of the network's guest."""
    connection = talk(network)
    connection.handshake()
    assert all(tenants.passes(packet) for packet in connection.packets)
    return connection


def test_what_belongs_to_a_connection_belongs_to_none_elsewhere(tenants):
    opened(tenants, "blue")
    for network, passes in (("red", False), ("blue", True)):
        # Picked up on the other network it would be what no rule allows.
        assert tenants.passes(talk(network).tcp(1, "PA", 5001, 1001, b"answer")) == passes
    assert len(tenants.zones()) == 1


def test_the_same_connection_is_there_once_for_each_network(tenants):
    talks = [opened(tenants, network) for network in NETWORKS]
    assert len(set(tenants.zones())) == 2
    names = [{key: one[key] for key in ("original", "protocol")} for one in tenants.connections()]
    assert names[0] == names[1]
    # What closes one leaves the other as it is.
    assert tenants.passes(talks[0].tcp(0, "R", 1001))
    assert tenants.passes(talks[1].tcp(1, "PA", 5001, 1001, b"more"))
    states = {connection["zone"]: connection["state"] for connection in tenants.connections()}
    assert len(set(states.values())) == 2, states


def test_a_flush_of_one_zone_leaves_the_others(tenants):
    opened(tenants, "blue")
    blue, = tenants.zones()
    opened(tenants, "red")
    tenants.daemon.ctl("conntrack", "flush", "--zone", blue)
    red, = tenants.zones()
    assert red != blue
    assert not tenants.passes(talk("blue").tcp(1, "PA", 5001, 1001, b"late"))
    assert tenants.passes(talk("red").tcp(1, "PA", 5001, 1001, b"in time"))


def test_an_error_is_related_to_connections_of_its_own_network_alone(tenants):
    first = talk("blue").udp(0)
    assert tenants.passes(first)
    # The same packet, so the same quote.
    assert not tenants.passes(talk("red").error(1, first))
    assert tenants.passes(talk("blue").error(1, first))
    assert len(tenants.zones()) == 1


def test_a_rule_that_goes_ends_connections_of_its_own_ports_alone(tenants):
    for network in NETWORKS:
        tenants.change(stations(network, "ssh")[0])
        incoming = Talk(*reversed(stations(network, "ssh")), ports=(50000, 22))
        incoming.handshake()
        assert all(tenants.passes(packet) for packet in incoming.packets)
    tenants.change(stations("blue", "only-out")[0])
    for network, passes in (("blue", False), ("red", True)):
        more = Talk(*reversed(stations(network, "ssh")), ports=(50000, 22))
        assert tenants.passes(more.tcp(0, "PA", 1001, 5001, b"more")) == passes
        assert tenants.passes(more.tcp(1, "PA", 5001, 1001, b"answer")) == passes
