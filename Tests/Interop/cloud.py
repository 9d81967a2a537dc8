"""A cloud on this machine: a real Neutron, hosts that are each a martletd in a network namespace, and guests.

Run as a program it is the demonstration of deploy/cloud.sh.
"""

import sys
import time

from guest import Guest, forget_boot_files
from http_endpoint import Authority, Client
from martlet import Daemon
from netns import Namespace, add_bridge, veth
from neutron_server import Neutron
from processes import eventually
from room import Room
from underlay import join_wire

HOSTS = ["cmp1", "cmp2", "cmp3"]
CONTROLLER = "10.255.0.254"
# Of /24 networks for management and for tunnels.
MANAGEMENT, UNDERLAY = "10.255.0", "192.0.2"


class Host:
    """A compute host: its namespace, its martletd, and what Neutron is told of it by its configuration."""

    def __init__(self, cloud, name, number, memory):
        self.cloud, self.name, self.number = cloud, name, number
        self.space = cloud.room.keeps(Namespace(name))
        veth(self.space, "mgmt", cloud.control, name, bridge="mgmt")
        self.space.ip("addr", "add", f"{self.address}/24", "dev", "mgmt")
        veth(self.space, "wire", cloud.wire, name, bridge="br0")
        self.directory = cloud.room.directory / name
        self.vifs = self.directory / "vif"
        self.vifs.mkdir(parents=True)
        self.daemon = cloud.room.keeps(Daemon(self.directory, namespace=self.space, options=self._options(),
                                             socket_memory=memory))

    @property
    def address(self):
        return f"{MANAGEMENT}.{self.number}"

    @property
    def url(self):
        return f"https://{self.address}:8883"

    def _options(self):
        certificate, key = self.cloud.authority.issue(self.name, self.address)
        configuration = self.directory / "martletd.toml"
        configuration.write_text(f"""
host = "{self.name}"
idle-sleep = 50
vif-dir = "{self.vifs}"
endpoint = "{self.address}:8883"
endpoint-certificate = "{certificate}"
endpoint-key = "{key}"
endpoint-client-ca = "{self.cloud.authority.certificate}"
[host-document]
tunnel_address = "{UNDERLAY}.{self.number}"
bridge_mappings = {{ physnet1 = "br-phys" }}
""")
        return ["--config", configuration]

    def start(self):
        """The first start: its wire and where its tunnels end."""
        self.daemon.start()
        join_wire(self.daemon, address=f"{UNDERLAY}.{self.number}/24")

    def client(self):
        """A connection to its endpoint, as the driver makes them."""
        with self.cloud.control.entered():
            client = Client(8883, self.cloud.authority.context(self.cloud.identity), self.address)
            client.connection.connect()
        return self.cloud.room.keeps(client)


class Cloud:
    """`memory` is what a host's switch has for packets, in megabytes; `options` are the driver's."""

    def __init__(self, room, hosts=HOSTS, memory=256, **options):
        self.room = room
        self.control, self.wire = (room.keeps(Namespace(name)) for name in ("control", "wire"))
        for space, bridge in ((self.control, "mgmt"), (self.wire, "br0")):
            add_bridge(space, bridge)
        self.control.ip("addr", "add", f"{CONTROLLER}/24", "dev", "mgmt")
        self.authority = Authority(room.directory, "authority")
        self.identity = self.authority.issue("neutron")
        self.hosts = {name: Host(self, name, number, memory) for number, name in enumerate(hosts, start=1)}
        self.neutron = room.keeps(Neutron(room.directory, self.control, {host.name: host.url for host in self.hosts.values()},
                                          tls=(self.authority.certificate, *self.identity), options=options))

    def start(self):
        for host in self.hosts.values():
            host.start()
        self.neutron.start()
        eventually(self.alive, 60, "the driver to know its hosts", interval=0.2)
        return self

    def alive(self):
        """Whether Neutron counts all hosts as alive."""
        agents = {agent["host"]: agent["alive"] for agent in self.neutron.get("agents")}
        return all(agents.get(name) for name in self.hosts)

    def hosts_answer(self):
        """Whether all have given a sign of life in the last seconds, so that ports can be bound there."""
        ages = self.neutron.database.run("SELECT UNIX_TIMESTAMP() - answered_at FROM neutron.martlet_hosts").split()
        return len(ages) == len(self.hosts) and all(float(age) < 8 for age in ages)

    def boot(self, port, number):
        """A guest behind a port of Neutron."""
        details = port["binding:vif_details"]
        host = self.hosts[port["binding:host_id"]]
        guest = Guest(host.directory, f"guest{number}", number, details["vhostuser_socket"],
                      "client" if details["vhostuser_mode"] == "server" else "server",
                      mac=port["mac_address"], address=port["fixed_ips"][0]["ip_address"])
        return self.room.keeps(guest)


# MARK: What Neutron has, and what the hosts hold

def settled(cloud, limit=60):
    """Waits until there is nothing that Neutron has yet to tell its hosts."""
    def left():
        return [row for table in ("martlet_journal", "martlet_pending")
                for row in cloud.neutron.database.run(f"SELECT type, id FROM neutron.{table} LIMIT 10").splitlines()]
    eventually(lambda: not left(), limit, "the journal to be empty", interval=0.1)


def agrees(cloud, *hosts):
    """What hosts hold of ports is what Neutron has: no less, no more, nothing else."""
    networks = {one["id"]: one for one in cloud.neutron.get("networks")}
    ports = [port for port in cloud.neutron.get("ports") if port["binding:vif_type"] == "vhostuser"]
    for host in hosts or cloud.hosts:
        here = {port["network_id"] for port in ports if port["binding:host_id"] == host}
        wanted = {(port["id"], port["mac_address"], port["binding:host_id"],
                   tuple(sorted(one["ip_address"] for one in port["fixed_ips"])))
                  for port in ports if port["network_id"] in here}
        daemon = cloud.hosts[host].daemon
        held = {one["id"]: one for one in daemon.json("network", "list")["networks"]}
        assert set(held) == here
        for one in held.values():
            assert one["segmentation_id"] == networks[one["id"]]["provider:segmentation_id"]
        assert wanted == {(port["id"], port["mac_address"], port["host"], tuple(sorted(port["fixed_ips"])))
                          for one in held for port in daemon.json("network", "show", one)["ports"]}


# MARK: The demonstration

NETWORKS = [("blue", "vxlan", "10.1.0.0/24"), ("green", "gre", "10.2.0.0/24"), ("white", "vlan", "10.3.0.0/24")]


class Step:
    """One line that says what is done, and how long it took."""

    def __init__(self, words):
        self.words = words

    def __enter__(self):
        print(f"==> {self.words}", flush=True)
        self._start = time.monotonic()

    def __exit__(self, kind, *_):
        if kind is None:
            print(f"    done in {time.monotonic() - self._start:.1f} s", flush=True)


def demonstrate(room):
    with Step("a Neutron with MariaDB, and three hosts with a martletd each, every one in its network namespace"):
        cloud = Cloud(room).start()
    show_agents(cloud)
    with Step("networks of type vxlan, gre and vlan, and for each a port on two of the hosts"):
        ports = {name: make_ports(cloud, number, *rest) for number, (name, *rest) in enumerate(NETWORKS)}
    with Step("six guests, and their ports ACTIVE"):
        guests = boot(cloud, ports)
        cloud.neutron.wait_until_active(*(port for pair in ports.values() for port in pair))
    with Step("who reaches whom"):
        failures = compare(guests)
    show_flows(cloud)
    if failures:
        sys.exit("cloud: " + "; ".join(failures))
    print("Guests of a network talk across hosts, and nobody else hears them.")


def show_agents(cloud):
    for agent in cloud.neutron.get("agents"):
        print(f"    {agent['host']}: {agent['agent_type']}, {'alive' if agent['alive'] else 'down'}")


def make_ports(cloud, number, kind, cidr):
    network = cloud.neutron.network(kind, NETWORKS[number][0], cidr,
                                    **({"provider:physical_network": "physnet1"} if kind == "vlan" else {}))
    print(f"    {network['name']}: {kind} {network['provider:segmentation_id']}, {cidr}")
    return [cloud.neutron.port(network, HOSTS[place % len(HOSTS)]) for place in (number, number + 1)]


def boot(cloud, ports):
    guests = {}
    for name, pair in ports.items():
        guests[name] = [cloud.boot(port, len(guests) * 2 + place) for place, port in enumerate(pair, start=1)]
    for pair in guests.values():
        for guest in pair:
            guest.wait_until_up(180)
    return guests


def compare(guests):
    """Prints what every guest reaches; returns what should be otherwise."""
    failures = []
    for name, (one, other) in guests.items():
        reached = one.reaches(other, count=3)
        print(f"    {name}: {one.address} -> {other.address}: {'answers' if reached else 'no answer'}")
        if not reached:
            failures.append(f"{one.address} does not reach {other.address} of its network {name}")
        stranger = next(pair[1] for colour, pair in guests.items() if colour != name)
        # As if they were on one network: the address is asked for with ARP, and nobody must hear that.
        one.shell(f"ip route add {stranger.address}/32 dev eth0", check=False)
        if one.reaches(stranger, seconds=1):
            failures.append(f"{one.address} of {name} reaches {stranger.address} of another network")
    return failures


def show_flows(cloud):
    daemon = cloud.hosts["cmp1"].daemon
    for bridge in ("br-int", "br-tun", "br-phys"):
        print(f"--- flows of {bridge} on cmp1")
        print(daemon.ctl("flow", "dump", bridge).stdout)
    print(daemon.ctl("network", "list").stdout)
    print(daemon.ctl("tunnels").stdout)


if __name__ == "__main__":
    with Room.opened() as demonstration:
        demonstration.owns(forget_boot_files)
        demonstrate(demonstration)
