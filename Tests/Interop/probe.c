/* Probes through the switch, run inside a guest; linked statically because the guest has no libc.
 *
 *   probe echo                            sends every probe back
 *   probe send ADDRESS INTERVAL_MS COUNT  sends COUNT numbered probes; prints "under way" when the first are
 *                                         answered, and at the end
 *                                         "sent N lost N lost_ms X silent_ms Y resumed YES|NO"
 *
 * lost_ms is the longest stretch between two answered probes, by the time they were sent, less one interval: what a
 * steady flow misses for good. silent_ms is the longest stretch in which no answer came, less one interval: it also
 * counts the time of probes that waited in a ring or a queue of the guest and were answered late.
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
static double answered_last, silence;
static int answers;

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

static void note(uint32_t number) {
    double now = now_ms();
    if (answers++ > 0 && now - answered_last > silence) silence = now - answered_last;
    answered_last = now;
    answered[number] = 1;
    if (answers == FIRST) puts("under way"), fflush(stdout);
}

/* Takes answers until the given time. */
static void receive(int endpoint, double until, int count) {
    for (double left = until - now_ms(); left > 0; left = until - now_ms()) {
        struct timespec wait = {.tv_sec = left / 1e3, .tv_nsec = (long)(left * 1e6) % 1000000000};
        struct pollfd ready = {.fd = endpoint, .events = POLLIN};
        uint32_t number;
        if (ppoll(&ready, 1, &wait, NULL) > 0 && recv(endpoint, &number, sizeof number, 0) == sizeof number
            && ntohl(number) < (uint32_t)count)
            note(ntohl(number));
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
    if (!resumed) gap = silence = sent_at[count - 1] - last;
    printf("sent %d lost %d lost_ms %.0f silent_ms %.0f resumed %s\n", count, lost, gap,
           silence > interval ? silence - interval : 0, resumed ? "YES" : "NO");
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
