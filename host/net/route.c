#include <stdio.h>
#include <strings.h>

#include "host/net/net_int.h"

/* Requests to routes of a module: /v1/database/:db/route and what follows (functions.md section 9). Whoever asks is nobody to us: the
 * Authorization header goes through unread, no client connects, and the answer is the handler's, down to its headers. */

static const Route to_module = {"", "database/:db/route", ACT_ROUTE, AUTH_NONE, 0, false};

/* What frames a message is not the module's to say. */
static bool is_framing(Str name)
{
    static const char *const names[] = {"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
                                        "trailer",        "proxy-connection"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strlen(names[i]) == name.len && strncasecmp(names[i], name.ptr, name.len) == 0)
            return true;
    return false;
}

/* ---- the way in ---------------------------------------------------------------------------------------- */

bool route_match(NetRequest *r)
{
    static const char prefix[] = "/v1/database/", word[] = "/route";
    Str path = r->raw_path;
    if (path.len < sizeof prefix || memcmp(path.ptr, prefix, sizeof prefix - 1) != 0)
        return false;
    const char *db = path.ptr + sizeof prefix - 1, *end = path.ptr + path.len, *slash = memchr(db, '/', (size_t)(end - db));
    if (!slash || slash == db || (size_t)(end - slash) < sizeof word - 1 || memcmp(slash, word, sizeof word - 1) != 0)
        return false;
    const char *rest = slash + sizeof word - 1;
    if (rest != end && *rest != '/')
        return false;
    r->route = &to_module;
    r->db = (Str){db, (size_t)(slash - db)};
    r->function = (Str){rest, (size_t)(end - rest)};
    r->body_max = NET_ROUTE_BODY_BYTES_MAX;
    return true;
}

/* The first of a list that proxies append to. */
static Str first_of(const char *list)
{
    Str s = {list, strcspn(list, ",")};
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

typedef struct Put {
    Buf *out;
    uint32_t n;
} Put;

static enum MHD_Result put_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    Put *put = cls;
    size_t at = put->out->len + 4;
    buf_put_str(put->out, str_of(name));
    for (uint8_t *c = put->out->ptr + at; c < put->out->ptr + put->out->len; c++) /* one form, however they were sent */
        if (*c >= 'A' && *c <= 'Z')
            *c |= 0x20;
    buf_put_str(put->out, str_of(value ? value : ""));
    put->n++;
    return MHD_YES;
}

void route_put_request(NetRequest *r, Str handler, Buf *out)
{
    buf_put_str(out, handler);
    buf_put_str(out, str_of(r->method));
    const char *host = request_header(r, "X-Forwarded-Host"), *proto = request_header(r, "X-Forwarded-Proto");
    if (!host)
        host = request_header(r, "Host");
    Str scheme = proto ? first_of(proto) : STR("http"), authority = first_of(host ? host : "");
    size_t at = out->len;
    buf_put_u32(out, 0);
    buf_put_str_raw(out, scheme);
    buf_put_text(out, "://");
    buf_put_str_raw(out, authority);
    buf_put_str_raw(out, r->raw_path);
    if (r->raw_query.len) {
        buf_put_u8(out, '?');
        buf_put_str_raw(out, r->raw_query);
    }
    store_u32(out->ptr + at, (uint32_t)(out->len - at - 4));
    size_t count_at = out->len;
    Put put = {out, 0};
    buf_put_u32(out, 0);
    if (r->conn)
        MHD_get_connection_values(r->conn, MHD_HEADER_KIND, put_header, &put);
    store_u32(out->ptr + count_at, put.n);
    buf_put_blob(out, buf_bytes(&r->body));
}

/* ---- the way out --------------------------------------------------------------------------------------- */

static bool is_token(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 127 || strchr("\"(),/:;<=>?@[\\]{}", s.ptr[i]))
            return false;
    return s.len > 0;
}

static bool is_value(Bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        if ((b.ptr[i] < ' ' && b.ptr[i] != '\t') || b.ptr[i] == 127)
            return false;
    return true;
}

bool route_reply_read(RouteReply *ret, Bytes payload)
{
    Reader in = reader_of(payload);
    RouteReply r = {.status = read_u16(&in), .nheaders = read_u32(&in)};
    if (in.bad || r.status < 200 || r.status > 599 || r.nheaders > NET_ROUTE_HEADERS_MAX || r.nheaders > reader_left(&in) / 8)
        return false;
    r.headers = in;
    for (uint32_t i = 0; i < r.nheaders; i++) {
        Str name = read_str(&in);
        Bytes value = read_blob(&in);
        if (in.bad || !is_token(name) || !is_value(value))
            return false;
    }
    r.body = read_blob(&in);
    if (in.bad || reader_left(&in))
        return false;
    *ret = r;
    return true;
}

void route_answer(NetRequest *r, Bytes payload)
{
    RouteReply reply;
    if (!route_reply_read(&reply, payload)) {
        request_text(r, 500, "the response of the module cannot be sent");
        return;
    }
    Bytes body = reply.status == 204 || reply.status == 304 ? (Bytes){0} : reply.body;
    struct MHD_Response *resp = MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.ptr, MHD_RESPMEM_MUST_COPY);
    if (!resp)
        BUG("out of memory: an HTTP response of %zu bytes", body.len);
    OWN(arena) Arena arena = {0};
    for (uint32_t i = 0; i < reply.nheaders; i++) {
        Str name = read_str(&reply.headers);
        Bytes value = read_blob(&reply.headers);
        if (!is_framing(name))
            MHD_add_response_header(resp, arena_str(&arena, name).ptr, arena_str(&arena, (Str){(const char *)value.ptr, value.len}).ptr);
    }
    request_respond(r, reply.status, resp);
}
