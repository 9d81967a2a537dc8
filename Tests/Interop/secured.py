"""Guests behind security groups: what Neutron would say of them, and a host that has been told so."""

import functools
from dataclasses import dataclass, field

from frames import Ether
from http_endpoint import Client, free_port
from martlet import IDLE
from processes import eventually
from scapy.layers.l2 import ARP
from vhost_user import FrontEnd


@dataclass(frozen=True)
class Station:
    """Who may speak from a port: its addresses, and the groups of the port; None where nothing is filtered."""

    name: str
    mac: str
    addresses: tuple
    groups: tuple | None = None
    network: str = "blue"
    pairs: tuple = field(default=())

    def of_family(self, six):
        return next(address for address in self.addresses if (":" in address) == six)

    def document(self, vif):
        return {"type": "port", "id": self.name, "network_id": self.network, "mac_address": self.mac, "host": "h1",
                "fixed_ips": [{"ip_address": address} for address in self.addresses], "vif": vif,
                "port_security_enabled": self.groups is not None, "security_groups": list(self.groups or ()),
                "allowed_address_pairs": [{"ip_address": pair} for pair in self.pairs]}


def group(name, *rules, stateful=True):
    return {"type": "security_group", "id": name, "stateful": stateful, "rules": list(rules)}


def rule(direction, protocol=None, ports=None, six=False, **remote):
    """Of `ports`, from and to; of ICMP its type and code, the second of which may be None."""
    ranges = {key: value for key, value in zip(("port_range_min", "port_range_max"), ports or ()) if value is not None}
    return {"direction": direction, "ethertype": "IPv6" if six else "IPv4", **ranges, **remote,
            **({"protocol": protocol} if protocol else {})}


class SecuredHost:
    """A martletd with an endpoint, which is told of networks, groups and ports as Neutron's driver does. The stations of
    networks that are not named otherwise are on `blue`; its guests are vhost-user's front ends."""

    def __init__(self, room, *options, networks=("blue",), **more):
        self.room, self.machines, self.stations = room, {}, {}
        number = free_port()
        self.daemon = room.daemon(options=[*IDLE, "--host", "h1", "--vif-dir", str(room.directory),
                                           "--endpoint", f"127.0.0.1:{number}", *options], **more)
        eventually(lambda: "endpoint listens" in self.daemon.log(), 20, "the endpoint")
        self._driver = room.keeps(Client(number))
        self.put({"type": "host", "id": "h1"},
                 *({"type": "network", "id": network, "network_type": "local"} for network in networks))

    def put(self, *documents):
        for document in documents:
            self._driver.put(COLLECTIONS[document["type"]], document).done()

    def delete(self, kind, name):
        self._driver.ask("DELETE", f"/v1/{COLLECTIONS[kind]}/{name}").done()

    def plug(self, *stations):
        """Guests, each with a port of its own."""
        for station in stations:
            path = self.room.socket(station.name)
            machine = self.machines[station.name] = self.room.keeps(FrontEnd(path))
            self.change(station, {"path": str(path)})
            machine.connect()
        self.daemon.wait_for_link(*(f"vhu{station.name}"[:14] for station in stations))

    def change(self, station, vif=None):
        """What is known of a station is another from now on."""
        self.stations[station.name] = station
        self.put(station.document(vif or {"path": str(self.room.socket(station.name))}))

    def unplug(self, name):
        self.delete("port", name)
        self.machines.pop(name).close()
        del self.stations[name]

    def send(self, name, frames):
        """Has a guest send frames, and waits until the switch has taken them: what another sends then is behind them."""
        machine = self.machines[name]
        for frame in frames:
            machine.send(frame)
        machine.wait_until_taken()

    def arrived(self, source, destination):
        """What has arrived at one guest before an ARP reply that another sends now, which no filter holds up."""
        last = resolution(self.stations[source], self.stations[destination])
        self.machines[source].send(last)
        return self.machines[destination].wait_for(last)

    def connections(self):
        return self.daemon.call("conntrack.dump", limit=4096)["result"]["connections"]

    def flush(self):
        answer = self.daemon.call("conntrack.flush")
        assert "result" in answer, answer


@functools.cache
def resolution(one, other):
    """An ARP reply of one station to another."""
    return bytes(Ether(src=one.mac, dst=other.mac) / ARP(
        op=2, hwsrc=one.mac, psrc=one.of_family(False), hwdst=other.mac, pdst=other.of_family(False)))


COLLECTIONS = {"host": "hosts", "network": "networks", "port": "ports", "security_group": "security-groups"}
