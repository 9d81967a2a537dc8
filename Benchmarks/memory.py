"""What a flow and a cached connection cost in memory, of martletd's own (hugepages hold packets and are not in it)."""
import machine
import pipelines
import report
from contenders import Case, Martlet, Rig
from machine import wait_until

FLOWS = [100_000, 1_000_000]
PIECE = 10_000  # of a transaction: what reading its text takes is small beside the flows then
ENTRIES = 900_000  # of the 1,048,576 that the caches have if not told otherwise
GATE = "priority=65535"
FLOW_GOAL, CONNECTION_GOAL = 400, 256  # bytes


def run(options, _, records):
    for measure in (_flows, _connections):
        for record in measure(options):
            records.append(record)
            print(", ".join(f"{name} {value}" for name, value in record.items()), flush=True)


def _flows(options):
    with machine.Scratch() as scratch:
        switch = Martlet()
        switch.start(Rig(_case(scratch), scratch), options.nice)
        switch.warm()
        # The first transaction brings what every later one uses again.
        switch.change_flows("flow.add", [pipelines.exact_flow(number) for number in range(PIECE)])
        start, done = switch.child.memory_kilobytes()["RssAnon"], PIECE
        for count in FLOWS:
            for done in range(done, count, PIECE):
                switch.change_flows("flow.add", [pipelines.exact_flow(number) for number in range(done, done + PIECE)])
            done = count
            grown = switch.child.memory_kilobytes()["RssAnon"] - start
            state = sum(path.stat().st_size for path in (scratch.folder / "state").iterdir())
            yield {"what": "flows", "count": count, "kilobytes": grown, "bytes_each": grown * 1024 / (count - PIECE),
                   "state_file_each": state / count}


def _connections(options):
    """Strangers fill the cache: with a program that all share, and through eight tables with a program each."""
    shared = [pipelines.exact_flow(0), f"priority=0,actions=output:{pipelines.OUT}"]
    for what, flows, settings in (("connections, one program", shared, {}),
                                  ("connections, a program each", pipelines.wide(), {"RANGE": 10_000})):
        with machine.Scratch() as scratch:
            switch, case = Martlet(lambda _: [*flows, f"{GATE},actions=drop"]), _case(scratch)
            # All of them: beside known connections the cache would wait for the second packet of a new one.
            case.fresh_headers = {"SHARE": 1, **settings}
            switch.start(Rig(case, scratch), options.nice)
            switch.warm()
            yield {"what": what, **_filled(switch)}


def _filled(switch):
    """Opens the gate, whose flow made all packets alike, and waits until the cache is nearly full."""
    start = switch.child.memory_kilobytes()["RssAnon"]
    switch.control.call("flow.del", {"bridge": switch.BRIDGE, "match": GATE, "strict": True})
    wait_until(lambda: switch.cache()["entries"] >= ENTRIES, 60, "a nearly full cache", switch.child)
    grown, cache = switch.child.memory_kilobytes()["RssAnon"] - start, switch.cache()
    if cache["aged"]:
        raise RuntimeError("connections were forgotten while they were counted")
    # Once it is full, new ones are not kept, and are no part of it.
    count = cache["entries"]
    return {"count": count, "kilobytes": grown, "bytes_each": grown * 1024 / count,
            "programs": cache["programs"]}


def _case(scratch):
    case = Case("flow-exact", "64", 1, 1000)
    case.prepare(scratch.folder)
    return case


# The results

def write(options, records, description, complete):
    goals = [report.at_most(f"bytes each: {record['count']:,} {record['what']}", FLOW_GOAL if record["what"] == "flows"
                            else CONNECTION_GOAL, [record["bytes_each"]]) for record in records]
    report.write_results("memory", options, records, description, complete, goals, _text(records))


def _text(records):
    yield ("Growth of martletd's anonymous memory. A flow is `" + pipelines.exact_flow(0) + f"`, added {PIECE:,} at a time; the "
           "state file's cache is in it, the file itself is beside it. A connection is a five-tuple of UDP that flows ask for, "
           "with all that one worker's cache has for it.")
    yield from ("", "| what | number | kB | bytes each | beside that |", "|---|--:|--:|--:|---|")
    for record in records:
        beside = (f"{record['state_file_each']:.0f} bytes each in the state file" if "state_file_each" in record
                  else f"{record['programs']:,} programs")
        yield f"| {record['what']} | {record['count']:,} | {record['kilobytes']:,} | {record['bytes_each']:.0f} | {beside} |"
