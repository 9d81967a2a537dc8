"""Linux guests behind security groups: iperf3, curl and hping3 through taps of a running martletd, and what becomes of their
connections when rules change."""

import hashlib
import http.server
import json
import random
import select
import socket
import threading

import pytest

from netns import Namespace, add_bridge, veth
from processes import Process, eventually
from secured import SecuredHost, Station, group, rule

CLIENT = Station("client", "fa:16:3e:00:00:01", ("10.0.0.1",), ("clients",))
SERVER = Station("server", "fa:16:3e:00:00:02", ("10.0.0.2",), ("servers",))
IPERF, WEB, LATER, NEVER = 5201, 8080, 9000, 9001
MEGABYTES = 20
CONTENT = random.Random(1).randbytes(5 << 20)
CLIENTS = group("clients", rule("egress"))


def servers(*ports):
    return group("servers", rule("egress", "icmp"), rule("ingress", "icmp"),
                 *(rule("ingress", "tcp", (port, port), remote_group_id="clients") for port in ports))


class LinuxGuests(SecuredHost):
    """Each in a namespace, whose eth0 a bridge of Linux joins to a tap of the switch: that is what some hypervisors do."""

    def __init__(self, room):
        self.near = room.keeps(Namespace("near"))
        # So that a client here reaches an endpoint there.
        with self.near.entered():
            super().__init__(room, namespace=self.near)
        self.put(CLIENTS, servers(IPERF, WEB, LATER))
        self.spaces = {station.name: self._guest(station) for station in (CLIENT, SERVER)}

    def _guest(self, station):
        name = station.name
        space = self.room.keeps(Namespace(name))
        self.change(station, {"type": "tap", "ifname": f"tap-{name}"})
        add_bridge(self.near, f"br-{name}")
        veth(space, "eth0", self.near, f"leg-{name}", bridge=f"br-{name}")
        space.ip("link", "set", "dev", "eth0", "address", station.mac)
        space.ip("addr", "add", f"{station.addresses[0]}/24", "dev", "eth0")
        self.near.bring_up(f"tap-{name}")
        self.near.ip("link", "set", "dev", f"tap-{name}", "master", f"br-{name}")
        return space

    def run(self, name, *words, **options):
        return self.spaces[name].run(*words, **options)

    def start(self, name, *words):
        return self.room.keeps(Process(["nsenter", f"--net={self.spaces[name].path}", *words],
                                       self.room.directory / f"{words[0]}.log"))

    def listens(self, port):
        with self.spaces["server"].entered():
            return self.room.keeps(socket.create_server((SERVER.addresses[0], port)))

    def connect(self, port, patience=10):
        with self.spaces["client"].entered():
            return self.room.keeps(socket.create_connection((SERVER.addresses[0], port), patience))


@pytest.fixture(scope="module")
def guests(module_room):
    guests = LinuxGuests(module_room)
    eventually(lambda: guests.run("client", "busybox", "ping", "-c", "1", "-W", "1", SERVER.addresses[0],
                                  check=False).returncode == 0, 30, "a ping through Linux's bridges")
    return guests


def test_iperf3_runs_in_both_directions(guests):
    serving = guests.start("server", "iperf3", "--server", "--forceflush", "--port", IPERF)
    serving.wait_for_output("Server listening")
    for direction in ([], ["--reverse"]):
        done = guests.run("client", "iperf3", "--client", SERVER.addresses[0], "--port", IPERF, "--json", "--parallel", 2,
                          "--bytes", f"{MEGABYTES}M", *direction, limit=60)
        # What is under way when the sender is done iperf3 does not wait for.
        assert json.loads(done.stdout)["end"]["sum_sent"]["bytes"] >= MEGABYTES << 20, done.stdout


class Files(http.server.BaseHTTPRequestHandler):
    """Gives CONTENT, and answers an upload with its digest."""

    def do_GET(self):
        self._answer(CONTENT)

    def do_PUT(self):
        self._answer(digest(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def digest(content):
    return hashlib.sha256(content).hexdigest().encode()


def test_curl_gets_and_puts_all_of_a_file(guests, tmp_path):
    with guests.spaces["server"].entered():
        server = http.server.ThreadingHTTPServer((SERVER.addresses[0], WEB), Files)
    guests.room.owns(server.server_close)
    guests.room.owns(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    received, sent = tmp_path / "received", tmp_path / "sent"
    sent.write_bytes(CONTENT)
    for words, expected in (([], CONTENT), (["--upload-file", sent], digest(CONTENT))):
        guests.run("client", "curl", "--silent", "--show-error", "--fail", "--max-time", 30, "--output", received, *words,
                   f"http://{SERVER.addresses[0]}:{WEB}/file", limit=40)
        assert received.read_bytes() == expected


def test_what_no_rule_allows_does_not_connect(guests):
    guests.listens(NEVER)
    done = guests.run("client", "curl", "--silent", "--max-time", 1, f"http://{SERVER.addresses[0]}:{NEVER}/", check=False)
    # Nothing refuses: it is not answered at all (curl(1), exit code 28).
    assert done.returncode == 28
    with guests.spaces["client"].entered():
        listener = guests.room.keeps(socket.create_server((CLIENT.addresses[0], WEB)))
    done = guests.run("server", "curl", "--silent", "--max-time", 1, f"http://{CLIENT.addresses[0]}:{WEB}/", check=False)
    assert done.returncode == 28 and not select.select([listener], [], [], 0)[0]


def test_hping3_gets_answers_from_allowed_ports_alone(guests):
    guests.listens(LATER)
    for port, answers in ((LATER, 3), (NEVER, 0)):
        done = guests.run("client", "hping3", "--count", 3, "--interval", "u20000", "--syn", "--destport", port,
                          SERVER.addresses[0], check=False)
        assert f"3 packets transmitted, {answers} packets received" in done.stderr, done.stderr


def test_hping3_with_another_source_is_not_heard(guests):
    before = sum(guests.daemon.drops("vhuclient").values())
    guests.run("client", "hping3", "--count", 20, "--interval", "u1000", "--spoof", "10.0.0.66", "--udp", "--destport", LATER,
               SERVER.addresses[0], check=False)
    eventually(lambda: sum(guests.daemon.drops("vhuclient").values()) >= before + 20, 10, "drops that are counted")


def test_a_rule_that_goes_ends_its_connections_at_once_and_no_others(guests):
    listeners = {port: guests.listens(port) for port in (LATER + 10, LATER + 11)}
    guests.put(servers(IPERF, WEB, LATER, *listeners))
    pairs = {port: (guests.connect(port), listener.accept()[0]) for port, listener in listeners.items()}
    ending, staying = pairs.values()
    for one, other in (*pairs.values(), *(pair[::-1] for pair in pairs.values())):
        assert carries(one, other)
    guests.put(servers(IPERF, WEB, LATER, LATER + 11))
    for place in (0, 1):
        ending[place].sendall(b"too late")
        assert carries(staying[place], staying[1 - place])
        # What went first, on the same way, would be there.
        assert not select.select([ending[1 - place]], [], [], 0)[0]
    # Its rule comes back, and the conversation stays what it is: ended.
    guests.put(servers(IPERF, WEB, LATER, *listeners))
    assert carries(*staying) and not select.select([ending[1]], [], [], 0)[0]
    assert carries(guests.connect(LATER + 10), listeners[LATER + 10].accept()[0])


def carries(one, other):
    one.sendall(b"x" * 10_000)
    other.settimeout(10)
    left = 10_000
    while left:
        left -= len(other.recv(left))
    return True
