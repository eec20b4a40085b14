/* Client messages from untrusted bytes, one after the other as v3 carries them. Results must lie inside the input. */
#include "host/wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(const void *p, size_t n, const uint8_t *data, size_t size)
{
    const uint8_t *q = p;
    if (n && (q < data || q + n > data + size))
        BUG("a result lies outside of the input");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Reader in = reader_of(bytes_of(data, size));
    ClientMessage m;
    Error err;
    while (in.ptr < in.end) {
        const uint8_t *before = in.ptr;
        if (client_message_read(&m, &in, &err) != S_OK)
            return 0;
        ASSERT(in.ptr > before);
        inside(m.name.ptr, m.name.len, data, size);
        inside(m.args.ptr, m.args.len, data, size);
        inside(m.queries.ptr, m.queries.len, data, size);
        Reader q = reader_of(m.queries);
        for (uint32_t i = 0; i < m.nqueries; i++)
            read_str(&q);
        ASSERT(!q.bad && reader_left(&q) == 0);
    }
    return 0;
}
