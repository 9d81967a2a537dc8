"""The machine under the benchmark: child processes and their CPU time, DPDK telemetry, JSON-RPC, the description."""
import copy
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SWITCH_CORE = 1  # the contender's polling thread, and nothing else
OTHER_CORE = 0   # guests, control planes, this script
HUGEPAGES = pathlib.Path("/dev/hugepages")
_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class Refusal(Exception):
    """Something that the user must mend; the text says what and how."""


class Child:
    """A process in a session of its own, born on the other core (an EAL pins its polling threads itself)."""

    def __init__(self, scratch, name, command, nice=0, environment=None):
        self.name, self.log = name, scratch.folder / f"{name}.log"
        self._output = open(self.log, "ab")
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=self._output, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=lambda: _settle(nice), env={**os.environ, **(environment or {})})
        scratch.children.append(self)

    @property
    def pid(self):
        return self.process.pid

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with status {self.process.returncode}: {self.last_words()}")

    def last_words(self, lines=4):
        return " | ".join(self.log.read_text(errors="replace").split("\n")[-lines - 1:-1]) or "it said nothing"

    def cpu_nanoseconds(self):
        """Time on a CPU for each thread; the polling thread is the one that gains most."""
        times = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            try:
                times[task.name] = int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass  # a thread that has just ended
        return times

    def memory_kilobytes(self):
        fields = re.findall(r"^(\w+):\s+(\d+) kB", pathlib.Path(f"/proc/{self.pid}/status").read_text(), re.M)
        return {name: int(value) for name, value in fields}

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        self._output.close()


def _settle(nice):
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives this script, not even after kill -9
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C ends the script, which ends its children in order
    os.sched_setaffinity(0, {OTHER_CORE})
    if nice:
        pathlib.Path("/proc/self/autogroup").write_text(str(nice))


class Scratch:
    """A folder, a DPDK file prefix and the processes of one measurement; leaving the `with` undoes all of it."""

    PREFIX = "martlet-bench-"

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=self.PREFIX))
        self.prefix = self.folder.name
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.children:
            self.children.pop().stop()
        self.sweep(self.prefix)

    def part(self, name):
        """The same with a folder and a prefix within: for programs that want names of their own. Ends with the whole."""
        part = copy.copy(self)
        part.folder, part.prefix = self.folder / name, f"{self.prefix}-{name}"
        part.folder.mkdir()
        return part

    @classmethod
    def sweep(cls, prefix=PREFIX):
        """Without an argument: what a benchmark that was killed left behind. Only for who holds the lock."""
        for parent in (pathlib.Path(tempfile.gettempdir()), pathlib.Path("/var/run/dpdk")):
            for folder in parent.glob(f"{prefix}*"):
                shutil.rmtree(folder, ignore_errors=True)
        for page in HUGEPAGES.glob(f"{prefix}*"):
            page.unlink(missing_ok=True)


class Telemetry:
    """DPDK's own counters, read from outside the process under test (its dpdk_telemetry.v2 socket)."""

    def __init__(self, prefix, child, limit=20):
        path = f"/var/run/dpdk/{prefix}/dpdk_telemetry.v2"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        wait_until(lambda: self._connect(path), limit, f"{child.name} to open {path}", child)
        self._socket.recv(16384)  # the greeting

    def _connect(self, path):
        try:
            self._socket.connect(path)
            return True
        except OSError:
            return False

    def ask(self, command):
        self._socket.send(command.encode())
        return json.loads(self._socket.recv(65536))[command.split(",")[0]]

    def ports(self):
        """{device name: port number}"""
        return {self.ask(f"/ethdev/info,{port}")["name"]: port for port in self.ask("/ethdev/list")}

    def packets(self, port):
        """(received, sent)"""
        counters = self.ask(f"/ethdev/stats,{port}")
        return counters["ipackets"], counters["opackets"]


class RPC:
    """JSON-RPC over a Unix stream socket: 1.0 to Open vSwitch's control socket, 2.0 to martletd's."""

    WINDOW = 200  # requests in flight; more could fill both directions' buffers and stand still

    def __init__(self, path, version=None):
        self._envelope = {"jsonrpc": version} if version else {}
        self._buffer = ""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))

    def call(self, method, params):
        return self.call_each(method, [params])[0]

    def call_each(self, method, params):
        answers = []
        for start in range(0, len(params), self.WINDOW):
            window = params[start:start + self.WINDOW]
            requests = [{**self._envelope, "id": i, "method": method, "params": p} for i, p in enumerate(window)]
            self._socket.sendall("".join(json.dumps(request) + "\n" for request in requests).encode())
            answers += [self._answer(method) for _ in window]
        return answers

    def _answer(self, method):
        while True:
            try:
                answer, end = json.JSONDecoder().raw_decode(self._buffer)
                break
            except json.JSONDecodeError:
                received = self._socket.recv(1 << 20)
                if not received:
                    raise RuntimeError(f"{method}: the peer closed its control socket") from None
                self._buffer = (self._buffer + received.decode()).lstrip()
        self._buffer = self._buffer[end:].lstrip()
        if answer.get("error"):
            error = answer["error"]  # a text in 1.0, an object in 2.0
            raise RuntimeError(f"{method} refused: {error['message'] if isinstance(error, dict) else error.strip()}")
        return answer.get("result")


def wait_until(condition, limit, what, child=None):
    deadline = time.monotonic() + limit
    while not condition():
        if child:
            child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit} s in vain for {what}")
        time.sleep(0.02)


def share_of_core(before, after, seconds, cores=1):
    """How much of the time the polling threads, one a core, really ran: under 1, others competed for their cores."""
    times = sorted((after[thread] - before.get(thread, 0) for thread in after), reverse=True)
    return sum(times[:cores]) / (cores * seconds * 1e9)


def preflight(needed_megabytes):
    """Refuses what would fail half-way or measure nonsense."""
    if os.geteuid() != 0:
        raise Refusal("run this as root: it maps hugepages and pins threads")
    if (os.cpu_count() or 1) < 2:
        raise Refusal("this machine has one CPU; the rigs need two (the switch on core 1, everything else on core 0)")
    if not os.path.ismount(HUGEPAGES):
        raise Refusal("/dev/hugepages is not mounted: mount -t hugetlbfs nodev /dev/hugepages")
    meminfo = pathlib.Path("/proc/meminfo").read_text()
    field = lambda name: int(re.search(rf"^{name}:\s+(\d+)", meminfo, re.M)[1])
    free = field("HugePages_Free") * field("Hugepagesize") // 1024
    if free < needed_megabytes:
        raise Refusal(f"{free} MB of hugepages are free and {needed_megabytes} MB are needed: "
                      "raise /proc/sys/vm/nr_hugepages or end what holds them")


def tsc_hertz():
    """As DPDK sees it (no other program here prints it)."""
    with Scratch() as scratch:
        command = ["dpdk-testpmd", "-l", str(OTHER_CORE), "--file-prefix", scratch.prefix, "--no-pci", "--no-huge",
                   "--no-shconf", "--no-telemetry", "-m", "64", "--log-level=lib.eal:debug", "--", "--help"]
        output = subprocess.run(command, capture_output=True, text=True, timeout=30)
    found = re.search(r"TSC frequency is ~(\d+) (K|M)?Hz", output.stdout + output.stderr, re.I)
    if not found:
        raise Refusal("dpdk-testpmd does not tell the TSC frequency: is the package dpdk-dev of DPDK 22.11 installed?")
    return int(found[1]) * {"K": 10**3, "M": 10**6}[found[2].upper()]


def describe():
    cpu = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)[1]
    meminfo = pathlib.Path("/proc/meminfo").read_text()
    pages = re.search(r"HugePages_Total:\s+(\d+)", meminfo)[1]
    size = re.search(r"Hugepagesize:\s+(\d+ kB)", meminfo)[1]
    kernel = os.uname()
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": f"{kernel.sysname} {kernel.release}",
            "memory": re.search(r"MemTotal:\s+(\d+ kB)", meminfo)[1], "hugepages": f"{pages} of {size}",
            "dpdk": _package("dpdk"), "openvswitch": _package("openvswitch-switch-dpdk"), "martlet": _revision(),
            "virtualised": "hypervisor" in pathlib.Path("/proc/cpuinfo").read_text()}


def _package(name):
    found = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True)
    return found.stdout or "not installed"


def _revision():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True,
                           env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"})
    return found.stdout.strip() or "no revision"
