#define _GNU_SOURCE
#include "probe.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

static struct probe_counts counts;

// The program's own definitions come before the C library's.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) { counts.allocations++; return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { counts.allocations++; return __libc_calloc(count, size); }
void *realloc(void *former, size_t size) { counts.allocations++; return __libc_realloc(former, size); }
void *aligned_alloc(size_t alignment, size_t size) { counts.allocations++; return __libc_memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
    counts.allocations++;
    *result = __libc_memalign(alignment, size);
    return *result == NULL ? 12 : 0;
}

static int (*next_lock)(pthread_mutex_t *);
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    if (next_lock == NULL) next_lock = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
    counts.locks++;
    return next_lock(mutex);
}

struct probe_counts probe_read(void) { return counts; }

void probe_exercise(void) {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
    free(malloc(1));
}
