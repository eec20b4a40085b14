/* storage.h - everything that speaks to PostgreSQL: catalog, commit log, materialiser, loading, publishing.
 *
 * Threads: `storage_open` starts a log thread (appends commit records of all attached databases, pipelined, one batch in
 *          flight for each database) and a materialiser thread (writes the typed tables behind it). Functions marked
 *          [blocking] speak to PostgreSQL on the caller's thread over a pooled connection: call them from a job thread,
 *          never from the net loop. Callbacks say on which thread they run.
 * Truth:   a batch is durable when COMMIT answered with the tag COMMIT and no warning (rule 25). Every storage transaction
 *          first locks the database's fence row and raises when the epoch differs (rule 23).
 * Names:   one PostgreSQL schema per database, named as the database; inside it one table per module table and our own
 *          `st_log_0..2` (commit log segments) and `st_state` (materialised offset). Names past 63 bytes or that PostgreSQL
 *          refuses are mapped and recorded in the catalog (rules 33, 34).
 * Knows no sockets, rings or sessions. */
#ifndef HOST_STORAGE_STORAGE_H
#define HOST_STORAGE_STORAGE_H

#include "host/schema/commit.h"
#include "host/schema/diff.h"

typedef struct Storage Storage;

typedef enum StoragePressure {
    PRESSURE_NONE,
    PRESSURE_SLOW, /* the tables are late: let callers wait until they have caught up */
    PRESSURE_FULL  /* what may be held is held: refuse new calls with the reason */
} StoragePressure;

typedef struct StorageConfig {
    const char *conninfo;              /* libpq connection string */
    const char *sql_dir;               /* the numbered catalog files; NULL: as installed or built in */
    uint32_t pool_connections;         /* for blocking work; default 4 */
    uint32_t log_connections;          /* default 2; plus one for the materialiser and one monitor */
    uint32_t lag_bound_ms;             /* the materialiser's; default 1000 */
    uint64_t batch_bytes_max;          /* of a log row; default 4 MiB */
    uint64_t backlog_bytes_max;        /* records held per database while PostgreSQL is away or slow; default 64 MiB */
    uint64_t unmaterialised_bytes_max; /* log ahead of the tables per database before admission stops; default 256 MiB */
    void *user;
    /* Log thread: `complete` records have been taken from the worker, `durable` of them are committed. Called after each
     * change, at most once a batch. */
    void (*on_progress)(void *user, uint64_t database_id, uint64_t complete, uint64_t durable);
    /* Any storage thread: the database cannot go on (rules 23, 26, 28): fenced, an error that retrying cannot cure, or records
     * lost by a failover. The host must stop the worker, fail its calls and open the database again (or not, when fenced). */
    void (*on_failure)(void *user, uint64_t database_id, const Error *err);
    /* Log thread: how much this database may take in; `why` names PostgreSQL's state or the blocker. */
    void (*on_pressure)(void *user, uint64_t database_id, StoragePressure level, const char *why);
} StorageConfig;

/* Connect, check server and catalog version, apply missing files of sql/ in order, warn about fsync/full_page_writes off. [blocking] */
MUST_CHECK Status storage_open(Storage **ret, const StorageConfig *config, Error *err);
/* Detach everything (flushing what is complete), stop threads, close connections. [blocking] */
void storage_close(Storage *s);
/* One line for people: "PostgreSQL 15.20 at /path/socket, database spacetime". */
const char *storage_describe(const Storage *s);

/* ---- catalog [all blocking] ---- */

typedef struct DatabaseInfo {
    uint64_t id;
    uint8_t identity[32], owner[32]; /* wire order: least significant byte first */
    uint32_t schema_version;         /* 0: record exists, never published */
    uint8_t program_hash[32], initial_program_hash[32];
    int64_t created_us;
    Str schema;     /* PostgreSQL schema name */
    bool scheduled; /* it has scheduled tables, or may have: it runs without being asked */
    uint32_t nnames;
    const Str *names; /* in insertion order */
} DatabaseInfo;
/* All databases, or those with this name / identity / owner (NULL = any); allocated in `a`. */
MUST_CHECK Status storage_databases(Storage *s, Arena *a, const Str *name, const uint8_t *identity, const uint8_t *owner,
                                    uint32_t *ret_count, DatabaseInfo **ret, Error *err);
/* Name registry (http-api.md 5.2). S_CONFLICT: taken; S_DENIED: belongs to somebody else; S_NOT_FOUND. */
MUST_CHECK Status storage_name_add(Storage *s, uint64_t database_id, Str name, const uint8_t caller[32], Error *err);
MUST_CHECK Status storage_names_replace(Storage *s, uint64_t database_id, uint32_t n, const Str *names, const uint8_t caller[32],
                                        Error *err);
/* Drop the PostgreSQL schema's tables by name (no CASCADE), the catalog rows and names. The database must be detached. */
MUST_CHECK Status storage_delete(Storage *s, uint64_t database_id, Error *err);
/* A small durable key-value store of the host (signing keys of a cluster, settings). S_NOT_FOUND. */
MUST_CHECK Status storage_setting_get(Storage *s, Arena *a, Str key, Bytes *ret, Error *err);
MUST_CHECK Status storage_setting_put(Storage *s, Str key, Bytes value, Error *err); /* insert only: S_CONFLICT when present */

/* ---- opening a database ---- */

/* What the log thread reads commit records from; `storage` calls these on its log thread only. */
typedef struct CommitSource {
    void *user;
    bool (*next)(void *user, Bytes *ret_record); /* the next complete record, borrowed until the next call; false: none now */
    void (*taken)(void *user);                   /* everything read so far has been copied */
    int bell_fd;                                 /* eventfd that the producer rings for a sleeper */
    bool (*sleep_begin)(void *user);             /* about to wait on bell_fd; false: there is something, do not wait */
    void (*sleep_end)(void *user);
} CommitSource;

typedef struct Lease {
    uint64_t database_id, epoch;
} Lease;
/* Take the database for this host: bump the epoch (waits for a batch in flight elsewhere), terminate the recorded backend.
 * S_BUSY: another live host holds it (heartbeat younger than its time-to-live). [blocking] */
MUST_CHECK Status storage_acquire(Storage *s, uint64_t database_id, Lease *ret, Error *err);
/* Give it back (also done by storage_close). [blocking] */
void storage_release(Storage *s, const Lease *lease);

typedef struct LoadSink { /* called on the calling thread, in this order; a failure ends the load */
    void *user;
    Status (*schema)(void *user, const SchemaImage *image, Bytes program, Error *err); /* first; keep a reference with module_def_ref */
    Status (*expect)(void *user, uint32_t table_id, uint64_t rows, Error *err);
    Status (*rows)(void *user, uint32_t table_id, uint32_t nrows, Bytes rows, Error *err); /* ROWs of commit.h */
    Status (*sequence)(void *user, const CommitSequence *seq, Error *err);
    Status (*client)(void *user, const CommitClient *client, Error *err); /* was connected when the host last stopped */
    Status (*replay)(void *user, Bytes record, Error *err);               /* log records after the tables' offset, in order */
} LoadSink;
/* Read one repeatable-read snapshot: definition and program, COPY of the tables, then the rest of the log; gaps, checksums and
 * bad rows are errors that name table and key. `ret_offset`: the last offset there is. [blocking] */
MUST_CHECK Status storage_load(Storage *s, const Lease *lease, const LoadSink *sink, uint64_t *ret_offset, Error *err);

/* Begin to log and materialise this database's records from `offset` + 1 on. Log rows not yet materialised are picked up from
 * PostgreSQL. `image` is referenced. */
MUST_CHECK Status storage_attach(Storage *s, const Lease *lease, const SchemaImage *image, uint64_t offset, const CommitSource *source,
                                 Error *err);
/* Did a failure name a SQLSTATE that another try may cure (rule 28)? */
bool storage_passing(const Error *err);
/* Take over a new worker's source after the old worker died: first drains what the old source still holds complete. The
 * returned offset is the last complete one, which the new worker loads. Waits a few seconds until it is durable; S_UNAVAILABLE: it is
 * not yet, call again. [blocking] */
MUST_CHECK Status storage_drain_source(Storage *s, uint64_t database_id, uint64_t *ret_offset, Error *err);
MUST_CHECK Status storage_replace_source(Storage *s, uint64_t database_id, const CommitSource *source, Error *err);
/* Flush, then stop. After it the source is no longer touched. [blocking] */
void storage_detach(Storage *s, uint64_t database_id);
/* Everything complete is durable and materialised, the log is empty. S_UNAVAILABLE after the deadline, naming the blocker. [blocking] */
MUST_CHECK Status storage_settle(Storage *s, uint64_t database_id, uint32_t timeout_ms, Error *err);

typedef struct StorageStatus {
    uint64_t complete, durable, materialised;
    uint64_t lag_us;
    char blocked_by[256];
} StorageStatus;
MUST_CHECK Status storage_status(Storage *s, uint64_t database_id, StorageStatus *ret); /* any thread, cheap */

/* ---- publish [blocking] ---- */

/* Ids for new tables: never used before, not given back. */
MUST_CHECK Status storage_allocate_table_ids(Storage *s, uint32_t count, uint32_t *ret_first, Error *err);

typedef struct Publish {
    const SchemaImage *old_image; /* NULL: first publish */
    const SchemaImage *new_image; /* version = old + 1, ids filled in */
    const Plan *plan;             /* NULL: first publish or reset, every table is new */
    Bytes program;
    uint8_t program_hash[32];
    uint8_t publisher[32];
    const Lease *lease; /* updates; NULL: first publish of a new database */
    /* first publish only: */
    Str name; /* may be empty: no name */
    uint8_t identity[32], owner[32];
    bool reset;         /* with lease: drop all data and start over from new_image (names stay) */
    Bytes first_record; /* the commit record of `init`, offset 1; may be empty */
    /* updates: */
    uint16_t nsequences; /* where auto-increment columns of the new version stand: CommitSequence parts of commit.h */
    Bytes sequences;
    uint32_t nrewrite; /* tables (ids) whose rows PostgreSQL takes from memory: emptied, altered, filled by `rows` */
    const uint32_t *rewrite;
    void *user;
    /* The next piece of such a table as ROWs of commit.h in the new definition; `cursor` begins at 0, UINT64_MAX: that was all. Called
     * on the thread of storage_publish, inside its transaction. */
    Status (*rows)(void *user, uint32_t table_id, uint64_t *cursor, Buf *ret_rows, uint32_t *ret_nrows, Error *err);
    uint32_t migration;       /* the highest migration that has run with this version (0: none) */
    Str plan_text, plan_json; /* for the history; plan_json may be empty */
    bool dry_run;             /* do everything, then roll back; S_OK: it would have worked */
} Publish;
/* One PostgreSQL transaction: fence, DDL, backfill, catalog row, first log row, COMMIT. One attempt. For an update the database is
 * attached, its worker paused and everything settled; storage continues with the new image afterwards by itself, or, on failure, with the old
 * one. On failure everything is rolled back and the text says at which
 * step and why. `ret_unknown` true: the connection broke during COMMIT and the catalog could not be asked: neither version may run until
 * storage_publish_outcome has told. S_CONFLICT: name or identity taken, or the catalog holds another version; S_BUSY: a table is locked
 * (blocker named) or another publisher is at work: try again; S_INVALID: the tables were changed by hand, or hold what the new definition
 * refuses (rows listed). */
MUST_CHECK Status storage_publish(Storage *s, const Publish *p, uint64_t *ret_database_id, bool *ret_unknown, Error *err);
/* Wait until the tables show everything that was complete at the call, while records go on coming; the materialiser does not wait for its
 * lag bound meanwhile. S_UNAVAILABLE after the deadline, naming the blocker. */
MUST_CHECK Status storage_catch_up(Storage *s, uint64_t database_id, uint32_t timeout_ms, Error *err);
/* Are the tables in PostgreSQL what the catalog says (rule 29)? S_INVALID names the difference. */
MUST_CHECK Status storage_check_tables(Storage *s, const Lease *lease, const SchemaImage *image, Error *err);

typedef struct PublishRecord { /* one publish, from the catalog */
    uint32_t version, migration;
    int64_t published_us, duration_us;
    uint8_t publisher[32], program_hash[32]; /* publisher in wire order */
    bool reset;
    Str plan, plan_json, ddl;
} PublishRecord;
/* The newest first; `limit` 0: all. */
MUST_CHECK Status storage_history(Storage *s, uint64_t database_id, uint32_t limit, Arena *a, uint32_t *ret_n, PublishRecord **ret,
                                  Error *err);
/* The highest migration that has run on a database. */
MUST_CHECK Status storage_migration(Storage *s, uint64_t database_id, uint32_t *ret_migration, Error *err);
/* Which schema version is stored; S_UNAVAILABLE while PostgreSQL does not answer. */
MUST_CHECK Status storage_publish_outcome(Storage *s, const uint8_t identity[32], uint32_t *ret_version, Error *err);
/* The DDL that a publish would run, for the plan shown to people. */
void storage_plan_ddl(Buf *out, Str schema, const Publish *p);

/* ---- the embedded cluster (embedded.c) ---- */

typedef struct Embedded Embedded;
/* Create (initdb) when missing, adopt when running, else start, a cluster in `data_dir`/pg: Unix socket only, fsync on; as user `postgres` or
 * `nobody` when the host runs as root, never as root. Checks PG_VERSION and names the upgrade path. Writes `data_dir`/pg.conninfo.
 * `note` is called with one line for each step that takes time. [blocking] */
MUST_CHECK Status embedded_start(Embedded **ret, const char *data_dir, void (*note)(const char *line), Error *err);
const char *embedded_conninfo(const Embedded *e);
/* Fast shutdown, waits. [blocking] */
void embedded_stop(Embedded *e);

#endif
