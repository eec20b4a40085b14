/* core.h - the worker's step function: one record in, its outputs out.
 *
 * Everything the worker does to tables, queries and subscriptions happens here, in one thread, over injected clock,
 * randomness and output, so the same code runs in the worker process and under the simulator (tests/sim), which
 * kills it at every output (design-rule 12). Order never depends on addresses. */
#ifndef HOST_WORKER_CORE_H
#define HOST_WORKER_CORE_H

#include "host/query/query.h"
#include "host/schema/migration.h"
#include "host/worker/records.h"
#include "sdk/spacetimedb.h"

/* What a module is to the core: a definition and a way to call its functions. The loader makes one from a .so, the
 * simulator from its own functions. */
typedef struct Module Module;
typedef struct ModuleOldTable { /* ST_OLD_TABLE: a table as it was before a migration */
    uint32_t item;              /* position in `items` */
    uint32_t version;           /* the migration that reads it */
    Str table;                  /* its name before */
    const Type *row;
} ModuleOldTable;
struct Module {
    ModuleDef *def;   /* one reference */
    Bytes definition; /* what `def` was read from: the V10 bytes the module declares; the Module's own */
    Str name, version;
    /* `items`: the array st_db.item, indexed by a record's position, giving the host's Table * for tables. The core fills
     * `slots` after load and after each swap from the record's table name. NULL in the simulator. */
    const st_item *const *items;
    uint32_t nitems;
    /* Call reducer `id` (position in def->reducers) with native arguments (struct of def->reducers[id].params). */
    st_status (*call_reducer)(Module *m, uint32_t id, st_reducer_ctx *ctx, const void *args);
    /* The same for procedure `id`; `ret` is zeroed room for a value of its type. [any thread] NULL: it has none. */
    st_status (*call_procedure)(Module *m, uint32_t id, st_proc_ctx *ctx, const void *args, void *ret);
    /* And for HTTP handler `id`. */
    st_status (*call_handler)(Module *m, uint32_t id, st_proc_ctx *ctx, const st_http_request *request, st_http_response *response);
    /* View `id` (position in def->views); `host` goes back to st_api.emit and query. NULL: it has none. */
    st_status (*call_view)(Module *m, uint32_t id, const st_view_ctx *ctx, void *host);
    Migrations migrations; /* the Module's own */
    uint32_t nold_tables;
    const ModuleOldTable *old_tables;
    /* Operation `position` of migration `version`: RUN (from and to NULL), or CONVERT_COLUMN with a value of the old type and room, zeroed,
     * for one of the new. NULL when there are no migrations. */
    st_status (*call_migration)(Module *m, uint32_t version, uint32_t position, st_reducer_ctx *ctx, const void *from, void *to);
    void (*unload)(Module *m); /* frees the Module */
};

typedef struct CoreEnv {
    void *user;
    int64_t (*clock_us)(void *user); /* [any thread] */
    void (*random)(void *user, void *out, size_t len);
    /* Outputs, in the order of records.h. None may fail or wait. Parts are copied before the call returns. */
    void (*commit)(void *user, Bytes record);
    void (*frame)(void *user, uint32_t nparts, const Bytes *parts); /* first part begins with FrameHeader */
    void (*log)(void *user, Bytes record);                          /* [any thread] */
    /* Opens a module file (loader.h), or the simulator's. */
    Status (*open_module)(void *user, Str path, Module **ret, Error *err);
    /* A call begins / ends, outputs included: from here to there the call is to blame for a death (records.h, current_call).
     * `call_seq` 0 at the end; UINT64_MAX for init. What must wrap module code alone (page protection in a test mode)
     * belongs into Module.call_reducer. */
    void (*in_module)(void *user, uint64_t call_seq);
    /* Rule 17: a call is cancelled while *cancel is what in_module has put into *since (never 0). Both NULL: never. [any thread reads them] */
    const _Atomic uint64_t *cancel, *since;
    uint32_t call_ms_max; /* for the text */
    /* The call that follows (in_module) is that of a scheduled row; NULL: it has ended. May be NULL. Who restarts a worker that died
     * in between hands the row to CTL_DUE_DIED, so that a call that kills is not made again and again. */
    void (*due)(void *user, const CoreDue *due);
    EngineLimits limits;     /* until CTL_LIMITS says otherwise */
    uint64_t call_bytes_max; /* scratch memory of a call; 0: 256 MiB */
    uint32_t slice_rows;     /* of core_work; 0: its own measure */
    uint32_t view_ms_max;    /* how long a view may take; 0: any */
    /* Procedures, each on a thread of its own (strand.h). */
    uint32_t procedures_max;   /* at once */
    uint32_t procedure_ms_max; /* processor time that one may take without asking for anything; 0: any */
    /* One has taken more; it cannot be stopped. Called again as long as it goes on. May be NULL with procedure_ms_max 0. */
    void (*runaway)(void *user, uint64_t call_seq);
    bool lockstep;            /* one thread at a time, so that a seed repeats a run */
    void (*wake)(void *user); /* core_work has something to do; NULL: it is called anyway [any thread] */
    /* A procedure's thread begins: who is to blame for a crash on it, and memory for a signal stack; NULL: nothing. [new thread] */
    void (*thread_begin)(void *user, uint64_t call_seq, void *stack, size_t stack_bytes);
    void (*thread_end)(void *user); /* NULL: nothing [that thread] */
} CoreEnv;

typedef struct Core Core;
Core *core_new(const CoreEnv *env);
void core_free(Core *c);
/* One record of the control ring. False: CTL_STOP was read. */
bool core_control(Core *c, Bytes record);
/* One record of the call ring. Only while core_accepts_calls. */
void core_call(Core *c, Bytes record);
bool core_accepts_calls(const Core *c); /* ready, and not paused by a publish */
/* A slice of what is to be done beside the calls: preparing a publish, freeing what the last one left. About a millisecond; outputs as for a
 * call. False: there is nothing (more) to do. */
bool core_work(Core *c);
/* Run the one scheduled function that is due longest, if one is due. */
bool core_due(Core *c);
void core_hold(Core *c, bool hold); /* no scheduled function starts until it is false again */
int64_t core_due_us(const Core *c); /* when the next one is due, microseconds since 1970; INT64_MAX: none */
/* Has a transaction scheduled something since this was asked last? Its record must be out before what it scheduled runs. */
bool core_has_armed(Core *c);
bool core_may_run_due(const Core *c); /* ready, not paused by a publish, not held */
/* Is there something for core_work that calls, control records and slices do not tell of? And when will there be, by the clock; INT64_MAX:
 * nothing is due. */
bool core_is_wanted(Core *c);
int64_t core_wake_us(const Core *c);
/* CALL_ANSWER. Only while core_accepts_calls. */
void core_answer(Core *c, Bytes record);
uint32_t core_procedures(const Core *c); /* running, waiting or about to start */
/* The call that runs is cancelled, and this is a signal handler on the executor's thread: leave the module's frames. Returns when there is nothing to
 * leave. The caller has made sure that the module's own code was interrupted. */
void core_cancel_here(Core *c);
/* For the simulator and tests. */
Engine *core_engine(Core *c);
uint64_t core_offset(const Core *c); /* of the last commit record */

#endif
