#include "packet.h"

#include <arpa/inet.h>
#include <string.h>

bool martlet_read_address(const uint8_t *text, uint32_t length, bool is_ipv6, void *address) {
    char line[INET6_ADDRSTRLEN];
    if (length >= sizeof line) return false;
    memcpy(line, text, length);
    line[length] = 0;
    return inet_pton(is_ipv6 ? AF_INET6 : AF_INET, line, address) == 1;
}
