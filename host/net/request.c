#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>

#include "host/net/net_int.h"
#include "host/wire/identity.h"
#include "host/wire/sats_json.h"

/* One HTTP request: read whole, then checked in the order of http-api.md 2.3, then answered by us or by the host.
 *
 *   reading --body complete--> running (suspended while something is under way) --> done: the response is queued when libmicrohttpd asks
 *
 * libmicrohttpd unescapes paths itself and cannot tell %2F from /, so path and query are taken from the raw line. */

static const Route routes[] = {
    {"GET", "ping", ACT_PING, AUTH_IF_SENT, 0, false},
    {"GET", "health", ACT_FORWARD, AUTH_NONE, ROUTE_HEALTH, false},
    {"GET", "server/status", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_SERVER_STATUS, false},
    {"POST", "identity", ACT_IDENTITY_NEW, AUTH_NONE, 0, false},
    {"GET", "identity/public-key", ACT_PUBLIC_KEY, AUTH_NONE, 0, false},
    {"POST", "identity/websocket-token", ACT_WEBSOCKET_TOKEN, AUTH_REQUIRED, 0, false},
    {"GET", "identity/:id/verify", ACT_VERIFY, AUTH_REQUIRED, 0, false},
    {"GET", "identity/:id/databases", ACT_FORWARD, AUTH_NONE, ROUTE_IDENTITY_DATABASES, false},
    {"POST", "database", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_PUBLISH, true},
    {"PUT", "database/:db", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_PUBLISH, true},
    {"GET", "database/:db", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_INFO, false},
    {"DELETE", "database/:db", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_DELETE, false},
    {"GET", "database/:db/names", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_NAMES_GET, false},
    {"POST", "database/:db/names", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_NAMES_ADD, false},
    {"PUT", "database/:db/names", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_NAMES_SET, false},
    {"GET", "database/:db/identity", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_IDENTITY, false},
    {"GET", "database/:db/schema", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_SCHEMA, false},
    {"GET", "database/:db/logs", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_LOGS, false},
    {"POST", "database/:db/pre_publish", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_PRE_PUBLISH, true},
    {"GET", "database/:db/migrations", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_MIGRATIONS, false},
    {"PUT", "database/:db/reset", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_RESET, true},
    {"GET", "database/:db/unstable/timestamp", ACT_FORWARD, AUTH_OPTIONAL, ROUTE_DB_TIMESTAMP, false},
    {"GET", "database/:db/subscribe", ACT_SUBSCRIBE, AUTH_OPTIONAL, 0, false},
    {"POST", "database/:db/call/:function", ACT_CALL, AUTH_OPTIONAL, 0, false},
    {"POST", "database/:db/sql", ACT_SQL, AUTH_OPTIONAL, 0, false},
};

/* ---- life -------------------------------------------------------------------------------------------- */

NetRequest *request_ref(NetRequest *r) { return r->refs++, r; }

void request_unref(NetRequest *r)
{
    if (--r->refs)
        return;
    Net *net = r->net;
    *(r->prev ? &r->prev->next : &net->requests) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    if (r->response)
        MHD_destroy_response(r->response);
    if (r->ndb)
        net->config.backend.release(net->config.backend.user, r->ndb);
    if (r->stream) {
        uv_mutex_destroy(&r->stream->lock);
        buf_done(&r->stream->bytes);
        free(r->stream);
    }
    net->body_bytes -= r->body.len;
    buf_done(&r->body);
    arena_done(&r->arena);
    free(r);
}

void *request_on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
    Net *net = cls;
    NetRequest *r = NEW(NetRequest);
    r->net = net;
    r->conn = conn;
    r->refs = 1;
    r->run_us = -1;
    const char *query = strchr(uri, '?');
    r->raw_path = arena_str(&r->arena, (Str){uri, query ? (size_t)(query - uri) : strlen(uri)});
    r->raw_query = arena_str(&r->arena, query ? str_of(query + 1) : STR(""));
    r->next = net->requests;
    if (r->next)
        r->next->prev = r;
    net->requests = r;
    return r;
}

void request_on_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode code)
{
    (void)conn, (void)code;
    Net *net = cls;
    NetRequest *r = *con_cls;
    if (!r)
        return;
    *con_cls = NULL;
    r->conn = NULL;
    if (r->upgrading) {
        net->nsessions--;
        r->upgrading = false;
    }
    if (r->stream) {
        uv_mutex_lock(&r->stream->lock);
        bool ended = r->stream->ended;
        r->stream->gone = true;
        uv_mutex_unlock(&r->stream->lock);
        if (!ended && r->at_backend) {
            net->config.backend.request_gone(net->config.backend.user, r);
            net_post(net, &(Posted){.request = r, .stream = r->stream, .ended = true}); /* behind what was posted before */
        }
    }
    request_unref(r);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

void request_headers(NetRequest *r, struct MHD_Response *resp)
{
    if (r->path_matched) {
        MHD_add_response_header(resp, "Access-Control-Allow-Origin", "*");
        MHD_add_response_header(resp, "Vary", "origin, access-control-request-method, access-control-request-headers");
    }
    if (r->authed && r->route && r->route->auth == AUTH_OPTIONAL) {
        char hex[65];
        identity_to_hex(hex, r->identity);
        MHD_add_response_header(resp, "spacetime-identity", hex);
        MHD_add_response_header(resp, "spacetime-identity-token", r->token.ptr);
    }
    if (r->energy)
        MHD_add_response_header(resp, "spacetime-energy-used", "0");
    if (r->run_us >= 0) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)r->run_us);
        MHD_add_response_header(resp, "spacetime-execution-duration-micros", text);
    }
}

void request_respond(NetRequest *r, int status, struct MHD_Response *response)
{
    if (r->done || !r->conn) { /* answered already (the net stops), or nobody is there */
        MHD_destroy_response(response);
        return;
    }
    r->done = true;
    r->status = status;
    r->response = response;
    if (r->suspended) {
        r->suspended = false;
        MHD_resume_connection(r->conn);
        r->net->kick = true;
    }
}

static struct MHD_Response *response_of(const char *content_type, Bytes body)
{
    struct MHD_Response *resp = MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.ptr, MHD_RESPMEM_MUST_COPY);
    if (!resp)
        BUG("out of memory: an HTTP response of %zu bytes", body.len);
    if (content_type)
        MHD_add_response_header(resp, "Content-Type", content_type);
    return resp;
}

void request_answer(NetRequest *r, int status, const char *content_type, Bytes body)
{
    struct MHD_Response *resp = response_of(content_type, body);
    request_headers(r, resp);
    request_respond(r, status, resp);
}

static const char text_type[] = "text/plain; charset=utf-8", json_media_type[] = "application/json";

void request_text(NetRequest *r, int status, const char *fmt, ...)
{
    char text[2 * ERROR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    request_answer(r, status, text_type, bytes_of(text, MIN((size_t)MAX(n, 0), sizeof text - 1)));
}

/* ---- query and headers ------------------------------------------------------------------------------------ */

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decoded copy; false: bad escape or not UTF-8. */
static bool percent_decode(Arena *a, Str in, bool plus_is_space, Str *ret)
{
    char *out = arena_alloc_raw(a, in.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '%') {
            int hi = i + 2 < in.len ? hex_value(in.ptr[i + 1]) : -1, lo = i + 2 < in.len ? hex_value(in.ptr[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return false;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = 0;
    *ret = (Str){out, n};
    return utf8_valid(*ret);
}

static Str cut(Str *rest, char at)
{
    const char *p = rest->len ? memchr(rest->ptr, at, rest->len) : NULL;
    Str head = {rest->ptr, p ? (size_t)(p - rest->ptr) : rest->len};
    *rest = p ? (Str){p + 1, rest->len - head.len - 1} : (Str){rest->ptr + rest->len, 0};
    return head;
}

static bool parse_query(NetRequest *r)
{
    Str rest = r->raw_query;
    uint32_t max = 1;
    for (size_t i = 0; i < rest.len; i++)
        max += rest.ptr[i] == '&';
    r->query = ARENA_ARRAY(&r->arena, QueryPair, max);
    while (rest.len) {
        Str value = cut(&rest, '&');
        if (!value.len)
            continue;
        Str name = cut(&value, '=');
        QueryPair *q = &r->query[r->nquery];
        if (!percent_decode(&r->arena, name, true, &q->name) || !percent_decode(&r->arena, value, true, &q->value))
            return false;
        r->nquery++;
    }
    return true;
}

bool request_query(const NetRequest *r, const char *name, Str *ret)
{
    for (uint32_t i = 0; i < r->nquery; i++)
        if (str_is(r->query[i].name, name)) {
            *ret = r->query[i].value;
            return true;
        }
    return false;
}

bool request_query_bool(NetRequest *r, const char *name, bool *value)
{
    Str v;
    if (!request_query(r, name, &v))
        return true;
    if (!str_is(v, "true") && !str_is(v, "false")) {
        request_text(r, 400, "Failed to deserialize query string: %s: provided string was not `true` or `false`", name);
        return false;
    }
    *value = str_is(v, "true");
    return true;
}

const char *request_header(NetRequest *r, const char *name)
{
    return r->conn ? MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name) : NULL;
}

/* ---- routes ------------------------------------------------------------------------------------------------- */

static bool match_path(NetRequest *r, const char *pattern)
{
    Str path = r->raw_path, pat = str_of(pattern);
    if (path.len < 4 || memcmp(path.ptr, "/v1/", 4) != 0)
        return false;
    path = (Str){path.ptr + 4, path.len - 4};
    r->db = r->path_identity = r->function = (Str){0};
    for (;;) {
        bool path_more = memchr(path.ptr, '/', path.len), pat_more = memchr(pat.ptr, '/', pat.len);
        Str have = cut(&path, '/'), want = cut(&pat, '/');
        if (path_more != pat_more || have.len == 0)
            return false;
        if (want.ptr[0] == ':')
            *(want.ptr[1] == 'd' ? &r->db : want.ptr[1] == 'i' ? &r->path_identity : &r->function) = have;
        else if (!str_eq(have, want))
            return false;
        if (!path_more)
            return true;
    }
}

static void find_route(NetRequest *r)
{
    if (route_match(r))
        return;
    bool head = strcmp(r->method, "HEAD") == 0;
    OWN(buf) Buf allow = {0};
    Str db = {0}, identity = {0}, function = {0};
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (!match_path(r, routes[i].path))
            continue;
        r->path_matched = true;
        buf_printf(&allow, "%s%s", allow.len ? "," : "", strcmp(routes[i].method, "GET") == 0 ? "GET,HEAD" : routes[i].method);
        if (strcmp(routes[i].method, head ? "GET" : r->method) == 0) {
            r->route = &routes[i];
            db = r->db, identity = r->path_identity, function = r->function;
        }
    }
    r->db = db, r->path_identity = identity, r->function = function;
    r->allow = arena_str(&r->arena, buf_str(&allow)).ptr;
    r->options = r->path_matched && strcmp(r->method, "OPTIONS") == 0;
    r->body_max = r->route && r->route->module_upload ? NET_MODULE_BYTES_MAX : NET_BODY_BYTES_MAX;
}

/* ---- what we answer ourselves --------------------------------------------------------------------------------- */

static void answer_identity(NetRequest *r)
{
    char token[TOKEN_BYTES_MAX], hex[65];
    uint8_t identity[32];
    Error err = {0};
    if (token_mint(r->net->tokens, identity, token, sizeof token, &err) != S_OK) {
        request_text(r, 500, "%s", err.text);
        return;
    }
    OWN(buf) Buf body = {0};
    identity_to_hex(hex, identity);
    buf_printf(&body, "{\"identity\":\"%s\",\"token\":\"%s\"}", hex, token);
    request_answer(r, 200, json_media_type, buf_bytes(&body));
}

static void answer_websocket_token(NetRequest *r)
{
    OWN(buf) Buf body = {0};
    Error err = {0};
    buf_put_text(&body, "{\"token\":\"");
    if (token_resign(r->net->tokens, r->token, &body, &err) != S_OK) {
        request_text(r, 500, "%s", err.text);
        return;
    }
    buf_put_text(&body, "\"}");
    request_answer(r, 200, json_media_type, buf_bytes(&body));
}

static void answer_verify(NetRequest *r)
{
    uint8_t identity[32];
    bool same = identity_from_hex(identity, r->path_identity) && memcmp(identity, r->identity, 32) == 0;
    request_answer(r, same ? 204 : 400, NULL, (Bytes){0});
}

static void forward(NetRequest *r)
{
    Net *net = r->net;
    r->at_backend = true;
    request_ref(r);
    net->config.backend.request(net->config.backend.user, r);
}

/* ---- step 2: the parts of the path; step 3 and on: by route ------------------------------------------------------ */

static bool check_parts(NetRequest *r)
{
    Error err = {0};
    uint8_t identity[32];
    bool ours = r->route->action != ACT_ROUTE; /* else path and query are the module's to read */
    if (!percent_decode(&r->arena, r->db, false, &r->db) || !percent_decode(&r->arena, r->path_identity, false, &r->path_identity) ||
        (ours && !percent_decode(&r->arena, r->function, false, &r->function))) {
        request_text(r, 400, "Invalid URL: a path segment is not valid percent-encoded UTF-8");
        return false;
    }
    if (r->db.len && !identity_from_hex(identity, r->db) && database_name_check(r->db, &err) != S_OK) {
        request_text(r, 400, "Invalid URL: %s", err.text);
        return false;
    }
    if (r->path_identity.len && (r->path_identity.len != 64 || !identity_from_hex(identity, r->path_identity))) {
        request_text(r, 400, "Invalid URL: an identity is 64 hexadecimal digits");
        return false;
    }
    if (ours && !parse_query(r)) {
        request_text(r, 400, "Failed to deserialize query string: invalid percent-encoding or UTF-8");
        return false;
    }
    return true;
}

static void too_large(NetRequest *r)
{
    if (r->route && r->route->module_upload)
        request_text(r, 413, "The module exceeds the limit of %d bytes", NET_MODULE_BYTES_MAX);
    else
        request_text(r, 413, "Failed to buffer the request body: length limit exceeded");
}

static void run_authed(NetRequest *r)
{
    if (r->net->stopping) {
        request_text(r, 503, "the host is stopping");
        return;
    }
    if (!check_parts(r))
        return;
    if (r->body_seen > r->body_max) {
        too_large(r);
        return;
    }
    const char *type = request_header(r, "Content-Type");
    if (r->route->route == ROUTE_DB_NAMES_SET && r->route->action == ACT_FORWARD &&
        (!type || strncasecmp(type, "application/json", 16) != 0)) {
        request_text(r, 415, "Expected request with `Content-Type: application/json`");
        return;
    }
    switch (r->route->action) {
    case ACT_PING: request_answer(r, 200, NULL, (Bytes){0}); break;
    case ACT_FORWARD: forward(r); break;
    case ACT_IDENTITY_NEW: answer_identity(r); break;
    case ACT_PUBLIC_KEY: request_answer(r, 200, "application/pem-certificate-chain", str_bytes(tokens_public_pem(r->net->tokens))); break;
    case ACT_WEBSOCKET_TOKEN: answer_websocket_token(r); break;
    case ACT_VERIFY: answer_verify(r); break;
    case ACT_SUBSCRIBE: subscribe_start(r); break;
    case ACT_CALL:
    case ACT_SQL:
    case ACT_ROUTE: rpc_start(r); break;
    }
}

/* ---- opening a database ------------------------------------------------------------------------------------------ */

typedef struct Opening {
    NetRequest *r;
    void (*next)(NetRequest *r);
} Opening;

static void on_opened(void *ctx, NetDb *db, const Error *err)
{
    Opening *o = ctx;
    NetRequest *r = o->r;
    void (*next)(NetRequest *) = o->next;
    free(o);
    r->net->under_way--;
    r->ndb = db;
    if (!db) {
        Status s = err ? err->code : S_INTERNAL;
        int status = s == S_NOT_FOUND ? 404 : s == S_DENIED ? 403 : s == S_UNAVAILABLE || s == S_BUSY ? 503 : 500;
        request_text(r, status, "%s", err ? err->text : "the database could not be opened");
    } else if (!r->done) {
        next(r);
    }
    request_unref(r);
}

void request_open(NetRequest *r, void (*next)(NetRequest *r))
{
    Opening *o = NEW(Opening);
    *o = (Opening){request_ref(r), next};
    r->net->under_way++;
    r->net->config.backend.open(r->net->config.backend.user, r->db, on_opened, o);
}

/* ---- authentication: step 1 ---------------------------------------------------------------------------------------- */

typedef struct AuthJob {
    uv_work_t work;
    NetRequest *r;
    const Tokens *tokens;
    Str token; /* empty pointer: mint one */
    TokenInfo info;
    char minted[TOKEN_BYTES_MAX];
    Status status;
    Error err;
} AuthJob;

static void auth_work(uv_work_t *w)
{ /* pool thread */
    AuthJob *j = w->data;
    if (j->token.ptr)
        j->status = token_verify(j->tokens, j->token, &j->info, &j->err);
    else
        j->status = token_mint(j->tokens, j->info.identity, j->minted, sizeof j->minted, &j->err);
}

static void auth_after(uv_work_t *w, int cancelled)
{
    (void)cancelled;
    AuthJob *j = w->data;
    NetRequest *r = j->r;
    r->net->under_way--;
    if (j->status != S_OK) {
        request_text(r, j->token.ptr ? 401 : 500, "%s", j->err.text);
    } else if (!r->done) {
        r->authed = true;
        memcpy(r->identity, j->info.identity, 32);
        if (j->token.ptr) {
            token_cache_put(r->net->tokens, r->token, &j->info);
        } else {
            r->token = arena_str(&r->arena, str_of(j->minted));
            r->anonymous = true;
        }
        run_authed(r);
    }
    free(j);
    request_unref(r);
}

/* The token of the request: header first, else the query. false: malformed header. */
static bool presented_token(NetRequest *r, Str *ret)
{
    const char *value = request_header(r, "Authorization");
    *ret = (Str){0};
    if (value) {
        if (strncasecmp(value, "Bearer ", 7) != 0)
            return false;
        value += 7 + strspn(value + 7, " ");
        size_t n = strlen(value);
        while (n && value[n - 1] == ' ')
            n--;
        for (size_t i = 0; i < n; i++)
            if ((uint8_t)value[i] <= ' ' || (uint8_t)value[i] >= 0x7f)
                return false;
        *ret = arena_str(&r->arena, (Str){value, n});
        return true;
    }
    Str rest = r->raw_query;
    while (rest.len) {
        Str pair = cut(&rest, '&');
        Str name = cut(&pair, '=');
        if (str_is(name, "token"))
            return percent_decode(&r->arena, pair, true, ret);
    }
    return true;
}

static void authenticate(NetRequest *r)
{
    AuthNeed need = r->route->auth;
    Str token = {0};
    if (need == AUTH_NONE) {
        run_authed(r);
        return;
    }
    if (!presented_token(r, &token)) {
        request_text(r, 400, "Authorization is invalid: malformed token");
        return;
    }
    if (!token.ptr && need == AUTH_REQUIRED) {
        request_text(r, 401, "Authorization required");
        return;
    }
    if (!token.ptr && need == AUTH_IF_SENT) {
        run_authed(r);
        return;
    }
    TokenInfo info;
    r->token = token;
    if (token.ptr && token_cache_get(r->net->tokens, token, &info)) {
        memcpy(r->identity, info.identity, 32);
        r->authed = true;
        run_authed(r);
        return;
    }
    AuthJob *j = NEW(AuthJob);
    j->r = request_ref(r);
    j->tokens = r->net->tokens;
    j->token = token;
    j->work.data = j;
    net_work(r->net, &j->work, auth_work, auth_after);
}

static void request_run(NetRequest *r)
{
    if (!r->path_matched && !r->route) {
        request_answer(r, 404, NULL, (Bytes){0});
    } else if (r->options) {
        struct MHD_Response *resp = response_of(NULL, (Bytes){0});
        MHD_add_response_header(resp, "Access-Control-Allow-Methods", "*");
        MHD_add_response_header(resp, "Access-Control-Allow-Headers", "authorization,accept,content-type");
        request_headers(r, resp);
        request_respond(r, 200, resp);
    } else if (!r->route) {
        struct MHD_Response *resp = response_of(NULL, (Bytes){0});
        MHD_add_response_header(resp, "Allow", r->allow);
        request_headers(r, resp);
        request_respond(r, 405, resp);
    } else {
        authenticate(r);
    }
}

/* ---- libmicrohttpd's side --------------------------------------------------------------------------------------------- */

static enum MHD_Result queue_response(NetRequest *r)
{
    struct MHD_Response *resp = r->response;
    r->response = NULL;
    enum MHD_Result ok = MHD_queue_response(r->conn, (unsigned)r->status, resp);
    MHD_destroy_response(resp);
    return ok;
}

/* A body announced as too large is refused before it is sent when the client asks first, or when draining it would take too long. */
static bool refuse_announced(NetRequest *r)
{
    const char *length = request_header(r, "Content-Length"), *expect = request_header(r, "Expect");
    uint64_t n = length ? strtoull(length, NULL, 10) : 0;
    if (n <= r->body_max || (!expect && n <= r->body_max + NET_DRAIN_BYTES_MAX))
        return false;
    too_large(r);
    return true;
}

enum MHD_Result request_on_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **con_cls)
{
    (void)url, (void)version;
    Net *net = cls;
    NetRequest *r = *con_cls;
    if (!r || r->conn != conn)
        return MHD_NO;
    if (!r->started) {
        r->started = true;
        r->method = arena_str(&r->arena, str_of(method)).ptr;
        find_route(r);
        return refuse_announced(r) ? queue_response(r) : MHD_YES;
    }
    if (*upload_size) {
        size_t n = *upload_size;
        *upload_size = 0;
        r->body_seen += n;
        if (r->body_seen > r->body_max + NET_DRAIN_BYTES_MAX)
            return MHD_NO; /* chunked and endless: cut */
        if (r->body_seen <= r->body_max && net->body_bytes + n <= net->config.host_bytes_max) {
            buf_put(&r->body, upload, n);
            net->body_bytes += n;
        } else if (r->body_seen <= r->body_max) {
            r->body_seen = r->body_max + 1; /* no room on this host: drain and refuse */
        }
        return MHD_YES;
    }
    if (!r->running) {
        r->running = true;
        request_run(r);
    }
    if (r->done && r->response)
        return queue_response(r);
    if (!r->done) {
        r->suspended = true;
        MHD_suspend_connection(conn);
    }
    return MHD_YES;
}

/* ---- the host's view ------------------------------------------------------------------------------------------------------ */

NetRoute net_request_route(const NetRequest *r) { return r->route->route; }
Str net_request_database(const NetRequest *r) { return r->db; }
Str net_request_path_identity(const NetRequest *r) { return r->path_identity; }
Bytes net_request_body(const NetRequest *r) { return buf_bytes(&r->body); }
bool net_request_query(const NetRequest *r, const char *name, Str *ret) { return request_query(r, name, ret); }
const uint8_t *net_request_caller(const NetRequest *r) { return r->identity; }
bool net_request_is_anonymous(const NetRequest *r) { return r->anonymous || !r->authed; }
void net_request_set_data(NetRequest *r, void *data) { r->data = data; }
void *net_request_data(const NetRequest *r) { return r->data; }

bool net_request_is_loopback(const NetRequest *r)
{
    const union MHD_ConnectionInfo *info = r->conn ? MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS) : NULL;
    const struct sockaddr *a = info ? info->client_addr : NULL;
    if (a && a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a && a->sa_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
    }
    return false;
}

void net_request_reply(NetRequest *r, int status, const char *content_type, Bytes body)
{
    net_post(r->net, &(Posted){.request = r, .status = status, .response = response_of(content_type, body)});
}

/* ---- streams ----------------------------------------------------------------------------------------------------------------- */

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos;
    NetRequest *r = cls;
    Stream *s = r->stream;
    uv_mutex_lock(&s->lock);
    size_t n = MIN(max, s->bytes.len);
    ssize_t ret = (ssize_t)n;
    if (n) {
        memcpy(buf, s->bytes.ptr, n);
        memmove(s->bytes.ptr, s->bytes.ptr + n, s->bytes.len - n);
        s->bytes.len -= n;
    } else if (s->ended || s->gone || r->net->stopping) {
        ret = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        s->waiting = true;
        MHD_suspend_connection(r->conn);
    }
    uv_mutex_unlock(&s->lock);
    return ret;
}

void net_request_stream_begin(NetRequest *r, int status, const char *content_type)
{
    r->stream = NEW(Stream);
    if (uv_mutex_init(&r->stream->lock) != 0)
        BUG("cannot create a mutex");
    struct MHD_Response *resp = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 << 10, stream_read, r, NULL);
    if (!resp)
        BUG("out of memory: an HTTP response");
    MHD_add_response_header(resp, "Content-Type", content_type);
    MHD_add_response_header(resp, "Cache-Control", "no-cache");
    net_post(r->net, &(Posted){.request = r, .status = status, .response = resp, .stream = r->stream});
}

bool net_request_stream_write(NetRequest *r, Bytes piece)
{
    Stream *s = r->stream;
    uv_mutex_lock(&s->lock);
    bool gone = s->gone, wake = s->waiting;
    if (!gone && s->bytes.len + piece.len <= NET_STREAM_BYTES_MAX)
        buf_put_bytes(&s->bytes, piece);
    s->waiting = false;
    uv_mutex_unlock(&s->lock);
    if (wake && !gone)
        net_post(r->net, &(Posted){.request = r, .wake = true});
    return !gone;
}

void net_request_stream_end(NetRequest *r)
{
    uv_mutex_lock(&r->stream->lock);
    bool wake = r->stream->waiting;
    r->stream->ended = true;
    r->stream->waiting = false;
    uv_mutex_unlock(&r->stream->lock);
    net_post(r->net, &(Posted){.request = r, .stream = r->stream, .wake = wake, .ended = true});
}

/* A suspended stream does not notice that its reader left: look at the socket now and then. */
void request_streams_tick(Net *net)
{
    for (NetRequest *r = net->requests; r; r = r->next) {
        if (!r->stream || !r->conn)
            continue;
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
        char c;
        if (!info || recv(info->connect_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
            continue;
        uv_mutex_lock(&r->stream->lock);
        bool waiting = r->stream->waiting;
        r->stream->gone = true;
        r->stream->waiting = false;
        uv_mutex_unlock(&r->stream->lock);
        if (waiting) {
            MHD_resume_connection(r->conn);
            net->kick = true;
        }
    }
}

/* The net stops: everybody who waits gets an answer. */
void request_stop_all(Net *net)
{
    for (NetRequest *r = net->requests; r; r = r->next) {
        if (r->stream && r->conn) {
            uv_mutex_lock(&r->stream->lock);
            bool waiting = r->stream->waiting;
            r->stream->waiting = false;
            r->stream->gone = true;
            uv_mutex_unlock(&r->stream->lock);
            if (waiting)
                MHD_resume_connection(r->conn);
        } else if (r->suspended) {
            request_text(r, 503, "the host is stopping");
        }
    }
    net->kick = true;
}
