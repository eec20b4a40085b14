/* engine.h - the tables of one database in memory, and the one transaction that may change them.
 *
 * Shape:   a table is rows in the author's C struct layout in pages, a hash index for each unique column
 *          set, a B+tree for each btree index, a whole-row hash for tables without any key (a table is a
 *          set). Text and arrays of a row live in one heap block of the row version.
 * Writer:  single; no locks. Reads are pointer reads. One transaction at a time, begun by txn_begin.
 * Rows:    a `const void *` row is the author's struct. It stays valid and unchanged until the transaction
 *          ends, also after the row was updated or deleted: an update makes a new version.
 * Scans:   a cursor is a snapshot at its creation: rows born later in the transaction are skipped, rows
 *          that died later are still delivered.
 * Order:   rows have a row number, unique in the table, given in insertion order; scans and equal keys come
 *          in row-number order within a page walk or key; nothing depends on addresses, so a run repeats exactly.
 * Failure: a failing write leaves the table as it was before that write; undo memory is reserved first.
 *          txn_commit and txn_rollback cannot fail.
 * Thread:  the holder of the engine (the executor). */
#ifndef HOST_ENGINE_ENGINE_H
#define HOST_ENGINE_ENGINE_H

#include "host/schema/commit.h"

typedef struct Engine Engine;
typedef struct Table Table;

/* Kinds of S_TOO_LARGE that modules tell apart, as the Error's sqlstate. */
#define SQLSTATE_SEQUENCE "2200H"                   /* sequence_generator_limit_exceeded */
#define SQLSTATE_DELAY "22008"                      /* datetime_field_overflow: a schedule too far ahead */
#define SCHEDULE_DELAY_US_MAX ((int64_t)1000 << 36) /* not reached */

typedef struct EngineLimits {
    uint64_t database_bytes_max; /* rows, heap blocks and indexes; 0 = none */
    uint64_t txn_bytes_max;      /* row versions made by one transaction; 0 = none */
    uint64_t txn_rows_max;       /* 0 = none */
} EngineLimits;

Engine *engine_new(const EngineLimits *limits);
void engine_free(Engine *e);
uint64_t engine_bytes_used(const Engine *e);

/* ---- schema ---- */

/* Take the first schema: all tables empty. Keeps a reference to image->def and copies the ids. */
void engine_set_schema(Engine *e, const SchemaImage *image);
const SchemaImage *engine_schema(const Engine *e);
/* By position in the definition's table list; borrowed until the next swap. */
Table *engine_table(Engine *e, uint32_t position);
Table *engine_table_by_id(Engine *e, uint32_t table_id); /* NULL: none */
Table *engine_table_by_name(Engine *e, Str name);        /* canonical or source name; NULL: none */
const TableDef *table_def(const Table *t);
uint32_t table_id(const Table *t);

/* A publish: build what the new schema needs beside the old (converted rows, new tables, new indexes) while the old goes on working,
 * then either swap (pointer assignments, cannot fail) or discard.
 *
 *   begin ──▶ step, step, ... ──▶ done ──▶ swap or discard; then reap until nothing is left
 *
 * Between steps transactions may run. What they commit is followed at once: rows that were converted or indexed are converted
 * or indexed again. Unchanged tables are carried over, not copied. A failure (a conversion refuses a row, a new unique index finds
 * duplicates, the memory limit) ends the preparation: every later step returns it, and only discard is left; the old tables never
 * notice. One preparation at a time. */
typedef struct EngineNext EngineNext;
/* Where the rows of a table of the next schema come from. */
typedef struct EngineColumnSource {
    int32_t from; /* column of the old table; -1: the column's default */
    /* NULL: the same type, or one that gained variants. Else makes the new value: native in, native out, memory from `arena`; it may be
     * called several times for a row, on the executor's thread, inside engine_prepare_step and txn_commit. A failure names table and key. */
    Status (*convert)(void *user, const void *from, void *to, Arena *arena, Error *err);
    void *user;
} EngineColumnSource;
typedef struct EngineTableSource {
    uint32_t old_id;                   /* 0: the table begins empty */
    const EngineColumnSource *columns; /* of the next table; NULL: by name */
    bool copy;                         /* a table of its own even where the old one could be carried over (a migration will write it) */
} EngineTableSource;
/* `sources`: one for each table of `next`, copied; NULL: by table id, columns by name. O(tables). S_TOO_LARGE: the memory limit does
 * not allow the second copy; S_INVALID: a new column has no default and the table has rows. */
MUST_CHECK Status engine_prepare_begin(EngineNext **ret, Engine *e, const SchemaImage *next, const EngineTableSource *sources, Error *err);
/* Convert or index about `rows_max` more rows; no transaction open. `ret_done`: everything stands, also what changed meanwhile. */
MUST_CHECK Status engine_prepare_step(EngineNext *next, uint32_t rows_max, bool *ret_done, Error *err);
/* begin and all steps at once. */
MUST_CHECK Status engine_prepare(EngineNext **ret, Engine *e, const SchemaImage *next, Error *err);
/* Did following a transaction fail since the last step? S_OK: the preparation is still good. */
MUST_CHECK Status engine_next_status(const EngineNext *next, Error *err);
/* Done preparations only. O(tables and indexes), whatever they hold: what is left over is freed by engine_reap. */
void engine_swap(Engine *e, EngineNext *next);
void engine_discard(EngineNext *next); /* NULL is fine; at any point */
/* Free about `rows_max` rows or nodes of what swaps and discards left behind. True: there is more. */
bool engine_reap(Engine *e, uint32_t rows_max);
/* Append (commit.h) every sequence that does not begin at its start: those carried over, and new ones behind
 * the values that a column holds already. For the catalog row of the publish. */
void engine_next_sequences(const EngineNext *next, Buf *out, uint16_t *ret_nsequences);
/* Which of the next tables are conversions or new (true) and which are the old ones carried over (false)? By position. */
bool engine_next_is_copy(const EngineNext *next, uint32_t position);

/* A migration's function writes the next tables before the swap: they are lent to an engine of their own, in which one transaction may
 * be open, with the memory limit but without the limits of a call. Every table must be a copy (EngineTableSource.copy), and the preparation
 * done. Nothing is followed from here on: no transaction of the old engine may commit a change until the swap or discard. unlend
 * leaves committed changes in the next tables. */
Engine *engine_next_lend(EngineNext *next);
void engine_next_unlend(EngineNext *next);

/* A table of the next schema, to be read between transactions: that of a finished preparation, before anything else happens to it. */
Table *engine_next_table(EngineNext *next, uint32_t position);

/* Rows of a table of the next schema as ROWs of commit.h, in pieces of about `bytes_max`; for storage to write them to PostgreSQL. No
 * transaction of the old engine meanwhile. `cursor` begins at 0; UINT64_MAX afterwards: that was all. */
void engine_next_export(const EngineNext *next, uint32_t position, uint64_t *cursor, size_t bytes_max, Buf *out, uint32_t *ret_nrows);

/* ---- loading at start (no transaction open) ---- */

/* One row as it stands in a COMMIT ROW: [row number when keyless] + BSATN. Set semantics are not checked;
 * a unique violation is S_CONFLICT with table and key named. Fast path: a million rows a second and more. */
MUST_CHECK Status table_load_row(Table *t, Reader *row, Error *err);
/* Room for `rows` more, before a bulk load. */
void table_load_expect(Table *t, uint64_t rows);
void engine_load_sequence(Engine *e, const CommitSequence *s);
/* Replay one commit record: deletes, then inserts, sequences. */
MUST_CHECK Status engine_apply_record(Engine *e, Bytes record, Error *err);

/* ---- the transaction ---- */

void txn_begin(Engine *e);
bool txn_active(const Engine *e);
void txn_rollback(Engine *e); /* also sequences' values are kept: they are never given out twice */

/* Net changes of the open transaction, by table id ascending; rows in row-number order. A row inserted
 * and deleted again, or replaced by an equal row, does not appear. Event tables list inserts only. Borrowed
 * until the transaction ends. May allocate, so it runs before the commit point. */
typedef struct TableChange {
    Table *table;
    uint32_t ndeleted, ninserted;
    const void *const *deleted;  /* old versions */
    const void *const *inserted; /* new versions */
} TableChange;
const TableChange *txn_changes(Engine *e, uint32_t *ret_count);
/* Does the transaction change anything that belongs into a commit record (rows of stored tables)? */
bool txn_has_stored_changes(Engine *e);
/* Append the `nsequences` and `ntables` parts of a commit record (commit.h) and report the counts. Sequence
 * blocks taken since the last record are included, also those of rolled-back transactions. */
void txn_write_sequences(Engine *e, Buf *out, uint16_t *ret_nsequences);
void txn_write_tables(Engine *e, Buf *out, uint32_t *ret_ntables);
void txn_commit(Engine *e);

/* ---- writes; need an open transaction ---- */

/* Insert a copy of `row` (the author's struct, checked with value_check: S_INVALID). A zero in an
 * auto-increment column is replaced by the next value and written back into `row`. An equal row already
 * there: S_OK, nothing changes, `ret_row` is that row. S_CONFLICT: a unique column's value is taken (text names
 * table, columns and value). S_TOO_LARGE: a limit, named; also what PostgreSQL cannot hold: an indexed value past
 * 2,600 bytes, a NUL byte in text (S_INVALID), a timestamp outside PostgreSQL's range (S_INVALID). */
MUST_CHECK Status table_insert(Table *t, void *row, const void **ret_row, Error *err);
/* Replace the row whose unique column `col` equals row's. S_NOT_FOUND: none. Others as table_insert. */
MUST_CHECK Status table_update(Table *t, uint16_t col, void *row, const void **ret_row, Error *err);
/* Replace exactly this live row by `row` (SQL UPDATE). */
MUST_CHECK Status table_replace(Table *t, const void *old, void *row, const void **ret_row, Error *err);
/* Delete a row that is alive in this transaction. S_TOO_LARGE: a limit. */
MUST_CHECK Status table_delete(Table *t, const void *row, Error *err);

/* ---- reads ---- */

uint64_t table_count(const Table *t); /* O(1) */
/* The live row whose unique single column `col` equals the native value at `key`; NULL: none. */
const void *table_find(const Table *t, uint16_t col, const void *key);
uint64_t row_number(const void *row);
/* Is `row` alive now; was it born in the open transaction? (delta rules of joins) */
bool row_is_alive(const void *row);
bool row_is_new(const void *row);

/* Position of the index of def->indexes that serves equality on the first columns of `cols` and then a
 * range, or -1. */
int32_t table_find_index(const Table *t, uint32_t ncols, const uint16_t *cols);

typedef struct Cursor { /* by value; no cleanup needed; dies with the transaction */
    Table *table;
    uint64_t snapshot;   /* version stamp at creation */
    uint64_t a, b, c, d; /* position: engine's own */
    int32_t index;       /* -1: full scan */
    uint32_t neq;
    const void *eq[4];               /* borrowed native values: must outlive the cursor */
    const void *lo, *hi;             /* bounds on the next column; NULL = open */
    bool lo_exclusive, hi_inclusive; /* default [lo, hi) */
} Cursor;
void cursor_all(Cursor *c, Table *t);
/* index: position in def->indexes. Equality on the first neq columns, then bounds on the next one. A unique
 * index serves full equality only (neq == ncols). Fill lo/hi flags after this call when they differ. */
void cursor_index(Cursor *c, Table *t, int32_t index, uint32_t neq, const void *const *eq, const void *lo, const void *hi);
const void *cursor_next(Cursor *c); /* NULL: done */

/* Walk everything and check every invariant (index = rows, counts, undo empty); for tests and the simulator. */
MUST_CHECK Status engine_check(Engine *e, Error *err);

#endif
