/* log.c - the log thread: takes complete records from the workers, appends them to the commit logs.
 *
 * One batch of a database:
 *
 *   gathering ──submit──▶ in flight ──COMMIT──▶ durable ──▶ the materialiser's queue
 *       ▲                    │
 *       └──── re-send ◀──────┘ connection lost, retryable error, warning at COMMIT
 *
 * A batch is one pipeline {BEGIN; INSERT that raises unless the fence holds; COMMIT}: one round trip. A re-sent batch
 * says ON CONFLICT DO NOTHING, which waits for an old backend that is still at work, and writes its lease's row, so that
 * what it reports rests on a commit of its own (rules 24, 25). Any error ends the connection: whatever else was in flight
 * on it is re-sent as well. The monitor thread makes connections; this thread never waits for PostgreSQL. */
#include "host/storage/storage_int.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zlib.h>

enum { EVENT_WAKE = 1, EVENT_CONN = 2, EVENT_MAX = 64, RECORDS_A_TURN = 4096 };

void put_log_insert(Buf *out, const char *qschema, int segment)
{
    buf_printf(
        out,
        "INSERT INTO %s.st_log_%d SELECT $1::bigint, $2::bigint, $3::integer, $4::bigint, $5::bytea FROM (SELECT 1 / count(*) AS ok FROM"
        " (SELECT 1 FROM spacetime.fence WHERE database_id = $6::bigint AND epoch = $7::bigint FOR SHARE) s) f WHERE f.ok = 1",
        qschema, segment);
}

static void progress(Storage *s, Db *db)
{
    if (s->config.on_progress)
        s->config.on_progress(s->config.user, db->id, atomic_load(&db->complete), atomic_load(&db->durable));
}

/* ---- gathering ------------------------------------------------------------------------------ */

static Status check_record(Db *db, Bytes record, CommitHeader *h, Error *err)
{
    Reader r = reader_of(record);
    TRY(commit_read_header(&r, h, err));
    uint64_t expected = atomic_load_explicit(&db->complete, memory_order_relaxed) + 1;
    const DbLayout *l = db->log_layout;
    if (h->offset != expected)
        return FAIL(err, S_INTERNAL, "the worker sent commit record %llu where %llu is next", (unsigned long long)h->offset,
                    (unsigned long long)expected);
    if (h->schema_version != l->image.version)
        return FAIL(err, S_INTERNAL, "commit record %llu was written for schema version %u, not %u", (unsigned long long)h->offset,
                    h->schema_version, l->image.version);
    TRY(commit_validate(record, &l->image, err));
    CommitClient c;
    CommitSequence q;
    for (uint16_t i = 0; i < h->nclients; i++)
        TRY(commit_read_client(&r, &c, err));
    for (uint16_t i = 0; i < h->nsequences; i++)
        TRY(commit_read_sequence(&r, &q, err));
    for (uint32_t i = 0; i < h->ntables; i++) {
        CommitTable t;
        TRY(commit_read_table(&r, &t, err));
        const TableLayout *layout = layout_table(l, t.table_id);
        if (!layout)
            return FAIL(err, S_INTERNAL, "commit record %llu: table %u is not stored", (unsigned long long)h->offset, t.table_id);
        if (!layout->needs_check && !layout->keyless)
            continue;
        Reader payload = reader_of(t.payload);
        Bytes bytes;
        uint64_t rowno;
        for (uint32_t k = 0; k < t.ndeletes; k++)
            TRY(commit_next_key(&payload, layout->def, &bytes, &rowno, err));
        for (uint32_t k = 0; k < t.ninserts; k++) {
            TRY(commit_next_row(&payload, layout->def, &bytes, &rowno, err));
            TRY(layout_row_storable(layout, bytes, err));
        }
    }
    return S_OK;
}

static void take_record(Storage *s, Db *db, Bytes record, const CommitHeader *h)
{
    Chunk *c = db->waiting.tail;
    if (!c || c->resend || c->version != h->schema_version ||
        (c->payload.len && c->payload.len + record.len + 4 > s->config.batch_bytes_max)) {
        c = chunk_new(s);
        c->first = h->offset;
        c->version = h->schema_version;
        c->arrived_ns = clock_monotonic_ns();
        chunk_push(&db->waiting, c);
    }
    c->last = h->offset;
    size_t before = c->payload.len;
    buf_put_blob(&c->payload, record);
    db->waiting.bytes += c->payload.len - before;
    atomic_store_explicit(&db->complete, h->offset, memory_order_release);
}

static bool backlog_full(const Storage *s, const Db *db)
{
    return db->waiting.bytes >= s->config.backlog_bytes_max ||
           atomic_load_explicit(&db->pending_bytes, memory_order_relaxed) >= 2 * s->config.unmaterialised_bytes_max;
}

static void refresh_layout(Storage *s, Db *db)
{
    if (atomic_load_explicit(&db->layout, memory_order_acquire) == db->log_layout)
        return;
    pthread_mutex_lock(&s->mu);
    DbLayout *old = db->log_layout;
    db->log_layout = layout_ref(atomic_load(&db->layout));
    pthread_mutex_unlock(&s->mu);
    layout_unref(old);
}

/* Read what is complete; go to sleep on the bell when there is nothing. True: there may be more at once. */
static bool gather(Storage *s, Db *db)
{
    if (!db->has_source || db->asleep || db->failed)
        return false;
    bool paused = db->paused && !db->closing_source;
    if (paused)
        return false;
    refresh_layout(s, db);
    uint64_t before = atomic_load_explicit(&db->complete, memory_order_relaxed);
    bool more = false;
    uint32_t n = 0;
    db->stalled = false;
    Error err;
    memset(&err, 0, sizeof err);
    for (;;) {
        if (!db->closing_source && backlog_full(s, db)) {
            db->stalled = true;
            break;
        }
        if (n++ == RECORDS_A_TURN) {
            more = true;
            break;
        }
        Bytes record;
        if (!db->source.next(db->source.user, &record)) {
            if (db->closing_source || !(db->asleep = db->source.sleep_begin(db->source.user))) {
                if (db->closing_source)
                    break;
                continue;
            }
            break;
        }
        CommitHeader h;
        if (check_record(db, record, &h, &err) != S_OK) {
            db->source.taken(db->source.user);
            CONTEXT(&err, "database %llu: the worker broke the protocol", (unsigned long long)db->id);
            db_fail(s, db, &err);
            return false;
        }
        take_record(s, db, record, &h);
    }
    if (atomic_load_explicit(&db->complete, memory_order_relaxed) != before) {
        db->source.taken(db->source.user);
        progress(s, db);
    }
    return more;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void watch(Storage *s, LogConn *c, bool add)
{
    struct epoll_event ev = {.events = EPOLLIN | (c->want_write ? (uint32_t)EPOLLOUT : 0u),
                             .data.u64 = EVENT_CONN + (uint64_t)(c - s->log)};
    (void)epoll_ctl(s->epoll_fd, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, PQsocket(c->pg), &ev);
}

static void request_connection(Storage *s, LogConn *c)
{
    pthread_mutex_lock(&s->mu);
    c->wanted = true;
    pthread_cond_signal(&s->mon_cond);
    pthread_mutex_unlock(&s->mu);
}

/* Put a chunk back in front: it will be sent again. */
static void unsend(Db *db)
{
    Chunk *c = TAKE(db->inflight);
    if (!c)
        return;
    c->resend = true;
    c->next = db->waiting.head;
    db->waiting.head = c;
    if (!db->waiting.tail)
        db->waiting.tail = c;
    db->waiting.bytes += c->payload.len;
}

static void connection_lost(Storage *s, LogConn *c, const char *why)
{
    if (!c->pg)
        return;
    if (why)
        log_warn("commit log: connection to PostgreSQL lost: %.*s", (int)strcspn(why, "\n"), why);
    (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, PQsocket(c->pg), NULL);
    PQfinish(c->pg);
    c->pg = NULL;
    for (uint32_t i = 0; i < c->ninflight; i++)
        if (c->inflight[i])
            unsend(c->inflight[i]);
    c->ninflight = 0;
    c->has_error = c->committed = c->inserted = c->warned = c->want_write = false;
    request_connection(s, c);
}

static LogConn *choose_connection(Storage *s)
{
    LogConn *best = NULL;
    for (uint32_t i = 0; i < s->nlog; i++) {
        LogConn *c = &s->log[i];
        if (c->pg && c->ninflight < COUNT_OF(c->inflight) && (!best || c->ninflight < best->ninflight))
            best = c;
    }
    return best;
}

static uint8_t choose_segment(Storage *s, Db *db)
{
    pthread_mutex_lock(&s->mu);
    uint8_t next = (uint8_t)((db->active + 1) % LOG_SEGMENTS);
    if (db->segments[db->active].bytes > storage_segment_bytes_max && db->segments[next].last == 0)
        db->active = next;
    uint8_t at = db->active;
    pthread_mutex_unlock(&s->mu);
    return at;
}

static bool send_batch(LogConn *c, Db *db, Chunk *b, uint32_t conn_index)
{
    char name[48];
    snprintf(name, sizeof name, "%s%llu_%u", b->resend ? "r" : "l", (unsigned long long)db->serial, b->segment);
    uint32_t *prepared = &db->prepared[conn_index][b->segment];
    if (b->resend || *prepared != c->generation) {
        OWN(buf) Buf sql = {0};
        put_log_insert(&sql, db->log_layout->qschema, b->segment);
        if (b->resend) {
            buf_put_text(&sql, " ON CONFLICT (first_offset) DO NOTHING");
            name[0] = 0; /* the unnamed statement */
        } else {
            *prepared = c->generation;
        }
        if (!PQsendPrepare(c->pg, name, buf_cstr(&sql), 0, NULL))
            return false;
    }
    uint64_t ints[7];
    uint32_t version = __builtin_bswap32(b->version);
    ints[0] = __builtin_bswap64(b->first);
    ints[1] = __builtin_bswap64(b->last);
    ints[3] = __builtin_bswap64((uint64_t)crc32(0, b->payload.ptr, (uInt)b->payload.len));
    ints[5] = __builtin_bswap64(db->id);
    ints[6] = __builtin_bswap64(db->epoch);
    const char *v[7] = {(char *)&ints[0],       (char *)&ints[1], (char *)&version, (char *)&ints[3],
                        (char *)b->payload.ptr, (char *)&ints[5], (char *)&ints[6]};
    int len[7] = {8, 8, 4, 8, (int)b->payload.len, 8, 8}, format[7] = {1, 1, 1, 1, 1, 1, 1};
    if (!PQsendQueryPrepared(c->pg, "b", 0, NULL, NULL, NULL, 0) || !PQsendQueryPrepared(c->pg, name, 7, v, len, format, 0))
        return false;
    if (b->resend && !PQsendQueryPrepared(c->pg, "d", 1, &v[5], &len[5], &format[5], 0))
        return false;
    return PQsendQueryPrepared(c->pg, "c", 0, NULL, NULL, NULL, 0) && PQpipelineSync(c->pg);
}

static void flush(Storage *s, LogConn *c)
{
    int r = PQflush(c->pg);
    if (r < 0) {
        connection_lost(s, c, PQerrorMessage(c->pg));
        return;
    }
    if (c->want_write != (r == 1)) {
        c->want_write = r == 1;
        watch(s, c, false);
    }
}

static void submit(Storage *s, Db *db)
{
    if (db->inflight || !db->waiting.head || db->failed || db->paused)
        return;
    LogConn *c = choose_connection(s);
    if (!c)
        return;
    Chunk *b = chunk_pop(&db->waiting);
    if (!b->resend)
        b->segment = choose_segment(s, db);
    db->inflight = b;
    db->conn = (int)(c - s->log);
    c->inflight[c->ninflight++] = db;
    if (!send_batch(c, db, b, (uint32_t)db->conn))
        connection_lost(s, c, PQerrorMessage(c->pg));
    else
        flush(s, c);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void on_durable(Storage *s, Db *db)
{
    pthread_mutex_lock(&s->mu);
    Chunk *b = TAKE(db->inflight);
    Segment *g = &db->segments[b->segment];
    if (!g->last)
        g->first = b->first;
    g->last = b->last;
    g->bytes += b->payload.len + 64;
    g->done_ns = 0;
    uint64_t none = 0;
    atomic_compare_exchange_strong(&db->oldest_ns, &none, b->arrived_ns);
    atomic_store_explicit(&db->durable, b->last, memory_order_release);
    atomic_fetch_add(&db->pending_bytes, b->payload.len);
    chunk_push(&db->pending, b);
    if (s->mat_idle)
        storage_wake_materialiser(s);
    if (s->waiters)
        pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    progress(s, db);
}

/* The Sync behind the batch of inflight[0] arrived: decide. False: the connection is gone. */
static bool batch_answered(Storage *s, LogConn *c)
{
    Db *db = c->inflight[0];
    bool ok = c->committed && !c->has_error && !c->warned;
    if (ok) {
        c->ninflight--;
        memmove(c->inflight, c->inflight + 1, c->ninflight * sizeof c->inflight[0]);
        c->committed = c->inserted = false;
        if (db)
            on_durable(s, db);
        return true;
    }
    Error err = c->error;
    bool retry = !c->has_error || sqlstate_retryable(err.sqlstate);
    if (!c->has_error)
        FAIL(&err, S_IO, c->warned ? "PostgreSQL warned at COMMIT" : "COMMIT was answered with something else");
    if (!strcmp(err.sqlstate, "22012"))
        FAIL(&err, S_FENCED, "another host owns database %llu now", db ? (unsigned long long)db->id : 0ull);
    connection_lost(s, c, err.text); /* its transaction is aborted, and behind it others may be in flight */
    if (!retry && db)
        db_fail(s, db, &err);
    return false;
}

static void on_readable(Storage *s, LogConn *c)
{
    if (!PQconsumeInput(c->pg)) {
        connection_lost(s, c, PQerrorMessage(c->pg));
        return;
    }
    int nulls = 0;
    while (c->ninflight && !PQisBusy(c->pg)) {
        OWN(result) PGresult *r = PQgetResult(c->pg);
        if (!r) {
            if (++nulls == 2)
                break;
            continue;
        }
        nulls = 0;
        switch (PQresultStatus(r)) {
        case PGRES_COMMAND_OK:
            if (!strcmp(PQcmdStatus(r), "COMMIT"))
                c->committed = true;
            break;
        case PGRES_PIPELINE_SYNC:
            if (!batch_answered(s, c))
                return;
            break;
        case PGRES_PIPELINE_ABORTED:
        case PGRES_TUPLES_OK: break;
        default:
            if (!c->has_error) {
                c->has_error = true;
                PG_FAIL(&c->error, c->pg, r, "commit log");
            }
        }
    }
    if (PQstatus(c->pg) != CONNECTION_OK)
        connection_lost(s, c, PQerrorMessage(c->pg));
}

static void on_notice(void *arg, const PGresult *r)
{
    const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && !strcmp(severity, "WARNING")) {
        ((LogConn *)arg)->warned = true;
        log_warn("commit log: PostgreSQL warns: %s", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
    }
}

static void adopt_connections(Storage *s)
{
    for (uint32_t i = 0; i < s->nlog; i++) {
        LogConn *c = &s->log[i];
        pthread_mutex_lock(&s->mu);
        PGconn *fresh = TAKE(c->fresh);
        pthread_mutex_unlock(&s->mu);
        if (!fresh)
            continue;
        c->pg = fresh;
        c->generation++;
        c->ninflight = 0;
        PQsetNoticeReceiver(fresh, on_notice, c);
        if (PQsetnonblocking(fresh, 1) != 0 || !PQenterPipelineMode(fresh)) {
            connection_lost(s, c, "pipeline mode refused");
            continue;
        }
        watch(s, c, true);
    }
}

/* ---- admission ------------------------------------------------------------------------------ */

static void judge_pressure(Storage *s, Db *db, uint64_t now)
{
    const StorageConfig *k = &s->config;
    uint64_t pending = atomic_load_explicit(&db->pending_bytes, memory_order_relaxed),
             oldest = atomic_load_explicit(&db->oldest_ns, memory_order_relaxed);
    uint64_t held = db->waiting.bytes + (db->inflight ? db->inflight->payload.len : 0);
    if (!db->pressure && !oldest && held < k->backlog_bytes_max / 2)
        return;
    uint64_t lag_ms = oldest && now > oldest ? (now - oldest) / 1000000 : 0;
    bool blocked = db->failures > 0;
    uint32_t part = db->pressure ? 2 : 1; /* admission opens again at half of what closed it */
    bool log_full = held >= k->backlog_bytes_max / 2 / part, tables_full = pending >= k->unmaterialised_bytes_max / part;
    bool late = !blocked && lag_ms > k->lag_bound_ms / part && pending > 0;
    StoragePressure level = log_full || tables_full ? PRESSURE_FULL : late ? PRESSURE_SLOW : PRESSURE_NONE;
    if ((int)level == db->pressure)
        return;
    db->pressure = (int)level;
    char why[256] = "";
    if (log_full)
        snprintf(why, sizeof why, "PostgreSQL %s; %llu MB of commit records wait", s->server_away ? "does not answer" : "is slow",
                 (unsigned long long)(held >> 20));
    else if (level) {
        pthread_mutex_lock(&s->mu);
        snprintf(why, sizeof why, "the tables are %llu ms behind%s%.180s", (unsigned long long)lag_ms, *db->blocked_by ? ": " : "",
                 db->blocked_by);
        pthread_mutex_unlock(&s->mu);
    }
    if (k->on_pressure)
        k->on_pressure(k->user, db->id, level, why);
}

/* ---- commands ------------------------------------------------------------------------------- */

static void watch_bell(Storage *s, Db *db, bool add)
{
    if (db->source.bell_fd < 0)
        return;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = db};
    (void)epoll_ctl(s->epoll_fd, add ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, db->source.bell_fd, &ev);
}

static void wake_source(Db *db)
{
    if (db->asleep) {
        db->asleep = false;
        db->source.sleep_end(db->source.user);
    }
}

static void close_source(Storage *s, Db *db)
{
    if (!db->has_source)
        return;
    wake_source(db);
    db->closing_source = true;
    while (gather(s, db))
        ;
    db->closing_source = false;
    db->has_source = false;
    watch_bell(s, db, false);
}

static void run_command(Storage *s, LogCommand *k)
{
    Db *db = k->db;
    switch (k->kind) {
    case LOG_ATTACH:
        s->log_dbs = x_realloc(s->log_dbs, (s->nlog_dbs + 1) * sizeof *s->log_dbs);
        s->log_dbs[s->nlog_dbs++] = db;
        /* fallthrough */
    case LOG_OPEN_SOURCE:
        close_source(s, db);
        if (k->source) {
            db->source = *k->source;
            db->has_source = true;
            db->asleep = false;
            watch_bell(s, db, true);
        }
        break;
    case LOG_CLOSE_SOURCE: close_source(s, db); break;
    case LOG_PAUSE:
        pthread_mutex_lock(&s->mu);
        k->ok = !db->paused;
        db->paused = true;
        pthread_mutex_unlock(&s->mu);
        break;
    case LOG_REMOVE:
        close_source(s, db);
        for (uint32_t i = 0; i < s->nlog_dbs; i++)
            if (s->log_dbs[i] == db)
                s->log_dbs[i--] = s->log_dbs[--s->nlog_dbs];
        for (uint32_t i = 0; i < s->nlog; i++)
            for (uint32_t j = 0; j < s->log[i].ninflight; j++)
                if (s->log[i].inflight[j] == db)
                    s->log[i].inflight[j] = NULL; /* its answer interests nobody */
        break;
    }
}

static bool run_commands(Storage *s) /* false: stop */
{
    pthread_mutex_lock(&s->mu);
    for (LogCommand *k; (k = s->commands);) {
        s->commands = k->next;
        pthread_mutex_unlock(&s->mu);
        run_command(s, k);
        pthread_mutex_lock(&s->mu);
        k->done = true;
        pthread_cond_broadcast(&s->cond);
    }
    bool stop = s->stopping;
    pthread_mutex_unlock(&s->mu);
    return !stop;
}

bool log_command(Storage *s, LogCommandKind kind, Db *db, const CommitSource *source)
{
    LogCommand k = {.kind = kind, .db = db, .source = source};
    pthread_mutex_lock(&s->mu);
    LogCommand **at = &s->commands;
    while (*at)
        at = &(*at)->next;
    *at = &k;
    storage_wake_log(s);
    while (!k.done)
        pthread_cond_wait(&s->cond, &s->mu);
    pthread_mutex_unlock(&s->mu);
    return k.ok;
}

void *log_main(void *arg)
{
    Storage *s = arg;
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = EVENT_WAKE}, events[EVENT_MAX];
    (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &wake);
    while (run_commands(s)) {
        adopt_connections(s);
        bool more = false, lagging = false;
        uint64_t now = clock_monotonic_ns();
        for (uint32_t i = 0; i < s->nlog_dbs; i++) {
            Db *db = s->log_dbs[i];
            more |= gather(s, db);
            submit(s, db);
            judge_pressure(s, db, now);
            lagging |= db->pressure || atomic_load_explicit(&db->oldest_ns, memory_order_relaxed) || db->stalled;
        }
        int n = epoll_wait(s->epoll_fd, events, EVENT_MAX, more ? 0 : lagging ? 50 : -1);
        for (int i = 0; i < n; i++) {
            uint64_t id = events[i].data.u64;
            if (id == EVENT_WAKE) {
                uint64_t v;
                (void)!read(s->wake_fd, &v, sizeof v);
            } else if (id < EVENT_CONN + LOG_CONNECTIONS_MAX) {
                LogConn *c = &s->log[id - EVENT_CONN];
                if (c->pg && (events[i].events & EPOLLOUT))
                    flush(s, c);
                if (c->pg && (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
                    on_readable(s, c);
            } else {
                Db *db = events[i].data.ptr;
                uint64_t v;
                (void)!read(db->source.bell_fd, &v, sizeof v);
                wake_source(db);
            }
        }
    }
    for (uint32_t i = 0; i < s->nlog; i++)
        conn_close(s->log[i].pg);
    free(s->log_dbs);
    return NULL;
}
