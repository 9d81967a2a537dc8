/* A network function in a process of its own: a DPDK secondary process that attaches to the rings of a Martlet port
 * and sends every frame back with its addresses swapped, until SIGTERM.
 *
 *   secondary EAL-OPTIONS --proc-type=secondary -- NAME
 *
 * It receives from the ring NAME.rx and sends to NAME.tx. Prints "attached" when it has found both. */
#include <rte_eal.h>
#include <rte_ether.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <signal.h>
#include <stdio.h>

enum { BURST = 32 };

static volatile sig_atomic_t ended;

static void end(int signal) {
    (void)signal;
    ended = 1;
}

static struct rte_ring *find(const char *port, const char *direction) {
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof name, "%s.%s", port, direction);
    struct rte_ring *ring = rte_ring_lookup(name);
    if (ring == NULL) fprintf(stderr, "no ring %s\n", name);
    return ring;
}

static void send_back(struct rte_ring *to, struct rte_mbuf **frames, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct rte_ether_hdr *header = rte_pktmbuf_mtod(frames[i], struct rte_ether_hdr *);
        struct rte_ether_addr source = header->src_addr;
        header->src_addr = header->dst_addr;
        header->dst_addr = source;
    }
    unsigned sent = rte_ring_enqueue_burst(to, (void **)frames, count, NULL);
    rte_pktmbuf_free_bulk(frames + sent, count - sent);
}

int main(int argc, char **argv) {
    int used = rte_eal_init(argc, argv);
    if (used < 0 || argc - used != 2) return fprintf(stderr, "usage: secondary EAL-OPTIONS -- NAME\n"), 2;
    signal(SIGTERM, end);
    struct rte_ring *from = find(argv[used + 1], "rx"), *to = find(argv[used + 1], "tx");
    if (from == NULL || to == NULL) return 1;
    printf("attached\n");
    fflush(stdout);
    while (!ended) {
        struct rte_mbuf *frames[BURST];
        unsigned count = rte_ring_dequeue_burst(from, (void **)frames, BURST, NULL);
        if (count != 0) send_back(to, frames, count);
    }
    rte_eal_cleanup();
    return 0;
}
