/* net_int.h - shared by the files of host/net; nobody else.
 *
 *   net.c      life cycle, listener, libmicrohttpd on the loop, the turn, channels
 *   request.c  HTTP requests: reading, routes, authentication, answers, streams
 *   rpc.c      /call and /sql: short-lived clients
 *   session.c  WebSocket sessions: handshake, input, closing, timers
 *   out.c      a session's output: frames, holding, writing
 *   token.c    keys, tokens, their cache
 *
 * Loop thread: everything but token_verify, token_mint, token_resign (any thread) and the functions of net.h marked so.
 * Dying:       nobody frees a client or request from inside a call-back of the host, wslay or libmicrohttpd. A client is doomed
 *              (client_doom) and buried by the turn; a request lives until its last reference goes. */
#ifndef HOST_NET_INT_H
#define HOST_NET_INT_H

#include <microhttpd.h>
#include <wslay/wslay.h>

#include "host/net/net.h"

enum {
    NET_BODY_BYTES_MAX = 2 << 20,
    NET_ROUTE_BODY_BYTES_MAX = 16 << 20,
    NET_ROUTE_HEADERS_MAX = 500,
    NET_MODULE_BYTES_MAX = 256 << 20,
    NET_DRAIN_BYTES_MAX = 64 << 20,
    NET_SQL_BYTES_MAX = 50000,
    NET_MESSAGE_BYTES_MAX = 32 << 20,
    NET_V3_FRAME_BYTES_MAX = 512 << 10,
    NET_COPY_BYTES_MAX = 512,
    NET_READ_BYTES = 64 << 10,
    NET_STREAM_BYTES_MAX = 1 << 20,
    NET_INLINE_JSON_BYTES = 32 << 10,
    NET_SQL_JSON_BYTES_MAX = 512 << 20,
    NET_PING_MS = 15000,
    NET_IDLE_MS = 30000,
    NET_CLOSE_MS = 250,
    NET_TICK_MS = 125,
    NET_STOP_MS = 250,
    NET_HTTP_TIMEOUT_S = 60,
    NET_READS_PER_WAKE = 4,
    NET_WRITES_PER_FLUSH = 4,
    NET_ACCEPTS_PER_WAKE = 64,
    NET_HTTP_CONNECTIONS_EXTRA = 1024
};

/* ---- tokens (token.c) -------------------------------------------------------------------------- */

typedef struct Tokens Tokens;
typedef struct TokenInfo {
    uint8_t identity[32];
    int64_t exp; /* seconds; INT64_MAX: never */
} TokenInfo;
enum { TOKEN_BYTES_MAX = 1024 }; /* of a token that we mint */
MUST_CHECK Status tokens_open(Tokens **ret, const char *key_dir, Error *err);
void tokens_free(Tokens *t);
Str tokens_public_pem(const Tokens *t);
MUST_CHECK Status token_verify(const Tokens *t, Str token, TokenInfo *ret, Error *err);                            /* [any thread] */
MUST_CHECK Status token_mint(const Tokens *t, uint8_t ret_identity[32], char *ret_token, size_t size, Error *err); /* [any thread] */
MUST_CHECK Status token_resign(const Tokens *t, Str verified, Buf *out, Error *err); /* lives 60 s [any thread] */
/* Append the payload of a verified token, a JSON object; nothing when there is no token. [any thread] */
void token_claims(Str token, Buf *out);
bool token_cache_get(Tokens *t, Str token, TokenInfo *ret);
void token_cache_put(Tokens *t, Str token, const TokenInfo *info);

/* ---- requests (request.c) ------------------------------------------------------------------------ */

typedef enum Action {
    ACT_PING,
    ACT_FORWARD,
    ACT_IDENTITY_NEW,
    ACT_PUBLIC_KEY,
    ACT_WEBSOCKET_TOKEN,
    ACT_VERIFY,
    ACT_SUBSCRIBE,
    ACT_CALL,
    ACT_SQL,
    ACT_ROUTE
} Action;
typedef enum AuthNeed { AUTH_NONE, AUTH_IF_SENT, AUTH_OPTIONAL, AUTH_REQUIRED } AuthNeed;
typedef struct Route {
    const char *method, *path;
    Action action;
    AuthNeed auth;
    NetRoute route;
    bool module_upload;
} Route;
typedef struct QueryPair {
    Str name, value;
} QueryPair;

typedef struct Stream { /* between any thread (writer) and the loop (reader) */
    uv_mutex_t lock;
    Buf bytes;
    bool ended, gone, waiting; /* waiting: the connection is suspended for lack of bytes */
} Stream;

struct NetRequest {
    Net *net;
    NetRequest *prev, *next; /* all requests of the net */
    int refs;                /* libmicrohttpd's, and one for each thing under way */
    Arena arena;
    struct MHD_Connection *conn; /* NULL: finished */
    Str raw_path, raw_query;
    const char *method;
    const Route *route;
    bool path_matched, options; /* for CORS and 405 */
    const char *allow;
    bool started, running, done, suspended, orphan;
    bool at_backend; /* request() was called and not answered */
    Str db, path_identity, function;
    uint32_t nquery;
    QueryPair *query;
    Buf body;
    uint64_t body_max, body_seen;
    bool authed, anonymous;
    uint8_t identity[32];
    Str token;  /* presented or minted */
    NetDb *ndb; /* opened, ours to release */
    bool opening;
    int64_t run_us; /* >= 0: spacetime-execution-duration-micros */
    bool energy;    /* spacetime-energy-used: 0 */
    int status;
    struct MHD_Response *response;
    Stream *stream;
    NetClient *client; /* /call, /sql */
    void *rpc;
    bool upgrading, confirmed, v3; /* /subscribe */
    uint8_t connection_id[16];
    void *data;
};

enum MHD_Result request_on_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **con_cls);
void *request_on_uri(void *cls, const char *uri, struct MHD_Connection *conn);
void request_on_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode code);
void request_answer(NetRequest *r, int status, const char *content_type, Bytes body);
void request_text(NetRequest *r, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
void request_respond(NetRequest *r, int status, struct MHD_Response *response); /* takes the response */
void request_headers(NetRequest *r, struct MHD_Response *response);
NetRequest *request_ref(NetRequest *r);
void request_unref(NetRequest *r);
bool request_query(const NetRequest *r, const char *name, Str *ret);
const char *request_header(NetRequest *r, const char *name);
/* false: the parameter is neither true nor false; the request has been answered. */
bool request_query_bool(NetRequest *r, const char *name, bool *value);
/* Opens the database, then calls `next` with r->ndb set; a failure is answered. */
void request_open(NetRequest *r, void (*next)(NetRequest *r));
void request_streams_tick(Net *net);
void request_stop_all(Net *net);
void rpc_start(NetRequest *r);  /* rpc.c */
void rpc_step(NetClient *c);    /* connect or call, again after S_BUSY */
void rpc_release(NetClient *c); /* offsets moved */
void rpc_connected(NetClient *c, bool accepted, Str text);
void rpc_fail(NetClient *c, int status, const char *text);
void rpc_bury(NetClient *c);
void subscribe_start(NetRequest *r); /* session.c */

/* Routes of a module (route.c). */
bool route_match(NetRequest *r);                              /* fills r->route, db, function (the path behind "route") and body_max */
void route_put_request(NetRequest *r, Str handler, Buf *out); /* HANDLER of records.h behind its first number */
typedef struct RouteReply {
    uint16_t status;
    uint32_t nheaders;
    Reader headers; /* nheaders x { str name, blob value }, checked */
    Bytes body;
} RouteReply;
MUST_CHECK bool route_reply_read(RouteReply *ret, Bytes payload); /* false: damaged, or nothing that may be sent */
void route_answer(NetRequest *r, Bytes payload);

/* ---- clients --------------------------------------------------------------------------------------- */

typedef enum ReleaseRule { RELEASE_NOW, RELEASE_COMPLETE, RELEASE_DURABLE } ReleaseRule;
/* Messages with one condition: the stream up to `end` bytes and `segs` segments belongs to it and those before. */
typedef struct Held {
    uint64_t offset, end;
    uint32_t segs, bytes;
    uint8_t rule;
} Held;
typedef struct SegRef {
    uint64_t at;
    NetSegment *segment;
} SegRef; /* comes before inline byte `at` */
typedef struct Cursor {
    uint64_t pos;
    uint32_t seg, done;
} Cursor; /* inline position, segment index, bytes of that segment */

/* The output of one session. One stream: inline bytes (positions count from the beginning of time) with segments between them. v2 frames
 * have their headers in the stream; v3 frames get theirs when they are cut (hdr). Cursors: sent <= ready <= end of stream. */
typedef struct Out {
    uint8_t *buf;
    size_t cap;
    uint64_t base, end;                                /* positions of buf[0] and behind the last byte */
    SegRef *segs;                                      /* ring, power of two */
    uint32_t seg_cap, seg_end;                         /* indexes count up for ever */
    Held *held;                                        /* ring */
    uint32_t held_cap, held_head, held_free, held_end; /* [head, free): released, not cut into frames yet (v3); [free, end): held */
    Cursor sent;
    uint64_t ready; /* everything before may be sent (v3: is cut into a frame) */
    uint32_t ready_segs;
    uint64_t frame_left; /* bytes of the frame in flight, 0 at a border */
    uint8_t hdr[12];     /* v3: header of the frame cut last */
    uint8_t hdr_at, hdr_len;
    Buf ctl; /* control frames, sent at borders */
    size_t ctl_at;
    uint64_t bytes;        /* unsent, everything counted */
    uint64_t inline_bytes; /* the part counted into net->queued */
    bool blocked;          /* the socket took no more */
} Out;

typedef enum ClientState {
    CLIENT_CONNECTING /* client_connect to be repeated */,
    CLIENT_WAITING,
    CLIENT_OPEN,
    CLIENT_CLOSING,
    CLIENT_DEAD
} ClientState;

struct NetClient {
    Net *net;
    NetDb *db;
    NetChannel *ch;
    void *data;
    ClientState state;
    bool http, in_backend, confirmed, v3;
    bool doomed, dirty, stalled, held_listed, wait_open;
    uint8_t identity[32], connection_id[16];
    NetClient *prev, *next; /* sessions of the net */
    NetClient *dirty_next, *doom_next;
    NetClient *stall_next, *held_prev, *held_next;
    NetRequest *request; /* http */
    /* session: input */
    int fd;
    uv_poll_t poll;
    int events;
    wslay_event_context_ptr ws;
    char *token;
    const uint8_t *in_ptr, *in_end; /* what recv_callback hands to wslay */
    Buf in_left;                    /* read from the socket, not yet seen by wslay */
    Buf message;                    /* a message in several chunks */
    Buf pending;                    /* payloads that the host had no room for: u32 length + bytes each */
    size_t pending_at;
    uint64_t frame_length;
    bool frame_fin, frame_data, in_feed, peer_closed, ping_open;
    uint64_t last_in_ms, last_ping_ms, close_at_ms;
    Out out;
};

void client_doom(NetClient *c);
void client_stall(NetClient *c);
void client_dirty(NetClient *c);
void client_held_link(NetClient *c);
void client_channel(NetClient *c); /* the channel that its database has now */
void client_held_unlink(NetClient *c);

/* session.c */
void session_on_upgrade(void *cls, struct MHD_Connection *conn, void *con_cls, const char *extra, size_t extra_size, MHD_socket sock,
                        struct MHD_UpgradeResponseHandle *urh);
void session_resume(NetClient *c);
void session_poll(NetClient *c);
void session_close(NetClient *c, uint16_t code, Str reason);
void session_tick(NetClient *c, uint64_t now_ms);
void session_bury(NetClient *c);

/* out.c */
void out_send(NetClient *c, uint64_t offset, ReleaseRule rule, uint32_t npieces, const NetPiece *pieces);
void out_release(NetClient *c);
bool out_flush(NetClient *c); /* false: the socket is dead */
void out_done(NetClient *c);

/* ---- the net ----------------------------------------------------------------------------------------- */

typedef struct Posted {
    struct Posted *next;
    NetRequest *request;
    struct MHD_Response *response;
    int status;
    Stream *stream;
    bool wake, ended;
} Posted;
typedef struct Leaving {
    struct Leaving *next;
    struct MHD_UpgradeResponseHandle *urh;
} Leaving;

struct NetChannel {
    Net *net;
    NetChannel *prev, *next;
    uint64_t complete, durable;
    NetClient *held; /* list of clients with held messages */
    NetClient *stalled_first, **stalled_last;
    uint32_t clients;         /* that point here */
    bool writable, abandoned; /* the host has let go of it: it lives until its last client has gone */
};
void channel_leave(NetChannel *ch); /* one of its clients is being freed */

struct Net {
    NetConfig config;
    uv_loop_t *loop;
    Tokens *tokens;
    struct MHD_Daemon *mhd;
    int listen_fd, spare_fd;
    uint16_t port;
    uv_poll_t listen_poll, mhd_poll;
    uv_timer_t mhd_timer, tick, accept_pause;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_async_t door;
    int open_handles;
    uv_mutex_t door_lock;
    Posted *posted, **posted_last;
    bool kick, in_mhd;
    NetClient *sessions;
    uint32_t nsessions; /* and handshakes that were promised a place */
    NetClient *dirty, *doomed;
    NetRequest *requests;
    NetChannel *channels;
    Leaving *leaving;
    uint64_t queued; /* bytes of all outputs and unfinished messages */
    uint64_t body_bytes;
    uint8_t *inbuf;
    int under_way; /* pool jobs and opens */
    bool stopping, stopped;
    uint64_t stop_at_ms;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
    uint64_t accept_logged_ms;
};
extern uint64_t net_segment_bytes;

void net_post(Net *net, const Posted *p); /* [any thread] */
void net_work(Net *net, uv_work_t *work, uv_work_cb run, uv_after_work_cb after);
void net_leave_upgrade(Net *net, struct MHD_UpgradeResponseHandle *urh);
static inline uint64_t net_now_ms(const Net *net) { return uv_now(net->loop); }
static inline bool net_over_limit(const Net *net, uint64_t limit) { return net->queued + net_segment_bytes > limit; }

#endif
