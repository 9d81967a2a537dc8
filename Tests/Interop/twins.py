"""The same bridges twice: in Open vSwitch with dummy ports, and in Martlet with ring ports. Same flows, same frames.

Both give frames back in groups: what leaves after the frames of a group went in and before those of the next.
"""

import json
import os
import re
import shlex
import socket
import struct
import subprocess
from pathlib import Path

from dummy_switch import DummySwitch
from frames import PCAP_HEADER, RECORD
from martlet import IDLE
from processes import eventually, run
from random_flows import is_modern

# The ports of each bridge, which have numbers and names (p1 ...) of their own.
BRIDGES = {"br0": (1, 2, 3, 4, 5), "br1": (6, 7)}
PORTS = tuple(port for ports in BRIDGES.values() for port in ports)
# The numbers of the ends of the patch between them.
PATCH = {"br0": 8, "br1": 9}
NAMES = {port: f"p{port}" for port in PORTS} | {PATCH["br0"]: "patch-br1", PATCH["br1"]: "patch-br0"}
# As many as a worker takes from a port at once.
GROUP = 32


class Refused(Exception):
    """A switch does not take the flows."""


def groups_of(packets, size=GROUP):
    """Packets (port, frame) in groups of one port each, in order."""
    groups = []
    for port, frame in packets:
        if not groups or groups[-1][0] != port or len(groups[-1][1]) == size:
            groups.append((port, []))
        groups[-1][1].append(frame)
    return groups


def lines_of(bridge, lines):
    """Those of `lines` that are a bridge's: lines of br1 begin with its name and a space."""
    other = [line.removeprefix("br1 ") for line in lines if line.startswith("br1 ")]
    return other if bridge == "br1" else [line for line in lines if not line.startswith("br1 ")]


def sorted_out(lines):
    """Meters, groups and flows, apart."""
    meters = [line for line in lines if line.startswith("meter=")]
    groups = [line for line in lines if line.startswith("group_id=")]
    return meters, groups, [line for line in lines if line not in meters and line not in groups]


def counts_in(bridge, text):
    """{(bridge, table, priority): (packets, bytes)} of a dump, summed. In table 254 Open vSwitch has its own."""
    counts = {}
    for line in text:
        # The first table has no name in a dump of Open vSwitch's; actions have others.
        line = line.split("actions=")[0]
        table = re.search(r"\btable(?:_id)?=(\d+)", line)
        priority = re.search(r"\bpriority=(\d+)", line)
        key = (bridge, int(table.group(1)) if table else 0, int(priority.group(1)) if priority else 32768)
        if key[1] != 254:
            former = counts.get(key, (0, 0))
            counts[key] = tuple(count + int(re.search(rf"{word}=(\d+)", line).group(1))
                                for word, count in zip(("n_packets", "n_bytes"), former))
    return counts


class WatchedSwitch(DummySwitch):
    """An ovs-vswitchd that translates every frame anew: it keeps no datapath flows, which would learn late. What leaves
    by ports that are watched is captured."""

    name = "Open vSwitch"

    def __init__(self, directory):
        super().__init__(directory)
        self._vsctl_run("set", "Open_vSwitch", ".", "other_config:flow-limit=0")
        self._names = {}
        self._captures = {}
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(str(self._directory / "vswitchd.ctl"))

    def watch(self, names):
        """Captures what leaves by the dummy ports {port: name}, for `exchange`."""
        for port, name in names.items():
            path = self._directory / f"{name}.pcap"
            self._vsctl_run("set", "interface", name, f"options:tx_pcap={path}", "mtu_request=9000")
            eventually(lambda: path.exists() and path.stat().st_size == len(PCAP_HEADER), 10, f"{path}")
            self._captures[port] = os.open(path, os.O_RDWR)
        self._names |= names
        self._received = self._received_count()

    def _vsctl_run(self, *words):
        self._checked(*self._vsctl, *words)

    def _call(self, method, *parameters):
        self._control.sendall(json.dumps({"id": 0, "method": method, "params": parameters}).encode())
        text = b""
        while True:
            text += self._control.recv(1 << 20)
            try:
                answer = json.loads(text)
            except ValueError:
                continue
            assert answer["error"] is None, f"{method}: {answer['error']}"
            return answer["result"]

    def exchange(self, groups):
        """What leaves, {port: [frame]} for each group."""
        left = []
        for port, frames in groups:
            self._call("netdev-dummy/receive", self._names[port], *(frame.hex() for frame in frames))
            self._received += len(frames)
            eventually(lambda: self._received_count() >= self._received, 10, "frames taken by ovs-vswitchd", interval=0)
            left.append({out: frames for out in self._captures if (frames := self._captured(out))})
        return left

    def _received_count(self):
        text = self._call("dpif-netdev/pmd-stats-show")
        return int(re.search(r"main thread:\s+packets received: (\d+)", text).group(1))

    def _captured(self, port):
        """The frames that were captured since the last call. The file is emptied: it is written at its end."""
        file = self._captures[port]
        octets = os.pread(file, 1 << 24, len(PCAP_HEADER))
        if not octets:
            return []
        os.ftruncate(file, len(PCAP_HEADER))
        frames, place = [], 0
        while place < len(octets):
            length = RECORD.unpack_from(octets, place)[2]
            place += RECORD.size
            frames.append(octets[place:place + length])
            place += length
        return frames

    def stop(self):
        self._control.close()
        for file in self._captures.values():
            os.close(file)
        super().stop()


class OpenVSwitchTwin(WatchedSwitch):
    """Of the bridges of `BRIDGES`."""

    def __init__(self, directory):
        super().__init__(directory)
        self._vsctl_run("set", "Open_vSwitch", ".", "other_config:vlan-limit=2", "--", "set-fail-mode", "br0", "secure",
                        *(word for port in range(6, 9) for word in ("--", "del-port", f"p{port}")))
        self._add_patch()
        self._objects = {}
        self.watch({port: NAMES[port] for port in PORTS})

    def _add_patch(self):
        self._vsctl_run("add-br", "br1", "--", "set", "bridge", "br1", "datapath_type=dummy", "fail_mode=secure",
                        "protocols=OpenFlow10,OpenFlow11,OpenFlow13,OpenFlow15")
        for port in BRIDGES["br1"]:
            self._vsctl_run("add-port", "br1", f"p{port}", "--", "set", "interface", f"p{port}", "type=dummy",
                            f"ofport_request={port}")
        for bridge, peer in (("br0", "br1"), ("br1", "br0")):
            name = NAMES[PATCH[bridge]]
            self._vsctl_run("add-port", bridge, name, "--", "set", "interface", name, "type=patch",
                            f"options:peer={NAMES[PATCH[peer]]}", f"ofport_request={PATCH[bridge]}")

    def set_vlans(self, policies):
        """Of ports whose `policies` are (mode, tag, trunks)."""
        words = []
        for port, (mode, tag, trunks) in policies.items():
            members = "cvlans" if mode == "dot1q-tunnel" else "trunks"
            words += ["--", "clear", "port", NAMES[port], "tag", "trunks", "cvlans", "vlan_mode", "--", "set", "port",
                      NAMES[port], f"vlan_mode={mode}"]
            words += [f"tag={tag}"] if tag is not None else []
            words += [f"{members}={','.join(map(str, trunks))}"] if trunks else []
        if words:
            self._vsctl_run(*words[1:])

    def load(self, flows):
        """Makes `flows` all the flows, and forgets what was learned. In few calls: one of ovs-ofctl takes 10 ms."""
        for bridge in BRIDGES:
            meters, groups, own = sorted_out(lines_of(bridge, flows))
            modern = [flow for flow in own if is_modern(flow)]
            # Flows go before groups: Open vSwitch 3.1 may end with an assertion when groups take theirs along.
            former = [f"add {flow}" for flow in own if flow not in modern]
            self._change(bridge, "OpenFlow10", "add-flows", ["delete", *former])
            self._change_objects(bridge, meters, groups)
            self._change(bridge, "OpenFlow15", "add-flows", [f"add {flow}" for flow in modern])
            self._call("fdb/flush", bridge)

    def _change_objects(self, bridge, meters, groups):
        """Makes `groups` all of them. Meters stay: few are enough for all cases."""
        known, former = self._objects.get(bridge, (set(), []))
        for meter in sorted(set(meters) - known):
            self._ofctl_run("OpenFlow15", "add-meter", bridge, meter)
        if groups != former:
            lines = ["delete group_id=all", *(f"add {group}" for group in groups)]
            self._change(bridge, "OpenFlow15", "add-groups", lines)
        self._objects[bridge] = known | set(meters), groups

    def _change(self, bridge, version, command, lines):
        if lines:
            self._ofctl_run(version, command, bridge, "-", text="\n".join(lines))

    def _ofctl_run(self, version, command, bridge, *words, text=""):
        done = subprocess.run(["ovs-ofctl", "-O", version, command, f"unix:{self._directory}/{bridge}.mgmt", *words],
                              input=text, text=True, env=self._environment, capture_output=True)
        if done.returncode != 0 or "OFPT_ERROR" in done.stderr:
            raise Refused(f"{self.name}: {done.stderr}")

    def counts(self):
        counts = {}
        for bridge in BRIDGES:
            counts |= counts_in(bridge, self._call("bridge/dump-flows", bridge).splitlines())
        return counts


def built_exchange(directory):
    """The program of exchange.c."""
    program = directory / "exchange"
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "libdpdk").stdout)
    run("gcc", "-O2", "-Wall", "-o", program, Path(__file__).with_name("exchange.c"), *flags)
    return program


class MartletTwin:
    """A martletd with ring ports, and a secondary process at their other ends."""

    name = "Martlet"

    def __init__(self, room, **options):
        self.daemon = room.daemon(socket_memory=512, options=IDLE, **options)
        for bridge, ports in BRIDGES.items():
            self.daemon.add_bridge(bridge)
            for port in ports:
                self.daemon.add_port(f"p{port}", "ring", "--number", port, bridge=bridge, size=8192, mtu=9000)
        for bridge, number in PATCH.items():
            peer = PATCH["br1" if bridge == "br0" else "br0"]
            self.daemon.add_port(NAMES[number], "patch", "--number", number, bridge=bridge, peer=NAMES[peer])
        self.daemon.add_bridge("sentinels")
        for name in ("from", "to"):
            self.daemon.add_port(name, "ring", bridge="sentinels", size=64)
        self._exchange = room.keeps(Exchange(room.directory, self.daemon.prefix, {port: NAMES[port] for port in PORTS}))

    def _call(self, method, **parameters):
        answer = self.daemon.call(method, **parameters)
        if "error" in answer:
            raise Refused(f"{self.name}: {answer['error']['message']}")
        return answer["result"]

    def set_vlans(self, policies):
        for port, (mode, tag, trunks) in policies.items():
            given = {"tag": tag} if tag is not None else {}
            given |= {"trunks": list(trunks)} if trunks else {}
            self._call("port.set", name=NAMES[port], vlan_mode=mode, **given)

    def load(self, flows):
        for bridge in BRIDGES:
            meters, groups, own = sorted_out(lines_of(bridge, flows))
            # An empty table first: flows that stay would keep their counters.
            self._call("flow.del", bridge=bridge)
            for kind in ("group", "meter"):
                self._call(f"{kind}.del", bridge=bridge)
            for kind, lines in (("meter", meters), ("group", groups)):
                if lines:
                    self._call(f"{kind}.add", bridge=bridge, **{f"{kind}s": "\n".join(lines)})
            self._call("flow.add", bridge=bridge, flows="\n".join(own))
            self._call("fdb.flush", bridge=bridge)

    def counts(self):
        counts = {}
        for bridge in BRIDGES:
            counts |= counts_in(bridge, self._call("flow.dump", bridge=bridge, lines=True)["lines"])
        return counts

    def drops(self, *reasons):
        """Frames that were dropped for one of the reasons since the daemon began."""
        return sum(row["packets"] for row in self._call("stats.drops")["drops"] if row["reason"] in reasons)

    def exchange(self, groups):
        return self._exchange.run(groups)


class Exchange:
    """The process of exchange.c, beside a switch with the prefix `prefix`: its rings are the ports {port: name}, and
    `from` and `to` of a bridge of their own."""

    _HEADER = struct.Struct("=HHH")

    def __init__(self, directory, prefix, names):
        self._ports = tuple(names)
        self._log = directory / "exchange.log"
        program = built_exchange(directory)
        with open(self._log, "ab") as errors:
            self._child = subprocess.Popen(
                [program, "--proc-type=secondary", "--file-prefix", prefix, "--no-pci", "--no-telemetry", "--lcores",
                 "0@0", "--log-level", "lib.eal:warning", "--", "from", "to", *names.values()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        eventually(lambda: "attached" in self._output(), 20, "exchange's rings")

    def _output(self):
        text = self._log.read_text(errors="replace")
        assert self._child.poll() is None, f"exchange ended with {self._child.returncode}: {text[-2000:]}"
        return text

    def run(self, groups):
        packed = [struct.pack("=I", sum(len(frames) for _, frames in groups))]
        for number, (port, frames) in enumerate(groups):
            place = self._ports.index(port)
            for frame in frames:
                packed += [self._HEADER.pack(number, place, len(frame)), frame]
        self._child.stdin.write(b"".join(packed))
        self._child.stdin.flush()
        return self._answer(len(groups))

    def _answer(self, group_count):
        left = [{} for _ in range(group_count)]
        count, = struct.unpack("=I", self._read(4))
        for _ in range(count):
            group, place, length = self._HEADER.unpack(self._read(self._HEADER.size))
            left[group].setdefault(self._ports[place], []).append(self._read(length))
        return left

    def _read(self, length):
        octets = self._child.stdout.read(length)
        assert len(octets) == length, f"exchange ended: {self._log.read_text(errors='replace')[-2000:]}"
        return octets

    def stop(self):
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()
