/* sim.h - the simulator: the worker's core under a host, a PostgreSQL and clients that are all made up, from one seed.
 *
 *   sim.c           rounds, steps, kills, comparisons
 *   parts/schema.c  random schemas; the module whose reducers run random operations through the real st_api, checking
 *                   every answer against the model
 *   parts/model.c   the model: tables as bags of BSATN rows with an undo journal; queries evaluated naively
 *   parts/pg.c      PostgreSQL as a map of rows, a log and a list of clients
 *   parts/client.c  clients with caches, reading protocol v2
 *   parts/host.c    the host by the recovery rules of records.h
 *
 * The host never looks into the core: all it knows are records. The model knows nothing of indexes or records. */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "host/worker/core.h"
#include <stdio.h>

typedef struct Rng {
    uint64_t state;
} Rng;
static inline uint64_t rng_u64(Rng *r) { return hash_u64(r->state += 0x9e3779b97f4a7c15u); }
static inline uint32_t rng_below(Rng *r, uint32_t n) { return (uint32_t)(rng_u64(r) % n); }
static inline bool rng_chance(Rng *r, uint32_t percent) { return rng_below(r, 100) < percent; }

enum {
    TABLES_MAX = 8,
    COLUMNS_MAX = 10,
    INDEXES_MAX = 4,
    VERSIONS_MAX = 12,
    CLIENTS_MAX = 6,
    SETS_MAX = 4,
    QUERIES_MAX = 3,
    REQUESTS_MAX = 16
};

/* ---- schema ---- */
typedef enum ColumnKind {
    COL_U64,
    COL_U32,
    COL_I32,
    COL_STRING,
    COL_BOOL,
    COL_IDENTITY,
    COL_U8,
    COL_KEYS /* so far: keys */,
    COL_F64 = COL_KEYS,
    COL_OPT_U32,
    COL_BYTES,
    COL_KINDS
} ColumnKind;
typedef struct SimColumn {
    char name[8];
    ColumnKind kind;
    uint32_t flags;
    bool has_default;
    uint8_t value[16];
    uint32_t value_len;
} SimColumn;
typedef struct SimTable {
    char name[8];
    uint32_t id;
    bool is_private, is_event;
    uint32_t ncols, nindexes;
    SimColumn cols[COLUMNS_MAX];
    uint16_t index_cols[INDEXES_MAX][2];
} SimTable;
typedef struct SimSchema {
    uint32_t version, ntables, next_id;
    SimTable tables[TABLES_MAX];
    bool lifecycles;
    uint32_t evolving_since, evolving_params; /* reducer `evolving` changes its parameters now and then */
} SimSchema;

/* ---- model ---- */
typedef struct RowBag {
    Bytes *rows;
    uint32_t *tags;
    uint32_t n, cap;
} RowBag; /* owns its bytes; the tag is the table */
void bag_add(RowBag *b, uint32_t tag, Bytes row);
bool bag_remove(RowBag *b, uint32_t tag, Bytes row); /* one of them */
void bag_clear(RowBag *b);
bool bag_equal(RowBag *x, RowBag *y); /* sorts both */

typedef struct JournalEntry {
    uint64_t offset;
    uint32_t table;
    bool added;
    Bytes row;
} JournalEntry;
typedef struct Query {
    uint32_t table;
    bool filtered;
    uint32_t col;
    char op;
    int64_t number;
    Str word;
    bool sender;
    char text[96];
} Query;

/* ---- host ---- */
typedef struct SimSet {
    uint32_t id;
    bool live;
    uint32_t nqueries;
    Query queries[QUERIES_MAX];
    RowBag cache;
} SimSet;
typedef enum ClientState { CLIENT_FREE, CLIENT_CONNECTING, CLIENT_LIVE, CLIENT_REFUSED, CLIENT_LEAVING } ClientState;
typedef struct SimClient {
    ClientState state;
    bool accepted; /* FRAME_CONNECTED said yes */
    bool http, owner;
    uint32_t generation, version;
    uint8_t identity[32], connection_id[16];
    SimSet sets[SETS_MAX];
} SimClient;

typedef enum Expect { EXPECT_ANY, EXPECT_OK, EXPECT_USER, EXPECT_INTERNAL, EXPECT_REFUSAL } Expect;
typedef struct SimCall {
    CallHeader header;
    Buf payload;
    uint32_t answers;
    bool consumed;      /* the worker will not be asked again: a procedure that has begun */
    bool may_be_silent; /* nobody answers it: its client was refused */
    bool bad;           /* a subscription that must fail */
    uint32_t set_id, nqueries;
    Query queries[QUERIES_MAX];
    /* filled when it runs */
    Expect expect;
    uint64_t count; /* SQL: rows that the answer must name */
    RowBag rows;    /* one-off: rows that it must bring */
} SimCall;

typedef struct PgRow {
    Bytes key, row;
} PgRow;
typedef struct PgTable {
    PgRow *rows;
    uint32_t n, cap;
} PgTable;
typedef struct Pg {
    uint64_t materialised, durable;
    PgTable tables[TABLES_MAX];
    i128 sequences[TABLES_MAX][COLUMNS_MAX];
    CommitClient *clients;
    uint32_t nclients, clients_cap;
    Buf *log;
    uint32_t nlog, log_cap; /* records after `materialised` */
} Pg;

typedef struct Outputs {
    Buf *records;
    uint32_t n, cap;
} Outputs;

typedef struct World {
    uint64_t seed;
    uint32_t round, step;
    Rng rng;
    int64_t now_us;
    uint64_t output_hash;
    SimSchema schema, older[VERSIONS_MAX], next;
    uint32_t nolder;
    Core *core;
    ModuleDef *def; /* of `schema` */
    uint32_t modules_open;
    /* model */
    RowBag tables[TABLES_MAX];
    JournalEntry *journal;
    uint32_t njournal, journal_cap, journal_open;    /* entries from journal_open on: the open transaction */
    uint64_t generated[TABLES_MAX][COLUMNS_MAX];     /* highest number of a sequence in a stored transaction */
    uint64_t generated_new[TABLES_MAX][COLUMNS_MAX]; /* also of those that are not published yet */
    uint64_t generated_run[TABLES_MAX][COLUMNS_MAX]; /* of the open transaction */
    Expect run_expect;                               /* what the last run of module code must lead to */
    /* host */
    Pg pg;
    SimClient clients[CLIENTS_MAX];
    uint32_t next_generation, next_set, next_request;
    uint64_t next_seq, consumed;
    SimCall **calls;
    uint32_t ncalls, calls_cap; /* every call of the round */
    uint32_t *queue;
    uint32_t nqueue, queue_cap; /* not yet run: indexes into calls */
    uint32_t *run;
    uint32_t nrun, run_cap; /* run, outputs not published */
    Outputs frames, commits;
    bool commit_seen; /* in this step */
    bool in_module;
    uint64_t stats_calls, stats_kills, stats_publishes, stats_updates, stats_rows;
    Buf control_answer; /* the last FRAME_CONTROL */
    bool tx_unsettled;  /* a procedure's transaction has written to the model, which has not heard how it ended */
    uint32_t nrequests; /* HTTP requests of procedures that have left the worker */
    Buf requests[REQUESTS_MAX];
    uint64_t stats_procedures;
} World;

#define SIM_CHECK(w, cond, ...)                                                                                                            \
    do {                                                                                                                                   \
        if (!(cond)) {                                                                                                                     \
            fprintf(stderr, "sim: FAILED seed %llu round %u step %u: %s (%s:%d)\n  ", (unsigned long long)(w)->seed, (w)->round,           \
                    (w)->step, #cond, __FILE__, __LINE__);                                                                                 \
            fprintf(stderr, __VA_ARGS__);                                                                                                  \
            fputc('\n', stderr);                                                                                                           \
            abort();                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

/* parts/schema.c */
void schema_random(SimSchema *s, Rng *r);
void schema_evolve(SimSchema *s, Rng *r); /* the next version of it */
void schema_definition(const SimSchema *s, Buf *out);
Module *sim_module_open(World *w, const SimSchema *s);

/* parts/model.c */
void model_add(World *w, uint32_t table, Bytes row);
void model_remove(World *w, uint32_t table, uint32_t at);
int32_t model_find_row(World *w, uint32_t table, Bytes row);
int32_t model_find(World *w, uint32_t table, uint32_t col, Bytes key);
Bytes model_column(const World *w, uint32_t table, Bytes row, uint32_t col); /* a row as the current schema has it */
size_t row_prefix(const World *w, uint32_t table, Bytes row, uint32_t ncols);
void model_end(World *w, bool commit, uint64_t offset);
void model_forget(World *w, uint64_t offset); /* stored up to here: no undo any more */
void model_undo(World *w, uint64_t offset);   /* back to this offset */
void model_append_columns(World *w, uint32_t table, Bytes defaults);
uint64_t model_rows(const World *w);
void query_random(World *w, Rng *r, Query *q, uint32_t version_tables, bool owner, const SimSchema *known);
bool query_matches(const World *w, const Query *q, Bytes row, const uint8_t *sender);

/* parts/host.c */
void host_core_new(World *w);
void host_load(World *w, bool first);
void host_issue(World *w);   /* a random call into the queue */
bool host_run_one(World *w); /* let the worker run the next one */
void host_publish(World *w);
void host_work(World *w, bool deaths);      /* what procedures ask for */
void host_finish_procedures(World *w);      /* until none runs */
void host_kill(World *w, bool during_call); /* and recover */
void host_restart(World *w);
void host_republish(World *w);
void host_compare(World *w, bool caches);
void host_end(World *w);
uint32_t known_ncols(const World *w, const SimClient *c, uint32_t table);
const SimSchema *known_schema(const World *w, uint32_t version);

#endif
