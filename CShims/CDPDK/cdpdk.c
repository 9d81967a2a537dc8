#include "cdpdk.h"

static ssize_t forward(void *write, const char *text, size_t length) {
    ((martlet_log_write)write)(text, length);
    return (ssize_t)length;
}

FILE *martlet_log_stream(martlet_log_write write) {
    FILE *stream = fopencookie((void *)write, "w", (cookie_io_functions_t){.write = forward});
    if (stream != NULL) setvbuf(stream, NULL, _IOLBF, 0);
    return stream;
}
