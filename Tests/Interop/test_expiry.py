"""How long connections are kept, by their state: in Open vSwitch with timeouts of seconds, and in Martlet.

Open vSwitch's clock is set forward. Martlet's is real, so this takes some seconds, and is done again when the machine was
too slow for it.
"""

import time

from known_conversations import STANDARD, icmp, tcp, udp
from random_tracking import REPORTS, report_flows, state_of
from tracking_twins import TrackingMartlet, TrackingOpenVSwitch

ZONE = 1
# Seconds, by the names of ovs-vswitchd.conf.db(5), "CT_Timeout_Policy".
TIMEOUTS = {"tcp_syn_sent": 1, "tcp_syn_recv": 2, "tcp_established": 4, "tcp_fin_wait": 3, "tcp_time_wait": 2,
            "tcp_close": 1, "udp_first": 1, "udp_single": 3, "udp_multiple": 2, "icmp_first": 2, "icmp_reply": 1}
# Connections are asked for in the middle of each second.
QUESTIONS, MARGIN, ATTEMPTS = max(TIMEOUTS.values()) + 1, 0.5, 3

HANDSHAKE = [(0, "S", 1000, 0), (1, "SA", 5000, 1001), (0, "A", 1001, 5001)]
FIRST_FIN, SECOND_FIN, LAST = (0, "FA", 1001, 5001), (1, "FA", 5001, 1002), (0, "A", 1002, 5002)
# Timeout, what is sent at first, and the answer that is a reply as long as the connection is there.
SEGMENTS = {
    "asked for": ("tcp_syn_sent", HANDSHAKE[:1], HANDSHAKE[1]),
    "picked up": ("tcp_syn_sent", HANDSHAKE[2:], (1, "A", 5001, 1001)),
    "answered": ("tcp_syn_recv", HANDSHAKE[:2], HANDSHAKE[1]),
    "established": ("tcp_established", HANDSHAKE, (1, "A", 5001, 1001)),
    "half closed": ("tcp_fin_wait", [*HANDSHAKE, FIRST_FIN], (1, "A", 5001, 1002)),
    "closed, not acknowledged": ("tcp_time_wait", [*HANDSHAKE, FIRST_FIN, SECOND_FIN], SECOND_FIN),
    "closed": ("tcp_close", [*HANDSHAKE, FIRST_FIN, SECOND_FIN, LAST], (1, "A", 5002, 1002)),
    "reset": ("tcp_close", [*HANDSHAKE, (0, "R", 1001, 0)], (1, "A", 5001, 1001)),
}
# The same, of the sides that send.
DATAGRAMS = {"a datagram": ("udp_first", (0,)), "two datagrams": ("udp_single", (0, 0)),
             "a datagram and its answer": ("udp_multiple", (0, 1))}
ECHOES = {"an echo": ("icmp_first", (0,)), "an echo and its reply": ("icmp_reply", (0, 1))}
EXPECTED = {name: TIMEOUTS[row[0]] for name, row in (SEGMENTS | DATAGRAMS | ECHOES).items()}


def conversation(name, number):
    """What is sent at first, and the question; `number` tells conversations apart."""
    ports = number, 80
    if name in SEGMENTS:
        _, sent, question = SEGMENTS[name]
        return [tcp(*segment, ports=ports) for segment in sent], tcp(*question, ports=ports)
    if name in DATAGRAMS:
        return [udp(side, ports) for side in DATAGRAMS[name][1]], udp(1, ports)
    return [icmp(side, 0 if side else 8, identifier=number) for side in ECHOES[name][1]], icmp(1, 0, identifier=number)


class OpenVSwitchClock:
    """Seconds since it was made, as Open vSwitch is told."""

    def __init__(self, twin):
        self._twin, self._now = twin, 0.0

    def waits_for(self, moment):
        self._twin.warp(moment - self._now)
        self._now = moment

    def is_late(self, _):
        return False


class RealClock:
    """Seconds since it was made."""

    def __init__(self, _):
        self._start = time.monotonic()

    def waits_for(self, moment):
        # Nothing can be asked meanwhile: what is asked for begins anew.
        time.sleep(max(0, self._start + moment - time.monotonic()))

    def is_late(self, moment):
        return time.monotonic() - self._start > moment


def lifetimes(twin, clock_of):
    """The seconds that a connection of each name is there. None when the machine was too slow."""
    twin.load(STANDARD + report_flows("br0"))
    kept, clock = dict.fromkeys(EXPECTED, 0), clock_of(twin)
    # Each is asked for once: a question makes it younger.
    questions = [[(name, *conversation(name, 1000 * place + at + 1)) for place, name in enumerate(EXPECTED)]
                 for at in range(QUESTIONS)]
    twin.exchange([(port, [frame]) for row in questions for _, sent, _ in row for port, frame in sent])
    for at, row in enumerate(questions):
        if clock.is_late(at + MARGIN):
            return None
        clock.waits_for(at + MARGIN)
        answers = twin.exchange([(port, [frame]) for _, _, (port, frame) in row])
        if clock.is_late(at + 2 * MARGIN):
            return None
        for (name, _, _), left in zip(row, answers):
            kept[name] += any("+rpl" in state_of(frame) for frame in left.get(REPORTS["br0"], ()))
    return kept


def test_open_vswitch_keeps_connections_as_long_as_it_is_told(room):
    (room.directory / "ovs").mkdir()
    twin = room.keeps(TrackingOpenVSwitch(room.directory / "ovs"))
    twin.set_timeouts(ZONE, TIMEOUTS)
    assert lifetimes(twin, OpenVSwitchClock) == EXPECTED


def test_martlet_keeps_connections_as_long(room):
    twin = TrackingMartlet(room)
    twin.set_timeouts(TIMEOUTS)
    found = next(filter(None, (lifetimes(twin, RealClock) for _ in range(ATTEMPTS))), None)
    # Its clock has seconds: a connection may last one more.
    assert all(EXPECTED[name] <= seconds <= EXPECTED[name] + 1 for name, seconds in found.items()), found
