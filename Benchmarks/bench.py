"""Packet-rate benchmarks: the same traffic through testpmd, OVS-DPDK and Martlet in one run. See README.md."""
import argparse
import fcntl
import os
import shutil
import signal
import sys
import time

import changes
import connections
import contenders
import documents
import loads
import machine
import memory
import neutron
import pairs
import report
import traffic
import tunnels
from contenders import MARTLET_FOLDER, OVS_DAEMON, Case, Rig
from measurement import attempt, order

LOCK = "/run/martlet-benchmark.lock"
MAC_COUNTS = [1, 1_000, 10_000, 100_000]
V2V_FLOWS = 1000
RIGS = contenders.RIGS + tunnels.RIGS + pairs.RIGS
_SWITCHES = {**tunnels.CONTENDERS, **pairs.CONTENDERS}
_LOADS = {**loads.LOADS, **connections.LOADS}
_SUBJECTS = {**dict.fromkeys(loads.SUBJECTS, loads), "connections": connections, "changes": changes, "memory": memory,
             "documents": documents, "neutron": neutron}


def cases(options):
    """Every size at the first MAC count and every MAC count at the first size; with --product every pair."""
    for rig in options.rig:
        for mac_count in options.macs:
            for size in options.sizes:
                corner = mac_count == options.macs[0], size == options.sizes[0]
                if options.product or any(corner):
                    sources = mac_count if contenders.has_guests(rig) else min(options.sources, mac_count)
                    for flow_count in _flow_counts(options, rig, mac_count, all(corner)):
                        case = Case(rig, size, mac_count, flow_count, sources)
                        case.wrap = tunnels.wrap(rig) if rig in tunnels.RIGS else None
                        yield case


def _switches(rig):
    return {switch.name: switch for switch in _SWITCHES[rig]} if rig in _SWITCHES else contenders.contenders(rig)


def _flow_counts(options, rig, mac_count, first):
    """Unless told otherwise a flow for each MAC, and once in V2V many connections between one pair of guests."""
    asked = options.flows or ([mac_count, V2V_FLOWS] if contenders.has_guests(rig) and first else [mac_count])
    return dict.fromkeys(max(count, mac_count) for count in asked)


def run(options, tsc, records):
    chosen = list(cases(options))
    names = {rig: [name for name in _switches(rig) if name in options.contenders] for rig in options.rig}
    total = sum(len(names[case.rig]) for case in chosen) * options.runs
    started, done = time.monotonic(), 0
    for case in chosen:
        with machine.Scratch() as traffic_scratch:
            case.prepare(traffic_scratch.folder)
            for round_number in range(options.runs):
                for name in order(names[case.rig], round_number):
                    record = attempt(case, _switches(case.rig)[name], options, tsc) | {"round": round_number}
                    records.append(record)
                    done += 1
                    left = (time.monotonic() - started) / done * (total - done)
                    print(f"[{done}/{total}] {report.case_in_words(record)}, run {round_number + 1}, {name:15} "
                          f"{report.in_words(record)}  ({left / 60:.0f} min left)", flush=True)


def write(options, records, description, complete):
    report.write(report.RESULTS, options.kind, records, description, vars(options), complete)


def soak(options):
    """Martlet in the synthetic rig until `packets` have passed; its memory must stay flat."""
    case = Case("synthetic", "64", mac_count=1000, flow_count=1000)
    with machine.Scratch() as scratch:
        case.prepare(scratch.folder)
        switch = _switches("synthetic")["martlet"]
        switch.start(Rig(case, scratch), options.nice)
        switch.warm()
        samples, started = [], time.monotonic()
        while not samples or samples[-1]["packets"] < options.packets:
            time.sleep(options.interval)
            switch.child.check()
            memory = switch.child.memory_kilobytes()
            samples.append({"seconds": time.monotonic() - started, "packets": switch.packets()[1],
                            **{field: memory[field] for field in ("VmRSS", "RssAnon")}})
            print("{seconds:7.0f} s {packets:15,} packets   RSS {VmRSS:,} kB (anonymous {RssAnon:,} kB)".format(**samples[-1]),
                  flush=True)
    growth = samples[-1]["RssAnon"] - samples[0]["RssAnon"]
    print(f"\nanonymous memory grew by {growth} kB between the first and the last sample")
    report.write_soak(report.RESULTS, samples, machine.describe())
    return 0 if growth <= options.allowed_growth else 1


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("subject", nargs="?", choices=["rates", "soak", *_SUBJECTS], default="rates")
    listed = lambda kind: lambda text: [kind(item) for item in text.split(",")]
    parser.add_argument("--rig", type=listed(str), default=["synthetic", "v2v"], metavar=",".join(RIGS))
    parser.add_argument("--sizes", type=listed(str.lower), default=traffic.SIZES, help="bytes with FCS, or imix")
    parser.add_argument("--macs", type=listed(int), default=MAC_COUNTS, help="destination MACs (V2V: MACs of each guest)")
    parser.add_argument("--flows", type=listed(int), help="five-tuples (default: as many as MACs; V2V with 1 MAC also 1000)")
    parser.add_argument("--sources", type=int, default=1, help="source MACs in the synthetic rig")
    parser.add_argument("--contenders", type=listed(str), help="default: all")
    parser.add_argument("--loads", type=listed(str), help=f"{', '.join(_LOADS)}: what comes in (default: all)")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--product", action="store_true", help="every size with every MAC count (hours)")
    parser.add_argument("--quick", action="store_true", help="64 B, 1 MAC, 3 runs of 2 s")
    parser.add_argument("--kind", help="last part of the result's file name")
    parser.add_argument("--retries", type=int, default=2, help="how often to repeat a disturbed run")
    parser.add_argument("--nice", type=int, default=0, help="autogroup weight of what is measured, for a busy machine")
    parser.add_argument("--packets", type=float, default=1e9, help="soak: how many")
    parser.add_argument("--interval", type=float, default=5, help="soak: seconds between samples")
    parser.add_argument("--allowed-growth", type=int, default=1024, help="soak: kB")
    return _complete(parser, parser.parse_args())


def _complete(parser, options):
    known = {name for rig in RIGS for name in _switches(rig)}
    _refuse_strangers(parser, "rig", options.rig, set(RIGS))
    _refuse_strangers(parser, "size", options.sizes, {"imix", *map(str, range(64, 1519))})
    _refuse_strangers(parser, "contender", options.contenders or [], known)
    options.contenders = options.contenders or sorted(known)
    _refuse_strangers(parser, "load", options.loads or [], set(_LOADS.get(options.subject, [])))
    options.loads = options.loads or _LOADS.get(options.subject, [])
    for count in [*options.macs, *(options.flows or []), options.sources]:
        if not 1 <= count <= 1_000_000:
            parser.error(f"{count} MACs or flows: a count is between 1 and 1000000")
    options.kind = options.kind or ("quick" if options.quick else "-".join(options.rig))
    if options.quick:
        options.sizes, options.macs = options.sizes[:1], options.macs[:1]
    options.runs = options.runs or (3 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 3)
    return options


def _refuse_strangers(parser, noun, given, known):
    for item in given:
        if item not in known:
            parser.error(f"no {noun} is called {item!r}")


def lock():
    """Two benchmarks at once would measure each other."""
    file = open(LOCK, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        raise machine.Refusal(f"another benchmark runs (process {holder}, {LOCK}): wait for it") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def check_programs(options):
    needed = {"dpdk-testpmd": "the package dpdk-dev"}
    if any(name.startswith("ovs") for name in options.contenders):
        needed |= {OVS_DAEMON: "the package openvswitch-switch-dpdk", "ovsdb-server": "the package openvswitch-common"}
    if any(name.startswith("martlet") for name in options.contenders):
        needed[str(MARTLET_FOLDER / "martletd")] = "swift build -c release"
    for program, source in needed.items():
        if not shutil.which(program):
            raise machine.Refusal(f"{program} is missing; it comes from {source}")


def _hugepage_megabytes(most, rigs):
    """What the largest of the contenders asks for, with `most` packets in a capture."""
    second_switch = 1024 if {*rigs} & {*pairs.RIGS} else 0
    return second_switch + _of_one_switch(most)


def _of_one_switch(most):
    return 1536 if most <= 10_000 else 2048 if most <= 200_000 else 1024 + most * 3 // 1024


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    if options.subject in ("soak", "changes", "memory", "documents", "neutron"):
        options.contenders = ["martlet"]
    held = lock()  # kept open until the process ends
    machine.Scratch.sweep()
    check_programs(options)
    machine.preflight(_hugepage_megabytes(max(options.macs + (options.flows or [])), options.rig))
    os.sched_setaffinity(0, {machine.OTHER_CORE})
    if options.subject == "soak":
        return soak(options)
    records, tsc = [], machine.tsc_hertz()
    complete = False
    subject = _SUBJECTS.get(options.subject, sys.modules[__name__])
    try:
        subject.run(options, tsc, records)
        complete = True
    finally:
        if records:
            subject.write(options, records, machine.describe() | {"tsc_hertz": tsc}, complete)
    return 0 if not any("failure" in record for record in records) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except machine.Refusal as refusal:
        sys.exit(f"run.sh: {refusal}")
    except KeyboardInterrupt:
        sys.exit(130)
