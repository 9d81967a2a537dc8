"""What one switch does otherwise than another, and the smallest case of it."""

from collections import Counter
from dataclasses import replace

from flow_cases import is_meant, transport_of
from processes import TooLate, eventually
from random_flows import LENGTH_TABLE
from twins import GROUP, PORTS, Refused, groups_of

# Drops of frames whose way Open vSwitch may go to its end, and of those that go in a loop for both switches.
TOO_LONG, LOOP = "flow_too_long", "flow_loop"
# Only a loop that branches sends a frame out of a port so often: one that does not ends at its 64th turn. Open vSwitch
# ends it at 64 kB of actions, without an error, and Martlet at the look-ups alone. One that asks for the length branches in
# Open vSwitch, which drops the packet for it, and does not in Martlet, where behind a patch it keeps what it has sent.
COPIES, TURNS_BY_LENGTH = 1000, 60


def difference(oracle, tested, case, size=GROUP):
    """What `tested` does otherwise than `oracle`, in words; None when there is nothing."""
    for twin in (oracle, tested):
        twin.load(case.flows)
    groups = groups_of(case.packets, size)
    too_long, loops = tested.drops(TOO_LONG), tested.drops(LOOP)
    expected, seen = (twin.exchange(groups) for twin in (oracle, tested))
    if tested.drops(TOO_LONG) != too_long or any(_is_many(case, left) for left in expected + seen):
        shorter = _shorter(oracle, tested, case)
        if len(shorter.packets) < len(case.packets):
            return difference(oracle, tested, shorter, size)
    for (port, frames), *pair in zip(groups, expected, seen):
        if not are_alike(case, *pair):
            return _frames_difference(port, frames, *pair)
    # A loop that branches ends with the same frames, but not at the same flow: Open vSwitch bounds the bytes of actions
    # too, and Martlet's bound of look-ups counts the groups that were met.
    return _counts_difference(oracle.counts(), tested) if tested.drops(LOOP) == loops else None


def _is_many(case, left):
    return any(len(frames) >= (TURNS_BY_LENGTH if case.loops_by_length else COPIES) for frames in left.values())


def _shorter(oracle, tested, case):
    """The case without the frames whose programs are too long (Martlet's have 4,096 steps, Open vSwitch's 64 kB),
    and those of which there are too many copies."""
    for twin in (oracle, tested):
        twin.load(case.flows)
    kept = []
    for packet in case.packets:
        too_long = tested.drops(TOO_LONG)
        left = [part for twin in (oracle, tested) for part in twin.exchange(groups_of([packet]))]
        kept += [packet] if tested.drops(TOO_LONG) == too_long and not any(_is_many(case, one) for one in left) else []
    return replace(case, packets=kept)


def are_alike(case, expected, seen):
    """Whether the same left each port. Of bridges that flood, the copies of one frame may leave in any order: Open
    vSwitch's is that of a hash table, in which what comes back through the patch may be before or behind what left
    directly."""
    return expected == seen or case.floods and expected.keys() == seen.keys() and all(
        expected[port] == seen[port] or are_shuffled_copies(expected[port], seen[port], case.cuts)
        for port in expected)


def are_shuffled_copies(expected, seen, cuts):
    """Whether lists differ by the order of copies of one frame alone, as far as `payload_end` tells. `cuts` is whether
    copies may lack it."""
    if cuts or sorted(expected) != sorted(seen):
        return sorted(expected) == sorted(seen)
    surplus, ends = Counter(), set()
    for one, other in zip(expected, seen):
        for frame, count in ((one, 1), (other, -1)):
            surplus[frame] += count
            if surplus[frame] == 0:
                del surplus[frame]
        ends.add(payload_end(one))
        if len(ends - {None}) > 1:
            return False
        if not surplus:
            ends.clear()
    return True


def payload_end(frame):
    """What no flow writes and what tells frames apart: the last octets behind a transport header; None without."""
    number, message = transport_of(frame)
    header = {1: 8, 6: 20, 17: 8, 132: 12}.get(number)
    return message[-6:] if header is not None and len(message) >= header + 6 else None


def _frames_difference(port, frames, expected, seen):
    shown = ", ".join(frame.hex() for frame in frames) if len(frames) < 4 else f"{len(frames)} frames"
    lines = [f"in {port}: {shown}"]
    for out in PORTS:
        wanted, got = expected.get(out, []), seen.get(out, [])
        if wanted != got:
            lines += [f"out {out}: Open vSwitch sends {len(wanted)}, Martlet {len(got)}"]
            alike = zip(range(len(wanted)), wanted, got)
            place = next((at for at, one, other in alike if one != other), min(len(wanted), len(got)))
            lines += [f"    Open vSwitch {wanted[place].hex() if place < len(wanted) else 'nothing'}",
                      f"    Martlet      {got[place].hex() if place < len(got) else 'nothing'}"]
    return "\n".join(lines)


def _counts_difference(expected, tested):
    """Flows get the counts of packets that the cache forwarded a little later."""
    try:
        return eventually(lambda: not _other_counts(expected, tested.counts()), 0.5, "the counts") and None
    except TooLate:
        seen = tested.counts()
    return "\n".join("%s table=%d,priority=%d:" % key
                     + f" Open vSwitch counts {expected.get(key)}, Martlet {seen.get(key)}"
                     for key in _other_counts(expected, seen)) or None


def _other_counts(expected, seen):
    """The flows with other counts. Behind check_pkt_larger Open vSwitch translates flows for both answers, and counts
    both; so those of LENGTH_TABLE, which nothing else leads to, count at least what they forward."""
    return [key for key in sorted(expected.keys() | seen.keys())
            if expected.get(key) != seen.get(key) and not (
                key[1] == LENGTH_TABLE and key in expected and key in seen
                and all(count <= most for count, most in zip(seen[key], expected[key])))]


# Shrinking

class Shrinker:
    """Takes away from a case what its difference does not need."""

    def __init__(self, oracle, tested):
        self._oracle, self._tested = oracle, tested
        self._size = 1

    def shrunk(self, case):
        """The case and its difference; one that does not come back is kept as it is."""
        self._size = 1 if self._difference(case) else GROUP
        former = None
        while former != case:
            former = case
            case = self._with_fewer(case, "packets")
            case = self._with_fewer(case, "flows")
            case = self._with_simpler_flows(case)
        return case, self._difference(case)

    def _difference(self, case):
        if any(is_meant(frame, case) for _, frame in case.packets):
            return None
        try:
            return difference(self._oracle, self._tested, case, self._size)
        except Refused:
            return None

    def _with_fewer(self, case, name):
        """Without parts of a list, halves first, then single ones."""
        size = max(1, len(getattr(case, name)) // 2)
        while True:
            start = 0
            while start < len(whole := getattr(case, name)):
                candidate = replace(case, **{name: whole[:start] + whole[start + size:]})
                if self._difference(candidate):
                    case = candidate
                else:
                    start += size
            if size == 1:
                return case
            size //= 2

    def _with_simpler_flows(self, case):
        for place in range(len(case.flows)):
            changed = True
            while changed:
                changed = False
                for simpler in simplifications(case.flows[place]):
                    candidate = replace(case, flows=case.flows[:place] + [simpler] + case.flows[place + 1:])
                    if self._difference(candidate):
                        case, changed = candidate, True
                        break
        return case


def split(text):
    """At commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text + ","):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return parts


def simplifications(line):
    """A flow without one of its actions, or one field of its match; a group without a bucket or an action of one."""
    if line.removeprefix("br1 ").startswith("meter="):
        return
    if line.removeprefix("br1 ").startswith("group_id="):
        yield from simpler_groups(line)
        return
    match, actions = line.split(" actions=")
    for simpler in simpler_lists(actions):
        yield f"{match} actions={simpler}"
    fields = match.split(",")
    for place, field in enumerate(fields):
        if not field.removeprefix("br1 ").startswith(("table=", "priority=")):
            yield f"{','.join(fields[:place] + fields[place + 1:])} actions={actions}"


def simpler_groups(line):
    head, *buckets = line.split(",bucket=")
    for place, bucket in enumerate(buckets):
        before, after = buckets[:place], buckets[place + 1:]
        yield ",bucket=".join([head, *before, *after])
        options, actions = bucket.split("actions=")
        for simpler in simpler_lists(actions):
            yield ",bucket=".join([head, *before, f"{options}actions={simpler}", *after])


def simpler_lists(actions):
    """A list of actions without one of them, or with what a clone or an action set holds in its place or simpler."""
    parts = split(actions)
    for place, part in enumerate(parts):
        before, after = parts[:place], parts[place + 1:]
        if part != "drop":
            yield ",".join(before + after) or "drop"
        name, bracket, inside = part.partition("(")
        if not bracket or name not in ("clone", "write_actions"):
            continue
        inside = inside[:-1]
        yield ",".join([*before, inside, *after])
        for simpler in simpler_lists(inside):
            if simpler != "drop":
                yield ",".join([*before, f"{name}({simpler})", *after])
