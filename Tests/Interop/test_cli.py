"""martletctl and martletd as an operator meets them: exit statuses, and sentences that name the value and the mend."""

import json
import os
import shutil
import stat
import subprocess

import pytest

from martlet import BINARIES, DONE, REFUSED, UNREACHABLE, USAGE, Daemon
from processes import Process, eventually


def snapshot(daemon):
    return daemon.json("show")


class Refusal:
    """What must be refused: the command, and words that its one sentence must have."""

    def __init__(self, name, command, *words):
        self.name, self.command, self.words = name, command, words


def port(name, kind, *words, bridge="br0", **options):
    given = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
    return ["port", "add", bridge, name, "--type", kind, *given, *words]


LONG_PATH = "/tmp/" + "x" * 103

REFUSALS = [
    Refusal("a bridge that exists", ["bridge", "add", "br0"], "br0", "exists"),
    Refusal("a port that exists", port("null0", "dpdk", devargs="net_null9"), "null0", "exists"),
    Refusal("a port on a bridge that does not exist", port("p1", "tap", bridge="nowhere"), "nowhere"),
    Refusal("deleting a bridge that does not exist", ["bridge", "del", "nowhere"], "nowhere"),
    Refusal("deleting a port that does not exist", ["port", "del", "nothing"], "nothing"),
    Refusal("showing a port that does not exist", ["port", "show", "nothing"], "nothing"),
    Refusal("a bridge name with a space", ["bridge", "add", "br 1"], "br 1"),
    Refusal("a port type that does not exist", port("p1", "carrier-pigeon"), "carrier-pigeon", "vhost-user"),
    Refusal("VLAN 4095", port("p1", "dpdk", "--tag", 4095, devargs="net_null1"), "4095", "4094"),
    Refusal("VLAN 4096", port("p1", "dpdk", "--tag", 4096, devargs="net_null1"), "4096", "4094"),
    Refusal("VLAN 4095 in trunks", port("p1", "dpdk", "--trunks", "1,4095", devargs="net_null1"), "4095"),
    Refusal("setting VLAN 4095", ["port", "set", "null0", "--tag", 4095], "4095"),
    Refusal("a VLAN mode that does not exist", port("p1", "dpdk", "--vlan-mode", "sideways", devargs="net_null1"),
            "sideways", "native-tagged"),
    Refusal("a native VLAN that is missing", port("p1", "dpdk", "--vlan-mode", "native-tagged", devargs="net_null1"),
            "native-tagged", "--tag"),
    Refusal("a socket path of 108 bytes", port("p1", "vhost-user", path=LONG_PATH), "108", "107", LONG_PATH),
    Refusal("a relative socket path", port("p1", "vhost-user", path="vm1.sock"), "vm1.sock", "absolute"),
    Refusal("a socket in a directory that does not exist", port("p1", "vhost-user", path="/nonexistent/vm1.sock"),
            "/nonexistent"),
    Refusal("no socket path", port("p1", "vhost-user"), "path="),
    Refusal("a vhost mode that does not exist", port("p1", "vhost-user", path="/tmp/x", mode="both"), "both", "client"),
    Refusal("a PCI address that does not exist", port("p1", "dpdk", pci="0000:ff:1f.7"), "0000:ff:1f.7"),
    Refusal("a PCI address that is none", port("p1", "dpdk", pci="eth0"), "eth0", "0000:3b:00.0"),
    Refusal("a device that does not exist", port("p1", "dpdk", devargs="net_nonsense0"), "net_nonsense0"),
    Refusal("a device without a name", port("p1", "dpdk"), "devargs"),
    Refusal("an option that does not exist", port("p1", "tap", colour="red"), "colour"),
    Refusal("a number of queues beyond the limit", port("p1", "vhost-user", path="/tmp/x", queues=17), "17", "16"),
    Refusal("an MTU beyond the limit", port("p1", "dpdk", devargs="net_null1", mtu=9001), "9001", "9000"),
    Refusal("an interface name too long", port("p1", "tap", ifname="sixteen-letters-"), "sixteen-letters-", "15"),
    Refusal("a port number in use", port("p1", "dpdk", "--number", 1, devargs="net_null1"), "1", "null0"),
    Refusal("a port number beyond the limit", port("p1", "dpdk", "--number", 65280, devargs="net_null1"), "65280",
            "65279"),
    Refusal("a MAC address that is none", ["fdb", "add", "br0", "52:54:00", "null0"], "52:54:00"),
    Refusal("a group address as a station", ["fdb", "add", "br0", "01:00:5e:00:00:01", "null0"], "01:00:5e:00:00:01"),
    Refusal("a station that is not there", ["fdb", "del", "br0", "52:54:00:00:00:01"], "52:54:00:00:00:01"),
    Refusal("an FDB too large", ["bridge", "set", "br0", "--fdb-capacity", 1_048_577], "1048577", "1048576"),
    Refusal("an FDB that ages at once", ["bridge", "set", "br0", "--fdb-ageing", 0], "0", "86400"),
    Refusal("a worker that does not exist", ["worker", "assign", "null0", 0, 77], "77"),
    Refusal("a queue that does not exist", ["worker", "assign", "null0", 5, 1], "5"),
    Refusal("a filter that does not compile", ["capture", "null0", "--filter", "ether or"], "ether or"),
]


@pytest.fixture(scope="module")
def switch(module_room):
    daemon = module_room.daemon()
    daemon.add_bridge()
    daemon.add_port("null0", "dpdk", devargs="net_null0,no-rx=1")
    return daemon


def is_one_sentence(text):
    return text.startswith("martletctl: ") and text.count("\n") == 1 and text.endswith("\n")


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name.replace(" ", "_"))
def test_refused_with_a_sentence_and_nothing_changed(switch, refusal):
    before = snapshot(switch)
    said = switch.refused(*refusal.command)
    assert is_one_sentence(said), said
    for word in refusal.words:
        assert str(word) in said, f"'{word}' is missing in: {said}"
    assert snapshot(switch) == before


def test_a_vhost_socket_that_is_a_regular_file_is_refused_and_left_alone(room, switch):
    path = room.directory / "precious.sock"
    path.write_text("precious")
    for mode in ("client", "server"):
        said = switch.refused(*port("p1", "vhost-user", path=path, mode=mode))
        assert str(path) in said
    assert path.read_text() == "precious"
    assert "p1" not in switch.ports()


USAGES = [
    ["frobnicate"], ["bridge", "frobnicate"], ["bridge", "add"], ["port", "add", "br0", "p1"],
    ["port", "add", "br0", "p1", "--type", "tap", "--tag", "ten"],
    ["port", "add", "br0", "p1", "--type", "tap", "--shiny"],
    ["port", "add", "br0", "p1", "--type", "tap", "--option", "ifname"], ["port", "set", "null0"],
    ["port", "add", "br0", "p1", "--type", "tap", "--trunks", "1,,2"],
]


@pytest.mark.parametrize("words", USAGES, ids=" ".join)
def test_wrong_usage_ends_with_status_2(switch, words):
    before = snapshot(switch)
    said = switch.refused(*words, status=USAGE)
    assert "Usage:" in said
    assert snapshot(switch) == before


def ctl(*words, **environment):
    return subprocess.run([str(BINARIES / "martletctl"), *map(str, words)], capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, **environment))


def test_a_daemon_that_is_not_there_ends_with_status_3(room):
    path = room.directory / "nobody.sock"
    done = ctl("show", MARTLET_SOCKET=str(path))
    assert done.returncode == UNREACHABLE
    assert str(path) in done.stderr and is_one_sentence(done.stderr)


def test_a_daemon_that_has_died_ends_with_status_3(room, daemon):
    daemon.kill()
    assert str(daemon.socket) in daemon.refused("show", status=UNREACHABLE)


@pytest.mark.parametrize("order", ["first", "last"])
def test_the_socket_is_an_option_before_and_after_the_verb(switch, order):
    option, verb = ["--socket", switch.socket], ["bridge", "list", "--json"]
    done = ctl(*(option + verb if order == "first" else verb + option))
    assert done.returncode == DONE, done.stderr
    assert json.loads(done.stdout) == switch.json("bridge", "list")


def test_the_option_wins_over_the_environment(switch):
    done = ctl("version", "--socket", switch.socket, MARTLET_SOCKET="/nonexistent")
    assert done.returncode == DONE, done.stderr


READS = [["show"], ["bridge", "list"], ["port", "list"], ["port", "show", "null0"], ["worker", "list"],
         ["fdb", "show", "br0"], ["stats", "ports"], ["stats", "workers"], ["stats", "drops"], ["group", "list"], ["version"], ["doctor"],
         ["flow", "dump", "br0"]]


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_every_read_speaks_json_and_text(switch, words):
    assert isinstance(switch.json(*words), (dict, list))
    assert switch.ctl(*words).stdout.strip()


def test_show_names_bridges_ports_and_tags(switch):
    switch.ctl("port", "set", "null0", "--tag", 77)
    try:
        text = switch.ctl("show").stdout
        assert "br0" in text and "null0" in text and "77" in text
    finally:
        switch.ctl("port", "set", "null0", "--vlan-mode", "trunk")


def test_doctor_says_that_this_machine_is_well_enough(switch):
    findings = switch.json("doctor")["findings"]
    assert {"check", "ok", "message"} <= set(findings[0])
    hugepages = [finding for finding in findings if "hugepage" in finding["check"]]
    assert hugepages and all(finding["message"] for finding in hugepages)


def test_doctor_without_a_daemon_says_so(room):
    done = ctl("doctor", MARTLET_SOCKET=str(room.directory / "nobody.sock"))
    assert done.returncode == REFUSED
    assert "FAIL" in done.stdout and "nobody.sock" in done.stdout


def test_shell_completion_is_generated():
    assert "vhost-user" in ctl("--generate-completion-script", "bash").stdout


# --- the daemon's own start --------------------------------------------------------------------------------------

def refused_start(room, directory=None, socket=None, **options):
    """Starts a martletd that must refuse; returns the one line that it says."""
    daemon = room.keeps(Daemon(directory or room.directory, **options))
    daemon.socket = socket or daemon.socket
    daemon.state.mkdir(exist_ok=True)
    process = Process(daemon.command(), daemon.directory / "refused.log")
    status = process.wait(20)
    assert status > 0, f"status {status}: {process.output()}"
    line, = process.output().splitlines()
    assert line.startswith("martletd: ")
    return line


def test_not_root_is_one_line_that_says_so(room):
    # The binary must be reachable for nobody; the state directory too, so that nothing else is refused first.
    program = room.directory / "martletd"
    shutil.copy(BINARIES / "martletd", program)
    room.directory.chmod(0o777)
    daemon = room.keeps(Daemon(room.directory, hugepages=False))
    daemon.state.mkdir()
    daemon.state.chmod(0o777)
    command = [program if word == BINARIES / "martletd" else word for word in daemon.command()]
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *map(str, command)],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "root" in done.stderr, done.stderr


def test_more_hugepages_than_there_are_is_one_line_with_the_mend(room):
    said = refused_start(room, socket_memory=1_000_000)
    assert "1000000" in said and "hugepages" in said


@pytest.mark.parametrize("options, words", [
    (["--eal-option=--nonsense"], ["DPDK"]),
    (["--config", "/nonexistent.toml"], ["/nonexistent.toml"]),
], ids=["EAL", "configuration"])
def test_a_start_that_cannot_be_is_one_line(room, options, words):
    said = refused_start(room, hugepages=False, options=options)
    for word in words:
        assert word in said


def test_an_lcore_that_does_not_exist_is_named(room):
    assert "97" in refused_start(room, hugepages=False, workers="97")


def test_two_daemons_with_their_own_names_live_side_by_side(room, daemon):
    other_directory = room.directory / "other"
    other_directory.mkdir()
    other = room.keeps(Daemon(other_directory)).start()
    other.add_bridge("elsewhere")
    assert [bridge["name"] for bridge in daemon.json("bridge", "list")["bridges"]] == ["br0"]
    assert [bridge["name"] for bridge in other.json("bridge", "list")["bridges"]] == ["elsewhere"]


def test_a_second_daemon_on_the_same_state_is_refused(room, daemon):
    assert "state" in refused_start(room, hugepages=False)
    assert daemon.answers()


def test_a_second_daemon_on_the_same_socket_is_refused(room, daemon):
    elsewhere = room.directory / "elsewhere"
    elsewhere.mkdir()
    assert str(daemon.socket) in refused_start(room, elsewhere, daemon.socket, hugepages=False)
    assert daemon.answers()


def test_the_control_socket_is_for_its_owner_and_group_only(daemon):
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660


def test_sigterm_ends_it_in_order_and_takes_the_socket_away(daemon):
    assert daemon.process.stop() == 0, daemon.log()
    assert not daemon.socket.exists()


def test_sighup_does_not_end_it(daemon):
    os.kill(daemon.process.pid, 1)
    eventually(lambda: "configuration" in daemon.log(), 10, "a line about the configuration")
    assert daemon.answers()
