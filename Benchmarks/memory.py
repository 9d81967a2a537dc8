"""What a flow and a cached connection cost in memory, of martletd's own (hugepages hold packets and are not in it)."""
import machine
import pipelines
import report
from contenders import Case, Martlet, Rig
from machine import wait_until

FLOWS = [100_000, 1_000_000]
PIECE = 10_000  # of a transaction: what reading its text takes is small beside the flows then
CONNECTIONS = 1_000_000
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
    """Strangers fill the cache, each another five-tuple, all of which a flow asks for."""
    with machine.Scratch() as scratch:
        switch, case = Martlet(), _case(scratch)
        case.fresh_headers = {"PER_SECOND": 500_000}
        switch.start(Rig(case, scratch), options.nice)
        switch.warm()  # a bridge without flows has no use for the cache yet
        start = switch.child.memory_kilobytes()["RssAnon"]
        switch.change_flows("flow.replace", [pipelines.exact_flow(0), f"priority=0,actions=output:{pipelines.OUT}"])
        wait_until(lambda: switch.cache()["entries"] >= CONNECTIONS, 30, "a million connections", switch.child)
        grown, cache = switch.child.memory_kilobytes()["RssAnon"] - start, switch.cache()
        yield {"what": "connections", "count": cache["entries"], "kilobytes": grown,
               "bytes_each": grown * 1024 / cache["entries"], "programs": cache["programs"], "masks": cache["masks"]}


def _case(scratch):
    case = Case("flow-exact", "64", 1, 1000)
    case.prepare(scratch.folder)
    return case


# The results

def write(options, records, description, complete):
    of = lambda what: [record["bytes_each"] for record in records if record["what"] == what]
    goals = [report.at_most("bytes a flow", FLOW_GOAL, of("flows")), report.at_most("bytes a cached connection", CONNECTION_GOAL,
                                                                                   of("connections"))]
    document = {"complete": complete, "machine": description, "options": vars(options), "goals": goals, "records": records}
    report.write_document(report.RESULTS, "memory", document, _text(records))


def _text(records):
    yield ("Growth of martletd's anonymous memory. A flow is `" + pipelines.exact_flow(0) + f"`, added {PIECE:,} at a time; the "
           "state file's cache is in it, the file itself is beside it. A connection is a five-tuple of UDP that a flow asks for, "
           "with all that one worker's cache has for it.")
    yield from ("", "| what | number | kB | bytes each | of the state file |", "|---|--:|--:|--:|--:|")
    for record in records:
        beside = f"{record['state_file_each']:.0f}" if "state_file_each" in record else ""
        yield f"| {record['what']} | {record['count']:,} | {record['kilobytes']:,} | {record['bytes_each']:.0f} | {beside} |"
