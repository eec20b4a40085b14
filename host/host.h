/* host.h - the host process: what wires the rooms together. Only the files of host/ itself include this.
 *
 * Threads: the loop thread owns every Database field unless it says otherwise. Operations that wait (opening, publishing,
 *          recovering, closing) are plain sequential functions on libuv's pool, one at a time for each database; they touch loop-owned
 *          state only inside host_on_loop, which runs a function on the loop thread and waits for it. */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "host/containment.h"
#include "host/egress.h"
#include "host/link.h"
#include "host/logs.h"
#include "host/net/net.h"
#include "host/storage/storage.h"

typedef struct Host Host;
typedef struct NetDb Database;
enum { HOST_TICK_MS = 50 };

typedef struct HostConfig {
    char data_dir[512];
    char listen_host[256];
    uint16_t listen_port;
    char conninfo[1024]; /* empty: the embedded cluster */
    char key_dir[512];
    char worker_path[512];
    char sql_dir[512];
    uint32_t call_ms_max;      /* a call in module code is ended after this; default 10000 */
    uint32_t idle_close_ms;    /* an unused database is closed after this; default 300000 */
    uint64_t worker_bytes_max; /* memory of one worker; default 4 GiB, 0: any */
    /* What the engine counts before that, so that a call fails and not the worker. 0: none. */
    uint64_t database_bytes_max;       /* rows and indexes, a publish's second copy included; default three quarters of worker_bytes_max */
    uint64_t txn_bytes_max;            /* of row versions in one transaction; default 1 GiB */
    uint64_t txn_rows_max;             /* default 10,000,000 */
    uint64_t call_bytes_max;           /* scratch memory of one call; default 256 MiB, never 0 */
    uint32_t client_connections_max;   /* WebSockets of one identity to one database; default 4096, 0: any */
    uint32_t database_connections_max; /* WebSockets to one database; default 16384, 0: any */
    uint32_t subscriptions_max;        /* query sets of one connection; default 10000 */
    LogsLimits logs;
    uint32_t lag_bound_ms;
    uint64_t disk_reserve_bytes; /* the data directory's disk: with less than this free, calls are refused; default 256 MiB */
    bool allow_unsandboxed;
    uint32_t procedures_max;   /* of one database at once; default 16 */
    uint32_t view_ms_max;      /* how long a view may take; default 1000, 0: any */
    uint32_t procedure_ms_max; /* of processor time that one may take at a stretch; default 60000, 0: any */
    EgressPolicy egress;
    bool publish_loopback_only; /* strangers may create databases only from this machine; default true */
    char publish_owners[4096];  /* who may create databases, from anywhere (owners.h); empty: as publish_loopback_only says */
} HostConfig;

/* ---- work on other threads ---- */

/* Run `fn` on the loop thread, later. [any thread] */
void host_post(Host *h, void (*fn)(void *arg), void *arg);
/* Run `fn` on the loop thread and wait until it has returned. [job threads only] */
void host_on_loop(Host *h, void (*fn)(void *arg), void *arg);
/* Run `work` on the pool, then `after` on the loop. [loop thread] */
void host_job(Host *h, void (*work)(void *arg), void (*after)(void *arg), void *arg);

/* ---- databases ---- */

typedef enum DbState {
    DB_CLOSED, /* nothing runs; opening is possible */
    DB_OPENING,
    DB_OPEN,
    DB_RECOVERING, /* the worker died; calls wait */
    DB_CLOSING,
    DB_DELETED,
} DbState;
const char *database_state_name(DbState s);
/* The same, with "stopped" for a database that could not run and waits: until retry_at_ns nobody tries again, but a publish. */
const char *database_condition(const Database *db);

typedef struct QuerySet { /* what a client subscribed to: registered again in a new worker (design-rule 3) */
    uint32_t id;
    uint64_t call_seq; /* of its SUBSCRIBE */
    bool applied;
    uint32_t nqueries;
    Buf queries; /* nqueries x str */
} QuerySet;

enum { CALLED_KEPT = 16 };
typedef struct Slot {
    NetClient *client; /* NULL: free, or its DISCONNECT is on the way */
    uint32_t generation;
    bool used, http, owner, connected; /* connected: FRAME_CONNECTED was accepting */
    bool bare;                         /* never connects: one request to a route */
    uint32_t schema_version;           /* when it connected */
    uint8_t identity[32], connection_id[16];
    Str claims; /* of its token; the slot's own */
    uint32_t nsets, cap_sets;
    QuerySet *sets;
    uint32_t called[CALLED_KEPT], ncalled; /* hashes of the functions that it has called last, a ring; for what a publish would disturb */
    uint32_t next_free;
} Slot;
bool slot_has_called(const Slot *s, Str function); /* lately; never says no wrongly for the last CALLED_KEPT different ones */

typedef struct Operation Operation;
struct Operation { /* one at a time for each database, in order */
    Operation *next;
    Database *db;
    void (*work)(Operation *op);  /* job thread */
    void (*after)(Operation *op); /* loop thread; frees what it must */
    void *arg;
};

typedef struct OpenWaiter {
    struct OpenWaiter *next;
    void (*done)(void *ctx, NetDb *db, const Error *err);
    void *ctx;
} OpenWaiter;

struct NetDb {
    Host *host;
    Database *next;
    uint8_t identity[32], owner[32];
    _Atomic uint64_t id; /* 0: not yet in the catalog; storage's threads look it up */
    char hex[65];
    char name[72]; /* first name, or the hex: for people */
    DbState state;
    uint32_t refs; /* holders through open/release */
    uint64_t idle_since_ns;
    Operation *operations, **operations_tail;
    bool operating;
    OpenWaiter *waiters;
    Error last_error;         /* why it is closed, if it failed */
    uint32_t crashes;         /* in a row without a call that ended well */
    bool survived;            /* a call has ended well since that was looked at last */
    uint64_t opened_ns;       /* when the worker was opened */
    bool killed_from_outside; /* how the last one died: not the module's doing */
    uint64_t progress_ns;     /* when a worker was opened or last answered something */
    Error failure;            /* storage's, when it came while the database was being opened */
    uint64_t retry_at_ns;

    /* open: */
    Link *link;
    uv_poll_t *bell_poll, *exit_poll;
    NetChannel *channel;
    SchemaImage image;
    uint8_t program_hash[32];
    Lease lease;
    CommitSource source;
    uint32_t *since_versions; /* per reducer, then per procedure of image.def: version that last changed its parameters (or result) */
    uint32_t nhistory;        /* older images that connected clients still know */
    SchemaImage *history;
    bool frames_left; /* the last drain stopped at its budget */
    Bytes early;      /* a frame read whose commit record storage has not counted yet; in link->frame.record */
    bool calls_unpublished;
    bool starved; /* a client was told S_BUSY */
    StoragePressure pressure;
    uint32_t admitted, quota;           /* calls taken in this tick; PRESSURE_SLOW: calls that it may still take */
    char pressure_why[256];             /* PRESSURE_FULL: calls are refused with this reason */
    _Atomic uint64_t complete, durable; /* storage's log thread writes */
    _Atomic bool progressed;
    bool attached; /* storage reads our source */
    uint64_t ready_offset;

    Slot *slots;
    uint32_t nslots, free_slot;
    uint64_t next_call_seq, answered_call_seq;
    uint32_t nprocedures, procedures_cap; /* called and not answered, oldest first */
    struct ProcedureWaiter *procedures;
    struct ProcedureRequest *requests; /* HTTP requests that wait until what came before them is durable */
    uint32_t nrequests;                /* of this worker, not yet answered */
    uint64_t link_serial;              /* counts workers */
    Buf inflight;                      /* {u32 length, record}: calls not yet known to be answered, oldest first */
    size_t inflight_head;

    int64_t wake_us; /* when it must be open for its schedule although nobody uses it, microseconds since 1970; INT64_MAX: never */
    bool held;       /* its scheduled functions are */
    CoreDue died_in; /* the scheduled row whose function the last worker died in; table 0: none */

    Logs *logs;
};

Database *database_find(Host *h, const uint8_t identity[32]);
Database *database_find_by_name(Host *h, Str name);          /* among known ones */
Database *database_get(Host *h, const uint8_t identity[32]); /* find or make */
/* What the catalog says of it; written only where it differs, since job threads read it. `name` may be empty. */
void database_identify(Database *db, uint64_t id, const uint8_t owner[32], const char *name);
void database_operate(Database *db, void (*work)(Operation *), void (*after)(Operation *), void *arg);
/* Find by name or identity, open if needed; see NetBackend.open. */
void database_open(Host *h, Str name_or_identity, void (*done)(void *ctx, NetDb *db, const Error *err), void *ctx);
void database_release(Database *db);
/* It may be closed now: when must it be opened again for its schedule? `next_us`: what its worker said, 0: nothing. */
void database_plan_wake(Database *db, int64_t next_us);
void database_wake_when_due(Database *db, int64_t now_us);

/* ---- ops.c: sequential operations [job thread] ---- */

MUST_CHECK Status op_open(Database *db, Error *err); /* DB_OPENING -> ready to be watched */
void op_close(Database *db);
MUST_CHECK Status op_recover(Database *db, Error *err);
/* Write the module into the database's module directory under a name never used before. */
MUST_CHECK Status module_file_write(Host *h, const uint8_t identity[32], Bytes program, char path[600], Error *err);
/* Remove what a host that was killed left in the module directories. Before any worker runs. */
void modules_clear(Host *h);
void link_config_for(Host *h, const uint8_t identity[32], const char *label, LinkConfig *ret, char *dir, size_t dir_size);
/* The LOAD payload of records.h. */
void load_record(Buf *out, const Database *db, const SchemaImage *image, const char *path, const uint32_t *since);
/* For each reducer, then each procedure, of `next` the version that changed its parameters under somebody who may still call it the old way; 0: none did.
 * `db` NULL: nobody knows an older version. The caller frees. */
uint32_t *since_versions_next(const Database *db, const SchemaImage *next);

enum { LINK_STOP_TIMEOUT_MS = 10000 };
CommitSource link_source(Link *link); /* its commit ring, for storage */
void forget_link(void *arg);          /* Database: free the link that nobody watches any more [loop thread] */

/* ---- database.c, loop side ---- */

void database_watch(Database *db); /* the link is ready: read its frames, send what waits */
void database_unwatch(Database *db);
void database_set_pressure(Database *db, StoragePressure level, const char *why);
void database_fail(Database *db, const Error *err);         /* stop it: close its clients with the reason */
void database_tick(Database *db);                           /* every HOST_TICK_MS */
void database_tell_waiters(Database *db, const Error *err); /* NULL: it is open */
void database_forget_clients(Database *db);                 /* slots, waiting calls, held frames: another life begins */
void database_drain(Database *db);
void database_flush_calls(Database *db);
void database_close_clients(Database *db, uint16_t code, const char *reason);
/* Append one call record and remember it until it is answered. */
void database_send_call(Database *db, uint8_t kind, uint8_t flags, uint32_t slot, uint32_t generation, uint32_t schema_version,
                        uint32_t nparts, const Bytes *parts);
/* After a worker died: frames up to `offset` are delivered, the running call is failed. Then: silent registrations and waiting calls
 * for the new worker. */
void database_settle_dead_worker(Database *db, uint64_t offset);
void database_register_again(Database *db);
NetBackend database_backend(Host *h);

/* ---- procedures.c: who waits for one, and their HTTP requests [loop thread] ---- */

typedef struct ProcedureWaiter ProcedureWaiter;
typedef struct ProcedureRequest ProcedureRequest;
void procedures_called(Database *db, uint64_t call_seq, uint32_t slot, uint32_t generation, bool http, uint32_t nparts, const Bytes *parts);
void procedures_answered(Database *db, uint64_t call_seq);
void procedures_renumbered(Database *db, uint64_t from, uint64_t to); /* it waits for a new worker under another number */
/* The worker died: answer those that it had begun; `guilty`: the call to blame, 0: none. */
void procedures_lost(Database *db, uint64_t offset, uint64_t guilty);
/* FRAME_HTTP. False: it breaks the protocol. */
MUST_CHECK bool procedures_request(Database *db, uint64_t offset, Bytes payload);
void procedures_progress(Database *db);   /* more is durable */
void procedures_new_worker(Database *db); /* answers to requests of the last one go nowhere */
void procedures_forget(Database *db);     /* its clients are gone, too */

/* ---- publish.c, api.c ---- */

/* PUT /v1/database/:db and POST /v1/database; POST .../pre_publish. Answers the request. [loop thread] */
void publish_request(Host *h, NetRequest *req, bool preview);
void reply_text(NetRequest *req, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
void reply_json(NetRequest *req, int status, Buf *body);

void api_request(void *user, NetRequest *req);
void api_request_gone(void *user, NetRequest *req);

struct Host {
    HostConfig config;
    uv_loop_t loop;
    Net *net;
    Storage *storage;
    Embedded *embedded;
    Egress *egress;
    Database *databases;
    pthread_mutex_t lock; /* databases list for storage's threads; the post queue */
    struct Post *posts, **posts_tail;
    uv_async_t wake;
    uv_check_t check;
    uv_idle_t more;
    uv_timer_t tick;
    pthread_t loop_thread;
    _Atomic bool stopping;
    uint64_t module_counter;
    uint32_t ticks;
    bool schedules_known; /* every database that must run by itself has its wake_us */
    char disk_low[256];   /* not empty: the disk is nearly full, calls and publishes are refused with this reason */
    int64_t started_us;
    Containment containment;
};

#endif
