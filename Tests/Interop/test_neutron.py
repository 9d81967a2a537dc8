"""A real neutron-server with ML2 and the martlet driver, and martletds in namespaces as its hosts."""

import contextlib
import random
import re
import threading
import time

import pytest

from cloud import Cloud, agrees, settled
from frames import BROADCAST
from neutron_server import Problem
from processes import eventually
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from vhost_user import FrontEnd

PHYSICAL = {"provider:physical_network": "physnet1"}


@pytest.fixture(scope="module")
def cloud(module_room):
    """One for all tests: each has networks of its own."""
    return Cloud(module_room, hosts=["cmp1", "cmp2"], resync_after=5, lease_time=3, host_down_time=12, max_backoff=2).start()


@pytest.fixture
def network(cloud):
    made = []

    def make(kind, cidr="10.1.0.0/16", **values):
        made.append(cloud.neutron.network(kind, f"net{len(made)}", cidr, **(PHYSICAL if kind == "vlan" else {}), **values))
        return made[-1]
    yield make
    for one in made:
        for port in cloud.neutron.get(f"ports?network_id={one['id']}"):
            cloud.neutron.delete("port", port["id"])
        cloud.neutron.delete("network", one["id"])
    settled(cloud)


class Station:
    """A guest behind a port of Neutron, as far as vhost-user goes."""

    def __init__(self, room, port):
        self.port = port
        self.mac, self.ip = port["mac_address"], port["fixed_ips"][0]["ip_address"]
        self.machine = room.keeps(FrontEnd(port["binding:vif_details"]["vhostuser_socket"]))
        self.machine.connect()

    def to(self, other, payload=b"hello"):
        return bytes(Ether(src=self.mac, dst=other.mac) / IP(src=self.ip, dst=other.ip) / UDP(sport=7, dport=9) / payload)

    def reaches(self, other, payload=b"hello"):
        frame = self.to(other, payload)
        self.machine.send(frame)
        other.machine.wait_for(frame)

    def calls(self):
        """A broadcast for all that it shares a network with."""
        return bytes(Ether(src=self.mac, dst=BROADCAST) / ARP(hwsrc=self.mac, psrc=self.ip, pdst="10.1.255.254"))


class Traffic:
    """One frame after the other from a station to another, from now until `lost` is asked for."""

    def __init__(self, room, sender, receiver):
        self._sender, self._receiver = sender, receiver
        room.owns(self._stop)
        self.sent, self._lost = 0, []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.is_set():
            frame = self._sender.to(self._receiver, f"number {self.sent}".encode())
            self._sender.machine.send(frame)
            self.sent += 1
            try:
                self._receiver.machine.wait_for(frame, limit=1)
            except AssertionError as error:
                self._lost.append(f"{self.sent}: {error}")

    def lost(self):
        """Frames that did not arrive, or not alone, when at least a hundred more have been sent."""
        goal = self.sent + 100
        eventually(lambda: self.sent >= goal, 60, "traffic")
        self._stop()
        return self._lost

    def _stop(self):
        self._end.set()
        self._thread.join(10)


def flows(cloud, host, bridge="br-tun"):
    """Flows without what counts."""
    return set(cloud.hosts[host].daemon.ctl("flow", "dump", bridge, "--no-stats").stdout.splitlines())


# MARK: What is bound and forwarded

@pytest.mark.parametrize("kind", ["vxlan", "gre", "geneve", "vlan", "local"])
def test_ports_are_active_and_reach_each_other(room, cloud, network, kind):
    one = network(kind)
    hosts = ["cmp1", "cmp1"] if kind == "local" else ["cmp1", "cmp2"]
    ports = [cloud.neutron.port(one, host) for host in hosts]
    for port in ports:
        assert port["binding:vif_type"] == "vhostuser"
        details = port["binding:vif_details"]
        assert details["vhostuser_mode"] == "server" and details["vhostuser_ovs_plug"] is False
        assert details["vhostuser_socket"].endswith(f"/vhu{port['id'][:11]}")
        assert port["status"] == "DOWN"
    stations = [Station(room, port) for port in ports]
    cloud.neutron.wait_until_active(*ports)
    stations[0].reaches(stations[1])
    stations[1].reaches(stations[0])


def test_networks_do_not_hear_each_other(room, cloud, network):
    """The same addresses on two networks."""
    stations = {}
    for kind in ("vxlan", "vlan"):
        one = network(kind)
        for number, host in enumerate(("cmp1", "cmp2"), start=1):
            port = cloud.neutron.port(one, host, mac_address=f"fa:16:3e:00:00:0{number}", fixed_ips=[{"ip_address": f"10.1.0.{number}"}])
            stations[kind, host] = Station(room, port)
    cloud.neutron.wait_until_active(*(station.port for station in stations.values()))
    for kind in ("vxlan", "vlan"):
        call = stations[kind, "cmp1"].calls()
        stations[kind, "cmp1"].machine.send(call)
        assert stations[kind, "cmp2"].machine.wait_for(call) == []
        stations[kind, "cmp1"].reaches(stations[kind, "cmp2"], kind.encode())
    for station in stations.values():
        assert station.machine.received() == []


def test_what_a_host_cannot_carry_is_not_bound(cloud, network):
    one = network("flat", **{"provider:physical_network": "physnet9"})
    port = cloud.neutron.port(one, "cmp1")
    assert port["binding:vif_type"] == "binding_failed"
    assert cloud.neutron.port(network("vxlan"), "nowhere")["binding:vif_type"] == "binding_failed"


def test_status_follows_the_guest(room, cloud, network):
    port = cloud.neutron.port(network("vxlan"), "cmp1")
    station = Station(room, port)
    cloud.neutron.wait_until_active(port)
    station.machine.close()
    eventually(lambda: cloud.neutron.get(f"ports/{port['id']}")["status"] == "DOWN", 20, "the port to be DOWN")
    again = room.keeps(FrontEnd(port["binding:vif_details"]["vhostuser_socket"]))
    again.connect()
    cloud.neutron.wait_until_active(port)


def test_a_port_moves_host_and_goes(room, cloud, network):
    one = network("gre")
    still, moving = cloud.neutron.port(one, "cmp1"), cloud.neutron.port(one, "cmp2")
    stations = [Station(room, still), Station(room, moving)]
    cloud.neutron.wait_until_active(still, moving)
    stations[0].reaches(stations[1])
    stations[1].machine.close()
    moved = cloud.neutron.update("port", moving["id"], **{"binding:host_id": "cmp1"})
    here = Station(room, moved)
    cloud.neutron.wait_until_active(moved)
    stations[0].reaches(here)
    settled(cloud)
    agrees(cloud)
    # The last of the network on that host.
    assert cloud.hosts["cmp2"].daemon.json("network", "list")["networks"] == []
    cloud.neutron.delete("port", moving["id"])
    settled(cloud)
    assert moving["mac_address"] not in "".join(flows(cloud, "cmp1"))


def test_changes_of_addresses_and_of_the_administrator_arrive(room, cloud, network):
    one = network("vxlan")
    ports = [cloud.neutron.port(one, host) for host in ("cmp1", "cmp2")]
    stations = [Station(room, port) for port in ports]
    cloud.neutron.wait_until_active(*ports)
    cloud.neutron.update("port", ports[1]["id"], fixed_ips=[{"ip_address": "10.1.9.9"}])
    settled(cloud)
    assert "arp_tpa=10.1.9.9" in "".join(flows(cloud, "cmp1"))
    cloud.neutron.update("port", ports[1]["id"], admin_state_up=False)
    settled(cloud)
    assert stations[1].mac not in "".join(flows(cloud, "cmp1"))
    cloud.neutron.update("port", ports[1]["id"], admin_state_up=True)
    stations[1].machine.close()
    again = Station(room, ports[1])
    cloud.neutron.wait_until_active(*ports)
    stations[0].reaches(again)


def test_what_is_not_carried_out_yet_is_kept_at_the_hosts(cloud, network):
    """Groups, rules and address pairs arrive as documents."""
    group = cloud.neutron.create("security_group", name="web")
    port = cloud.neutron.port(network("vxlan"), "cmp1", security_groups=[group["id"]],
                              allowed_address_pairs=[{"ip_address": "10.1.7.0/24"}])
    rule = cloud.neutron.create("security_group_rule", security_group_id=group["id"], direction="ingress", ethertype="IPv4",
                                protocol="tcp", port_range_min=22, port_range_max=22)
    settled(cloud)
    client = cloud.hosts["cmp1"].client()

    def digest():
        return client.get("/v1/digest?type=security_group").done()["documents"][f"security_group/{group['id']}"]
    before = digest()
    cloud.neutron.delete("security_group_rule", rule["id"])
    settled(cloud)
    assert digest() != before
    cloud.neutron.delete("port", port["id"])
    cloud.neutron.delete("security_group", group["id"])


def test_hosts_are_agents_of_neutron(cloud):
    agents = {agent["host"]: agent for agent in cloud.neutron.get("agents")}
    assert set(agents) == {"cmp1", "cmp2"}
    for agent in agents.values():
        assert agent["alive"] and agent["agent_type"] == "Martlet vSwitch" and agent["binary"] == "martletd"


def test_hosts_come_and_go_with_the_configuration(cloud, network):
    neutron, one = cloud.neutron, network("vxlan")
    urls = {host.name: host.url for host in cloud.hosts.values()}

    def known():
        return set(neutron.database.run("SELECT host FROM neutron.martlet_hosts").split())
    neutron.tell_of({"cmp1": urls["cmp1"]})
    eventually(lambda: known() == {"cmp1"}, 20, "cmp2 to be forgotten", interval=0.1)
    assert neutron.port(one, "cmp2")["binding:vif_type"] == "binding_failed"
    neutron.tell_of(urls)
    eventually(cloud.hosts_answer, 30, "cmp2 to be known again", interval=0.1)
    assert neutron.port(one, "cmp2")["binding:vif_type"] == "vhostuser"
    settled(cloud)
    agrees(cloud)


def test_a_live_migration_has_the_guest_on_both_hosts(room, cloud, network):
    one = network("vxlan")
    still, moving = cloud.neutron.port(one, "cmp1"), cloud.neutron.port(one, "cmp1")
    stations = [Station(room, still), Station(room, moving)]
    cloud.neutron.wait_until_active(still, moving)
    traffic = Traffic(room, stations[0], stations[1])
    binding = cloud.neutron.post(f"ports/{moving['id']}/bindings", {"binding": {"host": "cmp2"}})["binding"]
    assert binding["vif_type"] == "vhostuser" and binding["status"] == "INACTIVE"
    there = room.keeps(FrontEnd(binding["vif_details"]["vhostuser_socket"]))
    # QEMU of the destination waits until its switch is connected.
    there.connect()
    assert traffic.lost() == []
    stations[1].machine.close()
    cloud.neutron.put(f"ports/{moving['id']}/bindings/cmp2/activate")
    settled(cloud)
    cloud.neutron.wait_until_active(moving)
    frame = stations[0].to(stations[1], b"after the migration")
    stations[0].machine.send(frame)
    there.wait_for(frame)
    cloud.neutron.remove(f"ports/{moving['id']}/bindings/cmp1")
    settled(cloud)
    agrees(cloud)


def refusals(cloud):
    """What cmp1 refuses, as Neutron's users see it."""
    agent, = cloud.neutron.get("agents?host=cmp1")
    return agent["configurations"]["refused"]


# MARK: Faults

def test_a_restarted_neutron_rewrites_nothing(room, cloud, network):
    one = network("vxlan")
    ports = [cloud.neutron.port(one, host) for host in ("cmp1", "cmp2")]
    stations = [Station(room, port) for port in ports]
    cloud.neutron.wait_until_active(*ports)
    settled(cloud)
    traffic = Traffic(room, *stations)

    def ages():
        dump = cloud.hosts["cmp1"].daemon.ctl("flow", "dump", "br-tun").stdout
        return min(float(age) for age in re.findall(r"duration=([\d.]+)s", dump))
    before, start = ages(), time.monotonic()
    cloud.neutron.kill_server()
    cloud.neutron.kill_workers()
    cloud.neutron.start_server()
    cloud.neutron.start_workers()
    eventually(lambda: cloud.hosts_answer(), 20, "the hosts to be asked again")
    late = cloud.neutron.port(network("gre"), "cmp2")
    Station(room, late)
    cloud.neutron.wait_until_active(late)
    assert traffic.lost() == []
    # The youngest flow of cmp1, which the restart does not concern, has grown older all the while.
    assert ages() >= before + (time.monotonic() - start) - 1


def test_workers_killed_between_commit_and_push_leave_nothing_undone(cloud, network):
    one = network("vxlan")
    cloud.neutron.kill_workers()
    ports = [cloud.neutron.port(one, "cmp1") for _ in range(5)]
    cloud.neutron.delete("port", ports[0]["id"])
    cloud.neutron.start_workers()
    for _ in range(3):
        ports.append(cloud.neutron.port(one, "cmp2"))
        cloud.neutron.kill_workers()
        cloud.neutron.start_workers()
    settled(cloud)
    agrees(cloud)


# A statement of Neutron's is the victim of a deadlock as many times as the table says. It is not of InnoDB, so that what is
# undone in Neutron's transaction does not count up again.
DEADLOCKS = """
    CREATE TABLE neutron.deadlocks (remaining INT) ENGINE=MyISAM;
    INSERT INTO neutron.deadlocks VALUES ({count});
    DELIMITER //
    CREATE TRIGGER neutron.deadlock BEFORE INSERT ON neutron.{table} FOR EACH ROW
        IF (SELECT remaining FROM neutron.deadlocks) > 0 THEN
            UPDATE neutron.deadlocks SET remaining = remaining - 1;
            SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock found when trying to get lock';
        END IF//"""


@contextlib.contextmanager
def deadlocks(database, table, count):
    """The next inserts into a table fail so, all of them before this ends."""
    database.run(DEADLOCKS.format(table=table, count=count))
    try:
        yield
        eventually(lambda: database.run("SELECT remaining FROM neutron.deadlocks").strip() == "0", 30, "the deadlocks")
    finally:
        database.run("DROP TRIGGER neutron.deadlock; DROP TABLE neutron.deadlocks")


def test_deadlocks_of_the_database_lose_nothing_and_double_nothing(cloud, network):
    one, database = network("vxlan"), cloud.neutron.database
    there = cloud.neutron.port(one, "cmp2")
    settled(cloud)

    def journaled(port):
        return database.run(f"SELECT type FROM neutron.martlet_journal WHERE id = '{port['id']}'").split()
    cloud.neutron.kill_workers()
    with deadlocks(database, "martlet_journal", 2):
        port = cloud.neutron.port(one, "cmp1")
    assert journaled(port) == ["port"]
    with deadlocks(database, "martlet_journal", 2):
        cloud.neutron.delete("port", there["id"])
    assert journaled(there) == ["port"]
    with deadlocks(database, "martlet_pending", 2):
        cloud.neutron.start_workers()
    settled(cloud)
    agrees(cloud)


def test_two_sets_of_workers_tell_each_host_once(cloud, network):
    neutron = cloud.neutron
    second = neutron.more_workers("second")
    try:
        one = network("vxlan")
        for number in range(20):
            port = neutron.port(one, random.Random(number).choice(["cmp1", "cmp2"]))
            if number % 4 == 0:
                neutron.delete("port", port["id"])
        settled(cloud)
        agrees(cloud)
    finally:
        second.kill()


def test_a_daemon_killed_amid_changes_has_them_all(room, cloud, network):
    one = network("vxlan")
    host = cloud.hosts["cmp1"]
    for number in range(6):
        ports = [cloud.neutron.port(one, name) for name in ("cmp1", "cmp2")]
        if number % 2 == 0:
            host.daemon.kill()
            host.daemon.start()
    settled(cloud)
    agrees(cloud)
    stations = [Station(room, port) for port in ports]
    cloud.neutron.wait_until_active(*ports)
    stations[1].reaches(stations[0])


def test_an_unreachable_host_delays_nobody_and_is_brought_up_to_date(room, cloud, network, long_run):
    """Changes while a host is away, longer than they are queued for it; with --long for a minute, and a thousand."""
    one, other = network("vxlan"), network("gre", "10.2.0.0/16")
    ports = [cloud.neutron.port(*place) for place in ((one, "cmp1"), (one, "cmp2"), (other, "cmp2"), (other, "cmp1"))]
    stations = [Station(room, port) for port in ports]
    cloud.neutron.wait_until_active(*ports)
    settled(cloud)
    # Between the hosts, both ways: only the driver does not reach cmp1. Nobody speaks to two: receivers are silent, and what is
    # for them is flooded.
    traffic = [Traffic(room, *stations[:2]), Traffic(room, *stations[2:])]
    cloud.control.ip("link", "set", "dev", "cmp1", "down")
    try:
        change(cloud, one, *(60, 1000) if long_run else (10, 30))
        # The other one is told meanwhile, of all of them.
        late = Station(room, cloud.neutron.port(one, "cmp2"))
        cloud.neutron.wait_until_active(late.port)
        eventually(lambda: same(cloud, "cmp2"), 10, "the other host to hold what Neutron has", interval=0.5)
        eventually(lambda: not cloud.alive(), 30, "Neutron to count cmp1 as down")
        assert cloud.neutron.port(one, "cmp1")["binding:vif_type"] == "binding_failed"
    finally:
        cloud.control.ip("link", "set", "dev", "cmp1", "up")
    eventually(cloud.alive, 60, "cmp1 to be back", interval=0.2)
    settled(cloud)
    eventually(lambda: same(cloud), 60, "both hosts to hold what Neutron has", interval=0.5)
    assert [one.lost() for one in traffic] == [[], []]
    stations[0].reaches(late)


def change(cloud, network, seconds, count):
    """Ports that come, and a third of them go: for so long, and so many changes, at least."""
    end, made = time.monotonic() + seconds, 0
    while time.monotonic() < end or made < count:
        ports = [cloud.neutron.port(network, "cmp2") for _ in range(3)]
        cloud.neutron.delete("port", ports[0]["id"])
        made += 4


def same(cloud, *hosts):
    with contextlib.suppress(AssertionError):
        agrees(cloud, *hosts)
        return True
    return False


def test_a_refused_document_delays_no_other_and_says_why(room, cloud, network):
    """The bridge of a physical network is gone: an operator's mistake, which the host says when it is to use it."""
    one, other = network("vlan"), network("vxlan")
    daemon = cloud.hosts["cmp1"].daemon
    first = cloud.neutron.port(other, "cmp1")
    settled(cloud)
    # The name that a port of Neutron's has on the switch is taken.
    port = cloud.neutron.create("port", network_id=one["id"], device_owner="compute:nova")
    name = f"vhu{port['id'][:11]}"
    daemon.add_port(name, "dpdk", bridge="br-phys", devargs="net_null7")
    cloud.neutron.update("port", port["id"], **{"binding:host_id": "cmp1"})
    assert name in eventually(lambda: refusals(cloud), 20, "the refusal to be seen")[0]
    second = cloud.neutron.port(other, "cmp1")
    stations = [Station(room, first), Station(room, second)]
    cloud.neutron.wait_until_active(first, second)
    stations[0].reaches(stations[1])
    daemon.ctl("port", "del", name)
    settled(cloud)
    eventually(lambda: not refusals(cloud), 20, "the refusal to be forgotten")
    Station(room, cloud.neutron.get(f"ports/{port['id']}"))
    cloud.neutron.wait_until_active(port)


def test_what_neutron_takes_and_a_switch_must_not_is_refused_by_the_host(cloud, network):
    """Neutron lets a port have a multicast address."""
    one = network("vxlan")
    wrong = cloud.neutron.port(one, "cmp1", mac_address="01:00:5e:00:00:01")
    assert "01:00:5e:00:00:01" in eventually(lambda: refusals(cloud), 20, "the refusal to be seen")[0]
    assert cloud.neutron.get(f"ports/{wrong['id']}")["status"] == "DOWN"
    cloud.neutron.delete("port", wrong["id"])
    settled(cloud)
    with pytest.raises(Problem):
        cloud.neutron.create("network", **{"provider:network_type": "vlan", "provider:segmentation_id": 4095, **PHYSICAL})
