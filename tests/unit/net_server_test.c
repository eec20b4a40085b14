/* The whole net over real sockets, with a fake host behind it.
 *
 * The fake host answers a reducer call with a ReducerResult that carries the arguments as its error bytes; each call is one transaction.
 * `progress` says whether it reports offsets at once or waits for the test. Everything of the net runs in the loop's thread; the test's
 * thread holds the client's sockets and posts functions. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/net/net.h"

#define TEST(name) static void name(void **state __attribute__((unused)))

/* ---- the fake host -------------------------------------------------------------------------------------- */

struct NetDb {
    int opens;
};

typedef struct World {
    uv_loop_t loop;
    Net *net;
    NetChannel *ch;
    NetDb db;
    pthread_t thread;
    uv_async_t async;
    pthread_mutex_t lock;
    pthread_cond_t done;
    void (*command)(void);
    uint64_t offset;
    atomic_bool manual, busy, reject, refuse, gone_seen, reply_error;
    atomic_int connects, disconnects, calls;
    NetClient *clients[4096];
    int nclients;
    NetRequest *stream;
    ModuleDef *def;
    char key_dir[64];
    int port;
} World;
static World w;

static void advance(void)
{
    if (!w.manual)
        net_channel_progress(w.ch, w.offset, w.offset);
}

static void fake_open(void *user, Str name, void (*done)(void *ctx, NetDb *db, const Error *err), void *ctx)
{
    (void)user;
    if (str_is(name, "chat")) {
        w.db.opens++;
        done(ctx, &w.db, NULL);
        return;
    }
    Error err = {0};
    FAIL(&err, S_NOT_FOUND, "`%.*s` not found", STR_FMT(name));
    done(ctx, NULL, &err);
}
static void fake_release(void *user, NetDb *db) { (void)user, db->opens--; }
static NetChannel *fake_channel(void *user, NetDb *db)
{
    (void)user, (void)db;
    return w.ch;
}
static ModuleDef *fake_definition(void *user, NetDb *db, uint32_t *version)
{
    (void)user, (void)db;
    *version = 1;
    return module_def_ref(w.def);
}
static Status fake_connect(void *user, NetDb *db, NetClient *c, const uint8_t identity[32], const uint8_t id[16], Str claims, bool http,
                           Error *err)
{
    (void)user, (void)db, (void)identity, (void)id, (void)err, (void)http, (void)claims;
    if (w.busy)
        return S_BUSY;
    w.connects++;
    for (int i = 0; i < 4096; i++)
        if (!w.clients[i]) {
            w.clients[i] = c;
            break;
        }
    net_client_connected(c, !w.reject, STR("go away"), w.offset);
    return S_OK;
}
static void send_result(NetClient *c, uint32_t request_id, Bytes args)
{
    uint8_t full[18] = {6};
    store_u32(full + 1, request_id);
    full[13] = 2;
    store_u32(full + 14, (uint32_t)args.len);
    NetPiece pieces[2] = {{NULL, {full, 18}}, {NULL, args}};
    if (args.len > 1000) {
        NetSegment *s = net_segment_new(args);
        pieces[1] = (NetPiece){s, {0}};
        net_client_send(c, ++w.offset, NET_HELD, 2, pieces);
        net_segment_unref(s);
    } else {
        net_client_send(c, ++w.offset, NET_HELD, 2, pieces);
    }
}
static Status fake_call(void *user, NetDb *db, NetClient *c, NetCallKind kind, uint8_t flags, uint32_t version, uint32_t n,
                        const Bytes *parts, Error *err)
{
    (void)user, (void)db, (void)flags, (void)version;
    if (w.busy)
        return S_BUSY;
    if (w.refuse)
        return FAIL(err, S_UNAVAILABLE, "PostgreSQL is away");
    w.calls++;
    OWN(buf) Buf all = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_put_bytes(&all, parts[i]);
    Reader in = reader_of(buf_bytes(&all));
    if (kind == NET_SQL) {
        if (w.reply_error) {
            net_client_reply(c, w.offset, 7, bytes_of("no such table: `x`", 18));
            return S_OK;
        }
        static const uint8_t type[] = {2, 1, 0, 0, 0, 0, 2, 0, 0, 0, 'i', 'd', 13};
        OWN(buf) Buf reply = {0};
        buf_put_blob(&reply, bytes_of(type, sizeof type));
        buf_put_u64(&reply, 2), buf_put_u64(&reply, 0), buf_put_u64(&reply, 0), buf_put_u64(&reply, 0), buf_put_u64(&reply, 137);
        buf_put_u32(&reply, 16), buf_put_u64(&reply, 1), buf_put_u64(&reply, UINT64_MAX);
        net_client_reply(c, w.offset, 0, buf_bytes(&reply));
        return S_OK;
    }
    uint32_t request_id = read_u32(&in);
    if (kind == NET_CALL_REDUCER) {
        Str name = read_str(&in);
        if (request_id == 0 && str_is(name, "add")) { /* the HTTP cases */
            net_client_reply(c, ++w.offset, w.reply_error ? 1 : 0, w.reply_error ? bytes_of("too old", 7) : (Bytes){0});
        } else {
            send_result(c, request_id, (Bytes){in.ptr, reader_left(&in)});
        }
    } else {
        send_result(c, request_id, (Bytes){in.ptr, reader_left(&in)});
    }
    advance();
    return S_OK;
}
static void fake_disconnect(void *user, NetDb *db, NetClient *c)
{
    (void)user, (void)db;
    w.disconnects++;
    for (int i = 0; i < 4096; i++)
        if (w.clients[i] == c)
            w.clients[i] = NULL;
}
static void fake_request(void *user, NetRequest *r)
{
    (void)user;
    Str v;
    if (net_request_route(r) == ROUTE_DB_LOGS) {
        w.stream = r;
        net_request_stream_begin(r, 200, "application/x-ndjson");
        net_request_stream_write(r, bytes_of("one\n", 4));
        return;
    }
    OWN(buf) Buf body = {0};
    buf_printf(&body, "route %d db %.*s body %zu loopback %d q %s", net_request_route(r), STR_FMT(net_request_database(r)),
               net_request_body(r).len, net_request_is_loopback(r), net_request_query(r, "q", &v) ? v.ptr : "-");
    net_request_reply(r, 200, "application/json", buf_bytes(&body));
}
static void fake_gone(void *user, NetRequest *r)
{
    (void)user, (void)r;
    w.gone_seen = true;
    w.stream = NULL;
}

static void on_async(uv_async_t *a)
{
    (void)a;
    pthread_mutex_lock(&w.lock);
    if (w.command)
        w.command();
    w.command = NULL;
    pthread_cond_signal(&w.done);
    pthread_mutex_unlock(&w.lock);
}
static void on_loop(void (*command)(void))
{
    pthread_mutex_lock(&w.lock);
    w.command = command;
    uv_async_send(&w.async);
    while (w.command)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
}
static void *run_loop(void *arg)
{
    (void)arg;
    uv_run(&w.loop, UV_RUN_DEFAULT);
    return NULL;
}

static void make_definition(void)
{
    ModuleBuilder *b = module_builder_new();
    Field f[] = {{.name = STR("name"), .type = type_scalar(TYPE_STRING)}, {.name = STR("age"), .type = type_scalar(TYPE_U8)}};
    module_builder_reducer(b, STR("add"), type_product(module_builder_arena(b), 2, f), LIFECYCLE_NONE);
    module_builder_reducer(b, STR("init"), &type_unit, LIFECYCLE_INIT);
    OWN(buf) Buf out = {0};
    Error err = {0};
    if (module_builder_finish(b, &out, &err) != S_OK || module_def_from_bsatn(&w.def, buf_bytes(&out), &err) != S_OK)
        fail_msg("%s", err.text);
}

/* The definition has no routes: nobody comes this far. */
static Status fake_attach(void *user, NetDb *db, NetClient *c, Error *err)
{
    (void)user, (void)db, (void)c;
    return FAIL(err, S_INTERNAL, "a route was found");
}

static uint64_t client_max, host_max;
static int start(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    strcpy(w.key_dir, "/tmp/net_test_keys_XXXXXX");
    assert_non_null(mkdtemp(w.key_dir));
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.done, NULL);
    uv_loop_init(&w.loop);
    uv_async_init(&w.loop, &w.async, on_async);
    make_definition();
    NetConfig config = {.loop = &w.loop,
                        .listen_host = "127.0.0.1",
                        .key_dir = w.key_dir,
                        .client_bytes_max = client_max,
                        .host_bytes_max = host_max,
                        .backend = {&w, fake_open, fake_release, fake_channel, fake_definition, fake_connect, fake_call, fake_disconnect,
                                    NULL, fake_request, fake_gone, fake_attach}};
    Error err = {0};
    if (net_start(&w.net, &config, &err) != S_OK)
        fail_msg("%s", err.text);
    w.ch = net_channel_new(w.net);
    w.port = net_port(w.net);
    return pthread_create(&w.thread, NULL, run_loop, NULL);
}
static int start_small(void **state)
{
    client_max = 1 << 20;
    int e = start(state);
    client_max = 0;
    return e;
}
static void stopped(void *ctx)
{
    (void)ctx;
    uv_close((uv_handle_t *)&w.async, NULL);
}
static void stop_net(void)
{
    if (w.stream)
        net_request_stream_end(w.stream);
    net_stop(w.net, stopped, NULL);
}
static int stop(void **state)
{
    (void)state;
    on_loop(stop_net);
    pthread_join(w.thread, NULL);
    net_channel_free(w.ch);
    net_free(w.net);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    module_def_unref(w.def);
    char path[100];
    snprintf(path, sizeof path, "%s/id_ecdsa", w.key_dir), unlink(path);
    snprintf(path, sizeof path, "%s/id_ecdsa.pub", w.key_dir), unlink(path);
    rmdir(w.key_dir);
    assert_int_equal(w.db.opens, 0);
    assert_int_equal(w.connects, w.disconnects);
    return 0;
}

/* ---- the client's side --------------------------------------------------------------------------------------- */

static int dial(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&a, sizeof a), 0);
    struct timeval t = {10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}
static void put(int fd, const void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = send(fd, (const char *)p + at, n - at, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        at += (size_t)k;
    }
}
static char answer[1 << 20];
static size_t answer_len;

/* One response with its body; returns the status. */
static int get_answer(int fd)
{
    answer_len = 0;
    size_t need = 0;
    while (answer_len + 1 < sizeof answer) {
        answer[answer_len] = 0;
        char *end = strstr(answer, "\r\n\r\n");
        if (end && !need) {
            char *length = strcasestr(answer, "content-length:");
            need = (size_t)(end - answer) + 4 + (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
            if (strncmp(answer, "HTTP/1.1 100", 12) == 0) {
                answer_len = need = 0;
                continue;
            }
        }
        if (need && answer_len >= need)
            break;
        ssize_t k = recv(fd, answer + answer_len, need ? need - answer_len : 1, 0);
        if (k <= 0)
            break;
        answer_len += (size_t)k;
    }
    answer[answer_len] = 0;
    return answer_len > 12 ? atoi(answer + 9) : 0;
}
static const char *body(void)
{
    char *p = strstr(answer, "\r\n\r\n");
    return p ? p + 4 : "";
}
static int http(const char *method, const char *path, const char *headers, const char *content)
{
    static char text[1 << 16];
    int n = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s", method, path,
                     headers, strlen(content), content);
    int fd = dial();
    put(fd, text, (size_t)n);
    int status = get_answer(fd);
    close(fd);
    return status;
}
#define WS "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V2 "Sec-WebSocket-Protocol: v2.bsatn.spacetimedb\r\n"
#define V3 "Sec-WebSocket-Protocol: v3.bsatn.spacetimedb, v2.bsatn.spacetimedb\r\n"

static int handshake(int fd, const char *query, const char *headers)
{
    char text[4096];
    int n = snprintf(text, sizeof text, "GET /v1/database/chat/subscribe%s HTTP/1.1\r\nHost: x\r\n%s\r\n", query, headers);
    put(fd, text, (size_t)n);
    return get_answer(fd);
}

typedef struct Frame {
    int opcode;
    size_t len;
    uint8_t *data;
} Frame;
static uint8_t frame_data[4 << 20];
static bool get_all(int fd, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = recv(fd, (char *)p + at, n - at, 0);
        if (k <= 0)
            return false;
        at += (size_t)k;
    }
    return true;
}
static Frame get_frame(int fd)
{ /* opcode -1: the socket ended */
    uint8_t h[10];
    if (!get_all(fd, h, 2))
        return (Frame){-1, 0, frame_data};
    size_t len = h[1];
    if (len == 126) {
        assert_true(get_all(fd, h + 2, 2));
        len = (size_t)h[2] << 8 | h[3];
    } else if (len == 127) {
        assert_true(get_all(fd, h + 2, 8));
        len = 0;
        for (int i = 0; i < 8; i++)
            len = len << 8 | h[2 + i];
    }
    assert_true(len < sizeof frame_data);
    if (len && !get_all(fd, frame_data, len))
        return (Frame){-1, 0, frame_data};
    return (Frame){h[0] & 15, len, frame_data};
}
static void put_frame_head(Buf *b, uint8_t first, size_t len, bool masked)
{
    uint8_t m = masked ? 0x80 : 0;
    buf_put_u8(b, first);
    if (len < 126) {
        buf_put_u8(b, (uint8_t)(m | len));
    } else if (len < 65536) {
        buf_put_u8(b, m | 126), buf_put_u8(b, (uint8_t)(len >> 8)), buf_put_u8(b, (uint8_t)len);
    } else {
        buf_put_u8(b, m | 127);
        for (int i = 0; i < 8; i++)
            buf_put_u8(b, (uint8_t)((uint64_t)len >> (56 - 8 * i)));
    }
    if (masked)
        buf_put_u32(b, 0x04030201);
}
static void put_frame(Buf *b, uint8_t first, Bytes payload)
{
    put_frame_head(b, first, payload.len, true);
    for (size_t i = 0; i < payload.len; i++)
        buf_put_u8(b, payload.ptr[i] ^ (uint8_t)(1 + i % 4));
}
static void put_call(Buf *b, uint32_t request_id, Bytes args)
{
    buf_put_u8(b, 3), buf_put_u32(b, request_id), buf_put_u8(b, 0), buf_put_str(b, STR("echo")), buf_put_blob(b, args);
}
static void send_call(int fd, uint32_t request_id, size_t nargs)
{
    OWN(buf) Buf m = {0}, f = {0};
    uint8_t *args = calloc(1, nargs + 1);
    put_call(&m, request_id, bytes_of(args, nargs));
    put_frame(&f, 0x82, buf_bytes(&m));
    put(fd, f.ptr, f.len);
    free(args);
}
static int session(const char *query, const char *protocol)
{
    char headers[1024];
    snprintf(headers, sizeof headers, WS "%s", protocol);
    int fd = dial();
    assert_int_equal(handshake(fd, query, headers), 101);
    Frame f = get_frame(fd);
    assert_int_equal(f.opcode, 2);
    assert_int_equal(f.data[0], 0);
    assert_int_equal(f.data[1], 0); /* InitialConnection */
    return fd;
}
static void check_result(int fd, uint32_t request_id, size_t nargs)
{
    Frame f = get_frame(fd);
    assert_int_equal(f.opcode, 2);
    assert_int_equal(f.len, 1 + 18 + nargs);
    assert_int_equal(f.data[1], 6);
    assert_int_equal(load_u32(f.data + 2), request_id);
}
static void check_close(int fd, int code, const char *reason)
{
    Frame f = get_frame(fd);
    while (f.opcode == 2 || f.opcode == 9)
        f = get_frame(fd);
    assert_int_equal(f.opcode, 8);
    assert_int_equal(f.data[0] << 8 | f.data[1], code);
    f.data[f.len] = 0;
    assert_string_equal((char *)f.data + 2, reason);
}
static bool silent(int fd, int ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, ms) == 0;
}
static void token_of(char out[1024])
{
    assert_int_equal(http("POST", "/v1/identity", "", ""), 200);
    char *p = strstr(body(), "\"token\":\"");
    assert_non_null(p);
    snprintf(out, 1024, "%.*s", (int)strcspn(p + 9, "\""), p + 9);
}

/* ---- HTTP ------------------------------------------------------------------------------------------------------ */

TEST(ping_and_unknown_paths_and_methods)
{
    assert_int_equal(http("GET", "/v1/ping", "", ""), 200);
    assert_non_null(strcasestr(answer, "access-control-allow-origin: *"));
    assert_int_equal(http("HEAD", "/v1/ping", "", ""), 200);
    assert_int_equal(http("GET", "/v1/ping/", "", ""), 404);
    assert_null(strcasestr(answer, "access-control"));
    assert_int_equal(http("GET", "/", "", ""), 404);
    assert_int_equal(http("DELETE", "/v1/ping", "", ""), 405);
    assert_non_null(strcasestr(answer, "allow: GET,HEAD"));
    assert_int_equal(http("OPTIONS", "/v1/identity/websocket-token", "", ""), 200);
    assert_non_null(strcasestr(answer, "access-control-allow-headers: authorization,accept,content-type"));
}

TEST(tokens_are_minted_checked_and_renewed)
{
    char token[1024], headers[1200];
    token_of(token);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", token);
    for (int i = 0; i < 3; i++) /* first verified, then from the cache */
        assert_int_equal(http("GET", "/v1/ping", headers, ""), 200);
    assert_int_equal(http("POST", "/v1/identity/websocket-token", headers, ""), 200);
    assert_non_null(strstr(body(), "{\"token\":\"ey"));
    char renewed[1024], path[1200];
    const char *from = strstr(body(), "ey");
    snprintf(renewed, sizeof renewed, "%.*s", from ? (int)strcspn(from, "\"") : 0, from ? from : "");
    snprintf(path, sizeof path, "/v1/ping?token=%s", renewed);
    assert_int_equal(http("GET", path, "", ""), 200);
    assert_int_equal(http("POST", "/v1/identity/websocket-token", "", ""), 401);
    assert_string_equal(body(), "Authorization required");
    assert_int_equal(http("GET", "/v1/ping", "Authorization: Basic x\r\n", ""), 400);
    assert_string_equal(body(), "Authorization is invalid: malformed token");
    assert_int_equal(http("GET", "/v1/ping", "Authorization: Bearer abc\r\n", ""), 401);
    assert_string_equal(body(), "Invalid token: InvalidToken");
    headers[strlen(headers) - 6] ^= 1;
    assert_int_equal(http("GET", "/v1/ping", headers, ""), 401);
    assert_string_equal(body(), "Invalid token: InvalidSignature");
    /* {"alg":"HS256"} {"iss":"https://x","sub":"y"}: not verified with our key as a secret, nor fetched */
    assert_int_equal(
        http("GET", "/v1/ping", "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL3giLCJzdWIiOiJ5In0.AAAA\r\n", ""), 401);
    assert_string_equal(body(), "Error fetching public key for issuer https://x: this host accepts only tokens that it signed itself");
    assert_int_equal(http("GET", "/v1/identity/public-key", "", ""), 200);
    assert_non_null(strstr(body(), "-----BEGIN PUBLIC KEY-----"));
}

TEST(identities_are_verified)
{
    char token[1024], headers[1200], path[200];
    token_of(token);
    char *id = strstr(body(), "\"identity\":\"") + 12;
    snprintf(path, sizeof path, "/v1/identity/%.64s/verify", id);
    snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", token);
    assert_int_equal(http("GET", path, headers, ""), 204);
    path[20] = path[20] == '1' ? '2' : '1';
    assert_int_equal(http("GET", path, headers, ""), 400);
    assert_int_equal(http("GET", "/v1/identity/abc/verify", headers, ""), 400);
    assert_non_null(strstr(body(), "Invalid URL: "));
}

TEST(control_routes_reach_the_host_with_parts_decoded)
{
    assert_int_equal(http("PUT", "/v1/database/my%2ddb?q=a+b%21&x", "", "module"), 200);
    assert_string_equal(body(), "route 3 db my-db body 6 loopback 1 q a b!");
    assert_non_null(strcasestr(answer, "spacetime-identity: c200"));
    assert_non_null(strcasestr(answer, "spacetime-identity-token: ey"));
    assert_int_equal(http("PUT", "/v1/database/My_db", "", ""), 400);
    assert_string_equal(body(), "Invalid URL: invalid characters in database name");
    assert_int_equal(http("PUT", "/v1/database/a%2", "", ""), 400);
    assert_int_equal(http("GET", "/v1/database/a?q=%ff", "", ""), 400);
    assert_int_equal(http("GET", "/v1/health", "", ""), 200);
    assert_null(strcasestr(answer, "spacetime-identity"));
}

TEST(large_bodies_are_refused_by_route)
{
    char text[400];
    int fd = dial();
    int n =
        snprintf(text, sizeof text, "PUT /v1/database/a HTTP/1.1\r\nHost: x\r\nContent-Length: 268435457\r\nExpect: 100-continue\r\n\r\n");
    put(fd, text, (size_t)n);
    assert_int_equal(get_answer(fd), 413);
    assert_string_equal(body(), "The module exceeds the limit of 268435456 bytes");
    close(fd);
    fd = dial();
    n = snprintf(text, sizeof text, "POST /v1/database/chat/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    put(fd, text, (size_t)n);
    char *big = calloc(1, 3000000);
    put(fd, big, 3000000);
    free(big);
    assert_int_equal(get_answer(fd), 413);
    assert_string_equal(body(), "Failed to buffer the request body: length limit exceeded");
    close(fd);
}

TEST(reducers_are_called_over_http)
{
    const char *json = "Content-Type: application/json\r\n";
    assert_int_equal(http("POST", "/v1/database/chat/call/add", json, "[\"ann\",30]"), 200);
    assert_string_equal(body(), "");
    assert_non_null(strcasestr(answer, "spacetime-execution-duration-micros: "));
    assert_int_equal(http("POST", "/v1/database/chat/call/add", json, "[\"ann\",300]"), 400);
    assert_string_equal(body(), "invalid arguments for reducer add: [1]: invalid value: integer `300`, expected u8 at line 1 column 10");
    assert_int_equal(http("POST", "/v1/database/chat/call/add", json, "[1]x"), 400);
    assert_int_equal(http("POST", "/v1/database/chat/call/nope", json, "[]"), 404);
    assert_string_equal(body(), "No such procedure");
    assert_int_equal(http("POST", "/v1/database/chat/call/init", json, "[]"), 400);
    assert_string_equal(body(), "can't directly call special Init lifecycle reducer");
    assert_int_equal(http("POST", "/v1/database/chat/call/add", "", "[]"), 400);
    assert_string_equal(body(), "Header of type `content-type` was missing");
    assert_int_equal(http("POST", "/v1/database/chat/call/add", "Content-Type: text/plain\r\n", "[]"), 415);
    assert_int_equal(http("POST", "/v1/database/none/call/add", json, "[]"), 404);
    assert_string_equal(body(), "`none` not found");
    w.reply_error = true;
    assert_int_equal(http("POST", "/v1/database/chat/call/add", json, "[\"ann\",30]"), 530);
    assert_string_equal(body(), "too old");
    w.reply_error = false;
    w.reject = true;
    assert_int_equal(http("POST", "/v1/database/chat/call/add", json, "[\"ann\",30]"), 403);
    assert_string_equal(body(), "go away");
    w.reject = false;
    w.refuse = true;
    assert_int_equal(http("POST", "/v1/database/chat/call/add", json, "[\"ann\",30]"), 503);
    assert_string_equal(body(), "PostgreSQL is away");
    w.refuse = false;
}

TEST(sql_answers_are_turned_into_json)
{
    assert_int_equal(http("POST", "/v1/database/chat/sql", "", "SELECT * FROM t"), 200);
    assert_string_equal(
        body(),
        "[{\"schema\":{\"elements\":[{\"name\":{\"some\":\"id\"},\"algebraic_type\":{\"U64\":[]}}]},\"rows\":[[1],[18446744073709551615]],"
        "\"total_duration_micros\":137,\"stats\":{\"rows_inserted\":0,\"rows_deleted\":0,\"rows_updated\":0}}]");
    assert_int_equal(http("POST", "/v1/database/chat/sql?confirmed=maybe", "", "x"), 400);
    assert_non_null(strstr(body(), "Failed to deserialize query string: confirmed"));
    w.reply_error = true;
    assert_int_equal(http("POST", "/v1/database/chat/sql", "", "SELECT * FROM x"), 400);
    assert_string_equal(body(), "no such table: `x`");
    w.reply_error = false;
}

static void go_durable(void) { net_channel_progress(w.ch, w.offset, w.offset); }

TEST(an_http_call_is_answered_when_it_is_durable)
{
    static const char text[] =
        "POST /v1/database/chat/call/add HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n[\"a\",  1]";
    w.manual = true;
    int fd = dial();
    put(fd, text, sizeof text - 1);
    assert_true(silent(fd, 100));
    on_loop(go_durable);
    assert_int_equal(get_answer(fd), 200);
    close(fd);
    w.manual = false;
}

static void write_two(void) { net_request_stream_write(w.stream, bytes_of("two\n", 4)); }
static void end_stream(void)
{
    net_request_stream_end(w.stream);
    w.stream = NULL;
}

TEST(streams_follow_and_notice_that_the_reader_left)
{
    static const char text[] = "GET /v1/database/chat/logs?follow=true HTTP/1.1\r\nHost: x\r\n\r\n";
    char got[4096] = {0};
    int fd = dial();
    put(fd, text, sizeof text - 1);
    for (size_t at = 0; !strstr(got, "one\n");)
        at += (size_t)recv(fd, got + at, sizeof got - 1 - at, 0);
    on_loop(write_two);
    memset(got, 0, sizeof got);
    for (size_t at = 0; !strstr(got, "two\n");)
        at += (size_t)recv(fd, got + at, sizeof got - 1 - at, 0);
    on_loop(end_stream);
    memset(got, 0, sizeof got);
    for (size_t at = 0; !strstr(got, "0\r\n\r\n");)
        at += (size_t)recv(fd, got + at, sizeof got - 1 - at, 0);
    close(fd);
    fd = dial();
    put(fd, text, sizeof text - 1);
    recv(fd, got, sizeof got, 0);
    close(fd);
    for (int i = 0; i < 200 && !w.gone_seen; i++)
        usleep(10000);
    assert_true(w.gone_seen);
}

TEST(garbage_is_not_answered_with_a_crash)
{
    static const char *const cases[] = {"\r\n\r\n\r\n",
                                        "GET\r\n\r\n",
                                        "GET / HTTP/9.9\r\n\r\n",
                                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03",
                                        "GET /v1/ping HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                                        "POST /v1/identity HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int fd = dial();
        put(fd, cases[i], strlen(cases[i]));
        shutdown(fd, SHUT_WR);
        get_answer(fd);
        close(fd);
    }
    assert_int_equal(http("GET", "/v1/ping", "", ""), 200);
}

/* ---- WebSocket --------------------------------------------------------------------------------------------------- */

static void check_refusal(const char *query, const char *headers, int status, const char *text)
{
    int fd = dial();
    assert_int_equal(handshake(fd, query, headers), status);
    assert_string_equal(body(), text);
    close(fd);
}

TEST(handshakes_are_refused_in_order_with_their_texts)
{
    check_refusal("?token=", WS V2, 401, "Invalid token: InvalidToken");
    check_refusal("?connection_id=xyz", WS V2, 400, "Failed to deserialize query string: connection_id: expected 32 hexadecimal digits");
    check_refusal("?compression=gzip", WS V2, 400,
                  "Failed to deserialize query string: compression: unknown variant `gzip`, expected one of `None`, `Brotli`, `Gzip`");
    check_refusal("?confirmed=1", WS V2, 400, "Failed to deserialize query string: confirmed: provided string was not `true` or `false`");
    check_refusal("", V2, 426, "Request did not include the headers of a WebSocket upgrade");
    check_refusal("", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 12\r\n" V2, 400,
                  "`Sec-WebSocket-Version` header did not include '13'");
    check_refusal("", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" V2, 400,
                  "`Sec-WebSocket-Key` header missing");
    check_refusal("?connection_id=00000000000000000000000000000000", WS V2, 400,
                  "Invalid connection ID: the all-zeros ConnectionId is reserved.");
    check_refusal("", WS, 400, "no valid protocol selected");
    check_refusal("", WS "Sec-WebSocket-Protocol: v1.bsatn.spacetimedb, v1.json.spacetimedb\r\n", 400, "no valid protocol selected");
    int fd = dial();
    static const char unknown[] = "GET /v1/database/none/subscribe HTTP/1.1\r\nHost: x\r\n" WS V2 "\r\n";
    put(fd, unknown, sizeof unknown - 1);
    assert_int_equal(get_answer(fd), 404);
    assert_string_equal(body(), "`none` not found");
    close(fd);
}

TEST(the_handshake_answers_as_rfc_6455_wants)
{
    int fd = dial();
    assert_int_equal(handshake(fd, "?connection_id=00112233445566778899AABBCCDDEEFF&compression=Gzip&light=true", WS V3), 101);
    assert_non_null(strcasestr(answer, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_non_null(strcasestr(answer, "sec-websocket-protocol: v3.bsatn.spacetimedb\r\n"));
    assert_non_null(strcasestr(answer, "spacetime-identity-token: ey"));
    Frame f = get_frame(fd);
    assert_int_equal(f.opcode, 2);
    assert_int_equal(f.data[1], 0);
    assert_int_equal(f.data[2 + 32], 0xff); /* the connection id, least significant byte first */
    close(fd);
}

TEST(calls_sent_with_the_handshake_are_answered_after_the_initial_connection)
{
    OWN(buf) Buf b = {0}, m = {0};
    buf_put_text(&b, "GET /v1/database/chat/subscribe HTTP/1.1\r\nHost: x\r\n" WS V2 "\r\n");
    put_call(&m, 77, bytes_of("abc", 3));
    put_frame(&b, 0x82, buf_bytes(&m));
    int fd = dial();
    put(fd, b.ptr, b.len);
    assert_int_equal(get_answer(fd), 101);
    assert_int_equal(get_frame(fd).data[1], 0);
    check_result(fd, 77, 3);
    close(fd);
}

TEST(v2_carries_one_message_per_frame_of_every_size)
{
    static const size_t sizes[] = {0, 1, 100, 106, 107, 108, 500, 512, 513, 2000, 65000, 65510, 65535, 70000, 1 << 20};
    int fd = session("", V2);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        send_call(fd, (uint32_t)i, sizes[i]);
        check_result(fd, (uint32_t)i, sizes[i]);
    }
    OWN(buf) Buf m = {0}, f = {0};
    put_call(&m, 5, (Bytes){0});
    buf_put_text(&m, "trailing bytes are ignored");
    put_frame(&f, 0x82, buf_bytes(&m));
    put(fd, f.ptr, f.len);
    check_result(fd, 5, 0);
    close(fd);
}

TEST(fragmented_messages_are_put_together_around_a_ping)
{
    int fd = session("", V2);
    OWN(buf) Buf m = {0}, f = {0};
    put_call(&m, 9, bytes_of("hello", 5));
    put_frame(&f, 0x02, (Bytes){m.ptr, 3});
    put_frame(&f, 0x89, bytes_of("hi", 2));
    put_frame(&f, 0x00, (Bytes){m.ptr + 3, 4});
    put_frame(&f, 0x80, (Bytes){m.ptr + 7, m.len - 7});
    for (size_t i = 0; i < f.len; i++) { /* byte by byte: half-open frames everywhere */
        put(fd, f.ptr + i, 1);
        if (i % 8 == 0)
            usleep(500);
    }
    Frame g = get_frame(fd);
    assert_int_equal(g.opcode, 10);
    assert_memory_equal(g.data, "hi", 2);
    check_result(fd, 9, 5);
    close(fd);
}

static void be_busy(void) { w.busy = true; }
static void be_free(void)
{
    w.busy = false;
    net_channel_writable(w.ch);
}
static void manual_on(void) { w.manual = true; }
static void manual_off(void)
{
    w.manual = false;
    go_durable();
}

TEST(v3_coalesces_what_is_ready)
{
    int fd = session("", V3);
    OWN(buf) Buf m = {0}, f = {0};
    for (uint32_t i = 0; i < 1000; i++)
        put_call(&m, i, bytes_of("0123456789", 10));
    put_frame(&f, 0x82, buf_bytes(&m));
    on_loop(manual_on);
    put(fd, f.ptr, f.len);
    assert_true(silent(fd, 100));
    assert_int_equal(w.calls, 1000);
    on_loop(manual_off);
    Frame g = get_frame(fd);
    assert_int_equal(g.len, 1 + 1000 * 28);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(load_u32(g.data + 2 + i * 28), i);
    buf_reset(&m), buf_reset(&f);
    uint8_t *big = calloc(1, 100000); /* segments: six and six into frames of at most 512 KiB */
    for (uint32_t i = 0; i < 12; i++)
        put_call(&m, i, bytes_of(big, 100000));
    put_frame(&f, 0x82, buf_bytes(&m));
    on_loop(manual_on);
    put(fd, f.ptr, f.len);
    while (w.calls < 1012)
        usleep(1000);
    on_loop(manual_off);
    size_t seen = 0;
    for (int frames = 0; seen < 12; frames++) {
        g = get_frame(fd);
        assert_true(g.len <= 1 + (512 << 10));
        seen += (g.len - 1) / 100018;
        assert_int_equal((g.len - 1) % 100018, 0);
        assert_true(frames < 3);
    }
    free(big);
    close(fd);
}

static void complete_only(void) { net_channel_progress(w.ch, w.offset, 0); }

TEST(unconfirmed_clients_wait_for_complete_and_confirmed_ones_for_durable)
{
    int sure = session("", V2), quick = session("?confirmed=false", V2);
    on_loop(manual_on);
    send_call(sure, 1, 4);
    send_call(quick, 2, 4);
    assert_true(silent(sure, 60));
    assert_true(silent(quick, 60));
    on_loop(complete_only);
    check_result(quick, 2, 4);
    assert_true(silent(sure, 60));
    on_loop(manual_off);
    check_result(sure, 1, 4);
    close(sure), close(quick);
}

TEST(a_busy_host_stops_the_reading_and_keeps_the_order)
{
    for (int v3 = 0; v3 < 2; v3++) {
        int fd = session("", v3 ? V3 : V2), before = w.calls;
        on_loop(be_busy);
        OWN(buf) Buf f = {0}, m = {0};
        for (uint32_t i = 0; i < 5000; i++) {
            put_call(&m, i, bytes_of("0123456789", 10));
            if (!v3 || i % 10 == 9) {
                put_frame(&f, 0x82, buf_bytes(&m));
                buf_reset(&m);
            }
        }
        put(fd, f.ptr, f.len);
        assert_true(silent(fd, 50));
        assert_int_equal(w.calls, before);
        on_loop(be_free);
        uint32_t next = 0;
        while (next < 5000) {
            Frame g = get_frame(fd);
            assert_int_equal(g.opcode, 2);
            for (size_t at = 1; at < g.len; at += 28)
                assert_int_equal(load_u32(g.data + at + 1), next++);
        }
        close(fd);
    }
}

TEST(a_client_that_arrives_while_the_host_is_busy_waits)
{
    on_loop(be_busy);
    int fd = dial();
    assert_int_equal(handshake(fd, "", WS V2), 101);
    send_call(fd, 3, 2);
    assert_true(silent(fd, 50));
    on_loop(be_free);
    assert_int_equal(get_frame(fd).data[1], 0);
    check_result(fd, 3, 2);
    close(fd);
}

TEST(refusals_of_the_host_are_answered_in_band)
{
    int fd = session("", V2);
    w.refuse = true;
    send_call(fd, 4, 0);
    Frame f = get_frame(fd);
    assert_int_equal(f.data[1], 6);
    assert_int_equal(f.data[14], 3);
    assert_memory_equal(f.data + 19, "PostgreSQL is away", 18);
    w.refuse = false;
    close(fd);
}

TEST(rejected_clients_get_the_reason)
{
    w.reject = true;
    int fd = dial();
    assert_int_equal(handshake(fd, "", WS V2), 101);
    check_close(fd, 1008, "go away");
    close(fd);
    w.reject = false;
}

static void check_violation(uint8_t first, Bytes payload, const char *protocol, int code, const char *reason)
{
    int fd = session("", protocol);
    OWN(buf) Buf f = {0};
    put_frame(&f, first, payload);
    put(fd, f.ptr, f.len);
    check_close(fd, code, reason);
    assert_int_equal(get_frame(fd).opcode, -1);
    close(fd);
}

TEST(bad_messages_end_the_session_with_the_reason)
{
    check_violation(0x81, bytes_of("{}", 2), V2, 1011, "v2 websocket does not support text messages");
    check_violation(0x81, bytes_of("{}", 2), V3, 1011, "v3 websocket does not support text messages");
    check_violation(0x82, (Bytes){0}, V3, 1011, "v3 websocket binary payload must contain at least one v2 client message");
    check_violation(0x82, (Bytes){0}, V2, 1011, "data too short for u8: Expected 1, given 0");
    check_violation(0x82, bytes_of("\x09", 1), V2, 1011, "unknown tag 0x9 for sum type ClientMessage");
    check_violation(0x88, bytes_of("\x03\xe8", 2), V2, 1000, "");
}

TEST(protocol_violations_drop_the_connection)
{
    int fd = session("", V2);
    put(fd, "\x82\x01\x01", 3); /* not masked */
    assert_int_equal(get_frame(fd).opcode, -1);
    close(fd);
    fd = session("", V2);
    put(fd, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11);
    assert_int_equal(get_frame(fd).opcode, -1);
    close(fd);
    fd = session("", V2); /* 32 MiB and one byte */
    OWN(buf) Buf f = {0};
    put_frame_head(&f, 0x82, (32 << 20) + 1, true);
    put(fd, f.ptr, f.len);
    assert_int_equal(get_frame(fd).opcode, -1);
    close(fd);
}

static void flood(void)
{
    uint8_t data[1000] = {0};
    for (int k = 0; k < 20000 && w.clients[0]; k++)
        net_client_send(w.clients[0], ++w.offset, NET_NOT_HELD, 1, &(NetPiece){NULL, {data, sizeof data}});
}

TEST(a_client_that_does_not_read_is_cut_at_its_limit)
{
    int fd = session("", V2);
    on_loop(flood);
    for (int i = 0; i < 300 && w.disconnects == 0; i++)
        usleep(10000);
    assert_int_equal(w.disconnects, 1);
    close(fd);
    assert_int_equal(http("GET", "/v1/ping", "", ""), 200);
}

static void fan_out(void)
{
    uint8_t data[3000] = {4};
    NetSegment *s = net_segment_new(bytes_of(data, sizeof data));
    for (int i = 0; i < 4096; i++)
        if (w.clients[i])
            for (int k = 0; k < 20; k++)
                net_client_send(w.clients[i], w.offset, NET_NOT_HELD, 1, &(NetPiece){s, {0}});
    net_segment_unref(s);
}

TEST(two_hundred_sockets_are_served_at_once)
{
    enum { N = 200 };
    int fds[N];
    for (int i = 0; i < N; i++)
        fds[i] = session(i & 1 ? "?confirmed=false" : "", i % 3 ? V2 : V3);
    for (int i = 0; i < N; i++)
        for (uint32_t k = 0; k < 5; k++)
            send_call(fds[i], k, (size_t)i);
    for (int i = 0; i < N; i++) {
        size_t expected = 5 * (18 + (size_t)i), got = 0;
        while (got < expected) {
            Frame f = get_frame(fds[i]);
            assert_int_equal(f.opcode, 2);
            got += f.len - 1;
        }
    }
    on_loop(fan_out);
    for (int i = 0; i < N; i++)
        for (size_t got = 0; got < 60000;)
            got += get_frame(fds[i]).len - 1;
    for (int i = 0; i < N; i += 2)
        close(fds[i]);
    for (int i = 0; i < 300 && w.disconnects < N / 2; i++)
        usleep(10000);
    assert_int_equal(w.disconnects, N / 2);
    for (int i = 1; i < N; i += 2)
        close(fds[i]);
}

static struct rusage usage;
static void take_usage(void) { getrusage(RUSAGE_THREAD, &usage); }
static double usage_ms(void)
{
    on_loop(take_usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

TEST(running_out_of_descriptors_neither_spins_nor_ends_the_service)
{
    struct rlimit old, few;
    getrlimit(RLIMIT_NOFILE, &old);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 100; i++)
            if (dial() < 0)
                _exit(1);
        usleep(700000);
        _exit(0);
    }
    few = (struct rlimit){40, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    usleep(200000);
    double before = usage_ms();
    usleep(300000);
    assert_true(usage_ms() - before < 100);
    int status;
    waitpid(child, &status, 0);
    setrlimit(RLIMIT_NOFILE, &old);
    usleep(100000);
    assert_int_equal(http("GET", "/v1/ping", "", ""), 200);
}

TEST(random_bytes_in_a_session_do_no_harm)
{
    uint64_t x = 7;
    for (int i = 0; i < 100; i++) {
        int fd = session("", i & 1 ? V3 : V2);
        uint8_t junk[512];
        for (size_t k = 0; k < sizeof junk; k++)
            junk[k] = (uint8_t)(x = hash_u64(x + k));
        if (i % 4 < 2) { /* a good frame around it */
            OWN(buf) Buf f = {0};
            junk[0] %= 5;
            put_frame(&f, 0x82, bytes_of(junk, 1 + x % 400));
            put(fd, f.ptr, f.len);
        } else {
            put(fd, junk, sizeof junk);
        }
        shutdown(fd, SHUT_WR);
        while (get_frame(fd).opcode >= 0)
            ;
        close(fd);
    }
}

TEST(stopping_says_goodbye_to_open_sessions)
{
    int fd = session("", V2);
    on_loop(stop_net);
    check_close(fd, 1001, "the host is stopping");
    close(fd);
    /* started again for the teardown */
    pthread_join(w.thread, NULL);
    net_channel_free(w.ch);
    net_free(w.net);
    uv_loop_close(&w.loop);
    module_def_unref(w.def);
    char dir[64];
    strcpy(dir, w.key_dir);
    void *none = NULL;
    start(&none);
    char cmd[100];
    snprintf(cmd, sizeof cmd, "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        T(ping_and_unknown_paths_and_methods),
        T(tokens_are_minted_checked_and_renewed),
        T(identities_are_verified),
        T(control_routes_reach_the_host_with_parts_decoded),
        T(large_bodies_are_refused_by_route),
        T(reducers_are_called_over_http),
        T(sql_answers_are_turned_into_json),
        T(an_http_call_is_answered_when_it_is_durable),
        T(streams_follow_and_notice_that_the_reader_left),
        T(garbage_is_not_answered_with_a_crash),
        T(handshakes_are_refused_in_order_with_their_texts),
        T(the_handshake_answers_as_rfc_6455_wants),
        T(calls_sent_with_the_handshake_are_answered_after_the_initial_connection),
        T(v2_carries_one_message_per_frame_of_every_size),
        T(fragmented_messages_are_put_together_around_a_ping),
        T(v3_coalesces_what_is_ready),
        T(unconfirmed_clients_wait_for_complete_and_confirmed_ones_for_durable),
        T(a_busy_host_stops_the_reading_and_keeps_the_order),
        T(a_client_that_arrives_while_the_host_is_busy_waits),
        T(refusals_of_the_host_are_answered_in_band),
        T(rejected_clients_get_the_reason),
        T(bad_messages_end_the_session_with_the_reason),
        T(protocol_violations_drop_the_connection),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_is_cut_at_its_limit, start_small, stop),
        T(two_hundred_sockets_are_served_at_once),
        T(running_out_of_descriptors_neither_spins_nor_ends_the_service),
        T(random_bytes_in_a_session_do_no_harm),
        T(stopping_says_goodbye_to_open_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
