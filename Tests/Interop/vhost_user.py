"""The virtual machine's side of vhost-user, in Python: honest when it carries golden frames, a liar on request.

Written from "Vhost-user Protocol" (QEMU's documentation, docs/interop/vhost-user.rst) and from "Virtual I/O Device
(VIRTIO) Version 1.1", sections 2.6 (split virtqueues), 2.7 (packed virtqueues) and 5.1 (network device).
The terms are theirs: this is the *front-end* (QEMU's role), the switch is the *back-end*.
"""

import ctypes
import mmap
import os
import socket
import struct
from enum import IntEnum

from processes import eventually


class Request(IntEnum):
    """Front-end message types."""
    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20


# Feature bits of VIRTIO 1.1, sections 5.1.3 and 6, and vhost-user's own.
CSUM = 1 << 0
GUEST_CSUM = 1 << 1
MRG_RXBUF = 1 << 15
INDIRECT_DESC = 1 << 28
PROTOCOL_FEATURES = 1 << 30
VERSION_1 = 1 << 32
RING_PACKED = 1 << 34

PROTOCOL_MQ = 1 << 0

MESSAGE_VERSION = 1
MESSAGE_REPLY = 1 << 2
MESSAGE_NEED_REPLY = 1 << 3

DESC_NEXT = 1
DESC_WRITE = 2
DESC_INDIRECT = 4
DESC_AVAIL = 1 << 7
DESC_USED = 1 << 15

# struct virtio_net_hdr with num_buffers, as VERSION_1 and MRG_RXBUF both have it.
NET_HEADER_LENGTH = 12

# Where the memory lies for the guest and for this process's peer; any addresses do, they are only translated.
GUEST_BASE = 0x4000_0000
USER_BASE = 0x7E00_0000_0000

BUFFER_LENGTH = 10240
GIANT_LENGTH = 128 << 10


class Memory:
    """The guest's memory: a memfd that the back-end maps too. Handed out by `allocate`, never given back."""

    def __init__(self, length=16 << 20):
        self.length = length
        self.fd = os.memfd_create("guest-memory")
        os.ftruncate(self.fd, length)
        self.bytes = mmap.mmap(self.fd, length)
        self._next = 0

    def allocate(self, length, alignment=4096):
        start = -(-self._next // alignment) * alignment
        self._next = start + length
        assert self._next <= self.length, "guest memory is full"
        return start

    def u16(self, offset):
        # A ctypes view stores both bytes at once; struct.pack_into would let the back-end see half an index.
        return ctypes.c_uint16.from_buffer(self.bytes, offset)

    def close(self):
        os.close(self.fd)
        # Views of ring indices may still be alive: then the mapping goes with the last of them.
        try:
            self.bytes.close()
        except BufferError:
            pass


class SplitQueue:
    """The driver's side of a split virtqueue (VIRTIO 1.1, section 2.6), one descriptor a buffer."""

    def __init__(self, memory, size):
        self.memory, self.size = memory, size
        self.descriptors = memory.allocate(16 * size)
        self.driver_area = memory.allocate(6 + 2 * size)
        self.device_area = memory.allocate(6 + 8 * size)
        self.buffers = memory.allocate(size * BUFFER_LENGTH)
        self.available_index = memory.u16(self.driver_area + 2)
        self.used_index = memory.u16(self.device_area + 2)
        self.seen = 0

    @property
    def base(self):
        """For SET_VRING_BASE: where the back-end goes on after a reconnect."""
        return self.used_index.value

    def buffer(self, number):
        return self.buffers + number * BUFFER_LENGTH

    def describe(self, number, address, length, flags=0, following=0):
        struct.pack_into("<QIHH", self.memory.bytes, self.descriptors + 16 * number, address, length, flags, following)

    def publish(self, head):
        """Makes the chain that begins at descriptor `head` available to the device."""
        index = self.available_index.value
        struct.pack_into("<H", self.memory.bytes, self.driver_area + 4 + 2 * (index % self.size), head)
        self.available_index.value = (index + 1) & 0xFFFF

    def offer(self, number, length, flags):
        self.describe(number, GUEST_BASE + self.buffer(number), length, flags)
        self.publish(number)

    def used(self):
        """The next (buffer number, length) that the device is done with; None when there is none."""
        if self.seen == self.used_index.value:
            return None
        slot = self.device_area + 4 + 8 * (self.seen % self.size)
        self.seen = (self.seen + 1) & 0xFFFF
        return struct.unpack_from("<II", self.memory.bytes, slot)


class PackedQueue:
    """The driver's side of a packed virtqueue (VIRTIO 1.1, section 2.7), one descriptor a buffer."""

    def __init__(self, memory, size):
        self.memory, self.size = memory, size
        self.descriptors = memory.allocate(16 * size)
        self.driver_area = memory.allocate(4)
        self.device_area = memory.allocate(4)
        self.buffers = memory.allocate(size * BUFFER_LENGTH)
        self.next, self.wrap = 0, True
        self.seen, self.seen_wrap = 0, True

    base = (1 << 15) | (1 << 31)    # both wrap counters one, both indices zero

    def buffer(self, number):
        return self.buffers + number * BUFFER_LENGTH

    def _flags(self, number):
        return self.memory.u16(self.descriptors + 16 * number + 14)

    def describe(self, slot, address, length, identity, flags):
        struct.pack_into("<QIH", self.memory.bytes, self.descriptors + 16 * slot, address, length, identity)
        # Available when AVAIL equals the wrap counter and USED does not; the flags are stored last.
        owner = DESC_AVAIL if self.wrap else DESC_USED
        self._flags(slot).value = flags | owner

    def offer(self, number, length, flags):
        self.describe(self.next, GUEST_BASE + self.buffer(number), length, number, flags)
        self.next += 1
        if self.next == self.size:
            self.next, self.wrap = 0, not self.wrap

    def used(self):
        flags = self._flags(self.seen).value
        if (bool(flags & DESC_AVAIL), bool(flags & DESC_USED)) != (self.seen_wrap, self.seen_wrap):
            return None
        _, length, identity = struct.unpack_from("<QIH", self.memory.bytes, self.descriptors + 16 * self.seen)
        self.seen += 1
        if self.seen == self.size:
            self.seen, self.seen_wrap = 0, not self.seen_wrap
        return identity, length


class Channel:
    """The socket: vhost-user messages with file descriptors."""

    def __init__(self, path, listens):
        self.path, self.listens = str(path), listens
        self._listener = None
        self.stream = None
        if listens:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(self.path)
            self._listener.listen(8)

    def connect(self, limit=20.0):
        """Waits for the back-end."""
        self.drop()
        if self.listens:
            self._listener.settimeout(limit)
            self.stream, _ = self._listener.accept()
        else:
            self.stream = eventually(self._try_to_connect, limit, f"a listener on {self.path}")
        self.stream.settimeout(limit)

    def _try_to_connect(self):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.connect(self.path)
            return stream
        except OSError:
            stream.close()
            return None

    def send(self, request, payload=b"", fds=(), flags=0, size=None):
        """`size` is what the header claims; the payload's own unless a liar says otherwise."""
        header = struct.pack("<III", request, MESSAGE_VERSION | flags, len(payload) if size is None else size)
        self.send_raw(header + payload, fds)

    def send_raw(self, octets, fds=()):
        if fds:
            socket.send_fds(self.stream, [octets], list(fds))
        else:
            self.stream.sendall(octets)

    def ask(self, request, payload=b"", fds=(), flags=0):
        """Sends a request and returns the payload of its reply."""
        self.send(request, payload, fds, flags)
        answer, reply_flags, size = struct.unpack("<III", self._read(12))
        assert answer == request, f"reply to {answer} in place of {request}"
        assert reply_flags & MESSAGE_REPLY, "a reply without the reply flag"
        return self._read(size)

    def ask_u64(self, request):
        return struct.unpack("<Q", self.ask(request))[0]

    def _read(self, length):
        received = b""
        while len(received) < length:
            piece = self.stream.recv(length - len(received))
            if not piece:
                raise ConnectionResetError(f"the back-end closed {self.path}")
            received += piece
        return received

    def closed_by_peer(self):
        """Whether the back-end has hung up (a reply may be waiting: it is dropped)."""
        self.stream.setblocking(False)
        try:
            while self.stream.recv(4096):
                pass
            return True
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            self.stream.setblocking(True)

    def drop(self):
        if self.stream:
            self.stream.close()
            self.stream = None

    def close(self):
        self.drop()
        if self._listener:
            self._listener.close()
            self._listener = None
            os.unlink(self.path)


def region_table(regions):
    """The payload of SET_MEM_TABLE of (guest address, length, user address, mmap offset)."""
    return struct.pack("<II", len(regions), 0) + b"".join(struct.pack("<QQQQ", *region) for region in regions)


class FrontEnd:
    """A virtio-net device and its driver with one queue pair.

    `listens`: as QEMU with server=on, for a switch in mode client; otherwise for a switch in mode server.
    """

    RECEIVE, TRANSMIT = 0, 1

    def __init__(self, path, listens=True, features=MRG_RXBUF | VERSION_1, packed=False, queue_size=256):
        self.channel = Channel(path, listens)
        self.features = features | PROTOCOL_FEATURES | (RING_PACKED if packed else 0)
        self.protocol_features = PROTOCOL_MQ
        self.offered = 0
        self.memory = Memory()
        queue = PackedQueue if packed else SplitQueue
        self.queues = [queue(self.memory, queue_size) for _ in range(2)]
        self.giant = self.memory.allocate(GIANT_LENGTH)
        self._kicks = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        self._calls = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        self._free = list(range(queue_size))
        self._fill()

    def _fill(self):
        for number in range(self.queues[self.RECEIVE].size):
            self.queues[self.RECEIVE].offer(number, BUFFER_LENGTH, DESC_WRITE)

    def connect(self, limit=20.0):
        """The whole handshake, up to enabled rings."""
        self.channel.connect(limit)
        self.negotiate()
        self.share_memory()
        for number in range(2):
            self.start_queue(number)
        for number in range(2):
            self.enable(number)
        # Messages are handled in order: a reply says that the rings are on.
        self.channel.ask_u64(Request.GET_FEATURES)
        return self

    def negotiate(self):
        channel = self.channel
        self.offered = channel.ask_u64(Request.GET_FEATURES)
        missing = self.features & ~self.offered
        assert not missing, f"the back-end does not offer features {missing:#x}"
        protocol = channel.ask_u64(Request.GET_PROTOCOL_FEATURES)
        channel.send(Request.SET_PROTOCOL_FEATURES, struct.pack("<Q", protocol & self.protocol_features))
        channel.send(Request.SET_OWNER)
        channel.send(Request.SET_FEATURES, struct.pack("<Q", self.features))

    def share_memory(self):
        regions = [(GUEST_BASE, self.memory.length, USER_BASE, 0)]
        self.channel.send(Request.SET_MEM_TABLE, region_table(regions), [self.memory.fd])

    def start_queue(self, number):
        queue, channel = self.queues[number], self.channel
        channel.send(Request.SET_VRING_NUM, struct.pack("<II", number, queue.size))
        channel.send(Request.SET_VRING_BASE, struct.pack("<II", number, queue.base))
        channel.send(Request.SET_VRING_ADDR, struct.pack(
            "<IIQQQQ", number, 0, USER_BASE + queue.descriptors, USER_BASE + queue.device_area,
            USER_BASE + queue.driver_area, 0))
        channel.send(Request.SET_VRING_CALL, struct.pack("<Q", number), [self._calls[number]])
        channel.send(Request.SET_VRING_KICK, struct.pack("<Q", number), [self._kicks[number]])

    def enable(self, number, enabled=1):
        self.channel.send(Request.SET_VRING_ENABLE, struct.pack("<II", number, enabled))

    def kick(self, number):
        os.eventfd_write(self._kicks[number], 1)

    def send(self, frame, header=bytes(NET_HEADER_LENGTH)):
        """Hands a frame of any length up to `BUFFER_LENGTH` to the switch."""
        queue = self.queues[self.TRANSMIT]
        number = eventually(self._take_free, 10, f"a free transmit buffer on {self.channel.path}", interval=0.0005)[0]
        start = queue.buffer(number)
        self.memory.bytes[start:start + len(header) + len(frame)] = header + frame
        queue.offer(number, len(header) + len(frame), 0)
        self.kick(self.TRANSMIT)

    def _take_free(self):
        self.reclaim()
        return [self._free.pop()] if self._free else None

    def reclaim(self):
        queue = self.queues[self.TRANSMIT]
        while done := queue.used():
            self._free.append(done[0])

    def wait_until_taken(self, limit=10.0):
        """Waits until the switch has taken every frame sent."""
        def taken():
            self.reclaim()
            return len(self._free) == self.queues[self.TRANSMIT].size
        eventually(taken, limit, f"frames taken from {self.channel.path}", interval=0.0005)

    def received(self):
        """The frames that arrived since the last call."""
        frames = []
        while (first := self._next_buffer()) is not None:
            count = struct.unpack_from("<H", first, 10)[0]
            frame = first[NET_HEADER_LENGTH:]
            for _ in range(count - 1):
                frame += eventually(self._next_buffer, 5, "the rest of a merged frame", interval=0.0005)
            frames.append(frame)
        return frames

    def _next_buffer(self):
        queue = self.queues[self.RECEIVE]
        done = queue.used()
        if done is None:
            return None
        number, length = done
        start = queue.buffer(number)
        octets = bytes(self.memory.bytes[start:start + length])
        queue.offer(number, BUFFER_LENGTH, DESC_WRITE)
        self.kick(self.RECEIVE)
        return octets

    def wait_for(self, wanted, limit=10.0):
        """Receives until the frame `wanted` arrives; returns the frames before it."""
        frames = []

        def arrived():
            frames.extend(self.received())
            return wanted in frames
        eventually(arrived, limit, f"a frame on {self.channel.path}", interval=0.0005)
        place = frames.index(wanted)
        assert place == len(frames) - 1, f"{len(frames) - 1 - place} frames after the awaited one"
        return frames[:place]

    def close(self):
        if self.queues is None:
            return
        self.channel.close()
        for fd in self._kicks + self._calls:
            os.close(fd)
        self._kicks, self._calls = [], []
        # Views of the memory, which does not close before they are gone.
        self.queues = None
        self.memory.close()
