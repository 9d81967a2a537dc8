"""What an operator said outlives the daemon; what the file says is never guessed at."""

import os
import sqlite3

import pytest

from frames import BROADCAST, frame, station
from martlet import Daemon
from processes import Process, eventually
from vhost_user import FrontEnd


@pytest.fixture
def furnished(room):
    """A daemon with bridges, ports of every type, settings and a station."""
    daemon = room.daemon()
    daemon.add_bridge("br0", "--fdb-capacity", 1024, "--fdb-ageing", 60, "--forward-reserved")
    daemon.add_bridge("br1")
    daemon.add_vhost_user("vm1", room.socket("vm1"), "client", 10)
    daemon.add_vhost_user("vm2", room.socket("vm2"), "server", None, "--trunks", "10,20")
    daemon.add_port("null0", "dpdk", "--number", 7, bridge="br1", devargs="net_null0,no-rx=1", descriptors=256)
    daemon.add_port("nf1", "ring", "--vlan-mode", "native-untagged", "--tag", 5, bridge="br1", size=128)
    daemon.ctl("fdb", "add", "br0", station(1), "vm1", "--vlan", 10)
    return daemon


def description(daemon):
    """All that is configured; what only lives, such as links, is left out."""
    shown = daemon.json("show")
    for bridge in shown["bridges"]:
        for port in bridge["ports"]:
            del port["link"]
    return shown


ENDS = pytest.mark.parametrize("end", [Daemon.kill, lambda daemon: daemon.process.stop()], ids=["kill", "orderly"])


@ENDS
def test_a_restart_restores_bridges_ports_and_stations(furnished, end):
    before = description(furnished)
    end(furnished)
    furnished.start()
    assert description(furnished) == before
    static = [entry for entry in furnished.json("fdb", "show", "br0")["entries"] if entry["static"]]
    assert [(entry["mac"], entry["vlan"], entry["port"]) for entry in static] == [(station(1), 10, "vm1")]


def test_what_was_deleted_does_not_come_back(furnished):
    furnished.ctl("port", "del", "vm2")
    furnished.ctl("bridge", "del", "br1")
    furnished.kill()
    furnished.start()
    assert set(furnished.ports()) == {"vm1"}
    assert [bridge["name"] for bridge in furnished.json("bridge", "list")["bridges"]] == ["br0"]


def test_restored_ports_forward_by_their_policy_from_the_first_frame(room):
    daemon = room.daemon()
    daemon.add_bridge()
    peers = {}
    for name, tag in (("a", 10), ("b", 10), ("c", 20)):
        peers[name] = room.keeps(FrontEnd(room.socket(name)))
        daemon.add_vhost_user(name, room.socket(name), "client", tag)
        peers[name].connect()
    daemon.wait_for_link("a", "b", "c")
    daemon.kill()
    # Frames wait in the ring from before the new daemon is there.
    early = frame(station(1), BROADCAST)
    peers["a"].send(early)
    daemon.start(wait=False)
    for peer in peers.values():
        peer.connect()
    eventually(lambda: daemon.answers() and daemon.link_up("a") and daemon.link_up("b"), 20, "links after the restart")
    late = frame(station(1), BROADCAST, length=100)
    peers["a"].send(late)
    assert set(peers["b"].wait_for(late)) <= {early}
    assert peers["c"].received() == []


def test_a_port_whose_device_is_gone_keeps_the_others_from_nothing(room):
    directory = room.directory / "sockets"
    directory.mkdir()
    daemon = room.daemon()
    daemon.add_bridge()
    daemon.add_vhost_user("lost", directory / "lost.sock", "server")
    daemon.add_port("null0", "dpdk", devargs="net_null0,no-rx=1")
    daemon.kill()
    (directory / "lost.sock").unlink(missing_ok=True)
    directory.rmdir()
    daemon.start()
    ports = daemon.ports()
    assert ports["lost"]["link"] == "down" and str(directory) in ports["lost"]["error"]
    assert ports["null0"]["link"] == "up"


# --- a file that cannot be used ----------------------------------------------------------------------------------

def state_file(daemon):
    file, = daemon.state.glob("*.db")
    return file


def stopped(room, end=lambda daemon: daemon.process.stop()):
    daemon = room.daemon()
    daemon.add_bridge("precious")
    end(daemon)
    return daemon


def refuses_to_start(daemon):
    """Starts it, expects one line that names the file, and that not one octet of the state is changed."""
    before = {path.name: path.read_bytes() for path in daemon.state.iterdir()}
    process = Process(daemon.command(), daemon.directory / "refused.log")
    assert process.wait(20) == 1
    said = [line for line in process.output().splitlines() if line.startswith("martletd: ")]
    assert len(said) == 1, process.output()
    assert str(state_file(daemon)) in said[0]
    after = {path.name: path.read_bytes() for path in daemon.state.iterdir()}
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert not changed, f"a refused start has changed {changed}"
    return said[0]


def test_a_state_file_of_a_newer_version_is_refused_with_what_to_do(room):
    daemon = stopped(room)
    with sqlite3.connect(state_file(daemon)) as database:
        database.execute("PRAGMA user_version = 9999")
    database.close()
    said = refuses_to_start(daemon)
    assert "9999" in said and "newer" in said


DAMAGES = {
    "garbage": lambda octets: os.urandom(len(octets)),
    "text": lambda octets: b"this was a database once\n",
    "a header with garbage behind it": lambda octets: octets[:100] + os.urandom(len(octets) - 100),
    "half the file": lambda octets: octets[:len(octets) // 2],
    "zeros in the middle": lambda octets: octets[:4096] + bytes(len(octets) - 4096),
}


@ENDS
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda name: name.replace(" ", "_"))
def test_a_damaged_state_file_is_refused_and_left_alone(room, damage, end):
    daemon = stopped(room, end)
    file = state_file(daemon)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    said = refuses_to_start(daemon)
    assert "move the file aside" in said


def test_a_foreign_database_is_refused_and_left_alone(room):
    daemon = stopped(room)
    file = state_file(daemon)
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
    database.close()
    refuses_to_start(daemon)


def test_an_empty_state_file_is_refused_and_left_alone(room):
    daemon = stopped(room)
    state_file(daemon).write_bytes(b"")
    refuses_to_start(daemon)


def test_a_state_file_moved_aside_starts_empty_and_moved_back_restores(room):
    daemon = stopped(room)
    file = state_file(daemon)
    aside = room.directory / "aside.db"
    file.rename(aside)
    daemon.start()
    assert daemon.json("bridge", "list")["bridges"] == []
    daemon.process.stop()
    aside.rename(file)
    daemon.start()
    assert [bridge["name"] for bridge in daemon.json("bridge", "list")["bridges"]] == ["precious"]
