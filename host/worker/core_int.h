/* core_int.h - the insides of the core, shared by core*.c and api.c only.
 *
 * Files:   core.c          calls: who may call what, reducers, SQL
 *          core_client.c   the client table, connect and disconnect, subscriptions
 *          core_commit.c   one transaction's way out: deltas, frames, commit record
 *          core_control.c  control records: loading, initialising
 *          core_publish.c  the next version beside the running one: prepare, pause, migrate, export, swap
 *          core_schedule.c scheduled tables: timers, and what they start
 *          core_view.c     running views for their readers
 *          core_procedure.c  procedures on their own threads, and how the engine is lent to them
 *          api.c           st_api: what a module sees of all this
 * Memory:  `schema` lives from load to swap; `arena` one call; every Buf is kept for the next call. */
#ifndef HOST_WORKER_CORE_INT_H
#define HOST_WORKER_CORE_INT_H

#include "host/query/views.h"
#include "host/schema/diff.h"
#include "host/worker/core.h"
#include "host/worker/strand.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

enum {
    CLIENT_SLOTS_MAX = 1 << 24,
    CALL_SCRATCH_BYTES = 256 << 20, /* unless CoreEnv says otherwise: st_alloc, st_format and copies of keys in one call */
    FAIL_TEXT_BYTES_MAX = 4096,
    STOPWATCHES_MAX = 32, /* in one call */
    STOPWATCH_NAME_BYTES = 64,
};
/* call_seq told to CoreEnv.in_module for module code that no call record asked for (init). */
#define CALL_SEQ_CONTROL UINT64_MAX

/* ---- the schema that is in force, and the one that is prepared ---- */

typedef struct CoreTable { /* what st_db.item points to */
    Table *table;          /* NULL: the record is no table */
    const TableDef *def;
    const bool *unique; /* per column: a unique constraint on this column alone */
    bool runs;          /* scheduled, and the module is here: its reducer or procedure is called for its rows */
    int32_t reducer;    /* of its schedule; -1: */
    int32_t procedure;
} CoreTable;

typedef struct VersionShape {
    uint32_t version, nshapes;
    const TableShape *shapes;
} VersionShape;

typedef struct CoreSchema {
    Arena arena;
    Module *module;    /* NULL: none yet */
    SchemaImage image; /* one reference to the definition */
    uint32_t users;    /* procedures that run its code: it outlives them (rule 6) */
    bool dropped;      /* no longer in force: the last of them frees it */
    uint8_t database[32], owner[32];
    uint32_t *since, *procedure_since; /* per reducer, per procedure */
    uint32_t nversions;
    const VersionShape *versions;
    uint32_t reducer_mask; /* hash of reducer names: position + 1, 0 is free */
    uint32_t *reducer_slots;
    int32_t lifecycle[LIFECYCLE_NONE]; /* reducer ids or -1 */
    CoreTable *tables;                 /* by position in the definition */
    uint32_t nscheduled;               /* of them with a schedule */
    uint32_t nitems;
    void **items; /* st_db.item: CoreTable * or NULL */
    /* while it is being prepared: */
    uint32_t migration; /* the highest that ran before */
    Migrations pending; /* of `module`, those above it */
    Plan plan;          /* from the version in force to this one */
} CoreSchema;

/* ---- the running call, as the module's handle knows it ---- */

typedef struct Procedure Procedure;
struct st_call {
    Core *core;
    const CoreSchema *schema; /* whose records its positions mean */
    Arena *arena;             /* scratch memory, and room for a log line: the core's, or a procedure's own */
    Buf *log;
    Procedure *procedure; /* NULL: a reducer's call */
    st_call *outer;       /* a procedure's transaction: the procedure's own call, which it fails and leaves with */
    bool over;            /* the transaction has ended: the handle reaches nothing any more */
    bool viewing;         /* a view: it reads only */
    Views *noting;        /* what it reads is noted here; NULL: it is only tried */
    uint32_t view_steps;
    int64_t view_since_us;
    bool migrating; /* `items` also names tables of the version in force: read-only */
    st_db db;
    st_reducer_ctx ctx;
    Str function;    /* the reducer's name */
    Str claims;      /* of the caller's token; borrowed */
    uint64_t random; /* state of the generator */
    size_t scratch_bytes;
    bool doomed;
    st_status last_status; /* of the last failed write, and its text in `err` */
    Error err;
    uint32_t doom_len, fail_len;
    char doom_text[ERROR_TEXT_BYTES];    /* the first failure */
    char fail_text[FAIL_TEXT_BYTES_MAX]; /* st_fail's */
    uint32_t nstopwatches;
    struct Stopwatch {
        int64_t since_us; /* INT64_MIN: it has ended */
        char name[STOPWATCH_NAME_BYTES];
    } stopwatches[STOPWATCHES_MAX];
    jmp_buf edge; /* where a call ends that cannot go on (rule 11 of c-sdk-anchors.md) */
};

extern const st_api api_table;
/* Make the handle for one call over the open transaction; its positions are those of `schema`'s records. */
void api_begin(st_call *call, Core *c, const CoreSchema *schema, Str function, uint64_t call_seq, int64_t timestamp_us);

/* ---- clients ---- */

typedef struct Client {
    bool used, refused, http, owner;
    bool recorded;   /* a commit record said that it connected: another must say that it left */
    bool subscriber; /* known to `subs` */
    uint32_t generation, schema_version;
    uint8_t identity[32], connection_id[16];
    Str claims; /* of its token, JSON text; the client's own */
} Client;

typedef enum CoreState {
    CORE_EMPTY,     /* nothing yet: DESCRIBE or LOAD may come */
    CORE_LOADING,   /* LOAD was good: ROWS, REPLAY, ... until READY */
    CORE_FAILED,    /* a load failed and was answered: only STOP helps */
    CORE_READY,     /* calls run */
    CORE_PREPARING, /* the same, and core_work builds the next version */
    CORE_PREPARED,  /* the same, and the next version is complete: changes are followed */
    CORE_PAUSED,    /* no calls: SWAP, RESUME or ABORT */
} CoreState;

/* Timers of scheduled rows (core_schedule.c). All zero: none. */
typedef struct Timer Timer;
typedef struct Schedule {
    Timer *timers;
    uint32_t ntimers, cap;      /* in use; room */
    uint32_t used, nfree, free; /* of `timers`: ever used, of these free, first free */
    uint32_t *heap, nheap;
    uint32_t *buckets, mask;
    uint64_t order;
    uint32_t round;
    bool armed; /* a transaction has made a row due, at some time, since core_has_armed */
} Schedule;
/* What runs beside the executor. `lock` guards the queue of those that want something of it; all else is the executor's. */
typedef struct Procedures {
    pthread_mutex_t lock;
    Procedure *asking, **asking_tail;
    Procedure *all; /* oldest first */
    uint32_t n, nnew;
    uint64_t next_request;
    int64_t due_us;   /* when the next sleeper is to be woken; INT64_MAX: nobody sleeps */
    int64_t check_us; /* when to look for a runaway next */
} Procedures;

struct Core {
    CoreEnv env;
    Procedures procedures;
    CoreState state;
    Engine *engine; /* made by LOAD */
    EngineLimits limits;
    Subs *subs;
    Views *views;
    CoreSchema *schema, *next_schema;
    EngineNext *next_engine;
    bool migrated;  /* the functions of the pending migrations have run: they cannot run again on this preparation */
    bool leftovers; /* engine_reap has something to do */
    st_call migration_call;
    Buf changed_tables; /* u32 ids, of the migrations' functions */
    uint64_t offset;    /* of the last commit record */
    bool replayed;      /* a record was replayed: READY must agree with it */
    uint32_t nclients;  /* slots of `clients` */
    Client *clients;
    Schedule schedule;
    bool held;   /* core_hold */
    Arena arena; /* of the running call */
    Buf frame, record, scratch, text, log;
    size_t *cuts; /* where shared segments go into a FRAME_UPDATE */
    Bytes *parts;
    size_t cuts_cap, parts_cap;
    uint32_t *renumber;
    size_t renumber_cap;
    st_call *volatile running; /* on the executor, between its edge and its return; for core_cancel_here */
    Arena view_arena;          /* of the running view; afterwards of what became of it */
    st_call call, view_call;
};

/* ---- answers (core_commit.c) ---- */

/* Begin a frame in c->frame; the caller appends the payload and sends it. */
Buf *frame_begin(Core *c, FrameKind kind, const CallHeader *h, uint8_t flags);
void frame_send(Core *c);
void reply_send(Core *c, const CallHeader *h, ReplyOutcome outcome, Str payload); /* FRAME_REPLY */
/* The v2 messages that refuse something. */
void send_reducer_error(Core *c, const CallHeader *h, uint32_t request_id, bool user_error, Str text);
void send_procedure_error(Core *c, const CallHeader *h, uint32_t request_id, Str text);
void send_subscription_error(Core *c, const CallHeader *h, uint32_t request_id, uint32_t query_set_id, Str text);
/* Sets that ended by themselves: no request asked for it. */
void send_subscription_failures(Core *c, uint64_t call_seq, uint32_t n, const UpdateFailure *failures);

/* One line of the module's log; text is made valid UTF-8 and cut. */
void core_log(Core *c, uint8_t level, uint32_t line, Str function, Str file, Str message);
void env_log(const CoreEnv *env, Buf *room, uint8_t level, uint32_t line, Str function, Str file, Str message); /* [any thread] */

/* Append `s` with what is not UTF-8 replaced, at most `max` bytes. */
void text_append_clean(Buf *out, Str s, size_t max);

/* How a transaction is to leave. `answer` writes the frames of the caller, given the offset by then in c->offset. */
typedef struct Leaving Leaving;
struct Leaving {
    const CallHeader *h; /* NULL: no call (init) */
    int64_t timestamp_us;
    const CommitClient *client; /* NULL: no client event */
    bool to_caller;             /* ReducerResult: the caller's own updates ride in it */
    uint32_t request_id;
    void (*answer)(Core *c, const Leaving *l); /* NULL with to_caller */
    const void *data;
};
/* Commit the open transaction: deltas, frames, then the record, then memory. Fails only with S_TOO_LARGE, having rolled
 * back. */
MUST_CHECK Status core_leave(Core *c, const Leaving *l, Error *err);

/* What changes of tables and views mean to subscribers, without a transaction: nobody's call. */
void core_send_changes(Core *c, uint32_t nchanges, const TableChange *changes, const ViewsEvaluation *views);

/* core_view.c */
void core_views_load(Core *c);
/* Would the next version's code compute what subscriptions hold? Its tables are prepared, and no calls run. */
MUST_CHECK Status core_views_try(Core *c, Error *err);
void core_views_swapped(Core *c);

/* ---- calls ---- */

typedef enum RunResult { RUN_OK, RUN_USER_ERROR, RUN_INTERNAL } RunResult;
/* Open a transaction and run reducer `id`. RUN_OK leaves the transaction open; otherwise it is rolled back, logged, and
 * `ret_text` (borrowed until the next run) says why. */
RunResult core_run_reducer(Core *c, uint32_t id, const void *args, const Client *caller, st_origin origin, uint64_t call_seq,
                           int64_t timestamp_us, Str *ret_text);

/* core_client.c */
void client_clear(Client *client);
Client *client_find(Core *c, const CallHeader *h); /* NULL: unknown, of another generation, or refused */
void call_connect(Core *c, const CallHeader *h, Reader *in);
void call_disconnect(Core *c, const CallHeader *h, Reader *in);
void call_subscribe(Core *c, const CallHeader *h, Client *client, Reader *in);
void call_unsubscribe(Core *c, const CallHeader *h, Client *client, Reader *in);
void call_one_off(Core *c, const CallHeader *h, Client *client, Reader *in);

/* core_procedure.c */
void procedures_init(Core *c);
void procedures_end(Core *c); /* for tests: a worker's threads go with the process */
bool procedures_work(Core *c);
void call_procedure(Core *c, const CallHeader *h, Client *client, Reader *in);
void call_handler(Core *c, const CallHeader *h, Reader *in);
/* Start procedure `id` for nobody in particular: a due row of a schedule. The sender is the database, the result is dropped; failures are in
 * the log. `args` (native, of its parameters) are copied. It runs from a later core_work on. False: as many run as may at once
 * (CoreEnv.procedures_max): try again when one has ended. `ended` is called on the executor, between calls; NULL: nobody asks. */
typedef void ProcedureEnded(Core *c, void *arg, bool good);
MUST_CHECK bool procedure_start(Core *c, uint32_t id, const void *args, ProcedureEnded *ended, void *arg);
int32_t schema_find_procedure(const CoreSchema *s, Str name); /* -1: none */
/* For api.c [strand]. */
st_reducer_ctx *procedure_tx_begin(st_proc_ctx *ctx);
st_reducer_ctx *procedure_tx_end(st_proc_ctx *ctx, st_reducer_ctx *tx);
void procedure_tx_abort(st_proc_ctx *ctx, st_reducer_ctx *tx);
st_status procedure_http(st_proc_ctx *ctx, const st_http_request *request, st_http_response *response);
st_status procedure_sleep_until(st_proc_ctx *ctx, st_timestamp when);
bool core_is_cancelled(const Core *c);
_Noreturn void api_cancel(st_call *call); /* it ends with the reason */
/* api.c: the call cannot go on; scratch memory, zeroed. */
_Noreturn void api_leave(st_call *call, st_status status, const char *text);
void *api_scratch(st_call *call, size_t bytes);

/* core_control.c */
void core_schema_free(CoreSchema *s);
void core_schema_drop(CoreSchema *s); /* no longer in force: freed when nothing runs its code */
/* Read a LOAD payload and open what it names. */
MUST_CHECK Status schema_open(CoreSchema **ret, Core *c, Reader *in, Error *err);
void schema_bind(CoreSchema *s, Engine *e); /* the engine holds this schema now */
Buf *control_begin(Core *c, ControlKind kind, Status status);
void control_answer(Core *c, ControlKind kind, Status status, const Error *err);

/* core_schedule.c */
void schedule_free(Schedule *s);
void schedule_reserve(Core *c, uint32_t nchanges, const TableChange *changes);                /* before the commit point ... */
void schedule_follow(Core *c, uint32_t nchanges, const TableChange *changes, int64_t now_us); /* ... and behind it, which cannot fail */
/* Timers for all rows. `before`: the schema before a swap, NULL after a load; `carried`: tables of the new one whose rows are the old ones. */
void schedule_rebuild(Core *c, const SchemaImage *before, const bool *carried);
void schedule_died(Core *c, const CoreDue *due); /* its function killed the last worker */

/* core_publish.c: PREPARE, PAUSE, EXPORT, RESUME, SWAP, ABORT. Each answers by itself when it succeeds. */
MUST_CHECK Status core_publish_control(Core *c, ControlKind kind, Reader *in, Error *err);
void core_publish_free(Core *c);
int32_t schema_find_reducer(const CoreSchema *s, Str name); /* -1: none */

/* Room for n elements in a kept array. */
#define GROW(array, cap, n)                                                                                                                \
    do {                                                                                                                                   \
        if ((cap) < (size_t)(n)) {                                                                                                         \
            (cap) = MAX((size_t)(n), 2 * (cap));                                                                                           \
            (array) = x_realloc((array), (cap) * sizeof *(array));                                                                         \
        }                                                                                                                                  \
    } while (0)

#endif
