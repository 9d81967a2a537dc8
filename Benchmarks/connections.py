"""Tracked connections: traffic of two guests through the flows of a Neutron agent's firewall, beside Open vSwitch with the same
flows; the memory of connections, and what security groups from documents cost. See README.md."""
import dataclasses
import ipaddress
import json
import pathlib
import socket
import statistics
import struct
import subprocess
import time

import changes
import fresh
import machine
import pipelines
import preload
import report
import traffic
from contenders import MARTLET_FOLDER, Case, Martlet, OpenVSwitch, Rig
from machine import OTHER_CORE, SWITCH_CORE, wait_until
from measurement import attempt, order

FLOWS = pathlib.Path(__file__).resolve().parent.parent / "Tests/Interop/agent_flows/firewall.flows"
# The agent's names of ports; the guests are behind the first two, with the addresses of `GUESTS`.
NUMBERS = {"tap84a4a64f-91": pipelines.IN, "tap48b50e72-fc": pipelines.OUT, "int-br-phys": 3, "patch-tun": 4}
GUESTS = [(bytes.fromhex("fa163e38812a"), 0x0A0100DC), (bytes.fromhex("fa163ed3f1dd"), 0x0A0100AF)]
SHARED = 0x0A010064  # what the first guest's address becomes with `nat`
FEW, MANY = 1000, 1_000_000  # connections
SYNS = 2_000_000             # a second
GROUP_PORTS, GROUP_RULES, GROUP_MEMBERS = 200, 50, 5000
ADDED = 500                  # members, one at a time
HOSTS = 500


@dataclasses.dataclass
class Load(Case):
    """Traffic both ways: the capture's connections, or what numbered.c makes of it."""
    name: str = ""
    numbered: dict | None = None  # settings of numbered.c
    is_tcp: bool = False
    pipeline: str = "firewall"    # of _FLOWS
    settle: float = 1             # seconds until all connections are there
    both_ways: bool = True
    warm_limit: int = 10
    cores: int = 1                # of Martlet, which has a port on each

    def prepare(self, folder):
        self.folder, self.behind = folder, {"in": [GUESTS[0][0]], "out": [GUESTS[1][0]]}
        self.captures = [folder / "0.pcap", folder / "1.pcap"]
        make = traffic.acknowledgment if self.is_tcp else traffic.udp
        for path, (source, destination) in zip(self.captures, (GUESTS, GUESTS[::-1])):
            addresses, is_reply = (source[1], destination[1]), source is GUESTS[1]
            if is_reply and self.pipeline == "nat":
                addresses = (source[1], SHARED)
            ports = [(1024 + number, 9)[::-1 if is_reply else 1] for number in range(FEW)]
            self.packet_count = traffic.write_packets(
                path, [make(destination[0], source[0], addresses, pair, 64) for pair in ports])
        self.fdb_capacity = 8192

    def headers(self, folder):
        return None if self.numbered is None else Numbered(folder, self.numbered)

    def columns(self):
        return {"load": self.name}


class Numbered(fresh.FreshHeaders):
    """For the switch of one measurement. `settings` are those of numbered.c, without its prefix."""

    def __init__(self, folder, settings):
        self._counter = folder / "numbered"
        self._counter.write_bytes(bytes(16))
        preload.build("numbered.c", folder / "numbered.so")
        self._place = 8 if "SYNS" in settings else 0
        self.environment = {"LD_PRELOAD": str(folder / "numbered.so"), "NUMBERED_COUNT": str(self._counter),
                            **{f"NUMBERED_{name}": str(value) for name, value in settings.items()}}

    def count(self):
        """Packets of a flood aside that were sent; without a flood, those that began a connection."""
        return struct.unpack_from("=Q", self._counter.read_bytes(), self._place)[0]


def _loads():
    load = lambda name, numbered=None, **more: Load("connections", "64", 1, FEW, name=name, numbered=numbered, **more)
    return [load("plain", pipeline="plain"), load("udp"), load("two", cores=2), load("tcp", is_tcp=True),
            load("one", pipeline="one"), load("nat", pipeline="nat"), load("few", {"CONNECTIONS": FEW}),
            load("many", {"CONNECTIONS": MANY}, settle=8), load("new", {"CONNECTIONS": 0}, settle=0),
            load("calm", {"SYNS": 0}), load("flood", {"SYNS": SYNS})]


LOADS = {"connections": [*(load.name for load in _loads()), "memory", "groups"]}


def firewall():
    """The agent's flows. Open vSwitch has no other use for `reset_counts`."""
    lines = [line.replace("reset_counts ", "") for line in FLOWS.read_text().splitlines() if line and line[0] != "#"]
    for name, number in NUMBERS.items():
        lines = [line.replace(f'"{name}"', str(number)) for line in lines]
    return lines


def _tracked(source=""):
    """One zone: what the first guest begins, with its address as it is or another, and the answers."""
    nat = ",nat" if source else ""
    return [f"in_port={pipelines.IN},ip,actions=ct(commit,zone=1{source},table=1)",
            f"in_port={pipelines.OUT},ip,actions=ct(zone=1{nat},table=1)",
            f"table=1,in_port={pipelines.IN},ip,actions=output:{pipelines.OUT}",
            f"table=1,in_port={pipelines.OUT},ip,ct_state=+est,actions=output:{pipelines.IN}"]


def _plain():
    ways = (pipelines.IN, pipelines.OUT), (pipelines.OUT, pipelines.IN)
    return [f"in_port={source},actions=output:{destination}" for source, destination in ways]


_FLOWS = {"firewall": firewall, "plain": _plain, "one": _tracked,
          "nat": lambda: _tracked(f",nat(src={ipaddress.IPv4Address(SHARED)})")}


def _flows(case):
    return _FLOWS[case.pipeline]()


class TrackingMartlet(Martlet):
    # Twice an entry for each of a million connections, and room for the new ones of a run.
    OPTIONS = ["--cache-entries", 1 << 22, "--connections", 1 << 22]

    def start(self, rig, nice):
        if rig.case.cores == 2:
            self.WORKERS = "1,2"
            rig.eal_options = [*rig.eal_options, f"--lcores=0@{OTHER_CORE},1@{SWITCH_CORE},2@{OTHER_CORE}"]
        super().start(rig, nice)

    def warm(self):
        super().warm()
        time.sleep(self.case.settle)


class TrackingOpenVSwitch(OpenVSwitch):
    def warm(self):
        note = super().warm()
        time.sleep(self.rig.case.settle)
        return note


_CONTENDERS = {"martlet": lambda: TrackingMartlet(_flows), "ovs-flows": lambda: TrackingOpenVSwitch("ovs-flows", _flows)}


def run(options, tsc, records):
    """Round by round, so that each load stands near the one it is compared with."""
    names = [name for name in _CONTENDERS if name in options.contenders]
    chosen = [load for load in _loads() if load.name in options.loads]
    with machine.Scratch() as scratch:
        for load in chosen:
            folder = scratch.folder / load.name
            folder.mkdir()
            load.prepare(folder)
        for round_number in range(options.runs):
            for load in chosen if round_number % 2 == 0 else chosen[::-1]:
                # One switch in all its cores beside itself in one.
                for name in order(names if load.cores == 1 else ["martlet"], round_number):
                    record = attempt(load, _CONTENDERS[name](), options, tsc) | {"what": "rate", "round": round_number}
                    records.append(record)
                    print(f"run {round_number + 1}, {load.name:6} {name:10} {_in_words(record)}", flush=True)
    for name, measure in (("memory", _memory), ("groups", _groups)):
        if name in options.loads and "martlet" in names:
            records.append(measure(options))
            print(", ".join(f"{name} {value}" for name, value in records[-1].items()), flush=True)


def _in_words(record):
    if "failure" in record:
        return f"FAILED: {record['failure']}"
    return (f"{record['share']:.2f} of the core, {record['entered_mpps']:6.2f} Mpps in, {record['mpps']:6.2f} out, "
            f"{record['cycles']:5.0f} cycles, counted {record['fresh_mpps']:5.2f} {record.get('note', '')}")


def _memory(options):
    """A million connections in the tracker, and next to nothing in the cache."""
    load = next(load for load in _loads() if load.name == "many")
    with machine.Scratch() as scratch:
        load.prepare(scratch.folder)
        switch = TrackingMartlet(lambda _: ["priority=65535,actions=drop", *firewall()])
        switch.OPTIONS = ["--cache-entries", 1024]
        switch.start(Rig(load, scratch), options.nice)
        switch.warm()
        start = switch.child.memory_kilobytes()["RssAnon"]
        switch.control.call("flow.del", {"bridge": switch.BRIDGE, "match": "priority=65535", "strict": True})
        count = lambda: switch.control.call("conntrack.stats", {})["connections"]
        wait_until(lambda: count() >= MANY, 60, "a million connections", switch.child)
        return {"what": "memory", "count": count(), "kilobytes": switch.child.memory_kilobytes()["RssAnon"] - start}


# Security groups

def _groups(options):
    """Ports get a group of their own, each of whose rules names one group of ports elsewhere; then that has more members."""
    with machine.Scratch() as scratch:
        switch = Martlet(lambda _: pipelines.flows("exact", FEW))
        switch.OPTIONS = ["--vif-dir", scratch.folder]
        switch.start(Rig(changes.case(scratch, FEW), scratch), options.nice)
        switch.warm()
        _apply(switch, [*_network(), *(_guarded(scratch, number, False) for number in range(GROUP_PORTS))])
        documents = [*(_group(number) for number in range(GROUP_PORTS)), {"type": "security_group", "id": "members"},
                     *map(_member, range(GROUP_MEMBERS)), *(_guarded(scratch, number, True) for number in range(GROUP_PORTS))]
        drops, seconds = switch.drops(), _load(switch, scratch.folder / "documents", documents)
        times = [_apply(switch, [_member(GROUP_MEMBERS + number)]) for number in range(ADDED)]
        return {"what": "groups", "seconds": seconds,
                **{name: value * 1e3 for name, value in changes.percentiles(times).items()}, **changes.lost(switch, drops)}


def _apply(switch, documents):
    text = "\n".join(map(json.dumps, documents))
    started = time.perf_counter()
    switch.control.call("network.apply", {"documents": text})
    return time.perf_counter() - started


def _load(switch, path, documents):
    """In one transaction, as a person would: the process of martletctl is in the time."""
    path.write_text("\n".join(map(json.dumps, documents)) + "\n")
    started = time.perf_counter()
    done = subprocess.run([MARTLET_FOLDER / "martletctl", "--socket", switch.socket, "network", "apply", "--file", path],
                          capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"martletctl network apply: {done.stderr.strip()}")
    return time.perf_counter() - started


def _network():
    yield {"type": "host", "id": socket.gethostname(), "tunnel_address": "10.255.0.1"}
    for host in range(HOSTS):
        yield {"type": "host", "id": f"host{host}", "tunnel_address": f"10.254.{host // 250}.{host % 250 + 1}"}
    yield {"type": "network", "id": "network", "network_type": "vxlan", "segmentation_id": 102, "mtu": 1450}


def _group(number):
    rules = [{"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "remote_group_id": "members",
              "port_range_min": 1000 + 10 * rule, "port_range_max": 1000 + 10 * rule + number % 5} for rule in range(GROUP_RULES)]
    return {"type": "security_group", "id": f"group{number}", "rules": rules}


def _guarded(scratch, number, is_guarded):
    security = {"security_groups": [f"group{number}"]} if is_guarded else {"port_security_enabled": False}
    return {"type": "port", "id": f"here{number}", "network_id": "network", "host": socket.gethostname(),
            "mac_address": f"fa:16:3f:00:{number >> 8:02x}:{number & 255:02x}", "vif": {"path": f"{scratch.folder}/vif{number}"},
            "fixed_ips": [{"ip_address": f"10.200.{number // 250}.{number % 250 + 1}", "subnet_id": "subnet"}], **security}


def _member(number):
    return {"type": "port", "id": f"member{number}", "network_id": "network", "host": f"host{number % HOSTS}",
            "mac_address": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}", "security_groups": ["members"],
            "fixed_ips": [{"ip_address": f"10.{number // 50_000}.{number // 250 % 200}.{number % 250 + 1}", "subnet_id": "subnet"}]}


# The results

def _rate(record):
    """Mpps for a whole core; of the floods those that are not of the flood."""
    rate = record["fresh_mpps"] if record["load"] in ("calm", "flood") else record["mpps"]
    return rate / min(1, record["share"])


def rows(records):
    groups = {}
    for record in records:
        if record["what"] == "rate" and "failure" not in record:
            groups.setdefault((record["contender"], record["load"]), []).append(record)
    return [_row(contender, load, runs, groups) for (contender, load), runs in groups.items()]


BASES = {"udp": "plain", "two": "udp", "tcp": "plain", "nat": "one", "many": "few", "flood": "calm"}


def _row(contender, load, runs, groups):
    base, peer = groups.get((contender, BASES.get(load)), []), groups.get(("ovs-flows", load), [])
    return {"contender": contender, "load": load, "runs": len(runs), "mpps": report.spread([_rate(run) for run in runs]),
            "entered": statistics.median(run["entered_mpps"] for run in runs),
            "cycles": statistics.median(run["cycles"] for run in runs), "share": min(run["share"] for run in runs),
            "notes": sorted({run["note"] for run in runs if "note" in run}), "of_base": report.ratio(runs, base, _rate),
            "of_ovs": report.ratio(runs, peer, _rate) if contender == "martlet" else None}


_GOALS = {"two": ("established UDP on two cores : one", 1.8), "udp": ("established UDP : plain", 0.7), "tcp": ("established TCP : plain", 0.7),
          "nat": ("established with NAT : without", 0.9), "many": (f"{MANY:,} connections : {FEW:,}", 0.45),
          "flood": (f"established beside {SYNS:,} SYNs a second : without", 0.7)}


def goals(records):
    for row in rows(records):
        if row["contender"] != "martlet":
            continue
        if row["load"] in _GOALS:
            what, least = _GOALS[row["load"]]
            yield _goal(what, least, row["of_base"])
        if row["load"] in ("udp", "tcp"):
            yield _goal(f"established {row['load'].upper()}, martlet : ovs", 3, row["of_ovs"])
        if row["load"] == "new":
            yield _goal("new connections, M/s", 0.5, row["mpps"] | {"disturbed": False})
    yield report.at_most(f"kB for {MANY:,} connections", 320_000, report.values(records, "memory", "kilobytes"))
    yield report.at_most(f"{GROUP_PORTS} ports of {GROUP_RULES} rules, {GROUP_MEMBERS:,} members, s", 2,
                         report.values(records, "groups", "seconds"))
    yield report.at_most("one member added, p99 ms", 2, report.values(records, "groups", "p99"))


def _goal(what, least, measured):
    return what, f">= {least}", report.ratio_text(measured) or "not measured", report.verdict(measured, least)


TEXT = (f"64 B both ways between two guests of one network, through the flows of a Neutron agent's firewall (`{FLOWS.name}` of "
        "Tests/Interop): each packet is tracked for its sender and for its receiver, in one zone. *plain* has one flow each way "
        f"and tracks nothing; *udp* and *tcp* have {FEW:,} established connections from a capture, *two* those of *udp* on two "
        "cores, with a port on each; *one* and *nat* have them too, and track them once, with four flows, and *nat* gives the first "
        f"guest another address; *few* and *many* have {FEW:,} and {MANY:,}, that numbered.c makes; *new* has packets of which each "
        "begins a connection; *calm* and *flood* are *udp*, "
        f"the second with {SYNS:,} first segments of TCP a second among the packets of one side, and what was sent is that of "
        "the established ones. Rates are both directions summed, for a whole core. Ratios are medians (min-max) of the pairs "
        "of one round: *base* is plain, udp, one, few or calm.")


def write(options, records, description, complete):
    table = rows(records)
    document = {"complete": complete, "machine": description, "options": vars(options), "goals": list(goals(records)),
                "rows": table, "records": records}
    panels = {}
    for row in table:
        panels.setdefault(row["load"], []).append(row)
    text = [TEXT, "", *_rate_table(table), "", *_other_tables(records)]
    report.write_document(report.RESULTS, "connections", document, text, [("connections, 64 B", panels)] if panels else ())


def _rate_table(table):
    yield "| load | contender | in, Mpps | sent min | median | max | cycles | core | of base | martlet : ovs |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|---|---|"
    for row in table:
        rates, name = row["mpps"], row["contender"] + "".join(f" ({note})" for note in row["notes"])
        yield (f"| {row['load']} | {name} | {row['entered']:.2f} | {rates['min']:.2f} | {rates['median']:.2f} | {rates['max']:.2f} "
               f"| {row['cycles']:.0f} | {row['share']:.2f} | {report.ratio_text(row['of_base'])} "
               f"| {report.ratio_text(row['of_ovs'])} |")


def _other_tables(records):
    for record in records:
        if record["what"] == "memory":
            yield (f"{record['count']:,} connections, with a flow cache of 1,024 entries, take {record['kilobytes']:,} kB: growth "
                   "of martletd's anonymous memory.")
        elif record["what"] == "groups":
            yield (f"{GROUP_PORTS} ports get a group of {GROUP_RULES} rules each, all of which name a group of {GROUP_MEMBERS:,} "
                   "ports on other hosts, in one `martletctl network apply --file`: {seconds:.2f} s. {added} more members, a call "
                   "each: p50 {p50:.2f} ms, p99 {p99:.2f}, max {max:.2f}; lost meanwhile {lost:,} {reasons}."
                   .format(added=ADDED, **record))
            yield ""
