"""The results: statistics over the runs, ratios, the issue's goals, as Markdown, JSON and an SVG plot."""
import datetime
import json
import pathlib
import statistics

RESULTS = pathlib.Path(__file__).resolve().parent / "results"
COLOURS = {"martlet": "#d1495b", "testpmd-io": "#9aa5b1", "testpmd-macswap": "#52606d", "testpmd-vhost": "#52606d",
           "ovs-normal": "#2e86ab", "ovs-output": "#84c0dc", "ovs-flows": "#84c0dc", "ovs-tunnel": "#84c0dc"}
OWN_CORE = 0.95        # a polling thread that got less of its core than this was not alone
GUEST_HEADROOM = 1.03  # guests that offered less than this times what came through were the limit

RIGS = {
    "synthetic": "`net_pcap` replays a capture from memory, the switch sends to `net_null`. Cycles are the TSC cycles that the "
                 "polling thread had, for each packet sent. Loss is the worst run's. Core is the least share of its core that a "
                 "polling thread got: well under 1, something else ran there. The ratio is the median (min-max) over the "
                 "pairs of one round that nothing disturbed, if there are any.",
    "v2v": "Two guests on the other core, each sending its capture to the other as fast as the virtqueue takes it. Rates are both "
           "directions summed; MACs and flows are those of one direction. Offered is what the guests had to send: near "
           "the rate itself, they and not the switch were the limit. Loss is what the switch took and did not deliver.",
    **{f"v2v-{kind}": f"V2V through a {kind} tunnel between two switches of one kind, which share core 1 in turns: cycles are "
                       "those of both for a packet, core is the sum of their shares." for kind in ("vxlan", "gre")},
    "flow-output": "The synthetic rig; one flow sends everything on.",
    "flow-exact": "The synthetic rig; as many flows in one table as five-tuples in the traffic.",
    "flow-deep": "The synthetic rig; twelve tables and twenty actions on the way of every packet.",
    "flow-acl": "The synthetic rig; five rules that ask for different fields.",
    **{f"encap-{kind}": f"What comes in leaves through {kind} tunnels, each MAC through another." for kind in ("vxlan", "gre")},
    **{f"decap-{kind}": f"What comes in through {kind} tunnels, each from another host, leaves." for kind in ("vxlan", "gre")},
}
CASE = ("rig", "size", "macs", "flows")  # the columns that tell one case from another

# rig, frame size, MACs (None: any count measured), compared with, at least (None: to be told only)
GOALS = [("synthetic", "64", 1, "testpmd-macswap", 0.75), ("synthetic", "64", 10_000, "testpmd-macswap", 0.65),
         ("synthetic", "64", None, "ovs-normal", 1.3), ("v2v", "64", None, "ovs-normal", 1.5),
         ("v2v", "64", None, "ovs-output", 1.0), ("v2v", "64", None, "testpmd-vhost", None),
         ("flow-output", "64", 1, "testpmd-macswap", 0.8),
         *((f"flow-{name}", "64", None, "ovs-flows", 1.5) for name in ("output", "exact", "deep", "acl")),
         *((f"{way}-{kind}", "64", None, "ovs-tunnel", 1.3) for way in ("encap", "decap") for kind in ("vxlan", "gre")),
         *((f"v2v-{kind}", "64", None, peer, None) for kind in ("vxlan", "gre") for peer in ("ovs-normal", "ovs-output"))]


MANY_FLOW_GOALS = {1000: 0.9, 100_000: 0.7, 1_000_000: 0.55}
# By MACs, each behind a host of its own, and flows.
TUNNEL_GOALS = {(1, 1): 0.75, (1000, 10_000): 0.6}


def case_in_words(columns):
    size = "IMIX" if columns["size"] == "imix" else f"{columns['size']} B"
    return f"{columns['rig']}, {size}, {_load(columns)}"


def _load(columns):
    text = _counted(columns["macs"], "MAC")
    return text + (f", {_counted(columns['flows'], 'flow')}" if columns["flows"] != columns["macs"] else "")


def _counted(count, noun):
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def in_words(record):
    if "failure" in record:
        return f"FAILED: {record['failure']}"
    text = f"{record['mpps']:6.2f} Mpps {record['cycles']:5.0f} cycles, loss {_percent(record['loss'])}"
    if "note" in record:
        text += f", {record['note']}"
    if "offered_mpps" in record:
        text += f", offered {record['offered_mpps']:.1f}"
    if guest_bound(record):
        text += ", THE GUESTS WERE THE LIMIT"
    return text + (f", DISTURBED (share of the core {_shares(record)})" if least_share(record) < OWN_CORE else "")


def least_share(record):
    return min(record["share"], record.get("guest_share", 1))


def guest_bound(record):
    return record.get("offered_mpps", float("inf")) < GUEST_HEADROOM * record["mpps"]


def disturbed(record):
    """Says little about the contender: others shared its core, or the guests had no more to send."""
    return least_share(record) < OWN_CORE or guest_bound(record)


def rows(records):
    """One row for each contender of each case, in the order of measuring."""
    groups = {}
    for record in records:
        if "failure" not in record:
            groups.setdefault((*(record[column] for column in CASE), record["contender"]), []).append(record)
    return [_row(key, runs, groups) for key, runs in groups.items()]


def _row(key, runs, groups):
    *case, contender = key
    row = {**dict(zip(CASE, case)), "contender": contender, "runs": len(runs), "mpps": spread([run["mpps"] for run in runs]),
           "cycles": statistics.median(run["cycles"] for run in runs), "loss": max(run["loss"] for run in runs),
           "share": min(least_share(run) for run in runs)}
    row["notes"] = sorted({run["note"] for run in runs if "note" in run}
                          | {"guests the limit" for run in runs if guest_bound(run)})
    if "offered_mpps" in runs[0]:
        row["offered_mpps"] = statistics.median(run["offered_mpps"] for run in runs)
    if contender != "martlet":
        row["martlet_ratio"] = ratio(groups.get((*case, "martlet"), []), runs)
    return row


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratio(numerators, denominators, rate=lambda run: run["mpps"]):
    """Of the pairs measured in the same round, without disturbed ones unless there are no others; None without a pair."""
    by_round = {run["round"]: run for run in denominators}
    pairs = [(run, by_round[run["round"]]) for run in numerators if run["round"] in by_round]
    calm = [pair for pair in pairs if not any(map(disturbed, pair))]
    ratios = [rate(over) / rate(under) for over, under in calm or pairs]
    return {**spread(ratios), "pairs": len(ratios), "disturbed": not calm} if ratios else None


def goals(table):
    """[(what, goal, measured, verdict)] for the goals whose case was measured."""
    lines = []
    for rig, size, macs, peer, least in GOALS:
        for row in table:
            if (row["rig"], row["size"], row["contender"]) == (rig, size, peer) and macs in (None, row["macs"]):
                measured = row.get("martlet_ratio")
                lines.append((f"{case_in_words(row)}: martlet : {peer}", f">= {least}" if least else "to be told",
                              ratio_text(measured) or "not measured", verdict(measured, least)))
    return lines + list(_many_flow_goals(table)) + list(_tunnel_goals(table))


def _many_flow_goals(table):
    """What many flows leave of Martlet's own rate with one: of different cases, so of medians."""
    rates = {row["flows"]: row["mpps"]["median"] for row in table
             if (row["rig"], row["size"], row["contender"]) == ("flow-exact", "64", "martlet")}
    for count, least in MANY_FLOW_GOALS.items():
        if 1 in rates and count in rates:
            share = rates[count] / rates[1]
            yield (f"flow-exact, 64 B: martlet with {count:,} flows : with one", f">= {least}", f"{share:.2f}",
                   "met" if share >= least else "MISSED")


def _tunnel_goals(table):
    """What tunnels leave of Martlet's rate from port to port, with the same frames: of different cases, so of medians."""
    rates = {(row["rig"], row["macs"], row["flows"]): row["mpps"]["median"] for row in table
             if (row["size"], row["contender"]) == ("64", "martlet")}
    for (rig, macs, flows), rate in rates.items():
        least = TUNNEL_GOALS.get((macs, flows))
        plain = rates.get(("flow-output", macs, flows))
        if least and plain and rig.startswith(("encap-", "decap-")):
            yield (f"{rig}, 64 B, {_load({'macs': macs, 'flows': flows})}: martlet : without a tunnel", f">= {least}",
                   f"{rate / plain:.2f}", "met" if rate / plain >= least else "MISSED")


def verdict(measured, least):
    if not measured:
        return ""
    words = "" if least is None else "met" if measured["median"] >= least else "MISSED"
    return words + (" (disturbed: measure again)" if measured["disturbed"] else "")


def at_most(what, most, values):
    """A line of goals for what is to be little: the worst run counts."""
    return what, f"<= {most:,}", *_worst(values, lambda: max(values) <= most)


def at_least(what, least, values):
    """The same for what is to be much."""
    return what, f">= {least:,}", *_worst(values, lambda: min(values) >= least)


def _worst(values, is_met):
    if not values:
        return "not measured", ""
    spread = f" ({min(values):,.4g}-{max(values):,.4g})" if values[1:] else ""
    return f"{statistics.median(values):,.4g}{spread}", "met" if is_met() else "MISSED"


def write(folder, kind, records, machine, options, complete):
    table = rows(records)
    stem = _stem(folder, kind)
    document = {"date": _today(), "complete": complete, "machine": machine, "options": options,
                "goals": goals(table), "rows": table, "records": records}
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    stem.with_suffix(".svg").write_text(_plot(table))
    markdown = _markdown(stem, kind, document)
    stem.with_suffix(".md").write_text(markdown)
    print("\n" + _goal_table(document["goals"]) + f"\nwritten: {stem}.md, .json, .svg", flush=True)


def write_soak(folder, samples, machine):
    stem = _stem(folder, "soak")
    stem.with_suffix(".json").write_text(json.dumps({"date": _today(), "machine": machine, "samples": samples}, indent=1) + "\n")
    lines = [f"# Soak, {_today()}", "", *_machine_lines(machine), "",
             "martletd, synthetic rig, 64 B, 1,000 MACs: memory of the daemon while packets pass.", "",
             "| seconds | packets | RSS kB | anonymous kB |", "|--:|--:|--:|--:|"]
    lines += [f"| {s['seconds']:.0f} | {s['packets']:,} | {s['VmRSS']:,} | {s['RssAnon']:,} |" for s in samples]
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print(f"written: {stem}.md, .json")


def values(records, what, name):
    """A figure of all records of a kind."""
    return [record[name] for record in records if record["what"] == what]


def write_results(kind, options, records, description, complete, goals, text):
    """The results of a subject that is Martlet's alone."""
    document = {"complete": complete, "machine": description, "options": vars(options), "goals": goals, "records": records}
    write_document(RESULTS, kind, document, text)


def write_document(folder, kind, document, text, panels=()):
    """The results of one subject. `document` has the machine, the options, the goals and what else the JSON is to say;
    `text` is Markdown."""
    stem = _stem(folder, kind)
    document = {"date": _today(), **document}
    lines = [f"# {kind.capitalize()}, {document['date']}", "", *_machine_lines(document["machine"])]
    if not document["complete"]:
        lines += ["", "**The run was interrupted: what follows is a part.**"]
    lines += ["", "## Goals", "", _goal_table(document["goals"])]
    if panels:
        rows = [row for _, groups in panels for group in groups.values() for row in group]
        stem.with_suffix(".svg").write_text(plot(panels, _names(rows)))
        lines += [f"![Mpps]({stem.name}.svg)", ""]
    stem.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    stem.with_suffix(".md").write_text("\n".join([*lines, *text]) + "\n")
    print("\n" + _goal_table(document["goals"]) + f"\nwritten: {stem}.md", flush=True)


def _stem(folder, kind):
    folder.mkdir(exist_ok=True)
    return folder / f"{_today()}-{kind}"


def _today():
    return datetime.date.today().isoformat()


def _machine_lines(machine):
    guest = ", a virtual machine" if machine["virtualised"] else ""
    return [f"Machine: {machine['cpu']}, {machine['cores']} cores{guest}, {machine['memory']} of memory, "
            f"hugepages {machine['hugepages']}; {machine['kernel']}; DPDK {machine['dpdk']}; "
            f"Open vSwitch {machine['openvswitch']}; Martlet {machine['martlet']}."]


def _markdown(stem, kind, document):
    lines = [f"# Packet rates, {document['date']}, {kind}", "", *_machine_lines(document["machine"]),
             f"TSC {document['machine']['tsc_hertz'] / 1e6:.0f} MHz. Switch on core 1, everything else on core 0; "
             f"{document['options']['runs']} runs of {document['options']['seconds']:g} s, each a fresh start, in turned order."]
    if document["options"]["nice"]:
        lines += [f"Everything measured ran in an autogroup of nice {document['options']['nice']}."]
    if not document["complete"]:
        lines += ["", "**The run was interrupted: what follows is a part.**"]
    lines += ["", "## Goals", "", _goal_table(document["goals"]), f"![Mpps]({stem.name}.svg)", ""]
    for rig in dict.fromkeys(row["rig"] for row in document["rows"]):
        lines += [f"## {rig}", "", RIGS[rig], "", *_rate_table([row for row in document["rows"] if row["rig"] == rig]), ""]
    failures = [record for record in document["records"] if "failure" in record]
    if failures:
        lines += ["## Failed", ""] + [
            f"* {case_in_words(r)}, {r['contender']}, run {r['round'] + 1}: {r['failure']}" for r in failures]
    return "\n".join(lines).rstrip() + "\n"


def _goal_table(lines):
    head = ["| goal | | measured | |", "|---|---|---|---|"]
    body = [f"| {' | '.join(line)} |" for line in lines] or ["| none of the goals' cases was measured | | | |"]
    return "\n".join(head + body) + "\n"


def _rate_table(table):
    has_guests = "offered_mpps" in table[0]
    offered = " offered |" if has_guests else ""
    yield f"| frame | MACs | flows | contender | Mpps min | median | max |{offered} cycles/packet | loss | core | martlet : this |"
    yield "|--:|--:|--:|---|--:|--:|--:|" + ("--:|" if has_guests else "") + "--:|--:|--:|---|"
    for row in table:
        mpps = row["mpps"]
        offered = f" {row['offered_mpps']:.2f} |" if has_guests else ""
        name = row["contender"] + "".join(f" ({note})" for note in row["notes"])
        yield (f"| {row['size']} | {row['macs']} | {row['flows']} | {name} | {mpps['min']:.2f} | {mpps['median']:.2f} "
               f"| {mpps['max']:.2f} |{offered} {row['cycles']:.0f} | {_percent(row['loss'])} | {row['share']:.2f} "
               f"| {ratio_text(row.get('martlet_ratio'))} |")


def ratio_text(ratio):
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})" if ratio else ""


def _percent(loss):
    return "0" if loss < 1e-6 else f"{loss * 100:.2g} %"


def _shares(record):
    return ", ".join(f"{record[key]:.2f}" for key in ("share", "guest_share") if key in record)


# The plot: rates by frame size, and by MACs and flows; groups of bars, whiskers from min to max.

PANEL_WIDTH, PANEL_HEIGHT, MARGIN, GAP = 560, 220, 44, 60


def _plot(table):
    return plot(list(_panels(table)), _names(table))


def plot(panels, names):
    """Of [(title, {label of a group of bars: its rows})]."""
    height = 40 + -(-len(panels) // 2) * (PANEL_HEIGHT + GAP)
    body = [_legend(names)]
    for i, (title, groups) in enumerate(panels):
        body.append(f'<g transform="translate({i % 2 * (PANEL_WIDTH + MARGIN) + MARGIN},{i // 2 * (PANEL_HEIGHT + GAP) + GAP})">')
        body += [f'<text x="0" y="-8" font-weight="bold">{title}: Mpps</text>', *_panel(groups), "</g>"]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * (PANEL_WIDTH + MARGIN) + 20}" height="{height}" '
            'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(body) + "\n</svg>\n")


def _panels(table):
    """(title, {label of a group of bars: its rows}) for each thing held fast while another varies."""
    size = lambda row: "IMIX" if row["size"] == "imix" else f"{row['size']} B"
    for fixed, varied in ((_load, size), (size, _load)):
        panels = {}
        for row in table:
            panels.setdefault(f"{row['rig']}, {fixed(row)}", {}).setdefault(varied(row), []).append(row)
        yield from ((title, groups) for title, groups in panels.items() if len(groups) > 1 or _lonely(groups, table, varied))


def _lonely(groups, table, varied):
    """The only case of its rig: nothing varies, and one of the two ways to look at it must do."""
    rig = next(iter(groups.values()))[0]["rig"]
    return varied is _load and len({_load(row) + row["size"] for row in table if row["rig"] == rig}) == 1


def _names(rows):
    return [name for name in COLOURS if any(row["contender"] == name for row in rows)]


def _legend(names):
    return "\n".join(f'<rect x="{MARGIN + i * 130}" y="12" width="12" height="12" fill="{COLOURS[name]}"/>'
                     f'<text x="{MARGIN + 17 + i * 130}" y="22">{name}</text>' for i, name in enumerate(names))


def _panel(groups):
    rows = [row for group in groups.values() for row in group]
    names, top = _names(rows), max(row["mpps"]["max"] for row in rows)
    scale, step = PANEL_HEIGHT / (top * 1.05), PANEL_WIDTH / len(groups)
    width = min(step * 0.85 / len(names), 40)
    drawn = list(_grid(top, scale))
    for i, (label, group) in enumerate(groups.items()):
        middle = (i + 0.5) * step
        drawn.append(f'<text x="{middle:.0f}" y="{PANEL_HEIGHT + 15}" text-anchor="middle">{label}</text>')
        drawn += [_bar(middle + (names.index(row["contender"]) - len(names) / 2) * width, width, scale, row) for row in group]
    return drawn


def _grid(top, scale):
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if top / s <= 8)
    for i in range(int(top / step) + 1):
        y = PANEL_HEIGHT - i * step * scale
        yield (f'<line x1="0" x2="{PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
               f'<text x="-5" y="{y + 4:.1f}" text-anchor="end">{i * step:g}</text>')


def _bar(x, width, scale, row):
    y = {name: PANEL_HEIGHT - value * scale for name, value in row["mpps"].items()}
    middle = x + width / 2
    return (f'<rect x="{x:.1f}" y="{y["median"]:.1f}" width="{width * 0.9:.1f}" height="{PANEL_HEIGHT - y["median"]:.1f}" '
            f'fill="{COLOURS[row["contender"]]}"><title>{row["contender"]} {row["mpps"]["median"]:.2f} Mpps</title></rect>'
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y["min"]:.1f}" y2="{y["max"]:.1f}" stroke="black"/>')
