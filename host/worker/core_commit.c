/* core_commit.c - one transaction's way out, and the bytes of every answer.
 *
 * Order (design-rule 1): changes, deltas and the commit record are computed into buffers of our own; then come the
 * frames; the record is last, since its completion is the commit point; then memory is committed, which cannot fail. */
#include "host/worker/core_int.h"

/* Server messages of protocol v2 (wire.md 5.2). */
enum {
    MSG_SUBSCRIPTION_ERROR = 3,
    MSG_TRANSACTION_UPDATE = 4,
    MSG_REDUCER_RESULT = 6,
    MSG_PROCEDURE_RESULT = 7,
    OUTCOME_OK = 0,
    OUTCOME_ERR = 2,
    OUTCOME_INTERNAL = 3,
    PROCEDURE_INTERNAL = 1,
    OPT_SOME = 0,
    OPT_NONE = 1,
};

/* ---- frames of one client -------------------------------------------------------------------- */

static void put_header(Buf *out, FrameKind kind, uint8_t flags, ClientRef client, uint64_t offset, uint64_t call_seq)
{
    FrameHeader h = {.kind = (uint8_t)kind,
                     .flags = flags,
                     .slot = client.slot,
                     .generation = client.generation,
                     .offset = offset,
                     .call_seq = call_seq};
    buf_put(out, &h, sizeof h);
}

Buf *frame_begin(Core *c, FrameKind kind, const CallHeader *h, uint8_t flags)
{
    ASSERT(h);
    buf_reset(&c->frame);
    put_header(&c->frame, kind, flags, (ClientRef){h->slot, h->generation}, c->offset, h->call_seq);
    return &c->frame;
}

void frame_send(Core *c)
{
    Bytes whole = buf_bytes(&c->frame);
    c->env.frame(c->env.user, 1, &whole);
}

void reply_send(Core *c, const CallHeader *h, ReplyOutcome outcome, Str payload)
{
    Buf *f = frame_begin(c, FRAME_REPLY, h, outcome == REPLY_OK ? 0 : FRAME_NOT_HELD);
    buf_put_u8(f, (uint8_t)outcome);
    buf_put_str_raw(f, payload);
    frame_send(c);
}

void send_reducer_error(Core *c, const CallHeader *h, uint32_t request_id, bool user_error, Str text)
{
    Buf *f = frame_begin(c, FRAME_MESSAGE, h, FRAME_NOT_HELD);
    buf_put_u8(f, MSG_REDUCER_RESULT);
    buf_put_u32(f, request_id);
    buf_put_i64(f, h->timestamp_us);
    if (user_error) { /* bytes that hold the BSATN of a string: two lengths */
        buf_put_u8(f, OUTCOME_ERR);
        buf_put_u32(f, (uint32_t)text.len + 4);
    } else {
        buf_put_u8(f, OUTCOME_INTERNAL);
    }
    buf_put_str(f, text);
    frame_send(c);
}

void send_procedure_error(Core *c, const CallHeader *h, uint32_t request_id, Str text)
{
    Buf *f = frame_begin(c, FRAME_MESSAGE, h, FRAME_NOT_HELD);
    buf_put_u8(f, MSG_PROCEDURE_RESULT);
    buf_put_u8(f, PROCEDURE_INTERNAL);
    buf_put_str(f, text);
    buf_put_i64(f, 0); /* timestamp */
    buf_put_i64(f, 0); /* duration */
    buf_put_u32(f, request_id);
    frame_send(c);
}

static void put_subscription_error(Buf *f, const uint32_t *request_id, uint32_t query_set_id, Str text)
{
    buf_put_u8(f, MSG_SUBSCRIPTION_ERROR);
    buf_put_u8(f, request_id ? OPT_SOME : OPT_NONE);
    if (request_id)
        buf_put_u32(f, *request_id);
    buf_put_u32(f, query_set_id);
    buf_put_str(f, text);
}

void send_subscription_error(Core *c, const CallHeader *h, uint32_t request_id, uint32_t query_set_id, Str text)
{
    put_subscription_error(frame_begin(c, FRAME_MESSAGE, h, FRAME_NOT_HELD), &request_id, query_set_id, text);
    frame_send(c);
}

void send_subscription_failures(Core *c, uint64_t call_seq, uint32_t n, const UpdateFailure *failures)
{
    for (uint32_t i = 0; i < n; i++) {
        buf_reset(&c->frame);
        put_header(&c->frame, FRAME_MESSAGE, 0, failures[i].client, c->offset, call_seq);
        put_subscription_error(&c->frame, NULL, failures[i].query_set_id, failures[i].text);
        frame_send(c);
    }
}

/* ---- updates --------------------------------------------------------------------------------- */

/* Where a client stands in an update. */
typedef struct Place {
    uint32_t group, recipient;
} Place;

static bool update_find(const Update *u, uint32_t slot, uint32_t generation, Place *ret)
{
    for (uint32_t g = 0; g < u->ngroups; g++) {
        uint32_t lo = 0, hi = u->groups[g].nrecipients; /* slot order */
        const ClientRef *r = u->groups[g].recipients;
        while (lo < hi) {
            uint32_t mid = lo + (hi - lo) / 2;
            if (r[mid].slot < slot)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (lo < u->groups[g].nrecipients && r[lo].slot == slot && r[lo].generation == generation) {
            *ret = (Place){g, lo};
            return true;
        }
    }
    return false;
}

/* ReducerResult Ok for the caller, with the updates of its own query sets. */
static void send_reducer_ok(Core *c, const Leaving *l, const Update *u, const Place *place)
{
    Buf *f = frame_begin(c, FRAME_MESSAGE, l->h, 0);
    buf_put_u8(f, MSG_REDUCER_RESULT);
    buf_put_u32(f, l->request_id);
    buf_put_i64(f, l->timestamp_us);
    buf_put_u8(f, OUTCOME_OK);
    buf_put_u32(f, 0); /* ret_value: always empty */
    if (!place) {
        buf_put_u32(f, 0);
    } else {
        const UpdateGroup *g = &u->groups[place->group];
        const uint32_t *id = g->set_ids + (size_t)place->recipient * g->nsets;
        buf_put_u32(f, g->nsets);
        for (uint32_t i = 0; i < g->npieces; i++) {
            if (g->pieces[i].segment == UPDATE_QUERY_SET_ID)
                buf_put_u32(f, *id++);
            else
                buf_put_bytes(f, u->segments[g->pieces[i].segment]);
        }
    }
    frame_send(c);
}

/* One group without recipient `skip` (nrecipients: nobody is skipped). */
static void put_group(Core *c, Buf *f, const UpdateGroup *g, uint32_t skip)
{
    uint32_t n = g->nrecipients - (skip < g->nrecipients);
    buf_put_u32(f, g->nsets);
    buf_put_u32(f, g->npieces);
    for (uint32_t i = 0; i < g->npieces; i++) {
        uint32_t s = g->pieces[i].segment;
        buf_put_u32(f, s == UPDATE_QUERY_SET_ID ? s : c->renumber[s] - 1);
    }
    buf_put_u32(f, n);
    _Static_assert(sizeof(ClientRef) == 8, "recipients are written as they are");
    size_t before = MIN(skip, g->nrecipients);
    buf_put(f, g->recipients, before * sizeof(ClientRef));
    if (skip < g->nrecipients)
        buf_put(f, g->recipients + skip + 1, (g->nrecipients - skip - 1) * sizeof(ClientRef));
    size_t row = (size_t)g->nsets * sizeof(uint32_t);
    buf_put(f, g->set_ids, before * row);
    if (skip < g->nrecipients)
        buf_put(f, g->set_ids + (size_t)(skip + 1) * g->nsets, (g->nrecipients - skip - 1) * row);
}

/* FRAME_UPDATE for everybody but `skip`. Segments are handed over where they lie; those that only the skipped client's
 * group needs stay behind. */
static void send_update(Core *c, uint64_t call_seq, const Update *u, const Place *skip)
{
    GROW(c->renumber, c->renumber_cap, u->nsegments);
    if (u->nsegments)
        memset(c->renumber, 0, u->nsegments * sizeof *c->renumber);
    uint32_t ngroups = 0, nsegments = 0;
    for (uint32_t g = 0; g < u->ngroups; g++) {
        const UpdateGroup *group = &u->groups[g];
        if (skip && skip->group == g && group->nrecipients == 1)
            continue;
        ngroups++;
        for (uint32_t i = 0; i < group->npieces; i++)
            if (group->pieces[i].segment != UPDATE_QUERY_SET_ID)
                c->renumber[group->pieces[i].segment] = 1;
    }
    if (!ngroups)
        return;
    for (uint32_t s = 0; s < u->nsegments; s++)
        if (c->renumber[s])
            c->renumber[s] = ++nsegments; /* its new position + 1 */

    Buf *f = &c->frame;
    buf_reset(f);
    put_header(f, FRAME_UPDATE, 0, (ClientRef){0, 0}, c->offset, call_seq);
    buf_put_u32(f, nsegments);
    GROW(c->cuts, c->cuts_cap, nsegments + 1);
    GROW(c->parts, c->parts_cap, 2 * (size_t)nsegments + 1);
    uint32_t ncuts = 0;
    for (uint32_t s = 0; s < u->nsegments; s++) {
        if (!c->renumber[s])
            continue;
        buf_put_u32(f, (uint32_t)u->segments[s].len);
        c->cuts[ncuts] = f->len;
        c->parts[2 * ncuts + 1] = u->segments[s];
        ncuts++;
    }
    buf_put_u32(f, ngroups);
    for (uint32_t g = 0; g < u->ngroups; g++) {
        bool here = skip && skip->group == g;
        if (!here || u->groups[g].nrecipients > 1)
            put_group(c, f, &u->groups[g], here ? skip->recipient : u->groups[g].nrecipients);
    }
    size_t from = 0;
    for (uint32_t i = 0; i <= ncuts; i++) { /* what we wrote, cut where the segments go */
        size_t to = i < ncuts ? c->cuts[i] : f->len;
        c->parts[2 * i] = bytes_of(f->ptr + from, to - from);
        from = to;
    }
    c->env.frame(c->env.user, 2 * ncuts + 1, c->parts);
}

/* What tables' and views' changes mean to subscribers. */
static const Update *evaluate(Core *c, uint32_t nchanges, const TableChange *changes, const ViewsEvaluation *views)
{
    uint32_t n = nchanges;
    const TableChange *all = changes;
    if (views->nchanges) {
        TableChange *both = ARENA_ARRAY(&c->view_arena, TableChange, nchanges + views->nchanges);
        memcpy(both, changes, nchanges * sizeof *both);
        memcpy(both + nchanges, views->changes, views->nchanges * sizeof *both);
        all = both;
        n += views->nchanges;
    }
    return subs_evaluate(c->subs, n, all, views->nfailures, views->failures);
}

void core_send_changes(Core *c, uint32_t nchanges, const TableChange *changes, const ViewsEvaluation *views)
{
    const Update *u = subs_evaluate(c->subs, nchanges, changes, views->nfailures, views->failures);
    send_subscription_failures(c, 0, u->nfailures, u->failures);
    if (u->ngroups)
        send_update(c, 0, u, NULL);
}

/* ---- the commit point ------------------------------------------------------------------------ */

Status core_leave(Core *c, const Leaving *l, Error *err)
{
    static const Update no_update;
    const Update *update = &no_update;
    Engine *e = c->engine;
    uint64_t call_seq = l->h ? l->h->call_seq : 0;
    CommitHeader head = {
        .offset = c->offset + 1, .call_seq = call_seq, .timestamp_us = l->timestamp_us, .schema_version = c->schema->image.version};

    Buf *rec = &c->record;
    buf_reset(rec);
    size_t at = commit_begin(rec);
    if (l->client) {
        commit_put_client(rec, l->client);
        head.nclients = 1;
    }
    size_t sequences_at = rec->len;
    txn_write_sequences(e, rec, &head.nsequences);
    size_t tables_at = rec->len;
    txn_write_tables(e, rec, &head.ntables);
    if (UNLIKELY(!buf_ok(rec))) {
        /* The transaction goes back. Sequence blocks were taken off the engine's list: they leave in a record of their
         * own. */
        txn_rollback(e);
        head.nclients = 0, head.ntables = 0;
        if (head.nsequences) {
            buf_reset(&c->scratch);
            buf_put(&c->scratch, rec->ptr + sequences_at, tables_at - sequences_at);
            buf_reset(rec);
            at = commit_begin(rec);
            buf_put_bytes(rec, buf_bytes(&c->scratch));
            commit_end(rec, at, &head);
            c->offset++;
            c->env.commit(c->env.user, buf_bytes(rec));
        }
        return FAIL(err, S_TOO_LARGE, "the transaction's changes take more than %u bytes when encoded", (unsigned)COMMIT_BYTES_MAX);
    }

    uint32_t nchanges = 0;
    const TableChange *changes = NULL;
    bool follow = views_follow(c->views);
    if (subs_query_count(c->subs) || c->schema->nscheduled || follow)
        changes = txn_changes(e, &nchanges);
    ViewsEvaluation views = {0};
    if (nchanges && follow)
        views = views_evaluate(c->views, nchanges, changes);
    if (nchanges && subs_query_count(c->subs))
        update = evaluate(c, nchanges, changes, &views);
    if (nchanges && c->schema->nscheduled)
        schedule_reserve(c, nchanges, changes);
    ASSERT(l->h || !l->to_caller);
    bool stored = head.nclients || head.nsequences || head.ntables;
    if (stored)
        commit_end(rec, at, &head);

    /* Nothing below can fail. */
    c->offset += stored;
    if (update->nfailures)
        send_subscription_failures(c, call_seq, update->nfailures, update->failures);
    Place place;
    bool mine = l->to_caller && update->ngroups && update_find(update, l->h->slot, l->h->generation, &place);
    if (l->to_caller)
        send_reducer_ok(c, l, update, mine ? &place : NULL);
    else if (l->answer)
        l->answer(c, l);
    if (update->ngroups)
        send_update(c, call_seq, update, mine ? &place : NULL);
    if (stored)
        c->env.commit(c->env.user, buf_bytes(rec));
    if (nchanges && c->schema->nscheduled)
        schedule_follow(c, nchanges, changes, MAX(l->timestamp_us, c->env.clock_us(c->env.user)));
    txn_commit(e);
    views_commit(c->views);
    return S_OK;
}

/* ---- the module's log ------------------------------------------------------------------------ */

void text_append_clean(Buf *out, Str s, size_t max)
{
    size_t room = max;
    while (s.len && room) {
        size_t good = 0; /* the longest valid head: try it whole, else step by character */
        if (s.len <= room && utf8_valid(s)) {
            buf_put_str_raw(out, s);
            return;
        }
        while (good < s.len) {
            uint8_t b = (uint8_t)s.ptr[good];
            size_t n = b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
            if (good + n > room || good + n > s.len || !utf8_valid((Str){s.ptr + good, n}))
                break;
            good += n;
        }
        buf_put(out, s.ptr, good);
        s.ptr += good, s.len -= good, room -= good;
        if (!s.len || room < 3)
            return;
        uint8_t b = (uint8_t)s.ptr[0];
        size_t n = b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
        if (n > room) /* a whole character that does not fit */
            return;
        buf_put_text(out, "\xef\xbf\xbd"); /* U+FFFD */
        s.ptr++, s.len--, room -= 3;
    }
}

void env_log(const CoreEnv *env, Buf *b, uint8_t level, uint32_t line, Str function, Str file, Str message)
{
    buf_reset(b);
    buf_put_u8(b, level);
    buf_put_i64(b, env->clock_us(env->user));
    buf_put_u32(b, line);
    buf_put_u32(b, 0); /* dropped: the ring fills it in */
    buf_put_str(b, function);
    buf_put_str(b, file);
    size_t at = b->len;
    buf_put_u32(b, 0);
    text_append_clean(b, message, LOG_MESSAGE_BYTES_MAX);
    store_u32(b->ptr + at, (uint32_t)(b->len - at - 4));
    env->log(env->user, buf_bytes(b));
}

void core_log(Core *c, uint8_t level, uint32_t line, Str function, Str file, Str message)
{
    env_log(&c->env, &c->log, level, line, function, file, message);
}
