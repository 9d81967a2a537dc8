// The layout of a DPDK packet buffer (struct rte_mbuf of DPDK 22.11), without DPDK: what the dataplane reads and
// edits in place. CDPDK asserts at compile time that sizes and offsets are DPDK's own.
#ifndef MARTLET_PACKET_H
#define MARTLET_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct martlet_packet {
    void *buffer;            // start of the buffer; the frame starts at buffer + data_off
    uint64_t iova;
    uint16_t data_off;
    uint16_t refcnt;
    uint16_t segment_count;
    uint16_t port;
    uint64_t ol_flags;
    uint32_t packet_type;
    uint32_t packet_length;  // bytes of the frame, all segments
    uint16_t data_length;    // bytes of the frame in this segment
    uint16_t vlan_tci;
    uint32_t hash[2];
    uint16_t vlan_tci_outer;
    uint16_t buffer_length;
    void *pool;
    struct martlet_packet *next;
    uint64_t tx_offload;
    void *shared_info;
    uint16_t private_size;
    uint16_t timesync;
    uint32_t dynfield[9];
};

// A copy of a packet with buffers of its own, or NULL when there is no memory. The copy has room in front.
typedef struct martlet_packet *(*martlet_copy)(const struct martlet_packet *);

// Has a lane's output queues sent and emptied before a burst is over, because one of them is full.
typedef void (*martlet_drain)(void *context);

// A fragment of an IP packet that is for an endpoint's tunnels, with what was checked of it.
struct martlet_fragment {
    uint16_t endpoint;  // the endpoint's port
    uint16_t network;   // bytes before the IP header
    uint16_t payload;   // bytes before what is a part of the packet: behind IPv6's fragment header
    uint16_t length;    // bytes of that part
    uint8_t tos;
    uint8_t is_ipv4;
};

// Puts a fragment from a port to those of its packet that came before: the whole packet when it was the last one missing,
// NULL otherwise. Owns the fragment; what it drops it has counted.
typedef struct martlet_packet *(*martlet_join)(void *context, struct martlet_packet *, struct martlet_fragment,
                                               uint16_t port);

// Swift rejects what it cannot see into inside a @_noLocks function. This vouches for a C function:
// whoever implements martlet_copy, martlet_drain or martlet_join promises that it neither allocates from the heap nor locks.
#define MARTLET_NO_LOCKS __attribute__((swift_attr("@_noLocks")))

MARTLET_NO_LOCKS static inline struct martlet_packet *martlet_copied(martlet_copy copy,
                                                                     const struct martlet_packet *packet) {
    return copy(packet);
}

MARTLET_NO_LOCKS static inline void martlet_drained(martlet_drain drain, void *context) { drain(context); }

MARTLET_NO_LOCKS static inline struct martlet_packet *martlet_joined(martlet_join join, void *context,
                                                                     struct martlet_packet *packet,
                                                                     struct martlet_fragment fragment,
                                                                     uint16_t port) {
    return join(context, packet, fragment, port);
}

// Fetches the cache line of an address that will be read soon; any address will do.
MARTLET_NO_LOCKS static inline void martlet_prefetch(const void *address) {
    __builtin_prefetch(address, 0, 3);
}

// The numbers of a bucket whose tags are `tag`, or-ed: eight tags, then eight numbers, 16-byte aligned. Swift's own vectors
// compare element by element.
MARTLET_NO_LOCKS static inline uint32_t martlet_matched(const void *bucket, uint32_t tag) {
    typedef uint32_t vector __attribute__((vector_size(16)));
    const vector *words = (const vector *)bucket;
    vector wanted = {tag, tag, tag, tag};
    vector found = ((vector)(words[0] == wanted) & words[2]) | ((vector)(words[1] == wanted) & words[3]);
    return found[0] | found[1] | found[2] | found[3];
}

// Nanoseconds of the monotonic clock: read in user space (vDSO), some 20 ns.
MARTLET_NO_LOCKS static inline uint64_t martlet_nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// The octets of an address that is written as text (inet_pton(3)), in network byte order: four, or sixteen of IPv6.
MARTLET_NO_LOCKS bool martlet_read_address(const uint8_t *text, uint32_t length, bool is_ipv6, void *address);

// CRC-32C, the checksum of SCTP (RFC 9260 appendix A): takes more bytes into a remainder that begins as ~0 and is
// inverted at the end. SSE4.2, which Debian's DPDK asks for as well.
MARTLET_NO_LOCKS __attribute__((target("sse4.2"))) static inline uint32_t martlet_crc32c(uint32_t remainder,
                                                                                         const void *bytes,
                                                                                         uint32_t count) {
    const uint8_t *next = (const uint8_t *)bytes;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        __builtin_memcpy(&word, next, 8);
        remainder = (uint32_t)__builtin_ia32_crc32di(remainder, word);
    }
    while (count--) remainder = __builtin_ia32_crc32qi(remainder, *next++);
    return remainder;
}

#endif
