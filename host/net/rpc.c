#include <stdio.h>

#include "host/net/net_int.h"
#include "host/wire/identity.h"
#include "host/wire/sats_json.h"
#include "host/schema/type_read.h"

/* /call and /sql (http-api.md section 8): a client that lives for one call.
 *
 *   open database -> arguments (pool when large) -> client_connect, call -> reply, held until its offset allows -> JSON (pool when large)
 *   -> answer -> the client is doomed: client_disconnect. */

typedef enum Outcome { /* mirrors records.h ReplyOutcome */
                       OUTCOME_OK,
                       OUTCOME_USER_ERROR,
                       OUTCOME_INTERNAL,
                       OUTCOME_NO_SUCH,
                       OUTCOME_LIFECYCLE,
                       OUTCOME_BAD_ARGUMENTS,
                       OUTCOME_REJECTED,
                       OUTCOME_SQL_ERROR,
                       OUTCOME_DENIED,
                       OUTCOME_BUSY
} Outcome;

typedef struct Rpc {
    uv_work_t work;
    NetRequest *r;
    NetClient *c;
    NetCallKind kind;
    ModuleDef *def;
    uint32_t version;
    const Type *params, *result;
    Buf args; /* str name and arguments, as in the call record */
    uint64_t start_ns;
    bool confirmed, sent, working, doomed;
    bool replied;
    uint8_t outcome;
    uint64_t offset;
    Buf payload, json;
    Status status;
    Error err;
    int64_t run_us;
} Rpc;

static Rpc *rpc_of(const NetClient *c) { return c->request->rpc; }

/* ---- the end ------------------------------------------------------------------------------------------ */

static void rpc_end(NetClient *c)
{
    Rpc *p = rpc_of(c);
    c->state = CLIENT_DEAD;
    if (p->working)
        p->doomed = true; /* when the pool is done with it */
    else
        client_doom(c);
}

void rpc_bury(NetClient *c)
{
    Rpc *p = rpc_of(c);
    NetRequest *r = c->request;
    module_def_unref(p->def);
    buf_done(&p->args);
    c->net->queued -= p->payload.len;
    buf_done(&p->payload);
    buf_done(&p->json);
    free(p);
    r->rpc = NULL;
    r->client = NULL;
    channel_leave(c->ch);
    free(c);
    request_unref(r);
}

void rpc_fail(NetClient *c, int status, const char *text)
{
    if (c->state == CLIENT_DEAD)
        return;
    request_text(c->request, status, "%s", text);
    rpc_end(c);
}

/* ---- the answer --------------------------------------------------------------------------------------- */

static const char *noun(const Rpc *p) { return p->kind == NET_CALL_PROCEDURE ? "procedure" : "reducer"; }

enum { NET_EMPTY_ROWS_MAX = 1 << 16 };

static void put_special_schema(Buf *out, const char *name, TypeKind scalar)
{
    buf_printf(out, "{\"elements\":[{\"name\":{\"some\":\"%s\"},\"algebraic_type\":", name);
    json_put_type(out, type_scalar(scalar), false);
    buf_put_text(out, "}]}");
}

/* REPLY SQL (records.h) -> the JSON of http-api.md 8.1. */
static Status sql_to_json(Buf *out, Bytes payload, int64_t *ret_us, Error *err)
{
    OWN(arena) Arena arena = {0};
    Reader in = reader_of(payload);
    Reader type_in = reader_of(read_blob(&in));
    uint64_t nrows = read_u64(&in), inserted = read_u64(&in), deleted = read_u64(&in), updated = read_u64(&in), us = read_u64(&in);
    Reader rows = reader_of(read_blob(&in));
    const Type *t;
    if (in.bad)
        return FAIL(err, S_INTERNAL, "the answer of the module worker is damaged");
    TRY(type_from_bsatn(&t, &type_in, &arena, err));
    TypeKind scalar;
    const char *special = type_special_field(t->kind, &scalar);
    if (t->kind != TYPE_PRODUCT && !special)
        return FAIL(err, S_INTERNAL, "the answer of the module worker has rows that are no products");
    if (nrows > (t->bsatn_size == 0 ? NET_EMPTY_ROWS_MAX : reader_left(&rows)))
        return FAIL(err, S_INTERNAL, "the answer of the module worker announces too many rows");
    buf_put_text(out, "[{\"schema\":");
    if (special) /* one column with such a name gives a row the shape of a special product */
        put_special_schema(out, special, scalar);
    else
        json_put_product_type(out, t, false);
    buf_put_text(out, ",\"rows\":[");
    for (uint64_t i = 0; i < nrows; i++) {
        if (i)
            buf_put_u8(out, ',');
        TRY(json_from_bsatn(out, &rows, t, JSON_UNTYPED, err));
        if (!buf_ok(out))
            return FAIL(err, S_TOO_LARGE, "the result exceeds %zu bytes of JSON", out->max);
    }
    buf_printf(out, "],\"total_duration_micros\":%llu,\"stats\":{\"rows_inserted\":%llu,\"rows_deleted\":%llu,\"rows_updated\":%llu}}]",
               (unsigned long long)us, (unsigned long long)inserted, (unsigned long long)deleted, (unsigned long long)updated);
    *ret_us = (int64_t)us;
    return S_OK;
}

static void convert_reply(Rpc *p)
{ /* [any thread] */
    p->json = buf_with_max(NET_SQL_JSON_BYTES_MAX);
    if (p->kind == NET_SQL) {
        p->status = sql_to_json(&p->json, buf_bytes(&p->payload), &p->run_us, &p->err);
    } else {
        Reader in = reader_of(buf_bytes(&p->payload));
        p->status = json_from_bsatn(&p->json, &in, p->result, JSON_UNTYPED, &p->err);
    }
    if (p->status == S_OK && !buf_ok(&p->json))
        p->status = FAIL(&p->err, S_TOO_LARGE, "the result exceeds %zu bytes of JSON", p->json.max);
}

static void answer_converted(Rpc *p)
{
    NetRequest *r = p->r;
    if (p->c->state == CLIENT_DEAD)
        return;
    if (p->status != S_OK) {
        request_text(r, 500, "%s", p->err.text);
    } else {
        r->run_us = p->run_us;
        request_answer(r, 200, "application/json", buf_bytes(&p->json));
    }
    rpc_end(p->c);
}

static void reply_work(uv_work_t *w) { convert_reply(w->data); }

/* Back from the pool: false when the requester has gone meanwhile. */
static bool work_ended(Rpc *p)
{
    p->r->net->under_way--;
    p->working = false;
    if (p->doomed)
        client_doom(p->c);
    return !p->doomed;
}

static void reply_after(uv_work_t *w, int cancelled)
{
    (void)cancelled;
    if (work_ended(w->data))
        answer_converted(w->data);
}

static const char no_route[] = "Database has not registered a handler for this route";

static void deliver_error(Rpc *p, Str text)
{
    NetRequest *r = p->r;
    bool sql = p->kind == NET_SQL, procedure = p->kind == NET_CALL_PROCEDURE;
    const char *prefix = "";
    int status = 500;
    if (p->kind == NET_HANDLER && p->outcome != OUTCOME_BUSY) { /* anybody may be asking: why is in the log */
        request_text(r, p->outcome == OUTCOME_NO_SUCH ? 404 : 500, "%s",
                     p->outcome == OUTCOME_NO_SUCH ? no_route : "The module instance encountered a fatal error");
        rpc_end(p->c);
        return;
    }
    switch ((Outcome)p->outcome) {
    case OUTCOME_USER_ERROR: status = 530; break;
    case OUTCOME_INTERNAL:
        status = sql || procedure ? 500 : 530;
        prefix = procedure ? "The module instance encountered a fatal error: " : "";
        break;
    case OUTCOME_NO_SUCH: status = 404, text = STR("No such procedure"); break;
    case OUTCOME_LIFECYCLE:
    case OUTCOME_BAD_ARGUMENTS:
    case OUTCOME_SQL_ERROR: status = 400; break;
    case OUTCOME_REJECTED: status = 403; break;
    case OUTCOME_DENIED: status = sql ? 400 : 403; break;
    case OUTCOME_BUSY: status = 503; break;
    case OUTCOME_OK: break;
    }
    if (p->kind == NET_CALL_REDUCER && (p->outcome == OUTCOME_USER_ERROR || p->outcome == OUTCOME_INTERNAL))
        r->energy = true, r->run_us = p->run_us;
    OWN(buf) Buf body = {0};
    buf_put_text(&body, prefix);
    buf_put_str_raw(&body, text);
    request_answer(r, status, "text/plain; charset=utf-8", buf_bytes(&body));
    rpc_end(p->c);
}

static void deliver(Rpc *p)
{
    NetRequest *r = p->r;
    client_held_unlink(p->c);
    p->run_us = (int64_t)((clock_monotonic_ns() - p->start_ns) / 1000);
    if (p->outcome != OUTCOME_OK) {
        deliver_error(p, buf_str(&p->payload));
    } else if (p->kind == NET_HANDLER) {
        route_answer(r, buf_bytes(&p->payload));
        rpc_end(p->c);
    } else if (p->kind == NET_CALL_REDUCER) {
        r->energy = true;
        r->run_us = p->run_us;
        request_answer(r, 200, "text/plain; charset=utf-8", (Bytes){0});
        rpc_end(p->c);
    } else {
        p->run_us = 0;
        if (p->payload.len <= NET_INLINE_JSON_BYTES) {
            convert_reply(p);
            answer_converted(p);
            return;
        }
        p->working = true;
        p->work.data = p;
        net_work(r->net, &p->work, reply_work, reply_after);
    }
}

void rpc_release(NetClient *c)
{
    Rpc *p = rpc_of(c);
    uint64_t limit = p->confirmed ? c->ch->durable : c->ch->complete;
    if (p->replied && c->state != CLIENT_DEAD && !p->working && (p->outcome != OUTCOME_OK || p->offset <= limit))
        deliver(p);
}

void net_client_reply(NetClient *c, uint64_t offset, uint8_t outcome, Bytes payload)
{
    ASSERT(c->http);
    Rpc *p = rpc_of(c);
    if (c->state == CLIENT_DEAD || p->replied)
        return;
    p->replied = true;
    p->outcome = outcome;
    p->offset = offset;
    buf_put_bytes(&p->payload, payload);
    c->net->queued += payload.len;
    client_held_link(c);
    rpc_release(c);
}

void rpc_connected(NetClient *c, bool accepted, Str text)
{
    if (accepted) {
        if (c->state == CLIENT_WAITING)
            c->state = CLIENT_OPEN;
        return;
    }
    if (c->state == CLIENT_DEAD)
        return;
    request_answer(c->request, 403, "text/plain; charset=utf-8", str_bytes(text));
    rpc_end(c);
}

/* ---- the call ------------------------------------------------------------------------------------------- */

static int failure_status(Status s)
{
    return s == S_INVALID ? 400 : s == S_NOT_FOUND ? 404 : s == S_DENIED ? 403 : s == S_TOO_LARGE ? 413 : 503;
}

void rpc_step(NetClient *c)
{
    static const uint8_t request_id[4];
    Rpc *p = rpc_of(c);
    const NetBackend *b = &c->net->config.backend;
    Error err = {0};
    if (c->state == CLIENT_DEAD)
        return;
    if (c->state == CLIENT_CONNECTING) {
        client_channel(c);
        OWN(buf) Buf claims = {0};
        token_claims(p->r->token, &claims);
        Status s = p->kind == NET_HANDLER
                       ? b->client_attach(b->user, c->db, c, &err)
                       : b->client_connect(b->user, c->db, c, c->identity, c->connection_id, buf_str(&claims), true, &err);
        if (s == S_BUSY) {
            client_stall(c);
            return;
        }
        if (s != S_OK) {
            rpc_fail(c, failure_status(s), err.text);
            return;
        }
        c->in_backend = true;
        if (c->state == CLIENT_CONNECTING)
            c->state = CLIENT_WAITING;
    }
    if (p->sent || c->state == CLIENT_DEAD)
        return;
    Bytes parts[2] = {bytes_of(request_id, p->kind == NET_SQL ? 0 : 4), buf_bytes(&p->args)};
    Status s = b->client_call(b->user, c->db, c, p->kind, 0, p->version, 2, parts, &err);
    if (s == S_BUSY)
        client_stall(c);
    else if (s != S_OK)
        rpc_fail(c, failure_status(s), err.text);
    else
        p->sent = true;
}

static void tell_refused(NetRequest *r, Str function, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void tell_refused(NetRequest *r, Str function, const char *fmt, ...)
{
    const NetBackend *b = &r->net->config.backend;
    char text[700];
    if (!b->call_refused)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = MIN((size_t)MAX(n, 0), sizeof text - 1);
    while (len && !utf8_valid((Str){text, len})) /* cut inside a character */
        len--;
    b->call_refused(b->user, r->ndb, function, (Str){text, len});
}

static void call_converted(Rpc *p)
{
    if (p->c->state == CLIENT_DEAD)
        return;
    if (p->status != S_OK) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)MIN(p->r->function.len, (size_t)100), p->r->function.ptr);
        request_text(p->r, 400, "invalid arguments for %s %s: %s", noun(p), name, p->err.text);
        tell_refused(p->r, p->r->function, "invalid arguments for %s %s: %s", noun(p), name, p->err.text);
        rpc_end(p->c);
        return;
    }
    rpc_step(p->c);
}

static void args_convert(Rpc *p)
{ /* [any thread] */
    p->args.max = NET_MODULE_BYTES_MAX;
    p->status = json_args_to_bsatn(&p->args, buf_str(&p->r->body), p->params, p->r->function, &p->err);
}

static void args_work(uv_work_t *w) { args_convert(w->data); }

static void args_after(uv_work_t *w, int cancelled)
{
    (void)cancelled;
    if (work_ended(w->data))
        call_converted(w->data);
}

/* ---- the beginning -------------------------------------------------------------------------------------- */

static Rpc *rpc_new(NetRequest *r, NetCallKind kind)
{
    Rpc *p = NEW(Rpc);
    NetClient *c = NEW(NetClient);
    c->net = r->net;
    c->http = true;
    c->db = r->ndb; /* released with the request, which the client keeps */
    client_channel(c);
    c->request = request_ref(r);
    memcpy(c->identity, r->identity, 32);
    Error err = {0};
    if (random_fill(c->connection_id, 16, &err) != S_OK)
        log_error("%s", err.text);
    p->r = r;
    p->c = c;
    p->kind = kind;
    p->confirmed = r->confirmed;
    p->start_ns = clock_monotonic_ns();
    r->rpc = p;
    r->client = c;
    return p;
}

static void sql_opened(NetRequest *r)
{
    r->confirmed = true;
    if (!request_query_bool(r, "confirmed", &r->confirmed))
        return;
    Str text = buf_str(&r->body);
    if (!utf8_valid(text)) {
        request_text(r, 400, "Request body didn't contain valid UTF-8: invalid utf-8 sequence");
        return;
    }
    if (text.len > NET_SQL_BYTES_MAX) {
        request_text(r, 400, "SQL query exceeds maximum allowed length: \"%.120s...\"", text.ptr);
        return;
    }
    Rpc *p = rpc_new(r, NET_SQL);
    buf_put_str(&p->args, text);
    rpc_step(p->c);
}

static const ProcedureDef *find_procedure(const ModuleDef *def, Str name)
{
    for (uint32_t i = 0; i < def->nprocedures; i++)
        if (str_eq(def->procedures[i].name, name))
            return &def->procedures[i];
    return NULL;
}

static bool check_content_type(NetRequest *r)
{
    const char *type = request_header(r, "Content-Type");
    if (type && strcmp(type, "application/json") == 0)
        return true;
    if (type)
        request_text(r, 415, "Expected request with `Content-Type: application/json`");
    else
        request_text(r, 400, "Header of type `content-type` was missing");
    return false;
}

static void call_opened(NetRequest *r)
{
    static const char *const lifecycles[] = {"Init", "OnConnect", "OnDisconnect"};
    const NetBackend *b = &r->net->config.backend;
    if (!check_content_type(r))
        return;
    if (!utf8_valid(buf_str(&r->body))) {
        request_text(r, 400, "Request body didn't contain valid UTF-8");
        return;
    }
    r->confirmed = true;
    uint32_t version = 0;
    ModuleDef *def = b->definition(b->user, r->ndb, &version);
    const ReducerDef *reducer = module_def_reducer(def, r->function);
    const ProcedureDef *procedure = reducer ? NULL : find_procedure(def, r->function);
    if (!reducer && !procedure) {
        request_text(r, 404, "No such procedure");
        tell_refused(r, STR(""), "no such reducer: `%.*s`", (int)MIN(r->function.len, (size_t)200), r->function.ptr);
    }
    if (reducer && reducer->lifecycle != LIFECYCLE_NONE)
        request_text(r, 400, "can't directly call special %s lifecycle reducer", lifecycles[reducer->lifecycle]);
    if (r->done || (!reducer && !procedure)) {
        module_def_unref(def);
        return;
    }
    Rpc *p = rpc_new(r, reducer ? NET_CALL_REDUCER : NET_CALL_PROCEDURE);
    p->def = def;
    p->version = version;
    p->params = reducer ? reducer->params : procedure->params;
    p->result = procedure ? procedure->ret : NULL;
    buf_put_str(&p->args, r->function);
    if (r->body.len <= NET_INLINE_JSON_BYTES) {
        args_convert(p);
        call_converted(p);
        return;
    }
    p->working = true;
    p->work.data = p;
    net_work(r->net, &p->work, args_work, args_after);
}

static void route_opened(NetRequest *r)
{
    const NetBackend *b = &r->net->config.backend;
    uint32_t version = 0;
    ModuleDef *def = b->definition(b->user, r->ndb, &version);
    const HttpRouteDef *found = NULL;
    for (uint32_t i = 0; i < def->nhttp_routes && !found; i++) {
        const HttpRouteDef *route = &def->http_routes[i];
        if (str_eq(route->path, r->function) && (str_is(route->method, "ANY") || str_is(route->method, r->method)))
            found = route;
    }
    if (found) {
        r->confirmed = true;
        Rpc *p = rpc_new(r, NET_HANDLER);
        p->def = def;
        p->version = version;
        route_put_request(r, found->handler, &p->args);
        rpc_step(p->c);
        return;
    }
    request_text(r, 404, "%s", no_route);
    module_def_unref(def);
}

void rpc_start(NetRequest *r)
{
    request_open(r, r->route->action == ACT_SQL ? sql_opened : r->route->action == ACT_ROUTE ? route_opened : call_opened);
}
