/* ring_area.c - the shared memory of one worker, its seals, and the bells.
 *
 * An area is one page of RingCursors followed by the rings its owner produces, in the order of RingId. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "host/worker/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

enum { CURSORS_BYTES = 4096, RING_BYTES_MIN = 4096, RING_BYTES_MAX = 1 << 30 };
_Static_assert(sizeof(RingCursors) <= CURSORS_BYTES, "cursors fit their page");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "cursors are shared between processes");

const RingSizes ring_sizes_default = {{
    [RING_CALL] = 1 << 20,
    [RING_CONTROL] = 1 << 20,
    [RING_COMMIT] = 4 << 20,
    [RING_FRAME] = 4 << 20,
    [RING_LOG] = 256 << 10,
}};

static bool by_host(RingId id) { return id == RING_CALL || id == RING_CONTROL; }

static Status sizes_check(const RingSizes *sizes, Error *err)
{
    for (int i = 0; i < RING_COUNT; i++) {
        uint32_t n = sizes->bytes[i];
        if (n < RING_BYTES_MIN || n > RING_BYTES_MAX || (n & (n - 1)))
            return FAIL(err, S_INVALID, "ring %d has %u bytes; it needs a power of two from %d to %d", i, n, RING_BYTES_MIN,
                        RING_BYTES_MAX);
    }
    return S_OK;
}

static size_t area_bytes(const RingSizes *sizes, bool host)
{
    size_t n = CURSORS_BYTES;
    for (int i = 0; i < RING_COUNT; i++)
        n += by_host((RingId)i) == host ? sizes->bytes[i] : 0;
    return n;
}

static uint8_t *ring_data(const RingArea *a, RingId id)
{
    size_t at = CURSORS_BYTES;
    for (int i = 0; i < (int)id; i++)
        at += by_host((RingId)i) == by_host(id) ? a->sizes.bytes[i] : 0;
    return (uint8_t *)(by_host(id) ? a->host_map : a->worker_map) + at;
}

static void area_init(RingArea *a, const RingSizes *sizes)
{
    *a = (RingArea){.sizes = *sizes, .host_fd = -1, .worker_fd = -1};
    for (int i = 0; i < BELL_COUNT; i++)
        a->bells[i] = -1;
    a->host_bytes = area_bytes(sizes, true);
    a->worker_bytes = area_bytes(sizes, false);
}

static Status memfd_new(int *ret_fd, const char *name, size_t bytes, Error *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return FAIL(err, S_IO, "memfd_create for the worker's rings: %s", strerror(errno));
    if (ftruncate(fd, (off_t)bytes) != 0) {
        Status st = FAIL(err, S_IO, "%zu bytes for the worker's rings: %s", bytes, strerror(errno));
        close(fd);
        return st;
    }
    *ret_fd = fd;
    return S_OK;
}

static Status map(void **ret_map, int fd, size_t bytes, int prot, Error *err)
{
    void *p = mmap(NULL, bytes, prot, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return FAIL(err, S_IO, "mapping %zu bytes of the worker's rings: %s", bytes, strerror(errno));
    *ret_map = p;
    return S_OK;
}

static Status seal(int fd, int seals, Error *err)
{
    if (fcntl(fd, F_ADD_SEALS, seals) != 0)
        return FAIL(err, S_IO, "sealing the worker's rings: %s", strerror(errno));
    return S_OK;
}

static Status area_create(RingArea *a, Error *err)
{
    TRY(memfd_new(&a->host_fd, "rings-host", a->host_bytes, err));
    TRY(memfd_new(&a->worker_fd, "rings-worker", a->worker_bytes, err));
    /* Ours: mapped writable first; afterwards nobody can map or write it again, whoever holds the descriptor. */
    TRY(map(&a->host_map, a->host_fd, a->host_bytes, PROT_READ | PROT_WRITE, err));
    TRY(seal(a->host_fd, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, err));
    /* The worker's: it can be written, and holes can be punched (they read as zeros), but never shrunk under us. */
    TRY(seal(a->worker_fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, err));
    TRY(map(&a->worker_map, a->worker_fd, a->worker_bytes, PROT_READ, err));
    for (int i = 0; i < BELL_COUNT; i++)
        if ((a->bells[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
            return FAIL(err, S_IO, "eventfd: %s", strerror(errno));
    a->host_cursors = a->host_map;
    a->worker_cursors = a->worker_map;
    return S_OK;
}

Status ring_area_create(RingArea *ret, const RingSizes *sizes, Error *err)
{
    TRY(sizes_check(sizes, err));
    RingArea a;
    area_init(&a, sizes);
    Status st = area_create(&a, err);
    if (st != S_OK) {
        ring_area_close(&a);
        return st;
    }
    *ret = a;
    return S_OK;
}

/* A descriptor handed to us must be what we were told: a file of this size that can never shrink. */
static Status inherited_check(int fd, size_t bytes, const char *whose, Error *err)
{
    struct stat sb;
    if (fstat(fd, &sb) != 0)
        return FAIL(err, S_INVALID, "the %s ring area (descriptor %d): %s", whose, fd, strerror(errno));
    if (!S_ISREG(sb.st_mode) || sb.st_size < 0 || (size_t)sb.st_size != bytes)
        return FAIL(err, S_INVALID, "the %s ring area has %lld bytes, the configuration says %zu", whose, (long long)sb.st_size, bytes);
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
        return FAIL(err, S_INVALID, "the %s ring area is not a sealed memfd", whose);
    return S_OK;
}

Status ring_area_attach(RingArea *ret, int host_fd, int worker_fd, const int *bells, const RingSizes *sizes, Error *err)
{
    TRY(sizes_check(sizes, err));
    RingArea a;
    area_init(&a, sizes);
    TRY(inherited_check(host_fd, a.host_bytes, "host's", err));
    TRY(inherited_check(worker_fd, a.worker_bytes, "worker's", err));
    for (int i = 0; i < BELL_COUNT; i++)
        if (fcntl(bells[i], F_GETFD) < 0)
            return FAIL(err, S_INVALID, "bell %d (descriptor %d): %s", i, bells[i], strerror(errno));
    TRY(map(&a.host_map, host_fd, a.host_bytes, PROT_READ, err));
    Status st = map(&a.worker_map, worker_fd, a.worker_bytes, PROT_READ | PROT_WRITE, err);
    if (st != S_OK) {
        munmap(a.host_map, a.host_bytes);
        return st;
    }
    close(host_fd);
    close(worker_fd);
    memcpy(a.bells, bells, sizeof a.bells);
    a.host_cursors = a.host_map;
    a.worker_cursors = a.worker_map;
    *ret = a;
    return S_OK;
}

void ring_area_close(RingArea *a)
{
    if (a->host_map)
        munmap(a->host_map, a->host_bytes);
    if (a->worker_map)
        munmap(a->worker_map, a->worker_bytes);
    own_fd(&a->host_fd);
    own_fd(&a->worker_fd);
    for (int i = 0; i < BELL_COUNT; i++)
        own_fd(&a->bells[i]);
    area_init(a, &a->sizes);
}

/* ---- endpoints ------------------------------------------------------------------------------------ */

static RingCursors *cursors_of(const RingArea *a, bool host) { return host ? a->host_cursors : a->worker_cursors; }

void ring_writer_init(RingWriter *w, RingArea *a, RingId id, bool host_side)
{
    ASSERT(by_host(id) == host_side);
    *w = (RingWriter){
        .data = ring_data(a, id),
        .size = a->sizes.bytes[id],
        .shared_head = &cursors_of(a, host_side)->head[id],
        .peer_tail = &cursors_of(a, !host_side)->tail[id],
    };
    w->head = w->published = atomic_load_explicit(w->shared_head, memory_order_relaxed); /* our own memory */
}

void ring_reader_init(RingReader *r, RingArea *a, RingId id, bool host_side, size_t record_max)
{
    ASSERT(by_host(id) != host_side);
    *r = (RingReader){
        .data = ring_data(a, id),
        .size = a->sizes.bytes[id],
        .shared_tail = &cursors_of(a, host_side)->tail[id],
        .peer_head = &cursors_of(a, !host_side)->head[id],
        .record_max = record_max,
    };
    r->tail = r->published = atomic_load_explicit(r->shared_tail, memory_order_relaxed);
}

/* ---- bells ---------------------------------------------------------------------------------------- */

/* Dekker's pattern: the producer publishes, fences, reads the flag; the sleeper sets the flag, fences, reads the rings.
 * One of the two sees the other. */
void bell_ring(RingArea *a, BellId id, bool sleeper_is_host)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&cursors_of(a, sleeper_is_host)->asleep[id], memory_order_relaxed) == 0)
        return;
    uint64_t one = 1;
    ssize_t ignored;
    do /* EAGAIN: the count is full, so it will wake anyhow */
        ignored = write(a->bells[id], &one, sizeof one);
    while (ignored < 0 && errno == EINTR);
}

void bell_sleep_begin(RingArea *a, BellId id, bool host_side)
{
    atomic_store_explicit(&cursors_of(a, host_side)->asleep[id], 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void bell_sleep_end(RingArea *a, BellId id, bool host_side)
{
    atomic_store_explicit(&cursors_of(a, host_side)->asleep[id], 0, memory_order_relaxed);
    uint64_t count;
    ssize_t ignored;
    do
        ignored = read(a->bells[id], &count, sizeof count);
    while (ignored < 0 && errno == EINTR);
}
