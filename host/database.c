/* database.c - one open database on the loop thread: slots, calls in flight, frames on their way out. */
#include "host/host.h"
#include "host/wire/identity.h"
#include "host/wire/messages.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    DRAIN_BYTES_MAX = 4 << 20,        /* frames of one database in one turn of the loop */
    CALL_BACKLOG_BYTES_MAX = 1 << 20, /* calls that wait for room in the ring before clients are not read from */
    INFLIGHT_BYTES_MAX = 64 << 20,    /* calls kept while a worker is being replaced */
    SLOTS_MAX = 100000,
    DISCONNECT_TRIES_MAX = 2, /* of a client_disconnected that kills its worker */
    FRAME_GROUPS_MAX = 1 << 20,
};

const char *database_state_name(DbState s)
{
    static const char *const names[] = {"closed", "opening", "open", "recovering", "closing", "deleted"};
    return names[s];
}

const char *database_condition(const Database *db)
{
    return db->state == DB_CLOSED && db->last_error.code != S_OK ? "stopped" : database_state_name(db->state);
}

/* ---- the list ---- */

Database *database_find(Host *h, const uint8_t identity[32])
{
    for (Database *db = h->databases; db; db = db->next)
        if (memcmp(db->identity, identity, 32) == 0)
            return db;
    return NULL;
}

Database *database_find_by_name(Host *h, Str name)
{
    for (Database *db = h->databases; db; db = db->next)
        if (db->state != DB_DELETED && str_is(name, db->name))
            return db;
    return NULL;
}

Database *database_get(Host *h, const uint8_t identity[32])
{
    Database *db = database_find(h, identity);
    if (db)
        return db;
    db = NEW(Database);
    db->host = h;
    memcpy(db->identity, identity, 32);
    identity_to_hex(db->hex, identity);
    snprintf(db->name, sizeof db->name, "%s", db->hex);
    db->operations_tail = &db->operations;
    db->free_slot = CLIENT_NONE;
    db->wake_us = INT64_MAX;
    db->next_call_seq = 1;
    db->logs = logs_open(h->config.data_dir, db->hex, &h->config.logs);
    db->idle_since_ns = clock_monotonic_ns();
    pthread_mutex_lock(&h->lock); /* storage's threads look ids up */
    db->next = h->databases;
    h->databases = db;
    pthread_mutex_unlock(&h->lock);
    return db;
}

void database_identify(Database *db, uint64_t id, const uint8_t owner[32], const char *name)
{
    if (db->id != id)
        db->id = id;
    if (memcmp(db->owner, owner, 32) != 0)
        memcpy(db->owner, owner, 32);
    if (name[0] && strcmp(db->name, name) != 0)
        snprintf(db->name, sizeof db->name, "%s", name);
}

/* ---- operations: one at a time ---- */

static void operate_next(Database *db);

static void operation_work(void *arg)
{
    Operation *op = arg;
    op->work(op);
}

static void operation_after(void *arg)
{
    Operation *op = arg;
    Database *db = op->db;
    db->operating = false;
    op->after(op);
    free(op);
    operate_next(db);
}

static void operate_next(Database *db)
{
    Operation *op = db->operations;
    if (!op || db->operating)
        return;
    db->operations = op->next;
    if (!db->operations)
        db->operations_tail = &db->operations;
    db->operating = true;
    host_job(db->host, operation_work, operation_after, op);
}

void database_operate(Database *db, void (*work)(Operation *), void (*after)(Operation *), void *arg)
{
    Operation *op = NEW(Operation);
    *op = (Operation){.db = db, .work = work, .after = after, .arg = arg};
    *db->operations_tail = op;
    db->operations_tail = &op->next;
    operate_next(db);
}

/* ---- opening ---- */

void database_tell_waiters(Database *db, const Error *err)
{
    OpenWaiter *w = db->waiters;
    db->waiters = NULL;
    while (w) {
        OpenWaiter *next = w->next;
        if (!err)
            db->refs++;
        w->done(w->ctx, err ? NULL : db, err);
        free(w);
        w = next;
    }
}

static void open_work(Operation *op)
{
    Error *err = op->arg;
    err->code = S_OK;
    if (op_open(op->db, err) != S_OK)
        ASSERT(err->code != S_OK);
}

static void backoff(Database *db)
{
    static const uint32_t pause_ms[] = {0, 0, 250, 1000, 4000, 15000, 60000};
    bool passing = db->last_error.code == S_UNAVAILABLE || db->last_error.code == S_BUSY; /* not for the module to cure */
    uint32_t at = MIN(db->crashes, passing ? 3u : (uint32_t)COUNT_OF(pause_ms) - 1);
    db->retry_at_ns = clock_monotonic_ns() + (uint64_t)pause_ms[at] * 1000000u;
}

static void open_after(Operation *op)
{
    Database *db = op->db;
    Error *err = op->arg;
    if (err->code == S_OK) {
        db->last_error = (Error){0};
        if (db->state != DB_OPEN && db->state != DB_RECOVERING) /* else an earlier operation has opened it */
            database_watch(db);
        if (db->state == DB_CLOSED)
            database_tell_waiters(db, &db->last_error); /* storage failed meanwhile */
        else
            database_tell_waiters(db, NULL);
    } else {
        if (db->state != DB_DELETED)
            db->state = DB_CLOSED;
        db->last_error = *err;
        db->crashes++;
        backoff(db);
        log_error("database %s: cannot open: %s", db->name, err->text);
        database_tell_waiters(db, err);
    }
    free(err);
}

static void open_known(Database *db, void (*done)(void *ctx, NetDb *db, const Error *err), void *ctx)
{
    if (db->state == DB_OPEN || db->state == DB_RECOVERING) {
        db->refs++;
        done(ctx, db, NULL);
        return;
    }
    if (db->state == DB_CLOSED && db->last_error.code != S_OK && clock_monotonic_ns() < db->retry_at_ns) {
        done(ctx, NULL, &db->last_error);
        return;
    }
    if (db->host->stopping) {
        Error err;
        FAIL(&err, S_UNAVAILABLE, "the host is stopping");
        done(ctx, NULL, &err);
        return;
    }
    OpenWaiter *w = NEW(OpenWaiter);
    *w = (OpenWaiter){db->waiters, done, ctx};
    db->waiters = w;
    if (db->state == DB_CLOSED) {
        db->state = DB_OPENING;
        db->failure = (Error){0};
        database_operate(db, open_work, open_after, NEW(Error));
    } else if (db->state == DB_CLOSING) {
        db->failure = (Error){0};
        /* the closing operation is running: open again behind it */
        database_operate(db, open_work, open_after, NEW(Error));
    }
}

typedef struct Resolve {
    Host *host;
    char text[128];
    void (*done)(void *ctx, NetDb *db, const Error *err);
    void *ctx;
    uint8_t identity[32], owner[32];
    char name[72];
    uint64_t id;
    Error err;
} Resolve;

static void resolve_work(void *arg)
{
    Resolve *r = arg;
    OWN(arena) Arena a = {0};
    uint32_t n = 0;
    DatabaseInfo *info = NULL;
    Str text = str_of(r->text);
    uint8_t identity[32];
    bool by_identity = identity_from_hex(identity, text);
    r->err.code = S_OK;
    Status s = storage_databases(r->host->storage, &a, by_identity ? NULL : &text, by_identity ? identity : NULL, NULL, &n, &info, &r->err);
    if (s != S_OK)
        return;
    if (n == 0) {
        FAIL(&r->err, S_NOT_FOUND, by_identity ? "No such database." : "`%s` not found", r->text);
        return;
    }
    if (info->schema_version == 0) {
        FAIL(&r->err, S_NOT_FOUND, "No such database.");
        return;
    }
    memcpy(r->identity, info->identity, 32);
    memcpy(r->owner, info->owner, 32);
    r->id = info->id;
    if (info->nnames)
        snprintf(r->name, sizeof r->name, "%.*s", STR_FMT(info->names[0]));
}

static void resolve_after(void *arg)
{
    Resolve *r = arg;
    if (r->err.code != S_OK) {
        r->done(r->ctx, NULL, &r->err);
    } else {
        Database *db = database_get(r->host, r->identity);
        if (db->state == DB_DELETED)
            db->state = DB_CLOSED;
        database_identify(db, r->id, r->owner, r->name);
        open_known(db, r->done, r->ctx);
    }
    free(r);
}

void database_open(Host *h, Str text, void (*done)(void *ctx, NetDb *db, const Error *err), void *ctx)
{
    Error err;
    uint8_t identity[32];
    Database *db = identity_from_hex(identity, text) ? database_find(h, identity) : database_find_by_name(h, text);
    if (db && db->state != DB_DELETED && db->id) {
        open_known(db, done, ctx);
        return;
    }
    if (text.len >= 128) {
        FAIL(&err, S_NOT_FOUND, "`%.*s...` not found", 60, text.ptr);
        done(ctx, NULL, &err);
        return;
    }
    Resolve *r = NEW(Resolve);
    r->host = h;
    memcpy(r->text, text.ptr, text.len);
    r->done = done;
    r->ctx = ctx;
    host_job(h, resolve_work, resolve_after, r);
}

void database_release(Database *db)
{
    ASSERT(db->refs > 0);
    if (--db->refs == 0)
        db->idle_since_ns = clock_monotonic_ns();
}

/* ---- databases that run by themselves ---- */

void database_plan_wake(Database *db, int64_t next_us)
{
    bool scheduled = db->image.def && module_def_has_schedules(db->image.def);
    db->wake_us = scheduled ? next_us : INT64_MAX;
}

static void woken(void *ctx, NetDb *opened, const Error *err)
{
    enum { TRY_AGAIN_US = 1000000, BUSY_AGAIN_US = 60000000 };
    Database *db = ctx;
    if (opened)
        database_release(opened);
    else /* open_known holds it back for longer when it fails again and again; S_BUSY: another host runs it */
        db->wake_us = clock_wall_us() + (err->code == S_BUSY ? BUSY_AGAIN_US : TRY_AGAIN_US);
}

void database_wake_when_due(Database *db, int64_t now_us)
{
    if (db->state != DB_CLOSED || db->wake_us > now_us || db->operating || db->host->stopping)
        return;
    db->wake_us = INT64_MAX;
    open_known(db, woken, db);
}

/* ---- calls ---- */

void database_send_call(Database *db, uint8_t kind, uint8_t flags, uint32_t slot, uint32_t generation, uint32_t schema_version,
                        uint32_t nparts, const Bytes *parts)
{
    CallHeader header = {
        .kind = kind,
        .flags = flags,
        .slot = slot,
        .generation = generation,
        .schema_version = schema_version,
        .call_seq = db->next_call_seq++,
        .timestamp_us = clock_wall_us(),
    };
    Bytes all[8] = {bytes_of(&header, sizeof header)};
    ASSERT(nparts < COUNT_OF(all));
    size_t length = sizeof header;
    for (uint32_t i = 0; i < nparts; i++) {
        all[i + 1] = parts[i];
        length += parts[i].len;
    }
    /* what a crash must not lose: kept until the worker has published its answer */
    if (db->inflight_head > (1u << 20) && db->inflight_head > db->inflight.len / 2) {
        memmove(db->inflight.ptr, db->inflight.ptr + db->inflight_head, db->inflight.len - db->inflight_head);
        db->inflight.len -= db->inflight_head;
        db->inflight_head = 0;
    }
    buf_put_u32(&db->inflight, (uint32_t)length);
    for (uint32_t i = 0; i <= nparts; i++)
        buf_put_bytes(&db->inflight, all[i]);
    if (db->state == DB_OPEN && db->link) {
        ring_write(&db->link->call, nparts + 1, all);
        db->calls_unpublished = true;
    }
}

static void feed_starved(Database *db);

/* What refuses calls holds back scheduled functions. */
static void hold_schedule(Database *db)
{
    bool hold = db->pressure == PRESSURE_FULL || db->host->disk_low[0];
    if (hold == db->held || !db->link)
        return;
    atomic_store(&db->link->area.host_cursors->hold, db->held = hold);
    bell_ring(&db->link->area, BELL_WORKER, false);
}

void database_flush_calls(Database *db)
{
    if (!db->calls_unpublished || !db->link)
        return;
    db->calls_unpublished = !ring_publish(&db->link->call);
    bell_ring(&db->link->area, BELL_WORKER, false);
    feed_starved(db);
}

/* Forget what is answered. */
static void trim_inflight(Database *db)
{
    uint64_t consumed = db->link ? atomic_load_explicit(&db->link->area.worker_cursors->consumed_call, memory_order_acquire) : 0;
    if (consumed > db->answered_call_seq && consumed < db->next_call_seq)
        db->answered_call_seq = consumed;
    while (db->inflight_head < db->inflight.len) {
        const uint8_t *p = db->inflight.ptr + db->inflight_head;
        if (load_u64(p + 4 + offsetof(CallHeader, call_seq)) > db->answered_call_seq)
            return;
        db->inflight_head += 4 + load_u32(p);
    }
    db->inflight_head = db->inflight.len = 0;
}

static Slot *slot_of(Database *db, uint32_t slot, uint32_t generation)
{
    if (slot >= db->nslots || db->slots[slot].generation != generation || !db->slots[slot].used)
        return NULL;
    return &db->slots[slot];
}

static uint32_t slot_take(Database *db)
{
    if (db->free_slot == CLIENT_NONE) {
        uint32_t more = MAX(db->nslots, 64u);
        db->slots = x_realloc(db->slots, (db->nslots + more) * sizeof *db->slots);
        memset(db->slots + db->nslots, 0, more * sizeof *db->slots);
        for (uint32_t i = more; i-- > 0;) {
            db->slots[db->nslots + i].next_free = db->free_slot;
            db->free_slot = db->nslots + i;
        }
        db->nslots += more;
    }
    uint32_t slot = db->free_slot;
    db->free_slot = db->slots[slot].next_free;
    return slot;
}

static void query_set_drop(Slot *s, uint32_t at)
{
    buf_done(&s->sets[at].queries);
    s->sets[at] = s->sets[--s->nsets];
}

static void slot_give(Database *db, uint32_t slot)
{
    Slot *s = &db->slots[slot];
    while (s->nsets)
        query_set_drop(s, 0);
    free(s->sets);
    free((void *)s->claims.ptr);
    uint32_t generation = s->generation + 1;
    *s = (Slot){.generation = generation, .next_free = db->free_slot};
    db->free_slot = slot;
}

static uint32_t called_hash(Str function) { return (uint32_t)hash_bytes(function.ptr, function.len, 0) | 1; }

bool slot_has_called(const Slot *s, Str function)
{
    uint32_t hash = called_hash(function);
    for (uint32_t i = 0; i < CALLED_KEPT; i++)
        if (s->called[i] == hash)
            return true;
    return false;
}

static void note_called(Slot *s, Bytes name)
{
    Reader r = reader_of(name);
    Str function = read_str(&r);
    if (r.bad || slot_has_called(s, function))
        return;
    s->called[s->ncalled++ % CALLED_KEPT] = called_hash(function);
}

static Status admit(Database *db, Error *err)
{
    if (db->host->disk_low[0])
        return FAIL(err, S_UNAVAILABLE, "%s", db->host->disk_low);
    if (db->pressure == PRESSURE_FULL)
        return FAIL(err, S_UNAVAILABLE, "%s", db->pressure_why);
    if (db->state == DB_RECOVERING) {
        if (db->inflight.len - db->inflight_head > INFLIGHT_BYTES_MAX)
            return FAIL(err, S_UNAVAILABLE, "database %s is restarting its worker and too many calls wait already", db->name);
        return S_OK;
    }
    if (db->state != DB_OPEN)
        return FAIL(err, S_UNAVAILABLE, "database %s is %s%s%s", db->name, database_state_name(db->state), db->last_error.code ? ": " : "",
                    db->last_error.code ? db->last_error.text : "");
    bool late = db->pressure == PRESSURE_SLOW && db->quota == 0;
    if (late || ring_backlog_bytes(&db->link->call) > CALL_BACKLOG_BYTES_MAX) {
        db->starved = true;
        return FAIL(err, S_BUSY, late ? "the tables in PostgreSQL are late" : "the worker's call ring is full");
    }
    return S_OK;
}

/* WebSockets of this identity, and of all. */
static Status check_connections(const Database *db, const uint8_t identity[32], Error *err)
{
    const HostConfig *config = &db->host->config;
    uint32_t own = 0, all = 0;
    for (uint32_t i = 0; i < db->nslots; i++) {
        const Slot *s = &db->slots[i];
        bool counts = s->used && s->client && !s->http;
        all += counts;
        own += counts && memcmp(s->identity, identity, 32) == 0;
    }
    if (config->client_connections_max && own >= config->client_connections_max)
        return FAIL(err, S_UNAVAILABLE,
                    "this identity has %u connections to database %s, the most that one may have (--connections-per-client)", own,
                    db->name);
    if (config->database_connections_max && all >= config->database_connections_max)
        return FAIL(err, S_UNAVAILABLE, "database %s has %u connections, the most it may have (--connections-per-database)", db->name, all);
    return S_OK;
}

static Status backend_connect(void *user, NetDb *db, NetClient *client, const uint8_t identity[32], const uint8_t connection_id[16],
                              Str claims, bool http, Error *err)
{
    (void)user;
    Status status = admit(db, err);
    if (status == S_BUSY) /* a CONNECT is small: it may pass */
        status = S_OK;
    if (status != S_OK)
        return status;
    if (!http)
        TRY(check_connections(db, identity, err));
    if (db->free_slot == CLIENT_NONE && db->nslots >= SLOTS_MAX)
        return FAIL(err, S_TOO_LARGE, "database %s has %d clients, the most it may have", db->name, SLOTS_MAX);
    uint32_t slot = slot_take(db);
    Slot *s = &db->slots[slot];
    s->used = true;
    s->client = client;
    s->http = http;
    s->owner = memcmp(identity, db->owner, 32) == 0;
    s->schema_version = db->image.version;
    memcpy(s->identity, identity, 32);
    memcpy(s->connection_id, connection_id, 16);
    if (claims.len <= CLAIMS_BYTES_MAX)
        s->claims = str_dup(claims);
    net_client_set_data(client, (void *)(uintptr_t)(slot + 1));
    const Bytes parts[] = {{identity, 32}, {connection_id, 16}, str_bytes(s->claims)};
    database_send_call(db, CALL_CONNECT, (http ? CALL_HTTP : 0) | (s->owner ? CALL_OWNER : 0), slot, s->generation, s->schema_version, 3,
                       parts);
    return S_OK;
}

static Status backend_attach(void *user, NetDb *db, NetClient *client, Error *err)
{
    (void)user;
    Status status = admit(db, err);
    if (status != S_OK && status != S_BUSY)
        return status;
    if (db->free_slot == CLIENT_NONE && db->nslots >= SLOTS_MAX)
        return FAIL(err, S_UNAVAILABLE, "database %s has %d clients, the most it may have", db->name, SLOTS_MAX);
    uint32_t slot = slot_take(db);
    Slot *s = &db->slots[slot];
    s->used = s->http = s->bare = true;
    s->client = client;
    s->schema_version = db->image.version;
    net_client_set_data(client, (void *)(uintptr_t)(slot + 1));
    return S_OK;
}

static void remember_query_set(Database *db, Slot *s, uint32_t nparts, const Bytes *parts)
{
    Buf all = {0};
    for (uint32_t i = 0; i < nparts; i++)
        buf_put_bytes(&all, parts[i]);
    Reader r = reader_of(buf_bytes(&all));
    read_u32(&r);
    uint32_t id = read_u32(&r), n = read_u32(&r);
    if (!r.bad) {
        if (s->nsets == s->cap_sets) {
            s->cap_sets = MAX(s->cap_sets * 2, 4u);
            s->sets = x_realloc(s->sets, s->cap_sets * sizeof *s->sets);
        }
        QuerySet *q = &s->sets[s->nsets++];
        *q = (QuerySet){.id = id, .call_seq = db->next_call_seq, .nqueries = n};
        buf_put(&q->queries, r.ptr, reader_left(&r));
    }
    buf_done(&all);
}

static Status backend_call(void *user, NetDb *db, NetClient *client, NetCallKind kind, uint8_t flags, uint32_t schema_version,
                           uint32_t nparts, const Bytes *parts, Error *err)
{
    (void)user;
    TRY(admit(db, err));
    db->admitted++;
    db->quota -= db->quota > 0;
    uint32_t slot = (uint32_t)(uintptr_t)net_client_data(client) - 1;
    ASSERT(slot < db->nslots && db->slots[slot].client == client);
    Slot *s = &db->slots[slot];
    if (kind == NET_SUBSCRIBE) {
        if (s->nsets >= db->host->config.subscriptions_max)
            return FAIL(err, S_UNAVAILABLE,
                        "this connection has %u subscriptions, the most that one may have (--subscriptions-per-connection)", s->nsets);
        remember_query_set(db, s, nparts, parts);
    }
    if ((kind == NET_CALL_REDUCER || kind == NET_CALL_PROCEDURE) && !s->http && nparts > 1)
        note_called(s, parts[1]);
    if (kind == NET_CALL_PROCEDURE || kind == NET_HANDLER)
        procedures_called(db, db->next_call_seq, slot, s->generation, s->http, nparts, parts);
    database_send_call(db, (uint8_t)kind, flags | (s->http ? CALL_HTTP : 0) | (s->owner ? CALL_OWNER : 0), slot, s->generation,
                       schema_version ? schema_version : s->schema_version, nparts, parts);
    return S_OK;
}

static void backend_disconnect(void *user, NetDb *db, NetClient *client)
{
    (void)user;
    uint32_t slot = (uint32_t)(uintptr_t)net_client_data(client) - 1;
    if (slot >= db->nslots || db->slots[slot].client != client)
        return;
    Slot *s = &db->slots[slot];
    s->client = NULL;
    if (s->bare ||
        (db->state != DB_OPEN && db->state != DB_RECOVERING)) { /* stopped: opening again will tell the module from the catalog */
        slot_give(db, slot);
        return;
    }
    const Bytes parts[] = {{s->identity, 32}, {s->connection_id, 16}, str_bytes(s->claims)};
    database_send_call(db, CALL_DISCONNECT, s->http ? CALL_HTTP : 0, slot, s->generation, s->schema_version, 3, parts);
}

/* ---- frames ---- */

static void protocol_broken(Database *db, const char *what)
{
    log_error("database %s: the worker broke the protocol (%s): it is replaced", db->name, what);
    logs_system(db->logs, 0, "The worker broke the ring protocol (%s) and is replaced", what);
    db->link->broken = true;
    link_kill(db->link);
}

/* Keep the host's copy of a client's query sets in step with what the worker answered (tags of wire.md 5.2). */
static void note_answer(Slot *s, uint64_t call_seq, Bytes message)
{
    Reader r = reader_of(message);
    uint8_t tag = read_u8(&r);
    if (tag == 1) {
        for (uint32_t i = 0; i < s->nsets; i++)
            if (s->sets[i].call_seq == call_seq)
                s->sets[i].applied = true;
    } else if (tag == 2) {
        read_u32(&r);
        uint32_t id = read_u32(&r);
        for (uint32_t i = 0; i < s->nsets; i++)
            if (s->sets[i].id == id && s->sets[i].applied) {
                query_set_drop(s, i);
                break;
            }
    } else if (tag == 3) {
        bool unasked = read_u8(&r) == 1;
        if (!unasked)
            read_u32(&r);
        uint32_t id = read_u32(&r);
        for (uint32_t i = 0; i < s->nsets; i++)
            if (unasked ? s->sets[i].id == id && s->sets[i].applied : s->sets[i].call_seq == call_seq && !s->sets[i].applied) {
                query_set_drop(s, i);
                break;
            }
    }
}

static bool deliver_update(Database *db, const FrameHeader *header, Reader *r)
{
    enum { SEGMENT_SHARED_BYTES_MIN = 256 };
    uint32_t nsegments = read_u32(r);
    if (r->bad || nsegments > reader_left(r) / 4)
        return false;
    Bytes *bytes = x_alloc((nsegments + 1) * sizeof *bytes);
    NetSegment **segments = x_alloc((nsegments + 1) * sizeof *segments);
    for (uint32_t i = 0; i < nsegments; i++)
        bytes[i] = read_blob(r);
    uint32_t ngroups = read_u32(r);
    bool ok = !r->bad && ngroups <= FRAME_GROUPS_MAX;
    NetPiece *pieces = NULL;
    for (uint32_t g = 0; ok && g < ngroups; g++) {
        uint32_t nsets = read_u32(r), npieces = read_u32(r);
        Bytes piece_ids = read_bytes(r, (size_t)npieces * 4);
        uint32_t nrecipients = read_u32(r);
        Bytes recipients = read_bytes(r, (size_t)nrecipients * 8);
        Bytes set_ids = read_bytes(r, (size_t)nrecipients * nsets * 4);
        uint8_t head[5] = {4};
        store_u32(head + 1, nsets);
        if (r->bad) {
            ok = false;
            break;
        }
        pieces = x_realloc(pieces, (npieces + 1) * sizeof *pieces);
        pieces[0] = (NetPiece){.bytes = {head, 5}};
        uint32_t holes = 0;
        for (uint32_t i = 0; ok && i < npieces; i++) {
            uint32_t id = load_u32(piece_ids.ptr + 4 * (size_t)i);
            if (id == 0xffffffff) {
                holes++;
                pieces[i + 1] = (NetPiece){.bytes = {NULL, 4}};
            } else if (id >= nsegments) {
                ok = false;
            } else if (nrecipients > 1 && bytes[id].len >= SEGMENT_SHARED_BYTES_MIN) {
                if (!segments[id])
                    segments[id] = net_segment_new(bytes[id]);
                pieces[i + 1] = (NetPiece){.segment = segments[id], .bytes = {segments[id]->data, segments[id]->len}};
            } else {
                pieces[i + 1] = (NetPiece){.bytes = bytes[id]};
            }
        }
        if (!ok || holes > nsets)
            ok = false;
        for (uint32_t k = 0; ok && k < nrecipients; k++) {
            Slot *s = slot_of(db, load_u32(recipients.ptr + 8 * (size_t)k), load_u32(recipients.ptr + 8 * (size_t)k + 4));
            if (!s || !s->client)
                continue;
            const uint8_t *ids = set_ids.ptr + 4 * (size_t)k * nsets;
            for (uint32_t i = 1; i <= npieces; i++)
                if (!pieces[i].segment && load_u32(piece_ids.ptr + 4 * (size_t)(i - 1)) == 0xffffffff) {
                    pieces[i].bytes.ptr = ids;
                    ids += 4;
                }
            net_client_send(s->client, header->offset, NET_HELD, npieces + 1, pieces);
        }
    }
    for (uint32_t i = 0; i < nsegments; i++)
        if (segments[i])
            net_segment_unref(segments[i]);
    free(segments);
    free(bytes);
    free(pieces);
    return ok;
}

/* Frames of a call come in order, and what it does to others' subscriptions may leave before its own answer: a worker that dies between
 * the two has not answered the call. */
static bool answers_call(const FrameHeader *header, const Reader *payload)
{
    enum { SUBSCRIPTION_ERROR = 3, NO_REQUEST = 1 };
    if (header->kind == FRAME_UPDATE)
        return false;
    return header->kind != FRAME_MESSAGE || reader_left(payload) < 2 || payload->ptr[0] != SUBSCRIPTION_ERROR ||
           payload->ptr[1] != NO_REQUEST;
}

/* One record of the frame ring; false: it breaks the protocol. */
static bool deliver(Database *db, Bytes record)
{
    FrameHeader header;
    if (record.len < sizeof header)
        return false;
    memcpy(&header, record.ptr, sizeof header);
    Reader r = reader_of(bytes_of(record.ptr + sizeof header, record.len - sizeof header));
    if (header.call_seq >= db->next_call_seq)
        return false;
    if (header.kind == FRAME_CONTROL) {
        link_deliver_control(db->link, bytes_of(r.ptr, reader_left(&r)));
        return true;
    }
    uint64_t done = answers_call(&header, &r) ? header.call_seq : header.call_seq - (header.call_seq > 0);
    if (done > db->answered_call_seq)
        db->answered_call_seq = done;
    db->survived |= header.kind == FRAME_REPLY || header.kind == FRAME_MESSAGE || header.kind == FRAME_UPDATE;
    if (header.kind == FRAME_UPDATE)
        return deliver_update(db, &header, &r);
    if (header.kind == FRAME_HTTP)
        return procedures_request(db, header.offset, bytes_of(r.ptr, reader_left(&r)));
    if (header.call_seq && (header.kind == FRAME_REPLY || header.kind == FRAME_MESSAGE))
        procedures_answered(db, header.call_seq);
    Slot *s = slot_of(db, header.slot, header.generation);
    if (!s)
        return true; /* a late frame for a slot that was given to somebody else */
    switch (header.kind) {
    case FRAME_MESSAGE:
        note_answer(s, header.call_seq, bytes_of(r.ptr, reader_left(&r)));
        if (s->client) {
            NetPiece piece = {.bytes = {r.ptr, reader_left(&r)}};
            NetHold hold = header.flags & FRAME_NOT_HELD ? NET_NOT_HELD : header.flags & FRAME_DURABLE ? NET_DURABLE : NET_HELD;
            net_client_send(s->client, header.offset, hold, 1, &piece);
        }
        return true;
    case FRAME_CONNECTED: {
        uint8_t accepted = read_u8(&r);
        Str text = accepted ? (Str){0} : read_str(&r);
        if (r.bad)
            return false;
        s->connected = accepted;
        if (s->client)
            net_client_connected(s->client, accepted, text, header.offset);
        return true;
    }
    case FRAME_DISCONNECTED:
        if (s->client)
            return false; /* nobody asked for it */
        slot_give(db, header.slot);
        return true;
    case FRAME_REPLY: {
        uint8_t outcome = read_u8(&r);
        if (r.bad)
            return false;
        if (s->client)
            net_client_reply(s->client, header.offset, outcome, bytes_of(r.ptr, reader_left(&r)));
        return true;
    }
    default: return false;
    }
}

/* A worker that answers is not one that dies at once. */
/* A call ended well: the module does not die of everything. That somebody connected says nothing. */
static void note_progress(Database *db)
{
    bool survived = db->survived;
    db->survived = false;
    if (!db->crashes || !survived)
        return;
    db->crashes = 0;
    db->progress_ns = clock_monotonic_ns();
}

static void drain_logs(Database *db)
{
    Bytes record;
    uint64_t now_ns = clock_monotonic_ns();
    for (int budget = 1000; budget > 0 && ring_read(&db->link->log, &record); budget--) {
        Reader r = reader_of(record);
        uint8_t level = read_u8(&r);
        int64_t at = read_i64(&r);
        uint32_t line = read_u32(&r), dropped = read_u32(&r);
        Str function = read_str(&r), file = read_str(&r), message = read_str(&r);
        if (r.bad)
            break;
        if (dropped)
            logs_system(db->logs, 1, "%u log lines were dropped: the module logs faster than they can be kept", dropped);
        if (!utf8_valid(message) || !utf8_valid(function) || !utf8_valid(file)) {
            message = STR("(a log line that is not UTF-8)");
            function = file = (Str){0};
        }
        (void)logs_write_module(db->logs, now_ns, level, at, function, file, line, message);
    }
    ring_release(&db->link->log);
}

void database_drain(Database *db)
{
    Link *link = db->link;
    if (!link || !db->bell_poll)
        return;
    bell_sleep_end(&link->area, BELL_NET, true);
    size_t bytes = 0;
    /* Frames are written before the commit record that makes them true: none is believed before storage has counted it. */
    uint64_t complete = atomic_load_explicit(&db->complete, memory_order_acquire);
    while (bytes < DRAIN_BYTES_MAX && (db->early.len || ring_read(&link->frame, &db->early))) {
        Bytes record = db->early;
        if (record.len >= sizeof(FrameHeader) && load_u64(record.ptr + offsetof(FrameHeader, offset)) > complete)
            break; /* db_progressed comes back for it */
        db->early = (Bytes){0};
        bytes += record.len + 16;
        if (!deliver(db, record)) {
            protocol_broken(db, "a frame record");
            return;
        }
    }
    uint64_t room_made = link->frame.tail - link->frame.published;
    ring_release(&link->frame);
    if (room_made > link->area.sizes.bytes[RING_FRAME] / 4 || link->frame.assembling) /* it may wait for it; an idle worker sleeps on */
        bell_ring(&link->area, BELL_WORKER, false);
    if (link->frame.bad) {
        protocol_broken(db, "the frame ring");
        return;
    }
    drain_logs(db);
    trim_inflight(db);
    if (bytes)
        note_progress(db);
    db->frames_left = bytes >= DRAIN_BYTES_MAX;
    if (!db->frames_left && !db->early.len) {
        bell_sleep_begin(&link->area, BELL_NET, true);
        if (!ring_is_empty(&link->frame))
            db->frames_left = true;
    }
    if (db->frames_left)
        uv_async_send(&db->host->wake);
    if (ring_backlog_bytes(&link->call))
        db->calls_unpublished = true;
}

/* ---- watching a worker ---- */

static void recover_work(Operation *op)
{
    if (op->db->state != DB_RECOVERING) { /* a reset or an earlier recovery has brought a new worker already */
        free(op->arg);
        op->arg = NULL;
        return;
    }
    Error *err = op->arg;
    err->code = S_OK;
    if (op_recover(op->db, err) != S_OK)
        ASSERT(err->code != S_OK);
}

static void recover_after(Operation *op)
{
    Database *db = op->db;
    Error *err = op->arg;
    if (!err)
        return;
    if (db->state != DB_RECOVERING) {
        /* it failed meanwhile: what was loaded goes with the closing that waits behind us */
    } else if (err->code == S_OK) {
        database_watch(db);
        log_info("database %s: the worker is back at offset %llu", db->name, (unsigned long long)db->ready_offset);
    } else {
        log_error("database %s: cannot restart the worker: %s", db->name, err->text);
        database_fail(db, err);
    }
    free(err);
}

/* Did it die in a scheduled function? A one-shot row must not kill the next worker, too; when somebody else killed this one it runs again. */
static void note_due_death(Database *db)
{
    const RingCursors *w = db->link->area.worker_cursors;
    uint32_t id = atomic_load(&w->due_table);
    const TableDef *t = id ? schema_image_table(&db->image, id) : NULL;
    db->died_in = (CoreDue){0};
    if (!t || !t->schedule || db->killed_from_outside)
        return;
    db->died_in = (CoreDue){id, atomic_load(&w->due_key), (uint8_t)atomic_load(&w->due_tag), atomic_load(&w->due_us)};
    logs_system(db->logs, 0, "`%.*s`, called for row %llu of `%.*s`, ended with the module's process: %s", STR_FMT(t->schedule->function),
                (unsigned long long)db->died_in.key, STR_FMT(t->name), db->link->exit_text);
}

/* In a row are deaths of workers that did not live this long. */
enum { LIVED_SECONDS = 10 };

static void worker_exited(Database *db)
{
    Link *link = db->link;
    drain_logs(db);
    link_reap(link);
    database_unwatch(db);
    if (db->state != DB_OPEN)
        return;
    uint64_t current = atomic_load(&link->area.worker_cursors->current_call);
    log_error("database %s: the worker was %s (call %llu)", db->name, link->exit_text, (unsigned long long)current);
    logs_system(db->logs, 0, "The module's worker process was %s; it is restarted", link->exit_text);
    db->state = DB_RECOVERING;
    if (clock_monotonic_ns() - db->opened_ns > (uint64_t)LIVED_SECONDS * 1000000000u)
        db->crashes = 0;
    if (db->crashes++ == 0)
        db->progress_ns = clock_monotonic_ns();
    db->killed_from_outside = link->exit_signal == SIGKILL && !link->killed;
    note_due_death(db);
    database_operate(db, recover_work, recover_after, NEW(Error));
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    database_drain(poll->data);
}

static void on_exit_fd(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    worker_exited(poll->data);
}

static void free_handle(uv_handle_t *handle) { free(handle); }

void database_watch(Database *db)
{
    Link *link = db->link;
    Host *h = db->host;
    procedures_new_worker(db);
    pthread_mutex_lock(&link->lock);
    link->watched = true;
    pthread_mutex_unlock(&link->lock);
    db->bell_poll = NEW(uv_poll_t);
    db->exit_poll = NEW(uv_poll_t);
    uv_poll_init(&h->loop, db->bell_poll, link->area.bells[BELL_NET]);
    uv_poll_init(&h->loop, db->exit_poll, link->pidfd);
    db->bell_poll->data = db->exit_poll->data = db;
    uv_poll_start(db->bell_poll, UV_READABLE, on_bell);
    uv_poll_start(db->exit_poll, UV_READABLE, on_exit_fd);
    if (db->channel && db->state != DB_RECOVERING) { /* offsets may have gone back: a reset, a failover */
        net_channel_free(db->channel);
        db->channel = NULL;
    }
    if (!db->channel)
        db->channel = net_channel_new(h->net);
    bool again = db->state == DB_RECOVERING;
    db->held = true; /* every worker begins so (link.c) */
    db->state = DB_OPEN;
    db->survived = false;
    db->idle_since_ns = db->opened_ns = clock_monotonic_ns();
    for (uint32_t i = 0; !again && i < db->nslots; i++) /* of before it was closed: the catalog tells the module about them */
        if (db->slots[i].used && !db->slots[i].client)
            slot_give(db, i);
    uint64_t durable = MAX(db->ready_offset, atomic_load(&db->durable));
    net_channel_progress(db->channel, MAX(durable, atomic_load(&db->complete)), durable);
    if (again)
        database_register_again(db);
    hold_schedule(db);
    net_channel_writable(db->channel);
    database_drain(db);
    if (db->failure.code != S_OK) { /* storage gave up while we were opening */
        Error failure = db->failure;
        db->failure = (Error){0};
        database_fail(db, &failure);
    }
}

void database_unwatch(Database *db)
{
    if (db->bell_poll) {
        uv_poll_stop(db->bell_poll);
        uv_poll_stop(db->exit_poll);
        uv_close((uv_handle_t *)db->bell_poll, free_handle);
        uv_close((uv_handle_t *)db->exit_poll, free_handle);
        db->bell_poll = db->exit_poll = NULL;
    }
}

/* ---- after a crash ---- */

/* A query set that the worker died of when it was registered again. */
static void end_query_set(Slot *s, uint32_t set_id, uint64_t offset, const char *why)
{
    OWN(buf) Buf message = {0};
    char text[512];
    snprintf(text, sizeof text, "the subscription ended with the module's process, which computed it: %s", why);
    server_subscription_error(&message, NULL, set_id, str_of(text));
    NetPiece piece = {.bytes = buf_bytes(&message)};
    if (s->client)
        net_client_send(s->client, offset, NET_NOT_HELD, 1, &piece);
    for (uint32_t k = 0; k < s->nsets; k++)
        if (s->sets[k].id == set_id) {
            query_set_drop(s, k);
            break;
        }
}

static bool is_inflight(const Database *db, uint32_t slot, uint32_t generation)
{
    for (size_t at = db->inflight_head; at < db->inflight.len; at += 4 + load_u32(db->inflight.ptr + at)) {
        CallHeader h;
        memcpy(&h, db->inflight.ptr + at + 4, sizeof h);
        if (h.kind && h.slot == slot && h.generation == generation)
            return true;
    }
    return false;
}

/* A worker that broke the protocol may have claimed calls whose answers never came. Requests that wait for one are told; a WebSocket client cannot
 * know what it missed and is closed. */
static void fail_unanswered(Database *db, uint64_t offset)
{
    static const char why[] = "the module's process broke the protocol and was replaced";
    for (uint32_t i = 0; i < db->nslots; i++) {
        Slot *s = &db->slots[i];
        if (!s->used || !s->client || s->bare)
            continue;
        if (!s->http)
            net_client_close(s->client, 1011, why);
        else if (!is_inflight(db, i, s->generation) && s->connected)
            net_client_reply(s->client, offset, REPLY_INTERNAL, str_bytes(str_of(why)));
        else if (!is_inflight(db, i, s->generation))
            net_client_connected(s->client, false, str_of(why), offset);
    }
}

void database_settle_dead_worker(Database *db, uint64_t offset)
{
    Link *link = db->link;
    while (db->early.len || ring_read(&link->frame, &db->early)) {
        Bytes record = db->early;
        db->early = (Bytes){0};
        if (record.len < sizeof(FrameHeader) || load_u64(record.ptr + offsetof(FrameHeader, offset)) > offset)
            continue; /* it belongs to no complete commit record */
        if (record.ptr[0] != FRAME_CONTROL && record.ptr[0] != FRAME_HTTP && !deliver(db, record))
            break;
    }
    note_progress(db);
    trim_inflight(db);
    /* The call that was running fails; all others of the queue never had an effect and go to the new worker. */
    uint64_t current = atomic_load(&link->area.worker_cursors->current_call);
    uint64_t guilty = atomic_load(&link->area.worker_cursors->guilty_call);
    if (guilty) /* a procedure's thread crashed: the executor's call is one of the others */
        current = guilty;
    procedures_lost(db, offset, current);
    for (size_t at = db->inflight_head; current && at < db->inflight.len; at += 4 + load_u32(db->inflight.ptr + at)) {
        const uint8_t *p = db->inflight.ptr + at;
        CallHeader h;
        memcpy(&h, p + 4, sizeof h);
        if (h.call_seq != current)
            continue;
        char text[512];
        Reader r = reader_of(bytes_of(p + 4 + sizeof h, load_u32(p) - sizeof h));
        Slot *s = slot_of(db, h.slot, h.generation);
        if (h.flags & CALL_SILENT) { /* registering again is repeated, and nobody waits for it; but a view may kill its worker each time */
            if (s && h.kind == CALL_SUBSCRIBE) {
                (void)read_u32(&r);
                end_query_set(s, read_u32(&r), offset, link->exit_text);
            }
            break;
        }
        uint32_t request_id = (h.kind >= CALL_REDUCER && h.kind <= CALL_ONE_OFF) || h.kind == CALL_HANDLER ? read_u32(&r) : 0;
        uint32_t set_id = h.kind == CALL_SUBSCRIBE || h.kind == CALL_UNSUBSCRIBE ? read_u32(&r) : 0;
        Str name = h.kind == CALL_REDUCER || h.kind == CALL_PROCEDURE || h.kind == CALL_HANDLER ? read_str(&r) : STR("query");
        snprintf(text, sizeof text, "%s `%.*s` ended with the module's process: %s",
                 h.kind == CALL_REDUCER     ? "reducer"
                 : h.kind == CALL_PROCEDURE ? "procedure"
                 : h.kind == CALL_HANDLER   ? "HTTP handler"
                                            : "the",
                 STR_FMT(name), link->exit_text);
        procedures_answered(db, h.call_seq);
        OWN(buf) Buf message = {0};
        if (s && s->client && (h.flags & CALL_HTTP) && h.kind >= CALL_REDUCER) {
            net_client_reply(s->client, offset, REPLY_INTERNAL, str_bytes(str_of(text)));
        } else if (s && s->client && h.kind == CALL_CONNECT) {
            net_client_connected(s->client, false, str_of(text), offset);
        } else if (s && s->client) {
            if (h.kind == CALL_REDUCER)
                server_reducer_internal_error(&message, request_id, clock_wall_us(), str_of(text));
            else if (h.kind == CALL_PROCEDURE)
                server_procedure_internal_error(&message, request_id, str_of(text));
            else if (h.kind == CALL_ONE_OFF)
                server_one_off_error(&message, request_id, str_of(text));
            else if (h.kind == CALL_SUBSCRIBE || h.kind == CALL_UNSUBSCRIBE)
                server_subscription_error(&message, &request_id, set_id, str_of(text));
            NetPiece piece = {.bytes = buf_bytes(&message)};
            if (message.len)
                net_client_send(s->client, offset, NET_NOT_HELD, 1, &piece);
            if (message.len)
                note_answer(s, h.call_seq, buf_bytes(&message));
        }
        /* The module must hear that a client is gone: tried again, a bounded number of times. */
        if (h.kind == CALL_DISCONNECT && h.reserved < DISCONNECT_TRIES_MAX) {
            store_u16(db->inflight.ptr + at + 4 + offsetof(CallHeader, reserved), h.reserved + 1);
            break;
        }
        if (h.kind == CALL_DISCONNECT && s && !s->client)
            slot_give(db, h.slot);
        /* it stays in the queue as a record that nobody answers: mark it so that it is not sent again */
        store_u8(db->inflight.ptr + at + 4, 0);
        break;
    }
    if (link->broken)
        fail_unanswered(db, offset);
}

void database_register_again(Database *db)
{
    /* what waits goes behind the silent registrations */
    Buf waiting = db->inflight;
    size_t at = db->inflight_head;
    db->inflight = (Buf){0};
    db->inflight_head = 0;
    for (uint32_t i = 0; i < db->nslots; i++) {
        Slot *s = &db->slots[i];
        if (!s->used || !s->connected)
            continue;
        uint8_t flags = CALL_SILENT | (s->http ? CALL_HTTP : 0) | (s->owner ? CALL_OWNER : 0);
        const Bytes who[] = {{s->identity, 32}, {s->connection_id, 16}, str_bytes(s->claims)};
        database_send_call(db, CALL_CONNECT, flags, i, s->generation, s->schema_version, 3, who);
        for (uint32_t k = 0; k < s->nsets; k++) {
            QuerySet *q = &s->sets[k];
            if (!q->applied)
                continue;
            uint8_t head[12] = {0};
            store_u32(head + 4, q->id);
            store_u32(head + 8, q->nqueries);
            const Bytes parts[] = {{head, 12}, buf_bytes(&q->queries)};
            database_send_call(db, CALL_SUBSCRIBE, flags, i, s->generation, s->schema_version, 2, parts);
        }
    }
    while (at < waiting.len) {
        const uint8_t *p = waiting.ptr + at;
        CallHeader h;
        memcpy(&h, p + 4, sizeof h);
        Bytes payload = bytes_of(p + 4 + sizeof h, load_u32(p) - sizeof h);
        at += 4 + load_u32(p);
        if (h.kind == 0 || (h.flags & CALL_SILENT))
            continue;
        Slot *s = slot_of(db, h.slot, h.generation);
        if (!s && h.slot != CLIENT_NONE)
            continue;
        for (uint32_t k = 0; s && h.kind == CALL_SUBSCRIBE && k < s->nsets; k++)
            if (s->sets[k].call_seq == h.call_seq)
                s->sets[k].call_seq = db->next_call_seq;
        size_t copy = db->inflight.len;
        if (h.kind == CALL_PROCEDURE || h.kind == CALL_HANDLER)
            procedures_renumbered(db, h.call_seq, db->next_call_seq);
        database_send_call(db, h.kind, h.flags, h.slot, h.generation, h.schema_version, 1, &payload);
        store_u16(db->inflight.ptr + copy + 4 + offsetof(CallHeader, reserved), h.reserved); /* tries so far */
    }
    buf_done(&waiting);
    database_flush_calls(db);
}

/* ---- ending ---- */

void database_close_clients(Database *db, uint16_t code, const char *reason)
{
    for (uint32_t i = 0; i < db->nslots; i++)
        if (db->slots[i].used && db->slots[i].client) {
            NetClient *client = db->slots[i].client;
            net_client_close(client, code, reason);
        }
}

void database_forget_clients(Database *db)
{
    for (uint32_t i = 0; i < db->nslots; i++) {
        while (db->slots[i].nsets)
            query_set_drop(&db->slots[i], 0);
        free(db->slots[i].sets);
        free((void *)db->slots[i].claims.ptr);
    }
    free(db->slots);
    db->slots = NULL;
    db->nslots = 0;
    db->free_slot = CLIENT_NONE;
    db->inflight.len = db->inflight_head = 0;
    procedures_forget(db);
    db->starved = false;
    /* offsets may begin again lower: what the old ones allowed says nothing about the new */
    net_channel_free(db->channel);
    db->channel = net_channel_new(db->host->net);
}

static void failed_work(Operation *op) { op_close(op->db); }
static void failed_after(Operation *op)
{
    Database *db = op->db;
    for (uint32_t i = 0; i < db->nhistory; i++) {
        module_def_unref(db->history[i].def);
        free((void *)db->history[i].ids);
    }
    db->nhistory = 0;
}

void database_fail(Database *db, const Error *err)
{
    db->last_error = *err;
    db->state = DB_CLOSED;
    backoff(db);
    if (db->link && db->bell_poll) { /* watched: an operation may wait for its answer */
        link_kill(db->link);
        link_reap(db->link);
        database_unwatch(db);
    }
    database_plan_wake(db, 0);
    logs_system(db->logs, 0, "The database stopped: %s", err->text);
    database_close_clients(db, 1011, err->text);
    database_forget_clients(db);
    database_operate(db, failed_work, failed_after, NULL); /* worker, source and lease are given back before it may open again */
}

static void feed_starved(Database *db)
{
    bool late = db->pressure == PRESSURE_FULL || (db->pressure == PRESSURE_SLOW && db->quota == 0);
    if (!db->starved || db->state != DB_OPEN || late || ring_backlog_bytes(&db->link->call) >= CALL_BACKLOG_BYTES_MAX / 2)
        return;
    db->starved = false;
    net_channel_writable(db->channel);
}

/* While the tables are late each tick takes in less than the one before, so that callers are slowed and not stopped. */
void database_tick(Database *db)
{
    enum { QUOTA_MIN = 64 };
    db->quota = MAX(db->admitted - db->admitted / 4, (uint32_t)QUOTA_MIN);
    db->admitted = 0;
    feed_starved(db);
    hold_schedule(db);
    logs_tick(db->logs, clock_monotonic_ns());
}

void database_set_pressure(Database *db, StoragePressure level, const char *why)
{
    if (level == PRESSURE_SLOW && db->pressure == PRESSURE_NONE)
        db->quota = 0; /* the tick gives the first one */
    if (level == PRESSURE_FULL && db->pressure != PRESSURE_FULL)
        log_warn("database %s: calls are refused: %s", db->name, why);
    else if (level != PRESSURE_FULL && db->pressure == PRESSURE_FULL)
        log_info("database %s: calls are taken again", db->name);
    else if (level == PRESSURE_SLOW)
        log_debug("database %s: calls wait: %s", db->name, why);
    db->pressure = level;
    snprintf(db->pressure_why, sizeof db->pressure_why, "%s", why && why[0] ? why : "storage is behind");
    feed_starved(db);
}

/* ---- the backend ---- */

static void backend_open(void *user, Str text, void (*done)(void *ctx, NetDb *db, const Error *err), void *ctx)
{
    database_open(user, text, done, ctx);
}
static void backend_release(void *user, NetDb *db)
{
    (void)user;
    database_release(db);
}
static NetChannel *backend_channel(void *user, NetDb *db)
{
    (void)user;
    return db->channel;
}
static ModuleDef *backend_definition(void *user, NetDb *db, uint32_t *ret_version)
{
    (void)user;
    *ret_version = db->image.version;
    return module_def_ref(db->image.def);
}

static void backend_call_refused(void *user, NetDb *db, Str function, Str text)
{
    (void)user;
    logs_write(db->logs, 0, clock_wall_us(), function, STR(""), 0, text);
}

NetBackend database_backend(Host *h)
{
    return (NetBackend){
        .user = h,
        .open = backend_open,
        .release = backend_release,
        .channel = backend_channel,
        .definition = backend_definition,
        .client_connect = backend_connect,
        .client_call = backend_call,
        .client_attach = backend_attach,
        .client_disconnect = backend_disconnect,
        .call_refused = backend_call_refused,
        .request = api_request,
        .request_gone = api_request_gone,
    };
}
