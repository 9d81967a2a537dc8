"""Real virtual machines: QEMU under TCG with Debian's cloud kernel, and a shell in each.

A guest proves that the switch is right for virtio as Linux drives it; it is no load (some 40 kpps).
The kernel is unpacked, never installed, into a cache outside the repository.
"""

import fcntl
import functools
import os
import re
import select
import shutil
import socket
import time
from pathlib import Path

from processes import Process, eventually, run

CACHE = Path(os.environ.get("MARTLET_TEST_CACHE", "/var/cache/martlet-tests"))
BUSYBOX = Path("/bin/busybox")
MODULES = ["virtio_mmio", "virtio_console", "virtio_net"]
TUNNEL_MODULES = ["8021q", "vxlan", "ip_gre", "geneve"]
# iproute2, which the shell must name by its path: busybox has an `ip` of its own.
IPROUTE = Path("/sbin/ip")

# The shell sits on a virtio serial port: microvm has one UART only, and that is the console.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /etc
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
exec >/dev/console 2>&1
for module in $(cat /modules/order); do insmod /modules/$module; done
ip link set lo up
# The port's first number counts virtio devices.
while ! [ -c /dev/vport*p1 ]; do usleep 10000; done
# Opened once: the port is exclusive.
sh <>$(echo /dev/vport*p1) >&0 2>&1
"""


def cpio(entries):
    """A cpio archive in the "newc" format (cpio(5)) of (path, mode, contents)."""
    archive = bytearray()

    def append(inode, path, mode, contents):
        name = path.encode() + b"\0"
        fields = [inode, mode, 0, 0, 1, 0, len(contents), 0, 0, 0, 0, len(name), 0]
        archive.extend(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        archive.extend(bytes(-len(archive) % 4))
        archive.extend(contents)
        archive.extend(bytes(-len(archive) % 4))

    for inode, (path, mode, contents) in enumerate(entries, start=1):
        append(inode, path, mode, contents)
    append(0, "TRAILER!!!", 0, b"")
    return bytes(archive)


def kernel_package():
    """The package that the cloud kernel's metapackage stands for, such as linux-image-6.1.0-50-cloud-amd64."""
    depends = run("apt-cache", "depends", "linux-image-cloud-amd64").stdout
    return re.search(r"Depends: (linux-image-\S+)", depends).group(1)


def unpacked_kernel():
    """The directory of the unpacked kernel package; fetched on first use."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        # Two test runs on one machine share the cache.
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = sorted(path.parent for path in CACHE.glob("kernel-*/complete"))
        return ready[-1] if ready else _unpack_kernel()


def _unpack_kernel():
    target = CACHE / "kernel-cloud"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    run("apt-get", "download", kernel_package(), cwd=target, limit=300)
    package, = target.glob("*.deb")
    run("dpkg-deb", "-x", package, target, limit=120)
    package.unlink()
    (target / "complete").touch()
    return target


def _needs(path):
    depends = run("/sbin/modinfo", "-F", "depends", path).stdout.strip()
    return [name for name in depends.split(",") if name]


def _ordered_modules(kernel, names):
    """The files of the modules `names` and all they need, each after what it needs."""
    files = {path.stem.replace("-", "_"): path for path in kernel.glob("lib/modules/*/kernel/**/*.ko")}
    ordered = []

    def add(name):
        path = files[name.replace("-", "_")]
        for needed in _needs(path):
            add(needed)
        if path not in ordered:
            ordered.append(path)

    for name in names:
        add(name)
    return ordered


def _with_libraries(program):
    """(path, mode, contents) of a program, of the libraries that it is linked with, and of their directories."""
    linked = [Path(path) for path in re.findall(r"/\S+(?= \()", run("ldd", program).stdout)]
    entries = {}
    for path in [program, *linked]:
        for parent in reversed(path.parents[:-1]):
            entries[parent] = (f"{parent}"[1:], 0o040755, b"")
        entries[path] = (f"{path}"[1:], 0o100755, path.read_bytes())
    return list(entries.values())


def _built(name):
    """A program for guests, of a file here."""
    program = CACHE / f"{name}-{os.getpid()}"
    run("gcc", "-static", "-O2", "-Wall", "-o", program, Path(__file__).with_name(f"{name}.c"))
    octets = program.read_bytes()
    program.unlink()
    return octets


@functools.cache
def boot_files(tunnels=False):
    """(kernel image, initramfs) for guests; with `tunnels` for such as make tunnels of their own."""
    kernel = unpacked_kernel()
    image, = kernel.glob("boot/vmlinuz-*")
    initramfs = CACHE / f"initramfs-{os.getpid()}{'-tunnels' if tunnels else ''}.cpio"
    modules = _ordered_modules(kernel, MODULES + (TUNNEL_MODULES if tunnels else []))
    directories = [(name, 0o040755, b"") for name in ("bin", "modules")]
    files = [(f"modules/{path.name}", 0o100644, path.read_bytes()) for path in modules]
    order = "\n".join(path.name for path in modules).encode()
    initramfs.write_bytes(cpio(directories + files + (_with_libraries(IPROUTE) if tunnels else []) + [
        ("modules/order", 0o100644, order),
        ("bin/busybox", 0o100755, BUSYBOX.read_bytes()),
        *((f"bin/{name}", 0o100755, _built(name)) for name in ("probe", "carry")),
        ("init", 0o100755, INIT.encode()),
    ]))
    return image, initramfs


def forget_boot_files():
    """Removes what `boot_files` wrote for this test run."""
    for path in CACHE.glob(f"initramfs-{os.getpid()}*.cpio"):
        path.unlink()


def tsc_khz():
    megahertz = re.search(r"cpu MHz\s*: ([\d.]+)", Path("/proc/cpuinfo").read_text()).group(1)
    return int(float(megahertz) * 1000)


NO_OFFLOADS = "csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off," \
    "host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off"


class Guest:
    """One virtual machine with one vhost-user interface, eth0.

    `switch_mode` is the switch's side: "client" when QEMU listens on `vhost_socket`, "server" when the switch does.
    QEMU runs the guest only once the switch is connected. With `tunnels` it has iproute2 and what makes tunnels.
    """

    def __init__(self, directory, name, number, vhost_socket, switch_mode="client", packed=False, offloads=True,
                 tunnels=False, mac=None, address=None):
        self.name = name
        self.mac = mac or f"52:54:00:00:00:{number:02x}"
        self.address = address or f"10.77.0.{number}"
        self.directory = Path(directory)
        self._shell_path = self.directory / f"{name}.shell"
        self._shell = None
        self._turn = 0
        self._held = b""
        self._argv = self._command(boot_files(tunnels), vhost_socket, switch_mode, packed, offloads)
        self.process = Process(self._argv, self.directory / f"{name}.log")
        # Before the guest's shell is there: with nobody at its other end it would read an end of file.
        self._connect_shell()

    def _command(self, files, vhost_socket, switch_mode, packed, offloads):
        image, initramfs = files
        role = "server=on,wait=off" if switch_mode == "client" else "reconnect=1"
        device = f"virtio-net-device,netdev=n0,mac={self.mac},packed={'on' if packed else 'off'}"
        if not offloads:
            device += "," + NO_OFFLOADS
        return [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            # TCG even where /dev/kvm opens: nested virtualisation hangs guests on some of our machines.
            "-accel", "tcg", "-cpu", "qemu64", "-machine", "microvm,memory-backend=mem", "-m", "128M",
            "-object", "memory-backend-memfd,share=on,id=mem,size=128M",
            "-global", "virtio-mmio.force-legacy=false",
            "-chardev", f"socket,id=vhost,path={vhost_socket},{role}",
            "-netdev", "vhost-user,id=n0,chardev=vhost,queues=1", "-device", device,
            "-chardev", f"socket,id=shell,path={self._shell_path},server=on,wait=off",
            "-device", "virtio-serial-device", "-device", "virtserialport,chardev=shell",
            "-serial", "stdio", "-kernel", image, "-initrd", initramfs,
            # Without the frequency microvm calibrates against a timer that TCG does not keep: it hangs in most boots.
            "-append", f"console=ttyS0 quiet tsc=reliable panic=-1 tsc_early_khz={tsc_khz()}",
        ]

    def wait_until_up(self, limit=60.0):
        """Waits for the guest's shell and configures eth0."""
        self.shell("true", limit)
        self.shell(f"ip addr add {self.address}/24 dev eth0 && ip link set eth0 up", limit)
        eventually(lambda: self.shell("cat /sys/class/net/eth0/carrier", check=False).strip() == "1",
                   limit, f"carrier of {self.name}", interval=0.05)
        return self

    def _connect_shell(self):
        def connect():
            self.process.assert_alive()
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                stream.connect(str(self._shell_path))
                return stream
            except OSError:
                stream.close()
                return None
        self._shell = eventually(connect, 20, f"shell socket of {self.name}")

    def shell(self, command, limit=30.0, check=True):
        """Runs a command in the guest and returns what it prints, both streams together."""
        mark = self.begin(command)
        return self.finish(mark, limit, check)

    def begin(self, command):
        """Starts a command and returns at once; `finish` waits for it. One at a time."""
        self._turn += 1
        mark = f"done-{self._turn}"
        self._shell.sendall(f"{{ {command}\n}} 2>&1; echo {mark} $?\n".encode())
        return mark

    def finish(self, mark, limit=30.0, check=True):
        output = self._read_until(re.compile(rf"{mark} (\d+)\n$".encode()), limit)
        text, status = output.rsplit(mark.encode(), 1)
        assert not check or int(status) == 0, f"{self.name}: status {int(status)}: {text.decode(errors='replace')}"
        return text.decode(errors="replace")

    def wait_for_output(self, text, limit=30.0):
        """Waits until a command that `begin` started has printed `text`."""
        self._held += self._read_until(re.compile(re.escape(text.encode())), limit)

    def _read_until(self, pattern, limit):
        received, self._held = self._held, b""
        deadline = time.monotonic() + limit
        while not pattern.search(received):
            self.process.assert_alive()
            assert time.monotonic() < deadline, f"{self.name}: no answer in {limit:g} s, only {received[-500:]!r}"
            if select.select([self._shell], [], [], 0.2)[0]:
                received += self._shell.recv(65536)
        return received

    def knows(self, other):
        """Fixes the other guest's address, so that no ARP retry of a second is taken for the switch's outage."""
        self.shell(f"arp -i eth0 -s {other.address} {other.mac}")

    def reaches(self, other, count=1, seconds=2):
        """Whether a ping is answered."""
        return "bytes from" in self.shell(f"ping -c {count} -i 0.2 -W {seconds} {other.address}", check=False)

    def stop(self):
        # The guest holds nothing worth an orderly shutdown.
        self.process.kill()
        if self._shell:
            self._shell.close()
        self._shell_path.unlink(missing_ok=True)
