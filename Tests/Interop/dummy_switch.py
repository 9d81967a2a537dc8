"""An Open vSwitch without a datapath, as an oracle of flow syntax and of what flows do."""

import os
import re
import subprocess
from pathlib import Path

from processes import Process, eventually

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
VERSIONS = ("OpenFlow10", "OpenFlow11", "OpenFlow13", "OpenFlow15")

# What OpenFlow 1.0 does not have.
NEWER = ["write_actions", "clear_actions", "actset_output", "group:"]


def words(text):
    """The words that some version of OpenFlow drops or exchanges for others."""
    kept = r"(?:mod|set|load|push|pop|strip|goto|write|clear)_?[a-z0-9_]*:?|send_flow_rem|check_overlap|importance"
    return re.findall(kept, text)


class DummySwitch:
    """An ovs-vswitchd without a datapath, with ports p1 to p8 on br0."""

    # Ports of any type are dummies.
    OPTIONS = ("--enable-dummy=override", "--disable-system")

    def __init__(self, directory):
        self._directory = Path(directory)
        self._environment = dict(os.environ, OVS_RUNDIR=str(directory), OVS_DBDIR=str(directory),
                                 OVS_LOGDIR=str(directory), OVS_SYSCONFDIR=str(directory))
        database = self._directory / "conf.db"
        subprocess.run(["ovsdb-tool", "create", database, SCHEMA], check=True)
        socket = self._directory / "db.sock"
        self._children = [Process(["ovsdb-server", f"--remote=punix:{socket}", "--no-chdir", database],
                                  self._directory / "ovsdb.log", env=self._environment)]
        eventually(socket.exists, 10, "ovsdb-server's socket")
        self._vsctl = ["ovs-vsctl", f"--db=unix:{socket}"]
        self._run(*self._vsctl, "--no-wait", "init")
        self._children.append(Process(["ovs-vswitchd", *self.OPTIONS, f"unix:{socket}", "--no-chdir",
                                       f"--unixctl={self._directory}/vswitchd.ctl"], self._directory / "vswitchd.log",
                                      env=self._environment))
        self._run(*self._vsctl, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy",
                  "protocols=OpenFlow10,OpenFlow11,OpenFlow13,OpenFlow15")
        for number in range(1, 9):
            self._run(*self._vsctl, "add-port", "br0", f"p{number}", "--", "set", "interface", f"p{number}",
                      "type=dummy", f"ofport_request={number}")
        self._bridge = f"unix:{self._directory}/br0.mgmt"
        self._ofctl("OpenFlow13", "add-meter", "meter=1 pktps bands=type=drop rate=1")
        self._ofctl("OpenFlow13", "add-meter", "meter=2 pktps bands=type=drop rate=1")
        self._ofctl("OpenFlow13", "add-group", "group_id=1,type=all,bucket=actions=output:1")
        self._ofctl("OpenFlow13", "add-group", "group_id=5,type=all,bucket=actions=output:1")

    def _run(self, *argv):
        return subprocess.run([str(word) for word in argv], env=self._environment, capture_output=True, text=True)

    def _checked(self, *argv, text=""):
        """Runs a command that must be taken."""
        done = subprocess.run([str(word) for word in argv], input=text, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0 and "OFPT_ERROR" not in done.stderr, f"{argv}: {done.stderr}"

    def _ofctl(self, version, command, *argv):
        return self._run("ovs-ofctl", "-O", version, "--no-names", command, self._bridge, *argv)

    def dump_of(self, text):
        """What the daemon dumps after `text` was added, or `!` where no version of OpenFlow takes it."""
        shown = []
        for version in VERSIONS:
            self._ofctl(version, "del-flows")
            named = self._run("ovs-ofctl", "-O", version, "--names", "add-flow", self._bridge, text)
            if named.returncode != 0 or "decode error" in named.stderr or "OFPT_ERROR" in named.stderr:
                continue
            lines = self._ofctl(version, "dump-flows", "--no-stats").stdout.splitlines()
            shown += [line.strip() for line in lines if "actions=" in line]
            if shown and words(shown[-1]) == words(text):
                return shown[-1]
        return shown[0] if shown else "!"

    def group_dump_of(self, text):
        """What the daemon dumps of a group, or `!`."""
        self._ofctl("OpenFlow15", "del-groups")
        if self._run("ovs-ofctl", "-O", "OpenFlow15", "--names", "add-group", self._bridge, text).returncode != 0:
            return "!"
        return self._ofctl("OpenFlow15", "dump-groups").stdout.splitlines()[1].strip()

    def meter_dump_of(self, text):
        """What the daemon dumps of a meter, its lines joined by blanks, or `!`."""
        self._ofctl("OpenFlow15", "del-meters")
        if self._ofctl("OpenFlow15", "add-meter", text).returncode != 0:
            return "!"
        lines = self._ofctl("OpenFlow15", "dump-meters").stdout.split("\n", 1)[1]
        return " ".join(lines.split()).replace("bands= ", "bands=")

    def left_of(self, flows, match=None, options=()):
        """The flows, sorted, that are left of some after those that a match selects were deleted; all without one."""
        self._ofctl("OpenFlow10", "del-flows")
        for flow in flows:
            assert self._ofctl("OpenFlow10", "add-flow", flow).returncode == 0, flow
        if match is not None:
            deleted = self._run("ovs-ofctl", "-O", "OpenFlow10", *options, "del-flows", self._bridge, match)
            assert deleted.returncode == 0, deleted.stderr
        lines = self._ofctl("OpenFlow10", "dump-flows", "--no-stats").stdout.splitlines()
        return sorted(line.strip() for line in lines if "actions=" in line)

    def changed_of(self, flows, change, options=()):
        """The flows, sorted, after some of them got other actions; over OpenFlow 1.3, which adds none."""
        self._ofctl("OpenFlow13", "del-flows")
        for flow in flows:
            assert self._ofctl("OpenFlow13", "add-flow", flow).returncode == 0, flow
        changed = self._run("ovs-ofctl", "-O", "OpenFlow13", *options, "mod-flows", self._bridge, change)
        assert changed.returncode == 0, changed.stderr
        lines = self._ofctl("OpenFlow13", "dump-flows", "--no-stats").stdout.splitlines()
        return sorted(line.strip() for line in lines if "actions=" in line)

    def datapath_actions(self, flows, packets):
        """The flows that OVS takes, and what the datapath would do with each packet under them."""
        self._ofctl("OpenFlow10", "del-flows")
        if any(flow.startswith("group_id=") for flow in flows):
            self._ofctl("OpenFlow15", "del-groups")
        self._groups = set()
        taken = [flow for flow in flows if self._takes(flow)]
        return taken, [self._trace(packet) for packet in packets]

    def learned_flows(self, flows, packets):
        """The flows that OVS takes, and all flows that it has before the packets and after each."""
        self._ofctl("OpenFlow10", "del-flows")
        taken = [flow for flow in flows if self._takes(flow)]
        dumps = [self._flows()]
        for packet in packets:
            # With a packet the trace has the effects that a packet has.
            self._run("ovs-appctl", "-t", self._directory / "vswitchd.ctl", "ofproto/trace", "br0", packet, "-generate")
            dumps.append(self._flows())
        return taken, dumps

    def _flows(self):
        lines = self._ofctl("OpenFlow10", "dump-flows", "--no-stats").stdout.splitlines()
        return {line.strip() for line in lines if "actions=" in line}

    def _takes(self, flow):
        """OpenFlow 1.0 if it can be: others change some actions into others that mean the same."""
        if flow.startswith("group_id="):
            # Open vSwitch takes groups that name missing ones; Martlet does not.
            named = set(re.findall(r"group:(\d+)", flow))
            if named - self._groups or self._ofctl("OpenFlow15", "add-group", flow).returncode != 0:
                return False
            self._groups.add(re.match(r"group_id=(\d+)", flow)[1])
            return True
        version = "OpenFlow15" if any(word in flow for word in NEWER) else "OpenFlow10"
        return self._ofctl(version, "add-flow", flow).returncode == 0

    def _trace(self, packet):
        said = self._run("ovs-appctl", "-t", self._directory / "vswitchd.ctl", "ofproto/trace", "br0", packet).stdout
        return re.search(r"^Datapath actions: (.*)$", said, re.M).group(1)

    def stop(self):
        for child in reversed(self._children):
            child.stop()
