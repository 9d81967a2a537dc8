"""Network namespaces, and the kernel's side of a port: raw frames in and out of a network device."""

import ctypes
import fcntl
import hashlib
import itertools
import os
import select
import socket
import struct
import threading
from contextlib import contextmanager

from processes import eventually, run

_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count(1)

# linux/if_packet.h
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
STATUS_VLAN_VALID = 0x10
STATUS_VLAN_TPID_VALID = 0x40
# linux/ethtool.h and sockios.h
SIOCETHTOOL = 0x8946
ETHTOOL_SET_TX_CHECKSUM, ETHTOOL_SET_TSO, ETHTOOL_SET_GSO = 0x17, 0x1F, 0x24


class Namespace:
    """A network namespace without IPv6, so that the kernel sends nothing on its own."""

    def __init__(self, label):
        self.name = f"mt{os.getpid()}-{label}{next(_serial)}"
        run("ip", "netns", "add", self.name)
        self.path = f"/run/netns/{self.name}"
        self.ip("link", "set", "lo", "up")
        for scope in ("all", "default"):
            self.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6")

    def run(self, *command, check=True, **options):
        return run("nsenter", f"--net={self.path}", *command, check=check, **options)

    def ip(self, *words):
        return self.run("ip", *words)

    @contextmanager
    def entered(self):
        """Sockets made inside belong to the namespace. Only the calling thread moves."""
        with open("/proc/thread-self/ns/net") as home, open(self.path) as there:
            assert _libc.setns(there.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert _libc.setns(home.fileno(), 0) == 0, os.strerror(ctypes.get_errno())

    def has(self, interface):
        return self.run("ip", "link", "show", "dev", interface, check=False).returncode == 0

    def bring_up(self, interface, address=None):
        eventually(lambda: self.has(interface), 10, f"network device {interface}")
        if address:
            self.ip("addr", "add", address, "dev", interface)
        self.ip("link", "set", "dev", interface, "up")

    def finish_checksums_in_software(self, interface):
        """AF_PACKET hands the switch the frame before a device would have completed its checksum."""
        with self.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            for command in (ETHTOOL_SET_TX_CHECKSUM, ETHTOOL_SET_TSO, ETHTOOL_SET_GSO):
                value = ctypes.create_string_buffer(struct.pack("II", command, 0))
                request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
                fcntl.ioctl(control, SIOCETHTOOL, request)

    def stop(self):
        run("ip", "netns", "delete", self.name)


def add_bridge(namespace, name):
    """A bridge of Linux."""
    namespace.ip("link", "add", name, "type", "bridge")
    namespace.bring_up(name)


def veth(near, near_name, far, far_name, bridge=None):
    """A cable between two namespaces, both ends up, the far one in a bridge if that is named."""
    near.ip("link", "add", near_name, "type", "veth", "peer", "name", far_name, "netns", far.name)
    if bridge:
        far.ip("link", "set", "dev", far_name, "master", bridge)
    near.bring_up(near_name)
    far.bring_up(far_name)


def pings(namespace, address, count=5, size=56, patience=2):
    """Whether so many echo requests are answered, each an IPv4 packet of `size` bytes and 28; the last one is waited for
    `patience` seconds."""
    done = namespace.run("busybox", "ping", "-c", count, "-s", size, "-i", "0.01", "-W", patience, address, check=False)
    return f" {count} packets received" in done.stdout


def carries_tcp(client, server, address, megabytes=1):
    """Whether a connection between two namespaces, to an address of the second, carries its octets unaltered."""
    payload = bytes(place * 31 % 256 for place in range(1 << 16)) * (16 * megabytes)
    with server.entered():
        listener = socket.create_server((address, 0))
    listener.settimeout(60)
    received = hashlib.sha256()

    def serve():
        connection, _ = listener.accept()
        with connection:
            while piece := connection.recv(1 << 16):
                received.update(piece)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with client.entered(), socket.socket() as stream:
        stream.settimeout(60)
        stream.connect((address, listener.getsockname()[1]))
        stream.sendall(payload)
    thread.join(60)
    listener.close()
    return received.digest() == hashlib.sha256(payload).digest()


class KernelPeer:
    """Whole frames through a network device of the kernel, tags as they are on the wire.

    The kernel takes the outer tag out of a received frame; AUXDATA says what it was, TPID included.
    """

    def __init__(self, namespace, interface):
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._socket.bind((interface, 0))
        self.interface = interface

    def send(self, frame):
        self._socket.send(frame)

    def received(self):
        frames = []
        while select.select([self._socket], [], [], 0)[0]:
            frame, ancillary, _, _ = self._socket.recvmsg(65536, 256)
            frames.append(_with_tag(frame, ancillary))
        return frames

    def wait_for(self, wanted, limit=10.0):
        """Receives until the frame `wanted` arrives; returns the frames before it."""
        frames = []

        def arrived():
            frames.extend(self.received())
            return wanted in frames
        eventually(arrived, limit, f"a frame on {self.interface}", interval=0.0005)
        place = frames.index(wanted)
        assert place == len(frames) - 1, f"{len(frames) - 1 - place} frames after the awaited one"
        return frames[:place]

    def close(self):
        self._socket.close()


def _with_tag(frame, ancillary):
    for level, kind, value in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack_from("IIIHHHH", value)
            if status & STATUS_VLAN_VALID:
                tpid = tpid if status & STATUS_VLAN_TPID_VALID else 0x8100
                return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    return frame
