/* query.h - SQL over the engine: statements, one-off queries, and subscriptions kept up to date.
 *
 * Dialect:  spec sql-and-subscriptions.md. This edition: one table per query (joins have their place in the
 *           plan: a Query has an array of table references); SELECT *|columns|COUNT(*), WHERE, LIMIT, INSERT,
 *           UPDATE, DELETE. Joins are refused with a text that says so.
 * Sharing:  queries are keyed by their canonical plan (resolved ids, normalised literals), the caller's identity when
 *           `:sender` is used, and the column count the client knows; one plan, one evaluation a transaction,
 *           one encoding, whoever subscribed.
 * Limits:   text 50,000 bytes, nesting and terms as the sheet's section 2; every loop over input is bounded.
 * Thread:   the engine's holder. */
#ifndef HOST_QUERY_QUERY_H
#define HOST_QUERY_QUERY_H

#include "host/engine/engine.h"

typedef struct Views Views; /* views.h */
typedef struct ViewFailure ViewFailure;
typedef struct Caller {
    uint8_t identity[32];
    bool is_owner;    /* may read private tables and write by SQL, and sees every row */
    bool under_rules; /* is_owner notwithstanding: sees what the rules of row level security let others see */
    Views *views;     /* what names in FROM may mean besides tables; NULL: nothing */
} Caller;
/* A rule of row level security (schema-and-migration.md R39): SELECT * over one public table, with a condition that may name :sender.
 * Clients other than the owner see the rows of that table that at least one of its rules returns. S_INVALID: why it is none. */
MUST_CHECK Status query_check_rule(Engine *e, Str sql, Error *err);

/* ---- statements (HTTP POST .../sql) ---- */

typedef struct SqlResult {
    const Type *row; /* product of the result columns (in `arena`; column types are the schema's); no fields for DML */
    uint64_t nrows;
    Buf rows; /* BSATN rows back to back */
    uint64_t inserted, deleted, updated;
    Arena arena;
} SqlResult;
/* Parse, check and run exactly one statement inside the open transaction; the caller commits or rolls back
 * (failure: roll back). S_INVALID: refused, text as the sheet's section 2.2; S_DENIED: not the owner;
 * S_CONFLICT: a constraint; S_TOO_LARGE: a limit (length, nesting, terms, 512 MiB of result). An error text is always
 * valid UTF-8. */
MUST_CHECK Status sql_execute(SqlResult *ret, Engine *e, Str text, const Caller *caller, Error *err);
void sql_result_done(SqlResult *r);

/* OneOffQuery of the WebSocket protocol: whole rows of one table. Appends QueryRows (wire.md 5.2) to `out`. */
MUST_CHECK Status query_one_off(Engine *e, Str text, const Caller *caller, Buf *out, Error *err);

/* ---- subscriptions ---- */

typedef struct Subs Subs;
Subs *subs_new(Engine *e);
void subs_use_views(Subs *s, Views *v); /* before the first client; borrowed */
void subs_free(Subs *s);

/* A client as the host names it: a late frame for a reused slot goes nowhere. */
typedef struct ClientRef {
    uint32_t slot, generation;
} ClientRef;

/* The columns of each table that a client of an older schema version knows: tables not listed are known as
 * they are now. Copied. Called once per client before its first subscribe; a publish that appends columns
 * updates existing clients by itself (subs_schema_changed). */
typedef struct TableShape {
    uint32_t table_id;
    uint16_t ncols;
} TableShape;
void subs_client_add(Subs *s, ClientRef client, const Caller *caller, uint32_t nshapes, const TableShape *shapes);
void subs_client_remove(Subs *s, ClientRef client); /* drops its sets; unknown is fine */

/* Register a query set, all or nothing. `snapshot`: QueryRows of SubscribeApplied is appended (NULL: silent, for
 * registering again after a crash). S_CONFLICT: the id is in use. S_INVALID: text as wire.md 7.3, with the SQL; S_TOO_LARGE:
 * the same for a limit. S_NOT_FOUND: no such client. A query that the set has already, however it is spelled, counts
 * once. Call it between transactions. */
MUST_CHECK Status subs_subscribe(Subs *s, ClientRef client, uint32_t query_set_id, uint32_t nqueries, const Str *queries, Buf *snapshot,
                                 Error *err);
/* S_NOT_FOUND: no such set. `dropped` (may be NULL): the QueryRows of the set as of now. */
MUST_CHECK Status subs_unsubscribe(Subs *s, ClientRef client, uint32_t query_set_id, Buf *dropped, Error *err);
uint64_t subs_query_count(const Subs *s);      /* distinct live queries */
uint64_t subs_snapshots_shared(const Subs *s); /* snapshots served from an encoding made for an earlier client */
uint64_t subs_evaluations(const Subs *s);      /* queries evaluated since the start: proves pruning in tests */

/* The effect of one transaction on all subscribers. Segments are QuerySetUpdate bodies cut where clients differ:
 * bytes that are the same for many clients exist once. */
typedef struct UpdatePiece {
    uint32_t segment; /* index into segments; UPDATE_QUERY_SET_ID: four bytes, the recipient's next set id */
} UpdatePiece;
enum { UPDATE_QUERY_SET_ID = 0xffffffff };
typedef struct UpdateGroup { /* clients whose message differs only in query set ids */
    uint32_t nsets;          /* QuerySetUpdates in the message; also ids per recipient */
    uint32_t npieces;
    const UpdatePiece *pieces; /* concatenated they are the `nsets` QuerySetUpdates, without the leading count */
    uint32_t nrecipients;
    const ClientRef *recipients; /* in slot order */
    const uint32_t *set_ids;     /* nrecipients * nsets, ascending per recipient */
} UpdateGroup;
typedef struct UpdateFailure {
    ClientRef client;
    uint32_t query_set_id;
    Str text;
} UpdateFailure;
typedef struct Update {
    uint32_t nsegments;
    const Bytes *segments;
    uint32_t ngroups;
    const UpdateGroup *groups;
    uint32_t nfailures; /* sets that ended by an error while computing; already removed */
    const UpdateFailure *failures;
} Update;
/* Compute from txn_changes, before the commit point; borrowed until the next call with this Subs. Clients appear in one
 * group. Keeps nothing: a transaction that is rolled back afterwards needs no undo here. `changes`: those of views, too; `failed`: results of
 * views that ended, whose subscriptions end with them. */
const Update *subs_evaluate(Subs *s, uint32_t nchanges, const TableChange *changes, uint32_t nfailed, const ViewFailure *failed);
/* After engine_swap: resolve every query against the new schema; sets whose table became unreadable or lost a
 * column end and are reported as failures (text says why; borrowed until the next call). Must come before any other call
 * with this Subs: queries still point into the old schema. */
void subs_schema_changed(Subs *s, uint32_t *ret_nfailures, const UpdateFailure **ret_failures);

/* BsatnRowList (wire.md 5.2) over rows given as native pointers, first `ncols` columns. */
void row_list_encode(Buf *out, const TableDef *t, uint16_t ncols, const void *const *rows, uint32_t nrows);

#endif
