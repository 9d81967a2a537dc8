"""One measurement: a fresh start of one contender, its rate, and another try when something disturbed it."""
import subprocess
import time

import machine
import report
from contenders import Rig


def attempt(case, contender, options, tsc):
    """A disturbed run is measured again; the one with the largest share of its cores counts, however fast."""
    record = case.columns() | {"contender": contender.name}
    attempts = []
    try:
        while len(attempts) <= options.retries and (not attempts or report.disturbed(attempts[-1])):
            attempts.append(measure(case, contender, options.seconds, tsc, options.nice))
        return record | max(attempts, key=report.least_share) | {"attempts": len(attempts)}
    except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as failure:
        return record | {"failure": str(failure)}


def order(names, round_number):
    """Rotates and turns the order from round to round, so that no contender always follows the same one."""
    start = round_number % len(names)
    rotated = names[start:] + names[:start]
    return rotated if round_number % 2 == 0 else rotated[::-1]


def measure(case, contender, seconds, tsc, nice):
    """One fresh start of one contender: its packet rate over `seconds`."""
    with machine.Scratch() as scratch:
        rig = Rig(case, scratch)
        guests = contender.guests(rig, nice)
        contender.start(rig, nice)
        if guests:
            guests.start()
        note = contender.warm()
        watched = contender.children + ([guests.child] if guests else [])
        before, early = _sample(contender, guests, watched), rig.fresh_count()
        time.sleep(seconds)
        after, late = _sample(contender, guests, watched), rig.fresh_count()
        for child in watched:
            child.check()
    result = _result(before, after, tsc, case.cores) | {"fresh_mpps": (late - early) / (after[0] - before[0]) / 1e6}
    return result | ({"note": note} if note else {})


def _sample(contender, guests, watched):
    started = time.monotonic()
    packets = guests.packets() if guests else contender.packets()
    finished = time.monotonic()
    return (started + finished) / 2, packets, [child.cpu_nanoseconds() for child in watched], finished


def _result(before, after, tsc, cores):
    seconds = after[0] - before[0]
    *offered, entered, left = (late - early for early, late in zip(before[1], after[1]))
    if left <= 0:
        raise RuntimeError("no packet came through")
    shares = [machine.share_of_core(early, late, after[3] - before[3], cores) for early, late in zip(before[2], after[2])]
    guest_share = shares.pop() if offered else None
    share = sum(shares)  # two switches have the core in turns
    result = {"mpps": left / seconds / 1e6, "entered_mpps": entered / seconds / 1e6,
              "loss": max(0, 1 - left / entered), "share": share,
              # Cycles that the polling thread (or both) really had: a competitor on its core costs rate, not cycles per packet.
              "cycles": tsc * seconds * cores * min(1, share) / left}
    if offered:
        result |= {"offered_mpps": offered[0] / seconds / 1e6, "guest_share": guest_share}
    return result
