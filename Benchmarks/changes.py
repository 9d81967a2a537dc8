"""What changes of flows cost while packets pass: one at a time, 100,000 at once, and what another tenant sees of them."""
import subprocess
import time

import machine
import pipelines
import report
from contenders import MARTLET_FOLDER, Case, Martlet, Rig

FLOWS = 100_000   # in the table
SINGLES = 2000    # added one at a time
CHANGES = 1000    # of one tenant
CONNECTIONS = 1000


def run(options, _, records):
    for number in range(options.runs):
        for measure in (_singles, _at_once, _tenants):
            record = measure(options) | {"run": number}
            records.append(record)
            print(f"run {number + 1}: " + ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                                                    for name, value in record.items()), flush=True)


def case(scratch, connections, name="capture"):
    case = Case("flow-exact", "64", 1, connections)
    folder = scratch.folder / name
    folder.mkdir()
    case.prepare(folder)
    return case


def _singles(options):
    """Adds flows one at a time, over one connection of the control socket, while the worker has all the packets it can take."""
    with machine.Scratch() as scratch:
        switch = Martlet(lambda _: pipelines.flows("exact", FLOWS))
        switch.start(Rig(case(scratch, CONNECTIONS), scratch), options.nice)
        switch.warm()
        idle = _rate(switch, options.seconds)
        before, drops, started = switch.packets(), switch.drops(), time.monotonic()
        times = [_timed(switch, pipelines.exact_flow(FLOWS + number)) for number in range(SINGLES)]
        after, seconds = switch.packets(), time.monotonic() - started
        result = {"mpps": idle, "mpps_meanwhile": (after[1] - before[1]) / seconds / 1e6, "entered": after[0] - before[0],
                  **lost(switch, drops)}
    return {"what": "singles", **{name: value * 1e3 for name, value in percentiles(times).items()}, **result}


def _rate(switch, seconds):
    before, started = switch.packets(), time.monotonic()
    time.sleep(seconds)
    return (switch.packets()[1] - before[1]) / (time.monotonic() - started) / 1e6


def _timed(switch, flow):
    started = time.perf_counter()
    switch.control.call("flow.add", {"bridge": switch.BRIDGE, "flows": flow})
    return time.perf_counter() - started


def percentiles(times):
    times = sorted(times)
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))]
    return {"p50": at(0.5), "p99": at(0.99), "max": times[-1]}


def lost(switch, before):
    lost = switch.drops() - before
    return {"lost": lost.total(), "reasons": " ".join(sorted(lost))}


def _at_once(options):
    """One transaction from a file, as a person would: the process of martletctl is in the time."""
    with machine.Scratch() as scratch:
        switch = Martlet()
        switch.start(Rig(case(scratch, CONNECTIONS), scratch), options.nice)
        switch.warm()
        path = scratch.folder / "flows"
        path.write_text("\n".join(pipelines.flows("exact", FLOWS)) + "\n")
        drops, started = switch.drops(), time.monotonic()
        subprocess.run([MARTLET_FOLDER / "martletctl", "--socket", switch.socket, "flow", "add", switch.BRIDGE, "--file", path],
                       check=True, capture_output=True, timeout=120)
        return {"what": "at once", "seconds": time.monotonic() - started, **lost(switch, drops)}


def _tenants(options):
    """Two bridges with traffic. The flows of one, in the table that its traffic meets, change; the cache must not forget
    the other's connections. The one that changes has one connection, so that its own misses are no more than changes."""
    with machine.Scratch() as scratch:
        switch = Martlet(lambda _: pipelines.flows("exact", 1))
        switch.start(Rig(case(scratch, 1, "one"), scratch), options.nice)
        _add_tenant(switch, case(scratch, CONNECTIONS, "many"))
        switch.warm()
        drops, before = switch.drops(), switch.cache()
        for number in range(CHANGES):
            _timed(switch, pipelines.exact_flow(1 + number))
        after = switch.cache()
        return {"what": "tenants", "changes": CHANGES, "misses": after["misses"] - before["misses"],
                "invalidated": after["invalidated"] - before["invalidated"], **lost(switch, drops)}


def _add_tenant(switch, case):
    """A second bridge, with ports like the first one's."""
    bridge, call = "br1", switch.control.call
    call("bridge.add", {"name": bridge})
    for name, devargs in (("out1", "net_null1,no-rx=1"), ("in1", f"net_pcap1,rx_pcap={case.captures[0]},infinite_rx=1")):
        call("port.add", {"bridge": bridge, "name": name, "type": "dpdk", "options": {"devargs": devargs}})
    call("flow.replace", {"bridge": bridge, "flows": "\n".join(pipelines.flows("exact", CONNECTIONS))})


# The results

def write(options, records, description, complete):
    goals = [report.at_most("one flow into a table of 100,000, p99 ms", 1, report.values(records, "singles", "p99")),
             report.at_most("packets lost meanwhile", 0, report.values(records, "singles", "lost")),
             report.at_most("100,000 flows in one transaction, s", 1, report.values(records, "at once", "seconds")),
             report.at_most("misses for each change of another tenant's flows, with those of its own one connection", 1.5,
                            [misses / CHANGES for misses in report.values(records, "tenants", "misses")])]
    report.write_results("changes", options, records, description, complete, goals, _text(records))


def _text(records):
    yield (f"martletd's worker has all the packets it can take ({CONNECTIONS:,} five-tuples, 64 B) on core 1; its control plane "
           "and the client are on core 0. The state file keeps every flow before it is answered for. Lost are packets counted under a "
           "drop reason, as each is that came in and did not leave.")
    yield from ("", f"{SINGLES:,} flows, one call of `flow.add` each, into a table of {FLOWS:,}:", "",
                "| p50 ms | p99 | max | Mpps before | meanwhile | packets in | lost |", "|--:|--:|--:|--:|--:|--:|--:|")
    for record in records:
        if record["what"] == "singles":
            yield ("| {p50:.3f} | {p99:.3f} | {max:.3f} | {mpps:.2f} | {mpps_meanwhile:.2f} | {entered:,} | {lost:,} {reasons} |"
                   .format(**record))
    yield from ("", f"{FLOWS:,} flows, one `martletctl flow add --file`:", "", "| seconds | lost |", "|--:|--:|")
    for record in records:
        if record["what"] == "at once":
            yield "| {seconds:.2f} | {lost:,} {reasons} |".format(**record)
    yield from ("", f"{CHANGES:,} changes of the flows of a bridge with one connection, beside a bridge with {CONNECTIONS:,}:",
                "", "| misses | entries walked anew | lost |", "|--:|--:|--:|")
    for record in records:
        if record["what"] == "tenants":
            yield "| {misses:,} | {invalidated:,} | {lost:,} {reasons} |".format(**record)
