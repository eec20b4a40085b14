/* http_frame_fuzz.c - the records of HTTP requests that a worker sends. */
#include "host/egress.h"
#include "host/worker/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    OWN(arena) Arena arena = {0};
    EgressRequest r;
    Error err;
    if (egress_request_read(&r, bytes_of(data, size), &arena, &err) != S_OK)
        return 0;
    if (r.method.len > HTTP_METHOD_BYTES_MAX || r.nheaders > HTTP_HEADERS_MAX || r.body.len > HTTP_BODY_BYTES_MAX)
        abort();
    for (uint32_t i = 0; i < r.nheaders; i++) /* nothing that could end a line */
        if (memchr(r.headers[i].value.ptr, '\n', r.headers[i].value.len) || memchr(r.headers[i].value.ptr, 0, r.headers[i].value.len))
            abort();
    return 0;
}
