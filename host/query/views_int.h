/* views_int.h - shared by views.c (results) and views_reads.c (which change touches which result). */
#ifndef HOST_QUERY_VIEWS_INT_H
#define HOST_QUERY_VIEWS_INT_H

#include "host/query/query_int.h"
#include "host/query/views.h"

enum { READ_COLUMNS_MAX = 5 }; /* CURSOR_EQ_MAX equalities, and a range on the next column */

typedef struct Instance Instance;
typedef struct Read Read;
typedef struct RangeSet RangeSet;
typedef struct TableReads TableReads;

typedef enum ReadKind { READ_KEY, READ_RANGE, READ_TABLE } ReadKind;
struct Read {
    ReadKind kind;
    Instance *inst;
    Read *inst_next;
    TableReads *table;
    uint32_t group;     /* KEY, RANGE: of its table */
    uint64_t hash;      /* KEY: in the table of keys */
    Read *next, **prev; /* KEY: its bucket; TABLE: the table's list */
    RangeSet *set;      /* RANGE: a treap ordered by lower bound and birth, with the greatest upper bound of each subtree */
    Read *left, *right;
    uint64_t priority, birth;
    const void *lo, *hi; /* NULL: open */
    const void *max_hi;  /* of the subtree */
    bool max_open;
};

struct RangeSet { /* ranges over one index that begin with the same equalities */
    uint64_t hash;
    RangeSet *next;
    const Type *type; /* of the column that has bounds */
    Read *root;
};

typedef struct ReadGroup { /* columns that keys or ranges were read by */
    uint16_t ncols;        /* RANGE: equalities; the column with bounds is cols[ncols] */
    uint16_t cols[READ_COLUMNS_MAX];
    bool is_range;
    uint32_t count;
} ReadGroup;

struct TableReads {
    uint32_t id;
    const TableDef *def;
    Read *all; /* whole reads */
    uint32_t ngroups;
    ReadGroup *groups;
};

typedef struct Touch { /* QUERY: a changed row that its condition lets through */
    const void *row;
    struct Touch *next;
} Touch;

struct Instance {
    uint64_t id; /* order of birth: what is done for several is done in this order */
    uint32_t view;
    uint8_t sender[32];
    uint64_t hash;
    Instance *hash_next;
    bool fresh;
    uint32_t holds; /* queries of subscriptions */
    Read *reads;
    uint32_t nreads;
    Plan *plan; /* a query view's, while fresh; one block */
    int64_t used_us;
    Instance *older, *newer; /* those that nobody holds, by use */
    uint64_t touched_by;     /* the evaluation that met it last */
    Touch *deleted, *inserted;
};

typedef struct ViewTable {
    const ViewDef *def;
    Table *table;
    const TableDef *table_def;
    uint32_t id;
    uint16_t ncols; /* what callers see */
    bool per_sender;
} ViewTable;

struct Views {
    Engine *tables, *engine; /* the module's; ours */
    ViewsEnv env;
    ModuleDef *base; /* our definition borrows its types */
    ModuleDef *def;
    uint32_t nviews, next_id;
    ViewTable *views;
    Instance **buckets;
    size_t nbuckets, ninstances, nunheld;
    uint64_t next_instance, runs;
    Instance *oldest, *newest;
    bool resolving; /* between a swap and views_refresh_held nothing is computed */
    /* the running view */
    Instance *running;
    Arena rows;
    size_t rows_bytes;
    Buf emitted; /* const void *, rows in `rows` */
    Str query;
    /* reads */
    uint64_t seed;
    uint32_t ntables;
    TableReads **reads; /* by id */
    Read **keys;
    size_t nkey_buckets, nkeys, nreads;
    RangeSet **sets;
    size_t nset_buckets, nsets;
    uint64_t next_read;
    /* the evaluation */
    bool open; /* a transaction of ours */
    uint64_t evaluation;
    Arena arena;
    Buf touched, failures; /* Instance *; ViewFailure */
};

/* views_reads.c */
void reads_drop(Views *v, Instance *inst);
void reads_touch(Views *v, uint32_t nchanges, const TableChange *changes); /* fills `touched`, and Touches of queries */
void reads_forget_tables(Views *v);                                        /* no read is left; the definition goes */
void reads_free(Views *v);
/* check.c: the name in FROM is a view of the definition in force. S_NOT_FOUND: it is none. */
const ViewTable *views_find(const Views *v, Str name);
/* Its result for this caller is there. */
MUST_CHECK Status views_need(Views *v, const ViewTable *vt, const uint8_t sender[32], Error *err);
/* subs.c: a query over the view's table lives. */
void views_hold(Views *v, uint32_t table_id, const uint8_t sender[32]);
void views_unhold(Views *v, uint32_t table_id, const uint8_t sender[32]);

#endif
