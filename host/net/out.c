#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "host/net/net_int.h"

/* Output of one session: see Out in net_int.h. Small bytes are copied into one buffer, large shared segments are referenced; everything that
 * may go leaves in one system call. v2: each message is a frame whose header lies in the stream. v3: what is ready is cut into frames of at
 * most 512 KiB when it is written. Control frames go at the next frame border, also past held messages. */

enum { IOV_MAX_HERE = 128, BUF_KEEP_BYTES = 256 << 10, HELD_MERGE_BYTES_MAX = 32 << 10, OPCODE_BINARY_FIN = 0x82 };

uint64_t net_segment_bytes; /* of all segments alive */

NetSegment *net_segment_new(Bytes content)
{
    NetSegment *s = malloc(sizeof *s + content.len);
    if (!s)
        BUG("out of memory: a segment of %zu bytes", content.len);
    s->refs = 1;
    s->len = (uint32_t)content.len;
    if (content.len)
        memcpy(s->data, content.ptr, content.len);
    net_segment_bytes += content.len;
    return s;
}

void net_segment_unref(NetSegment *s)
{
    if (!s || --s->refs)
        return;
    net_segment_bytes -= s->len;
    free(s);
}

/* ---- the stream ---------------------------------------------------------------------------------- */

static inline SegRef *seg_at(const Out *o, uint32_t i) { return &o->segs[i & (o->seg_cap - 1)]; }
static inline Held *held_at(const Out *o, uint32_t i) { return &o->held[i & (o->held_cap - 1)]; }

static void seg_push(Out *o, SegRef ref)
{
    if (o->seg_end - o->sent.seg == o->seg_cap) {
        uint32_t cap = o->seg_cap ? o->seg_cap * 2 : 16;
        SegRef *segs = x_alloc(cap * sizeof *segs);
        for (uint32_t i = o->sent.seg; i != o->seg_end; i++)
            segs[i & (cap - 1)] = *seg_at(o, i);
        free(o->segs);
        o->segs = segs;
        o->seg_cap = cap;
    }
    *seg_at(o, o->seg_end++) = ref;
}

static void held_push(Out *o, Held h)
{
    if (o->held_end - o->held_head == o->held_cap) {
        uint32_t cap = o->held_cap ? o->held_cap * 2 : 16;
        Held *held = x_alloc(cap * sizeof *held);
        for (uint32_t i = o->held_head; i != o->held_end; i++)
            held[i & (cap - 1)] = *held_at(o, i);
        free(o->held);
        o->held = held;
        o->held_cap = cap;
    }
    *held_at(o, o->held_end++) = h;
}

/* Room for `more` inline bytes: first slide out what was sent, then grow. */
static uint8_t *reserve(Out *o, size_t more)
{
    size_t used = (size_t)(o->end - o->base);
    if (LIKELY(o->cap - used >= more))
        return o->buf + used;
    size_t gone = (size_t)(o->sent.pos - o->base);
    if (gone >= used / 2 && gone) {
        memmove(o->buf, o->buf + gone, used - gone);
        o->base += gone;
        used -= gone;
    }
    if (o->cap - used < more) {
        o->cap = MAX(MAX(o->cap * 2, (size_t)2048), used + more);
        o->buf = x_realloc(o->buf, o->cap);
    }
    return o->buf + used;
}

static size_t put_header(uint8_t *p, uint64_t payload)
{
    p[0] = OPCODE_BINARY_FIN;
    if (payload < 126) {
        p[1] = (uint8_t)payload;
        return 2;
    }
    if (payload <= 0xffff) {
        p[1] = 126;
        p[2] = (uint8_t)(payload >> 8), p[3] = (uint8_t)payload;
        return 4;
    }
    p[1] = 127;
    for (int i = 0; i < 8; i++)
        p[2 + i] = (uint8_t)(payload >> (56 - 8 * i));
    return 10;
}

static inline bool rule_allows(const NetClient *c, const Held *h)
{
    return h->rule == RELEASE_NOW || h->offset <= (h->rule == RELEASE_DURABLE ? c->ch->durable : c->ch->complete);
}

/* The new message's bytes are at the end of the stream: note under which condition they may go. */
static void note_condition(NetClient *c, uint64_t offset, ReleaseRule rule, uint32_t bytes)
{
    Out *o = &c->out;
    Held h = {offset, o->end, o->seg_end, bytes, (uint8_t)rule};
    if (o->held_free == o->held_end && rule_allows(c, &h)) {
        if (!c->v3) {
            o->ready = o->end;
            o->ready_segs = o->seg_end;
        } else {
            held_push(o, h);
            o->held_free = o->held_end;
        }
        client_dirty(c);
        return;
    }
    if (o->held_free != o->held_end) { /* goes together with the one before when that one's condition is as strong */
        Held *last = held_at(o, o->held_end - 1);
        bool covered = rule == RELEASE_NOW || (last->rule == (uint8_t)rule && last->offset >= offset);
        if (covered && last->bytes + bytes <= HELD_MERGE_BYTES_MAX) {
            last->end = h.end;
            last->segs = h.segs;
            last->bytes += bytes;
            return;
        }
    }
    held_push(o, h);
    client_held_link(c);
}

void out_send(NetClient *c, uint64_t offset, ReleaseRule rule, uint32_t npieces, const NetPiece *pieces)
{
    Out *o = &c->out;
    size_t len = 0, copied = 0;
    for (uint32_t i = 0; i < npieces; i++) {
        size_t n = pieces[i].segment ? pieces[i].segment->len : pieces[i].bytes.len;
        len += n;
        copied += pieces[i].segment && n > NET_COPY_BYTES_MAX ? 0 : n;
    }
    uint8_t *start = reserve(o, copied + 11), *p = start;
    if (!c->v3) {
        p += put_header(p, len + 1);
        *p++ = 0; /* compression: none */
    }
    for (uint32_t i = 0; i < npieces; i++) {
        NetSegment *s = pieces[i].segment;
        if (s && s->len > NET_COPY_BYTES_MAX) {
            s->refs++;
            seg_push(o, (SegRef){o->end + (uint64_t)(p - start), s});
            continue;
        }
        Bytes b = s ? bytes_of(s->data, s->len) : pieces[i].bytes;
        if (b.len) {
            memcpy(p, b.ptr, b.len);
            p += b.len;
        }
    }
    size_t inlined = (size_t)(p - start), total = inlined + (len - copied);
    o->end += inlined;
    o->bytes += total;
    o->inline_bytes += inlined;
    c->net->queued += inlined;
    note_condition(c, offset, rule, (uint32_t)MIN(total, (size_t)UINT32_MAX));
}

void out_release(NetClient *c)
{
    Out *o = &c->out;
    bool any = false;
    while (o->held_free != o->held_end && rule_allows(c, held_at(o, o->held_free))) {
        if (!c->v3) {
            o->ready = held_at(o, o->held_free)->end;
            o->ready_segs = held_at(o, o->held_free)->segs;
            o->held_head++;
        }
        o->held_free++;
        any = true;
    }
    if (any)
        client_dirty(c);
    if (o->held_free == o->held_end)
        client_held_unlink(c);
}

/* ---- cursors ---------------------------------------------------------------------------------------- */

/* Move `c` on by `n` bytes of the stream; calls for each contiguous slice when `iov` is given. Stops at `end`/`end_segs`, or when iov is
 * full. Returns the bytes passed. */
static uint64_t advance(const Out *o, Cursor *c, uint64_t n, uint64_t end, uint32_t end_segs, struct iovec *iov, int *niov)
{
    uint64_t passed = 0;
    while (passed < n && (!iov || *niov < IOV_MAX_HERE)) {
        const uint8_t *p;
        uint64_t len;
        if (c->seg != end_segs && seg_at(o, c->seg)->at == c->pos) {
            NetSegment *s = seg_at(o, c->seg)->segment;
            p = s->data + c->done;
            len = MIN(n - passed, (uint64_t)(s->len - c->done));
            c->done += (uint32_t)len;
            if (c->done == s->len)
                c->seg++, c->done = 0;
        } else {
            uint64_t stop = c->seg != end_segs ? MIN(end, seg_at(o, c->seg)->at) : end;
            if (stop == c->pos)
                break;
            p = o->buf + (c->pos - o->base);
            len = MIN(n - passed, stop - c->pos);
            c->pos += len;
        }
        if (iov)
            iov[(*niov)++] = (struct iovec){(void *)(uintptr_t)p, len};
        passed += len;
    }
    return passed;
}

static bool region_empty(const Out *o) { return o->sent.pos == o->ready && o->sent.seg == o->ready_segs; }

/* v3: cut the next frame out of what is released. */
static void cut_frame(Out *o)
{
    uint64_t bytes = 0;
    while (o->held_head != o->held_free) {
        const Held *h = held_at(o, o->held_head);
        if (bytes && bytes + h->bytes > NET_V3_FRAME_BYTES_MAX)
            break;
        bytes += h->bytes;
        o->ready = h->end;
        o->ready_segs = h->segs;
        o->held_head++;
    }
    if (!bytes)
        return;
    /* the sum of Held.bytes saturates for a message of 4 GiB only, which records cannot hold */
    o->hdr_len = (uint8_t)put_header(o->hdr, bytes + 1);
    o->hdr[o->hdr_len++] = 0; /* compression: none */
    o->hdr_at = 0;
}

/* v2: `n` bytes of frames were sent from `from`, which is `left` bytes before a border: how much of the frame in flight is left? */
static uint64_t frame_rest(const Out *o, Cursor from, uint64_t left, uint64_t n)
{
    if (n < left)
        return left - n;
    advance(o, &from, left, o->ready, o->ready_segs, NULL, NULL);
    n -= left;
    while (n) {
        const uint8_t *p = o->buf + (from.pos - o->base);
        uint64_t size = p[1];
        if (p[1] == 126) {
            size = 4 + ((uint64_t)p[2] << 8 | p[3]);
        } else if (p[1] == 127) {
            size = 0;
            for (int i = 0; i < 8; i++)
                size = size << 8 | p[2 + i];
            size += 10;
        } else {
            size += 2;
        }
        if (n < size)
            return size - n;
        advance(o, &from, size, o->ready, o->ready_segs, NULL, NULL);
        n -= size;
    }
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------------- */

/* What one sendmsg carries, in order: the rest of the frame in flight, control frames, then whole frames. */
typedef struct Batch {
    struct iovec iov[IOV_MAX_HERE + 4];
    int n;
    uint64_t hdr_first, first, ctl, hdr_second, second, total;
} Batch;

static void batch_hdr(Batch *b, const Out *o, uint64_t *part)
{
    if (o->hdr_at == o->hdr_len)
        return;
    *part = (uint64_t)(o->hdr_len - o->hdr_at);
    b->iov[b->n++] = (struct iovec){(void *)(uintptr_t)(o->hdr + o->hdr_at), *part};
}

static void batch_make(NetClient *c, Batch *b)
{
    Out *o = &c->out;
    *b = (Batch){.n = 0};
    Cursor at = o->sent;
    bool closing = c->state >= CLIENT_CLOSING;
    if (c->v3 && region_empty(o) && o->hdr_at == o->hdr_len && !closing)
        cut_frame(o);
    bool complete = true;
    if (o->frame_left) {
        uint64_t left = o->frame_left;
        if (c->v3) {
            batch_hdr(b, o, &b->hdr_first);
            left -= b->hdr_first;
        }
        b->first = advance(o, &at, left, o->ready, o->ready_segs, b->iov, &b->n);
        complete = b->first == left;
    }
    if (complete && o->ctl.len > o->ctl_at) {
        b->ctl = o->ctl.len - o->ctl_at;
        b->iov[b->n++] = (struct iovec){o->ctl.ptr + o->ctl_at, b->ctl};
    }
    if (complete && !closing) {
        if (c->v3 && !o->frame_left)
            batch_hdr(b, o, &b->hdr_second);
        if (!c->v3 || !o->frame_left)
            b->second = advance(o, &at, UINT64_MAX, o->ready, o->ready_segs, b->iov, &b->n);
    }
    b->total = b->hdr_first + b->first + b->ctl + b->hdr_second + b->second;
}

static uint64_t take(uint64_t *n, uint64_t part)
{
    uint64_t t = MIN(*n, part);
    *n -= t;
    return t;
}

static void discard(NetClient *c, uint64_t n)
{
    Out *o = &c->out;
    Cursor was = o->sent;
    advance(o, &o->sent, n, o->ready, o->ready_segs, NULL, NULL);
    for (uint32_t i = was.seg; i != o->sent.seg; i++)
        net_segment_unref(seg_at(o, i)->segment);
    uint64_t inlined = o->sent.pos - was.pos;
    o->bytes -= n;
    o->inline_bytes -= inlined;
    c->net->queued -= inlined;
    if (o->sent.pos == o->end) {
        o->base = o->end;
        if (o->cap > BUF_KEEP_BYTES) {
            free(o->buf);
            o->buf = NULL;
            o->cap = 0;
        }
    }
}

static void batch_sent(NetClient *c, const Batch *b, uint64_t n)
{
    Out *o = &c->out;
    uint64_t hdr = take(&n, b->hdr_first), data = take(&n, b->first), ctl = take(&n, b->ctl);
    hdr += take(&n, b->hdr_second);
    uint64_t second = take(&n, b->second);
    o->ctl_at += ctl;
    if (o->ctl_at == o->ctl.len) {
        buf_reset(&o->ctl);
        o->ctl_at = 0;
    }
    o->hdr_at += (uint8_t)hdr;
    if (c->v3) {
        uint64_t whole = o->frame_left;
        if (!whole && hdr + data + second) { /* a frame began: its rest is header and region */
            Cursor all = o->sent;
            whole = (uint64_t)o->hdr_len + advance(o, &all, UINT64_MAX, o->ready, o->ready_segs, NULL, NULL);
        }
        o->frame_left = whole - (hdr + data + second);
        discard(c, data + second);
        if (!o->frame_left && o->hdr_at == o->hdr_len)
            o->hdr_at = o->hdr_len = 0;
        return;
    }
    Cursor from = o->sent;
    if (data + second)
        o->frame_left = frame_rest(o, from, o->frame_left, data + second);
    discard(c, data + second);
}

/* A short batch is gathered here: one buffer is cheaper for the kernel than a list, and a fan-out is a thousand short batches. */
static ssize_t batch_write(int fd, const Batch *b)
{
    enum { GATHER_BYTES_MAX = 2048 };
    uint8_t gathered[GATHER_BYTES_MAX];
    if (b->total > sizeof gathered) {
        struct msghdr msg = {.msg_iov = (struct iovec *)b->iov, .msg_iovlen = (size_t)b->n};
        return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    size_t at = 0;
    for (int i = 0; i < b->n; i++) {
        memcpy(gathered + at, b->iov[i].iov_base, b->iov[i].iov_len);
        at += b->iov[i].iov_len;
    }
    return send(fd, gathered, at, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool out_flush(NetClient *c)
{
    Out *o = &c->out;
    for (int round = 0; round < NET_WRITES_PER_FLUSH; round++) {
        Batch b;
        batch_make(c, &b);
        if (!b.total) {
            o->blocked = false;
            return true;
        }
        ssize_t n = batch_write(c->fd, &b);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) {
            o->blocked = true;
            return true;
        }
        if (n < 0)
            return false;
        batch_sent(c, &b, (uint64_t)n);
        if ((uint64_t)n < b.total) {
            o->blocked = true;
            return true;
        }
    }
    o->blocked = false;
    client_dirty(c); /* more next turn: others want to write too */
    return true;
}

void out_done(NetClient *c)
{
    Out *o = &c->out;
    for (uint32_t i = o->sent.seg; i != o->seg_end; i++)
        net_segment_unref(seg_at(o, i)->segment);
    c->net->queued -= o->inline_bytes;
    free(o->segs);
    free(o->held);
    free(o->buf);
    buf_done(&o->ctl);
    *o = (Out){0};
}
