#include "cdpdk.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

static ssize_t forward(void *write, const char *text, size_t length) {
    ((martlet_log_write)write)(text, length);
    return (ssize_t)length;
}

FILE *martlet_log_stream(martlet_log_write write) {
    FILE *stream = fopencookie((void *)write, "w", (cookie_io_functions_t){.write = forward});
    if (stream != NULL) setvbuf(stream, NULL, _IOLBF, 0);
    return stream;
}

static _Thread_local int is_starting;

int martlet_eal_init(int count, char **arguments) {
    is_starting = 1;
    int result = rte_eal_init(count, arguments);
    is_starting = 0;
    return result;
}

// In front of the C library's. Where the CPU does not tell, rte_eal_init sleeps 100 ms to measure the TSC's frequency,
// by clocks that it reads around the sleep, and rounds to 10 MHz: a tenth of the time is as good, and guests wait for it.
int nanosleep(const struct timespec *time, struct timespec *rest) {
    static const struct timespec enough = {.tv_nsec = 10 * 1000 * 1000};
    int is_long = time->tv_sec > 0 || time->tv_nsec > enough.tv_nsec;
    int error = clock_nanosleep(CLOCK_REALTIME, 0, is_starting && is_long ? &enough : time, rest);
    if (error == 0) return 0;
    errno = error;
    return -1;
}

// Only what signal-safety(7) allows: mmap is a bare system call; the look-up of DPDK's memory reads a fixed table.
static void replace_page(int number, siginfo_t *info, void *context) {
    static const size_t sizes[] = {(size_t)4 << 10, (size_t)2 << 20, (size_t)1 << 30};
    (void)context;
    if (info->si_code == BUS_ADRERR && rte_mem_virt2memseg_list(info->si_addr) == NULL) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *page = (void *)((uintptr_t)info->si_addr & ~(sizes[i] - 1));
            // A part of a hugepage cannot be replaced: the kernel refuses it, and the next size is tried.
            if (mmap(page, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
                     0) != MAP_FAILED) {
                static const char text[] = "martletd: memory that a guest shared has vanished: replaced by an empty page\n";
                ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
                (void)written;
                return;
            }
        }
    }
    signal(number, SIG_DFL);
}

void martlet_survive_vanished_memory(void) {
    struct sigaction action = {.sa_sigaction = replace_page, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
