// What Swift cannot import of DPDK 22.11: macros, over-aligned structs, thread-local errno. No policy, no state,
// no packet loop. Everything else is used as DPDK declares it.
#ifndef MARTLET_CDPDK_H
#define MARTLET_CDPDK_H

#define _GNU_SOURCE
// For rte_ip_frag_table_del_expired_entries.
#define ALLOW_EXPERIMENTAL_API
#include <rte_config.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <rte_bus.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ip_frag.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>
#include <rte_version.h>
#include <rte_vhost.h>

#include "packet.h"

// CPacket's view of a packet is DPDK's own.
#define MARTLET_SAME(ours, theirs)                                                                     \
    _Static_assert(offsetof(struct martlet_packet, ours) == offsetof(struct rte_mbuf, theirs), #ours); \
    _Static_assert(sizeof(((struct martlet_packet *)0)->ours) == sizeof(((struct rte_mbuf *)0)->theirs), #ours)
MARTLET_SAME(buffer, buf_addr);
MARTLET_SAME(iova, buf_iova);
MARTLET_SAME(data_off, data_off);
MARTLET_SAME(refcnt, refcnt);
MARTLET_SAME(segment_count, nb_segs);
MARTLET_SAME(port, port);
MARTLET_SAME(ol_flags, ol_flags);
MARTLET_SAME(packet_type, packet_type);
MARTLET_SAME(packet_length, pkt_len);
MARTLET_SAME(data_length, data_len);
MARTLET_SAME(vlan_tci, vlan_tci);
MARTLET_SAME(hash, hash);
MARTLET_SAME(vlan_tci_outer, vlan_tci_outer);
MARTLET_SAME(buffer_length, buf_len);
MARTLET_SAME(pool, pool);
MARTLET_SAME(next, next);
MARTLET_SAME(tx_offload, tx_offload);
MARTLET_SAME(shared_info, shinfo);
MARTLET_SAME(private_size, priv_size);
MARTLET_SAME(timesync, timesync);
MARTLET_SAME(dynfield, dynfield1);
_Static_assert(sizeof(struct martlet_packet) == sizeof(struct rte_mbuf), "size of a packet");

static inline int martlet_errno(void) { return rte_errno; }

// Bursts. Packets are rte_mbufs under CPacket's name.

static inline uint16_t martlet_eth_receive(uint16_t port, uint16_t queue, struct martlet_packet **packets,
                                           uint16_t count) {
    return rte_eth_rx_burst(port, queue, (struct rte_mbuf **)packets, count);
}

static inline uint16_t martlet_eth_transmit(uint16_t port, uint16_t queue, struct martlet_packet **packets,
                                            uint16_t count) {
    return rte_eth_tx_burst(port, queue, (struct rte_mbuf **)packets, count);
}

static inline uint16_t martlet_vhost_receive(int vid, uint16_t vring, struct rte_mempool *pool,
                                             struct martlet_packet **packets, uint16_t count) {
    return rte_vhost_dequeue_burst(vid, vring, pool, (struct rte_mbuf **)packets, count);
}

static inline uint16_t martlet_vhost_transmit(int vid, uint16_t vring, struct martlet_packet **packets,
                                              uint16_t count) {
    return rte_vhost_enqueue_burst(vid, vring, (struct rte_mbuf **)packets, count);
}

static inline unsigned martlet_ring_receive(struct rte_ring *ring, struct martlet_packet **packets,
                                            unsigned count) {
    return rte_ring_dequeue_burst(ring, (void **)packets, count, NULL);
}

static inline unsigned martlet_ring_transmit(struct rte_ring *ring, struct martlet_packet **packets,
                                             unsigned count) {
    return rte_ring_enqueue_burst(ring, (void *const *)packets, count, NULL);
}

static inline void martlet_free(struct martlet_packet **packets, unsigned count) {
    rte_pktmbuf_free_bulk((struct rte_mbuf **)packets, count);
}

// A deep copy from the packet's own pool, with the pool's headroom in front.
static inline struct martlet_packet *martlet_copy_packet(const struct martlet_packet *packet) {
    return (struct martlet_packet *)rte_pktmbuf_copy((const struct rte_mbuf *)packet,
                                                     (struct rte_mempool *)packet->pool, 0, UINT32_MAX);
}

// A deep copy of a packet's first bytes into buffers of a pool.
static inline struct martlet_packet *martlet_copy_into(struct rte_mempool *pool, const struct martlet_packet *packet,
                                                       uint32_t length) {
    return (struct martlet_packet *)rte_pktmbuf_copy((const struct rte_mbuf *)packet, pool, 0, length);
}

static inline void martlet_copy_bytes(const struct martlet_packet *packet, void *to, uint32_t length) {
    const void *bytes = rte_pktmbuf_read((const struct rte_mbuf *)packet, 0, length, to);
    if (bytes != NULL && bytes != to) __builtin_memcpy(to, bytes, length);
}

// A packet with a frame of at most `length` bytes in one buffer, or NULL when there is none or it has no room.
static inline struct martlet_packet *martlet_make(struct rte_mempool *pool, const void *bytes, uint16_t length) {
    struct rte_mbuf *packet = rte_pktmbuf_alloc(pool);
    if (packet == NULL) return NULL;
    void *frame = rte_pktmbuf_append(packet, length);
    if (frame == NULL) {
        rte_pktmbuf_free(packet);
        return NULL;
    }
    __builtin_memcpy(frame, bytes, length);
    return (struct martlet_packet *)packet;
}

// Fragments. `header` is the IP header, that of IPv6 with the fragment header behind it: 20 or 48 bytes.

static inline struct martlet_packet *martlet_reassemble_ipv4(struct rte_ip_frag_tbl *table,
                                                             struct rte_ip_frag_death_row *row,
                                                             struct martlet_packet *packet, uint64_t time, void *header) {
    return (struct martlet_packet *)rte_ipv4_frag_reassemble_packet(table, row, (struct rte_mbuf *)packet, time,
                                                                    (struct rte_ipv4_hdr *)header);
}

static inline struct martlet_packet *martlet_reassemble_ipv6(struct rte_ip_frag_tbl *table,
                                                             struct rte_ip_frag_death_row *row,
                                                             struct martlet_packet *packet, uint64_t time, void *header) {
    struct rte_ipv6_hdr *fixed = (struct rte_ipv6_hdr *)header;
    return (struct martlet_packet *)rte_ipv6_frag_reassemble_packet(table, row, (struct rte_mbuf *)packet, time, fixed,
                                                                    (struct rte_ipv6_fragment_ext *)(fixed + 1));
}

static inline struct martlet_packet **martlet_row_packets(struct rte_ip_frag_death_row *row) {
    return (struct martlet_packet **)row->row;
}

static inline uint64_t martlet_header_lengths(uint16_t link, uint16_t network) {
    return rte_mbuf_tx_offload(link, network, 0, 0, 0, 0, 0);
}

// A spin lock, for a transmit queue that several workers must share.
static inline void martlet_lock(rte_spinlock_t *lock) { rte_spinlock_lock(lock); }
static inline void martlet_unlock(rte_spinlock_t *lock) { rte_spinlock_unlock(lock); }

// A stream for rte_openlog_stream that hands every message to `write`.
typedef void (*martlet_log_write)(const char *text, size_t length);
FILE *martlet_log_stream(martlet_log_write write);

// rte_eal_init, without most of what it sleeps.
int martlet_eal_init(int count, char **arguments);

// A guest that maps memory beyond its file's end, or cuts the file short later, makes every access there a SIGBUS:
// in a worker or inside librte_vhost, at any moment. From this call on such a page is replaced by an empty one and the
// access goes on; the guest harms nobody but itself. DPDK's own memory, and what is no mapping, still ends the process.
void martlet_survive_vanished_memory(void);

// Constants behind macros with casts.
static const uint64_t martlet_rx_scatter = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t martlet_tx_multi_segs = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t martlet_rss_ip_tcp_udp = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
static const uint16_t martlet_mbuf_room = RTE_MBUF_DEFAULT_BUF_SIZE;
static const int martlet_any_socket = SOCKET_ID_ANY;
static const unsigned martlet_no_thread = RTE_QSBR_THRID_INVALID;
static const unsigned martlet_maximum_lcores = RTE_MAX_LCORE;

#endif
