/* Probes through the switch, run inside a guest; linked statically because the guest has no libc.
 *
 *   probe echo                            sends every probe back
 *   probe send ADDRESS INTERVAL_MS COUNT  sends COUNT numbered probes and prints
 *                                         "under way" once the first answers are there, and at the end
 *                                         "sent N lost N gap_ms X resumed YES|NO"
 *
 * gap_ms is the longest stretch of time between two answered probes, by the time they were sent, less one
 * interval: what a steady flow would have missed. It does not depend on the interval being kept exactly.
 * resumed says whether the last probes were answered. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { PORT = 7007, MOST = 100000, FIRST = 100 };

static double sent_at[MOST];
static unsigned char answered[MOST];

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static int echo(int endpoint) {
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    if (bind(endpoint, (struct sockaddr *)&self, sizeof self) != 0) return perror("bind"), 1;
    for (;;) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        uint32_t number;
        if (recvfrom(endpoint, &number, sizeof number, 0, (struct sockaddr *)&peer, &length) == sizeof number)
            sendto(endpoint, &number, sizeof number, 0, (struct sockaddr *)&peer, length);
    }
}

/* Takes answers until the given time. */
static void receive(int endpoint, double until, int count) {
    for (double left = until - now_ms(); left > 0; left = until - now_ms()) {
        struct timespec wait = {.tv_sec = left / 1e3, .tv_nsec = (long)(left * 1e6) % 1000000000};
        struct pollfd ready = {.fd = endpoint, .events = POLLIN};
        uint32_t number;
        if (ppoll(&ready, 1, &wait, NULL) > 0 && recv(endpoint, &number, sizeof number, 0) == sizeof number
            && ntohl(number) < (uint32_t)count)
            answered[ntohl(number)] = 1;
    }
}

static void report(int count, double interval) {
    double gap = 0, last = sent_at[0] - interval;
    int lost = 0;
    for (int i = 0; i < count; i++) {
        if (!answered[i]) {
            lost++;
            continue;
        }
        if (sent_at[i] - last - interval > gap) gap = sent_at[i] - last - interval;
        last = sent_at[i];
    }
    int resumed = sent_at[count - 1] - last <= 20 * interval;
    if (!resumed) gap = sent_at[count - 1] - last;
    printf("sent %d lost %d gap_ms %.1f resumed %s\n", count, lost, gap, resumed ? "YES" : "NO");
}

static int probe(int endpoint, const char *address, double interval, int count) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    if (inet_pton(AF_INET, address, &peer.sin_addr) != 1 || count < 1 || count > MOST) return 2;
    double next = now_ms();
    for (int i = 0; i < count; i++) {
        uint32_t number = htonl(i);
        sent_at[i] = now_ms();
        /* A refusal (no carrier while the switch is away) is a lost probe like any other. */
        sendto(endpoint, &number, sizeof number, MSG_DONTWAIT, (struct sockaddr *)&peer, sizeof peer);
        next += interval;
        /* A guest that was starved does not catch up in a burst. */
        if (next < now_ms()) next = now_ms();
        receive(endpoint, next, count);
        if (i == FIRST && answered[i - 1]) puts("under way"), fflush(stdout);
    }
    receive(endpoint, now_ms() + 500, count);
    report(count, interval);
    return 0;
}

int main(int argc, char **argv) {
    int endpoint = socket(AF_INET, SOCK_DGRAM, 0);
    if (argc == 2 && strcmp(argv[1], "echo") == 0) return echo(endpoint);
    if (argc == 5 && strcmp(argv[1], "send") == 0) return probe(endpoint, argv[2], atof(argv[3]), atoi(argv[4]));
    fprintf(stderr, "usage: probe echo | probe send ADDRESS INTERVAL_MS COUNT\n");
    return 2;
}
