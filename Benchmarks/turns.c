/* Preloaded into two switches whose polling threads share a core: they poll in turns, each so many rounds.
 *
 * A thread that polls never waits, so the scheduler alone would take the core from it, after milliseconds. By then the rings
 * between the switches have long been full or empty: the figure would be the length of a ring over that of a time slice, and
 * tell nothing of the switch. sched_yield() is not enough: one of them has more turns then, takes more packets than the other can,
 * and loses them on the wire.
 *
 * The wire is the only Ethernet device of such a switch and is polled once in a round, so a receive callback there counts the
 * rounds and hands the core over.
 *
 *   TURN_FILE=path     4 bytes, the number of the switch whose turn it is
 *   TURN_NUMBER=n      of this switch, 0 or 1
 *   TURN_ROUNDS=n
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rte_ethdev.h>

static uint32_t number, rounds_of_a_turn, rounds;
static uint32_t *turn;

static void hand_over(void)
{
    static const struct timespec patience = {.tv_nsec = 1000000}; /* with one that does not poll yet, or no more */
    __atomic_store_n(turn, 1 - number, __ATOMIC_RELEASE);
    syscall(SYS_futex, turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) != number)
        if (syscall(SYS_futex, turn, FUTEX_WAIT, 1 - number, &patience, NULL, 0) != 0 && errno == ETIMEDOUT)
            break;
}

static uint16_t received(uint16_t port, uint16_t queue, struct rte_mbuf *packets[], uint16_t length, uint16_t room,
                         void *context)
{
    (void)port, (void)queue, (void)packets, (void)room, (void)context;
    if (++rounds >= rounds_of_a_turn) {
        rounds = 0;
        hand_over();
    }
    return length;
}

static uint32_t setting(const char *name)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static int prepare(void)
{
    const char *path = getenv("TURN_FILE");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0)
        return -1;
    turn = mmap(NULL, sizeof *turn, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    number = setting("TURN_NUMBER");
    rounds_of_a_turn = setting("TURN_ROUNDS");
    return turn == MAP_FAILED || number > 1 || rounds_of_a_turn == 0 ? -1 : 0;
}

int rte_eth_dev_start(uint16_t port)
{
    int (*start)(uint16_t) = (int (*)(uint16_t))dlsym(RTLD_NEXT, "rte_eth_dev_start");
    const void *(*add)(uint16_t, uint16_t, rte_rx_callback_fn, void *) =
        (const void *(*)(uint16_t, uint16_t, rte_rx_callback_fn, void *))dlsym(RTLD_NEXT, "rte_eth_add_rx_callback");
    int result = start(port);
    if (result == 0 && !turn) {
        /* Without it the benchmark would measure something else and not know. */
        if (prepare() != 0 || !add(port, 0, received, NULL))
            abort();
    }
    return result;
}
