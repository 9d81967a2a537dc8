/* Octets through a TCP connection, run inside a guest; linked statically because the guest has no libc. As nc, which
 * carries them a kilobyte at a time: in an emulated guest that takes four times as long.
 *
 *   carry take PORT           writes what the first connection brings to its standard output
 *   carry give ADDRESS PORT   connects, and sends its standard input */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int failed(const char *what) {
    perror(what);
    return 1;
}

static int copy(int from, int to) {
    static char octets[1 << 16];
    ssize_t count;
    while ((count = read(from, octets, sizeof octets)) > 0)
        for (ssize_t done = 0, part; done < count; done += part)
            if ((part = write(to, octets + done, (size_t)(count - done))) < 0) return failed("write");
    return count < 0 ? failed("read") : 0;
}

static int take(int endpoint, const char *port) {
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (bind(endpoint, (struct sockaddr *)&self, sizeof self) != 0 || listen(endpoint, 1) != 0) return failed("listen");
    int connection = accept(endpoint, NULL, NULL);
    return connection < 0 ? failed("accept") : copy(connection, 1);
}

static int give(int endpoint, const char *address, const char *port) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, address, &peer.sin_addr) != 1) return 2;
    if (connect(endpoint, (struct sockaddr *)&peer, sizeof peer) != 0) return failed("connect");
    return copy(0, endpoint);
}

int main(int argc, char **argv) {
    int endpoint = socket(AF_INET, SOCK_STREAM, 0);
    if (argc == 3 && strcmp(argv[1], "take") == 0) return take(endpoint, argv[2]);
    if (argc == 4 && strcmp(argv[1], "give") == 0) return give(endpoint, argv[2], argv[3]);
    fprintf(stderr, "usage: carry take PORT | carry give ADDRESS PORT\n");
    return 2;
}
