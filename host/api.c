/* api.c - the control plane: names, information, schema, logs, deletion. (http-api.md sections 5 to 7, 8.3) */
#include "host/host.h"
#include "host/wire/identity.h"
#include "host/wire/sats_json.h"

#include <stdio.h>
#include <time.h>

void reply_text(NetRequest *req, int status, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    net_request_reply(req, status, "text/plain; charset=utf-8", str_bytes(str_of(text)));
}

void reply_json(NetRequest *req, int status, Buf *body) { net_request_reply(req, status, "application/json", buf_bytes(body)); }

/* One request that asks the catalog: `work` answers on a job thread. */
typedef struct Asking {
    Host *host;
    NetRequest *req;
    void (*work)(struct Asking *a, Arena *arena, const DatabaseInfo *info);
    void (*after)(struct Asking *a); /* loop thread; NULL: nothing to do */
    bool owner_only;
    const char *action; /* for the 403 text */
    uint8_t identity[32];
    uint64_t id;
    char name[72];
    uint8_t owner[32];
    bool changed, failed;
} Asking;

static void hex_number(char out[70], const uint8_t identity[32])
{ /* SATS-JSON: without leading zeros */
    char hex[65];
    identity_to_hex(hex, identity);
    const char *p = hex;
    while (*p == '0' && p[1])
        p++;
    snprintf(out, 70, "0x%s", p);
}

static void ask_work(void *arg)
{
    Asking *a = arg;
    OWN(arena) Arena arena = {0};
    Str target = net_request_database(a->req);
    uint8_t identity[32];
    bool by_identity = identity_from_hex(identity, target);
    uint32_t n = 0;
    DatabaseInfo *info = NULL;
    Error err;
    if (!by_identity && database_name_check(target, &err) != S_OK) {
        reply_text(a->req, 400, "Invalid URL: %s", err.text);
        a->failed = true;
        return;
    }
    Status status =
        storage_databases(a->host->storage, &arena, by_identity ? NULL : &target, by_identity ? identity : NULL, NULL, &n, &info, &err);
    if (status != S_OK) {
        reply_text(a->req, 503, "%s", err.text);
        a->failed = true;
        return;
    }
    if (n == 0) {
        if (by_identity)
            reply_text(a->req, 404, "No such database.");
        else
            reply_text(a->req, 404, "`%.*s` not found", STR_FMT(target));
        a->failed = true;
        return;
    }
    const uint8_t *caller = net_request_caller(a->req);
    if (a->owner_only && memcmp(info->owner, caller, 32) != 0) {
        char who[65], what[65];
        identity_to_hex(who, caller);
        identity_to_hex(what, info->identity);
        reply_text(a->req, 403, "%s is not authorized to perform action on database %s: %s", who, what, a->action);
        a->failed = true;
        return;
    }
    memcpy(a->identity, info->identity, 32);
    memcpy(a->owner, info->owner, 32);
    a->id = info->id;
    if (info->nnames)
        snprintf(a->name, sizeof a->name, "%.*s", STR_FMT(info->names[0]));
    a->work(a, &arena, info);
}

static void ask_after(void *arg)
{
    Asking *a = arg;
    if (!a->failed && a->after) {
        a->after(a);
        return;
    }
    free(a);
}

static void ask(Host *h, NetRequest *req, bool owner_only, const char *action, void (*work)(Asking *, Arena *, const DatabaseInfo *),
                void (*after)(Asking *))
{
    Asking *a = NEW(Asking);
    *a = (Asking){.host = h, .req = req, .owner_only = owner_only, .action = action, .work = work, .after = after};
    host_job(h, ask_work, ask_after, a);
}

/* ---- information ---- */

static void info_work(Asking *a, Arena *arena, const DatabaseInfo *info)
{
    (void)arena;
    char identity[70], owner[70], program[70];
    hex_number(identity, info->identity);
    hex_number(owner, info->owner);
    hex_number(program, info->initial_program_hash); /* a Hash is read little-endian too */
    OWN(buf) Buf body = {0};
    buf_printf(&body,
               "{\"database_identity\":{\"__identity__\":\"%s\"},\"owner_identity\":{\"__identity__\":\"%s\"},"
               "\"host_type\":{\"Wasm\":[]},\"initial_program\":\"%s\"}",
               identity, owner, program);
    reply_json(a->req, 200, &body);
}

static void identity_work(Asking *a, Arena *arena, const DatabaseInfo *info)
{
    (void)arena;
    char hex[65];
    identity_to_hex(hex, info->identity);
    reply_text(a->req, 200, "%s", hex);
}

static void timestamp_work(Asking *a, Arena *arena, const DatabaseInfo *info)
{
    (void)arena, (void)info;
    OWN(buf) Buf body = {0};
    buf_printf(&body, "{\"__timestamp_micros_since_unix_epoch__\":%lld}", (long long)clock_wall_us());
    reply_json(a->req, 200, &body);
}

/* ---- the migration history ---- */

static void put_time(Buf *out, int64_t us)
{
    time_t seconds = (time_t)(us / 1000000 - (us % 1000000 < 0));
    struct tm tm;
    char text[40];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(out, "\"%s.%06lldZ\"", text, (long long)(us - (int64_t)seconds * 1000000));
}

static void migrations_work(Asking *a, Arena *arena, const DatabaseInfo *info)
{
    Str text;
    uint32_t limit = 0, n = 0;
    if (net_request_query(a->req, "limit", &text)) {
        for (size_t i = 0; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9' && limit < 1000000; i++)
            limit = limit * 10 + (uint32_t)(text.ptr[i] - '0');
        if (limit == 0) {
            reply_text(a->req, 400, "limit must be a number from 1 on");
            return;
        }
    }
    PublishRecord *list = NULL;
    Error err;
    if (storage_history(a->host->storage, info->id, limit, arena, &n, &list, &err) != S_OK) {
        reply_text(a->req, 503, "%s", err.text);
        return;
    }
    OWN(buf) Buf body = {0};
    buf_put_text(&body, "[");
    for (uint32_t i = 0; i < n; i++) {
        const PublishRecord *r = &list[i];
        char publisher[65], hash[65];
        identity_to_hex(publisher, r->publisher);
        hex_encode(hash, r->program_hash, 32);
        buf_printf(&body, "%s{\"version\":%u,\"migration\":%u,\"published_at\":", i ? "," : "", r->version, r->migration);
        put_time(&body, r->published_us);
        buf_printf(&body,
                   ",\"duration_us\":%lld,\"publisher\":\"%s\",\"program_hash\":\"%s\",\"reset\":%s,\"plan\":", (long long)r->duration_us,
                   publisher, hash, r->reset ? "true" : "false");
        json_string(&body, r->plan);
        buf_put_text(&body, ",\"steps\":");
        buf_put_str_raw(&body, r->plan_json.len ? r->plan_json : STR("null"));
        buf_put_text(&body, ",\"sql\":");
        json_string(&body, r->ddl);
        buf_put_text(&body, "}");
    }
    buf_put_text(&body, "]");
    reply_json(a->req, 200, &body);
}

static void names_work(Asking *a, Arena *arena, const DatabaseInfo *info)
{
    (void)arena;
    OWN(buf) Buf body = {0};
    buf_put_text(&body, "{\"names\":[");
    for (uint32_t i = 0; i < info->nnames; i++) {
        if (i)
            buf_put_text(&body, ",");
        json_string(&body, info->names[i]);
    }
    buf_put_text(&body, "]}");
    reply_json(a->req, 200, &body);
}

static void names_add_work(Asking *a, Arena *arena, const DatabaseInfo *info)
{
    (void)arena;
    Bytes body = net_request_body(a->req);
    Str name = {(const char *)body.ptr, body.len};
    Error err;
    if (database_name_check(name, &err) != S_OK) {
        reply_text(a->req, 400, "%s", err.text);
        return;
    }
    Status status = storage_name_add(a->host->storage, info->id, name, net_request_caller(a->req), &err);
    char hex[65];
    identity_to_hex(hex, info->identity);
    OWN(buf) Buf out = {0};
    if (status == S_OK) {
        buf_printf(&out, "{\"Success\":{\"domain\":\"%.*s\",\"database_identity\":\"%s\"}}", STR_FMT(name), hex);
        reply_json(a->req, 200, &out);
        a->changed = true;
    } else if (status == S_DENIED) {
        buf_printf(&out, "{\"PermissionDenied\":{\"domain\":\"%.*s\"}}", STR_FMT(name));
        reply_json(a->req, 401, &out);
    } else {
        reply_text(a->req, status == S_CONFLICT ? 409 : 503, "%s", err.text);
    }
}

/* A JSON array of strings, nothing else; names hold no escapes, so a backslash is refused with the name. */
static bool parse_names(Bytes body, Str *names, uint32_t max, uint32_t *ret_count)
{
    const char *p = (const char *)body.ptr, *end = p + body.len;
    uint32_t n = 0;
#define SKIP_BLANKS()                                                                                                                      \
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))                                                               \
    p++
    SKIP_BLANKS();
    if (p == end || *p++ != '[')
        return false;
    SKIP_BLANKS();
    if (p < end && *p == ']')
        p++;
    else
        for (;;) {
            SKIP_BLANKS();
            if (p == end || *p++ != '"' || n == max)
                return false;
            const char *start = p;
            while (p < end && *p != '"' && *p != '\\')
                p++;
            if (p == end || *p == '\\')
                return false;
            names[n++] = (Str){start, (size_t)(p++ - start)};
            SKIP_BLANKS();
            if (p == end)
                return false;
            if (*p == ']') {
                p++;
                break;
            }
            if (*p++ != ',')
                return false;
        }
    SKIP_BLANKS();
#undef SKIP_BLANKS
    *ret_count = n;
    return p == end;
}

static void names_set_work(Asking *a, Arena *arena, const DatabaseInfo *info)
{
    enum { NAMES_MAX = 100 };
    Str *names = ARENA_ARRAY(arena, Str, NAMES_MAX);
    uint32_t n = 0;
    Error err;
    OWN(buf) Buf out = {0};
    if (!parse_names(net_request_body(a->req), names, NAMES_MAX, &n)) {
        reply_text(a->req, 400, "Failed to parse the request body as JSON: expected an array of at most %d names", NAMES_MAX);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        if (database_name_check(names[i], &err) != S_OK) {
            reply_text(a->req, 400, "Error parsing `%.*s`: %s", STR_FMT(names[i]), err.text);
            return;
        }
    if (memcmp(info->owner, net_request_caller(a->req), 32) != 0) {
        char hex[65];
        identity_to_hex(hex, info->identity);
        buf_printf(&out, "{\"NotYourDatabase\":{\"database\":\"%s\"}}", hex);
        reply_json(a->req, 401, &out);
        return;
    }
    Status status = storage_names_replace(a->host->storage, info->id, n, names, net_request_caller(a->req), &err);
    if (status == S_OK) {
        buf_put_text(&out, "\"Success\"");
        reply_json(a->req, 200, &out);
        a->changed = true;
        snprintf(a->name, sizeof a->name, "%.*s", n ? (int)names[0].len : 0, n ? names[0].ptr : "");
    } else if (status == S_CONFLICT) {
        buf_put_text(&out, "{\"OtherError\":");
        json_string(&out, str_of(err.text));
        buf_put_text(&out, "}");
        reply_json(a->req, 400, &out);
    } else if (status == S_DENIED) {
        buf_put_text(&out, "{\"PermissionDenied\":{\"domain\":");
        json_string(&out, n ? names[0] : STR(""));
        buf_put_text(&out, "}}");
        reply_json(a->req, 401, &out);
    } else {
        reply_text(a->req, 503, "%s", err.text);
    }
}

static void names_changed(Asking *a)
{
    Database *db = a->changed ? database_find(a->host, a->identity) : NULL;
    if (db) /* known databases answer by their first name; any other name asks the catalog */
        snprintf(db->name, sizeof db->name, "%s", a->name[0] ? a->name : db->hex);
    free(a);
}

/* ---- databases of an identity, health ---- */

static void owned_work(void *arg)
{
    Asking *a = arg;
    OWN(arena) Arena arena = {0};
    uint8_t owner[32];
    uint32_t n = 0;
    DatabaseInfo *info = NULL;
    Error err;
    Str text = net_request_path_identity(a->req);
    if (text.len != 64 || !identity_from_hex(owner, text)) {
        reply_text(a->req, 400, "Invalid URL: `%.*s` is not an identity (64 hex digits)", (int)MIN(text.len, (size_t)80), text.ptr);
        return;
    }
    if (storage_databases(a->host->storage, &arena, NULL, NULL, owner, &n, &info, &err) != S_OK) {
        reply_text(a->req, 503, "%s", err.text);
        return;
    }
    OWN(buf) Buf body = {0};
    buf_put_text(&body, "{\"identities\":[");
    for (uint32_t i = 0; i < n; i++) {
        char hex[65];
        identity_to_hex(hex, info[i].identity);
        buf_printf(&body, "%s\"%s\"", i ? "," : "", hex);
    }
    buf_put_text(&body, "]}");
    reply_json(a->req, 200, &body);
}

static void owned_after(void *arg) { free(arg); }

static void server_status(Host *h, NetRequest *req)
{
    OWN(buf) Buf body = {0};
    buf_printf(&body, "{\"version\":\"%s\",\"uptime_seconds\":%lld,\"storage\":", SPACETIME_VERSION,
               (long long)((clock_wall_us() - h->started_us) / 1000000));
    json_string(&body, str_of(storage_describe(h->storage)));
    buf_put_text(&body, ",\"containment\":");
    containment_to_json(&body, &h->containment);
    buf_put_text(&body, ",\"databases\":[");
    uint64_t now = clock_monotonic_ns();
    bool first = true;
    for (Database *db = h->databases; db; db = db->next) {
        if (db->state == DB_DELETED || !db->id)
            continue;
        StorageStatus s = {0};
        if (db->attached && storage_status(h->storage, db->id, &s) != S_OK)
            s = (StorageStatus){0};
        buf_printf(&body, "%s{\"identity\":\"%s\",\"name\":", first ? "" : ",", db->hex);
        json_string(&body, str_of(db->name));
        buf_printf(&body,
                   ",\"state\":\"%s\",\"schema_version\":%u,\"complete\":%llu,\"durable\":%llu,\"materialised\":%llu,"
                   "\"lag_us\":%llu,\"blocked_by\":",
                   database_condition(db), db->image.version, (unsigned long long)s.complete, (unsigned long long)s.durable,
                   (unsigned long long)s.materialised, (unsigned long long)s.lag_us);
        json_string(&body, str_of(s.blocked_by));
        buf_put_text(&body, ",\"error\":");
        json_string(&body, str_of(db->last_error.code ? db->last_error.text : ""));
        buf_printf(&body, ",\"crashes\":%u,\"retry_in_ms\":%llu}", db->crashes,
                   (unsigned long long)(db->state == DB_CLOSED && db->retry_at_ns > now ? (db->retry_at_ns - now) / 1000000 : 0));
        first = false;
    }
    buf_put_text(&body, "]}");
    reply_json(req, 200, &body);
}

/* ---- schema ---- */

static void schema_opened(void *ctx, NetDb *db, const Error *err)
{
    NetRequest *req = ctx;
    Str version;
    if (err) {
        reply_text(req, err->code == S_NOT_FOUND ? 404 : 500, "%s", err->text);
        return;
    }
    if (!net_request_query(req, "version", &version)) {
        reply_text(req, 400, "Failed to deserialize query string: missing field `version`");
    } else if (!str_is(version, "9") && !str_is(version, "10")) {
        reply_text(req, 400, "Failed to deserialize query string: unknown variant `%.*s`, expected `9` or `10`",
                   (int)MIN(version.len, (size_t)40), version.ptr);
    } else {
        OWN(buf) Buf body = {0};
        module_def_to_json(&body, db->image.def, str_is(version, "9") ? 9 : 10);
        reply_json(req, 200, &body);
    }
    database_release(db);
}

/* ---- logs ---- */

static bool follow_write(void *user, Bytes line) { return net_request_stream_write(user, line); }

static void logs_after(Asking *a)
{
    Database *db = database_get(a->host, a->identity);
    database_identify(db, a->id, a->owner, a->name);
    Str value;
    uint32_t lines = UINT32_MAX;
    bool follow = net_request_query(a->req, "follow", &value) && str_is(value, "true");
    if (!follow && net_request_query(a->req, "follow", &value) && !str_is(value, "false")) {
        reply_text(a->req, 400, "Failed to deserialize query string: follow: provided string was not `true` or `false`");
        free(a);
        return;
    }
    if (net_request_query(a->req, "num_lines", &value)) {
        char digits[16] = "";
        char *end = digits;
        if (value.len < sizeof digits)
            memcpy(digits, value.ptr, value.len);
        unsigned long n = strtoul(digits, &end, 10);
        if (!digits[0] || *end || n > UINT32_MAX) {
            reply_text(a->req, 400, "Failed to deserialize query string: num_lines: invalid digit found in string");
            free(a);
            return;
        }
        lines = (uint32_t)n;
    } else if (follow) {
        lines = 0;
    }
    if (follow) {
        net_request_set_data(a->req, db->logs);
        net_request_stream_begin(a->req, 200, "application/x-ndjson");
        logs_follow(db->logs, lines, follow_write, a->req);
    } else {
        OWN(buf) Buf body = {0};
        logs_tail(db->logs, lines, &body);
        net_request_reply(a->req, 200, "application/x-ndjson", buf_bytes(&body));
    }
    free(a);
}

static void nothing_work(Asking *a, Arena *arena, const DatabaseInfo *info) { (void)a, (void)arena, (void)info; }

/* ---- delete ---- */

static void delete_work(Operation *op)
{
    Asking *a = op->arg;
    Database *db = op->db;
    op_close(db);
    Error err;
    Status status = storage_delete(a->host->storage, a->id, &err);
    if (status == S_OK || status == S_NOT_FOUND) {
        a->changed = true;
        net_request_reply(a->req, 200, "text/plain; charset=utf-8", (Bytes){0});
    } else {
        reply_text(a->req, 503, "%s", err.text);
    }
}

static void delete_done(Operation *op)
{
    Asking *a = op->arg;
    op->db->state = a->changed ? DB_DELETED : DB_CLOSED;
    if (a->changed) {
        logs_clear(op->db->logs);
        log_info("database %s: deleted", op->db->name);
        snprintf(op->db->name, sizeof op->db->name, "%s", op->db->hex);
    }
    free(a);
}

static void delete_after(Asking *a)
{
    Database *db = database_get(a->host, a->identity);
    database_identify(db, a->id, a->owner, a->name);
    if (db->state == DB_OPEN || db->state == DB_RECOVERING) {
        db->state = DB_CLOSING;
        database_close_clients(db, 1001, "database deleted");
        database_unwatch(db);
    } else {
        db->state = DB_CLOSING;
    }
    database_operate(db, delete_work, delete_done, a);
}

/* ---- dispatch ---- */

void api_request(void *user, NetRequest *req)
{
    Host *h = user;
    switch (net_request_route(req)) {
    case ROUTE_HEALTH: {
        OWN(buf) Buf body = {0};
        buf_printf(&body, "{\"nodes\":[0],\"package_name\":\"spacetime-pg\",\"schedulable\":true,\"version\":\"%s\"}", SPACETIME_VERSION);
        reply_json(req, 200, &body);
        return;
    }
    case ROUTE_IDENTITY_DATABASES: {
        Asking *a = NEW(Asking);
        *a = (Asking){.host = h, .req = req};
        host_job(h, owned_work, owned_after, a);
        return;
    }
    case ROUTE_DB_INFO: ask(h, req, false, "", info_work, NULL); return;
    case ROUTE_DB_IDENTITY: ask(h, req, false, "", identity_work, NULL); return;
    case ROUTE_DB_NAMES_GET: ask(h, req, false, "", names_work, NULL); return;
    case ROUTE_DB_NAMES_ADD: ask(h, req, true, "add a name", names_add_work, NULL); return;
    case ROUTE_DB_NAMES_SET: ask(h, req, false, "", names_set_work, names_changed); return;
    case ROUTE_DB_PUBLISH: publish_request(h, req, false); return;
    case ROUTE_DB_RESET: publish_request(h, req, false); return;
    case ROUTE_DB_PRE_PUBLISH: publish_request(h, req, true); return;
    case ROUTE_DB_DELETE: ask(h, req, true, "delete database", nothing_work, delete_after); return;
    case ROUTE_DB_SCHEMA: database_open(h, net_request_database(req), schema_opened, req); return;
    case ROUTE_DB_LOGS: ask(h, req, true, "view module logs", nothing_work, logs_after); return;
    case ROUTE_DB_MIGRATIONS: ask(h, req, true, "view migrations", migrations_work, NULL); return;
    case ROUTE_DB_TIMESTAMP: ask(h, req, false, "", timestamp_work, NULL); return;
    case ROUTE_SERVER_STATUS: server_status(h, req); return;
    }
    reply_text(req, 404, "no such route");
}

void api_request_gone(void *user, NetRequest *req)
{
    (void)user;
    Logs *logs = net_request_data(req);
    if (logs)
        logs_unfollow(logs, req);
}
