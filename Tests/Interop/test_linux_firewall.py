"""Security groups beside Linux: the same conversations through ports of a running martletd that has documents of groups,
and through a kernel whose nftables have the same rules. Every packet must pass both, or neither.
"""

import itertools

from group_conversations import MEANT, conversations, flags, gives_addresses, mixed, said
from group_tables import DHCP, GUEST, OTHER, PEER, STATIONS, TABLES
from linux_firewall import LinuxFirewall, number_of
from secured import SecuredHost

PAIRS = ((GUEST, PEER), (PEER, GUEST), (GUEST, OTHER), (OTHER, GUEST))
MIXED = 20


class Martlet(SecuredHost):
    """A martletd with the stations of tables."""

    name = "Martlet"

    def __init__(self, room):
        super().__init__(room)
        self.plug(*STATIONS)
        for one in STATIONS:
            for other in STATIONS:
                # Where everybody is, is learned; nothing is flooded later.
                if one != other:
                    self.arrived(one.name, other.name)

    def filter(self, table):
        self.put(*table.groups)
        for station in table.stations():
            self.change(station)

    def passed(self, packets):
        """As LinuxFirewall has it."""
        for machine in self.machines.values():
            machine.received()
        for sender, _, frame in packets:
            self.send(sender, [frame])
        return {number_of(frame) for pair in {packet[:2] for packet in packets} for frame in self.arrived(*pair)} - {None}


class Bench:
    def __init__(self, room):
        self.linux, self.martlet = LinuxFirewall(room, STATIONS), Martlet(room)
        # What is said does not depend on who filters it.
        self.conversations = {pair: [(words, framed(packets)) for words, packets in conversations(*pair)] for pair in PAIRS}
        self.others = [(words, framed(packets)) for words, packets in (
            *flags(GUEST, PEER), said(gives_addresses, DHCP, GUEST),
            *((f"mixed {seed}", mixed(seed, PAIRS)) for seed in range(MIXED)))]
        self.differed, self.passed, self.dropped = set(), 0, 0

    def judge(self, table):
        """Yields what is judged otherwise, and not meant to be."""
        self.linux.filter(table.chains())
        self.martlet.filter(table)
        filtered = [self.conversations[pair] for pair in PAIRS if OTHER not in pair or OTHER.name in table.members]
        for words, packets in itertools.chain(self.others, *filtered):
            self.linux.flush()
            self.martlet.flush()
            frames = [frame for _, frame in packets]
            one, other = self.linux.passed(frames), self.martlet.passed(frames)
            self.passed += len(one)
            self.dropped += len(frames) - len(one)
            for number, (packet, _) in enumerate(packets, 1):
                if (number in one) == (number in other):
                    continue
                only = "Linux" if number in one else "Martlet"
                if MEANT.get(packet.words, [None])[0] == only:
                    self.differed.add(packet.words)
                else:
                    yield (f"{table.title}: {words}: packet {number} from {packet.sender} to {packet.receiver} ({packet.words}) "
                           f"passes {only} alone: {packet.content.summary()}")


def framed(packets):
    return [(packet, (packet.sender, packet.receiver, packet.frame(number))) for number, packet in enumerate(packets, 1)]


def test_groups_judge_every_packet_as_linux_does(room, results):
    bench = Bench(room)
    others = [words for table in TABLES for words in bench.judge(table)]
    assert others == []
    assert bench.differed == MEANT.keys(), "what is meant to differ does so no more"
    assert bench.passed > 1000 and bench.dropped > 1000
    results.add("security groups beside Linux", passed=bench.passed, dropped=bench.dropped, differences=len(MEANT))
