/* Frames into the rings of Martlet's ports, and what comes out of them: a DPDK secondary process.
 *
 *   exchange EAL-OPTIONS --proc-type=secondary -- FROM TO PORT...
 *
 * FROM and TO are two ports of a bridge of their own. Prints "attached" on stderr when it has found all rings.
 *
 *   stdin:   count, then so often: group, port, length, octets
 *   stdout:  count, then so often: group, port, length, octets
 *
 * count is of 32 bits, the others of 16, in the machine's byte order; port counts the PORTs from 0. Frames of a group
 * come one after the other and are for one port: they go in at once. What leaves is of the group that went in last,
 * because the next one waits until the switch is through with it: when its ring is empty the worker has taken the last
 * burst, and a frame that came from FROM to TO after that says that the worker has sent what became of that burst. So
 * the switch must have one worker. */
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BURST = 32, PORTS = 64, LONGEST = 65535, SECONDS = 20 };

struct header {
    uint16_t group, port, length;
};

/* As the other process, the switch, names them: `in` is what it receives from. */
struct port {
    struct rte_ring *in, *out;
};

static struct rte_mempool *pool;
static struct port from, to, ports[PORTS];
static unsigned port_count;
static char *answer;
static size_t answer_length, answer_capacity;
static uint32_t answer_count;

static void fail(const char *what) {
    fprintf(stderr, "exchange: %s\n", what);
    exit(1);
}

static struct rte_ring *find_ring(const char *port, const char *direction) {
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof name, "%s.%s", port, direction);
    struct rte_ring *ring = rte_ring_lookup(name);
    if (ring == NULL) fail(name);
    return ring;
}

static struct port find(const char *name) {
    return (struct port){.in = find_ring(name, "tx"), .out = find_ring(name, "rx")};
}

/* The switch's own buffers: what it frees must be of a pool that it knows. */
static void take_pool(struct rte_mempool *found, void *unused) {
    (void)unused;
    if (pool == NULL && found->private_data_size >= sizeof(struct rte_pktmbuf_pool_private)) pool = found;
}

/* False at the end of the input. */
static int read_all(void *place, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t count = read(0, (char *)place + done, length - done);
        if (count <= 0) return 0;
        done += (size_t)count;
    }
    return 1;
}

static void write_all(const void *place, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t count = write(1, (const char *)place + done, length - done);
        if (count <= 0) exit(0);
        done += (size_t)count;
    }
}

static void append(const void *place, size_t length) {
    if (answer_length + length > answer_capacity) {
        answer_capacity = 2 * (answer_length + length);
        answer = realloc(answer, answer_capacity);
        if (answer == NULL) fail("no memory");
    }
    memcpy(answer + answer_length, place, length);
    answer_length += length;
}

static void append_frame(uint16_t group, uint16_t port, const struct rte_mbuf *frame) {
    struct header header = {group, port, (uint16_t)rte_pktmbuf_pkt_len(frame)};
    append(&header, sizeof header);
    for (; frame != NULL; frame = frame->next) append(rte_pktmbuf_mtod(frame, void *), rte_pktmbuf_data_len(frame));
    answer_count++;
}

static void drain(uint16_t group) {
    struct rte_mbuf *frames[BURST];
    for (uint16_t port = 0; port < port_count; port++) {
        unsigned count;
        while ((count = rte_ring_dequeue_burst(ports[port].out, (void **)frames, BURST, NULL)) != 0) {
            for (unsigned i = 0; i < count; i++) append_frame(group, port, frames[i]);
            rte_pktmbuf_free_bulk(frames, count);
        }
    }
}

/* In as many buffers as it takes. */
static struct rte_mbuf *frame_of(const uint8_t *octets, uint16_t length) {
    struct rte_mbuf *frame = NULL;
    do {
        struct rte_mbuf *part = rte_pktmbuf_alloc(pool);
        if (part == NULL) fail("no buffer for a frame");
        uint16_t count = RTE_MIN(length, rte_pktmbuf_tailroom(part));
        memcpy(rte_pktmbuf_append(part, count), octets, count);
        if (frame == NULL)
            frame = part;
        else if (rte_pktmbuf_chain(frame, part) != 0)
            fail("a frame of too many buffers");
        octets += count;
        length -= count;
    } while (length != 0);
    return frame;
}

static void send(struct rte_ring *ring, struct rte_mbuf *frame) {
    if (rte_ring_enqueue(ring, frame) != 0) fail("a ring is full");
}

/* Until the switch is through with what it got. */
static void settle(struct rte_ring *last, uint16_t group) {
    static const uint8_t sentinel[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0xfe, 0x88, 0xb5};
    uint64_t limit = rte_get_timer_cycles() + SECONDS * rte_get_timer_hz();
    struct rte_mbuf *back;
    int asked = 0;
    while (!asked || rte_ring_dequeue(to.out, (void **)&back) != 0) {
        if (!asked && rte_ring_empty(last)) {
            send(from.in, frame_of(sentinel, sizeof sentinel));
            asked = 1;
        }
        drain(group);
        if (rte_get_timer_cycles() > limit) fail(asked ? "a sentinel is lost" : "a port is not polled");
        sched_yield();
    }
    rte_pktmbuf_free(back);
    drain(group);
}

/* One request and its answer. False at the end of the input. */
static int serve(void) {
    static uint8_t octets[LONGEST];
    uint32_t count;
    if (!read_all(&count, sizeof count)) return 0;
    answer_length = answer_count = 0;
    struct rte_ring *last = NULL;
    uint16_t group = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct header header;
        if (!read_all(&header, sizeof header) || !read_all(octets, header.length)) return 0;
        if (header.port >= port_count) fail("no such port");
        if (last != NULL && header.group != group) settle(last, group);
        group = header.group;
        last = ports[header.port].in;
        send(last, frame_of(octets, header.length));
    }
    if (last != NULL) settle(last, group);
    write_all(&answer_count, sizeof answer_count);
    write_all(answer, answer_length);
    return 1;
}

int main(int argc, char **argv) {
    int used = rte_eal_init(argc, argv);
    if (used < 0 || argc - used < 4 || argc - used > PORTS + 3) fail("usage: exchange EAL-OPTIONS -- FROM TO PORT...");
    rte_mempool_walk(take_pool, NULL);
    if (pool == NULL) fail("the switch has no buffers");
    from = find(argv[used + 1]);
    to = find(argv[used + 2]);
    for (int word = used + 3; word < argc; word++) ports[port_count++] = find(argv[word]);
    fprintf(stderr, "attached\n");
    while (serve()) continue;
    rte_eal_cleanup();
    return 0;
}
