/* storage_int.h - what the files of host/storage share; nobody else includes it.
 *
 * pgtype.c       BSATN <-> PostgreSQL's binary form, DDL types, literals      (pure)
 * pgjson.c       BSATN <-> the JSON of jsonb columns                           (pure)
 * layout.c       a SchemaImage as PostgreSQL sees it: names, keys, statements (pure)
 * pool.c         connections: session set-up, blocking helpers, the pool
 * catalog.c      databases, names, settings, ids, leases
 * load.c         one snapshot -> LoadSink
 * ddl.c          DDL texts                                                     (pure)
 * publish.c      the publish transaction and its outcome
 * log.c          the log thread
 * materialise.c  the materialiser thread
 * storage.c      open, close, attach, detach, settle, status; the monitor thread
 *
 * Locks: `Storage.mu` guards the list of databases, every field of Db marked [mu] and the hand-over queues. It is
 * held for pointer moves only, never while speaking to PostgreSQL or calling back. */
#ifndef HOST_STORAGE_INT_H
#define HOST_STORAGE_INT_H

#include "host/storage/storage.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- pgtype.c ---- */

typedef enum PgKind { /* how the bytes travel */
                      PG_BOOL,
                      PG_INT2,
                      PG_INT4,
                      PG_INT8,
                      PG_NUMERIC,
                      PG_FLOAT4,
                      PG_FLOAT8,
                      PG_TEXT,
                      PG_BYTEA,
                      PG_FIXED, /* identity, connection id: bytea in text order, that is reversed */
                      PG_UUID,
                      PG_TIMESTAMPTZ,
                      PG_ENUM,
                      PG_ARRAY,
                      PG_JSONB,
} PgKind;
typedef struct PgType {
    const Type *type; /* without the outer option */
    PgKind kind;
    bool nullable; /* the column's type is an option */
    bool is_signed;
    uint8_t width;           /* BSATN bytes of integers and PG_FIXED */
    uint32_t oid, array_oid; /* of the PostgreSQL type and of its array type */
    const char *sql;         /* "bigint", "numeric(20,0)[]" */
    const char *wrap;        /* PG_ARRAY: composite type in schema spacetime that carries it through unnest */
    const struct PgType *elem;
} PgType;

const PgType *pgtype_of(Arena *a, const Type *t);
/* Next BSATN value -> i32 length and binary form (-1: NULL). The value has been validated. */
void pgtype_encode(Buf *out, const PgType *p, Reader *value);
/* The array header in front of `n` encoded elements (dimension 1, lower bound 1). */
void pgtype_array_header(Buf *out, uint32_t elem_oid, bool has_nulls, uint32_t n);
/* Binary form of one column (`len` -1: NULL) -> BSATN. */
MUST_CHECK Status pgtype_decode(Buf *out, const PgType *p, const uint8_t *data, int32_t len, Error *err);
/* A quoted SQL literal with its type: '5'::bigint. */
void pgtype_literal(Buf *out, const PgType *p, Reader *value);
/* The CHECK expression of a column or nothing; `column` is quoted. */
void pgtype_check_clause(Buf *out, const PgType *p, const char *column);
/* Can PostgreSQL hold the value? Steps over it. S_INVALID: NUL in text, timestamp before 4714 BC. Names no column. */
MUST_CHECK Status pgtype_storable(const Type *t, Reader *value, Error *err);
bool pgtype_needs_check(const Type *t); /* false: every value is storable */
/* Numbers of up to 256 bits: magnitude, low word first, and sign. */
typedef struct Wide {
    uint64_t w[4];
    bool negative;
} Wide;
Wide pgwide_load(const uint8_t *p, uint8_t width, bool is_signed);
bool pgwide_store(Buf *out, const Wide *v, uint8_t width, bool is_signed); /* BSATN; false: does not fit */
bool pgwide_multiply_add(Wide *v, uint32_t by, uint32_t add);              /* false: more than 256 bits */
void pgwide_put_decimal(Buf *out, Wide v);
void pgtext_put_float(Buf *out, double v, bool single); /* fewest digits that read back as the same value */
void pgtext_put_hex(Buf *out, const uint8_t *p, size_t n);

/* ---- pgjson.c: SATS-JSON as stored in jsonb columns (README.md) ---- */

void pgjson_put(Buf *out, const Type *t, Reader *value);
MUST_CHECK Status pgjson_get(Buf *out, const Type *t, Str json, Error *err);
/* 'text' with quotes doubled (standard_conforming_strings on), "identifier". */
void put_literal(Buf *out, Str text);
void put_ident(Buf *out, Str name);

static inline void be_put_u16(Buf *b, uint16_t v)
{
    v = __builtin_bswap16(v);
    buf_put(b, &v, 2);
}
static inline void be_put_u32(Buf *b, uint32_t v)
{
    v = __builtin_bswap32(v);
    buf_put(b, &v, 4);
}
static inline void be_put_u64(Buf *b, uint64_t v)
{
    v = __builtin_bswap64(v);
    buf_put(b, &v, 8);
}
static inline uint16_t be_u16(const void *p) { return __builtin_bswap16(load_u16(p)); }
static inline uint32_t be_u32(const void *p) { return __builtin_bswap32(load_u32(p)); }
static inline uint64_t be_u64(const void *p) { return __builtin_bswap64(load_u64(p)); }

/* ---- layout.c ---- */

enum { PG_NAME_BYTES_MAX = 63, PG_INDEXED_BYTES_MAX = 2600, PG_PARAM_BYTES_MAX = 16 << 20 };

/* A module's table as PostgreSQL has it. Everything is a function of schema name, table id and TableDef. */
typedef struct TableLayout {
    const TableDef *def;
    uint32_t id;
    Str name;          /* physical, unquoted */
    const char *qname; /* "schema"."table" */
    uint16_t ncols;    /* physical: st_row comes first in keyless tables */
    uint16_t key;      /* physical column of the physical key */
    bool keyless;
    const PgType *const *types;
    const char *const *columns; /* quoted */
    uint16_t nuniques;          /* physical columns under a unique constraint other than the key, each once */
    const uint16_t *uniques;
    bool needs_check;
    const bool *indexed; /* per definition column: has an index in PostgreSQL */
    int32_t key_offset;  /* BSATN offset of the key column when everything before it has one size, else -1 */
    /* statements of the materialiser; NULL where not needed */
    const char *sql_delete, *sql_delete_changed, *sql_update, *sql_insert, *sql_insert_missing;
    const char *sql_copy;
    _Atomic bool *room_left; /* materialiser: its pages have room for new versions, or were looked at */
} TableLayout;

typedef struct DbLayout { /* immutable, reference counted */
    _Atomic uint32_t refs;
    Arena arena;
    SchemaImage image;   /* own reference and copy of the ids */
    const char *schema;  /* unquoted */
    const char *qschema; /* quoted */
    uint32_t ntables;    /* without event tables */
    TableLayout *tables; /* by id ascending */
} DbLayout;
DbLayout *layout_new(const SchemaImage *image, const char *schema);
DbLayout *layout_ref(DbLayout *l);
void layout_unref(DbLayout *l);
const TableLayout *layout_table(const DbLayout *l, uint32_t table_id); /* NULL: none or an event table */
/* The name that PostgreSQL gets: as it is, or shortened / suffixed with a hash. */
Str physical_name(Arena *a, Str name, bool is_column);
/* What an index or constraint becomes. */
typedef struct PhysIndex {
    Str name;
    bool constraint;
    uint16_t ncols;
    const uint16_t *cols;
} PhysIndex;
uint32_t layout_indexes(Arena *a, const TableDef *t, PhysIndex **ret);
/* The row behind the row number: does PostgreSQL hold it? S_INVALID names table and column. */
MUST_CHECK Status layout_row_storable(const TableLayout *t, Bytes row, Error *err);

/* ---- pool.c ---- */

typedef enum ConnUse { CONN_POOL, CONN_LOG, CONN_MATERIALISE, CONN_MONITOR } ConnUse;
typedef struct ServerId {
    char system[24];
    uint32_t timeline;
} ServerId;

/* Connect and set the session up. S_UNAVAILABLE when the server does not answer. [blocking] */
MUST_CHECK Status conn_open(PGconn **ret, const char *conninfo, const char *host_id, ConnUse use, Error *err);
void conn_close(PGconn *pg);
MUST_CHECK Status pool_take(Storage *s, PGconn **ret, Error *err);
void pool_give(Storage *s, PGconn *pg); /* closes a broken one, ends a transaction left open; NULL is fine */
/* From a failed result (or connection when `res` is NULL): code by SQLSTATE class, sqlstate, server's text. */
Status pg_fail(Error *err, const char *origin, PGconn *pg, const PGresult *res, const char *what);
#define PG_FAIL(err, pg, res, what) pg_fail((err), __func__, (pg), (res), (what))
bool sqlstate_retryable(const char *sqlstate); /* rule 28: classes 08, 40, 53, 57, and 55P03, 25006 */
/* Run SQL without parameters / with binary parameters; the result must be commands or rows. `ret` may be NULL. */
MUST_CHECK Status pg_exec(PGconn *pg, PGresult **ret, Error *err, const char *sql);
typedef struct Params {
    int n;
    const char *v[16];
    int len[16];
    int binary[16];
    uint32_t oid[16];
    uint64_t ints[16];
} Params;
void params_i64(Params *p, int64_t v);
void params_bytes(Params *p, Bytes v);
void params_text(Params *p, Str v);
void params_null(Params *p, uint32_t oid);
void own_result(PGresult **r);
MUST_CHECK Status pg_query(PGconn *pg, PGresult **ret, Error *err, const char *sql, const Params *p, bool binary_result);
static inline int64_t pg_i64(const PGresult *r, int row, int col) { return strtoll(PQgetvalue(r, row, col), NULL, 10); }

/* ---- databases in use ---- */

typedef struct Chunk { /* records on their way: gathered -> in flight -> durable -> materialised */
    struct Chunk *next;
    uint64_t first, last; /* offsets; 0: empty */
    uint64_t arrived_ns;  /* clock_monotonic_ns of its first record */
    uint32_t version;
    uint8_t segment;
    bool resend; /* was sent before: may be there already */
    Buf payload; /* u32 length + record, repeated: what the log row holds */
} Chunk;
typedef struct ChunkQueue {
    Chunk *head, *tail;
    uint64_t bytes;
} ChunkQueue;
static inline void chunk_push(ChunkQueue *q, Chunk *c)
{
    c->next = NULL;
    if (q->tail)
        q->tail->next = c;
    else
        q->head = c;
    q->tail = c;
    q->bytes += c->payload.len;
}
static inline Chunk *chunk_pop(ChunkQueue *q)
{
    Chunk *c = q->head;
    if (!c)
        return NULL;
    q->head = c->next;
    if (!q->head)
        q->tail = NULL;
    q->bytes -= c->payload.len;
    c->next = NULL;
    return c;
}

enum { LOG_SEGMENTS = 3, LOG_CONNECTIONS_MAX = 8 };

typedef struct Segment {
    uint64_t first, last, bytes;
    uint64_t done_ns;
} Segment; /* last 0: empty */

typedef struct Db {
    struct Db *next;
    uint64_t id, epoch, serial; /* serial: of this attachment, names prepared statements */
    char *schema;
    uint32_t users;             /* [mu] threads that hold a pointer outside of mu */
    _Atomic bool failed;        /* on_failure was called: nothing moves any more */
    bool gone;                  /* [mu] removed from the list */
    _Atomic(DbLayout *) layout; /* [mu] to take a reference; swapped by publish */
    DbLayout *next_layout;      /* [mu] of a publish whose outcome is unknown; the database stays paused */
    bool next_reset;
    Chunk *next_first; /* of a reset: the record of init, on its way to the tables */
    /* offsets: written by one thread, read by all */
    _Atomic uint64_t complete, durable, materialised;
    _Atomic uint64_t oldest_ns; /* arrival of the oldest record that is not materialised; 0: none */
    /* log thread */
    CommitSource source;
    bool has_source, asleep, closing_source;
    _Atomic bool stalled;
    _Atomic bool paused;                                  /* written under mu; publish at work: neither thread touches PostgreSQL for it */
    ChunkQueue waiting;                                   /* gathered, not sent; the tail is open for more */
    Chunk *inflight;                                      /* cleared under mu */
    int conn;                                             /* index of its log connection while inflight */
    uint32_t prepared[LOG_CONNECTIONS_MAX][LOG_SEGMENTS]; /* generation of the connection, 0: not */
    Segment segments[LOG_SEGMENTS];                       /* [mu] */
    uint8_t active;                                       /* [mu] */
    _Atomic int pressure;
    char pressure_why[256];
    DbLayout *log_layout; /* the log thread's reference */
    /* materialiser */
    ChunkQueue pending;             /* [mu] durable, not yet in the tables */
    bool round_open;                /* [mu] the materialiser holds chunks of it */
    _Atomic uint64_t pending_bytes; /* pending and in the open round */
    uint64_t retry_ns;              /* [mu] after an error: not before */
    _Atomic uint32_t failures;
    uint64_t round_began_ns;
    uint64_t round_took_ns; /* [mu] of the last one */
    char blocked_by[256];   /* [mu] */
    char reported_by[256];  /* monitor: what spacetime.blockers says; "?" at first */
} Db;

typedef struct LogConn {
    PGconn *pg; /* log thread; NULL: being made by the monitor */
    uint32_t generation;
    Db *inflight[16];         /* in order of sending */
    uint32_t ninflight, step; /* results seen of inflight[0] */
    bool want_write, inserted, committed, warned;
    bool has_error;
    Error error;   /* of inflight[0] */
    PGconn *fresh; /* [mu] handed over by the monitor */
    bool wanted;   /* [mu] */
} LogConn;

struct Storage {
    StorageConfig config;
    char *conninfo, *sql_dir, *description;
    char host_id[33];
    pthread_mutex_t mu;
    pthread_cond_t cond; /* anything changed that a blocked caller may wait for */
    pthread_cond_t mat_cond;
    pthread_cond_t mon_cond;
    Db *dbs;          /* [mu] */
    PGconn *pool[16]; /* [mu] idle ones */
    uint32_t pool_idle, pool_out;
    Chunk *free_chunks; /* [mu] */
    uint32_t nfree_chunks;
    ServerId server; /* [mu] as last seen */
    _Atomic bool server_away;
    bool stopping; /* [mu] */
    bool threads_up;
    pthread_t log_thread, mat_thread, mon_thread;
    int wake_fd, epoll_fd;
    struct LogCommand *commands; /* [mu] */
    uint64_t attachments;        /* [mu] */
    uint32_t waiters;            /* [mu] threads waiting on cond */
    Db **log_dbs;                /* log thread: what it serves */
    uint32_t nlog_dbs;
    LogConn log[LOG_CONNECTIONS_MAX];
    uint32_t nlog;
    bool mat_idle;  /* [mu] sleeps without a timeout */
    PGconn *mat_pg; /* materialiser */
    uint32_t mat_generation;
    struct Fold *fold;   /* materialiser */
    _Atomic int mat_pid; /* its backend while a round runs, else 0 */
    _Atomic uint64_t mat_since_ns;
    _Atomic uint64_t mat_db;
    bool heartbeat_off; /* tests */
    bool want_settle_poll;
};

extern uint32_t storage_lease_ttl_ms; /* 10,000; tests shorten it */
extern uint64_t storage_segment_bytes_max;

/* storage.c */
Db *db_find(Storage *s, uint64_t id); /* [mu] held by the caller */
void db_unlink(Storage *s, Db *db);
void db_fail(Storage *s, Db *db, const Error *err); /* once: marks it failed and calls on_failure; no lock held */
Chunk *chunk_new(Storage *s);
void chunk_free(Storage *s, Chunk *c);
void storage_wake_log(Storage *s);
void storage_wake_materialiser(Storage *s); /* [mu] held */
MUST_CHECK Status storage_check_server(Storage *s, PGconn *pg, Error *err);
void storage_check_cluster(Storage *s, PGconn *pg); /* only whether it is the cluster that we know */
/* Wait on s->cond until `deadline_ns`; false: passed. [mu] held */
bool storage_wait(Storage *s, uint64_t deadline_ns);
/* "pid 12 (psql, idle in transaction, 3 s): SELECT ..." for whoever blocks `pid`, or holds locks in `schema` when pid is 0. */
void find_blocker(PGconn *pg, int pid, const char *schema, char *ret, size_t size);

/* log.c */
void *log_main(void *storage);
typedef enum LogCommandKind { LOG_ATTACH, LOG_CLOSE_SOURCE, LOG_OPEN_SOURCE, LOG_REMOVE, LOG_PAUSE } LogCommandKind;
typedef struct LogCommand {
    struct LogCommand *next;
    LogCommandKind kind;
    Db *db;
    const CommitSource *source;
    bool done, ok;
} LogCommand;
/* Waits until the thread has run it. LOG_PAUSE: no batch is sent after it; false: somebody else has paused the database. */
bool log_command(Storage *s, LogCommandKind kind, Db *db, const CommitSource *source);
void put_log_insert(Buf *out, const char *qschema, int segment);

/* materialise.c */
void *materialise_main(void *storage);
/* Truncate fully materialised segments ([blocking], on `pg`); all: also the active one, without the delay. */
MUST_CHECK Status truncate_segments(Storage *s, PGconn *pg, Db *db, bool all, Error *err);

/* publish.c */
void publish_adopt(Storage *s, Db *db, DbLayout *next, bool reset, Chunk *first); /* takes over the references; resumes the database */

/* load.c: PostgreSQL's tables against the layout. */
MUST_CHECK Status layout_check_shape(PGconn *pg, const DbLayout *l, Error *err);
/* Its keys and indexes too: rows can be loaded without them, DDL that drops or renames them cannot run. */
MUST_CHECK Status layout_check_indexes(PGconn *pg, const DbLayout *l, Error *err);

/* catalog.c */
MUST_CHECK Status catalog_name_insert(PGconn *pg, uint64_t database_id, Str name, const uint8_t caller[32], Error *err);
MUST_CHECK Status catalog_apply(Storage *s, PGconn *pg, Error *err);
MUST_CHECK Status fence_check(PGconn *pg, const Lease *lease, Error *err); /* inside a transaction; S_FENCED */
MUST_CHECK Status host_register(Storage *s, PGconn *pg, Error *err);
MUST_CHECK Status catalog_image(PGconn *pg, uint64_t database_id, uint32_t version, Arena *a, SchemaImage *ret, Bytes *ret_program,
                                PGresult **ret_keep, Error *err);

/* ddl.c */
void ddl_create_database(Buf *out, const char *qschema, const char *name);
void ddl_create_table(Buf *out, const TableLayout *t);
typedef struct TableChangeDdl { /* a table that goes on, from one version to the next */
    const TableLayout *from, *to;
    const char *qschema;
    const ColumnSource *columns; /* per column of to->def; NULL: by name */
    bool rewrite;                /* emptied, altered, filled again from memory */
} TableChangeDdl;
/* False: there was no such table. */
bool ddl_change_of(TableChangeDdl *ret, const DbLayout *from, const DbLayout *to, const TableLayout *t, const Plan *plan);
void ddl_rename_tables(Buf *out, const DbLayout *from, const DbLayout *to); /* before the tables are altered under their new names */
void ddl_alter_before_rows(Buf *out, const TableChangeDdl *c);
void ddl_alter_after_rows(Buf *out, const TableChangeDdl *c); /* keys and indexes, when a rewritten table has been filled */
void ddl_drop_table(Buf *out, const TableLayout *t);
#define ST_GUARD_WHEN "WHEN (pg_catalog.current_setting('spacetime.writer', true) IS DISTINCT FROM 'host')"

#endif
