"""martletctl group, meter and address-set with a real martletd: what flows name beside ports."""

import json
import time

import pytest

from frames import frame, station
from martlet import BINARIES, REFUSED, USAGE
from netns import KernelPeer, Namespace
from processes import Process, eventually

FIRST = " priority=0 actions=NORMAL"
ALL = "group_id=1,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,actions=output:2"
SELECT = "group_id=2,type=select,bucket=bucket_id:5,weight:3,watch_port:1,actions=set_field:0x5->reg0,output:2"
METER = "meter=7 kbps burst stats bands=type=drop rate=1000 burst_size=100"


@pytest.fixture(scope="module")
def switch(module_room):
    daemon = module_room.daemon(hugepages=False)
    daemon.add_bridge()
    for number, name in enumerate(("vm1", "up1"), start=1):
        daemon.add_port(name, "dpdk", "--number", number, devargs=f"net_null{number},no-rx=1")
    return daemon


@pytest.fixture
def empty(switch):
    """The switch, its bridge as it was when it was new."""
    switch.ctl("flow", "replace", "br0", "--file", "-", input="priority=0 actions=NORMAL\n")
    switch.ctl("group", "del", "br0")
    switch.ctl("meter", "del", "br0")
    for row in switch.json("address-set", "list")["address_sets"]:
        switch.ctl("address-set", "del", row["name"])
    return switch


def lines(daemon, *words):
    return daemon.ctl(*words).stdout.splitlines()


# --- groups ------------------------------------------------------------------------------------------------------

def test_groups_are_dumped_as_they_are_added(empty):
    empty.ctl("group", "add", "br0", SELECT)
    empty.ctl("group", "add", "br0", "--file", "-", input=f"# one\n{ALL}\n")
    assert lines(empty, "group", "dump", "br0") == [f" {ALL}", f" {SELECT}"]
    named = lines(empty, "group", "dump", "br0", "--names")[1]
    assert "watch_port:vm1" in named and named.endswith("output:up1")
    one, other = empty.json("group", "dump", "br0")["groups"]
    assert one == {"group_id": 1, "type": "all", "group": ALL, "buckets": [
        {"bucket_id": 0, "actions": "output:1"}, {"bucket_id": 1, "actions": "output:2"}]}
    assert other["buckets"] == [{"bucket_id": 5, "weight": 3, "watch_port": "1",
                                 "actions": "set_field:0x5->reg0,output:2"}]
    # A dump, with the header that ovs-ofctl prints, is a file of groups.
    dump = "NXST_GROUP_DESC reply (xid=0x2):\n" + empty.ctl("group", "dump", "br0").stdout
    empty.ctl("group", "del", "br0")
    empty.ctl("group", "add", "br0", "--file", "-", input=dump)
    assert lines(empty, "group", "dump", "br0") == [f" {ALL}", f" {SELECT}"]


def test_mod_replaces_a_group_and_its_flows_stay(empty):
    empty.ctl("group", "add", "br0", ALL)
    empty.ctl("flow", "add", "br0", "in_port=1 actions=group:1")
    assert empty.json("trace", "br0", "in_port=1")["actions"] == "up1"
    empty.ctl("group", "mod", "br0", "group_id=1,type=indirect,bucket=actions=in_port")
    assert lines(empty, "group", "dump", "br0") == [" group_id=1,type=indirect,bucket=bucket_id:0,actions=IN_PORT"]
    assert empty.json("trace", "br0", "in_port=1")["actions"] == "vm1"


def test_a_group_takes_its_flows_and_their_watchers_are_told(room, empty):
    watcher = room.keeps(Process([BINARIES / "martletctl", "--socket", empty.socket, "flow", "watch", "br0"],
                                 room.directory / "watch.log"))

    def told():
        # Again and again: the watcher may not be there yet.
        empty.ctl("group", "add", "br0", ALL)
        empty.ctl("flow", "add", "br0", "send_flow_rem,in_port=1 actions=group:1")
        assert lines(empty, "group", "del", "br0", "1") == ["1 deleted, flows that used them: 1"]
        return "br0 group duration=" in watcher.output()
    eventually(told, 20, "the notice of a flow that went with its group")
    assert lines(empty, "flow", "dump", "br0", "--no-stats") == [FIRST]


@pytest.mark.parametrize("group, column, words", [
    ("group_id=1,type=all,bucket=actions=explode", 36, "explode"),
    ("group_id=1,type=all,bucket=actions=group:9", 36, "group 9"),
    ("group_id=1,type=all,bucket=actions=group:1", 36, "1 -> 1"),
    ("group_id=4294967041,type=all", 10, "4294967040"),
    ("group_id=1,type=all,bucket=actions=output:9", 36, "port 9 does not exist on bridge 'br0'"),
    ("group_id=1,type=ff,bucket=watch_port:9,actions=drop", 38, "port 9 does not exist on bridge 'br0'"),
    ("type=all", 1, "group_id"),
], ids=lambda value: str(value)[:40])
def test_a_bad_group_is_refused_with_its_column(empty, group, column, words):
    said = empty.refused("group", "add", "br0", group).splitlines()
    assert said[0].startswith(f"martletctl: column {column}: ") and words in said[0], said
    assert said[1].strip() == group
    assert said[2].index("^") == 4 + column - 1
    assert lines(empty, "group", "dump", "br0") == []


def test_a_file_of_groups_is_applied_whole_or_not_at_all(room, empty):
    path = room.directory / "groups"
    path.write_text(f"{ALL}\ngroup_id=1,type=all\n")
    assert empty.refused("group", "add", "br0", "--file", path).startswith(f"{path}:2:1: group 1 exists already")
    assert lines(empty, "group", "dump", "br0") == []


def test_what_groups_need_must_be_there(empty):
    assert "group 3 does not exist" in empty.refused("group", "mod", "br0", "group_id=3,type=all")
    assert "group 3 does not exist" in empty.refused("group", "del", "br0", "3")
    assert "group 3 does not exist" in empty.refused("flow", "add", "br0", "actions=group:3")
    assert "nowhere" in empty.refused("group", "dump", "nowhere")
    empty.ctl("group", "add", "br0", "group_id=1,type=all,bucket=actions=drop")
    empty.ctl("group", "add", "br0", "group_id=2,type=all,bucket=actions=group:1")
    assert "group 2 uses group 1" in empty.refused("group", "del", "br0", "1")
    for words in (("group", "add", "br0"), ("group", "add", "br0", ALL, "--file", "-"), ("group", "del", "br0", "x")):
        empty.refused(*words, status=USAGE)


def test_more_groups_than_a_line_of_the_socket_holds(empty):
    bucket = ",bucket=actions=output:1" * 50
    text = "".join(f"group_id={number},type=all{bucket}\n" for number in range(2000))
    assert len(text) > 2 << 20
    empty.ctl("group", "add", "br0", "--file", "-", input=text)
    assert len(empty.json("group", "dump", "br0")["groups"]) == 2000


# --- meters ------------------------------------------------------------------------------------------------------

def test_meters_are_dumped_as_they_are_added(empty):
    empty.ctl("meter", "add", "br0", METER)
    empty.ctl("meter", "add", "br0", "--file", "-", input="meter=2 pktps bands=type=drop rate=5\n")
    assert lines(empty, "meter", "dump", "br0") == [" meter=2 pktps bands=type=drop rate=5", f" {METER}"]
    assert empty.json("meter", "dump", "br0")["meters"][1] == {
        "meter_id": 7, "unit": "kbps", "meter": METER, "bands": [{"type": "drop", "rate": 1000, "burst_size": 100}]}
    empty.ctl("meter", "mod", "br0", "meter=2 kbps bands=type=drop rate=6")
    empty.ctl("flow", "add", "br0", "in_port=1 actions=meter:7,output:2")
    assert lines(empty, "meter", "stats", "br0")[1] == (
        " meter:7 flow_count:1 packet_in_count:0 byte_in_count:0 bands: 0: packet_count:0 byte_count:0")
    assert empty.json("meter", "stats", "br0")["meters"][0] == {
        "meter_id": 2, "flow_count": 0, "packet_in_count": 0, "byte_in_count": 0,
        "bands": [{"packet_count": 0, "byte_count": 0}]}
    assert lines(empty, "meter", "del", "br0", "7") == ["1 deleted, flows that used them: 1"]
    assert lines(empty, "flow", "dump", "br0", "--no-stats") == [FIRST]
    assert lines(empty, "meter", "dump", "br0") == [" meter=2 kbps bands=type=drop rate=6"]


def test_bad_meters_are_refused(empty):
    said = empty.refused("meter", "add", "br0", "meter=1 kbps bands=type=throw rate=1").splitlines()
    assert said[0].startswith("martletctl: column 25: 'throw'") and said[2].index("^") == 4 + 24
    assert "dscp_remark" in empty.refused("meter", "add", "br0", "meter=1 kbps bands=type=dscp_remark rate=1 prec_level=1")
    empty.ctl("meter", "add", "br0", METER)
    assert "meter 7 exists already" in empty.refused("meter", "add", "br0", METER)
    assert "meter 8 does not exist" in empty.refused("meter", "mod", "br0", METER.replace("meter=7", "meter=8"))
    assert "meter 8 does not exist" in empty.refused("meter", "del", "br0", "8")
    assert "meter 8 does not exist" in empty.refused("flow", "add", "br0", "actions=meter:8,NORMAL")


# --- address sets ------------------------------------------------------------------------------------------------

def test_members_come_and_go(room, empty):
    empty.ctl("address-set", "add", "web", "10.0.0.1", "10.0.8.7/24", "::1")
    assert lines(empty, "address-set", "show", "web") == ["10.0.0.1", "10.0.8.0/24", "::1"]
    path = room.directory / "members"
    path.write_text("# more\n10.0.0.1 10.0.0.2\n02:00:00:00:00:01\n")
    assert lines(empty, "address-set", "add-members", "web", "--file", path) == ["2 added"]
    assert lines(empty, "address-set", "del-members", "web", "0::1") == ["1 deleted"]
    members = ["10.0.0.1", "10.0.0.2", "10.0.8.0/24", "02:00:00:00:00:01"]
    assert empty.json("address-set", "show", "web") == {"name": "web", "members": members}
    assert empty.json("address-set", "list") == {"address_sets": [{"name": "web", "members": 4}]}
    assert lines(empty, "address-set", "list") == ["NAME  MEMBERS", "web         4"]


def test_flows_match_the_members_of_the_moment(empty):
    empty.ctl("address-set", "add", "web")
    empty.ctl("flow", "add", "br0", "table=0,priority=9,ip,nw_src=$web actions=output:2")

    def meets():
        return empty.json("trace", "br0", "in_port=1,ip,nw_src=10.0.0.1")["actions"] == "up1"
    assert not meets()
    empty.ctl("address-set", "add-members", "web", "10.0.0.0/8")
    assert meets()
    empty.ctl("address-set", "del-members", "web", "10.0.0.0/8")
    assert not meets()
    said = empty.refused("address-set", "del", "web")
    assert "table 0 of bridge 'br0'" in said and "nw_src=$web" in said
    assert lines(empty, "address-set", "list") == ["NAME  MEMBERS", "web         0"]


def test_bad_members_are_refused_with_their_place(room, empty):
    empty.ctl("address-set", "add", "web", "10.0.0.1")
    said = empty.refused("address-set", "add-members", "web", "10.0.0.2", "10.0.0.300").splitlines()
    assert said[0].startswith("martletctl: column 10: '10.0.0.300' is not an address")
    assert said[1].strip() == "10.0.0.2 10.0.0.300" and said[2].index("^") == 4 + 9
    path = room.directory / "members"
    path.write_text("10.0.0.1\n 10.0.0.9\n")
    said = empty.refused("address-set", "del-members", "web", "--file", path)
    assert said.startswith(f"{path}:2:2: '10.0.0.9' is no member")
    assert lines(empty, "address-set", "show", "web") == ["10.0.0.1"]
    assert "exists already" in empty.refused("address-set", "add", "web")
    assert "mail" in empty.refused("address-set", "show", "mail")
    assert "mail" in empty.refused("address-set", "del", "mail")
    assert "mail" in empty.refused("flow", "add", "br0", "ip,nw_src=$mail actions=drop")
    empty.refused("address-set", "add-members", "web", status=USAGE)
    assert empty.call("address_set.add", name="x")["error"]["code"] == REFUSED


def test_one_member_of_ten_thousand(empty, results):
    """What a change of one member costs beside that of a set with nothing in it; printed, not asserted."""
    flow = "priority=9,ip,nw_src=$big actions=output:2"
    empty.ctl("address-set", "add", "big", "--file", "-",
              input="\n".join(f"10.{n >> 8}.{n & 255}.1" for n in range(10_000)))
    empty.ctl("address-set", "add", "small")
    empty.ctl("flow", "add", "br0", flow)
    empty.ctl("flow", "add", "br0", flow.replace("big", "small"))
    empty.json("trace", "br0", "in_port=1,ip,nw_src=10.0.0.1")
    for name, size in (("small", 0), ("big", 10_000)):
        took = {verb: f"{1000 * timed(empty, f'address_set.{verb}_members', name):.2f}" for verb in ("add", "del")}
        results.add("one member of an address set, ms", members=size, **took)


def timed(daemon, method, name, count=50):
    """The median of `count` calls in seconds."""
    taken = []
    for number in range(count):
        begin = time.perf_counter()
        answer = daemon.call(method, name=name, members=f"192.0.2.{number}")
        taken.append(time.perf_counter() - begin)
        assert "result" in answer, answer
    return sorted(taken)[count // 2]


# --- restarts ----------------------------------------------------------------------------------------------------

def test_all_of_it_outlives_the_daemon(room):
    daemon = room.daemon(hugepages=False)
    daemon.add_bridge()
    for number, name in enumerate(("vm1", "up1"), start=1):
        daemon.add_port(name, "dpdk", "--number", number, devargs=f"net_null{number},no-rx=1")
    daemon.ctl("group", "add", "br0", "--file", "-", input=f"{ALL}\n{SELECT}\n")
    daemon.ctl("meter", "add", "br0", METER)
    daemon.ctl("address-set", "add", "web", "10.0.0.1", "::1")
    daemon.ctl("flow", "add", "br0", "ip,nw_src=$web actions=meter:7,clone(group:1),group:2")

    def everything():
        return [lines(daemon, *words) for words in (
            ("group", "dump", "br0"), ("meter", "dump", "br0"), ("address-set", "show", "web"),
            ("flow", "dump", "br0", "--no-stats"))]
    before = everything()
    assert json.dumps(before).count("group") > 3
    for end in (daemon.kill, daemon.process.stop):
        end()
        daemon.start()
        assert everything() == before


# --- links -------------------------------------------------------------------------------------------------------

def test_fast_failover_leaves_a_port_that_loses_its_link(room):
    namespace = room.keeps(Namespace("near"))
    daemon = room.daemon(namespace=namespace, hugepages=False)
    daemon.add_bridge()
    for name in ("guest", "near", "far"):
        daemon.add_port(name, "tap")
        namespace.bring_up(name)
    daemon.wait_for_link("guest", "near", "far")
    buckets = ",".join(f"bucket=watch_port:{name},actions=output:{name}" for name in ("near", "far"))
    daemon.ctl("group", "add", "br0", f"group_id=1,type=ff,{buckets}")
    daemon.ctl("flow", "replace", "br0", "--file", "-", input="in_port=guest actions=group:1\n")
    guest, near, far = (room.keeps(KernelPeer(namespace, name)) for name in ("guest", "near", "far"))
    content = frame(station(1), station(2))

    def arrives(peer):
        guest.send(content)
        return content in peer.received()
    eventually(lambda: arrives(near), 10, "a frame at the first bucket's port", interval=0.05)
    far.received()
    assert not arrives(far)
    namespace.ip("link", "set", "dev", "near", "down")
    eventually(lambda: arrives(far), 3, "a frame at the next bucket's port", interval=0.05)
    namespace.ip("link", "set", "dev", "near", "up")
    # The socket of a device that went down only tells of that.
    near = room.keeps(KernelPeer(namespace, "near"))
    eventually(lambda: arrives(near), 3, "a frame at the first bucket's port again", interval=0.05)
