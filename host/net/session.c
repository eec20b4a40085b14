#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/net/net_int.h"
#include "host/wire/identity.h"
#include "host/wire/messages.h"

/* WebSocket sessions.
 *
 *   CONNECTING --client_connect S_OK--> WAITING --net_client_connected--> OPEN
 *   any of these --session_close--> CLOSING (a Close frame is queued, input discarded, 250 ms for the echo) --> DEAD
 *   any --socket error, protocol violation, limit--> DEAD (no Close frame), buried by the turn
 *
 * Input: one recv into the net's buffer, handed to wslay piece by piece; a frame that wslay delivers in one piece is read in place. When the
 * host has no room (S_BUSY) the rest of the message is kept in `pending`, and what wslay has not seen in `in_left`. */

enum { OPCODE_CONTINUATION = 0, OPCODE_TEXT = 1, OPCODE_BINARY = 2, CLOSE_REASON_BYTES_MAX = 123, MESSAGE_KEEP_BYTES = 64 << 10 };

/* ---- handshake (wire.md section 4) ------------------------------------------------------------------ */

static bool header_has_token(const char *value, const char *token)
{
    size_t n = strlen(token);
    while (value && *value) {
        value += strspn(value, " \t,");
        size_t len = strcspn(value, ",");
        size_t end = len;
        while (end && (value[end - 1] == ' ' || value[end - 1] == '\t'))
            end--;
        if (end == n && strncasecmp(value, token, n) == 0)
            return true;
        value += len;
    }
    return false;
}

static bool offers(NetRequest *r, const char *protocol)
{ /* exactly, with the case as given */
    const char *value = request_header(r, "Sec-WebSocket-Protocol");
    size_t n = strlen(protocol);
    while (value && *value) {
        value += strspn(value, " \t,");
        size_t len = strcspn(value, " \t,");
        if (len == n && memcmp(value, protocol, n) == 0)
            return true;
        value += len;
    }
    return false;
}

static bool subscribe_query(NetRequest *r)
{
    Str v;
    bool light = false;
    if (request_query(r, "connection_id", &v) && !connection_id_from_hex(r->connection_id, v)) {
        request_text(r, 400, "Failed to deserialize query string: connection_id: expected 32 hexadecimal digits");
        return false;
    }
    if (request_query(r, "compression", &v) && !str_is(v, "None") && !str_is(v, "Gzip") && !str_is(v, "Brotli")) {
        request_text(r, 400,
                     "Failed to deserialize query string: compression: unknown variant `%.*s`, expected one of `None`, `Brotli`, `Gzip`",
                     (int)MIN(v.len, (size_t)100), v.ptr);
        return false;
    }
    r->confirmed = true;
    return request_query_bool(r, "light", &light) && request_query_bool(r, "confirmed", &r->confirmed);
}

static bool subscribe_upgrade_headers(NetRequest *r)
{
    if (!header_has_token(request_header(r, "Upgrade"), "websocket") || !header_has_token(request_header(r, "Connection"), "upgrade")) {
        static const char text[] = "Request did not include the headers of a WebSocket upgrade";
        struct MHD_Response *resp = MHD_create_response_from_buffer(sizeof text - 1, (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
        MHD_add_response_header(resp, "Upgrade", "websocket");
        MHD_add_response_header(resp, "Content-Type", "text/plain; charset=utf-8");
        request_headers(r, resp);
        request_respond(r, 426, resp);
        return false;
    }
    const char *version = request_header(r, "Sec-WebSocket-Version"), *key = request_header(r, "Sec-WebSocket-Key");
    if (!version || strcmp(version, "13") != 0) {
        request_text(r, 400, "`Sec-WebSocket-Version` header did not include '13'");
        return false;
    }
    if (!key || strlen(key) != 24) {
        request_text(r, 400, key ? "`Sec-WebSocket-Key` header is not 16 bytes in base64" : "`Sec-WebSocket-Key` header missing");
        return false;
    }
    return true;
}

static void accept_key(const char *key, char out[32])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char text[64];
    int n = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    EVP_Digest(text, (size_t)n, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock((uint8_t *)out, digest, 20);
}

static void subscribe_opened(NetRequest *r)
{
    static const char v3[] = "v3.bsatn.spacetimedb", v2[] = "v2.bsatn.spacetimedb";
    r->v3 = offers(r, v3);
    if (!r->v3 && !offers(r, v2)) {
        request_text(r, 400, "no valid protocol selected");
        return;
    }
    if (r->net->nsessions >= r->net->config.max_clients) {
        request_text(r, 503, "too many clients: this host serves at most %u", r->net->config.max_clients);
        return;
    }
    char accept[32];
    accept_key(request_header(r, "Sec-WebSocket-Key"), accept);
    struct MHD_Response *resp = MHD_create_response_for_upgrade(session_on_upgrade, r->net);
    MHD_add_response_header(resp, "Upgrade", "websocket");
    MHD_add_response_header(resp, "Sec-WebSocket-Accept", accept);
    MHD_add_response_header(resp, "Sec-WebSocket-Protocol", r->v3 ? v3 : v2);
    request_headers(r, resp);
    r->upgrading = true;
    r->net->nsessions++; /* a promised place; given back when the request ends without a session */
    request_respond(r, 101, resp);
}

void subscribe_start(NetRequest *r)
{
    static const uint8_t zero[16];
    Str v;
    if (!subscribe_query(r) || !subscribe_upgrade_headers(r))
        return;
    if (!request_query(r, "connection_id", &v)) {
        Error err = {0};
        if (random_fill(r->connection_id, 16, &err) != S_OK) {
            request_text(r, 500, "%s", err.text);
            return;
        }
    } else if (memcmp(r->connection_id, zero, 16) == 0) {
        request_text(r, 400, "Invalid connection ID: the all-zeros ConnectionId is reserved.");
        return;
    }
    request_open(r, subscribe_opened);
}

/* ---- end of a session -------------------------------------------------------------------------------- */

static void drop(NetClient *c)
{
    c->state = CLIENT_DEAD;
    client_doom(c);
}

void session_close(NetClient *c, uint16_t code, Str reason)
{
    if (c->state >= CLIENT_CLOSING)
        return;
    if (reason.len > CLOSE_REASON_BYTES_MAX) {
        reason.len = CLOSE_REASON_BYTES_MAX;
        while (reason.len && !utf8_valid(reason))
            reason.len--;
    }
    uint8_t head[4] = {0x88, (uint8_t)(reason.len + 2), (uint8_t)(code >> 8), (uint8_t)code};
    buf_put(&c->out.ctl, head, 4);
    buf_put_str_raw(&c->out.ctl, reason);
    c->state = CLIENT_CLOSING;
    c->close_at_ms = net_now_ms(c->net) + NET_CLOSE_MS;
    client_dirty(c);
}

static void session_on_closed(uv_handle_t *h)
{
    NetClient *c = h->data;
    c->net->open_handles--;
    close(c->fd);
    wslay_event_context_free(c->ws);
    c->net->queued -= c->message.len;
    out_done(c);
    buf_done(&c->in_left);
    buf_done(&c->message);
    buf_done(&c->pending);
    free(c->token);
    channel_leave(c->ch);
    free(c);
}

/* From the turn: the backend forgets the client first, then the socket goes. */
void session_bury(NetClient *c)
{
    Net *net = c->net;
    *(c->prev ? &c->prev->next : &net->sessions) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    net->nsessions--;
    uv_close((uv_handle_t *)&c->poll, session_on_closed);
}

/* ---- dispatching ---------------------------------------------------------------------------------------- */

static void answer_failure(NetClient *c, const ClientMessage *m, Str text)
{
    OWN(buf) Buf out = {0};
    switch (m->kind) {
    case MSG_SUBSCRIBE:
    case MSG_UNSUBSCRIBE: server_subscription_error(&out, &m->request_id, m->query_set_id, text); break;
    case MSG_ONE_OFF: server_one_off_error(&out, m->request_id, text); break;
    case MSG_CALL_REDUCER: server_reducer_internal_error(&out, m->request_id, clock_wall_us(), text); break;
    case MSG_CALL_PROCEDURE: server_procedure_internal_error(&out, m->request_id, text); break;
    }
    out_send(c, 0, RELEASE_NOW, 1, &(NetPiece){NULL, buf_bytes(&out)});
}

/* One message to the host; `raw` is its tag byte. false: no room, try again later. */
static bool pass_on(NetClient *c, const uint8_t *raw, const ClientMessage *m)
{
    static const NetCallKind kinds[] = {[MSG_SUBSCRIBE] = NET_SUBSCRIBE,
                                        [MSG_UNSUBSCRIBE] = NET_UNSUBSCRIBE,
                                        [MSG_ONE_OFF] = NET_ONE_OFF,
                                        [MSG_CALL_REDUCER] = NET_CALL_REDUCER,
                                        [MSG_CALL_PROCEDURE] = NET_CALL_PROCEDURE};
    Bytes parts[3];
    uint32_t n = 1;
    switch (m->kind) { /* the call record has the same layout but for flags and the length of the arguments */
    case MSG_SUBSCRIBE: parts[0] = (Bytes){raw + 1, (size_t)(m->queries.ptr + m->queries.len - raw - 1)}; break;
    case MSG_UNSUBSCRIBE: parts[0] = (Bytes){raw + 1, 8}; break;
    case MSG_ONE_OFF: parts[0] = (Bytes){raw + 1, 8 + m->name.len}; break;
    default:
        parts[0] = (Bytes){raw + 1, 4};
        parts[1] = (Bytes){raw + 6, 4 + m->name.len};
        parts[2] = m->args;
        n = 3;
    }
    Error err = {0};
    const NetBackend *b = &c->net->config.backend;
    uint8_t flags = m->kind == MSG_UNSUBSCRIBE && m->dropped_rows ? NET_FLAG_DROPPED_ROWS : 0;
    if (c->state == CLIENT_CONNECTING) {
        client_stall(c);
        return false;
    }
    Status s = b->client_call(b->user, c->db, c, kinds[m->kind], flags, 0, n, parts, &err);
    if (LIKELY(s == S_OK))
        return true;
    if (s == S_BUSY) {
        client_stall(c);
        return false;
    }
    if (c->state == CLIENT_WAITING) { /* nothing may go out before InitialConnection */
        c->wait_open = true;
        return false;
    }
    if (c->state == CLIENT_OPEN)
        answer_failure(c, m, str_of(err.text));
    return true;
}

/* The messages of one WebSocket payload. Returns the bytes done with: less than all when the host has no room. */
static size_t dispatch(NetClient *c, Bytes payload)
{
    Error err = {0};
    Reader in = reader_of(payload);
    if (c->v3 && payload.len == 0) {
        session_close(c, 1011, STR("v3 websocket binary payload must contain at least one v2 client message"));
        return 0;
    }
    do {
        const uint8_t *raw = in.ptr;
        ClientMessage m;
        if (UNLIKELY(client_message_read(&m, &in, &err) != S_OK)) {
            session_close(c, 1011, str_of(err.text));
            return payload.len;
        }
        if (UNLIKELY(!pass_on(c, raw, &m)))
            return (size_t)(raw - payload.ptr);
    } while (c->v3 && in.ptr < in.end && c->state < CLIENT_CLOSING);
    return payload.len; /* v2: bytes behind the message are ignored */
}

static void on_payload(NetClient *c, Bytes payload)
{
    if (c->state >= CLIENT_CLOSING)
        return;
    size_t done = c->stalled || c->wait_open ? 0 : dispatch(c, payload);
    if (done == payload.len && !(payload.len == 0 && (c->stalled || c->wait_open)))
        return;
    if (c->state >= CLIENT_CLOSING)
        return;
    buf_put_blob(&c->pending, (Bytes){payload.ptr + done, payload.len - done});
}

/* ---- wslay -------------------------------------------------------------------------------------------------- */

static ssize_t ws_recv(wslay_event_context_ptr ws, uint8_t *buf, size_t len, int flags, void *user)
{
    (void)flags;
    NetClient *c = user;
    size_t n = MIN(len, (size_t)(c->in_end - c->in_ptr));
    if (n == 0 || c->stalled || c->wait_open || c->state == CLIENT_DEAD) {
        wslay_event_set_error(ws, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, c->in_ptr, n);
    c->in_ptr += n;
    return (ssize_t)n;
}

static ssize_t ws_send(wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags, void *user)
{
    (void)ws, (void)flags;
    NetClient *c = user;
    buf_put(&c->out.ctl, data, len);
    return (ssize_t)len;
}

static void ws_frame_start(wslay_event_context_ptr ws, const struct wslay_event_on_frame_recv_start_arg *arg, void *user)
{
    (void)ws;
    NetClient *c = user;
    c->frame_data = arg->opcode < 8;
    if (!c->frame_data || c->state >= CLIENT_CLOSING)
        return;
    c->frame_length = arg->payload_length;
    c->frame_fin = arg->fin;
    if (arg->opcode == OPCODE_TEXT)
        session_close(c, 1011,
                      c->v3 ? STR("v3 websocket does not support text messages") : STR("v2 websocket does not support text messages"));
    else if (arg->payload_length > NET_MESSAGE_BYTES_MAX || c->message.len + arg->payload_length > NET_MESSAGE_BYTES_MAX)
        drop(c);
}

static void message_append(NetClient *c, const uint8_t *p, size_t n)
{
    buf_put(&c->message, p, n);
    c->net->queued += n;
    if (net_over_limit(c->net, c->net->config.host_bytes_max)) {
        log_warn("host limit of %llu queued bytes reached; dropping a client that sends a large message",
                 (unsigned long long)c->net->config.host_bytes_max);
        drop(c);
    }
}

static void message_clear(NetClient *c)
{
    c->net->queued -= c->message.len;
    if (c->message.cap > MESSAGE_KEEP_BYTES)
        buf_done(&c->message);
    else
        buf_reset(&c->message);
}

static void ws_frame_chunk(wslay_event_context_ptr ws, const struct wslay_event_on_frame_recv_chunk_arg *arg, void *user)
{
    (void)ws;
    NetClient *c = user;
    if (!c->frame_data || c->state >= CLIENT_CLOSING)
        return;
    if (LIKELY(c->frame_fin && c->message.len == 0 && arg->data_length == c->frame_length)) {
        c->frame_data = false; /* the whole message lies here: read it in place */
        c->last_in_ms = net_now_ms(c->net);
        if (arg->data_length)
            on_payload(c, bytes_of(arg->data, arg->data_length));
        else
            c->frame_data = true; /* empty: at the end of the frame */
        return;
    }
    message_append(c, arg->data, arg->data_length);
}

static void ws_frame_end(wslay_event_context_ptr ws, void *user)
{
    (void)ws;
    NetClient *c = user;
    c->last_in_ms = net_now_ms(c->net);
    if (!c->frame_data || c->state >= CLIENT_CLOSING || !c->frame_fin)
        return;
    c->frame_data = false;
    on_payload(c, buf_bytes(&c->message));
    message_clear(c);
}

static void ws_control(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *arg, void *user)
{
    (void)ws;
    NetClient *c = user;
    if (arg->opcode == WSLAY_PONG)
        c->ping_open = false;
    if (arg->opcode == WSLAY_CONNECTION_CLOSE)
        c->peer_closed = true;
}

/* Everything that was read goes through wslay; afterwards what it left is kept. */
static void feed(NetClient *c, const uint8_t *p, size_t len)
{
    c->in_ptr = p;
    c->in_end = p + len;
    c->in_feed = true;
    int e = wslay_event_recv(c->ws);
    c->in_feed = false;
    if (c->state == CLIENT_DEAD)
        return;
    bool violated = e != 0 || (!wslay_event_get_read_enabled(c->ws) && !c->peer_closed);
    if (violated) { /* unmasked frame, oversize, bad control frame ...: dropped without Close */
        drop(c);
        return;
    }
    if (c->peer_closed) {
        if (c->state == CLIENT_CLOSING) { /* the echo of ours */
            drop(c);
            return;
        }
        wslay_event_send(c->ws); /* the echo, queued by wslay */
        c->state = CLIENT_CLOSING;
        c->close_at_ms = net_now_ms(c->net) + NET_CLOSE_MS;
        client_dirty(c);
        return;
    }
    if (wslay_event_want_write(c->ws)) { /* pongs */
        wslay_event_send(c->ws);
        client_dirty(c);
    }
    if (c->in_ptr < c->in_end)
        buf_put(&c->in_left, c->in_ptr, (size_t)(c->in_end - c->in_ptr));
}

/* ---- the socket --------------------------------------------------------------------------------------------- */

static bool may_read(const NetClient *c)
{
    const Net *net = c->net;
    if (c->stalled || c->wait_open)
        return false;
    if (c->out.bytes > net->config.client_bytes_max / 2)
        return false;
    return !(c->out.bytes > NET_READ_BYTES && net_over_limit(net, net->config.host_bytes_max / 2));
}

static void session_on_poll(uv_poll_t *p, int status, int events)
{
    NetClient *c = p->data;
    Net *net = c->net;
    if (c->state == CLIENT_DEAD)
        return;
    if (status < 0) {
        drop(c);
        return;
    }
    if (events & UV_WRITABLE) {
        c->out.blocked = false;
        client_dirty(c);
    }
    for (int i = 0; (events & UV_READABLE) && i < NET_READS_PER_WAKE && may_read(c); i++) {
        ssize_t n = recv(c->fd, net->inbuf, NET_READ_BYTES, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
            break;
        if (n <= 0) {
            drop(c);
            return;
        }
        feed(c, net->inbuf, (size_t)n);
        if (c->state == CLIENT_DEAD)
            return;
        if (n < NET_READ_BYTES)
            break;
    }
    if ((events & UV_DISCONNECT) && !(events & UV_READABLE)) {
        drop(c);
        return;
    }
    session_poll(c);
}

/* Make the events that we wait for those that we can serve. */
void session_poll(NetClient *c)
{
    if (c->state == CLIENT_DEAD || c->doomed)
        return;
    int want = UV_DISCONNECT | (may_read(c) ? UV_READABLE : 0) | (c->out.blocked ? UV_WRITABLE : 0);
    if (want == c->events)
        return;
    if (!(c->events & UV_READABLE) && (want & UV_READABLE))
        c->last_in_ms = net_now_ms(c->net); /* the silence was ours */
    c->events = want;
    if (uv_poll_start(&c->poll, want, session_on_poll) != 0)
        drop(c);
}

/* There is room again (or the connection was accepted): first what was read before. */
void session_resume(NetClient *c)
{
    if (c->state >= CLIENT_CLOSING)
        return;
    if (c->state == CLIENT_CONNECTING) {
        Error err = {0};
        const NetBackend *b = &c->net->config.backend;
        client_channel(c);
        OWN(buf) Buf claims = {0};
        token_claims(str_of(c->token), &claims);
        Status s = b->client_connect(b->user, c->db, c, c->identity, c->connection_id, buf_str(&claims), false, &err);
        if (s == S_BUSY) {
            client_stall(c);
            session_poll(c);
            return;
        }
        if (s != S_OK) {
            session_close(c, s == S_UNAVAILABLE ? 1013 : 1011, str_of(err.text));
            return;
        }
        c->in_backend = true;
        if (c->state == CLIENT_CONNECTING)
            c->state = CLIENT_WAITING;
    }
    while (c->pending_at < c->pending.len && !c->stalled && !c->wait_open && c->state < CLIENT_CLOSING) {
        uint8_t *p = c->pending.ptr + c->pending_at;
        uint32_t len = load_u32(p);
        size_t done = dispatch(c, (Bytes){p + 4, len});
        if (done < len || (len == 0 && (c->stalled || c->wait_open))) {
            store_u32(p + done, (uint32_t)(len - done)); /* the rest becomes the first entry */
            c->pending_at += done;
            break;
        }
        c->pending_at += 4 + len;
    }
    if (c->pending_at == c->pending.len) {
        c->pending_at = 0;
        buf_reset(&c->pending);
        if (c->pending.cap > MESSAGE_KEEP_BYTES)
            buf_done(&c->pending);
    }
    if (c->in_left.len && !c->stalled && !c->wait_open && c->state < CLIENT_CLOSING) {
        Buf left = c->in_left;
        c->in_left = (Buf){0};
        feed(c, left.ptr, left.len);
        buf_done(&left);
    }
    session_poll(c);
}

void session_tick(NetClient *c, uint64_t now_ms)
{
    if (c->state == CLIENT_DEAD)
        return;
    if (c->state == CLIENT_CLOSING) {
        if (now_ms >= c->close_at_ms)
            drop(c);
        return;
    }
    if (!(c->events & UV_READABLE))
        c->last_in_ms = now_ms; /* we are not listening; that is not the peer's silence */
    if (now_ms - c->last_in_ms >= NET_IDLE_MS) {
        drop(c);
    } else if (!c->ping_open && now_ms - c->last_ping_ms >= NET_PING_MS) {
        c->ping_open = true;
        c->last_ping_ms = now_ms;
        buf_put(&c->out.ctl, "\x89\x00", 2);
        client_dirty(c);
    }
}

/* ---- beginning of a session --------------------------------------------------------------------------------- */

static NetClient *session_new(NetRequest *r, int fd)
{
    static const struct wslay_event_callbacks callbacks = {ws_recv,        ws_send,      NULL,      ws_frame_start,
                                                           ws_frame_chunk, ws_frame_end, ws_control};
    Net *net = r->net;
    NetClient *c = NEW(NetClient);
    c->net = net;
    c->fd = fd;
    if (uv_poll_init(net->loop, &c->poll, fd) != 0) {
        free(c);
        return NULL;
    }
    c->poll.data = c;
    net->open_handles++;
    if (wslay_event_context_server_init(&c->ws, &callbacks, c) != 0)
        BUG("out of memory: a WebSocket context");
    wslay_event_config_set_no_buffering(c->ws, 1);
    wslay_event_config_set_max_recv_msg_length(c->ws, NET_MESSAGE_BYTES_MAX);
    memcpy(c->identity, r->identity, 32);
    memcpy(c->connection_id, r->connection_id, 16);
    c->token = x_alloc(r->token.len + 1);
    memcpy(c->token, r->token.ptr, r->token.len);
    c->confirmed = r->confirmed;
    c->v3 = r->v3;
    c->last_in_ms = c->last_ping_ms = net_now_ms(net);
    c->db = r->ndb;
    r->ndb = NULL;
    client_channel(c);
    c->next = net->sessions;
    if (c->next)
        c->next->prev = c;
    net->sessions = c;
    return c;
}

/* libmicrohttpd has sent the 101. We take a duplicate of its socket and let it forget the connection at once: its memory and its place
 * among its connections are free again. */
void session_on_upgrade(void *cls, struct MHD_Connection *conn, void *con_cls, const char *extra, size_t extra_size, MHD_socket sock,
                        struct MHD_UpgradeResponseHandle *urh)
{
    (void)conn;
    Net *net = cls;
    NetRequest *r = con_cls;
    int on = 1, fd = net->stopping ? -1 : fcntl(sock, F_DUPFD_CLOEXEC, 3);
    NetClient *c = fd >= 0 ? session_new(r, fd) : NULL;
    net_leave_upgrade(net, urh);
    if (!c) {
        if (fd >= 0)
            close(fd);
        if (!net->stopping)
            log_error("cannot take over a WebSocket: %s", strerror(errno));
        return; /* the request gives the place and the database back */
    }
    r->upgrading = false; /* the session owns the promised place now */
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (extra_size)
        buf_put(&c->in_left, extra, extra_size);
    session_resume(c);
}
