/* net.h - HTTP and WebSocket: sockets, routes, sessions, tokens, held frames. Knows no rows and no rings.
 *
 * Threads: one libuv loop. Everything here runs on it (the "loop thread") unless a function says [any thread]. JSON conversion of large
 *          bodies and token checks run on libuv's pool and come back to the loop.
 * Roles:   `NetBackend` is what the host does for net; `net_*` functions are what net does for the host.
 *          A NetClient is one WebSocket session, or one HTTP request to /call or /sql (a short-lived client).
 * Holding: a message is queued with the transaction offset that it depends on, and leaves when the database's channel says that
 *          offset is durable (confirmed clients) or complete (unconfirmed ones). Order per client is kept always.
 * Limits:  bytes queued and held per client, per database and per host; a client over its limit is not read from, and at last cut. */
#ifndef HOST_NET_NET_H
#define HOST_NET_NET_H

#include "host/base/base.h"
#include "host/schema/module_def.h"
#include <uv.h>

typedef struct Net Net;
typedef struct NetClient NetClient;
typedef struct NetRequest NetRequest;
typedef struct NetChannel NetChannel; /* net's side of one open database: its offsets and the clients that hold frames */
typedef struct NetDb NetDb;           /* the host's database; opaque to net */

typedef enum NetCallKind { /* mirrors records.h CallKind */
                           NET_CALL_REDUCER = 3,
                           NET_CALL_PROCEDURE,
                           NET_SUBSCRIBE,
                           NET_UNSUBSCRIBE,
                           NET_ONE_OFF,
                           NET_SQL,
                           NET_HANDLER = 10
} NetCallKind;
enum { NET_FLAG_DROPPED_ROWS = 8 };

/* Routes of the control plane, answered by the host (host/api.c). http-api.md sections 5, 6, 7, 8.3, 9. */
typedef enum NetRoute {
    ROUTE_HEALTH,
    ROUTE_IDENTITY_DATABASES,
    ROUTE_DB_INFO,
    ROUTE_DB_PUBLISH,
    ROUTE_DB_DELETE,
    ROUTE_DB_NAMES_GET,
    ROUTE_DB_NAMES_ADD,
    ROUTE_DB_NAMES_SET,
    ROUTE_DB_IDENTITY,
    ROUTE_DB_SCHEMA,
    ROUTE_DB_LOGS,
    ROUTE_DB_PRE_PUBLISH,
    ROUTE_DB_RESET,
    ROUTE_DB_TIMESTAMP,
    ROUTE_DB_MIGRATIONS,
    ROUTE_SERVER_STATUS
} NetRoute;

typedef struct NetBackend {
    void *user;
    /* Find and, if needed, open the database named by a name or 64 hex digits. `done` is called exactly once on the loop thread, possibly
     * before this returns. On success the database stays open until `release`. S_NOT_FOUND: text is the HTTP body of the 404. */
    void (*open)(void *user, Str name_or_identity, void (*done)(void *ctx, NetDb *db, const Error *err), void *ctx);
    void (*release)(void *user, NetDb *db);
    NetChannel *(*channel)(void *user, NetDb *db);
    /* The running definition, referenced for the caller (module_def_unref), and its schema version. */
    ModuleDef *(*definition)(void *user, NetDb *db, uint32_t *ret_version);
    /* A client arrives: the host gives it a slot and sends CONNECT to the worker. Later exactly one net_client_connected. `claims`: the
     * payload of its token, a JSON object; borrowed. */
    Status (*client_connect)(void *user, NetDb *db, NetClient *client, const uint8_t identity[32], const uint8_t connection_id[16],
                             Str claims, bool http, Error *err);
    /* One message to the worker. `schema_version` 0: as the client knew it when it connected. S_BUSY: no room; stop reading, net_channel_writable
     * follows. S_UNAVAILABLE: refused with this reason (PostgreSQL away, database stopped): answer the client with the text. */
    Status (*client_call)(void *user, NetDb *db, NetClient *client, NetCallKind kind, uint8_t flags, uint32_t schema_version,
                          uint32_t nparts, const Bytes *parts, Error *err);
    /* The client is gone: after this call the host never names it again. */
    void (*client_disconnect)(void *user, NetDb *db, NetClient *client);
    /* A call that did not get as far as the module: for its log. `function` may be empty: no such one. May be NULL. */
    void (*call_refused)(void *user, NetDb *db, Str function, Str text);
    /* A control-plane request, complete with body. Answer with net_request_reply, from any thread, now or later. */
    void (*request)(void *user, NetRequest *req);
    /* The requester of a streaming answer (logs) went away: drop it. */
    void (*request_gone)(void *user, NetRequest *req);
    /* A request to a route of the module: the client gets a slot for its one NET_HANDLER call, and is otherwise unknown to the worker. */
    Status (*client_attach)(void *user, NetDb *db, NetClient *client, Error *err);
} NetBackend;

typedef struct NetConfig {
    uv_loop_t *loop;           /* the host's; net adds its handles */
    const char *listen_host;   /* "127.0.0.1" */
    uint16_t listen_port;      /* 0: any free one, see net_port */
    const char *key_dir;       /* id_ecdsa, id_ecdsa.pub: P-256; both missing: generated with mode 0600 */
    uint32_t max_clients;      /* WebSocket sessions of the host; default 10000 */
    uint64_t client_bytes_max; /* queued for one client; default 64 MiB */
    uint64_t host_bytes_max;   /* queued for all; default 1 GiB */
    NetBackend backend;
} NetConfig;

MUST_CHECK Status net_start(Net **ret, const NetConfig *config, Error *err);
uint16_t net_port(const Net *net);
/* Stop listening, close sessions with 1001, wait for handles to close; `done` on the loop thread. Then net_free. */
void net_stop(Net *net, void (*done)(void *ctx), void *ctx);
void net_free(Net *net);

/* ---- the host tells net ---- */

NetChannel *net_channel_new(Net *net);
/* Let go of it. Its clients are to be closed; it lives on, without progress, until the last of them has gone. */
void net_channel_free(NetChannel *ch);
/* Offsets went up: release what may go. */
void net_channel_progress(NetChannel *ch, uint64_t complete, uint64_t durable);
/* There is room for calls again. */
void net_channel_writable(NetChannel *ch);

/* Bytes shared by many messages. Loop thread only, so the count is plain. */
typedef struct NetSegment {
    uint32_t refs;
    uint32_t len;
    uint8_t data[];
} NetSegment;
NetSegment *net_segment_new(Bytes content); /* one reference */
void net_segment_unref(NetSegment *s);
typedef struct NetPiece {
    NetSegment *segment; /* or NULL */
    Bytes bytes;         /* copied when segment is NULL */
} NetPiece;

/* client_connected accepted (net sends InitialConnection) or refused (close 1008 with the text; HTTP: 403). */
void net_client_connected(NetClient *c, bool accepted, Str text, uint64_t offset);
/* One ServerMessage (v2 encoding, no compression byte). HELD: until `offset` is durable, or complete for a client that reads unconfirmed.
 * NOT_HELD: it goes as soon as everything before it has gone. DURABLE: held until then for every client. */
typedef enum NetHold { NET_HELD, NET_NOT_HELD, NET_DURABLE } NetHold;
void net_client_send(NetClient *c, uint64_t offset, NetHold hold, uint32_t npieces, const NetPiece *pieces);
/* The answer to an HTTP client (records.h ReplyOutcome and payload). */
void net_client_reply(NetClient *c, uint64_t offset, uint8_t outcome, Bytes payload);
/* End a session: WebSocket close code and reason; HTTP clients get 503 and the text. net calls client_disconnect afterwards. */
void net_client_close(NetClient *c, uint16_t code, const char *reason);
/* For the host: its own pointer on a client. */
void net_client_set_data(NetClient *c, void *data);
void *net_client_data(const NetClient *c);

/* ---- control-plane requests ---- */

NetRoute net_request_route(const NetRequest *r);
Str net_request_database(const NetRequest *r);                           /* the path's :db, percent-decoded; empty for POST /v1/database */
Str net_request_path_identity(const NetRequest *r);                      /* /v1/identity/:identity/... */
Bytes net_request_body(const NetRequest *r);                             /* valid until the reply */
bool net_request_query(const NetRequest *r, const char *name, Str *ret); /* decoded */
const uint8_t *net_request_caller(const NetRequest *r); /* identity[32], wire order; minted when the request had no token */
bool net_request_is_anonymous(const NetRequest *r);
bool net_request_is_loopback(const NetRequest *r);
void net_request_set_data(NetRequest *r, void *data);
void *net_request_data(const NetRequest *r);
/* Answer, once. The body is copied. [any thread] */
void net_request_reply(NetRequest *r, int status, const char *content_type, Bytes body);
/* Answer in pieces (logs with follow): begin once, then any number of writes; end. [any thread] A requester that went away: false from write;
 * `request_gone` was or will be called. More than 1 MiB unsent: lines are dropped. */
void net_request_stream_begin(NetRequest *r, int status, const char *content_type);
bool net_request_stream_write(NetRequest *r, Bytes piece);
void net_request_stream_end(NetRequest *r);

/* Mint an identity and its token (POST /v1/identity, database identities). [any thread] */
MUST_CHECK Status net_mint_identity(Net *net, uint8_t ret_identity[32], char *ret_token, size_t token_size, Error *err);

#endif
