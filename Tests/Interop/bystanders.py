"""Two guests that exchange numbered frames all the while, to show what somebody else's misery costs them: nothing."""

import threading

from frames import frame, station
from processes import eventually
from vhost_user import FrontEnd

LEFT, RIGHT = station(0xB10001), station(0xB10002)
# Fewer in flight than a ring holds: a loss is the switch's, never the ring's.
WINDOW = 64

_HEADER = frame(LEFT, RIGHT)[:14]


class Bystanders:
    """Traffic from the moment it is made until `finish`."""

    def __init__(self, room, daemon, bridge="quiet"):
        daemon.add_bridge(bridge)
        self._peers = []
        for name in ("left", "right"):
            path = room.socket(name)
            self._peers.append(room.keeps(FrontEnd(path)))
            daemon.add_port(name, "vhost-user", bridge=bridge, path=path, mode="client")
        for peer in self._peers:
            peer.connect()
        daemon.wait_for_link("left", "right")
        self.passed = 0
        self.trouble = None
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        room.owns(self._stop)
        self._thread.start()
        self.wait_for_progress()

    def _run(self):
        try:
            while not self._enough.is_set():
                self._exchange()
        except Exception as trouble:
            self.trouble = trouble

    def _exchange(self):
        left, right = self._peers
        sent = [_HEADER + (self.passed + number).to_bytes(8, "big") + bytes((self.passed + number) % 1400)
                for number in range(WINDOW)]
        for content in sent:
            left.send(content)
        got = []

        def all_arrived():
            got.extend(right.received())
            return len(got) >= len(sent)
        eventually(all_arrived, 10, "the bystanders' frames", interval=0.0005)
        assert got == sent, "the bystanders' frames arrived in another order or altered"
        self.passed += len(sent)

    def wait_for_progress(self):
        """Waits until frames sent from now on have arrived."""
        goal = self.passed + 2 * WINDOW

        def passed():
            if self.trouble:
                raise self.trouble
            return self.passed >= goal
        eventually(passed, 15, "progress of the bystanders")

    def finish(self):
        """Asserts that traffic still runs and that no frame was lost."""
        self.wait_for_progress()
        self._stop()
        assert self.trouble is None, f"the bystanders: {self.trouble}"

    def _stop(self):
        self._enough.set()
        self._thread.join(15)
        assert not self._thread.is_alive(), "the bystanders do not end"
