/* storage.c - life cycle: open and close, attach and detach, settle, status, and the monitor thread. */
#include "host/storage/storage_int.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

uint32_t storage_lease_ttl_ms = 10000;
uint64_t storage_segment_bytes_max = 64 << 20;

enum { FREE_CHUNKS_MAX = 16, FREE_CHUNK_BYTES_MAX = 8 << 20, MONITOR_MS = 200, DRAIN_MS = 2000, BLOCKED_MS = 150 };

/* ---- small shared pieces --------------------------------------------------------------------- */

Db *db_find(Storage *s, uint64_t id)
{
    for (Db *db = s->dbs; db; db = db->next)
        if (db->id == id && !db->gone)
            return db;
    return NULL;
}

void db_unlink(Storage *s, Db *db)
{
    for (Db **at = &s->dbs; *at; at = &(*at)->next)
        if (*at == db) {
            *at = db->next;
            return;
        }
}

void db_fail(Storage *s, Db *db, const Error *err)
{
    if (atomic_exchange(&db->failed, true))
        return;
    log_error("database %llu (\"%s\") stops: %s", (unsigned long long)db->id, db->schema, err->text);
    pthread_mutex_lock(&s->mu);
    snprintf(db->blocked_by, sizeof db->blocked_by, "%.*s", (int)sizeof db->blocked_by - 1, err->text);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    if (s->config.on_failure)
        s->config.on_failure(s->config.user, db->id, err);
}

Chunk *chunk_new(Storage *s)
{
    pthread_mutex_lock(&s->mu);
    Chunk *c = s->free_chunks;
    if (c) {
        s->free_chunks = c->next;
        s->nfree_chunks--;
    }
    pthread_mutex_unlock(&s->mu);
    if (!c)
        return NEW(Chunk);
    Buf keep = c->payload;
    buf_reset(&keep);
    *c = (Chunk){.payload = keep};
    return c;
}

void chunk_free(Storage *s, Chunk *c)
{
    if (c->payload.cap <= FREE_CHUNK_BYTES_MAX) {
        pthread_mutex_lock(&s->mu);
        if (s->nfree_chunks < FREE_CHUNKS_MAX) {
            c->next = s->free_chunks;
            s->free_chunks = c;
            s->nfree_chunks++;
            c = NULL;
        }
        pthread_mutex_unlock(&s->mu);
    }
    if (c) {
        buf_done(&c->payload);
        free(c);
    }
}

void storage_wake_log(Storage *s)
{
    uint64_t one = 1;
    (void)!write(s->wake_fd, &one, sizeof one);
}

void storage_wake_materialiser(Storage *s) { pthread_cond_signal(&s->mat_cond); }

static struct timespec timespec_of(uint64_t ns) { return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)}; }

bool storage_wait(Storage *s, uint64_t deadline_ns)
{
    if (clock_monotonic_ns() >= deadline_ns)
        return false;
    struct timespec at = timespec_of(deadline_ns);
    s->waiters++;
    (void)pthread_cond_timedwait(&s->cond, &s->mu, &at);
    s->waiters--;
    return clock_monotonic_ns() < deadline_ns;
}

void find_blocker(PGconn *pg, int pid, const char *schema, char *ret, size_t size)
{
    ret[0] = 0;
    OWN(buf) Buf sql = {0};
    buf_put_text(
        &sql, "SELECT a.pid, a.application_name, coalesce(a.state, 'state unknown'), coalesce(round(extract(epoch FROM clock_timestamp() - "
              "coalesce(a.xact_start, a.query_start)))::text, '?'), left(a.query, 120) FROM pg_stat_activity a WHERE ");
    if (pid) {
        buf_printf(&sql, "a.pid = ANY (pg_blocking_pids(%d))", pid);
    } else {
        buf_put_text(&sql, "a.pid <> pg_backend_pid() AND a.application_name NOT LIKE 'spacetime-pg %' AND EXISTS (SELECT 1 FROM pg_locks "
                           "l JOIN pg_class c ON c.oid = l.relation"
                           " WHERE l.pid = a.pid AND l.granted AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = ");
        put_literal(&sql, str_of(schema));
        buf_put_text(&sql, "))");
    }
    buf_put_text(&sql, " LIMIT 1");
    OWN(result) PGresult *r = PQexec(pg, buf_cstr(&sql));
    if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r))
        snprintf(ret, size, "pid %s (%s, %s, %s s): %s", PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1), PQgetvalue(r, 0, 2), PQgetvalue(r, 0, 3),
                 PQgetvalue(r, 0, 4));
}

/* ---- the monitor ------------------------------------------------------------------------------ */

/* Rule 26: is this the PostgreSQL that we wrote to, and does it still have what we reported as durable? */
static Status check_database(Storage *s, PGconn *pg, Db *db, Error *err)
{
    uint64_t durable = atomic_load(&db->durable);
    Params p = {0};
    params_text(&p, str_of(db->schema));
    OWN(result) PGresult *r = NULL;
    TRY(pg_query(pg, &r, err, "SELECT durable FROM spacetime.offsets($1)", &p, false));
    uint64_t stored = (uint64_t)pg_i64(r, 0, 0);
    Error why;
    if (stored < durable && !db->paused) {
        FAIL(&why, S_IO, "PostgreSQL has lost the records %llu to %llu, which were acknowledged: a failover to a standby that was behind",
             (unsigned long long)stored + 1, (unsigned long long)durable);
        db_fail(s, db, &why);
    } else if (stored > atomic_load(&db->complete) && !db->paused) {
        FAIL(&why, S_FENCED, "PostgreSQL has records up to %llu that this host did not write", (unsigned long long)stored);
        db_fail(s, db, &why);
    }
    return S_OK;
}

/* The attached databases one by one, by ascending id, since the list may change between two steps: the next after `*after`, held until db_let_go.
 * NULL: that was the last. */
static Db *next_db(Storage *s, uint64_t *after)
{
    pthread_mutex_lock(&s->mu);
    Db *db = NULL;
    for (Db *d = s->dbs; d; d = d->next)
        if (d->id > *after && !d->gone && !d->failed && (!db || d->id < db->id))
            db = d;
    if (db) {
        db->users++;
        *after = db->id;
    }
    pthread_mutex_unlock(&s->mu);
    return db;
}

static void db_let_go(Storage *s, Db *db)
{
    pthread_mutex_lock(&s->mu);
    db->users--;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

/* The connection string leads to another cluster than before: nothing that this host holds in memory is known to be there. Every database
 * stops with the reason, and what is opened next comes from the cluster that answers now (rule 26). */
static void another_cluster(Storage *s, const ServerId *before, const ServerId *now)
{
    Error why;
    FAIL(&why, S_CONFLICT, "this is another PostgreSQL cluster (system identifier %s, before %s)", now->system, before->system);
    log_error("%s: every database stops, and is opened again from this one", why.text);
    uint64_t after = 0;
    for (Db *db; (db = next_db(s, &after));) {
        db_fail(s, db, &why);
        db_let_go(s, db);
    }
}

void storage_check_cluster(Storage *s, PGconn *pg)
{
    OWN(result)
    PGresult *r = PQexec(pg, "SELECT s.system_identifier::text, c.timeline_id FROM pg_control_system() s, pg_control_checkpoint() c");
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        return; /* we may not look; offsets still tell */
    ServerId now = {.timeline = (uint32_t)pg_i64(r, 0, 1)};
    snprintf(now.system, sizeof now.system, "%s", PQgetvalue(r, 0, 0));
    pthread_mutex_lock(&s->mu);
    ServerId before = s->server;
    pthread_mutex_unlock(&s->mu);
    if (before.system[0] && strcmp(before.system, now.system))
        another_cluster(s, &before, &now);
    else if (before.system[0] && before.timeline != now.timeline)
        log_warn("PostgreSQL went from timeline %u to %u (a failover or a restore); comparing offsets", before.timeline, now.timeline);
    pthread_mutex_lock(&s->mu);
    s->server = now;
    pthread_mutex_unlock(&s->mu);
}

Status storage_check_server(Storage *s, PGconn *pg, Error *err)
{
    storage_check_cluster(s, pg);
    uint64_t after = 0;
    for (Db *db; (db = next_db(s, &after));) {
        Status code = check_database(s, pg, db, err);
        db_let_go(s, db);
        TRY(code);
    }
    return S_OK;
}

static Status open_log_connection(Storage *s, PGconn **ret, Error *err)
{
    PGconn *pg;
    TRY(conn_open(&pg, s->conninfo, s->host_id, CONN_LOG, err));
    static const char *const statements[][2] = {
        {"b", "BEGIN"}, {"c", "COMMIT"}, {"d", "UPDATE spacetime.leases SET doubts = doubts + 1 WHERE database_id = $1::bigint"}};
    Status code = storage_check_server(s, pg, err);
    for (size_t i = 0; code == S_OK && i < COUNT_OF(statements); i++) {
        OWN(result) PGresult *r = PQprepare(pg, statements[i][0], statements[i][1], 0, NULL);
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            code = PG_FAIL(err, pg, r, "preparing");
    }
    if (code != S_OK) {
        conn_close(pg);
        return code;
    }
    *ret = pg;
    return S_OK;
}

typedef struct Monitor {
    PGconn *pg;
    uint64_t beat_ns, retry_ns, poll_ns;
    uint32_t failures;
} Monitor;

static void make_connections(Storage *s, Monitor *m)
{
    for (uint32_t i = 0; i < s->nlog; i++) {
        LogConn *c = &s->log[i];
        pthread_mutex_lock(&s->mu);
        bool wanted = c->wanted && !s->stopping;
        pthread_mutex_unlock(&s->mu);
        if (!wanted || clock_monotonic_ns() < m->retry_ns)
            continue;
        PGconn *pg;
        Error err;
        if (open_log_connection(s, &pg, &err) != S_OK) {
            if (!s->server_away)
                log_warn("PostgreSQL: %s", err.text);
            s->server_away = true;
            uint32_t ms = MIN(50u << MIN(m->failures, 6u), 2000u);
            m->failures++;
            m->retry_ns = clock_monotonic_ns() + ms * UINT64_C(1000000);
            continue;
        }
        if (s->server_away)
            log_info("PostgreSQL answers again");
        s->server_away = false;
        m->failures = 0;
        m->retry_ns = 0;
        pthread_mutex_lock(&s->mu);
        c->wanted = false;
        c->fresh = pg;
        pthread_mutex_unlock(&s->mu);
        storage_wake_log(s);
    }
}

static bool monitor_connection(Storage *s, Monitor *m)
{
    if (m->pg && PQstatus(m->pg) == CONNECTION_OK)
        return true;
    conn_close(TAKE(m->pg));
    Error err;
    if (s->server_away || conn_open(&m->pg, s->conninfo, s->host_id, CONN_MONITOR, &err) != S_OK)
        return false;
    return true;
}

static void name_blocker(Storage *s, Monitor *m)
{
    int pid = atomic_load(&s->mat_pid);
    uint64_t since = atomic_load(&s->mat_since_ns), id = atomic_load(&s->mat_db);
    if (!pid || clock_monotonic_ns() - since < BLOCKED_MS * UINT64_C(1000000) || !monitor_connection(s, m))
        return;
    char who[256], table[70] = "a table";
    find_blocker(m->pg, pid, NULL, who, sizeof who);
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "SELECT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = %d AND NOT l.granted LIMIT 1",
               pid);
    OWN(result) PGresult *r = *who ? PQexec(m->pg, buf_cstr(&sql)) : NULL;
    if (PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r))
        snprintf(table, sizeof table, "table %.63s", PQgetvalue(r, 0, 0));
    if (!*who || atomic_load(&s->mat_pid) != pid || atomic_load(&s->mat_since_ns) != since)
        return;
    pthread_mutex_lock(&s->mu);
    Db *db = db_find(s, id);
    bool news = db && !*db->blocked_by;
    if (db)
        snprintf(db->blocked_by, sizeof db->blocked_by, "%s is locked by %.180s", table, who);
    pthread_mutex_unlock(&s->mu);
    if (news)
        log_warn("database %llu: the tables wait: %s is locked by %s", (unsigned long long)id, table, who);
}

/* spacetime.blockers follows blocked_by, as far as that works. */
static void report_blockers(Storage *s, Monitor *m)
{
    for (uint64_t after = 0;;) {
        char text[256] = "";
        uint64_t id = 0;
        bool change = false;
        pthread_mutex_lock(&s->mu);
        for (Db *db = s->dbs; db; db = db->next) {
            if (db->id > after && strcmp(db->blocked_by, db->reported_by) && (!id || db->id < id)) {
                id = db->id;
                change = true;
                memcpy(text, db->blocked_by, sizeof text);
            }
        }
        pthread_mutex_unlock(&s->mu);
        if (!change || !monitor_connection(s, m))
            return;
        after = id;
        Params p = {0};
        params_i64(&p, (int64_t)id);
        Error err;
        Status code;
        if (*text) {
            const char *state = strstr(text, "SQLSTATE ");
            params_text(&p, str_of(text));
            params_text(&p, state ? (Str){state + 9, strnlen(state + 9, 5)} : STR(""));
            code = pg_query(m->pg, NULL, &err,
                            "INSERT INTO spacetime.blockers (database_id, reason, sqlstate) VALUES ($1, $2, $3)"
                            " ON CONFLICT (database_id) DO UPDATE SET reason = $2, sqlstate = $3",
                            &p, false);
        } else {
            code = pg_query(m->pg, NULL, &err, "DELETE FROM spacetime.blockers WHERE database_id = $1", &p, false);
        }
        pthread_mutex_lock(&s->mu);
        Db *db = db_find(s, id);
        if (db && code == S_OK)
            memcpy(db->reported_by, text, sizeof text);
        pthread_mutex_unlock(&s->mu);
    }
}

/* Somebody waits in spacetime.settle: try blocked tables again now. */
static void poll_settle(Storage *s, Monitor *m)
{
    pthread_mutex_lock(&s->mu);
    bool any = false;
    for (Db *db = s->dbs; db; db = db->next)
        any |= db->failures && db->pending.head;
    pthread_mutex_unlock(&s->mu);
    if (!any || !monitor_connection(s, m))
        return;
    OWN(result)
    PGresult *r = PQexec(
        m->pg, "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1398032455 AND objid <> 0 AND mode = 'ShareLock'");
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        return;
    pthread_mutex_lock(&s->mu);
    for (int i = 0; i < PQntuples(r); i++) {
        Db *db = db_find(s, (uint64_t)pg_i64(r, i, 0));
        if (db && db->retry_ns) {
            db->retry_ns = 0;
            storage_wake_materialiser(s);
        }
    }
    pthread_mutex_unlock(&s->mu);
}

static void *monitor_main(void *arg)
{
    Storage *s = arg;
    Monitor m = {0};
    pthread_mutex_lock(&s->mu);
    while (!s->stopping) {
        pthread_mutex_unlock(&s->mu);
        make_connections(s, &m);
        uint64_t now = clock_monotonic_ns();
        if (!s->heartbeat_off && now - m.beat_ns > storage_lease_ttl_ms * UINT64_C(1000000) / 4 && monitor_connection(s, &m)) {
            Error err;
            if (host_register(s, m.pg, &err) == S_OK)
                m.beat_ns = now;
        }
        name_blocker(s, &m);
        report_blockers(s, &m);
        poll_settle(s, &m);
        pthread_mutex_lock(&s->mu);
        bool busy = false;
        for (uint32_t i = 0; i < s->nlog; i++)
            busy |= s->log[i].wanted;
        if (s->stopping)
            break;
        struct timespec at = timespec_of(clock_monotonic_ns() + (busy ? 50 : MONITOR_MS) * UINT64_C(1000000));
        (void)pthread_cond_timedwait(&s->mon_cond, &s->mu, &at);
    }
    pthread_mutex_unlock(&s->mu);
    conn_close(m.pg);
    return NULL;
}

/* ---- open and close --------------------------------------------------------------------------- */

static void describe(Storage *s, PGconn *pg)
{
    const char *host = PQhost(pg), *version = PQparameterStatus(pg, "server_version");
    s->description = x_sprintf("PostgreSQL %.*s at %s, database %s", (int)strcspn(version ? version : "?", " "), version ? version : "?",
                               host ? host : "?", PQdb(pg));
}

static Status first_connection(Storage *s, Error *err)
{
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Status code = S_OK;
    describe(s, pg);
    OWN(result) PGresult *r = NULL;
    code = pg_exec(pg, &r, err, "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_encoding')");
    if (code == S_OK) {
        if (strcmp(PQgetvalue(r, 0, 0), "on") || strcmp(PQgetvalue(r, 0, 1), "on"))
            log_warn("PostgreSQL runs with fsync = %s and full_page_writes = %s: acknowledged data can be lost when the machine stops",
                     PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1));
        if (strcmp(PQgetvalue(r, 0, 2), "UTF8"))
            code = FAIL(err, S_INVALID,
                        "the PostgreSQL database has encoding %s; UTF8 is needed (CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0)",
                        PQgetvalue(r, 0, 2));
    }
    if (code == S_OK)
        code = catalog_apply(s, pg, err);
    if (code == S_OK)
        code = host_register(s, pg, err);
    if (code == S_OK)
        code = storage_check_server(s, pg, err);
    pool_give(s, pg);
    return code;
}

static void storage_free(Storage *s)
{
    for (uint32_t i = 0; i < s->pool_idle; i++)
        conn_close(s->pool[i]);
    while (s->free_chunks) {
        Chunk *c = s->free_chunks;
        s->free_chunks = c->next;
        buf_done(&c->payload);
        free(c);
    }
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    pthread_mutex_destroy(&s->mu);
    pthread_cond_destroy(&s->cond);
    pthread_cond_destroy(&s->mat_cond);
    pthread_cond_destroy(&s->mon_cond);
    free(s->conninfo);
    free(s->sql_dir);
    free(s->description);
    free(s);
}

#define DEFAULT(field, value) s->config.field = s->config.field ? s->config.field : (value)

Status storage_open(Storage **ret, const StorageConfig *config, Error *err)
{
    Storage *s = NEW(Storage);
    s->config = *config;
    DEFAULT(pool_connections, 4);
    DEFAULT(log_connections, 2);
    DEFAULT(lag_bound_ms, 1000);
    DEFAULT(batch_bytes_max, 4u << 20);
    DEFAULT(backlog_bytes_max, 64u << 20);
    DEFAULT(unmaterialised_bytes_max, 256u << 20);
    s->conninfo = x_strdup(config->conninfo ? config->conninfo : "");
    s->sql_dir = config->sql_dir ? x_strdup(config->sql_dir) : NULL;
    pthread_mutex_init(&s->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->cond, &attr);
    pthread_cond_init(&s->mat_cond, &attr);
    pthread_cond_init(&s->mon_cond, &attr);
    pthread_condattr_destroy(&attr);
    s->nlog = MIN(s->config.log_connections, (uint32_t)LOG_CONNECTIONS_MAX);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    uint8_t id[16];
    Status code = s->wake_fd < 0 || s->epoll_fd < 0 ? FAIL(err, S_IO, "no descriptors left") : random_fill(id, sizeof id, err);
    if (code == S_OK) {
        hex_encode(s->host_id, id, sizeof id);
        code = first_connection(s, err);
    }
    if (code != S_OK) {
        storage_free(s);
        return code;
    }
    for (uint32_t i = 0; i < s->nlog; i++)
        s->log[i].wanted = true;
    if (pthread_create(&s->log_thread, NULL, log_main, s) != 0 || pthread_create(&s->mat_thread, NULL, materialise_main, s) != 0 ||
        pthread_create(&s->mon_thread, NULL, monitor_main, s) != 0)
        BUG("cannot start threads");
    *ret = s;
    return S_OK;
}

const char *storage_describe(const Storage *s) { return s->description; }

void storage_close(Storage *s)
{
    if (!s)
        return;
    for (;;) {
        pthread_mutex_lock(&s->mu);
        uint64_t id = 0;
        for (Db *db = s->dbs; db && !id; db = db->next)
            id = db->gone ? 0 : db->id;
        Db *db = id ? db_find(s, id) : NULL;
        Lease lease = {id, db ? db->epoch : 0};
        pthread_mutex_unlock(&s->mu);
        if (!id)
            break;
        storage_detach(s, id);
        storage_release(s, &lease);
    }
    PGconn *pg;
    Error err;
    if (!s->server_away && pool_take(s, &pg, &err) == S_OK) {
        Params p = {0};
        params_text(&p, str_of(s->host_id));
        (void)!pg_query(pg, NULL, &err,
                        "WITH l AS (DELETE FROM spacetime.leases WHERE host_id = $1) DELETE FROM spacetime.hosts WHERE id = $1", &p, false);
        pool_give(s, pg);
    }
    pthread_mutex_lock(&s->mu);
    s->stopping = true;
    pthread_cond_broadcast(&s->cond);
    pthread_cond_broadcast(&s->mat_cond);
    pthread_cond_broadcast(&s->mon_cond);
    pthread_mutex_unlock(&s->mu);
    storage_wake_log(s);
    pthread_join(s->mon_thread, NULL);
    pthread_join(s->mat_thread, NULL);
    pthread_join(s->log_thread, NULL);
    for (uint32_t i = 0; i < s->nlog; i++)
        conn_close(s->log[i].fresh);
    storage_free(s);
}

/* ---- attach and detach ------------------------------------------------------------------------ */

static void queue_done(ChunkQueue *q)
{
    for (Chunk *c; (c = chunk_pop(q));) {
        buf_done(&c->payload);
        free(c);
    }
}

static void db_free(Db *db)
{
    queue_done(&db->waiting);
    queue_done(&db->pending);
    if (db->inflight) {
        buf_done(&db->inflight->payload);
        free(db->inflight);
    }
    layout_unref(atomic_load(&db->layout));
    layout_unref(db->log_layout);
    layout_unref(db->next_layout);
    if (db->next_first) {
        buf_done(&db->next_first->payload);
        free(db->next_first);
    }
    free(db->schema);
    free(db);
}

/* Segments, and the log rows that the tables do not show yet. */
static Status pick_up_log(Storage *s, PGconn *pg, Db *db, uint64_t offset, Error *err)
{
    const char *q = atomic_load(&db->layout)->qschema;
    OWN(buf) Buf sql = {0};
    buf_printf(&sql, "SELECT materialised FROM %s.st_state", q);
    OWN(result) PGresult *state = NULL;
    TRY(pg_exec(pg, &state, err, buf_cstr(&sql)));
    if (PQntuples(state) != 1)
        return FAIL(err, S_INTERNAL, "%s.st_state has %d rows", q, PQntuples(state));
    uint64_t materialised = (uint64_t)pg_i64(state, 0, 0), last = materialised, best = 0;
    atomic_store(&db->materialised, materialised);
    for (int i = 0; i < LOG_SEGMENTS; i++) {
        buf_reset(&sql);
        buf_printf(&sql,
                   "SELECT coalesce(min(first_offset), 0), coalesce(max(last_offset), 0), coalesce(sum(octet_length(payload)), 0)::bigint "
                   "FROM %s.st_log_%d",
                   q, i);
        OWN(result) PGresult *r = NULL;
        TRY(pg_exec(pg, &r, err, buf_cstr(&sql)));
        db->segments[i] =
            (Segment){.first = (uint64_t)pg_i64(r, 0, 0), .last = (uint64_t)pg_i64(r, 0, 1), .bytes = (uint64_t)pg_i64(r, 0, 2)};
        if (db->segments[i].last > best) {
            best = db->segments[i].last;
            db->active = (uint8_t)i;
        }
    }
    buf_reset(&sql);
    buf_printf(&sql,
               "SELECT first_offset, last_offset, schema_version, checksum, payload FROM (SELECT * FROM %s.st_log_0 UNION ALL SELECT * "
               "FROM %s.st_log_1 UNION ALL SELECT * FROM %s.st_log_2) l"
               " WHERE last_offset > %llu ORDER BY first_offset",
               q, q, q, (unsigned long long)materialised);
    OWN(result) PGresult *r = NULL;
    Params none = {0};
    TRY(pg_query(pg, &r, err, buf_cstr(&sql), &none, true));
    for (int i = 0; i < PQntuples(r); i++) {
        Chunk *c = NEW(Chunk);
        c->first = be_u64(PQgetvalue(r, i, 0));
        c->last = be_u64(PQgetvalue(r, i, 1));
        c->version = be_u32(PQgetvalue(r, i, 2));
        c->arrived_ns = clock_monotonic_ns();
        buf_put(&c->payload, PQgetvalue(r, i, 4), (size_t)PQgetlength(r, i, 4));
        bool whole = (uint64_t)crc32(0, c->payload.ptr, (uInt)c->payload.len) == be_u64(PQgetvalue(r, i, 3));
        uint64_t first = c->first, end = c->last;
        chunk_push(&db->pending, c);
        if (!whole)
            return FAIL(err, S_INTERNAL, "commit log row %llu: the checksum is wrong", (unsigned long long)first);
        if (first != last + 1)
            return FAIL(err, S_INTERNAL, "the commit log has a gap: offset %llu follows %llu", (unsigned long long)first,
                        (unsigned long long)last);
        last = end;
    }
    atomic_store(&db->pending_bytes, db->pending.bytes);
    if (last != offset)
        return FAIL(err, S_CONFLICT, "the stored records end at %llu, not at %llu", (unsigned long long)last, (unsigned long long)offset);
    atomic_store(&db->complete, last);
    atomic_store(&db->durable, last);
    if (db->pending.head)
        atomic_store(&db->oldest_ns, db->pending.head->arrived_ns);
    (void)s;
    return S_OK;
}

Status storage_attach(Storage *s, const Lease *lease, const SchemaImage *image, uint64_t offset, const CommitSource *source, Error *err)
{
    pthread_mutex_lock(&s->mu);
    bool there = db_find(s, lease->database_id) != NULL;
    pthread_mutex_unlock(&s->mu);
    if (there)
        return FAIL(err, S_CONFLICT, "database %llu is attached already", (unsigned long long)lease->database_id);
    PGconn *pg;
    TRY(pool_take(s, &pg, err));
    Params p = {0};
    params_i64(&p, (int64_t)lease->database_id);
    OWN(result) PGresult *r = NULL;
    Status code = pg_query(pg, &r, err, "SELECT schema_name, schema_version FROM spacetime.databases WHERE id = $1", &p, false);
    if (code == S_OK)
        code = fence_check(pg, lease, err);
    if (code == S_OK && (!PQntuples(r) || (uint32_t)pg_i64(r, 0, 1) != image->version))
        code = FAIL(err, S_CONFLICT, "database %llu: the catalog has schema version %s, not %u", (unsigned long long)lease->database_id,
                    PQntuples(r) ? PQgetvalue(r, 0, 1) : "none", image->version);
    if (code != S_OK) {
        pool_give(s, pg);
        return code;
    }
    Db *db = NEW(Db);
    db->id = lease->database_id;
    db->epoch = lease->epoch;
    db->conn = -1;
    db->schema = x_strdup(PQgetvalue(r, 0, 0));
    memcpy(db->reported_by, "?", 2); /* what an earlier host left is corrected */
    DbLayout *l = layout_new(image, db->schema);
    atomic_store(&db->layout, l);
    db->log_layout = layout_ref(l);
    code = pick_up_log(s, pg, db, offset, err);
    pool_give(s, pg);
    if (code != S_OK) {
        db_free(db);
        return CONTEXT(err, "attaching database %llu", (unsigned long long)lease->database_id);
    }
    pthread_mutex_lock(&s->mu);
    db->serial = ++s->attachments;
    db->next = s->dbs;
    s->dbs = db;
    storage_wake_materialiser(s);
    pthread_mutex_unlock(&s->mu);
    log_command(s, LOG_ATTACH, db, source);
    return S_OK;
}

static Db *hold(Storage *s, uint64_t id)
{
    pthread_mutex_lock(&s->mu);
    Db *db = db_find(s, id);
    if (db)
        db->users++;
    pthread_mutex_unlock(&s->mu);
    return db;
}

static void unhold(Storage *s, Db *db)
{
    pthread_mutex_lock(&s->mu);
    db->users--;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
}

#define NOT_ATTACHED(err, id) FAIL(err, S_NOT_FOUND, "database %llu is not attached", (unsigned long long)(id))

static uint64_t deadline_in_ms(uint64_t ms) { return clock_monotonic_ns() + ms * 1000000; }

bool storage_passing(const Error *err) { return sqlstate_retryable(err->sqlstate); }

Status storage_drain_source(Storage *s, uint64_t database_id, uint64_t *ret_offset, Error *err)
{
    Db *db = hold(s, database_id);
    if (!db)
        return NOT_ATTACHED(err, database_id);
    log_command(s, LOG_CLOSE_SOURCE, db, NULL);
    storage_wake_log(s);
    uint64_t deadline = deadline_in_ms(DRAIN_MS);
    pthread_mutex_lock(&s->mu);
    while (!db->failed && atomic_load(&db->durable) != atomic_load(&db->complete) && storage_wait(s, deadline))
        ;
    pthread_mutex_unlock(&s->mu);
    bool done = atomic_load(&db->durable) == atomic_load(&db->complete);
    uint64_t offset = atomic_load(&db->durable);
    bool failed = db->failed;
    unhold(s, db);
    if (failed)
        return FAIL(err, S_IO, "database %llu has failed", (unsigned long long)database_id);
    if (!done)
        return FAIL(err, S_UNAVAILABLE, "PostgreSQL does not take the last records");
    *ret_offset = offset;
    return S_OK;
}

Status storage_replace_source(Storage *s, uint64_t database_id, const CommitSource *source, Error *err)
{
    Db *db = hold(s, database_id);
    if (!db)
        return NOT_ATTACHED(err, database_id);
    log_command(s, LOG_OPEN_SOURCE, db, source);
    unhold(s, db);
    return S_OK;
}

void storage_detach(Storage *s, uint64_t database_id)
{
    pthread_mutex_lock(&s->mu);
    Db *db = db_find(s, database_id);
    pthread_mutex_unlock(&s->mu);
    if (!db)
        return;
    log_command(s, LOG_CLOSE_SOURCE, db, NULL);
    storage_wake_log(s);
    uint64_t deadline = deadline_in_ms(s->server_away ? 2000 : 10000);
    pthread_mutex_lock(&s->mu);
    while (!db->failed && atomic_load(&db->durable) != atomic_load(&db->complete) && storage_wait(s, deadline))
        ;
    deadline = deadline_in_ms(2000); /* not needed, but the next start is faster */
    while (!db->failed && !db->failures && atomic_load(&db->materialised) != atomic_load(&db->complete) && storage_wait(s, deadline))
        ;
    bool lost = !db->failed && atomic_load(&db->durable) != atomic_load(&db->complete);
    db->gone = true;
    pthread_mutex_unlock(&s->mu);
    if (lost)
        log_error("database %llu: detached with records %llu to %llu unstored; nobody was told that they are durable",
                  (unsigned long long)db->id, (unsigned long long)atomic_load(&db->durable) + 1,
                  (unsigned long long)atomic_load(&db->complete));
    log_command(s, LOG_REMOVE, db, NULL);
    pthread_mutex_lock(&s->mu);
    while (db->users || db->round_open)
        pthread_cond_wait(&s->cond, &s->mu);
    db_unlink(s, db);
    pthread_mutex_unlock(&s->mu);
    db_free(db);
}

/* Wait until the tables show `target`; a waiter makes the rounds begin at once. */
static Status wait_materialised(Storage *s, Db *db, uint64_t target, uint64_t deadline_ns, uint32_t timeout_ms, Error *err)
{
    pthread_mutex_lock(&s->mu);
    db->retry_ns = 0;
    storage_wake_materialiser(s);
    while (!db->failed && atomic_load(&db->materialised) < target && storage_wait(s, deadline_ns))
        ;
    bool settled = atomic_load(&db->materialised) >= target, failed = db->failed;
    char why[256];
    memcpy(why, db->blocked_by, sizeof why);
    pthread_mutex_unlock(&s->mu);
    if (failed)
        return FAIL(err, S_IO, "database %llu has failed: %s", (unsigned long long)db->id, why);
    if (!settled)
        return FAIL(err, S_UNAVAILABLE, "the tables show offset %llu, not yet %llu, after %u ms: %s",
                    (unsigned long long)atomic_load(&db->materialised), (unsigned long long)target, timeout_ms,
                    *why             ? why
                    : s->server_away ? "PostgreSQL does not answer"
                                     : "still at work");
    return S_OK;
}

Status storage_catch_up(Storage *s, uint64_t database_id, uint32_t timeout_ms, Error *err)
{
    Db *db = hold(s, database_id);
    if (!db)
        return NOT_ATTACHED(err, database_id);
    Status status = wait_materialised(s, db, atomic_load(&db->complete), deadline_in_ms(timeout_ms), timeout_ms, err);
    unhold(s, db);
    return status;
}

Status storage_settle(Storage *s, uint64_t database_id, uint32_t timeout_ms, Error *err)
{
    Db *db = hold(s, database_id);
    if (!db)
        return NOT_ATTACHED(err, database_id);
    uint64_t deadline = deadline_in_ms(timeout_ms);
    Status code = wait_materialised(s, db, atomic_load(&db->complete), deadline, timeout_ms, err);
    bool quiet = false;
    if (code == S_OK && log_command(s, LOG_PAUSE, db, NULL)) { /* when nothing is under way the log can be emptied */
        pthread_mutex_lock(&s->mu);
        while ((db->inflight || db->round_open) && storage_wait(s, deadline))
            ;
        quiet = !db->inflight && !db->round_open && atomic_load(&db->durable) == atomic_load(&db->materialised);
        if (!quiet)
            db->paused = false;
        pthread_mutex_unlock(&s->mu);
        if (!quiet)
            storage_wake_log(s);
    }
    if (quiet) {
        PGconn *pg;
        code = pool_take(s, &pg, err);
        if (code == S_OK) {
            code = truncate_segments(s, pg, db, true, err);
            pool_give(s, pg);
        }
        pthread_mutex_lock(&s->mu);
        db->paused = false;
        storage_wake_materialiser(s);
        pthread_mutex_unlock(&s->mu);
        storage_wake_log(s);
    }
    unhold(s, db);
    return code;
}

Status storage_status(Storage *s, uint64_t database_id, StorageStatus *ret)
{
    pthread_mutex_lock(&s->mu);
    Db *db = db_find(s, database_id);
    if (db) {
        uint64_t oldest = atomic_load(&db->oldest_ns), now = clock_monotonic_ns();
        *ret = (StorageStatus){.complete = atomic_load(&db->complete),
                               .durable = atomic_load(&db->durable),
                               .materialised = atomic_load(&db->materialised),
                               .lag_us = oldest && now > oldest ? (now - oldest) / 1000 : 0};
        memcpy(ret->blocked_by, db->blocked_by, sizeof ret->blocked_by);
    }
    pthread_mutex_unlock(&s->mu);
    return db ? S_OK : S_NOT_FOUND;
}
