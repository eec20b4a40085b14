/* client.c - clients: they read the messages of protocol v2 and keep caches; every oddity is a failure. */
#include "tests/sim/sim.h"

const SimSchema *known_schema(const World *w, uint32_t version)
{
    for (uint32_t i = 0; i < w->nolder; i++)
        if (w->older[i].version == version)
            return &w->older[i];
    return &w->schema;
}

uint32_t known_ncols(const World *w, const SimClient *c, uint32_t table) { return known_schema(w, c->version)->tables[table].ncols; }

static uint32_t table_of_name(World *w, Str name)
{
    for (uint32_t t = 0; t < w->schema.ntables; t++)
        if (str_is(name, w->schema.tables[t].name))
            return t;
    SIM_CHECK(w, false, "message names table %.*s", STR_FMT(name));
    return 0;
}

/* BsatnRowList into (or out of) a bag; NULL: only checked. */
static void read_row_list(World *w, Reader *r, uint32_t t, uint32_t ncols, RowBag *into, RowBag *from)
{
    uint8_t hint = read_u8(r);
    uint32_t fixed = 0, n = 0;
    uint64_t *offsets = NULL;
    if (hint == 0) {
        fixed = read_u16(r);
    } else {
        n = read_u32(r);
        SIM_CHECK(w, !r->bad && n <= reader_left(r) / 8, "row offsets");
        offsets = x_alloc((n + 1) * sizeof *offsets);
        for (uint32_t i = 0; i < n; i++)
            offsets[i] = read_u64(r);
    }
    Bytes data = read_blob(r);
    SIM_CHECK(w, !r->bad && (hint == 1 || (hint == 0 && fixed && data.len && data.len % fixed == 0)), "row list");
    if (hint == 0)
        n = (uint32_t)(data.len / fixed);
    bool same = n > 0;
    size_t first = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t at = hint ? offsets[i] : (size_t)i * fixed, end = !hint ? at + fixed : i + 1 < n ? offsets[i + 1] : data.len;
        SIM_CHECK(w, at <= end && end <= data.len, "row %u of %u lies outside", i, n);
        Bytes row = bytes_of(data.ptr + at, end - at);
        SIM_CHECK(w, row_prefix(w, t, row, ncols) == row.len, "t%u: a row is not %u columns long", t, ncols);
        same = same && (i == 0 || row.len == first);
        first = row.len;
        if (into)
            bag_add(into, t, row);
        if (from)
            SIM_CHECK(w, bag_remove(from, t, row), "t%u: a row leaves that is not in the cache", t);
        w->stats_rows++;
    }
    SIM_CHECK(w, !hint || !same || first == 0 || first > 65535, "rows of one length need no offsets");
    free(offsets);
}

static void read_query_rows(World *w, Reader *r, const SimClient *c, RowBag *into)
{
    for (uint32_t n = read_u32(r), i = 0; i < n; i++) {
        uint32_t t = table_of_name(w, read_str(r));
        read_row_list(w, r, t, known_ncols(w, c, t), into, NULL);
    }
}

static SimSet *client_set(SimClient *c, uint32_t id)
{
    for (uint32_t i = 0; i < SETS_MAX; i++)
        if (c->sets[i].live && c->sets[i].id == id)
            return &c->sets[i];
    return NULL;
}

static void read_updates(World *w, Reader *r, SimClient *c)
{
    uint32_t last = 0;
    for (uint32_t n = read_u32(r), i = 0; i < n; i++) {
        uint32_t id = read_u32(r);
        SIM_CHECK(w, i == 0 || id > last, "query sets are not in order");
        last = id;
        SimSet *s = client_set(c, id);
        SIM_CHECK(w, s, "an update for query set %u, which is not live", id);
        Str before = {NULL, 0};
        for (uint32_t nt = read_u32(r), k = 0; k < nt && !r->bad; k++) {
            Str name = read_str(r);
            SIM_CHECK(w, k == 0 || str_cmp(before, name) < 0, "tables are not in order");
            before = name;
            uint32_t t = table_of_name(w, name), ncols = known_ncols(w, c, t);
            for (uint32_t nr = read_u32(r), j = 0; j < nr && !r->bad; j++) {
                uint8_t tag = read_u8(r);
                SIM_CHECK(w, (tag == 1) == w->schema.tables[t].is_event, "rows of kind %u", tag);
                if (tag == 1) {
                    read_row_list(w, r, t, ncols, NULL, NULL);
                } else {
                    read_row_list(w, r, t, ncols, &s->cache, NULL);
                    read_row_list(w, r, t, ncols, NULL, &s->cache);
                }
            }
        }
        w->stats_updates++;
    }
}

static SimCall *call_of_seq(World *w, uint64_t seq)
{
    for (uint32_t i = w->ncalls; seq && i-- > 0;)
        if (w->calls[i]->header.call_seq == seq)
            return w->calls[i];
    return NULL;
}

static void set_end(SimSet *s)
{
    bag_clear(&s->cache);
    s->live = false;
}

static void deliver_message(World *w, SimClient *c, SimCall *call, bool answers_call, Bytes body)
{
    Reader r = reader_of(body);
    uint8_t tag = read_u8(&r);
    bool answer = false;
    switch (tag) {
    case 1: { /* SubscribeApplied */
        uint32_t request = read_u32(&r), id = read_u32(&r);
        SIM_CHECK(w, call && call->header.kind == CALL_SUBSCRIBE && request == load_u32(call->payload.ptr) && id == call->set_id,
                  "SubscribeApplied out of nowhere");
        SIM_CHECK(w, !call->bad && !client_set(c, id), "a bad subscription was accepted");
        answer = true;
        SimSet *s = c->sets;
        while (s->live)
            s++;
        *s = (SimSet){.id = id, .live = true, .nqueries = call->nqueries};
        memcpy(s->queries, call->queries, sizeof s->queries);
        read_query_rows(w, &r, c, &s->cache);
        break;
    }
    case 2: { /* UnsubscribeApplied */
        answer = true;
        (void)read_u32(&r);
        SimSet *s = client_set(c, read_u32(&r));
        SIM_CHECK(w, s && call, "UnsubscribeApplied of a set that is not live");
        uint8_t none = read_u8(&r);
        SIM_CHECK(w, none == !(call->header.flags & CALL_DROPPED_ROWS), "dropped rows");
        if (!none) {
            RowBag dropped = {0};
            read_query_rows(w, &r, c, &dropped);
            SIM_CHECK(w, bag_equal(&dropped, &s->cache), "dropped rows are not the cache");
            bag_clear(&dropped);
        }
        set_end(s);
        break;
    }
    case 3: { /* SubscriptionError */
        bool none = read_u8(&r);
        if (!none)
            (void)read_u32(&r);
        uint32_t id = read_u32(&r);
        Str text = read_str(&r);
        SimSet *s = client_set(c, id);
        SIM_CHECK(w, !none && call, "a set ended by itself: %.*s", STR_FMT(text));
        SIM_CHECK(w, text.len, "an error without a text");
        answer = true;
        if (call->header.kind == CALL_SUBSCRIBE)
            SIM_CHECK(w, call->bad || s, "a good subscription was refused: %.*s", STR_FMT(text));
        else
            SIM_CHECK(w, !s, "unsubscribe failed: %.*s", STR_FMT(text));
        break;
    }
    case 4: /* TransactionUpdate */
        SIM_CHECK(w, !answers_call, "the caller got a TransactionUpdate");
        read_updates(w, &r, c);
        break;
    case 5: { /* OneOffQueryResult */
        (void)read_u32(&r);
        answer = true;
        uint8_t failed = read_u8(&r);
        SIM_CHECK(w, call && failed == call->bad, "one-off query: %s", failed ? "refused" : "not refused");
        RowBag rows = {0};
        if (failed)
            (void)read_str(&r);
        else
            read_query_rows(w, &r, c, &rows);
        SIM_CHECK(w, failed || bag_equal(&rows, &call->rows), "one-off query: other rows");
        bag_clear(&rows);
        break;
    }
    case 6: { /* ReducerResult */
        (void)read_u32(&r);
        (void)read_u64(&r);
        answer = true;
        uint8_t outcome = read_u8(&r);
        Expect got = outcome == 0 ? EXPECT_OK : outcome == 2 ? EXPECT_USER : EXPECT_INTERNAL;
        SIM_CHECK(w, call && call->header.kind == CALL_REDUCER, "ReducerResult out of nowhere");
        SIM_CHECK(w, got == (call->expect == EXPECT_REFUSAL ? EXPECT_INTERNAL : call->expect), "outcome %u, expected %u", outcome,
                  call->expect);
        if (outcome == 0) {
            SIM_CHECK(w, read_u32(&r) == 0, "a return value");
            read_updates(w, &r, c);
        } else if (outcome == 2) {
            Bytes b = read_blob(&r);
            Reader in = reader_of(b);
            SIM_CHECK(w, read_str(&in).len && !in.bad && !reader_left(&in), "an error's text");
        } else {
            SIM_CHECK(w, read_str(&r).len, "an error without a text");
        }
        break;
    }
    case 7: { /* ProcedureResult */
        answer = true;
        SIM_CHECK(w, call && call->header.kind == CALL_PROCEDURE, "ProcedureResult out of nowhere");
        uint8_t outcome = read_u8(&r);
        Bytes value = read_blob(&r);
        (void)read_bytes(&r, 20);
        SIM_CHECK(w, outcome == 0 ? call->expect == EXPECT_ANY && value.len == 8 && load_u64(value.ptr) == call->count : value.len > 0,
                  "the result of a procedure: outcome %u", outcome);
        break;
    }
    default: SIM_CHECK(w, false, "message %u", tag);
    }
    SIM_CHECK(w, !r.bad && !reader_left(&r), "message %u: %zu bytes left", tag, reader_left(&r));
    SIM_CHECK(w, answer == answers_call, "message %u as an answer: %d", tag, answers_call);
}

static SimClient *client_of(World *w, uint32_t slot, uint32_t generation)
{
    SimClient *c = slot < CLIENTS_MAX ? &w->clients[slot] : NULL;
    return c && c->state != CLIENT_FREE && c->generation == generation ? c : NULL;
}

static void client_gone(SimClient *c)
{
    for (uint32_t i = 0; i < SETS_MAX; i++)
        set_end(&c->sets[i]);
    c->state = CLIENT_FREE;
}

static void deliver_update(World *w, Reader *r)
{
    uint32_t n = read_u32(r);
    Bytes *segments = x_alloc((n + 1) * sizeof *segments);
    for (uint32_t i = 0; i < n; i++)
        segments[i] = read_blob(r);
    for (uint32_t ngroups = read_u32(r), g = 0; g < ngroups; g++) {
        uint32_t nsets = read_u32(r), npieces = read_u32(r);
        const uint8_t *pieces = read_raw(r, 4 * (size_t)npieces);
        uint32_t nrecipients = read_u32(r);
        const uint8_t *recipients = read_raw(r, 8 * (size_t)nrecipients);
        const uint8_t *ids = read_raw(r, 4 * (size_t)nrecipients * nsets);
        SIM_CHECK(w, !r->bad && nrecipients, "update group");
        for (uint32_t k = 0; k < nrecipients; k++) {
            SimClient *c = client_of(w, load_u32(recipients + 8 * k), load_u32(recipients + 8 * k + 4));
            Buf m = {0};
            buf_put_u8(&m, 4);
            buf_put_u32(&m, nsets);
            for (uint32_t p = 0; p < npieces; p++) {
                uint32_t s = load_u32(pieces + 4 * p);
                if (s == UPDATE_QUERY_SET_ID) {
                    buf_put_u32(&m, load_u32(ids));
                    ids += 4;
                } else {
                    SIM_CHECK(w, s < n, "segment %u of %u", s, n);
                    buf_put_bytes(&m, segments[s]);
                }
            }
            SIM_CHECK(w, c, "an update for a client that is gone");
            deliver_message(w, c, NULL, false, buf_bytes(&m));
            buf_done(&m);
        }
    }
    SIM_CHECK(w, !r->bad && !reader_left(r), "update frame");
    free(segments);
}

static bool frame_answers(const FrameHeader *h, Bytes frame)
{
    if (h->kind == FRAME_MESSAGE) {
        const uint8_t *m = frame.ptr + sizeof *h;
        return h->call_seq && m[0] != 4 && (m[0] != 3 || m[1] == 0);
    }
    return h->kind != FRAME_UPDATE && h->kind != FRAME_CONTROL && h->kind != FRAME_HTTP;
}

static void deliver(World *w, Bytes frame)
{
    FrameHeader h;
    Reader r = reader_of(frame);
    memcpy(&h, read_raw(&r, sizeof h), sizeof h);
    SimCall *call = call_of_seq(w, h.call_seq);
    SIM_CHECK(w, h.offset <= w->pg.durable, "a frame of offset %llu left at %llu", (unsigned long long)h.offset,
              (unsigned long long)w->pg.durable);
    bool answer = frame_answers(&h, frame);
    if (answer) {
        SIM_CHECK(w, call && ++call->answers == 1, "call %llu is answered again", (unsigned long long)h.call_seq);
        SIM_CHECK(w, call->header.slot == h.slot && call->header.generation == h.generation, "answered to somebody else");
    }
    SimClient *c = client_of(w, h.slot, h.generation);
    switch (h.kind) {
    case FRAME_HTTP: {
        SIM_CHECK(w, w->nrequests < REQUESTS_MAX && !h.call_seq && h.flags == FRAME_DURABLE, "an HTTP request");
        Buf *q = &w->requests[w->nrequests++];
        *q = (Buf){0};
        buf_put(q, r.ptr, reader_left(&r));
        break;
    }
    case FRAME_MESSAGE:
        if (!c && call && call->header.kind == CALL_PROCEDURE) /* its client left meanwhile */
            break;
        SIM_CHECK(w, c, "a message for nobody");
        deliver_message(w, c, call, answer, bytes_of(r.ptr, reader_left(&r)));
        break;
    case FRAME_UPDATE: deliver_update(w, &r); break;
    case FRAME_CONNECTED:
        SIM_CHECK(w, c && c->state != CLIENT_LIVE && c->state != CLIENT_REFUSED, "connected out of nowhere");
        c->accepted = read_u8(&r);
        if (c->state == CLIENT_CONNECTING)
            c->state = c->accepted ? CLIENT_LIVE : CLIENT_REFUSED;
        SIM_CHECK(w, c->accepted == (call->expect == EXPECT_OK), "connection accepted: %d", c->accepted);
        break;
    case FRAME_DISCONNECTED:
        if (h.slot != CLIENT_NONE) {
            SIM_CHECK(w, c && c->state == CLIENT_LEAVING, "disconnected out of nowhere");
            client_gone(c);
        }
        break;
    case FRAME_REPLY: {
        uint8_t outcome = read_u8(&r);
        if (outcome == REPLY_REJECTED) {
            SIM_CHECK(w, c && !c->accepted, "rejected");
            break;
        }
        if (call->header.kind == CALL_REDUCER) {
            Expect got = outcome == REPLY_OK           ? EXPECT_OK
                         : outcome == REPLY_USER_ERROR ? EXPECT_USER
                         : outcome == REPLY_INTERNAL   ? EXPECT_INTERNAL
                                                       : EXPECT_REFUSAL;
            SIM_CHECK(w, got == call->expect || (got == EXPECT_INTERNAL && call->expect == EXPECT_REFUSAL), "reply %u, expected %u",
                      outcome, call->expect);
        } else if (call->header.kind == CALL_SQL) {
            SIM_CHECK(w, (outcome == REPLY_OK) == (call->expect == EXPECT_OK), "SQL reply %u: %.*s", outcome, (int)reader_left(&r),
                      (const char *)r.ptr);
            if (outcome == REPLY_OK) {
                (void)read_blob(&r);
                uint64_t rows = read_u64(&r), inserted = read_u64(&r), deleted = read_u64(&r);
                SIM_CHECK(w, rows + deleted == call->count && !inserted, "SQL: %llu rows instead of %llu",
                          (unsigned long long)(rows + deleted), (unsigned long long)call->count);
            }
        }
        break;
    }
    default: SIM_CHECK(w, false, "frame %u", h.kind);
    }
}
