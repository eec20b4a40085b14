/* ring.h - one-way byte queues in shared memory between the host and one worker.
 *
 * Shape:   single producer, single consumer; a power-of-two byte ring of records, each an 8-byte header
 *          {u32 length, u32 flags} and its bytes padded to 8. A record larger than RING_PIECE_BYTES_MAX crosses
 *          in pieces, so records of any size fit.
 * Trust:   none between the sides. Each keeps its own cursors privately, reads the peer's once, bounds-checks it,
 *          and copies a record out before looking into it. A peer that breaks the protocol is reported (bad),
 *          never believed.
 * Memory:  two sealed memfds: the host writes one and maps the other read-only; the worker the reverse. Cursors
 *          live in the area of the side that writes them. (design-rules 7 and 9)
 * Bells:   an eventfd per sleeper; a producer rings only when the consumer has set its sleep flag (rule 10). */
#ifndef HOST_WORKER_RING_H
#define HOST_WORKER_RING_H

#include "host/base/base.h"
#include <stdatomic.h>

enum { RING_PIECE_BYTES_MAX = 64 << 10, RING_RECORD_BYTES_MAX = 1 << 30 };

/* The rings of one worker, by direction. */
typedef enum RingId {
    RING_CALL,    /* host -> worker: client messages, in order */
    RING_CONTROL, /* host -> worker: load, publish, stop; read before each call */
    RING_COMMIT,  /* worker -> host storage: commit records */
    RING_FRAME,   /* worker -> host net: frames and replies */
    RING_LOG,     /* worker -> host: module log lines; lossy */
    RING_COUNT
} RingId;
typedef enum BellId {
    BELL_WORKER,  /* wakes the executor */
    BELL_STORAGE, /* wakes the log thread */
    BELL_NET,     /* wakes the net loop */
    BELL_COUNT
} BellId;

/* What each side writes, at the start of its area. Cursors count bytes since creation. */
typedef struct RingCursors {
    _Alignas(64) _Atomic uint64_t head[RING_COUNT]; /* rings this side produces */
    _Alignas(64) _Atomic uint64_t tail[RING_COUNT]; /* rings this side consumes */
    _Alignas(64) _Atomic uint32_t asleep[BELL_COUNT];
    /* worker's area only: what it is doing, for the watchdog and for recovery */
    _Alignas(64) _Atomic uint64_t current_call; /* call_seq being executed, 0: none (rule 8: module and query code only) */
    _Atomic uint64_t current_since_ns;          /* CLOCK_MONOTONIC at its start */
    _Atomic uint64_t consumed_call;             /* last call_seq whose outputs are all published */
    /* the scheduled row whose function runs (core.h, CoreDue); table 0: none. `due_next_us`: when the next one is due, 0: not known */
    _Atomic uint32_t due_table, due_tag;
    _Atomic uint64_t due_key;
    _Atomic int64_t due_us, due_next_us;
    /* host's area only: no scheduled function may start; ring the bell after it is taken back */
    _Atomic uint32_t hold;
    /* host's area only: the call that began then (current_since_ns) has run too long and is to end; 0: none */
    _Alignas(64) _Atomic uint64_t cancel_since_ns;
    _Atomic uint64_t guilty_call; /* a crash on a procedure's own thread: its call; 0: on the executor */
    _Atomic uint32_t procedures;  /* how many run */
    _Atomic uint32_t runaway;     /* guilty_call computes too long: replace this worker */
} RingCursors;

typedef struct RingSizes {
    uint32_t bytes[RING_COUNT];
} RingSizes; /* powers of two */
extern const RingSizes ring_sizes_default;

typedef struct RingWriter {
    uint8_t *data;
    uint64_t size, head, published;
    _Atomic uint64_t *shared_head;
    const _Atomic uint64_t *peer_tail;
    Buf backlog; /* records that did not fit, in order, already framed */
    size_t backlog_sent;
} RingWriter;
typedef struct RingReader {
    const uint8_t *data;
    uint64_t size, tail, published;
    _Atomic uint64_t *shared_tail;
    const _Atomic uint64_t *peer_head;
    Buf record;        /* the record last read, copied; pieces are gathered here */
    size_t record_max; /* a longer record is `bad` */
    bool assembling;
    bool bad; /* the peer broke the protocol */
} RingReader;

/* Append one record made of `n` parts. Goes to the backlog when the ring is full: never fails, never waits. Not
 * visible to the peer before ring_publish. */
void ring_write(RingWriter *w, uint32_t n, const Bytes *parts);
/* In-place form for small records (<= RING_PIECE_BYTES_MAX): room for `len` bytes, or NULL when the ring is full
 * or a backlog exists (then use ring_write). Follow with ring_write_done. */
uint8_t *ring_write_begin(RingWriter *w, uint32_t len);
void ring_write_done(RingWriter *w);
/* Move backlog into the ring as far as it goes and make everything visible. True: nothing is left in the backlog. */
bool ring_publish(RingWriter *w);
static inline size_t ring_backlog_bytes(const RingWriter *w) { return w->backlog.len - w->backlog_sent; }
uint64_t ring_room_bytes(const RingWriter *w); /* free bytes right now */

/* Next complete record, copied into the reader's buffer; borrowed until the next read. False: none now, or bad. */
bool ring_read(RingReader *r, Bytes *ret_record);
/* Tell the producer what has been consumed. */
void ring_release(RingReader *r);
bool ring_is_empty(const RingReader *r); /* nothing visible to read */

/* ---- the shared memory of one worker ---- */

typedef struct RingArea {
    RingSizes sizes;
    int host_fd, worker_fd; /* memfds; -1 once closed */
    int bells[BELL_COUNT];  /* eventfds, nonblocking, cloexec */
    void *host_map, *worker_map;
    size_t host_bytes, worker_bytes;
    RingCursors *host_cursors, *worker_cursors;
} RingArea;
/* Host side: create, map the host's area writable, seal it (SHRINK, GROW, FUTURE_WRITE), map the worker's
 * read-only after sealing it (SHRINK, GROW). */
MUST_CHECK Status ring_area_create(RingArea *ret, const RingSizes *sizes, Error *err);
/* Worker side, from inherited descriptors (closed after mapping, bells excepted): every size is checked. */
MUST_CHECK Status ring_area_attach(RingArea *ret, int host_fd, int worker_fd, const int *bells, const RingSizes *sizes, Error *err);
void ring_area_close(RingArea *a);
/* The endpoint of one ring on one side. `host_side`: which side is asking. */
void ring_writer_init(RingWriter *w, RingArea *a, RingId id, bool host_side);
void ring_reader_init(RingReader *r, RingArea *a, RingId id, bool host_side, size_t record_max);
void ring_writer_done(RingWriter *w);
void ring_reader_done(RingReader *r);
/* Ring the bell if its sleeper sleeps (fence, check); `sleeper` is the side that waits. */
void bell_ring(RingArea *a, BellId id, bool sleeper_is_host);
/* Before sleeping: set the flag, fence; then look once more at the rings; after waking clear it. */
void bell_sleep_begin(RingArea *a, BellId id, bool host_side);
void bell_sleep_end(RingArea *a, BellId id, bool host_side); /* clears the flag and drains the eventfd */

#endif
