"""What a hostile or broken virtual machine can do to its vhost-user port.

Each attack is a function of a `FrontEnd`. Those on the socket get one whose channel is connected and nothing more;
those on the rings get one that has shaken hands. The name says what it does.
"""

import os
import struct

from vhost_user import (BUFFER_LENGTH, DESC_INDIRECT, DESC_NEXT, DESC_WRITE, GIANT_LENGTH, GUEST_BASE,
                        MESSAGE_NEED_REPLY, NET_HEADER_LENGTH, USER_BASE, FrontEnd, Request, region_table)

UNMAPPED = 0x0DEAD_0000_0000


# --- on the socket -----------------------------------------------------------------------------------------------

def garbage(peer):
    peer.channel.send_raw(bytes(place * 37 % 256 for place in range(4096)))


def zeros(peer):
    peer.channel.send_raw(bytes(4096))


def half_a_header(peer):
    peer.channel.send_raw(b"\x01\x00\x00\x00\x01")
    peer.channel.drop()


def a_truncated_message(peer):
    peer.channel.send_raw(struct.pack("<III", Request.SET_FEATURES, 1, 8) + b"\0\0\0")
    peer.channel.drop()


def a_size_beyond_every_message(peer):
    peer.channel.send(Request.SET_FEATURES, bytes(8), size=0xFFFF_FFFF)


def an_unknown_request(peer):
    peer.channel.send(9999, bytes(8))


def an_unknown_request_that_wants_a_reply(peer):
    peer.channel.send(9999, bytes(8), flags=MESSAGE_NEED_REPLY)


def another_protocol_version(peer):
    peer.channel.send_raw(struct.pack("<III", Request.GET_FEATURES, 2, 0))


def no_descriptor_for_the_memory(peer):
    peer.negotiate()
    peer.channel.send(Request.SET_MEM_TABLE, region_table([(GUEST_BASE, 1 << 20, USER_BASE, 0)]))


def more_descriptors_than_regions(peer):
    peer.negotiate()
    table = region_table([(GUEST_BASE, 1 << 20, USER_BASE, 0)])
    peer.channel.send(Request.SET_MEM_TABLE, table, [peer.memory.fd] * 5)


def descriptors_on_a_message_that_takes_none(peer):
    peer.channel.send(Request.SET_OWNER, b"", [peer.memory.fd] * 8)


def more_regions_than_the_protocol_has(peer):
    peer.negotiate()
    table = region_table([(GUEST_BASE + (number << 20), 1 << 20, USER_BASE, 0) for number in range(9)])
    peer.channel.send(Request.SET_MEM_TABLE, table, [peer.memory.fd] * 8)


def _share(peer, region, fd):
    peer.negotiate()
    peer.channel.send(Request.SET_MEM_TABLE, region_table([region]), [fd])
    for number in range(2):
        peer.start_queue(number)
        peer.enable(number)


def memory_that_is_a_pipe(peer):
    reading, writing = os.pipe()
    try:
        _share(peer, (GUEST_BASE, 1 << 20, USER_BASE, 0), reading)
    finally:
        os.close(reading)
        os.close(writing)


def memory_larger_than_an_address_space(peer):
    _share(peer, (GUEST_BASE, 1 << 62, USER_BASE, 0), peer.memory.fd)


def memory_that_wraps_around(peer):
    _share(peer, (GUEST_BASE, (1 << 64) - 4096, USER_BASE, 8192), peer.memory.fd)


def memory_at_an_offset_beyond_the_file(peer):
    _share(peer, (GUEST_BASE, 1 << 20, USER_BASE, 1 << 40), peer.memory.fd)


def memory_longer_than_its_file(peer):
    """Mapping it works; touching what is not there would be a SIGBUS."""
    short = os.memfd_create("short")
    try:
        os.ftruncate(short, 4096)
        _share(peer, (GUEST_BASE, peer.memory.length, USER_BASE, 0), short)
    finally:
        os.close(short)


def no_memory_at_all(peer):
    peer.negotiate()
    for number in range(2):
        peer.start_queue(number)
        peer.enable(number)


def a_ring_of_no_size(peer):
    peer.negotiate()
    peer.share_memory()
    peer.channel.send(Request.SET_VRING_NUM, struct.pack("<II", 0, 0))


def a_ring_of_a_million(peer):
    peer.negotiate()
    peer.share_memory()
    peer.channel.send(Request.SET_VRING_NUM, struct.pack("<II", 0, 1 << 20))


def a_ring_that_does_not_exist(peer):
    peer.negotiate()
    peer.share_memory()
    peer.channel.send(Request.SET_VRING_NUM, struct.pack("<II", 5000, 256))


def a_kick_for_a_ring_that_does_not_exist(peer):
    peer.negotiate()
    descriptor = os.eventfd(0)
    try:
        peer.channel.send(Request.SET_VRING_KICK, struct.pack("<Q", 255), [descriptor])
    finally:
        os.close(descriptor)


def an_enabled_ring_that_does_not_exist(peer):
    peer.negotiate()
    peer.enable(40_000)


def rings_outside_the_memory(peer):
    peer.negotiate()
    peer.share_memory()
    for number, queue in enumerate(peer.queues):
        peer.channel.send(Request.SET_VRING_NUM, struct.pack("<II", number, queue.size))
        peer.channel.send(Request.SET_VRING_ADDR,
                          struct.pack("<IIQQQQ", number, 0, UNMAPPED, UNMAPPED, UNMAPPED, 0))
        peer.enable(number)


def rings_that_end_outside_the_memory(peer):
    peer.negotiate()
    peer.share_memory()
    end = USER_BASE + peer.memory.length - 16
    for number, queue in enumerate(peer.queues):
        peer.channel.send(Request.SET_VRING_NUM, struct.pack("<II", number, queue.size))
        peer.channel.send(Request.SET_VRING_ADDR, struct.pack("<IIQQQQ", number, 0, end, end, end, 0))
        peer.enable(number)


def a_hang_up_in_the_middle(peer):
    peer.negotiate()
    peer.share_memory()
    peer.start_queue(0)
    peer.channel.drop()


def memory_taken_away_and_given_back(peer):
    """The table is replaced again and again while the rings run."""
    peer.negotiate()
    for _ in range(20):
        peer.share_memory()
        for number in range(2):
            peer.start_queue(number)
            peer.enable(number)


ON_THE_SOCKET = [
    garbage, zeros, half_a_header, a_truncated_message, a_size_beyond_every_message, an_unknown_request,
    an_unknown_request_that_wants_a_reply, another_protocol_version, no_descriptor_for_the_memory,
    more_descriptors_than_regions, descriptors_on_a_message_that_takes_none, more_regions_than_the_protocol_has,
    memory_that_is_a_pipe, memory_larger_than_an_address_space, memory_that_wraps_around,
    memory_at_an_offset_beyond_the_file, memory_longer_than_its_file, no_memory_at_all, a_ring_of_no_size,
    a_ring_of_a_million, a_ring_that_does_not_exist, a_kick_for_a_ring_that_does_not_exist,
    an_enabled_ring_that_does_not_exist, rings_outside_the_memory, rings_that_end_outside_the_memory,
    a_hang_up_in_the_middle, memory_taken_away_and_given_back,
]


# --- on split rings ----------------------------------------------------------------------------------------------

def _transmit(peer):
    return peer.queues[FrontEnd.TRANSMIT]


def _kick_both(peer):
    for number in range(2):
        peer.kick(number)


def an_available_index_that_jumps(peer):
    queue = _transmit(peer)
    queue.available_index.value = (queue.available_index.value + 1000) & 0xFFFF


def an_available_index_that_goes_back(peer):
    queue = _transmit(peer)
    queue.available_index.value = (queue.available_index.value - 3) & 0xFFFF


def a_head_outside_the_ring(peer):
    _transmit(peer).publish(40_000)


def a_chain_that_leaves_the_ring(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + queue.buffer(0), 64, DESC_NEXT, 40_000)
    queue.publish(0)


def a_descriptor_that_follows_itself(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + queue.buffer(0), 64, DESC_NEXT, 0)
    queue.publish(0)


def a_loop_of_two_descriptors(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + queue.buffer(0), 64, DESC_NEXT, 1)
    queue.describe(1, GUEST_BASE + queue.buffer(1), 64, DESC_NEXT, 0)
    queue.publish(0)


def a_loop_in_the_receive_ring(peer):
    queue = peer.queues[FrontEnd.RECEIVE]
    for number in range(queue.size):
        queue.describe(number, GUEST_BASE + queue.buffer(number), 16, DESC_WRITE | DESC_NEXT, number)
    _send_to(peer)


def a_receive_buffer_outside_the_memory(peer):
    queue = peer.queues[FrontEnd.RECEIVE]
    for number in range(queue.size):
        queue.describe(number, UNMAPPED, BUFFER_LENGTH, DESC_WRITE)
    _send_to(peer)


def a_receive_buffer_of_no_length(peer):
    queue = peer.queues[FrontEnd.RECEIVE]
    for number in range(queue.size):
        queue.describe(number, GUEST_BASE + queue.buffer(number), 0, DESC_WRITE)
    _send_to(peer)


def _send_to(peer):
    """Makes the switch write to the peer's receive ring: the neighbour's flood does it."""
    peer.neighbour_sends()


def a_buffer_outside_the_memory(peer):
    queue = _transmit(peer)
    queue.describe(0, UNMAPPED, 100)
    queue.publish(0)


def a_buffer_that_ends_outside_the_memory(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + peer.memory.length - 20, 4096)
    queue.publish(0)


def a_buffer_of_four_gigabytes(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + queue.buffer(0), 0xFFFF_FFFF)
    queue.publish(0)


def a_buffer_of_no_length(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + queue.buffer(0), 0)
    queue.publish(0)


def a_buffer_shorter_than_its_header(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + queue.buffer(0), NET_HEADER_LENGTH - 1)
    queue.publish(0)


def an_indirect_table_outside_the_memory(peer):
    queue = _transmit(peer)
    queue.describe(0, UNMAPPED, 64, DESC_INDIRECT)
    queue.publish(0)


def an_indirect_table_that_points_to_itself(peer):
    queue = _transmit(peer)
    table = queue.buffer(0)
    struct.pack_into("<QIHH", peer.memory.bytes, table, GUEST_BASE + table, 16, DESC_INDIRECT | DESC_NEXT, 0)
    queue.describe(0, GUEST_BASE + table, 16, DESC_INDIRECT)
    queue.publish(0)


def an_indirect_table_of_odd_length(peer):
    queue = _transmit(peer)
    queue.describe(0, GUEST_BASE + queue.buffer(0), 17, DESC_INDIRECT)
    queue.publish(0)


ON_SPLIT_RINGS = [
    an_available_index_that_jumps, an_available_index_that_goes_back, a_head_outside_the_ring,
    a_chain_that_leaves_the_ring, a_descriptor_that_follows_itself, a_loop_of_two_descriptors,
    a_loop_in_the_receive_ring, a_receive_buffer_outside_the_memory, a_receive_buffer_of_no_length,
    a_buffer_outside_the_memory, a_buffer_that_ends_outside_the_memory, a_buffer_of_four_gigabytes,
    a_buffer_of_no_length, a_buffer_shorter_than_its_header, an_indirect_table_outside_the_memory,
    an_indirect_table_that_points_to_itself, an_indirect_table_of_odd_length,
]


# --- on packed rings ---------------------------------------------------------------------------------------------

def _offer_packed(peer, address, length, identity=0, flags=0):
    queue = _transmit(peer)
    queue.describe(queue.next, address, length, identity, flags)
    queue.next += 1


def a_packed_identity_outside_the_ring(peer):
    queue = _transmit(peer)
    _offer_packed(peer, GUEST_BASE + queue.buffer(0), 100, identity=40_000)


def a_packed_chain_without_end(peer):
    queue = _transmit(peer)
    for number in range(queue.size):
        _offer_packed(peer, GUEST_BASE + queue.buffer(number), 64, number, DESC_NEXT)


def a_packed_buffer_outside_the_memory(peer):
    _offer_packed(peer, UNMAPPED, 100)


def a_packed_buffer_of_four_gigabytes(peer):
    _offer_packed(peer, GUEST_BASE + _transmit(peer).buffer(0), 0xFFFF_FFFF)


def a_packed_buffer_of_no_length(peer):
    _offer_packed(peer, GUEST_BASE + _transmit(peer).buffer(0), 0)


def a_packed_indirect_table_outside_the_memory(peer):
    _offer_packed(peer, UNMAPPED, 64, flags=DESC_INDIRECT)


ON_PACKED_RINGS = [
    a_packed_identity_outside_the_ring, a_packed_chain_without_end, a_packed_buffer_outside_the_memory,
    a_packed_buffer_of_four_gigabytes, a_packed_buffer_of_no_length, a_packed_indirect_table_outside_the_memory,
]


# --- frames ------------------------------------------------------------------------------------------------------

def frame_of(length):
    """An attack: a frame of `length` bytes in one buffer."""
    def attack(peer):
        queue = _transmit(peer)
        assert NET_HEADER_LENGTH + length <= GIANT_LENGTH
        octets = bytes(NET_HEADER_LENGTH) + bytes.fromhex("ffffffffffff 02badbadbad0 88b5") + bytes(length)
        peer.memory.bytes[peer.giant:peer.giant + NET_HEADER_LENGTH + length] = octets[:NET_HEADER_LENGTH + length]
        if hasattr(queue, "publish"):
            queue.describe(0, GUEST_BASE + peer.giant, NET_HEADER_LENGTH + length)
            queue.publish(0)
        else:
            _offer_packed(peer, GUEST_BASE + peer.giant, NET_HEADER_LENGTH + length)
    attack.__name__ = f"a_frame_of_{length}_bytes"
    return attack


FRAMES = [frame_of(length) for length in (0, 1, 13, 65_535)]
