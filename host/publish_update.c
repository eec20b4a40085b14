/* publish_update.c - a new version of a database that runs: prepare beside it, pause, one PostgreSQL transaction, swap.
 *
 *   prepare (calls run) ──▶ catch up (calls run) ──▶ pause, drain ──▶ BEGIN, DDL, catalog, COMMIT ──▶ swap
 *                              ▲                                          │ a table is locked
 *                              └───────────── resume, back off ◀──────────┘
 *
 * Before COMMIT a failure drops the preparation and the old version goes on; after it a worker that cannot swap is replaced by
 * one that loads the new version. So there is either the old version whole or the new one whole. A dry run is the same and ends in
 * ROLLBACK. */
#include "host/base/fault.h"
#include "host/publish_int.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    CONTROL_TIMEOUT_MS = 30000,
    MIGRATION_TIMEOUT_MS = 300000, /* the functions of pending migrations: calls wait for them */
    LOCKED_DEADLINE_MS = 10000,    /* tries go on for so long while somebody holds a lock on a table */
    BACKOFF_MS_MAX = 1600,
};

typedef struct Update {
    Publishing *p;
    Database *db;
    bool prepared, paused;
    uint16_t nsequences; /* PAUSED of records.h */
    Buf sequences;
    Buf rewrite; /* u32 ids: rows that PostgreSQL takes from memory */
} Update;

/* ---- the conversation with the worker ---- */

/* One that does not answer is ended: its module hangs, and the old version is loaded again. */
static Status ask(Update *u, ControlKind kind, uint32_t nparts, const Bytes *parts, uint32_t timeout_ms, Error *err)
{
    Link *link = u->db->link;
    Status status = link_control(link, kind, nparts, parts, timeout_ms, err);
    if (status != S_UNAVAILABLE)
        return status;
    if (!link->dead) {
        snprintf(link->kill_reason, sizeof link->kill_reason, "no answer within %u s during a publish", timeout_ms / 1000);
        link_kill(link);
    }
    return status;
}

static Status prepare(Update *u, Error *err)
{
    Publishing *p = u->p;
    Database *db = u->db;
    char path[600];
    FAULT_POINT("publish.prepare", err);
    TRY(module_file_write(p->host, p->identity, p->program, path, err));
    OWN(buf) Buf load = {0};
    load_record(&load, db, &p->image, path, p->since);
    buf_put_u32(&load, p->applied);
    Bytes part = buf_bytes(&load);
    publish_arm(db->link);
    Status status = ask(u, CTL_PREPARE, 1, &part, PREPARE_TIMEOUT_MS, err);
    unlink(path);
    if (status == S_UNAVAILABLE)
        return CONTEXT(err, "the module crashed or hung while the new version was prepared; the old one is started again");
    TRY(status);
    u->prepared = true;
    FAULT_POINT("publish.prepared", err);
    return S_OK;
}

static void drop(Update *u)
{
    Error err = {0};
    if ((u->prepared || u->paused) && ask(u, CTL_ABORT, 0, NULL, CONTROL_TIMEOUT_MS, &err) != S_OK)
        log_warn("database %s: abandoning a publish: %s", u->db->name, err.text); /* the worker died: recovery loads the old version */
    u->prepared = u->paused = false;
}

static bool lists(Bytes ids, uint32_t id)
{
    for (size_t at = 0; at + 4 <= ids.len; at += 4)
        if (load_u32(ids.ptr + at) == id)
            return true;
    return false;
}

static Status pause_calls(Update *u, Error *err)
{
    bool runs = u->p->plan.runs;
    Status status = ask(u, CTL_PAUSE, 0, NULL, runs ? MIGRATION_TIMEOUT_MS : CONTROL_TIMEOUT_MS, err);
    if (status == S_UNAVAILABLE)
        return CONTEXT(err, "the module crashed or hung %s; the old version is started again",
                       runs ? "in its migration" : "before the swap");
    TRY(status);
    u->paused = true;
    Reader r = reader_of(buf_bytes(&u->db->link->answer));
    u->nsequences = read_u16(&r);
    Bytes sequences = read_blob(&r);
    uint32_t n = read_u32(&r);
    Bytes changed = read_bytes(&r, (size_t)n * 4);
    if (r.bad || reader_left(&r))
        return FAIL(err, S_INTERNAL, "the worker's answer to PAUSE is damaged");
    buf_reset(&u->sequences);
    buf_put_bytes(&u->sequences, sequences);
    buf_reset(&u->rewrite);
    const SchemaImage *image = &u->p->image;
    for (uint32_t i = 0; i < image->def->ntables; i++) {
        bool rewrite = u->p->plan.sources[i].rewrite || lists(changed, image->ids[i]);
        if (rewrite && !image->def->tables[i].is_event)
            buf_put_u32(&u->rewrite, image->ids[i]);
    }
    FAULT_POINT("publish.paused", err);
    return S_OK;
}

static Status resume(Update *u, Error *err)
{
    if (u->p->plan.runs) { /* what functions have written is not followed: everything again */
        drop(u);
        return S_OK;
    }
    TRY(ask(u, CTL_RESUME, 0, NULL, CONTROL_TIMEOUT_MS, err));
    u->paused = false;
    return S_OK;
}

/* Publish.rows of storage.h */
static Status export_rows(void *user, uint32_t table_id, uint64_t *cursor, Buf *ret_rows, uint32_t *ret_nrows, Error *err)
{
    Update *u = user;
    uint8_t request[12];
    store_u32(request, table_id);
    store_u64(request + 4, *cursor);
    Bytes part = {request, sizeof request};
    TRY(ask(u, CTL_EXPORT, 1, &part, CONTROL_TIMEOUT_MS, err));
    Reader r = reader_of(buf_bytes(&u->db->link->answer));
    *cursor = read_u64(&r);
    *ret_nrows = read_u32(&r);
    if (r.bad)
        return FAIL(err, S_INTERNAL, "the worker's answer to EXPORT is damaged");
    buf_put(ret_rows, r.ptr, reader_left(&r));
    return S_OK;
}

/* ---- taking the new version ---- */

static bool client_knows(const Database *db, uint32_t version)
{
    for (uint32_t i = 0; i < db->nslots; i++)
        if (db->slots[i].used && db->slots[i].schema_version == version)
            return true;
    return false;
}

static void take_on_loop(void *arg)
{
    Publishing *p = arg;
    Database *db = p->db;
    SchemaImage old = db->image;
    publish_take_image(db, p);
    db->history = x_realloc(db->history, (db->nhistory + 1) * sizeof *db->history);
    db->history[db->nhistory++] = old;
    for (uint32_t i = 0; i < db->nhistory;) { /* forget what no connected client knows */
        if (client_knows(db, db->history[i].version)) {
            i++;
            continue;
        }
        module_def_unref(db->history[i].def);
        free((void *)db->history[i].ids);
        db->history[i] = db->history[--db->nhistory];
    }
    db->crashes = 0;
}

/* Between COMMIT and swap: what they were to hear of the old version is durable and leaves first; their disconnect reducers wait in the
 * call ring and so are the new version's; no frame of the new version reaches them. */
static void disconnect_on_loop(void *arg)
{
    Publishing *p = arg;
    Database *db = p->db;
    for (bool more = db->state == DB_OPEN; more; more = db->frames_left && db->state == DB_OPEN)
        database_drain(db);
    if (db->channel)
        net_channel_progress(db->channel, atomic_load(&db->complete), atomic_load(&db->durable));
    for (uint32_t i = 0; i < p->db->nslots; i++) {
        const Slot *s = &p->db->slots[i];
        if (s->used && s->client && !s->http && s->schema_version < p->db->image.version)
            net_client_close(s->client, 1001, "module exited");
    }
}

static void log_steps(const Publishing *p)
{
    for (uint32_t i = 0; i < p->plan.nsteps; i++) {
        const Step *s = &p->plan.steps[i];
        const TableDef *t = s->new_table ? s->new_table : s->old_table;
        Str name = t ? t->name : s->name;
        if (s->kind != STEP_UPDATE_VIEW)
            logs_system(p->db->logs, 2, "Update: %s%s%.*s", step_kind_name(s->kind), name.len ? " " : "", STR_FMT(name));
    }
}

static void swap(Update *u)
{
    Publishing *p = u->p;
    Database *db = u->db;
    p->committed = true;
    host_on_loop(p->host, take_on_loop, p);
    if (p->plan.breaks_clients) {
        logs_system(db->logs, 2, "Disconnecting all users");
        host_on_loop(p->host, disconnect_on_loop, p);
    }
    Error err = {0};
    Status status = S_OK;
    if (strcmp(fault_at("publish.swap"), "error") == 0) {
        status = FAIL(&err, S_UNAVAILABLE, "fault publish.swap");
        link_kill(db->link);
    }
    if (status == S_OK)
        status = ask(u, CTL_SWAP, 0, NULL, CONTROL_TIMEOUT_MS, &err);
    if (status != S_OK) { /* the new version is the stored one: a worker that does not run it must go */
        link_kill(db->link);
        log_warn("database %s: %s; a new worker loads the published version", db->name, err.text);
    }
    u->prepared = u->paused = false;
    log_steps(p);
}

/* ---- the whole ---- */

static Status permitted(const Publishing *p, Error *err)
{
    char token[80];
    migration_token(token, p->identity, p->db->program_hash, p->program_hash);
    if (p->dry_run)
        return S_OK;
    if (p->plan.breaks_clients && !p->break_clients)
        return FAIL(err, S_INVALID,
                    "Failed to create or update the database: Migration plan contains a client-breaking change which is disallowed under "
                    "current policy");
    if (p->break_clients && strcmp(token, p->token) != 0)
        return FAIL(err, S_INVALID, "Failed to create or update the database: Token provided is invalid or does not match expected hash");
    return S_OK;
}

/* One attempt from running to stored; S_BUSY: a table is locked, try again. */
static Status store(Update *u, Error *err)
{
    Publishing *p = u->p;
    Storage *storage = p->host->storage;
    if (!u->prepared)
        TRY(prepare(u, err));
    TRY(storage_catch_up(storage, u->db->id, SETTLE_TIMEOUT_MS, err));
    TRY(pause_calls(u, err));
    OWN(buf) Buf text = {0};
    OWN(buf) Buf json = {0};
    plan_print(&text, &p->plan, false);
    plan_to_json(&json, &p->plan);
    const Publish parts = {
        .old_image = &u->db->image,
        .plan = &p->plan,
        .lease = &u->db->lease,
        .nsequences = u->nsequences,
        .sequences = buf_bytes(&u->sequences),
        .nrewrite = (uint32_t)(u->rewrite.len / 4),
        .rewrite = (const uint32_t *)(const void *)u->rewrite.ptr,
        .user = u,
        .rows = export_rows,
        .plan_text = buf_str(&text),
        .plan_json = buf_str(&json),
    };
    uint64_t began = clock_monotonic_ns();
    Status status = publish_store(p, &parts, err);
    p->executed_us = (clock_monotonic_ns() - began) / 1000;
    return status;
}

static Status run(Update *u, Error *err)
{
    uint64_t deadline = clock_monotonic_ns() + (uint64_t)LOCKED_DEADLINE_MS * 1000000u;
    for (uint32_t attempt = 0;; attempt++) {
        Status status = store(u, err);
        if (status != S_BUSY || u->p->host->stopping || clock_monotonic_ns() > deadline)
            return status;
        log_info("database %s: publishing waits: %s", u->db->name, err->text);
        Error resuming = {0};
        if (u->paused && resume(u, &resuming) != S_OK) {
            *err = resuming;
            return err->code;
        }
        uint32_t pause_ms = MIN(100u << MIN(attempt, 8u), (uint32_t)BACKOFF_MS_MAX);
        nanosleep(&(struct timespec){pause_ms / 1000, (long)(pause_ms % 1000) * 1000000}, NULL);
    }
}

Status publish_update(Publishing *p, Error *err)
{
    Database *db = p->db;
    if (p->plan.forbidden.len) {
        publish_answer(p, 400, "Database update rejected: Errors occurred:\n%.*s", (int)MIN(p->plan.forbidden.len, (size_t)4000),
                       (char *)p->plan.forbidden.ptr);
        return FAIL(err, S_INVALID, "Database update rejected: Errors occurred:\n%.*s", (int)MIN(p->plan.forbidden.len, (size_t)900),
                    (char *)p->plan.forbidden.ptr);
    }
    TRY(permitted(p, err));
    TRY(publish_image(p, &db->image, err));
    p->since = since_versions_next(db, &p->image);
    Update u = {.p = p, .db = db};
    Status status = run(&u, err);
    if (status == S_OK && !p->dry_run)
        swap(&u);
    else
        drop(&u);
    buf_done(&u.sequences);
    buf_done(&u.rewrite);
    return status;
}
