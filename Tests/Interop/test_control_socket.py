"""The control socket against clients that are wrong, large, slow or rude: each hurts itself only."""

import json
import socket
from contextlib import contextmanager

import pytest

from bystanders import Bystanders
from processes import eventually, open_files

PARSE, INVALID, UNKNOWN, PARAMETERS, REFUSED = -32700, -32600, -32601, -32602, 1
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def scene(module_room):
    """A daemon with traffic that must not notice any of this."""
    daemon = module_room.daemon()
    daemon.add_bridge()
    bystanders = Bystanders(module_room, daemon)
    yield daemon
    bystanders.finish()


class Line:
    """A raw connection to the control socket."""

    def __init__(self, daemon):
        self.stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # With a time limit it would fail, instead of waiting, while the queue of those who are let in is full.
        self.stream.connect(str(daemon.socket))
        self.stream.settimeout(10)
        self._file = self.stream.makefile("rb")

    def say(self, octets):
        self.stream.sendall(octets)

    def answer(self):
        """The next message; None at the end of the stream."""
        text = self._file.readline()
        return json.loads(text) if text else None

    def ask(self, octets):
        self.say(octets)
        return self.answer()

    def close(self):
        self._file.close()
        self.stream.close()


@contextmanager
def connection(daemon):
    line = Line(daemon)
    try:
        yield line
    finally:
        line.close()


def request(method, number=1, **parameters):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}).encode() + b"\n"


def answers_at_once(daemon):
    """A well-behaved client is served while others misbehave."""
    return daemon.call("version")["result"]["version"]


MALFORMED = {
    "no JSON": (b"this is no JSON\n", PARSE),
    "half an object": (b'{"jsonrpc": "2.0", "id": 1, "method": "show"\n', PARSE),
    "no UTF-8": (b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}\n', PARSE),
    "an empty object": (b"{}\n", INVALID),
    "a number": (b"42\n", INVALID),
    "a batch": (b'[{"jsonrpc": "2.0", "id": 1, "method": "version"}]\n', INVALID),
    "another protocol version": (b'{"jsonrpc": "1.0", "id": 1, "method": "version"}\n', INVALID),
    "a method that is a number": (b'{"jsonrpc": "2.0", "id": 1, "method": 7}\n', INVALID),
    "an unknown method": (request("frobnicate"), UNKNOWN),
    "a missing parameter": (request("bridge.add"), PARAMETERS),
    "a parameter of another type": (request("bridge.add", name=42), PARAMETERS),
    "parameters that are no object": (b'{"jsonrpc": "2.0", "id": 1, "method": "bridge.add", "params": ["br9"]}\n',
                                      PARAMETERS),
    "something that cannot be": (request("bridge.del", name="nowhere"), REFUSED),
    "deep nesting": (b"[" * 100_000 + b"\n", None),
}


@pytest.mark.parametrize("name", MALFORMED, ids=lambda name: name.replace(" ", "_"))
def test_a_malformed_request_is_answered_with_its_error(scene, name):
    octets, code = MALFORMED[name]
    before = scene.json("show")
    with connection(scene) as line:
        answer = line.ask(octets)
        assert answer["jsonrpc"] == "2.0"
        assert answer["error"]["code"] in ([code] if code else [PARSE, INVALID])
        assert answer["error"]["message"]
    assert scene.json("show") == before


@pytest.mark.parametrize("name", ["no JSON", "an unknown method", "something that cannot be"])
def test_a_connection_is_usable_after_an_error(scene, name):
    with connection(scene) as line:
        line.ask(MALFORMED[name][0])
        assert "result" in line.ask(request("version", 2))


def test_requests_in_one_write_are_answered_in_order(scene):
    with connection(scene) as line:
        line.say(b"".join(request("version", number) for number in range(100)))
        assert [line.answer()["id"] for _ in range(100)] == list(range(100))


def test_a_request_in_single_bytes_is_answered(scene):
    with connection(scene) as line:
        for octet in request("version"):
            line.say(bytes([octet]))
        assert "result" in line.answer()


def test_a_line_over_a_mebibyte_is_refused_and_the_connection_closed(scene):
    with connection(scene) as line:
        try:
            line.say(b'{"jsonrpc": "2.0", "id": 1, "method": "' + b"x" * MEBIBYTE + b'"}\n')
        except ConnectionError:
            pass
        assert line.answer()["error"]["code"] == INVALID
        assert line.answer() is None
    assert answers_at_once(scene)


def test_an_endless_line_is_cut_off(scene):
    with connection(scene) as line:
        with pytest.raises((ConnectionError, socket.timeout)):
            for _ in range(64):
                line.say(b"x" * MEBIBYTE)
    assert answers_at_once(scene)


def test_a_slow_client_delays_no_other(scene):
    with connection(scene) as slow:
        slow.say(request("version")[:20])
        for _ in range(20):
            assert answers_at_once(scene)
        slow.say(request("version")[20:])
        assert "result" in slow.answer()


def test_a_half_closed_client_still_gets_its_answers(scene):
    with connection(scene) as line:
        line.say(request("version", 1) + request("bridge.list", 2))
        line.stream.shutdown(socket.SHUT_WR)
        assert [line.answer()["id"], line.answer()["id"]] == [1, 2]
        assert line.answer() is None


def test_a_client_that_never_reads_delays_no_other(scene):
    with connection(scene) as deaf:
        deaf.stream.setblocking(False)
        try:
            for _ in range(20_000):
                deaf.stream.send(request("show"))
        except (BlockingIOError, ConnectionError):
            pass
        for _ in range(20):
            assert answers_at_once(scene)


def test_a_client_that_leaves_in_the_middle_is_forgotten(scene):
    before = open_files(scene.process.pid)
    for _ in range(200):
        with connection(scene) as line:
            line.say(request("show")[:30])
    eventually(lambda: open_files(scene.process.pid) <= before, 10, "connections being closed")


def test_connections_beyond_the_limit_are_refused_and_the_others_kept(scene):
    lines = []
    try:
        # 64 at most: README of Control. Some more are tried, since others may be coming and going.
        for _ in range(80):
            try:
                lines.append(Line(scene))
            except OSError:
                break
        served = sum(_is_served(line) for line in lines)
        assert 60 <= served <= 64
    finally:
        for line in lines:
            line.close()
    eventually(lambda: _answers(scene), 10, "an answer when connections are free again")


def _is_served(line):
    try:
        return "result" in (line.ask(request("version")) or {})
    except OSError:
        return False


def _answers(daemon):
    """Whether a new connection is served: until the closed ones are counted off, it is told that there are too many."""
    try:
        return "result" in daemon.call("version")
    except (OSError, ValueError):
        return False


def test_a_storm_of_clients_is_served(scene):
    for _ in range(500):
        assert answers_at_once(scene)


def test_a_notification_gets_no_answer(scene):
    with connection(scene) as line:
        line.say(b'{"jsonrpc": "2.0", "method": "version"}\n')
        assert line.ask(request("version", 9))["id"] == 9
