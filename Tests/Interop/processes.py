"""Child processes that never outlive the test run, and waiting for conditions instead of sleeping."""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class TooLate(AssertionError):
    """A condition that did not come true within its limit."""


def eventually(condition, limit=10.0, what="the condition", interval=0.01):
    """Returns the first true value of `condition()`; fails after `limit` seconds, naming `what` did not happen."""
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TooLate(f"{what}: not within {limit:g} s (last value: {value!r})")
        time.sleep(interval)


def _die_with_parent():
    # Without this a test run that is itself killed would leave pollers behind that burn a core each.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child with its output in a log file. Ends by `stop`, `kill`, or with the test process."""

    def __init__(self, argv, log, stdin=None, env=None):
        self.argv = [str(word) for word in argv]
        self.log = Path(log)
        with open(self.log, "ab") as output:
            self._child = subprocess.Popen(
                self.argv, stdin=stdin or subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=env, start_new_session=True, preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self._child.pid

    @property
    def stdin(self):
        return self._child.stdin

    @property
    def status(self):
        """The exit status, None while it runs."""
        return self._child.poll()

    @property
    def alive(self):
        return self.status is None

    def output(self):
        return self.log.read_text(errors="replace")

    def assert_alive(self):
        assert self.alive, f"{self.argv[0]} ended with {self.status}:\n{self.output()[-4000:]}"

    def wait_for_output(self, text, limit=20.0):
        def seen():
            if text in self.output():
                return True
            self.assert_alive()
            return False
        eventually(seen, limit, f"'{text}' from {self.argv[0]}", interval=0.02)

    def wait(self, limit=10.0):
        return self._child.wait(limit)

    def kill(self):
        """As a crash would: SIGKILL, no chance to tidy up, for what it started as well."""
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

    def stop(self, limit=10.0):
        """SIGTERM, and SIGKILL after `limit` seconds. Returns the exit status."""
        if self.alive:
            self._child.terminate()
            try:
                self._child.wait(limit)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.status


def run(*argv, limit=60.0, check=True, **options):
    """Runs a command to its end and returns it with its output as text."""
    done = subprocess.run([str(word) for word in argv], timeout=limit, text=True,
                          capture_output=True, **options)
    if check:
        assert done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stderr or done.stdout}"
    return done


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
