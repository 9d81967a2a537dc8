"""The endpoint that Neutron's mechanism driver talks to, over real connections."""

import hashlib
import json
import re
import select
import socket
import ssl
import subprocess
import threading
import time

import pytest

from http_endpoint import Authority, Client, free_port, lines
from martlet import IDLE
from processes import eventually
from vhost_user import FrontEnd

HOST = {"type": "host", "id": "cmp1", "tunnel_address": "192.0.2.1"}
OTHER = {"type": "host", "id": "cmp2", "tunnel_address": "192.0.2.2"}
NETWORK = {"type": "network", "id": "blue", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450}
CONFIGURATION = """
[host-document]
tunnel_address = "192.0.2.1"
tunnel_types = ["vxlan", "gre"]
bridge_mappings = { physnet1 = "br-phys" }
"""


def port(number, **changes):
    return {"type": "port", "id": f"port-{number:05}", "network_id": "blue",
            "mac_address": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}", "host": "cmp2",
            "fixed_ips": [{"ip_address": f"10.0.{number >> 8}.{number & 255}"}], **changes}


def started(room, *options, **more):
    number = free_port()
    daemon = room.daemon(options=[*IDLE, "--host", "cmp1", "--vif-dir", str(room.directory),
                                  "--endpoint", f"127.0.0.1:{number}", *options], **more)
    eventually(lambda: "endpoint listens" in daemon.log(), 20, "the endpoint")
    daemon.endpoint = number
    return daemon


def client(room, daemon, *more, **options):
    return room.keeps(Client(daemon.endpoint, *more, **options))


@pytest.fixture
def daemon(room):
    return started(room)


@pytest.fixture
def driver(room, daemon):
    return client(room, daemon)


def flows(daemon, bridge="br-tun"):
    return daemon.ctl("flow", "dump", bridge, "--no-stats").stdout if bridge in daemon.ctl("show").stdout else ""


# MARK: Documents

def test_documents_come_one_by_one_and_are_forwarded_by(daemon, driver):
    for collection, document in (("hosts", HOST), ("hosts", OTHER), ("networks", NETWORK), ("ports", port(1, host="cmp1")),
                                 ("ports", port(2))):
        assert driver.put(collection, document).done() == {"changed": 1, "removed": 0, "unchanged": 0}
    assert "dl_dst=fa:16:3e:00:00:02" in flows(daemon)
    assert driver.put("ports", port(2)).done() == {"changed": 0, "removed": 0, "unchanged": 1}
    assert driver.ask("DELETE", "/v1/ports/port-00002").done() == {"changed": 0, "removed": 1, "unchanged": 0}
    assert "dl_dst=fa:16:3e:00:00:02" not in flows(daemon)
    assert driver.ask("DELETE", "/v1/ports/port-00002").done() == {"changed": 0, "removed": 0, "unchanged": 1}


def test_type_and_id_are_those_of_the_path(driver):
    assert driver.ask("PUT", "/v1/hosts/cmp1", {"tunnel_address": "192.0.2.1"}).done()["changed"] == 1
    problem = driver.ask("PUT", "/v1/hosts/cmp1", dict(HOST, id="cmp9")).problem(422)
    assert "cmp9" in problem["detail"] and problem["field"] == "id"
    problem = driver.ask("PUT", "/v1/hosts/cmp1", dict(HOST, type="network")).problem(422)
    assert problem["field"] == "type"
    assert "collection 'hostz'" in driver.ask("PUT", "/v1/hostz/cmp1", HOST).problem(404)["detail"]
    # A body that nobody reads is not taken for the next request.
    driver.ask("PUT", "/v1/hostz/cmp1", b"x" * (8 << 20)).problem(404)
    assert driver.get("/healthz").status == 200


def test_a_batch_is_one_transaction(daemon, driver):
    assert driver.batch([port(1), port(2), NETWORK, OTHER, HOST]).done()["changed"] == 5
    before = daemon.json("network", "show", "blue")
    problem = driver.batch([port(3), port(4, mac_address="fa:16:3e:00:00:01")]).problem(422)
    assert problem["document"] == {"type": "port", "id": "port-00004"} and problem["line"] == 2
    assert "fa:16:3e:00:00:01" in problem["detail"]
    assert daemon.json("network", "show", "blue") == before


def test_older_revisions_are_acknowledged_and_ignored(daemon, driver):
    driver.batch([HOST, OTHER, NETWORK, port(1, revision=7)]).done()
    assert driver.put("ports", port(1, revision=6, host="cmp1")).done()["unchanged"] == 1
    assert driver.ask("DELETE", "/v1/ports/port-00001?revision=6").done()["unchanged"] == 1
    assert driver.ask("DELETE", "/v1/ports/port-00001?revision=8").done()["removed"] == 1
    # What was sent before it went, and comes late.
    assert driver.put("ports", port(1, revision=7)).done()["unchanged"] == 1
    assert daemon.json("network", "show", "blue")["ports"] == []
    assert driver.put("ports", port(1, revision=9)).done()["changed"] == 1


def test_what_was_acknowledged_outlives_a_kill(room, daemon, driver):
    driver.batch([HOST, OTHER, NETWORK, *(port(number, revision=number) for number in range(1, 50))]).done()
    driver.ask("DELETE", "/v1/ports/port-00007?revision=100").done()
    digest = driver.get("/v1/digest").done()
    daemon.kill()
    daemon.start()
    driver.close()
    again = client(room, daemon)
    eventually(lambda: daemon.log().count("endpoint listens") == 2, 20, "the endpoint")
    assert again.get("/v1/digest").done() == digest
    assert again.put("ports", port(7, revision=99)).done()["unchanged"] == 1


def test_what_the_disk_has_no_room_for_may_be_sent_again(room):
    state = room.directory / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", state], check=True)
    room.owns(subprocess.run, ["umount", "-l", state], check=True)
    daemon = started(room)
    driver = client(room, daemon)
    driver.batch([HOST, OTHER, NETWORK, port(1, host="cmp1")]).done()
    before = driver.get("/v1/digest").done()
    many = [port(number) for number in range(2, 10_000)]
    assert "make room on its disk" in driver.batch(many).problem(503)["detail"]
    assert driver.get("/v1/digest").done() == before
    assert "dl_dst=fa:16:3e:00:00:02" not in flows(daemon)
    subprocess.run(["mount", "-o", "remount,size=64m", state], check=True)
    assert driver.batch(many).done()["changed"] == len(many)
    assert "dl_dst=fa:16:3e:00:00:02" in flows(daemon)


# MARK: Snapshots

def snapshot_text(count=2000):
    return lines([HOST, OTHER, NETWORK, *(port(number) for number in range(1, count + 1))]).encode()


def piece(driver, text, first, last, id="s1", **more):
    query = "&".join(f"{name}={value}" for name, value in {"id": id, **more}.items())
    return driver.ask("PUT", f"/v1/snapshot?{query}", text[first:last],
                      Content_Range=f"bytes {first}-{last - 1}/{len(text)}")


def test_a_snapshot_comes_in_pieces_and_is_taken_with_the_last(daemon, driver):
    driver.batch([HOST, OTHER, NETWORK, port(9000)]).done()
    text, half = snapshot_text(), 100_001
    assert piece(driver, text, 0, half).json == {"received": half}
    assert piece(driver, text, 0, half).status == 202
    assert daemon.json("network", "list")["networks"][0]["ports"] == 1
    problem = piece(driver, text, half + 5, len(text)).problem(409)
    assert problem["received"] == half
    assert driver.get("/v1/snapshot?id=s1").done() == {"received": half}
    # Nobody else's meanwhile.
    assert "s1" in piece(driver, text, 0, half, id="s2").problem(409)["detail"]
    # One that overlaps with what is here.
    answer = piece(driver, text, half - 1000, len(text)).done()
    assert answer == {"changed": 2000, "removed": 1, "unchanged": 3}
    assert piece(driver, text, half - 1000, len(text)).done() == answer
    assert daemon.json("network", "list")["networks"][0]["ports"] == 2000
    assert driver.get("/v1/snapshot?id=s1").done() == {"received": len(text)}


def test_a_snapshot_in_one_piece_changes_only_what_differs(daemon, driver):
    text = snapshot_text(10)
    assert driver.ask("PUT", "/v1/snapshot?id=a", text).done()["changed"] == 13
    assert driver.ask("PUT", "/v1/snapshot?id=b", text).done() == {"changed": 0, "removed": 0, "unchanged": 13}
    assert driver.ask("PUT", "/v1/snapshot?id=c", snapshot_text(9)).done() == {"changed": 0, "removed": 1, "unchanged": 12}


def test_a_snapshots_revision_is_a_floor(daemon, driver):
    driver.batch([HOST, OTHER, NETWORK, port(1, revision=5), port(2, revision=50)]).done()
    text = lines([HOST, OTHER, NETWORK]).encode()
    assert driver.ask("PUT", "/v1/snapshot?id=a&revision=20", text).done()["removed"] == 1
    held = [one["id"] for one in daemon.json("network", "show", "blue")["ports"]]
    assert held == ["port-00002"]
    assert driver.put("ports", port(3, revision=19)).done()["unchanged"] == 1
    assert driver.put("ports", port(3, revision=21)).done()["changed"] == 1


def test_a_refused_snapshot_changes_nothing_and_may_be_sent_again(daemon, driver):
    driver.batch([HOST, OTHER, NETWORK, port(1)]).done()
    wrong = lines([HOST, OTHER, NETWORK, port(2), port(3, network_id="green")]).encode()
    problem = driver.ask("PUT", "/v1/snapshot?id=a", wrong).problem(422)
    assert problem["document"]["id"] == "port-00003" and "green" in problem["detail"]
    assert [one["id"] for one in daemon.json("network", "show", "blue")["ports"]] == ["port-00001"]
    assert driver.ask("PUT", "/v1/snapshot?id=a", lines([HOST, OTHER, NETWORK, port(2)])).done()["changed"] == 1


@pytest.mark.parametrize("content_range", ["bytes 0-9", "bytes 5-2/10", "bytes 0-5/3", "bits 0-1/2", "bytes 0-1/9999999999",
                                           "bytes 0-4/999999999"])
def test_a_piece_without_a_place_is_refused(driver, content_range):
    answer = driver.ask("PUT", "/v1/snapshot?id=a", b"12345", Content_Range=content_range)
    assert answer.problem(answer.status)["status"] in (400, 413)


# MARK: What is

def canonical(document):
    kept = {key: value for key, value in document.items() if key != "revision"}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(documents):
    total = 0
    for document in documents:
        total ^= int(hashlib.sha256(canonical(document)).hexdigest(), 16)
    return {"count": len(documents), "digest": f"{total:064x}"}


def test_digests_are_those_that_a_driver_computes(driver):
    ports = [port(number, revision=number, name='Ä "quoted" \\ 日本') for number in range(1, 100)]
    subnet = {"type": "subnet", "id": "s", "network_id": "blue", "cidr": "10.0.0.0/16", "ip_version": 4}
    driver.batch([HOST, OTHER, NETWORK, subnet, *ports]).done()
    driver.ask("DELETE", "/v1/ports/port-00005").done()
    driver.put("ports", dict(ports[5], name="other", revision=1000)).done()
    kept = [*ports[:4], dict(ports[5], name="other"), *ports[6:]]
    digest = driver.get("/v1/digest").done()
    assert digest["types"]["port"] == digest_of(kept)
    assert digest["types"]["host"] == digest_of([HOST, OTHER])
    assert digest["types"]["router"] == {"count": 0, "digest": "0" * 64}
    assert digest["networks"] == {"blue": digest_of([NETWORK, subnet, *kept])}
    documents = driver.get("/v1/digest?network=blue").done()["documents"]
    assert documents["port/port-00001"] == hashlib.sha256(canonical(ports[0])).hexdigest()
    assert len(documents) == len(kept) + 2
    assert set(driver.get("/v1/digest?type=host").done()["documents"]) == {"host/cmp1", "host/cmp2"}


def test_who_answers_says_what_it_can(room):
    configuration = room.directory / "martletd.toml"
    configuration.write_text(CONFIGURATION)
    daemon = started(room, "--config", str(configuration))
    driver = client(room, daemon)
    version = driver.get("/v1/version").done()
    assert version["host"] == "cmp1" and version["schema"] == 1 and "vxlan" in version["capabilities"]
    assert "security-groups" in version["capabilities"]
    offer = driver.get("/v1/host").done()
    assert offer == {"type": "host", "id": "cmp1", "tunnel_address": "192.0.2.1", "tunnel_types": ["vxlan", "gre"],
                     "bridge_mappings": {"physnet1": "br-phys"}}
    assert driver.get("/healthz").done() == {"status": "ok"}


def test_status_follows_a_guest(room, daemon, driver):
    driver.batch([HOST, NETWORK]).done()
    first = driver.get("/v1/status").done()
    assert first["complete"] and first["ports"] == []
    path = room.socket("guest")
    waiting = Waiting(room, daemon, first["cursor"])
    driver.batch([port(1, host="cmp1", revision=3, vif={"path": str(path)})]).done()
    second = waiting.answer()
    assert [(one["id"], one["status"]) for one in second["ports"]] == [("port-00001", "down")]
    waiting = Waiting(room, daemon, second["cursor"])
    guest = room.keeps(FrontEnd(path))
    guest.connect()
    third = waiting.answer()
    assert [(one["status"], one["revision"]) for one in third["ports"]] == [("up", 3)]
    waiting = Waiting(room, daemon, third["cursor"])
    driver.ask("DELETE", "/v1/ports/port-00001").done()
    assert [one["status"] for one in waiting.answer()["ports"]] == ["removed"]
    # A cursor of nobody's.
    assert driver.get("/v1/status?since=other").done()["complete"]


class Waiting:
    """A long poll under way."""

    def __init__(self, room, daemon, cursor):
        self._client = client(room, daemon)
        self._answer = None
        self._thread = threading.Thread(target=self._ask, args=[cursor])
        self._thread.start()

    def _ask(self, cursor):
        self._answer = self._client.get(f"/v1/status?since={cursor}&wait=20")

    def answer(self):
        self._thread.join(25)
        return self._answer.done()


def test_a_poll_that_waits_ends_with_the_daemon(room, daemon, driver):
    cursor = driver.get("/v1/status").done()["cursor"]
    waiting = client(room, daemon)
    waiting.connection.request("GET", f"/v1/status?since={cursor}&wait=60")
    eventually(lambda: "martlet_endpoint_connections 2" in driver.get("/metrics").body.decode(), 10, "both connections")
    start = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - start < 8


def test_metrics_are_of_the_switch_and_of_requests(daemon, driver):
    driver.batch([HOST, NETWORK]).done()
    driver.get("/nowhere").problem(404)
    daemon.add_bridge("br0")
    daemon.add_port("p1", "dpdk", devargs="net_null0")
    eventually(lambda: sample(driver, 'martlet_port_receive_packets_total{port="p1"}') > 0, 10, "packets")
    text = driver.get("/metrics").body.decode()
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) martlet_\w+ .+|martlet_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+', line), line
    assert sample(driver, 'martlet_endpoint_request_duration_seconds_count{method="POST",route="/v1/batch",status="200"}') == 1
    assert 'status="404"' in text
    assert sample(driver, "martlet_cache_capacity") > 1000


def sample(driver, name):
    for line in driver.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0


# MARK: Bad input

REFUSED = {
    "an unknown key": (dict(NETWORK, colour="blue"), "colour"),
    "a newer schema": (dict(NETWORK, schema=2), "schema"),
    "a wrong type": (dict(NETWORK, mtu="many"), "mtu"),
    "VLAN 4095": ({"type": "network", "id": "n", "network_type": "vlan", "physical_network": "p", "segmentation_id": 4095},
                  "segmentation_id"),
    "a VNI of 25 bits": (dict(NETWORK, segmentation_id=1 << 24), "segmentation_id"),
    "a segment of another's": (dict(NETWORK, id="green"), "segmentation_id"),
    "a multicast MAC": (port(1, mac_address="01:00:5e:00:00:01"), "mac_address"),
    "a control character": (dict(NETWORK, name="a\x1b[2J"), "name"),
    "a socket elsewhere": (port(1, host="cmp1", vif={"path": "/tmp/elsewhere.sock"}), "vif.path"),
    "a socket upwards": (port(1, host="cmp1", vif={"path": "DIRECTORY/../x.sock"}), "vif.path"),
    "an unknown network": (port(1, network_id="nowhere"), "network_id"),
    "an unknown host": (port(1, host="nowhere"), "host"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_documents_are_refused_by_field(room, daemon, driver, what):
    driver.batch([HOST, OTHER, NETWORK]).done()
    document, field = REFUSED[what]
    document = json.loads(json.dumps(document).replace("DIRECTORY", str(room.directory)))
    before = driver.get("/v1/digest").done()
    problem = driver.batch([dict(OTHER, l2_population=False), document]).problem(422)
    assert problem.get("field") == field and problem["line"] == 2, problem
    # A text that cannot be read does not say whose it is.
    if field != "name":
        assert problem["document"] == {"type": document["type"], "id": document["id"]}
    assert driver.get("/v1/digest").done() == before


def test_a_link_does_not_lead_out_of_the_directory(room, daemon, driver):
    driver.batch([HOST, NETWORK]).done()
    (room.directory / "link.sock").symlink_to("/tmp/elsewhere.sock")
    problem = driver.put("ports", port(1, host="cmp1", vif={"path": str(room.directory / "link.sock")})).problem(422)
    assert problem["field"] == "vif.path" and "link" in problem["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"{}" * 3, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"null"])
def test_what_is_no_document_is_refused(driver, body):
    answer = driver.ask("PUT", "/v1/networks/blue", body)
    assert answer.problem(answer.status)["status"] in (400, 422)
    assert driver.get("/healthz").status == 200


def test_long_bodies_are_refused(room, daemon):
    driver = client(room, daemon)
    problem = driver.ask("PUT", "/v1/networks/blue", b" " * 300_000).problem(413)
    assert "262144" in problem["detail"]
    assert client(room, daemon).ask("PUT", "/v1/snapshot?id=a", b"x" * (5 << 20), Content_Range=f"bytes 0-{(5 << 20) - 1}/{6 << 20}").status == 413
    # A hundred megabytes whose length is not said: the answer comes after sixteen of them.
    with socket.create_connection(("127.0.0.1", daemon.endpoint), 30) as stream:
        stream.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 100 and not select.select([stream], [], [], 0)[0]:
            stream.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
            sent += 1
        assert b" 413 " in stream.recv(65536).splitlines()[0]
    assert client(room, daemon).get("/healthz").status == 200


@pytest.mark.parametrize("path", ["/v1/status?wait=61", "/v1/status?wait=x", "/v1/status?colour=1", "/v1/status?wait=1&wait=2",
                                  "/v1/snapshot", "/v1/digest?type=planet"])
def test_queries_are_checked(driver, path):
    answer = driver.get(path)
    assert answer.problem(answer.status)["status"] in (400, 422)


def test_garbage_closes_its_connection_only(daemon, driver):
    for garbage in (b"\x16\x03\x01\x02\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000):
        with socket.create_connection(("127.0.0.1", daemon.endpoint), 10) as stream:
            try:
                stream.sendall(garbage)
                while stream.recv(4096):
                    pass
            except ConnectionError:
                pass
        assert driver.get("/healthz").status == 200


def test_slow_clients_delay_nobody(daemon, driver):
    held = [socket.create_connection(("127.0.0.1", daemon.endpoint), 10) for _ in range(60)]
    try:
        for number, stream in enumerate(held):
            stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"PUT /v1/networks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        start = time.monotonic()
        assert driver.get("/healthz").status == 200
        assert driver.batch([HOST]).status == 200
        assert time.monotonic() - start < 5
        # Half a head is half a head for ten seconds.
        for stream in held[1::2]:
            stream.settimeout(20)
            assert stream.recv(1) == b""
        # An address has its share: half of `held`, and the driver, have some of it still.
        more = [socket.create_connection(("127.0.0.1", daemon.endpoint), 10) for _ in range(40)]
        held += more
        eventually(lambda: len(select.select(more, [], [], 0)[0]) == 7, 10, "the connections beyond 64 to be closed")
    finally:
        for stream in held:
            stream.close()


# MARK: TLS

def test_only_clients_with_a_certificate_of_its_authority_are_let_in(room):
    ours, theirs = Authority(room.directory, "ours"), Authority(room.directory, "theirs")
    certificate, key = ours.issue("endpoint")
    daemon = started(room, "--endpoint-certificate", str(certificate), "--endpoint-key", str(key),
                     "--endpoint-client-ca", str(ours.certificate))
    driver = client(room, daemon, ours.context(ours.issue("driver")))
    assert driver.batch([HOST]).done()["changed"] == 1
    foreign = theirs.context(theirs.issue("driver"))
    foreign.load_verify_locations(ours.certificate)
    for context in (ours.context(), foreign):
        with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
            client(room, daemon, context).get("/healthz")
    with pytest.raises((OSError, Exception)):
        client(room, daemon).get("/healthz").done()
    assert driver.get("/healthz").status == 200


@pytest.mark.parametrize("options,words", [
    (["--endpoint", "0.0.0.0:8883"], "endpoint-plain"), (["--endpoint", "here:8883"], "here"), (["--endpoint", "127.0.0.1"], "127.0.0.1"),
    (["--endpoint", "127.0.0.1:8883", "--endpoint-key", "/nowhere"], "endpoint-certificate is missing"),
    (["--endpoint-plain"], "endpoint"),
    (["--endpoint", "127.0.0.1:8883", "--endpoint-key", "/nowhere", "--endpoint-certificate", "/nowhere",
      "--endpoint-client-ca", "/nowhere"], "/nowhere"),
])
def test_settings_that_let_strangers_in_are_refused(room, options, words):
    from martlet import Daemon
    daemon = room.keeps(Daemon(room.directory, options=options))
    daemon.start(wait=False)
    assert daemon.process.wait(20) == 1
    assert words in daemon.log()
