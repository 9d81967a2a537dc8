/* Preloaded into a switch under test: gives packets that net_pcap0 replays headers that nobody has seen before.
 *
 * A capture repeats itself, and what a switch does with a header for the first time shows once in it. So the port gets a
 * receive callback, on the switch's own polling core and at the same few nanoseconds for every switch, that writes other
 * addresses and ports into some of the packets: UDP or TCP over IPv4, no tag, no options.
 *
 *   FRESH_SHARE=0.5       of all packets, at random
 *   FRESH_PER_SECOND=n    so many, as evenly as bursts come
 *   FRESH_RANGE=n         nw_src 10.0.0.0/8 in n networks of 24 bits and tp_dst below n; else any nw_src and any tp_dst
 *   FRESH_COUNT=path      a file of 8 bytes, which says how many there were
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

enum { SOURCE = 26, CHECKSUM = 24, SOURCE_PORT = 34, DESTINATION_PORT = 36, LEAST_LENGTH = 42 };

static uint64_t share, per_second, range, state = 88172645463325252u, last;
static double due;
static volatile uint64_t *count;

/* Marsaglia, "Xorshift RNGs", 2003. */
static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint16_t word(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static void put(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The IPv4 checksum goes along (RFC 1624, equation 3); the captures' UDP has none. */
static void put_summed(uint8_t *frame, int at, uint16_t value)
{
    uint32_t sum = (uint16_t)~word(frame + CHECKSUM) + (uint16_t)~word(frame + at) + (uint32_t)value;
    sum = (sum & 0xffff) + (sum >> 16);
    put(frame + CHECKSUM, (uint16_t)~((sum & 0xffff) + (sum >> 16)));
    put(frame + at, value);
}

static void freshen(struct rte_mbuf *packet)
{
    uint8_t *frame = rte_pktmbuf_mtod(packet, uint8_t *);
    uint64_t random = next_random();
    if (packet->data_len < LEAST_LENGTH)
        return;
    uint32_t source = (uint32_t)(random >> 32);
    uint16_t destination_port = (uint16_t)(random >> 16);
    if (range) {
        source = 10u << 24 | (uint32_t)((random >> 40) % range) << 8 | (uint8_t)(random >> 56);
        destination_port = (uint16_t)((random >> 16 & 0xffffff) % range);
    }
    put_summed(frame, SOURCE, (uint16_t)(source >> 16));
    put_summed(frame, SOURCE + 2, (uint16_t)source);
    put(frame + SOURCE_PORT, (uint16_t)random);
    put(frame + DESTINATION_PORT, destination_port);
}

static uint16_t received(uint16_t port, uint16_t queue, struct rte_mbuf *packets[], uint16_t length, uint16_t room,
                         void *context)
{
    uint64_t fresh = 0;
    (void)port, (void)queue, (void)room, (void)context;
    if (per_second) {
        uint64_t now = rte_rdtsc();
        due += (double)(now - last) * (double)per_second / (double)rte_get_tsc_hz();
        last = now;
        for (; fresh < length && due >= 1; due -= 1)
            freshen(packets[fresh++]);
        if (due > length) /* a pause is not made up for */
            due = length;
    } else if (share) {
        for (uint16_t index = 0; index < length; index++) {
            if ((next_random() >> 32) >= share)
                continue;
            freshen(packets[index]);
            fresh++;
        }
    }
    *count += fresh;
    return length;
}

static uint64_t number(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

static int prepare(void)
{
    const char *text = getenv("FRESH_SHARE"), *path = getenv("FRESH_COUNT");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0)
        return -1;
    count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    share = text ? (uint64_t)(strtod(text, NULL) * 4294967296.0) : 0;
    per_second = number("FRESH_PER_SECOND");
    range = number("FRESH_RANGE");
    last = rte_rdtsc();
    return count == MAP_FAILED ? -1 : 0;
}

int rte_eth_dev_start(uint16_t port)
{
    int (*start)(uint16_t) = (int (*)(uint16_t))dlsym(RTLD_NEXT, "rte_eth_dev_start");
    int (*name_of)(uint16_t, char *) = (int (*)(uint16_t, char *))dlsym(RTLD_NEXT, "rte_eth_dev_get_name_by_port");
    const void *(*add)(uint16_t, uint16_t, rte_rx_callback_fn, void *) =
        (const void *(*)(uint16_t, uint16_t, rte_rx_callback_fn, void *))dlsym(RTLD_NEXT, "rte_eth_add_rx_callback");
    static int is_added;
    char name[RTE_ETH_NAME_MAX_LEN];
    int result = start(port);
    if (result == 0 && !is_added && name_of(port, name) == 0 && strcmp(name, "net_pcap0") == 0) {
        /* Without it the benchmark would measure something else and not know. */
        if (prepare() != 0 || !add(port, 0, received, NULL))
            abort();
        is_added = 1;
    }
    return result;
}
