/* socket.c - see socket.h. The handshake is RFC 6455, section 4.1. */
#include "cli/socket.h"
#include "cli/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <wslay/wslay.h>

enum { HEAD_BYTES_MAX = 64 * 1024, HANDSHAKE_TIMEOUT_MS = 30000 };
static const uint64_t message_bytes_max = (uint64_t)1 << 30;

struct Socket {
    CURL *curl;
    curl_socket_t fd;
    wslay_event_context_ptr ws;
    Buf early; /* frames that came with the head of the answer */
    size_t early_taken;
    bool ended; /* the connection is gone */
    Buf message;
    struct Queued {
        struct Queued *next;
        Bytes bytes;
    } * first, **last; /* arrived, not yet asked for */
    char reason[128];
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *user)
{
    Socket *s = user;
    if (s->early_taken < s->early.len) {
        size_t n = MIN(len, s->early.len - s->early_taken);
        memcpy(buf, s->early.ptr + s->early_taken, n);
        s->early_taken += n;
        return (ssize_t)n;
    }
    size_t n = 0;
    CURLcode code = curl_easy_recv(s->curl, buf, len, &n);
    if (code == CURLE_OK && n > 0)
        return (ssize_t)n;
    if (code != CURLE_AGAIN)
        s->ended = true;
    wslay_event_set_error(ctx, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    (void)flags;
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags, void *user)
{
    Socket *s = user;
    size_t n = 0;
    CURLcode code = curl_easy_send(s->curl, data, len, &n);
    (void)flags;
    if (code == CURLE_OK)
        return (ssize_t)n;
    if (code != CURLE_AGAIN)
        s->ended = true;
    wslay_event_set_error(ctx, code == CURLE_AGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *user)
{
    Error ignored;
    (void)ctx, (void)user;
    return random_fill(buf, len, &ignored) == S_OK ? 0 : -1;
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *user)
{
    Socket *s = user;
    (void)ctx;
    if (m->opcode == WSLAY_BINARY_FRAME) {
        struct Queued *q = NEW(struct Queued);
        uint8_t *copy = x_alloc(m->msg_length + 1);
        memcpy(copy, m->msg, m->msg_length);
        *q = (struct Queued){NULL, {copy, m->msg_length}};
        *s->last = q;
        s->last = &q->next;
    } else if (m->opcode == WSLAY_CONNECTION_CLOSE && m->msg_length > 2) {
        snprintf(s->reason, sizeof s->reason, "%.*s", (int)MIN(m->msg_length - 2, sizeof s->reason - 1), (const char *)m->msg + 2);
    }
}

static void wait_for(Socket *s, short events, int timeout_ms)
{
    struct pollfd p = {.fd = s->fd, .events = events};
    poll(&p, 1, timeout_ms);
}

static void send_all(Socket *s, const char *url, Str text)
{
    while (text.len) {
        size_t n = 0;
        CURLcode code = curl_easy_send(s->curl, text.ptr, text.len, &n);
        if (code == CURLE_AGAIN)
            wait_for(s, POLLOUT, 1000);
        else if (code != CURLE_OK)
            http_unreachable(url, curl_easy_strerror(code));
        text = (Str){text.ptr + n, text.len - n};
    }
}

/* Reads up to the empty line; what follows it belongs to the frames. */
static Str read_head(Socket *s, const char *url)
{
    uint64_t deadline = clock_monotonic_ns() + (uint64_t)HANDSHAKE_TIMEOUT_MS * 1000000;
    for (;;) {
        const uint8_t *end = s->early.len ? memmem(s->early.ptr, s->early.len, "\r\n\r\n", 4) : NULL;
        if (end) {
            s->early_taken = (size_t)(end - s->early.ptr) + 4;
            return (Str){(const char *)s->early.ptr, s->early_taken};
        }
        char piece[4096];
        size_t n = 0;
        CURLcode code = curl_easy_recv(s->curl, piece, sizeof piece, &n);
        if (code == CURLE_AGAIN && clock_monotonic_ns() < deadline)
            wait_for(s, POLLIN, 1000);
        else if (code != CURLE_OK || n == 0 || s->early.len > HEAD_BYTES_MAX)
            http_unreachable(url, "the server closed the connection during the WebSocket handshake");
        buf_put(&s->early, piece, n);
    }
}

static Str header(Str head, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = head.ptr, *end = head.ptr + head.len; p < end;) {
        const char *eol = memchr(p, '\r', (size_t)(end - p));
        if (!eol)
            break;
        if ((size_t)(eol - p) > len && p[len] == ':' && strncasecmp(p, name, len) == 0) {
            p += len + 1;
            while (p < eol && *p == ' ')
                p++;
            return (Str){p, (size_t)(eol - p)};
        }
        p = eol + 2;
    }
    return (Str){"", 0};
}

/* The rest of a refusal's body, as far as it comes. */
static _Noreturn void refused(Cli *c, Socket *s, const char *url, Str head)
{
    char digits[8] = "";
    Str length = header(head, "content-length");
    memcpy(digits, length.ptr, MIN(length.len, sizeof digits - 1));
    size_t want = MIN((size_t)strtoul(digits, NULL, 10), (size_t)HEAD_BYTES_MAX), begin = s->early_taken;
    Str line = {head.ptr, (size_t)((const char *)memchr(head.ptr, '\r', head.len) - head.ptr)};
    const char *status = cli_text(c, "%.*s", STR_FMT(line));
    uint64_t deadline = clock_monotonic_ns() + 2000000000u;
    while (s->early.len - begin < want && clock_monotonic_ns() < deadline) {
        char piece[4096];
        size_t n = 0;
        CURLcode code = curl_easy_recv(s->curl, piece, sizeof piece, &n);
        if (code == CURLE_AGAIN)
            wait_for(s, POLLIN, 200);
        else if (code != CURLE_OK || n == 0)
            break;
        buf_put(&s->early, piece, n);
    }
    Str body = {(const char *)s->early.ptr + begin, s->early.len - begin};
    const char *query = strchr(url, '?');
    cli_fail_cause(cli_text(c, "%s for GET %.*s", status, query ? (int)(query - url) : (int)strlen(url), url), "%.*s",
                   (int)(body.len ? body.len : 40), body.len ? body.ptr : "the server refused the WebSocket request");
}

Socket *socket_open(Cli *c, const char *url, const char *token, const char *protocol)
{
    Socket *s = ARENA_NEW(&c->arena, Socket);
    s->last = &s->first;
    s->curl = curl_easy_init();
    if (!s->curl)
        cli_fail("libcurl could not be started");
    curl_easy_setopt(s->curl, CURLOPT_URL, url);
    curl_easy_setopt(s->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
    CURLcode code = curl_easy_perform(s->curl);
    if (code != CURLE_OK || curl_easy_getinfo(s->curl, CURLINFO_ACTIVESOCKET, &s->fd) != CURLE_OK)
        http_unreachable(url, curl_easy_strerror(code));
    uint8_t nonce[16], digest[20];
    char key[32], expected[32];
    Error err = {0};
    if (random_fill(nonce, sizeof nonce, &err) != S_OK)
        cli_fail("%s", err.text);
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof nonce);
    const char *joined = cli_text(c, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((const unsigned char *)joined, strlen(joined), digest);
    EVP_EncodeBlock((unsigned char *)expected, digest, sizeof digest);
    const char *host = strstr(url, "://") + 3, *path = strchr(host, '/');
    char *head_out = cli_text(c,
                              "GET %s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n%s%s%s\r\n",
                              path, (int)(path - host), host, key, protocol, token ? "Authorization: Bearer " : "", token ? token : "",
                              token ? "\r\n" : "");
    send_all(s, url, str_of(head_out));
    Str head = read_head(s, url);
    if (head.len < 12 || memcmp(head.ptr + 8, " 101", 4) != 0)
        refused(c, s, url, head);
    if (!str_is(header(head, "sec-websocket-accept"), expected) || !str_is(header(head, "sec-websocket-protocol"), protocol))
        cli_fail("%s answered the WebSocket handshake wrongly: is it a SpacetimeDB host of version 2?", url);
    struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv, .send_callback = on_send, .genmask_callback = on_mask, .on_msg_recv_callback = on_message};
    if (wslay_event_context_client_init(&s->ws, &callbacks, s) != 0)
        cli_fail("the WebSocket could not be set up: out of memory");
    wslay_event_config_set_max_recv_msg_length(s->ws, message_bytes_max);
    return s;
}

void socket_send(Socket *s, Bytes message)
{
    struct wslay_event_msg m = {.opcode = WSLAY_BINARY_FRAME, .msg = message.ptr, .msg_length = message.len};
    wslay_event_queue_msg(s->ws, &m);
    while (wslay_event_want_write(s->ws) && !s->ended) {
        if (wslay_event_send(s->ws) != 0)
            s->ended = true;
        if (wslay_event_want_write(s->ws) && !s->ended)
            wait_for(s, POLLOUT, 1000);
    }
}

SocketEvent socket_next(Socket *s, Bytes *ret, uint64_t deadline_ns)
{
    for (;;) {
        if (s->first) {
            struct Queued *q = s->first;
            s->first = q->next;
            s->last = s->first ? s->last : &s->first;
            buf_reset(&s->message);
            buf_put_bytes(&s->message, q->bytes);
            free((void *)q->bytes.ptr);
            free(q);
            *ret = buf_bytes(&s->message);
            return SOCKET_MESSAGE;
        }
        if (s->ended || wslay_event_get_close_received(s->ws))
            return SOCKET_CLOSED;
        uint64_t now = clock_monotonic_ns();
        if (deadline_ns && now >= deadline_ns)
            return SOCKET_TIMEOUT;
        if (wslay_event_recv(s->ws) != 0)
            s->ended = true;
        if (wslay_event_want_write(s->ws) && wslay_event_send(s->ws) != 0) /* answers to pings */
            s->ended = true;
        if (s->first || s->ended || wslay_event_get_close_received(s->ws))
            continue;
        uint64_t left_ms = deadline_ns ? (deadline_ns - now) / 1000000 + 1 : 60000;
        wait_for(s, (short)(POLLIN | (wslay_event_want_write(s->ws) ? POLLOUT : 0)), (int)MIN(left_ms, (uint64_t)60000));
    }
}

const char *socket_reason(const Socket *s) { return s->reason; }

void socket_close(Socket *s)
{
    if (!s->ended && !wslay_event_get_close_sent(s->ws)) {
        wslay_event_queue_close(s->ws, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0);
        wslay_event_send(s->ws);
    }
    wslay_event_context_free(s->ws);
    curl_easy_cleanup(s->curl);
    for (struct Queued *q; (q = s->first) != NULL;) {
        s->first = q->next;
        free((void *)q->bytes.ptr);
        free(q);
    }
    buf_done(&s->early);
    buf_done(&s->message);
}
