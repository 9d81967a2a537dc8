"""All of a bridge from a seed: meters, groups, conjunctions, and flows that name them.

Each is a line as `ovs-ofctl` reads it; meters stand before groups, and groups before flows. What names a group stands
behind it.
"""

from random_flows import KINDS, TABLES, FlowDraw

CONJUNCTION_KINDS = ("", "", "ip", "tcp", "udp", "ipv6", "arp", "icmp6")
# Rates that are never reached, of packets and of kilobits: a drop would depend on the clock.
METERS = ("meter=1 pktps bands=type=drop rate=4000000000", "meter=2 kbps bands=type=drop rate=4000000000",
          "meter=3 pktps burst stats bands=type=drop rate=4000000000 burst_size=4000000000")


class BridgeDraw(FlowDraw):
    """Draws a bridge."""

    def lines(self, count):
        """With `count` flows beside those of conjunctions. Flows have a priority and a cookie of their own each; table
        0 always has one for all packets."""
        meters, groups = self._draw_meters(), self._draw_groups()
        conjunctions = self.number(1, 2) if self.chance(3) else 0
        priorities = self.distinct(range(1, 1000), count + 3 + 2 * conjunctions)
        flows = [self.flow(priorities.pop(), cookie) for cookie in range(1, count + 1)]
        flows += [self.length_flow(priorities.pop(), count + 1 + number) for number in range(3)]
        for number in range(1, conjunctions + 1):
            flows += self._conjunction(number, priorities.pop(), priorities.pop())
        return meters + groups + flows + [f"table=0,priority=0,cookie=0xff actions={self.actions('')}"]

    def _draw_meters(self):
        self.meters = list(range(1, self.number(0, len(METERS)) + 1))
        return list(METERS[:len(self.meters)])

    # Groups

    def _draw_groups(self):
        lines = []
        for number in range(1, self.weighted((0, 2), (1, 1), (2, 1), (3, 1)) + 1):
            lines.append(f"group_id={number},{self._group()}")
            self.groups.append(number)
        return lines

    def _group(self):
        kind = self.pick(("all", "all", "indirect", "ff", "ff", "select"))
        if kind == "select":
            return self._select()
        count = 1 if kind == "indirect" else self.weighted((0, 1), (1, 3), (2, 4), (3, 2))
        watches = [self._watch() if kind == "ff" else "" for _ in range(count)]
        return ",".join([f"type={kind}"] + [f"bucket={watch}actions={self.bucket_actions()}" for watch in watches])

    def _watch(self):
        """A port or another group."""
        if self.groups and self.chance(4):
            return f"watch_group:{self.pick(self.groups)},"
        return f"watch_port:{self.port()},"

    def _select(self):
        """Every bucket that may be selected does the same: which one it is each switch finds out in its own way. By
        dp_hash, its default, Open vSwitch sends the packet around once more and counts the bytes that it has by then."""
        method = self.pick(("selection_method=hash,", "selection_method=hash,fields(ip_dst,tcp_src),"))
        actions = self.bucket_actions()
        buckets = [f"bucket=weight:{self.number(1, 9)},actions={actions}" for _ in range(self.number(1, 3))]
        buckets += [f"bucket=weight:0,actions={self.bucket_actions()}"] if self.chance(3) else []
        return f"type=select,{method}" + ",".join(buckets)

    # Conjunctions

    def _conjunction(self, number, priority, answer):
        """The flows of a conjunction, and one for what meets it. Their priority is no other's: of several conjunctions
        that are met at one priority Open vSwitch promises nothing."""
        table, kind = self.pick((0, 0) + TABLES), self.pick(CONJUNCTION_KINDS)
        clauses = self.number(2, 3)
        flows = []
        for clause in range(1, clauses + 1):
            for _ in range(self.number(1, 4)):
                fields = [field for field in self.fields(kind, 1) if not field.startswith("conj_id")]
                match = [f"table={table}", f"priority={priority}"] + ([kind] if kind else []) + fields
                flows.append(f"{','.join(match)} actions=conjunction({number},{clause}/{clauses})")
        kind = self.pick([other for other in KINDS if other == kind or kind and other.startswith(f"{kind},")])
        return flows + [self.flow(answer, 0x100 + number, table, kind, [f"conj_id={number}"])]
