"""Established connections beside headers that no cache has: a tuple-space attack, and new connections. See README.md."""
import dataclasses
import statistics

import machine
import pipelines
import report
import traffic
from contenders import Case, Martlet, OpenVSwitch
from measurement import attempt, order

ESTABLISHED = 1000        # five-tuples
ATTACKED_PACKETS = 81_920  # of a capture: so that each header of the explosion is in the one of 10 % once
PACED = 200_000           # new connections a second


@dataclasses.dataclass
class Load(Case):
    """What comes in beside the established connections of the same capture."""
    name: str = ""
    attack_share: float | None = None  # of a capture that repeats; None: of no attack at all
    fresh_headers: dict = dataclasses.field(default_factory=dict)
    warm_limit: int = 10

    def prepare(self, folder):
        super().prepare(folder)
        if self.attack_share is not None:
            self.packet_count = traffic.write_attacked(
                self.captures[0], self.behind["out"][0], traffic.macs(1, 2)[0], self.flow_count, self.attack_share,
                ATTACKED_PACKETS)

    def columns(self):
        return {"load": self.name}


def _loads(subject):
    """The first is what the others are held against. It too has the callback of fresh.c, so that its cost is in all."""
    load = lambda name, share=None, **fresh: Load(subject, "64", 1, ESTABLISHED, name=name, attack_share=share,
                                                  fresh_headers=fresh)
    if subject == "newcomers":
        return [load("none", RANGE=10_000), load("paced", PER_SECOND=PACED, RANGE=10_000),
                load("all", SHARE=1, RANGE=10_000)]
    return [load("none", 0), load("static-10", 0.1), load("static-50", 0.5), load("fresh-10", 0, SHARE=0.1),
            load("fresh-50", 0, SHARE=0.5)]


_FLOWS = {"attack": lambda _: pipelines.attacked(), "newcomers": lambda _: pipelines.wide()}
SUBJECTS = list(_FLOWS)
CONTENDERS = ["martlet", "ovs-flows"]
LOADS = {subject: [load.name for load in _loads(subject)] for subject in SUBJECTS}


def _contenders(subject):
    flows = _FLOWS[subject]
    return {"martlet": Martlet(flows), "ovs-flows": OpenVSwitch("ovs-flows", flows)}


def run(options, tsc, records):
    """Round by round, so that each load stands near the one it is compared with."""
    switches = _contenders(options.subject)
    names = [name for name in switches if name in options.contenders]
    chosen = [load for load in _loads(options.subject) if load.name in options.loads]
    with machine.Scratch() as scratch:
        for load in chosen:
            folder = scratch.folder / load.name
            folder.mkdir()
            load.prepare(folder)
        for round_number in range(options.runs):
            for name in order(names, round_number):
                for load in chosen if round_number % 2 == 0 else chosen[::-1]:
                    record = attempt(load, switches[name], options, tsc) | {"round": round_number}
                    records.append(record)
                    print(f"run {round_number + 1}, {load.name:10} {name:10} {_in_words(record)}", flush=True)


def _in_words(record):
    if "failure" in record:
        return f"FAILED: {record['failure']}"
    return (f"{record['share']:.2f} of the core, {record['entered_mpps']:6.2f} Mpps in, {record['mpps']:6.2f} out, "
            f"{record['fresh_mpps']:5.2f} of them in new, {record.get('note', '')}")


# The results

def _entered(record):
    """Mpps that the switch took, for a whole core: where others ran on it, this is what it would have been."""
    return record["entered_mpps"] / min(1, record["share"])


def _established(subject, record):
    """The same of established connections, as they came out. The attack's packets are dropped, all but one in thousands;
    the other newcomers are sent on, and one that is lost counts as one of the established."""
    left = record["mpps"] if subject == "attack" else max(0, record["mpps"] - record["fresh_mpps"])
    return left / min(1, record["share"])


def rows(subject, records):
    groups = {}
    for record in records:
        if "failure" not in record:
            groups.setdefault((record["contender"], record["load"]), []).append(record)
    return [_row(subject, contender, load, runs, groups) for (contender, load), runs in groups.items()]


def _row(subject, contender, load, runs, groups):
    established = lambda run: _established(subject, run)
    base, peer = groups.get((contender, "none"), []), groups.get(("ovs-flows", load), [])
    return {"contender": contender, "load": load, "runs": len(runs), "mpps": report.spread([_entered(run) for run in runs]),
            "established": report.spread([established(run) for run in runs]),
            "new": statistics.median(run["fresh_mpps"] for run in runs),
            "cycles": statistics.median(run["cycles"] * run["mpps"] / run["entered_mpps"] for run in runs),
            "share": min(run["share"] for run in runs), "notes": sorted({run["note"] for run in runs if "note" in run}),
            "of_base": report.ratio(runs, base, _entered), "established_of_base": report.ratio(runs, base, established),
            "of_ovs": report.ratio(runs, peer, _entered) if contender == "martlet" else None}


def goals(subject, table):
    lines = []
    for row in table:
        if row["contender"] != "martlet":
            continue
        if subject == "attack" and row["load"] != "none":
            lines.append(_goal(f"{row['load']}: packets that come in : those without the attack", 0.5, row["of_base"]))
        elif row["load"] == "paced":
            lines.append(_goal("200,000 new connections a second: established ones : without", 0.8, row["established_of_base"]))
        elif row["load"] == "all":
            measured = row["mpps"] | {"disturbed": False}
            lines.append(_goal("every packet a new connection, Mpps through 8 tables", 1.5, measured))
    return lines


def _goal(what, least, measured):
    return what, f">= {least}", report.ratio_text(measured) or "not measured", report.verdict(measured, least)


TEXTS = {
    "attack": "64 B, 1,000 five-tuples that an access list of three rules lets pass, each by another field; it drops the rest. An "
              "attacker sends headers that differ from it in every combination of bits (Csikor et al., CoNEXT 2019; "
              "CVE-2019-25076): *static* has one for each of the 8,192 combinations, again and again, as 10 or 50 % of the "
              "packets; *fresh* has random ones that nobody has seen before. In is all that the switch took; established what "
              "came out of the connections.",
    "newcomers": "64 B, 1,000 five-tuples through eight tables of 10,000 flows, and new connections that no mask makes alike: "
                 f"*paced* has {PACED:,} a second, *all* nothing else. In is all that the switch took; established what came "
                 "out, the new ones aside.",
}
_RATIOS = ("The ratios are medians (min-max) of the pairs of one round. Cycles are those for each packet in. Rates and ratios are for "
           "a whole core; core is the least share of it that the polling thread had.")


def write(options, records, description, complete):
    subject = options.subject
    table = rows(subject, records)
    document = {"complete": complete, "machine": description, "options": vars(options),
                "goals": goals(subject, table), "rows": table, "records": records}
    text = [TEXTS[subject], "", _RATIOS, "", *_rate_table(table)]
    groups = {}
    for row in table:
        groups.setdefault(row["load"], []).append(row)
    report.write_document(report.RESULTS, subject, document, text, [(f"{subject}, 64 B", groups)])


def _rate_table(table):
    yield ("| load | contender | in, Mpps min | median | max | new | established, Mpps | cycles | core | in : none "
           "| established : none | martlet : ovs |")
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|---|---|---|"
    for row in table:
        rates, name = row["mpps"], row["contender"] + "".join(f" ({note})" for note in row["notes"])
        yield (f"| {row['load']} | {name} | {rates['min']:.2f} | {rates['median']:.2f} | {rates['max']:.2f} | {row['new']:.2f} "
               f"| {row['established']['median']:.2f} | {row['cycles']:.0f} | {row['share']:.2f} "
               f"| {report.ratio_text(row['of_base'])} | {report.ratio_text(row['established_of_base'])} "
               f"| {report.ratio_text(row['of_ovs'])} |")
