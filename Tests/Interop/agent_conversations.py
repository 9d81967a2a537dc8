"""Conversations of two guests behind a Neutron agent's firewall, with each other and with hosts elsewhere, from a seed."""

from dataclasses import replace
from pathlib import Path

from flow_cases import ALL_TAGGED, Case, is_meant
from random_conversations import ConversationDraw, End
from twins import NAMES

FLOWS = Path(__file__).with_name("agent_flows") / "firewall.flows"
# The agent's names of ports, and the numbers of those of br0 that stand for them.
NUMBERS = {"int-br-phys": 1, "patch-tun": 2, "tap84a4a64f-91": 3, "tap48b50e72-fc": 4}
ACCESS = ("access", 2, ())
# (port, VLAN on it, station, address of IPv4, of IPv6). The first two are the guests, and the third is the first with its
# allowed address pair; then members of the remote group elsewhere, hosts of the CIDR of some rules, and a stranger.
HOSTS = (
    (3, 0, "fa163e38812a", "0a0100dc", "fd00000100000000f8163efffe38812a"),
    (4, 0, "fa163ed3f1dd", "0a0100af", "fd00000100000000f8163efffed3f1dd"),
    (3, 0, "fa163e000099", "0a0100c8", "fe80000000000000f8163efffe000099"),
    (2, 2, "fa163e6ca524", "0a0100a3", "fd000001000000000000000000000163"),
    (2, 2, "fa163e942b03", "0a01000e", "fd000001000000000000000000000014"),
    (2, 2, "fa163e00c001", "c0000207", "fd00000100000000000000000000c001"),
    (2, 2, "fa163e00c002", "c6336401", "fd00000100000000000000000000c002"),
)
SERVICES = (22, 22, 80, 8001, 8005, 8009, 8010, 67, 68, 53)


class GuestConversationDraw(ConversationDraw):
    """At least one end is a guest."""

    def ends(self, six):
        guest = self.pick(HOSTS[:2] if not self.chance(8) else HOSTS[:3])
        other = self.pick([host for host in HOSTS if host[0] != guest[0]])
        pair = (guest, other) if self.chance(2) else (other, guest)
        ports = self.pick((40000, 40001, 68, 67)), self.pick(SERVICES)
        return tuple(End(place, vlan, bytes.fromhex(station), bytes.fromhex(sixth if six else fourth), port)
                     for (place, vlan, station, fourth, sixth), port in zip(pair, ports))


def firewall_flows():
    flows = [line.replace("reset_counts ", "") for line in FLOWS.read_text().splitlines() if not line.startswith("#")]
    for name, number in NUMBERS.items():
        flows = [flow.replace(f'"{name}"', str(number)) for flow in flows]
    return flows


def drawn(seed, number, count):
    """Case `number` of a run, of `count` packets."""
    case = Case(dict.fromkeys(NAMES, ALL_TAGGED) | dict.fromkeys((3, 4), ACCESS), firewall_flows(), [])
    packets = GuestConversationDraw(f"guests/{seed}/{number}").packets(count)
    return replace(case, packets=[packet for packet in packets if not is_meant(packet[1], case)])
