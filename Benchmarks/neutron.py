"""What Neutron waits for: a port from its request to ACTIVE and to its guest's first packet, what the endpoint has of that,
and 10,000 ports told to ten hosts. Neutron, MariaDB and the hosts are those of Tests/Interop/cloud.py.

Ten thousand requests would take an hour, and measure Neutron's API. So one port a host is made by requests while nobody tells
the hosts, and its rows are copied in the database, those of the journal too: what the driver finds is what the requests
would have left."""
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time

import changes
import machine
import pipelines
import report
import traffic
from contenders import Martlet, Rig

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "Tests/Interop"))
from cloud import Cloud, agrees, settled  # noqa: E402
from http_endpoint import Authority, Client, free_port, lines  # noqa: E402
from processes import eventually  # noqa: E402
from room import Room  # noqa: E402
from vhost_user import FrontEnd  # noqa: E402

BOUND = 50         # ports made one after the other
PORTS = 10_000
HERE = 100         # of them, in what one endpoint is told: the guests of one host
SINGLES = 1000     # changes of one port each
HOSTS = 10         # that share the ports, and are each told of all
CONNECTIONS = 1000
PIECE = 4 << 20    # of a snapshot, as the driver sends it
PATIENCE = 600     # seconds, far beyond the goals


def run(options, _, records):
    for number in range(options.runs):
        for measure in (_bound, _endpoint, _told):
            record = measure(options) | {"run": number}
            records.append(record)
            print(f"run {number + 1}: " + ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                                                    for name, value in record.items()), flush=True)


@contextlib.contextmanager
def _both_cores():
    """For children too: Neutron is no switch, and its hosts' workers sleep when there is nothing to do."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {machine.OTHER_CORE, machine.SWITCH_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


# A port, from the request on

def _bound(_):
    with _both_cores(), Room.opened() as room:
        cloud = Cloud(room, hosts=["cmp1", "cmp2"]).start()
        network = cloud.neutron.network("vxlan", "blue", "10.1.0.0/16")
        # Both hosts have the network: what is measured is a port more of it.
        station, resident = (_Station(room, cloud.neutron.port(network, host)) for host in cloud.hosts)
        cloud.neutron.wait_until_active(station.port, resident.port)
        with _Query(cloud.neutron.database) as query:
            times = [_one(room, cloud, network, station, query) for _ in range(BOUND)]
    return {"what": "bound", **{f"{name} {share}": value * 1e3 for name, values in zip(("request", "active", "packet"), zip(*times))
                                for share, value in _median_and_p90(values).items()}}


def _median_and_p90(times):
    times = sorted(times)
    return {"p50": times[len(times) // 2], "p90": times[len(times) * 9 // 10]}


def _one(room, cloud, network, station, query):
    """Seconds until the request is answered, the port is ACTIVE, and a packet of its guest has arrived. The guest is there as
    soon as the answer is, and sends all the time."""
    settled(cloud)
    started = time.perf_counter()
    guest = _Station(room, cloud.neutron.port(network, "cmp2"))
    answered, active, arrived = guest.answered - started, None, None
    while not (active and arrived):
        if not arrived:
            guest.machine.send(guest.to(station))
            if any(frame[6:12] == guest.mac for frame in station.machine.received()):
                arrived = time.perf_counter() - started
        if not active and query.ask(f"SELECT status FROM neutron.ports WHERE id = '{guest.port['id']}'") == "ACTIVE":
            active = time.perf_counter() - started
        if time.perf_counter() - started > PATIENCE:
            raise TimeoutError(f"port {guest.port['id']} is {'' if active else 'not '}ACTIVE after {PATIENCE} s")
        # Whoever looks takes the time of those that work.
        time.sleep(0.005)
    return answered, active, arrived


class _Station:
    """A guest behind a port of Neutron."""

    def __init__(self, room, port):
        self.port, self.answered = port, time.perf_counter()
        self.mac = bytes.fromhex(port["mac_address"].replace(":", ""))
        self._address = int.from_bytes(socket.inet_aton(port["fixed_ips"][0]["ip_address"]), "big")
        self.machine = room.keeps(FrontEnd(port["binding:vif_details"]["vhostuser_socket"]))
        self.machine.connect()

    def to(self, other):
        datagram = bytes([4, 0, 0, 9, 0, 26, 0, 0]) + bytes(18)
        return other.mac + self.mac + b"\x08\x00" + traffic.ipv4(17, (self._address, other._address), datagram)


class _Query:
    """Statements with one value for an answer, in one session: a process for each would be slower than what is measured."""

    def __init__(self, database):
        self._process = subprocess.Popen(
            ["mariadb", "--no-defaults", f"--socket={database.socket}", "-N", "-B", "--unbuffered"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, statement):
        self._process.stdin.write(statement + ";\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


# One endpoint

class _WithEndpoint(Martlet):
    """With TLS, as Neutron's driver has it."""

    def __init__(self, folder):
        super().__init__(lambda _: pipelines.flows("exact", CONNECTIONS))
        authority, self._port = Authority(folder, "authority"), free_port()
        certificate, key = authority.issue("here")
        self._context = authority.context(authority.issue("driver"))
        configuration = folder / "martletd.toml"
        configuration.write_text(f"""
host = "here"
vif-dir = "{folder}"
endpoint = "127.0.0.1:{self._port}"
endpoint-certificate = "{certificate}"
endpoint-key = "{key}"
endpoint-client-ca = "{authority.certificate}"
""")
        self.OPTIONS = ["--config", configuration]

    def client(self):
        client = Client(self._port, self._context)
        machine.wait_until(lambda: _connects(client), 20, "the endpoint", self.child)
        return client


def _connects(client):
    try:
        client.connection.connect()
        return True
    except OSError:
        return False


def _endpoint(options):
    with machine.Scratch() as scratch:
        switch = _WithEndpoint(scratch.folder)
        switch.start(Rig(changes.case(scratch, CONNECTIONS), scratch), options.nice)
        switch.warm()
        with contextlib.closing(switch.client()) as client:
            drops = switch.drops()
            first, again = (_snapshot(client, name, list(_documents(scratch.folder))) for name in ("first", "again"))
            times = [_single(client, scratch.folder, number) for number in range(SINGLES)]
            held = client.get("/v1/digest").done()["types"]["port"]["count"]
        if held != PORTS + SINGLES // 2:
            raise RuntimeError(f"the endpoint holds {held} ports, and was told of {PORTS + SINGLES // 2}")
        return {"what": "endpoint", "snapshot": first, "again": again, **changes.lost(switch, drops),
                **{name: value * 1e3 for name, value in changes.percentiles(times).items()}}


def _documents(folder):
    for host in range(PORTS // HERE):
        yield {"type": "host", "id": _host(host), "tunnel_address": f"10.255.0.{host + 1}", "schema": 1}
    yield {"type": "network", "id": "blue", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450, "schema": 1}
    for number in range(PORTS):
        yield _port(folder, number, number % (PORTS // HERE))


def _host(number):
    return f"host{number}" if number else "here"


def _port(folder, number, host):
    identifier = f"{number:08x}-0000-4000-8000-{number:012x}"
    return {"type": "port", "id": identifier, "schema": 1, "network_id": "blue", "host": _host(host),
            "mac_address": "fa:16:3e:%02x:%02x:%02x" % (number >> 16, number >> 8 & 255, number & 255),
            "admin_state_up": True, "device_owner": "compute:nova", "port_security_enabled": True, "security_groups": [],
            "allowed_address_pairs": [],
            "fixed_ips": [{"ip_address": f"10.1.{number // 250}.{number % 250 + 1}", "subnet_id": "subnet"}],
            "vif": {"type": "vhost-user", "path": f"{folder}/vhu{identifier[:11]}", "mode": "client"}}


def _snapshot(client, name, documents):
    """Seconds, from the first piece to the last answer."""
    body, started = lines(documents).encode(), time.perf_counter()
    for start in range(0, len(body), PIECE):
        end = min(start + PIECE, len(body))
        answer = client.ask("PUT", f"/v1/snapshot?id={name}&revision=0", body[start:end],
                            Content_Range=f"bytes {start}-{end - 1}/{len(body)}")
        if answer.status != (200 if end == len(body) else 202):
            raise RuntimeError(f"the snapshot is refused: {answer}")
    return time.perf_counter() - started


def _single(client, folder, number):
    """Seconds for a port that is new, of this host each tenth time, or for one that moves to another host."""
    is_new, half = number % 2 == 0, number // 2
    hosts = PORTS // HERE
    port = _port(folder, PORTS + half, half % 10 and 1 + half % (hosts - 1)) if is_new else _port(folder, half, (half + 7) % hosts)
    started = time.perf_counter()
    answer = client.put("ports", port).done()
    if answer["changed"] != 1:
        raise RuntimeError(f"port {port['id']}: {answer} in place of one change")
    return time.perf_counter() - started


# All hosts

def _told(_):
    with _both_cores(), Room.opened() as room:
        cloud = Cloud(room, hosts=[f"cmp{number}" for number in range(1, HOSTS + 1)], memory=128).start()
        neutron = cloud.neutron
        # In order, so that the next ones need not wait for the end of a lease.
        neutron.workers.stop()
        network = neutron.network("vxlan", "blue", "10.1.0.0/16")
        for number, host in enumerate(cloud.hosts):
            _copy(neutron.database, neutron.port(network, host)["id"], number * (PORTS // HOSTS), PORTS // HOSTS - 1)
        started = time.monotonic()
        neutron.start_workers()
        eventually(lambda: _is_empty(neutron.database), PATIENCE, "the journal to be empty", interval=0.1)
        clients = [host.client() for host in cloud.hosts.values()]
        eventually(lambda: _all_hold(clients, PORTS), PATIENCE, f"{HOSTS} hosts to hold the same {PORTS} ports", interval=0.1)
        seconds, processor = time.monotonic() - started, _processor_seconds(neutron.workers.pid)
        agrees(cloud)
    return {"what": "told", "seconds": seconds, "processor": processor}


def _is_empty(database):
    """Nothing is to be told to a host, and no host is to be compared."""
    tables = "SELECT 1 FROM martlet_journal UNION SELECT 1 FROM martlet_pending UNION SELECT 1 FROM martlet_hosts WHERE stale"
    return not database.run(f"USE neutron; {tables} LIMIT 1")


def _all_hold(clients, count):
    digests = [client.get("/v1/digest").done()["types"] for client in clients]
    return digests[0]["port"]["count"] == count and all(digest == digests[0] for digest in digests)


def _processor_seconds(session):
    """Of all processes of a session."""
    ticks = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # From the third field on: a command's name may hold anything.
            fields = path.read_text().rpartition(") ")[2].split()
            ticks += (int(fields[11]) + int(fields[12])) * (int(fields[3]) == session)
    return ticks / os.sysconf("SC_CLK_TCK")


def _copy(database, port, first, count):
    """Makes `count` ports like this one, with identifiers and addresses of their own, numbered from `first` on."""
    number = f"({first} + numbers.seq)"
    identifier = f"LOWER(CONCAT(LPAD(HEX({number}), 8, '0'), '-0000-4000-8000-', LPAD(HEX({number}), 12, '0')))"
    attribute = f"({number} + 1000000)"
    mac = f"LOWER(CONCAT('fa:16:3f:', INSERT(INSERT(LPAD(HEX({number}), 6, '0'), 5, 0, ':'), 3, 0, ':')))"
    of_port, of_attribute = f"port_id = '{port}'", f"(SELECT standard_attr_id FROM ports WHERE id = '{port}')"
    tables = [
        ("standardattributes", f"id = {of_attribute}", {"id": attribute}),
        ("ports", f"id = '{port}'", {"id": identifier, "standard_attr_id": attribute, "mac_address": mac}),
        ("ml2_port_bindings", of_port, {"port_id": identifier,
                                        "vif_details": f"REPLACE(vif_details, '{port[:11]}', LEFT({identifier}, 11))"}),
        ("ml2_port_binding_levels", of_port, {"port_id": identifier}),
        ("ipallocations", of_port, {"port_id": identifier, "ip_address": f"INET_NTOA(INET_ATON('10.1.64.0') + {number})"}),
        ("portsecuritybindings", of_port, {"port_id": identifier}),
        ("securitygroupportbindings", of_port, {"port_id": identifier}),
        ("provisioningblocks", f"standard_attr_id = {of_attribute}", {"standard_attr_id": attribute}),
        ("martlet_journal", f"id = '{port}'", {"id": identifier, "seq": "NULL"})]
    database.run("; ".join(["USE neutron", "BEGIN", *(_copied(database, count, *table) for table in tables), "COMMIT"]))


def _copied(database, count, table, which, changed):
    """A statement: rows of a table once more for each number, with other values in some columns."""
    columns = database.run("SELECT column_name FROM information_schema.columns "
                           f"WHERE table_schema = 'neutron' AND table_name = '{table}'").split()
    values = ", ".join(changed.get(column, f"{table}.{column}") for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, seq_1_to_{count} AS numbers WHERE {which}"


# The results

def write(options, records, description, complete):
    goals = [report.at_most("port create to ACTIVE, median ms", 300, report.values(records, "bound", "active p50")),
             report.at_most("port create to the guest's first packet on the other host, median ms", 300,
                            report.values(records, "bound", "packet p50")),
             report.at_most(f"one port changed at an endpoint with {PORTS:,}, p99 ms", 20, report.values(records, "endpoint", "p99")),
             report.at_most(f"snapshot of {PORTS:,} ports, s", 3, report.values(records, "endpoint", "snapshot")),
             report.at_most("packets of other ports lost meanwhile", 0, report.values(records, "endpoint", "lost")),
             report.at_most(f"{PORTS:,} ports told to {HOSTS} hosts, which share its cores, s", 60, report.values(records, "told", "seconds")),
             report.at_most("the driver's processor seconds of that", 60, report.values(records, "told", "processor"))]
    report.write_results("neutron", options, records, description, complete, goals, _text(records))


def _text(records):
    yield (f"A real Neutron with MariaDB, and martletds in network namespaces, all on the same two cores. {BOUND} ports of a VXLAN "
           "network, one after the other, each from the beginning of `POST /v2.0/ports` with a host: to the answer, to ACTIVE in "
           "the database, and to the first packet that its guest, which connects when the answer is there, gets to a guest on "
           "another host.")
    yield from ("", "| request p50 ms | p90 | ACTIVE p50 | p90 | first packet p50 | p90 |", "|--:|--:|--:|--:|--:|--:|")
    for record in records:
        if record["what"] == "bound":
            yield ("| {request p50:.0f} | {request p90:.0f} | {active p50:.0f} | {active p90:.0f} | {packet p50:.0f} "
                   "| {packet p90:.0f} |".format(**record))
    yield from ("", f"One endpoint, over TLS, that is told of {PORTS:,} ports, {HERE} of them its own, in a snapshot in pieces of "
                f"{PIECE >> 20} MiB, and of the same once more. Then {SINGLES:,} single `PUT`s, half of them of new ports (a tenth of "
                "these its own), half of ports that move to another host; from the request to the answer, which comes when the flows "
                f"are in the dataplane. martletd's worker has all the packets it can take meanwhile ({CONNECTIONS:,} five-tuples of "
                "another bridge) on core 1; its control plane and the client are on core 0. Lost are packets counted under a drop "
                "reason.", "", "| snapshot s | again | one port p50 ms | p99 | max | lost |", "|--:|--:|--:|--:|--:|--:|")
    for record in records:
        if record["what"] == "endpoint":
            yield "| {snapshot:.2f} | {again:.2f} | {p50:.3f} | {p99:.3f} | {max:.3f} | {lost:,} {reasons} |".format(**record)
    yield from ("", f"{HOSTS} hosts that hold nothing, and a journal with {PORTS:,} new ports of one network, {PORTS // HOSTS:,} of each "
                "host, so that every host is told of all: from the start of `neutron-periodic-workers`, which takes some seconds by "
                "itself, until nothing is pending and all hosts give the same digests; then what they hold is held against "
                "Neutron's API. Processor seconds are those of the workers.", "",
                "| seconds | processor seconds |", "|--:|--:|")
    for record in records:
        if record["what"] == "told":
            yield "| {seconds:.1f} | {processor:.1f} |".format(**record)
