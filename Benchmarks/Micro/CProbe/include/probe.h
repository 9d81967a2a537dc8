// Counts what a packet must not cost: heap allocations and mutexes of this process. (Reference counts cannot be
// counted from outside safely; `@_noLocks` and the disassembly test of Tests/Interop see to those.)
#ifndef MARTLET_PROBE_H
#define MARTLET_PROBE_H

#include <stdint.h>

struct probe_counts {
    uint64_t allocations;  // malloc, calloc, realloc, aligned_alloc, posix_memalign: Swift objects included
    uint64_t locks;        // pthread_mutex_lock
};

// Since the start of the process.
struct probe_counts probe_read(void);

// Allocates and locks, so that a probe that is blind shows.
void probe_exercise(void);

#endif
