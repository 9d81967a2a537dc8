"""The switch under test: a real `martletd` with its own state, socket and DPDK prefix, and `martletctl` on it."""

import contextlib
import glob
import itertools
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

from processes import Process, eventually

REPOSITORY = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ.get("MARTLET_BIN", REPOSITORY / ".build/release"))

# For a daemon that others wait for on the same two processors: its worker does not poll while there is nothing to do.
IDLE = ("--idle-sleep", "50")

# martletctl's exit statuses, as design.md has them.
DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3

_serial = itertools.count(1)


def hugepages_free():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("HugePages_Free:"):
            return int(line.split()[1])
    return 0


class Daemon:
    """One martletd. `kill` and `start` keep its state directory, so its bridges and ports come back."""

    name = "Martlet"

    def __init__(self, directory, hugepages=True, namespace=None, options=(), socket_memory=256, workers="1"):
        self.directory = Path(directory)
        self.state = self.directory / "state"
        self.socket = self.directory / "control.sock"
        self.prefix = f"mt{os.getpid()}n{next(_serial)}"
        self.process = None
        self._namespace = namespace
        self._memory = ["--socket-memory", str(socket_memory)] + ([] if hugepages else ["--no-huge"])
        self._options = ["--worker-lcores", workers, *options]

    def command(self):
        enter = ["nsenter", f"--net={self._namespace.path}"] if self._namespace else []
        return enter + [
            BINARIES / "martletd", "--state-dir", self.state, "--socket", self.socket, "--file-prefix", self.prefix,
            "--main-lcore", "0", *self._memory, *self._options]

    def start(self, wait=True):
        self.state.mkdir(exist_ok=True)
        self.process = Process(self.command(), self.directory / "martletd.log")
        if wait:
            eventually(self.answers, 20, "martletd on its control socket")
        return self

    def answers(self):
        self.process.assert_alive()
        # Asked every 10 ms while it starts: martletctl would take the processor from it.
        with contextlib.suppress(OSError, ValueError):
            return "result" in self.call("version")
        return False

    def assert_alive(self):
        self.process.assert_alive()

    def log(self):
        return (self.directory / "martletd.log").read_text(errors="replace")

    def kill(self):
        self.process.kill()

    def stop(self):
        """Ends it in order and removes what DPDK leaves behind. Returns the exit status."""
        status = self.process.stop() if self.process else None
        for path in glob.glob(f"/dev/hugepages/{self.prefix}*"):
            os.unlink(path)
        for directory in (f"/var/run/dpdk/{self.prefix}", f"/run/martlet/{self.prefix}.rings"):
            shutil.rmtree(directory, ignore_errors=True)
        return status

    def ctl(self, *words, check=True, limit=30.0, **options):
        """Runs martletctl; with `check` it must succeed."""
        done = subprocess.run([str(BINARIES / "martletctl"), *map(str, words)], text=True, timeout=limit,
                              env=dict(os.environ, MARTLET_SOCKET=str(self.socket)),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        assert not check or done.returncode == DONE, \
            f"martletctl {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr}\n{self.log()[-2000:]}"
        return done

    def json(self, *words):
        return json.loads(self.ctl(*words, "--json").stdout)

    def refused(self, *words, status=REFUSED):
        """Runs a command that must be refused and returns what it says on stderr."""
        done = self.ctl(*words, check=False)
        assert done.returncode == status, f"{words}: status {done.returncode}, {done.stdout}{done.stderr}"
        assert done.stdout == "", f"a refusal printed on stdout: {done.stdout}"
        return done.stderr

    def add_bridge(self, name="br0", *words):
        self.ctl("bridge", "add", name, *words)

    def add_port(self, name, kind, /, *words, bridge="br0", **options):
        given = [word for key, value in options.items() for word in ("--option", f"{key}={value}")]
        self.ctl("port", "add", bridge, name, "--type", kind, *given, *words)

    def socket_for(self, name, mode, room):
        return room.socket(name)

    def add_vhost_user(self, name, path, mode="client", tag=None, *words):
        tagged = ["--tag", tag] if tag is not None else []
        self.add_port(name, "vhost-user", *tagged, *words, path=path, mode=mode)

    def ports(self):
        return {port["name"]: port for port in self.json("port", "list")["ports"]}

    def link_up(self, name):
        return self.ports()[name]["link"] == "up"

    def wait_for_link(self, *names, limit=20.0):
        def are_up():
            ports = {port["name"]: port for port in self.call("port.list")["result"]["ports"]}
            return all(ports[name]["link"] == "up" for name in names)
        eventually(are_up, limit, f"link of {', '.join(names)}")

    def counters(self, name):
        port, = self.json("stats", "ports", name)["ports"]
        return port

    def drops(self, name):
        """{reason: packets} of a port, zeros left out."""
        rows = self.json("stats", "drops", name)["drops"]
        return {row["reason"]: row["packets"] for row in rows}

    def call(self, method, **parameters):
        """One JSON-RPC call without martletctl; returns the whole response."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(10)
            stream.connect(str(self.socket))
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
            stream.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(stream.makefile().readline())
