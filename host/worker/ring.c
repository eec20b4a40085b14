/* ring.c - the byte queues themselves: framing, cursors, backlog.
 *
 * In memory, at a cursor c (bytes since creation, a multiple of 8) a piece lies at data[c % size]:
 *     u32 length | u32 flags | length bytes | zero to seven bytes up to a multiple of 8
 * A piece never crosses the end of the ring; since cursors are multiples of 8 there is always room for a
 * header there. Flags: PIECE_MORE: the record goes on in the next piece (and this one has a length that is
 * a positive multiple of 8); PIECE_SKIP: no data, go on at the start of the ring; none: the record ends here.
 *
 * The backlog holds whole records in the same framing. When only a part of one fits, the part is sent and a new
 * header for the rest is laid over bytes that have just been sent, so the backlog always begins with a header. */
#include "host/worker/ring.h"

enum { PIECE_HEADER = 8, PIECE_MORE = 1, PIECE_SKIP = 2 };
enum { RECORD_KEEP_BYTES = 1 << 20 }; /* a reader's buffer above this is given back after a large record */
enum { SPLIT_MIN_BYTES = 1 << 10 };   /* no smaller part of a record is sent just because a little room is free */

static inline uint64_t padded(uint64_t len) { return (len + 7) & ~(uint64_t)7; }
static inline uint64_t piece_header(uint64_t len, uint32_t flags) { return len | (uint64_t)flags << 32; }

/* ---- writer -------------------------------------------------------------------------------------- */

uint64_t ring_room_bytes(const RingWriter *w)
{
    uint64_t used = w->head - atomic_load_explicit(w->peer_tail, memory_order_acquire);
    return LIKELY(used <= w->size) ? w->size - used : 0; /* a tail that cannot be right frees nothing */
}

static inline void put_header(RingWriter *w, uint64_t head, uint64_t len, uint32_t flags)
{
    store_u64(w->data + (head & (w->size - 1)), piece_header(len, flags));
}

/* Can another piece go out now, given the free `room`, and with how many of the `left` bytes? That is `left`, or a
 * smaller multiple of 8. Passes over the end of the ring when only a header fits there. */
static bool next_piece(RingWriter *w, uint64_t left, uint64_t *room, uint64_t *ret_bytes)
{
    uint64_t to_end = w->size - (w->head & (w->size - 1));
    if (to_end == PIECE_HEADER && left && *room > to_end) {
        put_header(w, w->head, 0, PIECE_SKIP);
        w->head += to_end;
        *room -= to_end;
        to_end = w->size;
    }
    uint64_t fits = MIN(MIN(*room, to_end), (uint64_t)PIECE_HEADER + RING_PIECE_BYTES_MAX);
    if (fits < PIECE_HEADER)
        return false;
    fits -= PIECE_HEADER;
    if (padded(left) <= fits) {
        *ret_bytes = left;
        return true;
    }
    if (fits == 0 || (fits + PIECE_HEADER < to_end && fits < SPLIT_MIN_BYTES))
        return false; /* a part not worth its header: wait for more room */
    *ret_bytes = fits;
    return true;
}

static void backlog_add(RingWriter *w, uint64_t len, uint32_t n, const Bytes *parts, uint32_t part, size_t offset)
{
    static const uint8_t zeros[8];
    buf_put_u64(&w->backlog, piece_header(len, 0));
    for (uint64_t left = len; left; part++, offset = 0) {
        ASSERT(part < n);
        size_t chunk = parts[part].len - offset;
        if (chunk)
            buf_put(&w->backlog, parts[part].ptr + offset, chunk);
        left -= chunk;
    }
    buf_put(&w->backlog, zeros, padded(len) - len);
    ASSERT(buf_ok(&w->backlog));
}

static void write_split(RingWriter *w, uint64_t len, uint32_t n, const Bytes *parts)
{
    uint32_t part = 0;
    size_t offset = 0;
    uint64_t left = len, room = ring_backlog_bytes(w) ? 0 : ring_room_bytes(w);
    for (;;) {
        uint64_t take;
        if (!next_piece(w, left, &room, &take)) {
            backlog_add(w, left, n, parts, part, offset);
            return;
        }
        bool last = take == left;
        put_header(w, w->head, take, last ? 0 : PIECE_MORE);
        uint8_t *to = w->data + (w->head & (w->size - 1)) + PIECE_HEADER;
        for (uint64_t need = take; need;) {
            size_t chunk = MIN(need, parts[part].len - offset);
            if (chunk)
                memcpy(to, parts[part].ptr + offset, chunk);
            to += chunk, offset += chunk, need -= chunk, left -= chunk;
            if (offset == parts[part].len)
                part++, offset = 0;
        }
        w->head += PIECE_HEADER + padded(take);
        room -= PIECE_HEADER + padded(take);
        if (last)
            return;
    }
}

void ring_write(RingWriter *w, uint32_t n, const Bytes *parts)
{
    uint64_t len = 0;
    for (uint32_t i = 0; i < n; i++)
        len += parts[i].len;
    ASSERT(len <= RING_RECORD_BYTES_MAX);
    uint64_t at = w->head & (w->size - 1), need = PIECE_HEADER + padded(len);
    if (UNLIKELY(len > RING_PIECE_BYTES_MAX || need > w->size - at || ring_backlog_bytes(w) || need > ring_room_bytes(w))) {
        write_split(w, len, n, parts);
        return;
    }
    uint8_t *to = w->data + at;
    store_u64(to, piece_header(len, 0));
    to += PIECE_HEADER;
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i].len)
            memcpy(to, parts[i].ptr, parts[i].len);
        to += parts[i].len;
    }
    w->head += need;
}

uint8_t *ring_write_begin(RingWriter *w, uint32_t len)
{
    uint64_t at = w->head & (w->size - 1), need = PIECE_HEADER + padded(len), to_end = w->size - at;
    if (UNLIKELY(len > RING_PIECE_BYTES_MAX || ring_backlog_bytes(w)))
        return NULL;
    uint64_t skip = need > to_end ? to_end : 0;
    if (UNLIKELY(skip + need > ring_room_bytes(w)))
        return NULL;
    if (skip) {
        put_header(w, w->head, to_end - PIECE_HEADER, PIECE_SKIP);
        w->head += skip;
        at = 0;
    }
    store_u64(w->data + at, piece_header(len, 0));
    return w->data + at + PIECE_HEADER;
}

void ring_write_done(RingWriter *w)
{
    /* our own header: the peer maps this memory read-only, or is trusted */
    w->head += PIECE_HEADER + padded(load_u32(w->data + (w->head & (w->size - 1))));
}

static void backlog_move(RingWriter *w)
{
    uint64_t room = ring_room_bytes(w);
    while (ring_backlog_bytes(w)) {
        uint8_t *from = w->backlog.ptr + w->backlog_sent;
        uint64_t left = load_u32(from), take;
        if (!next_piece(w, left, &room, &take))
            break;
        bool last = take == left;
        put_header(w, w->head, take, last ? 0 : PIECE_MORE);
        memcpy(w->data + (w->head & (w->size - 1)) + PIECE_HEADER, from + PIECE_HEADER, take);
        w->head += PIECE_HEADER + padded(take);
        room -= PIECE_HEADER + padded(take);
        if (last) {
            w->backlog_sent += PIECE_HEADER + padded(take);
        } else {
            w->backlog_sent += take; /* the last 8 bytes sent make place for the header of the rest */
            store_u64(w->backlog.ptr + w->backlog_sent, piece_header(left - take, 0));
        }
    }
    if (w->backlog_sent == w->backlog.len) {
        if (w->backlog.cap > RECORD_KEEP_BYTES)
            buf_done(&w->backlog);
        buf_reset(&w->backlog);
        w->backlog_sent = 0;
    } else if (w->backlog_sent > RECORD_KEEP_BYTES && w->backlog_sent > w->backlog.len / 2) {
        memmove(w->backlog.ptr, w->backlog.ptr + w->backlog_sent, ring_backlog_bytes(w));
        w->backlog.len -= w->backlog_sent;
        w->backlog_sent = 0;
    }
}

bool ring_publish(RingWriter *w)
{
    if (UNLIKELY(ring_backlog_bytes(w)))
        backlog_move(w);
    if (w->published != w->head) {
        atomic_store_explicit(w->shared_head, w->head, memory_order_release);
        w->published = w->head;
    }
    return ring_backlog_bytes(w) == 0;
}

/* ---- reader -------------------------------------------------------------------------------------- */

bool ring_is_empty(const RingReader *r) { return r->bad || atomic_load_explicit(r->peer_head, memory_order_acquire) == r->tail; }

void ring_release(RingReader *r)
{
    if (r->published != r->tail) {
        atomic_store_explicit(r->shared_tail, r->tail, memory_order_release);
        r->published = r->tail;
    }
}

static bool reader_bad(RingReader *r)
{
    r->bad = true;
    return false;
}

bool ring_read(RingReader *r, Bytes *ret_record)
{
    if (UNLIKELY(r->bad))
        return false;
    /* Everything that the peer wrote is fetched exactly once: first the head, then each header. */
    uint64_t visible = atomic_load_explicit(r->peer_head, memory_order_acquire) - r->tail;
    if (visible == 0)
        return false;
    if (UNLIKELY(visible > r->size || (visible & 7)))
        return reader_bad(r); /* also a head behind our tail: the difference is huge */
    if (!r->assembling) {
        if (UNLIKELY(r->record.cap > RECORD_KEEP_BYTES))
            buf_done(&r->record);
        buf_reset(&r->record);
    }
    while (visible) {
        uint64_t at = r->tail & (r->size - 1), to_end = r->size - at;
        uint64_t header = __atomic_load_n((const uint64_t *)(const void *)(r->data + at), __ATOMIC_RELAXED);
        uint64_t len = (uint32_t)header;
        uint32_t flags = (uint32_t)(header >> 32);
        uint64_t whole = PIECE_HEADER + padded(len);
        if (UNLIKELY(whole > visible || whole > to_end))
            return reader_bad(r);
        if (UNLIKELY(flags != 0)) {
            if (flags == PIECE_SKIP) {
                if (whole != to_end || (len & 7))
                    return reader_bad(r);
                r->tail += whole;
                visible -= whole;
                continue;
            }
            if (flags != PIECE_MORE || len == 0 || (len & 7))
                return reader_bad(r);
        }
        if (UNLIKELY(len > RING_PIECE_BYTES_MAX || len > r->record_max - r->record.len))
            return reader_bad(r);
        buf_put(&r->record, r->data + at + PIECE_HEADER, len);
        r->tail += whole;
        visible -= whole;
        r->assembling = flags == PIECE_MORE;
        if (!r->assembling) {
            *ret_record = buf_bytes(&r->record);
            return true;
        }
    }
    return false;
}

void ring_writer_done(RingWriter *w) { buf_done(&w->backlog); }
void ring_reader_done(RingReader *r) { buf_done(&r->record); }
