/* ring_fuzz.c - the reader against a ring whose memory and head come from the fuzzer, and the writer against its tail.
 * Input: steps of {u8 what, u8 n, payload}. */
#include "host/worker/ring.h"

enum { SIZE = 256, RECORD_MAX = 600 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _Alignas(8) static uint8_t ring[SIZE];
    static uint8_t payload[1024];
    _Atomic uint64_t head = 0, tail = 0;
    memset(ring, 0, sizeof ring);
    RingWriter w = {.data = ring, .size = SIZE, .shared_head = &head, .peer_tail = &tail};
    RingReader r = {.data = ring, .size = SIZE, .shared_tail = &tail, .peer_head = &head, .record_max = RECORD_MAX};
    Reader in = reader_of(bytes_of(data, size));
    bool honest = true; /* so far nobody lied: then everything written comes out, in order */
    uint64_t written = 0, got = 0;
    for (int steps = 0; steps < 300 && reader_left(&in) >= 2; steps++) {
        uint8_t what = read_u8(&in), n = read_u8(&in);
        Bytes b;
        switch (what % 8) {
        case 0:
            head = read_u64(&in);
            honest = false;
            break;
        case 1:
            head += (uint64_t)n * 8;
            honest = false;
            break;
        case 2: {
            uint64_t v = read_u64(&in);
            store_u64(ring + n % (SIZE / 8) * 8, v);
            honest = false;
            break;
        }
        case 3:
            tail = w.head - n;
            honest = false;
            break;
        case 4: {
            size_t len = (size_t)n * 2;
            memset(payload, (int)written, len);
            ring_write(&w, 2, (Bytes[]){{payload, len / 3}, {payload + len / 3, len - len / 3}});
            written++;
            break;
        }
        case 5: {
            uint8_t *at = ring_write_begin(&w, n);
            if (at) {
                memset(at, (int)written, n);
                ring_write_done(&w);
                written++;
            }
            break;
        }
        case 6: ring_publish(&w); break;
        default:
            while (ring_read(&r, &b)) {
                if (b.len > RECORD_MAX)
                    abort();
                for (size_t i = 0; i < b.len; i++)
                    if (honest && b.ptr[i] != (uint8_t)got)
                        abort();
                got++;
            }
            ring_release(&r);
            if (honest && r.bad)
                abort();
        }
    }
    for (int i = 0; honest && i < 5000 && got < written; i++) {
        Bytes b;
        ring_publish(&w);
        while (ring_read(&r, &b))
            got++;
        ring_release(&r);
    }
    if (honest && got != written)
        abort();
    ring_writer_done(&w);
    ring_reader_done(&r);
    return 0;
}
