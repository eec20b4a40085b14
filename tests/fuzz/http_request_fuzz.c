/* Raw bytes into the HTTP port of a whole net with a host that answers at once. ws_frames_fuzz.c sends them behind a WebSocket handshake. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/net/net.h"

#ifndef FUZZ_PREFIX
#define FUZZ_PREFIX ""
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct NetDb {
    int unused;
};
static NetDb db;
static NetChannel *channel;
static ModuleDef *def;
static Net *net;
static uv_loop_t loop;
static unsigned calls;

static void fake_open(void *user, Str name, void (*done)(void *ctx, NetDb *db, const Error *err), void *ctx)
{
    (void)user, (void)name;
    done(ctx, &db, NULL);
}
static void fake_release(void *user, NetDb *d) { (void)user, (void)d; }
static NetChannel *fake_channel(void *user, NetDb *d)
{
    (void)user, (void)d;
    return channel;
}
static ModuleDef *fake_definition(void *user, NetDb *d, uint32_t *version)
{
    (void)user, (void)d, *version = 1;
    return module_def_ref(def);
}
static Status fake_connect(void *user, NetDb *d, NetClient *c, const uint8_t identity[32], const uint8_t id[16], Str claims, bool http,
                           Error *err)
{
    (void)user, (void)d, (void)identity, (void)id, (void)http, (void)err, (void)claims;
    net_client_connected(c, true, STR(""), 0);
    return S_OK;
}
static Status fake_call(void *user, NetDb *d, NetClient *c, NetCallKind kind, uint8_t flags, uint32_t version, uint32_t n,
                        const Bytes *parts, Error *err)
{
    (void)user, (void)d, (void)flags, (void)version;
    if (++calls % 5 == 0) {
        net_channel_writable(channel);
        return S_BUSY;
    }
    if (calls % 7 == 0)
        return FAIL(err, S_UNAVAILABLE, "away");
    if (kind == NET_SQL)
        net_client_reply(c, 0, 7, parts[n - 1]);
    else
        net_client_send(c, 0, NET_HELD, 1, &(NetPiece){NULL, parts[n - 1]});
    return S_OK;
}
static void fake_disconnect(void *user, NetDb *d, NetClient *c) { (void)user, (void)d, (void)c; }
static void fake_request(void *user, NetRequest *r)
{
    (void)user;
    net_request_reply(r, 200, "text/plain", net_request_body(r));
}
static void fake_gone(void *user, NetRequest *r) { (void)user, (void)r; }

static void start(void)
{
    static char dir[] = "/tmp/net_fuzz_XXXXXX";
    Error err = {0};
    log_level_max = LOG_ERROR;
    def = module_def_empty();
    uv_loop_init(&loop);
    NetConfig config = {.loop = &loop,
                        .listen_host = "127.0.0.1",
                        .key_dir = mkdtemp(dir),
                        .backend = {NULL, fake_open, fake_release, fake_channel, fake_definition, fake_connect, fake_call, fake_disconnect,
                                    NULL, fake_request, fake_gone}};
    if (net_start(&net, &config, &err) != S_OK)
        BUG("%s", err.text);
    channel = net_channel_new(net);
}

static void turn(int fd, int rounds)
{
    char drain[4096];
    for (int i = 0; i < rounds; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        while (recv(fd, drain, sizeof drain, MSG_DONTWAIT) > 0)
            ;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!net)
        start();
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(net_port(net)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct linger abort_ = {1, 0}; /* no TIME_WAIT: thousands of connections a second */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_, sizeof abort_);
    if (connect(fd, (struct sockaddr *)(void *)&a, sizeof a) == 0) {
        if (sizeof FUZZ_PREFIX > 1) {
            send(fd, FUZZ_PREFIX, sizeof FUZZ_PREFIX - 1, MSG_NOSIGNAL);
            for (int i = 0; i < 8; i++) {
                turn(fd, 1);
                usleep(50); /* the token is minted by the pool */
            }
        }
        size_t half = size / 2;
        send(fd, data, half, MSG_NOSIGNAL | MSG_DONTWAIT);
        turn(fd, 3);
        send(fd, data + half, size - half, MSG_NOSIGNAL | MSG_DONTWAIT);
        turn(fd, 4);
    }
    close(fd);
    turn(-1, 2);
    return 0;
}
