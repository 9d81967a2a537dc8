"""The bridges of `twins` with connection tracking: every case begins without a connection."""

from collections import Counter

from random_tracking import REPORTS, state_of
from twins import MartletTwin, OpenVSwitchTwin


class TrackingOpenVSwitch(OpenVSwitchTwin):
    """Its userspace datapath, with the sequence checks of TCP. It counts what its tracker said, see `state_of`."""

    def __init__(self, directory):
        super().__init__(directory)
        self.states = Counter()

    def load(self, flows):
        super().load(flows)
        self._call("dpctl/flush-conntrack")

    def counts(self):
        return without_bytes(super().counts())

    def exchange(self, groups):
        left = super().exchange(groups)
        for sent in left:
            self.states.update(state_of(frame) for port in REPORTS.values() for frame in sent.get(port, ()))
        return left

    def set_timeouts(self, zone, timeouts):
        """Of connections that are made later, in seconds. Its clock stops and is moved by `warp` alone."""
        self._vsctl_run("--id=@dummy", "create", "Datapath", "datapath_version=0", "--", "set", "Open_vSwitch", ".",
                        "datapaths:dummy=@dummy")
        self._vsctl_run("add-zone-tp", "dummy", f"zone={zone}", *(f"{name}={value}" for name, value in timeouts.items()))
        self._call("time/stop")

    def warp(self, seconds):
        self._call("time/warp", str(round(seconds * 1000)))

    def drops(self, *_):
        """For the test that has it beside itself: frames that it drops for what they would cost. It tells of none."""
        return 0


class TrackingMartlet(MartletTwin):
    """Martlet with the same."""

    def load(self, flows):
        super().load(flows)
        self._call("conntrack.flush")

    def counts(self):
        return without_bytes(super().counts())

    def set_timeouts(self, timeouts):
        """Of all connections, in seconds."""
        self._call("conntrack.set", timeouts=timeouts)


def without_bytes(counts):
    """Behind ct Open vSwitch counts the bytes of a packet as it is by then, and Martlet as it came in."""
    return {key: (packets, 0) for key, (packets, _) in counts.items()}
