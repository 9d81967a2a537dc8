"""The switches under test, and the guests they serve. Each starts on SWITCH_CORE with the ports of a `Case`, knows where
every MAC address is before the first packet arrives, and forwards until its `Scratch` ends. `warm` waits for the steady
state and returns a note if there is none."""
import base64
import collections
import dataclasses
import os
import pathlib
import subprocess
import time

import fresh
import pipelines
import traffic
from machine import OTHER_CORE, RPC, SWITCH_CORE, Child, Telemetry, wait_until

OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
OVS_DAEMON = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
MARTLET_FOLDER = pathlib.Path(os.environ.get("MARTLET_BIN", pathlib.Path(__file__).resolve().parent.parent / ".build/release"))
DEFAULT_FDB_CAPACITY = 8192
LARGE_POOL = 50_000  # packet buffers
SWITCH_CORES = ["--lcores", f"0@{OTHER_CORE},1@{SWITCH_CORE}", "--main-lcore", "0"]
GUEST_CORES = ["--lcores", f"0@{OTHER_CORE},1@{OTHER_CORE}", "--main-lcore", "0"]


@dataclasses.dataclass
class Case:
    """One row of the table: the same captures for every contender.

    Synthetic, and flow-* with the flows of a pipeline: the port `in` replays captures[0] to `mac_count` destinations behind `out`.
    V2V: the guest behind g0 replays captures[0] to the MACs behind g1, and g1's replays captures[1] the other way."""
    rig: str
    size: str
    mac_count: int
    flow_count: int  # five-tuples (V2V: in each direction), never fewer than MACs
    source_count: int = 1  # V2V: as many as MACs
    fresh_headers = None  # settings of fresh.FreshHeaders
    cores = 1
    both_ways = False  # synthetic: `out` replays captures[1] to the MACs behind `in`
    wrap = None  # see traffic.write
    warm_limit = 60  # seconds that a switch has to reach its steady state, and does not reach under some loads

    @property
    def has_guests(self):
        return has_guests(self.rig)

    def headers(self, folder):
        """What is preloaded into a switch to change the headers of its traffic; None for nothing."""
        return None if self.fresh_headers is None else fresh.FreshHeaders(folder, self.fresh_headers)

    def prepare(self, folder):
        self.folder = folder
        first, second = traffic.macs(self.mac_count, 1), traffic.macs(self.source_count, 2)
        self.behind = {"g0": second, "g1": first} if self.has_guests else {"out": first}
        self.captures = [folder / "0.pcap", folder / "1.pcap"]
        self.packet_count = traffic.write(self.captures[0], self.size, first, second, self.flow_count, wrap=self.wrap)
        if self.has_guests:
            traffic.write(self.captures[1], self.size, second, first, self.flow_count)
        self.fdb_capacity = max(DEFAULT_FDB_CAPACITY, 2 * (len(first) + len(second)))

    def columns(self):
        return {"rig": self.rig, "size": self.size, "macs": self.mac_count, "flows": self.flow_count,
                "sources": self.source_count}


class Rig:
    """The ports of a case during one measurement, in the order in which to add them: what sends comes last."""

    eal_options = []  # of the switch, beside the usual ones

    def __init__(self, case, scratch):
        self.case, self.scratch = case, scratch
        self._fresh = case.headers(scratch.folder)
        if case.has_guests:
            self.sockets = {name: scratch.folder / name for name in ("g0", "g1")}
        else:
            out = f"net_pcap1,rx_pcap={case.captures[1]},infinite_rx=1" if case.both_ways else "net_null0,no-rx=1"
            self.devices = {"out": out, "in": f"net_pcap0,rx_pcap={case.captures[0]},infinite_rx=1"}

    @property
    def environment(self):
        """Of the switch's process."""
        return self._fresh.environment if self._fresh else {}

    def fresh_count(self):
        """Packets so far whose headers nobody had seen."""
        return self._fresh.count() if self._fresh else 0

    @property
    def mbuf_count(self):
        """infinite_rx keeps the whole capture in the receiving port's pool; the rest is for rings and bursts."""
        return 32768 + (0 if self.case.has_guests else self.case.packet_count * (1 + self.case.both_ways))

    @property
    def memory_megabytes(self):
        return 256 + self.mbuf_count * 3 // 1024


class Switch:
    """What all contenders have."""

    @property
    def children(self):
        """The processes that poll on SWITCH_CORE."""
        return [self.child]

    def guests(self, rig, nice):
        return Guests(rig, nice) if rig.case.has_guests else None


class Testpmd(Switch):
    def __init__(self, name, mode):
        self.name, self.mode = name, mode

    def start(self, rig, nice):
        devices = [f"net_vhost{i},iface={path},client=1" for i, path in enumerate(rig.sockets.values())] \
            if rig.case.has_guests else rig.devices.values()
        prefix = f"{rig.scratch.prefix}-switch"
        self.child = Child(rig.scratch, "testpmd", [
            "dpdk-testpmd", *SWITCH_CORES, "--no-pci", "--in-memory", "--file-prefix", prefix,
            "--socket-mem", rig.memory_megabytes, *(f"--vdev={device}" for device in devices),
            "--", "-i", "--nb-cores=1", f"--forward-mode={self.mode}", f"--total-num-mbufs={rig.mbuf_count}",
            "--no-mlockall", "--auto-start"], nice, rig.environment)
        self.ports = EthdevCounters(prefix, self.child)

    def warm(self):
        time.sleep(0.5)

    def packets(self):
        return self.ports.in_and_out()


class EthdevCounters:
    """Packets into the port `in` and out of `out`, of a DPDK process in the synthetic rig; both ways of both ports if it has
    traffic both ways."""

    def __init__(self, prefix, child, both_ways=False):
        self._telemetry = Telemetry(prefix, child)
        self._receiving, self._sending = [["net_pcap0"], ["net_null0"]] if not both_ways else [["net_pcap0", "net_pcap1"]] * 2

    def in_and_out(self):
        """The two counters cannot be read at one instant: what left is read before and after what entered, and averaged."""
        ports = self._telemetry.ports()
        count = lambda names, direction: sum(self._telemetry.packets(ports[name])[direction] for name in names)
        out = lambda: count(self._sending, 1)
        early, entered, late = out(), count(self._receiving, 0), out()
        return entered, (early + late) / 2


class OpenVSwitch(Switch):
    """OVS-DPDK with a database of its own. The bridge starts with no flow (fail-mode secure), so nothing floods before
    the static FDB entries are there. Port numbers: 1 and 2 in the order of adding."""

    BRIDGE = "mbench0"

    def __init__(self, name, flows):
        self.name, self.flows = name, flows

    def start(self, rig, nice):
        self.rig, self.folder = rig, rig.scratch.folder
        self.environment = {name: str(self.folder) for name in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "OVS_LOGDIR")}
        self._start_database()
        self._configure()
        # A network namespace of its own: the daemon's tap `ovs-netdev` can exist once in each.
        self.child = Child(rig.scratch, "ovs-vswitchd", [
            "unshare", "--net", OVS_DAEMON, f"unix:{self.folder}/db.sock",
            f"--unixctl={self.folder}/vswitchd.ctl"], nice, {**self.environment, **rig.environment})
        self._add_bridge()
        self.add_ports(rig)
        if not rig.case.has_guests:
            self.ports = EthdevCounters(self._prefix, self.child, rig.case.both_ways)

    def add_ports(self, rig):
        for number, (name, settings) in enumerate(self._ports().items(), 1):
            self._add_port(self.BRIDGE, name, number, *settings)
            self._add_entries(name, rig.case.behind.get(name, []))

    def _add_port(self, bridge, name, number, *settings):
        self._vsctl("--timeout=60", "add-port", bridge, name, "--", "set", "Interface", name,
                    f"ofport_request={number}", *settings)

    def _start_database(self):
        self._run("ovsdb-tool", "create", self.folder / "conf.db", OVS_SCHEMA)
        self.database = Child(self.rig.scratch, "ovsdb-server", [
            "ovsdb-server", self.folder / "conf.db", f"--remote=punix:{self.folder}/db.sock",
            f"--unixctl={self.folder}/ovsdb.ctl"], environment=self.environment)
        wait_until((self.folder / "db.sock").exists, 10, "ovsdb-server to listen", self.database)

    def _configure(self):
        # max-revalidator: the flow limit starts at 10,000 and grows by 1,000 at each revalidation, so short rounds reach
        # 100,000 flows in seconds; `warm` restores the default before anything is measured. V2V has two for each MAC.
        options = ["--no-pci", "--in-memory", "--file-prefix", self._prefix, *self.rig.eal_options]
        self._vsctl("--no-wait", "--", "init", "--", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                    f"other_config:dpdk-extra={' '.join(options)}",
                    f"other_config:dpdk-socket-mem={max(1024, self.rig.memory_megabytes)}",
                    f"other_config:pmd-cpu-mask={1 << SWITCH_CORE:#x}", f"other_config:dpdk-lcore-mask={1 << OTHER_CORE:#x}",
                    "other_config:max-revalidator=50", f"other_config:flow-limit={self._flow_limit}")

    @property
    def _flow_limit(self):
        return max(200_000, 4 * self.rig.case.mac_count, 2 * self.rig.case.flow_count)

    def _add_bridge(self):
        self._vsctl("--timeout=60", "add-br", self.BRIDGE, "--", "set", "Bridge", self.BRIDGE, "datapath_type=netdev",
                    "fail-mode=secure", f"other_config:mac-table-size={self.rig.case.fdb_capacity}")
        path = self.folder / "flows"
        path.write_text("\n".join(self.flows(self.rig.case)))
        self._run("ovs-ofctl", "add-flows", self.BRIDGE, path)
        self.control = RPC(self.folder / "vswitchd.ctl")

    def _ports(self):
        if not self.rig.case.has_guests:
            # Open vSwitch reads the commas of devargs as separators unless the value is quoted.
            return {name: ["type=dpdk", f'options:dpdk-devargs="{devargs}"'] for name, devargs in self.rig.devices.items()}
        return {name: ["type=dpdkvhostuserclient", f"options:vhost-server-path={path}"]
                for name, path in self.rig.sockets.items()}

    def _add_entries(self, port, macs):
        self.control.call_each("fdb/add", [[self.BRIDGE, port, "0", traffic.mac_text(mac)] for mac in macs])

    def warm(self):
        """Until no packet misses the flow tables any more (the first packet of each megaflow is an upcall). Beyond some
        number of flows that never comes: slow revalidators lower the flow limit. That is how it forwards, so it counts,
        with a note."""
        time.sleep(0.3)
        self._steady, self._misses, note = 0, -1, None
        try:
            wait_until(self._is_steady, self.rig.case.warm_limit, "Open vSwitch to install its flows", self.child)
        except TimeoutError:
            note = f"flows still missed after {self.rig.case.warm_limit} s"
        self._vsctl("--no-wait", "remove", "Open_vSwitch", ".", "other_config", "max-revalidator")
        time.sleep(0.5)
        return note

    def _is_steady(self):
        time.sleep(0.2)
        lines = self.control.call("dpif-netdev/pmd-stats-show", []).split("\n")
        misses = sum(int(line.split(":")[1]) for line in lines if "miss with" in line)
        self._steady, self._misses = (self._steady + 1 if misses == self._misses else 0), misses
        return self._steady >= 2

    def packets(self):
        return self.ports.in_and_out()

    @property
    def _prefix(self):
        return f"{self.rig.scratch.prefix}-switch"

    def _vsctl(self, *arguments):
        self._run("ovs-vsctl", f"--db=unix:{self.folder}/db.sock", *arguments)

    def _run(self, *command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=90,
                              env={**os.environ, **self.environment})
        if done.returncode or "Error" in done.stderr:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout


class Martlet(Switch):
    """martletd, spoken to over its control socket as martletctl does (Sources/Control/README.md)."""

    name = "martlet"
    BRIDGE = "br0"
    COMMAND = []  # what starts the daemon
    OPTIONS = []  # of the daemon, beside the usual ones
    WORKERS = SWITCH_CORE
    MOST_FLOWS = 250_000  # of a call: what waits for it has 64 MiB at most

    def __init__(self, flows=None):
        self.flows = flows

    def start(self, rig, nice):
        self.case, folder = rig.case, rig.scratch.folder
        self.socket = path = folder / "martlet.sock"
        (folder / "state").mkdir()
        self.child = Child(rig.scratch, "martletd", [
            *self.COMMAND, MARTLET_FOLDER / "martletd", "--state-dir", folder / "state", "--socket", path,
            "--file-prefix", f"{rig.scratch.prefix}-switch", "--worker-lcores", self.WORKERS, "--main-lcore", OTHER_CORE,
            "--socket-memory", 512 if rig.mbuf_count < LARGE_POOL else self._memory_megabytes(rig),
            *self.OPTIONS, *(f"--eal-option={option}" for option in rig.eal_options)], nice, rig.environment)
        wait_until(lambda: self._connect(path), 20, "martletd to listen on its control socket", self.child)
        self.control.call("bridge.add", {"name": self.BRIDGE, "fdb_capacity": rig.case.fdb_capacity})
        self.add_ports(rig)
        if self.flows:
            flows = self.flows(rig.case)
            self.change_flows("flow.replace", flows[:self.MOST_FLOWS])
            for start in range(self.MOST_FLOWS, len(flows), self.MOST_FLOWS):
                self.change_flows("flow.add", flows[start:start + self.MOST_FLOWS])

    def add_ports(self, rig):
        for name, port in self._ports(rig).items():
            self.control.call("port.add", {"bridge": self.BRIDGE, "name": name, **port})
            self._add_entries(name, rig.case.behind.get(name, []))

    def _memory_megabytes(self, rig):
        """Its pools have a power of two of buffers, of 2.4 KB."""
        return 256 + (1 << (rig.mbuf_count + 4096).bit_length()) * 5 // 2048

    def change_flows(self, method, flows, piece=500_000):
        """One transaction, of more flows than a message holds."""
        text = "\n".join(flows)
        for start in range(0, len(text), piece):
            self.control.call("flow.stage", {"text": base64.b64encode(text[start:start + piece].encode()).decode()})
        self.control.call(method, {"bridge": self.BRIDGE, "staged": True})

    def cache(self):
        """`stats cache`, all workers together."""
        return self.control.call("stats.cache", {})["total"]

    def drops(self):
        """{reason: packets} that came in and did not leave: every one of them is counted."""
        counts = collections.Counter()
        for drop in self.control.call("stats.drops", {})["drops"]:
            counts[drop["reason"]] += drop["packets"]
        return counts

    def _connect(self, path):
        try:
            self.control = RPC(path, "2.0")
            return True
        except OSError:
            return False

    def _ports(self, rig):
        if not rig.case.has_guests:
            # martletd sizes a port's pool from its queues; a device that keeps a long capture needs more.
            more = {"buffers": str(rig.mbuf_count)} if rig.mbuf_count >= LARGE_POOL else {}
            return {name: {"type": "dpdk", "options": {"devargs": devargs, **(more if name == "in" else {})}}
                    for name, devargs in rig.devices.items()}
        return {name: {"type": "vhost-user", "options": {"path": str(path), "mode": "client"}}
                for name, path in rig.sockets.items()}

    def _add_entries(self, port, macs):
        self.control.call_each("fdb.add", [{"bridge": self.BRIDGE, "port": port, "mac": traffic.mac_text(mac)}
                                           for mac in macs])

    def warm(self):
        time.sleep(0.5)

    def packets(self):
        ports = {port["name"]: port for port in self.control.call("stats.ports", {})["ports"]}
        receiving, sending = (["in", "out"],) * 2 if self.case.both_ways else (["in"], ["out"])
        return sum(ports[name]["rx_packets"] for name in receiving), sum(ports[name]["tx_packets"] for name in sending)


class Guests:
    """Two guests in one testpmd on the other core: each sends its capture for ever and swallows what it receives.

    The loop is open, so the switch always has more to do than it can, and loss shows. The pool is small on purpose:
    one that fits the cache makes the guests cheap enough to saturate a switch from one core."""

    PORTS = 0, 2, 1, 3  # in pairs: each guest and its capture
    DESCRIPTORS = 256
    OPTIONS = []

    def __init__(self, rig, nice):
        self.prefix = f"{rig.scratch.prefix}-guests"
        mbuf_count = 16 * self.DESCRIPTORS + 2 * rig.case.packet_count
        # --single-file-segments: vhost-user carries at most eight memory regions, a page each would be hundreds.
        self.child = Child(rig.scratch, "guests", [
            "dpdk-testpmd", *GUEST_CORES, "--no-pci", "--in-memory", "--single-file-segments", "--file-prefix", self.prefix,
            "--socket-mem", 256 + mbuf_count * 3 // 1024, *(f"--vdev={device}" for device in self.devices(rig)),
            "--", "-i", "--nb-cores=1", "--forward-mode=io", f"--portlist={','.join(map(str, self.PORTS))}",
            f"--total-num-mbufs={mbuf_count}", "--no-mlockall", *self.OPTIONS], nice)

    def devices(self, rig):
        """In the order of DPDK's port numbers."""
        rings = f"server=1,queue_size={self.DESCRIPTORS}"
        return ([f"net_virtio_user{i},path={path},{rings}" for i, path in enumerate(rig.sockets.values())]
                + [f"net_pcap{i},rx_pcap={path},infinite_rx=1" for i, path in enumerate(rig.case.captures)])

    def start(self):
        """Once both virtqueues are connected."""
        self._telemetry = Telemetry(self.prefix, self.child)
        linked = lambda port: self._telemetry.ask(f"/ethdev/link_status,{port}")["status"] == "UP"
        wait_until(lambda: linked(0) and linked(1), 20, "the switch to connect to the guests' sockets", self.child)
        self.child.say("start")

    def packets(self):
        """(offered, accepted by the virtqueues, delivered), both directions summed"""
        count = lambda ports, direction: sum(self._telemetry.packets(port)[direction] for port in ports)
        early, accepted, late = count((0, 1), 0), count((0, 1), 1), count((0, 1), 0)  # averaged, as in EthdevCounters
        return count((2, 3), 0), accepted, (early + late) / 2


def has_guests(rig):
    return rig.startswith("v2v")


def contenders(rig):
    return {contender.name: contender for contender in _CONTENDERS[rig]}


def _pipeline(name):
    """The flows of a case."""
    return lambda case: pipelines.flows(name, case.flow_count)


_NORMAL = OpenVSwitch("ovs-normal", lambda _: ["actions=NORMAL"])
_MACSWAP = Testpmd("testpmd-macswap", "macswap")
_CONTENDERS = {
    "synthetic": [Testpmd("testpmd-io", "io"), _MACSWAP, _NORMAL,
                  OpenVSwitch("ovs-output", lambda _: ["in_port=2,actions=output:1"]), Martlet()],
    "v2v": [Testpmd("testpmd-vhost", "io"), _NORMAL,
            OpenVSwitch("ovs-output", lambda _: ["in_port=1,actions=output:2", "in_port=2,actions=output:1"]), Martlet()],
    **{f"flow-{name}": [_MACSWAP, OpenVSwitch("ovs-flows", _pipeline(name)), Martlet(_pipeline(name))]
       for name in pipelines.PIPELINES},
}
RIGS = list(_CONTENDERS)
