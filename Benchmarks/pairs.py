"""Rigs `v2v-TYPE`: guest - switch - tunnel over a wire - switch - guest, with two switches of one kind that share SWITCH_CORE,
in turns (turns.c). What holds a figure up is proved in each run before it is taken: frames arrive as they were sent, and the
tunnels counted them.

The wire is librte_vhost at one end and virtio-user at the other, an Ethernet device to both switches. Each has the wire and its
own address on one bridge, the guest and the tunnel on another."""
import re
import time

import preload
import traffic
from contenders import Guests, Martlet, Rig, Switch
from machine import wait_until
from tunnels import (DEVICE, ENDPOINT, KEY, LOCAL, PREFIX_LENGTH, STATION, TUNNEL, TYPES, UNDERLAY, WIRE, MartletTunnel,
                     OpenVSwitchTunnel)

RIGS = [f"v2v-{kind}" for kind in TYPES]
UNDERLAY_MTU = 1600
ROUNDS_OF_A_TURN = 8  # of 32 packets from the wire and 32 from the guest
DESCRIPTORS = 1024


class End(Rig):
    """One of the two switches: its guest, its end of the wire and the tunnel, and the MACs here and there."""

    eal_options = ["--single-file-segments"]  # virtio-user's memory has eight regions at most

    def __init__(self, rig, number):
        self.case, self.scratch = rig.case, rig.scratch.part(f"end{number}")
        self.kind = rig.case.rig.removeprefix("v2v-")
        self.guest, peer = list(rig.sockets)[::1 - 2 * number]
        self.socket = rig.sockets[self.guest]
        self.macs = {self.guest: rig.case.behind[self.guest], "tunnel": rig.case.behind[peer]}
        self.address, self.remote = LOCAL + number, LOCAL + 1 - number
        self.station, self.remote_station = _station(number), _station(1 - number)
        path = rig.scratch.folder / "wire"
        self.wire = [f"net_vhost0,iface={path}", f"net_virtio_user0,path={path},queue_size={DESCRIPTORS}"][number]
        self._folder, self._number = rig.scratch.folder, number

    @property
    def environment(self):
        return {"LD_PRELOAD": f"{self._folder}/turns.so", "TURN_FILE": f"{self._folder}/turn", "TURN_NUMBER": str(self._number),
                "TURN_ROUNDS": str(ROUNDS_OF_A_TURN)}


def _station(number):
    return STATION[:-1] + bytes([STATION[-1] + number])


class MartletEnd(MartletTunnel):
    COMMAND = []

    def __init__(self):
        Martlet.__init__(self)

    def add_ports(self, end):
        self.control.call("bridge.add", {"name": UNDERLAY})
        self._add(UNDERLAY, "wire", WIRE, "dpdk", {"devargs": end.wire, "mtu": str(UNDERLAY_MTU)})
        self._add(UNDERLAY, "vtep", ENDPOINT, "endpoint",
                  {"address": f"{end.address}/{PREFIX_LENGTH}", "mac": traffic.mac_text(end.station)})
        flows = [f"in_port={WIRE},actions=output:{ENDPOINT}", f"in_port={ENDPOINT},actions=output:{WIRE}"]
        self.control.call("flow.replace", {"bridge": UNDERLAY, "flows": "\n".join(flows)})
        self._add(self.BRIDGE, "tunnel", TUNNEL, end.kind, {"remote_ip": str(end.remote), "key": str(KEY)})
        self._add(self.BRIDGE, end.guest, DEVICE, "vhost-user", {"path": str(end.socket), "mode": "client"})
        for port, macs in end.macs.items():
            self._add_entries(port, macs)

    def tunnelled(self):
        """Packets (received, sent) by the tunnel's port."""
        port, = self.control.call("stats.ports", {"port": "tunnel"})["ports"]
        return port["rx_packets"], port["tx_packets"]


class OpenVSwitchEnd(OpenVSwitchTunnel):
    def __init__(self, name, flows):
        super(OpenVSwitchTunnel, self).__init__(name, flows)

    def add_ports(self, end):
        self._add_underlay(end.address, end.station)
        self._add_port(UNDERLAY, "wire", WIRE, "type=dpdk", f'options:dpdk-devargs="{end.wire}"', f"mtu_request={UNDERLAY_MTU}")
        for flow in (f"in_port={WIRE},actions=LOCAL", f"in_port=LOCAL,actions=output:{WIRE}"):
            self._run("ovs-ofctl", "add-flow", UNDERLAY, flow)
        self._add_port(self.BRIDGE, "tunnel", TUNNEL, f"type={end.kind}", f"options:remote_ip={end.remote}", f"options:key={KEY}")
        self._add_port(self.BRIDGE, end.guest, DEVICE, "type=dpdkvhostuserclient", f"options:vhost-server-path={end.socket}")
        self.control.call("tnl/neigh/set", [UNDERLAY, str(end.remote), traffic.mac_text(end.remote_station)])
        for port, macs in end.macs.items():
            self._add_entries(port, macs)

    def tunnelled(self):
        counts = re.findall(r"[rt]x pkts=(\d+)", self._run("ovs-ofctl", "dump-ports", self.BRIDGE, "tunnel"))
        return tuple(map(int, counts))


class TunnelGuests(Guests):
    """Guests that can also send their captures once, and keep what arrives. Their rings hold what a turn brings."""

    DESCRIPTORS = DESCRIPTORS
    OPTIONS = ["--no-flush-rx"]  # a capture that is sent once would be flushed

    def devices(self, rig):
        self._captures, self._arrived = rig.case.captures, [rig.scratch.folder / f"arrived{i}.pcap" for i in (0, 1)]
        return super().devices(rig) + [f"net_pcap{i + 2},rx_pcap={sent},tx_pcap={arrived}"
                                       for i, (sent, arrived) in enumerate(zip(self._captures, self._arrived))]

    def compare(self):
        """Once all is warm; what was on its way arrives among the others."""
        self._forward(0, 4, 1, 5)
        wait_until(self._is_quiet, 10, "frames to arrive at both guests", self.child)
        self._forward(*self.PORTS)
        early = self.delivered()
        wait_until(lambda: all(map(int.__lt__, early, self.delivered())), 10, "the guests to go on", self.child)
        for receiver, arrived in enumerate(self._arrived):
            frames, sent = traffic.read(arrived), set(traffic.read(self._captures[1 - receiver]))
            strange = sum(frame not in sent for frame in frames)
            if strange:
                raise RuntimeError(f"{strange} of {len(frames)} frames at guest {receiver} are not what the other one sent")

    def _forward(self, *ports):
        for line in ("stop", f"set portlist {','.join(map(str, ports))}", "start"):
            self.child.say(line)

    def _is_quiet(self):
        counts = lambda: [self._telemetry.packets(port)[1] for port in (4, 5)]
        early = counts()
        time.sleep(0.3)
        return all(early) and early == counts()

    def delivered(self):
        """To each of the guests since it is there."""
        return [self._telemetry.packets(port)[0] for port in (0, 1)]


class Pair(Switch):
    """Two switches that `make` makes, one on each side of the wire."""

    def __init__(self, make):
        self.name, self._make = make().name, make

    @property
    def children(self):
        return [end.child for end in self._ends]

    def guests(self, rig, nice):
        self._guests = TunnelGuests(rig, nice)
        return self._guests

    def start(self, rig, nice):
        preload.build("turns.c", rig.scratch.folder / "turns.so")
        (rig.scratch.folder / "turn").write_bytes(bytes(4))
        self._ends = [self._make(), self._make()]
        for number, end in enumerate(self._ends):
            end.start(End(rig, number), nice)

    def warm(self):
        notes = {end.warm() for end in self._ends} - {None}
        self._guests.compare()
        delivered = self._guests.delivered()
        wait_until(lambda: self._have_tunnelled(delivered), 10, f"the tunnels to count {delivered} frames that reached guests")
        time.sleep(0.5)
        return "; ".join(sorted(notes)) or None

    def _have_tunnelled(self, delivered):
        """What a guest got came in through its switch's tunnel, and left through the other's."""
        received, sent = zip(*(end.tunnelled() for end in self._ends))
        return all(map(int.__le__, delivered * 2, received + sent[::-1]))


_OUTPUT = [f"in_port={DEVICE},actions=output:{TUNNEL}", f"in_port={TUNNEL},actions=output:{DEVICE}"]
CONTENDERS = {rig: [Pair(lambda: OpenVSwitchEnd("ovs-normal", lambda _: ["actions=NORMAL"])),
                    Pair(lambda: OpenVSwitchEnd("ovs-output", lambda _: _OUTPUT)), Pair(MartletEnd)] for rig in RIGS}
