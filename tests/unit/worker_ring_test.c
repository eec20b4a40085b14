/* worker_ring_test.c - ring.h: records of any size, wrapping, pieces, backlog, hostile peers, two threads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "host/worker/ring.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

static uint64_t seed = 1;
static uint64_t rnd(void) { return hash_u64(seed++ * 0x9e3779b97f4a7c15u); }

/* One writer and one reader over plain memory, no area. */
typedef struct Pair {
    _Atomic uint64_t head, tail;
    uint8_t *data;
    RingWriter w;
    RingReader r;
} Pair;
static void pair_init(Pair *p, uint64_t size, size_t record_max)
{
    memset(p, 0, sizeof *p);
    p->data = x_alloc(size);
    p->w = (RingWriter){.data = p->data, .size = size, .shared_head = &p->head, .peer_tail = &p->tail};
    p->r = (RingReader){.data = p->data, .size = size, .shared_tail = &p->tail, .peer_head = &p->head, .record_max = record_max};
}
static void pair_done(Pair *p)
{
    ring_writer_done(&p->w);
    ring_reader_done(&p->r);
    free(p->data);
}

static void fill(uint8_t *p, size_t len, uint64_t n)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(n * 131 + i * 7 + (i >> 8));
}
static void check(Bytes b, size_t len, uint64_t n)
{
    assert_int_equal(b.len, len);
    for (size_t i = 0; i < len; i++)
        if (b.ptr[i] != (uint8_t)(n * 131 + i * 7 + (i >> 8)))
            fail_msg("record %llu of %zu bytes differs at %zu", (unsigned long long)n, len, i);
}

static void test_small(void **state)
{
    (void)state;
    Pair p;
    pair_init(&p, 4096, 1 << 20);
    Bytes b;
    assert_true(ring_is_empty(&p.r));
    assert_false(ring_read(&p.r, &b));
    ring_write(&p.w, 2, (Bytes[]){bytes_of("hello ", 6), bytes_of("you", 3)});
    assert_false(ring_read(&p.r, &b)); /* not published */
    assert_true(ring_publish(&p.w));
    assert_false(ring_is_empty(&p.r));
    assert_true(ring_read(&p.r, &b));
    assert_true(bytes_eq(b, bytes_of("hello you", 9)));
    assert_false(ring_read(&p.r, &b));
    ring_write(&p.w, 0, NULL);
    uint8_t *at = ring_write_begin(&p.w, 5);
    assert_non_null(at);
    memcpy(at, "12345", 5);
    ring_write_done(&p.w);
    assert_true(ring_publish(&p.w));
    assert_true(ring_read(&p.r, &b));
    assert_int_equal(b.len, 0);
    assert_true(ring_read(&p.r, &b));
    assert_true(bytes_eq(b, bytes_of("12345", 5)));
    ring_release(&p.r);
    assert_int_equal(ring_room_bytes(&p.w), 4096);
    pair_done(&p);
}

/* Random sizes, random batching, both write forms; the ring is far smaller than many records. */
static void sizes_run(uint64_t ring, size_t max, int records)
{
    Pair p;
    pair_init(&p, ring, max);
    uint8_t *buf = x_alloc(max);
    size_t *want = x_alloc(sizeof *want * (size_t)records);
    int written = 0, got = 0;
    while (got < records) {
        int burst = (int)(rnd() % 8);
        for (int i = 0; i < burst && written < records; i++, written++) {
            size_t len = rnd() % 4 ? rnd() % MIN(max, 300) : rnd() % max;
            want[written] = len;
            uint8_t *at = rnd() % 2 ? ring_write_begin(&p.w, (uint32_t)len) : NULL;
            if (at) {
                fill(at, len, (uint64_t)written);
                ring_write_done(&p.w);
                continue;
            }
            fill(buf, len, (uint64_t)written);
            size_t cut = len ? rnd() % len : 0;
            ring_write(&p.w, 3, (Bytes[]){{buf, cut}, {NULL, 0}, {buf + cut, len - cut}});
        }
        bool all = ring_publish(&p.w);
        assert_int_equal(all, ring_backlog_bytes(&p.w) == 0);
        Bytes b;
        int reads = (int)(rnd() % 10);
        while (reads-- > 0 && ring_read(&p.r, &b)) {
            check(b, want[got], (uint64_t)got);
            got++;
        }
        assert_false(p.r.bad);
        if (rnd() % 3)
            ring_release(&p.r);
    }
    free(buf);
    free(want);
    pair_done(&p);
}
static void test_sizes(void **state)
{
    (void)state;
    for (uint64_t ring = 64; ring <= 4096; ring *= 2)
        sizes_run(ring, 500, 4000);
    sizes_run(4096, 100000, 1500);
    sizes_run(1 << 18, 600000, 400);
    sizes_run(1 << 18, 200, 50000);
}

static void test_backlog(void **state)
{
    (void)state;
    Pair p;
    pair_init(&p, 4096, 16 << 20);
    size_t len = 8 << 20;
    uint8_t *buf = x_alloc(len);
    fill(buf, len, 7);
    ring_write(&p.w, 1, &(Bytes){buf, len});
    ring_write(&p.w, 1, &(Bytes){buf, 10});
    assert_null(ring_write_begin(&p.w, 1)); /* order is kept: nothing passes the backlog */
    assert_false(ring_publish(&p.w));
    int turns = 0, n = 0;
    for (Bytes b; n < 2; turns++) {
        while (ring_read(&p.r, &b))
            check(b, n++ == 0 ? len : 10, 7);
        ring_release(&p.r);
        ring_publish(&p.w);
    }
    assert_true(turns > 2000);
    assert_true(ring_publish(&p.w));
    assert_int_equal(ring_backlog_bytes(&p.w), 0);
    /* a longer record than the reader allows is the peer's fault */
    p.r.record_max = 9;
    ring_write(&p.w, 1, &(Bytes){buf, 10});
    ring_publish(&p.w);
    Bytes b;
    assert_false(ring_read(&p.r, &b));
    assert_true(p.r.bad);
    free(buf);
    pair_done(&p);
}

static void test_hostile(void **state)
{
    (void)state;
    int bad = 0;
    for (int round = 0; round < 20000; round++) {
        Pair p;
        pair_init(&p, 1024, 4000);
        uint8_t buf[900];
        fill(buf, sizeof buf, 1);
        for (int i = (int)(rnd() % 5); i > 0; i--)
            ring_write(&p.w, 1, &(Bytes){buf, rnd() % sizeof buf});
        ring_publish(&p.w);
        for (int hits = 1 + (int)(rnd() % 4); hits > 0; hits--)
            switch (rnd() % 5) {
            case 0: p.head = rnd(); break;
            case 1: p.head += rnd() % 2048 - 1024; break;
            case 2: store_u64(p.data + rnd() % 128 * 8, rnd()); break;
            case 3: store_u64(p.data + rnd() % 128 * 8, rnd() % 1100 | (rnd() % 4) << 32); break;
            default: p.tail = rnd(); break;
            }
        Bytes b;
        for (int i = 0; i < 300 && ring_read(&p.r, &b); i++)
            for (size_t k = 0; k < b.len; k++)
                (void)*(volatile const uint8_t *)&b.ptr[k];
        assert_true(p.r.record.len <= 4000);
        bad += p.r.bad;
        ring_release(&p.r);
        /* and the writer survives whatever the tail says */
        for (int i = 0; i < 4; i++) {
            p.tail = rnd() % 2 ? rnd() : p.w.head - rnd() % 2000;
            ring_write(&p.w, 1, &(Bytes){buf, rnd() % sizeof buf});
            assert_true(ring_room_bytes(&p.w) <= 1024);
            uint8_t *at = ring_write_begin(&p.w, 100);
            if (at) {
                fill(at, 100, 1);
                ring_write_done(&p.w);
            }
            ring_publish(&p.w);
        }
        pair_done(&p);
    }
    assert_true(bad > 8000);
    /* each named breach */
    Pair p;
    Bytes b;
    static const struct {
        uint64_t head, header;
    } breaches[] = {
        {4096 + 8, 0},
        {4, 0},
        {(uint64_t)-8, 0},
        {8, 1},
        {16, 9},
        {16, (uint64_t)4 << 32},
        {16, (uint64_t)3 << 32},
        {8, (uint64_t)1 << 32},
        {16, 5 | (uint64_t)1 << 32},
        {16, 8 | (uint64_t)2 << 32},
        {4096, 0xffffffff},
        {4096, 0xfffffff9},
    };
    for (size_t i = 0; i < COUNT_OF(breaches); i++) {
        pair_init(&p, 4096, 1 << 20);
        p.head = breaches[i].head;
        store_u64(p.data, breaches[i].header);
        assert_false(ring_read(&p.r, &b));
        assert_true(p.r.bad);
        assert_true(ring_is_empty(&p.r));
        assert_false(ring_read(&p.r, &b));
        pair_done(&p);
    }
}

/* ---- the area: seals, attach, bells ---- */

static void test_area(void **state)
{
    (void)state;
    Error err;
    RingArea h, w;
    RingSizes odd = ring_sizes_default;
    odd.bytes[RING_LOG] = 5000;
    assert_int_equal(ring_area_create(&h, &odd, &err), S_INVALID);
    RingSizes sizes = {{4096, 8192, 4096, 16384, 4096}};
    assert_int_equal(ring_area_create(&h, &sizes, &err), S_OK);

    /* the seals, seen from a descriptor that the worker holds */
    int hfd = dup(h.host_fd), wfd = dup(h.worker_fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", hfd);
    int again = open(path, O_RDWR);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, hfd, 0) == MAP_FAILED);
    if (again >= 0) {
        assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED);
        assert_true(write(again, "x", 1) < 0);
        close(again);
    }
    assert_true(write(hfd, "x", 1) < 0);
    assert_true(fallocate(hfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0);
    assert_true(ftruncate(hfd, 0) < 0 && ftruncate(wfd, 0) < 0 && ftruncate(wfd, 1 << 20) < 0);
    assert_true(fcntl(hfd, F_ADD_SEALS, F_SEAL_WRITE) < 0);

    /* attach checks what it is given */
    RingSizes other = sizes;
    other.bytes[RING_CALL] = 8192;
    assert_int_equal(ring_area_attach(&w, hfd, wfd, h.bells, &other, &err), S_INVALID);
    assert_int_equal(ring_area_attach(&w, h.bells[0], wfd, h.bells, &sizes, &err), S_INVALID);
    int plain = memfd_create("plain", 0);
    assert_int_equal(ftruncate(plain, (off_t)h.host_bytes), 0);
    assert_int_equal(ring_area_attach(&w, plain, wfd, h.bells, &sizes, &err), S_INVALID);
    close(plain);
    int bells[BELL_COUNT];
    for (int i = 0; i < BELL_COUNT; i++)
        bells[i] = dup(h.bells[i]);
    assert_int_equal(ring_area_attach(&w, hfd, wfd, bells, &sizes, &err), S_OK);
    assert_int_equal(fcntl(hfd, F_GETFD), -1);

    /* every ring in its direction, without touching its neighbours */
    for (int id = 0; id < RING_COUNT; id++) {
        bool host = id == RING_CALL || id == RING_CONTROL;
        RingWriter rw;
        RingReader rr;
        ring_writer_init(&rw, host ? &h : &w, (RingId)id, host);
        ring_reader_init(&rr, host ? &w : &h, (RingId)id, !host, 1 << 20);
        uint8_t buf[3000];
        for (int k = 0; k < 50; k++) {
            fill(buf, sizeof buf, (uint64_t)(id * 100 + k));
            ring_write(&rw, 1, &(Bytes){buf, sizeof buf});
            assert_true(ring_publish(&rw));
            Bytes b;
            assert_true(ring_read(&rr, &b));
            check(b, sizeof buf, (uint64_t)(id * 100 + k));
            ring_release(&rr);
        }
        ring_writer_done(&rw);
        ring_reader_done(&rr);
    }

    /* bells: silent for the waking, once for the sleeping */
    struct pollfd p = {.fd = w.bells[BELL_WORKER], .events = POLLIN};
    bell_ring(&h, BELL_WORKER, false);
    assert_int_equal(poll(&p, 1, 0), 0);
    bell_sleep_begin(&w, BELL_WORKER, false);
    bell_ring(&h, BELL_WORKER, false);
    bell_ring(&h, BELL_WORKER, false);
    assert_int_equal(poll(&p, 1, 0), 1);
    bell_sleep_end(&w, BELL_WORKER, false);
    assert_int_equal(poll(&p, 1, 0), 0);
    bell_sleep_end(&w, BELL_WORKER, false); /* never blocks */
    bell_sleep_begin(&h, BELL_NET, true);
    bell_ring(&w, BELL_NET, true);
    p.fd = h.bells[BELL_NET];
    assert_int_equal(poll(&p, 1, 0), 1);
    bell_sleep_end(&h, BELL_NET, true);
    ring_area_close(&w);
    ring_area_close(&h);
    ring_area_close(&h);
}

/* ---- two threads with sleeping ---- */

enum { STRESS_RECORDS = 200000 };
static RingArea stress_host, stress_worker;
static size_t stress_len(uint64_t n) { return hash_u64(n + 77) % 97 == 0 ? hash_u64(n) % 20000 : hash_u64(n) % 120; }

static void *stress_consumer(void *arg)
{
    (void)arg;
    RingReader r;
    ring_reader_init(&r, &stress_worker, RING_CALL, false, 1 << 20);
    uint64_t bad = 0;
    for (uint64_t n = 0; n < STRESS_RECORDS;) {
        Bytes b;
        while (ring_read(&r, &b)) {
            size_t len = stress_len(n);
            uint8_t want[20000];
            fill(want, len, n);
            bad += b.len != len || (len && memcmp(b.ptr, want, len) != 0);
            n++;
        }
        if (r.bad)
            return "bad ring";
        ring_release(&r);
        bell_ring(&stress_worker, BELL_NET, true);
        if (n == STRESS_RECORDS)
            break;
        bell_sleep_begin(&stress_worker, BELL_WORKER, false);
        if (ring_is_empty(&r)) {
            struct pollfd p = {.fd = stress_worker.bells[BELL_WORKER], .events = POLLIN};
            if (poll(&p, 1, 20000) == 0)
                return "the consumer slept through its bell";
        }
        bell_sleep_end(&stress_worker, BELL_WORKER, false);
    }
    ring_reader_done(&r);
    return bad ? "a record came out different" : NULL;
}

static void test_threads(void **state)
{
    (void)state;
    Error err;
    RingSizes sizes = {{8192, 4096, 4096, 4096, 4096}};
    assert_int_equal(ring_area_create(&stress_host, &sizes, &err), S_OK);
    int bells[BELL_COUNT];
    for (int i = 0; i < BELL_COUNT; i++)
        bells[i] = dup(stress_host.bells[i]);
    assert_int_equal(ring_area_attach(&stress_worker, dup(stress_host.host_fd), dup(stress_host.worker_fd), bells, &sizes, &err), S_OK);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stress_consumer, NULL), 0);
    RingWriter w;
    ring_writer_init(&w, &stress_host, RING_CALL, true);
    uint8_t buf[20000];
    for (uint64_t n = 0; n < STRESS_RECORDS; n++) {
        size_t len = stress_len(n);
        fill(buf, len, n);
        ring_write(&w, 1, &(Bytes){buf, len});
        if (n % 7 != 0 && n + 1 != STRESS_RECORDS)
            continue;
        while (!ring_publish(&w)) { /* wait for room, as a producer between calls does */
            bell_ring(&stress_host, BELL_WORKER, false);
            bell_sleep_begin(&stress_host, BELL_NET, true);
            if (ring_room_bytes(&w) < sizes.bytes[RING_CALL] / 2) {
                struct pollfd p = {.fd = stress_host.bells[BELL_NET], .events = POLLIN};
                assert_int_equal(poll(&p, 1, 20000), 1);
            }
            bell_sleep_end(&stress_host, BELL_NET, true);
        }
        bell_ring(&stress_host, BELL_WORKER, false);
    }
    void *result;
    pthread_join(t, &result);
    if (result)
        fail_msg("%s", (char *)result);
    ring_writer_done(&w);
    ring_area_close(&stress_worker);
    ring_area_close(&stress_host);
}

static void test_speed(void **state)
{
    (void)state;
    Pair p;
    pair_init(&p, 1 << 20, 1 << 20);
    uint8_t buf[128];
    fill(buf, sizeof buf, 1);
    enum { BATCHES = 20000, BATCH = 32 };
    uint64_t start = clock_monotonic_ns();
    for (int i = 0; i < BATCHES; i++) {
        for (int k = 0; k < BATCH; k++)
            ring_write(&p.w, 2, (Bytes[]){{buf, 32}, {buf, 64}});
        ring_publish(&p.w);
        Bytes b;
        int n = 0;
        while (ring_read(&p.r, &b))
            n++;
        ring_release(&p.r);
        assert_int_equal(n, BATCH);
    }
    printf("%.1f ns for one 96-byte record written and read\n", (double)(clock_monotonic_ns() - start) / ((double)BATCHES * BATCH));
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small), cmocka_unit_test(test_sizes),   cmocka_unit_test(test_backlog), cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_area),  cmocka_unit_test(test_threads), cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
