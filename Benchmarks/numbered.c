/* Preloaded into a switch under test: makes the packets that net_pcap0 and net_pcap1 replay those of many connections.
 *
 * A capture with a packet of each of a million connections would be gigabytes of hugepages in every switch. So both ports get a
 * receive callback, on the switch's own polling core and at the same few nanoseconds for every switch, that writes the ports of
 * one connection after the other into UDP packets over IPv4 (no tag, no options, no UDP checksum): those of net_pcap1 are the
 * answers to those of net_pcap0.
 *
 *   NUMBERED_CONNECTIONS=n    so many in turn; 0: none comes twice, and those of the two ports are others
 *   NUMBERED_SYNS=n           so many packets of net_pcap0 a second become first segments of TCP connections that none comes
 *                             twice of, and the other packets stay as they are; 0: all stay. Either way what the switch
 *                             sends is counted. The first million of packets stay: what the flood is to disturb is there
 *   NUMBERED_COUNT=path       a file of 16 bytes: how many packets were of connections that nobody had seen before, and how
 *                             many packets were sent that are not TCP
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

enum { NETWORK = 14, PROTOCOL = 23, TRANSPORT = 34, PORTS = 60000, FIRST_PORT = 1024, LEAST_LENGTH = 60, CALM = 1000000 };

struct headers {
    struct rte_ipv4_hdr ip;
    struct rte_tcp_hdr tcp;
} __attribute__((packed));

static struct headers syn;
static uint32_t syn_sum;
static uint64_t connections, syns_per_second, next[2], last, syn_number;
static double due;
static volatile uint64_t *counts;

/* Every number has other ports. */
static void put_ports(uint8_t *at, uint64_t number, int is_reply)
{
    uint16_t one = rte_cpu_to_be_16((uint16_t)(FIRST_PORT + number % PORTS));
    uint16_t other = rte_cpu_to_be_16((uint16_t)(FIRST_PORT + number / PORTS % PORTS));
    memcpy(at, is_reply ? &other : &one, 2);
    memcpy(at + 2, is_reply ? &one : &other, 2);
}

/* Once for all of them, but for their ports: what they take of the switch's core is to be little. */
static void prepare_syn(const uint8_t *frame)
{
    memcpy(&syn.ip, frame + NETWORK, sizeof syn.ip);
    syn.ip.total_length = rte_cpu_to_be_16(sizeof syn);
    syn.ip.next_proto_id = IPPROTO_TCP;
    syn.ip.hdr_checksum = 0;
    syn.ip.hdr_checksum = rte_ipv4_cksum(&syn.ip);
    syn.tcp.data_off = 5 << 4;
    syn.tcp.tcp_flags = RTE_TCP_SYN_FLAG;
    syn.tcp.rx_win = 0xffff;
    syn_sum = (uint16_t)~rte_ipv4_udptcp_cksum(&syn.ip, &syn.tcp);
}

static void make_syn(uint8_t *frame)
{
    if (syn_number == 0)
        prepare_syn(frame);
    put_ports((uint8_t *)&syn.tcp, syn_number++, 0);
    uint32_t sum = syn_sum + syn.tcp.src_port + syn.tcp.dst_port;
    sum = (sum & 0xffff) + (sum >> 16);
    syn.tcp.cksum = (uint16_t)~((sum & 0xffff) + (sum >> 16));
    memcpy(frame + NETWORK, &syn, sizeof syn);
}

/* A port's number among the two is the callback's context. */
static uint16_t received(uint16_t port, uint16_t queue, struct rte_mbuf *packets[], uint16_t length, uint16_t room,
                         void *context)
{
    int second = context != NULL;
    (void)port, (void)queue, (void)room;
    for (uint16_t index = 0; index < length; index++) {
        uint8_t *frame = rte_pktmbuf_mtod(packets[index], uint8_t *);
        if (packets[index]->data_len < LEAST_LENGTH)
            continue;
        put_ports(frame + TRANSPORT, next[second]++, second);
        if (connections && next[second] == connections)
            next[second] = 0;
    }
    if (!connections)
        counts[0] += length;
    return length;
}

static uint16_t flooded(uint16_t port, uint16_t queue, struct rte_mbuf *packets[], uint16_t length, uint16_t room,
                        void *context)
{
    static uint32_t chance = 1, calm;
    uint64_t now = rte_rdtsc();
    uint16_t made = 0;
    (void)port, (void)queue, (void)room, (void)context;
    if (calm < CALM) {
        calm += length;
        last = now;
        return length;
    }
    due += (double)(now - last) * (double)syns_per_second / (double)rte_get_tsc_hz();
    last = now;
    uint32_t wanted = due < length ? (uint32_t)due : length;
    /* Any places, each as likely as another (selection sampling, Knuth's algorithm S): no connection ends, and none always
     * comes behind the flood. */
    for (uint16_t index = 0; made < wanted; index++) {
        chance ^= chance << 13, chance ^= chance >> 17, chance ^= chance << 5;
        if ((uint64_t)chance * (length - index) >> 32 < wanted - made)
            make_syn(rte_pktmbuf_mtod(packets[index], uint8_t *)), made++;
    }
    due -= made;
    if (due > length) /* a pause is not made up for */
        due = length;
    counts[0] += made;
    return length;
}

static uint16_t sent(uint16_t port, uint16_t queue, struct rte_mbuf *packets[], uint16_t length, void *context)
{
    uint64_t others = 0;
    (void)port, (void)queue, (void)context;
    for (uint16_t index = 0; index < length; index++)
        others += rte_pktmbuf_mtod(packets[index], uint8_t *)[PROTOCOL] != IPPROTO_TCP;
    counts[1] += others;
    return length;
}

static int prepare(void)
{
    const char *path = getenv("NUMBERED_COUNT"), *text = getenv("NUMBERED_CONNECTIONS"), *syns = getenv("NUMBERED_SYNS");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0)
        return -1;
    counts = mmap(NULL, 2 * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    connections = text ? strtoull(text, NULL, 10) : 0;
    syns_per_second = syns ? strtoull(syns, NULL, 10) : 0;
    next[1] = connections ? 0 : (uint64_t)PORTS * PORTS / 2;
    last = rte_rdtsc();
    return counts == MAP_FAILED ? -1 : 0;
}

static const void *watch(uint16_t port, int number)
{
    const void *(*add)(uint16_t, uint16_t, rte_rx_callback_fn, void *) =
        (const void *(*)(uint16_t, uint16_t, rte_rx_callback_fn, void *))dlsym(RTLD_NEXT, "rte_eth_add_rx_callback");
    const void *(*add_sent)(uint16_t, uint16_t, rte_tx_callback_fn, void *) =
        (const void *(*)(uint16_t, uint16_t, rte_tx_callback_fn, void *))dlsym(RTLD_NEXT, "rte_eth_add_tx_callback");
    if (!getenv("NUMBERED_SYNS"))
        return add(port, 0, received, number ? &next : NULL);
    if (number == 0 && !add(port, 0, flooded, NULL))
        return NULL;
    return add_sent(port, 0, sent, NULL);
}

int rte_eth_dev_start(uint16_t port)
{
    int (*start)(uint16_t) = (int (*)(uint16_t))dlsym(RTLD_NEXT, "rte_eth_dev_start");
    int (*name_of)(uint16_t, char *) = (int (*)(uint16_t, char *))dlsym(RTLD_NEXT, "rte_eth_dev_get_name_by_port");
    static int is_watched[2];
    char name[RTE_ETH_NAME_MAX_LEN];
    int result = start(port);
    if (result != 0 || name_of(port, name) != 0 || strncmp(name, "net_pcap", 8) != 0 || (name[8] & ~1) != '0')
        return result;
    int number = name[8] - '0';
    /* Without it the benchmark would measure something else and not know. */
    if (!is_watched[number] && ((!counts && prepare() != 0) || !watch(port, number)))
        abort();
    is_watched[number] = 1;
    return result;
}
