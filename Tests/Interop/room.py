"""A place for one test to work in, which leaves nothing behind."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from martlet import BINARIES, Daemon


class Room:
    """A directory of the test's own, and what must be undone when the test is over, last first."""

    def __init__(self, directory, stack):
        self.directory = directory
        self._stack = stack
        self.owns = stack.callback

    @classmethod
    @contextlib.contextmanager
    def opened(cls):
        # Directly under /tmp: a Unix socket's path has 107 bytes.
        path = Path(tempfile.mkdtemp(prefix="mt-", dir="/tmp"))
        try:
            with contextlib.ExitStack() as stack:
                yield cls(path, stack)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def keeps(self, thing):
        """Stops (or closes) `thing` at the end and returns it."""
        self._stack.callback(thing.stop if hasattr(thing, "stop") else thing.close)
        return thing

    def daemon(self, **options):
        """A running martletd without bridges."""
        assert (BINARIES / "martletd").exists(), f"no martletd in {BINARIES}: build first, or set MARTLET_BIN"
        daemon = self.keeps(Daemon(self.directory, **options))
        return daemon.start()

    def socket(self, name):
        return self.directory / f"{name}.sock"
