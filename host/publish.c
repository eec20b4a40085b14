/* publish.c - publishing a module: the request, describing, first publish, reset.
 *
 * A publish is one operation of its database, sequential on a job thread (design.md "A publish, step by step"). Whatever fails
 * before the COMMIT leaves the old version running; after the COMMIT only pointer assignments are left, and a worker
 * that dies there is replaced by one that loads the new version. */
#include "host/base/fault.h"
#include "host/owners.h"
#include "host/publish_int.h"
#include "host/wire/identity.h"
#include "host/wire/sats_json.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { OUTCOME_RETRY_MS = 200 };

void publish_answer(Publishing *p, int status, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->status = status;
    p->json = false;
    buf_reset(&p->body);
    buf_put_text(&p->body, text);
}

static void publishing_free(Publishing *p)
{
    if (p->json)
        reply_json(p->req, p->status, &p->body);
    else
        net_request_reply(p->req, p->status, "text/plain; charset=utf-8", buf_bytes(&p->body));
    plan_done(&p->plan);
    migrations_done(&p->migrations);
    if (p->def)
        module_def_unref(p->def);
    free((void *)p->image.ids);
    free(p->since);
    buf_done(&p->first_record);
    buf_done(&p->body);
    free(p);
}

/* ---- describe ---- */

/* What nobody would enforce must not be believed to be there. */
static Status check_supported(const ModuleDef *def, Error *err)
{
    const char *what = def->nsubmodules ? "submodules" : NULL;
    if (!what)
        return S_OK;
    return FAIL(err, S_INVALID,
                "the module declares %s, which this host does not enforce or serve: remove them, or publish to a newer host", what);
}

void publish_arm(Link *link)
{
    char line[160] = "";
    Error ignored;
    if (!fault_armed)
        return;
    (void)fault_find("worker.", line, sizeof line);
    OWN(buf) Buf part = {0};
    buf_put_str(&part, str_of(line));
    Bytes bytes = buf_bytes(&part);
    if (link_send_control(link, CTL_FAULT, 1, &bytes, &ignored) != S_OK)
        log_warn("a fault point cannot be armed in the worker: %s", ignored.text);
}

/* Load the module in a throwaway worker, so that a crash at load costs nothing. */
static Status describe(Publishing *p, Error *err)
{
    FAULT_POINT("publish.describe", err);
    ModuleDef **ret = &p->def;
    char path[600], dir[560];
    TRY(module_file_write(p->host, p->identity, p->program, path, err));
    LinkConfig config;
    link_config_for(p->host, p->identity, "describe", &config, dir, sizeof dir);
    Link *link = NULL;
    Status status = link_spawn(&link, &config, err);
    if (status == S_OK) {
        OWN(buf) Buf part = {0};
        buf_put_str(&part, str_of(path));
        Bytes bytes = buf_bytes(&part);
        publish_arm(link);
        status = link_control(link, CTL_DESCRIBE, 1, &bytes, DESCRIBE_TIMEOUT_MS, err);
        if (status == S_UNAVAILABLE)
            status = CONTEXT(err, "the module crashed or hung while it was loaded");
        if (status == S_OK) {
            Reader r = reader_of(buf_bytes(&link->answer));
            read_str(&r);
            read_str(&r);
            Bytes definition = read_blob(&r), migrations = read_blob(&r);
            status = r.bad ? FAIL(err, S_INTERNAL, "the worker's description of the module is cut short")
                           : migrations_read(&p->migrations, migrations, err);
            if (status == S_OK)
                status = module_def_from_bsatn(ret, definition, err);
        }
        link_free(link);
    }
    unlink(path);
    if (status == S_OK && (status = check_supported(*ret, err)) != S_OK) {
        module_def_unref(*ret);
        *ret = NULL;
    }
    return status;
}

/* ---- images ---- */

Status publish_image(Publishing *p, const SchemaImage *old, Error *err)
{
    const ModuleDef *def = p->def;
    uint32_t *ids = x_alloc((def->ntables + 1) * sizeof *ids), missing = 0;
    for (uint32_t i = 0; i < def->ntables; i++) {
        const TableDef *from = old ? p->plan.sources[i].old : NULL;
        if (from)
            ids[i] = old->ids[from - old->def->tables];
        missing += ids[i] == 0;
    }
    uint32_t next = 0;
    if (missing) {
        Status status = storage_allocate_table_ids(p->host->storage, missing, &next, err);
        if (status != S_OK) {
            free(ids);
            return status;
        }
    }
    for (uint32_t i = 0; i < def->ntables; i++)
        if (ids[i] == 0)
            ids[i] = next++;
    p->image = (SchemaImage){p->def, (old ? old->version : 0) + 1, ids};
    return S_OK;
}

/* ---- success ---- */

static void answer_success(Publishing *p, const char *what)
{
    char hex[65];
    identity_to_hex(hex, p->identity);
    p->status = 200;
    p->json = true;
    buf_reset(&p->body);
    buf_put_text(&p->body, "{\"Success\":{\"domain\":");
    if (p->name[0])
        json_string(&p->body, str_of(p->name));
    else
        buf_put_text(&p->body, "null");
    buf_printf(&p->body, ",\"database_identity\":\"%s\",\"op\":\"%s\"", hex, what);
    buf_put_text(&p->body, "}}");
}

/* ---- a new worker with the new version and its init (first publish, reset) ---- */

/* init is a call like any other: it may take so long. The worker goes with the publish that fails. */
static Status run_init(Database *db, Publishing *p, Bytes part, Error *err)
{
    enum { WITHOUT_A_LIMIT_MS = 3600 * 1000, ANSWER_MS = 1000 };
    uint32_t most_ms = db->host->config.call_ms_max;
    uint64_t began = clock_monotonic_ns();
    Status status = link_control(p->link, CTL_INIT, 1, &part, most_ms ? most_ms + ANSWER_MS : WITHOUT_A_LIMIT_MS, err);
    if (status != S_UNAVAILABLE || p->link->dead || !most_ms || clock_monotonic_ns() - began < (uint64_t)most_ms * 1000000u)
        return status;
    return FAIL(err, S_INVALID, "the `init` reducer ran longer than %u ms (--call-timeout-ms)", most_ms);
}

static Status start_new_version(Publishing *p, Error *err)
{
    Database *db = p->db;
    char path[600], dir[560];
    TRY(module_file_write(p->host, p->identity, p->program, path, err));
    LinkConfig config;
    link_config_for(p->host, p->identity, db->name, &config, dir, sizeof dir);
    Status status = link_spawn(&p->link, &config, err);
    if (status != S_OK) {
        unlink(path);
        return status;
    }
    OWN(buf) Buf load = {0};
    load_record(&load, db, &p->image, path, p->since);
    Bytes part = buf_bytes(&load);
    publish_arm(p->link);
    status = link_control(p->link, CTL_LOAD, 1, &part, PREPARE_TIMEOUT_MS, err);
    unlink(path);
    uint8_t zero[8] = {0}, init[40];
    part = bytes_of(zero, 8);
    if (status == S_OK)
        status = link_control(p->link, CTL_READY, 1, &part, PREPARE_TIMEOUT_MS, err);
    if (status == S_OK) {
        memcpy(init, db->owner, 32);
        store_i64(init + 32, clock_wall_us());
        part = bytes_of(init, 40);
        if (module_def_lifecycle(p->def, LIFECYCLE_INIT) >= 0)
            logs_system(db->logs, 2, "Invoking `init` reducer");
        status = run_init(db, p, part, err);
    }
    Bytes record;
    if (status == S_OK && ring_read(&p->link->commit, &record)) {
        buf_put_bytes(&p->first_record, record);
        ring_release(&p->link->commit);
    }
    return status;
}

void publish_take_image(Database *db, Publishing *p)
{
    db->image = (SchemaImage){module_def_ref(p->image.def), p->image.version, p->image.ids};
    p->image.ids = NULL;
    free(db->since_versions);
    db->since_versions = p->since;
    p->since = NULL;
    memcpy(db->program_hash, p->program_hash, 32);
}

static void adopt_new_version(Publishing *p)
{
    Database *db = p->db;
    uint64_t offset = p->first_record.len ? 1 : 0;
    db->link = p->link;
    p->link = NULL;
    db->ready_offset = offset;
    db->next_call_seq = MAX(db->next_call_seq, 1u);
    db->answered_call_seq = db->next_call_seq - 1;
    atomic_store(&db->complete, offset);
    atomic_store(&db->durable, offset);
    db->source = link_source(db->link);
}

Status publish_store(Publishing *p, const Publish *parts, Error *err)
{
    Storage *storage = p->host->storage;
    Publish publish = *parts;
    publish.new_image = &p->image;
    publish.program = p->program;
    publish.first_record = buf_bytes(&p->first_record);
    publish.migration = MAX(p->applied, migrations_last(&p->migrations));
    publish.dry_run = p->dry_run;
    memcpy(publish.program_hash, p->program_hash, 32);
    memcpy(publish.publisher, p->caller, 32);
    memcpy(publish.identity, p->identity, 32);
    memcpy(publish.owner, p->db->owner, 32);
    bool unknown = false;
    Status status = storage_publish(storage, &publish, &p->new_id, &unknown, err);
    while (status != S_OK && unknown && !p->host->stopping) {
        uint32_t version = 0;
        Error asking;
        if (storage_publish_outcome(storage, p->identity, &version, &asking) == S_UNAVAILABLE) {
            nanosleep(&(struct timespec){.tv_nsec = OUTCOME_RETRY_MS * 1000000L}, NULL);
            continue;
        }
        unknown = false;
        if (version != p->image.version)
            break;
        OWN(arena) Arena a = {0};
        uint32_t n = 0;
        DatabaseInfo *info = NULL;
        status = storage_databases(storage, &a, NULL, p->identity, NULL, &n, &info, err);
        if (status == S_OK && n == 1)
            p->new_id = info->id;
    }
    return status;
}

static void publish_new_work(Operation *op)
{
    Publishing *p = op->arg;
    Database *db = p->db;
    Error *err = &p->err;
    Status status = describe(p, err);
    if (status == S_OK)
        status = publish_image(p, NULL, err);
    if (status != S_OK) {
        publish_answer(p, status == S_INVALID ? 400 : 500, "%s", err->text);
        return;
    }
    p->since = since_versions_next(NULL, &p->image);
    status = start_new_version(p, err);
    if (status != S_OK) {
        publish_answer(p, 500, "%s", err->text);
        return;
    }
    status = publish_store(p, &(Publish){.name = str_of(p->name)}, err);
    if (status == S_DENIED) {
        p->status = 401;
        p->json = true;
        buf_printf(&p->body, "{\"PermissionDenied\":{\"name\":\"%s\"}}", p->name);
        return;
    }
    if (status != S_OK) {
        publish_answer(p, status == S_CONFLICT ? 409 : status == S_UNAVAILABLE ? 503 : 500, "%s", err->text);
        return;
    }
    p->committed = true;
    db->id = p->new_id;
    status = storage_acquire(p->host->storage, db->id, &db->lease, err);
    if (status == S_OK) {
        publish_take_image(db, p);
        adopt_new_version(p);
        status = storage_attach(p->host->storage, &db->lease, &db->image, db->ready_offset, &db->source, err);
        db->attached = status == S_OK;
    }
    answer_success(p, "created");
    if (status != S_OK) /* stored, but not running: the next request opens it */
        log_error("database %s: published, but it could not be started: %s", db->name, err->text);
    else
        p->swapped = true;
    logs_system(db->logs, 2, "Database initialized");
}

static void publish_new_after(Operation *op)
{
    Publishing *p = op->arg;
    Database *db = p->db;
    if (p->committed && p->name[0])
        snprintf(db->name, sizeof db->name, "%s", p->name);
    Error gone;
    FAIL(&gone, p->committed ? S_UNAVAILABLE : S_NOT_FOUND, "%s", p->err.code ? p->err.text : "No such database.");
    if (p->swapped) {
        database_watch(db);
        database_release(db);
        log_info("database %s: created, identity %s", db->name, db->hex);
    } else {
        db->state = p->committed ? DB_CLOSED : DB_DELETED;
        if (db->refs)
            database_release(db);
        if (db->link)
            forget_link(db);
    }
    database_tell_waiters(db, p->swapped ? NULL : &gone); /* whoever found the name in the catalog before we were done */
    link_free(p->link);
    publishing_free(p);
}

/* ---- reset ---- */

static void close_for_reset(void *arg)
{
    Database *db = arg;
    database_close_clients(db, 1001, "module exited");
    db->state = DB_CLOSING;
    database_unwatch(db);
}

static void reset_slots(void *arg)
{
    Database *db = arg;
    database_forget_clients(db);
    for (uint32_t i = 0; i < db->nhistory; i++) {
        module_def_unref(db->history[i].def);
        free((void *)db->history[i].ids);
    }
    db->nhistory = 0;
}

/* Everything goes; names, identity and owner stay. The old version is gone only with the COMMIT. */
static Status publish_reset(Publishing *p, Error *err)
{
    Database *db = p->db;
    Host *h = p->host;
    TRY(publish_image(p, NULL, err));
    p->image.version = db->image.version + 1;
    p->since = since_versions_next(NULL, &p->image);
    TRY(start_new_version(p, err));
    host_on_loop(h, close_for_reset, db);
    link_stop(db->link, LINK_STOP_TIMEOUT_MS);
    uint64_t last;
    Status drained;
    do {
        drained = storage_drain_source(h->storage, db->id, &last, err);
    } while (drained == S_UNAVAILABLE && !h->stopping);
    TRY(drained);
    Status status = publish_store(p, &(Publish){.old_image = &db->image, .lease = &db->lease, .reset = true}, err);
    TRY(status); /* publish_update_after closes it; the next request opens the old version again */
    p->committed = true;
    host_on_loop(h, forget_link, db);
    host_on_loop(h, reset_slots, db);
    module_def_unref(db->image.def);
    free((void *)db->image.ids);
    publish_take_image(db, p);
    logs_clear(db->logs);
    logs_system(db->logs, 2, "Database initialized");
    adopt_new_version(p);
    status = storage_replace_source(h->storage, db->id, &db->source, err);
    p->swapped = status == S_OK;
    return status;
}

static void publish_update_work(Operation *op)
{
    Publishing *p = op->arg;
    Database *db = p->db;
    Error *err = &p->err;
    if (db->state == DB_DELETED || db->state == DB_CLOSED) {
        publish_answer(p, 503, "database %s is %s", db->name, db->last_error.code ? db->last_error.text : "closed");
        return;
    }
    if (!p->clear && !p->preview && memcmp(p->program_hash, db->program_hash, 32) == 0) {
        answer_success(p, "updated");
        return;
    }
    bool same = p->preview && memcmp(p->program_hash, db->program_hash, 32) == 0; /* nothing to load: it runs */
    Status status = same ? S_OK : describe(p, err);
    if (same)
        p->def = module_def_ref(db->image.def);
    if (status != S_OK) {
        publish_answer(p, status == S_INVALID ? 400 : 500, "%s", err->text);
        return;
    }
    if (!p->clear) {
        status = storage_migration(p->host->storage, db->id, &p->applied, err);
        if (status != S_OK) {
            publish_answer(p, 503, "%s", err->text);
            return;
        }
        p->pending = migrations_pending(&p->migrations, p->applied);
        plan_make(&p->plan, db->image.def, p->def, &p->pending);
    }
    if (p->preview) {
        status = p->dry_run && !same && p->plan.forbidden.len == 0 ? publish_update(p, err) : S_OK;
        if (status == S_OK)
            report_preview(p);
        else if (!p->status)
            publish_answer(p, status == S_UNAVAILABLE || status == S_BUSY ? 503 : 400, "%s", err->text);
        return;
    }
    status = p->clear ? publish_reset(p, err) : publish_update(p, err);
    if (p->committed) {
        char hex[65];
        hex_encode(hex, p->program_hash, 32);
        logs_system(db->logs, 2, "Updated program to %s", hex);
        if (!p->clear)
            logs_system(db->logs, 2, "Database updated");
        answer_success(p, "updated");
    } else if (!p->status) {
        logs_system(db->logs, 0, "Database update failed: %s", err->text);
        publish_answer(p,
                       status == S_INVALID || status == S_CONFLICT || status == S_TOO_LARGE ? 400
                       : status == S_UNAVAILABLE || status == S_BUSY                        ? 503
                                                                                            : 500,
                       "%s", err->text);
    }
}

static void reset_failed_work(Operation *op) { op_close(op->db); }
static void reset_failed_after(Operation *op)
{
    if (op->db->state != DB_CLOSING)
        return;
    op->db->state = DB_CLOSED;
    database_plan_wake(op->db, 0); /* its schedule goes on */
}

static void publish_update_after(Operation *op)
{
    Publishing *p = op->arg;
    Database *db = p->db;
    if (p->clear) {
        if (p->swapped) {
            database_watch(db);
        } else if (db->state == DB_CLOSING) { /* the old version is whole in PostgreSQL: opening again brings it back */
            database_operate(db, reset_failed_work, reset_failed_after, NULL);
        }
    }
    if (p->committed)
        log_info("database %s: schema version %u is live", db->name, db->image.version);
    database_release(db);
    link_free(p->link);
    publishing_free(p);
}

/* ---- entry ---- */

static void update_opened(void *ctx, NetDb *db, const Error *err)
{
    Publishing *p = ctx;
    if (err) {
        publish_answer(p, err->code == S_NOT_FOUND ? 404 : 500, "%s", err->text);
        publishing_free(p);
        return;
    }
    p->db = db;
    database_operate(db, publish_update_work, publish_update_after, p);
}

static void find_work(void *arg)
{
    Publishing *p = arg;
    OWN(arena) Arena a = {0};
    uint32_t n = 0;
    DatabaseInfo *info = NULL;
    Str name = str_of(p->name);
    p->err.code = S_OK;
    keccak_256(p->program_hash, p->program);
    if (!p->name[0] && p->is_new)
        return;
    if (storage_databases(p->host->storage, &a, p->name[0] ? &name : NULL, p->name[0] ? NULL : p->identity, NULL, &n, &info, &p->err) !=
        S_OK)
        return;
    p->is_new = n == 0;
    if (n) {
        p->id = info->id;
        memcpy(p->identity, info->identity, 32);
        memcpy(p->owner, info->owner, 32);
        snprintf(p->schema, sizeof p->schema, "%.*s", STR_FMT(info->schema));
        if (info->nnames)
            snprintf(p->first_name, sizeof p->first_name, "%.*s", STR_FMT(info->names[0]));
    }
}

static void find_after(void *arg)
{
    Publishing *p = arg;
    Host *h = p->host;
    if (p->err.code != S_OK) {
        publish_answer(p, 503, "%s", p->err.text);
        publishing_free(p);
        return;
    }
    if (!p->is_new) {
        char caller[65], identity[65];
        identity_to_hex(caller, p->caller);
        identity_to_hex(identity, p->identity);
        if (memcmp(p->owner, p->caller, 32) != 0) {
            publish_answer(p, 403, "%s is not authorized to perform action on database %s: %s", caller, identity,
                           p->clear ? "reset database" : "update database");
            publishing_free(p);
            return;
        }
        Database *db = database_get(h, p->identity);
        database_identify(db, p->id, p->owner, p->first_name);
        if (db->state == DB_DELETED)
            db->state = DB_CLOSED;
        db->retry_at_ns = 0; /* a publisher may try at once: the new module may be the cure */
        if (db->crashes > 5)
            db->crashes = 5;
        char hex[65];
        identity_to_hex(hex, p->identity);
        database_open(h, str_of(hex), update_opened, p);
        return;
    }
    if (p->preview || net_request_route(p->req) == ROUTE_DB_RESET) {
        publish_answer(p, 404, p->name[0] ? "`%s` not found" : "No such database.", p->name);
        publishing_free(p);
        return;
    }
    if (h->config.publish_owners[0]) {
        Error why;
        Status allowed = owners_allow(h->config.publish_owners, p->caller, &why);
        if (allowed != S_OK) {
            if (allowed != S_DENIED)
                log_error("--publish-owners: %s", why.text);
            publish_answer(p, allowed == S_DENIED ? 403 : 500, "%s",
                           allowed == S_DENIED ? why.text
                                               : "the operator's list of who may create databases cannot be read; see the host's log");
            publishing_free(p);
            return;
        }
    } else if (h->config.publish_loopback_only && !net_request_is_loopback(p->req)) {
        publish_answer(p, 401,
                       "this host takes new databases only from its own machine; start it with --publish-from anywhere to allow others");
        publishing_free(p);
        return;
    }
    static const uint8_t none[32];
    if (memcmp(p->identity, none, 32) == 0) {
        char token[4096];
        if (net_mint_identity(h->net, p->identity, token, sizeof token, &p->err) != S_OK) {
            publish_answer(p, 500, "%s", p->err.text);
            publishing_free(p);
            return;
        }
    }
    Database *db = database_get(h, p->identity);
    if (db->state == DB_OPENING) {
        publish_answer(p, 409, "another publish of this database is running");
        publishing_free(p);
        return;
    }
    db->state = DB_OPENING;
    db->failure = (Error){0};
    db->refs++;
    memcpy(db->owner, p->caller, 32);
    p->db = db;
    database_operate(db, publish_new_work, publish_new_after, p);
}

static bool query_is_true(const NetRequest *req, const char *name)
{
    Str value;
    return net_request_query(req, name, &value) && str_is(value, "true");
}

void publish_request(Host *h, NetRequest *req, bool preview)
{
    Publishing *p = NEW(Publishing);
    p->host = h;
    p->req = req;
    p->preview = preview;
    p->dry_run = preview && query_is_true(req, "dry_run");
    p->clear = !preview && (query_is_true(req, "clear") || net_request_route(req) == ROUTE_DB_RESET);
    p->program = net_request_body(req);
    memcpy(p->caller, net_request_caller(req), 32);
    Str value, target = net_request_database(req);
    p->break_clients = net_request_query(req, "policy", &value) && str_is(value, "BreakClients");
    if (net_request_query(req, "token", &value))
        snprintf(p->token, sizeof p->token, "%.*s", STR_FMT(value));
    if (target.len == 0) {
        p->is_new = true;
        if (p->clear) {
            publish_answer(p, 400, "Clear database requires database name or identity");
            publishing_free(p);
            return;
        }
    } else if (!identity_from_hex(p->identity, target)) {
        Error err;
        if (database_name_check(target, &err) != S_OK) {
            publish_answer(p, 400, "Invalid URL: %s", err.text);
            publishing_free(p);
            return;
        }
        snprintf(p->name, sizeof p->name, "%.*s", STR_FMT(target));
    }
    if (p->break_clients && !p->token[0]) {
        publish_answer(p, 400, "Migration policy is set to `BreakClients`, but no migration token was provided.");
        publishing_free(p);
        return;
    }
    if (p->program.len == 0) {
        publish_answer(p, 400, "the request has no body: send the module's .so file");
        publishing_free(p);
        return;
    }
    if (h->disk_low[0] && !preview) {
        publish_answer(p, 507, "%s", h->disk_low);
        publishing_free(p);
        return;
    }
    host_job(h, find_work, find_after, p);
}
