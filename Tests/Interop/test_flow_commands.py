"""martletctl flow: what an operator says of flows, with a real martletd, and the flows of real deployments."""

import json
import re
import shutil
import threading
from pathlib import Path

import pytest

from dummy_switch import DummySwitch
from martlet import BINARIES, DONE, REFUSED, Daemon
from processes import Process, eventually

GOLDEN = Path(__file__).resolve().parents[1] / "FlowsTests/Golden"
FIRST = " priority=0 actions=NORMAL"
DUMP_LINE = re.compile(r" cookie=0x[0-9a-f]+, duration=[0-9.]+s, table=\d+, n_packets=\d+, n_bytes=\d+, "
                       r"(idle_timeout=\d+, )?(hard_timeout=\d+, )?(send_flow_rem )?idle_age=\d+, .*actions=.+")


@pytest.fixture(scope="module")
def switch(module_room):
    daemon = module_room.daemon(hugepages=False)
    daemon.add_bridge()
    for number, name in enumerate(("vm1", "up-1"), start=1):
        daemon.add_port(name, "dpdk", "--number", number, devargs=f"net_null{number},no-rx=1")
    return daemon


@pytest.fixture
def empty(switch):
    """The switch, its bridge as it was when it was new."""
    replace(switch, "br0", "priority=0 actions=NORMAL\n")
    return switch


def replace(daemon, bridge, text):
    return daemon.ctl("flow", "replace", bridge, "--file", "-", input=text).stdout


def dump(daemon, *words, bridge="br0"):
    return daemon.ctl("flow", "dump", bridge, *words).stdout.splitlines()


# --- commands ----------------------------------------------------------------------------------------------------

def test_a_new_bridge_has_one_flow(empty):
    assert dump(empty, "--no-stats") == [FIRST]
    line, = dump(empty)
    assert DUMP_LINE.fullmatch(line) and line.endswith("priority=0 actions=NORMAL"), line


def test_lines_are_those_of_a_dump_by_table_priority_and_text(empty):
    empty.ctl("flow", "add", "br0", "--file", "-", input="""
        # what a file may have
        table=1,priority=3,arp actions=drop
        priority=3,ip,in_port=vm1 actions="up-1"
        cookie=0x7,idle_timeout=60,send_flow_rem,priority=9,tcp,tp_dst=80 actions=set_field:5->reg0,resubmit(,1)
        priority=3,arp actions=flood
    """)
    assert dump(empty, "--no-stats") == [
        " cookie=0x7, idle_timeout=60, send_flow_rem priority=9,tcp,tp_dst=80 actions=set_field:0x5->reg0,resubmit(,1)",
        " priority=3,arp actions=FLOOD",
        " priority=3,ip,in_port=1 actions=output:2",
        FIRST,
        " table=1, priority=3,arp actions=drop",
    ]
    assert all(DUMP_LINE.fullmatch(line) for line in dump(empty))
    assert dump(empty, "out_port=up-1", "--names", "--no-stats") == [
        ' priority=3,ip,in_port=vm1 actions=output:"up-1"']


def test_a_dump_is_objects_in_json(empty):
    empty.ctl("flow", "add", "br0", "cookie=0xffffffffffffffff,table=3,priority=7,ip,in_port=1 actions=output:2")
    flow, = empty.json("flow", "dump", "br0", "table=3")["flows"]
    assert flow.pop("duration") >= 0 and flow.pop("idle_age") >= 0
    assert flow == {
        "table": 3, "priority": 7, "cookie": "0xffffffffffffffff", "match": "ip,in_port=1", "actions": "output:2",
        "flow": "cookie=0xffffffffffffffff, table=3, priority=7,ip,in_port=1 actions=output:2",
        "n_packets": 0, "n_bytes": 0}


def test_a_dump_with_statistics_is_a_file_of_flows(empty):
    text = "priority=5,in_port=1 actions=output:2\ntable=4,ip actions=mod_nw_src:10.0.0.1,output:1\n"
    replace(empty, "br0", text)
    assert replace(empty, "br0", "\n".join(dump(empty))) == "0 added, 0 removed, 2 unchanged\n"


def test_strict_deletes_one_and_loose_what_is_narrower(empty):
    empty.ctl("flow", "add", "br0", "--file", "-", input="""
        ip actions=drop
        priority=7,ip actions=drop
        priority=7,ip,nw_dst=10.0.0.0/8 actions=drop
    """)
    assert empty.ctl("flow", "del", "br0", "priority=7,ip", "--strict").stdout == "1 deleted\n"
    assert empty.ctl("flow", "del", "br0", "ip").stdout == "2 deleted\n"
    assert empty.ctl("flow", "del", "br0").stdout == "1 deleted\n"
    assert dump(empty) == []


def test_a_watcher_is_told_of_flows_that_go(room, empty):
    watcher = room.keeps(Process([*ctl_command(empty), "flow", "watch", "br0"], room.directory / "watch.log"))
    flow = "hard_timeout=1,send_flow_rem,arp actions=drop"

    def told():
        # Adding it again and again: the watcher may not be there yet.
        empty.ctl("flow", "add", "br0", flow)
        empty.ctl("flow", "del", "br0", "arp")
        return "br0 delete duration=" in watcher.output()
    eventually(told, 20, "the notice of a deletion")
    empty.ctl("flow", "add", "br0", flow)
    watcher.wait_for_output("br0 hard duration=")
    assert "hard_timeout=1, send_flow_rem arp actions=drop" in watcher.output().splitlines()[-1]
    assert dump(empty, "--no-stats") == [FIRST]


def ctl_command(daemon):
    return [BINARIES / "martletctl", "--socket", daemon.socket]


# --- which flows a match selects, beside Open vSwitch ------------------------------------------------------------

FLOWS = [
    "ip actions=drop", "priority=5,ip actions=output:2", "table=3,ip,nw_dst=10.1.0.0/16 actions=output:1",
    "ip,nw_dst=10.0.0.0/8 actions=NORMAL", "in_port=1 actions=resubmit(2,3)", "in_port=2,tcp actions=enqueue:2:7",
    "in_port=1,arp actions=clone(mod_vlan_vid:5,output:2)", "arp actions=output:1,IN_PORT",
    "cookie=0x1f,udp actions=FLOOD", "cookie=0x2f,udp6 actions=ALL", "reg0=1 actions=output:NXM_NX_REG1[0..15]",
    "dl_vlan=7 actions=clone(clone(output:1))",
]
SELECTIONS = [
    "", "ip", "ip,nw_dst=10.0.0.0/8", "ip,nw_dst=10.1.0.0/16", "in_port=1", "table=0", "table=3", "out_port=1",
    "out_port=2", "out_port=2,ip", "out_port=NORMAL", "out_port=IN_PORT", "out_port=FLOOD", "out_port=ALL",
    "out_port=ANY", "arp",
    "cookie=0x10/0xf0", "cookie=0x1f/-1", "cookie=0/0,udp6", "dl_vlan=7",
]
STRICT = ["ip", "priority=5,ip", "table=3,ip,nw_dst=10.1.0.0/16", "ip,nw_dst=10.1.0.0/16", "priority=5,ip,out_port=1",
          "cookie=0x1f/-1,udp", "cookie=0x2f/-1,udp", ""]


@pytest.fixture(scope="module")
def oracle(module_room):
    if not shutil.which("ovs-vswitchd"):
        pytest.skip("no Open vSwitch here")
    directory = module_room.directory / "ovs"
    directory.mkdir()
    return module_room.keeps(DummySwitch(directory))


@pytest.mark.parametrize("match, strict", [(match, []) for match in SELECTIONS] + [(m, ["--strict"]) for m in STRICT],
                         ids=lambda value: str(value))
def test_a_match_deletes_the_flows_that_open_vswitch_deletes(empty, oracle, match, strict):
    replace(empty, "br0", "\n".join(FLOWS))
    before = sorted(line.strip() for line in dump(empty, "--no-stats"))
    empty.ctl("flow", "del", "br0", match, *strict)
    assert oracle.left_of(FLOWS) == before, "the flows themselves differ"
    assert sorted(line.strip() for line in dump(empty, "--no-stats")) == oracle.left_of(FLOWS, match, strict)



CHANGED = [
    "cookie=0x17,priority=5,tcp,tp_dst=80,idle_timeout=60 actions=output:1", "cookie=0x28,priority=6,ip,send_flow_rem actions=output:1",
    "table=3,ip,nw_dst=10.1.0.0/16 actions=output:1", "arp actions=output:1,IN_PORT", "ip actions=drop",
]
CHANGES = [
    "ip actions=output:2", "udp actions=output:2", "actions=drop", "table=3 actions=output:2", "table=2,ip actions=output:2", "priority=77,tcp actions=output:2",
    "ip,idle_timeout=5,hard_timeout=6,send_flow_rem actions=output:2", "cookie=0x10/0xf0 actions=output:2",
    "cookie=0x77/-1,ip actions=output:2", "tcp actions=dec_ttl,output:2", "reset_counts,ip actions=output:2",
]
STRICT_CHANGES = ["ip actions=output:2", "priority=6,ip actions=output:2", "priority=7,ip actions=output:2",
                  "table=3,ip,nw_dst=10.1.0.0/16 actions=output:2", "cookie=0x28/-1,priority=6,ip actions=output:2"]


@pytest.mark.parametrize("change, strict", [(c, []) for c in CHANGES] + [(c, ["--strict"]) for c in STRICT_CHANGES],
                         ids=lambda value: str(value))
def test_a_change_changes_the_flows_that_open_vswitch_changes(empty, oracle, change, strict):
    replace(empty, "br0", "\n".join(CHANGED))
    empty.ctl("flow", "mod", "br0", change, *strict)
    assert sorted(line.strip() for line in dump(empty, "--no-stats")) == oracle.changed_of(CHANGED, change, strict)

# --- bad input ---------------------------------------------------------------------------------------------------

BAD = [
    ("colour=red actions=drop", 1, "colour"),
    ("in_port=1 actions=output:2,explode", 28, "explode"),
    ("ip,nw_dst=10.0.0.300 actions=drop", 11, "10.0.0.300"),
    ("mod_nw_src=1 actions=drop", 1, "mod_nw_src"),
    ("in_port=1 actions=mod_nw_src:10.0.0.1", 19, "ip"),
    ("table=255 actions=drop", 7, "254"),
    ("actions=output:3", 9, "port 3 does not exist on bridge 'br0'"),
    ("actions=clone(clone(output:3))", 21, "port 3"),
    ("actions=LOCAL", 9, "LOCAL"),
    ("actions=output:ghost", 16, "ghost"),
    ("priority=0,check_overlap,in_port=1 actions=drop", 1, "overlaps"),
    ("tcp actions=ct(commit,nat,alg=ftp)", 13, "cannot be run"),
]


@pytest.mark.parametrize("flow, column, words", BAD, ids=lambda value: str(value)[:30])
def test_a_bad_flow_is_refused_with_its_column(empty, flow, column, words):
    before = dump(empty, "--no-stats")
    said = empty.refused("flow", "add", "br0", flow).splitlines()
    assert said[0].startswith(f"martletctl: column {column}: ") and words in said[0], said
    assert said[1].strip() == flow
    assert said[2].index("^") == 4 + column - 1
    assert dump(empty, "--no-stats") == before


def test_one_bad_line_among_a_hundred_thousand_adds_none(room, empty):
    lines = [f"table=3,reg0={number} actions=output:1" for number in range(100_000)]
    lines[77_776] += ",explode"
    path = room.directory / "flows"
    path.write_text("\n".join(lines))
    for verb in ("add", "replace"):
        said = empty.refused("flow", verb, "br0", "--file", path)
        column = lines[77_776].index("explode") + 1
        assert said.startswith(f"{path}:77777:{column}: "), said
        assert dump(empty, "--no-stats") == [FIRST]


def test_a_line_of_a_megabyte_is_refused(empty):
    done = empty.ctl("flow", "add", "br0", "--file", "-", check=False, input="x" * 2_000_000)
    assert done.returncode == REFUSED
    assert done.stderr.startswith("-:1:1: ") and "65536" in done.stderr
    assert dump(empty, "--no-stats") == [FIRST]


def test_a_hundred_thousand_flows_go_there_and_back(room, empty):
    path = room.directory / "flows"
    path.write_text("".join(f"table={n % 8},reg0={n} actions=output:{1 + n % 2}\n" for n in range(100_000)))
    assert replace(empty, "br0", path.read_text()) == "100000 added, 1 removed, 0 unchanged\n"
    assert len(dump(empty, "--no-stats")) == 100_000
    assert empty.ctl("flow", "replace", "br0", "--file", path).stdout == "0 added, 0 removed, 100000 unchanged\n"
    assert empty.ctl("flow", "del", "br0", "table=5").stdout == "12500 deleted\n"


def test_operators_who_add_at_the_same_time_all_get_their_flows(empty):
    def add(table):
        for number in range(20):
            empty.ctl("flow", "add", "br0", f"table={table},reg0={number} actions=drop")
    threads = [threading.Thread(target=add, args=(table,)) for table in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(dump(empty)) == 81


# --- restarts ----------------------------------------------------------------------------------------------------

def test_flows_outlive_the_daemon_but_those_with_timeouts(room):
    daemon = room.daemon(hugepages=False)
    daemon.add_bridge()
    daemon.add_bridge("br1")
    daemon.ctl("flow", "add", "br0", "cookie=0x5,table=7,priority=3,udp,tp_dst=53 actions=dec_ttl,NORMAL")
    daemon.ctl("flow", "add", "br0", "idle_timeout=600,arp actions=drop")
    daemon.ctl("flow", "del", "br1")
    kept = [FIRST, " cookie=0x5, table=7, priority=3,udp,tp_dst=53 actions=dec_ttl,NORMAL"]
    assert len(dump(daemon)) == 3
    for end in (daemon.kill, daemon.process.stop):
        end()
        daemon.start()
        assert dump(daemon, "--no-stats") == kept
        assert dump(daemon, bridge="br1") == []


# --- the flows of real deployments -------------------------------------------------------------------------------

# It shrinks with what the dataplane can run; then the dumps load whole.
DUMPS = ["br-int", "br-tun", "br-phys", "noop/br-int", "noop/br-tun", "noop/br-phys"]


@pytest.fixture(scope="module")
def agent(module_room):
    """A switch with the bridges of a Neutron agent's host, and ports of the names and numbers there."""
    directory = module_room.directory / "agent"
    directory.mkdir()
    daemon = module_room.keeps(Daemon(directory, hugepages=False)).start()
    serial = 0
    for bridge in ("br-int", "br-tun", "br-phys"):
        daemon.add_bridge(bridge)
        show = (GOLDEN / f"neutron/{bridge}.show").read_text()
        for number, name in re.findall(r"^ (\d+)\((.+)\): addr", show, re.MULTILINE):
            serial += 1
            daemon.add_port(name, "dpdk", "--number", number, bridge=bridge, devargs=f"net_null{serial},no-rx=1")
    return daemon


@pytest.mark.parametrize("name", DUMPS)
def test_the_flows_of_a_neutron_agent_load_and_dump_as_they_were(agent, name):
    bridge = name.split("/")[-1]
    lines = (GOLDEN / f"neutron/{name}.flows").read_text().splitlines()
    replace(agent, bridge, "\n".join(lines))
    assert sorted(dump(agent, "--no-stats", "--names", bridge=bridge)) == sorted(lines)
    # As numbers they are the same flows.
    assert "0 added, 0 removed" in replace(agent, bridge, "\n".join(dump(agent, bridge=bridge)))


def test_the_flows_of_the_mission_load_and_dump_as_they_were(empty):
    text = (GOLDEN / "mission.flows").read_text()
    assert empty.ctl("flow", "replace", "br0", "--file", "-", input=text).returncode == DONE
    statistics = re.compile(r"(cookie=0x0|duration=[^,]+|n_packets=\d+|n_bytes=\d+|idle_age=\d+), ")
    assert sorted(dump(empty, "--no-stats")) == sorted(" " + statistics.sub("", line) for line in text.splitlines())


def test_the_protocol_answers_with_the_place(empty):
    answer = empty.call("flow.add", bridge="br0", flows="actions=drop\n  ip,nonsense actions=drop")
    assert answer["error"]["code"] == 1
    data = answer["error"]["data"]
    assert (data["line"], data["column"]) == (2, 6) and "nonsense" in data["reason"]
    assert json.dumps(answer["error"]["message"]).startswith('"line 2, column 6: ')
