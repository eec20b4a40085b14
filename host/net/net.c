#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* accept4 */
#endif
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/net/net_int.h"
#include "host/wire/messages.h"

/* The loop's side: we accept connections ourselves (running out of descriptors must not make libmicrohttpd spin), hand them to
 * libmicrohttpd, which watches them in its own epoll set, and watch that set. Twice per loop turn (before and after waiting) net_turn does
 * what was put off: clients that wait for room, output, burials, libmicrohttpd. */

/* ---- lists of clients ------------------------------------------------------------------------------- */

void client_dirty(NetClient *c)
{
    if (c->dirty || c->http)
        return;
    c->dirty = true;
    c->dirty_next = c->net->dirty;
    c->net->dirty = c;
}

void client_doom(NetClient *c)
{
    if (c->doomed)
        return;
    c->doomed = true;
    c->doom_next = c->net->doomed;
    c->net->doomed = c;
}

void client_stall(NetClient *c)
{
    NetChannel *ch = c->ch;
    if (c->stalled)
        return;
    c->stalled = true;
    c->stall_next = NULL;
    *ch->stalled_last = c;
    ch->stalled_last = &c->stall_next;
}

static void client_unstall(NetClient *c)
{
    NetChannel *ch = c->ch;
    if (!c->stalled)
        return;
    c->stalled = false;
    NetClient **at = &ch->stalled_first;
    while (*at != c)
        at = &(*at)->stall_next;
    *at = c->stall_next;
    if (ch->stalled_last == &c->stall_next)
        ch->stalled_last = at;
}

void client_held_link(NetClient *c)
{
    if (c->held_listed)
        return;
    c->held_listed = true;
    c->held_prev = NULL;
    c->held_next = c->ch->held;
    if (c->held_next)
        c->held_next->held_prev = c;
    c->ch->held = c;
}

void client_held_unlink(NetClient *c)
{
    if (!c->held_listed)
        return;
    c->held_listed = false;
    *(c->held_prev ? &c->held_prev->held_next : &c->ch->held) = c->held_next;
    if (c->held_next)
        c->held_next->held_prev = c->held_prev;
}

/* ---- channels ------------------------------------------------------------------------------------------ */

NetChannel *net_channel_new(Net *net)
{
    NetChannel *ch = NEW(NetChannel);
    ch->net = net;
    ch->stalled_last = &ch->stalled_first;
    ch->next = net->channels;
    if (ch->next)
        ch->next->prev = ch;
    net->channels = ch;
    return ch;
}

static void channel_end(NetChannel *ch)
{
    ASSERT(!ch->held && !ch->stalled_first);
    *(ch->prev ? &ch->prev->next : &ch->net->channels) = ch->next;
    if (ch->next)
        ch->next->prev = ch->prev;
    free(ch);
}

void net_channel_free(NetChannel *ch)
{
    if (!ch)
        return;
    ch->abandoned = true;
    ch->writable = true; /* who waits for room is told how it ended */
    if (ch->clients == 0)
        channel_end(ch);
}

void channel_leave(NetChannel *ch)
{
    ASSERT(ch->clients > 0);
    if (--ch->clients == 0 && ch->abandoned)
        channel_end(ch);
}

/* The channel that the client's database has now: it may have another one since the client came. */
void client_channel(NetClient *c)
{
    NetChannel *was = c->ch, *now = c->net->config.backend.channel(c->net->config.backend.user, c->db);
    if (was == now || c->held_listed)
        return;
    if (was)
        client_unstall(c);
    c->ch = now;
    now->clients++;
    if (was)
        channel_leave(was);
}

void net_channel_progress(NetChannel *ch, uint64_t complete, uint64_t durable)
{
    ch->complete = MAX(ch->complete, complete);
    ch->durable = MAX(ch->durable, durable);
    for (NetClient *c = ch->held, *next; c; c = next) {
        next = c->held_next;
        if (c->http)
            rpc_release(c);
        else
            out_release(c);
    }
}

void net_channel_writable(NetChannel *ch) { ch->writable = true; }

static void resume_stalled(NetChannel *ch)
{
    ch->writable = false;
    bool abandoned = ch->abandoned; /* the last one to leave it takes it along */
    NetClient *last = ch->stalled_first ? (NetClient *)(void *)((char *)ch->stalled_last - offsetof(NetClient, stall_next)) : NULL;
    for (bool end = !last; !end;) { /* each once; who finds no room goes to the tail */
        NetClient *c = ch->stalled_first;
        ASSERT(c); /* `last` is behind it */
        end = c == last;
        ch->stalled_first = c->stall_next;
        if (!ch->stalled_first)
            ch->stalled_last = &ch->stalled_first;
        c->stalled = false;
        if (c->http)
            rpc_step(c);
        else
            session_resume(c);
        if (c->stalled && !abandoned) /* no room left for the others either */
            break;
    }
}

/* ---- what the host says about clients --------------------------------------------------------------------- */

void net_client_connected(NetClient *c, bool accepted, Str text, uint64_t offset)
{
    if (c->http) {
        rpc_connected(c, accepted, text);
        return;
    }
    if (c->state >= CLIENT_CLOSING || c->state == CLIENT_OPEN)
        return;
    if (!accepted) {
        session_close(c, 1008, text);
        return;
    }
    OWN(buf) Buf hello = {0};
    server_initial_connection(&hello, c->identity, c->connection_id, str_of(c->token));
    c->state = CLIENT_OPEN;
    out_send(c, offset, RELEASE_COMPLETE, 1, &(NetPiece){NULL, buf_bytes(&hello)});
    if (c->wait_open) {
        c->wait_open = false;
        client_stall(c); /* resumed by the turn */
        c->ch->writable = true;
    }
}

static void over_limit(NetClient *c, const char *whose, uint64_t limit)
{
    log_warn("dropping a client with %llu bytes queued: the limit of %llu bytes per %s is reached", (unsigned long long)c->out.bytes,
             (unsigned long long)limit, whose);
    c->state = CLIENT_DEAD;
    client_doom(c);
}

void net_client_send(NetClient *c, uint64_t offset, NetHold hold, uint32_t npieces, const NetPiece *pieces)
{
    Net *net = c->net;
    if (UNLIKELY(c->state >= CLIENT_CLOSING))
        return;
    ASSERT(!c->http);
    ReleaseRule rule = hold == NET_NOT_HELD ? RELEASE_NOW : hold == NET_DURABLE || c->confirmed ? RELEASE_DURABLE : RELEASE_COMPLETE;
    out_send(c, offset, rule, npieces, pieces);
    if (UNLIKELY(c->out.bytes > net->config.client_bytes_max))
        over_limit(c, "client", net->config.client_bytes_max);
    else if (UNLIKELY(net_over_limit(net, net->config.host_bytes_max)) && c->out.bytes > net->config.host_bytes_max / (net->nsessions + 1))
        over_limit(c, "host", net->config.host_bytes_max); /* it holds more than its share */
}

void net_client_close(NetClient *c, uint16_t code, const char *reason)
{
    if (c->http)
        rpc_fail(c, 503, reason);
    else
        session_close(c, code, str_of(reason));
}

void net_client_set_data(NetClient *c, void *data) { c->data = data; }
void *net_client_data(const NetClient *c) { return c->data; }

Status net_mint_identity(Net *net, uint8_t ret_identity[32], char *ret_token, size_t token_size, Error *err)
{
    return token_mint(net->tokens, ret_identity, ret_token, token_size, err);
}

/* ---- the door: from any thread to the loop ------------------------------------------------------------------ */

void net_post(Net *net, const Posted *p)
{
    Posted *own = NEW(Posted);
    *own = *p;
    own->next = NULL;
    uv_mutex_lock(&net->door_lock);
    *net->posted_last = own;
    net->posted_last = &own->next;
    if (!net->stopped)
        uv_async_send(&net->door);
    uv_mutex_unlock(&net->door_lock);
}

static void posted_do(Net *net, Posted *p)
{
    NetRequest *r = p->request;
    if (p->response) {
        request_headers(r, p->response);
        bool lost = r->done || !r->conn;
        request_respond(r, p->status, p->response);
        if (p->stream && lost && r->at_backend) { /* a stream whose reader is gone before it began */
            uv_mutex_lock(&p->stream->lock);
            bool ended = p->stream->ended;
            p->stream->gone = true;
            uv_mutex_unlock(&p->stream->lock);
            if (!ended) {
                net->config.backend.request_gone(net->config.backend.user, r);
                net_post(net, &(Posted){.request = r, .stream = p->stream, .ended = true});
            }
        }
    }
    if (p->wake && r->conn) {
        MHD_resume_connection(r->conn);
        net->kick = true;
    }
    if ((p->ended || (p->response && !p->stream)) && r->at_backend) {
        r->at_backend = false;
        request_unref(r);
    }
}

static void on_door(uv_async_t *a)
{
    Net *net = a->data;
    uv_mutex_lock(&net->door_lock);
    Posted *p = net->posted;
    net->posted = NULL;
    net->posted_last = &net->posted;
    uv_mutex_unlock(&net->door_lock);
    while (p) {
        Posted *next = p->next;
        posted_do(net, p);
        free(p);
        p = next;
    }
}

void net_work(Net *net, uv_work_t *work, uv_work_cb run, uv_after_work_cb after)
{
    net->under_way++;
    if (uv_queue_work(net->loop, work, run, after) != 0)
        BUG("cannot queue work");
}

/* ---- libmicrohttpd on the loop -------------------------------------------------------------------------------- */

static void on_mhd_timer(uv_timer_t *t) { ((Net *)t->data)->kick = true; }

static void run_mhd(Net *net)
{
    for (int i = 0; i < 4 && net->mhd && !net->in_mhd; i++) {
        net->kick = false;
        net->in_mhd = true;
        MHD_run(net->mhd);
        net->in_mhd = false;
        while (net->leaving) { /* upgraded connections that are ours now: forgotten at the next run */
            Leaving *l = net->leaving;
            net->leaving = l->next;
            MHD_upgrade_action(l->urh, MHD_UPGRADE_ACTION_CLOSE);
            free(l);
            net->kick = true;
        }
        MHD_UNSIGNED_LONG_LONG ms;
        if (MHD_get_timeout(net->mhd, &ms) != MHD_YES) {
            uv_timer_stop(&net->mhd_timer);
        } else if (ms == 0) {
            net->kick = true;
        } else {
            uv_timer_start(&net->mhd_timer, on_mhd_timer, ms, 0);
        }
        if (!net->kick)
            return;
    }
    uv_timer_start(&net->mhd_timer, on_mhd_timer, net->kick ? 0 : 1000, 0); /* more to do: let the loop turn once */
}

static void on_mhd_ready(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    ((Net *)p->data)->kick = true;
}

void net_leave_upgrade(Net *net, struct MHD_UpgradeResponseHandle *urh)
{
    Leaving *l = NEW(Leaving);
    *l = (Leaving){net->leaving, urh};
    net->leaving = l;
}

static void log_mhd(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    char text[512];
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\n")] = 0;
    log_debug("http: %s", text);
}

static Status start_mhd(Net *net, Error *err)
{
    net->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
                                0, NULL, NULL, request_on_access, net, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, NULL,
                                MHD_OPTION_CONNECTION_LIMIT, (unsigned)(net->config.max_clients + NET_HTTP_CONNECTIONS_EXTRA),
                                MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)NET_HTTP_TIMEOUT_S, MHD_OPTION_URI_LOG_CALLBACK, request_on_uri,
                                net, MHD_OPTION_NOTIFY_COMPLETED, request_on_completed, net, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = net->mhd ? MHD_get_daemon_info(net->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info)
        return FAIL(err, S_IO, "cannot start the HTTP server: %s", strerror(errno));
    uv_poll_init(net->loop, &net->mhd_poll, info->epoll_fd);
    net->mhd_poll.data = net;
    uv_poll_start(&net->mhd_poll, UV_READABLE, on_mhd_ready);
    return S_OK;
}

/* ---- listening ------------------------------------------------------------------------------------------------ */

static void on_listen(uv_poll_t *p, int status, int events);

static void on_accept_pause(uv_timer_t *t)
{
    Net *net = t->data;
    if (!net->stopping)
        uv_poll_start(&net->listen_poll, UV_READABLE, on_listen);
}

/* No descriptors left: turn one caller away with the spare one, so that nobody hangs, and pause. */
static void accept_without_room(Net *net)
{
    uint64_t now = net_now_ms(net);
    if (now - net->accept_logged_ms > 1000) {
        log_error("cannot accept connections: %s", strerror(errno));
        net->accept_logged_ms = now;
    }
    if (net->spare_fd >= 0) {
        close(net->spare_fd);
        int fd = accept4(net->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            close(fd);
        net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    uv_poll_stop(&net->listen_poll);
    uv_timer_start(&net->accept_pause, on_accept_pause, 50, 0);
}

static void on_listen(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    Net *net = p->data;
    for (int i = 0; i < NET_ACCEPTS_PER_WAKE && !net->stopping; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof addr;
        int fd = accept4(net->listen_fd, (struct sockaddr *)(void *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                accept_without_room(net);
            if (errno != ECONNABORTED && errno != EINTR)
                return;
            continue;
        }
        if (MHD_add_connection(net->mhd, fd, (struct sockaddr *)(void *)&addr, len) == MHD_YES)
            net->kick = true; /* on failure libmicrohttpd has closed it */
    }
}

static Status listen_on(Net *net, Error *err)
{
    char service[8];
    snprintf(service, sizeof service, "%u", net->config.listen_port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    int e = getaddrinfo(net->config.listen_host, service, &hints, &found);
    if (e)
        return FAIL(err, S_INVALID, "cannot listen on %s: %s", net->config.listen_host, gai_strerror(e));
    int on = 1, fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 4096) == 0 &&
              getsockname(fd, (struct sockaddr *)(void *)&addr, &len) == 0;
    int reason = errno;
    freeaddrinfo(found);
    net->listen_fd = fd;
    if (!ok && reason == EADDRINUSE)
        return FAIL(err, S_IO, "Port %u is already in use. Please free up the port or specify a different port with --listen-addr.",
                    net->config.listen_port);
    if (!ok)
        return FAIL(err, S_IO, "cannot listen on %s:%u: %s", net->config.listen_host, net->config.listen_port, strerror(reason));
    char text[8];
    getnameinfo((struct sockaddr *)(void *)&addr, len, NULL, 0, text, sizeof text, NI_NUMERICSERV);
    net->port = (uint16_t)atoi(text);
    return S_OK;
}

/* ---- the turn ---------------------------------------------------------------------------------------------------- */

static void bury(NetClient *c)
{
    const NetBackend *b = &c->net->config.backend;
    c->state = CLIENT_DEAD;
    client_unstall(c);
    client_held_unlink(c);
    if (c->in_backend)
        b->client_disconnect(b->user, c->db, c);
    if (c->http) {
        rpc_bury(c);
    } else {
        b->release(b->user, c->db);
        session_bury(c);
    }
}

static void flush_dirty(Net *net)
{
    NetClient *list = net->dirty;
    net->dirty = NULL;
    while (list) {
        NetClient *c = list;
        list = c->dirty_next;
        c->dirty = false;
        if (c->state == CLIENT_DEAD)
            continue;
        if (!c->out.blocked && !out_flush(c)) {
            c->state = CLIENT_DEAD;
            client_doom(c);
            continue;
        }
        if (c->state == CLIENT_CLOSING && c->peer_closed && !c->out.ctl.len) { /* both Close frames are out */
            c->state = CLIENT_DEAD;
            client_doom(c);
            continue;
        }
        session_poll(c);
    }
}

static void bury_doomed(Net *net)
{
    if (net->dirty) /* a doomed client may be listed once more: wait until that list is empty */
        for (NetClient *c = net->dirty; c; c = c->dirty_next)
            if (c->doomed)
                return;
    while (net->doomed) {
        NetClient *c = net->doomed;
        net->doomed = c->doom_next;
        bury(c);
    }
}

static void stop_step(Net *net);

static void net_turn(Net *net)
{
    for (NetChannel *ch = net->channels, *next; ch; ch = next) {
        next = ch->next;
        if (ch->writable)
            resume_stalled(ch);
    }
    if (net->dirty)
        flush_dirty(net);
    if (net->doomed)
        bury_doomed(net);
    if (net->kick)
        run_mhd(net);
    if (net->dirty)
        flush_dirty(net);
    if (net->stopping)
        stop_step(net);
}

static void on_prepare(uv_prepare_t *h) { net_turn(h->data); }
static void on_check(uv_check_t *h) { net_turn(h->data); }

static void on_tick(uv_timer_t *t)
{
    Net *net = t->data;
    uint64_t now = net_now_ms(net);
    for (NetClient *c = net->sessions; c; c = c->next)
        session_tick(c, now);
    request_streams_tick(net);
}

/* ---- start and stop ------------------------------------------------------------------------------------------------ */

static void start_handles(Net *net)
{
    uv_poll_init(net->loop, &net->listen_poll, net->listen_fd);
    uv_timer_init(net->loop, &net->mhd_timer);
    uv_timer_init(net->loop, &net->tick);
    uv_timer_init(net->loop, &net->accept_pause);
    uv_prepare_init(net->loop, &net->prepare);
    uv_check_init(net->loop, &net->check);
    uv_async_init(net->loop, &net->door, on_door);
    net->listen_poll.data = net->mhd_timer.data = net->tick.data = net->accept_pause.data = net;
    net->prepare.data = net->check.data = net->door.data = net;
    uv_poll_start(&net->listen_poll, UV_READABLE, on_listen);
    uv_timer_start(&net->tick, on_tick, NET_TICK_MS, NET_TICK_MS);
    uv_prepare_start(&net->prepare, on_prepare);
    uv_check_start(&net->check, on_check);
    net->open_handles += 8; /* these seven and mhd_poll */
}

Status net_start(Net **ret, const NetConfig *config, Error *err)
{
    Net *net = NEW(Net);
    net->config = *config;
    net->loop = config->loop;
    net->listen_fd = -1;
    net->posted_last = &net->posted;
    net->config.max_clients = config->max_clients ? config->max_clients : 10000;
    net->config.client_bytes_max = config->client_bytes_max ? config->client_bytes_max : 64ull << 20;
    net->config.host_bytes_max = config->host_bytes_max ? config->host_bytes_max : 1ull << 30;
    net->inbuf = x_alloc(NET_READ_BYTES);
    net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (uv_mutex_init(&net->door_lock) != 0)
        BUG("cannot create a mutex");
    Status s = tokens_open(&net->tokens, config->key_dir, err);
    if (s == S_OK)
        s = listen_on(net, err);
    if (s == S_OK)
        s = start_mhd(net, err);
    if (s != S_OK) {
        net_free(net);
        return s;
    }
    start_handles(net);
    *ret = net;
    return S_OK;
}

uint16_t net_port(const Net *net) { return net->port; }

static void on_handle_closed(uv_handle_t *h) { ((Net *)h->data)->open_handles--; }

/* Stopping: 1. no more connections, everybody gets Close 1001 or 503; 2. up to NET_STOP_MS for that to leave, and as long as pool jobs and
 * opens are under way; 3. sockets and handles close; 4. done. */
static void close_everything(Net *net)
{
    for (NetClient *c = net->sessions; c; c = c->next) {
        c->state = CLIENT_DEAD;
        client_doom(c);
    }
    bury_doomed(net);
    on_door(&net->door);
    request_stop_all(net);
    run_mhd(net);
    struct MHD_Daemon *mhd = net->mhd;
    uv_poll_stop(&net->mhd_poll);
    net->mhd = NULL;
    uv_mutex_lock(&net->door_lock);
    net->stopped = true; /* the door stays shut: what is posted from now on is thrown away by net_free */
    uv_mutex_unlock(&net->door_lock);
    MHD_stop_daemon(mhd);
    uv_handle_t *handles[] = {(uv_handle_t *)&net->listen_poll, (uv_handle_t *)&net->mhd_poll,     (uv_handle_t *)&net->mhd_timer,
                              (uv_handle_t *)&net->tick,        (uv_handle_t *)&net->accept_pause, (uv_handle_t *)&net->check,
                              (uv_handle_t *)&net->door};
    for (size_t i = 0; i < COUNT_OF(handles); i++)
        uv_close(handles[i], on_handle_closed);
}

static void on_prepare_closed(uv_handle_t *h)
{
    Net *net = h->data;
    net->open_handles--;
    close(net->listen_fd);
    net->listen_fd = -1;
    net->on_stopped(net->stopped_ctx);
}

static void stop_step(Net *net)
{
    bool patient = net_now_ms(net) < net->stop_at_ms && (net->sessions || net->requests);
    if (!net->stopped) {
        if (patient || net->under_way)
            return;
        close_everything(net);
        return;
    }
    if (net->doomed)
        bury_doomed(net);
    if (net->open_handles == 1 && !uv_is_closing((uv_handle_t *)&net->prepare)) /* only the one that watches is left */
        uv_close((uv_handle_t *)&net->prepare, on_prepare_closed);
}

void net_stop(Net *net, void (*done)(void *ctx), void *ctx)
{
    ASSERT(!net->stopping);
    net->stopping = true;
    net->on_stopped = done;
    net->stopped_ctx = ctx;
    net->stop_at_ms = net_now_ms(net) + NET_STOP_MS;
    uv_poll_stop(&net->listen_poll);
    for (NetClient *c = net->sessions; c; c = c->next)
        session_close(c, 1001, STR("the host is stopping"));
    for (NetRequest *r = net->requests, *next; r; r = next) {
        next = r->next;
        if (r->client)
            rpc_fail(r->client, 503, "the host is stopping");
    }
    request_stop_all(net);
}

void net_free(Net *net)
{
    if (!net)
        return;
    if (net->mhd)
        MHD_stop_daemon(net->mhd);
    while (net->requests) { /* handed to the host and never answered */
        net->requests->refs = 1;
        request_unref(net->requests);
    }
    while (net->posted) {
        Posted *p = net->posted;
        net->posted = p->next;
        if (p->response)
            MHD_destroy_response(p->response);
        free(p);
    }
    if (net->listen_fd >= 0)
        close(net->listen_fd);
    if (net->spare_fd >= 0)
        close(net->spare_fd);
    uv_mutex_destroy(&net->door_lock);
    tokens_free(net->tokens);
    free(net->inbuf);
    free(net);
}
