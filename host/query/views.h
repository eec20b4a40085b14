/* views.h - computed tables: what the module's views return, kept for as long as somebody looks, and brought up to date by the transaction that
 * changes what they have read.
 *
 * Shape:    the rows of all views are tables of an engine of their own, so that plans, indexes, deltas and snapshots work on them as on any
 *           table. One instance is one result: a view for one sender, or an anonymous view for all. A view per sender has a column more
 *           than its rows: for whom they are.
 * Reads:    while a view runs, what it reads is noted: a key of some columns, a range of an index, a whole table. A changed row finds the
 *           instances that have read it by hash and by interval tree; the cost does not depend on how many others there are.
 * Refresh:  inside the transaction, before its commit point (views_evaluate ... views_commit). Only instances that a subscription holds are
 *           computed again; others forget what they knew and are computed when somebody asks.
 * Queries:  a view that returns SQL is not run again: changed rows of its table come and go in its result by the query's condition.
 * Failure:  a view that fails loses its result, and its subscriptions end with the reason; the transaction goes on.
 * Thread:   the engine's holder. */
#ifndef HOST_QUERY_VIEWS_H
#define HOST_QUERY_VIEWS_H

#include "host/query/query.h"

enum {
    VIEW_TABLE_ID_FIRST = 1 << 30,  /* ids of views' tables; the catalog's stay far below */
    VIEW_ROWS_BYTES_MAX = 64 << 20, /* of one result */
    VIEW_READS_MAX = 10000,         /* of one instance; beyond it reads whole tables */
    VIEW_UNHELD_MAX = 4096,         /* results that nobody subscribes to; the oldest go */
};
#define VIEW_UNHELD_US ((int64_t)600 * 1000000) /* and so do those that nobody has asked for this long */

typedef struct ViewsEnv {
    void *user;
    /* Run view `view` (position in the definition) for `sender` (zeros for an anonymous one). In it: views_emit, views_query, views_read_*. */
    Status (*run)(void *user, uint32_t view, const uint8_t sender[32], Error *err);
    int64_t (*clock_us)(void *user);
} ViewsEnv;

Views *views_new(Engine *tables, const EngineLimits *limits, const ViewsEnv *env);
void views_free(Views *v); /* NULL is fine */
/* Take the definition in force: at load and after each swap, before subs_schema_changed. Results of views that stay as they are stay, until
 * views_refresh_held looks at them again. */
void views_set_schema(Views *v, const SchemaImage *image);
Engine *views_engine(Views *v);
uint64_t views_instances(const Views *v); /* for tests */
uint64_t views_runs(const Views *v);      /* functions run since the start: proves that others were not */
bool views_follow(const Views *v);        /* is there a result that a change could touch? */

/* ---- while a view runs ---- */

/* One row of the result, in the author's layout; copied. */
MUST_CHECK Status views_emit(Views *v, const void *row, Error *err);
MUST_CHECK Status views_query(Views *v, Str sql, Error *err); /* the result is this query's; copied */
void views_read_key(Views *v, const Table *t, uint32_t ncols, const uint16_t *cols, const void *const *keys);
/* Equality on cols[0..neq), bounds (NULL: none) on cols[neq]. */
void views_read_range(Views *v, const Table *t, uint32_t neq, const uint16_t *cols, const void *const *eq, const void *lo, const void *hi);
void views_read_table(Views *v, const Table *t);

/* ---- a transaction ---- */

struct ViewFailure { /* this result ended */
    uint32_t table_id;
    bool for_all; /* an anonymous view */
    uint8_t sender[32];
    Str text;
};
/* What the open transaction's changes do to results that are held. Until views_commit the results are those after the transaction, which must
 * commit: there is no way back. Borrowed until then. */
typedef struct ViewsEvaluation {
    uint32_t nchanges, nfailures;
    const TableChange *changes;
    const ViewFailure *failures;
} ViewsEvaluation;
ViewsEvaluation views_evaluate(Views *v, uint32_t nchanges, const TableChange *changes);
/* After views_set_schema and subs_schema_changed: all that is held, with the code in force. The same way out. */
ViewsEvaluation views_refresh_held(Views *v);
void views_commit(Views *v); /* cannot fail */

/* Results that nobody holds and nobody has asked for lately go, some at a time. True: there are more. Between calls. */
bool views_evict(Views *v);

/* Would every result that is held be computed? Runs the functions of another definition by `run`, for a publish that is about to happen;
 * nothing is kept. A few instances of each view are tried. */
MUST_CHECK Status views_try(Views *v, const ModuleDef *next, Status (*run)(void *user, uint32_t view, const uint8_t sender[32], Error *err),
                            void *user, Error *err);

#endif
