/* http_reply_fuzz.c - what a worker hands over as a handler's response. */
#include "host/net/net_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    RouteReply reply;
    if (!route_reply_read(&reply, bytes_of(data, size)))
        return 0;
    if (reply.status < 200 || reply.status > 599)
        abort();
    for (uint32_t i = 0; i < reply.nheaders; i++) { /* what was checked can be read again, and ends no line */
        Str name = read_str(&reply.headers);
        Bytes value = read_blob(&reply.headers);
        if (reply.headers.bad || !name.len || memchr(value.ptr, '\n', value.len) || memchr(value.ptr, 0, value.len))
            abort();
    }
    return 0;
}
